//! Names of addresses in `in-addr.arpa` (RFC 1035, 3.5) and `ip6.arpa` (RFC 3596, 2.5).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use wire::{Name, Qname};

/// Whether a name, in lower case, is in one of the two trees: names there are those of addresses and of networks.
pub fn is_within(name: Name<'_>) -> bool {
    [&b"\x07in-addr\x04arpa\0"[..], b"\x03ip6\x04arpa\0"]
        .iter()
        .any(|tree| Name::new(tree).is_ok_and(|tree| name.is_within(tree)))
}

/// The address that a reverse name stands for: every label of it, in the one spelling that it has.
pub fn address(qname: &Qname) -> Option<IpAddr> {
    let mut labels = qname.name().labels();
    match qname.label_count() {
        6 if qname.suffix(4).octets() == b"\x07in-addr\x04arpa\0" => {
            let mut octets = [0; 4];
            for place in octets.iter_mut().rev() {
                *place = decimal(labels.next()?)?;
            }
            Some(Ipv4Addr::from(octets).into())
        }
        34 if qname.suffix(32).octets() == b"\x03ip6\x04arpa\0" => {
            let mut octets = [0; 16];
            for place in octets.iter_mut().rev() {
                let (low, high) = (nibble(labels.next()?)?, nibble(labels.next()?)?);
                *place = high << 4 | low;
            }
            Some(IpAddr::from(Ipv6Addr::from(octets)).to_canonical())
        }
        _ => None,
    }
}

/// 0 to 255 without leading zeros.
fn decimal(label: &[u8]) -> Option<u8> {
    if label.len() > 3 || label.is_empty() || (label.len() > 1 && label[0] == b'0') {
        return None;
    }
    let number = label.iter().try_fold(0u16, |number, octet| {
        octet
            .is_ascii_digit()
            .then(|| number * 10 + u16::from(octet - b'0'))
    })?;
    u8::try_from(number).ok()
}

/// One hexadecimal digit.
fn nibble(label: &[u8]) -> Option<u8> {
    match label {
        [digit @ b'0'..=b'9'] => Some(digit - b'0'),
        [digit @ b'a'..=b'f'] => Some(digit - b'a' + 10),
        _ => None,
    }
}
