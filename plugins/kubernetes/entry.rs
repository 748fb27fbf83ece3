//! The entries of the store: services and slices of endpoints in their smallest form, and a group of both with answers made ready.
//!
//! Names are labels in wire form, addresses are sixteen octets (IPv4 mapped), ports are interned by the store. Nothing is kept that
//! no answer needs. An entry is immutable: a change makes another one.

use std::cmp::Ordering;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// An address; IPv4 as IPv4-mapped IPv6 (RFC 4291, section 2.5.5.2).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Address([u8; 16]);

impl Address {
    /// The octets of an IPv4 address; `None` for IPv6.
    #[inline]
    pub(super) fn v4(&self) -> Option<&[u8; 4]> {
        match self.0.split_at(12) {
            ([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF], v4) => v4.first_chunk(),
            _ => None,
        }
    }

    /// The RDATA of its A or AAAA record.
    #[inline]
    pub(super) fn rdata(&self) -> &[u8] {
        match self.v4() {
            Some(v4) => v4,
            None => &self.0,
        }
    }

    /// What it is hashed by.
    #[inline]
    pub(super) fn hash(&self) -> u64 {
        key(&self.0)
    }

    /// The address for people.
    pub(super) fn ip(&self) -> IpAddr {
        match self.v4() {
            Some(v4) => Ipv4Addr::from(*v4).into(),
            None => Ipv6Addr::from(self.0).into(),
        }
    }

    /// Reads presentation format; `None` for what is no address.
    pub(super) fn parse(text: &str) -> Option<Self> {
        text.parse::<IpAddr>().ok().map(Self::from)
    }
}

impl From<IpAddr> for Address {
    fn from(ip: IpAddr) -> Self {
        Self(match ip {
            IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
            IpAddr::V6(ip) => ip.octets(),
        })
    }
}

/// The keyed hash of a run of octets.
#[inline]
pub(super) fn key(octets: &[u8]) -> u64 {
    let mut state = wire::seed();
    let mut chunks = octets.chunks_exact(8);
    for chunk in &mut chunks {
        state = wire::mix(
            state,
            u64::from_le_bytes(chunk.try_into().unwrap_or([0; 8])),
        );
    }
    let mut last = [0; 8];
    let rest = chunks.remainder();
    last[..rest.len()].copy_from_slice(rest);
    last[7] = rest.len() as u8;
    wire::mix(state, u64::from_le_bytes(last))
}

/// Labels in wire form without a root, in lower case: `\x03svc\x02ns`, or a namespace alone.
#[derive(PartialEq, Eq, Hash, Debug)]
pub(super) struct Labels(Box<[u8]>);

impl Labels {
    /// One label for each text, in order; `None` when one is no label.
    pub(super) fn new(texts: &[&str]) -> Option<Self> {
        let mut octets = Vec::with_capacity(texts.iter().map(|text| 1 + text.len()).sum());
        for text in texts {
            push_label(&mut octets, text)?;
        }
        Some(Self(octets.into()))
    }

    /// The octets.
    #[inline]
    pub(super) fn octets(&self) -> &[u8] {
        &self.0
    }

    /// What it is hashed by.
    #[inline]
    pub(super) fn hash(&self) -> u64 {
        key(&self.0)
    }

    /// The namespace of `SVC.NS`.
    pub(super) fn namespace(&self) -> &[u8] {
        let first = self.0.first().map_or(0, |&len| 1 + len as usize);
        self.0.get(first..).unwrap_or_default()
    }
}

/// Appends `text` as a label in lower case.
fn push_label(octets: &mut Vec<u8>, text: &str) -> Option<()> {
    let len = u8::try_from(text.len())
        .ok()
        .filter(|len| (1..=63).contains(len))?;
    octets.push(len);
    octets.extend(text.bytes().map(|octet| octet.to_ascii_lowercase()));
    Some(())
}

/// The protocol of a port.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Protocol {
    /// None that is known.
    Other,
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

/// A port.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Port {
    /// Its number; `None` where no port is declared: there are addresses then, and no SRV records.
    pub(super) number: Option<u16>,
    /// Its protocol.
    pub(super) protocol: Protocol,
    /// Its name in lower case; may be empty.
    pub(super) name: Box<[u8]>,
}

