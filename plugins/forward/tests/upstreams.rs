//! Several upstreams: policies, failing over, health, bounds; and several `forward`s.

use super::*;

/// An address where nobody listens.
fn closed() -> SocketAddr {
    bound().local_addr().expect("an address")
}

#[test]
fn a_refusing_upstream_costs_no_time() {
    let (good, _) = honest(3);
    let text = format!(
        ". {{\n forward . {} {good} {{\n policy sequential\n }}\n}}",
        closed()
    );
    let block = build(&text).expect("a block");
    on_worker(async {
        let began = Instant::now();
        for _ in 0..5 {
            assert_eq!(ask(&block, "example.org.").await.mark(), Some(3));
        }
        assert!(began.elapsed() < Duration::from_millis(500));
    });
}

#[test]
fn a_silent_upstream_costs_its_timeout_until_it_is_down() {
    let silent = bound();
    let (good, _) = honest(3);
    let text = format!(
        ". {{\n forward . {} {good} {{\n policy sequential\n read_timeout 100ms\n max_fails 1\n health_check 50ms\n }}\n}}",
        silent.local_addr().expect("an address")
    );
    let block = build(&text).expect("a block");
    on_worker(async {
        let began = Instant::now();
        assert_eq!(ask(&block, "example.org.").await.mark(), Some(3));
        let took = began.elapsed();
        assert!(
            took >= Duration::from_millis(100) && took < Duration::from_millis(400),
            "{took:?}"
        );
        // After two failed probes of one second each it is not asked any more.
        let began = Instant::now();
        loop {
            let asked = Instant::now();
            assert_eq!(ask(&block, "example.org.").await.mark(), Some(3));
            if asked.elapsed() < Duration::from_millis(80) {
                break;
            }
            assert!(began.elapsed() < Duration::from_secs(4));
        }
    });
}

#[test]
fn a_silent_upstream_delays_only_the_queries_that_find_it() {
    // Not down yet: that takes three failed probes, some four seconds.
    for policy in ["sequential", "random", "round_robin"] {
        let silent = bound();
        let (good, _) = honest(3);
        let text = format!(
            ". {{\n forward . {} {good} {{\n policy {policy}\n }}\n}}",
            silent.local_addr().expect("an address")
        );
        let block = build(&text).expect("a block");
        on_worker(async {
            let began = Instant::now();
            let mut slow = 0;
            for i in 0..200 {
                let asked = Instant::now();
                assert_eq!(
                    ask(&block, &format!("{i}.example.org.")).await.mark(),
                    Some(3)
                );
                slow += usize::from(asked.elapsed() > Duration::from_millis(200));
            }
            let took = began.elapsed();
            assert_eq!(slow, 1, "{policy}: found once");
            assert!(took < Duration::from_millis(1_500), "{policy}: {took:?}");
        });
    }
}

#[test]
fn a_lost_datagram_is_sent_again_where_there_is_no_other_upstream() {
    // How many datagrams of each query are lost, and how long its answer takes then.
    for (lost, took) in [(1, 380..700), (2, 780..1_000)] {
        let mut met = HashMap::new();
        let (address, seen) = serve(bound(), move |_, query| {
            let times: &mut usize = met.entry(query[12..].to_vec()).or_default();
            *times += 1;
            match query.ends_with(&[0, 2, 0, 1]) || *times > lost {
                true => vec![reply(query, 9)],
                false => Vec::new(),
            }
        });
        let text = format!(". {{\n forward . {address} {{\n max_connect_attempts 1\n }}\n}}");
        let block = build(&text).expect("a block");
        on_worker(async {
            let began = Instant::now();
            let got = ask(&block, "a.example.org.").await;
            assert_eq!(got.mark(), Some(9), "{got:?} {:?}", began.elapsed());
            let elapsed = began.elapsed().as_millis();
            assert!(took.contains(&elapsed), "{lost} lost: {elapsed} ms");
        });
        let log = seen.log.lock().expect("a log");
        let sent: Vec<_> = log
            .iter()
            .filter(|(_, query)| query.ends_with(&[0, 1, 0, 1]))
            .collect();
        assert_eq!(sent.len(), lost + 1);
        assert_eq!(sent[0], sent[1], "the same, which gives no more to guess");
        if lost > 1 {
            assert_ne!(sent[1].1[..2], sent[2].1[..2], "under another ID");
        }
    }
}

/// What became of a query, and after how long.
type Asked = tokio::task::JoinHandle<(Option<u8>, Duration)>;

