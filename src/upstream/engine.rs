//! The engine of a worker: it does what transactions say, and tells them what has happened.
//!
//! One engine serves all directives of a worker. It lives on one thread and locks nothing; it has one table of outstanding queries, one
//! timer wheel, and one pool of sockets and connections for each endpoint. No query costs a timer, a channel or an allocation here as
//! long as the first datagram is answered: places in the table and slots of the wheel are used again.
//!
//! A datagram is received into one scratch buffer and copied once: whose reply it is stands in the datagram, so no buffer of an
//! exchange can be chosen before it is read; a peek would cost a system call, the copy costs some ten nanoseconds.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use chain::{Cancel, Completion, Exchange, Failure, Flow, Flush};
use host::{clock, random};
use rand::RngExt;
use tokio::sync::Notify;

use crate::coalesce::Hints;
use crate::datagram::Socket;
use crate::endpoint::Endpoint;
use crate::error::{Error, Reason};
use crate::failures;
use crate::outstanding::{Attempt, Outlet, Outstanding, Table, Via};
use crate::policy::{Keep, Policy};
use crate::pool::{Budget, Pool};
use crate::remarks;
use crate::rtt::{Resend, RttEstimate};
use crate::send_queue::{self, SendQueue};
use crate::transaction::{Event, Servers, Status, Step, Transport};
use crate::wheel::{TICK, Wheel};

/// Queries that may be outstanding on one worker: more than its listeners let wait, since the server asks itself, too.
pub const MOST: usize = 8_192;
/// How often idle sockets are looked for, in nanoseconds.
const SWEEP: u64 = clock::SECOND;
/// How long a server is remembered to which nothing is open, in nanoseconds.
const REMEMBERED: u64 = 60 * clock::SECOND;
/// How often a datagram is tried that finds no room in the socket's buffer.
const TRIES: u8 = 4;

thread_local! {
    static ENGINE: RefCell<Option<Rc<Engine>>> = const { RefCell::new(None) };
}

/// The engine of a worker.
pub(crate) struct Engine {
    /// The descriptors that it may use.
    pub(crate) budget: Rc<Budget>,
    /// Where datagrams are received.
    pub(crate) scratch: RefCell<Box<[u8]>>,
    /// A pool for each endpoint, by its number.
    pub(crate) pools: RefCell<Vec<Option<Rc<Pool>>>>,
    pub(crate) table: RefCell<Table>,
    wheel: RefCell<Wheel>,
    /// What leaves at the end of the batch.
    queue: RefCell<SendQueue>,
    /// Where to look for a query that asks the same.
    pub(crate) hints: RefCell<Hints>,
    running: Cell<bool>,
    dozing: Cell<bool>,
    rouse: Notify,
}

/// How a query ends.
pub(crate) enum End<'a> {
    /// With a reply: its octets, for those who wait for the same.
    Reply(Flow, &'a [u8]),
    /// With what the client is told when nobody answers.
    Failed(Failure),
    /// Before its time.
    Cancelled(Failure),
}

/// Asks for the query in `place`, without a task: `completion` gets it back.
#[inline]
pub fn launch(policy: Arc<dyn Policy>, place: &mut Option<Box<Exchange>>, completion: Completion) {
    let engine = Engine::current();
    if let Err(failure) = engine.admit(&*policy) {
        if let Some(exchange) = place.take() {
            completion.complete(exchange, Err(failure));
        }
        return;
    }
    if let Some(exchange) = place.take() {
        engine.begin(policy, exchange, Outlet::Completion(completion));
    }
}

/// Has the query of this handle completed with `failure`; `false` when it has ended already.
fn cancel(handle: u64, failure: Failure) -> bool {
    let number = (handle as u32, (handle >> 32) as u32);
    Engine::current().cancel(number, failure)
}

impl Engine {
    /// The engine of this worker.
    #[inline]
    pub(crate) fn current() -> Rc<Self> {
        ENGINE.with_borrow_mut(|engine| engine.get_or_insert_with(Self::new).clone())
    }

    fn new() -> Rc<Self> {
        Rc::new(Self {
            budget: Budget::new(),
            scratch: RefCell::new(vec![0; 65_535].into()),
            pools: RefCell::default(),
            table: RefCell::default(),
            wheel: RefCell::new(Wheel::new()),
            queue: RefCell::default(),
            hints: RefCell::default(),
            running: Cell::new(false),
            dozing: Cell::new(false),
            rouse: Notify::new(),
        })
    }

