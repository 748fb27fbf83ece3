//! From the API's JSON to slim objects, an object at a time. Its protobuf is read by [`super::protobuf`] into the same forms.
//!
//! A watch is lines of JSON, split anywhere by the chunks that carry them; a list is one object whose `items` are taken out of it as
//! they arrive. Either way no more than one object's text is held, and a frame that holds whole lines is read where it lies.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::change::{
    Endpoint, EndpointSlice, Kind, Namespace, Object, Pod, Port, Service, ServiceImport, or_default,
};
use super::protobuf::{self, Frames};

/// The longest text of one object: etcd takes 1.5 MiB.
pub(super) const LONGEST: usize = 16 << 20;

/// An event of a watch.
#[derive(Debug)]
pub(super) enum Event {
    /// An object was added or modified, and the version that it has now.
    Put(Object, Box<str>),
    /// An object was removed, at this version.
    Remove(Object, Box<str>),
    /// Everything up to a version has been told; the second says that it ends the initial events.
    Bookmark(Box<str>, bool),
    /// The watch has failed.
    Failed(Status),
}

/// What the API says of a failure.
#[derive(Default, Debug, Deserialize)]
pub(super) struct Status {
    /// In words.
    #[serde(default, deserialize_with = "or_default")]
    pub(super) message: Box<str>,
    /// In one word.
    #[serde(default, deserialize_with = "or_default")]
    pub(super) reason: Box<str>,
    /// As HTTP would.
    #[serde(default, deserialize_with = "or_default")]
    pub(super) code: u16,
}

/// The part of a list that is not its items.
#[derive(Default, Debug, Deserialize)]
pub(super) struct ListEnd {
    #[serde(default, deserialize_with = "or_default")]
    pub(super) metadata: ListMeta,
}

/// A list's own metadata.
#[derive(Default, Debug, Deserialize)]
pub(super) struct ListMeta {
    /// What a watch goes on from.
    #[serde(default, deserialize_with = "or_default", rename = "resourceVersion")]
    pub(super) version: Box<str>,
    /// Where the next page begins; empty on the last.
    #[serde(default, deserialize_with = "or_default", rename = "continue")]
    pub(super) next: Box<str>,
}

/// Why a text is not what it should be.
pub(super) type Bad = serde_json::Error;

/// Reads a line of a watch.
///
/// # Errors
/// When it is not an event of `kind`.
pub(super) fn event(kind: Kind, line: &[u8]) -> Result<Event, Bad> {
    match kind {
        Kind::Namespace => read_event::<RawNamespace>(line),
        Kind::Service => read_event::<RawService>(line),
        Kind::EndpointSlice => read_event::<RawSlice>(line),
        Kind::Pod => read_event::<RawPod>(line),
        Kind::ServiceImport => read_event::<RawImport>(line),
    }
}

/// Reads an item of a list.
///
/// # Errors
/// When it is not an object of `kind`.
pub(super) fn item(kind: Kind, text: &[u8]) -> Result<Object, Bad> {
    Ok(match kind {
        Kind::Namespace => serde_json::from_slice::<RawNamespace>(text)?.slim().1,
        Kind::Service => serde_json::from_slice::<RawService>(text)?.slim().1,
        Kind::EndpointSlice => serde_json::from_slice::<RawSlice>(text)?.slim().1,
        Kind::Pod => serde_json::from_slice::<RawPod>(text)?.slim().1,
        Kind::ServiceImport => serde_json::from_slice::<RawImport>(text)?.slim().1,
    })
}

fn read_event<'a, T: Raw + Deserialize<'a>>(line: &'a [u8]) -> Result<Event, Bad> {
    #[derive(Deserialize)]
    struct Envelope<'a, T> {
        #[serde(borrow, rename = "type")]
        what: Cow<'a, str>,
        object: T,
    }
    let read: Envelope<'_, T> = match serde_json::from_slice(line) {
        Ok(read) => read,
        // An error's object is a status, which need not have the shape of the kind.
        Err(bad) => {
            return match serde_json::from_slice::<Envelope<'_, Status>>(line) {
                Ok(failed) if failed.what == "ERROR" => Ok(Event::Failed(failed.object)),
                _ => Err(bad),
            };
        }
    };
    if read.what == "ERROR" {
        let failed: Envelope<'_, Status> = serde_json::from_slice(line)?;
        return Ok(Event::Failed(failed.object));
    }
    Ok(told(&read.what, read.object))
}

/// The event that an object of this word is.
pub(super) fn told(what: &str, object: impl Raw) -> Event {
    let (meta, object) = object.slim();
    match what {
        "DELETED" => Event::Remove(object, meta.version),
        "BOOKMARK" => {
            let end = meta.annotations.end.is_some_and(|end| &*end == "true");
            Event::Bookmark(meta.version, end)
        }
        _ => Event::Put(object, meta.version),
    }
}

