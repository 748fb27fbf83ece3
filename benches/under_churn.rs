//! What an answer costs while a cluster changes: the CPU time of the threads that answer, beside a hosts file's in the same process, and
//! a search path that ends in nothing.

use std::fmt::Write as _;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use cluster::{Server as Api, Size};
use hickory_proto::op::{Message, ResponseCode};

use super::{Churn, Client, Folder, Nameplate, RATE, address_query, free_port};

/// Lines of the hosts file, as in W2 of the load bench.
const HOSTS: u32 = 10_000;
/// Queries in flight.
const WINDOW: usize = 128;
/// How long before counting, how long is counted, and how often each load has its turn.
const WARM: Duration = Duration::from_millis(500);
const COUNTED: Duration = Duration::from_secs(3);
const ROUNDS: usize = 5;

/// CPU time of the server for each answer: hosts and services in turn, with and without churn.
pub(crate) fn load() {
    let size = Size {
        pods: 0,
        ..Size::LARGE
    };
    let api = Arc::new(Api::start());
    api.fill(size);
    let folder = Folder::new("load");
    api.kubeconfig(&folder.0, "token");
    let mut hosts = String::new();
    for number in 0..HOSTS {
        let [.., high, low] = number.to_be_bytes();
        let _ = writeln!(hosts, "10.0.{high}.{low} h{number}.hosts.example");
    }
    std::fs::write(folder.0.join("hosts"), hosts).expect("written");
    let port = free_port();
    let corefile = format!(
        "hosts.example:{port} {{\n  bind 127.0.0.1\n  hosts hosts hosts.example {{\n    ttl 3600\n    reload 0\n    no_reverse\n  }}\n}}\n\
         cluster.local:{port} {{\n  bind 127.0.0.1\n  kubernetes cluster.local {{\n    kubeconfig config\n  }}\n}}\n"
    );
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let server = Nameplate::start(&folder.0, &corefile, true);
    Client::new(address).until_ready(size, false);
    let hosts: Vec<Vec<u8>> = (0..HOSTS)
        .map(|number| address_query(&format!("h{number}.hosts.example.")))
        .collect();
    // Each twentieth is headless: another kind of answer.
    let services: Vec<Vec<u8>> = (0..size.services)
        .filter(|number| !number.is_multiple_of(20))
        .map(|number| address_query(&format!("{}.svc.cluster.local.", size.owner(number))))
        .collect();
    let loads = [
        ("hosts", &hosts, false),
        ("service", &services, false),
        ("hosts, churn", &hosts, true),
        ("service, churn", &services, true),
    ];
    let mut outcomes: [Vec<Outcome>; 4] = Default::default();
    for _ in 0..ROUNDS {
        for ((name, queries, changes), outcomes) in loads.iter().zip(&mut outcomes) {
            let churn = changes.then(|| Churn::start(&api, size, RATE));
            outcomes.push(ask(address, queries, &server));
            if let Some(churn) = churn {
                let rate = churn.end();
                assert!(rate > f64::from(RATE) * 0.9, "{name}: {rate} changes/s");
            }
        }
    }
    println!(
        "{:<16} {:>15} {:>10} {:>16} {:>9}",
        "load", "CPU us, workers", "to hosts", "CPU us, process", "answers/s"
    );
    let first = median(&outcomes[0], |one| one.workers);
    for ((name, ..), outcomes) in loads.iter().zip(&outcomes) {
        let workers = median(outcomes, |one| one.workers);
        println!(
            "{name:<16} {workers:>15.2} {:>10.2} {:>16.2} {:>9.0}",
            workers / first,
            median(outcomes, |one| one.process),
            median(outcomes, |one| one.rate)
        );
    }
    let least = |at: usize| {
        let costs = outcomes[at].iter().map(|one| one.workers);
        costs.fold(f64::INFINITY, f64::min)
    };
    println!(
        "least of {ROUNDS}: hosts {:.2}, service {:.2}, hosts, churn {:.2}, service, churn {:.2}",
        least(0),
        least(1),
        least(2),
        least(3)
    );
}

