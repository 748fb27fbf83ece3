//! Whose headers of the PROXY protocol are believed.

use std::net::IpAddr;
use std::time::Duration;

/// What to do with headers of one peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProxyPolicy {
    /// The client is whom the header tells of.
    Use,
    /// A header is taken, and not believed.
    Ignore,
    /// What has a header is refused.
    Reject,
    /// No header is looked for.
    Skip,
}

/// What `proxyproto` says of a listener.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProxyProtocol {
    /// The networks whose headers are used, each with the length of its prefix.
    pub allow: Vec<(IpAddr, u8)>,
    /// The policy for others.
    pub default: ProxyPolicy,
    /// For how long a datagram without header is of the client before it, and how many clients are remembered.
    pub sessions: Option<(Duration, usize)>,
}

impl ProxyProtocol {
    /// What to do with headers of this peer.
    pub fn policy(&self, peer: IpAddr) -> ProxyPolicy {
        let peer = peer.to_canonical();
        let allowed = self.allow.iter().any(|&network| is_within(peer, network));
        if allowed {
            ProxyPolicy::Use
        } else {
            self.default
        }
    }
}

/// Whether an address lies in a network.
fn is_within(address: IpAddr, (network, length): (IpAddr, u8)) -> bool {
    match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) => {
            let differing = address.to_bits() ^ network.to_bits();
            differing.leading_zeros() >= u32::from(length)
        }
        (IpAddr::V6(address), IpAddr::V6(network)) => {
            let differing = address.to_bits() ^ network.to_bits();
            differing.leading_zeros() >= u32::from(length)
        }
        _ => false,
    }
}
