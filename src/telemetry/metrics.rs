//! The process's metrics: one registry, kept over reloads, so that counters go on where they were.
//!
//! A family is made once by its name and shared by whoever asks for it. Labels are resolved when a plugin learns its blocks
//! (`chain::Plugin::attach`): what a query touches is an atomic, never the family's lock.

use std::any::Any;
use std::collections::HashMap;
use std::fmt::{Debug, Write};
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{EncodeLabelSet, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::{MetricType, TypedMetric};
use prometheus_client::registry::{Metric, Registry};

use crate::traffic::{DURATIONS, SHORTEST, duration_bucket};

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

/// A histogram's counts on cache lines of their own.
#[derive(Default, Debug)]
#[repr(align(64))]
struct Observed {
    counts: [AtomicU64; DURATIONS + 1],
    nanos: AtomicU64,
}

/// A histogram of durations for the query path, striped as [`Striped`] is: no lock, and no line that workers share. Its buckets are
/// CoreDNS's: from 0.25 ms, each next one twice as high.
#[derive(Clone, Default, Debug)]
pub struct StripedDurations(Arc<[Observed; STRIPES]>);

impl StripedDurations {
    /// Counts a duration, on behalf of the worker with this index.
    #[inline]
    pub fn observe(&self, worker: usize, nanos: u64) {
        let stripe = &self.0[worker % STRIPES];
        stripe.counts[duration_bucket(nanos)].fetch_add(1, Ordering::Relaxed);
        stripe.nanos.fetch_add(nanos, Ordering::Relaxed);
    }
}

impl TypedMetric for StripedDurations {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for StripedDurations {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), std::fmt::Error> {
        let sum = |count: fn(&Observed, usize) -> &AtomicU64, at| {
            let counts = self.0.iter().map(|s| count(s, at).load(Ordering::Relaxed));
            counts.fold(0, u64::wrapping_add)
        };
        let bounds = (0..DURATIONS as i32).map(|n| SHORTEST as f64 / 1e9 * 2f64.powi(n));
        let buckets: Vec<(f64, u64)> = bounds
            .chain([f64::INFINITY])
            .enumerate()
            .map(|(at, bound)| (bound, sum(|stripe, at| &stripe.counts[at], at)))
            .collect();
        let total = buckets.iter().map(|(_, count)| count).sum();
        let seconds = sum(|stripe, _| &stripe.nanos, 0) as f64 / 1e9;
        encoder.encode_histogram::<NoLabelSet>(seconds, total, &buckets, None)
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

/// All metrics in the text format that Prometheus had before OpenMetrics, version 0.0.4.
pub fn encode_text() -> String {
    to_text(&encode())
}

/// How many plugins have panicked; the server counts.
pub fn panics() -> Counter {
    metric(
        "coredns_panics",
        "A metrics that counts the number of panics.",
        Counter::default,
    )
}

/// Turns OpenMetrics into text 0.0.4: a counter's `_total` belongs to its name, units and the end have no line, whole bounds of
/// buckets have no fraction, and a family without samples is not told of.
fn to_text(open_metrics: &str) -> String {
    let mut out = String::with_capacity(open_metrics.len());
    let (mut help, mut header) = ("", String::new());
    for line in open_metrics.lines() {
        if let Some(text) = line.strip_prefix("# HELP ") {
            help = text;
            header.clear();
        } else if let Some(text) = line.strip_prefix("# TYPE ") {
            let (name, kind) = text.split_once(' ').unwrap_or((text, ""));
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                "stateset" => ("", "gauge"),
                "gaugehistogram" => ("", "histogram"),
                "unknown" => ("", "untyped"),
                same => ("", same),
            };
            let help = help.strip_prefix(name).unwrap_or_default();
            header = format!("# HELP {name}{suffix}{help}\n# TYPE {name}{suffix} {kind}\n");
        } else if !line.starts_with('#') {
            out.push_str(&std::mem::take(&mut header));
            match whole_bound(line) {
                Some(at) => {
                    out.push_str(&line[..at]);
                    out.push_str(&line[at + 2..]);
                }
                None => out.push_str(line),
            }
            out.push('\n');
        }
    }
    out
}

/// Where the `.0` of a bucket's bound stands: `x_bucket{le="100.0",zone="…"} 1`.
fn whole_bound(line: &str) -> Option<usize> {
    let (_, rest) = line.split_once("_bucket{le=\"")?;
    let start = line.len() - rest.len();
    let end = start + rest.find('"')?;
    line[start..end].ends_with(".0").then(|| end - 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_metrics_as_text() {
        let open_metrics = "\
# HELP a_hits Hits.
# TYPE a_hits counter
a_hits_total{zone=\"# EOF\"} 1
# HELP nothing None.
# TYPE nothing counter
# HELP a_bytes Bytes.
# TYPE a_bytes gauge
# UNIT a_bytes bytes
a_bytes 1.0
# HELP t_seconds Time.
# TYPE t_seconds histogram
t_seconds_sum{z=\"1.0\"} 1.0
t_seconds_count{z=\"1.0\"} 1
t_seconds_bucket{le=\"0.0005\",z=\"1.0\"} 1
t_seconds_bucket{le=\"16000.0\",z=\"1.0\"} 1
t_seconds_bucket{le=\"+Inf\",z=\"1.0\"} 1
# HELP v Version.
# TYPE v info
v_info{version=\"1\"} 1
# HELP u U.
# TYPE u unknown
u 1
# EOF
";
        let text = "\
# HELP a_hits_total Hits.
# TYPE a_hits_total counter
a_hits_total{zone=\"# EOF\"} 1
# HELP a_bytes Bytes.
# TYPE a_bytes gauge
a_bytes 1.0
# HELP t_seconds Time.
# TYPE t_seconds histogram
t_seconds_sum{z=\"1.0\"} 1.0
t_seconds_count{z=\"1.0\"} 1
t_seconds_bucket{le=\"0.0005\",z=\"1.0\"} 1
t_seconds_bucket{le=\"16000\",z=\"1.0\"} 1
t_seconds_bucket{le=\"+Inf\",z=\"1.0\"} 1
# HELP v_info Version.
# TYPE v_info gauge
v_info{version=\"1\"} 1
# HELP u U.
# TYPE u untyped
u 1
";
        assert_eq!(to_text(open_metrics), text);
    }

    #[test]
    fn striped_durations_are_exposed_as_one_histogram() {
        type Labels = Vec<(&'static str, &'static str)>;
        let durations = family::<Labels, StripedDurations>("striped_seconds", "Help")
            .get_or_create_owned(&vec![("to", "192.0.2.1:53")]);
        // On the first bound, above it, and above all.
        for (worker, nanos) in [(0, 250_000), (17, 250_001), (1, 60 * 1_000_000_000)] {
            durations.observe(worker, nanos);
        }
        let text = encode();
        for line in [
            "# TYPE striped_seconds histogram",
            "striped_seconds_sum{to=\"192.0.2.1:53\"} 60.000500001",
            "striped_seconds_count{to=\"192.0.2.1:53\"} 3",
            "striped_seconds_bucket{le=\"0.00025\",to=\"192.0.2.1:53\"} 1",
            "striped_seconds_bucket{le=\"0.0005\",to=\"192.0.2.1:53\"} 2",
            "striped_seconds_bucket{le=\"8.192\",to=\"192.0.2.1:53\"} 2",
            "striped_seconds_bucket{le=\"+Inf\",to=\"192.0.2.1:53\"} 3",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }

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