impl Port {
    /// What stands where no port is declared.
    pub(super) fn undeclared() -> Self {
        Self {
            number: None,
            protocol: Protocol::Other,
            name: Box::default(),
        }
    }
}

/// `_PORT._PROTOCOL` of a question; an empty one is any.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct PortFilter<'a> {
    /// The port's name.
    pub(super) name: &'a [u8],
    /// The protocol.
    pub(super) protocol: &'a [u8],
}

impl PortFilter<'_> {
    /// Any port.
    pub(super) const ANY: PortFilter<'static> = PortFilter {
        name: b"",
        protocol: b"",
    };

    /// Whether `port` is one that is asked for.
    #[inline]
    pub(super) fn admits(&self, port: &Port) -> bool {
        let protocol: &[u8] = match port.protocol {
            Protocol::Other => b"",
            Protocol::Tcp => b"tcp",
            Protocol::Udp => b"udp",
            Protocol::Sctp => b"sctp",
        };
        (self.name.is_empty() || self.name == &*port.name)
            && (self.protocol.is_empty() || self.protocol == protocol)
    }
}

/// A ready endpoint of a slice.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Endpoint {
    /// Its address.
    pub(super) address: Address,
    /// The hash of its label.
    pub(super) hash: u32,
    /// Where its label stands in the slice's text; 0 for one that is made of the address.
    label: u32,
    /// Where its topology zone stands there, as labels behind a length; 0 for none.
    zone: u32,
}

/// What an endpoint slice says, apart from what it belongs to.
#[derive(PartialEq, Eq)]
pub(super) struct Slice {
    /// Its ready endpoints, one for each address.
    pub(super) endpoints: Box<[Endpoint]>,
    /// Its ports; never empty.
    pub(super) ports: Arc<[Port]>,
    /// Labels, each behind its length; the first is the cluster that it was imported from, or a zero.
    text: Box<[u8]>,
}

/// Room for a label made of an address: `ffff-…-ffff`, its length first.
pub(super) type LabelRoom = [u8; 64];

impl Slice {
    /// The cluster that it was imported from, as a label in wire form; nothing for one of this cluster.
    pub(super) fn cluster(&self) -> &[u8] {
        label_at(&self.text, 0)
            .filter(|label| label.len() > 1)
            .unwrap_or_default()
    }

    /// The label of an endpoint, in wire form.
    #[inline]
    pub(super) fn label<'a>(&'a self, endpoint: &Endpoint, room: &'a mut LabelRoom) -> &'a [u8] {
        match endpoint.label {
            0 => dashed(&endpoint.address, room),
            at => label_at(&self.text, at as usize).unwrap_or_default(),
        }
    }

    /// The label of an endpoint when it is not made of its address.
    pub(super) fn own_label(&self, endpoint: &Endpoint) -> Option<&[u8]> {
        let at = Some(endpoint.label as usize).filter(|&at| at > 0)?;
        label_at(&self.text, at)
    }

    /// The topology zone of an endpoint, as labels in wire form; nothing when it has none.
    pub(super) fn zone(&self, endpoint: &Endpoint) -> &[u8] {
        match endpoint.zone {
            0 => &[],
            at => label_at(&self.text, at as usize)
                .and_then(|zone| zone.get(1..))
                .unwrap_or_default(),
        }
    }
}

/// The length octet at `at` and what it counts.
fn label_at(text: &[u8], at: usize) -> Option<&[u8]> {
    let len = *text.get(at)? as usize;
    text.get(at..at + 1 + len)
}

/// The label that an address makes: dots and colons as dashes, and a zero behind a dash that would be last.
fn dashed<'a>(address: &Address, room: &'a mut LabelRoom) -> &'a [u8] {
    let mut len = write_dashed(address, &mut room[1..]);
    if room[len] == b'-' {
        len += 1;
        room[len] = b'0';
    }
    room[0] = len as u8;
    &room[..=len]
}

