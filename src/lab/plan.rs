//! The difference between a lab and the kernel, as steps in an order that can be cut anywhere.
//!
//! Removals first; then bridges (down), namespaces with their links, addresses and routes, settings of the host, rules,
//! files; bridges go up last, because a bridge that is up floods every new port's first words to all others, and a lab of
//! a thousand would cost a million packets. A setting that the file no longer makes gets the value that it has in a new
//! namespace or on a new link, so that a changed lab equals a fresh one of the new file.
//!
//! Ownership: a host link is ours by group and alias, an interface inside by group, a route or address by its protocol
//! number, a table by its comment, a file by its first line, a namespace by the journal and its number. What has one of
//! our names and is not ours is a conflict: then nothing is done.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::action::Action;
use crate::claim::{is_marked, owned, restore};
use crate::hash::{Map, Set};
use crate::journal::{Journal, Phase, files_of};
use crate::layout::{Bridge, ETHERNET, Layout, SpaceLayout};
use crate::link::{Link, LinkChange, PROTOCOL};
use crate::observe::{Inside, Kernel, Seen};
use crate::redirect::changed;

mod conflicts;
mod devices;
mod links;
mod persisted;
mod spaces;

pub(crate) use devices::is_on;
use devices::is_pair;

/// What the kernel gives the loopback interface.
const LOOPBACK: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::LOCALHOST, 8);
const LOOPBACK6: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128);

/// Steps, and what stands against them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// What to do.
    pub steps: Vec<Action>,
    /// What is not ours and in the way; if there is any, nothing is done.
    pub conflicts: Vec<Conflict>,
    /// What will not work although everything is made.
    pub warnings: Vec<String>,
}

/// What is in the way of a lab.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// In words.
    pub text: String,
    /// In the way of what.
    pub of: Subject,
}

/// What of a lab something is in the way of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// All of it.
    Lab,
    /// What it needs of the kernel: another machine may have it, so `check` warns.
    Kernel,
    /// A network.
    Net(String),
    /// A namespace.
    Space(String),
    /// A subnet, a port or a `parent`: `check` looks for these itself, and tells them at their place.
    Place,
}

impl std::fmt::Display for Conflict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl serde::Serialize for Conflict {
    fn serialize<S: serde::Serializer>(&self, to: S) -> std::result::Result<S::Ok, S::Error> {
        to.serialize_str(&self.text)
    }
}

/// An interface of the host that can be a port of a bridge at all; or why it is none.
pub(crate) fn possible<'a>(
    name: &str,
    link: Option<&'a Link>,
    bridge: &str,
) -> std::result::Result<&'a Link, String> {
    let Some(link) = link else {
        return Err(format!(
            "the host has no interface {name}, which should become a port of {bridge}"
        ));
    };
    let what = match (link.kind.as_str(), name) {
        ("bridge", _) => "a bridge itself",
        (_, "lo") => "the loopback interface",
        _ => return Ok(link),
    };
    Err(format!(
        "{name} of the host is {what}, and cannot be a port of {bridge}"
    ))
}

impl Plan {
    /// Compares.
    #[must_use]
    pub fn make(layout: &Layout, journal: Option<&Journal>, kernel: &Kernel) -> Self {
        let mut planner = Planner::new(layout, journal, kernel);
        planner.conflicts();
        planner.removals();
        planner.stale_on();
        planner.former_ports();
        for bridge in &layout.bridges {
            planner.bridge(bridge);
        }
        planner.spaces();
        planner.vlans();
        planner.former_parents();
        planner.host_settings();
        planner.table();
        planner.redirects();
        planner.files();
        planner.persisted();
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
        planner.accepts();
        planner.warnings();
        planner.tell_unset();
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
        for parent in layout.parents() {
            let at = kernel.host.links.len();
            kernel.host_links.insert(parent.to_owned(), at);
            kernel.host.links.push(Link {
                name: parent.to_owned(),
                index: u32::MAX,
                ..Link::default()
            });
        }
        let mut planner = Planner::new(layout, None, &kernel);
        for bridge in &layout.bridges {
            planner.bridge(bridge);
        }
        planner.spaces();
        planner.vlans();
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

/// The MTU that a link has to get, if it has another one.
fn other_mtu(declared: Option<u32>, now: u32) -> Option<u32> {
    let wanted = declared.unwrap_or(ETHERNET);
    (wanted != now).then_some(wanted)
}

/// The comparison at work.
struct Planner<'a> {
    layout: &'a Layout,
    journal: Option<&'a Journal>,
    kernel: &'a Kernel,
    plan: Plan,
    fresh_bridges: Set<&'a str>,
    /// Host links that are being removed, by index.
    gone: Set<u32>,
    /// Settings that cannot be written, and where.
    unset: BTreeMap<String, Vec<String>>,
}

impl<'a> Planner<'a> {
    /// Nothing compared yet.
    fn new(layout: &'a Layout, journal: Option<&'a Journal>, kernel: &'a Kernel) -> Self {
        Self {
            layout,
            journal,
            kernel,
            plan: Plan::default(),
            fresh_bridges: Set::default(),
            gone: Set::default(),
            unset: BTreeMap::new(),
        }
    }

