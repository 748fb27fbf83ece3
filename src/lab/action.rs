//! The steps between a lab and its kernel objects. One list serves three readers.
//!
//! ```text
//!  plan ──► Vec<Action> ──► print      `plan`: + ~ -, and the command that would do the same
//!                      ├──► execute    `apply`, `down`: netlink, mounts, files
//!                      └──► commands   `show --as-shell`: the whole lab as a script
//! ```

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ipnet::IpNet;

use crate::device::Tagging;
use crate::filter::{Accept, Place};
use crate::hash::mac_text;
use crate::layout::{Bridge, Device, Port};
use crate::link::LinkChange;
use crate::nft::Table;
use crate::reach::Hop;
use crate::redirect::Redirect;
use crate::route;
use crate::shape::Shape;

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// A bridge, or another interface of the host, still down.
    MakeBridge {
        /// The bridge.
        bridge: Bridge,
        /// Its link group.
        group: u32,
    },
    /// A namespace.
    MakeSpace {
        /// Its name.
        space: String,
        /// Whether a half-made one is in the way.
        repair: bool,
    },
    /// A pair between a bridge and a namespace, with the port up.
    MakePort {
        /// The namespace.
        space: String,
        /// The interface's name inside.
        end: String,
        /// Its MAC address.
        mac: [u8; 6],
        /// Largest packet.
        mtu: Option<u32>,
        /// The port.
        port: Port,
        /// Their link group.
        group: u32,
    },
    /// A pair between two namespaces.
    MakePair {
        /// The namespaces.
        spaces: [String; 2],
        /// The interfaces' names inside.
        ends: [String; 2],
        /// Their MAC addresses.
        macs: [[u8; 6]; 2],
        /// Their link group.
        group: u32,
    },
    /// An interface of a namespace that stands on one of the host's.
    MakeOn {
        /// The namespace.
        space: String,
        /// The interface's name inside.
        end: String,
        /// Its MAC address.
        mac: [u8; 6],
        /// Largest packet.
        mtu: Option<u32>,
        /// What it is.
        device: Device,
        /// Its link group.
        group: u32,
    },
    /// A VLAN of another interface of a namespace.
    MakeTagged {
        /// The namespace.
        space: String,
        /// The interface's name.
        end: String,
        /// Largest packet.
        mtu: Option<u32>,
        /// What it is.
        device: Device,
        /// Its link group.
        group: u32,
    },
    /// A VLAN of a bridge's port.
    Vlan {
        /// The port, or the bridge itself.
        link: String,
        /// Whether it is the bridge.
        is_bridge: bool,
        /// The VLAN.
        id: u16,
        /// How the port is in it.
        tagging: Tagging,
    },
    /// Attributes of a link.
    ChangeLink {
        /// The namespace; none is the host.
        space: Option<String>,
        /// The link.
        link: String,
        /// What to change.
        change: LinkChange,
    },
    /// A link goes; a pair's other end with it.
    DeleteLink {
        /// The namespace; none is the host.
        space: Option<String>,
        /// The link.
        link: String,
    },
    /// All links of a group go.
    DeleteGroup {
        /// The group.
        group: u32,
        /// Their names.
        links: Vec<String>,
    },
    /// What an interface does to what it sends.
    Shape {
        /// The namespace.
        space: String,
        /// The link.
        link: String,
        /// Delay, loss, order and rate; nothing if it is empty.
        shape: Shape,
    },
    /// An address.
    AddAddress {
        /// The namespace; none is the host.
        space: Option<String>,
        /// The link.
        link: String,
        /// Address and prefix.
        net: IpNet,
    },
    /// An address goes.
    DeleteAddress {
        /// The namespace; none is the host.
        space: Option<String>,
        /// The link.
        link: String,
        /// Address and prefix.
        net: IpNet,
    },
    /// The route to the subnet of an address that is there.
    Connect {
        /// The namespace; none is the host.
        space: Option<String>,
        /// The link.
        link: String,
        /// Address and prefix.
        net: IpNet,
    },
    /// A route.
    AddRoute {
        /// The namespace.
        space: String,
        /// The route.
        hop: Hop,
    },
    /// A route goes.
    DeleteRoute {
        /// The namespace.
        space: String,
        /// The destination.
        to: IpNet,
        /// The next hop.
        via: Option<IpAddr>,
        /// Which of those to one destination.
        metric: u32,
    },
    /// A setting.
    Sysctl {
        /// The namespace; none is the host.
        space: Option<String>,
        /// The path below `/proc/sys`.
        key: String,
        /// The value.
        value: String,
        /// The value to be put back later, for those of the host.
        before: Option<String>,
    },
    /// A file.
    WriteFile {
        /// Its path.
        path: PathBuf,
        /// Its content.
        text: String,
        /// Whether there is none yet.
        fresh: bool,
    },
    /// A file goes.
    RemoveFile {
        /// Its path.
        path: PathBuf,
    },
    /// A directory goes if it is empty.
    RemoveDirectory {
        /// Its path.
        path: PathBuf,
    },
    /// The rules.
    ReplaceTable {
        /// The namespace; none is the host.
        space: Option<String>,
        /// The table.
        table: Table,
        /// Whether there is none yet.
        fresh: bool,
    },
    /// A rule in somebody else's chain that lets a bridge's packets through.
    AcceptForward {
        /// The rule.
        accept: Accept,
    },
    /// Such a rule goes.
    RemoveAccept {
        /// The chain that it stands in.
        place: Place,
        /// Its number.
        handle: u64,
    },
    /// Connections that keep the way they had before the rules were changed.
    Forget {
        /// The namespace; none is the host.
        space: Option<String>,
        /// What was changed.
        redirects: Vec<Redirect>,
    },
    /// The rules go.
    RemoveTable {
        /// The namespace; none is the host.
        space: Option<String>,
        /// The table's name.
        name: String,
    },
    /// A namespace goes.
    RemoveSpace {
        /// Its name.
        space: String,
    },
    /// `/run/netns` becomes an ordinary directory again, and goes.
    Unprepare,
}

