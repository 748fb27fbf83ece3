//! What runs in the client's namespace: this test binary once more, told by its environment what to do.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, RecordType};

use super::Rig;
use crate::rfcs::{self, authoritative, edns, probes};

/// What to do, and with what.
const TASK: &str = "NAMEPLATE_XDP_TASK";
/// Queries that are on their way at once.
const WINDOW: usize = 32;

/// A task at work.
pub(super) struct Task(Child);

impl Task {
    /// Tells it to end; what it wrote.
    pub(super) fn finish(mut self) -> String {
        drop(self.0.stdin.take());
        let mut said = String::new();
        let out = self.0.stdout.as_mut().expect("a pipe");
        out.read_to_string(&mut said).expect("text");
        self.0.wait().expect("it ends");
        said
    }
}

/// Starts a task in the client's namespace.
pub(super) fn start(rig: &Rig, task: &str, arguments: &[&str]) -> Task {
    let binary = std::env::current_exe().expect("a path");
    let mut command = rig.command("c", binary);
    command
        .args(["--exact", "xdp::client::in_a_namespace", "--nocapture"])
        .env(TASK, format!("{task} {}", arguments.join(" ")))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    Task(command.spawn().expect("the test binary starts"))
}

/// Runs a task to its end; what it wrote.
pub(super) fn run(rig: &Rig, task: &str, arguments: &[&str]) -> String {
    start(rig, task, arguments).finish()
}

/// The task of the environment; nothing to do where there is none.
#[test]
fn in_a_namespace() {
    let Ok(task) = std::env::var(TASK) else {
        return;
    };
    let words: Vec<&str> = task.split_whitespace().collect();
    let address = |word: &str| -> IpAddr { word.parse().expect("an address") };
    match words[0] {
        "compare" => {
            let count = words[1].parse().expect("a number");
            for word in &words[2..] {
                compare(address(word), count);
            }
            println!("compare: the same");
        }
        "oddities" => {
            for word in &words[1..] {
                oddities(address(word));
            }
            println!("oddities: as expected");
        }
        "load" => load(address(words[1])),
        other => panic!("no task {other}"),
    }
}

/// A socket that asks one address and port.
fn asking(server: IpAddr, port: u16) -> UdpSocket {
    let any = match server {
        IpAddr::V4(_) => "0.0.0.0:0",
        IpAddr::V6(_) => "[::]:0",
    };
    let socket = UdpSocket::bind(any).expect("a socket");
    socket
        .connect(SocketAddr::new(server, port))
        .expect("a peer");
    let patience = Some(Duration::from_secs(5));
    socket.set_read_timeout(patience).expect("a timeout");
    socket
}

fn query(id: u16, name: &str, kind: RecordType) -> Vec<u8> {
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    let name = Name::from_ascii(name).expect("a name");
    message.add_query(Query::query(name, kind));
    message.to_vec().expect("octets")
}

/// OPT, with a payload size, flags and options.
fn opt(size: u16, version: u8, flags: u16, options: &[u8]) -> Vec<u8> {
    let mut out = vec![0, 0, 41];
    out.extend(size.to_be_bytes());
    out.extend([0, version]);
    out.extend(flags.to_be_bytes());
    out.extend((options.len() as u16).to_be_bytes());
    out.extend(options);
    out
}