    /// Adds a step.
    fn step(&mut self, action: Action) {
        match action {
            Action::Sysctl {
                space, key, value, ..
            } if self.kernel.fixed => {
                let place = space.unwrap_or_else(|| "the host".to_owned());
                let places = self.unset.entry(format!("{key} = {value}")).or_default();
                places.push(place);
            }
            action => self.plan.steps.push(action),
        }
    }

    /// A setting.
    fn set(&mut self, space: Option<&str>, key: &str, value: &str) {
        self.step(Action::Sysctl {
            space: space.map(str::to_owned),
            key: key.to_owned(),
            value: value.to_owned(),
            before: None,
        });
    }

    /// Says which settings cannot be written.
    fn tell_unset(&mut self) {
        for (setting, places) in std::mem::take(&mut self.unset) {
            let more = places.len().saturating_sub(4);
            let mut places: Vec<String> = places.into_iter().take(4).collect();
            if more > 0 {
                places.push(format!("{more} more"));
            }
            self.plan.warnings.push(format!(
                "/proc/sys is read-only, so {setting} cannot be set in {}",
                places.join(", ")
            ));
        }
    }

    /// Adds a conflict.
    fn conflict(&mut self, of: Subject, text: String) {
        let conflict = Conflict { text, of };
        if !self.plan.conflicts.contains(&conflict) {
            self.plan.conflicts.push(conflict);
        }
    }

    /// Whether a link of the host is ours.
    fn ours(&self, link: &Link) -> bool {
        self.layout.mark.owns_link(link)
    }

