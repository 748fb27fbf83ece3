//! Attacks from upstreams on `forward` and `cache`, and from clients on the way to upstreams.

use std::collections::HashSet;
use std::net::UdpSocket;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::attacks::{
    a, descriptors, figure, flood, processor_time, query, rcode, status, with_opt,
};
use crate::server::{Reply, Server, Upstream, answer, ask_udp, empty};

const GOOD: [u8; 4] = [192, 0, 2, 7];
const EVIL: [u8; 4] = [203, 0, 113, 66];

fn corefile(upstream: &Upstream, more: &str) -> String {
    format!(
        ".:{{PORT}} {{\n  bind 127.0.0.1\n  {more}\n  forward . {}\n}}\n",
        upstream.address()
    )
}

/// Appends a record with a name of its own to a reply, and counts it in a section (1 answer, 2 authority, 3 additional).
fn append(reply: &mut Vec<u8>, section: usize, name: &str, rtype: u16, ttl: u32, rdata: &[u8]) {
    reply[4 + 2 * section + 1] += 1;
    for label in name.split('.').filter(|label| !label.is_empty()) {
        reply.push(label.len() as u8);
        reply.extend_from_slice(label.as_bytes());
    }
    reply.push(0);
    reply.extend_from_slice(&rtype.to_be_bytes());
    reply.extend_from_slice(&[0, 1]);
    reply.extend_from_slice(&ttl.to_be_bytes());
    reply.extend_from_slice(&(rdata.len() as u16).to_be_bytes());
    reply.extend_from_slice(rdata);
}

/// The first label of the question.
fn label(octets: &[u8]) -> String {
    let len = octets[12] as usize;
    String::from_utf8_lossy(&octets[13..13 + len]).into_owned()
}

#[test]
fn lies_are_not_heard_and_the_truth_behind_them_is() {
    let upstream = Upstream::start(|asked| {
        let truth = answer(asked.octets, 60, &[GOOD]);
        let lie = answer(asked.octets, 60, &[EVIL]);
        let with = |at: usize, octet: u8| {
            let mut lie = lie.clone();
            lie[at] ^= octet;
            lie
        };
        let end = 12 + asked.octets[12..].iter().position(|&o| o == 0).unwrap_or(0);
        let lies = match label(asked.octets).as_str() {
            "id" => vec![with(0, 1), with(1, 1)],
            "name" => vec![with(14, 1)],
            "type" => vec![with(end + 2, 28)],
            "class" => vec![with(end + 4, 2)],
            "query" => vec![with(2, 0x80)],
            "opcode" => vec![with(2, 0x20)],
            "two" => vec![with(5, 3)],
            "none" => vec![with(5, 1)],
            "short" => vec![lie[..lie.len() - 3].to_vec(), lie[..11].to_vec(), vec![]],
            "counts" => vec![with(6, 0xFF), with(10, 0xFF)],
            "loop" => {
                let mut lie = empty(asked.octets, 0);
                lie[7] = 1;
                let at = lie.len() as u8;
                lie.extend_from_slice(&[0xC0, at, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 1, 2, 3, 4]);
                vec![lie]
            }
            "rdata" => {
                let mut lie = empty(asked.octets, 0);
                lie[7] = 1;
                lie.extend_from_slice(&[0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0xFF, 0xFF, 1]);
                vec![lie]
            }
            "giant" => vec![vec![0xFF; 60_000], [with(1, 1), vec![0; 60_000]].concat()],
            // From a port of its own.
            "source" => {
                if let Ok(socket) = UdpSocket::bind(("127.0.0.1", 0)) {
                    let _ = socket.send_to(&lie, asked.from);
                }
                vec![]
            }
            _ => vec![],
        };
        Reply::Many(lies.into_iter().chain([truth]).collect())
    });
    for more in ["", "cache 60"] {
        let server = Server::start("lies", &corefile(&upstream, more));
        for name in [
            "id", "name", "type", "class", "query", "opcode", "two", "none", "short", "counts",
            "loop", "rdata", "giant", "source",
        ] {
            for _ in 0..2 {
                let reply = server.ask(&a(&format!("{name}.example.org")));
                let reply = reply.unwrap_or_else(|| panic!("{name}: no answer"));
                assert_eq!((rcode(&reply), reply[7]), (0, 1), "{name}: {reply:02x?}");
                assert!(reply.ends_with(&GOOD), "{name}: {reply:02x?}");
            }
        }
    }
}

