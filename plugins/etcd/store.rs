//! The keys that are known, and the names that are made of them.
//!
//! ```text
//!  list, watch ──► entries (in the order of keys) ──► nodes of the names that a change concerns ──► snapshot ──► query
//! ```
//!
//! A change concerns the name of its key and the names above it: their nodes are made anew, and the snapshot is swapped. Queries see the
//! snapshot alone; only a query with a wildcard reads the entries, under a lock.

use std::collections::BTreeSet;
use std::collections::btree_map::{BTreeMap, Range};
use std::hash::{BuildHasher, RandomState};
use std::ops::Bound::{Excluded, Included};
use std::ops::RangeInclusive;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use source::Table;
use wire::{Name, NameBuf, Qname};

use super::TARGET;
use super::gateway::{Event, EventKind, KeyValue};
use super::lease::{Lease, Leases};
use super::node::Node;
use super::path::{self, Layout};
use super::service::Service;

/// How many bad values of one read are told of one by one.
const TOLD: usize = 10;
/// How many keys are looked at for one query with a wildcard.
const SCANNED: usize = 65_536;

/// What was read of a cluster, and up to where.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Position {
    /// The cluster.
    pub(super) cluster: i64,
    /// Its revision.
    pub(super) revision: i64,
}

/// The names as a query sees them.
#[derive(Clone, Default)]
pub(super) struct Snapshot {
    nodes: Table<Arc<Node>>,
    /// When something changed last, in seconds since 1970: the SOA record's serial.
    pub(super) serial: u32,
    /// Whether the keys have been read once.
    pub(super) known: bool,
}

impl Snapshot {
    /// The node of a name in lower case, by its hash.
    #[inline]
    pub(super) fn find(&self, hash: u64, name: Name<'_>) -> Option<&Node> {
        let mut leaf = self.nodes.leaf(hash).iter();
        leaf.find(|node| node.hash == hash && *node.name == *name.octets())
            .map(|node| &**node)
    }

    /// The node of a query's name, or the one of the wildcard that it is made of (RFC 4592, 3.3.1). `least` is the number of labels that
    /// the zone has.
    #[inline]
    pub(super) fn nearest(&self, qname: &Qname, least: usize) -> Option<&Node> {
        match self.find(qname.hash(0), qname.name()) {
            None => self.wildcard(qname, least),
            found => found,
        }
    }

    #[cold]
    fn wildcard(&self, qname: &Qname, least: usize) -> Option<&Node> {
        let most = qname.label_count().checked_sub(least)?;
        // The closest encloser: a name with something below it, or an own key.
        let encloser = (1..=most).find(|&skip| {
            skip == most || self.find(qname.hash(skip), qname.suffix(skip)).is_some()
        })?;
        let source = NameBuf::prepend(b"*", qname.suffix(encloser)).ok()?;
        self.find(wire::name_hash(source.as_name()), source.as_name())
    }
}

/// A key's value.
struct Entry {
    /// What tells it from others.
    sum: u64,
    /// What it says; `None` where that cannot be read.
    service: Option<Arc<Service>>,
}

/// The keys that are known.
#[derive(Default)]
struct State {
    /// By key, in lower case.
    entries: BTreeMap<Box<[u8]>, Entry>,
    leases: Leases,
    position: Option<Position>,
}

/// The keys and the names of some zones.
pub(super) struct Store {
    layout: Layout,
    /// The zones' paths.
    zones: Vec<Vec<u8>>,
    /// The seconds that a TTL of a lease has.
    bounds: RangeInclusive<u32>,
    hash: RandomState,
    state: RwLock<State>,
    /// What queries see.
    pub(super) snapshot: ArcSwap<Snapshot>,
}

/// A list under way.
#[derive(Default)]
pub(super) struct List {
    entries: BTreeMap<Box<[u8]>, Entry>,
    complaints: Complaints,
}

/// Values that cannot be read.
#[derive(Default)]
struct Complaints(usize);

impl Complaints {
    fn tell(&mut self, key: &[u8], why: &str) {
        if self.0 < TOLD {
            let key = String::from_utf8_lossy(key);
            tracing::warn!(target: TARGET, "The value of {key} is left out: {why}");
        }
        self.0 += 1;
    }
}

impl Drop for Complaints {
    fn drop(&mut self) {
        if self.0 > TOLD {
            let more = self.0 - TOLD;
            tracing::warn!(target: TARGET, "{more} more values are left out, {} in all", self.0);
        }
    }
}

