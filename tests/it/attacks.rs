//! Attacks with datagrams: what is no query, what asks for too much, what would forge the log or flood the metrics.
//!
//! Each attack is bounded in time and count and stays on loopback. Its figures are printed, its bounds are generous: a busy machine
//! must not fail them, the attack that they are about must.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::server::{Server, ask_udp, free_port, wait_until};

/// A query: ID 0x1234, these flags, one question.
pub(crate) fn query(flags: u16, name: &str, qtype: u16, qclass: u16) -> Vec<u8> {
    let mut out = vec![0x12, 0x34];
    for word in [flags, 1, 0, 0, 0] {
        out.extend_from_slice(&word.to_be_bytes());
    }
    for label in name.split('.').filter(|label| !label.is_empty()) {
        out.push(label.len() as u8);
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
    out.extend_from_slice(&qtype.to_be_bytes());
    out.extend_from_slice(&qclass.to_be_bytes());
    out
}

/// A query for an address of `name`, RD set.
pub(crate) fn a(name: &str) -> Vec<u8> {
    query(0x0100, name, 1, 1)
}

/// The same with an OPT record of this class, these 32 bits of TTL and this RDATA.
pub(crate) fn with_opt(mut query: Vec<u8>, size: u16, ttl: u32, rdata: &[u8]) -> Vec<u8> {
    query[11] += 1;
    query.extend_from_slice(&[0, 0, 41]);
    query.extend_from_slice(&size.to_be_bytes());
    query.extend_from_slice(&ttl.to_be_bytes());
    query.extend_from_slice(&(rdata.len() as u16).to_be_bytes());
    query.extend_from_slice(rdata);
    query
}

/// The RCODE in a header.
pub(crate) fn rcode(reply: &[u8]) -> u8 {
    reply[3] & 0xF
}

/// A figure of `/proc/PID/status`: `VmRSS` in KiB, `Threads`.
pub(crate) fn status(server: &Server, field: &str) -> u64 {
    let text =
        std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    line.and_then(|line| {
        line.trim_start_matches(':')
            .split_whitespace()
            .next()?
            .parse()
            .ok()
    })
    .expect("the field is there")
}

/// How many descriptors the server has open.
pub(crate) fn descriptors(server: &Server) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", server.pid())).map_or(0, Iterator::count)
}

/// The seconds of processor time that the server has used.
pub(crate) fn processor_time(server: &Server) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{}/stat", server.pid())).unwrap_or_default();
    let fields: Vec<&str> = text.rsplit(") ").next().unwrap_or("").split(' ').collect();
    let ticks = |at: usize| fields[at].parse::<f64>().unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}

/// Waits until a figure stays the same for half a second, and gives it.
pub(crate) fn steady<T: PartialEq>(mut measure: impl FnMut() -> T) -> T {
    let (mut found, mut since) = (measure(), Instant::now());
    wait_until("a figure that stays", || {
        let now = measure();
        if now != found {
            (found, since) = (now, Instant::now());
        }
        since.elapsed() >= Duration::from_millis(500)
    });
    found
}

/// Says a figure on the terminal, past the capture.
pub(crate) fn figure(text: &str) {
    let _ = writeln!(std::io::stderr(), "FIGURE {text}");
}

/// The body of a page of an admin listener.
pub(crate) fn get(address: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    )?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

/// Sends queries, some at a time, and calls `seen` with each reply; queries that get none within a second are given back.
pub(crate) fn flood(
    address: SocketAddr,
    count: usize,
    make: impl Fn(usize, &mut Vec<u8>),
    mut seen: impl FnMut(&[u8]),
) -> usize {
    const WINDOW: usize = 48;
    let socket = UdpSocket::bind(("127.0.0.1", 0)).expect("a socket");
    socket.connect(address).expect("a peer");
    socket
        .set_read_timeout(Some(Duration::from_secs(1)))
        .expect("a timeout");
    let (mut octets, mut buffer) = (Vec::new(), [0; 65_535]);
    let (mut sent, mut received) = (0, 0);
    while sent < count {
        let batch = WINDOW.min(count - sent);
        for number in sent..sent + batch {
            octets.clear();
            make(number, &mut octets);
            socket.send(&octets).expect("sent");
        }
        sent += batch;
        for _ in 0..batch {
            match socket.recv(&mut buffer) {
                Ok(len) => {
                    received += 1;
                    seen(&buffer[..len]);
                }
                Err(_) => break,
            }
        }
    }
    sent - received
}

