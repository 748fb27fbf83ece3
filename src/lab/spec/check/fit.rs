//! Whether values go together: MTU and family, MAC addresses, routes, interfaces, and the addresses of services.

use std::net::IpAddr;

use corefile::{Report, Span};
use ipnet::IpNet;

use crate::hash::Map;
use crate::layout::{ETHERNET, LEAST_V6};
use crate::spec::address::Addresses;
use crate::spec::{Kind, Schema, Service, Space, Spec, mistake};

/// Values that cannot stand together.
pub(super) fn unfitting(spec: &Spec, report: &mut Report) {
    for net in &spec.nets {
        if let (Some(mtu), Some(_)) = (net.mtu, net.subnet(true))
            && mtu < LEAST_V6
        {
            report.push(
                mistake(
                    "LAB0102",
                    format!(
                        "IPv6 needs an MTU of {LEAST_V6}, and `{}` has {mtu}",
                        net.name.value
                    ),
                    net.name.span,
                    "",
                )
                .help("give it a larger `mtu`, or an IPv4 subnet only"),
            );
        }
    }
    for link in &spec.links {
        let six = link
            .subnets
            .iter()
            .any(|subnet| subnet.value.addr().is_ipv6());
        if let Some(mtu) = link.mtu.filter(|mtu| six && *mtu < LEAST_V6) {
            let message = format!(
                "IPv6 needs an MTU of {LEAST_V6}, and `{}` has {mtu}",
                link.name.value
            );
            report.push(mistake("LAB0102", message, link.name.span, ""));
        }
    }
    let mut macs: Map<[u8; 6], Span> = Map::default();
    for space in &spec.spaces {
        if let Some(mac) = space.mac
            && let Some(before) = macs.insert(mac, space.name.span)
        {
            report.push(
                mistake(
                    "LAB0105",
                    format!(
                        "two interfaces would have the MAC address {}",
                        crate::hash::mac_text(&mac)
                    ),
                    space.name.span,
                    "",
                )
                .beside(before, "the other"),
            );
        }
        let mut routes: Map<IpNet, Span> = Map::default();
        for route in &space.routes {
            for to in spec.destinations(route) {
                if let Some(before) = routes.insert(to, route.span) {
                    let message = format!("`{}` has two routes to {to}", space.name.value);
                    report.push(
                        mistake("LAB0105", message, route.span, "").beside(before, "the other"),
                    );
                }
            }
        }
    }
}

/// Interfaces of one namespace that would have one name.
pub(super) fn devices(spec: &Spec, report: &mut Report) {
    for space in &spec.spaces {
        let mut taken: Map<String, Span> = Map::default();
        let mut ends: Vec<(String, Span)> = Vec::new();
        for (slot, on) in space.attachments.iter().enumerate() {
            let span = on.device.as_ref().map_or(on.net.span, |at| at.span);
            ends.push((spec.device(space, slot), span));
            if on.is_tagged {
                tagged(spec, space, slot, report);
            }
        }
        for link in &spec.links {
            if let Some(end) = link.ends.iter().position(|name| *name == space.name.value) {
                let default = (format!("eth{}", ends.len()), link.name.span);
                let device = link.devices.get(end);
                ends.push(device.map_or(default, |device| (device.value.clone(), device.span)));
            }
        }
        for (name, span) in ends {
            if let Some(before) = taken.insert(name.clone(), span) {
                report.push(
                    mistake(
                        "LAB0105",
                        format!(
                            "two interfaces of `{}` would be called `{name}`",
                            space.name.value
                        ),
                        span,
                        "",
                    )
                    .beside(before, "the other"),
                );
            }
        }
        let shapes = space
            .attachments
            .iter()
            .filter_map(|on| spec.net(&on.net.value));
        for shape in shapes.map(|net| space.shape.or(net.shape)) {
            if (shape.jitter.is_some() || shape.reorder.is_some()) && shape.delay.is_none() {
                let message = format!(
                    "`jitter` and `reorder` of `{}` need a `delay`",
                    space.name.value
                );
                report.push(mistake("LAB0102", message, space.name.span, ""));
                break;
            }
        }
    }
}

