//! Leases: how long a key has to live, which is known to the cluster alone and is asked of it beside.
//!
//! A lease that its owner keeps alive tells nobody, so what is known of it is a lower bound: a TTL made of it is never longer than the
//! key lives, but for the configured least TTL.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use host::clock;

/// The least and the most time between two questions about one lease, in nanoseconds.
const INTERVAL: (u64, u64) = (clock::SECOND, 60 * clock::SECOND);

/// A lease.
#[derive(Debug)]
pub(super) struct Lease {
    /// When it ends, as far as is known ([`clock`]); 0 before anything is.
    end: AtomicU64,
    /// When it is to be asked for again.
    due: AtomicU64,
    /// The seconds that a TTL has.
    bounds: RangeInclusive<u32>,
}

impl Lease {
    /// Of which nothing is known.
    pub(super) fn new(bounds: RangeInclusive<u32>) -> Self {
        Self {
            end: AtomicU64::new(0),
            due: AtomicU64::new(0),
            bounds,
        }
    }

    /// The TTL at a time.
    #[inline]
    pub(super) fn ttl(&self, now: u64) -> u32 {
        let left = self.end.load(Ordering::Relaxed).saturating_sub(now) / clock::SECOND;
        let left = u32::try_from(left).unwrap_or(u32::MAX);
        match left < *self.bounds.start() {
            true => *self.bounds.start(),
            false => left.min(*self.bounds.end()),
        }
    }

    /// Notes how many seconds it has left.
    pub(super) fn learn(&self, left: i64, now: u64) {
        let left = u64::try_from(left)
            .unwrap_or(0)
            .saturating_mul(clock::SECOND);
        self.end.store(now.saturating_add(left), Ordering::Relaxed);
        let (least, most) = INTERVAL;
        let next = now.saturating_add((left / 2).clamp(least, most));
        self.due.store(next, Ordering::Relaxed);
    }
}

/// The leases of the keys that are known.
#[derive(Default)]
pub(super) struct Leases {
    known: HashMap<i64, Weak<Lease>>,
    /// How many there may be before those that nobody holds are looked for.
    most: usize,
}

impl Leases {
    /// The lease of this number; `None` for none.
    pub(super) fn get(&mut self, id: i64, bounds: &RangeInclusive<u32>) -> Option<Arc<Lease>> {
        if id == 0 {
            return None;
        }
        if let Some(known) = self.known.get(&id).and_then(Weak::upgrade) {
            return Some(known);
        }
        if self.known.len() >= self.most {
            self.known.retain(|_, lease| lease.strong_count() > 0);
            self.most = (2 * self.known.len()).max(64);
        }
        let lease = Arc::new(Lease::new(bounds.clone()));
        self.known.insert(id, Arc::downgrade(&lease));
        Some(lease)
    }

    /// The leases that are to be asked for, `most` at most, those that wait longest first.
    pub(super) fn due(&self, now: u64, most: usize) -> Vec<(i64, Arc<Lease>)> {
        let mut due: Vec<_> = self
            .known
            .iter()
            .filter_map(|(id, lease)| {
                let lease = lease.upgrade()?;
                let due = lease.due.load(Ordering::Relaxed);
                (due <= now).then_some((due, *id, lease))
            })
            .collect();
        due.sort_unstable_by_key(|(due, id, _)| (*due, *id));
        due.truncate(most);
        due.into_iter().map(|(_, id, lease)| (id, lease)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ttl_is_what_is_left_within_its_bounds() {
        let lease = Lease::new(30..=3_600);
        assert_eq!(lease.ttl(7), 30, "nothing is known");
        lease.learn(100, 0);
        assert_eq!(lease.ttl(10 * clock::SECOND), 90);
        assert_eq!(lease.ttl(90 * clock::SECOND), 30);
        assert_eq!(lease.ttl(900 * clock::SECOND), 30);
        lease.learn(7_200, 0);
        assert_eq!(lease.ttl(0), 3_600);
        lease.learn(-1, 0);
        assert_eq!(lease.ttl(0), 30);
    }

    #[test]
    fn leases_are_shared_and_forgotten_with_their_keys() {
        let mut leases = Leases::default();
        let bounds = 30..=60;
        assert!(leases.get(0, &bounds).is_none());
        let one = leases.get(1, &bounds).expect("a lease");
        assert!(Arc::ptr_eq(
            &one,
            &leases.get(1, &bounds).expect("the same")
        ));
        assert_eq!(leases.due(5, 8).len(), 1);
        one.learn(100, 5);
        assert!(leases.due(5 + clock::SECOND, 8).is_empty());
        assert_eq!(leases.due(5 + 50 * clock::SECOND, 8).len(), 1);
        drop(one);
        for id in 2..200 {
            let _ = leases.get(id, &bounds);
        }
        assert!(leases.known.len() <= 64);
    }
}
