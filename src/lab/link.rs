//! Links and addresses: messages of the route family, written into a [`Batch`] and read from dumps.
//!
//! A veth pair is one message: both names, namespaces, MAC addresses, the master and our group are set by the kernel in
//! one step, so that a pair is never half there.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd};

use ipnet::IpNet;

use crate::netlink::{
    Attributes, Batch, NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE, Socket,
    natural, string,
};
use crate::port::{self, PortOption};

pub(crate) const RTM_NEWLINK: u16 = 16;
pub(crate) const RTM_DELLINK: u16 = 17;
pub(crate) const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_GETADDR: u16 = 22;
const RTM_NEWNEIGH: u16 = 28;
const RTM_GETNEIGH: u16 = 30;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
pub(crate) const IFLA_LINK: u16 = 5;
const IFLA_QDISC: u16 = 6;
pub(crate) const IFLA_MASTER: u16 = 10;
pub(crate) const IFLA_AF_SPEC: u16 = 26;
const IFLA_INET_CONF: u16 = 1;
const IFLA_INET6_CONF: u16 = 2;
/// Where the kernel has these in its lists of a link's settings: the first in both, the others in that of IPv6.
const FORWARDING: usize = 0;
const ACCEPT_RA: usize = 3;
const DISABLE_IPV6: usize = 26;
const ACCEPT_DAD: usize = 27;
const IFLA_PROTINFO: u16 = 12;
pub(crate) const IFLA_LINKINFO: u16 = 18;
const IFLA_IFALIAS: u16 = 20;
const IFLA_GROUP: u16 = 27;
const IFLA_NET_NS_FD: u16 = 28;
pub(crate) const IFLA_INFO_KIND: u16 = 1;
pub(crate) const IFLA_INFO_DATA: u16 = 2;
const IFLA_INFO_SLAVE_KIND: u16 = 4;
const IFLA_INFO_SLAVE_DATA: u16 = 5;
const VETH_INFO_PEER: u16 = 1;
const IFLA_BR_VLAN_FILTERING: u16 = 7;
pub(crate) const IFLA_VLAN_ID: u16 = 1;
const IFLA_BR_STP_STATE: u16 = 5;
/// Of macvlan and of ipvlan.
const IFLA_MODE: u16 = 1;
/// What a dump of links may leave out: counters and VF data, most of it.
pub(crate) const IFLA_EXT_MASK: u16 = 29;
const SKIP_COUNTERS: u32 = 1 << 3;

const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_FLAGS: u16 = 8;
const IFA_PROTO: u16 = 11;
const IFA_F_NODAD: u32 = 2;
const IFA_F_DADFAILED: u32 = 8;
const IFA_F_TENTATIVE: u32 = 0x40;

const RT_SCOPE_HOST: u8 = 254;

const IFF_UP: u32 = 1;
const IFF_RUNNING: u32 = 1 << 6;
const IFF_NOARP: u32 = 1 << 7;
const IFF_PROMISC: u32 = 1 << 8;
const IFF_MULTICAST: u32 = 1 << 12;
const IFF_LOWER_UP: u32 = 1 << 16;

/// The protocol number of our routes and addresses: unassigned, so whatever carries it is ours.
pub const PROTOCOL: u8 = 76;

