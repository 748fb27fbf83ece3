//! SkyDNS's messages: the value of a key, as a service that is ready to be written.
//!
//! Values are read as Go's encoding/json reads them into SkyDNS's structure, since that is what writers have tried them with: members
//! are known by their names in any case, those that mean nothing are skipped, and `null` is nothing. What does not fit is a mistake of
//! this value alone.

use std::net::IpAddr;
use std::sync::Arc;

use serde_json::{Map, Value};
use wire::{Name, NameBuf};

use super::lease::Lease;

/// The TTL of records that say nothing of it.
const TTL: u32 = 300;
/// The priority of services that say nothing of it.
const PRIORITY: u16 = 10;
/// The octets of one string of a TXT record (RFC 1035, 3.3).
const STRING: usize = 255;

/// What a service leads to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Host {
    /// Nothing: it is a text.
    None,
    /// An address.
    Address(IpAddr),
    /// A name, in wire form and the case that it is written in.
    Name(Box<[u8]>),
}

/// A service.
#[derive(Debug)]
pub(super) struct Service {
    /// Where it is.
    pub(super) host: Host,
    /// The RDATA of its TXT record; empty for none.
    pub(super) text: Box<[u8]>,
    /// The port; `None` gives no SRV record.
    pub(super) port: Option<u16>,
    /// The priority of SRV, the preference of MX.
    pub(super) priority: u16,
    /// The share of traffic among services of one priority; 0 for what the others leave.
    pub(super) weight: u32,
    /// Whether it takes mail.
    pub(super) mail: bool,
    /// The target of SRV, MX and NS records, in wire form; `None` where the key is no name.
    pub(super) target: Option<Box<[u8]>>,
    /// Which services are answered with.
    pub(super) group: Box<str>,
    /// How many slashes the key has.
    pub(super) depth: usize,
    /// The TTL that the value asks for; 0 for none.
    ttl: u32,
    lease: Option<Arc<Lease>>,
}

impl Service {
    /// Reads a value. `domain` is the name that the key stands for.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn read(
        value: &[u8],
        domain: Option<NameBuf>,
        depth: usize,
        lease: Option<Arc<Lease>>,
    ) -> Result<Self, String> {
        let members: Map<String, Value> =
            serde_json::from_slice(value).map_err(|error| format!("not a JSON object: {error}"))?;
        let mut service = Self {
            host: Host::None,
            text: Box::default(),
            port: Some(0),
            priority: PRIORITY,
            weight: 0,
            mail: false,
            target: None,
            group: Box::default(),
            depth,
            ttl: 0,
            lease,
        };
        let mut strip = 0;
        for (name, value) in &members {
            if value.is_null() {
                continue;
            }
            match name.to_ascii_lowercase().as_str() {
                "host" => service.host = host(text(name, value)?)?,
                "text" => service.text = strings(text(name, value)?.as_bytes()),
                "port" => {
                    let port = number(name, value, -1..=65_535)?;
                    service.port = u16::try_from(port).ok();
                }
                "priority" => {
                    let priority = number(name, value, 0..=65_535)? as u16;
                    service.priority = if priority == 0 { PRIORITY } else { priority };
                }
                "weight" => service.weight = number(name, value, 0..=1_000_000_000)? as u32,
                "ttl" => service.ttl = number(name, value, 0..=i64::from(i32::MAX))? as u32,
                "targetstrip" => strip = number(name, value, 0..=i64::from(i32::MAX))? as usize,
                "mail" => {
                    let wrong = || format!("\"{name}\" is neither true nor false: {value}");
                    service.mail = value.as_bool().ok_or_else(wrong)?;
                }
                "group" => service.group = text(name, value)?.into(),
                _ => {}
            }
        }
        let target = match &service.host {
            Host::None => None,
            Host::Address(_) => domain,
            Host::Name(name) => Some(NameBuf::from_name(Name::from_checked(name))),
        };
        service.target = target.map(|target| stripped(target.as_name(), strip).octets().into());
        Ok(service)
    }

    /// The TTL of its records at a time ([`host::clock`]).
    #[inline]
    pub(super) fn ttl(&self, now: u64) -> u32 {
        match (&self.lease, self.ttl) {
            (None, 0) => TTL,
            (None, ttl) => ttl,
            (Some(lease), 0) => lease.ttl(now),
            (Some(lease), ttl) => ttl.min(lease.ttl(now)),
        }
    }

    /// Whether its TTL changes as time goes by.
    pub(super) fn is_leased(&self) -> bool {
        self.lease.is_some()
    }

    /// The target of SRV, MX and NS records.
    pub(super) fn target(&self) -> Option<Name<'_>> {
        self.target.as_deref().map(Name::from_checked)
    }

    /// The name that stands for it: what has a text as well is a text, as CoreDNS has it.
    pub(super) fn alias(&self) -> Option<Name<'_>> {
        match &self.host {
            Host::Name(name) if self.text.is_empty() => Some(Name::from_checked(name)),
            _ => None,
        }
    }

    /// Its address.
    pub(super) fn address(&self) -> Option<IpAddr> {
        match self.host {
            Host::Address(address) => Some(address),
            _ => None,
        }
    }
}

