//! `kubernetes`: names of a cluster's services, endpoints and pods, from a watched API.
//!
//! ```text
//!  API server ──► client, watch, decode ── Object ──► store ──► snapshot (immutable) ──► swapped whole ──► query
//!                                                              answers ready as octets
//! ```
//!
//! A query pins the snapshot, reads its labels ([`form`]), finds namespace and service by two look-ups, and copies records that are
//! ready ([`entry`]) or puts them together from pieces that are ([`answer`]). Nothing is allocated or locked, but for a service that
//! stands for another name: that one is asked of the server itself. Before the first lists are complete, a query whose answer
//! depends on them waits, up to `startup_timeout`, and then fails; it is never told that a name does not exist.

mod answer;
mod capability;
mod change;
mod client;
#[cfg(test)]
mod client_tests;
mod decode;
mod entry;
mod field;
mod form;
mod index;
mod labels;
mod metrics;
mod protobuf;
mod selector;
mod setup;
mod snapshot;
mod snapshot_file;
mod store;
#[cfg(test)]
mod tests;
mod watch;
#[cfg(test)]
mod watch_tests;

use std::sync::Arc;
use std::time::Duration;

use chain::trace::Remark;
use chain::{
    Exchange, ExtendedError, Failure, Fallthrough, Flow, Hooks, Plugin, Query, Resolved, Resolving,
    reverse,
};
use wire::{Flags, Full, Name, NameBuf, Qname, Rcode, Response, Section, Type};

use answer::{Names, Writer};
use entry::{Address, Direct, Endpoint, Group, PortFilter, Service, Slice};
use form::{Form, Part, ServiceName, Shape};
use snapshot::{Role, Shared, Snapshot};

pub(crate) use setup::REGISTRATION;

/// What becomes of names of pods.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Pods {
    /// There are none.
    Disabled,
    /// Any address has one, in a namespace that there is.
    Insecure,
    /// Pods have.
    Verified,
}

/// A zone that a cluster is served under.
struct Zone {
    /// The zone, in lower case.
    origin: NameBuf,
    /// The hash of its name.
    hash: u64,
    /// How many labels it has.
    labels: usize,
    /// Whether it is a cluster set's.
    multicluster: bool,
    /// Whether it is a zone of addresses, which has no names of services and pods.
    reverse: bool,
}

/// One `kubernetes` directive at work.
struct Kubernetes {
    /// The zones, the longest first.
    zones: Box<[Zone]>,
    /// The first zone that is not a reverse one: PTR records lead there.
    primary: NameBuf,
    fall: Fallthrough,
    ttl: u32,
    pods: Pods,
    zonal: bool,
    ignore_empty: bool,
    /// Whether namespaces are named in the directive: addresses are then told of by them, too.
    namespaces: bool,
    shared: Arc<Shared>,
    /// Until when ([`host::clock`]) queries wait for the first lists.
    patience: u64,
    /// This server's addresses.
    local: Box<[std::net::IpAddr]>,
    /// What the host's stub resolver appends, for search paths of pods.
    search: Box<[NameBuf]>,
}

/// What a look-up came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Found<'w> {
    /// The name exists; what it has of the type is written.
    Written,
    /// There is no such name, whatever the cluster has.
    Never,
    /// The cluster has no such name.
    NoName,
    /// The name stands for another one, in wire form.
    Alias(&'w [u8]),
}

impl Plugin for Kubernetes {
    fn name(&self) -> &'static str {
        "kubernetes"
    }

    fn hooks(&self) -> Hooks {
        Hooks::QUERY.and(Hooks::LABELS)
    }

    fn label(&self, query: &Query<'_>, label: &str, out: &mut String) -> bool {
        let key = label.strip_prefix("kubernetes/");
        key.is_some_and(|key| self.write_label(query, key, out))
    }

    fn query(&self, query: &mut Query<'_>, response: &mut Response<'_>) -> Result<Flow, Failure> {
        let patient = query.received() < self.patience;
        self.ask(query, response, patient)
    }

    fn resolve(self: Arc<Self>, exchange: Box<Exchange>) -> Resolving {
        Box::pin(self.wait_and_ask(exchange))
    }

    fn ready(&self) -> Option<bool> {
        Some(self.shared.snapshot.load().synced)
    }
}

