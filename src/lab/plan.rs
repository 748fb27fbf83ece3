//! The difference between a lab and the kernel, as steps in an order that can be cut anywhere.
//!
//! Removals first; then bridges (down), namespaces with their links, addresses and routes, settings of the host, rules,
//! files; bridges go up last, because a bridge that is up floods every new port's first words to all others, and a lab of
//! a thousand would cost a million packets.
//!
//! Ownership: a host link is ours by group and alias, an interface inside by group, a route or address by its protocol
//! number, a table by its comment, a file by its first line, a namespace by the journal and its number. What has one of
//! our names and is not ours is a conflict: then nothing is done.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use ipnet::IpNet;

use crate::action::Action;
use crate::claim::{is_marked, owned, owner, restore};
use crate::journal::{Journal, files_of};
use crate::layout::{Bridge, End, Layout, Other, Port, SpaceLayout};
use crate::link::{Link, LinkChange, PROTOCOL};
use crate::observe::{Inside, Kernel, Seen};

/// Steps, and what stands against them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// What to do.
    pub steps: Vec<Action>,
    /// What is not ours and in the way; if there is any, nothing is done.
    pub conflicts: Vec<String>,
    /// What will not work although everything is made.
    pub warnings: Vec<String>,
}

impl Plan {
    /// Compares.
    #[must_use]
    pub fn make(layout: &Layout, journal: Option<&Journal>, kernel: &Kernel) -> Self {
        let mut planner = Planner {
            layout,
            journal,
            kernel,
            plan: Self::default(),
            fresh_bridges: HashSet::new(),
            gone: HashSet::new(),
        };
        planner.conflicts();
        planner.removals();
        for bridge in &layout.bridges {
            planner.bridge(bridge);
        }
        planner.spaces();
        planner.host_settings();
        planner.table();
        planner.files();
        for bridge in &layout.bridges {
            let up = kernel.host_link(&bridge.name).is_some_and(|link| link.up);
            if !up || planner.fresh_bridges.contains(bridge.name.as_str()) {
                planner.plan.steps.push(Action::ChangeLink {
                    space: None,
                    link: bridge.name.clone(),
                    change: LinkChange {
                        up: Some(true),
                        ..LinkChange::default()
                    },
                });
            }
        }
        planner.warnings();
        if !planner.plan.conflicts.is_empty() {
            // Nothing will be done, and nobody should type what would harm others.
            planner.plan.steps.clear();
        }
        planner.plan
    }

    /// The whole lab on a machine that has nothing of it.
    #[must_use]
    pub fn from_nothing(layout: &Layout) -> Self {
        let mut kernel = Kernel::default();
        for space in &layout.spaces {
            kernel.spaces.insert(space.name.clone(), Seen::Absent);
        }
        let mut planner = Planner {
            layout,
            journal: None,
            kernel: &kernel,
            plan: Self::default(),
            fresh_bridges: HashSet::new(),
            gone: HashSet::new(),
        };
        for bridge in &layout.bridges {
            planner.bridge(bridge);
        }
        planner.spaces();
        planner.host_settings();
        planner.table();
        for space in &layout.spaces {
            for (path, text) in &space.files {
                planner.plan.steps.push(Action::WriteFile {
                    path: path.clone(),
                    text: text.clone(),
                    fresh: true,
                });
            }
        }
        for bridge in &layout.bridges {
            planner.plan.steps.push(Action::ChangeLink {
                space: None,
                link: bridge.name.clone(),
                change: LinkChange {
                    up: Some(true),
                    ..LinkChange::default()
                },
            });
        }
        planner.plan
    }
}

/// The comparison at work.
struct Planner<'a> {
    layout: &'a Layout,
    journal: Option<&'a Journal>,
    kernel: &'a Kernel,
    plan: Plan,
    fresh_bridges: HashSet<&'a str>,
    /// Host links that are being removed, by index.
    gone: HashSet<u32>,
}

impl<'a> Planner<'a> {
    /// Adds a step.
    fn step(&mut self, action: Action) {
        self.plan.steps.push(action);
    }

