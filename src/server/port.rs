//! Why a port cannot be had, and what to do about it.

use std::fmt::Write as _;
use std::fs;
use std::io;

use host::ports;

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
    let found = ports::holders(protocol, port);
    for held in &found {
        let _ = write!(
            out,
            "\n  {protocol} port {port} is held on {} by {} (pid {})",
            held.address, held.program, held.pid
        );
    }
    if found.is_empty() {
        let _ = write!(
            out,
            "\n  {protocol} port {port} is held by a program that this process cannot see"
        );
    }
    out.push_str("\n  ways out:");
    if found
        .iter()
        .any(|held| held.program.starts_with("systemd-resolve"))
    {
        out.push_str(
            "\n    listen elsewhere than systemd-resolved: add `bind 127.0.0.1` (or the machine's address) to the server block\
             \n    or turn its stub off: DNSStubListener=no in /etc/systemd/resolved.conf, then sudo systemctl restart systemd-resolved",
        );
    } else {
        out.push_str("\n    stop that program");
        if !found.iter().any(|held| held.address.is_unspecified()) {
            out.push_str(
                "\n    or listen on an address that it does not hold: add `bind ADDRESS` to the server block",
            );
        }
    }
    out.push_str("\n    or take another port: -dns.port 1053");
}

/// Whether the sockets in the way of a place are all of this process, as far as the system tells.
pub(crate) fn is_ours(place: &Place, protocol: &str) -> bool {
    let own: Vec<String> = fs::read_dir("/proc/self/fd")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            fs::read_link(entry.path())
                .ok()?
                .into_os_string()
                .into_string()
                .ok()
        })
        .collect();
    let wanted = place.ip.filter(|ip| !ip.is_unspecified());
    ports::sockets(protocol, place.port)
        .iter()
        .filter(|socket| {
            let held = socket.address;
            wanted.is_none_or(|wanted| held.is_unspecified() || held.to_canonical() == wanted)
        })
        .all(|socket| own.contains(&format!("socket:[{}]", socket.inode)))
}

#[cfg(test)]
mod tests {
    use chain::Carrier;
    use corefile::key::Scheme;

    use super::*;
    use crate::listener::socket::How;

    #[test]
    fn the_holder_of_a_port_is_named() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let place = Place {
            scheme: Scheme::Dns,
            host: "127.0.0.1".into(),
            ip: Some("127.0.0.1".parse().unwrap()),
            scope: 0,
            port,
        };
        let how = How {
            waits: false,
            shares: false,
        };
        let error = place.bind(Carrier::Datagram, how).err();
        let error = error.expect("the port is taken");
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
            scheme: Scheme::Dns,
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
