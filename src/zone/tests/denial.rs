//! Denial of existence from zones signed elsewhere: which records prove what (RFC 4035, 3.1.3; RFC 5155, 7.2).

use std::collections::BTreeSet;

use wire::{Message, NameBuf, Section, Type};

use super::{ask, count, zone};
use crate::{Zone, sha1};

const SALT: [u8; 2] = [0xAA, 0xBB];
const ITERATIONS: u16 = 3;

/// The zone without its chain: owner, types, data.
const DATA: &str = "
$TTL 3600
@       SOA ns h 1 7200 3600 1209600 300
@       RRSIG SOA 13 2 3600 20300101000000 20200101000000 7 @ AQID
@       NS ns
@       RRSIG NS 13 2 3600 20300101000000 20200101000000 7 @ AQID
ns      A 192.0.2.1
ns      RRSIG A 13 3 3600 20300101000000 20200101000000 7 @ AQID
a.b     A 192.0.2.2
a.b     RRSIG A 13 4 3600 20300101000000 20200101000000 7 @ AQID
*.w     A 192.0.2.3
*.w     RRSIG A 13 3 3600 20300101000000 20200101000000 7 @ AQID
*.wc    CNAME ns
*.wc    RRSIG CNAME 13 3 3600 20300101000000 20200101000000 7 @ AQID
sec     NS ns.sec
sec     DS 1 13 1 0123456789012345678901234567890123456789
sec     RRSIG DS 13 3 3600 20300101000000 20200101000000 7 @ AQID
unsec   NS ns.unsec
";

fn nsec() -> Zone {
    let owners = ["@", "a.b", "ns", "sec", "unsec", "*.w", "*.wc"];
    let mut text = DATA.to_owned();
    for (at, owner) in owners.iter().enumerate() {
        let next = owners[(at + 1) % owners.len()];
        text += &format!(
            "{owner} 300 NSEC {next} A\n{owner} 300 RRSIG NSEC 13 2 300 20300101000000 20200101000000 7 @ AQID\n"
        );
    }
    zone("example.org.", &text)
}

/// The owner of a name's NSEC3 record, its first label.
fn hashed(name: &str) -> String {
    hashed_by(name, &SALT, ITERATIONS)
}

fn hashed_by(name: &str, salt: &[u8], iterations: u16) -> String {
    let name: NameBuf = name.parse().expect("a name");
    let hash = sha1::nsec3(name.to_lower().as_name().octets(), salt, iterations);
    let digits = b"0123456789abcdefghijklmnopqrstuv";
    let bits: Vec<u8> = hash
        .iter()
        .flat_map(|o| (0..8).rev().map(move |b| o >> b & 1))
        .collect();
    bits.chunks(5)
        .map(|five| digits[five.iter().fold(0, |n, &b| n << 1 | b as usize)] as char)
        .collect()
}

const HASHED: [&str; 9] = [
    "", "ns.", "b.", "a.b.", "w.", "*.w.", "wc.", "*.wc.", "sec.",
];

/// With opt-out: the unsigned delegation has no record of its own.
fn nsec3() -> Zone {
    let chain = nsec3_chain(&HASHED, (&SALT, "aabb"), ITERATIONS);
    let text = format!("{DATA}@ NSEC3PARAM 1 0 {ITERATIONS} aabb\n{chain}");
    zone("example.org.", &text)
}

/// The NSEC3 records of these names, with their signatures.
fn nsec3_chain(names: &[&str], (salt, shown): (&[u8], &str), iterations: u16) -> String {
    let hashed = |name: &&str| hashed_by(&format!("{name}example.org."), salt, iterations);
    let owners: BTreeSet<String> = names.iter().map(hashed).collect();
    let owners: Vec<String> = owners.into_iter().collect();
    let mut text = String::new();
    for (at, owner) in owners.iter().enumerate() {
        let next = &owners[(at + 1) % owners.len()];
        text += &format!(
            "{owner} 300 NSEC3 1 1 {iterations} {shown} {next} A\n{owner} 300 RRSIG NSEC3 13 3 300 20300101000000 20200101000000 7 @ AQID\n"
        );
    }
    text
}

/// The same zone while its salt is changed: records of the next chain are there, and in the second its NSEC3PARAM is too, before the
/// apex has its record.
fn between_chains() -> [Zone; 2] {
    let chain = nsec3_chain(&HASHED, (&SALT, "aabb"), ITERATIONS);
    let next = nsec3_chain(&HASHED[1..], (&[0xCC, 0xDD], "ccdd"), 2);
    let text = format!("{DATA}@ NSEC3PARAM 1 0 {ITERATIONS} aabb\n{chain}{next}");
    let both =
        format!("{DATA}@ NSEC3PARAM 1 0 2 ccdd\n@ NSEC3PARAM 1 0 {ITERATIONS} aabb\n{chain}{next}");
    [text, both].map(|text| zone("example.org.", &text))
}

