//! Which questions are one, and what of an answer is the source's.

use super::*;

/// The NS records of a referral, as a resolver gives them to a question without RD for a name that it does not know.
fn referral(response: &mut Response<'_>) {
    let (owner, server) = (name("org."), name("ns.example.net."));
    let fixed = (Type::NS, Class::IN, 172_800);
    response
        .push_named(
            Section::Authority,
            owner.as_name(),
            fixed,
            (&[], server.as_name()),
        )
        .unwrap();
}

/// A resolver: it answers with RD, and refers without.
fn resolver(pause: Option<Duration>) -> Lab {
    Lab::slow("cache", pause, |query, response| {
        response.set_flag(Flags::RA, true);
        if query.flags().has(Flags::RD) {
            return a(query, response, 300);
        }
        response.set_flag(Flags::AA, true);
        referral(response);
        Ok(Flow::Answered)
    })
}

/// The numbers of records in the answer and the authority section.
fn counts(exchange: &Exchange) -> [u16; 2] {
    let [_, answers, authority, _] = Message::new(exchange.reply()).unwrap().header().counts;
    [answers, authority]
}

#[test]
fn each_question_gets_what_it_deserves_with_rd_and_without() {
    local(async {
        let lab = resolver(None);
        let ask = |flags| lab.ask_with("example.org.", Type::A, flags, false);
        // The referral is passed on as it came, and not kept.
        for asked in 1..=2 {
            let without = ask(0).await;
            assert_eq!((counts(&without), lab.asked()), ([0, 1], asked));
            assert_eq!(ttls(&without), [172_800]);
        }
        for _ in 0..2 {
            let with = ask(Flags::RD).await;
            assert_eq!((counts(&with), lab.asked()), ([1, 0], 3));
            assert!(!flags(&with).has(Flags::AA));
        }
        // What the cache knows now answers without RD, too, as a resolver's would.
        let without = ask(0).await;
        assert_eq!((counts(&without), lab.asked()), ([1, 0], 3));
        assert!(!flags(&without).has(Flags::RD));
    });
}

#[test]
fn queries_with_rd_and_without_are_not_merged() {
    local(async {
        let lab = Rc::new(resolver(Some(Duration::from_millis(20))));
        let clients: Vec<_> = (0..10)
            .map(|n| {
                let lab = lab.clone();
                let flags = if n % 2 == 0 { 0 } else { Flags::RD };
                tokio::task::spawn_local(async move {
                    lab.ask_with("example.org.", Type::A, flags, false).await
                })
            })
            .collect();
        for (n, client) in clients.into_iter().enumerate() {
            let counts = counts(&client.await.unwrap());
            // Without RD, what was learnt for the others in the meantime will do.
            let may = n > 0 && n % 2 == 0 && counts == [1, 0];
            let expected = if n % 2 == 0 { [0, 1] } else { [1, 0] };
            assert!(may || counts == expected, "client {n}: {counts:?}");
        }
    });
}

#[test]
fn what_was_learnt_without_rd_answers_nobody_who_asks_with_it() {
    local(async {
        let lab = Lab::new("cache", |query, response| a(query, response, 300));
        for _ in 0..2 {
            lab.ask_with("example.org.", Type::A, 0, false).await;
            assert_eq!(lab.asked(), 1);
        }
        for _ in 0..2 {
            lab.ask("example.org.").await;
            assert_eq!(lab.asked(), 2);
        }
        // An upstream that could not resolve says nothing of what it has.
        let (lab, mode) = switched("cache", None);
        mode.store(1, Ordering::Relaxed);
        lab.ask("example.org.").await;
        mode.store(0, Ordering::Relaxed);
        let without = lab.ask_with("example.org.", Type::A, 0, false).await;
        assert_eq!((rcode(&without), lab.asked()), (Rcode::NOERROR, 2));
    });
}

#[test]
fn an_entry_is_refreshed_by_its_own_question() {
    local(async {
        let (lab, _) = switched("cache {\nprefetch 1 1m 90%\n}", None);
        lab.ask("example.org.").await;
        lab.pass(30);
        // This one is answered by the entry of the question with RD, and would refresh another.
        lab.ask_with("example.org.", Type::A, 0, false).await;
        settle().await;
        assert_eq!(lab.asked(), 1);
        lab.ask("example.org.").await;
        settle().await;
        assert_eq!(lab.asked(), 2);
    });
}

#[test]
fn aa_is_what_the_source_said() {
    local(async {
        for authoritative in [true, false] {
            let lab = Lab::new("cache", move |query, response| {
                response.set_flag(Flags::AA, authoritative);
                a(query, response, 300)
            });
            for _ in 0..2 {
                let reply = lab.ask("example.org.").await;
                assert_eq!(flags(&reply).has(Flags::AA), authoritative);
            }
            assert_eq!(lab.asked(), 1);
        }
    });
}

#[test]
fn who_waits_for_an_answer_that_nobody_gives_goes_his_own_way() {
    local(async {
        let asked = AtomicUsize::new(0);
        let pause = Some(Duration::from_millis(20));
        let lab = Lab::slow("cache", pause, move |query, response| {
            match asked.fetch_add(1, Ordering::Relaxed) {
                0 => Ok(Flow::Silent),
                _ => a(query, response, 300),
            }
        });
        let lab = Rc::new(lab);
        let clients: Vec<_> = (0..5)
            .map(|_| {
                let lab = lab.clone();
                tokio::task::spawn_local(async move { lab.ask("example.org.").await })
            })
            .collect();
        let began = std::time::Instant::now();
        let mut answered = 0;
        for client in clients {
            answered += counts(&client.await.unwrap())[0];
        }
        assert_eq!(answered, 4);
        assert!(began.elapsed() < super::super::flight::DEADLINE);
    });
}
