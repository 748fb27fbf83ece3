//! Queries counted by listener, zone and view: `coredns_dns_*`.
//!
//! Labels are resolved when a block is attached, so a query touches integers only. Each worker has counters of its own, which
//! nobody else writes: a count is a load and a store, neither a lock nor a locked instruction, and workers share no cache line
//! that matters. A scrape sums the workers. Counters live as long as the process: a reload that keeps a block keeps its counts.
//!
//! Cardinality is bounded by the Corefile: types and RCODEs outside of a short list count as `other`. One worker's counters of
//! one block take 1.3 kB, and 200 octets more for each plugin.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Once, OnceLock, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabelSet, EncodeMetric, MetricEncoder, NoLabelSet,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use wire::{Rcode, Type};

/// The types that are counted by name; any other is `other`.
const TYPES: [(Type, &str); 19] = [
    (Type::A, "A"),
    (Type::AAAA, "AAAA"),
    (Type::HTTPS, "HTTPS"),
    (Type::PTR, "PTR"),
    (Type::SRV, "SRV"),
    (Type::TXT, "TXT"),
    (Type::SOA, "SOA"),
    (Type::NS, "NS"),
    (Type::MX, "MX"),
    (Type::CNAME, "CNAME"),
    (Type::DNSKEY, "DNSKEY"),
    (Type::DS, "DS"),
    (Type::NSEC3, "NSEC3"),
    (Type::NSEC, "NSEC"),
    (Type::RRSIG, "RRSIG"),
    (Type::SVCB, "SVCB"),
    (Type::IXFR, "IXFR"),
    (Type::AXFR, "AXFR"),
    (Type::ANY, "ANY"),
];
const KINDS: usize = TYPES.len() + 1;
const OTHER: &str = "other";

/// The RCODEs that are counted by name, 0 to 23, and `other`.
const RCODES: usize = 25;

/// Upper bounds of the size buckets, in octets.
const SIZES: [u16; 14] = [
    0, 100, 200, 300, 400, 511, 1_023, 2_047, 4_095, 8_291, 16_000, 32_000, 48_000, 64_000,
];
/// The upper bound of the first duration bucket, in nanoseconds; each next one is twice as high.
pub(crate) const SHORTEST: u64 = 250_000;
/// How many duration buckets have a bound.
pub(crate) const DURATIONS: usize = 16;

const PROTOS: [&str; 2] = ["udp", "tcp"];
const FAMILIES: [&str; 2] = ["1", "2"];

/// A counter that one thread writes.
#[derive(Default)]
struct Count(AtomicU64);

