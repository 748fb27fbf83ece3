//! What an update asks for and what becomes of a zone by it (RFC 2136, section 3). No I/O: octets and a zone in, a difference out.
//!
//! ```text
//! message ─► prescan: form, permission (3.4.1, 3.3) ─► prerequisites (3.2) ─► apply to the owners that it names (3.4.2) ─► Difference
//! ```
//!
//! Section 3 has the prerequisites first. But they tell what the zone has, and who may not change a thing is not to learn that by them: as
//! BIND and Knot do, permission comes first.
//!
//! Only the owners that an update names are looked at. A change without a SOA record of its own raises the serial by one.

use std::collections::BTreeMap;

use wire::reencode::{self, Verbatim};
use wire::{Class, Message, Name, NameBuf, Rcode, Record, Section, Type};
use zone::{ChangedRecord, Difference, Zone, check_rdata, is_newer};

/// Why an update is not made: what the client is told, and what people are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Refusal {
    pub(super) rcode: Rcode,
    pub(super) why: String,
}

impl Refusal {
    pub(super) fn new(rcode: Rcode, why: impl Into<String>) -> Self {
        Self {
            rcode,
            why: why.into(),
        }
    }
}

/// Bounds of an update and of the zone that it makes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Bounds {
    pub(super) records: usize,
    pub(super) octets: usize,
    /// Records in the update section.
    pub(super) updates: usize,
}

/// One record of a message.
struct Entry {
    owner: NameBuf,
    rtype: Type,
    class: Class,
    ttl: u32,
    rdata: Vec<u8>,
}

impl Entry {
    fn read(record: &Record<'_>) -> Result<Self, Refusal> {
        let form = |why: String| Refusal::new(Rcode::FORMERR, why);
        let owner = record.owner().map_err(|why| form(why.to_string()))?;
        let mut rdata = Vec::new();
        if !record.rdata().is_empty() {
            reencode::rdata(record, &mut Verbatim, &mut rdata)
                .map_err(|why| form(why.to_string()))?;
        }
        Ok(Self {
            owner,
            rtype: record.rtype,
            class: record.class,
            ttl: record.ttl,
            rdata,
        })
    }

    /// Whether the type stands for no data: AXFR, MAILB, OPT and their like, and type 0.
    fn is_meta(&self) -> bool {
        self.rtype.0 == 0 || self.rtype == Type::OPT || self.rtype.is_meta()
    }

    fn shown(&self) -> String {
        format!("{} {}", self.owner, self.rtype)
    }

    fn form(&self, why: &str) -> Refusal {
        Refusal::new(Rcode::FORMERR, format!("{}: {why}", self.shown()))
    }
}

/// A record of the zone, at an owner.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Held {
    rtype: Type,
    ttl: u32,
    rdata: Vec<u8>,
}

/// What an owner has before and after the update.
struct Owner {
    name: NameBuf,
    before: Vec<Held>,
    now: Vec<Held>,
}

/// An update under way.
struct Draft<'z> {
    zone: &'z Zone,
    /// By owner in lower case.
    owners: BTreeMap<Vec<u8>, Owner>,
}

/// Names in RDATA are compared without case.
fn same(rtype: Type, one: &[u8], other: &[u8]) -> bool {
    zone::canonical_rdata(rtype, one) == zone::canonical_rdata(rtype, other)
}

impl<'z> Draft<'z> {
    fn owner(&mut self, name: &NameBuf) -> &mut Owner {
        let zone = self.zone;
        let key = name.to_lower().as_name().octets().to_vec();
        self.owners.entry(key).or_insert_with(|| {
            let held = zone.records_at(name.as_name());
            let mut kept = *name;
            let before: Vec<Held> = held
                .map(|record| {
                    kept = NameBuf::from_name(record.owner());
                    Held {
                        rtype: record.rtype(),
                        ttl: record.ttl(),
                        rdata: record.rdata(),
                    }
                })
                .collect();
            Owner {
                name: kept,
                now: before.clone(),
                before,
            }
        })
    }

    fn is_apex(&self, name: &NameBuf) -> bool {
        name.to_lower().as_name() == self.zone.apex()
    }

    fn require_within(&self, entry: &Entry) -> Result<(), Refusal> {
        if entry.owner.as_name().is_within(self.zone.apex()) {
            return Ok(());
        }
        let why = format!("{} lies outside of the zone", entry.shown());
        Err(Refusal::new(Rcode::NOTZONE, why))
    }

