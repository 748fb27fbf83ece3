//! The rules of a lab: port forwards, services, masquerading, and what is closed; and those of the namespaces that balance
//! services, as each node of a cluster does.

use std::net::IpAddr;

use ipnet::IpNet;

use super::Mark;
use crate::nft::{Chain, Expression, Family, Hook, Rule, Set, Table};
use crate::redirect::Redirect;
use crate::spec::address::Addresses;
use crate::spec::{Forward, Service, Spec};

/// The lab's rules; none if it needs none.
pub(super) fn table(spec: &Spec, mark: &Mark, addresses: &Addresses) -> Option<Table> {
    let mut sets = Vec::new();
    let redirect = redirect_rules(&redirects(spec, addresses), spec, &mut sets);
    let mut leave = Vec::new();
    for net in &spec.nets {
        for subnet in net.subnets.iter().map(|subnet| subnet.value) {
            let v6 = subnet.addr().is_ipv6();
            if if v6 { net.nat6 } else { net.nat4 } {
                let multicast = if v6 { "ff00::/8" } else { "224.0.0.0/4" };
                let mut rule = vec![
                    Expression::Source(subnet, true),
                    Expression::Destination(subnet, false),
                ];
                rule.extend(
                    multicast
                        .parse()
                        .ok()
                        .map(|net| Expression::Destination(net, false)),
                );
                // With bridge-nf-call-iptables on, what two namespaces say to each other comes by here as well: a packet to a
                // router beside its sender must keep its source.
                rule.push(Expression::Out(net.name.value.clone(), false));
                rule.extend([Expression::Counter, Expression::Masquerade]);
                leave.push(rule);
            }
            if !redirect.is_empty() {
                leave.push(between_neighbours(subnet));
            }
        }
    }
    if !redirect.is_empty() {
        leave.extend("127.0.0.0/8".parse().ok().map(|loopback| {
            vec![
                Expression::Redirected(true),
                Expression::Source(loopback, true),
                Expression::Counter,
                Expression::Masquerade,
            ]
        }));
    }
    let mut through = Vec::new();
    for net in &spec.nets {
        let name = &net.name.value;
        let within = |is_in, is_out| {
            vec![
                Expression::In(name.clone(), is_in),
                Expression::Out(name.clone(), is_out),
            ]
        };
        if net.internal {
            for mut rule in [within(true, false), within(false, true)] {
                rule.extend([Expression::Counter, Expression::Drop]);
                through.push(rule);
            }
        } else if net.isolate {
            let mut rule = within(false, true);
            rule.extend([
                Expression::New,
                Expression::Redirected(false),
                Expression::Counter,
                Expression::Drop,
            ]);
            through.push(rule);
        }
    }
    of_chains(
        mark,
        sets,
        [
            chain("pre_nat", "nat", (Hook::Prerouting, -100), &redirect),
            chain("out_nat", "nat", (Hook::Output, -100), &redirect),
            chain("post_nat", "nat", (Hook::Postrouting, 100), &leave),
            chain("forward_", "filter", (Hook::Forward, 0), &through),
        ],
    )
}

/// The rules of a namespace that balances services; none if it is not such a one.
pub(super) fn of_node(spec: &Spec, mark: &Mark, addresses: &Addresses, at: usize) -> Option<Table> {
    let mut sets = Vec::new();
    let redirects = redirects_of_node(spec, addresses, at);
    let redirect = redirect_rules(&redirects, spec, &mut sets);
    let mut leave = Vec::new();
    // What came to a port of this node goes back through it, whichever node the pod is on.
    for service in &spec.services {
        if let (Some(port), Some(address)) = (&service.node_port, service.address) {
            leave.push(vec![
                Expression::Redirected(true),
                Expression::AskedFor(Family::of(address), service.protocol, port.value),
                Expression::Counter,
                Expression::Masquerade,
            ]);
        }
    }
    let attached = spec.spaces[at].attachments.iter();
    for net in attached.filter_map(|on| spec.net(&on.net.value)) {
        leave.extend(net.subnets.iter().map(|at| between_neighbours(at.value)));
    }
    if redirect.is_empty() {
        return None;
    }
    of_chains(
        mark,
        sets,
        [
            chain("pre_nat", "nat", (Hook::Prerouting, -100), &redirect),
            chain("out_nat", "nat", (Hook::Output, -100), &redirect),
            chain("post_nat", "nat", (Hook::Postrouting, 100), &leave),
            None,
        ],
    )
}

