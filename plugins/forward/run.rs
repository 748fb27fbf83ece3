//! One query's way through the upstreams: whom to ask, how, and what to make of what came.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use chain::{Exchange, ExtendedError, Failure, Flow, Resolved, clock};
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use wire::{Flags, Rcode, Section};

use super::local::{Arrived, Lane, Local, Order, Pool, Ticket};
use super::metrics::Proto;
use super::setup::Policy;
use super::trouble::{Trouble, What};
use super::udp::UdpLane;
use super::{DEADLINE, Forward, MOST_UPSTREAMS, Permit, health, reply};

/// How long one upstream may keep silent before a second one is asked too, in nanoseconds.
pub(super) const HEDGE: u64 = 800_000_000;

/// Upstreams in the order in which they are asked.
///
/// The first is at hand; the others are computed when there is trouble, so that a query carries no list.
pub(super) struct Upstreams {
    first: u8,
    count: u8,
    /// What shuffles those behind the first; 0 leaves them in the order of the Corefile.
    seed: u64,
}

impl Upstreams {
    /// The order for one query.
    fn new(forward: &Forward) -> Self {
        let count = forward.upstreams.len();
        let (first, seed) = match forward.policy {
            Policy::Random if count > 1 => {
                let mut random = rand::rng();
                (random.random_range(0..count), random.random())
            }
            Policy::Sequential | Policy::Random => (0, 0),
            Policy::RoundRobin => {
                let turn = forward.robin.fetch_add(1, Ordering::Relaxed);
                (turn.wrapping_add(1) as usize % count, 0)
            }
        };
        Self {
            first: first as u8,
            count: count as u8,
            seed,
        }
    }

    /// How many there are.
    fn count(&self) -> usize {
        usize::from(self.count)
    }

    /// The upstream at a place.
    fn get(&self, at: usize) -> usize {
        if at == 0 {
            return usize::from(self.first);
        }
        let mut rest = [0u8; MOST_UPSTREAMS];
        let others = (0..self.count).filter(|&upstream| upstream != self.first);
        let mut len = 0;
        for (place, upstream) in rest.iter_mut().zip(others) {
            *place = upstream;
            len += 1;
        }
        let rest = &mut rest[..len];
        if self.seed != 0 {
            rest.shuffle(&mut SmallRng::seed_from_u64(self.seed));
        }
        usize::from(rest.get(at - 1).copied().unwrap_or(self.first))
    }
}

/// One query's way through the upstreams.
pub(super) struct Run {
    permit: Permit,
    order: Upstreams,
    at: usize,
    down: usize,
    attempts: u32,
    failovers: usize,
    deadline: u64,
    /// The octets to send, when they are not the client's.
    composed: Option<Rc<[u8]>>,
    rewritten: bool,
    asked: Proto,
    pub(super) retry_truncated: bool,
    limit: usize,
    last: Option<(usize, Proto, Trouble, u64)>,
}

/// Where a query stands whose first datagram has gone without a task.
pub(super) struct Standing {
    /// The upstream that was asked.
    pub(super) upstream: usize,
    /// When.
    pub(super) began: u64,
    /// What came.
    pub(super) stage: Stage,
}

/// What came of an attempt that a task goes on with.
pub(super) enum Stage {
    /// Nothing was sent yet.
    Unsent,
    /// The word of one upstream.
    Heard(Arrived),
    /// Silence; the ticket is still good, and another upstream is to be asked beside.
    Silent(Ticket, Second),
}

/// An upstream to ask beside one that keeps silent.
pub(super) struct Second {
    upstream: usize,
    /// Where the order goes on behind it.
    next: usize,
}

/// What an attempt led to.
pub(super) enum Settled {
    /// The query is done.
    Done(Flow),
    /// Another upstream is asked.
    More,
    /// The query failed.
    Failed(Failure),
}

