//! `file`: zones from master files.
//!
//! ```text
//! master file ──► zone (octets ready to send) ──► swapped whole ──► query ─┬─► answered
//!                                                                         └─► an alias leads out: resolve asks the server itself
//! ```
//!
//! One handler serves all `file` lines of a block. The zone of a QNAME is found by the hashes of its suffixes, the longest first, so
//! ten thousand zones cost what one does. A query is answered without allocation or lock, unless an alias leads out of its zone.

mod reload;
mod setup;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use chain::{
    Block, Exchange, ExtendedError, Failure, Fallthrough, Flow, Plugin, Query, Resolved, Resolving,
    splice,
};
use wire::{Class, Flags, NameBuf, Opcode, Qname, Rcode, Response, Type};
use zone::{Outcome, Zone};

pub(crate) use setup::REGISTRATION;

/// A zone as it serves; empty until its file was loaded.
type Slot = Arc<ArcSwapOption<Zone>>;

/// All zones of a block's `file` lines.
struct Zones {
    /// By the hash of the apex; two apexes of one hash stand in one list.
    by_hash: HashMap<u64, Vec<(NameBuf, Slot)>>,
    /// Which names that a zone does not have go on.
    fall: Fallthrough,
}

impl Zones {
    /// The zone that encloses `qname` most closely.
    #[inline]
    fn find(&self, qname: &Qname) -> Option<&Slot> {
        (0..=qname.label_count()).find_map(|skip| {
            let suffix = qname.suffix(skip);
            let (_, slot) = self
                .by_hash
                .get(&qname.hash(skip))?
                .iter()
                .find(|(apex, _)| apex.as_name() == suffix)?;
            Some(slot)
        })
    }

    /// Whether a name below the zone of `slot` is another zone's: one of this block's, or one that another block serves.
    #[cold]
    fn is_elsewhere(&self, block: &Arc<Block>, slot: &Slot, name: &Qname, qtype: Type) -> bool {
        if self
            .find(name)
            .is_some_and(|found| !Arc::ptr_eq(found, slot))
        {
            return true;
        }
        let serving = block.router().and_then(|router| router.route(name, qtype));
        serving.is_some_and(|serving| !Arc::ptr_eq(&serving, block))
    }

    /// What becomes of a query whose answer has been written.
    #[inline]
    fn conclude(
        &self,
        outcome: Outcome,
        qname: &Qname,
        response: &mut Response<'_>,
    ) -> Result<Flow, Failure> {
        match outcome {
            Outcome::NxDomain
                if response.count(wire::Section::Answer) == 0 && self.fall.through(qname) =>
            {
                blank(response);
                Ok(Flow::Next)
            }
            Outcome::Answer
            | Outcome::NoData
            | Outcome::NxDomain
            | Outcome::Referral
            | Outcome::Overflow => Ok(Flow::Answered),
            Outcome::Chase { .. } => Ok(Flow::Suspend),
            Outcome::Loop => Err(Failure::servfail(
                "the aliases of a zone lead back to themselves",
            )
            .extended(
                ExtendedError::INVALID_DATA,
                "the aliases of the zone form a loop",
            )),
            Outcome::OutOfZone => {
                blank(response);
                Ok(Flow::Next)
            }
        }
    }
}

/// Takes back what was written.
fn blank(response: &mut Response<'_>) {
    response.clear_records();
    response.set_rcode(Rcode::NOERROR);
    response.set_flag(Flags::AA | Flags::TC, false);
}

