//! A lab as its file declares it: typed, with the place of everything that can be wrong.
//!
//! ```text
//!  lab.toml ──► toml (spans) ──► read.rs: keys, types, short forms ──► Spec ──► check.rs: does it fit together?
//!                                   └────────── mistakes ────────► Report ◄──────────┘
//! ```
//!
//! All mistakes of a file are found at once. Nothing here looks at the kernel.

pub mod address;
pub mod check;
pub(crate) mod forms;
mod include;
mod ipam;
mod links;
mod read;
mod reader;
mod records;
mod run;
mod spaces;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

pub(crate) use reader::is_name;
pub use run::{Places, Ready, Restart, Run};

use corefile::{Diagnostic, Report, Sources, Span};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::journal::Journal;
use crate::shape::Shape;

/// The JSON schema of a lab's file, for editors.
pub const SCHEMA: &str = include_str!("spec/schema.json");

/// The namespace of a cluster that everything is in that says nothing else.
pub(crate) const DEFAULT: &str = "default";

/// A value and where it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct At<T> {
    /// The value.
    pub value: T,
    /// Its place.
    pub span: Span,
}

/// Everything that one file declares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// The lab's name: `[lab] name`, or the file's stem.
    pub name: String,
    /// Where it is written, or the start of the file.
    pub span: Span,
    /// The file, if it came from one.
    pub file: Option<PathBuf>,
    /// The domain that all its names lie in.
    pub domain: String,
    /// Who answers for it.
    pub dns: Dns,
    /// Whether namespaces ask an address of their own, which leads to the bridge's.
    pub inside: bool,
    /// Further servers of `resolv.conf`.
    pub servers: Vec<IpAddr>,
    /// Search domains of its namespaces.
    pub search: Vec<String>,
    /// Options of `resolv.conf`.
    pub options: Vec<String>,
    /// What `/etc/netns/NAME/hosts` holds.
    pub hosts: Hosts,
    /// Whether `/etc/netns/NAME/nsswitch.conf` is written.
    pub nsswitch: bool,
    /// Seconds that answers may be kept.
    pub ttl: u32,
    /// Networks, in the file's order.
    pub nets: Vec<Net>,
    /// Veth pairs between two namespaces.
    pub links: Vec<PointToPoint>,
    /// Namespaces.
    pub spaces: Vec<Space>,
    /// Additional names.
    pub records: Vec<Record>,
    /// Balanced addresses.
    pub services: Vec<Service>,
    /// The namespaces that balance them, as each node of a cluster does; the host, if there are none.
    pub nodes: Vec<At<String>>,
    /// Which names there are.
    pub schema: Schema,
    /// The address that everything gets.
    pub addresses: address::Addresses,
    /// Names of namespaces with `-` where they are written with `_` or `.`, where nothing else is called so.
    pub dashed: Vec<Option<String>>,
}

/// Which names a lab has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Schema {
    /// `HOST.DOMAIN` and `SERVICE.DOMAIN`.
    #[default]
    Flat,
    /// Services and pods as in a cluster: `SERVICE.NAMESPACE.svc.DOMAIN`, `10-1-0-5.NAMESPACE.pod.DOMAIN`.
    Kubernetes,
}

/// Who answers the lab's queries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dns {
    /// The server listens on the bridge's own address.
    Bridge,
    /// It listens at this address.
    Address(IpAddr),
    /// Nobody; no `resolv.conf` is written.
    Off,
}

/// What the hosts file of a namespace holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hosts {
    /// Its own name; every name where no resolver can be reached.
    Own,
    /// Every name of the lab.
    All,
    /// No hosts file.
    Off,
}

/// How namespaces are on a network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Kind {
    /// As ports of a bridge.
    #[default]
    Bridge,
    /// With MAC addresses of their own on an interface of the host.
    Macvlan,
    /// With addresses of their own on an interface of the host, whose MAC address they share.
    Ipvlan,
}

