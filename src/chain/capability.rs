//! What a plugin offers to others of its server block, found by directive: a client's search path (`autopath @kubernetes`), the
//! services that are reachable from outside of a cluster (`k8s_external`), the zones that are served from memory, for whoever hands
//! them on as they are, and the keys that are shared with other servers.
//!
//! ```text
//!  build ──► kubernetes: capabilities.provide_search_path("kubernetes", …)       in the catalogue's order, so takers may be built first
//!  attach ─► autopath:   capabilities.search_paths("kubernetes")               before the first query, when everybody is built
//! ```
//!
//! No plugin names another: the directive is a word of the Corefile. A taker keeps the handle that `Build::capabilities` gives, and asks
//! it when it is attached. Look-ups allocate nothing and wait for nothing.

use std::net::IpAddr;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wire::{Name, Qname, Type};
use zone::Standing;

use crate::served::ZoneSet;
use crate::tsig::Keys;

/// Called with each suffix of a list, in order, until it says to stop.
pub type VisitName<'v> = &'v mut dyn for<'n> FnMut(Name<'n>) -> ControlFlow<()>;
/// Called with each way to reach a service, until it says to stop.
pub type VisitReachable<'v> = &'v mut dyn for<'n> FnMut(Reachable<'n>) -> ControlFlow<()>;
/// Called with the labels of each service, until it says to stop.
pub type VisitLabels<'v> = &'v mut dyn for<'n> FnMut(&'n [u8]) -> ControlFlow<()>;
/// Called with each address, until it says to stop.
pub type VisitAddress<'v> = &'v mut dyn FnMut(IpAddr) -> ControlFlow<()>;

/// Called with each type that a name has records of.
pub type VisitType<'v> = &'v mut dyn FnMut(Type);

/// What waits for a state to be known.
pub type Settling<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// Knows which suffixes a client's stub resolver appends to a name.
pub trait SearchPath: Send + Sync {
    /// Visits the suffixes to try for `client`, first to last; the root is the name as it stands. `false`, and no visit, when
    /// `qname` is not its business or the client is not known.
    fn search(&self, qname: &Qname, client: IpAddr, visit: VisitName<'_>) -> bool;
}

/// Whether a name exists, and so what an answer without records is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Existence {
    /// There is no such name.
    NxDomain,
    /// The name exists; its records, if it has any, have been visited.
    Exists,
    /// Nothing is known yet: SERVFAIL, not NXDOMAIN.
    NotReady,
}

/// Where a service is reachable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Host<'a> {
    /// An address.
    Address(IpAddr),
    /// A host name, as some load balancers have.
    Name(Name<'a>),
}

/// One way to reach a service: a host and a port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reachable<'a> {
    /// Where.
    pub host: Host<'a>,
    /// The port; `None` when no port is declared, which gives no SRV record.
    pub port: Option<u16>,
    /// The labels of the name that stands for it, left of the zone, in wire form without a root: `SVC.NS` or `ENDPOINT.SVC.NS`. The
    /// target of an SRV record whose host is an address.
    pub labels: &'a [u8],
}

/// Services of a cluster as they are seen from outside.
pub trait External: Send + Sync {
    /// Visits what `qname` leads to; `left` is how many of its labels stand left of the zone (`SVC.NS`, `ENDPOINT.SVC.NS`,
    /// `_PORT._PROTOCOL.SVC.NS`). With `headless`, services without an address count with their endpoints. One visit for each
    /// host and port: an address may come more than once.
    fn find(
        &self,
        qname: &Qname,
        left: usize,
        headless: bool,
        visit: VisitReachable<'_>,
    ) -> Existence;

