//! What to do about a queue that does not get shorter: past capacity the newest queries are answered and the oldest dropped.
//!
//! The kernel keeps the oldest datagrams and drops what comes when its queue is full. Where answers take long, a full queue is so many
//! old queries that every answer comes late, and none is worth its work. So when the queue has not been empty for three turns of a
//! worker, and what waits would wait for longer than [`PATIENCE`], all but the newest are thrown away, and the queue is made shorter
//! until it has been empty. How long a turn takes is measured, time off the core included; a pause after which the queue is soon
//! empty changes nothing.

use chain::clock;

/// How long a query may wait in the kernel's queue, in nanoseconds; a queue that was made shorter holds for half of it.
const PATIENCE: u64 = 100_000_000;
/// How much is left, in nanoseconds of work.
const LEFT: u64 = 10_000_000;
/// Turns in a row after which a queue counts as one that does not get shorter.
const TURNS: u32 = 3;

/// A socket's queue as its worker sees it.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    /// Turns in a row after which something was left.
    turns: u32,
    /// When the last one ended.
    ended: u64,
    /// Whether the queue was made shorter.
    short: bool,
}

/// What to do about a queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Cut {
    /// How many of those that wait to throw away.
    pub(crate) late: usize,
    /// How many the queue is to have room for.
    pub(crate) room: usize,
}

impl Backlog {
    /// The queue was empty; says whether it is to be as long as ever again.
    #[inline]
    pub(crate) fn empty(&mut self) -> bool {
        self.turns = 0;
        std::mem::take(&mut self.short)
    }

    /// A turn has answered `taken` queries and left some.
    pub(crate) fn left(&mut self, taken: usize, waiting: impl FnOnce() -> usize) -> Option<Cut> {
        self.left_at(clock::now(), taken, waiting)
    }

    fn left_at(&mut self, now: u64, taken: usize, waiting: impl FnOnce() -> usize) -> Option<Cut> {
        let took = now.saturating_sub(self.ended);
        self.ended = now;
        self.turns += 1;
        if self.turns <= TURNS {
            return None;
        }
        let waiting = waiting() as u64;
        let each = took / taken.max(1) as u64;
        if waiting * each <= PATIENCE {
            return None;
        }
        self.short = true;
        Some(Cut {
            late: waiting.saturating_sub(LEFT / each) as usize,
            room: (PATIENCE / 2 / each).max(1) as usize,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn only_a_slow_queue_that_stays_is_cut() {
        // what each turn of a thousand takes, in milliseconds; how many wait; how many are thrown away, and how many have room
        let cases: [(&[u64], usize, Option<(usize, usize)>); 6] = [
            (&[50, 50, 50, 50], 2_500, Some((2_300, 1_000))),
            (&[50, 50, 50], 2_500, None),
            // A full queue that a fast worker has soon answered.
            (&[5, 5, 5, 5, 5, 5], 2_500, None),
            // The worker was away for a while.
            (&[500, 5, 5, 5, 5], 2_500, None),
            (&[50, 50, 50, 50], 1_000, None),
            (&[1_000, 1_000, 1_000, 1_000], 2_500, Some((2_490, 50))),
        ];
        for (turns, waiting, expected) in cases {
            let mut backlog = Backlog::default();
            let (mut now, mut cut) = (1_000 * MS, None);
            backlog.ended = now;
            for took in turns {
                assert_eq!(cut, None, "not before the last");
                now += took * MS;
                cut = backlog.left_at(now, 1_000, || waiting);
            }
            let expected = expected.map(|(late, room)| Cut { late, room });
            assert_eq!(cut, expected, "{turns:?} {waiting}");
            // An empty queue begins anew.
            assert_eq!(backlog.empty(), cut.is_some());
            assert!(!backlog.empty());
            for n in 1..=3 {
                now += 50 * n * MS;
                assert_eq!(backlog.left_at(now, 1_000, || waiting), None);
            }
        }
    }
}
