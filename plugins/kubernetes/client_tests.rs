//! What a connection is made of, what it refuses, and its limits; objects out of the API's JSON.

use std::path::PathBuf;
use std::time::Instant;

use cluster::{Kind as K, Server};

use super::change::{Kind, Object};
use super::client::{Access, Connection, Limits, Tls};
use super::decode::{self, Event, Items, Lines};

fn folder(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("nameplate-client-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&path).expect("a folder");
    path
}

fn refusal(access: Access) -> String {
    let made = Connection::new(access, Limits::default());
    made.err().expect("a refusal")
}

#[test]
fn what_cannot_work_is_said_before_it_is_tried() {
    let folder = folder("refusals");
    let missing = folder.join("missing");
    let endpoint = |url: &str| Access::Endpoint {
        url: url.to_owned(),
        tls: None,
    };
    assert!(refusal(endpoint("ftp://192.0.2.1")).contains("not a URL of http or https"));
    assert!(refusal(endpoint("https://")).contains("not a URL"));
    let tls = Access::Endpoint {
        url: "https://192.0.2.1:6443".to_owned(),
        tls: Some(Tls {
            certificate: missing.clone(),
            key: missing.clone(),
            authority: missing.clone(),
        }),
    };
    assert!(refusal(tls).starts_with(&format!("open {}: No such file", missing.display())));
    let account = Access::Account {
        url: "https://192.0.2.1".to_owned(),
        folder: missing.clone(),
    };
    assert!(refusal(account).contains("missing/token: No such file"));

    let rows = [
        ("contexts: []\n", None, "no current-context"),
        (
            "current-context: a\ncontexts: []\n",
            None,
            "context \"a\" does not exist",
        ),
        (
            "current-context: a\ncontexts: []\n",
            Some("b"),
            "context \"b\" does not exist",
        ),
        (
            "current-context: a\ncontexts: [{name: a, context: {cluster: c, user: u}}]\n",
            None,
            "cluster \"c\" does not exist",
        ),
        (
            "current-context: a\ncontexts: [{name: a, context: {cluster: c, user: u}}]\nclusters: [{name: c, cluster: {server: \"https://192.0.2.1\", proxy-url: \"http://192.0.2.2\"}}]\n",
            None,
            "proxy-url is not implemented",
        ),
        (
            "current-context: a\ncontexts: [{name: a, context: {cluster: c, user: u}}]\nclusters: [{name: c, cluster: {server: \"https://192.0.2.1\"}}]\nusers: [{name: u, user: {auth-provider: {name: oidc, config: {}}}}]\n",
            None,
            "auth-provider oidc is not implemented",
        ),
        ("{", None, ""),
    ];
    for (text, context, expected) in rows {
        let file = folder.join("config");
        std::fs::write(&file, text).expect("a file");
        let said = refusal(Access::Kubeconfig {
            file,
            context: context.map(str::to_owned),
        });
        assert!(said.contains(expected), "{text}: {said}");
    }
}

#[test]
fn a_pod_needs_its_environment() {
    // Only where the tests do not run in a pod.
    if std::env::var_os("KUBERNETES_SERVICE_HOST").is_none() {
        assert_eq!(
            refusal(Access::InCluster),
            "unable to load in-cluster configuration, KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT must be defined"
        );
    }
}

#[test]
fn requests_keep_to_their_rate() {
    let server = Server::start_plain();
    let access = Access::Endpoint {
        url: server.url(),
        tls: None,
    };
    let limits = Limits {
        rate: 20.0,
        burst: 3,
        in_flight: 1,
    };
    let connection = Connection::new(access, limits).expect("a connection");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let begun = Instant::now();
    runtime.block_on(async {
        for _ in 0..9 {
            let answered = connection
                .get("/version", "application/json")
                .await
                .expect("an answer");
            assert!(answered.response.status().is_success());
        }
    });
    // Three at once, then one each 50 ms.
    let took = begun.elapsed();
    assert!((280..900).contains(&took.as_millis()), "{took:?}");
    assert_eq!(server.counts().requests.len(), 9);
}

#[test]
fn nulls_and_gaps_are_tolerated() {
    let objects = [
        (Kind::Namespace, r#"{"metadata":null}"#),
        (
            Kind::Namespace,
            r#"{"metadata":{"name":null,"labels":null,"annotations":null}}"#,
        ),
        (Kind::Service, r#"{"spec":null,"status":null}"#),
        (
            Kind::Service,
            r#"{"spec":{"clusterIPs":null,"clusterIP":null,"ports":null,"selector":null,"externalIPs":null,"type":null,"externalName":null},"status":{"loadBalancer":null}}"#,
        ),
        (
            Kind::Service,
            r#"{"spec":{"ports":[{"name":null,"port":null,"protocol":null}]},"status":{"loadBalancer":{"ingress":[{"ip":null,"hostname":null}]}}}"#,
        ),
        (
            Kind::EndpointSlice,
            r#"{"addressType":"","endpoints":null,"ports":null}"#,
        ),
        (
            Kind::EndpointSlice,
            r#"{"endpoints":[{"addresses":null,"conditions":null,"hostname":null,"targetRef":null,"zone":null}]}"#,
        ),
        (
            Kind::EndpointSlice,
            r#"{"endpoints":[{"conditions":{"ready":null},"targetRef":{"name":null}}],"ports":[{}]}"#,
        ),
        (
            Kind::Pod,
            r#"{"spec":{"containers":null},"status":{"podIP":null}}"#,
        ),
        (
            Kind::ServiceImport,
            r#"{"spec":{"type":null,"ips":null,"ports":null}}"#,
        ),
    ];
    for (kind, text) in objects {
        let object = decode::item(kind, text.as_bytes()).unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!(object.kind(), kind);
        for what in ["ADDED", "DELETED", "BOOKMARK"] {
            let line = format!(r#"{{"type":"{what}","object":{text}}}"#);
            decode::event(kind, line.as_bytes()).unwrap_or_else(|e| panic!("{line}: {e}"));
        }
        // What a kind's fields have as another type, an error's status may have.
        let line = br#"{"type":"ERROR","object":{"kind":"Status","status":"Failure","spec":7,"reason":"Expired","code":410}}"#;
        let Ok(Event::Failed(status)) = decode::event(kind, line) else {
            panic!("{kind}: a status");
        };
        assert_eq!((status.code, &*status.reason), (410, "Expired"));
    }
}

#[test]
fn unknown_readiness_is_ready() {
    for (conditions, ready) in [
        ("", true),
        (r#","conditions":{}"#, true),
        (r#","conditions":{"ready":true}"#, true),
        (r#","conditions":{"ready":false,"serving":true}"#, false),
    ] {
        let text = format!(r#"{{"endpoints":[{{"addresses":["192.0.2.1"]{conditions}}}]}}"#);
        let Ok(Object::EndpointSlice(slice)) = decode::item(Kind::EndpointSlice, text.as_bytes())
        else {
            panic!("{text}");
        };
        assert_eq!(slice.endpoints[0].ready, ready, "{text}");
    }
}

#[test]
fn lists_and_lines_may_be_split_anywhere() {
    let list = br#" {"kind":"ServiceList","metadata":{"resourceVersion":"42","continue":"x","items":[{"not":"this"}]},
        "items" : [ {"a":"}]\"\\"}, {"b":[{"c":"items"}]} ,{}], "after":{"items":[{}]}} "#;
    let items = [r#"{"a":"}]\"\\"}"#, r#"{"b":[{"c":"items"}]}"#, "{}"];
    let lines = b"one\n\ntwo\nthree\n";
    for size in 1..list.len() {
        let (mut splitter, mut found) = (Items::default(), Vec::new());
        for piece in list.chunks(size) {
            let fed = splitter.feed(piece, |item| {
                found.push(String::from_utf8_lossy(item).into_owned());
            });
            assert!(fed.is_ok());
        }
        assert_eq!(found, items, "in pieces of {size}");
        let end = splitter
            .end()
            .unwrap_or_else(|error| panic!("{size}: {error}"));
        assert_eq!((&*end.metadata.version, &*end.metadata.next), ("42", "x"));

        let (mut splitter, mut found) = (Lines::default(), Vec::new());
        for piece in lines.chunks(size) {
            let fed = splitter.feed(piece, |line| {
                found.push(String::from_utf8_lossy(line).into_owned());
                true
            });
            assert!(fed.is_ok());
        }
        assert_eq!(found, ["one", "", "two", "three"], "in pieces of {size}");
        assert!(!splitter.midway());
    }
    let mut cut = Items::default();
    assert!(cut.feed(&list[..60], |_| {}).is_ok());
    assert!(cut.end().is_err(), "half a list is no list");
}

#[test]
fn texts_without_end_are_given_up() {
    let endless = vec![b'x'; 1 << 20];
    let mut lines = Lines::default();
    let fed = (0..17)
        .map(|_| lines.feed(&endless, |_| true))
        .filter(Result::is_err);
    assert_eq!(fed.count(), 1);
    let mut items = Items::default();
    let fed = (0..17)
        .map(|_| items.feed(&endless, |_| {}))
        .filter(Result::is_err);
    assert_eq!(fed.count(), 1);
}

#[test]
fn the_kinds_are_those_of_the_server() {
    for (ours, its) in Kind::ALL.into_iter().zip(K::ALL) {
        assert_eq!(ours.resource(), its.resource());
    }
}
