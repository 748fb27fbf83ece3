//! One upstream over UDP: what is sent, and what is believed.

use super::*;

#[test]
fn a_reply_becomes_the_response() {
    let (address, seen) = honest(7);
    let block = build(&format!(".  {{\n forward . {address}\n}}")).expect("a block");
    on_worker(async {
        let got = ask(&block, "Www.Example.org.").await;
        assert_eq!((got.rcode, got.mark()), (Rcode::NOERROR, Some(7)));
        let header = got.header();
        assert_eq!(header.id, 0x4242, "the client's ID");
        assert!(header.flags.has(wire::Flags::RA) && header.flags.has(wire::Flags::RD));
        assert_eq!(
            got.octets[12..].split_at(17).0,
            b"\x03Www\x07Example\x03org\0"
        );
    });
    let log = seen.log.lock().expect("a log");
    let sent = &log[0].1;
    let asked = query("Www.Example.org.", Type::A);
    assert_eq!(
        sent[2..],
        asked[2..],
        "the client's octets, apart from the ID"
    );
}

/// What is wrong with the first datagrams is told by their names; the right one comes after them all (CVE-2023-28452).
#[test]
fn wrong_datagrams_do_not_end_the_wait() {
    let stranger = bound();
    let (address, _) = serve(bound(), move |_, query| {
        let right = reply(query, 1);
        let spoilt = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut wrong = reply(query, 66);
            change(&mut wrong);
            wrong
        };
        let end = wire::skip_name(query, 12).expect("a name");
        let wrong = vec![
            spoilt(&|m| m[1] ^= 1),
            spoilt(&|m| m[13] = b'x'),
            spoilt(&|m| m[end + 1] = 28),
            spoilt(&|m| m[end + 3] = 3),
            spoilt(&|m| m[2] &= 0x7F),
            spoilt(&|m| m[2] |= 0x28),
            spoilt(&|m| m[5] = 2),
            spoilt(&|m| m.truncate(11)),
            spoilt(&|m| m.truncate(end)),
            // Records that cannot be read: cut short, and with a pointer that goes nowhere.
            spoilt(&|m| m.truncate(m.len() - 3)),
            spoilt(&|m| m[end + 4] = 0x80),
            vec![],
        ];
        wrong.into_iter().chain([right]).collect()
    });
    let block = build(&format!(". {{\n forward . {address}\n}}")).expect("a block");
    on_worker(async {
        let got = ask(&block, "example.org.").await;
        assert_eq!((got.rcode, got.mark()), (Rcode::NOERROR, Some(1)));
    });
    drop(stranger);
}

#[test]
fn another_source_is_not_heard() {
    let stranger = bound();
    let upstream = bound();
    let address = upstream.local_addr().expect("an address");
    std::thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((len, from)) = upstream.recv_from(&mut buffer) {
            let _ = stranger.send_to(&reply(&buffer[..len], 66), from);
            std::thread::sleep(Duration::from_millis(50));
            let _ = upstream.send_to(&reply(&buffer[..len], 1), from);
        }
    });
    let block = build(&format!(". {{\n forward . {address}\n}}")).expect("a block");
    on_worker(async {
        assert_eq!(ask(&block, "example.org.").await.mark(), Some(1));
    });
}

#[test]
fn case_is_checked_with_0x20_only() {
    let lower = |_: usize, query: &[u8]| {
        let mut wrong = reply(query, 66);
        wrong[12..25].make_ascii_lowercase();
        vec![wrong, reply(query, 1)]
    };
    let name = "eXaMpLeEXAmple.oRg.";
    for (option, mark) in [("", 66), ("{\n 0x20\n }", 1)] {
        let (address, seen) = serve(bound(), lower);
        let block = build(&format!(". {{\n forward . {address} {option}\n}}")).expect("a block");
        on_worker(async {
            let got = ask(&block, name).await;
            assert_eq!(got.mark(), Some(mark), "{option}");
            assert_eq!(got.octets[12..20], query(name, Type::A)[12..20]);
        });
        let sent = seen.log.lock().expect("a log")[0].1.clone();
        // Fourteen letters keep their case by chance once in 16,384 runs.
        assert_eq!(sent[12..] != query(name, Type::A)[12..], !option.is_empty());
    }
}

