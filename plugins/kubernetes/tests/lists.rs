//! How the plugin keeps up: before the first lists, while lists are replaced, after reloads, from a snapshot, and in metrics.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use chain::capability::{Existence, External, Host, SearchPath};
use chain::{Outcome, Plugin, resume};
use serde_json::json;
use wire::Qname;

use source::Aged;

use super::super::change::{Kind, Object, Sink};
use super::super::metrics::seconds;
use super::super::store::Store;
use super::super::{Pods, snapshot_file};
use super::{ALL, Stage, object, told};
use crate::trial;

fn namespace(name: &str) -> Object {
    object(Kind::Namespace, json!({"metadata": {"name": name}}))
}

fn headless(name: &str) -> Object {
    object(
        Kind::Service,
        json!({"metadata": {"name": name, "namespace": "ns"}, "spec": {"clusterIP": "None"}}),
    )
}

fn slice(name: &str, service: &str, addresses: &[&str]) -> Object {
    let endpoints: Vec<_> = addresses
        .iter()
        .map(|address| json!({"addresses": [address]}))
        .collect();
    object(
        Kind::EndpointSlice,
        json!({
            "metadata": {"name": name, "namespace": "ns", "labels": {"kubernetes.io/service-name": service}},
            "endpoints": endpoints, "ports": [{"name": "http", "port": 80, "protocol": "TCP"}],
        }),
    )
}

const NAME: &str = "web.ns.svc.cluster.local.";
const REVERSE: &str = "1.0.0.10.in-addr.arpa.";

#[test]
fn before_the_first_lists_nothing_is_denied_that_may_exist() {
    let mut stage = Stage::new(|_, _| {});
    assert_eq!(stage.plugin.ready(), Some(false));
    for (name, told) in [
        (NAME, "2~"),
        ("ns.svc.cluster.local.", "2~"),
        ("1.0.0.10.in-addr.arpa.", "2~"),
        // What no cluster has is denied at once.
        ("www.cluster.local.", "3 SOA"),
        ("svc.cluster.local.", "0 SOA"),
    ] {
        assert_eq!(stage.answer(name, "A"), told, "{name}");
    }
    let (_, exchange) = stage.ask(NAME, "A");
    assert_eq!(
        exchange.context.extended.as_ref().map(|error| error.code),
        Some(14),
        "Not Ready"
    );
    let objects = [
        namespace("ns"),
        headless("web"),
        slice("s", "web", &["10.0.0.1"]),
    ];
    // Each list by itself leaves names that may yet come.
    for kind in [Kind::Namespace, Kind::Service] {
        stage.list(&[kind], &objects);
        assert_eq!(stage.answer(NAME, "A"), "2~");
    }
    stage.list(&[Kind::EndpointSlice, Kind::Pod], &objects);
    assert_eq!(stage.plugin.ready(), Some(false));
    stage.list(&[Kind::ServiceImport], &objects);
    assert_eq!(stage.plugin.ready(), Some(true));
    assert_eq!(stage.answer(NAME, "A"), format!("0 {NAME} A 10.0.0.1"));
    assert_eq!(stage.answer("no.ns.svc.cluster.local.", "A"), "3 SOA");
}

#[test]
fn a_query_waits_for_the_first_lists() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let mut stage =
        Stage::new(|kubernetes, _| kubernetes.patience = host::clock::now() + 5_000_000_000);
    let (outcome, exchange) = stage.ask(NAME, "A");
    assert_eq!(outcome, Outcome::Suspended(0));
    let block = stage.block.clone();
    let answered = runtime.block_on(async {
        let waiting = resume(exchange, block, 0);
        tokio::pin!(waiting);
        let early = tokio::time::timeout(Duration::from_millis(50), &mut waiting).await;
        assert!(early.is_err(), "it waits");
        stage.list(
            &ALL,
            &[
                namespace("ns"),
                headless("web"),
                slice("s", "web", &["10.0.0.1"]),
            ],
        );
        waiting.await.0
    });
    let mut answered = answered;
    answered.response().seal();
    assert_eq!(told(&answered), format!("0 {NAME} A 10.0.0.1"));
    let impatient =
        Stage::new(|kubernetes, _| kubernetes.patience = host::clock::now() + 50_000_000);
    let (outcome, exchange) = impatient.ask(NAME, "A");
    assert_eq!(outcome, Outcome::Suspended(0));
    let (mut answered, _) = runtime.block_on(resume(exchange, impatient.block.clone(), 0));
    answered.response().seal();
    assert_eq!(told(&answered), "2~");
}

