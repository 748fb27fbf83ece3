use std::sync::Arc;

use chain::{Block, Exchange, Flow, Outcome, Transport};
use wire::{EdnsOption, Flags, Rcode, Section, Type};

use crate::trial;

const ADDRESS: [u8; 4] = [192, 0, 2, 1];

/// A block whose last plugin answers by the first label of the name: `a…` an address, `w…` one from the wildcard `*.example.org.`,
/// `n…` NODATA, `x…` NXDOMAIN, `r…` a referral, others REFUSED.
fn serve(lines: &str) -> Arc<Block> {
    let trial = trial::block(lines);
    assert!(trial.accepted, "{}", trial.messages);
    let last = trial::answer(|query, response| {
        let name = query.name();
        let zone = name.parent().unwrap_or(name);
        let first = name.octets()[1];
        let fixed = |rtype| (rtype, wire::Class::IN, 60);
        let _ = match first {
            b'a' | b'w' => response.push(Section::Answer, name, fixed(Type::A), &ADDRESS),
            b'r' => response.push(Section::Authority, zone, fixed(Type::NS), &[0]),
            _ => response.push(Section::Authority, zone, fixed(Type::SOA), &[0; 22]),
        };
        match first {
            b'a' | b'n' | b'r' => {}
            b'w' => {
                let wildcard = "*.example.org.".parse().expect("a name");
                query.note(
                    chain::metadata::WILDCARD,
                    chain::metadata::Note::Name(wildcard),
                );
            }
            b'x' => response.set_rcode(Rcode::NXDOMAIN),
            _ => response.set_rcode(Rcode::REFUSED),
        }
        Ok(Flow::Answered)
    });
    trial::serve(&trial, ".", last)
}

/// One query from an address at a time; what it gets: `answer`, `cut`, `cookie` or `silence`.
fn ask(block: &Arc<Block>, from: &str, (name, qtype): (&str, Type)) -> &'static str {
    told(block, trial::exchange(name, qtype, None), from)
}

fn told(block: &Arc<Block>, mut exchange: Box<Exchange>, from: &str) -> &'static str {
    exchange.context.peer = from.parse().expect("an address");
    exchange.context.received = 0;
    match exchange.walk(block) {
        Outcome::Silent => "silence",
        Outcome::Respond => {
            let response = exchange.response();
            let records = response.records().count();
            if response.rcode() == Rcode::BADCOOKIE {
                assert_eq!(records, 0);
                return "cookie";
            }
            if response.flags().has(Flags::TC) {
                assert_eq!(records, 0);
                return "cut";
            }
            "answer"
        }
        other => panic!("{other:?}"),
    }
}

/// How many of 20 such queries, one after the other, are answered.
fn answered(block: &Arc<Block>, from: &str, names: impl Fn(usize) -> String, qtype: Type) -> usize {
    let queries = (0..20).map(|number| ask(block, from, (&names(number), qtype)));
    queries.filter(|told| *told == "answer").count()
}

const CLIENT: &str = "192.0.2.1:4711";

fn same(name: &str) -> impl Fn(usize) -> String {
    move |_| name.to_owned()
}

#[test]
fn each_category_has_an_allowance() {
    let block = serve(
        "rrl . {\n responses-per-second 2\n nodata-per-second 3\n nxdomains-per-second 4\n referrals-per-second 5\n errors-per-second 6\n}",
    );
    for (name, expected) in [("a", 2), ("n", 3), ("x", 4), ("r", 5), ("e", 6)] {
        let name = format!("{name}.example.org.");
        assert_eq!(
            answered(&block, CLIENT, same(&name), Type::A),
            expected,
            "{name}"
        );
    }
    // What is not said is that of responses; 0 is no limit.
    let block = serve("rrl . {\n responses-per-second 2\n errors-per-second 0\n}");
    for (name, expected) in [("a", 2), ("n", 2), ("x", 2), ("r", 2), ("e", 20)] {
        let name = format!("{name}.example.org.");
        assert_eq!(
            answered(&block, CLIENT, same(&name), Type::A),
            expected,
            "{name}"
        );
    }
    let block = serve("rrl");
    assert_eq!(
        answered(&block, CLIENT, same("a.example.org."), Type::A),
        20
    );
}