#[test]
fn ports_and_ids_are_many_and_never_shared() {
    const QUERIES: usize = 20_000;
    let (address, seen) = honest(1);
    let block = build(&format!(". {{\n forward . {address}\n}}")).expect("a block");
    on_worker(async {
        let mut waiting = Vec::new();
        for number in 0..QUERIES {
            let block = block.clone();
            waiting.push(tokio::task::spawn_local(async move {
                ask(&block, &format!("n{number}.example.org.")).await.rcode
            }));
            if waiting.len() == 32 {
                for one in waiting.drain(..) {
                    assert_eq!(one.await.expect("an answer"), Rcode::NOERROR);
                }
            }
        }
    });
    let log = seen.log.lock().expect("a log");
    let mut pairs = std::collections::HashSet::new();
    let mut ports = std::collections::HashMap::<u16, usize>::new();
    let mut buckets = [0usize; 64];
    for (from, query) in log.iter() {
        let id = u16::from_be_bytes([query[0], query[1]]);
        pairs.insert((from.port(), id));
        *ports.entry(from.port()).or_default() += 1;
        buckets[usize::from(id >> 10)] += 1;
    }
    assert!(pairs.len() >= 16_000, "{} pairs", pairs.len());
    assert!(ports.len() >= 40, "{} ports", ports.len());
    // A socket goes after 512 queries; the kernel may give its port to another, and a query may be sent again.
    assert!(
        ports.values().all(|&uses| uses <= 1_024),
        "a port stays in use for long"
    );
    let mean = QUERIES as f64 / 64.0;
    let chi: f64 = buckets
        .iter()
        .map(|&n| (n as f64 - mean).powi(2) / mean)
        .sum();
    // 63 degrees of freedom: above 140 by chance once in 10,000,000 runs.
    assert!(chi < 140.0, "IDs are not spread evenly: {chi}");
}

#[test]
fn an_outstanding_id_is_not_taken_again() {
    let silent = bound();
    let address = silent.local_addr().expect("an address");
    let text = format!(". {{\n forward . {address} {{\n read_timeout 4s\n }}\n}}");
    let block = build(&text).expect("a block");
    const QUERIES: usize = 3_000;
    on_worker(async {
        let mut waiting = Vec::new();
        for number in 0..QUERIES {
            let block = block.clone();
            waiting.push(tokio::task::spawn_local(async move {
                ask(&block, &format!("n{number}.example.org.")).await
            }));
            tokio::task::yield_now().await;
            if number % 50 == 49 {
                drain(&silent);
            }
        }
        drain(&silent);
        waiting.iter().for_each(tokio::task::JoinHandle::abort);
    });

    /// What was sent by a port under an ID.
    type Pairs = HashMap<(u16, [u8; 2]), Vec<u8>>;
    thread_local! {
        static PAIRS: RefCell<Pairs> = RefCell::default();
    }
    fn drain(socket: &UdpSocket) {
        socket.set_nonblocking(true).expect("a socket");
        let mut buffer = [0; 512];
        while let Ok((len, from)) = socket.recv_from(&mut buffer) {
            let before = PAIRS.with_borrow_mut(|pairs| {
                let pair = (from.port(), [buffer[0], buffer[1]]);
                pairs.insert(pair, buffer[..len].to_vec())
            });
            // The same query may be sent again.
            let fresh = before.is_none_or(|before| before == buffer[..len]);
            assert!(fresh, "an ID is outstanding twice on one port");
        }
    }
    assert!(PAIRS.with_borrow(|pairs| pairs.len()) > QUERIES * 9 / 10);
}

