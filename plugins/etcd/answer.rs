//! Writes answers from nodes.

use chain::Exchange;
use wire::{Class, Flags, Full, Name, NameBuf, Qname, Rcode, Response, Section, Type};

use super::Zone;
use super::node::{Member, Node, rdata};
use super::service::{Host, Service};
use super::store::Snapshot;

/// The seconds that a negative answer may be kept for: TTL and last number of the SOA record.
const NEGATIVE: u32 = 30;
/// How many aliases may stand above one (CoreDNS's bound).
const DEPTH: usize = 10;
/// How many aliases are followed for one query: names may lead to many that lead to many.
const ALIASES: u8 = 64;
/// A compression pointer to the question's name, which stands behind the header.
const QUESTION: usize = 12;

/// A question, and what is known of its zone.
pub(super) struct Asked<'q> {
    /// The zone.
    pub(super) zone: &'q Zone,
    /// How many labels stand left of the zone.
    pub(super) left: usize,
    /// The name.
    pub(super) qname: &'q Qname,
    /// The type.
    pub(super) qtype: Type,
    /// The time ([`host::clock`]).
    pub(super) now: u64,
}

/// What an answer came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Found {
    /// It is written; the name exists.
    Written,
    /// There is no such name; the SOA record is written.
    NoName,
    /// The same for the zone's own name, which exists all the same.
    Apex,
    /// The name exists, but none of its values can be read.
    Broken,
    /// A name outside of the zone has to be asked for first.
    Elsewhere,
}

/// Names outside of the zone that an answer needs.
#[derive(Default)]
pub(super) struct Elsewhere {
    /// What was asked for, and the responses.
    pub(super) answers: Vec<(NameBuf, Type, Option<Box<Exchange>>)>,
    /// What has to be asked for next.
    pub(super) wanted: Option<(NameBuf, Type)>,
    /// Whether no more is asked for: what is not known is left out.
    pub(super) complete: bool,
}

impl Elsewhere {
    /// The response to a question; an `Err` says that it has to be asked first.
    fn get(&mut self, target: Name<'_>, qtype: Type) -> Result<Option<&mut Exchange>, Stop> {
        let known = self
            .answers
            .iter_mut()
            .find(|(name, of, _)| *of == qtype && name.as_name() == target);
        match known {
            Some((_, _, found)) => Ok(found.as_deref_mut()),
            None if self.complete => Ok(None),
            None => {
                self.wanted = Some((NameBuf::from_name(target), qtype));
                Err(Stop)
            }
        }
    }
}

/// Writing is over before its end: there is no room, or something has to be asked for.
struct Stop;

impl From<Full> for Stop {
    fn from(_: Full) -> Self {
        Self
    }
}

/// An alias that is being followed, and those before it.
struct Link<'l> {
    owner: Name<'l>,
    target: Name<'l>,
    before: Option<&'l Link<'l>>,
    depth: usize,
}

/// Where records go: the section and the owner.
#[derive(Clone, Copy)]
struct At<'a> {
    section: Section,
    owner: Name<'a>,
    /// Whether the owner is the question's name.
    is_question: bool,
}

/// An answer being written.
pub(super) struct Answer<'a, 'r> {
    asked: &'a Asked<'a>,
    snapshot: &'a Snapshot,
    response: &'a mut Response<'r>,
    elsewhere: &'a mut Elsewhere,
    aliases: u8,
}

impl<'a, 'r> Answer<'a, 'r> {
    /// To this question.
    pub(super) fn new(
        asked: &'a Asked<'a>,
        snapshot: &'a Snapshot,
        response: &'a mut Response<'r>,
        elsewhere: &'a mut Elsewhere,
    ) -> Self {
        Self {
            asked,
            snapshot,
            response,
            elsewhere,
            aliases: ALIASES,
        }
    }

