//! `etcd`: SkyDNS's records in etcd, listed and watched, answered from memory.
//!
//! ```text
//!  etcd ──► gateway, watch ── keys ──► store ──► snapshot (immutable) ──► swapped whole ──► query
//!                                     nodes ready as octets
//! ```
//!
//! A query pins the snapshot, finds its name by one look-up, and copies records that are ready ([`node`]) or puts them together from
//! pieces that are ([`answer`]); aliases within the zone are followed on the spot. Nothing is allocated, locked or asked of the network,
//! but for names that stand for others outside of the zone, which are asked of the server itself, and for wildcards in a question.
//! Before the first list is complete, queries wait for it.

mod answer;
mod gateway;
mod lease;
mod node;
mod path;
mod service;
mod setup;
mod store;
#[cfg(test)]
mod tests;
mod watch;

use std::sync::Arc;

use chain::{
    Exchange, ExtendedError, Failure, Fallthrough, Flow, Plugin, Query, Resolved, Resolving,
    ZoneMap,
};
use source::Standing;
use wire::{NameBuf, Qname, Rcode, Response, Type};

use answer::{Answer, Asked, Elsewhere, Found};
use node::Node;
pub(crate) use setup::REGISTRATION;
use store::{Snapshot, Store};

/// The target of log lines.
const TARGET: &str = "plugin/etcd";
/// The most names that are asked of the server itself for one query.
const MOST_ELSEWHERE: usize = 32;

/// A zone that is served.
struct Zone {
    /// The zone, in lower case.
    origin: NameBuf,
    /// `apex.dns.ZONE`: what has the addresses of the zone's own name.
    apex: NameBuf,
    /// `ns.dns.ZONE`: what has the name servers.
    servers: NameBuf,
    /// The hashes of both.
    hashes: [u64; 2],
}

impl Zone {
    fn new(origin: NameBuf) -> Self {
        let below = |top: &[u8]| {
            let name = NameBuf::prepend(b"dns", origin.as_name());
            let name = name.and_then(|dns| NameBuf::prepend(top, dns.as_name()));
            // Without room for such a name there is none; the zone's own name is always there.
            name.unwrap_or(origin)
        };
        let (apex, servers) = (below(b"apex"), below(b"ns"));
        Self {
            origin,
            hashes: [&apex, &servers].map(|name| wire::name_hash(name.as_name())),
            apex,
            servers,
        }
    }
}

/// One `etcd` directive at work.
struct Etcd {
    zones: ZoneMap<Zone>,
    fall: Fallthrough,
    store: Arc<Store>,
    standing: Arc<Standing>,
    /// Until when ([`host::clock`]) queries wait for the first list.
    patience: u64,
}

impl Plugin for Etcd {
    fn name(&self) -> &'static str {
        "etcd"
    }

    fn query(&self, query: &mut Query<'_>, response: &mut Response<'_>) -> Result<Flow, Failure> {
        let Some((left, zone)) = self.zones.nearest_from(query.qname(), 0) else {
            return Ok(Flow::Next);
        };
        if matches!(query.qtype(), Type::AXFR | Type::IXFR) {
            return Err(Failure::policy(Rcode::REFUSED));
        }
        let snapshot = self.store.snapshot.load();
        if !snapshot.known {
            return match query.received() < self.patience {
                true => Ok(Flow::Suspend),
                false => Err(not_ready()),
            };
        }
        if has_wildcard(query.qname(), left) {
            return Ok(Flow::Suspend);
        }
        let mut elsewhere = Elsewhere::default();
        let node = snapshot.nearest(query.qname(), query.qname().label_count() - left);
        let found = write(
            (zone, left),
            &snapshot,
            node,
            query,
            response,
            &mut elsewhere,
        );
        self.conclude(found, query.qname(), response)
    }

    fn resolve(self: Arc<Self>, exchange: Box<Exchange>) -> Resolving {
        Box::pin(self.wait_and_answer(exchange))
    }

    fn ready(&self) -> Option<bool> {
        Some(self.store.snapshot.load().known)
    }

    fn trouble(&self) -> Option<String> {
        self.standing.trouble()
    }
}

/// Answers a query for a name in `zone`, whose node is `node`.
#[inline]
fn write(
    (zone, left): (&Zone, usize),
    snapshot: &Snapshot,
    node: Option<&Node>,
    query: &Query<'_>,
    response: &mut Response<'_>,
    elsewhere: &mut Elsewhere,
) -> Found {
    let asked = Asked {
        zone,
        left,
        qname: query.qname(),
        qtype: query.qtype(),
        now: query.received(),
    };
    Answer::new(&asked, snapshot, response, elsewhere).write(node)
}

impl Etcd {
    /// What becomes of a query that was answered so.
    fn conclude(
        &self,
        found: Found,
        qname: &Qname,
        response: &mut Response<'_>,
    ) -> Result<Flow, Failure> {
        match found {
            Found::Written => Ok(Flow::Answered),
            Found::NoName if self.fall.through(qname) => {
                response.take_back();
                Ok(Flow::Next)
            }
            Found::NoName => {
                response.set_rcode(Rcode::NXDOMAIN);
                Ok(Flow::Answered)
            }
            Found::Apex if self.fall.through(qname) => {
                response.take_back();
                Ok(Flow::Next)
            }
            Found::Apex => Ok(Flow::Answered),
            Found::Broken => Err(
                Failure::servfail("no value of the name can be read").extended(
                    ExtendedError::INVALID_DATA,
                    "the name's records cannot be read",
                ),
            ),
            Found::Elsewhere => Ok(Flow::Suspend),
        }
    }

    /// Waits for what is not known yet, follows aliases that lead out of the zone, and finds what a wildcard stands for.
    async fn wait_and_answer(self: Arc<Self>, mut exchange: Box<Exchange>) -> Resolved {
        self.standing.settle(self.patience).await;
        let snapshot = self.store.snapshot.load_full();
        let mut elsewhere = Elsewhere::default();
        let mut wild = None;
        loop {
            exchange.begin();
            let Some((query, mut response)) = exchange.suspended_views() else {
                return (exchange, Ok(Flow::Next));
            };
            let qname = query.qname().clone();
            let Some((left, zone)) = self.zones.nearest_from(&qname, 0) else {
                return (exchange, Ok(Flow::Next));
            };
            if !snapshot.known {
                return (exchange, Err(not_ready()));
            }
            let node = match has_wildcard(&qname, left) {
                true => wild
                    .get_or_insert_with(|| self.store.matching(&qname))
                    .as_ref(),
                false => snapshot.nearest(&qname, qname.label_count() - left),
            };
            let zone = (zone, left);
            let found = write(zone, &snapshot, node, &query, &mut response, &mut elsewhere);
            let Some((target, qtype)) = elsewhere.wanted.take() else {
                let flow = self.conclude(found, &qname, &mut response);
                return (exchange, flow);
            };
            let found = chain::look_up(&exchange, target.as_name(), qtype).await;
            elsewhere.answers.push((target, qtype, found.ok()));
            elsewhere.complete = elsewhere.answers.len() >= MOST_ELSEWHERE;
        }
    }
}

/// Whether a label left of the zone stands for any.
#[inline]
fn has_wildcard(qname: &Qname, left: usize) -> bool {
    let mut labels = qname.name().labels().take(left);
    labels.any(store::is_wild)
}

/// The answer to a question that cannot be answered yet.
fn not_ready() -> Failure {
    Failure::servfail("etcd has not been read yet")
        .extended(ExtendedError::NOT_READY, "the records are not known yet")
}
