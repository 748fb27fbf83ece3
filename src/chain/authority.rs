//! Answering from a zone: what every plugin shares that serves a [`Zone`].
//!
//! ```text
//! Zone::answer ─► Outcome ─► conclude ─┬─► Answered
//!                                      ├─► Next: the name falls through, what was written is taken back
//!                                      └─► Suspend: an alias leads out ─► chase ─► the server asks itself ─► one answer of both
//! ```
//!
//! [`Authoritative`] is the whole of it for a [`ZoneSet`]: the zone of a QNAME is found by the hashes of its suffixes, the longest first,
//! so ten thousand zones cost what one does. A query is answered without allocation or lock, unless an alias leads out of its zone.

use std::future::ready;
use std::sync::Arc;

use wire::reencode::{self, Edit, Verbatim};
use wire::{Name, NameBuf, Qname, Rcode, Record, Response, Section, Type};
use zone::{Lookup, Outcome, Target, Zone};

use crate::block::Block;
use crate::exchange::Exchange;
use crate::fall::Fallthrough;
use crate::metadata::{self, Note};
use crate::plugin::{ExtendedError, Failure, Flow, Resolved, Resolving};
use crate::query::Query;
use crate::served::{Served, ZoneSet};
use crate::trace::Remark;
use crate::walk::look_up;
use crate::zones::ZoneMap;

/// What the names of a zone get that has no contents.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unloaded {
    /// SERVFAIL: the Corefile says that the zone is served here.
    Fails,
    /// What they would get without that zone.
    IsPassedOver,
}

/// The zones of a directive, answering.
pub struct Authoritative {
    /// The zones.
    pub zones: Arc<ZoneSet>,
    /// Which names that a zone does not have go on.
    pub fall: Fallthrough,
    /// What a zone without contents does.
    pub unloaded: Unloaded,
}

impl Authoritative {
    /// Answers from the zone that encloses the query's name most closely; `None` where there is no such zone. AXFR and IXFR are refused.
    #[inline]
    pub fn answer(
        &self,
        query: &mut Query<'_>,
        response: &mut Response<'_>,
    ) -> Option<Result<Flow, Failure>> {
        match self.zones.fixed_zones() {
            Some(zones) => self.answer_among(zones, query, response),
            None => self.answer_changing(query, response),
        }
    }

    /// Loads what the answers to these names will be found by ([`crate::Plugin::ahead`]), as far as they are in the zone of the first.
    pub fn ahead(&self, qnames: &[&Qname]) -> bool {
        let first = qnames.first().zip(self.zones.fixed_zones());
        let found = first.and_then(|(qname, zones)| zones.nearest_from(qname, 0));
        let contents = found.map(|(_, served)| served.load());
        let zone = contents.as_ref().and_then(|contents| contents.as_ref());
        zone.is_some_and(|zone| zone.load_ahead(qnames))
    }

    /// The same from zones that come and go.
    #[inline(never)]
    fn answer_changing(
        &self,
        query: &mut Query<'_>,
        response: &mut Response<'_>,
    ) -> Option<Result<Flow, Failure>> {
        self.zones
            .read(|zones| self.answer_among(zones, query, response))
    }

    #[inline(always)]
    fn answer_among(
        &self,
        zones: &ZoneMap<Arc<Served>>,
        query: &mut Query<'_>,
        response: &mut Response<'_>,
    ) -> Option<Result<Flow, Failure>> {
        let (skip, served) = zones.nearest_from(query.qname(), 0)?;
        match served.load().as_ref() {
            Some(zone) => Some(self.answer_from((zones, served, zone), query, response)),
            None => self.pass_over(zones, skip, query, response),
        }
    }

    /// The same where the zone that encloses the name most closely, with `skip` labels less, has no contents.
    #[cold]
    fn pass_over(
        &self,
        zones: &ZoneMap<Arc<Served>>,
        mut skip: usize,
        query: &mut Query<'_>,
        response: &mut Response<'_>,
    ) -> Option<Result<Flow, Failure>> {
        if self.unloaded == Unloaded::IsPassedOver {
            loop {
                let (less, served) = zones.nearest_from(query.qname(), skip + 1)?;
                if let Some(zone) = served.load().as_ref() {
                    return Some(self.answer_from((zones, served, zone), query, response));
                }
                skip = less;
            }
        }
        let transfer = matches!(query.qtype(), Type::AXFR | Type::IXFR);
        Some(Err(match transfer {
            true => Failure::policy(Rcode::REFUSED),
            false => not_loaded(),
        }))
    }

