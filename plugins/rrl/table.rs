//! Accounts of responses and queries, in a table of fixed size that many threads use without a lock.
//!
//! ```text
//! hash of a category ──► a bucket of 8 accounts ─┬─ one has the key ──► debit: compare and exchange of its state
//!                                                └─ none has ──► the account with the best balance gives up its place
//! state  when the next response is allowed, in nanoseconds, 60 bits │ how many more are dropped before one slips, 4 bits
//! ```
//!
//! An account's balance is a time: what has gone by since the next response was allowed. A response costs the interval between two of
//! the allowed rate. The balance is at most one second (or one interval, where that is longer), at least minus the window. Two threads
//! that open an account at once lose a debit or two, which is all that the lack of a lock costs.

use std::sync::atomic::{AtomicU64, Ordering};

use host::clock::SECOND;

/// Accounts that a category may stand in.
const WAYS: usize = 8;
/// Times are counted from this long before the process began, so that none is negative.
const BASE: u64 = 1 << 55;
const SLIP_BITS: u32 = 4;
/// The longest time that is told from others: 36 years.
const LONGEST: u64 = (1 << (64 - SLIP_BITS)) - 1;

/// One account; without a key it is free.
#[derive(Default)]
struct Account {
    key: AtomicU64,
    state: AtomicU64,
}

#[derive(Default)]
#[repr(align(64))]
struct Bucket([Account; WAYS]);

/// The accounts.
pub(super) struct Table {
    buckets: Box<[Bucket]>,
    window: u64,
    slip: u8,
}

/// What becomes of a response.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// It is within the allowance.
    Within,
    /// It is not.
    Over,
    /// Neither, but its turn to be sent all the same, without records.
    Slips,
}

impl Table {
    /// A table of `size` accounts, or a few more; of none it limits nothing. Every `slip`th response over its allowance slips, with 0 none.
    pub(super) fn new(size: usize, window: u64, slip: u8) -> Self {
        Self {
            buckets: std::iter::repeat_with(Bucket::default)
                .take(size.div_ceil(WAYS))
                .collect(),
            window,
            slip,
        }
    }

    /// Debits `interval` from the account of the category with this hash, at the time `now`.
    #[inline]
    pub(super) fn debit(&self, hash: u64, interval: u64, now: u64) -> Verdict {
        let key = hash.max(1);
        let now = now.saturating_add(BASE);
        // The high half of the product, so that all buckets are as likely.
        let index = (u128::from(hash) * self.buckets.len() as u128) >> 64;
        let Some(Bucket(accounts)) = self.buckets.get(index as usize) else {
            return Verdict::Within;
        };
        let known = |account: &&Account| account.key.load(Ordering::Relaxed) == key;
        if let Some(account) = accounts.iter().find(known) {
            return self.take(account, interval, now);
        }
        let state = |account: &&Account| account.state.load(Ordering::Relaxed);
        if let Some(account) = accounts.iter().min_by_key(state) {
            let full = interval.max(SECOND);
            let opened = self.state((now + interval).saturating_sub(full), self.slip);
            account.key.store(key, Ordering::Relaxed);
            account.state.store(opened, Ordering::Relaxed);
        }
        Verdict::Within
    }

    fn take(&self, account: &Account, interval: u64, now: u64) -> Verdict {
        let mut before = account.state.load(Ordering::Relaxed);
        loop {
            let (allowed, left) = (before >> SLIP_BITS, before as u8 & 0xF);
            let earliest = now.saturating_sub(interval.max(SECOND));
            let next = allowed.max(earliest) + interval;
            let over = next > now;
            let next = next.min(now.saturating_add(self.window));
            let (left, verdict) = match (over, left) {
                (false, left) => (left, Verdict::Within),
                (true, 0) => (0, Verdict::Over),
                (true, 1) => (self.slip, Verdict::Slips),
                (true, left) => (left - 1, Verdict::Over),
            };
            let after = self.state(next, left);
            let order = Ordering::Relaxed;
            match account
                .state
                .compare_exchange_weak(before, after, order, order)
            {
                Ok(_) => return verdict,
                Err(now) => before = now,
            }
        }
    }

