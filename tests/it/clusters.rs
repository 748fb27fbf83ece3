//! `kubernetes` as clients see it while its API server breaks: the built binary asked over UDP, against a server of ours.
//!
//! While anything is wrong, what was known is answered; what changed is answered soon after it is right again; nothing flaps meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use cluster::{Fault, Kind, Server as Api, Strike};
use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use serde_json::{Value, json};

use crate::server::{Server, ask_udp, skip, temporary_directory, tool, wait_until};

/// The longest wait for what has to happen.
const PATIENCE: Duration = Duration::from_secs(20);

/// A cluster, and a server that answers for it.
pub(crate) struct Trial {
    pub(crate) api: Api,
    pub(crate) server: Server,
    pub(crate) config: std::path::PathBuf,
}

/// An answer in short: its code, and its addresses.
pub(crate) type Answer = (ResponseCode, BTreeSet<String>);

pub(crate) fn ask(address: SocketAddr, name: &str) -> Option<Answer> {
    let mut message = Message::query();
    message.add_query(Query::query(
        Name::from_ascii(name).expect("a name"),
        RecordType::A,
    ));
    let octets = message.to_vec().expect("a query");
    let answer = ask_udp(address, &octets, Duration::from_millis(500))?;
    let answer = Message::from_vec(&answer).expect("a message");
    let addresses = answer
        .answers
        .iter()
        .filter_map(|record| match &record.data {
            RData::A(address) => Some(address.to_string()),
            _ => None,
        })
        .collect();
    Some((answer.metadata.response_code, addresses))
}

pub(crate) fn addresses(all: &[&str]) -> Answer {
    let all = all.iter().map(|address| (*address).to_owned());
    (ResponseCode::NoError, all.collect())
}

impl Trial {
    pub(crate) fn start(test: &str, prepare: impl FnOnce(&Api)) -> Self {
        Self::with(test, "", prepare)
    }

    /// The same with more in the directive's block.
    pub(crate) fn with(test: &str, options: &str, prepare: impl FnOnce(&Api)) -> Self {
        let api = Api::start();
        api.apply(namespace("default"));
        api.apply(service("web", "192.0.2.7"));
        api.apply(service("db", "None"));
        api.apply(slice("db", "db-1", &["192.0.2.11", "192.0.2.12"]));
        api.apply(slice("db", "db-2", &["192.0.2.13"]));
        api.set(|settings| settings.tokens = ["first".to_owned()].into());
        prepare(&api);
        let dir = temporary_directory(test);
        let config = api.kubeconfig(&dir, "first");
        let corefile = corefile(options);
        let server = Server::start_in(&dir, &corefile);
        Self {
            api,
            server,
            config,
        }
    }

    /// The same with everything known already.
    pub(crate) fn synced(test: &str) -> Self {
        let trial = Self::start(test, |_| {});
        trial.until("web", &addresses(&["192.0.2.7"]));
        trial.until(
            "db",
            &addresses(&["192.0.2.11", "192.0.2.12", "192.0.2.13"]),
        );
        trial
    }

    pub(crate) fn ask(&self, service: &str) -> Option<Answer> {
        let name = format!("{service}.default.svc.cluster.local.");
        ask(self.server.address(), &name)
    }

    /// Waits until `service` is answered so; how long that took.
    pub(crate) fn until(&self, service: &str, so: &Answer) -> Duration {
        let begun = Instant::now();
        loop {
            let answer = self.ask(service);
            if answer.as_ref() == Some(so) {
                return begun.elapsed();
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "{service}: {answer:?}, not {so:?}\n{:?}",
                self.api.counts()
            );
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Asks for `services` all the time, until it is told to stop.
    pub(crate) fn keep_asking(&self, services: &[&'static str]) -> Asking {
        let address = self.server.address();
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::new(Mutex::new(BTreeMap::new()));
        let (stopped, into, names) = (stop.clone(), seen.clone(), services.to_vec());
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                for service in &names {
                    let name = format!("{service}.default.svc.cluster.local.");
                    let answer = ask(address, &name);
                    let mut seen = into.lock().expect("no panic");
                    let count: &mut u32 =
                        seen.entry((*service, format!("{answer:?}"))).or_default();
                    *count += 1;
                }
                thread::sleep(Duration::from_millis(2));
            }
        });
        Asking {
            stop,
            thread,
            seen,
            services: services.len() as u32,
        }
    }
}

