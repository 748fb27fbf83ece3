//! Zones signed by `dnssec` as they are asked for, by `sign` in memory, and by `sign` into files: what Unbound, which validates, says of
//! names of all kinds, and whether the records in referrals verify.
//!
//! `ZONES=20 NAMES=1000 cargo test --test it every_kind_of_name_is_secure` asks for more; `BY=memory` for one of the three alone.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hickory_proto::dnssec::Verifier;
use hickory_proto::dnssec::rdata::{DNSKEY, DNSSECRData, RRSIG};
use hickory_proto::op::Message;
use hickory_proto::rr::{DNSClass, RData, Record};
use wire::{NameBuf, Type};
use zone::signing::Key;

use crate::server::{Server, ask_udp, free_port, temporary_directory, tool, wait_until};

/// How a zone gets its signatures.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum By {
    Dnssec,
    Memory,
    File,
}

const ALGORITHMS: [&str; 5] = [
    "ECDSAP256SHA256",
    "ED25519",
    "ECDSAP384SHA384",
    "RSASHA256",
    "RSASHA512",
];

/// What is to come of a query.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Expected {
    /// Records, and AD.
    Secure,
    /// No records, and AD.
    Denied,
    /// Records without AD.
    Insecure,
}

fn number(name: &str, default: usize) -> usize {
    let value = std::env::var(name).ok();
    value
        .and_then(|value| value.parse().ok())
        .unwrap_or(default)
}

/// Runs `dnssec-keygen` for a zone; gives the names of its keys.
fn keygen(dir: &Path, zone: &str, index: usize) -> Vec<String> {
    let algorithm = ALGORITHMS[index % ALGORITHMS.len()];
    let flags: &[&[&str]] = match index % 2 {
        0 => &[&["-f", "KSK"]],
        _ => &[&["-f", "KSK"], &[]],
    };
    let one = |flags: &&[&str]| {
        let bits: &[&str] = if algorithm.starts_with("RSA") {
            &["-b", "2048"]
        } else {
            &[]
        };
        let out = Command::new("dnssec-keygen")
            .current_dir(dir)
            .args(["-q", "-a", algorithm])
            .args([bits, *flags].concat())
            .arg(zone)
            .output()
            .expect("dnssec-keygen runs");
        assert!(
            out.status.success(),
            "{}",
            String::from_utf8_lossy(&out.stderr)
        );
        String::from_utf8_lossy(&out.stdout).trim().to_owned()
    };
    flags.iter().map(one).collect()
}

fn key(dir: &Path, name: &str) -> Key {
    let read = |ending| std::fs::read(dir.join(format!("{name}.{ending}"))).expect("a key file");
    Key::read(&read("key"), &read("private")).expect("a key")
}

/// The records of a zone: names of each kind, `names` in all or some more.
fn records(zone: &str, names: usize, ds: &str) -> String {
    let mut out = format!(
        "$TTL 300\n@ SOA ns h 1 7200 3600 1209600 60\n@ NS ns\n@ MX 10 mail\nns A 127.0.0.1\nmail A 192.0.2.25\n\
         *.wild A 192.0.2.9\n*.wildalias CNAME mail\nunsigned NS ns.unsigned\nns.unsigned A 127.0.0.1\nsigned NS ns.signed\n\
         ns.signed A 127.0.0.1\nsigned DS {ds}\naway NS ns.away\nns.away A 127.0.0.1\naway DS {ds}\nbare NS ns.bare\n\
         ns.bare A 127.0.0.1\nd DNAME tree\nx.tree TXT below\n"
    );
    for i in 0..names.div_ceil(4) {
        let _ = writeln!(
            out,
            "Host{i} A 192.0.2.{}\nhost{i} TXT \"{zone}\" \"{i}\"\nalias{i} CNAME host{i}\nlost{i} CNAME gone{i}\nleaf.ent{i} A 192.0.2.8",
            i % 256
        );
    }
    out
}

