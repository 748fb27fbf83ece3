//! Where entries lie: a set-associative table that is read without a lock.
//!
//! ```text
//! hash ──► bucket of 8 ways: [tag ×8] [uses ×8] [entry ×8]      tags first: one cache line says whether there is anything to compare
//! ```
//!
//! * **Reading** loads a tag, then the entry's pointer (`arc_swap`: no lock, no shared counter), and compares the whole key. A hit
//!   raises a counter of two bits, and writes nothing once that is full.
//! * **Writing** locks one of 64 stripes of buckets. Nothing else ever does.
//! * **Eviction** is a clock: the hand visits bucket after bucket and takes the dead, else the oldest that nobody has asked for
//!   again; a bucket in which all were is passed over at the price of one use each, and on every eighth round everybody pays. Names that
//!   are asked once can therefore push out each other, not the hot set.
//! * **Bounds** are entries and octets. There is no list, no timer and no scan: what has expired is overwritten, or found by the hand.
//!
//! There are 1.5 ways for each entry allowed, so that a bucket runs over before the table is full only rarely; then its own
//! worst entry goes. The ways are allocated with the first entry: a server block that nobody asks costs nothing.

use std::sync::atomic::{AtomicU8, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arc_swap::{ArcSwapOption, Guard};
use chain::Identity;

use super::entry::Entry;

/// Entries in one bucket.
const WAYS: usize = 8;
/// Locks for writers.
const STRIPES: usize = 64;
/// What a full use counter holds.
const MOST_USES: u8 = 3;
/// How many buckets in use the hand passes over before it takes what it has.
const PATIENCE: usize = 16;
/// The most entries a table is made for.
const MOST_ENTRIES: usize = 1 << 24;
/// The octets that the table allows for each entry that it allows.
pub(super) const OCTETS_PER_ENTRY: usize = 1_024;

/// An entry that was found; holding it keeps it alive.
pub(super) type Held = Guard<Option<Arc<Entry>>>;

/// Eight entries, and what is known of them without following a pointer.
#[repr(align(64))]
#[derive(Default)]
struct Bucket {
    tags: [AtomicU32; WAYS],
    uses: [AtomicU8; WAYS],
    entries: [ArcSwapOption<Entry>; WAYS],
}

/// Entries by key, bounded.
pub(super) struct Table {
    buckets: OnceLock<Box<[Bucket]>>,
    /// How many buckets there are.
    size: usize,
    stripes: [Mutex<()>; STRIPES],
    capacity: usize,
    count: AtomicUsize,
    octets: AtomicUsize,
    hand: AtomicUsize,
}

impl Table {
    /// A table for `capacity` entries and [`OCTETS_PER_ENTRY`] times as many octets.
    pub(super) fn new(capacity: usize) -> Self {
        let capacity = capacity.clamp(1, MOST_ENTRIES);
        Self {
            buckets: OnceLock::new(),
            size: (capacity * 3).div_ceil(2 * WAYS),
            stripes: [const { Mutex::new(()) }; STRIPES],
            capacity,
            count: AtomicUsize::new(0),
            octets: AtomicUsize::new(0),
            hand: AtomicUsize::new(0),
        }
    }

    /// How many entries there are.
    pub(super) fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// How many octets they take.
    #[cfg(test)]
    pub(super) fn octets(&self) -> usize {
        self.octets.load(Ordering::Relaxed)
    }

    /// The entry for `key`, expired or not.
    #[inline(always)]
    pub(super) fn find(&self, key: &Identity<'_>) -> Option<Held> {
        let bucket = &self.buckets.get()?[self.place(key.hash())];
        let tag = tag(key.hash());
        for way in 0..WAYS {
            if bucket.tags[way].load(Ordering::Acquire) != tag {
                continue;
            }
            let held = bucket.entries[way].load();
            if held.as_ref().is_some_and(|entry| entry.is_for(key)) {
                let uses = &bucket.uses[way];
                let used = uses.load(Ordering::Relaxed);
                if used < MOST_USES {
                    uses.store(used + 1, Ordering::Relaxed);
                }
                return Some(held);
            }
        }
        None
    }

    /// Puts `entry` in, in the place of the one with the same key; gives how many others had to go.
    pub(super) fn insert(&self, entry: Arc<Entry>, now: u64) -> u64 {
        let mut evicted = 0;
        let at = self.place(entry.hash);
        let buckets = self
            .buckets
            .get_or_init(|| (0..self.size).map(|_| Bucket::default()).collect());
        {
            let bucket = &buckets[at];
            let _held = self.lock(at);
            let same = (0..WAYS).find(|&way| {
                let there = bucket.entries[way].load();
                there.as_ref().is_some_and(|there| there.same_key(&entry))
            });
            let free = || (0..WAYS).find(|&way| bucket.entries[way].load().is_none());
            let way = same.or_else(free).unwrap_or_else(|| {
                evicted += 1;
                bucket.worst(now).map_or(0, |(way, _)| way)
            });
            self.octets.fetch_add(entry.cost(), Ordering::Relaxed);
            self.count.fetch_add(1, Ordering::Relaxed);
            let tag = tag(entry.hash);
            if same.is_none() {
                bucket.uses[way].store(0, Ordering::Relaxed);
            }
            self.forget(bucket.entries[way].swap(Some(entry)));
            bucket.tags[way].store(tag, Ordering::Release);
        }
        let mut visits = 0;
        while self.is_over() && visits < 2 * self.size {
            visits += 1;
            evicted += u64::from(self.sweep(buckets, now, visits));
        }
        evicted
    }

    /// Takes the entry for `key` out.
    pub(super) fn remove(&self, key: &Identity<'_>) {
        let Some(buckets) = self.buckets.get() else {
            return;
        };
        if self.len() == 0 {
            return;
        }
        let at = self.place(key.hash());
        let bucket = &buckets[at];
        let _held = self.lock(at);
        for way in 0..WAYS {
            let there = bucket.entries[way].load();
            if there.as_ref().is_some_and(|there| there.is_for(key)) {
                self.clear(bucket, way);
            }
        }
    }

    fn is_over(&self) -> bool {
        self.len() > self.capacity
            || self.octets.load(Ordering::Relaxed) > self.capacity * OCTETS_PER_ENTRY
    }

    /// Moves the hand by one bucket; `true` when an entry went.
    fn sweep(&self, buckets: &[Bucket], now: u64, visits: usize) -> bool {
        let hand = self.hand.fetch_add(1, Ordering::Relaxed);
        let at = hand % self.size;
        let bucket = &buckets[at];
        let _held = self.lock(at);
        let Some((way, uses)) = bucket.worst(now) else {
            return false;
        };
        // What came just now has had no time to be asked for again.
        let newest = bucket.entries[way]
            .load()
            .as_ref()
            .is_some_and(|entry| entry.stored() >= now);
        let take = match newest {
            true => visits > self.size,
            false => uses == 0 || visits > PATIENCE,
        };
        if take {
            self.clear(bucket, way);
        }
        if !take || (hand / self.size) % 8 == 7 {
            for uses in &bucket.uses {
                let used = uses.load(Ordering::Relaxed);
                uses.store(used.saturating_sub(1), Ordering::Relaxed);
            }
        }
        take
    }

    fn clear(&self, bucket: &Bucket, way: usize) {
        bucket.tags[way].store(0, Ordering::Release);
        self.forget(bucket.entries[way].swap(None));
    }

    fn forget(&self, entry: Option<Arc<Entry>>) {
        if let Some(entry) = entry {
            self.octets.fetch_sub(entry.cost(), Ordering::Relaxed);
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn lock(&self, bucket: usize) -> std::sync::MutexGuard<'_, ()> {
        self.stripes[bucket % STRIPES]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The bucket of a hash: its high bits, scaled.
    #[inline]
    fn place(&self, hash: u64) -> usize {
        ((u128::from(hash) * self.size as u128) >> 64) as usize
    }
}

impl Bucket {
    /// The entry to part with first, and its uses: a dead one, else the least used, else the oldest.
    fn worst(&self, now: u64) -> Option<(usize, u8)> {
        (0..WAYS)
            .filter_map(|way| {
                let entry = self.entries[way].load();
                let entry = entry.as_ref()?;
                let uses = match entry.is_dead(now) {
                    true => 0,
                    false => self.uses[way].load(Ordering::Relaxed),
                };
                Some(((uses, entry.stored()), (way, uses)))
            })
            .min_by_key(|(rank, _)| *rank)
            .map(|(_, worst)| worst)
    }
}

/// What a way shows of a hash: the low bits, never 0.
#[inline]
fn tag(hash: u64) -> u32 {
    hash as u32 | 1
}
