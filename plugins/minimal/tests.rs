use chain::{Flow, Outcome};
use wire::{Class, Name, NameBuf, Rcode, Section, Type};

use crate::trial;

/// A section and a type.
type Row = (Section, Type);

const A: Row = (Section::Answer, Type::A);
const SIGNED: Row = (Section::Answer, Type::RRSIG);
const SOA: Row = (Section::Authority, Type::SOA);
const NS: Row = (Section::Authority, Type::NS);
const NSEC: Row = (Section::Authority, Type::NSEC);
const SIGNATURE: Row = (Section::Authority, Type::RRSIG);
const GLUE: Row = (Section::Additional, Type::A);

/// RDATA of a type, good enough to be copied.
fn rdata(rtype: Type) -> Vec<u8> {
    match rtype {
        Type::A => vec![192, 0, 2, 1],
        Type::NS => b"\x02ns\x07example\x03org\0".to_vec(),
        Type::NSEC => b"\x01a\x07example\x03org\0\0\x01\x40".to_vec(),
        _ => [Name::ROOT.octets(), Name::ROOT.octets(), &[0; 20]].concat(),
    }
}

/// An RRSIG record over `covered`.
fn signature(covered: Type) -> Vec<u8> {
    let fixed = [&covered.0.to_be_bytes()[..], &[0; 16]].concat();
    [&fixed[..], b"\x07example\x03org\0", &[7; 64]].concat()
}

/// What is left of a response to `qtype` with these records; a signature covers the record before it.
fn minimal(qtype: Type, size: Option<u16>, rcode: Rcode, rows: &'static [Row]) -> Vec<Row> {
    let owner: NameBuf = "www.example.org.".parse().expect("a name");
    let block = trial::serve(
        &trial::block("minimal"),
        ".",
        trial::answer(move |_, response| {
            response.set_rcode(rcode);
            let mut covered = Type::A;
            for &(section, rtype) in rows {
                let octets = match rtype {
                    Type::RRSIG => signature(covered),
                    rtype => rdata(rtype),
                };
                covered = rtype;
                let fixed = (rtype, Class::IN, 60);
                response
                    .push(section, owner.as_name(), fixed, &octets)
                    .expect("room");
            }
            Ok(Flow::Answered)
        }),
    );
    let mut exchange = trial::exchange("www.example.org.", qtype, size);
    assert_eq!(exchange.walk(&block), Outcome::Respond);
    let response = exchange.response();
    assert_eq!(response.rcode(), rcode);
    response
        .records()
        .map(|record| record.expect("a record"))
        .map(|record| (record.section, record.rtype))
        .collect()
}

#[test]
fn only_a_positive_response_is_cut() {
    let ok = Rcode::NOERROR;
    for (rcode, rows, left) in [
        (ok, &[A, NS, GLUE][..], &[A][..]),
        (ok, &[A, GLUE], &[A]),
        (ok, &[A, SOA, GLUE], &[A]),
        (ok, &[GLUE], &[]),
        (ok, &[], &[]),
        (ok, &[NS, GLUE], &[NS, GLUE]),
        (ok, &[SOA], &[SOA]),
        (Rcode::NXDOMAIN, &[SOA], &[SOA]),
        (Rcode::NXDOMAIN, &[A, SOA, GLUE], &[A, SOA, GLUE]),
        (Rcode::SERVFAIL, &[A, NS, GLUE], &[A, NS, GLUE]),
        (Rcode::REFUSED, &[GLUE], &[GLUE]),
    ] {
        assert_eq!(
            minimal(Type::A, None, rcode, rows),
            left,
            "{rcode} {rows:?}"
        );
    }
    let zone = &[A, NS, GLUE];
    assert_eq!(minimal(Type::AXFR, None, ok, zone), zone, "a zone transfer");
}

/// RFC 4035, 3.1.3.3: the NSEC RRs that prove that no closer match exists are in the authority section.
#[test]
fn under_do_the_proof_of_a_wildcard_stays() {
    let rows = &[A, SIGNED, NS, SIGNATURE, NSEC, SIGNATURE, GLUE];
    let ask = |size| minimal(Type::A, Some(size), Rcode::NOERROR, rows);
    assert_eq!(ask(1_233), [A, SIGNED, NSEC, SIGNATURE], "DO");
    assert_eq!(ask(1_232), [A, SIGNED]);
}

#[test]
fn lines() {
    trial::table(&[
        ("minimal", ""),
        ("minimal\nminimal", ""),
        (
            "minimal example.org",
            "unexpected line ending after 'minimal'",
        ),
        ("minimal {\n  foo\n}", "`minimal` takes no block"),
    ]);
}

#[test]
fn examples_load() {
    trial::readme(include_str!("README.md"));
}
