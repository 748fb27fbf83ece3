//! From the API's protobuf to slim objects, as a watch streams them: a third of the octets of JSON, most of which are stepped over.
//!
//! ```text
//!  stream   frames: their length in four octets, and an event
//!  event    1 the word, 2 { 1 an envelope }
//!  envelope "k8s\0", and 2 the object, or the status of an error                     (`runtime.Unknown`)
//! ```
//!
//! Numbers of fields are those of the `generated.proto` files of k8s.io/api and k8s.io/apimachinery; what is not named here is skipped
//! by its length. Kinds that are custom resources come as JSON, whatever is asked for; so do lists in pages, which are a fallback.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::IgnoredAny;

use super::change::{Endpoint, Kind, Port};
use super::decode::{
    Event, Ingress, LONGEST, Meta, PodMeta, PodStatus, RawNamespace, RawPod, RawService, RawSlice,
    ServiceSpec, Status, TooLong, told,
};

/// The type of what is read here, as HTTP names it.
pub(super) const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";
/// What an object's envelope begins with.
const MAGIC: &[u8] = b"k8s\0";

/// Why octets are not what they should be.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Malformed(&'static str);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "protobuf: {}", self.0)
    }
}

/// Whether the API has this encoding for a kind.
pub(super) fn encodes(kind: Kind) -> bool {
    kind != Kind::ServiceImport
}

/// Reads a frame of a watch.
///
/// # Errors
/// When it is not an event of `kind`.
pub(super) fn event(kind: Kind, frame: &[u8]) -> Result<Event, Malformed> {
    let (mut what, mut object) = ("", None);
    for field in Fields(frame) {
        match field? {
            (1, Value::Octets(octets)) => what = text(octets)?,
            (2, Value::Octets(extension)) => object = last(extension, 1)?,
            _ => {}
        }
    }
    let object = envelope(object.ok_or(Malformed("an event has no object"))?)?;
    if what == "ERROR" {
        return Ok(Event::Failed(read_status(object)?));
    }
    Ok(match kind {
        Kind::Namespace => told(what, namespace(object)?),
        Kind::Service => told(what, service(object)?),
        Kind::EndpointSlice => told(what, slice(object)?),
        Kind::Pod => told(what, pod(object)?),
        Kind::ServiceImport => return Err(Malformed("a custom resource")),
    })
}

/// Reads the body of a refusal; `None` when it is in another encoding.
pub(super) fn status(body: &[u8]) -> Option<Status> {
    read_status(envelope(body).ok()?).ok()
}

/// What an envelope holds.
fn envelope(octets: &[u8]) -> Result<&[u8], Malformed> {
    let unknown = octets
        .strip_prefix(MAGIC)
        .ok_or(Malformed("an object has no envelope"))?;
    Ok(last(unknown, 2)?.unwrap_or_default())
}

fn read_status(octets: &[u8]) -> Result<Status, Malformed> {
    let mut status = Status::default();
    for field in Fields(octets) {
        match field? {
            (3, Value::Octets(octets)) => status.message = text(octets)?.into(),
            (4, Value::Octets(octets)) => status.reason = text(octets)?.into(),
            (6, Value::Number(code)) => status.code = u16::try_from(code).unwrap_or_default(),
            _ => {}
        }
    }
    Ok(status)
}

fn namespace(octets: &[u8]) -> Result<RawNamespace, Malformed> {
    let mut namespace = RawNamespace::default();
    for field in Fields(octets) {
        if let (1, Value::Octets(octets)) = field? {
            namespace.metadata = meta(octets)?;
        }
    }
    Ok(namespace)
}

fn service(octets: &[u8]) -> Result<RawService, Malformed> {
    let mut service = RawService::default();
    for field in Fields(octets) {
        match field? {
            (1, Value::Octets(octets)) => service.metadata = meta(octets)?,
            (2, Value::Octets(octets)) => service.spec = service_spec(octets)?,
            (3, Value::Octets(octets)) => {
                for balancer in all(octets, 1) {
                    for ingress in all(balancer?, 1) {
                        let ingress = read_ingress(ingress?)?;
                        service.status.balancer.ingress.push(ingress);
                    }
                }
            }
            _ => {}
        }
    }
    Ok(service)
}