impl Action {
    /// `+`, `~` or `-`.
    #[must_use]
    pub fn sign(&self) -> char {
        match self {
            Self::MakeBridge { .. }
            | Self::MakeSpace { .. }
            | Self::MakePort { .. }
            | Self::MakeOn { .. }
            | Self::MakeTagged { .. }
            | Self::MakePair { .. }
            | Self::AddAddress { .. }
            | Self::Connect { .. }
            | Self::AddRoute { .. }
            | Self::WriteFile { fresh: true, .. }
            | Self::AcceptForward { .. }
            | Self::ReplaceTable { fresh: true, .. } => '+',
            Self::Vlan {
                tagging: Tagging::Absent,
                ..
            } => '-',
            Self::ChangeLink { .. }
            | Self::Vlan { .. }
            | Self::Shape { .. }
            | Self::Sysctl { .. }
            | Self::WriteFile { .. }
            | Self::ReplaceTable { .. } => '~',
            Self::DeleteLink { .. }
            | Self::DeleteGroup { .. }
            | Self::DeleteAddress { .. }
            | Self::DeleteRoute { .. }
            | Self::RemoveFile { .. }
            | Self::RemoveDirectory { .. }
            | Self::RemoveTable { .. }
            | Self::RemoveAccept { .. }
            | Self::Forget { .. }
            | Self::RemoveSpace { .. }
            | Self::Unprepare => '-',
        }
    }

    /// The namespace that it happens in; none is the host.
    #[must_use]
    pub fn space(&self) -> Option<&str> {
        match self {
            Self::MakeSpace { space, .. }
            | Self::MakePort { space, .. }
            | Self::MakeOn { space, .. }
            | Self::MakeTagged { space, .. }
            | Self::Shape { space, .. }
            | Self::AddRoute { space, .. }
            | Self::DeleteRoute { space, .. }
            | Self::RemoveSpace { space } => Some(space),
            Self::ChangeLink { space, .. }
            | Self::DeleteLink { space, .. }
            | Self::AddAddress { space, .. }
            | Self::DeleteAddress { space, .. }
            | Self::Connect { space, .. }
            | Self::Sysctl { space, .. }
            | Self::ReplaceTable { space, .. }
            | Self::RemoveTable { space, .. }
            | Self::Forget { space, .. } => space.as_deref(),
            Self::MakePair { spaces, .. } => Some(&spaces[0]),
            _ => None,
        }
    }

