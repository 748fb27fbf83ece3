//! Whether the parts of a lab fit together: references, addresses, ports, and who can reach whom.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use corefile::{Diagnostic, Report, Span, nearest};
use ipnet::IpNet;

use super::address::{self, Addresses};
use super::forms::{label, overlap};
use super::{Dns, HostEnd, Space, Spec, mistake};
use crate::reach::Picture;

/// Ports that the kernel allows a bridge (`BR_MAX_PORTS`, one is not usable).
const PORTS: usize = 1_023;
/// Namespaces up to which every pair's path is computed.
const PAIRS: usize = 64;

/// Reports everything that does not fit; the addresses that everything gets.
pub fn check(spec: &Spec, report: &mut Report) -> Addresses {
    names(spec, report);
    references(spec, report);
    subnets(spec, report);
    ports(spec, report);
    let addresses = address::assign(spec, report);
    if report.has_errors() {
        return addresses;
    }
    if spec.spaces.iter().any(|space| !space.routes.is_empty()) {
        hops(spec, &addresses, report);
    }
    idle(spec, report);
    if !report.has_errors() && spec.spaces.len() <= PAIRS {
        paths(spec, &addresses, report);
    }
    addresses
}

/// Reports what refers to nothing, in a file of which all is known that it declares.
pub(super) fn declared(spec: &Spec, report: &mut Report) {
    const HIDING: &[&str] = &[
        "LAB0001", "LAB0002", "LAB0003", "LAB0004", "LAB0101", "LAB0110",
    ];
    if !report.iter().any(|found| HIDING.contains(&found.code)) {
        names(spec, report);
        references(spec, report);
        ports(spec, report);
    }
}

/// Two things of one name.
fn names(spec: &Spec, report: &mut Report) {
    let mut seen: HashMap<String, Span> = HashMap::new();
    for space in &spec.spaces {
        let own = std::iter::once(&space.name).chain(&space.alias);
        for name in own {
            if let Some(before) = seen.insert(label(&name.value), name.span) {
                report.push(
                    mistake(
                        "LAB0105",
                        format!("two hosts would be called `{}`", label(&name.value)),
                        name.span,
                        "",
                    )
                    .beside(before, "here as well"),
                );
            }
        }
    }
    // An alias stands alone (RFC 1034, section 3.6.2): a second record of its name would not be served.
    let aliases: HashMap<String, Span> = spec
        .spaces
        .iter()
        .flat_map(|space| &space.alias)
        .map(|alias| (alias.value.to_ascii_lowercase(), alias.span))
        .collect();
    let mut owners = aliases.clone();
    for record in &spec.records {
        let name = label(&record.owner.value);
        let alone = record.data.starts_with("CNAME");
        let before = if alone {
            seen.get(&name).or(owners.get(&name))
        } else {
            aliases.get(&name)
        };
        if let Some(before) = before {
            report.push(
                mistake(
                    "LAB0105",
                    format!(
                        "`{}` would be an alias and something else",
                        record.owner.value
                    ),
                    record.owner.span,
                    "",
                )
                .beside(*before, "here as well"),
            );
        }
        owners.insert(name, record.owner.span);
    }
    for service in &spec.services {
        if let Some(before) = aliases.get(&label(&service.name.value)) {
            report.push(
                mistake(
                    "LAB0105",
                    format!("`{}` would be an alias and a service", service.name.value),
                    service.name.span,
                    "",
                )
                .beside(*before, "here as well"),
            );
        }
    }
    // One file cannot declare two tables of one name; several can.
    let mut tables: HashMap<(&str, &str), Span> = HashMap::new();
    let nets = spec.nets.iter().map(|net| ("network", &net.name));
    let links = spec.links.iter().map(|link| ("link", &link.name));
    let services = spec
        .services
        .iter()
        .map(|service| ("service", &service.name));
    for (what, name) in nets.chain(links).chain(services) {
        if let Some(before) = tables.insert((what, &name.value), name.span) {
            let message = format!("there are two {what}s `{}`", name.value);
            report.push(mistake("LAB0105", message, name.span, "").beside(before, "here as well"));
        }
    }
    for net in &spec.nets {
        if net.name.value == "lo" {
            let message = "`lo` is every machine's loopback interface";
            report.push(mistake("LAB0101", message, net.name.span, ""));
        }
        if net.name.value.starts_with("veth-") {
            report.push(mistake(
                "LAB0101",
                "names that start with `veth-` are kept for the ends of veth pairs",
                net.name.span,
                "",
            ));
        }
    }
}