/// A link as the kernel has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Its index.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// `veth`, `bridge`, …; empty for a device such as lo.
    pub kind: String,
    /// MAC address.
    pub mac: Vec<u8>,
    /// Largest packet.
    pub mtu: u32,
    /// Index of the bridge that it is a port of; 0 for none.
    pub master: u32,
    /// Link group.
    pub group: u32,
    /// The alias: a comment that the kernel keeps.
    pub alias: String,
    /// Index of the other end of a pair; 0 for none.
    pub peer: u32,
    /// Whether it is administratively up.
    pub up: bool,
    /// Whether it has a carrier; an end of a pair has one when both are up.
    pub carrier: bool,
    /// Whether it asks nobody for MAC addresses.
    pub no_arp: bool,
    /// Whether it hears no multicast.
    pub no_multicast: bool,
    /// Whether what comes in by it is passed on, in IPv4 and in IPv6, if it has any.
    pub forwards: [Option<bool>; 2],
    /// Whether IPv6 is switched off on it.
    pub without_v6: bool,
    /// `accept_ra` and `accept_dad` of IPv6, if it has any.
    pub accept: Option<[u32; 2]>,
    /// Whether a bridge sends back out of the port that a packet came in by.
    pub hairpin: bool,
    /// Options in which, as a port, it differs from a new one; hairpin is none of them.
    pub options: Vec<&'static PortOption>,
    /// Whether, as a bridge, it has the spanning tree protocol decide which ports forward.
    pub spans: bool,
    /// The kind of its root queueing discipline.
    pub queue: String,
    /// Whether, as a bridge, it keeps VLANs apart.
    pub filters: bool,
    /// As a VLAN, its number.
    pub vlan: u16,
    /// As macvlan or ipvlan, its mode.
    pub mode: u32,
}

impl Link {
    /// Whether somebody made it: `lo` is there by itself, and devices of tunnels where their modules are loaded.
    #[must_use]
    pub fn is_made(&self) -> bool {
        !self.kind.is_empty() && !BY_THEMSELVES.contains(&self.name.as_str())
    }
}

/// An address as the kernel has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// The link's index.
    pub link: u32,
    /// Address and prefix.
    pub net: IpNet,
    /// Who set it.
    pub protocol: u8,
    /// Whether somebody else has it; none while the kernel looks.
    pub duplicate: Option<bool>,
}

/// What modules of tunnels put into every namespace.
const BY_THEMSELVES: &[&str] = &[
    "tunl0", "gre0", "gretap0", "erspan0", "sit0", "ip6tnl0", "ip6gre0", "ip_vti0", "ip6_vti0",
];

/// `struct ifinfomsg`
pub(crate) fn link_header(family: u8, index: u32, flags: u32, change: u32) -> [u8; 16] {
    let mut octets = [0; 16];
    octets[0] = family;
    octets[4..8].copy_from_slice(&index.to_ne_bytes());
    octets[8..12].copy_from_slice(&flags.to_ne_bytes());
    octets[12..16].copy_from_slice(&change.to_ne_bytes());
    octets
}

/// `struct ifaddrmsg`
fn address_header(net: IpNet, index: u32) -> [u8; 8] {
    let mut octets = [0; 8];
    octets[0] = family(net.addr());
    octets[1] = net.prefix_len();
    if net.addr().is_ipv6() {
        octets[2] = IFA_F_NODAD as u8;
    }
    octets[4..8].copy_from_slice(&index.to_ne_bytes());
    octets
}

/// AF_INET or AF_INET6.
pub(crate) fn family(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => libc::AF_INET as u8,
        IpAddr::V6(_) => libc::AF_INET6 as u8,
    }
}

/// An address's octets.
pub(crate) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// One end of a pair that is to be made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewEnd<'a> {
    pub(crate) name: &'a str,
    /// 0: the kernel chooses.
    pub(crate) index: u32,
    pub(crate) mac: &'a [u8],
    pub(crate) mtu: Option<u32>,
    /// The namespace, if it is not the socket's.
    pub(crate) space: Option<BorrowedFd<'a>>,
}

/// Adds a bridge, down.
pub(crate) fn add_bridge(batch: &mut Batch, name: &str, mac: &[u8], mtu: Option<u32>, group: u32) {
    batch
        .message(
            RTM_NEWLINK,
            NLM_F_CREATE | NLM_F_EXCL,
            &link_header(0, 0, 0, 0),
        )
        .text(IFLA_IFNAME, name)
        .attribute(IFLA_ADDRESS, mac)
        .number(IFLA_GROUP, group);
    if let Some(mtu) = mtu {
        batch.number(IFLA_MTU, mtu);
    }
    let info = batch.open(IFLA_LINKINFO);
    batch.text(IFLA_INFO_KIND, "bridge");
    batch.close(info);
}