#[test]
fn records_of_other_names_are_never_served_later() {
    let upstream = Upstream::start(|asked| {
        if label(asked.octets) == "victim" {
            return Reply::Octets(answer(asked.octets, 60, &[GOOD]));
        }
        let mut reply = answer(asked.octets, 60, &[GOOD]);
        append(&mut reply, 1, "victim.example.net", 1, 9_999, &EVIL);
        append(&mut reply, 2, "example.net", 2, 9_999, &[2, b'n', b's', 0]);
        append(&mut reply, 3, "victim.example.net", 1, 9_999, &EVIL);
        append(&mut reply, 3, "ns", 1, 9_999, &EVIL);
        Reply::Octets(reply)
    });
    let server = Server::start("bailiwick", &corefile(&upstream, "cache 60"));
    for _ in 0..2 {
        server.ask(&a("bait.example.org")).expect("an answer");
    }
    let reply = server.ask(&a("victim.example.net")).expect("an answer");
    assert!(reply.ends_with(&GOOD), "{reply:02x?}");
    let before = upstream.udp_queries();
    let reply = server
        .ask(&query(0x0100, "example.net", 2, 1))
        .expect("an answer");
    assert_eq!(upstream.udp_queries(), before + 1, "{reply:02x?}");
}

#[test]
fn a_reply_that_aliases_to_another_name_says_nothing_of_that_name() {
    let upstream = Upstream::start(|asked| {
        if label(asked.octets) == "victim" {
            return Reply::Octets(answer(asked.octets, 60, &[GOOD]));
        }
        let mut reply = empty(asked.octets, 0);
        let victim = b"\x06victim\x07example\x03net\x00";
        append(&mut reply, 1, "alias.example.org", 5, 60, victim);
        append(&mut reply, 1, "victim.example.net", 1, 9_999, &EVIL);
        Reply::Octets(reply)
    });
    let server = Server::start("alias", &corefile(&upstream, "cache 60"));
    let aliased = server.ask(&a("alias.example.org")).expect("an answer");
    assert_eq!(aliased[7], 2);
    assert!(
        server
            .ask(&a("victim.example.net"))
            .expect("an answer")
            .ends_with(&GOOD)
    );
}

#[test]
fn five_hundred_clients_of_a_cold_name_make_one_query() {
    let upstream = Upstream::start(|asked| {
        Reply::After(
            Duration::from_millis(300),
            answer(asked.octets, 60, &[GOOD]),
        )
    });
    let server = Server::start("herd", &corefile(&upstream, "cache 60"));
    // Each socket has a port of its own, so both workers get some.
    for round in 0..3 {
        let before = upstream.udp_queries();
        let sockets: Vec<UdpSocket> = (0..500)
            .map(|_| {
                let socket = UdpSocket::bind(("127.0.0.1", 0)).expect("a socket");
                socket.connect(server.address()).expect("a peer");
                socket
                    .set_read_timeout(Some(Duration::from_secs(3)))
                    .expect("a timeout");
                socket
            })
            .collect();
        let octets = a(&format!("cold{round}.example.org"));
        for socket in &sockets {
            socket.send(&octets).expect("sent");
        }
        for socket in &sockets {
            let mut buffer = [0; 512];
            let len = socket.recv(&mut buffer).expect("an answer");
            assert!(buffer[..len].ends_with(&GOOD));
        }
        let asked = upstream.udp_queries() - before;
        figure(&format!(
            "500 clients of a cold name: {asked} upstream queries"
        ));
        assert_eq!(asked, 1);
    }
}

