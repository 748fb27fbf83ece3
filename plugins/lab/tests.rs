mod outside;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use chain::{Block, Flow, Outcome};
use host::source::Content as _;
use wire::{Flags, Section, Type};

use super::source::Publications;
use crate::trial::{self, Folder};

/// A state directory.
struct Labs(Folder);

impl Labs {
    fn new(test: &str) -> Self {
        Self(Folder::new(&format!("lab-{test}")))
    }

    /// Publishes a lab as `apply` does.
    fn publish(&self, lab: &str, names: &str) {
        let directory = self.0.0.join(lab);
        std::fs::create_dir_all(&directory).expect("a directory");
        std::fs::write(directory.join(".names"), names).expect("a file");
        std::fs::rename(directory.join(".names"), directory.join("names.json")).expect("renamed");
    }

    fn unpublish(&self, lab: &str) {
        std::fs::remove_file(self.0.0.join(lab).join("names.json")).expect("removed");
    }

    /// The directive at work, with a plugin below that answers NOERROR without AA.
    fn serve(&self, words: &str, options: &str) -> Arc<Block> {
        let lines = format!("lab {} {words} {{\n{options}\n}}", self.0.0.display());
        let trial = trial::block(&lines);
        assert!(trial.accepted, "{lines}: {}", trial.messages);
        trial::serve(&trial, ".", trial::answer(|_, _| Ok(Flow::Answered)))
    }
}

const TWO: &str = r#"{
 "v": 1, "lab": "two", "version": "0123456789abcdef", "generation": 7, "domain": "two.test", "ttl": 9,
 "reverse": ["10.1.0.0/20", "10.2.0.0/24", "fd00:1::/64", "192.168.9.0/30"],
 "nets": [
  {"name": "left", "subnets": ["10.1.0.0/20", "fd00:1::/64"], "host": ["10.1.0.1", "fd00:1::1"], "listen": ["10.1.0.1", "fd00:1::1"]},
  {"name": "right", "subnets": ["10.2.0.0/24"], "host": ["10.2.0.1"], "listen": ["10.2.0.1"], "internal": true}
 ],
 "links": [{"subnets": ["192.168.9.0/30"]}],
 "hosts": [
  {"name": "web", "aliases": ["www", "*.apps"], "addresses": [
    {"net": "left", "address": "10.1.0.10"}, {"net": "left", "address": "fd00:1::10"}, {"net": "right", "address": "10.2.0.10"}]},
  {"name": "db", "addresses": [{"net": "right", "address": "10.2.0.11"}, {"net": "web", "address": "192.168.9.2"}]},
  {"name": "alone", "aliases": [], "addresses": []}
 ],
 "records": [
  {"owner": "mail", "data": "MX 10 web"}, {"owner": "@", "data": "TXT \"a (lab)\""},
  {"owner": "loop1", "data": "CNAME loop2"}, {"owner": "loop2", "data": "CNAME loop1"}
 ],
 "forwards": [{"listen": null, "port": 8080, "protocol": "tcp", "host": "web", "target_port": 80}],
 "services": [{"name": "sql", "address": "10.96.0.10", "port": 3306, "protocol": "tcp", "to": ["db"]}]
}"#;

/// A small lab of one host.
fn small(domain: &str, address: &str) -> String {
    format!(
        r#"{{"v": 1, "generation": 1, "domain": "{domain}", "ttl": 5, "reverse": ["{address}/24"],
        "nets": [{{"name": "net", "subnets": ["{address}/24"]}}],
        "hosts": [{{"name": "h", "addresses": [{{"net": "net", "address": "{address}"}}]}}]}}"#
    )
}