/// What was answered meanwhile.
pub(crate) struct Asking {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
    seen: Arc<Mutex<BTreeMap<(&'static str, String), u32>>>,
    /// How many names are asked for.
    services: u32,
}

impl Asking {
    /// Waits until so many answers came.
    fn wait_for(&self, answers: u32) {
        let begun = Instant::now();
        while self.seen.lock().expect("no panic").values().sum::<u32>() < answers {
            assert!(begun.elapsed() < PATIENCE, "fewer than {answers} answers");
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// The answers, each once, and how many there were.
    pub(crate) fn end(self) -> (Vec<(&'static str, String)>, u32) {
        // What is so now is seen too: two answers for each name more.
        let count = || self.seen.lock().expect("no panic").values().sum::<u32>();
        let (before, begun) = (count(), Instant::now());
        while count() < before + 2 * self.services && begun.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(2));
        }
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("no panic");
        let seen = self.seen.lock().expect("no panic");
        (seen.keys().cloned().collect(), seen.values().sum())
    }
}

/// A server's Corefile, with `options` in the block of `kubernetes`.
pub(crate) fn corefile(options: &str) -> String {
    format!(
        ".:{{PORT}} {{\n  bind 127.0.0.1\n  errors\n  hosts {{\n    192.0.2.53 other.example.org\n    fallthrough\n  }}\n  \
         kubernetes cluster.local in-addr.arpa {{\n    kubeconfig config\n    startup_timeout 100ms\n    {options}\n  }}\n}}\n"
    )
}

pub(crate) fn namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
}

pub(crate) fn service(name: &str, ip: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default"},
        "spec": {"type": "ClusterIP", "clusterIP": ip, "clusterIPs": [ip], "ports": [{"name": "http", "port": 80, "protocol": "TCP"}]}})
}

pub(crate) fn slice(service: &str, name: &str, addresses: &[&str]) -> Value {
    let endpoints: Vec<Value> = addresses
        .iter()
        .map(|address| json!({"addresses": [address], "conditions": {"ready": true}}))
        .collect();
    json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": name, "namespace": "default", "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4", "endpoints": endpoints, "ports": [{"name": "http", "port": 80, "protocol": "TCP"}]})
}

#[test]
fn before_the_first_list_there_is_no_false_nxdomain() {
    let trial = Trial::start("cluster-unsynced", |api| {
        api.set(|settings| settings.frozen = true);
    });
    for name in ["web", "nothing"] {
        let answer = trial.ask(name).map(|(code, _)| code);
        assert_eq!(answer, Some(ResponseCode::ServFail), "{name}");
    }
    let begun = Instant::now();
    let other = ask(trial.server.address(), "other.example.org.");
    assert_eq!(other, Some(addresses(&["192.0.2.53"])));
    assert!(
        begun.elapsed() < Duration::from_millis(200),
        "other zones do not wait"
    );
    trial.api.set(|settings| settings.frozen = false);
    trial.until("web", &addresses(&["192.0.2.7"]));
    trial.until("nothing", &(ResponseCode::NXDomain, BTreeSet::new()));
}

#[test]
fn half_a_first_list_is_not_answered_from() {
    let trial = Trial::start("cluster-half", |api| {
        // Services come whole; of the slices only a part, at first.
        api.fault(Kind::EndpointSlice, &[Fault::Stall(200)]);
    });
    let answer = trial.ask("db").map(|(code, _)| code);
    assert_eq!(answer, Some(ResponseCode::ServFail));
    let all = addresses(&["192.0.2.11", "192.0.2.12", "192.0.2.13"]);
    trial.until("db", &all);
}

