//! From records in any order to contents: owners are interned, records sorted by owner and type, checked, and laid out.
//!
//! While records come, an owner is an index: an open-addressing table from name to index is the only look-up per record, and a record
//! whose owner is that of the one before does without. RDATA and names lie in two growing buffers. Laying out is one pass over the
//! owners; what points to a node (wildcard child, hiding node, additional addresses) is an index first and its place in the end.

use std::path::PathBuf;
use std::sync::Arc;

use wire::{Name, NameBuf, Qname, Type};

use crate::complaint::{Complaint, Complaints};
use crate::contents::{
    Denial, EXTENDED, EXTRA, NODE_HEADER, SET_EXTENSION, Slot, Statistics, UNIT, Zone, flag,
};
use crate::rdata::name_len;
use crate::{checks, denial};

/// Where a record was stated: which file of the load, which line.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Place {
    /// The file's index in the load.
    pub file: u16,
    /// The line, from 1.
    pub line: u32,
}

/// A record that is not in the zone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OutOfZone;

/// What an owner has, as bits.
pub(crate) mod has {
    pub(crate) const NS: u8 = 1;
    pub(crate) const DNAME: u8 = 2;
    pub(crate) const ADDRESS: u8 = 4;
    pub(crate) const NSEC: u8 = 8;
    pub(crate) const HASHED: u8 = 16;
    pub(crate) const CNAME: u8 = 32;
}

/// An owner while the zone is built.
pub(crate) struct Owner {
    pub(crate) hash: u64,
    pub(crate) name: u32,
    pub(crate) len: u8,
    pub(crate) has: u8,
    pub(crate) parent: u32,
}

/// A record while the zone is built.
#[derive(Clone, Copy)]
pub(crate) struct Raw {
    pub(crate) owner: u32,
    pub(crate) ttl: u32,
    pub(crate) rdata: u32,
    pub(crate) len: u16,
    pub(crate) rtype: u16,
    pub(crate) line: u32,
    pub(crate) file: u16,
}

impl Raw {
    pub(crate) fn place(&self) -> Place {
        Place {
            file: self.file,
            line: self.line,
        }
    }
}

/// No owner.
pub(crate) const NONE: u32 = u32::MAX;

/// A zone being put together.
pub struct Builder {
    pub(crate) apex: NameBuf,
    pub(crate) names: Vec<u8>,
    pub(crate) owners: Vec<Owner>,
    table: Vec<(u32, u32)>,
    pub(crate) rdata: Vec<u8>,
    pub(crate) records: Vec<Raw>,
    /// Place of each owner once it is laid out.
    pub(crate) places: Vec<u32>,
    pub(crate) octets: Vec<u8>,
    /// Where `octets` holds an owner's index that is to become its place.
    fixups: Vec<usize>,
    minimal: bool,
    pub(crate) soa_optional: bool,
    /// A SOA record that may be of another owner than the apex, for a zone that has none of its own: the last one.
    any_soa: Option<(NameBuf, Raw)>,
    qname: Qname,
    last: (NameBuf, u32),
}

impl Builder {
    /// A zone with this apex and nothing else.
    pub fn new(apex: Name<'_>) -> Self {
        let mut out = Self {
            apex: NameBuf::from_name(apex).to_lower(),
            names: Vec::new(),
            owners: Vec::new(),
            table: vec![(0, 0); 64],
            rdata: Vec::new(),
            records: Vec::new(),
            places: Vec::new(),
            octets: Vec::new(),
            fixups: Vec::new(),
            minimal: false,
            soa_optional: false,
            any_soa: None,
            qname: Qname::root(),
            last: (NameBuf::root(), NONE),
        };
        let apex = out.apex;
        out.qname.set(apex.as_name());
        out.insert(out.qname.hash(0), apex.as_name(), NONE, 0);
        out
    }

    /// Leaves the apex's NS records out of answers.
    pub fn minimal(mut self, minimal: bool) -> Self {
        self.minimal = minimal;
        self
    }

    /// Takes a zone without a SOA record too; its negative answers have none.
    pub fn soa_optional(mut self, optional: bool) -> Self {
        self.soa_optional = optional;
        self
    }

