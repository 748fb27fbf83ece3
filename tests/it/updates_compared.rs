//! Updates that are drawn by lot, made by nsupdate to BIND and to us: the same RCODE for each, and the same zone.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::AtomicU32;

use crate::bad_links::Chance;
use crate::peers::{Peer, SECRET, named_options, serial, transferred};
use crate::server::{Server, free_port, temporary_directory, wait_until};
use crate::updates::update;

const ZONE: &str = "\
@ 300 IN SOA ns hostmaster 10 7200 1800 1209600 300
@ 300 IN NS ns
ns 300 IN A 192.0.2.53
www 300 IN A 192.0.2.1
";
const NAMES: [&str; 10] = [
    "", "a.", "b.", "c.", "A.", "www.", "*.w.", "x.w.", "sub.", "ns.sub.",
];
/// What BIND alone refuses is left out: NS and MX records whose targets have no address, NS records of wildcards, and what DIFFERENCES.md
/// tells of DNAME and DS records.
const DATA: [(&str, &[&str]); 9] = [
    ("A", &["192.0.2.1", "192.0.2.2", "192.0.2.3"]),
    ("AAAA", &["2001:db8::1", "2001:db8::2"]),
    ("TXT", &["\"a\"", "\"b\" \"c\""]),
    (
        "CNAME",
        &["www.example.org.", "a.example.org.", "A.example.org."],
    ),
    (
        "NS",
        &["ns.example.org.", "n1.example.net.", "n2.example.net."],
    ),
    ("MX", &["10 a.example.net.", "20 A.example.net."]),
    ("SRV", &["0 0 1 a.example.net."]),
    ("CAA", &["0 issue \"x\""]),
    (
        "SOA",
        &[
            "ns.example.org. h.example.org. 5 1 1 1 1",
            "ns.example.org. h.example.org. 4000 1 1 1 1",
        ],
    ),
];

/// One of many.
fn pick<'a, T>(chance: &Chance, from: &'a [T]) -> &'a T {
    &from[chance.below(from.len() as u32) as usize]
}

/// The lines of an update.
fn lines(chance: &Chance) -> String {
    let mut out = String::new();
    for _ in 0..*pick(chance, &[0, 0, 1, 1, 2]) {
        let name = format!("{}example.org.", pick(chance, &NAMES));
        let (rtype, data) = pick(chance, &DATA);
        let _ = match chance.below(5) {
            0 => writeln!(out, "prereq yxdomain {name}"),
            1 => writeln!(out, "prereq nxdomain {name}"),
            2 => writeln!(out, "prereq yxrrset {name} {rtype}"),
            3 => writeln!(out, "prereq nxrrset {name} {rtype}"),
            _ => writeln!(out, "prereq yxrrset {name} {rtype} {}", pick(chance, data)),
        };
    }
    for _ in 0..1 + chance.below(4) {
        let (rtype, data) = pick(chance, &DATA);
        let label = match (*rtype, *pick(chance, &NAMES)) {
            ("NS", "*.w.") => "sub.",
            (_, label) => label,
        };
        let (name, rdata) = (format!("{label}example.org."), pick(chance, data));
        let _ = match chance.below(6) {
            0..3 => writeln!(
                out,
                "update add {name} {} {rtype} {rdata}",
                pick(chance, &[60, 300])
            ),
            3 => writeln!(out, "update del {name} {rtype}"),
            4 => writeln!(out, "update del {name} {rtype} {rdata}"),
            _ => writeln!(out, "update del {name}"),
        };
    }
    out
}

/// The RCODEs that nsupdate was told.
fn rcodes(said: &str) -> Vec<String> {
    said.lines()
        .filter_map(|line| line.split_once("opcode: UPDATE, status: "))
        .map(|(_, rest)| rest.split(',').next().unwrap_or_default().to_owned())
        .collect()
}

#[test]
fn updates_have_the_outcome_that_bind_gives_them() {
    const ROUNDS: u32 = 8;
    const UPDATES: u32 = 40;
    let dir = temporary_directory("updates-compared");
    std::fs::write(dir.join("theirs"), ZONE).expect("written");
    std::fs::write(dir.join("ours"), ZONE).expect("written");
    let port = free_port();
    let configuration = named_options(&dir, port)
        + "zone \"example.org\" { type primary; file \"theirs\"; allow-update { key xfr.example.; }; allow-transfer { any; }; check-names ignore; };\n";
    let Some(_named) = Peer::named(&dir, &configuration) else {
        return;
    };
    let theirs = SocketAddr::from(([127, 0, 0, 1], port));
    let server = Server::start_in(
        &dir,
        &format!(
            "example.org:{{PORT}} {{\n  bind 127.0.0.1\n  tsig {{\n    secret xfr.example. {SECRET}\n  }}\n  dynupdate {{\n    file ours\n    allow xfr.example. * *\n  }}\n  transfer {{\n    to *\n  }}\n}}\n"
        ),
    );
    wait_until("BIND", || serial(theirs).as_deref() == Some("10"));
    let chance = Chance(AtomicU32::new(1));
    let mut seen = BTreeSet::new();
    for round in 0..ROUNDS {
        let updates: Vec<String> = (0..UPDATES).map(|_| lines(&chance)).collect();
        let script = updates.join("send\nanswer\n") + "send\nanswer";
        let [their, our] = [theirs, server.address()].map(|address| {
            let said = update("nsupdate", address, "xfr.example.", &script).expect("nsupdate");
            rcodes(&said)
        });
        assert_eq!(our.len(), UPDATES as usize, "round {round}: {our:?}");
        for ((update, their), our) in updates.iter().zip(&their).zip(&our) {
            assert_eq!(our, their, "round {round}:\n{update}");
        }
        seen.extend(our);
        // BIND keeps the case of an owner for each RRset, and we for the name.
        let [their, our] = [theirs, server.address()].map(|address| {
            let records = transferred(address, &[]).expect("dig");
            let records = records.iter().map(|record| record.to_lowercase());
            records.collect::<BTreeSet<_>>()
        });
        assert_eq!(our, their, "round {round}:\n{script}");
    }
    let all = ["NOERROR", "NXDOMAIN", "NXRRSET", "YXDOMAIN", "YXRRSET"];
    assert_eq!(seen, BTreeSet::from(all.map(str::to_owned)));
}
