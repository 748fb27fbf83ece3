use std::fmt::Write;

use chain::{Flow, Outcome};
use wire::{Message, NameBuf, Rcode, Type};

use crate::trial;

/// A response in a few words: RCODE, then section, owner, TTL, type and RDATA of each record; `passed` where the query goes on.
fn ask(lines: &str, name: &str, qtype: Type) -> String {
    let block = trial::serve(
        &trial::block(lines),
        ".",
        trial::answer(|_, response| {
            response.set_rcode(Rcode::REFUSED);
            Ok(Flow::Answered)
        }),
    );
    let mut exchange = trial::exchange(name, qtype, None);
    assert_eq!(exchange.walk(&block), Outcome::Respond);
    if exchange.views(&block).0.answered_by() == Some("answer") {
        return "passed".to_owned();
    }
    exchange.response().seal();
    let message = Message::new(exchange.reply()).expect("a message");
    let mut out = message.rcode().to_string();
    assert!(!message.flags().has(wire::Flags::AA));
    for record in message.records() {
        let record = record.expect("a record");
        assert_eq!(record.ttl, 604_800);
        let owner = record.owner().expect("an owner");
        let _ = write!(out, " {:?} {owner} {}", record.section, record.rtype);
        let rdata = record.rdata();
        let _ = match record.rtype {
            Type::A => write!(out, " {rdata:?}"),
            Type::AAAA => write!(out, " {}", rdata.iter().map(|&o| u32::from(o)).sum::<u32>()),
            Type::SOA => {
                let (_, second) =
                    NameBuf::read(message.octets(), record.rdata_range.start).expect("a name");
                let (contact, behind) = NameBuf::read(message.octets(), second).expect("a name");
                let numbers: Vec<_> = (0..5)
                    .map(|i| wire::read_u32(message.octets(), behind + 4 * i).expect("a number"))
                    .collect();
                assert_eq!(behind + 20, record.rdata_range.end);
                let primary = record.rdata_name(0).expect("a name");
                assert_eq!(numbers, [1, 0, 0, 0, 604_800]);
                assert_eq!(contact.to_string(), "root.localhost.");
                write!(out, " {primary}")
            }
            _ => write!(out, " {}", record.rdata_name(0).expect("a name")),
        };
    }
    out
}

#[test]
fn names_types_and_owners() {
    for (name, qtype, expected) in [
        (
            "localhost.",
            Type::A,
            "NOERROR Answer localhost. A [127, 0, 0, 1]",
        ),
        (
            "localHOst.",
            Type::A,
            "NOERROR Answer localHOst. A [127, 0, 0, 1]",
        ),
        ("localhost.", Type::AAAA, "NOERROR Answer localhost. AAAA 1"),
        (
            "localhost.",
            Type::NS,
            "NOERROR Answer localhost. NS localhost.",
        ),
        (
            "localhost.",
            Type::SOA,
            "NOERROR Answer localhost. SOA localhost.",
        ),
        (
            "localhost.",
            Type::MX,
            "NOERROR Authority localhost. SOA localhost.",
        ),
        (
            "localhost.",
            Type::ANY,
            "NOERROR Answer localhost. A [127, 0, 0, 1]",
        ),
        (
            "a.localhost.",
            Type::A,
            "NOERROR Answer a.localhost. A [127, 0, 0, 1]",
        ),
        (
            "a.b.Localhost.",
            Type::AAAA,
            "NOERROR Answer a.b.Localhost. AAAA 1",
        ),
        (
            "a.localhost.",
            Type::MX,
            "NOERROR Authority a.localhost. SOA localhost.",
        ),
        (
            "a.localhost.",
            Type::SOA,
            "NOERROR Authority a.localhost. SOA localhost.",
        ),
        (
            "localhost.lan.",
            Type::A,
            "NOERROR Answer localhost.lan. A [127, 0, 0, 1]",
        ),
        (
            "LocalHost.lan.",
            Type::NS,
            "NOERROR Authority LocalHost.lan. SOA localhost.",
        ),
        (
            "localhost.0.in-addr.arpa.",
            Type::A,
            "NOERROR Answer localhost.0.in-addr.arpa. A [127, 0, 0, 1]",
        ),
        (
            "0.in-addr.arpa.",
            Type::A,
            "NOERROR Authority 0.in-addr.arpa. SOA localhost.",
        ),
        (
            "127.in-addr.arpa.",
            Type::SOA,
            "NOERROR Answer 127.in-addr.arpa. SOA localhost.",
        ),
        (
            "127.IN-addr.arpa.",
            Type::NS,
            "NOERROR Answer 127.IN-addr.arpa. NS localhost.",
        ),
        (
            "255.in-addr.arpa.",
            Type::ANY,
            "NOERROR Answer 255.in-addr.arpa. SOA localhost.",
        ),
        (
            "1.0.0.127.in-addr.arpa.",
            Type::PTR,
            "NOERROR Answer 1.0.0.127.in-addr.arpa. PTR localhost.",
        ),
        (
            "1.0.0.127.in-addr.arpa.",
            Type::MX,
            "NOERROR Authority 127.in-addr.arpa. SOA localhost.",
        ),
        (
            "2.0.0.127.in-addr.arpa.",
            Type::PTR,
            "NXDOMAIN Authority 127.in-addr.arpa. SOA localhost.",
        ),
        (
            "255.255.255.255.In-addr.arpa.",
            Type::PTR,
            "NXDOMAIN Authority 255.In-addr.arpa. SOA localhost.",
        ),
        (
            "0.127.in-addr.arpa.",
            Type::A,
            "NXDOMAIN Authority 127.in-addr.arpa. SOA localhost.",
        ),
        ("1.in-addr.arpa.", Type::PTR, "passed"),
        ("localhosts.", Type::A, "passed"),
        ("a.localhosts.", Type::A, "passed"),
        ("my-localhost.", Type::A, "passed"),
        ("localhosts.lan.", Type::A, "passed"),
        (".", Type::NS, "passed"),
    ] {
        assert_eq!(ask("local", name, qtype), expected, "{name} {qtype}");
    }
}

