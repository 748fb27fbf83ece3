//! The twelve octets that begin every message (RFC 1035, section 4.1.1; RFC 4035 for AD and CD).

use std::fmt;

/// The length of a message's header.
pub const HEADER_LEN: usize = 12;

/// The header's second 16 bits: QR, opcode, AA, TC, RD, RA, AD, CD and the low four bits of the RCODE.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags(pub u16);

impl Flags {
    /// Response (RFC 1035, 4.1.1).
    pub const QR: u16 = 0x8000;
    /// Authoritative answer (RFC 1035, 4.1.1).
    pub const AA: u16 = 0x0400;
    /// Truncated (RFC 1035, 4.1.1; RFC 2181, 9).
    pub const TC: u16 = 0x0200;
    /// Recursion desired (RFC 1035, 4.1.1).
    pub const RD: u16 = 0x0100;
    /// Recursion available (RFC 1035, 4.1.1).
    pub const RA: u16 = 0x0080;
    /// Authentic data (RFC 4035, 3.2.3).
    pub const AD: u16 = 0x0020;
    /// Checking disabled (RFC 4035, 3.2.2).
    pub const CD: u16 = 0x0010;

    /// Whether any of `bits` is set.
    #[inline]
    pub const fn has(self, bits: u16) -> bool {
        self.0 & bits != 0
    }

    /// These flags with `bits` set or cleared.
    #[inline]
    pub const fn with(self, bits: u16, on: bool) -> Self {
        if on {
            Self(self.0 | bits)
        } else {
            Self(self.0 & !bits)
        }
    }

    /// The kind of query.
    #[inline]
    pub const fn opcode(self) -> Opcode {
        Opcode((self.0 >> 11 & 0xF) as u8)
    }

    /// The low four bits of the RCODE; the high eight stand in the OPT record.
    #[inline]
    pub const fn rcode(self) -> Rcode {
        Rcode(self.0 & 0xF)
    }

    /// These flags with the low four bits of `rcode`.
    #[inline]
    pub const fn with_rcode(self, rcode: Rcode) -> Self {
        Self(self.0 & !0xF | rcode.0 & 0xF)
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {self}", self.opcode(), self.rcode())
    }
}

/// The set flags in the order and spelling of CoreDNS's log: `qr,aa,tc,rd,ra,z,ad,cd`.
impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [
            (Self::QR, "qr"),
            (Self::AA, "aa"),
            (Self::TC, "tc"),
            (Self::RD, "rd"),
            (Self::RA, "ra"),
            (0x0040, "z"),
            (Self::AD, "ad"),
            (Self::CD, "cd"),
        ];
        let mut first = true;
        for (bit, name) in names {
            if self.has(bit) {
                if !first {
                    f.write_str(",")?;
                }
                f.write_str(name)?;
                first = false;
            }
        }
        Ok(())
    }
}

/// The kind of query in a header (RFC 6895, section 2.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Opcode(pub u8);

impl Opcode {
    /// A standard query (RFC 1035).
    pub const QUERY: Self = Self(0);
    /// A primary tells of a change (RFC 1996).
    pub const NOTIFY: Self = Self(4);
    /// Dynamic update (RFC 2136).
    pub const UPDATE: Self = Self(5);
}

impl fmt::Display for Opcode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("QUERY"),
            1 => f.write_str("IQUERY"),
            2 => f.write_str("STATUS"),
            4 => f.write_str("NOTIFY"),
            5 => f.write_str("UPDATE"),
            6 => f.write_str("DSO"),
            n => write!(f, "OPCODE{n}"),
        }
    }
}

/// The outcome of a query, twelve bits with the OPT record's extension (RFC 6895, section 2.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
pub struct Rcode(pub u16);

