//! What the API has told of the cluster, and the snapshot that queries see, kept in step.
//!
//! ```text
//!  Sink::put ───────────────────► apply ─► rebuild ─► publish: one pointer is swapped
//!  Sink::begin, listed … ─► partial list ─┐    ▲
//!  Sink::complete ────────────────────────┴────┘        a reader sees a list of any size in one step
//! ```
//!
//! The index ([`super::index`]) keeps what each slice and pod contributed, by its identity, so that it can be taken back; services and
//! namespaces are found in the snapshot itself. A list is gathered as differences: an object that has not changed costs a mark. A change
//! copies the path to its group (see [`super::table`]) and rebuilds the answers of that group.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{SystemTime, UNIX_EPOCH};

use super::change::{self, Kind, Object, Sink};
use super::entry::{Address, Form, Group, Labels, Port, Service, Slice, SliceBuilder, key};
use super::field::{addresses, form_of, outside, owned, port_of};
use super::index::{Id, Index, id};
use super::metrics::Programmed;
use super::snapshot::{
    GroupEntry, NameServer, Owner, PodAt, PodDetails, PodsAt, Role, Shared, Snapshot,
};
use source::Table;

/// What of a cluster is kept, and how.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Rules {
    /// The TTL of the records.
    pub(super) ttl: u32,
    /// The namespaces to expose; none named is all.
    pub(super) namespaces: Vec<String>,
    /// Whether endpoints without a host name are named as their pods.
    pub(super) pod_names: bool,
    /// Whether names and labels of pods are kept.
    pub(super) pod_details: bool,
    /// Whether topology zones are kept.
    pub(super) zonal: bool,
    /// The kinds that are watched.
    pub(super) kinds: Vec<Kind>,
    /// This server's addresses.
    pub(super) local: Vec<IpAddr>,
}

/// What one slice contributed.
#[derive(Clone)]
struct SliceContribution {
    slice: Arc<Slice>,
    service: Option<Arc<Labels>>,
    imported: Option<Arc<Labels>>,
}

impl SliceContribution {
    /// The addresses of its endpoints, and the service whose they are; nothing for one of the cluster set.
    fn places(&self) -> impl Iterator<Item = (Address, &Arc<Labels>)> {
        let labels = self.service.iter();
        labels.flat_map(|labels| {
            let endpoints = self.slice.endpoints.iter();
            endpoints.map(move |endpoint| (endpoint.address, labels))
        })
    }
}

impl PartialEq for SliceContribution {
    fn eq(&self, other: &Self) -> bool {
        self.slice == other.slice
            && self.service == other.service
            && self.imported == other.imported
    }
}

/// A list that is being read.
#[derive(Default)]
struct PartialList {
    /// What is new in it, in order: of an object that comes twice the last one counts.
    updates: Vec<(Id, Update)>,
    /// The objects in it that have no mark in an index: namespaces, services and imports.
    listed: HashSet<Id>,
}

/// What an object says, in the form that is stored.
enum Update {
    Namespace(Arc<Labels>),
    Service(Arc<Labels>, Arc<Service>),
    /// A slice; `None` for one that belongs to no service, as after its label was taken away.
    Slice(Option<SliceContribution>),
    /// A pod; `None` for one without an address.
    Pod(Option<PodAt>),
    Import(Arc<Labels>, Arc<Service>),
    /// A pod that is on its way out: what is known of it stays until it is gone.
    Unchanged,
}

impl Update {
    /// Whether it leaves nothing of an object.
    fn is_removal(&self) -> bool {
        matches!(self, Self::Slice(None) | Self::Pod(None))
    }
}

/// The lists of services by whose names groups stand.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum GroupKind {
    Services,
    Imports,
}

