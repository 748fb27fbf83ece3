//! What a worker keeps for one `forward`: sockets, and the queries that wait for their replies.
//!
//! ```text
//! resolve ──► pick a lane (socket), an ID ──► send ──► seat in the table: the exchange sits there ──► Pending
//!                                                          ▲
//! reader of the lane: recv ──► ID ──► seat ──► question matches? copy into the exchange's reply buffer, wake ──► resolve goes on
//! wheel (one task a worker): every 20 ms ──► seats whose time is up ──► wake
//! ```
//!
//! A datagram is received into one scratch buffer and copied once: whose reply it is stands in the datagram, so no buffer of an
//! exchange can be chosen before it is read; a peek would cost a system call, the copy costs some ten nanoseconds.
//!
//! Everything is single-threaded and bounded: [`MOST`] seats a worker, one seat an ID, and a wheel of fixed size. No query costs a
//! timer, a channel or an allocation here; seats and wheel slots are used again.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use chain::{Berth, Departure, Exchange, clock};
use tokio::sync::Notify;
use wire::Flags;

use super::Forward;
use super::direct::Direct;
use super::ids::Ids;
use super::pulse::Pulse;
use super::reply;
use super::run::{set_authenticated, set_flags, set_id};
use super::stream::StreamLane;
use super::trouble::{Trouble, What};
use super::udp::{Draw, UdpLane};
use super::upstream::{Upstream, answers};
use super::volley::{Shot, Volley, each};
use super::wheel::{TICK, Wheel};

/// Queries of one `forward` that may wait on one worker.
pub(super) const MOST: usize = 8_192;
/// How often idle sockets are looked for, in nanoseconds.
const SWEEP: u64 = clock::SECOND;

thread_local! {
    /// The `forward`s that this worker has met, by their number.
    static LOCALS: RefCell<Vec<(u64, Rc<Local>)>> = const { RefCell::new(Vec::new()) };
}

/// A worker's part of one `forward`.
pub(super) struct Local {
    owner: Weak<Forward>,
    /// Which counters to count on, of those that workers have apart.
    pub(super) stripe: usize,
    /// One pool of sockets an upstream, in their order.
    pub(super) pools: Box<[Pool]>,
    seats: RefCell<Seats>,
    wheel: RefCell<Wheel>,
    /// What leaves at the end of the batch.
    volley: RefCell<Volley>,
    /// Where datagrams are received.
    pub(super) scratch: RefCell<Box<[u8]>>,
    running: Cell<bool>,
    dozing: Cell<bool>,
    rouse: Notify,
}

/// A worker's sockets to one upstream.
pub(super) struct Pool {
    /// Where they lead.
    pub(super) upstream: Arc<Upstream>,
    /// Datagram sockets in use; which one a query takes is random.
    pub(super) lanes: RefCell<Vec<Option<Rc<UdpLane>>>>,
    /// Which of them serves now.
    pub(super) draw: Cell<Draw>,
    /// How long replies take.
    pulse: Cell<Pulse>,
    /// Stream connections.
    pub(super) streams: RefCell<Vec<Rc<StreamLane>>>,
}

impl Pool {
    /// Changes what is known of how long replies take.
    #[inline]
    pub(super) fn beat<T>(&self, change: impl FnOnce(&mut Pulse) -> T) -> T {
        let mut pulse = self.pulse.get();
        let out = change(&mut pulse);
        self.pulse.set(pulse);
        out
    }
}

impl Local {
    /// This worker's part of `forward`.
    pub(super) fn of(forward: &Arc<Forward>) -> Rc<Self> {
        LOCALS.with_borrow_mut(|locals| {
            if let Some((_, local)) = locals.iter().find(|(id, _)| *id == forward.id) {
                return local.clone();
            }
            locals.retain(|(_, local)| !local.close_if_orphan());
            let local = Rc::new(Self::new(forward));
            locals.push((forward.id, local.clone()));
            local
        })
    }

