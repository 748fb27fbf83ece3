//! A worker: one thread with a current-thread runtime, its sockets, its pool of exchanges.
//!
//! ```text
//! recvmmsg ─► answer ─► finish ─► sendmmsg                            one batch: no await, no task
//!               └ Suspended ─► spawn_local(resume) ─► finish ─► outbox ─► sendmmsg     the same thread, the same socket
//! ```
//!
//! The snapshot is pinned once a batch. At most [`IN_FLIGHT`] queries of a worker wait; beyond that the newest is answered with
//! SERVFAIL, so that its client turns to another server at once. Where queries come faster than they are answered, the oldest in the
//! socket's queue are thrown away ([`crate::backlog`]).

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{self, Poll, Waker};
use std::time::Duration;

use arc_swap::ArcSwap;
use chain::{
    Berth, Block, Context, Departure, Ending, Exchange, Failure, Flow, Outcome, Rest, Shore,
    Transport, clock,
};
use tokio::sync::{Notify, mpsc};
use tokio::task::LocalSet;
use tracing::{error, warn};

use crate::answer::{Verdict, abandon, answer, panicked, shed, shed_queries};
use crate::backlog::Backlog;
use crate::finish::finish;
use crate::listener::tcp;
use crate::listener::udp::{BATCH, Batch, Envelope, Slot, Watched};
use crate::route::Table;
use crate::snapshot::Snapshot;

/// Queries of one worker that may wait.
pub(crate) const IN_FLIGHT: usize = if cfg!(test) { 64 } else { 4_096 };
/// Exchanges that a worker keeps for reuse, of each kind.
const POOLED: usize = 512;
/// Batches that are read before other work of the worker gets its turn: as many queries as a usual upstream's queue takes at once.
const ROUNDS: usize = 8;
/// The longest pause after an error that a socket keeps giving.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// The longest wait for a socket that is full.
const FULL: Duration = Duration::from_millis(50);

/// What all threads share.
#[derive(Default)]
pub(crate) struct Shared {
    /// What is served.
    pub(crate) snapshot: ArcSwap<Snapshot>,
    shutting_down: AtomicBool,
    failure: Mutex<Option<String>>,
}

impl Shared {
    /// Why the last reload failed.
    pub(crate) fn failure(&self) -> MutexGuard<'_, Option<String>> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the process is on its way out.
    pub(crate) fn is_shutting_down(&self) -> bool {
        self.shutting_down.load(Ordering::Relaxed)
    }

    /// Says that the process is on its way out.
    pub(crate) fn shut_down(&self) {
        self.shutting_down.store(true, Ordering::Relaxed);
    }
}

/// What a worker is told.
pub(crate) enum Order {
    /// Serve these sockets as the listener of this number.
    Open {
        listener: usize,
        udp: Vec<UdpSocket>,
        tcp: Vec<std::net::TcpListener>,
    },
    /// Answer what is queued by this table, then close; `done` is dropped when that and all queries that wait are over.
    Close {
        listener: usize,
        table: Arc<Table>,
        done: mpsc::Sender<()>,
    },
}

/// What a worker's tasks share.
#[expect(
    clippy::vec_box,
    reason = "exchanges move between slots, tasks and pools by their boxes"
)]
pub(crate) struct Worker {
    pub(crate) index: u16,
    pub(crate) shared: Arc<Shared>,
    datagrams: RefCell<Vec<Box<Exchange>>>,
    streams: RefCell<Vec<Box<Exchange>>>,
    waiting: Cell<usize>,
    pub(crate) connections: RefCell<tcp::Connections>,
}

impl Worker {
    fn new(index: u16, shared: Arc<Shared>, connections: usize) -> Rc<Self> {
        Rc::new(Self {
            index,
            shared,
            datagrams: RefCell::default(),
            streams: RefCell::default(),
            waiting: Cell::new(0),
            connections: RefCell::new(tcp::Connections::new(connections)),
        })
    }

    fn datagram(&self) -> Box<Exchange> {
        self.datagrams
            .borrow_mut()
            .pop()
            .unwrap_or_else(Exchange::datagram)
    }

    /// An exchange for a stream.
    pub(crate) fn stream(&self) -> Box<Exchange> {
        self.streams
            .borrow_mut()
            .pop()
            .unwrap_or_else(Exchange::stream)
    }

    /// Takes an exchange for a stream back.
    pub(crate) fn recycle_stream(&self, exchange: Box<Exchange>) {
        let mut pool = self.streams.borrow_mut();
        if pool.len() < POOLED / 8 {
            pool.push(exchange);
        }
    }

