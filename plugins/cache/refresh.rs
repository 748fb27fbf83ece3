//! What waits: refreshes in the background, checks before an expired entry is served, and queries behind another.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use chain::{Block, Ending, Exchange, Failure, Flow, Identity, Query, ask_below};
use host::clock;
use wire::Flags;

use super::entry::Entry;
use super::flight::{DEADLINE, Turn};
use super::{Core, Found, Memo};

/// How many refreshes of one cache are at work at a time; one more is left for the next hit.
const MOST_REFRESHES: usize = 256;

/// Asks for the successor of an entry that is in demand and about to expire.
#[inline]
pub(super) fn prefetch(core: &Arc<Core>, query: &Query<'_>, entry: &Arc<Entry>, now: u64) {
    let options = &core.options.prefetch;
    if options.amount == 0 {
        return;
    }
    let pause = u64::try_from(options.pause.as_nanos()).unwrap_or(u64::MAX);
    let hits = entry.count_hit(now, pause);
    let threshold = u64::from(entry.ttl) * u64::from(options.percentage);
    let left = u64::from(entry.left(now).unwrap_or(0));
    // One that answers a query without RD too is refreshed by those with it.
    let own = entry.is_for(&Identity::of(query));
    if own && hits >= options.amount && left <= threshold.div_ceil(100) && entry.begin_refresh(now)
    {
        start(core, query, entry, false);
    }
}

/// Asks for the successor of an entry that was served though it had expired.
pub(super) fn after_stale(core: &Arc<Core>, query: &Query<'_>, entry: &Arc<Entry>, now: u64) {
    if !core.options.stale.verify && entry.begin_refresh(now) {
        start(core, query, entry, true);
    }
}

fn start(core: &Arc<Core>, query: &Query<'_>, entry: &Arc<Entry>, stale: bool) {
    let Some(refresh) = Refresh::new(core, entry, stale) else {
        entry.end_refresh(0);
        return;
    };
    if let Some(metrics) = core.metrics(query) {
        metrics.prefetches.inc();
    }
    let (fork, block, step) = (query.fork(), query.block().clone(), query.step());
    tokio::task::spawn_local(refresh.run(fork, block, step));
}

/// A refresh at work. However it ends, the entry and the count are told.
struct Refresh {
    core: Arc<Core>,
    entry: Arc<Entry>,
    stale: bool,
    refreshed: bool,
}

