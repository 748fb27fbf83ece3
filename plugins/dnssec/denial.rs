//! What an answer says of names, and what a compact denial proves of the last of them (RFC 9824).
//!
//! ```text
//! QNAME ─► aliases in the answer ─► the last name ─┬ has records of the type ─► nothing to prove
//!                                                 ├ NXDOMAIN ─► NXNAME
//!                                                 ├ nothing of the type ─► the types that it has: by the store, else those that are likely
//!                                                 └ referral without DS ─► NS at the zone cut
//! ```

use chain::Query;
use wire::rrset::{RRset, RRsets};
use wire::{Name, NameBuf, Qname, Rcode, Section, Type};
use zone::Standing;
use zone::signing::{Types, next_at_cut, next_name};

use super::answer::Pass;

/// How many aliases are followed.
const MOST_ALIASES: usize = 16;
/// The TTL of a denial where no SOA record tells it.
const NO_SOA: u32 = 300;

/// The types that a name is said to have where nobody knows them, as CoreDNS says; without the type that is denied.
const LIKELY: [Type; 14] = [
    Type::A,
    Type::HINFO,
    Type::TXT,
    Type::AAAA,
    Type::LOC,
    Type::SRV,
    Type::CERT,
    Type::SSHFP,
    Type::RRSIG,
    Type::NSEC,
    Type::TLSA,
    Type::HIP,
    Type::OPENPGPKEY,
    Type::SPF,
];

/// The same beside those at an apex.
const LIKELY_AT_APEX: [Type; 4] = [Type::NS, Type::SOA, Type::MX, Type::DNSKEY];

/// What an answer says of names.
pub(super) struct Told {
    /// The zone cut of a referral.
    pub(super) cut: Option<NameBuf>,
    /// A DNAME record of the answer: the alias that it gives needs no signature (RFC 6672, section 5.3.1).
    pub(super) dname: Option<NameBuf>,
    /// What is to be proved.
    pub(super) denial: Option<Denial>,
}

/// An NSEC record to be made.
pub(super) struct Denial {
    /// The number of the zone.
    pub(super) zone: usize,
    /// Its owner.
    pub(super) owner: NameBuf,
    /// The next name.
    pub(super) next: NameBuf,
    /// The types of its bitmap.
    pub(super) types: Types,
    /// Its TTL.
    pub(super) ttl: u32,
    /// Whether it proves that there is no such name.
    pub(super) nxname: bool,
}

/// What the first pass over an answer finds.
#[derive(Default)]
struct Found<'a> {
    soa: Option<RRset<'a>>,
    delegation: Option<(NameBuf, u32)>,
    ds: bool,
    proved: bool,
    dname: Option<NameBuf>,
    /// Whether there is any record in the answer or authority section.
    any: bool,
}

impl Told {
    /// Reads an answer.
    pub(super) fn of(pass: &Pass<'_>, query: &Query<'_>, rcode: Rcode, sets: &RRsets<'_>) -> Self {
        let found = Found::of(pass, sets);
        let cut = found.delegation.as_ref().map(|(name, _)| *name);
        let denial = match &found.delegation {
            _ if found.proved => None,
            Some(_) if found.ds => None,
            Some((cut, ttl)) => pass.deny_at_cut(cut, *ttl),
            None => pass.deny(query, rcode, (sets, &found)),
        };
        Self {
            cut,
            dname: found.dname,
            denial,
        }
    }
}

impl Told {
    /// Which part of the denial is what was asked for, where nothing else answers: the NSEC record, or its signatures. Each name that is
    /// there has that record, made for it, so a query for RRSIG records is answered by some of them, as one for ANY is (RFC 8482).
    pub(super) fn alone(&self, query: &Query<'_>, answers: u16) -> Option<Type> {
        let denial = self
            .denial
            .as_ref()
            .filter(|_| answers == 0 && self.cut.is_none())?;
        match query.qtype() {
            Type::NSEC => Some(Type::NSEC),
            Type::RRSIG if !denial.nxname => Some(Type::RRSIG),
            _ => None,
        }
    }
}

impl<'a> Found<'a> {
    fn of(pass: &Pass<'_>, sets: &RRsets<'a>) -> Self {
        let mut out = Self::default();
        for set in sets.clone() {
            match (set.section(), set.rtype()) {
                (Section::Answer, Type::DNAME) => out.dname = Some(set.owner()),
                (Section::Authority, Type::SOA) => out.soa = Some(set),
                (Section::Authority, Type::DS) => out.ds = true,
                (Section::Authority, Type::NSEC | Type::NSEC3) => out.proved = true,
                (Section::Authority, Type::NS) => {
                    let owner = set.owner();
                    if pass.is_below_apex(owner.as_name()) {
                        out.delegation = Some((owner, set.ttl()));
                    }
                }
                _ => {}
            }
            out.any |= set.section() != Section::Additional;
        }
        out
    }
}

