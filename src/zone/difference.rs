//! What changed between two versions of a zone, and the journal of such differences (RFC 1995).
//!
//! ```text
//! old Zone ─┐                                        ┌─► IXFR out
//!           ├─► Difference::between ─► Journal ──────┤
//! new Zone ─┘                                        └─► people
//!
//! IXFR in, an update ─► [Difference] ─► Zone::patched ─► Builder ─► the new Zone
//! ```
//!
//! A difference holds records in wire form, names in full: as many octets as the records have in a message without compression. Its
//! removed records begin with the old SOA record, the added ones with the new SOA record, as they stand in an IXFR response.
//!
//! Two zones are compared owner by owner and RRset by RRset: sets that are laid out alike are skipped by one comparison of octets, so
//! the cost is one look-up for each owner plus the records that changed.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;

use wire::{Name, Qname, Type};

use crate::builder::{Builder, Place};
use crate::contents::{Node, Set, Zone, flag};
use crate::present::present_rdata;

/// The most versions that a journal reaches back.
const VERSIONS: usize = 100;
/// The octets that the journal of a small zone may have.
const SMALLEST: usize = 64 << 10;

/// A record of a difference.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChangedRecord<'a> {
    /// The owner.
    pub owner: Name<'a>,
    /// The type.
    pub rtype: Type,
    /// The TTL, in seconds.
    pub ttl: u32,
    /// The RDATA, names in full.
    pub rdata: &'a [u8],
}

/// Records in wire form, class IN, one behind the other.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Records {
    octets: Vec<u8>,
    count: usize,
}

impl Records {
    /// Appends a record, whose RDATA has 65,535 octets at most.
    pub fn push(&mut self, record: &ChangedRecord<'_>) {
        debug_assert!(record.rdata.len() <= 0xFFFF);
        let out = &mut self.octets;
        out.extend_from_slice(record.owner.octets());
        out.extend_from_slice(&record.rtype.0.to_be_bytes());
        out.extend_from_slice(&[0, 1]);
        out.extend_from_slice(&record.ttl.to_be_bytes());
        out.extend_from_slice(&(record.rdata.len() as u16).to_be_bytes());
        out.extend_from_slice(record.rdata);
        self.count += 1;
    }

    /// Reads what [`Records::octets`] gave; `None` where it is no row of records of class IN.
    pub fn read(octets: &[u8]) -> Option<Self> {
        let mut records = Self::default();
        let mut at = 0;
        while at < octets.len() {
            at = record_at(octets, at)?.1;
            records.count += 1;
        }
        records.octets = octets.to_vec();
        Some(records)
    }

    /// The records in wire form.
    pub fn octets(&self) -> &[u8] {
        &self.octets
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The record that begins at an octet, and where the next one begins.
    pub fn at(&self, place: usize) -> Option<(ChangedRecord<'_>, usize)> {
        record_at(&self.octets, place)
    }

    /// Each record.
    pub fn iter(&self) -> impl Iterator<Item = ChangedRecord<'_>> {
        let mut place = 0;
        std::iter::from_fn(move || {
            let (record, behind) = self.at(place)?;
            place = behind;
            Some(record)
        })
    }

    /// The serial of the SOA record that they begin with.
    fn serial(&self) -> Option<u32> {
        let (first, _) = self.at(0)?;
        let rdata = first.rdata;
        let at = rdata.len().checked_sub(20)?;
        (first.rtype == Type::SOA).then(|| wire::read_u32(rdata, at))?
    }
}

impl fmt::Debug for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

fn record_at(octets: &[u8], place: usize) -> Option<(ChangedRecord<'_>, usize)> {
    let fixed = wire::skip_name(octets, place).ok()?;
    let owner = Name::new(octets.get(place..fixed)?).ok()?;
    let class = wire::read_u16(octets, fixed + 2)?;
    let len = wire::read_u16(octets, fixed + 8)? as usize;
    let end = fixed + 10 + len;
    let record = ChangedRecord {
        owner,
        rtype: Type(wire::read_u16(octets, fixed)?),
        ttl: wire::read_u32(octets, fixed + 4)?,
        rdata: octets.get(fixed + 10..end)?,
    };
    (class == 1).then_some((record, end))
}

/// What changed from one version of a zone to the next.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Difference {
    /// What is no longer there, the old SOA record first.
    pub removed: Records,
    /// What has come, the new SOA record first.
    pub added: Records,
}

