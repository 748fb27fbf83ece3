//! The machine's interfaces and their addresses, by two netlink requests (rtnetlink(7), RTM_GETLINK and RTM_GETADDR).

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use socket2::{Domain, Protocol, Socket, Type};

/// An address of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// The interface's name.
    pub name: String,
    /// Its index.
    pub index: u32,
    /// One of its addresses.
    pub address: IpAddr,
    /// The length of its network's prefix, in bits.
    pub prefix: u8,
    /// Whether the kernel still asks whether another machine has it (RFC 4862, 5.4): nothing can listen on it until then.
    pub tentative: bool,
}

/// An XDP program at an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// The interface's name.
    pub interface: String,
    /// Where it is attached: `native`, `generic` or `offloaded`.
    pub mode: &'static str,
    /// Its number.
    pub id: u32,
}

const DONE: u16 = 3;
const NEW_LINK: u16 = 16;
const GET_LINK: u16 = 18;
const NEW_ADDRESS: u16 = 20;
const GET_ADDRESS: u16 = 22;
/// NLM_F_REQUEST and NLM_F_DUMP.
const DUMP: u16 = 0x301;
const HEADER: usize = 16;
/// The length of `struct ifinfomsg`, and of `struct ifaddrmsg`.
const LINK: usize = 16;
const ADDRESS: usize = 8;
/// IFA_F_TENTATIVE, and where the flags of a `struct ifaddrmsg` stand.
const TENTATIVE: u8 = 0x40;
const FLAGS: usize = 2;

/// All addresses of all interfaces; none where the kernel does not tell.
pub fn list() -> Vec<Interface> {
    all().unwrap_or_default()
}

fn all() -> std::io::Result<Vec<Interface>> {
    // Not from /sys, which a container may be without.
    let names = dump((GET_LINK, LINK), |kind, body| {
        (kind == NEW_LINK).then(|| link(body)).flatten()
    })?;
    dump((GET_ADDRESS, ADDRESS), |kind, body| {
        (kind == NEW_ADDRESS)
            .then(|| address(body, &names))
            .flatten()
    })
}

/// The interfaces that have an XDP program; none where the kernel does not tell.
pub fn programs() -> Vec<Program> {
    let found = dump((GET_LINK, LINK), |kind, body| {
        (kind == NEW_LINK).then(|| program(body)).flatten()
    });
    found.unwrap_or_default()
}

/// What is read of each message that answers a request with so long a body.
fn dump<T>(
    (get, len): (u16, usize),
    read: impl Fn(u16, &[u8]) -> Option<T>,
) -> std::io::Result<Vec<T>> {
    let mut socket = Socket::new(
        Domain::from(libc::AF_NETLINK),
        Type::RAW,
        Some(Protocol::from(0)),
    )?;
    socket.set_read_timeout(Some(std::time::Duration::from_secs(1)))?;
    let mut request = vec![0u8; HEADER + len];
    let len = request.len() as u32;
    request[..4].copy_from_slice(&len.to_ne_bytes());
    request[4..6].copy_from_slice(&get.to_ne_bytes());
    request[6..8].copy_from_slice(&DUMP.to_ne_bytes());
    socket.write_all(&request)?;
    let mut out = Vec::new();
    let mut buffer = vec![0u8; 64 * 1024];
    loop {
        let len = socket.read(&mut buffer)?;
        let mut rest = &buffer[..len];
        if rest.is_empty() {
            return Ok(out);
        }
        while let Some((kind, body, next)) = message(rest) {
            match kind {
                DONE | 2 => return Ok(out),
                _ => out.extend(read(kind, body)),
            }
            rest = next;
        }
    }
}

/// The first message of a buffer: its type, its body and what follows.
fn message(octets: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let len = u32::from_ne_bytes(octets.get(..4)?.try_into().ok()?) as usize;
    let kind = u16::from_ne_bytes(octets.get(4..6)?.try_into().ok()?);
    let body = octets.get(HEADER..len)?;
    Some((
        kind,
        body,
        octets.get(len.next_multiple_of(4)..).unwrap_or_default(),
    ))
}

