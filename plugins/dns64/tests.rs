use std::fmt::Write;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use chain::{Ending, Exchange, Failure, Flow, Outcome, Query};
use wire::{Class, Flags, NameBuf, Rcode, Response, Section, Type};

use super::prefix::Prefix;
use crate::trial;

/// What the plugins below answer: RCODE, and `SECTION TYPE TTL RDATA` of each record.
#[derive(Clone, Copy)]
struct Told(Rcode, &'static [(Section, Type, u32, &'static str)]);

const OK: Rcode = Rcode::NOERROR;
const DENIED: Told = Told(OK, &[(Section::Authority, Type::SOA, 70, "")]);
const TWO: Told = Told(
    OK,
    &[
        (Section::Answer, Type::A, 60, "192.0.2.42"),
        (Section::Answer, Type::A, 5_000, "192.0.2.43"),
    ],
);

const ADDRESS: Told = Told(OK, &[(Section::Answer, Type::AAAA, 60, "2001:db8::1")]);
const MAPPED: Told = Told(OK, &[(Section::Answer, Type::AAAA, 60, "::ffff:192.0.2.1")]);
const OTHER: Told = Told(OK, &[(Section::Answer, Type::A, 60, "192.0.2.1")]);

impl Told {
    fn write(self, query: &Query<'_>, response: &mut Response<'_>) {
        response.set_rcode(self.0);
        response.set_flag(Flags::AA | Flags::AD, true);
        let owner = NameBuf::from_name(query.name());
        let alias: NameBuf = "alias.example.org.".parse().expect("a name");
        let owner = match self.1.first() {
            Some((_, Type::CNAME, ..)) => [&owner, &alias],
            _ => [&owner, &owner],
        };
        for (i, &(section, rtype, ttl, text)) in self.1.iter().enumerate() {
            let rdata = match rtype {
                Type::A => text
                    .parse::<Ipv4Addr>()
                    .expect("an address")
                    .octets()
                    .to_vec(),
                Type::AAAA => text
                    .parse::<Ipv6Addr>()
                    .expect("an address")
                    .octets()
                    .to_vec(),
                Type::CNAME => alias.as_name().octets().to_vec(),
                Type::SOA => [&[0, 0][..], &[0; 20]].concat(),
                _ => text.as_bytes().to_vec(),
            };
            let fixed = (rtype, Class::IN, ttl);
            response
                .push(section, owner[i.min(1)].as_name(), fixed, &rdata)
                .expect("room");
        }
    }
}

/// A response in a few words: RCODE, flags, and section, owner, type, TTL and address of each record.
fn told(exchange: &mut Exchange) -> String {
    let response = exchange.response();
    let mut out = format!("{} {}", response.rcode(), response.flags());
    for record in response.records() {
        let record = record.expect("a record");
        let owner = record.owner().expect("an owner");
        let _ = write!(
            out,
            " | {:?} {owner} {} {}",
            record.section, record.ttl, record.rtype
        );
        if let Ok(address) = <[u8; 16]>::try_from(record.rdata()) {
            let _ = write!(out, " {}", Ipv6Addr::from(address));
        }
    }
    out
}

/// What `client` is told where AAAA and A are answered so, and how often A was asked for.
fn ask(lines: &str, client: &str, aaaa: Told, a: Result<Told, Failure>) -> (String, usize) {
    let asked = Arc::<AtomicUsize>::default();
    let counted = asked.clone();
    let block = trial::serve(
        &trial::block(lines),
        ".",
        trial::answer(move |query, response| {
            match query.qtype() {
                Type::A => {
                    counted.fetch_add(1, Ordering::Relaxed);
                    a.clone()?.write(query, response);
                }
                _ => aaaa.write(query, response),
            }
            Ok(Flow::Answered)
        }),
    );
    let mut exchange = trial::exchange("www.example.org.", Type::AAAA, None);
    exchange.context.peer = client.parse().expect("an address");
    let mut exchange = match exchange.walk(&block) {
        Outcome::Suspended(step) => wait(exchange, &block, step),
        outcome => {
            assert_eq!(outcome, Outcome::Respond);
            exchange
        }
    };
    (told(&mut exchange), asked.load(Ordering::Relaxed))
}

/// The end of a query that waits.
fn wait(exchange: Box<Exchange>, block: &Arc<chain::Block>, step: usize) -> Box<Exchange> {
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.build().expect("a runtime");
    let (exchange, ending) = runtime.block_on(chain::resume(exchange, block.clone(), step));
    assert_eq!(ending, Ending::Respond);
    exchange
}