impl Run {
    /// For one query, from now on.
    pub(super) fn new(permit: Permit, exchange: &mut Exchange, now: u64) -> Self {
        let forward = &permit.0;
        let mut composed = None;
        let mut rewritten = false;
        if let Some((query, _)) = exchange.suspended_views()
            && query.is_rewritten()
        {
            rewritten = true;
            composed = Some(reply::compose(&query));
        }
        if let Some(edns) = &exchange.parsed.edns
            && let Some(octets) = reply::lower_size(
                composed.as_deref().unwrap_or(exchange.message()),
                edns,
                rewritten,
            )
        {
            composed = Some(octets);
        }
        if forward.mixed_case {
            composed = Some(reply::mix_case(
                composed.as_deref().unwrap_or(exchange.message()),
            ));
        }
        let datagram = exchange.context.transport.is_datagram();
        let asked = match (forward.force_tcp, forward.prefer_udp) {
            (true, _) => Proto::Tcp,
            (false, false) if !datagram => Proto::Tcp,
            _ => Proto::Udp,
        };
        // The server's own look-ups want a whole answer, and come without a size of their own.
        let inner = exchange.context.depth > 0;
        let limit = match datagram && !inner {
            true => exchange.parsed.udp_limit(),
            false => usize::from(u16::MAX),
        };
        Self {
            order: Upstreams::new(forward),
            at: 0,
            down: 0,
            attempts: 0,
            failovers: 0,
            deadline: now + DEADLINE,
            composed,
            rewritten,
            asked,
            retry_truncated: (forward.prefer_udp || inner) && asked == Proto::Udp,
            limit,
            last: None,
            permit,
        }
    }

    /// The plugin.
    pub(super) fn forward(&self) -> &Arc<Forward> {
        &self.permit.0
    }

    /// Whether the client's own octets are what goes up.
    pub(super) fn is_as_it_came(&self) -> bool {
        self.composed.is_none()
    }

    /// The upstream to ask first, when it is up and datagrams are wanted.
    pub(super) fn first(&mut self) -> Option<usize> {
        if self.asked != Proto::Udp {
            return None;
        }
        let forward = &self.permit.0;
        let first = self.order.get(0);
        if forward.upstreams[first].is_doubted()
            && let Some((at, other)) = self.undoubted()
        {
            self.at = at + 1;
            return Some(other);
        }
        let up = !forward.upstreams[first].is_down(forward.max_fails);
        up.then(|| {
            self.at = 1;
            first
        })
    }

    /// The next upstream in the order that nobody doubts, and its place. One that failed a query is probed at once; until it has
    /// answered, the others are asked, so that its silence costs the queries that found it and no more.
    #[cold]
    fn undoubted(&self) -> Option<(usize, usize)> {
        let upstreams = &self.permit.0.upstreams;
        (self.at..self.order.count())
            .map(|at| (at, self.order.get(at)))
            .find(|&(_, upstream)| {
                let upstream = &upstreams[upstream];
                !upstream.is_doubted() && !upstream.is_down(self.permit.0.max_fails)
            })
    }

    /// Asks until somebody answers, from where `standing` says that the query stands.
    pub(super) async fn proceed(
        &mut self,
        local: &Rc<Local>,
        mut exchange: Box<Exchange>,
        mut standing: Option<Box<Standing>>,
    ) -> Resolved {
        let flow = loop {
            let (upstream, began, stage) = match standing.take() {
                Some(standing) => (standing.upstream, standing.began, standing.stage),
                None => match self.pick() {
                    Some(upstream) => (upstream, clock::now(), Stage::Unsent),
                    None => break Err(self.failure()),
                },
            };
            let (back, upstream, arrived) = self.attempt(local, upstream, exchange, stage).await;
            exchange = back;
            match self.settle(&mut exchange, upstream, clock::now() - began, arrived) {
                Settled::Done(flow) => break Ok(flow),
                Settled::More => {}
                Settled::Failed(failure) => break Err(failure),
            }
        };
        (exchange, flow)
    }

    /// The next upstream to ask; `None` when there is no more to try.
    fn pick(&mut self) -> Option<usize> {
        let forward = self.forward().clone();
        let bound = forward.max_attempts;
        while clock::now() < self.deadline && (bound == 0 || self.attempts < bound) {
            if self.at >= self.order.count() {
                self.at = 0;
                self.down = 0;
            }
            let mut upstream = self.order.get(self.at);
            if forward.upstreams[upstream].is_doubted()
                && let Some(better) = self.undoubted()
            {
                (self.at, upstream) = better;
            }
            self.at += 1;
            if !forward.upstreams[upstream].is_down(forward.max_fails) {
                return Some(upstream);
            }
            self.down += 1;
            if self.down < self.order.count() {
                continue;
            }
            forward.broken.inc();
            if forward.failfast {
                return None;
            }
            // Health checking itself may be what is broken: anyone will do.
            return Some(rand::rng().random_range(0..self.order.count()));
        }
        None
    }