/// Adds a pair; `master` is a bridge in the socket's namespace.
pub(crate) fn add_pair(
    batch: &mut Batch,
    near: NewEnd<'_>,
    far: NewEnd<'_>,
    master: Option<u32>,
    group: u32,
) {
    // A pair's peer cannot be created up, and a port that is up before its peer only waits.
    batch.message(
        RTM_NEWLINK,
        NLM_F_CREATE | NLM_F_EXCL,
        &link_header(0, near.index, 0, 0),
    );
    end_attributes(batch, near, group);
    if let Some(master) = master {
        batch.number(IFLA_MASTER, master);
    }
    let info = batch.open(IFLA_LINKINFO);
    batch.text(IFLA_INFO_KIND, "veth");
    let data = batch.open(IFLA_INFO_DATA);
    let peer = batch.open(VETH_INFO_PEER);
    batch.raw(&link_header(0, far.index, 0, 0));
    end_attributes(batch, far, group);
    batch.close(peer);
    batch.close(data);
    batch.close(info);
}

/// The attributes of one end.
pub(crate) fn end_attributes(batch: &mut Batch, end: NewEnd<'_>, group: u32) {
    batch.text(IFLA_IFNAME, end.name).number(IFLA_GROUP, group);
    if !end.mac.is_empty() {
        batch.attribute(IFLA_ADDRESS, end.mac);
    }
    if let Some(mtu) = end.mtu {
        batch.number(IFLA_MTU, mtu);
    }
    if let Some(space) = end.space {
        batch.number(IFLA_NET_NS_FD, space.as_raw_fd() as u32);
    }
}

/// What of a link is to be changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkChange {
    /// Up or down.
    pub up: Option<bool>,
    /// Largest packet.
    pub mtu: Option<u32>,
    /// MAC address.
    pub mac: Option<Vec<u8>>,
    /// Alias.
    pub alias: Option<String>,
    /// Link group.
    pub group: Option<u32>,
    /// The bridge that it is a port of, by name.
    pub master: Option<String>,
    /// Hairpin of its port.
    pub hairpin: Option<bool>,
    /// Whether its port reaches other such ports.
    pub isolated: Option<bool>,
    /// Options of its port that become those of a new one.
    pub options: Vec<&'static PortOption>,
    /// Whether it asks for MAC addresses.
    pub arp: Option<bool>,
    /// Whether it hears multicast.
    pub multicast: Option<bool>,
    /// Whether it takes packets for everybody.
    pub promiscuous: Option<bool>,
    /// Whether, as a bridge, it keeps VLANs apart.
    pub filters: Option<bool>,
}

/// Changes a link by name.
pub(crate) fn change_link(batch: &mut Batch, name: &str, change: &LinkChange, master: Option<u32>) {
    let has_options =
        change.hairpin.is_some() || change.isolated.is_some() || !change.options.is_empty();
    if has_options && master.is_some() {
        // The kernel looks at a port's options before it makes the link a port.
        let port = LinkChange {
            master: change.master.clone(),
            ..LinkChange::default()
        };
        change_link(batch, name, &port, master);
        return change_link(batch, name, change, None);
    }
    let (mut flags, mut mask) = (0, 0);
    for (flag, value) in [
        (IFF_UP, change.up),
        (IFF_PROMISC, change.promiscuous),
        (IFF_NOARP, change.arp.map(|arp| !arp)),
        (IFF_MULTICAST, change.multicast),
    ] {
        if let Some(value) = value {
            mask |= flag;
            flags |= if value { flag } else { 0 };
        }
    }
    batch
        .message(RTM_NEWLINK, 0, &link_header(0, 0, flags, mask))
        .text(IFLA_IFNAME, name);
    if let Some(mtu) = change.mtu {
        batch.number(IFLA_MTU, mtu);
    }
    if let Some(mac) = &change.mac {
        batch.attribute(IFLA_ADDRESS, mac);
    }
    if let Some(alias) = &change.alias {
        batch.attribute(IFLA_IFALIAS, alias.as_bytes());
    }
    if let Some(group) = change.group {
        batch.number(IFLA_GROUP, group);
    }
    if let Some(master) = master {
        batch.number(IFLA_MASTER, master);
    }
    if has_options {
        let info = batch.open(IFLA_LINKINFO);
        batch.text(IFLA_INFO_SLAVE_KIND, "bridge");
        let data = batch.open(IFLA_INFO_SLAVE_DATA);
        port::write(batch, [change.hairpin, change.isolated], &change.options);
        batch.close(data);
        batch.close(info);
    }
    if let Some(filters) = change.filters {
        let info = batch.open(IFLA_LINKINFO);
        batch.text(IFLA_INFO_KIND, "bridge");
        let data = batch.open(IFLA_INFO_DATA);
        batch.attribute(IFLA_BR_VLAN_FILTERING, &[u8::from(filters)]);
        batch.close(data);
        batch.close(info);
    }
}