const V6: &str = "[2001:db8::1]:4711";
const V4: &str = "192.0.2.1:4711";

#[test]
fn addresses_are_made_where_there_are_none() {
    let made = "NOERROR qr,rd | Answer www.example.org. 60 AAAA 64:ff9b::c000:22a \
                | Answer www.example.org. 70 AAAA 64:ff9b::c000:22b";
    let refused = made.replace(" 70 ", " 600 ");
    for (lines, client, first, expected) in [
        ("dns64", V6, DENIED, made),
        (
            "dns64",
            "[::ffff:192.0.2.1]:4711",
            DENIED,
            "NOERROR qr,aa,rd,ad | Authority www.example.org. 70 SOA",
        ),
        (
            "dns64",
            V4,
            DENIED,
            "NOERROR qr,aa,rd,ad | Authority www.example.org. 70 SOA",
        ),
        ("dns64 {\n  allow_ipv4\n}", V4, DENIED, made),
        // Any other RCODE than NXDOMAIN is an empty answer (RFC 6147, 5.1.2).
        ("dns64", V6, Told(Rcode::REFUSED, &[]), &refused),
        (
            "dns64",
            V6,
            Told(Rcode::NXDOMAIN, &[]),
            "NXDOMAIN qr,aa,rd,ad",
        ),
        (
            "dns64",
            V6,
            ADDRESS,
            "NOERROR qr,aa,rd,ad | Answer www.example.org. 60 AAAA 2001:db8::1",
        ),
        ("dns64", V6, MAPPED, &refused),
        ("dns64 {\n  translate_all\n}", V6, ADDRESS, &refused),
        (
            "dns64 2001:db8:122:344::/64 {\n  translate_all\n}",
            V6,
            ADDRESS,
            "NOERROR qr,rd | Answer www.example.org. 60 AAAA 2001:db8:122:344:c0:2:2a00:0 \
             | Answer www.example.org. 600 AAAA 2001:db8:122:344:c0:2:2b00:0",
        ),
        ("dns64", V6, OTHER, &refused),
    ] {
        let (got, asked) = ask(lines, client, first, Ok(TWO));
        assert_eq!(got, expected, "{lines} {client}");
        assert_eq!(
            asked,
            usize::from(got.contains("64:ff9b") || got.contains("344"))
        );
    }
}

#[test]
fn what_the_second_question_brings() {
    let alias = Told(
        OK,
        &[
            (Section::Answer, Type::CNAME, 30, ""),
            (Section::Answer, Type::A, 50, "192.0.2.1"),
            (Section::Authority, Type::NS, 9, "\x02ns\0"),
            (Section::Additional, Type::A, 8, "192.0.2.9"),
        ],
    );
    let denial = "NOERROR qr,aa,rd,ad | Authority www.example.org. 70 SOA";
    for (a, expected) in [
        (
            Ok(alias),
            "NOERROR qr,rd | Answer www.example.org. 30 CNAME \
             | Answer alias.example.org. 50 AAAA 64:ff9b::c000:201 \
             | Authority alias.example.org. 9 NS | Additional alias.example.org. 8 A",
        ),
        // No address at all.
        (
            Ok(Told(OK, &[(Section::Authority, Type::SOA, 90, "")])),
            "NOERROR qr,rd | Authority www.example.org. 90 SOA",
        ),
        (Ok(Told(Rcode::SERVFAIL, &[])), denial),
        (Err(Failure::servfail("down")), denial),
    ] {
        assert_eq!(ask("dns64", V6, DENIED, a), (expected.to_owned(), 1));
    }
}

#[test]
fn a_failure_stays_one() {
    let block = trial::serve(
        &trial::block("dns64"),
        ".",
        trial::answer(|_, _| Err(Failure::servfail("down"))),
    );
    let mut exchange = trial::exchange("www.example.org.", Type::AAAA, None);
    exchange.context.peer = V6.parse().expect("an address");
    assert_eq!(exchange.walk(&block), Outcome::Respond);
    assert_eq!(exchange.response().rcode(), Rcode::SERVFAIL);
    // Other types are none of its business, whatever the answer.
    let block = trial::serve(
        &trial::block("dns64"),
        ".",
        trial::answer(|_, _| Ok(Flow::Answered)),
    );
    for qtype in [Type::A, Type::ANY, Type::TXT] {
        let mut exchange = trial::exchange("www.example.org.", qtype, None);
        exchange.context.peer = V6.parse().expect("an address");
        assert_eq!(exchange.walk(&block), Outcome::Respond);
    }
}