/// An object as it comes, in whatever encoding.
pub(super) trait Raw {
    /// What is kept of it.
    fn slim(self) -> (Meta, Object);
}

/// What every object has.
#[derive(Default, Deserialize)]
pub(super) struct Meta {
    #[serde(default, deserialize_with = "or_default")]
    pub(super) name: Box<str>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) namespace: Box<str>,
    #[serde(default, deserialize_with = "or_default", rename = "resourceVersion")]
    pub(super) version: Box<str>,
    #[serde(default, rename = "deletionTimestamp")]
    pub(super) deleted: Option<IgnoredAny>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) labels: Labels,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) annotations: Annotations,
}

/// The labels that are looked at.
#[derive(Default, Deserialize)]
pub(super) struct Labels {
    #[serde(default, rename = "kubernetes.io/service-name")]
    pub(super) service: Option<Box<str>>,
    #[serde(default, rename = "multicluster.kubernetes.io/service-name")]
    pub(super) imported: Option<Box<str>>,
    #[serde(default, rename = "multicluster.kubernetes.io/source-cluster")]
    pub(super) cluster: Option<Box<str>>,
}

/// The annotations that are looked at.
#[derive(Default, Deserialize)]
pub(super) struct Annotations {
    #[serde(default, rename = "endpoints.kubernetes.io/last-change-trigger-time")]
    pub(super) triggered: Option<Box<str>>,
    #[serde(default, rename = "k8s.io/initial-events-end")]
    pub(super) end: Option<Box<str>>,
}

/// A namespace as it comes.
#[derive(Default, Deserialize)]
pub(super) struct RawNamespace {
    #[serde(default, deserialize_with = "or_default")]
    pub(super) metadata: Meta,
}

impl Raw for RawNamespace {
    fn slim(mut self) -> (Meta, Object) {
        let name = std::mem::take(&mut self.metadata.name);
        (self.metadata, Object::Namespace(Namespace { name }))
    }
}

/// A service as it comes.
#[derive(Default, Deserialize)]
pub(super) struct RawService {
    #[serde(default, deserialize_with = "or_default")]
    pub(super) metadata: Meta,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) spec: ServiceSpec,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) status: ServiceStatus,
}

/// What a service is to be.
#[derive(Default, Deserialize)]
pub(super) struct ServiceSpec {
    #[serde(default, rename = "type")]
    pub(super) of: Option<Box<str>>,
    #[serde(default, rename = "clusterIP")]
    pub(super) cluster_ip: Option<Box<str>>,
    #[serde(default, rename = "clusterIPs", deserialize_with = "or_default")]
    pub(super) cluster_ips: Vec<Box<str>>,
    #[serde(default, rename = "externalName", deserialize_with = "or_default")]
    pub(super) external_name: Box<str>,
    #[serde(default, rename = "externalIPs", deserialize_with = "or_default")]
    pub(super) external_ips: Vec<Box<str>>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) ports: Vec<Port>,
    #[serde(default, deserialize_with = "any")]
    pub(super) selector: bool,
}

/// What became of a service.
#[derive(Default, Deserialize)]
pub(super) struct ServiceStatus {
    #[serde(default, rename = "loadBalancer", deserialize_with = "or_default")]
    pub(super) balancer: Balancer,
}

/// The load balancer of a service.
#[derive(Default, Deserialize)]
pub(super) struct Balancer {
    #[serde(default, deserialize_with = "or_default")]
    pub(super) ingress: Vec<Ingress>,
}

/// An address of a load balancer.
#[derive(Default, Deserialize)]
pub(super) struct Ingress {
    #[serde(default, deserialize_with = "or_default")]
    pub(super) ip: Box<str>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) hostname: Box<str>,
}

impl Raw for RawService {
    fn slim(mut self) -> (Meta, Object) {
        let spec = self.spec;
        let mut cluster_ips = spec.cluster_ips;
        if cluster_ips.is_empty() {
            cluster_ips.extend(spec.cluster_ip.filter(|ip| !ip.is_empty()));
        }
        let mut external_ips = spec.external_ips;
        external_ips.extend(self.status.balancer.ingress.into_iter().map(|ingress| {
            if ingress.ip.is_empty() {
                ingress.hostname
            } else {
                ingress.ip
            }
        }));
        let object = Object::Service(Service {
            namespace: std::mem::take(&mut self.metadata.namespace),
            name: std::mem::take(&mut self.metadata.name),
            external: spec.of.is_some_and(|of| &*of == "ExternalName"),
            external_name: spec.external_name,
            cluster_ips,
            ports: spec.ports,
            external_ips,
            selector: spec.selector,
        });
        (self.metadata, object)
    }
}

