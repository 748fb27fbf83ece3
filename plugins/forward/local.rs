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
use std::collections::HashMap;
use std::future::Future;
use std::hash::{BuildHasherDefault, Hasher};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use chain::{Exchange, clock};
use rand::RngExt;
use tokio::sync::Notify;

use super::Forward;
use super::direct::Direct;
use super::reply;
use super::stream::StreamLane;
use super::trouble::{Trouble, What};
use super::udp::{Draw, UdpLane};
use super::upstream::{Upstream, answers};

/// Queries of one `forward` that may wait on one worker.
pub(super) const MOST: usize = 8_192;
/// The wheel's step.
const TICK: u64 = 20_000_000;
/// The wheel's slots; with [`TICK`] they reach past the deadline of any query.
const SLOTS: usize = 512;
/// How often idle sockets are looked for, in nanoseconds.
const SWEEP: u64 = clock::SECOND;

thread_local! {
    /// The `forward`s that this worker has met, by their number.
    static LOCALS: RefCell<Vec<(u64, Rc<Local>)>> = const { RefCell::new(Vec::new()) };
}

/// A worker's part of one `forward`.
pub(super) struct Local {
    owner: Weak<Forward>,
    /// One pool of sockets an upstream, in their order.
    pub(super) pools: Box<[Pool]>,
    seats: RefCell<Seats>,
    wheel: RefCell<Wheel>,
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
    /// Stream connections.
    pub(super) streams: RefCell<Vec<Rc<StreamLane>>>,
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
        Self {
            owner: Arc::downgrade(forward),
            pools: forward
                .upstreams
                .iter()
                .map(|upstream| Pool {
                    upstream: upstream.clone(),
                    lanes: RefCell::default(),
                    draw: Cell::default(),
                    streams: RefCell::default(),
                })
                .collect(),
            seats: RefCell::default(),
            wheel: RefCell::new(Wheel::new()),
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

    /// Tells every seat of a lane that no reply will come.
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
            place.malformed = false;
            place.limit = order.limit;
            place.direct = direct;
            let mut wheel = self.wheel.borrow_mut();
            wheel.insert(deadline, seat, place.generation);
        }
        self.turn();
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
    lane: Lane,
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

/// Spreads the 16 bits of an ID over a hash; IDs are random and ours, so nobody can aim at it.
#[derive(Default)]
pub(super) struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, octets: &[u8]) {
        for &octet in octets {
            self.write_u16(u16::from(octet));
        }
    }
    fn write_u16(&mut self, id: u16) {
        self.0 = (self.0 ^ u64::from(id)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}

/// The IDs that are outstanding on one lane.
#[derive(Default)]
pub(super) struct Ids(RefCell<HashMap<u16, u32, BuildHasherDefault<Spread>>>);

impl Ids {
    /// A random ID that is not outstanding (RFC 5452, section 9.2: the whole range).
    fn take(&self, seat: u32) -> Option<u16> {
        let mut map = self.0.borrow_mut();
        if map.len() >= 32_768 {
            return None;
        }
        let mut random = rand::rng();
        loop {
            let id: u16 = random.random();
            if let std::collections::hash_map::Entry::Vacant(place) = map.entry(id) {
                place.insert(seat);
                return Some(id);
            }
        }
    }

    fn seat(&self, id: u16) -> Option<u32> {
        self.0.borrow().get(&id).copied()
    }

    fn release(&self, id: u16) {
        self.0.borrow_mut().remove(&id);
    }

    /// Gives `id` back, unless it has meanwhile been taken for another seat.
    fn release_if(&self, id: u16, seat: u32) {
        let mut map = self.0.borrow_mut();
        if map.get(&id) == Some(&seat) {
            map.remove(&id);
        }
    }

    fn clear(&self) -> Vec<u32> {
        self.0.borrow_mut().drain().map(|(_, seat)| seat).collect()
    }

    /// Something to know these by while they live.
    fn place(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// How many are outstanding.
    pub(super) fn len(&self) -> usize {
        self.0.borrow().len()
    }
}

/// A timer wheel: seats by the tick in which their time is up.
struct Wheel {
    slots: Vec<Vec<(u32, u32)>>,
    at: u64,
}

impl Wheel {
    fn new() -> Self {
        Self {
            slots: (0..SLOTS).map(|_| Vec::new()).collect(),
            at: clock::now() / TICK,
        }
    }

    fn insert(&mut self, deadline: u64, seat: u32, generation: u32) {
        // Never into the slot that is being emptied, and never around the wheel.
        let tick = (deadline / TICK + 1).clamp(self.at + 1, self.at + SLOTS as u64 - 1);
        self.slots[tick as usize % SLOTS].push((seat, generation));
    }

    fn advance(&mut self, now: u64, mut up: impl FnMut(u32, u32)) {
        let tick = now / TICK;
        let steps = (tick.saturating_sub(self.at)).min(SLOTS as u64);
        for step in 1..=steps {
            for (seat, generation) in self.slots[(self.at + step) as usize % SLOTS].drain(..) {
                up(seat, generation);
            }
        }
        self.at = self.at.max(tick);
    }
}

/// How many `forward`s this worker keeps sockets for.
#[cfg(test)]
pub(super) fn known() -> usize {
    LOCALS.with_borrow(Vec::len)
}
