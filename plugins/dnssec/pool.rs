//! Signatures are made by threads of their own, which the workers' answers do not wait for.
//!
//! ```text
//! worker: RRsets without signatures ─► a place, of 1,024 ─► queue ─► signer: KeySet::sign ─► table, and back to the worker
//!                                        └ none for this client ─► SERVFAIL at once
//! ```
//!
//! However many names are asked for the first time, signing takes half of the processors at most, at a lower priority than answers. A
//! client has no more places than are free: one that floods takes half of them, and leaves the others to whoever comes next. A query that
//! finds no place gets SERVFAIL, or signatures that are due and still good, before anything waits for it.

use std::net::IpAddr;
use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;

use tokio::sync::oneshot;

use super::Signing;
use super::table::Entry;

/// How many answers wait for signatures at most.
pub(super) const WAITING: usize = 1_024;
/// How many counts there are of what clients hold; those of one count share their places.
const CLIENTS: usize = 256;

/// The places of all answers that wait.
static PLACES: Places = Places::new();

/// How many answers wait, in all and by client.
struct Places {
    taken: AtomicUsize,
    by_client: [AtomicUsize; CLIENTS],
}

impl Places {
    const fn new() -> Self {
        Self {
            taken: AtomicUsize::new(0),
            by_client: [const { AtomicUsize::new(0) }; CLIENTS],
        }
    }

    /// Whether there is a place for this client.
    fn have_room(&self, client: IpAddr) -> bool {
        let taken = self.taken.load(Ordering::Relaxed);
        let own = self.by_client[count_of(client)].load(Ordering::Relaxed);
        own < WAITING.saturating_sub(taken)
    }

    /// Takes a place.
    fn enter(&'static self, client: IpAddr) -> Option<Place> {
        if !self.have_room(client) {
            return None;
        }
        let own = &self.by_client[count_of(client)];
        own.fetch_add(1, Ordering::Relaxed);
        let place = Place { of: self, own };
        // Another worker may have taken the last one meanwhile; what was taken is given back.
        (self.taken.fetch_add(1, Ordering::Relaxed) < WAITING).then_some(place)
    }
}

/// The place of an answer that waits; given back when it is dropped.
pub(super) struct Place {
    of: &'static Places,
    own: &'static AtomicUsize,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.own.fetch_sub(1, Ordering::Relaxed);
        self.of.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The count of a client: an IPv4 address, or the prefix of 56 bits that one customer has.
fn count_of(client: IpAddr) -> usize {
    let prefix = match client.to_canonical() {
        IpAddr::V4(v4) => u64::from(v4.to_bits()),
        IpAddr::V6(v6) => 1 << 63 | (v6.to_bits() >> 72) as u64,
    };
    wire::mix(wire::seed(), prefix) as usize % CLIENTS
}

/// Whether an answer to this client may wait.
pub(super) fn have_room(client: IpAddr) -> bool {
    PLACES.have_room(client)
}

/// A place for an answer to this client.
pub(super) fn enter(client: IpAddr) -> Option<Place> {
    PLACES.enter(client)
}

/// An RRset to be signed.
pub(super) struct Wanted {
    /// The RRset.
    pub(super) set: zone::signing::CanonicalSet,
    /// The number of its zone.
    pub(super) zone: usize,
}

/// The RRsets of one answer.
struct Job {
    signing: Arc<Signing>,
    wanted: Vec<Wanted>,
    made: oneshot::Sender<Option<Vec<Arc<Entry>>>>,
}

/// Has RRsets signed for an answer that has a place; `None` where they cannot be.
pub(super) async fn sign(
    _place: Place,
    signing: Arc<Signing>,
    wanted: Vec<Wanted>,
) -> Option<Vec<Arc<Entry>>> {
    let (made, back) = oneshot::channel();
    let job = Job {
        signing,
        wanted,
        made,
    };
    // Jobs of answers that are given up stay in it for a moment; where they fill it, this one is given up too.
    queue()?.try_send(job).ok()?;
    back.await.ok()?
}

/// The queue; with the first use, its threads.
fn queue() -> Option<&'static SyncSender<Job>> {
    static QUEUE: OnceLock<Option<SyncSender<Job>>> = OnceLock::new();
    let start = || {
        let (sender, receiver) = sync_channel(WAITING);
        let receiver = Arc::new(Mutex::new(receiver));
        let processors = thread::available_parallelism().map_or(1, NonZero::get);
        let mut running = 0;
        for number in 0..(processors / 2).max(1) {
            let receiver = receiver.clone();
            let thread = thread::Builder::new().name(format!("signer-{number}"));
            running += usize::from(thread.spawn(move || work(&receiver)).is_ok());
        }
        (running > 0).then_some(sender)
    };
    QUEUE.get_or_init(start).as_ref()
}

/// Signs what comes.
fn work(receiver: &Mutex<Receiver<Job>>) {
    host::threads::give_way();
    loop {
        let next = receiver
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .recv();
        let Ok(job) = next else { return };
        // Whoever asked may have gone.
        if job.made.is_closed() {
            continue;
        }
        let wanted = job.wanted.iter();
        let made = wanted.map(|wanted| job.signing.entry(&wanted.set, wanted.zone));
        let _ = job.made.send(made.collect());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_floods_leaves_places_to_others() {
        static PLACES: Places = Places::new();
        let client = |last: u8| IpAddr::from([192, 0, 2, last]);
        let all_of =
            |last| -> Vec<Place> { std::iter::from_fn(|| PLACES.enter(client(last))).collect() };
        let flood = all_of(1);
        assert_eq!(flood.len(), WAITING / 2);
        let other = (2..).find(|&last| count_of(client(last)) != count_of(client(1)));
        let second = all_of(other.expect("another count"));
        assert_eq!(second.len(), WAITING / 4);
        let crowd: Vec<_> = (0..=255).map(all_of).collect();
        let held = crowd.iter().map(Vec::len).sum::<usize>() + flood.len() + second.len();
        assert_eq!(held, WAITING, "all places are of use");
        assert!(!PLACES.have_room(client(7)));
        drop((flood, second, crowd));
        assert_eq!(all_of(1).len(), WAITING / 2, "places come back");
    }
}