    /// Whether one more query is taken.
    #[inline]
    pub(crate) fn admit(&self, policy: &dyn Policy) -> Result<(), Failure> {
        if self.table.borrow().len() >= MOST {
            return Err(policy.full());
        }
        policy.admit()
    }

    /// Begins to ask; gives the query's number and generation.
    #[inline]
    pub(crate) fn begin(
        self: &Rc<Self>,
        policy: Arc<dyn Policy>,
        exchange: Box<Exchange>,
        outlet: Outlet,
    ) -> (u32, u32) {
        let now = clock::now();
        let query = Outstanding::new(policy, exchange, outlet, now);
        let mut table = self.table.borrow_mut();
        let leader = self.hints.borrow().find(&table, &query);
        let hash = query.hash;
        let number = table.insert(query);
        if let Some(Outstanding {
            outlet: Outlet::Completion(completion),
            ..
        }) = table.get(number.0)
        {
            let handle = u64::from(number.1) << 32 | u64::from(number.0);
            completion.cancel_by(Cancel::new(handle, cancel));
        }
        if let Some(leader) = leader {
            table.follow(number, leader);
            return number;
        }
        self.hints.borrow_mut().put(hash, number);
        drop(table);
        self.advance_in(number.0, Event::Start, true, now);
        number
    }

    /// Tells a query's transaction what has happened, and does what it says.
    pub(crate) fn advance(self: &Rc<Self>, number: u32, event: Event, now: u64) {
        self.advance_in(number, event, false, now);
    }

    /// The same for a query that has just come, which may leave with the others of its batch.
    #[inline]
    fn advance_in(self: &Rc<Self>, number: u32, event: Event, batched: bool, now: u64) {
        let mut event = event;
        let mut table = self.table.borrow_mut();
        let generation = table.generation(number);
        let Some(query) = table.get_mut(number) else {
            return;
        };
        loop {
            remarks::happened(&event, query.exchange.as_deref(), &*query.policy);
            let outstanding = query.attempts();
            let servers = View {
                engine: self,
                policy: &*query.policy,
                outstanding,
            };
            let until = match query.transaction.next(event, &servers, now) {
                Step::Send {
                    server,
                    transport,
                    fresh,
                    until,
                } => {
                    let target = Target {
                        server,
                        transport,
                        fresh,
                    };
                    match self.send(query, number, &target, now) {
                        Ok(()) => {}
                        Err(error) => {
                            event = Event::Failed {
                                server,
                                transport,
                                error,
                                reused: false,
                            };
                            continue;
                        }
                    }
                    if batched && self.queue(query, (number, generation)) {
                        until
                    } else if let Some(error) = self.send_now(query) {
                        // What the network says of a socket is said once, and holds for all that was sent by it.
                        let Some(attempt) = &query.attempt else {
                            return;
                        };
                        let via = attempt.via.clone();
                        self.arm(query, (number, generation), until);
                        drop(table);
                        return self.fail(via.ids(), &error);
                    } else if query.unsent > 0 {
                        now + TICK
                    } else {
                        until
                    }
                }
                Step::Resend { until } => {
                    // A failure to send shows as silence.
                    let _ = query.send();
                    until
                }
                Step::Wait { until } => until,
                Step::Answer => {
                    drop(table);
                    return self.end(number, End::Reply(Flow::Answered, &[]), now);
                }
                Step::Fail => {
                    let transaction = &query.transaction;
                    let failure = query
                        .policy
                        .failure(transaction.last(), transaction.attempts());
                    drop(table);
                    return self.end(number, End::Failed(failure), now);
                }
            };
            self.arm(query, (number, generation), until);
            return;
        }
    }

