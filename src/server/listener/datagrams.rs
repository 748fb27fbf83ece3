//! One UDP socket at work: batches in, answers out, until its listener closes.

use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use host::clock;
use tracing::warn;

use super::backend::{BATCH, Slot, SocketBackend};
use super::batch::{Arrival, Guards};
use super::home::Home;
use super::udp::{Batched, Watched, has_calls};
use super::udp_plain::Plain;
use crate::admission::{WAITING, shed_queries};
use crate::backlog::Backlog;
use crate::completions::CompletionQueue;
use crate::route::Table;
use crate::worker::{Listener, Worker};

/// Batches that are read before other work of the worker gets its turn: as many queries as a usual upstream's queue takes at once.
pub(super) const ROUNDS: usize = 8;
/// The longest pause after an error that a socket keeps giving.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// The longest wait for a socket that is full.
const FULL: Duration = Duration::from_millis(50);

/// Serves one UDP socket until its listener closes, as a task of this worker. The socket is known to the worker before that begins.
pub(crate) fn spawn(worker: Rc<Worker>, listener: Rc<Listener>, socket: UdpSocket) {
    let local = socket
        .local_addr()
        .unwrap_or(SocketAddr::from(([0, 0, 0, 0], 0)));
    let home = Rc::new(Home {
        completions: Rc::new(CompletionQueue::new(worker.clone(), listener.clone())),
        listener,
        local,
    });
    worker.enter(home.clone());
    tokio::task::spawn_local(serve(worker, home, socket));
}

async fn serve(worker: Rc<Worker>, home: Rc<Home>, socket: UdpSocket) {
    let local = home.local;
    let has_calls = has_calls(&socket);
    let socket = match Watched::new(socket) {
        Ok(socket) => Rc::new(socket),
        Err(error) => {
            warn!("a UDP socket on {local} cannot be served: {error}");
            return;
        }
    };
    if has_calls {
        serve_by(worker, home, Batched::new(socket)).await;
    } else {
        serve_by(worker, home, Plain::new(socket)).await;
    }
}