#[test]
fn every_way_to_break_leaves_the_answers_and_lets_changes_through() {
    let strikes: Vec<(&str, Blow, u64)> = vec![
        ("closed in an event", each(Strike::MidLine), 2_000),
        ("reset", each(Strike::Reset), 2_000),
        ("closed", each(Strike::Close), 2_000),
        ("an event twice", each(Strike::Duplicate), 2_000),
        ("error 500", each(Strike::Error(500)), 2_000),
        ("error 410", each(Strike::Error(410)), 2_000),
        (
            "octet by octet",
            Box::new(|api| {
                api.set(|settings| settings.drip = true);
                each(Strike::Reset)(api);
            }),
            1_500,
        ),
        (
            "events in one chunk",
            Box::new(|api| {
                api.set(|settings| {
                    settings.drip = false;
                    settings.hold = Duration::from_millis(50);
                });
            }),
            1_000,
        ),
        (
            "refused for a while",
            Box::new(|api| {
                api.set(|settings| settings.hold = Duration::ZERO);
                for kind in [Kind::Service, Kind::EndpointSlice] {
                    api.fault(
                        kind,
                        &[
                            Fault::Status(500, None),
                            Fault::Status(503, Some(1)),
                            Fault::Status(429, Some(1)),
                        ],
                    );
                }
                each(Strike::Reset)(api);
            }),
            6_000,
        ),
        (
            "slow",
            Box::new(|api| {
                for kind in [Kind::Service, Kind::EndpointSlice] {
                    api.fault(kind, &[Fault::Delay(Duration::from_millis(700))]);
                }
                each(Strike::Reset)(api);
            }),
            3_000,
        ),
        (
            "compacted, as an event",
            Box::new(|api| {
                api.compact();
                each(Strike::Reset)(api);
            }),
            1_500,
        ),
        (
            "compacted, by HTTP",
            Box::new(|api| {
                api.set(|settings| settings.http_gone = true);
                api.compact();
                each(Strike::Reset)(api);
            }),
            1_500,
        ),
        (
            "another certificate",
            Box::new(|api| {
                api.rotate_certificate();
                each(Strike::Reset)(api);
            }),
            1_500,
        ),
    ];
    let trial = Trial::synced("cluster-strikes");
    for (number, (what, strike, most)) in strikes.into_iter().enumerate() {
        let asking = trial.keep_asking(&["db", "web"]);
        strike(&trial.api);
        asking.wait_for(20);
        let name = format!("new-{number}");
        let ip = format!("192.0.2.{}", 100 + number);
        trial.api.apply(service(&name, &ip));
        let took = trial.until(&name, &addresses(&[&ip]));
        let (seen, _) = asking.end();
        assert!(took < Duration::from_millis(most), "{what}: {took:?}");
        assert_eq!(seen.len(), 2, "{what}: {seen:?}");
    }
}

/// What happens to the API.
pub(crate) type Blow = Box<dyn Fn(&Api)>;

/// A strike on all that a server watches.
pub(crate) fn each(strike: Strike) -> Blow {
    Box::new(move |api| {
        for kind in Kind::ALL {
            api.strike(kind, strike);
        }
    })
}

#[test]
fn while_the_api_is_away_what_was_known_is_answered_and_then_what_is() {
    let trial = Trial::synced("cluster-away");
    let asking = trial.keep_asking(&["db", "web"]);
    trial.api.kill();
    trial.api.apply(service("later", "192.0.2.20"));
    for kind in ["namespaces", "services", "endpointslices"] {
        let line = format!("Failed to watch {kind} at 127.0.0.1:");
        trial.server.wait_for_log(&line);
    }
    asking.wait_for(100);
    let (seen, _) = asking.end();
    assert_eq!(seen.len(), 2, "{seen:?}");
    // What vanishes meanwhile vanishes; what lost an endpoint loses it, in one step.
    trial.api.delete(Kind::Service, "default", "web");
    trial.api.delete(Kind::EndpointSlice, "default", "db-2");
    let asking = trial.keep_asking(&["db"]);
    trial.api.revive();
    let took = trial.until("later", &addresses(&["192.0.2.20"]));
    assert!(
        took < Duration::from_secs(6),
        "{took:?}: the back-off ends at 5 s"
    );
    trial.until("web", &(ResponseCode::NXDomain, BTreeSet::new()));
    trial.until("db", &addresses(&["192.0.2.11", "192.0.2.12"]));
    let (seen, _) = asking.end();
    assert_eq!(seen.len(), 2, "before and after, nothing between: {seen:?}");
    let log = trial.server.log();
    let warnings = log.matches("Failed to watch").count();
    assert!(warnings <= 12, "{warnings} warnings:\n{log}");
}

#[test]
fn a_list_that_is_replaced_slowly_does_not_flap() {
    let trial = Trial::synced("cluster-flap");
    let asking = trial.keep_asking(&["db", "web"]);
    trial.api.set(|settings| settings.drip = true);
    for number in 0..40 {
        trial
            .api
            .apply(slice("other", &format!("other-{number}"), &["192.0.2.99"]));
    }
    trial.api.apply(service("mark", "None"));
    for round in 1..=3 {
        let lists = || trial.api.counts().streams[&Kind::EndpointSlice];
        let before = lists();
        // A version that the watches of slices have not heard of, so that theirs is too old.
        trial.api.apply(namespace(&format!("round-{round}")));
        trial.api.compact();
        each(Strike::Reset)(&trial.api);
        wait_until("another list", || lists() > before);
        // It is told after that list.
        let mark = format!("192.0.2.{}", 200 + round);
        trial.api.apply(slice("mark", "mark", &[&mark]));
        trial.until("mark", &addresses(&[&mark]));
    }
    asking.wait_for(200);
    let (seen, _) = asking.end();
    assert_eq!(seen.len(), 2, "{seen:?}");
}