    /// Takes a socket or connection and an ID for a query.
    #[inline]
    fn send(
        self: &Rc<Self>,
        query: &mut Outstanding,
        number: u32,
        target: &Target,
        now: u64,
    ) -> Result<(), Error> {
        let keep = query.policy.settings().keep;
        let endpoint = query.policy.endpoint(target.server);
        if endpoint.lacks_edns(now) && query.has_edns() {
            query.drop_edns();
        }
        let pool = self.pool(query.policy.endpoint(target.server), &keep);
        let (via, reused) = match target.transport {
            Transport::Udp => {
                let (socket, reused) = pool.socket(self, &keep, now)?;
                (Via::Socket(socket), reused)
            }
            Transport::Tcp
            | Transport::Tls
            | Transport::Https
            | Transport::Quic
            | Transport::Grpc => {
                let (connection, reused) = pool.connection(self, &keep, target.fresh, now)?;
                (Via::Connection(connection), reused)
            }
        };
        let worker = query
            .exchange
            .as_ref()
            .map_or(0, |exchange| exchange.context.worker);
        query
            .policy
            .taken(target.server, target.transport, reused, worker.into());
        let id = via.ids().take(number).ok_or(Error::full())?;
        let edns = query.has_edns();
        query.push(Attempt {
            via,
            id,
            server: target.server as u8,
            edns,
            reused,
            began: now,
        });
        Ok(())
    }

    /// Has a query leave with the others of its batch, if it came in one and is sent as it came.
    #[inline]
    fn queue(self: &Rc<Self>, query: &Outstanding, number: (u32, u32)) -> bool {
        let (Outlet::Completion(completion), None) = (&query.outlet, &query.composed) else {
            return false;
        };
        if !matches!(
            query.attempt,
            Some(Attempt {
                via: Via::Socket(_),
                ..
            })
        ) {
            return false;
        }
        let mut queue = self.queue.borrow_mut();
        if !queue.told {
            queue.told = completion.flush_later(self.clone());
        }
        if queue.told {
            queue.queued.push(number);
        }
        queue.told
    }

    /// Sends a query; gives the error that the socket or connection had. One without room is tried again after a tick.
    fn send_now(&self, query: &mut Outstanding) -> Option<Error> {
        match query.send() {
            Ok(()) => {
                query.unsent = 0;
                None
            }
            Err(error) if error.reason == Reason::Io(io::ErrorKind::WouldBlock) => {
                query.unsent += 1;
                (query.unsent > TRIES).then_some(error)
            }
            Err(error) => Some(error),
        }
    }

    /// Has a query's timer go off at `until`.
    #[inline]
    fn arm(self: &Rc<Self>, query: &mut Outstanding, (number, generation): (u32, u32), until: u64) {
        query.due = until;
        if !self.running.get() {
            self.wheel.borrow_mut().restart();
        }
        self.wheel.borrow_mut().insert(until, number, generation);
        self.turn();
    }

    /// The pool of an endpoint.
    #[inline]
    fn pool(&self, endpoint: &Arc<Endpoint>, keep: &Keep) -> Rc<Pool> {
        if let Some(Some(pool)) = self.pools.borrow().get(endpoint.number()) {
            return pool.clone();
        }
        let mut pools = self.pools.borrow_mut();
        if pools.len() <= endpoint.number() {
            pools.resize_with(endpoint.number() + 1, || None);
        }
        let pool = Rc::new(Pool::new(endpoint, *keep));
        pools[endpoint.number()] = Some(pool.clone());
        pool
    }

    /// How many pools have something open.
    pub(crate) fn open_pools(&self) -> usize {
        let pools = self.pools.borrow();
        pools
            .iter()
            .flatten()
            .filter(|pool| pool.open() > 0)
            .count()
    }

    /// Closes what has been idle for longest; `false` when everything is in use.
    pub(crate) fn free_one(self: &Rc<Self>) -> bool {
        let idle = {
            let pools = self.pools.borrow();
            let idle = pools
                .iter()
                .flatten()
                .filter_map(|pool| Some((pool.idle_since()?, pool.clone())));
            idle.min_by_key(|(since, _)| *since)
        };
        match idle {
            Some((since, pool)) => {
                pool.close_idle(self, since);
                true
            }
            None => false,
        }
    }

    /// Ends a query, and those that wait for the same.
    pub(crate) fn end(self: &Rc<Self>, number: u32, end: End<'_>, now: u64) {
        let Some(mut query) = self.table.borrow_mut().remove(number) else {
            return;
        };
        query.release(number);
        let Some(mut exchange) = query.exchange.take() else {
            return;
        };
        let followers = std::mem::take(&mut query.followers);
        let servers = query.policy.settings().servers;
        let result = match &end {
            End::Reply(flow, _) => {
                if servers != 0
                    && failures::any()
                    && let Some(query) = exchange.suspended_query()
                {
                    failures::forget(servers, &query);
                }
                Ok(*flow)
            }
            End::Failed(failure) => {
                if servers != 0
                    && query.transaction.last().is_some()
                    && let Some(asked) = exchange.suspended_query()
                {
                    let recovered = query.policy.recovered();
                    failures::remember(servers, &asked, failure, recovered, now);
                }
                Err(failure.clone())
            }
            End::Cancelled(failure) => Err(failure.clone()),
        };
        query.policy.ended();
        match query.outlet {
            Outlet::Completion(completion) => completion.complete(exchange, result),
            Outlet::Task(waiting) => waiting.end((exchange, result)),
        }
        if !followers.is_empty() {
            self.release_followers(followers, end, now);
        }
    }

