//! Who can reach whom, computed from the file alone: interfaces, routes and routers, as the kernel will have them.
//!
//! The host is node 0 and namespace `i` is node `i + 1`; each node has addresses with prefixes and routes with next
//! hops. A path is walked there and back, longest prefix first, as `ip route get` would.

use std::cmp::Reverse;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

use crate::spec::address::Addresses;
use crate::spec::{Dns, Spec};

/// Where `dns = "inside"` has the server in each namespace: Docker's address, which some programs have in their
/// configuration.
pub const INSIDE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 11));

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
    routes: Vec<Hop>,
    forwards: bool,
    /// Whether it drops what comes from an address of IPv4 that it has no route to: `rp_filter`.
    filters: bool,
}

/// A route of a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hop {
    /// The destination.
    pub to: IpNet,
    /// The next hop.
    pub via: IpAddr,
    /// Of two routes to one destination the lower one is taken.
    pub metric: u32,
}

impl Hop {
    /// The `nth` route to a destination.
    fn new(to: IpNet, via: IpAddr, nth: u32) -> Self {
        let metric = first_metric(to) + nth * 100;
        Self { to, via, metric }
    }
}

/// The metric of a route that is told none: `IP6_RT_PRIO_USER` in IPv6.
#[must_use]
pub fn first_metric(to: IpNet) -> u32 {
    if to.addr().is_ipv6() { 1_024 } else { 0 }
}

impl Node {
    /// Whether it has any route to an address.
    fn leads_to(&self, to: IpAddr) -> bool {
        self.addresses.iter().any(|(own, _)| own.contains(&to))
            || self.routes.iter().any(|route| route.to.contains(&to))
    }
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
                filters: space.router
                    && !space
                        .sysctl
                        .iter()
                        .any(|(key, _)| key.contains("rp_filter")),
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