    fn recycle(&self, exchange: Box<Exchange>) {
        let mut pool = self.datagrams.borrow_mut();
        if pool.len() < POOLED {
            pool.push(exchange);
        }
    }

    /// Whether one more query may wait.
    pub(crate) fn may_wait(&self) -> bool {
        self.waiting.get() < IN_FLIGHT
    }

    /// Takes a suspended exchange to its end, as a task of this worker; `then` gets it finished, or nothing when nobody answers.
    pub(crate) fn suspend(
        self: &Rc<Self>,
        exchange: Box<Exchange>,
        at: (&Arc<Block>, usize),
        then: impl FnOnce(Option<Box<Exchange>>) + 'static,
    ) {
        let rescue = Rescue::of(&exchange);
        let walk = chain::resume(exchange, at.0.clone(), at.1);
        self.finish_later(walk, at, rescue, then);
    }

    /// Finishes what comes out of `walk`, as a task of this worker.
    fn finish_later(
        self: &Rc<Self>,
        walk: impl Future<Output = (Box<Exchange>, Ending)> + 'static,
        at: (&Arc<Block>, usize),
        rescue: Rescue,
        then: impl FnOnce(Option<Box<Exchange>>) + 'static,
    ) {
        let (block, step) = (at.0.clone(), at.1);
        let waiting = Waiting::new(self.clone());
        tokio::task::spawn_local(async move {
            let ended = match guarded(walk).await {
                Ok((mut exchange, Ending::Respond)) => {
                    finish(&mut exchange);
                    Some(exchange)
                }
                Ok((exchange, Ending::Silent)) => {
                    if exchange.context.transport.is_datagram() {
                        waiting.0.recycle(exchange);
                    }
                    None
                }
                Err(panic) => {
                    panicked(&block, step, &*panic);
                    let mut exchange = rescue.exchange();
                    abandon(&mut exchange, &block, step, a_panic);
                    finish(&mut exchange);
                    Some(exchange)
                }
            };
            then(ended);
            drop(waiting);
        });
    }
}

/// A query that waits, counted.
struct Waiting(Rc<Worker>);

impl Waiting {
    fn new(worker: Rc<Worker>) -> Self {
        worker.waiting.set(worker.waiting.get() + 1);
        Self(worker)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.set(self.0.waiting.get().saturating_sub(1));
    }
}

/// What it takes to answer SERVFAIL when a panic has taken the exchange with it, and to tell the plugins above, so that whoever keeps
/// something for the query lets it go.
struct Rescue {
    query: Box<[u8]>,
    context: Context,
}

impl Rescue {
    fn of(exchange: &Exchange) -> Self {
        Self {
            query: exchange.message().into(),
            context: exchange.context.clone(),
        }
    }

    fn exchange(self) -> Box<Exchange> {
        let mut exchange = if self.context.transport.is_datagram() {
            Exchange::datagram()
        } else {
            Exchange::stream()
        };
        let len = self.query.len();
        exchange.receive_buffer(len)[..len].copy_from_slice(&self.query);
        exchange.set_received(len);
        // It was parsed before.
        let _ = exchange.parse();
        exchange.context = self.context;
        exchange
    }
}

/// What a plugin's panic means to the asker.
fn a_panic() -> Failure {
    Failure::servfail("a plugin panicked")
}

/// Runs a future to its end or its panic.
async fn guarded<F: Future>(future: F) -> Result<F::Output, Box<dyn Any + Send>> {
    let mut future = pin!(future);
    poll_fn(
        move |context| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            Err(panic) => Poll::Ready(Err(panic)),
        },
    )
    .await
}

/// A listener as one worker sees it.
pub(crate) struct Line {
    /// Its number.
    pub(crate) listener: usize,
    /// The table to answer the rest by, once it closes.
    closing: RefCell<Option<(Arc<Table>, mpsc::Sender<()>)>>,
    /// Woken when it closes.
    pub(crate) closed: Notify,
    /// Rung when responses wait to leave, and when it closes.
    bell: Bell,
}

impl Line {
    fn new(listener: usize) -> Rc<Self> {
        Rc::new(Self {
            listener,
            closing: RefCell::default(),
            closed: Notify::new(),
            bell: Bell::default(),
        })
    }

    /// The table that closing left, if it closes.
    pub(crate) fn last_table(&self) -> Option<Arc<Table>> {
        self.closing
            .borrow()
            .as_ref()
            .map(|(table, _)| table.clone())
    }
}