#[test]
fn what_counts_as_alike() {
    let numbered = |label: &'static str| move |number| format!("{label}{number}.example.org.");
    let block = || serve("rrl . {\n responses-per-second 2\n}");
    // Names that exist count apart, those that do not count for their zone, errors together.
    for (label, expected) in [("a", 20), ("n", 20), ("x", 2), ("r", 2), ("e", 2)] {
        assert_eq!(
            answered(&block(), CLIENT, numbered(label), Type::A),
            expected,
            "{label}"
        );
    }
    // The type counts where there is an answer or a referral.
    for (label, expected) in [("a", 2), ("n", 0), ("x", 0), ("r", 2), ("e", 0)] {
        let (block, name) = (block(), format!("{label}.example.org."));
        assert_eq!(answered(&block, CLIENT, same(&name), Type::A), 2, "{label}");
        assert_eq!(
            answered(&block, CLIENT, same(&name), Type::AAAA),
            expected,
            "{label}"
        );
    }
    // Letters do not.
    let letters = block();
    assert_eq!(
        answered(&letters, CLIENT, same("a.example.org."), Type::A),
        2
    );
    assert_eq!(
        answered(&letters, CLIENT, same("A.Example.ORG."), Type::A),
        0
    );
    // Names of a wildcard count for it, where labels are collected.
    let block = serve("metadata\nrrl . {\n responses-per-second 2\n}");
    assert_eq!(answered(&block, CLIENT, numbered("w"), Type::A), 2);
}

#[test]
fn networks() {
    let block = serve(
        "rrl . {\n responses-per-second 2\n ipv4-prefix-length 30\n ipv6-prefix-length 64\n}",
    );
    for (from, expected) in [
        ("192.0.2.1:1", 2),
        ("192.0.2.2:1", 0),
        ("[::ffff:192.0.2.3]:1", 0),
        ("192.0.2.4:1", 2),
        ("[2001:db8::1]:1", 2),
        ("[2001:db8::ffff:0:0:1]:1", 0),
        ("[2001:db8:0:1::1]:1", 2),
        ("[::c000:201]:1", 2),
    ] {
        assert_eq!(
            answered(&block, from, same("a.example.org."), Type::A),
            expected,
            "{from}"
        );
    }
    let block = serve(
        "rrl . {\n responses-per-second 1\n ipv4-prefix-length 32\n ipv6-prefix-length 128\n}",
    );
    for from in [
        "192.0.2.1:1",
        "192.0.2.2:1",
        "[2001:db8::1]:1",
        "[2001:db8::2]:1",
    ] {
        assert_eq!(
            answered(&block, from, same("a.example.org."), Type::A),
            1,
            "{from}"
        );
    }
}

#[test]
fn whoever_proves_an_address_passes() {
    let block = serve("cookie\nrrl . {\n responses-per-second 1\n slip-ratio 1\n}");
    let query = || trial::exchange("a.example.org.", Type::A, None);
    assert_eq!(told(&block, query(), CLIENT), "answer");
    assert_eq!(told(&block, query(), CLIENT), "cut");
    for transport in [
        Transport::Tcp,
        Transport::Tls,
        Transport::Https,
        Transport::Quic,
    ] {
        for _ in 0..3 {
            let mut exchange = query();
            exchange.context.transport = transport;
            assert_eq!(told(&block, exchange, CLIENT), "answer");
        }
    }
    let with = |cookie: &[u8]| trial::with_options(Some(&[(EdnsOption::COOKIE, cookie)]));
    let mut learns = with(b"12345678");
    assert_eq!(learns.walk(&block), Outcome::Respond);
    let cookie = learns.context.cookie.expect("cookies");
    for _ in 0..3 {
        let mut exchange = with(&cookie);
        exchange.context.received = 0;
        assert_eq!(exchange.walk(&block), Outcome::Respond);
        assert_eq!(
            exchange.response().rcode(),
            Rcode::NOERROR,
            "the answer itself"
        );
    }
    // A client that has cookies slips by BADCOOKIE.
    assert_eq!(told(&block, with(b"12345678"), "198.51.100.1:1"), "answer");
    assert_eq!(told(&block, with(b"12345678"), "198.51.100.1:1"), "cookie");
}

