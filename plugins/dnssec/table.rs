//! Signatures that were made, by the RRset that they cover: a set-associative table that is read without a lock.
//!
//! ```text
//! canonical RRset ─► hash ─► bucket of 4 ways: [tag ×4] [uses ×4] [entry ×4]
//! ```
//!
//! An entry is found by all octets of its RRset, so what the hash collides with costs a comparison and never gives another's signature.
//! In a full bucket the entry that was asked for least often goes, and now and then the others pay one use: names that are asked once push
//! out each other and not those that are asked again and again. The ways are allocated with the first entry.

use std::sync::atomic::{AtomicU8, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arc_swap::ArcSwapOption;

/// Entries in one bucket.
const WAYS: usize = 4;
/// What a full use counter holds.
const MOST_USES: u8 = 3;
/// At every so many evictions of a bucket its entries pay one use each, and whenever all were used.
const DECAY: u8 = 8;
/// The most entries that a table is made for.
const MOST_ENTRIES: usize = 1 << 24;

/// The signatures of one RRset.
pub(super) struct Entry {
    /// The hash of the octets.
    pub(super) hash: u64,
    /// The RRset in canonical form.
    pub(super) set: Box<[u8]>,
    /// RDATA of the RRSIG records.
    pub(super) signatures: Box<[Vec<u8>]>,
    /// When they are to be made anew, in seconds since 1970.
    pub(super) due: u64,
    /// When they end.
    pub(super) end: u64,
}

/// The hash of an RRset in canonical form.
#[inline]
pub(super) fn hash(octets: &[u8]) -> u64 {
    let mut chunks = octets.chunks_exact(8);
    let mut state = wire::seed();
    for chunk in &mut chunks {
        let word = u64::from_le_bytes(chunk.try_into().unwrap_or([0; 8]));
        state = wire::mix(state, word);
    }
    let mut last = [0; 8];
    let rest = chunks.remainder();
    last[..rest.len()].copy_from_slice(rest);
    wire::mix(
        wire::mix(state, u64::from_le_bytes(last)),
        octets.len() as u64,
    )
}

/// Four entries, and what is known of them without following a pointer.
#[repr(align(64))]
#[derive(Default)]
struct Bucket {
    tags: [AtomicU32; WAYS],
    uses: [AtomicU8; WAYS],
    entries: [ArcSwapOption<Entry>; WAYS],
    writing: Mutex<()>,
    /// How many entries had to go, modulo 256.
    turns: AtomicU8,
}

/// Entries by RRset, bounded.
pub(super) struct Table {
    buckets: OnceLock<Box<[Bucket]>>,
    /// How many buckets there are.
    size: usize,
    count: AtomicUsize,
}

impl Table {
    /// A table of at most `capacity` entries, or one bucket.
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            buckets: OnceLock::new(),
            size: (capacity.min(MOST_ENTRIES) / WAYS).max(1),
            count: AtomicUsize::new(0),
        }
    }

    /// How many entries there are.
    pub(super) fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// The entry for an RRset with this hash, due or not.
    #[inline]
    pub(super) fn find(&self, hash: u64, set: &[u8]) -> Option<Arc<Entry>> {
        let bucket = &self.buckets.get()?[self.place(hash)];
        for way in 0..WAYS {
            if bucket.tags[way].load(Ordering::Acquire) != tag(hash) {
                continue;
            }
            let held = bucket.entries[way].load();
            if let Some(entry) = held.as_ref().filter(|entry| *entry.set == *set) {
                let uses = &bucket.uses[way];
                let used = uses.load(Ordering::Relaxed);
                if used < MOST_USES {
                    uses.store(used + 1, Ordering::Relaxed);
                }
                return Some(entry.clone());
            }
        }
        None
    }

    /// Puts `entry` in, in the place of the one for the same RRset.
    pub(super) fn insert(&self, entry: Arc<Entry>) {
        let buckets = self
            .buckets
            .get_or_init(|| (0..self.size).map(|_| Bucket::default()).collect());
        let bucket = &buckets[self.place(entry.hash)];
        let _held = bucket
            .writing
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let there = |way: usize| bucket.entries[way].load();
        let same = |way: &usize| {
            there(*way)
                .as_ref()
                .is_some_and(|other| other.set == entry.set)
        };
        let free = |way: &usize| there(*way).is_none();
        let known = (0..WAYS).find(same);
        let way = known.or_else(|| (0..WAYS).find(free)).unwrap_or_else(|| {
            let uses = bucket
                .uses
                .each_ref()
                .map(|uses| uses.load(Ordering::Relaxed));
            let turn = bucket.turns.fetch_add(1, Ordering::Relaxed);
            if turn.is_multiple_of(DECAY) || !uses.contains(&0) {
                for (counter, used) in bucket.uses.iter().zip(uses) {
                    counter.store(used.saturating_sub(1), Ordering::Relaxed);
                }
            }
            (0..WAYS).min_by_key(|&way| uses[way]).unwrap_or_default()
        });
        if known.is_none() {
            bucket.uses[way].store(0, Ordering::Relaxed);
        }
        let tag = tag(entry.hash);
        if bucket.entries[way].swap(Some(entry)).is_none() {
            self.count.fetch_add(1, Ordering::Relaxed);
        }
        bucket.tags[way].store(tag, Ordering::Release);
    }

    /// Each entry.
    pub(super) fn entries(&self) -> impl Iterator<Item = Arc<Entry>> {
        let buckets = self.buckets.get().into_iter().flatten();
        let ways = buckets.flat_map(|bucket| &bucket.entries);
        ways.filter_map(|way| way.load_full())
    }

    /// The bucket of a hash: its high bits, scaled.
    #[inline]
    fn place(&self, hash: u64) -> usize {
        ((u128::from(hash) * self.size as u128) >> 64) as usize
    }
}

/// What a way shows of a hash: the low bits, never 0.
#[inline]
fn tag(hash: u64) -> u32 {
    hash as u32 | 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(number: u32) -> Arc<Entry> {
        let set = number.to_be_bytes();
        Arc::new(Entry {
            hash: hash(&set),
            set: set.into(),
            signatures: Box::default(),
            due: 0,
            end: 0,
        })
    }

    #[test]
    fn a_flood_of_sets_is_bounded_and_leaves_those_that_are_asked_for() {
        let table = Table::new(1_024);
        let asked = entry(u32::MAX);
        table.insert(asked.clone());
        for number in 0..100_000 {
            table.insert(entry(number));
            if number % 256 == 0 {
                assert!(table.find(asked.hash, &asked.set).is_some(), "{number}");
            }
        }
        assert!(table.len() <= 1_024, "{}", table.len());
        let last = entry(99_999);
        assert!(table.find(last.hash, &last.set).is_some());
    }
}
