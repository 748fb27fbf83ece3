//! `forward`: asks upstreams.
//!
//! ```text
//! query   ──► FROM encloses QNAME, `except` does not ──► Suspend
//! launch  ──► one datagram ──► the seat keeps the query ──► reply ──► Berth::land        (direct.rs: no task, no allocation)
//!                                    │ trouble, silence, TC ──► Berth::wait: as from here on
//! resolve ──► permit ──► policy's order ──► attempt: Pool::datagram | Pool::stream ──► Waiting ──► Answered
//!                              ▲                │ trouble: health check, next upstream
//!                              └────────────────┘ until a reply, the attempts' bound, or 5 s
//! ```
//!
//! Forwarding runs on the worker that received the query: sockets, IDs and timers are the worker's own ([`local`]), so nothing is
//! shared but two atomics an upstream. The client's octets go up with another ID; the upstream's octets become the response. A
//! query that is answered by the first datagram costs no allocation; another one the future that waits.

mod direct;
mod health;
mod ids;
mod local;
mod metrics;
mod pulse;
mod reply;
mod run;
mod setup;
mod stream;
mod target;
#[cfg(test)]
mod tests;
mod tls;
mod trouble;
mod udp;
mod upstream;
mod volley;
mod wheel;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use chain::setup::BuildError;
use chain::{
    Berth, Cause, Exchange, ExtendedError, Failure, Flow, Plugin, Query, Resolved, Resolving, clock,
};
use prometheus_client::metrics::counter::Counter;
use wire::{NameBuf, Opcode, Rcode, Response, Type};

use local::Local;
use run::Run;
pub(crate) use setup::REGISTRATION;
use setup::{HealthCheck, Options, Policy};
use upstream::Upstream;

/// The longest that a query may take, in nanoseconds.
const DEADLINE: u64 = 5 * clock::SECOND;
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
    /// Whether no upstream is spoken to over TLS.
    plain: bool,
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
            plain: upstreams.iter().all(|upstream| upstream.tls.is_none()),
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
    fn admit(self: &Arc<Self>) -> Result<Permit, Failure> {
        let permit = Permit(self.clone());
        if self.max_concurrent == 0 {
            return Ok(permit);
        }
        let before = self.concurrent.fetch_add(1, Ordering::Relaxed);
        if before >= self.max_concurrent {
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
        let mut run = Run::new(permit, &mut exchange, clock::now());
        run.proceed(&local, exchange, None).await
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

    fn launch(self: Arc<Self>, exchange: &mut Option<Box<Exchange>>, berth: Berth) {
        direct::launch(&self, exchange, berth);
    }

    fn resolve(self: Arc<Self>, exchange: Box<Exchange>) -> Resolving {
        Box::pin(self.forward(exchange))
    }

    fn any_class(&self) -> bool {
        true
    }
}

/// One of the queries that wait.
struct Permit(Arc<Forward>);

impl Drop for Permit {
    fn drop(&mut self) {
        // Nothing is counted where there is no bound.
        if self.0.max_concurrent > 0 {
            self.0.concurrent.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
