//! `dnssec`: signs answers as they are given.
//!
//! ```text
//! query ↓     DNSKEY of a zone ──► its keys          NXNAME ──► FORMERR          others pass
//! response ↑  DO, within a zone ──► RRsets ─► signatures known? ─┬ yes ──► written anew with RRSIGs, and a compact denial (RFC 9824)
//!                                                              └ no ──► wait: pool ─► table ─► written
//! ```
//!
//! Signatures are kept by what they cover (`table`) and made by threads of their own (`pool`), so an answer whose signatures are known
//! allocates nothing, and a flood of names that nobody has asked for before takes no worker's time. What a negative answer proves is in
//! `denial`; how an answer is written anew in `answer`.

mod answer;
mod denial;
mod metrics;
mod pool;
mod setup;
mod table;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use chain::capability::{Capabilities, Holdings};
use chain::keeper::SigningReport;
use chain::{
    Admits, BlockInfo, Exchange, ExtendedError, Failure, Flow, Hooks, Plugin, Query, Responded,
    Responding, Turn,
};
use wire::{Class, Flags, Name, NameBuf, Rcode, Response, Section, Type};
use zone::signing::{CanonicalSet, KeySet, Validity};

use self::answer::{Pass, Scratch};
use self::metrics::ByBlock;
use self::pool::Wanted;
use self::table::{Entry, Table};

pub(crate) use setup::REGISTRATION;

/// How long before now signatures begin, for clocks that are slow, in seconds.
const BEFORE: u64 = 3 * 3_600;
/// How long signatures last.
const AFTER: u64 = 8 * 86_400;
/// How long before their end they are made anew.
const RENEWED: u64 = 2 * 86_400;
/// The TTL of DNSKEY records, and the original TTL of RRsets whose TTL may be what is left of another.
const TTL: u32 = 3_600;
/// No time before it is right, in seconds since 1970: a machine without a clock starts in 1970, or with the time of its last stop. What
/// is signed by such a time is bogus.
const EARLIEST: u64 = 1_767_225_600;
/// Where RDATA of an RRSIG record has the name of the zone (RFC 4034, section 3.1).
const SIGNER: usize = 18;
/// Invalid Query Type (RFC 9824, section 9).
const INVALID_QUERY_TYPE: u16 = 30;

/// A zone and the keys that sign it.
struct Signed {
    name: NameBuf,
    keys: KeySet,
}

/// The zones, and the signatures that were made.
struct Signing {
    zones: Vec<Signed>,
    table: Table,
    /// Whether it was said that the clock is wrong.
    warned: AtomicBool,
}

impl Signing {
    /// The zone that an RRset belongs to: the one that encloses its owner most closely. A DS RRset belongs to the zone above.
    fn zone_of(&self, owner: Name<'_>, rtype: Type) -> Option<usize> {
        let zones = self.zones.iter().enumerate();
        zones
            .filter(|(_, zone)| owner.is_within(zone.name.as_name()))
            .filter(|(_, zone)| rtype != Type::DS || owner != zone.name.as_name())
            .filter(|(_, zone)| !zone.keys.is_empty())
            .max_by_key(|(_, zone)| zone.name.as_name().octets().len())
            .map(|(at, _)| at)
    }

