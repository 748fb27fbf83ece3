//! What is known of a store: whether it has been read, and since when and why it is away.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use host::clock;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use telemetry::metrics;
use tokio::sync::watch;

use crate::age::{Age, Aged};

/// The least time between two log lines with the same cause, in nanoseconds.
const REPEAT: u64 = 60 * clock::SECOND;

type Labels = Vec<(&'static str, String)>;

/// What is known of a store, shared by the task that follows it and the plugins that serve it.
pub struct Standing {
    plugin: &'static str,
    source: String,
    known: watch::Sender<bool>,
    /// Since when it is away ([`clock`]), and whether it is.
    since: AtomicU64,
    away: AtomicBool,
    told: Mutex<Told>,
    failures: Counter,
    records: Gauge,
}

/// What was written to the log last.
#[derive(Default)]
struct Told {
    why: String,
    at: u64,
}

impl Standing {
    /// Of a store that has not been read. `source` says which one, for people and as a metric's label.
    pub fn new(plugin: &'static str, source: String) -> Arc<Self> {
        let labels: Labels = vec![("plugin", plugin.to_owned()), ("source", source.clone())];
        let failures: Family<Labels, Counter> = metrics::family(
            "coredns_source_failures",
            "Counter of the times that a source of records could not be read.",
        );
        let records: Family<Labels, Gauge> = metrics::family(
            "coredns_source_entries",
            "The entries that were last read from a source of records.",
        );
        let ages: Family<Labels, Age> = metrics::family(
            "coredns_source_age_seconds",
            "How long a source of records has been unreachable; 0 while it can be reached.",
        );
        let standing = Arc::new(Self {
            plugin,
            source,
            known: watch::Sender::new(false),
            since: AtomicU64::new(clock::now()),
            away: AtomicBool::new(false),
            told: Mutex::default(),
            failures: failures.get_or_create_owned(&labels),
            records: records.get_or_create_owned(&labels),
        });
        ages.get_or_create(&labels).show(&standing);
        standing
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the store has been read once.
    pub fn is_known(&self) -> bool {
        *self.known.borrow()
    }

    /// Waits until the store has been read once, until `deadline` ([`clock`]) at most.
    pub async fn settle(&self, deadline: u64) {
        let now = clock::now();
        if self.is_known() || now >= deadline {
            return;
        }
        let mut known = self.known.subscribe();
        let patience = Duration::from_nanos(deadline - now);
        let _ = tokio::time::timeout(patience, known.wait_for(|known| *known)).await;
    }

    /// The store has been read: there is something to serve.
    pub fn learn(&self) {
        self.known
            .send_if_modified(|known| !std::mem::replace(known, true));
    }

    /// The store was read, or has answered: what is published is what it has, `entries` of them.
    pub fn heard(&self, entries: usize) {
        self.records.set(i64::try_from(entries).unwrap_or(i64::MAX));
        if self.away.swap(false, Ordering::Relaxed) {
            let (plugin, source) = (self.plugin, &self.source);
            tracing::info!("plugin/{plugin}: {source} can be reached again");
            *self.told() = Told::default();
        }
        self.learn();
    }

    /// The store cannot be read; what was published before is served on.
    pub fn lost(&self, why: &str) {
        self.failures.inc();
        let now = clock::now();
        if !self.away.swap(true, Ordering::Relaxed) {
            self.since.store(now, Ordering::Relaxed);
        }
        let mut told = self.told();
        if told.why == why && now.saturating_sub(told.at) < REPEAT {
            return;
        }
        let what = match self.is_known() {
            true => "the last known data is served",
            false => "nothing has been read yet",
        };
        let (plugin, source) = (self.plugin, &self.source);
        tracing::warn!("plugin/{plugin}: {source} cannot be read: {why}; {what}");
        why.clone_into(&mut told.why);
        told.at = now;
    }

    /// What cannot be served, or only as it was, and why; for `/ready?verbose`.
    pub fn trouble(&self) -> Option<String> {
        if self.away.load(Ordering::Relaxed) {
            let (source, seconds) = (&self.source, self.age() as u64);
            let why = &self.told().why;
            return Some(match self.is_known() {
                true => format!("{source} has been away for {seconds} s: {why}"),
                false => format!("{source} has not been read yet: {why}"),
            });
        }
        (!self.is_known()).then(|| format!("{} has not been read yet", self.source))
    }
}

impl Aged for Standing {
    fn age(&self) -> f64 {
        if !self.away.load(Ordering::Relaxed) {
            return 0.0;
        }
        let since = self.since.load(Ordering::Relaxed);
        clock::now().saturating_sub(since) as f64 / clock::SECOND as f64
    }
}
