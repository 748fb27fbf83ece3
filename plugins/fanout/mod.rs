//! `fanout`: asks several upstreams at the same time.
//!
//! ```text
//! query   ──► FROM encloses QNAME, no exception does ──► Suspend
//! resolve ──► a fork of the exchange for each upstream, so many at a time ──► the first good response, or the best of all
//! ```

mod setup;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use chain::{Admits, Exchange, ExtendedError, Failure, Flow, Plugin, Query, Resolved, Resolving};
use host::random;
use prometheus_client::metrics::family::Family;
use rand::RngExt;
use telemetry::metrics::{Striped, StripedDurations, family};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use upstream::{Endpoint, LastFailure, Order, Policy, Settings, Status, Verdict};
use wire::{NameBuf, Rcode, Response};

pub(crate) use setup::REGISTRATION;

/// One `fanout` at work.
struct Fanout {
    from: NameBuf,
    except: Vec<NameBuf>,
    upstreams: Vec<Arc<Upstream>>,
    /// How many are asked at a time.
    workers: usize,
    /// How many are asked in all.
    count: usize,
    /// The weights to draw them by; in the order in which they are written without.
    weights: Option<Vec<u32>>,
    race: Race,
    next: Vec<Rcode>,
    timeout: Duration,
}

/// Which response ends the wait for others, beside one without an error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Race {
    /// No other.
    Off,
    /// The first one.
    First,
    /// The first one that says whether the name exists.
    FirstKnown,
}

impl Race {
    fn ends_with(self, rcode: Rcode) -> bool {
        match self {
            Self::Off => rcode == Rcode::NOERROR,
            Self::First => true,
            Self::FirstKnown => matches!(rcode, Rcode::NOERROR | Rcode::NXDOMAIN),
        }
    }
}

impl Plugin for Fanout {
    fn name(&self) -> &'static str {
        "fanout"
    }

    fn admits(&self) -> Admits {
        Admits::FORWARDED
    }

    fn query(&self, query: &mut Query<'_>, _: &mut Response<'_>) -> Result<Flow, Failure> {
        let name = query.name();
        let excepted = || {
            self.except
                .iter()
                .any(|zone| name.is_within(zone.as_name()))
        };
        if !name.is_within(self.from.as_name()) || excepted() {
            return Ok(Flow::Next);
        }
        upstream::refuse_transfer(query)?;
        Ok(Flow::Suspend)
    }

    fn resolve(self: Arc<Self>, exchange: Box<Exchange>) -> Resolving {
        Box::pin(self.ask(exchange))
    }
}

impl Fanout {
    /// Asks upstreams, and takes the first good response, or else the best. What is still asked then is given up.
    async fn ask(self: Arc<Self>, mut exchange: Box<Exchange>) -> Resolved {
        let deadline = Instant::now() + self.timeout;
        let mut left = self.order().into_iter();
        let mut asked = JoinSet::new();
        let mut best: Option<Box<Exchange>> = None;
        let mut failed = None;
        loop {
            while asked.len() < self.workers
                && let Some(upstream) = left.next().and_then(|at| self.upstreams.get(at))
            {
                asked.spawn_local(upstream::ask(upstream.clone(), exchange.fork()));
            }
            let Ok(Some(ended)) = timeout_at(deadline, asked.join_next()).await else {
                break;
            };
            // What panicked has said so.
            let Ok((mut fork, ended)) = ended else {
                continue;
            };
            if let Err(failure) = ended {
                failed = Some(failure);
                continue;
            }
            let rcode = fork.response().rcode();
            let is_better = match &mut best {
                Some(best) => rank(rcode) > rank(best.response().rcode()),
                None => true,
            };
            if is_better {
                best = Some(fork);
            }
            if self.race.ends_with(rcode) {
                break;
            }
        }
        let Some(mut best) = best else {
            let failure = failed.unwrap_or_else(|| {
                Failure::servfail("no upstream has answered in time").extended(
                    ExtendedError::NO_REACHABLE_AUTHORITY,
                    "no upstream has answered in time",
                )
            });
            return (exchange, Err(failure));
        };
        if self.next.contains(&best.response().rcode()) {
            return (exchange, Ok(Flow::Next));
        }
        exchange.take_response(&mut best);
        (exchange, Ok(Flow::Answered))
    }

