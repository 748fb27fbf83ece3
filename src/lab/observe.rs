//! What the kernel has: links, addresses and routes of the host and of a lab's namespaces, and the labs' tables.
//!
//! One dump of the host; for each namespace one visit with three dumps. Nothing is changed.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::Path;

use ipnet::IpNet;

use crate::device;
use crate::error::{During, Result};
use crate::filter::Filter;
use crate::hash::{Map, Set};
use crate::journal::Journal;
use crate::layout::{Bridge, Layout, Mark, SpaceLayout, setting_of};
use crate::link::{self, Address, Link};
use crate::listener::Listener;
use crate::netlink::Socket;
use crate::nft;
use crate::route::{self, Route};
use crate::settings;
use crate::shape::{self, Shape};
use crate::space::{self, Away, Kind};

/// The kernel's view of one network namespace.
#[derive(Clone, Debug, Default)]
pub struct Inside {
    /// The number that identifies it.
    pub cookie: u64,
    /// Its links.
    pub links: Vec<Link>,
    /// Its addresses.
    pub addresses: Vec<Address>,
    /// Its routes; of the host those to the subnets of its addresses, as the others are nobody's business.
    pub routes: Vec<Route>,
    /// What links do to what they send, where anything is known to.
    pub shapes: Vec<(u32, Shape)>,
    /// The settings that were asked for.
    pub sysctls: Map<String, String>,
    /// The lab's rules in it, if that was asked for.
    pub table: Option<nft::Seen>,
}

impl Inside {
    /// Looks at the thread's own namespace; whether it is one of the lab's.
    pub(crate) fn here(keys: &[(String, String)], inside: bool) -> io::Result<Self> {
        let mut socket = Socket::reader()?;
        let links = link::links(&mut socket)?;
        let shaped = |link: &Link| ["tbf", "netem"].contains(&link.queue.as_str());
        let mut here = Self {
            shapes: match inside && links.iter().any(shaped) {
                true => shape::all(&mut socket)?,
                false => Vec::new(),
            },
            cookie: socket.cookie(),
            sysctls: settings(keys, &links),
            links,
            table: None,
            addresses: link::addresses(&mut socket, None)?,
            routes: route::all(&mut socket, !inside)?,
        };
        if !inside {
            here.look_for_routes(&mut socket)?;
        }
        Ok(here)
    }

    /// Reads all routes, where that to the subnet of an address of a lab is not among those that came with addresses:
    /// somebody may have put one in its place.
    fn look_for_routes(&mut self, socket: &mut Socket) -> io::Result<()> {
        let links = || {
            self.links
                .iter()
                .filter(|link| Mark::is_some_group(link.group))
        };
        let misses = |link: &Link| {
            let mut all = self.addresses_of(link.index);
            all.any(|address| !self.is_connected(link, address.net))
        };
        if links().any(misses) {
            self.routes = route::all(socket, false)?;
        }
        Ok(())
    }

    /// The number of the thread's own namespace, and its links.
    pub(crate) fn identity() -> io::Result<Self> {
        let mut socket = Socket::reader()?;
        Ok(Self {
            cookie: socket.cookie(),
            links: link::links(&mut socket)?,
            ..Self::default()
        })
    }

    /// The link of that name.
    #[must_use]
    pub fn link(&self, name: &str) -> Option<&Link> {
        self.links.iter().find(|link| link.name == name)
    }

    /// What a link does to what it sends; empty if somebody else made it do something.
    #[must_use]
    pub fn shape_of(&self, link: u32) -> Option<Shape> {
        let found = self.shapes.iter().find(|(of, _)| *of == link);
        found.map(|(_, shape)| *shape)
    }

    /// Whether the subnet of an address is in reach over its link, as far as the kernel sees to that: over one that is down
    /// nothing is, and the routes of one that somebody made a port are in another table.
    pub(crate) fn is_connected(&self, link: &Link, net: IpNet) -> bool {
        let leads = |route: &Route| {
            route.link == link.index && route.via.is_none() && route.to == net.trunc()
        };
        !link.up
            || link.master != 0
            || net.addr().is_loopback()
            || net.prefix_len() == net.max_prefix_len()
            || self.routes.iter().any(leads)
    }

    /// The addresses of a link.
    pub fn addresses_of(&self, link: u32) -> impl Iterator<Item = &Address> {
        self.addresses
            .iter()
            .filter(move |address| address.link == link)
    }
}

