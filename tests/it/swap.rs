//! `kubectl set image`, for real as far as a machine without Kubernetes goes: the image's root file system, as the addon's pod has it.
//!
//! Everything around the image is the addon's: arguments, ConfigMap, service account, security context, probes and memory. Only root
//! can start it so.

mod pod;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use std::{fs, thread};

use cluster::{Kind, Server as Api, Size, Strike};
use hickory_proto::op::{Message, Query};
use hickory_proto::rr::{Name, Record, RecordType};
use serde_json::{Value, json};

use crate::server::{
    Reply, Upstream, answer, ask_tcp, ask_udp, empty, temporary_directory, wait_until,
};
use pod::{API, Account, Pod, UPSTREAMS};

/// The ConfigMap of kubeadm 1.33.
const COREFILE: &str = ".:53 {
    errors
    health {
       lameduck 5s
    }
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
       pods insecure
       fallthrough in-addr.arpa ip6.arpa
       ttl 30
    }
    prometheus :9153
    forward . /etc/resolv.conf {
       max_concurrent 1000
    }
    cache 30 {
       disable success cluster.local
       disable denial cluster.local
    }
    loop
    reload
    loadbalance
}
";
/// What an administrator adds.
const STUB: &str = "stub.example:53 {
    errors
    cache 30
    forward . 192.0.2.54
}
";

#[test]
fn the_image_is_swapped_and_nothing_else() {
    if !pod::inside("swap::the_image_is_swapped_and_nothing_else") {
        return;
    }
    let dir = temporary_directory("swap");
    let mut stage = Stage::start(&dir);
    // Everything that is wrong at once: each start takes a while.
    let steps: [(&str, Step); 9] = [
        ("ready", Stage::becomes_ready),
        ("security context", Stage::runs_as_the_addon_does),
        ("specification", Stage::answers_by_the_specification),
        ("stub resolver", Stage::is_found_by_the_stub_resolver),
        ("metrics", Stage::shows_the_metrics_of_dashboards),
        ("ConfigMap", Stage::takes_an_edited_config_map),
        ("token", Stage::takes_a_rotated_token),
        ("memory", Stage::lists_anew_within_its_memory),
        ("lameduck", Stage::serves_to_the_end_of_lameduck),
    ];
    let failed: Vec<&str> = steps
        .into_iter()
        .filter(|(_, step)| catch_unwind(AssertUnwindSafe(|| step(&mut stage))).is_err())
        .map(|(name, _)| name)
        .collect();
    assert!(failed.is_empty(), "{failed:?}, as said above");
}

/// Something that a user must be able to do.
type Step = fn(&mut Stage);

/// The cluster, its upstreams, and the pod.
struct Stage {
    api: Api,
    account: Account,
    /// Names that an upstream was asked for.
    asked: Arc<Mutex<Vec<String>>>,
    pod: Pod,
    _upstreams: [Upstream; 2],
}

impl Stage {
    fn start(dir: &Path) -> Self {
        pod::network(dir);
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let upstreams = UPSTREAMS.map(|ip| {
            let asked = asked.clone();
            Upstream::start_on((ip, 53).into(), move |query| {
                let (name, qtype) = question(query.octets);
                asked.lock().expect("no panic").push(name.clone());
                let known = ["www.example.org.", "www.stub.example."].contains(&&*name);
                Reply::Octets(match (known, qtype) {
                    (true, RecordType::A) => answer(query.octets, 60, &[[198, 51, 100, ip[3]]]),
                    (true, _) => empty(query.octets, 0),
                    _ => empty(query.octets, 3),
                })
            })
        });
        let api = Api::start_at(API.into());
        fill(&api);
        api.set(|settings| {
            settings.tokens = ["first".to_owned()].into();
            settings.certificates = false;
            settings.forbidden.insert(Kind::ServiceImport);
        });
        let folder = dir.join("api");
        fs::create_dir_all(&folder).expect("a directory");
        api.account(&folder, "first");
        let account = Account {
            authority: fs::read_to_string(folder.join("ca.crt")).expect("a certificate"),
            token: "first".to_owned(),
        };
        Self {
            pod: Pod::start(dir, COREFILE, &account),
            api,
            account,
            asked,
            _upstreams: upstreams,
        }
    }

