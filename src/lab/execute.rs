//! Steps, done: consecutive netlink messages to one namespace leave in one send.
//!
//! A step that fails spoils the later steps of its namespace only; everything independent is finished, and what failed is
//! told with the kernel's own words. Doing a step that is already done is no failure when something is removed.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use crate::action::Action;
use crate::hash::{Map, Set};
use crate::journal::{absent_is_fine, make_directory, remove_directory, remove_file, replace};
use crate::layout::{Device, ETC};
use crate::link::{self, LinkChange, NewEnd};
use crate::netlink::{Batch, Socket};
use crate::nft;
use crate::observe::{Kernel, Seen};
use crate::space::{self, Away};
use crate::sys::{self, Held};
use crate::{conntrack, device, filter, hash, persist, route, settings, shape};

/// Doing steps.
pub(crate) struct Executor {
    host: Socket,
    /// The netfilter socket that was last needed, and whose it is.
    netfilter: Option<(Option<String>, Socket)>,
    /// Where the thread is, and the way home.
    at: Option<String>,
    away: Option<Away>,
    /// The socket of the namespace that was last written to.
    inside: Option<(String, Socket)>,
    indices: Map<(Option<String>, String), u32>,
    /// Namespaces made in this run, with the index of their next link.
    fresh: Map<String, u32>,
    /// The index of the first link that is made in a new namespace; 0 before there was one.
    first_index: u32,
    pending: Batch,
    /// The step of each pending message.
    pending_steps: Vec<usize>,
    pending_space: Option<String>,
    /// What failed: the step and why.
    pub(crate) failures: Vec<(usize, String)>,
    broken: Set<String>,
    /// What could not be done and is not needed by the rest.
    pub(crate) warnings: Vec<String>,
    /// Numbers of the namespaces that were made.
    pub(crate) cookies: Map<String, u64>,
    /// Signals that end the run between two steps.
    pub(crate) held: Option<Held>,
    /// The one that did.
    pub(crate) stopped: Option<i32>,
    temporary: std::path::PathBuf,
    /// The same of the file of settings.
    temporary_setting: std::path::PathBuf,
}

impl Executor {
    /// Nothing done yet.
    pub(crate) fn new(kernel: &Kernel, lab: &str) -> io::Result<Self> {
        let mut indices = Map::default();
        // Of the host's links only bridges are ever asked for.
        for link in kernel
            .host
            .links
            .iter()
            .filter(|link| link.kind == "bridge")
        {
            indices.insert((None, link.name.clone()), link.index);
        }
        let mut cookies = Map::default();
        for (name, seen) in &kernel.spaces {
            if let Seen::There(inside) = seen {
                cookies.insert(name.clone(), inside.cookie);
                for link in &inside.links {
                    indices.insert((Some(name.clone()), link.name.clone()), link.index);
                }
            }
        }
        Ok(Self {
            host: Socket::route()?,
            netfilter: None,
            at: None,
            away: None,
            inside: None,
            indices,
            fresh: Map::default(),
            first_index: 0,
            pending: Batch::default(),
            pending_steps: Vec::new(),
            pending_space: None,
            failures: Vec::new(),
            broken: Set::default(),
            warnings: Vec::new(),
            cookies,
            held: None,
            stopped: None,
            // A dot-name is never a namespace's; `ip netns exec` would stumble over a stray file one level deeper.
            temporary_setting: persist::temporary(lab),
            temporary: Path::new(ETC).join(format!(".lab-{lab}")),
        })
    }

    /// Does all steps.
    pub(crate) fn run(&mut self, steps: &[Action]) {
        // A kill may have left it, and its directory is to be empty when it goes.
        let _ = std::fs::remove_file(&self.temporary);
        let _ = std::fs::remove_file(&self.temporary_setting);
        for (index, step) in steps.iter().enumerate() {
            self.stopped = self.held.as_mut().and_then(Held::heed);
            if let Some(signal) = self.stopped {
                let left = steps.len() - index;
                let why = format!(
                    "stopped by {}, {left} of {} steps before the end",
                    sys::signal_name(signal),
                    steps.len()
                );
                self.failures.push((index, why));
                break;
            }
            if step
                .space()
                .is_some_and(|space| self.broken.contains(space))
            {
                continue;
            }
            if self.pending_space.as_deref() != step.space()
                || !is_message(step)
                || !self.knows_link_of(step)
            {
                self.flush(steps);
            }
            if let Err(error) = self.step(index, step) {
                self.fail(index, step, &plain(&error));
            }
        }
        self.flush(steps);
        self.home();
    }

