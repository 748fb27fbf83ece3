//! What networks, links and namespaces have in common: MTU, names of interfaces, what happens to packets, servers.

use std::net::{IpAddr, SocketAddr};

use corefile::Span;

use super::reader::{Reader, Value};
use super::{At, Dns, Kind, Spec, mistake};
use crate::shape::Shape;

/// Servers that resolvers read (glibc's MAXNS).
const SERVERS: usize = 3;
/// Servers that a network may name.
const UPSTREAMS: usize = 8;

impl Reader<'_> {
    /// The largest packet.
    pub(super) fn mtu(&mut self, value: &Value<'_>) -> Option<u32> {
        let span = self.span(value);
        let mtu = self.number(value, "mtu");
        if mtu.is_some_and(|mtu| !(68..=65_535).contains(&mtu)) {
            self.wrong("LAB0102", span, "an MTU is 68 to 65535", "");
        }
        mtu
    }

    /// How namespaces are on a network.
    pub(super) fn kind(&mut self, value: &Value<'_>) -> Kind {
        match self.string(value, "kind") {
            Some("bridge") | None => Kind::Bridge,
            Some("macvlan") => Kind::Macvlan,
            Some("ipvlan") => Kind::Ipvlan,
            Some(text) => {
                let known = ["bridge", "macvlan", "ipvlan"];
                self.choice(self.span(value), "kind", text, &known, "");
                Kind::Bridge
            }
        }
    }

    /// The number of a VLAN.
    pub(super) fn vlan(&mut self, value: &Value<'_>) -> Option<At<u16>> {
        let span = self.span(value);
        let number = self.number(value, "vlan")?;
        let value = u16::try_from(number).ok();
        let value = value.filter(|number| (1..=4_094).contains(number));
        if value.is_none() {
            self.wrong("LAB0102", span, "a VLAN is 1 to 4094", "");
        }
        Some(At {
            value: value?,
            span,
        })
    }

    /// The names of a link's two interfaces.
    pub(super) fn devices(&mut self, value: &Value<'_>) -> Vec<At<String>> {
        let devices = self.strings(value, "dev");
        if devices.len() != 2 {
            let message =
                "`dev` of a link names both interfaces, as in [\"veth-red\", \"veth-blue\"]";
            self.wrong("LAB0102", self.span(value), message, "");
        }
        for device in &devices {
            self.device(&device.value, device.span);
        }
        devices
    }

    /// A name that the kernel takes for an interface.
    pub(super) fn device(&mut self, name: &str, span: Span) {
        if ["lo", "all", "default"].contains(&name) {
            self.wrong(
                "LAB0101",
                span,
                format!("`{name}` has a meaning of its own among interfaces"),
                "",
            );
        } else {
            self.name(name, span, "an interface", 15);
        }
    }

    /// One key of what an interface does to what it sends.
    pub(super) fn shape(&mut self, key: &str, value: &Value<'_>, shape: &mut Shape) {
        let Some(text) = self.string(value, key) else {
            return;
        };
        let span = self.span(value);
        let (good, form) = match key {
            "delay" => (put(&mut shape.delay, time(text)), "a time, as in 20ms"),
            "jitter" => (put(&mut shape.jitter, time(text)), "a time, as in 5ms"),
            "loss" => (put(&mut shape.loss, share(text)), "a share, as in 1%"),
            "reorder" => (put(&mut shape.reorder, share(text)), "a share, as in 25%"),
            _ => (
                put(&mut shape.rate, rate(text)),
                "a rate, as in 10mbit: bit, kbit, mbit or gbit a second",
            ),
        };
        if !good {
            self.wrong("LAB0102", span, format!("`{text}` is not {form}"), "");
        }
    }

    /// What of it needs something else.
    pub(super) fn whole_shape(&mut self, shape: &Shape, span: Span) {
        for (key, given) in [
            ("jitter", shape.jitter.is_some()),
            ("reorder", shape.reorder.is_some()),
        ] {
            if given && shape.delay.is_none() {
                self.wrong("LAB0102", span, format!("`{key}` needs a `delay`"), "");
            }
        }
    }

    /// `upstream`: addresses, with a port where it is not 53.
    pub(super) fn upstreams(&mut self, value: &Value<'_>) -> Vec<At<SocketAddr>> {
        let mut found: Vec<At<SocketAddr>> = Vec::new();
        for At { value: text, span } in self.strings(value, "upstream") {
            let address = text.parse::<IpAddr>().map(|address| (address, 53).into());
            let Some(value) = address.ok().or_else(|| text.parse().ok()) else {
                let message = format!("`{text}` is not a server's address");
                let help = "write upstream = [\"192.0.2.53\", \"[2001:db8::53]:5353\"]";
                self.report
                    .push(mistake("LAB0102", message, span, "").help(help));
                continue;
            };
            if let Some(before) = found.iter().find(|other| other.value == value) {
                let message = format!("{value} is asked twice");
                let found = mistake("LAB0105", message, span, "");
                self.report.push(found.beside(before.span, "here as well"));
                continue;
            }
            found.push(At { value, span });
        }
        if found.len() > UPSTREAMS {
            let message = format!("a network has {UPSTREAMS} upstreams at most");
            self.wrong("LAB0107", self.span(value), message, "");
        }
        found
    }

    /// `dns` as a list: the server, and further ones.
    pub(super) fn servers(&mut self, value: &Value<'_>, spec: &mut Spec) {
        let words = self.strings(value, "dns");
        if words.len() > SERVERS {
            let message = format!("resolvers read {SERVERS} servers at most");
            self.wrong("LAB0107", self.span(value), message, "");
        }
        for (at, word) in words.iter().enumerate() {
            let address = word.value.parse::<IpAddr>().ok();
            match (at, word.value.as_str(), address) {
                (0, word @ ("bridge" | "inside"), _) => {
                    spec.dns = Dns::Bridge;
                    spec.inside = word == "inside";
                }
                (0, _, Some(address)) => spec.dns = Dns::Address(address),
                (_, _, Some(address)) => spec.servers.push(address),
                _ => {
                    let message = format!("`{}` is not a server's address", word.value);
                    let found = mistake("LAB0102", message, word.span, "");
                    self.report.push(
                        found.help("write dns = [\"bridge\", \"192.0.2.53\"], or addresses only"),
                    );
                }
            }
        }
    }
}