/// RFC 6147, 5.1.7 has the TTLs; TC of the response for A is the response's.
#[test]
fn a_truncated_response_stays_truncated() {
    let block = trial::serve(
        &trial::block("dns64"),
        ".",
        trial::answer(|query, response| {
            match query.qtype() {
                Type::A => {
                    TWO.write(query, response);
                    response.set_flag(Flags::TC | Flags::RA, true);
                }
                _ => DENIED.write(query, response),
            }
            Ok(Flow::Answered)
        }),
    );
    let mut exchange = trial::exchange("www.example.org.", Type::AAAA, None);
    exchange.context.peer = V6.parse().expect("an address");
    let Outcome::Suspended(step) = exchange.walk(&block) else {
        panic!("it waits");
    };
    let mut exchange = wait(exchange, &block, step);
    let response = exchange.response();
    assert_eq!(response.flags().to_string(), "qr,tc,rd,ra");
    assert_eq!(response.count(Section::Answer), 2);
}

#[test]
fn translations_are_counted() {
    let line = "\ncoredns_dns64_requests_translated_total{server=\"dns://:53\"} ";
    ask("dns64", V6, DENIED, Ok(TWO));
    let metrics = telemetry::metrics::encode();
    let count = metrics.split_once(line).expect("shown").1;
    assert!(!count.starts_with("0\n"));
}

/// The examples of RFC 6052, section 2.4.
#[test]
fn addresses_within_a_prefix() {
    for (prefix, bits, expected) in [
        ("2001:db8::", 32, "2001:db8:c000:221::"),
        ("2001:db8:100::", 40, "2001:db8:1c0:2:21::"),
        ("2001:db8:122::", 48, "2001:db8:122:c000:2:2100::"),
        ("2001:db8:122:300::", 56, "2001:db8:122:3c0:0:221::"),
        ("2001:db8:122:344::", 64, "2001:db8:122:344:c0:2:2100::"),
        ("2001:db8:122:344::", 96, "2001:db8:122:344::192.0.2.33"),
        ("64:ff9b::", 96, "64:ff9b::192.0.2.33"),
        ("2001:db8::", 72, "2001:db8::c0:2:2100:0"),
    ] {
        let prefix = Prefix::new(prefix.parse().expect("an address"), bits).expect("a prefix");
        let expected: Ipv6Addr = expected.parse().expect("an address");
        assert_eq!(prefix.with([192, 0, 2, 33]), expected, "/{bits}");
    }
    let well_known = Prefix::new("64:ff9b::".parse().expect("an address"), 96);
    assert_eq!(well_known, Some(Prefix::WELL_KNOWN));
}

#[test]
fn lines() {
    trial::table(&[
        ("dns64", ""),
        ("dns64 64:dead::/96", ""),
        ("dns64 {\n  translate_all\n}", ""),
        ("dns64 {\n  prefix 64:ff9b::/96\n  allow_ipv4\n}", ""),
        ("dns64 {\n  prefix 64:ff9b::/32\n}", ""),
        ("dns64 {\n  prefix 2002:c0a8:a88a::/48\n}", ""),
        ("dns64\ndns64 {\n  allow_ipv4\n}", ""),
        (
            "dns64 {\n  prefix 64:ff9b::/52\n}",
            "invalid prefix length \"64:ff9b::/52\"",
        ),
        (
            "dns64 {\n  prefix 64:ff9b::/104\n}",
            "invalid prefix length",
        ),
        ("dns64 64:ff9b::/24", "invalid prefix length"),
        (
            "dns64 {\n  prefix 8.8.8.8/24\n}",
            "not an IPv6 prefix: `8.8.8.8/24`",
        ),
        (
            "dns64 {\n  prefix\n}",
            "unexpected line ending after 'prefix'",
        ),
        ("dns64 foobar", "invalid CIDR address: `foobar`"),
        (
            "dns64 foobar {\n  prefix 64:ff9b::/96\n}",
            "invalid CIDR address",
        ),
        (
            "dns64 64:ff9b::/96 64:ff9b::/96",
            "unexpected line ending after '64:ff9b::/96'",
        ),
        ("dns64 {\n  foobar\n}", "unknown property 'foobar'"),
        (
            "dns64 {\n  translate_all yes\n}",
            "unexpected line ending after",
        ),
    ]);
}

#[test]
fn examples_load() {
    trial::readme(include_str!("README.md"));
}
