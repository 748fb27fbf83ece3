//! RDATA from presentation format to wire form, and whether octets are RDATA of their type.
//!
//! One grammar per type, a row of [`Field`]s, serves both: text is read by it, and the octets of the generic form (`\# n hex`,
//! RFC 3597, section 5) or of a zone transfer are checked by it. Rules that go over several fields stand in `rules`.

use std::borrow::Cow;
use std::net::{Ipv4Addr, Ipv6Addr};

use wire::{Name, NameBuf, Type};

use crate::encoding::{self, Digits};
use crate::scanner::Token;
use crate::{gateway, keys, location, rules, services, svcb};

/// A mistake in a record's fields: the token where it stands (one past the last: something is missing) and why.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) token: usize,
    pub(crate) why: Cow<'static, str>,
}

/// The fields of one entry, read from the left.
#[derive(Clone, Copy)]
pub(crate) struct Fields<'a> {
    pub(crate) text: &'a [u8],
    pub(crate) tokens: &'a [Token],
    pub(crate) next: usize,
    pub(crate) origin: Name<'a>,
}

impl<'a> Fields<'a> {
    /// A mistake at the token read last.
    pub(crate) fn fault(&self, why: impl Into<Cow<'static, str>>) -> Fault {
        Fault {
            token: self.next.saturating_sub(1),
            why: why.into(),
        }
    }

    /// The next token, if there is one.
    #[inline]
    pub(crate) fn peek(&self) -> Option<&'a [u8]> {
        self.tokens.get(self.next).map(|token| token.of(self.text))
    }

    /// The next token, if it is a quoted string right behind the last one.
    pub(crate) fn glued(&self) -> Option<&'a [u8]> {
        let last = self.tokens.get(self.next.checked_sub(1)?)?;
        let next = self.tokens.get(self.next)?;
        (next.quoted && !last.quoted && next.start == last.end + 1).then(|| next.of(self.text))
    }

    /// Takes the next token.
    #[inline]
    pub(crate) fn take(&mut self, what: &'static str) -> Result<&'a [u8], Fault> {
        match self.tokens.get(self.next) {
            Some(token) => {
                self.next += 1;
                Ok(token.of(self.text))
            }
            None => Err(Fault {
                token: self.tokens.len(),
                why: format!("{what} is missing").into(),
            }),
        }
    }

    /// Takes a number of at most `max`.
    pub(crate) fn number(&mut self, max: u64) -> Result<u64, Fault> {
        let text = self.take("a number")?;
        encoding::number(text, max)
            .ok_or_else(|| self.fault(format!("expected a number from 0 to {max}")))
    }

    /// Takes a name.
    #[inline]
    pub(crate) fn name(&mut self) -> Result<NameBuf, Fault> {
        let text = self.take("a domain name")?;
        NameBuf::parse_octets(text, self.origin).map_err(|why| self.fault(why.to_string()))
    }

    /// Takes a character-string, at most 255 octets with its escapes resolved (RFC 1035, section 3.3).
    fn string(&mut self, out: &mut Vec<u8>) -> Result<(), Fault> {
        let text = self.take("a character-string")?;
        let start = out.len();
        out.push(0);
        encoding::unescape(text, out).ok_or_else(|| self.fault("a backslash escapes nothing"))?;
        let len = u8::try_from(out.len() - start - 1)
            .map_err(|_| self.fault("a character-string is longer than 255 octets"))?;
        out[start] = len;
        Ok(())
    }

    /// Takes all tokens that are left as digits of one value.
    fn digits(
        &mut self,
        (what, width): (&'static str, u32),
        out: &mut Vec<u8>,
        read: fn(&mut Digits, &[u8], &mut Vec<u8>) -> Option<()>,
    ) -> Result<(), Fault> {
        let mut digits = Digits::default();
        loop {
            let text = self.take(what)?;
            read(&mut digits, text, out)
                .ok_or_else(|| self.fault(format!("this is not {what}")))?;
            if self.next == self.tokens.len() {
                break;
            }
        }
        if digits.whole(width) {
            Ok(())
        } else {
            Err(self.fault(format!("{what} is cut short")))
        }
    }
}

/// One field of RDATA.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Field {
    /// An integer of 8, 16 or 32 bits.
    U8,
    U16,
    U32,
    /// 32 bits, written as a TTL.
    Ttl,
    /// 32 bits, written as a date.
    Time,
    /// A domain name, uncompressed.
    Name,
    /// Addresses.
    Ip4,
    Ip6,
    /// One character-string, an optional one, one or more.
    Text,
    MaybeText,
    Texts,
    /// Octets up to the end, at least one.
    Hex,
    Base64,
    /// Octets up to the end as one quoted string.
    LongText,
    /// A 16-bit type, a DNSSEC algorithm (RFC 4034, A.1), a digest type (RFC 4034, A.2), a certificate type (RFC 4398, 2.1), a scheme
    /// of DSYNC (RFC 9859, 2.1).
    TypeCode,
    Algorithm,
    DigestType,
    CertType,
    Scheme,
    /// Flags and protocol of a key (RFC 2535, 3.1.2 and 3.1.3), and the key, which its flags may leave out.
    KeyFlags,
    Protocol,
    Key,
    /// A type bitmap up to the end (RFC 4034, section 4.1.2).
    Types,
    /// A salt and a hash of NSEC3, each behind its length (RFC 5155, section 3.2).
    Salt,
    Hash,
    /// A CAA tag behind its length (RFC 8659, section 4.1).
    Tag,
    /// 6 and 8 octets with hyphens (RFC 7043), 64 bits with colons (RFC 6742).
    Eui48,
    Eui64,
    Locator,
    /// SvcParams up to the end (RFC 9460, section 2.1).
    SvcParams,
    /// Location data, up to the end (RFC 1876), address prefixes (RFC 3123), a gateway (RFC 4025; RFC 8777), HIP (RFC 8005).
    Location,
    Prefixes,
    Ipsec,
    Relay,
    Hip,
    /// An NSAP address, `0x` and hexadecimal digits (RFC 1706).
    Nsap,
    /// A protocol and its services (RFC 1035, section 3.4.2).
    Services,
}

