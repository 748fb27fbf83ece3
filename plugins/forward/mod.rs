//! `forward`: asks upstreams.
//!
//! ```text
//! query   ──► FROM encloses QNAME, `except` does not, no failure is remembered ──► Suspend
//! launch  ──► upstream::launch: one datagram, its reply ──► Completion::complete        (no task, no allocation)
//! resolve ──► upstream::ask: the same, for a task that waits
//! ```
//!
//! What is decided here: which upstreams there are and in which order they are asked ([`Selection`]), which of them are believed to
//! be up ([`health`]), and what a reply means (`failover`, `next`). How they are asked, and by which sockets, is [`::upstream`]'s.

mod metrics;
mod setup;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use chain::metadata::{self, Note};
use chain::setup::BuildError;
use chain::trace::Remark;
use chain::{
    Admits, Cause, Completion, Exchange, ExtendedError, Failure, Flow, Plugin, Query, Resolving,
};
use host::clock;
use prometheus_client::metrics::counter::Counter;
use upstream::health::Health;
use upstream::message::Matching;
use upstream::metrics::UpstreamMetrics;
use upstream::{
    Bounds, Endpoint, Keep, LastFailure, MOST_SERVERS, Order, Selection, Settings, Status,
    Transport, Verdict,
};
use wire::{Flags, NameBuf, Rcode, Response, Section};

use setup::Options;
pub(crate) use setup::REGISTRATION;

/// The value of `proxy_name` in metrics.
const PROXY: &str = "forward";
/// The longest that a query may take, in nanoseconds.
const DEADLINE: u64 = 5 * clock::SECOND;

/// An upstream of one `forward`.
pub(crate) struct Upstream {
    /// Where it is, and how it is spoken to.
    pub(crate) endpoint: Arc<Endpoint>,
    /// Its health, shared by all that probe it alike.
    health: Arc<Health>,
    /// Its metrics.
    metrics: UpstreamMetrics,
}

