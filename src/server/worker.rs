//! A worker: one thread with a current-thread runtime, its sockets, its pool of exchanges.
//!
//! ```text
//! recvmmsg ─► answer ─► finish ─► sendmmsg                            one batch: no await, no task
//!               └ Suspended ─► spawn_local(resume) ─► finish ─► outbox ─► sendmmsg     the same thread, the same socket
//! ```
//!
//! The snapshot is pinned once a batch. At most [`IN_FLIGHT`] queries of a worker wait; beyond that the newest is answered with
//! SERVFAIL, so that its client turns to another server at once. Where queries come faster than they are answered, the oldest in the
//! socket's queue are thrown away ([`crate::backlog`]). What serves a UDP socket is [`crate::listener::datagrams`], a TCP one
//! [`tcp`]; what waits to leave is [`crate::outbox`].

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

use arc_swap::ArcSwap;
use chain::{Block, Context, Ending, Exchange, Failure};
use tokio::sync::{Notify, mpsc};
use tokio::task::LocalSet;

use crate::answer::{abandon, panicked};
use crate::finish::finish;
use crate::listener::{datagrams, tcp};
use crate::route::Table;
use crate::snapshot::Snapshot;

/// Queries of one worker that may wait.
pub(crate) const IN_FLIGHT: usize = if cfg!(test) { 64 } else { 4_096 };
/// Exchanges that a worker keeps for reuse, of each kind.
const POOLED: usize = 512;

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
    pub(crate) waiting: Cell<usize>,
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

    pub(crate) fn datagram(&self) -> Box<Exchange> {
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

    pub(crate) fn recycle(&self, exchange: Box<Exchange>) {
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
    pub(crate) fn finish_later(
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
pub(crate) struct Rescue {
    query: Box<[u8]>,
    context: Context,
}

impl Rescue {
    pub(crate) fn of(exchange: &Exchange) -> Self {
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
pub(crate) fn a_panic() -> Failure {
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
    pub(crate) bell: Bell,
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
pub(crate) struct Bell {
    rung: Cell<bool>,
    /// Whether the task waits, so that it has to be woken.
    pub(crate) asleep: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Bell {
    pub(crate) fn ring(&self) {
        self.rung.set(true);
        if self.asleep.take()
            && let Some(waker) = &*self.waker.borrow()
        {
            waker.wake_by_ref();
        }
    }

    /// Whether it has rung since it was heard last.
    pub(crate) fn poll(&self, context: &mut task::Context<'_>) -> Poll<()> {
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
                    tokio::task::spawn_local(datagrams::serve(worker.clone(), line, socket));
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

/// The address of an IPv4 peer on a socket of both families as IPv4.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    let ip: IpAddr = address.ip().to_canonical();
    SocketAddr::new(ip, address.port())
}
