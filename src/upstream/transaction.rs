//! One question on its way through the servers that may be asked: whom to ask next, over what, and how long to wait.
//!
//! A state machine without I/O and without a clock. It is told what has happened ([`Event`]) and what time it is, asks [`Servers`] what
//! is known of them, and says what to do ([`Step`]):
//!
//! ```text
//! Start ─► Send ─┬─ Timer: reply overdue ──► Resend the same datagram, as the server's budget allows          (0.1 to 0.4 s)
//!                ├─ Timer: silence ────────► Send to a second server beside the first                         (0.8 s)
//!                ├─ Timer: attempt over ───► Send to the next server, or Wait for earlier attempts, or Fail   (read_timeout)
//!                ├─ Failed ────────────────► Send on a new connection, or to the next server, or Fail
//!                └─ Reply ─────────────────► Answer; or Send over TCP (TC), without EDNS, or to the next server
//! ```
//!
//! Earlier attempts stay outstanding: whichever server answers first is heard, until the deadline. A server gets at most
//! [`MOST_DATAGRAMS`] datagrams for one question (RFC 9520, section 3.1); after that its answer is waited for, but it is not asked again.

use rand::SeedableRng;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;

use crate::error::Error;
use crate::rtt::Resend;
use crate::wheel::TICK;

/// How long one server may keep silent before a second one is asked too, in nanoseconds.
pub(crate) const HEDGE: u64 = 800_000_000;
/// The most servers that an order can hold.
pub const MOST_SERVERS: usize = 255;
/// Datagrams to one server for one question: "MUST NOT retry … more than twice" (RFC 9520, section 3.1).
const MOST_DATAGRAMS: u8 = 3;
/// Servers whose datagrams are counted, two bits each; those behind them are bounded by the attempts alone.
const COUNTED: usize = 64;

/// How a server is spoken to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Transport {
    /// Do53 over UDP.
    Udp,
    /// Do53 over TCP.
    Tcp,
    /// DNS over TLS.
    Tls,
    /// DNS over HTTPS.
    Https,
    /// DNS over QUIC.
    Quic,
    /// CoreDNS's DnsService over gRPC.
    Grpc,
}

impl Transport {
    /// How metrics and messages name it.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tcp-tls",
            Self::Https => "https",
            Self::Quic => "quic",
            Self::Grpc => "grpc",
        }
    }
}

/// What is believed of a server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    /// It answers.
    Up,
    /// It failed a query and has not answered a probe since.
    Doubted,
    /// Its last probe failed, too.
    Failing,
    /// It is not asked while another one is up.
    Down,
}

impl Status {
    /// Whether a probe failed.
    const fn fails(self) -> bool {
        matches!(self, Self::Failing | Self::Down)
    }
}

/// What a transaction may know of the servers, and whom it tells.
pub trait Servers {
    /// What is believed of a server.
    fn status(&self, server: usize) -> Status;

    /// How a server is spoken to, where `asked` is wanted.
    fn transport(&self, server: usize, asked: Transport) -> Transport;

    /// A datagram is sent to a server: how long its reply may take before the datagram is taken for lost, in nanoseconds.
    fn overdue(&self, server: usize) -> u64;

    /// Whether one more datagram may be sent to a server again.
    fn may_resend(&self, server: usize, now: u64) -> Resend;

    /// How many attempts for this question may still be answered.
    fn outstanding(&self) -> usize;

    /// A server failed or keeps silent.
    fn suspect(&self, server: usize);

    /// All servers are down; gives one of `count` at random, or `None` to ask none.
    fn all_down(&self, count: usize) -> Option<usize>;
}

/// Servers in the order in which they are asked.
///
/// The first is at hand; the others are computed when there is trouble, so that a query carries no list.
#[derive(Clone, Copy, Debug)]
pub struct Order {
    first: u8,
    count: u8,
    /// What shuffles those behind the first; 0 leaves them in the order in which they were written.
    seed: u64,
}

impl Order {
    /// Begins with `first` of `count` servers.
    pub fn new(first: usize, count: usize, seed: u64) -> Self {
        let count = count.min(MOST_SERVERS);
        Self {
            first: first.min(count.saturating_sub(1)) as u8,
            count: count as u8,
            seed,
        }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        usize::from(self.count)
    }

