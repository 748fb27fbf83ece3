//! From the words behind FROM to addresses: files like resolv.conf(5) are read and host names looked up, once, when the
//! configuration is built.

use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, ToSocketAddrs, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chain::inspect::Inspect;
use chain::setup::BuildError;
use corefile::Severity;
use host::interfaces;
use rustls::ClientConfig;
use wire::{Message, NameBuf, Type};

use crate::endpoint::Endpoint;
use crate::grpc::GrpcClient;
use crate::http2;
use crate::https::HttpsClient;
use crate::message::{Matching, answers, question};
use crate::protocol::Protocol;
use crate::quic::QuicClient;
use crate::target::{Place, Scheme, Target};
use crate::tls::{self, Files, TlsClient};

/// The words behind FROM, and what options say of them.
#[derive(Default)]
pub struct Named<'a> {
    /// The words.
    pub targets: &'a [Target],
    /// Who look up names of hosts; the system if there are none.
    pub resolvers: &'a [SocketAddr],
    /// The files of TLS.
    pub tls: Files,
    /// The TLS server name of those that have none of their own.
    pub server_name: Option<&'a str>,
    /// The address that queries leave from.
    pub source: Option<IpAddr>,
    /// Whether DNS over HTTPS asks by GET in the place of POST.
    pub get: bool,
}

/// Finds all addresses, in order and each once.
///
/// # Errors
/// When a file cannot be read, a host has no address, or there is none at all.
pub fn open(named: &Named<'_>) -> Result<Vec<Arc<Endpoint>>, BuildError> {
    let mut seen = HashSet::new();
    let mut out = Vec::new();
    let mut config = None;
    if !named.tls.is_empty() {
        config = Some(named.tls.config()?);
    }
    for target in named.targets {
        if target.scheme.is_secure() && config.is_none() {
            config = Some(named.tls.config()?);
        }
        for address in addresses(target, named.resolvers)? {
            let socket = match &target.place {
                Place::Socket(path) => Some(path),
                _ => None,
            };
            if !seen.insert((address, socket)) {
                continue;
            }
            let protocol = protocol(named, target, address, config.as_ref())?;
            out.push(Endpoint::of(address, protocol, named.source));
        }
    }
    if out.is_empty() {
        return Err(BuildError::new("no valid upstream addresses found"));
    }
    Ok(out)
}

/// How a target is spoken to at one of its addresses.
fn protocol(
    named: &Named<'_>,
    target: &Target,
    address: SocketAddr,
    config: Option<&Arc<ClientConfig>>,
) -> Result<Protocol, BuildError> {
    // A host's certificate bears its name, and so does its URL.
    let host = match &target.place {
        Place::Named { host, .. } => host.as_deref(),
        Place::Address(_) => None,
        Place::Socket(_) => Some("localhost"),
    };
    let written = target.server_name().or(named.server_name);
    let name = || tls::server_name(written.or(host), address.ip());
    let session = |protocol| {
        let config = config.ok_or_else(|| BuildError::new("no TLS configuration"))?;
        Ok(TlsClient::new(config, name()?, protocol))
    };
    let authority = || authority(written.or(host), address, target.scheme);
    Ok(match (target.scheme, config) {
        (Scheme::Dns, _) => Protocol::Dns,
        (Scheme::Quic, Some(config)) => Protocol::Quic(QuicClient::new(config, name()?)?),
        (Scheme::Tls | Scheme::Quic, _) => Protocol::Tls(session(None)?),
        (Scheme::Https, _) => {
            let tls = session(Some(http2::ALPN))?;
            let path = target.path.as_deref();
            Protocol::Https(HttpsClient::new(tls, authority(), path, named.get)?)
        }
        (Scheme::Grpc | Scheme::GrpcTls, _) => {
            let tls = match target.scheme {
                Scheme::GrpcTls => Some(session(Some(http2::ALPN))?),
                _ => None,
            };
            Protocol::Grpc(match &target.place {
                Place::Socket(path) => GrpcClient::at(path, tls)?,
                _ => GrpcClient::new(tls, &authority())?,
            })
        }
    })
}

/// The authority of a URL: a name or the address, and the port where it is not the scheme's.
fn authority(name: Option<&str>, address: SocketAddr, scheme: Scheme) -> String {
    let host = match (name, address.ip()) {
        (Some(name), _) => name.to_owned(),
        (None, IpAddr::V4(ip)) => ip.to_string(),
        (None, IpAddr::V6(ip)) => format!("[{ip}]"),
    };
    match address.port() {
        port if port == scheme.port() => host,
        port => format!("{host}:{port}"),
    }
}

/// Says what is wrong with the file that a target names; a host's name is nobody's business before a start.
pub fn inspect(target: &Target, inspect: &mut Inspect<'_>) {
    /// A resolv.conf is small.
    const MOST: u64 = 1 << 20;
    let Place::Named { text, host, .. } = &target.place else {
        return;
    };
    let path = Path::new(text);
    let wrong = match inspect.read(path, MOST) {
        Ok(octets) if takes_files(target.scheme) => {
            let file = String::from_utf8_lossy(&octets);
            nameservers(&file)
                .is_empty()
                .then(|| format!("no valid upstream addresses found in {text}"))
        }
        Ok(_) => Some(format!(
            "{target}: the nameservers of a file are asked without TLS; name an address"
        )),
        // A host of this name is looked for at a start; what is there and no file is a mistake.
        Err(_) if host.is_some() && !path.exists() => None,
        Err(error) => Some(format!(
            "not an IP address or file \"{text}\": failed to open file: {error}"
        )),
    };
    if let Some(wrong) = wrong {
        inspect.tell(Severity::Error, wrong, target.span);
    }
}