    /// The routes of a namespace, declared and by default: by the first network with a gateway, and by the others where that
    /// route goes, because its link is down.
    #[must_use]
    pub fn routes(&self, at: usize) -> Vec<Hop> {
        let space = &self.spec.spaces[at];
        let mut routes = Vec::new();
        for route in &space.routes {
            for to in self.spec.destinations(route) {
                if let Some(via) = self.next_hop(at, &route.via, to.addr().is_ipv6()) {
                    routes.push(Hop::new(to, via, 0));
                }
            }
        }
        if !space.default {
            return routes;
        }
        for v6 in [false, true] {
            let everything = if v6 { default_v6() } else { default_v4() };
            if routes.iter().any(|route| route.to == everything) {
                continue;
            }
            let mut nth = 0;
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
                {
                    routes.push(Hop::new(everything, gateway, nth));
                    nth += 1;
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

    /// The server that the namespace's resolv.conf names: with `dns = "inside"` one address in all of them, which leads to
    /// that of [`resolver`](Self::resolver).
    #[must_use]
    pub fn nameserver(&self, at: usize) -> Option<IpAddr> {
        match self.led_inside(at) {
            Some(_) => Some(INSIDE),
            None => self.resolver(at),
        }
    }

    /// Where [`INSIDE`] leads in a namespace; nowhere unless there is a server with an IPv4 address in reach.
    #[must_use]
    pub fn led_inside(&self, at: usize) -> Option<IpAddr> {
        let wanted = self.spec.inside && !self.spec.spaces[at].is_host;
        wanted.then(|| self.resolver_of(at, |address| address.is_ipv4()))?
    }

    /// Where the namespace's queries go; none if no server can be reached.
    #[must_use]
    pub fn resolver(&self, at: usize) -> Option<IpAddr> {
        self.resolver_of(at, |_| true)
    }

    /// The same, among the host's addresses that are good for it.
    fn resolver_of(&self, at: usize, good: impl Fn(&IpAddr) -> bool) -> Option<IpAddr> {
        match self.spec.dns {
            Dns::Off => return None,
            // Where it is nobody knows here; what has no way to anywhere cannot ask it.
            Dns::Address(address) => {
                let node = &self.nodes[at + 1];
                let nets = node.addresses.iter().map(|(net, _)| net);
                let mut ways = nets.chain(node.routes.iter().map(|route| &route.to));
                return ways.any(|net| net.contains(&address)).then_some(address);
            }
            Dns::Bridge => {}
        }
        let own = &self.nodes[at + 1].addresses;
        let host = &self.nodes[0].addresses;
        let direct = own.iter().find_map(|(_, segment)| {
            host.iter()
                .find(|(address, other)| other == segment && good(&address.addr()))
                .map(|(address, _)| address.addr())
        });
        // Behind a router there is a server only where the host has a way back.
        direct.or_else(|| {
            let mut host = host.iter().map(|(address, _)| address.addr());
            host.find(|address| {
                good(address)
                    && match self.walk(at + 1, *address, None) {
                        Ok(Some(source)) => self.walk(0, source, Some(*address)).is_ok(),
                        Ok(None) => true,
                        Err(_) => false,
                    }
            })
        })
    }

    /// Whether a packet gets there and its answer back, by any address.
    ///
    /// # Errors
    /// Where it is lost.
    pub fn path(&self, from: usize, to: usize) -> Result<(), Lost> {
        let mut last = Lost::by_mistake("no address family in common".to_owned());
        for target in self.addresses(to) {
            let same = |own: &IpAddr| own.is_ipv6() == target.is_ipv6();
            if !self.addresses(from).iter().any(same) {
                continue;
            }
            match self.path_to(from, to, target) {
                Ok(()) => return Ok(()),
                Err(lost) => last = lost,
            }
        }
        Err(last)
    }

    /// Whether a packet gets to one address of a namespace and its answer back.
    ///
    /// # Errors
    /// Where it is lost.
    pub fn path_to(&self, from: usize, to: usize, target: IpAddr) -> Result<(), Lost> {
        let Some(source) = self.walk(from + 1, target, None)? else {
            return Ok(());
        };
        let back = self.walk(to + 1, source, Some(target));
        back.map(drop).map_err(|lost| Lost {
            why: format!("the reply is lost: {}", lost.why),
            ..lost
        })
    }

    /// The way of a packet from a namespace to an address, and of its answer: a line for each hop, and how it ends.
    #[must_use]
    pub fn way(&self, from: usize, target: IpAddr) -> Vec<String> {
        let mut lines = Vec::new();
        let there = self.follow(from + 1, target, None, &mut lines);
        let source = match there {
            Err(lost) => {
                lines.push(format!("lost: {}", lost.why));
                return lines;
            }
            Ok(source) => source,
        };
        lines.push(format!("{target} has it"));
        let owner = |node: &Node| node.addresses.iter().any(|(own, _)| own.addr() == target);
        if let (Some(source), Some(to)) = (source, self.nodes.iter().position(owner)) {
            lines.push("and back".to_owned());
            match self.follow(to, source, Some(target), &mut lines) {
                Ok(_) => lines.push(format!("{source} has it")),
                Err(lost) => lines.push(format!("the reply is lost: {}", lost.why)),
            }
        }
        lines
    }

    /// Follows a packet; the address that it leaves with, unless it stays. One that answers has the address that was
    /// asked; another one begins a connection.
    fn walk(
        &self,
        from: usize,
        to: IpAddr,
        answers: Option<IpAddr>,
    ) -> Result<Option<IpAddr>, Lost> {
        self.follow(from, to, answers, &mut Vec::new())
    }

    /// The same, with a line for each hop.
    fn follow(
        &self,
        from: usize,
        to: IpAddr,
        answers: Option<IpAddr>,
        lines: &mut Vec<String>,
    ) -> Result<Option<IpAddr>, Lost> {
        let (mut at, mut source, mut came) = (from, answers, None);
        for hop in 0..16 {
            let node = &self.nodes[at];
            if node.addresses.iter().any(|(own, _)| own.addr() == to) {
                return Ok(source);
            }
            if hop > 0 && !node.forwards {
                return Err(Lost::by_mistake(format!("{} does not route", node.name)));
            }
            if let (true, Some(from @ IpAddr::V4(_))) = (hop > 0 && node.filters, source)
                && !node.leads_to(from)
            {
                let name = &node.name;
                let why = format!("{name} drops what comes from {from}: it has no route there");
                return Err(Lost::by_mistake(why));
            }
            let is_direct = node.addresses.iter().any(|(own, _)| own.contains(&to));
            let mut via = to;
            if !is_direct {
                let routes = node.routes.iter().filter(|route| route.to.contains(&to));
                let route =
                    routes.max_by_key(|route| (route.to.prefix_len(), Reverse(route.metric)));
                let lost = || Lost::by_mistake(format!("{} has no route to {to}", node.name));
                via = route.ok_or_else(lost)?.via;
            }
            let has = |other: &Node, segment: usize| {
                let mut theirs = other.addresses.iter();
                theirs.any(|(address, on)| address.addr() == via && *on == segment)
            };
            let mut own: Vec<_> = node
                .addresses
                .iter()
                .filter(|(own, _)| own.contains(&via))
                .collect();
            own.sort_by_key(|(own, _)| Reverse(own.prefix_len()));
            let next = own.into_iter().find_map(|(address, segment)| {
                let next = self.nodes.iter().position(|other| has(other, *segment))?;
                Some((next, *segment, address.addr()))
            });
            let lost = || Lost::by_mistake(format!("no namespace has {via}"));
            let (next, segment, address) = next.ok_or_else(lost)?;
            if let (0, Some(came)) = (at, came) {
                self.passes(came, segment, answers.is_none())?;
            }
            lines.push(self.hop(at, (via, to), segment, address));
            source.get_or_insert(address);
            (at, came) = (next, Some(segment));
        }
        Err(Lost::by_mistake("the routes form a loop".to_owned()))
    }

    /// One hop in words.
    fn hop(&self, at: usize, (via, to): (IpAddr, IpAddr), segment: usize, own: IpAddr) -> String {
        let on = match self.spec.nets.get(segment) {
            Some(net) => format!("on {}", net.name.value),
            None => "over the link".to_owned(),
        };
        let how = if via == to {
            format!("finds {to} {on}")
        } else {
            format!("has a route to {to} via {via} {on}")
        };
        // What leaves by a network's own bridge keeps its source.
        let masquerades = at == 0
            && self.spec.nets.iter().enumerate().any(|(other, net)| {
                other != segment && if to.is_ipv6() { net.nat6 } else { net.nat4 }
            });
        let masked = if masquerades {
            format!("; the source of packets from networks with `nat` becomes {own}")
        } else {
            String::new()
        };
        format!("{} ({own}) {how}{masked}", self.nodes[at].name)
    }

    /// Whether the host lets a packet through from one network to another.
    fn passes(&self, from: usize, to: usize, first: bool) -> Result<(), Lost> {
        let net = |segment: usize| self.spec.nets.get(segment).filter(|_| from != to);
        let closed = [net(from), net(to)]
            .into_iter()
            .flatten()
            .find(|net| net.internal)
            .map(|net| format!("{} is internal", net.name.value));
        let isolated = net(to)
            .filter(|net| net.isolate && first)
            .map(|net| format!("{} is isolated", net.name.value));
        match closed.or(isolated) {
            Some(why) => Err(Lost { why, meant: true }),
            None => Ok(()),
        }
    }
}

/// Where a packet is lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// In words.
    pub why: String,
    /// Whether the file says so.
    pub meant: bool,
}

impl Lost {
    /// A route, a router or a neighbour is missing.
    fn by_mistake(why: String) -> Self {
        Self { why, meant: false }
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