    /// Ends a query before its time.
    pub(crate) fn cancel(self: &Rc<Self>, number: (u32, u32), failure: Failure) -> bool {
        let there = self.table.borrow_mut().exactly(number).is_some();
        if there {
            self.end(number.0, End::Cancelled(failure), clock::now());
        }
        there
    }

    /// The time of a query has come.
    #[cold]
    fn timer(self: &Rc<Self>, number: (u32, u32), now: u64) {
        let mut table = self.table.borrow_mut();
        let Some(query) = table.exactly(number).filter(|query| query.due <= now) else {
            return;
        };
        if query.leader.is_some() {
            return;
        }
        if query.unsent > 0 {
            let until = query.transaction.due();
            let error = self.send_now(query);
            let until = if query.unsent > 0 { now + TICK } else { until };
            self.arm(query, number, until);
            if let (Some(error), Some(attempt)) = (error, &query.attempt) {
                let via = attempt.via.clone();
                drop(table);
                self.fail(via.ids(), &error);
            }
            return;
        }
        let mut error = match query.malformed {
            true => Error::malformed(),
            false => Error::timeout("read"),
        };
        if let Some(Attempt {
            via: Via::Connection(connection),
            ..
        }) = &query.attempt
        {
            connection.retire();
            if !connection.is_connected() {
                error.call = "dial";
            }
        }
        drop(table);
        self.advance(number.0, Event::Timer { error }, now);
    }

    /// Gives the queries whose time has come their timers.
    fn expire(self: &Rc<Self>, now: u64) {
        self.look_once_more(now);
        let mut late = Vec::new();
        {
            let mut table = self.table.borrow_mut();
            self.wheel.borrow_mut().advance(now, |number, generation| {
                if table.exactly((number, generation)).is_some() {
                    late.push((number, generation));
                }
            });
        }
        for number in late {
            self.timer(number, now);
        }
    }

    /// Takes in what has come for queries whose time is up: a worker that was off its core has not seen it yet.
    fn look_once_more(self: &Rc<Self>, now: u64) {
        let mut sockets: Vec<Rc<Socket>> = Vec::new();
        {
            let table = self.table.borrow();
            self.wheel.borrow().due(now, |number, generation| {
                if table.generation(number) == generation
                    && let Some(query) = table.get(number)
                    && let Some(attempt) = &query.attempt
                    && let Via::Socket(socket) = &attempt.via
                    && !sockets.iter().any(|other| Rc::ptr_eq(other, socket))
                {
                    sockets.push(socket.clone());
                }
            });
        }
        for socket in sockets {
            socket.take_in(self);
        }
    }

    /// Starts the wheel when it stands still.
    #[inline]
    fn turn(self: &Rc<Self>) {
        if !self.running.replace(true) {
            tokio::task::spawn_local(run(Tenure(self.clone())));
        } else if self.dozing.get() {
            self.rouse.notify_one();
        }
    }

    /// Closes what has been idle for long; `false` when nothing is open any more.
    fn sweep(self: &Rc<Self>, now: u64) -> bool {
        let mut open = false;
        let pools: Vec<_> = self.pools.borrow().iter().flatten().cloned().collect();
        for pool in pools {
            open |= pool.sweep(self, now);
            if pool.closed_for(now) > REMEMBERED {
                self.pools.borrow_mut()[pool.peer.endpoint.number()] = None;
            }
        }
        open
    }

    /// How many sockets and connections are open.
    pub(crate) fn open(&self) -> usize {
        self.pools
            .borrow()
            .iter()
            .flatten()
            .map(|pool| pool.open())
            .sum()
    }
}

/// How many sockets and connections to servers this worker has open.
pub fn open() -> usize {
    Engine::current().open()
}

/// Whom to send to.
struct Target {
    server: usize,
    transport: Transport,
    fresh: bool,
}

