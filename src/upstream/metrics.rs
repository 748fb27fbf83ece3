//! What is counted of an upstream, under CoreDNS's names; labels are resolved when the upstream is built. `proxy` is the directive that
//! asks.

use std::sync::OnceLock;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use telemetry::metrics::{Striped, StripedDurations, family};
use wire::Rcode;

use crate::transaction::Transport;

/// Transports that any plain upstream may be asked over: UDP, TCP and TLS.
const EAGER: usize = 3;
/// The others, whose counters appear when one is used.
const LATE: [Transport; 3] = [Transport::Https, Transport::Quic, Transport::Grpc];
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

/// Failed health checks of an upstream.
pub(crate) fn healthcheck_failures(proxy: &'static str, to: &str) -> Counter {
    let failures = family::<To, Counter>(
        "coredns_proxy_healthcheck_failures",
        "Counter of the number of failed healthchecks.",
    );
    failures.get_or_create_owned(&To {
        proxy_name: proxy,
        to: to.to_owned(),
    })
}

/// How often a socket or connection to an upstream was there already, and how often one had to be opened.
fn sockets(proxy: &'static str, to: &str, transport: Transport) -> (Striped, Striped) {
    let labels = ToProto {
        proxy_name: proxy,
        to: to.to_owned(),
        proto: transport.label(),
    };
    let hits = family::<ToProto, Striped>(
        "coredns_proxy_conn_cache_hits",
        "Counter of connection cache hits per upstream and protocol.",
    );
    let misses = family::<ToProto, Striped>(
        "coredns_proxy_conn_cache_misses",
        "Counter of connection cache misses per upstream and protocol.",
    );
    (
        hits.get_or_create_owned(&labels),
        misses.get_or_create_owned(&labels),
    )
}

/// The metrics of one upstream.
pub struct UpstreamMetrics {
    proxy: &'static str,
    to: String,
    durations: Family<ToRcode, StripedDurations>,
    by_rcode: [OnceLock<StripedDurations>; RCODES],
    hits: [Striped; EAGER],
    misses: [Striped; EAGER],
    /// Hits and misses.
    late: [OnceLock<(Striped, Striped)>; LATE.len()],
}

impl UpstreamMetrics {
    /// Resolves the labels of `to`, which `proxy` asks.
    pub fn new(proxy: &'static str, to: &str) -> Self {
        let sockets = [Transport::Udp, Transport::Tcp, Transport::Tls]
            .map(|transport| sockets(proxy, to, transport));
        Self {
            proxy,
            to: to.to_owned(),
            durations: family(
                "coredns_proxy_request_duration_seconds",
                "Histogram of the time each request took.",
            ),
            by_rcode: Default::default(),
            hits: sockets.each_ref().map(|(hits, _)| hits.clone()),
            misses: sockets.map(|(_, misses)| misses),
            late: Default::default(),
        }
    }

    /// A socket was there already, or had to be opened.
    #[inline]
    pub fn socket(&self, worker: usize, transport: Transport, reused: bool) {
        let counters = if reused { &self.hits } else { &self.misses };
        match counters.get(transport as usize) {
            Some(counter) => counter.inc(worker),
            None => self.late_socket(worker, transport, reused),
        }
    }

    /// The same for a transport whose counters appear when it is used.
    #[cold]
    fn late_socket(&self, worker: usize, transport: Transport, reused: bool) {
        let place = LATE.iter().position(|&late| late == transport);
        if let Some(counters) = place.and_then(|at| self.late.get(at)) {
            let (hits, misses) = counters.get_or_init(|| sockets(self.proxy, &self.to, transport));
            if reused { hits } else { misses }.inc(worker);
        }
    }

    /// A reply came.
    #[inline]
    pub fn reply(&self, worker: usize, rcode: Rcode, nanos: u64) {
        let make = || {
            let name = rcode
                .mnemonic()
                .map_or_else(|| rcode.0.to_string(), str::to_owned);
            self.durations.get_or_create_owned(&ToRcode {
                proxy_name: self.proxy,
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
