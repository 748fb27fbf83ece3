//! The Kubernetes DNS specification, naively: every answer is computed from the plain list of objects, by text.
//!
//! It shares nothing with the plugin but the objects, so that the two can only agree by both being right, or by one misreading.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::super::change::{
    Endpoint, EndpointSlice, Kind, Object, Pod, Port, Service, ServiceImport,
};

/// How names of pods are answered.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum PodMode {
    Disabled,
    Insecure,
    Verified,
}

/// A cluster, as its objects.
#[derive(Default, Clone)]
pub(super) struct Model {
    pub(super) objects: BTreeMap<(&'static str, String, String), Object>,
}

/// The directive.
#[derive(Clone, Debug)]
pub(super) struct Options {
    pub(super) namespaces: Vec<String>,
    pub(super) pods: PodMode,
    pub(super) pod_names: bool,
    pub(super) zonal: bool,
    pub(super) ignore_empty: bool,
}

/// An answer: RCODE and sorted records.
#[derive(PartialEq, Debug, Default)]
pub(super) struct Expected {
    pub(super) rcode: u8,
    pub(super) answers: Vec<String>,
    pub(super) additional: Vec<String>,
    /// The name that the answer leads to.
    pub(super) alias: bool,
}

pub(super) const ZONE: &str = "cluster.local.";
pub(super) const SET: &str = "clusterset.local.";

/// The namespace and the name of an object.
pub(super) fn identity(object: &Object) -> (String, String) {
    match object {
        Object::Namespace(one) => (String::new(), one.name.to_string()),
        Object::Service(one) => (one.namespace.to_string(), one.name.to_string()),
        Object::EndpointSlice(one) => (one.namespace.to_string(), one.name.to_string()),
        Object::Pod(one) => (one.namespace.to_string(), one.name.to_string()),
        Object::ServiceImport(one) => (one.namespace.to_string(), one.name.to_string()),
    }
}

/// A host and a port of a service, and the name that stands for it.
struct Item {
    ip: IpAddr,
    port: Option<i32>,
    name: String,
}

fn nxdomain() -> Expected {
    Expected {
        rcode: 3,
        ..Expected::default()
    }
}

impl Model {
    pub(super) fn put(&mut self, object: Object) {
        if let Object::Pod(pod) = &object
            && pod.terminating
        {
            return;
        }
        let (namespace, name) = identity(&object);
        let key = (object.kind().resource(), namespace, name);
        self.objects.insert(key, object);
    }

    pub(super) fn remove(&mut self, object: &Object) {
        let (namespace, name) = identity(object);
        self.objects
            .remove(&(object.kind().resource(), namespace, name));
    }

    pub(super) fn of(&self, kind: Kind) -> impl Iterator<Item = &Object> {
        self.objects
            .values()
            .filter(move |object| object.kind() == kind)
    }

    fn exposed(&self, options: &Options, namespace: &str) -> bool {
        let configured =
            options.namespaces.is_empty() || options.namespaces.iter().any(|one| one == namespace);
        configured
            && self
                .objects
                .contains_key(&("namespaces", String::new(), namespace.to_owned()))
    }

    fn slices(&self) -> impl Iterator<Item = &EndpointSlice> {
        self.of(Kind::EndpointSlice)
            .filter_map(|object| match object {
                Object::EndpointSlice(slice) => Some(slice),
                _ => None,
            })
    }

    /// The answer to a question, in lower case.
    pub(super) fn answer(&self, options: &Options, name: &str, qtype: &str) -> Expected {
        if let Some(ip) = reverse(name) {
            return self.pointers(options, ip, name, qtype);
        }
        if name.ends_with(".arpa.") {
            let apex = ["in-addr.arpa.", "ip6.arpa."].contains(&name);
            return if apex {
                Expected::default()
            } else {
                nxdomain()
            };
        }
        for (zone, set) in [(ZONE, false), (SET, true)] {
            if name == zone {
                return Expected::default();
            }
            if let Some(rest) = name.strip_suffix(&format!(".{zone}")) {
                let labels: Vec<&str> = rest.split('.').collect();
                return self.below(options, (name, zone, set), &labels, qtype);
            }
        }
        panic!("{name} is in no zone");
    }

