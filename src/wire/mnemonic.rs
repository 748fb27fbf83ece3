//! Record types and classes and their mnemonics (RFC 6895, section 3; RFC 3597, section 5).

use std::fmt;
use std::str::FromStr;

/// The type of a record, or a QTYPE.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Type(pub u16);

macro_rules! types {
    ($($name:ident $code:literal $text:literal,)*) => {
        #[allow(missing_docs, reason = "the mnemonic is the documentation")]
        impl Type { $(pub const $name: Self = Self($code);)* }
        impl Type {
            /// The mnemonic, if the type has one.
            pub const fn mnemonic(self) -> Option<&'static str> {
                match self.0 { $($code => Some($text),)* _ => None }
            }
            /// The type with this mnemonic, in upper case.
            fn from_upper(name: &str) -> Option<Self> {
                match name { $($text => Some(Self($code)),)* _ => None }
            }
        }
    };
}

types! {
    A 1 "A", NS 2 "NS", MD 3 "MD", MF 4 "MF", CNAME 5 "CNAME", SOA 6 "SOA", MB 7 "MB", MG 8 "MG", MR 9 "MR", NULL 10 "NULL",
    WKS 11 "WKS", PTR 12 "PTR", HINFO 13 "HINFO", MINFO 14 "MINFO", MX 15 "MX", TXT 16 "TXT", RP 17 "RP", AFSDB 18 "AFSDB",
    X25 19 "X25", ISDN 20 "ISDN", RT 21 "RT", NSAP 22 "NSAP", NSAPPTR 23 "NSAP-PTR", SIG 24 "SIG", KEY 25 "KEY", PX 26 "PX",
    GPOS 27 "GPOS", AAAA 28 "AAAA", LOC 29 "LOC", NXT 30 "NXT", EID 31 "EID", NIMLOC 32 "NIMLOC", SRV 33 "SRV", ATMA 34 "ATMA",
    NAPTR 35 "NAPTR", KX 36 "KX", CERT 37 "CERT", A6 38 "A6", DNAME 39 "DNAME", SINK 40 "SINK", OPT 41 "OPT", APL 42 "APL",
    DS 43 "DS", SSHFP 44 "SSHFP", IPSECKEY 45 "IPSECKEY", RRSIG 46 "RRSIG", NSEC 47 "NSEC", DNSKEY 48 "DNSKEY", DHCID 49 "DHCID",
    NSEC3 50 "NSEC3", NSEC3PARAM 51 "NSEC3PARAM", TLSA 52 "TLSA", SMIMEA 53 "SMIMEA", HIP 55 "HIP", NINFO 56 "NINFO",
    RKEY 57 "RKEY", TALINK 58 "TALINK", CDS 59 "CDS", CDNSKEY 60 "CDNSKEY", OPENPGPKEY 61 "OPENPGPKEY", CSYNC 62 "CSYNC",
    ZONEMD 63 "ZONEMD", SVCB 64 "SVCB", HTTPS 65 "HTTPS", DSYNC 66 "DSYNC", HHIT 67 "HHIT", BRID 68 "BRID", SPF 99 "SPF", UINFO 100 "UINFO", UID 101 "UID",
    GID 102 "GID", UNSPEC 103 "UNSPEC", NID 104 "NID", L32 105 "L32", L64 106 "L64", LP 107 "LP", EUI48 108 "EUI48",
    EUI64 109 "EUI64", NXNAME 128 "NXNAME", TKEY 249 "TKEY", TSIG 250 "TSIG", IXFR 251 "IXFR", AXFR 252 "AXFR", MAILB 253 "MAILB",
    MAILA 254 "MAILA", ANY 255 "ANY", URI 256 "URI", CAA 257 "CAA", AVC 258 "AVC", DOA 259 "DOA", AMTRELAY 260 "AMTRELAY",
    RESINFO 261 "RESINFO", WALLET 262 "WALLET", TA 32768 "TA", DLV 32769 "DLV",
}

impl Type {
    /// Whether this is a QTYPE or meta type that no RRset of a zone can have (RFC 6895, section 3.1).
    pub const fn is_meta(self) -> bool {
        self.0 == 41 || (self.0 >= 128 && self.0 <= 255)
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mnemonic() {
            Some(name) => f.pad(name),
            None => write!(f, "TYPE{}", self.0),
        }
    }
}

impl fmt::Debug for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that names no record type, class or RCODE.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UnknownMnemonic;

impl FromStr for Type {
    type Err = UnknownMnemonic;

    fn from_str(text: &str) -> Result<Self, UnknownMnemonic> {
        let upper = text.to_ascii_uppercase();
        if let Some(known) = Self::from_upper(&upper) {
            return Ok(known);
        }
        number_behind("TYPE", &upper).map(Self)
    }
}

/// The number in `TYPE65280` or `CLASS32` (RFC 3597, section 5): digits only, where `parse` would take a sign too.
fn number_behind(word: &str, text: &str) -> Result<u16, UnknownMnemonic> {
    text.strip_prefix(word)
        .filter(|number| number.bytes().all(|octet| octet.is_ascii_digit()))
        .and_then(|number| number.parse().ok())
        .ok_or(UnknownMnemonic)
}

/// The class of a record, or a QCLASS.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Class(pub u16);

impl Class {
    /// The Internet.
    pub const IN: Self = Self(1);
    /// CHAOS.
    pub const CH: Self = Self(3);
    /// Hesiod.
    pub const HS: Self = Self(4);
    /// No class (RFC 2136).
    pub const NONE: Self = Self(254);
    /// Any class.
    pub const ANY: Self = Self(255);
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            1 => f.pad("IN"),
            3 => f.pad("CH"),
            4 => f.pad("HS"),
            254 => f.pad("NONE"),
            255 => f.pad("ANY"),
            n => write!(f, "CLASS{n}"),
        }
    }
}

impl fmt::Debug for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Class {
    type Err = UnknownMnemonic;

    fn from_str(text: &str) -> Result<Self, UnknownMnemonic> {
        let upper = text.to_ascii_uppercase();
        match upper.as_str() {
            "IN" => Ok(Self::IN),
            "CH" => Ok(Self::CH),
            "HS" => Ok(Self::HS),
            "NONE" => Ok(Self::NONE),
            "ANY" => Ok(Self::ANY),
            other => number_behind("CLASS", other).map(Self),
        }
    }
}
