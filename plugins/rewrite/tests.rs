//! What `rewrite` does, with the plugin below scripted.

use std::sync::Arc;

use chain::{Block, Failure, Flow, Outcome, Query};
use proptest::prelude::*;
use wire::{Class, Flags, Message, NameBuf, Rcode, Response, Section, Type};

use crate::trial::{self, told};

/// Answers A with the owner as QNAME, NS and CNAME with a name below it, and writes down what it was asked.
fn echo(query: &mut Query<'_>, response: &mut Response<'_>) -> Result<Flow, Failure> {
    let owner = NameBuf::from_name(query.name());
    let fixed = (query.qtype(), Class::IN, 5);
    let below = NameBuf::prepend(b"x", owner.as_name()).unwrap_or(owner);
    let pushed = match query.qtype() {
        Type::A => response.push(Section::Answer, owner.as_name(), fixed, &[10, 0, 0, 1]),
        Type::SOA => {
            let rdata = [below.as_name().octets(), owner.as_name().octets(), &[0; 20]].concat();
            response.push(Section::Authority, owner.as_name(), fixed, &rdata)
        }
        _ => response.push_named(
            Section::Answer,
            owner.as_name(),
            fixed,
            (&[], below.as_name()),
        ),
    };
    pushed.map_err(|_| Failure::servfail("no room"))?;
    Ok(Flow::Answered)
}

/// A block of these lines above a plugin that answers so.
fn block(
    lines: &str,
    answer: impl Fn(&mut Query<'_>, &mut Response<'_>) -> Result<Flow, Failure> + Send + Sync + 'static,
) -> Arc<Block> {
    let trial = trial::block(lines);
    assert!(trial.accepted, "{lines}: {}", trial.messages);
    trial::serve(&trial, ".", trial::answer(answer))
}

/// The response to a question, in a few words, and the question that it has.
fn ask(block: &Arc<Block>, name: &str, qtype: Type) -> (String, String) {
    let mut exchange = trial::exchange(name, qtype, None);
    assert_eq!(exchange.walk(block), Outcome::Respond, "{name}");
    assert!(!exchange.views(block).0.is_rewritten());
    let mut response = exchange.response();
    let told = told(&response);
    response.seal();
    let message = Message::new(exchange.reply()).expect("a header");
    let (question, ..) = message.question().expect("a question");
    (told, question.to_string())
}

/// What the lines make of questions for A: name, then the answer.
fn check(lines: &str, rows: &[(&str, &str)]) {
    let block = block(lines, echo);
    for (name, expected) in rows {
        let (told, question) = ask(&block, name, Type::A);
        assert_eq!(told, format!("NOERROR | {expected}"), "{lines}: {name}");
        assert_eq!(question, *name, "{lines}");
    }
}

#[test]
fn names_are_asked_and_led_back() {
    check(
        "rewrite name a.example b.example.net",
        &[
            ("a.example.", "a.example. 5 A 10.0.0.1"),
            ("A.eXample.", "A.eXample. 5 A 10.0.0.1"),
            ("c.example.", "c.example. 5 A 10.0.0.1"),
        ],
    );
    check(
        "rewrite name prefix foo bar",
        &[
            ("foo.example.", "bar.example. 5 A 10.0.0.1"),
            ("foobar.example.", "foobar.example. 5 A 10.0.0.1"),
        ],
    );
    check(
        "rewrite name prefix foo bar answer auto",
        &[("foo.example.", "foo.example. 5 A 10.0.0.1")],
    );
    check(
        "rewrite name suffix com org",
        &[
            ("a.com.", "a.org. 5 A 10.0.0.1"),
            ("a.telecom.", "a.teleorg. 5 A 10.0.0.1"),
        ],
    );
    check(
        "rewrite name suffix .example.com .a.much.longer.example.org answer auto",
        &[("a.example.com.", "a.example.com. 5 A 10.0.0.1")],
    );
    check(
        "rewrite name substring b c",
        &[("a.b.b.example.", "a.c.c.example. 5 A 10.0.0.1")],
    );
    check(
        r"rewrite name regex (.*)-(us)\.example\.org {1}.{2}.consul",
        &[("ftp-us.example.org.", "ftp.us.consul. 5 A 10.0.0.1")],
    );
    check(
        "rewrite {\n name regex (.*)-(us)\\.example\\.org {1}.{2}.consul\n answer name (.*)\\.(us)\\.consul {1}-{2}.example.org\n}",
        &[("ftp-us.example.org.", "ftp-us.example.org. 5 A 10.0.0.1")],
    );
    check(
        "rewrite continue name a.example b.example\nrewrite name suffix b.example c.example answer auto",
        &[
            ("a.example.", "a.example. 5 A 10.0.0.1"),
            ("b.example.", "b.example. 5 A 10.0.0.1"),
        ],
    );
    check(
        "rewrite name a.example b.example\nrewrite name b.example c.example",
        &[("a.example.", "a.example. 5 A 10.0.0.1")],
    );
}

