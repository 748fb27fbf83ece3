//! `check --probe`: packets and queries for real, between all namespaces of a lab.
//!
//! A datagram goes to a closed port; the far kernel's "port unreachable" proves the way there and back, without `ping`
//! and without a raw socket. A query for the namespace's own name proves its resolver.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use crate::error::{During, Result};
use crate::reach::Picture;
use crate::space;
use crate::spec::Spec;
use crate::spec::forms::label;

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
        if let Some(server) = picture.resolver(from)
            && let Err(error) = answers(server, &format!("{}.{}", label(name), spec.domain))
        {
            let words = error.to_string();
            let words = words.split(" (os error").next().unwrap_or_default();
            failures.push(format!("no DNS for {name} at {server}: {words}"));
        }
    }
    Ok(failures)
}

/// Whether the far end of an address answers.
fn reaches(target: IpAddr) -> bool {
    let probe = || -> io::Result<bool> {
        let any: SocketAddr = if target.is_ipv6() {
            ([0u16; 8], 0).into()
        } else {
            ([0u8; 4], 0).into()
        };
        let socket = UdpSocket::bind(any)?;
        socket.connect((target, CLOSED))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.send(b"?")?;
        Ok(match socket.recv(&mut [0; 16]) {
            Ok(_) => true,
            Err(error) => error.kind() == io::ErrorKind::ConnectionRefused,
        })
    };
    probe().unwrap_or(false)
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