    /// The same from the zone that was found.
    #[inline(always)]
    fn answer_from(
        &self,
        (zones, served, zone): (&ZoneMap<Arc<Served>>, &Arc<Served>, &Zone),
        query: &mut Query<'_>,
        response: &mut Response<'_>,
    ) -> Result<Flow, Failure> {
        let qtype = query.qtype();
        if matches!(qtype, Type::AXFR | Type::IXFR) {
            return Err(Failure::policy(Rcode::REFUSED));
        }
        let (block, step) = (query.block(), query.step());
        let elsewhere = |name: &Qname, target| {
            is_elsewhere(zones, (block, step, served), (name, qtype), target)
        };
        let (qname, dnssec_ok) = (query.qname(), query.dnssec_ok());
        let outcome = zone.answer_beside(&elsewhere, qname, qtype, dnssec_ok, response);
        query.remark(|| describe(zone, qname, qtype, &outcome));
        // Beside the match of `conclude`, which is compiled into it: other answers pay nothing for this one.
        if matches!(outcome, Outcome::NoData)
            && qtype == Type::DS
            && let Some(flow) = self.answer_above((zones, zone), query, response)
        {
            return flow;
        }
        let flow = conclude((zone, outcome), &self.fall, query.qname(), response);
        if query.collects_labels() && matches!(flow, Ok(Flow::Answered)) {
            note_wildcard(zone, query);
        }
        flow
    }

    /// Answers a question for the DS records of the apex of `zone` from the zone above it, where that is here, too: they are the parent's
    /// (RFC 4035, section 3.1.4.1).
    #[cold]
    #[inline(never)]
    fn answer_above(
        &self,
        (zones, zone): (&ZoneMap<Arc<Served>>, &Zone),
        query: &mut Query<'_>,
        response: &mut Response<'_>,
    ) -> Option<Result<Flow, Failure>> {
        if query.name() != zone.apex() {
            return None;
        }
        let (_, above) = zones.nearest_from(query.qname(), 1)?;
        let contents = above.load();
        let parent = contents.as_ref()?;
        response.take_back();
        Some(self.answer_from((zones, above, parent), query, response))
    }

    /// Answers a query for which [`Authoritative::answer`] said [`Flow::Suspend`].
    pub fn resolve(self: Arc<Self>, mut exchange: Box<Exchange>) -> Resolving {
        let name = exchange
            .suspended_query()
            .map(|query| query.qname().clone());
        let step = exchange.suspended_at().map_or(0, |(_, step)| step);
        let serving = name.and_then(|name| {
            let (served, zone) = self.zones.read(|zones| {
                let mut skip = 0;
                loop {
                    let (less, served) = zones.nearest_from(&name, skip)?;
                    if let Some(zone) = served.snapshot() {
                        return Some((served.clone(), zone));
                    }
                    skip = less + 1;
                }
            })?;
            Some(Serving {
                authoritative: self,
                step,
                served,
                zone,
            })
        });
        match serving {
            Some(serving) => Box::pin(chase(exchange, serving)),
            None => Box::pin(ready((exchange, Err(not_loaded())))),
        }
    }
}

/// What a name gets that is in none of the zones: an authoritative server that has nobody to ask refuses it.
///
/// # Errors
/// REFUSED where no plugin stands below.
pub fn outside(query: &Query<'_>) -> Result<Flow, Failure> {
    let last = query.step() + 1 >= query.block().chain.steps().len();
    if last {
        Err(Failure::policy(Rcode::REFUSED))
    } else {
        Ok(Flow::Next)
    }
}

/// Whether others may know a name that the zone `served` does not have: another plugin of the block, another of these zones, or another
/// block.
#[cold]
fn is_elsewhere(
    zones: &ZoneMap<Arc<Served>>,
    (block, step, served): (&Arc<Block>, usize, &Arc<Served>),
    (name, qtype): (&Qname, Type),
    target: Target,
) -> bool {
    if target == Target::Missing && block.chain.asks_beside(step) {
        return true;
    }
    let nearest = zones.nearest(name);
    if nearest.is_some_and(|found| !Arc::ptr_eq(found, served)) {
        return true;
    }
    let serving = block.router().and_then(|router| router.route(name, qtype));
    // Blocks with views share their zone.
    serving.is_some_and(|serving| serving.info.origin != block.info.origin)
}

/// The answer for a zone that was never loaded.
fn not_loaded() -> Failure {
    Failure::policy(Rcode::SERVFAIL).extended(ExtendedError::NOT_READY, "the zone is not loaded")
}

/// A zone that answers a query, as it was when the query began to wait.
struct Serving {
    authoritative: Arc<Authoritative>,
    step: usize,
    served: Arc<Served>,
    zone: Arc<Zone>,
}

