//! An upstream: where it is, how it is spoken to, whether it is believed to be up.
//!
//! One [`Upstream`] is shared by all workers; what changes are two atomics. Sockets belong to the workers.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use chain::setup::BuildError;
use socket2::{Domain, Protocol, Socket, Type as SocketType};
use wire::{Flags, Message, NameBuf, Type};

use super::metrics::{Proto, UpstreamMetrics};
use super::setup::Options;
use super::target::{Place, Scheme, Target};
use super::tls::TlsClient;

/// An upstream.
pub(super) struct Upstream {
    /// Where it is.
    pub(super) address: SocketAddr,
    /// The address as metrics and messages write it.
    pub(super) label: String,
    /// How TLS is spoken to it, if so.
    pub(super) tls: Option<TlsClient>,
    /// The address that queries are sent from.
    pub(super) source: Option<IpAddr>,
    /// Its metrics.
    pub(super) metrics: UpstreamMetrics,
    fails: AtomicU32,
    probing: AtomicBool,
}

impl Upstream {
    /// At `address`.
    pub(super) fn new(address: SocketAddr, tls: Option<TlsClient>, source: Option<IpAddr>) -> Self {
        let label = address.to_string();
        Self {
            address,
            tls,
            source,
            metrics: UpstreamMetrics::new(&label),
            label,
            fails: AtomicU32::new(0),
            probing: AtomicBool::new(false),
        }
    }

    /// Whether more health checks in a row failed than `max_fails`; 0 is never.
    pub(super) fn is_down(&self, max_fails: u32) -> bool {
        max_fails != 0 && self.fails.load(Ordering::Relaxed) > max_fails
    }

    /// Whether it failed a query and has not answered a probe since.
    #[inline]
    pub(super) fn is_doubted(&self) -> bool {
        self.probing.load(Ordering::Relaxed)
    }

    /// Whether the last probe failed.
    pub(super) fn is_failing(&self) -> bool {
        self.fails.load(Ordering::Relaxed) != 0
    }

    /// Notes how a health check ended.
    pub(super) fn checked(&self, healthy: bool) {
        if healthy {
            self.fails.store(0, Ordering::Relaxed);
        } else {
            self.metrics.check_failures.inc();
            // Only the one probe at work writes, so the sum cannot be lost.
            let fails = self.fails.load(Ordering::Relaxed);
            self.fails.store(fails.saturating_add(1), Ordering::Relaxed);
        }
    }

    /// Becomes the one prober; `false` when there is one.
    pub(super) fn begin_probing(&self) -> bool {
        !self.probing.swap(true, Ordering::AcqRel)
    }

    /// Lets another one probe.
    pub(super) fn end_probing(&self) {
        self.probing.store(false, Ordering::Release);
    }

    /// A socket for it: not blocking, bound to the source address if there is one.
    pub(super) fn socket(&self, stream: bool) -> io::Result<Socket> {
        let domain = Domain::for_address(self.address);
        let socket = match stream {
            true => Socket::new(domain, SocketType::STREAM, Some(Protocol::TCP))?,
            false => Socket::new(domain, SocketType::DGRAM, Some(Protocol::UDP))?,
        };
        socket.set_nonblocking(true)?;
        if let Some(source) = self.source {
            socket.bind(&SocketAddr::new(source, 0).into())?;
        }
        Ok(socket)
    }

    /// The transport of a query that comes by `asked`.
    pub(super) fn proto(&self, asked: Proto) -> Proto {
        if self.tls.is_some() {
            Proto::Tls
        } else {
            asked
        }
    }
}

