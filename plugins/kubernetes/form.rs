//! What a name below a zone asks for, by its labels alone (Kubernetes DNS specification 1.1, section 2, and CoreDNS's extensions).

use wire::Qname;

use super::entry::PortFilter;

/// What a name asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Form<'a> {
    /// The zone itself.
    Apex,
    /// A name that is there because names below it are: `svc`, `pod`, `dns`.
    Empty,
    /// `ns.dns`.
    NameServer,
    /// `dns-version`.
    Version,
    /// `NS.svc`: the namespace, a label in wire form.
    ServiceNamespace(&'a [u8]),
    /// `NS.pod`.
    PodNamespace(&'a [u8]),
    /// `POD.NS.pod`: the pod's label without its length, and the namespace in wire form.
    Pod(&'a [u8], &'a [u8]),
    /// `[…].SVC.NS.svc`.
    Service(ServiceName<'a>),
    /// Nothing that a cluster has.
    Invalid,
}

/// A service, and what is asked of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct ServiceName<'a> {
    /// `SVC.NS` in wire form.
    pub(super) labels: &'a [u8],
    /// `NS` in wire form.
    pub(super) namespace: &'a [u8],
    /// What stands before it.
    pub(super) part: Part<'a>,
}

/// What is asked of a service.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Part<'a> {
    /// All of it.
    Whole,
    /// `_PORT._PROTOCOL`.
    Ports(PortFilter<'a>),
    /// `ENDPOINT`, or `ENDPOINT.CLUSTER`: labels in wire form, the second one empty where it is not given.
    Endpoint {
        /// The endpoint.
        label: &'a [u8],
        /// The cluster.
        cluster: &'a [u8],
    },
    /// `ZONE.pin._zone` or `ZONE.prefer._zone`: the topology zone's labels in wire form, and whether all endpoints are good when
    /// that zone has none.
    Zone {
        /// The topology zone.
        zone: &'a [u8],
        /// `prefer`.
        prefer: bool,
    },
}

/// Which names there are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Shape {
    /// Whether the zone is a cluster set's.
    pub(super) multicluster: bool,
    /// Whether it is a zone of addresses: it has the name of its server, and none of services and pods.
    pub(super) reverse: bool,
    /// Whether endpoints are asked for by topology zone.
    pub(super) zonal: bool,
}

/// Reads the `left` labels of `qname` that stand left of the zone.
pub(super) fn read<'a>(qname: &'a Qname, left: usize, shape: Shape) -> Form<'a> {
    let octets = qname.name().octets();
    // The labels from number `from` up to number `to`, in wire form.
    let between = |from: usize, to: usize| {
        octets
            .get(qname.suffix_start(from)..qname.suffix_start(to))
            .unwrap_or_default()
    };
    let label = |number: usize| between(number, number + 1);
    let text = |number: usize| label(number).get(1..).unwrap_or_default();
    let Some(last) = left.checked_sub(1) else {
        return Form::Apex;
    };
    let pods = match text(last) {
        b"svc" if !shape.reverse => false,
        b"pod" if !shape.reverse => true,
        b"dns" if left == 1 => return Form::Empty,
        b"dns" if left == 2 && text(0) == b"ns" => return Form::NameServer,
        b"dns-version" if left == 1 && !shape.reverse => return Form::Version,
        _ => return Form::Invalid,
    };
    match (left, pods) {
        (1, _) => return Form::Empty,
        (2, false) => return Form::ServiceNamespace(label(0)),
        (2, true) => return Form::PodNamespace(label(0)),
        // Two labels before a pod's are not looked at: CoreDNS reads them as it does a service's.
        (3..=5, true) => return Form::Pod(text(left - 3), label(left - 2)),
        (_, true) => return Form::Invalid,
        _ => {}
    }
    let before = left - 3;
    let part = match before {
        0 => Part::Whole,
        1 => Part::Endpoint {
            label: label(0),
            cluster: &[],
        },
        2 => {
            let (first, second) = (text(0), text(1));
            if shape.multicluster && !first.starts_with(b"_") && !second.starts_with(b"_") {
                Part::Endpoint {
                    label: label(0),
                    cluster: label(1),
                }
            } else {
                Part::Ports(PortFilter {
                    name: first.strip_prefix(b"_").unwrap_or(first),
                    protocol: second.strip_prefix(b"_").unwrap_or(second),
                })
            }
        }
        _ if shape.zonal && !shape.multicluster && text(before - 1) == b"_zone" => {
            let prefer = match text(before - 2) {
                b"pin" => false,
                b"prefer" => true,
                _ => return Form::Invalid,
            };
            Part::Zone {
                zone: between(0, before - 2),
                prefer,
            }
        }
        _ => return Form::Invalid,
    };
    Form::Service(ServiceName {
        labels: between(before, left - 1),
        namespace: label(left - 2),
        part,
    })
}