impl Authority for Serving {
    fn zone(&self) -> Option<&Zone> {
        Some(&self.zone)
    }

    fn fallthrough(&self) -> &Fallthrough {
        &self.authoritative.fall
    }

    fn is_elsewhere(&self, block: &Arc<Block>, name: (&Qname, Type), target: Target) -> bool {
        let zones = &self.authoritative.zones;
        zones.read(|zones| is_elsewhere(zones, (block, self.step, &self.served), name, target))
    }
}

/// What becomes of a query for `qname` that `zone` has answered with `outcome`. `fall` says which unknown names go on.
///
/// # Errors
/// SERVFAIL where the zone's aliases lead back to themselves.
#[inline]
pub fn conclude(
    (zone, outcome): (&Zone, Outcome),
    fall: &Fallthrough,
    qname: &Qname,
    response: &mut Response<'_>,
) -> Result<Flow, Failure> {
    match outcome {
        Outcome::NxDomain | Outcome::NoData
            if response.count(Section::Answer) == 0
                && fall.through(qname)
                && (outcome == Outcome::NxDomain || zone.is_empty_non_terminal(qname)) =>
        {
            response.take_back();
            Ok(Flow::Next)
        }
        Outcome::Answer
        | Outcome::NoData
        | Outcome::NxDomain
        | Outcome::Referral
        | Outcome::Overflow => Ok(Flow::Answered),
        Outcome::Chase { .. } => Ok(Flow::Suspend),
        Outcome::Loop if response.count(Section::Answer) > 0 => Ok(Flow::Answered),
        Outcome::Loop => Err(
            Failure::servfail("the aliases of a zone lead back to themselves").extended(
                ExtendedError::INVALID_DATA,
                "the aliases of the zone form a loop",
            ),
        ),
        Outcome::OutOfZone => {
            response.take_back();
            Ok(Flow::Next)
        }
    }
}

/// What a zone found for a question, for who watches: its apex, the outcome, and the wildcard or zone cut behind it.
pub fn describe(zone: &Zone, qname: &Qname, qtype: Type, outcome: &Outcome) -> Remark {
    let found = match outcome {
        Outcome::Answer => "answer",
        Outcome::NoData => "NODATA",
        Outcome::NxDomain => "NXDOMAIN",
        Outcome::Referral => "referral",
        Outcome::Chase { .. } => "alias that leads out of the zone",
        Outcome::Loop => "aliases that form a loop",
        Outcome::Overflow => "alias that is too long",
        Outcome::OutOfZone => "nothing: the name is not within the zone",
    };
    let remark = Remark::new("zone")
        .with("apex", zone.apex())
        .with("found", found);
    // So many labels fewer than QNAME.
    let shorter = |labels: usize| NameBuf::from_name(qname.suffix(labels));
    match (zone.lookup(qname, qtype), outcome) {
        (_, Outcome::Chase { target, .. }) => remark.with("target", target),
        (Lookup::Answer(found, _) | Lookup::NoData(found) | Lookup::Cname(found, _), _)
            if found.encloser.is_some() =>
        {
            let encloser = shorter(found.encloser.unwrap_or(0));
            remark.with("wildcard", format_args!("*.{encloser}"))
        }
        (Lookup::Referral(_, labels), _) => remark.with("cut", shorter(labels)),
        _ => remark,
    }
}

/// Notes which wildcard of `zone` the answer is synthesised from; called where [`Query::collects_labels`].
#[cold]
fn note_wildcard(zone: &Zone, query: &mut Query<'_>) {
    if let Some(source) = zone.source_of_synthesis(query.qname(), query.qtype()) {
        let source = Note::Name(NameBuf::from_name(source));
        query.note(metadata::WILDCARD, source);
    }
}

/// Zone contents that answer one query, held while it waits.
pub trait Authority {
    /// The contents, the same as long as it is held; `None` where the name has none any more.
    fn zone(&self) -> Option<&Zone>;

    /// Which unknown names go on.
    fn fallthrough(&self) -> &Fallthrough;

    /// Whether others may know a name that the zone does not have ([`Zone::answer_beside`]).
    fn is_elsewhere(&self, _block: &Arc<Block>, _name: (&Qname, Type), _target: Target) -> bool {
        false
    }
}

