//! Interfaces that stand on another one of the host (VLANs, macvlan, ipvlan), and the VLANs of a bridge's ports.
//!
//! A port has one VLAN that comes and goes without a tag, the first of its list, and others with one. Kernels are built
//! without some of it; [`lacking`] asks beforehand, so that a lab that needs it is refused as a whole.

use std::collections::BTreeSet;
use std::io;

use crate::hash::Map;
use crate::layout::{Device, Layout, Other};
use crate::link::{
    IFLA_AF_SPEC, IFLA_EXT_MASK, IFLA_INFO_DATA, IFLA_INFO_KIND, IFLA_LINK, IFLA_LINKINFO,
    IFLA_VLAN_ID, Link, LinkChange, NewEnd, RTM_DELLINK, RTM_GETLINK, RTM_NEWLINK, change_link,
    end_attributes, link_header, retried,
};
use crate::netlink::{Attributes, Batch, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, Socket, natural};
use crate::space::Away;
use crate::sys;

const RTM_SETLINK: u16 = 19;
const RTEXT_FILTER_BRVLAN: u32 = 2;
const IFLA_BRIDGE_FLAGS: u16 = 0;
const IFLA_BRIDGE_VLAN_INFO: u16 = 2;
const BRIDGE_FLAGS_SELF: u16 = 2;
const BRIDGE_VLAN_INFO_PVID: u16 = 2;
const BRIDGE_VLAN_INFO_UNTAGGED: u16 = 4;
const IFLA_MACVLAN_MODE: u16 = 1;
const MACVLAN_MODE_BRIDGE: u32 = 4;
const IFLA_IPVLAN_MODE: u16 = 1;
const IPVLAN_MODE_L2: u16 = 0;

/// Whether a link is in the mode, or the VLAN, of such a device.
pub(crate) fn is_as(link: &Link, device: &Device) -> bool {
    match device {
        Device::Bridge(_) => true,
        Device::Vlan(_, id) => *id == link.vlan,
        Device::Macvlan(_) => link.mode == MACVLAN_MODE_BRIDGE,
        Device::Ipvlan(_) => link.mode == u32::from(IPVLAN_MODE_L2),
    }
}

/// Adds an interface that stands on another one, with that one's index.
pub(crate) fn add(batch: &mut Batch, new: NewEnd<'_>, device: &Device, lower: u32, group: u32) {
    let header = link_header(0, new.index, 0, 0);
    batch.message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &header);
    end_attributes(batch, new, group);
    batch.number(IFLA_LINK, lower);
    let info = batch.open(IFLA_LINKINFO);
    batch.text(IFLA_INFO_KIND, device.kind());
    let data = batch.open(IFLA_INFO_DATA);
    match device {
        Device::Vlan(_, id) => drop(batch.attribute(IFLA_VLAN_ID, &id.to_ne_bytes())),
        Device::Macvlan(_) => drop(batch.number(IFLA_MACVLAN_MODE, MACVLAN_MODE_BRIDGE)),
        Device::Ipvlan(_) => {
            batch.attribute(IFLA_IPVLAN_MODE, &IPVLAN_MODE_L2.to_ne_bytes());
        }
        Device::Bridge(_) => {}
    }
    batch.close(data);
    batch.close(info);
}

/// How a port is in a VLAN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tagging {
    /// Without a tag.
    Plain,
    /// With a tag.
    Tagged,
    /// Not at all.
    Absent,
}

/// Makes a port, or the bridge itself, one of a VLAN, or takes it out of it.
pub(crate) fn set_vlan(
    batch: &mut Batch,
    link: u32,
    is_bridge: bool,
    (id, tagging): (u16, Tagging),
) {
    let kind = match tagging {
        Tagging::Absent => RTM_DELLINK,
        _ => RTM_SETLINK,
    };
    batch.message(kind, 0, &link_header(libc::AF_BRIDGE as u8, link, 0, 0));
    let options = batch.open(IFLA_AF_SPEC);
    if is_bridge {
        batch.attribute(IFLA_BRIDGE_FLAGS, &BRIDGE_FLAGS_SELF.to_ne_bytes());
    }
    let flags = match tagging {
        Tagging::Plain => BRIDGE_VLAN_INFO_PVID | BRIDGE_VLAN_INFO_UNTAGGED,
        _ => 0,
    };
    // `struct bridge_vlan_info`
    let [one, two] = flags.to_ne_bytes();
    let [three, four] = id.to_ne_bytes();
    batch.attribute(IFLA_BRIDGE_VLAN_INFO, &[one, two, three, four]);
    batch.close(options);
}

