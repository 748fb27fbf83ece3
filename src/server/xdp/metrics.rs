//! What the kernel and the workers count of each queue, read when the metrics are.

use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::listener::frames::QueueCounts;
use crate::listener::udp_xdp::{QueueSocket, Statistics, statistics};

/// A queue that is served.
pub(super) struct Tapped {
    interface: String,
    mode: &'static str,
    queue: u32,
    /// To ask the kernel by; the queue is let go with it.
    socket: Option<OwnedFd>,
    counts: QueueCounts,
}

impl Tapped {
    pub(super) fn of(
        interface: &str,
        mode: &'static str,
        socket: &QueueSocket,
        counts: &QueueCounts,
    ) -> Self {
        Self {
            interface: interface.to_owned(),
            mode,
            queue: socket.queue().number,
            socket: socket.twin().ok(),
            counts: counts.clone(),
        }
    }
}

static ALL: Mutex<Vec<Tapped>> = Mutex::new(Vec::new());

fn all() -> MutexGuard<'static, Vec<Tapped>> {
    ALL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Shows a queue from now on.
pub(super) fn add(tapped: Tapped) {
    static REGISTERED: Once = Once::new();
    REGISTERED.call_once(|| telemetry::metrics::collector(Box::new(Collected)));
    all().push(tapped);
}

/// No longer shows the queues of an interface.
pub(super) fn remove(interface: &str) {
    all().retain(|tapped| tapped.interface != interface);
}

/// One row for each queue.
#[derive(Debug)]
struct Collected;

/// A count of a queue, by its name and help text.
type Column = (&'static str, &'static str, fn(&Tapped, &Statistics) -> u64);

const COLUMNS: [Column; 9] = [
    (
        "nameplate_xdp_queries",
        "Counter of queries that were taken below the kernel's UDP stack.",
        |tapped, _| tapped.counts.queries.get(),
    ),
    (
        "nameplate_xdp_responses",
        "Counter of responses that left in the frames of their queries.",
        |tapped, _| tapped.counts.responses.get(),
    ),
    (
        "nameplate_xdp_malformed",
        "Counter of frames with a wrong checksum or length, or an impossible sender.",
        |tapped, _| tapped.counts.malformed.get(),
    ),
    (
        "nameplate_xdp_rx_dropped",
        "Counter of frames that the kernel dropped for other reasons than a full ring.",
        |_, kernel| kernel.rx_dropped,
    ),
    (
        "nameplate_xdp_rx_ring_full",
        "Counter of frames that the kernel dropped because the receive ring was full.",
        |_, kernel| kernel.rx_ring_full,
    ),
    (
        "nameplate_xdp_fill_ring_empty",
        "Counter of how often the kernel had no frame to receive into.",
        |_, kernel| kernel.fill_ring_empty,
    ),
    (
        "nameplate_xdp_rx_invalid",
        "Counter of descriptors in the fill ring that the kernel refused.",
        |_, kernel| kernel.rx_invalid,
    ),
    (
        "nameplate_xdp_tx_invalid",
        "Counter of descriptors in the transmit ring that the kernel refused.",
        |_, kernel| kernel.tx_invalid,
    ),
    (
        "nameplate_xdp_tx_ring_empty",
        "Counter of how often the kernel found the transmit ring empty.",
        |_, kernel| kernel.tx_ring_empty,
    ),
];

impl Collector for Collected {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let all = all();
        if all.is_empty() {
            return Ok(());
        }
        let rows: Vec<(String, Statistics)> = all
            .iter()
            .map(|tapped| {
                let kernel = tapped.socket.as_ref().map(statistics);
                let kernel = kernel.and_then(Result::ok).unwrap_or_default();
                (tapped.queue.to_string(), kernel)
            })
            .collect();
        for (name, help, count) in COLUMNS {
            let help = help.trim_end_matches('.');
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (tapped, (queue, kernel)) in all.iter().zip(&rows) {
                let labels = [("interface", tapped.interface.as_str()), ("queue", queue)];
                ConstCounter::new(count(tapped, kernel)).encode(metric.encode_family(&labels)?)?;
            }
        }
        let mut attached = encoder.encode_descriptor(
            "nameplate_xdp_attached",
            "Queues of an interface from which queries are taken, by the mode of the filter",
            None,
            MetricType::Gauge,
        )?;
        let mut before: &str = "";
        for tapped in all.iter() {
            if tapped.interface == before {
                continue;
            }
            before = &tapped.interface;
            let same = all.iter().filter(|one| one.interface == before);
            let labels = [("interface", before), ("mode", tapped.mode)];
            ConstGauge::new(same.count() as i64).encode(attached.encode_family(&labels)?)?;
        }
        Ok(())
    }
}