impl Difference {
    /// Compares two versions; `None` where one has no SOA record, or where the difference has more than `most` octets.
    pub fn between(before: &Zone, now: &Zone, most: usize) -> Option<Self> {
        let mut comparison = Comparison::default();
        for (zone, records) in [
            (before, &mut comparison.difference.removed),
            (now, &mut comparison.difference.added),
        ] {
            let soa = zone.soa()?;
            records.push(&ChangedRecord {
                owner: soa.owner(),
                rtype: Type::SOA,
                ttl: soa.ttl(),
                rdata: &soa.rdata(),
            });
        }
        let (old, new) = (Owners::of(before), Owners::of(now));
        let mut qname = Qname::root();
        for node in before.nodes() {
            let other = new.find(node, &mut qname);
            comparison.node(node, other);
            if comparison.difference.octets() > most {
                return None;
            }
        }
        for node in now.nodes() {
            if old.find(node, &mut qname).is_none() {
                comparison.come(node);
            }
            if comparison.difference.octets() > most {
                return None;
            }
        }
        Some(comparison.difference)
    }

    /// The serials before and now.
    pub fn serials(&self) -> Option<(u32, u32)> {
        Some((self.removed.serial()?, self.added.serial()?))
    }

    /// Whether the versions are the same, SOA records and all.
    pub fn is_empty(&self) -> bool {
        self.removed.len() <= 1 && self.removed == self.added
    }

    /// How many octets its records have.
    pub fn octets(&self) -> usize {
        self.removed.octets.len() + self.added.octets.len()
    }
}

/// Whether a serial is newer than another (RFC 1982, section 3.2).
pub fn is_newer(serial: u32, than: u32) -> bool {
    serial != than && serial.wrapping_sub(than) < 1 << 31
}

/// The owners of a zone. Those that hold NSEC3 records stand in no table of the zone.
struct Owners<'z> {
    zone: &'z Zone,
    hashed: HashMap<Vec<u8>, Node<'z>>,
}

impl<'z> Owners<'z> {
    fn of(zone: &'z Zone) -> Self {
        let hashed = zone.nodes().filter(|node| node.has(flag::HASHED));
        Self {
            zone,
            hashed: hashed
                .map(|node| (node.name().octets().to_ascii_lowercase(), node))
                .collect(),
        }
    }

    /// The node of the same name and kind.
    fn find(&self, node: Node<'_>, qname: &mut Qname) -> Option<Node<'z>> {
        if node.has(flag::HASHED) {
            let lower = node.name().octets().to_ascii_lowercase();
            return self.hashed.get(&lower).copied();
        }
        qname.set(node.name());
        self.zone.find(qname, 0)
    }
}

/// A record of one owner, to be compared: type, TTL, RDATA.
type Plain = (u16, u32, Vec<u8>);

/// A comparison under way.
#[derive(Default)]
struct Comparison {
    difference: Difference,
    before: Vec<Plain>,
    now: Vec<Plain>,
}

impl Comparison {
    /// Compares an owner's sets, which stand in the order of types, with those that it has now.
    fn node(&mut self, before: Node<'_>, now: Option<Node<'_>>) {
        let Some(now) = now else {
            self.before.clear();
            before
                .sets()
                .for_each(|set| plain(before.zone, set, &mut self.before));
            add(&mut self.difference.removed, before.name(), &self.before);
            return;
        };
        let (mut old, mut new) = (before.sets().peekable(), now.sets().peekable());
        self.before.clear();
        self.now.clear();
        loop {
            match (old.peek().copied(), new.peek().copied()) {
                (None, None) => break,
                (Some(one), Some(other)) if one.rtype == other.rtype => {
                    if one.signed != other.signed || one.patches != other.patches {
                        plain(before.zone, one, &mut self.before);
                        plain(now.zone, other, &mut self.now);
                    }
                    old.next();
                    new.next();
                }
                (Some(one), other) if other.is_none_or(|other| one.rtype.0 < other.rtype.0) => {
                    plain(before.zone, one, &mut self.before);
                    old.next();
                }
                (_, Some(other)) => {
                    plain(now.zone, other, &mut self.now);
                    new.next();
                }
                (Some(_), None) => break,
            }
        }
        drop_common(&mut self.before, &mut self.now);
        add(&mut self.difference.removed, before.name(), &self.before);
        add(&mut self.difference.added, now.name(), &self.now);
    }