    const fn state(&self, allowed: u64, left: u8) -> u64 {
        let allowed = if allowed > LONGEST { LONGEST } else { allowed };
        allowed << SLIP_BITS | left as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of `count` responses at one time are within their allowance.
    fn within(table: &Table, hash: u64, (interval, now): (u64, u64), count: usize) -> usize {
        let verdicts = (0..count).map(|_| table.debit(hash, interval, now));
        verdicts.filter(|it| *it == Verdict::Within).count()
    }

    #[test]
    fn so_many_a_second() {
        let table = Table::new(100, 15 * SECOND, 0);
        let ten = SECOND / 10;
        assert_eq!(within(&table, 7, (ten, 0), 20), 10);
        assert_eq!(within(&table, 8, (ten, 0), 20), 10, "another category");
        // The ten that were dropped cost as much as if they had been sent.
        assert_eq!(within(&table, 7, (ten, SECOND), 20), 0);
        assert_eq!(within(&table, 8, (ten, 2 * SECOND), 1), 1);
        // After the window everything is allowed again.
        assert_eq!(within(&table, 7, (ten, 40 * SECOND), 20), 10);
        let steady = (0..100).filter(|i| within(&table, 9, (ten, i * ten), 1) == 1);
        assert_eq!(steady.count(), 100, "the rate itself is within");
    }

    #[test]
    fn the_window_is_the_longest_debt() {
        let table = Table::new(8, 2 * SECOND, 0);
        assert_eq!(within(&table, 7, (SECOND, 0), 1_000), 1);
        let at = |tenths: u64| (SECOND, tenths * SECOND / 10);
        assert_eq!(within(&table, 7, at(29), 1), 0);
        assert_eq!(
            within(&table, 7, at(60), 2),
            1,
            "at most two seconds of debt, and the response's own"
        );
    }

    #[test]
    fn less_than_one_a_second() {
        let table = Table::new(8, 15 * SECOND, 0);
        let once_in_four = 4 * SECOND;
        let allowed: Vec<u64> = (0..40)
            .step_by(5)
            .filter(|second| within(&table, 7, (once_in_four, second * SECOND), 1) == 1)
            .collect();
        assert_eq!(allowed, [0, 5, 10, 15, 20, 25, 30, 35]);
        assert_eq!(within(&table, 7, (once_in_four, 37 * SECOND), 1), 0);
    }

    #[test]
    fn every_so_manieth_slips() {
        for (slip, expected) in [(0, "------"), (1, "ssssss"), (2, "-s-s-s"), (3, "--s--s")] {
            let table = Table::new(8, 15 * SECOND, slip);
            assert_eq!(table.debit(1, SECOND, 0), Verdict::Within);
            let verdicts = (0..6).map(|_| match table.debit(1, SECOND, 0) {
                Verdict::Within => '+',
                Verdict::Over => '-',
                Verdict::Slips => 's',
            });
            assert_eq!(verdicts.collect::<String>(), expected, "{slip}");
        }
    }

    #[test]
    fn a_full_table_keeps_those_in_debt() {
        let table = Table::new(WAYS, 15 * SECOND, 0);
        let second = |hash| within(&table, hash, (SECOND, 0), 3);
        assert_eq!(second(u64::MAX), 1, "in debt");
        for hash in 1..1_000 {
            assert_eq!(within(&table, hash, (SECOND / 10, 0), 1), 1);
        }
        assert_eq!(second(u64::MAX), 0, "still in debt");
        assert_eq!(within(&Table::new(0, SECOND, 0), 1, (SECOND, 0), 9), 9);
    }

    #[test]
    fn threads_share_an_allowance() {
        let table = Table::new(64, 15 * SECOND, 0);
        assert_eq!(within(&table, 7, (SECOND / 1_000, 0), 1), 1);
        let sent: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| within(&table, 7, (SECOND / 1_000, 0), 1_000)))
                .collect();
            threads
                .into_iter()
                .map(|it| it.join().expect("a count"))
                .sum()
        });
        assert_eq!(sent, 999);
    }
}