    /// Adds a conflict.
    fn conflict(&mut self, text: String) {
        self.plan.conflicts.push(text);
    }

    /// Whether a link of the host is ours.
    fn ours(&self, link: &Link) -> bool {
        self.layout.mark.owns(&link.alias) && link.group == self.layout.mark.group()
    }

    /// What has our names and is not ours, and who has our addresses.
    fn conflicts(&mut self) {
        for name in self.layout.host_links() {
            if let Some(link) = self.kernel.host_link(&name)
                && !self.ours(link)
            {
                let whose = owner(&link.alias);
                self.conflict(format!(
                    "link {name} exists on the host and is not the lab's{whose}"
                ));
            }
        }
        for space in &self.layout.spaces {
            match self.kernel.spaces.get(&space.name) {
                Some(Seen::There(inside)) => {
                    if let Err(why) = owned(&space.name, inside, &self.layout.mark, self.journal) {
                        self.conflict(why);
                    }
                }
                Some(Seen::HalfMade) => {
                    let known = self
                        .journal
                        .is_some_and(|journal| journal.spaces.contains_key(&space.name));
                    if !known {
                        self.conflict(format!(
                            "{} is a file and no namespace, and not the lab's",
                            crate::space::path(&space.name).display()
                        ));
                    }
                }
                _ => {}
            }
        }
        for net in self
            .layout
            .bridges
            .iter()
            .flat_map(|bridge| &bridge.addresses)
        {
            let clash = self.kernel.host.addresses.iter().find(|address| {
                let link = self
                    .kernel
                    .host
                    .links
                    .iter()
                    .find(|link| link.index == address.link);
                let local = address.net.addr().is_loopback()
                    || address.net.addr().to_string().starts_with("fe80");
                !local
                    && (address.net.trunc().contains(&net.trunc())
                        || net.trunc().contains(&address.net.trunc()))
                    && !link.is_some_and(|link| self.ours(link))
            });
            if let Some(clash) = clash {
                let link = self
                    .kernel
                    .host
                    .links
                    .iter()
                    .find(|link| link.index == clash.link);
                let (name, alias) =
                    link.map_or(("?", ""), |link| (link.name.as_str(), link.alias.as_str()));
                let text = format!(
                    "{} overlaps {} of {name} on the host{}",
                    net.trunc(),
                    clash.net,
                    owner(alias)
                );
                self.conflict(text);
            }
        }
        if let Some(seen) = self
            .kernel
            .tables
            .as_ref()
            .and_then(|tables| tables.get(&self.layout.mark.table()))
            && !self.layout.mark.owns(&seen.comment)
        {
            self.conflict(format!(
                "table inet {} exists and is not the lab's",
                self.layout.mark.table()
            ));
        }
        let kernel = self.kernel;
        let all = self
            .layout
            .spaces
            .iter()
            .filter(|space| kernel.spaces.contains_key(&space.name));
        for (path, _) in all.flat_map(|space| &space.files) {
            if path.symlink_metadata().is_ok() && !is_marked(path, &self.layout.mark) {
                self.conflict(format!("{} exists and is not the lab's", path.display()));
            }
        }
    }

