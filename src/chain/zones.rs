//! What belongs to a zone, found by a name within it: server blocks of a listener, zones of a plugin.
//!
//! Open addressing over the hashes that parsing made of QNAME's suffixes, at most half full, made at load. Only suffixes with as many
//! labels as some zone here has are looked for, so the usual look-up reads one slot and compares one name, whatever the number of
//! zones.

use wire::{NameBuf, Qname, name_hash};

/// Values by zone.
#[derive(Debug)]
pub struct ZoneMap<T> {
    /// A zone's hash and its place in `zones`, counted from 1; 0 is free.
    slots: Box<[(u64, u32)]>,
    zones: Box<[Entry<T>]>,
    /// The numbers of labels that zones have, the greatest first.
    depths: Box<[u8]>,
}

/// A zone and what belongs to it, side by side.
#[derive(Debug)]
struct Entry<T> {
    value: T,
    zone: NameBuf,
}

impl<T> ZoneMap<T> {
    /// Takes zones in lower case; of two with one name, the first counts.
    pub fn new(zones: impl IntoIterator<Item = (NameBuf, T)>) -> Self {
        let zones: Box<[Entry<T>]> = zones
            .into_iter()
            .map(|(zone, value)| Entry { value, zone })
            .collect();
        let size = (zones.len() * 2).next_power_of_two().max(2);
        let mut slots = vec![(0, 0); size].into_boxed_slice();
        let mut depths = Vec::new();
        for (index, entry) in zones.iter().enumerate() {
            let hash = name_hash(entry.zone.as_name());
            let mut at = hash as usize & (size - 1);
            while slots[at].1 != 0 {
                at = (at + 1) & (size - 1);
            }
            slots[at] = (hash, index as u32 + 1);
            depths.push(entry.zone.as_name().label_count() as u8);
        }
        depths.sort_unstable_by(|one, other| other.cmp(one));
        depths.dedup();
        Self {
            slots,
            zones,
            depths: depths.into(),
        }
    }

    /// The values, as they came.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.zones.iter().map(|entry| &entry.value)
    }

    /// The value of the zone that encloses `qname` most closely.
    #[inline]
    pub fn nearest(&self, qname: &Qname) -> Option<&T> {
        self.nearest_from(qname, 0).map(|(_, value)| value)
    }

    /// The same among the zones that have at least `skip` labels less than `qname`, with how many less it has.
    #[inline(always)]
    pub fn nearest_from(&self, qname: &Qname, skip: usize) -> Option<(usize, &T)> {
        let labels = qname.label_count();
        for &depth in &self.depths {
            let less = labels.wrapping_sub(depth as usize);
            if less < skip || less > labels {
                continue;
            }
            if let Some(value) = self.exact(qname, less) {
                return Some((less, value));
            }
        }
        None
    }

    /// The value of the zone that `qname` without its `skip` leftmost labels is.
    #[inline(always)]
    fn exact(&self, qname: &Qname, skip: usize) -> Option<&T> {
        let hash = qname.hash(skip);
        let mask = self.slots.len() - 1;
        let mut at = hash as usize;
        loop {
            let (known, place) = *self.slots.get(at & mask)?;
            if known == hash && place != 0 {
                let entry = self.zones.get(place as usize - 1)?;
                if entry.zone.as_name().octets() == qname.suffix(skip).octets() {
                    return Some(&entry.value);
                }
            } else if place == 0 {
                return None;
            }
            at += 1;
        }
    }
}