impl Kubernetes {
    /// The zone that encloses `qname` most closely.
    #[inline]
    fn zone(&self, qname: &Qname) -> Option<(&Zone, usize)> {
        self.zones.iter().find_map(|zone| {
            let left = qname.label_count().checked_sub(zone.labels)?;
            // Both are in lower case: octets are compared, not letters.
            let same = qname.hash(left) == zone.hash
                && qname.suffix(left).octets() == zone.origin.as_name().octets();
            same.then_some((zone, left))
        })
    }

    /// Answers from what is known; with `patient`, an answer that is not known yet is waited for.
    fn ask(
        &self,
        query: &mut Query<'_>,
        response: &mut Response<'_>,
        patient: bool,
    ) -> Result<Flow, Failure> {
        let Some((zone, left)) = self.zone(query.qname()) else {
            query.remark(|| Remark::new("the name is in none of its zones"));
            return Ok(Flow::Next);
        };
        query.remark(|| Remark::new("zone").with("origin", zone.origin));
        let qtype = query.qtype();
        if matches!(qtype, Type::AXFR | Type::IXFR) {
            return Err(Failure::policy(Rcode::REFUSED));
        }
        let snapshot = self.shared.snapshot.load();
        if let Some(records) = self.ready_records(&snapshot, zone, (query.qname(), left), qtype)
            && answer::push_ready(response, records, qtype)
        {
            return Ok(Flow::Answered);
        }
        let pointer = answer::zone_pointer(query.qname(), left);
        let names = Names {
            qname: query.qname(),
            left,
            message: (!query.is_rewritten()).then(|| query.message()),
            pointer: &pointer,
        };
        let serials = &snapshot.serials;
        let serial = if zone.multicluster {
            serials.imported
        } else {
            serials.inside
        };
        let mut writer = Writer::new(response, &names, self.ttl);
        let rcode = match self.look_up(&snapshot, zone, &names, qtype, &mut writer) {
            Found::Written if writer.answers() > 0 => {
                // Whoever asks for SRV wants the addresses, too: TC where they have no room, as CoreDNS has it.
                let limit = query.udp_limit();
                if qtype == Type::SRV && query.transport().is_datagram() && writer.is_beyond(limit)
                {
                    writer.cut();
                }
                return Ok(Flow::Answered);
            }
            // What there is had no room: an empty answer with TC, and no denial.
            Found::Written if writer.is_cut() => return Ok(Flow::Answered),
            Found::Written => Rcode::NOERROR,
            Found::Alias(target) => match qtype {
                Type::CNAME => {
                    writer.alias(target);
                    return Ok(Flow::Answered);
                }
                Type::A | Type::AAAA => return Ok(Flow::Suspend),
                _ => Rcode::NOERROR,
            },
            found => {
                let falls = self.fall.through(names.qname);
                let certain = found == Found::Never || snapshot.synced;
                let address = reverse::address(names.qname).is_some();
                query.remark(|| match certain {
                    true => Remark::new("the cluster has no such name"),
                    false => Remark::new("the cluster has not been read yet"),
                });
                if falls && (certain || address) {
                    response.set_flag(Flags::AA, false);
                    return Ok(Flow::Next);
                }
                if !certain {
                    return if patient {
                        Ok(Flow::Suspend)
                    } else {
                        Err(not_ready())
                    };
                }
                Rcode::NXDOMAIN
            }
        };
        let mut writer = Writer::new(response, &names, self.ttl);
        writer.soa(Section::Authority, serial);
        response.set_rcode(rcode);
        Ok(Flow::Answered)
    }

