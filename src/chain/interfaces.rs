//! The machine's interfaces and their addresses, by one netlink request (rtnetlink(7), RTM_GETADDR).

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
}

const DONE: u16 = 3;
const NEW_ADDRESS: u16 = 20;
const GET_ADDRESS: u16 = 22;
/// NLM_F_REQUEST and NLM_F_DUMP.
const DUMP: u16 = 0x301;
const HEADER: usize = 16;

/// All addresses of all interfaces; none where the kernel does not tell.
pub fn list() -> Vec<Interface> {
    dump().unwrap_or_default()
}

fn dump() -> std::io::Result<Vec<Interface>> {
    let mut socket = Socket::new(
        Domain::from(libc::AF_NETLINK),
        Type::RAW,
        Some(Protocol::from(0)),
    )?;
    socket.set_read_timeout(Some(std::time::Duration::from_secs(1)))?;
    let mut request = [0u8; HEADER + 8];
    let len = request.len() as u32;
    request[..4].copy_from_slice(&len.to_ne_bytes());
    request[4..6].copy_from_slice(&GET_ADDRESS.to_ne_bytes());
    request[6..8].copy_from_slice(&DUMP.to_ne_bytes());
    socket.write_all(&request)?;
    let names = names();
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
                NEW_ADDRESS => out.extend(address(body, &names)),
                _ => {}
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

/// One address: `struct ifaddrmsg`, then attributes, of which IFA_LOCAL (2) names our end better than IFA_ADDRESS (1).
fn address(body: &[u8], names: &[(u32, String)]) -> Option<Interface> {
    let index = u32::from_ne_bytes(body.get(4..8)?.try_into().ok()?);
    let mut found = None;
    let mut rest = body.get(8..)?;
    while rest.len() >= 4 {
        let len = u16::from_ne_bytes([rest[0], rest[1]]) as usize;
        let kind = u16::from_ne_bytes([rest[2], rest[3]]);
        let value = rest.get(4..len)?;
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
        rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
    }
    let name = names.iter().find(|(number, _)| *number == index)?.1.clone();
    Some(Interface {
        name,
        index,
        address: found?,
    })
}

/// The interfaces' names by index.
fn names() -> Vec<(u32, String)> {
    let entries = std::fs::read_dir("/sys/class/net")
        .into_iter()
        .flatten()
        .flatten();
    entries
        .filter_map(|entry| {
            let index = std::fs::read_to_string(entry.path().join("ifindex")).ok()?;
            Some((
                index.trim().parse().ok()?,
                entry.file_name().into_string().ok()?,
            ))
        })
        .collect()
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
    }

    #[test]
    fn cut_messages_end_the_reading() {
        assert!(message(&[16, 0, 0, 0]).is_none());
        assert!(message(&[200, 0, 0, 0, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).is_none());
        assert!(address(&[2, 8, 0, 0, 1, 0, 0, 0, 8, 0, 2, 0, 127], &[]).is_none());
    }
}
