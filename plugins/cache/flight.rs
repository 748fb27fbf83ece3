//! Queries that are on their way, so that 500 clients of one cold name make one query upstream (RFC 5452, section 5).
//!
//! 4,096 places, each a hash and the time of its taking: the first client takes the place, and gives it back when its response comes up;
//! who finds the place taken waits for that. When nothing came of it but a failure, that is said at the place too, so that those who
//! waited fail with it, and do not ask all at once what nobody answers. A place is never locked, and one that was not given back within
//! [`DEADLINE`] is free. When all four places of a hash are taken by others, the query just goes down.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use host::clock::SECOND;
use tokio::sync::Notify;

/// Places for queries on their way.
const PLACES: usize = 4_096;
/// How many places one hash may take.
const CHOICES: usize = 4;
/// The longest that a query may be on its way and others wait for it: somewhat more than plugins take to give up.
pub(super) const DEADLINE: Duration = Duration::from_secs(6);

#[derive(Default)]
struct Place {
    hash: AtomicU64,
    since: AtomicU64,
    /// The hash of the last query that failed here.
    failed: AtomicU64,
    landed: Notify,
}

/// Queries that are on their way.
pub(super) struct Flights {
    places: OnceLock<Box<[Place]>>,
}

/// What became of an attempt to go first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Turn {
    /// The caller goes first and gives back this place.
    First(usize),
    /// Somebody did; this is the place to wait at.
    Behind(usize),
    /// No place is free.
    Alone,
}

impl Flights {
    /// No query is on its way.
    pub(super) fn new() -> Self {
        Self {
            places: OnceLock::new(),
        }
    }

    /// Takes a place for `hash`, unless somebody has.
    pub(super) fn take(&self, hash: u64, now: u64) -> Turn {
        let places = self
            .places
            .get_or_init(|| (0..PLACES).map(|_| Place::default()).collect());
        let hash = hash.max(1);
        let choice = |n: usize| (hash as usize).wrapping_add(n) % PLACES;
        let alive = |place: &Place| {
            now < place
                .since
                .load(Ordering::Relaxed)
                .saturating_add(DEADLINE.as_secs() * SECOND)
        };
        for at in (0..CHOICES).map(choice) {
            let place = &places[at];
            if place.hash.load(Ordering::Acquire) == hash && alive(place) {
                return Turn::Behind(at);
            }
        }
        for at in (0..CHOICES).map(choice) {
            let place = &places[at];
            let there = place.hash.load(Ordering::Acquire);
            if there != 0 && alive(place) {
                continue;
            }
            // The time first: a place with a hash must not look abandoned.
            place.since.store(now, Ordering::Relaxed);
            match place
                .hash
                .compare_exchange(there, hash, Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(_) => return Turn::First(at),
                Err(other) if other == hash => return Turn::Behind(at),
                Err(_) => {}
            }
        }
        Turn::Alone
    }

    fn place(&self, at: usize) -> Option<&Place> {
        self.places.get()?.get(at)
    }

    /// Gives back the place that [`Flights::take`] gave for `hash`, and wakes who waits there.
    pub(super) fn land(&self, at: usize, hash: u64, failed: bool) {
        if let Some(place) = self.place(at) {
            let failure = if failed { hash.max(1) } else { 0 };
            place.failed.store(failure, Ordering::Release);
            let _ =
                place
                    .hash
                    .compare_exchange(hash.max(1), 0, Ordering::AcqRel, Ordering::Acquire);
            place.landed.notify_waiters();
        }
    }

    /// Whether the last query that landed at this place was the one for `hash`, and failed.
    pub(super) fn failed(&self, at: usize, hash: u64) -> bool {
        self.place(at)
            .is_some_and(|place| place.failed.load(Ordering::Acquire) == hash.max(1))
    }

    /// Waits until the query for `hash` at this place has landed; `false` when that took longer than `patience`.
    pub(super) async fn landed(&self, at: usize, hash: u64, patience: Duration) -> bool {
        let Some(place) = self.place(at) else {
            return true;
        };
        let wait = async {
            loop {
                let landed = place.landed.notified();
                tokio::pin!(landed);
                landed.as_mut().enable();
                if place.hash.load(Ordering::Acquire) != hash.max(1) {
                    return;
                }
                landed.await;
            }
        };
        tokio::time::timeout(patience, wait).await.is_ok()
    }
}