/// The grammar of a type's RDATA; `None` when only the generic form can say it.
pub(crate) fn grammar(rtype: Type) -> Option<&'static [Field]> {
    use Field::*;
    Some(match rtype {
        Type::A => &[Ip4],
        Type::AAAA => &[Ip6],
        Type::NS
        | Type::CNAME
        | Type::PTR
        | Type::DNAME
        | Type::MD
        | Type::MF
        | Type::MB
        | Type::MG
        | Type::MR
        | Type::NSAPPTR => &[Name],
        Type::SOA => &[Name, Name, U32, Ttl, Ttl, Ttl, Ttl],
        Type::MX | Type::AFSDB | Type::RT | Type::KX | Type::LP => &[U16, Name],
        Type::TXT | Type::SPF | Type::AVC | Type::NINFO | Type::RESINFO | Type::WALLET => &[Texts],
        Type::SRV => &[U16, U16, U16, Name],
        Type::HINFO => &[Text, Text],
        Type::X25 => &[Text],
        Type::ISDN => &[Text, MaybeText],
        Type::GPOS => &[Text, Text, Text],
        Type::RP | Type::MINFO | Type::TALINK => &[Name, Name],
        Type::PX => &[U16, Name, Name],
        Type::NAPTR => &[U16, U16, Text, Text, Text, Name],
        Type::CAA => &[U8, Tag, LongText],
        Type::URI => &[U16, U16, LongText],
        Type::SSHFP => &[U8, U8, Hex],
        Type::DS | Type::CDS | Type::DLV | Type::TA => &[U16, Algorithm, DigestType, Hex],
        Type::DNSKEY | Type::CDNSKEY | Type::RKEY | Type::KEY => {
            &[KeyFlags, Protocol, Algorithm, Key]
        }
        Type::EID | Type::NIMLOC => &[Hex],
        Type::TLSA | Type::SMIMEA => &[U8, U8, U8, Hex],
        Type::CERT => &[CertType, U16, Algorithm, Base64],
        Type::OPENPGPKEY | Type::DHCID | Type::HHIT | Type::BRID => &[Base64],
        Type::CSYNC => &[U32, U16, Types],
        Type::ZONEMD => &[U32, U8, U8, Hex],
        Type::RRSIG | Type::SIG => &[TypeCode, Algorithm, U8, Ttl, Time, Time, U16, Name, Base64],
        Type::NSEC => &[Name, Types],
        Type::NSEC3 => &[U8, U8, U16, Salt, Hash, Types],
        Type::NSEC3PARAM => &[U8, U8, U16, Salt],
        Type::NID | Type::L64 => &[U16, Locator],
        Type::L32 => &[U16, Ip4],
        Type::EUI48 => &[Eui48],
        Type::EUI64 => &[Eui64],
        Type::SVCB | Type::HTTPS => &[U16, Name, SvcParams],
        Type::DSYNC => &[TypeCode, Scheme, U16, Name],
        Type::LOC => &[Location],
        Type::APL => &[Prefixes],
        Type::IPSECKEY => &[Ipsec],
        Type::AMTRELAY => &[Relay],
        Type::HIP => &[Hip],
        Type::NSAP => &[Nsap],
        Type::WKS => &[Ip4, Services],
        _ => return None,
    })
}