    /// Sends the query to one upstream and waits; tells who answered, which may be another one that was asked meanwhile.
    async fn attempt(
        &mut self,
        local: &Rc<Local>,
        upstream: usize,
        mut exchange: Box<Exchange>,
        mut stage: Stage,
    ) -> (Box<Exchange>, usize, Arrived) {
        let mut upstream = upstream;
        let mut retried = false;
        let mut proto = self.forward().upstreams[upstream].proto(self.asked);
        loop {
            let arrived;
            let mut reused = false;
            if proto == Proto::Udp {
                (exchange, upstream, arrived) = match std::mem::replace(&mut stage, Stage::Unsent) {
                    Stage::Unsent => self.over_udp(local, upstream, exchange).await,
                    Stage::Heard(arrived) => (exchange, upstream, arrived),
                    Stage::Silent(mut ticket, second) => {
                        self.hedge(local, (upstream, second), &mut ticket, exchange)
                            .await
                    }
                };
            } else {
                let pool = &local.pools[upstream];
                (exchange, reused, arrived) =
                    self.over_stream(local, pool, exchange, retried).await;
            }
            match arrived {
                // A connection that had been used before was dead: once more, on a new one.
                Arrived::Trouble(trouble) if reused && !retried && trouble.is_dead_connection() => {
                    retried = true;
                }
                Arrived::Reply
                    if proto == Proto::Udp
                        && self.retry_truncated
                        && exchange.response().flags().has(Flags::TC) =>
                {
                    exchange.begin();
                    proto = Proto::Tcp;
                }
                Arrived::TooLarge if proto == Proto::Udp && self.retry_truncated => {
                    proto = Proto::Tcp;
                }
                other => return (exchange, upstream, other),
            }
        }
    }

    /// What a query asks of its seat, for a wait of so many nanoseconds.
    pub(super) fn seating(&self, wait: u64) -> Order {
        Order {
            composed: self.composed.clone(),
            exact: self.forward().mixed_case,
            rewritten: self.rewritten,
            limit: self.limit,
            wait,
        }
    }

    /// How long an attempt may wait.
    pub(super) fn patience(&self, now: u64) -> u64 {
        let left = self.deadline.saturating_sub(now);
        self.forward().read_timeout.min(left)
    }

    async fn over_udp(
        &mut self,
        local: &Rc<Local>,
        first: usize,
        mut exchange: Box<Exchange>,
    ) -> (Box<Exchange>, usize, Arrived) {
        let now = clock::now();
        let lane = match local.pools[first].datagram(local, self.forward(), now) {
            Ok(lane) => lane,
            Err(trouble) => return (exchange, first, Arrived::Trouble(trouble)),
        };
        let Some(mut ticket) = Ticket::take(local, Lane::Udp(lane.clone())) else {
            return (exchange, first, Arrived::Trouble(Trouble::full()));
        };
        if let Err(trouble) = self.send(&lane, ticket.id, &mut exchange).await {
            local.fail(&lane.ids, &trouble);
            return (exchange, first, Arrived::Trouble(trouble));
        }
        let patience = self.patience(now);
        let Some(second) = self.second(first, patience) else {
            let (exchange, arrived) = ticket.wait(exchange, self.seating(patience)).await;
            return (exchange, first, arrived);
        };
        let (exchange, arrived) = ticket.wait(exchange, self.seating(HEDGE)).await;
        if !matches!(&arrived, Arrived::Trouble(trouble) if trouble.what == What::Timeout) {
            return (exchange, first, arrived);
        }
        self.hedge(local, (first, second), &mut ticket, exchange)
            .await
    }

