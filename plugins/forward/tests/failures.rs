//! Questions that no upstream answers, upstreams that answer late or without EDNS, and queries that their listener takes back.

use super::*;

/// What came for one name, probes apart.
fn asked_for(seen: &Seen, name: &str) -> usize {
    let name = &query(name, Type::A)[12..];
    let log = seen.log.lock().expect("a log");
    log.iter()
        .filter(|(_, query)| query.get(12..12 + name.len()) == Some(name))
        .count()
}

/// An upstream that answers probes, and other queries unless they are for `silent.example.org.`
fn silent_about_one(recovered: Arc<AtomicBool>) -> (SocketAddr, Seen) {
    let silent = query("silent.example.org.", Type::A)[12..].to_vec();
    serve(bound(), move |_, query| {
        match query[12..].starts_with(&silent) && !recovered.load(Ordering::SeqCst) {
            true => vec![],
            false => vec![reply(query, 1)],
        }
    })
}

#[test]
fn a_silent_name_costs_one_attempt_a_second_whoever_asks() {
    let (address, seen) = silent_about_one(Arc::default());
    let text = format!(". {{\n forward . {address}\n}}");
    let block = build(&text).expect("a block");
    on_worker(async {
        let began = Instant::now();
        let first = ask(&block, "silent.example.org.").await;
        assert_eq!((first.rcode, first.extended), (Rcode::SERVFAIL, Some(22)));
        assert!(first.failure.is_some_and(|cause| cause.contains("timeout")));
        // RFC 9520, 3.1: two retries at most.
        assert!(asked_for(&seen, "silent.example.org.") <= 3);
        let mut clients = 0;
        while began.elapsed() < Duration::from_secs(8) {
            let many: Vec<_> = (0..20)
                .map(|_| {
                    let block = block.clone();
                    tokio::task::spawn_local(async move {
                        let asked = Instant::now();
                        (ask(&block, "silent.example.org.").await, asked.elapsed())
                    })
                })
                .collect();
            let mut quick = 0;
            for one in many {
                let (got, took) = one.await.expect("an answer");
                assert_eq!((got.rcode, got.extended), (Rcode::SERVFAIL, Some(22)));
                quick += usize::from(took < Duration::from_millis(500));
                clients += 1;
            }
            assert!(
                quick >= 19,
                "one tries, the others are told at once: {quick}"
            );
        }
        let (seconds, sent) = (
            began.elapsed().as_secs() as usize,
            asked_for(&seen, "silent.example.org."),
        );
        eprintln!(
            "FIGURE {clients} clients ask for a silent name in {seconds} s: {sent} datagrams"
        );
        assert!(sent <= seconds + 1, "{sent} datagrams in {seconds} s");
        assert_eq!(ask(&block, "other.example.org.").await.mark(), Some(1));
    });
}

#[test]
fn a_name_that_is_answered_again_is_found_within_a_second() {
    let recovered = Arc::new(AtomicBool::new(false));
    let (address, _) = silent_about_one(recovered.clone());
    let text = format!(". {{\n forward . {address} {{\n read_timeout 200ms\n }}\n}}");
    let block = build(&text).expect("a block");
    on_worker(async {
        for _ in 0..2 {
            assert_eq!(
                ask(&block, "silent.example.org.").await.rcode,
                Rcode::SERVFAIL
            );
            tokio::time::sleep(Duration::from_millis(1_050)).await;
        }
        recovered.store(true, Ordering::SeqCst);
        let began = Instant::now();
        while ask(&block, "silent.example.org.").await.mark() != Some(1) {
            assert!(began.elapsed() < Duration::from_millis(1_500));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // And what was found is no longer kept from anybody.
        for _ in 0..3 {
            assert_eq!(ask(&block, "silent.example.org.").await.mark(), Some(1));
        }
    });
}

#[test]
fn who_asks_what_is_overdue_waits_for_the_same_reply() {
    let (address, seen) = serve(bound(), |_, query| {
        let slow = query[12..].starts_with(b"\x04slow");
        std::thread::sleep(Duration::from_millis(if slow { 1_200 } else { 0 }));
        vec![reply(query, 6)]
    });
    let block = build(&format!(". {{\n forward . {address}\n}}")).expect("a block");
    on_worker(async {
        let asks = |name: &'static str| {
            let block = block.clone();
            tokio::task::spawn_local(async move { ask(&block, name).await })
        };
        let mut asked = vec![asks("slow.example.org.")];
        tokio::time::sleep(Duration::from_millis(500)).await;
        let before = asked_for(&seen, "slow.example.org.");
        // The case of its letters is each client's own.
        asked.extend((0..10).map(|_| asks("Slow.example.org.")));
        for one in asked {
            let got = one.await.expect("an answer");
            assert_eq!(got.mark(), Some(6));
            assert_eq!(got.header().id, 0x4242);
        }
        assert!(before <= 2, "{before}");
        let log = seen.log.lock().expect("a log");
        let others = log.iter().filter(|(_, query)| query[13] == b'S').count();
        assert_eq!(others, 0, "they follow the first");
    });
}