/// The name that aliases in the answer section lead to, and whether it has records of the type there.
fn last_name(query: &Query<'_>, sets: &RRsets<'_>) -> (NameBuf, bool) {
    let (mut name, qtype) = (NameBuf::from_name(query.name()), query.qtype());
    let answers = || sets.clone().filter(|set| set.section() == Section::Answer);
    for _ in 0..MOST_ALIASES {
        let mut alias = None;
        for set in answers().filter(|set| set.owner() == name) {
            if set.rtype() == qtype || qtype == Type::ANY || qtype == Type::RRSIG {
                return (name, true);
            }
            if set.rtype() == Type::CNAME {
                alias = set
                    .records()
                    .next()
                    .and_then(|record| record.rdata_name(0).ok());
            }
        }
        match alias {
            Some(target) => name = target,
            None => break,
        }
    }
    (name.to_lower(), false)
}

impl Pass<'_> {
    /// Whether a name is within one of the zones, and not its apex.
    fn is_below_apex(&self, name: Name<'_>) -> bool {
        let zone = self.signing.zone_of(name, Type::NS);
        let zone = zone.and_then(|zone| self.signing.zones.get(zone));
        zone.is_some_and(|zone| zone.name.as_name() != name)
    }

    /// What the store says of a name; its types are added to `types`.
    fn types_at(&self, name: Name<'_>, types: &mut Types) -> Option<Standing> {
        let mut qname = Qname::root();
        qname.set(name);
        self.ask(&qname, &mut |rtype| types.add(rtype))
    }

    /// The same for a name with its hashes.
    pub(super) fn ask(&self, qname: &Qname, visit: &mut dyn FnMut(Type)) -> Option<Standing> {
        let holdings = self.holdings.iter().filter(|(by, _)| Some(*by) == self.by);
        let mut stands = holdings.filter_map(|(_, holdings)| holdings.types_at(qname, visit));
        stands.next()
    }

    /// The denial of a DS record at a zone cut; `None` where the store has one that the referral is without.
    fn deny_at_cut(&self, cut: &NameBuf, ttl: u32) -> Option<Denial> {
        let mut there = Types::default();
        self.types_at(cut.as_name(), &mut there);
        if there.has(Type::DS) {
            return None;
        }
        Some(Denial {
            zone: self.signing.zone_of(cut.as_name(), Type::DS)?,
            owner: *cut,
            next: next_at_cut(cut.as_name()),
            types: [Type::NS, Type::RRSIG, Type::NSEC].into_iter().collect(),
            ttl,
            nxname: false,
        })
    }

    /// The denial that a negative answer wants.
    fn deny(
        &self,
        query: &Query<'_>,
        rcode: Rcode,
        (sets, found): (&RRsets<'_>, &Found<'_>),
    ) -> Option<Denial> {
        let (name, positive) = last_name(query, sets);
        if positive || found.soa.is_none() && found.any {
            return None;
        }
        let ttl = found.soa.map_or(NO_SOA, |soa| {
            let minimum = soa.records().next().and_then(|record| record.soa_minimum());
            soa.ttl().min(minimum.unwrap_or(u32::MAX))
        });
        let zone = self.signing.zone_of(name.as_name(), query.qtype())?;
        let apex = self.signing.zones.get(zone)?.name == name;
        let nxname = rcode == Rcode::NXDOMAIN;
        let (mut types, mut cut) = (Types::default(), false);
        if nxname {
            types.add(Type::NXNAME);
        } else {
            match self.types_at(name.as_name(), &mut types) {
                Some(Standing::There) => {}
                Some(Standing::Cut) => cut = true,
                _ if query.qtype() == Type::ANY => {}
                _ => {
                    types = LIKELY.into_iter().collect();
                    let more = LIKELY_AT_APEX.into_iter().filter(|_| apex);
                    more.for_each(|rtype| types.add(rtype));
                }
            }
            // What another plugin has left out of the answer is not there for this client.
            types.remove(query.qtype());
            if apex {
                types.add(Type::DNSKEY);
            }
        }
        types.add(Type::RRSIG);
        types.add(Type::NSEC);
        Some(Denial {
            zone,
            owner: name,
            next: match cut {
                true => next_at_cut(name.as_name()),
                false => next_name(name.as_name()),
            },
            types,
            ttl,
            nxname,
        })
    }
}