const ZONE: &str = "example.org {\n  bind 127.0.0.1\n  file example.org.zone\n}\n";

fn zone_server(test: &str, more: &str) -> Server {
    let dir = crate::server::temporary_directory(test);
    let zone = Path::new(env!("CARGO_MANIFEST_DIR")).join("zones/example.org.zone");
    std::fs::copy(zone, dir.join("example.org.zone")).expect("the zone is copied");
    Server::start_in(&dir, &format!("{ZONE}{more}"))
}

/// What becomes of a datagram.
#[derive(Debug, PartialEq)]
enum Fate {
    Silence,
    Rcode(u8),
}

#[test]
fn malformed_datagrams_get_formerr_or_silence() {
    use Fate::{Rcode, Silence};
    let server = zone_server("malformed", "");
    let good = query(0x0100, "www.example.org", 1, 1);
    let with = |at: usize, octets: &[u8]| {
        let mut out = good.clone();
        out[at..at + octets.len()].copy_from_slice(octets);
        out
    };
    let named = |name: &[u8]| {
        let mut out = good[..12].to_vec();
        out.extend_from_slice(name);
        out.extend_from_slice(&[0, 1, 0, 1]);
        out
    };
    let labels = |len: usize, count: usize| {
        let mut out = Vec::new();
        for _ in 0..count {
            out.push(len as u8);
            out.extend(std::iter::repeat_n(b'a', len));
        }
        out.push(0);
        out
    };
    let opt = |rdata: &[u8]| with_opt(good.clone(), 1_232, 0, rdata);
    let two_opts = with_opt(opt(&[]), 1_232, 0, &[]);
    let mut opt_in_answer = opt(&[]);
    (opt_in_answer[7], opt_in_answer[11]) = (1, 0);
    let mut opt_named = good.clone();
    opt_named[11] = 1;
    opt_named.extend_from_slice(&[0xC0, 12, 0, 41, 4, 0, 0, 0, 0, 0, 0, 0]);
    let mut opt_looped = good.clone();
    opt_looped[11] = 1;
    opt_looped.extend_from_slice(&[0xC0, good.len() as u8, 0, 41, 4, 0, 0, 0, 0, 0, 0, 0]);
    let mut many = Vec::new();
    for _ in 0..900 {
        many.extend_from_slice(&[0, 3, 0, 0]);
    }
    let mut cut_opt = opt(&[0, 3, 0, 4, 1, 2, 3, 4]);
    cut_opt.truncate(cut_opt.len() - 2);
    let mut late_tsig = opt(&[]);
    late_tsig[11] = 2;
    let tsig = [0, 0, 250, 0, 255, 0, 0, 0, 0, 0, 0];
    late_tsig.splice(good.len()..good.len(), tsig);
    let mut table: Vec<(&str, Vec<u8>, Fate)> = vec![
        ("nothing", vec![], Silence),
        ("one octet", vec![0], Silence),
        ("eleven octets", good[..11].to_vec(), Silence),
        ("a header", good[..12].to_vec(), Rcode(1)),
        ("a cut name", good[..16].to_vec(), Rcode(1)),
        ("no type", good[..good.len() - 4].to_vec(), Rcode(1)),
        ("half a class", good[..good.len() - 1].to_vec(), Rcode(1)),
        ("a response", with(2, &[0x81]), Silence),
        ("a response of an unknown opcode", with(2, &[0xF9]), Silence),
        ("no question", with(4, &[0, 0]), Rcode(1)),
        ("two questions", with(4, &[0, 2]), Rcode(1)),
        ("65535 of all", with(4, &[0xFF; 8]), Rcode(1)),
        ("an answer that is not there", with(6, &[0, 1]), Rcode(1)),
        (
            "an additional that is not there",
            with(10, &[0, 1]),
            Rcode(1),
        ),
        ("a pointer to itself", named(&[0xC0, 12]), Rcode(1)),
        ("a pointer into the header", named(&[0xC0, 0]), Rcode(1)),
        (
            "a pointer forward",
            named(&[0xC0, 14, 1, b'a', 0]),
            Rcode(1),
        ),
        (
            "two pointers at each other",
            named(&[1, b'a', 0xC0, 16, 0xC0, 14]),
            Rcode(1),
        ),
        ("a pointer past the end", named(&[0xFF, 0xFF]), Rcode(1)),
        ("half a pointer", [&good[..12], &[0xC0]].concat(), Rcode(1)),
        ("label type 0x40", named(&[0x41, b'a', 0]), Rcode(1)),
        ("label type 0x80", named(&[0x81, b'a', 0]), Rcode(1)),
        ("128 labels", named(&labels(1, 128)), Rcode(1)),
        ("257 octets", named(&labels(63, 4)), Rcode(1)),
        ("255 octets", named(&labels(1, 127)), Rcode(5)),
        ("two OPT records", two_opts, Rcode(1)),
        ("OPT among the answers", opt_in_answer, Rcode(1)),
        ("OPT with a name", opt_named, Rcode(1)),
        ("OPT with a looped name", opt_looped, Rcode(1)),
        ("an option past the end", opt(&[0, 3, 0, 9, 1]), Rcode(1)),
        ("half an option", opt(&[0, 3]), Rcode(1)),
        ("a cut OPT", cut_opt, Rcode(1)),
        ("TSIG before OPT", late_tsig, Rcode(1)),
        ("900 options", opt(&many), Rcode(0)),
        (
            "more than a datagram's buffer",
            [good.as_slice(), &[0; 5_000]].concat(),
            Rcode(1),
        ),
    ];
    for opcode in [1, 2, 3, 5, 6, 7, 8, 15] {
        let flags = (opcode << 11) | 0x07BF_u16;
        table.push(("an opcode", query(flags, "www.example.org", 1, 1), Rcode(4)));
    }
    let sockets: Vec<UdpSocket> = table
        .iter()
        .map(|(_, octets, _)| {
            let socket = UdpSocket::bind(("127.0.0.1", 0)).expect("a socket");
            socket.connect(server.address()).expect("a peer");
            socket.send(octets).expect("sent");
            socket
        })
        .collect();
    for ((name, octets, expected), socket) in table.iter().zip(sockets) {
        let patience = match expected {
            Silence => Duration::from_millis(20),
            Rcode(_) => Duration::from_secs(2),
        };
        socket.set_read_timeout(Some(patience)).expect("a timeout");
        let mut buffer = [0; 65_535];
        let found = match socket.recv(&mut buffer) {
            Err(_) => Silence,
            Ok(len) => {
                let reply = &buffer[..len];
                assert!(
                    len >= 12 && reply[..2] == octets[..2],
                    "{name}: {reply:02x?}"
                );
                assert_eq!(reply[2] & 0x80, 0x80, "{name}: QR");
                assert_eq!(reply[2] & 0x78, octets[2] & 0x78, "{name}: opcode");
                assert!(len <= 512.max(octets.len()), "{name}: {len} octets");
                if reply[2] & 0x78 != 0 {
                    assert_eq!((reply[2] & 0x06, reply[3] & 0xF0), (0, 0), "{name}: flags");
                }
                Rcode(rcode(reply))
            }
        };
        assert_eq!(found, *expected, "{name}");
    }
    // BADVERS: the high bits stand in OPT.
    let versions = with_opt(good.clone(), 1_232, 0x00FF_0000, &[]);
    let reply = server.ask(&versions).expect("BADVERS");
    assert_eq!(
        (rcode(&reply), reply[reply.len() - 6..].to_vec()),
        (0, vec![1, 0, 0, 0, 0, 0])
    );
}