    /// Writes what `node` has, which is that of the question's name.
    #[inline]
    pub(super) fn write(mut self, node: Option<&Node>) -> Found {
        let asked = self.asked;
        let is_apex = asked.left == 0;
        self.response.set_flag(Flags::AA, true);
        let at = At {
            section: Section::Answer,
            owner: asked.qname.name(),
            is_question: true,
        };
        // Where writing stopped, what is written says why.
        let _ = match (asked.qtype, node) {
            (Type::SOA, _) if is_apex => self.soa(Section::Answer),
            (Type::NS, _) if is_apex => self.servers(at),
            (Type::A | Type::AAAA, Some(node)) => {
                let node = if is_apex { self.apex_or(node) } else { node };
                self.records(node, at, asked.qtype, None)
            }
            (Type::TXT, Some(node)) => self.records(node, at, Type::TXT, None),
            (Type::SRV, Some(node)) => self.services(node, at),
            (Type::MX, Some(node)) => self.mail(node, at),
            (Type::CNAME, Some(node)) => self.alias_itself(node, at),
            (Type::PTR, Some(node)) => self.pointers(node, at),
            _ => Ok(()),
        };
        if self.elsewhere.wanted.is_some() {
            return Found::Elsewhere;
        }
        if self.response.count(Section::Answer) > 0 || self.response.flags().has(Flags::TC) {
            return Found::Written;
        }
        if node.is_some_and(|node| node.broken) {
            return Found::Broken;
        }
        let _ = self.soa(Section::Authority);
        match node {
            Some(_) => Found::Written,
            None if is_apex => Found::Apex,
            None => Found::NoName,
        }
    }

