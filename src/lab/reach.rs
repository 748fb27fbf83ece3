//! Who can reach whom, computed from the file alone: interfaces, routes and routers, as the kernel will have them.
//!
//! The host is node 0 and namespace `i` is node `i + 1`; each node has addresses with prefixes and routes with next
//! hops. A path is walked there and back, longest prefix first, as `ip route get` would.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::spec::address::Addresses;
use crate::spec::{Dns, Spec};

/// The lab as a graph.
#[derive(Debug)]
pub struct Picture<'a> {
    spec: &'a Spec,
    nodes: Vec<Node>,
}

/// The host or a namespace.
#[derive(Debug, Default)]
struct Node {
    name: String,
    /// Address and the segment that it lies on.
    addresses: Vec<(IpNet, usize)>,
    routes: Vec<(IpNet, IpAddr)>,
    forwards: bool,
}

impl<'a> Picture<'a> {
    /// Builds the graph.
    #[must_use]
    pub fn of(spec: &'a Spec, addresses: &Addresses) -> Self {
        let forwarding = crate::layout::host_forwards(spec);
        let mut nodes = vec![Node {
            name: "the host".to_owned(),
            forwards: forwarding,
            ..Node::default()
        }];
        for (index, net) in spec.nets.iter().enumerate() {
            for v6 in [false, true] {
                if let (Some(address), Some(subnet)) = (net.host_address(v6), net.subnet(v6)) {
                    nodes[0].addresses.extend(
                        IpNet::new(address, subnet.prefix_len()).map(|address| (address, index)),
                    );
                }
            }
        }
        for (at, space) in spec.spaces.iter().enumerate() {
            let mut node = Node {
                name: space.name.value.clone(),
                forwards: space.router,
                ..Node::default()
            };
            for (slot, on) in space.attachments.iter().enumerate() {
                let segment = spec
                    .nets
                    .iter()
                    .position(|net| net.name.value == on.net.value);
                let Some(segment) = segment else { continue };
                for address in &addresses.spaces[at][slot] {
                    node.addresses.push((*address, segment));
                }
            }
            for (index, link) in spec.links.iter().enumerate() {
                for (end, name) in link.ends.iter().enumerate() {
                    if *name == space.name.value {
                        for address in &addresses.links[index][end] {
                            node.addresses.push((*address, spec.nets.len() + index));
                        }
                    }
                }
            }
            nodes.push(node);
        }
        let mut picture = Self { spec, nodes };
        for at in 0..spec.spaces.len() {
            let routes = picture.routes(at);
            picture.nodes[at + 1].routes = routes;
        }
        picture
    }

    /// The addresses of a namespace.
    #[must_use]
    pub fn addresses(&self, space: usize) -> Vec<IpAddr> {
        self.nodes[space + 1]
            .addresses
            .iter()
            .map(|(address, _)| address.addr())
            .collect()
    }

    /// The routes of a namespace, declared and by default; the first default of a family is the preferred one.
    #[must_use]
    pub fn routes(&self, at: usize) -> Vec<(IpNet, IpAddr)> {
        let space = &self.spec.spaces[at];
        let mut routes = Vec::new();
        for route in &space.routes {
            if let Some(via) = self.next_hop(at, &route.via, route.to.addr().is_ipv6()) {
                routes.push((route.to, via));
            }
        }
        if !space.default {
            return routes;
        }
        for v6 in [false, true] {
            let everything = if v6 { default_v6() } else { default_v4() };
            for on in &space.attachments {
                let Some(net) = self.spec.net(&on.net.value) else {
                    continue;
                };
                if net.subnet(v6).is_none() {
                    continue;
                }
                let gateway = match &net.gateway {
                    Some(gateway) if gateway.value == space.name.value => None,
                    Some(gateway) => match gateway.value.parse::<IpAddr>() {
                        Ok(address) => Some(address).filter(|address| address.is_ipv6() == v6),
                        Err(_) => self.next_hop(at, &gateway.value, v6),
                    },
                    None if net.internal => None,
                    None => net.host_address(v6),
                };
                // A router that is a network's gateway itself has no default there.
                if let Some(gateway) = gateway
                    && !self.nodes[at + 1]
                        .addresses
                        .iter()
                        .any(|(own, _)| own.addr() == gateway)
                    && !routes.iter().any(|(to, _)| *to == everything)
                {
                    routes.push((everything, gateway));
                }
            }
        }
        routes
    }

