//! Which address everything gets: as written, or picked so that reordering the file moves nothing.
//!
//! A picked address is where the hash of (lab, namespace, network) falls in the subnet, or the next free one. What is
//! written is taken first. Picking is linear in the number of namespaces while the subnet is not almost full.

use std::net::IpAddr;

use corefile::Report;
use ipnet::IpNet;

use super::{At, Spec, mistake, subnet_address};
use crate::hash::hash;
use crate::hash::{Map, Set};

/// The addresses of every attachment: by namespace, by attachment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    /// `spaces[i][j]`: addresses of the `j`-th attachment of the `i`-th namespace, with the subnet's prefix.
    pub spaces: Vec<Vec<Vec<IpNet>>>,
    /// `links[i][end]`: addresses of both ends of the `i`-th link.
    pub links: Vec<[Vec<IpNet>; 2]>,
}

/// Whether an address of a subnet may be a host's.
fn usable(subnet: IpNet, address: IpAddr) -> bool {
    if !subnet.contains(&address) {
        return false;
    }
    match subnet {
        IpNet::V4(v4) if v4.prefix_len() < 31 => {
            address != v4.network() && address != v4.broadcast()
        }
        _ => true,
    }
}

/// How many addresses a subnet has, at most 2⁶⁴.
fn size(subnet: IpNet) -> u128 {
    let bits = u32::from(subnet.max_prefix_len() - subnet.prefix_len());
    1 << bits.min(64)
}

/// Gives everything its addresses; what cannot be is reported.
pub fn assign(spec: &Spec, report: &mut Report) -> Addresses {
    let mut taken: Map<(usize, IpAddr), String> = Map::default();
    let mut all = Addresses::default();
    for (index, net) in spec.nets.iter().enumerate() {
        for v6 in [false, true] {
            let Some(address) = net.host_address(v6) else {
                continue;
            };
            if let Some(subnet) = net.subnet(v6)
                && !usable(subnet, address)
            {
                report.push(mistake(
                    "LAB0104",
                    format!("{address} cannot be the host's address in {subnet}"),
                    net.name.span,
                    "",
                ));
            }
            taken.insert((index, address), "the host".to_owned());
        }
    }
    let index_of: Map<&str, usize> = spec
        .nets
        .iter()
        .enumerate()
        .map(|(index, net)| (net.name.value.as_str(), index))
        .collect();
    for space in &spec.spaces {
        let mut attachments = Vec::new();
        for on in &space.attachments {
            let mut addresses = Vec::new();
            if let Some(&index) = index_of.get(on.net.value.as_str()) {
                for At { value, span } in &on.addresses {
                    let net = &spec.nets[index];
                    match net.subnet(value.is_ipv6()) {
                        Some(subnet) if usable(subnet, *value) => {
                            let who = space.name.value.clone();
                            if let Some(other) = taken.insert((index, *value), who) {
                                report.push(
                                    mistake("LAB0105", format!("{value} is taken"), *span, "")
                                        .note(format!("it belongs to {other}")),
                                );
                            }
                            addresses.extend(IpNet::new(*value, subnet.prefix_len()));
                        }
                        Some(subnet) => report.push(
                            mistake(
                                "LAB0104",
                                format!("{value} is no host's address in {subnet}"),
                                *span,
                                "",
                            )
                            .beside(net.name.span, "the network"),
                        ),
                        None => report.push(mistake(
                            "LAB0104",
                            format!("network `{}` has no subnet of this family", on.net.value),
                            *span,
                            "",
                        )),
                    }
                }
            }
            attachments.push(addresses);
        }
        all.spaces.push(attachments);
    }
    // A namespace that is written with such an address is told of by `check`.
    for (index, _) in spec.nets.iter().enumerate() {
        for (service, address) in spec.services.iter().filter_map(|s| Some((s, s.address?))) {
            taken
                .entry((index, address))
                .or_insert_with(|| format!("service {}", service.name.value));
        }
    }
    pick(spec, &index_of, &mut taken, &mut all, report);
    for link in &spec.links {
        let mut ends = [Vec::new(), Vec::new()];
        for At {
            value: subnet,
            span,
        } in &link.subnets
        {
            // A /31 and a /127 have no network address to spare.
            let first = u128::from(size(*subnet) > 2);
            for (end, addresses) in ends.iter_mut().enumerate() {
                match subnet_address(*subnet, first + end as u128) {
                    Some(address) => addresses.extend(IpNet::new(address, subnet.prefix_len())),
                    None => report.push(mistake(
                        "LAB0107",
                        format!("{subnet} has no address for the second end"),
                        *span,
                        "",
                    )),
                }
            }
        }
        all.links.push(ends);
    }
    all
}

/// Picks what is not written.
fn pick(
    spec: &Spec,
    index_of: &Map<&str, usize>,
    taken: &mut Map<(usize, IpAddr), String>,
    all: &mut Addresses,
    report: &mut Report,
) {
    let mut order: Vec<usize> = (0..spec.spaces.len()).collect();
    order.sort_by(|&one, &other| {
        spec.spaces[one]
            .name
            .value
            .cmp(&spec.spaces[other].name.value)
    });
    let mut full = Set::default();
    for at in order {
        let space = &spec.spaces[at];
        for (slot, on) in space.attachments.iter().enumerate() {
            let Some(&index) = index_of.get(on.net.value.as_str()) else {
                continue;
            };
            for subnet in &spec.nets[index].subnets {
                let subnet = subnet.value;
                let addresses = &mut all.spaces[at][slot];
                if addresses
                    .iter()
                    .any(|given| given.addr().is_ipv6() == subnet.addr().is_ipv6())
                    || full.contains(&subnet)
                {
                    continue;
                }
                let size = size(subnet);
                let start =
                    u128::from(hash(&[&spec.name, &space.name.value, &on.net.value])) % size;
                let free = (0..size.min(1 << 17))
                    .filter_map(|step| subnet_address(subnet, (start + step) % size))
                    .find(|address| {
                        usable(subnet, *address) && !taken.contains_key(&(index, *address))
                    });
                match free {
                    Some(address) => {
                        taken.insert((index, address), space.name.value.clone());
                        addresses.extend(IpNet::new(address, subnet.prefix_len()));
                    }
                    None => {
                        full.insert(subnet);
                        report.push(
                            mistake(
                                "LAB0107",
                                format!("{subnet} has too few addresses for its namespaces"),
                                on.net.span,
                                "there is none left",
                            )
                            .help("give the network a shorter prefix"),
                        );
                    }
                }
            }
        }
    }
}