/// Wakes one task of its own thread, without a lock; a ring that finds nobody waiting is heard at the next wait.
#[derive(Default)]
struct Bell {
    rung: Cell<bool>,
    /// Whether the task waits, so that it has to be woken.
    asleep: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Bell {
    fn ring(&self) {
        self.rung.set(true);
        if self.asleep.take()
            && let Some(waker) = &*self.waker.borrow()
        {
            waker.wake_by_ref();
        }
    }

    /// Whether it has rung since it was heard last.
    fn poll(&self, context: &mut task::Context<'_>) -> Poll<()> {
        if self.rung.take() {
            return Poll::Ready(());
        }
        let mut waker = self.waker.borrow_mut();
        if !waker
            .as_ref()
            .is_some_and(|waker| waker.will_wake(context.waker()))
        {
            *waker = Some(context.waker().clone());
        }
        self.asleep.set(true);
        Poll::Pending
    }
}

/// Starts a worker on a thread of its own; it ends when the sender of its orders is dropped.
pub(crate) fn start(
    index: u16,
    shared: Arc<Shared>,
    connections: usize,
) -> io::Result<(mpsc::UnboundedSender<Order>, std::thread::JoinHandle<()>)> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (orders, receiver) = mpsc::unbounded_channel();
    let thread = std::thread::Builder::new()
        .name(format!("worker-{index}"))
        .spawn(move || {
            let local = LocalSet::new();
            let worker = Worker::new(index, shared, connections);
            runtime.block_on(local.run_until(obey(worker, receiver)));
        })?;
    Ok((orders, thread))
}

async fn obey(worker: Rc<Worker>, mut orders: mpsc::UnboundedReceiver<Order>) {
    let mut lines: Vec<Rc<Line>> = Vec::new();
    while let Some(order) = orders.recv().await {
        match order {
            Order::Open { listener, udp, tcp } => {
                for socket in udp {
                    let line = Line::new(listener);
                    lines.push(line.clone());
                    tokio::task::spawn_local(udp_loop(worker.clone(), line, socket));
                }
                for socket in tcp {
                    let line = Line::new(listener);
                    lines.push(line.clone());
                    tokio::task::spawn_local(tcp::accept_loop(worker.clone(), line, socket));
                }
            }
            Order::Close {
                listener,
                table,
                done,
            } => {
                lines.retain(|line| {
                    if line.listener == listener {
                        *line.closing.borrow_mut() = Some((table.clone(), done.clone()));
                        line.closed.notify_waiters();
                        line.closed.notify_one();
                        line.bell.ring();
                    }
                    line.listener != listener
                });
            }
        }
    }
}

/// Responses that wait to leave by a UDP socket, and the envelopes of queries that plugins keep.
struct Outbox {
    worker: Rc<Worker>,
    line: Rc<Line>,
    slots: RefCell<Vec<Slot>>,
    open: Cell<usize>,
    berths: RefCell<Berths>,
    departures: RefCell<Vec<Rc<dyn Departure>>>,
}

/// Envelopes by number, and the numbers that are free.
#[derive(Default)]
struct Berths {
    envelopes: Vec<Envelope>,
    free: Vec<u32>,
}

