//! Keeps a store as a cluster has it: a list, then a watch from its revision on, through one member after the other.
//!
//! ```text
//!         ┌─── compacted, another cluster, a revision that runs backwards, changes that the watch does not tell ───┐
//!         ▼                                                                                                        │
//!   list in pages, at one revision ──► watch from the next ──► changes, some at a time ──► closed ──► next member ─┘
//! ```
//!
//! Beside the watch, the member is asked every half a minute for changes that the watch should have told: a request that needs a quorum,
//! so that a member without one, a connection that is dead and a watch that is stuck are noticed. Leases are asked for, too.

use std::sync::Arc;
use std::time::Duration;

use host::clock;
use source::{Again, Failure, Remote, Standing};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::TARGET;
use super::gateway::{self, Access, Range, RangeRequest, Session, Watch, Watched};
use super::path;
use super::store::{List, Position, Store};

/// Keys of a page.
const PAGE: u32 = 1_000;
/// Leases that are asked for at a time.
const LEASES: usize = 64;
/// How long changes are waited for that come with others, and how long in all: each takes a snapshot.
const TOGETHER: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(50));
/// Changes that are taken over at once.
const MOST_TOGETHER: usize = 4_096;

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timing {
    /// Between two looks whether the watch tells everything.
    pub(super) check: Duration,
    /// Between two looks at leases.
    pub(super) leases: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            check: Duration::from_secs(30),
            leases: Duration::from_secs(1),
        }
    }
}

/// A cluster that is followed.
pub(super) struct Cluster {
    access: Access,
    timing: Timing,
    store: Arc<Store>,
    /// The keys that are read: from the first up to the second.
    range: (Vec<u8>, Vec<u8>),
    /// The member that is asked first.
    member: usize,
}

/// Why the work with a member ended.
enum End {
    /// What is known is not what the cluster has: list again.
    Stale(String),
    /// The member is of no use.
    Failed(String),
}

impl From<gateway::Failure> for End {
    fn from(failure: gateway::Failure) -> Self {
        Self::Failed(failure.why)
    }
}

impl Cluster {
    /// Keeps `store` known, which has what is below `top`.
    pub(super) fn new(access: Access, timing: Timing, store: Arc<Store>, top: &[u8]) -> Self {
        Self {
            access,
            timing,
            store,
            range: (top.to_vec(), path::end(top)),
            member: 0,
        }
    }

    /// Works with one member until that ends; `heard` says whether it was of use.
    async fn work(&self, member: usize, standing: &Standing, heard: &mut bool) -> Result<(), End> {
        let Some(url) = self.access.endpoints.get(member) else {
            return Ok(());
        };
        let mut session = Session::new(&self.access, url);
        let position = self.catch_up(&mut session).await?;
        standing.learn();
        let (from, to) = (&self.range.0[..], &self.range.1[..]);
        let mut watch = session.watch((from, to), position.revision + 1).await?;
        let mut check = every(self.timing.check);
        let mut leases = every(self.timing.leases);
        // A change that the watch had not told of at the last look.
        let mut missed = None;
        check.tick().await;
        loop {
            tokio::select! {
                watched = watch.next() => {
                    self.take(&mut watch, watched?, position).await?;
                    *heard = true;
                    standing.heard(self.store.len());
                }
                _ = check.tick() => {
                    missed = self.look_for_missed(&mut session, missed).await?;
                    standing.heard(self.store.len());
                }
                _ = leases.tick() => self.ask_for_leases(&mut session).await,
            }
        }
    }

    /// Lists the keys, unless what is known can be watched on from.
    async fn catch_up(&self, session: &mut Session<'_>) -> Result<Position, End> {
        if let Some(known) = self.store.position() {
            let now = self.page(session, &self.range.0, (1, 0)).await?.header;
            if now.cluster_id.0 == known.cluster && now.revision.0 >= known.revision {
                return Ok(known);
            }
        }
        self.list(session).await
    }

    /// Reads all keys, as they are at one revision.
    async fn list(&self, session: &mut Session<'_>) -> Result<Position, End> {
        let mut list = List::default();
        let mut position: Option<Position> = None;
        let mut from = self.range.0.clone();
        loop {
            let revision = position.map_or(0, |position| position.revision);
            let page = match self.page(session, &from, (PAGE, revision)).await {
                Err(End::Failed(why)) if position.is_some() && why.contains("compacted") => {
                    return Err(End::Stale(why));
                }
                page => page?,
            };
            let position = *position.get_or_insert(Position {
                cluster: page.header.cluster_id.0,
                revision: page.header.revision.0,
            });
            let last = page.kvs.last().map(|last| last.key.0.clone());
            self.store.gather(&mut list, page.kvs);
            match last {
                Some(mut last) if page.more => {
                    last.push(0);
                    from = last;
                }
                _ => {
                    self.store.replace(list, position);
                    return Ok(position);
                }
            }
        }
    }