#[test]
fn a_cluster_restored_from_a_backup_is_listed_anew() {
    let trial = Trial::synced("cluster-restored");
    let backup = trial.api.backup();
    trial.api.apply(service("later", "192.0.2.20"));
    trial.until("later", &addresses(&["192.0.2.20"]));
    for number in 0..5 {
        trial
            .api
            .apply(service("web", &format!("192.0.2.{}", 30 + number)));
    }
    trial.until("web", &addresses(&["192.0.2.34"]));
    trial.api.restore(backup);
    trial.api.apply(service("instead", "192.0.2.21"));
    each(Strike::Reset)(&trial.api);
    trial.until("instead", &addresses(&["192.0.2.21"]));
    trial.until("later", &(ResponseCode::NXDomain, BTreeSet::new()));
    trial.until("web", &addresses(&["192.0.2.7"]));
}

#[test]
fn credentials_rotate_and_rights_are_missed_by_name() {
    let trial = Trial::synced("cluster-rights");
    trial
        .api
        .set(|settings| settings.tokens = ["second".to_owned()].into());
    each(Strike::Close)(&trial.api);
    trial.server.wait_for_log("HTTP 401");
    let folder = trial.config.parent().expect("a folder").to_owned();
    trial.api.kubeconfig(&folder, "second");
    trial.api.apply(service("later", "192.0.2.20"));
    let took = trial.until("later", &addresses(&["192.0.2.20"]));
    assert!(took < Duration::from_secs(3), "{took:?}");
    trial.api.set(|settings| {
        settings.forbidden.insert(Kind::EndpointSlice);
    });
    each(Strike::Close)(&trial.api);
    trial
        .server
        .wait_for_log("the resource \"endpointslices\" in API group \"discovery.k8s.io\"");
    let log = trial.server.log();
    assert!(log.contains("HTTP 401"), "{log}");
    let rights = "endpointslices at 127.0.0.1:";
    let line = log.lines().rfind(|line| line.contains("HTTP 403"));
    assert!(
        line.is_some_and(|line| line.contains(rights)
            && line.contains("the verbs list and watch on the resource \"endpointslices\"")),
        "which list lacks which right: {log}"
    );
    assert_eq!(
        trial.ask("db").map(|(_, all)| all.len()),
        Some(3),
        "what was known stays"
    );
}

/// A peer that vanishes without a word, as a machine that lost its power: only TCP's own timers tell.
#[test]
fn a_peer_that_vanished_is_noticed_in_seconds() {
    const INSIDE: &str = "NAMEPLATE_TEST_INSIDE";
    if std::env::var_os(INSIDE).is_none() {
        for program in ["unshare", "ip", "nft"] {
            if tool(program).is_none() {
                return;
            }
        }
        let script = "ip link set lo up && nft add table inet t || exit 77; exec \"$0\" --exact --nocapture clusters::a_peer_that_vanished_is_noticed_in_seconds";
        let test = std::env::current_exe().expect("a path");
        let out = Command::new("unshare")
            .args(["-rn", "sh", "-c", script])
            .arg(test)
            .env(INSIDE, "1")
            .output()
            .expect("unshare runs");
        if out.status.code() == Some(77)
            || String::from_utf8_lossy(&out.stderr).contains("unshare failed")
        {
            skip("namespaces may not be made here (unshare -rn)");
            return;
        }
        assert!(
            out.status.success(),
            "{}{}",
            String::from_utf8_lossy(&out.stdout),
            String::from_utf8_lossy(&out.stderr)
        );
        return;
    }
    let nft = |words: &str| {
        let done = Command::new("nft").args(words.split(' ')).status();
        assert!(done.is_ok_and(|status| status.success()), "nft {words}");
    };
    let trial = Trial::synced("cluster-vanished");
    let port = trial.api.address().port();
    nft("add chain inet t in { type filter hook input priority 0; }");
    nft(&format!("add rule inet t in tcp sport {port} drop"));
    nft(&format!("add rule inet t in tcp dport {port} drop"));
    let begun = Instant::now();
    trial.server.wait_for_log("Failed to watch services");
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(13), "{took:?}");
    assert_eq!(trial.ask("web"), Some(addresses(&["192.0.2.7"])));
    trial.api.apply(service("later", "192.0.2.20"));
    nft("flush table inet t");
    let took = trial.until("later", &addresses(&["192.0.2.20"]));
    // A SYN that is repeated, and then the back-off.
    assert!(took < Duration::from_secs(9), "{took:?}");
}
