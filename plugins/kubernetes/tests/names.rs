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
        service("twins", json!({"clusterIP": "None", "ports": ports})),
        service("six", json!({"clusterIP": "None", "ports": ports})),
        service(
            "peers",
            json!({"clusterIP": "None", "publishNotReadyAddresses": true, "ports": ports}),
        ),
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
        slice(
            "twins-1",
            "twins",
            json!({"ports": [{"name": "http", "protocol": "TCP", "port": 80}], "endpoints": [
                {"addresses": ["10.0.1.1"], "hostname": "twin"},
                {"addresses": ["10.0.1.2"], "hostname": "twin"},
            ]}),
        ),
        slice(
            "six-1",
            "six",
            json!({"ports": ports, "addressType": "IPv6", "endpoints": [{"addresses": ["fd00:2::1"]}]}),
        ),
        slice(
            "peers-1",
            "peers",
            json!({"ports": ports, "endpoints": [
                {"addresses": ["10.0.1.9"], "hostname": "last", "conditions": {"ready": true, "serving": false, "terminating": true}},
            ]}),
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
        // Owners only: a target that is the same name stays.
        let told = stage.answer(&name, qtype);
        let (code, records) = told.split_once(' ').unwrap_or((&told, ""));
        let owner = format!("{name} ");
        let first = match records.strip_prefix(&owner) {
            Some(rest) => format!("{code} @ {rest}"),
            None => told.clone(),
        };
        let told = first
            .replace(&format!(", {owner}"), ", @ ")
            .replace(&format!("| {owner}"), "| @ ");
        assert_eq!(told, *expected, "{asked}");
    }
}

#[test]
fn section_2_2_record_for_the_schema_version() {
    let stage = Stage::with(|_, _| {}, &cluster());
    table(
        &stage,
        &[
            ("dns-version TXT", "0 @ TXT 1.1.0"),
            ("dns-version A", "0 SOA"),
        ],
    );
}

#[test]
fn section_2_3_1_addresses_of_a_service() {
    let stage = Stage::with(|_, _| {}, &cluster());
    table(
        &stage,
        &[
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
        ],
    );
}

/// For named ports; that of the whole service is CoreDNS's.
#[test]
fn section_2_3_2_srv_of_a_service() {
    let stage = Stage::with(|_, _| {}, &cluster());
    table(
        &stage,
        &[
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
        ],
    );
}

#[test]
fn section_2_3_3_ptr_of_a_service() {
    let stage = Stage::with(|_, _| {}, &cluster());
    table(
        &stage,
        &[
            (
                "1.0.96.10.in-addr.arpa.. PTR",
                "0 @ PTR web.ns.svc.cluster.local.",
            ),
            (
                "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa.. PTR",
                "0 @ PTR web.ns.svc.cluster.local.",
            ),
            ("7.2.0.192.in-addr.arpa.. PTR", "3 SOA"),
        ],
    );
}

#[test]
fn section_2_4_1_addresses_of_a_headless_service() {
    let stage = Stage::with(|_, _| {}, &cluster());
    table(
        &stage,
        &[
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
            // As many addresses as endpoints have the host name.
            ("twin.twins.ns.svc A", "0 @ A 10.0.1.1, @ A 10.0.1.2"),
            ("twins.ns.svc A", "0 @ A 10.0.1.1, @ A 10.0.1.2"),
            // The other family is no data; nothing at all is no name.
            ("six.ns.svc AAAA", "0 @ AAAA fd00:2::1"),
            ("six.ns.svc A", "0 SOA"),
            ("idle.ns.svc AAAA", "3 SOA"),
        ],
    );
}

/// One for each endpoint and port.
#[test]
fn section_2_4_2_srv_of_a_headless_service() {
    let stage = Stage::with(|_, _| {}, &cluster());
    table(
        &stage,
        &[
            (
                "_http._tcp.heads.ns.svc SRV",
                "0 @ SRV 0 25 80 10-0-0-2.heads.ns.svc.cluster.local., @ SRV 0 25 80 fd00-1--0.heads.ns.svc.cluster.local., \
                 @ SRV 0 25 80 one.heads.ns.svc.cluster.local. | 10-0-0-2.heads.ns.svc.cluster.local. A 10.0.0.2, \
                 fd00-1--0.heads.ns.svc.cluster.local. AAAA fd00:1::, one.heads.ns.svc.cluster.local. A 10.0.0.1, \
                 one.heads.ns.svc.cluster.local. AAAA fd00:1::5",
            ),
            ("_http._tcp.heads.ns.svc A", "0 @ A 10.0.0.1, @ A 10.0.0.2"),
            (
                "_http._tcp.twins.ns.svc SRV",
                "0 @ SRV 0 50 80 twin.twins.ns.svc.cluster.local. | twin.twins.ns.svc.cluster.local. A 10.0.1.1, \
                 twin.twins.ns.svc.cluster.local. A 10.0.1.2",
            ),
            ("_http._udp.heads.ns.svc SRV", "3 SOA"),
            ("_http._tcp.idle.ns.svc SRV", "3 SOA"),
            (
                "one.heads.ns.svc SRV",
                "0 @ SRV 0 25 53 one.heads.ns.svc.cluster.local., @ SRV 0 25 80 one.heads.ns.svc.cluster.local. \
                 | @ A 10.0.0.1, @ AAAA fd00:1::5",
            ),
        ],
    );
}

