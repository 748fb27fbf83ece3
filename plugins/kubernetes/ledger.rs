//! What was heard of the cluster, kept in step with what queries see.
//!
//! ```text
//!  Sink::put ────────────────► fresh ─► apply ─► settle ─► publish: one pointer is swapped
//!  Sink::begin, listed … ─► gathered ─┐            ▲
//!  Sink::complete ────────────────────┴─ apply all ┘        a list of any size is one step for a reader
//! ```
//!
//! What each slice and pod contributed is noted by its identity, so that it can be taken back ([`super::noted`]); services and namespaces
//! are found in the world itself. A list is gathered beside that as differences: what is as before costs a mark. A change copies the
//! way to its group (see [`super::table`]) and makes that group's answers anew.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{SystemTime, UNIX_EPOCH};

use super::change::{self, Kind, Object, Sink};
use super::entry::{Address, Form, Group, Labels, Port, Service, Slice, SliceBuilder, key};
use super::field::{addresses, form_of, outside, owned, port_of};
use super::metrics::Programmed;
use super::noted::{Id, Noted, id};
use super::table::Table;
use super::world::{Known, NameServer, Owner, PodsAt, Role, Shared, World};

/// What of a cluster is kept, and how.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Rules {
    /// The TTL of the records.
    pub(super) ttl: u32,
    /// The namespaces to expose; none named is all.
    pub(super) namespaces: Vec<String>,
    /// Whether endpoints without a host name are named as their pods.
    pub(super) pod_names: bool,
    /// Whether topology zones are kept.
    pub(super) zonal: bool,
    /// The kinds that are watched.
    pub(super) kinds: Vec<Kind>,
    /// This server's addresses.
    pub(super) local: Vec<IpAddr>,
}

/// What one slice contributed.
#[derive(Clone)]
struct Kept {
    slice: Arc<Slice>,
    service: Option<Arc<Labels>>,
    imported: Option<Arc<Labels>>,
}

impl PartialEq for Kept {
    fn eq(&self, other: &Self) -> bool {
        self.slice == other.slice
            && self.service == other.service
            && self.imported == other.imported
    }
}

/// What one pod contributed.
#[derive(Clone, PartialEq)]
struct KeptPod {
    address: Address,
    namespace: Arc<Labels>,
}

/// A list that is being read.
#[derive(Default)]
struct Gathered {
    /// What is new in it, in order: of an object that comes twice the last one counts.
    fresh: Vec<(Id, Fresh)>,
    /// The objects in it that are not marked where they are noted: namespaces, services and imports.
    listed: HashSet<Id>,
}

/// What an object says, read.
enum Fresh {
    Namespace(Arc<Labels>),
    Service(Arc<Labels>, Arc<Service>),
    Slice(Kept),
    /// A pod; `None` for one without an address.
    Pod(Option<KeptPod>),
    Import(Arc<Labels>, Arc<Service>),
}

/// The lists of services by whose names groups stand.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Side {
    Services,
    Imports,
}

/// A group that is being changed.
struct Parts {
    service: Option<Arc<Service>>,
    slices: Vec<Arc<Slice>>,
}

/// What a step has changed.
#[derive(Clone, Copy, Default)]
struct Changed {
    anything: bool,
    inside: bool,
    outside: bool,
    imported: bool,
}

/// What was heard of the cluster.
pub(super) struct Ledger {
    rules: Rules,
    shared: Arc<Shared>,
    /// The world that is published next.
    world: World,
    /// Whether that waits until it is whole.
    holds: bool,
    slices: Noted<Kept>,
    pods: Noted<KeptPod>,
    /// A list that is being read, by kind.
    gathered: [Option<Gathered>; Kind::ALL.len()],
    /// Which kinds have been listed.
    complete: [bool; Kind::ALL.len()],
    /// Lists of ports, of which there are few.
    ports: HashSet<Arc<[Port]>>,
    /// Namespaces of pods that were listed before the namespaces were.
    spaces: HashSet<Arc<Labels>>,
    /// Groups whose answers are to be made anew.
    edits: HashMap<(Side, Arc<Labels>), Parts>,
    changed: Changed,
    programmed: Programmed,
}

