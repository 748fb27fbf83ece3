//! The hash of names: folded multiplication over the lower-cased wire octets, label by label from the root down.
//!
//! Keyed by a seed drawn once a process, so that nobody outside can choose names that collide in the cache.

use std::hash::{BuildHasher, RandomState};
use std::sync::OnceLock;

const K0: u64 = 0x9E37_79B9_7F4A_7C15;
const K1: u64 = 0xD6E8_FEB8_6659_FD93;

static SEED: OnceLock<u64> = OnceLock::new();

/// Sets the process's seed, for benches whose every run is to probe the same slots; `false` when it was drawn already.
pub fn fix_seed(seed: u64) -> bool {
    SEED.set(seed).is_ok()
}

/// The process's seed: the hash of the root name.
#[inline]
pub fn seed() -> u64 {
    *SEED.get_or_init(|| RandomState::new().hash_one(K0))
}

/// Folds `value` into `state`.
#[inline]
pub const fn mix(state: u64, value: u64) -> u64 {
    let wide = (state ^ value ^ K0) as u128 * (K1 as u128 ^ (value << 1) as u128 | 1);
    (wide as u64) ^ ((wide >> 64) as u64)
}

/// Folds one label, its length octet included, into the hash of the suffix below it.
#[inline]
pub(crate) fn label(state: u64, octets: &[u8]) -> u64 {
    let mut state = state;
    let mut chunks = octets.chunks_exact(8);
    for chunk in &mut chunks {
        state = mix(
            state,
            u64::from_le_bytes(chunk.try_into().unwrap_or([0; 8])),
        );
    }
    let rest = chunks.remainder();
    if rest.is_empty() {
        state
    } else {
        mix(state, tail(rest))
    }
}

/// [`label`] for the octets from `start` up to `end` (one at least) of a buffer that goes on for a word: no octet is looked at alone.
#[inline]
pub(crate) fn label_within(state: u64, buffer: &[u8], start: usize, end: usize) -> u64 {
    let word = |at: usize| match buffer.get(at..at + 8).map(<[u8; 8]>::try_from) {
        Some(Ok(octets)) => u64::from_le_bytes(octets),
        _ => 0,
    };
    let (mut state, mut at) = (state, start);
    while at + 8 < end {
        state = mix(state, word(at));
        at += 8;
    }
    let unused = 64 - 8 * (end - at) as u32;
    mix(state, word(at) & (u64::MAX >> (unused & 63)))
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

/// The hash of a lower-cased name in wire form: what [`crate::Qname::hash`] gives for the same name.
pub fn name_hash(lower: crate::Name<'_>) -> u64 {
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
    let mut state = seed();
    let mut end = at;
    for &start in starts[..count].iter().rev() {
        state = label(state, octets.get(start as usize..end).unwrap_or_default());
        end = start as usize;
    }
    state
}
