//! A message that can be read is built anew, name by name and with compression, and read again: the same records.

#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::{Class, Message, NameBuf, Parsed, Record, Response, ResponseState, Section, Type};

fuzz_target!(init: { wire::fix_seed(1); }, |octets: &[u8]| {
    let Some(message) = Message::new(octets) else {
        return;
    };
    let Ok((qname, qtype, qclass, _)) = message.question() else {
        return;
    };
    let Ok(records) = message.records().collect::<Result<Vec<_>, _>>() else {
        return;
    };
    let Some(wanted) = records.iter().map(Plain::new).collect::<Option<Vec<_>>>() else {
        return;
    };

    let mut query = [
        &[0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0],
        qname.as_name().octets(),
    ]
    .concat();
    query.extend_from_slice(&qtype.0.to_be_bytes());
    query.extend_from_slice(&qclass.0.to_be_bytes());
    let mut parsed = Parsed::default();
    parsed.read(&query).expect("a query of one question");

    let (mut buffer, mut state) = (vec![0xAA; 65_535], ResponseState::default());
    let mut response = Response::new(&mut buffer, &mut state);
    response.begin(&parsed, &query);
    let pushed = wanted
        .iter()
        .take_while(|plain| plain.push(&mut response))
        .count();
    let len = response.seal();

    let built = Message::new(&buffer[..len]).expect("a header");
    let got: Vec<_> = built
        .records()
        .map(|record| Plain::new(&record.expect("a record we wrote")).expect("names we wrote"))
        .collect();
    assert_eq!(got, wanted[..pushed]);
    // A record of a few octets may say what hundreds say when it is uncompressed; what we write is never longer than that.
    let uncompressed: usize = wanted[..pushed].iter().map(Plain::len).sum();
    assert!(len <= query.len() + uncompressed);

    let mut response = Response::new(&mut buffer, &mut state);
    let limit = 512.max(len / 2);
    response.fit(limit);
    let len = response.seal();
    assert!(len <= limit);
    let kept = Message::new(&buffer[..len]).expect("a header").records();
    for (record, plain) in kept.zip(&wanted) {
        assert_eq!(
            Plain::new(&record.expect("a record that was kept")).as_ref(),
            Some(plain),
            "cut from the end only"
        );
    }
});

/// A record without compression; names octet for octet.
#[derive(PartialEq, Debug)]
struct Plain {
    section: Section,
    owner: Vec<u8>,
    fixed: (Type, Class, u32),
    head: Vec<u8>,
    target: Option<Vec<u8>>,
}

impl Plain {
    /// `None` when a name in it cannot be read.
    fn new(record: &Record<'_>) -> Option<Self> {
        let skip = match record.rtype {
            Type::NS | Type::CNAME | Type::PTR => Some(0),
            Type::MX => Some(2),
            _ => None,
        };
        let (head, target) = match skip {
            Some(skip) => {
                let target = record.rdata_name(skip).ok()?;
                (
                    record.rdata().get(..skip)?.to_vec(),
                    Some(target.as_name().octets().to_vec()),
                )
            }
            None => (record.rdata().to_vec(), None),
        };
        Some(Self {
            section: record.section,
            owner: record.owner().ok()?.as_name().octets().to_vec(),
            fixed: (record.rtype, record.class, record.ttl),
            head,
            target,
        })
    }

    fn push(&self, response: &mut Response<'_>) -> bool {
        let name = |octets: &[u8]| NameBuf::read(octets, 0).expect("a name that was read").0;
        let owner = name(&self.owner);
        match &self.target {
            Some(target) => {
                let target = name(target);
                response.push_named(
                    self.section,
                    owner.as_name(),
                    self.fixed,
                    (&self.head, target.as_name()),
                )
            }
            None => response.push(self.section, owner.as_name(), self.fixed, &self.head),
        }
        .is_ok()
    }

    fn len(&self) -> usize {
        self.owner.len() + 10 + self.head.len() + self.target.as_ref().map_or(0, Vec::len)
    }
}
