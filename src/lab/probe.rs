//! `check --probe`: packets and queries for real, between all namespaces of a lab.
//!
//! A connection to a closed port is refused by the far kernel, which proves the way there and back, without `ping` and
//! without a raw socket; of "port unreachable", what a datagram gets, kernels send a few a second only. A query for the namespace's own name proves its resolver.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use crate::error::{During, Error, Result};
use crate::reach::Picture;
use crate::space;
use crate::spec::{Service, Spec};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_millis(700);
/// A port that nobody listens on.
const CLOSED: u16 = 33_434;

/// What does not work although the file says that it should.
///
/// # Errors
/// A namespace cannot be entered.
pub fn probe(spec: &Spec) -> Result<Vec<String>> {
    let picture = Picture::of(spec, &spec.addresses);
    let mut failures = Vec::new();
    for (from, space) in spec
        .spaces
        .iter()
        .enumerate()
        .filter(|(_, space)| !space.is_host)
    {
        let name = &space.name.value;
        let _away = space::enter(name).during(|| format!("cannot enter namespace {name}"))?;
        for (to, other) in spec.spaces.iter().enumerate() {
            if from == to {
                continue;
            }
            for target in picture.addresses(to) {
                if picture.path_to(from, to, target).is_ok() && !reaches(target) {
                    failures.push(format!(
                        "{name} does not reach {} at {target}",
                        other.name.value
                    ));
                }
            }
        }
        if let Some(server) = picture.nameserver(from)
            && let Err(error) = answers(server, &format!("{name}.{}", spec.domain))
        {
            let words = error.to_string();
            let words = words.split(" (os error").next().unwrap_or_default();
            failures.push(format!("no DNS for {name} at {server}: {words}"));
        }
    }
    Ok(failures)
}

/// The way of a packet from one namespace to another one or to an address: as the file has it, and whether one really gets
/// there, where the lab is up.
///
/// # Errors
/// The lab has no such namespace.
pub fn trace(spec: &Spec, from: &str, to: &str) -> Result<(Vec<String>, bool)> {
    let picture = Picture::of(spec, &spec.addresses);
    let find = |name: &str| {
        let at = spec
            .spaces
            .iter()
            .position(|space| space.name.value == name);
        at.ok_or_else(|| Error::new(format!("the lab has no namespace {name}")))
    };
    let at = find(from)?;
    let address = to.parse::<IpAddr>().ok();
    let service = spec.services.iter().find(|service| match address {
        Some(address) => service.address == Some(address),
        None => service.name.value == to && find(to).is_err(),
    });
    if let Some(service) = service {
        return Ok(behind(spec, &picture, at, service));
    }
    let own = picture.addresses(at);
    let targets = match to.parse::<IpAddr>() {
        Ok(address) => vec![address],
        Err(_) => picture.addresses(find(to)?),
    };
    let same = |target: &IpAddr| own.iter().any(|own| own.is_ipv6() == target.is_ipv6());
    let targets: Vec<IpAddr> = targets.into_iter().filter(same).collect();
    let (mut lines, mut all) = (Vec::new(), !targets.is_empty());
    if targets.is_empty() {
        lines.push(format!("{from} and {to} have no address family in common"));
    }
    for target in targets {
        lines.push(format!("{from} to {target}:"));
        let way = picture.way(at, target);
        let arrives = !way.iter().any(|line| line.contains("lost: "));
        lines.extend(way.into_iter().map(|line| format!("  {line}")));
        let there = matches!(space::kind(from), Ok(space::Kind::Namespace));
        if there && let Ok(_away) = space::enter(from) {
            let really = reaches(target);
            lines.push(match (really, arrives) {
                (true, _) => "  a packet gets there and back".to_owned(),
                (false, false) => "  and none gets there and back".to_owned(),
                (false, true) => {
                    "  but none gets there and back: see `status` for what differs from the file"
                        .to_owned()
                }
            });
            all &= really;
        } else {
            all &= arrives;
        }
    }
    Ok((lines, all))
}