/// Asks for numbered names, each in a task of its own.
fn ask_each(block: &Arc<Block>, names: std::ops::Range<usize>) -> Vec<Asked> {
    let ask_one = |number| {
        let (block, name) = (block.clone(), format!("n{number}.example.org."));
        tokio::task::spawn_local(async move {
            let asked = Instant::now();
            let got = ask(&block, &name).await;
            (got.mark(), asked.elapsed())
        })
    };
    names.map(ask_one).collect()
}

/// The same, no faster than an upstream's queue takes them.
async fn ask_many(block: &Arc<Block>, count: usize, taken: impl Fn() -> usize) -> Vec<Asked> {
    let mut out = Vec::new();
    let before = taken();
    while out.len() < count {
        out.extend(ask_each(block, out.len()..(out.len() + 100).min(count)));
        while taken() < before + out.len() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    out
}

#[test]
fn a_burst_that_is_lost_is_sent_again_before_its_clients_despair() {
    const LOST: usize = 1_500;
    let losing = Arc::new(AtomicBool::new(false));
    let loses = losing.clone();
    let (address, seen) = serve(bound(), move |_, query| {
        match loses.load(Ordering::SeqCst) {
            true => Vec::new(),
            false => vec![reply(query, 7)],
        }
    });
    let block = build(&format!(". {{\n forward . {address}\n}}")).expect("a block");
    on_worker(async {
        // So that it is known how long a reply takes.
        for i in 0..20 {
            ask(&block, &format!("{i}.example.org.")).await;
        }
        losing.store(true, Ordering::SeqCst);
        let asked = ask_many(&block, LOST, || seen.count()).await;
        losing.store(false, Ordering::SeqCst);
        let mut slowest = Duration::ZERO;
        for asked in asked {
            let (mark, took) = asked.await.expect("an answer");
            assert_eq!(mark, Some(7));
            slowest = slowest.max(took);
        }
        eprintln!(
            "FIGURE {LOST} queries lost on the way to their upstream are answered in {slowest:?} at most"
        );
        // A stub resolver of glibc waits this long before it asks again. When a copy is sent is a test of the transaction.
        assert!(slowest < Duration::from_secs(5), "{slowest:?}");
    });
}

/// Datagrams from `port` that found a socket's buffer full.
fn dropped(port: u16) -> usize {
    let from = format!(":{port:04X}");
    let table = std::fs::read_to_string("/proc/net/udp").expect("the kernel's table");
    table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|fields| fields.get(2).is_some_and(|remote| remote.ends_with(&from)))
        .filter_map(|fields| fields.last()?.parse::<usize>().ok())
        .sum()
}