#[test]
fn an_answer_that_comes_late_is_taken() {
    // Three seconds for each answer; an attempt waits for two.
    let socket = bound();
    let address = socket.local_addr().expect("an address");
    std::thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((len, from)) = socket.recv_from(&mut buffer) {
            let (socket, query) = (
                socket.try_clone().expect("a socket"),
                buffer[..len].to_vec(),
            );
            std::thread::spawn(move || {
                std::thread::sleep(Duration::from_secs(3));
                let _ = socket.send_to(&reply(&query, 4), from);
            });
        }
    });
    let block = build(&format!(". {{\n forward . {address}\n}}")).expect("a block");
    let began = Instant::now();
    let got = on_worker(ask(&block, "example.org."));
    assert_eq!(got.mark(), Some(4), "{got:?}");
    let took = began.elapsed();
    assert!(
        took >= Duration::from_secs(3) && took < Duration::from_millis(3_500),
        "{took:?}"
    );
}

/// A query with an OPT record.
fn with_opt(name: &str) -> Vec<u8> {
    let mut message = query(name, Type::A);
    message[11] = 1;
    message.extend_from_slice(&[0, 0, 41, 0x04, 0xD0, 0, 0, 0x80, 0, 0, 0]);
    message
}

#[test]
fn who_does_not_understand_edns_is_asked_without_it() {
    // (RCODE of the refusal, whether it comes with the question)
    for (rcode, question) in [(1, true), (1, false), (4, true), (4, false)] {
        let (address, seen) = serve(bound(), move |_, query| match (query[11], question) {
            (0, _) => vec![reply(query, 2)],
            (_, true) => vec![bare(query, rcode)],
            (_, false) => {
                let mut header = query[..12].to_vec();
                header[2] |= 0x80;
                header[3] = rcode;
                header[4..].fill(0);
                vec![header]
            }
        });
        let block = build(&format!(". {{\n forward . {address}\n}}")).expect("a block");
        on_worker(async {
            for (name, sent) in [("a.example.org.", 2), ("b.example.org.", 1)] {
                let got = ask_by(&block, &with_opt(name), Transport::Udp).await;
                assert_eq!(got.mark(), Some(2), "{rcode} {question} {name}: {got:?}");
                assert_eq!(asked_for(&seen, name), sent, "it is remembered");
            }
        });
        let log = seen.log.lock().expect("a log");
        let offered = log.iter().filter(|(_, query)| query[11] == 1);
        assert_eq!(offered.count(), 1);
    }
    // Who refuses the query without EDNS too does not mean EDNS.
    let (address, seen) = serve(bound(), |_, query| vec![bare(query, 1)]);
    let block = build(&format!(". {{\n forward . {address}\n}}")).expect("a block");
    on_worker(async {
        for (name, sent) in [("a.example.org.", 2), ("b.example.org.", 2)] {
            let got = ask_by(&block, &with_opt(name), Transport::Udp).await;
            assert_eq!((got.rcode, asked_for(&seen, name)), (Rcode::FORMERR, sent));
        }
        let got = ask(&block, "c.example.org.").await;
        assert_eq!(got.rcode, Rcode::FORMERR);
        assert_eq!(
            asked_for(&seen, "c.example.org."),
            1,
            "nothing to leave out"
        );
    });
}