#[test]
fn what_nobody_answers_is_not_asked_again_by_all_who_waited() {
    // (what the upstream does, the longest that the clients wait)
    type Does = fn(&[u8]) -> Reply;
    let cases: [(Does, u64); 2] = [
        (|_| Reply::Nothing, 5_500),
        (
            |octets| Reply::After(Duration::from_millis(200), empty(octets, 2)),
            1_500,
        ),
    ];
    for (does, longest) in cases {
        let upstream = Upstream::start(move |asked| does(asked.octets));
        let server = Server::start("nobody", &corefile(&upstream, "cache 60"));
        let sockets: Vec<UdpSocket> = (0..500)
            .map(|_| {
                let socket = UdpSocket::bind(("127.0.0.1", 0)).expect("a socket");
                socket.connect(server.address()).expect("a peer");
                let patience = Some(Duration::from_secs(8));
                socket.set_read_timeout(patience).expect("a timeout");
                socket
            })
            .collect();
        let began = Instant::now();
        for socket in &sockets {
            socket.send(&a("cold.example.org")).expect("sent");
        }
        for socket in &sockets {
            let mut buffer = [0; 512];
            let len = socket.recv(&mut buffer).expect("an answer");
            assert_eq!(rcode(&buffer[..len]), 2);
        }
        let (took, asked) = (began.elapsed(), upstream.udp_queries());
        figure(&format!(
            "500 clients of what fails: {asked} upstream queries, probes among them; all answered after {took:?}"
        ));
        assert!(asked < 20, "{asked}");
        assert!(took < Duration::from_millis(longest), "{took:?}");
    }
}

#[test]
fn ttls_are_capped_counted_down_and_never_overflow() {
    let ttls: [(u32, u32); 9] = [
        // What comes, and what is served: at least 5 s, at most what is configured; the highest bit means 0 (RFC 2181, 8).
        (0, 5),
        (1, 5),
        (60, 60),
        (3_599, 3_599),
        (3_600, 3_600),
        (604_801, 3_600),
        (0x7FFF_FFFF, 3_600),
        (0x8000_0000, 5),
        (u32::MAX, 5),
    ];
    let upstream = Upstream::start(move |asked| {
        let at: usize = label(asked.octets)[1..].parse().unwrap_or(0);
        let ttl = ttls.get(at).map_or(u32::MAX, |ttl| ttl.0);
        Reply::Octets(answer(asked.octets, ttl, &[GOOD]))
    });
    let server = Server::start("ttls", &corefile(&upstream, "cache 3600"));
    for (at, (ttl, expected)) in ttls.into_iter().enumerate() {
        let before = upstream.udp_queries();
        let name = format!("t{at}.example.org");
        let ttl_of = |reply: &[u8]| {
            let at = reply.len() - 10;
            u32::from_be_bytes(reply[at..at + 4].try_into().expect("four octets"))
        };
        let first = ttl_of(&server.ask(&a(&name)).expect("an answer"));
        let second = ttl_of(&server.ask(&a(&name)).expect("an answer"));
        let queries = upstream.udp_queries() - before;
        assert_eq!((first, queries), (expected, 1), "{ttl}");
        assert!(
            second <= first && first - second <= 1,
            "{ttl}: {first} {second}"
        );
    }
}

/// A signing upstream's answer: RRSIG where DO was set, AD where DO or AD was.
fn signing(octets: &[u8]) -> Vec<u8> {
    let dnssec = octets[11] == 1 && octets[octets.len() - 4] & 0x80 != 0;
    let mut reply = answer(octets, 60, &[GOOD]);
    if dnssec {
        let name = label(octets);
        let mut rdata = vec![0, 1, 13, 3, 0, 0, 0, 60];
        rdata.extend_from_slice(&0x7FFF_FFF0_u32.to_be_bytes());
        rdata.extend_from_slice(&0x6000_0000_u32.to_be_bytes());
        rdata.extend_from_slice(&[0, 1, 7]);
        rdata.extend_from_slice(b"example\x03org\x00");
        rdata.extend_from_slice(&[7; 64]);
        append(
            &mut reply,
            1,
            &format!("{name}.example.org"),
            46,
            60,
            &rdata,
        );
    }
    // CD: the validator below does not judge.
    let judges = octets[3] & 0x10 == 0;
    if judges && (dnssec || octets[3] & 0x20 != 0) {
        reply[3] |= 0x20;
    }
    reply[3] |= octets[3] & 0x10;
    if octets[11] == 1 {
        reply.extend_from_slice(&[
            0,
            0,
            41,
            4,
            208,
            0,
            0,
            if dnssec { 0x80 } else { 0 },
            0,
            0,
            0,
        ]);
        reply[11] += 1;
    }
    reply
}

