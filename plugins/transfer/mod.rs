//! `transfer`: hands zones to secondaries, and tells them of changes.
//!
//! ```text
//! AXFR, IXFR ─► longest matching line ─► allowed? ─► the zone as it is now, or its journal ─► Outgoing: message after message, at the
//!                                                                                             client's pace
//! Served::replace ─► Changes ─► tell ─► NOTIFY to each address, in parallel
//! ```
//!
//! The zones are those that the plugins of the block offer (`chain::served`); who serves them is not known here. A transfer holds the
//! version that it began with.

mod notify;
mod outgoing;
mod quota;
mod setup;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};

use chain::capability::Capabilities;
use chain::keeper::ZoneOrder;
use chain::served::{Served, ZoneSet};
use chain::trace::Remark;
use chain::{
    BlockInfo, Encryption, Exchange, ExtendedError, Failure, Flow, MessageSource, Plugin, Query,
};
use corefile::key::Prefix;
use wire::{Flags, Message, Name, NameBuf, Rcode, Response, Section, Type};

use self::notify::Changes;
use self::outgoing::Outgoing;

pub(crate) use setup::REGISTRATION;

/// Who may have a zone.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Whom {
    /// Everybody.
    Anyone,
    /// The clients of a prefix.
    Clients(Prefix),
    /// A secondary, which is told of changes, too. The port is where it is told.
    Secondary(SocketAddr),
}

impl Whom {
    fn has(&self, client: IpAddr) -> bool {
        match self {
            Self::Anyone => true,
            Self::Clients(prefix) => prefix.contains(client),
            Self::Secondary(address) => address.ip().to_canonical() == client,
        }
    }
}

/// One of those behind `to`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Target {
    whom: Whom,
    /// The key that its queries are signed with, and what it is told.
    key: Option<NameBuf>,
}

/// One `transfer` of a server block.
#[derive(Debug)]
struct Stanza {
    zones: Vec<NameBuf>,
    targets: Vec<Target>,
    /// Where NOTIFY is sent from.
    source: Option<IpAddr>,
}

/// All of them.
#[derive(Debug)]
struct Stanzas(Vec<Stanza>);

impl Stanzas {
    /// The one that has the longest zone that encloses `name`; of two that have it, the first, as in CoreDNS.
    fn matching(&self, name: Name<'_>) -> Option<&Stanza> {
        let each = self.0.iter().flat_map(|stanza| {
            let zones = stanza.zones.iter();
            zones.map(move |zone| (zone.as_name(), stanza))
        });
        each.rev()
            .filter(|(zone, _)| name.is_within(*zone))
            .max_by_key(|(zone, _)| zone.label_count())
            .map(|(_, stanza)| stanza)
    }
}

/// The `transfer` lines of a server block at work.
struct Transfer {
    stanzas: Arc<Stanzas>,
    capabilities: Arc<Capabilities>,
    changes: Arc<Changes>,
    /// The zones of the block, known when all plugins are built.
    zones: OnceLock<Vec<Arc<ZoneSet>>>,
}

impl Transfer {
    /// The zone with this apex.
    fn find(&self, apex: Name<'_>) -> Option<Arc<Served>> {
        let mut sets = self.zones.get()?.iter();
        sets.find_map(|zones| zones.find(apex))
    }
}

