use std::sync::Arc;

use chain::{Block, Failure, Outcome};
use wire::{Rcode, Section, Type};

use crate::trial;

fn serve(lines: &str) -> Arc<Block> {
    let trial = trial::block(lines);
    assert!(trial.accepted, "{}", trial.messages);
    trial::serve(
        &trial,
        ".",
        trial::answer(|_, _| Err(Failure::policy(Rcode::YXDOMAIN))),
    )
}

fn ask(block: &Arc<Block>, name: &str, qtype: Type) -> String {
    let mut exchange = trial::exchange(name, qtype, None);
    assert_eq!(exchange.walk(block), Outcome::Respond, "{name}");
    trial::told(&exchange.response())
}

#[test]
fn readme() {
    trial::readme(include_str!("README.md"));
}

#[test]
fn lines_of_a_corefile() {
    trial::table(&[
        ("records {\n @ IN MX 10 mx1.example.org.\n}", ""),
        ("records", ""),
        ("records example.org {\n a TYPE65280 \"\\#\" 2 0102\n}", ""),
        (
            "records {\n @ IN A 192.0.2.1\n}\nrecords {\n @ IN A 192.0.2.2\n}",
            "once per Server Block",
        ),
        (
            "records {\n @ IN A 192.0.2.300\n}",
            "expected an IPv4 address",
        ),
        (
            "records {\n a IN BOGUS x\n}",
            "`BOGUS` is not a record type",
        ),
        (
            "records {\n a IN CNAME b\n a IN A 192.0.2.1\n}",
            "CNAME record and other data",
        ),
        ("records {\n $INCLUDE /etc/passwd\n}", "cannot be read"),
        (
            "records a..b {\n @ IN A 192.0.2.1\n}",
            "not a valid domain name",
        ),
    ]);
    let said = trial::block(
        "records example.org example.net {\n a.example.com. IN A 192.0.2.1\n a.example.org. IN A 192.0.2.1\n}",
    );
    assert!(said.accepted);
    assert_eq!(
        said.messages.matches("is not within").count(),
        1,
        "{}",
        said.messages
    );
    // A mistake is shown where it stands.
    let text = ". {\n records {\n  a 60 IN A 192.0.2.300\n }\n}\n";
    let (_, report) = trial::plan(text);
    let span = report
        .iter()
        .next()
        .and_then(corefile::Diagnostic::span)
        .expect("a place");
    assert_eq!(&text[span.start as usize..span.end as usize], "192.0.2.300");
}

#[test]
fn answers() {
    let block = serve(
        "records example.org example.net {
            @    60 IN SOA ns.icann.org. noc.dns.icann.org. 2020091001 7200 3600 1209600 3600
            @    60 IN MX 10 mx
            mx   IN A 192.0.2.1
            *.w  60 IN A 192.0.2.2
            to   60 IN CNAME mx
            only.example.net. A 192.0.2.3
        }",
    );
    for (name, qtype, expected) in [
        (
            "mx.example.org",
            Type::A,
            "NOERROR aa | mx.example.org. 3600 A 192.0.2.1",
        ),
        (
            "mx.example.net",
            Type::A,
            "NOERROR aa | mx.example.net. 3600 A 192.0.2.1",
        ),
        (
            "example.org",
            Type::MX,
            "NOERROR aa | example.org. 60 MX mx.example.org.",
        ),
        ("bla.example.org", Type::A, "NXDOMAIN aa + SOA"),
        ("mx.example.org", Type::AAAA, "NOERROR aa + SOA"),
        (
            "x.w.example.org",
            Type::A,
            "NOERROR aa | x.w.example.org. 60 A 192.0.2.2",
        ),
        (
            "to.example.org",
            Type::A,
            "NOERROR aa | to.example.org. 60 CNAME mx.example.org. | mx.example.org. 3600 A 192.0.2.1",
        ),
        (
            "only.example.net",
            Type::A,
            "NOERROR aa | only.example.net. 3600 A 192.0.2.3",
        ),
        ("only.example.org", Type::A, "NXDOMAIN aa + SOA"),
        ("example.com", Type::A, "YXDOMAIN"),
        ("example.org", Type::AXFR, "REFUSED"),
    ] {
        assert_eq!(ask(&block, name, qtype), expected, "{name} {qtype}");
    }
}

#[test]
fn a_zone_without_a_soa_record_answers_without_it() {
    let block = serve(
        "records {\n example.org. 60 IN MX 10 mx.example.org.\n mx.example.org. 60 IN A 192.0.2.1\n}",
    );
    assert_eq!(
        ask(&block, "mx.example.org", Type::A),
        "NOERROR aa | mx.example.org. 60 A 192.0.2.1"
    );
    assert_eq!(ask(&block, "bla.example.org", Type::A), "NXDOMAIN aa");
    assert_eq!(ask(&block, "mx.example.org", Type::AAAA), "NOERROR aa");
    // A zone with neither SOA nor anything else at its apex.
    assert_eq!(ask(&block, ".", Type::SOA), "NOERROR aa");
}

#[test]
fn what_stands_in_quotes_is_one_string() {
    let block =
        serve("records example.org {\n t IN TXT \"v=DKIM1; h=a\\; \\\"b\\\"\" two ; three\n}");
    let mut exchange = trial::exchange("t.example.org", Type::TXT, None);
    assert_eq!(exchange.walk(&block), Outcome::Respond);
    let response = exchange.response();
    let rdata: Vec<Vec<u8>> = response
        .records()
        .map(|record| record.expect("a record"))
        .filter(|record| record.section == Section::Answer)
        .map(|record| record.rdata().to_vec())
        .collect();
    let first = b"v=DKIM1; h=a; \"b\"";
    let expected = [&[first.len() as u8][..], first, b"\x03two"].concat();
    assert_eq!(rdata, [expected]);
}
