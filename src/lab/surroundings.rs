//! What of the machine is in the way of a lab: addresses and routes on links that are not the lab's.
//!
//! Only networks that the host is on can meet them; a switch without the host may have any subnet.

use corefile::{Diagnostic, Span};
use ipnet::IpNet;

use crate::error::{During, Result};
use crate::layout::Mark;
use crate::link::Link;
use crate::observe::Inside;
use crate::spec::Spec;
use crate::spec::forms::overlap;

/// Routes that come with an address (`RTPROT_KERNEL`): the address is told.
const KERNEL: u8 = 2;

/// What is in the way: addresses as errors, because `apply` refuses them, and routes as warnings.
///
/// # Errors
/// The kernel does not tell.
pub fn look(spec: &Spec) -> Result<Vec<Diagnostic>> {
    let host =
        Inside::here(&[], true).during(|| "cannot read the links of this host".to_owned())?;
    let mark = Mark::of(&spec.name);
    let link = |index: u32| host.links.iter().find(|link| link.index == index);
    let ours = |index: u32| {
        link(index).is_some_and(|link| mark.owns(&link.alias) && link.group == mark.group())
    };
    let mut found = Vec::new();
    for (subnet, span) in subnets(spec) {
        for address in &host.addresses {
            let local = address.net.addr().is_loopback() || is_link_local(&address.net);
            if local || ours(address.link) || !overlap(&address.net.trunc(), &subnet) {
                continue;
            }
            let name = link(address.link).map_or("?".to_owned(), whose);
            let message = format!("{subnet} overlaps {} of {name}", address.net);
            found.push(Diagnostic::error("LAB0111", message).at(span, "").help(
                "choose another subnet, or leave it out: then a free one of 10.201.0.0/16 is taken",
            ));
        }
        for route in &host.routes {
            let by_address = route.protocol == KERNEL && route.via.is_none();
            if route.to.prefix_len() == 0
                || by_address
                || is_link_local(&route.to)
                || ours(route.link)
                || !overlap(&route.to, &subnet)
            {
                continue;
            }
            let name = link(route.link).map_or("?".to_owned(), whose);
            let via = route.via.map(|via| format!(" via {via}"));
            let message = format!(
                "{subnet} overlaps this machine's route to {}{} on {name}",
                route.to,
                via.unwrap_or_default()
            );
            let note = if route.to.prefix_len() >= subnet.prefix_len() {
                format!(
                    "packets of the host to {} go there and not into the lab",
                    route.to
                )
            } else {
                format!("while the lab is up, packets to {subnet} go into it and not there")
            };
            found.push(
                Diagnostic::warning("LAB0204", message)
                    .at(span, "")
                    .note(note),
            );
        }
    }
    Ok(found)
}

/// The subnets that the host gets an address in, and services' addresses.
fn subnets(spec: &Spec) -> Vec<(IpNet, Span)> {
    let nets = spec.nets.iter().flat_map(|net| {
        let on = |subnet: &IpNet| net.host_address(subnet.addr().is_ipv6()).is_some();
        let subnets = net.subnets.iter().filter(move |subnet| on(&subnet.value));
        subnets.map(|subnet| (subnet.value, subnet.span))
    });
    let services = spec
        .services
        .iter()
        .map(|service| (IpNet::from(service.address), service.name.span));
    nets.chain(services).collect()
}

/// Whether every link has such an address.
fn is_link_local(net: &IpNet) -> bool {
    matches!(net, IpNet::V6(v6) if v6.addr().is_unicast_link_local() || v6.addr().is_multicast())
}

/// A link's name, and whose it is if that can be told.
fn whose(link: &Link) -> String {
    let name = &link.name;
    let hexadecimal = |rest: &str| rest.len() == 12 && rest.bytes().all(|c| c.is_ascii_hexdigit());
    let lab = link
        .alias
        .strip_prefix("lab:")
        .and_then(|rest| rest.split(':').next());
    match lab {
        Some(lab) => format!("{name} (of lab {lab})"),
        None if name == "docker0" || name.strip_prefix("br-").is_some_and(hexadecimal) => {
            format!("{name} (a network of Docker's)")
        }
        None => name.clone(),
    }
}