    /// Remembers a failure.
    fn fail(&mut self, index: usize, step: &Action, why: &str) {
        let verb = match step.sign() {
            '+' => "make",
            '-' => "remove",
            _ => "change",
        };
        self.failures
            .push((index, format!("cannot {verb} {step}: {why}")));
        if let Some(space) = step.space()
            && step.sign() != '-'
        {
            self.broken.insert(space.to_owned());
        }
    }

    /// Sends what is pending.
    fn flush(&mut self, steps: &[Action]) {
        if self.pending.is_empty() {
            return;
        }
        let mut batch = std::mem::take(&mut self.pending);
        let owners = std::mem::take(&mut self.pending_steps);
        let space = self.pending_space.take();
        let refusals = match &space {
            None => self.host.transact(&mut batch),
            Some(space) => self
                .socket(space)
                .and_then(|socket| socket.transact(&mut batch)),
        };
        match refusals {
            Ok(refusals) => {
                for refusal in refusals {
                    let index = owners[refusal.index];
                    // What is to be removed may be gone already, with its pair or with its namespace.
                    let gone = [libc::ENODEV, libc::ESRCH, libc::EADDRNOTAVAIL, libc::ENOENT];
                    if steps[index].sign() == '-' && gone.contains(&refusal.errno) {
                        continue;
                    }
                    self.fail(index, &steps[index], &refusal.to_string());
                }
            }
            Err(error) => {
                let index = owners.first().copied().unwrap_or(0);
                self.fail(index, &steps[index], &plain(&error));
            }
        }
        batch.clear();
        self.pending = batch;
    }

