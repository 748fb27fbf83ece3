//! SvcParams of SVCB and HTTPS records (RFC 9460, section 2.1 and Appendix A): from text in any order to wire form in key order.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::encoding::{self, Digits};
use crate::rdata::{Fault, Fields};

const MANDATORY: u16 = 0;
const ALPN: u16 = 1;
const NO_DEFAULT_ALPN: u16 = 2;
const PORT: u16 = 3;
const IPV4HINT: u16 = 4;
const ECH: u16 = 5;
const IPV6HINT: u16 = 6;
const DOHPATH: u16 = 7;
const OHTTP: u16 = 8;

const KEYS: [(&str, u16); 9] = [
    ("mandatory", MANDATORY),
    ("alpn", ALPN),
    ("no-default-alpn", NO_DEFAULT_ALPN),
    ("port", PORT),
    ("ipv4hint", IPV4HINT),
    ("ech", ECH),
    ("ipv6hint", IPV6HINT),
    ("dohpath", DOHPATH),
    ("ohttp", OHTTP),
];

fn key(text: &[u8]) -> Option<u16> {
    if let Some((_, code)) = KEYS
        .iter()
        .find(|(name, _)| name.as_bytes().eq_ignore_ascii_case(text))
    {
        return Some(*code);
    }
    let (word, digits) = text.split_at_checked(3)?;
    let plain = word.eq_ignore_ascii_case(b"key") && (digits == b"0" || !digits.starts_with(b"0"));
    plain
        .then(|| encoding::number(digits, 65_535))
        .flatten()
        .map(|n| n as u16)
}

/// Takes the parameters that are left.
pub(crate) fn read(fields: &mut Fields<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
    let mut params: Vec<(u16, Vec<u8>)> = Vec::new();
    while let Some(text) = fields.peek() {
        fields.next += 1;
        let (name, value) = match text.iter().position(|&octet| octet == b'=') {
            // `key="a b"`: the quoted string is a token of its own, right behind the word.
            Some(at) if at + 1 == text.len() => {
                let quoted = fields.glued();
                fields.next += usize::from(quoted.is_some());
                (&text[..at], Some(quoted.unwrap_or_default()))
            }
            Some(at) => (&text[..at], Some(&text[at + 1..])),
            None => (text, None),
        };
        let code = key(name).ok_or_else(|| fields.fault("unknown SvcParamKey"))?;
        // Under its number a key has octets as its value, whatever its presentation format (RFC 9460, section 2.1).
        let generic = KEYS
            .iter()
            .all(|(known, _)| !known.as_bytes().eq_ignore_ascii_case(name));
        if params.iter().any(|(other, _)| *other == code) {
            return Err(fields.fault("a SvcParamKey appears twice"));
        }
        let octets = read_value(code, value, generic).map_err(|why| fields.fault(why))?;
        if octets.len() > 65_535 {
            return Err(fields.fault("the value is longer than 65,535 octets"));
        }
        params.push((code, octets));
    }
    params.sort_unstable_by_key(|(code, _)| *code);
    for (code, value) in params {
        out.extend_from_slice(&code.to_be_bytes());
        out.extend_from_slice(&(value.len() as u16).to_be_bytes());
        out.extend_from_slice(&value);
    }
    Ok(())
}

fn read_value(code: u16, value: Option<&[u8]>, generic: bool) -> Result<Vec<u8>, &'static str> {
    let mut text = Vec::new();
    encoding::unescape(value.unwrap_or_default(), &mut text)
        .ok_or("a backslash escapes nothing")?;
    if generic {
        return Ok(text);
    }
    // These have nothing to escape, and most servers refuse it (RFC 9460, sections 7.2, 7.3 and 8).
    if matches!(code, MANDATORY | PORT | IPV4HINT | IPV6HINT | ECH)
        && value.is_some_and(|value| value.contains(&b'\\'))
    {
        return Err("this value takes no escapes");
    }
    let mut out = Vec::new();
    match code {
        NO_DEFAULT_ALPN | OHTTP if value.is_some_and(|v| !v.is_empty()) => {
            return Err("this SvcParamKey takes no value");
        }
        NO_DEFAULT_ALPN | OHTTP => return Ok(out),
        _ if value.is_none() && code <= DOHPATH => return Err("the value is missing"),
        MANDATORY => {
            let mut keys = Vec::new();
            for name in text.split(|&octet| octet == b',') {
                keys.push(key(name).ok_or("unknown SvcParamKey")?);
            }
            keys.sort_unstable();
            for code in keys {
                out.extend_from_slice(&code.to_be_bytes());
            }
        }
        ALPN => {
            for id in list(&text)? {
                out.push(
                    u8::try_from(id.len()).map_err(|_| "an ALPN ID is longer than 255 octets")?,
                );
                out.extend_from_slice(&id);
            }
        }
        PORT => {
            let port = encoding::number(&text, 65_535).ok_or("expected a port number")?;
            out.extend_from_slice(&(port as u16).to_be_bytes());
        }
        IPV4HINT => {
            for part in text.split(|&octet| octet == b',') {
                let address: Option<Ipv4Addr> =
                    std::str::from_utf8(part).ok().and_then(|t| t.parse().ok());
                out.extend_from_slice(&address.ok_or("expected IPv4 addresses")?.octets());
            }
        }
        IPV6HINT => {
            for part in text.split(|&octet| octet == b',') {
                let address: Option<Ipv6Addr> =
                    std::str::from_utf8(part).ok().and_then(|t| t.parse().ok());
                out.extend_from_slice(&address.ok_or("expected IPv6 addresses")?.octets());
            }
        }
        ECH => {
            let mut digits = Digits::default();
            digits
                .base64(&text, &mut out)
                .filter(|()| digits.whole(6))
                .ok_or("expected base64")?;
        }
        _ => return Ok(text),
    }
    Ok(out)
}

