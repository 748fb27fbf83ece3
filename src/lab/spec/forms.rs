//! The short forms inside strings: port forwards, routes, ranges of names, MAC addresses, and what is picked by default.

use std::collections::HashSet;
use std::net::IpAddr;

use corefile::Span;
use ipnet::IpNet;

use super::reader::is_name;
use super::{At, Destination, Forward, Protocol, RouteSpec, Space, Spec, subnet_address};

/// Ports that one range may expand to.
const RANGE_LIMIT: u16 = 256;
/// Namespaces that one range may expand to.
const SPACES_LIMIT: usize = 10_000;

/// A name as one DNS label: what a host name may not hold becomes `-`.
pub(crate) fn label(name: &str) -> String {
    name.chars()
        .map(|c| match c {
            '_' | '.' => '-',
            c => c.to_ascii_lowercase(),
        })
        .collect()
}

/// By namespace, the name that those get beside their own who cannot or will not write `_`.
pub(super) fn dashed(spec: &Spec) -> Vec<Option<String>> {
    let special = |name: &str| name.contains(['_', '.']);
    if !spec.spaces.iter().any(|space| special(&space.name.value)) {
        return vec![None; spec.spaces.len()];
    }
    let of_spaces = spec
        .spaces
        .iter()
        .flat_map(|space| std::iter::once(&space.name).chain(&space.alias));
    let of_others = spec.records.iter().map(|record| &record.owner);
    let of_others = of_others.chain(spec.services.iter().map(|service| &service.name));
    let mut taken: HashSet<String> = of_spaces
        .chain(of_others)
        .map(|name| name.value.to_ascii_lowercase())
        .collect();
    let dashed = |space: &Space| {
        let name = label(&space.name.value);
        (special(&space.name.value) && taken.insert(name.clone())).then_some(name)
    };
    spec.spaces.iter().map(dashed).collect()
}

/// Whether it is a domain of sane labels.
pub(super) fn is_domain(text: &str) -> bool {
    text.len() <= 253
        && text.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label
                    .bytes()
                    .all(|c| c.is_ascii_alphanumeric() || c == b'-' || c == b'_')
        })
}

/// Networks without a subnet get the next free /24 of 10.201.0.0/16, in the file's order.
pub(super) fn pick_subnets(spec: &mut Spec) {
    let mut taken: Vec<IpNet> = spec
        .nets
        .iter()
        .flat_map(|net| &net.subnets)
        .chain(spec.links.iter().flat_map(|link| &link.subnets))
        .map(|subnet| subnet.value)
        .collect();
    let Ok(pool) = "10.201.0.0/16".parse::<IpNet>() else {
        return;
    };
    for net in spec.nets.iter_mut().filter(|net| net.subnets.is_empty()) {
        let free = (0..256u128)
            .filter_map(|third| IpNet::new(subnet_address(pool, third << 8)?, 24).ok())
            .find(|subnet| !taken.iter().any(|other| overlap(other, subnet)));
        if let Some(value) = free {
            taken.push(value);
            net.subnets.push(At {
                value,
                span: net.name.span,
            });
        }
    }
}

/// Whether two subnets have an address in common.
pub(crate) fn overlap(one: &IpNet, other: &IpNet) -> bool {
    one.contains(other) || other.contains(one)
}

/// `h[001-200]` as two hundred names; a name without brackets as itself.
pub(super) fn expand(key: &str) -> Result<Vec<String>, &'static str> {
    let Some((before, rest)) = key.split_once('[') else {
        return Ok(vec![key.to_owned()]);
    };
    let (range, after) = rest.split_once(']').ok_or("`]` is missing")?;
    let (from, to) = range.split_once('-').ok_or("write [FROM-TO]")?;
    let (low, high): (usize, usize) = (
        from.parse().map_err(|_| "FROM is not a number")?,
        to.parse().map_err(|_| "TO is not a number")?,
    );
    if low > high {
        return Err("FROM is larger than TO");
    }
    if high - low >= SPACES_LIMIT {
        return Err("more than 10,000 namespaces");
    }
    let width = if from.starts_with('0') { from.len() } else { 0 };
    Ok((low..=high)
        .map(|n| format!("{before}{n:0width$}{after}"))
        .collect())
}

/// A text without its `/tcp` or `/udp`, and what that says.
pub(super) fn protocol(text: &str) -> (&str, Option<Protocol>) {
    match text.split_once('/') {
        None => (text, Some(Protocol::Tcp)),
        Some((rest, "tcp")) => (rest, Some(Protocol::Tcp)),
        Some((rest, "udp")) => (rest, Some(Protocol::Udp)),
        Some((rest, _)) => (rest, None),
    }
}

