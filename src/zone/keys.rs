//! Names of fields of keys and digests: what BIND writes for the numbers in KEY, DNSKEY, DS and DSYNC records.

use crate::encoding;

/// Flags of a key, each with the bits that it decides (RFC 2535, section 3.1.2; `KSK` is RFC 4034's secure entry point).
const FLAGS: [(&str, u16, u16); 33] = [
    ("NOCONF", 0x4000, 0xC000),
    ("NOAUTH", 0x8000, 0xC000),
    ("NOKEY", 0xC000, 0xC000),
    ("FLAG2", 0x2000, 0x2000),
    ("EXTEND", 0x1000, 0x1000),
    ("FLAG4", 0x0800, 0x0800),
    ("FLAG5", 0x0400, 0x0400),
    ("USER", 0x0000, 0x0300),
    ("ZONE", 0x0100, 0x0300),
    ("HOST", 0x0200, 0x0300),
    ("NTYP3", 0x0300, 0x0300),
    ("FLAG8", 0x0080, 0x0080),
    ("FLAG9", 0x0040, 0x0040),
    ("FLAG10", 0x0020, 0x0020),
    ("FLAG11", 0x0010, 0x0010),
    ("SIG0", 0, 0x000F),
    ("SIG1", 1, 0x000F),
    ("SIG2", 2, 0x000F),
    ("SIG3", 3, 0x000F),
    ("SIG4", 4, 0x000F),
    ("SIG5", 5, 0x000F),
    ("SIG6", 6, 0x000F),
    ("SIG7", 7, 0x000F),
    ("SIG8", 8, 0x000F),
    ("SIG9", 9, 0x000F),
    ("SIG10", 10, 0x000F),
    ("SIG11", 11, 0x000F),
    ("SIG12", 12, 0x000F),
    ("SIG13", 13, 0x000F),
    ("SIG14", 14, 0x000F),
    ("SIG15", 15, 0x000F),
    ("KSK", 0x0001, 0x0001),
    ("SEP", 0x0001, 0x0001),
];

/// Protocols of a key (RFC 2535, section 3.1.3).
const PROTOCOLS: [(&str, u8); 6] = [
    ("NONE", 0),
    ("TLS", 1),
    ("EMAIL", 2),
    ("DNSSEC", 3),
    ("IPSEC", 4),
    ("ALL", 255),
];

/// Digest types of DS records.
const DIGESTS: [(&str, u8); 7] = [
    ("SHA1", 1),
    ("SHA-1", 1),
    ("SHA256", 2),
    ("SHA-256", 2),
    ("GOST", 3),
    ("SHA384", 4),
    ("SHA-384", 4),
];

/// The flags of a key: a number, or names with `|` between them, none of which decides what another one has decided.
pub(crate) fn flags(text: &[u8]) -> Option<u16> {
    if let Some(number) = encoding::number(text, 65_535) {
        return Some(number as u16);
    }
    if let Some(digits) = text.strip_prefix(b"0x").or(text.strip_prefix(b"0X")) {
        let digits = std::str::from_utf8(digits).ok()?;
        let plain = digits.bytes().all(|octet| octet.is_ascii_hexdigit());
        return plain.then(|| u16::from_str_radix(digits, 16).ok())?;
    }
    let (mut value, mut decided) = (0, 0);
    for name in text.split(|&octet| octet == b'|') {
        let (_, bits, mask) = FLAGS
            .iter()
            .find(|(known, ..)| known.as_bytes().eq_ignore_ascii_case(name))?;
        if decided & mask != 0 {
            return None;
        }
        value |= bits;
        decided |= mask;
    }
    Some(value)
}

/// Whether the flags that `rdata` begins with say that there is no key.
pub(crate) fn is_absent(rdata: &[u8]) -> bool {
    rdata.first().is_some_and(|octet| octet & 0xC0 == 0xC0)
}

/// The protocol of a key.
pub(crate) fn protocol(text: &[u8]) -> Option<u8> {
    number_or(&PROTOCOLS, text)
}

/// A digest type of a DS record.
pub(crate) fn digest_type(text: &[u8]) -> Option<u8> {
    number_or(&DIGESTS, text)
}

/// A scheme of a DSYNC record (RFC 9859, section 2.1).
pub(crate) fn scheme(text: &[u8]) -> Option<u8> {
    number_or(&[("NOTIFY", 1)], text)
}

fn number_or(names: &[(&str, u8)], text: &[u8]) -> Option<u8> {
    let named = || {
        let found = names
            .iter()
            .find(|(name, _)| name.as_bytes().eq_ignore_ascii_case(text));
        found.map(|&(_, number)| number)
    };
    encoding::number(text, 255)
        .map(|number| number as u8)
        .or_else(named)
}