impl Ledger {
    /// A ledger of nothing. Where `shared` shows a whole cluster already, that stays until this one is whole.
    pub(super) fn new(rules: Rules, shared: Arc<Shared>) -> Self {
        let mut ledger = Self {
            rules,
            world: World::default(),
            holds: shared.world.load().synced,
            shared,
            slices: Noted::new(),
            pods: Noted::new(),
            gathered: Default::default(),
            complete: Default::default(),
            ports: HashSet::new(),
            spaces: HashSet::new(),
            edits: HashMap::new(),
            changed: Changed::default(),
            programmed: Programmed::new(),
        };
        ledger.publish();
        ledger
    }

    /// Reads an object; `None` for one that no answer needs.
    fn read(&mut self, object: &Object) -> Option<(Id, Fresh)> {
        match object {
            Object::Namespace(namespace) => {
                let wanted = &self.rules.namespaces;
                if !wanted.is_empty() && !wanted.iter().any(|name| **name == *namespace.name) {
                    return None;
                }
                let labels = Arc::new(Labels::new(&[&namespace.name])?);
                Some((label_id(&labels), Fresh::Namespace(labels)))
            }
            Object::Service(service) => {
                let labels = self.labels(Side::Services, &service.name, &service.namespace)?;
                let form = form_of(service);
                let service = Service {
                    form,
                    ports: self.ports(&service.ports, true),
                    outside: service
                        .external_ips
                        .iter()
                        .filter_map(|text| outside(text))
                        .collect(),
                };
                Some((label_id(&labels), Fresh::Service(labels, Arc::new(service))))
            }
            Object::EndpointSlice(slice) => {
                let kept = Kept {
                    service: self.labels(Side::Services, &slice.service, &slice.namespace),
                    imported: self.labels(Side::Imports, &slice.imported, &slice.namespace),
                    slice: Arc::new(self.slice(slice)),
                };
                if kept.service.is_none() && kept.imported.is_none() {
                    return None;
                }
                Some((id(&slice.namespace, &slice.name), Fresh::Slice(kept)))
            }
            Object::Pod(pod) => {
                let id = id(&pod.namespace, &pod.name);
                if pod.terminating {
                    // What is known of it stays until it is gone.
                    return Some((id, Fresh::Pod(self.pods.get(id).cloned())));
                }
                let kept = match Address::parse(&pod.ip) {
                    Some(address) => Some(KeptPod {
                        address,
                        namespace: self.namespace(&pod.namespace)?,
                    }),
                    None => None,
                };
                Some((id, Fresh::Pod(kept)))
            }
            Object::ServiceImport(import) => {
                let labels = self.labels(Side::Imports, &import.name, &import.namespace)?;
                let service = Service {
                    form: match import.headless {
                        true => Form::Headless,
                        false => Form::Addresses(addresses(&import.ips)),
                    },
                    ports: self.ports(&import.ports, false),
                    outside: Box::default(),
                };
                Some((label_id(&labels), Fresh::Import(labels, Arc::new(service))))
            }
        }
    }

    /// `SVC.NS`, shared with the group that has it.
    fn labels(&self, side: Side, name: &str, namespace: &str) -> Option<Arc<Labels>> {
        let labels = Labels::new(&[name, namespace])?;
        let table = side.of(&self.world);
        let known = World::group(table, labels.octets());
        Some(known.map_or_else(|| Arc::new(labels), |group| group.labels.clone()))
    }

    /// A namespace, shared with the world's, or by those that stand in it.
    fn namespace(&mut self, name: &str) -> Option<Arc<Labels>> {
        let labels = Labels::new(&[name])?;
        let leaf = self.world.namespaces.leaf(labels.hash());
        let known = leaf.iter().find(|known| ***known == labels);
        if let Some(known) = known.or_else(|| self.spaces.get(&labels)) {
            return Some(known.clone());
        }
        let labels = Arc::new(labels);
        self.spaces.insert(labels.clone());
        Some(labels)
    }

    /// Ports, shared by all that have the same. Where `declared`, none is one without a number.
    fn ports(&mut self, ports: &[change::Port], declared: bool) -> Arc<[Port]> {
        let mut list: Vec<Port> = ports.iter().map(port_of).collect();
        if list.is_empty() && declared {
            list.push(Port::undeclared());
        }
        if let Some(known) = self.ports.get(&*list) {
            return known.clone();
        }
        let list: Arc<[Port]> = list.into();
        self.ports.insert(list.clone());
        list
    }

