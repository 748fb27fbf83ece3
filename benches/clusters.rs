//! `kubernetes` on generated clusters: list to ready, memory, and an endpoint's change to its answer while others change.
//!
//! `cargo bench --bench clusters [-- small|medium|large|pods]` prints a row for each cluster: the binary as built, with TLS, against the
//! API server of the tests on the same machine (which takes processor time too: the times are upper bounds).

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use cluster::{Kind, Server as Api, Size, Strike};
use hickory_proto::op::{Message, Query};
use hickory_proto::rr::{Name, RData, RecordType};

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
    println!(
        "{:<8} {:>10} {:>12} {:>9} {:>9} {:>12} {:>9} {:>9} {:>9}",
        "cluster",
        "start ms",
        "list ms",
        "peak MB",
        "RSS MB",
        "relist MB",
        "p50 ms",
        "p99 ms",
        "max ms"
    );
    for (name, size, pods) in [
        ("small", Size::SMALL, "disabled"),
        ("medium", Size::MEDIUM, "disabled"),
        ("large", Size::LARGE, "disabled"),
        ("pods", Size::LARGE, "verified"),
    ] {
        if wanted.is_empty() || wanted.iter().any(|word| word == name) {
            row(name, size, pods);
        }
    }
}

fn row(name: &str, size: Size, pods: &str) {
    let api = Arc::new(Api::start());
    api.fill(if pods == "disabled" {
        Size { pods: 0, ..size }
    } else {
        size
    });
    let folder =
        std::env::temp_dir().join(format!("nameplate-bench-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    api.kubeconfig(&folder, "token");
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let begun = Instant::now();
    let server = Nameplate::start(&folder, address.port(), pods);
    // The last service of the last list to end; each one of them has to be there.
    let last = size.owner(size.slices - 1);
    let mut asker = Asker::new(address);
    while asker.ask(&last).is_none_or(|found| found.is_empty()) {
        thread::sleep(Duration::from_millis(1));
        assert!(begun.elapsed() < Duration::from_secs(60), "not ready");
    }
    let start = begun.elapsed();
    let listed = api.counts().first.map_or(start, |first| first.elapsed());
    thread::sleep(Duration::from_secs(2));
    let (peak, rss) = (server.memory("VmHWM"), server.memory("VmRSS"));
    relist(&api);
    let again = server.memory("VmHWM");
    let mut times = churn(&api, size, address);
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    println!(
        "{name:<8} {:>10.0} {:>12.0} {peak:>9.1} {rss:>9.1} {again:>12.1} {:>9.2} {:>9.2} {:>9.2}",
        start.as_secs_f64() * 1e3,
        listed.as_secs_f64() * 1e3,
        at(0.5),
        at(0.99),
        at(1.0)
    );
    drop(server);
    let _ = std::fs::remove_dir_all(folder);
}

/// Has everything listed anew, as after an API server's restart.
fn relist(api: &Api) {
    api.compact();
    for kind in Kind::ALL {
        api.strike(kind, Strike::Reset);
    }
    let begun = Instant::now();
    let done = || api.counts().streams.get(&Kind::EndpointSlice) >= Some(&2);
    while !done() && begun.elapsed() < Duration::from_secs(20) {
        thread::sleep(Duration::from_millis(10));
    }
    thread::sleep(Duration::from_secs(4));
}

/// Changes endpoints at [`RATE`]; the times from some changes to their answers.
fn churn(api: &Arc<Api>, size: Size, address: SocketAddr) -> Vec<Duration> {
    let stop = Arc::new(AtomicBool::new(false));
    let done = Arc::new(AtomicU32::new(0));
    let changer = {
        let (api, stop, done) = (api.clone(), stop.clone(), done.clone());
        thread::spawn(move || {
            let begun = Instant::now();
            let every = Duration::from_secs(1) / (RATE - PROBES);
            for number in 0.. {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let slice = 1 + number * 7 % (size.slices - 1);
                let other = format!("198.18.{}.{}", number / 250 % 250, number % 250);
                api.apply(size.changed_slice(slice, &other));
                done.fetch_add(1, Ordering::Relaxed);
                thread::sleep((begun + every * number).saturating_duration_since(Instant::now()));
            }
        })
    };
    // Slice 0 is that of a headless service: its addresses are the answer.
    let mut asker = Asker::new(address);
    let owner = size.owner(0);
    let (mut times, begun, mut number) = (Vec::new(), Instant::now(), 0);
    while begun.elapsed() < CHURN {
        let new = format!("198.19.{}.{}", number / 250, number % 250);
        number += 1;
        let change = size.changed_slice(0, &new);
        let changed = Instant::now();
        api.apply(change);
        while !asker.ask(&owner).is_some_and(|found| found.contains(&new)) {
            assert!(changed.elapsed() < Duration::from_secs(10), "no answer");
        }
        times.push(changed.elapsed());
        let next = begun + Duration::from_secs(1) / PROBES * number;
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    stop.store(true, Ordering::Relaxed);
    let _ = changer.join();
    let rate = f64::from(done.load(Ordering::Relaxed) + number) / begun.elapsed().as_secs_f64();
    eprintln!("         {rate:.0} changes/s, {} followed", times.len());
    times
}

/// Asks for the addresses of services.
struct Asker(UdpSocket);

impl Asker {
    fn new(address: SocketAddr) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        socket.connect(address).expect("an address");
        let patience = Some(Duration::from_millis(200));
        socket.set_read_timeout(patience).expect("a timeout");
        Self(socket)
    }

    fn ask(&mut self, service: &str) -> Option<Vec<String>> {
        let name = format!("{service}.svc.cluster.local.");
        let mut message = Message::query();
        let name = Name::from_ascii(name).expect("a name");
        message.add_query(Query::query(name, RecordType::A));
        self.0.send(&message.to_vec().expect("a query")).ok()?;
        let mut answer = [0; 4096];
        let length = self.0.recv(&mut answer).ok()?;
        let answer = Message::from_vec(&answer[..length]).ok()?;
        let found = answer
            .answers
            .iter()
            .filter_map(|record| match &record.data {
                RData::A(address) => Some(address.to_string()),
                _ => None,
            });
        Some(found.collect())
    }
}

/// The binary at work.
struct Nameplate(Child);

impl Nameplate {
    fn start(folder: &Path, port: u16, pods: &str) -> Self {
        let corefile = format!(
            ".:{port} {{\n  bind 127.0.0.1\n  errors\n  kubernetes cluster.local in-addr.arpa ip6.arpa {{\n    kubeconfig config\n    pods {pods}\n  }}\n}}\n"
        );
        std::fs::write(folder.join("Corefile"), corefile).expect("written");
        let child = Command::new(env!("CARGO_BIN_EXE_nameplate"))
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
