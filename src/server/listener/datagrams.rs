//! One UDP socket at work: batches in, answers out, until its listener closes.

use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use chain::{Transport, clock};
use tracing::warn;

use super::udp::{BATCH, Batch, Slot, Watched};
use crate::answer::{Verdict, answer, shed, shed_queries};
use crate::backlog::Backlog;
use crate::finish::finish;
use crate::outbox::Outbox;
use crate::route::Table;
use crate::worker::{IN_FLIGHT, Line, Worker, canonical};

/// Batches that are read before other work of the worker gets its turn: as many queries as a usual upstream's queue takes at once.
const ROUNDS: usize = 8;
/// The longest pause after an error that a socket keeps giving.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// The longest wait for a socket that is full.
const FULL: Duration = Duration::from_millis(50);

/// Serves one UDP socket until its listener closes.
pub(crate) async fn serve(worker: Rc<Worker>, line: Rc<Line>, socket: UdpSocket) {
    let local = socket
        .local_addr()
        .unwrap_or(SocketAddr::from(([0, 0, 0, 0], 0)));
    let socket = match Watched::new(socket) {
        Ok(socket) => socket,
        Err(error) => {
            warn!("a UDP socket on {local} cannot be served: {error}");
            return;
        }
    };
    let outbox = Rc::new(Outbox::new(worker.clone(), line.clone()));
    let mut serving = Serving {
        worker,
        line: line.clone(),
        local,
        batch: Batch::new(),
        backlog: Backlog::default(),
        outbox: outbox.clone(),
    };
    let mut pause = Duration::from_millis(1);
    loop {
        let woken = poll_fn(|context| match line.bell.poll(context) {
            Poll::Ready(()) => Poll::Ready(None),
            Poll::Pending => socket.poll_readable(context).map(Some),
        });
        let woken = woken.await;
        line.bell.asleep.set(false);
        if let Some(ready) = woken {
            let drained = match ready {
                Ok(mut ready) => {
                    let drained = serving.drain(&socket);
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
                Drained::Nobody => line.closed.notified().await,
                Drained::Failed => {
                    // An error that stays must not spin (P8).
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
        let full = !serving.flush(&socket);
        if line.last_table().is_some() {
            break;
        }
        if full {
            if let Ok(Err(_)) = tokio::time::timeout(FULL, socket.writable()).await {
                tokio::time::sleep(FULL).await;
            }
            line.bell.ring();
        }
    }
    // What came before the close is answered, and what waits may end; then the line goes, and with it the word that we are done.
    while let Drained::More = serving.drain(&socket) {}
    while outbox.open.get() > 0 {
        serving.flush(&socket);
        poll_fn(|context| line.bell.poll(context)).await;
    }
    serving.flush(&socket);
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
struct Serving {
    worker: Rc<Worker>,
    line: Rc<Line>,
    local: SocketAddr,
    batch: Batch,
    backlog: Backlog,
    outbox: Rc<Outbox>,
}

impl Serving {
    /// Answers what waits on the socket, up to a number of batches.
    fn drain(&mut self, socket: &Watched) -> Drained {
        for _ in 0..ROUNDS {
            let pinned = self.worker.shared.snapshot.load();
            let last;
            let table = match pinned.table(self.line.listener) {
                Some(table) => table,
                None => {
                    last = self.line.last_table();
                    match &last {
                        Some(table) => table,
                        None => return Drained::Nobody,
                    }
                }
            };
            match self.batch.receive(socket) {
                Ok(_) => {
                    self.answer(table);
                    self.outbox.depart();
                    if !self.batch.reply(socket) {
                        self.keep_unsent();
                    }
                    if !self.batch.is_full() {
                        return self.drained(socket);
                    }
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => return self.drained(socket),
                    io::ErrorKind::Interrupted => {}
                    _ => return Drained::Failed,
                },
            }
        }
        let waiting = || Batch::waiting(socket);
        if let Some(cut) = self.backlog.left(ROUNDS * BATCH, waiting) {
            Batch::bound(socket, Some(cut.room));
            shed_queries().inc_by(self.batch.skip(socket, cut.late) as u64);
        }
        Drained::More
    }

    /// Nothing waits any more.
    #[inline]
    fn drained(&mut self, socket: &Watched) -> Drained {
        if self.backlog.empty() {
            Batch::bound(socket, None);
        }
        Drained::Empty
    }

    /// Answers the batch that was received.
    fn answer(&mut self, table: &Table) {
        let received = clock::now();
        for slot in self.batch.filled() {
            let peer = slot.envelope.peer;
            if peer.port() == 0 {
                continue;
            }
            if slot.cut {
                // What does not fit the buffer is no query; the header alone makes a FORMERR.
                slot.exchange.set_received(wire::HEADER_LEN);
            }
            let context = &mut slot.exchange.context;
            context.peer = canonical(peer);
            let local = slot.envelope.local.unwrap_or(self.local.ip());
            context.local = canonical(SocketAddr::new(local, self.local.port()));
            context.transport = Transport::Udp;
            context.received = received;
            context.worker = self.worker.index;
            match answer(&mut slot.exchange, table) {
                Verdict::Silent => {}
                Verdict::Respond => {
                    finish(&mut slot.exchange);
                    slot.reply = true;
                }
                Verdict::Suspended(block, step) if self.worker.may_wait() => {
                    let exchange = std::mem::replace(&mut slot.exchange, self.worker.datagram());
                    self.outbox.launch(exchange, slot.envelope, (block, step));
                }
                Verdict::Suspended(block, step) => {
                    shed(&mut slot.exchange, block, step);
                    finish(&mut slot.exchange);
                    slot.reply = true;
                }
            }
        }
    }

    /// Keeps responses for later that the socket had no room for.
    fn keep_unsent(&mut self) {
        let mut slots = self.outbox.slots.borrow_mut();
        for slot in self.batch.filled().iter_mut().filter(|slot| slot.reply) {
            if slots.len() >= IN_FLIGHT {
                return;
            }
            let exchange = std::mem::replace(&mut slot.exchange, self.worker.datagram());
            slots.push(Slot {
                exchange,
                envelope: slot.envelope,
                cut: false,
                reply: true,
            });
        }
    }

    /// Sends what waits in the outbox; `false` when the socket has no room for all.
    fn flush(&mut self, socket: &Watched) -> bool {
        let mut slots = self.outbox.slots.borrow_mut();
        if slots.is_empty() {
            return true;
        }
        let sent = self.batch.send(socket, &mut slots);
        for slot in slots.extract_if(.., |slot| !slot.reply) {
            self.worker.recycle(slot.exchange);
        }
        sent
    }
}