/// The answer to one client in a few words: RCODE, AA, the answers' TTL, types and RDATA, and whether there is an SOA.
fn ask(block: &Arc<Block>, from: &str, name: &str, qtype: Type) -> String {
    let mut exchange = trial::exchange(name, qtype, None);
    exchange.context.peer = (from.parse::<IpAddr>().expect("an address"), 4711).into();
    match exchange.walk(block) {
        Outcome::Respond => {}
        other => return format!("{other:?}"),
    }
    let response = exchange.response();
    let mut out = response.rcode().to_string();
    if response.flags().has(Flags::AA) {
        out.push_str(" aa");
    }
    for record in response.records() {
        let record = record.expect("a record");
        if record.section != Section::Answer {
            if record.rtype == Type::SOA {
                let _ = write!(out, " SOA {}", record.ttl);
            }
            continue;
        }
        let rdata = record.rdata();
        let _ = write!(out, " | {} {} ", record.ttl, record.rtype);
        let _ = match record.rtype {
            Type::A => write!(
                out,
                "{}",
                Ipv4Addr::from([rdata[0], rdata[1], rdata[2], rdata[3]])
            ),
            Type::AAAA => write!(
                out,
                "{}",
                Ipv6Addr::from(<[u8; 16]>::try_from(rdata).expect("16"))
            ),
            Type::CNAME | Type::PTR | Type::NS => {
                write!(out, "{}", record.rdata_name(0).expect("a name"))
            }
            Type::MX => write!(out, "{}", record.rdata_name(2).expect("a name")),
            Type::SRV => write!(
                out,
                "{} {}",
                wire::read_u16(rdata, 4).expect("a port"),
                record.rdata_name(6).expect("a name")
            ),
            Type::SOA => write!(out, "{}", record.rdata_name(0).expect("a name")),
            _ => write!(out, "{}", String::from_utf8_lossy(&rdata[1..])),
        };
    }
    out
}

/// Somebody outside of all labs.
const STRANGER: &str = "192.0.2.1";

/// Services as a cluster has them: one with an address, and a headless one.
const CLUSTER: &str = r#"{
 "v": 1, "lab": "c", "generation": 3, "domain": "cluster.local", "ttl": 5, "reverse": ["10.244.1.0/24", "10.96.0.20/32", "fd00:96::1/128"],
 "nets": [{"name": "pods", "subnets": ["10.244.1.0/24"]}],
 "hosts": [{"name": "a", "addresses": [{"net": "pods", "address": "10.244.1.2"}]}, {"name": "b", "addresses": [{"net": "pods", "address": "10.244.1.3"}]}],
 "records": [{"owner": "10-244-1-2.default.pod", "data": "A 10.244.1.2"}],
 "services": [
  {"name": "web.default.svc", "address": "10.96.0.20", "port": 80, "protocol": "tcp", "to": ["a"]},
  {"name": "six.default.svc", "address": "fd00:96::1", "port": 53, "protocol": "udp", "to": ["a"]},
  {"name": "db.data.svc", "protocol": "tcp", "port": 5432, "to": ["a", "b"], "endpoints": [
    {"name": "a", "address": "10.244.1.2"}, {"name": "a", "address": "fd00::2"}, {"name": "b", "address": "10.244.1.3"}]},
  {"name": "plain", "protocol": "tcp", "to": ["b"], "endpoints": [{"name": "b", "address": "10.244.1.3"}]}
 ]
}"#;