/// A tagged port without a VLAN, or without an interface that carries it.
fn tagged(spec: &Spec, space: &Space, slot: usize, report: &mut Report) {
    let on = &space.attachments[slot].net;
    let Some(net) = spec.net(&on.value) else {
        return;
    };
    let found = match spec.switch(net) {
        None => {
            let message = format!("`{}` is no VLAN of another network", on.value);
            mistake("LAB0108", message, on.span, "nothing is tagged there")
                .help("give it parent = \"NETWORK\" and a `vlan`")
        }
        Some(switch) if spec.below(space, slot).is_none() => {
            let (name, switch) = (&space.name.value, &switch.name.value);
            let message = format!(
                "`{name}` is not on `{switch}`, where `{}` is a VLAN",
                on.value
            );
            mistake("LAB0108", message, on.span, "").help(format!(
                "write \"{switch}, {} tagged\": the first interface carries the other",
                on.value
            ))
        }
        Some(_) => return,
    };
    report.push(found);
}

/// Interfaces of the host that two networks would have each for itself, and VLANs of what has none.
pub(super) fn parents(spec: &Spec, report: &mut Report) {
    let mut taken: Map<(&str, Option<u16>), (Kind, Span)> = Map::default();
    for net in &spec.nets {
        if net.parent.is_none() {
            for (key, span) in [
                ("vlan", net.vlan.as_ref().map(|vlan| vlan.span)),
                ("kind", (net.kind != Kind::Bridge).then_some(net.name.span)),
            ] {
                if let Some(span) = span {
                    let message = format!("`{key}` of `{}` needs a `parent`", net.name.value);
                    let found = mistake("LAB0108", message, span, "");
                    report.push(found.help("parent is an interface of the host, as in parent = \"eth1\"; for a VLAN, it may also be another network"));
                }
            }
        }
        let Some(parent) = &net.parent else { continue };
        if let Some(switch) = spec.switch(net) {
            let why = if net.name.value == switch.name.value {
                "is the network itself"
            } else if net.vlan.as_ref().is_none_or(|vlan| vlan.value == 1) {
                "is a network, and a network can only be a VLAN of it: vlan = 2 to 4094"
            } else if net.kind != Kind::Bridge || switch.kind != Kind::Bridge {
                "is a network, and only bridges can have VLANs"
            } else if spec.switch(switch).is_some() {
                "is a VLAN itself"
            } else {
                ""
            };
            if !why.is_empty() {
                let message = format!("`{}` {why}", parent.value);
                report.push(mistake("LAB0108", message, parent.span, ""));
            }
            let most = switch.mtu.unwrap_or(ETHERNET);
            if let Some(own) = net.mtu.filter(|own| *own > most) {
                let (name, on) = (&net.name.value, &switch.name.value);
                let message = format!("`{name}` has an MTU of {own}, and `{on}` one of {most}");
                let found = mistake("LAB0102", message, net.name.span, "");
                report.push(found.help(format!("give `{on}` a larger `mtu`")));
            }
        }
        let place = (
            parent.value.as_str(),
            net.vlan.as_ref().map(|vlan| vlan.value),
        );
        if let Some((kind, before)) = taken.insert(place, (net.kind, parent.span))
            && (kind != net.kind || kind == Kind::Bridge)
        {
            let message = format!("two networks cannot use `{}` in this way", parent.value);
            report.push(
                mistake("LAB0105", message, parent.span, "")
                    .beside(before, "the other")
                    .note("an interface is a port of one bridge, a VLAN belongs to one network, and an interface carries macvlan or ipvlan"),
            );
        }
    }
    for space in spec.spaces.iter().filter(|space| space.mac.is_some()) {
        let first = space.attachments.first();
        let net = first.and_then(|on| spec.net(&on.net.value));
        if net.is_some_and(|net| net.kind == Kind::Ipvlan) {
            let message = format!("`{}` shares its parent's MAC address", space.name.value);
            report.push(mistake("LAB0108", message, space.name.span, ""));
        }
    }
}

