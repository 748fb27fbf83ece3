//! From received octets to a response, without waiting: parse, route, walk.
//!
//! This is what all listeners share. It allocates nothing and formats nothing on the way of an answer; a plugin that panics makes a
//! SERVFAIL, a count and a line in the log.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use chain::{Block, Exchange, ExtendedError, Failure, Outcome};
use telemetry::metrics;
use tracing::error;
use wire::{Flags, Opcode, Rcode, Refusal};

use crate::route::Table;

/// What is to become of an exchange.
pub(crate) enum Verdict<'a> {
    /// The response is written; it wants finishing.
    Respond,
    /// Nobody answers.
    Silent,
    /// The plugin at this step of the block waits.
    Suspended(&'a Arc<Block>, usize),
    /// The plugin at this step of the block has many messages; only where the client came by a stream transport.
    Stream(&'a Arc<Block>, usize),
}

/// The block that is to answer, if one is.
pub(crate) type Routed<'a> = Result<Option<&'a Arc<Block>>, Refusal>;

/// Answers what `exchange` received, by the blocks of `table`.
#[inline]
pub(crate) fn answer<'a>(exchange: &mut Exchange, table: &'a Table) -> Verdict<'a> {
    let routed = read(exchange, table);
    answer_by(exchange, table, routed)
}

/// Reads what `exchange` received.
#[inline(always)]
pub(crate) fn read<'a>(exchange: &mut Exchange, table: &'a Table) -> Routed<'a> {
    match exchange.parse() {
        Ok(()) => Ok(table.serving(exchange)),
        Err(Refusal::Questionless) if table.questionless.is_some() => {
            Ok(table.questionless.as_ref())
        }
        Err(refusal) => Err(refusal),
    }
}

/// Answers what was read, by the block that it was routed to.
#[inline(always)]
pub(crate) fn answer_by<'a>(
    exchange: &mut Exchange,
    table: &'a Table,
    routed: Routed<'a>,
) -> Verdict<'a> {
    let block = match routed {
        Ok(block) => block,
        Err(refusal) => return refuse(exchange, table, refusal),
    };
    let Some(block) = block.filter(|block| !block.chain.steps().is_empty()) else {
        return not_here(exchange, table);
    };
    if let Some(refusal) = exchange.refusal(block) {
        return nobody(exchange, table, refusal);
    }
    match catch_unwind(AssertUnwindSafe(|| exchange.walk(block))) {
        Ok(Outcome::Respond) => Verdict::Respond,
        Ok(Outcome::Silent) => Verdict::Silent,
        Ok(Outcome::Suspended(step)) => Verdict::Suspended(block, step),
        Ok(Outcome::Stream(step)) => Verdict::Stream(block, step),
        Err(panic) => {
            let step = exchange.context.step();
            panicked(block, step, &*panic);
            abandon(exchange, block, step, a_panic);
            Verdict::Respond
        }
    }
}

/// The response for a name that no block serves, or only an empty one.
#[cold]
fn not_here(exchange: &mut Exchange, table: &Table) -> Verdict<'static> {
    if exchange.parsed.flags.opcode() == Opcode::UPDATE {
        return refuse(exchange, table, Refusal::NotImp);
    }
    nobody(exchange, table, not_served())
}

/// Why a name is refused that no block serves, or only an empty one.
#[cold]
fn not_served() -> Failure {
    Failure::policy(Rcode::REFUSED).extended(
        ExtendedError::NOT_AUTHORITATIVE,
        "no server block serves this name",
    )
}

/// The response where no plugin is there to answer.
#[cold]
fn nobody(exchange: &mut Exchange, table: &Table, failure: Failure) -> Verdict<'static> {
    exchange.fail(failure);
    if let Some(dropped) = &table.dropped {
        exchange.count_in(dropped);
    }
    Verdict::Respond
}

/// The response to what is no query that can be looked up.
#[cold]
fn refuse(exchange: &mut Exchange, table: &Table, refusal: Refusal) -> Verdict<'static> {
    let refusal = match refusal {
        Refusal::Silence => refusal,
        // To whoever makes no updates, their form means nothing.
        _ if !table.updates && exchange.parsed.flags.opcode() == Opcode::UPDATE => Refusal::NotImp,
        _ => refusal,
    };
    let mut response = exchange.response();
    match refusal {
        Refusal::Silence => return Verdict::Silent,
        Refusal::FormErr | Refusal::Questionless => {
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
    error!(
        "Recovered from panic in server: \"{}\" plugin/{plugin}: {}",
        block.info.server,
        what_it_says(panic)
    );
    if block.info.debug {
        error!(
            "the server block of zone {} has `debug`, so the panic ends the process",
            block.info.zone
        );
        crate::logging::flush();
        std::process::exit(2);
    }
}

/// Counts and reports a panic that is no query's own.
#[cold]
pub(crate) fn panicked_aside(whose: &str, panic: &(dyn Any + Send)) {
    metrics::panics().inc();
    error!("{whose} panicked: {}", what_it_says(panic));
}

/// A panic's message.
fn what_it_says(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a value that is not a text")
}

/// What a plugin's panic means to the client.
pub(crate) fn a_panic() -> Failure {
    Failure::servfail("a plugin panicked")
}

/// What it means to the client that a plugin has dropped its query.
pub(crate) fn a_loss() -> Failure {
    Failure::servfail("a plugin dropped the query")
}

/// The response to a query whose wait is ended because its place is needed.
#[cold]
pub(crate) fn shed(exchange: &mut Exchange, block: &Arc<Block>, step: usize) {
    abandon(exchange, block, step, too_many);
}

/// What it means to a client that others needed its place.
pub(crate) fn too_many() -> Failure {
    const WHY: &str = "too many queries wait";
    Failure::servfail(WHY).extended(ExtendedError::OTHER, WHY)
}

/// What it means to a client that its query has waited for as long as the Corefile allows.
pub(crate) fn too_late() -> Failure {
    const WHY: &str = "no answer within the time that the Corefile allows";
    Failure::servfail(WHY).extended(ExtendedError::OTHER, WHY)
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
                Verdict::Silent | Verdict::Stream(..) => panic!("no response"),
            }
            assert_eq!(exchange.response().rcode(), Rcode::SERVFAIL);
            let left = above.map(|above| above.0.load(Ordering::Relaxed));
            assert_eq!(left, [0, 0], "waits: {waits}");
        }
    }
}
