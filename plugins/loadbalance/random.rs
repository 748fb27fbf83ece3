//! Numbers for orders: nobody gains by guessing them, so they are cheap. One generator a worker (splitmix64), seeded by the system.

use std::cell::Cell;

thread_local! {
    static STATE: Cell<u64> = Cell::new(host::random::random());
}

/// A number below `limit`; 0 when that is 0.
pub(super) fn below(limit: usize) -> usize {
    let state = STATE.get().wrapping_add(0x9E37_79B9_7F4A_7C15);
    STATE.set(state);
    let mixed = (state ^ state >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    let mixed = mixed ^ mixed >> 31;
    ((u128::from(mixed) * limit as u128) >> 64) as usize
}

/// Puts `items` in any order, all orders alike.
pub(super) fn shuffle<T>(items: &mut [T]) {
    for i in (1..items.len()).rev() {
        items.swap(i, below(i + 1));
    }
}