/// Puts a value where it belongs; whether there is one.
fn put<T>(place: &mut Option<T>, value: Option<T>) -> bool {
    *place = value;
    place.is_some()
}

/// A number and its unit.
fn with_unit(text: &str) -> Option<(f64, String)> {
    let at = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let number: f64 = text[..at].parse().ok()?;
    Some((number, text[at..].trim().to_ascii_lowercase()))
}

/// A time, in nanoseconds.
fn time(text: &str) -> Option<u64> {
    let (number, unit) = with_unit(text)?;
    let size = match unit.as_str() {
        "us" => 1e3,
        "ms" => 1e6,
        "s" => 1e9,
        _ => return None,
    };
    // Whole microseconds, as `tc` has them; an hour is more than a link takes.
    let microseconds = (number * size / 1e3).round() as u64;
    (microseconds > 0 && microseconds <= 3_600_000_000).then_some(microseconds * 1_000)
}

/// A percentage, in millionths.
fn share(text: &str) -> Option<u32> {
    let (number, unit) = with_unit(text)?;
    let millionths = (number * 10_000.0).round();
    (unit == "%" && (1.0..=1_000_000.0).contains(&millionths)).then_some(millionths as u32)
}

/// Bits a second; whole octets.
fn rate(text: &str) -> Option<u64> {
    let (number, unit) = with_unit(text)?;
    let size = match unit.as_str() {
        "bit" => 1.0,
        "kbit" => 1e3,
        "mbit" => 1e6,
        "gbit" => 1e9,
        _ => return None,
    };
    let bits = (number * size).round();
    (8.0..=1e12).contains(&bits).then_some(bits as u64 / 8 * 8)
}