#[test]
fn a_list_is_replaced_in_one_step() {
    let before = [
        namespace("ns"),
        headless("web"),
        slice("s1", "web", &["10.0.0.1"]),
        slice("s2", "web", &["10.0.0.2"]),
    ];
    let mut stage = Stage::with(|_, _| {}, &before);
    let both = format!("0 {NAME} A 10.0.0.1, {NAME} A 10.0.0.2");
    assert_eq!(stage.answer(NAME, "A"), both);
    stage.store.begin(Kind::EndpointSlice);
    assert_eq!(stage.answer(NAME, "A"), both, "a list that begins");
    stage.store.listed(slice("s3", "web", &["10.0.0.3"]));
    assert_eq!(stage.answer(NAME, "A"), both, "half of a list");
    // Other kinds go on meanwhile.
    stage.store.put(namespace("other"));
    assert_eq!(stage.answer("other.svc.cluster.local.", "A"), "0 SOA");
    assert_eq!(stage.answer(NAME, "A"), both);
    stage.store.complete(Kind::EndpointSlice);
    assert_eq!(stage.answer(NAME, "A"), format!("0 {NAME} A 10.0.0.3"));
    assert_eq!(
        stage.answer("1.0.0.10.in-addr.arpa.", "PTR"),
        "3 SOA",
        "what vanished has vanished"
    );
    stage.list(&[Kind::Service], &[]);
    assert_eq!(stage.answer(NAME, "A"), "3 SOA");
    stage.list(&[Kind::Service], &before);
    assert_eq!(stage.answer(NAME, "A"), format!("0 {NAME} A 10.0.0.3"));
}

/// Names and types.
type Questions = &'static [(&'static str, &'static str)];

/// Whatever takes an object out of the answers takes it out at once, told by an event or by a list, also by a list that names it twice.
#[test]
fn an_object_that_no_answer_needs_any_more_is_removed() {
    let pod = |metadata: serde_json::Value, ip: &str| {
        let object_of = json!({"metadata": metadata, "status": {"podIP": ip}});
        object(Kind::Pod, object_of)
    };
    let service = |spec: serde_json::Value| {
        object(
            Kind::Service,
            json!({"metadata": {"name": "web", "namespace": "ns"}, "spec": spec}),
        )
    };
    let imported = |label: &str| {
        object(
            Kind::EndpointSlice,
            json!({"metadata": {"name": "m", "namespace": "ns", "labels": {label: "set"}}, "endpoints": [{"addresses": ["10.7.0.1"]}]}),
        )
    };
    let set = object(
        Kind::ServiceImport,
        json!({"metadata": {"name": "set", "namespace": "ns"}, "spec": {"type": "Headless"}}),
    );
    let addresses = json!({"clusterIPs": ["10.96.0.1", "fd00::1"]});
    let at = json!({"name": "p", "namespace": "ns"});

    // What it was, what it is now, and the questions whose answers have to be gone.
    let rows: Vec<(Object, Object, Questions)> = vec![
        (
            slice("s", "web", &["10.0.0.1"]),
            slice("s", "", &["10.0.0.1"]),
            &[
                (NAME, "A"),
                (REVERSE, "PTR"),
                ("10-0-0-1.web.ns.svc.cluster.local.", "A"),
            ],
        ),
        (
            slice("s", "web", &["10.0.0.1"]),
            slice("s", "other", &["10.0.0.1"]),
            &[(NAME, "A"), ("10-0-0-1.web.ns.svc.cluster.local.", "A")],
        ),
        (
            slice("s", "web", &["10.0.0.1"]),
            slice("s", &"x".repeat(64), &["10.0.0.1"]),
            &[(NAME, "A"), (REVERSE, "PTR")],
        ),
        (
            slice("s", "web", &["10.0.0.1"]),
            slice("s", "web", &["no-address.example.org"]),
            &[(NAME, "A"), (REVERSE, "PTR")],
        ),
        (
            imported("multicluster.kubernetes.io/service-name"),
            imported("kubernetes.io/other"),
            &[("set.ns.svc.clusterset.local.", "A")],
        ),
        (
            service(addresses.clone()),
            service(json!({"type": "ExternalName", "externalName": "192.0.2.7"})),
            &[
                (NAME, "A"),
                (NAME, "AAAA"),
                ("1.0.96.10.in-addr.arpa.", "PTR"),
            ],
        ),
        (
            service(addresses),
            service(json!({"clusterIP": "None"})),
            &[(NAME, "A"), ("1.0.96.10.in-addr.arpa.", "PTR")],
        ),
        (
            pod(at.clone(), "10.0.0.1"),
            pod(at, ""),
            &[("10-0-0-1.ns.pod.cluster.local.", "A")],
        ),
    ];
    for (number, (before, after, questions)) in rows.into_iter().enumerate() {
        for way in ["event", "list", "list that names it twice", "first list"] {
            let kind = before.kind();
            let mut standing = vec![namespace("ns"), set.clone()];
            if kind == Kind::EndpointSlice {
                standing.push(headless("web"));
            }
            let mut stage =
                Stage::with(|kubernetes, _| kubernetes.pods = Pods::Verified, &standing);
            if way != "first list" {
                stage.store.put(before.clone());
                for (name, qtype) in questions {
                    let answer = stage.answer(name, qtype);
                    assert!(
                        answer.starts_with("0 ") && answer != "0 SOA",
                        "{number}: {name} {qtype}: {answer}"
                    );
                }
            }
            match way {
                "event" => stage.store.put(after.clone()),
                way => {
                    let mut listed: Vec<Object> = standing
                        .iter()
                        .filter(|one| one.kind() == kind)
                        .cloned()
                        .collect();
                    if way != "list" {
                        listed.push(before.clone());
                    }
                    listed.push(after.clone());
                    stage.list(&[kind], &listed);
                }
            }
            for (name, qtype) in questions {
                let answer = stage.answer(name, qtype);
                assert!(
                    ["3 SOA", "0 SOA"].contains(&answer.as_str()),
                    "{number} by {way}: {name} {qtype}: {answer}"
                );
            }
        }
    }
}

