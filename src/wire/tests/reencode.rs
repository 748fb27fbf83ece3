//! Records copied from one message into another, with hickory-proto as the oracle of what they say.

use hickory_proto::op;
use hickory_proto::rr::{self, RData};
use proptest::prelude::*;

use super::oracle::{message, name as their_name, ours, section, uncompressed};
use super::{Build, Dice, labels, name, query};
use crate::reencode::{self, Edit, Place, ReencodeError, Role, Verbatim};
use crate::{
    Class, Flags, Message, Name, NameBuf, NameError, Rcode, Record, Response, ResponseState,
    Section, Type,
};

/// A response to `www.example.org. A` in a buffer of `room` octets; what `write` gives, and the message.
fn respond<T>(room: usize, write: impl FnOnce(&mut Response<'_>) -> T) -> (T, Vec<u8>) {
    let (octets, parsed) = query("www.example.org.", Type::A);
    let (mut buffer, mut state) = (vec![0xAA; room], ResponseState::default());
    let mut response = Response::new(&mut buffer, &mut state);
    response.begin(&parsed, &octets);
    let given = write(&mut response);
    let len = response.seal();
    buffer.truncate(len);
    (given, buffer)
}

/// Re-encodes the records of `octets` by `edit`.
fn copied(octets: &[u8], edit: &mut impl Edit) -> (Result<(), ReencodeError>, Vec<u8>) {
    let message = Message::new(octets).expect("a header");
    respond(65_535, |response| {
        reencode::copy(message.records(), response, edit)
    })
}

/// Puts `to` in the place of the suffix `from`, in the roles and sections that are wanted.
struct Substitute<F> {
    from: NameBuf,
    to: NameBuf,
    wanted: F,
}

impl<F: Fn(Place) -> bool> Edit for Substitute<F> {
    fn name(&mut self, place: Place, name: Name<'_>) -> Result<Option<NameBuf>, NameError> {
        if !(self.wanted)(place) {
            return Ok(None);
        }
        NameBuf::substitute(name, self.from.as_name(), self.to.as_name()).transpose()
    }
}

/// Leaves records of other sections than the answer out, and gives all one TTL.
struct Answers(u32);

impl Edit for Answers {
    fn keep(&mut self, record: &Record<'_>) -> Option<u32> {
        (record.section == Section::Answer).then_some(self.0)
    }
}

/// A name of theirs with its suffix replaced.
fn mapped(theirs: &rr::Name, from: &NameBuf, to: &NameBuf) -> Option<rr::Name> {
    let own = ours(theirs);
    let new = match NameBuf::substitute(own.as_name(), from.as_name(), to.as_name()) {
        None => own,
        Some(new) => new.ok()?,
    };
    let labels: Vec<&[u8]> = new.as_name().labels().collect();
    let mut name = rr::Name::from_labels(labels).expect("a name");
    name.set_fqdn(true);
    Some(name)
}

/// A record of theirs with every name mapped; `None` when one gets too long.
fn map_record(record: &rr::Record, from: &NameBuf, to: &NameBuf) -> Option<rr::Record> {
    let map = |name: &mut rr::Name| {
        *name = mapped(name, from, to)?;
        Some(())
    };
    let mut out = record.clone();
    map(&mut out.name)?;
    match &mut out.data {
        RData::NS(data) => map(&mut data.0)?,
        RData::CNAME(data) => map(&mut data.0)?,
        RData::PTR(data) => map(&mut data.0)?,
        RData::MX(data) => map(&mut data.exchange)?,
        RData::SRV(data) => map(&mut data.target)?,
        RData::NAPTR(data) => map(&mut data.replacement)?,
        RData::SOA(data) => {
            map(&mut data.mname)?;
            map(&mut data.rname)?;
        }
        _ => {}
    }
    Some(out)
}

/// Owner, TTL and uncompressed RDATA of each record, case included.
fn exact(message: &op::Message) -> Vec<(Vec<u8>, u32, Vec<u8>)> {
    message
        .all_sections()
        .map(|record| {
            (
                ours(&record.name).as_name().octets().to_vec(),
                record.ttl,
                uncompressed(&record.data),
            )
        })
        .collect()
}

proptest! {
    #![proptest_config(super::cases(300))]

    #[test]
    fn verbatim_copies_say_what_the_message_says(qname in their_name(), an in section(), ns in section(), ar in section(), edns: bool) {
        let mut theirs = message(&qname, [&an, &ns, &ar]);
        if edns {
            theirs.set_edns(op::Edns::new());
        }
        let octets = theirs.to_vec().unwrap();
        let (outcome, copy) = copied(&octets, &mut Verbatim);
        prop_assert_eq!(outcome, Ok(()));
        let read = op::Message::from_vec(&copy).unwrap();
        prop_assert_eq!(exact(&read), exact(&theirs));
        prop_assert_eq!(read.answers, theirs.answers);
        prop_assert_eq!(read.authorities, theirs.authorities);
        prop_assert_eq!(read.additionals, theirs.additionals);
        prop_assert!(read.edns.is_none(), "OPT is not copied");
        // And again in place, which changes nothing.
        let (again, copy_of_copy) = respond(65_535, |response| {
            reencode::copy(Message::new(&octets).unwrap().records(), response, &mut Verbatim)?;
            response.reencode(&mut Vec::new(), &mut Verbatim)
        });
        prop_assert_eq!(again, Ok(()));
        prop_assert_eq!(copy_of_copy, copy);
    }

    #[test]
    fn mapped_copies_say_what_the_mapped_message_says(
        qname in their_name(), an in section(), ns in section(), ar in section(), from in their_name(), to in their_name(),
    ) {
        // Suffixes that are there are more worth than those that are not.
        let from = an.first().map_or(from, |record| record.name.base_name());
        let (from, to) = (ours(&from), ours(&to));
        let theirs = message(&qname, [&an, &ns, &ar]);
        let octets = theirs.to_vec().unwrap();
        let mut edit = Substitute { from, to, wanted: |_| true };
        let (outcome, copy) = copied(&octets, &mut edit);
        let map = |records: &[rr::Record]| -> Option<Vec<rr::Record>> {
            records.iter().map(|record| map_record(record, &from, &to)).collect()
        };
        let Some([an, ns, ar]) = (|| Some([map(&an)?, map(&ns)?, map(&ar)?]))() else {
            prop_assert_eq!(outcome, Err(ReencodeError::Name(NameError::TooLong)));
            prop_assert_eq!(Message::new(&copy).unwrap().records().count(), 0, "all or nothing");
            return Ok(());
        };
        prop_assert_eq!(outcome, Ok(()));
        let read = op::Message::from_vec(&copy).unwrap();
        prop_assert_eq!(exact(&read), exact(&message(&qname, [&an, &ns, &ar])));
    }

    #[test]
    fn rdata_is_uncompressed_into_a_buffer(qname in their_name(), an in section()) {
        let octets = message(&qname, [&an, &[], &[]]).to_vec().unwrap();
        let mut out = b"before".to_vec();
        for (read, wrote) in Message::new(&octets).unwrap().records().zip(&an) {
            out.truncate(6);
            prop_assert_eq!(reencode::rdata(&read.unwrap(), &mut Verbatim, &mut out), Ok(()));
            prop_assert_eq!(&out[6..], uncompressed(&wrote.data));
        }
    }

    #[test]
    fn any_octets_are_copied_whole_or_refused(octets in proptest::collection::vec(any::<u8>(), 12..300), counts in any::<[u8; 3]>()) {
        let mut octets = octets;
        octets[4..12].fill(0);
        for (i, count) in counts.into_iter().enumerate() {
            octets[7 + 2 * i] = count % 4;
        }
        check_copy(&octets);
    }
}

/// A copy of the records has as many as were read and can be read, or the response is as it was.
fn check_copy(octets: &[u8]) -> bool {
    let message = Message::new(octets).expect("a header");
    let fixed = (Type::A, Class::IN, 60);
    let ((outcome, before), copy) = respond(2_000, |response| {
        let owner = name("before.example.org.");
        response
            .push(Section::Answer, owner.as_name(), fixed, &[192, 0, 2, 1])
            .expect("room");
        let before = response.octets().to_vec();
        (
            reencode::copy(message.records(), response, &mut Verbatim),
            before,
        )
    });
    let read = Message::new(&copy).expect("a header");
    let count = read.records().count();
    assert!(read.records().all(|record| record.is_ok()));
    assert!(copy[12..].starts_with(&before[12..]));
    let pseudo = |record: &Record<'_>| {
        matches!(record.rtype, Type::OPT | Type::TSIG)
            || record.rtype == Type::SIG && record.rdata().starts_with(&[0, 0])
    };
    match outcome {
        Ok(()) => {
            let there = message
                .records()
                .filter(|record| !record.as_ref().is_ok_and(pseudo))
                .count();
            assert_eq!(count, there + 1);
        }
        Err(ReencodeError::Full) => assert!(read.flags().has(Flags::TC)),
        Err(_) => {
            assert_eq!(copy[12..], before[12..], "as before");
            assert!(!read.flags().has(Flags::TC));
        }
    }
    outcome.is_ok()
}

