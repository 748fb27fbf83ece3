//! Records whose later fields depend on earlier ones: IPSECKEY (RFC 4025), AMTRELAY (RFC 8777), HIP (RFC 8005), APL (RFC 3123).

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::encoding::Digits;
use crate::rdata::{Fault, Fields, algorithm, name_len};

fn address4(text: &[u8]) -> Option<Ipv4Addr> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn address6(text: &[u8]) -> Option<Ipv6Addr> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Takes a gateway of the given kind: none, IPv4, IPv6 or a name.
fn gateway(kind: u8, fields: &mut Fields<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
    if kind == 3 {
        let name = fields.name()?;
        out.extend_from_slice(name.as_name().octets());
        return Ok(());
    }
    let text = fields.take("a gateway")?;
    match kind {
        0 if text == b"." => {}
        1 => {
            let address = address4(text).ok_or_else(|| fields.fault("expected an IPv4 address"))?;
            out.extend_from_slice(&address.octets());
        }
        2 => {
            let address = address6(text).ok_or_else(|| fields.fault("expected an IPv6 address"))?;
            out.extend_from_slice(&address.octets());
        }
        _ => return Err(fields.fault("expected `.` for no gateway")),
    }
    Ok(())
}

/// Takes the base64 that is left, if any.
fn key(fields: &mut Fields<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
    let mut digits = Digits::default();
    while let Some(text) = fields.peek() {
        fields.next += 1;
        digits
            .base64(text, out)
            .ok_or_else(|| fields.fault("this is not base64"))?;
    }
    if digits.whole(6) {
        Ok(())
    } else {
        Err(fields.fault("base64 is cut short"))
    }
}

/// Takes an IPSECKEY record: precedence, gateway type, algorithm, gateway, key.
pub(crate) fn read_ipseckey(fields: &mut Fields<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
    out.push(fields.number(255)? as u8);
    let kind = fields.number(3)? as u8;
    out.push(kind);
    let text = fields.take("an algorithm")?;
    out.push(algorithm(text).ok_or_else(|| fields.fault("unknown algorithm"))?);
    gateway(kind, fields, out)?;
    key(fields, out)
}

/// Takes an AMTRELAY record: precedence, D bit, relay type, relay.
pub(crate) fn read_amtrelay(fields: &mut Fields<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
    out.push(fields.number(255)? as u8);
    let discovery = fields.number(1)? as u8;
    let kind = fields.number(3)? as u8;
    out.push(discovery << 7 | kind);
    gateway(kind, fields, out)
}

/// Whether `rdata` holds, `head` octets in, a gateway whose kind stands at `kind_at`; only an IPSECKEY has octets behind it. A relay of a
/// kind that nobody knows may be any octets (RFC 8777, section 4.2.4).
pub(crate) fn check_gateway(rdata: &[u8], kind_at: usize, head: usize) -> bool {
    let Some(rest) = rdata.get(head..) else {
        return false;
    };
    let len = match rdata[kind_at] & 0x7F {
        0 => Some(0),
        1 => Some(4),
        2 => Some(16),
        3 => name_len(rest),
        _ if head == 2 => Some(rest.len()),
        _ => None,
    };
    len.is_some_and(|len| len == rest.len() || (head == 3 && len < rest.len()))
}

/// Takes a HIP record: algorithm, HIT, key, rendezvous servers.
pub(crate) fn read_hip(fields: &mut Fields<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
    let algorithm = fields.number(255)? as u8;
    let (mut digits, mut hit) = (Digits::default(), Vec::new());
    let text = fields.take("a HIT")?;
    digits
        .hex(text, &mut hit)
        .filter(|()| digits.whole(4) && !hit.is_empty() && hit.len() < 256)
        .ok_or_else(|| fields.fault("expected a HIT in hexadecimal"))?;
    let (mut digits, mut key) = (Digits::default(), Vec::new());
    let text = fields.take("a key")?;
    digits
        .base64(text, &mut key)
        .filter(|()| digits.whole(6) && !key.is_empty() && key.len() < 65_536)
        .ok_or_else(|| fields.fault("expected a key in base64"))?;
    out.push(hit.len() as u8);
    out.push(algorithm);
    out.extend_from_slice(&(key.len() as u16).to_be_bytes());
    out.extend_from_slice(&hit);
    out.extend_from_slice(&key);
    while fields.peek().is_some() {
        let name = fields.name()?;
        out.extend_from_slice(name.as_name().octets());
    }
    Ok(())
}

/// Whether `rdata` is a HIP record.
pub(crate) fn check_hip(rdata: &[u8]) -> bool {
    let [hit, _, k0, k1, rest @ ..] = rdata else {
        return false;
    };
    let key = u16::from_be_bytes([*k0, *k1]) as usize;
    let Some(mut names) = rest.get(*hit as usize + key..) else {
        return false;
    };
    while !names.is_empty() {
        match name_len(names) {
            Some(len) => names = &names[len..],
            None => return false,
        }
    }
    *hit > 0 && key > 0
}

/// Takes address prefixes: `[!]family:address/length`.
pub(crate) fn read_prefixes(fields: &mut Fields<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
    while let Some(text) = fields.peek() {
        fields.next += 1;
        prefix(text, out).ok_or_else(|| fields.fault("expected [!]family:address/length"))?;
    }
    Ok(())
}

fn prefix(text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let (negated, text) = match text {
        [b'!', rest @ ..] => (0x80, rest),
        _ => (0, text),
    };
    let colon = text.iter().position(|&o| o == b':')?;
    let slash = text.iter().rposition(|&o| o == b'/')?;
    let address = text.get(colon + 1..slash)?;
    let (family, octets, most) = match &text[..colon] {
        b"1" => (1u16, address4(address)?.octets().to_vec(), 32),
        b"2" => (2u16, address6(address)?.octets().to_vec(), 128),
        _ => return None,
    };
    let length = crate::encoding::number(&text[slash + 1..], most)? as u8;
    let kept = octets.len() - octets.iter().rev().take_while(|&&o| o == 0).count();
    out.extend_from_slice(&family.to_be_bytes());
    out.extend_from_slice(&[length, negated | kept as u8]);
    out.extend_from_slice(&octets[..kept]);
    Some(())
}

/// Whether `rdata` is a list of address prefixes.
pub(crate) fn check_prefixes(rdata: &[u8]) -> bool {
    let mut rest = rdata;
    while let [f0, f1, length, head, tail @ ..] = rest {
        let kept = (head & 0x7F) as usize;
        let most = match (f0, f1) {
            (0, 1) => 4,
            (0, 2) => 16,
            _ => 127,
        };
        let Some(address) = tail.get(..kept) else {
            return false;
        };
        if kept > most || (most < 127 && *length as usize > 8 * most) || address.last() == Some(&0)
        {
            return false;
        }
        rest = &tail[kept..];
    }
    rest.is_empty()
}
