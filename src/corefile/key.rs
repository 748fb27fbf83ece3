//! What a server block serves: one key, `[SCHEME://]ZONE[:PORT]`, parsed and normalised.
//!
//! A CIDR prefix names reverse zones. One that does not end at a label's boundary (8 bits for IPv4, 4 for IPv6) stands
//! for several, at most 128 for IPv4 and 8 for IPv6, so an expansion is bounded by its form.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::diagnostic::{Diagnostic, nearest};
use crate::syntax::Token;

/// The transport that a server block listens on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scheme {
    /// Do53, over UDP and TCP.
    #[default]
    Dns,
    /// DNS over TLS.
    Tls,
    /// DNS over QUIC.
    Quic,
    /// DNS over gRPC.
    Grpc,
    /// DNS over HTTPS.
    Https,
    /// DNS over HTTP/3.
    Https3,
}

impl Scheme {
    /// Every scheme.
    pub const ALL: [Scheme; 6] = [
        Self::Dns,
        Self::Tls,
        Self::Quic,
        Self::Grpc,
        Self::Https,
        Self::Https3,
    ];

    /// As it is written before `://`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Tls => "tls",
            Self::Quic => "quic",
            Self::Grpc => "grpc",
            Self::Https => "https",
            Self::Https3 => "https3",
        }
    }

    /// The port where none is written; `-dns.port` replaces that of [`Scheme::Dns`].
    #[must_use]
    pub fn default_port(self) -> u16 {
        match self {
            Self::Dns => 53,
            Self::Tls | Self::Quic => 853,
            Self::Grpc | Self::Https | Self::Https3 => 443,
        }
    }
}

/// One key of a server block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The transport.
    pub scheme: Scheme,
    /// The zones: lower case, with the trailing dot; several where a CIDR key expands.
    pub zones: Vec<String>,
    /// The port, if one is written.
    pub port: Option<u16>,
    /// Whether the zone was written as a CIDR prefix.
    pub cidr: bool,
}

impl Key {
    /// Whether every zone has RFC 1035's preferred name syntax or is a reverse zone; CoreDNS warns at start where not.
    #[must_use]
    pub fn preferred_syntax(&self) -> bool {
        self.zones.iter().all(|zone| {
            zone == "."
                || zone.ends_with(".in-addr.arpa.")
                || zone.ends_with(".ip6.arpa.")
                || zone
                    .strip_suffix('.')
                    .is_some_and(|labels| labels.split('.').all(preferred_label))
        })
    }
}

/// A letter, then letters, digits and hyphens, the last no hyphen (RFC 1035, section 2.3.1).
fn preferred_label(label: &str) -> bool {
    label.starts_with(|c: char| c.is_ascii_alphabetic())
        && label.ends_with(|c: char| c.is_ascii_alphanumeric())
        && label
            .bytes()
            .all(|c| c.is_ascii_alphanumeric() || c == b'-')
}

/// Parses one key.
///
/// # Errors
/// What is wrong with it, at its place: CF0205 zone, CF0204 prefix, CF0209 port, CF0210 scheme.
pub fn parse(token: &Token) -> Result<Key, Diagnostic> {
    let text = token.text.as_str();
    let (scheme, rest) = split_scheme(token)?;
    let (name, port) = split_port(token, rest)?;
    if name.is_empty() {
        let diagnostic = Diagnostic::error(
            "CF0205",
            format!("zone is not a valid domain name: `{text}`"),
        )
        .at(token.span, "a zone is expected here");
        return Err(diagnostic.help("write `.` for every name"));
    }
    let zone = normalise(name).map_err(|why| not_a_zone(token, (scheme, name), why))?;
    let Some(prefix) = Prefix::parse(name) else {
        return Ok(Key {
            scheme,
            zones: vec![zone],
            port,
            cidr: false,
        });
    };
    if name.starts_with(':') || (name.starts_with('0') && name.contains(':')) {
        return Err(Diagnostic::error("CF0204", format!("invalid CIDR {name}"))
            .at(token.span, "an IPv6 prefix must not start with zeros")
            .help("write the reverse zone itself, such as `8.b.d.0.1.0.0.2.ip6.arpa`"));
    }
    Ok(Key {
        scheme,
        zones: prefix.reverse_zones(),
        port,
        cidr: true,
    })
}

