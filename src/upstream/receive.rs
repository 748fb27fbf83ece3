//! What comes in: replies and errors, and what they mean to the query that waits for them.

use std::rc::Rc;

use chain::Flow;
use host::clock;

use crate::engine::{End, Engine};
use crate::error::Error;
use crate::ids::QueryIds;
use crate::message;
use crate::outstanding::{Arrival, Attempt, Outstanding, Via};
use crate::remarks;
use crate::transaction::{Event, Reply, Transport};

impl Engine {
    /// Gives a reply to the query that waits for it under its ID; a reply that answers something else changes nothing, and the wait
    /// goes on (RFC 5452, section 9.1), which `false` tells. With `patient` so does one that cannot be read (CVE-2023-28452).
    #[inline]
    pub(crate) fn deliver(
        self: &Rc<Self>,
        ids: &QueryIds,
        octets: &[u8],
        patient: bool,
        now: u64,
    ) -> bool {
        let Some(id) = wire::read_u16(octets, 0) else {
            return false;
        };
        let Some(number) = ids.get(id) else {
            return false;
        };
        let mut table = self.table.borrow_mut();
        let Some(query) = table.get_mut(number) else {
            return false;
        };
        let Some(arrival) = query.accept(octets, patient) else {
            return false;
        };
        ids.release(id);
        let Some(attempt) = query.take_attempt(ids, id) else {
            return false;
        };
        let took = now.saturating_sub(attempt.began);
        attempt.via.peer().with_rtt(|rtt| rtt.replied(took));
        attempt.via.left();
        let event = match self.classify(query, &attempt, arrival, octets, now) {
            Ok(flow) => {
                drop(table);
                self.end(number, End::Reply(flow, octets), now);
                None
            }
            Err(event) => {
                drop(table);
                Some(event)
            }
        };
        if let Some(event) = event {
            self.advance_after_reply(number, event, octets, now);
        }
        if let Via::Connection(connection) = &attempt.via {
            let number = connection.peer.endpoint.number();
            let pool = self.pools.borrow().get(number).cloned().flatten();
            if let Some(pool) = pool {
                pool.trim(self);
            }
        }
        true
    }

    /// Ends the wait of the query under `id`, which had a stream of its own: no other reply can come.
    pub(crate) fn conclude(
        self: &Rc<Self>,
        ids: &QueryIds,
        id: u16,
        outcome: Result<Vec<u8>, Error>,
    ) {
        let now = clock::now();
        let error = match outcome {
            Ok(mut octets) => {
                message::set_id(&mut octets, id);
                if self.deliver(ids, &octets, false, now) {
                    return;
                }
                Error::malformed()
            }
            Err(error) => error,
        };
        if let Some(number) = ids.get(id) {
            ids.release(id);
            self.lose(number, |query| query.take_attempt(ids, id), &error, now);
        }
    }

    /// What an arrival means: the flow of an answer, or what the transaction is told.
    #[inline]
    fn classify(
        &self,
        query: &mut Outstanding,
        attempt: &Attempt,
        arrival: Arrival,
        octets: &[u8],
        now: u64,
    ) -> Result<Flow, Event> {
        let server = usize::from(attempt.server);
        let transport = attempt.via.transport();
        let told = |reply| Event::Reply {
            server,
            transport,
            reply,
        };
        let retry = query.retry_truncated && transport == Transport::Udp;
        match arrival {
            Arrival::Malformed => {
                return Err(Event::Failed {
                    server,
                    transport,
                    error: Error::malformed(),
                    reused: false,
                });
            }
            Arrival::Reply if retry && query.is_truncated() => {
                return Err(told(Reply::Truncated));
            }
            Arrival::Reply => {}
        }
        if attempt.edns {
            if message::refuses_edns(octets) && query.drop_edns() {
                return Err(told(Reply::NoEdns));
            }
        } else if query.without_edns && !message::refuses_edns(octets) {
            query.policy.endpoint(server).learn_lack_of_edns(now);
        }
        let Some(exchange) = &mut query.exchange else {
            return Err(told(Reply::Wanted));
        };
        let took = now.saturating_sub(attempt.began);
        remarks::replied(exchange, &*query.policy, (server, transport), took);
        let verdict = query.policy.judge(server, exchange, took);
        match verdict.unwanted {
            true => Err(told(Reply::Unwanted)),
            false => Ok(verdict.flow),
        }
    }

    /// Goes on after a reply that does not end the query, unless there is nobody else to ask.
    #[cold]
    fn advance_after_reply(self: &Rc<Self>, number: u32, event: Event, octets: &[u8], now: u64) {
        let unwanted = matches!(
            event,
            Event::Reply {
                reply: Reply::Unwanted,
                ..
            }
        );
        if unwanted {
            let mut table = self.table.borrow_mut();
            let Some(query) = table.get_mut(number) else {
                return;
            };
            if !query.transaction.may_refuse_reply() {
                drop(table);
                return self.end(number, End::Reply(Flow::Answered, octets), now);
            }
        }
        if let Some(query) = self.table.borrow_mut().get_mut(number) {
            query.begin_response();
        }
        self.advance(number, event, now);
    }

    /// Tells every query of a socket or connection that no reply will come.
    #[cold]
    pub(crate) fn fail(self: &Rc<Self>, ids: &QueryIds, error: &Error) {
        let now = clock::now();
        for number in ids.clear() {
            self.lose(number, |query| query.take_attempt_by(ids), error, now);
        }
    }

    /// Tells a query that the attempt that `take` takes out has failed.
    fn lose(
        self: &Rc<Self>,
        number: u32,
        take: impl FnOnce(&mut Outstanding) -> Option<Attempt>,
        error: &Error,
        now: u64,
    ) {
        let mut table = self.table.borrow_mut();
        let Some(query) = table.get_mut(number) else {
            return;
        };
        let Some(attempt) = take(query) else {
            return;
        };
        // Whoever waits for another one's reply goes on waiting.
        if query.leader.is_some() {
            return;
        }
        drop(table);
        let event = Event::Failed {
            server: attempt.server.into(),
            transport: attempt.via.transport(),
            error: error.clone(),
            reused: attempt.reused,
        };
        self.advance(number, event, now);
    }
}