    /// After silence somebody else is asked too, and whoever answers first is heard.
    async fn hedge(
        &mut self,
        local: &Rc<Local>,
        (first, second): (usize, Second),
        ticket: &mut Ticket,
        mut exchange: Box<Exchange>,
    ) -> (Box<Exchange>, usize, Arrived) {
        let now = clock::now();
        self.at = second.next;
        self.attempts += u32::from(second.upstream != first);
        self.check(first);
        if let Ok(lane) = local.pools[second.upstream].datagram(local, self.forward(), now)
            && let Some(id) = ticket.join(Lane::Udp(lane.clone()))
        {
            // A failure to send shows as silence.
            let _ = self.send(&lane, id, &mut exchange).await;
        }
        let left = self.forward().read_timeout.saturating_sub(HEDGE);
        let wait = left.min(self.deadline.saturating_sub(now));
        let (exchange, arrived) = ticket.wait(exchange, self.seating(wait)).await;
        let heard = if ticket.heard_second() {
            second.upstream
        } else {
            first
        };
        (exchange, heard, arrived)
    }

    /// Whom to ask when `first` keeps silent, where the query may wait so long: another upstream, or where there is none `first` once
    /// more, since a datagram may have been lost. That does not count as an attempt, and one that fails its probes is spared it.
    pub(super) fn second(&self, first: usize, patience: u64) -> Option<Second> {
        let forward = self.forward();
        if patience <= HEDGE {
            return None;
        }
        let bound = forward.max_attempts;
        if self.order.count() > 1 && (bound == 0 || self.attempts + 2 <= bound) {
            let rest = self.at..self.order.count();
            let other = rest
                .map(|at| Second {
                    upstream: self.order.get(at),
                    next: at + 1,
                })
                .find(|second| {
                    let upstream = &forward.upstreams[second.upstream];
                    second.upstream != first
                        && upstream.tls.is_none()
                        && !upstream.is_down(forward.max_fails)
                });
            if other.is_some() {
                return other;
            }
        }
        (!forward.upstreams[first].is_failing()).then_some(Second {
            upstream: first,
            next: self.at,
        })
    }

