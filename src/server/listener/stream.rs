//! Responses of many messages on one connection: drained one response at a time, one message at a time.
//!
//! ```text
//! Flow::Stream ─► Streams::push ─► poll_fill ─► Messages::poll_next ─► finish ─► the connection's answers ─► write, and again
//! ```
//!
//! A message is asked for when what went before it has been written, so a slow client holds one message and not the response. While
//! a response is drained, the connection takes no further queries; those that wait already are answered in between, as they may be
//! (RFC 7766, section 6.2.1.1).

use std::any::Any;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{self, Poll, ready};

use chain::{Block, Exchange, Failure, Messages, Written};

use crate::answer::panicked;
use crate::finish::finish;

/// The responses of many messages that one connection owes, in order.
#[derive(Default)]
pub(crate) struct Streams(RefCell<VecDeque<Messages>>);

impl Streams {
    /// Takes a query whose plugin at this step has many messages.
    pub(crate) fn push(&self, exchange: Box<Exchange>, at: (&Arc<Block>, usize)) {
        self.0.borrow_mut().push_back(Messages::new(exchange, at));
    }

    /// Whether nothing is left to drain.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    /// Gives up what is left: the client has gone.
    pub(crate) fn clear(&self) {
        let left = self.0.take();
        drop(left);
    }

    /// Hands the next message to `send`, finished. `Pending` while the plugin waits, and where nothing is left.
    pub(crate) fn poll_fill(
        &self,
        context: &mut task::Context<'_>,
        send: impl FnOnce(&Exchange),
    ) -> Poll<Written> {
        let mut streams = self.0.borrow_mut();
        let Some(messages) = streams.front_mut() else {
            return Poll::Pending;
        };
        let next = catch_unwind(AssertUnwindSafe(|| messages.poll_next(context)));
        let written = match next {
            Ok(written) => ready!(written),
            Err(panic) => broken(messages, &*panic),
        };
        finish(messages.exchange());
        send(messages.exchange());
        if written == Written::Last {
            streams.pop_front();
        }
        Poll::Ready(written)
    }
}

/// Ends a response whose plugin panicked.
#[cold]
fn broken(messages: &mut Messages, panic: &(dyn Any + Send)) -> Written {
    panicked(messages.at().0, messages.at().1, panic);
    let told = catch_unwind(AssertUnwindSafe(|| {
        messages.fail(Failure::servfail("a plugin panicked"));
    }));
    if let Err(panic) = told {
        panicked(messages.at().0, messages.at().1, &*panic);
    }
    Written::Last
}