    /// What the lab no longer declares.
    fn removals(&mut self) {
        let wanted: HashSet<String> = self.layout.host_links().into_iter().collect();
        for link in &self.kernel.host.links {
            if self.ours(link) && !wanted.contains(&link.name) {
                self.gone.insert(link.index);
                self.plan.steps.push(Action::DeleteLink {
                    space: None,
                    link: link.name.clone(),
                });
            }
        }
        let Some(journal) = self.journal else { return };
        let declared: HashMap<&str, &SpaceLayout> = self
            .layout
            .spaces
            .iter()
            .map(|space| (space.name.as_str(), space))
            .collect();
        for (name, made) in &journal.spaces {
            let declared = declared.get(name.as_str());
            let seen = self.kernel.spaces.get(name);
            // What is declared and was not looked at is as it is declared.
            if declared.is_some() && seen.is_none() {
                continue;
            }
            match seen {
                _ if declared.is_some() => {}
                Some(Seen::There(inside))
                    if owned(name, inside, &self.layout.mark, self.journal).is_err() => {}
                Some(Seen::There(_) | Seen::HalfMade) => self.step(Action::RemoveSpace {
                    space: name.clone(),
                }),
                _ => {}
            }
            let kept = |path: &Path| {
                declared.is_some_and(|space| space.files.iter().any(|(kept, _)| kept == path))
            };
            for path in made.paths(name).filter(|path| !kept(path)) {
                if is_marked(&path, &self.layout.mark) {
                    self.step(Action::RemoveFile { path });
                }
            }
            let path = files_of(name);
            if made.directory
                && declared.is_none_or(|space| space.files.is_empty())
                && path.exists()
            {
                self.step(Action::RemoveDirectory { path });
            }
        }
    }

    /// A bridge, its addresses and settings.
    fn bridge(&mut self, bridge: &'a Bridge) {
        let group = self.layout.mark.group();
        let link = self.kernel.host_link(&bridge.name);
        match link {
            Some(link) if link.kind == "bridge" => {
                let change = LinkChange {
                    mac: (link.mac != bridge.mac).then(|| bridge.mac.to_vec()),
                    mtu: bridge.mtu.filter(|mtu| *mtu != link.mtu),
                    alias: (link.alias != bridge.alias).then(|| bridge.alias.clone()),
                    ..LinkChange::default()
                };
                if change != LinkChange::default() {
                    self.step(Action::ChangeLink {
                        space: None,
                        link: bridge.name.clone(),
                        change,
                    });
                }
            }
            _ => {
                if link.is_some() {
                    self.step(Action::DeleteLink {
                        space: None,
                        link: bridge.name.clone(),
                    });
                }
                self.fresh_bridges.insert(&bridge.name);
                self.step(Action::MakeBridge {
                    bridge: bridge.clone(),
                    group,
                });
            }
        }
        let kept = link.filter(|_| !self.fresh_bridges.contains(bridge.name.as_str()));
        self.addresses(
            None,
            &bridge.name,
            &bridge.addresses,
            kept.map(|link| (&self.kernel.host, link)),
        );
        for (key, value) in &bridge.sysctls {
            if kept.is_none() || self.kernel.host.sysctls.get(key) != Some(value) {
                self.step(Action::Sysctl {
                    space: None,
                    key: key.clone(),
                    value: value.clone(),
                    before: None,
                });
            }
        }
    }

    /// The addresses of a link; whether anything changes.
    fn addresses(
        &mut self,
        space: Option<&str>,
        link: &str,
        wanted: &[IpNet],
        kept: Option<(&Inside, &Link)>,
    ) -> bool {
        let space = space.map(str::to_owned);
        let link_name = link.to_owned();
        let mut present = Vec::new();
        let mut removed = false;
        if let Some((inside, link)) = kept {
            for address in inside.addresses_of(link.index) {
                if wanted.contains(&address.net) {
                    present.push(address.net);
                } else if address.protocol == PROTOCOL {
                    removed = true;
                    self.step(Action::DeleteAddress {
                        space: space.clone(),
                        link: link_name.clone(),
                        net: address.net,
                    });
                }
            }
        }
        if removed {
            // The kernel may take the other addresses of a subnet away together with its first.
            present.clear();
        }
        let mut changed = removed;
        for net in wanted.iter().filter(|net| !present.contains(net)) {
            changed = true;
            self.step(Action::AddAddress {
                space: space.clone(),
                link: link_name.clone(),
                net: *net,
            });
        }
        changed
    }