impl Count {
    #[inline]
    fn add(&self, more: u64) {
        let now = self.0.load(Ordering::Relaxed);
        self.0.store(now.wrapping_add(more), Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A histogram that one thread writes: `N` buckets, the last without a bound.
struct Buckets<const N: usize> {
    counts: [Count; N],
    sum: Count,
}

impl<const N: usize> Default for Buckets<N> {
    fn default() -> Self {
        Self {
            counts: std::array::from_fn(|_| Count::default()),
            sum: Count::default(),
        }
    }
}

impl<const N: usize> Buckets<N> {
    #[inline]
    fn observe(&self, bucket: usize, value: u64) {
        self.counts[bucket.min(N - 1)].add(1);
        self.sum.add(value);
    }

    fn add_to(&self, sums: &mut Sums) {
        sums.counts.resize(N, 0);
        for (sum, count) in sums.counts.iter_mut().zip(&self.counts) {
            *sum += count.get();
        }
        sums.sum += self.sum.get();
    }
}

type SizeBuckets = Buckets<{ SIZES.len() + 1 }>;

/// What one worker counts for one block.
struct Worker {
    requests: [[[Count; KINDS]; 2]; 2],
    dnssec_ok: Count,
    durations: Buckets<{ DURATIONS + 1 }>,
    request_sizes: [SizeBuckets; 2],
    response_sizes: [SizeBuckets; 2],
    /// By plugin (the first is the server itself), then RCODE.
    responses: Box<[[Count; RCODES]]>,
}

impl Worker {
    fn new(plugins: usize) -> Self {
        Self {
            requests: Default::default(),
            dnssec_ok: Count::default(),
            durations: Buckets::default(),
            request_sizes: Default::default(),
            response_sizes: Default::default(),
            responses: (0..=plugins)
                .map(|_| std::array::from_fn(|_| Count::default()))
                .collect(),
        }
    }
}

/// A list that grows without moving: chunk `k` has `2^k` places. Reading takes no lock.
pub struct Grow<T> {
    chunks: [OnceLock<Box<[OnceLock<T>]>>; 17],
}

impl<T> Default for Grow<T> {
    fn default() -> Self {
        Self {
            chunks: [const { OnceLock::new() }; 17],
        }
    }
}

impl<T> Grow<T> {
    /// The chunk of `index`, and the place in it.
    #[inline]
    const fn place(index: usize) -> (usize, usize) {
        let chunk = (index + 1).ilog2() as usize;
        (chunk, index + 1 - (1 << chunk))
    }

    /// What stands at `index`.
    #[inline]
    pub fn get(&self, index: usize) -> Option<&T> {
        let (chunk, place) = Self::place(index);
        self.chunks.get(chunk)?.get()?.get(place)?.get()
    }

    /// What stands at `index`, made first if there is nothing; `None` beyond 131,070.
    pub fn get_or_init(&self, index: usize, make: impl FnOnce() -> T) -> Option<&T> {
        let (chunk, place) = Self::place(index);
        let chunk = self
            .chunks
            .get(chunk)?
            .get_or_init(|| (0..1 << chunk).map(|_| OnceLock::new()).collect());
        Some(chunk.get(place)?.get_or_init(make))
    }

    /// Everything there is.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        let chunks = self.chunks.iter().filter_map(OnceLock::get);
        chunks.flat_map(|chunk| chunk.iter().filter_map(OnceLock::get))
    }
}

/// Whose queries are counted together.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Labels {
    /// The listener's label: `dns://:53`.
    pub server: Arc<str>,
    /// The zone of the server block.
    pub zone: Arc<str>,
    /// The view's name; empty when there is none.
    pub view: Arc<str>,
}

/// What is counted of a query beside its octets.
#[derive(Clone, Copy, Debug)]
pub struct Source {
    /// The worker that received it.
    pub worker: usize,
    /// Whether it came as a datagram.
    pub datagram: bool,
    /// Whether its client has an IPv6 address.
    pub ipv6: bool,
}

/// The counts of one listener, zone and view.
pub struct Traffic {
    labels: Labels,
    plugins: Arc<[&'static str]>,
    workers: Grow<Worker>,
}

impl fmt::Debug for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Traffic({:?})", self.labels)
    }
}

