//! Round trips against hickory-proto: what it writes, we read as it meant it; what we write, it reads as we meant it.

use std::net::{Ipv4Addr, Ipv6Addr};

use hickory_proto::op;
use hickory_proto::rr::rdata::{A, AAAA, CNAME, MX, NAPTR, NS, NULL, PTR, SOA, SRV, TXT};
use hickory_proto::rr::{self, RData, RecordType};
use hickory_proto::serialize::binary::{BinEncodable, BinEncoder, NameEncoding};
use proptest::prelude::*;

use crate::{
    Class, Flags, Message, Name, NameBuf, Parsed, Record, Response, ResponseState, Section, Type,
};

/// Labels of names that share suffixes often, so that compression has work, and now and then any octets.
pub(super) fn label() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => proptest::sample::select(vec!["a", "b", "www", "example", "EXAMPLE", "org", "ns1", "*"])
            .prop_map(|text| text.as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 1..=63),
    ]
}

pub(super) fn name() -> impl Strategy<Value = rr::Name> {
    proptest::collection::vec(label(), 0..8).prop_filter_map("longer than 255 octets", |labels| {
        rr::Name::from_labels(labels.iter().map(Vec::as_slice)).ok()
    })
}

pub(super) fn rdata() -> impl Strategy<Value = RData> {
    prop_oneof![
        any::<[u8; 4]>().prop_map(|o| RData::A(A(Ipv4Addr::from(o)))),
        any::<[u8; 16]>().prop_map(|o| RData::AAAA(AAAA(Ipv6Addr::from(o)))),
        name().prop_map(|n| RData::NS(NS(n))),
        name().prop_map(|n| RData::CNAME(CNAME(n))),
        name().prop_map(|n| RData::PTR(PTR(n))),
        (any::<u16>(), name()).prop_map(|(p, n)| RData::MX(MX::new(p, n))),
        (any::<[u16; 3]>(), name()).prop_map(|([p, w, o], n)| RData::SRV(SRV::new(p, w, o, n))),
        (any::<[u16; 2]>(), name()).prop_map(|([o, p], n)| {
            let service = b"E2U+sip".to_vec().into();
            RData::NAPTR(NAPTR::new(
                o,
                p,
                b"u".to_vec().into(),
                service,
                Box::default(),
                n,
            ))
        }),
        (name(), name(), any::<u32>(), 0..i32::MAX, any::<u32>()).prop_map(
            |(m, r, serial, n, minimum)| RData::SOA(SOA::new(m, r, serial, n, n, n, minimum))
        ),
        proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 1..4).prop_map(
            |texts| RData::TXT(TXT::from_bytes(texts.iter().map(Vec::as_slice).collect()))
        ),
        proptest::collection::vec(any::<u8>(), 1..40).prop_map(|octets| RData::Unknown {
            code: RecordType::Unknown(65_280),
            rdata: NULL::with(octets),
        }),
    ]
}

pub(super) fn record() -> impl Strategy<Value = rr::Record> {
    (name(), 0..=i32::MAX as u32, rdata())
        .prop_map(|(n, ttl, rdata)| rr::Record::from_rdata(n, ttl, rdata))
}

pub(super) fn section() -> impl Strategy<Value = Vec<rr::Record>> {
    proptest::collection::vec(record(), 0..6)
}

/// A name of theirs, as ours.
pub(super) fn ours(theirs: &rr::Name) -> NameBuf {
    theirs.iter().rev().fold(NameBuf::root(), |name, label| {
        NameBuf::prepend(label, name.as_name()).expect("their names have the same limits")
    })
}

/// RDATA of theirs in wire form, no name in it compressed.
pub(super) fn uncompressed(rdata: &RData) -> Vec<u8> {
    let mut octets = Vec::new();
    let mut encoder = BinEncoder::new(&mut octets);
    encoder.set_name_encoding(NameEncoding::Uncompressed);
    rdata.emit(&mut encoder).expect("RDATA is small");
    octets
}

