//! What a name has: the services below its path, or else its own, ready to be written.
//!
//! Whatever can be known of an answer is found here, when a key changes: which services belong together, which repeat others, the
//! weights of SRV records, and addresses and texts as octets.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use wire::{Name, Type};

use super::service::{Host, Service};

/// The most services of one name. No message has room for more.
pub(super) const MOST: usize = 4_096;
/// A compression pointer to the question's name.
const QUESTION: [u8; 2] = [0xC0, 12];
/// Where the TTL stands in a record whose owner is a pointer.
const TTL_AT: usize = 6;

/// What a name has.
#[derive(Debug)]
pub(super) struct Node {
    /// The name, in wire form and lower case.
    pub(super) name: Box<[u8]>,
    /// The hash of the name.
    pub(super) hash: u64,
    /// The services that are answered with.
    pub(super) members: Box<[Member]>,
    /// Those that have a text, or stand for another name where a text is asked for.
    pub(super) texts: Box<[Arc<Service>]>,
    /// The services of the name's own key, whatever is below it.
    pub(super) own: Box<[Arc<Service>]>,
    /// Its A records.
    pub(super) a: Ready,
    /// Its AAAA records.
    pub(super) aaaa: Ready,
    /// Its TXT records.
    pub(super) txt: Ready,
    /// Whether there is more than it tells.
    pub(super) cut: bool,
    /// Whether all that there is cannot be read.
    pub(super) broken: bool,
}

/// A service of a name.
#[derive(Debug)]
pub(super) struct Member {
    /// The service.
    pub(super) service: Arc<Service>,
    /// The weight of its SRV record.
    pub(super) weight: u16,
    /// What it has that the ones before it do not.
    news: u8,
}

impl Member {
    const ADDRESS: u8 = 1;
    const SRV: u8 = 2;
    const MX: u8 = 4;
    const GLUE: u8 = 8;
    const NS: u8 = 16;

    /// Whether no service before it has its address.
    pub(super) fn is_new_address(&self) -> bool {
        self.news & Self::ADDRESS != 0
    }

    /// Whether it has an SRV record that no service before it has.
    pub(super) fn has_new_srv(&self) -> bool {
        self.news & Self::SRV != 0
    }

    /// The same for its MX record.
    pub(super) fn has_new_mx(&self) -> bool {
        self.news & Self::MX != 0
    }

    /// Whether no service before it has its target and its address.
    pub(super) fn is_new_glue(&self) -> bool {
        self.news & Self::GLUE != 0
    }

    /// Whether no service before it has its target.
    pub(super) fn is_new_target(&self) -> bool {
        self.news & Self::NS != 0
    }
}

/// Records of one type, owned by the question's name.
#[derive(Debug, Default)]
pub(super) struct Ready {
    /// The records.
    pub(super) octets: Box<[u8]>,
    /// How many.
    pub(super) count: u16,
    /// Where the TTLs stand that change as time goes by.
    pub(super) leased: Box<[(u32, Arc<Service>)]>,
}

impl Node {
    /// Of the keys below a path, or the path's own where there are none; `None` stands for a value that cannot be read.
    pub(super) fn new<'s>(
        name: Name<'_>,
        found: impl Iterator<Item = Option<&'s Arc<Service>>>,
        own: Vec<Arc<Service>>,
    ) -> Self {
        let (mut services, mut broken, mut cut) = (Vec::new(), false, false);
        for one in found {
            match one {
                Some(_) if services.len() >= MOST => {
                    cut = true;
                    break;
                }
                Some(service) => services.push(service.clone()),
                None => broken = true,
            }
        }
        let has_host = |service: &&Arc<Service>| service.host != Host::None;
        let hosts: Vec<_> = services.iter().filter(has_host).cloned().collect();
        let members = members(grouped(hosts));
        let (a, aaaa) = (
            addresses(&members, Type::A),
            addresses(&members, Type::AAAA),
        );
        let (mut seen, mut texts) = (HashSet::new(), grouped(services.clone()));
        texts.retain(|service| {
            service.alias().is_some()
                || !service.text.is_empty() && seen.insert(service.text.clone())
        });
        Self {
            hash: wire::name_hash(name),
            name: name.octets().into(),
            txt: Ready::of(
                Type::TXT,
                texts
                    .iter()
                    .filter(|service| !service.text.is_empty())
                    .map(|service| (service, &*service.text)),
            ),
            members,
            texts: texts.into(),
            own: own.into(),
            a,
            aaaa,
            cut,
            broken: broken && services.is_empty(),
        }
    }

    /// The records of a type that are ready.
    #[inline]
    pub(super) fn ready(&self, qtype: Type) -> &Ready {
        match qtype {
            Type::A => &self.a,
            Type::AAAA => &self.aaaa,
            _ => &self.txt,
        }
    }
}

