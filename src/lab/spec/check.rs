//! Whether the parts of a lab fit together: references, addresses, ports, and who can reach whom.

mod fit;
mod names;

use std::net::IpAddr;

use corefile::{Diagnostic, Report, Span, nearest};
use ipnet::IpNet;

use super::address::{self, Addresses};
use super::forms::overlap;
use super::{Destination, Dns, HostEnd, Space, Spec, mistake};
use crate::hash::{Map, Set};
use crate::reach::{INSIDE, Picture};
use fit::{devices, parents, services, unfitting};
use names::names;

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
    unfitting(spec, report);
    devices(spec, report);
    let addresses = address::assign(spec, report);
    services(spec, &addresses, report);
    parents(spec, report);
    if !is_whole(report) {
        return addresses;
    }
    if spec.spaces.iter().any(|space| !space.routes.is_empty()) {
        hops(spec, &addresses, report);
    }
    idle(spec, report);
    if is_whole(report) && spec.spaces.len() <= PAIRS {
        paths(spec, &addresses, report);
    }
    addresses
}

/// Whether a whole section is not known, and what it declares neither.
fn is_of_section(found: &Diagnostic) -> bool {
    found.code == "LAB0002" && found.message.starts_with("unknown section")
}

/// Whether all mistakes so far are keys that mean nothing: the rest of the file is as it stands.
pub(super) fn is_whole(report: &Report) -> bool {
    let keys = |found: &Diagnostic| ["LAB0002", "LAB0004"].contains(&found.code);
    let mut errors = report
        .iter()
        .filter(|found| found.severity == corefile::Severity::Error);
    errors.all(|found| keys(found) && !is_of_section(found))
}

/// Reports what refers to nothing, in a file of which all is known that it declares.
pub(super) fn declared(spec: &Spec, report: &mut Report) {
    const HIDING: &[&str] = &["LAB0001", "LAB0003", "LAB0101", "LAB0110"];
    let hides = |found: &Diagnostic| HIDING.contains(&found.code) || is_of_section(found);
    if !report.iter().any(hides) {
        names(spec, report);
        references(spec, report);
        ports(spec, report);
    }
}

/// A word that names nothing.
pub(super) fn unknown<'a>(
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
    let nets: Set<&str> = spec
        .nets
        .iter()
        .map(|net| net.name.value.as_str())
        .collect();
    let spaces: Set<&str> = spec
        .spaces
        .iter()
        .map(|space| space.name.value.as_str())
        .collect();
    let net_names = || spec.nets.iter().map(|net| net.name.value.as_str());
    let space_names = || spec.spaces.iter().map(|space| space.name.value.as_str());
    for space in &spec.spaces {
        for route in &space.routes {
            if let Destination::Net(net) = &route.to
                && !nets.contains(net.value.as_str())
            {
                report.push(unknown("network", &net.value, net.span, net_names()));
            }
        }
        let mut on = Set::default();
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
    for upstream in spec.nets.iter().flat_map(|net| &net.upstream) {
        let address = upstream.value.ip();
        let own = |net: &super::Net| {
            [false, true]
                .map(|v6| net.host_address(v6))
                .contains(&Some(address))
        };
        if upstream.value.port() == 53
            && (address == INSIDE || spec.dns == Dns::Address(address) || spec.nets.iter().any(own))
        {
            let message = format!("{address} is the lab's own server, which would ask itself");
            report.push(mistake("LAB0102", message, upstream.span, ""));
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
            (true, _) => "an `internal` network has no traffic in or out",
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
        // A server at an address of its own may be in reach without the host.
        if !net.upstream.is_empty() && (net.internal || spec.dns == Dns::Bridge) {
            keys.push("upstream");
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
    let mut taken: Map<_, Span> = Map::default();
    let forwards = spec
        .nets
        .iter()
        .flat_map(|net| net.forwards.iter().map(move |forward| (net, forward)));
    for (net, forward) in forwards {
        // One without an address stands for those of both families that its network has.
        let families = [false, true].into_iter().filter(|v6| {
            forward.listen.is_none_or(|at| at.is_ipv6() == *v6) && net.subnet(*v6).is_some()
        });
        let listen = forward.listen.filter(|at| !at.is_unspecified());
        let mut before = None;
        for v6 in families {
            let key = (forward.protocol, forward.port, listen, v6);
            before = before.or(taken.insert(key, forward.span));
        }
        if let Some(before) = before {
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
                mistake("LAB0105", "port 53 of the bridges belongs to the lab's DNS server", forward.span, "")
                    .help("name another address of the host, as in \"192.0.2.1:53/udp:dns:53\", or write dns = \"off\" in [lab]"),
            );
        }
    }
    let mut on: Map<&str, usize> = Map::default();
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
            let leads = |to: IpNet| {
                picture
                    .next_hop(at, &route.via, to.addr().is_ipv6())
                    .is_some()
            };
            if !spec.destinations(route).any(leads) {
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
                .note("none of their networks has an address of the host, or the server's responses cannot find their way back; their hosts files get every name of the lab"),
        );
    }
}