/// Queries of all shapes.
fn corpus() -> Vec<Vec<u8>> {
    let names = [
        "www.example.org.",
        "WwW.eXaMpLe.OrG.",
        "mail.example.org.",
        "many.example.org.",
        "absent.example.org.",
        "example.org.",
        "a.b.c.d.example.org.",
        "www.example.com.",
        ".",
        "version.bind.",
    ];
    let kinds = [
        RecordType::A,
        RecordType::AAAA,
        RecordType::MX,
        RecordType::TXT,
        RecordType::ANY,
        RecordType::SOA,
        RecordType::AXFR,
    ];
    let cookie = [0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8];
    let nsid = [0, 3, 0, 0];
    let subnet = [0, 8, 0, 7, 0, 1, 24, 0, 192, 0, 2];
    let mut out = Vec::new();
    for name in names {
        for kind in kinds {
            let plain = query(0, name, kind);
            for extra in [
                opt(1_232, 0, 0, &[]),
                opt(512, 0, 0x8000, &[]),
                opt(4_096, 0, 0x8000, &nsid),
                opt(1_232, 1, 0, &[]),
                opt(1_232, 0, 0, &cookie),
                opt(1_232, 0, 0, &subnet),
            ] {
                let mut with = plain.clone();
                with[11] = 1;
                with.extend(extra);
                out.push(with);
            }
            out.push(plain);
        }
    }
    // The tables of the RFCs, and what is no query.
    let tables = [authoritative::ZONE, edns::EDNS, &probes::PROBES].concat();
    let rows = tables
        .iter()
        .map(|(_, _, query, _)| rfcs::Query::read(query));
    out.extend(rows.map(|query| query.octets()));
    out.extend(edns::malformed().into_iter().map(|(_, octets, _)| octets));
    out
}

/// Numbers that are the same in each run.
struct Lot(u64);

impl Lot {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound.max(1) as u64) as usize
    }

    /// The message with some octets changed, cut out, or put in.
    fn mutate(&mut self, message: &[u8]) -> Vec<u8> {
        let mut out = message.to_vec();
        for _ in 0..=self.below(4) {
            let at = self.below(out.len());
            match self.below(6) {
                0 => out.truncate(at),
                1 => out.insert(at, self.below(256) as u8),
                2 => drop(out.drain(at..(at + self.below(4)).min(out.len()))),
                3 => out.extend(vec![self.below(256) as u8; self.below(600)]),
                _ if out.is_empty() => {}
                _ => out[at] ^= 1 << self.below(8),
            }
            if out.is_empty() {
                break;
            }
        }
        out
    }
}

/// Sends the same queries both ways, the corpus and so many that are damaged: each answer is the same, or there is none either way.
fn compare(server: IpAddr, count: usize) {
    let ways = [asking(server, 53), asking(server, 5_300)];
    let corpus = corpus();
    let mut lot = Lot(0x9E37_79B9_7F4A_7C15);
    let mut sent = 0;
    let mut answered = 0;
    let mut all: Vec<Vec<u8>> = corpus.clone();
    all.extend((0..count).map(|_| {
        let one = lot.below(corpus.len());
        lot.mutate(&corpus[one])
    }));
    for lot in all.chunks_mut(WINDOW) {
        for (id, message) in lot.iter_mut().enumerate() {
            // The ID tells whose answer comes; the sentinels have higher ones.
            if let Some(place) = message.first_chunk_mut() {
                *place = (id as u16).to_be_bytes();
            }
        }
        let mut found = ways.each_ref().map(|way| exchange(way, lot));
        for (here, there) in [(0, 1), (1, 0)] {
            // A response that is too long for a frame leaves by the socket, and may be late.
            let missing = |found: &[Answers; 2]| {
                let mut ids = found[there].keys();
                ids.any(|id| !found[here].contains_key(id))
            };
            while missing(&found) && receive(&ways[here], &mut found[here]).is_some() {}
        }
        for (id, message) in lot.iter().enumerate() {
            let id = id as u16;
            assert_eq!(
                found[0].get(&id),
                found[1].get(&id),
                "to {server}: {message:02x?}"
            );
        }
        sent += lot.len();
        answered += found[0].len();
    }
    println!("{server}: {sent} queries, {answered} answers");
    assert!(answered > sent / 4);
}

/// Answers by their IDs.
type Answers = BTreeMap<u16, Vec<u8>>;

