//! What leaves a UDP socket later than its batch: responses of queries that waited, and the envelopes of those that still do.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;

use chain::{Berth, Block, Departure, Exchange, Failure, Flow, Outcome, Rest, Shore};
use tracing::error;

use crate::answer::{abandon, panicked};
use crate::finish::finish;
use crate::listener::udp::{Envelope, Slot};
use crate::worker::{Line, Rescue, Worker, a_panic};

/// Responses that wait to leave by a UDP socket, and the envelopes of queries that plugins keep.
pub(crate) struct Outbox {
    worker: Rc<Worker>,
    line: Rc<Line>,
    pub(crate) slots: RefCell<Vec<Slot>>,
    pub(crate) open: Cell<usize>,
    berths: RefCell<Berths>,
    departures: RefCell<Vec<Rc<dyn Departure>>>,
}

/// Envelopes by number, and the numbers that are free.
#[derive(Default)]
struct Berths {
    envelopes: Vec<Envelope>,
    free: Vec<u32>,
}

impl Outbox {
    pub(crate) fn new(worker: Rc<Worker>, line: Rc<Line>) -> Self {
        Self {
            worker,
            line,
            slots: RefCell::default(),
            open: Cell::new(0),
            berths: RefCell::default(),
            departures: RefCell::default(),
        }
    }

    /// Sends off what plugins have kept for the end of the batch.
    #[inline]
    pub(crate) fn depart(&self) {
        while let Some(departure) = self.departures.borrow_mut().pop() {
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| departure.depart())) {
                departed(&*panic);
            }
        }
    }

    /// Offers a suspended query to its plugin, and makes it a task where the plugin leaves it.
    pub(crate) fn launch(
        self: &Rc<Self>,
        exchange: Box<Exchange>,
        envelope: Envelope,
        at: (&Arc<Block>, usize),
    ) {
        let berth = Berth::new(self.clone(), self.moor(envelope));
        let mut place = Some(exchange);
        // The exchange stays out here until it is taken, so that a panic finds it.
        let launched = catch_unwind(AssertUnwindSafe(|| chain::launch(&mut place, at, berth)));
        let Some(exchange) = place else {
            return;
        };
        self.open.set(self.open.get() + 1);
        match launched {
            Ok(()) => {
                let outbox = self.clone();
                let then = move |ended| outbox.put(ended, envelope);
                self.worker.suspend(exchange, at, then);
            }
            Err(panic) => self.panicked(exchange, at, &*panic, envelope),
        }
    }

    /// Keeps an envelope; gives its number.
    fn moor(&self, envelope: Envelope) -> u32 {
        self.open.set(self.open.get() + 1);
        self.worker.waiting.set(self.worker.waiting.get() + 1);
        let mut berths = self.berths.borrow_mut();
        match berths.free.pop() {
            Some(number) => {
                if let Some(place) = berths.envelopes.get_mut(number as usize) {
                    *place = envelope;
                }
                number
            }
            None => {
                berths.envelopes.push(envelope);
                (berths.envelopes.len() - 1) as u32
            }
        }
    }

    /// Frees a number; gives its envelope. The query still counts as open.
    fn unmoor(&self, number: u32) -> Envelope {
        let waiting = &self.worker.waiting;
        waiting.set(waiting.get().saturating_sub(1));
        let mut berths = self.berths.borrow_mut();
        berths.free.push(number);
        let envelope = berths.envelopes.get(number as usize).copied();
        envelope.unwrap_or(Envelope::NONE)
    }

    /// Answers SERVFAIL for a plugin that panicked.
    #[cold]
    fn panicked(
        &self,
        mut exchange: Box<Exchange>,
        at: (&Arc<Block>, usize),
        panic: &(dyn Any + Send),
        envelope: Envelope,
    ) {
        panicked(at.0, at.1, panic);
        abandon(&mut exchange, at.0, at.1, a_panic);
        finish(&mut exchange);
        self.put(Some(exchange), envelope);
    }

    /// Takes the end of a query that waited.
    fn put(&self, ended: Option<Box<Exchange>>, envelope: Envelope) {
        self.open.set(self.open.get() - 1);
        if let Some(exchange) = ended {
            self.slots.borrow_mut().push(Slot {
                exchange,
                envelope,
                cut: false,
                reply: true,
            });
        }
        self.line.bell.ring();
    }
}

impl Shore for Outbox {
    fn embark(&self, departure: Rc<dyn Departure>) -> bool {
        self.departures.borrow_mut().push(departure);
        true
    }

    fn land(self: Rc<Self>, number: u32, mut exchange: Box<Exchange>, flow: Result<Flow, Failure>) {
        let envelope = self.unmoor(number);
        let Some((block, step)) = exchange.take_suspended() else {
            return self.put(None, envelope);
        };
        let landed = catch_unwind(AssertUnwindSafe(|| exchange.land((&block, step), flow)));
        match landed {
            Ok(Outcome::Respond) => {
                finish(&mut exchange);
                self.put(Some(exchange), envelope);
            }
            Ok(Outcome::Silent) => {
                self.worker.recycle(exchange);
                self.put(None, envelope);
            }
            Ok(Outcome::Suspended(next)) => {
                let outbox = self.clone();
                let then = move |ended| outbox.put(ended, envelope);
                self.worker.suspend(exchange, (&block, next), then);
            }
            Err(panic) => {
                // Those above the step where it came to that have heard nothing yet.
                let step = exchange.context.step();
                self.panicked(exchange, (&block, step), &*panic, envelope);
            }
        }
    }

    fn wait(self: Rc<Self>, number: u32, exchange: Box<Exchange>, rest: Rest) {
        let envelope = self.unmoor(number);
        let Some((block, step)) = exchange
            .suspended_at()
            .map(|(block, step)| (block.clone(), step))
        else {
            return self.put(None, envelope);
        };
        let rescue = Rescue::of(&exchange);
        let walk = chain::resume_by(rest(exchange), block.clone(), step);
        let outbox = self.clone();
        let then = move |ended| outbox.put(ended, envelope);
        self.worker.finish_later(walk, (&block, step), rescue, then);
    }

    fn abandon(&self, number: u32) {
        let envelope = self.unmoor(number);
        self.put(None, envelope);
    }
}

/// Counts and reports a panic of what left at the end of a batch; its queries go on when their time is up.
#[cold]
fn departed(panic: &(dyn Any + Send)) {
    chain::metrics::panics().inc();
    let what = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or_default();
    error!("what a batch had kept for its end panicked: {what}");
}
