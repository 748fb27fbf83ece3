//! Interfaces that stand on another one of the host, and the VLANs of bridges.

use std::collections::{BTreeSet, HashSet};

use super::{Planner, Subject};
use crate::action::Action;
use crate::device::{self, Tagging};
use crate::layout::{Bridge, Device, ETHERNET, End, Other, SpaceLayout};
use crate::link::{Link, LinkChange};
use crate::observe::Inside;

/// Whether a link stands on one of the host's, and not at the end of a pair.
pub(crate) fn is_on(link: &Link) -> bool {
    ["macvlan", "ipvlan"].contains(&link.kind.as_str())
}

/// Whether a link is one end of a pair.
pub(super) fn is_pair(link: &Link) -> bool {
    link.kind == "veth"
}

impl Planner<'_> {
    /// Whether a link is such a device, on the interface that it is to stand on.
    pub(super) fn stands(&self, link: &Link, device: &Device) -> bool {
        let on = |lower: &str| {
            let lower_link = self.kernel.host_link(lower);
            !self.fresh_bridges.contains(lower)
                && lower_link.is_some_and(|lower| lower.index == link.peer)
        };
        link.kind == device.kind() && device.lower().is_none_or(on) && device::is_as(link, device)
    }

    /// The largest packet of what a device stands on, if that is there.
    pub(super) fn mtu_below(&self, device: &Device) -> Option<u32> {
        let lower = self.kernel.host_link(device.lower()?)?;
        let own = self.layout.bridges.iter();
        let mut own = own.filter(|one| one.name == lower.name);
        own.next().map_or(Some(lower.mtu), |one| one.mtu)
    }

    /// The largest packet of an interface of the host that has no MTU of its own: that of what it stands on, or what the kernel
    /// makes of a bridge with a port that has a smaller one.
    pub(super) fn mtu_beside(&self, bridge: &Bridge) -> Option<u32> {
        let parent = bridge.parent.as_ref();
        let parent = parent.and_then(|parent| self.kernel.host_link(parent));
        let port = parent.map(|parent| parent.mtu.min(ETHERNET));
        self.mtu_below(&bridge.device).or(port)
    }

    /// The bridge that an interface of the host is to be a port of, if it is not.
    pub(super) fn other_master(&self, bridge: &Bridge, now: u32) -> Option<String> {
        let master = bridge.master.as_ref()?;
        let there = self.kernel.host_link(master);
        let is_port = there.is_some_and(|there| there.index == now)
            && !self.fresh_bridges.contains(master.as_str());
        (!is_port).then(|| master.clone())
    }

    /// What something is to stand on: the lab's own, or an interface of the host, which goes up.
    pub(super) fn lower(&mut self, name: &str, device: &Device) {
        if self.layout.bridges.iter().any(|own| own.name == name) {
            return;
        }
        let Some(link) = self.kernel.host_link(name) else {
            let text = format!(
                "the host has no interface {name}, which a {} needs",
                device.kind()
            );
            return self.conflict(Subject::Place, text);
        };
        let takes_all = matches!(device, Device::Macvlan(_) | Device::Ipvlan(_));
        let masters = self.kernel.host.links.iter();
        let mut masters = masters
            .filter(|other| link.master != 0 && other.index == link.master && !self.ours(other));
        if takes_all && let Some(master) = masters.next() {
            let text = format!(
                "{name} of the host is a port of {}, and carries no {}",
                master.name,
                device.kind()
            );
            return self.conflict(Subject::Place, text);
        }
        let up = Action::ChangeLink {
            space: None,
            link: name.to_owned(),
            change: LinkChange {
                up: Some(true),
                ..LinkChange::default()
            },
        };
        if !link.up && !self.plan.steps.contains(&up) {
            self.step(up);
        }
    }

    /// Those of a namespace that goes: the kernel would remove them some time later.
    pub(super) fn remove_on(&mut self, space: &str, inside: &Inside) {
        let group = self.layout.mark.group();
        for link in inside
            .links
            .iter()
            .filter(|link| is_on(link) && link.group == group)
        {
            self.step(Action::DeleteLink {
                space: Some(space.to_owned()),
                link: link.name.clone(),
            });
        }
    }

    /// Interfaces of namespaces that stand on one of the host's, and no longer as the file says: they go before anything
    /// else can have that one.
    pub(super) fn stale_on(&mut self) {
        let layout = self.layout;
        for space in &layout.spaces {
            let Some(inside) = self.inside(&space.name) else {
                continue;
            };
            for link in inside.links.iter().filter(|link| is_on(link)) {
                let mut ends = space.ends.iter().filter(|end| end.name == link.name);
                let kept = ends.any(|end| match &end.other {
                    Other::On(device) => {
                        self.stands(link, device) && (!device.has_mac() || link.mac == end.mac)
                    }
                    _ => false,
                });
                if link.group == layout.mark.group() && !kept {
                    self.step(Action::DeleteLink {
                        space: Some(space.name.clone()),
                        link: link.name.clone(),
                    });
                }
            }
        }
    }

    /// An interface of a namespace that stands on one of the host's; whether it is made anew.
    pub(super) fn on(&mut self, space: &SpaceLayout, end: &End, device: &Device) -> bool {
        if let Some(lower) = device.lower() {
            self.lower(lower, device);
        }
        let inner = self
            .inside(&space.name)
            .and_then(|inside| inside.link(&end.name));
        if let Some(inner) = inner {
            if self.stands(inner, device) && (!device.has_mac() || inner.mac == end.mac) {
                return false;
            }
            if inner.group != self.layout.mark.group() {
                let text = format!("{} in {} is not the lab's", inner.name, space.name);
                self.conflict(Subject::Space(space.name.clone()), text);
            } else if !(is_on(inner) || is_pair(inner) && self.gone.contains(&inner.peer)) {
                self.step(Action::DeleteLink {
                    space: Some(space.name.clone()),
                    link: inner.name.clone(),
                });
            }
        }
        self.step(Action::MakeOn {
            space: space.name.clone(),
            end: end.name.clone(),
            mac: end.mac,
            mtu: end.mtu,
            device: device.clone(),
            group: self.layout.mark.group(),
        });
        true
    }

    /// A VLAN of another interface of its namespace, which may have been made anew; whether it is.
    pub(super) fn tagged(
        &mut self,
        space: &SpaceLayout,
        end: &End,
        (lower, id): (&str, u16),
        lower_is_fresh: bool,
    ) -> bool {
        let inside = self.inside(&space.name);
        let device = Device::Vlan(lower.to_owned(), id);
        let link = inside.and_then(|inside| inside.link(&end.name));
        let below = inside.and_then(|inside| inside.link(lower));
        // With the other one it went.
        let link = link.filter(|link| {
            link.kind != device.kind()
                || !(lower_is_fresh && below.is_some_and(|below| below.index == link.peer))
        });
        if let Some(link) = link {
            let stands = link.kind == device.kind()
                && link.vlan == id
                && below.is_some_and(|below| below.index == link.peer);
            if stands {
                return false;
            }
            if link.group != self.layout.mark.group() {
                let text = format!("{} in {} is not the lab's", link.name, space.name);
                self.conflict(Subject::Space(space.name.clone()), text);
            } else if !(is_on(link) || is_pair(link) && self.gone.contains(&link.peer)) {
                self.step(Action::DeleteLink {
                    space: Some(space.name.clone()),
                    link: link.name.clone(),
                });
            }
        }
        self.step(Action::MakeTagged {
            space: space.name.clone(),
            end: end.name.clone(),
            mtu: end.mtu,
            device,
            group: self.layout.mark.group(),
        });
        true
    }

    /// The VLANs of bridges that keep them apart, and of those that no longer do.
    pub(super) fn vlans(&mut self) {
        let layout = self.layout;
        let made = |step: &Action| match step {
            Action::MakePort { port, .. } => Some(port.name.clone()),
            Action::MakeBridge { bridge, .. } => Some(bridge.name.clone()),
            _ => None,
        };
        let fresh: HashSet<String> = self.plan.steps.iter().filter_map(made).collect();
        for bridge in &layout.bridges {
            let kept = self.kernel.host_link(&bridge.name);
            let kept = kept.filter(|_| !self.fresh_bridges.contains(bridge.name.as_str()));
            if !bridge.device.filters() && !kept.is_some_and(|link| link.filters) {
                continue;
            }
            let ends = layout.spaces.iter().flat_map(|space| &space.ends);
            let ports = ends.filter_map(|end| match &end.other {
                Other::Port(port) if port.bridge == bridge.name => Some(port.name.as_str()),
                _ => None,
            });
            let uplinks = layout.bridges.iter();
            let uplinks = uplinks.filter(|one| one.master.as_ref() == Some(&bridge.name));
            let names: Vec<&str> = std::iter::once(bridge.name.as_str())
                .chain(bridge.parent.as_deref())
                .chain(uplinks.map(|one| one.name.as_str()))
                .chain(ports)
                .collect();
            for name in names {
                self.vlans_of(bridge, name, (kept, fresh.contains(name)));
            }
        }
    }

    /// The VLANs of one port, or of the bridge itself.
    fn vlans_of(&mut self, bridge: &Bridge, name: &str, (kept, is_fresh): (Option<&Link>, bool)) {
        let link = self.kernel.host_link(name).filter(|_| !is_fresh);
        if link.is_none() && !is_fresh {
            // Its namespace is not looked at.
            return;
        }
        let wanted = match bridge.device.filters() {
            true => self.layout.vlans(bridge, name),
            false => vec![1],
        };
        let stays =
            |link: &&Link| kept.is_some_and(|kept| [link.master, link.index].contains(&kept.index));
        let now = link.filter(stays);
        let now = now.and_then(|link| self.kernel.vlans.get(&link.index));
        // What becomes a port is in the first VLAN, untagged.
        let now = now.map_or(&[1][..], Vec::as_slice);
        let of = |list: &[u16]| -> BTreeSet<(u16, Tagging)> {
            let tagging = |at| {
                if at == 0 {
                    Tagging::Plain
                } else {
                    Tagging::Tagged
                }
            };
            let all = list.iter().enumerate().map(|(at, id)| (*id, tagging(at)));
            all.filter(|(id, _)| *id != 0).collect()
        };
        let (now, wanted) = (of(now), of(&wanted));
        let gone = now.iter().map(|(id, _)| *id);
        let gone = gone.filter(|id| wanted.iter().all(|(wanted, _)| wanted != id));
        let steps = gone.map(|id| (id, Tagging::Absent));
        for (id, tagging) in steps.chain(wanted.difference(&now).copied()) {
            self.step(Action::Vlan {
                link: name.to_owned(),
                is_bridge: name == bridge.name,
                id,
                tagging,
            });
        }
    }
}
