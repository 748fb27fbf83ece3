//! What passes through `forward` and `cache`: RFC 2181, 2308, 3597, 5452, 5625, 8767, 9520.

use std::time::Duration;

use super::{Query, ask, start};
use crate::server::{Reply, Server, Upstream, answer, ask_udp, empty};

/// A server that forwards everything to `upstream`, with these lines above.
fn forwarder(test: &str, upstream: &Upstream, above: &str) -> Server {
    start(
        test,
        &[],
        &format!(
            ".:{{PORT}} {{\n  bind 127.0.0.1\n{above}  forward . {}\n}}\n",
            upstream.address()
        ),
    )
}

/// A negative reply with a SOA of this TTL and MINIMUM.
fn negative(query: &[u8], rcode: u8, ttl: u32, minimum: u32) -> Vec<u8> {
    let mut reply = empty(query, rcode);
    reply[9] = 1;
    reply.extend_from_slice(&[0, 0, 6, 0, 1]);
    reply.extend_from_slice(&ttl.to_be_bytes());
    reply.extend_from_slice(&[0, 22, 0, 0]);
    for field in [1, 2, 3, 4, minimum] {
        reply.extend_from_slice(&field.to_be_bytes());
    }
    reply
}

#[test]
fn rfc_5625_what_is_not_understood_passes_untouched() {
    // 5625, 4.2 to 4.4: unknown types, classes, flags and truncation are the upstream's business.
    let upstream = Upstream::start(|asked| {
        let mut reply = empty(asked.octets, 0);
        reply[2] |= 0x02 & if asked.tcp { 0 } else { 2 };
        reply[3] |= 0x20;
        reply[7] = 1;
        reply.extend_from_slice(&[0xC0, 12, 0xFF, 0x01, 0, 1, 0, 0, 0, 9, 0, 3, 0xC0, 12, 7]);
        Reply::Octets(reply)
    });
    let server = forwarder("rfc5625", &upstream, "");
    let udp = ask(server.address(), "x.example.org TYPE65281 +rd").expect("an answer");
    assert_eq!(
        udp.check("NOERROR|+tc|+rd|+ra|+ad|an= 1"),
        Ok(()),
        "{udp:?}"
    );
    // 3597, 4: RDATA of an unknown type is opaque: what looks like a pointer is none.
    assert!(
        udp.octets.ends_with(&[0, 3, 0xC0, 12, 7]),
        "{:02x?}",
        udp.octets
    );
    let tcp = ask(server.address(), "x.example.org TYPE65281 +rd tcp").expect("an answer");
    assert_eq!(tcp.check("NOERROR|-tc|an= 1"), Ok(()), "{tcp:?}");
    assert_eq!((upstream.udp_queries(), upstream.tcp_queries()), (1, 1));
    let other_class = ask(server.address(), "x.example.org TXT class=3").expect("an answer");
    assert_eq!(other_class.rcode, 0, "4.3: other classes pass");
}

#[test]
fn rfc_5452_only_the_right_reply_is_taken() {
    // 9.1: "A resolver implementation MUST match responses to all of" address, port, ID, name, class and type.
    let upstream = Upstream::start(|asked| {
        let right = answer(asked.octets, 60, &[[192, 0, 2, 1]]);
        let mut wrong_id = answer(asked.octets, 60, &[[192, 0, 2, 66]]);
        wrong_id[0] ^= 0xFF;
        let mut wrong_name = answer(asked.octets, 60, &[[192, 0, 2, 67]]);
        wrong_name[13] = b'y';
        Reply::Many(vec![wrong_id, wrong_name, right])
    });
    let server = forwarder("rfc5452", &upstream, "  cache\n");
    for _ in 0..2 {
        let reply = ask(server.address(), "x.example.org A +rd").expect("an answer");
        assert_eq!(
            reply.check("NOERROR|an= 1|an: A 192.0.2.1"),
            Ok(()),
            "{reply:?}"
        );
    }
}

#[test]
fn rfc_5452_ports_and_ids_are_not_predictable() {
    let seen = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let keep = seen.clone();
    let upstream = Upstream::start(move |asked| {
        let id = u16::from_be_bytes([asked.octets[0], asked.octets[1]]);
        keep.lock().expect("no panic").push((id, asked.from.port()));
        Reply::Octets(answer(asked.octets, 60, &[[192, 0, 2, 1]]))
    });
    let server = forwarder("rfc5452-ports", &upstream, "");
    for n in 0..200 {
        ask(server.address(), &format!("n{n}.example.org A")).expect("an answer");
    }
    let seen = seen.lock().expect("no panic");
    let distinct = |of: fn(&(u16, u16)) -> u16| {
        seen.iter()
            .map(of)
            .collect::<std::collections::BTreeSet<_>>()
            .len()
    };
    // 9.2: IDs and ports from the full range. 200 of 65,536 IDs collide seldom; ports are many.
    assert!(distinct(|pair| pair.0) > 180, "{seen:?}");
    assert!(distinct(|pair| pair.1) > 8, "{seen:?}");
    assert!(
        seen.iter().all(|(id, _)| *id != 0x4E50 || seen.len() > 100),
        "the client's ID is not handed on"
    );
}