/// Finds all addresses of a `forward` line, in order and each once.
pub(super) fn open(options: &Options) -> Result<Box<[Arc<Upstream>]>, BuildError> {
    let mut seen = HashSet::new();
    let mut out = Vec::new();
    let mut config = None;
    if !options.tls.is_empty() {
        config = Some(options.tls.config()?);
    }
    for target in &options.to {
        for address in addresses(target, &options.resolvers)? {
            if !seen.insert(address) {
                continue;
            }
            let tls = match target.scheme {
                Scheme::Dns => None,
                Scheme::Tls => {
                    let config = match &config {
                        Some(config) => config.clone(),
                        None => config.insert(options.tls.config()?).clone(),
                    };
                    let name = target.server_name().or(options.tls_server_name.as_deref());
                    Some(TlsClient::new(&config, name, address.ip())?)
                }
            };
            out.push(Arc::new(Upstream::new(address, tls, options.source)));
        }
    }
    if out.is_empty() {
        return Err(BuildError::new("no valid upstream addresses found"));
    }
    Ok(out.into())
}

/// Warns of systemd-resolved's stub when we listen on every address: where it forwards to us, queries go round.
pub(super) fn warn_of_stub(upstreams: &[Arc<Upstream>]) {
    for upstream in upstreams {
        let stub = |last| upstream.address.ip() == IpAddr::from([127, 0, 0, last]);
        if stub(53) || stub(54) {
            tracing::warn!(
                target: "plugin/forward",
                "upstream {} is the stub of systemd-resolved; should it forward to this server, queries loop. Its own upstreams stand in /run/systemd/resolve/resolv.conf",
                upstream.label
            );
        }
    }
}

/// The addresses that a target stands for.
fn addresses(target: &Target, resolvers: &[SocketAddr]) -> Result<Vec<SocketAddr>, BuildError> {
    let (text, host, port) = match &target.place {
        Place::Address(address) => return Ok(vec![scoped(*address, target)]),
        Place::Named { text, host, port } => (text, host, *port),
    };
    match fs::read_to_string(text) {
        Ok(file) if target.scheme == Scheme::Dns => Ok(nameservers(&file)),
        Ok(_) => Err(BuildError::new(format!(
            "{target}: the nameservers of a file are asked without TLS; name an address"
        ))),
        Err(error) => {
            let Some(host) = host else {
                return Err(BuildError::new(format!(
                    "not an IP address or file \"{text}\": failed to open file: {error}"
                )));
            };
            let found = if resolvers.is_empty() {
                system_look_up(host)
            } else {
                look_up(host, resolvers)
            };
            match found {
                Ok(addresses) => Ok(addresses
                    .into_iter()
                    .map(|ip| SocketAddr::new(ip, port))
                    .collect()),
                Err(why) => Err(BuildError::new(format!(
                    "failed to resolve \"{host}\": {why}"
                ))),
            }
        }
    }
}

/// A link-local address with the interface that stands behind `%`.
fn scoped(address: SocketAddr, target: &Target) -> SocketAddr {
    let (SocketAddr::V6(mut v6), Scheme::Dns, Some(zone)) = (address, target.scheme, &target.zone)
    else {
        return address;
    };
    let index = zone.parse().ok().or_else(|| {
        let safe = !zone.contains(['/', '.']);
        let text =
            safe.then(|| fs::read_to_string(format!("/sys/class/net/{zone}/ifindex")).ok())?;
        text?.trim().parse().ok()
    });
    v6.set_scope_id(index.unwrap_or(0));
    v6.into()
}

/// The nameservers of a resolv.conf(5), on port 53.
fn nameservers(file: &str) -> Vec<SocketAddr> {
    file.lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            (words.next() == Some("nameserver")).then_some(())?;
            let word = words.next()?;
            let bare = word.split('%').next().unwrap_or(word);
            Some(SocketAddr::new(bare.parse().ok()?, 53))
        })
        .collect()
}

fn system_look_up(host: &str) -> Result<Vec<IpAddr>, String> {
    match (host, 0).to_socket_addrs() {
        Ok(found) => {
            let mut out: Vec<IpAddr> = found.map(|address| address.ip()).collect();
            out.dedup();
            Ok(out)
        }
        Err(error) => Err(error.to_string()),
    }
}