    /// Section 3.2.
    fn prerequisites(&mut self, entries: &[Entry]) -> Result<(), Refusal> {
        let mut wanted: BTreeMap<(Vec<u8>, u16), Vec<&Entry>> = BTreeMap::new();
        for entry in entries {
            if entry.ttl != 0 {
                return Err(entry.form("the TTL of a prerequisite is 0"));
            }
            self.require_within(entry)?;
            let (any, none) = (entry.class == Class::ANY, entry.class == Class::NONE);
            if (any || none) && !entry.rdata.is_empty() {
                return Err(entry.form("a prerequisite of this class has no data"));
            }
            let fails = |rcode, why: &str| {
                Refusal::new(rcode, format!("prerequisite {}: {why}", entry.shown()))
            };
            let held = &self.owner(&entry.owner).now;
            let has = held.iter().any(|held| held.rtype == entry.rtype);
            if entry.rtype == Type::ANY && any {
                if held.is_empty() {
                    return Err(fails(Rcode::NXDOMAIN, "the name is not in use"));
                }
            } else if entry.rtype == Type::ANY && none {
                if !held.is_empty() {
                    return Err(fails(Rcode::YXDOMAIN, "the name is in use"));
                }
            } else if entry.is_meta() {
                return Err(entry.form("no RRset has this type"));
            } else if any {
                if !has {
                    return Err(fails(Rcode::NXRRSET, "there is no such RRset"));
                }
            } else if none {
                if has {
                    return Err(fails(Rcode::YXRRSET, "there is such an RRset"));
                }
            } else if entry.class == Class::IN {
                check_rdata(entry.rtype, &entry.rdata).map_err(|why| entry.form(why))?;
                let key = entry.owner.to_lower().as_name().octets().to_vec();
                wanted.entry((key, entry.rtype.0)).or_default().push(entry);
            } else {
                return Err(entry.form("a prerequisite has no such class"));
            }
        }
        for entries in wanted.into_values() {
            let Some(first) = entries.first() else {
                continue;
            };
            let rtype = first.rtype;
            let held = &self.owner(&first.owner).now;
            let held: Vec<&Held> = held.iter().filter(|held| held.rtype == rtype).collect();
            let alike = |held: &&Held, entry: &&Entry| same(rtype, &held.rdata, &entry.rdata);
            let all = held
                .iter()
                .all(|held| entries.iter().any(|entry| alike(held, entry)))
                && entries
                    .iter()
                    .all(|entry| held.iter().any(|held| alike(held, entry)));
            if !all {
                let why = format!("prerequisite {}: the RRset is another one", first.shown());
                return Err(Refusal::new(Rcode::NXRRSET, why));
            }
        }
        Ok(())
    }