/// A small generator: the same octets in every run.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

#[test]
fn mutated_queries_never_get_more_than_they_may() {
    let server = zone_server("mutated", "");
    let socket = UdpSocket::bind(("127.0.0.1", 0)).expect("a socket");
    socket.connect(server.address()).expect("a peer");
    socket
        .set_read_timeout(Some(Duration::from_millis(100)))
        .expect("a timeout");
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let seeds = [
        query(0x0100, "www.example.org", 255, 1),
        with_opt(
            query(0, "x.example.org", 16, 1),
            4_096,
            0x8000,
            &[0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8],
        ),
    ];
    let mut buffer = [0; 65_535];
    for round in 0..1_500_u64 {
        for _ in 0..16 {
            let mut octets = seeds[(round % 2) as usize].clone();
            for _ in 0..1 + random.next() % 4 {
                let at = 2 + random.next() as usize % (octets.len() - 2);
                octets[at] = match random.next() % 3 {
                    0 => random.next() as u8,
                    1 => octets[at] ^ (1 << (random.next() % 8)),
                    _ => [0, 1, 0x3F, 0x40, 0xC0, 0xFF][random.next() as usize % 6],
                };
            }
            if random.next().is_multiple_of(4) {
                octets.truncate(random.next() as usize % (octets.len() + 1));
            }
            let _ = socket.send(&octets);
        }
        socket.set_nonblocking(true).expect("a mode");
        while let Ok(len) = socket.recv(&mut buffer) {
            let reply = &buffer[..len];
            assert!((12..=1_232).contains(&len), "{len} octets");
            assert_eq!((reply[0], reply[1], reply[2] & 0x80), (0x12, 0x34, 0x80));
        }
    }
    alive(&server);
}

