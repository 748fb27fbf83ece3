//! One queue of an interface at work: frames in, answers out, until the interface is let go.
//!
//! A frame may be for any listener, which its destination tells. What needs more than the batch is the business of that listener's
//! socket on the same worker ([`Home`]): a query that has to wait stands in its completion queue, and a response that does not fit a frame
//! leaves with it.

use std::cell::{Cell, OnceCell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use host::clock;
use prometheus_client::metrics::counter::Counter;
use tokio::sync::mpsc;
use tracing::warn;

use super::backend::{Backend, Slot};
use super::batch::{Arrival, Guards};
use super::datagrams::ROUNDS;
use super::home::Home;
use super::udp_xdp::{Frames, QueueSocket};
use crate::admission::WAITING;
use crate::route::Table;
use crate::worker::{Wakeup, Worker};

/// How long frames may still come after the filter is gone: the driver has some in its hands.
const LINGER: Duration = Duration::from_millis(20);
/// The pauses before the kernel is asked again to send what it had no room for: the first, and the longest, as while the link is down.
const PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(256);

/// What is counted of a queue.
#[derive(Clone, Default)]
pub(crate) struct QueueCounts {
    /// Frames with queries.
    pub(crate) queries: Counter,
    /// Frames that no socket would have got.
    pub(crate) malformed: Counter,
    /// Responses that left in frames.
    pub(crate) responses: Counter,
}

/// A queue that a worker is to serve.
pub(crate) struct Opening {
    pub(crate) socket: QueueSocket,
    /// The longest packet that the interface sends.
    pub(crate) mtu: usize,
    pub(crate) counts: QueueCounts,
}

/// A queue as its worker knows it.
pub(crate) struct Tap {
    /// The interface's index.
    pub(crate) interface: u32,
    wakeup: Wakeup,
    closing: RefCell<Option<mpsc::Sender<()>>>,
}

impl Tap {
    /// Has what is queued answered, and lets the queue go; `done` is dropped after that.
    pub(crate) fn close(&self, done: mpsc::Sender<()>) {
        *self.closing.borrow_mut() = Some(done);
        self.wakeup.wake();
    }
}

/// Serves a queue, as a task of this worker.
pub(crate) fn spawn(worker: &Rc<Worker>, opening: Opening) -> Rc<Tap> {
    let tap = Rc::new(Tap {
        interface: opening.socket.queue().interface,
        wakeup: Wakeup::default(),
        closing: RefCell::default(),
    });
    tokio::task::spawn_local(serve(worker.clone(), tap.clone(), opening));
    tap
}

async fn serve(worker: Rc<Worker>, tap: Rc<Tap>, opening: Opening) {
    let queue = opening.socket.queue();
    let frames = match Frames::new(opening.socket, opening.mtu) {
        Ok(frames) => frames,
        Err(error) => {
            warn!(target: "plugin/xdp", "queue {} cannot be served: {error}", queue.number);
            return;
        }
    };
    let socket = frames.watched();
    let mut serving = Serving {
        worker,
        frames,
        guards: Guards::default(),
        counts: opening.counts,
    };
    while tap.closing.borrow().is_none() {
        let woken = poll_fn(|context| match tap.wakeup.poll(context) {
            Poll::Ready(()) => Poll::Ready(None),
            Poll::Pending => socket.poll_readable(context).map(Some),
        });
        let woken = woken.await;
        tap.wakeup.asleep.set(false);
        match woken {
            Some(Ok(mut ready)) => {
                if serving.drain() {
                    tokio::task::yield_now().await;
                } else {
                    // The next frame wakes us again.
                    ready.clear_ready();
                }
            }
            Some(Err(_)) => tokio::time::sleep(LINGER).await,
            None => {}
        }
        let mut pause = PAUSE;
        while !serving.frames.push() && tap.closing.borrow().is_none() {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
            serving.drain();
        }
    }
    while serving.drain() {}
    tokio::time::sleep(LINGER).await;
    while serving.drain() {}
    serving.frames.push();
}

/// One queue at work.
struct Serving {
    worker: Rc<Worker>,
    frames: Frames,
    guards: Guards,
    counts: QueueCounts,
}

impl Serving {
    /// Answers what waits in the queue, up to a number of batches; whether more may wait.
    fn drain(&mut self) -> bool {
        for _ in 0..ROUNDS {
            match self.frames.receive() {
                Ok(_) => self.answer(),
                // Nothing waits.
                Err(_) => return false,
            }
            if !self.frames.is_full() {
                return false;
            }
        }
        true
    }

    /// Answers the batch that was received.
    fn answer(&mut self) {
        let worker = &*self.worker;
        let received = clock::now();
        worker.shared.datagrams_came(received);
        let interface = self.frames.interface();
        let destinations = worker.destinations.borrow();
        let homes = worker.homes.borrow();
        let pinned = worker.shared.snapshot.load();
        // The tables of listeners that are about to close.
        let last = OnceCell::new();
        let table = |number: usize| match pinned.table(number) {
            Some(table) => Some(&**table),
            None => last
                .get_or_init(|| last_tables(&homes))
                .get(number)?
                .as_deref(),
        };
        let forged = Cell::new(0);
        let (slots, ports) = self.frames.batch();
        let mut arrival = Arrival {
            worker,
            guards: &mut self.guards,
            received,
        };
        arrival.answer(slots, |at, slot| {
            if destinations.is_own(slot.envelope.peer.ip()) {
                forged.set(forged.get() + 1);
                return None;
            }
            let local = slot.envelope.local?;
            let number = destinations.listener(local, ports[at], interface)?;
            Some((homes.get(number)?.as_ref()?, table(number)?))
        });
        if forged.get() > 0 {
            self.counts.malformed.inc_by(forged.get());
        }
        for home in homes.iter().flatten() {
            home.completions.flush();
        }
        if !self.frames.reply() {
            hand_over(worker, &mut self.frames);
        }
        let counts = self.frames.take_counts();
        self.counts
            .queries
            .inc_by(counts.received - counts.malformed);
        self.counts.responses.inc_by(counts.sent);
        if counts.malformed > 0 {
            self.counts.malformed.inc_by(counts.malformed);
        }
    }
}

/// The tables that the listeners closed with.
#[cold]
fn last_tables(homes: &[Option<Rc<Home>>]) -> Vec<Option<Arc<Table>>> {
    let tables = homes.iter();
    tables
        .map(|home| home.as_ref()?.listener.last_table())
        .collect()
}

/// Has sockets send the responses that do not fit their frames.
#[cold]
fn hand_over(worker: &Worker, frames: &mut Frames) {
    let interface = frames.interface();
    let destinations = worker.destinations.borrow();
    let homes = worker.homes.borrow();
    let (slots, ports) = frames.batch();
    let all = slots.iter_mut().zip(ports);
    for (slot, &port) in all.filter(|(slot, _)| slot.reply) {
        slot.reply = false;
        let home = slot.envelope.local.and_then(|local| {
            let number = destinations.listener(local, port, interface)?;
            homes.get(number)?.as_ref()
        });
        let Some(home) = home else { continue };
        let mut ready = home.completions.ready.borrow_mut();
        if ready.len() >= WAITING {
            continue;
        }
        let exchange = std::mem::replace(&mut slot.exchange, worker.datagram());
        ready.push(Slot {
            exchange,
            envelope: home.envelope(slot.envelope),
            cut: false,
            reply: true,
        });
        home.listener.wakeup.wake();
    }
}
