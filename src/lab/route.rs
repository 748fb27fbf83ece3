//! Routes of the main table: messages of the route family, as those of [`link`](crate::link).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::link::{PROTOCOL, family, octets, read_ip, retried};
use crate::netlink::{
    Attributes, Batch, NLM_F_APPEND, NLM_F_CREATE, NLM_F_DUMP, NLM_F_REPLACE, Socket, natural,
};
use crate::reach::first_metric;

const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
const RTM_GETROUTE: u16 = 26;

const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_PREFSRC: u16 = 7;
const RTA_METRICS: u16 = 8;
const RTA_TABLE: u16 = 15;
const RTAX_MTU: u16 = 2;
const RTAX_ADVMSS: u16 = 8;
const RT_TABLE_MAIN: u8 = 254;
const RT_SCOPE_LINK: u8 = 253;
/// Routes that come with an address.
pub(crate) const RTPROT_KERNEL: u8 = 2;
/// What the kernel gives such a route of IPv6 as its priority.
const IP6_RT_PRIO_ADDRCONF: u32 = 256;

/// A route of the main table as the kernel has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The destination.
    pub to: IpNet,
    /// The next hop.
    pub via: Option<IpAddr>,
    /// The link's index.
    pub link: u32,
    /// Of two routes to one destination the lower one is taken.
    pub metric: u32,
    /// Who set it.
    pub protocol: u8,
}

/// `struct rtmsg` of a unicast route in the main table.
fn route_header(to: IpNet) -> [u8; 12] {
    let mut octets = [0; 12];
    octets[0] = family(to.addr());
    octets[1] = to.prefix_len();
    octets[4] = RT_TABLE_MAIN;
    octets[5] = PROTOCOL;
    octets[7] = 1;
    octets
}

/// Adds a route, or gives it another next hop.
pub(crate) fn add(batch: &mut Batch, to: IpNet, via: IpAddr, metric: u32) {
    batch
        .message(
            RTM_NEWROUTE,
            NLM_F_CREATE | NLM_F_REPLACE,
            &route_header(to),
        )
        .attribute(RTA_DST, &octets(to.network()))
        .attribute(RTA_GATEWAY, &octets(via))
        .number(RTA_PRIORITY, metric);
}

/// Adds the route to an address's subnet, as the kernel does when it gets the address.
pub(crate) fn add_connected(batch: &mut Batch, index: u32, net: IpNet) {
    let mut header = route_header(net);
    header[5] = RTPROT_KERNEL;
    let v6 = net.addr().is_ipv6();
    if !v6 {
        header[6] = RT_SCOPE_LINK;
    }
    batch
        .message(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, &header)
        .attribute(RTA_DST, &octets(net.network()))
        .number(RTA_OIF, index);
    if v6 {
        batch.number(RTA_PRIORITY, IP6_RT_PRIO_ADDRCONF);
    } else {
        batch.attribute(RTA_PREFSRC, &octets(net.addr()));
    }
}

/// A route beside those that are there.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct New {
    pub(crate) to: IpNet,
    pub(crate) via: Option<IpAddr>,
    pub(crate) link: u32,
    pub(crate) priority: Option<u32>,
    pub(crate) table: Option<u32>,
    pub(crate) mtu: Option<u32>,
    pub(crate) advmss: Option<u32>,
    pub(crate) scope: Option<u32>,
}

/// Adds a route beside those that are there.
pub(crate) fn append(batch: &mut Batch, route: &New) {
    let mut header = route_header(route.to);
    // A route without a next hop is one to the link itself.
    let scope = if route.via.is_some() {
        0
    } else {
        RT_SCOPE_LINK
    };
    header[6] = route.scope.map_or(scope, |scope| scope as u8);
    batch
        .message(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_APPEND, &header)
        .attribute(RTA_DST, &octets(route.to.network()))
        .number(RTA_OIF, route.link);
    if let Some(via) = route.via {
        batch.attribute(RTA_GATEWAY, &octets(via));
    }
    for (kind, value) in [(RTA_PRIORITY, route.priority), (RTA_TABLE, route.table)] {
        if let Some(value) = value {
            batch.number(kind, value);
        }
    }
    if route.mtu.is_some() || route.advmss.is_some() {
        let metrics = batch.open(RTA_METRICS);
        for (kind, value) in [(RTAX_MTU, route.mtu), (RTAX_ADVMSS, route.advmss)] {
            if let Some(value) = value {
                batch.number(kind, value);
            }
        }
        batch.close(metrics);
    }
}

/// Removes a route of ours.
pub(crate) fn delete(batch: &mut Batch, to: IpNet, via: Option<IpAddr>, metric: u32) {
    batch
        .message(RTM_DELROUTE, 0, &route_header(to))
        .attribute(RTA_DST, &octets(to.network()))
        .number(RTA_PRIORITY, metric);
    if let Some(via) = via {
        batch.attribute(RTA_GATEWAY, &octets(via));
    }
}

/// All unicast routes of the main table; or, where the kernel filters, only those that came with addresses, of which there
/// are few where all the others may be a million.
pub(crate) fn all(socket: &mut Socket, connected: bool) -> io::Result<Vec<Route>> {
    retried(|| {
        let mut batch = Batch::default();
        // Where the kernel filters, the table of local addresses stays away.
        let mut header = [0; 12];
        header[4] = RT_TABLE_MAIN;
        if connected {
            header[5] = RTPROT_KERNEL;
        }
        batch.message(RTM_GETROUTE, NLM_F_DUMP, &header);
        let mut found = Vec::new();
        socket.dump(&mut batch, |kind, body| {
            if kind == RTM_NEWROUTE {
                found.extend(read_route(body));
            }
        })?;
        Ok(found)
    })
}

/// One route.
fn read_route(body: &[u8]) -> Option<Route> {
    let header = body.first_chunk::<12>()?;
    if header[4] != RT_TABLE_MAIN || header[7] != 1 {
        return None;
    }
    let v6 = header[0] == libc::AF_INET6 as u8;
    let (mut to, mut via, mut link, mut metric) = (None, None, 0, 0);
    for (kind, value) in Attributes(body.get(12..)?) {
        match kind {
            RTA_DST => to = read_ip(value),
            RTA_GATEWAY => via = read_ip(value),
            RTA_OIF => link = natural(value),
            RTA_PRIORITY => metric = natural(value),
            _ => {}
        }
    }
    let unspecified: IpAddr = match v6 {
        true => Ipv6Addr::UNSPECIFIED.into(),
        false => Ipv4Addr::UNSPECIFIED.into(),
    };
    Some(Route {
        to: IpNet::new(to.unwrap_or(unspecified), header[1]).ok()?,
        via,
        link,
        metric,
        protocol: header[5],
    })
}

/// A route as `ip route` writes it, with the family of a default route.
pub(crate) fn words(to: IpNet, via: Option<IpAddr>, metric: u32) -> String {
    let via = via.map_or(String::new(), |via| format!(" via {via}"));
    let to_words = match (to.prefix_len(), to) {
        (0, IpNet::V4(_)) => "default".to_owned(),
        (0, IpNet::V6(_)) => "::/0".to_owned(),
        _ => to.to_string(),
    };
    format!("{to_words}{via}{}", metric_words(to, metric))
}

/// The metric of a route, unless it is what every route has.
pub(crate) fn metric_words(to: IpNet, metric: u32) -> String {
    if metric == first_metric(to) {
        String::new()
    } else {
        format!(" metric {metric}")
    }
}