    /// Visits the labels (`SVC.NS`, as in [`Reachable::labels`]) of the services that have this external address.
    fn reverse(&self, address: IpAddr, visit: VisitLabels<'_>) -> Existence;

    /// Visits the external addresses of the services whose endpoints this server is, else its own addresses.
    fn servers(&self, headless: bool, visit: VisitAddress<'_>);

    /// Ends when the state is known, or at the end of the patience that its owner has after a start.
    fn settle(&self) -> Settling<'_>;

    /// When something seen from outside changed last, in seconds since 1970: the SOA record's serial.
    fn serial(&self) -> u32;
}

/// Knows which types of records a name has: what proofs tell that are made as they are given (RFC 9824, section 3.2).
pub trait Holdings: Send + Sync {
    /// Visits the types of the records at `qname`; `None`, and no visit, when the name is not its business.
    fn types_at(&self, qname: &Qname, visit: VisitType<'_>) -> Option<Standing>;
}

impl Holdings for ZoneSet {
    fn types_at(&self, qname: &Qname, visit: VisitType<'_>) -> Option<Standing> {
        self.read(|zones| {
            let zone = zones.nearest(qname)?.load();
            zone.as_ref().map(|zone| zone.types_at(qname, visit))
        })
    }
}

/// What the plugins of one server block offer each other.
#[derive(Default)]
pub struct Capabilities(Mutex<Lists>);

#[derive(Default)]
struct Lists {
    search_paths: Vec<(&'static str, Arc<dyn SearchPath>)>,
    externals: Vec<(&'static str, Arc<dyn External>)>,
    zones: Vec<(&'static str, Arc<ZoneSet>)>,
    holdings: Vec<(&'static str, Arc<dyn Holdings>)>,
    keys: Option<Arc<Keys>>,
}

impl Capabilities {
    fn lists(&self) -> MutexGuard<'_, Lists> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Offers search paths, as `directive`.
    pub fn provide_search_path(&self, directive: &'static str, offered: Arc<dyn SearchPath>) {
        self.lists().search_paths.push((directive, offered));
    }

    /// The search paths that `directive` offers, in file order; complete from [`crate::Plugin::attach`] on.
    pub fn search_paths(&self, directive: &str) -> Vec<Arc<dyn SearchPath>> {
        of(&self.lists().search_paths, directive)
    }

    /// Offers services as seen from outside, as `directive`.
    pub fn provide_external(&self, directive: &'static str, offered: Arc<dyn External>) {
        self.lists().externals.push((directive, offered));
    }

    /// The services that `directive` offers, in file order; complete from [`crate::Plugin::attach`] on.
    pub fn externals(&self, directive: &str) -> Vec<Arc<dyn External>> {
        of(&self.lists().externals, directive)
    }

    /// Offers the keys of the block.
    pub fn provide_keys(&self, keys: Arc<Keys>) {
        self.lists().keys = Some(keys);
    }

    /// The keys of the block, if it has any; complete from [`crate::Plugin::attach`] on.
    pub fn keys(&self) -> Option<Arc<Keys>> {
        self.lists().keys.clone()
    }

    /// Offers zones, as `directive`.
    pub fn provide_zones(&self, directive: &'static str, offered: Arc<ZoneSet>) {
        self.lists().zones.push((directive, offered));
    }

    /// All zones that are offered, with their directives, in the order in which queries meet them; complete from
    /// [`crate::Plugin::attach`] on.
    pub fn zones(&self) -> Vec<(&'static str, Arc<ZoneSet>)> {
        self.lists().zones.clone()
    }

    /// Offers to say which types names have, as `directive`. Who offers zones need not.
    pub fn provide_holdings(&self, directive: &'static str, offered: Arc<dyn Holdings>) {
        self.lists().holdings.push((directive, offered));
    }

    /// All that say which types names have, zones included, with their directives; complete from [`crate::Plugin::attach`] on.
    pub fn holdings(&self) -> Vec<(&'static str, Arc<dyn Holdings>)> {
        let lists = self.lists();
        let zones = lists.zones.iter();
        let zones = zones.map(|(by, zones)| (*by, zones.clone() as Arc<dyn Holdings>));
        zones.chain(lists.holdings.iter().cloned()).collect()
    }
}

fn of<T: ?Sized>(list: &[(&'static str, Arc<T>)], directive: &str) -> Vec<Arc<T>> {
    list.iter()
        .filter(|(by, _)| *by == directive)
        .map(|(_, offered)| offered.clone())
        .collect()
}