#[test]
fn services_of_a_cluster() {
    let labs = Labs::new("cluster");
    labs.publish("c", CLUSTER);
    let block = labs.serve("", "");
    for (name, qtype, expected) in [
        (
            "web.default.svc.cluster.local.",
            Type::A,
            "NOERROR aa | 5 A 10.96.0.20",
        ),
        (
            "six.default.svc.cluster.local.",
            Type::AAAA,
            "NOERROR aa | 5 AAAA fd00:96::1",
        ),
        (
            "_domain._udp.six.default.svc.cluster.local.",
            Type::SRV,
            "NOERROR aa | 5 SRV 53 six.default.svc.cluster.local.",
        ),
        (
            "db.data.svc.cluster.local.",
            Type::A,
            "NOERROR aa | 5 A 10.244.1.2 | 5 A 10.244.1.3",
        ),
        (
            "db.data.svc.cluster.local.",
            Type::AAAA,
            "NOERROR aa | 5 AAAA fd00::2",
        ),
        (
            "a.db.data.svc.cluster.local.",
            Type::A,
            "NOERROR aa | 5 A 10.244.1.2",
        ),
        (
            "_5432._tcp.db.data.svc.cluster.local.",
            Type::SRV,
            "NOERROR aa | 5 SRV 5432 a.db.data.svc.cluster.local. | 5 SRV 5432 b.db.data.svc.cluster.local.",
        ),
        (
            "plain.cluster.local.",
            Type::A,
            "NOERROR aa | 5 A 10.244.1.3",
        ),
        (
            "_80._tcp.plain.cluster.local.",
            Type::SRV,
            "NXDOMAIN aa SOA 5",
        ),
        ("web.cluster.local.", Type::A, "NXDOMAIN aa SOA 5"),
        ("svc.cluster.local.", Type::A, "NOERROR aa SOA 5"),
        (
            "10-244-1-2.default.pod.cluster.local.",
            Type::A,
            "NOERROR aa | 5 A 10.244.1.2",
        ),
        (
            "20.0.96.10.in-addr.arpa.",
            Type::PTR,
            "NOERROR aa | 5 PTR web.default.svc.cluster.local.",
        ),
        (
            "2.1.244.10.in-addr.arpa.",
            Type::PTR,
            "NOERROR aa | 5 PTR a.cluster.local.",
        ),
        // Those beside a service's address are nobody's here.
        ("21.0.96.10.in-addr.arpa.", Type::PTR, "NOERROR"),
        (
            "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.6.9.0.0.0.0.d.f.ip6.arpa.",
            Type::PTR,
            "NOERROR aa | 5 PTR six.default.svc.cluster.local.",
        ),
    ] {
        assert_eq!(
            ask(&block, STRANGER, name, qtype),
            expected,
            "{name} {qtype}"
        );
    }
}

#[test]
fn lines_of_a_corefile() {
    trial::table(&[
        ("lab", ""),
        ("lab *", ""),
        ("lab redblue other", ""),
        (
            "lab /run/labs redblue {\n listen\n ttl 0\n no_reverse\n single_label\n reload 1s\n fallthrough\n}",
            "",
        ),
        ("lab {\n fallthrough two.test\n}", ""),
        ("lab /run/a /run/b", "one directory at most"),
        ("lab .hidden", "is not the name of a lab"),
        ("lab red*", "is not the name of a lab"),
        ("lab {\n lisen\n}", "unknown property 'lisen'"),
        ("lab {\n listen 192.0.2.1\n}", "Wrong argument count"),
        ("lab {\n ttl\n}", "Wrong argument count"),
        ("lab {\n ttl -1\n}", "-1"),
        ("lab {\n reload 5\n}", "missing unit"),
        ("lab\nlab", "can only be used once"),
    ]);
}

