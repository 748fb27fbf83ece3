//! Zones from text, asked as a resolver asks: one table per kind of answer.

mod answers;
mod denial;
mod difference;
mod digests;
mod files;
mod forms;
mod load;
mod oracle;
mod signing;

use std::fmt::Write as _;

use wire::{Flags, Message, NameBuf, Parsed, Response, ResponseState, Section, Type};

use crate::{Difference, Loader, Outcome, Zone};

/// A zone whose text is right.
fn zone(origin: &str, text: &str) -> Zone {
    let origin: NameBuf = origin.parse().expect("an origin");
    match Loader::new(origin.as_name()).load_text(text) {
        Ok(loaded) => loaded.zone,
        Err(complaints) => {
            let all: Vec<String> = complaints.iter().map(ToString::to_string).collect();
            panic!("{}", all.join("\n"))
        }
    }
}

/// A zone that was written as text is the same zone when it is read.
fn reads_what_it_writes(written: &Zone) {
    let mut text = Vec::new();
    written.write_text(&mut text).expect("it is written");
    let text = String::from_utf8(text).expect("ASCII");
    let read = zone(&written.apex().to_string(), &text);
    let difference = Difference::between(written, &read, usize::MAX).expect("two versions");
    assert!(difference.is_empty(), "{difference:?} of\n{text}");
}

#[test]
fn a_zone_with_one_of_everything_is_written_as_it_is_read() {
    let text = include_str!("../../../tests/zones/plain.zone");
    reads_what_it_writes(&zone("plain.example.", text));
}

/// The octets of a query.
fn query(qname: &str, qtype: Type, dnssec_ok: bool) -> Vec<u8> {
    let name: NameBuf = qname.parse().expect("a name");
    let mut out = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(dnssec_ok)];
    out.extend_from_slice(name.as_name().octets());
    out.extend_from_slice(&qtype.0.to_be_bytes());
    out.extend_from_slice(&[0, 1]);
    if dnssec_ok {
        out.extend_from_slice(&[0, 0, 41, 4, 208, 0, 0, 0x80, 0, 0, 0]);
    }
    out
}

/// Asks the zone; gives the outcome and the response's octets.
fn ask(zone: &Zone, qname: &str, qtype: Type, dnssec_ok: bool) -> (Outcome, Vec<u8>) {
    let message = query(qname, qtype, dnssec_ok);
    let mut parsed = Parsed::default();
    parsed.read(&message).expect("a query");
    let mut octets = vec![0; 65_535];
    let mut state = ResponseState::default();
    let mut response = Response::new(&mut octets, &mut state);
    response.begin(&parsed, &message);
    let outcome = zone.answer(&parsed.qname, qtype, dnssec_ok, &mut response);
    let len = response.seal();
    octets.truncate(len);
    (outcome, octets)
}

/// A response as lines: `RCODE flags`, then `section owner TTL type RDATA`, the RDATA as hickory-proto shows it.
fn show(octets: &[u8]) -> String {
    use hickory_proto::op::Message as Full;
    let message = Message::new(octets).expect("a header");
    let mut out = format!(
        "{}{}\n",
        message.rcode(),
        if message.flags().has(Flags::AA) {
            " aa"
        } else {
            ""
        }
    );
    let whole = Full::from_vec(octets).expect("a message that hickory-proto reads");
    for (mark, section) in [
        ("an", &whole.answers),
        ("ns", &whole.authorities),
        ("ar", &whole.additionals),
    ] {
        for record in section {
            let _ = writeln!(
                out,
                "{mark} {} {} {} {}",
                record.name,
                record.ttl,
                record.record_type(),
                record.data
            );
        }
    }
    out
}

/// The number of records in a section.
fn count(octets: &[u8], section: Section) -> usize {
    Message::new(octets)
        .expect("a header")
        .records()
        .filter(|record| record.as_ref().expect("a record").section == section)
        .count()
}