/// Appends the RDATA of `rtype` that the fields left over state.
#[inline]
pub(crate) fn read(rtype: Type, fields: &mut Fields<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
    let start = out.len();
    let first = fields.next;
    if fields.peek() == Some(b"\\#") && !fields.tokens[first].quoted {
        generic(fields, out)?;
    } else {
        let Some(grammar) = grammar(rtype) else {
            return Err(Fault {
                token: first,
                why: format!("type {rtype} has no text form here; write it as `\\# length hex`")
                    .into(),
            });
        };
        for &field in grammar {
            read_field(field, fields, out)?;
        }
        if fields.next < fields.tokens.len() {
            fields.next += 1;
            return Err(fields.fault(format!("unexpected text after the {rtype} record")));
        }
        if matches!(rtype, Type::A | Type::AAAA) {
            return Ok(());
        }
    }
    let rdata = out.get(start..).unwrap_or_default();
    check(rtype, rdata).map_err(|why| Fault {
        token: first,
        why: why.into(),
    })
}

/// Reads `\# length hex`, RFC 3597, section 5.
fn generic(fields: &mut Fields<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
    fields.next += 1;
    let len = fields.number(65_535)? as usize;
    let start = out.len();
    if len > 0 {
        fields.digits(("hexadecimal", 4), out, Digits::hex)?;
    }
    if out.len() - start == len && fields.next == fields.tokens.len() {
        Ok(())
    } else {
        Err(fields.fault("the number of octets differs from the length"))
    }
}

const NO_RDATA: &str = "the octets are not RDATA of this type";

/// Whether `rdata` is RDATA of `rtype`, names uncompressed; types that nobody knows take any octets.
pub fn check(rtype: Type, rdata: &[u8]) -> Result<(), &'static str> {
    if rdata.len() > 65_535 {
        return Err("the RDATA is longer than 65,535 octets");
    }
    let Some(grammar) = grammar(rtype) else {
        let known = rules::has_form(rtype, rdata);
        return known.then_some(()).ok_or(NO_RDATA);
    };
    let mut rest = rdata;
    for &field in grammar {
        rest = check_field(field, rest).ok_or(NO_RDATA)?;
    }
    if rest.is_empty() {
        rules::check(rtype, rdata)
    } else {
        Err("octets are left over after the RDATA of this type")
    }
}

