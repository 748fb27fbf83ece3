//! Signatures are made by threads of their own, which the workers' answers do not wait for.
//!
//! ```text
//! worker: RRsets without signatures ─► queue of at most 1,024 answers ─► signer: KeySet::sign ─► table, and back to the worker
//! ```
//!
//! However many names are asked for the first time, signing takes half of the processors at most, at a lower priority than answers. A
//! query that finds the queue full gets SERVFAIL, or signatures that are due and still good.

use std::num::NonZero;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;

use tokio::sync::oneshot;

use super::Signing;
use super::table::Entry;

/// How many answers wait for signatures at most.
const WAITING: usize = 1_024;

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

/// Why there are no signatures.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Lacking {
    /// Too many answers wait for theirs.
    Overload,
    /// They cannot be made.
    Failed,
}

/// Has RRsets signed.
///
/// # Errors
/// When too many wait, and when no signature can be made.
pub(super) async fn sign(
    signing: Arc<Signing>,
    wanted: Vec<Wanted>,
) -> Result<Vec<Arc<Entry>>, Lacking> {
    let (made, back) = oneshot::channel();
    let job = Job {
        signing,
        wanted,
        made,
    };
    let queue = queue().ok_or(Lacking::Failed)?;
    queue.try_send(job).map_err(|_| Lacking::Overload)?;
    match back.await {
        Ok(Some(entries)) => Ok(entries),
        _ => Err(Lacking::Failed),
    }
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