    /// The commands that would do the same.
    #[must_use]
    pub fn commands(&self) -> Vec<String> {
        let ip = |space: Option<&str>| match space {
            Some(space) => format!("ip -n {space}"),
            None => "ip".to_owned(),
        };
        match self {
            Self::MakeBridge { bridge, group } => {
                let mtu = bridge
                    .mtu
                    .map_or(String::new(), |mtu| format!(" mtu {mtu}"));
                let mut lines = vec![
                    format!(
                        "ip link add {}{}{mtu} group {group} {}",
                        bridge.name,
                        own_address(&bridge.device, &bridge.mac),
                        kind(&bridge.device)
                    ),
                    format!("ip link set {} alias '{}'", bridge.name, bridge.alias),
                ];
                if bridge.device.filters() {
                    lines.push(format!(
                        "ip link set {} type bridge vlan_filtering 1",
                        bridge.name
                    ));
                }
                lines
            }
            Self::MakeOn {
                space,
                end,
                mac,
                mtu,
                device,
                group,
            } => {
                let mtu = mtu.map_or(String::new(), |mtu| format!(" mtu {mtu}"));
                let address = own_address(device, mac);
                vec![format!(
                    "ip link add {end}{address}{mtu} group {group} netns {space} {}",
                    kind(device)
                )]
            }
            Self::MakeTagged {
                space,
                end,
                mtu,
                device,
                group,
            } => {
                let mtu = mtu.map_or(String::new(), |mtu| format!(" mtu {mtu}"));
                vec![format!(
                    "ip -n {space} link add {end}{mtu} group {group} {}",
                    kind(device)
                )]
            }
            Self::Vlan {
                link,
                is_bridge,
                id,
                tagging,
            } => {
                let (verb, how) = match tagging {
                    Tagging::Plain => ("add", " pvid untagged"),
                    Tagging::Tagged => ("add", ""),
                    Tagging::Absent => ("del", ""),
                };
                let itself = if *is_bridge { " self" } else { "" };
                vec![format!(
                    "bridge vlan {verb} dev {link} vid {id}{how}{itself}"
                )]
            }
            Self::MakeSpace { space, repair } => {
                let mut lines = vec![format!("ip netns add {space}")];
                if *repair {
                    lines.insert(0, format!("rm /run/netns/{space}"));
                }
                lines
            }
            Self::MakePort {
                space,
                end,
                mac,
                mtu,
                port,
                group,
            } => {
                let mtu = mtu.map_or(String::new(), |mtu| format!(" mtu {mtu}"));
                let mut lines = vec![
                    format!(
                        "ip link add {} address {}{mtu} group {group} master {} type veth peer name {end} address {}{mtu} group {group} netns {space}",
                        port.name,
                        mac_text(&port.mac),
                        port.bridge,
                        mac_text(mac)
                    ),
                    format!("ip link set {} alias '{}'", port.name, port.alias),
                ];
                if port.hairpin {
                    lines.push(format!(
                        "ip link set {} type bridge_slave hairpin on",
                        port.name
                    ));
                }
                lines.push(format!("ip link set {} up", port.name));
                lines
            }
            Self::MakePair {
                spaces,
                ends,
                macs,
                group,
            } => vec![format!(
                "ip link add {} address {} group {group} netns {} type veth peer name {} address {} group {group} netns {}",
                ends[0],
                mac_text(&macs[0]),
                spaces[0],
                ends[1],
                mac_text(&macs[1]),
                spaces[1]
            )],
            Self::ChangeLink {
                space,
                link,
                change,
            } => {
                let mut lines = Vec::new();
                let mut words = String::new();
                if let Some(master) = &change.master {
                    words.push_str(&match master.as_str() {
                        "" => " nomaster".to_owned(),
                        master => format!(" master {master}"),
                    });
                }
                if let Some(mtu) = change.mtu {
                    words.push_str(&format!(" mtu {mtu}"));
                }
                if let Some(mac) = &change.mac {
                    words.push_str(&format!(" address {}", mac_text(mac)));
                }
                if let Some(group) = change.group {
                    words.push_str(&format!(" group {group}"));
                }
                if let Some(alias) = &change.alias {
                    words.push_str(&format!(" alias '{alias}'"));
                }
                for (word, on) in [("arp", change.arp), ("multicast", change.multicast)] {
                    if let Some(on) = on {
                        words.push_str(&format!(" {word} {}", switch(on)));
                    }
                }
                if let Some(up) = change.up {
                    words.push_str(if up { " up" } else { " down" });
                }
                let ip = ip(space.as_deref());
                if !words.is_empty() {
                    lines.push(format!("{ip} link set {link}{words}"));
                }
                if let Some(filters) = change.filters {
                    let word = u8::from(filters);
                    lines.push(format!(
                        "{ip} link set {link} type bridge vlan_filtering {word}"
                    ));
                }
                let mut options = String::new();
                if let Some(hairpin) = change.hairpin {
                    options.push_str(&format!(" hairpin {}", switch(hairpin)));
                }
                for option in &change.options {
                    let value = match (option.is_state(), option.fresh) {
                        (true, state) => state.to_string(),
                        (false, value) => switch(value != 0).to_owned(),
                    };
                    options.push_str(&format!(" {} {value}", option.name));
                }
                if !options.is_empty() {
                    lines.push(format!("{ip} link set {link} type bridge_slave{options}"));
                }
                lines
            }
            Self::DeleteLink { space, link } => {
                vec![format!("{} link del {link}", ip(space.as_deref()))]
            }
            Self::DeleteGroup { links, .. } => links
                .iter()
                .map(|link| format!("ip link del {link}"))
                .collect(),
            Self::Shape { space, link, shape } => vec![if shape.is_empty() {
                format!("tc -n {space} qdisc del dev {link} root")
            } else {
                let handle = shape.handle();
                format!("tc -n {space} qdisc replace dev {link} root handle {handle} {shape}")
            }],
            Self::AddAddress { space, link, net } => {
                let nodad = if net.addr().is_ipv6() { " nodad" } else { "" };
                vec![format!(
                    "{} addr add {net} dev {link}{nodad}",
                    ip(space.as_deref())
                )]
            }
            Self::DeleteAddress { space, link, net } => {
                vec![format!(
                    "{} addr del {net} dev {link}",
                    ip(space.as_deref())
                )]
            }
            Self::Connect { space, link, net } => {
                let (ip, to) = (ip(space.as_deref()), net.trunc());
                vec![match net {
                    IpNet::V4(_) => format!(
                        "{ip} route replace {to} dev {link} proto kernel scope link src {}",
                        net.addr()
                    ),
                    IpNet::V6(_) => {
                        format!("{ip} route replace {to} dev {link} proto kernel metric 256")
                    }
                }]
            }
            Self::AddRoute { space, hop } => {
                let words = route::words(hop.to, Some(hop.via), hop.metric);
                vec![format!("ip -n {space} route replace {words} proto 76")]
            }
            Self::DeleteRoute {
                space,
                to,
                via,
                metric,
            } => {
                let words = route::words(*to, *via, *metric);
                vec![format!("ip -n {space} route del {words} proto 76")]
            }
            Self::Sysctl {
                space, key, value, ..
            } => {
                let inside = inside(space.as_deref());
                let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
                let value = if value.chars().all(plain) {
                    value.clone()
                } else {
                    format!("'{}'", value.replace('\'', "'\\''"))
                };
                vec![format!("{inside}sysctl -qw {key}={value}")]
            }
            Self::WriteFile { path, text, .. } => {
                let directory = path.parent().unwrap_or(Path::new("/"));
                vec![
                    format!("mkdir -p {}", directory.display()),
                    format!("cat > {} <<'END'\n{text}END", path.display()),
                ]
            }
            Self::RemoveFile { path } => vec![format!("rm {}", path.display())],
            Self::RemoveDirectory { path } => vec![format!("rmdir {}", path.display())],
            Self::ReplaceTable {
                space,
                table,
                fresh,
            } => {
                let delete = if *fresh {
                    String::new()
                } else {
                    format!("delete table inet {}\n", table.name)
                };
                let inside = inside(space.as_deref());
                vec![format!(
                    "{inside}nft -f - <<'END'\n{delete}{}END",
                    table.text()
                )]
            }
            Self::RemoveTable { space, name } => {
                let inside = inside(space.as_deref());
                vec![format!("{inside}nft delete table inet {name}")]
            }
            Self::AcceptForward { accept } => vec![accept.command()],
            Self::RemoveAccept { place, handle } => {
                vec![format!("nft delete rule {place} handle {handle}")]
            }
            Self::Forget { space, redirects } => redirects
                .iter()
                .map(|redirect| {
                    let at = redirect.listen.map(|at| format!(" --orig-dst {at}"));
                    format!(
                        "{}conntrack -D -p {} --orig-port-dst {}{}",
                        inside(space.as_deref()),
                        redirect.protocol.name(),
                        redirect.port,
                        at.unwrap_or_default()
                    )
                })
                .collect(),
            Self::RemoveSpace { space } => vec![format!("ip netns del {space}")],
            Self::Unprepare => vec!["umount /run/netns && rmdir /run/netns".to_owned()],
        }
    }
}