#[test]
fn names_in_rdata_are_led_back_where_rules_say_so() {
    for (lines, qtype, expected) in [
        (
            "rewrite name a.example b.example.net",
            Type::CNAME,
            "a.example. 5 CNAME x.a.example.",
        ),
        (
            "rewrite name prefix a b",
            Type::NS,
            "b.example. 5 NS x.b.example.",
        ),
        (
            "rewrite name prefix a b answer value (.*)\\.b\\.example {1}.value.example",
            Type::PTR,
            "b.example. 5 PTR x.value.example.",
        ),
        (
            "rewrite name prefix a b answer auto value (.*)\\.b\\.example {1}.value.example",
            Type::PTR,
            "a.example. 5 PTR x.value.example.",
        ),
        (
            "rewrite name prefix a b answer name B\\.(.*)\\. c.{1} name c\\.(.*)\\. d.{1}",
            Type::CNAME,
            "c.example. 5 CNAME x.b.example.",
        ),
    ] {
        let (told, _) = ask(&block(lines, echo), "a.example.", qtype);
        assert_eq!(told, format!("NOERROR | {expected}"), "{lines}");
    }
    // Of a SOA record, the primary's name and not the mailbox, as in CoreDNS.
    let block = block("rewrite name a.example b.example", echo);
    let mut exchange = trial::exchange("a.example.", Type::SOA, None);
    exchange.walk(&block);
    let response = exchange.response();
    let record = response.records().next().expect("one").expect("a record");
    let primary = record.rdata_name(0).expect("a name");
    assert_eq!(record.owner().expect("a name").to_string(), "a.example.");
    assert_eq!(primary.to_string(), "x.a.example.");
}

#[test]
fn types_are_asked_and_the_question_comes_back() {
    let block = block("rewrite type ANY HINFO\nrewrite type mx a", echo);
    let (told, _) = ask(&block, "a.example.", Type::MX);
    assert_eq!(told, "NOERROR | a.example. 5 A 10.0.0.1");
    let mut exchange = trial::exchange("a.example.", Type::ANY, None);
    exchange.walk(&block);
    exchange.response().seal();
    let message = Message::new(exchange.reply()).expect("a header");
    let (_, qtype, ..) = message.question().expect("a question");
    let record = message.records().next().expect("one").expect("a record");
    assert_eq!((qtype, record.rtype), (Type::ANY, Type::HINFO));
}

#[test]
fn classes_are_asked_of_plugins_that_take_them() {
    let block = block("rewrite class CH IN", echo);
    let mut exchange = trial::exchange("a.example.", Type::A, None);
    exchange.parsed.qclass = Class::CH;
    assert!(exchange.refusal(&block).is_none());
    assert_eq!(exchange.walk(&block), Outcome::Respond);
    assert_eq!(
        told(&exchange.response()),
        "NOERROR | a.example. 5 A 10.0.0.1"
    );
}

#[test]
fn ttls_are_brought_between_bounds() {
    for (lines, expected) in [
        ("rewrite ttl a.example 30", 30),
        ("rewrite ttl exact a.example 1", 1),
        ("rewrite ttl prefix a 30-300", 30),
        ("rewrite ttl suffix .example -3", 3),
        ("rewrite ttl substring examp 30", 5),
        ("rewrite ttl substring example 4-6", 5),
        ("rewrite ttl regex a\\.(.*) 7-", 7),
        ("rewrite ttl b.example 30", 5),
        // The last rule that applied comes first, so that the first has the last word.
        (
            "rewrite continue ttl a.example -20\nrewrite ttl a.example 30",
            20,
        ),
        (
            "rewrite continue name a.example b.example\nrewrite ttl b.example 30",
            30,
        ),
    ] {
        let (told, _) = ask(&block(lines, echo), "a.example.", Type::A);
        assert_eq!(
            told,
            format!("NOERROR | a.example. {expected} A 10.0.0.1"),
            "{lines}"
        );
    }
}