/// The zone's SOA record comes; what a full queue dropped is asked again, as a resolver would.
pub(crate) fn alive(server: &Server) {
    let question = query(0, "example.org", 6, 1);
    let reply = (0..10)
        .find_map(|_| ask_udp(server.address(), &question, Duration::from_secs(1)))
        .expect("alive");
    assert_eq!((rcode(&reply), reply[7]), (0, 1));
}

#[test]
fn every_type_in_every_class_gets_an_rcode_and_metrics_stay_few() {
    let admin = free_port();
    let server = Server::start(
        "types",
        &format!(
            "example.org {{\n  bind 127.0.0.1\n  prometheus 127.0.0.1:{admin}\n  \
             hosts {{\n    192.0.2.1 www.example.org\n  }}\n}}\n"
        ),
    );
    let began = Instant::now();
    let classes = [1_u16, 3, 4, 255, 254, 0];
    let count = 65_536 * classes.len();
    let mut outcomes = [0_usize; 16];
    let mut failed: Vec<u16> = Vec::new();
    let make = |number: usize, octets: &mut Vec<u8>| {
        let qclass = classes[number / 65_536];
        octets.extend_from_slice(&query(0x0100, "www.example.org", number as u16, qclass));
        octets[..2].copy_from_slice(&(number as u16).to_be_bytes());
    };
    let lost = flood(server.address(), count, make, |reply| {
        assert!(reply[2] & 0x80 != 0 && reply.len() <= 512, "{reply:02x?}");
        outcomes[rcode(reply) as usize] += 1;
        if rcode(reply) == 2 {
            failed.push(u16::from_be_bytes([reply[0], reply[1]]));
        }
    });
    assert_eq!(lost, 0, "replies that did not come");
    assert_eq!(outcomes[0..6].iter().sum::<usize>(), count, "{outcomes:?}");
    // Outside IN everything is refused; in IN only PTR, which `hosts` leaves to others, fails.
    assert_eq!(outcomes[5], count - 65_536, "{outcomes:?}");
    assert_eq!(failed, vec![12_u16], "types that fail");
    let names = 100_000;
    let lost = flood(
        server.address(),
        names,
        |number, octets| {
            let name = format!("{:x}.{number}.example.org", number * 0x9E37_79B1);
            octets.extend_from_slice(&a(&name));
        },
        |_| {},
    );
    assert_eq!(lost, 0);
    let page = get(SocketAddr::from(([127, 0, 0, 1], admin)), "/metrics").expect("metrics");
    let series = page
        .lines()
        .filter(|line| line.starts_with(['c', 'n', 'p']))
        .count();
    assert!(series < 1_000, "{series} series");
    figure(&format!(
        "{} queries of all types and {names} names in {:?}: {outcomes:?}, {series} series, {} KiB of metrics",
        count,
        began.elapsed(),
        page.len() / 1_024
    ));
}

#[test]
fn names_cannot_forge_a_line_of_the_log() {
    let server = Server::start(
        "forged",
        ". {\n  bind 127.0.0.1\n  log\n  errors\n  hosts {\n    192.0.2.1 a.example.org\n  }\n}\n",
    );
    // The last line of the start.
    server.wait_for_log("order coredns");
    let before = server.log().lines().count();
    let mut asked = 0;
    for octet in 0..=255_u8 {
        for label in [vec![octet], vec![b'a', octet, b'b'], vec![octet; 63]] {
            let mut octets = a("example.org");
            let mut name = vec![label.len() as u8];
            name.extend_from_slice(&label);
            octets.splice(12..12, name);
            assert!(server.ask(&octets).is_some(), "an answer to {label:?}");
            asked += 1;
        }
    }
    // A line of the query log and one of `errors` or none, each.
    server.ask(&a("last.example.org"));
    server.wait_for_log("last.example.org");
    let log = server.log();
    for line in log.lines().skip(before) {
        assert!(
            line.starts_with("[INFO] ") || line.starts_with("[ERROR] "),
            "{line:?}"
        );
        assert!(line.chars().all(|c| (' '..='~').contains(&c)), "{line:?}");
    }
    let queries = log.lines().filter(|line| line.contains("\"A IN ")).count();
    assert_eq!(queries, asked + 1);
}