/// Answers a suspended query once more, and asks the server itself for the name to which aliases lead (RFC 1034, section 4.3.2, 3a).
pub async fn chase(mut exchange: Box<Exchange>, authority: impl Authority) -> Resolved {
    exchange.begin();
    let Some((query, mut response)) = exchange.suspended_views() else {
        return (exchange, Ok(Flow::Next));
    };
    let (qname, qtype, dnssec_ok) = (query.qname().clone(), query.qtype(), query.dnssec_ok());
    let block = Arc::clone(query.block());
    let Some(zone) = authority.zone() else {
        return (exchange, Ok(Flow::Next));
    };
    let elsewhere = |name: &Qname, target| authority.is_elsewhere(&block, (name, qtype), target);
    let outcome = zone.answer_beside(&elsewhere, &qname, qtype, dnssec_ok, &mut response);
    query.remark(|| describe(zone, &qname, qtype, &outcome));
    let flow = if let Outcome::Chase { target, .. } = outcome {
        let found = look_up(&exchange, target.as_name(), qtype).await;
        join(zone, (&qname, dnssec_ok), found, &mut exchange.response());
        Ok(Flow::Answered)
    } else {
        let fall = authority.fallthrough();
        conclude((zone, outcome), fall, &qname, &mut response)
    };
    if let Some(mut query) = exchange.suspended_query()
        && query.collects_labels()
        && matches!(flow, Ok(Flow::Answered))
    {
        note_wildcard(zone, &mut query);
    }
    (exchange, flow)
}

/// Puts what was found at the end of aliases behind them.
///
/// The RCODE is that of the last name (RFC 6604, section 3); where nobody knows that name, the aliases are the answer. The authority
/// section is this zone's, as CoreDNS has it, also where the look-up failed. But a referral of the last name is one of the whole, and
/// under DO, what denies that name stands there, with the SOA record of its zone: without these, the answer is bogus to who validates it.
fn join(
    zone: &Zone,
    (qname, dnssec_ok): (&Qname, bool),
    found: Result<Box<Exchange>, Failure>,
    response: &mut Response<'_>,
) {
    let (rcode, found) = match found {
        // An answer that cannot be read is none.
        Ok(mut found) => {
            match response.take_answers_by(&found.response(), &mut Onward::of(qname)) {
                Ok(()) => (found.response().rcode(), Some(found)),
                Err(_) => (Rcode::SERVFAIL, None),
            }
        }
        Err(failure) => (failure.rcode, None),
    };
    let failed = rcode != Rcode::REFUSED && rcode != Rcode::NOERROR;
    if failed {
        response.set_rcode(rcode);
    }
    let nothing = rcode == Rcode::NOERROR && response.ends_in_alias();
    let negative = rcode == Rcode::NXDOMAIN || nothing;
    let Some(mut found) = found.filter(|_| nothing || dnssec_ok) else {
        return zone.finish_chase(qname, negative, dnssec_ok, response);
    };
    let found = found.response();
    let has = |rtype| found.has_type(Section::Authority, rtype);
    let says = [Type::SOA, Type::NSEC, Type::NSEC3].into_iter().any(has);
    let denies = dnssec_ok && negative && says;
    let refers = nothing && has(Type::NS) && !has(Type::SOA);
    if denies || refers {
        zone.prove_aliases(qname, dnssec_ok, response);
    } else {
        zone.finish_chase(qname, negative, dnssec_ok, response);
    }
    // What cannot be read says nothing, and the answer stands.
    let proofs = &mut Proofs { soa: denies };
    if refers {
        for section in [Section::Authority, Section::Additional] {
            let _ = reencode::copy(found.section(section), response, &mut Verbatim);
        }
    } else if dnssec_ok {
        let _ = reencode::copy(found.section(Section::Authority), response, proofs);
    }
}

/// Copies answers up to an alias of the name that was asked: aliases that lead back through another zone stand once.
struct Onward<'q> {
    qname: Name<'q>,
    back: bool,
}

impl<'q> Onward<'q> {
    fn of(qname: &'q Qname) -> Self {
        Self {
            qname: qname.name(),
            back: false,
        }
    }
}

impl Edit for Onward<'_> {
    fn keep(&mut self, record: &Record<'_>) -> Option<u32> {
        self.back |= record.rtype == Type::CNAME
            && record
                .owner()
                .is_ok_and(|owner| owner.as_name() == self.qname);
        (!self.back).then_some(record.ttl)
    }
}

/// Copies proofs, and with `soa` the SOA record; with their signatures.
struct Proofs {
    soa: bool,
}

impl Edit for Proofs {
    fn keep(&mut self, record: &Record<'_>) -> Option<u32> {
        let covered = match record.rtype {
            Type::RRSIG => wire::read_u16(record.rdata(), 0).map_or(Type::RRSIG, Type),
            rtype => rtype,
        };
        let wanted =
            matches!(covered, Type::NSEC | Type::NSEC3) || self.soa && covered == Type::SOA;
        wanted.then_some(record.ttl)
    }
}
