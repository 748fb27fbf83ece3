//! From received octets to a response, without waiting: parse, route, walk.
//!
//! This is what all listeners share. It allocates nothing and formats nothing on the way of an answer; a plugin that panics makes a
//! SERVFAIL, a count and a line in the log.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};

use chain::{Block, Exchange, ExtendedError, Failure, Outcome, metrics};
use prometheus_client::metrics::counter::Counter;
use tracing::error;
use wire::{Class, Flags, Rcode, Refusal};

use crate::route::Table;

/// What is to become of an exchange.
pub(crate) enum Verdict<'a> {
    /// The response is written; it wants finishing.
    Respond,
    /// Nobody answers.
    Silent,
    /// The plugin at this step of the block waits.
    Suspended(&'a Arc<Block>, usize),
}

/// Answers what `exchange` received, by the blocks of `table`.
#[inline]
pub(crate) fn answer<'a>(exchange: &mut Exchange, table: &'a Table) -> Verdict<'a> {
    if let Err(refusal) = exchange.parse() {
        return refuse(exchange, refusal);
    }
    let class = exchange.parsed.qclass == Class::IN || table.any_class;
    let block = table.find(&exchange.parsed.qname, exchange.parsed.qtype);
    let Some(block) = block.filter(|block| class && !block.chain.steps().is_empty()) else {
        return nobody(exchange, table);
    };
    match catch_unwind(AssertUnwindSafe(|| exchange.walk(block))) {
        Ok(Outcome::Respond) => Verdict::Respond,
        Ok(Outcome::Silent) => Verdict::Silent,
        Ok(Outcome::Suspended(step)) => Verdict::Suspended(block, step),
        Err(panic) => {
            let step = exchange.context.step();
            panicked(block, step, &*panic);
            abandon(exchange, block, step, || {
                Failure::servfail("a plugin panicked")
            });
            Verdict::Respond
        }
    }
}

/// The response where no plugin is there to answer: no block serves the name or the class, or the block is empty.
#[cold]
fn nobody(exchange: &mut Exchange, table: &Table) -> Verdict<'static> {
    exchange.response().set_rcode(Rcode::REFUSED);
    exchange.context.extended = Some(ExtendedError::new(
        ExtendedError::NOT_AUTHORITATIVE,
        "no server block serves this name",
    ));
    if let Some(dropped) = &table.dropped {
        dropped.served(exchange);
    }
    Verdict::Respond
}

/// The response to what is no query that can be looked up.
#[cold]
fn refuse(exchange: &mut Exchange, refusal: Refusal) -> Verdict<'static> {
    let mut response = exchange.response();
    match refusal {
        Refusal::Silence => return Verdict::Silent,
        Refusal::FormErr => {
            response.set_rcode(Rcode::FORMERR);
            exchange.parsed.edns = None;
        }
        Refusal::NotImp => {
            response.set_rcode(Rcode::NOTIMP);
            // CD belongs to QUERY (RFC 4035, 3.2.2); other opcodes give these bits no meaning.
            response.set_flag(Flags::AA | Flags::RA | Flags::AD | Flags::CD, false);
        }
        Refusal::BadVers => response.set_rcode(Rcode::BADVERS),
    }
    Verdict::Respond
}

/// Counts and reports a panic of the plugin at `step`. Where `debug` stands in the block, the process ends, as CoreDNS does.
#[cold]
pub(crate) fn panicked(block: &Block, step: usize, panic: &(dyn Any + Send)) {
    let plugin = block
        .chain
        .steps()
        .get(step)
        .map_or("server", |step| step.plugin.name());
    metrics::panics().inc();
    let what = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a value that is no text");
    error!(
        "Recovered from panic in server: \"{}\" plugin/{plugin}: {what}",
        block.info.server
    );
    if block.info.debug {
        error!(
            "`debug` stands in the server block of zone {}, so the panic ends the process",
            block.info.zone
        );
        crate::logging::flush();
        std::process::exit(2);
    }
}

/// `nameplate_queries_shed_total`.
pub(crate) fn shed_queries() -> &'static Counter {
    static SHED: OnceLock<Counter> = OnceLock::new();
    SHED.get_or_init(|| {
        metrics::metric(
            "nameplate_queries_shed",
            "Queries that were refused or dropped because too many waited.",
            Counter::default,
        )
    })
}

/// The response to a query that would wait where too many wait already: the newest is refused.
#[cold]
pub(crate) fn shed(exchange: &mut Exchange, block: &Arc<Block>, step: usize) {
    shed_queries().inc();
    abandon(exchange, block, step, || {
        Failure::servfail("too many queries wait")
            .extended(ExtendedError::OTHER, "too many queries wait")
    });
}

/// Ends a walk early, whatever the plugins above make of it.
#[cold]
pub(crate) fn abandon(
    exchange: &mut Exchange,
    block: &Arc<Block>,
    step: usize,
    failure: fn() -> Failure,
) {
    let told = catch_unwind(AssertUnwindSafe(|| {
        exchange.abandon(block, step, failure);
    }));
    if let Err(panic) = told {
        panicked(block, exchange.context.step(), &*panic);
        exchange.begin();
        exchange.fail(failure());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use chain::setup::StreamLimits;
    use chain::{Flow, Hooks, Plugin, Query, Turn};
    use wire::Response;

    use super::*;
    use crate::testing::{block, query, received};

    /// Counts the queries that went down past it and have not come up.
    #[derive(Default)]
    struct Above(AtomicUsize);

    impl Plugin for Above {
        fn name(&self) -> &'static str {
            "above"
        }

        fn hooks(&self) -> Hooks {
            Hooks::BOTH
        }

        fn query(&self, _: &mut Query<'_>, _: &mut Response<'_>) -> Result<Flow, Failure> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Ok(Flow::Next)
        }

        fn response(&self, query: &mut Query<'_>, _: &mut Response<'_>) -> Turn {
            assert!(query.failure().is_some());
            self.0.fetch_sub(1, Ordering::Relaxed);
            // Whoever wants to ask again is not heard.
            Turn::Again
        }
    }

    /// Panics, or wants to wait.
    struct Below(bool);

    impl Plugin for Below {
        fn name(&self) -> &'static str {
            "below"
        }

        fn query(&self, _: &mut Query<'_>, _: &mut Response<'_>) -> Result<Flow, Failure> {
            assert!(self.0, "on purpose");
            Ok(Flow::Suspend)
        }
    }

    #[test]
    fn who_let_a_query_pass_hears_that_it_was_shed_or_panicked() {
        for waits in [true, false] {
            let above: [Arc<Above>; 2] = Default::default();
            let plugins: Vec<Arc<dyn Plugin>> =
                vec![above[0].clone(), above[1].clone(), Arc::new(Below(waits))];
            let table = Table::new(vec![block(".", plugins)], StreamLimits::default());
            let mut exchange = received(&query(0, "www.example.org.", 1, 0, &[]));
            match answer(&mut exchange, &table) {
                Verdict::Suspended(block, step) => shed(&mut exchange, block, step),
                Verdict::Respond => assert!(!waits),
                Verdict::Silent => panic!("silence"),
            }
            assert_eq!(exchange.response().rcode(), Rcode::SERVFAIL);
            let left = above.map(|above| above.0.load(Ordering::Relaxed));
            assert_eq!(left, [0, 0], "waits: {waits}");
        }
    }
}
