//! Where names stand in RDATA, type by type.
//!
//! A receiver decompresses the names of the types that RFC 1035 defines and of those that RFC 3597, section 4, lists; a sender
//! compresses those of RFC 1035 only. In every later type a name is never compressed, and RDATA of a type that is not listed here has
//! no names that anybody knows of (RFC 3597, section 3): it is copied as it stands. So are HIP, IPSECKEY, AMTRELAY and A6, whose names
//! depend on other fields, and which no compression touches.

use crate::mnemonic::{Class, Type};

/// One field of RDATA, as far as names are concerned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Field {
    /// So many octets.
    Octets(usize),
    /// A character string behind its length octet (RFC 1035, 3.3).
    Text,
    /// A name.
    Name(Compression),
    /// Everything up to the end.
    Rest,
}

/// Where a name in RDATA may be compressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Compression {
    /// In messages that are received and in those that are sent: the types of RFC 1035.
    Both,
    /// In messages that are received only: what RFC 3597, section 4, lists beside them.
    Received,
    /// Nowhere.
    Never,
}

use Field::{Name, Octets, Rest, Text};

const BOTH: Field = Name(Compression::Both);
const RECEIVED: Field = Name(Compression::Received);
const NEVER: Field = Name(Compression::Never);

/// The fields of RDATA of this type and class.
pub(crate) const fn fields(rtype: Type, class: Class) -> &'static [Field] {
    match rtype {
        Type::NS | Type::MD | Type::MF | Type::CNAME | Type::MB | Type::MG | Type::MR => &[BOTH],
        Type::PTR => &[BOTH],
        Type::SOA => &[BOTH, BOTH, Octets(20)],
        Type::MINFO => &[BOTH, BOTH],
        Type::MX => &[Octets(2), BOTH],
        // The address of a CHAOS host is a domain and a number (RFC 1035, 3.3.1 leaves A to IN alone).
        Type::A if class.0 == Class::CH.0 => &[RECEIVED, Octets(2)],
        Type::RP => &[RECEIVED, RECEIVED],
        Type::AFSDB | Type::RT => &[Octets(2), RECEIVED],
        Type::SIG => &[Octets(18), RECEIVED, Rest],
        Type::PX => &[Octets(2), RECEIVED, RECEIVED],
        Type::NXT => &[RECEIVED, Rest],
        Type::SRV => &[Octets(6), RECEIVED],
        Type::NAPTR => &[Octets(4), Text, Text, Text, RECEIVED],
        Type::NSAPPTR | Type::DNAME => &[NEVER],
        Type::KX | Type::LP => &[Octets(2), NEVER],
        Type::RRSIG => &[Octets(18), NEVER, Rest],
        Type::NSEC => &[NEVER, Rest],
        Type::TALINK => &[NEVER, NEVER],
        Type::SVCB | Type::HTTPS => &[Octets(2), NEVER, Rest],
        Type::DSYNC => &[Octets(5), NEVER],
        _ => &[Rest],
    }
}
