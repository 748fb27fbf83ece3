//! The counters of a block; names and labels are CoreDNS's.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use chain::BlockInfo;
use prometheus_client::metrics::gauge::Gauge;
use telemetry::metrics::{Striped, family};

type Labels = Vec<(&'static str, String)>;

/// The counters of a block.
pub(super) struct Metrics {
    /// RRsets whose signatures are kept.
    pub(super) entries: Gauge,
    /// RRsets whose signatures were known.
    pub(super) hits: Striped,
    /// RRsets whose signatures were not.
    pub(super) misses: Striped,
}

impl Metrics {
    fn new(info: &BlockInfo) -> Self {
        let server: Labels = vec![("server", info.server.to_string())];
        let typed: Labels = [&server[..], &[("type", "signature".to_owned())]].concat();
        let counter =
            |name, help| family::<Labels, Striped>(name, help).get_or_create_owned(&server);
        let entries = family::<Labels, Gauge>(
            "coredns_dnssec_cache_entries",
            "The number of elements in the dnssec cache.",
        );
        let metrics = Self {
            entries: entries.get_or_create_owned(&typed),
            hits: counter("coredns_dnssec_cache_hits", "The count of cache hits."),
            misses: counter("coredns_dnssec_cache_misses", "The count of cache misses."),
        };
        // The table is empty after a reload; the gauge is kept.
        metrics.entries.set(0);
        metrics
    }
}

/// A block's number and its counters.
type Numbered = (usize, Arc<Metrics>);

/// The counters by block: collected while blocks are attached, frozen by the first query, then read without a lock.
#[derive(Default)]
pub(super) struct ByBlock {
    attached: Mutex<Vec<Numbered>>,
    frozen: OnceLock<Box<[Numbered]>>,
}

impl ByBlock {
    /// Resolves the labels of a block.
    pub(super) fn attach(&self, info: &BlockInfo) {
        let metrics = Arc::new(Metrics::new(info));
        let mut attached = self.attached.lock().unwrap_or_else(PoisonError::into_inner);
        attached.push((info.index, metrics));
    }

    /// The counters of the block with this number, if it was attached.
    #[inline]
    pub(super) fn get(&self, index: usize) -> Option<&Metrics> {
        let frozen = self.frozen.get_or_init(|| {
            let attached = self.attached.lock().unwrap_or_else(PoisonError::into_inner);
            attached.clone().into()
        });
        let found = frozen.iter().find(|(known, _)| *known == index);
        found.map(|(_, metrics)| &**metrics)
    }
}