    /// What the lab no longer declares.
    fn removals(&mut self) {
        let wanted: Set<&str> = self.layout.host_links().collect();
        for link in &self.kernel.host.links {
            if self.ours(link) && !wanted.contains(link.name.as_str()) {
                self.gone.insert(link.index);
                self.plan.steps.push(Action::DeleteLink {
                    space: None,
                    link: link.name.clone(),
                });
            }
        }
        let Some(journal) = self.journal else { return };
        let declared: Map<&str, &SpaceLayout> = self
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
                Some(seen @ (Seen::There(_) | Seen::HalfMade)) => {
                    if let Seen::There(inside) = seen {
                        self.remove_on(name, inside);
                    }
                    self.step(Action::RemoveSpace {
                        space: name.clone(),
                    });
                }
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

    /// An interface of the host as a port of a bridge.
    fn parent(&mut self, name: &str, (bridge, kept): (&str, Option<&Link>)) {
        let link = match possible(name, self.kernel.host_link(name), bridge) {
            Ok(link) => link,
            Err(why) => return self.conflict(Subject::Place, why),
        };
        let is_port = kept.is_some_and(|bridge| bridge.index == link.master);
        // A bridge that goes gives up its ports.
        let free = link.master == 0 || self.gone.contains(&link.master);
        let master = self.kernel.host.links.iter();
        let mut master = master.filter(|other| other.index == link.master);
        if !is_port && !free && !master.any(|other| self.ours(other)) {
            let text = format!("{name} of the host is a port of something else");
            return self.conflict(Subject::Place, text);
        }
        let change = LinkChange {
            master: (!is_port).then(|| bridge.to_owned()),
            up: (!link.up).then_some(true),
            ..LinkChange::default()
        };
        if change != LinkChange::default() {
            self.step(Action::ChangeLink {
                space: None,
                link: name.to_owned(),
                change,
            });
        }
        let addresses = self.kernel.host.addresses_of(link.index);
        let own: Vec<String> = addresses
            .filter(|address| !matches!(address.net.addr(), IpAddr::V6(v6) if v6.is_unicast_link_local()))
            .map(|address| address.net.to_string())
            .collect();
        if !own.is_empty() {
            self.plan.warnings.push(format!(
                "the host has {} on {name}; this address does not work on a port of {bridge}: write it as `host` of the network",
                own.join(", ")
            ));
        }
    }

    /// Interfaces of the host that are ports of the lab's bridges no longer.
    fn former_ports(&mut self) {
        let journal = self.journal;
        for (name, _) in journal.iter().flat_map(|journal| &journal.parents) {
            let mut ports = self.layout.bridges.iter();
            if ports.any(|bridge| bridge.parent.as_ref() == Some(name)) {
                continue;
            }
            let Some(link) = self.kernel.host_link(name) else {
                continue;
            };
            let master = self.kernel.host.links.iter();
            let mut master = master.filter(|other| other.index == link.master);
            if master.any(|other| self.ours(other)) && !self.gone.contains(&link.master) {
                self.change_host(name, |change| change.master = Some(String::new()));
            }
        }
    }

    /// Interfaces of the host that the lab is on no longer go down again, if they were. What stood on them must be gone
    /// by then: one that loses it while it is down remembers it.
    fn former_parents(&mut self) {
        let parents = self.layout.parents();
        let journal = self.journal;
        for (name, up) in journal.iter().flat_map(|journal| &journal.parents) {
            let link = self.kernel.host_link(name);
            if !up && !parents.contains(name.as_str()) && link.is_some_and(|link| link.up) {
                self.change_host(name, |change| change.up = Some(false));
            }
        }
    }

    /// Changes a link of the host.
    fn change_host(&mut self, link: &str, with: impl FnOnce(&mut LinkChange)) {
        let mut change = LinkChange::default();
        with(&mut change);
        self.step(Action::ChangeLink {
            space: None,
            link: link.to_owned(),
            change,
        });
    }

    /// A bridge, its addresses and settings.
    fn bridge(&mut self, bridge: &'a Bridge) {
        let group = self.layout.mark.group();
        let link = self.kernel.host_link(&bridge.name);
        if let Some(lower) = bridge.device.lower() {
            self.lower(lower, &bridge.device);
        }
        match link {
            Some(link) if self.stands(link, &bridge.device) => {
                let has_mac = bridge.device.has_mac();
                let change = LinkChange {
                    mac: (has_mac && link.mac != bridge.mac).then(|| bridge.mac.to_vec()),
                    mtu: other_mtu(bridge.mtu.or(self.mtu_beside(bridge)), link.mtu),
                    filters: (link.filters != bridge.device.filters())
                        .then_some(bridge.device.filters()),
                    master: self.other_master(bridge, link.master),
                    alias: (link.alias != bridge.alias).then(|| bridge.alias.clone()),
                    ..self.marks(link)
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
                if let Some(master) = self.other_master(bridge, 0) {
                    self.step(Action::ChangeLink {
                        space: None,
                        link: bridge.name.clone(),
                        change: LinkChange {
                            master: Some(master),
                            ..LinkChange::default()
                        },
                    });
                }
            }
        }
        let kept = link.filter(|_| !self.fresh_bridges.contains(bridge.name.as_str()));
        if let Some(parent) = &bridge.parent {
            self.parent(parent, (&bridge.name, kept));
        }
        match kept {
            Some(link) => self.passes(None, link, &bridge.addresses),
            None => self.with_v6(bridge),
        }
        self.addresses(
            None,
            &bridge.name,
            &bridge.addresses,
            kept.map(|link| (&self.kernel.host, link)),
        );
        for (key, value) in &bridge.sysctls {
            if kept.is_none() || self.kernel.host.sysctls.get(key) != Some(value) {
                self.set(None, key, value);
            }
        }
        let settings = &self.kernel.host.sysctls;
        for (key, default) in bridge.defaults.iter().filter(|_| kept.is_some()) {
            // What is not there cannot be taken back either.
            if let (Some(now), Some(wanted)) = (settings.get(key), settings.get(default))
                && now != wanted
            {
                self.set(None, key, wanted);
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
        let mut unconnected = Vec::new();
        let mut removed = false;
        if let Some((inside, link)) = kept {
            // The first of a subnet last, since the others go with it.
            let seen: Vec<_> = inside.addresses_of(link.index).collect();
            for address in seen.into_iter().rev() {
                if wanted.contains(&address.net) {
                    present.push(address.net);
                    if !inside.is_connected(link, address.net) {
                        unconnected.push(address.net);
                    }
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
        let mut changed = removed || !unconnected.is_empty();
        for net in wanted.iter().filter(|net| !present.contains(net)) {
            changed = true;
            self.step(Action::AddAddress {
                space: space.clone(),
                link: link_name.clone(),
                net: *net,
            });
        }
        // The route to its subnet comes with an address; somebody removed it. Taking the address away to give it again
        // would take others' routes over this link with it.
        for net in unconnected {
            self.step(Action::Connect {
                space: space.clone(),
                link: link_name.clone(),
                net,
            });
        }
        changed
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
        let journal = self.journal;
        for (key, before) in journal.iter().flat_map(|journal| &journal.sysctls) {
            if !self.layout.sysctls.iter().any(|(wanted, _)| wanted == key)
                && let Some(step) = restore(&self.layout.mark.lab, key, before)
            {
                self.step(step);
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
            (None, Some(_)) => self.step(Action::RemoveTable { space: None, name }),
            (Some(table), seen) => {
                let known = self
                    .journal
                    .filter(|journal| journal.phase == Phase::Applied)
                    .map_or(0, |journal| journal.rules);
                if !seen.is_some_and(|seen| seen.is(table, known)) {
                    self.step(Action::ReplaceTable {
                        space: None,
                        table: table.clone(),
                        fresh: seen.is_none(),
                    });
                }
            }
        }
    }

    /// Connections that would not follow changed rules.
    fn redirects(&mut self) {
        let before = self.journal.map_or(&[][..], |journal| &journal.redirects);
        let redirects = changed(before, &self.layout.redirects);
        if !redirects.is_empty() {
            self.step(Action::Forget {
                space: None,
                redirects,
            });
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
            let now = crate::input::read(&path).ok();
            if now.as_deref() != Some(text) {
                self.step(Action::WriteFile {
                    path,
                    text: text.to_owned(),
                    fresh: now.is_none(),
                });
            }
        }
    }
}
