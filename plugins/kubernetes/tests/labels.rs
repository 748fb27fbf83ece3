//! Metadata labels: CoreDNS's table, and what it leaves out.

use serde_json::json;

use super::super::Pods;
use super::super::change::Kind;
use super::{Stage, object};
use crate::trial;

/// The labels whose values are parts of a name.
const PARTS: [&str; 9] = [
    "parse-error",
    "kind",
    "namespace",
    "service",
    "endpoint",
    "port-name",
    "protocol",
    "cluster",
    "zone",
];

/// What the plugin tells about `name` as it is asked by `peer`: `KEY=VALUE` of each of `keys` that has a value.
fn told(stage: &Stage, name: &str, peer: &str, keys: &[&str]) -> String {
    let mut exchange = trial::exchange(name, wire::Type::A, None);
    exchange.context.peer = peer.parse().expect("an address");
    let (query, _) = exchange.views(&stage.block);
    let mut out = Vec::new();
    for key in keys {
        let mut value = String::new();
        let label = format!("kubernetes/{key}");
        if chain::Plugin::label(&*stage.plugin, &query, &label, &mut value) {
            out.push(format!("{key}={value}"));
        }
    }
    out.join(" ")
}

#[test]
fn parts_of_names() {
    let stage = Stage::new(|_, rules| rules.zonal = true);
    let none = "kind= namespace= service= endpoint= port-name= protocol=";
    let error = "parse-error=invalid query name";
    for (name, expected) in [
        ("cluster.local.", none),
        ("svc.cluster.local.", none),
        ("foo.bar.notapod.cluster.local.", error),
        ("ns.dns.cluster.local.", error),
        ("a.b.c.s.ns.svc.cluster.local.", error),
        (
            "ns.svc.cluster.local.",
            "kind=svc namespace=ns service= endpoint= port-name= protocol=",
        ),
        (
            "S.ns.svc.cluster.local.",
            "kind=svc namespace=ns service=s endpoint= port-name= protocol=",
        ),
        (
            "10-240-0-1.podns.pod.cluster.local.",
            "kind=pod namespace=podns service=10-240-0-1 endpoint= port-name= protocol=",
        ),
        (
            "_http._tcp.s.ns.svc.cluster.local.",
            "kind=svc namespace=ns service=s endpoint= port-name=http protocol=tcp",
        ),
        (
            "endpoint.s.ns.svc.cluster.local.",
            "kind=svc namespace=ns service=s endpoint=endpoint port-name= protocol=",
        ),
        (
            "ep.one.s.ns.svc.clusterset.local.",
            "kind=svc namespace=ns service=s endpoint=ep port-name= protocol= cluster=one",
        ),
        (
            "eu.west.pin._zone.s.ns.svc.cluster.local.",
            "kind=svc namespace=ns service=s endpoint= port-name= protocol= zone=eu.west",
        ),
        (
            "a\\010\\\".ns.svc.cluster.local.",
            "kind=svc namespace=ns service=a\\010\\\" endpoint= port-name= protocol=",
        ),
        ("1.0.0.10.in-addr.arpa.", error),
        ("www.example.org.", ""),
    ] {
        let told = told(&stage, name, "192.0.2.1:4711", &PARTS);
        assert_eq!(told, expected, "{name}");
    }
}

#[test]
fn the_pod_that_asks() {
    let pod = object(
        Kind::Pod,
        json!({"metadata": {"name": "foo", "namespace": "podns", "labels": {"app": "web", "k8s.io/part": "v1.2"}}, "status": {"podIP": "10.10.10.10"}}),
    );
    let keys = [
        "client-namespace",
        "client-pod-name",
        "client-label/app",
        "client-label/k8s.io/part",
        "client-label/none",
    ];
    for (pods, expected) in [
        (
            Pods::Verified,
            "client-namespace=podns client-pod-name=foo client-label/app=web client-label/k8s.io/part=v1.2",
        ),
        (Pods::Insecure, ""),
        (Pods::Disabled, ""),
    ] {
        let stage = Stage::with(
            |kubernetes, _| kubernetes.pods = pods,
            std::slice::from_ref(&pod),
        );
        let told = |name, peer| told(&stage, name, peer, &keys);
        assert_eq!(
            told("s.ns.svc.cluster.local.", "10.10.10.10:4711"),
            expected
        );
        let mapped = "[::ffff:10.10.10.10]:4711";
        assert_eq!(told("www.example.org.", mapped), expected);
        assert_eq!(told("s.ns.svc.cluster.local.", "10.10.10.11:4711"), "");
    }
}
