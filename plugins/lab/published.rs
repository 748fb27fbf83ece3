//! What `nameplate-lab apply` publishes of a lab, `names.json`, as it is read.

use std::net::{IpAddr, SocketAddr};

use serde::Deserialize;

/// The format that is read here.
const VERSION: u32 = 1;

/// A lab's names. Those without a dot at the end are relative to its domain.
#[derive(Debug, Deserialize)]
pub(super) struct Published {
    v: u32,
    /// Says which names these are, for who waits for them.
    #[serde(default)]
    pub(super) version: String,
    /// Counts the changes.
    pub(super) generation: u64,
    /// The lab's domain.
    pub(super) domain: String,
    /// Seconds that answers may be kept.
    pub(super) ttl: u32,
    /// Subnets whose reverse names are the lab's.
    #[serde(default)]
    pub(super) reverse: Vec<Subnet>,
    /// Networks.
    #[serde(default)]
    pub(super) nets: Vec<Net>,
    /// Veth pairs between two hosts.
    #[serde(default)]
    pub(super) links: Vec<Link>,
    /// Hosts.
    #[serde(default)]
    pub(super) hosts: Vec<Host>,
    /// Further records.
    #[serde(default)]
    pub(super) records: Vec<Record>,
    /// Ports of hosts that can be reached from outside.
    #[serde(default)]
    pub(super) forwards: Vec<Forward>,
    /// Balanced addresses.
    #[serde(default)]
    pub(super) services: Vec<Service>,
}

/// A network.
#[derive(Debug, Deserialize)]
pub(super) struct Net {
    pub(super) name: String,
    pub(super) subnets: Vec<Subnet>,
    /// The addresses of the lab's machine on it.
    #[serde(default)]
    pub(super) host: Vec<IpAddr>,
    /// Those on which the server is asked.
    #[serde(default)]
    pub(super) listen: Vec<IpAddr>,
    /// Whether there is no way out.
    #[serde(default)]
    pub(super) internal: bool,
    /// Who is asked for names of no lab.
    #[serde(default)]
    pub(super) upstream: Vec<SocketAddr>,
}

/// A veth pair.
#[derive(Debug, Deserialize)]
pub(super) struct Link {
    pub(super) subnets: Vec<Subnet>,
}

/// A host.
#[derive(Debug, Deserialize)]
pub(super) struct Host {
    pub(super) name: String,
    #[serde(default)]
    pub(super) aliases: Vec<String>,
    #[serde(default)]
    pub(super) addresses: Vec<Address>,
}

/// An address of a host.
#[derive(Debug, Deserialize)]
pub(super) struct Address {
    /// The network, or the host at the other end of a pair.
    pub(super) net: String,
    pub(super) address: IpAddr,
}

/// A record as a master file has it.
#[derive(Debug, Deserialize)]
pub(super) struct Record {
    pub(super) owner: String,
    /// Type and RDATA.
    pub(super) data: String,
}

/// A port forward.
#[derive(Debug, Deserialize)]
pub(super) struct Forward {
    pub(super) protocol: String,
    pub(super) host: String,
    pub(super) target_port: u16,
}

/// A service.
#[derive(Debug, Deserialize)]
pub(super) struct Service {
    pub(super) name: String,
    /// None of a headless one.
    #[serde(default)]
    pub(super) address: Option<IpAddr>,
    #[serde(default)]
    pub(super) port: Option<u16>,
    pub(super) protocol: String,
    /// The hosts behind a headless one.
    #[serde(default)]
    pub(super) endpoints: Vec<Endpoint>,
}

/// A host behind a service.
#[derive(Debug, Deserialize)]
pub(super) struct Endpoint {
    pub(super) name: String,
    pub(super) address: IpAddr,
}

impl Published {
    /// Reads a file; a mistake comes as `LINE:COLUMN: why`.
    pub(super) fn read(text: &[u8]) -> Result<Self, String> {
        let read: Self = serde_json::from_slice(text).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            let text = error.to_string();
            let why = text
                .rsplit_once(" at line ")
                .map_or(text.as_str(), |(why, _)| why);
            format!("{line}:{column}: {why}")
        })?;
        if read.v != VERSION {
            return Err(format!(
                "1:1: format {} is not known here, only {VERSION} is",
                read.v
            ));
        }
        Ok(read)
    }
}

/// Addresses of one prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Subnet {
    /// The first address.
    pub(super) address: IpAddr,
    /// How many bits it shares with the others.
    pub(super) bits: u8,
}

impl TryFrom<String> for Subnet {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a subnet");
        let (address, bits) = text.split_once('/').ok_or_else(wrong)?;
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits
            .parse()
            .ok()
            .filter(|&bits| bits <= most)
            .ok_or_else(wrong)?;
        Ok(Self { address, bits })
    }
}

/// An address as a number: IPv4 in its place within IPv6.
pub(super) fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

impl Subnet {
    /// The first and the last address as numbers.
    pub(super) fn range(self) -> (u128, u128) {
        let free = if self.address.is_ipv4() { 32 } else { 128 } - u32::from(self.bits);
        let hosts = 1u128.checked_shl(free).map_or(u128::MAX, |size| size - 1);
        let first = number(self.address) & !hosts;
        (first, first | hosts)
    }

    /// Whether an address is in it.
    pub(super) fn contains(self, address: IpAddr) -> bool {
        let (first, last) = self.range();
        (first..=last).contains(&number(address.to_canonical()))
    }
}