/// A reply with one record of each type that has names, compressed where a receiver has to expect it.
fn every_type() -> Vec<(Type, Vec<u8>, Vec<u8>)> {
    // `www.example.org.` stands at 12, `example.org.` at 16.
    let pointer = [1, b'x', 0xC0, 16];
    let full = name("x.example.org.").as_name().octets().to_vec();
    let all = |pieces: &[&[u8]]| (pieces.concat(), pieces.concat());
    let with = |before: &[u8], count: usize, after: &[u8]| {
        let names = |one: &[u8]| [before, &one.repeat(count), after].concat();
        (names(&pointer), names(&full))
    };
    let mut out = Vec::new();
    let mut add = |rtype, (compressed, plain)| out.push((rtype, compressed, plain));
    for rtype in [
        Type::NS,
        Type::MD,
        Type::MF,
        Type::CNAME,
        Type::MB,
        Type::MG,
        Type::MR,
        Type::PTR,
    ] {
        add(rtype, with(&[], 1, &[]));
    }
    add(Type::SOA, with(&[], 2, &[7; 20]));
    add(Type::MINFO, with(&[], 2, &[]));
    add(Type::MX, with(&[0, 9], 1, &[]));
    add(Type::RP, with(&[], 2, &[]));
    for rtype in [Type::AFSDB, Type::RT] {
        add(rtype, with(&[0, 9], 1, &[]));
    }
    add(Type::PX, with(&[0, 9], 2, &[]));
    add(Type::SRV, with(&[1, 2, 3, 4, 5, 6], 1, &[]));
    add(Type::SIG, with(&[1; 18], 1, b"signature"));
    add(Type::NXT, with(&[], 1, &[0x40, 0, 0, 1]));
    add(Type::NAPTR, with(b"\0\x01\0\x02\x01s\x03abc\0", 1, &[]));
    // In later types an octet of 0xC0 is data, wherever it stands.
    add(Type::A, all(&[&[0xC0, 12, 0xC0, 12]]));
    add(Type::TXT, all(&[&[2, 0xC0, 12]]));
    add(Type(65_280), all(&[&pointer]));
    add(Type::RRSIG, all(&[&[0xC0; 18], &full, &[0xC0, 12]]));
    add(Type::NSEC, all(&[&full, &[0, 1, 0xC0]]));
    add(
        Type::HTTPS,
        all(&[&[0, 1], &full, &[0, 1, 0, 3, 2, b'h', b'2']]),
    );
    add(Type::SVCB, all(&[&[0, 0], &full]));
    add(Type::DNAME, all(&[&full]));
    add(Type::KX, all(&[&[0, 1], &full]));
    add(Type::NSAPPTR, all(&[&full]));
    add(Type::LP, all(&[&[0, 1], &full]));
    add(Type::TALINK, all(&[&full, &full]));
    add(Type::DSYNC, all(&[&[0, 59, 1, 0, 53], &full]));
    add(Type::HIP, all(&[&pointer]));
    out
}

