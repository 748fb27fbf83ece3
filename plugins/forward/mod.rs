//! `forward`: asks upstreams.
//!
//! ```text
//! query   ──► FROM encloses QNAME, `except` does not ──► Suspend
//! resolve ──► permit ──► policy's order ──► attempt: Pool::datagram | Pool::stream ──► Waiting ──► Answered
//!                              ▲                │ trouble: health check, next upstream
//!                              └────────────────┘ until a reply, the attempts' bound, or 5 s
//! ```
//!
//! Forwarding runs on the worker that received the query: sockets, IDs and timers are the worker's own ([`local`]), so nothing is
//! shared but two atomics an upstream. The client's octets go up with another ID; the upstream's octets become the response. A
//! query costs one box, the future that waits.

mod health;
mod local;
mod metrics;
mod reply;
mod setup;
mod stream;
mod target;
#[cfg(test)]
mod tests;
mod tls;
mod trouble;
mod udp;
mod upstream;

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use chain::setup::BuildError;
use chain::{
    Cause, Exchange, ExtendedError, Failure, Flow, Plugin, Query, Resolved, Resolving, clock,
};
use prometheus_client::metrics::counter::Counter;
use rand::RngExt;
use rand::seq::SliceRandom;
use wire::{Flags, NameBuf, Opcode, Rcode, Response, Section, Type};

use local::{Arrived, Lane, Local, Order, Pool, Ticket};
use metrics::Proto;
pub(crate) use setup::REGISTRATION;
use setup::{HealthCheck, Options, Policy};
use trouble::{Trouble, What};
use udp::UdpLane;
use upstream::Upstream;

/// The longest that a query may take, in nanoseconds.
const DEADLINE: u64 = 5 * clock::SECOND;
/// How long one upstream may keep silent before a second one is asked too, in nanoseconds.
const HEDGE: u64 = 800_000_000;
/// The most upstreams that an order can hold; files and host names may stand for several.
const MOST_UPSTREAMS: usize = 255;

/// One `forward` at work.
pub(crate) struct Forward {
    /// Its number in the process; what workers keep is kept under it.
    id: u64,
    from: NameBuf,
    except: Vec<NameBuf>,
    upstreams: Box<[Arc<Upstream>]>,
    policy: Policy,
    robin: AtomicU32,
    concurrent: AtomicU32,
    max_concurrent: u32,
    force_tcp: bool,
    prefer_udp: bool,
    mixed_case: bool,
    expire: u64,
    max_age: u64,
    max_idle: usize,
    read_timeout: u64,
    max_fails: u32,
    max_attempts: u32,
    health: Arc<HealthCheck>,
    next: Vec<Rcode>,
    next_on_nodata: bool,
    has_next: bool,
    failfast: bool,
    failover: Vec<Rcode>,
    broken: Counter,
    rejects: Counter,
}

