//! A UDP socket's completion queue: the queries of the socket that plugins keep, and the responses of those that have ended.
//!
//! ```text
//! suspended ─► launch ─► place: envelope, ticket, rescue ─┬─ complete, wait ─► up the chain ─► finish ─► ready ─► sendmmsg
//!                                                         ├─ evict ─► Cancel::cancel ─► complete, with SERVFAIL
//!                                                         └─ the exchange is lost (a panic, a plugin that drops it) ─► rescue ─► SERVFAIL
//! ```
//!
//! Whatever becomes of a query, its client is answered and the plugins that it passed hear of it. An exchange that a plugin has taken
//! may be lost with it, so its place keeps what answers without it ([`Rescue`]), in buffers that are used again.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;

use chain::{Block, Cancel, Completes, Completion, Exchange, Failure, Flow, Flush, Outcome, Rest};

use crate::admission::{Ticket, Waiter};
use crate::answer::{a_loss, a_panic, abandon, panicked, panicked_aside, shed, too_many};
use crate::finish::finish;
use crate::listener::backend::{Envelope, Slot};
use crate::rescue::Rescue;
use crate::worker::{Listener, Worker};

/// The completion queue of one UDP socket.
pub(crate) struct CompletionQueue {
    worker: Rc<Worker>,
    listener: Rc<Listener>,
    /// Responses that wait to leave.
    pub(crate) ready: RefCell<Vec<Slot>>,
    /// Queries that have not come back.
    pub(crate) open: Cell<usize>,
    kept: RefCell<Kept>,
    flushes: RefCell<Vec<Rc<dyn Flush>>>,
    /// The query that is just being launched, until its completion is dropped.
    launching: Cell<Option<u32>>,
}

/// Places by number, and the numbers that are free.
#[derive(Default)]
struct Kept {
    places: Vec<Place>,
    free: Vec<u32>,
}

/// What is kept for a query that a plugin keeps.
struct Place {
    envelope: Envelope,
    ticket: Option<Ticket>,
    /// How to have it back before its time.
    cancel: Option<Cancel>,
    rescue: Rescue,
    /// Whether its client has been answered already, so that nothing is to come of it any more.
    evicted: bool,
}

impl CompletionQueue {
    pub(crate) fn new(worker: Rc<Worker>, listener: Rc<Listener>) -> Self {
        Self {
            worker,
            listener,
            ready: RefCell::default(),
            open: Cell::new(0),
            kept: RefCell::default(),
            flushes: RefCell::default(),
            launching: Cell::new(None),
        }
    }

