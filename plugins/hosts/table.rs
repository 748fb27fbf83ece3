//! Hosts entries, ready to answer.
//!
//! ```text
//! slots   [tag 32 | place 32] …                      open addressing, linear probing, at most three quarters full
//! octets  kind len NAME n4 n6  n4 × (C00C A IN TTL 4 address)  n6 × (C00C AAAA IN TTL 16 address)
//!         3 ADDRESS n len      n × (C00C PTR IN TTL len name)
//! ```
//!
//! Two boxed slices in all. A hit is a probe, a comparison of octets and one copy; a miss is a probe, and one or a few more when
//! there are wildcards. A name costs about 45 octets, its address's PTR as much, and 8 to 16 more for the two slots.

use std::collections::HashSet;
use std::net::IpAddr;

use wire::{Name, Qname, mix};

use super::lines::{Entry, Gathered, Kind};

/// The octets of one A record whose owner is a pointer.
pub(super) const A_LEN: usize = 16;
/// The octets of one AAAA record whose owner is a pointer.
pub(super) const AAAA_LEN: usize = 28;
/// How many octets of records of one type a name may have: what a message holds, with room for the question.
const RUN: usize = 60_000;
/// The bits of a hash that are kept in its slot: the lowest, as the highest choose the slot.
const TAG: u64 = u32::MAX as u64;
/// The kind of a block that stands for an IPv4 address.
const REVERSE4: u8 = 3;
/// The kind of a block that stands for an IPv6 address.
const REVERSE6: u8 = 4;

/// The entries of one directive. Never changed: a reload makes another.
#[derive(Debug, Default)]
pub(super) struct Table {
    slots: Box<[u64]>,
    octets: Box<[u8]>,
    wildcards: bool,
    deep: bool,
    entries: usize,
}

/// Records of one type, ready but for an owner that is not lower-cased in the question.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Run<'a> {
    /// The records.
    pub(super) octets: &'a [u8],
    /// How many they are.
    pub(super) count: u16,
}

/// What is known of a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Addresses<'a> {
    /// Its A records.
    pub(super) a: Run<'a>,
    /// Its AAAA records.
    pub(super) aaaa: Run<'a>,
}

impl Table {
    /// Groups what was read by name and by address. Linear but for two sorts of hashes.
    pub(super) fn new(gathered: &Gathered, ttl: u32, reverse: bool) -> Self {
        let mut builder = Builder {
            gathered,
            ttl,
            octets: Vec::with_capacity(gathered.entries.len() * 48),
            places: Vec::with_capacity(gathered.entries.len() * 2),
            entries: 0,
        };
        let entries = &gathered.entries;
        builder.group(
            |entry| Some(keyed(entry.hash, entry.kind)),
            |a, b| a.kind == b.kind && gathered.name(a) == gathered.name(b),
            Builder::forward,
        );
        if reverse {
            builder.group(
                |entry| (entry.kind == Kind::Exact).then(|| address_hash(entry.address)),
                |a, b| a.address == b.address,
                Builder::backward,
            );
        }
        let Builder {
            octets,
            places,
            entries: count,
            ..
        } = builder;
        Self {
            slots: slots(&places),
            octets: octets.into(),
            wildcards: entries.iter().any(|entry| entry.kind != Kind::Exact),
            deep: entries.iter().any(|entry| entry.kind == Kind::AnyLabels),
            entries: count,
        }
    }

    /// The number of records, as CoreDNS counts its entries.
    pub(super) fn len(&self) -> usize {
        self.entries
    }

    /// The octets that the table takes.
    #[cfg(test)]
    pub(super) fn size(&self) -> usize {
        self.slots.len() * 8 + self.octets.len()
    }