/// Gives a link another name.
pub(crate) fn rename(batch: &mut Batch, index: u32, name: &str) {
    batch
        .message(RTM_NEWLINK, 0, &link_header(0, index, 0, 0))
        .text(IFLA_IFNAME, name);
}

/// Removes a link by name; a pair's other end goes with it.
pub(crate) fn delete_link(batch: &mut Batch, name: &str) {
    batch
        .message(RTM_DELLINK, 0, &link_header(0, 0, 0, 0))
        .text(IFLA_IFNAME, name);
}

/// Removes every link of a group in one step.
pub(crate) fn delete_group(batch: &mut Batch, group: u32) {
    batch
        .message(RTM_DELLINK, 0, &link_header(0, 0, 0, 0))
        .number(IFLA_GROUP, group);
}

/// Adds an address, usable at once.
pub(crate) fn add_address(batch: &mut Batch, index: u32, net: IpNet) {
    new_address(batch, index, net, false);
}

/// Adds an address; where the kernel looks for duplicates, it is usable once it found none.
pub(crate) fn new_address(batch: &mut Batch, index: u32, net: IpNet, looks: bool) {
    let address = octets(net.addr());
    let mut header = address_header(net, index);
    if looks {
        header[2] = 0;
    }
    if net.addr().is_loopback() {
        header[3] = RT_SCOPE_HOST;
    }
    batch
        .message(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, &header)
        .attribute(IFA_LOCAL, &address)
        .attribute(IFA_ADDRESS, &address)
        .attribute(IFA_PROTO, &[PROTOCOL]);
    if net.addr().is_ipv6() && !looks {
        batch.number(IFA_FLAGS, IFA_F_NODAD);
    }
}

/// Removes an address.
pub(crate) fn delete_address(batch: &mut Batch, index: u32, net: IpNet) {
    batch
        .message(RTM_DELADDR, 0, &address_header(net, index))
        .attribute(IFA_LOCAL, &octets(net.addr()));
}

