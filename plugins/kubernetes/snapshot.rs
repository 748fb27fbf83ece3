//! A cluster as a query sees it: immutable, shared with the one before it as far as they are alike, and replaced whole.
//!
//! ```text
//!  Snapshot ─┬─ namespaces   label            ─► exposed
//!            ├─ services     SVC.NS           ─► Group: service + slices + octets ready to send
//!            ├─ imports      SVC.NS           ─► the same of a cluster set
//!            ├─ owners       address          ─► SVC.NS, as a service's, an endpoint's or an outside address
//!            └─ pods         address          ─► namespace                                      (`pods verified`)
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::ArcSwap;
use source::{Aged, Table};
use tokio::sync::watch;

use super::change::Kind;
use super::entry::{Address, Group, Labels, key};

/// What an address is to a service.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Role {
    /// An address of its own.
    Service,
    /// That of an endpoint.
    Endpoint,
    /// One that it is reached by from outside.
    Outside,
}

/// A group among those of its leaf; the hash beside it, so that the others are not looked at.
#[derive(Clone)]
pub(super) struct GroupEntry {
    /// That of its name.
    pub(super) hash: u64,
    /// The group.
    pub(super) group: Arc<Group>,
}

/// A service that an address belongs to.
#[derive(Clone)]
pub(super) struct Owner {
    /// The address.
    pub(super) address: Address,
    /// The service.
    pub(super) labels: Arc<Labels>,
    /// How often.
    pub(super) count: u32,
    /// As what.
    pub(super) role: Role,
}

/// A pod that has an address.
#[derive(Clone, PartialEq)]
pub(super) struct PodAt {
    /// The address.
    pub(super) address: Address,
    /// The namespace.
    pub(super) namespace: Arc<Labels>,
    /// Its name and labels, where they are kept.
    pub(super) details: Option<Arc<PodDetails>>,
}

/// What metadata tells of a pod.
#[derive(Clone, PartialEq)]
pub(super) struct PodDetails {
    /// Its name.
    pub(super) name: Box<str>,
    /// Its labels.
    pub(super) labels: Vec<(Box<str>, Box<str>)>,
}

/// The pods of which the same is known: one, but for those on the host's network.
#[derive(Clone)]
pub(super) struct PodsAt {
    /// What is known.
    pub(super) pod: PodAt,
    /// How many.
    pub(super) count: u32,
}

/// A name server of the zone: the labels left of the zone and an address.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct NameServer {
    /// The labels in wire form.
    pub(super) labels: Box<[u8]>,
    /// The address.
    pub(super) address: Address,
}

impl NameServer {
    /// What a name server is called that is no service.
    pub(super) const DEFAULT: &'static [u8] = b"\x02ns\x03dns";
}

/// When something changed last, in seconds since 1970.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Serials {
    /// What is seen from within.
    pub(super) inside: u32,
    /// What is seen from outside.
    pub(super) outside: u32,
    /// What is seen of the cluster set.
    pub(super) imported: u32,
}

/// A cluster as a query sees it.
#[derive(Clone, Default)]
pub(super) struct Snapshot {
    /// The namespaces that are exposed.
    pub(super) namespaces: Table<Arc<Labels>>,
    /// The services.
    pub(super) services: Table<GroupEntry>,
    /// The services of the cluster set.
    pub(super) imports: Table<GroupEntry>,
    /// Whose an address is.
    pub(super) owners: Table<Owner>,
    /// Where pods are.
    pub(super) pods: Table<PodsAt>,
    /// The name servers.
    pub(super) servers: Arc<[NameServer]>,
    /// The serials.
    pub(super) serials: Serials,
    /// Whether all kinds have been listed once.
    pub(super) synced: bool,
}

impl Snapshot {
    /// Whether this namespace, a label in wire form, is exposed.
    #[inline]
    pub(super) fn exposes(&self, namespace: &[u8]) -> bool {
        let mut found = self.namespaces.leaf(key(namespace)).iter();
        found.any(|labels| labels.octets() == namespace)
    }

    /// The services of the cluster, or of the cluster set.
    #[inline]
    pub(super) fn groups(&self, of_the_set: bool) -> &Table<GroupEntry> {
        if of_the_set {
            &self.imports
        } else {
            &self.services
        }
    }

    /// The group of `SVC.NS` in wire form.
    #[inline]
    pub(super) fn group<'a>(table: &'a Table<GroupEntry>, labels: &[u8]) -> Option<&'a Arc<Group>> {
        let hash = key(labels);
        let mut found = table.leaf(hash).iter();
        let found = found.find(|known| known.hash == hash && known.group.name() == labels);
        found.map(|known| &known.group)
    }

    /// Whose `address` is, as `role`.
    pub(super) fn owners_of(
        &self,
        address: Address,
        role: Role,
    ) -> impl Iterator<Item = &Arc<Labels>> {
        self.owners
            .leaf(address.hash())
            .iter()
            .filter(move |owner| owner.address == address && owner.role == role)
            .map(|owner| &owner.labels)
    }

    /// The pods at `address`.
    pub(super) fn pods_at(&self, address: Address) -> impl Iterator<Item = &PodAt> {
        self.pods
            .leaf(address.hash())
            .iter()
            .map(|pods| &pods.pod)
            .filter(move |pod| pod.address == address)
    }
}

/// The state of a cluster, shared by the watches that write it and the queries that read it.
pub(super) struct Shared {
    /// What queries see.
    pub(super) snapshot: ArcSwap<Snapshot>,
    /// Tells that all kinds have been listed once.
    pub(super) synced: watch::Sender<bool>,
    /// How the watch of each kind is doing, by [`Kind`].
    pub(super) watches: [WatchHealth; Kind::ALL.len()],
    /// How old the state was, in nanoseconds, when the process began: a snapshot's age.
    pub(super) stale: AtomicU64,
}

/// How the watch of one kind is doing.
#[derive(Default)]
pub(super) struct WatchHealth {
    /// When it was heard of last ([`host::clock`]); 0 for never.
    pub(super) heard: AtomicU64,
    /// Whether it is away.
    pub(super) lost: AtomicBool,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            snapshot: ArcSwap::from_pointee(Snapshot::default()),
            synced: watch::Sender::new(false),
            watches: Default::default(),
            stale: AtomicU64::new(0),
        }
    }
}

impl Aged for Shared {
    /// Since the connection that is away longest was heard of last.
    fn age(&self) -> f64 {
        let now = host::clock::now();
        let away = self
            .watches
            .iter()
            .filter(|watch| watch.lost.load(Ordering::Relaxed));
        let stale = self.stale.load(Ordering::Relaxed);
        let since = |watch: &WatchHealth| match watch.heard.load(Ordering::Relaxed) {
            0 => now.saturating_add(stale),
            heard => now.saturating_sub(heard),
        };
        let longest = away.map(since).max();
        longest.unwrap_or(0) as f64 / host::clock::SECOND as f64
    }
}
