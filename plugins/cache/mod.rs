//! `cache`: answers again what was answered before.
//!
//! ```text
//! query ↓ ── find ─┬ fresh ──► octets, flags, TTLs ──► answered       no lock, no allocation
//!                  ├ stale ──► the same, and ask upstream (before or after, as `serve_stale` says)
//!                  ├ nothing, and somebody asks already ──► wait for his answer
//!                  └ nothing ──► next plugin … response ↑ ── judge ──► keep
//! ```
//!
//! Three tables ([`table::Table`]): positive responses, denials, failures. What a response says decides where it goes, so a SERVFAIL never
//! takes the place of an answer, and is looked at only when there is none. A denial removes the positive response that it
//! contradicts and the other way round, so that what was learnt last is what is said (`serve_stale_policy` apart).

mod classify;
mod entry;
mod flight;
mod metrics;
mod refresh;
mod setup;
mod table;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use chain::metadata::{self, Note};
use chain::trace::Remark;
use chain::{
    Admits, BlockInfo, Exchange, ExtendedError, Failure, Flow, Hooks, Identity, Opcodes, Plugin,
    Query, Resolving, Turn,
};
use host::clock;
use wire::{NameBuf, Rcode, Response, Type};

use self::classify::{Asked, Kind, Verdict};
use self::entry::{Entry, Facts};
use self::flight::Flights;
use self::metrics::{ByBlock, Metrics};
use self::setup::Options;
use self::table::{Held, Table};

pub(crate) use setup::REGISTRATION;

/// The share of the denial table's capacity that failures get in a table of their own.
const FAILURE_SHARE: usize = 8;

/// A cache in one server block.
pub(crate) struct Cache {
    core: Arc<Core>,
}

/// What queries and refreshes share.
struct Core {
    options: Options,
    origins: Vec<NameBuf>,
    /// Whether a block that it stands in has names outside of `origins`, so that each query is compared.
    partial: AtomicBool,
    success: Table,
    denial: Table,
    failure: Table,
    flights: Flights,
    metrics: ByBlock,
    /// Refreshes at work.
    refreshing: AtomicUsize,
}

/// What there is for a query.
enum Found {
    /// An entry that has not expired.
    Fresh(Held),
    /// An entry that has expired and may still be served.
    Stale(Held),
    /// Nothing of use.
    Nothing,
}

/// What the query hook leaves for the others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Memo {
    /// The query is none of this cache's.
    Pass,
    /// It went down; nobody waits for it.
    Alone,
    /// It went down and others may wait at this place.
    First(usize),
    /// It waits at this place.
    Behind(usize),
    /// It found an expired entry, and asks upstream before it is served.
    Verify,
}

impl Memo {
    fn read(query: &Query<'_>) -> Self {
        let memo = query.memo();
        let place = (memo >> 8) as usize;
        match memo & 0xFF {
            1 => Self::Alone,
            2 => Self::First(place),
            3 => Self::Behind(place),
            4 => Self::Verify,
            _ => Self::Pass,
        }
    }

    fn write(self, query: &mut Query<'_>) {
        query.set_memo(match self {
            Self::Pass => 0,
            Self::Alone => 1,
            Self::First(place) => 2 | (place as u64) << 8,
            Self::Behind(place) => 3 | (place as u64) << 8,
            Self::Verify => 4,
        });
    }
}

impl Cache {
    /// An empty cache for the names in `origins`; `label` is what metrics call them.
    fn new(options: Options, origins: Vec<NameBuf>, label: String) -> Self {
        let failures = (options.denial_capacity / FAILURE_SHARE).max(1_024);
        Self {
            core: Arc::new(Core {
                success: Table::new(options.success_capacity),
                denial: Table::new(options.denial_capacity),
                failure: Table::new(failures),
                flights: Flights::new(),
                metrics: ByBlock::new(label),
                refreshing: AtomicUsize::new(0),
                partial: AtomicBool::new(false),
                options,
                origins,
            }),
        }
    }
}