#[test]
fn names_are_found_in_every_type() {
    for (rtype, compressed, plain) in every_type() {
        let reply = Build::new(0x8580, [1, 1, 0, 0])
            .question("www.example.org.", Type::A)
            .record(&[0xC0, 12], rtype, &compressed);
        let (outcome, copy) = copied(&reply.octets, &mut Verbatim);
        assert_eq!(outcome, Ok(()), "{rtype}");
        let message = Message::new(&copy).expect("a header");
        let record = message.records().next().expect("one").expect("whole");
        let mut out = Vec::new();
        reencode::rdata(&record, &mut Verbatim, &mut out).expect("RDATA");
        assert_eq!(out, plain, "{rtype}");
        // RFC 3597, 4: a sender compresses the types of RFC 1035 and no other.
        let well_known = record.rdata().len() < plain.len();
        let first = rtype.0 <= 15 && rtype != Type::A;
        assert_eq!(well_known, first, "{rtype}");

        // Mapped, every name in a type with names is another.
        let mut edit = Substitute {
            from: name("example.org."),
            to: name("longer.name.test."),
            wanted: |place: Place| place.role == Role::Rdata,
        };
        let mut mapped = Vec::new();
        reencode::rdata(&record, &mut edit, &mut mapped).expect("RDATA");
        let (from, to) = (name("x.example.org."), name("x.longer.name.test."));
        let (from, to) = (from.as_name().octets(), to.as_name().octets());
        let names = plain
            .windows(from.len())
            .filter(|window| *window == from)
            .count();
        assert_eq!(
            mapped.len(),
            plain.len() + names * (to.len() - from.len()),
            "{rtype}"
        );
        assert_eq!(
            mapped.windows(to.len()).filter(|w| *w == to).count(),
            names,
            "{rtype}"
        );
    }
}

