//! What a changed file leaves as it is, recognised without a visit.
//!
//! A visit of a namespace costs some 0.2 ms, so a change of one host in a thousand must not visit them all. The journal
//! holds a print (a hash) of what each namespace was last declared as, and how it is recognised: the inode of its name and the
//! indices of both ends of its ports. The kernel never gives an index twice in a namespace's life, so a port with the
//! right index, peer and bridge, up and with a carrier, has the lab's namespace with its interface up at the other end.
//!
//! What this does not see is what somebody changed inside of such a namespace without touching its links (addresses,
//! routes, settings), pairs between two namespaces, and its files. A visit of all sees it: `plan`, `status`, `apply`
//! of a file that did not change, and `apply --deep`.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::unix::fs::MetadataExt as _;

use crate::error::{During, Result};
use crate::journal::{Journal, Made};
use crate::layout::{Layout, Other, Port, SpaceLayout};
use crate::link::{self, Link};
use crate::netlink::Socket;
use crate::observe::{Inside, Kernel};
use crate::space;

/// Up to so many namespaces, their ports are asked for one by one.
const SINGLY: usize = 50;

/// A hash of anything; never 0, which stands for nothing known. Another compiler's may differ: then all is visited.
pub(crate) fn print(of: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish().max(1)
}

/// A hash of all that a lab declares: its objects and what is published.
pub(crate) fn whole(layout: &Layout, names: &str) -> u64 {
    let comment = layout.table.as_ref().map(crate::nft::Table::comment);
    let parts = (&layout.bridges, &layout.spaces, &layout.sysctls);
    print(&(parts, comment, names))
}

/// The ports of a namespace.
fn ports(space: &SpaceLayout) -> impl Iterator<Item = &Port> {
    space.ends.iter().filter_map(|end| match &end.other {
        Other::Port(port) => Some(port),
        Other::Space(..) => None,
    })
}

/// The number of a namespace's file; 0 if there is none.
fn inode(name: &str) -> u64 {
    std::fs::metadata(space::path(name)).map_or(0, |data| data.ino())
}

/// The namespaces that have to be visited: those that the file changed, and those that are not recognised.
pub(crate) fn strangers(layout: &Layout, journal: &Journal, host: &Inside) -> HashSet<String> {
    let by_index: HashMap<u32, &Link> = host.links.iter().map(|link| (link.index, link)).collect();
    let by_name: HashMap<&str, u32> = host
        .links
        .iter()
        .map(|link| (link.name.as_str(), link.index))
        .collect();
    let is_there = |made: &Made, space: &SpaceLayout| {
        let mut known = made.ports.iter();
        ports(space).all(|port| {
            let Some((index, peer)) = known.next() else {
                return false;
            };
            by_index.get(index).is_some_and(|link| {
                link.name == port.name
                    && link.peer == *peer
                    && link.carrier
                    && link.hairpin == port.hairpin
                    && by_name.get(port.bridge.as_str()) == Some(&link.master)
            })
        }) && made.inode != 0
            && made.inode == inode(&space.name)
    };
    let mut strangers = HashSet::new();
    for space in &layout.spaces {
        let made = journal.spaces.get(&space.name);
        if made.is_some_and(|made| made.print == print(space) && is_there(made, space)) {
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
    strangers
}

/// Remembers how the namespaces that were visited are recognised from now on.
pub(crate) fn remember(journal: &mut Journal, layout: &Layout, seen: &Kernel) -> Result<()> {
    journal.bridges = print(&layout.bridges);
    let visited = || {
        let spaces = layout.spaces.iter();
        spaces.filter(|space| seen.spaces.contains_key(&space.name))
    };
    let look = |socket: &mut Socket| -> io::Result<HashMap<String, Link>> {
        let names = visited().flat_map(ports).map(|port| &port.name);
        let links = if seen.spaces.len() > SINGLY {
            link::ports(socket)?
        } else {
            let links: io::Result<Vec<_>> = names.map(|name| link::link(socket, name)).collect();
            links?.into_iter().flatten().collect()
        };
        Ok(links
            .into_iter()
            .map(|link| (link.name.clone(), link))
            .collect())
    };
    let links = Socket::reader()
        .and_then(|mut socket| look(&mut socket))
        .during(|| "cannot read the links of this host".to_owned())?;
    for space in visited() {
        if let Some(made) = journal.spaces.get_mut(&space.name) {
            made.inode = inode(&space.name);
            made.ports.clear();
            made.ports.extend(
                ports(space)
                    .filter_map(|port| links.get(&port.name))
                    .map(|link| (link.index, link.peer)),
            );
            made.print = print(space);
        }
    }
    Ok(())
}
