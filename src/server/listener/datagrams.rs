//! One UDP socket at work: batches in, answers out, until its listener closes.

use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use chain::setup::ProxyProtocol;
use chain::{Exchange, Transport};
use host::clock;
use tracing::warn;

use super::backend::{BATCH, Slot, SocketBackend};
use super::home::Home;
use super::proxy::{self, Sessions};
use super::udp::{Batched, Watched, has_calls};
use super::udp_plain::Plain;
use crate::admission::{WAITING, shed_queries};
use crate::answer::{Verdict, answer};
use crate::backlog::Backlog;
use crate::completions::CompletionQueue;
use crate::finish::finish;
use crate::route::Table;
use crate::worker::{Listener, Worker, canonical};

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

/// What is remembered of those who ask.
#[derive(Default)]
pub(super) struct Guards {
    /// What services that answer anything are still answered.
    services: Allowance,
    /// Clients behind load balancers that send one header for many datagrams.
    sessions: Sessions,
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
        for slot in self.backend.received() {
            answer_slot(
                &self.worker,
                &self.home,
                table,
                slot,
                &mut self.guards,
                received,
            );
        }
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

/// Answers one datagram in its slot, by the table of the listener that it came to.
#[inline(always)]
pub(super) fn answer_slot(
    worker: &Worker,
    home: &Home,
    table: &Table,
    slot: &mut Slot,
    guards: &mut Guards,
    received: u64,
) {
    let peer = slot.envelope.peer;
    let port = peer.port();
    if port < WELL_KNOWN && !guards.services.may_be_answered(port, received) {
        return;
    }
    if slot.cut {
        // What does not fit the buffer is no query; the header alone makes a FORMERR.
        slot.exchange.set_received(wire::HEADER_LEN);
    }
    let context = &mut slot.exchange.context;
    context.peer = canonical(peer);
    let local = slot.envelope.local.unwrap_or(home.local.ip());
    context.local = canonical(SocketAddr::new(local, home.local.port()));
    context.transport = Transport::Udp;
    context.received = received;
    context.worker = worker.index;
    if let Some(protocol) = &table.proxy
        && !behind_proxy(&mut slot.exchange, protocol, &mut guards.sessions)
    {
        return;
    }
    match answer(&mut slot.exchange, table) {
        // A response of many messages is none over UDP: the walk refuses it.
        Verdict::Silent | Verdict::Stream(..) => {}
        Verdict::Respond => {
            finish(&mut slot.exchange);
            slot.reply = true;
        }
        Verdict::Suspended(block, step) => {
            let exchange = std::mem::replace(&mut slot.exchange, worker.datagram());
            let envelope = home.envelope(slot.envelope);
            home.completions.launch(exchange, envelope, (block, step));
        }
    }
}

/// Takes the header of the PROXY protocol off a datagram, if it has one; `false` where it is dropped.
#[cold]
fn behind_proxy(
    exchange: &mut Exchange,
    protocol: &ProxyProtocol,
    sessions: &mut Sessions,
) -> bool {
    let (peer, now) = (exchange.context.peer, exchange.context.received);
    match proxy::datagram(exchange.message(), peer, protocol, sessions, now) {
        proxy::Datagram::Of(len, client) => {
            let message = exchange.message_mut();
            let rest = message.len() - len;
            message.copy_within(len.., 0);
            exchange.set_received(rest);
            exchange.context.peer = canonical(client);
            true
        }
        proxy::Datagram::Drop(why) => {
            warn!("dropping invalid Proxy Protocol packet from {peer}: {why}");
            false
        }
    }
}

/// Ports below this one are looked at: most are of services, and no client asks from them.
const WELL_KNOWN: u16 = 1_024;
/// Queries that a socket answers to services in a row.
const TO_SERVICES: u32 = 8;
/// After so long one more is answered, in nanoseconds.
const REFILL: u64 = clock::SECOND;

/// How many queries from the ports of services are still answered.
///
/// Some services answer whatever comes: echo (7), systat (11), daytime (13), qotd (17), chargen (19), time (37), TFTP (69), NTP (123).
/// A query with such a source port is forged, to set the two on each other: what the service makes of our response would be answered
/// in turn, and so on. Each round needs the one before, so a conversation ends for good with the first datagram that is not answered.
#[derive(Default)]
struct Allowance {
    used: u32,
    since: u64,
}

impl Allowance {
    /// Whether a datagram from this well-known port is to be answered.
    #[cold]
    fn may_be_answered(&mut self, port: u16, now: u64) -> bool {
        match port {
            0 => return false,
            7 | 11 | 13 | 17 | 19 | 37 | 69 | 123 => {}
            _ => return true,
        }
        let regained = now.saturating_sub(self.since) / REFILL;
        if regained > 0 {
            self.used = self
                .used
                .saturating_sub(regained.min(u64::from(TO_SERVICES)) as u32);
            self.since = now;
        }
        let may = self.used < TO_SERVICES;
        self.used += u32::from(may);
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conversation_with_a_service_ends() {
        let mut allowance = Allowance::default();
        let start = 100 * clock::SECOND;
        let rounds = (0..5_000)
            .take_while(|round| allowance.may_be_answered(7, start + round * 1_000))
            .count();
        assert_eq!(rounds, TO_SERVICES as usize);
        // Each second has one answer, whatever port it is for.
        let later = start + clock::SECOND;
        assert!(allowance.may_be_answered(19, later));
        assert!(!allowance.may_be_answered(123, later));
        // Resolvers may ask from 53, and nobody can from 0.
        assert!(allowance.may_be_answered(53, later));
        assert!(!allowance.may_be_answered(0, later));
    }
}