#[test]
fn names_and_addresses_of_a_lab() {
    let labs = Labs::new("names");
    labs.publish("two", TWO);
    let block = labs.serve("", "");
    for (from, name, qtype, expected) in [
        // Views: alone on the client's network, all of them for others, by family.
        (
            "10.1.0.99",
            "web.two.test",
            Type::A,
            "NOERROR aa | 9 A 10.1.0.10",
        ),
        (
            "10.2.0.99",
            "web.two.test",
            Type::A,
            "NOERROR aa | 9 A 10.2.0.10",
        ),
        (
            STRANGER,
            "web.two.test",
            Type::A,
            "NOERROR aa | 9 A 10.1.0.10 | 9 A 10.2.0.10",
        ),
        (
            "10.2.0.99",
            "web.two.test",
            Type::AAAA,
            "NOERROR aa | 9 AAAA fd00:1::10",
        ),
        (
            "fd00:1::99",
            "web.two.test",
            Type::A,
            "NOERROR aa | 9 A 10.1.0.10",
        ),
        (
            "::ffff:10.1.0.99",
            "web.two.test",
            Type::A,
            "NOERROR aa | 9 A 10.1.0.10",
        ),
        (
            "192.168.9.1",
            "db.two.test",
            Type::A,
            "NOERROR aa | 9 A 192.168.9.2",
        ),
        (
            "10.1.15.255",
            "db.two.test",
            Type::A,
            "NOERROR aa | 9 A 10.2.0.11 | 9 A 192.168.9.2",
        ),
        // Names by network, aliases and wildcards.
        (
            STRANGER,
            "web.right.two.test",
            Type::A,
            "NOERROR aa | 9 A 10.2.0.10",
        ),
        (
            STRANGER,
            "gw.left.two.test",
            Type::AAAA,
            "NOERROR aa | 9 AAAA fd00:1::1",
        ),
        (
            "10.2.0.99",
            "www.two.test",
            Type::A,
            "NOERROR aa | 9 CNAME web.two.test. | 9 A 10.2.0.10",
        ),
        (
            STRANGER,
            "www.left.two.test",
            Type::A,
            "NOERROR aa | 9 CNAME web.left.two.test. | 9 A 10.1.0.10",
        ),
        (
            "10.1.0.1",
            "x.apps.two.test",
            Type::A,
            "NOERROR aa | 9 CNAME web.two.test. | 9 A 10.1.0.10",
        ),
        // Records, services, forwards.
        (
            STRANGER,
            "mail.two.test",
            Type::MX,
            "NOERROR aa | 9 MX web.two.test.",
        ),
        (
            STRANGER,
            "two.test",
            Type::TXT,
            "NOERROR aa | 9 TXT a (lab)",
        ),
        (
            STRANGER,
            "sql.two.test",
            Type::A,
            "NOERROR aa | 9 A 10.96.0.10",
        ),
        (
            STRANGER,
            "_mysql._tcp.sql.two.test",
            Type::SRV,
            "NOERROR aa | 9 SRV 3306 sql.two.test.",
        ),
        (
            STRANGER,
            "_http._tcp.web.two.test",
            Type::SRV,
            "NOERROR aa | 9 SRV 80 web.two.test.",
        ),
        (
            STRANGER,
            "_80._tcp.web.two.test",
            Type::SRV,
            "NOERROR aa | 9 SRV 80 web.two.test.",
        ),
        // The apex.
        (
            STRANGER,
            "two.test",
            Type::SOA,
            "NOERROR aa | 9 SOA ns.dns.two.test.",
        ),
        (
            STRANGER,
            "two.test",
            Type::NS,
            "NOERROR aa | 9 NS ns.dns.two.test.",
        ),
        (
            STRANGER,
            "ns.dns.two.test",
            Type::A,
            "NOERROR aa | 9 A 10.1.0.1 | 9 A 10.2.0.1",
        ),
        (
            STRANGER,
            "_version.two.test",
            Type::TXT,
            "NOERROR aa | 9 TXT 0123456789abcdef generation=7",
        ),
        // Nothing of the type, nothing at all, nobody's.
        (STRANGER, "db.two.test", Type::AAAA, "NOERROR aa SOA 9"),
        (STRANGER, "alone.two.test", Type::A, "NXDOMAIN aa SOA 9"),
        (STRANGER, "nobody.two.test", Type::A, "NXDOMAIN aa SOA 9"),
        (STRANGER, "two.test", Type::AXFR, "REFUSED"),
        (
            STRANGER,
            "loop1.two.test",
            Type::A,
            "NOERROR aa | 9 CNAME loop2.two.test. | 9 CNAME loop1.two.test.",
        ),
        (STRANGER, "www.example.org", Type::A, "NOERROR"),
        (STRANGER, "web", Type::A, "NOERROR"),
        (STRANGER, "test", Type::NS, "NOERROR"),
    ] {
        assert_eq!(
            ask(&block, from, name, qtype),
            expected,
            "{from} {name} {qtype}"
        );
    }
}