/// What is asked of a zone.
fn questions(names: usize) -> Vec<(String, Type, Expected)> {
    use Expected::{Denied, Insecure, Secure};
    let mut out = Vec::new();
    let mut ask = |name: String, qtype, expected| out.push((name, qtype, expected));
    for (name, qtype, expected) in [
        ("", Type::SOA, Secure),
        ("", Type::DNSKEY, Secure),
        ("", Type::MX, Secure),
        ("", Type::TXT, Denied),
        ("unsigned.", Type::DS, Denied),
        ("www.unsigned.", Type::A, Insecure),
        ("signed.", Type::DS, Secure),
        ("www.signed.", Type::A, Secure),
        ("gone.signed.", Type::A, Denied),
        ("x.d.", Type::TXT, Secure),
        ("y.d.", Type::TXT, Denied),
        ("d.", Type::DNAME, Secure),
        ("wild.", Type::A, Denied),
    ] {
        ask(name.to_owned(), qtype, expected);
    }
    for i in 0..names.div_ceil(4) {
        for (name, qtype, expected) in [
            ("host", Type::A, Secure),
            ("HOST", Type::TXT, Secure),
            ("host", Type::MX, Denied),
            ("alias", Type::A, Secure),
            ("alias", Type::MX, Denied),
            ("lost", Type::A, Denied),
            ("ent", Type::A, Denied),
            ("leaf.ent", Type::A, Secure),
            ("gone", Type::A, Denied),
            ("x.y.gone", Type::AAAA, Denied),
        ] {
            ask(format!("{name}{i}."), qtype, expected);
        }
        for (zone, qtype, expected) in [
            ("wild.", Type::A, Secure),
            ("wild.", Type::TXT, Denied),
            ("wildalias.", Type::A, Secure),
            ("wildalias.", Type::TXT, Denied),
        ] {
            ask(format!("name{i}.{zone}"), qtype, expected);
        }
    }
    out
}

/// A query with RD and DO.
fn query(name: &str, qtype: Type) -> Vec<u8> {
    let name: NameBuf = name.parse().expect("a name");
    let mut out = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1];
    out.extend_from_slice(name.as_name().octets());
    out.extend_from_slice(&qtype.0.to_be_bytes());
    out.extend_from_slice(&[0, 1, 0, 0, 41, 0x04, 0xD0, 0, 0, 0x80, 0, 0, 0]);
    out
}

/// Unbound, which validates what the server at `port` says of `zones`; it ends with the test.
struct Unbound(Child, SocketAddr);

impl Unbound {
    fn start(dir: &Path, port: u16, (signed, all): (&[String], &[String])) -> Option<Self> {
        let program = tool("unbound")?;
        let own = free_port();
        let mut conf = format!(
            "server:\n interface: 127.0.0.1@{own}\n port: {own}\n do-daemonize: no\n use-syslog: no\n logfile: \"\"\n chroot: \"\"\n \
             username: \"\"\n directory: \"{}\"\n pidfile: \"\"\n module-config: \"validator iterator\"\n do-not-query-localhost: no\n \
             val-log-level: 2\n aggressive-nsec: yes\n num-threads: 1\nremote-control:\n control-enable: no\n",
            dir.display()
        );
        let anchors = signed.iter().fold(String::new(), |mut out, zone| {
            for entry in std::fs::read_dir(dir).expect("a directory").flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                if name.starts_with(&format!("K{zone}+")) && name.ends_with(".key") {
                    let text = std::fs::read_to_string(entry.path()).expect("a key");
                    let record = text.lines().find(|line| !line.starts_with(';'));
                    let record = record.expect("a record");
                    if record.contains("DNSKEY 257") {
                        let _ = writeln!(out, "{record}");
                    }
                }
            }
            out
        });
        std::fs::write(dir.join("anchors"), anchors).expect("written");
        conf.push_str("server:\n trust-anchor-file: \"anchors\"\n");
        for zone in all {
            let _ = writeln!(
                conf,
                "stub-zone:\n name: \"{zone}\"\n stub-addr: 127.0.0.1@{port}"
            );
        }
        std::fs::write(dir.join("unbound.conf"), conf).expect("written");
        let log = std::fs::File::create(dir.join("unbound.log")).expect("a file");
        let child = Command::new(program)
            .current_dir(dir)
            .args(["-c", "unbound.conf", "-d"])
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("unbound starts");
        let address = SocketAddr::from(([127, 0, 0, 1], own));
        let unbound = Self(child, address);
        let probe = query("localhost.", Type::A);
        wait_until("unbound", || {
            ask_udp(address, &probe, Duration::from_millis(200)).is_some()
        });
        Some(unbound)
    }
}

