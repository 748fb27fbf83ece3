//! `health`: a page that says that the process lives, and a look at it each second that says how well.

mod setup;
#[cfg(test)]
mod tests;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chain::admin::{Page, Serve};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::Histogram;
use telemetry::metrics;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{MissedTickBehavior, interval_at, timeout};

pub(crate) use setup::REGISTRATION;

/// The time between two looks, and from when on a look is slow.
const SECOND: Duration = Duration::from_secs(1);
/// The longest that a look may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// The page: a process that can say so is healthy, also on its way out.
fn page() -> Serve {
    Arc::new(|_| Page::text(200, "OK"))
}

/// The two metrics.
#[derive(Clone)]
struct Metrics {
    duration: Histogram,
    failures: Counter,
}

impl Metrics {
    fn get() -> Self {
        Self {
            duration: metrics::metric(
                "coredns_health_request_duration_seconds",
                "Histogram of the time (in seconds) each request took.",
                || Histogram::new([0.000_25, 0.002_5, 0.025, 0.25, 2.5]),
            ),
            failures: metrics::metric(
                "coredns_health_request_failures",
                "The number of times the health check failed.",
                Counter::default,
            ),
        }
    }
}

/// Looks at the page each second.
async fn watch(address: SocketAddr, shown: String, metrics: Metrics) {
    let mut ticks = interval_at(tokio::time::Instant::now() + SECOND, SECOND);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        look(address, &shown, &metrics).await;
    }
}

/// Looks at the page once.
async fn look(address: SocketAddr, shown: &str, metrics: &Metrics) {
    let begun = Instant::now();
    let outcome = timeout(PATIENCE, get(address))
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    let took = begun.elapsed();
    metrics.duration.observe(took.as_secs_f64());
    if let Err(error) = outcome {
        metrics.failures.inc();
        tracing::warn!(target: "plugin/health", "Local health request to \"{shown}\" failed: {error}");
    } else if took > SECOND {
        tracing::warn!(target: "plugin/health", "Local health request to \"{shown}\" took more than 1s: {took:?}");
    }
}

/// GET /health over a connection of its own (RFC 1945, section 5): an answer of any status will do.
async fn get(address: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect(reachable(address)).await?;
    stream
        .write_all(
            b"GET /health HTTP/1.0\r\nHost: localhost\r\nUser-Agent: nameplate-health\r\n\r\n",
        )
        .await?;
    let mut status = [0; 7];
    stream.read_exact(&mut status).await?;
    if &status == b"HTTP/1." {
        Ok(())
    } else {
        Err(io::ErrorKind::InvalidData.into())
    }
}

/// An address to connect to where `address` is listened on: every address is also the loopback one.
fn reachable(address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), address.port())
    } else {
        address
    }
}
