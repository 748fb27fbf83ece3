//! `loop`: finds out at start whether queries that we forward come back to us.
//!
//! A task sends `HINFO <random>.<random>.<zone>` to the block's own listener; the handler counts how often that name passes. Once
//! is the probe itself; more than twice is a loop, and the process ends. All that a query costs otherwise is a look at its QTYPE.

mod setup;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use chain::{BlockInfo, Failure, Flow, Plugin, Query};
use rand::RngExt;
pub(crate) use setup::REGISTRATION;
use tokio::net::UdpSocket;
use tokio::time::{Instant, sleep, timeout};
use wire::{Class, Flags, HEADER_LEN, Header, NameBuf, NameError, Response, Type};

/// How long probing goes on while nobody answers.
const TRIES: Duration = Duration::from_secs(30);
/// How long one probe waits.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long an answered probe may still go round.
const LINGER: Duration = Duration::from_secs(2);

/// How often the probe may pass.
const MOST: u32 = 2;

/// The detector of one server block.
pub(crate) struct Loop {
    zone: NameBuf,
    qname: NameBuf,
    seen: AtomicU32,
    off: AtomicBool,
    listener: OnceLock<String>,
    /// What to do about a loop; ends the process.
    found: fn(&str),
}

impl Loop {
    /// For the first zone of a block.
    fn new(zone: NameBuf, found: fn(&str)) -> Result<Self, NameError> {
        let mut random = host::random::rng();
        let mut qname = zone;
        for _ in 0..2 {
            let label = random.random_range(0..1u64 << 62).to_string();
            qname = NameBuf::prepend(label.as_bytes(), qname.as_name())?;
        }
        Ok(Self {
            zone,
            qname,
            seen: AtomicU32::new(0),
            off: AtomicBool::new(false),
            listener: OnceLock::new(),
            found,
        })
    }

    /// Sends the probe until somebody answers, for 30 s at most; then the detector is off.
    async fn probe(self: Arc<Self>) {
        let until = Instant::now() + TRIES;
        let targets = self
            .listener
            .get()
            .map(|at| targets(at))
            .unwrap_or_default();
        'probing: while Instant::now() < until && !targets.is_empty() {
            for &target in &targets {
                if self.ask(target).await.is_ok() {
                    sleep(LINGER).await;
                    break 'probing;
                }
            }
            self.seen.store(0, Ordering::Relaxed);
            sleep(Duration::from_secs(1)).await;
        }
        self.off.store(true, Ordering::Relaxed);
    }

    /// Sends one probe and waits for its reply.
    async fn ask(&self, target: SocketAddr) -> std::io::Result<()> {
        let any: IpAddr = match target {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = UdpSocket::bind((any, 0)).await?;
        socket.connect(target).await?;
        let header = Header {
            id: host::random::random(),
            flags: Flags(Flags::RD),
            counts: [1, 0, 0, 0],
        };
        let mut query = header.to_octets().to_vec();
        query.extend_from_slice(self.qname.as_name().octets());
        query.extend_from_slice(&Type::HINFO.0.to_be_bytes());
        query.extend_from_slice(&Class::IN.0.to_be_bytes());
        socket.send(&query).await?;
        let mut reply = [0; 512];
        let heard = async {
            loop {
                let len = socket.recv(&mut reply).await?;
                if len >= HEADER_LEN && reply[..2] == query[..2] {
                    return Ok(());
                }
            }
        };
        timeout(PATIENCE, heard).await?
    }
}

impl Plugin for Loop {
    fn name(&self) -> &'static str {
        "loop"
    }

    fn query(&self, query: &mut Query<'_>, _: &mut Response<'_>) -> Result<Flow, Failure> {
        if query.qtype() != Type::HINFO
            || self.off.load(Ordering::Relaxed)
            || !query.name().is_within(self.zone.as_name())
        {
            return Ok(Flow::Next);
        }
        let mut seen = self.seen.load(Ordering::Relaxed);
        if query.name() == self.qname.as_name() {
            seen = self.seen.fetch_add(1, Ordering::Relaxed) + 1;
        }
        if seen > MOST {
            let at = self.listener.get().map_or("", |at| bare(at).1);
            (self.found)(&format!(
                "Loop ({} -> {at}) detected for zone \"{}\", see https://coredns.io/plugins/loop#troubleshooting. Query: \"HINFO {}\"",
                query.peer(),
                self.zone,
                self.qname,
            ));
        }
        Ok(Flow::Next)
    }

    fn attach(&self, block: &BlockInfo) {
        if bare(&block.server).0 == "dns" {
            let _ = self.listener.set(block.server.to_string());
        }
    }
}

/// Says what was found, and ends the process: to go on would take all memory and all time of the host. The log does both, so that its
/// last line is written before; without a log the process ends all the same.
fn stop(what: &str) {
    tracing::error!(target: "plugin/loop", fatal = true, "{what}");
    std::process::exit(1);
}

/// A listener's scheme and address: `dns` and `:53`.
fn bare(server: &str) -> (&str, &str) {
    server.split_once("://").unwrap_or(("dns", server))
}

/// Where a listener can be reached from here: every address means loopback.
fn targets(server: &str) -> Vec<SocketAddr> {
    let address = bare(server).1;
    let loopback = |port: u16| {
        let both: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        both.map(|ip| SocketAddr::new(ip, port)).to_vec()
    };
    if let Some(port) = address.strip_prefix(':') {
        return port.parse().map(loopback).unwrap_or_default();
    }
    match address.parse::<SocketAddr>() {
        Ok(address) if address.ip().is_unspecified() => loopback(address.port()),
        Ok(address) => vec![address],
        Err(_) => Vec::new(),
    }
}