    /// Section 3.4.1.
    fn prescan(
        &mut self,
        entries: &[Entry],
        may: &dyn Fn(Name<'_>, Type) -> bool,
    ) -> Result<(), Refusal> {
        for entry in entries {
            self.require_within(entry)?;
            if entry.class == Class::IN {
                if entry.is_meta() || entry.rtype == Type::ANY {
                    return Err(entry.form("no record has this type"));
                }
                check_rdata(entry.rtype, &entry.rdata).map_err(|why| entry.form(why))?;
            } else if entry.class == Class::ANY {
                if entry.ttl != 0 || !entry.rdata.is_empty() {
                    return Err(entry.form("a deletion of an RRset has TTL 0 and no data"));
                }
                if entry.is_meta() && entry.rtype != Type::ANY {
                    return Err(entry.form("no RRset has this type"));
                }
            } else if entry.class == Class::NONE {
                if entry.ttl != 0 {
                    return Err(entry.form("a deletion of a record has TTL 0"));
                }
                if entry.is_meta() || entry.rtype == Type::ANY {
                    return Err(entry.form("no record has this type"));
                }
                check_rdata(entry.rtype, &entry.rdata).map_err(|why| entry.form(why))?;
            } else {
                return Err(entry.form("an update has no such class"));
            }
        }
        for entry in entries {
            // Who deletes whatever there is needs to be allowed to delete each RRset of it.
            let types: Vec<Type> = match entry.rtype {
                Type::ANY => {
                    let held = &self.owner(&entry.owner).before;
                    held.iter().map(|held| held.rtype).collect()
                }
                rtype => vec![rtype],
            };
            for rtype in types {
                if SIGNING.contains(&rtype) {
                    let why = format!("{}: signed zones cannot be updated", entry.shown());
                    return Err(Refusal::new(Rcode::REFUSED, why));
                }
                let kept = entry.rtype == Type::ANY
                    && self.is_apex(&entry.owner)
                    && matches!(rtype, Type::SOA | Type::NS);
                if !kept && !may(entry.owner.as_name(), rtype) {
                    let why = format!("the key may not change {} {rtype}", entry.owner);
                    return Err(Refusal::new(Rcode::REFUSED, why));
                }
            }
        }
        Ok(())
    }

    /// Section 3.4.2.
    fn apply(&mut self, entry: &Entry) {
        let is_apex = self.is_apex(&entry.owner);
        let now = &mut self.owner(&entry.owner).now;
        let rtype = entry.rtype;
        if entry.class == Class::IN {
            return add(now, entry, is_apex);
        }
        if entry.class == Class::ANY {
            now.retain(|held| {
                let stays = is_apex && matches!(held.rtype, Type::SOA | Type::NS);
                stays || rtype != Type::ANY && held.rtype != rtype
            });
            return;
        }
        let servers = now.iter().filter(|held| held.rtype == Type::NS).count();
        if rtype == Type::SOA || is_apex && rtype == Type::NS && servers <= 1 {
            return;
        }
        now.retain(|held| held.rtype != rtype || !same(rtype, &held.rdata, &entry.rdata));
    }
}

/// Adds a record, or replaces the one that it stands for.
fn add(now: &mut Vec<Held>, entry: &Entry, is_apex: bool) {
    let rtype = entry.rtype;
    // A TTL of 2^31 or more is 0 (RFC 2181, section 8).
    let ttl = if entry.ttl > i32::MAX as u32 {
        0
    } else {
        entry.ttl
    };
    let alias = now.iter().any(|held| held.rtype == Type::CNAME);
    let other = now.iter().any(|held| held.rtype != Type::CNAME);
    if rtype == Type::CNAME && other || rtype != Type::CNAME && alias {
        return;
    }
    match rtype {
        Type::SOA => {
            let serial = |rdata: &[u8]| wire::read_u32(rdata, rdata.len().checked_sub(20)?);
            let held = now.iter().find(|held| held.rtype == Type::SOA);
            let before = held.and_then(|held| serial(&held.rdata));
            let newer = serial(&entry.rdata)
                .zip(before)
                .is_some_and(|(new, before)| is_newer(new, before));
            if !is_apex || !newer {
                return;
            }
            now.retain(|held| held.rtype != Type::SOA);
        }
        Type::CNAME | Type::DNAME => now.retain(|held| held.rtype != rtype),
        // Of one address and protocol there is one record.
        Type::WKS => {
            now.retain(|held| held.rtype != rtype || held.rdata.get(..5) != entry.rdata.get(..5));
        }
        _ => now.retain(|held| held.rtype != rtype || !same(rtype, &held.rdata, &entry.rdata)),
    }
    // The records of an RRset have one TTL (RFC 2181, section 5.2).
    for held in now.iter_mut().filter(|held| held.rtype == rtype) {
        held.ttl = ttl;
    }
    now.push(Held {
        rtype,
        ttl,
        rdata: entry.rdata.clone(),
    });
}

/// Types of which signed zones are made.
pub(super) const SIGNING: [Type; 6] = [
    Type::RRSIG,
    Type::NSEC,
    Type::NSEC3,
    Type::NSEC3PARAM,
    Type::DNSKEY,
    Type::ZONEMD,
];

fn section(message: &Message<'_>, section: Section) -> Result<Vec<Entry>, Refusal> {
    message
        .section(section)
        .map(|record| match record {
            Ok(record) => Entry::read(&record),
            Err(why) => Err(Refusal::new(Rcode::FORMERR, why.to_string())),
        })
        .collect()
}

/// What the update in `message` changes of `zone`; `None` where it changes nothing. `may` says which names and types whoever signed it
/// may change.
pub(super) fn work_out(
    message: &[u8],
    zone: &Zone,
    bounds: Bounds,
    may: &dyn Fn(Name<'_>, Type) -> bool,
) -> Result<Option<Difference>, Refusal> {
    let message = Message::new(message)
        .ok_or_else(|| Refusal::new(Rcode::FORMERR, "the message has no header"))?;
    if usize::from(message.header().counts[2]) > bounds.updates {
        let why = format!("more than {} records in one update", bounds.updates);
        return Err(Refusal::new(Rcode::REFUSED, why));
    }
    let prerequisites = section(&message, Section::Answer)?;
    let updates = section(&message, Section::Authority)?;
    let mut draft = Draft {
        zone,
        owners: BTreeMap::new(),
    };
    draft.prescan(&updates, may)?;
    draft.prerequisites(&prerequisites)?;
    for update in &updates {
        draft.apply(update);
    }
    draft.require_sense()?;
    Ok(draft.difference())
}

impl Owner {
    fn has(&self, rtype: Type) -> bool {
        self.now.iter().any(|held| held.rtype == rtype)
    }

    fn had(&self, rtype: Type) -> bool {
        self.before.iter().any(|held| held.rtype == rtype)
    }

    /// Whether the update adds a record, of this type or of any.
    fn gains(&self, rtype: Option<Type>) -> bool {
        let of_type = |held: &&Held| rtype.is_none_or(|rtype| rtype == held.rtype);
        let mut now = self.now.iter().filter(of_type);
        now.any(|held| !self.before.contains(held))
    }
}

impl Draft<'_> {
    /// Refuses what nobody would find, or could use, in the zone that the update makes. What the zone had before may stay and may go.
    fn require_sense(&self) -> Result<(), Refusal> {
        let refused = |why: String| Err(Refusal::new(Rcode::REFUSED, why));
        for owner in self.owners.values() {
            let name = &owner.name;
            // RFC 6672, section 2.4: there are no names below a DNAME record.
            if owner.gains(None)
                && let Some(above) = self.dname_above(name.as_name())
            {
                return refused(format!("{name} is below the DNAME record at {above}"));
            }
            if owner.has(Type::DNAME)
                && !owner.had(Type::DNAME)
                && let Some(below) = self.any_below(name)
            {
                return refused(format!(
                    "{below} is below {name}, which gets a DNAME record"
                ));
            }
            // RFC 4035, section 2.4: a DS RRset stands at a delegation, and never at the apex.
            let stray = owner.has(Type::DS) && (self.is_apex(name) || !owner.has(Type::NS));
            let lost = owner.had(Type::NS) && !owner.has(Type::NS);
            if stray && (lost || owner.gains(Some(Type::DS))) {
                return refused(format!("{name} DS: the name is no delegation"));
            }
        }
        Ok(())
    }

    /// The owner of a DNAME record above a name, after the update.
    fn dname_above<'n>(&self, name: Name<'n>) -> Option<Name<'n>> {
        let mut above = name.parent()?;
        while above.is_within(self.zone.apex()) {
            let key = NameBuf::from_name(above).to_lower();
            let found = match self.owners.get(key.as_name().octets()) {
                Some(owner) => owner.has(Type::DNAME),
                None => {
                    let mut held = self.zone.records_at(above);
                    held.any(|record| record.rtype() == Type::DNAME)
                }
            };
            if found {
                return Some(above);
            }
            above = above.parent()?;
        }
        None
    }

    /// A name below this one that has records of the zone, and keeps some. This looks at the whole zone, as laying it out anew does.
    fn any_below(&self, name: &NameBuf) -> Option<NameBuf> {
        let (labels, top) = (name.as_name().label_count(), name.as_name());
        let owners = self.zone.records().map(|record| record.owner());
        let mut below = owners.filter(|owner| owner.label_count() > labels && owner.is_within(top));
        let stays = |owner: &Name<'_>| {
            let key = NameBuf::from_name(*owner).to_lower();
            let drafted = self.owners.get(key.as_name().octets());
            drafted.is_none_or(|owner| !owner.now.is_empty())
        };
        below.find(stays).map(NameBuf::from_name)
    }
}