#[test]
fn replies_come_in_any_order() {
    let held = Arc::new(Mutex::new(Vec::new()));
    let socket = bound();
    let address = socket.local_addr().expect("an address");
    std::thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((len, from)) = socket.recv_from(&mut buffer) {
            let mut held = held.lock().expect("a list");
            held.push((buffer[..len].to_vec(), from));
            if held.len() == 20 {
                for (query, from) in held.drain(..).rev() {
                    // `nN.example.org.`: the answer tells which query it was made for.
                    let mark = query[14];
                    let _ = socket.send_to(&reply(&query, mark), from);
                }
            }
        }
    });
    let block = build(&format!(". {{\n forward . {address}\n}}")).expect("a block");
    on_worker(async {
        let asked: Vec<_> = (0..20u8)
            .map(|n| {
                let (block, letter) = (block.clone(), (b'a' + n) as char);
                tokio::task::spawn_local(async move {
                    ask(&block, &format!("n{letter}.example.org.")).await.mark()
                })
            })
            .collect();
        for (n, one) in asked.into_iter().enumerate() {
            assert_eq!(one.await.expect("an answer"), Some(b'a' + n as u8));
        }
    });
}

#[test]
fn large_and_truncated_replies() {
    // (octets that the upstream appends as additional data, TC in its reply, octets the client takes) → TC, answers
    let cases = [
        (0, false, None, false, 1),
        (0, true, None, true, 1),
        (600, false, None, true, 0),
        (600, false, Some(1232), false, 1),
        (1300, false, Some(1232), true, 0),
        (5000, false, Some(65_000), true, 0),
    ];
    for (more, tc, takes, truncated, answers) in cases {
        let (address, _) = serve(bound(), move |_, query| {
            let mut out = reply(query, 1);
            if tc {
                out[2] |= 2;
            }
            if more > 0 {
                out[11] = 1;
                out.extend_from_slice(&[0xC0, 12, 0, 16, 0, 1, 0, 0, 0, 60]);
                out.extend_from_slice(&(more as u16).to_be_bytes());
                out.resize(out.len() + more, 0);
            }
            vec![out]
        });
        let block = build(&format!(". {{\n forward . {address}\n}}")).expect("a block");
        let mut message = query("example.org.", Type::A);
        if let Some(takes) = takes {
            message[11] = 1;
            let [high, low] = u16::to_be_bytes(takes);
            message.extend_from_slice(&[0, 0, 41, high, low, 0, 0, 0, 0, 0, 0]);
        }
        let got = on_worker(ask_by(&block, &message, Transport::Udp));
        let header = got.header();
        assert_eq!(
            header.flags.has(wire::Flags::TC),
            truncated,
            "{more} {tc} {takes:?}"
        );
        assert_eq!(header.counts[1], answers, "{more} {tc} {takes:?}");
        assert!(header.flags.has(wire::Flags::RA), "{more} {tc} {takes:?}");
    }
}

/// Consul cuts a reply that is too long in the middle of a record (coredns#4547): the header and the question are enough for TC.
#[test]
fn a_truncated_reply_may_end_within_a_record() {
    for kept in [0, 1, 5, 11, 13] {
        let (address, _) = serve(bound(), move |_, query| {
            let mut out = reply(query, 1);
            let whole = out.len();
            out[2] |= 2;
            out[3] |= 0x80;
            out[7] = 2;
            out.extend_from_slice(&[0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1]);
            out.truncate(whole + kept);
            vec![out]
        });
        let block = build(&format!(". {{\n forward . {address}\n}}")).expect("a block");
        let message = query("example.org.", Type::A);
        let got = on_worker(ask_by(&block, &message, Transport::Udp));
        let header = got.header();
        assert_eq!(
            (got.rcode, header.counts),
            (Rcode::NOERROR, [1, 0, 0, 0]),
            "{kept}"
        );
        assert!(header.flags.has(wire::Flags::TC), "{kept}");
        assert!(
            header.flags.has(wire::Flags::RA),
            "{kept}: as the upstream has it"
        );
    }
}

#[test]
fn what_is_not_forwarded() {
    let (address, seen) = honest(1);
    let block = build(&format!(". {{\n forward . {address}\n}}")).expect("a block");
    let mut notify = query("example.org.", Type::SOA);
    notify[2] |= 0x20;
    let cases = [
        (query("example.org.", Type::AXFR), Rcode::REFUSED),
        (query("example.org.", Type::IXFR), Rcode::REFUSED),
        (notify, Rcode::NOTIMP),
    ];
    for (message, rcode) in cases {
        let got = on_worker(ask_by(&block, &message, Transport::Tcp));
        assert_eq!(got.rcode, rcode);
    }
    assert_eq!(seen.count(), 0);
}