/// Whether the record we read is the record they wrote.
fn assert_same(read: &Record<'_>, wrote: &rr::Record) -> Result<(), TestCaseError> {
    prop_assert_eq!(
        read.owner().map(|n| n.as_name().octets().to_vec()),
        Ok(ours(&wrote.name).as_name().octets().to_vec())
    );
    prop_assert_eq!(read.rtype, Type(u16::from(wrote.record_type())));
    prop_assert_eq!(read.class, Class::IN);
    prop_assert_eq!(read.ttl, wrote.ttl);
    let target = match &wrote.data {
        RData::NS(NS(n)) | RData::CNAME(CNAME(n)) | RData::PTR(PTR(n)) => Some((0, n)),
        RData::MX(mx) => Some((2, &mx.exchange)),
        RData::SRV(srv) => Some((6, &srv.target)),
        _ => None,
    };
    match (&wrote.data, target) {
        (_, Some((skip, theirs))) => prop_assert_eq!(read.rdata_name(skip), Ok(ours(theirs))),
        (RData::SOA(soa), _) => prop_assert_eq!(read.soa_minimum(), Some(soa.minimum)),
        (other, _) => prop_assert_eq!(read.rdata(), uncompressed(other)),
    }
    Ok(())
}

/// How the RDATA of a record is pushed: its fixed part, and the name that may be compressed.
fn parts(rdata: &RData) -> (Vec<u8>, Option<NameBuf>) {
    match rdata {
        RData::NS(NS(n)) | RData::CNAME(CNAME(n)) | RData::PTR(PTR(n)) => {
            (Vec::new(), Some(ours(n)))
        }
        RData::MX(mx) => (
            mx.preference.to_be_bytes().to_vec(),
            Some(ours(&mx.exchange)),
        ),
        other => (uncompressed(other), None),
    }
}

/// Pushes `record`, its owner and target compressed.
fn push(response: &mut Response<'_>, section: Section, record: &rr::Record) {
    let owner = ours(&record.name);
    let fixed = (Type(u16::from(record.record_type())), Class::IN, record.ttl);
    let pushed = match parts(&record.data) {
        (head, Some(target)) => {
            response.push_named(section, owner.as_name(), fixed, (&head, target.as_name()))
        }
        (rdata, None) => response.push(section, owner.as_name(), fixed, &rdata),
    };
    pushed.expect("the buffer has room");
}