#[test]
fn rcodes_are_changed_of_failures_too() {
    let lines = "rewrite continue rcode regex (.*)\\.example SERVFAIL NOERROR\nrewrite rcode suffix .example NXDOMAIN 5";
    for (rcode, expected) in [
        (Rcode::SERVFAIL, Rcode::NOERROR),
        (Rcode::NXDOMAIN, Rcode::REFUSED),
        (Rcode::REFUSED, Rcode::REFUSED),
    ] {
        for fails in [true, false] {
            let block = block(lines, move |_, response| match fails {
                true => Err(Failure::policy(rcode)),
                false => {
                    response.set_rcode(rcode);
                    Ok(Flow::Answered)
                }
            });
            let (told, _) = ask(&block, "a.example.", Type::A);
            assert_eq!(told, expected.to_string(), "{rcode} {fails}");
        }
    }
}

#[test]
fn a_name_that_is_none_is_servfail() {
    let long = "x".repeat(63);
    let lines = format!("rewrite name prefix a {long}{long}\nrewrite name regex b\\.(.*) ..{{1}}");
    let block = block(&lines, echo);
    for (name, cause) in [
        ("a.example.", "xxx.example."),
        ("b.example.", "invalid name after rewrite: ..example.."),
    ] {
        let mut exchange = trial::exchange(name, Type::A, None);
        assert_eq!(exchange.walk(&block), Outcome::Respond);
        let (query, response) = exchange.views(&block);
        let failure = query.failure().expect("a failure").cause.to_string();
        assert!(
            failure.starts_with("invalid name after rewrite: "),
            "{failure}"
        );
        assert!(failure.contains(cause), "{failure}");
        assert_eq!(response.rcode(), Rcode::SERVFAIL);
        assert!(!query.is_rewritten());
    }
}

/// A response whose names cannot be changed as the rules say: the operator and the client are told why.
#[test]
fn a_response_with_a_name_that_is_none_is_a_failure() {
    let lines =
        "rewrite stop {\n name regex (.*)\\.example b.test\n answer name b\\.test ..example\n}";
    let block = block(lines, echo);
    let mut exchange = trial::exchange("a.example.", Type::A, None);
    assert_eq!(exchange.walk(&block), Outcome::Respond);
    let (query, response) = exchange.views(&block);
    assert_eq!(response.rcode(), Rcode::SERVFAIL);
    assert_eq!(response.count(Section::Answer), 0);
    let failure = query.failure().expect("a failure");
    let cause = failure.cause.to_string();
    assert!(
        cause.starts_with("a rewrite of the response makes an invalid name: "),
        "{cause}"
    );
    assert!(failure.extended.is_some());
    assert!(!query.is_rewritten());
}

#[test]
fn every_rule_of_many_is_remembered() {
    let mut lines: Vec<_> = (0..200)
        .map(|n| format!("rewrite name host{n}.example target{n}.example.net"))
        .collect();
    lines.push("rewrite continue name suffix .first .second answer auto".into());
    lines.push("rewrite continue ttl suffix .second 77".into());
    lines.push("rewrite name suffix .second .third answer auto".into());
    lines.push("rewrite name suffix .third .fourth answer auto".into());
    let text = lines.join("\n");
    check(
        &text,
        &[
            ("host0.example.", "host0.example. 5 A 10.0.0.1"),
            ("host61.example.", "host61.example. 5 A 10.0.0.1"),
            ("host62.example.", "host62.example. 5 A 10.0.0.1"),
            ("host199.example.", "host199.example. 5 A 10.0.0.1"),
            ("a.first.", "a.first. 77 A 10.0.0.1"),
            ("a.third.", "a.third. 5 A 10.0.0.1"),
        ],
    );
}

#[test]
fn transfers_keep_their_name() {
    let block = block("rewrite name a.example b.example", |query, _| {
        assert_eq!(query.name().to_string(), "a.example.");
        Err(Failure::policy(Rcode::REFUSED))
    });
    for qtype in [Type::AXFR, Type::IXFR] {
        assert_eq!(ask(&block, "a.example.", qtype).0, "REFUSED");
    }
}

#[test]
fn an_exact_name_allocates_nothing() {
    let block = block(
        "rewrite name b.example c.example\nrewrite name a.example b.example.net",
        echo,
    );
    let mut exchange = trial::exchange("a.example.", Type::A, None);
    let mut round = || {
        exchange.parse().expect("a query");
        assert_eq!(exchange.walk(&block), Outcome::Respond);
    };
    round();
    let counted = allocation_counter::measure(|| {
        for _ in 0..100 {
            round();
        }
    });
    assert_eq!(counted.count_total, 0);
    assert_eq!(
        told(&exchange.response()),
        "NOERROR | a.example. 5 A 10.0.0.1"
    );
}

