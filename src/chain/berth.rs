//! A suspended query that no task holds: the plugin keeps it, and hands it back when its answer has come.
//!
//! ```text
//! walk ─► Suspend ─► Plugin::launch(exchange, berth) ─► … ─► Berth::land(exchange, flow) ─► up the chain, out by the listener
//!                          │ does not take it                Berth::wait(exchange, rest) ─► a task, as after `resolve`
//!                          └─► Plugin::resolve, in a task
//! ```
//!
//! What is sent for the queries of one batch may wait for the others ([`Berth::embark`]) and leave with them.
//!
//! It saves the task, its allocations and two turns of the scheduler where an answer takes one datagram up and one down.

use std::rc::Rc;

use crate::exchange::Exchange;
use crate::plugin::{Failure, Flow, Resolving};

/// What is left to do for a query that has to wait in a task after all.
pub type Rest = Box<dyn FnOnce(Box<Exchange>) -> Resolving>;

/// What leaves together with others once a batch of queries has been walked.
pub trait Departure {
    /// Leaves.
    fn depart(self: Rc<Self>);
}

/// Where launched queries come back to: a listener of the worker that received them.
pub trait Shore {
    /// Has `departure` called when the batch at hand has been walked; `false` where there is no batch, so that nothing may wait for
    /// its end.
    fn embark(&self, departure: Rc<dyn Departure>) -> bool {
        let _ = departure;
        false
    }

    /// Takes a query back with the flow of the step where it was suspended.
    fn land(self: Rc<Self>, number: u32, exchange: Box<Exchange>, flow: Result<Flow, Failure>);

    /// Takes a query back that `rest` brings to its flow.
    fn wait(self: Rc<Self>, number: u32, exchange: Box<Exchange>, rest: Rest);

    /// Learns that a query will not come back.
    fn abandon(&self, number: u32);
}

/// The place to which one launched query comes back.
pub struct Berth {
    shore: Option<Rc<dyn Shore>>,
    number: u32,
}

impl Berth {
    /// Number `number` of `shore`.
    pub fn new(shore: Rc<dyn Shore>, number: u32) -> Self {
        Self {
            shore: Some(shore),
            number,
        }
    }

    /// Has `departure` called at the end of the batch that the query came in, if it came in one ([`Shore::embark`]).
    pub fn embark(&self, departure: Rc<dyn Departure>) -> bool {
        self.shore
            .as_ref()
            .is_some_and(|shore| shore.embark(departure))
    }

    /// Hands the query back with the flow of the step where it was suspended, [`Flow::Suspend`] apart.
    pub fn land(mut self, exchange: Box<Exchange>, flow: Result<Flow, Failure>) {
        if let Some(shore) = self.shore.take() {
            shore.land(self.number, exchange, flow);
        }
    }

    /// Hands the query over to a task.
    pub fn wait(mut self, exchange: Box<Exchange>, rest: Rest) {
        if let Some(shore) = self.shore.take() {
            shore.wait(self.number, exchange, rest);
        }
    }
}

impl Drop for Berth {
    fn drop(&mut self) {
        if let Some(shore) = self.shore.take() {
            shore.abandon(self.number);
        }
    }
}