/// A namespace's name and what is behind it.
#[derive(Clone, Debug)]
pub enum Seen {
    /// Nothing.
    Absent,
    /// Half made.
    HalfMade,
    /// A namespace.
    There(Box<Inside>),
}

/// Everything that a plan needs to know.
#[derive(Clone, Debug, Default)]
pub struct Kernel {
    /// The host.
    pub host: Inside,
    /// The host's links by name.
    pub host_links: Map<String, usize>,
    /// Namespaces that the lab declares or once made; one that was not looked at is not here, and is left as it is.
    pub spaces: Map<String, Seen>,
    /// The labs' tables; none if the kernel has no nf_tables.
    pub tables: Option<BTreeMap<String, nft::Seen>>,
    /// What of other tables concerns forwarding.
    pub filter: Filter,
    /// The VLANs of bridges and their ports, by link, where the lab has any; the untagged one first.
    pub vlans: Map<u32, Vec<u16>>,
    /// Who listens on the host, where the lab would take ports.
    pub listeners: Vec<Listener>,
    /// Settings as a new namespace has them, as far as some are to be taken back.
    pub fresh: Map<String, String>,
    /// All names of namespaces with the inodes of their files, where these were asked for.
    pub names: Option<Map<OsString, u64>>,
    /// Whether settings cannot be written.
    pub fixed: bool,
    /// Whether there is no `/etc/resolv.conf` that another could lie over.
    pub no_resolver: bool,
}

impl Kernel {
    /// Looks at everything that concerns a lab.
    ///
    /// # Errors
    /// The kernel refuses to say.
    pub fn observe(layout: &Layout, journal: Option<&Journal>) -> Result<Self> {
        let mut kernel = Self::host(&keys(layout, journal))?;
        kernel.visit(layout, journal, None)?;
        Ok(kernel)
    }

    /// Looks into the namespaces that the lab declares, or into some of them, and into those that it no longer declares.
    pub(crate) fn visit(
        &mut self,
        layout: &Layout,
        journal: Option<&Journal>,
        only: Option<&Set<String>>,
    ) -> Result<()> {
        let known: Set<&String> = layout.spaces.iter().map(|space| &space.name).collect();
        let selected = |name: &String| only.is_none_or(|only| only.contains(name));
        let declared = layout
            .spaces
            .iter()
            .filter(|space| selected(&space.name))
            .map(|space| {
                let made = journal.and_then(|journal| journal.spaces.get(&space.name));
                let table = space.table.is_some() || made.is_some_and(|made| made.rules.is_some());
                let table = table.then(|| layout.mark.table());
                (&space.name, (asked(space, journal), table))
            });
        let made = journal
            .iter()
            .flat_map(|journal| journal.spaces.keys())
            .filter(|name| !known.contains(name))
            .map(|name| (name, (Vec::new(), None)));
        let away = Away::home().during(|| "cannot remember this network namespace".to_owned())?;
        for (name, (keys, table)) in declared.chain(made) {
            if !self.spaces.contains_key(name) {
                let seen = look(&away, name, (&keys, table.as_deref()))?;
                self.spaces.insert(name.clone(), seen);
            }
        }
        drop(away);
        self.settings_of_a_new_one(layout, journal)
    }

    /// Looks at the settings of a new namespace, where a lab no longer declares what it set.
    fn settings_of_a_new_one(&mut self, layout: &Layout, journal: Option<&Journal>) -> Result<()> {
        let visited = layout
            .spaces
            .iter()
            .filter(|space| matches!(self.spaces.get(&space.name), Some(Seen::There(_))));
        let mut wanted: Vec<(String, String)> = visited
            .flat_map(|space| stale(space, journal))
            .map(|key| (of_default(key), String::new()))
            .collect();
        wanted.sort();
        wanted.dedup();
        if wanted.is_empty() {
            return Ok(());
        }
        let look = || -> io::Result<Map<String, String>> {
            let _away = Away::here()?;
            crate::sys::unshare(libc::CLONE_NEWNET)?;
            Ok(settings(&wanted, &[]))
        };
        self.fresh = look().during(|| "cannot look at a new namespace's settings".to_owned())?;
        Ok(())
    }

    /// The host alone.
    pub(crate) fn host(keys: &[(String, String)]) -> Result<Self> {
        Self::with_host(
            Inside::here(keys, false).during(|| "cannot read the links of this host".to_owned())?,
        )
    }

