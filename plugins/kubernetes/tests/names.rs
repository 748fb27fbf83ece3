//! The tables of the Kubernetes DNS specification 1.1, by section, and what CoreDNS adds to them.

use serde_json::json;

use super::super::Pods;
use super::super::change::{Kind, Object};
use super::{Stage, object};
use chain::Fallthrough;

/// Two namespaces, a service of each kind, and this server's own.
fn cluster() -> Vec<Object> {
    let service = |name: &str, spec| {
        object(
            Kind::Service,
            json!({"metadata": {"name": name, "namespace": "ns"}, "spec": spec}),
        )
    };
    let slice = |name: &str, service: &str, rest: serde_json::Value| {
        let mut whole = json!({"metadata": {"name": name, "namespace": "ns", "labels": {"kubernetes.io/service-name": service}}});
        for (key, value) in rest.as_object().expect("an object") {
            whole[key] = value.clone();
        }
        object(Kind::EndpointSlice, whole)
    };
    let ports = json!([{"name": "http", "protocol": "TCP", "port": 80}, {"name": "dns", "protocol": "UDP", "port": 53}]);
    vec![
        object(Kind::Namespace, json!({"metadata": {"name": "ns"}})),
        object(Kind::Namespace, json!({"metadata": {"name": "empty"}})),
        service(
            "web",
            json!({"clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1", "fd00::1"], "ports": ports}),
        ),
        service("bare", json!({"clusterIP": "10.96.0.2"})),
        service(
            "heads",
            json!({"clusterIP": "None", "clusterIPs": ["None"], "ports": ports}),
        ),
        service("idle", json!({"clusterIP": "None"})),
        service(
            "away",
            json!({"type": "ExternalName", "externalName": "www.example.org"}),
        ),
        service("dns", json!({"clusterIP": "10.96.0.10", "ports": ports})),
        slice(
            "web-1",
            "web",
            json!({"endpoints": [{"addresses": ["10.0.0.9"], "conditions": {"ready": true}}], "ports": ports}),
        ),
        slice(
            "heads-1",
            "heads",
            json!({"ports": ports, "endpoints": [
                {"addresses": ["10.0.0.1"], "hostname": "one"},
                {"addresses": ["10.0.0.2"], "conditions": {"ready": null}},
                {"addresses": ["10.0.0.3"], "conditions": {"ready": false}},
            ]}),
        ),
        slice(
            "heads-2",
            "heads",
            json!({"ports": ports, "addressType": "IPv6", "endpoints": [{"addresses": ["fd00:1::"]}, {"addresses": ["fd00:1::5"], "hostname": "one"}]}),
        ),
        slice("empty", "idle", json!({"endpoints": null, "ports": null})),
        slice(
            "dns-1",
            "dns",
            json!({"endpoints": [{"addresses": ["192.0.2.53"]}], "ports": ports}),
        ),
        object(
            Kind::Pod,
            json!({"metadata": {"name": "p", "namespace": "ns"}, "status": {"podIP": "10.0.0.1"}}),
        ),
    ]
}

/// Asks `NAME TYPE`, names below the zone completed, and compares with the answer, in which `@` stands for the name.
fn table(stage: &Stage, rows: &[(&str, &str)]) {
    for (asked, expected) in rows {
        let (name, qtype) = asked.split_once(' ').expect("a name and a type");
        let name = match name.strip_suffix("..") {
            Some(whole) => format!("{whole}."),
            None if name == "-" => "cluster.local.".to_owned(),
            None => format!("{name}.cluster.local."),
        };
        let told = stage
            .answer(&name, qtype)
            .replace(&format!("{name} "), "@ ");
        assert_eq!(told, *expected, "{asked}");
    }
}