#[test]
fn malformed_records_are_refused() {
    let x = name("x.example.org.");
    let plain = x.as_name().octets();
    let soa = [&[0xC0, 12, 0xC0, 12][..], &[0; 19]].concat();
    let long_soa = [&[0xC0, 12, 0xC0, 12][..], &[0; 21]].concat();
    let behind = [plain, &[0]].concat();
    let overrun = &plain[..plain.len() - 1];
    let pointer = Err(ReencodeError::Malformed(NameError::Pointer));
    let short = Err(ReencodeError::Malformed(NameError::Short));
    let rdata = Err(ReencodeError::Rdata);
    let root = [0];
    let at = |place: u8| [0xC0, place];
    // The record's owner is at 33, its RDATA at 45.
    type Row<'a> = (&'a str, &'a [u8], Type, &'a [u8], Result<(), ReencodeError>);
    let rows: [Row<'_>; 20] = [
        (
            "an owner that points to itself",
            &at(33),
            Type::A,
            &[0; 4],
            pointer,
        ),
        (
            "an owner that points forward",
            &at(45),
            Type::A,
            &[0; 4],
            pointer,
        ),
        (
            "an owner that points into the header",
            &at(4),
            Type::A,
            &[0; 4],
            pointer,
        ),
        (
            "a label type",
            &[0x40, 0],
            Type::A,
            &[0; 4],
            Err(ReencodeError::Malformed(NameError::LabelType)),
        ),
        (
            "a target that points to itself",
            &root,
            Type::CNAME,
            &at(44),
            pointer,
        ),
        (
            "a target that points forward",
            &root,
            Type::NS,
            &at(60),
            pointer,
        ),
        (
            "a target that loops",
            &root,
            Type::PTR,
            &[1, b'a', 0xC0, 44],
            pointer,
        ),
        (
            "a target that overruns",
            &root,
            Type::MX,
            &[&[0, 1], overrun].concat(),
            short,
        ),
        ("half a pointer", &root, Type::CNAME, &[0xC0], short),
        ("no RDATA", &root, Type::CNAME, &[], short),
        ("half a preference", &root, Type::MX, &[0], rdata),
        ("a preference alone", &root, Type::MX, &[0, 1], short),
        (
            "octets behind the target",
            &root,
            Type::CNAME,
            &behind,
            rdata,
        ),
        ("a short SOA", &root, Type::SOA, &soa, rdata),
        ("a long SOA", &root, Type::SOA, &long_soa, rdata),
        ("a compressed DNAME", &root, Type::DNAME, &at(12), pointer),
        (
            "a compressed signer",
            &root,
            Type::RRSIG,
            &[&[0; 18][..], &at(12)].concat(),
            pointer,
        ),
        (
            "a compressed HTTPS target",
            &root,
            Type::HTTPS,
            &[0, 1, 0xC0, 12],
            pointer,
        ),
        (
            "a text that overruns",
            &root,
            Type::NAPTR,
            &[0, 1, 0, 1, 9, b'a'],
            rdata,
        ),
        (
            "texts and no name",
            &root,
            Type::NAPTR,
            &[0, 1, 0, 1, 0, 0, 0],
            short,
        ),
    ];
    for (what, owner, rtype, octets, expected) in rows {
        let reply = Build::new(0x8580, [1, 2, 0, 0])
            .question("www.example.org.", Type::A)
            .record(owner, rtype, octets);
        // A good record follows, so that an overrun has octets to run into.
        let reply = reply.record(&[0xC0, 12], Type::A, &[192, 0, 2, 1]);
        let (outcome, copy) = copied(&reply.octets, &mut Verbatim);
        assert_eq!(outcome, expected, "{what}");
        assert_eq!(
            Message::new(&copy).expect("a header").records().count(),
            0,
            "{what}"
        );
        assert!(!check_copy(&reply.octets), "{what}");
    }
}