    fn new(forward: &Arc<Forward>) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        Self {
            owner: Arc::downgrade(forward),
            stripe: NUMBER.fetch_add(1, Ordering::Relaxed),
            pools: forward
                .upstreams
                .iter()
                .map(|upstream| Pool {
                    upstream: upstream.clone(),
                    lanes: RefCell::default(),
                    draw: Cell::default(),
                    pulse: Cell::default(),
                    streams: RefCell::default(),
                })
                .collect(),
            seats: RefCell::default(),
            wheel: RefCell::new(Wheel::new()),
            volley: RefCell::default(),
            scratch: RefCell::new(vec![0; 65_535].into()),
            running: Cell::new(false),
            dozing: Cell::new(false),
            rouse: Notify::new(),
        }
    }

    /// Whether no further query may wait.
    pub(super) fn is_full(&self) -> bool {
        self.seats.borrow().taken >= MOST
    }

    /// Closes everything when the plugin has been retired.
    fn close_if_orphan(&self) -> bool {
        let orphan = self.owner.strong_count() == 0;
        if orphan {
            for pool in &self.pools {
                for lane in pool.lanes.borrow_mut().drain(..).flatten() {
                    lane.close();
                }
                for stream in pool.streams.borrow_mut().drain(..) {
                    stream.close(
                        Trouble {
                            op: "read",
                            what: What::Closed,
                        },
                        self,
                    );
                }
            }
        }
        orphan
    }

    /// Gives a reply to the seat that waits for it under its ID; a reply that answers something else changes nothing, and the wait
    /// goes on (RFC 5452, section 9.1). With `patient` so does one that cannot be read (CVE-2023-28452).
    pub(super) fn deliver(&self, ids: &Ids, octets: &[u8], patient: bool, now: u64) {
        let Some(id) = wire::read_u16(octets, 0) else {
            return;
        };
        let Some(number) = ids.seat(id) else {
            return;
        };
        let mut seats = self.seats.borrow_mut();
        let Some(seat) = seats.all.get_mut(number as usize) else {
            return;
        };
        if !matches!(seat.arrived, Arrived::Nothing) || !seat.accept(octets, patient) {
            return;
        }
        ids.release(id);
        seat.heard = ids.place();
        if let Some((direct, exchange, arrived)) = seat.speak() {
            drop(seats);
            direct.heard(exchange, arrived, now);
        }
    }

    /// Tells every seat of a lane that no reply will come: an error that the network reports on a socket is told once, to whichever
    /// call comes next, and holds for all that was sent.
    pub(super) fn fail(&self, ids: &Ids, trouble: &Trouble) {
        for number in ids.clear() {
            let mut seats = self.seats.borrow_mut();
            if let Some(seat) = seats.all.get_mut(number as usize)
                && matches!(seat.arrived, Arrived::Nothing)
            {
                seat.arrived = Arrived::Trouble(trouble.clone());
                seat.heard = ids.place();
                if let Some((direct, exchange, arrived)) = seat.speak() {
                    drop(seats);
                    direct.heard(exchange, arrived, clock::now());
                }
            }
        }
    }

    /// Seats an exchange until a reply comes or the time is up.
    pub(super) fn sit(
        self: &Rc<Self>,
        seat: u32,
        exchange: Box<Exchange>,
        order: Order,
        now: u64,
        direct: Option<Direct>,
    ) {
        let deadline = now + order.wait;
        if let Some(place) = self.seats.borrow_mut().all.get_mut(seat as usize) {
            place.exchange = Some(exchange);
            place.composed = order.composed;
            place.exact = order.exact;
            place.rewritten = order.rewritten;
            place.limit = order.limit;
            place.direct = direct;
            let mut wheel = self.wheel.borrow_mut();
            wheel.insert(deadline, seat, place.generation);
        }
        self.turn();
    }

    /// Whether what is sent for the queries of this batch may wait for its end.
    pub(super) fn assemble(self: &Rc<Self>, berth: &Berth) -> bool {
        let mut volley = self.volley.borrow_mut();
        if !volley.aboard {
            volley.aboard = berth.embark(self.clone());
        }
        volley.aboard
    }

    /// Has the query in this seat sent at the end of the batch.
    pub(super) fn join(&self, seat: u32) {
        if let Some(place) = self.seats.borrow().all.get(seat as usize) {
            self.volley
                .borrow_mut()
                .queued
                .push((seat, place.generation));
        }
    }

    /// Starts the wheel when it stands still.
    fn turn(self: &Rc<Self>) {
        if !self.running.replace(true) {
            tokio::task::spawn_local(run(self.clone()));
        } else if self.dozing.get() {
            self.rouse.notify_one();
        }
    }

    /// Wakes the seats whose time is up.
    fn expire(&self, now: u64) {
        self.look_once_more(now);
        let mut late = Vec::new();
        let mut seats = self.seats.borrow_mut();
        self.wheel.borrow_mut().advance(now, |number, generation| {
            if let Some(seat) = seats.all.get_mut(number as usize)
                && seat.generation == generation
                && matches!(seat.arrived, Arrived::Nothing)
            {
                seat.arrived = Arrived::Trouble(match seat.malformed {
                    true => Trouble::malformed(),
                    false => Trouble::timeout("read"),
                });
                late.extend(seat.speak());
            }
        });
        drop(seats);
        for (direct, exchange, arrived) in late {
            direct.heard(exchange, arrived, now);
        }
    }

    /// Takes in what has come for seats whose time is up: a worker that was off its core has not seen it yet.
    fn look_once_more(&self, now: u64) {
        let mut lanes: Vec<Rc<UdpLane>> = Vec::new();
        {
            let seats = self.seats.borrow();
            self.wheel.borrow().due(now, |number, generation| {
                if let Some(seat) = seats.all.get(number as usize)
                    && seat.generation == generation
                    && let Some((lane, _)) = seat.direct.as_ref().and_then(Direct::aim)
                    && !lanes.iter().any(|other| Rc::ptr_eq(other, lane))
                {
                    lanes.push(lane.clone());
                }
            });
        }
        for lane in lanes {
            lane.take_in(self);
        }
    }

    /// Closes what has been idle for long; `false` when nothing is open any more.
    fn sweep(&self, forward: &Forward, now: u64) -> bool {
        let mut open = false;
        for pool in &self.pools {
            for place in pool.lanes.borrow_mut().iter_mut() {
                if place
                    .as_ref()
                    .is_some_and(|lane| lane.is_stale(forward, now))
                    && let Some(lane) = place.take()
                {
                    lane.retire();
                }
                open |= place.is_some();
            }
            let stale: Vec<_> = {
                let mut streams = pool.streams.borrow_mut();
                streams
                    .extract_if(.., |stream| stream.is_stale(forward, now))
                    .collect()
            };
            for stream in stale {
                stream.close(
                    Trouble {
                        op: "read",
                        what: What::Closed,
                    },
                    self,
                );
            }
            open |= !pool.streams.borrow().is_empty();
        }
        open
    }
}

