//! `grpc`: asks upstreams by CoreDNS's own service over gRPC.
//!
//! ```text
//! query   ──► FROM encloses QNAME, `except` does not, no failure is remembered ──► Suspend
//! launch  ──► upstream::launch, where nothing falls through
//! resolve ──► upstream::ask; what fails falls through, as NXDOMAIN does
//! ```

mod setup;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use chain::trace::Remark;
use chain::{
    Admits, Completion, Exchange, ExtendedError, Failure, Fallthrough, Flow, Plugin, Query,
    Resolved, Resolving,
};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use telemetry::metrics::{Striped, StripedDurations, family};
use upstream::health::Health;
use upstream::{Endpoint, LastFailure, Order, Policy, Selection, Settings, Status, Verdict};
use wire::{NameBuf, Rcode, Response};

pub(crate) use setup::REGISTRATION;

/// Failed probes in a row that an upstream is forgiven.
const MAX_FAILS: u32 = 2;

/// One `grpc` at work.
struct Grpc {
    from: NameBuf,
    except: Vec<NameBuf>,
    upstreams: Box<[Upstream]>,
    selection: Selection,
    robin: AtomicU32,
    fall: Fallthrough,
    settings: Settings,
}

impl Grpc {
    /// Whether the query is for it.
    fn matches(&self, query: &Query<'_>) -> bool {
        let name = query.name();
        let excepted = || {
            self.except
                .iter()
                .any(|zone| name.is_within(zone.as_name()))
        };
        name.is_within(self.from.as_name()) && (name == self.from.as_name() || !excepted())
    }

    /// Whether the query of `exchange` goes on to the next plugin when its name is unknown here. Without a plugin behind, it does not.
    fn falls(&self, exchange: &mut Exchange) -> bool {
        if self.fall == Fallthrough::No {
            return false;
        }
        let behind = exchange
            .suspended_at()
            .is_some_and(|(block, step)| step + 1 < block.chain.steps().len());
        behind
            && exchange
                .suspended_query()
                .is_some_and(|query| self.fall.through(query.qname()))
    }

    /// Asks, and lets a failure fall through.
    async fn ask(self: Arc<Self>, exchange: Box<Exchange>) -> Resolved {
        let (mut exchange, flow) = upstream::ask(self.clone(), exchange).await;
        if flow.is_err() && self.falls(&mut exchange) {
            return (exchange, Ok(Flow::Next));
        }
        (exchange, flow)
    }
}

impl Plugin for Grpc {
    fn name(&self) -> &'static str {
        "grpc"
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
        if self.fall != Fallthrough::No {
            return Ok(Flow::Suspend);
        }
        let recovered = || Policy::recovered(self);
        upstream::failures::remembered(self.settings.servers, query, recovered)?;
        Ok(Flow::Suspend)
    }

    fn launch(self: Arc<Self>, exchange: &mut Option<Box<Exchange>>, completion: Completion) {
        if self.fall == Fallthrough::No {
            upstream::launch(self, exchange, completion);
        }
    }

    fn resolve(self: Arc<Self>, exchange: Box<Exchange>) -> Resolving {
        Box::pin(self.ask(exchange))
    }
}

impl Policy for Grpc {
    fn settings(&self) -> &Settings {
        &self.settings
    }

    fn order(&self) -> Order {
        self.selection.order(&self.robin, self.upstreams.len())
    }

    fn endpoint(&self, server: usize) -> &Arc<Endpoint> {
        &self.upstreams[server].endpoint
    }

    fn status(&self, server: usize) -> Status {
        self.upstreams[server].health.status(MAX_FAILS)
    }

    fn suspect(&self, server: usize) {
        self.upstreams[server].health.probe();
    }

    fn recovered(&self) -> u64 {
        let recovered = self.upstreams.iter().map(|one| one.health.recovered());
        recovered.max().unwrap_or(0)
    }

    fn full(&self) -> Failure {
        Failure::servfail("too many queries wait for upstreams on one worker")
    }

    fn judge(&self, server: usize, exchange: &mut Exchange, took: u64) -> Verdict {
        let rcode = exchange.response().rcode();
        let worker = usize::from(exchange.context.worker);
        self.upstreams[server].replied(worker, rcode, took);
        let flow = match rcode == Rcode::NXDOMAIN && self.falls(exchange) {
            true => Flow::Next,
            false => Flow::Answered,
        };
        Verdict {
            flow,
            unwanted: false,
        }
    }

    fn failure(&self, last: Option<&LastFailure>, attempts: u32) -> Failure {
        match last {
            Some(last) => last.told(&self.upstreams[last.server].endpoint, attempts),
            None => Failure::servfail("no healthy gRPC proxies").extended(
                ExtendedError::NO_REACHABLE_AUTHORITY,
                "all upstreams are down",
            ),
        }
    }
}

/// An upstream, and what is counted of it under CoreDNS's names.
struct Upstream {
    endpoint: Arc<Endpoint>,
    health: Arc<Health>,
    requests: Striped,
    durations: StripedDurations,
    rcodes: Family<ToRcode, Striped>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct To {
    to: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ToRcode {
    rcode: String,
    to: String,
}

impl Upstream {
    fn new(endpoint: Arc<Endpoint>, health: Arc<Health>) -> Self {
        let to = To {
            to: endpoint.label.to_string(),
        };
        let requests = family::<To, Striped>(
            "coredns_grpc_requests",
            "Counter of requests made per upstream.",
        );
        let durations = family::<To, StripedDurations>(
            "coredns_grpc_request_duration_seconds",
            "Histogram of the time each request took.",
        );
        Self {
            requests: requests.get_or_create_owned(&to),
            durations: durations.get_or_create_owned(&to),
            rcodes: family(
                "coredns_grpc_responses",
                "Counter of requests made per upstream.",
            ),
            endpoint,
            health,
        }
    }

    /// A reply came, after so many nanoseconds.
    fn replied(&self, worker: usize, rcode: Rcode, took: u64) {
        self.requests.inc(worker);
        self.durations.observe(worker, took);
        let rcode = rcode
            .mnemonic()
            .map_or_else(|| rcode.0.to_string(), str::to_owned);
        let labels = ToRcode {
            rcode,
            to: self.endpoint.label.to_string(),
        };
        self.rcodes.get_or_create(&labels).inc(worker);
    }
}