/// A network: a bridge, a VLAN of another network's bridge, or interfaces on one of the host's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Net {
    /// Its name, which is that of the host's interface on it.
    pub name: At<String>,
    /// How namespaces are on it.
    pub kind: Kind,
    /// One subnet of each family at most.
    pub subnets: Vec<At<IpNet>>,
    /// The host's own addresses on the bridge.
    pub host: HostEnd,
    /// The default gateway, where it is not the host: an address or a namespace.
    pub gateway: Option<At<String>>,
    /// No way out and none in.
    pub internal: bool,
    /// Other networks may not reach in.
    pub isolate: bool,
    /// The largest packet.
    pub mtu: Option<u32>,
    /// An interface of the host that is a port of it, or that its namespaces share; or the network that it is a VLAN of.
    pub parent: Option<At<String>>,
    /// Its VLAN there.
    pub vlan: Option<At<u16>>,
    /// What its namespaces' interfaces do to what they send.
    pub shape: Shape,
    /// Who is asked for names outside of labs; whom the server's Corefile says, if there is none.
    pub upstream: Vec<At<SocketAddr>>,
    /// Search domains of its namespaces, unless they have their own.
    pub search: Option<Vec<String>>,
    /// Masquerade IPv4.
    pub nat4: bool,
    /// Masquerade IPv6.
    pub nat6: bool,
    /// Port forwards, one port each.
    pub forwards: Vec<Forward>,
}

/// The host on a bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostEnd {
    /// The first address of each subnet.
    First,
    /// These.
    Addresses(Vec<At<IpAddr>>),
    /// A switch without the host.
    Absent,
}

/// One forwarded port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forward {
    /// Where it is written.
    pub span: Span,
    /// Only at this address of the host; at each of them if there is none.
    pub listen: Option<IpAddr>,
    /// The host's port.
    pub port: u16,
    /// `tcp` or `udp`.
    pub protocol: Protocol,
    /// The namespace.
    pub target: String,
    /// Its port.
    pub target_port: u16,
}

/// What has ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// Its name in rules and SRV records.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }

    /// Its number in the IP header.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }
}

/// A veth pair without a bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PointToPoint {
    /// `a-b`, as written.
    pub name: At<String>,
    /// The two namespaces.
    pub ends: [String; 2],
    /// One subnet of each family at most; the first end gets the first address.
    pub subnets: Vec<At<IpNet>>,
    /// What both ends do to what they send.
    pub shape: Shape,
    /// The largest packet.
    pub mtu: Option<u32>,
    /// What the interfaces are called, in the order of the ends.
    pub devices: Vec<At<String>>,
}

/// A network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Space {
    /// Its name under `/run/netns`.
    pub name: At<String>,
    /// Whether it is the host itself (Docker's `host`): then there is nothing to make.
    pub is_host: bool,
    /// Networks that it is on; none is Docker's `none`.
    pub attachments: Vec<Attachment>,
    /// Whether it routes.
    pub router: bool,
    /// Whether it gets default routes.
    pub default: bool,
    /// Other names.
    pub alias: Vec<At<String>>,
    /// More routes.
    pub routes: Vec<RouteSpec>,
    /// MAC address of its first interface.
    pub mac: Option<[u8; 6]>,
    /// Settings, by key with dots.
    pub sysctl: Vec<(String, String)>,
    /// The command that `run` and `up` start in it.
    pub run: Run,
    /// What its interfaces do to what they send, before what their networks say.
    pub shape: Shape,
    /// Its own search domains.
    pub search: Option<Vec<String>>,
    /// Its own `ndots`.
    pub ndots: Option<u32>,
    /// Its namespace in a cluster; `default` if there is none.
    pub namespace: Option<At<String>>,
}

/// A namespace on a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// The network's name.
    pub net: At<String>,
    /// Addresses as written; what is missing is picked.
    pub addresses: Vec<At<IpAddr>>,
    /// What the interface is called; `eth0`, `eth1`, … otherwise.
    pub device: Option<At<String>>,
    /// Whether its packets have the network's VLAN as a tag, on the interface that is on the network's `parent`.
    pub is_tagged: bool,
}

/// A route as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteSpec {
    /// Where it is written.
    pub span: Span,
    /// The destination.
    pub to: Destination,
    /// The next hop: an address or a namespace on a common network.
    pub via: String,
}

/// Where a route leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// To a subnet.
    Subnet(IpNet),
    /// To the subnets of a network.
    Net(At<String>),
}

