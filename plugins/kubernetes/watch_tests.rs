//! The loop against an API server that breaks in every way, with a sink that remembers.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use cluster::{Counts, Fault, Kind as K, Server, Size, Strike, WatchList};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::change::{Kind, Object, Sink};
use super::client::{Access, Connection, Limits, Tls};
use super::watch::{Selection, Timing, run};
use crate::trial;

/// The longest wait for what has to happen.
const PATIENCE: Duration = Duration::from_secs(15);

/// What a sink was told.
#[derive(Default)]
struct Record {
    /// What is known, by kind and `namespace/name`.
    known: BTreeMap<(&'static str, String), Object>,
    gathering: BTreeMap<(&'static str, String), Object>,
    /// The calls but `listed` and `heard`.
    calls: Vec<String>,
    heard: u32,
    lost: u32,
    listed: u32,
}

fn key(object: &Object) -> (&'static str, String) {
    let name = match object {
        Object::Namespace(one) => one.name.to_string(),
        Object::Service(one) => format!("{}/{}", one.namespace, one.name),
        Object::EndpointSlice(one) => format!("{}/{}", one.namespace, one.name),
        Object::Pod(one) => format!("{}/{}", one.namespace, one.name),
        Object::ServiceImport(one) => format!("{}/{}", one.namespace, one.name),
    };
    (object.kind().resource(), name)
}

impl Record {
    fn has(&self, kind: Kind, name: &str) -> bool {
        self.known.contains_key(&(kind.resource(), name.to_owned()))
    }

    fn count(&self, kind: Kind) -> usize {
        let of = kind.resource();
        self.known.keys().filter(|(kind, _)| *kind == of).count()
    }

    fn completed(&self) -> usize {
        let mut calls = self.calls.iter();
        calls
            .by_ref()
            .filter(|call| call.starts_with("complete"))
            .count()
    }
}

impl Sink for Record {
    fn begin(&mut self, kind: Kind) {
        self.gathering.retain(|(of, _), _| *of != kind.resource());
        self.calls.push(format!("begin {kind}"));
    }
    fn listed(&mut self, object: Object) {
        self.listed += 1;
        self.gathering.insert(key(&object), object);
    }
    fn complete(&mut self, kind: Kind) {
        self.known.retain(|(of, _), _| *of != kind.resource());
        let gathered = std::mem::take(&mut self.gathering);
        for (key, object) in gathered {
            if key.0 == kind.resource() {
                self.known.insert(key, object);
            } else {
                self.gathering.insert(key, object);
            }
        }
        self.calls.push(format!("complete {kind}"));
    }
    fn put(&mut self, object: Object) {
        self.calls.push(format!("put {}", key(&object).1));
        self.known.insert(key(&object), object);
    }
    fn remove(&mut self, object: Object) {
        self.calls.push(format!("remove {}", key(&object).1));
        self.known.remove(&key(&object));
    }
    fn lost(&mut self, kind: Kind, why: &str) {
        self.lost += 1;
        self.calls.push(format!("lost {kind}: {why}"));
    }
    fn heard(&mut self, _: Kind) {
        self.heard += 1;
    }
}

/// A watch at work on a thread of its own.
struct Trial {
    server: Server,
    record: Arc<Mutex<Record>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<String>>,
}

fn quick() -> Timing {
    Timing {
        back_off: (Duration::from_millis(20), Duration::from_millis(300)),
        watch: Duration::from_secs(2),
        grace: Duration::from_millis(500),
        answer: Duration::from_secs(2),
        stream: Duration::from_millis(700),
        relist: Duration::from_secs(3600),
        steady: Duration::from_secs(1),
        repeat: Duration::from_secs(60),
    }
}

/// A folder of the test's own.
fn folder() -> PathBuf {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let path =
        std::env::temp_dir().join(format!("nameplate-watch-{}-{number}", std::process::id()));
    std::fs::create_dir_all(&path).expect("a folder");
    path
}

fn selection(kind: Kind) -> Selection {
    Selection {
        kind,
        labels: String::new(),
        fields: String::new(),
    }
}

impl Trial {
    /// Watches services of a server without TLS.
    fn services(prepare: impl FnOnce(&Server)) -> Self {
        let server = Server::start_plain();
        prepare(&server);
        let access = endpoint(&server);
        Self::start(server, access, vec![selection(Kind::Service)], quick())
    }

    fn start(server: Server, access: Access, selections: Vec<Selection>, timing: Timing) -> Self {
        let connection = Connection::new(access, Limits::default()).expect("a connection");
        let record = Arc::new(Mutex::new(Record::default()));
        let sink = record.clone();
        let (stop, stopped) = oneshot::channel();
        let thread = thread::spawn(move || {
            trial::logged(|| {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .expect("a runtime");
                runtime.block_on(async {
                    tokio::select! {
                        () = run(connection, selections, timing, sink) => {}
                        _ = stopped => {}
                    }
                });
            })
        });
        Self {
            server,
            record,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().expect("no panic")
    }

    /// Waits until `is` holds; how long that took.
    fn until(&self, what: &str, is: impl Fn(&Record) -> bool) -> Duration {
        let begun = Instant::now();
        loop {
            let record = self.record();
            if is(&record) {
                return begun.elapsed();
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "{what} did not come: {:#?}\n{:?}",
                record.calls,
                self.server.counts()
            );
            drop(record);
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits until the server was asked so.
    fn asked(&self, so: impl Fn(&Counts) -> bool) {
        let begun = Instant::now();
        while !so(&self.server.counts()) {
            assert!(begun.elapsed() < PATIENCE, "{:?}", self.server.counts());
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits until the watch of `kind` is open.
    fn watching(&self, kind: K) {
        let begun = Instant::now();
        while self.server.watching(kind) == 0 {
            assert!(begun.elapsed() < PATIENCE, "no watch of {kind:?}");
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Stores a service, and waits until it is known.
    fn sees(&self, name: &str) -> Duration {
        self.server.apply(service(name));
        self.until(name, |record| {
            record.has(Kind::Service, &format!("default/{name}"))
        })
    }

    /// Ends the watch; what was logged.
    fn end(mut self) -> String {
        self.stop();
        let thread = self.thread.take().expect("not ended");
        thread.join().expect("no panic")
    }

    fn stop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        self.stop();
    }
}

fn endpoint(server: &Server) -> Access {
    Access::Endpoint {
        url: server.url(),
        tls: None,
    }
}

fn service(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default"},
        "spec": {"type": "ClusterIP", "clusterIP": "192.0.2.7", "clusterIPs": ["192.0.2.7", "2001:db8::7"], "selector": {"app": "x"},
            "externalIPs": ["192.0.2.8"], "ports": [{"name": "http", "port": 80, "protocol": "TCP"}]},
        "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.9"}, {"hostname": "lb.example.org"}]}}})
}

fn pod(name: &str, phase: &str, label: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default", "labels": {"tier": label}},
        "status": {"phase": phase, "podIP": "192.0.2.77"}})
}