impl Refresh {
    /// `None` when too many are at work.
    fn new(core: &Arc<Core>, entry: &Arc<Entry>, stale: bool) -> Option<Self> {
        let before = core.refreshing.fetch_add(1, Ordering::Relaxed);
        if before >= MOST_REFRESHES {
            core.refreshing.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(Self {
            core: core.clone(),
            entry: entry.clone(),
            stale,
            refreshed: false,
        })
    }

    /// Asks the plugins below; gives the successor.
    async fn run(
        mut self,
        mut fork: Box<Exchange>,
        block: Arc<Block>,
        step: usize,
    ) -> Option<Arc<Entry>> {
        // What is kept serves clients who want AD as well as those who do not.
        if let Some(octet) = fork.receive_buffer(4).get_mut(3) {
            *octet |= Flags::AD as u8;
        }
        fork.parsed.flags = fork.parsed.flags.with(Flags::AD, true);
        let (mut fork, ending) = ask_below(fork, block.clone(), step).await;
        if ending == Ending::Silent {
            return None;
        }
        let (query, mut response) = fork.views(&block);
        if query.failure().is_some() {
            return None;
        }
        let successor = self.core.keep(&query, &mut response, self.stale);
        if let Some(successor) = &successor {
            successor.inherit(&self.entry, clock::now());
        }
        self.refreshed = successor.is_some();
        successor
    }
}

impl Drop for Refresh {
    fn drop(&mut self) {
        self.core.refreshing.fetch_sub(1, Ordering::Relaxed);
        let recheck = self.core.options.stale.recheck.as_nanos() as u64;
        let retry_after = match self.refreshed || !self.stale || recheck == 0 {
            true => 0,
            false => clock::now().saturating_add(recheck),
        };
        self.entry.end_refresh(retry_after);
    }
}

/// Goes on with a query that the query hook suspended.
pub(super) async fn resolve(
    core: Arc<Core>,
    mut exchange: Box<Exchange>,
) -> (Box<Exchange>, Result<Flow, Failure>) {
    let flow = match exchange.suspended_views() {
        None => None,
        Some((query, _)) => {
            let hash = Identity::of(&query).hash();
            Some((
                Memo::read(&query),
                hash,
                query.block().clone(),
                query.step(),
            ))
        }
    };
    let Some((memo, hash, block, step)) = flow else {
        return (exchange, Ok(Flow::Next));
    };
    let flow = match memo {
        Memo::Behind(place) => {
            let landed = core.flights.landed(place, hash, DEADLINE).await;
            if landed && core.flights.failed(place, hash) && !has(&core, &mut exchange) {
                let failure = Failure::servfail("the query that went ahead of this one failed");
                return (exchange, Err(failure));
            }
            settle(&core, &mut exchange, None)
        }
        Memo::Verify => {
            let successor = verify(&core, &mut exchange, (block, step), hash).await;
            settle(&core, &mut exchange, successor)
        }
        _ => Flow::Next,
    };
    (exchange, Ok(flow))
}

/// Asks upstream before an expired entry is served, or waits for who does so already.
async fn verify(
    core: &Arc<Core>,
    exchange: &mut Exchange,
    (block, step): (Arc<Block>, usize),
    hash: u64,
) -> Option<Arc<Entry>> {
    let patience = match core.options.stale.verify_timeout {
        Duration::ZERO => DEADLINE,
        timeout => timeout,
    };
    let (entry, now) = {
        let query = exchange.suspended_query()?;
        let now = query.received();
        match core.find(&Identity::of(&query), now) {
            Found::Stale(held) => (held.as_ref().cloned()?, now),
            _ => return None,
        }
    };
    match core.flights.take(hash, now) {
        Turn::Behind(place) => {
            core.flights.landed(place, hash, patience).await;
            None
        }
        turn => {
            let landing = Landing {
                core: core.clone(),
                turn,
                hash,
            };
            if !entry.begin_refresh(now) {
                return None;
            }
            let Some(refresh) = Refresh::new(core, &entry, true) else {
                entry.end_refresh(0);
                return None;
            };
            let fork = exchange.fork();
            let task = tokio::task::spawn_local(async move {
                let _landing = landing;
                refresh.run(fork, block, step).await
            });
            // The task goes on when nobody waits any more, and keeps what comes.
            tokio::time::timeout(patience, task).await.ok()?.ok()?
        }
    }
}

/// Gives the place of a query on its way back, whatever becomes of it.
struct Landing {
    core: Arc<Core>,
    turn: Turn,
    hash: u64,
}

impl Drop for Landing {
    fn drop(&mut self) {
        if let Turn::First(place) = self.turn {
            self.core.flights.land(place, self.hash, false);
        }
    }
}

/// Whether there is anything to answer with.
fn has(core: &Arc<Core>, exchange: &mut Exchange) -> bool {
    exchange.suspended_query().is_some_and(|query| {
        !matches!(
            core.find(&Identity::of(&query), query.received()),
            Found::Nothing
        )
    })
}

/// Answers with what there is now: the successor, a fresh entry, an expired one; without any, the query goes its own way down.
fn settle(core: &Arc<Core>, exchange: &mut Exchange, successor: Option<Arc<Entry>>) -> Flow {
    let Some((mut query, mut response)) = exchange.suspended_views() else {
        return Flow::Next;
    };
    // The query came before the entry that it waited for: it is as fresh as it was stored.
    let now = query.received();
    if let Some(entry) = successor {
        core.serve(&mut query, &mut response, &entry, now);
        return Flow::Answered;
    }
    let found = core.find(&Identity::of(&query), now);
    match found {
        Found::Fresh(held) if held.is_some() => {
            if let Some(entry) = held.as_ref() {
                core.serve(&mut query, &mut response, entry, now);
            }
            Flow::Answered
        }
        Found::Stale(held) if held.is_some() => {
            if let Some(entry) = held.as_ref() {
                core.serve_stale(&mut query, &mut response, entry);
            }
            Flow::Answered
        }
        _ => {
            Memo::Alone.write(&mut query);
            core.missed(&mut query);
            Flow::Next
        }
    }
}