/// The owners, without the zone's name, of the denial records of a response, each of which has its RRSIG beside it.
fn proof(octets: &[u8], rtype: Type) -> BTreeSet<String> {
    let message = Message::new(octets).expect("a header");
    let all: Vec<_> = message.records().map(|r| r.expect("a record")).collect();
    let owner = |r: &wire::Record<'_>| r.owner().expect("an owner").to_string();
    let of = |r: &wire::Record<'_>| r.section == Section::Authority && r.rtype == rtype;
    let signed: BTreeSet<String> = all
        .iter()
        .filter(|r| r.rtype == Type::RRSIG && r.rdata().starts_with(&rtype.0.to_be_bytes()))
        .map(owner)
        .collect();
    let found: Vec<String> = all.iter().filter(|r| of(r)).map(owner).collect();
    let unique: BTreeSet<String> = found.iter().cloned().collect();
    assert_eq!(found.len(), unique.len(), "a proof stands twice");
    assert_eq!(unique, signed);
    unique
        .iter()
        .map(|name| name.trim_end_matches("example.org.").to_owned())
        .collect()
}

#[test]
fn nsec_proofs() {
    let zone = nsec();
    let cases: [(&str, Type, &[&str]); 12] = [
        ("ns.example.org.", Type::MX, &["ns."]),
        ("b.example.org.", Type::A, &[""]),
        ("x.example.org.", Type::A, &["", "*.wc."]),
        ("x.b.example.org.", Type::A, &["", "a.b."]),
        ("x.w.example.org.", Type::A, &["*.w."]),
        ("x.w.example.org.", Type::MX, &["*.w."]),
        ("x.wc.example.org.", Type::A, &["*.wc."]),
        ("x.wc.example.org.", Type::MX, &["*.wc.", "ns."]),
        ("unsec.example.org.", Type::A, &["unsec."]),
        ("x.unsec.example.org.", Type::A, &["unsec."]),
        ("unsec.example.org.", Type::DS, &["unsec."]),
        ("sec.example.org.", Type::A, &[]),
    ];
    for (qname, qtype, expected) in cases {
        let (_, octets) = ask(&zone, qname, qtype, true);
        let expected: BTreeSet<String> = expected.iter().map(|n| (*n).to_owned()).collect();
        assert_eq!(proof(&octets, Type::NSEC), expected, "{qname} {qtype}");
        let (_, plain) = ask(&zone, qname, qtype, false);
        assert!(
            proof(&plain, Type::NSEC).is_empty(),
            "{qname} {qtype} without DO"
        );
    }
}

#[test]
fn an_nsec_record_below_a_zone_cut_proves_nothing() {
    let signature = "13 2 300 20300101000000 20200101000000 7 @ AQID";
    let mut text = DATA.to_owned();
    for (owner, next) in [("@", "unsec"), ("unsec", "@"), ("x.unsec", "@")] {
        text += &format!("{owner} 300 NSEC {next} A\n{owner} 300 RRSIG NSEC {signature}\n");
    }
    let zone = zone("example.org.", &text);
    for qname in ["v.example.org.", "y.unsec.example.org."] {
        let (_, octets) = ask(&zone, qname, Type::DS, true);
        assert!(!proof(&octets, Type::NSEC).contains("x.unsec."), "{qname}");
    }
    let (_, octets) = ask(&zone, "v.example.org.", Type::A, true);
    let expected = ["", "unsec."].map(str::to_owned);
    assert_eq!(proof(&octets, Type::NSEC), BTreeSet::from(expected));
}

/// As BIND, Knot, NSD and PowerDNS: a zone with NSEC or NSEC3 records that has lost its signatures, or never had any.
#[test]
fn records_without_signatures_prove_nothing() {
    let hashed = nsec3_chain(&HASHED, (&SALT, "aabb"), ITERATIONS);
    for (chain, rtype) in [
        (
            "@ 300 NSEC ns SOA NS NSEC\nns 300 NSEC @ A NSEC\n",
            Type::NSEC,
        ),
        (
            &format!("@ NSEC3PARAM 1 0 {ITERATIONS} aabb\n{hashed}"),
            Type::NSEC3,
        ),
    ] {
        let text = format!("{DATA}{chain}");
        let bare: Vec<&str> = text
            .lines()
            .filter(|line| !line.contains("RRSIG"))
            .collect();
        let zone = zone("example.org.", &bare.join("\n"));
        for qname in ["x.example.org.", "ns.example.org.", "unsec.example.org."] {
            let (_, octets) = ask(&zone, qname, Type::DS, true);
            assert_eq!(proof(&octets, rtype), BTreeSet::new(), "{qname} {rtype}");
        }
    }
    let (outcome, octets) = ask(
        &zone(
            "example.org.",
            "@ 60 SOA ns h 1 2 3 4 5\n@ 60 NS ns\nns 60 A 192.0.2.1\n@ 60 NSEC @ SOA NS NSEC\n",
        ),
        "example.org.",
        Type::NSEC,
        true,
    );
    assert_eq!(outcome, crate::Outcome::Answer);
    assert_eq!(count(&octets, Section::Answer), 1);
}