    /// An answer over UDP, or over TCP: the RCODE, then the records in order, the name that was asked left out.
    fn tell(&self, name: &str, qtype: RecordType, tcp: bool) -> Option<Told> {
        let octets = query(name, qtype);
        let patience = Duration::from_secs(2);
        let reply = match tcp {
            true => ask_tcp(self.pod.address(), &octets, patience)?,
            false => ask_udp(self.pod.address(), &octets, patience)?,
        };
        Some(Told::new(&Message::from_vec(&reply).expect("a message")))
    }

    /// The same over both, which have to agree.
    fn ask(&self, name: &str, qtype: RecordType) -> String {
        let [udp, tcp] = [false, true].map(|tcp| {
            let told = self.tell(name, qtype, tcp);
            told.map_or("no answer".to_owned(), |told| told.text)
        });
        assert_eq!(udp, tcp, "{name} {qtype}: UDP and TCP");
        udp
    }

    /// Waits until `name` has this address.
    fn until(&self, name: &str, address: &str) {
        let wanted = format!("0 A {address}");
        wait_until(&format!("{name}: {address}"), || {
            self.tell(name, RecordType::A, false)
                .is_some_and(|told| told.text == wanted)
        });
    }

    /// Asks all the time while something is done, and a hundred times at least; how many queries went without the one right answer.
    fn meanwhile(&self, name: &str, right: &str, act: impl FnOnce()) -> (u32, u32) {
        let (stop, count, lost) = (AtomicBool::new(false), AtomicU32::new(0), AtomicU32::new(0));
        thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) || count.load(Ordering::Relaxed) <= 100 {
                    let told = self.tell(name, RecordType::A, false);
                    count.fetch_add(1, Ordering::Relaxed);
                    if told.is_none_or(|told| told.text != right) {
                        lost.fetch_add(1, Ordering::Relaxed);
                    }
                    thread::sleep(Duration::from_millis(2));
                }
            });
            // Whatever becomes of it, the asking ends.
            let done = catch_unwind(AssertUnwindSafe(act));
            stop.store(true, Ordering::Relaxed);
            if let Err(panic) = done {
                resume_unwind(panic);
            }
        });
        (count.into_inner(), lost.into_inner())
    }

    /// Both probes of the addon pass; readiness not before the lists.
    fn becomes_ready(&mut self) {
        wait_until("/ready on 8181", || {
            self.pod.probe(8181, "/ready") == Some(200)
        });
        assert_eq!(self.pod.page(8080, "/health"), Some((200, "OK".to_owned())));
        self.until("web.default.svc.cluster.local.", "10.96.7.1");
        let authorization = self.api.counts().authorization;
        assert_eq!(authorization, "Bearer first");
    }

    fn runs_as_the_addon_does(&mut self) {
        let pod = &self.pod;
        assert_eq!(pod.status("Uid"), "65532 65532 65532 65532");
        assert_eq!(pod.status("Gid"), "65532 65532 65532 65532");
        assert_eq!(pod.status("Groups"), "");
        assert_eq!(pod.status("NoNewPrivs"), "1");
        // It is the container's first process: signals that it does not handle would be lost on it.
        assert!(
            pod.status("NSpid").ends_with(" 1"),
            "{}",
            pod.status("NSpid")
        );
        for set in ["CapEff", "CapPrm", "CapBnd"] {
            assert_eq!(
                pod.status(set),
                "0000000000000400",
                "{set}: NET_BIND_SERVICE alone"
            );
        }
        let mounts = fs::read_to_string(format!("/proc/{}/mounts", pod.pid())).expect("mounts");
        let root = mounts
            .lines()
            .find(|line| line.split(' ').nth(1) == Some("/"));
        let options = root
            .and_then(|line| line.split(' ').nth(3))
            .unwrap_or_default();
        assert!(options.split(',').any(|option| option == "ro"), "{mounts}");
    }

    fn answers_by_the_specification(&mut self) {
        let mut wrong = Vec::new();
        for (asked, told) in ANSWERS {
            let (name, qtype) = asked.split_once(' ').expect("a name and a type");
            let whole = match name.strip_suffix('.') {
                Some(_) => name.to_owned(),
                None => format!("{name}.cluster.local."),
            };
            let answer = self.ask(&whole, qtype.parse().expect("a type"));
            if answer != *told {
                wrong.push(format!("{asked}: {answer}, not {told}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        let name = "web.default.svc.cluster.local.";
        for _ in 0..2 {
            let told = self.tell(name, RecordType::A, false).expect("an answer");
            assert_eq!(
                (told.ttl, told.authoritative),
                (30, true),
                "no cache is in between"
            );
        }
        let told = self.ask("WEB.default.svc.cluster.local.", RecordType::A);
        assert_eq!(told, "0 A 10.96.7.1");
    }

    /// As every pod asks: by the C library, with the search path and `ndots:5` that the kubelet writes.
    fn is_found_by_the_stub_resolver(&mut self) {
        let get = |database: &str, key: &str| {
            let out = Command::new("getent").args([database, key]).output();
            let out = out.expect("getent runs");
            String::from_utf8_lossy(&out.stdout)
                .lines()
                .next()
                .unwrap_or_default()
                .split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        for (key, address) in [
            ("web", "10.96.7.1"),
            ("kubernetes.default", "10.96.0.1"),
            ("kubernetes.default.svc", "10.96.0.1"),
            ("kubernetes.default.svc.cluster.local", "10.96.0.1"),
            ("db-0.db.shop", "10.244.1.10"),
            ("api.shop", "198.51.100.53"),
            ("www.example.org", "198.51.100.53"),
        ] {
            let found = get("ahostsv4", key);
            assert_eq!(found.first().map(String::as_str), Some(address), "{key}");
        }
        assert_eq!(
            get("ahostsv6", "web").first().map(String::as_str),
            Some("fd00:96::7:1")
        );
        assert_eq!(
            get("hosts", "10.96.0.1").get(1).map(String::as_str),
            Some("kubernetes.default.svc.cluster.local")
        );
        assert!(get("ahostsv4", "nothing.shop").is_empty());
        let asked = self.asked.lock().expect("no panic").clone();
        let own = asked
            .iter()
            .filter(|name| name.ends_with("cluster.local."))
            .count();
        assert_eq!(own, 0, "no name of the cluster goes upstream: {asked:?}");
    }

    /// By these names the Grafana dashboards and the alerts of coredns-mixin ask.
    fn shows_the_metrics_of_dashboards(&mut self) {
        // One that only changes of endpoints move.
        let mut slice = slice(
            "shop",
            "db-4",
            "db",
            &json!([
                endpoint("10.244.1.10", "db-0"),
                endpoint("10.244.1.11", "db-1")
            ]),
        );
        slice["metadata"]["annotations"] =
            json!({"endpoints.kubernetes.io/last-change-trigger-time": "2026-11-21T00:00:00Z"});
        self.api.apply(slice);
        self.api.delete(Kind::EndpointSlice, "shop", "db-4");
        let mut missing = Vec::new();
        wait_until("the metrics", || {
            let (status, page) = self.pod.page(9153, "/metrics").unwrap_or_default();
            missing = METRICS
                .iter()
                .filter(|name| {
                    !page.lines().any(|line| {
                        line.strip_prefix(**name)
                            .is_some_and(|rest| rest.starts_with(['{', ' ']))
                    })
                })
                .copied()
                .collect();
            let done = status == 200 && missing.is_empty();
            if !done {
                thread::sleep(Duration::from_millis(500));
                eprintln!("not there: {missing:?}");
            }
            done
        });
    }

    /// An administrator edits the ConfigMap; the kubelet swaps the link. No query is lost, and a mistake changes nothing.
    fn takes_an_edited_config_map(&mut self) {
        assert_eq!(
            self.ask("www.stub.example.", RecordType::A),
            "0 A 198.51.100.53"
        );
        let edit = |text: &str| self.pod.config.replace(&[("Corefile", text)]);
        let (count, lost) = self.meanwhile("web.default.svc.cluster.local.", "0 A 10.96.7.1", || {
            edit(&format!("{COREFILE}{STUB}"));
            self.pod.wait_for_log("Reloading complete", 1);
            self.until("www.stub.example.", "198.51.100.54");
            edit(&format!("{COREFILE}{STUB}").replace("forward . 192", "forwrd . 192"));
            self.pod.wait_for_log("forwrd", 1);
            assert_eq!(self.ask("www.stub.example.", RecordType::A), "0 A 198.51.100.54");
            assert_eq!(self.pod.probe(8181, "/ready"), Some(200));
            // Another upstream, and the ConfigMap of older releases.
            let older = COREFILE.replace("/etc/resolv.conf", "192.0.2.54");
            let older = older.replace(" {\n       disable success cluster.local\n       disable denial cluster.local\n    }", "");
            assert!(older.contains("cache 30\n"), "{older}");
            edit(&older);
            self.pod.wait_for_log("Reloading complete", 2);
            self.until("www.example.org.", "198.51.100.54");
        });
        assert_eq!(lost, 0, "of {count} queries");
        assert!(count > 100, "{count} queries");
        edit(&format!("{COREFILE}{STUB}"));
        self.pod.wait_for_log("Reloading complete", 3);
        let (_, page) = self.pod.page(9153, "/metrics").expect("metrics");
        assert!(page.contains("\ncoredns_reload_failed_total 1\n"), "{page}");
    }

    /// The kubelet writes a new token while the old one is still good; then that one is not.
    fn takes_a_rotated_token(&mut self) {
        let accept = |tokens: &[&str]| {
            let tokens = tokens.iter().map(|token| (*token).to_owned()).collect();
            self.api.set(|settings| settings.tokens = tokens);
        };
        accept(&["first", "second"]);
        self.account.token = "second".to_owned();
        self.pod.account.replace(&self.account.files());
        accept(&["second"]);
        for kind in Kind::ALL {
            self.api.strike(kind, Strike::Close);
        }
        // A watch that has not ended yet may still bring what comes now; so the new token first.
        wait_until("the new token", || {
            self.api.counts().authorization == "Bearer second"
        });
        self.api.apply(service("default", "rotated", "10.96.7.2"));
        self.until("rotated.default.svc.cluster.local.", "10.96.7.2");
    }

    /// A cluster of 500 nodes comes at once, and again after a restart of the API.
    fn lists_anew_within_its_memory(&mut self) {
        self.api.fill(Size::MEDIUM);
        self.api.kill();
        self.api.revive();
        self.api.apply(service("default", "after", "10.96.7.3"));
        self.until("after.default.svc.cluster.local.", "10.96.7.3");
        let (most, met) = self.pod.memory();
        assert!(most < 170 << 20, "{most} octets");
        assert_eq!(met, 0, "the limit was met");
        eprintln!("swap: {} MiB at most, of 170", most >> 20);
    }

    /// While the service's endpoints are taken back everywhere, the pod answers, and knows what changes.
    fn serves_to_the_end_of_lameduck(&mut self) {
        let begun = Instant::now();
        let (count, lost) =
            self.meanwhile("web.default.svc.cluster.local.", "0 A 10.96.7.1", || {
                self.pod.terminate();
                thread::sleep(Duration::from_millis(500));
                assert_ne!(
                    self.pod.probe(8181, "/ready"),
                    Some(200),
                    "it is not to get new clients"
                );
                assert_eq!(
                    self.pod.probe(8080, "/health"),
                    Some(200),
                    "nor to be killed"
                );
                self.api.apply(service("default", "late", "10.96.7.4"));
                self.until("late.default.svc.cluster.local.", "10.96.7.4");
                thread::sleep(Duration::from_millis(4_300).saturating_sub(begun.elapsed()));
            });
        assert_eq!(lost, 0, "of {count} queries");
        wait_until("its end", || self.pod.ended().is_some());
        let took = begun.elapsed();
        assert!((5..8).contains(&took.as_secs()), "{took:?}");
        let status = self.pod.ended().expect("it has ended");
        assert!(status.success(), "{status}\n{}", self.pod.log());
    }
}

/// Questions, names without a dot at the end completed, and their answers: RCODE and records, those of other owners with their names.
const ANSWERS: &[(&str, &str)] = &[
    ("dns-version TXT", "0 TXT 1.1.0"),
    ("web.default.svc A", "0 A 10.96.7.1"),
    ("web.default.svc AAAA", "0 AAAA fd00:96::7:1"),
    ("web.default.svc MX", "0"),
    ("kubernetes.default.svc A", "0 A 10.96.0.1"),
    ("kubernetes.default.svc AAAA", "0"),
    ("nothing.default.svc A", "3"),
    ("web.nowhere.svc A", "3"),
    (
        "_http._tcp.web.default.svc SRV",
        "0 SRV 0 50 80 web.default.svc.cluster.local. | web.default.svc.cluster.local. A 10.96.7.1, web.default.svc.cluster.local. AAAA fd00:96::7:1",
    ),
    (
        "_https._tcp.kubernetes.default.svc SRV",
        "0 SRV 0 100 443 kubernetes.default.svc.cluster.local. | kubernetes.default.svc.cluster.local. A 10.96.0.1",
    ),
    (
        "_dns._udp.kube-dns.kube-system.svc SRV",
        "0 SRV 0 100 53 kube-dns.kube-system.svc.cluster.local. | kube-dns.kube-system.svc.cluster.local. A 10.96.0.10",
    ),
    ("_http._udp.web.default.svc SRV", "3"),
    // A headless service: ready endpoints, and those that are published all the same.
    ("db.shop.svc A", "0 A 10.244.1.10, A 10.244.1.11"),
    ("db.shop.svc AAAA", "0 AAAA fd00:244::10"),
    ("db-0.db.shop.svc A", "0 A 10.244.1.10"),
    ("db-0.db.shop.svc AAAA", "0 AAAA fd00:244::10"),
    ("db-2.db.shop.svc A", "3"),
    (
        "_sql._tcp.db.shop.svc SRV",
        "0 SRV 0 33 5432 db-0.db.shop.svc.cluster.local., SRV 0 33 5432 db-1.db.shop.svc.cluster.local. | db-0.db.shop.svc.cluster.local. A 10.244.1.10, db-0.db.shop.svc.cluster.local. AAAA fd00:244::10, db-1.db.shop.svc.cluster.local. A 10.244.1.11",
    ),
    ("peers.shop.svc A", "0 A 10.244.1.20"),
    ("10-244-1-20.peers.shop.svc A", "0 A 10.244.1.20"),
    ("idle.shop.svc A", "3"),
    // A service of another name.
    ("api.shop.svc CNAME", "0 CNAME www.example.org."),
    (
        "api.shop.svc A",
        "0 CNAME www.example.org., www.example.org. A 198.51.100.53",
    ),
    (
        "inner.shop.svc A",
        "0 CNAME web.default.svc.cluster.local., web.default.svc.cluster.local. A 10.96.7.1",
    ),
    // Pods, as `insecure` has them.
    ("10-244-1-10.shop.pod A", "0 A 10.244.1.10"),
    ("fd00-244--10.shop.pod AAAA", "0 AAAA fd00:244::10"),
    ("10-244-1-10.nowhere.pod A", "3"),
    // Addresses; what no service has goes upstream.
    (
        "1.7.96.10.in-addr.arpa. PTR",
        "0 PTR web.default.svc.cluster.local.",
    ),
    (
        "1.0.0.0.7.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.6.9.0.0.0.0.d.f.ip6.arpa. PTR",
        "0 PTR web.default.svc.cluster.local.",
    ),
    (
        "10.1.244.10.in-addr.arpa. PTR",
        "0 PTR db-0.db.shop.svc.cluster.local.",
    ),
    (
        "20.1.244.10.in-addr.arpa. PTR",
        "0 PTR 10-244-1-20.peers.shop.svc.cluster.local.",
    ),
    ("7.2.0.192.in-addr.arpa. PTR", "3"),
    // The zone, served by the service whose endpoint this pod is.
    (
        "cluster.local. NS",
        "0 NS kube-dns.kube-system.svc.cluster.local. | kube-dns.kube-system.svc.cluster.local. A 10.96.0.10",
    ),
    ("ns.dns A", "0 A 10.96.0.10"),
    ("default.svc A", "0"),
    ("svc A", "0"),
    // What is not the cluster's.
    ("www.example.org. A", "0 A 198.51.100.53"),
    ("www.example.org.default.svc A", "3"),
    ("no.example.org. A", "3"),
];

/// What CoreDNS 1.14.7 has with this Corefile, and dashboards and alerts ask for. Go's own are Go's.
const METRICS: &[&str] = &[
    "coredns_build_info",
    "coredns_cache_entries",
    "coredns_cache_hits_total",
    "coredns_cache_misses_total",
    "coredns_cache_requests_total",
    "coredns_dns_request_duration_seconds_bucket",
    "coredns_dns_request_duration_seconds_count",
    "coredns_dns_request_duration_seconds_sum",
    "coredns_dns_request_size_bytes_bucket",
    "coredns_dns_requests_total",
    "coredns_dns_response_size_bytes_bucket",
    "coredns_dns_responses_total",
    "coredns_forward_healthcheck_broken_total",
    "coredns_forward_max_concurrent_rejects_total",
    "coredns_health_request_duration_seconds_bucket",
    "coredns_health_request_failures_total",
    "coredns_kubernetes_dns_programming_duration_seconds_bucket",
    "coredns_kubernetes_rest_client_rate_limiter_duration_seconds_bucket",
    "coredns_kubernetes_rest_client_request_duration_seconds_bucket",
    "coredns_kubernetes_rest_client_requests_total",
    "coredns_panics_total",
    "coredns_plugin_enabled",
    "coredns_proxy_conn_cache_hits_total",
    "coredns_proxy_conn_cache_misses_total",
    "coredns_proxy_request_duration_seconds_bucket",
    "coredns_reload_failed_total",
    "coredns_reload_version_info",
    "process_cpu_seconds_total",
    "process_max_fds",
    "process_open_fds",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
    "process_virtual_memory_bytes",
];

/// An answer.
#[derive(PartialEq, Debug)]
struct Told {
    text: String,
    ttl: u32,
    authoritative: bool,
}

impl Told {
    fn new(message: &Message) -> Self {
        let asked = message.queries.first().map(|query| query.name().clone());
        let list = |records: &[Record]| {
            let mut list: Vec<String> = records
                .iter()
                .map(|record| {
                    let owner = match Some(&record.name) == asked.as_ref() {
                        true => String::new(),
                        false => format!("{} ", record.name),
                    };
                    format!("{owner}{} {}", record.record_type(), record.data)
                })
                .collect();
            list.sort();
            list.join(", ")
        };
        let code = message.metadata.response_code.low();
        let mut text = format!("{code} {}", list(&message.answers));
        let additional = list(&message.additionals);
        if !additional.is_empty() {
            text += &format!(" | {additional}");
        }
        Self {
            text: text.trim_end().to_owned(),
            ttl: message.answers.first().map_or(0, |record| record.ttl),
            authoritative: message.metadata.authoritative,
        }
    }
}

fn query(name: &str, qtype: RecordType) -> Vec<u8> {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).expect("a name"), qtype));
    message.to_vec().expect("a query")
}

/// The question of a query.
fn question(octets: &[u8]) -> (String, RecordType) {
    let message = Message::from_vec(octets).ok();
    let query = message.as_ref().and_then(|message| message.queries.first());
    query.map_or((String::new(), RecordType::ZERO), |query| {
        (query.name().to_string().to_lowercase(), query.query_type())
    })
}

fn namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
}

