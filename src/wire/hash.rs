//! The hash of names: folded multiplication over the lower-cased wire octets, label by label from the root down.
//!
//! Each word of eight octets is XORed into the state, which is then multiplied by a secret; the halves of the product, XORed, are the
//! next state. Secret are the first state and the multiplier, both drawn once a process. So nobody outside can choose names that
//! collide in a table: a difference between two words becomes an unknown multiple of a secret, which no later word can take back.
//! (Were the multiplier a function of the word, as it was once, there would be words by which nothing is multiplied.) At the end of a
//! label the state is multiplied once more: numbered names are multiples of one number after one product, which some tables would
//! find close together. A label begins with its length, so different names are different sequences of words.

use std::hash::{BuildHasher, RandomState};
use std::sync::OnceLock;

/// What is secret of the hash.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keys {
    /// The hash of the root.
    pub(crate) seed: u64,
    /// What states are multiplied by; odd.
    pub(crate) multiplier: u64,
}

impl Keys {
    /// Keys that anybody can know, for tables that a few probes bound.
    pub(crate) const PUBLIC: Self = Self {
        seed: 0,
        multiplier: 0xD6E8_FEB8_6659_FD93,
    };

    /// The keys that follow from `seed`.
    pub(crate) const fn new(seed: u64) -> Self {
        // The finisher of SplitMix64.
        let mut multiplier = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
        multiplier = (multiplier ^ multiplier >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        multiplier = (multiplier ^ multiplier >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        Self {
            seed,
            multiplier: multiplier ^ multiplier >> 31 | 1,
        }
    }

    /// The product with the secret, its halves folded into one.
    #[inline]
    const fn fold(self, state: u64) -> u64 {
        let wide = state as u128 * self.multiplier as u128;
        wide as u64 ^ (wide >> 64) as u64
    }

    /// Folds `word` into `state`, for good: nothing has to follow.
    #[inline]
    pub(crate) const fn mix(self, state: u64, word: u64) -> u64 {
        self.fold(self.fold(state ^ word))
    }

    /// Folds one label, its length octet included, into the hash of the suffix below it.
    #[inline]
    pub(crate) fn label(self, state: u64, octets: &[u8]) -> u64 {
        let mut state = state;
        let mut chunks = octets.chunks_exact(8);
        for chunk in &mut chunks {
            let word = u64::from_le_bytes(chunk.try_into().unwrap_or([0; 8]));
            state = self.fold(state ^ word);
        }
        let rest = chunks.remainder();
        if rest.is_empty() {
            self.fold(state)
        } else {
            self.mix(state, tail(rest))
        }
    }

    /// [`Keys::label`] for the octets from `start` up to `end` (one at least) of a buffer that goes on for a word: no octet is looked
    /// at alone.
    #[inline]
    pub(crate) fn label_within(self, state: u64, buffer: &[u8], start: usize, end: usize) -> u64 {
        let word = |at: usize| match buffer.get(at..at + 8).map(<[u8; 8]>::try_from) {
            Some(Ok(octets)) => u64::from_le_bytes(octets),
            _ => 0,
        };
        let (mut state, mut at) = (state, start);
        while at + 8 < end {
            state = self.fold(state ^ word(at));
            at += 8;
        }
        let unused = 64 - 8 * (end - at) as u32;
        self.mix(state, word(at) & (u64::MAX >> (unused & 63)))
    }

    /// The hash of a lower-cased name in wire form.
    pub(crate) fn name(self, lower: crate::Name<'_>) -> u64 {
        let octets = lower.octets();
        let mut starts = [0u8; crate::MAX_LABELS];
        let mut count = 0;
        let mut at = 0;
        while let Some(&len) = octets.get(at) {
            if len == 0 || count == starts.len() {
                break;
            }
            starts[count] = at as u8;
            count += 1;
            at += 1 + len as usize;
        }
        let mut state = self.seed;
        let mut end = at;
        for &start in starts[..count].iter().rev() {
            let octets = octets.get(start as usize..end).unwrap_or_default();
            state = self.label(state, octets);
            end = start as usize;
        }
        state
    }
}

static KEYS: OnceLock<Keys> = OnceLock::new();

/// The process's keys.
#[inline]
pub(crate) fn keys() -> Keys {
    *KEYS.get_or_init(|| {
        let random = RandomState::new();
        Keys {
            seed: random.hash_one(0),
            multiplier: random.hash_one(1) | 1,
        }
    })
}

/// Sets the process's keys, for benches whose every run is to probe the same slots; `false` when they were drawn already.
pub fn fix_seed(seed: u64) -> bool {
    KEYS.set(Keys::new(seed)).is_ok()
}

/// The hash of the root name, to begin another hash with.
#[inline]
pub fn seed() -> u64 {
    keys().seed
}

/// Folds `value` into `state` by the process's keys.
#[inline]
pub fn mix(state: u64, value: u64) -> u64 {
    keys().mix(state, value)
}

/// The hash of a lower-cased name in wire form: what [`crate::Qname::hash`] gives for the same name.
pub fn name_hash(lower: crate::Name<'_>) -> u64 {
    keys().name(lower)
}

/// The last one to seven octets of a label as an integer.
#[inline]
fn tail(rest: &[u8]) -> u64 {
    let n = rest.len();
    if n >= 4 {
        let low = u32::from_le_bytes([rest[0], rest[1], rest[2], rest[3]]);
        let high = u32::from_le_bytes([rest[n - 4], rest[n - 3], rest[n - 2], rest[n - 1]]);
        u64::from(low) | u64::from(high) << (8 * (n - 4))
    } else {
        u64::from(rest[0])
            | u64::from(rest[n / 2]) << (8 * (n / 2))
            | u64::from(rest[n - 1]) << (8 * (n - 1))
    }
}