/// An endpoint slice as it comes.
#[derive(Default, Deserialize)]
pub(super) struct RawSlice {
    #[serde(default, deserialize_with = "or_default")]
    pub(super) metadata: Meta,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) ports: Vec<Port>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) endpoints: Vec<Endpoint>,
}

impl Raw for RawSlice {
    fn slim(mut self) -> (Meta, Object) {
        let labels = std::mem::take(&mut self.metadata.labels);
        let object = Object::EndpointSlice(EndpointSlice {
            namespace: std::mem::take(&mut self.metadata.namespace),
            name: std::mem::take(&mut self.metadata.name),
            service: labels.service.unwrap_or_default(),
            imported: labels.imported.unwrap_or_default(),
            cluster: labels.cluster.unwrap_or_default(),
            triggered: self.metadata.annotations.triggered.take(),
            ports: self.ports,
            endpoints: self.endpoints,
        });
        (self.metadata, object)
    }
}

/// A pod as it comes.
#[derive(Default, Deserialize)]
pub(super) struct RawPod {
    #[serde(default, deserialize_with = "or_default")]
    pub(super) metadata: PodMeta,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) status: PodStatus,
}

/// What every object has, with all labels.
#[derive(Default, Deserialize)]
pub(super) struct PodMeta {
    #[serde(default, deserialize_with = "or_default")]
    pub(super) name: Box<str>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) namespace: Box<str>,
    #[serde(default, deserialize_with = "or_default", rename = "resourceVersion")]
    pub(super) version: Box<str>,
    #[serde(default, rename = "deletionTimestamp")]
    pub(super) deleted: Option<IgnoredAny>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) labels: BTreeMap<Box<str>, Box<str>>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) annotations: Annotations,
}

/// What became of a pod.
#[derive(Default, Deserialize)]
pub(super) struct PodStatus {
    #[serde(default, rename = "podIP", deserialize_with = "or_default")]
    pub(super) ip: Box<str>,
}

impl Raw for RawPod {
    fn slim(self) -> (Meta, Object) {
        let metadata = self.metadata;
        let object = Object::Pod(Pod {
            namespace: metadata.namespace,
            name: metadata.name,
            ip: self.status.ip,
            labels: metadata.labels.into_iter().collect(),
            terminating: metadata.deleted.is_some(),
        });
        let meta = Meta {
            version: metadata.version,
            annotations: metadata.annotations,
            ..Meta::default()
        };
        (meta, object)
    }
}

#[derive(Deserialize)]
struct RawImport {
    #[serde(default, deserialize_with = "or_default")]
    metadata: Meta,
    #[serde(default, deserialize_with = "or_default")]
    spec: ImportSpec,
}

#[derive(Default, Deserialize)]
struct ImportSpec {
    #[serde(default, rename = "type")]
    of: Option<Box<str>>,
    #[serde(default, deserialize_with = "or_default")]
    ips: Vec<Box<str>>,
    #[serde(default, deserialize_with = "or_default")]
    ports: Vec<Port>,
}

impl Raw for RawImport {
    fn slim(mut self) -> (Meta, Object) {
        let object = Object::ServiceImport(ServiceImport {
            namespace: std::mem::take(&mut self.metadata.namespace),
            name: std::mem::take(&mut self.metadata.name),
            headless: self.spec.of.is_some_and(|of| &*of == "Headless"),
            ips: self.spec.ips,
            ports: self.spec.ports,
        });
        (self.metadata, object)
    }
}

/// Whether a map has an entry.
fn any<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    struct Any;
    impl<'de> Visitor<'de> for Any {
        type Value = bool;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a map")
        }
        fn visit_unit<E>(self) -> Result<bool, E> {
            Ok(false)
        }
        fn visit_none<E>(self) -> Result<bool, E> {
            Ok(false)
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<bool, A::Error> {
            let mut some = false;
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {
                some = true;
            }
            Ok(some)
        }
    }
    deserializer.deserialize_any(Any)
}

/// A text that does not end.
#[derive(Debug)]
pub(super) struct TooLong;

/// What a watch sends, in the encoding that its response has.
pub(super) enum Stream {
    /// A line for each event.
    Json(Lines),
    /// A frame for each event.
    Protobuf(Frames),
}

impl Stream {
    /// A stream of this media type; of JSON, when none is given.
    pub(super) fn of(media_type: &str) -> Self {
        if media_type.starts_with(protobuf::MEDIA_TYPE) {
            Self::Protobuf(Frames::default())
        } else {
            Self::Json(Lines::default())
        }
    }