#[test]
fn the_specification() {
    let stage = Stage::with(|_, _| {}, &cluster());
    table(
        &stage,
        &[
            // 2.2: the schema version.
            ("dns-version TXT", "0 @ TXT 1.1.0"),
            ("dns-version A", "0 SOA"),
            // 2.3.1: A and AAAA of a service with addresses.
            ("web.ns.svc A", "0 @ A 10.96.0.1"),
            ("web.ns.svc AAAA", "0 @ AAAA fd00::1"),
            ("bare.ns.svc A", "0 @ A 10.96.0.2"),
            ("bare.ns.svc AAAA", "0 SOA"),
            ("web.ns.svc MX", "0 SOA"),
            ("web.ns.svc HTTPS", "0 SOA"),
            ("web.ns.svc SOA", "0 SOA"),
            ("nothing.ns.svc A", "3 SOA"),
            ("web.nowhere.svc A", "3 SOA"),
            ("web.empty.svc A", "3 SOA"),
            // 2.3.2: SRV, for named ports; the unnamed one is CoreDNS's.
            (
                "_http._tcp.web.ns.svc SRV",
                "0 @ SRV 0 50 80 web.ns.svc.cluster.local. | web.ns.svc.cluster.local. A 10.96.0.1, web.ns.svc.cluster.local. AAAA fd00::1",
            ),
            ("_http._udp.web.ns.svc SRV", "3 SOA"),
            ("_other._tcp.web.ns.svc SRV", "3 SOA"),
            (
                "web.ns.svc SRV",
                "0 @ SRV 0 25 53 web.ns.svc.cluster.local., @ SRV 0 25 80 web.ns.svc.cluster.local. \
                 | @ A 10.96.0.1, @ AAAA fd00::1",
            ),
            ("bare.ns.svc SRV", "0 SOA"),
            // 2.3.3 and 2.4.3: PTR of the address, and of ready endpoints.
            (
                "1.0.96.10.in-addr.arpa.. PTR",
                "0 @ PTR web.ns.svc.cluster.local.",
            ),
            (
                "1.0.0.10.in-addr.arpa.. PTR",
                "0 @ PTR one.heads.ns.svc.cluster.local.",
            ),
            (
                "2.0.0.10.in-addr.arpa.. PTR",
                "0 @ PTR 10-0-0-2.heads.ns.svc.cluster.local.",
            ),
            ("3.0.0.10.in-addr.arpa.. PTR", "3 SOA"),
            (
                "9.0.0.10.in-addr.arpa.. PTR",
                "0 @ PTR 10-0-0-9.web.ns.svc.cluster.local.",
            ),
            ("9.0.0.10.in-addr.arpa.. A", "0 SOA"),
            ("09.0.0.10.in-addr.arpa.. PTR", "3 SOA"),
            ("0.10.in-addr.arpa.. PTR", "3 SOA"),
            (
                "5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.0.0.0.0.0.d.f.ip6.arpa.. PTR",
                "0 @ PTR one.heads.ns.svc.cluster.local.",
            ),
            // 2.4.1: A and AAAA of a headless service: its ready endpoints.
            ("heads.ns.svc A", "0 @ A 10.0.0.1, @ A 10.0.0.2"),
            ("heads.ns.svc AAAA", "0 @ AAAA fd00:1::, @ AAAA fd00:1::5"),
            ("idle.ns.svc A", "3 SOA"),
            ("one.heads.ns.svc A", "0 @ A 10.0.0.1"),
            ("one.heads.ns.svc AAAA", "0 @ AAAA fd00:1::5"),
            ("10-0-0-1.heads.ns.svc A", "3 SOA"),
            ("10-0-0-2.heads.ns.svc A", "0 @ A 10.0.0.2"),
            ("10-0-0-3.heads.ns.svc A", "3 SOA"),
            ("fd00-1--0.heads.ns.svc AAAA", "0 @ AAAA fd00:1::"),
            ("fd00-1--.heads.ns.svc AAAA", "3 SOA"),
            ("10-0-0-9.web.ns.svc A", "0 @ A 10.0.0.9"),
            // 2.4.2: SRV of a headless service: one for each endpoint and port.
            (
                "_http._tcp.heads.ns.svc SRV",
                "0 @ SRV 0 25 80 10-0-0-2.heads.ns.svc.cluster.local., @ SRV 0 25 80 fd00-1--0.heads.ns.svc.cluster.local., \
                 @ SRV 0 25 80 one.heads.ns.svc.cluster.local. | 10-0-0-2.heads.ns.svc.cluster.local. A 10.0.0.2, \
                 fd00-1--0.heads.ns.svc.cluster.local. AAAA fd00:1::, one.heads.ns.svc.cluster.local. A 10.0.0.1, \
                 one.heads.ns.svc.cluster.local. AAAA fd00:1::5",
            ),
            ("_http._tcp.heads.ns.svc A", "0 @ A 10.0.0.1, @ A 10.0.0.2"),
            // 2.5: an external name; the rest of it is asked of the server itself.
            ("away.ns.svc CNAME", "0 @ CNAME www.example.org."),
            ("away.ns.svc A", "Suspended(0)"),
            ("away.ns.svc SRV", "0 SOA"),
            ("_http._tcp.away.ns.svc SRV", "3 SOA"),
            ("x.away.ns.svc A", "3 SOA"),
            // Names that are there because names below them are.
            ("svc A", "0 SOA"),
            ("ns.svc A", "0 SOA"),
            ("ns.svc NS", "0 SOA"),
            ("empty.svc TXT", "0 SOA"),
            ("nowhere.svc A", "3 SOA"),
            ("pod A", "0 SOA"),
            ("x A", "3 SOA"),
            ("x.y.z.web.ns.svc A", "3 SOA"),
            // Wildcards are no more.
            ("*.ns.svc A", "3 SOA"),
            ("web.*.svc A", "3 SOA"),
            ("any.web.ns.svc A", "3 SOA"),
            // The apex, and who serves it: this server is an endpoint of a service.
            ("- SOA", "0 @ SOA ns.dns.cluster.local. …"),
            ("- A", "0 SOA"),
            (
                "- NS",
                "0 @ NS dns.ns.svc.cluster.local. | dns.ns.svc.cluster.local. A 10.96.0.10",
            ),
            ("ns.dns A", "0 @ A 10.96.0.10"),
            ("ns.dns AAAA", "0 SOA"),
            ("- AXFR", "5~"),
        ],
    );
}