#[test]
fn lines_are_read_or_refused() {
    let long = "a".repeat(10_001);
    trial::table(&[
        ("rewrite name a.com b.com", ""),
        ("rewrite NAME Exact a.com b.com", ""),
        ("rewrite CONTINUE name a.com b.com", ""),
        ("rewrite {\n name a.com\n b.com\n}", ""),
        (
            "rewrite stop {\n name regex foo bar\n answer name bar foo\n}",
            "",
        ),
        ("rewrite", "too few"),
        ("rewrite name", "too few"),
        ("rewrite continue", "too few"),
        ("rewrite name a.com b.com {\n answer auto\n}", "block"),
        (
            "rewrite name a.com b.com c.com",
            "invalid name match \"a.com\"",
        ),
        ("rewrite name sufix a.com b.com", "invalid name match"),
        ("rewrite answer name a b", "must begin with a name rule"),
        ("rewrite name exact {1}.com b.com", "refers to groups"),
        ("rewrite name regex (.*) {1}.{2}", "more subexpressions"),
        ("rewrite name regex ( b", "could not parse regex"),
        (
            &format!("rewrite name regex {long} b"),
            "regex pattern too long: 10001 > 10000",
        ),
        ("rewrite name suffix a b answer", "too few"),
        (
            "rewrite name suffix a b answer auto name a b",
            "cannot be combined",
        ),
        (
            "rewrite name suffix a b answer ttl a b",
            "invalid answer \"ttl\"",
        ),
        (
            "rewrite name suffix a b extra name a b",
            "invalid option of a name rule",
        ),
        ("rewrite type any a a", "too few or too many"),
        ("rewrite type XY A", "invalid type \"XY\""),
        ("rewrite class IN WV", "invalid class \"WV\""),
        ("rewrite class CS IN", ""),
        ("rewrite ttl a.com -", "invalid TTL"),
        ("rewrite ttl a.com 2-1", "invalid TTL"),
        ("rewrite ttl a.com +1", "invalid TTL"),
        ("rewrite ttl a.com 4294967296", "invalid TTL"),
        ("rewrite ttl a.com 4294967295", ""),
        ("rewrite rcode a.com BADSIG notimpl", ""),
        ("rewrite rcode a.com 2 24", "invalid RCODE '24'"),
        ("rewrite rcode a.com 2", "too few"),
        ("rewrite cname a.com", "too few"),
        ("rewrite cname wild a.com b.com", "invalid name match"),
        ("rewrite cname regex [ b.com", "could not parse regex"),
        (
            "rewrite edns0 local set 0xffee 0xabc",
            "invalid hexadecimal",
        ),
        ("rewrite edns0 local set 65536 a", "invalid option code"),
        (
            "rewrite edns0 local set 0xffee {qnam}",
            "unsupported variable name",
        ),
        (
            "rewrite edns0 local set 0xffee {/label}",
            "unsupported variable name",
        ),
        ("rewrite edns0 local set 0xffee {a/b}", ""),
        (
            "rewrite edns0 local unset 0xffee revert",
            "too few or too many",
        ),
        ("rewrite edns0 subnet set 33 56", "invalid IPv4 bit mask"),
        ("rewrite edns0 nsid set revert", ""),
        ("rewrite edns0 cookie set", "invalid rule type"),
    ]);
}

#[test]
fn rules_that_never_apply_are_told() {
    for (key, lines, told) in [
        (
            ".",
            "rewrite name a.org b.org\nrewrite name a.org c.org",
            "no query reaches",
        ),
        (
            ".",
            "rewrite name suffix .org .com\nrewrite name suffix .a.org .com",
            "no query reaches",
        ),
        (
            ".",
            "rewrite edns0 nsid set\nrewrite name a.org c.org",
            "no query reaches",
        ),
        (
            ".",
            "rewrite cname a.org b.org\nrewrite ttl a.org 5",
            "no query reaches",
        ),
        (
            ".",
            "rewrite name regex (.*) {1}.x\nrewrite ttl a.org 5",
            "no query reaches",
        ),
        (
            ".",
            "rewrite continue name a.org b.org\nrewrite name a.org c.org",
            "",
        ),
        (
            ".",
            "rewrite continue name suffix .x .y\nrewrite name a.y b\nrewrite name a.y c",
            "",
        ),
        (
            ".",
            "rewrite name a.org b.org\nrewrite name b.org c.org",
            "",
        ),
        (
            "example.org",
            "rewrite name web b.org",
            "`web.` matches no query",
        ),
        (
            "example.org",
            "rewrite name suffix .lan .org",
            "matches no query",
        ),
        ("example.org", "rewrite name suffix org com", ""),
        ("example.org", "rewrite name suffix .b.example.org com", ""),
        ("example.org", "rewrite name example.org com", ""),
        (
            ".",
            "rewrite name regex ^a\\.example\\.org$ b",
            "matches no query",
        ),
        (".", "rewrite name regex ^a\\.example\\.org\\.$ b", ""),
        (".", "rewrite name regex Example b", "matches no query"),
        (".", "rewrite name regex \\Aexample b", ""),
        (".", "rewrite cname suffix uvw xyz.", "matches no query"),
        (
            ".",
            "rewrite name regex (.*)\\.a {2}.b",
            "`{2}` stands for itself",
        ),
        (
            ".",
            "rewrite name suffix .a .b answer name auto x",
            "`auto` is a regular expression",
        ),
        (
            ".",
            "rewrite edns0 local set 1 {a/b}",
            "the label `a/b` is not collected",
        ),
        (".", "metadata\nrewrite edns0 local set 1 {a/b}", ""),
    ] {
        let trial = trial::build(&format!("{key}:53 {{\n{lines}\nwhoami\n}}\n"));
        assert!(trial.accepted, "{lines}: {}", trial.messages);
        assert!(
            trial.messages.contains(told) && trial.messages.is_empty() == told.is_empty(),
            "{key} {lines}: {}",
            trial.messages
        );
    }
}