#[test]
fn what_a_cache_says_depends_on_the_client_as_without_it() {
    let upstream = Upstream::start(|asked| Reply::Octets(signing(asked.octets)));
    let plain = Server::start("plain", &corefile(&upstream, ""));
    let cached = Server::start("cached", &corefile(&upstream, "cache 60"));
    let ask = |server: &Server, flags: u32, name: &str| {
        // RD, AD, CD, an OPT record, DO in it.
        let mut header = 0;
        for (bit, flag) in [(1, 0x0100), (2, 0x0020), (4, 0x0010)] {
            if flags & bit != 0 {
                header |= flag;
            }
        }
        let mut octets = query(header, name, 1, 1);
        if flags & 8 != 0 {
            octets = with_opt(octets, 1_232, if flags & 16 != 0 { 0x8000 } else { 0 }, &[]);
        }
        server.ask(&octets).expect("an answer")
    };
    for first in 0..32 {
        // The entry is made by one client, then all ask.
        let name = format!("m{first}.example.org");
        ask(&cached, first, &name);
        for flags in 0..32 {
            let (mut without, mut with) = (ask(&plain, flags, &name), ask(&cached, flags, &name));
            // TTLs may have counted down a second.
            for reply in [&mut without, &mut with] {
                for at in 12..reply.len().saturating_sub(4) {
                    if matches!(reply[at..at + 4], [0, 0, 0, 58..=60]) {
                        reply[at + 3] = 60;
                    }
                }
            }
            assert_eq!(
                (without[2] & 0x7B, without[3] & 0x7F, &without[4..]),
                (with[2] & 0x7B, with[3] & 0x7F, &with[4..]),
                "made by {first:05b}, asked by {flags:05b}"
            );
        }
    }
}

#[test]
fn a_dead_upstream_means_stale_answers_and_then_fresh_ones() {
    let silent = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let told = silent.clone();
    let upstream = Upstream::start(move |asked| {
        if told.load(std::sync::atomic::Ordering::SeqCst) {
            return Reply::Nothing;
        }
        let address = if asked.number == 0 { GOOD } else { EVIL };
        Reply::Octets(answer(asked.octets, 1, &[address]))
    });
    let more = "cache 60 {\n    success 1024 60 1\n    serve_stale 1h\n  }";
    let server = Server::start("stale", &corefile(&upstream, more));
    let octets = with_opt(a("www.example.org"), 1_232, 0, &[]);
    assert!(server.ask(&octets).is_some());
    std::thread::sleep(Duration::from_millis(1_500));
    silent.store(true, std::sync::atomic::Ordering::SeqCst);
    let began = Instant::now();
    let stale = server.ask(&octets).expect("a stale answer");
    assert!(began.elapsed() < Duration::from_millis(1_800));
    // The answer is the old one, its TTL 30 s at most, and EDE 3 says so.
    let ttl = u32::from_be_bytes(stale[39..43].try_into().expect("four octets"));
    assert!(ttl <= 30 && stale.windows(4).any(|w| w == GOOD), "{ttl}");
    assert!(
        stale.windows(6).any(|w| w == [0, 15, 0, 2, 0, 3]),
        "{stale:02x?}"
    );
}

