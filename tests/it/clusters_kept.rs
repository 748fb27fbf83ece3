//! What is kept of a cluster when its API is of no help: in memory while watches stall and authorities change, on disk over a restart,
//! and in how much memory.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use cluster::{Kind, Server as Api, Size, Strike};
use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use serde_json::json;

use crate::clusters::{Trial, addresses, ask, corefile, each, namespace, service, slice};
use crate::server::{Reply, Server, Upstream, empty, temporary_directory, wait_until};

/// The longest that a watch may be silent before it is given up, and a second for what follows.
const STALL: Duration = Duration::from_secs(14);

/// A server that is there and says nothing, as one that is stopped: its kernel acknowledges whatever is sent.
#[test]
fn a_watch_that_stalls_is_given_up_in_seconds() {
    let trial = Trial::synced("cluster-stalled");
    let asking = trial.keep_asking(&["db", "web"]);
    let begun = Instant::now();
    let successors = || trial.api.counts().watches;
    let before = successors();
    each(Strike::Stall)(&trial.api);
    trial.api.apply(service("later", "192.0.2.20"));
    let took = trial.until("later", &addresses(&["192.0.2.20"]));
    assert!(took < STALL, "{took:?}");
    let (seen, count) = asking.end();
    assert_eq!(seen.len(), 2, "{seen:?}");
    assert!(count > 100, "{count} answers");
    // The other watches stalled as well; their successors came as soon.
    let (kind, slices) = (Kind::EndpointSlice, &before.get(&Kind::EndpointSlice));
    wait_until("the watch of slices", || successors().get(&kind) > *slices);
    assert!(begun.elapsed() < STALL, "{:?}", begun.elapsed());
    trial.api.delete(Kind::EndpointSlice, "default", "db-2");
    let took = trial.until("db", &addresses(&["192.0.2.11", "192.0.2.12"]));
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[test]
fn an_authority_that_is_not_known_is_not_believed_until_its_file_says_so() {
    let trial = Trial::synced("cluster-authority");
    let asking = trial.keep_asking(&["db", "web"]);
    trial.api.rotate_authority();
    trial.api.apply(service("later", "192.0.2.20"));
    trial.server.wait_for_log("UnknownIssuer");
    let nothing = (ResponseCode::NXDomain, BTreeSet::new());
    assert_eq!(trial.ask("later"), Some(nothing));
    let folder = trial.config.parent().expect("a folder");
    trial.api.account(folder, "first");
    let took = trial.until("later", &addresses(&["192.0.2.20"]));
    assert!(
        took < Duration::from_secs(6),
        "{took:?}: the back-off ends at 5 s"
    );
    let (seen, _) = asking.end();
    assert_eq!(seen.len(), 2, "{seen:?}");
}

/// The snapshot of a trial's cluster, once it is written.
fn snapshot_of(trial: &Trial) -> PathBuf {
    let path = trial.server.dir().join("cluster");
    wait_until("a snapshot", || path.exists());
    path
}

/// What a server that starts without an API makes of a snapshot: its answer for `web`, and its log.
fn restarted(test: &str, snapshot: Option<&[u8]>) -> (Option<ResponseCode>, String) {
    let dir = temporary_directory(test);
    let api = Api::start();
    api.kubeconfig(&dir, "first");
    api.kill();
    if let Some(octets) = snapshot {
        fs::write(dir.join("cluster"), octets).expect("written");
    }
    let server = Server::start_in(&dir, &corefile("snapshot cluster"));
    let name = |service: &str| format!("{service}.default.svc.cluster.local.");
    let other = ask(server.address(), "other.example.org.");
    assert_eq!(other, Some(addresses(&["192.0.2.53"])), "another zone");
    let web = ask(server.address(), &name("web"));
    let db = ask(server.address(), &name("db"));
    if web == Some(addresses(&["192.0.2.7"])) {
        let all = addresses(&["192.0.2.11", "192.0.2.12", "192.0.2.13"]);
        assert_eq!(db, Some(all), "never a part of it");
    }
    (web.map(|(code, _)| code), server.log())
}

#[test]
fn a_restart_without_the_api_serves_the_snapshot_and_no_part_of_one() {
    let trial = Trial::with("cluster-snapshot", "snapshot cluster", |_| {});
    trial.until("web", &addresses(&["192.0.2.7"]));
    let path = snapshot_of(&trial);
    let whole = fs::read(&path).expect("read");
    assert!(
        !path.with_extension("new").exists(),
        "it is renamed into place"
    );
    // Written at most every ten seconds, whatever changes.
    let written = || {
        let data = fs::metadata(&path).expect("it is there at any time");
        data.modified().expect("a time")
    };
    let (first, mut number) = (written(), 0);
    wait_until("another snapshot", || {
        number += 1;
        let address = format!("192.0.2.{}", 100 + number % 100);
        trial.api.apply(service("new", &address));
        written() != first
    });
    let between = written().duration_since(first).expect("later");
    assert!(between >= Duration::from_millis(9_900), "{between:?}");
    drop(trial);

    let (code, log) = restarted("cluster-snapshot-whole", Some(&whole));
    assert_eq!(code, Some(ResponseCode::NoError), "{log}");
    assert!(log.contains("Serving the snapshot"), "{log}");
    let (code, log) = restarted("cluster-snapshot-none", None);
    assert_eq!(code, Some(ResponseCode::ServFail), "{log}");
    // A digit of an address: everything can be read, and is wrong.
    let mut changed = whole.clone();
    let at = changed
        .windows(9)
        .position(|octets| octets == b"192.0.2.7")
        .expect("an address");
    changed[at + 8] ^= 1;
    for (what, octets) in [
        ("cut", &whole[..whole.len() / 2]),
        ("changed", &changed),
        ("empty", b""),
        ("other", b"\xFF\x00something else"),
    ] {
        let (code, log) = restarted(&format!("cluster-snapshot-{what}"), Some(octets));
        assert_eq!(code, Some(ResponseCode::ServFail), "{what}: {log}");
        assert!(log.contains("cannot be used"), "{what}: {log}");
    }
}

#[test]
fn a_snapshot_that_cannot_be_written_is_told_and_hinders_nothing() {
    let start = |test: &str, path: &str| {
        let trial = Trial::with(test, &format!("snapshot {path}"), |_| {});
        trial.until("web", &addresses(&["192.0.2.7"]));
        trial
    };
    let full = start("cluster-snapshot-full", "cluster");
    let nowhere = start("cluster-snapshot-nowhere", "missing/cluster");
    // A full disk: every write fails (full(4)). A folder that is not there: so does every opening.
    let beside = full.server.dir().join("cluster.new");
    std::os::unix::fs::symlink("/dev/full", &beside).expect("a link");
    for (trial, why) in [(&full, "No space left"), (&nowhere, "No such file")] {
        trial.server.wait_for_log("was not written: ");
        let log = trial.server.log();
        assert!(log.contains(why), "{log}");
        trial.api.apply(service("later", "192.0.2.20"));
        trial.until("later", &addresses(&["192.0.2.20"]));
    }
    // Nothing is left of the attempt, and the next one has room.
    snapshot_of(&full);
    assert!(!nowhere.server.dir().join("missing").exists());
    let log = nowhere.server.log();
    assert_eq!(log.matches("was not written").count(), 1, "{log}");
}

/// A figure of `/proc/PID/status` in octets.
fn memory(server: &Server, field: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("a process");
    let line = text.lines().find(|line| line.starts_with(field));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kib.expect("a figure") * 1024
}

/// Both forms of HTTP 410, with pods: a replaced list is not held beside the one that it replaces.
#[test]
fn a_list_that_is_replaced_takes_no_memory_to_speak_of() {
    let size = Size::MEDIUM;
    let trial = Trial::with("cluster-memory", "pods verified", |api| api.fill(size));
    let last = format!("{}.svc.cluster.local.", size.owner(size.slices - 1));
    wait_until("the cluster", || {
        ask(trial.server.address(), &last).is_some_and(|(code, _)| code == ResponseCode::NoError)
    });
    wait_until("the pods", || {
        let pod = "10.128.58.152".replace('.', "-");
        ask(
            trial.server.address(),
            &format!("{pod}.ns-49.pod.cluster.local."),
        )
        .is_some_and(|(code, _)| code == ResponseCode::NoError)
    });
    let before = memory(&trial.server, "VmHWM");
    for http_gone in [false, true] {
        let lists = |api: &Api| api.counts().streams.get(&Kind::Pod).copied().unwrap_or(0);
        let listed = lists(&trial.api);
        trial.api.set(|settings| settings.http_gone = http_gone);
        // The other kinds' watches have not heard of its version.
        trial.api.apply(namespace("later"));
        trial.api.compact();
        each(Strike::Reset)(&trial.api);
        wait_until("another list", || lists(&trial.api) > listed);
        // Slices and services come beside the pods; what was stored last is seen last.
        let new = if http_gone {
            "192.0.2.21"
        } else {
            "192.0.2.20"
        };
        trial.api.apply(service("later", new));
        trial.until("later", &addresses(&[new]));
        // Each kind's list is over when what was stored after it is told.
        trial.api.apply(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "later", "namespace": "default"},
            "status": {"phase": "Running", "podIP": new}}));
        let pod = format!("{}.default.pod.cluster.local.", new.replace('.', "-"));
        wait_until("the pods", || {
            ask(trial.server.address(), &pod) == Some(addresses(&[new]))
        });
        trial.api.apply(slice("db", "db-2", &[new]));
        let db = addresses(&["192.0.2.11", "192.0.2.12", new]);
        trial.until("db", &db);
    }
    let grown = memory(&trial.server, "VmHWM").saturating_sub(before);
    assert!(grown < 4 << 20, "{grown} octets more than {before}");
}