impl Drop for Unbound {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The lines of a server block.
fn block(by: By, zone: &str, index: usize, keys: &[String]) -> String {
    let keys = keys.join(" ");
    let nsec3 = if index % 2 == 1 { "nsec3" } else { "" };
    let name = zone.trim_end_matches('.');
    match by {
        By::Dnssec => format!("dnssec {{\n key file {keys}\n }}\n file {name}.db\n"),
        By::Memory => format!("sign {name}.db {{\n key file {keys}\n memory\n {nsec3}\n }}\n"),
        By::File => format!(
            "file db.{zone}signed\n sign {name}.db {{\n key file {keys}\n directory .\n {nsec3}\n }}\n"
        ),
    }
}

#[test]
fn every_kind_of_name_is_secure() {
    if tool("unbound").is_none() || tool("dnssec-keygen").is_none() {
        return;
    }
    let only = std::env::var("BY").unwrap_or_default();
    for by in [By::Dnssec, By::Memory, By::File] {
        let name = format!("{by:?}").to_lowercase();
        if !only.is_empty() && only != name {
            continue;
        }
        validate(by, number("ZONES", 2), number("NAMES", 8));
    }
}

fn validate(by: By, zones: usize, names: usize) {
    let dir = temporary_directory(&format!("signed-{by:?}"));
    let (mut corefile, mut signed, mut all) = (String::new(), Vec::new(), Vec::new());
    let mut serve = |zone: &str, lines: &str| {
        let _ = writeln!(corefile, "{zone}:{{PORT}} {{\n bind 127.0.0.1\n {lines}}}");
        all.push(zone.to_owned());
    };
    let head =
        "$TTL 300\n@ SOA ns h 1 7200 3600 1209600 60\n@ NS ns\nns A 127.0.0.1\nwww A 192.0.2.7\n";
    for index in 0..zones {
        let zone = format!("z{index}.example.");
        let (safe, plain) = (format!("signed.{zone}"), format!("unsigned.{zone}"));
        let write = |zone: &str, text: &str| {
            let path = dir.join(format!("{}.db", zone.trim_end_matches('.')));
            std::fs::write(path, text).expect("written");
        };
        let own = keygen(&dir, &safe, index);
        let name: NameBuf = safe.parse().expect("a name");
        let ds = key(&dir, &own[0]).ds(name.as_name(), 2);
        write(&safe, head);
        write(&plain, head);
        write(&zone, &records(&zone, names, &zone::present(Type::DS, &ds)));
        serve(&safe, &block(by, &safe, index, &own));
        serve(&plain, &format!("file unsigned.z{index}.example.db\n"));
        let keys = keygen(&dir, &zone, index);
        serve(&zone, &block(by, &zone, index, &keys));
        signed.push(zone);
    }
    let server = Server::start_in(&dir, &corefile);
    // Large zones are signed one after the other.
    for zone in all.iter().flat_map(|zone| [zone].repeat(1 + names / 100)) {
        let signed = || {
            let reply = server.ask(&query(zone, Type::SOA));
            reply.is_some_and(|reply| reply[3] & 15 == 0)
        };
        let began = Instant::now();
        while !signed() && began.elapsed() < Duration::from_secs(8) {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    for zone in &all {
        let reply = server.ask(&query(zone, Type::SOA)).expect("a reply");
        assert_eq!(reply[3] & 15, 0, "{zone} is not signed:\n{}", server.log());
    }
    let Some(unbound) = Unbound::start(&dir, server.port(), (&signed, &all)) else {
        return;
    };
    let mut wrong = Vec::new();
    let (mut asked, mut secure) = (0, 0);
    for zone in &signed {
        for (name, qtype, expected) in questions(names) {
            let qname = format!("{name}{zone}");
            let reply = ask_udp(unbound.1, &query(&qname, qtype), Duration::from_secs(10));
            let reply = reply.unwrap_or_else(|| panic!("{qname} {qtype}: no reply"));
            let found = Message::from_vec(&reply).expect("a message");
            let of_type = |record: &Record| u16::from(record.record_type()) == qtype.0;
            let some = found.answers.iter().any(of_type);
            let (ad, rcode) = (reply[3] & 0x20 != 0, reply[3] & 15);
            let right = match expected {
                Expected::Secure => ad && some && rcode == 0,
                Expected::Denied => ad && !some && matches!(rcode, 0 | 3),
                Expected::Insecure => !ad && some && rcode == 0,
            };
            asked += 1;
            secure += usize::from(ad);
            if !right {
                wrong.push(format!(
                    "{qname} {qtype}: RCODE {rcode}, AD {ad}, records {some}"
                ));
            }
        }
        referrals(&server, zone);
    }
    println!(
        "{by:?}: {asked} queries, {secure} secure, {} wrong",
        wrong.len()
    );
    let log = std::fs::read_to_string(dir.join("unbound.log")).unwrap_or_default();
    assert!(wrong.is_empty(), "{by:?}: {wrong:#?}\n{log}");
}

/// A referral to a signed zone has its DS records, one to another the proof that there are none; signed by the parent.
fn referrals(server: &Server, zone: &str) {
    let ask = |name: &str, qtype| {
        let reply = server.ask_tcp(&query(name, qtype)).expect("a reply");
        Message::from_vec(&reply).expect("a message")
    };
    let mut keys: Vec<DNSKEY> = Vec::new();
    for record in ask(zone, Type::DNSKEY).answers {
        if let RData::DNSSEC(DNSSECRData::DNSKEY(key)) = &record.data {
            keys.push(key.clone());
        }
    }
    for (child, qtype) in [("signed", Type::DS), ("unsigned", Type::NSEC)] {
        // Asked of the parent alone: the child's own block would answer.
        let reply = ask(&format!("{child}.{zone}"), Type::DS);
        let section = if child == "signed" {
            &reply.answers
        } else {
            &reply.authorities
        };
        verify(section, &keys, &format!("{child}.{zone}"), qtype);
    }
    // Children that are not served here.
    for (child, signed) in [("away", true), ("bare", false)] {
        let reply = ask(&format!("www.{child}.{zone}"), Type::A);
        let count = |rtype: Type| {
            let of = |record: &&Record| u16::from(record.record_type()) == rtype.0;
            reply.authorities.iter().filter(of).count()
        };
        let denials = count(Type::NSEC) + count(Type::NSEC3);
        assert_eq!(count(Type::DS), usize::from(signed), "{reply}");
        assert_eq!(denials > 0, !signed, "{reply}");
        verify(&reply.authorities, &keys, child, Type::DS);
    }
}

/// An RRset in a section of a response has a signature by one of `keys`. A zone with NSEC3 records proves by others.
fn verify(section: &[Record], keys: &[DNSKEY], owner: &str, qtype: Type) {
    let covers = |record: &Record| match &record.data {
        RData::DNSSEC(DNSSECRData::RRSIG(rrsig)) => Some((record.clone(), rrsig.clone())),
        _ => None,
    };
    let signatures: Vec<(Record, RRSIG)> = section.iter().filter_map(covers).collect();
    assert!(!signatures.is_empty(), "{owner} {qtype}: {section:?}");
    for (record, rrsig) in signatures {
        let covered = rrsig.input().type_covered;
        let of = section
            .iter()
            .filter(|other| other.name == record.name && other.record_type() == covered);
        let set: Vec<&Record> = of.collect();
        let tag = rrsig.input().key_tag;
        let key = keys
            .iter()
            .find(|key| key.calculate_key_tag().ok() == Some(tag));
        key.expect("a key")
            .verify_rrsig(&record.name, DNSClass::IN, &rrsig, set.into_iter())
            .unwrap_or_else(|why| panic!("{owner} {covered}: {why}"));
    }
}