/// Serves one UDP socket until its listener closes.
async fn udp_loop(worker: Rc<Worker>, line: Rc<Line>, socket: UdpSocket) {
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

impl Outbox {
    fn new(worker: Rc<Worker>, line: Rc<Line>) -> Self {
        Self {
            worker,
            line,
            slots: RefCell::default(),
            open: Cell::new(0),
            berths: RefCell::default(),
            departures: RefCell::default(),
        }
    }

    /// Sends off what plugins have kept for the end of the batch.
    #[inline]
    fn depart(&self) {
        while let Some(departure) = self.departures.borrow_mut().pop() {
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| departure.depart())) {
                departed(&*panic);
            }
        }
    }

    /// Offers a suspended query to its plugin, and makes it a task where the plugin leaves it.
    fn launch(
        self: &Rc<Self>,
        exchange: Box<Exchange>,
        envelope: Envelope,
        at: (&Arc<Block>, usize),
    ) {
        let berth = Berth::new(self.clone(), self.moor(envelope));
        let mut place = Some(exchange);
        // The exchange stays out here until it is taken, so that a panic finds it.
        let launched = catch_unwind(AssertUnwindSafe(|| chain::launch(&mut place, at, berth)));
        let Some(exchange) = place else {
            return;
        };
        self.open.set(self.open.get() + 1);
        match launched {
            Ok(()) => {
                let outbox = self.clone();
                let then = move |ended| outbox.put(ended, envelope);
                self.worker.suspend(exchange, at, then);
            }
            Err(panic) => self.panicked(exchange, at, &*panic, envelope),
        }
    }

    /// Keeps an envelope; gives its number.
    fn moor(&self, envelope: Envelope) -> u32 {
        self.open.set(self.open.get() + 1);
        self.worker.waiting.set(self.worker.waiting.get() + 1);
        let mut berths = self.berths.borrow_mut();
        match berths.free.pop() {
            Some(number) => {
                if let Some(place) = berths.envelopes.get_mut(number as usize) {
                    *place = envelope;
                }
                number
            }
            None => {
                berths.envelopes.push(envelope);
                (berths.envelopes.len() - 1) as u32
            }
        }
    }

    /// Frees a number; gives its envelope. The query still counts as open.
    fn unmoor(&self, number: u32) -> Envelope {
        let waiting = &self.worker.waiting;
        waiting.set(waiting.get().saturating_sub(1));
        let mut berths = self.berths.borrow_mut();
        berths.free.push(number);
        let envelope = berths.envelopes.get(number as usize).copied();
        envelope.unwrap_or(Envelope::NONE)
    }

    /// Answers SERVFAIL for a plugin that panicked.
    #[cold]
    fn panicked(
        &self,
        mut exchange: Box<Exchange>,
        at: (&Arc<Block>, usize),
        panic: &(dyn Any + Send),
        envelope: Envelope,
    ) {
        panicked(at.0, at.1, panic);
        abandon(&mut exchange, at.0, at.1, a_panic);
        finish(&mut exchange);
        self.put(Some(exchange), envelope);
    }

    /// Takes the end of a query that waited.
    fn put(&self, ended: Option<Box<Exchange>>, envelope: Envelope) {
        self.open.set(self.open.get() - 1);
        if let Some(exchange) = ended {
            self.slots.borrow_mut().push(Slot {
                exchange,
                envelope,
                cut: false,
                reply: true,
            });
        }
        self.line.bell.ring();
    }
}

impl Shore for Outbox {
    fn embark(&self, departure: Rc<dyn Departure>) -> bool {
        self.departures.borrow_mut().push(departure);
        true
    }

    fn land(self: Rc<Self>, number: u32, mut exchange: Box<Exchange>, flow: Result<Flow, Failure>) {
        let envelope = self.unmoor(number);
        let Some((block, step)) = exchange.take_suspended() else {
            return self.put(None, envelope);
        };
        let landed = catch_unwind(AssertUnwindSafe(|| exchange.land((&block, step), flow)));
        match landed {
            Ok(Outcome::Respond) => {
                finish(&mut exchange);
                self.put(Some(exchange), envelope);
            }
            Ok(Outcome::Silent) => {
                self.worker.recycle(exchange);
                self.put(None, envelope);
            }
            Ok(Outcome::Suspended(next)) => {
                let outbox = self.clone();
                let then = move |ended| outbox.put(ended, envelope);
                self.worker.suspend(exchange, (&block, next), then);
            }
            Err(panic) => {
                // Those above the step where it came to that have heard nothing yet.
                let step = exchange.context.step();
                self.panicked(exchange, (&block, step), &*panic, envelope);
            }
        }
    }

    fn wait(self: Rc<Self>, number: u32, exchange: Box<Exchange>, rest: Rest) {
        let envelope = self.unmoor(number);
        let Some((block, step)) = exchange
            .suspended_at()
            .map(|(block, step)| (block.clone(), step))
        else {
            return self.put(None, envelope);
        };
        let rescue = Rescue::of(&exchange);
        let walk = chain::resume_by(rest(exchange), block.clone(), step);
        let outbox = self.clone();
        let then = move |ended| outbox.put(ended, envelope);
        self.worker.finish_later(walk, (&block, step), rescue, then);
    }

    fn abandon(&self, number: u32) {
        let envelope = self.unmoor(number);
        self.put(None, envelope);
    }
}

/// Counts and reports a panic of what left at the end of a batch; its queries go on when their time is up.
#[cold]
fn departed(panic: &(dyn Any + Send)) {
    chain::metrics::panics().inc();
    let what = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or_default();
    error!("what a batch had kept for its end panicked: {what}");
}

/// The address of an IPv4 peer on a socket of both families as IPv4.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    let ip: IpAddr = address.ip().to_canonical();
    SocketAddr::new(ip, address.port())
}