impl std::fmt::Display for Destination {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Subnet(subnet) => subnet.fmt(to),
            Self::Net(name) => name.value.fmt(to),
        }
    }
}

/// An additional name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The owner, relative to the lab's domain.
    pub owner: At<String>,
    /// Type and data, as in a zone file.
    pub data: String,
}

/// A name, and mostly an address, that stands for several namespaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its name.
    pub name: At<String>,
    /// The address; a headless one has none.
    pub address: Option<IpAddr>,
    /// The port; a headless one may have none.
    pub port: Option<u16>,
    /// `tcp` or `udp`.
    pub protocol: Protocol,
    /// The namespaces behind it.
    pub to: Vec<At<String>>,
    /// Their port.
    pub target_port: u16,
    /// A port of every address of those who balance.
    pub node_port: Option<At<u16>>,
    /// For so many seconds after its last connection a client gets to the same namespace.
    pub affinity: Option<u32>,
    /// Its namespace in a cluster; `default` if there is none.
    pub namespace: Option<At<String>>,
}

impl Service {
    /// Its address and port, if it is not headless.
    #[must_use]
    pub fn place(&self) -> Option<(IpAddr, u16)> {
        self.address.zip(self.port)
    }

    /// In words: where it is, and what is special about it.
    #[must_use]
    pub fn text(&self) -> String {
        let (name, protocol) = (&self.name.value, self.protocol.name());
        let mut text = match (self.place(), self.port) {
            (Some((address, port)), _) => {
                format!(
                    "{name} {}/{protocol}",
                    std::net::SocketAddr::new(address, port)
                )
            }
            (None, Some(port)) => format!("{name} headless, {port}/{protocol}"),
            (None, None) => format!("{name} headless"),
        };
        if let Some(port) = &self.node_port {
            text.push_str(&format!(", node port {}", port.value));
        }
        if let Some(seconds) = self.affinity {
            text.push_str(&format!(", affinity {seconds}s"));
        }
        text
    }
}

impl Spec {
    /// Reads a lab from text; `path` names it and gives the default of its name.
    ///
    /// There is a lab unless the report has errors.
    pub fn parse(path: &Path, text: &str, sources: &mut Sources) -> (Option<Spec>, Report) {
        Self::known(path, None, text, sources)
    }

    /// The same, where the lab's name has another default.
    fn known(
        path: &Path,
        name: Option<String>,
        text: &str,
        sources: &mut Sources,
    ) -> (Option<Spec>, Report) {
        let mut report = Report::new();
        let mut spec = read::read(path, name, text, sources, &mut report);
        if let Some(spec) = &mut spec
            && check::is_whole(&report)
        {
            spec.addresses = check::check(spec, &mut report);
        } else if let Some(spec) = &spec {
            check::declared(spec, &mut report);
        }
        let mut spec = spec.filter(|_| !report.has_errors());
        if let Some(spec) = &mut spec {
            spec.dashed = forms::dashed(spec);
        }
        (spec, report)
    }

    /// Reads a lab from a regular file.
    ///
    /// # Errors
    /// Those of [`crate::input::read`].
    pub fn load(path: &Path, sources: &mut Sources) -> std::io::Result<(Option<Spec>, Report)> {
        Self::of(path, &crate::input::read(path)?, sources)
    }

    /// Reads a lab from a file of the command line.
    ///
    /// # Errors
    /// Those of [`crate::input::given`].
    pub fn given(path: &Path, sources: &mut Sources) -> std::io::Result<(Option<Spec>, Report)> {
        Self::of(path, &crate::input::given(path)?, sources)
    }

    /// The lab of a file and its text.
    fn of(
        path: &Path,
        text: &str,
        sources: &mut Sources,
    ) -> std::io::Result<(Option<Spec>, Report)> {
        let name = Journal::name_by_file(path);
        let (mut spec, report) = Self::known(path, name, text, sources);
        if let Some(spec) = &mut spec {
            spec.file = Some(std::path::absolute(path)?);
        }
        Ok((spec, report))
    }

    /// Gives each namespace without search domains of its own those of its first network that has any.
    fn search_on_networks(&mut self) {
        for space in &mut self.spaces {
            let mut nets = space.attachments.iter();
            let of_net = nets.find_map(|on| {
                let net = self.nets.iter().find(|net| net.name.value == on.net.value);
                net?.search.clone()
            });
            space.search = space.search.take().or(of_net);
        }
    }

