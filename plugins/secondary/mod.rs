//! `secondary`: zones that are transferred from a primary.
//!
//! ```text
//! start, REFRESH, NOTIFY ─► follow ─► client: SOA, then AXFR ─► zone::Builder ─► Served::replace ─► the next query sees it
//!                              └─► EXPIRE without a primary ─► nothing is served: SERVFAIL
//! ```
//!
//! A zone is built beside the one that serves and put in its place whole: half a transfer never shows. When the Corefile is read anew, a
//! zone with the same primaries goes on as it is.

mod catalog;
#[cfg(test)]
mod catalog_tests;
mod client;
mod follow;
mod incoming;
mod kept;
mod place;
#[cfg(test)]
mod place_tests;
mod setup;
mod sources;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use chain::authority::{Authoritative, outside};
use chain::keeper::{Asked, ZoneOrder, ZoneReport};
use chain::trace::Remark;
use chain::{Admits, Exchange, Failure, Flow, Hooks, Opcodes, Plugin, Query, Resolving};
use wire::{Flags, Name, NameBuf, Opcode, Qname, Rcode, Response, Type};

use self::catalog::Members;

pub(crate) use setup::REGISTRATION;

/// All zones of a block's `secondary` lines.
struct Secondary {
    authoritative: Arc<Authoritative>,
    members: Arc<Members>,
}

impl Secondary {
    /// What a NOTIFY gets (RFC 1996): a primary's is acknowledged and has the zone checked, others are refused.
    #[cold]
    fn notified(
        &self,
        query: &mut Query<'_>,
        response: &mut Response<'_>,
    ) -> Result<Flow, Failure> {
        let places = self.members.places();
        let mut places = places.iter();
        let Some(place) = places.find(|place| place.served.apex() == query.name()) else {
            return Ok(Flow::Next);
        };
        let zone = NameBuf::from_name(query.name());
        let client = query.peer().ip().to_canonical();
        if query.qtype() != Type::SOA || !place.is_primary(client, query.key()) {
            tracing::info!(target: "plugin/secondary", "Dropping notify from {client} for {zone}");
            query.remark(|| Remark::new("not a primary").with("client", client));
            return Err(Failure::policy(Rcode::REFUSED));
        }
        tracing::info!(target: "plugin/secondary", "Notify from {client} for {zone}: checking transfer");
        place.look();
        response.set_flag(Flags::AA, true);
        Ok(Flow::Answered)
    }
}

impl Plugin for Secondary {
    fn name(&self) -> &'static str {
        "secondary"
    }

    fn hooks(&self) -> Hooks {
        Hooks::QUERY.and(Hooks::AHEAD)
    }

    fn ahead(&self, qnames: &[&Qname]) -> bool {
        self.authoritative.ahead(qnames)
    }

    fn admits(&self) -> Admits {
        Admits {
            opcodes: Opcodes::QueryAndNotify,
            ..Admits::QUERIES
        }
    }

    fn query(&self, query: &mut Query<'_>, response: &mut Response<'_>) -> Result<Flow, Failure> {
        if query.flags().opcode() == Opcode::NOTIFY {
            return self.notified(query, response);
        }
        let answered = self.authoritative.answer(query, response);
        answered.unwrap_or_else(|| outside(query))
    }

    fn trouble(&self) -> Option<String> {
        let places = self.members.places();
        let missing = places.iter().filter(|place| place.served.load().is_none());
        let missing: Vec<_> = missing.map(|place| place.served.apex()).collect();
        let of = |zone: &wire::Name<'_>| format!("zone {zone} is not loaded");
        (!missing.is_empty()).then(|| missing.iter().map(of).collect::<Vec<_>>().join("; "))
    }

    fn zones(&self) -> Vec<ZoneReport> {
        self.members.reports()
    }

    fn order(&self, apex: Name<'_>, order: ZoneOrder) -> Option<Result<String, String>> {
        let places = self.members.places();
        let place = places.iter().find(|place| place.served.apex() == apex)?;
        let begun = match order {
            ZoneOrder::Reload => {
                place.look();
                "its primaries are asked for a newer version"
            }
            ZoneOrder::Retransfer => {
                place.retransfer();
                "it is transferred whole"
            }
            ZoneOrder::Notify => return None,
        };
        let asked = place.report().follows.and_then(|follows| follows.asked);
        let busy = asked.map(|asked| {
            let Asked { primary, since, .. } = asked;
            let seconds = since.as_secs();
            format!(", when {primary} is done, which has been asked for {seconds} s")
        });
        let busy = busy.unwrap_or_default();
        Some(Ok(format!("zone {apex}: {begun}{busy}")))
    }

    fn resolve(self: Arc<Self>, exchange: Box<Exchange>) -> Resolving {
        self.authoritative.clone().resolve(exchange)
    }
}