/// The RDATA in canonical form (RFC 4034, section 6.2): alike where two records are one.
pub fn canonical_rdata(rtype: Type, rdata: &[u8]) -> Vec<u8> {
    let mut out = rdata.to_vec();
    lower_names(rtype, &mut out);
    out
}

/// Lowers the letters of the names in `rdata` that have none but lower-case letters in canonical form (RFC 4034, section 6.2, without
/// NSEC as RFC 6840, section 5.1, says).
pub(crate) fn lower_names(rtype: Type, rdata: &mut [u8]) {
    let lowers = matches!(
        rtype,
        Type::NS
            | Type::MD
            | Type::MF
            | Type::CNAME
            | Type::SOA
            | Type::MB
            | Type::MG
            | Type::MR
            | Type::PTR
            | Type::MINFO
            | Type::MX
            | Type::RP
            | Type::AFSDB
            | Type::RT
            | Type::SIG
            | Type::PX
            | Type::NAPTR
            | Type::KX
            | Type::SRV
            | Type::DNAME
            | Type::RRSIG
    );
    let Some(grammar) = grammar(rtype).filter(|_| lowers) else {
        return;
    };
    let mut at = 0;
    for &field in grammar {
        let rest = rdata.get(at..).unwrap_or_default();
        let Some(left) = check_field(field, rest).map(<[u8]>::len) else {
            return;
        };
        let end = rdata.len() - left;
        if matches!(field, Field::Name) {
            rdata[at..end].make_ascii_lowercase();
        }
        at = end;
    }
}

