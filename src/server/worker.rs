//! A worker: one thread with a current-thread runtime, its sockets, its pool of exchanges.
//!
//! ```text
//! recvmmsg ─► answer ─► finish ─► sendmmsg                                      one batch: no await, no task
//!               └ Suspended ─► launch or spawn_local(resume) ─► finish ─► completion queue ─► sendmmsg     the same thread and socket
//! ```
//!
//! The snapshot is pinned once a batch. How many queries may wait, and whose wait is ended for others, is [`crate::admission`]'s business.
//! Where queries come faster than they are answered, the oldest in the socket's queue are thrown away ([`crate::backlog`]). What
//! serves a UDP socket is [`crate::listener::datagrams`], a TCP one [`crate::listener::accept`]; what waits to leave is
//! [`crate::completions`].

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{self, Poll, Waker};
use std::time::Duration;

use arc_swap::ArcSwap;
use chain::{Block, Ending, Exchange, Failure, Transport};
use host::clock;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::LocalSet;

use crate::admission::{Admission, Limits, Ticket, Waiter};
use crate::answer::{a_panic, abandon, panicked, too_late, too_many};
use crate::destinations::Destinations;
use crate::explain::Scene;
use crate::finish::finish;
use crate::listener::frames::{self, Opening, Tap};
use crate::listener::home::Home;
use crate::listener::places::Places;
use crate::listener::turns::Turns;
use crate::listener::{self, socket::ListenSocket};
use crate::rescue::Rescue;
use crate::route::Table;
use crate::snapshot::Snapshot;

/// Exchanges that a worker keeps for reuse, of each kind.
const POOLED: usize = 512;
/// Octets that are read from a stream connection at once.
const SCRATCH: usize = 16 * 1024;

/// What all threads share.
#[derive(Default)]
pub(crate) struct Shared {
    /// What is served.
    pub(crate) snapshot: ArcSwap<Snapshot>,
    shutting_down: AtomicBool,
    /// When shutdown began, or a datagram came after that ([`clock`]).
    last_datagram: AtomicU64,
    failure: Mutex<Option<String>>,
    /// What a query can meet, for `explain`; no part of the packet path looks at it.
    scene: Mutex<Option<Arc<Scene>>>,
}

impl Shared {
    /// Why the last reload failed.
    pub(crate) fn failure(&self) -> MutexGuard<'_, Option<String>> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a query can meet.
    pub(crate) fn scene(&self) -> MutexGuard<'_, Option<Arc<Scene>>> {
        self.scene.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the process is on its way out.
    pub(crate) fn is_shutting_down(&self) -> bool {
        self.shutting_down.load(Ordering::Relaxed)
    }

    /// Says that the process is on its way out.
    pub(crate) fn shut_down(&self) {
        self.last_datagram.store(clock::now(), Ordering::Relaxed);
        self.shutting_down.store(true, Ordering::Relaxed);
    }

    /// Datagrams came; written down only once the process is on its way out, so that workers share no line of cache before.
    #[inline]
    pub(crate) fn datagrams_came(&self, received: u64) {
        if self.is_shutting_down() {
            self.last_datagram.fetch_max(received, Ordering::Relaxed);
        }
    }

    /// For how long no datagram has come since the process is on its way out.
    pub(crate) fn quiet_for(&self) -> Duration {
        let last = self.last_datagram.load(Ordering::Relaxed);
        Duration::from_nanos(clock::now().saturating_sub(last))
    }
}

/// What a worker is to do, as a task of its own. It gets the worker's number.
pub(crate) type Job = Box<dyn FnOnce(u16) -> Pin<Box<dyn Future<Output = ()>>> + Send>;

/// What a worker is told.
pub(crate) enum Command {
    /// Give a sign of life.
    Alive(oneshot::Sender<()>),
    /// Serve these sockets as the listener of this number.
    Open {
        listener: usize,
        sockets: Vec<(Transport, ListenSocket)>,
    },
    /// Serve this queue of an interface.
    Tap(Box<Opening>),
    /// Answer what is queued at an interface, then let its queues go; `done` as with [`Command::Close`].
    Untap {
        interface: u32,
        done: mpsc::Sender<()>,
    },
    /// Frames are for these listeners from now on; `taken` is told when that holds.
    Destinations {
        all: Arc<Destinations>,
        taken: std::sync::mpsc::Sender<()>,
    },
    /// Do something that is no query from a listener: what `explain` walks.
    Run(Job),
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
    pub(crate) admission: Admission,
    /// What stream connections read into, one at a time.
    pub(crate) scratch: RefCell<Box<[u8]>>,
    /// The turns of those who serve streams.
    pub(crate) turns: Turns,
    /// Its UDP sockets by the numbers of their listeners, for frames that come without one.
    pub(crate) homes: RefCell<Vec<Option<Rc<Home>>>>,
    /// Which listener a frame is for.
    pub(crate) destinations: RefCell<Arc<Destinations>>,
}