    /// The server at a place.
    fn get(&self, at: usize) -> usize {
        if at == 0 {
            return usize::from(self.first);
        }
        let mut rest = [0u8; MOST_SERVERS];
        let others = (0..self.count).filter(|&server| server != self.first);
        let mut len = 0;
        for (place, server) in rest.iter_mut().zip(others) {
            *place = server;
            len += 1;
        }
        let rest = &mut rest[..len];
        if self.seed != 0 {
            rest.shuffle(&mut SmallRng::seed_from_u64(self.seed));
        }
        usize::from(rest.get(at - 1).copied().unwrap_or(self.first))
    }
}

/// The bounds of a transaction, in nanoseconds and attempts.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// The longest that all of it may take.
    pub deadline: u64,
    /// How long an attempt waits.
    pub timeout: u64,
    /// The most attempts; 0 leaves the deadline alone.
    pub attempts: u32,
}

/// What has happened.
#[derive(Debug)]
pub enum Event {
    /// Nothing yet: the question is new.
    Start,
    /// The time that the last step named has come.
    Timer {
        /// What to say of the attempt at hand, should it be over.
        error: Error,
    },
    /// An attempt on a server failed.
    Failed {
        /// The server.
        server: usize,
        /// How it was spoken to.
        transport: Transport,
        /// Why.
        error: Error,
        /// Whether the connection had been used before.
        reused: bool,
    },
    /// A server has answered.
    Reply {
        /// The server.
        server: usize,
        /// How it was spoken to.
        transport: Transport,
        /// What its reply is good for.
        reply: Reply,
    },
}

/// What a reply is good for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reply {
    /// It answers the question.
    Wanted,
    /// Another server's would be preferred.
    Unwanted,
    /// It is cut, or larger than the client takes, and there is another transport.
    Truncated,
    /// The server does not understand EDNS (RFC 6891, section 6.2.2).
    NoEdns,
}

/// What to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Send the question to a server, and give [`Event::Timer`] at `until`.
    Send {
        /// The server.
        server: usize,
        /// How to speak to it.
        transport: Transport,
        /// Whether it has to be a connection that was not used before.
        fresh: bool,
        /// When the next timer is due.
        until: u64,
    },
    /// Send the last datagram once more from the same socket, and give [`Event::Timer`] at `until`.
    Resend {
        /// When the next timer is due.
        until: u64,
    },
    /// Give [`Event::Timer`] at `until`.
    Wait {
        /// When the next timer is due.
        until: u64,
    },
    /// What came last is the answer.
    Answer,
    /// Nobody answers: [`Transaction::last`] says why.
    Fail,
}

/// The last attempt that failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LastFailure {
    /// The server.
    pub server: usize,
    /// How it was spoken to.
    pub transport: Transport,
    /// Why.
    pub error: Error,
    /// After how many milliseconds.
    pub took: u64,
}

/// One question on its way through the servers.
#[derive(Debug)]
pub struct Transaction {
    order: Order,
    bounds: Bounds,
    /// The transport that is wanted.
    asked: Transport,
    /// The place in the order behind the last server that was picked.
    at: u8,
    /// Servers in a row that were found down.
    down: u8,
    /// The server of the attempt at hand, and how it is spoken to.
    server: u8,
    transport: Transport,
    /// Replies that were not wanted.
    unwanted: u8,
    /// Whether a dead connection was already replaced in this attempt.
    replaced: bool,
    attempts: u32,
    /// Datagrams per server, two bits each.
    datagrams: u128,
    /// When the attempt at hand began, and when it is over.
    began: u64,
    until: u64,
    /// When the datagram is taken for lost; `u64::MAX` when it is not sent again.
    resend_at: u64,
    /// When a second server is asked; `u64::MAX` when none is.
    hedge_at: u64,
    deadline: u64,
    last: Option<Box<LastFailure>>,
}

impl Transaction {
    /// A question that comes now and is to be asked over `asked`.
    pub fn new(order: Order, bounds: Bounds, asked: Transport, now: u64) -> Self {
        Self {
            order,
            bounds,
            asked,
            at: 0,
            down: 0,
            server: 0,
            transport: asked,
            unwanted: 0,
            replaced: false,
            attempts: 0,
            datagrams: 0,
            began: now,
            until: now,
            resend_at: u64::MAX,
            hedge_at: u64::MAX,
            deadline: now + bounds.deadline,
            last: None,
        }
    }