impl Departure for Local {
    /// Sends what the batch has left.
    fn depart(self: Rc<Self>) {
        let mut volley = self.volley.take();
        // Neither allocates before there is trouble.
        let (mut unsent, mut failed) = (Vec::new(), Vec::new());
        let mut seats = self.seats.borrow_mut();
        for (number, generation) in volley.queued.drain(..) {
            if let Some(seat) = seats.all.get_mut(number as usize)
                && seat.generation == generation
                && let Some(shot) = seat.load(number)
            {
                volley.shots.push(shot);
            }
        }
        let all = &mut seats.all;
        each(&mut volley.shots, |shots| {
            let sent = Shot::fire(shots, |number| {
                let seat = all.get(number as usize)?;
                let (lane, _) = seat.direct.as_ref()?.aim()?;
                Some((&**lane, seat.exchange.as_ref()?.message()))
            });
            for shot in shots {
                if let Some(seat) = all.get_mut(shot.seat as usize) {
                    seat.unload(shot);
                    let Err(error) = &sent else {
                        continue;
                    };
                    if error.kind() == io::ErrorKind::WouldBlock {
                        seat.arrived = Arrived::Unsent;
                        unsent.extend(seat.speak());
                    } else if let Some((lane, _)) = seat.direct.as_ref().and_then(Direct::aim) {
                        failed.push((lane.clone(), Trouble::io("write", error)));
                    }
                }
            }
        });
        drop(seats);
        volley.shots.clear();
        volley.aboard = false;
        self.volley.replace(volley);
        for (direct, exchange, arrived) in unsent {
            direct.heard(exchange, arrived, clock::now());
        }
        for (lane, trouble) in failed {
            self.fail(&lane.ids, &trouble);
        }
    }
}

/// Turns the wheel while somebody waits, and sweeps while a socket is open.
async fn run(local: Rc<Local>) {
    let mut swept = clock::now();
    loop {
        let idle = local.seats.borrow().taken == 0;
        if idle {
            local.dozing.set(true);
            let nap = tokio::time::sleep(Duration::from_nanos(SWEEP));
            tokio::select! {
                () = nap => {}
                () = local.rouse.notified() => {}
            }
            local.dozing.set(false);
        } else {
            tokio::time::sleep(Duration::from_nanos(TICK)).await;
        }
        let now = clock::now();
        local.expire(now);
        if now - swept < SWEEP {
            continue;
        }
        swept = now;
        let open = match local.owner.upgrade() {
            Some(forward) => local.sweep(&forward, now),
            None => false,
        };
        if !open && local.seats.borrow().taken == 0 {
            break;
        }
    }
    local.running.set(false);
    if local.close_if_orphan() {
        LOCALS.with_borrow_mut(|locals| locals.retain(|(_, other)| !Rc::ptr_eq(other, &local)));
    }
}

