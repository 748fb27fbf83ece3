//! What a watch tells the store: slim objects, and the calls in which they come.
//!
//! ```text
//!  API server ── JSON or protobuf, an event at a time ──► decode, protobuf ── Object ──► Sink (the store) ── snapshot ──► workers
//! ```
//!
//! An object has the fields that an answer needs and no others: the rest (managed fields, annotations, specs of containers) is skipped
//! and never built. Every field tolerates `null` and absence: bookmarks and empty slices have both.
//! Strings are boxed and short-lived: the store interns what it keeps, so at most one line's objects are alive at a time.

use std::fmt;

use serde::{Deserialize, Deserializer};

/// A kind of object that is watched.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Kind {
    /// A namespace.
    Namespace,
    /// A service.
    Service,
    /// A part of the endpoints of a service.
    EndpointSlice,
    /// A pod.
    Pod,
    /// A service of a cluster set.
    ServiceImport,
}

impl Kind {
    /// All kinds.
    pub(super) const ALL: [Self; 5] = [
        Self::Namespace,
        Self::Service,
        Self::EndpointSlice,
        Self::Pod,
        Self::ServiceImport,
    ];

    /// The resource as RBAC and paths name it.
    pub(super) const fn resource(self) -> &'static str {
        match self {
            Self::Namespace => "namespaces",
            Self::Service => "services",
            Self::EndpointSlice => "endpointslices",
            Self::Pod => "pods",
            Self::ServiceImport => "serviceimports",
        }
    }

    /// The API group, and its version; the core group has no name.
    pub(super) const fn group(self) -> (&'static str, &'static str) {
        match self {
            Self::Namespace | Self::Service | Self::Pod => ("", "v1"),
            Self::EndpointSlice => ("discovery.k8s.io", "v1"),
            Self::ServiceImport => ("multicluster.x-k8s.io", "v1alpha1"),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.resource())
    }
}

/// What the watch tells the store; called on the admin runtime only, one call at a time for a cluster.
pub(super) trait Sink: Send {
    /// A list begins: gather beside the present state. A `begin` without `complete` before the next one was given up.
    fn begin(&mut self, kind: Kind);
    /// One object of that list. A changed object may be listed more than once: the last one counts.
    fn listed(&mut self, object: Object);
    /// The list is whole: it replaces that kind at once.
    fn complete(&mut self, kind: Kind);
    /// An object was added or modified.
    fn put(&mut self, object: Object);
    /// An object is no more; it comes as it was last.
    fn remove(&mut self, object: Object);
    /// The connection is away; called once until `heard` follows.
    fn lost(&mut self, kind: Kind, why: &str);
    /// An event or a bookmark came: the state is fresh.
    fn heard(&mut self, kind: Kind);
}

/// An object of one of the kinds.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Object {
    /// A namespace.
    Namespace(Namespace),
    /// A service.
    Service(Service),
    /// A part of the endpoints of a service.
    EndpointSlice(EndpointSlice),
    /// A pod.
    Pod(Pod),
    /// A service of a cluster set.
    ServiceImport(ServiceImport),
}

impl Object {
    /// Its kind.
    pub(super) const fn kind(&self) -> Kind {
        match self {
            Self::Namespace(_) => Kind::Namespace,
            Self::Service(_) => Kind::Service,
            Self::EndpointSlice(_) => Kind::EndpointSlice,
            Self::Pod(_) => Kind::Pod,
            Self::ServiceImport(_) => Kind::ServiceImport,
        }
    }
}

/// A namespace.
#[derive(Clone, PartialEq, Default, Debug)]
pub(super) struct Namespace {
    /// Its name.
    pub(super) name: Box<str>,
}

/// A service.
#[derive(Clone, PartialEq, Default, Debug)]
pub(super) struct Service {
    /// Its namespace.
    pub(super) namespace: Box<str>,
    /// Its name.
    pub(super) name: Box<str>,
    /// Whether its type is `ExternalName`.
    pub(super) external: bool,
    /// The name that an `ExternalName` service stands for.
    pub(super) external_name: Box<str>,
    /// `clusterIPs`, else `clusterIP`, as they came: addresses, `None` for a headless service, or nothing.
    pub(super) cluster_ips: Vec<Box<str>>,
    /// Its ports.
    pub(super) ports: Vec<Port>,
    /// `spec.externalIPs`, then the address, or else the host name, of each of the load balancer's ingresses.
    pub(super) external_ips: Vec<Box<str>>,
    /// Whether a selector makes its endpoints, for a metric's label.
    pub(super) selector: bool,
}