/// A group that is being changed.
struct GroupParts {
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

/// What the API has told of the cluster.
pub(super) struct Store {
    rules: Rules,
    shared: Arc<Shared>,
    /// The snapshot that is published next.
    snapshot: Snapshot,
    /// Whether that waits until it is whole.
    holds: bool,
    slices: Index<SliceContribution>,
    pods: Index<PodAt>,
    /// A list that is being read, by kind.
    partial_lists: [Option<PartialList>; Kind::ALL.len()],
    /// Which kinds have been listed.
    complete: [bool; Kind::ALL.len()],
    /// Lists of ports, of which there are few.
    ports: HashSet<Arc<[Port]>>,
    /// Namespaces of pods that were listed before the namespaces were.
    spaces: HashSet<Arc<Labels>>,
    /// Groups whose answers are to be made anew.
    edits: HashMap<(GroupKind, Arc<Labels>), GroupParts>,
    changed: Changed,
    programmed: Programmed,
}

impl Store {
    /// A store of nothing. Where `shared` shows a whole cluster already, that stays until this one is whole.
    pub(super) fn new(rules: Rules, shared: Arc<Shared>) -> Self {
        let mut store = Self {
            rules,
            snapshot: Snapshot::default(),
            holds: shared.snapshot.load().synced,
            shared,
            slices: Index::new(),
            pods: Index::new(),
            partial_lists: Default::default(),
            complete: Default::default(),
            ports: HashSet::new(),
            spaces: HashSet::new(),
            edits: HashMap::new(),
            changed: Changed::default(),
            programmed: Programmed::new(),
        };
        store.publish();
        store
    }

    /// Reads an object; `None` for one that says nothing about what is known.
    ///
    /// An object that no answer needs any more is an update, too: what it contributed before goes.
    fn read(&mut self, object: &Object) -> Option<(Id, Update)> {
        match object {
            Object::Namespace(namespace) => {
                let wanted = &self.rules.namespaces;
                if !wanted.is_empty() && !wanted.iter().any(|name| **name == *namespace.name) {
                    return None;
                }
                let labels = Arc::new(Labels::new(&[&namespace.name])?);
                Some((label_id(&labels), Update::Namespace(labels)))
            }
            Object::Service(service) => {
                let labels = self.labels(GroupKind::Services, &service.name, &service.namespace)?;
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
                Some((
                    label_id(&labels),
                    Update::Service(labels, Arc::new(service)),
                ))
            }
            Object::EndpointSlice(slice) => {
                let kept = SliceContribution {
                    service: self.labels(GroupKind::Services, &slice.service, &slice.namespace),
                    imported: self.labels(GroupKind::Imports, &slice.imported, &slice.namespace),
                    slice: Arc::new(self.slice(slice)),
                };
                let belongs = kept.service.is_some() || kept.imported.is_some();
                Some((
                    id(&slice.namespace, &slice.name),
                    Update::Slice(belongs.then_some(kept)),
                ))
            }
            Object::Pod(pod) => {
                let id = id(&pod.namespace, &pod.name);
                if pod.terminating {
                    return Some((id, Update::Unchanged));
                }
                let kept = match Address::parse(&pod.ip) {
                    Some(address) => Some(PodAt {
                        address,
                        namespace: self.namespace(&pod.namespace)?,
                        details: self.rules.pod_details.then(|| details(pod)),
                    }),
                    None => None,
                };
                Some((id, Update::Pod(kept)))
            }
            Object::ServiceImport(import) => {
                let labels = self.labels(GroupKind::Imports, &import.name, &import.namespace)?;
                let service = Service {
                    form: match import.headless {
                        true => Form::Headless,
                        false => Form::Addresses(addresses(&import.ips)),
                    },
                    ports: self.ports(&import.ports, false),
                    outside: Box::default(),
                };
                Some((label_id(&labels), Update::Import(labels, Arc::new(service))))
            }
        }
    }

    /// `SVC.NS`, shared with the group that has it.
    fn labels(&self, kind_of_group: GroupKind, name: &str, namespace: &str) -> Option<Arc<Labels>> {
        let labels = Labels::new(&[name, namespace])?;
        let table = kind_of_group.of(&self.snapshot);
        let known = Snapshot::group(table, labels.octets());
        Some(known.map_or_else(|| Arc::new(labels), |group| group.labels.clone()))
    }

