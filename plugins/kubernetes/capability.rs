//! What a cluster offers to other plugins: search paths of pods (`autopath`), and services as seen from outside (`k8s_external`).

use std::net::IpAddr;

use chain::capability::{
    Existence, External, Host, Reachable, SearchPath, Settling, VisitAddress, VisitLabels,
    VisitName, VisitReachable,
};
use wire::{Name, NameBuf, Qname};

use super::entry::{Address, Form, Group, Outside, PortFilter, Service};
use super::snapshot::{Role, Snapshot};
use super::{Kubernetes, Pods};

/// Calls and passes on the wish to stop.
macro_rules! visit {
    ($visit:expr, $item:expr) => {
        if $visit($item).is_break() {
            return true;
        }
    };
}

impl SearchPath for Kubernetes {
    fn search(&self, qname: &Qname, client: IpAddr, visit: VisitName<'_>) -> bool {
        let found = self.zone(qname).filter(|(zone, _)| !zone.reverse);
        let Some((zone, _)) = found.filter(|_| self.pods == Pods::Verified) else {
            return false;
        };
        let snapshot = self.shared.snapshot.load();
        let Some(pod) = snapshot.pods_at(client.to_canonical().into()).next() else {
            return false;
        };
        let origin = zone.origin.as_name();
        let namespace = pod.namespace.octets().get(1..).unwrap_or_default();
        let services = NameBuf::prepend(b"svc", origin);
        let own = services
            .as_ref()
            .ok()
            .and_then(|services| NameBuf::prepend(namespace, services.as_name()).ok());
        for suffix in own.iter().chain(&services) {
            visit!(visit, suffix.as_name());
        }
        visit!(visit, origin);
        for suffix in &self.search {
            visit!(visit, suffix.as_name());
        }
        visit!(visit, Name::ROOT);
        true
    }
}

impl Kubernetes {
    /// A name that is not there, or cannot be known to be.
    fn absent(snapshot: &Snapshot) -> Existence {
        match snapshot.synced {
            true => Existence::NxDomain,
            false => Existence::NotReady,
        }
    }
}

impl External for Kubernetes {
    fn find(
        &self,
        qname: &Qname,
        left: usize,
        headless: bool,
        visit: VisitReachable<'_>,
    ) -> Existence {
        let snapshot = self.shared.snapshot.load();
        let octets = qname.name().octets();
        let between = |from: usize, to: usize| {
            octets
                .get(qname.suffix_start(from)..qname.suffix_start(to))
                .unwrap_or_default()
        };
        let bare = |number: usize| {
            let text = between(number, number + 1).get(1..).unwrap_or_default();
            text.strip_prefix(b"_").unwrap_or(text)
        };
        let (mut filter, mut endpoint): (PortFilter<'_>, &[u8]) = (PortFilter::ANY, b"");
        match left {
            0 => return Existence::Exists,
            1..=2 => {}
            3 => endpoint = between(0, 1),
            4 => {
                filter = PortFilter {
                    name: bare(0),
                    protocol: bare(1),
                }
            }
            _ => return Existence::NxDomain,
        }
        let namespace = between(left - 1, left);
        if !snapshot.exposes(namespace) {
            return Self::absent(&snapshot);
        }
        if left == 1 {
            return Existence::Exists;
        }
        let group = Snapshot::group(&snapshot.services, between(left - 2, left));
        let Some((group, service)) = group.and_then(|group| Some((group, group.service.as_ref()?)))
        else {
            return Self::absent(&snapshot);
        };
        let by_endpoints = headless
            && service.outside.is_empty()
            && (service.form == Form::Headless || !endpoint.is_empty());
        let found = match by_endpoints {
            true => visit_endpoints(group, filter, endpoint, visit),
            // CoreDNS gives a service's addresses under any label before it.
            false => visit_service(group, service, filter, visit),
        };
        match found {
            true => Existence::Exists,
            false => Self::absent(&snapshot),
        }
    }

    fn reverse(&self, address: IpAddr, visit: VisitLabels<'_>) -> Existence {
        let snapshot = self.shared.snapshot.load();
        let mut found = Self::absent(&snapshot);
        for labels in snapshot.owners_of(address.to_canonical().into(), Role::Outside) {
            if self.namespaces && !snapshot.exposes(labels.namespace()) {
                continue;
            }
            found = Existence::Exists;
            if visit(labels.octets()).is_break() {
                break;
            }
        }
        found
    }

    fn servers(&self, headless: bool, visit: VisitAddress<'_>) {
        let snapshot = self.shared.snapshot.load();
        visit_servers(self, &snapshot, headless, visit);
    }

    fn settle(&self) -> Settling<'_> {
        Box::pin(self.wait())
    }

    fn serial(&self) -> u32 {
        self.shared.snapshot.load().serials.outside
    }
}

/// Visits the endpoints that have this label, or all where none is given, once for each port; says whether there was one.
fn visit_endpoints(
    group: &Group,
    filter: PortFilter<'_>,
    endpoint: &[u8],
    visit: VisitReachable<'_>,
) -> bool {
    let mut found = false;
    for (slice, one) in group.endpoints() {
        let mut room = [0; 64];
        let label = slice.label(one, &mut room);
        if !endpoint.is_empty() && label != endpoint {
            continue;
        }
        let mut labels = [0; 255];
        let own = group.labels.octets();
        let len = label.len() + own.len();
        if len > labels.len() {
            continue;
        }
        labels[..label.len()].copy_from_slice(label);
        labels[label.len()..len].copy_from_slice(own);
        for port in slice.ports.iter().filter(|port| filter.admits(port)) {
            found = true;
            let reachable = Reachable {
                host: Host::Address(one.address.ip()),
                port: port.number,
                labels: &labels[..len],
            };
            visit!(visit, reachable);
        }
    }
    found
}

/// Visits what a service is reached by from outside, once for each port; says whether there was something.
fn visit_service(
    group: &Group,
    service: &Service,
    filter: PortFilter<'_>,
    visit: VisitReachable<'_>,
) -> bool {
    let mut found = false;
    for outside in &service.outside {
        let host = match outside {
            Outside::Address(address) => Host::Address(address.ip()),
            Outside::Host(host) => match Name::new(host) {
                Ok(name) => Host::Name(name),
                Err(_) => continue,
            },
        };
        for port in service.ports.iter().filter(|port| filter.admits(port)) {
            found = true;
            let reachable = Reachable {
                host,
                port: port.number,
                labels: group.labels.octets(),
            };
            visit!(visit, reachable);
        }
    }
    found
}

fn visit_servers(
    kubernetes: &Kubernetes,
    snapshot: &Snapshot,
    headless: bool,
    visit: VisitAddress<'_>,
) -> bool {
    let mut is_endpoint = false;
    for &local in &kubernetes.local {
        for labels in snapshot.owners_of(Address::from(local), Role::Endpoint) {
            is_endpoint = true;
            let Some(group) = Snapshot::group(&snapshot.services, labels.octets()) else {
                continue;
            };
            let Some(service) = &group.service else {
                continue;
            };
            if headless && service.form == Form::Headless {
                for (_, endpoint) in group.endpoints() {
                    visit!(visit, endpoint.address.ip());
                }
                continue;
            }
            for outside in &service.outside {
                if let Outside::Address(address) = outside {
                    visit!(visit, address.ip());
                }
            }
        }
    }
    if !is_endpoint {
        for &local in &kubernetes.local {
            visit!(visit, local);
        }
    }
    true
}
