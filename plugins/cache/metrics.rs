//! The counters of one cache at one listener; names and labels are CoreDNS's.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use chain::BlockInfo;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use telemetry::metrics::{Striped, family};

type Labels = Vec<(&'static str, String)>;

/// A counter for each type of entry.
pub(super) struct Typed<M> {
    /// Positive responses.
    pub(super) success: M,
    /// Negative responses and failures.
    pub(super) denial: M,
}

/// The counters of one cache at one listener.
pub(super) struct Metrics {
    /// Entries now.
    pub(super) entries: Typed<Gauge>,
    /// Queries answered from the cache.
    pub(super) hits: Typed<Striped>,
    /// Entries that had to go for others.
    pub(super) evictions: Typed<Counter>,
    /// Queries.
    pub(super) requests: Striped,
    /// Queries that were not answered from the cache.
    pub(super) misses: Striped,
    /// Refreshes in the background.
    pub(super) prefetches: Counter,
    /// Responses that could not be read.
    pub(super) drops: Counter,
    /// Queries answered with expired entries.
    pub(super) served_stale: Counter,
}

impl Metrics {
    fn new(info: &BlockInfo, zones: &str) -> Self {
        let labels = |typed: Option<&str>| -> Labels {
            let mut labels = vec![("server", info.server.to_string())];
            if let Some(typed) = typed {
                labels.push(("type", typed.to_owned()));
            }
            labels.push(("zones", zones.to_owned()));
            labels.push(("view", info.view.to_string()));
            labels
        };
        // Owned: the guard of a borrowed one would live to the end of the statement, and lock out the next.
        let counter =
            |name, help| family::<Labels, Counter>(name, help).get_or_create_owned(&labels(None));
        let striped =
            |name, help| family::<Labels, Striped>(name, help).get_or_create_owned(&labels(None));
        let hits = family::<Labels, Striped>("coredns_cache_hits", "The count of cache hits.");
        let evictions =
            family::<Labels, Counter>("coredns_cache_evictions", "The count of cache evictions.");
        let entries = family::<Labels, Gauge>(
            "coredns_cache_entries",
            "The number of elements in the cache.",
        );
        let gauge = |name| entries.get_or_create_owned(&labels(Some(name)));
        let metrics = Self {
            entries: Typed {
                success: gauge("success"),
                denial: gauge("denial"),
            },
            hits: Typed {
                success: hits.get_or_create_owned(&labels(Some("success"))),
                denial: hits.get_or_create_owned(&labels(Some("denial"))),
            },
            evictions: Typed {
                success: evictions.get_or_create_owned(&labels(Some("success"))),
                denial: evictions.get_or_create_owned(&labels(Some("denial"))),
            },
            requests: striped("coredns_cache_requests", "The count of cache requests."),
            misses: striped(
                "coredns_cache_misses",
                "The count of cache misses. Deprecated, derive misses from cache hits/requests counters.",
            ),
            prefetches: counter(
                "coredns_cache_prefetch",
                "The number of times the cache has prefetched a cached item.",
            ),
            drops: counter(
                "coredns_cache_drops",
                "The number responses that are not cached, because the reply is malformed.",
            ),
            served_stale: counter(
                "coredns_cache_served_stale",
                "The number of requests served from stale cache entries.",
            ),
        };
        // A cache is empty after a reload; its gauge is kept.
        metrics.entries.success.set(0);
        metrics.entries.denial.set(0);
        metrics
    }
}

/// A block's number and its counters.
type Numbered = (usize, Arc<Metrics>);

/// The counters by block: collected while blocks are attached, frozen by the first query, then read without a lock.
pub(super) struct ByBlock {
    zones: String,
    attached: Mutex<Vec<Numbered>>,
    frozen: OnceLock<Box<[Numbered]>>,
}

impl ByBlock {
    /// No blocks yet; `zones` is the label.
    pub(super) fn new(zones: String) -> Self {
        Self {
            zones,
            attached: Mutex::default(),
            frozen: OnceLock::new(),
        }
    }

    /// Resolves the labels of a block.
    pub(super) fn attach(&self, info: &BlockInfo) {
        let metrics = Arc::new(Metrics::new(info, &self.zones));
        self.attached
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((info.index, metrics));
    }

    /// The counters of the block with this number, if it was attached.
    #[inline]
    pub(super) fn get(&self, index: usize) -> Option<&Metrics> {
        let frozen = self.frozen.get_or_init(|| {
            let mut attached = self.attached.lock().unwrap_or_else(PoisonError::into_inner);
            attached.sort_by_key(|(index, _)| *index);
            attached.clone().into()
        });
        if let [(only, metrics)] = &**frozen {
            return (*only == index).then_some(metrics);
        }
        let place = frozen
            .binary_search_by_key(&index, |(index, _)| *index)
            .ok()?;
        Some(&frozen.get(place)?.1)
    }
}
