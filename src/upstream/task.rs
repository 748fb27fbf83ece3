//! Asking from a task that waits: for queries that no listener keeps, such as the server's own, and for probes.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use chain::{Exchange, Failure, Resolved};

use crate::engine::Engine;
use crate::outstanding::Outlet;
use crate::policy::Policy;

/// Asks for the query of `exchange`, and waits. Dropped before its end, it takes the query back.
pub async fn ask(policy: Arc<dyn Policy>, exchange: Box<Exchange>) -> Resolved {
    let engine = Engine::current();
    if let Err(failure) = engine.admit(&*policy) {
        return (exchange, Err(failure));
    }
    let waiting = Rc::<Waiting>::default();
    let number = engine.begin(policy, exchange, Outlet::Task(waiting.clone()));
    Asking {
        engine,
        number,
        waiting,
    }
    .await
}

/// The end of a query, and the task that waits for it.
#[derive(Default)]
pub(crate) struct Waiting {
    ended: RefCell<Option<Resolved>>,
    waker: RefCell<Option<Waker>>,
}

impl Waiting {
    /// Ends the wait.
    pub(crate) fn end(&self, resolved: Resolved) {
        *self.ended.borrow_mut() = Some(resolved);
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}

/// A task's wait for a query.
struct Asking {
    engine: Rc<Engine>,
    number: (u32, u32),
    waiting: Rc<Waiting>,
}

impl Future for Asking {
    type Output = Resolved;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Resolved> {
        if let Some(resolved) = self.waiting.ended.borrow_mut().take() {
            return Poll::Ready(resolved);
        }
        let mut waker = self.waiting.waker.borrow_mut();
        if !waker
            .as_ref()
            .is_some_and(|waker| waker.will_wake(context.waker()))
        {
            *waker = Some(context.waker().clone());
        }
        Poll::Pending
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        let gone = Failure::servfail("no client waits for the query any more");
        self.engine.cancel(self.number, gone);
    }
}