/// What came for a seat.
#[derive(Debug)]
pub(super) enum Arrived {
    /// Nothing yet.
    Nothing,
    /// A reply, which is the exchange's response now.
    Reply,
    /// The datagram could not leave yet: it is sent once more.
    Unsent,
    /// A reply that is larger than its asker takes.
    TooLarge,
    /// A reply without the question: FORMERR or NOTIMP.
    Bare(wire::Rcode),
    /// No reply.
    Trouble(Trouble),
}

/// A query that waits.
struct Seat {
    exchange: Option<Box<Exchange>>,
    /// The query as sent, when it is not the client's.
    composed: Option<Rc<[u8]>>,
    exact: bool,
    rewritten: bool,
    malformed: bool,
    limit: usize,
    arrived: Arrived,
    waker: Option<Waker>,
    /// What goes on with a query that no task waits for.
    direct: Option<Direct>,
    generation: u32,
    next_free: u32,
    /// The lane that spoke last, by the address of its IDs.
    heard: usize,
}

impl Seat {
    /// Takes a reply, if it is one to this query. One that cannot be read ends the wait only where nobody else can have sent it.
    #[inline]
    fn accept(&mut self, octets: &[u8], patient: bool) -> bool {
        let Some(exchange) = &mut self.exchange else {
            return false;
        };
        let query = self.composed.as_deref().unwrap_or(exchange.message());
        if !answers(query, octets, self.exact) {
            return false;
        }
        if octets.len() <= wire::HEADER_LEN {
            self.arrived = Arrived::Bare(
                wire::Header::read(octets).map_or(wire::Rcode::FORMERR, |h| h.flags.rcode()),
            );
            return true;
        }
        let len = octets.len();
        match exchange.response().buffer().get_mut(..len) {
            Some(room) if len <= self.limit => room.copy_from_slice(octets),
            _ => {
                self.arrived = Arrived::TooLarge;
                return true;
            }
        }
        if reply::adopt(exchange, len, self.rewritten) {
            exchange.context.extended = reply::extended_error(octets);
            self.arrived = Arrived::Reply;
            return true;
        }
        exchange.begin();
        self.malformed = true;
        if !patient {
            self.arrived = Arrived::Trouble(Trouble::malformed());
        }
        !patient
    }

    /// Writes our ID, and AD where it is wanted, over the client's.
    #[inline]
    fn load(&mut self, number: u32) -> Option<Shot> {
        let (lane, id) = self.direct.as_ref()?.aim()?;
        let lane = Rc::as_ptr(lane).addr();
        let exchange = self.exchange.as_mut()?;
        let authenticated = exchange.parsed.flags.has(Flags::AD);
        let message = exchange.message_mut();
        Some(Shot {
            lane,
            len: message.len() as u16,
            seat: number,
            id: set_id(message, id),
            flags: set_authenticated(message, authenticated),
        })
    }

    /// Writes what the client sent back.
    #[inline]
    fn unload(&mut self, shot: &Shot) {
        if let Some(exchange) = &mut self.exchange {
            set_id(exchange.message_mut(), shot.id);
            set_flags(exchange.message_mut(), shot.flags);
        }
    }

    /// Wakes the task that waits, or gives what goes on without one.
    #[inline]
    fn speak(&mut self) -> Option<(Direct, Box<Exchange>, Arrived)> {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
        let direct = self.direct.take()?;
        let exchange = self.exchange.take()?;
        let arrived = std::mem::replace(&mut self.arrived, Arrived::Nothing);
        Some((direct, exchange, arrived))
    }
}

/// The seats of a worker: a slab with a free list.
struct Seats {
    all: Vec<Seat>,
    free: u32,
    taken: usize,
}

impl Default for Seats {
    fn default() -> Self {
        Self {
            all: Vec::new(),
            free: u32::MAX,
            taken: 0,
        }
    }
}

impl Seats {
    fn take(&mut self) -> u32 {
        self.taken += 1;
        if let Some(seat) = self.all.get_mut(self.free as usize) {
            return std::mem::replace(&mut self.free, seat.next_free);
        }
        self.all.push(Seat {
            exchange: None,
            composed: None,
            exact: false,
            rewritten: false,
            malformed: false,
            limit: 0,
            arrived: Arrived::Nothing,
            waker: None,
            direct: None,
            generation: 0,
            next_free: u32::MAX,
            heard: 0,
        });
        (self.all.len() - 1) as u32
    }