#[test]
fn a_streaming_list_then_changes() {
    let trial = Trial::services(|server| {
        server.apply(service("one"));
        server.apply(service("two"));
    });
    trial.until("the list", |record| record.completed() == 1);
    {
        let record = trial.record();
        let Object::Service(one) = &record.known[&("services", "default/one".to_owned())] else {
            panic!("a service");
        };
        let texts = |all: &[Box<str>]| all.iter().map(|ip| ip.to_string()).collect::<Vec<_>>();
        assert_eq!(texts(&one.cluster_ips), ["192.0.2.7", "2001:db8::7"]);
        assert_eq!(
            texts(&one.external_ips),
            ["192.0.2.8", "192.0.2.9", "lb.example.org"]
        );
        assert!(one.selector && !one.external && !one.headless());
        assert_eq!(one.ports[0].port, Some(80));
    }
    trial.sees("three");
    trial.server.delete(K::Service, "default", "one");
    trial.until("the removal", |record| {
        !record.has(Kind::Service, "default/one")
    });
    let counts = trial.server.counts();
    assert_eq!((counts.streams[&K::Service], counts.lists.len()), (1, 0));
    assert_eq!(counts.connections, 1);
}

#[test]
fn watches_end_and_go_on_from_where_they_were() {
    let trial = Trial::services(|_| {});
    trial.until("the list", |record| record.completed() == 1);
    let begun = Instant::now();
    let mut number = 0;
    while trial.server.counts().watches.get(&K::Service) < Some(&2) {
        trial.sees(&format!("s{number}"));
        number += 1;
        assert!(begun.elapsed() < PATIENCE, "{:?}", trial.server.counts());
    }
    let counts = trial.server.counts();
    // One that begins anew where the list ended, and those that the server closed, reused.
    assert!(counts.connections <= 2, "{counts:?}");
    let record = trial.record();
    assert_eq!(
        (record.completed(), record.lost),
        (1, 0),
        "{:?}",
        record.calls
    );
    let puts = record.calls.iter().filter(|call| call.starts_with("put"));
    assert_eq!(puts.count(), number, "an event came twice or never");
}