/// What such a namespace gives another destination.
pub(super) fn redirects_of_node(spec: &Spec, addresses: &Addresses, at: usize) -> Vec<Redirect> {
    let name = &spec.spaces[at].name.value;
    match spec.nodes.iter().any(|node| node.value == *name) {
        true => of_services(spec, addresses),
        false => Vec::new(),
    }
}

/// A neighbour's packet that came back by the router must be answered by way of it.
fn between_neighbours(subnet: IpNet) -> Rule {
    vec![
        Expression::Redirected(true),
        Expression::Source(subnet, true),
        Expression::Destination(subnet, true),
        Expression::Counter,
        Expression::Masquerade,
    ]
}

/// A chain, unless it is empty.
fn chain(
    name: &str,
    kind: &'static str,
    (hook, priority): (Hook, i32),
    rules: &[Rule],
) -> Option<Chain> {
    (!rules.is_empty()).then(|| Chain {
        name: name.to_owned(),
        device: None,
        kind,
        hook,
        priority,
        rules: rules.to_vec(),
    })
}

/// A table, unless it is empty.
fn of_chains(mark: &Mark, sets: Vec<Set>, chains: [Option<Chain>; 4]) -> Option<Table> {
    let chains: Vec<Chain> = chains.into_iter().flatten().collect();
    (!chains.is_empty()).then(|| Table {
        name: mark.table(),
        owner: mark.alias("").trim_end_matches(':').to_owned(),
        sets,
        chains,
    })
}

/// The address of a namespace, on a network or on any.
fn address_of(
    spec: &Spec,
    addresses: &Addresses,
    name: &str,
    net: Option<&str>,
    v6: bool,
) -> Option<IpAddr> {
    let at = spec
        .spaces
        .iter()
        .position(|space| space.name.value == name)?;
    spec.spaces[at]
        .attachments
        .iter()
        .zip(&addresses.spaces[at])
        .filter(|(on, _)| net.is_none_or(|net| on.net.value == net))
        .flat_map(|(_, addresses)| addresses)
        .map(IpNet::addr)
        .find(|address| address.is_ipv6() == v6)
}

/// What gets another destination: services, then ports of one address of this machine, then those of any. The first rule
/// that matches counts.
pub(super) fn redirects(spec: &Spec, addresses: &Addresses) -> Vec<Redirect> {
    let mut found = match spec.nodes[..] {
        [] => of_services(spec, addresses),
        // They do it.
        _ => Vec::new(),
    };
    let mut forwards = Vec::new();
    for net in &spec.nets {
        for forward in &net.forwards {
            for v6 in [false, true] {
                let target =
                    address_of(spec, addresses, &forward.target, Some(&net.name.value), v6);
                forwards.extend(target.and_then(|target| of_forward(forward, target)));
            }
        }
    }
    forwards.sort_by_key(|redirect: &Redirect| redirect.listen.is_none());
    found.extend(forwards);
    found
}

/// What services give another destination: their addresses, and their ports of every node.
fn of_services(spec: &Spec, addresses: &Addresses) -> Vec<Redirect> {
    let mut found = Vec::new();
    for service in &spec.services {
        let Some((address, port)) = service.place() else {
            continue;
        };
        let node_port = service.node_port.as_ref().map(|port| (None, port.value));
        for (listen, port) in [Some((Some(address), port)), node_port]
            .into_iter()
            .flatten()
        {
            let targets = targets(spec, addresses, service);
            found.extend(targets.into_iter().map(|target| Redirect {
                protocol: service.protocol,
                listen,
                port,
                target,
                target_port: service.target_port,
                service: listen.is_some(),
            }));
        }
    }
    found
}