#[test]
fn an_event_that_says_nothing_new_publishes_nothing() {
    let objects = [
        namespace("ns"),
        headless("web"),
        slice("s1", "web", &["10.0.0.1"]),
    ];
    let mut stage = Stage::with(|_, _| {}, &objects);
    let snapshot = stage.plugin.shared.snapshot.load_full();
    for object in objects.clone() {
        stage.store.put(object);
    }
    stage.list(&ALL, &objects);
    stage.store.remove(slice("other", "web", &[]));
    assert!(Arc::ptr_eq(&snapshot, &stage.plugin.shared.snapshot.load()));
}

#[test]
fn a_new_watch_of_the_same_cluster_shows_nothing_until_it_is_whole() {
    let objects = [
        namespace("ns"),
        headless("web"),
        slice("s1", "web", &["10.0.0.1"]),
    ];
    let mut stage = Stage::with(|_, _| {}, &objects);
    // As after a reload: another store for what queries see.
    let rules = super::Rules {
        ttl: 5,
        namespaces: Vec::new(),
        pod_names: false,
        pod_details: false,
        zonal: false,
        kinds: ALL.to_vec(),
        local: Vec::new(),
    };
    stage.store = Store::new(rules, stage.plugin.shared.clone());
    let known = format!("0 {NAME} A 10.0.0.1");
    assert_eq!(stage.answer(NAME, "A"), known);
    let changed = [
        namespace("ns"),
        headless("web"),
        slice("s9", "web", &["10.0.0.9"]),
    ];
    for kind in ALL {
        assert_eq!(stage.answer(NAME, "A"), known, "before the list of {kind}");
        stage.list(&[kind], &changed);
    }
    assert_eq!(stage.answer(NAME, "A"), format!("0 {NAME} A 10.0.0.9"));
}