impl Plugin for Transfer {
    fn name(&self) -> &'static str {
        "transfer"
    }

    fn attach(&self, _: &BlockInfo) {
        self.zones.get_or_init(|| {
            let zones = self.capabilities.zones();
            let zones: Vec<_> = zones.into_iter().map(|(_, zones)| zones).collect();
            let observer = self.changes.observer();
            for zones in &zones {
                zones.observe(&observer);
                // Of a zone that comes later, the observer has them kept.
                for zone in zones.all() {
                    zone.keep_differences();
                }
            }
            zones
        });
    }

    fn query(&self, query: &mut Query<'_>, response: &mut Response<'_>) -> Result<Flow, Failure> {
        let qtype = query.qtype();
        if !matches!(qtype, Type::AXFR | Type::IXFR) {
            return Ok(Flow::Next);
        }
        let datagram = query.transport().is_datagram();
        if datagram && qtype == Type::AXFR || query.depth() > 0 {
            return Err(Failure::policy(Rcode::REFUSED));
        }
        let Some(stanza) = self.stanzas.matching(query.name()) else {
            return Ok(Flow::Next);
        };
        let (client, key) = (query.peer().ip().to_canonical(), query.key());
        let allowed = stanza.targets.iter().any(|target| {
            let signed = target.key.as_ref();
            target.whom.has(client) && signed.is_none_or(|signed| key == Some(signed.as_name()))
        });
        if !allowed {
            query.remark(|| Remark::new("not allowed").with("client", client));
            return Err(Failure::policy(Rcode::REFUSED).extended(
                ExtendedError::PROHIBITED,
                "this client may not have the zone",
            ));
        }
        if query.encryption() == Encryption::Tls12 {
            return Err(Failure::policy(Rcode::REFUSED).extended(
                ExtendedError::PROHIBITED,
                "over TLS, zones are transferred by version 1.3 alone (RFC 9103, 7.2)",
            ));
        }
        if qtype == Type::IXFR && serial(query).is_none() {
            query.remark(|| Remark::new("no SOA record of the client's version"));
            return Err(Failure::policy(Rcode::FORMERR));
        }
        let Some(served) = self.find(query.name()) else {
            return Ok(Flow::Next);
        };
        let Some(zone) = served.snapshot() else {
            return Err(Failure::policy(Rcode::SERVFAIL)
                .extended(ExtendedError::NOT_READY, "the zone is not loaded"));
        };
        if !datagram {
            return Ok(Flow::Stream);
        }
        // The client sees that there is more than a datagram carries, and comes by TCP (RFC 1995, section 2).
        response.set_flag(Flags::AA, true);
        let soa = zone
            .soa()
            .ok_or(Failure::servfail("the zone has no SOA record"))?;
        outgoing::push_record(response, &soa, &mut Vec::new());
        Ok(Flow::Answered)
    }

    fn order(&self, apex: Name<'_>, order: ZoneOrder) -> Option<Result<String, String>> {
        if order != ZoneOrder::Notify {
            return None;
        }
        let (served, stanza) = (self.find(apex)?, self.stanzas.matching(apex)?);
        let told = stanza.targets.iter();
        let told = told
            .filter(|target| matches!(target.whom, Whom::Secondary(_)))
            .count();
        Some(match (told, served.snapshot()) {
            (0, _) => Err(format!(
                "no `to` names a secondary of zone {apex} by its address"
            )),
            (_, None) => Err(format!("zone {apex} is not loaded")),
            (_, Some(zone)) => {
                self.changes.add(served);
                let serial = zone.serial();
                Ok(format!(
                    "zone {apex}: NOTIFY of serial {serial} is sent to {told} secondaries"
                ))
            }
        })
    }

    fn stream(self: Arc<Self>, exchange: &mut Exchange) -> Box<dyn MessageSource> {
        let source = exchange.suspended_query().and_then(|query| {
            let served = self.find(query.name())?;
            let known = (query.qtype() == Type::IXFR)
                .then(|| serial(&query))
                .flatten();
            Outgoing::new(&served, &query, known)
        });
        Box::new(source.unwrap_or_else(Outgoing::gone))
    }
}

/// The serial of the version that the client of an IXFR query has: that of the one SOA record in its authority section, which is the zone's.
fn serial(query: &Query<'_>) -> Option<u32> {
    let message = Message::new(query.message())?;
    let mut authority = message.section(Section::Authority);
    let record = authority.next()?.ok()?;
    let alone = authority.next().is_none() && record.rtype == Type::SOA;
    let owner = record.owner().ok().filter(|_| alone)?;
    let rdata = record.rdata();
    let at = rdata.len().checked_sub(20)?;
    let of_zone = owner.to_lower().as_name() == query.name();
    of_zone.then(|| wire::read_u32(rdata, at)).flatten()
}
