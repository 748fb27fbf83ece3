//! Any message, read record by record.

use std::ops::Range;

use crate::header::{Flags, HEADER_LEN, Header, Rcode};
use crate::mnemonic::{Class, Type};
use crate::name::{NameBuf, NameError, skip_name};
use crate::{read_u16, read_u32};

/// Where in a message a record stands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Section {
    /// The answer section.
    Answer,
    /// The authority section.
    Authority,
    /// The additional section.
    Additional,
}

/// A message of either direction, borrowed; nothing is read before it is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    octets: &'a [u8],
    header: Header,
}

impl<'a> Message<'a> {
    /// Looks at `octets`; `None` when they are shorter than a header.
    #[inline]
    pub fn new(octets: &'a [u8]) -> Option<Self> {
        Some(Self {
            octets,
            header: Header::read(octets)?,
        })
    }

    /// The octets.
    pub const fn octets(&self) -> &'a [u8] {
        self.octets
    }

    /// The header.
    pub const fn header(&self) -> Header {
        self.header
    }

    /// The header's flags.
    pub const fn flags(&self) -> Flags {
        self.header.flags
    }

    /// The RCODE, the OPT record's high bits included when there is one that can be read.
    pub fn rcode(&self) -> Rcode {
        let high = self.opt().map_or(0, |record| (record.ttl >> 24) as u16);
        Rcode(high << 4 | self.header.flags.rcode().0)
    }

    /// The first question: QNAME, QTYPE, QCLASS and the place behind it.
    pub fn question(&self) -> Result<(NameBuf, Type, Class, usize), NameError> {
        if self.header.counts[0] == 0 {
            return Err(NameError::Short);
        }
        let (name, at) = NameBuf::read(self.octets, HEADER_LEN)?;
        let qtype = read_u16(self.octets, at).ok_or(NameError::Short)?;
        let qclass = read_u16(self.octets, at + 2).ok_or(NameError::Short)?;
        Ok((name, Type(qtype), Class(qclass), at + 4))
    }

    /// The records of all three sections, in order.
    pub fn records(&self) -> Records<'a> {
        let mut at = Ok(HEADER_LEN);
        for _ in 0..self.header.counts[0] {
            at = at
                .and_then(|here| skip_name(self.octets, here))
                .map(|behind| behind + 4);
            if at.is_err() {
                break;
            }
        }
        let [_, an, ns, ar] = self.header.counts;
        Records {
            octets: self.octets,
            at,
            left: [an, ns, ar],
            failed: false,
        }
    }

    /// The records of one section, in order. Also gives the first error.
    pub fn section(&self, section: Section) -> impl Iterator<Item = Result<Record<'a>, NameError>> {
        self.records().filter(move |record| {
            record
                .as_ref()
                .map_or(true, |found| found.section == section)
        })
    }

    /// The OPT record, if there is one that can be read.
    pub fn opt(&self) -> Option<Record<'a>> {
        self.records()
            .filter_map(Result::ok)
            .find(|record| record.rtype == Type::OPT && record.section == Section::Additional)
    }
}

/// One record of a message, its name and RDATA where they stand.
#[derive(Clone, Debug)]
pub struct Record<'a> {
    pub(crate) message: &'a [u8],
    /// Its section.
    pub section: Section,
    /// Where the owner begins.
    pub start: usize,
    /// Where the TTL stands.
    pub ttl_at: usize,
    /// Where the RDATA stands.
    pub rdata_range: Range<usize>,
    /// Its type.
    pub rtype: Type,
    /// Its class; of an OPT record, the UDP size.
    pub class: Class,
    /// Its TTL in seconds, as it stands; of an OPT record, flags.
    pub ttl: u32,
}

impl<'a> Record<'a> {
    /// The owner, decompressed.
    pub fn owner(&self) -> Result<NameBuf, NameError> {
        NameBuf::read(self.message, self.start).map(|(name, _)| name)
    }

    /// The RDATA as it stands; names in it may be compressed.
    pub fn rdata(&self) -> &'a [u8] {
        self.message
            .get(self.rdata_range.clone())
            .unwrap_or_default()
    }

    /// The name that begins `skip` octets into the RDATA, decompressed: the target of a CNAME, NS, PTR (0), MX (2) or SRV (6).
    pub fn rdata_name(&self, skip: usize) -> Result<NameBuf, NameError> {
        let (name, behind) = NameBuf::read(self.message, self.rdata_range.start + skip)?;
        if behind > self.rdata_range.end {
            Err(NameError::Short)
        } else {
            Ok(name)
        }
    }

    /// The place behind the record.
    pub fn end(&self) -> usize {
        self.rdata_range.end
    }

    /// The MINIMUM field of a SOA record (RFC 2308, section 4): its last 32 bits.
    pub fn soa_minimum(&self) -> Option<u32> {
        let at = self.rdata_range.end.checked_sub(4)?;
        if self.rtype == Type::SOA && at >= self.rdata_range.start + 18 {
            read_u32(self.message, at)
        } else {
            None
        }
    }
}

/// The records of a message. Ends after the first error.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    octets: &'a [u8],
    at: Result<usize, NameError>,
    left: [u16; 3],
    failed: bool,
}

impl<'a> Records<'a> {
    /// The records in `octets` from `at` on, by the sections' counts.
    pub fn new(octets: &'a [u8], at: usize, counts: [u16; 3]) -> Self {
        Self {
            octets,
            at: Ok(at),
            left: counts,
            failed: false,
        }
    }

    /// The message.
    pub(crate) fn octets(&self) -> &'a [u8] {
        self.octets
    }

    /// How many records the counts promise.
    pub(crate) fn left(&self) -> usize {
        self.left.iter().map(|&count| count as usize).sum()
    }

    #[inline]
    fn read(&self, section: Section) -> Result<Record<'a>, NameError> {
        let start = self.at?;
        let fixed = skip_name(self.octets, start)?;
        let field = |skip| read_u16(self.octets, fixed + skip).ok_or(NameError::Short);
        let (rtype, class, len) = (field(0)?, field(2)?, field(8)? as usize);
        let ttl = read_u32(self.octets, fixed + 4).ok_or(NameError::Short)?;
        let rdata_range = fixed + 10..fixed + 10 + len;
        if rdata_range.end > self.octets.len() {
            return Err(NameError::Short);
        }
        Ok(Record {
            message: self.octets,
            section,
            start,
            ttl_at: fixed + 4,
            rdata_range,
            rtype: Type(rtype),
            class: Class(class),
            ttl,
        })
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, NameError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let index = self.left.iter().position(|&left| left > 0)?;
        let section = [Section::Answer, Section::Authority, Section::Additional][index];
        self.left[index] -= 1;
        let record = self.read(section);
        match &record {
            Ok(record) => self.at = Ok(record.end()),
            Err(_) => self.failed = true,
        }
        Some(record)
    }
}