    /// Adds a record. `rdata` has been checked and its names are uncompressed.
    pub fn push(
        &mut self,
        owner: Name<'_>,
        (rtype, ttl): (Type, u32),
        rdata: &[u8],
        place: Place,
    ) -> Result<(), OutOfZone> {
        let covered = covered(rtype, rdata);
        let hashed = covered == Type::NSEC3;
        let index = self.owner(owner, hashed).ok_or(OutOfZone)?;
        let node = &mut self.owners[index as usize];
        if rtype == covered {
            node.has |= match rtype {
                Type::NS => has::NS,
                Type::DNAME => has::DNAME,
                Type::CNAME => has::CNAME,
                Type::A | Type::AAAA => has::ADDRESS,
                Type::NSEC => has::NSEC,
                _ => 0,
            };
        }
        let start = self.rdata.len() as u32;
        self.rdata.extend_from_slice(rdata);
        self.records.push(Raw {
            owner: index,
            ttl,
            rdata: start,
            len: rdata.len() as u16,
            rtype: rtype.0,
            line: place.line,
            file: place.file,
        });
        Ok(())
    }

    /// Keeps a SOA record of any owner, for a zone that has none at its apex.
    pub(crate) fn keep_soa(&mut self, owner: NameBuf, ttl: u32, rdata: &[u8], place: Place) {
        let start = self.rdata.len() as u32;
        self.rdata.extend_from_slice(rdata);
        let raw = Raw {
            owner: NONE,
            ttl,
            rdata: start,
            len: rdata.len() as u16,
            rtype: Type::SOA.0,
            line: place.line,
            file: place.file,
        };
        self.any_soa = Some((owner, raw));
    }

    /// The SOA record that is kept, with its owner, where the apex has none.
    pub(crate) fn foreign_soa(&self) -> Option<(NameBuf, Raw)> {
        let kept = self.any_soa.filter(|_| !self.soa_optional)?;
        let own = |raw: &Raw| raw.owner == 0 && Type(raw.rtype) == Type::SOA;
        (!self.records.iter().any(own)).then_some(kept)
    }

    /// Whether another record of this size still fits: places are kept in 32 bits.
    pub(crate) fn has_room(&self) -> bool {
        self.rdata.len() < u32::MAX as usize - 65_536
            && self.names.len() < u32::MAX as usize - 65_536
    }

    pub(crate) fn rdata_of(&self, raw: &Raw) -> &[u8] {
        let start = raw.rdata as usize;
        self.rdata
            .get(start..start + raw.len as usize)
            .unwrap_or_default()
    }