impl Worker {
    fn new(index: u16, shared: Arc<Shared>, limits: Limits) -> Rc<Self> {
        Rc::new(Self {
            index,
            shared,
            datagrams: RefCell::default(),
            streams: RefCell::default(),
            admission: Admission::new(limits),
            scratch: RefCell::new(vec![0; SCRATCH].into()),
            turns: Turns::default(),
            homes: RefCell::default(),
            destinations: RefCell::default(),
        })
    }

    /// A UDP socket of a listener begins to be served.
    pub(crate) fn enter(&self, home: Rc<Home>) {
        let mut homes = self.homes.borrow_mut();
        let number = home.listener.number;
        if homes.len() <= number {
            homes.resize(number + 1, None);
        }
        homes[number] = Some(home);
    }

    /// An exchange for a datagram.
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

    /// Takes an exchange back for reuse.
    pub(crate) fn recycle(&self, exchange: Box<Exchange>) {
        let (pool, most) = match exchange.context.transport.is_datagram() {
            true => (&self.datagrams, POOLED),
            false => (&self.streams, POOLED / 8),
        };
        let mut pool = pool.borrow_mut();
        if pool.len() < most {
            pool.push(exchange);
        }
    }

    /// Takes a suspended exchange to its end, as a task of this worker; `then` gets it finished, or still suspended at the
    /// plugin that has many messages, or nothing when nobody answers.
    pub(crate) fn suspend(
        self: &Rc<Self>,
        exchange: Box<Exchange>,
        at: (&Arc<Block>, usize),
        then: impl FnOnce(Option<Box<Exchange>>) + 'static,
    ) {
        let rescue = Rescue::of(&exchange, at);
        let mut exchange = exchange;
        if !rescue.is_datagram() {
            // A stream's buffer is for the longest response that there can be.
            exchange.shrink();
        }
        let walk = chain::resume(exchange, at.0.clone(), at.1);
        self.finish_later(walk, rescue, then);
    }

    /// Finishes what comes out of `walk`, as a task of this worker.
    pub(crate) fn finish_later(
        self: &Rc<Self>,
        walk: impl Future<Output = (Box<Exchange>, Ending)> + 'static,
        rescue: Rescue,
        then: impl FnOnce(Option<Box<Exchange>>) + 'static,
    ) {
        let evicted = Rc::new(Notify::new());
        let deadline = rescue.deadline();
        let waiter = Waiter::Task(evicted.clone());
        let waiting = Waiting {
            ticket: self.admission.wait(rescue.client(), waiter),
            worker: self.clone(),
        };
        tokio::task::spawn_local(async move {
            let worker = &waiting.worker;
            let walked = {
                let mut walk = pin!(guarded(walk));
                tokio::select! {
                    biased;
                    walked = &mut walk => Ok(walked),
                    () = evicted.notified() => Err(too_many as fn() -> Failure),
                    () = pass(deadline) => Err(too_late as fn() -> Failure),
                }
            };
            let ended = match walked {
                Ok(Ok((mut exchange, Ending::Respond))) => {
                    finish(&mut exchange);
                    Some(exchange)
                }
                Ok(Ok((exchange, Ending::Stream))) => Some(exchange),
                Ok(Ok((exchange, Ending::Silent))) => {
                    worker.recycle(exchange);
                    None
                }
                Ok(Err(panic)) => worker.rescue(rescue, |exchange, block, step| {
                    panicked(block, step, &*panic);
                    abandon(exchange, block, step, a_panic);
                }),
                Err(why) => worker.rescue(rescue, |exchange, block, step| {
                    abandon(exchange, block, step, why);
                }),
            };
            then(ended);
            drop(waiting);
        });
    }

    /// Answers a query whose exchange is lost.
    #[cold]
    fn rescue(
        &self,
        rescue: Rescue,
        answer: impl FnOnce(&mut Exchange, &Arc<Block>, usize),
    ) -> Option<Box<Exchange>> {
        let fresh = match rescue.is_datagram() {
            true => self.datagram(),
            false => self.stream(),
        };
        let (mut exchange, (block, step)) = rescue.restore(fresh)?;
        answer(&mut exchange, &block, step);
        finish(&mut exchange);
        Some(exchange)
    }
}

/// A query that waits in a task, counted.
struct Waiting {
    ticket: Ticket,
    worker: Rc<Worker>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.worker.admission.waited(self.ticket);
    }
}

/// Waits until a deadline has passed; without one, for ever.
async fn pass(deadline: Option<u64>) {
    match deadline {
        Some(at) => {
            let left = Duration::from_nanos(at.saturating_sub(clock::now()));
            // Boxed, so that a query without a deadline does not carry a timer.
            Box::pin(tokio::time::sleep(left)).await;
        }
        None => std::future::pending().await,
    }
}

