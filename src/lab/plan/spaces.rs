//! Namespaces: their interfaces, addresses, routes and settings.

use std::collections::{BTreeMap, HashSet};

use super::{Planner, Subject, is_on, is_pair, other_mtu};
use crate::action::Action;
use crate::journal::Phase;
use crate::layout::{End, LEAST_V6, Other, Port, SpaceLayout, setting_of};
use crate::link::{LinkChange, PROTOCOL};
use crate::observe::{Inside, Seen, of_default, stale};
use crate::reach::Hop;

/// Whether two values of a setting are one: the kernel prints several numbers with tabs between them.
pub(super) fn same(one: &str, other: &str) -> bool {
    let number = |text: &str| text.trim().parse::<i64>().ok();
    one.split_whitespace().eq(other.split_whitespace())
        || number(one).is_some_and(|one| number(other) == Some(one))
}

impl<'a> Planner<'a> {
    /// The namespace, if it is there.
    pub(super) fn inside(&self, name: &str) -> Option<&'a Inside> {
        match self.kernel.spaces.get(name) {
            Some(Seen::There(inside)) => Some(inside),
            _ => None,
        }
    }

    /// All namespaces: those with pairs first, because a pair needs both.
    pub(super) fn spaces(&mut self) {
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
            self.stale_ends(space);
            self.loopback(space);
            // Those that stand on others come after them.
            let (above, ends): (Vec<_>, Vec<_>) = space
                .ends
                .iter()
                .enumerate()
                .partition(|(_, end)| matches!(end.other, Other::Tagged(..)));
            let mut made: HashSet<&str> = HashSet::new();
            for (slot, end) in ends.into_iter().chain(above) {
                let fresh = match &end.other {
                    Other::Port(port) => self.port(space, end, port),
                    Other::On(device) => self.on(space, end, device),
                    Other::Space(..) => fresh_links.contains(&(at, slot)),
                    Other::Tagged(lower, id) => {
                        self.tagged(space, end, (lower, *id), made.contains(lower.as_str()))
                    }
                };
                if fresh {
                    made.insert(&end.name);
                }
                changed |= self.end(space, end, fresh);
                self.settings(space, end, fresh);
                self.shape(space, end, fresh);
            }
            self.routes(space, changed);
            self.table_of(space);
        }
    }

    /// The rules of a namespace that balances services.
    fn table_of(&mut self, space: &SpaceLayout) {
        let name = self.layout.mark.table();
        let inside = self.inside(&space.name);
        let seen = inside.and_then(|inside| inside.table.as_ref());
        let Some(table) = &space.table else {
            if seen.is_some() {
                self.step(Action::RemoveTable {
                    space: Some(space.name.clone()),
                    name,
                });
            }
            return;
        };
        let applied = self.journal.filter(|one| one.phase == Phase::Applied);
        let made = applied.and_then(|one| one.spaces.get(&space.name));
        let known = made.and_then(|made| made.rules).unwrap_or(0);
        if seen.is_some_and(|seen| seen.is(table, known)) {
            return;
        }
        self.step(Action::ReplaceTable {
            space: Some(space.name.clone()),
            table: table.clone(),
            fresh: seen.is_none(),
        });
        if seen.is_some() && !space.redirects.is_empty() {
            self.step(Action::Forget {
                space: Some(space.name.clone()),
                redirects: space.redirects.clone(),
            });
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
        for (key, value) in space
            .sysctls
            .iter()
            .filter(|(key, _)| !space.is_of_end(key))
        {
            let now = inside.and_then(|inside| inside.sysctls.get(key));
            if !now.is_some_and(|now| same(now, value)) {
                self.set(Some(&space.name), key, value);
            }
        }
        let Some(inside) = inside else { return };
        // What is no longer declared gets back what a new namespace has.
        for key in stale(space, self.journal) {
            let is_of_link =
                setting_of(key).is_some_and(|(_, link, _)| inside.link(link).is_some());
            let (now, wanted) = (inside.sysctls.get(key), self.kernel.fresh.get(key));
            if let (Some(now), Some(wanted), false) = (now, wanted, is_of_link)
                && !same(now, wanted)
            {
                self.set(Some(&space.name), key, wanted);
            }
        }
    }

    /// The settings of an interface: those that are declared, and on a kept one those that a new one would take from the
    /// namespace's defaults.
    fn settings(&mut self, space: &SpaceLayout, end: &End, fresh: bool) {
        if end.mtu.is_some_and(|mtu| mtu < LEAST_V6) {
            // IPv6 is off there, and has no settings.
            return self.declared_settings(space, end, fresh);
        }
        let inside = self.inside(&space.name);
        self.declared_settings(space, end, fresh);
        let Some(inside) = inside.filter(|_| !fresh) else {
            return;
        };
        let kernel = self.kernel;
        let mut wanted: BTreeMap<String, String> = BTreeMap::new();
        for key in stale(space, self.journal) {
            let Some((place, link, setting)) = setting_of(key) else {
                continue;
            };
            if link == end.name || link == "default" {
                let value = kernel.fresh.get(&of_default(key)).cloned();
                wanted
                    .extend(value.map(|value| (format!("{place}/{}/{setting}", end.name), value)));
            }
        }
        for (key, value) in &space.sysctls {
            if let Some((place, "default", setting)) = setting_of(key) {
                wanted.insert(format!("{place}/{}/{setting}", end.name), value.clone());
            }
        }
        for (key, value) in wanted {
            let declared = space.sysctls.iter().any(|(declared, _)| *declared == key);
            let now = inside.sysctls.get(&key);
            if !declared && now.is_some_and(|now| !same(now, &value)) {
                self.set(Some(&space.name), &key, &value);
            }
        }
    }

    /// What an interface does to what it sends.
    fn shape(&mut self, space: &SpaceLayout, end: &End, fresh: bool) {
        let inside = self.inside(&space.name).filter(|_| !fresh);
        let now = inside.and_then(|inside| inside.shape_of(inside.link(&end.name)?.index));
        if now.unwrap_or_default() != end.shape
            || (end.shape.is_empty() && self.is_shaped(space, end, fresh))
        {
            self.step(Action::Shape {
                space: space.name.clone(),
                link: end.name.clone(),
                shape: end.shape,
            });
        }
    }

    /// Whether an interface has a discipline that shapes, whoever made it.
    fn is_shaped(&self, space: &SpaceLayout, end: &End, fresh: bool) -> bool {
        let inside = self.inside(&space.name).filter(|_| !fresh);
        let link = inside.and_then(|inside| inside.link(&end.name));
        link.is_some_and(|link| ["tbf", "netem"].contains(&link.queue.as_str()))
    }

    /// The settings that the file makes of an interface.
    fn declared_settings(&mut self, space: &SpaceLayout, end: &End, fresh: bool) {
        let inside = self.inside(&space.name).filter(|_| !fresh);
        for (key, value) in &space.sysctls {
            if setting_of(key).is_none_or(|(_, link, _)| link != end.name) {
                continue;
            }
            let now = inside.and_then(|inside| inside.sysctls.get(key));
            if !now.is_some_and(|now| same(now, value)) {
                self.set(Some(&space.name), key, value);
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
            let goes_anyway = is_pair(link) && self.gone.contains(&link.peer);
            if link.group == self.layout.mark.group()
                && !link.kind.is_empty()
                && !is_on(link)
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
    pub(super) fn up(&mut self, space: &str, link: &str) {
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
            && [one, other].map(|link| &link.mac[..]) == ends.each_ref().map(|end| &end.mac[..])
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
                    let name = &spaces[side].name;
                    let text = format!("{} in {name} is not the lab's", link.name);
                    self.conflict(Subject::Space(name.clone()), text);
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
            // An interface that gets another address keeps its link-local one.
            && inner.mac == end.mac
        {
            let master = self
                .kernel
                .host_link(&port.bridge)
                .map(|bridge| bridge.index);
            let moved =
                master != Some(outer.master) || self.fresh_bridges.contains(port.bridge.as_str());
            let change = LinkChange {
                master: moved.then(|| port.bridge.clone()),
                mtu: other_mtu(end.mtu, outer.mtu),
                mac: (outer.mac != port.mac).then(|| port.mac.to_vec()),
                alias: (outer.alias != port.alias).then(|| port.alias.clone()),
                up: (!outer.up).then_some(true),
                hairpin: (outer.hairpin != port.hairpin || (moved && port.hairpin))
                    .then_some(port.hairpin),
                options: match moved {
                    // It begins as a new port there.
                    true => Vec::new(),
                    false => self.changed_options(outer, port),
                },
                ..self.marks(outer)
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
            && !(is_pair(inner)
                && (self.gone.contains(&inner.peer)
                    || outer.is_some_and(|outer| outer.index == inner.peer)))
        {
            if inner.group != self.layout.mark.group() {
                let text = format!("{} in {} is not the lab's", inner.name, space.name);
                self.conflict(Subject::Space(space.name.clone()), text);
            } else if !is_on(inner) {
                self.step(Action::DeleteLink {
                    space: Some(space.name.clone()),
                    link: inner.name.clone(),
                });
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
            mtu: match (link, &end.other) {
                (Some(link), Other::On(device)) => {
                    other_mtu(end.mtu.or(self.mtu_below(device)), link.mtu)
                }
                (Some(link), _) => other_mtu(end.mtu, link.mtu),
                // They are made with it.
                (None, Other::Port(_) | Other::On(_) | Other::Tagged(..)) => None,
                (None, Other::Space(..)) => end.mtu,
            },
            ..link.map(|link| self.marks(link)).unwrap_or_default()
        };
        let mut changed = change != LinkChange::default();
        if changed {
            self.step(Action::ChangeLink {
                space: Some(space.name.clone()),
                link: end.name.clone(),
                change,
            });
        }
        if let Some(link) = link {
            self.passes(Some(space), link, &end.addresses);
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
        let present = |hop: &Hop| {
            inside.is_some_and(|inside| {
                inside.routes.iter().any(|route| {
                    route.to == hop.to && route.via == Some(hop.via) && route.metric == hop.metric
                })
            })
        };
        for route in inside.iter().flat_map(|inside| &inside.routes) {
            let declared = space
                .routes
                .iter()
                .any(|hop| hop.to == route.to && hop.metric == route.metric);
            if route.protocol == PROTOCOL && !declared {
                self.step(Action::DeleteRoute {
                    space: space.name.clone(),
                    to: route.to,
                    via: route.via,
                    metric: route.metric,
                });
            }
        }
        for hop in &space.routes {
            if again || !present(hop) {
                self.step(Action::AddRoute {
                    space: space.name.clone(),
                    hop: *hop,
                });
            }
        }
    }
}