    pub(crate) fn name_of(&self, index: u32) -> Name<'_> {
        let Some(owner) = self.owners.get(index as usize) else {
            return Name::ROOT;
        };
        let start = owner.name as usize;
        Name::new(&self.names[start..start + owner.len as usize]).unwrap_or(Name::ROOT)
    }

    /// The index of an owner, made if need be with all empty non-terminals above it.
    #[inline]
    fn owner(&mut self, name: Name<'_>, hashed: bool) -> Option<u32> {
        if !hashed && self.last.1 != NONE && self.last.0.as_name().octets() == name.octets() {
            return Some(self.last.1);
        }
        let mut qname = std::mem::replace(&mut self.qname, Qname::root());
        qname.set(name);
        let index = self.intern(&qname, name, hashed);
        self.qname = qname;
        if let (Some(index), false) = (index, hashed) {
            self.last = (NameBuf::from_name(name), index);
        }
        index
    }

    fn intern(&mut self, qname: &Qname, name: Name<'_>, hashed: bool) -> Option<u32> {
        let above = qname
            .label_count()
            .checked_sub(self.apex.as_name().label_count())?;
        if qname.suffix(above) != self.apex.as_name() {
            return None;
        }
        if hashed {
            let hash = qname.hash(0) ^ denial::HASHED_KEY;
            return Some(match self.find(hash, qname.name().octets(), true) {
                Some(index) => index,
                None => self.insert(hash, name, 0, has::HASHED),
            });
        }
        let mut parent = NONE;
        let mut missing = above;
        for skip in 0..=above {
            if let Some(index) = self.find(qname.hash(skip), qname.suffix(skip).octets(), false) {
                (parent, missing) = (index, skip);
                break;
            }
        }
        for skip in (0..missing).rev() {
            let suffix = name
                .octets()
                .get(qname.suffix_start(skip)..)
                .unwrap_or_default();
            let suffix = Name::new(suffix).unwrap_or(Name::ROOT);
            parent = self.insert(qname.hash(skip), suffix, parent, 0);
        }
        Some(parent)
    }

    /// The index of an owner that is there.
    pub(crate) fn find(&self, hash: u64, lower: &[u8], hashed: bool) -> Option<u32> {
        let mask = self.table.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            let (tag, index) = self.table[at];
            if index == 0 {
                return None;
            }
            let index = index - 1;
            if tag == (hash >> 32) as u32 {
                let owner = &self.owners[index as usize];
                let name = &self.names[owner.name as usize..][..owner.len as usize];
                if name.eq_ignore_ascii_case(lower) && (owner.has & has::HASHED != 0) == hashed {
                    return Some(index);
                }
            }
            at = (at + 1) & mask;
        }
    }

    /// The index of the owner with this name, in any case.
    pub(crate) fn find_name(&self, name: Name<'_>) -> Option<u32> {
        let lower = NameBuf::from_name(name).to_lower();
        self.find(
            wire::name_hash(lower.as_name()),
            lower.as_name().octets(),
            false,
        )
    }

    fn insert(&mut self, hash: u64, name: Name<'_>, parent: u32, has: u8) -> u32 {
        let index = self.owners.len() as u32;
        self.owners.push(Owner {
            hash,
            name: self.names.len() as u32,
            len: name.octets().len() as u8,
            has,
            parent,
        });
        self.names.extend_from_slice(name.octets());
        if self.owners.len() * 4 > self.table.len() * 3 {
            let size = self.table.len() * 2;
            self.table.clear();
            self.table.resize(size, (0, 0));
            for at in 0..self.owners.len() {
                place(&mut self.table, self.owners[at].hash, at as u32);
            }
        } else {
            place(&mut self.table, hash, index);
        }
        index
    }

    /// The zone, of records that came from no file (a zone transfer); or what is wrong with it.
    pub fn build(self) -> Result<Zone, Vec<Complaint>> {
        let mut complaints = Complaints::default();
        self.finish(&mut complaints, &[]).ok_or(complaints.errors)
    }

    /// Lays the zone out. What is wrong with it is told to `complaints`; when one of that is an error, there is no zone.
    pub(crate) fn finish(
        mut self,
        complaints: &mut Complaints,
        files: &[Arc<PathBuf>],
    ) -> Option<Zone> {
        let before = complaints.error_count;
        let order = self.by_owner();
        let hidden = self.hidden();
        let wildcards = self.wildcards();
        let mut report = Report { complaints, files };
        let mut statistics = Statistics::default();
        self.octets = Vec::with_capacity(self.records.len() * 48 + self.names.len() + 64);
        self.octets.resize(UNIT, 0);
        self.places = vec![0; self.owners.len()];
        let mut from = 0;
        for index in 0..self.owners.len() {
            let to = from
                + order[from..]
                    .iter()
                    .take_while(|&&at| self.records[at as usize].owner as usize == index)
                    .count();
            let mut mine: Vec<Raw> = order[from..to]
                .iter()
                .map(|&at| self.records[at as usize])
                .collect();
            from = to;
            mine.sort_by_key(|raw| {
                let covered = covered(Type(raw.rtype), self.rdata_of(raw));
                (covered.0, raw.rtype != covered.0)
            });
            checks::merge(&self, &mut mine, &mut report);
            checks::node(&self, (index as u32, hidden[index]), &mine, &mut report);
            self.lay_node(
                index,
                (hidden[index], wildcards[index]),
                &mine,
                &mut statistics,
            );
        }
        checks::zone(&self, &hidden, &mut report);
        if report.complaints.error_count > before {
            return None;
        }
        let nodes_end = self.octets.len();
        for at in std::mem::take(&mut self.fixups) {
            let index = u32::from_le_bytes(self.octets[at..at + 4].try_into().unwrap_or([0; 4]));
            let target = self.places.get(index as usize).copied().unwrap_or(0);
            self.octets[at..at + 4].copy_from_slice(&target.to_le_bytes());
        }
        self.into_zone(nodes_end, statistics)
    }

    fn into_zone(mut self, nodes_end: usize, mut statistics: Statistics) -> Option<Zone> {
        let (table, homes) = self.table();
        let denial = denial::chain(&self);
        let apex = self.apex;
        let (mut soa_owner, mut negative_soa) = (None, 0);
        if let Some((owner, mut raw)) = self.foreign_soa() {
            let rdata = self.rdata_of(&raw);
            let minimum = wire::read_u32(rdata, rdata.len().checked_sub(4)?)?;
            raw.ttl = raw.ttl.min(minimum);
            (soa_owner, negative_soa) = (Some(owner), self.octets.len());
            self.lay_set(Type::SOA, &[raw]);
        }
        let mut zone = Zone {
            apex,
            apex_labels: apex.as_name().label_count(),
            table,
            homes,
            apex_place: self.places.first().copied()?,
            negative_soa,
            soa_owner,
            ready_soa: None,
            ready_ns: None,
            nodes_end,
            denial,
            minimal: self.minimal,
            statistics,
            octets: std::mem::take(&mut self.octets).into_boxed_slice(),
        };
        zone.append_negative_soa();
        zone.prepare();
        statistics.octets = zone.octets.len() + zone.table.len() * size_of::<Slot>();
        statistics.octets += match &zone.denial {
            Denial::None => 0,
            Denial::Nsec(chain) => chain.len() * 4,
            Denial::Nsec3 { chain, .. } => chain.len() * 24,
        };
        zone.statistics = statistics;
        Some(zone)
    }

    /// The table of the owners that are names of the zone, and how many homes it has. A newcomer stands before the first greater tag of
    /// its run, which moves up.
    fn table(&self) -> (Box<[Slot]>, usize) {
        let named = || {
            let owners = self.owners.iter().zip(&self.places);
            owners.filter(|(owner, _)| owner.has & has::HASHED == 0)
        };
        let homes = named().count() * 3 / 2 + 1;
        let mut table = vec![Slot::FREE; homes + 8];
        for (owner, &place) in named() {
            let mut slot = Slot {
                tag: Slot::tag(owner.hash),
                place,
            };
            let mut at = Slot::home(slot.tag, homes);
            loop {
                if at == table.len() {
                    table.push(Slot::FREE);
                }
                let there = &mut table[at];
                if there.place == 0 {
                    *there = slot;
                    break;
                }
                if there.tag > slot.tag {
                    std::mem::swap(there, &mut slot);
                }
                at += 1;
            }
        }
        (table.into_boxed_slice(), homes)
    }

    /// The records' indexes by owner, in the order in which they came.
    fn by_owner(&self) -> Vec<u32> {
        let mut starts = vec![0u32; self.owners.len() + 1];
        for raw in &self.records {
            starts[raw.owner as usize + 1] += 1;
        }
        for at in 1..starts.len() {
            starts[at] += starts[at - 1];
        }
        let mut order = vec![0u32; self.records.len()];
        for (at, raw) in self.records.iter().enumerate() {
            let next = &mut starts[raw.owner as usize];
            order[*next as usize] = at as u32;
            *next += 1;
        }
        order
    }

    /// For each owner, the zone cut or DNAME above that hides it. Parents stand before their children.
    pub(crate) fn hidden(&self) -> Vec<u32> {
        let mut out = vec![NONE; self.owners.len()];
        for (index, owner) in self.owners.iter().enumerate().skip(1) {
            if owner.has & has::HASHED != 0 {
                continue;
            }
            let parent = owner.parent as usize;
            let above = self.owners[parent].has;
            out[index] = match out[parent] {
                NONE if (above & has::NS != 0 && parent != 0) || above & has::DNAME != 0 => {
                    parent as u32
                }
                found => found,
            };
        }
        out
    }

    /// For each owner, its wildcard child.
    fn wildcards(&self) -> Vec<u32> {
        let mut out = vec![NONE; self.owners.len()];
        for (index, owner) in self.owners.iter().enumerate().skip(1) {
            let name = self.names.get(owner.name as usize..).unwrap_or_default();
            if owner.has & has::HASHED == 0 && name.starts_with(b"\x01*") {
                out[owner.parent as usize] = index as u32;
            }
        }
        out
    }

    fn lay_node(
        &mut self,
        index: usize,
        (hidden, wildcard): (u32, u32),
        records: &[Raw],
        statistics: &mut Statistics,
    ) {
        let pad = self.octets.len().next_multiple_of(UNIT);
        self.octets.resize(pad, 0);
        self.places[index] = (pad / UNIT) as u32;
        let owner = &self.owners[index];
        let name = owner.name as usize..owner.name as usize + owner.len as usize;
        let mut flags = 0;
        if owner.has & has::NS != 0 && index != 0 {
            flags |= flag::CUT;
        }
        if owner.has & has::DNAME != 0 {
            flags |= flag::DNAME;
        }
        if owner.has & has::HASHED != 0 {
            flags |= flag::HASHED;
        }
        if hidden != NONE {
            flags |= flag::OCCLUDED;
        }
        if self.names[name.clone()].iter().any(u8::is_ascii_uppercase) {
            flags |= flag::MIXED;
        }
        let link = if hidden == NONE { wildcard } else { hidden };
        self.octets.extend_from_slice(&flags.to_le_bytes());
        let sets_at = self.octets.len();
        self.octets.extend_from_slice(&[0, 0]);
        if link == NONE {
            self.octets.extend_from_slice(&[0; 4]);
        } else {
            self.fixups.push(self.octets.len());
            self.octets.extend_from_slice(&link.to_le_bytes());
        }
        debug_assert_eq!(self.octets.len() - pad, NODE_HEADER);
        self.octets.push(name.len() as u8);
        self.octets.extend_from_slice(&self.names[name]);
        let mut sets = 0u16;
        let mut rest = records;
        while let Some(first) = rest.first() {
            let rtype = covered(Type(first.rtype), self.rdata_of(first));
            let len = rest
                .iter()
                .take_while(|raw| covered(Type(raw.rtype), self.rdata_of(raw)) == rtype)
                .count();
            let (set, later) = rest.split_at(len);
            self.lay_set(rtype, set);
            sets += 1;
            statistics.rrsets += usize::from(Type(first.rtype) == rtype);
            rest = later;
        }
        statistics.owners += usize::from(sets > 0);
        statistics.records += records.len();
        let signatures = records.iter().filter(|raw| raw.rtype == Type::RRSIG.0);
        signatures.for_each(|raw| statistics.note_signature(self.rdata_of(raw)));
        self.octets[sets_at..sets_at + 2].copy_from_slice(&sets.to_le_bytes());
    }

    /// Lays out the records of one type, RRSIGs last.
    fn lay_set(&mut self, rtype: Type, records: &[Raw]) {
        let count = records.iter().filter(|raw| raw.rtype == rtype.0).count();
        let (own, sigs) = records.split_at(count);
        // Places in a set are kept in 16 bits; a set that is longer does without pointers.
        let small = own.iter().map(|raw| 12 + raw.len as usize).sum::<usize>() <= 0xFFFF;
        let (mut patches, mut extras, mut out) = (Vec::new(), Vec::new(), Vec::new());
        for raw in own {
            let start = out.len();
            self.lay_record(raw, small, &mut out, &mut patches);
            self.extra(raw, small.then_some(start), &mut extras);
        }
        let own_len = out.len();
        for raw in sigs {
            self.lay_record(raw, false, &mut out, &mut patches);
        }
        let extended = !(patches.is_empty() && extras.is_empty() && sigs.is_empty());
        let word = own_len as u32 | if extended { EXTENDED } else { 0 };
        self.octets.extend_from_slice(&rtype.0.to_le_bytes());
        self.octets.extend_from_slice(&(count as u16).to_le_bytes());
        self.octets.extend_from_slice(&word.to_le_bytes());
        if extended {
            let mut extension = [0; SET_EXTENSION];
            extension[..2].copy_from_slice(&(sigs.len() as u16).to_le_bytes());
            extension[2..4].copy_from_slice(&(patches.len() as u16).to_le_bytes());
            extension[4..6].copy_from_slice(&(extras.len() as u16).to_le_bytes());
            extension[8..].copy_from_slice(&((out.len() - own_len) as u32).to_le_bytes());
            self.octets.extend_from_slice(&extension);
            for patch in patches {
                self.octets.extend_from_slice(&(patch as u16).to_le_bytes());
            }
            for (at, index) in extras {
                self.octets.extend_from_slice(&(at as u16).to_le_bytes());
                self.fixups.push(self.octets.len());
                self.octets.extend_from_slice(&u32::to_le_bytes(index));
                debug_assert_eq!(EXTRA, 6);
            }
        }
        self.octets.extend_from_slice(&out);
    }

    /// Appends a record in wire form, owner `C0 0C`, names that end in the apex with a pointer.
    fn lay_record(&self, raw: &Raw, compress: bool, out: &mut Vec<u8>, patches: &mut Vec<usize>) {
        let rdata = self.rdata_of(raw);
        out.extend_from_slice(&[0xC0, 0x0C]);
        out.extend_from_slice(&raw.rtype.to_be_bytes());
        out.extend_from_slice(&[0, 1]);
        out.extend_from_slice(&raw.ttl.to_be_bytes());
        let len_at = out.len();
        out.extend_from_slice(&[0, 0]);
        let (mut here, names) = match Type(raw.rtype) {
            Type::NS | Type::CNAME | Type::PTR => (0, 1),
            Type::MX => (2, 1),
            Type::SOA => (0, 2),
            _ => (0, 0),
        };
        out.extend_from_slice(&rdata[..here.min(rdata.len())]);
        let apex = self.apex.as_name();
        for _ in 0..if compress { names } else { 0 } {
            let len = name_len(&rdata[here..]).unwrap_or(rdata.len() - here);
            let name = &rdata[here..here + len];
            match ends_in(name, apex) {
                Some(kept) => {
                    out.extend_from_slice(&name[..kept]);
                    patches.push(out.len());
                    out.extend_from_slice(&[0xC0, 0x0C]);
                }
                None => out.extend_from_slice(name),
            }
            here += len;
        }
        out.extend_from_slice(&rdata[here.min(rdata.len())..]);
        let len = (out.len() - len_at - 2) as u16;
        out[len_at..len_at + 2].copy_from_slice(&len.to_be_bytes());
    }

    /// Notes the node with the addresses of the record's target (RFC 1035, 3.3.9, 3.3.11; RFC 2782; RFC 9460, 4.1), and the node that an
    /// alias leads to.
    fn extra(&self, raw: &Raw, start: Option<usize>, extras: &mut Vec<(usize, u32)>) {
        let head = match Type(raw.rtype) {
            Type::NS | Type::CNAME => 0,
            Type::MX | Type::SVCB | Type::HTTPS => 2,
            Type::SRV => 6,
            _ => return,
        };
        let rdata = self.rdata_of(raw);
        let Some(target) = rdata
            .get(head..)
            .and_then(|rest| rest.get(..name_len(rest)?))
            .and_then(|octets| Name::new(octets).ok())
        else {
            return;
        };
        if target.is_root() || !target.is_within(self.apex.as_name()) {
            return;
        }
        let Some(index) = self.find_name(target) else {
            return;
        };
        let known = extras.iter().any(|&(_, other)| other == index);
        let wanted =
            raw.rtype == Type::CNAME.0 || self.owners[index as usize].has & has::ADDRESS != 0;
        if known || extras.len() >= 255 || !wanted {
            return;
        }
        extras.push((start.map_or(0xFFFF, |start| start + 12 + head), index));
    }
}