    /// What a pod's resolver is told, where the file does not say it: the search domains of its namespace, and `ndots:5`.
    fn search_in_cluster(&mut self, search: bool) {
        let domain = &self.domain;
        for space in &mut self.spaces {
            if search && space.search.is_none() {
                let namespace = space.namespace.as_ref().map_or(DEFAULT, |at| &at.value);
                let above = [format!("{namespace}.svc.{domain}"), format!("svc.{domain}")];
                space.search = Some(above.into_iter().chain([domain.clone()]).collect());
            }
        }
        if !self
            .options
            .iter()
            .any(|option| option.starts_with("ndots:"))
        {
            self.options.push("ndots:5".to_owned());
        }
    }

    /// The network of that name.
    #[must_use]
    pub fn net(&self, name: &str) -> Option<&Net> {
        self.nets.iter().find(|net| net.name.value == name)
    }

    /// The network whose bridge has this one as a VLAN.
    #[must_use]
    pub fn switch(&self, net: &Net) -> Option<&Net> {
        self.net(&net.parent.as_ref()?.value)
    }

    /// The subnets that a route leads to: those of a network in the families that its next hop may be of.
    pub fn destinations(&self, route: &RouteSpec) -> impl Iterator<Item = IpNet> {
        let (subnet, net) = match &route.to {
            Destination::Subnet(subnet) => (Some(*subnet), None),
            Destination::Net(name) => (None, self.net(&name.value)),
        };
        let hop = route.via.parse::<IpAddr>().ok();
        let of_net = [false, true].map(|v6| net.and_then(|net| net.subnet(v6)));
        let of_net = of_net.into_iter().flatten();
        let of_net =
            of_net.filter(move |to| hop.is_none_or(|hop| hop.is_ipv6() == to.addr().is_ipv6()));
        subnet.into_iter().chain(of_net)
    }

    /// What the interface of an attachment is called.
    #[must_use]
    pub fn device(&self, space: &Space, slot: usize) -> String {
        let on = &space.attachments[slot];
        if let Some(device) = &on.device {
            return device.value.clone();
        }
        let vlan = self.net(&on.net.value).and_then(|net| net.vlan.as_ref());
        match self.below(space, slot).zip(vlan) {
            Some((lower, vlan)) => vlan_name(&self.device(space, lower), vlan.value),
            None => format!("eth{slot}"),
        }
    }

    /// The attachment whose interface a tagged one stands on.
    #[must_use]
    pub fn below(&self, space: &Space, slot: usize) -> Option<usize> {
        let on = space.attachments.get(slot).filter(|on| on.is_tagged)?;
        let switch = &self.switch(self.net(&on.net.value)?)?.name.value;
        let mut all = space.attachments.iter();
        all.position(|other| !other.is_tagged && other.net.value == *switch)
    }

    /// The namespace of that name.
    #[must_use]
    pub fn space(&self, name: &str) -> Option<&Space> {
        self.spaces.iter().find(|space| space.name.value == name)
    }
}

impl Net {
    /// The subnet of one family.
    #[must_use]
    pub fn subnet(&self, v6: bool) -> Option<IpNet> {
        self.subnets
            .iter()
            .map(|subnet| subnet.value)
            .find(|subnet| subnet.addr().is_ipv6() == v6)
    }

    /// The host's address on the bridge, of one family.
    #[must_use]
    pub fn host_address(&self, v6: bool) -> Option<IpAddr> {
        let subnet = self.subnet(v6)?;
        match &self.host {
            HostEnd::Absent => None,
            HostEnd::First => subnet_address(subnet, 1),
            HostEnd::Addresses(addresses) => addresses
                .iter()
                .map(|address| address.value)
                .find(|address| address.is_ipv6() == v6),
        }
    }
}

/// The name of an interface's VLAN.
#[must_use]
pub fn vlan_name(parent: &str, id: u16) -> String {
    let name = format!("{parent}.{id}");
    match name.len() {
        ..=15 => name,
        _ => crate::hash::interface(&[parent, &id.to_string()]),
    }
}