/// The owner whose span has the hash of `name` in it.
fn covering(name: &str) -> String {
    let owners: BTreeSet<String> = HASHED
        .iter()
        .map(|n| hashed(&format!("{n}example.org.")))
        .collect();
    let hash = hashed(&format!("{name}example.org."));
    let before = owners.range(..=hash).next_back().or(owners.last());
    before.map(|owner| format!("{owner}.")).expect("an owner")
}

fn matching(name: &str) -> String {
    hashed(&format!("{name}example.org.")) + "."
}

#[test]
fn nsec3_proofs() {
    nsec3_proofs_of(&nsec3());
}

#[test]
fn nsec3_proofs_are_made_of_one_chain() {
    for zone in between_chains() {
        nsec3_proofs_of(&zone);
    }
}

fn nsec3_proofs_of(zone: &Zone) {
    let cases = [
        ("ns.", Type::MX, vec![matching("ns.")]),
        ("b.", Type::A, vec![matching("b.")]),
        (
            "x.y.",
            Type::A,
            vec![matching(""), covering("y."), covering("*.")],
        ),
        (
            "x.b.",
            Type::A,
            vec![matching("b."), covering("x.b."), covering("*.b.")],
        ),
        ("x.w.", Type::A, vec![covering("x.w.")]),
        ("x.y.w.", Type::A, vec![covering("y.w.")]),
        (
            "x.w.",
            Type::MX,
            vec![matching("w."), covering("x.w."), matching("*.w.")],
        ),
        ("x.wc.", Type::A, vec![covering("x.wc.")]),
        ("unsec.", Type::DS, vec![matching(""), covering("unsec.")]),
        ("x.unsec.", Type::A, vec![matching(""), covering("unsec.")]),
        ("sec.", Type::A, vec![]),
    ];
    for (name, qtype, expected) in cases {
        let qname = format!("{name}example.org.");
        let (_, octets) = ask(zone, &qname, qtype, true);
        let expected: BTreeSet<String> = expected.into_iter().collect();
        assert_eq!(proof(&octets, Type::NSEC3), expected, "{qname} {qtype}");
        let (_, upper) = ask(zone, &qname.to_uppercase(), qtype, true);
        assert_eq!(
            proof(&upper, Type::NSEC3),
            expected,
            "{qname} {qtype} in capitals"
        );
    }
    // The owner of an NSEC3 record is no name of the zone (RFC 5155, 7.2.8).
    let (outcome, _) = ask(
        zone,
        &(hashed("ns.example.org.") + ".example.org."),
        Type::NSEC3,
        false,
    );
    assert_eq!(outcome, crate::Outcome::NxDomain);
}

/// RRSIGs stand beside what they cover, with its TTL; those of negative answers have the capped one.
#[test]
fn signatures_go_with_their_sets() {
    let zone = nsec();
    let (_, octets) = ask(&zone, "x.w.example.org.", Type::A, true);
    let shown: Vec<(Section, Type, u32, String)> = Message::new(&octets)
        .expect("a header")
        .records()
        .map(|r| r.expect("a record"))
        .map(|r| {
            (
                r.section,
                r.rtype,
                r.ttl,
                r.owner().expect("an owner").to_string(),
            )
        })
        .collect();
    let name = "x.w.example.org.".to_owned();
    assert_eq!(shown[0], (Section::Answer, Type::A, 3_600, name.clone()));
    assert_eq!(shown[1], (Section::Answer, Type::RRSIG, 3_600, name));
    let (_, octets) = ask(&zone, "x.example.org.", Type::A, true);
    for record in Message::new(&octets).expect("a header").records() {
        assert_eq!(record.expect("a record").ttl, 300);
    }
    let (_, octets) = ask(&zone, "sec.example.org.", Type::A, true);
    let types: Vec<Type> = Message::new(&octets)
        .expect("a header")
        .records()
        .map(|r| r.expect("a record").rtype)
        .collect();
    assert_eq!(
        types,
        [Type::NS, Type::DS, Type::RRSIG],
        "no RRSIG of NS at a cut"
    );
}