/// A word that names nothing.
fn unknown<'a>(
    what: &str,
    name: &str,
    span: Span,
    known: impl Iterator<Item = &'a str> + Clone,
) -> Diagnostic {
    let found = mistake("LAB0103", format!("there is no {what} `{name}`"), span, "");
    match nearest(name, known.clone()) {
        Some(meant) => found
            .help(format!("write `{meant}`"))
            .replace(span, meant.to_owned()),
        None => {
            let known: Vec<&str> = known.take(12).collect();
            found.help(match known.is_empty() {
                true => format!("no {what} is declared in this file"),
                false => format!("declared are {}", known.join(", ")),
            })
        }
    }
}

/// Names that must be declared.
fn references(spec: &Spec, report: &mut Report) {
    let nets: HashSet<&str> = spec
        .nets
        .iter()
        .map(|net| net.name.value.as_str())
        .collect();
    let spaces: HashSet<&str> = spec
        .spaces
        .iter()
        .map(|space| space.name.value.as_str())
        .collect();
    let net_names = || spec.nets.iter().map(|net| net.name.value.as_str());
    let space_names = || spec.spaces.iter().map(|space| space.name.value.as_str());
    for space in &spec.spaces {
        let mut on = HashSet::new();
        for attachment in &space.attachments {
            let net = &attachment.net;
            if !nets.contains(net.value.as_str()) {
                report.push(unknown("network", &net.value, net.span, net_names()));
            } else if !on.insert(net.value.as_str()) {
                report.push(mistake(
                    "LAB0105",
                    format!("`{}` is on `{}` twice", space.name.value, net.value),
                    net.span,
                    "",
                ));
            }
        }
    }
    for net in &spec.nets {
        for forward in &net.forwards {
            if !spaces.contains(forward.target.as_str()) {
                report.push(unknown(
                    "namespace",
                    &forward.target,
                    forward.span,
                    space_names(),
                ));
            } else if let Some(space) = spec.space(&forward.target)
                && !space
                    .attachments
                    .iter()
                    .any(|on| on.net.value == net.name.value)
            {
                report.push(
                    mistake(
                        "LAB0108",
                        format!("`{}` is not on `{}`", forward.target, net.name.value),
                        forward.span,
                        "",
                    )
                    .help("write the forward under a network that its target is on"),
                );
            }
        }
        if let Some(gateway) = &net.gateway
            && let Ok(address) = gateway.value.parse::<IpAddr>()
        {
            if !net
                .subnets
                .iter()
                .any(|subnet| subnet.value.contains(&address))
            {
                report.push(
                    mistake(
                        "LAB0109",
                        format!("the gateway {address} is not in the network's subnet"),
                        gateway.span,
                        "",
                    )
                    .beside(net.name.span, "the network"),
                );
            }
        } else if let Some(gateway) = &net.gateway {
            match spec.space(&gateway.value) {
                None => report.push(unknown(
                    "namespace",
                    &gateway.value,
                    gateway.span,
                    space_names(),
                )),
                Some(space)
                    if !space
                        .attachments
                        .iter()
                        .any(|on| on.net.value == net.name.value) =>
                {
                    report.push(mistake(
                        "LAB0109",
                        format!("`{}` is not on `{}`", gateway.value, net.name.value),
                        gateway.span,
                        "",
                    ));
                }
                Some(_) => {}
            }
        }
    }
    for service in &spec.services {
        for target in &service.to {
            if !spaces.contains(target.value.as_str()) {
                report.push(unknown(
                    "namespace",
                    &target.value,
                    target.span,
                    space_names(),
                ));
            }
        }
    }
}

