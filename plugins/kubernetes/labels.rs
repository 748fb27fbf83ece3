//! Metadata labels (`kubernetes/namespace` …): what the name that was asked says, and which pod asks.

use std::fmt::Write;

use chain::Query;
use wire::Qname;

use super::entry::Address;
use super::{Kubernetes, Pods};

/// The labels whose values are parts of the name, and where it is no cluster's name the only one: why not.
const PARSE_ERROR: &str = "parse-error";

/// What a name asks for, in CoreDNS's parts; a part that it does not have is empty.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
struct Parts<'a> {
    kind: &'a [u8],
    namespace: &'a [u8],
    service: &'a [u8],
    endpoint: &'a [u8],
    cluster: &'a [u8],
    port: &'a [u8],
    protocol: &'a [u8],
    /// The topology zone: its labels are the first so many of the name.
    zone_labels: usize,
}

/// The text of label number `at`.
fn text(qname: &Qname, at: usize) -> &[u8] {
    let octets = qname.name().octets();
    let label = octets.get(qname.suffix_start(at) + 1..qname.suffix_start(at + 1));
    label.unwrap_or_default()
}

/// Reads the `left` labels of `qname` that stand left of the zone; `None` when they are no name of a cluster.
fn read(qname: &Qname, left: usize, multicluster: bool, zonal: bool) -> Option<Parts<'_>> {
    let mut parts = Parts::default();
    let Some(last) = left.checked_sub(1) else {
        return Some(parts);
    };
    let kind = text(qname, last);
    if kind != b"svc" && kind != b"pod" {
        return None;
    }
    if left == 1 {
        return Some(parts);
    }
    parts.kind = kind;
    parts.namespace = text(qname, left - 2);
    let Some(before) = left.checked_sub(3) else {
        return Some(parts);
    };
    parts.service = text(qname, before);
    match before {
        0 => {}
        1 => parts.endpoint = text(qname, 0),
        2 => {
            let (first, second) = (text(qname, 0), text(qname, 1));
            if multicluster && !first.starts_with(b"_") && !second.starts_with(b"_") {
                (parts.endpoint, parts.cluster) = (first, second);
            } else {
                parts.port = first.strip_prefix(b"_").unwrap_or(first);
                parts.protocol = second.strip_prefix(b"_").unwrap_or(second);
            }
        }
        _ if zonal && !multicluster && text(qname, before - 1) == b"_zone" => {
            parts.zone_labels = before - 2;
        }
        _ => return None,
    }
    Some(parts)
}

/// Appends a label of a name in presentation format, so that no query can write lines of its own.
fn push(out: &mut String, label: &[u8]) {
    for &octet in label {
        match octet {
            b'.' | b'\\' | b'"' => {
                out.push('\\');
                out.push(octet.into());
            }
            0x21..=0x7E => out.push(octet.into()),
            // Writing to a String does not fail.
            _ => drop(write!(out, "\\{octet:03}")),
        }
    }
}

impl Kubernetes {
    /// Appends the value of `kubernetes/KEY`, if there is one.
    pub(super) fn write_label(&self, query: &Query<'_>, key: &str, out: &mut String) -> bool {
        match key.strip_prefix("client-") {
            Some(key) => self.write_client(query, key, out),
            None => self.write_part(&query.asked().qname, key, out),
        }
    }

    /// Appends what is known of the pod that asks.
    fn write_client(&self, query: &Query<'_>, key: &str, out: &mut String) -> bool {
        if self.pods != Pods::Verified {
            return false;
        }
        let snapshot = self.shared.snapshot.load();
        let address = Address::from(query.peer().ip().to_canonical());
        let Some(pod) = snapshot.pods_at(address).next() else {
            return false;
        };
        let details = pod.details.as_deref();
        let label = |name: &str| {
            let labels = details.map(|details| &details.labels)?;
            let found = labels.iter().find(|(known, _)| **known == *name);
            found.map(|(_, value)| &**value)
        };
        let value = match key {
            "namespace" => {
                let namespace = pod.namespace.octets().get(1..).unwrap_or_default();
                std::str::from_utf8(namespace).ok()
            }
            "pod-name" => details.map(|details| &*details.name),
            _ => key.strip_prefix("label/").and_then(label),
        };
        // The API lets no control characters into these.
        value.map(|value| out.push_str(value)).is_some()
    }

    /// Appends a part of the name.
    fn write_part(&self, qname: &Qname, key: &str, out: &mut String) -> bool {
        let Some((zone, left)) = self.zone(qname) else {
            return false;
        };
        let parts = read(qname, left, zone.multicluster, self.zonal).filter(|_| !zone.reverse);
        let Some(parts) = parts else {
            if key == PARSE_ERROR {
                out.push_str("invalid query name");
            }
            return key == PARSE_ERROR;
        };
        match key {
            "kind" => push(out, parts.kind),
            "namespace" => push(out, parts.namespace),
            "service" => push(out, parts.service),
            "endpoint" => push(out, parts.endpoint),
            "port-name" => push(out, parts.port),
            "protocol" => push(out, parts.protocol),
            "cluster" if !parts.cluster.is_empty() => push(out, parts.cluster),
            "zone" if parts.zone_labels > 0 => {
                for at in 0..parts.zone_labels {
                    if at > 0 {
                        out.push('.');
                    }
                    push(out, text(qname, at));
                }
            }
            _ => return false,
        }
        true
    }
}
