//! How long a server usually takes, and when a datagram to it is taken for lost.
//!
//! A burst that meets a full queue on the way is lost as a whole, and its clients would wait for seconds. So a query that has waited for
//! longer than replies take (the mean and four deviations, as a TCP sender reckons in RFC 6298, within [`SHORTEST`] and [`LONGEST`]) is
//! sent once more: the same octets from the same port, which gives nobody more to guess. Sending twice must not make a server
//! that is slow slower: one query in [`PRICE`] may, beside a reserve for a burst; and a burst is sent again in parts, since what had no
//! room for it has none now.

use crate::wheel::TICK;

/// The shortest wait before a datagram is taken for lost, in nanoseconds: what a resolver takes for a name that it does not know yet.
const SHORTEST: u64 = 100_000_000;
/// The longest; also while nothing is known.
const LONGEST: u64 = 400_000_000;
/// Queries that pay for one that is sent again.
const PRICE: u32 = 8;
/// Queries that may be sent again beside those.
const RESERVE: u32 = 4_096;
/// Queries that are sent again in one tick of the wheel: half of what a queue of Linux's usual size takes.
const PART: u32 = 128;

/// What is to become of a query that is taken for lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Resend {
    /// It is sent once more.
    Now,
    /// It has its turn in one of the next ticks.
    Later,
    /// It is waited for and not sent again.
    Never,
}

/// The replies of one server as one worker sees them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RttEstimate {
    /// Nanoseconds; 0 before the first reply.
    mean: u64,
    deviation: u64,
    credit: u32,
    /// The tick in which queries were last sent again, and how many.
    tick: u64,
    part: u32,
}

impl Default for RttEstimate {
    fn default() -> Self {
        Self {
            mean: 0,
            deviation: 0,
            credit: RESERVE * PRICE,
            tick: 0,
            part: 0,
        }
    }
}

impl RttEstimate {
    /// A query was sent; gives how long to wait before it is taken for lost.
    #[inline]
    pub(crate) fn sent(&mut self) -> u64 {
        self.credit = (self.credit + 1).min(RESERVE * PRICE);
        match self.mean {
            0 => LONGEST,
            mean => (mean + 4 * self.deviation).clamp(SHORTEST, LONGEST),
        }
    }

    /// A reply took so long.
    #[inline]
    pub(crate) fn replied(&mut self, took: u64) {
        let took = took.clamp(1, LONGEST);
        if self.mean == 0 {
            (self.mean, self.deviation) = (took, took / 2);
            return;
        }
        let off = self.mean.abs_diff(took);
        self.mean = self.mean - self.mean / 16 + took / 16;
        self.deviation = self.deviation - self.deviation / 16 + off / 16;
    }

    /// Whether one more query may be sent again.
    pub(crate) fn resend(&mut self, now: u64) -> Resend {
        if self.tick != now / TICK {
            (self.tick, self.part) = (now / TICK, 0);
        }
        match self.credit.checked_sub(PRICE) {
            None => Resend::Never,
            Some(_) if self.part >= PART => Resend::Later,
            Some(left) => {
                self.credit = left;
                self.part += 1;
                Resend::Now
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn the_wait_follows_the_replies() {
        // what replies take, in turn → the wait, in milliseconds
        let cases: [(&[u64], std::ops::RangeInclusive<u64>); 5] = [
            (&[], 400..=400),
            (&[1], 100..=100),
            (&[40], 120..=120),
            (&[150], 140..=200),
            (&[100, 500], 300..=400),
        ];
        for (replies, expected) in cases {
            let mut estimate = RttEstimate::default();
            for n in 0..200 * replies.len() {
                estimate.replied(replies[n % replies.len()] * MS);
                if n == 0 && expected.end() == &120 {
                    break;
                }
            }
            let wait = estimate.sent() / MS;
            assert!(expected.contains(&wait), "{replies:?}: {wait} ms");
        }
    }

    #[test]
    fn few_are_sent_again_and_in_parts() {
        let mut estimate = RttEstimate::default();
        let mut sent = 0;
        for tick in 1.. {
            let part = (0..1_000).map(|_| estimate.resend(tick * TICK));
            let part: Vec<_> = part.take_while(|resend| *resend == Resend::Now).collect();
            sent += part.len() as u32;
            if part.is_empty() {
                break;
            }
            assert_eq!(part.len() as u32, PART);
            assert_eq!(
                estimate.resend(tick * TICK) == Resend::Later,
                sent < RESERVE
            );
        }
        assert_eq!(sent, RESERVE);
        assert_eq!(estimate.resend(0), Resend::Never);
        let resent = (0..8_000u64).filter(|tick| {
            estimate.sent();
            estimate.resend(tick * TICK) == Resend::Now
        });
        assert_eq!(resent.count(), 1_000, "one in eight");
    }
}
