//! A timer wheel: a query costs two words in a slot, and no timer.

use chain::clock;

/// The wheel's step, in nanoseconds.
pub(super) const TICK: u64 = 20_000_000;
/// The wheel's slots; with [`TICK`] they reach past the deadline of any query.
const SLOTS: usize = 512;

/// A timer wheel: seats by the tick in which their time is up.
pub(super) struct Wheel {
    slots: Vec<Vec<(u32, u32)>>,
    at: u64,
}

impl Wheel {
    /// A wheel that begins now.
    pub(super) fn new() -> Self {
        Self {
            slots: (0..SLOTS).map(|_| Vec::new()).collect(),
            at: clock::now() / TICK,
        }
    }

    /// Puts a seat where its time will be up.
    pub(super) fn insert(&mut self, deadline: u64, seat: u32, generation: u32) {
        // Never into the slot that is being emptied, and never around the wheel.
        let tick = (deadline / TICK + 1).clamp(self.at + 1, self.at + SLOTS as u64 - 1);
        self.slots[tick as usize % SLOTS].push((seat, generation));
    }

    /// Gives the seats whose time is up.
    pub(super) fn advance(&mut self, now: u64, mut up: impl FnMut(u32, u32)) {
        let tick = now / TICK;
        let steps = (tick.saturating_sub(self.at)).min(SLOTS as u64);
        for step in 1..=steps {
            for (seat, generation) in self.slots[(self.at + step) as usize % SLOTS].drain(..) {
                up(seat, generation);
            }
        }
        self.at = self.at.max(tick);
    }
}
