//! What a UDP socket of a worker is to the queries that come to its address, by it or in frames.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use super::backend::Envelope;
use crate::completions::CompletionQueue;
use crate::worker::Listener;

/// A listener's UDP socket, as the worker that owns it knows it.
pub(crate) struct Home {
    /// Whose socket it is.
    pub(crate) listener: Rc<Listener>,
    /// The socket's address.
    pub(crate) local: SocketAddr,
    /// By which responses leave that had to wait, or did not fit a frame.
    pub(crate) completions: Rc<CompletionQueue>,
}

impl Home {
    /// An envelope as the socket would have made it: IPv4 in IPv6 form on a socket of IPv6, the own address only on a socket of all.
    pub(super) fn envelope(&self, of: Envelope) -> Envelope {
        let six = self.local.is_ipv6();
        let peer = match of.peer {
            SocketAddr::V4(peer) if six => {
                SocketAddr::new(peer.ip().to_ipv6_mapped().into(), peer.port())
            }
            SocketAddr::V6(mut peer) if peer.ip().is_unicast_link_local() => {
                peer.set_scope_id(of.interface);
                peer.into()
            }
            peer => peer,
        };
        let local = of.local.filter(|_| self.local.ip().is_unspecified());
        let local = local.map(|local| match local {
            IpAddr::V4(local) if six => local.to_ipv6_mapped().into(),
            local => local,
        });
        Envelope { peer, local, ..of }
    }
}
