//! Turns of the tasks that serve stream clients, so that the other work of their worker never waits for all of them.
//!
//! ```text
//! wakes ─► a connection's task ─┬─ messages left in this round ─► runs ─► the next in the queue
//!                               └─ none left ─► the queue ◄─ the round's end: sockets are polled, UDP and upstreams run, a new round
//! ```
//!
//! A runtime polls tasks in the order in which they were woken. With 200 connections that pipeline, a datagram would wait until each of
//! them had taken its 64 messages. Here all connections of a worker together take [`ROUND`] messages; then the sockets are polled, what
//! is ready runs, and only then the next connections continue, first come first served. Nothing is queued while a round has messages
//! left, so a worker that is not busy pays for a few cells.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Poll, Waker};

use crate::worker::{Wakeup, Worker};

/// Messages of a round. A connection that has begun its turn ends it, so a round may have a turn's messages more.
const ROUND: usize = 128;

/// The turns of one worker.
pub(crate) struct Turns {
    /// Messages that this round has left.
    left: Cell<usize>,
    /// Those whose turn has not come, the first at the front.
    queue: RefCell<VecDeque<Rc<Seat>>>,
    /// Woken when a round has nothing left.
    over: Wakeup,
}

impl Default for Turns {
    fn default() -> Self {
        Self {
            left: Cell::new(ROUND),
            queue: RefCell::default(),
            over: Wakeup::default(),
        }
    }
}

/// A task's place among the others.
#[derive(Default)]
struct Seat {
    standing: Cell<Standing>,
    waker: RefCell<Option<Waker>>,
}

/// How a task stands.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Standing {
    /// It has not asked.
    #[default]
    Away,
    /// It is in the queue.
    Queued,
    /// It was in the queue, and may run.
    Called,
    /// It has ended.
    Gone,
}

/// Ends a task's place with the task.
struct Seated<'a>(&'a Turns, Rc<Seat>);

impl Drop for Seated<'_> {
    fn drop(&mut self) {
        if self.1.standing.replace(Standing::Gone) == Standing::Called {
            // Its turn is for somebody else.
            self.0.call_next();
        }
    }
}

impl Turns {
    /// Runs `task` to its end, whenever it is its turn. It is boxed, as a future that is handed on by value takes its room twice.
    pub(crate) async fn take(&self, mut task: Pin<Box<impl Future<Output = ()>>>) {
        let seated = Seated(self, Rc::default());
        let seat = &seated.1;
        poll_fn(|context| {
            match seat.standing.get() {
                Standing::Away if self.left.get() > 0 && self.queue.borrow().is_empty() => {}
                Standing::Called => seat.standing.set(Standing::Away),
                standing => {
                    let mut waker = seat.waker.borrow_mut();
                    waker.get_or_insert_with(|| context.waker().clone());
                    if standing == Standing::Away {
                        seat.standing.set(Standing::Queued);
                        self.queue.borrow_mut().push_back(seat.clone());
                    }
                    return Poll::Pending;
                }
            }
            self.spend(1);
            let polled = task.as_mut().poll(context);
            self.call_next();
            polled
        })
        .await
    }

    /// Counts work of the task whose turn it is, in messages.
    pub(crate) fn spend(&self, messages: usize) {
        let left = self.left.get().saturating_sub(messages);
        if self.left.replace(left) > 0 && left == 0 {
            self.over.wake();
        }
    }

    /// Calls the first in the queue, if this round has anything left.
    fn call_next(&self) {
        if self.left.get() == 0 {
            return;
        }
        let mut queue = self.queue.borrow_mut();
        while let Some(seat) = queue.pop_front() {
            if seat.standing.get() == Standing::Queued {
                seat.standing.set(Standing::Called);
                if let Some(waker) = seat.waker.take() {
                    waker.wake();
                }
                return;
            }
        }
    }

    /// Begins a round whenever one has ended, as a task of the worker.
    pub(crate) async fn begin_rounds(worker: Rc<Worker>) {
        let turns = &worker.turns;
        loop {
            poll_fn(|context| turns.over.poll(context)).await;
            turns.over.asleep.set(false);
            // The sockets are polled, and what they wake runs first.
            tokio::task::yield_now().await;
            turns.left.set(ROUND);
            turns.call_next();
        }
    }
}
