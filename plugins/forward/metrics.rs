//! What `forward` counts, under CoreDNS's names; labels are resolved when the upstream is built.

use std::sync::OnceLock;

use chain::metrics::{Striped, StripedDurations, family, metric};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use wire::Rcode;

/// The value of `proxy_name`.
const PROXY: &str = "forward";
/// RCODEs whose histogram is kept at hand.
const RCODES: usize = 24;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct To {
    proxy_name: &'static str,
    to: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ToProto {
    proxy_name: &'static str,
    to: String,
    proto: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ToRcode {
    proxy_name: &'static str,
    to: String,
    rcode: String,
}

/// Queries that met only upstreams marked down.
pub(super) fn healthcheck_broken() -> Counter {
    metric(
        "coredns_forward_healthcheck_broken",
        "Counter of the number of complete failures of the healthchecks.",
        Counter::default,
    )
}

/// Queries refused because too many were waiting.
pub(super) fn max_concurrent_rejects() -> Counter {
    metric(
        "coredns_forward_max_concurrent_rejects",
        "Counter of the number of queries rejected because the concurrent queries were at maximum.",
        Counter::default,
    )
}

/// How an upstream is spoken to, as the metrics name it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Proto {
    /// Do53 over UDP.
    Udp,
    /// Do53 over TCP.
    Tcp,
    /// DNS over TLS.
    Tls,
}

impl Proto {
    /// The label.
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tcp-tls",
        }
    }
}

/// The metrics of one upstream.
pub(super) struct UpstreamMetrics {
    to: String,
    durations: Family<ToRcode, StripedDurations>,
    by_rcode: [OnceLock<StripedDurations>; RCODES],
    /// Failed health checks.
    pub(super) check_failures: Counter,
    hits: [Striped; 3],
    misses: [Striped; 3],
}

impl UpstreamMetrics {
    /// Resolves the labels of `to`.
    pub(super) fn new(to: &str) -> Self {
        let hits = family::<ToProto, Striped>(
            "coredns_proxy_conn_cache_hits",
            "Counter of connection cache hits per upstream and protocol.",
        );
        let misses = family::<ToProto, Striped>(
            "coredns_proxy_conn_cache_misses",
            "Counter of connection cache misses per upstream and protocol.",
        );
        let failures = family::<To, Counter>(
            "coredns_proxy_healthcheck_failures",
            "Counter of the number of failed healthchecks.",
        );
        let labels = |proto: Proto| ToProto {
            proxy_name: PROXY,
            to: to.to_owned(),
            proto: proto.label(),
        };
        let protos = [Proto::Udp, Proto::Tcp, Proto::Tls];
        Self {
            to: to.to_owned(),
            durations: family(
                "coredns_proxy_request_duration_seconds",
                "Histogram of the time each request took.",
            ),
            by_rcode: Default::default(),
            check_failures: failures.get_or_create_owned(&To {
                proxy_name: PROXY,
                to: to.to_owned(),
            }),
            hits: protos.map(|proto| hits.get_or_create_owned(&labels(proto))),
            misses: protos.map(|proto| misses.get_or_create_owned(&labels(proto))),
        }
    }

    /// A socket was there already, or had to be opened.
    pub(super) fn socket(&self, worker: usize, proto: Proto, reused: bool) {
        let counters = if reused { &self.hits } else { &self.misses };
        counters[proto as usize].inc(worker);
    }

    /// A reply came.
    pub(super) fn reply(&self, worker: usize, rcode: Rcode, nanos: u64) {
        let make = || {
            let name = rcode
                .mnemonic()
                .map_or_else(|| rcode.0.to_string(), str::to_owned);
            self.durations.get_or_create_owned(&ToRcode {
                proxy_name: PROXY,
                to: self.to.clone(),
                rcode: name,
            })
        };
        match self.by_rcode.get(rcode.0 as usize) {
            Some(known) => known.get_or_init(make).observe(worker, nanos),
            None => make().observe(worker, nanos),
        }
    }
}