    /// When the next timer is due.
    #[inline]
    pub fn due(&self) -> u64 {
        self.until.min(self.hedge_at).min(self.resend_at)
    }

    /// Whether a reply may be refused in the hope of another server's.
    pub fn may_refuse_reply(&self) -> bool {
        usize::from(self.unwanted) + 1 < self.order.count()
    }

    /// The transport that is wanted.
    pub fn asked(&self) -> Transport {
        self.asked
    }

    /// How many attempts were made.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// The last attempt that failed.
    pub fn last(&self) -> Option<&LastFailure> {
        self.last.as_deref()
    }

    /// What to do, now that this has happened.
    #[inline]
    pub fn next(&mut self, event: Event, servers: &impl Servers, now: u64) -> Step {
        match event {
            Event::Start => self.attempt(servers, now),
            Event::Reply {
                reply: Reply::Wanted,
                ..
            } => Step::Answer,
            other => self.go_on(other, servers, now),
        }
    }

    #[cold]
    fn go_on(&mut self, event: Event, servers: &impl Servers, now: u64) -> Step {
        match event {
            Event::Start => self.attempt(servers, now),
            Event::Timer { error } => self.timer(error, servers, now),
            Event::Failed {
                server,
                transport,
                error,
                reused,
            } => {
                if reused && !self.replaced && error.is_dead_connection() {
                    // The server closed a connection that was idle: once more, on a new one.
                    self.replaced = true;
                    return self.send(server, transport, true, now);
                }
                let until = self.until;
                self.fail(server, transport, error, servers, now);
                match self.attempt(servers, now) {
                    Step::Fail if servers.outstanding() > 0 && now < until => self.wait(),
                    step => step,
                }
            }
            Event::Reply {
                server,
                transport,
                reply,
            } => match reply {
                Reply::Wanted => Step::Answer,
                Reply::Truncated => self.send(server, Transport::Tcp, false, now),
                Reply::NoEdns => self.send(server, transport, false, now),
                Reply::Unwanted => {
                    self.unwanted = self.unwanted.saturating_add(1);
                    match usize::from(self.unwanted) < self.order.count() {
                        true => self.attempt(servers, now),
                        false => Step::Answer,
                    }
                }
            },
        }
    }

    /// Begins an attempt on the next server.
    #[inline]
    fn attempt(&mut self, servers: &impl Servers, now: u64) -> Step {
        for _ in 0..=self.order.count() {
            let Some(server) = self.pick(servers, now) else {
                return Step::Fail;
            };
            self.replaced = false;
            let transport = servers.transport(server, self.asked);
            if transport != Transport::Udp {
                return self.send(server, transport, false, now);
            }
            if self.datagrams(server) < MOST_DATAGRAMS {
                return self.send_datagram(server, servers, now);
            }
            if servers.outstanding() > 0 {
                self.begin(server, transport, now);
                return self.wait();
            }
        }
        Step::Fail
    }

    #[inline]
    fn send_datagram(&mut self, server: usize, servers: &impl Servers, now: u64) -> Step {
        self.begin(server, Transport::Udp, now);
        let mut whole = self.until - now;
        if whole > HEDGE {
            self.hedge_at = now + HEDGE;
            whole = HEDGE;
        }
        let overdue = servers.overdue(server);
        if overdue < whole && !servers.status(server).fails() {
            self.resend_at = now + overdue;
        }
        self.count(server);
        Step::Send {
            server,
            transport: Transport::Udp,
            fresh: false,
            until: self.due(),
        }
    }

    /// Sends to a server within the attempt at hand, whose time begins anew.
    fn send(&mut self, server: usize, transport: Transport, fresh: bool, now: u64) -> Step {
        self.begin(server, transport, now);
        Step::Send {
            server,
            transport,
            fresh,
            until: self.until,
        }
    }

    #[inline]
    fn begin(&mut self, server: usize, transport: Transport, now: u64) {
        (self.server, self.transport) = (server as u8, transport);
        self.began = now;
        self.until = self.deadline.min(now + self.bounds.timeout);
        (self.resend_at, self.hedge_at) = (u64::MAX, u64::MAX);
    }