#[test]
fn the_prefix_can_be_switched_off() {
    let off = "local {\n  localhost_prefix off\n}";
    for (name, expected) in [
        ("localhost.lan.", "passed"),
        (
            "a.localhost.",
            "NOERROR Answer a.localhost. A [127, 0, 0, 1]",
        ),
        ("localhost.", "NOERROR Answer localhost. A [127, 0, 0, 1]"),
        (
            "localhost.127.in-addr.arpa.",
            "NXDOMAIN Authority 127.in-addr.arpa. SOA localhost.",
        ),
    ] {
        assert_eq!(ask(off, name, Type::A), expected, "{name}");
    }
    let again = "local {\n  localhost_prefix off\n  localhost_prefix on\n}";
    assert_ne!(ask(again, "localhost.lan.", Type::A), "passed");
}

#[test]
fn kin_is_counted_and_told() {
    let requests = super::Local::new(true).requests;
    let before = requests.get();
    let log = trial::logged(|| {
        ask("local", "localhost.", Type::A);
        ask("local", "Localhost.example.net.", Type::TXT);
    });
    // Other tests may ask at the same time.
    assert!(requests.get() > before);
    assert_eq!(
        log.lines()
            .filter(|line| line.contains("plugin/local"))
            .collect::<Vec<_>>(),
        [
            "DEBUG plugin/local: Intercepting localhost query for \"localhost.example.net.\" TXT, from 192.0.2.1"
        ]
    );
    assert!(telemetry::metrics::encode().contains("\ncoredns_local_localhost_requests_total "));
}

/// Rule 1 of the hot path: an answer from memory allocates nothing, neither here nor in what watches above.
#[test]
fn an_answer_allocates_nothing() {
    let lines = "nsid ns1\nbufsize 700\ncancel 1s\nany\nlocal\nminimal\nheader {\n  query clear rd\n  response set ra\n}";
    let last = trial::answer(|_, _| Ok(Flow::Answered));
    let block = trial::serve(&trial::block(lines), ".", last);
    for (name, qtype) in [
        ("localhost.", Type::A),
        ("www.localhost.", Type::MX),
        ("2.0.0.127.in-addr.arpa.", Type::PTR),
        ("example.org.", Type::ANY),
        ("example.org.", Type::A),
    ] {
        let mut exchange = trial::exchange(name, qtype, Some(1_232));
        let counted = allocation_counter::measure(|| {
            for _ in 0..100 {
                exchange.parse().expect("a query");
                assert_eq!(exchange.walk(&block), Outcome::Respond);
            }
        });
        assert_eq!(counted.count_total, 0, "{name} {qtype}");
    }
}

#[test]
fn lines() {
    trial::table(&[
        ("local", ""),
        ("local\nlocal", ""),
        ("local {\n  localhost_prefix on\n}", ""),
        ("local {\n  localhost_prefix off\n}", ""),
        ("local example.org", "unexpected line ending after 'local'"),
        ("local {\n  foo\n}", "unknown property 'foo'"),
        (
            "local {\n  localhost_prefix\n}",
            "unexpected line ending after 'localhost_prefix'",
        ),
        (
            "local {\n  localhost_prefix on off\n}",
            "unexpected line ending after",
        ),
        (
            "local {\n  localhost_prefix maybe\n}",
            "localhost_prefix expects 'on' or 'off', got \"maybe\"",
        ),
    ]);
}

#[test]
fn examples_load() {
    trial::readme(include_str!("README.md"));
}