/// The servers of one query as its transaction sees them.
struct View<'a> {
    engine: &'a Engine,
    policy: &'a dyn Policy,
    outstanding: usize,
}

impl View<'_> {
    #[inline]
    fn with_rtt<T>(&self, server: usize, change: impl FnOnce(&mut RttEstimate) -> T) -> T {
        let keep = &self.policy.settings().keep;
        let pool = self.engine.pool(self.policy.endpoint(server), keep);
        pool.peer.with_rtt(change)
    }
}

impl Servers for View<'_> {
    #[inline]
    fn status(&self, server: usize) -> Status {
        self.policy.status(server)
    }

    #[inline]
    fn transport(&self, server: usize, asked: Transport) -> Transport {
        self.policy.endpoint(server).transport(asked)
    }

    #[inline]
    fn overdue(&self, server: usize) -> u64 {
        self.with_rtt(server, RttEstimate::sent)
    }

    fn may_resend(&self, server: usize, now: u64) -> Resend {
        self.with_rtt(server, |rtt| rtt.resend(now))
    }

    fn outstanding(&self) -> usize {
        self.outstanding
    }

    fn suspect(&self, server: usize) {
        self.policy.suspect(server);
    }

    fn all_down(&self, count: usize) -> Option<usize> {
        self.policy
            .all_down()
            .then(|| random::rng().random_range(0..count))
    }
}

impl Flush for Engine {
    /// Sends what the batch has left.
    fn flush(self: Rc<Self>) {
        let mut queue = self.queue.take();
        // Neither allocates before there is trouble.
        let mut failed: Vec<(Rc<Socket>, Error)> = Vec::new();
        let mut table = self.table.borrow_mut();
        for number in queue.queued.drain(..) {
            if let Some(query) = table.exactly(number)
                && let Some(datagram) = query.patch(number.0)
            {
                queue.datagrams.push(datagram);
            }
        }
        let now = clock::now();
        send_queue::each_lot(&mut queue.datagrams, |lot| {
            let sent = send_queue::send(lot, |number| {
                let query = table.get(number)?;
                match &query.attempt.as_ref()?.via {
                    Via::Socket(socket) => Some((&**socket, query.octets())),
                    Via::Connection(_) => None,
                }
            });
            for datagram in lot {
                let number = (datagram.number, table.generation(datagram.number));
                let Some(query) = table.get_mut(datagram.number) else {
                    continue;
                };
                query.restore(datagram);
                let Err(error) = &sent else {
                    continue;
                };
                if error.kind() == io::ErrorKind::WouldBlock {
                    query.unsent = 1;
                    self.arm(query, number, now + TICK);
                } else if let Some(Via::Socket(socket)) =
                    query.attempt.as_ref().map(|attempt| &attempt.via)
                {
                    failed.push((socket.clone(), Error::sent(error)));
                }
            }
        });
        drop(table);
        queue.datagrams.clear();
        queue.told = false;
        self.queue.replace(queue);
        for (socket, error) in failed {
            self.fail(&socket.ids, &error);
        }
    }
}

/// Whoever holds this turns the wheel of an engine. An engine whose runtime has ended is given up with it.
struct Tenure(Rc<Engine>);

impl Drop for Tenure {
    fn drop(&mut self) {
        if self.0.running.get() {
            // The runtime has gone, and with it whatever watched the sockets.
            let _ = ENGINE.try_with(|engine| {
                if let Ok(mut engine) = engine.try_borrow_mut()
                    && engine.as_ref().is_some_and(|one| Rc::ptr_eq(one, &self.0))
                {
                    *engine = None;
                }
            });
        }
    }
}

/// Turns the wheel while a query is outstanding, and sweeps while a socket is open.
async fn run(tenure: Tenure) {
    let engine = &tenure.0;
    let mut swept = clock::now();
    loop {
        let idle = engine.table.borrow().len() == 0;
        if idle {
            engine.dozing.set(true);
            let nap = tokio::time::sleep(Duration::from_nanos(SWEEP));
            tokio::select! {
                () = nap => {}
                () = engine.rouse.notified() => {}
            }
            engine.dozing.set(false);
        } else {
            tokio::time::sleep(Duration::from_nanos(TICK)).await;
        }
        let now = clock::now();
        engine.expire(now);
        if now - swept < SWEEP {
            continue;
        }
        swept = now;
        if !engine.sweep(now) && engine.table.borrow().len() == 0 {
            break;
        }
    }
    engine.running.set(false);
}