fn service_spec(octets: &[u8]) -> Result<ServiceSpec, Malformed> {
    let mut spec = ServiceSpec::default();
    for field in Fields(octets) {
        match field? {
            (1, Value::Octets(octets)) => spec.ports.push(port(octets)?),
            (2, Value::Octets(_)) => spec.selector = true,
            (3, Value::Octets(octets)) => spec.cluster_ip = Some(text(octets)?.into()),
            (4, Value::Octets(octets)) => spec.of = Some(text(octets)?.into()),
            (5, Value::Octets(octets)) => spec.external_ips.push(text(octets)?.into()),
            (10, Value::Octets(octets)) => spec.external_name = text(octets)?.into(),
            (18, Value::Octets(octets)) => spec.cluster_ips.push(text(octets)?.into()),
            _ => {}
        }
    }
    Ok(spec)
}

fn read_ingress(octets: &[u8]) -> Result<Ingress, Malformed> {
    let mut ingress = Ingress::default();
    for field in Fields(octets) {
        match field? {
            (1, Value::Octets(octets)) => ingress.ip = text(octets)?.into(),
            (2, Value::Octets(octets)) => ingress.hostname = text(octets)?.into(),
            _ => {}
        }
    }
    Ok(ingress)
}

/// A port of a service or of a slice: the fields that both have, they have in common.
fn port(octets: &[u8]) -> Result<Port, Malformed> {
    let mut port = Port::default();
    for field in Fields(octets) {
        match field? {
            (1, Value::Octets(octets)) => port.name = text(octets)?.into(),
            (2, Value::Octets(octets)) => port.protocol = text(octets)?.into(),
            // An int32: a negative number is written in ten octets, as 64 bits.
            (3, Value::Number(number)) => port.port = Some(number as i32),
            _ => {}
        }
    }
    Ok(port)
}

fn slice(octets: &[u8]) -> Result<RawSlice, Malformed> {
    let mut slice = RawSlice::default();
    for field in Fields(octets) {
        match field? {
            (1, Value::Octets(octets)) => slice.metadata = meta(octets)?,
            (2, Value::Octets(octets)) => slice.endpoints.push(endpoint(octets)?),
            (3, Value::Octets(octets)) => slice.ports.push(port(octets)?),
            _ => {}
        }
    }
    Ok(slice)
}

fn endpoint(octets: &[u8]) -> Result<Endpoint, Malformed> {
    let mut endpoint = Endpoint {
        ready: true,
        ..Endpoint::default()
    };
    for field in Fields(octets) {
        match field? {
            (1, Value::Octets(octets)) => endpoint.addresses.push(text(octets)?.into()),
            (2, Value::Octets(conditions)) => {
                for field in Fields(conditions) {
                    if let (1, Value::Number(ready)) = field? {
                        endpoint.ready = ready != 0;
                    }
                }
            }
            (3, Value::Octets(octets)) => endpoint.hostname = Some(text(octets)?.into()),
            (4, Value::Octets(reference)) => {
                if let Some(name) = last(reference, 3)? {
                    endpoint.target = Some(text(name)?.into());
                }
            }
            (7, Value::Octets(octets)) => endpoint.zone = Some(text(octets)?.into()),
            _ => {}
        }
    }
    Ok(endpoint)
}

fn pod(octets: &[u8]) -> Result<RawPod, Malformed> {
    let mut pod = RawPod::default();
    for field in Fields(octets) {
        match field? {
            (1, Value::Octets(octets)) => pod.metadata = pod_meta(octets)?,
            (3, Value::Octets(octets)) => {
                let ip = last(octets, 6)?.unwrap_or_default();
                pod.status = PodStatus {
                    ip: text(ip)?.into(),
                };
            }
            _ => {}
        }
    }
    Ok(pod)
}