#[test]
fn a_formerr_without_question_is_an_answer() {
    let (address, _) = serve(bound(), |_, query| {
        let header = [query[0], query[1], 0x80, 1, 0, 0, 0, 0, 0, 0, 0, 0];
        vec![header.to_vec()]
    });
    let block = build(&format!(". {{\n forward . {address}\n}}")).expect("a block");
    on_worker(async {
        let began = Instant::now();
        let got = ask(&block, "example.org.").await;
        assert_eq!(got.rcode, Rcode::FORMERR);
        assert!(began.elapsed() < Duration::from_secs(1));
    });
}

#[test]
fn a_question_rewritten_above_is_asked_and_the_asked_one_answered() {
    let (address, seen) = serve(bound(), |_, query| {
        // A CNAME whose RDATA points into the question, and an A record behind it.
        let mut out = reply(query, 9);
        out[7] = 2;
        out.extend_from_slice(&[0xC0, 12, 0, 5, 0, 1, 0, 0, 0, 60, 0, 4, 1, b'w', 0xC0, 12]);
        vec![out]
    });
    let block = build(&format!(". {{\n forward . {address}\n}}")).expect("a block");
    let message = query("short.example.", Type::A);
    let got = on_worker(async {
        let mut exchange = Exchange::datagram();
        exchange.receive_buffer(message.len())[..message.len()].copy_from_slice(&message);
        exchange.set_received(message.len());
        exchange.parse().expect("a query");
        let name: NameBuf = "a.longer.name.example.org.".parse().expect("a name");
        let qname = wire::Qname::from(name.as_name());
        let (mut query, mut response) = exchange.views(&block);
        let instead = chain::Instead {
            qname: Some(&qname),
            ..chain::Instead::default()
        };
        query.rewrite(&mut response, instead);
        let Outcome::Suspended(at) = exchange.walk(&block) else {
            panic!("the query is forwarded");
        };
        let (mut exchange, _) = chain::resume(exchange, block.clone(), at).await;
        let (mut query, mut response) = exchange.views(&block);
        let restored = query.restore_by(
            &mut response,
            &mut Vec::new(),
            &mut wire::reencode::Verbatim,
        );
        restored.expect("names that can be written");
        response.seal();
        exchange.reply().to_vec()
    });
    let sent = seen.log.lock().expect("a log")[0].1.clone();
    assert_eq!(sent[12..20], *b"\x01a\x06longe");
    let response = wire::Message::new(&got).expect("a message");
    let (asked, ..) = response.question().expect("a question");
    assert_eq!(asked.to_string(), "short.example.");
    let records: Vec<_> = response.records().map(|r| r.expect("a record")).collect();
    assert_eq!(
        records[0].owner().expect("a name").to_string(),
        "a.longer.name.example.org."
    );
    assert_eq!(
        records[1].rdata_name(0).expect("a name").to_string(),
        "w.a.longer.name.example.org."
    );
}

/// What goes upstream for `message` when `change` was made above.
fn sent(
    message: &[u8],
    option: &str,
    change: impl FnOnce(&mut chain::Query<'_>, &mut wire::Response<'_>),
) -> Vec<u8> {
    let (address, seen) = honest(1);
    let block = build(&format!(
        ". {{\n forward . {address} {{\n {option}\n }}\n}}"
    ));
    let block = block.expect("a block");
    on_worker(async {
        let mut exchange = Exchange::datagram();
        exchange.receive_buffer(message.len())[..message.len()].copy_from_slice(message);
        exchange.set_received(message.len());
        exchange.parse().expect("a query");
        let (mut query, mut response) = exchange.views(&block);
        change(&mut query, &mut response);
        let Outcome::Suspended(at) = exchange.walk(&block) else {
            panic!("the query is forwarded");
        };
        chain::resume(exchange, block.clone(), at).await;
    });
    let log = seen.log.lock().expect("a log");
    log[0].1.clone()
}

