//! A suspended query that no task holds: the plugin keeps it, and hands it back when its answer has come.
//!
//! ```text
//! walk ─► Suspend ─► Plugin::launch(exchange, completion) ─► … ─► Completion::complete(exchange, flow) ─► up the chain, out by the listener
//!                          │ does not take it                Completion::wait(exchange, rest) ─► a task, as after `resolve`
//!                          └─► Plugin::resolve, in a task
//! ```
//!
//! What is sent for the queries of one batch may wait for the others ([`Completion::flush_later`]) and leave with them.
//!
//! It saves the task, its allocations and two turns of the scheduler where an answer takes one datagram up and one down.

use std::rc::Rc;

use crate::exchange::Exchange;
use crate::plugin::{Failure, Flow, Resolving};

/// What is left to do for a query that has to wait in a task after all.
pub type Rest = Box<dyn FnOnce(Box<Exchange>) -> Resolving>;

/// What leaves together with others once a batch of queries has been walked.
pub trait Flush {
    /// Leaves.
    fn flush(self: Rc<Self>);
}

/// How to have a query back that a plugin keeps: a listener that has too many takes the one that waited longest.
#[derive(Clone, Copy)]
pub struct Cancel {
    handle: u64,
    cancel: fn(u64, Failure) -> bool,
}

impl Cancel {
    /// `cancel` gets `handle`; it is called on the thread that launched the query.
    pub fn new(handle: u64, cancel: fn(u64, Failure) -> bool) -> Self {
        Self { handle, cancel }
    }

    /// Has the query completed with `failure` at once, and its place freed; `false` when it has ended already.
    pub fn cancel(self, failure: Failure) -> bool {
        (self.cancel)(self.handle, failure)
    }
}

/// Where launched queries come back to: a listener of the worker that received them.
pub trait Completes {
    /// Has `flush` called when the batch at hand has been walked; `false` where there is no batch, so that nothing may wait for
    /// its end.
    fn flush_later(&self, flush: Rc<dyn Flush>) -> bool {
        let _ = flush;
        false
    }

    /// Learns how to have a query back before its time.
    fn cancel_by(&self, number: u32, cancel: Cancel) {
        let _ = (number, cancel);
    }

    /// Takes a query back with the flow of the step where it was suspended.
    fn complete(self: Rc<Self>, number: u32, exchange: Box<Exchange>, flow: Result<Flow, Failure>);

    /// Takes a query back that `rest` brings to its flow.
    fn wait(self: Rc<Self>, number: u32, exchange: Box<Exchange>, rest: Rest);

    /// Learns that a query will not come back.
    fn abandon(&self, number: u32);
}

/// The place to which one launched query comes back.
pub struct Completion {
    listener: Option<Rc<dyn Completes>>,
    number: u32,
}

impl Completion {
    /// Number `number` of `listener`.
    pub fn new(listener: Rc<dyn Completes>, number: u32) -> Self {
        Self {
            listener: Some(listener),
            number,
        }
    }

    /// Has `flush` called at the end of the batch that the query came in, if it came in one ([`Completes::flush_later`]).
    pub fn flush_later(&self, flush: Rc<dyn Flush>) -> bool {
        self.listener
            .as_ref()
            .is_some_and(|listener| listener.flush_later(flush))
    }

    /// Says how the listener can have the query back before its time ([`Completes::cancel_by`]).
    pub fn cancel_by(&self, cancel: Cancel) {
        if let Some(listener) = &self.listener {
            listener.cancel_by(self.number, cancel);
        }
    }

    /// Hands the query back with the flow of the step where it was suspended, [`Flow::Suspend`] apart.
    pub fn complete(mut self, exchange: Box<Exchange>, flow: Result<Flow, Failure>) {
        if let Some(listener) = self.listener.take() {
            listener.complete(self.number, exchange, flow);
        }
    }

    /// Hands the query over to a task.
    pub fn wait(mut self, exchange: Box<Exchange>, rest: Rest) {
        if let Some(listener) = self.listener.take() {
            listener.wait(self.number, exchange, rest);
        }
    }
}

impl Drop for Completion {
    fn drop(&mut self) {
        if let Some(listener) = self.listener.take() {
            listener.abandon(self.number);
        }
    }
}