#[test]
fn updates_without_rdata_are_copied() {
    let mut reply = Build::new(0xA800, [1, 1, 0, 0])
        .question("www.example.org.", Type::A)
        .record(&[0xC0, 12], Type::CNAME, &[]);
    let class = reply.octets.len() - 8;
    reply.octets[class..class + 2].copy_from_slice(&Class::ANY.0.to_be_bytes());
    assert_eq!(copied(&reply.octets, &mut Verbatim).0, Ok(()));
}

#[test]
fn a_name_that_gets_too_long_is_an_error_and_copies_nothing() {
    let long = labels(3, 63);
    let long = [&long[..], &[0]].concat();
    let reply = Build::new(0x8580, [1, 2, 0, 0])
        .question("www.example.org.", Type::A)
        .record(&[0xC0, 12], Type::A, &[192, 0, 2, 1])
        .record(
            &[&labels(1, 63)[..], &[0xC0, 16]].concat(),
            Type::A,
            &[192, 0, 2, 1],
        );
    let mut edit = Substitute {
        from: name("example.org."),
        to: NameBuf::from_name(Name::new(&long).expect("a name")),
        wanted: |_| true,
    };
    let (outcome, copy) = copied(&reply.octets, &mut edit);
    assert_eq!(outcome, Err(ReencodeError::Name(NameError::TooLong)));
    assert_eq!(Message::new(&copy).expect("a header").records().count(), 0);
    // In place, the response stays as it was.
    let (kept, _) = respond(4_096, |response| {
        let message = Message::new(&reply.octets).expect("a header");
        reencode::copy(message.records(), response, &mut Verbatim).expect("room");
        let before = response.octets()[12..].to_vec();
        let refused = response.reencode(&mut Vec::new(), &mut edit);
        assert_eq!(refused, Err(ReencodeError::Name(NameError::TooLong)));
        response.octets()[12..] == before && response.records().count() == 2
    });
    assert!(kept);
}