#[test]
fn a_snapshot_serves_until_the_api_is_heard_of() {
    let directory =
        std::env::temp_dir().join(format!("nameplate-kubernetes-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory");
    let path = directory.join("snapshot");
    let objects = [
        namespace("ns"),
        headless("web"),
        slice("s1", "web", &["10.0.0.1", "10.0.0.2"]),
        object(
            Kind::Service,
            json!({"metadata": {"name": "x", "namespace": "ns"}, "spec": {"clusterIPs": ["10.96.0.1", "fd00::1"],
                "ports": [{"name": "http", "port": 80, "protocol": "TCP"}], "externalIPs": ["192.0.2.1"]}}),
        ),
        object(
            Kind::Service,
            json!({"metadata": {"name": "away", "namespace": "ns"}, "spec": {"type": "ExternalName", "externalName": "www.example.org"}}),
        ),
        object(
            Kind::ServiceImport,
            json!({"metadata": {"name": "set", "namespace": "ns"}, "spec": {"type": "Headless", "ports": []}}),
        ),
        object(
            Kind::EndpointSlice,
            json!({"metadata": {"name": "set-1", "namespace": "ns", "labels": {
                "multicluster.kubernetes.io/service-name": "set", "multicluster.kubernetes.io/source-cluster": "c1"}},
                "endpoints": [{"addresses": ["10.7.0.1"], "hostname": "one", "zone": "a.b"}], "ports": null}),
        ),
        object(
            Kind::Pod,
            json!({"metadata": {"name": "p", "namespace": "ns"}, "status": {"podIP": "10.0.0.1"}}),
        ),
    ];
    let stage = Stage::with(|_, _| {}, &objects);
    snapshot_file::write(&stage.plugin.shared.snapshot.load(), &path).expect("it is written");
    let rules =
        |stage: &mut Option<super::Rules>, rules: &super::Rules| *stage = Some(rules.clone());
    let mut kept = None;
    let later = Stage::new(|kubernetes, own| {
        kubernetes.pods = Pods::Verified;
        rules(&mut kept, own);
    });
    let kept = kept.expect("rules");
    snapshot_file::load(&path, &kept, &later.plugin.shared);
    for (name, qtype) in [
        (NAME, "A"),
        (NAME, "SRV"),
        ("x.ns.svc.cluster.local.", "AAAA"),
        ("_http._tcp.x.ns.svc.cluster.local.", "SRV"),
        ("away.ns.svc.cluster.local.", "CNAME"),
        ("one.c1.set.ns.svc.clusterset.local.", "A"),
        ("2.0.0.10.in-addr.arpa.", "PTR"),
        ("no.ns.svc.cluster.local.", "A"),
    ] {
        let expected = stage.answer(name, qtype);
        assert!(expected.len() > 4, "{name}: {expected}");
        assert_eq!(later.answer(name, qtype), expected, "{name} {qtype}");
    }
    assert_eq!(
        later.answer("10-0-0-1.ns.pod.cluster.local.", "A"),
        "0 10-0-0-1.ns.pod.cluster.local. A 10.0.0.1"
    );
    assert!(later.plugin.ready() == Some(true) && later.plugin.shared.age() > 0.0);
    // The first lists replace it, and its made-up names leave nothing behind.
    let mut live = Store::new(kept.clone(), later.plugin.shared.clone());
    for kind in ALL {
        live.begin(kind);
        live.heard(kind);
        objects[..2]
            .iter()
            .filter(|object| object.kind() == kind)
            .for_each(|object| live.listed(object.clone()));
        live.complete(kind);
    }
    assert_eq!(later.answer(NAME, "A"), "3 SOA");
    assert_eq!(later.answer("2.0.0.10.in-addr.arpa.", "PTR"), "3 SOA");
    assert_eq!(later.plugin.shared.age(), 0.0);
    // A file that is cut, another file and no file are all of no use, and no harm.
    let whole = std::fs::read_to_string(&path).expect("it is read");
    let changed = whole.replacen("10.0.0.2", "10.0.0.3", 1);
    for text in [&whole[..whole.len() - 9], &changed, "something else\n", ""] {
        std::fs::write(&path, text).expect("it is written");
        let none = Stage::new(|_, _| {});
        let log = trial::logged(|| snapshot_file::load(&path, &kept, &none.plugin.shared));
        assert!(log.contains("cannot be used"), "{log}");
        assert_eq!(none.answer(NAME, "A"), "2~");
    }
    std::fs::remove_dir_all(&directory).expect("it is removed");
}

#[test]
fn the_age_of_the_state_is_told() {
    let mut stage = Stage::with(|_, _| {}, &[]);
    stage.store.heard(Kind::Service);
    assert_eq!(stage.plugin.shared.age(), 0.0);
    stage.store.lost(Kind::Service, "connection refused");
    let begun = std::time::Instant::now();
    while stage.plugin.shared.age() < 0.02 {
        assert!(begun.elapsed() < Duration::from_secs(5), "it does not grow");
    }
    assert!(
        begun.elapsed() > Duration::from_millis(15),
        "it grows as time passes"
    );
    stage.store.heard(Kind::Service);
    assert_eq!(stage.plugin.shared.age(), 0.0);
}

#[test]
fn times_of_changes() {
    for (text, expected) in [
        ("1970-01-01T00:00:00Z", Some(0.0)),
        ("2000-02-29T12:00:00.5Z", Some(951_825_600.5)),
        ("2026-11-21T15:00:00+01:00", Some(1_795_269_600.0)),
        ("2026-11-21 15:00", None),
        ("2026-13-21T15:00:00Z", None),
        ("", None),
    ] {
        assert_eq!(seconds(text), expected, "{text}");
    }
}

#[test]
fn search_paths_of_pods() {
    let objects = [
        namespace("ns"),
        object(
            Kind::Pod,
            json!({"metadata": {"name": "p", "namespace": "ns"}, "status": {"podIP": "10.0.0.1"}}),
        ),
    ];
    let search = |kubernetes: &super::Kubernetes, name: &str, client: &str| {
        let mut found = Vec::new();
        let name: wire::NameBuf = name.parse().expect("a name");
        let known = kubernetes.search(
            &Qname::from(name.as_name()),
            client.parse().expect("an address"),
            &mut |suffix| {
                found.push(suffix.to_string());
                ControlFlow::Continue(())
            },
        );
        assert_eq!(known, !found.is_empty());
        found.join(" ")
    };
    let stage = Stage::with(
        |kubernetes, _| {
            kubernetes.pods = Pods::Verified;
            kubernetes.search = super::super::setup::search_of(
                "nameserver 192.0.2.1\nsearch a.example.org example.org\n",
            );
        },
        &objects,
    );
    let name = "www.example.com.ns.svc.cluster.local.";
    assert_eq!(
        search(&stage.plugin, name, "10.0.0.1"),
        "ns.svc.cluster.local. svc.cluster.local. cluster.local. a.example.org. example.org. ."
    );
    assert_eq!(search(&stage.plugin, name, "10.0.0.2"), "", "no pod");
    assert_eq!(
        search(&stage.plugin, "www.example.com.", "10.0.0.1"),
        "",
        "another zone"
    );
    assert_eq!(
        search(
            &stage.plugin,
            "www.example.com.ns.svc.in-addr.arpa.",
            "10.0.0.1"
        ),
        "",
        "nobody searches among addresses"
    );
    let insecure = Stage::with(|kubernetes, _| kubernetes.pods = Pods::Insecure, &objects);
    assert_eq!(
        search(&insecure.plugin, name, "10.0.0.1"),
        "",
        "pods are not watched"
    );
}

#[test]
fn services_as_seen_from_outside() {
    let objects = [
        namespace("ns"),
        object(
            Kind::Service,
            json!({"metadata": {"name": "web", "namespace": "ns"}, "spec": {"clusterIP": "10.96.0.1", "externalIPs": ["192.0.2.1"],
                "ports": [{"name": "http", "port": 80, "protocol": "TCP"}]},
                "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.2"}, {"hostname": "lb.example.org"}]}}}),
        ),
        headless("heads"),
        slice("s1", "heads", &["10.0.0.1"]),
    ];
    let stage = Stage::with(|_, _| {}, &objects);
    let find = |name: &str, headless: bool| {
        let mut found = Vec::new();
        let name: wire::NameBuf = name.parse().expect("a name");
        let left = name.as_name().label_count() - 2;
        let there = stage
            .plugin
            .find(&Qname::from(name.as_name()), left, headless, &mut |one| {
                let host = match one.host {
                    Host::Address(ip) => ip.to_string(),
                    Host::Name(name) => name.to_string(),
                };
                found.push(format!("{host}:{}", one.port.unwrap_or(0)));
                ControlFlow::Continue(())
            });
        (there, found.join(" "))
    };
    let exists = |found: &str| (Existence::Exists, found.to_owned());
    let nothing = (Existence::NxDomain, String::new());
    let web = "192.0.2.1:80 192.0.2.2:80 lb.example.org.:80";
    assert_eq!(find("web.ns.example.org.", false), exists(web));
    assert_eq!(find("_http._tcp.web.ns.example.org.", false), exists(web));
    assert_eq!(find("_http._udp.web.ns.example.org.", false), nothing);
    assert_eq!(find("ns.example.org.", false), exists(""));
    assert_eq!(find("heads.ns.example.org.", false), nothing);
    assert_eq!(find("heads.ns.example.org.", true), exists("10.0.0.1:80"));
    assert_eq!(
        find("10-0-0-1.heads.ns.example.org.", true),
        exists("10.0.0.1:80")
    );
    assert_eq!(find("a.b.c.web.ns.example.org.", false), nothing);
    let mut owners = Vec::new();
    let there = stage
        .plugin
        .reverse("192.0.2.2".parse().expect("an address"), &mut |labels| {
            owners.push(labels.to_vec());
            ControlFlow::Continue(())
        });
    assert_eq!(
        (there, owners),
        (Existence::Exists, vec![b"\x03web\x02ns".to_vec()])
    );
    assert!(stage.plugin.serial() > 0);
}