    /// The upstreams of one query, in order.
    fn order(&self) -> Vec<usize> {
        let mut all: Vec<usize> = (0..self.upstreams.len()).collect();
        let Some(weights) = &self.weights else {
            all.truncate(self.count);
            return all;
        };
        let weight = |at: usize| weights.get(at).copied().unwrap_or(1);
        let mut random = random::rng();
        let mut drawn = Vec::with_capacity(self.count);
        while drawn.len() < self.count && !all.is_empty() {
            let sum: u32 = all.iter().map(|&at| weight(at)).sum();
            let mut lot = random.random_range(0..sum.max(1));
            let place = all
                .iter()
                .position(|&at| match lot.checked_sub(weight(at)) {
                    Some(rest) => {
                        lot = rest;
                        false
                    }
                    None => true,
                });
            drawn.push(all.swap_remove(place.unwrap_or(0)));
        }
        drawn
    }
}

/// How good a response is with this RCODE: one that tells of the name is better than one that tells of a server.
const fn rank(rcode: Rcode) -> u8 {
    match rcode {
        Rcode::NOERROR => 2,
        Rcode::NXDOMAIN => 1,
        _ => 0,
    }
}

/// An upstream, which is asked alone.
struct Upstream {
    endpoint: Arc<Endpoint>,
    settings: Settings,
    durations: StripedDurations,
    replies: Striped,
    rcodes: Family<Vec<(&'static str, String)>, Striped>,
}

impl Upstream {
    fn new(endpoint: Arc<Endpoint>, settings: Settings) -> Self {
        let labels = vec![("to", endpoint.label.to_string())];
        let durations: Family<Vec<(&'static str, String)>, StripedDurations> = family(
            "coredns_fanout_request_duration_seconds",
            "Histogram of the time each request took.",
        );
        let replies: Family<Vec<(&'static str, String)>, Striped> = family(
            "coredns_fanout_request_count",
            "Counter of requests made per upstream.",
        );
        Self {
            durations: durations.get_or_create_owned(&labels),
            replies: replies.get_or_create_owned(&labels),
            rcodes: family(
                "coredns_fanout_response_rcode_count",
                "Counter of requests made per upstream.",
            ),
            endpoint,
            settings,
        }
    }
}

impl Policy for Upstream {
    fn settings(&self) -> &Settings {
        &self.settings
    }

    fn order(&self) -> Order {
        Order::new(0, 1, 0)
    }

    fn endpoint(&self, _: usize) -> &Arc<Endpoint> {
        &self.endpoint
    }

    fn status(&self, _: usize) -> Status {
        Status::Up
    }

    fn suspect(&self, _: usize) {}

    fn full(&self) -> Failure {
        Failure::servfail("too many queries wait for upstreams on one worker")
    }

    fn judge(&self, _: usize, exchange: &mut Exchange, took: u64) -> Verdict {
        let worker = usize::from(exchange.context.worker);
        let rcode = exchange.response().rcode();
        self.durations.observe(worker, took);
        self.replies.inc(worker);
        let rcode = rcode
            .mnemonic()
            .map_or_else(|| rcode.0.to_string(), str::to_owned);
        let labels = vec![("rcode", rcode), ("to", self.endpoint.label.to_string())];
        self.rcodes.get_or_create(&labels).inc(worker);
        Verdict {
            flow: Flow::Answered,
            unwanted: false,
        }
    }

    fn failure(&self, last: Option<&LastFailure>, attempts: u32) -> Failure {
        match last {
            Some(last) => last.told(&self.endpoint, attempts),
            None => Failure::servfail("the upstream was not asked"),
        }
    }
}