#[test]
fn a_full_response_keeps_what_fits_and_says_so() {
    let mut reply = Build::new(0x8580, [1, 0, 0, 0]).question("www.example.org.", Type::A);
    reply.octets[7] = 200;
    // RDATA that grows: four octets here, nineteen in full.
    for _ in 0..200 {
        reply = reply.record(&[0xC0, 12], Type::SRV, &[0, 1, 0, 2, 0, 3, 0xC0, 12]);
    }
    let message = Message::new(&reply.octets).expect("a header");
    for room in [33, 34, 60, 67, 68, 100, 500, 1_232] {
        let (outcome, copy) = respond(room, |response| {
            reencode::copy(message.records(), response, &mut Verbatim)
        });
        assert_eq!(outcome, Err(ReencodeError::Full), "{room}");
        let read = Message::new(&copy).expect("a header");
        assert!(read.flags().has(Flags::TC), "{room}");
        assert_eq!(read.records().count(), (room - 33) / 35, "{room}");
        assert!(read.records().all(|record| record.is_ok()), "{room}");
    }
    if cfg!(miri) {
        return;
    }
    // 65,535 octets are the end, however large the buffer is.
    let mut large = Build::new(0x8580, [1, 0, 0, 0]).question("www.example.org.", Type::A);
    large.octets[6..8].copy_from_slice(&3_000u16.to_be_bytes());
    for _ in 0..3_000 {
        large = large.record(&[0xC0, 12], Type::SRV, &[0, 1, 0, 2, 0, 3, 0xC0, 12]);
    }
    let message = Message::new(&large.octets).expect("a header");
    let (outcome, copy) = respond(200_000, |response| {
        reencode::copy(message.records(), response, &mut Verbatim)
    });
    assert_eq!(outcome, Err(ReencodeError::Full));
    assert!((65_500..=65_535).contains(&copy.len()), "{}", copy.len());
}

#[test]
fn names_are_chosen_by_section_type_and_role() {
    let reply = Build::new(0x8580, [1, 1, 1, 1])
        .question("www.example.org.", Type::A)
        .record(&[0xC0, 12], Type::CNAME, &[1, b'a', 0xC0, 16])
        .record(&[0xC0, 16], Type::NS, &[1, b'b', 0xC0, 16])
        .record(&[1, b'b', 0xC0, 16], Type::A, &[192, 0, 2, 1]);
    let told = |wanted: fn(Place) -> bool| {
        let mut edit = Substitute {
            from: name("example.org."),
            to: name("test."),
            wanted,
        };
        let (outcome, copy) = copied(&reply.octets, &mut edit);
        assert_eq!(outcome, Ok(()));
        let message = Message::new(&copy).expect("a header");
        let texts: Vec<_> = message
            .records()
            .map(|record| {
                let record = record.expect("whole");
                let owner = record.owner().expect("an owner");
                match record.rtype {
                    Type::A => owner.to_string(),
                    _ => format!("{owner} {}", record.rdata_name(0).expect("a target")),
                }
            })
            .collect();
        texts.join(", ")
    };
    for (wanted, expected) in [
        (
            (|place| place.role == Role::Owner && place.section == Section::Answer)
                as fn(Place) -> bool,
            "www.test. a.example.org., example.org. b.example.org., b.example.org.",
        ),
        (
            |place| place.role == Role::Rdata,
            "www.example.org. a.test., example.org. b.test., b.example.org.",
        ),
        (
            |place| place.rtype == Type::NS,
            "www.example.org. a.example.org., test. b.test., b.example.org.",
        ),
        (|_| true, "www.test. a.test., test. b.test., b.test."),
    ] {
        assert_eq!(told(wanted), expected);
    }
}