type Key = (Labels, Arc<[&'static str]>);

/// All counts of the process.
fn all() -> MutexGuard<'static, HashMap<Key, Arc<Traffic>>> {
    static ALL: OnceLock<Mutex<HashMap<Key, Arc<Traffic>>>> = OnceLock::new();
    ALL.get_or_init(Mutex::default)
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
}

impl Traffic {
    /// The counts of the queries to `server` that no block serves: CoreDNS's zone `dropped`, which has no closing dot.
    pub fn dropped(server: Arc<str>) -> Arc<Self> {
        let labels = Labels {
            server,
            zone: "dropped".into(),
            view: "".into(),
        };
        Self::of(labels, Arc::new([]))
    }

    /// The counts of a listener, zone and view whose block has these plugins; those of an earlier snapshot go on.
    pub fn of(labels: Labels, plugins: Arc<[&'static str]>) -> Arc<Self> {
        static REGISTERED: Once = Once::new();
        REGISTERED.call_once(|| crate::metrics::collector(Box::new(Collected)));
        let traffic = all()
            .entry((labels.clone(), plugins.clone()))
            .or_insert_with(|| {
                Arc::new(Self {
                    labels,
                    plugins,
                    workers: Grow::default(),
                })
            })
            .clone();
        // Made now, so that the first query of a worker finds its counters.
        for worker in 0..host::processors() {
            traffic.worker(worker);
        }
        traffic
    }

    #[inline]
    fn worker(&self, worker: usize) -> Option<&Worker> {
        match self.workers.get(worker) {
            Some(counters) => Some(counters),
            None => self
                .workers
                .get_or_init(worker, || Worker::new(self.plugins.len())),
        }
    }

    /// Counts a query.
    #[inline]
    pub fn asked(&self, source: Source, qtype: Type, octets: usize, dnssec_ok: bool) {
        let Some(counters) = self.worker(source.worker) else {
            return;
        };
        let proto = usize::from(!source.datagram);
        let family = usize::from(source.ipv6);
        counters.requests[proto][family][kind(qtype)].add(1);
        counters.request_sizes[proto].observe(size_bucket(octets), octets as u64);
        if dnssec_ok {
            counters.dnssec_ok.add(1);
        }
    }

    /// Counts a response: who wrote it, its RCODE, its octets, and the nanoseconds that it took.
    #[inline]
    pub fn answered(
        &self,
        source: Source,
        plugin: Option<&'static str>,
        rcode: Rcode,
        octets: usize,
        duration: u64,
    ) {
        let Some(counters) = self.worker(source.worker) else {
            return;
        };
        let proto = usize::from(!source.datagram);
        counters
            .durations
            .observe(duration_bucket(duration), duration);
        counters.response_sizes[proto].observe(size_bucket(octets), octets as u64);
        let plugin = plugin.map_or(0, |name| {
            // Mostly both are one constant.
            let plugins = self.plugins.iter();
            let known = plugins
                .clone()
                .position(|known| std::ptr::eq(*known, name))
                .or_else(|| plugins.clone().position(|known| *known == name));
            known.map_or(0, |place| place + 1)
        });
        counters.responses[plugin][(rcode.0 as usize).min(RCODES - 1)].add(1);
    }
}

/// The place of a type.
#[inline]
fn kind(qtype: Type) -> usize {
    TYPES
        .iter()
        .position(|(known, _)| *known == qtype)
        .unwrap_or(TYPES.len())
}

/// The bucket of a size.
#[inline]
fn size_bucket(octets: usize) -> usize {
    SIZES
        .iter()
        .position(|&bound| octets <= bound as usize)
        .unwrap_or(SIZES.len())
}

/// The bucket of a duration: the first whose bound is not below it.
#[inline]
pub(crate) fn duration_bucket(nanos: u64) -> usize {
    match nanos.saturating_sub(1) / SHORTEST {
        0 => 0,
        times => (times.ilog2() as usize + 1).min(DURATIONS),
    }
}

/// The name of an RCODE's place.
fn rcode_name(place: usize) -> std::borrow::Cow<'static, str> {
    if place == RCODES - 1 {
        return OTHER.into();
    }
    match Rcode(place as u16).mnemonic() {
        Some(name) => name.into(),
        None => place.to_string().into(),
    }
}

/// Sums over workers, and over blocks that differ in their plugins only.
#[derive(Default)]
struct Sums {
    counts: Vec<u64>,
    sum: u64,
}

impl Sums {
    fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Counts with their upper bounds; `scale` turns the sum's unit into the metric's.
    fn encode<L: EncodeLabelSet>(
        &self,
        bounds: impl Iterator<Item = f64>,
        scale: f64,
        labels: &L,
        encoder: &mut MetricEncoder<'_>,
    ) -> fmt::Result {
        if self.total() == 0 {
            return Ok(());
        }
        let buckets: Vec<(f64, u64)> = bounds
            .chain([f64::INFINITY])
            .zip(self.counts.iter().copied())
            .collect();
        encoder
            .encode_family(labels)?
            .encode_histogram::<NoLabelSet>(self.sum as f64 / scale, self.total(), &buckets, None)
    }
}

/// Everything of one listener, zone and view.
#[derive(Default)]
struct Block {
    requests: BTreeMap<(usize, usize, usize), u64>,
    dnssec_ok: u64,
    durations: Sums,
    request_sizes: [Sums; 2],
    response_sizes: [Sums; 2],
    responses: BTreeMap<(usize, &'static str), u64>,
}

impl Block {
    fn add(&mut self, worker: &Worker, plugins: &[&'static str]) {
        for proto in 0..2 {
            for family in 0..2 {
                for (kind, count) in worker.requests[proto][family].iter().enumerate() {
                    *self.requests.entry((proto, family, kind)).or_default() += count.get();
                }
            }
            worker.request_sizes[proto].add_to(&mut self.request_sizes[proto]);
            worker.response_sizes[proto].add_to(&mut self.response_sizes[proto]);
        }
        self.dnssec_ok += worker.dnssec_ok.get();
        worker.durations.add_to(&mut self.durations);
        for (plugin, counts) in worker.responses.iter().enumerate() {
            let name = match plugin {
                0 => "",
                place => plugins.get(place - 1).copied().unwrap_or(""),
            };
            for (rcode, count) in counts.iter().enumerate() {
                *self.responses.entry((rcode, name)).or_default() += count.get();
            }
        }
    }
}

/// Sums when it is scraped.
#[derive(Debug)]
struct Collected;

impl Collector for Collected {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut blocks: BTreeMap<Labels, Block> = BTreeMap::new();
        for traffic in all().values() {
            let block = blocks.entry(traffic.labels.clone()).or_default();
            for worker in traffic.workers.iter() {
                block.add(worker, &traffic.plugins);
            }
        }
        encode_counters(&blocks, &mut encoder)?;
        encode_histograms(&blocks, &mut encoder)
    }
}

/// The labels that every metric has.
fn base(labels: &Labels) -> [(&'static str, &str); 3] {
    [
        ("server", &labels.server),
        ("zone", &labels.zone),
        ("view", &labels.view),
    ]
}

/// One counter with its labels.
fn encode_count(
    encoder: &mut MetricEncoder<'_>,
    labels: &[(&str, &str)],
    count: u64,
) -> fmt::Result {
    let labels: Vec<(&str, &str)> = labels.to_vec();
    ConstCounter::new(count).encode(encoder.encode_family(&labels)?)
}

fn encode_counters(
    blocks: &BTreeMap<Labels, Block>,
    encoder: &mut DescriptorEncoder<'_>,
) -> fmt::Result {
    let mut requests = encoder.encode_descriptor(
        "coredns_dns_requests",
        "Counter of DNS requests made per zone, protocol and family.",
        None,
        MetricType::Counter,
    )?;
    for (labels, block) in blocks {
        let [server, zone, view] = base(labels);
        for (&(proto, family, kind), &count) in block.requests.iter().filter(|(_, n)| **n > 0) {
            let labels = [
                server,
                zone,
                view,
                ("proto", PROTOS[proto]),
                ("family", FAMILIES[family]),
                ("type", TYPES.get(kind).map_or(OTHER, |(_, name)| name)),
            ];
            encode_count(&mut requests, &labels, count)?;
        }
    }
    let mut dnssec_ok = encoder.encode_descriptor(
        "coredns_dns_do_requests",
        "Counter of DNS requests with DO bit set per zone.",
        None,
        MetricType::Counter,
    )?;
    for (labels, block) in blocks.iter().filter(|(_, block)| block.dnssec_ok > 0) {
        encode_count(&mut dnssec_ok, &base(labels), block.dnssec_ok)?;
    }
    let mut responses = encoder.encode_descriptor(
        "coredns_dns_responses",
        "Counter of response status codes.",
        None,
        MetricType::Counter,
    )?;
    for (labels, block) in blocks {
        let [server, zone, view] = base(labels);
        for (&(rcode, plugin), &count) in block.responses.iter().filter(|(_, n)| **n > 0) {
            let rcode = rcode_name(rcode);
            let labels = [server, zone, view, ("rcode", &*rcode), ("plugin", plugin)];
            encode_count(&mut responses, &labels, count)?;
        }
    }
    Ok(())
}

fn encode_histograms(
    blocks: &BTreeMap<Labels, Block>,
    encoder: &mut DescriptorEncoder<'_>,
) -> fmt::Result {
    let mut durations = encoder.encode_descriptor(
        "coredns_dns_request_duration_seconds",
        "Histogram of the time (in seconds) each request took per zone.",
        None,
        MetricType::Histogram,
    )?;
    for (labels, block) in blocks {
        let bounds = (0..DURATIONS).map(|k| (SHORTEST << k) as f64 / 1e9);
        let labels = base(labels);
        block
            .durations
            .encode(bounds, 1e9, &labels, &mut durations)?;
    }
    let mut requests = encoder.encode_descriptor(
        "coredns_dns_request_size_bytes",
        "Size of the request in bytes per zone and protocol.",
        None,
        MetricType::Histogram,
    )?;
    for (labels, block) in blocks {
        encode_sizes(labels, &block.request_sizes, &mut requests)?;
    }
    let mut responses = encoder.encode_descriptor(
        "coredns_dns_response_size_bytes",
        "Size of the returned response in bytes.",
        None,
        MetricType::Histogram,
    )?;
    for (labels, block) in blocks {
        encode_sizes(labels, &block.response_sizes, &mut responses)?;
    }
    Ok(())
}

/// The sizes over UDP and over TCP.
fn encode_sizes(
    labels: &Labels,
    sizes: &[Sums; 2],
    encoder: &mut MetricEncoder<'_>,
) -> fmt::Result {
    let [server, zone, view] = base(labels);
    for (proto, sums) in PROTOS.iter().zip(sizes) {
        let labels = [server, zone, view, ("proto", *proto)];
        let bounds = SIZES.iter().map(|&bound| f64::from(bound));
        sums.encode(bounds, 1.0, &labels, encoder)?;
    }
    Ok(())
}

/// Writes one gauge whose value is 1 for each set of labels: what `coredns_plugin_enabled` and `coredns_build_info` are.
///
/// # Errors
/// When the exposition cannot be written.
pub fn encode_ones<const N: usize>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    rows: impl IntoIterator<Item = [(&'static str, String); N]>,
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for row in rows {
        ConstGauge::new(1_i64).encode(metric.encode_family(&row)?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_hold_what_is_not_above_their_bound() {
        for (nanos, bucket) in [
            (0, 0),
            (250_000, 0),
            (250_001, 1),
            (500_000, 1),
            (500_001, 2),
            (1_000_000, 2),
            (8_192_000_000, 15),
            (8_192_000_001, 16),
            (u64::MAX, 16),
        ] {
            assert_eq!(duration_bucket(nanos), bucket, "{nanos}");
        }
        for (octets, bucket) in [
            (0, 0),
            (1, 1),
            (100, 1),
            (101, 2),
            (511, 5),
            (512, 6),
            (64_000, 13),
            (64_001, 14),
        ] {
            assert_eq!(size_bucket(octets), bucket, "{octets}");
        }
    }

    #[test]
    fn a_list_that_grows_keeps_its_places() {
        let list = Grow::default();
        for index in [0, 1, 2, 3, 1_000, 65_535] {
            assert!(list.get(index).is_none(), "{index}");
            assert_eq!(list.get_or_init(index, || index), Some(&index));
            assert_eq!(list.get_or_init(index, || 0), Some(&index));
        }
        assert_eq!(list.get(1_000), Some(&1_000));
        assert!(list.get(999).is_none());
        assert_eq!(
            list.iter().copied().collect::<Vec<_>>(),
            [0, 1, 2, 3, 1_000, 65_535]
        );
        assert!(list.get_or_init(usize::MAX >> 1, || 0).is_none());
    }
}