#[test]
fn names_asked_once_do_not_push_out_names_asked_often() {
    let upstream = Upstream::start(|asked| Reply::Octets(answer(asked.octets, 3_600, &[GOOD])));
    let server = Server::start(
        "torture",
        &corefile(&upstream, "cache {\n    success 4096\n  }"),
    );
    let hot = |number: usize, octets: &mut Vec<u8>| {
        octets.extend_from_slice(&a(&format!("hot{}.example.org", number % 1_000)));
    };
    for _ in 0..4 {
        flood(server.address(), 1_000, hot, |_| {});
    }
    let mut sizes = Vec::new();
    for round in 0..6 {
        flood(
            server.address(),
            6_000,
            |number, octets| {
                if number % 6 == 0 {
                    hot(number / 6, octets);
                } else {
                    octets.extend_from_slice(&a(&format!("r{round}-{number}.example.org")));
                }
            },
            |_| {},
        );
        sizes.push(status(&server, "VmRSS") / 1_024);
    }
    let before = upstream.udp_queries();
    flood(server.address(), 1_000, hot, |_| {});
    let misses = upstream.udp_queries() - before;
    figure(&format!(
        "after 30000 names asked once {} % of 1000 hot ones are hits; RSS {sizes:?} MiB",
        (1_000 - misses) / 10
    ));
    assert!(misses <= 100, "{misses} misses");
    assert!(sizes[5] <= sizes[2] + 8, "{sizes:?}");
}

#[test]
fn dead_upstreams_mean_servfail_in_time_and_the_living_are_found() {
    let dead = Upstream::start(|_| Reply::Nothing);
    let living = Upstream::start(|asked| Reply::Octets(answer(asked.octets, 0, &[GOOD])));
    let reset = crate::server::free_port();
    let octets = with_opt(a("www.example.org"), 1_232, 0, &[]);
    let ask = |server: &Server| {
        let began = Instant::now();
        let reply = ask_udp(server.address(), &octets, Duration::from_secs(8)).expect("an answer");
        (reply, began.elapsed())
    };
    let all_dead = Server::start(
        "dead",
        &format!(
            ".:{{PORT}} {{\n  bind 127.0.0.1\n  forward . {} 127.0.0.1:{reset} {{\n    policy sequential\n  }}\n}}\n",
            dead.address()
        ),
    );
    let (reply, took) = ask(&all_dead);
    assert_eq!(rcode(&reply), 2);
    assert!(
        reply.windows(2).any(|w| w == [0, 15]),
        "an extended error: {reply:02x?}"
    );
    assert!(took < Duration::from_millis(5_600), "{took:?}");
    let two_dead = Server::start(
        "failover",
        &format!(
            ".:{{PORT}} {{\n  bind 127.0.0.1\n  forward . {} 127.0.0.1:{reset} {} {{\n    policy sequential\n    health_check 200ms\n  }}\n}}\n",
            dead.address(),
            living.address()
        ),
    );
    let (reply, first) = ask(&two_dead);
    assert_eq!(rcode(&reply), 0);
    let mut later = first;
    crate::server::wait_until("the dead to be known", || {
        later = (0..5).map(|_| ask(&two_dead).1).max().unwrap_or_default();
        later < Duration::from_millis(900)
    });
    figure(&format!(
        "all dead: SERVFAIL after {took:?}; two of three dead: {first:?}, then {later:?}"
    ));
    assert!(first < Duration::from_secs(3), "{first:?}");
    assert!(later < Duration::from_millis(900), "{later:?}");
}