/// The `n`-th address of a subnet; none if it has not so many.
#[must_use]
pub fn subnet_address(subnet: IpNet, n: u128) -> Option<IpAddr> {
    let address = match subnet.network() {
        IpAddr::V4(first) => {
            IpAddr::V4(u32::from(first).checked_add(u32::try_from(n).ok()?)?.into())
        }
        IpAddr::V6(first) => IpAddr::V6(u128::from(first).checked_add(n)?.into()),
    };
    subnet.contains(&address).then_some(address)
}

/// A mistake at a place.
fn mistake(code: &'static str, message: impl Into<String>, span: Span, label: &str) -> Diagnostic {
    Diagnostic::error(code, message).at(span, label)
}

/// What each code means.
pub const EXPLANATIONS: &[(&str, &str)] = &[
    ("LAB0001", "The file is not TOML."),
    (
        "LAB0002",
        "This key is unknown. It is an error because a misspelt key would otherwise be ignored silently.",
    ),
    ("LAB0003", "The value has another type than the key takes."),
    (
        "LAB0004",
        "Other tools have this key or value, but nameplate-lab does not: it would do nothing, so it is refused.",
    ),
    (
        "LAB0101",
        "Names of labs, networks and namespaces become file names, interface names and DNS labels; they are letters, digits, `-`, `_` and `.`, and start with a letter or a digit. A network is a bridge, so its name has at most 15 octets.",
    ),
    (
        "LAB0102",
        "An address, a subnet, a MAC address or a port cannot be read, or is not one that a host can have.",
    ),
    (
        "LAB0103",
        "The name refers to nothing that is declared in this file.",
    ),
    (
        "LAB0104",
        "The address is not in the network's subnet, or is its network or broadcast address.",
    ),
    (
        "LAB0105",
        "Two things have one address, one port or one name.",
    ),
    (
        "LAB0106",
        "Two subnets overlap: the kernel would choose one of them for both.",
    ),
    (
        "LAB0107",
        "The subnet has fewer addresses than there are namespaces, or a bridge more than 1,023 ports.",
    ),
    (
        "LAB0108",
        "A port forward, route, record, service or command cannot be read.",
    ),
    (
        "LAB0109",
        "The next hop cannot be reached directly, so the kernel would refuse the route.",
    ),
    (
        "LAB0110",
        "An included file cannot be read, or includes itself.",
    ),
    (
        "LAB0111",
        "The machine already has an address in this subnet, on a link that is not the lab's: `apply` would refuse. Docker's networks are such links; choose another subnet.",
    ),
    (
        "LAB0201",
        "Two namespaces of the lab cannot reach each other: a route or a router is missing on the way there or back.",
    ),
    (
        "LAB0202",
        "No resolver can be reached from the namespace; its hosts file gets every name of the lab instead.",
    ),
    (
        "LAB0203",
        "The key does nothing here: an `internal` network has no traffic in or out, and rules of the host see only packets of networks that the host is on.",
    ),
    (
        "LAB0204",
        "A route of this machine to another place covers a part of the subnet, or is covered by it: packets follow the longer prefix.",
    ),
    (
        "LAB0205",
        "`gw.NETWORK` is the host's name on that network; a namespace of that name has its other names only.",
    ),
    (
        "LAB0112",
        "A process of this machine listens on the port, or another lab or a container network forwards it: the forward would take its packets away, so `apply` refuses.",
    ),
    (
        "LAB0113",
        "The interface cannot be `parent`: the machine does not have it, it is a bridge or the loopback interface, or a port of something else; `apply` refuses. macvlan and ipvlan take a bridge, too.",
    ),
    (
        "LAB0114",
        "This machine already has something of that name that is not the lab's, or another file made the lab of this name: `apply` refuses, and does not remove it.",
    ),
    (
        "LAB0115",
        "The machine has no such directory or user, so the command could not be started.",
    ),
    (
        "LAB0206",
        "A forward chain of this machine drops packets of the lab: a rule must let them through, and `apply --fix-forward` adds it.",
    ),
    (
        "LAB0207",
        "This kernel lacks a module that the lab needs, so `apply` refuses.",
    ),
    (
        "LAB0208",
        "A line of a hosts file gives a name of the lab another address. Programs use hosts files before they ask DNS, even if a hosts file is wrong.",
    ),
];