impl Draft<'_> {
    /// What has changed, with the SOA records; `None` for nothing.
    fn difference(mut self) -> Option<Difference> {
        let apex = NameBuf::from_name(self.zone.apex());
        let soa = |held: &[Held]| held.iter().find(|held| held.rtype == Type::SOA).cloned();
        let owner = self.owner(&apex);
        let (name, old, mut new) = (owner.name, soa(&owner.before)?, soa(&owner.now)?);
        let mut difference = Difference::default();
        let record = |difference: &mut Difference, removed: bool, name: &NameBuf, held: &Held| {
            let list = match removed {
                true => &mut difference.removed,
                false => &mut difference.added,
            };
            list.push(&ChangedRecord {
                owner: name.as_name(),
                rtype: held.rtype,
                ttl: held.ttl,
                rdata: &held.rdata,
            });
        };
        let changed = self.owners.values().any(|owner| {
            let (before, now) = (&owner.before, &owner.now);
            before.len() != now.len() || before.iter().any(|held| !now.contains(held))
        });
        if !changed {
            return None;
        }
        if new == old {
            raise(&mut new.rdata);
        }
        record(&mut difference, true, &name, &old);
        record(&mut difference, false, &name, &new);
        for owner in self.owners.values() {
            let of_others = |held: &&Held| held.rtype != Type::SOA;
            let gone = owner.before.iter().filter(of_others);
            for held in gone.filter(|held| !owner.now.contains(held)) {
                record(&mut difference, true, &owner.name, held);
            }
            let come = owner.now.iter().filter(of_others);
            for held in come.filter(|held| !owner.before.contains(held)) {
                record(&mut difference, false, &owner.name, held);
            }
        }
        Some(difference)
    }
}

/// Adds one to the serial; 0 is passed over, since some take it for none.
fn raise(soa: &mut [u8]) {
    let Some(at) = soa.len().checked_sub(20) else {
        return;
    };
    let serial = wire::read_u32(soa, at).unwrap_or_default();
    let next = serial.wrapping_add(1).max(1);
    soa[at..at + 4].copy_from_slice(&next.to_be_bytes());
}