#[test]
fn upstreams_that_flood_stall_or_reset_do_no_harm() {
    let upstream = Upstream::start(|asked| match label(asked.octets).as_str() {
        // 2,000 datagrams for one.
        "flood" => Reply::Many(vec![answer(asked.octets, 60, &[GOOD]); 2_000]),
        "stall" => Reply::Nothing,
        "reset" => Reply::Close,
        // Over TCP: a length that never comes true.
        "partial" if asked.tcp => Reply::Many(vec![vec![0; 60_000]; 5]),
        "truncated" => {
            let mut reply = empty(asked.octets, 0);
            reply[2] |= 2;
            Reply::Octets(reply)
        }
        _ => Reply::Octets(answer(asked.octets, 60, &[GOOD])),
    });
    let server = Server::start("storm", &corefile(&upstream, "cache 60"));
    let before = status(&server, "VmRSS");
    for _ in 0..10 {
        for name in ["flood", "stall", "reset", "partial", "truncated"] {
            let octets = a(&format!("{name}.example.org"));
            let _ = ask_udp(server.address(), &octets, Duration::from_millis(5));
            let _ = crate::server::ask_tcp(server.address(), &octets, Duration::from_millis(5));
        }
    }
    let truncated = server
        .ask(&a("truncated.example.org"))
        .expect("TC is handed on");
    assert_eq!(truncated[2] & 2, 2);
    assert!(
        server
            .ask(&a("good.example.org"))
            .expect("an answer")
            .ends_with(&GOOD)
    );
    let grown = status(&server, "VmRSS").saturating_sub(before);
    assert!(grown < 32 << 10, "{grown} KiB");
}

#[test]
fn only_queries_are_forwarded() {
    let seen = std::sync::Arc::new(Mutex::new(HashSet::new()));
    let told = seen.clone();
    let upstream = Upstream::start(move |asked| {
        told.lock().expect("a lock").insert(asked.octets[2] & 0x78);
        Reply::Octets(answer(asked.octets, 60, &[GOOD]))
    });
    let server = Server::start("opcodes", &corefile(&upstream, "cache 60"));
    for (name, octets, expected) in [
        ("UPDATE", query(0x2800, "example.org", 6, 1), 4),
        ("NOTIFY", query(0x2000, "example.org", 6, 1), 4),
        ("STATUS", query(0x1000, "example.org", 1, 1), 4),
        ("AXFR", query(0, "example.org", 252, 1), 5),
        ("IXFR", query(0, "example.org", 251, 1), 5),
    ] {
        for tcp in [false, true] {
            let reply = if tcp {
                server.ask_tcp(&octets)
            } else {
                server.ask(&octets)
            };
            let reply = reply.unwrap_or_else(|| panic!("{name}: no answer"));
            assert_eq!(rcode(&reply), expected, "{name}, tcp {tcp}");
        }
    }
    assert_eq!((upstream.udp_queries(), upstream.tcp_queries()), (0, 0));
    assert!(seen.lock().expect("a lock").is_empty());
    // Where `forward` stands, every class is let through, as CoreDNS does; the upstream decides.
    let ch = server
        .ask(&query(0, "version.bind", 16, 3))
        .expect("an answer");
    assert_eq!(rcode(&ch), 0);
    // ANY is a query like others.
    assert_eq!(
        rcode(
            &server
                .ask(&query(0x0100, "example.org", 255, 1))
                .expect("an answer")
        ),
        0
    );
}

