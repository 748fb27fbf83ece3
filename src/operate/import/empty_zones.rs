//! Zones that servers answer for themselves, so that nobody outside is asked for names that mean something here only (RFC 6303, RFC 6761).

use std::net::IpAddr;

use crate::import::model::Name;

/// Prefixes that are nobody's outside (RFC 1918, RFC 6303, RFC 4193).
const PRIVATE: [(&str, u8); 8] = [
    ("10.0.0.0", 8),
    ("172.16.0.0", 12),
    ("192.168.0.0", 16),
    ("169.254.0.0", 16),
    ("192.0.2.0", 24),
    ("198.51.100.0", 24),
    ("203.0.113.0", 24),
    ("255.255.255.255", 32),
];
/// IPv6 prefixes of that kind.
const PRIVATE_6: [(&str, u8); 4] = [
    ("fd00::", 8),
    ("fe80::", 10),
    ("2001:db8::", 32),
    ("::", 128),
];

/// The reverse zones of private prefixes.
pub(super) fn private() -> Vec<Name> {
    zones(PRIVATE.iter().chain(&PRIVATE_6))
}

/// Those of this machine and of the unspecified network.
pub(super) fn loopback() -> Vec<Name> {
    zones([("0.0.0.0", 8), ("127.0.0.0", 8), ("::1", 128)].iter())
}

/// Shared address space (RFC 7793).
pub(super) fn shared() -> Vec<Name> {
    zones([("100.64.0.0", 10)].iter())
}

fn zones<'a>(prefixes: impl Iterator<Item = &'a (&'a str, u8)>) -> Vec<Name> {
    prefixes
        .filter_map(|(address, length)| Some((address.parse::<IpAddr>().ok()?, *length)))
        .flat_map(|(address, length)| Name::reverse_zones(address, length))
        .collect()
}
