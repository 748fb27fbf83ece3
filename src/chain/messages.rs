//! A response of many messages, as a zone transfer has (RFC 5936): the plugin gives one after the other, the listener drains them at
//! the client's pace.
//!
//! ```text
//! walk ─► Flow::Stream ─► Messages::new ─► poll_next ─► finish ─► the connection ─► poll_next … last ─► hooks above, once
//!                                             └ a source that has to wait says Pending
//! ```
//!
//! There is one buffer, that of the exchange: a message is written when the one before it has been handed on. The response hooks of
//! the plugins above are called once, with the last message, since what they count and log is the whole; [`Query::octets_before`]
//! tells what went before it. When the client leaves early they are called with a failure.
//!
//! [`Query::octets_before`]: crate::Query::octets_before

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{self, Poll, ready};

use crate::block::Block;
use crate::exchange::Exchange;
use crate::plugin::Failure;

/// Whether more messages follow the one that was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Written {
    /// More follow.
    More,
    /// It was the last.
    Last,
}

/// Where the messages of a response come from.
pub trait MessageSource {
    /// Writes the next message. The response comes begun, as in [`crate::Plugin::query`]; [`Exchange::suspended_views`] shows it with
    /// the query. Not called again after the last message or a failure; a failure is sent as a message of its own, the last.
    fn poll_next(
        &mut self,
        context: &mut task::Context<'_>,
        exchange: &mut Exchange,
    ) -> Poll<Result<Written, Failure>>;
}

/// What a plugin streams that has nothing to stream.
pub(crate) struct Nothing;

impl MessageSource for Nothing {
    fn poll_next(
        &mut self,
        _: &mut task::Context<'_>,
        _: &mut Exchange,
    ) -> Poll<Result<Written, Failure>> {
        Poll::Ready(Err(Failure::servfail("the plugin has no messages")))
    }
}

/// A response of many messages on its way. Dropped before its last message, it tells the plugins above that the client has left.
pub struct Messages {
    exchange: Box<Exchange>,
    /// Asked of the plugin with the first message.
    source: Option<Box<dyn MessageSource>>,
    at: (Arc<Block>, usize),
    /// The octets of the message that was written last, while more follow.
    written: u64,
    ended: bool,
}

impl Messages {
    /// The messages of the plugin at this step of the block, which said [`crate::Flow::Stream`] to the exchange.
    pub fn new(mut exchange: Box<Exchange>, (block, step): (&Arc<Block>, usize)) -> Self {
        exchange.suspended = Some((block.clone(), step));
        Self {
            exchange,
            source: None,
            at: (block.clone(), step),
            written: 0,
            ended: false,
        }
    }

    /// Where the messages come from: block and step.
    pub fn at(&self) -> (&Arc<Block>, usize) {
        (&self.at.0, self.at.1)
    }

    /// Writes the next message, which [`Messages::exchange`] has, to be finished and sent. Not called behind the last.
    pub fn poll_next(&mut self, context: &mut task::Context<'_>) -> Poll<Written> {
        if self.ended {
            return Poll::Ready(Written::Last);
        }
        let exchange = &mut self.exchange;
        exchange.context.octets_before += self.written;
        self.written = 0;
        exchange.begin();
        let source = match &mut self.source {
            Some(source) => source,
            None => self.source.insert(source(&self.at, exchange)),
        };
        match ready!(source.poll_next(context, exchange)) {
            Ok(Written::More) => {
                self.written = exchange.reply().len() as u64;
                Poll::Ready(Written::More)
            }
            Ok(Written::Last) => {
                self.ended = true;
                exchange.end_messages((&self.at.0, self.at.1), None);
                Poll::Ready(Written::Last)
            }
            Err(failure) => {
                self.fail(failure);
                Poll::Ready(Written::Last)
            }
        }
    }

    /// The exchange, with the message that was written last.
    pub fn exchange(&mut self) -> &mut Box<Exchange> {
        &mut self.exchange
    }

    /// Ends the response with a failure, which is the last message. Nothing happens behind the last.
    pub fn fail(&mut self, failure: Failure) {
        if !std::mem::replace(&mut self.ended, true) {
            self.exchange.begin();
            self.exchange
                .end_messages((&self.at.0, self.at.1), Some(failure));
        }
    }
}

/// The messages of the plugin at this step.
fn source((block, step): &(Arc<Block>, usize), exchange: &mut Exchange) -> Box<dyn MessageSource> {
    match block.chain.steps().get(*step) {
        Some(step) => step.plugin.clone().stream(exchange),
        None => Box::new(Nothing),
    }
}

impl Drop for Messages {
    fn drop(&mut self) {
        // A panic out of a drop could end the process.
        let told = catch_unwind(AssertUnwindSafe(|| {
            self.fail(Failure::servfail(
                "the client left before the last message of its response",
            ));
        }));
        if told.is_err() {
            telemetry::metrics::panics().inc();
        }
    }
}
