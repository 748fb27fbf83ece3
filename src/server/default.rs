//! The Corefile of a machine that has none.

use std::fmt::Write as _;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::Path;

use crate::input::Source;

/// The stub of systemd-resolved: an upstream that would ask its own upstreams, or us.
const STUBS: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(127, 0, 0, 53)),
    IpAddr::V4(Ipv4Addr::new(127, 0, 0, 54)),
];
/// Where systemd-resolved writes its real upstreams.
const RESOLVED: &str = "/run/systemd/resolve/resolv.conf";

/// What CoreDNS serves without a Corefile.
pub fn compat(port: u16) -> Source {
    Source::Text {
        name: "Corefile".to_owned(),
        text: format!(".:{port} {{\n    whoami\n    log\n}}\n").into_bytes(),
    }
}

/// What a LAN wants on loopback: /etc/hosts, then the machine's upstreams, cached.
pub fn lan(port: u16) -> Source {
    let ipv6 = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_ok();
    let upstreams = upstreams(
        &fs::read_to_string("/etc/resolv.conf").unwrap_or_default(),
        &fs::read_to_string(RESOLVED).unwrap_or_default(),
        port,
    );
    let hosts = Path::new("/etc/hosts").exists();
    Source::Text {
        name: "Corefile".to_owned(),
        text: text(port, ipv6, hosts, &upstreams).into_bytes(),
    }
}

/// The Corefile in words.
fn text(port: u16, ipv6: bool, hosts: bool, upstreams: &[String]) -> String {
    let mut out = format!(
        ".:{port} {{\n    bind 127.0.0.1{}\n",
        if ipv6 { " ::1" } else { "" }
    );
    out.push_str("    errors\n");
    if !upstreams.is_empty() {
        out.push_str("    cache\n");
    }
    match (hosts, upstreams.is_empty()) {
        (true, false) => out.push_str("    hosts /etc/hosts {\n        fallthrough\n    }\n"),
        (true, true) => out.push_str("    hosts /etc/hosts\n"),
        (false, true) => out.push_str("    whoami\n"),
        (false, false) => {}
    }
    if !upstreams.is_empty() {
        let _ = writeln!(out, "    forward . {}", upstreams.join(" "));
    }
    out.push_str("}\n");
    out
}

/// The upstreams of resolv.conf, those of systemd-resolved instead of its stub, without the addresses that we serve ourselves.
fn upstreams(resolv: &str, resolved: &str, port: u16) -> Vec<String> {
    let mut out = Vec::new();
    for ip in name_servers(resolv) {
        if STUBS.contains(&ip) {
            for ip in name_servers(resolved) {
                keep(&mut out, ip, port);
            }
        } else {
            keep(&mut out, ip, port);
        }
    }
    // `forward` takes fifteen at most.
    out.truncate(15);
    out
}

/// Keeps an upstream that is neither a stub nor ourselves.
fn keep(out: &mut Vec<String>, ip: IpAddr, port: u16) {
    let own = [
        IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::LOCALHOST),
    ];
    let shown = match ip {
        _ if ip.is_unspecified() || STUBS.contains(&ip) || (port == 53 && own.contains(&ip)) => {
            return;
        }
        IpAddr::V4(_) => ip.to_string(),
        IpAddr::V6(_) => SocketAddr::new(ip, 53).to_string(),
    };
    if !out.contains(&shown) {
        out.push(shown);
    }
}

/// The `nameserver` lines of a resolv.conf; an address with an interface is left out, as `forward` would.
fn name_servers(text: &str) -> Vec<IpAddr> {
    text.lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            (words.next() == Some("nameserver")).then(|| words.next())?
        })
        .filter_map(|word| word.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_upstreams_are_found() {
        let real = "nameserver 192.0.2.1\nnameserver 2001:db8::1\nsearch lan\n";
        for (resolv, resolved, port, expected) in [
            (real, "", 53, &["192.0.2.1", "[2001:db8::1]:53"][..]),
            ("# none\n", real, 53, &[]),
            (
                "nameserver 127.0.0.53\noptions edns0\n",
                real,
                53,
                &["192.0.2.1", "[2001:db8::1]:53"],
            ),
            (
                "nameserver 127.0.0.53\n",
                "nameserver 127.0.0.54\n",
                53,
                &[],
            ),
            ("nameserver 127.0.0.1\nnameserver ::1\n", "", 53, &[]),
            ("nameserver 127.0.0.1\n", "", 1_053, &["127.0.0.1"]),
            (
                "nameserver 192.0.2.1\nnameserver 192.0.2.1\nnameserver nas\n",
                "",
                53,
                &["192.0.2.1"],
            ),
            ("nameserver fe80::1%eth0\n", "", 53, &[]),
        ] {
            assert_eq!(upstreams(resolv, resolved, port), expected, "{resolv:?}");
        }
    }

    #[test]
    fn the_text_fits_what_there_is() {
        let both = text(53, true, true, &["192.0.2.1".to_owned()]);
        assert!(both.contains("bind 127.0.0.1 ::1\n"));
        assert!(both.contains("fallthrough") && both.contains("forward . 192.0.2.1"));
        let alone = text(1_053, false, true, &[]);
        assert!(
            !alone.contains("fallthrough") && !alone.contains("forward") && !alone.contains("::1")
        );
    }
}