    /// Takes all records of an owner that was not there before.
    fn come(&mut self, node: Node<'_>) {
        self.now.clear();
        node.sets()
            .for_each(|set| plain(node.zone, set, &mut self.now));
        add(&mut self.difference.added, node.name(), &self.now);
    }
}

/// The records of a set, the SOA record apart.
fn plain(zone: &Zone, set: Set<'_>, out: &mut Vec<Plain>) {
    for record in set.each_record() {
        let rtype = wire::read_u16(record.octets, 2).unwrap_or_default();
        if rtype == Type::SOA.0 {
            continue;
        }
        let ttl = wire::read_u32(record.octets, 6).unwrap_or_default();
        let mut rdata = Vec::with_capacity(record.octets.len());
        record.expand(zone.apex().octets(), |piece, _| {
            rdata.extend_from_slice(piece);
        });
        out.push((rtype, ttl, rdata));
    }
}

/// Leaves in each list what the other does not have.
fn drop_common(before: &mut Vec<Plain>, now: &mut Vec<Plain>) {
    before.sort_unstable();
    now.sort_unstable();
    let (mut removed, mut added) = (Vec::new(), Vec::new());
    let mut new = now.drain(..).peekable();
    for old in before.drain(..) {
        while let Some(come) = new.next_if(|new| *new < old) {
            added.push(come);
        }
        if new.next_if_eq(&old).is_none() {
            removed.push(old);
        }
    }
    added.extend(new);
    (*before, *now) = (removed, added);
}

fn add(records: &mut Records, owner: Name<'_>, plain: &[Plain]) {
    for (rtype, ttl, rdata) in plain {
        records.push(&ChangedRecord {
            owner,
            rtype: Type(*rtype),
            ttl: *ttl,
            rdata,
        });
    }
}

/// What becomes of one record: by owner, type and RDATA.
#[derive(Default)]
struct Edit<'d> {
    /// Whether the zone has to have it.
    removed: bool,
    /// Whether the zone was seen to have it.
    seen: bool,
    added: Option<ChangedRecord<'d>>,
}

impl Zone {
    /// A later version: this one with all `differences` in turn, not yet laid out.
    ///
    /// # Errors
    /// Where the differences do not follow each other from this version on, or remove what is not there.
    pub fn patched(&self, differences: &[Difference]) -> Result<Builder, String> {
        let mut edits: HashMap<Vec<u8>, Edit<'_>> = HashMap::new();
        let mut serial = self.serial();
        let mut key = Vec::new();
        for difference in differences {
            let (from, to) = difference
                .serials()
                .ok_or("a difference does not begin with SOA records")?;
            if from != serial {
                return Err(format!(
                    "a difference begins with serial {from}, not {serial}"
                ));
            }
            serial = to;
            for record in difference.removed.iter() {
                identify((record.owner, record.rtype, record.rdata), &mut key);
                let edit = edits.entry(key.clone()).or_default();
                if edit.added.take().is_none() && std::mem::replace(&mut edit.removed, true) {
                    return Err(missing(record.owner, record.rtype));
                }
            }
            for record in difference.added.iter() {
                identify((record.owner, record.rtype, record.rdata), &mut key);
                edits.entry(key.clone()).or_default().added = Some(record);
            }
        }
        let mut builder = Builder::new(self.apex()).minimal(self.minimal);
        let mut rdata = Vec::new();
        for record in self.records() {
            rdata.clear();
            record.write_rdata(&mut rdata);
            identify((record.owner(), record.rtype(), &rdata), &mut key);
            if let Some(edit) = edits.get_mut(&key) {
                edit.seen = true;
                if edit.removed || edit.added.is_some() {
                    continue;
                }
            }
            let fixed = (record.rtype(), record.ttl());
            push(&mut builder, record.owner(), fixed, &rdata)?;
        }
        for difference in differences {
            for record in difference.removed.iter() {
                identify((record.owner, record.rtype, record.rdata), &mut key);
                if edits
                    .get(&key)
                    .is_some_and(|edit| edit.removed && !edit.seen)
                {
                    return Err(missing(record.owner, record.rtype));
                }
            }
            // In the order in which they came, each once.
            for record in difference.added.iter() {
                identify((record.owner, record.rtype, record.rdata), &mut key);
                let edit = edits.get_mut(&key);
                if let Some(added) = edit.and_then(|edit| edit.added.take()) {
                    let fixed = (added.rtype, added.ttl);
                    push(&mut builder, added.owner, fixed, added.rdata)?;
                }
            }
        }
        Ok(builder)
    }
}

fn missing(owner: Name<'_>, rtype: Type) -> String {
    format!("{owner} {rtype}: a difference removes a record that is not there")
}

