//! `kubernetes` on generated clusters: list to ready, memory, an endpoint's change to its answer while others change, and what an answer
//! costs meanwhile.
//!
//! `cargo bench --bench clusters [-- small|medium|large|pods|load|search]` prints a row for each cluster: the server's binary, with TLS,
//! against the API server of the tests, which is in the bench's own process (its memory is not counted, but it takes processor time of
//! the same machine: the times are upper bounds). `load` and `search` are in [`under_churn`].

mod under_churn;

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use cluster::{Kind, Server as Api, Size, Strike};
use hickory_proto::op::{Message, Query};
use hickory_proto::rr::{Name, RData, RecordType};
use serde_json::json;

/// Changes a second while the time to an answer is taken, and for how long.
const RATE: u32 = 500;
const CHURN: Duration = Duration::from_secs(20);
/// Of those, the changes that are followed.
const PROBES: u32 = 40;

fn main() {
    let wanted: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with('-'))
        .collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|word| word == name);
    let clusters = [
        ("small", Size::SMALL, "disabled"),
        ("medium", Size::MEDIUM, "disabled"),
        ("large", Size::LARGE, "disabled"),
        ("pods", Size::LARGE, "verified"),
    ];
    let mut rows = clusters
        .iter()
        .filter(|(name, ..)| is_wanted(name))
        .peekable();
    if rows.peek().is_some() {
        println!(
            "{:<8} {:>9} {:>9} {:>9} {:>9} {:>9} {:>10} {:>9} {:>9} {:>9} {:>9} {:>8}",
            "cluster",
            "start ms",
            "list ms",
            "CPU ms",
            "peak MB",
            "RSS MB",
            "relist MB",
            "churn MB",
            "p50 ms",
            "p99 ms",
            "max ms",
            "CPU %"
        );
    }
    for &(name, size, pods) in rows {
        row(name, size, pods);
    }
    if is_wanted("load") {
        under_churn::load();
    }
    if is_wanted("search") {
        under_churn::search_path();
    }
}

fn row(name: &str, size: Size, pods: &str) {
    let api = Arc::new(Api::start());
    api.fill(if pods == "disabled" {
        Size { pods: 0, ..size }
    } else {
        size
    });
    let folder = Folder::new(name);
    api.kubeconfig(&folder.0, "token");
    let port = free_port();
    let corefile = format!(
        ".:{port} {{\n  bind 127.0.0.1\n  errors\n  kubernetes cluster.local in-addr.arpa ip6.arpa {{\n    kubeconfig config\n    pods {pods}\n  }}\n}}\n"
    );
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let begun = Instant::now();
    let server = Nameplate::start(&folder.0, &corefile, false);
    Client::new(address).until_ready(size, pods != "disabled");
    let start = begun.elapsed();
    let worked = server.times().1;
    let listed = api.counts().first.map_or(start, |first| first.elapsed());
    thread::sleep(Duration::from_secs(2));
    let (peak, rss) = (server.memory("VmHWM"), server.memory("VmRSS"));
    relist(&api);
    let again = server.memory("VmHWM");
    let before = (Instant::now(), server.times().1);
    let (mut times, rate) = follow(&api, size, address);
    let share = (server.times().1 - before.1).as_secs_f64() / before.0.elapsed().as_secs_f64();
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    println!(
        "{name:<8} {:>9.0} {:>9.0} {:>9.0} {peak:>9.1} {rss:>9.1} {again:>10.1} {:>9.1} {:>9.2} {:>9.2} {:>9.2} {:>8.1}",
        start.as_secs_f64() * 1e3,
        listed.as_secs_f64() * 1e3,
        worked.as_secs_f64() * 1e3,
        server.memory("VmHWM"),
        at(0.5),
        at(0.99),
        at(1.0),
        share * 100.0
    );
    eprintln!("         {rate:.0} changes/s, {} followed", times.len());
}

/// Has everything listed anew, as after an API server's restart; HTTP 410 comes as an event, and then as a status.
fn relist(api: &Api) {
    for (lists, http_gone) in [(2, false), (3, true)] {
        api.set(|settings| settings.http_gone = http_gone);
        // A version that the watches of the other kinds have not heard of: theirs are too old now.
        api.apply(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": format!("later-{lists}")}}));
        api.compact();
        for kind in Kind::ALL {
            api.strike(kind, Strike::Reset);
        }
        let begun = Instant::now();
        let done = || api.counts().streams.get(&Kind::EndpointSlice) >= Some(&lists);
        while !done() {
            assert!(begun.elapsed() < Duration::from_secs(20), "no other list");
            thread::sleep(Duration::from_millis(10));
        }
        thread::sleep(Duration::from_secs(4));
    }
}

/// Changes of endpoints, on a thread of their own.
struct Churn {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<f64>,
}

impl Churn {
    /// Changes slices but the first, so many a second.
    fn start(api: &Arc<Api>, size: Size, rate: u32) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (api, stopped) = (api.clone(), stop.clone());
        let thread = thread::spawn(move || {
            let begun = Instant::now();
            let every = Duration::from_secs(1) / rate;
            let mut number = 0_u32;
            while !stopped.load(Ordering::Relaxed) {
                let slice = 1 + number * 7 % (size.slices - 1);
                let other = format!("198.18.{}.{}", number / 250 % 250, number % 250);
                api.apply(size.changed_slice(slice, &other));
                number += 1;
                thread::sleep((begun + every * number).saturating_duration_since(Instant::now()));
            }
            f64::from(number) / begun.elapsed().as_secs_f64()
        });
        Self { stop, thread }
    }

    /// Ends them; how many there were a second.
    fn end(self) -> f64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("no panic")
    }
}

