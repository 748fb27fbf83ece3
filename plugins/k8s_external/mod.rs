//! `k8s_external`: services of a cluster under names of the world outside.
//!
//! ```text
//!  SVC.NS.example.org ─► who offers services (capability.rs) is asked for SVC.NS ─► A, AAAA, SRV of its external addresses
//! ```
//!
//! An answer of addresses is written while the services are visited: nothing waits or allocates. A load balancer that has a name
//! instead of an address suspends the query, and the server asks itself for that name.

mod chase;
mod setup;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::sync::{Arc, OnceLock};

use chain::capability::{self, Capabilities, Existence, Host, Reachable};
use chain::{
    BlockInfo, Exchange, ExtendedError, Failure, Fallthrough, Flow, Plugin, Query, Resolving,
    reverse,
};
use wire::{Class, Flags, Name, NameBuf, NameError, Qname, Rcode, Response, Section, Type};

pub(crate) use setup::REGISTRATION;

/// A zone that is served, and the names that its own records tell.
struct Zone {
    origin: NameBuf,
    /// Whether it is a zone of addresses, which has no names of services.
    reverse: bool,
    /// `dns.ORIGIN`, below which the name server has its name.
    apex: NameBuf,
    /// `ns1.dns.ORIGIN`.
    server: NameBuf,
    /// `hostmaster.dns.ORIGIN`.
    mailbox: NameBuf,
}

impl Zone {
    fn new(origin: NameBuf, apex: Name<'_>) -> Result<Self, NameError> {
        let octets = apex.octets();
        let labels = &octets[..octets.len().saturating_sub(1)];
        let apex = [labels, origin.as_name().octets()].concat();
        let apex = NameBuf::from_name(Name::new(&apex)?);
        Ok(Self {
            server: NameBuf::prepend(b"ns1", apex.as_name())?,
            mailbox: NameBuf::prepend(b"hostmaster", apex.as_name())?,
            reverse: reverse::is_within(origin.as_name()),
            origin,
            apex,
        })
    }
}

/// `k8s_external` at work.
struct External {
    zones: Vec<Zone>,
    fall: Fallthrough,
    headless: bool,
    ttl: u32,
    capabilities: Arc<Capabilities>,
    source: &'static str,
    found: OnceLock<Vec<Arc<dyn capability::External>>>,
}

/// What a name leads to.
struct Found {
    existence: Existence,
    /// How many ways there are to reach it.
    ways: usize,
    /// Whether one of them is a host's name, which has to be looked up.
    names: bool,
}

impl Found {
    /// No such name.
    const NOTHING: Self = Self {
        existence: Existence::NxDomain,
        ways: 0,
        names: false,
    };
}

impl Plugin for External {
    fn name(&self) -> &'static str {
        "k8s_external"
    }

    fn query(&self, query: &mut Query<'_>, response: &mut Response<'_>) -> Result<Flow, Failure> {
        self.answer(query, response)
    }

    fn resolve(self: Arc<Self>, exchange: Box<Exchange>) -> Resolving {
        Box::pin(chase::resolve(self, exchange))
    }

    fn attach(&self, _: &BlockInfo) {
        self.found
            .get_or_init(|| self.capabilities.externals(self.source));
    }
}

impl External {
    /// Answers what can be answered at once: [`Flow::Suspend`] where the state is not known yet, or a host's name is to be looked up.
    fn answer(&self, query: &Query<'_>, response: &mut Response<'_>) -> Result<Flow, Failure> {
        let (qname, qtype) = (query.qname(), query.qtype());
        let Some(zone) = self.zone(qname) else {
            return Ok(Flow::Next);
        };
        response.set_flag(Flags::AA, true);
        if qname.name() == zone.origin.as_name() {
            self.apex(zone, qtype, response);
            return Ok(Flow::Answered);
        }
        if qname.name().is_within(zone.apex.as_name()) {
            self.below_apex(zone, query, response);
            return Ok(Flow::Answered);
        }
        let found = match reverse::address(qname) {
            Some(address) => self.pointers((qname, qtype), address, response),
            None if zone.reverse => Found::NOTHING,
            None => self.find(zone, qname),
        };
        match found.existence {
            Existence::NotReady => return Ok(Flow::Suspend),
            Existence::NxDomain if self.fall.through(qname) => {
                response.set_flag(Flags::AA, false);
                return Ok(Flow::Next);
            }
            Existence::NxDomain => response.set_rcode(Rcode::NXDOMAIN),
            Existence::Exists => match qtype {
                Type::A | Type::AAAA | Type::SRV if found.names => return Ok(Flow::Suspend),
                Type::A | Type::AAAA => self.addresses(zone, query, response),
                Type::SRV => self.services(zone, qname, found.ways, response),
                _ => {}
            },
        }
        if response.count(Section::Answer) == 0 {
            self.soa(zone, Section::Authority, response);
        }
        Ok(Flow::Answered)
    }
}