/// Protobuf and JSON are told apart by what the server says that it sends, and say the same.
#[test]
fn both_encodings_tell_the_same() {
    let told = [true, false].map(|protobuf| {
        let server = Server::start_plain();
        server.set(|settings| settings.protobuf = protobuf);
        server.fill(Size::SMALL);
        server.apply(json!({"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "out", "namespace": "ns-0", "deletionTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"type": "LoadBalancer", "clusterIPs": ["10.96.9.9", "fd00::9"], "externalIPs": ["192.0.2.1"],
                "ports": [{"name": "a", "port": 65535, "protocol": "UDP"}, {"port": 1}]},
            "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.2"}, {"hostname": "lb.example.org"}]}}}));
        server.apply(json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "away", "namespace": "ns-0"},
            "spec": {"type": "ExternalName", "externalName": "www.example.org"}}));
        server.apply(json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": {"name": "mixed", "namespace": "ns-0",
                "labels": {"multicluster.kubernetes.io/service-name": "set", "multicluster.kubernetes.io/source-cluster": "c1"}},
            "endpoints": [{"addresses": ["fd00::1"]}, {"addresses": ["fd00::2"], "conditions": {}},
                {"addresses": ["fd00::3", "fd00::4"], "conditions": {"ready": false}, "hostname": "three", "zone": "a.b"}],
            "ports": null}));
        server.apply(pod("late", "Running", "a"));
        let mut leaving = pod("leaving", "Running", "a");
        leaving["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        server.apply(leaving);
        server.apply(json!({"apiVersion": "multicluster.x-k8s.io/v1alpha1", "kind": "ServiceImport",
            "metadata": {"name": "set", "namespace": "ns-0"}, "spec": {"type": "Headless", "ports": [{"port": 80}]}}));
        let access = endpoint(&server);
        let trial = Trial::start(server, access, Kind::ALL.map(selection).into(), quick());
        trial.until("the lists", |record| record.completed() == 5);
        trial.sees("changed");
        trial.server.delete(K::Service, "ns-0", "svc-0");
        trial.until("a removal", |record| !record.has(Kind::Service, "ns-0/svc-0"));
        let known = trial.record().known.clone();
        let log = trial.end();
        assert!(!log.contains("cannot be read"), "{log}");
        known
    });
    assert!(told[0].len() > 700, "{}", told[0].len());
    for (in_protobuf, in_json) in told[0].iter().zip(&told[1]) {
        assert_eq!(in_protobuf, in_json);
    }
    assert_eq!(told[0].len(), told[1].len());
}

#[test]
fn pages_where_lists_are_not_streamed() {
    for (how, pages) in [
        (WatchList::Refuses, true),
        (WatchList::Ignores, true),
        (WatchList::Streams, false),
    ] {
        let trial = Trial::services(|server| {
            server.set(|settings| settings.watch_list = how);
            server.fill(Size {
                services: 1_200,
                endpoints: 0,
                slices: 0,
                pods: 0,
                namespaces: 3,
            });
        });
        trial.until("the list", |record| record.completed() == 1);
        assert_eq!(trial.record().count(Kind::Service), 1_200);
        let counts = trial.server.counts();
        let of =
            |map: &std::collections::HashMap<K, u64>| map.get(&K::Service).copied().unwrap_or(0);
        let expected = if pages { (1, 2) } else { (0, 0) };
        assert_eq!((of(&counts.lists), of(&counts.pages)), expected, "{how:?}");
        trial.sees("later");
    }
}