impl Forward {
    /// Of what was written; `has_next` says whether another `forward` of the block follows.
    fn new(
        options: Options,
        upstreams: Box<[Arc<Upstream>]>,
        has_next: bool,
    ) -> Result<Self, BuildError> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let name = |text: &String| {
            let name = text.parse::<NameBuf>();
            name.map_err(|error| BuildError::new(format!("zone {text}: {error}")))
        };
        if upstreams.len() > MOST_UPSTREAMS {
            let text = format!("more than {MOST_UPSTREAMS} upstream addresses");
            return Err(BuildError::new(text));
        }
        let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Ok(Self {
            id: NUMBER.fetch_add(1, Ordering::Relaxed),
            from: name(&options.from)?,
            except: options.except.iter().map(name).collect::<Result<_, _>>()?,
            policy: options.policy,
            robin: AtomicU32::new(0),
            concurrent: AtomicU32::new(0),
            max_concurrent: options.max_concurrent,
            force_tcp: options.force_tcp,
            prefer_udp: options.prefer_udp,
            mixed_case: options.mixed_case,
            expire: nanos(options.expire),
            max_age: nanos(options.max_age),
            max_idle: options.max_idle,
            read_timeout: nanos(options.read_timeout),
            max_fails: options.max_fails,
            max_attempts: options.max_attempts.unwrap_or(2 * upstreams.len() as u32),
            health: Arc::new(options.health),
            next: options.next,
            next_on_nodata: options.next_on_nodata,
            has_next,
            failfast: options.failfast,
            failover: options.failover,
            broken: metrics::healthcheck_broken(),
            rejects: metrics::max_concurrent_rejects(),
            upstreams,
        })
    }

    /// Whether the query is for this `forward`.
    fn matches(&self, query: &Query<'_>) -> bool {
        let name = query.name();
        if !self.from.as_name().is_root() && !name.is_within(self.from.as_name()) {
            return false;
        }
        self.except.is_empty()
            || name == self.from.as_name()
            || !self
                .except
                .iter()
                .any(|zone| name.is_within(zone.as_name()))
    }

    /// A place among the queries that may wait at once.
    fn admit(&self) -> Result<Permit<'_>, Failure> {
        let before = self.concurrent.fetch_add(1, Ordering::Relaxed);
        let permit = Permit(self);
        if self.max_concurrent > 0 && before >= self.max_concurrent {
            self.rejects.inc();
            return Err(Failure {
                rcode: Rcode::REFUSED,
                extended: None,
                cause: Cause::Text(
                    format!(
                        "concurrent queries exceeded maximum {}",
                        self.max_concurrent
                    )
                    .into(),
                ),
            });
        }
        Ok(permit)
    }

    /// The order in which this query's upstreams are asked.
    fn order(&self) -> Upstreams {
        let count = self.upstreams.len();
        let mut order = Upstreams {
            order: [0; MOST_UPSTREAMS],
            count,
        };
        for (at, place) in order.order.iter_mut().enumerate() {
            *place = at as u8;
        }
        match self.policy {
            Policy::Sequential => {}
            Policy::Random if count > 1 => order.order[..count].shuffle(&mut rand::rng()),
            Policy::Random => {}
            Policy::RoundRobin => {
                let first =
                    self.robin.fetch_add(1, Ordering::Relaxed).wrapping_add(1) as usize % count;
                order.order[..=first].rotate_right(1);
            }
        }
        order
    }

    /// Asks upstreams until one answers.
    async fn forward(self: Arc<Self>, mut exchange: Box<Exchange>) -> Resolved {
        let permit = match self.admit() {
            Ok(permit) => permit,
            Err(failure) => return (exchange, Err(failure)),
        };
        let local = Local::of(&self);
        if local.is_full() {
            self.rejects.inc();
            let failure = Failure {
                rcode: Rcode::REFUSED,
                extended: None,
                cause: Cause::Static("too many queries wait for upstreams on one worker"),
            };
            return (exchange, Err(failure));
        }
        let mut run = Run::new(&self, &mut exchange);
        let flow = loop {
            let upstream = match run.pick() {
                Some(upstream) => upstream,
                None => break Err(run.failure()),
            };
            let began = clock::now();
            let (back, upstream, arrived) = run.attempt(&local, upstream, exchange).await;
            exchange = back;
            match run.settle(&mut exchange, upstream, began, arrived) {
                Settled::Done(flow) => break Ok(flow),
                Settled::More => {}
                Settled::Failed(failure) => break Err(failure),
            }
        };
        drop(permit);
        (exchange, flow)
    }
}

impl Plugin for Forward {
    fn name(&self) -> &'static str {
        "forward"
    }

    fn query(&self, query: &mut Query<'_>, _: &mut Response<'_>) -> Result<Flow, Failure> {
        if !self.matches(query) {
            return Ok(Flow::Next);
        }
        // Changes, notifications and transfers concern one server and are not handed on (CVE-2026-86003).
        if query.flags().opcode() != Opcode::QUERY {
            return Err(Failure::policy(Rcode::NOTIMP));
        }
        if matches!(query.qtype(), Type::AXFR | Type::IXFR) {
            return Err(Failure::policy(Rcode::REFUSED).extended(
                ExtendedError::NOT_SUPPORTED,
                "zone transfers are not forwarded",
            ));
        }
        Ok(Flow::Suspend)
    }

    fn resolve(self: Arc<Self>, exchange: Box<Exchange>) -> Resolving {
        Box::pin(self.forward(exchange))
    }

    fn any_class(&self) -> bool {
        true
    }
}

/// One of the queries that wait.
struct Permit<'a>(&'a Forward);

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.0.concurrent.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Upstreams in the order in which they are asked.
struct Upstreams {
    order: [u8; MOST_UPSTREAMS],
    count: usize,
}

/// One query's way through the upstreams.
struct Run<'a> {
    forward: &'a Arc<Forward>,
    order: Upstreams,
    at: usize,
    down: usize,
    attempts: u32,
    failovers: usize,
    deadline: u64,
    /// The octets to send, when they are not the client's.
    composed: Option<Rc<[u8]>>,
    rewritten: bool,
    /// The second octet of flags to send: a cache above may ask for AD where the client did not.
    flags: u8,
    asked: Proto,
    retry_truncated: bool,
    limit: usize,
    last: Option<(usize, Proto, Trouble, u64)>,
}