/// Subnets that overlap.
fn subnets(spec: &Spec, report: &mut Report) {
    let all: Vec<(IpNet, Span, &str)> = spec
        .nets
        .iter()
        .flat_map(|net| {
            net.subnets
                .iter()
                .map(|s| (s.value, s.span, net.name.value.as_str()))
        })
        .chain(spec.links.iter().flat_map(|link| {
            link.subnets
                .iter()
                .map(|s| (s.value, s.span, link.name.value.as_str()))
        }))
        .collect();
    for (at, (subnet, span, name)) in all.iter().enumerate() {
        if let Some((other, before, whose)) =
            all[..at].iter().find(|(other, ..)| overlap(other, subnet))
        {
            report.push(
                mistake(
                    "LAB0106",
                    format!("{subnet} of `{name}` overlaps {other} of `{whose}`"),
                    *span,
                    "",
                )
                .beside(*before, "the other"),
            );
        }
    }
    for (subnet, span, _) in &all {
        if let Some(why) = unfit(subnet) {
            report.push(mistake(
                "LAB0102",
                format!("{subnet} has no hosts"),
                *span,
                why,
            ));
        }
    }
    for net in &spec.nets {
        if net.subnets.is_empty() {
            report.push(mistake(
                "LAB0107",
                "10.201.0.0/16 has no free /24 left",
                net.name.span,
                "give it a `subnet`",
            ));
        }
        if let HostEnd::Addresses(addresses) = &net.host {
            for address in addresses {
                if !net
                    .subnets
                    .iter()
                    .any(|subnet| subnet.value.contains(&address.value))
                {
                    report.push(mistake(
                        "LAB0104",
                        format!("{} is not in the network's subnet", address.value),
                        address.span,
                        "",
                    ));
                }
            }
        }
    }
}

/// Why a subnet cannot be a lab's.
fn unfit(subnet: &IpNet) -> Option<&'static str> {
    let (first, everything) = (subnet.network(), subnet.prefix_len() == 0);
    let link_local = |net: &str| net.parse::<IpNet>().is_ok_and(|net| net.contains(&first));
    Some(match first {
        _ if everything => "these are all addresses",
        _ if first.is_loopback() => "these are loopback addresses",
        _ if first.is_multicast() => "these are multicast addresses",
        _ if link_local("fe80::/10") => "these are link-local addresses, which every link has",
        _ if link_local("0.0.0.0/8") || link_local("240.0.0.0/4") => "these are reserved",
        _ => return None,
    })
}

/// Keys that do nothing.
fn idle(spec: &Spec, report: &mut Report) {
    for net in &spec.nets {
        let absent = net.host_address(false).is_none() && net.host_address(true).is_none();
        let why = match (net.internal, absent) {
            (true, _) => "an `internal` network has no way out, and none in",
            (_, true) => "the host is not on the network, so its rules see no packet of it",
            _ => continue,
        };
        let mut keys = Vec::new();
        if net.nat4 || net.nat6 {
            keys.push("nat");
        }
        if !net.forwards.is_empty() {
            keys.push("forward");
        }
        for key in keys {
            let message = format!("`{key}` of `{}` does nothing", net.name.value);
            report.push(
                Diagnostic::warning("LAB0203", message)
                    .at(net.name.span, "")
                    .note(why),
            );
        }
    }
}

