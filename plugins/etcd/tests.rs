//! Tries `etcd` without a cluster: keys are put into its store as a list or a watch would bring them.

use std::sync::Arc;

use chain::{Block, Fallthrough, Flow, Outcome, ZoneMap, resume};
use source::Standing;
use wire::{Rcode, Type};

use super::gateway::{Event, EventKind, KeyValue, Number, Octets};
use super::path::Layout;
use super::store::{List, Position, Store};
use super::{Etcd, Zone};
use crate::trial::{self, answer, chain, exchange, told};

/// A store of `zones`, and a block that serves it above a plugin that says REFUSED.
struct Stage {
    store: Arc<Store>,
    block: Arc<Block>,
}

fn key_value(key: &str, value: &str) -> KeyValue {
    KeyValue {
        key: Octets(key.into()),
        value: Octets(value.into()),
        ..KeyValue::default()
    }
}

fn stage(zones: &[&str], fall: Fallthrough, entries: &[(&str, &str)]) -> Stage {
    let origins: Vec<_> = zones
        .iter()
        .map(|zone| zone.parse().expect("a zone"))
        .collect();
    let store = Arc::new(Store::new(Layout::new("/skydns"), &origins, 30..=86_400));
    let mut list = List::default();
    store.gather(
        &mut list,
        entries
            .iter()
            .map(|(key, value)| key_value(key, value))
            .collect(),
    );
    let position = Position {
        cluster: 1,
        revision: 7,
    };
    store.replace(list, position);
    let plugin = Etcd {
        zones: ZoneMap::new(
            origins
                .into_iter()
                .map(|origin| (origin, Zone::new(origin))),
        ),
        fall,
        store: store.clone(),
        standing: Standing::new("etcd", "etcd in a test".to_owned()),
        patience: 0,
    };
    let last = answer(|_, response| {
        response.set_rcode(Rcode::REFUSED);
        Ok(Flow::Answered)
    });
    Stage {
        store,
        block: chain([Arc::new(plugin) as Arc<dyn chain::Plugin>, last]),
    }
}

impl Stage {
    fn ask(&self, name: &str, qtype: Type) -> String {
        let mut exchange = exchange(name, qtype, None);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime");
        if let Outcome::Suspended(at) = exchange.walk(&self.block) {
            let (resumed, _) = runtime.block_on(resume(exchange, self.block.clone(), at));
            exchange = resumed;
        }
        told(&exchange.response())
    }

    fn put(&self, key: &str, value: &str, kind: EventKind, revision: i64) {
        let kv = KeyValue {
            mod_revision: Number(revision),
            ..key_value(key, value)
        };
        self.store.apply(vec![Event { kind, kv }], revision);
    }
}

#[test]
fn options_are_read() {
    trial::table(&[
        ("etcd", ""),
        (
            "etcd example.org {\n path /dns\n endpoint http://localhost:2379 http://localhost:3379\n}",
            "",
        ),
        ("etcd {\n endpoint localhost:300\n}", ""),
        (
            "etcd {\n stubzones\n debug\n upstream 192.0.2.1\n fallthrough\n}",
            "",
        ),
        ("etcd {\n credentials user password\n tls\n}", ""),
        ("etcd {\n min-lease-ttl 60\n max-lease-ttl 1h\n}", ""),
        ("etcd {\n min-lease-ttl 0\n}", ""),
        (
            "etcd a.example.org {\n fallthrough\n}\netcd b.example.org",
            "",
        ),
        (
            "etcd {\n endpoints localhost:300\n}",
            "unknown property 'endpoints'",
        ),
        ("etcd {\n endpoint\n}", "Wrong argument count"),
        (
            "etcd {\n endpoint unix:///run/etcd\n}",
            "not an endpoint of etcd",
        ),
        (
            "etcd {\n endpoint http://localhost:99999\n}",
            "not an endpoint of etcd",
        ),
        (
            "etcd {\n credentials user\n}",
            "credentials requires 2 arguments",
        ),
        ("etcd {\n credentials\n}", "Wrong argument count"),
        (
            "etcd {\n credentials a b c\n}",
            "credentials requires 2 arguments",
        ),
        ("etcd {\n path\n}", "Wrong argument count"),
        ("etcd {\n tls a b c d\n}", "Wrong argument count"),
        (
            "etcd {\n tls /nowhere/ca.pem\n}",
            "error reading /nowhere/ca.pem",
        ),
        ("etcd {\n min-lease-ttl abc\n}", "not a duration"),
        ("etcd {\n max-lease-ttl -30s\n}", "negative duration"),
        ("etcd {\n max-lease-ttl 2000000h\n}", "TTL too large"),
    ]);
}

