//! `prometheus`: counts queries and serves all metrics of the process.
//!
//! What a query touches are integers of its worker ([`telemetry::traffic`]), found by the block's number; everything that has a name
//! is put together when it is scraped.

mod process;
mod setup;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, Once, OnceLock, PoisonError, Weak};

use chain::admin::{Page, PageRequest};
use chain::{Admits, BlockInfo, Failure, Flow, Hooks, Plugin, Query, Turn};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use telemetry::metrics;
use telemetry::traffic::{Grow, Traffic, encode_ones};
use wire::Response;

pub(crate) use setup::REGISTRATION;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// `prometheus` of one server block: the counts of each listener and zone that it stands in, by the block's number.
pub(crate) struct Prometheus {
    traffic: Grow<Arc<Traffic>>,
    blocks: Arc<Attached>,
}

/// The blocks that one plugin learnt of.
type Attached = Mutex<Vec<BlockInfo>>;

impl Prometheus {
    fn new() -> Self {
        let blocks = Arc::new(Attached::default());
        lock(live()).push(Arc::downgrade(&blocks));
        static REGISTERED: Once = Once::new();
        REGISTERED.call_once(|| {
            metrics::collector(Box::new(Facts));
            metrics::collector(Box::new(process::Process));
            metrics::panics();
        });
        Self {
            traffic: Grow::default(),
            blocks,
        }
    }
}

/// The plugins at work; a snapshot that goes takes its own away.
fn live() -> &'static Mutex<Vec<Weak<Attached>>> {
    static LIVE: OnceLock<Mutex<Vec<Weak<Attached>>>> = OnceLock::new();
    LIVE.get_or_init(Mutex::default)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Plugin for Prometheus {
    fn name(&self) -> &'static str {
        "prometheus"
    }

    fn admits(&self) -> Admits {
        Admits::WATCHED
    }

    fn hooks(&self) -> Hooks {
        Hooks::BOTH
    }

    fn attach(&self, block: &BlockInfo) {
        self.traffic.get_or_init(block.index, || block.traffic());
        lock(&self.blocks).push(block.clone());
    }

    /// Counts the query here, so that one that nobody answers counts too.
    fn query(&self, query: &mut Query<'_>, _: &mut Response<'_>) -> Result<Flow, Failure> {
        if let Some(traffic) = self.traffic.get(query.block().info.index) {
            let asked = query.asked();
            let octets = query.message().len();
            let source = query.context().source();
            traffic.asked(source, asked.qtype, octets, asked.dnssec_ok());
        }
        Ok(Flow::Next)
    }

    fn response(&self, query: &mut Query<'_>, response: &mut Response<'_>) -> Turn {
        if let Some(traffic) = self.traffic.get(query.block().info.index) {
            let duration = host::clock::now().saturating_sub(query.received());
            traffic.answered(
                query.context().source(),
                query.answered_by(),
                response.rcode(),
                response.len(),
                duration,
            );
        }
        Turn::Up
    }
}

/// What the process is made of: its build, and the plugins of its blocks.
#[derive(Debug)]
struct Facts;

impl Collector for Facts {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let revision = option_env!("NAMEPLATE_REVISION").unwrap_or("").to_owned();
        let compiler = concat!("rust", env!("CARGO_PKG_RUST_VERSION")).to_owned();
        encode_ones(
            &mut encoder,
            "coredns_build_info",
            "A metric with a constant '1' value labeled by version, revision, and goversion from which the server was built.",
            [[
                ("version", version),
                ("revision", revision),
                ("goversion", compiler),
            ]],
        )?;
        let mut rows = Vec::new();
        lock(live()).retain(|attached| {
            let Some(attached) = attached.upgrade() else {
                return false;
            };
            for block in lock(&attached).iter() {
                rows.extend(block.plugins.iter().map(|name| {
                    [
                        ("server", block.server.to_string()),
                        ("zone", block.zone.to_string()),
                        ("view", block.view.to_string()),
                        ("name", (*name).to_owned()),
                    ]
                }));
            }
            true
        });
        // Two snapshots may be at work for a moment.
        rows.sort();
        rows.dedup();
        encode_ones(
            &mut encoder,
            "coredns_plugin_enabled",
            "A metric that indicates whether a plugin is enabled on per server and zone basis.",
            rows,
        )
    }
}

/// The page: OpenMetrics for those who ask for it, else the older text format.
fn page(request: &PageRequest<'_>) -> Page {
    let open = request.accept.split(',').any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let refused = |part: &str| matches!(part.strip_prefix("q="), Some("0" | "0.0"));
        parts.next() == Some("application/openmetrics-text") && !parts.any(refused)
    });
    let (content_type, body) = if open {
        (OPEN_METRICS, metrics::encode())
    } else {
        (TEXT, metrics::encode_text())
    };
    Page {
        status: 200,
        content_type,
        body: body.into_bytes(),
    }
}