/// A query with an OPT record that offers `size` octets and has an option, and `more` records behind it.
fn offering(size: u16, more: u8) -> Vec<u8> {
    let mut message = query("example.org.", Type::A);
    message[11] = 1 + more;
    let [high, low] = size.to_be_bytes();
    message.extend_from_slice(&[
        0, 0, 41, high, low, 0, 0, 0x80, 0, 0, 8, 0, 3, 0, 4, 1, 2, 3, 4,
    ]);
    message
}

#[test]
fn upstreams_are_offered_what_a_datagram_may_have() {
    for (offered, set, expected) in [
        (4_096, None, 1_232),
        (65_535, None, 1_232),
        (1_232, None, 1_232),
        (600, None, 600),
        (100, None, 512),
        (4_096, Some(4_096), 4_096),
        (65_535, Some(65_535), 4_096),
        (4_096, Some(700), 700),
        (600, Some(700), 600),
        (4_096, Some(0), 512),
    ] {
        let message = offering(offered, 0);
        let sent = sent(&message, "", |query, _| {
            if let Some(size) = set {
                query.set_udp_size(size);
            }
        });
        assert_eq!(sent[2..], offering(expected, 0)[2..], "{offered} {set:?}");
    }
}

#[test]
fn upstreams_get_the_flags_that_plugins_above_want() {
    use wire::Flags;
    let message = query("example.org.", Type::A);
    let asked = Flags(u16::from_be_bytes([message[2], message[3]]));
    assert!(asked.has(Flags::RD));
    for wanted in [
        Flags(0),
        asked,
        Flags(Flags::AA | Flags::RA | Flags::RD),
        asked.with(Flags::AD | Flags::CD, true),
    ] {
        for options in ["", "0x20"] {
            let sent = sent(&message, options, |query, _| query.set_flags(wanted));
            assert_eq!(sent[2..4], wanted.0.to_be_bytes(), "{wanted} {options}");
            assert_eq!(sent[4..13], message[4..13]);
        }
    }
}

/// A TSIG record, as far as anybody here looks at it.
const TSIG: &[u8] = b"\x03key\0\0\xFA\0\xFF\0\0\0\0\0\x04\xC0\xFF\xEE\0";

#[test]
fn a_signed_query_goes_up_as_it_came_or_without_its_signature() {
    let signed = [offering(4_096, 1).as_slice(), TSIG].concat();
    // Nobody here has the key (RFC 8945, 5.5): sizes, flags and letters are under the signature.
    let as_it_came = sent(&signed, "0x20", |query, _| query.ask_authenticated(true));
    assert_eq!(as_it_came[2..], signed[2..]);
    // Another question under the client's signature would be a forgery that nobody believes.
    let mut opt = wire::Opt::new(4_096);
    let option = |code, data| wire::EdnsOption { code, data };
    opt.append(option(65_001, b"local")).expect("room");
    let other = sent(&signed, "", |query, response| {
        let name: NameBuf = "a.longer.name.example.org.".parse().expect("a name");
        let instead = chain::Instead {
            qname: Some(&wire::Qname::from(name.as_name())),
            qtype: Some(Type::AAAA),
            opt: Some(opt.clone()),
            ..chain::Instead::default()
        };
        query.rewrite(response, instead);
    });
    let mut expected = query("a.longer.name.example.org.", Type::AAAA);
    expected[11] = 1;
    expected.extend_from_slice(b"\0\0\x29\x04\xD0\0\0\0\0\0\x09\xFD\xE9\0\x05local");
    assert_eq!(other[2..], expected[2..]);
}

#[test]
fn the_upstream_that_answered_is_a_label() {
    let silent = bound();
    let (address, _) = honest(1);
    let text = format!(
        ". {{\n forward . {} {address} {{\n  policy sequential\n  read_timeout 100ms\n }}\n}}",
        silent.local_addr().expect("an address")
    );
    let plain = build(&text).expect("a block");
    let steps = plain.chain.steps().iter();
    let steps = steps.map(|step| chain::Step::new(step.plugin.clone()));
    let chain = chain::Chain::new(steps.collect()).unwrap_or_else(|count| panic!("{count} steps"));
    let chain = chain.collecting(vec![NameBuf::root()]);
    let collects = Arc::new(Block::new(plain.info.clone(), Arc::new(chain)));
    for (block, expected) in [(&collects, Some(address.to_string())), (&plain, None)] {
        let told = on_worker(async {
            let mut exchange = crate::trial::exchange("example.org.", Type::A, None);
            let Outcome::Suspended(at) = exchange.walk(block) else {
                panic!("not forwarded");
            };
            let mut exchange = launched(block, exchange, at).await;
            let mut out = String::new();
            let (query, _) = exchange.views(block);
            query.label("forward/upstream", &mut out).then_some(out)
        });
        assert_eq!(told, expected);
    }
}