/// The numbers of an octet, each with a dash behind it.
const DASHED: [[u8; 4]; 256] = {
    let mut all = [[b'-'; 4]; 256];
    let mut number = 0;
    while number < 256 {
        let digits = [
            b'0' + (number / 100) as u8,
            b'0' + (number / 10 % 10) as u8,
            b'0' + (number % 10) as u8,
        ];
        let skip = 2 - (number >= 10) as usize - (number >= 100) as usize;
        let mut at = skip;
        while at < 3 {
            all[number][at - skip] = digits[at];
            at += 1;
        }
        number += 1;
    }
    all
};

/// Writes an address with dashes into sixteen octets at least, forty for IPv6; gives its length. What stands behind it is of no use.
pub(super) fn write_dashed(address: &Address, room: &mut [u8]) -> usize {
    use std::io::Write;
    if let Some(v4) = address.v4() {
        let mut at = 0;
        for &octet in v4 {
            // Four octets are written whatever the number has; the next one begins where its dash ends.
            if let Some(place) = room.get_mut(at..at + 4) {
                place.copy_from_slice(&DASHED[octet as usize]);
            }
            at += 2 + usize::from(octet >= 10) + usize::from(octet >= 100);
        }
        return at - 1;
    }
    let mut rest: &mut [u8] = room;
    let whole = rest.len();
    // An address has 39 characters at most: there is always room.
    let _ = write!(rest, "{}", Ipv6Addr::from(address.0));
    let len = whole - rest.len();
    for octet in &mut room[..len] {
        if matches!(octet, b':' | b'.') {
            *octet = b'-';
        }
    }
    len
}

/// The hash by which labels of endpoints are ordered and found.
#[inline]
pub(super) fn label_hash(label: &[u8]) -> u32 {
    key(label) as u32
}

/// A slice being read.
#[derive(Default)]
pub(super) struct SliceBuilder {
    endpoints: Vec<Endpoint>,
    text: Vec<u8>,
}

impl SliceBuilder {
    /// A slice of this cluster, or of the one it was imported from.
    pub(super) fn new(cluster: &str) -> Self {
        let mut text = Vec::new();
        if cluster.is_empty() || push_label(&mut text, cluster).is_none() {
            text.push(0);
        }
        Self {
            endpoints: Vec::new(),
            text,
        }
    }

    /// Adds an address, with the name that the endpoint has of its own and its topology zone.
    pub(super) fn push(&mut self, address: Address, name: Option<&str>, zone: Option<&str>) {
        let label = name.and_then(|name| self.intern(|text| push_label(text, name)));
        let zone = zone.and_then(|zone| self.intern(|text| push_zone(text, zone)));
        let mut endpoint = Endpoint {
            address,
            hash: 0,
            label: label.unwrap_or(0),
            zone: zone.unwrap_or(0),
        };
        let mut room = [0; 64];
        let label = match endpoint.label {
            0 => dashed(&address, &mut room),
            at => label_at(&self.text, at as usize).unwrap_or_default(),
        };
        endpoint.hash = label_hash(label);
        self.endpoints.push(endpoint);
    }

    /// Appends a text, unless it is what was appended last: the addresses of one endpoint share its name, and many share a zone.
    fn intern(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Option<()>) -> Option<u32> {
        let at = self.text.len();
        if write(&mut self.text).is_none() {
            self.text.truncate(at);
            return None;
        }
        let (before, new) = self.text.split_at(at);
        let known = (0..before.len())
            .rev()
            .take(256)
            .find(|&start| start > 0 && before.get(start..start + new.len()) == Some(new));
        if let Some(start) = known {
            self.text.truncate(at);
            return u32::try_from(start).ok();
        }
        u32::try_from(at).ok()
    }

    /// The slice.
    pub(super) fn build(self, ports: Arc<[Port]>) -> Slice {
        Slice {
            endpoints: self.endpoints.into(),
            ports,
            text: self.text.into(),
        }
    }
}

/// Appends a topology zone, whose value may have dots, as labels behind their length.
fn push_zone(text: &mut Vec<u8>, zone: &str) -> Option<()> {
    let at = text.len();
    text.push(0);
    for label in zone.split('.') {
        push_label(text, label)?;
    }
    text[at] = u8::try_from(text.len() - at - 1).ok()?;
    Some(())
}