#[test]
fn reverse_names_are_owned_to_the_address() {
    let labs = Labs::new("reverse");
    labs.publish("two", TWO);
    let block = labs.serve("", "");
    for (name, expected) in [
        ("10.0.1.10.in-addr.arpa", "NOERROR aa | 9 PTR web.two.test."),
        (
            "1.0.1.10.in-addr.arpa",
            "NOERROR aa | 9 PTR gw.left.two.test.",
        ),
        (
            "2.9.168.192.in-addr.arpa",
            "NOERROR aa | 9 PTR db.two.test.",
        ),
        ("3.9.168.192.in-addr.arpa", "NXDOMAIN aa SOA 9"),
        ("4.9.168.192.in-addr.arpa", "NOERROR"),
        ("9.168.192.in-addr.arpa", "NOERROR"),
        ("77.15.1.10.in-addr.arpa", "NXDOMAIN aa SOA 9"),
        ("77.16.1.10.in-addr.arpa", "NOERROR"),
        ("1.10.in-addr.arpa", "NOERROR"),
        ("0.2.10.in-addr.arpa", "NOERROR aa SOA 9"),
        ("x.10.0.2.10.in-addr.arpa", "NXDOMAIN aa SOA 9"),
        ("x.2.10.in-addr.arpa", "NOERROR"),
        ("010.0.2.10.in-addr.arpa", "NXDOMAIN aa SOA 9"),
        ("300.1.10.in-addr.arpa", "NOERROR"),
        ("1.1.1.1.1.1.10.in-addr.arpa", "NXDOMAIN aa SOA 9"),
        ("1.1.1.1.1.200.10.in-addr.arpa", "NOERROR"),
        ("in-addr.arpa", "NOERROR"),
        ("arpa", "NOERROR"),
    ] {
        assert_eq!(ask(&block, STRANGER, name, Type::PTR), expected, "{name}");
    }
    for (address, expected) in [
        ("fd00:1::10", "NOERROR aa | 9 PTR web.two.test."),
        ("fd00:1::ffff", "NXDOMAIN aa SOA 9"),
        ("fd00:1:0:1::10", "NOERROR"),
    ] {
        let name = super::text::reverse_name(address.parse().expect("an address"), 32);
        assert_eq!(
            ask(&block, STRANGER, &name, Type::PTR),
            expected,
            "{address}"
        );
    }
    let block = labs.serve("", "no_reverse");
    assert_eq!(
        ask(&block, STRANGER, "10.0.1.10.in-addr.arpa", Type::PTR),
        "NOERROR"
    );
}

#[test]
fn short_names_and_internal_networks() {
    let labs = Labs::new("short");
    labs.publish("two", TWO);
    let block = labs.serve("", "");
    for (from, name, qtype, expected) in [
        (
            "10.1.0.99",
            "web",
            Type::A,
            "NOERROR aa | 9 CNAME web.two.test. | 9 A 10.1.0.10",
        ),
        (
            "10.2.0.99",
            "WEB",
            Type::A,
            "NOERROR aa | 9 CNAME web.two.test. | 9 A 10.2.0.10",
        ),
        (
            "10.1.0.99",
            "db",
            Type::AAAA,
            "NOERROR aa | 9 CNAME db.two.test. SOA 9",
        ),
        ("10.1.0.99", "nobody", Type::A, "NXDOMAIN aa"),
        ("10.1.0.99", "nobody", Type::MX, "NXDOMAIN aa"),
        // A resolver in the lab may ask for a top-level domain, and for the root.
        ("10.1.0.99", "org", Type::DS, "NOERROR"),
        ("10.1.0.99", ".", Type::NS, "NOERROR"),
        ("10.1.0.99", "www.example.org", Type::A, "NOERROR"),
        // The network on the right is internal.
        ("10.2.0.99", "www.example.org", Type::A, "REFUSED"),
        ("10.2.0.99", "org", Type::DS, "REFUSED"),
        (
            "10.2.0.99",
            "web.two.test",
            Type::A,
            "NOERROR aa | 9 A 10.2.0.10",
        ),
    ] {
        assert_eq!(
            ask(&block, from, name, qtype),
            expected,
            "{from} {name} {qtype}"
        );
    }
    let long = "a".repeat(63);
    assert_eq!(ask(&block, "10.1.0.99", &long, Type::A), "NXDOMAIN aa");
    let block = labs.serve("", "single_label");
    assert_eq!(ask(&block, "10.1.0.99", "web", Type::A), "NOERROR");
}