    /// The records of a service's own name, ready to send: what nearly every query is for. Whatever is not as simple as that is left
    /// to [`Self::look_up`], which would answer the same.
    #[inline]
    fn ready_records<'w>(
        &self,
        snapshot: &'w Snapshot,
        zone: &Zone,
        (qname, left): (&Qname, usize),
        qtype: Type,
    ) -> Option<&'w [u8]> {
        if left != 3 || zone.reverse {
            return None;
        }
        let octets = qname.name().octets();
        let (labels, below) = octets.split_at_checked(qname.suffix_start(2))?;
        if !below.starts_with(b"\x03svc") {
            return None;
        }
        let group = Snapshot::group(snapshot.groups(zone.multicluster), labels)?;
        let records = match qtype {
            Type::A => group.a(),
            Type::AAAA => group.aaaa(),
            _ => return None,
        };
        let has = match group.direct() {
            Direct::Yes => true,
            Direct::Empty => !self.ignore_empty,
            Direct::No => false,
        };
        let namespace = labels.get(qname.suffix_start(1)..)?;
        (has && !records.is_empty() && snapshot.exposes(namespace)).then_some(records)
    }

    /// Finds the name, and writes what it has.
    fn look_up<'w>(
        &self,
        snapshot: &'w Snapshot,
        zone: &Zone,
        names: &Names<'_>,
        qtype: Type,
        writer: &mut Writer<'_, '_>,
    ) -> Found<'w> {
        if names.left > 0
            && let Some(address) = reverse::address(names.qname)
        {
            return self.look_up_address(snapshot, address.into(), qtype, writer);
        }
        let shape = Shape {
            multicluster: zone.multicluster,
            reverse: zone.reverse,
            zonal: self.zonal,
        };
        match form::read(names.qname, names.left, shape) {
            Form::Apex => {
                let serials = &snapshot.serials;
                let serial = if zone.multicluster {
                    serials.imported
                } else {
                    serials.inside
                };
                match qtype {
                    Type::SOA => writer.soa(Section::Answer, serial),
                    Type::NS => {
                        let _ = match zone.reverse {
                            true => reverse_name_servers(snapshot, self.primary.as_name(), writer),
                            false => name_servers(snapshot, writer),
                        };
                    }
                    _ => {}
                }
                Found::Written
            }
            Form::Empty => Found::Written,
            Form::Version => {
                if qtype == Type::TXT {
                    writer.version();
                }
                Found::Written
            }
            Form::NameServer => {
                for (i, server) in snapshot.servers.iter().enumerate() {
                    let told = snapshot.servers[..i]
                        .iter()
                        .any(|before| before.address == server.address);
                    if !told && writer.address(&server.address, qtype).is_err() {
                        break;
                    }
                }
                Found::Written
            }
            Form::ServiceNamespace(namespace) if snapshot.exposes(namespace) => Found::Written,
            Form::PodNamespace(_) | Form::Pod(..) if self.pods == Pods::Disabled => Found::Never,
            Form::PodNamespace(namespace) if snapshot.exposes(namespace) => Found::Written,
            Form::ServiceNamespace(_) | Form::PodNamespace(_) => Found::NoName,
            Form::Pod(pod, namespace) => self.look_up_pod(snapshot, pod, namespace, qtype, writer),
            Form::Service(service) => {
                match Snapshot::group(snapshot.groups(zone.multicluster), service.labels)
                    .filter(|_| snapshot.exposes(service.namespace))
                {
                    Some(group) => self.look_up_service(group, service, qtype, writer),
                    None => Found::NoName,
                }
            }
            Form::Invalid => Found::Never,
        }
    }

    /// A name of `in-addr.arpa` or `ip6.arpa`: a service's, or else the endpoints'.
    fn look_up_address<'w>(
        &self,
        snapshot: &'w Snapshot,
        address: Address,
        qtype: Type,
        writer: &mut Writer<'_, '_>,
    ) -> Found<'w> {
        let told =
            |labels: &entry::Labels| !self.namespaces || snapshot.exposes(labels.namespace());
        let primary = self.primary.as_name();
        // An address is one service's; should it be two's for a moment, the answer does not depend on their order here.
        let service = snapshot
            .owners_of(address, Role::Service)
            .filter(|labels| told(labels))
            .min_by_key(|labels| labels.octets());
        if let Some(labels) = service {
            if qtype == Type::PTR {
                let _ = writer.pointer(b"", labels.octets(), primary);
            }
            return Found::Written;
        }
        let mut found = Found::NoName;
        for labels in snapshot
            .owners_of(address, Role::Endpoint)
            .filter(|labels| told(labels))
        {
            found = Found::Written;
            let group = Snapshot::group(&snapshot.services, labels.octets());
            if let Some(group) = group.filter(|_| qtype == Type::PTR)
                && endpoint_pointers(group, address, primary, writer).is_err()
            {
                return found;
            }
        }
        found
    }

    fn look_up_pod<'w>(
        &self,
        snapshot: &'w Snapshot,
        pod: &[u8],
        namespace: &[u8],
        qtype: Type,
        writer: &mut Writer<'_, '_>,
    ) -> Found<'w> {
        let Some(address) = pod_address(pod) else {
            return Found::Never;
        };
        let known = match self.pods {
            Pods::Disabled => return Found::Never,
            Pods::Insecure => snapshot.exposes(namespace),
            Pods::Verified => {
                let mut room = [0; 64];
                let len = entry::write_dashed(&address, &mut room);
                let mut at = snapshot.pods_at(address);
                room.get(..len) == Some(pod)
                    && at.any(|pod| pod.namespace.octets() == namespace)
                    && snapshot.exposes(namespace)
            }
        };
        if !known {
            return Found::NoName;
        }
        let _ = writer.address(&address, qtype);
        Found::Written
    }

    fn look_up_service<'w>(
        &self,
        group: &'w Group,
        asked: ServiceName<'_>,
        qtype: Type,
        writer: &mut Writer<'_, '_>,
    ) -> Found<'w> {
        let Some(service) = &group.service else {
            return Found::NoName;
        };
        let written = match (&service.form, asked.part) {
            (entry::Form::Alias(Some(target)), Part::Whole) => return Found::Alias(target),
            (entry::Form::Alias(_), _) => return Found::NoName,
            (entry::Form::Addresses(_), _) if self.ignore_empty && !group.has_endpoints() => {
                return Found::NoName;
            }
            (entry::Form::Addresses(_), Part::Zone { .. }) => return Found::NoName,
            (entry::Form::Addresses(addresses), Part::Whole) => {
                write_service(group, service, addresses, PortFilter::ANY, qtype, writer)
            }
            (entry::Form::Addresses(addresses), Part::Ports(filter)) => {
                write_service(group, service, addresses, filter, qtype, writer)
            }
            (entry::Form::Headless, Part::Whole) => {
                let ready = match qtype {
                    Type::A => group.a(),
                    Type::AAAA => group.aaaa(),
                    _ => {
                        return some(write_endpoints(
                            group,
                            group.endpoints(),
                            PortFilter::ANY,
                            qtype,
                            writer,
                        ));
                    }
                };
                writer.ready(ready, qtype);
                Ok(group.has_endpoints())
            }
            (entry::Form::Headless, Part::Ports(filter)) => {
                let wanted = group
                    .endpoints()
                    .filter(|(slice, _)| answer::has_port(&slice.ports, filter));
                write_endpoints(group, wanted, filter, qtype, writer)
            }
            (entry::Form::Headless, Part::Zone { zone, prefer }) => {
                let within = group
                    .endpoints()
                    .filter(|(slice, endpoint)| slice.zone(endpoint) == zone);
                let any = within.clone().next().is_some();
                // The name exists whatever the zone holds: a drained zone is no reason to deny it.
                let _ = match any || !prefer {
                    true => write_endpoints(group, within, PortFilter::ANY, qtype, writer),
                    false => {
                        write_endpoints(group, group.endpoints(), PortFilter::ANY, qtype, writer)
                    }
                };
                Ok(true)
            }
            (_, Part::Endpoint { label, cluster }) => write_endpoints(
                group,
                group.named(label, cluster),
                PortFilter::ANY,
                qtype,
                writer,
            ),
        };
        some(written)
    }

    /// Waits for what is not known yet, as long as the start may take.
    async fn wait(&self) {
        let now = host::clock::now();
        if !self.shared.snapshot.load().synced && now < self.patience {
            let mut synced = self.shared.synced.subscribe();
            let patience = Duration::from_nanos(self.patience - now);
            let _ = tokio::time::timeout(patience, synced.wait_for(|synced| *synced)).await;
        }
    }

    /// Waits for what is not known yet, and follows an alias.
    async fn wait_and_ask(self: Arc<Self>, mut exchange: Box<Exchange>) -> Resolved {
        self.wait().await;
        exchange.begin();
        let Some((mut query, mut response)) = exchange.suspended_views() else {
            return (exchange, Ok(Flow::Next));
        };
        match self.ask(&mut query, &mut response, false) {
            Ok(Flow::Suspend) => self.follow(exchange).await,
            flow => (exchange, flow),
        }
    }

    /// Answers for a service that stands for another name: that name is asked of the server itself.
    ///
    /// A name of the same zone that leads to no address gives no alias, either, as a service without endpoints gives none.
    async fn follow(&self, mut exchange: Box<Exchange>) -> Resolved {
        exchange.begin();
        let Some(query) = exchange.suspended_query() else {
            return (exchange, Ok(Flow::Next));
        };
        let (qname, qtype) = (query.qname().clone(), query.qtype());
        let target = self.target(&qname);
        let Some((zone, left)) = self.zone(&qname) else {
            return (exchange, Ok(Flow::Next));
        };
        let mut found = None;
        if let Some(target) = target.filter(|target| target.as_name() != qname.name()) {
            let own = target.as_name().is_within(zone.origin.as_name());
            if let Ok(mut answered) = chain::look_up(&exchange, target.as_name(), qtype).await
                && (!own || answered.response().count(Section::Answer) > 0)
            {
                found = Some((target, answered));
            }
        }
        let Some((query, mut response)) = exchange.suspended_views() else {
            return (exchange, Ok(Flow::Next));
        };
        let pointer = answer::zone_pointer(&qname, left);
        let names = Names {
            qname: &qname,
            left,
            message: (!query.is_rewritten()).then(|| query.message()),
            pointer: &pointer,
        };
        let mut writer = Writer::new(&mut response, &names, self.ttl);
        match found {
            Some((target, mut answered)) => {
                writer.alias(target.as_name().octets());
                // Where it cannot be read, the alias is the answer.
                let _ = response.take_answers(&answered.response());
            }
            None => {
                let serials = self.shared.snapshot.load().serials;
                let serial = if zone.multicluster {
                    serials.imported
                } else {
                    serials.inside
                };
                writer.soa(Section::Authority, serial);
            }
        }
        (exchange, Ok(Flow::Answered))
    }

    /// What a service's name stands for now.
    fn target(&self, qname: &Qname) -> Option<NameBuf> {
        let (zone, left) = self.zone(qname)?;
        let Form::Service(asked) = form::read(qname, left, Shape::default()) else {
            return None;
        };
        let snapshot = self.shared.snapshot.load();
        let group = Snapshot::group(snapshot.groups(zone.multicluster), asked.labels)?;
        let service = group.service.clone()?;
        match &service.form {
            entry::Form::Alias(Some(target)) => Some(NameBuf::from_name(Name::new(target).ok()?)),
            _ => None,
        }
    }
}

