//! The RRsets of a message (RFC 2181, section 5): the records of one section that share owner, type and class, and the RRSIG records
//! that cover them (RFC 4035, section 2.2).
//!
//! Records of one RRset mostly stand behind each other, but need not, and RRSIGs stand behind, before or elsewhere. [`RRsetIndex`]
//! finds them in one pass over the records with a hash table of owner, type and class, so the cost is linear in the message however
//! its records are ordered. The index is a scratch buffer: filled again, it allocates nothing once it has grown to the largest message.

use crate::message::{Record, Records, Section};
use crate::mnemonic::{Class, Type};
use crate::name::{NameBuf, NameError};
use crate::{hash, read_u16, read_u32};

/// No record, or no RRset.
const NONE: u16 = u16::MAX;
/// The smallest record, in octets: the root, and ten octets of type, class, TTL and length.
const SMALLEST: usize = 11;

/// What is known of the RRsets of one message; made once and filled again and again.
#[derive(Clone, Debug, Default)]
pub struct RRsetIndex {
    entries: Vec<Entry>,
    sets: Vec<Set>,
    /// Open addressing by the hash of owner, type, class and section; at most half full.
    slots: Vec<u16>,
}

/// One record.
#[derive(Clone, Copy, Debug)]
struct Entry {
    start: u16,
    ttl_at: u16,
    /// The next of its chain.
    next: u16,
}

/// Records behind each other in `entries`, by their indices.
#[derive(Clone, Copy, Debug)]
struct Chain {
    first: u16,
    last: u16,
    len: u16,
}

impl Chain {
    const EMPTY: Self = Self {
        first: NONE,
        last: NONE,
        len: 0,
    };
}

/// One RRset.
#[derive(Clone, Copy, Debug)]
struct Set {
    hash: u64,
    section: Section,
    rtype: Type,
    class: Class,
    records: Chain,
    signatures: Chain,
}

impl RRsetIndex {
    /// An index of nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Finds the RRsets among `records`. OPT and TSIG records are in none.
    pub fn fill<'a>(&'a mut self, records: Records<'a>) -> Result<RRsets<'a>, NameError> {
        let message = records.octets();
        if message.len() > usize::from(u16::MAX) {
            return Err(NameError::Short);
        }
        self.entries.clear();
        self.sets.clear();
        self.slots.clear();
        let most = records.left().min(message.len() / SMALLEST);
        self.slots.resize((2 * most).next_power_of_two(), NONE);
        // Neighbours mostly have one owner, and spell it alike.
        let mut last = (0, hash::seed());
        for record in records {
            let record = record?;
            if matches!(record.rtype, Type::OPT | Type::TSIG) {
                continue;
            }
            let pointer = read_u16(message, record.start).filter(|&word| word >= 0xC000);
            if pointer.is_none_or(|pointer| pointer != last.0) {
                let owner = record.owner()?.to_lower();
                last = (
                    pointer.unwrap_or_default(),
                    crate::name_hash(owner.as_name()),
                );
            }
            self.add(&record, last.1)?;
        }
        Ok(RRsets {
            message,
            entries: &self.entries,
            sets: self.sets.iter(),
        })
    }

    /// Adds `record`, whose owner has this hash.
    fn add(&mut self, record: &Record<'_>, owner: u64) -> Result<(), NameError> {
        let covered = match record.rtype {
            Type::RRSIG => Some(Type(read_u16(record.rdata(), 0).ok_or(NameError::Short)?)),
            _ => None,
        };
        let rtype = covered.unwrap_or(record.rtype);
        let word =
            u64::from(rtype.0) << 24 | u64::from(record.class.0) << 8 | record.section as u64;
        let hash = hash::mix(owner, word);
        let set = self.find(record, rtype, hash)?;
        let index = self.entries.len() as u16;
        self.entries.push(Entry {
            start: record.start as u16,
            ttl_at: record.ttl_at as u16,
            next: NONE,
        });
        let Some(set) = self.sets.get_mut(set) else {
            return Ok(());
        };
        let chain = match covered {
            Some(_) => &mut set.signatures,
            None => &mut set.records,
        };
        match self.entries.get_mut(chain.last as usize) {
            Some(before) => before.next = index,
            None => chain.first = index,
        }
        chain.last = index;
        chain.len += 1;
        Ok(())
    }