/// The word that is wrong, and why.
pub(super) type Amiss<'a> = (&'a str, &'static str);

/// `[ADDRESS:]PORT[-PORT][/udp]:NAMESPACE:PORT[-PORT]`
pub(super) fn forward(text: &str, span: Span) -> Result<Vec<Forward>, Amiss<'_>> {
    let (rest, target_ports) = text
        .rsplit_once(':')
        .ok_or((text, "two colons are missing"))?;
    let (outside, target) = rest.rsplit_once(':').ok_or((text, "a colon is missing"))?;
    let (listen, ports) = match outside.rsplit_once(':') {
        None => (None, outside),
        Some((address, ports)) => (Some(listen(address)?), ports),
    };
    let (ports, protocol) = protocol(ports);
    let protocol = protocol.ok_or((outside, "the protocol is tcp or udp"))?;
    let (low, high) = range(ports)?;
    let (to, to_high) = range(target_ports)?;
    if high - low != to_high - to {
        return Err((text, "the two ranges differ in length"));
    }
    // The unspecified address means every one.
    let listen = listen.filter(|address: &IpAddr| !address.is_unspecified() || address.is_ipv6());
    Ok((0..=high - low)
        .map(|step| Forward {
            span,
            listen,
            port: low + step,
            protocol,
            target: target.to_owned(),
            target_port: to + step,
        })
        .collect())
}

/// The address of a forward: one of IPv6 in brackets.
fn listen(text: &str) -> Result<IpAddr, Amiss<'_>> {
    let inner = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    match inner.unwrap_or(text).parse() {
        Ok(IpAddr::V6(address)) if address.is_loopback() => {
            Err((text, "the kernel does not redirect packets from ::1"))
        }
        Ok(IpAddr::V6(_)) if inner.is_none() => Err((text, "an IPv6 address needs brackets")),
        Ok(address) => Ok(address),
        Err(_) => Err((text, "the address cannot be read")),
    }
}

/// A port, or the first and the last of several.
fn range(text: &str) -> Result<(u16, u16), Amiss<'_>> {
    let (low, high) = text.split_once('-').unwrap_or((text, text));
    let port = |word: &str| word.parse().ok().filter(|port: &u16| *port > 0);
    let (low, high) = port(low)
        .zip(port(high))
        .ok_or((text, "a port is 1 to 65535"))?;
    if low > high {
        return Err((text, "the first port is larger than the last"));
    }
    if high - low >= RANGE_LIMIT {
        return Err((text, "more than 256 ports"));
    }
    Ok((low, high))
}

/// `SUBNET-OR-NETWORK via NEXT-HOP`; `place` tells where a word stands.
pub(super) fn route(
    text: &str,
    span: Span,
    place: impl FnOnce(&str) -> Span,
) -> Result<RouteSpec, Amiss<'_>> {
    let mut words = text.split_whitespace();
    let to = words.next().ok_or((text, "it is empty"))?;
    let next = match (words.next(), words.next()) {
        (Some("via"), Some(next)) => next,
        (Some("via"), None) => return Err((text, "the next hop is missing")),
        _ => return Err((text, "`via` is missing")),
    };
    if let Some(more) = words.next() {
        return Err((more, "nothing may follow the next hop"));
    }
    let everything = if next.parse::<IpAddr>().is_ok_and(|next| next.is_ipv6()) {
        "::/0"
    } else {
        "0.0.0.0/0"
    };
    let word = to;
    let to = if to == "default" { everything } else { to };
    let subnet = to.parse::<IpNet>().ok();
    let subnet = subnet.or_else(|| to.parse::<IpAddr>().ok().map(IpNet::from));
    let numbers = |c: char| c.is_ascii_digit() || c == '.';
    let to = match subnet {
        Some(subnet) => Destination::Subnet(subnet.trunc()),
        None if is_name(to, 15) && !to.chars().all(numbers) => Destination::Net(At {
            value: to.to_owned(),
            span: place(to),
        }),
        None => return Err((word, "not a subnet, nor the name of a network")),
    };
    let via = next.to_owned();
    Ok(RouteSpec { span, to, via })
}

/// Six octets with colons.
pub(super) fn mac(text: &str) -> Option<[u8; 6]> {
    let mut octets = [0; 6];
    let mut parts = text.split(':');
    for octet in &mut octets {
        *octet = u8::from_str_radix(parts.next()?, 16).ok()?;
    }
    // A group address cannot be an interface's own.
    (parts.next().is_none() && octets[0] & 1 == 0).then_some(octets)
}
