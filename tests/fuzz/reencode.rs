//! A message that can be read is copied, record by record, as it is and with other names; what cannot be copied leaves nothing behind.

#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::reencode::{self, Edit, Place, ReencodeError, Verbatim};
use wire::rrset::RRsetIndex;
use wire::{
    Flags, Message, Name, NameBuf, NameError, Parsed, Record, Response, ResponseState, Type,
};

/// The query that is answered.
const QUERY: &[u8] = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x03www\x07example\x03org\0\0\x01\0\x01";

fuzz_target!(init: { wire::fix_seed(1); }, |octets: &[u8]| {
    let Some(message) = Message::new(octets) else {
        return;
    };
    let kept: Vec<_> = message
        .records()
        .map_while(Result::ok)
        .filter(|record| !is_of_its_message(record))
        .collect();
    let whole = message.records().all(|record| record.is_ok());

    let (copied, copy) =
        respond(|response| reencode::copy(message.records(), response, &mut Verbatim));
    let read = records(&copy);
    match copied {
        Ok(()) => {
            assert!(whole);
            same(&kept, &read);
        }
        Err(ReencodeError::Full) => {
            assert!(read.len() < kept.len());
            assert!(
                Message::new(&copy)
                    .expect("a header")
                    .flags()
                    .has(Flags::TC)
            );
            same(&kept[..read.len()], &read);
        }
        Err(ReencodeError::Name(why)) => panic!("nothing was mapped: {why}"),
        Err(_) => assert!(read.is_empty(), "all or nothing"),
    }
    if copied.is_ok() {
        grouped(&copy);
        // A copy of the copy has the same octets, in place, too.
        let (again, twice) = respond(|response| {
            reencode::copy(
                Message::new(&copy).expect("a header").records(),
                response,
                &mut Verbatim,
            )?;
            response.reencode(&mut Vec::new(), &mut Verbatim)
        });
        assert_eq!(again, Ok(()));
        assert_eq!(twice, copy);
    }
    let (mapped, copy) =
        respond(|response| reencode::copy(message.records(), response, &mut Below));
    let read = records(&copy);
    if mapped.is_ok() {
        for (record, other) in kept.iter().zip(&read) {
            let name = record.owner().expect("it was read");
            assert_eq!(other.owner(), map(name.as_name()));
        }
    } else if mapped != Err(ReencodeError::Full) {
        assert!(read.is_empty());
    }

    // As the reply to a question in the place of the client's, which is put back.
    let mut parsed = Parsed::default();
    parsed.read(QUERY).expect("a query");
    let Ok((asked, qtype, qclass, _)) = message.question() else {
        return;
    };
    let asked = (asked.as_name(), qtype, qclass);
    let (restored, copy) = respond(|response| {
        let len = octets.len().min(response.buffer().len());
        response.buffer()[..len].copy_from_slice(&octets[..len]);
        response.adopt_as(len, &parsed, asked);
        response.restore(&parsed, QUERY)
            || response
                .restore_by((&parsed, QUERY), &mut Vec::new(), &mut Verbatim)
                .is_ok()
    });
    let read = records(&copy);
    assert!(read.iter().all(|record| record.owner().is_ok()));
    assert!(restored || read.is_empty() || copy.len() > 7_000);
    assert!(read.iter().all(|record| record.rtype != Type::OPT));
    assert_eq!(copy.get(12..QUERY.len()), QUERY.get(12..));
});

/// The response to the query that `write` makes.
fn respond<T>(write: impl FnOnce(&mut Response<'_>) -> T) -> (T, Vec<u8>) {
    let mut parsed = Parsed::default();
    parsed.read(QUERY).expect("a query");
    let (mut buffer, mut state) = (vec![0xAA; 8_000], ResponseState::default());
    let mut response = Response::new(&mut buffer, &mut state);
    response.begin(&parsed, QUERY);
    let given = write(&mut response);
    let len = response.seal();
    buffer.truncate(len);
    (given, buffer)
}

/// The records of a message that we wrote.
fn records(octets: &[u8]) -> Vec<Record<'_>> {
    let message = Message::new(octets).expect("a header");
    message
        .records()
        .map(|record| record.expect("a record that we wrote"))
        .collect()
}

/// What is never copied.
fn is_of_its_message(record: &Record<'_>) -> bool {
    match record.rtype {
        Type::OPT | Type::TSIG => true,
        Type::SIG => record.rdata().starts_with(&[0, 0]),
        _ => false,
    }
}

/// Section, owner with its case, type, class, TTL and RDATA without compression are the same.
fn same(records: &[Record<'_>], copies: &[Record<'_>]) {
    assert_eq!(records.len(), copies.len());
    let told = |record: &Record<'_>| {
        let mut rdata = Vec::new();
        reencode::rdata(record, &mut Verbatim, &mut rdata).expect("it was copied");
        let owner = record.owner().expect("it was copied");
        let octets = owner.as_name().octets().to_vec();
        (
            record.section,
            octets,
            record.rtype,
            record.class,
            record.ttl,
            rdata,
        )
    };
    for (record, copy) in records.iter().zip(copies) {
        assert_eq!(told(record), told(copy));
    }
}

/// Every record is in one RRset, with those of its owner, type, class and section.
fn grouped(octets: &[u8]) {
    let mut index = RRsetIndex::new();
    let message = Message::new(octets).expect("a header");
    let Ok(sets) = index.fill(message.records()) else {
        // An RRSIG record of less than two octets covers nothing.
        return;
    };
    let mut count = 0;
    for set in sets {
        let owner = set.owner();
        for record in set.records() {
            count += 1;
            assert_eq!(record.owner(), Ok(owner));
            let key = (record.section, record.rtype, record.class);
            assert_eq!(key, (set.section(), set.rtype(), set.class()));
            assert!(set.ttl() <= record.ttl);
        }
        for record in set.signatures() {
            count += 1;
            assert_eq!((record.rtype, record.owner()), (Type::RRSIG, Ok(owner)));
            assert_eq!(wire::read_u16(record.rdata(), 0), Some(set.rtype().0));
        }
    }
    assert_eq!(count, message.records().count());
}

/// Moves every name below `moved.example.`
struct Below;

impl Edit for Below {
    fn name(&mut self, _: Place, name: Name<'_>) -> Result<Option<NameBuf>, NameError> {
        map(name).map(Some)
    }
}

fn map(name: Name<'_>) -> Result<NameBuf, NameError> {
    let below = Name::from_checked(b"\x05moved\x07example\0");
    NameBuf::substitute(name, Name::ROOT, below).expect("every name is below the root")
}