#[test]
fn replies_and_sockets_are_counted() {
    let (address, _) = serve(bound(), |number, query| match number % 2 {
        0 => vec![reply(query, 1)],
        _ => vec![bare(query, 3)],
    });
    let block = build(&format!(". {{\n forward . {address}\n}}")).expect("a block");
    on_worker(async {
        for _ in 0..40 {
            ask(&block, "example.org.").await;
        }
    });
    let metrics = telemetry::metrics::encode();
    let value = |name: &str, labels: &str| {
        let line = format!("{name}{{proxy_name=\"forward\",to=\"{address}\"{labels}}} ");
        let found = metrics
            .lines()
            .find_map(|one| one.strip_prefix(line.as_str()));
        found
            .unwrap_or_else(|| panic!("{line} is missing"))
            .parse::<u64>()
            .expect("a number")
    };
    let durations = "coredns_proxy_request_duration_seconds_count";
    assert_eq!(value(durations, ",rcode=\"NOERROR\""), 20);
    assert_eq!(value(durations, ",rcode=\"NXDOMAIN\""), 20);
    assert_eq!(value("coredns_proxy_healthcheck_failures_total", ""), 0);
    let hits = value("coredns_proxy_conn_cache_hits_total", ",proto=\"udp\"");
    let misses = value("coredns_proxy_conn_cache_misses_total", ",proto=\"udp\"");
    assert_eq!(hits + misses, 40);
    assert!((2..=16).contains(&misses), "{misses} sockets");
}

#[test]
fn malformed_replies_are_named() {
    for (option, most) in [("", 700), ("force_tcp\n read_timeout 4s", 300)] {
        let spoil = |query: &[u8]| {
            let mut out = reply(query, 1);
            out.truncate(out.len() - 3);
            out
        };
        let listener = tcp();
        let address = listener.local_addr().expect("an address");
        let Ok(socket) = UdpSocket::bind(address) else {
            continue;
        };
        serve(socket, move |_, query| vec![spoil(query)]);
        serve_tcp(listener, move |_, mut stream| {
            while let Some(query) = read_frame(&mut stream) {
                let _ = stream.write_all(&frame(&spoil(&query)));
            }
        });
        let text =
            format!(". {{\n forward . {address} {{\n read_timeout 200ms\n {option}\n }}\n}}");
        let block = build(&text).expect("a block");
        let began = Instant::now();
        let got = on_worker(ask(&block, "example.org."));
        assert_eq!((got.rcode, got.extended), (Rcode::SERVFAIL, Some(24)));
        assert!(
            got.failure
                .clone()
                .is_some_and(|cause| cause.ends_with("malformed reply"))
        );
        assert!(began.elapsed() < Duration::from_millis(most));
        assert_eq!(got.header().counts, [1, 0, 0, 0]);
    }
}

#[test]
fn the_upstreams_reason_is_handed_on() {
    let (address, _) = serve(bound(), |_, query| {
        let mut out = bare(query, 2);
        out[11] = 1;
        out.extend_from_slice(&[0, 0, 41, 4, 0xD0, 0, 0, 0, 0, 0, 9, 0, 15, 0, 5, 0, 6]);
        out.extend_from_slice(b"bog");
        vec![out]
    });
    let block = build(&format!(". {{\n forward . {address}\n}}")).expect("a block");
    let got = on_worker(ask(&block, "example.org."));
    assert_eq!(
        (got.rcode, got.failure, got.extended),
        (Rcode::SERVFAIL, None, Some(6))
    );
}