    /// The time, in seconds since 1970; `None` where the clock is not set.
    fn time(&self) -> Option<u64> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0, |passed| passed.as_secs());
        if now >= EARLIEST {
            return Some(now);
        }
        if !self.warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                target: "plugin/dnssec",
                "The clock of the machine is not set: nothing is signed until it is"
            );
        }
        None
    }

    /// The zones and their keys. Signatures that are due count no more: they are made anew before they are given out.
    fn reports(&self) -> Vec<SigningReport> {
        let now = self.time().unwrap_or_default();
        let mut ends = vec![None; self.zones.len()];
        for entry in self.table.entries().filter(|entry| now < entry.due) {
            let signer = entry
                .signatures
                .first()
                .and_then(|rdata| rdata.get(SIGNER..));
            let of = |zone: &Signed| {
                let name = zone.name.as_name();
                signer.is_some_and(|signer| signer.starts_with(name.octets()))
            };
            if let Some(at) = self.zones.iter().position(of) {
                ends[at] = Some(ends[at].map_or(entry.end, |end: u64| end.min(entry.end)));
            }
        }
        let zones = self.zones.iter().zip(ends);
        let signed = zones.filter(|(zone, _)| !zone.keys.is_empty());
        let report = |(zone, signatures_end): (&Signed, _)| SigningReport {
            zone: zone.name,
            plugin: "dnssec",
            keys: zone.keys.roles().collect(),
            signatures_end,
        };
        signed.map(report).collect()
    }

    /// The signatures of an RRset; made where they are not known or due.
    fn entry(&self, set: &CanonicalSet, zone: usize) -> Option<Arc<Entry>> {
        let now = self.time()?;
        let hash = table::hash(set.octets());
        let known = self.table.find(hash, set.octets());
        if let Some(entry) = known.filter(|entry| now < entry.due) {
            return Some(entry);
        }
        let signed = self.zones.get(zone)?;
        let end = now + AFTER;
        let validity = Validity {
            inception: (now - BEFORE) as u32,
            expiration: end as u32,
        };
        let signatures = signed
            .keys
            .sign(set, signed.name.as_name(), validity, &mut Vec::new());
        let entry = Arc::new(Entry {
            hash,
            set: set.octets().into(),
            signatures: signatures.ok()?.into(),
            due: end - RENEWED,
            end,
        });
        self.table.insert(entry.clone());
        Some(entry)
    }
}