#[test]
fn setup_takes_what_coredns_takes() {
    let endpoint = "endpoint http://127.0.0.1:1";
    let rows: Vec<(String, &str)> = [
        ("", ""),
        (
            "labels environment in (production, staging, qa),application=nginx",
            "",
        ),
        ("labels", "Wrong argument count"),
        ("labels a b c", "unable to parse label selector value"),
        ("namespace_labels istio-injection=enabled", ""),
        ("namespaces a b", ""),
        ("namespaces", "Wrong argument count"),
        ("namespaces a\nnamespace_labels b=c", "cannot both be set"),
        ("pods verified", ""),
        ("pods giant_seed", "wrong value for pods"),
        ("endpoint_pod_names", ""),
        ("endpoint_pod_names x", "Wrong argument count"),
        ("ttl 0", ""),
        ("ttl 3600", ""),
        ("ttl 3601", "range"),
        ("ttl -1", "range"),
        ("noendpoints", ""),
        ("zonal", ""),
        ("zonal us-west-2a", "Wrong argument count"),
        ("zonal\nnoendpoints", "zonal requires the endpoint cache"),
        ("ignore empty_service", ""),
        (
            "ignore ixnay on the endpointsay",
            "unable to parse ignore value",
        ),
        ("multicluster", ""),
        (
            "multicluster example.org",
            "is not authoritative for the multicluster zone",
        ),
        ("startup_timeout 1s", ""),
        ("startup_timeout 1", "unit"),
        (
            "apiserver_qps 50.0\napiserver_burst 100\napiserver_max_inflight 25",
            "",
        ),
        ("apiserver_qps -1", "apiserver_qps must be >= 0"),
        ("apiserver_burst x", "x"),
        ("resyncperiod 5m", "unknown property 'resyncperiod'"),
        ("fallthrough", ""),
        ("fallthrough in-addr.arpa ip6.arpa", ""),
        ("fallthrouhg", "unknown property"),
        ("kubeconfig", "Wrong argument count"),
        ("tls a b", "Wrong argument count"),
        ("endpoint", "Wrong argument count"),
    ]
    .map(|(lines, refusal)| {
        (
            format!("kubernetes cluster.local {{\n{endpoint}\n{lines}\n}}"),
            refusal,
        )
    })
    .into();
    let rows: Vec<(&str, &str)> = rows
        .iter()
        .map(|(lines, refusal)| (lines.as_str(), *refusal))
        .collect();
    trial::table(&rows);
    trial::table(&[
        (
            &format!("kubernetes 10.0.0.0/8 {{\n{endpoint}\n}}"),
            "non-reverse zone name must be used",
        ),
        // Two clusters, which CoreDNS refuses.
        (
            &format!(
                "kubernetes a.example.org {{\n{endpoint}\n}}\nkubernetes b.example.org {{\n{endpoint}\n}}"
            ),
            "",
        ),
    ]);
}

#[test]
fn the_readme_is_right() {
    trial::readme(include_str!("../README.md"));
}
