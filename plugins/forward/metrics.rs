//! What `forward` counts beside what its upstreams do, under CoreDNS's names.

use prometheus_client::metrics::counter::Counter;
use telemetry::metrics::metric;

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