#[test]
fn options_and_choice_of_labs() {
    let labs = Labs::new("options");
    labs.publish("one", &small("one.test", "10.7.1.0"));
    labs.publish("sub", &small("sub.one.test", "10.7.2.0"));
    labs.publish("twin", &small("one.test", "10.7.3.0").replace("]}]}", "]}, {\"name\": \"t\", \"addresses\": [{\"net\": \"net\", \"address\": \"10.7.3.9\"}]}]}"));
    let answers =
        |words, options, name: &str| ask(&labs.serve(words, options), STRANGER, name, Type::A);
    // Labs that share a domain: who has the name, the client's own first.
    let block = labs.serve("", "");
    for (from, name, expected) in [
        (STRANGER, "h.one.test", "NOERROR aa | 5 A 10.7.1.0"),
        ("10.7.3.1", "h.one.test", "NOERROR aa | 5 A 10.7.3.0"),
        ("10.7.1.1", "t.one.test", "NOERROR aa | 5 A 10.7.3.9"),
        ("10.7.1.1", "nobody.one.test", "NXDOMAIN aa SOA 5"),
    ] {
        assert_eq!(ask(&block, from, name, Type::A), expected, "{from} {name}");
    }
    for (words, options, name, expected) in [
        ("", "", "h.one.test", "NOERROR aa | 5 A 10.7.1.0"),
        ("*", "", "h.sub.one.test", "NOERROR aa | 5 A 10.7.2.0"),
        ("one", "", "h.sub.one.test", "NXDOMAIN aa SOA 5"),
        ("sub nobody", "", "h.one.test", "NOERROR"),
        ("", "ttl 60", "h.one.test", "NOERROR aa | 60 A 10.7.1.0"),
        ("", "fallthrough", "nobody.one.test", "NOERROR"),
        (
            "",
            "fallthrough sub.one.test",
            "nobody.one.test",
            "NXDOMAIN aa SOA 5",
        ),
        (
            "",
            "fallthrough sub.one.test",
            "nobody.sub.one.test",
            "NOERROR",
        ),
        ("nobody", "", "h.one.test", "NOERROR"),
    ] {
        assert_eq!(
            answers(words, options, name),
            expected,
            "{words} {options} {name}"
        );
    }
}

#[test]
fn what_is_wrong_is_told_and_the_rest_is_served() {
    let labs = Labs::new("wrong");
    let bad = TWO
        .replace("MX 10 web", "MX web")
        .replace("CNAME loop2", "TXT \\\"open (");
    labs.publish("two", &bad);
    let mut block = None;
    let said = trial::logged(|| block = Some(labs.serve("", "")));
    assert!(
        said.contains("names.json: left out: `mail.two.test. 9 MX web`:")
            && said.contains("a quote or parenthesis stays open"),
        "{said}"
    );
    let block = block.expect("served");
    assert_eq!(
        ask(&block, STRANGER, "mail.two.test", Type::MX),
        "NXDOMAIN aa SOA 9"
    );
    assert_eq!(
        ask(&block, STRANGER, "sql.two.test", Type::A),
        "NOERROR aa | 9 A 10.96.0.10"
    );
    for (text, place) in [
        ("", "names.json:1:0: EOF"),
        (
            "{\n \"v\": 1,\n \"domain\": 7",
            "names.json:3:12: invalid type",
        ),
        (
            &TWO.replace("\"v\": 1", "\"v\": 2"),
            "format 2 is not known",
        ),
        (
            &TWO.replace("10.2.0.0/24", "10.2.0.0/33"),
            "`10.2.0.0/33` is not a subnet",
        ),
        (&TWO.replace("two.test", "two..test"), "domain `two..test`"),
    ] {
        labs.publish("two", text);
        let said = trial::logged(|| drop(labs.serve("", "")));
        assert!(
            said.contains(place) && said.contains("the lab is not served"),
            "{said}"
        );
    }
}