#[test]
fn records_are_left_out_and_given_another_ttl() {
    let reply = Build::new(0x8580, [1, 2, 1, 2])
        .question("www.example.org.", Type::A)
        .record(&[0xC0, 12], Type::A, &[192, 0, 2, 1])
        .record(&[0xC0, 12], Type::A, &[192, 0, 2, 2])
        .record(&[0xC0, 16], Type::NS, &[0xC0, 12])
        .record(&[0xC0, 12], Type::AAAA, &[0; 16])
        .opt(1_232, 0, &[]);
    let (outcome, copy) = copied(&reply.octets, &mut Answers(7));
    assert_eq!(outcome, Ok(()));
    let read = Message::new(&copy).expect("a header");
    assert_eq!(read.header().counts, [1, 2, 0, 0]);
    assert!(read.records().flatten().all(|record| record.ttl == 7));
    let answers = read.section(Section::Answer).count();
    assert_eq!(answers, 2);
}

#[test]
fn what_speaks_of_its_message_is_not_copied() {
    let sig0 = [&[0; 18][..], &[0], b"signature"].concat();
    let reply = Build::new(0x8580, [1, 0, 0, 4])
        .question("www.example.org.", Type::A)
        .record(&[0xC0, 12], Type::A, &[192, 0, 2, 1])
        .opt(1_232, 0, &[0, 3, 0, 1, 9])
        .record(&[0], Type::SIG, &sig0)
        .record(&[0], Type::TSIG, &[0; 30]);
    let (outcome, copy) = copied(&reply.octets, &mut Verbatim);
    assert_eq!(outcome, Ok(()));
    assert_eq!(
        Message::new(&copy).expect("a header").header().counts,
        [1, 0, 0, 1]
    );
}

#[test]
fn a_response_takes_over_another() {
    let (octets, parsed) = query("other.test.", Type::A);
    let (mut buffer, mut state) = (vec![0; 512], ResponseState::default());
    let mut from = Response::new(&mut buffer, &mut state);
    from.begin(&parsed, &octets);
    let fixed = (Type::CNAME, Class::IN, 60);
    let target = name("www.other.test.");
    from.push_named(
        Section::Answer,
        parsed.qname.name(),
        fixed,
        (&[], target.as_name()),
    )
    .expect("room");
    from.set_flag(Flags::AA | Flags::TC, true);
    from.set_rcode(Rcode::NXDOMAIN);
    let (outcome, copy) = respond(512, |response| response.take_over(&from, &mut Verbatim));
    assert_eq!(outcome, Ok(()));
    let read = Message::new(&copy).expect("a header");
    assert_eq!(
        read.flags().0,
        0x8700 | 3,
        "RD as asked, AA, TC and NXDOMAIN as taken over"
    );
    let record = read.records().next().expect("one").expect("whole");
    assert_eq!(record.owner(), Ok(name("other.test.")));
    assert_eq!(record.rdata_name(0), Ok(target));
}

#[test]
fn mutated_messages_are_copied_whole_or_refused() {
    let mut seed = Build::new(0x8580, [1, 0, 0, 0]).question("www.example.org.", Type::A);
    for (rtype, compressed, _) in every_type() {
        seed.octets[7] += 1;
        seed = seed.record(&[0xC0, 12], rtype, &compressed);
    }
    let mut dice = Dice(0xFACE);
    let mut count = 0;
    let rounds = super::rounds(20_000);
    for _ in 0..rounds {
        let mut octets = seed.octets.clone();
        for _ in 0..1 + dice.roll(2) {
            let at = 33 + dice.roll(octets.len() - 33);
            match dice.roll(4) {
                0 => octets[at] = dice.roll(256) as u8,
                1 => octets[at] = 0xC0,
                2 => octets[at] ^= 1 << dice.roll(8),
                _ => octets.truncate(at + 1),
            }
        }
        count += usize::from(check_copy(&octets));
    }
    assert!(count > rounds / 100, "the mutations are too rough: {count}");
}