#[test]
fn an_output_that_nobody_reads_holds_nobody() {
    use std::process::Stdio;
    let dir = crate::server::temporary_directory("unread");
    let port = free_port();
    std::fs::write(
        dir.join("Corefile"),
        format!(".:{port} {{\n  bind 127.0.0.1\n  log\n  errors\n  whoami\n}}\n"),
    )
    .expect("written");
    let mut child = crate::server::nameplate(&dir)
        .args(["-conf", "Corefile"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("started");
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    wait_until("the first answer", || {
        ask_udp(address, &a("a.example.org"), Duration::from_millis(200)).is_some()
    });
    let long = format!("{0}.{0}.{0}.example.org", "x".repeat(63));
    let lost = flood(
        address,
        30_000,
        |_, octets| octets.extend_from_slice(&a(&long)),
        |_| {},
    );
    assert_eq!(lost, 0, "queries that were held by the log");
    let _ = child.kill();
    let _ = child.wait();
}

#[test]
fn two_servers_do_not_talk_to_each_other() {
    // FORMERR, REFUSED and NOTIMP of one server are responses to the other: the conversation ends at once.
    let server = zone_server("loop", "");
    for octets in [
        &[0_u8; 12][..],
        &query(0x7800, "example.org", 1, 1),
        &a("example.net"),
    ] {
        let reply = server.ask(octets).expect("a reply");
        assert_eq!(
            ask_udp(server.address(), &reply, Duration::from_millis(50)),
            None
        );
    }
}

#[test]
fn a_small_question_gets_no_large_datagram() {
    let dir = crate::server::temporary_directory("amplified");
    let mut zone = String::from(
        "$ORIGIN example.org.\n$TTL 300\n@ SOA ns hostmaster 1 7200 3600 1209600 300\n@ NS ns\nns A 192.0.2.53\n",
    );
    for number in 0..200 {
        zone.push_str(&format!("big TXT \"{number:0>200}\"\n"));
    }
    std::fs::write(dir.join("example.org.zone"), zone).expect("written");
    let server = Server::start_in(&dir, ZONE);
    let plain = query(0, "big.example.org", 16, 1);
    for (name, octets, limit) in [
        ("no OPT", plain.clone(), 512),
        ("size 0", with_opt(plain.clone(), 0, 0, &[]), 512),
        ("size 511", with_opt(plain.clone(), 511, 0, &[]), 512),
        (
            "size 1232",
            with_opt(plain.clone(), 1_232, 0x8000, &[]),
            1_232,
        ),
        ("size 4096", with_opt(plain.clone(), 4_096, 0, &[]), 1_232),
        ("size 65535", with_opt(plain.clone(), 65_535, 0, &[]), 1_232),
        (
            "ANY",
            with_opt(query(0, "big.example.org", 255, 1), 65_535, 0, &[]),
            1_232,
        ),
    ] {
        let reply = server.ask(&octets).expect("a reply");
        assert!(reply.len() <= limit, "{name}: {} octets", reply.len());
        assert_eq!(reply[2] & 0x02, 0x02, "{name}: TC");
        // RFC 6891, 6.2.4: our OPT record says what we take, whatever the client takes.
        let opt = reply.len().checked_sub(11).map(|at| &reply[at..]);
        let ours = opt.filter(|opt| opt.starts_with(&[0, 0, 41]));
        let size = ours.map(|opt| u16::from_be_bytes([opt[3], opt[4]]));
        let expected = (octets.len() > plain.len()).then_some(1_232);
        assert_eq!(size, expected, "{name}");
    }
    let whole = server.ask_tcp(&plain).expect("a reply");
    assert_eq!(
        (u16::from_be_bytes([whole[6], whole[7]]), whole[2] & 2),
        (200, 0)
    );
}
