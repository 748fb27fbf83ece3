//! RDATA that is drawn by lot, for every type that BIND knows: what `named-checkzone` refuses is refused, and nothing else. A zone with one
//! record that BIND refuses is one that it does not take from us.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::process::Command;
use std::sync::atomic::AtomicU32;

use wire::Type;

use crate::bad_links::Chance;
use crate::server::{temporary_directory, tool};

const HEAD: &str = "\
@ 300 IN SOA ns1 hostmaster 1 7200 1800 1209600 300
@ 300 IN NS ns1
ns1 300 IN A 192.0.2.53
";

/// Types that are not compared: BIND refuses MD and MF as obsolete, takes any GPOS, and looks at the bitmap of NXT in ways of its own; DS
/// and its like, SSHFP and ZONEMD are held to the lengths and numbers of their RFCs here, and IPSECKEY and RRSIG records of no use are taken.
/// CNAME, SOA and DNAME stand alone, and of NSEC, NSEC3 and NSEC3PARAM BIND wants more than their form.
const LEFT_OUT: [u16; 18] = [
    3, 4, 5, 6, 27, 30, 39, 41, 43, 44, 45, 46, 47, 50, 51, 59, 60, 63,
];

/// Types that BIND 9.18 knows.
fn types() -> impl Iterator<Item = u16> {
    (1..=68)
        .chain([99, 104, 105, 106, 107, 108, 109])
        .chain(256..=260)
        .filter(|rtype| !LEFT_OUT.contains(rtype))
}

/// Octets of the kinds that RDATA is made of.
fn drawn(chance: &Chance) -> Vec<u8> {
    let mut out = Vec::new();
    for _ in 0..chance.below(9) {
        let len = chance.below(5);
        match chance.below(6) {
            0 => out.push(chance.below(4) as u8),
            1 => {
                out.push(len as u8);
                out.extend((0..len).map(|_| b"a1-. "[chance.below(5) as usize]));
            }
            2 => out.extend_from_slice(b"\x01a\0"),
            3 => out.extend((0..len).map(|_| chance.below(256) as u8)),
            4 => out.extend((0..len).map(|_| 0)),
            _ => out.extend_from_slice(&(chance.below(300) as u16).to_be_bytes()),
        }
    }
    out
}

#[test]
fn what_bind_refuses_is_refused_and_nothing_else() {
    let Some(checker) = tool("named-checkzone") else {
        return;
    };
    let dir = temporary_directory("rdata-compared");
    let chance = Chance(AtomicU32::new(1));
    let mut text = HEAD.to_owned();
    let mut rows = Vec::new();
    for rtype in types() {
        for _ in 0..40 {
            let rdata = drawn(&chance);
            let hex: String = rdata.iter().map(|octet| format!("{octet:02x}")).collect();
            let line = HEAD.lines().count() + rows.len() + 1;
            let _ = writeln!(text, "n{line} 300 IN TYPE{rtype} \\# {} {hex}", rdata.len());
            rows.push((line, rtype, rdata, hex));
        }
    }
    std::fs::write(dir.join("zone"), text).expect("written");
    let out = Command::new(checker)
        .current_dir(&dir)
        .args(["-i", "none", "-k", "ignore", "example.org", "zone"])
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&out.stdout) + String::from_utf8_lossy(&out.stderr);
    let refused: BTreeSet<usize> = said
        .lines()
        .filter(|line| line.contains("fromtext"))
        .filter_map(|line| line.split("zone:").nth(1)?.split(':').next()?.parse().ok())
        .collect();
    let mut different = Vec::new();
    for (line, rtype, rdata, hex) in &rows {
        let ours = zone::check_rdata(Type(*rtype), rdata);
        if ours.is_err() != refused.contains(line) {
            different.push(format!("TYPE{rtype} \\# {} {hex}: {ours:?}", rdata.len()));
        }
    }
    assert!(
        refused.len() > 500,
        "BIND refuses {}: {said}",
        refused.len()
    );
    assert!(refused.len() + 300 < rows.len(), "BIND refuses nearly all");
    let count = different.len();
    assert!(different.is_empty(), "{count}:\n{}", different.join("\n"));
}
