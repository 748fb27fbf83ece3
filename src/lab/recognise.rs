//! What a changed file leaves as it is, recognised without a visit.
//!
//! A visit of a namespace costs some 0.2 ms, so a change of one host in a thousand must not visit them all. For each
//! namespace the journal holds a print: a hash of what was declared, of the inode of the file that is its name, and of
//! the indices of both ends of its ports. The kernel does not give an index of a namespace again, so a port with the same
//! index and peer on the same bridge, with a carrier, has the lab's own interface at the other end, up.
//!
//! What this does not see is what somebody changed inside of such a namespace without touching its links (addresses,
//! routes, settings), pairs between two namespaces, files, and a name that was unmounted while a process inside keeps the
//! namespace. A visit of all sees it: `plan`, `status`, `apply` of a
//! file that did not change, and `apply --deep`.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::hash::{Hash, Hasher as _};
use std::io;
use std::os::unix::ffi::OsStrExt as _;

use crate::error::{During, Result};
use crate::hash::{Map, Print, Set};
use crate::journal::Journal;
use crate::layout::{Layout, Other, Port, SpaceLayout};
use crate::link::{self, Link};
use crate::netlink::Socket;
use crate::nft::Table;
use crate::observe::{Kernel, Seen, keys};
use crate::space;

/// Up to so many namespaces, their ports are asked for one by one.
const SINGLY: usize = 50;

/// The print of one thing.
fn print(of: &impl Hash) -> u64 {
    let mut print = Print::default();
    of.hash(&mut print);
    print.finish()
}

/// The print of what is declared of a namespace.
fn declared(space: &SpaceLayout) -> u64 {
    let mut print = Print::default();
    (&space.name, &space.ends, &space.routes, &space.sysctls).hash(&mut print);
    space.table.as_ref().map(Table::comment).hash(&mut print);
    for (path, text) in &space.files {
        // A path hashes itself component by component.
        print.write(path.as_os_str().as_bytes());
        print.write(text.as_bytes());
    }
    print.finish()
}

/// The ports of a namespace.
fn ports(space: &SpaceLayout) -> impl Iterator<Item = &Port> {
    space.ends.iter().filter_map(|end| match &end.other {
        Other::Port(port) => Some(port),
        Other::Space(..) | Other::On(_) | Other::Tagged(..) => None,
    })
}

/// What a lab declares, as prints.
pub(crate) struct Prints {
    /// By namespace, in the layout's order.
    spaces: Vec<u64>,
    bridges: u64,
    /// All objects, and what is published.
    pub(crate) whole: u64,
}

impl Prints {
    /// Takes them.
    pub(crate) fn of(layout: &Layout, names: &str) -> Self {
        let spaces: Vec<u64> = layout.spaces.iter().map(declared).collect();
        let bridges = print(&layout.bridges);
        let comment = layout.table.as_ref().map(Table::comment);
        let whole = print(&(&spaces, bridges, &layout.sysctls, comment, names));
        Self {
            spaces,
            bridges,
            whole,
        }
    }

    /// The print of a namespace as it is, or none if it cannot be recognised: no name, or a port without a carrier.
    fn actual<'a>(
        &self,
        at: usize,
        space: &SpaceLayout,
        names: &Map<OsString, u64>,
        link: impl Fn(&str) -> Option<&'a Link>,
    ) -> Option<u64> {
        let mut print = Print(self.spaces[at]);
        print.write_u64(*names.get(OsStr::new(&space.name))?);
        for port in ports(space) {
            let link = link(&port.name).filter(|link| link.carrier)?;
            let numbers = [link.index, link.peer, link.master, u32::from(link.hairpin)];
            numbers.hash(&mut print);
            let options = link.options.iter().map(|option| option.number());
            options.for_each(|number| print.write_u64(number.into()));
        }
        Some(print.finish())
    }

    /// Looks at the host, and into the namespaces that the file changed or that are not recognised.
    /// `ports_seen` are all ports of the host.
    pub(crate) fn observe(
        &self,
        layout: &Layout,
        journal: &Journal,
        ports_seen: io::Result<Vec<Link>>,
    ) -> Result<Kernel> {
        let brief = journal.bridges == self.bridges;
        let mut kernel = if brief {
            Kernel::brief(layout, journal, ports_seen)?
        } else {
            Kernel::host(&keys(layout, Some(journal)))?
        };
        let names = space::inodes();
        let mut strangers = Set::default();
        let mut known = Set::default();
        for (at, space) in layout.spaces.iter().enumerate() {
            let before = journal.spaces.get(&space.name).map(|made| made.print);
            let now = self.actual(at, space, &names, |name| kernel.host_link(name));
            if now.is_some() && now == before {
                known.extend(ports(space).map(|port| port.name.as_str()));
                continue;
            }
            strangers.insert(space.name.clone());
            // A pair is made in both of its namespaces.
            for end in &space.ends {
                if let Other::Space(other, _) = end.other {
                    strangers.insert(layout.spaces[other].name.clone());
                }
            }
        }
        if brief {
            let others = layout
                .spaces
                .iter()
                .flat_map(ports)
                .map(|port| port.name.as_str());
            kernel.look_closely(&layout.mark, &known, others)?;
        }
        kernel.visit(layout, Some(journal), Some(&strangers))?;
        kernel.names = Some(names);
        Ok(kernel)
    }

    /// Remembers how the namespaces that were visited are recognised from now on.
    pub(crate) fn remember(
        &self,
        journal: &mut Journal,
        layout: &Layout,
        seen: &Kernel,
    ) -> Result<()> {
        journal.print = self.whole;
        journal.bridges = self.bridges;
        let visited = || {
            let spaces = layout.spaces.iter().enumerate();
            spaces.filter(|(_, space)| seen.spaces.contains_key(&space.name))
        };
        let look = |socket: &mut Socket| -> io::Result<Map<String, Link>> {
            let links = if seen.spaces.len() > SINGLY {
                link::ports(socket)?
            } else {
                let names = visited().flat_map(|(_, space)| ports(space));
                let links: io::Result<Vec<_>> =
                    names.map(|port| link::link(socket, &port.name)).collect();
                links?.into_iter().flatten().collect()
            };
            let named = links.into_iter().map(|link| (link.name.clone(), link));
            Ok(named.collect())
        };
        let links = Socket::reader()
            .and_then(|mut socket| look(&mut socket))
            .during(|| "cannot read the links of this host".to_owned())?;
        let is_kept =
            |space: &SpaceLayout| matches!(seen.spaces.get(&space.name), Some(Seen::There(_)));
        let names = match &seen.names {
            // What was there has the name that it had.
            Some(names) if visited().all(|(_, space)| is_kept(space)) => Cow::Borrowed(names),
            _ => Cow::Owned(space::inodes()),
        };
        for (at, space) in visited() {
            if let Some(made) = journal.spaces.get_mut(&space.name) {
                let now = self.actual(at, space, &names, |name| links.get(name));
                made.print = now.unwrap_or(0);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::print;

    #[test]
    fn prints_differ_where_things_do() {
        let things = ["", "a", "b", "ab", "abcdefgh", "abcdefgh\0"];
        for (at, one) in things.iter().enumerate() {
            assert_eq!(print(one), print(&one.to_string()));
            for other in &things[..at] {
                assert_ne!(print(one), print(other), "{one:?} {other:?}");
            }
        }
        assert_ne!(print(&("a", "bc")), print(&("ab", "c")));
    }
}