/// Asks the resolvers in turn for A and AAAA. Blocks; only while a configuration is built.
fn look_up(host: &str, resolvers: &[SocketAddr]) -> Result<Vec<IpAddr>, String> {
    let name: NameBuf = host.parse().map_err(|_| "not a name".to_owned())?;
    let mut last = String::new();
    for &resolver in resolvers {
        let mut found = Vec::new();
        for qtype in [Type::A, Type::AAAA] {
            match ask(resolver, &name, qtype) {
                Ok(addresses) => found.extend(addresses),
                Err(error) => last = format!(": {resolver}: {error}"),
            }
        }
        if !found.is_empty() {
            return Ok(found);
        }
    }
    Err(format!("no addresses found for \"{host}\"{last}"))
}

/// One question to one resolver over a socket of its own.
fn ask(resolver: SocketAddr, name: &NameBuf, qtype: Type) -> io::Result<Vec<IpAddr>> {
    let any = match resolver {
        SocketAddr::V4(_) => SocketAddr::from(([0; 4], 0)),
        SocketAddr::V6(_) => SocketAddr::from(([0u16; 8], 0)),
    };
    let socket = UdpSocket::bind(any)?;
    socket.connect(resolver)?;
    socket.set_read_timeout(Some(Duration::from_secs(2)))?;
    let query = question(rand::random(), name, qtype, true);
    socket.send(&query)?;
    let mut reply = [0; 4096];
    for _ in 0..16 {
        let len = socket.recv(&mut reply)?;
        let octets = &reply[..len];
        if !answers(&query, octets, false) {
            continue;
        }
        let records = Message::new(octets).into_iter().flat_map(|m| m.records());
        return Ok(records
            .filter_map(Result::ok)
            .filter(|record| record.rtype == qtype && record.section == wire::Section::Answer)
            .filter_map(|record| match record.rdata() {
                rdata if rdata.len() == 4 => <[u8; 4]>::try_from(rdata).ok().map(IpAddr::from),
                rdata => <[u8; 16]>::try_from(rdata).ok().map(IpAddr::from),
            })
            .collect());
    }
    Err(io::ErrorKind::TimedOut.into())
}

/// A query of one question, class IN.
pub(super) fn question(id: u16, name: &NameBuf, qtype: Type, recursion: bool) -> Vec<u8> {
    let header = wire::Header {
        id,
        flags: Flags(if recursion { Flags::RD } else { 0 }),
        counts: [1, 0, 0, 0],
    };
    let mut out = header.to_octets().to_vec();
    out.extend_from_slice(name.as_name().octets());
    out.extend_from_slice(&qtype.0.to_be_bytes());
    out.extend_from_slice(&1u16.to_be_bytes());
    out
}

/// Whether `reply` is the response to `query`, apart from the ID: QR, opcode, QNAME (its case too when `exact`), QTYPE and
/// QCLASS (RFC 5452, section 9.1). FORMERR and NOTIMP may come without the question they could not read.
#[inline]
pub(super) fn answers(query: &[u8], reply: &[u8], exact: bool) -> bool {
    const HEAD: usize = wire::HEADER_LEN;
    let (Some(asked), Some(told)) = (wire::Header::read(query), wire::Header::read(reply)) else {
        return false;
    };
    if !told.flags.has(Flags::QR) || told.flags.opcode() != asked.flags.opcode() {
        return false;
    }
    if told.counts[0] == 0 {
        return reply.len() == HEAD
            && told.counts == [0; 4]
            && matches!(
                told.flags.rcode(),
                wire::Rcode::FORMERR | wire::Rcode::NOTIMP
            );
    }
    let Ok(name_end) = wire::skip_name(query, HEAD) else {
        return false;
    };
    let (Some(name), Some(other)) = (query.get(HEAD..name_end), reply.get(HEAD..name_end)) else {
        return false;
    };
    // Length octets are below the letters, so case is ignored in labels only.
    let same = if exact {
        name == other
    } else {
        name.eq_ignore_ascii_case(other)
    };
    let (rest, other) = (
        query.get(name_end..name_end + 4),
        reply.get(name_end..name_end + 4),
    );
    same && told.counts[0] == 1 && rest.is_some() && rest == other
}
