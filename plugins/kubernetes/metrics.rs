//! Metrics: how long a change took to be served and what was asked of the API, by CoreDNS's names, and how old the state is.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use source::Age;
use telemetry::metrics;

use super::entry::{Form, Service};
use super::snapshot::Shared;

type Labels = Vec<(&'static str, String)>;

/// From 1 ms to about 17 minutes, as CoreDNS has it.
#[derive(Clone, Copy, Debug)]
struct Buckets;

impl MetricConstructor<Histogram> for Buckets {
    fn new_metric(&self) -> Histogram {
        Histogram::new(exponential_buckets(0.001, 2.0, 20))
    }
}

/// `coredns_kubernetes_dns_programming_duration_seconds`.
pub(super) struct Programmed(Family<Labels, Histogram, Buckets>);

impl Programmed {
    /// The process's.
    pub(super) fn new() -> Self {
        Self(metrics::family_with(
            "coredns_kubernetes_dns_programming_duration_seconds",
            "Histogram of the time (in seconds) it took to program a dns instance.",
            Buckets,
        ))
    }

    /// Counts a change of a slice that was triggered then and is served now.
    pub(super) fn observe(&self, triggered: Option<&str>, service: Option<&Service>) {
        let (Some(triggered), Some(service)) = (triggered.and_then(seconds), service) else {
            return;
        };
        let kind = match service.form {
            Form::Headless => "headless_with_selector",
            Form::Addresses(_) | Form::Alias(_) => "cluster_ip",
        };
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let took = now.as_secs_f64() - triggered;
        let labels = vec![("service_kind", kind.to_owned())];
        self.0.get_or_create(&labels).observe(took);
    }
}

/// client-go's bounds of the times that requests take.
#[derive(Clone, Copy, Debug)]
struct Latencies;

impl MetricConstructor<Histogram> for Latencies {
    fn new_metric(&self) -> Histogram {
        Histogram::new([
            0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
        ])
    }
}

/// Requests to the API, as CoreDNS counts those of client-go.
pub(super) struct Requests {
    waited: Family<Labels, Histogram, Latencies>,
    took: Family<Labels, Histogram, Latencies>,
    results: Family<Labels, Counter>,
}

impl Requests {
    /// The process's.
    pub(super) fn new() -> Self {
        Self {
            waited: metrics::family_with(
                "coredns_kubernetes_rest_client_rate_limiter_duration_seconds",
                "Client side rate limiter latency in seconds. Broken down by verb and host.",
                Latencies,
            ),
            took: metrics::family_with(
                "coredns_kubernetes_rest_client_request_duration_seconds",
                "Request latency in seconds. Broken down by verb and host.",
                Latencies,
            ),
            results: metrics::family(
                "coredns_kubernetes_rest_client_requests",
                "Number of HTTP requests, partitioned by status code, method, and host.",
            ),
        }
    }

    /// Counts a request to `host`: how long it waited for its turn and then for the response to begin, and the response's status.
    pub(super) fn count(&self, host: &str, waited: Duration, took: Duration, code: Option<u16>) {
        let get = |name| vec![(name, "GET".to_owned()), ("host", host.to_owned())];
        let labels = get("verb");
        self.waited
            .get_or_create(&labels)
            .observe(waited.as_secs_f64());
        self.took.get_or_create(&labels).observe(took.as_secs_f64());
        let code = code.map_or_else(|| "<error>".to_owned(), |code| code.to_string());
        let mut labels = get("method");
        labels.push(("code", code));
        self.results.get_or_create(&labels).inc();
    }
}

/// Reads a time of RFC 3339 as seconds since 1970.
pub(super) fn seconds(text: &str) -> Option<f64> {
    let number = |range: std::ops::Range<usize>| text.get(range)?.parse::<i64>().ok();
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    let separators = [
        text.get(4..5)?,
        text.get(7..8)?,
        text.get(13..14)?,
        text.get(16..17)?,
    ];
    if separators != ["-", "-", ":", ":"] || !(1..=12).contains(&month) {
        return None;
    }
    let rest = text.get(19..)?;
    let digits = rest.strip_prefix('.').map_or("", |rest| {
        let end = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        &rest[..end]
    });
    let fraction = format!("0.{digits}0").parse::<f64>().ok()?;
    let zone = rest.get(
        if digits.is_empty() {
            0
        } else {
            1 + digits.len()
        }..,
    )?;
    let offset = match zone.as_bytes() {
        [b'Z' | b'z'] => 0,
        [sign @ (b'+' | b'-'), ..] if zone.len() == 6 => {
            let minutes =
                zone.get(1..3)?.parse::<i64>().ok()? * 60 + zone.get(4..6)?.parse::<i64>().ok()?;
            if *sign == b'-' { -minutes } else { minutes }
        }
        _ => return None,
    };
    // Days since 1970 by the civil calendar, years beginning in March so that the leap day is the last.
    let (y, m) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let era = y.div_euclid(400);
    let of_era = y.rem_euclid(400);
    let of_year = (153 * m + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    let whole = days * 86_400 + hour * 3_600 + minute * 60 + second - offset * 60;
    Some(whole as f64 + fraction)
}

/// Shows the age of a cluster's state, under the directive's first zone.
pub(super) fn show_age(zone: &str, shared: &Arc<Shared>) {
    let family: Family<Labels, Age> = metrics::family(
        "coredns_kubernetes_state_age_seconds",
        "How long a watch of the cluster has been broken; 0 while all work.",
    );
    let labels = vec![("zone", zone.to_owned())];
    family.get_or_create(&labels).show(shared);
}
