//! A batch of datagrams that came at once, answered in their slots.
//!
//! ```text
//! read the first ─► is its data far? ─┬─ no ──► answer it; read and answer each of the others
//!                                     └─ yes ─► read all ─► load for all what their look-ups will read ─► answer all
//! ```
//!
//! A large zone is in no cache of the core: each of its look-ups waits for memory twice, for a slot of the table and for a node. Loading
//! ahead for all of a batch has them wait at the same time. What is near costs one question a batch.

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;

use chain::setup::ProxyProtocol;
use chain::{Exchange, Transport};
use host::clock;
use tracing::warn;

use super::backend::{BATCH, Slot};
use super::home::Home;
use super::proxy::{self, Sessions};
use crate::answer::{Routed, Verdict, answer_by, panicked_aside, read};
use crate::finish::finish;
use crate::route::Table;
use crate::worker::{Worker, canonical};

/// Fewer datagrams than this are answered one by one.
const FEW: usize = 4;

/// What is remembered of those who ask.
#[derive(Default)]
pub(super) struct Guards {
    /// What services that answer anything are still answered.
    services: Allowance,
    /// Clients behind load balancers that send one header for many datagrams.
    sessions: Sessions,
}

/// Whose a datagram is: the socket of its address, and the blocks that answer.
type Whose<'a> = (&'a Rc<Home>, &'a Table);

/// A datagram that was read.
struct Read<'a> {
    whose: Whose<'a>,
    routed: Routed<'a>,
}

/// Datagrams that came to a worker at one time.
pub(super) struct Arrival<'a> {
    pub(super) worker: &'a Worker,
    pub(super) guards: &'a mut Guards,
    pub(super) received: u64,
}

impl Arrival<'_> {
    /// Answers the datagrams in the slots, at most [`BATCH`]; `whose` says whose each is, and nobody's get no answer.
    #[inline(always)]
    pub(super) fn answer<'a>(
        &mut self,
        slots: &mut [Slot],
        whose: impl Fn(usize, &Slot) -> Option<Whose<'a>>,
    ) {
        let mut reads = [const { None }; BATCH];
        let mut done = 0;
        if slots.len() >= FEW {
            let first = whose(0, &slots[0]);
            reads[0] = self.read(&mut slots[0], first);
            done = 1;
            if load_ahead(&slots[..1], &reads) {
                for (at, slot) in slots.iter_mut().enumerate().skip(1) {
                    let whose = whose(at, slot);
                    reads[at] = self.read(slot, whose);
                }
                done = slots.len();
                load_ahead(slots, &reads);
            }
        }
        for (at, slot) in slots.iter_mut().enumerate() {
            let read = match at < done {
                true => reads[at].take(),
                false => {
                    let whose = whose(at, slot);
                    self.read(slot, whose)
                }
            };
            if let Some(read) = read {
                self.respond(slot, read);
            }
        }
    }

    /// Reads one datagram in its slot; `None` where nobody answers it.
    #[inline(always)]
    fn read<'a>(&mut self, slot: &mut Slot, whose: Option<Whose<'a>>) -> Option<Read<'a>> {
        let (home, table) = whose?;
        let peer = slot.envelope.peer;
        let port = peer.port();
        if port < WELL_KNOWN && !self.guards.services.may_be_answered(port, self.received) {
            return None;
        }
        if slot.cut {
            // What does not fit the buffer is no query; the header alone makes a FORMERR.
            slot.exchange.set_received(wire::HEADER_LEN);
        }
        let context = &mut slot.exchange.context;
        context.peer = canonical(peer);
        let local = slot.envelope.local.unwrap_or(home.local.ip());
        context.local = canonical(SocketAddr::new(local, home.local.port()));
        context.transport = Transport::Udp;
        context.received = self.received;
        context.worker = self.worker.index;
        if let Some(protocol) = &table.proxy
            && !behind_proxy(&mut slot.exchange, protocol, &mut self.guards.sessions)
        {
            return None;
        }
        Some(Read {
            whose: (home, table),
            routed: read(&mut slot.exchange, table),
        })
    }

    /// Answers one datagram that was read.
    #[inline(always)]
    fn respond(&self, slot: &mut Slot, read: Read<'_>) {
        let (home, table) = read.whose;
        match answer_by(&mut slot.exchange, table, read.routed) {
            // A response of many messages is none over UDP: the walk refuses it.
            Verdict::Silent | Verdict::Stream(..) => {}
            Verdict::Respond => {
                finish(&mut slot.exchange);
                slot.reply = true;
            }
            Verdict::Suspended(block, step) => {
                let exchange = std::mem::replace(&mut slot.exchange, self.worker.datagram());
                let envelope = home.envelope(slot.envelope);
                home.completions.launch(exchange, envelope, (block, step));
            }
        }
    }
}