    fn below(
        &self,
        options: &Options,
        (name, zone, set): (&str, &str, bool),
        labels: &[&str],
        qtype: &str,
    ) -> Expected {
        match labels {
            ["svc"] | ["pod"] | ["dns"] | ["ns", "dns"] => Expected::default(),
            ["dns-version"] => Expected {
                answers: if qtype == "TXT" {
                    vec![format!("{name} TXT 1.1.0")]
                } else {
                    Vec::new()
                },
                ..Expected::default()
            },
            [.., "pod"] if options.pods == PodMode::Disabled => nxdomain(),
            [namespace, "pod" | "svc"] if self.exposed(options, namespace) => Expected::default(),
            [before @ .., pod, namespace, "pod"] if before.len() <= 2 => {
                self.pod(options, (name, pod, namespace), qtype)
            }
            [before @ .., service, namespace, "svc"] if self.exposed(options, namespace) => {
                let (own, items) = match set {
                    false => self.service(options, zone, before, service, namespace),
                    true => self.import(options, zone, before, service, namespace),
                };
                match (own, items) {
                    (Some(_), _) => Expected {
                        alias: true,
                        ..Expected::default()
                    },
                    (None, None) => nxdomain(),
                    (None, Some(items)) => records(name, qtype, &items),
                }
            }
            _ => nxdomain(),
        }
    }

    fn pod(
        &self,
        options: &Options,
        (name, pod, namespace): (&str, &str, &str),
        qtype: &str,
    ) -> Expected {
        let text = if pod.matches('-').count() == 3 && !pod.contains("--") {
            pod.replace('-', ".")
        } else {
            pod.replace('-', ":")
        };
        let Ok(ip) = text.parse::<IpAddr>() else {
            return nxdomain();
        };
        let known = match options.pods {
            PodMode::Disabled => false,
            PodMode::Insecure => true,
            PodMode::Verified => self.of(Kind::Pod).any(|object| {
                matches!(object, Object::Pod(Pod { namespace: its, ip, .. }) if **its == *namespace && **ip == *text)
            }),
        };
        if !known || !self.exposed(options, namespace) {
            return nxdomain();
        }
        let item = Item {
            ip,
            port: None,
            name: String::new(),
        };
        records(name, qtype, &[item])
    }

    /// What a service has: the name that it stands for, or its hosts and ports; nothing when the name does not exist.
    fn service(
        &self,
        options: &Options,
        zone: &str,
        before: &[&str],
        service: &str,
        namespace: &str,
    ) -> (Option<String>, Option<Vec<Item>>) {
        let key = ("services", namespace.to_owned(), service.to_owned());
        let Some(Object::Service(found)) = self.objects.get(&key) else {
            return (None, None);
        };
        let slices: Vec<&EndpointSlice> = self
            .slices()
            .filter(|slice| *slice.namespace == *namespace && *slice.service == *service)
            .collect();
        let ready = slices
            .iter()
            .flat_map(|slice| &slice.endpoints)
            .any(|endpoint| endpoint.ready);
        if found.external {
            let is_ip = found.external_name.parse::<IpAddr>().is_ok();
            return match before.is_empty() && !is_ip {
                true => (Some(found.external_name.to_string()), None),
                false => (None, None),
            };
        }
        let headless = found.headless();
        if options.ignore_empty && !headless && !ready {
            return (None, None);
        }
        let base = format!("{service}.{namespace}.svc.{zone}");
        let (mut filter, mut endpoint, mut topology) = (None, None, None);
        match before {
            [] => {}
            [one] => endpoint = Some(*one),
            [port, protocol] => filter = Some((bare(port), bare(protocol))),
            [zone @ .., directive @ ("pin" | "prefer"), "_zone"]
                if options.zonal && headless && !zone.is_empty() =>
            {
                topology = Some((zone.join("."), *directive == "prefer"));
            }
            _ => return (None, None),
        }
        if !headless && endpoint.is_none() {
            return (
                None,
                own(&found.cluster_ips, &found.ports, filter, &base, true),
            );
        }
        let mut items = Vec::new();
        let gather = |items: &mut Vec<Item>, topology: Option<&str>| {
            for slice in &slices {
                gather(items, slice, options, (filter, endpoint, topology), &base);
            }
        };
        gather(&mut items, topology.as_ref().map(|(zone, _)| zone.as_str()));
        if let (Some((_, true)), true) = (&topology, items.is_empty()) {
            gather(&mut items, None);
        }
        (
            None,
            (topology.is_some() || !items.is_empty()).then_some(items),
        )
    }