/// Where an interface is to stand, and what it is, as `ip link add` reads it.
fn kind(device: &Device) -> String {
    let lower = device.lower().map(|lower| format!("link {lower} "));
    let options = match device {
        Device::Bridge(_) => String::new(),
        Device::Vlan(_, id) => format!(" id {id}"),
        Device::Macvlan(_) => " mode bridge".to_owned(),
        Device::Ipvlan(_) => " mode l2".to_owned(),
    };
    format!(
        "{}type {}{options}",
        lower.unwrap_or_default(),
        device.kind()
    )
}

/// Its MAC address, if it has one of its own.
fn own_address(device: &Device, mac: &[u8; 6]) -> String {
    match device.has_mac() {
        true => format!(" address {}", mac_text(mac)),
        false => String::new(),
    }
}

/// What stands before a command that runs in a namespace.
fn inside(space: Option<&str>) -> String {
    space.map_or(String::new(), |space| format!("ip netns exec {space} "))
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = |space: &Option<String>| match space {
            Some(space) => format!(" in {space}"),
            None => " on the host".to_owned(),
        };
        match self {
            Self::MakeBridge { bridge, .. } => {
                write!(f, "{} {}", bridge.device.kind(), bridge.name)?;
                let lower = bridge.device.lower();
                lower.map_or(Ok(()), |lower| write!(f, " on {lower}"))
            }
            Self::MakeOn {
                space, end, device, ..
            }
            | Self::MakeTagged {
                space, end, device, ..
            } => {
                let (kind, lower) = (device.kind(), device.lower().unwrap_or_default());
                write!(f, "{end} in {space}, {kind} on {lower}")
            }
            Self::Vlan {
                link, id, tagging, ..
            } => match tagging {
                Tagging::Plain => write!(f, "VLAN {id} of {link}, untagged"),
                Tagging::Tagged => write!(f, "VLAN {id} of {link}"),
                Tagging::Absent => write!(f, "VLAN {id} of {link}: none"),
            },
            Self::MakeSpace { space, .. } | Self::RemoveSpace { space } => {
                write!(f, "namespace {space}")
            }
            Self::MakePort {
                space, end, port, ..
            } => {
                write!(f, "{end} in {space}, port {} of {}", port.name, port.bridge)
            }
            Self::MakePair { spaces, ends, .. } => {
                write!(
                    f,
                    "pair {} in {}, {} in {}",
                    ends[0], spaces[0], ends[1], spaces[1]
                )
            }
            Self::ChangeLink {
                space,
                link,
                change,
            } => write!(f, "link {link}{}: {}", at(space), changes(change)),
            Self::DeleteLink { space, link } => write!(f, "link {link}{}", at(space)),
            Self::DeleteGroup { links, .. } => write!(f, "{} links", links.len()),
            Self::AddAddress { space, link, net } | Self::DeleteAddress { space, link, net } => {
                write!(f, "address {net} of {link}{}", at(space))
            }
            Self::Shape { space, link, shape } if shape.is_empty() => {
                write!(f, "link {link} in {space}: plain")
            }
            Self::Shape { space, link, shape } => write!(f, "link {link} in {space}: {shape}"),
            Self::Connect { space, link, net } => {
                write!(f, "route {} to {link}{}", net.trunc(), at(space))
            }
            Self::AddRoute { space, hop } => {
                let metric = route::metric_words(hop.to, hop.metric);
                write!(f, "route {} via {}{metric} in {space}", hop.to, hop.via)
            }
            Self::DeleteRoute { space, to, .. } => write!(f, "route {to} in {space}"),
            Self::Sysctl {
                space, key, value, ..
            } => write!(f, "{key} = {value}{}", at(space)),
            Self::WriteFile { path, .. } | Self::RemoveFile { path } => {
                write!(f, "file {}", path.display())
            }
            Self::RemoveDirectory { path } => write!(f, "directory {}", path.display()),
            Self::ReplaceTable { space, table, .. } => {
                let rules = match table.rules() {
                    1 => "1 rule".to_owned(),
                    rules => format!("{rules} rules"),
                };
                let place = space.as_ref().map(|space| format!(" in {space}"));
                let place = place.unwrap_or_default();
                write!(f, "table inet {}{place}, {rules}", table.name)
            }
            Self::RemoveTable { space, name } => {
                let place = space.as_ref().map(|space| format!(" in {space}"));
                write!(f, "table inet {name}{}", place.unwrap_or_default())
            }
            Self::AcceptForward { accept } => {
                let way = if accept.leaving { "to" } else { "from" };
                write!(
                    f,
                    "rule of {}: accept what goes {way} {}",
                    accept.place, accept.bridge
                )
            }
            Self::RemoveAccept { place, .. } => write!(f, "rule of {place}"),
            Self::Forget { redirects, .. } => {
                let mut ports: Vec<String> = redirects.iter().map(Redirect::to_string).collect();
                ports.dedup();
                write!(f, "tracked connections of {}", ports.join(", "))
            }
            Self::Unprepare => f.write_str("mount /run/netns"),
        }
    }
}