fn place(table: &mut [(u32, u32)], hash: u64, index: u32) {
    let mask = table.len() - 1;
    let mut at = hash as usize & mask;
    while table[at].1 != 0 {
        at = (at + 1) & mask;
    }
    table[at] = ((hash >> 32) as u32, index + 1);
}

/// The type that a record belongs to: what an RRSIG covers, else its own.
pub(crate) fn covered(rtype: Type, rdata: &[u8]) -> Type {
    match rtype {
        Type::RRSIG => wire::read_u16(rdata, 0).map_or(rtype, Type),
        other => other,
    }
}

/// How many octets of `name` stand before the apex that it ends in, octet for octet; `None` too when the apex is the root.
fn ends_in(name: &[u8], apex: Name<'_>) -> Option<usize> {
    let apex = apex.octets();
    if apex.len() <= 1 || !name.ends_with(apex) {
        return None;
    }
    let kept = name.len() - apex.len();
    let mut at = 0;
    while at < kept {
        at += 1 + name[at] as usize;
    }
    (at == kept).then_some(kept)
}

impl Zone {
    /// Appends the SOA set with the TTL of negative answers.
    fn append_negative_soa(&mut self) -> Option<()> {
        let node = self.apex_node();
        node.set(Type::SOA)?;
        let mut at = node.at + NODE_HEADER + 1 + node.name_octets().len();
        let (set, end) = loop {
            let (set, end) = self.set_at(at);
            if set.rtype == Type::SOA {
                break (set, end);
            }
            at = end;
        };
        let minimum = wire::read_u32(set.records, set.records.len().checked_sub(4)?)?;
        let ttl = set.ttl().min(minimum);
        let start = end - set.signed.len() - at;
        let places: Vec<usize> = set.each_record().map(|record| record.start + 6).collect();
        let mut copy = self.octets[at..end].to_vec();
        for place in places {
            copy[start + place..start + place + 4].copy_from_slice(&ttl.to_be_bytes());
        }
        let mut octets = std::mem::take(&mut self.octets).into_vec();
        self.negative_soa = octets.len();
        octets.reserve_exact(copy.len());
        octets.extend_from_slice(&copy);
        self.octets = octets.into_boxed_slice();
        Some(())
    }
}

