//! What the kernel has: links, addresses and routes of the host and of a lab's namespaces, and the labs' tables.
//!
//! One dump of the host; for each namespace one visit with three dumps. Nothing is changed.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read as _};

use crate::error::{During, Result};
use crate::journal::Journal;
use crate::layout::{Layout, Mark};
use crate::link::{self, Address, Link, Route};
use crate::netlink::Socket;
use crate::nft;
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
    /// Its routes; those of the host are nobody's business.
    pub routes: Vec<Route>,
    /// The settings that were asked for.
    pub sysctls: HashMap<String, String>,
}

impl Inside {
    /// Looks at the thread's own namespace.
    pub(crate) fn here(keys: &[(String, String)], with_routes: bool) -> io::Result<Self> {
        let mut socket = Socket::reader()?;
        let links = link::links(&mut socket)?;
        Ok(Self {
            cookie: socket.cookie(),
            sysctls: settings(keys, &links),
            links,
            addresses: link::addresses(&mut socket, None)?,
            routes: if with_routes {
                link::routes(&mut socket)?
            } else {
                Vec::new()
            },
        })
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
    pub host_links: HashMap<String, usize>,
    /// Namespaces that the lab declares or once made; one that was not looked at is not here, and is left as it is.
    pub spaces: HashMap<String, Seen>,
    /// The labs' tables; none if the kernel has no nf_tables.
    pub tables: Option<BTreeMap<String, nft::Seen>>,
    /// Forward chains of others that drop by policy.
    pub dropping: Vec<String>,
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
        only: Option<&HashSet<String>>,
    ) -> Result<()> {
        let nothing = Vec::new();
        let known: HashSet<&String> = layout.spaces.iter().map(|space| &space.name).collect();
        let selected = |name: &String| only.is_none_or(|only| only.contains(name));
        let declared = layout
            .spaces
            .iter()
            .filter(|space| selected(&space.name))
            .map(|space| (&space.name, &space.sysctls));
        let made = journal
            .iter()
            .flat_map(|journal| journal.spaces.keys())
            .filter(|name| !known.contains(name))
            .map(|name| (name, &nothing));
        let away = Away::home().during(|| "cannot remember this network namespace".to_owned())?;
        for (name, keys) in declared.chain(made) {
            if !self.spaces.contains_key(name) {
                self.spaces.insert(name.clone(), look(&away, name, keys)?);
            }
        }
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
            no_resolver: !std::path::Path::new("/etc/resolv.conf").exists(),
            ..Self::default()
        };
        kernel.index();
        if let Ok(mut socket) = Socket::netfilter() {
            kernel.tables = nft::tables(&mut socket, "lab_").ok();
            kernel.dropping = nft::dropping_forward_chains(&mut socket).unwrap_or_default();
        }
        Ok(kernel)
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
            host.sysctls = settings(&keys(layout, Some(journal)), &host.links);
            Ok(host)
        };
        Self::with_host(look().during(|| "cannot read the links of this host".to_owned())?)
    }

    /// Completes a brief look: `known` ports carry the lab's mark, all others of the kernel and of the lab are asked for.
    pub(crate) fn look_closely<'a>(
        &mut self,
        mark: &Mark,
        known: &HashSet<&str>,
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

/// The settings of the host that concern a lab.
pub(crate) fn keys(layout: &Layout, journal: Option<&Journal>) -> Vec<(String, String)> {
    let mut keys = layout.sysctls.clone();
    keys.extend(
        layout
            .bridges
            .iter()
            .flat_map(|bridge| bridge.sysctls.clone()),
    );
    if let Some(journal) = journal {
        keys.extend(journal.sysctls.clone());
    }
    keys
}

/// Settings of the thread's namespace.
fn settings(keys: &[(String, String)], links: &[Link]) -> HashMap<String, String> {
    keys.iter()
        .filter_map(|(key, wanted)| {
            let value = known_setting(key, wanted, links).or_else(|| read_sysctl(key))?;
            Some((key.clone(), value))
        })
        .collect()
}

/// A setting that links tell as well. The kernel keeps the directories of all namespaces in one hash chain, so with a
/// thousand of them opening one file below `/proc/sys/net` takes a quarter of a millisecond.
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
fn look(away: &Away, name: &str, keys: &[(String, String)]) -> Result<Seen> {
    let look = || -> io::Result<Seen> {
        Ok(match space::kind(name)? {
            Kind::Absent => Seen::Absent,
            Kind::HalfMade => Seen::HalfMade,
            Kind::Namespace => {
                away.go_on(name)?;
                Seen::There(Box::new(Inside::here(keys, true)?))
            }
        })
    };
    look().during(|| format!("cannot look into namespace {name}"))
}

/// A setting of the thread's namespace.
pub(crate) fn read_sysctl(key: &str) -> Option<String> {
    // Short files, read by the thousand: one read tells all.
    let mut octets = [0; 256];
    let mut file = File::open(format!("/proc/sys/{key}")).ok()?;
    let length = file.read(&mut octets).ok()?;
    let text = std::str::from_utf8(&octets[..length]).ok()?;
    Some(text.trim().to_owned())
}