    /// Sends off what plugins have kept for the end of the batch.
    #[inline]
    pub(crate) fn flush(&self) {
        while let Some(flush) = self.flushes.borrow_mut().pop() {
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| flush.flush())) {
                // Its queries go on when their time is up.
                panicked_aside("what a batch had kept for its end", &*panic);
            }
        }
    }

    /// Hands a suspended query to its plugin, and makes it a task where the plugin leaves it.
    pub(crate) fn launch(
        self: &Rc<Self>,
        exchange: Box<Exchange>,
        envelope: Envelope,
        at: (&Arc<Block>, usize),
    ) {
        if exchange.context.deadline().is_some() {
            // A task has a clock.
            self.open.set(self.open.get() + 1);
            let queue = self.clone();
            let then = move |ended| queue.put(ended, envelope);
            return self.worker.suspend(exchange, at, then);
        }
        let number = self.keep(&exchange, envelope, at);
        let completion = Completion::new(self.clone(), number);
        let mut place = Some(exchange);
        self.launching.set(Some(number));
        // The exchange stays out here until it is taken, so that a panic finds it.
        let launched = catch_unwind(AssertUnwindSafe(|| {
            chain::launch(&mut place, at, completion)
        }));
        let dropped = self.launching.take().is_none();
        let Some(exchange) = place else {
            if let Err(panic) = launched {
                panicked(at.0, at.1, &*panic);
            }
            if dropped {
                self.lose(number);
            }
            return;
        };
        if dropped {
            self.release(number);
        } else {
            // A plugin that keeps the completion of a query that it has left here has nothing to complete.
            self.open.set(self.open.get() + 1);
            self.disown(number);
        }
        match launched {
            Ok(()) => {
                let queue = self.clone();
                let then = move |ended| queue.put(ended, envelope);
                self.worker.suspend(exchange, at, then);
            }
            Err(panic) => self.panicked(exchange, at, &*panic, envelope),
        }
    }

    /// Takes a place for a query; gives its number.
    fn keep(
        self: &Rc<Self>,
        exchange: &Exchange,
        envelope: Envelope,
        at: (&Arc<Block>, usize),
    ) -> u32 {
        self.open.set(self.open.get() + 1);
        let mut kept = self.kept.borrow_mut();
        let number = kept.free.pop().unwrap_or_else(|| {
            kept.places.push(Place {
                envelope: Envelope::NONE,
                ticket: None,
                cancel: None,
                rescue: Rescue::default(),
                evicted: false,
            });
            (kept.places.len() - 1) as u32
        });
        if let Some(place) = kept.places.get_mut(number as usize) {
            place.envelope = envelope;
            place.evicted = false;
            place.rescue.remember(exchange, at);
        }
        drop(kept);
        let client = exchange.context.peer.ip();
        let waiter = Waiter::Launched(self.clone(), number);
        let ticket = self.worker.admission.wait(client, waiter);
        match self.kept.borrow_mut().places.get_mut(number as usize) {
            Some(place) if !place.evicted => place.ticket = Some(ticket),
            // It was itself the one to go.
            _ => self.worker.admission.waited(ticket),
        }
        number
    }

    /// Has nothing come of a place any more; it is free once its completion is used or dropped.
    #[cold]
    fn disown(&self, number: u32) -> Option<(Envelope, Rescue)> {
        let mut kept = self.kept.borrow_mut();
        let place = kept.places.get_mut(number as usize);
        let place = place.filter(|place| !place.evicted)?;
        place.evicted = true;
        let ticket = place.ticket.take();
        let out = (place.envelope, std::mem::take(&mut place.rescue));
        drop(kept);
        if let Some(ticket) = ticket {
            self.worker.admission.waited(ticket);
        }
        Some(out)
    }

    /// Frees a place; gives its envelope, or nothing when the client has been answered. The query still counts as open.
    fn release(&self, number: u32) -> Option<Envelope> {
        let mut kept = self.kept.borrow_mut();
        let place = kept.places.get_mut(number as usize)?;
        let ticket = place.ticket.take();
        place.cancel = None;
        let envelope = (!place.evicted).then_some(place.envelope);
        place.rescue.forget();
        kept.free.push(number);
        drop(kept);
        if let Some(ticket) = ticket {
            self.worker.admission.waited(ticket);
        }
        envelope
    }

    /// Ends the wait of a query, because its place is needed: its client is told, and so are the plugins that it passed.
    #[cold]
    pub(crate) fn evict(&self, number: u32) {
        let cancel = match self.kept.borrow_mut().places.get_mut(number as usize) {
            Some(place) => place.cancel.take(),
            None => None,
        };
        if let Some(cancel) = cancel {
            // The plugin completes it, and that is all.
            match catch_unwind(AssertUnwindSafe(|| cancel.cancel(too_many()))) {
                Ok(true) => return,
                Ok(false) => {}
                Err(panic) => panicked_aside("a plugin that gave a query up", &*panic),
            }
        }
        let Some((envelope, rescue)) = self.disown(number) else {
            return;
        };
        // A plugin that gives nothing back keeps the exchange until its time is up; nothing comes of that.
        if let Some((mut exchange, (block, step))) = rescue.restore(self.worker.datagram()) {
            shed(&mut exchange, &block, step);
            finish(&mut exchange);
            self.leave(exchange, envelope);
        }
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

    /// The exchange is lost: with a panic, or because a plugin has dropped it. Its client is answered without it.
    #[cold]
    fn lose(&self, number: u32) {
        let disowned = self.disown(number);
        self.release(number);
        let ended = disowned.and_then(|(envelope, rescue)| {
            let (mut exchange, (block, step)) = rescue.restore(self.worker.datagram())?;
            abandon(&mut exchange, &block, step, a_loss);
            finish(&mut exchange);
            Some((exchange, envelope))
        });
        match ended {
            Some((exchange, envelope)) => self.put(Some(exchange), envelope),
            None => self.put(None, Envelope::NONE),
        }
    }

    /// Takes the end of a query that waited.
    fn put(&self, ended: Option<Box<Exchange>>, envelope: Envelope) {
        self.open.set(self.open.get() - 1);
        match ended {
            Some(exchange) => self.leave(exchange, envelope),
            None => self.listener.wakeup.wake(),
        }
    }

    /// Takes a response that is ready to leave.
    fn leave(&self, exchange: Box<Exchange>, envelope: Envelope) {
        self.ready.borrow_mut().push(Slot {
            exchange,
            envelope,
            cut: false,
            reply: true,
        });
        self.listener.wakeup.wake();
    }

    /// Takes back a query whose client has been answered.
    #[cold]
    fn too_late(&self, exchange: Box<Exchange>) {
        self.worker.recycle(exchange);
        self.open.set(self.open.get() - 1);
        self.listener.wakeup.wake();
    }
}

impl Completes for CompletionQueue {
    fn flush_later(&self, flush: Rc<dyn Flush>) -> bool {
        self.flushes.borrow_mut().push(flush);
        true
    }

    fn cancel_by(&self, number: u32, cancel: Cancel) {
        if let Some(place) = self.kept.borrow_mut().places.get_mut(number as usize) {
            place.cancel = Some(cancel);
        }
    }

    fn complete(
        self: Rc<Self>,
        number: u32,
        mut exchange: Box<Exchange>,
        flow: Result<Flow, Failure>,
    ) {
        let Some(envelope) = self.release(number) else {
            return self.too_late(exchange);
        };
        let Some((block, step)) = exchange.take_suspended() else {
            return self.put(None, envelope);
        };
        let completed = catch_unwind(AssertUnwindSafe(|| exchange.complete((&block, step), flow)));
        match completed {
            Ok(Outcome::Respond) => {
                finish(&mut exchange);
                self.put(Some(exchange), envelope);
            }
            // A response of many messages is none over UDP: the walk refuses it.
            Ok(Outcome::Silent | Outcome::Stream(_)) => {
                self.worker.recycle(exchange);
                self.put(None, envelope);
            }
            Ok(Outcome::Suspended(next)) => {
                let queue = self.clone();
                let then = move |ended| queue.put(ended, envelope);
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
        let Some(envelope) = self.release(number) else {
            return self.too_late(exchange);
        };
        let Some((block, step)) = exchange
            .suspended_at()
            .map(|(block, step)| (block.clone(), step))
        else {
            return self.put(None, envelope);
        };
        let rescue = Rescue::of(&exchange, (&block, step));
        let walk = async move { chain::resume_by(rest(exchange), block, step).await };
        let queue = self.clone();
        let then = move |ended| queue.put(ended, envelope);
        self.worker.finish_later(walk, rescue, then);
    }

    fn abandon(&self, number: u32) {
        if self.launching.get() == Some(number) {
            // What it means is known when the launch is over.
            self.launching.set(None);
        } else {
            self.lose(number);
        }
    }
}
