//! What a lab does not declare of its links because the kernel makes it so, and somebody may have changed.

use ipnet::IpNet;

use super::Planner;
use super::spaces::same;
use crate::layout::{Bridge, Port, SpaceLayout};
use crate::link::{Link, LinkChange};
use crate::observe::WITHOUT_V6;
use crate::port::PortOption;

impl Planner<'_> {
    /// The group of a link of the lab's, and what a new link of its kind does.
    pub(super) fn marks(&self, link: &Link) -> LinkChange {
        // What stands on another interface takes this from that one.
        let own = ["bridge", "veth", "macvlan"].contains(&link.kind.as_str());
        let group = self.layout.mark.group();
        LinkChange {
            group: (link.group != group).then_some(group),
            arp: (own && link.no_arp).then_some(true),
            multicast: (own && link.no_multicast).then_some(true),
            ..LinkChange::default()
        }
    }

    /// Options of a port that somebody changed. Where the bridge is down, or spans a tree, its state is not theirs.
    pub(super) fn changed_options(&self, outer: &Link, port: &Port) -> Vec<&'static PortOption> {
        let bridge = self.kernel.host_link(&port.bridge);
        let forwards = bridge.is_some_and(|bridge| bridge.up && !bridge.spans);
        let options = outer.options.iter().copied();
        options
            .filter(|option| forwards || !option.is_state())
            .collect()
    }

    /// Settings without which a link that is there has no IPv6, or passes nothing on where the others do.
    pub(super) fn passes(&mut self, space: Option<&SpaceLayout>, link: &Link, addresses: &[IpNet]) {
        let (declared, now) = match space {
            Some(space) => match self.inside(&space.name) {
                Some(inside) => (&space.sysctls, &inside.sysctls),
                None => return,
            },
            None => (&self.layout.sysctls, &self.kernel.host.sysctls),
        };
        let value = |wanted: &str| declared.iter().find(|(key, _)| key == wanted);
        let name = &link.name;
        let mut wanted = Vec::new();
        let off = format!("net/ipv6/conf/{name}/disable_ipv6");
        let has_v6 = addresses.iter().any(|net| net.addr().is_ipv6());
        if link.without_v6 && has_v6 && value(&off).is_none() {
            wanted.push((off, "0".to_owned()));
        }
        for (at, all) in ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"]
            .into_iter()
            .enumerate()
        {
            let place = ["net/ipv4/conf", "net/ipv6/conf"][at];
            let own = format!("{place}/{name}/forwarding");
            let Some((_, forwards)) = value(all) else {
                continue;
            };
            // One that is wrong in all is set in all.
            let in_all = now.get(all).is_some_and(|now| same(now, forwards));
            let differs = link.forwards[at].is_some_and(|now| now != same(forwards, "1"));
            let otherwise = [format!("{place}/default/forwarding"), own.clone()];
            if in_all && differs && otherwise.iter().all(|key| value(key).is_none()) {
                wanted.push((own, forwards.clone()));
            }
        }
        for (key, value) in wanted {
            self.set(space.map(|space| space.name.as_str()), &key, &value);
        }
    }

    /// A new interface of the host has IPv6, where it is to have addresses of it.
    pub(super) fn with_v6(&mut self, bridge: &Bridge) {
        let off = self.kernel.host.sysctls.get(WITHOUT_V6);
        let mut addresses = bridge.addresses.iter();
        if addresses.any(|net| net.addr().is_ipv6()) && off.is_some_and(|off| off != "0") {
            let key = format!("net/ipv6/conf/{}/disable_ipv6", bridge.name);
            self.set(None, &key, "0");
        }
    }

    /// The loopback interface of a namespace: up, with its addresses.
    pub(super) fn loopback(&mut self, space: &SpaceLayout) {
        let inside = self.inside(&space.name);
        let Some((inside, lo)) = inside.and_then(|inside| Some((inside, inside.link("lo")?)))
        else {
            return self.up(&space.name, "lo");
        };
        if !lo.up {
            self.up(&space.name, "lo");
        }
        let mut wanted: Vec<IpNet> = vec![super::LOOPBACK.into()];
        let addresses = || space.ends.iter().flat_map(|end| &end.addresses);
        let declared = |key: &str| space.sysctls.iter().any(|(known, _)| known == key);
        let all = "net/ipv6/conf/all/disable_ipv6";
        if lo.without_v6 && addresses().any(|net| net.addr().is_ipv6()) && !declared(all) {
            // Links that are made later take it over as well; with IPv6 the kernel makes the address.
            self.set(Some(&space.name), all, "0");
        } else if lo.up && !lo.without_v6 && lo.accept.is_some() {
            wanted.push(super::LOOPBACK6.into());
        }
        self.addresses(Some(&space.name), "lo", &wanted, Some((inside, lo)));
    }
}
