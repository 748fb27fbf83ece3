//! A client of a transport that answers each query for itself: a request of HTTP, a stream of QUIC.
//!
//! ```text
//! octets ─► Client::ask ─► answer ─► finish ─► Answer
//!                             └ waits, in a task ─┘
//! ```
//!
//! Queries of such a client may end before their answers come (a stream is reset), while the plugins still work for them. So they are
//! counted by connection until their wait has ended, and a client that asks on and takes nothing back is sent away.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use chain::{Block, Exchange, Messages};
use host::clock;
use tokio::sync::oneshot;

use super::connection::Accepted;
use crate::answer::{Verdict, answer};
use crate::finish::finish;

/// Queries of one connection that may wait, with those whose client does not wait for them any more.
pub(crate) const ASKED: usize = 256;

/// What became of a query.
pub(crate) enum Answer {
    /// One message.
    One(Box<Exchange>),
    /// Many messages, from the plugin at this step of this block.
    Many(Box<Exchange>, (Arc<Block>, usize)),
    /// Nobody answers.
    Silent,
    /// Too many queries of the connection wait.
    TooMany,
}

/// One connection of such a client.
pub(crate) struct Client {
    pub(crate) accepted: Accepted,
    waiting: Rc<Cell<usize>>,
}

impl Client {
    pub(crate) fn new(accepted: Accepted) -> Self {
        Self {
            accepted,
            waiting: Rc::default(),
        }
    }

    /// Whether no query waits.
    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.get() == 0
    }

    /// Counts work for the client in its connection's turn, in messages.
    pub(crate) fn spend(&self, messages: usize) {
        self.accepted.registration.worker.turns.spend(messages);
    }

    /// Answers one message.
    pub(crate) async fn ask(&self, message: &[u8]) -> Answer {
        if self.waiting.get() >= ASKED {
            return Answer::TooMany;
        }
        let Accepted {
            listener,
            registration,
            ends: (peer, local),
            transport,
            encryption,
            ..
        } = &self.accepted;
        let worker = &registration.worker;
        let table = listener.table(&worker.shared).await;
        let mut exchange = worker.stream();
        exchange.receive_buffer(message.len())[..message.len()].copy_from_slice(message);
        exchange.set_received(message.len());
        let context = &mut exchange.context;
        context.peer = *peer;
        context.local = *local;
        context.transport = *transport;
        context.encryption = *encryption;
        context.received = clock::now();
        context.worker = worker.index;
        let told = match answer(&mut exchange, &table) {
            Verdict::Silent => {
                worker.recycle(exchange);
                return Answer::Silent;
            }
            Verdict::Respond => {
                finish(&mut exchange);
                return Answer::One(exchange);
            }
            Verdict::Stream(block, step) => return Answer::Many(exchange, (block.clone(), step)),
            Verdict::Suspended(block, step) => {
                let (tell, told) = oneshot::channel();
                let waiting = self.waiting.clone();
                waiting.set(waiting.get() + 1);
                worker.suspend(exchange, (block, step), move |ended| {
                    waiting.set(waiting.get() - 1);
                    if let Err(Some(mut exchange)) = tell.send(ended)
                        && let Some((block, step)) = exchange.take_suspended()
                    {
                        // Its client has gone: the plugins hear of it.
                        drop(Messages::new(exchange, (&block, step)));
                    }
                });
                told
            }
        };
        drop(table);
        match told.await {
            Ok(Some(mut exchange)) => match exchange.take_suspended() {
                Some(at) => Answer::Many(exchange, at),
                None => Answer::One(exchange),
            },
            _ => Answer::Silent,
        }
    }

    /// Takes the octets of an answer, and its exchange back for reuse.
    pub(crate) fn octets(&self, exchange: Box<Exchange>) -> Vec<u8> {
        let octets = exchange.reply().to_vec();
        self.accepted.registration.worker.recycle(exchange);
        octets
    }
}
