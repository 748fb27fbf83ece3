//! Queries that ask the same of the same servers while one of them is outstanding wait with it, and get a copy of its reply.
//!
//! So a name that no server answers costs its datagrams once, not once a client (RFC 9520, section 3.1); whoever wants to forge a reply
//! cannot have many IDs to guess at once (RFC 5452, section 5); and where two servers forward to each other, a question comes to rest
//! when it has come round once.
//!
//! What is outstanding is found by a hint: an array of [`HINTS`] places, chosen by the hash that parsing made of the QNAME, each with the
//! query that was put there last. One read and one write a query, and nothing to take out again: a hint to a query that has ended is
//! seen by its generation. Where two questions meet in a place the newer has it, and the older is asked for anew: that costs a datagram.

use std::rc::Rc;

use chain::{Cause, Failure, Flow};

use crate::engine::{End, Engine};
use crate::outstanding::{Arrival, Outstanding, Table};
use crate::transaction::Event;

/// Places of the array.
const HINTS: usize = 2_048;

/// Where to look for a query that asks the same.
pub(crate) struct Hints(Box<[Hint]>);

/// The query that was put in a place last.
#[derive(Clone, Copy)]
struct Hint {
    /// The rest of the hash of its question.
    tag: u32,
    number: (u32, u32),
}

impl Default for Hints {
    fn default() -> Self {
        let nobody = Hint {
            tag: 0,
            number: (u32::MAX, 0),
        };
        Self(vec![nobody; HINTS].into())
    }
}

impl Hints {
    /// The query that asks the same, if there is one.
    #[inline]
    pub(crate) fn find(&self, table: &Table, query: &Outstanding) -> Option<(u32, u32)> {
        let hint = self.0.get(query.hash as usize % HINTS)?;
        if hint.tag != (query.hash >> 32) as u32 || table.generation(hint.number.0) != hint.number.1
        {
            return None;
        }
        let leader = table.get(hint.number.0)?;
        query.asks_the_same(leader).then_some(hint.number)
    }

    /// Puts a query where those that ask the same will look.
    #[inline]
    pub(crate) fn put(&mut self, hash: u64, number: (u32, u32)) {
        if let Some(hint) = self.0.get_mut(hash as usize % HINTS) {
            let tag = (hash >> 32) as u32;
            *hint = Hint { tag, number };
        }
    }
}

impl Table {
    /// Has a query wait for another one.
    #[cold]
    pub(crate) fn follow(&mut self, number: (u32, u32), leader: (u32, u32)) {
        if let Some(leading) = self.exactly(leader) {
            leading.followers.push(number);
        }
        if let Some(query) = self.exactly(number) {
            query.leader = Some(leader);
        }
    }
}

impl Engine {
    /// Ends the queries that waited for one that has ended, or has the first of them ask in its place.
    #[cold]
    pub(crate) fn release_followers(
        self: &Rc<Self>,
        followers: Vec<(u32, u32)>,
        end: End<'_>,
        now: u64,
    ) {
        match end {
            End::Reply(flow, octets) => {
                for (number, generation) in followers {
                    let mut table = self.table.borrow_mut();
                    let Some(query) = table.exactly((number, generation)) else {
                        continue;
                    };
                    query.leader = None;
                    let event = match query.accept(octets, false) {
                        Some(Arrival::Reply) => None,
                        Some(Arrival::Malformed) | None => Some(Event::Start),
                    };
                    if flow == Flow::Next {
                        query.begin_response();
                    }
                    drop(table);
                    match event {
                        None => self.end(number, End::Reply(flow, &[]), now),
                        Some(event) => self.advance(number, event, now),
                    }
                }
            }
            End::Failed(failure) => {
                // It is logged once.
                let failure = Failure {
                    cause: Cause::None,
                    ..failure
                };
                for number in followers {
                    let there = self.table.borrow_mut().exactly(number).is_some();
                    if there {
                        self.end(number.0, End::Failed(failure.clone()), now);
                    }
                }
            }
            End::Cancelled(_) => {
                let mut table = self.table.borrow_mut();
                let mut rest = followers.into_iter();
                let Some(first) = rest.find(|number| table.exactly(*number).is_some()) else {
                    return;
                };
                let rest: Vec<_> = rest.collect();
                for number in &rest {
                    if let Some(query) = table.exactly(*number) {
                        query.leader = Some(first);
                    }
                }
                if let Some(query) = table.exactly(first) {
                    query.leader = None;
                    query.followers = rest;
                    self.hints.borrow_mut().put(query.hash, first);
                }
                drop(table);
                self.advance(first.0, Event::Start, now);
            }
        }
    }
}