/// An address as Go's net.ParseIP reads it, or a name.
fn host(text: &str) -> Result<Host, String> {
    if text.is_empty() {
        return Ok(Host::None);
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(Host::Address(address.to_canonical()));
    }
    match NameBuf::parse(text, Name::ROOT) {
        Ok(name) => Ok(Host::Name(name.as_name().octets().into())),
        Err(why) => Err(format!("\"host\" is neither an address nor a name: {why}")),
    }
}

/// The name without so many labels; all of it when it has no more, as CoreDNS has it.
fn stripped(name: Name<'_>, strip: usize) -> Name<'_> {
    let mut rest = name;
    for _ in 0..strip {
        match rest.parent() {
            Some(parent) if !parent.is_root() => rest = parent,
            _ => return name,
        }
    }
    rest
}

/// The strings of a TXT record.
fn strings(text: &[u8]) -> Box<[u8]> {
    let mut out = Vec::with_capacity(text.len() + 1 + text.len() / STRING);
    for string in text.chunks(STRING) {
        out.push(string.len() as u8);
        out.extend_from_slice(string);
    }
    // RDATA has no more; a message would not, either.
    if out.len() > usize::from(u16::MAX) {
        out.truncate(256 * 255);
    }
    out.into()
}

fn text<'a>(name: &str, value: &'a Value) -> Result<&'a str, String> {
    value
        .as_str()
        .ok_or_else(|| format!("\"{name}\" is not a string: {value}"))
}

fn number(name: &str, value: &Value, range: std::ops::RangeInclusive<i64>) -> Result<i64, String> {
    match value.as_i64() {
        Some(number) if range.contains(&number) => Ok(number),
        Some(number) => Err(format!(
            "\"{name}\" is not within {} and {}: {number}",
            range.start(),
            range.end()
        )),
        None => Err(format!("\"{name}\" is not a whole number: {value}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &str) -> Result<Service, String> {
        let domain = "a.b.example.org".parse().ok();
        Service::read(value.as_bytes(), domain, 4, None)
    }

    #[test]
    fn values_are_read_as_go_reads_them() {
        // (value, host, port, priority, TTL)
        let cases = [
            (r#"{"host":"192.0.2.1"}"#, "192.0.2.1", 0, 10, 300),
            (
                r#"{"Host":"192.0.2.1","PORT":80,"x":[1]}"#,
                "192.0.2.1",
                80,
                10,
                300,
            ),
            (
                r#"{"host":"::ffff:192.0.2.1","priority":0}"#,
                "192.0.2.1",
                0,
                10,
                300,
            ),
            (
                r#"{"host":"2001:db8::1","priority":5,"ttl":60}"#,
                "2001:db8::1",
                0,
                5,
                60,
            ),
            (
                r#"{"host":"www.example.net","ttl":null}"#,
                "www.example.net.",
                0,
                10,
                300,
            ),
            (r#"{"host":"","text":"x"}"#, "", 0, 10, 300),
        ];
        for (value, host, port, priority, ttl) in cases {
            let service = read(value).expect(value);
            let found = match &service.host {
                Host::None => String::new(),
                Host::Address(address) => address.to_string(),
                Host::Name(name) => Name::from_checked(name).to_string(),
            };
            assert_eq!(found, host, "{value}");
            assert_eq!(
                (service.port, service.priority, service.ttl(0)),
                (Some(port), priority, ttl),
                "{value}"
            );
        }
    }

    #[test]
    fn a_mistake_is_told_by_its_member() {
        let cases = [
            ("", "not a JSON object"),
            ("[]", "not a JSON object"),
            (
                r#"{"host":"192.0.2.1","ttl":"60"}"#,
                "\"ttl\" is not a whole number",
            ),
            (
                r#"{"host":"192.0.2.1","ttl":1.5}"#,
                "\"ttl\" is not a whole number",
            ),
            (
                r#"{"host":"192.0.2.1","port":70000}"#,
                "\"port\" is not within",
            ),
            (r#"{"host":7}"#, "\"host\" is not a string"),
            (
                r#"{"host":"a..b"}"#,
                "\"host\" is neither an address nor a name",
            ),
            (
                r#"{"host":"192.0.2.1","mail":"yes"}"#,
                "\"mail\" is neither",
            ),
        ];
        for (value, expected) in cases {
            let why = read(value).map(|_| ()).expect_err(value);
            assert!(why.contains(expected), "{value}: {why}");
        }
    }

    #[test]
    fn labels_are_stripped_as_long_as_one_is_left() {
        for (strip, target) in [
            (0, "a.b.example.org."),
            (1, "b.example.org."),
            (3, "org."),
            (4, "a.b.example.org."),
        ] {
            let value = format!(r#"{{"host":"192.0.2.1","targetstrip":{strip}}}"#);
            let service = read(&value).expect("a service");
            let found = service.target().map(|target| target.to_string());
            assert_eq!(found.as_deref(), Some(target), "{strip}");
        }
    }

    #[test]
    fn a_long_text_has_many_strings() {
        let text = "0".repeat(400);
        let service = read(&format!(r#"{{"text":"{text}"}}"#)).expect("a service");
        assert_eq!(service.text.len(), 402);
        assert_eq!((service.text[0], service.text[256]), (255, 145));
        let full = read(&format!(r#"{{"text":"{}"}}"#, "0".repeat(255))).expect("a service");
        assert_eq!(full.text.len(), 256);
    }
}
