//! A cluster as a query sees it: immutable, shared with the one before it as far as they are alike, and replaced whole.
//!
//! ```text
//!  World ─┬─ namespaces   label            ─► exposed
//!         ├─ services     SVC.NS           ─► Group: service + slices + octets ready to send
//!         ├─ imports      SVC.NS           ─► the same of a cluster set
//!         ├─ owners       address          ─► SVC.NS, as a service's, an endpoint's or an outside address
//!         └─ pods         address          ─► namespace                                      (`pods verified`)
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::change::Kind;
use super::entry::{Address, Group, Labels, key};
use super::table::Table;

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
pub(super) struct Known {
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

/// The pods of a namespace that have an address: one, but for those on the host's network.
#[derive(Clone)]
pub(super) struct PodsAt {
    /// The address.
    pub(super) address: Address,
    /// The namespace.
    pub(super) namespace: Arc<Labels>,
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
pub(super) struct World {
    /// The namespaces that are exposed.
    pub(super) namespaces: Table<Arc<Labels>>,
    /// The services.
    pub(super) services: Table<Known>,
    /// The services of the cluster set.
    pub(super) imports: Table<Known>,
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

impl World {
    /// Whether this namespace, a label in wire form, is exposed.
    #[inline]
    pub(super) fn exposes(&self, namespace: &[u8]) -> bool {
        let mut found = self.namespaces.leaf(key(namespace)).iter();
        found.any(|labels| labels.octets() == namespace)
    }

    /// The services of the cluster, or of the cluster set.
    #[inline]
    pub(super) fn groups(&self, of_the_set: bool) -> &Table<Known> {
        if of_the_set {
            &self.imports
        } else {
            &self.services
        }
    }

    /// The group of `SVC.NS` in wire form.
    #[inline]
    pub(super) fn group<'a>(table: &'a Table<Known>, labels: &[u8]) -> Option<&'a Arc<Group>> {
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

    /// The namespaces with a pod at `address`.
    pub(super) fn pods_at(&self, address: Address) -> impl Iterator<Item = &Arc<Labels>> {
        self.pods
            .leaf(address.hash())
            .iter()
            .filter(move |pods| pods.address == address)
            .map(|pods| &pods.namespace)
    }
}

/// A cluster as its readers, and those who watch over it, share it.
pub(super) struct Shared {
    /// What queries see.
    pub(super) world: ArcSwap<World>,
    /// Tells that all kinds have been listed once.
    pub(super) synced: watch::Sender<bool>,
    /// What is known of each kind's connection, by [`Kind`].
    pub(super) lines: [Line; Kind::ALL.len()],
    /// How old the state was, in nanoseconds, when the process began: a snapshot's age.
    pub(super) stale: AtomicU64,
}

/// What is known of the connection for one kind.
#[derive(Default)]
pub(super) struct Line {
    /// When it was heard of last ([`chain::clock`]); 0 for never.
    pub(super) heard: AtomicU64,
    /// Whether it is away.
    pub(super) lost: AtomicBool,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            world: ArcSwap::from_pointee(World::default()),
            synced: watch::Sender::new(false),
            lines: Default::default(),
            stale: AtomicU64::new(0),
        }
    }
}

impl Shared {
    /// For how many seconds the state may have been out of date: since the connection that is away longest was heard of last.
    pub(super) fn age(&self) -> f64 {
        let now = chain::clock::now();
        let away = self
            .lines
            .iter()
            .filter(|line| line.lost.load(Ordering::Relaxed));
        let stale = self.stale.load(Ordering::Relaxed);
        let since = |line: &Line| match line.heard.load(Ordering::Relaxed) {
            0 => now.saturating_add(stale),
            heard => now.saturating_sub(heard),
        };
        let longest = away.map(since).max();
        longest.unwrap_or(0) as f64 / chain::clock::SECOND as f64
    }
}