    /// Sends one datagram: the client's octets under our ID, or those that were composed.
    async fn send(&self, lane: &UdpLane, id: u16, exchange: &mut Exchange) -> Result<(), Trouble> {
        for _ in 0..4 {
            match self.try_send(lane, id, exchange) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    tokio::task::yield_now().await;
                }
                sent => return sent.map_err(|error| Trouble::io("write", &error)),
            }
        }
        Err(Trouble {
            op: "write",
            what: What::Io(io::ErrorKind::WouldBlock),
        })
    }

    /// Sends one datagram, if there is room for it.
    #[inline]
    pub(super) fn try_send(
        &self,
        lane: &UdpLane,
        id: u16,
        exchange: &mut Exchange,
    ) -> io::Result<()> {
        match &self.composed {
            None => {
                let authenticated = exchange.parsed.flags.has(Flags::AD);
                let theirs = set_id(exchange.message_mut(), id);
                let flags = set_authenticated(exchange.message_mut(), authenticated);
                let sent = lane.send(exchange.message());
                set_id(exchange.message_mut(), theirs);
                set_flags(exchange.message_mut(), flags);
                sent
            }
            Some(composed) => {
                let mut octets = composed.to_vec();
                set_id(&mut octets, id);
                set_authenticated(&mut octets, exchange.parsed.flags.has(Flags::AD));
                lane.send(&octets)
            }
        }
    }

    async fn over_stream(
        &self,
        local: &Rc<Local>,
        pool: &Pool,
        mut exchange: Box<Exchange>,
        fresh: bool,
    ) -> (Box<Exchange>, bool, Arrived) {
        let (lane, ticket, reused) = match pool.stream(local, self.forward(), fresh) {
            Ok(taken) => taken,
            Err(trouble) => return (exchange, false, Arrived::Trouble(trouble)),
        };
        let authenticated = exchange.parsed.flags.has(Flags::AD);
        let flags = set_authenticated(exchange.message_mut(), authenticated);
        let octets = self.composed.as_deref().unwrap_or(exchange.message());
        let sent = lane.send(octets, ticket.id);
        set_flags(exchange.message_mut(), flags);
        if let Err(trouble) = sent {
            return (exchange, false, Arrived::Trouble(trouble));
        }
        let order = self.seating(self.patience(clock::now()));
        let (exchange, mut arrived) = ticket.wait(exchange, order).await;
        if let Arrived::Trouble(Trouble { op, what }) = &mut arrived
            && *what == What::Timeout
        {
            lane.retire();
            if !lane.is_connected() {
                *op = "dial";
            }
        }
        pool.trim(local, self.forward().max_idle);
        (exchange, reused, arrived)
    }

    /// Makes what came the response, or says what to do next.
    pub(super) fn settle(
        &mut self,
        exchange: &mut Exchange,
        upstream: usize,
        took: u64,
        arrived: Arrived,
    ) -> Settled {
        match arrived {
            Arrived::Reply => {}
            Arrived::TooLarge => {
                exchange.begin();
                exchange.response().set_flag(Flags::TC, true);
            }
            Arrived::Bare(rcode) => {
                exchange.begin();
                exchange.response().set_rcode(rcode);
            }
            Arrived::Trouble(trouble) => return self.troubled(upstream, trouble, took),
            Arrived::Nothing | Arrived::Unsent => {
                return self.troubled(upstream, Trouble::timeout("read"), took);
            }
        }
        let worker = exchange.context.worker;
        let response = exchange.response();
        let rcode = response.rcode();
        let answers = response.count(Section::Answer);
        let forward = &self.permit.0;
        let metrics = &forward.upstreams[upstream].metrics;
        metrics.reply(usize::from(worker), rcode, took);
        if forward.failover.contains(&rcode) {
            self.failovers += 1;
            if self.failovers < forward.upstreams.len() {
                exchange.begin();
                exchange.context.extended = None;
                return Settled::More;
            }
        }
        let nodata = forward.next_on_nodata && rcode == Rcode::NOERROR && answers == 0;
        if forward.has_next && (nodata || forward.next.contains(&rcode)) {
            exchange.begin();
            exchange.context.extended = None;
            return Settled::Done(Flow::Next);
        }
        Settled::Done(Flow::Answered)
    }

    /// Starts a health check and counts the attempt.
    fn troubled(&mut self, upstream: usize, trouble: Trouble, took: u64) -> Settled {
        self.check(upstream);
        let proto = self.forward().upstreams[upstream].proto(self.asked);
        self.attempts += 1;
        self.last = Some((upstream, proto, trouble, took / 1_000_000));
        if self.down < self.order.count() {
            Settled::More
        } else {
            Settled::Failed(self.failure())
        }
    }

    /// Has an upstream's health checked.
    fn check(&self, upstream: usize) {
        let forward = self.forward();
        if forward.max_fails != 0 {
            health::start(forward, &forward.upstreams[upstream]);
        }
    }

    /// The failure that tells of the last attempt.
    fn failure(&self) -> Failure {
        let Some((upstream, proto, trouble, took)) = &self.last else {
            return Failure::servfail("no healthy proxies").extended(
                ExtendedError::NO_REACHABLE_AUTHORITY,
                "all upstreams are down",
            );
        };
        let label = &self.forward().upstreams[*upstream].label;
        let Trouble { op, what } = trouble;
        let proto = match proto {
            Proto::Tls => "tcp-tls",
            other => other.label(),
        };
        Failure::servfail_because(format!(
            "{op} {proto} {label} (attempt {}, {took} ms): {what}",
            self.attempts
        ))
        .extended(trouble.info_code(), format!("{label} over {proto}: {what}"))
    }
}

/// Writes an ID into a message; gives the one that stood there.
pub(super) fn set_id(message: &mut [u8], id: u16) -> u16 {
    match message.first_chunk_mut::<2>() {
        Some(place) => u16::from_be_bytes(std::mem::replace(place, id.to_be_bytes())),
        None => 0,
    }
}

/// Sets AD in a message where a plugin above wants it (RFC 6840, 5.7); gives the octet that stood there.
pub(super) fn set_authenticated(message: &mut [u8], on: bool) -> u8 {
    match message.get_mut(3) {
        Some(place) if on => std::mem::replace(place, *place | Flags::AD as u8),
        Some(place) => *place,
        None => 0,
    }
}

/// Writes the header's fourth octet back.
pub(super) fn set_flags(message: &mut [u8], octet: u8) {
    if let Some(place) = message.get_mut(3) {
        *place = octet;
    }
}
