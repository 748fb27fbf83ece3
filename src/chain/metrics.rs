//! The process's metrics: one registry, kept over reloads, so that counters go on where they were.
//!
//! A family is made once by its name and shared by whoever asks for it. Labels are resolved when a plugin learns its blocks
//! ([`crate::Plugin::attach`]): what a query touches is an atomic, never the family's lock.

use std::any::Any;
use std::collections::HashMap;
use std::fmt::{Debug, Write};
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{EncodeLabelSet, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::{MetricType, TypedMetric};
use prometheus_client::registry::{Metric, Registry};

/// The registry and what was registered, by name.
#[derive(Default)]
struct Store {
    registry: Registry,
    known: HashMap<&'static str, Box<dyn Any + Send>>,
}

fn store() -> MutexGuard<'static, Store> {
    static STORE: OnceLock<Mutex<Store>> = OnceLock::new();
    STORE
        .get_or_init(Mutex::default)
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
}

/// The metric of this name, made by `make` when it is asked for first. A counter's name stands here without its `_total`.
///
/// # Panics
/// When a name is asked for with two types: a mistake in the program.
pub fn metric<M: Metric + Clone>(
    name: &'static str,
    help: &'static str,
    make: impl FnOnce() -> M,
) -> M {
    let mut store = store();
    if let Some(known) = store.known.get(name) {
        return known
            .downcast_ref::<M>()
            .unwrap_or_else(|| panic!("metric {name} has two types"))
            .clone();
    }
    let metric = make();
    // The registry ends a help text with a full stop of its own.
    store
        .registry
        .register(name, help.trim_end_matches('.'), metric.clone());
    store.known.insert(name, Box::new(metric.clone()));
    metric
}

/// The family of this name; its metrics are their type's default.
pub fn family<S, M>(name: &'static str, help: &'static str) -> Family<S, M>
where
    S: Clone + Hash + Eq + EncodeLabelSet + Debug + Send + Sync + 'static,
    M: Default + EncodeMetric + TypedMetric + Debug + Send + Sync + 'static,
{
    metric(name, help, Family::default)
}

/// The family of this name; its metrics are made by `constructor`, as histograms need.
pub fn family_with<S, M, C>(
    name: &'static str,
    help: &'static str,
    constructor: C,
) -> Family<S, M, C>
where
    S: Clone + Hash + Eq + EncodeLabelSet + Debug + Send + Sync + 'static,
    M: EncodeMetric + TypedMetric + Debug + Send + Sync + 'static,
    C: MetricConstructor<M> + Clone + Debug + Send + Sync + 'static,
{
    metric(name, help, || Family::new_with_constructor(constructor))
}

/// Adds something that is read when the metrics are: gauges of a table's size, per-worker counters to sum. Once per process.
pub fn collector(collector: Box<dyn Collector>) {
    store().registry.register_collector(collector);
}

/// How many workers count apart; more share.
const STRIPES: usize = 16;

/// A counter on a cache line of its own.
#[derive(Default, Debug)]
#[repr(align(64))]
struct Stripe(AtomicU64);

/// A counter for the query path: each worker counts on a cache line of its own, so that workers never write to a line that they
/// share; reading adds up.
#[derive(Clone, Default, Debug)]
pub struct Striped(Arc<[Stripe; STRIPES]>);

impl Striped {
    /// Counts one, on behalf of the worker with this index.
    #[inline]
    pub fn inc(&self, worker: usize) {
        self.0[worker % STRIPES].0.fetch_add(1, Ordering::Relaxed);
    }

    /// The sum.
    pub fn get(&self) -> u64 {
        let counts = self.0.iter().map(|stripe| stripe.0.load(Ordering::Relaxed));
        counts.fold(0, u64::wrapping_add)
    }
}

impl TypedMetric for Striped {
    const TYPE: MetricType = MetricType::Counter;
}

impl EncodeMetric for Striped {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), std::fmt::Error> {
        encoder.encode_counter::<NoLabelSet, _, u64>(&self.get(), None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

/// All metrics in the OpenMetrics text format.
pub fn encode() -> String {
    let store = store();
    let mut out = String::with_capacity(16 * 1024);
    if let Err(error) = prometheus_client::encoding::text::encode(&mut out, &store.registry) {
        let _ = writeln!(out, "# {error}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stripes_add_up_and_are_exposed_as_one_counter() {
        type Labels = Vec<(&'static str, &'static str)>;
        let counter = family::<Labels, Striped>("striped_test", "Help")
            .get_or_create_owned(&vec![("server", "dns://:53")]);
        for worker in 0..40 {
            counter.inc(worker);
        }
        assert_eq!(counter.get(), 40);
        let text = encode();
        assert!(text.contains("# TYPE striped_test counter"), "{text}");
        assert!(
            text.contains("striped_test_total{server=\"dns://:53\"} 40"),
            "{text}"
        );
    }
}