/// The scheme and what follows it.
fn split_scheme(token: &Token) -> Result<(Scheme, &str), Diagnostic> {
    let Some((written, rest)) = token.text.split_once("://") else {
        return Ok((Scheme::Dns, &token.text));
    };
    if let Some(&scheme) = Scheme::ALL.iter().find(|scheme| scheme.name() == written) {
        return Ok((scheme, rest));
    }
    let diagnostic = Diagnostic::error("CF0210", format!("unknown scheme `{written}://`")).at(
        token.span,
        "expected `dns`, `tls`, `quic`, `grpc`, `https` or `https3`",
    );
    if written == "http" {
        return Err(diagnostic
            .help("DNS over UDP and TCP has no scheme")
            .replace(token.span, rest));
    }
    Err(match nearest(written, Scheme::ALL.map(Scheme::name)) {
        Some(near) => diagnostic
            .help("a similar scheme exists")
            .replace(token.span, format!("{near}://{rest}")),
        None => diagnostic,
    })
}

/// The zone and the port behind the last colon; a colon that no number follows belongs to the zone.
fn split_port<'a>(token: &Token, text: &'a str) -> Result<(&'a str, Option<u16>), Diagnostic> {
    let Some((name, digits)) = text.rsplit_once(':') else {
        return Ok((text, None));
    };
    if digits.is_empty() {
        return Err(Diagnostic::error(
            "CF0209",
            format!("expecting data after last colon: `{text}`"),
        )
        .at(token.span, "the port is missing")
        .help("write the port, or drop the colon"));
    }
    let unsigned = digits.strip_prefix(['+', '-']).unwrap_or(digits);
    if unsigned.is_empty() || !unsigned.bytes().all(|c| c.is_ascii_digit()) {
        return Ok((text, None));
    }
    match digits.parse::<u16>() {
        Ok(port) => Ok((name, Some(port))),
        Err(_) => Err(
            Diagnostic::error("CF0209", format!("no such port: `{digits}`"))
                .at(token.span, "expected a port from 0 to 65535"),
        ),
    }
}

/// What stands behind the last colon of a zone and is no port, and what it looks like.
pub(crate) fn no_port(name: &str) -> Option<(&str, NoPort)> {
    let (zone, behind) = name.rsplit_once(':')?;
    if Prefix::parse(name).is_some() || zone.contains(':') {
        return None;
    }
    Some(match behind.split_once('/') {
        Some((port, _)) if port.parse::<u16>().is_ok() => (&behind[port.len()..], NoPort::Path),
        _ => (behind, NoPort::Word),
    })
}

/// What stands where a port is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoPort {
    /// A port, and a path as URLs have it.
    Path,
    /// No number.
    Word,
}

/// Why a word is no zone: where it has a port that is none, or a path, that is why.
fn not_a_zone(token: &Token, (scheme, name): (Scheme, &str), why: &str) -> Diagnostic {
    let invalid = |why: &str| {
        let text = format!("zone is not a valid domain name: `{name}`");
        Diagnostic::error("CF0205", text).at(token.span, why)
    };
    match no_port(name) {
        Some((path, NoPort::Path)) => without_path(invalid("a key has no path"), token, path),
        Some((port, NoPort::Word)) => {
            Diagnostic::error("CF0209", format!("no such port: `{port}`")).at(
                token.span,
                "expected a number from 0 to 65535 after the colon",
            )
        }
        // Without a port, a path follows the zone.
        None if scheme != Scheme::Dns && name.contains('/') => {
            let path = name.find('/').map_or("", |at| &name[at..]);
            without_path(invalid("a key has no path"), token, path)
        }
        None => invalid(why),
    }
}

/// The same, with the path to be dropped.
pub(crate) fn without_path(diagnostic: Diagnostic, token: &Token, path: &str) -> Diagnostic {
    match token.text.strip_suffix(path) {
        Some(rest) => diagnostic
            .help("write the zone and the port only: clients find the service at `/dns-query`")
            .replace(token.span, rest),
        None => diagnostic,
    }
}