/// Has the plugin that is to answer load what it will read for all of a batch that have the block of the first; whether it did.
#[inline(never)]
fn load_ahead(slots: &[Slot], reads: &[Option<Read<'_>>]) -> bool {
    let block = |read: &Option<Read<'_>>| read.as_ref()?.routed.ok()?.map(Arc::as_ptr);
    let Some(Read {
        routed: Ok(Some(first)),
        ..
    }) = &reads[0]
    else {
        return false;
    };
    let mut qnames = [&slots[0].exchange.parsed.qname; BATCH];
    let mut count = 1;
    for (slot, read) in slots.iter().zip(reads).skip(1) {
        if block(read) == Some(Arc::as_ptr(first)) {
            qnames[count] = &slot.exchange.parsed.qname;
            count += 1;
        }
    }
    let loaded = AssertUnwindSafe(|| first.chain.ahead(&qnames[..count]));
    catch_unwind(loaded).unwrap_or_else(|panic| {
        panicked_aside("loading ahead", &*panic);
        false
    })
}

/// Takes the header of the PROXY protocol off a datagram, if it has one; `false` where it is dropped.
#[cold]
fn behind_proxy(
    exchange: &mut Exchange,
    protocol: &ProxyProtocol,
    sessions: &mut Sessions,
) -> bool {
    let (peer, now) = (exchange.context.peer, exchange.context.received);
    match proxy::datagram(exchange.message(), peer, protocol, sessions, now) {
        proxy::Datagram::Of(len, client) => {
            let message = exchange.message_mut();
            let rest = message.len() - len;
            message.copy_within(len.., 0);
            exchange.set_received(rest);
            exchange.context.peer = canonical(client);
            true
        }
        proxy::Datagram::Drop(why) => {
            warn!("dropping invalid Proxy Protocol packet from {peer}: {why}");
            false
        }
    }
}

/// Ports below this one are looked at: most are of services, and no client asks from them.
const WELL_KNOWN: u16 = 1_024;
/// Queries that a socket answers to services in a row.
const TO_SERVICES: u32 = 8;
/// After so long one more is answered, in nanoseconds.
const REFILL: u64 = clock::SECOND;

/// How many queries from the ports of services are still answered.
///
/// Some services answer whatever comes: echo (7), systat (11), daytime (13), qotd (17), chargen (19), time (37), TFTP (69), NTP (123).
/// A query with such a source port is forged, to set the two on each other: what the service makes of our response would be answered
/// in turn, and so on. Each round needs the one before, so a conversation ends for good with the first datagram that is not answered.
#[derive(Default)]
struct Allowance {
    used: u32,
    since: u64,
}

impl Allowance {
    /// Whether a datagram from this well-known port is to be answered.
    #[cold]
    fn may_be_answered(&mut self, port: u16, now: u64) -> bool {
        match port {
            0 => return false,
            7 | 11 | 13 | 17 | 19 | 37 | 69 | 123 => {}
            _ => return true,
        }
        let regained = now.saturating_sub(self.since) / REFILL;
        if regained > 0 {
            self.used = self
                .used
                .saturating_sub(regained.min(u64::from(TO_SERVICES)) as u32);
            self.since = now;
        }
        let may = self.used < TO_SERVICES;
        self.used += u32::from(may);
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conversation_with_a_service_ends() {
        let mut allowance = Allowance::default();
        let start = 100 * clock::SECOND;
        let rounds = (0..5_000)
            .take_while(|round| allowance.may_be_answered(7, start + round * 1_000))
            .count();
        assert_eq!(rounds, TO_SERVICES as usize);
        // Each second has one answer, whatever port it is for.
        let later = start + clock::SECOND;
        assert!(allowance.may_be_answered(19, later));
        assert!(!allowance.may_be_answered(123, later));
        // Resolvers may ask from 53, and nobody can from 0.
        assert!(allowance.may_be_answered(53, later));
        assert!(!allowance.may_be_answered(0, later));
    }
}