    async fn page(
        &self,
        session: &mut Session<'_>,
        from: &[u8],
        (limit, revision): (u32, i64),
    ) -> Result<Range, End> {
        let request = RangeRequest {
            key: from,
            range_end: &self.range.1,
            limit,
            revision,
            min_mod_revision: 0,
            keys_only: limit == 1,
        };
        Ok(session.range(&request).await?)
    }

    /// Takes over what a watch has told, and what comes with it.
    async fn take(&self, watch: &mut Watch, watched: Watched, at: Position) -> Result<(), End> {
        let begun = Instant::now();
        let (together, in_all) = TOGETHER;
        let mut events = Vec::new();
        let mut next = Some(watched);
        let mut revision = 0;
        while let Some(watched) = next.take() {
            if watched.canceled {
                return Err(cancelled(&watched));
            }
            if watched.header.cluster_id.0 != at.cluster {
                return Err(End::Stale(
                    "the member belongs to another cluster".to_owned(),
                ));
            }
            let has_events = !watched.events.is_empty();
            revision = revision.max(watched.header.revision.0);
            let fragment = watched.fragment;
            events.extend(watched.events);
            // A response without events says that the watch is there: nothing comes with it.
            let more =
                fragment || has_events && events.len() < MOST_TOGETHER && begun.elapsed() < in_all;
            if more {
                let patience = if fragment { in_all * 100 } else { together };
                match timeout(patience, watch.next()).await {
                    Ok(watched) => next = Some(watched?),
                    Err(_) if fragment => {
                        return Err(End::Failed(
                            "the rest of a change did not arrive".to_owned(),
                        ));
                    }
                    Err(_) => {}
                }
            }
        }
        // The revision of a response without events may be ahead of events that are still to come.
        let told = events.iter().map(|event| event.kv.mod_revision.0).max();
        self.store.apply(events, told.unwrap_or(0).min(revision));
        Ok(())
    }

    /// Looks for a change that the watch has not told of; `before` is the one that the last look found.
    async fn look_for_missed(
        &self,
        session: &mut Session<'_>,
        before: Option<i64>,
    ) -> Result<Option<i64>, End> {
        let Some(known) = self.store.position() else {
            return Ok(None);
        };
        if before.is_some_and(|before| before > known.revision) {
            return Err(End::Stale("the watch misses changes".to_owned()));
        }
        let request = RangeRequest {
            key: &self.range.0,
            range_end: &self.range.1,
            limit: 1,
            revision: 0,
            min_mod_revision: known.revision + 1,
            keys_only: true,
        };
        let range = session.range(&request).await?;
        if range.header.cluster_id.0 != known.cluster || range.header.revision.0 < known.revision {
            return Err(End::Stale("the cluster is another one".to_owned()));
        }
        Ok(range.kvs.first().map(|found| found.mod_revision.0))
    }

    /// Asks how long leases have left. Where that fails, TTLs are as short as they may be; whether the member is of use, the watch
    /// says.
    async fn ask_for_leases(&self, session: &mut Session<'_>) {
        for (id, lease) in self.store.due_leases(clock::now(), LEASES) {
            match session.time_to_live(id).await {
                Ok(left) => lease.learn(left, clock::now()),
                Err(failure) => {
                    lease.learn(0, clock::now());
                    tracing::debug!(target: TARGET, "lease {id:x}: {}", failure.why);
                    return;
                }
            }
        }
    }
}

impl Remote for Cluster {
    async fn read(&mut self, standing: &Standing) -> Result<Again, Failure> {
        let members = self.access.endpoints.len();
        let mut why = String::new();
        for turn in 0..members {
            let member = (self.member + turn) % members;
            let mut heard = false;
            let ended = self.work(member, standing, &mut heard).await;
            match ended {
                Ok(()) => {}
                Err(End::Stale(why)) => {
                    tracing::info!(target: TARGET, "All keys are read again: {why}");
                    self.store.forget_position();
                    self.member = member;
                    return Ok(Again::Now);
                }
                Err(End::Failed(because)) => {
                    let url = &self.access.endpoints[member];
                    why = match members {
                        1 => because,
                        _ => format!("{url}: {because}"),
                    };
                    tracing::debug!(target: TARGET, "{url}: {why}");
                    if heard {
                        // It was of use until now: the next one goes on from there.
                        self.member = (member + 1) % members;
                        return Ok(Again::Now);
                    }
                }
            }
        }
        Err(Failure::new(why))
    }
}

/// Why a watch was cancelled.
fn cancelled(watched: &Watched) -> End {
    if watched.compact_revision.0 > 0 {
        return End::Stale(format!(
            "changes up to revision {} are no longer kept",
            watched.compact_revision.0
        ));
    }
    End::Failed(match watched.cancel_reason.is_empty() {
        true => "the watch was cancelled".to_owned(),
        false => format!("the watch was cancelled: {}", watched.cancel_reason),
    })
}

fn every(period: Duration) -> tokio::time::Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