#[test]
fn a_page_that_expires_begins_the_list_anew() {
    let trial = Trial::services(|server| {
        server.set(|settings| settings.watch_list = WatchList::Refuses);
        server.fill(Size {
            services: 1_200,
            endpoints: 0,
            slices: 0,
            pods: 0,
            namespaces: 3,
        });
        let none = Fault::Delay(Duration::ZERO);
        server.fault(
            K::Service,
            &[none, none, Fault::Delay(Duration::from_millis(500))],
        );
    });
    trial.until("a page", |record| record.listed == 500);
    trial.server.compact();
    trial.until("the list", |record| record.completed() == 1);
    let record = trial.record();
    assert_eq!(record.count(Kind::Service), 1_200);
    assert_eq!((record.lost, record.listed), (0, 1_700));
}

#[test]
fn a_version_that_is_too_old_is_listed_anew_in_both_forms() {
    for http in [false, true] {
        let trial = Trial::services(|server| {
            server.set(|settings| settings.http_gone = http);
            server.apply(service("one"));
            server.apply(service("two"));
        });
        trial.until("the list", |record| record.completed() == 1);
        trial.watching(K::Service);
        trial.server.kill();
        trial.server.delete(K::Service, "default", "one");
        trial.server.apply(service("three"));
        trial.until("the loss", |record| record.lost == 1);
        assert!(
            trial.record().has(Kind::Service, "default/one"),
            "the last known state stays"
        );
        trial.server.revive();
        trial.until("the second list", |record| record.completed() == 2);
        let record = trial.record();
        assert!(
            !record.has(Kind::Service, "default/one") && record.has(Kind::Service, "default/three")
        );
        let removed = record.calls.iter().any(|call| call.starts_with("remove"));
        assert!(!removed, "one replacement, no removals: {:?}", record.calls);
        drop(record);
        assert!(
            trial.server.counts().streams[&K::Service] <= 2,
            "one list is enough"
        );
    }
}

#[test]
fn watches_that_break_go_on_without_a_list() {
    for (strike, most) in [
        (Strike::MidLine, 500),
        (Strike::Reset, 500),
        (Strike::Close, 500),
        (Strike::Duplicate, 500),
        (Strike::Stall, 4_000),
    ] {
        let trial = Trial::services(|server| {
            server.apply(service("one"));
        });
        trial.until("the list", |record| record.completed() == 1);
        trial.sees("two");
        trial.watching(K::Service);
        // What is stored after a strike is not told by the watch that was struck.
        trial.server.strike(K::Service, strike);
        let took = trial.sees("three");
        assert!(took < Duration::from_millis(most), "{strike:?}: {took:?}");
        let record = trial.record();
        assert_eq!(record.completed(), 1, "{strike:?}: {:?}", record.calls);
        assert_eq!(record.count(Kind::Service), 3);
    }
}

#[test]
fn an_error_event_leads_to_a_list() {
    for code in [410, 500] {
        let trial = Trial::services(|server| {
            server.apply(service("one"));
        });
        trial.until("the list", |record| record.completed() == 1);
        trial.watching(K::Service);
        trial.server.strike(K::Service, Strike::Error(code));
        trial.until("another list", |record| record.completed() == 2);
        trial.sees("two");
        let logged = trial.end();
        assert_eq!(
            logged.contains("WARN plugin/kubernetes: Failed to watch services at 127.0.0.1:"),
            code == 500,
            "{logged}"
        );
    }
}

#[test]
fn octets_may_come_in_any_pieces() {
    let trial = Trial::services(|server| {
        server.set(|settings| settings.drip = true);
        server.apply(service("one"));
    });
    trial.until("the list", |record| record.completed() == 1);
    trial.sees("two");
    trial.server.set(|settings| {
        settings.drip = false;
        settings.hold = Duration::from_millis(100);
    });
    trial.server.strike(K::Service, Strike::Close);
    trial.watching(K::Service);
    for name in ["three", "four", "five"] {
        trial.server.apply(service(name));
    }
    trial.until("all", |record| record.count(Kind::Service) == 5);
    assert_eq!(trial.record().lost, 0);
}