/// The answer before the cluster's state is known.
fn not_ready() -> Failure {
    Failure::policy(Rcode::SERVFAIL).extended(
        ExtendedError::NOT_READY,
        "the cluster's services are not known yet",
    )
}

impl External {
    /// The closest zone that encloses `qname`.
    fn zone(&self, qname: &Qname) -> Option<&Zone> {
        self.zones
            .iter()
            .filter(|zone| qname.name().is_within(zone.origin.as_name()))
            .max_by_key(|zone| zone.origin.as_name().octets().len())
    }

    /// Who offers services, in file order.
    fn sources(&self) -> impl Iterator<Item = &Arc<dyn capability::External>> {
        self.found.get().into_iter().flatten()
    }

    /// Visits what `qname` leads to, at the first source that knows the name.
    fn visit(
        &self,
        zone: &Zone,
        qname: &Qname,
        visit: capability::VisitReachable<'_>,
    ) -> Existence {
        let left = qname.label_count() - zone.origin.as_name().label_count();
        let mut last = Existence::NxDomain;
        for source in self.sources() {
            match source.find(qname, left, self.headless, &mut *visit) {
                Existence::Exists => return Existence::Exists,
                Existence::NotReady => last = Existence::NotReady,
                Existence::NxDomain => {}
            }
        }
        last
    }

    fn find(&self, zone: &Zone, qname: &Qname) -> Found {
        let (mut ways, mut names) = (0, false);
        let existence = self.visit(zone, qname, &mut |way| {
            ways += 1;
            names |= matches!(way.host, Host::Name(_));
            ControlFlow::Continue(())
        });
        Found {
            existence,
            ways,
            names,
        }
    }

    /// Looks an address up among the external ones; to a query for PTR, writes the names of its services, under the first zone that has
    /// names of services.
    fn pointers(
        &self,
        (qname, qtype): (&Qname, Type),
        address: IpAddr,
        response: &mut Response<'_>,
    ) -> Found {
        let mut existence = Existence::NxDomain;
        let fixed = (Type::PTR, Class::IN, self.ttl);
        let named = self.zones.iter().find(|zone| !zone.reverse);
        let zone = named.or_else(|| self.zones.first());
        for source in self.sources() {
            let mut known = false;
            let said = source.reverse(address, &mut |labels| {
                let Some(name) = zone.and_then(|zone| under(labels, zone)) else {
                    return ControlFlow::Continue(());
                };
                known = true;
                if qtype != Type::PTR {
                    return ControlFlow::Break(());
                }
                let target = (&[][..], name.as_name());
                pushed(response.push_named(Section::Answer, qname.name(), fixed, target))
            });
            if known {
                existence = Existence::Exists;
            } else if said == Existence::NotReady && existence == Existence::NxDomain {
                existence = said;
            }
        }
        Found {
            existence,
            ways: 0,
            names: false,
        }
    }

    /// Writes the addresses of QTYPE's family, each once.
    fn addresses(&self, zone: &Zone, query: &Query<'_>, response: &mut Response<'_>) {
        let (name, qtype) = (query.name(), query.qtype());
        let mut seen = Seen::default();
        self.visit(zone, query.qname(), &mut |way| match way.host {
            Host::Address(address) if family(address) == qtype && seen.is_new(address) => pushed(
                push_address(response, Section::Answer, (name, self.ttl), address),
            ),
            _ => ControlFlow::Continue(()),
        });
    }

    /// Writes an SRV record for each host and port, and then the hosts' addresses.
    fn services(&self, zone: &Zone, qname: &Qname, ways: usize, response: &mut Response<'_>) {
        let weight = weight(ways);
        let mut seen = HashSet::new();
        self.visit(zone, qname, &mut |way| {
            let Some((name, port)) = under(way.labels, zone).zip(way.port) else {
                return ControlFlow::Continue(());
            };
            if !seen.insert((way.labels.to_vec(), port)) {
                return ControlFlow::Continue(());
            }
            pushed(self.push_service(response, qname.name(), (weight, port), name.as_name()))
        });
        let mut seen = HashSet::new();
        self.visit(zone, qname, &mut |way| {
            let (Some(name), Some(address)) = (under(way.labels, zone), with_port(&way)) else {
                return ControlFlow::Continue(());
            };
            if !seen.insert((way.labels.to_vec(), address)) {
                return ControlFlow::Continue(());
            }
            let owner = (name.as_name(), self.ttl);
            pushed(push_address(response, Section::Additional, owner, address))
        });
    }

    fn push_service(
        &self,
        response: &mut Response<'_>,
        owner: Name<'_>,
        (weight, port): (u16, u16),
        target: Name<'_>,
    ) -> Result<(), wire::Full> {
        let [w0, w1] = weight.to_be_bytes();
        let [p0, p1] = port.to_be_bytes();
        // RFC 2782: the target is not compressed.
        let rdata = [&[0, 0, w0, w1, p0, p1], target.octets()].concat();
        let fixed = (Type::SRV, Class::IN, self.ttl);
        response.push(Section::Answer, owner, fixed, &rdata)
    }