    /// The RRset that `record` belongs to, added where it is new.
    fn find(&mut self, record: &Record<'_>, rtype: Type, hash: u64) -> Result<usize, NameError> {
        let mask = self.slots.len() - 1;
        let mut slot = hash as usize & mask;
        while let Some(set) = self
            .slots
            .get(slot)
            .and_then(|&at| self.sets.get(at as usize))
        {
            let same = set.hash == hash
                && (set.section, set.rtype, set.class) == (record.section, rtype, record.class);
            if same && self.owner_of(set, record)? == record.owner()? {
                return Ok(self.slots[slot] as usize);
            }
            slot = (slot + 1) & mask;
        }
        let new = self.sets.len();
        self.slots[slot] = new as u16;
        self.sets.push(Set {
            hash,
            section: record.section,
            rtype,
            class: record.class,
            records: Chain::EMPTY,
            signatures: Chain::EMPTY,
        });
        Ok(new)
    }

    /// The owner of a set that has a record.
    fn owner_of(&self, set: &Set, record: &Record<'_>) -> Result<NameBuf, NameError> {
        let first = set.records.first.min(set.signatures.first);
        let start = self
            .entries
            .get(first as usize)
            .map_or(0, |entry| entry.start);
        NameBuf::read(record.message, start as usize).map(|(name, _)| name)
    }
}

/// The RRsets of a message, in the order in which each first appears.
#[derive(Clone, Debug)]
pub struct RRsets<'a> {
    message: &'a [u8],
    entries: &'a [Entry],
    sets: std::slice::Iter<'a, Set>,
}

impl<'a> Iterator for RRsets<'a> {
    type Item = RRset<'a>;

    fn next(&mut self) -> Option<RRset<'a>> {
        self.sets.next().map(|set| RRset {
            message: self.message,
            entries: self.entries,
            set,
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.sets.size_hint()
    }
}

impl ExactSizeIterator for RRsets<'_> {}

/// One RRset of a message. RRSIG records whose RRset is not in the section are one of their own, of type RRSIG.
#[derive(Clone, Copy, Debug)]
pub struct RRset<'a> {
    message: &'a [u8],
    entries: &'a [Entry],
    set: &'a Set,
}

impl<'a> RRset<'a> {
    /// Its section.
    pub fn section(&self) -> Section {
        self.set.section
    }

    /// Its owner, as its first record spells it.
    pub fn owner(&self) -> NameBuf {
        self.records()
            .next()
            .and_then(|record| record.owner().ok())
            // The index holds records whose owners have been read.
            .unwrap_or(NameBuf::root())
    }

    /// Its type.
    pub fn rtype(&self) -> Type {
        match self.set.records.len {
            0 => Type::RRSIG,
            _ => self.set.rtype,
        }
    }

    /// Its class.
    pub fn class(&self) -> Class {
        self.set.class
    }

    /// Its TTL: the lowest of its records (RFC 2181, 5.2).
    pub fn ttl(&self) -> u32 {
        self.records().map(|record| record.ttl).min().unwrap_or(0)
    }

    /// Its records, in the order in which they stand.
    pub fn records(&self) -> RRsetRecords<'a> {
        match self.set.records.len {
            0 => self.chain(self.set.signatures),
            _ => self.chain(self.set.records),
        }
    }

    /// The RRSIG records that cover it. A set of type RRSIG has none.
    pub fn signatures(&self) -> RRsetRecords<'a> {
        match self.set.records.len {
            0 => self.chain(Chain::EMPTY),
            _ => self.chain(self.set.signatures),
        }
    }

    fn chain(&self, chain: Chain) -> RRsetRecords<'a> {
        RRsetRecords {
            message: self.message,
            entries: self.entries,
            section: self.set.section,
            next: chain.first,
            left: chain.len,
        }
    }
}

/// Some records of one RRset.
#[derive(Clone, Debug)]
pub struct RRsetRecords<'a> {
    message: &'a [u8],
    entries: &'a [Entry],
    section: Section,
    next: u16,
    left: u16,
}

impl<'a> Iterator for RRsetRecords<'a> {
    type Item = Record<'a>;

    fn next(&mut self) -> Option<Record<'a>> {
        let entry = self.entries.get(self.next as usize)?;
        self.next = entry.next;
        self.left = self.left.saturating_sub(1);
        let at = entry.ttl_at as usize;
        let rdata = at + 6;
        Some(Record {
            message: self.message,
            section: self.section,
            start: entry.start as usize,
            ttl_at: at,
            rdata_range: rdata..rdata + read_u16(self.message, at + 4)? as usize,
            rtype: Type(read_u16(self.message, at - 4)?),
            class: Class(read_u16(self.message, at - 2)?),
            ttl: read_u32(self.message, at)?,
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left as usize, Some(self.left as usize))
    }
}

impl ExactSizeIterator for RRsetRecords<'_> {}