#[test]
fn lists_that_break_are_never_half_taken() {
    let none = Fault::Delay(Duration::ZERO);
    for (how, faults) in [
        (WatchList::Streams, vec![Fault::Cut(900), Fault::Cut(0)]),
        (WatchList::Streams, vec![Fault::Stall(900)]),
        (WatchList::Streams, vec![Fault::Hang]),
        (
            WatchList::Refuses,
            vec![none, Fault::Cut(900), Fault::Stall(900)],
        ),
    ] {
        let trial = Trial::services(|server| {
            server.set(|settings| settings.watch_list = how);
            for number in 0..10 {
                server.apply(service(&format!("s{number}")));
            }
            server.fault(K::Service, &faults);
        });
        trial.until("the list", |record| {
            assert!(matches!(record.count(Kind::Service), 0 | 10), "half a list");
            record.completed() == 1
        });
        assert_eq!(trial.record().count(Kind::Service), 10, "{faults:?}");
        trial.sees("later");
    }
}

#[test]
fn refusals_are_told_and_waited_for() {
    for (code, after, least) in [
        (500, None, 0),
        (503, Some(1), 1_000),
        (429, Some(1), 1_000),
        (404, None, 0),
    ] {
        let trial = Trial::services(|server| {
            server.fault(K::Service, &[Fault::Status(code, after)]);
        });
        trial.until("the refusal", |record| record.lost == 1);
        let took = trial.until("the list", |record| record.completed() == 1);
        assert!(
            took >= Duration::from_millis(least).mul_f64(0.9),
            "{code}: {took:?}"
        );
        assert!(
            took < Duration::from_millis(least + 500),
            "{code}: {took:?}"
        );
        let logged = trial.end();
        assert!(
            logged.contains(&format!("HTTP {code}: as the test wants it")),
            "{logged}"
        );
        assert!(
            logged.contains("INFO plugin/kubernetes: Watching services at 127.0.0.1:"),
            "{logged}"
        );
    }
}

#[test]
fn a_missing_right_is_named() {
    let server = Server::start_plain();
    server.set(|settings| {
        settings.forbidden.insert(K::EndpointSlice);
    });
    let access = endpoint(&server);
    let kinds = vec![selection(Kind::Service), selection(Kind::EndpointSlice)];
    let trial = Trial::start(server, access, kinds, quick());
    let begun = Instant::now();
    trial.until("both", |record| record.lost == 1 && record.completed() == 1);
    trial.asked(|counts| {
        let of = counts.requests.iter();
        of.filter(|path| path.contains("endpointslices")).count() >= 6
    });
    // Waits of 20, 40, 80, 160 and 300 ms, each shortened to a half at most.
    let took = begun.elapsed();
    assert!(
        took >= Duration::from_millis(300),
        "the back-off grows: {took:?}"
    );
    trial.server.set(|settings| settings.forbidden.clear());
    trial.until("the other list", |record| record.completed() == 2);
    let logged = trial.end();
    let line = "this needs the verbs list and watch on the resource \"endpointslices\" in API group \"discovery.k8s.io\" at the cluster scope";
    assert_eq!(
        logged.matches(line).count(),
        1,
        "once, not at each attempt: {logged}"
    );
}

#[test]
fn tokens_and_authorities_rotate() {
    let server = Server::start();
    let folder = folder();
    server.account(&folder, "first");
    server.set(|settings| settings.tokens = ["first".to_owned()].into());
    server.apply(service("one"));
    let access = Access::Account {
        url: server.url(),
        folder: folder.clone(),
    };
    let trial = Trial::start(server, access, vec![selection(Kind::Service)], quick());
    trial.until("the list", |record| record.completed() == 1);

    // The token rotates: what the file says now is sent, without waiting for a minute to pass.
    trial.server.account(&folder, "second");
    trial
        .server
        .set(|settings| settings.tokens = ["second".to_owned()].into());
    trial.server.strike(K::Service, Strike::Close);
    trial.asked(|counts| counts.authorization == "Bearer second");
    let took = trial.sees("two");
    assert!(took < Duration::from_secs(1), "{took:?}");

    // The server's certificate rotates.
    let before = trial.server.counts().connections;
    trial.server.rotate_certificate();
    trial.server.strike(K::Service, Strike::Reset);
    trial.asked(|counts| counts.connections > before);
    trial.sees("three");

    // The authority rotates; until its file does, the server is not trusted.
    let before = trial.server.counts().connections;
    trial.server.rotate_authority();
    trial.asked(|counts| counts.connections > before + 1);
    trial.server.apply(service("four"));
    let before = trial.server.counts().connections;
    trial.asked(|counts| counts.connections > before + 2);
    assert!(
        !trial.record().has(Kind::Service, "default/four"),
        "an unknown authority is believed"
    );
    trial.server.account(&folder, "second");
    trial.until("trust", |record| record.has(Kind::Service, "default/four"));
    assert_eq!(trial.record().completed(), 1, "no list was needed");
    let logged = trial.end();
    assert!(logged.contains("UnknownIssuer"), "{logged}");
}