impl Rcode {
    /// No error.
    pub const NOERROR: Self = Self(0);
    /// The query could not be interpreted.
    pub const FORMERR: Self = Self(1);
    /// The server failed.
    pub const SERVFAIL: Self = Self(2);
    /// The name does not exist.
    pub const NXDOMAIN: Self = Self(3);
    /// The opcode is not implemented.
    pub const NOTIMP: Self = Self(4);
    /// Refused by policy.
    pub const REFUSED: Self = Self(5);
    /// A name exists when it should not; also the answer to a DNAME that overflows (RFC 6672, 2.2).
    pub const YXDOMAIN: Self = Self(6);
    /// An RRset exists when it should not (RFC 2136).
    pub const YXRRSET: Self = Self(7);
    /// An RRset that should exist does not (RFC 2136).
    pub const NXRRSET: Self = Self(8);
    /// Not authoritative, or not authorised (RFC 8945).
    pub const NOTAUTH: Self = Self(9);
    /// A name is not within the zone (RFC 2136).
    pub const NOTZONE: Self = Self(10);
    /// The EDNS version is not supported (RFC 6891, 9).
    pub const BADVERS: Self = Self(16);
    /// A bad or missing server cookie (RFC 7873).
    pub const BADCOOKIE: Self = Self(23);

    const NAMES: [(u16, &'static str); 20] = [
        (0, "NOERROR"),
        (1, "FORMERR"),
        (2, "SERVFAIL"),
        (3, "NXDOMAIN"),
        (4, "NOTIMP"),
        (5, "REFUSED"),
        (6, "YXDOMAIN"),
        (7, "YXRRSET"),
        (8, "NXRRSET"),
        (9, "NOTAUTH"),
        (10, "NOTZONE"),
        (11, "DSOTYPENI"),
        (16, "BADVERS"),
        (17, "BADKEY"),
        (18, "BADTIME"),
        (19, "BADMODE"),
        (20, "BADNAME"),
        (21, "BADALG"),
        (22, "BADTRUNC"),
        (23, "BADCOOKIE"),
    ];

    /// The mnemonic, if the code has one.
    pub fn mnemonic(self) -> Option<&'static str> {
        Self::NAMES
            .iter()
            .find(|(code, _)| *code == self.0)
            .map(|(_, name)| *name)
    }

    /// The code with this mnemonic, in any case.
    pub fn from_mnemonic(name: &str) -> Option<Self> {
        Self::NAMES
            .iter()
            .find(|(_, n)| n.eq_ignore_ascii_case(name))
            .map(|(code, _)| Self(*code))
    }
}

impl fmt::Display for Rcode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mnemonic() {
            Some(name) => f.write_str(name),
            None => write!(f, "RCODE{}", self.0),
        }
    }
}

/// A message's header by value.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Header {
    /// The query's ID, echoed in the response.
    pub id: u16,
    /// QR to RCODE.
    pub flags: Flags,
    /// QDCOUNT, ANCOUNT, NSCOUNT and ARCOUNT.
    pub counts: [u16; 4],
}

impl Header {
    /// Reads the header of a message; `None` when it is shorter than one.
    #[inline]
    pub fn read(octets: &[u8]) -> Option<Self> {
        let h: &[u8; HEADER_LEN] = octets.get(..HEADER_LEN)?.try_into().ok()?;
        let word = |i: usize| u16::from_be_bytes([h[2 * i], h[2 * i + 1]]);
        Some(Self {
            id: word(0),
            flags: Flags(word(1)),
            counts: [word(2), word(3), word(4), word(5)],
        })
    }

    /// The header in wire form.
    #[inline]
    pub fn to_octets(self) -> [u8; HEADER_LEN] {
        let mut out = [0; HEADER_LEN];
        let [qd, an, ns, ar] = self.counts;
        for (pair, word) in out
            .chunks_exact_mut(2)
            .zip([self.id, self.flags.0, qd, an, ns, ar])
        {
            pair.copy_from_slice(&word.to_be_bytes());
        }
        out
    }
}