fn pod_meta(octets: &[u8]) -> Result<PodMeta, Malformed> {
    let meta = meta(octets)?;
    let mut labels = BTreeMap::new();
    for field in Fields(octets) {
        if let (11, Value::Octets(octets)) = field? {
            let (name, value) = entry(octets)?;
            labels.insert(text(name)?.into(), text(value)?.into());
        }
    }
    Ok(PodMeta {
        name: meta.name,
        namespace: meta.namespace,
        version: meta.version,
        deleted: meta.deleted,
        labels,
        annotations: meta.annotations,
    })
}

fn meta(octets: &[u8]) -> Result<Meta, Malformed> {
    let mut meta = Meta::default();
    for field in Fields(octets) {
        match field? {
            (1, Value::Octets(octets)) => meta.name = text(octets)?.into(),
            (3, Value::Octets(octets)) => meta.namespace = text(octets)?.into(),
            (6, Value::Octets(octets)) => meta.version = text(octets)?.into(),
            (9, Value::Octets(_)) => meta.deleted = Some(IgnoredAny),
            (11, Value::Octets(octets)) => {
                let (name, value) = entry(octets)?;
                let place = match name {
                    b"kubernetes.io/service-name" => &mut meta.labels.service,
                    b"multicluster.kubernetes.io/service-name" => &mut meta.labels.imported,
                    b"multicluster.kubernetes.io/source-cluster" => &mut meta.labels.cluster,
                    _ => continue,
                };
                *place = Some(text(value)?.into());
            }
            (12, Value::Octets(octets)) => {
                let (name, value) = entry(octets)?;
                let place = match name {
                    b"endpoints.kubernetes.io/last-change-trigger-time" => {
                        &mut meta.annotations.triggered
                    }
                    b"k8s.io/initial-events-end" => &mut meta.annotations.end,
                    _ => continue,
                };
                *place = Some(text(value)?.into());
            }
            _ => {}
        }
    }
    Ok(meta)
}

/// An entry of a map of strings.
fn entry(octets: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    Ok((
        last(octets, 1)?.unwrap_or_default(),
        last(octets, 2)?.unwrap_or_default(),
    ))
}

/// The field of this number, as it came last.
fn last(octets: &[u8], number: u64) -> Result<Option<&[u8]>, Malformed> {
    all(octets, number).try_fold(None, |_, octets| octets.map(Some))
}

/// All fields of this number.
fn all(octets: &[u8], number: u64) -> impl Iterator<Item = Result<&[u8], Malformed>> {
    Fields(octets).filter_map(move |field| match field {
        Ok((found, Value::Octets(octets))) if found == number => Some(Ok(octets)),
        Ok(_) => None,
        Err(error) => Some(Err(error)),
    })
}

fn text(octets: &[u8]) -> Result<&str, Malformed> {
    std::str::from_utf8(octets).map_err(|_| Malformed("a text is not UTF-8"))
}

/// What a field holds.
enum Value<'a> {
    /// An integer, a boolean, or a number of fixed length, which nothing here needs.
    Number(u64),
    /// A text, a message, or an entry of a map.
    Octets(&'a [u8]),
}

/// The fields of a message, in order; after an error there is none.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Value<'a>), Malformed>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.0 = &[];
        }
        Some(field.ok_or(Malformed("a message is cut off or invalid")))
    }
}

impl<'a> Fields<'a> {
    #[inline]
    fn field(&mut self) -> Option<(u64, Value<'a>)> {
        let key = self.number()?;
        let value = match key & 7 {
            0 => Value::Number(self.number()?),
            1 => self.skip(8)?,
            2 => {
                let len = usize::try_from(self.number()?).ok()?;
                let (octets, rest) = self.0.split_at_checked(len)?;
                self.0 = rest;
                Value::Octets(octets)
            }
            5 => self.skip(4)?,
            // Groups are used by no message of the API.
            _ => return None,
        };
        Some((key >> 3, value))
    }

