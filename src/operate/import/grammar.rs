//! Small things that several formats have in common: addresses with ports, prefixes, words of a Corefile.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// Upstreams that `forward` takes.
pub(super) const MOST_UPSTREAMS: usize = 15;

/// A word of a Corefile, in quotes where it needs them.
pub(super) fn word(text: &str) -> String {
    let is_plain = |c: char| !c.is_whitespace() && !matches!(c, '"' | '#' | '{' | '}' | '\\');
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    // A regular expression has backslashes and nothing else that a Corefile reads.
    if !text.is_empty() && text.chars().all(|c| is_plain(c) || c == '\\') {
        return text.to_owned();
    }
    format!("\"{}\"", text.replace('"', "\\\""))
}

/// An upstream as `forward` takes it, from `ADDRESS`, `ADDRESS<separator>PORT`; an address may have brackets.
pub(super) fn upstream(text: &str, separator: char) -> Option<String> {
    let (address, port) = match text.split_once(separator) {
        Some((address, port)) => (address, Some(port.parse::<u16>().ok()?)),
        None => (text, None),
    };
    let bare = address.trim_start_matches('[').trim_end_matches(']');
    let address: IpAddr = bare.parse().ok()?;
    Some(match port {
        Some(port) if port != 53 => SocketAddr::new(address, port).to_string(),
        _ => address.to_string(),
    })
}

/// A prefix, or an address as one; the bits behind the prefix are cleared.
pub(super) fn prefix(text: &str) -> Option<(IpAddr, u8)> {
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, Some(length.parse::<u8>().ok()?)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let length = length.unwrap_or(most);
    if length > most {
        return None;
    }
    let cleared = match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
            IpAddr::V4((v4.to_bits() & mask).into())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask))
        }
    };
    Some((cleared, length))
}

/// A prefix as `acl` takes it.
pub(super) fn network((address, length): (IpAddr, u8)) -> String {
    format!("{address}/{length}")
}

/// Strings of a TXT record in presentation format; each has 255 octets at most.
pub(super) fn strings<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    let mut out = Vec::new();
    for text in texts {
        let octets = text.as_bytes();
        let mut pieces: Vec<&[u8]> = octets.chunks(255).collect();
        if pieces.is_empty() {
            pieces.push(&[]);
        }
        for piece in pieces {
            let mut quoted = String::from("\"");
            for octet in piece {
                match octet {
                    b'"' | b'\\' => quoted.push_str(&format!("\\{:03}", octet)),
                    0x20..0x7F => quoted.push(char::from(*octet)),
                    _ => quoted.push_str(&format!("\\{octet:03}")),
                }
            }
            quoted.push('"');
            out.push(quoted);
        }
    }
    out.join(" ")
}