    /// The host, and what is the same on every visit of it.
    fn with_host(host: Inside) -> Result<Self> {
        let mut kernel = Self {
            host,
            no_resolver: !Path::new("/etc/resolv.conf").exists(),
            fixed: crate::sys::is_read_only(Path::new("/proc/sys")),
            ..Self::default()
        };
        kernel.index();
        if let Ok(mut socket) = Socket::netfilter() {
            kernel.tables = nft::tables(&mut socket, "lab_").ok();
            kernel.filter = Filter::read(&mut socket, false).unwrap_or_default();
        }
        Ok(kernel)
    }

    /// Looks who listens on the host, where the lab takes ports or has taken some, and which VLANs there are.
    pub(crate) fn look_at_ports(&mut self, layout: &Layout, journal: Option<&Journal>) {
        let accepts = journal.is_some_and(|journal| journal.accepts);
        if accepts && let Ok(mut socket) = Socket::netfilter() {
            // Its own rules may stand in chains that no longer drop.
            self.filter = Filter::read(&mut socket, true).unwrap_or_default();
        }
        let filters = |bridge: &Bridge| {
            bridge.device.filters()
                || self
                    .host_link(&bridge.name)
                    .is_some_and(|link| link.filters)
        };
        if layout.bridges.iter().any(filters) {
            let vlans = Socket::reader().and_then(|mut socket| device::vlans(&mut socket));
            self.vlans = vlans.unwrap_or_default();
        }
        if layout.redirects.iter().any(|redirect| !redirect.service) {
            // A kernel that does not tell has nobody in the way.
            self.listeners = crate::listener::all().unwrap_or_default();
        }
    }

    /// Lists the host's links by name.
    fn index(&mut self) {
        let links = self.host.links.iter().enumerate();
        self.host_links = links
            .map(|(index, link)| (link.name.clone(), index))
            .collect();
    }

    /// The host as far as it concerns a lab whose bridges are declared as they were: these and all ports, without marks.
    pub(crate) fn brief(
        layout: &Layout,
        journal: &Journal,
        ports: io::Result<Vec<Link>>,
    ) -> Result<Self> {
        let look = || -> io::Result<Inside> {
            let mut socket = Socket::reader()?;
            let mut host = Inside {
                cookie: socket.cookie(),
                links: ports?,
                ..Inside::default()
            };
            for bridge in &layout.bridges {
                if let Some(link) = link::link(&mut socket, &bridge.name)? {
                    host.addresses
                        .extend(link::addresses(&mut socket, Some(link.index))?);
                    host.links.push(link);
                }
            }
            host.routes = route::all(&mut socket, true)?;
            host.look_for_routes(&mut socket)?;
            let parents = journal.parents.keys().map(String::as_str);
            for parent in layout.parents().into_iter().chain(parents) {
                if !host.links.iter().any(|link| link.name == parent) {
                    host.links.extend(link::link(&mut socket, parent)?);
                }
            }
            host.sysctls = settings(&keys(layout, Some(journal)), &host.links);
            Ok(host)
        };
        Self::with_host(look().during(|| "cannot read the links of this host".to_owned())?)
    }

    /// Completes a brief look: `known` ports carry the lab's mark, all others of the kernel and of the lab are asked for.
    pub(crate) fn look_closely<'a>(
        &mut self,
        mark: &Mark,
        known: &Set<&str>,
        wanted: impl Iterator<Item = &'a str>,
    ) -> Result<()> {
        let look = || -> io::Result<()> {
            let mut socket = Socket::reader()?;
            for port in &mut self.host.links {
                if known.contains(port.name.as_str()) {
                    port.group = mark.group();
                    port.alias = mark.alias("port");
                } else if port.kind.is_empty() {
                    *port = link::link(&mut socket, &port.name)?.unwrap_or_default();
                }
            }
            for name in wanted {
                if !self.host_links.contains_key(name) {
                    self.host.links.extend(link::link(&mut socket, name)?);
                }
            }
            Ok(())
        };
        look().during(|| "cannot read the links of this host".to_owned())?;
        self.index();
        Ok(())
    }

    /// A link of the host.
    #[must_use]
    pub fn host_link(&self, name: &str) -> Option<&Link> {
        self.host_links
            .get(name)
            .map(|&index| &self.host.links[index])
    }
}

/// Whether new links of the host are without IPv6, as they are in many containers.
pub(crate) const WITHOUT_V6: &str = "net/ipv6/conf/default/disable_ipv6";