fn read_field(field: Field, fields: &mut Fields<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
    match field {
        Field::U8 => out.push(fields.number(255)? as u8),
        Field::U16 => out.extend_from_slice(&(fields.number(65_535)? as u16).to_be_bytes()),
        Field::U32 => out.extend_from_slice(&(fields.number(0xFFFF_FFFF)? as u32).to_be_bytes()),
        Field::Ttl => {
            let text = fields.take("a time")?;
            let value = encoding::ttl(text)
                .map_err(|_| fields.fault("expected seconds, or a time such as 2h30m"))?;
            out.extend_from_slice(&value.to_be_bytes());
        }
        Field::Time => {
            let text = fields.take("a date")?;
            let value =
                encoding::time(text).ok_or_else(|| fields.fault("expected YYYYMMDDHHmmSS"))?;
            out.extend_from_slice(&value.to_be_bytes());
        }
        Field::Name => {
            let name = fields.name()?;
            out.extend_from_slice(name.as_name().octets());
        }
        Field::Ip4 => {
            let text = fields.take("an IPv4 address")?;
            let address: Option<Ipv4Addr> =
                std::str::from_utf8(text).ok().and_then(|t| t.parse().ok());
            let address = address.ok_or_else(|| fields.fault("expected an IPv4 address"))?;
            out.extend_from_slice(&address.octets());
        }
        Field::Ip6 => {
            let text = fields.take("an IPv6 address")?;
            let address: Option<Ipv6Addr> =
                std::str::from_utf8(text).ok().and_then(|t| t.parse().ok());
            let address = address.ok_or_else(|| fields.fault("expected an IPv6 address"))?;
            out.extend_from_slice(&address.octets());
        }
        Field::Text => fields.string(out)?,
        Field::MaybeText => {
            if fields.next < fields.tokens.len() {
                fields.string(out)?;
            }
        }
        Field::Texts => {
            fields.string(out)?;
            while fields.next < fields.tokens.len() {
                fields.string(out)?;
            }
        }
        Field::Hex => fields.digits(("hexadecimal", 4), out, Digits::hex)?,
        Field::Base64 => fields.digits(("base64", 6), out, Digits::base64)?,
        Field::LongText => {
            let text = fields.take("a text")?;
            encoding::unescape(text, out)
                .ok_or_else(|| fields.fault("a backslash escapes nothing"))?;
        }
        Field::TypeCode => {
            let text = fields.take("a record type")?;
            let rtype = type_of(text).ok_or_else(|| fields.fault("unknown record type"))?;
            out.extend_from_slice(&rtype.0.to_be_bytes());
        }
        Field::Algorithm => {
            let text = fields.take("an algorithm")?;
            let value = algorithm(text).ok_or_else(|| fields.fault("unknown DNSSEC algorithm"))?;
            out.push(value);
        }
        Field::DigestType => {
            let text = fields.take("a digest type")?;
            let value =
                keys::digest_type(text).ok_or_else(|| fields.fault("unknown digest type"))?;
            out.push(value);
        }
        Field::Scheme => {
            let text = fields.take("a scheme")?;
            let value = keys::scheme(text).ok_or_else(|| fields.fault("unknown scheme"))?;
            out.push(value);
        }
        Field::KeyFlags => {
            let text = fields.take("flags")?;
            let value = keys::flags(text).ok_or_else(|| fields.fault("unknown flags of a key"))?;
            out.extend_from_slice(&value.to_be_bytes());
        }
        Field::Protocol => {
            let text = fields.take("a protocol")?;
            let value =
                keys::protocol(text).ok_or_else(|| fields.fault("unknown protocol of a key"))?;
            out.push(value);
        }
        Field::Key
            if fields.peek().is_none() && keys::is_absent(&out[out.len().saturating_sub(4)..]) => {}
        Field::Key => fields.digits(("base64", 6), out, Digits::base64)?,
        Field::CertType => {
            let text = fields.take("a certificate type")?;
            let value = cert_type(text).ok_or_else(|| fields.fault("unknown certificate type"))?;
            out.extend_from_slice(&value.to_be_bytes());
        }
        Field::Types => types(fields, out)?,
        Field::Salt => {
            let text = fields.take("a salt")?;
            let start = out.len();
            out.push(0);
            if text != b"-" {
                let mut digits = Digits::default();
                digits
                    .hex(text, out)
                    .filter(|()| digits.whole(4))
                    .ok_or_else(|| fields.fault("expected hexadecimal or `-`"))?;
            }
            out[start] = u8::try_from(out.len() - start - 1)
                .map_err(|_| fields.fault("the salt is longer than 255 octets"))?;
        }
        Field::Hash => {
            let text = fields.take("a hash")?;
            let start = out.len();
            out.push(0);
            let mut digits = Digits::default();
            digits
                .base32(text, out)
                .filter(|()| digits.whole(5))
                .ok_or_else(|| fields.fault("expected base32hex"))?;
            out[start] = u8::try_from(out.len() - start - 1)
                .map_err(|_| fields.fault("the hash is longer than 255 octets"))?;
        }
        Field::Tag => {
            let text = fields.take("a tag")?;
            let len = u8::try_from(text.len())
                .map_err(|_| fields.fault("the tag is longer than 255 octets"))?;
            out.push(len);
            out.extend_from_slice(text);
        }
        Field::Eui48 | Field::Eui64 => {
            let text = fields.take("an EUI address")?;
            let count = if field == Field::Eui48 { 6 } else { 8 };
            groups(text, b'-', (2, 2), count, out)
                .ok_or_else(|| fields.fault("expected octets in hexadecimal with hyphens"))?;
        }
        Field::Locator => {
            let text = fields.take("a 64-bit value")?;
            groups(text, b':', (1, 4), 4, out)
                .ok_or_else(|| fields.fault("expected four groups of hexadecimal with colons"))?;
        }
        Field::SvcParams => svcb::read(fields, out)?,
        Field::Location => location::read(fields, out)?,
        Field::Prefixes => gateway::read_prefixes(fields, out)?,
        Field::Ipsec => gateway::read_ipseckey(fields, out)?,
        Field::Relay => gateway::read_amtrelay(fields, out)?,
        Field::Hip => gateway::read_hip(fields, out)?,
        Field::Services => services::read(fields, out)?,
        Field::Nsap => {
            let text = fields.take("an NSAP address")?;
            let (mut digits, start) = (Digits::default(), out.len());
            let body = text.strip_prefix(b"0x").or(text.strip_prefix(b"0X"));
            let plain: Vec<u8> = body
                .unwrap_or_default()
                .iter()
                .copied()
                .filter(|&o| o != b'.')
                .collect();
            digits
                .hex(&plain, out)
                .filter(|()| digits.whole(4) && out.len() > start)
                .ok_or_else(|| fields.fault("expected `0x` and hexadecimal"))?;
        }
    }
    Ok(())
}