/// The failure of an answer that may not wait for its signatures.
#[cold]
fn too_many() -> Failure {
    Failure::servfail("too many answers wait for their signatures")
        .extended(ExtendedError::OTHER, "too many signatures are being made")
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// The directive of a server block at work.
struct Dnssec {
    signing: Arc<Signing>,
    capabilities: Arc<Capabilities>,
    /// Who knows which types names have, by directive; known when all plugins are built.
    holdings: OnceLock<Vec<(&'static str, Arc<dyn Holdings>)>>,
    metrics: ByBlock,
}

impl Dnssec {
    /// The zone with this apex, if it is one of those that are signed here.
    fn zone_at(&self, name: Name<'_>) -> Option<usize> {
        let mut zones = self.signing.zones.iter();
        // Without keys, whoever stands below may have some.
        zones.position(|zone| zone.name.as_name() == name && !zone.keys.is_empty())
    }

    /// Answers with the keys of a zone.
    #[cold]
    fn keys(&self, zone: usize, query: &Query<'_>, response: &mut Response<'_>) -> Option<()> {
        let signed = self.signing.zones.get(zone)?;
        let fixed = (Type::DNSKEY, Class::IN, TTL);
        response.set_flag(Flags::AA, true);
        for key in signed.keys.keys() {
            response
                .push(Section::Answer, query.name(), fixed, key.dnskey())
                .ok()?;
        }
        if !query.dnssec_ok() {
            return Some(());
        }
        SCRATCH.with_borrow_mut(|scratch| {
            let form = &mut scratch.form;
            form.begin(signed.name.as_name(), fixed);
            for key in signed.keys.keys() {
                form.add(|out| {
                    out.extend_from_slice(key.dnskey());
                    Ok::<_, ()>(())
                })
                .ok()?;
            }
            form.finish();
            let entry = self.signing.entry(form, zone)?;
            let fixed = (Type::RRSIG, Class::IN, TTL);
            for signature in &entry.signatures {
                response
                    .push(Section::Answer, query.name(), fixed, signature)
                    .ok()?;
            }
            Some(())
        })
    }

    /// Whether a response is one to sign.
    fn is_ours(&self, query: &Query<'_>, response: &Response<'_>) -> bool {
        (query.dnssec_ok() || query.qtype() == Type::RRSIG)
            && !matches!(query.qtype(), Type::AXFR | Type::IXFR)
            && query.failure().is_none()
            && matches!(response.rcode(), Rcode::NOERROR | Rcode::NXDOMAIN)
            // Half an RRset would get a signature that nobody can verify.
            && !response.flags().has(Flags::TC)
            && self.signing.zone_of(query.name(), Type::SOA).is_some()
    }

    /// Signs a response by signatures that are known or in `made`, with `late` also by those that are due.
    fn sign(
        &self,
        (query, response): (&mut Query<'_>, &mut Response<'_>),
        made: &[Arc<Entry>],
        (late, counted): (bool, bool),
    ) -> Result<(), Vec<Wanted>> {
        let Some(now) = self.signing.time() else {
            return Ok(());
        };
        let by = query.answered_by();
        let holdings = self.holdings.get().and_then(|all| {
            let mut of_directive = all.iter().filter(|(name, _)| Some(*name) == by);
            of_directive.next().map(|_| all.as_slice())
        });
        let pass = Pass {
            signing: &self.signing,
            holdings: holdings.unwrap_or_default(),
            by,
            now,
            made,
            late,
            metrics: counted
                .then(|| self.metrics.get(query.block().info.index))
                .flatten(),
        };
        SCRATCH.with_borrow_mut(|scratch| pass.sign(query, response, scratch))
    }

    /// Has the signatures made that a response lacks.
    async fn wait(self: Arc<Self>, mut exchange: Box<Exchange>) -> Responded {
        let Some(place) = pool::enter(exchange.context.peer.ip()) else {
            let signed = self.try_again(&mut exchange, &[], true);
            return (exchange, signed.map_err(|_| too_many()));
        };
        let wanted = match self.try_again(&mut exchange, &[], false) {
            Ok(()) => return (exchange, Ok(())),
            Err(wanted) => wanted,
        };
        // A buffer for a response over TCP is 64 KiB: more than all else that a wait holds.
        exchange.shrink();
        let made = pool::sign(place, self.signing.clone(), wanted).await;
        let (entries, late) = match &made {
            Some(entries) => (entries.as_slice(), false),
            None => (&[][..], true),
        };
        let signed = self.try_again(&mut exchange, entries, late);
        let failure = |_| Failure::servfail("no signature could be made");
        (exchange, signed.map_err(failure))
    }

    fn try_again(
        &self,
        exchange: &mut Exchange,
        made: &[Arc<Entry>],
        late: bool,
    ) -> Result<(), Vec<Wanted>> {
        match exchange.suspended_views() {
            Some((mut query, mut response)) => {
                if let Some(metrics) = self.metrics.get(query.block().info.index) {
                    let kept = self.signing.table.len();
                    metrics.entries.set(i64::try_from(kept).unwrap_or(i64::MAX));
                }
                self.sign((&mut query, &mut response), made, (late, false))
            }
            None => Ok(()),
        }
    }
}

impl Plugin for Dnssec {
    fn name(&self) -> &'static str {
        "dnssec"
    }

    fn admits(&self) -> Admits {
        Admits {
            watches: true,
            ..Admits::QUERIES
        }
    }

    fn hooks(&self) -> Hooks {
        Hooks::BOTH
    }

    fn attach(&self, info: &BlockInfo) {
        self.holdings.get_or_init(|| self.capabilities.holdings());
        self.metrics.attach(info);
    }

    fn signs(&self) -> Vec<SigningReport> {
        self.signing.reports()
    }

    fn query(&self, query: &mut Query<'_>, response: &mut Response<'_>) -> Result<Flow, Failure> {
        match query.qtype() {
            Type::DNSKEY => match self.zone_at(query.name()) {
                Some(zone) => {
                    // What has no room marks the response truncated.
                    let _ = self.keys(zone, query, response);
                    Ok(Flow::Answered)
                }
                None => Ok(Flow::Next),
            },
            // RFC 9824, section 3.5.
            Type::NXNAME if self.signing.zone_of(query.name(), Type::SOA).is_some() => {
                let failure = Failure::policy(Rcode::FORMERR);
                Err(failure.extended(INVALID_QUERY_TYPE, "NXNAME is no type to ask for"))
            }
            _ => Ok(Flow::Next),
        }
    }

    fn response(&self, query: &mut Query<'_>, response: &mut Response<'_>) -> Turn {
        if !self.is_ours(query, response) {
            return Turn::Up;
        }
        // Whoever may not wait has signatures that are due, and is refused by the same look.
        let late = !pool::have_room(query.peer().ip());
        match self.sign((query, response), &[], (late, true)) {
            Ok(()) => Turn::Up,
            Err(_) if !late => Turn::Wait,
            Err(_) => {
                query.fail(response, too_many());
                Turn::Up
            }
        }
    }

    fn respond(self: Arc<Self>, exchange: Box<Exchange>) -> Responding {
        Box::pin(self.wait(exchange))
    }
}