impl Plugin for Cache {
    fn name(&self) -> &'static str {
        "cache"
    }

    fn admits(&self) -> Admits {
        Admits {
            opcodes: Opcodes::Query,
            ..Admits::WATCHED
        }
    }

    fn hooks(&self) -> Hooks {
        Hooks::BOTH
    }

    fn query(&self, query: &mut Query<'_>, response: &mut Response<'_>) -> Result<Flow, Failure> {
        let core = &self.core;
        if !core.covers(query) {
            Memo::Pass.write(query);
            return Ok(Flow::Next);
        }
        if let Some(metrics) = core.metrics(query) {
            metrics.requests.inc(query.worker());
        }
        let now = query.received();
        let key = Identity::of(query);
        let hash = key.hash();
        match core.find(&key, now) {
            Found::Fresh(held) => {
                let Some(entry) = held.as_ref() else {
                    return Ok(Flow::Next);
                };
                core.serve(query, response, entry, now);
                refresh::prefetch(core, query, entry, now);
                Ok(Flow::Answered)
            }
            Found::Stale(held) => {
                let Some(entry) = held.as_ref() else {
                    return Ok(Flow::Next);
                };
                if core.options.stale.verify && !entry.is_waiting(now) {
                    Memo::Verify.write(query);
                    return Ok(Flow::Suspend);
                }
                core.serve_stale(query, response, entry);
                refresh::after_stale(core, query, entry, now);
                Ok(Flow::Answered)
            }
            Found::Nothing => Ok(core.go_down(query, hash, now)),
        }
    }

    fn response(&self, query: &mut Query<'_>, response: &mut Response<'_>) -> Turn {
        let core = &self.core;
        let memo = Memo::read(query);
        if memo == Memo::Pass {
            return Turn::Up;
        }
        query.ask_authenticated(query.asked_authenticated());
        if query.failure().is_none() {
            let kept = core.keep(query, response, false);
            query.remark(|| match &kept {
                Some(entry) => Remark::new("kept").with("ttl", entry.ttl),
                None => Remark::new("not kept"),
            });
            if !query.dnssec_ok() && !query.asked_authenticated() {
                // Nobody who did not ask is told (RFC 6840, 5.8).
                response.set_flag(wire::Flags::AD, false);
            }
        }
        if let Memo::First(place) = memo {
            let failed = query
                .failure()
                .is_some_and(|failure| failure.rcode == Rcode::SERVFAIL);
            core.flights.land(place, Identity::of(query).hash(), failed);
        }
        Turn::Up
    }

    fn silent(&self, query: &mut Query<'_>) {
        // Those who wait for its answer go their own way.
        if let Memo::First(place) = Memo::read(query) {
            let hash = Identity::of(query).hash();
            self.core.flights.land(place, hash, false);
        }
    }

    fn resolve(self: Arc<Self>, exchange: Box<Exchange>) -> Resolving {
        Box::pin(refresh::resolve(self.core.clone(), exchange))
    }

    fn attach(&self, block: &BlockInfo) {
        self.core.metrics.attach(block);
        let origin = block.origin.as_name();
        let zones = &self.core.origins;
        if !zones.iter().any(|zone| origin.is_within(zone.as_name())) {
            self.core.partial.store(true, Ordering::Relaxed);
        }
    }
}

impl Core {
    /// Whether this cache has a say in the query.
    #[inline]
    fn covers(&self, query: &Query<'_>) -> bool {
        let qtype = query.qtype();
        (!qtype.is_meta() || qtype == Type::ANY) && self.reaches(query)
    }

    /// Whether QNAME is in its zones.
    #[inline]
    fn reaches(&self, query: &Query<'_>) -> bool {
        let by_block = !query.is_rewritten() && !self.partial.load(Ordering::Relaxed);
        by_block || query.enclosing(&self.origins).is_some()
    }

    #[inline]
    fn metrics(&self, query: &Query<'_>) -> Option<&Metrics> {
        self.metrics.get(query.block().info.index)
    }

    /// For how long expired entries are served, in nanoseconds.
    fn stale_for(&self) -> u64 {
        u64::try_from(self.options.stale.up_to.as_nanos()).unwrap_or(u64::MAX)
    }

    /// What there is for the question `key`.
    #[inline]
    fn find(&self, key: &Identity<'_>, now: u64) -> Found {
        match key.is_recursive() {
            true => self.find_exact(key, now),
            false => self.find_unrecursed(key, now),
        }
    }

    /// What there is for a question without RD: what one with it was answered, since that is what a resolver has, else what one
    /// without it was. An upstream's failure to resolve is none of either.
    #[cold]
    fn find_unrecursed(&self, key: &Identity<'_>, now: u64) -> Found {
        match self.find_exact(&key.recursive(), now) {
            Found::Fresh(held)
                if held
                    .as_ref()
                    .is_some_and(|entry| entry.kind != Kind::Failure) =>
            {
                Found::Fresh(held)
            }
            _ => self.find_exact(key, now),
        }
    }