    fn skip(&mut self, len: usize) -> Option<Value<'a>> {
        self.0 = self.0.get(len..)?;
        Some(Value::Number(0))
    }

    /// A number in groups of seven bits, the lowest first.
    #[inline]
    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let (&octet, rest) = self.0.split_first()?;
            self.0 = rest;
            number |= u64::from(octet & 0x7F) << shift;
            if octet < 0x80 {
                return Some(number);
            }
        }
        None
    }
}

/// Puts together frames that come in pieces.
#[derive(Default)]
pub(super) struct Frames {
    /// A frame that has begun, with its length before it.
    begun: Vec<u8>,
}

impl Frames {
    /// Takes the next piece; `frame` gets every frame that it ends, until it wants no more.
    ///
    /// # Errors
    /// When a frame is longer than any object.
    pub(super) fn feed(
        &mut self,
        mut piece: &[u8],
        mut frame: impl FnMut(&[u8]) -> bool,
    ) -> Result<(), TooLong> {
        while !piece.is_empty() {
            if self.begun.is_empty()
                && let Some(len) = length(piece)?
                && let Some((whole, rest)) = piece.split_at_checked(len)
            {
                piece = rest;
                if !frame(&whole[HEAD..]) {
                    return Ok(());
                }
                continue;
            }
            let wanted = length(&self.begun)?.unwrap_or(HEAD) - self.begun.len();
            let (part, rest) = piece.split_at(wanted.min(piece.len()));
            self.begun.extend_from_slice(part);
            piece = rest;
            if length(&self.begun)? == Some(self.begun.len()) {
                let more = frame(&self.begun[HEAD..]);
                self.begun.clear();
                // One large object is not to be paid for as long as the watch lasts.
                self.begun.shrink_to(64 << 10);
                if !more {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Whether a frame has begun and not ended.
    pub(super) fn midway(&self) -> bool {
        !self.begun.is_empty()
    }
}

/// The octets of a frame's length.
const HEAD: usize = 4;

/// How long a frame is with its head, once that is known.
fn length(begun: &[u8]) -> Result<Option<usize>, TooLong> {
    let Some(head) = begun.first_chunk::<HEAD>() else {
        return Ok(None);
    };
    match u32::from_be_bytes(*head) as usize {
        len if len > LONGEST => Err(TooLong),
        len => Ok(Some(HEAD + len)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::change::Object;

    /// A field of octets, its length in two octets always, which is not the shortest form but a valid one.
    fn field(number: u8, octets: &[u8]) -> Vec<u8> {
        let len = octets.len();
        assert!(len < 0x4000, "a short field");
        let head = [number << 3 | 2, len as u8 | 0x80, (len >> 7) as u8];
        [&head, octets].concat()
    }

    fn envelope_of(object: &[u8]) -> Vec<u8> {
        [MAGIC, &field(1, b"type"), &field(2, object)].concat()
    }

    fn event_of(what: &str, object: &[u8]) -> Vec<u8> {
        let extension = field(1, &envelope_of(object));
        [field(1, what.as_bytes()), field(2, &extension)].concat()
    }

    fn slice_of() -> Vec<u8> {
        let label = [field(1, b"kubernetes.io/service-name"), field(2, b"web")].concat();
        let meta = [
            field(1, b"s"),
            field(3, b"ns"),
            field(6, b"7"),
            field(11, &label),
        ]
        .concat();
        let endpoint = [field(1, b"10.0.0.1"), vec![0x12, 2, 0x08, 0]].concat();
        [field(1, &meta), field(2, &endpoint)].concat()
    }

    #[test]
    fn what_is_not_known_is_stepped_over() {
        // A number of 64 bits, ten octets; fields of eight and of four octets; a text.
        let others = [
            &[
                0xA0, 0x06, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1,
            ][..],
            &[0xA1, 0x06, 1, 2, 3, 4, 5, 6, 7, 8],
            &[0xA5, 0x06, 1, 2, 3, 4],
            &[0xA2, 0x06, 2, b'x', b'y'],
        ]
        .concat();
        let object = [&*others, &slice_of(), &others].concat();
        let read = event(Kind::EndpointSlice, &event_of("ADDED", &object)).expect("an event");
        let Event::Put(Object::EndpointSlice(slice), version) = read else {
            panic!("{read:?}");
        };
        assert_eq!(
            (&*slice.name, &*slice.service, &*version),
            ("s", "web", "7")
        );
        assert_eq!(
            (slice.endpoints.len(), slice.endpoints[0].ready),
            (1, false)
        );
        let negative = [&field(1, b"p")[..], &[0x18], &[0xFF; 9], &[1]].concat();
        assert_eq!(port(&negative).map(|port| port.port), Ok(Some(-1)));
    }

    #[test]
    fn words_make_events() {
        let of = |what| event(Kind::EndpointSlice, &event_of(what, &slice_of()));
        assert!(matches!(of("MODIFIED"), Ok(Event::Put(..))));
        assert!(matches!(of("DELETED"), Ok(Event::Remove(..))));
        let end = [field(1, b"k8s.io/initial-events-end"), field(2, b"true")].concat();
        let mark = field(1, &[field(6, b"9"), field(12, &end)].concat());
        for kind in [
            Kind::Namespace,
            Kind::Service,
            Kind::EndpointSlice,
            Kind::Pod,
        ] {
            let read = event(kind, &event_of("BOOKMARK", &mark)).expect("an event");
            assert!(matches!(read, Event::Bookmark(version, true) if &*version == "9"));
        }
        let said = [
            &field(3, b"too old")[..],
            &field(4, b"Expired"),
            &[0x30, 0x9A, 0x03],
        ]
        .concat();
        let failed = event(Kind::Pod, &event_of("ERROR", &said)).expect("an event");
        let refused = status(&envelope_of(&said)).expect("a status");
        let Event::Failed(failed) = failed else {
            panic!("{failed:?}");
        };
        for status in [failed, refused] {
            assert_eq!(
                (&*status.message, &*status.reason, status.code),
                ("too old", "Expired", 410)
            );
        }
        assert!(status(b"{\"code\": 410}").is_none());
    }

    #[test]
    fn no_octets_are_a_panic() {
        let whole = event_of("ADDED", &slice_of());
        for cut in 0..whole.len() {
            assert!(event(Kind::EndpointSlice, &whole[..cut]).is_err(), "{cut}");
        }
        for at in 0..whole.len() {
            for change in [0x01, 0x80, 0xFF] {
                let mut changed = whole.clone();
                changed[at] ^= change;
                for kind in Kind::ALL {
                    let _ = event(kind, &changed);
                }
            }
        }
    }

    #[test]
    fn frames_come_in_any_pieces() {
        let frames: [&[u8]; 4] = [b"one", b"", &[7; 300], b"last"];
        let stream: Vec<u8> = frames
            .iter()
            .flat_map(|frame| [&(frame.len() as u32).to_be_bytes()[..], frame].concat())
            .collect();
        for size in [1, 2, 3, 5, 7, 100, 1_000] {
            let (mut reader, mut read) = (Frames::default(), Vec::new());
            for piece in stream.chunks(size) {
                let fed = reader.feed(piece, |frame| {
                    read.push(frame.to_vec());
                    true
                });
                assert!(fed.is_ok());
            }
            assert_eq!(read, frames, "{size}");
            assert!(!reader.midway());
        }
        let mut reader = Frames::default();
        assert!(reader.feed(&[0, 0, 0, 9, 1], |_| true).is_ok() && reader.midway());
        assert!(Frames::default().feed(&[0xFF; 4], |_| true).is_err());
    }
}