    /// Takes the next piece; `event` gets what every line or frame that it ends says, until it wants no more.
    ///
    /// # Errors
    /// When an event is longer than any object.
    pub(super) fn feed(
        &mut self,
        kind: Kind,
        piece: &[u8],
        mut event: impl FnMut(Result<Event, String>) -> bool,
    ) -> Result<(), TooLong> {
        match self {
            Self::Json(lines) => lines.feed(piece, |line| {
                line.trim_ascii().is_empty()
                    || event(self::event(kind, line).map_err(|error| error.to_string()))
            }),
            Self::Protobuf(frames) => frames.feed(piece, |frame| {
                event(protobuf::event(kind, frame).map_err(|error| error.to_string()))
            }),
        }
    }

    /// Whether an event has begun and not ended.
    pub(super) fn midway(&self) -> bool {
        match self {
            Self::Json(lines) => lines.midway(),
            Self::Protobuf(frames) => frames.midway(),
        }
    }
}

/// Puts together lines that come in pieces.
#[derive(Default)]
pub(super) struct Lines {
    begun: Vec<u8>,
}

impl Lines {
    /// Takes the next piece; `line` gets every line that it ends, without the line feed, until it wants no more.
    ///
    /// # Errors
    /// When a line is longer than any object.
    pub(super) fn feed(
        &mut self,
        mut piece: &[u8],
        mut line: impl FnMut(&[u8]) -> bool,
    ) -> Result<(), TooLong> {
        while let Some(end) = memchr::memchr(b'\n', piece) {
            let (head, tail) = (&piece[..end], &piece[end + 1..]);
            piece = tail;
            let more = if self.begun.is_empty() {
                line(head)
            } else {
                self.begun.extend_from_slice(head);
                let more = line(&self.begun);
                self.begun.clear();
                // One large object is not to be paid for as long as the watch lasts.
                self.begun.shrink_to(64 << 10);
                more
            };
            if !more {
                return Ok(());
            }
        }
        if self.begun.len() + piece.len() > LONGEST {
            return Err(TooLong);
        }
        self.begun.extend_from_slice(piece);
        Ok(())
    }

    /// Whether a line has begun and not ended.
    pub(super) fn midway(&self) -> bool {
        !self.begun.is_empty()
    }
}

/// Takes the items out of a list as it comes.
///
/// It counts brackets outside of strings and knows one key, `items` of the outermost object; what is not an item stays and is the list's
/// own text: `{"metadata":{…},"items":[]}`.
#[derive(Default)]
pub(super) struct Items {
    depth: usize,
    inside: Inside,
    /// The string that was read last at depth 1: perhaps the key `items`.
    key: Vec<u8>,
    /// Whether the array at depth 2 is that of the items.
    listing: bool,
    item: Vec<u8>,
    rest: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Default)]
enum Inside {
    #[default]
    Plain,
    Text,
    Escape,
}

impl Items {
    /// Takes the next piece; `item` gets every item that it ends.
    ///
    /// # Errors
    /// When an item, or what is not one, is longer than any object.
    pub(super) fn feed(
        &mut self,
        piece: &[u8],
        mut item: impl FnMut(&[u8]),
    ) -> Result<(), TooLong> {
        for &octet in piece {
            let in_item = self.listing && self.depth >= 3;
            match self.inside {
                Inside::Escape => self.inside = Inside::Text,
                Inside::Text if octet == b'\\' => self.inside = Inside::Escape,
                Inside::Text if octet == b'"' => self.inside = Inside::Plain,
                Inside::Text => {
                    if self.depth == 1 && self.key.len() < 16 {
                        self.key.push(octet);
                    }
                }
                Inside::Plain => match octet {
                    b'"' => {
                        self.inside = Inside::Text;
                        if self.depth == 1 {
                            self.key.clear();
                        }
                    }
                    b'{' | b'[' => {
                        if octet == b'[' && self.depth == 1 {
                            self.listing = self.key == b"items";
                        }
                        self.depth += 1;
                        if self.listing && self.depth == 3 {
                            self.item.push(octet);
                            continue;
                        }
                    }
                    b'}' | b']' => {
                        self.depth = self.depth.saturating_sub(1);
                        if in_item && self.depth == 2 {
                            self.item.push(octet);
                            item(&self.item);
                            self.item.clear();
                            continue;
                        }
                        if self.depth == 1 {
                            self.listing = false;
                        }
                    }
                    // What parts the items is no part of the rest.
                    b',' if self.listing && self.depth == 2 => continue,
                    _ => {}
                },
            }
            let into = if in_item {
                &mut self.item
            } else {
                &mut self.rest
            };
            into.push(octet);
        }
        if self.item.len().max(self.rest.len()) > LONGEST {
            return Err(TooLong);
        }
        Ok(())
    }

    /// The list without its items.
    ///
    /// # Errors
    /// When it is not JSON, as after a connection that broke.
    pub(super) fn end(&self) -> Result<ListEnd, Bad> {
        serde_json::from_slice(&self.rest)
    }
}