    /// A namespace, shared with the snapshot's, or by those that stand in it.
    fn namespace(&mut self, name: &str) -> Option<Arc<Labels>> {
        let labels = Labels::new(&[name])?;
        let leaf = self.snapshot.namespaces.leaf(labels.hash());
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
    fn is_known(&self, id: Id, update: &Update) -> bool {
        let service = |kind_of_group: GroupKind, labels: &Labels| {
            let group = Snapshot::group(kind_of_group.of(&self.snapshot), labels.octets());
            group.and_then(|group| group.service.clone())
        };
        match update {
            Update::Namespace(labels) => self.snapshot.exposes(labels.octets()),
            Update::Service(labels, new) => {
                service(GroupKind::Services, labels).as_ref() == Some(new)
            }
            Update::Import(labels, new) => {
                service(GroupKind::Imports, labels).as_ref() == Some(new)
            }
            Update::Slice(kept) => self.slices.get(id) == kept.as_ref(),
            Update::Pod(kept) => self.pods.get(id) == kept.as_ref(),
            Update::Unchanged => true,
        }
    }

    /// Takes in what an object says.
    fn apply(&mut self, id: Id, update: Update) {
        // A list may say that an object is nothing which never was something.
        if update.is_removal() && self.is_known(id, &update) {
            return;
        }
        self.changed.anything = true;
        match update {
            Update::Namespace(labels) => {
                self.changed.inside = true;
                if !self.snapshot.exposes(labels.octets()) {
                    self.snapshot.namespaces.push(labels.hash(), labels);
                }
            }
            Update::Service(labels, service) => {
                self.set_service(GroupKind::Services, &labels, Some(service))
            }
            Update::Import(labels, service) => {
                self.set_service(GroupKind::Imports, &labels, Some(service))
            }
            Update::Slice(kept) => self.set_slice(id, kept),
            Update::Pod(kept) => self.set_pod(id, kept),
            Update::Unchanged => {}
        }
    }

    /// The group of `labels`, for change.
    fn edit(&mut self, kind_of_group: GroupKind, labels: &Arc<Labels>) -> &mut GroupParts {
        match self.edits.entry((kind_of_group, labels.clone())) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let group = Snapshot::group(kind_of_group.of(&self.snapshot), labels.octets());
                entry.insert(GroupParts {
                    service: group.and_then(|group| group.service.clone()),
                    slices: group.map(|group| group.slices.to_vec()).unwrap_or_default(),
                })
            }
        }
    }