fn push(
    builder: &mut Builder,
    owner: Name<'_>,
    fixed: (Type, u32),
    rdata: &[u8],
) -> Result<(), String> {
    if !builder.has_room() {
        return Err("the zone is larger than 4 GiB".to_owned());
    }
    builder
        .push(owner, fixed, rdata, Place::default())
        .map_err(|_| format!("{owner} {}: it is outside of the zone", fixed.0))
}

/// What tells a record from others, whatever its TTL: names in it are compared without case where RFC 4034, section 6.2, compares them
/// so and a primary may have compressed them.
fn identify((owner, rtype, rdata): (Name<'_>, Type, &[u8]), key: &mut Vec<u8>) {
    key.clear();
    key.extend_from_slice(owner.octets());
    key.make_ascii_lowercase();
    key.extend_from_slice(&rtype.0.to_be_bytes());
    let names = key.len();
    key.extend_from_slice(rdata);
    let end = key.len();
    let range = match rtype {
        Type::NS | Type::CNAME | Type::PTR | Type::DNAME => names..end,
        Type::MX => (names + 2).min(end)..end,
        Type::SRV => (names + 6).min(end)..end,
        Type::SOA => names..end.saturating_sub(20).max(names),
        _ => return,
    };
    key[range].make_ascii_lowercase();
}

/// The differences that led to a zone's version, the oldest first, in a bounded number of octets: as many as the zone itself, 64 KiB
/// for smaller ones, and 100 versions at most. All begin with a version that is older than the newest (RFC 1982): serials that have gone
/// round are ambiguous, or newer.
#[derive(Clone, Default, Debug)]
pub struct Journal {
    differences: VecDeque<Arc<Difference>>,
    octets: usize,
}

impl Journal {
    /// The octets that the journal of this zone may have.
    pub fn bound(zone: &Zone) -> usize {
        zone.statistics().octets.max(SMALLEST)
    }

    /// Adds what led to `zone`. What does not follow the difference before it begins the journal anew; the oldest go when it is full.
    pub fn push(&mut self, difference: Arc<Difference>, zone: &Zone) {
        let serials = difference.serials();
        let follows = match (self.differences.back(), serials) {
            (Some(last), Some((from, _))) => last.serials().is_some_and(|(_, to)| to == from),
            (None, Some(_)) => true,
            (_, None) => false,
        };
        if !follows {
            self.clear();
        }
        let Some((_, newest)) = serials else {
            return;
        };
        self.octets += difference.octets();
        self.differences.push_back(difference);
        let (octets, versions) = (Self::bound(zone), VERSIONS);
        while self.octets > octets
            || self.differences.len() > versions
            || self.oldest().is_some_and(|from| !is_newer(newest, from))
        {
            let Some(oldest) = self.differences.pop_front() else {
                break;
            };
            self.octets -= oldest.octets();
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.differences.clear();
        self.octets = 0;
    }

    /// What leads from one version to a later one; `None` where it does not reach back so far.
    pub fn between(&self, from: u32, to: u32) -> Option<Vec<Arc<Difference>>> {
        let is = |at: &Arc<Difference>, serial: (Option<u32>, Option<u32>)| {
            at.serials().is_some_and(|(old, new)| {
                serial.0.is_none_or(|from| from == old) && serial.1.is_none_or(|to| to == new)
            })
        };
        let end = self
            .differences
            .iter()
            .rposition(|at| is(at, (None, Some(to))))?;
        let begin = self
            .differences
            .range(..=end)
            .rposition(|at| is(at, (Some(from), None)))?;
        Some(self.differences.range(begin..=end).cloned().collect())
    }

    /// The version before this one.
    pub fn before(&self, serial: u32) -> Option<u32> {
        let mut serials = self.differences.iter().rev().filter_map(|at| at.serials());
        serials.find_map(|(old, new)| (new == serial).then_some(old))
    }

    /// The oldest version that it reaches back to.
    pub fn oldest(&self) -> Option<u32> {
        Some(self.differences.front()?.serials()?.0)
    }

    /// How many octets its records have.
    pub fn octets(&self) -> usize {
        self.octets
    }
}

impl fmt::Display for ChangedRecord<'_> {
    /// In presentation format.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut octets = Records::default();
        octets.push(self);
        let record = wire::Records::new(&octets.octets, 0, [1, 0, 0]).next();
        let rdata = match &record {
            Some(Ok(record)) => present_rdata(record),
            _ => return Err(fmt::Error),
        };
        let (owner, ttl, rtype) = (self.owner, self.ttl, self.rtype);
        write!(f, "{owner} {ttl} IN {rtype} {rdata}")
    }
}