/// Services whose address cannot be one, or that nobody of theirs can serve.
pub(super) fn services(spec: &Spec, addresses: &Addresses, report: &mut Report) {
    let mut places: Map<(IpAddr, u16, crate::spec::Protocol), Span> = Map::default();
    let of_spaces = spec.spaces.iter().zip(&addresses.spaces);
    let mut taken: Map<IpAddr, &str> = of_spaces
        .flat_map(|(space, on)| {
            on.iter()
                .flatten()
                .map(|net| (net.addr(), space.name.value.as_str()))
        })
        .collect();
    for (link, ends) in spec.links.iter().zip(&addresses.links) {
        for (name, end) in link.ends.iter().zip(ends) {
            taken.extend(end.iter().map(|net| (net.addr(), name.as_str())));
        }
    }
    node_ports(spec, report);
    for service in &spec.services {
        let (name, span) = (&service.name.value, service.name.span);
        behind(spec, addresses, service, report);
        let Some((address, port)) = service.place() else {
            continue;
        };
        let place = (address, port, service.protocol);
        if let Some(before) = places.insert(place, span) {
            let at = std::net::SocketAddr::new(address, port);
            report.push(
                mistake(
                    "LAB0105",
                    format!(
                        "two services have the address {at}/{}",
                        service.protocol.name()
                    ),
                    span,
                    "",
                )
                .beside(before, "the other"),
            );
        }
        if let Some(owner) = taken.get(&address) {
            report.push(
                mistake(
                    "LAB0105",
                    format!("{address}, the address of service `{name}`, belongs to `{owner}`"),
                    span,
                    "",
                )
                .help("a service's address is one that nothing else has, as in 10.96.0.10"),
            );
        }
        let gateway = spec.nets.iter().find(|net| {
            [false, true]
                .map(|v6| net.host_address(v6))
                .contains(&Some(address))
        });
        if let Some(net) = gateway {
            let message = format!(
                "{address}, the address of service `{name}`, is the host's on `{}`",
                net.name.value
            );
            report.push(mistake("LAB0105", message, span, "").beside(net.name.span, "the network"));
        }
        if address.is_unspecified() || address.is_loopback() || address.is_multicast() {
            let message = format!("{address} cannot be the address of a service");
            report.push(mistake("LAB0102", message, span, ""));
        }
    }
}

/// Those behind a service who cannot serve it.
fn behind(spec: &Spec, addresses: &Addresses, service: &Service, report: &mut Report) {
    let (name, span) = (&service.name.value, service.name.span);
    let mut taken: Map<&str, Span> = Map::default();
    for to in &service.to {
        if let Some(before) = taken.insert(&to.value, to.span) {
            let message = format!("`{}` is behind service `{name}` twice", to.value);
            report.push(mistake("LAB0105", message, to.span, "").beside(before, "here as well"));
        }
        let at = spec
            .spaces
            .iter()
            .position(|space| space.name.value == to.value);
        let Some(at) = at else { continue };
        let space = &spec.spaces[at];
        let why = if space.is_host {
            "is the host itself, which has no network of the lab"
        } else if space.attachments.is_empty() {
            "is on no network"
        } else if !addresses.spaces[at].iter().flatten().any(|net| {
            let same = |at: IpAddr| at.is_ipv6() == net.addr().is_ipv6();
            service.address.is_none_or(same)
        }) {
            "has no address of that family"
        } else {
            continue;
        };
        report.push(
            mistake(
                "LAB0108",
                format!(
                    "`{}` {why}, so service `{name}` cannot lead to it",
                    to.value
                ),
                to.span,
                "",
            )
            .beside(span, "the service"),
        );
    }
}

/// Those that balance services must route, and what they listen on be theirs alone.
fn node_ports(spec: &Spec, report: &mut Report) {
    for node in &spec.nodes {
        match spec.space(&node.value) {
            Some(space) if space.router => {}
            Some(_) => report.push(
                mistake(
                    "LAB0109",
                    format!(
                        "`{}` does not route, so it cannot balance services",
                        node.value
                    ),
                    node.span,
                    "",
                )
                .help("give it router = true"),
            ),
            None => {
                let names = spec.spaces.iter().map(|space| space.name.value.as_str());
                report.push(super::unknown("namespace", &node.value, node.span, names));
            }
        }
    }
    let mut taken: Map<(u16, crate::spec::Protocol), Span> = Map::default();
    let forwards = spec.nets.iter().flat_map(|net| &net.forwards);
    // Those of the host are not in the way of other nodes.
    let forwards = forwards.filter(|one| one.listen.is_none() && spec.nodes.is_empty());
    taken.extend(forwards.map(|one| ((one.port, one.protocol), one.span)));
    for service in &spec.services {
        let Some(port) = &service.node_port else {
            continue;
        };
        if let Some(before) = taken.insert((port.value, service.protocol), port.span) {
            let text = format!("{}/{}", port.value, service.protocol.name());
            let message = format!("port {text} is already used");
            report.push(mistake("LAB0105", message, port.span, "").beside(before, "the other"));
        }
    }
    if spec.schema == Schema::Kubernetes {
        return;
    }
    let of_spaces = spec.spaces.iter().filter_map(|one| one.namespace.as_ref());
    let of_services = spec
        .services
        .iter()
        .filter_map(|one| one.namespace.as_ref());
    for namespace in of_spaces.chain(of_services) {
        let message = "`namespace` needs the names of a cluster, which this lab does not have";
        let found = mistake("LAB0203", message, namespace.span, "");
        report.push(found.help("write schema = \"k8s\" in [lab]"));
    }
}