/// What a service is reached by.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Form {
    /// Addresses of its own.
    Addresses(Box<[Address]>),
    /// Its endpoints.
    Headless,
    /// Another name, in wire form; `None` when what it stands for is no name.
    Alias(Option<Box<[u8]>>),
}

/// How a service is reached from outside.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Outside {
    /// At an address.
    Address(Address),
    /// At a host, in wire form.
    Host(Box<[u8]>),
}

/// What a service says, apart from its name.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Service {
    /// What it is reached by.
    pub(super) form: Form,
    /// Its ports; empty only for an import without any.
    pub(super) ports: Arc<[Port]>,
    /// How it is reached from outside.
    pub(super) outside: Box<[Outside]>,
}

/// An endpoint of a group: the slice and the place within it.
#[derive(Clone, Copy)]
pub(super) struct Reference {
    slice: u16,
    endpoint: u16,
}

/// Whether a query for the addresses of a service is answered by records that are ready.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Direct {
    /// Yes: they are its endpoints', or it has addresses and endpoints.
    Yes,
    /// Yes, unless services without endpoints are to be ignored.
    Empty,
    /// No: it is not that simple.
    No,
}

/// The length of an A record whose owner is a pointer.
pub(super) const A_LEN: usize = 16;
/// The length of an AAAA record whose owner is a pointer.
pub(super) const AAAA_LEN: usize = 28;

/// A service and the slices of its endpoints; either may be missing.
///
/// Its name and its records stand behind each other: what a query for its addresses reads is here and there, and nowhere else.
pub(super) struct Group {
    /// Its name in wire form, then the A records of that name, then the AAAA records, ready to send.
    text: Box<[u8]>,
    /// Where the A records begin, and where they end.
    records: (u32, u32),
    /// Whether those records are the whole answer, see [`Direct`].
    direct: Direct,
    /// Its name.
    pub(super) labels: Arc<Labels>,
    /// The service.
    pub(super) service: Option<Arc<Service>>,
    /// The slices.
    pub(super) slices: Box<[Arc<Slice>]>,
    /// All endpoints, by hash, label, cluster and address: those of one name stand together.
    order: Box<[Reference]>,
    /// Whether an address stands under two names, so that a filtered answer has to look for repetitions.
    twins: bool,
}

impl Group {
    /// A group with its answers made ready.
    pub(super) fn new(
        labels: Arc<Labels>,
        service: Option<Arc<Service>>,
        slices: Box<[Arc<Slice>]>,
        ttl: u32,
    ) -> Self {
        let mut group = Self {
            text: labels.octets().into(),
            records: (labels.octets().len() as u32, labels.octets().len() as u32),
            direct: Direct::No,
            labels,
            service,
            slices,
            order: Box::default(),
            twins: false,
        };
        group.arrange();
        group.make_ready(ttl);
        group
    }

    /// Puts the endpoints in order.
    fn arrange(&mut self) {
        let mut order: Vec<Reference> =
            Vec::with_capacity(self.slices.iter().map(|slice| slice.endpoints.len()).sum());
        for (number, slice) in self.slices.iter().enumerate() {
            for place in 0..slice.endpoints.len() {
                if let (Ok(slice), Ok(endpoint)) = (u16::try_from(number), u16::try_from(place)) {
                    order.push(Reference { slice, endpoint });
                }
            }
        }
        order.sort_by(|a, b| self.compare(*a, *b));
        self.order = order.into();
    }

    fn compare(&self, a: Reference, b: Reference) -> Ordering {
        let ((a_slice, a), (b_slice, b)) = (self.endpoint(a), self.endpoint(b));
        a.hash.cmp(&b.hash).then_with(|| {
            let (mut a_room, mut b_room) = ([0; 64], [0; 64]);
            a_slice
                .label(a, &mut a_room)
                .cmp(b_slice.label(b, &mut b_room))
                .then_with(|| a_slice.cluster().cmp(b_slice.cluster()))
                .then_with(|| a.address.cmp(&b.address))
        })
    }

