//! What parsing a query learns, by value; the octets stay where they were received.

use crate::edns::{Edns, EdnsOption, EdnsOptions};
use crate::header::{Flags, HEADER_LEN, Header, Opcode};
use crate::mnemonic::{Class, Type};
use crate::name::{NameBuf, Qname};
use crate::{read_u16, read_u32};

/// The octets that a UDP message has at most, in both directions, unless somebody says otherwise: DNS Flag Day 2020's size, which any
/// path carries in one piece, as RFC 9715, section 3, asks.
pub const DEFAULT_UDP_SIZE: u16 = 1_232;

/// Why a datagram gets no look-up (RFC 1035, 4.1.1; RFC 9619 for QDCOUNT; RFC 6891, 6.1.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// No whole header, or a response: answering could start a loop between two servers.
    Silence,
    /// FORMERR: the octets are no query of one question.
    FormErr,
    /// NOTIMP: the opcode is none of QUERY, NOTIFY and UPDATE.
    NotImp,
    /// BADVERS: an EDNS version other than 0; the question and the OPT record have been read.
    BadVers,
    /// No question, and a COOKIE option: a server with cookies tells its own (RFC 7873, section 5.4), to others it is FORMERR.
    Questionless,
}

/// A query by value: header, question, OPT, TSIG. Made once and filled again and again.
#[derive(Clone, Debug)]
pub struct Parsed {
    /// The query's ID.
    pub id: u16,
    /// The query's flags.
    pub flags: Flags,
    /// QNAME, lower-cased and hashed.
    pub qname: Qname,
    /// QTYPE.
    pub qtype: Type,
    /// QCLASS.
    pub qclass: Class,
    /// The place behind the question; 0 when no question was read.
    pub question_end: u16,
    /// The OPT record, if there is one.
    pub edns: Option<Edns>,
    /// Where the TSIG record begins, if there is one; it is the last record (RFC 8945, 5.1).
    pub tsig: Option<u16>,
}

impl Default for Parsed {
    fn default() -> Self {
        Self {
            id: 0,
            flags: Flags(0),
            qname: Qname::root(),
            qtype: Type(0),
            qclass: Class(0),
            question_end: 0,
            edns: None,
            tsig: None,
        }
    }
}

impl Parsed {
    /// Reads `message`. On a refusal other than silence, ID and flags are set, so that they can be echoed.
    #[inline(always)]
    pub fn read(&mut self, message: &[u8]) -> Result<(), Refusal> {
        let header = Header::read(message).ok_or(Refusal::Silence)?;
        if header.flags.has(Flags::QR) {
            return Err(Refusal::Silence);
        }
        self.id = header.id;
        self.flags = header.flags;
        self.question_end = 0;
        self.edns = None;
        self.tsig = None;
        let opcode = header.flags.opcode();
        if !matches!(opcode, Opcode::QUERY | Opcode::NOTIFY | Opcode::UPDATE) {
            return Err(Refusal::NotImp);
        }
        let [qd, an, ns, ar] = header.counts;
        // The sections of an update hold as many records as it takes (RFC 2136, section 2).
        let many = (an > 1 || ns > 1 || ar > 2) && opcode != Opcode::UPDATE;
        if qd == 0 {
            return Err(self.read_questionless(message, header.counts));
        }
        if qd != 1 || many || message.len() > u16::MAX as usize {
            return Err(Refusal::FormErr);
        }
        let end = self
            .qname
            .set_from_message(message, HEADER_LEN)
            .map_err(|_| Refusal::FormErr)?;
        let qtype = read_u16(message, end).ok_or(Refusal::FormErr)?;
        let qclass = read_u16(message, end + 2).ok_or(Refusal::FormErr)?;
        self.qtype = Type(qtype);
        self.qclass = Class(qclass);
        self.question_end = (end + 4) as u16;
        if an | ns | ar == 0 {
            return Ok(());
        }
        let before = u32::from(an) + u32::from(ns);
        self.read_records(message, end + 4, (before, ar.into()))
    }

    /// Reads a query without a question, as one of the root and no type.
    #[cold]
    fn read_questionless(&mut self, message: &[u8], [_, an, ns, ar]: [u16; 4]) -> Refusal {
        (self.qname, self.qtype, self.qclass) = (Qname::root(), Type(0), Class::IN);
        let query = self.flags.opcode() == Opcode::QUERY && an | ns == 0 && ar <= 2;
        if !query || message.len() > u16::MAX as usize {
            return Refusal::FormErr;
        }
        if let Err(refusal) = self.read_records(message, HEADER_LEN, (0, ar.into())) {
            return refusal;
        }
        let asks_cookie = self.edns.is_some_and(|edns| {
            let mut options = edns.options(message);
            options.any(|option| option.code == EdnsOption::COOKIE)
        });
        match asks_cookie {
            true => Refusal::Questionless,
            false => Refusal::FormErr,
        }
    }

    /// Reads past the records before the additional section, which begin at `at`, then OPT and TSIG in it.
    fn read_records(
        &mut self,
        message: &[u8],
        mut at: usize,
        (before, additional): (u32, u32),
    ) -> Result<(), Refusal> {
        for left in (0..before + additional).rev() {
            let start = at;
            let fixed = match message.get(at) {
                Some(0) => at + 1,
                _ => NameBuf::read(message, at).map_err(|_| Refusal::FormErr)?.1,
            };
            let rtype = Type(read_u16(message, fixed).ok_or(Refusal::FormErr)?);
            let len = read_u16(message, fixed + 8).ok_or(Refusal::FormErr)? as usize;
            at = fixed + 10 + len;
            let rdata = message.get(fixed + 10..at).ok_or(Refusal::FormErr)?;
            match rtype {
                Type::OPT => {
                    let alone =
                        left < additional && self.edns.is_none() && message.get(start) == Some(&0);
                    if !alone || !EdnsOptions::new(rdata).well_formed() {
                        return Err(Refusal::FormErr);
                    }
                    let class = read_u16(message, fixed + 2).ok_or(Refusal::FormErr)?;
                    let ttl = read_u32(message, fixed + 4).ok_or(Refusal::FormErr)?;
                    self.edns = Some(Edns {
                        udp_size: class,
                        extended_rcode: (ttl >> 24) as u8,
                        version: (ttl >> 16) as u8,
                        flags: ttl as u16,
                        options_start: (fixed + 10) as u16,
                        options_end: at as u16,
                    });
                }
                Type::TSIG if left == 0 && additional > 0 => self.tsig = Some(start as u16),
                Type::TSIG => return Err(Refusal::FormErr),
                _ => {}
            }
        }
        match self.edns {
            Some(edns) if edns.version != 0 => Err(Refusal::BadVers),
            _ => Ok(()),
        }
    }

    /// Whether DNSSEC records are wanted (RFC 3225).
    #[inline]
    pub fn dnssec_ok(&self) -> bool {
        self.edns.is_some_and(|edns| edns.dnssec_ok())
    }

    /// The largest UDP response that the client takes, in octets: 512 without OPT, and never less (RFC 6891, 6.2.3).
    #[inline]
    pub fn udp_limit(&self) -> usize {
        self.edns
            .map_or(512, |edns| edns.udp_size.max(512) as usize)
    }
}
