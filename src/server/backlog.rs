//! What to do about a queue that does not get shorter: past capacity the newest queries are answered and the oldest dropped.
//!
//! The kernel keeps the oldest datagrams and drops what comes when its queue is full. Where answers take long, a full queue is so many
//! old queries that every answer comes late, and none is worth its work. So when for two windows in a row a worker has left so many
//! that the last would wait for longer than [`PATIENCE`], all but the newest are thrown away, and the queue is made shorter for a
//! while. How long an answer takes is measured, time off the core included; one pause, after which the queue is soon empty,
//! changes nothing.

use host::clock;
use prometheus_client::metrics::counter::Counter;
use telemetry::metrics;

/// How long a query may wait in the kernel's queue, in nanoseconds; a queue that was made shorter holds for half of it.
const PATIENCE: u64 = 100_000_000;
/// How much is left, in nanoseconds of work.
const LEFT: u64 = 10_000_000;
/// For how long is measured, in nanoseconds: several time slices of a shared core.
const WINDOW: u64 = 40_000_000;
/// Slow windows in a row after which the queue is cut.
const WINDOWS: u32 = 2;
/// How long a queue stays shorter at least.
const SHORT: u64 = 5 * clock::SECOND;

/// A socket's queue as its worker sees it.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    /// Slow windows in a row.
    slow: u32,
    /// When the window began; 0 when the queue has been empty since.
    since: u64,
    /// Queries that were answered in it.
    taken: usize,
    /// When the queue was made shorter.
    cut: Option<u64>,
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
        self.slow = 0;
        self.since = 0;
        self.cut.is_some() && self.may_grow(clock::now())
    }

    #[cold]
    fn may_grow(&mut self, now: u64) -> bool {
        let over = self.cut.is_some_and(|cut| now > cut + SHORT);
        if over {
            self.cut = None;
        }
        over
    }

    /// A turn has answered `taken` queries and left some.
    pub(crate) fn left(&mut self, taken: usize, waiting: impl FnOnce() -> usize) -> Option<Cut> {
        self.left_at(clock::now(), taken, waiting)
    }

    fn left_at(&mut self, now: u64, taken: usize, waiting: impl FnOnce() -> usize) -> Option<Cut> {
        if self.since == 0 {
            (self.since, self.taken) = (now, 0);
            return None;
        }
        self.taken += taken;
        let took = now.saturating_sub(self.since);
        if took < WINDOW {
            return None;
        }
        let each = took / self.taken.max(1) as u64;
        (self.since, self.taken) = (now, 0);
        let waiting = waiting() as u64;
        if waiting * each <= PATIENCE {
            self.slow = 0;
            return None;
        }
        self.slow += 1;
        if self.slow < WINDOWS {
            return None;
        }
        self.cut = Some(now);
        Some(Cut {
            late: waiting.saturating_sub(LEFT / each) as usize,
            room: (PATIENCE / 2 / each).max(1) as usize,
        })
    }
}

/// What a listener drops because it is overloaded, counted where `shed` stands.
pub(crate) struct Shed {
    /// Queries that were thrown away unread.
    pub(crate) queries: Counter,
    /// Responses that the socket had no room for.
    pub(crate) responses: Counter,
}

impl Shed {
    /// The counts of a listener, by its label.
    pub(crate) fn of(server: &str) -> Self {
        let family = metrics::family::<Vec<(&str, String)>, Counter>(
            "coredns_shed_dropped",
            "Counter of queries and responses dropped, per server, by reason.",
        );
        let counter = |reason: &str| {
            let labels = vec![("server", server.to_owned()), ("reason", reason.to_owned())];
            family.get_or_create_owned(&labels)
        };
        Self {
            queries: counter("query"),
            responses: counter("response"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn only_a_slow_queue_that_stays_is_cut() {
        // (what each turn of a thousand takes, in milliseconds; how many wait), how many are thrown away and have room
        type Case = (&'static [u64], usize, Option<(usize, usize)>);
        let cases: [Case; 6] = [
            (&[50, 50, 50], 2_500, Some((2_300, 1_000))),
            (&[50, 50], 2_500, None),
            // A full queue that a fast worker has soon answered.
            (&[5, 5, 5, 5, 5, 5], 2_500, None),
            // The worker was away for a while.
            (&[5, 500, 5, 5, 5, 5, 5, 5, 5, 5, 500, 5], 2_500, None),
            (&[50, 50, 50, 50], 1_000, None),
            (&[1_000, 1_000, 1_000], 2_500, Some((2_490, 50))),
        ];
        for (turns, waiting, expected) in cases {
            let mut backlog = Backlog::default();
            let (mut now, mut cut) = (1_000 * MS, None);
            for took in turns {
                assert_eq!(cut, None, "not before the last");
                now += took * MS;
                cut = backlog.left_at(now, 1_000, || waiting);
            }
            let expected = expected.map(|(late, room)| Cut { late, room });
            assert_eq!(cut, expected, "{turns:?} {waiting}");
            // Where it stays slow it is cut again; an empty queue begins anew.
            if let Some(cut) = cut {
                let took = turns[0] * MS;
                assert_eq!(backlog.left_at(now + took, 1_000, || waiting), Some(cut));
                now += took;
            }
            backlog.empty();
            for n in 1..=2 {
                now += 50 * n * MS;
                assert_eq!(backlog.left_at(now, 1_000, || waiting), None);
            }
            backlog.empty();
            assert!(!backlog.may_grow(now));
            assert_eq!(backlog.may_grow(now + SHORT + 1), cut.is_some());
            assert!(!backlog.may_grow(now + SHORT + 1));
        }
    }
}