#[test]
fn an_error_without_the_question_is_an_answer() {
    for rcode in [1, 2, 4, 5] {
        let (address, seen) = serve(bound(), move |_, query| {
            vec![vec![
                query[0], query[1], 0x81, rcode, 0, 0, 0, 0, 0, 0, 0, 0,
            ]]
        });
        let block = build(&format!(". {{\n forward . {address}\n}}")).expect("a block");
        let began = Instant::now();
        let got = on_worker(ask(&block, "example.org."));
        assert_eq!(got.rcode.0, u16::from(rcode));
        assert_eq!(got.header().counts, [1, 0, 0, 0]);
        assert!(began.elapsed() < Duration::from_millis(500));
        assert_eq!(seen.count(), 1);
    }
}

#[test]
fn a_listener_can_have_a_query_back() {
    let silent = bound();
    let address = silent.local_addr().expect("an address");
    let text = format!(". {{\n forward . {address} {{\n max_concurrent 1\n }}\n}}");
    let block = build(&text).expect("a block");
    on_worker(async {
        let asked = {
            let block = block.clone();
            tokio::task::spawn_local(async move { ask(&block, "a.example.org.").await })
        };
        while CANCEL.get().is_none() {
            tokio::task::yield_now().await;
        }
        let cancel = CANCEL.take().expect("a handle");
        let mut refused = ask(&block, "b.example.org.").await;
        assert_eq!(refused.rcode, Rcode::REFUSED, "the place is taken");
        assert!(cancel.cancel(Failure::servfail("too many queries wait")));
        let got = asked.await.expect("an answer");
        assert_eq!(got.failure.as_deref(), Some("too many queries wait"));
        assert!(
            !cancel.cancel(Failure::servfail("again")),
            "it has ended already"
        );
        let next = {
            let block = block.clone();
            tokio::task::spawn_local(async move { ask(&block, "c.example.org.").await })
        };
        while CANCEL.get().is_none() {
            tokio::task::yield_now().await;
        }
        refused = ask(&block, "d.example.org.").await;
        assert_eq!(refused.rcode, Rcode::REFUSED, "the place was given back");
        next.abort();
    });
}

#[test]
fn the_first_of_those_that_wait_for_one_asks_in_its_place() {
    let answers = Arc::new(AtomicBool::new(false));
    let told = answers.clone();
    let (address, _) = serve(bound(), move |_, query| match told.load(Ordering::SeqCst) {
        true => vec![reply(query, 3)],
        false => vec![],
    });
    let block = build(&format!(". {{\n forward . {address}\n}}")).expect("a block");
    on_worker(async {
        let asks = || {
            let block = block.clone();
            tokio::task::spawn_local(async move { ask(&block, "example.org.").await })
        };
        let first = asks();
        while CANCEL.get().is_none() {
            tokio::task::yield_now().await;
        }
        let cancel = CANCEL.take().expect("a handle");
        // By now it is overdue, and the others wait with it.
        tokio::time::sleep(Duration::from_millis(500)).await;
        let others: Vec<_> = (0..5).map(|_| asks()).collect();
        tokio::time::sleep(Duration::from_millis(50)).await;
        answers.store(true, Ordering::SeqCst);
        let began = Instant::now();
        assert!(cancel.cancel(Failure::servfail("too many queries wait")));
        assert_eq!(first.await.expect("an answer").rcode, Rcode::SERVFAIL);
        for other in others {
            assert_eq!(other.await.expect("an answer").mark(), Some(3));
        }
        assert!(began.elapsed() < Duration::from_millis(250));
    });
}
