//! Rules of single types that go over several fields: lengths of digests, fixed values, what must stand beside what.
//!
//! They are those that BIND holds a zone to, so that a zone which `named-checkzone` refuses is refused here.

use wire::Type;

use crate::rdata::name_len;
use crate::{keys, location, svcb};

/// Holds RDATA that follows its type's grammar to the type's rules.
pub(crate) fn check(rtype: Type, rdata: &[u8]) -> Result<(), &'static str> {
    let octet = |at: usize| rdata.get(at).copied().unwrap_or_default();
    let rest = |at: usize| rdata.len().saturating_sub(at);
    let expect = |ok: bool, why: &'static str| if ok { Ok(()) } else { Err(why) };
    match rtype {
        Type::DS | Type::CDS | Type::DLV | Type::TA => {
            if matches!(rtype, Type::CDS) && rdata == [0; 5] {
                return Ok(()); // RFC 8078, section 4: delete
            }
            let len = match octet(3) {
                1 => 20,
                2 | 3 => 32,
                4 => 48,
                _ => return Ok(()),
            };
            expect(
                rest(4) == len,
                "the digest does not have the length of its digest type",
            )
        }
        Type::SSHFP => {
            let len = match octet(1) {
                1 => 20,
                2 => 32,
                _ => return Ok(()),
            };
            expect(
                rest(2) == len,
                "the fingerprint does not have the length of its type",
            )
        }
        Type::ZONEMD => {
            let len = match (octet(4), octet(5)) {
                (0, _) => return Err("the scheme 0 is reserved (RFC 8976, section 5.2)"),
                (_, 0) => return Err("the hash algorithm 0 is reserved (RFC 8976, section 5.3)"),
                (1, 1) => 48,
                (1, 2) => 64,
                _ => return expect(rest(6) >= 12, "the digest is shorter than 12 octets"),
            };
            expect(
                rest(6) == len,
                "the digest does not have the length of its hash algorithm",
            )
        }
        Type::CAA => {
            let len = octet(1) as usize;
            let tag = rdata.get(2..2 + len).unwrap_or_default();
            expect(
                !tag.is_empty() && tag.iter().all(u8::is_ascii_alphanumeric),
                "a tag is letters and digits (RFC 8659, section 4.1)",
            )
        }
        Type::NAPTR => {
            let flags = rdata.get(4..).unwrap_or_default();
            let regexp = behind_text(flags).and_then(behind_text);
            expect(
                regexp.is_none_or(is_substitution),
                "a regular expression is `!pattern!replacement!`, with any delimiter, and `i` behind it or nothing (RFC 3402, section 3.2)",
            )
        }
        Type::DNSKEY | Type::CDNSKEY => expect(rest(4) > 0, "the key is missing"),
        Type::RKEY if (octet(0), octet(1)) != (0, 0) => Err("the flags of an RKEY record are 0"),
        Type::RKEY | Type::KEY => expect(
            keys::is_absent(rdata) == (rest(4) == 0),
            "there is a key although the flags say that there is none, or a key is missing (RFC 2535, 3.1.2)",
        ),
        Type::WKS => expect(
            rest(5) == 0 || rdata.last() != Some(&0),
            "the bitmap ends in an octet without a port",
        ),
        Type::X25 => {
            let digits = rdata.get(1..).unwrap_or_default();
            expect(
                digits.len() >= 4 && digits.iter().all(u8::is_ascii_digit),
                "a PSDN address is four digits or more (RFC 1183, section 3.1)",
            )
        }
        Type::GPOS => location::check_geographical(rdata),
        Type::NSEC => {
            let bits = name_len(rdata).map_or(0, rest);
            expect(bits > 0, "the type bitmap is empty")
        }
        Type::NSEC3 => {
            let salt = octet(4) as usize;
            expect(
                octet(5 + salt) > 0,
                "the next hashed owner is empty (RFC 5155, section 3.2)",
            )
        }
        Type::RRSIG => {
            let name = name_len(rdata.get(18..).unwrap_or_default());
            expect(
                name.is_some_and(|len| rest(18 + len) > 0),
                "the signature is empty",
            )
        }
        Type::SVCB | Type::HTTPS => {
            let params = 2 + name_len(rdata.get(2..).unwrap_or_default()).unwrap_or_default();
            svcb::check_rules(rdata.get(params..).unwrap_or_default())
        }
        _ => Ok(()),
    }
}

/// What stands behind a character-string.
fn behind_text(octets: &[u8]) -> Option<&[u8]> {
    octets.get(1 + usize::from(*octets.first()?)..)
}

/// Whether a character-string is empty, or a substitution as NAPTR records have it (RFC 3402, section 3.2). The pattern itself is not read, but
/// for the groups that the replacement may name.
fn is_substitution(text: &[u8]) -> bool {
    let [len, rest @ ..] = text else { return true };
    let Some((delimiter, rest)) = rest.get(..usize::from(*len)).and_then(<[u8]>::split_first)
    else {
        return true;
    };
    if matches!(delimiter, 0 | b'0'..=b'9' | b'\\' | b'i') {
        return false;
    }
    // Which part it is in: pattern, replacement, flags.
    let (mut part, mut groups, mut named) = (0, 0, 0);
    let mut octets = rest.iter();
    while let Some(octet) = octets.next() {
        match (octet, part) {
            (0, _) => return false,
            (octet, _) if octet == delimiter => part += 1,
            (b'i', 2) => {}
            (_, 2..) => return false,
            (b'\\', _) => match (octets.next(), part) {
                (None | Some(0), _) | (Some(b'0'), 1) => return false,
                (Some(digit @ b'1'..=b'9'), 1) => named = named.max(digit - b'0'),
                _ => {}
            },
            (b'(', 0) => groups += 1,
            _ => {}
        }
    }
    part == 2 && named <= groups
}

/// Whether octets have the form of a type that has no text form here.
pub(crate) fn has_form(rtype: Type, rdata: &[u8]) -> bool {
    match (rtype, rdata) {
        (Type::SINK, octets) => octets.len() >= 3,
        // A format, and for E.164 digits.
        (Type::ATMA, [format, address @ ..]) => {
            !address.is_empty() && (*format != 1 || address.iter().all(u8::is_ascii_digit))
        }
        // RFC 2874, section 3.1: the length of a prefix, what is behind it of an address, with bits of 0 before it, and who has the prefix.
        (Type::A6, [prefix @ 0..=128, rest @ ..]) => {
            let name = rest.get(16 - usize::from(prefix / 8)..);
            let pads = rest
                .first()
                .is_some_and(|first| first & !(0xFF >> (prefix % 8)) != 0);
            !pads
                && name.is_some_and(|name| match prefix {
                    0 => name.is_empty(),
                    _ => name_len(name) == Some(name.len()),
                })
        }
        // RFC 2535, section 5.2: the next name, and a bitmap of types up to 127, the first bit of which is clear.
        (Type::NXT, octets) => {
            let bitmap = name_len(octets).and_then(|len| octets.get(len..));
            bitmap.is_some_and(|bitmap| match bitmap {
                [] | [0x80..=0xFF, ..] => true,
                [.., last] => bitmap.len() <= 16 && *last != 0,
            })
        }
        // An enterprise and a type, a location, a media type behind its length, data.
        (Type::DOA, octets) => octets
            .get(9)
            .is_some_and(|len| octets.len() >= 10 + usize::from(*len)),
        (Type::ATMA | Type::A6, _) => false,
        _ => true,
    }
}
