//! The routes that a router outside needs to reach a lab's networks by way of the host.

use std::fmt::Write as _;
use std::net::IpAddr;

use crate::error::{During, Result};
use crate::layout::Layout;
use crate::observe::Inside;
use crate::settings;
use crate::spec::{Net, Spec};

/// The commands for such a router: a line for each network that the host routes to, by each of the host's own networks
/// or, where the host has a default route, by that one's. What is no command is a comment.
///
/// # Errors
/// The kernel does not tell.
pub fn static_routes(spec: &Spec) -> Result<String> {
    let host =
        Inside::here(&[], true).during(|| "cannot read the links of this host".to_owned())?;
    let layout = Layout::of(spec);
    let mut out = String::new();
    // Writing to a string cannot fail.
    for net in &spec.nets {
        if let Some(why) = unreachable(spec, net) {
            let _ = writeln!(out, "# {}: {why}", net.name.value);
        }
    }
    for v6 in [false, true] {
        let routed =
            |net: &&Net| net.host_address(v6).is_some() && unreachable(spec, net).is_none();
        let nets: Vec<&Net> = spec.nets.iter().filter(routed).collect();
        if nets.is_empty() {
            continue;
        }
        let (family, key) = match v6 {
            false => ("IPv4", "net/ipv4/ip_forward"),
            true => ("IPv6", "net/ipv6/conf/all/forwarding"),
        };
        let forwards = layout.sysctls.iter().any(|(set, _)| set == key)
            || settings::read(key).is_some_and(|value| value != "0");
        if !forwards {
            let key = key.replace('/', ".");
            let _ = writeln!(
                out,
                "# the host does not forward {family}, because the lab does not need it; to turn it on: sysctl -w {key}=1"
            );
        }
        let hops = hops(&host, v6);
        if hops.is_empty() {
            let _ = writeln!(out, "# the host has no {family} address outside of labs");
        }
        for (hop, link) in hops {
            let _ = writeln!(out, "# for a router on the network of the host's {link}");
            let ip = if v6 { "ip -6" } else { "ip" };
            for net in &nets {
                let Some(subnet) = net.subnet(v6) else {
                    continue;
                };
                let masked = if v6 { net.nat6 } else { net.nat4 };
                if masked {
                    let name = &net.name.value;
                    let _ = write!(
                        out,
                        "# {name} is masqueraded; for connections that begin outside: "
                    );
                }
                let _ = writeln!(out, "{ip} route add {subnet} via {hop}");
            }
        }
    }
    Ok(out)
}

/// Why no route of the host leads to a network from outside, if none does.
fn unreachable(spec: &Spec, net: &Net) -> Option<String> {
    let on_host = [false, true]
        .iter()
        .any(|v6| net.host_address(*v6).is_some());
    let parent = net.parent.as_ref().filter(|_| spec.switch(net).is_none());
    match parent {
        Some(parent) => Some(format!("is directly on the network of {}", parent.value)),
        None if net.internal => Some("is internal".to_owned()),
        None if !on_host => Some("the host is not on it".to_owned()),
        None => None,
    }
}

/// The host's addresses of a family outside of labs, with their links; where there is a default route, only its link's.
fn hops(host: &Inside, v6: bool) -> Vec<(IpAddr, &str)> {
    let default = host
        .routes
        .iter()
        .find(|route| route.to.prefix_len() == 0 && route.to.addr().is_ipv6() == v6);
    let mut found: Vec<(IpAddr, &str)> = Vec::new();
    for link in &host.links {
        let is_lab = link.alias.starts_with("lab:") || link.alias.starts_with("cni:");
        if is_lab || !link.up || default.is_some_and(|route| route.link != link.index) {
            continue;
        }
        // One address of a link does.
        let address = host.addresses_of(link.index).map(|address| address.net);
        let address = address.map(|net| net.addr()).find(|address| {
            address.is_ipv6() == v6 && !address.is_loopback() && !is_link_local(*address)
        });
        found.extend(address.map(|address| (address, link.name.as_str())));
    }
    found
}

/// Whether an address is of one link only.
fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}
