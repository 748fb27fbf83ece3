//! The rules of a lab: port forwards, services, masquerading, and what is closed; and those of the namespaces that balance
//! services, as each node of a cluster does.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};

use super::Mark;
use crate::nft::{Chain, Expression, Family, Hook, Rule, Set, Table};
use crate::reach::INSIDE;
use crate::redirect::Redirect;
use crate::spec::address::Addresses;
use crate::spec::{Forward, Net, Protocol, Service, Spec};

/// Where DNS servers listen.
const DNS: u16 = 53;

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
        leave.push(of_loopback());
    }
    // Of a bridge whose packets may come from loopback.
    let guard: Vec<Rule> = spec
        .nets
        .iter()
        .filter(|net| is_local(spec, net))
        .map(|net| guard_loopback(Expression::In(net.name.value.clone(), true)))
        .collect();
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
            chain("guard", "filter", (Hook::Prerouting, -300), &guard),
            chain("pre_nat", "nat", (Hook::Prerouting, -100), &redirect),
            chain("out_nat", "nat", (Hook::Output, -100), &redirect),
            chain("post_nat", "nat", (Hook::Postrouting, 100), &leave),
            chain("forward_", "filter", (Hook::Forward, 0), &through),
        ],
    )
}

/// The rules of a namespace that balances services, or has the lab's server at an address of its own; none if it needs none.
pub(super) fn of_space(
    spec: &Spec,
    mark: &Mark,
    (addresses, server): (&Addresses, Option<IpAddr>),
    at: usize,
) -> Option<Table> {
    let mut sets = Vec::new();
    let redirects = redirects_of_space(spec, (addresses, server), at);
    let redirect = redirect_rules(&redirects, spec, &mut sets);
    if redirect.is_empty() {
        return None;
    }
    let (mut leave, mut come, mut guard) = (Vec::new(), &[][..], Vec::new());
    if balances(spec, at) {
        come = &redirect;
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
    }
    if is_local_inside(spec, server, at) {
        leave.push(of_loopback());
        guard.push(guard_loopback(Expression::In("lo".to_owned(), false)));
    }
    of_chains(
        mark,
        sets,
        [
            chain("guard", "filter", (Hook::Prerouting, -300), &guard),
            chain("pre_nat", "nat", (Hook::Prerouting, -100), come),
            chain("out_nat", "nat", (Hook::Output, -100), &redirect),
            chain("post_nat", "nat", (Hook::Postrouting, 100), &leave),
            None,
        ],
    )
}

/// Whether a namespace balances services, as each node of a cluster does.
fn balances(spec: &Spec, at: usize) -> bool {
    let name = &spec.spaces[at].name.value;
    spec.nodes.iter().any(|node| node.value == *name)
}

/// What such a namespace gives another destination.
pub(super) fn redirects_of_space(
    spec: &Spec,
    (addresses, server): (&Addresses, Option<IpAddr>),
    at: usize,
) -> Vec<Redirect> {
    let to_server = |protocol| {
        Some(Redirect {
            protocol,
            listen: Some(INSIDE),
            port: DNS,
            target: server?,
            target_port: DNS,
            service: true,
        })
    };
    let dns = [Protocol::Udp, Protocol::Tcp].into_iter();
    let mut found: Vec<Redirect> = dns.filter_map(to_server).collect();
    if balances(spec, at) {
        found.extend(of_services(spec, addresses));
    }
    found
}

/// Where loopback addresses are.
fn loopback() -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8))
}

/// What was sent to an address of this machine has one of loopback as its source, to which nobody could answer.
fn of_loopback() -> Rule {
    vec![
        Expression::Redirected(true),
        Expression::Source(loopback(), true),
        Expression::Counter,
        Expression::Masquerade,
    ]
}

/// With `route_localnet` the kernel would let neighbours reach what listens on loopback.
fn guard_loopback(from: Expression) -> Rule {
    vec![
        from,
        Expression::Destination(loopback(), true),
        Expression::Counter,
        Expression::Drop,
    ]
}

/// Whether a namespace's own packets from loopback addresses leave it: queries to the lab's server, and what its commands
/// send to ports of services.
pub(super) fn is_local_inside(spec: &Spec, server: Option<IpAddr>, at: usize) -> bool {
    let node_port = |one: &Service| {
        one.node_port.is_some() && one.address.is_some_and(|address| address.is_ipv4())
    };
    server.is_some() || balances(spec, at) && spec.services.iter().any(node_port)
}

/// Whether this machine's own packets from loopback addresses leave by a network's bridge: to forwarded ports and those of
/// services.
pub(super) fn is_local(spec: &Spec, net: &Net) -> bool {
    let of_forward = |one: &Forward| one.listen.is_none_or(|at| at.is_loopback());
    let is_on = |to: &str| {
        let space = spec.space(to);
        space.is_some_and(|one| {
            one.attachments
                .iter()
                .any(|on| on.net.value == net.name.value)
        })
    };
    let of_service = |service: &Service| {
        service.node_port.is_some() && service.to.iter().any(|to| is_on(&to.value))
    };
    net.forwards.iter().any(of_forward)
        || spec.nodes.is_empty() && spec.services.iter().any(of_service)
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
fn of_chains(mark: &Mark, sets: Vec<Set>, chains: [Option<Chain>; 5]) -> Option<Table> {
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