#[test]
fn the_manual_is_true() {
    trial::readme(include_str!("README.md"));
}

#[test]
fn a_bad_value_spoils_neither_its_name_nor_others() {
    let stage = stage(
        &["example.org"],
        Fallthrough::No,
        &[
            ("/skydns/org/example/www/a", r#"{"host":"192.0.2.1"}"#),
            (
                "/skydns/org/example/www/b",
                r#"{"host":"192.0.2.2","ttl":"60"}"#,
            ),
            ("/skydns/org/example/bad/a", "no JSON"),
        ],
    );
    let good = "NOERROR aa | www.example.org. 300 A 192.0.2.1";
    assert_eq!(stage.ask("www.example.org", Type::A), good);
    assert_eq!(stage.ask("bad.example.org", Type::A), "SERVFAIL");
    let logged = trial::logged(|| {
        stage.put("/skydns/org/example/www/b", "[]", EventKind::Put, 8);
    });
    assert!(
        logged.contains("The value of /skydns/org/example/www/b is left out"),
        "{logged}"
    );
    stage.put(
        "/skydns/org/example/bad/a",
        r#"{"host":"192.0.2.3"}"#,
        EventKind::Put,
        9,
    );
    let mended = "NOERROR aa | bad.example.org. 300 A 192.0.2.3";
    assert_eq!(stage.ask("bad.example.org", Type::A), mended);
}

#[test]
fn changes_concern_a_name_and_those_above_it() {
    let stage = stage(&["example.org"], Fallthrough::No, &[]);
    assert_eq!(stage.ask("example.org", Type::A), "NOERROR aa + SOA");
    assert_eq!(stage.ask("a.b.example.org", Type::A), "NXDOMAIN aa + SOA");
    stage.put(
        "/skydns/org/example/b/a",
        r#"{"host":"192.0.2.1"}"#,
        EventKind::Put,
        8,
    );
    for name in [
        "a.b.example.org",
        "b.example.org",
        "example.org",
        "A.B.Example.ORG",
    ] {
        let expected = format!("NOERROR aa | {}. 300 A 192.0.2.1", name.to_lowercase());
        assert_eq!(
            stage.ask(name, Type::A).to_lowercase(),
            expected.to_lowercase()
        );
    }
    stage.put(
        "/skydns/org/other/x",
        r#"{"host":"192.0.2.9"}"#,
        EventKind::Put,
        9,
    );
    assert_eq!(
        stage.store.len(),
        1,
        "keys outside of the zones are not kept"
    );
    stage.put("/skydns/org/example/b/a", "", EventKind::Delete, 10);
    assert_eq!(stage.ask("b.example.org", Type::A), "NXDOMAIN aa + SOA");
    assert_eq!(stage.store.position().map(|at| at.revision), Some(10));
}

#[test]
fn keys_are_names_whatever_their_case() {
    let stage = stage(
        &["example.org"],
        Fallthrough::No,
        &[
            ("/skydns/org/Example/WWW", r#"{"host":"192.0.2.1"}"#),
            ("/skydns/org/example/www", r#"{"host":"192.0.2.2"}"#),
        ],
    );
    let both = "NOERROR aa | www.example.org. 300 A 192.0.2.2 | www.example.org. 300 A 192.0.2.1";
    assert_eq!(stage.ask("www.example.org", Type::A), both);
    stage.put("/skydns/org/example/www", "", EventKind::Delete, 8);
    let one = "NOERROR aa | www.example.org. 300 A 192.0.2.1";
    assert_eq!(stage.ask("www.example.org", Type::A), one);
}

#[test]
fn unknown_names_fall_through_and_known_ones_do_not() {
    let stage = stage(
        &["example.org"],
        Fallthrough::All,
        &[("/skydns/org/example/www", r#"{"host":"192.0.2.1"}"#)],
    );
    assert_eq!(stage.ask("nowhere.example.org", Type::A), "REFUSED");
    assert_eq!(stage.ask("www.example.org", Type::MX), "NOERROR aa + SOA");
    assert_eq!(
        stage.ask("www.example.org", Type::CNAME),
        "NOERROR aa + SOA"
    );
    assert_eq!(stage.ask("www.example.org", Type::AXFR), "REFUSED");
    assert_eq!(stage.ask("www.example.net", Type::A), "REFUSED");
}

#[test]
fn a_key_with_an_asterisk_is_a_wildcard() {
    let stage = stage(
        &["example.org"],
        Fallthrough::No,
        &[
            ("/skydns/org/example/*/a1", r#"{"host":"192.0.2.1"}"#),
            ("/skydns/org/example/www", r#"{"host":"192.0.2.2"}"#),
            ("/skydns/org/example/sub/host", r#"{"host":"192.0.2.3"}"#),
        ],
    );
    // (name, answer): RFC 4592, section 2.2.1: names below one that exists are not made of the wildcard above it.
    for (name, expected) in [
        (
            "x.example.org",
            "NOERROR aa | x.example.org. 300 A 192.0.2.1",
        ),
        (
            "x.y.example.org",
            "NOERROR aa | x.y.example.org. 300 A 192.0.2.1",
        ),
        (
            "www.example.org",
            "NOERROR aa | www.example.org. 300 A 192.0.2.2",
        ),
        ("x.www.example.org", "NXDOMAIN aa + SOA"),
        ("x.sub.example.org", "NXDOMAIN aa + SOA"),
    ] {
        assert_eq!(stage.ask(name, Type::A), expected, "{name}");
    }
}

#[test]
fn aliases_are_followed_within_the_zone_and_their_loops_end() {
    let stage = stage(
        &["example.org"],
        Fallthrough::No,
        &[
            (
                "/skydns/org/example/www",
                r#"{"host":"host.example.org","ttl":60}"#,
            ),
            ("/skydns/org/example/host", r#"{"host":"192.0.2.1"}"#),
            ("/skydns/org/example/a", r#"{"host":"b.example.org"}"#),
            ("/skydns/org/example/b", r#"{"host":"a.example.org"}"#),
            ("/skydns/org/example/self", r#"{"host":"self.example.org"}"#),
            ("/skydns/org/example/out", r#"{"host":"www.example.net"}"#),
            (
                "/skydns/org/example/empty",
                r#"{"host":"nowhere.example.org"}"#,
            ),
        ],
    );
    let followed = "NOERROR aa | www.example.org. 60 CNAME host.example.org. | host.example.org. 300 A 192.0.2.1";
    assert_eq!(stage.ask("www.example.org", Type::A), followed);
    for name in ["a.example.org", "self.example.org", "empty.example.org"] {
        assert_eq!(stage.ask(name, Type::A), "NOERROR aa + SOA", "{name}");
    }
    // Nobody here knows the name that it leads to.
    let out = "NOERROR aa | out.example.org. 300 CNAME www.example.net.";
    assert_eq!(stage.ask("out.example.org", Type::A), out);
    let itself = "NOERROR aa | a.example.org. 300 CNAME b.example.org.";
    assert_eq!(stage.ask("a.example.org", Type::CNAME), itself);
}

#[test]
fn before_the_first_list_nothing_is_denied() {
    let stage = stage(&["example.org"], Fallthrough::All, &[]);
    stage.store.snapshot.store(Arc::default());
    assert_eq!(stage.ask("www.example.org", Type::A), "SERVFAIL");
}

#[test]
fn a_list_of_what_is_known_changes_nothing() {
    let entries = [("/skydns/org/example/www", r#"{"host":"192.0.2.1"}"#)];
    let stage = stage(&["example.org"], Fallthrough::No, &entries);
    let before = stage.store.snapshot.load_full();
    let again = |value: &str| {
        let mut list = List::default();
        stage
            .store
            .gather(&mut list, vec![key_value(entries[0].0, value)]);
        let position = Position {
            cluster: 1,
            revision: 9,
        };
        stage.store.replace(list, position);
    };
    again(entries[0].1);
    assert!(Arc::ptr_eq(&before, &stage.store.snapshot.load_full()));
    again(r#"{"host":"192.0.2.2"}"#);
    let changed = "NOERROR aa | www.example.org. 300 A 192.0.2.2";
    assert_eq!(stage.ask("www.example.org", Type::A), changed);
    assert!(stage.store.snapshot.load().serial > before.serial);
}

#[test]
fn a_name_with_too_much_below_it_is_truncated() {
    let stage = stage(&["example.org"], Fallthrough::No, &[]);
    let mut list = List::default();
    let found = (0..5_000).map(|n| {
        let key = format!("/skydns/org/example/many/{n:04}");
        let value = format!(r#"{{"host":"10.0.{}.{}"}}"#, n / 256, n % 256);
        key_value(&key, &value)
    });
    stage.store.gather(&mut list, found.collect());
    let position = Position {
        cluster: 1,
        revision: 8,
    };
    stage.store.replace(list, position);
    let mut exchange = exchange("many.example.org", Type::A, None);
    let _ = exchange.walk(&stage.block);
    assert!(exchange.response().flags().has(wire::Flags::TC));
    let last = "NOERROR aa | 4999.many.example.org. 300 A 10.0.19.135";
    assert_eq!(stage.ask("4999.many.example.org", Type::A), last);
}

#[test]
fn answers_allocate_nothing() {
    let stage = stage(
        &["example.org", "in-addr.arpa"],
        Fallthrough::No,
        &[
            (
                "/skydns/org/example/www/a",
                r#"{"host":"192.0.2.1","port":80}"#,
            ),
            (
                "/skydns/org/example/www/b",
                r#"{"host":"2001:db8::1","text":"x","mail":true}"#,
            ),
            ("/skydns/org/example/alias", r#"{"host":"www.example.org"}"#),
            ("/skydns/org/example/*", r#"{"host":"192.0.2.7"}"#),
            ("/skydns/org/example/dns/ns/a", r#"{"host":"192.0.2.53"}"#),
            ("/skydns/org/example/sub/x", r#"{"host":"192.0.2.8"}"#),
            (
                "/skydns/arpa/in-addr/192/0/2/1",
                r#"{"host":"www.example.org"}"#,
            ),
        ],
    );
    for (name, qtype) in [
        ("www.example.org", Type::A),
        ("www.example.org", Type::AAAA),
        ("www.example.org", Type::TXT),
        ("www.example.org", Type::SRV),
        ("www.example.org", Type::MX),
        ("www.example.org", Type::NS),
        ("alias.example.org", Type::A),
        ("alias.example.org", Type::CNAME),
        ("wild.example.org", Type::A),
        ("example.org", Type::SOA),
        ("example.org", Type::NS),
        ("x.sub.example.org", Type::AAAA),
        ("y.sub.example.org", Type::A),
        ("1.2.0.192.in-addr.arpa", Type::PTR),
    ] {
        let mut exchange = exchange(name, qtype, None);
        let answered = exchange.walk(&stage.block);
        assert_eq!(answered, Outcome::Respond, "{name} {qtype}");
        let counted = allocation_counter::measure(|| {
            for _ in 0..100 {
                exchange.begin();
                let _ = exchange.walk(&stage.block);
            }
        });
        assert_eq!(counted.count_total, 0, "{name} {qtype}");
    }
}