    fn slice(&mut self, slice: &change::EndpointSlice) -> Slice {
        let mut builder = SliceBuilder::new(&slice.cluster);
        for endpoint in slice.endpoints.iter().filter(|endpoint| endpoint.ready) {
            let hostname = endpoint.hostname.as_deref().filter(|name| !name.is_empty());
            let pod = endpoint.target.as_deref().filter(|_| self.rules.pod_names);
            let name = hostname.or(pod);
            let zone = endpoint.zone.as_deref().filter(|_| self.rules.zonal);
            for address in endpoint
                .addresses
                .iter()
                .filter_map(|text| Address::parse(text))
            {
                builder.push(address, name, zone);
            }
        }
        let ports = self.ports(&slice.ports, true);
        builder.build(ports)
    }

    /// Whether an object says what is known already.
    fn is_known(&self, id: Id, fresh: &Fresh) -> bool {
        let service = |side: Side, labels: &Labels| {
            let group = World::group(side.of(&self.world), labels.octets());
            group.and_then(|group| group.service.clone())
        };
        match fresh {
            Fresh::Namespace(labels) => self.world.exposes(labels.octets()),
            Fresh::Service(labels, new) => service(Side::Services, labels).as_ref() == Some(new),
            Fresh::Import(labels, new) => service(Side::Imports, labels).as_ref() == Some(new),
            Fresh::Slice(kept) => self.slices.get(id) == Some(kept),
            Fresh::Pod(kept) => self.pods.get(id) == kept.as_ref(),
        }
    }

    /// Takes in what an object says.
    fn apply(&mut self, id: Id, fresh: Fresh) {
        if matches!(fresh, Fresh::Pod(None)) && self.pods.get(id).is_none() {
            return;
        }
        self.changed.anything = true;
        match fresh {
            Fresh::Namespace(labels) => {
                self.changed.inside = true;
                if !self.world.exposes(labels.octets()) {
                    self.world.namespaces.push(labels.hash(), labels);
                }
            }
            Fresh::Service(labels, service) => {
                self.set_service(Side::Services, &labels, Some(service))
            }
            Fresh::Import(labels, service) => {
                self.set_service(Side::Imports, &labels, Some(service))
            }
            Fresh::Slice(kept) => self.set_slice(id, Some(kept)),
            Fresh::Pod(kept) => self.set_pod(id, kept),
        }
    }