    /// What there is for `key` and no other.
    #[inline]
    fn find_exact(&self, key: &Identity<'_>, now: u64) -> Found {
        let success = self.success.find(key);
        let entry = success.as_ref().and_then(|held| held.as_ref());
        if entry.is_some_and(|entry| entry.left(now).is_some()) {
            return Found::of(success, |_| true);
        }
        self.find_other(success, key, now)
    }

    /// What there is where no positive response is fresh.
    fn find_other(&self, success: Option<Held>, key: &Identity<'_>, now: u64) -> Found {
        let is = |held: &Option<Held>, test: &dyn Fn(&Entry) -> bool| {
            held.as_ref()
                .and_then(|held| held.as_ref())
                .is_some_and(|entry| test(entry))
        };
        let fresh = |entry: &Entry| entry.left(now).is_some();
        let stale_for = self.stale_for();
        let usable = |entry: &Entry| fresh(entry) || entry.is_stale_within(now, stale_for);
        let prefer = self.options.stale.prefer_positive && stale_for > 0;
        if prefer && is(&success, &|entry| entry.answering && usable(entry)) {
            return Found::of(success, fresh);
        }
        let denial = self.denial.find(key);
        if is(&denial, &fresh) {
            return Found::of(denial, fresh);
        }
        if stale_for > 0 {
            let success_at = success
                .as_ref()
                .and_then(|held| Some(held.as_ref()?.stored()));
            let newer = is(&denial, &|entry| Some(entry.stored()) > success_at);
            let order = match newer {
                true => [denial, success],
                false => [success, denial],
            };
            for held in order {
                if is(&held, &usable) {
                    return Found::of(held, fresh);
                }
            }
        }
        // Failures are never served stale (RFC 8767, 4).
        let failure = self.failure.find(key);
        if is(&failure, &fresh) {
            return Found::of(failure, fresh);
        }
        Found::Nothing
    }

    /// Sends a query down, or lets it wait for one that is on its way.
    fn go_down(&self, query: &mut Query<'_>, hash: u64, now: u64) -> Flow {
        // A look-up of the server to itself may be what its own client waits for: it waits for nobody.
        let memo = match query.depth() {
            0 => match self.flights.take(hash, now) {
                flight::Turn::First(place) => Memo::First(place),
                flight::Turn::Behind(place) => Memo::Behind(place),
                flight::Turn::Alone => Memo::Alone,
            },
            _ => Memo::Alone,
        };
        memo.write(query);
        if let Memo::Behind(_) = memo {
            query.remark(|| Remark::new("waits for the same question"));
            return Flow::Suspend;
        }
        self.missed(query);
        Flow::Next
    }

    /// Makes the query ready for the plugins below.
    fn missed(&self, query: &mut Query<'_>) {
        query.remark(|| Remark::new("miss"));
        if let Some(metrics) = self.metrics(query) {
            metrics.misses.inc(query.worker());
        }
        query.ask_authenticated(true);
    }

    /// Answers with an entry that has not expired.
    #[inline]
    fn serve(&self, query: &mut Query<'_>, response: &mut Response<'_>, entry: &Entry, now: u64) {
        let ttl = match self.options.keep_ttl {
            true => entry.ttl,
            false => entry.left(now).unwrap_or(0),
        };
        query.remark(|| entry.remark("hit", now).with("ttl", ttl));
        self.write(query, response, entry, ttl);
        if entry.kind == Kind::Failure && query.edns().is_some() {
            query.set_extended_error(ExtendedError::new(ExtendedError::CACHED_ERROR, ""));
        }
    }

    /// Answers with an entry that has expired (RFC 8767; RFC 8914, 4.4 and 4.20).
    fn serve_stale(&self, query: &mut Query<'_>, response: &mut Response<'_>, entry: &Entry) {
        let ttl = match (self.options.stale.ttl, self.options.keep_ttl) {
            (0, true) => entry.ttl,
            (ttl, _) => ttl,
        };
        query.remark(|| entry.remark("stale", clock::now()).with("ttl", ttl));
        self.write(query, response, entry, ttl);
        let code = match entry.is_nxdomain() {
            true => ExtendedError::STALE_NXDOMAIN,
            false => ExtendedError::STALE_ANSWER,
        };
        query.set_extended_error(ExtendedError::new(code, ""));
        if let Some(metrics) = self.metrics(query) {
            metrics.served_stale.inc();
        }
    }