/// Serves one UDP socket by a back end.
async fn serve_by(worker: Rc<Worker>, home: Rc<Home>, backend: impl SocketBackend) {
    let socket = backend.watched();
    let listener = home.listener.clone();
    let completions = home.completions.clone();
    let mut serving = Serving {
        worker,
        home,
        backend,
        backlog: Backlog::default(),
        guards: Guards::default(),
    };
    let mut pause = Duration::from_millis(1);
    loop {
        let woken = poll_fn(|context| match listener.wakeup.poll(context) {
            Poll::Ready(()) => Poll::Ready(None),
            Poll::Pending => socket.poll_readable(context).map(Some),
        });
        let woken = woken.await;
        listener.wakeup.asleep.set(false);
        if let Some(ready) = woken {
            let drained = match ready {
                Ok(mut ready) => {
                    let drained = serving.drain();
                    if matches!(drained, Drained::Empty | Drained::Failed) {
                        // The next datagram wakes us again.
                        ready.clear_ready();
                    }
                    drained
                }
                Err(_) => Drained::Failed,
            };
            match drained {
                Drained::Empty => pause = Duration::from_millis(1),
                Drained::More => tokio::task::yield_now().await,
                Drained::Nobody => listener.closed.notified().await,
                Drained::Failed => {
                    // An error that stays must not spin (P8).
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
        let full = !serving.flush();
        if listener.last_table().is_some() {
            break;
        }
        if full {
            if let Ok(Err(_)) = tokio::time::timeout(FULL, socket.writable()).await {
                tokio::time::sleep(FULL).await;
            }
            listener.wakeup.wake();
        }
    }
    // What came before the close is answered, and what waits may end; then the line goes, and with it the word that we are done.
    while let Drained::More = serving.drain() {}
    while completions.open.get() > 0 {
        serving.flush();
        poll_fn(|context| listener.wakeup.poll(context)).await;
    }
    serving.flush();
    // The socket is closed before the listener's word that we are done goes with its last owner.
    drop((serving, socket, completions));
    drop(listener);
}

/// How reading a socket ended.
enum Drained {
    /// Nothing waits any more.
    Empty,
    /// More may wait.
    More,
    /// The listener has no table: it is about to close.
    Nobody,
    /// The socket gave an error.
    Failed,
}

/// One UDP socket at work.
struct Serving<B> {
    worker: Rc<Worker>,
    home: Rc<Home>,
    backend: B,
    backlog: Backlog,
    guards: Guards,
}

impl<B: SocketBackend> Serving<B> {
    /// Answers what waits on the socket, up to a number of batches.
    fn drain(&mut self) -> Drained {
        for _ in 0..ROUNDS {
            let pinned = self.worker.shared.snapshot.load();
            let last;
            let table = match pinned.table(self.home.listener.number) {
                Some(table) => table,
                None => {
                    last = self.home.listener.last_table();
                    match &last {
                        Some(table) => table,
                        None => return Drained::Nobody,
                    }
                }
            };
            match self.backend.receive() {
                Ok(_) => {
                    self.answer(table);
                    self.home.completions.flush();
                    if !self.backend.reply() {
                        let lost = self.keep_unsent();
                        if let (Some(shed), 1..) = (&table.shed, lost) {
                            shed.responses.inc_by(lost as u64);
                        }
                    }
                    if !self.backend.is_full() {
                        return self.drained();
                    }
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => return self.drained(),
                    io::ErrorKind::Interrupted => {}
                    _ => return Drained::Failed,
                },
            }
        }
        let waiting = || self.backend.queued();
        if let Some(cut) = self.backlog.left(ROUNDS * BATCH, waiting) {
            self.backend.bound_queue(Some(cut.room));
            let skipped = self.backend.skip(cut.late) as u64;
            shed_queries().inc_by(skipped);
            self.count_shed(skipped);
        }
        Drained::More
    }

    /// Nothing waits any more.
    #[inline]
    fn drained(&mut self) -> Drained {
        if self.backlog.empty() {
            self.backend.bound_queue(None);
        }
        Drained::Empty
    }

    /// Answers the batch that was received.
    fn answer(&mut self, table: &Table) {
        let received = clock::now();
        self.worker.shared.datagrams_came(received);
        let mut arrival = Arrival {
            worker: &self.worker,
            guards: &mut self.guards,
            received,
        };
        arrival.answer(self.backend.received(), |_, _| Some((&self.home, table)));
    }

    /// Counts queries that were thrown away, where a block of the listener wants that.
    #[cold]
    fn count_shed(&self, queries: u64) {
        let pinned = self.worker.shared.snapshot.load();
        let table = pinned.table(self.home.listener.number);
        if let Some(shed) = table.and_then(|table| table.shed.as_ref()) {
            shed.queries.inc_by(queries);
        }
    }

    /// Keeps responses for later that the socket had no room for; gives how many there was no room for here either.
    #[cold]
    fn keep_unsent(&mut self) -> usize {
        let mut slots = self.home.completions.ready.borrow_mut();
        let mut lost = 0;
        for slot in self.backend.received().iter_mut().filter(|slot| slot.reply) {
            if slots.len() >= WAITING {
                lost += 1;
                continue;
            }
            let exchange = std::mem::replace(&mut slot.exchange, self.worker.datagram());
            slots.push(Slot {
                exchange,
                envelope: slot.envelope,
                cut: false,
                reply: true,
            });
        }
        lost
    }

    /// Sends what is ready in the completion queue; `false` when the socket has no room for all.
    fn flush(&mut self) -> bool {
        let mut slots = self.home.completions.ready.borrow_mut();
        if slots.is_empty() {
            return true;
        }
        let sent = self.backend.send(&mut slots);
        for slot in slots.extract_if(.., |slot| !slot.reply) {
            self.worker.recycle(slot.exchange);
        }
        sent
    }
}