#[test]
fn the_examples_of_the_manual_are_accepted() {
    trial::readme(include_str!("README.md"));
}

/// A name out of few labels.
fn any_name() -> impl Strategy<Value = String> {
    let label = prop::sample::select(vec!["a", "bb", "www", "Example", "org", "x-y", "\\046"]);
    prop::collection::vec(label, 0..5).prop_map(|labels| match labels.is_empty() {
        true => ".".to_owned(),
        false => labels.iter().map(|label| format!("{label}.")).collect(),
    })
}

/// A rule that is read.
fn any_rule() -> impl Strategy<Value = String> {
    let mode = prop::sample::select(vec!["", "continue ", "stop "]);
    let kind = prop::sample::select(vec!["exact", "prefix", "suffix", "substring"]);
    let answer = prop::sample::select(vec![
        "",
        " answer auto",
        " answer name (.*)\\.org {1}.example.net",
        " answer value ^(.*)$ {1}{1}",
    ]);
    let name = (kind, any_name(), any_name(), answer)
        .prop_map(|(kind, from, to, answer)| format!("name {kind} {from} {to}{answer}"));
    let regex = (any_name(), prop::bool::ANY).prop_map(|(to, auto)| {
        let answer = if auto { " answer auto" } else { "" };
        format!("name regex (.+)\\.(.+)\\. {{2}}.{to}{answer}")
    });
    let other = prop::sample::select(vec![
        "type A CNAME",
        "type CNAME A",
        "class IN CH",
        "ttl suffix . 7-9",
        "rcode suffix . NOERROR NXDOMAIN",
        "edns0 local set 0xffee {qname} revert",
        "edns0 subnet set 24 56",
    ]);
    let rule = prop_oneof![4 => name, 2 => regex, 2 => other.prop_map(str::to_owned)];
    (mode, rule).prop_map(|(mode, rule)| format!("rewrite {mode}{rule}"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the rules are, the client gets its question back with records that can be read.
    #[test]
    fn a_response_has_the_question_of_its_client(
        rules in prop::collection::vec(any_rule(), 1..5),
        name in any_name(),
        qtype in prop::sample::select(vec![Type::A, Type::CNAME, Type::MX, Type::SOA]),
        size in prop::option::of(512u16..1_300),
    ) {
        let trial = trial::block(&rules.join("\n"));
        prop_assume!(trial.accepted);
        let block = trial::serve(&trial, ".", trial::answer(echo));
        let mut exchange = trial::exchange(&name, qtype, size);
        prop_assert_eq!(exchange.walk(&block), Outcome::Respond);
        let limit = exchange.udp_limit();
        let asked = exchange.message()[12..exchange.parsed.question_end as usize].to_vec();
        let mut response = exchange.response();
        response.fit(limit);
        response.seal();
        let reply = exchange.reply();
        let message = Message::new(reply).expect("a header");
        prop_assert!(message.flags().has(Flags::QR));
        prop_assert_eq!(&reply[12..12 + asked.len()], &asked[..]);
        for record in message.records() {
            let record = record.expect("a record");
            prop_assert!(record.owner().is_ok());
            let mut rdata = Vec::new();
            let read = wire::reencode::rdata(&record, &mut wire::reencode::Verbatim, &mut rdata);
            prop_assert!(read.is_ok());
        }
    }
}