#[test]
fn slips_and_reports() {
    let block = serve("rrl . {\n responses-per-second 1\n slip-ratio 2\n}");
    let alike = ("a.example.org.", Type::A);
    let told: Vec<_> = (0..6).map(|_| ask(&block, CLIENT, alike)).collect();
    assert_eq!(
        told,
        ["answer", "silence", "cut", "silence", "cut", "silence"]
    );
    let block = serve("rrl . {\n responses-per-second 1\n requests-per-second 1\n report-only\n}");
    assert_eq!(
        answered(&block, CLIENT, same("a.example.org."), Type::A),
        20
    );
}

#[test]
fn queries_are_limited_on_every_transport() {
    let block = serve("rrl example.org {\n requests-per-second 5\n}");
    let names = |number: usize| format!("a{number}.example.org.");
    assert_eq!(answered(&block, CLIENT, names, Type::A), 5);
    let mut exchange = trial::exchange("a.example.org.", Type::A, None);
    exchange.context.transport = Transport::Tcp;
    assert_eq!(told(&block, exchange, CLIENT), "silence");
    assert_eq!(
        answered(&block, CLIENT, same("a.example.net."), Type::A),
        20,
        "another zone"
    );
}

#[test]
fn lines() {
    let one = |option: &str| format!("rrl {{\n {option}\n}}");
    for (option, refusal) in [
        ("window 15", ""),
        ("window 0.5", ""),
        ("window 0", "window must be greater than zero"),
        ("window -1", "window must be greater than zero"),
        ("window x", "not a number"),
        ("window", "Wrong argument count"),
        ("ipv4-prefix-length 32", ""),
        (
            "ipv4-prefix-length 0",
            "ipv4-prefix-length must be between 1 and 32",
        ),
        (
            "ipv4-prefix-length 33",
            "ipv4-prefix-length must be between 1 and 32",
        ),
        ("ipv6-prefix-length 128", ""),
        (
            "ipv6-prefix-length 129",
            "ipv6-prefix-length must be between 1 and 128",
        ),
        ("responses-per-second 0.5", ""),
        (
            "responses-per-second -1",
            "responses-per-second cannot be negative",
        ),
        ("nodata-per-second 1", ""),
        ("nxdomains-per-second 1", ""),
        ("referrals-per-second 1", ""),
        ("errors-per-second 1", ""),
        ("requests-per-second x", "not a number"),
        ("slip-ratio 10", ""),
        ("slip-ratio 11", "slip-ratio '11' must be between 0 and 10"),
        ("slip 2", "unknown property 'slip'"),
        ("max-table-size 0", ""),
        ("max-table-size -1", "max-table-size cannot be negative"),
        ("report-only", ""),
        ("report-only yes", "Wrong argument count"),
    ] {
        trial::table(&[(&one(option), refusal)]);
    }
    trial::table(&[
        ("rrl", ""),
        ("rrl example.org example.net", ""),
        ("rrl a..b", "not a valid domain name"),
        (
            "rrl\nrrl",
            "this plugin can only be used once per Server Block",
        ),
    ]);
}

#[test]
fn examples_load() {
    trial::readme(include_str!("README.md"));
}