/// The VLANs of bridges and ports by link, the untagged one first; 0 if there is none.
pub(crate) fn vlans(socket: &mut Socket) -> io::Result<Map<u32, Vec<u16>>> {
    retried(|| {
        let mut batch = Batch::default();
        let header = link_header(libc::AF_BRIDGE as u8, 0, 0, 0);
        batch.message(RTM_GETLINK, NLM_F_DUMP, &header);
        batch.number(IFLA_EXT_MASK, RTEXT_FILTER_BRVLAN);
        let mut found = Map::default();
        socket.dump(&mut batch, |kind, body| {
            if kind == RTM_NEWLINK
                && let (Some(index), Some(attributes)) = (body.get(4..8), body.get(16..))
            {
                found.insert(natural(index), read(attributes));
            }
        })?;
        Ok(found)
    })
}

/// The VLANs of one port.
fn read(attributes: &[u8]) -> Vec<u16> {
    let (mut plain, mut tagged) = (0, BTreeSet::new());
    let options = Attributes(attributes).filter(|&(kind, _)| kind == IFLA_AF_SPEC);
    for (kind, value) in options.flat_map(|(_, value)| Attributes(value)) {
        if let (IFLA_BRIDGE_VLAN_INFO, [one, two, three, four]) = (kind, value) {
            let flags = u16::from_ne_bytes([*one, *two]);
            let id = u16::from_ne_bytes([*three, *four]);
            match flags & BRIDGE_VLAN_INFO_UNTAGGED {
                0 => drop(tagged.insert(id)),
                _ => plain = id,
            }
        }
    }
    std::iter::once(plain).chain(tagged).collect()
}

/// What the kernel lacks that a lab needs, in words; a namespace of its own is asked, in which nobody is.
pub(crate) fn lacking(layout: &Layout) -> Vec<String> {
    let ends = layout.spaces.iter().flat_map(|space| &space.ends);
    let devices = ends.filter_map(|end| match &end.other {
        Other::On(device) => Some(device),
        _ => None,
    });
    let devices = devices.chain(layout.bridges.iter().map(|bridge| &bridge.device));
    let ends = layout.spaces.iter().flat_map(|space| &space.ends);
    let tagged = ends.filter(|end| matches!(end.other, Other::Tagged(..)));
    let mut wanted: Vec<(&str, bool)> = devices
        .map(|device| (device.kind(), device.filters()))
        .chain(tagged.map(|_| ("vlan", false)))
        .filter(|one| *one != ("bridge", false))
        .collect();
    wanted.sort_unstable();
    wanted.dedup();
    // Who may not ask is refused when it matters.
    wanted.retain(|(kind, _)| !has(kind).unwrap_or(true));
    let text = |(kind, _): (&str, bool)| {
        match kind {
        "bridge" => "this kernel's bridges cannot keep VLANs apart (CONFIG_BRIDGE_VLAN_FILTERING, which needs the module 8021q), which a network with `vlan` and another network as its `parent` needs".to_owned(),
        "vlan" => "this kernel has no VLANs (module 8021q, CONFIG_VLAN_8021Q), which `vlan` and `tagged` need".to_owned(),
        kind => format!("this kernel has no {kind} (module {kind}, CONFIG_{}), which kind = \"{kind}\" needs", kind.to_uppercase()),
    }
    };
    wanted.into_iter().map(text).collect()
}

/// Whether the kernel has a kind of interface, and bridges that keep VLANs apart.
fn has(kind: &str) -> io::Result<bool> {
    let _away = Away::here()?;
    sys::unshare(libc::CLONE_NEWNET)?;
    let mut socket = Socket::route()?;
    let mut batch = Batch::default();
    let header = link_header(0, 0, 0, 0);
    batch.message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &header);
    let info = batch.open(IFLA_LINKINFO);
    batch.text(IFLA_INFO_KIND, kind);
    batch.close(info);
    let mut refusals = socket.transact(&mut batch)?;
    if kind == "bridge" {
        batch.clear();
        let change = LinkChange {
            filters: Some(true),
            ..LinkChange::default()
        };
        change_link(&mut batch, "bridge0", &change, None);
        refusals.extend(socket.transact(&mut batch)?);
    }
    // One that is known and cannot stand on nothing is refused otherwise.
    Ok(refusals
        .iter()
        .all(|refusal| refusal.errno != libc::EOPNOTSUPP))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vlans_are_read_as_they_are_set() {
        let mut batch = Batch::default();
        let of = |batch: &Batch| read(&batch.last()[16..]);
        set_vlan(&mut batch, 7, false, (10, Tagging::Plain));
        assert_eq!(of(&batch), [10]);
        set_vlan(&mut batch, 7, true, (20, Tagging::Tagged));
        assert_eq!(of(&batch), [0, 20]);
    }
}