    fn import(
        &self,
        options: &Options,
        zone: &str,
        before: &[&str],
        service: &str,
        namespace: &str,
    ) -> (Option<String>, Option<Vec<Item>>) {
        let key = ("serviceimports", namespace.to_owned(), service.to_owned());
        let Some(Object::ServiceImport(found)) = self.objects.get(&key) else {
            return (None, None);
        };
        let ServiceImport {
            headless,
            ips,
            ports,
            ..
        } = found;
        let slices: Vec<&EndpointSlice> = self
            .slices()
            .filter(|slice| *slice.namespace == *namespace && *slice.imported == *service)
            .collect();
        let ready = slices
            .iter()
            .flat_map(|slice| &slice.endpoints)
            .any(|endpoint| endpoint.ready);
        if options.ignore_empty && !headless && !ready {
            return (None, None);
        }
        let base = format!("{service}.{namespace}.svc.{zone}");
        let (mut filter, mut endpoint) = (None, None);
        match before {
            [] => {}
            [one] => endpoint = Some((*one, "")),
            [port, protocol] if port.starts_with('_') || protocol.starts_with('_') => {
                filter = Some((bare(port), bare(protocol)));
            }
            [one, cluster] => endpoint = Some((*one, *cluster)),
            _ => return (None, None),
        }
        if !headless && endpoint.is_none() {
            return (None, own(ips, ports, filter, &base, false));
        }
        let mut items = Vec::new();
        for slice in slices {
            if endpoint.is_some_and(|(_, cluster)| cluster != &*slice.cluster) {
                continue;
            }
            let base = match slice.cluster.is_empty() {
                true => base.clone(),
                false => format!("{}.{base}", slice.cluster),
            };
            gather(
                &mut items,
                slice,
                options,
                (filter, endpoint.map(|(one, _)| one), None),
                &base,
            );
        }
        (None, (!items.is_empty()).then_some(items))
    }

