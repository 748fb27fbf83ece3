//! Queries in other octets than they came in: a question, flags and an OPT record, laid out anew.
//!
//! Nothing else of a received query is kept. Its TSIG and SIG(0) records sign the octets that came, so that they would be wrong on
//! any others (RFC 8945, 4.3.3; RFC 2931, 3.1), and other records mean nothing in a query.

use crate::edns::{Edns, EdnsOption, EdnsOptions};
use crate::header::{Flags, Header};
use crate::message::Record;
use crate::mnemonic::{Class, Type};
use crate::name::Name;
use crate::response::Full;

/// The longest OPT RDATA and the longest message, in octets.
const MOST: usize = 65_535;

/// The OPT record of a query that is composed, by value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Opt {
    /// The UDP payload size that is offered.
    pub udp_size: u16,
    /// The EDNS version.
    pub version: u8,
    /// The flags word; DO is its highest bit.
    pub flags: u16,
    /// The options in wire form.
    options: Vec<u8>,
}

impl Opt {
    /// Version 0, no flags, no options.
    pub const fn new(udp_size: u16) -> Self {
        Self {
            udp_size,
            version: 0,
            flags: 0,
            options: Vec::new(),
        }
    }

    /// The OPT record that was read from `message`, options included.
    pub fn of(edns: &Edns, message: &[u8]) -> Self {
        let range = edns.options_start as usize..edns.options_end as usize;
        Self {
            udp_size: edns.udp_size,
            version: edns.version,
            flags: edns.flags,
            options: message.get(range).unwrap_or_default().to_vec(),
        }
    }

    /// Whether there are no options.
    pub const fn is_empty(&self) -> bool {
        self.options.is_empty()
    }

    /// The options, in order.
    pub fn options(&self) -> EdnsOptions<'_> {
        EdnsOptions::new(&self.options)
    }

    /// The first option with this code.
    pub fn get(&self, code: u16) -> Option<EdnsOption<'_>> {
        self.options().find(|option| option.code == code)
    }

    /// Adds an option behind the others, whether there is one with its code or not.
    pub fn append(&mut self, option: EdnsOption<'_>) -> Result<(), Full> {
        let len = u16::try_from(option.data.len()).map_err(|_| Full)?;
        if self.options.len() + 4 + option.data.len() > MOST {
            return Err(Full);
        }
        self.options.extend_from_slice(&option.code.to_be_bytes());
        self.options.extend_from_slice(&len.to_be_bytes());
        self.options.extend_from_slice(option.data);
        Ok(())
    }

    /// Gives the first option with this code other data; whether there is one.
    pub fn replace(&mut self, option: EdnsOption<'_>) -> Result<bool, Full> {
        let Some((at, end)) = self.place(option.code) else {
            return Ok(false);
        };
        let len = u16::try_from(option.data.len()).map_err(|_| Full)?;
        if self.options.len() - (end - at) + 4 + option.data.len() > MOST {
            return Err(Full);
        }
        let [high, low] = len.to_be_bytes();
        let data = option.data.iter().copied();
        self.options
            .splice(at + 2..end, [high, low].into_iter().chain(data));
        Ok(true)
    }

    /// Gives the first option with this code other data, or adds it where there is none.
    pub fn set(&mut self, option: EdnsOption<'_>) -> Result<(), Full> {
        match self.replace(option)? {
            true => Ok(()),
            false => self.append(option),
        }
    }

    /// Takes out all options with this code; whether there were any.
    pub fn remove(&mut self, code: u16) -> bool {
        let before = self.options.len();
        while let Some((at, end)) = self.place(code) {
            self.options.drain(at..end);
        }
        self.options.len() < before
    }

    /// Where the first option with this code stands.
    fn place(&self, code: u16) -> Option<(usize, usize)> {
        let mut at = 0;
        for option in self.options() {
            let end = at + 4 + option.data.len();
            if option.code == code {
                return Some((at, end));
            }
            at = end;
        }
        None
    }

    /// Where the record has its UDP size, counted from its start.
    const SIZE_AT: usize = 3;
    /// The octets of the record before its options.
    const FIXED: usize = 11;
}

impl From<&Record<'_>> for Opt {
    /// The OPT record that stands in a message.
    fn from(record: &Record<'_>) -> Self {
        Self {
            udp_size: record.class.0,
            version: (record.ttl >> 16) as u8,
            flags: record.ttl as u16,
            options: record.rdata().to_vec(),
        }
    }
}

/// Writes a query of one question into `out`, in the place of what is there: ID, opcode and flags, question, OPT record.
///
/// [`Full`], with `out` empty, when it has no room in a message.
pub fn compose(
    (id, flags): (u16, Flags),
    (qname, qtype, qclass): (Name<'_>, Type, Class),
    opt: Option<&Opt>,
    out: &mut Vec<u8>,
) -> Result<(), Full> {
    out.clear();
    let header = Header {
        id,
        flags: flags.with(Flags::QR, false),
        counts: [1, 0, 0, u16::from(opt.is_some())],
    };
    out.extend_from_slice(&header.to_octets());
    out.extend_from_slice(qname.octets());
    out.extend_from_slice(&qtype.0.to_be_bytes());
    out.extend_from_slice(&qclass.0.to_be_bytes());
    let Some(opt) = opt else {
        return Ok(());
    };
    let room = MOST - out.len() - Opt::FIXED;
    let Some(len) = u16::try_from(opt.options.len())
        .ok()
        .filter(|&len| len as usize <= room)
    else {
        out.clear();
        return Err(Full);
    };
    out.extend_from_slice(&[0]);
    out.extend_from_slice(&Type::OPT.0.to_be_bytes());
    out.extend_from_slice(&opt.udp_size.to_be_bytes());
    out.extend_from_slice(&[0, opt.version]);
    out.extend_from_slice(&opt.flags.to_be_bytes());
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(&opt.options);
    Ok(())
}

impl Edns {
    /// Writes another UDP size into the OPT record that was read from `message`. Only the octets change.
    #[inline]
    pub fn write_udp_size(&self, message: &mut [u8], size: u16) {
        let start = (self.options_start as usize).wrapping_sub(Opt::FIXED);
        let at = start.wrapping_add(Opt::SIZE_AT);
        if let Some(field) = message.get_mut(at..at.wrapping_add(2)) {
            field.copy_from_slice(&size.to_be_bytes());
        }
    }
}