    /// The group of `labels`, for change.
    fn edit(&mut self, side: Side, labels: &Arc<Labels>) -> &mut Parts {
        match self.edits.entry((side, labels.clone())) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let group = World::group(side.of(&self.world), labels.octets());
                entry.insert(Parts {
                    service: group.and_then(|group| group.service.clone()),
                    slices: group.map(|group| group.slices.to_vec()).unwrap_or_default(),
                })
            }
        }
    }

    fn set_service(&mut self, side: Side, labels: &Arc<Labels>, service: Option<Arc<Service>>) {
        let old = std::mem::replace(&mut self.edit(side, labels).service, service.clone());
        if side == Side::Imports {
            self.changed.imported = true;
            return;
        }
        let outside = |service: &Option<Arc<Service>>| match service {
            Some(service) if !service.outside.is_empty() => {
                Some((service.outside.clone(), service.ports.clone()))
            }
            _ => None,
        };
        self.changed.inside = true;
        self.changed.outside |= outside(&old) != outside(&service);
        for (service, count) in [(&service, 1), (&old, -1)] {
            for (role, address) in service.iter().flat_map(|service| owned(service)) {
                self.own(address, role, labels, count);
            }
        }
    }

    fn set_slice(&mut self, id: Id, kept: Option<Kept>) {
        let old = self.slices.set(id, kept.clone());
        for side in [Side::Services, Side::Imports] {
            for (kept, gone) in [(&old, true), (&kept, false)] {
                let Some((kept, labels)) = kept
                    .as_ref()
                    .and_then(|kept| Some((kept, side.labels(kept)?)))
                else {
                    continue;
                };
                match side {
                    Side::Services => self.changed.inside = true,
                    Side::Imports => self.changed.imported = true,
                }
                let slices = &mut self.edit(side, labels).slices;
                if !gone {
                    slices.push(kept.slice.clone());
                } else if let Some(at) = slices
                    .iter()
                    .position(|slice| Arc::ptr_eq(slice, &kept.slice))
                {
                    slices.remove(at);
                }
            }
        }
        // Most changes touch few of a slice's addresses.
        let mut counts: HashMap<(Address, Arc<Labels>), i32> = HashMap::new();
        for (kept, count) in [(&kept, 1), (&old, -1)] {
            let Some((slice, labels)) = kept
                .as_ref()
                .and_then(|kept| Some((&kept.slice, kept.service.as_ref()?)))
            else {
                continue;
            };
            for endpoint in &slice.endpoints {
                *counts
                    .entry((endpoint.address, labels.clone()))
                    .or_default() += count;
            }
        }
        for ((address, labels), count) in counts {
            self.own(address, Role::Endpoint, &labels, count);
        }
    }

    /// Notes that an address belongs to a service so many times more, or less.
    fn own(&mut self, address: Address, role: Role, labels: &Arc<Labels>, count: i32) {
        if count == 0 {
            return;
        }
        let owners = &mut self.world.owners;
        let is = |owner: &Owner| {
            owner.address == address && owner.role == role && owner.labels == *labels
        };
        let hash = address.hash();
        match owners.leaf(hash).iter().position(is) {
            Some(at) => {
                let leaf = owners.leaf_mut(hash);
                leaf[at].count = leaf[at].count.saturating_add_signed(count);
                if leaf[at].count == 0 {
                    leaf.swap_remove(at);
                }
            }
            None if count > 0 => owners.push(
                hash,
                Owner {
                    address,
                    role,
                    labels: labels.clone(),
                    count: count.unsigned_abs(),
                },
            ),
            None => {}
        }
    }

    fn set_pod(&mut self, id: Id, kept: Option<KeptPod>) {
        let old = self.pods.set(id, kept.clone());
        self.changed.inside = true;
        for (kept, added) in [(kept, true), (old, false)] {
            let Some(kept) = kept else { continue };
            let pods = &mut self.world.pods;
            let hash = kept.address.hash();
            let is =
                |pods: &PodsAt| pods.address == kept.address && pods.namespace == kept.namespace;
            match pods.leaf(hash).iter().position(is) {
                Some(at) => {
                    let leaf = pods.leaf_mut(hash);
                    leaf[at].count =
                        leaf[at]
                            .count
                            .saturating_add_signed(if added { 1 } else { -1 });
                    if leaf[at].count == 0 {
                        leaf.swap_remove(at);
                    }
                }
                None if added => pods.push(
                    hash,
                    PodsAt {
                        address: kept.address,
                        namespace: kept.namespace,
                        count: 1,
                    },
                ),
                None => {}
            }
        }
    }

    /// Forgets what has this identity.
    fn forget(&mut self, kind: Kind, id: Id, labels: Option<&Arc<Labels>>) {
        self.changed.anything = true;
        match (kind, labels) {
            (Kind::Namespace, Some(labels)) => {
                self.changed.inside = true;
                let leaf = self.world.namespaces.leaf_mut(labels.hash());
                leaf.retain(|known| known != labels);
            }
            (Kind::Service, Some(labels)) => self.set_service(Side::Services, labels, None),
            (Kind::ServiceImport, Some(labels)) => self.set_service(Side::Imports, labels, None),
            (Kind::EndpointSlice, _) => self.set_slice(id, None),
            (Kind::Pod, _) => self.set_pod(id, None),
            _ => {}
        }
    }

    /// What is known of a kind and was not listed.
    fn vanished(&self, kind: Kind, listed: &HashSet<Id>) -> Vec<(Id, Option<Arc<Labels>>)> {
        let gone = |labels: &Arc<Labels>| {
            let id = label_id(labels);
            (!listed.contains(&id)).then(|| (id, Some(labels.clone())))
        };
        let services = |table: &Table<Known>| -> Vec<_> {
            let groups = table.iter().map(|known| &known.group);
            let groups = groups.filter(|group| group.service.is_some());
            groups.filter_map(|group| gone(&group.labels)).collect()
        };
        let unmarked = |ids: Vec<Id>| ids.into_iter().map(|id| (id, None)).collect();
        match kind {
            Kind::Namespace => self.world.namespaces.iter().filter_map(gone).collect(),
            Kind::Service => services(&self.world.services),
            Kind::ServiceImport => services(&self.world.imports),
            Kind::EndpointSlice => unmarked(self.slices.unmarked()),
            Kind::Pod => unmarked(self.pods.unmarked()),
        }
    }

    /// Makes the answers of changed groups.
    fn settle(&mut self) {
        for ((side, labels), parts) in std::mem::take(&mut self.edits) {
            let hash = labels.hash();
            let table = side.of_mut(&mut self.world);
            let group = Group::new(labels, parts.service, parts.slices.into(), self.rules.ttl);
            let leaf = table.leaf(hash);
            let at = leaf
                .iter()
                .position(|known| known.group.labels == group.labels);
            let known = Known {
                hash,
                group: Arc::new(group),
            };
            match at {
                Some(at) if known.group.is_empty() => {
                    table.leaf_mut(hash).swap_remove(at);
                }
                Some(at) => table.leaf_mut(hash)[at] = known,
                None if known.group.is_empty() => {}
                None => table.push(hash, known),
            }
        }
    }

    /// Shows what was changed to those who ask.
    fn publish(&mut self) {
        self.settle();
        self.holds &= !self.world.synced;
        if self.holds {
            return;
        }
        let changed = std::mem::take(&mut self.changed);
        let serials = &mut self.world.serials;
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs() as u32);
        for (changed, serial) in [
            (changed.inside, &mut serials.inside),
            (changed.outside, &mut serials.outside),
            (changed.imported, &mut serials.imported),
        ] {
            if changed {
                *serial = now;
            }
        }
        let servers = self.servers();
        if *self.world.servers != *servers {
            self.world.servers = servers.into();
        }
        self.shared.world.store(Arc::new(self.world.clone()));
    }

    /// The services whose endpoints this server is, else its own addresses.
    fn servers(&self) -> Vec<NameServer> {
        let mut servers: Vec<NameServer> = Vec::new();
        for &local in &self.rules.local {
            let local = Address::from(local);
            for labels in self.world.owners_of(local, Role::Endpoint) {
                let Some(group) = World::group(&self.world.services, labels.octets()) else {
                    continue;
                };
                let mut add = |endpoint: &[u8], address: Address| {
                    let server = NameServer {
                        labels: [endpoint, labels.octets(), b"\x03svc"].concat().into(),
                        address,
                    };
                    if !servers.contains(&server) {
                        servers.push(server);
                    }
                };
                match group.service.as_ref().map(|service| &service.form) {
                    Some(Form::Addresses(addresses)) => {
                        addresses.iter().for_each(|address| add(b"", *address))
                    }
                    Some(Form::Headless) => {
                        let ours = |slice: &&Arc<Slice>| {
                            slice.endpoints.iter().any(|one| one.address == local)
                        };
                        for slice in group.slices.iter().filter(ours) {
                            for endpoint in &slice.endpoints {
                                add(slice.label(endpoint, &mut [0; 64]), endpoint.address);
                            }
                        }
                    }
                    Some(Form::Alias(_)) | None => {}
                }
            }
        }
        if servers.is_empty() {
            servers.extend(self.rules.local.iter().map(|&local| NameServer {
                labels: NameServer::DEFAULT.into(),
                address: local.into(),
            }));
        }
        servers
    }
}