    /// The namespace, if it is there.
    fn inside(&self, name: &str) -> Option<&'a Inside> {
        match self.kernel.spaces.get(name) {
            Some(Seen::There(inside)) => Some(inside),
            _ => None,
        }
    }

    /// All namespaces: those with pairs first, because a pair needs both.
    fn spaces(&mut self) {
        let layout = self.layout;
        let kernel = self.kernel;
        let looked_at = |space: &SpaceLayout| kernel.spaces.contains_key(&space.name);
        let paired = |space: &SpaceLayout| {
            space
                .ends
                .iter()
                .any(|end| matches!(end.other, Other::Space(..)))
        };
        for space in layout
            .spaces
            .iter()
            .filter(|space| paired(space) && looked_at(space))
        {
            self.make_space(space);
        }
        let mut fresh_links: HashSet<(usize, usize)> = HashSet::new();
        for (at, space) in layout.spaces.iter().enumerate() {
            for (slot, end) in space.ends.iter().enumerate() {
                if let Other::Space(other, far) = end.other
                    && (at, slot) < (other, far)
                    && looked_at(space)
                    && looked_at(&layout.spaces[other])
                    && self.pair([at, other], [slot, far])
                {
                    fresh_links.extend([(at, slot), (other, far)]);
                }
            }
        }
        for (at, space) in layout.spaces.iter().enumerate() {
            if !looked_at(space) {
                continue;
            }
            if !paired(space) {
                self.make_space(space);
            }
            let mut changed = false;
            let inside = self.inside(&space.name);
            self.stale_ends(space);
            if !inside
                .and_then(|inside| inside.link("lo"))
                .is_some_and(|lo| lo.up)
            {
                self.up(&space.name, "lo");
            }
            for (slot, end) in space.ends.iter().enumerate() {
                let fresh = match &end.other {
                    Other::Port(port) => self.port(space, end, port),
                    Other::Space(..) => fresh_links.contains(&(at, slot)),
                };
                changed |= self.end(space, end, fresh);
            }
            self.routes(space, changed);
        }
    }

    /// The namespace itself and its settings.
    fn make_space(&mut self, space: &SpaceLayout) {
        let inside = self.inside(&space.name);
        if inside.is_none() {
            self.step(Action::MakeSpace {
                space: space.name.clone(),
                repair: matches!(self.kernel.spaces.get(&space.name), Some(Seen::HalfMade)),
            });
        }
        for (key, value) in &space.sysctls {
            let now = inside.and_then(|inside| inside.sysctls.get(key));
            // The kernel prints several numbers with tabs between them.
            let same = now.is_some_and(|now| now.split_whitespace().eq(value.split_whitespace()));
            if !same {
                self.step(Action::Sysctl {
                    space: Some(space.name.clone()),
                    key: key.clone(),
                    value: value.clone(),
                    before: None,
                });
            }
        }
    }

    /// Interfaces inside that are ours and no longer declared; those on a bridge go with their port.
    fn stale_ends(&mut self, space: &SpaceLayout) {
        let Some(inside) = self.inside(&space.name) else {
            return;
        };
        for link in &inside.links {
            let declared = space.ends.iter().any(|end| end.name == link.name);
            let goes_anyway = self.gone.contains(&link.peer);
            if link.group == self.layout.mark.group()
                && !link.kind.is_empty()
                && !declared
                && !goes_anyway
            {
                self.step(Action::DeleteLink {
                    space: Some(space.name.clone()),
                    link: link.name.clone(),
                });
            }
        }
    }

    /// A link inside goes up.
    fn up(&mut self, space: &str, link: &str) {
        self.step(Action::ChangeLink {
            space: Some(space.to_owned()),
            link: link.to_owned(),
            change: LinkChange {
                up: Some(true),
                ..LinkChange::default()
            },
        });
    }

    /// A pair between two namespaces; whether it is made anew.
    fn pair(&mut self, at: [usize; 2], slots: [usize; 2]) -> bool {
        let spaces = at.map(|at| &self.layout.spaces[at]);
        let ends = [&spaces[0].ends[slots[0]], &spaces[1].ends[slots[1]]];
        let links = [0, 1].map(|side| {
            self.inside(&spaces[side].name)
                .and_then(|inside| inside.link(&ends[side].name))
        });
        if let [Some(one), Some(other)] = links
            && one.peer == other.index
            && other.peer == one.index
            && one.kind == "veth"
        {
            return false;
        }
        for side in [0, 1] {
            // Deleting one end of a stale pair deletes its other end, wherever that is.
            if let Some(link) = links[side] {
                if link.group == self.layout.mark.group() {
                    self.step(Action::DeleteLink {
                        space: Some(spaces[side].name.clone()),
                        link: link.name.clone(),
                    });
                } else {
                    self.conflict(format!(
                        "{} in {} is not the lab's",
                        link.name, spaces[side].name
                    ));
                }
            }
        }
        self.step(Action::MakePair {
            spaces: spaces.map(|space| space.name.clone()),
            ends: ends.map(|end| end.name.clone()),
            macs: ends.map(|end| end.mac),
            group: self.layout.mark.group(),
        });
        true
    }

    /// A pair between a namespace and a bridge; whether it is made anew.
    fn port(&mut self, space: &SpaceLayout, end: &End, port: &Port) -> bool {
        let outer = self.kernel.host_link(&port.name);
        let inner = self
            .inside(&space.name)
            .and_then(|inside| inside.link(&end.name));
        if let (Some(outer), Some(inner)) = (outer, inner)
            && outer.peer == inner.index
            && inner.peer == outer.index
            && outer.kind == "veth"
        {
            let master = self
                .kernel
                .host_link(&port.bridge)
                .map(|bridge| bridge.index);
            let moved =
                master != Some(outer.master) || self.fresh_bridges.contains(port.bridge.as_str());
            let change = LinkChange {
                master: moved.then(|| port.bridge.clone()),
                mtu: end.mtu.filter(|mtu| *mtu != outer.mtu),
                alias: (outer.alias != port.alias).then(|| port.alias.clone()),
                up: (!outer.up).then_some(true),
                hairpin: (outer.hairpin != port.hairpin || (moved && port.hairpin))
                    .then_some(port.hairpin),
                ..LinkChange::default()
            };
            if change != LinkChange::default() {
                self.step(Action::ChangeLink {
                    space: None,
                    link: port.name.clone(),
                    change,
                });
            }
            return false;
        }
        if let Some(outer) = outer {
            self.step(Action::DeleteLink {
                space: None,
                link: outer.name.clone(),
            });
        }
        if let Some(inner) = inner
            && outer.is_none_or(|outer| outer.index != inner.peer)
            && !self.gone.contains(&inner.peer)
        {
            if inner.group == self.layout.mark.group() {
                self.step(Action::DeleteLink {
                    space: Some(space.name.clone()),
                    link: inner.name.clone(),
                });
            } else {
                self.conflict(format!("{} in {} is not the lab's", inner.name, space.name));
            }
        }
        self.step(Action::MakePort {
            space: space.name.clone(),
            end: end.name.clone(),
            mac: end.mac,
            mtu: end.mtu,
            port: port.clone(),
            group: self.layout.mark.group(),
        });
        true
    }

    /// An interface inside: up, with its addresses; whether anything changes.
    fn end(&mut self, space: &SpaceLayout, end: &End, fresh: bool) -> bool {
        let inside = self.inside(&space.name);
        let link = inside
            .and_then(|inside| inside.link(&end.name))
            .filter(|_| !fresh);
        let change = LinkChange {
            up: (!link.is_some_and(|link| link.up)).then_some(true),
            mac: link
                .filter(|link| link.mac != end.mac)
                .map(|_| end.mac.to_vec()),
            mtu: end
                .mtu
                .filter(|mtu| link.is_some_and(|link| link.mtu != *mtu)),
            ..LinkChange::default()
        };
        let mut changed = change != LinkChange::default();
        if changed {
            self.step(Action::ChangeLink {
                space: Some(space.name.clone()),
                link: end.name.clone(),
                change,
            });
        }
        changed |= self.addresses(
            Some(&space.name),
            &end.name,
            &end.addresses,
            inside.zip(link),
        );
        changed
    }

    /// The routes of a namespace; all of them again if something under them changed.
    fn routes(&mut self, space: &SpaceLayout, again: bool) {
        let inside = self.inside(&space.name);
        let present = |to: &IpNet, via| {
            inside.is_some_and(|inside| {
                inside
                    .routes
                    .iter()
                    .any(|route| route.to == *to && route.via == Some(via))
            })
        };
        for route in inside.iter().flat_map(|inside| &inside.routes) {
            let declared = space.routes.iter().any(|(to, _)| *to == route.to);
            if route.protocol == PROTOCOL && !declared {
                self.step(Action::DeleteRoute {
                    space: space.name.clone(),
                    to: route.to,
                    via: route.via,
                });
            }
        }
        for (to, via) in &space.routes {
            if again || !present(to, *via) {
                self.step(Action::AddRoute {
                    space: space.name.clone(),
                    to: *to,
                    via: *via,
                });
            }
        }
    }

    /// Settings of the host: what is needed, and what is needed no longer.
    fn host_settings(&mut self) {
        for (key, value) in &self.layout.sysctls {
            let now = self.kernel.host.sysctls.get(key);
            if now != Some(value) {
                self.step(Action::Sysctl {
                    space: None,
                    key: key.clone(),
                    value: value.clone(),
                    before: now.cloned(),
                });
            }
        }
        if let Some(journal) = self.journal {
            for (key, before) in &journal.sysctls {
                if !self.layout.sysctls.iter().any(|(wanted, _)| wanted == key) {
                    self.plan
                        .steps
                        .extend(restore(&self.layout.mark.lab, key, before));
                }
            }
        }
    }

    /// The rules.
    fn table(&mut self) {
        let name = self.layout.mark.table();
        let seen = self
            .kernel
            .tables
            .as_ref()
            .and_then(|tables| tables.get(&name));
        match (&self.layout.table, seen) {
            (None, None) => {}
            (None, Some(_)) => self.step(Action::RemoveTable { name }),
            (Some(table), seen) => {
                let current = seen.is_some_and(|seen| {
                    seen.comment == table.comment()
                        && seen.rules == table.rules()
                        && seen.chains == table.chains.len()
                });
                if !current {
                    self.step(Action::ReplaceTable {
                        table: table.clone(),
                        fresh: seen.is_none(),
                    });
                }
            }
        }
    }

    /// The files.
    fn files(&mut self) {
        let kernel = self.kernel;
        let all = self
            .layout
            .spaces
            .iter()
            .filter(|space| kernel.spaces.contains_key(&space.name));
        for (path, text) in all.flat_map(|space| &space.files) {
            let (path, text) = (path.clone(), text.as_str());
            let now = std::fs::read_to_string(&path).ok();
            if now.as_deref() != Some(text) {
                self.step(Action::WriteFile {
                    path,
                    text: text.to_owned(),
                    fresh: now.is_none(),
                });
            }
        }
    }

    /// What will be in the way at work.
    fn warnings(&mut self) {
        let forwards = !self.layout.sysctls.is_empty();
        if forwards {
            for chain in &self.kernel.dropping {
                self.plan.warnings.push(format!(
                    "chain {chain} drops what is forwarded; another table's accept cannot change that: nft add rule {chain} iifname \"BRIDGE\" accept, and oifname likewise"
                ));
            }
        }
        let files = self
            .layout
            .spaces
            .iter()
            .any(|space| !space.files.is_empty());
        if files && self.kernel.no_resolver {
            self.plan.warnings.push(
                "/etc/resolv.conf is missing or leads nowhere, so `ip netns exec` runs commands without a resolver; `nameplate-lab exec` gives them the lab's"
                    .to_owned(),
            );
        }
        let v6 = "net/ipv6/conf/all/forwarding";
        let turned_on = self
            .plan
            .steps
            .iter()
            .any(|step| matches!(step, Action::Sysctl { space: None, key, .. } if key == v6));
        if turned_on {
            self.plan.warnings.push(format!(
                "{v6} makes this host ignore router advertisements, unless an interface has accept_ra = 2"
            ));
        }
    }
}