    /// The node of the zone's own addresses, where there is one.
    fn apex_or<'n>(&self, node: &'n Node) -> &'n Node
    where
        'a: 'n,
    {
        let zone = self.asked.zone;
        let snapshot = self.snapshot;
        snapshot
            .find(zone.hashes[0], zone.apex.as_name())
            .unwrap_or(node)
    }

    /// Addresses or texts, and the aliases that lead to some.
    fn records(
        &mut self,
        node: &Node,
        at: At<'_>,
        qtype: Type,
        before: Option<&Link<'_>>,
    ) -> Result<(), Stop> {
        self.direct(node, at, qtype)?;
        if node.cut {
            self.response.set_flag(Flags::TC, true);
        }
        if qtype == Type::TXT {
            for service in &node.texts {
                self.follow(service, at, qtype, before)?;
            }
        } else {
            for Member { service, .. } in &node.members {
                self.follow(service, at, qtype, before)?;
            }
        }
        Ok(())
    }

    /// What a node has of a type itself.
    #[inline]
    fn direct(&mut self, node: &Node, at: At<'_>, qtype: Type) -> Result<(), Stop> {
        let ready = node.ready(qtype);
        if ready.count == 0 {
            return Ok(());
        }
        let room = self.response.len() + ready.octets.len() <= self.response.buffer().len();
        if at.is_question && room {
            let place = self
                .response
                .push_octets(at.section, &ready.octets, ready.count)?;
            for (ttl_at, service) in &ready.leased {
                let ttl = service.ttl(self.asked.now);
                self.response.set_ttl(place + *ttl_at as usize, ttl);
            }
            return Ok(());
        }
        if qtype == Type::TXT {
            for service in node.texts.iter().filter(|service| !service.text.is_empty()) {
                let fixed = (Type::TXT, Class::IN, service.ttl(self.asked.now));
                self.response
                    .push(at.section, at.owner, fixed, &service.text)?;
            }
            return Ok(());
        }
        for member in node.members.iter().filter(|member| member.is_new_address()) {
            self.address(&member.service, at, Some(qtype))?;
        }
        Ok(())
    }

    /// The address of a service, where it is of the type that is wanted.
    fn address(&mut self, service: &Service, at: At<'_>, wanted: Option<Type>) -> Result<(), Stop> {
        let Some(address) = service.address() else {
            return Ok(());
        };
        let (rtype, (octets, len)) = rdata(address);
        if wanted.is_none_or(|wanted| wanted == rtype) {
            let fixed = (rtype, Class::IN, service.ttl(self.asked.now));
            self.response
                .push(at.section, at.owner, fixed, &octets[..len])?;
        }
        Ok(())
    }

    /// An alias and what it leads to, where that is something.
    fn follow(
        &mut self,
        service: &Service,
        at: At<'_>,
        qtype: Type,
        before: Option<&Link<'_>>,
    ) -> Result<(), Stop> {
        let Some(target) = service.alias() else {
            return Ok(());
        };
        // What is below a name is found by the name itself, so that an alias to it leads back.
        let link = Link {
            owner: at.owner,
            target,
            before,
            depth: before.map_or(0, |link| link.depth + 1),
        };
        if target.is_within(at.owner) || link.depth > DEPTH || link.repeats() || self.aliases == 0 {
            return Ok(());
        }
        self.aliases -= 1;
        let fixed = (Type::CNAME, Class::IN, service.ttl(self.asked.now));
        let zone = self.asked.zone.origin.as_name();
        if !target.is_within(zone) {
            let found = self.elsewhere.get(target, qtype)?;
            self.response
                .push_named(at.section, at.owner, fixed, (&[], target))?;
            let Some(found) = found else {
                return Ok(());
            };
            if at.section != Section::Answer {
                return copy(found, self.response);
            }
            // Where it cannot be read, the alias is the answer.
            let _ = self.response.take_answers(&found.response());
            if found.response().rcode() == Rcode::NXDOMAIN
                && self.response.count(Section::Answer)
                    <= before.map_or(0, |b| b.depth as u16 + 1) + 1
            {
                self.response.set_rcode(Rcode::NXDOMAIN);
            }
            return Ok(());
        }
        let mut qname = Qname::root();
        qname.set(target);
        let labels = qname.label_count();
        let snapshot = self.snapshot;
        let Some(mut node) = snapshot.nearest(&qname, zone.label_count()) else {
            return Ok(());
        };
        if labels == zone.label_count() && qtype != Type::TXT {
            node = self.apex_or(node);
        }
        let counts = [Section::Answer, Section::Authority, Section::Additional]
            .map(|section| self.response.count(section));
        self.response
            .push_named(at.section, at.owner, fixed, (&[], target))?;
        let written = self.response.count(at.section);
        let further = At {
            section: at.section,
            owner: target,
            is_question: false,
        };
        let followed = self.records(node, further, qtype, Some(&link));
        if self.response.count(at.section) == written {
            self.response.keep(counts);
        }
        followed
    }

    /// SRV records, and the addresses of their targets.
    fn services(&mut self, node: &Node, at: At<'_>) -> Result<(), Stop> {
        let now = self.asked.now;
        for member in node.members.iter().filter(|member| member.has_new_srv()) {
            let service = &member.service;
            let (Some(port), Some(target)) = (service.port, service.target()) else {
                continue;
            };
            let mut octets = [0; 6 + wire::MAX_NAME];
            for (place, number) in
                octets
                    .chunks_exact_mut(2)
                    .zip([service.priority, member.weight, port])
            {
                place.copy_from_slice(&number.to_be_bytes());
            }
            let target = target.octets();
            octets[6..6 + target.len()].copy_from_slice(target);
            let fixed = (Type::SRV, Class::IN, service.ttl(now));
            let octets = &octets[..6 + target.len()];
            self.response.push(at.section, at.owner, fixed, octets)?;
        }
        self.targets(node, |service| service.port.is_some())
    }

    /// MX records, and the addresses of their targets.
    fn mail(&mut self, node: &Node, at: At<'_>) -> Result<(), Stop> {
        let now = self.asked.now;
        for member in node.members.iter().filter(|member| member.has_new_mx()) {
            let service = &member.service;
            if let Some(target) = service.target() {
                let fixed = (Type::MX, Class::IN, service.ttl(now));
                let preference = service.priority.to_be_bytes();
                let mail = (&preference[..], target);
                self.response
                    .push_named(at.section, at.owner, fixed, mail)?;
            }
        }
        self.targets(node, |service| service.mail)
    }

    /// The addresses of targets, as additional data: each once.
    fn targets(&mut self, node: &Node, told: impl Fn(&Service) -> bool) -> Result<(), Stop> {
        if self.response.count(Section::Answer) == 0 {
            return Ok(());
        }
        if node.cut {
            self.response.set_flag(Flags::TC, true);
        }
        for member in node.members.iter().filter(|member| told(&member.service)) {
            let service = &member.service;
            let Some(target) = service.target() else {
                continue;
            };
            let at = At {
                section: Section::Additional,
                owner: target,
                is_question: false,
            };
            if service.address().is_some() {
                if member.is_new_glue() {
                    self.address(service, at, None)?;
                }
            } else if member.is_new_target() {
                for qtype in [Type::A, Type::AAAA] {
                    self.target(at, qtype)?;
                }
            }
        }
        Ok(())
    }

    /// The addresses of a target that is a name.
    fn target(&mut self, at: At<'_>, qtype: Type) -> Result<(), Stop> {
        let zone = self.asked.zone.origin.as_name();
        if !at.owner.is_within(zone) {
            return match self.elsewhere.get(at.owner, qtype)? {
                Some(found) => copy(found, self.response),
                None => Ok(()),
            };
        }
        let mut qname = Qname::root();
        qname.set(at.owner);
        let snapshot = self.snapshot;
        match snapshot.nearest(&qname, zone.label_count()) {
            Some(node) if qname.label_count() == zone.label_count() => {
                let node = self.apex_or(node);
                self.records(node, at, qtype, None)
            }
            Some(node) => self.records(node, at, qtype, None),
            None => Ok(()),
        }
    }

    /// The name servers of the zone, and their addresses.
    fn servers(&mut self, at: At<'_>) -> Result<(), Stop> {
        let zone = self.asked.zone;
        let snapshot = self.snapshot;
        let Some(node) = snapshot.find(zone.hashes[1], zone.servers.as_name()) else {
            return Ok(());
        };
        for member in node.members.iter().filter(|member| member.is_new_target()) {
            if let Some(target) = member.service.target() {
                let fixed = (Type::NS, Class::IN, member.service.ttl(self.asked.now));
                self.response
                    .push_named(at.section, at.owner, fixed, (&[], target))?;
            }
        }
        for member in node.members.iter().filter(|member| member.is_new_glue()) {
            if let Some(target) = member.service.target() {
                let at = At {
                    section: Section::Additional,
                    owner: target,
                    is_question: false,
                };
                self.address(&member.service, at, None)?;
            }
        }
        Ok(())
    }

    /// The CNAME record of the name's own key.
    fn alias_itself(&mut self, node: &Node, at: At<'_>) -> Result<(), Stop> {
        let own = node.own.iter().find(|service| service.host != Host::None);
        if let Some(service) = own
            && let Host::Name(target) = &service.host
        {
            let fixed = (Type::CNAME, Class::IN, service.ttl(self.asked.now));
            let target = Name::from_checked(target);
            self.response
                .push_named(at.section, at.owner, fixed, (&[], target))?;
        }
        Ok(())
    }

    /// The PTR records of the name's own key.
    fn pointers(&mut self, node: &Node, at: At<'_>) -> Result<(), Stop> {
        for service in &node.own {
            if let Host::Name(target) = &service.host {
                let fixed = (Type::PTR, Class::IN, service.ttl(self.asked.now));
                let target = Name::from_checked(target);
                self.response
                    .push_named(at.section, at.owner, fixed, (&[], target))?;
            }
        }
        Ok(())
    }

    /// The SOA record of the zone.
    fn soa(&mut self, section: Section) -> Result<(), Stop> {
        let asked = self.asked;
        let pointer = 0xC000 | (QUESTION + asked.qname.suffix_start(asked.left)) as u16;
        let pointer = pointer.to_be_bytes();
        let zone = &pointer[..];
        let numbers = [self.snapshot.serial, 7_200, 1_800, 86_400, NEGATIVE];
        let mut octets = [0; 20];
        for (place, number) in octets.chunks_exact_mut(4).zip(numbers) {
            place.copy_from_slice(&number.to_be_bytes());
        }
        let (server, mailbox) = (b"\x02ns\x03dns", b"\x0ahostmaster");
        let len = server.len() + mailbox.len() + 2 * zone.len() + octets.len();
        let mut fixed = [0; 10];
        fixed[..2].copy_from_slice(&Type::SOA.0.to_be_bytes());
        fixed[2..4].copy_from_slice(&Class::IN.0.to_be_bytes());
        fixed[4..8].copy_from_slice(&NEGATIVE.to_be_bytes());
        fixed[8..].copy_from_slice(&(len as u16).to_be_bytes());
        let pieces = [zone, &fixed, server, zone, mailbox, zone, &octets];
        self.response.push_pieces(section, &pieces, 1)?;
        Ok(())
    }
}

impl Link<'_> {
    /// Whether one before it is the same: the aliases form a loop.
    fn repeats(&self) -> bool {
        let mut before = self.before;
        while let Some(link) = before {
            if link.owner == self.owner && link.target == self.target {
                return true;
            }
            before = link.before;
        }
        false
    }
}

/// Copies aliases and addresses of an answer as additional data.
fn copy(found: &mut Exchange, to: &mut Response<'_>) -> Result<(), Stop> {
    let found = found.response();
    for record in found.section(Section::Answer).map_while(Result::ok) {
        let Ok(owner) = record.owner() else { break };
        let fixed = (record.rtype, Class::IN, record.ttl);
        let section = Section::Additional;
        match record.rtype {
            Type::A | Type::AAAA => to.push(section, owner.as_name(), fixed, record.rdata())?,
            Type::CNAME => {
                let Ok(target) = record.rdata_name(0) else {
                    break;
                };
                to.push_named(section, owner.as_name(), fixed, (&[], target.as_name()))?;
            }
            _ => {}
        }
    }
    Ok(())
}