/// Whether the nameservers of a file are asked so.
const fn takes_files(scheme: Scheme) -> bool {
    matches!(scheme, Scheme::Dns | Scheme::Grpc | Scheme::GrpcTls)
}

/// The addresses that a target stands for.
fn addresses(target: &Target, resolvers: &[SocketAddr]) -> Result<Vec<SocketAddr>, BuildError> {
    let (text, host, port) = match &target.place {
        Place::Address(address) => {
            let link = target.zone.as_deref();
            let link = link.filter(|_| target.scheme == Scheme::Dns);
            return Ok(vec![link.map_or(*address, |link| scoped(*address, link))]);
        }
        Place::Named { text, host, port } => (text, host, *port),
        // What stands there is not looked at.
        Place::Socket(_) => return Ok(vec![SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))]),
    };
    match host::regular::read_text(Path::new(text)) {
        Ok(file) if takes_files(target.scheme) => Ok(nameservers(&file)),
        Ok(_) => Err(BuildError::new(format!(
            "{target}: the nameservers of a file are asked without TLS; name an address"
        ))),
        Err(error) => {
            let Some(host) = host.as_ref().filter(|_| !Path::new(text).exists()) else {
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

/// The address on the interface that stands behind its `%`.
pub fn scoped(address: SocketAddr, zone: &str) -> SocketAddr {
    match address {
        SocketAddr::V6(v6) => {
            SocketAddrV6::new(*v6.ip(), v6.port(), 0, scope(zone).unwrap_or(0)).into()
        }
        SocketAddr::V4(_) => address,
    }
}

/// The index of an interface, which is written by name or as a number.
fn scope(zone: &str) -> Option<u32> {
    if let Ok(index) = zone.parse() {
        return Some(index);
    }
    let found = interfaces::list().into_iter().find(|one| one.name == zone);
    found.map(|one| one.index)
}

/// The nameservers of a resolv.conf(5), on port 53.
fn nameservers(file: &str) -> Vec<SocketAddr> {
    // Editors of other systems begin a file with a byte order mark.
    let file = file.strip_prefix('\u{FEFF}').unwrap_or(file);
    file.lines()
        .filter_map(|line| {
            let line = line.split(['#', ';']).next()?;
            let mut words = line.split_whitespace();
            (words.next() == Some("nameserver")).then_some(())?;
            nameserver(words.next()?)
        })
        .collect()
}

/// One nameserver: an address, and behind `%` the interface of a link-local one.
fn nameserver(word: &str) -> Option<SocketAddr> {
    let (bare, zone) = match word.split_once('%') {
        Some((bare, zone)) => (bare, Some(zone)),
        None => (word, None),
    };
    match (bare.parse().ok()?, zone) {
        (IpAddr::V6(ip), Some(zone)) if is_link_local(&ip) => {
            Some(SocketAddrV6::new(ip, 53, 0, scope(zone)?).into())
        }
        (ip, _) => Some(SocketAddr::new(ip, 53)),
    }
}

/// Whether an address means something on one link only (RFC 4291, section 2.5.6).
fn is_link_local(ip: &Ipv6Addr) -> bool {
    ip.segments()[0] & 0xFFC0 == 0xFE80
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
    let query = question(host::random::random(), name, qtype, true);
    socket.send(&query)?;
    let mut reply = [0; 4096];
    for _ in 0..16 {
        let len = socket.recv(&mut reply)?;
        let octets = &reply[..len];
        if !answers(&query, octets, Matching::Question) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_nameservers_are_read_as_they_are_written() {
        let loopback = scope("lo").expect("a loopback interface");
        // (file, nameservers)
        let cases: [(&str, &[&str]); 9] = [
            ("", &[]),
            (
                "nameserver 192.0.2.1\nnameserver 2001:db8::1\n",
                &["192.0.2.1", "2001:db8::1"],
            ),
            ("\u{FEFF}nameserver 192.0.2.1\n", &["192.0.2.1"]),
            (
                "\u{FEFF}# home\r\nnameserver\t192.0.2.1\r\n",
                &["192.0.2.1"],
            ),
            ("nameserver 192.0.2.1#comment", &["192.0.2.1"]),
            (
                "nameserver 192.0.2.1;comment\n;nameserver 192.0.2.2\n",
                &["192.0.2.1"],
            ),
            (
                "#nameserver 192.0.2.1\nnameserver192.0.2.2\nnameserver x\nnameserver",
                &[],
            ),
            ("nameserver 192.0.2.1%lo", &["192.0.2.1"]),
            ("nameserver fe80::53%nosuch0", &[]),
        ];
        for (file, expected) in cases {
            let found = nameservers(file)
                .into_iter()
                .map(|one| one.ip().to_string());
            assert_eq!(found.collect::<Vec<_>>(), expected, "{file:?}");
        }
        for (zone, index) in [("lo", loopback), ("7", 7)] {
            let found = nameservers(&format!("nameserver fe80::53%{zone}#x"));
            let expected = SocketAddrV6::new("fe80::53".parse().expect("an address"), 53, 0, index);
            assert_eq!(found, [SocketAddr::from(expected)], "{zone}");
        }
    }
}