    fn set_service(
        &mut self,
        kind_of_group: GroupKind,
        labels: &Arc<Labels>,
        service: Option<Arc<Service>>,
    ) {
        let old = std::mem::replace(
            &mut self.edit(kind_of_group, labels).service,
            service.clone(),
        );
        if kind_of_group == GroupKind::Imports {
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

    fn set_slice(&mut self, id: Id, kept: Option<SliceContribution>) {
        let old = self.slices.set(id, kept.clone());
        for kind_of_group in [GroupKind::Services, GroupKind::Imports] {
            for (kept, gone) in [(&old, true), (&kept, false)] {
                let Some((kept, labels)) = kept
                    .as_ref()
                    .and_then(|kept| Some((kept, kind_of_group.labels(kept)?)))
                else {
                    continue;
                };
                match kind_of_group {
                    GroupKind::Services => self.changed.inside = true,
                    GroupKind::Imports => self.changed.imported = true,
                }
                let slices = &mut self.edit(kind_of_group, labels).slices;
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
        let [old, kept] = [&old, &kept].map(|one| one.as_ref().filter(|one| one.service.is_some()));
        match (old, kept) {
            (Some(old), Some(kept)) => {
                // Most changes touch few of a slice's addresses.
                let mut counts: HashMap<(Address, &Arc<Labels>), i32> = HashMap::new();
                for (one, count) in [(kept, 1), (old, -1)] {
                    for place in one.places() {
                        *counts.entry(place).or_default() += count;
                    }
                }
                for ((address, labels), count) in counts {
                    self.own(address, Role::Endpoint, labels, count);
                }
            }
            (one, other) => {
                for (one, count) in [(other, 1), (one, -1)] {
                    for (address, labels) in one.into_iter().flat_map(SliceContribution::places) {
                        self.own(address, Role::Endpoint, labels, count);
                    }
                }
            }
        }
    }

    /// Counts that an address belongs to a service so many times more, or less.
    fn own(&mut self, address: Address, role: Role, labels: &Arc<Labels>, count: i32) {
        if count == 0 {
            return;
        }
        let owners = &mut self.snapshot.owners;
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

    fn set_pod(&mut self, id: Id, kept: Option<PodAt>) {
        let old = self.pods.set(id, kept.clone());
        self.changed.inside = true;
        for (kept, added) in [(kept, true), (old, false)] {
            let Some(kept) = kept else { continue };
            let pods = &mut self.snapshot.pods;
            let hash = kept.address.hash();
            let is = |pods: &PodsAt| pods.pod == kept;
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
                        pod: kept,
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
                let leaf = self.snapshot.namespaces.leaf_mut(labels.hash());
                leaf.retain(|known| known != labels);
            }
            (Kind::Service, Some(labels)) => self.set_service(GroupKind::Services, labels, None),
            (Kind::ServiceImport, Some(labels)) => {
                self.set_service(GroupKind::Imports, labels, None)
            }
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
        let services = |table: &Table<GroupEntry>| -> Vec<_> {
            let groups = table.iter().map(|known| &known.group);
            let groups = groups.filter(|group| group.service.is_some());
            groups.filter_map(|group| gone(&group.labels)).collect()
        };
        let unmarked = |ids: Vec<Id>| ids.into_iter().map(|id| (id, None)).collect();
        match kind {
            Kind::Namespace => self.snapshot.namespaces.iter().filter_map(gone).collect(),
            Kind::Service => services(&self.snapshot.services),
            Kind::ServiceImport => services(&self.snapshot.imports),
            Kind::EndpointSlice => unmarked(self.slices.unmarked()),
            Kind::Pod => unmarked(self.pods.unmarked()),
        }
    }

    /// Makes the answers of changed groups.
    fn rebuild(&mut self) {
        for ((kind_of_group, labels), parts) in std::mem::take(&mut self.edits) {
            let hash = labels.hash();
            let table = kind_of_group.of_mut(&mut self.snapshot);
            let group = Group::new(labels, parts.service, parts.slices.into(), self.rules.ttl);
            let leaf = table.leaf(hash);
            let at = leaf
                .iter()
                .position(|known| known.group.labels == group.labels);
            let known = GroupEntry {
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
        self.rebuild();
        self.holds &= !self.snapshot.synced;
        if self.holds {
            return;
        }
        let changed = std::mem::take(&mut self.changed);
        let serials = &mut self.snapshot.serials;
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
        if *self.snapshot.servers != *servers {
            self.snapshot.servers = servers.into();
        }
        self.shared.snapshot.store(Arc::new(self.snapshot.clone()));
    }

    /// The services whose endpoints this server is, else its own addresses.
    fn servers(&self) -> Vec<NameServer> {
        let mut servers: Vec<NameServer> = Vec::new();
        for &local in &self.rules.local {
            let local = Address::from(local);
            for labels in self.snapshot.owners_of(local, Role::Endpoint) {
                let Some(group) = Snapshot::group(&self.snapshot.services, labels.octets()) else {
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

impl Sink for Store {
    fn begin(&mut self, kind: Kind) {
        self.partial_lists[kind as usize] = Some(PartialList::default());
        match kind {
            Kind::EndpointSlice => self.slices.begin(),
            Kind::Pod => self.pods.begin(),
            Kind::Namespace | Kind::Service | Kind::ServiceImport => {}
        }
    }

    fn listed(&mut self, object: Object) {
        let kind = object.kind();
        let Some((id, update)) = self.read(&object) else {
            return;
        };
        let known = self.is_known(id, &update);
        let Some(partial) = &mut self.partial_lists[kind as usize] else {
            return;
        };
        let again = match kind {
            Kind::EndpointSlice => self.slices.mark(id),
            Kind::Pod => self.pods.mark(id),
            Kind::Namespace | Kind::Service | Kind::ServiceImport => !partial.listed.insert(id),
        };
        // Of an object that comes twice the last one counts, also when that is a removal of what no index has yet.
        let counts = !known || again || update.is_removal();
        if counts && !matches!(update, Update::Unchanged) {
            partial.updates.push((id, update));
        }
    }

    fn complete(&mut self, kind: Kind) {
        let Some(partial) = self.partial_lists[kind as usize].take() else {
            return;
        };
        for (id, labels) in self.vanished(kind, &partial.listed) {
            self.forget(kind, id, labels.as_ref());
        }
        for (id, update) in partial.updates {
            self.apply(id, update);
        }
        self.ports.retain(|ports| Arc::strong_count(ports) > 1);
        self.spaces.retain(|space| Arc::strong_count(space) > 1);
        self.complete[kind as usize] = true;
        let synced = self
            .rules
            .kinds
            .iter()
            .all(|&kind| self.complete[kind as usize]);
        let first = synced && !self.snapshot.synced;
        self.snapshot.synced |= synced;
        if self.changed.anything || first {
            self.publish();
        }
        if first {
            self.shared.synced.send_replace(true);
            tracing::info!(target: "plugin/kubernetes", "The cluster is known: every list is complete");
        }
    }

    fn put(&mut self, object: Object) {
        let Some((id, update)) = self.read(&object) else {
            return;
        };
        if !self.is_known(id, &update) {
            self.apply(id, update);
            self.publish();
        }
        if let Object::EndpointSlice(slice) = &object {
            let labels = Labels::new(&[&slice.service, &slice.namespace]);
            let group = labels.and_then(|labels| {
                Snapshot::group(&self.snapshot.services, labels.octets()).cloned()
            });
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
            (Kind::Namespace, Some(labels)) => self.snapshot.exposes(labels.octets()),
            (Kind::Service, Some(labels)) => has_service(&self.snapshot.services, labels),
            (Kind::ServiceImport, Some(labels)) => has_service(&self.snapshot.imports, labels),
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
        self.shared.watches[kind as usize]
            .lost
            .store(true, Ordering::Relaxed);
    }
    fn heard(&mut self, kind: Kind) {
        let watch = &self.shared.watches[kind as usize];
        watch.heard.store(host::clock::now(), Ordering::Relaxed);
        watch.lost.store(false, Ordering::Relaxed);
    }
}

impl GroupKind {
    /// Its groups.
    fn of(self, snapshot: &Snapshot) -> &Table<GroupEntry> {
        match self {
            Self::Services => &snapshot.services,
            Self::Imports => &snapshot.imports,
        }
    }

    /// The same, for change.
    fn of_mut(self, snapshot: &mut Snapshot) -> &mut Table<GroupEntry> {
        match self {
            Self::Services => &mut snapshot.services,
            Self::Imports => &mut snapshot.imports,
        }
    }

    /// The service that a slice belongs to.
    fn labels(self, kept: &SliceContribution) -> Option<&Arc<Labels>> {
        match self {
            Self::Services => kept.service.as_ref(),
            Self::Imports => kept.imported.as_ref(),
        }
    }
}

fn has_service(table: &Table<GroupEntry>, labels: &Labels) -> bool {
    Snapshot::group(table, labels.octets()).is_some_and(|group| group.service.is_some())
}

/// The identity of what is found by its labels.
fn label_id(labels: &Labels) -> Id {
    [labels.hash(), key(&[labels.octets(), &[1]].concat())]
}

/// What metadata tells of a pod.
fn details(pod: &change::Pod) -> Arc<PodDetails> {
    Arc::new(PodDetails {
        name: pod.name.clone(),
        labels: pod.labels.clone(),
    })
}
