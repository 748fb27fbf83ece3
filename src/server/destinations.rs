//! Which listener has an address and port, for datagrams that come without a socket.

use std::net::IpAddr;

/// An address and port of a listener.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Destination {
    /// The address in IPv6 form.
    address: u128,
    port: u16,
    /// The interface of a link-local address; otherwise 0.
    scope: u32,
    listener: usize,
}

impl Destination {
    pub(crate) fn new(ip: IpAddr, port: u16, interface: u32, listener: usize) -> Self {
        Self {
            address: in_six(ip),
            port,
            scope: scope(ip, interface),
            listener,
        }
    }
}

/// All of them, in order, and the machine's own addresses.
#[derive(Default, PartialEq, Eq, Debug)]
pub(crate) struct Destinations {
    all: Vec<Destination>,
    own: Vec<u128>,
}

impl Destinations {
    pub(crate) fn new(mut all: Vec<Destination>, own: impl Iterator<Item = IpAddr>) -> Self {
        all.sort_unstable();
        all.dedup();
        let mut own: Vec<u128> = own.map(in_six).collect();
        own.sort_unstable();
        own.dedup();
        Self { all, own }
    }

    /// Whether an address is one of this machine, from which nothing comes by a wire: the kernel takes such a sender for forged.
    #[inline]
    pub(crate) fn is_own(&self, ip: IpAddr) -> bool {
        self.own.binary_search(&in_six(ip)).is_ok()
    }

    /// The number of the listener for what was sent to this address and port, and came by this interface.
    #[inline]
    pub(crate) fn listener(&self, ip: IpAddr, port: u16, interface: u32) -> Option<usize> {
        let key = (in_six(ip), port, scope(ip, interface));
        let found = self
            .all
            .binary_search_by(|one| (one.address, one.port, one.scope).cmp(&key));
        Some(self.all[found.ok()?].listener)
    }
}

#[inline]
fn scope(ip: IpAddr, interface: u32) -> u32 {
    match ip {
        IpAddr::V6(ip) if ip.is_unicast_link_local() => interface,
        _ => 0,
    }
}

/// The IPv6 form of an address.
#[inline]
pub(crate) fn in_six(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => 0xffff_0000_0000 | u128::from(ip.to_bits()),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_lead_to_listeners() {
        let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
        let all = [
            ("192.0.2.1", 53, 2, 0),
            ("192.0.2.1", 5353, 2, 1),
            ("2001:db8::1", 53, 2, 0),
            ("fe80::1", 53, 2, 2),
            ("fe80::1", 53, 3, 3),
        ];
        let destinations = Destinations::new(
            all.iter()
                .map(|(address, port, interface, listener)| {
                    Destination::new(ip(address), *port, *interface, *listener)
                })
                .collect(),
            all.iter().map(|(address, ..)| ip(address)),
        );
        assert!(destinations.is_own(ip("192.0.2.1")) && destinations.is_own(ip("fe80::1")));
        assert!(!destinations.is_own(ip("192.0.2.2")));
        for (address, port, interface, listener) in all {
            let found = destinations.listener(ip(address), port, interface);
            assert_eq!(found, Some(listener));
        }
        // Only link-local addresses are an interface's own.
        assert_eq!(destinations.listener(ip("192.0.2.1"), 53, 9), Some(0));
        assert_eq!(destinations.listener(ip("fe80::1"), 53, 9), None);
        assert_eq!(destinations.listener(ip("192.0.2.2"), 53, 2), None);
        assert_eq!(destinations.listener(ip("192.0.2.1"), 54, 2), None);
    }
}