#[test]
fn certificates_and_kubeconfigs_are_credentials() {
    let by_certificate = |server: &Server| {
        let [certificate, key, authority] = server.client_files(&folder());
        Access::Endpoint {
            url: server.url(),
            tls: Some(Tls {
                certificate,
                key,
                authority,
            }),
        }
    };
    let by_kubeconfig = |server: &Server| Access::Kubeconfig {
        file: server.kubeconfig(&folder(), "secret"),
        context: Some("test".to_owned()),
    };
    let ways: [&dyn Fn(&Server) -> Access; 2] = [&by_certificate, &by_kubeconfig];
    for way in ways {
        let server = Server::start();
        server.set(|settings| settings.tokens = ["secret".to_owned()].into());
        server.apply(service("one"));
        let access = way(&server);
        let trial = Trial::start(server, access, vec![selection(Kind::Service)], quick());
        trial.until("the list", |record| record.count(Kind::Service) == 1);
        assert_eq!(trial.record().lost, 0);
    }
}

#[test]
fn a_version_that_runs_backwards_is_listed_anew() {
    for bookmarks in [Some(Duration::from_millis(300)), None] {
        let trial = Trial::services(|server| {
            server.set(|settings| settings.bookmarks = bookmarks);
            server.apply(service("one"));
        });
        trial.until("the list", |record| record.completed() == 1);
        let backup = trial.server.backup();
        for name in ["two", "three"] {
            trial.sees(name);
        }
        trial.server.restore(backup);
        trial.until("the past", |record| record.completed() == 2);
        let record = trial.record();
        assert_eq!(record.count(Kind::Service), 1, "{bookmarks:?}");
    }
}

#[test]
fn a_server_that_is_away_is_not_hammered() {
    let server = Server::start_plain();
    server.apply(service("one"));
    let access = endpoint(&server);
    let kinds = Kind::ALL.map(selection).into();
    let trial = Trial::start(server, access, kinds, quick());
    trial.until("the lists", |record| record.completed() == 5);
    let before = trial.server.counts().connections;
    trial.server.set(|settings| settings.frozen = true);
    let took = trial.until("the loss", |record| record.lost == 5);
    assert!(took < Duration::from_secs(6), "{took:?}");
    let asked = trial.server.counts().connections - before;
    assert!(asked < 40, "{asked} connections");
    trial.server.set(|settings| settings.frozen = false);
    let took = trial.sees("two");
    assert!(took < Duration::from_secs(1), "{took:?}");
    let record = trial.record();
    assert_eq!((record.completed(), record.count(Kind::Service)), (5, 2));
}

#[test]
fn selectors_reach_the_server() {
    let server = Server::start_plain();
    server.apply(pod("runs", "Running", "a"));
    server.apply(pod("done", "Succeeded", "a"));
    server.apply(pod("other", "Running", "b"));
    let access = endpoint(&server);
    let pods = Selection {
        kind: Kind::Pod,
        labels: "tier in (a,c),!gone".to_owned(),
        fields: "status.phase!=Succeeded,status.phase!=Failed,status.phase!=Unknown".to_owned(),
    };
    let trial = Trial::start(server, access, vec![pods], quick());
    trial.until("the list", |record| record.completed() == 1);
    assert_eq!(trial.record().count(Kind::Pod), 1);
    trial.server.apply(pod("runs", "Failed", "a"));
    trial.until("the end of a pod", |record| record.count(Kind::Pod) == 0);
}

#[test]
fn a_list_grows_old() {
    let server = Server::start_plain();
    server.apply(service("one"));
    let access = endpoint(&server);
    let timing = Timing {
        relist: Duration::from_secs(2),
        ..quick()
    };
    let trial = Trial::start(server, access, vec![selection(Kind::Service)], timing);
    trial.until("another list", |record| record.completed() == 2);
    let record = trial.record();
    assert_eq!(record.lost, 0);
    assert!(record.has(Kind::Service, "default/one"));
}
