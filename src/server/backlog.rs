//! What to do about a queue that does not get shorter: past capacity the newest queries are answered and the oldest dropped.
//!
//! The kernel keeps the oldest datagrams and drops what comes when its queue is full. Where answers take long, a full queue is so many
//! old queries that every answer comes late, and none is worth its work. So when the queue has not been empty for three turns of a
//! worker, and what waits would wait for longer than [`PATIENCE`], all but the newest are thrown away. How long a turn takes is
//! measured, time off the core included; a pause after which the queue is soon empty drops nothing.

use chain::clock;

/// How long a query may wait in the kernel's queue, in nanoseconds.
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
}

impl Backlog {
    /// The queue was empty.
    #[inline]
    pub(crate) fn empty(&mut self) {
        self.turns = 0;
    }

    /// A turn has answered `taken` queries and left some; gives how many of those that wait to throw away.
    pub(crate) fn left(&mut self, taken: usize, waiting: impl FnOnce() -> usize) -> usize {
        self.left_at(clock::now(), taken, waiting)
    }

    fn left_at(&mut self, now: u64, taken: usize, waiting: impl FnOnce() -> usize) -> usize {
        let took = now.saturating_sub(self.ended);
        self.ended = now;
        self.turns += 1;
        if self.turns <= TURNS {
            return 0;
        }
        let waiting = waiting() as u64;
        let each = took / taken.max(1) as u64;
        if waiting * each <= PATIENCE {
            return 0;
        }
        self.turns = 0;
        waiting.saturating_sub(LEFT / each) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn only_a_slow_queue_that_stays_is_cut() {
        // what each turn of a thousand takes, in milliseconds; how many wait; how many are thrown away in the end
        let cases: [(&[u64], usize, usize); 6] = [
            (&[50, 50, 50, 50], 2_500, 2_300),
            (&[50, 50, 50], 2_500, 0),
            // A full queue that a fast worker has soon answered.
            (&[5, 5, 5, 5, 5, 5], 2_500, 0),
            // The worker was away for a while.
            (&[500, 5, 5, 5, 5], 2_500, 0),
            (&[50, 50, 50, 50], 1_000, 0),
            (&[1_000, 1_000, 1_000, 1_000], 2_500, 2_490),
        ];
        for (turns, waiting, expected) in cases {
            let mut backlog = Backlog::default();
            let (mut now, mut thrown) = (1_000 * MS, 0);
            backlog.ended = now;
            for took in turns {
                now += took * MS;
                thrown += backlog.left_at(now, 1_000, || waiting);
            }
            assert_eq!(thrown, expected, "{turns:?} {waiting}");
            // An empty queue begins anew.
            backlog.left_at(now + 50 * MS, 1_000, || waiting);
            backlog.empty();
            let again = (2..5).map(|n| backlog.left_at(now + n * 50 * MS, 1_000, || waiting));
            assert_eq!(again.sum::<usize>(), 0);
        }
    }
}