    /// The addresses of `qname`: its own, else those of the wildcard nearest to it.
    #[inline]
    pub(super) fn find(&self, qname: &Qname) -> Option<Addresses<'_>> {
        let own = self.name(qname.hash(0), Kind::Exact, qname.name());
        if own.is_some() || !self.wildcards || qname.label_count() == 0 {
            return own;
        }
        let one = keyed(qname.hash(1), Kind::OneLabel);
        if let Some(found) = self.name(one, Kind::OneLabel, qname.suffix(1)) {
            return Some(found);
        }
        if !self.deep {
            return None;
        }
        (1..=qname.label_count()).find_map(|skip| {
            let any = keyed(qname.hash(skip), Kind::AnyLabels);
            self.name(any, Kind::AnyLabels, qname.suffix(skip))
        })
    }

    /// The PTR records of an address.
    #[inline]
    pub(super) fn pointers(&self, address: IpAddr) -> Option<Run<'_>> {
        let bits = address_octets(address);
        let (kind, wanted) = reverse_key(address, &bits);
        let behind = 1 + wanted.len();
        let block = self.probe(address_hash(address), |block| {
            block.first() == Some(&kind) && block.get(1..behind) == Some(wanted)
        })?;
        let count = wire::read_u16(block, behind)?;
        let len = wire::read_u16(block, behind + 2)? as usize;
        Some(Run {
            octets: block.get(behind + 4..behind + 4 + len)?,
            count,
        })
    }

    /// The block of this name and kind.
    #[inline]
    fn name(&self, hash: u64, kind: Kind, name: Name<'_>) -> Option<Addresses<'_>> {
        let name = name.octets();
        let behind = 2 + name.len();
        let block = self.probe(hash, |block| {
            block.first() == Some(&(kind as u8)) && block.get(2..behind) == Some(name)
        })?;
        let (n4, n6) = (
            wire::read_u16(block, behind)?,
            wire::read_u16(block, behind + 2)?,
        );
        let start = behind + 4;
        let middle = start + n4 as usize * A_LEN;
        let end = middle + n6 as usize * AAAA_LEN;
        Some(Addresses {
            a: Run {
                octets: block.get(start..middle)?,
                count: n4,
            },
            aaaa: Run {
                octets: block.get(middle..end)?,
                count: n6,
            },
        })
    }

    /// The octets from the block of this hash on that `fits`.
    #[inline]
    fn probe(&self, hash: u64, fits: impl Fn(&[u8]) -> bool) -> Option<&[u8]> {
        let mask = self.slots.len().checked_sub(1)?;
        let mut at = home(hash, self.slots.len());
        loop {
            let slot = self.slots[at];
            if slot == 0 {
                return None;
            }
            if slot >> 32 == hash & TAG {
                let block = self.octets.get(slot as u32 as usize - 1..)?;
                if fits(block) {
                    return Some(block);
                }
            }
            at = (at + 1) & mask;
        }
    }
}

/// The hash of a block: wildcards of a name lie elsewhere than the name.
#[inline]
fn keyed(hash: u64, kind: Kind) -> u64 {
    match kind {
        Kind::Exact => hash,
        // The hash is secret, so a known difference takes nobody to the slot of another name.
        kind => hash ^ (kind as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15),
    }
}

/// An address as sixteen octets; IPv4 as mapped.
#[inline]
fn address_octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// What a block for an address begins with; `bits` are its sixteen octets.
#[inline]
fn reverse_key(address: IpAddr, bits: &[u8; 16]) -> (u8, &[u8]) {
    match address {
        IpAddr::V4(_) => (REVERSE4, &bits[12..]),
        IpAddr::V6(_) => (REVERSE6, bits),
    }
}

#[inline]
fn address_hash(address: IpAddr) -> u64 {
    let bits = u128::from_be_bytes(address_octets(address));
    let (high, low) = ((bits >> 64) as u64, bits as u64);
    match high {
        // As in every address of IPv4.
        0 => mix(wire::seed(), low),
        high => mix(mix(wire::seed(), high), low),
    }
}

/// The slot where a hash is looked for first: its highest bits.
#[inline]
fn home(hash: u64, size: usize) -> usize {
    ((u128::from(hash) * size as u128) >> 64) as usize
}

/// Puts each block's hash and place (counted from 1) into a table with room to spare; there is always an empty slot, so every probe
/// ends.
fn slots(places: &[(u64, u32)]) -> Box<[u64]> {
    let size = (places.len() + places.len() / 3 + 1).next_power_of_two();
    let mut slots = vec![0u64; size].into_boxed_slice();
    for &(hash, place) in places {
        let mut at = home(hash, size);
        while slots[at] != 0 {
            at = (at + 1) & (size - 1);
        }
        slots[at] = (hash & TAG) << 32 | u64::from(place);
    }
    slots
}

/// A table being made.
struct Builder<'a> {
    gathered: &'a Gathered,
    ttl: u32,
    octets: Vec<u8>,
    places: Vec<(u64, u32)>,
    entries: usize,
}