/// Ports of the host and of the bridges.
fn ports(spec: &Spec, report: &mut Report) {
    let mut taken: HashMap<_, Span> = HashMap::new();
    for forward in spec.nets.iter().flat_map(|net| &net.forwards) {
        let key = (forward.protocol, forward.port, forward.listen);
        if let Some(before) = taken.insert(key, forward.span) {
            report.push(
                mistake(
                    "LAB0105",
                    format!(
                        "port {}/{} is forwarded twice",
                        forward.port,
                        forward.protocol.name()
                    ),
                    forward.span,
                    "",
                )
                .beside(before, "here as well"),
            );
        }
        // Queries of the lab would be redirected, too.
        let everywhere = forward.listen.is_none_or(|at| {
            at.is_unspecified()
                || spec.nets.iter().any(|net| {
                    [false, true]
                        .map(|v6| net.host_address(v6))
                        .contains(&Some(at))
                })
        });
        if spec.dns == Dns::Bridge && forward.port == 53 && everywhere {
            report.push(
                mistake("LAB0105", "port 53 of the bridges is the lab's DNS server's", forward.span, "")
                    .help("name another address of the host, as in \"192.0.2.1:53/udp:dns:53\", or write dns = \"off\" in [lab]"),
            );
        }
    }
    let mut on: HashMap<&str, usize> = HashMap::new();
    for attachment in spec.spaces.iter().flat_map(|space| &space.attachments) {
        *on.entry(attachment.net.value.as_str()).or_default() += 1;
    }
    for net in &spec.nets {
        let count = on.get(net.name.value.as_str()).copied().unwrap_or(0);
        if count > PORTS {
            report.push(
                mistake(
                    "LAB0107",
                    format!("{count} namespaces are on one bridge; the kernel allows {PORTS}"),
                    net.name.span,
                    "",
                )
                .help("make two networks and a router between them"),
            );
        }
    }
}

/// Next hops that cannot be reached directly.
fn hops(spec: &Spec, addresses: &Addresses, report: &mut Report) {
    let picture = Picture::of(spec, addresses);
    for (at, space) in spec.spaces.iter().enumerate() {
        for route in &space.routes {
            if picture
                .next_hop(at, &route.via, route.to.addr().is_ipv6())
                .is_none()
            {
                report.push(
                    mistake("LAB0109", format!("`{}` cannot reach {} directly", space.name.value, route.via), route.span, "")
                        .help("the next hop is an address in one of its subnets, or a namespace that it shares a network with"),
                );
            }
        }
    }
}

/// Namespaces that cannot reach each other, and those without a resolver.
fn paths(spec: &Spec, addresses: &Addresses, report: &mut Report) {
    let picture = Picture::of(spec, addresses);
    let mut without = Vec::new();
    // Who is on internal networks only is meant to be cut off.
    let inner = |space: &Space| {
        !space.attachments.is_empty()
            && space
                .attachments
                .iter()
                .all(|on| spec.net(&on.net.value).is_some_and(|net| net.internal))
    };
    for (from, space) in spec.spaces.iter().enumerate() {
        if space.is_host || picture.addresses(from).is_empty() {
            continue;
        }
        let mut lost = Vec::new();
        for (to, other) in spec.spaces.iter().enumerate() {
            if from == to
                || other.is_host
                || inner(space) != inner(other)
                || picture.addresses(to).is_empty()
            {
                continue;
            }
            match picture.path(from, to) {
                Err(found) if !found.meant => {
                    lost.push(format!("{}: {}", other.name.value, found.why));
                }
                _ => {}
            }
        }
        if !lost.is_empty() {
            let more = lost.len().saturating_sub(3);
            lost.truncate(3);
            let mut warning = Diagnostic::warning(
                "LAB0201",
                format!(
                    "`{}` cannot reach every namespace of the lab",
                    space.name.value
                ),
            )
            .at(space.name.span, "");
            for line in lost {
                warning = warning.note(line);
            }
            if more > 0 {
                warning = warning.note(format!("and {more} more"));
            }
            report.push(warning);
        }
        if spec.dns != Dns::Off && picture.resolver(from).is_none() {
            without.push(space);
        }
    }
    if let Some(first) = without.first() {
        let names: Vec<&str> = without
            .iter()
            .map(|space| space.name.value.as_str())
            .collect();
        report.push(
            Diagnostic::warning("LAB0202", format!("no resolver can be reached from {}", names.join(", ")))
                .at(first.name.span, "")
                .note("none of their networks has an address of the host, or its answers would find no way back; their hosts files get every name of the lab"),
        );
    }
}