/// Changes endpoints at [`RATE`]; the times from some changes to their answers, and the rate that was reached.
fn follow(api: &Arc<Api>, size: Size, address: SocketAddr) -> (Vec<Duration>, f64) {
    let churn = Churn::start(api, size, RATE - PROBES);
    // Slice 0 is that of a headless service: its addresses are the answer.
    let mut client = Client::new(address);
    let owner = size.owner(0);
    let (mut times, begun, mut number) = (Vec::new(), Instant::now(), 0);
    while begun.elapsed() < CHURN {
        let new = format!("198.19.{}.{}", number / 250, number % 250);
        number += 1;
        let change = size.changed_slice(0, &new);
        let changed = Instant::now();
        api.apply(change);
        while !client.ask(&owner).is_some_and(|found| found.contains(&new)) {
            assert!(changed.elapsed() < Duration::from_secs(10), "no answer");
        }
        times.push(changed.elapsed());
        let next = begun + Duration::from_secs(1) / PROBES * number;
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    let rate = f64::from(number) / begun.elapsed().as_secs_f64();
    (times, rate + churn.end())
}

/// A query for the IPv4 addresses of a name.
fn address_query(name: &str) -> Vec<u8> {
    let mut message = Message::query();
    let name = Name::from_ascii(name).expect("a name");
    message.add_query(Query::query(name, RecordType::A));
    message.to_vec().expect("a query")
}

/// Asks for the addresses of services.
struct Client(UdpSocket);

impl Client {
    fn new(address: SocketAddr) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        socket.connect(address).expect("an address");
        let patience = Some(Duration::from_millis(200));
        socket.set_read_timeout(patience).expect("a timeout");
        Self(socket)
    }

    /// Waits until every list is complete, as the answers show: a service with an address of its own, one whose addresses are its
    /// endpoints', and a pod.
    fn until_ready(&mut self, size: Size, pods: bool) {
        let headless = (size.services - 1) / 20 * 20;
        let mut wanted = vec![
            format!("{}.svc", size.owner(size.services - 1)),
            format!("{}.svc", size.owner(headless)),
        ];
        if pods {
            wanted.push("10-128-0-1.ns-0.pod".to_owned());
        }
        let begun = Instant::now();
        while let Some(name) = wanted.last() {
            if self.addresses(name).is_some_and(|found| !found.is_empty()) {
                wanted.pop();
            } else {
                thread::sleep(Duration::from_millis(1));
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "not ready");
        }
    }

    fn ask(&mut self, service: &str) -> Option<Vec<String>> {
        self.addresses(&format!("{service}.svc"))
    }

    /// The addresses of a name of the cluster.
    fn addresses(&mut self, name: &str) -> Option<Vec<String>> {
        let answer = self.exchange(&address_query(&format!("{name}.cluster.local.")))?;
        let found = answer
            .answers
            .iter()
            .filter_map(|record| match &record.data {
                RData::A(address) => Some(address.to_string()),
                _ => None,
            });
        Some(found.collect())
    }

    fn exchange(&mut self, query: &[u8]) -> Option<Message> {
        self.0.send(query).ok()?;
        let mut answer = [0; 4096];
        let length = self.0.recv(&mut answer).ok()?;
        Message::from_vec(&answer[..length]).ok()
    }
}

/// A folder that goes when it is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("nameplate-bench-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The binary at work.
struct Nameplate(Child);

impl Nameplate {
    /// Starts it, on one core where it is to be loaded.
    fn start(folder: &Path, corefile: &str, one_core: bool) -> Self {
        std::fs::write(folder.join("Corefile"), corefile).expect("written");
        let binary = env!("CARGO_BIN_EXE_nameplate");
        let mut command = if one_core {
            let mut command = Command::new("taskset");
            command.args(["-c", "0", binary]);
            command
        } else {
            Command::new(binary)
        };
        let child = command
            .args(["-conf", "Corefile"])
            .current_dir(folder)
            .stdout(Stdio::null())
            .spawn()
            .expect("the binary starts");
        Self(child)
    }

    /// A figure of its status, in MB (10^6 octets).
    fn memory(&self, field: &str) -> f64 {
        let path = format!("/proc/{}/status", self.0.id());
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(field));
        let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok());
        kib.unwrap_or(0.0) * 1024.0 / 1e6
    }

    /// CPU time of the threads that answer, and of all.
    fn times(&self) -> (Duration, Duration) {
        under_churn::times_of(self.0.id())
    }
}

impl Drop for Nameplate {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}