/// The ways of a packet from a namespace to all that are behind a service; whether each gets there, as the file has it.
fn behind(spec: &Spec, picture: &Picture<'_>, at: usize, service: &Service) -> (Vec<String>, bool) {
    let mut lines = vec![format!("service {}", service.text())];
    if service.address.is_some() {
        let nodes: Vec<&str> = spec.nodes.iter().map(|node| node.value.as_str()).collect();
        lines.push(match nodes[..] {
            [] => "balanced by the host".to_owned(),
            _ => format!(
                "balanced by the first of these on the way: {}",
                nodes.join(", ")
            ),
        });
    }
    let mut all = true;
    for to in &service.to {
        let known = spec
            .spaces
            .iter()
            .position(|space| space.name.value == to.value);
        let targets = known.map_or(Vec::new(), |known| picture.addresses(known));
        let same = |one: &IpAddr| {
            service
                .address
                .is_none_or(|at| at.is_ipv6() == one.is_ipv6())
        };
        let target = targets.into_iter().find(same);
        let (Some(known), Some(target)) = (known, target) else {
            continue;
        };
        let port = match service.target_port {
            0 => String::new(),
            port => format!(" port {port}"),
        };
        lines.push(format!("to {} at {target}{port}:", to.value));
        if known == at {
            lines.push("  it is there already".to_owned());
            continue;
        }
        let way = picture.way(at, target);
        all &= !way.iter().any(|line| line.contains("lost: "));
        lines.extend(way.into_iter().map(|line| format!("  {line}")));
    }
    (lines, all)
}

/// Whether the far end of an address answers.
pub(crate) fn reaches(target: IpAddr) -> bool {
    match TcpStream::connect_timeout(&(target, CLOSED).into(), PATIENCE) {
        Ok(_) => true,
        Err(error) => error.kind() == io::ErrorKind::ConnectionRefused,
    }
}

/// Asks a server for a name; the RCODE if it answers.
///
/// # Errors
/// Nobody answers.
pub fn answers(server: IpAddr, name: &str) -> io::Result<u8> {
    let mut response = [0; 512];
    ask(server, (name, 1), PATIENCE, &mut response)?;
    Ok(response[3] & 0x0f)
}

/// Whether a server has an address of a name.
pub(crate) fn has_address(server: IpAddr, name: &str, patience: Duration) -> bool {
    [1, 28].into_iter().any(|kind| {
        let mut response = [0; 512];
        let asked = ask(server, (name, kind), patience, &mut response);
        asked.is_ok() && response[3] & 0x0f == 0 && response[6..8] != [0, 0]
    })
}

/// The first string of a TXT record.
///
/// # Errors
/// Nobody answers, or there is no such record.
pub(crate) fn text(server: IpAddr, name: &str, patience: Duration) -> io::Result<String> {
    let mut response = [0; 512];
    let (length, question) = ask(server, (name, 16), patience, &mut response)?;
    // The owner is a pointer to the question: two octets, then type, class, TTL and lengths.
    let string = question + 12;
    let answered = response[3] & 0x0f == 0 && response[6..8] != [0, 0] && length > string;
    let end = string + 1 + usize::from(response[string.min(511)]);
    if !answered || end > length {
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok(String::from_utf8_lossy(&response[string + 1..end]).into_owned())
}

/// Sends a query of a name and type; the response's length, and where its question ends.
fn ask(
    server: IpAddr,
    (name, kind): (&str, u8),
    patience: Duration,
    response: &mut [u8; 512],
) -> io::Result<(usize, usize)> {
    let any: SocketAddr = if server.is_ipv6() {
        ([0u16; 8], 0).into()
    } else {
        ([0u8; 4], 0).into()
    };
    let socket = UdpSocket::bind(any)?;
    socket.connect((server, 53))?;
    socket.set_read_timeout(Some(patience))?;
    // RFC 1035, section 4.1.1: one question, recursion desired.
    let mut query = vec![0x1a, 0xb0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.').filter(|label| !label.is_empty()) {
        query.push(label.len().min(63) as u8);
        query.extend(label.bytes().take(63));
    }
    query.extend([0, 0, kind, 0, 1]);
    socket.send(&query)?;
    let length = socket.recv(response)?;
    if length < 12 || response[..2] != query[..2] {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok((length, query.len()))
}
