//! Why a port cannot be had, and what to do about it; and how many descriptors the process has.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read};

use crate::input::reason;
use crate::listener::socket::Place;
use crate::snapshot::LoadError;

/// CAP_NET_BIND_SERVICE.
const BIND_SERVICE: u32 = 10;

/// The message for a bind that failed.
pub(crate) fn explain(place: &Place, protocol: &str, error: &io::Error) -> LoadError {
    let line = format!(
        "listen {protocol} {}: bind: {}",
        place.shown(),
        reason(error)
    );
    let mut full = line.clone();
    match error.raw_os_error() {
        Some(libc::EACCES) => privilege(&mut full, place.port),
        Some(libc::EADDRINUSE) => holder(&mut full, protocol, place.port),
        Some(libc::EADDRNOTAVAIL) => {
            full.push_str("\n  no interface of this machine has this address");
        }
        _ => {}
    }
    LoadError { line, full }
}

/// Which privilege is missing, and the ways to have it.
fn privilege(out: &mut String, port: u16) {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next().map(str::to_owned)
    };
    let uid = field("Uid:").unwrap_or_else(|| "?".to_owned());
    let has = |set: &str| {
        let mask = field(set).and_then(|mask| u64::from_str_radix(&mask, 16).ok());
        mask.is_none_or(|mask| mask >> BIND_SERVICE & 1 == 1)
    };
    let start = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    let start = start.map_or_else(|_| "1024".to_owned(), |text| text.trim().to_owned());
    let _ = write!(
        out,
        "\n  this process runs as uid {uid} without CAP_NET_BIND_SERVICE, and ports below {start} \
         (net.ipv4.ip_unprivileged_port_start) need it"
    );
    if !has("CapBnd:") {
        out.push_str(
            "\n  the capability is outside its bounding set: a container or unit has taken it away",
        );
    }
    let program = std::env::current_exe().map_or_else(
        |_| "nameplate".to_owned(),
        |path| path.display().to_string(),
    );
    let _ = write!(
        out,
        "\n  one of these gives it:\
         \n    sudo setcap cap_net_bind_service=+ep {program}\
         \n    AmbientCapabilities=CAP_NET_BIND_SERVICE in its systemd unit, or start it as root\
         \n    sudo sysctl -w net.ipv4.ip_unprivileged_port_start={port}\
         \n  or take a port that needs none: -dns.port 1053"
    );
}

/// Who holds the port, and the ways out.
fn holder(out: &mut String, protocol: &str, port: u16) {
    let found = holders(protocol, port);
    for (address, who) in &found {
        let _ = write!(
            out,
            "\n  {protocol} port {port} is held on {address} by {who}"
        );
    }
    if found.is_empty() {
        let _ = write!(
            out,
            "\n  {protocol} port {port} is held by a program that this process may not see"
        );
    }
    out.push_str("\n  ways out:");
    if found.iter().any(|(_, who)| who.contains("systemd-resolve")) {
        out.push_str(
            "\n    listen elsewhere than systemd-resolved: add `bind 127.0.0.1` (or the machine's address) to the server block\
             \n    or turn its stub off: DNSStubListener=no in /etc/systemd/resolved.conf, then sudo systemctl restart systemd-resolved",
        );
    } else {
        out.push_str("\n    stop that program");
        let all = found
            .iter()
            .any(|(address, _)| matches!(address.as_str(), "0.0.0.0" | "::"));
        if !all {
            out.push_str(
                "\n    or listen on an address that it does not hold: add `bind ADDRESS` to the server block",
            );
        }
    }
    out.push_str("\n    or take another port: -dns.port 1053");
}

/// The sockets on a port, and their programs as far as they can be seen.
fn holders(protocol: &str, port: u16) -> Vec<(String, String)> {
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
            // 07 is an unconnected UDP socket, 0A a listening TCP socket.
            if local.ends_with(&suffix)
                && matches!(*state, "07" | "0A")
                && let Some(who) = program(inode)
            {
                let entry = (address(&local[..local.len() - suffix.len()]), who);
                if !out.contains(&entry) {
                    out.push(entry);
                }
            }
        }
    }
    out
}

/// An address as /proc/net writes it: 32-bit words in the machine's order.
fn address(hex: &str) -> String {
    let words: Vec<[u8; 4]> = hex
        .as_bytes()
        .chunks(8)
        .filter_map(|word| u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok())
        .map(u32::to_ne_bytes)
        .collect();
    match words.as_slice() {
        [v4] => std::net::Ipv4Addr::from(*v4).to_string(),
        _ => match <[u8; 16]>::try_from(words.concat()) {
            Ok(v6) => std::net::Ipv6Addr::from(v6).to_string(),
            Err(_) => hex.to_owned(),
        },
    }
}

/// The program that has a socket of this inode open.
fn program(inode: &str) -> Option<String> {
    let wanted = format!("socket:[{inode}]");
    for entry in fs::read_dir("/proc").ok()?.flatten() {
        let name = entry.file_name();
        let Some(pid) = name
            .to_str()
            .filter(|name| name.bytes().all(|c| c.is_ascii_digit()))
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
                let comm = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
                return Some(format!("{} (pid {pid})", comm.trim()));
            }
        }
    }
    None
}

/// How many files the process may have open.
pub(crate) fn descriptors() -> usize {
    // A file of /proc has no size, and growing a buffer for it takes eight reads.
    let mut limits = String::with_capacity(4_096);
    let _ =
        fs::File::open("/proc/self/limits").and_then(|mut file| file.read_to_string(&mut limits));
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok())
        .unwrap_or(1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_proc_are_read() {
        assert_eq!(address("0100007F"), "127.0.0.1");
        assert_eq!(address("00000000000000000000000001000000"), "::1");
    }

    #[test]
    fn the_holder_of_a_port_is_named() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let place = Place {
            host: "127.0.0.1".into(),
            ip: Some("127.0.0.1".parse().unwrap()),
            scope: 0,
            port,
        };
        let error = place.udp(false).expect_err("the port is taken");
        let message = explain(&place, "udp", &error);
        assert_eq!(
            message.line,
            format!("listen udp 127.0.0.1:{port}: bind: address already in use")
        );
        let pid = format!("(pid {})", std::process::id());
        assert!(message.full.contains(&pid), "{}", message.full);
        assert!(message.full.contains("-dns.port 1053"));
    }

    #[test]
    fn a_missing_privilege_is_named_with_the_ways_to_it() {
        let place = Place {
            host: String::new(),
            ip: None,
            scope: 0,
            port: 53,
        };
        let message = explain(&place, "udp", &io::Error::from_raw_os_error(libc::EACCES));
        assert_eq!(message.line, "listen udp :53: bind: permission denied");
        for part in [
            "uid ",
            "setcap",
            "AmbientCapabilities",
            "ip_unprivileged_port_start=53",
            "-dns.port 1053",
        ] {
            assert!(message.full.contains(part), "{part}");
        }
    }
}