/// Runs a future to its end or its panic.
pub(crate) async fn guarded<F: Future>(future: F) -> Result<F::Output, Box<dyn Any + Send>> {
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
pub(crate) struct Listener {
    /// Its number.
    pub(crate) number: usize,
    /// The table to answer the rest by, once it closes.
    closing: RefCell<Option<(Arc<Table>, mpsc::Sender<()>)>>,
    /// Woken when it closes.
    pub(crate) closed: Notify,
    /// Woken when responses wait to leave, and when it closes.
    pub(crate) wakeup: Wakeup,
    /// The places for connections, where they are bounded.
    pub(crate) places: Rc<Places>,
}

impl Listener {
    fn new(number: usize) -> Rc<Self> {
        Rc::new(Self {
            number,
            closing: RefCell::default(),
            closed: Notify::new(),
            wakeup: Wakeup::default(),
            places: Rc::default(),
        })
    }

    /// The table to answer by; waits for that of a listener that is just closing.
    pub(crate) async fn table(&self, shared: &Shared) -> Arc<Table> {
        loop {
            let pinned = shared.snapshot.load().table(self.number).cloned();
            match pinned.or_else(|| self.last_table()) {
                Some(table) => return table,
                None => self.closed.notified().await,
            }
        }
    }

    /// The table that closing left, if it closes.
    pub(crate) fn last_table(&self) -> Option<Arc<Table>> {
        self.closing
            .borrow()
            .as_ref()
            .map(|(table, _)| table.clone())
    }
}

/// Wakes one task of its own thread, without a lock; a call that finds nobody waiting holds for the next wait.
#[derive(Default)]
pub(crate) struct Wakeup {
    called: Cell<bool>,
    /// Whether the task waits, so that it has to be woken.
    pub(crate) asleep: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Wakeup {
    /// Wakes the task.
    pub(crate) fn wake(&self) {
        self.called.set(true);
        if self.asleep.take()
            && let Some(waker) = &*self.waker.borrow()
        {
            waker.wake_by_ref();
        }
    }

    /// Whether it was called since it was looked at last.
    pub(crate) fn poll(&self, context: &mut task::Context<'_>) -> Poll<()> {
        if self.called.take() {
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

/// Starts a worker on a thread of its own; it ends when the sender of its commands is dropped.
pub(crate) fn start(
    index: u16,
    shared: Arc<Shared>,
    limits: Limits,
) -> io::Result<(mpsc::UnboundedSender<Command>, std::thread::JoinHandle<()>)> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (commands, receiver) = mpsc::unbounded_channel();
    let thread = std::thread::Builder::new()
        .name(format!("worker-{index}"))
        .spawn(move || {
            let local = LocalSet::new();
            let worker = Worker::new(index, shared, limits);
            local.spawn_local(Turns::begin_rounds(worker.clone()));
            runtime.block_on(local.run_until(obey(worker, receiver)));
        })?;
    Ok((commands, thread))
}

async fn obey(worker: Rc<Worker>, mut commands: mpsc::UnboundedReceiver<Command>) {
    let mut listeners: Vec<Rc<Listener>> = Vec::new();
    let mut taps: Vec<Rc<Tap>> = Vec::new();
    while let Some(command) = commands.recv().await {
        match command {
            Command::Open {
                listener: number,
                sockets,
            } => {
                for (transport, socket) in sockets {
                    let listener = Listener::new(number);
                    listeners.push(listener.clone());
                    listener::spawn(worker.clone(), listener, transport, socket);
                }
            }
            Command::Tap(opening) => taps.push(frames::spawn(&worker, *opening)),
            Command::Untap { interface, done } => taps.retain(|tap| {
                if tap.interface == interface {
                    tap.close(done.clone());
                }
                tap.interface != interface
            }),
            Command::Destinations { all, taken } => {
                *worker.destinations.borrow_mut() = all;
                let _ = taken.send(());
            }
            Command::Run(job) => {
                tokio::task::spawn_local(job(worker.index));
            }
            Command::Close {
                listener: number,
                table,
                done,
            } => {
                listeners.retain(|listener| {
                    if listener.number == number {
                        *listener.closing.borrow_mut() = Some((table.clone(), done.clone()));
                        listener.closed.notify_waiters();
                        listener.closed.notify_one();
                        listener.wakeup.wake();
                    }
                    listener.number != number
                });
                if let Some(home) = worker.homes.borrow_mut().get_mut(number) {
                    *home = None;
                }
            }
            Command::Alive(alive) => {
                let _ = alive.send(());
            }
        }
    }
}

/// The address of an IPv4 peer on a socket of both families as IPv4.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    let ip: IpAddr = address.ip().to_canonical();
    SocketAddr::new(ip, address.port())
}