/// The settings of the host that concern a lab.
pub(crate) fn keys(layout: &Layout, journal: Option<&Journal>) -> Vec<(String, String)> {
    let mut keys = layout.sysctls.clone();
    keys.extend(
        layout
            .bridges
            .iter()
            .flat_map(|bridge| bridge.sysctls.clone()),
    );
    let unset = layout.bridges.iter().flat_map(|bridge| &bridge.defaults);
    for (key, default) in unset {
        keys.push((key.clone(), String::new()));
        keys.push((default.clone(), String::new()));
    }
    let mut addresses = layout.bridges.iter().flat_map(|bridge| &bridge.addresses);
    if addresses.any(|net| net.addr().is_ipv6()) {
        keys.push((WITHOUT_V6.to_owned(), "0".to_owned()));
    }
    if let Some(journal) = journal {
        keys.extend(journal.sysctls.clone());
    }
    keys.sort();
    keys.dedup();
    keys
}

/// Whether what ports of a bridge say to each other passes the forward chains: of IPv4, of IPv6.
pub(crate) const BRIDGED: [&str; 2] = [
    "net/bridge/bridge-nf-call-iptables",
    "net/bridge/bridge-nf-call-ip6tables",
];

/// Settings that were made in a namespace and are no longer declared.
pub(crate) fn stale<'a>(space: &SpaceLayout, journal: Option<&'a Journal>) -> Vec<&'a str> {
    let made = journal.and_then(|journal| journal.spaces.get(&space.name));
    let set = made.into_iter().flat_map(|made| &made.sysctls);
    set.filter(|key| space.sysctls.iter().all(|(declared, _)| declared != *key))
        .map(String::as_str)
        .collect()
}

/// Of an interface's setting that from which a new interface takes it; any other as it is.
pub(crate) fn of_default(key: &str) -> String {
    match setting_of(key) {
        Some((place, link, setting)) if link != "all" => format!("{place}/default/{setting}"),
        _ => key.to_owned(),
    }
}

/// The settings to look at in a namespace: what is declared and what was set, and of the defaults what the interfaces
/// made of them.
fn asked(space: &SpaceLayout, journal: Option<&Journal>) -> Vec<(String, String)> {
    let mut keys = space.sysctls.clone();
    let before = stale(space, journal);
    keys.extend(before.iter().map(|key| ((*key).to_owned(), String::new())));
    for (key, value) in keys.clone() {
        if let Some((place, "default", setting)) = setting_of(&key) {
            let ends = space.ends.iter();
            keys.extend(ends.map(|end| (format!("{place}/{}/{setting}", end.name), value.clone())));
        }
    }
    keys
}

/// Settings of the thread's namespace.
fn settings(keys: &[(String, String)], links: &[Link]) -> Map<String, String> {
    keys.iter()
        .filter_map(|(key, wanted)| {
            let value = known_setting(key, wanted, links).or_else(|| settings::read(key))?;
            Some((key.clone(), value))
        })
        .collect()
}

/// A setting that links tell as well.
fn known_setting(key: &str, wanted: &str, links: &[Link]) -> Option<String> {
    let (link, setting) = key.strip_prefix("net/ipv6/conf/")?.split_once('/')?;
    let at = ["accept_ra", "accept_dad"]
        .iter()
        .position(|name| *name == setting)?;
    if link != "default" {
        let found = links.iter().find(|found| found.name == link)?;
        return Some(found.accept?[at].to_string());
    }
    // What the default is there for has happened when every interface has it.
    let mut others = links.iter().filter(|link| !link.kind.is_empty()).peekable();
    others.peek()?;
    others
        .all(|link| {
            link.accept
                .is_some_and(|accept| accept[at].to_string() == wanted)
        })
        .then(|| wanted.to_owned())
}

/// Looks at one namespace.
fn look(
    away: &Away,
    name: &str,
    (keys, table): (&[(String, String)], Option<&str>),
) -> Result<Seen> {
    let look = || -> io::Result<Seen> {
        Ok(match space::kind(name)? {
            Kind::Absent => Seen::Absent,
            Kind::HalfMade => Seen::HalfMade,
            Kind::Namespace => {
                away.go_on(name)?;
                let mut inside = Inside::here(keys, true)?;
                if let Some(table) = table {
                    inside.table = nft::tables(&mut Socket::netfilter()?, table)?.remove(table);
                }
                Seen::There(Box::new(inside))
            }
        })
    };
    look().during(|| format!("cannot look into namespace {name}"))
}