    /// A time has come.
    fn timer(&mut self, error: Error, servers: &impl Servers, now: u64) -> Step {
        let server = usize::from(self.server);
        if now >= self.until {
            self.fail(server, self.transport, error, servers, now);
            return self.attempt(servers, now);
        }
        if now >= self.hedge_at {
            self.hedge_at = u64::MAX;
            self.resend_at = u64::MAX;
            servers.suspect(server);
            return match self.second(server, servers) {
                Some(second) => {
                    self.count(second);
                    Step::Send {
                        server: second,
                        transport: Transport::Udp,
                        fresh: false,
                        until: self.until,
                    }
                }
                None => self.wait(),
            };
        }
        if now >= self.resend_at {
            self.resend_at = u64::MAX;
            match servers.may_resend(server, now) {
                Resend::Now if self.datagrams(server) < MOST_DATAGRAMS => {
                    self.count(server);
                    return Step::Resend { until: self.due() };
                }
                Resend::Later if self.due() > now + TICK => self.resend_at = now,
                _ => {}
            }
        }
        self.wait()
    }

    fn wait(&self) -> Step {
        Step::Wait { until: self.due() }
    }

    /// Notes an attempt that failed.
    fn fail(
        &mut self,
        server: usize,
        transport: Transport,
        error: Error,
        servers: &impl Servers,
        now: u64,
    ) {
        servers.suspect(server);
        self.attempts += 1;
        self.last = Some(Box::new(LastFailure {
            server,
            transport,
            error,
            took: now.saturating_sub(self.began) / 1_000_000,
        }));
    }

    /// The next server to ask; `None` when there is no more to try.
    #[inline]
    fn pick(&mut self, servers: &impl Servers, now: u64) -> Option<usize> {
        let bound = self.bounds.attempts;
        let count = self.order.count();
        if count == 0 || (self.down > 0 && usize::from(self.down) >= count) {
            return None;
        }
        while now < self.deadline && (bound == 0 || self.attempts < bound) {
            if usize::from(self.at) >= count {
                (self.at, self.down) = (0, 0);
            }
            let mut server = self.order.get(self.at.into());
            let mut status = servers.status(server);
            if status != Status::Up
                && let Some((at, other)) = self.undoubted(servers)
            {
                (self.at, server, status) = (at as u8, other, Status::Up);
            }
            self.at += 1;
            if status != Status::Down {
                return Some(server);
            }
            self.down += 1;
            if usize::from(self.down) >= count {
                return servers.all_down(count);
            }
        }
        None
    }

    /// The next server in the order that nobody doubts, and its place. One that failed a query is probed at once; until it has
    /// answered, the others are asked, so that its silence costs the queries that found it and no more.
    #[cold]
    fn undoubted(&self, servers: &impl Servers) -> Option<(usize, usize)> {
        (self.at.into()..self.order.count())
            .map(|at| (at, self.order.get(at)))
            .find(|&(_, server)| servers.status(server) == Status::Up)
    }

    /// Whom to ask beside a server that keeps silent: another one, or where there is none the same once more, since a datagram may
    /// have been lost. That does not count as an attempt, and a server that fails its probes is spared it.
    fn second(&mut self, first: usize, servers: &impl Servers) -> Option<usize> {
        let bound = self.bounds.attempts;
        if self.order.count() > 1 && (bound == 0 || self.attempts + 2 <= bound) {
            let other = (self.at.into()..self.order.count())
                .map(|at| (at, self.order.get(at)))
                .find(|&(_, server)| {
                    server != first
                        && servers.status(server) != Status::Down
                        && servers.transport(server, Transport::Udp) == Transport::Udp
                        && self.datagrams(server) < MOST_DATAGRAMS
                });
            if let Some((at, server)) = other {
                self.at = at as u8 + 1;
                self.attempts += 1;
                return Some(server);
            }
        }
        let may = !servers.status(first).fails() && self.datagrams(first) < MOST_DATAGRAMS;
        may.then_some(first)
    }

    /// Datagrams that a server got.
    fn datagrams(&self, server: usize) -> u8 {
        match server < COUNTED {
            true => (self.datagrams >> (2 * server)) as u8 & 3,
            false => 0,
        }
    }

    #[inline]
    fn count(&mut self, server: usize) {
        if server < COUNTED && self.datagrams(server) < 3 {
            self.datagrams += 1 << (2 * server);
        }
    }
}

#[cfg(test)]
mod tests;