impl Plugin for Zones {
    fn name(&self) -> &'static str {
        "file"
    }

    fn query(&self, query: &mut Query<'_>, response: &mut Response<'_>) -> Result<Flow, Failure> {
        let slot = self.find(query.qname());
        let Some(slot) = slot.filter(|_| query.qclass() == Class::IN) else {
            // An authoritative server that has nobody to ask refuses names outside of its zones.
            let last = query.step() + 1 >= query.block().chain.steps().len();
            return if last {
                Err(Failure::policy(Rcode::REFUSED))
            } else {
                Ok(Flow::Next)
            };
        };
        let qtype = query.qtype();
        if matches!(qtype, Type::AXFR | Type::IXFR) || query.flags().opcode() == Opcode::NOTIFY {
            return Err(Failure::policy(Rcode::REFUSED));
        }
        let zone = slot.load();
        let Some(zone) = zone.as_ref() else {
            return Err(not_loaded());
        };
        if query.is_rewritten() {
            return Ok(Flow::Suspend);
        }
        let block = query.block();
        let elsewhere = |name: &Qname| self.is_elsewhere(block, slot, name, qtype);
        let (qname, dnssec_ok) = (query.qname(), query.dnssec_ok());
        let outcome = zone.answer_beside(&elsewhere, qname, qtype, dnssec_ok, response);
        self.conclude(outcome, query.qname(), response)
    }

    fn resolve(self: Arc<Self>, exchange: Box<Exchange>) -> Resolving {
        Box::pin(self.chase(exchange))
    }
}

/// The answer for a zone whose file was never good.
fn not_loaded() -> Failure {
    Failure::policy(Rcode::SERVFAIL).extended(ExtendedError::NOT_READY, "the zone is not loaded")
}

impl Zones {
    /// Answers once more, and asks the server itself for the name to which aliases lead (RFC 1034, section 4.3.2, 3a).
    ///
    /// A question that was rewritten above is answered apart, since the response's question spells another name.
    async fn chase(self: Arc<Self>, mut exchange: Box<Exchange>) -> Resolved {
        exchange.begin();
        let Some((query, _)) = exchange.suspended_views() else {
            return (exchange, Ok(Flow::Next));
        };
        let (qname, qtype, dnssec_ok) = (query.qname().clone(), query.qtype(), query.dnssec_ok());
        let rewritten = query.is_rewritten();
        let block = Arc::clone(query.block());
        let slot = self.find(&qname);
        let Some((slot, zone)) = slot.and_then(|slot| Some((slot, slot.load_full()?))) else {
            return (exchange, Err(not_loaded()));
        };
        let mut apart = rewritten.then(|| exchange.derive(qname.name(), qtype));
        let outcome = {
            let place = apart.as_mut().unwrap_or(&mut exchange);
            let (_, _, mut response) = place.parts();
            let elsewhere = |name: &Qname| self.is_elsewhere(&block, slot, name, qtype);
            zone.answer_beside(&elsewhere, &qname, qtype, dnssec_ok, &mut response)
        };
        let mut flow = Ok(Flow::Answered);
        if let Outcome::Chase { target, .. } = outcome {
            let found = chain::look_up(&exchange, target.as_name(), qtype).await;
            let place = apart.as_mut().unwrap_or(&mut exchange);
            let mut response = place.response();
            let rcode = match found {
                Ok(mut found) => {
                    let rcode = found.response().rcode();
                    splice::answer(&mut found.response(), &mut response);
                    rcode
                }
                Err(failure) => failure.rcode,
            };
            // The RCODE is that of the last name (RFC 6604, section 3); where nobody knows that name, the aliases are the answer.
            let failed = rcode != Rcode::REFUSED && rcode != Rcode::NOERROR;
            if failed {
                response.set_rcode(rcode);
            }
            if !failed || rcode == Rcode::NXDOMAIN {
                let negative = rcode == Rcode::NXDOMAIN
                    || rcode == Rcode::NOERROR && splice::ends_in_alias(&response);
                zone.finish_chase(&qname, negative, dnssec_ok, &mut response);
            }
        } else {
            let place = apart.as_mut().unwrap_or(&mut exchange);
            flow = self.conclude(outcome, &qname, &mut place.response());
        }
        if let (Some(apart), Ok(Flow::Answered)) = (&mut apart, &flow) {
            splice::all(&mut apart.response(), &mut exchange.response());
        }
        (exchange, flow)
    }
}