impl Builder<'_> {
    /// Calls `emit` once for all entries that are the `same`, in the order of reading.
    fn group(
        &mut self,
        hash: impl Fn(&Entry) -> Option<u64>,
        same: impl Fn(&Entry, &Entry) -> bool,
        emit: impl Fn(&mut Self, &[&Entry]),
    ) {
        let entries = &self.gathered.entries;
        let mut order: Vec<(u64, u32)> = entries
            .iter()
            .enumerate()
            .filter_map(|(index, entry)| hash(entry).map(|hash| (hash, index as u32)))
            .collect();
        order.sort_unstable();
        // Blocks are written in the order of reading, so that memory is walked and not jumped through.
        let mut runs = Vec::with_capacity(order.len());
        let mut start = 0;
        for run in order.chunk_by(|a, b| a.0 == b.0) {
            runs.push((run[0].1, start as u32, run.len() as u32));
            start += run.len();
        }
        runs.sort_unstable();
        for (_, start, len) in runs {
            let run = &order[start as usize..][..len as usize];
            if let &[(hash, index)] = run {
                if !self.begin(hash) {
                    return;
                }
                emit(self, &[&entries[index as usize]]);
                continue;
            }
            // Nearly always one group; hashes are keyed, so nobody can make many names collide.
            let mut rest: Vec<&Entry> = run
                .iter()
                .map(|&(_, index)| &entries[index as usize])
                .collect();
            while let Some(&first) = rest.first() {
                let (group, others): (Vec<&Entry>, Vec<&Entry>) =
                    rest.into_iter().partition(|entry| same(first, entry));
                if !self.begin(run[0].0) {
                    return;
                }
                emit(self, &group);
                rest = others;
            }
        }
    }

    /// Begins the block of this hash; `false` when places have run out.
    fn begin(&mut self, hash: u64) -> bool {
        let Ok(place) = u32::try_from(self.octets.len() + 1) else {
            return false;
        };
        self.places.push((hash, place));
        true
    }

    /// The block of a name.
    fn forward(&mut self, group: &[&Entry]) {
        let Some(&first) = group.first() else { return };
        let name = self.gathered.name(first);
        self.octets.push(first.kind as u8);
        self.octets.push(name.len() as u8);
        self.octets.extend_from_slice(name);
        let counts = self.octets.len();
        self.octets.extend_from_slice(&[0; 4]);
        let mut seen = Seen::default();
        let (mut n4, mut n6) = (0u16, 0u16);
        for entry in group {
            if let IpAddr::V4(v4) = entry.address
                && usize::from(n4) < RUN / A_LEN
                && seen.is_new(entry.address)
            {
                self.record(1, &v4.octets());
                n4 += 1;
            }
        }
        for entry in group {
            if let IpAddr::V6(v6) = entry.address
                && usize::from(n6) < RUN / AAAA_LEN
                && seen.is_new(entry.address)
            {
                self.record(28, &v6.octets());
                n6 += 1;
            }
        }
        self.octets[counts..counts + 2].copy_from_slice(&n4.to_be_bytes());
        self.octets[counts + 2..counts + 4].copy_from_slice(&n6.to_be_bytes());
        self.entries += usize::from(n4) + usize::from(n6);
    }

    /// The block of an address.
    fn backward(&mut self, group: &[&Entry]) {
        let Some(&first) = group.first() else { return };
        let bits = address_octets(first.address);
        let (kind, key) = reverse_key(first.address, &bits);
        self.octets.push(kind);
        self.octets.extend_from_slice(key);
        let counts = self.octets.len();
        self.octets.extend_from_slice(&[0; 4]);
        let mut seen = Seen::default();
        let mut count = 0u16;
        for &entry in group {
            let name = self.gathered.name(entry);
            if self.octets.len() - counts + 12 + name.len() > RUN {
                break;
            }
            if seen.is_new(name) {
                self.record(12, name);
                count += 1;
            }
        }
        let len = (self.octets.len() - counts - 4) as u16;
        self.octets[counts..counts + 2].copy_from_slice(&count.to_be_bytes());
        self.octets[counts + 2..counts + 4].copy_from_slice(&len.to_be_bytes());
        self.entries += usize::from(count);
    }

    fn record(&mut self, rtype: u8, rdata: &[u8]) {
        self.octets.extend_from_slice(&[0xC0, 0x0C, 0, rtype, 0, 1]);
        self.octets.extend_from_slice(&self.ttl.to_be_bytes());
        self.octets
            .extend_from_slice(&(rdata.len() as u16).to_be_bytes());
        self.octets.extend_from_slice(rdata);
    }
}

/// What stood before: few things in a line, many in a set.
#[derive(Debug)]
struct Seen<T> {
    few: Vec<T>,
    many: HashSet<T>,
}

impl<T> Default for Seen<T> {
    fn default() -> Self {
        Self {
            few: Vec::new(),
            many: HashSet::new(),
        }
    }
}

impl<T: Copy + Eq + std::hash::Hash> Seen<T> {
    fn is_new(&mut self, one: T) -> bool {
        if self.few.len() < 16 {
            let new = !self.few.contains(&one);
            if new {
                self.few.push(one);
            }
            new
        } else {
            !self.few.contains(&one) && self.many.insert(one)
        }
    }
}