/// The answer to a question that cannot be answered yet.
fn not_ready() -> Failure {
    Failure::servfail("the Kubernetes API has not been heard of yet")
        .extended(ExtendedError::NOT_READY, "the cluster is not known yet")
}

/// A name exists when something of it was found, or there was no room for it.
fn some<'w>(written: Result<bool, Full>) -> Found<'w> {
    match written {
        Ok(false) => Found::NoName,
        Ok(true) | Err(Full) => Found::Written,
    }
}

/// Writes what a service with addresses has on the ports that are asked for; says whether it has such a port.
fn write_service(
    group: &Group,
    service: &Service,
    addresses: &[Address],
    filter: PortFilter<'_>,
    qtype: Type,
    writer: &mut Writer<'_, '_>,
) -> Result<bool, Full> {
    if !answer::has_port(&service.ports, filter) {
        return Ok(false);
    }
    match qtype {
        Type::A => writer.ready(group.a(), qtype),
        Type::AAAA => writer.ready(group.aaaa(), qtype),
        Type::SRV => writer.service_ports(group.labels.octets(), service, addresses, filter)?,
        _ => {}
    }
    Ok(true)
}

/// Writes endpoints; says whether there is one.
fn write_endpoints<'e, I>(
    group: &Group,
    endpoints: I,
    filter: PortFilter<'_>,
    qtype: Type,
    writer: &mut Writer<'_, '_>,
) -> Result<bool, Full>
where
    I: Iterator<Item = (&'e Slice, &'e Endpoint)> + Clone,
{
    match qtype {
        Type::A | Type::AAAA => {
            let mut last = None;
            for (i, (_, endpoint)) in endpoints.clone().enumerate() {
                let repeated = last == Some(endpoint.address)
                    || group.has_twins()
                        && endpoints
                            .clone()
                            .take(i)
                            .any(|(_, before)| before.address == endpoint.address);
                if !repeated {
                    writer.address(&endpoint.address, qtype)?;
                }
                last = Some(endpoint.address);
            }
        }
        Type::SRV => writer.endpoint_ports(group, endpoints.clone(), filter)?,
        _ => {}
    }
    Ok(endpoints.clone().next().is_some())
}