    /// SOA and NS at the zone's own name.
    fn apex(&self, zone: &Zone, qtype: Type, response: &mut Response<'_>) {
        match qtype {
            Type::SOA => self.soa(zone, Section::Answer, response),
            Type::NS => {
                let fixed = (Type::NS, Class::IN, self.ttl);
                let target = (&[][..], zone.server.as_name());
                let _ = response.push_named(Section::Answer, zone.origin.as_name(), fixed, target);
                self.servers(&mut |address| {
                    let owner = (zone.server.as_name(), self.ttl);
                    pushed(push_address(response, Section::Additional, owner, address))
                });
            }
            _ => self.soa(zone, Section::Authority, response),
        }
    }

    /// The name server's own name; its parent is an empty non-terminal, and nothing else is there.
    fn below_apex(&self, zone: &Zone, query: &Query<'_>, response: &mut Response<'_>) {
        let (name, qtype) = (query.name(), query.qtype());
        if name == zone.server.as_name() {
            self.servers(&mut |address| {
                if family(address) != qtype {
                    return ControlFlow::Continue(());
                }
                pushed(push_address(
                    response,
                    Section::Answer,
                    (name, self.ttl),
                    address,
                ))
            });
        } else if name != zone.apex.as_name() {
            response.set_rcode(Rcode::NXDOMAIN);
        }
        if response.count(Section::Answer) == 0 {
            self.soa(zone, Section::Authority, response);
        }
    }

    fn servers(&self, visit: capability::VisitAddress<'_>) {
        for source in self.sources().take(1) {
            source.servers(self.headless, &mut *visit);
        }
    }

    fn soa(&self, zone: &Zone, section: Section, response: &mut Response<'_>) {
        let serial = self.sources().map(|source| source.serial()).max();
        let mut rdata = [0; 2 * wire::MAX_NAME + 20];
        let mut end = 0;
        let numbers = [serial.unwrap_or(0), 7_200, 1_800, 86_400, self.ttl].map(u32::to_be_bytes);
        for piece in [
            zone.server.as_name().octets(),
            zone.mailbox.as_name().octets(),
            numbers.as_flattened(),
        ] {
            rdata[end..end + piece.len()].copy_from_slice(piece);
            end += piece.len();
        }
        let fixed = (Type::SOA, Class::IN, self.ttl);
        // A response that is too full for it is marked truncated.
        let _ = response.push(section, zone.origin.as_name(), fixed, &rdata[..end]);
    }
}

/// CoreDNS's weight of one among `ways` of equal priority.
fn weight(ways: usize) -> u16 {
    (100 / ways.max(1)).max(1) as u16
}

/// The address of a way that has an SRV record.
fn with_port(way: &Reachable<'_>) -> Option<IpAddr> {
    match way.host {
        Host::Address(address) if way.port.is_some() => Some(address),
        _ => None,
    }
}

/// `labels` under a zone; none when the name would be too long.
fn under(labels: &[u8], zone: &Zone) -> Option<NameBuf> {
    let mut octets = [0; wire::MAX_NAME];
    let origin = zone.origin.as_name().octets();
    let name = octets.get_mut(..labels.len() + origin.len())?;
    name[..labels.len()].copy_from_slice(labels);
    name[labels.len()..].copy_from_slice(origin);
    Name::new(name).ok().map(NameBuf::from_name)
}

/// The type of an address's record.
fn family(address: IpAddr) -> Type {
    match address {
        IpAddr::V4(_) => Type::A,
        IpAddr::V6(_) => Type::AAAA,
    }
}

fn push_address(
    response: &mut Response<'_>,
    section: Section,
    (owner, ttl): (Name<'_>, u32),
    address: IpAddr,
) -> Result<(), wire::Full> {
    let fixed = (family(address), Class::IN, ttl);
    match address {
        IpAddr::V4(address) => response.push(section, owner, fixed, &address.octets()),
        IpAddr::V6(address) => response.push(section, owner, fixed, &address.octets()),
    }
}

/// Goes on while there is room; a response that was cut is marked so.
fn pushed(result: Result<(), wire::Full>) -> ControlFlow<()> {
    match result {
        Ok(()) => ControlFlow::Continue(()),
        Err(_) => ControlFlow::Break(()),
    }
}

/// Addresses that were written; as many as most services have stand on the stack.
struct Seen {
    few: [IpAddr; 16],
    len: usize,
    more: HashSet<IpAddr>,
}

impl Default for Seen {
    fn default() -> Self {
        Self {
            few: [IpAddr::from([0, 0, 0, 0]); 16],
            len: 0,
            more: HashSet::new(),
        }
    }
}

impl Seen {
    fn is_new(&mut self, address: IpAddr) -> bool {
        if self.few[..self.len].contains(&address) {
            return false;
        }
        if let Some(place) = self.few.get_mut(self.len) {
            *place = address;
            self.len += 1;
            return true;
        }
        self.more.insert(address)
    }
}