    #[inline]
    fn write(&self, query: &mut Query<'_>, response: &mut Response<'_>, entry: &Entry, ttl: u32) {
        let authenticated = query.dnssec_ok() || query.asked_authenticated();
        entry.write(response, ttl, authenticated);
        if let Some(wildcard) = &entry.wildcard {
            query.note(metadata::WILDCARD, Note::Name(**wildcard));
        }
        if let Some(metrics) = self.metrics(query) {
            match entry.kind {
                Kind::Positive => metrics.hits.success.inc(query.worker()),
                _ => metrics.hits.denial.inc(query.worker()),
            };
        }
    }

    /// Gives all records of a response one TTL, and keeps it if it may be kept. `refresh`: as the successor of an expired entry,
    /// which it must be worth (RFC 8767, 4): an answer or a denial. Gives the entry if so.
    fn keep(
        &self,
        query: &Query<'_>,
        response: &mut Response<'_>,
        refresh: bool,
    ) -> Option<Arc<Entry>> {
        let asked = Asked {
            name: query.name(),
            qtype: query.qtype(),
            qclass: query.qclass(),
            dnssec_ok: query.dnssec_ok(),
        };
        let verdict = classify::judge(response, asked, &self.options.limits);
        if verdict.kind != Kind::Delegation {
            response.set_ttls(verdict.ttl);
        }
        if !verdict.sound
            && let Some(metrics) = self.metrics(query)
        {
            metrics.drops.inc();
        }
        if query.is_for_client() {
            return None;
        }
        let prefer = self.options.stale.prefer_positive;
        let worth = match verdict.kind {
            Kind::Other | Kind::Delegation | Kind::Failure => false,
            _ if response.flags().has(wire::Flags::TC) => false,
            Kind::Positive => verdict.answering || !prefer,
            Kind::NxDomain | Kind::NoData => !prefer,
        };
        // Under `prefer_positive` what is not worth it is kept all the same, though not served in the place of the expired entry.
        if !worth && (!verdict.keep || refresh && !prefer) {
            return None;
        }
        let entry = Entry::new(
            &Identity::of(query),
            response,
            Facts {
                kind: verdict.kind,
                answering: verdict.answering,
                ttl: verdict.ttl,
                stale_for: match verdict.kind {
                    Kind::Failure => 0,
                    _ => self.stale_for(),
                },
                now: clock::now().max(query.received()),
                wildcard: match query.noted(metadata::WILDCARD) {
                    Some(Note::Name(name)) => Some(Box::new(*name)),
                    _ => None,
                },
            },
        )?;
        if verdict.keep {
            self.store(query, &entry, verdict);
        }
        worth.then_some(entry)
    }

    /// Puts an entry in its table, and takes out what it contradicts.
    fn store(&self, query: &Query<'_>, entry: &Arc<Entry>, verdict: Verdict) {
        let now = entry.stored();
        let key = Identity::of(query);
        let within = |zones: &[NameBuf]| query.enclosing(zones).is_some();
        let positive = verdict.kind == Kind::Positive;
        let except = match positive {
            true => &self.options.success_except,
            false => &self.options.denial_except,
        };
        if within(except) {
            return;
        }
        let prefer = self.options.stale.prefer_positive && self.stale_for() > 0;
        // What answers is not given up for a positive response that does not.
        let yields = prefer && positive && !verdict.answering && {
            let there = self.success.find(&key);
            there
                .as_ref()
                .and_then(|held| held.as_ref())
                .is_some_and(|there| there.answering && !there.is_dead(now))
        };
        let (mut success, mut denial) = (0, 0);
        match verdict.kind {
            Kind::Failure => denial += self.failure.insert(entry.clone(), now),
            _ if positive && !yields => {
                success += self.success.insert(entry.clone(), now);
                self.failure.remove(&key);
                if !prefer || verdict.answering {
                    self.denial.remove(&key);
                }
            }
            _ => {
                denial += self.denial.insert(entry.clone(), now);
                self.failure.remove(&key);
                if !prefer {
                    self.success.remove(&key);
                }
            }
        }
        if let Some(metrics) = self.metrics(query) {
            metrics.evictions.success.inc_by(success);
            metrics.evictions.denial.inc_by(denial);
            metrics.entries.success.set(self.success.len() as i64);
            let denials = self.denial.len() + self.failure.len();
            metrics.entries.denial.set(denials as i64);
        }
    }
}

impl Found {
    #[inline]
    fn of(held: Option<Held>, fresh: impl Fn(&Entry) -> bool) -> Self {
        match held {
            Some(held) => match held.as_ref().is_some_and(|entry| fresh(entry)) {
                true => Self::Fresh(held),
                false => Self::Stale(held),
            },
            None => Self::Nothing,
        }
    }
}