    fn make_ready(&mut self, ttl: u32) {
        let mut addresses: Vec<Address> = match self.service.as_ref().map(|service| &service.form) {
            Some(Form::Addresses(addresses)) => addresses.to_vec(),
            Some(Form::Headless) => self
                .endpoints()
                .map(|(_, endpoint)| endpoint.address)
                .collect(),
            Some(Form::Alias(_)) | None => return,
        };
        let all = addresses.len();
        addresses.sort_unstable();
        addresses.dedup();
        self.twins = addresses.len() < all;
        let mut text = Vec::from(self.labels.octets());
        let begin = text.len();
        let mut aaaa = Vec::new();
        for address in &addresses {
            let (out, rtype) = if address.v4().is_some() {
                (&mut text, 1)
            } else {
                (&mut aaaa, 28)
            };
            let rdata = address.rdata();
            out.extend_from_slice(&[0xC0, 0x0C, 0, rtype, 0, 1]);
            out.extend_from_slice(&ttl.to_be_bytes());
            out.extend_from_slice(&[0, rdata.len() as u8]);
            out.extend_from_slice(rdata);
        }
        self.records = (begin as u32, text.len() as u32);
        text.extend_from_slice(&aaaa);
        self.text = text.into();
        let declared = self
            .service
            .as_ref()
            .map(|service| !service.ports.is_empty());
        self.direct = match (
            &self.service.as_ref().map(|service| &service.form),
            declared,
        ) {
            (Some(Form::Headless), _) => Direct::Yes,
            (Some(Form::Addresses(_)), Some(true)) if self.has_endpoints() => Direct::Yes,
            (Some(Form::Addresses(_)), Some(true)) => Direct::Empty,
            _ => Direct::No,
        };
    }

    /// Its name in wire form.
    #[inline]
    pub(super) fn name(&self) -> &[u8] {
        self.text.get(..self.records.0 as usize).unwrap_or_default()
    }

    /// The A records of its name, ready to send.
    #[inline]
    pub(super) fn a(&self) -> &[u8] {
        let (begin, end) = self.records;
        self.text
            .get(begin as usize..end as usize)
            .unwrap_or_default()
    }

    /// The AAAA records.
    #[inline]
    pub(super) fn aaaa(&self) -> &[u8] {
        self.text.get(self.records.1 as usize..).unwrap_or_default()
    }

    /// Whether those are the answer to a query for its addresses.
    #[inline]
    pub(super) fn direct(&self) -> Direct {
        self.direct
    }

    #[inline]
    fn endpoint(&self, reference: Reference) -> (&Slice, &Endpoint) {
        let slice = &self.slices[reference.slice as usize];
        (slice, &slice.endpoints[reference.endpoint as usize])
    }

    /// All endpoints, in order.
    pub(super) fn endpoints(&self) -> impl Iterator<Item = (&Slice, &Endpoint)> + Clone {
        self.order.iter().map(|&reference| self.endpoint(reference))
    }

    /// Whether it has an endpoint.
    pub(super) fn has_endpoints(&self) -> bool {
        !self.order.is_empty()
    }

    /// Whether nothing is left of it.
    pub(super) fn is_empty(&self) -> bool {
        self.service.is_none() && self.slices.is_empty()
    }

    /// Whether an address stands under two names.
    pub(super) fn has_twins(&self) -> bool {
        self.twins
    }

    /// The endpoints of this label (in wire form) and cluster (in wire form, or nothing).
    pub(super) fn named<'a>(
        &'a self,
        label: &'a [u8],
        cluster: &'a [u8],
    ) -> impl Iterator<Item = (&'a Slice, &'a Endpoint)> + Clone {
        let hash = label_hash(label);
        let first = self
            .order
            .partition_point(|&reference| self.endpoint(reference).1.hash < hash);
        self.order[first..]
            .iter()
            .map(|&reference| self.endpoint(reference))
            .take_while(move |(_, endpoint)| endpoint.hash == hash)
            .filter(move |(slice, endpoint)| {
                let mut room = [0; 64];
                slice.label(endpoint, &mut room) == label && slice.cluster() == cluster
            })
    }
}