/// Reads groups of hexadecimal digits, each as wide as it may be.
fn groups(
    text: &[u8],
    separator: u8,
    (shortest, longest): (usize, usize),
    count: usize,
    out: &mut Vec<u8>,
) -> Option<()> {
    let mut seen = 0;
    for group in text.split(|&octet| octet == separator) {
        if group.len() < shortest || group.len() > longest {
            return None;
        }
        let text = std::str::from_utf8(group).ok()?;
        if !text.bytes().all(|o| o.is_ascii_hexdigit()) {
            return None;
        }
        let value = u16::from_str_radix(text, 16).ok()?;
        if longest == 2 {
            out.push(value as u8);
        } else {
            out.extend_from_slice(&value.to_be_bytes());
        }
        seen += 1;
    }
    (seen == count).then_some(())
}

/// Takes the types that are left as a bitmap.
fn types(fields: &mut Fields<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
    let mut listed = Vec::new();
    while let Some(text) = fields.peek() {
        fields.next += 1;
        let rtype = type_of(text).ok_or_else(|| fields.fault("unknown record type"))?;
        listed.push(rtype.0);
    }
    listed.sort_unstable();
    listed.dedup();
    let mut rest = listed.as_slice();
    while let Some(&first) = rest.first() {
        let window = first >> 8;
        let end = rest.iter().position(|t| t >> 8 != window);
        let (these, later) = rest.split_at(end.unwrap_or(rest.len()));
        let mut bits = [0u8; 32];
        let mut len = 0;
        for low in these.iter().map(|t| (t & 0xFF) as usize) {
            bits[low / 8] |= 0x80 >> (low % 8);
            len = low / 8 + 1;
        }
        out.push(window as u8);
        out.push(len as u8);
        out.extend_from_slice(&bits[..len]);
        rest = later;
    }
    Ok(())
}

/// The type that a text names, in any case.
#[inline]
pub(crate) fn type_of(text: &[u8]) -> Option<Type> {
    match text {
        b"A" => Some(Type::A),
        b"AAAA" => Some(Type::AAAA),
        b"NS" => Some(Type::NS),
        b"CNAME" => Some(Type::CNAME),
        b"PTR" => Some(Type::PTR),
        b"MX" => Some(Type::MX),
        b"TXT" => Some(Type::TXT),
        b"SRV" => Some(Type::SRV),
        b"RRSIG" => Some(Type::RRSIG),
        _ => std::str::from_utf8(text).ok()?.parse().ok(),
    }
}

/// Mnemonics of DNSSEC algorithms.
pub(crate) const ALGORITHMS: [(&str, u8); 19] = [
    ("RSAMD5", 1),
    ("DH", 2),
    ("DSA", 3),
    ("ECC", 4),
    ("RSASHA1", 5),
    ("NSEC3DSA", 6),
    ("DSA-NSEC3-SHA1", 6),
    ("NSEC3RSASHA1", 7),
    ("RSASHA1-NSEC3-SHA1", 7),
    ("RSASHA256", 8),
    ("RSASHA512", 10),
    ("ECCGOST", 12),
    ("ECDSAP256SHA256", 13),
    ("ECDSAP384SHA384", 14),
    ("ED25519", 15),
    ("ED448", 16),
    ("INDIRECT", 252),
    ("PRIVATEDNS", 253),
    ("PRIVATEOID", 254),
];

