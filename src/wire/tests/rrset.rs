//! The RRsets of a message, against a slow and plain grouping.

use proptest::prelude::*;

use super::oracle::{message, name as their_name, ours, section};
use super::{Build, name};
use crate::rrset::{RRset, RRsetIndex};
use crate::{Message, NameError, Section, Type};

/// Owner, type, TTL, the RDATA of the records and the number of signatures.
fn told(set: &RRset<'_>) -> String {
    let rdata: Vec<_> = set
        .records()
        .map(|record| format!("{:02x?}", record.rdata()))
        .collect();
    format!(
        "{:?} {} {} {} {} +{}",
        set.section(),
        set.owner(),
        set.ttl(),
        set.rtype(),
        rdata.join(" "),
        set.signatures().len()
    )
}

fn sets(octets: &[u8]) -> Vec<String> {
    let mut index = RRsetIndex::new();
    let sets = index
        .fill(Message::new(octets).expect("a header").records())
        .expect("whole records");
    sets.map(|set| told(&set)).collect()
}

/// The RDATA of an RRSIG record that covers `rtype`.
fn covering(rtype: Type) -> Vec<u8> {
    [&rtype.0.to_be_bytes()[..], &[0; 16], &[0], b"s"].concat()
}

#[test]
fn records_of_an_rrset_need_not_stand_together() {
    let www = [0xC0, 12];
    let spelt = name("WWW.eXample.org.");
    let reply = Build::new(0x8580, [1, 7, 1, 2])
        .question("www.example.org.", Type::ANY)
        .record(&www, Type::RRSIG, &covering(Type::A))
        .record(&www, Type::A, &[1])
        .record(&www, Type::TXT, &[2])
        .record(spelt.as_name().octets(), Type::A, &[3])
        .record(&[0xC0, 16], Type::A, &[4])
        .record(&www, Type::A, &[5])
        .record(&www, Type::RRSIG, &covering(Type::A))
        .record(&www, Type::A, &[6])
        .opt(1_232, 0, &[])
        .record(&[0xC0, 16], Type::RRSIG, &covering(Type::NSEC));
    assert_eq!(
        sets(&reply.octets),
        [
            "Answer www.example.org. 300 A [01] [03] [05] +2".to_owned(),
            "Answer www.example.org. 300 TXT [02] +0".to_owned(),
            "Answer example.org. 300 A [04] +0".to_owned(),
            "Authority www.example.org. 300 A [06] +0".to_owned(),
            // Its RRset is not there: what a query for RRSIG gets.
            format!(
                "Additional example.org. 300 RRSIG {:02x?} +0",
                covering(Type::NSEC)
            ),
        ]
    );
}

#[test]
fn an_index_is_filled_again() {
    let reply = |rtype| {
        Build::new(0x8580, [1, 1, 0, 0])
            .question("www.example.org.", Type::A)
            .record(&[0xC0, 12], rtype, &[1])
    };
    let mut index = RRsetIndex::new();
    for rtype in [Type::A, Type::TXT, Type::AAAA] {
        let reply = reply(rtype);
        let message = Message::new(&reply.octets).expect("a header");
        let found: Vec<_> = index
            .fill(message.records())
            .expect("whole")
            .map(|set| set.rtype())
            .collect();
        assert_eq!(found, [rtype]);
    }
    let empty = Build::new(0x8580, [0; 4]).octets;
    let message = Message::new(&empty).expect("a header");
    assert_eq!(index.fill(message.records()).expect("whole").len(), 0);
}

#[test]
fn malformed_messages_have_no_rrsets() {
    let base = |an| Build::new(0x8580, [1, an, 0, 0]).question("www.example.org.", Type::A);
    for (what, octets, expected) in [
        (
            "counts larger than the data",
            base(9).octets,
            NameError::Short,
        ),
        (
            "an owner that loops",
            base(1).record(&[0xC0, 33], Type::A, &[1]).octets,
            NameError::Pointer,
        ),
        (
            "an RRSIG that covers nothing",
            base(1).record(&[0xC0, 12], Type::RRSIG, &[1]).octets,
            NameError::Short,
        ),
    ] {
        let message = Message::new(&octets).expect("a header");
        let mut index = RRsetIndex::new();
        let refused = index.fill(message.records()).map(|sets| sets.len());
        assert_eq!(refused, Err(expected), "{what}");
    }
}

#[test]
fn the_cost_is_linear_in_the_message() {
    // 5,000 RRsets of one record each: compared each with each, 12 million names would be read.
    let count = if cfg!(miri) { 50 } else { 5_000 };
    let mut reply = Build::new(0x8580, [1, count, 0, 0]).question("www.example.org.", Type::A);
    for i in 0..count {
        reply = reply.record(&[0xC0, 12], Type(1_000 + i), &[1]);
    }
    assert_eq!(sets(&reply.octets).len(), count as usize);
}

proptest! {
    #![proptest_config(super::cases(200))]

    #[test]
    fn rrsets_are_what_a_plain_grouping_gives(qname in their_name(), an in section(), ns in section(), ar in section()) {
        let octets = message(&qname, [&an, &ns, &ar]).to_vec().unwrap();
        let mut expected: Vec<(Section, String, Type, usize, u32)> = Vec::new();
        for (section, records) in [(Section::Answer, &an), (Section::Authority, &ns), (Section::Additional, &ar)] {
            for record in records {
                let rtype = Type(u16::from(record.record_type()));
                let owner = ours(&record.name).to_lower().to_string();
                let known = expected.iter_mut().find(|known| (known.0, known.1.as_str(), known.2) == (section, &owner, rtype));
                match known {
                    Some(known) => {
                        known.3 += 1;
                        known.4 = known.4.min(record.ttl);
                    }
                    None => expected.push((section, owner, rtype, 1, record.ttl)),
                }
            }
        }
        let mut index = RRsetIndex::new();
        let sets = index.fill(Message::new(&octets).unwrap().records()).unwrap();
        let found: Vec<_> = sets
            .map(|set| (set.section(), set.owner().to_lower().to_string(), set.rtype(), set.records().len(), set.ttl()))
            .collect();
        prop_assert_eq!(found, expected);
    }
}