/// Repeats a dump that the kernel says it could not do in one go.
pub(crate) fn retried<T>(mut dump: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    for _ in 0..16 {
        match dump() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
    dump()
}

/// All links.
pub(crate) fn links(socket: &mut Socket) -> io::Result<Vec<Link>> {
    retried(|| {
        let mut batch = Batch::default();
        batch.message(RTM_GETLINK, NLM_F_DUMP, &link_header(0, 0, 0, 0));
        batch.number(IFLA_EXT_MASK, SKIP_COUNTERS);
        let mut found = Vec::new();
        socket.dump(&mut batch, |kind, body| {
            if kind == RTM_NEWLINK {
                found.extend(read_link(body));
            }
        })?;
        Ok(found)
    })
}

/// One link by name.
pub(crate) fn link(socket: &mut Socket, name: &str) -> io::Result<Option<Link>> {
    let mut batch = Batch::default();
    batch
        .message(RTM_GETLINK, NLM_F_ACK, &link_header(0, 0, 0, 0))
        .text(IFLA_IFNAME, name)
        .number(IFLA_EXT_MASK, SKIP_COUNTERS);
    let mut found = None;
    let asked = socket.dump(&mut batch, |kind, body| {
        if kind == RTM_NEWLINK {
            found = read_link(body);
        }
    });
    match asked {
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(None),
        other => other.map(|()| found),
    }
}

/// All ports of bridges, without group and alias: a quarter of the time that [`links`] takes, which looks for each
/// peer's namespace among all.
pub(crate) fn ports(socket: &mut Socket) -> io::Result<Vec<Link>> {
    retried(|| {
        let mut batch = Batch::default();
        batch.message(
            RTM_GETLINK,
            NLM_F_DUMP,
            &link_header(libc::AF_BRIDGE as u8, 0, 0, 0),
        );
        let mut found = Vec::new();
        socket.dump(&mut batch, |kind, body| {
            if kind == RTM_NEWLINK {
                found.extend(read_link(body));
            }
        })?;
        Ok(found)
    })
}

/// One link.
fn read_link(body: &[u8]) -> Option<Link> {
    let flags = natural(body.get(8..12)?);
    let mut link = Link {
        index: natural(body.get(4..8)?),
        up: flags & IFF_UP != 0,
        carrier: flags & IFF_UP != 0 && flags & IFF_LOWER_UP != 0,
        no_arp: flags & IFF_NOARP != 0,
        no_multicast: flags & IFF_MULTICAST == 0,
        ..Link::default()
    };
    let mut of_bridge = false;
    for (kind, value) in Attributes(body.get(16..)?) {
        match kind {
            IFLA_ADDRESS => link.mac = value.to_vec(),
            IFLA_IFNAME => link.name = string(value),
            IFLA_MTU => link.mtu = natural(value),
            IFLA_LINK => link.peer = natural(value),
            IFLA_QDISC => link.queue = string(value),
            IFLA_MASTER => link.master = natural(value),
            IFLA_GROUP => link.group = natural(value),
            IFLA_IFALIAS => link.alias = string(value),
            IFLA_AF_SPEC => read_settings(value, &mut link),
            IFLA_PROTINFO => (link.hairpin, link.options) = port::read(value),
            IFLA_LINKINFO => {
                for (kind, value) in Attributes(value) {
                    match kind {
                        IFLA_INFO_KIND => link.kind = string(value),
                        IFLA_INFO_SLAVE_KIND => of_bridge = string(value) == "bridge",
                        IFLA_INFO_SLAVE_DATA if of_bridge => {
                            (link.hairpin, link.options) = port::read(value);
                        }
                        IFLA_INFO_DATA if link.kind == "bridge" => {
                            for (kind, value) in Attributes(value) {
                                match kind {
                                    IFLA_BR_VLAN_FILTERING => link.filters = value == [1],
                                    IFLA_BR_STP_STATE => link.spans = natural(value) != 0,
                                    _ => {}
                                }
                            }
                        }
                        IFLA_INFO_DATA if ["macvlan", "ipvlan"].contains(&link.kind.as_str()) => {
                            let mode = Attributes(value).find(|&(kind, _)| kind == IFLA_MODE);
                            link.mode = mode.map_or(0, |(_, value)| small(value));
                        }
                        IFLA_INFO_DATA if link.kind == "vlan" => {
                            let id = Attributes(value).find(|&(kind, _)| kind == IFLA_VLAN_ID);
                            link.vlan = id.map_or(0, |(_, value)| small(value) as u16);
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    if flags & IFF_RUNNING == 0 {
        // The kernel keeps such a port from forwarding by itself.
        link.options.retain(|option| !option.is_state());
    }
    Some(link)
}

/// A number of two or four octets.
fn small(value: &[u8]) -> u32 {
    match *value {
        [one, other] => u16::from_ne_bytes([one, other]).into(),
        _ => natural(value),
    }
}

/// Settings of IPv4 and IPv6 that a link tells.
fn read_settings(families: &[u8], link: &mut Link) {
    let number = |settings: &[u8], at: usize| Some(natural(settings.get(at * 4..at * 4 + 4)?));
    let list = |settings, wanted| Attributes(settings).find(|&(kind, _)| kind == wanted);
    for (family, settings) in Attributes(families) {
        match i32::from(family) {
            libc::AF_INET => {
                let list = list(settings, IFLA_INET_CONF);
                let forwards = list.and_then(|(_, list)| number(list, FORWARDING));
                link.forwards[0] = forwards.map(|value| value != 0);
            }
            libc::AF_INET6 => {
                let Some((_, list)) = list(settings, IFLA_INET6_CONF) else {
                    continue;
                };
                link.forwards[1] = number(list, FORWARDING).map(|value| value != 0);
                link.without_v6 = number(list, DISABLE_IPV6).is_some_and(|value| value != 0);
                link.accept =
                    number(list, ACCEPT_RA).and_then(|ra| Some([ra, number(list, ACCEPT_DAD)?]));
            }
            _ => {}
        }
    }
}

/// All addresses, or those of one link where the kernel filters.
pub(crate) fn addresses(socket: &mut Socket, link: Option<u32>) -> io::Result<Vec<Address>> {
    retried(|| {
        let mut batch = Batch::default();
        let mut header = [0; 8];
        header[4..].copy_from_slice(&link.unwrap_or(0).to_ne_bytes());
        batch.message(RTM_GETADDR, NLM_F_DUMP, &header);
        let mut found = Vec::new();
        socket.dump(&mut batch, |kind, body| {
            if kind == RTM_NEWADDR {
                found.extend(read_address(body));
            }
        })?;
        Ok(found)
    })
}

/// One address.
fn read_address(body: &[u8]) -> Option<Address> {
    let prefix = *body.get(1)?;
    let link = natural(body.get(4..8)?);
    let (mut local, mut address, mut protocol) = (None, None, 0);
    let mut flags = u32::from(*body.get(2)?);
    for (kind, value) in Attributes(body.get(8..)?) {
        match kind {
            IFA_LOCAL => local = read_ip(value),
            IFA_ADDRESS => address = read_ip(value),
            IFA_PROTO => protocol = value.first().copied().unwrap_or(0),
            IFA_FLAGS if value.len() >= 4 => flags = natural(value),
            _ => {}
        }
    }
    Some(Address {
        link,
        duplicate: match flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED) {
            0 => Some(false),
            IFA_F_TENTATIVE => None,
            _ => Some(true),
        },
        net: IpNet::new(local.or(address)?, prefix).ok()?,
        protocol,
    })
}

/// Somebody on a link whose MAC address is known, or is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Neighbour {
    pub(crate) link: u32,
    pub(crate) address: IpAddr,
    pub(crate) mac: String,
    pub(crate) state: &'static str,
}

/// All neighbours.
pub(crate) fn neighbours(socket: &mut Socket) -> io::Result<Vec<Neighbour>> {
    retried(|| {
        let mut batch = Batch::default();
        batch.message(RTM_GETNEIGH, NLM_F_DUMP, &[0; 12]);
        let mut found = Vec::new();
        socket.dump(&mut batch, |kind, body| {
            if kind == RTM_NEWNEIGH {
                found.extend(read_neighbour(body));
            }
        })?;
        Ok(found)
    })
}

/// One neighbour; those that stand for nobody, such as multicast groups, are left out.
fn read_neighbour(body: &[u8]) -> Option<Neighbour> {
    let state = match u16::from_ne_bytes([*body.get(8)?, *body.get(9)?]) {
        1 => "asked for",
        2 => "reachable",
        4 => "stale",
        8 | 16 => "checked",
        32 => "failed",
        128 => "fixed",
        _ => return None,
    };
    let part = |wanted| Attributes(body.get(12..).unwrap_or(&[])).find(|&(kind, _)| kind == wanted);
    let mac = part(2).map_or("unknown".to_owned(), |(_, mac)| crate::hash::mac_text(mac));
    Some(Neighbour {
        link: natural(body.get(4..8)?),
        address: read_ip(part(1)?.1)?,
        mac,
        state,
    })
}

/// Four or sixteen octets as an address.
pub(crate) fn read_ip(value: &[u8]) -> Option<IpAddr> {
    if let Ok(octets) = <[u8; 4]>::try_from(value) {
        return Some(octets.into());
    }
    <[u8; 16]>::try_from(value).ok().map(IpAddr::from)
}