/// An upstream to ask beside one that keeps silent.
struct Second {
    upstream: usize,
    /// Where the order goes on behind it.
    next: usize,
}

/// What an attempt led to.
enum Settled {
    /// The query is done.
    Done(Flow),
    /// Another upstream is asked.
    More,
    /// The query failed.
    Failed(Failure),
}

impl<'a> Run<'a> {
    fn new(forward: &'a Arc<Forward>, exchange: &mut Exchange) -> Self {
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
            order: forward.order(),
            forward,
            at: 0,
            down: 0,
            attempts: 0,
            failovers: 0,
            deadline: clock::now() + DEADLINE,
            composed,
            rewritten,
            flags: exchange.parsed.flags.0 as u8,
            asked,
            retry_truncated: (forward.prefer_udp || inner) && asked == Proto::Udp,
            limit,
            last: None,
        }
    }

    /// The next upstream to ask; `None` when there is no more to try.
    fn pick(&mut self) -> Option<usize> {
        let forward = self.forward;
        let bound = forward.max_attempts;
        while clock::now() < self.deadline && (bound == 0 || self.attempts < bound) {
            if self.at >= self.order.count {
                self.at = 0;
                self.down = 0;
            }
            let upstream = self.order.order[self.at] as usize;
            self.at += 1;
            if !forward.upstreams[upstream].is_down(forward.max_fails) {
                return Some(upstream);
            }
            self.down += 1;
            if self.down < self.order.count {
                continue;
            }
            forward.broken.inc();
            if forward.failfast {
                return None;
            }
            // Health checking itself may be what is broken: anyone will do.
            return Some(rand::rng().random_range(0..self.order.count));
        }
        None
    }

    /// Sends the query to one upstream and waits; tells who answered, which may be another one that was asked meanwhile.
    async fn attempt(
        &mut self,
        local: &Rc<Local>,
        upstream: usize,
        mut exchange: Box<Exchange>,
    ) -> (Box<Exchange>, usize, Arrived) {
        let mut upstream = upstream;
        let mut retried = false;
        let mut proto = self.forward.upstreams[upstream].proto(self.asked);
        loop {
            let arrived;
            let mut reused = false;
            if proto == Proto::Udp {
                (exchange, upstream, arrived) = self.over_udp(local, upstream, exchange).await;
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
    fn seating(&self, wait: u64) -> Order {
        Order {
            composed: self.composed.clone(),
            exact: self.forward.mixed_case,
            rewritten: self.rewritten,
            limit: self.limit,
            wait,
        }
    }

    /// How long an attempt may wait.
    fn patience(&self) -> u64 {
        let left = self.deadline.saturating_sub(clock::now());
        self.forward.read_timeout.min(left)
    }

    async fn over_udp(
        &mut self,
        local: &Rc<Local>,
        first: usize,
        mut exchange: Box<Exchange>,
    ) -> (Box<Exchange>, usize, Arrived) {
        let lane = match local.pools[first].datagram(local, self.forward) {
            Ok(lane) => lane,
            Err(trouble) => return (exchange, first, Arrived::Trouble(trouble)),
        };
        let Some(mut ticket) = Ticket::take(local, Lane::Udp(lane.clone())) else {
            return (exchange, first, Arrived::Trouble(Trouble::full()));
        };
        if let Err(trouble) = self.send(&lane, ticket.id, &mut exchange).await {
            return (exchange, first, Arrived::Trouble(trouble));
        }
        let patience = self.patience();
        let second = (patience > HEDGE).then(|| self.second(first)).flatten();
        let Some(second) = second else {
            let (exchange, arrived) = ticket.wait(exchange, self.seating(patience)).await;
            return (exchange, first, arrived);
        };
        let (mut exchange, arrived) = ticket.wait(exchange, self.seating(HEDGE)).await;
        if !matches!(&arrived, Arrived::Trouble(trouble) if trouble.what == What::Timeout) {
            return (exchange, first, arrived);
        }
        // Silence: somebody else is asked too, and whoever answers first is heard.
        self.at = second.next;
        self.attempts += 1;
        self.check(first);
        if let Ok(lane) = local.pools[second.upstream].datagram(local, self.forward)
            && let Some(id) = ticket.join(Lane::Udp(lane.clone()))
        {
            // A failure to send shows as silence.
            let _ = self.send(&lane, id, &mut exchange).await;
        }
        let (exchange, arrived) = ticket.wait(exchange, self.seating(patience - HEDGE)).await;
        let heard = if ticket.heard_second() {
            second.upstream
        } else {
            first
        };
        (exchange, heard, arrived)
    }

    /// Another upstream to ask when `first` keeps silent.
    fn second(&self, first: usize) -> Option<Second> {
        let forward = self.forward;
        if forward.max_attempts != 0 && self.attempts + 2 > forward.max_attempts {
            return None;
        }
        let rest = self.order.order[..self.order.count]
            .iter()
            .enumerate()
            .skip(self.at);
        rest.map(|(at, &upstream)| Second {
            upstream: upstream as usize,
            next: at + 1,
        })
        .find(|second| {
            let upstream = &forward.upstreams[second.upstream];
            second.upstream != first
                && upstream.tls.is_none()
                && !upstream.is_down(forward.max_fails)
        })
    }

    /// Sends one datagram: the client's octets under our ID, or those that were composed.
    async fn send(&self, lane: &UdpLane, id: u16, exchange: &mut Exchange) -> Result<(), Trouble> {
        match &self.composed {
            None => {
                let (theirs, flags) = set_head(exchange.message_mut(), id, self.flags);
                let sent = lane.send(exchange.message()).await;
                set_head(exchange.message_mut(), theirs, flags);
                sent
            }
            Some(composed) => {
                let mut octets = composed.to_vec();
                set_head(&mut octets, id, self.flags);
                lane.send(&octets).await
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
        let (lane, ticket, reused) = match pool.stream(local, self.forward, fresh) {
            Ok(taken) => taken,
            Err(trouble) => return (exchange, false, Arrived::Trouble(trouble)),
        };
        let sent = match &self.composed {
            None => {
                let (theirs, flags) = set_head(exchange.message_mut(), ticket.id, self.flags);
                let sent = lane.send(exchange.message(), ticket.id);
                set_head(exchange.message_mut(), theirs, flags);
                sent
            }
            Some(composed) => {
                let mut octets = composed.to_vec();
                set_head(&mut octets, ticket.id, self.flags);
                lane.send(&octets, ticket.id)
            }
        };
        if let Err(trouble) = sent {
            return (exchange, false, Arrived::Trouble(trouble));
        }
        let order = self.seating(self.patience());
        let (exchange, mut arrived) = ticket.wait(exchange, order).await;
        if let Arrived::Trouble(Trouble { op, what }) = &mut arrived
            && *what == What::Timeout
        {
            lane.retire();
            if !lane.is_connected() {
                *op = "dial";
            }
        }
        pool.trim(local, self.forward.max_idle);
        (exchange, reused, arrived)
    }

    /// Makes what came the response, or says what to do next.
    fn settle(
        &mut self,
        exchange: &mut Exchange,
        upstream: usize,
        began: u64,
        arrived: Arrived,
    ) -> Settled {
        let forward = self.forward;
        let took = clock::now() - began;
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
            Arrived::Nothing => return self.troubled(upstream, Trouble::timeout("read"), took),
        }
        let response = exchange.response();
        let rcode = response.rcode();
        let answers = response.count(Section::Answer);
        let metrics = &forward.upstreams[upstream].metrics;
        metrics.reply(rcode, Duration::from_nanos(took));
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
        let forward = self.forward;
        self.check(upstream);
        let proto = forward.upstreams[upstream].proto(self.asked);
        self.attempts += 1;
        self.last = Some((upstream, proto, trouble, took / 1_000_000));
        if self.down < self.order.count {
            Settled::More
        } else {
            Settled::Failed(self.failure())
        }
    }

    /// Has an upstream's health checked.
    fn check(&self, upstream: usize) {
        if self.forward.max_fails != 0 {
            health::start(self.forward, &self.forward.upstreams[upstream]);
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
        let label = &self.forward.upstreams[*upstream].label;
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

/// Writes an ID and the second octet of flags into a message; gives what stood there.
fn set_head(message: &mut [u8], id: u16, flags: u8) -> (u16, u8) {
    match message.first_chunk_mut::<4>() {
        Some([first, second, _, low]) => {
            let [one, two] = id.to_be_bytes();
            let theirs = [
                std::mem::replace(first, one),
                std::mem::replace(second, two),
            ];
            (u16::from_be_bytes(theirs), std::mem::replace(low, flags))
        }
        None => (0, 0),
    }
}