impl Sink for Ledger {
    fn begin(&mut self, kind: Kind) {
        self.gathered[kind as usize] = Some(Gathered::default());
        match kind {
            Kind::EndpointSlice => self.slices.begin(),
            Kind::Pod => self.pods.begin(),
            Kind::Namespace | Kind::Service | Kind::ServiceImport => {}
        }
    }

    fn listed(&mut self, object: Object) {
        let kind = object.kind();
        let Some((id, fresh)) = self.read(&object) else {
            return;
        };
        let known = self.is_known(id, &fresh);
        let Some(gathered) = &mut self.gathered[kind as usize] else {
            return;
        };
        let again = match kind {
            Kind::EndpointSlice => self.slices.mark(id),
            Kind::Pod => self.pods.mark(id),
            Kind::Namespace | Kind::Service | Kind::ServiceImport => !gathered.listed.insert(id),
        };
        // A pod without an address may have been listed with one, and be noted nowhere yet.
        if !known || again || matches!(fresh, Fresh::Pod(None)) {
            gathered.fresh.push((id, fresh));
        }
    }

    fn complete(&mut self, kind: Kind) {
        let Some(gathered) = self.gathered[kind as usize].take() else {
            return;
        };
        for (id, labels) in self.vanished(kind, &gathered.listed) {
            self.forget(kind, id, labels.as_ref());
        }
        for (id, fresh) in gathered.fresh {
            self.apply(id, fresh);
        }
        self.ports.retain(|ports| Arc::strong_count(ports) > 1);
        self.spaces.retain(|space| Arc::strong_count(space) > 1);
        self.complete[kind as usize] = true;
        let synced = self
            .rules
            .kinds
            .iter()
            .all(|&kind| self.complete[kind as usize]);
        let first = synced && !self.world.synced;
        self.world.synced |= synced;
        if self.changed.anything || first {
            self.publish();
        }
        if first {
            self.shared.synced.send_replace(true);
            tracing::info!(target: "plugin/kubernetes", "The cluster is known: every list is complete");
        }
    }