/// Receives one answer; gives its ID.
fn receive(way: &UdpSocket, found: &mut Answers) -> Option<u16> {
    let mut buffer = [0; 4_096];
    let len = way.recv(&mut buffer).ok()?;
    let id = u16::from_be_bytes([buffer[0], buffer[1]]);
    let before = found.insert(id, buffer[..len].to_vec());
    assert!(before.is_none(), "two answers to one query");
    Some(id)
}

/// Sends messages and gives what comes until two queries are answered that follow them.
fn exchange(way: &UdpSocket, messages: &[Vec<u8>]) -> Answers {
    let mut found = BTreeMap::new();
    for message in messages {
        // Longer than a frame is the kernel's business, and may not be sent at all.
        let _ = way.send(message);
    }
    for sentinel in 0xFFF0_u16..0xFFF2 {
        way.send(&query(sentinel, "www.example.org.", RecordType::A))
            .expect("sent");
        while receive(way, &mut found).expect("an answer to the sentinel") != sentinel {}
    }
    found
}

/// Datagrams that the filter leaves to the kernel, or that nobody answers.
fn oddities(server: IpAddr) {
    let way = asking(server, 53);
    let socket = socket2::SockRef::from(&way);
    let mut buffer = [0; 4_096];
    let mut ask = |what: &str, message: &[u8]| {
        way.send(message).expect("sent");
        let len = way
            .recv(&mut buffer)
            .unwrap_or_else(|e| panic!("{what}: {e}"));
        buffer[..len].to_vec()
    };
    // In fragments: more than an Ethernet frame, in the padding of OPT.
    let mut long = query(1, "www.example.org.", RecordType::A);
    long[11] = 1;
    let mut padding = vec![0, 12];
    padding.extend(2_900_u16.to_be_bytes());
    padding.resize(padding.len() + 2_900, 0);
    long.extend(opt(4_096, 0, 0, &padding));
    let said = ask("fragments", &long);
    assert_eq!((said[1], said[3] & 15), (1, 0));
    // Another type of service, and a short life.
    if server.is_ipv4() {
        socket.set_tos_v4(0x10).expect("a type of service");
        socket.set_ttl_v4(1).expect("hops");
    }
    let said = ask(
        "type of service",
        &query(2, "www.example.org.", RecordType::A),
    );
    assert_eq!((said[1], said[3] & 15), (2, 0));
    // Many at once from one socket come back, each once.
    let mut seen = [false; 64];
    for id in 0..64 {
        way.send(&query(id, "www.example.org.", RecordType::AAAA))
            .expect("sent");
    }
    for _ in 0..64 {
        let len = way.recv(&mut buffer).expect("an answer");
        assert!(len > 12);
        let id = usize::from(u16::from_be_bytes([buffer[0], buffer[1]]));
        assert!(!std::mem::replace(&mut seen[id], true));
    }
}

/// Asks until standard input ends; each query has two seconds and one attempt.
fn load(server: IpAddr) {
    let ended = Arc::new(AtomicBool::new(false));
    let told = ended.clone();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        told.store(true, Ordering::Relaxed);
    });
    let ways: Vec<_> = (0..8).map(|_| asking(server, 53)).collect();
    let (mut lost, mut sent) = (0, 0);
    let mut buffer = [0; 512];
    while !ended.load(Ordering::Relaxed) {
        for (number, way) in ways.iter().enumerate() {
            let id = (sent + number) as u16;
            way.send(&query(id, "www.example.org.", RecordType::A))
                .expect("sent");
        }
        for (number, way) in ways.iter().enumerate() {
            let id = (sent + number) as u16;
            let answered = way
                .recv(&mut buffer)
                .is_ok_and(|len| len > 12 && u16::from_be_bytes([buffer[0], buffer[1]]) == id);
            lost += usize::from(!answered);
        }
        sent += ways.len();
    }
    println!("load: {lost} lost of {sent}");
    let _ = std::io::stdout().flush();
}
