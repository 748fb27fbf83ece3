//! Ports and addresses that a lab gives another destination: by forwards and by services.
//!
//! The journal keeps them, so that a change is known: connections that were tracked before keep their destination until
//! their entries are deleted, and a port that another lab or the host itself serves is not taken from it.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::cni;
use crate::journal::Journal;
use crate::listener::Listener;
use crate::spec::Protocol;

/// One port that leads to one namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Redirect {
    /// `tcp` or `udp`.
    pub protocol: Protocol,
    /// The address that packets go to; any of this machine's if there is none.
    pub listen: Option<IpAddr>,
    /// The port that they go to.
    pub port: u16,
    /// Where they go instead.
    pub target: IpAddr,
    /// The port there.
    pub target_port: u16,
    /// Whether the address is a service's, which nothing else has.
    #[serde(default)]
    pub service: bool,
}

impl Redirect {
    /// Whether both take the same packets.
    fn meets(&self, other: &Self) -> bool {
        self.place() == other.place()
            || (self.protocol, self.port) == (other.protocol, other.port)
                && self.target.is_ipv6() == other.target.is_ipv6()
                && !self.service
                && !other.service
                && (self.listen.is_none() || other.listen.is_none() || self.listen == other.listen)
    }

    /// What it takes.
    pub(crate) fn place(&self) -> (Protocol, Option<IpAddr>, u16, bool) {
        (self.protocol, self.listen, self.port, self.target.is_ipv6())
    }

    /// Whether it would take packets from who listens.
    pub(crate) fn takes_from(&self, listener: &Listener) -> bool {
        (self.protocol, self.port) == (listener.protocol, listener.port)
            && !self.service
            && listener.hears(self.target.is_ipv6())
            && (self.listen.is_none()
                || listener.address.is_none()
                || self.listen == listener.address)
    }
}

impl fmt::Display for Redirect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.listen {
            Some(at) => write!(f, "{}", std::net::SocketAddr::new(at, self.port))?,
            None => write!(f, "{}", self.port)?,
        }
        write!(f, "/{}", self.protocol.name())
    }
}

/// Those of which one of the two lists has no equal.
#[must_use]
pub(crate) fn changed(before: &[Redirect], now: &[Redirect]) -> Vec<Redirect> {
    let mut all: Vec<Redirect> = before
        .iter()
        .filter(|one| !now.contains(one))
        .chain(now.iter().filter(|one| !before.contains(one)))
        .cloned()
        .collect();
    all.sort();
    all
}

/// The port and whose it is, where another lab or another container network has it.
pub(crate) fn elsewhere(
    redirects: &[Redirect],
    lab: Option<&str>,
    network: Option<&str>,
) -> Vec<(Redirect, String)> {
    if redirects.is_empty() {
        return Vec::new();
    }
    let mut owners: Vec<(String, Vec<Redirect>)> = Journal::others(lab.unwrap_or(""))
        .into_iter()
        .map(|other| (format!("lab {}", other.lab), other.redirects))
        .collect();
    owners.extend(
        cni::forwarded()
            .into_iter()
            .filter(|(other, _)| network != Some(other))
            .map(|(network, taken)| (format!("the container network {network}"), taken)),
    );
    let mut found = Vec::new();
    for one in redirects {
        for (owner, theirs) in &owners {
            if theirs.iter().any(|other| one.meets(other)) {
                found.push((one.clone(), owner.clone()));
            }
        }
    }
    found
}