#[test]
fn changes_are_followed_and_mistakes_keep_what_was() {
    let labs = Labs::new("follow");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let mut trial = trial::block(&format!(
        "lab {}/late {{\n listen\n reload 1h\n}}",
        labs.0.0.display()
    ));
    let addresses = trial.blocks[0]
        .config
        .listen
        .clone()
        .expect("a list of addresses");
    let block = trial::serve(&trial, ".", trial::answer(|_, _| Ok(Flow::Answered)));
    let late = Labs(Folder(labs.0.0.join("late")));
    runtime.block_on(async {
        for task in trial.process.tasks.drain(..) {
            tokio::spawn(task.work);
        }
        let until = async |what: &str, done: &dyn Fn() -> bool| {
            for _ in 0..500 {
                if done() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            panic!("{what} was not seen");
        };
        tokio::time::sleep(Duration::from_millis(50)).await;
        let web = || ask(&block, STRANGER, "sql.two.test", Type::A);
        // Neither the lab nor the directory of all labs was there.
        late.publish("two", TWO);
        until("a lab that appears", &|| {
            web() == "NOERROR aa | 9 A 10.96.0.10"
        })
        .await;
        assert_eq!(addresses.list().len(), 3);
        assert!(
            std::fs::File::open(&late.0.0)
                .expect("it")
                .try_lock()
                .is_err(),
            "`apply` sees the server"
        );
        late.publish("two", &TWO.replace("10.96.0.10", "10.96.0.11"));
        until("a change", &|| web() == "NOERROR aa | 9 A 10.96.0.11").await;
        late.publish("two", "{");
        late.publish("one", &small("one.test", "10.7.1.0"));
        until("another lab", &|| {
            ask(&block, STRANGER, "h.one.test", Type::A).contains("10.7.1.0")
        })
        .await;
        assert_eq!(
            web(),
            "NOERROR aa | 9 A 10.96.0.11",
            "the last good names stay"
        );
        late.unpublish("two");
        until("a lab that goes", &|| web() == "NOERROR").await;
        assert_eq!(addresses.list().len(), 0);
        assert!(ask(&block, STRANGER, "h.one.test", Type::A).contains("10.7.1.0"));
        until("a directory that goes and comes", &|| {
            let _ = std::fs::remove_dir_all(&late.0.0);
            ask(&block, STRANGER, "h.one.test", Type::A) == "NOERROR"
        })
        .await;
        late.publish("two", TWO);
        until("a lab that comes back", &|| {
            web() == "NOERROR aa | 9 A 10.96.0.10"
        })
        .await;
    });
}

/// `apply` writes more than names into a lab's directory, and who waits for names must not wait for that.
#[test]
fn of_a_lab_with_names_only_these_are_heard() {
    let labs = Labs::new("places");
    labs.publish("one", &small("one.test", "10.7.1.0"));
    let directory = labs.0.0.clone();
    std::fs::create_dir(directory.join("two")).expect("a directory");
    let mut publications = Publications {
        directory: directory.clone(),
        wanted: Vec::new(),
        ttl: None,
        reverse: true,
        state: Arc::default(),
        listen: None,
        known: BTreeMap::new(),
        held: None,
    };
    let places = publications.places();
    assert_eq!(places.files, [directory.join("one/names.json")]);
    // Where there are no names yet, whatever comes may be them.
    assert_eq!(
        places.directories,
        [directory.clone(), directory.join("two")]
    );
}

#[test]
fn a_thousand_networks_have_no_thousand_views() {
    let labs = Labs::new("views");
    let (mut nets, mut addresses, mut hosts) = (String::new(), String::new(), String::new());
    for net in 0..400 {
        let (high, low) = (net / 250, net % 250);
        let comma = if net > 0 { "," } else { "" };
        let _ = write!(
            nets,
            "{comma}{{\"name\": \"n{net}\", \"subnets\": [\"10.{high}.{low}.0/24\"]}}"
        );
        let _ = write!(
            addresses,
            "{comma}{{\"net\": \"n{net}\", \"address\": \"10.{high}.{low}.1\"}}"
        );
        let _ = write!(
            hosts,
            ",{{\"name\": \"h{net}\", \"addresses\": [{{\"net\": \"n{net}\", \"address\": \"10.{high}.{low}.2\"}}]}}"
        );
    }
    labs.publish(
        "wide",
        &format!(
            r#"{{"v": 1, "generation": 1, "domain": "wide.test", "ttl": 5, "nets": [{nets}],
            "hosts": [{{"name": "all", "addresses": [{addresses}]}}{hosts}]}}"#
        ),
    );
    let mut block = None;
    let said = trial::logged(|| block = Some(labs.serve("", "")));
    assert!(
        said.contains("400 networks would each have their own view"),
        "{said}"
    );
    let block = block.expect("served");
    assert_eq!(
        ask(&block, "10.0.7.9", "h7.wide.test", Type::A),
        "NOERROR aa | 5 A 10.0.7.2"
    );
}

#[test]
fn readme() {
    trial::readme(include_str!("README.md"));
}
