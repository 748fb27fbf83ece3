//! What the wire must do, table by table; hickory-proto is the oracle of the round trips.

mod hash;
mod names;
mod oracle;
mod queries;
mod reencode;
mod responses;
mod restore;
mod rrset;
mod text;

use crate::{Class, Flags, Header, Name, NameBuf, Parsed, Type};

/// The name that `text` stands for.
fn name(text: &str) -> NameBuf {
    text.parse()
        .unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// A message in pieces: its header, then whatever is appended.
struct Build {
    octets: Vec<u8>,
}

impl Build {
    /// A message with these flags and counts.
    fn new(flags: u16, counts: [u16; 4]) -> Self {
        let header = Header {
            id: 0x1234,
            flags: Flags(flags),
            counts,
        };
        Self {
            octets: header.to_octets().to_vec(),
        }
    }

    /// Appends octets as they are.
    fn raw(mut self, octets: &[u8]) -> Self {
        self.octets.extend_from_slice(octets);
        self
    }

    /// Appends a question.
    fn question(self, text: &str, qtype: Type) -> Self {
        self.raw(name(text).as_name().octets())
            .raw(&qtype.0.to_be_bytes())
            .raw(&Class::IN.0.to_be_bytes())
    }

    /// Appends a record whose owner is given in wire form.
    fn record(self, owner: &[u8], rtype: Type, rdata: &[u8]) -> Self {
        self.raw(owner)
            .raw(&rtype.0.to_be_bytes())
            .raw(&Class::IN.0.to_be_bytes())
            .raw(&300u32.to_be_bytes())
            .raw(&(rdata.len() as u16).to_be_bytes())
            .raw(rdata)
    }

    /// Appends an OPT record: UDP size, the 32 bits of the TTL field, options.
    fn opt(self, size: u16, ttl: u32, options: &[u8]) -> Self {
        self.raw(&[0, 0, 41])
            .raw(&size.to_be_bytes())
            .raw(&ttl.to_be_bytes())
            .raw(&(options.len() as u16).to_be_bytes())
            .raw(options)
    }
}

/// A query for `text`, in octets and parsed.
fn query(text: &str, qtype: Type) -> (Vec<u8>, Parsed) {
    let octets = Build::new(Flags::RD, [1, 0, 0, 0])
        .question(text, qtype)
        .octets;
    let mut parsed = Parsed::default();
    assert_eq!(parsed.read(&octets), Ok(()));
    (octets, parsed)
}

/// The labels of a name that has `count` labels of `len` octets, without its root.
fn labels(count: usize, len: usize) -> Vec<u8> {
    let mut label = vec![b'x'; len + 1];
    label[0] = len as u8;
    label.repeat(count)
}

/// `octets` as a name.
fn wire(octets: &[u8]) -> Name<'_> {
    Name::new(octets).unwrap_or_else(|error| panic!("{octets:02X?}: {error}"))
}

/// A small deterministic generator of octets (xorshift), so that a failure can be repeated.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % below.max(1)
    }
}

/// So many rounds, or a few under Miri, which is slow.
fn rounds(rounds: usize) -> usize {
    if cfg!(miri) {
        rounds / 1_000 + 1
    } else {
        rounds
    }
}

/// How a property is tested: by so many cases, or by a few under Miri, which has no files either.
fn cases(cases: u32) -> proptest::test_runner::Config {
    proptest::test_runner::Config {
        cases: rounds(cases as usize) as u32,
        failure_persistence: None,
        ..Default::default()
    }
}