impl Service {
    /// Whether it has no address of its own by intent.
    pub(super) fn headless(&self) -> bool {
        self.cluster_ips.first().is_some_and(|ip| &**ip == "None")
    }
}

/// A port of a service, of a slice or of an import.
#[derive(Clone, PartialEq, Default, Debug, Deserialize)]
pub(super) struct Port {
    /// Its name; may be empty.
    #[serde(default, deserialize_with = "or_default")]
    pub(super) name: Box<str>,
    /// Its number; a slice may leave it out.
    #[serde(default)]
    pub(super) port: Option<i32>,
    /// `TCP`, `UDP` or `SCTP`.
    #[serde(default, deserialize_with = "or_default")]
    pub(super) protocol: Box<str>,
}

/// A part of the endpoints of a service.
#[derive(Clone, PartialEq, Default, Debug)]
pub(super) struct EndpointSlice {
    /// Its namespace.
    pub(super) namespace: Box<str>,
    /// Its name.
    pub(super) name: Box<str>,
    /// The service that it belongs to (`kubernetes.io/service-name`).
    pub(super) service: Box<str>,
    /// The imported service that it belongs to (`multicluster.kubernetes.io/service-name`).
    pub(super) imported: Box<str>,
    /// The cluster that it was imported from (`multicluster.kubernetes.io/source-cluster`).
    pub(super) cluster: Box<str>,
    /// When the change that led to it happened (`endpoints.kubernetes.io/last-change-trigger-time`), RFC 3339.
    pub(super) triggered: Option<Box<str>>,
    /// Its ports.
    pub(super) ports: Vec<Port>,
    /// Its endpoints, ready or not.
    pub(super) endpoints: Vec<Endpoint>,
}

/// An endpoint of a slice.
#[derive(Clone, PartialEq, Default, Debug, Deserialize)]
pub(super) struct Endpoint {
    /// Its addresses, as they came; one, by most writers.
    #[serde(default, deserialize_with = "or_default")]
    pub(super) addresses: Vec<Box<str>>,
    /// Whether it is ready; unknown is ready.
    #[serde(
        default = "yes",
        rename = "conditions",
        deserialize_with = "conditions"
    )]
    pub(super) ready: bool,
    /// Its host name.
    #[serde(default)]
    pub(super) hostname: Option<Box<str>>,
    /// The name of the object that it stands for (`targetRef`): a pod's.
    #[serde(default, rename = "targetRef", deserialize_with = "target")]
    pub(super) target: Option<Box<str>>,
    /// Its topology zone.
    #[serde(default)]
    pub(super) zone: Option<Box<str>>,
}

/// A pod.
#[derive(Clone, PartialEq, Default, Debug)]
pub(super) struct Pod {
    /// Its namespace.
    pub(super) namespace: Box<str>,
    /// Its name.
    pub(super) name: Box<str>,
    /// `status.podIP`; empty before it has one.
    pub(super) ip: Box<str>,
    /// Its labels.
    pub(super) labels: Vec<(Box<str>, Box<str>)>,
    /// Whether it is being deleted: added and modified pods that are, are not to be taken in (what is known of them stays).
    pub(super) terminating: bool,
}

/// A service of a cluster set.
#[derive(Clone, PartialEq, Default, Debug)]
pub(super) struct ServiceImport {
    /// Its namespace.
    pub(super) namespace: Box<str>,
    /// Its name.
    pub(super) name: Box<str>,
    /// Whether its type is `Headless`.
    pub(super) headless: bool,
    /// Its addresses in the set.
    pub(super) ips: Vec<Box<str>>,
    /// Its ports.
    pub(super) ports: Vec<Port>,
}

/// Reads a value, or `null` as the type's default.
pub(super) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Reads `ready` out of an endpoint's conditions.
fn conditions<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    #[derive(Deserialize)]
    struct Conditions {
        #[serde(default)]
        ready: Option<bool>,
    }
    let conditions = Option::<Conditions>::deserialize(deserializer)?;
    Ok(conditions.and_then(|given| given.ready).unwrap_or(true))
}

/// Reads the name out of an endpoint's `targetRef`.
fn target<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<str>>, D::Error> {
    #[derive(Deserialize)]
    struct Reference {
        #[serde(default)]
        name: Option<Box<str>>,
    }
    let reference = Option::<Reference>::deserialize(deserializer)?;
    Ok(reference.and_then(|given| given.name))
}

fn yes() -> bool {
    true
}
