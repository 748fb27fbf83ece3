//! A timer wheel: a query costs two words in a slot, and no timer.
//!
//! Few slots are in use at a time, those of the next second, but over time all are: one that has been emptied leaves its room to the
//! next that is filled.

use host::clock;

/// The wheel's step, in nanoseconds.
pub(crate) const TICK: u64 = 20_000_000;
/// The wheel's slots; with [`TICK`] they reach past the deadline of any query.
const SLOTS: usize = 512;

/// A timer wheel: queries by the tick in which their time is up.
pub(crate) struct Wheel {
    slots: Vec<Slot>,
    /// Room of slots that were emptied.
    spare: Vec<Slot>,
    at: u64,
}

/// Numbers of queries, and their generations.
type Slot = Vec<(u32, u32)>;

impl Wheel {
    /// A wheel that begins now.
    pub(crate) fn new() -> Self {
        Self {
            slots: vec![Slot::new(); SLOTS],
            spare: Vec::new(),
            at: clock::now() / TICK,
        }
    }

    /// Begins anew, now, without any query.
    pub(crate) fn restart(&mut self) {
        self.slots.iter_mut().for_each(Vec::clear);
        self.at = clock::now() / TICK;
    }

    /// Puts a query where its time will be up.
    pub(crate) fn insert(&mut self, deadline: u64, number: u32, generation: u32) {
        // Never into the slot that is being emptied, and never around the wheel.
        let tick = (deadline / TICK + 1).clamp(self.at + 1, self.at + SLOTS as u64 - 1);
        let slot = &mut self.slots[tick as usize % SLOTS];
        if slot.capacity() == 0
            && let Some(spare) = self.spare.pop()
        {
            *slot = spare;
        }
        slot.push((number, generation));
    }

    /// Tells the queries whose time is up, and leaves them.
    pub(crate) fn due(&self, now: u64, mut tell: impl FnMut(u32, u32)) {
        let steps = (now / TICK).saturating_sub(self.at).min(SLOTS as u64);
        for step in 1..=steps {
            for &(number, generation) in &self.slots[(self.at + step) as usize % SLOTS] {
                tell(number, generation);
            }
        }
    }

    /// Takes out the queries whose time is up.
    pub(crate) fn advance(&mut self, now: u64, mut up: impl FnMut(u32, u32)) {
        let tick = now / TICK;
        let steps = (tick.saturating_sub(self.at)).min(SLOTS as u64);
        for step in 1..=steps {
            let mut slot = std::mem::take(&mut self.slots[(self.at + step) as usize % SLOTS]);
            for (number, generation) in slot.drain(..) {
                up(number, generation);
            }
            if slot.capacity() > 0 {
                self.spare.push(slot);
            }
        }
        self.at = self.at.max(tick);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_come_when_their_time_is_up_and_room_is_used_again() {
        let mut wheel = Wheel::new();
        let begin = wheel.at * TICK;
        for round in 0..2_000u64 {
            let now = begin + round * TICK;
            let (soon, late) = (round as u32 * 2, round as u32 * 2 + 1);
            for _ in 0..100 {
                wheel.insert(now + 5 * TICK, soon, 1);
            }
            wheel.insert(now + 100 * TICK, late, 2);
            let mut up = Vec::new();
            wheel.advance(now + TICK - 1, |number, generation| {
                up.push((number, generation))
            });
            // In the tick after the one in which the time is up.
            let expected = |delay: u64| round.checked_sub(delay + 1).map(|then| then as u32 * 2);
            let soon = up.iter().filter(|(_, generation)| *generation == 1);
            assert!(soon.clone().all(|(number, _)| Some(*number) == expected(5)));
            assert_eq!(soon.count(), if round >= 6 { 100 } else { 0 });
            let late = up.iter().filter(|(_, generation)| *generation == 2);
            assert!(
                late.clone()
                    .all(|(number, _)| Some(*number) == expected(100).map(|n| n + 1))
            );
            assert_eq!(late.count(), usize::from(round >= 101));
        }
        let rooms = wheel.slots.iter().chain(&wheel.spare);
        let room: usize = rooms.map(|slot| slot.capacity()).sum();
        assert!(room < 110 * 128, "{room}");
    }
}