impl Ready {
    fn of<'s>(rtype: Type, rdata: impl Iterator<Item = (&'s Arc<Service>, &'s [u8])>) -> Self {
        let (mut octets, mut count, mut leased) = (Vec::new(), 0u16, Vec::new());
        for (service, rdata) in rdata {
            if octets.len() + 12 + rdata.len() > usize::from(u16::MAX) {
                break;
            }
            if service.is_leased() {
                leased.push(((octets.len() + TTL_AT) as u32, service.clone()));
            }
            octets.extend_from_slice(&QUESTION);
            octets.extend_from_slice(&rtype.0.to_be_bytes());
            octets.extend_from_slice(&[0, 1]);
            octets.extend_from_slice(&service.ttl(0).to_be_bytes());
            octets.extend_from_slice(&(rdata.len() as u16).to_be_bytes());
            octets.extend_from_slice(rdata);
            count += 1;
        }
        Self {
            octets: octets.into(),
            count,
            leased: leased.into(),
        }
    }
}

fn addresses(members: &[Member], rtype: Type) -> Ready {
    let mut octets = Vec::new();
    for member in members.iter().filter(|member| member.is_new_address()) {
        let Some(address) = member.service.address() else {
            continue;
        };
        let (of, rdata) = rdata(address);
        if of == rtype {
            octets.push((&member.service, rdata));
        }
    }
    let rdata = octets
        .iter()
        .map(|(service, (rdata, len))| (*service, &rdata[..*len]));
    Ready::of(rtype, rdata)
}

/// The type and the RDATA of an address: octets, and how many of them.
pub(super) fn rdata(address: std::net::IpAddr) -> (Type, ([u8; 16], usize)) {
    match address {
        std::net::IpAddr::V4(v4) => {
            let mut rdata = [0; 16];
            rdata[..4].copy_from_slice(&v4.octets());
            (Type::A, (rdata, 4))
        }
        std::net::IpAddr::V6(v6) => (Type::AAAA, (v6.octets(), 16)),
    }
}

/// Weighs services, and finds what repeats.
fn members(services: Vec<Arc<Service>>) -> Box<[Member]> {
    let share = |service: &Service| match service.weight {
        0 => 100,
        weight => u64::from(weight),
    };
    let mut sums: HashMap<u16, u64> = HashMap::new();
    for service in &services {
        *sums.entry(service.priority).or_default() += share(service);
    }
    let (mut addresses, mut ports) = (HashSet::new(), HashSet::new());
    let (mut mails, mut glue, mut targets) = (HashSet::new(), HashSet::new(), HashSet::new());
    services
        .iter()
        .map(|service| {
            // CoreDNS computes with fractions and drops the rest: 8 services have 12 each. At least 1, so that each is found.
            let sum = sums.get(&service.priority).copied().unwrap_or(1).max(1);
            let weight = (100.0 / sum as f64 * share(service) as f64).floor();
            let weight = (weight as u16).max(1);
            let mut news = 0;
            let mut note = |bit, is_new| news |= if is_new { bit } else { 0 };
            let address = service.address();
            if let Some(address) = address {
                note(Member::ADDRESS, addresses.insert(address));
            }
            if let Some(target) = &service.target
                && (address.is_some() || service.alias().is_some())
            {
                if let Some(port) = service.port {
                    // Names may be told with many weights; a name that was made for an address is told once a port, as CoreDNS has it.
                    let rank = address.is_none().then_some((service.priority, weight));
                    note(Member::SRV, ports.insert((target, port, rank)));
                }
                if service.mail {
                    note(Member::MX, mails.insert((target, service.priority)));
                }
                note(Member::GLUE, glue.insert((target, address)));
                note(Member::NS, targets.insert(target));
            }
            Member {
                service: service.clone(),
                weight,
                news,
            }
        })
        .collect()
}

/// The services that are answered with where some have a group: the one of the shortest key decides, and those without a group are
/// always in. Where the shortest keys disagree, all are.
fn grouped(services: Vec<Arc<Service>>) -> Vec<Arc<Service>> {
    let Some(first) = services.first() else {
        return services;
    };
    let (mut group, mut depth) = (&first.group, first.depth);
    for service in &services {
        if service.depth < depth {
            if service.group.is_empty() {
                break;
            }
            (group, depth) = (&service.group, service.depth);
        }
    }
    let other = |service: &Service| !service.group.is_empty() && service.group != *group;
    if group.is_empty()
        || services
            .iter()
            .any(|service| service.depth == depth && other(service))
    {
        return services;
    }
    let group = group.clone();
    let mut services = services;
    services.retain(|service| service.group.is_empty() || service.group == group);
    services
}
