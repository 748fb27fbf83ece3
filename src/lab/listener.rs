//! Who listens on this machine: sockets by `sock_diag`, and the processes that hold them.

use std::io;
use std::net::{IpAddr, Ipv6Addr};

use crate::netlink::{Attributes, Batch, NLM_F_DUMP, Socket, natural};
use crate::spec::Protocol;

const SOCK_DIAG_BY_FAMILY: u16 = 20;
/// `struct inet_diag_msg`
const HEADER: usize = 72;
const SKV6ONLY: u16 = 11;
/// States of TCP, as bits; a UDP socket that is not connected is closed.
const LISTEN: u32 = 1 << 10;
const CLOSE: u32 = 1 << 7;

/// A socket that waits for packets of anybody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// `tcp` or `udp`.
    pub protocol: Protocol,
    /// Its address; none for every one.
    pub address: Option<IpAddr>,
    /// Its port.
    pub port: u16,
    /// Which families it hears: IPv4, IPv6.
    families: [bool; 2],
    inode: u32,
}

impl Listener {
    /// Whether it hears this family.
    #[must_use]
    pub fn hears(&self, v6: bool) -> bool {
        self.families[usize::from(v6)]
    }
}

/// All of the thread's network namespace.
pub(crate) fn all() -> io::Result<Vec<Listener>> {
    let mut socket = Socket::diagnosis()?;
    let mut found = Vec::new();
    for (protocol, states) in [(Protocol::Tcp, LISTEN), (Protocol::Udp, CLOSE)] {
        for family in [libc::AF_INET as u8, libc::AF_INET6 as u8] {
            let mut request = [0; 56];
            request[0] = family;
            request[1] = protocol.number();
            request[4..8].copy_from_slice(&states.to_ne_bytes());
            let mut batch = Batch::default();
            batch.message(SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, &request);
            let asked = socket.dump(&mut batch, |_, body| found.extend(read(body, protocol)));
            match asked {
                // A kernel without that family, or without the means to tell.
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
                other => other?,
            }
        }
    }
    Ok(found)
}

/// One socket.
fn read(body: &[u8], protocol: Protocol) -> Option<Listener> {
    let v6 = *body.first()? == libc::AF_INET6 as u8;
    let port = u16::from_be_bytes([*body.get(4)?, *body.get(5)?]);
    let source = body.get(8..24)?;
    let address: IpAddr = if v6 {
        Ipv6Addr::from(<[u8; 16]>::try_from(source).ok()?).to_canonical()
    } else {
        <[u8; 4]>::try_from(&source[..4]).ok()?.into()
    };
    let only = Attributes(body.get(HEADER..).unwrap_or(&[]))
        .any(|(kind, value)| kind == SKV6ONLY && value.first() == Some(&1));
    let families = match (v6, address) {
        (false, _) | (true, IpAddr::V4(_)) => [true, false],
        (true, _) => [address.is_unspecified() && !only, true],
    };
    Some(Listener {
        protocol,
        address: (!address.is_unspecified()).then_some(address),
        port,
        families,
        inode: natural(body.get(68..72)?),
    })
}

/// The process that holds a socket, if that may be seen: its number and name.
#[must_use]
pub fn holder(listener: &Listener) -> Option<(i32, String)> {
    let wanted = format!("socket:[{}]", listener.inode);
    let processes = std::fs::read_dir("/proc").ok()?.flatten();
    for process in processes {
        let Some(pid) = process
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let descriptors = std::fs::read_dir(process.path().join("fd"));
        let holds = descriptors
            .into_iter()
            .flatten()
            .flatten()
            .any(|descriptor| {
                std::fs::read_link(descriptor.path())
                    .is_ok_and(|to| to.as_os_str() == wanted.as_str())
            });
        if holds {
            let name = std::fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            return Some((pid, name.trim().to_owned()));
        }
    }
    None
}

/// Who it is, in words.
pub(crate) fn who(listener: &Listener) -> String {
    match holder(listener) {
        Some((pid, name)) => format!("process {pid} ({name})"),
        None => "a process".to_owned(),
    }
}