#[test]
fn replies_that_come_while_the_worker_is_away_have_room() {
    const ASKED: usize = 4_000;
    let socket = bound();
    let address = socket.local_addr().expect("an address");
    let taken = Arc::new(AtomicUsize::new(0));
    let count = taken.clone();
    std::thread::spawn(move || {
        // A name that comes again was thought lost; that is not what is tested.
        let mut asked = HashMap::new();
        let mut buffer = [0; 512];
        while let Ok((len, from)) = socket.recv_from(&mut buffer) {
            asked.insert(buffer[2..len].to_vec(), (buffer[..len].to_vec(), from));
            count.store(asked.len(), Ordering::SeqCst);
            if asked.len() >= ASKED {
                for (query, from) in asked.values() {
                    socket.send_to(&reply(query, 5), from).expect("sent");
                }
                count.store(2 * ASKED, Ordering::SeqCst);
                break;
            }
        }
    });
    let block = build(&format!(". {{\n forward . {address}\n}}")).expect("a block");
    on_worker(async {
        // All but the last hundred, so that the worker is away when the upstream begins.
        let mut asked = ask_many(&block, ASKED - 100, || taken.load(Ordering::SeqCst)).await;
        asked.extend(ask_each(&block, ASKED - 100..ASKED));
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        while taken.load(Ordering::SeqCst) < 2 * ASKED {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(dropped(address.port()), 0);
        for asked in asked {
            assert_eq!(asked.await.expect("an answer").0, Some(5));
        }
    });
}

#[test]
fn an_upstream_that_comes_back_is_asked_again() {
    let first = bound();
    let address = first.local_addr().expect("an address");
    drop(first);
    let (good, _) = honest(3);
    let text = format!(
        ". {{\n forward . {address} {good} {{\n policy sequential\n max_fails 1\n health_check 50ms domain example.net\n }}\n}}"
    );
    let block = build(&text).expect("a block");
    on_worker(async {
        assert_eq!(ask(&block, "example.org.").await.mark(), Some(3));
        tokio::time::sleep(Duration::from_millis(300)).await;
        let (_, seen) = serve(UdpSocket::bind(address).expect("the port"), |_, query| {
            vec![reply(query, 1)]
        });
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(ask(&block, "example.org.").await.mark(), Some(1));
        let log = seen.log.lock().expect("a log");
        let probe = wire::Message::new(&log[0].1).expect("a message");
        let (name, qtype, ..) = probe.question().expect("a question");
        assert_eq!(
            (name.to_string(), qtype),
            ("example.net.".to_owned(), Type::NS)
        );
        assert!(probe.flags().has(wire::Flags::RD));
        // Healthy means no more probes: the second query is the client's.
        assert_eq!(log.len(), 2);
    });
}

#[test]
fn nobody_answers() {
    let silent = bound();
    let address = silent.local_addr().expect("an address");
    // (upstream, options, cause begins, cause ends, INFO-CODE, longest time in ms)
    let cases = [
        (
            address,
            "read_timeout 100ms",
            "read udp",
            "i/o timeout",
            22,
            900,
        ),
        (
            address,
            "read_timeout 100ms\n max_connect_attempts 1",
            "read udp",
            "i/o timeout",
            22,
            190,
        ),
        (closed(), "", "read udp", "connection refused", 23, 200),
        (
            closed(),
            "force_tcp",
            "dial tcp",
            "connection refused",
            23,
            200,
        ),
        (
            address,
            "read_timeout 10s\n max_connect_attempts 0",
            "read udp",
            "i/o timeout",
            22,
            5_400,
        ),
    ];
    for (upstream, options, begins, ends, code, most) in cases {
        let block = build(&format!(
            ". {{\n forward . {upstream} {{\n {options}\n }}\n}}"
        ))
        .expect("a block");
        let began = Instant::now();
        let got = on_worker(ask(&block, "example.org."));
        assert_eq!(
            (got.rcode, got.extended),
            (Rcode::SERVFAIL, Some(code)),
            "{options}"
        );
        let cause = got.failure.expect("a cause");
        assert!(
            cause.starts_with(&format!("{begins} {upstream} (attempt ")),
            "{cause}"
        );
        assert!(cause.ends_with(ends), "{cause}");
        assert!(
            began.elapsed() < Duration::from_millis(most),
            "{options}: {:?}",
            began.elapsed()
        );
    }
}

#[test]
fn all_down_is_tried_at_random_or_fails_fast() {
    for (option, cause) in [
        ("", "connection refused"),
        ("failfast_all_unhealthy_upstreams", "no healthy proxies"),
    ] {
        let text = format!(
            ". {{\n forward . {} {} {{\n max_fails 1\n health_check 20ms\n {option}\n }}\n}}",
            closed(),
            closed()
        );
        let block = build(&text).expect("a block");
        on_worker(async {
            let _ = ask(&block, "a.example.org.").await;
            tokio::time::sleep(Duration::from_millis(200)).await;
            let before = super::super::metrics::healthcheck_broken().get();
            let got = ask(&block, "b.example.org.").await;
            assert!(
                got.failure
                    .as_deref()
                    .is_some_and(|text| text.ends_with(cause)),
                "{got:?}"
            );
            assert!(super::super::metrics::healthcheck_broken().get() > before);
        });
    }
}

#[test]
fn policies() {
    let upstreams: Vec<_> = (1..=3).map(honest).collect();
    let to: Vec<_> = upstreams
        .iter()
        .map(|(address, _)| address.to_string())
        .collect();
    let marks = |policy: &str, count: usize| {
        let text = format!(
            ". {{\n forward . {} {{\n policy {policy}\n }}\n}}",
            to.join(" ")
        );
        let block = build(&text).expect("a block");
        on_worker(async {
            let mut out = Vec::new();
            for _ in 0..count {
                out.push(ask(&block, "example.org.").await.mark().expect("an answer"));
            }
            out
        })
    };
    assert_eq!(marks("sequential", 4), [1, 1, 1, 1]);
    assert_eq!(
        marks("round_robin", 4),
        [2, 3, 1, 2],
        "begins at the second, as CoreDNS does"
    );
    let random = marks("random", 300);
    for mark in 1..=3 {
        let count = random.iter().filter(|&&one| one == mark).count();
        assert!((50..=150).contains(&count), "{mark}: {count}");
    }
}

#[test]
fn failover_asks_each_upstream_once_and_keeps_the_last_word() {
    let (bad, seen_bad) = serve(bound(), |_, query| vec![bare(query, 2)]);
    let (refusing, seen_refusing) = serve(bound(), |_, query| vec![bare(query, 5)]);
    let (good, _) = honest(3);
    let cases = [
        (
            format!("{bad} {refusing} {good}"),
            "failover SERVFAIL REFUSED",
            Rcode::NOERROR,
        ),
        (
            format!("{bad} {refusing} {good}"),
            "failover SERVFAIL",
            Rcode::REFUSED,
        ),
        (format!("{bad} {refusing} {good}"), "", Rcode::SERVFAIL),
        (
            format!("{bad} {refusing}"),
            "failover SERVFAIL REFUSED",
            Rcode::REFUSED,
        ),
    ];
    for (to, option, rcode) in cases {
        let text = format!(". {{\n forward . {to} {{\n policy sequential\n {option}\n }}\n}}");
        let block = build(&text).expect("a block");
        let got = on_worker(ask(&block, "example.org."));
        assert_eq!(got.rcode, rcode, "{to} {option}");
        assert_eq!(got.failure, None, "the upstream's own answer");
    }
    assert_eq!((seen_bad.count(), seen_refusing.count()), (4, 3));
}

#[test]
fn next_hands_on_to_another_forward_only() {
    let (nothing, _) = serve(bound(), |_, query| vec![bare(query, 3)]);
    let (empty, _) = serve(bound(), |_, query| vec![bare(query, 0)]);
    let (good, _) = honest(3);
    let cases = [
        (
            format!("forward . {nothing} {{\n next NXDOMAIN\n }}\n forward . {good}"),
            Rcode::NOERROR,
            Some(3),
        ),
        (
            format!("forward . {nothing} {{\n next SERVFAIL\n }}\n forward . {good}"),
            Rcode::NXDOMAIN,
            None,
        ),
        (
            format!("forward . {nothing} {{\n next NXDOMAIN\n }}"),
            Rcode::NXDOMAIN,
            None,
        ),
        (
            format!("forward . {empty} {{\n next_on_nodata\n }}\n forward . {good}"),
            Rcode::NOERROR,
            Some(3),
        ),
        (
            format!("forward . {empty}\n forward . {good}"),
            Rcode::NOERROR,
            None,
        ),
        // The next one does not take the name, and nobody stands behind it.
        (
            format!("forward . {nothing} {{\n next NXDOMAIN\n }}\n forward example.net {good}"),
            Rcode::SERVFAIL,
            None,
        ),
    ];
    for (body, rcode, mark) in cases {
        let block = build(&format!(". {{\n {body}\n}}")).expect("a block");
        let got = on_worker(ask(&block, "example.org."));
        assert_eq!((got.rcode, got.mark()), (rcode, mark), "{body}");
    }
}

#[test]
fn the_first_forward_that_takes_a_name_has_it() {
    let marks: Vec<_> = (1..=3).map(honest).collect();
    let [a, b, c] = [marks[0].0, marks[1].0, marks[2].0];
    let text = format!(
        ". {{\n forward lab.example.org {a}\n forward example.org {b} {{\n except no.example.org\n }}\n forward 192.0.2.0/24 {c}\n}}"
    );
    let block = build(&text).expect("a block");
    let cases = [
        ("lab.example.org.", Some(1)),
        ("WWW.Lab.Example.ORG.", Some(1)),
        ("xlab.example.org.", Some(2)),
        ("no.example.org.", None),
        ("www.no.example.org.", None),
        ("example.org.", Some(2)),
        ("4.2.0.192.in-addr.arpa.", Some(3)),
        ("example.net.", None),
    ];
    on_worker(async {
        for (name, mark) in cases {
            assert_eq!(ask(&block, name).await.mark(), mark, "{name}");
        }
    });
}

#[test]
fn an_exception_that_is_from_itself_does_not_except_it() {
    let (address, _) = honest(1);
    let text = format!(". {{\n forward example.org {address} {{\n except example.org\n }}\n}}");
    let block = build(&text).expect("a block");
    on_worker(async {
        assert_eq!(ask(&block, "example.org.").await.mark(), Some(1));
        assert_eq!(ask(&block, "www.example.org.").await.mark(), None);
    });
}

#[test]
fn too_many_at_once_are_refused() {
    let silent = bound();
    let text = format!(
        ". {{\n forward . {} {{\n max_concurrent 2\n read_timeout 200ms\n max_connect_attempts 1\n }}\n}}",
        silent.local_addr().expect("an address")
    );
    let block = build(&text).expect("a block");
    let before = super::super::metrics::max_concurrent_rejects().get();
    on_worker(async {
        for round in 0..2 {
            let asked: Vec<_> = (0..5)
                .map(|number| {
                    let block = block.clone();
                    let name = format!("{round}{number}.example.org.");
                    tokio::task::spawn_local(async move { ask(&block, &name).await })
                })
                .collect();
            let mut rcodes = Vec::new();
            for one in asked {
                let got = one.await.expect("an answer");
                if got.rcode == Rcode::REFUSED {
                    assert_eq!(
                        got.failure.as_deref(),
                        Some("concurrent queries exceeded maximum 2")
                    );
                }
                rcodes.push(got.rcode.0);
            }
            assert_eq!(rcodes, [2, 2, 5, 5, 5], "places are given back");
        }
    });
    assert!(super::super::metrics::max_concurrent_rejects().get() >= before + 6);
}

#[test]
fn queries_leave_from_the_source_address() {
    let (address, seen) = honest(1);
    let text = format!(". {{\n forward . {address} {{\n source_address 127.0.0.42\n }}\n}}");
    let block = build(&text).expect("a block");
    assert_eq!(on_worker(ask(&block, "example.org.")).mark(), Some(1));
    assert_eq!(
        seen.log.lock().expect("a log")[0].0.ip().to_string(),
        "127.0.0.42"
    );
}

#[test]
fn a_retired_plugin_leaves_no_sockets() {
    let (address, _) = honest(1);
    on_worker(async {
        let text = format!(". {{\n forward . {address} {{\n expire 1s\n }}\n}}");
        let block = build(&text).expect("a block");
        assert_eq!(ask(&block, "example.org.").await.mark(), Some(1));
        assert_eq!(upstream::open(), 1);
        drop(block);
        assert_eq!(upstream::open(), 1, "the next configuration may want it");
        let began = Instant::now();
        while upstream::open() > 0 {
            assert!(began.elapsed() < Duration::from_secs(5));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
}

#[test]
fn while_one_keeps_silent_another_is_asked() {
    // (delay of the first in ms, does the second answer) → who answers, after how long at least and at most
    let cases = [
        (None, true, Some(2), 780..1_100),
        (Some(1_200), false, Some(1), 1_150..1_500),
        (Some(300), true, Some(1), 300..600),
    ];
    for (delay, second_answers, mark, took) in cases {
        let (first, _) = serve(bound(), move |_, query| match delay {
            Some(delay) => {
                std::thread::sleep(Duration::from_millis(delay));
                vec![reply(query, 1)]
            }
            None => vec![],
        });
        let (second, seen) = serve(bound(), move |_, query| match second_answers {
            true => vec![reply(query, 2)],
            false => vec![],
        });
        let text = format!(". {{\n forward . {first} {second} {{\n policy sequential\n }}\n}}");
        let block = build(&text).expect("a block");
        let began = Instant::now();
        let got = on_worker(ask(&block, "example.org."));
        let elapsed = began.elapsed().as_millis();
        assert_eq!(got.mark(), mark);
        assert!(took.contains(&elapsed), "{elapsed} ms");
        assert_eq!(seen.count(), usize::from(delay != Some(300)));
        let text = text.replace("sequential", "sequential\n max_connect_attempts 1");
        if delay.is_none() {
            let block = build(&text).expect("a block");
            assert_eq!(
                on_worker(ask(&block, "example.org.")).rcode,
                Rcode::SERVFAIL
            );
            assert_eq!(seen.count(), 1, "one attempt is one attempt");
        }
    }
}

#[test]
fn a_worker_holds_so_many_queries_and_no_more() {
    const MOST: usize = upstream::MOST;
    let silent = bound();
    let text = format!(
        ". {{\n forward . {} {{\n read_timeout 3s\n max_connect_attempts 1\n max_fails 0\n }}\n}}",
        silent.local_addr().expect("an address")
    );
    let block = build(&text).expect("a block");
    on_worker(async {
        let asked: Vec<_> = (0..MOST + 10)
            .map(|_| {
                let block = block.clone();
                tokio::task::spawn_local(async move { ask(&block, "example.org.").await.rcode })
            })
            .collect();
        let mut refused = 0;
        for one in asked {
            refused += usize::from(one.await.expect("an answer") == Rcode::REFUSED);
        }
        assert_eq!(refused, 10);
        let got = ask(&block, "example.net.").await;
        assert_eq!(got.rcode, Rcode::SERVFAIL, "places are given back");
    });
}