    /// A next hop's address: as written, or that of a namespace on a common segment.
    #[must_use]
    pub fn next_hop(&self, at: usize, via: &str, v6: bool) -> Option<IpAddr> {
        let own = &self.nodes[at + 1].addresses;
        if let Ok(address) = via.parse::<IpAddr>() {
            return own
                .iter()
                .any(|(net, _)| net.contains(&address))
                .then_some(address);
        }
        let other = self
            .spec
            .spaces
            .iter()
            .position(|space| space.name.value == via)?;
        self.nodes[other + 1]
            .addresses
            .iter()
            .find(|(address, segment)| {
                address.addr().is_ipv6() == v6 && own.iter().any(|(_, mine)| mine == segment)
            })
            .map(|(address, _)| address.addr())
    }

    /// Where the namespace's queries go; none if no server can be reached.
    #[must_use]
    pub fn resolver(&self, at: usize) -> Option<IpAddr> {
        match self.spec.dns {
            Dns::Off => return None,
            Dns::Address(address) => return Some(address),
            Dns::Bridge => {}
        }
        let own = &self.nodes[at + 1].addresses;
        let host = &self.nodes[0].addresses;
        let direct = own.iter().find_map(|(_, segment)| {
            host.iter()
                .find(|(_, other)| other == segment)
                .map(|(address, _)| address.addr())
        });
        // Behind a router there is a server only where the host has a way back.
        direct.or_else(|| {
            host.iter()
                .map(|(address, _)| address.addr())
                .find(|address| {
                    let mut mine = own.iter().map(|(address, _)| address.addr());
                    let source = mine.find(|own| own.is_ipv6() == address.is_ipv6());
                    self.walk(at + 1, *address).is_ok()
                        && source.is_some_and(|source| self.walk(0, source).is_ok())
                })
        })
    }

    /// Whether a packet gets there and its answer back.
    ///
    /// # Errors
    /// Where it is lost, in words.
    pub fn path(&self, from: usize, to: usize) -> Result<(), String> {
        let (one, other) = (&self.nodes[from + 1], &self.nodes[to + 1]);
        let mut last = "no address family in common".to_owned();
        for (target, _) in &other.addresses {
            let same =
                |address: &&(IpNet, usize)| address.0.addr().is_ipv6() == target.addr().is_ipv6();
            let Some((source, _)) = one.addresses.iter().find(same) else {
                continue;
            };
            match self.walk(from + 1, target.addr()).and_then(|()| {
                self.walk(to + 1, source.addr())
                    .map_err(|why| format!("the answer is lost: {why}"))
            }) {
                Ok(()) => return Ok(()),
                Err(why) => last = why,
            }
        }
        Err(last)
    }

    /// Follows a packet.
    fn walk(&self, from: usize, to: IpAddr) -> Result<(), String> {
        let mut at = from;
        for hop in 0..16 {
            let node = &self.nodes[at];
            if node.addresses.iter().any(|(own, _)| own.addr() == to) {
                return Ok(());
            }
            if hop > 0 && !node.forwards {
                return Err(format!("{} does not route", node.name));
            }
            let direct = node
                .addresses
                .iter()
                .filter(|(own, _)| own.contains(&to))
                .max_by_key(|(own, _)| own.prefix_len());
            let via = match direct {
                Some(_) => to,
                None => {
                    let route = node
                        .routes
                        .iter()
                        .filter(|(net, _)| net.contains(&to))
                        .max_by_key(|(net, _)| net.prefix_len());
                    match route {
                        Some((_, via)) => *via,
                        None => return Err(format!("{} has no route to {to}", node.name)),
                    }
                }
            };
            let segments: Vec<usize> = node
                .addresses
                .iter()
                .filter(|(own, _)| own.contains(&via))
                .map(|(_, segment)| *segment)
                .collect();
            let next = self.nodes.iter().position(|other| {
                other
                    .addresses
                    .iter()
                    .any(|(own, segment)| own.addr() == via && segments.contains(segment))
            });
            match next {
                Some(next) => at = next,
                None => return Err(format!("nobody has {via}")),
            }
        }
        Err("the routes go in a circle".to_owned())
    }
}

/// 0.0.0.0/0
fn default_v4() -> IpNet {
    IpNet::V4(ipnet::Ipv4Net::default())
}

/// ::/0
fn default_v6() -> IpNet {
    IpNet::V6(ipnet::Ipv6Net::default())
}