/// A name in lower case with its trailing dot, or why it is none (RFC 1035, section 3.1).
pub(crate) fn normalise(name: &str) -> Result<String, &'static str> {
    if name.is_empty() {
        return Err("an empty word is not a name; the root is `.`");
    }
    let octets = name.as_bytes();
    if octets.len() > 255 {
        return Err("a name has at most 255 octets");
    }
    // Walks the labels once; an escape (`\.` or `\046`) is one octet of a label.
    let (mut at, mut label, mut total, mut open) = (0, 0, 1, false);
    while at < octets.len() {
        match octets[at] {
            b'.' if octets.len() == 1 => {}
            b'.' if label == 0 => {
                return Err("a label is empty: two dots in a row, or one at the start");
            }
            b'.' => {
                total += label + 1;
                (label, open) = (0, false);
            }
            b'\\' => {
                let decimal = octets
                    .get(at + 1..at + 4)
                    .is_some_and(|three| three.iter().all(u8::is_ascii_digit));
                at += if decimal { 3 } else { 1 };
                (label, open) = (label + 1, true);
            }
            _ => (label, open) = (label + 1, true),
        }
        if label > 63 {
            return Err("a label has at most 63 octets");
        }
        at += 1;
    }
    if total + label + usize::from(open) > 255 {
        return Err("a name has at most 255 octets");
    }
    let mut zone = name.to_lowercase();
    if open {
        zone.push('.');
    }
    Ok(zone)
}

/// The mistake of arguments that stand for more zones than are sensible.
pub(crate) fn too_many(token: &Token) -> Diagnostic {
    Diagnostic::error(
        "CF0206",
        format!(
            "the prefixes stand for more than {} zones",
            crate::value::ZONES_LIMIT
        ),
    )
    .at(token.span, "too many with this one")
    .help("write prefixes that end at a label: /8, /16 or /24 for IPv4, a multiple of 4 for IPv6")
}

/// An address prefix; its host bits are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Prefix {
    /// The first address.
    pub address: IpAddr,
    /// How many bits count.
    pub bits: u8,
}

impl Prefix {
    /// Reads `ADDRESS/BITS`; host bits are cleared.
    #[must_use]
    pub fn parse(text: &str) -> Option<Prefix> {
        let (address, bits) = text.split_once('/')?;
        if bits.is_empty() || bits.len() > 3 || !bits.bytes().all(|c| c.is_ascii_digit()) {
            return None;
        }
        let bits: u8 = bits.parse().ok()?;
        match address.parse::<IpAddr>().ok()? {
            IpAddr::V4(address) if bits <= 32 => {
                let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
                Some(Prefix {
                    address: Ipv4Addr::from(u32::from(address) & mask).into(),
                    bits,
                })
            }
            IpAddr::V6(address) if bits <= 128 => {
                let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
                Some(Prefix {
                    address: Ipv6Addr::from(u128::from(address) & mask).into(),
                    bits,
                })
            }
            _ => None,
        }
    }

    /// The prefix that holds one address alone.
    #[must_use]
    pub fn host(address: IpAddr) -> Prefix {
        Prefix {
            address,
            bits: if address.is_ipv4() { 32 } else { 128 },
        }
    }

    /// Whether an address lies within; families do not mix.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                (u32::from(own) ^ u32::from(other))
                    .checked_shr(32 - u32::from(self.bits))
                    .unwrap_or(0)
                    == 0
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                (u128::from(own) ^ u128::from(other))
                    .checked_shr(128 - u32::from(self.bits))
                    .unwrap_or(0)
                    == 0
            }
            _ => false,
        }
    }

    /// The reverse zones that together hold exactly this prefix, in address order: at most 128.
    #[must_use]
    pub fn reverse_zones(&self) -> Vec<String> {
        match self.address {
            IpAddr::V4(address) => {
                let labels = self.bits.div_ceil(8);
                let count = 1u32 << (labels * 8 - self.bits);
                let step = 32 - u32::from(labels) * 8;
                let zone = |index: u32| {
                    let octets =
                        (u32::from(address) | index.checked_shl(step).unwrap_or(0)).to_be_bytes();
                    let labels = octets[..usize::from(labels)].iter().rev();
                    labels.map(|octet| format!("{octet}.")).collect::<String>() + "in-addr.arpa."
                };
                (0..count).map(zone).collect()
            }
            IpAddr::V6(address) => {
                let labels = u32::from(self.bits.div_ceil(4));
                let count = 1u128 << (labels * 4 - u32::from(self.bits));
                let zone = |index: u128| {
                    let number =
                        u128::from(address) | index.checked_shl(128 - labels * 4).unwrap_or(0);
                    let labels = (0..labels)
                        .rev()
                        .map(|label| (number >> (124 - label * 4)) & 0xF);
                    labels
                        .map(|nibble| format!("{nibble:x}."))
                        .collect::<String>()
                        + "ip6.arpa."
                };
                (0..count).map(zone).collect()
            }
        }
    }
}

#[cfg(test)]
#[path = "key_tests.rs"]
mod tests;