/// One `forward` at work.
pub(crate) struct Forward {
    from: NameBuf,
    except: Vec<NameBuf>,
    upstreams: Box<[Upstream]>,
    policy: Selection,
    robin: AtomicU32,
    concurrent: AtomicU32,
    max_concurrent: u32,
    settings: Settings,
    max_fails: u32,
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
        endpoints: Vec<Arc<Endpoint>>,
        has_next: bool,
    ) -> Result<Self, BuildError> {
        let name = |text: &String| {
            let name = text.parse::<NameBuf>();
            name.map_err(|error| BuildError::new(format!("zone {text}: {error}")))
        };
        if endpoints.len() > MOST_SERVERS {
            let text = format!("more than {MOST_SERVERS} upstream addresses");
            return Err(BuildError::new(text));
        }
        let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let settings = Settings {
            bounds: Bounds {
                deadline: DEADLINE,
                timeout: nanos(options.read_timeout),
                attempts: options.max_attempts.unwrap_or(2 * endpoints.len() as u32),
            },
            matching: match options.mixed_case {
                true => Matching::Case,
                false => Matching::Question,
            },
            force_tcp: options.force_tcp,
            prefer_udp: options.prefer_udp,
            keep: Keep {
                expire: nanos(options.expire),
                max_age: nanos(options.max_age),
                max_idle: options.max_idle,
                connect: nanos(options.read_timeout).min(DEADLINE / 2),
            },
            servers: Endpoint::set(&endpoints),
        };
        let upstreams = endpoints.into_iter().map(|endpoint| Upstream {
            health: Health::of(
                PROXY,
                &endpoint,
                &options.health,
                (options.force_tcp, settings.keep),
            ),
            metrics: UpstreamMetrics::new(PROXY, &endpoint.label),
            endpoint,
        });
        Ok(Self {
            from: name(&options.from)?,
            except: options.except.iter().map(name).collect::<Result<_, _>>()?,
            upstreams: upstreams.collect(),
            policy: options.policy,
            robin: AtomicU32::new(0),
            concurrent: AtomicU32::new(0),
            max_concurrent: options.max_concurrent,
            settings,
            max_fails: options.max_fails,
            next: options.next,
            next_on_nodata: options.next_on_nodata,
            has_next,
            failfast: options.failfast,
            failover: options.failover,
            broken: metrics::healthcheck_broken(),
            rejects: metrics::max_concurrent_rejects(),
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
}

/// A query that is one too many.
fn refused(cause: Cause) -> Failure {
    Failure {
        rcode: Rcode::REFUSED,
        extended: None,
        cause,
    }
}

impl Plugin for Forward {
    fn name(&self) -> &'static str {
        "forward"
    }

    fn admits(&self) -> Admits {
        Admits::FORWARDED
    }

    fn query(&self, query: &mut Query<'_>, _: &mut Response<'_>) -> Result<Flow, Failure> {
        if !self.matches(query) {
            query.remark(|| Remark::new("the name is not for it").with("from", self.from));
            return Ok(Flow::Next);
        }
        upstream::refuse_transfer(query)?;
        let recovered = || upstream::Policy::recovered(self);
        upstream::failures::remembered(self.settings.servers, query, recovered)?;
        Ok(Flow::Suspend)
    }

    fn launch(self: Arc<Self>, exchange: &mut Option<Box<Exchange>>, completion: Completion) {
        upstream::launch(self, exchange, completion);
    }

    fn resolve(self: Arc<Self>, exchange: Box<Exchange>) -> Resolving {
        Box::pin(upstream::ask(self, exchange))
    }
}

impl upstream::Policy for Forward {
    #[inline]
    fn settings(&self) -> &Settings {
        &self.settings
    }

    fn order(&self) -> Order {
        self.policy.order(&self.robin, self.upstreams.len())
    }

    #[inline]
    fn endpoint(&self, server: usize) -> &Arc<Endpoint> {
        &self.upstreams[server].endpoint
    }

    #[inline]
    fn status(&self, server: usize) -> Status {
        self.upstreams[server].health.status(self.max_fails)
    }

    fn suspect(&self, server: usize) {
        if self.max_fails != 0 {
            self.upstreams[server].health.probe();
        }
    }

    fn recovered(&self) -> u64 {
        let recovered = self.upstreams.iter().map(|one| one.health.recovered());
        recovered.max().unwrap_or(0)
    }

    fn all_down(&self) -> bool {
        self.broken.inc();
        // Health checking itself may be what is broken.
        !self.failfast
    }

    #[inline]
    fn admit(&self) -> Result<(), Failure> {
        if self.max_concurrent == 0 {
            return Ok(());
        }
        let before = self.concurrent.fetch_add(1, Ordering::Relaxed);
        if before >= self.max_concurrent {
            self.concurrent.fetch_sub(1, Ordering::Relaxed);
            self.rejects.inc();
            let most = self.max_concurrent;
            let cause = format!("concurrent queries exceeded maximum {most}");
            return Err(refused(Cause::Text(cause.into())));
        }
        Ok(())
    }

    #[inline]
    fn ended(&self) {
        if self.max_concurrent > 0 {
            self.concurrent.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn full(&self) -> Failure {
        self.rejects.inc();
        refused(Cause::Static(
            "too many queries wait for upstreams on one worker",
        ))
    }

    #[inline]
    fn taken(&self, server: usize, transport: Transport, reused: bool, worker: usize) {
        self.upstreams[server]
            .metrics
            .socket(worker, transport, reused);
    }

    #[inline]
    fn judge(&self, server: usize, exchange: &mut Exchange, took: u64) -> Verdict {
        exchange.note(metadata::UPSTREAM, || {
            Note::Text(self.upstreams[server].endpoint.label.clone())
        });
        let worker = exchange.context.worker;
        let response = exchange.response();
        let rcode = response.rcode();
        let answers = response.count(Section::Answer);
        let metrics = &self.upstreams[server].metrics;
        metrics.reply(usize::from(worker), rcode, took);
        let nodata = self.next_on_nodata
            && rcode == Rcode::NOERROR
            && answers == 0
            && !response.flags().has(Flags::TC);
        let flow = match self.has_next && (nodata || self.next.contains(&rcode)) {
            true => Flow::Next,
            false => Flow::Answered,
        };
        Verdict {
            flow,
            unwanted: self.failover.contains(&rcode),
        }
    }

    fn failure(&self, last: Option<&LastFailure>, attempts: u32) -> Failure {
        let Some(last) = last else {
            return Failure::servfail("no healthy proxies").extended(
                ExtendedError::NO_REACHABLE_AUTHORITY,
                "all upstreams are down",
            );
        };
        last.told(&self.upstreams[last.server].endpoint, attempts)
    }
}