fn median(outcomes: &[Outcome], of: impl Fn(&Outcome) -> f64) -> f64 {
    let mut all: Vec<f64> = outcomes.iter().map(of).collect();
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

/// What a window of load came to: CPU microseconds for each answer, and answers a second.
struct Outcome {
    workers: f64,
    process: f64,
    rate: f64,
}

/// Asks `queries` one after the other, so many in flight.
fn ask(address: SocketAddr, queries: &[Vec<u8>], server: &Nameplate) -> Outcome {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.connect(address).expect("an address");
    let patience = Some(Duration::from_millis(200));
    socket.set_read_timeout(patience).expect("a timeout");
    let mut next = 0;
    let mut send = |many: usize| {
        for _ in 0..many {
            let _ = socket.send(&queries[next % queries.len()]);
            // A step that is prime to the number of names: neighbours are not asked together.
            next += 7_919;
        }
    };
    let mut answer = [0; 512];
    let mut counted = 0_u32;
    let mut from = None;
    let begun = Instant::now();
    send(WINDOW);
    loop {
        match socket.recv(&mut answer) {
            Ok(_) => {
                assert!(answer[3] & 15 == 0 && answer[7] > 0, "an answer");
                counted += 1;
                send(1);
            }
            // Lost: a full socket buffer.
            Err(_) => send(WINDOW),
        }
        if !counted.is_multiple_of(64) {
            continue;
        }
        if from.is_none() && begun.elapsed() > WARM {
            counted = 0;
            from = Some((Instant::now(), server.times()));
        }
        if let Some((at, (workers, process))) = from
            && at.elapsed() > COUNTED
        {
            let (workers_now, process_now) = server.times();
            let cost =
                |from: Duration, to: Duration| (to - from).as_secs_f64() * 1e6 / f64::from(counted);
            return Outcome {
                workers: cost(workers, workers_now),
                process: cost(process, process_now),
                rate: f64::from(counted) / at.elapsed().as_secs_f64(),
            };
        }
    }
}

/// A pod's search path for a name that nobody has: who is asked, and how long it takes.
pub(crate) fn search_path() {
    const TIMES: u32 = 2_000;
    let size = Size {
        pods: 0,
        ..Size::LARGE
    };
    let api = Api::start();
    api.fill(size);
    let folder = Folder::new("search");
    api.kubeconfig(&folder.0, "token");
    let upstream = Upstream::start();
    let port = free_port();
    let corefile = format!(
        ".:{port} {{\n  bind 127.0.0.1\n  kubernetes cluster.local {{\n    kubeconfig config\n  }}\n  forward . {}\n  cache 30\n}}\n",
        upstream.address
    );
    let server = Nameplate::start(&folder.0, &corefile, true);
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    Client::new(address).until_ready(size, false);
    // Another socket: late answers to the questions before are not for it.
    let mut client = Client::new(address);
    let names = [
        "ns-1.svc.cluster.local.",
        "svc.cluster.local.",
        "cluster.local.",
        "corp.example.net.",
        "",
    ];
    let queries = names.map(|suffix| address_query(&format!("www.example.org.{suffix}")));
    let mut path = || {
        for query in &queries {
            let answer = client.exchange(query).expect("an answer");
            assert_eq!(answer.metadata.response_code, ResponseCode::NXDomain);
        }
    };
    path();
    let (cluster, other) = upstream.asked();
    let begun = Instant::now();
    for _ in 0..TIMES {
        path();
    }
    let took = begun.elapsed().as_secs_f64() * 1e6 / f64::from(TIMES);
    let (cluster_then, other_then) = upstream.asked();
    println!(
        "search path of {}: NXDOMAIN each; upstream was asked {cluster} names of the cluster and {other} others, \
         then in {TIMES} times {} and {}; {took:.0} us a path, one query after the other",
        names.len(),
        cluster_then - cluster,
        other_then - other
    );
    drop(server);
}

/// An upstream that has no names.
struct Upstream {
    address: SocketAddr,
    /// Queries for names of the cluster, and for others.
    asked: Arc<[AtomicU64; 2]>,
}

impl Upstream {
    fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let address = socket.local_addr().expect("an address");
        let asked = Arc::new([AtomicU64::new(0), AtomicU64::new(0)]);
        let counts = asked.clone();
        thread::spawn(move || {
            let mut query = [0; 512];
            while let Ok((length, peer)) = socket.recv_from(&mut query) {
                let Ok(asked) = Message::from_vec(&query[..length]) else {
                    continue;
                };
                let name = asked.queries[0].name().to_ascii();
                let other = !name.ends_with("cluster.local.");
                counts[usize::from(other)].fetch_add(1, Ordering::Relaxed);
                // The root's SOA record, for a cache: `. 300 IN SOA . . 1 1 1 1 300`.
                let mut answer = query[..length].to_vec();
                // Header, name with its root, type and class; no OPT record.
                answer.truncate(12 + asked.queries[0].name().len() + 1 + 4);
                answer[2..4].copy_from_slice(&[0x81, 0x83]);
                answer[6..12].copy_from_slice(&[0, 0, 0, 1, 0, 0]);
                answer.extend_from_slice(&[0, 0, 6, 0, 1, 0, 0, 1, 0x2C, 0, 22, 0, 0]);
                for number in [1_u32, 1, 1, 1, 300] {
                    answer.extend_from_slice(&number.to_be_bytes());
                }
                let _ = socket.send_to(&answer, peer);
            }
        });
        Self { address, asked }
    }

    fn asked(&self) -> (u64, u64) {
        let count = |at: usize| self.asked[at].load(Ordering::Relaxed);
        (count(0), count(1))
    }
}

/// CPU time of a process's threads that answer, and of all, as the scheduler counts it.
pub(crate) fn times_of(process: u32) -> (Duration, Duration) {
    let (mut workers, mut all) = (Duration::ZERO, Duration::ZERO);
    let threads = std::fs::read_dir(Path::new("/proc").join(process.to_string()).join("task"));
    for thread in threads.into_iter().flatten().flatten() {
        let read =
            |file: &str| std::fs::read_to_string(thread.path().join(file)).unwrap_or_default();
        let counted = read("schedstat");
        let nanoseconds = counted
            .split(' ')
            .next()
            .and_then(|number| number.parse().ok());
        let time = Duration::from_nanos(nanoseconds.unwrap_or(0));
        all += time;
        if read("comm").starts_with("worker-") {
            workers += time;
        }
    }
    (workers, all)
}
