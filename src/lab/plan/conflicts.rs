//! What stands in a lab's way: objects that have its names and are not its own, and what others drop.

use std::collections::BTreeMap;

use super::{Planner, Subject};
use crate::action::Action;
use crate::claim::{is_marked, owned, owner};
use crate::device;
use crate::journal::Phase;
use crate::layout::{End, Other};
use crate::link::Link;
use crate::listener::who;
use crate::observe::{BRIDGED, Seen};
use crate::redirect::{Redirect, elsewhere};
use crate::settings;
use crate::shape::has_netem;

impl Planner<'_> {
    /// What has our names and is not ours, and who has our addresses.
    pub(super) fn conflicts(&mut self) {
        self.ports();
        let ends = || self.layout.spaces.iter().flat_map(|space| &space.ends);
        let netem = |link: &Link| link.queue == "netem";
        let has = self.kernel.spaces.values().any(|seen| match seen {
            Seen::There(inside) => inside.links.iter().any(netem),
            _ => false,
        });
        if ends().any(|end| end.shape.needs_netem()) && !has && !has_netem() {
            self.conflict(
                Subject::Kernel,
                "this kernel has no netem (CONFIG_NET_SCH_NETEM), which `delay`, `jitter`, `loss` and `reorder` need; `rate` alone does without"
                    .to_owned(),
            );
        }
        for why in device::lacking(self.layout) {
            self.conflict(Subject::Kernel, why);
        }
        for space in &self.layout.spaces {
            match self.kernel.spaces.get(&space.name) {
                Some(Seen::There(inside)) => {
                    if let Err(why) = owned(&space.name, inside, &self.layout.mark, self.journal) {
                        self.conflict(Subject::Space(space.name.clone()), why);
                    }
                }
                Some(Seen::HalfMade) => {
                    let known = self
                        .journal
                        .is_some_and(|journal| journal.spaces.contains_key(&space.name));
                    if !known {
                        let path = crate::space::path(&space.name);
                        let text = format!(
                            "{} is a file and no namespace, and not the lab's",
                            path.display()
                        );
                        self.conflict(Subject::Space(space.name.clone()), text);
                    }
                }
                _ => {}
            }
        }
        for name in self.layout.host_links() {
            if let Some(link) = self.kernel.host_link(name)
                && !self.ours(link)
            {
                let whose = owner(&link.alias);
                let text = format!("link {name} exists on the host and is not the lab's{whose}");
                let spaces = &self.layout.spaces;
                let is_port =
                    |end: &End| matches!(&end.other, Other::Port(port) if port.name == name);
                let space = spaces.iter().find(|one| one.ends.iter().any(is_port));
                let is_bridge = self.layout.bridges.iter().any(|one| one.name == name);
                let of = match space {
                    _ if is_bridge => Subject::Net(name.to_owned()),
                    Some(space) => Subject::Space(space.name.clone()),
                    None => Subject::Lab,
                };
                self.conflict(of, text);
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
                self.conflict(Subject::Place, text);
            }
        }
        if let Some(seen) = self
            .kernel
            .tables
            .as_ref()
            .and_then(|tables| tables.get(&self.layout.mark.table()))
            && !self.layout.mark.owns(&seen.comment)
        {
            let text = format!(
                "table inet {} exists and is not the lab's",
                self.layout.mark.table()
            );
            self.conflict(Subject::Lab, text);
        }
        let kernel = self.kernel;
        let all = self
            .layout
            .spaces
            .iter()
            .filter(|space| kernel.spaces.contains_key(&space.name));
        let files = all.flat_map(|space| space.files.iter().map(move |file| (&space.name, file)));
        for (name, (path, _)) in files {
            if path.symlink_metadata().is_ok() && !is_marked(path, &self.layout.mark) {
                let made = self.journal.and_then(|journal| journal.spaces.get(name));
                let was_ours = made.is_some_and(|made| made.paths(name).any(|made| made == *path));
                let text = match was_ours {
                    true => format!(
                        "{0} is not the lab's any more, somebody wrote it anew: `rm {0}`, and `apply` writes the lab's again",
                        path.display()
                    ),
                    false => format!("{} exists and is not the lab's", path.display()),
                };
                self.conflict(Subject::Space(name.clone()), text);
            }
        }
    }

    /// Ports that somebody else has: in the way unless the lab had them before.
    fn ports(&mut self) {
        let layout = self.layout;
        let forwards: Vec<Redirect> = layout
            .redirects
            .iter()
            .filter(|redirect| !redirect.service)
            .cloned()
            .collect();
        let had: Vec<_> = self
            .journal
            .iter()
            .filter(|journal| journal.phase != Phase::Removing)
            .flat_map(|journal| &journal.redirects)
            .map(Redirect::place)
            .collect();
        let mut told: Vec<(bool, String)> = Vec::new();
        for (redirect, owner) in elsewhere(&layout.redirects, Some(&layout.mark.lab), None) {
            told.push((false, format!("port {redirect} belongs to {owner}")));
        }
        for redirect in &forwards {
            for listener in &self.kernel.listeners {
                if redirect.takes_from(listener) {
                    let who = who(listener);
                    let text = format!(
                        "port {redirect} of the host is served by {who}: a forward would take it away"
                    );
                    told.push((had.contains(&redirect.place()), text));
                }
            }
        }
        // Both families of one port say the same.
        told.dedup();
        for (had, text) in told {
            if had {
                self.plan.warnings.push(text);
            } else {
                self.conflict(Subject::Place, text);
            }
        }
    }

    /// Rules of other tables that drop what the lab passes on: told, or where the lab put its own there before, put there
    /// again.
    pub(super) fn accepts(&mut self) {
        let layout = self.layout;
        // Where nothing drops, nobody asks what bridges hand to it.
        let bridged = match self.kernel.filter.drops() {
            true => BRIDGED.map(|key| settings::read(key).as_deref() == Some("1")),
            false => [false; 2],
        };
        let missing = self
            .kernel
            .filter
            .missing(&layout.passing, bridged, &layout.mark);
        let accepted = self.journal.is_some_and(|journal| journal.accepts);
        let mut told: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut legacy = Vec::new();
        for accept in missing {
            if !accept.is_ours_to_make() {
                legacy.push(accept.command());
            } else if accepted {
                self.step(Action::AcceptForward { accept });
            } else {
                let chain = accept.place.to_string();
                told.entry(chain).or_default().push(accept.command());
            }
        }
        for (chain, commands) in told {
            self.plan.warnings.push(format!(
                "packets of the lab are dropped by the host's forward chain (an accept in another table does not change that): `apply --fix-forward` puts these rules into {chain}, and `down` removes them: {}",
                commands.join("; ")
            ));
        }
        if !legacy.is_empty() {
            self.plan.warnings.push(format!(
                "packets of the lab are dropped by the host's forward chain of legacy iptables, which the lab does not change: {}",
                legacy.join("; ")
            ));
        }
        for (place, handle, comment) in self.kernel.filter.owned(&layout.mark) {
            let bridge = comment.rsplit('/').next().unwrap_or_default();
            if layout
                .bridges
                .iter()
                .all(|declared| declared.name != bridge)
            {
                self.step(Action::RemoveAccept { place, handle });
            }
        }
    }

    /// What will be in the way at work.
    pub(super) fn warnings(&mut self) {
        let files = self
            .layout
            .spaces
            .iter()
            .any(|space| !space.files.is_empty());
        if files && self.kernel.no_resolver {
            self.plan.warnings.push(
                "/etc/resolv.conf is missing or a dangling link, so `ip netns exec` runs commands without a resolver; `nameplate-lab exec` gives them the lab's"
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
