//! `alternate`: asks other upstreams where those below gave no answer but an error.
//!
//! ```text
//! response ──► its RCODE is one of a rule's ──► Wait
//! respond  ──► upstream::ask: the rule's upstreams; their response takes the place of the one before
//! ```

mod setup;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use chain::{Admits, Exchange, Failure, Flow, Hooks, Plugin, Query, Responded, Responding, Turn};
use host::random;
use rand::RngExt;
use upstream::health::Health;
use upstream::metrics::UpstreamMetrics;
use upstream::{Endpoint, LastFailure, Order, Policy, Settings, Status, Transport, Verdict};
use wire::{NameBuf, Rcode, Response, Type};

pub(crate) use setup::REGISTRATION;

/// Failed probes in a row that an upstream is forgiven.
const MAX_FAILS: u32 = 2;

/// Whom to ask, for which names and in the place of which responses.
struct Rule {
    from: NameBuf,
    rcodes: Vec<Rcode>,
    /// Whether the client's question is asked, whatever was made of it.
    original: bool,
    upstreams: Arc<Upstreams>,
}

impl Rule {
    fn applies(&self, query: &Query<'_>, rcode: Rcode) -> bool {
        self.rcodes.contains(&rcode) && query.name().is_within(self.from.as_name())
    }
}

/// All `alternate` lines of a block.
struct Alternate {
    rules: Vec<Rule>,
}

impl Plugin for Alternate {
    fn name(&self) -> &'static str {
        "alternate"
    }

    fn hooks(&self) -> Hooks {
        Hooks::RESPONSE
    }

    fn admits(&self) -> Admits {
        Admits {
            watches: true,
            ..Admits::FORWARDED
        }
    }

    fn response(&self, query: &mut Query<'_>, response: &mut Response<'_>) -> Turn {
        let rcode = response.rcode();
        let is_transfer = matches!(query.qtype(), Type::AXFR | Type::IXFR);
        match !is_transfer && self.rules.iter().any(|rule| rule.applies(query, rcode)) {
            true => Turn::Wait,
            false => Turn::Up,
        }
    }

    fn respond(self: Arc<Self>, exchange: Box<Exchange>) -> Responding {
        Box::pin(self.ask(exchange))
    }
}

impl Alternate {
    /// Asks the upstreams of the rule that applies.
    async fn ask(self: Arc<Self>, mut exchange: Box<Exchange>) -> Responded {
        let Some((mut query, mut response)) = exchange.suspended_views() else {
            return (exchange, Ok(()));
        };
        let rcode = response.rcode();
        let Some(rule) = self.rules.iter().find(|rule| rule.applies(&query, rcode)) else {
            return (exchange, Ok(()));
        };
        if rule.original {
            query.start_over(&mut response);
        }
        let upstreams = rule.upstreams.clone();
        exchange.begin_anew("alternate");
        let (exchange, flow) = upstream::ask(upstreams, exchange).await;
        (exchange, flow.map(|_| ()))
    }
}

/// An upstream of a rule.
struct Upstream {
    endpoint: Arc<Endpoint>,
    health: Arc<Health>,
    metrics: UpstreamMetrics,
}

/// The upstreams of a rule.
struct Upstreams {
    all: Box<[Upstream]>,
    settings: Settings,
}

impl Policy for Upstreams {
    fn settings(&self) -> &Settings {
        &self.settings
    }

    fn order(&self) -> Order {
        match self.all.len() {
            count @ 2.. => {
                let mut random = random::rng();
                Order::new(random.random_range(0..count), count, random.random())
            }
            count => Order::new(0, count, 0),
        }
    }

    fn endpoint(&self, server: usize) -> &Arc<Endpoint> {
        &self.all[server].endpoint
    }

    fn status(&self, server: usize) -> Status {
        self.all[server].health.status(MAX_FAILS)
    }

    fn suspect(&self, server: usize) {
        self.all[server].health.probe();
    }

    fn recovered(&self) -> u64 {
        let recovered = self.all.iter().map(|one| one.health.recovered());
        recovered.max().unwrap_or(0)
    }

    fn full(&self) -> Failure {
        Failure::servfail("too many queries wait for upstreams on one worker")
    }

    fn taken(&self, server: usize, transport: Transport, reused: bool, worker: usize) {
        self.all[server].metrics.socket(worker, transport, reused);
    }

    fn judge(&self, server: usize, exchange: &mut Exchange, took: u64) -> Verdict {
        let worker = usize::from(exchange.context.worker);
        let rcode = exchange.response().rcode();
        self.all[server].metrics.reply(worker, rcode, took);
        Verdict {
            flow: Flow::Answered,
            unwanted: false,
        }
    }

    fn failure(&self, last: Option<&LastFailure>, attempts: u32) -> Failure {
        match last {
            Some(last) => last.told(&self.all[last.server].endpoint, attempts),
            None => Failure::servfail("no healthy proxies"),
        }
    }
}