    fn put(&mut self, object: Object) {
        let Some((id, fresh)) = self.read(&object) else {
            return;
        };
        if !self.is_known(id, &fresh) {
            self.apply(id, fresh);
            self.publish();
        }
        if let Object::EndpointSlice(slice) = &object {
            let labels = Labels::new(&[&slice.service, &slice.namespace]);
            let group = labels
                .and_then(|labels| World::group(&self.world.services, labels.octets()).cloned());
            let service = group.and_then(|group| group.service.clone());
            self.programmed
                .observe(slice.triggered.as_deref(), service.as_deref());
        }
    }

    fn remove(&mut self, object: Object) {
        let kind = object.kind();
        let (id, labels) = match &object {
            Object::Namespace(namespace) => ([0; 2], Labels::new(&[&namespace.name])),
            Object::Service(service) => ([0; 2], Labels::new(&[&service.name, &service.namespace])),
            Object::ServiceImport(import) => {
                ([0; 2], Labels::new(&[&import.name, &import.namespace]))
            }
            Object::EndpointSlice(slice) => (id(&slice.namespace, &slice.name), None),
            Object::Pod(pod) => (id(&pod.namespace, &pod.name), None),
        };
        let known = match (kind, &labels) {
            (Kind::Namespace, Some(labels)) => self.world.exposes(labels.octets()),
            (Kind::Service, Some(labels)) => has_service(&self.world.services, labels),
            (Kind::ServiceImport, Some(labels)) => has_service(&self.world.imports, labels),
            (Kind::EndpointSlice, _) => self.slices.get(id).is_some(),
            (Kind::Pod, _) => self.pods.get(id).is_some(),
            _ => false,
        };
        if known {
            self.forget(kind, id, labels.map(Arc::new).as_ref());
            self.publish();
        }
    }

    fn lost(&mut self, kind: Kind, _: &str) {
        // The watch has logged why.
        self.shared.lines[kind as usize]
            .lost
            .store(true, Ordering::Relaxed);
    }
    fn heard(&mut self, kind: Kind) {
        let line = &self.shared.lines[kind as usize];
        line.heard.store(chain::clock::now(), Ordering::Relaxed);
        line.lost.store(false, Ordering::Relaxed);
    }
}

impl Side {
    /// Its groups.
    fn of(self, world: &World) -> &Table<Known> {
        match self {
            Self::Services => &world.services,
            Self::Imports => &world.imports,
        }
    }

    /// The same, for change.
    fn of_mut(self, world: &mut World) -> &mut Table<Known> {
        match self {
            Self::Services => &mut world.services,
            Self::Imports => &mut world.imports,
        }
    }

    /// The service that a slice belongs to.
    fn labels(self, kept: &Kept) -> Option<&Arc<Labels>> {
        match self {
            Self::Services => kept.service.as_ref(),
            Self::Imports => kept.imported.as_ref(),
        }
    }
}

fn has_service(table: &Table<Known>, labels: &Labels) -> bool {
    World::group(table, labels.octets()).is_some_and(|group| group.service.is_some())
}

/// The identity of what is found by its labels.
fn label_id(labels: &Labels) -> Id {
    [labels.hash(), key(&[labels.octets(), &[1]].concat())]
}