/// Writes the names that an address has among the endpoints of a service.
fn endpoint_pointers(
    group: &Group,
    address: Address,
    zone: Name<'_>,
    writer: &mut Writer<'_, '_>,
) -> Result<(), Full> {
    let (mut last, mut last_len) = ([0; 64], 0);
    for (slice, endpoint) in group
        .endpoints()
        .filter(|(_, endpoint)| endpoint.address == address)
    {
        let mut room = [0; 64];
        let label = slice.label(endpoint, &mut room);
        if last.get(..last_len) == Some(label) {
            continue;
        }
        writer.pointer(label, group.labels.octets(), zone)?;
        last_len = label.len();
        last[..last_len].copy_from_slice(label);
    }
    Ok(())
}

/// Writes the name servers and their addresses.
fn name_servers(snapshot: &Snapshot, writer: &mut Writer<'_, '_>) -> Result<(), Full> {
    for (i, server) in snapshot.servers.iter().enumerate() {
        if snapshot.servers[..i]
            .iter()
            .all(|before| before.labels != server.labels)
        {
            writer.name_server(&server.labels)?;
        }
    }
    for server in snapshot.servers.iter() {
        writer.glue(&server.labels, &server.address)?;
    }
    Ok(())
}

/// Writes the name servers of a zone of addresses: their names are in the cluster's zone, and their addresses are found there.
fn reverse_name_servers(
    snapshot: &Snapshot,
    primary: Name<'_>,
    writer: &mut Writer<'_, '_>,
) -> Result<(), Full> {
    for (i, server) in snapshot.servers.iter().enumerate() {
        let before = &snapshot.servers[..i];
        if before.iter().all(|before| before.labels != server.labels) {
            writer.name_server_within(&server.labels, primary)?;
        }
    }
    Ok(())
}

/// The address that a pod's label stands for.
fn pod_address(label: &[u8]) -> Option<Address> {
    let dashes = label.iter().filter(|&&octet| octet == b'-').count();
    let v4 = dashes == 3 && !label.windows(2).any(|pair| pair == b"--");
    let mut text = [0; 63];
    let text = text.get_mut(..label.len())?;
    for (place, &octet) in text.iter_mut().zip(label) {
        *place = match octet {
            b'-' if v4 => b'.',
            b'-' => b':',
            b'.' | b':' => return None,
            other => other,
        };
    }
    let ip: std::net::IpAddr = std::str::from_utf8(text).ok()?.parse().ok()?;
    Some(ip.into())
}