/// The attributes behind a fixed part: type and value.
fn attributes(mut rest: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let len = u16::from_ne_bytes(rest.get(..2)?.try_into().ok()?) as usize;
        let kind = u16::from_ne_bytes(rest.get(2..4)?.try_into().ok()?);
        let value = rest.get(4..len)?;
        rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// The index that both kinds of messages have at one place.
fn index(body: &[u8]) -> Option<u32> {
    Some(u32::from_ne_bytes(body.get(4..8)?.try_into().ok()?))
}

/// The index and the name of an interface: IFLA_IFNAME (3).
fn link(body: &[u8]) -> Option<(u32, String)> {
    let (_, name) = attributes(body.get(LINK..)?).find(|(kind, _)| *kind == 3)?;
    let name = name.split(|&octet| octet == 0).next()?;
    Some((index(body)?, std::str::from_utf8(name).ok()?.to_owned()))
}

/// The program of a link: IFLA_XDP (43), with IFLA_XDP_ATTACHED (2) and IFLA_XDP_PROG_ID (4).
fn program(body: &[u8]) -> Option<Program> {
    let (_, interface) = link(body)?;
    let (_, xdp) = attributes(body.get(LINK..)?).find(|(kind, _)| kind & 0x3fff == 43)?;
    let value = |wanted| attributes(xdp).find(|(kind, _)| *kind == wanted);
    let mode = match value(2)?.1.first()? {
        0 => return None,
        2 => "generic",
        3 => "offloaded",
        _ => "native",
    };
    let id = value(4).and_then(|(_, id)| Some(u32::from_ne_bytes(id.try_into().ok()?)));
    Some(Program {
        interface,
        mode,
        id: id.unwrap_or(0),
    })
}

/// One address: of its attributes, IFA_LOCAL (2) names our end better than IFA_ADDRESS (1).
fn address(body: &[u8], names: &[(u32, String)]) -> Option<Interface> {
    let index = index(body)?;
    let mut found = None;
    for (kind, value) in attributes(body.get(ADDRESS..)?) {
        let ip = match value.len() {
            4 => <[u8; 4]>::try_from(value)
                .ok()
                .map(|ip| IpAddr::from(Ipv4Addr::from(ip))),
            16 => <[u8; 16]>::try_from(value)
                .ok()
                .map(|ip| IpAddr::from(Ipv6Addr::from(ip))),
            _ => None,
        };
        if ip.is_some() && (kind == 2 || (kind == 1 && found.is_none())) {
            found = ip;
        }
    }
    let name = names.iter().find(|(number, _)| *number == index)?.1.clone();
    Some(Interface {
        name,
        index,
        address: found?,
        prefix: body.get(1).copied()?,
        tentative: body.get(FLAGS).is_some_and(|flags| flags & TENTATIVE != 0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_found() {
        let found = list();
        let loopback = found
            .iter()
            .find(|one| one.address == IpAddr::from(Ipv4Addr::LOCALHOST));
        assert_eq!(
            loopback.map(|one| one.name.as_str()),
            Some("lo"),
            "{found:?}"
        );
        assert_eq!(loopback.map(|one| one.prefix), Some(8));
    }

    #[test]
    fn programs_are_told() {
        let attribute = |kind: u16, value: &[u8]| {
            let mut out = (4 + value.len() as u16).to_ne_bytes().to_vec();
            out.extend(kind.to_ne_bytes());
            out.extend(value);
            out.resize(out.len().next_multiple_of(4), 0);
            out
        };
        let body = |attached: u8| {
            let mut out = vec![0; LINK];
            out[4] = 7;
            out.extend(attribute(3, b"lan0\0"));
            let mut xdp = attribute(2, &[attached]);
            xdp.extend(attribute(4, &97_u32.to_ne_bytes()));
            out.extend(attribute(43, &xdp));
            out
        };
        assert_eq!(program(&body(0)), None);
        for (attached, mode) in [(1, "native"), (2, "generic")] {
            let found = program(&body(attached)).expect("a program");
            let expected = ("lan0", mode, 97);
            assert_eq!((found.interface.as_str(), found.mode, found.id), expected);
        }
    }

    #[test]
    fn cut_messages_end_the_reading() {
        assert!(message(&[16, 0, 0, 0]).is_none());
        assert!(message(&[200, 0, 0, 0, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).is_none());
        assert!(address(&[2, 8, 0, 0, 1, 0, 0, 0, 8, 0, 2, 0, 127], &[]).is_none());
    }
}