/// The number of a DNSSEC algorithm, by number or mnemonic.
pub(crate) fn algorithm(text: &[u8]) -> Option<u8> {
    encoding::number(text, 255).map(|n| n as u8).or_else(|| {
        ALGORITHMS
            .iter()
            .find(|(name, _)| name.as_bytes().eq_ignore_ascii_case(text))
            .map(|&(_, n)| n)
    })
}

fn cert_type(text: &[u8]) -> Option<u16> {
    const NAMES: [(&str, u16); 10] = [
        ("PKIX", 1),
        ("SPKI", 2),
        ("PGP", 3),
        ("IPKIX", 4),
        ("ISPKI", 5),
        ("IPGP", 6),
        ("ACPKIX", 7),
        ("IACPKIX", 8),
        ("URI", 253),
        ("OID", 254),
    ];
    encoding::number(text, 65_535)
        .map(|n| n as u16)
        .or_else(|| {
            NAMES
                .iter()
                .find(|(name, _)| name.as_bytes().eq_ignore_ascii_case(text))
                .map(|&(_, n)| n)
        })
}

/// What stands behind a field of these octets; `None` when they do not begin with one.
fn check_field(field: Field, rdata: &[u8]) -> Option<&[u8]> {
    let counted = |rdata: &'_ [u8]| -> Option<usize> { Some(1 + *rdata.first()? as usize) };
    let len = match field {
        Field::U8 | Field::Algorithm | Field::DigestType | Field::Scheme | Field::Protocol => 1,
        Field::U16 | Field::TypeCode | Field::CertType | Field::KeyFlags => 2,
        Field::U32 | Field::Ttl | Field::Time | Field::Ip4 => 4,
        Field::Eui48 => 6,
        Field::Eui64 | Field::Locator => 8,
        Field::Ip6 => 16,
        Field::Name => name_len(rdata)?,
        Field::Text | Field::Salt | Field::Hash | Field::Tag => counted(rdata)?,
        Field::MaybeText if rdata.is_empty() => 0,
        Field::MaybeText => counted(rdata)?,
        Field::Texts => {
            let mut rest = rdata.get(counted(rdata)?..)?;
            while !rest.is_empty() {
                rest = rest.get(counted(rest)?..)?;
            }
            rdata.len()
        }
        Field::Hex | Field::Base64 | Field::Nsap if rdata.is_empty() => return None,
        Field::Hex | Field::Base64 | Field::Nsap | Field::LongText | Field::Key => rdata.len(),
        Field::Types => {
            let mut rest = rdata;
            let mut last = None;
            while let [window, len @ 1..=32, tail @ ..] = rest {
                let bits = tail.get(..*len as usize)?;
                if last.is_some_and(|l| l >= *window) || bits.last() == Some(&0) {
                    return None;
                }
                last = Some(*window);
                rest = &tail[*len as usize..];
            }
            rdata.len() - rest.len()
        }
        Field::SvcParams => svcb::check(rdata).then_some(rdata.len())?,
        Field::Location => location::check(rdata).then_some(rdata.len())?,
        Field::Services => services::check(rdata).then_some(rdata.len())?,
        Field::Prefixes => gateway::check_prefixes(rdata).then_some(rdata.len())?,
        Field::Ipsec => gateway::check_gateway(rdata, 1, 3).then_some(rdata.len())?,
        Field::Relay => gateway::check_gateway(rdata, 1, 2).then_some(rdata.len())?,
        Field::Hip => gateway::check_hip(rdata).then_some(rdata.len())?,
    };
    rdata.get(len..)
}

/// The length of the uncompressed name that `octets` begin with.
pub(crate) fn name_len(octets: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        match *octets.get(at)? {
            0 => return (at < 255).then_some(at + 1),
            len @ 1..=63 => at += 1 + len as usize,
            _ => return None,
        }
    }
}