/// Where complaints about records go.
pub(crate) struct Report<'a> {
    pub(crate) complaints: &'a mut Complaints,
    pub(crate) files: &'a [Arc<PathBuf>],
}

impl Report<'_> {
    fn complaint(&self, place: Place, message: String) -> Complaint {
        Complaint {
            file: self
                .files
                .get(place.file as usize)
                .cloned()
                .unwrap_or_default(),
            line: place.line,
            column: 0,
            message,
            conflict: false,
            outside: false,
            note: false,
            soa_of: None,
        }
    }

    /// An error of records that contradict each other.
    pub(crate) fn conflict(&mut self, place: Place, message: impl FnOnce() -> String) {
        let complaint = self.complaint(place, String::new());
        self.complaints.error(|| Complaint {
            message: message(),
            conflict: true,
            ..complaint
        });
    }

    pub(crate) fn error(&mut self, place: Place, message: impl FnOnce() -> String) {
        let complaint = self.complaint(place, String::new());
        self.complaints.error(|| Complaint {
            message: message(),
            ..complaint
        });
    }

    /// Something that is served as it is written.
    pub(crate) fn note(&mut self, place: Place, message: impl FnOnce() -> String) {
        let complaint = self.complaint(place, String::new());
        self.complaints.warn(|| Complaint {
            message: message(),
            note: true,
            ..complaint
        });
    }

    /// A SOA record of another zone, which is taken.
    pub(crate) fn foreign_soa(&mut self, place: Place, (owner, apex): (NameBuf, NameBuf)) {
        let message = format!(
            "the SOA record is that of {owner}, not of {apex}; negative responses contain it unchanged, and resolvers may refuse them"
        );
        let complaint = self.complaint(place, message);
        self.complaints.warn(|| Complaint {
            soa_of: Some(Box::new(owner)),
            ..complaint
        });
    }

    pub(crate) fn warn(&mut self, place: Place, message: impl FnOnce() -> String) {
        let complaint = self.complaint(place, String::new());
        self.complaints.warn(|| Complaint {
            message: message(),
            ..complaint
        });
    }
}