#[test]
fn what_was_shed_is_answered_when_there_is_room_again() {
    let silent = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
    let told = silent.clone();
    let upstream =
        Upstream::start(
            move |asked| match told.load(std::sync::atomic::Ordering::SeqCst) {
                true => Reply::Nothing,
                false => Reply::Octets(answer(asked.octets, 60, &[GOOD])),
            },
        );
    let server = Server::start("shed", &corefile(&upstream, "cache 60"));
    let sockets: Vec<UdpSocket> = (0..32)
        .map(|_| {
            let socket = UdpSocket::bind(("127.0.0.1", 0)).expect("a socket");
            socket.connect(server.address()).expect("a peer");
            socket.set_nonblocking(true).expect("a mode");
            socket
        })
        .collect();
    let names: Vec<Vec<u8>> = (0..14_000)
        .map(|n| a(&format!("w{n}.example.org")))
        .collect();
    for (number, octets) in names.iter().enumerate() {
        let _ = sockets[number % sockets.len()].send(octets);
        if number % 64 == 0 {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    let (mut buffer, mut shed) = ([0; 512], 0);
    let mut last = Vec::new();
    crate::server::wait_until("queries to be shed", || {
        for socket in &sockets {
            while let Ok(len) = socket.recv(&mut buffer) {
                assert_eq!(rcode(&buffer[..len]), 2);
                last = buffer[12..len].to_vec();
                shed += 1;
            }
        }
        shed > 1_000
    });
    // The upstream is back, and those that waited have ended.
    silent.store(false, std::sync::atomic::Ordering::SeqCst);
    crate::server::wait_until("those that waited to end", || {
        let reply = server.ask(&a("new.example.org"));
        reply.is_some_and(|reply| rcode(&reply) == 0)
    });
    let mut octets = a("x");
    octets.truncate(12);
    octets.extend_from_slice(&last);
    let began = Instant::now();
    let reply = ask_udp(server.address(), &octets, Duration::from_secs(5)).expect("an answer");
    let took = began.elapsed();
    figure(&format!(
        "{shed} of 14000 queries were shed; one of them asked again takes {took:?}, rcode {}",
        rcode(&reply)
    ));
    assert!(took < Duration::from_secs(1), "{took:?}");
}

#[test]
fn two_servers_that_forward_to_each_other_come_to_rest() {
    let (first, second) = (crate::server::free_port(), crate::server::free_port());
    let serve = |name: &str, own: u16, other: u16| {
        let text = format!(
            ".:{{PORT}} {{\n  bind 127.0.0.1\n  whoami\n}}\n\
             .:{own} {{\n  bind 127.0.0.1\n  errors\n  forward . 127.0.0.1:{other}\n}}\n"
        );
        Server::start(name, &text)
    };
    let servers = [
        serve("loop-one", first, second),
        serve("loop-two", second, first),
    ];
    let began = Instant::now();
    let asked: Vec<_> = (0..10)
        .map(|number| {
            std::thread::spawn(move || {
                let octets = a(&format!("n{number}.example.org"));
                let address = std::net::SocketAddr::from(([127, 0, 0, 1], first));
                ask_udp(address, &octets, Duration::from_secs(8)).map(|reply| rcode(&reply))
            })
        })
        .collect();
    for asked in asked {
        assert_eq!(asked.join().expect("an end"), Some(2));
    }
    let answered = began.elapsed();
    // At rest is who hardly uses the processor for a whole second.
    let mut before = servers.each_ref().map(processor_time);
    let mut last = Instant::now();
    crate::server::wait_until("both servers to rest", || {
        std::thread::sleep(Duration::from_secs(1).saturating_sub(last.elapsed()));
        last = Instant::now();
        let now = servers.each_ref().map(processor_time);
        let busy = now[0] - before[0] + now[1] - before[1];
        before = now;
        busy < 0.03
    });
    let rest = began.elapsed();
    let lines = servers
        .each_ref()
        .map(|server| server.log().lines().count());
    figure(&format!(
        "ten names in a circle of two servers: SERVFAIL after {answered:?}, rest after {rest:?}, {lines:?} log lines, {before:?} s of processor time"
    ));
    assert!(answered < Duration::from_millis(6_000), "{answered:?}");
    assert!(rest < Duration::from_secs(20), "{rest:?}");
    assert!(lines.iter().all(|&lines| lines < 2_000), "{lines:?}");
}

#[test]
fn two_thousand_stub_zones_share_the_sockets_of_their_upstream() {
    const ZONES: usize = 2_000;
    let upstream = Upstream::start(|asked| Reply::Octets(answer(asked.octets, 60, &[GOOD])));
    let mut text = String::new();
    for zone in 0..ZONES {
        let address = upstream.address();
        text += &format!(
            "z{zone}.example.org:{{PORT}} {{\n  bind 127.0.0.1\n  forward . {address}\n}}\n"
        );
    }
    let server = Server::start("stubs", &text);
    let limit = std::process::Command::new("prlimit")
        .args(["--pid", &server.pid().to_string(), "--nofile=1024:1024"])
        .status();
    let Ok(true) = limit.map(|status| status.success()) else {
        return crate::server::skip("prlimit(1) does not run here");
    };
    let before = descriptors(&server);
    for zone in 0..ZONES {
        let octets = a(&format!("www.z{zone}.example.org"));
        let reply = server
            .ask(&octets)
            .unwrap_or_else(|| panic!("zone {zone}: no answer"));
        assert_eq!((rcode(&reply), reply[7]), (0, 1), "zone {zone}");
    }
    let grown = descriptors(&server).saturating_sub(before);
    figure(&format!(
        "{} stub zones with one upstream: {grown} sockets, {} KiB",
        ZONES,
        status(&server, "VmRSS")
    ));
    assert!(grown < 204, "{grown} descriptors");
}

#[test]
fn many_upstreams_share_few_descriptors() {
    const UPSTREAMS: usize = 300;
    let port = crate::server::free_port();
    let addresses: Vec<_> = (0..UPSTREAMS)
        .map(|n| {
            let address = std::net::Ipv4Addr::from(0x7F01_0001 + n as u32);
            let socket = UdpSocket::bind((address, port)).expect("a socket");
            std::thread::spawn(move || {
                let mut buffer = [0; 512];
                while let Ok((len, from)) = socket.recv_from(&mut buffer) {
                    let _ = socket.send_to(&answer(&buffer[..len], 60, &[GOOD]), from);
                }
            });
            address
        })
        .collect();
    let mut text = String::new();
    for (zone, address) in addresses.iter().enumerate() {
        text += &format!(
            "z{zone}.example.org:{{PORT}} {{\n  bind 127.0.0.1\n  forward . {address}:{port}\n}}\n"
        );
    }
    let server = Server::start("descriptors", &text);
    let limit = std::process::Command::new("prlimit")
        .args(["--pid", &server.pid().to_string(), "--nofile=256:256"])
        .status();
    let Ok(true) = limit.map(|status| status.success()) else {
        return crate::server::skip("prlimit(1) does not run here");
    };
    let before = descriptors(&server);
    for round in 0..4 {
        for zone in 0..UPSTREAMS {
            let octets = a(&format!("w{round}.z{zone}.example.org"));
            let reply = server
                .ask(&octets)
                .unwrap_or_else(|| panic!("zone {zone}: no answer"));
            assert_eq!((rcode(&reply), reply[7]), (0, 1), "zone {zone}");
        }
    }
    let grown = descriptors(&server).saturating_sub(before);
    assert!(grown < 100, "{grown} descriptors");
}

#[test]
fn a_chroot_without_dev_has_random_numbers() {
    let upstream = Upstream::start(|asked| Reply::Octets(answer(asked.octets, 60, &[GOOD])));
    let dir = crate::server::temporary_directory("nodev");
    let port = crate::server::free_port();
    let text = corefile(&upstream, "loadbalance").replace("{PORT}", &port.to_string());
    std::fs::write(dir.join("Corefile"), text).expect("a Corefile");
    // What is left of /dev is what a process can do without.
    let script = "mount -t tmpfs none /dev && exec \"$0\" -conf Corefile";
    let program = crate::server::nameplate(&dir);
    let child = std::process::Command::new("unshare")
        .args(["-r", "-m", "sh", "-c", script])
        .arg(program.get_program())
        .current_dir(&dir)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped())
        .spawn();
    let Ok(mut child) = child else {
        return crate::server::skip("unshare(1) does not run here");
    };
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    let mut reply = None;
    let mut ended = false;
    crate::server::wait_until("an answer or an end", || {
        ended = child.try_wait().is_ok_and(|status| status.is_some());
        reply = ask_udp(address, &a("www.example.org"), Duration::from_millis(200));
        ended || reply.is_some()
    });
    let _ = child.kill();
    let output = child.wait_with_output().expect("an end");
    let said = String::from_utf8_lossy(&output.stderr);
    if ended && said.contains("unshare:") || said.contains("mount:") {
        return crate::server::skip("no mount namespace can be made here");
    }
    let reply = reply.unwrap_or_else(|| panic!("no answer: {said}"));
    assert!(reply.ends_with(&GOOD), "{said}");
}