fn service(namespace: &str, name: &str, ip: &str) -> Value {
    service_with(namespace, name, &[ip], &[("http", "TCP", 80)])
}

fn service_with(namespace: &str, name: &str, ips: &[&str], ports: &[(&str, &str, u16)]) -> Value {
    let ports: Vec<Value> = ports
        .iter()
        .map(|(name, protocol, port)| json!({"name": name, "protocol": protocol, "port": port, "targetPort": port}))
        .collect();
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace},
        "spec": {"type": "ClusterIP", "clusterIP": ips[0], "clusterIPs": ips, "ports": ports}})
}

fn alias(namespace: &str, name: &str, to: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace},
        "spec": {"type": "ExternalName", "externalName": to}})
}

fn endpoint(address: &str, hostname: &str) -> Value {
    json!({"addresses": [address], "hostname": hostname, "conditions": {"ready": true, "serving": true, "terminating": false}})
}

fn slice(namespace: &str, name: &str, service: &str, endpoints: &Value) -> Value {
    json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": name, "namespace": namespace, "labels": {"kubernetes.io/service-name": service}},
        "endpoints": endpoints, "ports": [{"name": "sql", "protocol": "TCP", "port": 5432}]})
}

/// What a cluster has that kubeadm made, and a shop in it.
fn fill(api: &Api) {
    for name in ["default", "kube-system", "shop"] {
        api.apply(namespace(name));
    }
    let https = [("https", "TCP", 443)];
    api.apply(service_with(
        "default",
        "kubernetes",
        &["10.96.0.1"],
        &https,
    ));
    let dns = [
        ("dns", "UDP", 53),
        ("dns-tcp", "TCP", 53),
        ("metrics", "TCP", 9153),
    ];
    api.apply(service_with(
        "kube-system",
        "kube-dns",
        &["10.96.0.10"],
        &dns,
    ));
    let pods = json!([
        {"addresses": ["10.244.0.2"], "conditions": {"ready": true}, "targetRef": {"kind": "Pod", "name": "coredns-0", "namespace": "kube-system"}},
        {"addresses": ["10.244.0.3"], "conditions": {"ready": true}},
    ]);
    api.apply(slice("kube-system", "kube-dns-1", "kube-dns", &pods));
    let http = [("http", "TCP", 80)];
    api.apply(service_with(
        "default",
        "web",
        &["10.96.7.1", "fd00:96::7:1"],
        &http,
    ));
    let sql = [("sql", "TCP", 5432)];
    for name in ["db", "peers", "idle"] {
        api.apply(service_with("shop", name, &["None"], &sql));
    }
    let mut unready = endpoint("10.244.1.12", "db-2");
    unready["conditions"]["ready"] = json!(false);
    let ready = json!([
        endpoint("10.244.1.10", "db-0"),
        endpoint("10.244.1.11", "db-1"),
        unready
    ]);
    api.apply(slice("shop", "db-1", "db", &ready));
    let mut six = slice(
        "shop",
        "db-6",
        "db",
        &json!([endpoint("fd00:244::10", "db-0")]),
    );
    six["addressType"] = json!("IPv6");
    api.apply(six);
    // `publishNotReadyAddresses` reaches the slices as readiness.
    let peer =
        json!([{"addresses": ["10.244.1.20"], "conditions": {"ready": true, "serving": false}}]);
    api.apply(slice("shop", "peers-1", "peers", &peer));
    api.apply(slice("shop", "idle-1", "idle", &Value::Null));
    api.apply(alias("shop", "api", "www.example.org"));
    api.apply(alias("shop", "inner", "web.default.svc.cluster.local"));
}