/// A comma-separated list, in which a backslash makes a comma or a backslash part of an item (RFC 9460, A.1).
fn list(text: &[u8]) -> Result<Vec<Vec<u8>>, &'static str> {
    let mut items = vec![Vec::new()];
    let mut octets = text.iter();
    while let Some(&octet) = octets.next() {
        match octet {
            b',' => items.push(Vec::new()),
            b'\\' => match octets.next() {
                Some(&next @ (b',' | b'\\')) => {
                    items.last_mut().into_iter().for_each(|i| i.push(next))
                }
                _ => return Err("a backslash in a list escapes a comma or a backslash"),
            },
            plain => items.last_mut().into_iter().for_each(|i| i.push(plain)),
        }
    }
    if items.iter().any(Vec::is_empty) {
        return Err("a list has an empty item");
    }
    Ok(items)
}

/// The next parameter: key, value, what stands behind it.
fn next(rest: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let code = wire::read_u16(rest, 0)?;
    let len = wire::read_u16(rest, 2)? as usize;
    Some((code, rest.get(4..4 + len)?, &rest[4 + len..]))
}

/// Whether octets are parameters in strictly increasing key order.
pub(crate) fn check(rdata: &[u8]) -> bool {
    let (mut rest, mut last) = (rdata, None);
    while !rest.is_empty() {
        let Some((code, _, behind)) = next(rest) else {
            return false;
        };
        if last.is_some_and(|last| last >= code) {
            return false;
        }
        last = Some(code);
        rest = behind;
    }
    true
}

/// Whether octets are a relative URI template with the variable `dns` (RFC 9461, section 5; RFC 6570, section 2).
fn is_path_of_dns(value: &[u8]) -> bool {
    let text = std::str::from_utf8(value).unwrap_or_default();
    let mut has_dns = false;
    let mut rest = text;
    while let Some((_, behind)) = rest.split_once('{') {
        let Some((expression, tail)) = behind.split_once('}') else {
            return false;
        };
        let operator = |letter: char| "+#./;?&".contains(letter);
        let list = expression.strip_prefix(operator).unwrap_or(expression);
        has_dns |= list.split(',').any(|variable| {
            let name = variable.strip_suffix('*').unwrap_or(variable);
            name.split(':').next() == Some("dns")
        });
        rest = tail;
    }
    text.starts_with('/') && has_dns
}

/// Holds well-formed parameters to the rules of their keys (RFC 9460, sections 7 and 8).
pub(crate) fn check_rules(params: &[u8]) -> Result<(), &'static str> {
    let present = |wanted: u16| {
        let mut rest = params;
        while let Some((code, _, behind)) = next(rest) {
            if code == wanted {
                return true;
            }
            rest = behind;
        }
        false
    };
    let mut rest = params;
    while let Some((code, value, behind)) = next(rest) {
        let ok = match code {
            MANDATORY => {
                let mut last = 0; // `mandatory` itself must not be listed
                for pair in value.chunks(2) {
                    let listed = wire::read_u16(pair, 0).unwrap_or_default();
                    if listed <= last {
                        return Err("`mandatory` lists a key twice, unsorted, or itself");
                    }
                    if !present(listed) {
                        return Err("a key that `mandatory` lists is not there");
                    }
                    last = listed;
                }
                !value.is_empty()
            }
            ALPN => {
                let mut ids = value;
                while let [len @ 1..=255, tail @ ..] = ids {
                    match tail.get(*len as usize..) {
                        Some(behind) => ids = behind,
                        None => break,
                    }
                }
                ids.is_empty() && !value.is_empty()
            }
            NO_DEFAULT_ALPN if !present(ALPN) => {
                return Err("`no-default-alpn` needs `alpn` (RFC 9460, section 7.1.1)");
            }
            NO_DEFAULT_ALPN | OHTTP => value.is_empty(),
            PORT => value.len() == 2,
            IPV4HINT => !value.is_empty() && value.len().is_multiple_of(4),
            IPV6HINT => !value.is_empty() && value.len().is_multiple_of(16),
            ECH => !value.is_empty(),
            DOHPATH => is_path_of_dns(value),
            _ => true,
        };
        if !ok {
            return Err("the value of a SvcParamKey is malformed");
        }
        rest = behind;
    }
    Ok(())
}