/// Their message of these sections.
pub(super) fn message(qname: &rr::Name, sections: [&[rr::Record]; 3]) -> op::Message {
    let mut message = op::Message::new(0x1234, op::MessageType::Response, op::OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(op::Query::query(qname.clone(), RecordType::A));
    message.answers = sections[0].to_vec();
    message.authorities = sections[1].to_vec();
    message.additionals = sections[2].to_vec();
    message
}

proptest! {
    #![proptest_config(super::cases(400))]

    #[test]
    fn their_queries_are_read(qname in name(), qtype: u16, id: u16, size: u16, dnssec: bool, edns: bool) {
        let mut theirs = op::Message::new(id, op::MessageType::Query, op::OpCode::Query);
        theirs.metadata.recursion_desired = true;
        theirs.add_query(op::Query::query(qname.clone(), RecordType::from(qtype)));
        if edns {
            let mut record = op::Edns::new();
            record.set_max_payload(size).set_dnssec_ok(dnssec);
            theirs.set_edns(record);
        }
        let octets = theirs.to_vec().unwrap();
        let mut parsed = Parsed::default();
        prop_assert_eq!(parsed.read(&octets), Ok(()));
        prop_assert_eq!((parsed.id, parsed.flags), (id, Flags(Flags::RD)));
        prop_assert_eq!(parsed.qtype, Type(u16::from(RecordType::from(qtype))));
        let expected = ours(&qname).to_lower();
        prop_assert_eq!(parsed.qname.name().octets(), expected.as_name().octets());
        prop_assert_eq!(parsed.qname.was_lower(), expected.as_name().octets() == ours(&qname).as_name().octets());
        prop_assert_eq!(parsed.dnssec_ok(), edns && dnssec);
        let limit = if edns { theirs.edns.as_ref().unwrap().max_payload().max(512) } else { 512 };
        prop_assert_eq!(parsed.udp_limit(), limit as usize);
    }

    #[test]
    fn their_messages_are_read(qname in name(), an in section(), ns in section(), ar in section()) {
        let octets = message(&qname, [&an, &ns, &ar]).to_vec().unwrap();
        let read = Message::new(&octets).unwrap();
        let (question, qtype, qclass, _) = read.question().unwrap();
        prop_assert_eq!((question, qtype, qclass), (ours(&qname), Type::A, Class::IN));
        let records: Vec<_> = read.records().collect::<Result<_, _>>().unwrap();
        let wrote: Vec<_> = an.iter().map(|r| (Section::Answer, r))
            .chain(ns.iter().map(|r| (Section::Authority, r)))
            .chain(ar.iter().map(|r| (Section::Additional, r)))
            .collect();
        prop_assert_eq!(records.len(), wrote.len());
        for (record, (section, theirs)) in records.iter().zip(wrote) {
            prop_assert_eq!(record.section, section);
            assert_same(record, theirs)?;
        }
        prop_assert_eq!(records.last().map_or(octets.len(), Record::end), octets.len());
    }

    #[test]
    fn our_responses_are_read_by_them(qname in name(), an in section(), ns in section(), ar in section(), edns: bool) {
        let mut asked = op::Message::new(0x1234, op::MessageType::Query, op::OpCode::Query);
        asked.metadata.recursion_desired = true;
        asked.add_query(op::Query::query(qname.clone(), RecordType::A));
        let query = asked.to_vec().unwrap();
        let mut parsed = Parsed::default();
        prop_assert_eq!(parsed.read(&query), Ok(()));

        let (mut buffer, mut state) = (vec![0xAA; 65_535], ResponseState::default());
        let mut response = Response::new(&mut buffer, &mut state);
        response.begin(&parsed, &query);
        for (section, records) in [(Section::Answer, &an), (Section::Authority, &ns), (Section::Additional, &ar)] {
            for record in records {
                push(&mut response, section, record);
            }
        }
        if edns {
            response.push_opt(1232, 0x8000, &[(3, b"nameplate")]).unwrap();
        }
        let len = response.seal();
        let theirs = op::Message::from_vec(&buffer[..len]).unwrap();
        let mut expected = message(&qname, [&an, &ns, &ar]);
        if edns {
            prop_assert!(theirs.edns.as_ref().is_some_and(|e| e.flags().dnssec_ok && e.max_payload() == 1232));
            expected.edns.clone_from(&theirs.edns);
        }
        prop_assert_eq!(&theirs, &expected);
        // Equality of their names ignores case; ours may not change it.
        for (read, wrote) in theirs.all_sections().zip(expected.all_sections()) {
            prop_assert!(read.name.eq_case(&wrote.name), "{} {}", read.name, wrote.name);
        }
        let uncompressed: usize = expected.all_sections()
            .map(|r| ours(&r.name).as_name().octets().len() + 10 + uncompressed(&r.data).len())
            .sum();
        let opt = usize::from(edns) * 24;
        prop_assert!(len <= query.len() + uncompressed + opt);
    }

    #[test]
    fn their_replies_are_adopted_whole(qname in name(), an in section(), ns in section(), ar in section(), edns: bool) {
        let mut reply = message(&qname, [&an, &ns, &ar]);
        reply.metadata.id = 0x4321;
        if edns {
            reply.set_edns(op::Edns::new());
        }
        let octets = reply.to_vec().unwrap();
        let mut asked = op::Message::new(0x1234, op::MessageType::Query, op::OpCode::Query);
        asked.add_query(op::Query::query(qname.clone(), RecordType::A));
        let query = asked.to_vec().unwrap();
        let mut parsed = Parsed::default();
        prop_assert_eq!(parsed.read(&query), Ok(()));
        let (mut buffer, mut state) = (vec![0xAA; 65_535], ResponseState::default());
        let mut response = Response::new(&mut buffer, &mut state);
        response.buffer()[..octets.len()].copy_from_slice(&octets);
        prop_assert!(response.adopt(octets.len(), &parsed, &query));
        let len = response.seal();
        let theirs = op::Message::from_vec(&buffer[..len]).unwrap();
        prop_assert_eq!(theirs, message(&qname, [&an, &ns, &ar]));
    }

    #[test]
    fn any_octets_are_read_or_refused(octets in proptest::collection::vec(any::<u8>(), 0..300), at in 0usize..300) {
        if let Ok((name, behind)) = NameBuf::read(&octets, at) {
            prop_assert!(behind > at && behind <= octets.len());
            prop_assert_eq!(Name::new(name.as_name().octets()), Ok(name.as_name()));
        }
        let _ = (Name::new(&octets).is_ok(), Parsed::default().read(&octets));
        if let Some(message) = Message::new(&octets) {
            let records = message.records().count();
            prop_assert!(records <= octets.len() / 11 + 1);
        }
    }
}