/// The addresses behind a service, of its family.
fn targets(spec: &Spec, addresses: &Addresses, service: &Service) -> Vec<IpAddr> {
    let v6 = service.address.is_some_and(|address| address.is_ipv6());
    let behind = service.to.iter();
    behind
        .filter_map(|to| address_of(spec, addresses, &to.value, None, v6))
        .collect()
}

/// What a forward gives to one address of its target, if its own is of that family.
fn of_forward(forward: &Forward, target: IpAddr) -> Option<Redirect> {
    if forward
        .listen
        .is_some_and(|at| at.is_ipv6() != target.is_ipv6())
    {
        return None;
    }
    Some(Redirect {
        protocol: forward.protocol,
        listen: forward.listen.filter(|at| !at.is_unspecified()),
        port: forward.port,
        target,
        target_port: forward.target_port,
        service: false,
    })
}

/// The rules of redirects; several with one place take turns. A service that keeps its clients remembers who was led where.
fn redirect_rules(redirects: &[Redirect], spec: &Spec, sets: &mut Vec<Set>) -> Vec<Rule> {
    let mut rules = Vec::new();
    let mut begun = Vec::new();
    for (at, redirect) in redirects.iter().enumerate() {
        let place = redirect.place();
        let same = || redirects.iter().filter(|other| other.place() == place);
        let keeps = spec.services.iter().position(|service| {
            let listen = service.place() == redirect.listen.map(|at| (at, redirect.port));
            let node = service.node_port.as_ref().map(|port| port.value) == Some(redirect.port);
            service.protocol == redirect.protocol
                && service.affinity.is_some()
                && (listen && redirect.listen.is_some() || node && redirect.listen.is_none())
        });
        let memory = |target: IpAddr| {
            let number = keeps?;
            let service = &spec.services[number];
            let seconds = service.affinity?;
            let known = same().position(|other| other.target == target)?;
            let word: String = service.name.value.chars().map(of_name).collect();
            Some(Set {
                name: format!("client_{word}_{number}_{known}"),
                family: Family::of(target),
                seconds,
            })
        };
        if !begun.contains(&place) {
            begun.push(place);
            // Who was led somewhere is led there again.
            for other in same() {
                if let Some(set) = memory(other.target) {
                    let mut rule = of_place(other);
                    rule.push(Expression::Remembered(set.clone()));
                    rule.push(Expression::Remember(set.clone()));
                    rule.extend(to_target(other));
                    rules.push(rule);
                    if !sets.contains(&set) {
                        sets.push(set);
                    }
                }
            }
        }
        let mut rule = of_place(redirect);
        let left = redirects[at..].iter();
        let left = left.filter(|other| other.place() == place).count();
        if left > 1 {
            rule.push(Expression::OneIn(left as u32));
        }
        rule.extend(memory(redirect.target).map(Expression::Remember));
        rule.extend(to_target(redirect));
        rules.push(rule);
    }
    rules
}

/// A character of a name, as names of sets have it.
fn of_name(c: char) -> char {
    if c.is_ascii_alphanumeric() { c } else { '_' }
}

/// Which packets a redirect takes.
fn of_place(redirect: &Redirect) -> Rule {
    vec![
        match redirect.listen {
            Some(address) => Expression::Destination(address.into(), true),
            None => Expression::ToThisMachine(Family::of(redirect.target)),
        },
        Expression::Port(redirect.protocol, redirect.port),
    ]
}

/// Where it leads them.
fn to_target(redirect: &Redirect) -> [Expression; 2] {
    [
        Expression::Counter,
        Expression::ToTarget(redirect.target, redirect.target_port),
    ]
}