/// A pod asks for a name of the world by its search path: the cluster's suffixes are denied from memory, and only the rest goes on.
#[test]
fn a_search_path_asks_upstreams_for_nothing_of_the_cluster() {
    let upstream = Upstream::start(|asked| Reply::Octets(empty(asked.octets, 3)));
    let dir = temporary_directory("cluster-search");
    let api = Api::start();
    api.apply(namespace("default"));
    api.kubeconfig(&dir, "first");
    let server = Server::start_in(
        &dir,
        &format!(
            ".:{{PORT}} {{\n  bind 127.0.0.1\n  errors\n  kubernetes cluster.local in-addr.arpa {{\n    kubeconfig config\n    \
             fallthrough in-addr.arpa\n  }}\n  forward . {}\n}}\n",
            upstream.address()
        ),
    );
    let suffixes = [
        "default.svc.cluster.local.",
        "svc.cluster.local.",
        "cluster.local.",
        "example.net.",
        "",
    ];
    for qtype in [RecordType::A, RecordType::AAAA] {
        for suffix in suffixes {
            let mut message = Message::query();
            let name = Name::from_ascii(format!("www.example.org.{suffix}")).expect("a name");
            message.add_query(Query::query(name, qtype));
            let answer = server.ask(&message.to_vec().expect("a query"));
            let answer = Message::from_vec(&answer.expect("an answer")).expect("a message");
            let code = answer.metadata.response_code;
            assert_eq!(code, ResponseCode::NXDomain, "{suffix} {qtype}");
            assert_eq!(
                answer.metadata.authoritative,
                suffix.ends_with("cluster.local."),
                "{suffix} {qtype}"
            );
        }
    }
    let asked = upstream.udp_queries() + upstream.tcp_queries();
    assert_eq!(asked, 2 * 2, "what is not of the cluster, for both types");
}
