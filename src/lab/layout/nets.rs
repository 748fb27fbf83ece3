//! What networks are on the host: bridges, VLANs of them or of the host's interfaces, macvlan and ipvlan.

use ipnet::IpNet;

use super::rules::is_local;
use super::{Bridge, Device, ETHERNET, LEAST_V6, Mark};
use crate::hash;
use crate::spec::{Kind, Net, Spec, vlan_name};

/// The VLAN of an interface of the host that a network is on.
fn vlan_of_host(spec: &Spec, net: &Net) -> Option<(String, Device)> {
    let (parent, vlan) = (net.parent.as_ref()?, net.vlan.as_ref()?);
    let device = Device::Vlan(parent.value.clone(), vlan.value);
    (spec.switch(net).is_none()).then(|| (vlan_name(&parent.value, vlan.value), device))
}

/// What the host's interface on a network is, and on one without a bridge those of its namespaces; none for what has
/// neither parent nor bridge.
pub(super) fn device(spec: &Spec, net: &Net) -> Option<Device> {
    let lower = match vlan_of_host(spec, net) {
        Some((name, _)) => Some(name),
        None => net.parent.as_ref().map(|parent| parent.value.clone()),
    };
    Some(match net.kind {
        Kind::Macvlan => Device::Macvlan(lower?),
        Kind::Ipvlan => Device::Ipvlan(lower?),
        Kind::Bridge => Device::Bridge(spec.nets.iter().any(|other| {
            spec.switch(other)
                .is_some_and(|switch| switch.name.value == net.name.value)
        })),
    })
}

/// The interfaces of the host, those first that others stand on.
pub(super) fn bridges(spec: &Spec, mark: &Mark) -> Vec<Bridge> {
    let mut bridges: Vec<Bridge> = Vec::new();
    // A VLAN of a network's bridge stands on that one.
    let (vlans, others): (Vec<&Net>, Vec<&Net>) =
        spec.nets.iter().partition(|net| spec.switch(net).is_some());
    for net in others {
        let vlan = vlan_of_host(spec, net).map(|(name, device)| Bridge {
            alias: mark.alias(&format!("net/{}", net.name.value)),
            device,
            name,
            ..Bridge::default()
        });
        let Some(device) = device(spec, net) else {
            continue;
        };
        let (is_bridge, is_there) = (device.kind() == "bridge", has_host(net));
        if !is_bridge {
            bridges.extend(vlan.clone());
        }
        if is_bridge || is_there {
            let parent = net.parent.as_ref().filter(|_| is_bridge && vlan.is_none());
            bridges.push(Bridge {
                parent: parent.map(|parent| parent.value.clone()),
                ..own(spec, net, device, mark)
            });
        }
        if is_bridge {
            bridges.extend(vlan.map(|vlan| Bridge {
                master: Some(net.name.value.clone()),
                ..vlan
            }));
        }
    }
    for net in vlans.into_iter().filter(|net| has_host(net)) {
        if let (Some(switch), Some(vlan)) = (spec.switch(net), &net.vlan) {
            let device = Device::Vlan(switch.name.value.clone(), vlan.value);
            bridges.push(own(spec, net, device, mark));
        }
    }
    for service in spec.services.iter().filter(|_| spec.nodes.is_empty()) {
        let Some(address) = service.address else {
            continue;
        };
        // The service's address lives on the first target's bridge, so that the host has a route to it.
        let net = service.to.iter().find_map(|to| {
            let on = &spec.space(&to.value)?.attachments;
            on.first().map(|on| on.net.value.clone())
        });
        if let Some(bridge) = bridges
            .iter_mut()
            .find(|bridge| Some(&bridge.name) == net.as_ref())
        {
            bridge.addresses.push(IpNet::from(address));
        }
    }
    bridges
}

/// The MTU of the host's interface on a network: no larger than that of a VLAN of its bridge, whose ports have that one, as
/// the kernel would make the bridge's.
fn least_mtu(spec: &Spec, net: &Net) -> Option<u32> {
    let is_vlan = |other: &&Net| spec.switch(other).is_some_and(|on| on.name == net.name);
    let vlans = spec.nets.iter().filter(is_vlan).filter_map(|vlan| vlan.mtu);
    let most = net.mtu.unwrap_or(ETHERNET);
    net.mtu
        .into_iter()
        .chain(vlans.filter(|mtu| *mtu < most))
        .min()
}

/// Whether the host is on a network.
fn has_host(net: &Net) -> bool {
    [false, true].map(|v6| net.host_address(v6)) != [None; 2]
}

/// The host's interface on a network, with its addresses and settings.
fn own(spec: &Spec, net: &Net, device: Device, mark: &Mark) -> Bridge {
    let name = &net.name.value;
    let address = |v6| {
        let prefix = net.subnet(v6)?.prefix_len();
        IpNet::new(net.host_address(v6)?, prefix).ok()
    };
    let host4 = net.host_address(false).is_some();
    let host6 = net.host_address(true).is_some();
    // Without it the kernel drops what comes from 127.0.0.1 and leaves by the bridge.
    let local = is_local(spec, net);
    let mut sysctls = Vec::new();
    let mut defaults = Vec::new();
    // Below 1,280 octets the kernel takes IPv6 away (RFC 8200, section 5), and these settings with it.
    let v6 = net.mtu.is_none_or(|mtu| mtu >= LEAST_V6);
    for (family, setting, value, wanted) in [
        ("ipv6", "accept_ra", "0", v6 && (host4 || host6)),
        ("ipv6", "accept_dad", "0", v6 && host6),
        ("ipv4", "route_localnet", "1", local),
    ] {
        let key = format!("net/{family}/conf/{name}/{setting}");
        if wanted {
            sysctls.push((key, value.to_owned()));
        } else {
            defaults.push((key, format!("net/{family}/conf/default/{setting}")));
        }
    }
    Bridge {
        name: name.clone(),
        mac: hash::mac(&[&spec.name, name]),
        mtu: least_mtu(spec, net),
        addresses: [false, true].into_iter().filter_map(address).collect(),
        parent: None,
        master: None,
        alias: mark.alias(&format!("net/{name}")),
        sysctls,
        defaults,
        device,
    }
}