/// A switch in words.
fn switch(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}

/// What of a link changes, in words.
fn changes(change: &LinkChange) -> String {
    let options: Vec<&str> = change.options.iter().map(|option| option.name).collect();
    let words = [
        change.master.as_ref().map(|bridge| match bridge.as_str() {
            "" => "port of no bridge".to_owned(),
            bridge => format!("port of {bridge}"),
        }),
        change
            .mac
            .as_ref()
            .map(|mac| format!("address {}", octets(mac))),
        change.mtu.map(|mtu| format!("mtu {mtu}")),
        change.alias.as_ref().map(|_| "alias".to_owned()),
        change.group.map(|group| format!("group {group}")),
        change.hairpin.map(|on| format!("hairpin {}", switch(on))),
        change.filters.map(|on| format!("VLANs {}", switch(on))),
        change.isolated.map(|on| format!("isolated {}", switch(on))),
        (!options.is_empty()).then(|| format!("{} as on a new port", options.join(", "))),
        change.arp.map(|on| format!("arp {}", switch(on))),
        change
            .multicast
            .map(|on| format!("multicast {}", switch(on))),
        change
            .up
            .map(|up| if up { "up" } else { "down" }.to_owned()),
    ];
    words.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// Octets as a MAC address.
fn octets(mac: &[u8]) -> String {
    let words: Vec<String> = mac.iter().map(|octet| format!("{octet:02x}")).collect();
    words.join(":")
}