#[test]
fn rfc_2308_negative_answers_are_kept_as_long_as_they_say() {
    let upstream = Upstream::start(|asked| {
        Reply::Octets(match asked.octets[13] {
            b'n' => negative(asked.octets, 3, 900, 40),
            b'd' => negative(asked.octets, 0, 30, 900),
            b'z' => empty(asked.octets, 3),
            _ => answer(asked.octets, 60, &[[192, 0, 2, 1]]),
        })
    });
    let server = forwarder("rfc2308", &upstream, "  cache\n");
    for (query, expected, queries) in [
        // 5: the TTL is the lesser of the SOA's TTL and MINIMUM.
        ("nx.example.org A", "NXDOMAIN|ns: 40 IN SOA", 1),
        ("nx.example.org A", "NXDOMAIN|ns: IN SOA", 1),
        // 5: NXDOMAIN is of the name and class; NODATA of the type too.
        ("dd.example.org A", "NOERROR|an= 0|ns: 30 IN SOA", 2),
        ("dd.example.org A", "NOERROR|an= 0|ns: IN SOA", 2),
        ("dd.example.org AAAA", "NOERROR|an= 0", 3),
        // 2.1: without SOA there is no time to keep it for.
        ("zz.example.org A", "NXDOMAIN|ns= 0", 4),
        ("zz.example.org A", "NXDOMAIN|ns= 0", 5),
    ] {
        let reply = ask(server.address(), query).expect("an answer");
        assert_eq!(
            (reply.check(expected), upstream.udp_queries()),
            (Ok(()), queries),
            "{query}: {reply:?}"
        );
    }
}

#[test]
fn rfc_2181_ttls_are_31_bits() {
    // 2181, 8: "treat TTL values received with the most significant bit set as if the entire value received was zero": not kept long.
    let upstream = Upstream::start(|asked| {
        Reply::Octets(answer(asked.octets, 0x8000_0001, &[[192, 0, 2, 1]]))
    });
    let server = forwarder("rfc2181-8", &upstream, "  cache\n");
    let reply = ask(server.address(), "x.example.org A").expect("an answer");
    let ttl: u32 = reply.sections[0][0]
        .split_whitespace()
        .nth(1)
        .and_then(|word| word.parse().ok())
        .expect("a TTL");
    assert!(ttl <= 5, "{reply:?}");
}

#[test]
fn rfc_8767_stale_data_is_served_and_marked() {
    let upstream = Upstream::start(|asked| match asked.number {
        0 => Reply::Octets(answer(asked.octets, 1, &[[192, 0, 2, 1]])),
        _ => Reply::Octets(empty(asked.octets, 2)),
    });
    let server = forwarder(
        "rfc8767",
        &upstream,
        "  cache {\n    success 1000 1 0\n    serve_stale\n  }\n",
    );
    assert!(ask(server.address(), "x.example.org A edns").is_some());
    std::thread::sleep(Duration::from_millis(2_100));
    let reply = ask(server.address(), "x.example.org A edns").expect("an answer");
    // 8767, 4: TTL of 30 recommended, greater than 0; CoreDNS sends 0. 8914, 4.4: extended error 3.
    assert_eq!(
        reply.check("NOERROR|an= 1|an: A 192.0.2.1|ede: 3"),
        Ok(()),
        "{reply:?} {:?}",
        reply.option(15)
    );
    let ttl: u32 = reply.sections[0][0]
        .split_whitespace()
        .nth(1)
        .and_then(|word| word.parse().ok())
        .expect("a TTL");
    assert!(ttl <= 30, "{reply:?}");
}

#[test]
fn rfc_9520_failures_are_kept_for_a_while() {
    // 9520, 3.2: "MUST cache resolution failures"; at least one second, at most five minutes.
    let upstream = Upstream::start(|asked| Reply::Octets(empty(asked.octets, 2)));
    let server = forwarder("rfc9520", &upstream, "  cache\n");
    for _ in 0..5 {
        let reply = ask(server.address(), "x.example.org A").expect("an answer");
        assert_eq!(reply.rcode, 2);
    }
    assert_eq!(upstream.udp_queries(), 1);
}