    /// The socket of a namespace.
    fn socket(&mut self, name: &str) -> io::Result<&mut Socket> {
        if self
            .inside
            .as_ref()
            .is_none_or(|(inside, _)| inside != name)
        {
            self.visit(Some(name))?;
            self.inside = Some((name.to_owned(), Socket::route()?));
        }
        match &mut self.inside {
            Some((_, socket)) => Ok(socket),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// The netfilter socket of a namespace, or of the host, opened when it is needed.
    fn netfilter(&mut self, space: Option<&str>) -> io::Result<&mut Socket> {
        self.visit(space)?;
        let kept = self.netfilter.take();
        let kept = kept.filter(|(of, _)| of.as_deref() == space);
        let open = match kept {
            Some(open) => open,
            None => (space.map(str::to_owned), Socket::netfilter()?),
        };
        Ok(&mut self.netfilter.insert(open).1)
    }

    /// Takes the thread there.
    fn visit(&mut self, space: Option<&str>) -> io::Result<()> {
        if self.at.as_deref() == space {
            return Ok(());
        }
        self.home();
        if let Some(name) = space {
            self.away = Some(space::enter(name)?);
            self.at = Some(name.to_owned());
        }
        Ok(())
    }

    /// Takes the thread home.
    fn home(&mut self) {
        self.away = None;
        self.at = None;
    }

    /// Whether the link of an address is known; one that is not may be among the messages that have not left yet.
    fn knows_link_of(&self, step: &Action) -> bool {
        match step {
            Action::Shape { space, link, .. } => self
                .indices
                .contains_key(&(Some(space.clone()), link.clone())),
            Action::AddAddress { space, link, .. }
            | Action::DeleteAddress { space, link, .. }
            | Action::Connect { space, link, .. } => {
                self.indices.contains_key(&(space.clone(), link.clone()))
            }
            Action::Vlan { link, .. } => self.indices.contains_key(&(None, link.clone())),
            Action::MakeBridge { bridge, .. } => bridge
                .device
                .lower()
                .is_none_or(|lower| self.indices.contains_key(&(None, lower.to_owned()))),
            Action::ChangeLink { change, .. } => change.master.as_ref().is_none_or(|master| {
                master.is_empty() || self.indices.contains_key(&(None, master.clone()))
            }),
            _ => true,
        }
    }

    /// The index of a link.
    fn index(&mut self, space: Option<&str>, link: &str) -> io::Result<u32> {
        let key = (space.map(str::to_owned), link.to_owned());
        if let Some(&index) = self.indices.get(&key) {
            return Ok(index);
        }
        let links = match space {
            None => link::links(&mut self.host)?,
            Some(space) => link::links(self.socket(space)?)?,
        };
        for link in links {
            self.indices.insert((key.0.clone(), link.name), link.index);
        }
        self.indices
            .get(&key)
            .copied()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Adds the messages of a step to what is pending, or does it.
    fn step(&mut self, index: usize, step: &Action) -> io::Result<()> {
        match step {
            Action::MakeBridge { bridge, group } => {
                match bridge.device.lower() {
                    None => {
                        link::add_bridge(&mut self.pending, &bridge.name, &bridge.mac, None, *group)
                    }
                    Some(lower) => {
                        let lower = self.index(None, lower)?;
                        let new = NewEnd {
                            name: &bridge.name,
                            index: 0,
                            mac: own_mac(&bridge.device, &bridge.mac),
                            mtu: None,
                            space: None,
                        };
                        device::add(&mut self.pending, new, &bridge.device, lower, *group);
                    }
                }
                // An MTU that a bridge is made with goes with its last port; one that it is given stays.
                let change = LinkChange {
                    alias: Some(bridge.alias.clone()),
                    mtu: bridge.mtu,
                    filters: bridge.device.filters().then_some(true),
                    ..LinkChange::default()
                };
                link::change_link(&mut self.pending, &bridge.name, &change, None);
                // The index of a bridge of that name from before is void.
                self.indices.remove(&(None, bridge.name.clone()));
                self.note(index, None);
            }
            Action::MakeSpace { space, repair } => self.make_space(space, *repair)?,
            Action::MakePort {
                space,
                end,
                mac,
                mtu,
                port,
                group,
            } => {
                let master = self.index(None, &port.bridge)?;
                let number = self.next_index(space, end);
                let target = File::open(space::path(space))?;
                let near = NewEnd {
                    name: &port.name,
                    index: 0,
                    mac: &port.mac,
                    mtu: *mtu,
                    space: None,
                };
                let far = NewEnd {
                    name: end,
                    index: number,
                    mac,
                    mtu: *mtu,
                    space: Some(target.as_fd()),
                };
                let mut batch = Batch::default();
                link::add_pair(&mut batch, near, far, Some(master), *group);
                let change = LinkChange {
                    alias: Some(port.alias.clone()),
                    up: Some(true),
                    hairpin: port.hairpin.then_some(true),
                    ..LinkChange::default()
                };
                link::change_link(&mut batch, &port.name, &change, None);
                self.at_once(&mut batch)?;
            }
            Action::MakeOn {
                space,
                end,
                mac,
                mtu,
                device,
                group,
            } => {
                let lower = self.index(None, device.lower().unwrap_or_default())?;
                let target = File::open(space::path(space))?;
                // Kernels before 6.15 look on the host for a link of that name or index: it is called otherwise at first.
                let first = hash::interface(&[space, end, "on"]);
                let new = NewEnd {
                    name: &first,
                    index: 0,
                    mac: own_mac(device, mac),
                    mtu: *mtu,
                    space: Some(target.as_fd()),
                };
                let mut batch = Batch::default();
                device::add(&mut batch, new, device, lower, *group);
                self.at_once(&mut batch)?;
                batch.clear();
                let socket = self.socket(space)?;
                let made = link::link(socket, &first)?.ok_or(io::ErrorKind::NotFound)?;
                link::rename(&mut batch, made.index, end);
                refused(&socket.transact(&mut batch)?)?;
                self.indices
                    .insert((Some(space.clone()), end.clone()), made.index);
                if let Some(next) = self.fresh.get_mut(space) {
                    *next = made.index + 1;
                }
            }
            Action::MakeTagged {
                space,
                end,
                mtu,
                device,
                group,
            } => {
                let lower = self.index(Some(space), device.lower().unwrap_or_default())?;
                let new = NewEnd {
                    name: end,
                    index: self.next_index(space, end),
                    mac: &[],
                    mtu: *mtu,
                    space: None,
                };
                let mut batch = Batch::default();
                device::add(&mut batch, new, device, lower, *group);
                refused(&self.socket(space)?.transact(&mut batch)?)?;
            }
            Action::Vlan {
                link,
                is_bridge,
                id,
                tagging,
            } => {
                let number = self.index(None, link)?;
                device::set_vlan(&mut self.pending, number, *is_bridge, (*id, *tagging));
                self.note(index, None);
            }
            Action::MakePair {
                spaces,
                ends,
                macs,
                group,
            } => {
                let numbers = [0, 1].map(|side| self.next_index(&spaces[side], &ends[side]));
                let other = File::open(space::path(&spaces[1]))?;
                let [near, far] = [0, 1].map(|side| NewEnd {
                    name: &ends[side],
                    index: numbers[side],
                    mac: &macs[side],
                    mtu: None,
                    space: (side == 1).then(|| other.as_fd()),
                });
                let mut batch = Batch::default();
                link::add_pair(&mut batch, near, far, None, *group);
                // From the host, kernels before 6.15 would look there for a link of that name or index.
                refused(&self.socket(&spaces[0])?.transact(&mut batch)?)?;
            }
            Action::ChangeLink {
                space,
                link,
                change,
            } => {
                let master = match &change.master {
                    // Of no bridge any more.
                    Some(master) if master.is_empty() => Some(0),
                    Some(master) => Some(self.index(None, master)?),
                    None => None,
                };
                link::change_link(&mut self.pending, link, change, master);
                self.note(index, space.as_deref());
            }
            Action::DeleteLink { space, link } => {
                link::delete_link(&mut self.pending, link);
                self.indices.remove(&(space.clone(), link.clone()));
                self.note(index, space.as_deref());
            }
            Action::DeleteGroup { group, .. } => {
                link::delete_group(&mut self.pending, *group);
                self.note(index, None);
            }
            Action::Shape { space, link, shape } => {
                let number = self.index(Some(space), link)?;
                if shape.is_empty() {
                    shape::unset(&mut self.pending, number);
                } else {
                    shape::set(&mut self.pending, number, shape);
                }
                self.note(index, Some(space));
            }
            Action::AddAddress { space, link, net }
            | Action::DeleteAddress { space, link, net } => {
                let number = self.index(space.as_deref(), link)?;
                if step.sign() == '+' {
                    link::add_address(&mut self.pending, number, *net);
                } else {
                    link::delete_address(&mut self.pending, number, *net);
                }
                self.note(index, space.as_deref());
            }
            Action::Connect { space, link, net } => {
                let number = self.index(space.as_deref(), link)?;
                route::add_connected(&mut self.pending, number, *net);
                self.note(index, space.as_deref());
            }
            Action::AddRoute { space, hop } => {
                route::add(&mut self.pending, hop.to, hop.via, hop.metric);
                self.note(index, Some(space));
            }
            Action::DeleteRoute {
                space,
                to,
                via,
                metric,
            } => {
                route::delete(&mut self.pending, *to, *via, *metric);
                self.note(index, Some(space));
            }
            Action::Sysctl {
                space, key, value, ..
            } => {
                self.visit(space.as_deref())?;
                let written = settings::write(key, value);
                let forbidden = [
                    io::ErrorKind::ReadOnlyFilesystem,
                    io::ErrorKind::PermissionDenied,
                ];
                match written {
                    // Everything else can be made all the same.
                    Err(error) if forbidden.contains(&error.kind()) => {
                        self.warnings
                            .push(format!("{step} cannot be set: {}", plain(&error)));
                    }
                    other => other?,
                }
            }
            Action::WriteFile { path, text, .. } => {
                if let Some(directory) = path.parent() {
                    make_directory(directory)?;
                }
                // A rename leads into no other file system.
                let temporary = match path.starts_with(ETC) {
                    true => &self.temporary,
                    false => &self.temporary_setting,
                };
                replace(path, temporary, text.as_bytes(), 0o644)?;
            }
            Action::RemoveFile { path } => absent_is_fine(remove_file(path))?,
            Action::RemoveDirectory { path } => match absent_is_fine(remove_directory(path)) {
                // Somebody put something there: then it stays.
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
                other => other?,
            },
            Action::ReplaceTable { space, table, .. } => {
                let refusals = table.replace(self.netfilter(space.as_deref())?)?;
                refused(&refusals)?;
            }
            Action::AcceptForward { accept } => {
                self.home();
                let refusals = filter::insert(self.netfilter(None)?, accept)?;
                refused(&refusals)?;
            }
            Action::RemoveAccept { place, handle } => {
                self.home();
                refused(&filter::remove(self.netfilter(None)?, place, *handle)?)?;
            }
            Action::Forget { space, redirects } => {
                self.visit(space.as_deref())?;
                conntrack::forget(redirects)?;
            }
            Action::RemoveTable { space, name } => {
                refused(&nft::remove(self.netfilter(space.as_deref())?, name)?)?;
            }
            Action::RemoveSpace { space } => {
                self.home();
                space::remove(space)?;
            }
            Action::Unprepare => space::unprepare()?,
        }
        Ok(())
    }

    /// Says which step the messages since the last note belong to, and where they go.
    fn note(&mut self, step: usize, space: Option<&str>) {
        self.pending_steps.resize(self.pending.len(), step);
        self.pending_space = space.map(str::to_owned);
    }

    /// Sends a batch of the host.
    fn at_once(&mut self, batch: &mut Batch) -> io::Result<()> {
        refused(&self.host.transact(batch)?)
    }

    /// The index of the next link of a namespace: known beforehand where nothing else makes links.
    fn next_index(&mut self, space: &str, link: &str) -> u32 {
        let key = (Some(space.to_owned()), link.to_owned());
        match self.fresh.get_mut(space) {
            Some(next) => {
                let index = *next;
                *next += 1;
                self.indices.insert(key, index);
                index
            }
            None => {
                self.indices.remove(&key);
                0
            }
        }
    }

    /// A namespace; the thread stays in it.
    fn make_space(&mut self, name: &str, repair: bool) -> io::Result<()> {
        self.inside = None;
        if self.fresh.is_empty() {
            self.home();
            space::prepare()?;
        }
        if repair {
            space::remove(name)?;
        }
        if self.away.is_none() {
            self.away = Some(Away::here()?);
        }
        self.at = None;
        space::make(name)?;
        self.at = Some(name.to_owned());
        let mut socket = Socket::route()?;
        if self.first_index == 0 {
            // Beside lo there are tunnels' devices in a new namespace, where their modules are loaded.
            let links = link::links(&mut socket)?;
            self.first_index = 1 + links.iter().map(|link| link.index).max().unwrap_or(1);
        }
        self.cookies.insert(name.to_owned(), socket.cookie());
        self.inside = Some((name.to_owned(), socket));
        self.fresh.insert(name.to_owned(), self.first_index);
        Ok(())
    }
}

/// The MAC address that an interface is made with; none where it has another's.
fn own_mac<'a>(device: &Device, mac: &'a [u8; 6]) -> &'a [u8] {
    match device.has_mac() {
        true => mac,
        false => &[],
    }
}

/// Whether a step is messages only.
fn is_message(step: &Action) -> bool {
    matches!(
        step,
        Action::MakeBridge { .. }
            | Action::ChangeLink { .. }
            | Action::DeleteLink { .. }
            | Action::DeleteGroup { .. }
            | Action::Vlan { .. }
            | Action::Shape { .. }
            | Action::AddAddress { .. }
            | Action::DeleteAddress { .. }
            | Action::Connect { .. }
            | Action::AddRoute { .. }
            | Action::DeleteRoute { .. }
    )
}

/// The first refusal as an error.
fn refused(refusals: &[crate::netlink::Refusal]) -> io::Result<()> {
    match refusals.first() {
        None => Ok(()),
        Some(refusal) => Err(io::Error::other(refusal.to_string())),
    }
}

/// An error without its number.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or("").to_owned()
}
