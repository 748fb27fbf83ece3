//! RRsets in canonical form and order (RFC 4034, section 6): what a signature is made over.

use wire::{Class, Name, Type};

use crate::rdata::name_len;

/// An RRset being brought into canonical form. It is a scratch buffer: filled again, it allocates nothing once it has grown.
#[derive(Clone, Debug, Default)]
pub struct CanonicalSet {
    /// Owner, type, class, TTL and RDATA of each record, in order.
    octets: Vec<u8>,
    /// RDATA as they came.
    rdata: Vec<u8>,
    /// Where each of them stands.
    places: Vec<(u32, u32)>,
    rtype: u16,
    labels: u8,
    ttl: u32,
    /// How many octets stand before the RDATA of the first record.
    head: usize,
}

impl CanonicalSet {
    /// Begins with no record.
    pub fn begin(&mut self, owner: Name<'_>, (rtype, class, ttl): (Type, Class, u32)) {
        self.rdata.clear();
        self.places.clear();
        self.octets.clear();
        self.octets.extend_from_slice(owner.octets());
        self.octets.make_ascii_lowercase();
        self.octets.extend_from_slice(&rtype.0.to_be_bytes());
        self.octets.extend_from_slice(&class.0.to_be_bytes());
        self.octets.extend_from_slice(&ttl.to_be_bytes());
        self.head = self.octets.len();
        self.rtype = rtype.0;
        self.ttl = ttl;
        // Neither the root nor the asterisk of a wildcard is counted (RFC 4034, section 3.1.3).
        self.labels = owner.label_count() as u8 - u8::from(owner.is_wildcard());
    }

    /// Adds the record whose RDATA `write` appends; its names are not compressed.
    ///
    /// # Errors
    /// Those of `write`: nothing was added.
    pub fn add<E>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<(), E> {
        let start = self.rdata.len();
        if let Err(why) = write(&mut self.rdata) {
            self.rdata.truncate(start);
            return Err(why);
        }
        lower_names(Type(self.rtype), &mut self.rdata[start..]);
        self.places.push((start as u32, self.rdata.len() as u32));
        Ok(())
    }

    /// Puts the records in order, each once. Nothing may be added then.
    pub fn finish(&mut self) {
        let rdata = &self.rdata;
        let of = |&(start, end): &(u32, u32)| rdata.get(start as usize..end as usize);
        if self.places.len() > 1 {
            self.places
                .sort_unstable_by(|one, other| of(one).cmp(&of(other)));
            self.places.dedup_by(|one, other| of(one) == of(other));
        }
        for (at, &(start, end)) in self.places.iter().enumerate() {
            if at > 0 {
                self.octets.extend_from_within(..self.head);
            }
            let rdata = &self.rdata[start as usize..end as usize];
            self.octets
                .extend_from_slice(&(rdata.len() as u16).to_be_bytes());
            self.octets.extend_from_slice(rdata);
        }
    }

    /// All of it. Two RRsets with the same octets have the same signatures.
    pub fn octets(&self) -> &[u8] {
        &self.octets
    }

    /// The type.
    pub fn rtype(&self) -> Type {
        Type(self.rtype)
    }

    /// How many labels the owner has as it was signed, for the RRSIG record.
    pub(crate) fn labels(&self) -> u8 {
        self.labels
    }

    /// The TTL that is signed.
    pub(crate) fn ttl(&self) -> u32 {
        self.ttl
    }
}

/// Writes the names in RDATA in lower case, for the types that RFC 4034, section 6.2, lists; not for NSEC (RFC 6840, section 5.1).
fn lower_names(rtype: Type, rdata: &mut [u8]) {
    let (head, names) = match rtype {
        Type::NS | Type::MD | Type::MF | Type::CNAME | Type::MB | Type::MG | Type::MR => (0, 1),
        Type::PTR | Type::DNAME | Type::NXT => (0, 1),
        Type::SOA | Type::MINFO | Type::RP => (0, 2),
        Type::MX | Type::AFSDB | Type::RT | Type::KX => (2, 1),
        Type::PX => (2, 2),
        Type::SRV => (6, 1),
        Type::SIG | Type::RRSIG => (18, 1),
        Type::NAPTR => (after_texts(rdata), 1),
        Type::A6 => match rdata.first() {
            Some(&bits @ 1..=128) => (1 + usize::from(128 - bits).div_ceil(8), 1),
            _ => return,
        },
        _ => return,
    };
    let mut at = head;
    for _ in 0..names {
        let Some(name) = rdata.get_mut(at..) else {
            return;
        };
        let Some(len) = name_len(name) else { return };
        name[..len].make_ascii_lowercase();
        at += len;
    }
}

/// Where the name of a NAPTR record stands: behind order, preference and three texts.
fn after_texts(rdata: &[u8]) -> usize {
    (0..3).fold(4, |at, _| {
        at + 1 + rdata.get(at).map_or(0, |&len| usize::from(len))
    })
}