#[test]
fn section_2_4_3_ptr_of_endpoints() {
    let stage = Stage::with(|_, _| {}, &cluster());
    table(
        &stage,
        &[
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
        ],
    );
}

#[test]
fn section_2_4_only_ready_endpoints_are_told() {
    let stage = Stage::with(|_, _| {}, &cluster());
    table(
        &stage,
        &[
            // Unready: no address of the service, no name, no target, no pointer.
            ("heads.ns.svc A", "0 @ A 10.0.0.1, @ A 10.0.0.2"),
            ("10-0-0-3.heads.ns.svc A", "3 SOA"),
            ("3.0.0.10.in-addr.arpa.. PTR", "3 SOA"),
            // A pod that ends, of a service that publishes such: the API says that it is ready.
            ("peers.ns.svc A", "0 @ A 10.0.1.9"),
            ("last.peers.ns.svc A", "0 @ A 10.0.1.9"),
            (
                "_http._tcp.peers.ns.svc SRV",
                "0 @ SRV 0 100 80 last.peers.ns.svc.cluster.local. | last.peers.ns.svc.cluster.local. A 10.0.1.9",
            ),
            (
                "9.1.0.10.in-addr.arpa.. PTR",
                "0 @ PTR last.peers.ns.svc.cluster.local.",
            ),
        ],
    );
}

/// Addresses of that name are asked of the server itself.
#[test]
fn section_2_5_1_cname_of_an_external_name() {
    let stage = Stage::with(|_, _| {}, &cluster());
    table(
        &stage,
        &[
            ("away.ns.svc CNAME", "0 @ CNAME www.example.org."),
            ("away.ns.svc A", "Suspended(0)"),
            ("away.ns.svc SRV", "0 SOA"),
            ("_http._tcp.away.ns.svc SRV", "3 SOA"),
            ("x.away.ns.svc A", "3 SOA"),
        ],
    );
}

#[test]
fn names_between_exist() {
    let stage = Stage::with(|_, _| {}, &cluster());
    table(
        &stage,
        &[
            ("svc A", "0 SOA"),
            ("ns.svc A", "0 SOA"),
            ("ns.svc NS", "0 SOA"),
            ("empty.svc TXT", "0 SOA"),
            ("nowhere.svc A", "3 SOA"),
            ("pod A", "0 SOA"),
            ("x A", "3 SOA"),
            ("x.y.z.web.ns.svc A", "3 SOA"),
        ],
    );
}

#[test]
fn wildcards_are_no_more() {
    let stage = Stage::with(|_, _| {}, &cluster());
    table(
        &stage,
        &[
            ("*.ns.svc A", "3 SOA"),
            ("web.*.svc A", "3 SOA"),
            ("any.web.ns.svc A", "3 SOA"),
        ],
    );
}

/// This server is an endpoint of a service.
#[test]
fn the_apex_names_who_serves_it() {
    let stage = Stage::with(|_, _| {}, &cluster());
    table(
        &stage,
        &[
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

/// What has a name in the cluster's zone has none below an address's tree, in which CoreDNS denies it, too.
#[test]
fn zones_of_addresses_have_no_names_of_services_and_pods() {
    let stage = Stage::with(
        |kubernetes, _| {
            kubernetes.pods = Pods::Insecure;
            kubernetes.zonal = true;
        },
        &cluster(),
    );
    for zone in ["in-addr.arpa..", "ip6.arpa.."] {
        for name in [
            "web.ns.svc",
            "heads.ns.svc",
            "one.heads.ns.svc",
            "_http._tcp.web.ns.svc",
            "ns.svc",
            "svc",
            "10-0-0-1.ns.pod",
            "ns.pod",
            "pod",
            "dns-version",
            "x",
        ] {
            let rows = ["A", "AAAA", "SRV", "TXT", "CNAME", "PTR"]
                .map(|qtype| (format!("{name}.{zone} {qtype}"), "3 SOA"));
            table(
                &stage,
                &rows
                    .each_ref()
                    .map(|(question, told)| (question.as_str(), *told)),
            );
        }
    }
    // The server that the SOA record names is there, and the NS record leads to where the cluster has it.
    table(
        &stage,
        &[
            ("in-addr.arpa.. SOA", "0 @ SOA ns.dns.in-addr.arpa. …"),
            ("in-addr.arpa.. NS", "0 @ NS dns.ns.svc.cluster.local."),
            ("ns.dns.in-addr.arpa.. A", "0 @ A 10.96.0.10"),
            ("dns.in-addr.arpa.. A", "0 SOA"),
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