    fn give_back(&mut self, number: u32) {
        if let Some(seat) = self.all.get_mut(number as usize) {
            seat.generation = seat.generation.wrapping_add(1);
            seat.exchange = None;
            seat.composed = None;
            seat.malformed = false;
            seat.waker = None;
            seat.arrived = Arrived::Nothing;
            seat.next_free = self.free;
            self.free = number;
            self.taken -= 1;
        }
    }
}

/// The lane that a query waits on.
#[derive(Clone)]
pub(super) enum Lane {
    /// A datagram socket.
    Udp(Rc<UdpLane>),
    /// A stream connection.
    Stream(Rc<StreamLane>),
}

impl Lane {
    fn ids(&self) -> &Ids {
        match self {
            Self::Udp(lane) => &lane.ids,
            Self::Stream(lane) => &lane.ids,
        }
    }
}

/// What a query asks of its seat.
pub(super) struct Order {
    /// The query as sent, when it is not the client's.
    pub(super) composed: Option<Rc<[u8]>>,
    /// Whether the reply must bear the QNAME's very case.
    pub(super) exact: bool,
    /// Whether the question is another than the asked one.
    pub(super) rewritten: bool,
    /// The largest reply.
    pub(super) limit: usize,
    /// How long to wait, in nanoseconds.
    pub(super) wait: u64,
}

/// A taken seat and a taken ID, or two on two lanes; all are given back when this is dropped.
pub(super) struct Ticket {
    local: Rc<Local>,
    /// Where the query is sent.
    pub(super) lane: Lane,
    second: Option<(Lane, u16)>,
    seat: u32,
    /// The ID to send under.
    pub(super) id: u16,
}

impl Ticket {
    /// Takes a seat, and an ID that nobody waits for on this lane.
    pub(super) fn take(local: &Rc<Local>, lane: Lane) -> Option<Self> {
        let seat = local.seats.borrow_mut().take();
        match lane.ids().take(seat) {
            Some(id) => Some(Self {
                local: local.clone(),
                lane,
                second: None,
                seat,
                id,
            }),
            None => {
                local.seats.borrow_mut().give_back(seat);
                None
            }
        }
    }

    /// Takes an ID on a second lane for the same seat: whichever lane speaks first is heard.
    pub(super) fn join(&mut self, lane: Lane) -> Option<u16> {
        let id = lane.ids().take(self.seat)?;
        self.second = Some((lane, id));
        Some(id)
    }

    /// Whose seat and ID these are.
    pub(super) fn local(&self) -> &Rc<Local> {
        &self.local
    }

    /// The seat.
    pub(super) fn seat(&self) -> u32 {
        self.seat
    }

    /// Whether it was the second lane that spoke.
    pub(super) fn heard_second(&self) -> bool {
        let seats = self.local.seats.borrow();
        let heard = seats.all.get(self.seat as usize).map(|seat| seat.heard);
        let second = self.second.as_ref().map(|(lane, _)| lane.ids().place());
        second.is_some() && heard == second
    }

    /// Sits down until a reply comes or the time is up.
    pub(super) fn wait(&self, exchange: Box<Exchange>, order: Order) -> Waiting<'_> {
        self.local
            .sit(self.seat, exchange, order, clock::now(), None);
        Waiting(self)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.local.seats.borrow_mut().give_back(self.seat);
        let first = (&self.lane, self.id);
        let second = self.second.as_ref().map(|(lane, id)| (lane, *id));
        for (lane, id) in std::iter::once(first).chain(second) {
            lane.ids().release_if(id, self.seat);
            match lane {
                Lane::Udp(lane) => lane.left(),
                Lane::Stream(lane) => lane.left(),
            }
        }
    }
}

/// A query that sits and waits.
pub(super) struct Waiting<'a>(&'a Ticket);

impl Future for Waiting<'_> {
    type Output = (Box<Exchange>, Arrived);

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let ticket = self.0;
        let mut seats = ticket.local.seats.borrow_mut();
        let Some(seat) = seats.all.get_mut(ticket.seat as usize) else {
            return Poll::Pending;
        };
        if matches!(seat.arrived, Arrived::Nothing) {
            if !seat
                .waker
                .as_ref()
                .is_some_and(|waker| waker.will_wake(context.waker()))
            {
                seat.waker = Some(context.waker().clone());
            }
            return Poll::Pending;
        }
        match seat.exchange.take() {
            Some(exchange) => Poll::Ready((
                exchange,
                std::mem::replace(&mut seat.arrived, Arrived::Nothing),
            )),
            None => Poll::Pending,
        }
    }
}

/// How many `forward`s this worker keeps sockets for.
#[cfg(test)]
pub(super) fn known() -> usize {
    LOCALS.with_borrow(Vec::len)
}
