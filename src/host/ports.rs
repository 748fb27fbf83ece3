//! Which sockets are on a port, and whose they are (proc_pid_net(5)).

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A socket on a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Socket {
    /// The address that it is bound to.
    pub address: IpAddr,
    /// Its inode, by which a process is known to have it.
    pub inode: String,
}

/// A process that has a socket on a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The address that the socket is bound to.
    pub address: IpAddr,
    /// The process.
    pub pid: u32,
    /// The name of its program, which the kernel cuts after 15 octets.
    pub program: String,
}

/// The sockets on a port over `udp` or `tcp`: unconnected or listening ones.
pub fn sockets(protocol: &str, port: u16) -> Vec<Socket> {
    let mut out = Vec::new();
    let suffix = format!(":{port:04X}");
    for table in [protocol.to_owned(), format!("{protocol}6")] {
        let text = fs::read_to_string(format!("/proc/net/{table}")).unwrap_or_default();
        for line in text.lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let (Some(local), Some(state), Some(inode)) =
                (fields.get(1), fields.get(3), fields.get(9))
            else {
                continue;
            };
            let Some(address) = local.strip_suffix(&suffix).and_then(address) else {
                continue;
            };
            // 07 is an unconnected UDP socket, 0A a listening TCP socket.
            if matches!(*state, "07" | "0A") {
                let inode = (*inode).to_owned();
                out.push(Socket { address, inode });
            }
        }
    }
    out
}

/// The processes on a port, as far as this one may see them.
pub fn holders(protocol: &str, port: u16) -> Vec<Holder> {
    let mut out = Vec::new();
    for Socket { address, inode } in sockets(protocol, port) {
        if let Some((pid, program)) = process(&inode) {
            let holder = Holder {
                address,
                pid,
                program,
            };
            if !out.contains(&holder) {
                out.push(holder);
            }
        }
    }
    out
}

/// An address as /proc/net writes it: 32-bit words in the machine's order.
fn address(hex: &str) -> Option<IpAddr> {
    let words: Vec<[u8; 4]> = hex
        .as_bytes()
        .chunks(8)
        .filter_map(|word| u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok())
        .map(u32::to_ne_bytes)
        .collect();
    match words.as_slice() {
        [v4] => Some(Ipv4Addr::from(*v4).into()),
        _ => Some(Ipv6Addr::from(<[u8; 16]>::try_from(words.concat()).ok()?).into()),
    }
}

/// The process that has a socket of this inode open.
fn process(inode: &str) -> Option<(u32, String)> {
    let wanted = format!("socket:[{inode}]");
    for entry in fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let descriptors = fs::read_dir(entry.path().join("fd"))
            .into_iter()
            .flatten()
            .flatten();
        for descriptor in descriptors {
            if fs::read_link(descriptor.path())
                .is_ok_and(|link| link.as_os_str() == wanted.as_str())
            {
                let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
                return Some((pid, name.trim().to_owned()));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_proc_are_read() {
        let read = |hex| address(hex).map(|ip| ip.to_string());
        assert_eq!(read("0100007F").as_deref(), Some("127.0.0.1"));
        let v6 = "00000000000000000000000001000000";
        assert_eq!(read(v6).as_deref(), Some("::1"));
    }

    #[test]
    fn the_holder_of_a_port_is_this_process() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let port = socket.local_addr().expect("an address").port();
        let found = holders("udp", port);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].pid, std::process::id());
        assert_eq!(found[0].address, IpAddr::from(Ipv4Addr::LOCALHOST));
    }
}