impl Store {
    /// Of nothing yet.
    pub(super) fn new(layout: Layout, zones: &[NameBuf], bounds: RangeInclusive<u32>) -> Self {
        Self {
            zones: zones
                .iter()
                .map(|zone| layout.path(zone.to_lower().as_name()))
                .collect(),
            layout,
            bounds,
            hash: RandomState::new(),
            state: RwLock::default(),
            snapshot: ArcSwap::default(),
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Up to where the keys are known.
    pub(super) fn position(&self) -> Option<Position> {
        self.read().position
    }

    /// Has all keys read anew; until then they are served as they are.
    pub(super) fn forget_position(&self) {
        self.write().position = None;
    }

    /// How many keys there are.
    pub(super) fn len(&self) -> usize {
        self.read().entries.len()
    }

    /// The leases that are to be asked for.
    pub(super) fn due_leases(&self, now: u64, most: usize) -> Vec<(i64, Arc<Lease>)> {
        self.read().leases.due(now, most)
    }

    /// Adds keys to a list.
    pub(super) fn gather(&self, list: &mut List, found: Vec<KeyValue>) {
        let mut state = self.write();
        for one in found {
            if let Some(key) = self.key(&one.key.0) {
                let entry = self.entry(&one, &mut state.leases, &mut list.complaints);
                list.entries.insert(key, entry);
            }
        }
    }

    /// Replaces all keys by those of a list.
    pub(super) fn replace(&self, list: List, position: Position) {
        let mut state = self.write();
        let before = state.entries.len();
        if before >= 10 && list.entries.len() < before / 10 {
            tracing::warn!(
                target: TARGET,
                "Only {} keys are left of {before}", list.entries.len()
            );
        }
        let same = before == list.entries.len()
            && state
                .entries
                .iter()
                .zip(&list.entries)
                .all(|((key, entry), (other, new))| key == other && entry.sum == new.sum);
        state.position = Some(position);
        if same && self.snapshot.load().known {
            return;
        }
        state.entries = list.entries;
        let mut paths = BTreeSet::new();
        for key in state.entries.keys() {
            self.concerned(key, &mut paths);
        }
        let mut snapshot = Snapshot {
            known: true,
            ..Snapshot::default()
        };
        self.publish(&state, &paths, &mut snapshot);
    }

    /// Takes over changes, up to a revision.
    pub(super) fn apply(&self, events: Vec<Event>, revision: i64) {
        let mut state = self.write();
        let mut paths = BTreeSet::new();
        let mut changed = Vec::new();
        let mut complaints = Complaints::default();
        for event in events {
            let Some(key) = self.key(&event.kv.key.0) else {
                continue;
            };
            if event.kind == EventKind::Delete {
                state.entries.remove(&key);
            } else {
                let entry = self.entry(&event.kv, &mut state.leases, &mut complaints);
                state.entries.insert(key.clone(), entry);
            }
            changed.push(key);
        }
        for key in &changed {
            self.concerned(key, &mut paths);
        }
        if let Some(position) = &mut state.position {
            position.revision = position.revision.max(revision);
        }
        if !paths.is_empty() {
            let mut snapshot = Snapshot::clone(&self.snapshot.load());
            self.publish(&state, &paths, &mut snapshot);
        }
    }

    /// Makes the nodes of these paths, and shows the snapshot to queries.
    fn publish(&self, state: &State, paths: &BTreeSet<&[u8]>, snapshot: &mut Snapshot) {
        for path in paths {
            let Some(name) = self.layout.name(path) else {
                continue;
            };
            let (name, hash) = (name.as_name(), wire::name_hash(name.as_name()));
            let leaf = snapshot.nodes.leaf_mut(hash);
            leaf.retain(|node| node.hash != hash || *node.name != *name.octets());
            if let Some(node) = node(state, path, name) {
                snapshot.nodes.push(hash, Arc::new(node));
            }
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0, |now| now.as_secs() as u32);
        // A serial never stands still when something has changed (RFC 1982).
        snapshot.serial = now.max(self.snapshot.load().serial.wrapping_add(1));
        self.snapshot.store(Arc::new(snapshot.clone()));
    }

    /// The paths of the names that a key belongs to, as far as they are in the zones.
    fn concerned<'k>(&self, key: &'k [u8], paths: &mut BTreeSet<&'k [u8]>) {
        let key = key.split(|&octet| octet == 0).next().unwrap_or(key);
        for path in self.layout.above(key) {
            // A slash at the end makes no name of its own.
            if path.ends_with(b"/") {
                continue;
            }
            if !self.zones.iter().any(|zone| path::is_within(path, zone)) || !paths.insert(path) {
                break;
            }
        }
    }

    /// What a key is called here: in lower case behind the prefix, and behind that as it is written, so that two that differ in case
    /// alone are two; `None` where it is in none of the zones.
    fn key(&self, raw: &[u8]) -> Option<Box<[u8]>> {
        let mut key = raw.to_vec();
        let prefix = self.layout.path(Name::ROOT).len();
        key.get_mut(prefix..)?.make_ascii_lowercase();
        if !self.zones.iter().any(|zone| path::is_within(&key, zone)) {
            return None;
        }
        if key != raw {
            key.push(0);
            key.extend_from_slice(raw);
        }
        Some(key.into())
    }

    fn entry(&self, found: &KeyValue, leases: &mut Leases, complaints: &mut Complaints) -> Entry {
        let key = &found.key.0;
        let lease = leases.get(found.lease.0, &self.bounds);
        let depth = key.iter().filter(|&&octet| octet == b'/').count();
        let domain = self.layout.domain(key);
        let service = Service::read(&found.value.0, domain, depth, lease);
        Entry {
            sum: self.hash.hash_one((&found.value.0, found.lease.0)),
            service: match service {
                Ok(service) => Some(Arc::new(service)),
                Err(why) => {
                    complaints.tell(key, &why);
                    None
                }
            },
        }
    }

    /// What a name with wildcards stands for: `*` and `any` are every label, and a name that is shorter than a key has it.
    pub(super) fn matching(&self, qname: &Qname) -> Option<Node> {
        let labels: Vec<&[u8]> = qname.name().labels().collect();
        let wanted: Vec<&[u8]> = labels.into_iter().rev().collect();
        let cut = wanted.iter().position(|label| is_wild(label))?;
        let mut path = self.layout.path(Name::ROOT);
        for label in &wanted[..cut] {
            path.push(b'/');
            path.extend_from_slice(label);
        }
        let state = self.read();
        let matches = |key: &[u8]| {
            let folded = key.split(|&octet| octet == 0).next().unwrap_or(key);
            let Some(parts) = self.layout.parts(folded) else {
                return false;
            };
            let mut parts = parts;
            wanted.iter().all(|label| {
                parts
                    .next()
                    .is_some_and(|part| is_wild(label) || part == *label)
            })
        };
        let mut found = entries(&state, &path).peekable();
        found.peek()?;
        let found = found
            .take(SCANNED)
            .filter(|(key, _)| matches(key))
            .map(|(_, entry)| entry.service.as_ref());
        Some(Node::new(qname.name(), found, Vec::new()))
    }
}

/// Whether a label of a question stands for any.
pub(super) fn is_wild(label: &[u8]) -> bool {
    matches!(label, b"*" | b"any")
}

/// The entries below a path, or else its own.
fn entries<'s>(
    state: &'s State,
    path: &[u8],
) -> impl Iterator<Item = (&'s [u8], &'s Entry)> + use<'s> {
    let below = state
        .entries
        .range::<[u8], _>((Included(&*path::below(path)), Excluded(&*path::end(path))));
    let has_below = below.clone().next().is_some();
    below
        .chain((!has_below).then(|| own(state, path)).into_iter().flatten())
        .map(|(key, entry)| (&**key, entry))
}

/// The entries of a path itself: more than one where keys differ in case.
fn own<'s>(state: &'s State, path: &[u8]) -> Range<'s, Box<[u8]>, Entry> {
    state
        .entries
        .range::<[u8], _>((Included(path), Excluded(&*[path, &[1]].concat())))
}

/// What a name has; `None` where there is no such name.
fn node(state: &State, path: &[u8], name: Name<'_>) -> Option<Node> {
    let mut found = entries(state, path).peekable();
    found.peek()?;
    let own = own(state, path)
        .filter_map(|(_, entry)| entry.service.clone())
        .collect();
    let found = found.map(|(_, entry)| entry.service.as_ref());
    Some(Node::new(name, found, own))
}