#[test]
fn rfc_9520_time_outs_of_our_own_are_kept_too() {
    // 3.1: "MUST NOT retry a given query ... more than twice"; 3.2: failures are cached for a second at least, by whatever cause.
    let asked = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = asked.clone();
    let upstream = Upstream::start(move |query| match query.octets[12] {
        // Probes ask for the root.
        0 => Reply::Octets(empty(query.octets, 0)),
        _ => {
            count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            Reply::Nothing
        }
    });
    let silent = Query::read("silent.example.org A +rd edns").octets();
    for above in ["", "  cache\n"] {
        let server = forwarder("rfc9520-time-outs", &upstream, above);
        asked.store(0, std::sync::atomic::Ordering::SeqCst);
        let began = std::time::Instant::now();
        let (mut clients, mut slow) = (0, 0);
        while began.elapsed() < Duration::from_secs(9) {
            let now = std::time::Instant::now();
            let reply = ask_udp(server.address(), &silent, Duration::from_secs(6));
            let reply = reply.expect("an answer");
            assert_eq!(reply[3] & 0xF, 2, "{reply:02x?}");
            // 8914: no reachable authority; behind a cache, cached error.
            assert!(
                reply.windows(6).any(|octets| octets[..3] == [0, 15, 0]
                    && octets[4] == 0
                    && matches!(octets[5], 13 | 22)),
                "{reply:02x?}"
            );
            clients += 1;
            slow += usize::from(now.elapsed() > Duration::from_millis(100));
        }
        let (seconds, sent) = (
            began.elapsed().as_secs() as usize,
            asked.load(std::sync::atomic::Ordering::SeqCst),
        );
        crate::attacks::figure(&format!(
            "a silent name, asked {clients} times in {seconds} s: {sent} datagrams, {slow} waited"
        ));
        assert!(
            clients > 100 && slow * 10 < clients,
            "{clients} clients, {slow} slow"
        );
        assert!(sent <= seconds, "{sent} datagrams in {seconds} s");
    }
}

#[test]
fn rfc_6891_who_refuses_edns_is_asked_without() {
    // 6.2.2: "... may be ... FORMERR ... SHOULD ... retry without OPT"; the outcome is remembered for the server.
    let upstream = Upstream::start(|asked| {
        Reply::Octets(match asked.octets[11] {
            0 => answer(asked.octets, 60, &[[192, 0, 2, 1]]),
            _ => empty(asked.octets, 1),
        })
    });
    let server = forwarder("rfc6891-6.2.2", &upstream, "");
    for (name, queries) in [("a", 2), ("b", 3)] {
        let reply = ask(server.address(), &format!("{name}.example.org A +rd do"));
        let reply = reply.expect("an answer");
        assert_eq!(reply.check("NOERROR|an= 1"), Ok(()), "{reply:?}");
        assert!(reply.option(15).is_none());
        assert_eq!(upstream.udp_queries(), queries, "{name}");
    }
}

#[test]
fn rfc_1035_an_error_may_be_a_header_alone() {
    // BIND and others answer what they do not want to read with the header of the query.
    let upstream = Upstream::start(|asked| {
        let rcode = asked.octets[13] - b'0';
        let mut header = asked.octets[..12].to_vec();
        (header[2], header[3]) = (0x80 | header[2], rcode);
        header[4..].fill(0);
        Reply::Octets(header)
    });
    let server = forwarder("rfc1035-header", &upstream, "");
    for rcode in [1, 2, 4, 5] {
        let began = std::time::Instant::now();
        let reply = ask(server.address(), &format!("{rcode}.example.org A +rd"));
        assert_eq!(reply.expect("an answer").rcode, rcode);
        assert!(began.elapsed() < Duration::from_millis(900), "{rcode}");
    }
}

#[test]
fn rfc_4035_the_cache_keeps_do_and_cd_apart() {
    // 4035, 3.2: DO and CD change what is asked for; what was kept for one is no answer to the other.
    let upstream =
        Upstream::start(|asked| Reply::Octets(answer(asked.octets, 60, &[[192, 0, 2, 1]])));
    let server = forwarder("rfc4035", &upstream, "  cache\n");
    for (flags, queries) in [
        ("", 1),
        ("do", 2),
        ("+cd", 3),
        ("do +cd", 4),
        ("", 4),
        ("do", 4),
        ("+cd", 4),
    ] {
        let text = format!("x.example.org A {flags}");
        assert!(ask(server.address(), text.trim()).is_some());
        assert_eq!(upstream.udp_queries(), queries, "{text}");
    }
    let upper = Query::read("X.EXAMPLE.org A").octets();
    let reply = server.ask(&upper).expect("an answer");
    assert_eq!(
        (&reply[12..upper.len()], upstream.udp_queries()),
        (&upper[12..], 4),
        "4343: one entry, the client's case"
    );
}