    fn pointers(&self, options: &Options, ip: IpAddr, name: &str, qtype: &str) -> Expected {
        let told =
            |namespace: &str| options.namespaces.is_empty() || self.exposed(options, namespace);
        let has = |ips: &[Box<str>]| ips.iter().any(|text| text.parse() == Ok(ip));
        let services = self.of(Kind::Service).filter_map(|object| match object {
            Object::Service(service) => Some(service),
            _ => None,
        });
        let mut owners: Vec<&Service> = services
            .filter(|service| {
                !service.external && has(&service.cluster_ips) && told(&service.namespace)
            })
            .collect();
        // Where two have it: the order of the names in wire form.
        owners.sort_by_key(|service| {
            (
                service.name.len(),
                service.name.clone(),
                service.namespace.len(),
                service.namespace.clone(),
            )
        });
        let mut targets: Vec<String> = owners
            .first()
            .map(|service| format!("{}.{}.svc.{ZONE}", service.name, service.namespace))
            .into_iter()
            .collect();
        if targets.is_empty() {
            for slice in self
                .slices()
                .filter(|slice| !slice.service.is_empty() && told(&slice.namespace))
            {
                for endpoint in slice.endpoints.iter().filter(|endpoint| endpoint.ready) {
                    if has(&endpoint.addresses) {
                        let label = label(endpoint, ip, options);
                        targets.push(format!(
                            "{label}.{}.{}.svc.{ZONE}",
                            slice.service, slice.namespace
                        ));
                    }
                }
            }
        }
        if targets.is_empty() {
            return nxdomain();
        }
        targets.sort();
        targets.dedup();
        if qtype != "PTR" {
            targets.clear();
        }
        Expected {
            answers: targets
                .iter()
                .map(|target| format!("{name} PTR {target}"))
                .collect(),
            ..Expected::default()
        }
    }
}

fn bare(label: &str) -> &str {
    label.strip_prefix('_').unwrap_or(label)
}

fn admits(filter: Option<(&str, &str)>, port: &Port) -> bool {
    filter.is_none_or(|(name, protocol)| {
        (name.is_empty() || name.eq_ignore_ascii_case(&port.name))
            && (protocol.is_empty() || protocol.eq_ignore_ascii_case(&port.protocol))
    })
}

/// The ports, or one without a number where there are none.
fn declared(ports: &[Port]) -> Vec<Port> {
    match ports.is_empty() {
        true => vec![Port::default()],
        false => ports.to_vec(),
    }
}

/// What a service with addresses has.
fn own(
    ips: &[Box<str>],
    ports: &[Port],
    filter: Option<(&str, &str)>,
    base: &str,
    sentinel: bool,
) -> Option<Vec<Item>> {
    let ports = if sentinel {
        declared(ports)
    } else {
        ports.to_vec()
    };
    let ports: Vec<&Port> = ports.iter().filter(|port| admits(filter, port)).collect();
    if ports.is_empty() {
        return None;
    }
    let mut items = Vec::new();
    for port in ports {
        for ip in ips.iter().filter_map(|text| text.parse().ok()) {
            items.push(Item {
                ip,
                port: port.port,
                name: base.to_owned(),
            });
        }
    }
    Some(items)
}

type Filters<'a> = (Option<(&'a str, &'a str)>, Option<&'a str>, Option<&'a str>);

/// What a slice has.
fn gather(
    items: &mut Vec<Item>,
    slice: &EndpointSlice,
    options: &Options,
    (filter, wanted, topology): Filters<'_>,
    base: &str,
) {
    for endpoint in slice.endpoints.iter().filter(|endpoint| endpoint.ready) {
        if topology.is_some_and(|zone| endpoint.zone.as_deref() != Some(zone)) {
            continue;
        }
        for ip in endpoint
            .addresses
            .iter()
            .filter_map(|text| text.parse().ok())
        {
            let label = label(endpoint, ip, options);
            if wanted.is_some_and(|wanted| wanted != label) {
                continue;
            }
            for port in declared(&slice.ports)
                .iter()
                .filter(|port| admits(filter, port))
            {
                items.push(Item {
                    ip,
                    port: port.port,
                    name: format!("{label}.{base}"),
                });
            }
        }
    }
}

fn label(endpoint: &Endpoint, ip: IpAddr, options: &Options) -> String {
    if let Some(hostname) = &endpoint.hostname {
        return hostname.to_string();
    }
    if let (true, Some(pod)) = (options.pod_names, &endpoint.target) {
        return pod.to_string();
    }
    let dashed = ip.to_string().replace(['.', ':'], "-");
    if dashed.ends_with('-') {
        dashed + "0"
    } else {
        dashed
    }
}

/// The records of hosts and ports.
fn records(owner: &str, qtype: &str, items: &[Item]) -> Expected {
    let family = |ip: &IpAddr| if ip.is_ipv4() { "A" } else { "AAAA" };
    let mut out = Expected::default();
    let weight = (100 / items.len().max(1)).max(1);
    for item in items {
        if family(&item.ip) == qtype {
            out.answers.push(format!("{owner} {qtype} {}", item.ip));
        }
        if let (Some(port), "SRV") = (item.port, qtype) {
            out.answers
                .push(format!("{owner} SRV 0 {weight} {port} {}", item.name));
            out.additional
                .push(format!("{} {} {}", item.name, family(&item.ip), item.ip));
        }
    }
    for list in [&mut out.answers, &mut out.additional] {
        list.sort();
        list.dedup();
    }
    out
}

/// The address that a reverse name stands for.
fn reverse(name: &str) -> Option<IpAddr> {
    if let Some(rest) = name.strip_suffix(".in-addr.arpa.") {
        let octets: Vec<&str> = rest.split('.').rev().collect();
        return (octets.len() == 4)
            .then(|| octets.join(".").parse().ok())
            .flatten();
    }
    let nibbles: String = name.strip_suffix(".ip6.arpa.")?.split('.').rev().collect();
    (nibbles.len() == 32).then_some(())?;
    u128::from_str_radix(&nibbles, 16)
        .ok()
        .map(|n| IpAddr::V6(n.into()))
}

/// The reverse name of an address.
pub(super) fn reverse_name(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, c, d] = ip.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa.")
        }
        IpAddr::V6(ip) => {
            let nibbles: Vec<String> = format!("{:032x}", u128::from(ip))
                .chars()
                .rev()
                .map(String::from)
                .collect();
            nibbles.join(".") + ".ip6.arpa."
        }
    }
}
