//! Tries `alternate` below plugins that answer as they are told, on upstreams of real sockets.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use chain::{Failure, Flow, Plugin};
use wire::{Flags, Rcode, Type};

use crate::trial::{self, answer, reply_of, serve};

#[test]
fn options_are_read() {
    trial::table(&[
        ("alternate REFUSED . 192.0.2.1:53", ""),
        ("alternate original NXDOMAIN . 192.0.2.1", ""),
        (
            "alternate servfail,refused example.org 192.0.2.1 192.0.2.2",
            "",
        ),
        (
            "alternate NXDOMAIN . 192.0.2.1\nalternate original SERVFAIL,REFUSED . 192.0.2.2",
            "",
        ),
        ("alternate REFUSED . 192.0.2.1 {\n}", ""),
        ("alternate", "Wrong argument count"),
        ("alternate original", "Wrong argument count"),
        ("alternate NXDOMAIN", "Wrong argument count"),
        ("alternate NXDOMAIN .", "Wrong argument count"),
        (
            "alternate REFUSE . 192.0.2.1",
            "REFUSE is not a valid rcode",
        ),
        (
            "alternate original NODOMAIN . 192.0.2.1",
            "is not a valid rcode",
        ),
        (
            "alternate SERVFAIL, REFUSED . 192.0.2.1",
            " is not a valid rcode",
        ),
        (
            "alternate REFUSED . 192.0.2.1 {\n max_fails 5\n}",
            "additional parameters not allowed",
        ),
        (
            "alternate REFUSED . tls://192.0.2.1",
            "only dns transport allowed",
        ),
        ("alternate REFUSED . 192.0.2", "not an IP address"),
        (
            "alternate REFUSED . 192.0.2.1\nalternate REFUSED . 192.0.2.2",
            "rcode 'REFUSED' is specified more than once",
        ),
    ]);
}

#[test]
fn the_manual_is_true() {
    trial::readme(include_str!("README.md"));
}

/// What is answered by `lines` above a plugin that gives `rcode`, to a question for `name`.
fn ask(lines: &str, rcode: Rcode, name: &str) -> String {
    let last = answer(move |_, response| {
        response.set_rcode(rcode);
        Ok(Flow::Answered)
    });
    let block = serve(&trial::block(lines), ".", last);
    trial::ask(&block, name, Type::A)
}

#[test]
fn responses_of_its_rcodes_are_replaced_and_others_are_not() {
    let other =
        trial::upstream(|query| Some(reply_of(query, Rcode::NOERROR, Some([192, 0, 2, 7]))));
    let lines = format!("alternate NXDOMAIN,REFUSED . {other}");
    let replaced = "NOERROR | www.example.org. 60 A 192.0.2.7";
    assert_eq!(ask(&lines, Rcode::NXDOMAIN, "www.example.org"), replaced);
    assert_eq!(ask(&lines, Rcode::REFUSED, "www.example.org"), replaced);
    assert_eq!(ask(&lines, Rcode::NOERROR, "www.example.org"), "NOERROR");
    assert_eq!(ask(&lines, Rcode::SERVFAIL, "www.example.org"), "SERVFAIL");
    let lines = format!("alternate NXDOMAIN example.org {other}");
    assert_eq!(ask(&lines, Rcode::NXDOMAIN, "www.example.org"), replaced);
    assert_eq!(ask(&lines, Rcode::NXDOMAIN, "www.example.net"), "NXDOMAIN");
}

#[test]
fn each_line_has_its_rcodes_and_errors_of_its_upstreams_are_answers() {
    let one = trial::upstream(|query| Some(reply_of(query, Rcode::REFUSED, None)));
    let other =
        trial::upstream(|query| Some(reply_of(query, Rcode::NOERROR, Some([192, 0, 2, 8]))));
    let lines = format!("alternate NXDOMAIN . {one}\nalternate SERVFAIL . {other}");
    // The response of the first line's upstream is not replaced again.
    assert_eq!(ask(&lines, Rcode::NXDOMAIN, "www.example.org"), "REFUSED");
    let replaced = "NOERROR | www.example.org. 60 A 192.0.2.8";
    assert_eq!(ask(&lines, Rcode::SERVFAIL, "www.example.org"), replaced);
}

#[test]
fn a_failure_below_is_replaced_and_forgotten() {
    let other =
        trial::upstream(|query| Some(reply_of(query, Rcode::NOERROR, Some([192, 0, 2, 9]))));
    let trial = trial::block(&format!("errors\nalternate SERVFAIL . {other}"));
    let last: Arc<dyn Plugin> = answer(|_, _| Err(Failure::servfail("nobody is there")));
    let block = serve(&trial, ".", last);
    let mut found = String::new();
    let logged = trial::logged(|| found = trial::ask(&block, "www.example.org", Type::A));
    assert_eq!(found, "NOERROR | www.example.org. 60 A 192.0.2.9");
    assert!(!logged.contains("nobody is there"), "{logged}");
}

#[test]
fn the_original_question_is_asked_where_that_is_wanted() {
    let other = trial::upstream(|query| {
        let known = query.windows(4).any(|window| window == b"\x03www");
        let rcode = if known {
            Rcode::NOERROR
        } else {
            Rcode::NXDOMAIN
        };
        Some(reply_of(query, rcode, known.then_some([192, 0, 2, 10])))
    });
    for (flag, expected) in [
        ("", "NXDOMAIN"),
        ("original", "NOERROR | www.example.org. 60 A 192.0.2.10"),
    ] {
        let trial = trial::block(&format!("alternate {flag} NXDOMAIN . {other}"));
        let last = answer(|_, response| {
            response.set_rcode(Rcode::NXDOMAIN);
            Ok(Flow::Answered)
        });
        let block = serve(&trial, ".", last);
        let question = ("www.example.org", Type::A);
        let found = trial::ask_with(&block, question, |query, response| {
            let name: wire::NameBuf = "host.example.org".parse().expect("a name");
            let instead = chain::Instead {
                qname: Some(&wire::Qname::from(name.as_name())),
                ..chain::Instead::default()
            };
            query.rewrite(response, instead);
        });
        assert_eq!(found, expected, "{flag:?}");
    }
}

#[test]
fn an_upstream_that_is_silent_gives_way_to_the_next() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let silent = trial::upstream(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        None
    });
    let good = trial::upstream(|query| {
        let mut reply = reply_of(query, Rcode::NOERROR, Some([192, 0, 2, 11]));
        reply[2] |= (Flags::AA >> 8) as u8;
        Some(reply)
    });
    let lines = format!("alternate SERVFAIL . {silent} {good}");
    let expected = "NOERROR aa | www.example.org. 60 A 192.0.2.11";
    // In random order: the silent one is asked first sooner or later.
    for _ in 0..64 {
        assert_eq!(ask(&lines, Rcode::SERVFAIL, "www.example.org"), expected);
        if asked.load(Ordering::Relaxed) > 0 {
            return;
        }
    }
    panic!("the first of two was never asked first");
}