#[test]
fn pods_in_each_mode() {
    let rows: [(&str, [&str; 3]); 9] = [
        (
            "10-0-0-1.ns.pod A",
            ["3 SOA", "0 @ A 10.0.0.1", "0 @ A 10.0.0.1"],
        ),
        ("10-0-0-1.ns.pod AAAA", ["3 SOA", "0 SOA", "0 SOA"]),
        ("10-0-0-2.ns.pod A", ["3 SOA", "0 @ A 10.0.0.2", "3 SOA"]),
        ("10-0-0-1.empty.pod A", ["3 SOA", "0 @ A 10.0.0.1", "3 SOA"]),
        ("10-0-0-1.nowhere.pod A", ["3 SOA", "3 SOA", "3 SOA"]),
        (
            "fd00--1.ns.pod AAAA",
            ["3 SOA", "0 @ AAAA fd00::1", "3 SOA"],
        ),
        ("10-0-0-01.ns.pod A", ["3 SOA", "3 SOA", "3 SOA"]),
        ("10-0-0.ns.pod A", ["3 SOA", "3 SOA", "3 SOA"]),
        ("ns.pod A", ["3 SOA", "0 SOA", "0 SOA"]),
    ];
    for (at, pods) in [Pods::Disabled, Pods::Insecure, Pods::Verified]
        .into_iter()
        .enumerate()
    {
        let stage = Stage::with(|kubernetes, _| kubernetes.pods = pods, &cluster());
        let rows: Vec<_> = rows
            .iter()
            .map(|(asked, told)| (*asked, told[at]))
            .collect();
        table(&stage, &rows);
    }
}

#[test]
fn options_narrow_the_answers() {
    let named = Stage::with(
        |_, rules| rules.namespaces = vec!["empty".into()],
        &cluster(),
    );
    table(
        &named,
        &[
            ("web.ns.svc A", "3 SOA"),
            ("empty.svc A", "0 SOA"),
            ("1.0.96.10.in-addr.arpa.. PTR", "3 SOA"),
            ("9.0.0.10.in-addr.arpa.. PTR", "3 SOA"),
            // Who serves the zone is told whatever is exposed.
            ("ns.dns A", "0 @ A 10.96.0.10"),
        ],
    );
    let busy = Stage::with(|kubernetes, _| kubernetes.ignore_empty = true, &cluster());
    table(
        &busy,
        &[
            ("bare.ns.svc A", "3 SOA"),
            ("web.ns.svc A", "0 @ A 10.96.0.1"),
            ("away.ns.svc CNAME", "0 @ CNAME www.example.org."),
        ],
    );
}

#[test]
fn the_spelling_of_the_question_is_kept() {
    let stage = Stage::with(|_, _| {}, &cluster());
    assert_eq!(
        stage.answer("_HTTP._tcp.Web.ns.svc.Cluster.LOCAL.", "SRV"),
        "0 _HTTP._tcp.Web.ns.svc.Cluster.LOCAL. SRV 0 50 80 web.ns.svc.Cluster.LOCAL. \
         | web.ns.svc.Cluster.LOCAL. A 10.96.0.1, web.ns.svc.Cluster.LOCAL. AAAA fd00::1"
    );
    assert_eq!(
        stage.answer("Web.ns.svc.cluster.LOCAL.", "A"),
        "0 Web.ns.svc.cluster.LOCAL. A 10.96.0.1"
    );
    assert_eq!(
        stage.answer("CLUSTER.local.", "SOA"),
        "0 CLUSTER.local. SOA ns.dns.CLUSTER.local. …"
    );
}

#[test]
fn what_falls_through_and_what_does_not() {
    let zones = ["in-addr.arpa.", "ip6.arpa."].map(|zone| zone.parse().expect("a name"));
    let stage = Stage::with(
        |kubernetes, _| kubernetes.fall = Fallthrough::Zones(zones.into()),
        &cluster(),
    );
    // The walk's end, since nobody is below: SERVFAIL without AA.
    table(
        &stage,
        &[
            ("1.2.0.192.in-addr.arpa.. PTR", "2~"),
            ("0.192.in-addr.arpa.. SOA", "2~"),
            (
                "1.0.96.10.in-addr.arpa.. PTR",
                "0 @ PTR web.ns.svc.cluster.local.",
            ),
            // What exists with another type does not fall.
            ("1.0.96.10.in-addr.arpa.. TXT", "0 SOA"),
            ("nothing.ns.svc A", "3 SOA"),
        ],
    );
    assert_eq!(
        stage.answer("www.example.org.", "A"),
        "2~",
        "another zone's name"
    );
}
