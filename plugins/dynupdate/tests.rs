use std::fs::{self, OpenOptions};
use std::path::Path;

use wire::{Name, NameBuf, Rcode, Type};
use zone::{DigestPolicy, Loader, Zone};

use super::database::{Database, built};
use super::policy::{self, Grant, Names};
use super::store::Store;
use super::update::{Bounds, work_out};
use crate::trial::{self, Folder};

mod gone;

const ZONE: &str = "\
example.org. 300 IN SOA ns hostmaster 10 7200 1800 1209600 300
example.org. 300 IN NS ns
ns 300 IN A 192.0.2.53
www 300 IN A 192.0.2.1
www 300 IN A 192.0.2.2
alias 300 IN CNAME www
";
const BOUNDS: Bounds = Bounds {
    records: 100,
    octets: 1 << 20,
    updates: 10,
};

fn zone() -> Zone {
    zone_with("")
}

/// The zone, with more records.
fn zone_with(more: &str) -> Zone {
    let apex: NameBuf = "example.org.".parse().expect("a name");
    let loader = Loader::new(apex.as_name()).digest(DigestPolicy::Off);
    let text = format!("{ZONE}{more}");
    loader.load_text(&text).expect("a zone").zone
}

/// A record of a message, in the words of nsupdate: `yxdomain NAME`, `nxrrset NAME TYPE`, `add NAME TTL TYPE RDATA`, `del NAME [TYPE [RDATA]]`;
/// `raw NAME TTL CLASS TYPE` has no data.
fn record(line: &str) -> Vec<u8> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let name = format!("{}.", words[1]);
    let name: NameBuf = name.parse().expect("a name");
    let rtype = |at: usize| {
        words
            .get(at)
            .map(|word| word.parse::<Type>().expect("a type"))
    };
    let rdata = |from: usize, rtype: Type| {
        let data = words[from..].join(" ");
        let text = format!("x. 0 IN {rtype} {data}");
        let read = zone::parse_record(text.as_bytes()).expect(line);
        read.expect("a record").rdata
    };
    let (any, none, class) = (255, 254, 1);
    let (class, ttl, rtype, rdata) = match (words[0], words.len()) {
        ("yxdomain", _) | ("del", 2) => (any, 0, Type::ANY, Vec::new()),
        ("nxdomain", _) => (none, 0, Type::ANY, Vec::new()),
        ("yxrrset" | "del", 3) => (any, 0, rtype(2).expect("a type"), Vec::new()),
        ("nxrrset", _) => (none, 0, rtype(2).expect("a type"), Vec::new()),
        ("yxrrset", _) => (
            class,
            0,
            rtype(2).expect("a type"),
            rdata(3, rtype(2).expect("a type")),
        ),
        ("del", _) => (
            none,
            0,
            rtype(2).expect("a type"),
            rdata(3, rtype(2).expect("a type")),
        ),
        ("add", _) => (
            class,
            words[2].parse().expect("a TTL"),
            rtype(3).expect("a type"),
            rdata(4, rtype(3).expect("a type")),
        ),
        ("raw", _) => (
            words[3].parse().expect("a class"),
            words[2].parse().expect("a TTL"),
            rtype(4).expect("a type"),
            Vec::new(),
        ),
        _ => panic!("{line}"),
    };
    let mut out = name.as_name().octets().to_vec();
    out.extend_from_slice(&rtype.0.to_be_bytes());
    out.extend_from_slice(&u16::to_be_bytes(class));
    out.extend_from_slice(&u32::to_be_bytes(ttl));
    out.extend_from_slice(&(rdata.len() as u16).to_be_bytes());
    out.extend_from_slice(&rdata);
    out
}

fn message(lines: &str) -> Vec<u8> {
    let lines: Vec<&str> = lines.split(" | ").filter(|line| !line.is_empty()).collect();
    let is_update = |line: &&&str| {
        line.starts_with("add") || line.starts_with("del") || line.starts_with("raw")
    };
    let updates = lines.iter().filter(is_update).count();
    let mut out = vec![
        0,
        1,
        0x28,
        0,
        0,
        1,
        0,
        (lines.len() - updates) as u8,
        0,
        updates as u8,
        0,
        0,
    ];
    out.extend_from_slice(b"\x07example\x03org\0\0\x06\0\x01");
    for line in lines.iter().filter(|line| !is_update(line)) {
        out.extend(record(line));
    }
    for line in lines.iter().filter(is_update) {
        out.extend(record(line));
    }
    out
}

/// What an update does: the RCODE where it is refused, else what goes and comes, the SOA record apart.
fn outcome(lines: &str, may: &dyn Fn(Name<'_>, Type) -> bool) -> String {
    outcome_in(&zone(), lines, may)
}

fn outcome_in(zone: &Zone, lines: &str, may: &dyn Fn(Name<'_>, Type) -> bool) -> String {
    match work_out(&message(lines), zone, BOUNDS, may) {
        Err(refusal) => refusal.rcode.to_string(),
        Ok(None) => "nothing".to_owned(),
        Ok(Some(difference)) => {
            let next = zone
                .patched(std::slice::from_ref(&difference))
                .and_then(built);
            let next = next.expect("a zone");
            let mut out = next.serial().to_string();
            for (sign, records) in [('-', &difference.removed), ('+', &difference.added)] {
                for record in records.iter().filter(|record| record.rtype != Type::SOA) {
                    let text = record
                        .to_string()
                        .replace(".example.org.", "")
                        .replace(" IN ", " ");
                    out.push_str(&format!(" {sign}{text}"));
                }
            }
            out
        }
    }
}

#[test]
fn prerequisites() {
    for (lines, expected) in [
        // RFC 2136, section 3.2.5.
        ("yxdomain www.example.org", "nothing"),
        ("yxdomain none.example.org", "NXDOMAIN"),
        ("nxdomain www.example.org", "YXDOMAIN"),
        ("nxdomain none.example.org", "nothing"),
        ("yxrrset www.example.org A", "nothing"),
        ("yxrrset WWW.example.org A", "nothing"),
        ("yxrrset www.example.org AAAA", "NXRRSET"),
        ("nxrrset www.example.org A", "YXRRSET"),
        ("nxrrset www.example.org AAAA", "nothing"),
        (
            "yxrrset www.example.org A 192.0.2.2 | yxrrset www.example.org A 192.0.2.1",
            "nothing",
        ),
        ("yxrrset www.example.org A 192.0.2.1", "NXRRSET"),
        (
            "yxrrset www.example.org A 192.0.2.1 | yxrrset www.example.org A 192.0.2.3",
            "NXRRSET",
        ),
        (
            "yxrrset alias.example.org CNAME WWW.Example.org.",
            "nothing",
        ),
        ("yxdomain www.example.net", "NOTZONE"),
        ("yxrrset www.example.org AXFR", "FORMERR"),
        // All hold, or nothing is done.
        (
            "yxdomain www.example.org | nxdomain ns.example.org | add new.example.org 60 A 192.0.2.9",
            "YXDOMAIN",
        ),
    ] {
        assert_eq!(outcome(lines, &|_, _| true), expected, "{lines}");
    }
}

#[test]
fn changes() {
    for (lines, expected) in [
        (
            "add new.example.org 60 A 192.0.2.9",
            "11 +new 60 A 192.0.2.9",
        ),
        // What is there already is no change; another TTL is, for the whole set.
        ("add www.example.org 300 A 192.0.2.1", "nothing"),
        (
            "add www.example.org 60 A 192.0.2.1",
            "11 -www 300 A 192.0.2.1 -www 300 A 192.0.2.2 +www 60 A 192.0.2.2 +www 60 A 192.0.2.1",
        ),
        ("del www.example.org A 192.0.2.1", "11 -www 300 A 192.0.2.1"),
        ("del www.example.org A 192.0.2.3", "nothing"),
        (
            "del www.example.org A",
            "11 -www 300 A 192.0.2.1 -www 300 A 192.0.2.2",
        ),
        (
            "del www.example.org",
            "11 -www 300 A 192.0.2.1 -www 300 A 192.0.2.2",
        ),
        ("del none.example.org", "nothing"),
        (
            "del alias.example.org CNAME www.EXAMPLE.org.",
            "11 -alias 300 CNAME www",
        ),
        // One after the other.
        (
            "del www.example.org | add www.example.org 60 TXT x",
            "11 -www 300 A 192.0.2.1 -www 300 A 192.0.2.2 +www 60 TXT \"x\"",
        ),
        (
            "add new.example.org 60 A 192.0.2.9 | del new.example.org A",
            "nothing",
        ),
        // Section 3.4.2.2: aliases stand alone, and of them the last counts.
        ("add www.example.org 60 CNAME ns.example.org.", "nothing"),
        ("add alias.example.org 60 A 192.0.2.9", "nothing"),
        (
            "add alias.example.org 60 CNAME ns.example.org.",
            "11 -alias 300 CNAME www +alias 60 CNAME ns",
        ),
        // The apex keeps its SOA record and its last NS record.
        ("del example.org", "nothing"),
        ("del example.org NS", "nothing"),
        ("del example.org NS ns.example.org.", "nothing"),
        ("del example.org SOA", "nothing"),
        (
            "add example.org 300 NS b.example.net. | del example.org NS ns.example.org.",
            "11 -example.org. 300 NS ns +example.org. 300 NS b.example.net.",
        ),
        // A SOA record counts where it is newer.
        (
            "add example.org 300 SOA ns.example.org. hostmaster.example.org. 9 1 1 1 1",
            "nothing",
        ),
        (
            "add example.org 300 SOA ns.example.org. hostmaster.example.org. 50 1 1 1 1",
            "50",
        ),
        (
            "add www.example.org 300 SOA ns.example.org. hostmaster.example.org. 50 1 1 1 1",
            "nothing",
        ),
        ("add *.example.org 60 A 192.0.2.9", "11 +* 60 A 192.0.2.9"),
    ] {
        assert_eq!(outcome(lines, &|_, _| true), expected, "{lines}");
    }
}

#[test]
fn what_is_refused() {
    for (lines, expected) in [
        ("add new.example.net 60 A 192.0.2.9", "NOTZONE"),
        // Section 3.4.1.3: form comes first, and nothing is done by halves.
        (
            "add new.example.org 60 A 192.0.2.9 | raw new.example.org 60 255 A",
            "FORMERR",
        ),
        ("raw new.example.org 0 1 A", "FORMERR"),
        ("raw new.example.org 0 254 ANY", "FORMERR"),
        ("raw new.example.org 0 3 A", "FORMERR"),
        ("raw new.example.org 0 255 AXFR", "FORMERR"),
        ("raw new.example.org 0 1 ANY", "FORMERR"),
        ("add new.example.org 60 NSEC3PARAM 1 0 0 -", "REFUSED"),
        ("del www.example.org RRSIG", "REFUSED"),
    ] {
        assert_eq!(outcome(lines, &|_, _| true), expected, "{lines}");
    }
    let many = ["del www.example.org"; 11].join(" | ");
    assert_eq!(outcome(&many, &|_, _| true), "REFUSED");
    let key: NameBuf = "k.".parse().expect("a name");
    let grant = |names: Names, types: Option<Vec<Type>>| Grant { key, names, types };
    let below = Names::Below("example.org.".parse().expect("a name"));
    let one = Names::One("www.example.org.".parse().expect("a name"));
    for (grant, lines, expected) in [
        (
            grant(one.clone(), Some(vec![Type::A])),
            "add WWW.example.org 300 A 192.0.2.1",
            "nothing",
        ),
        (
            grant(one.clone(), Some(vec![Type::A])),
            "add www.example.org 300 TXT x",
            "REFUSED",
        ),
        (
            grant(one.clone(), Some(vec![Type::A])),
            "add a.www.example.org 300 A 192.0.2.1",
            "REFUSED",
        ),
        (
            grant(one.clone(), Some(vec![Type::TXT])),
            "del www.example.org",
            "REFUSED",
        ),
        (
            grant(one, Some(vec![Type::A])),
            "del www.example.org | add www.example.org 300 A 192.0.2.1 | add www.example.org 300 A 192.0.2.2",
            "nothing",
        ),
        (
            grant(below.clone(), None),
            "add example.org 300 TXT x",
            "REFUSED",
        ),
        // Whether a prerequisite holds is told to those alone who may make the update, as BIND and Knot have it.
        (
            grant(below.clone(), None),
            "yxdomain none.example.org | add example.org 300 TXT x",
            "REFUSED",
        ),
        (
            grant(below.clone(), None),
            "yxdomain none.example.org | add a.example.org 300 TXT x",
            "NXDOMAIN",
        ),
        (grant(below, None), "del a.b.example.org", "nothing"),
        (grant(Names::All, None), "del example.org TXT", "nothing"),
    ] {
        let grants = [grant];
        let may = |name: Name<'_>, rtype| policy::allows(&grants, key.as_name(), name, rtype);
        assert_eq!(outcome(lines, &may), expected, "{lines}");
        let other = |name: Name<'_>, rtype| policy::allows(&grants, Name::ROOT, name, rtype);
        assert_eq!(
            outcome("add www.example.org 60 A 192.0.2.1", &other),
            "REFUSED"
        );
    }
}

/// RFC 6672, section 2.4, and RFC 4035, section 2.4: the zone after the update counts.
#[test]
fn names_below_a_dname_and_ds_records_off_a_delegation_are_refused() {
    let zone = zone_with(
        "old 300 IN DNAME example.net.\na.full 300 IN A 192.0.2.3\nsub 300 IN NS ns.example.net.\n\
         sub 300 IN DS 1 13 2 0101010101010101010101010101010101010101010101010101010101010101\n",
    );
    let ds = "DS 2 13 2 0202020202020202020202020202020202020202020202020202020202020202";
    for (lines, expected) in [
        ("add a.old.example.org 60 A 192.0.2.9", "REFUSED"),
        ("add a.b.OLD.example.org 60 A 192.0.2.9", "REFUSED"),
        (
            "add old.example.org 60 A 192.0.2.9",
            "11 +old 60 A 192.0.2.9",
        ),
        (
            "del old.example.org | add a.old.example.org 60 A 192.0.2.9",
            "11 -old 300 DNAME example.net. +a.old 60 A 192.0.2.9",
        ),
        ("add full.example.org 60 DNAME example.net.", "REFUSED"),
        ("add example.org 60 DNAME example.net.", "REFUSED"),
        (
            "add full.example.org 60 DNAME example.net. | del a.full.example.org",
            "11 -a.full 300 A 192.0.2.3 +full 60 DNAME example.net.",
        ),
        (
            "add new.example.org 60 DNAME example.net. | add a.new.example.org 60 TXT x",
            "REFUSED",
        ),
        (
            "add new.example.org 60 DNAME example.net.",
            "11 +new 60 DNAME example.net.",
        ),
        (
            "add old.example.org 60 DNAME example.com.",
            "11 -old 300 DNAME example.net. +old 60 DNAME example.com.",
        ),
        (&*format!("add example.org 60 {ds}"), "REFUSED"),
        (&*format!("add www.example.org 60 {ds}"), "REFUSED"),
        (&*format!("add none.example.org 60 {ds}"), "REFUSED"),
        ("del sub.example.org NS", "REFUSED"),
    ] {
        assert_eq!(outcome_in(&zone, lines, &|_, _| true), expected, "{lines}");
    }
    for lines in [
        &*format!("add sub.example.org 60 {ds}"),
        &*format!("add new.example.org 60 {ds} | add new.example.org 60 NS ns.example.net."),
        "del sub.example.org",
    ] {
        let made = outcome_in(&zone, lines, &|_, _| true);
        assert!(made.starts_with("11 "), "{lines}: {made}");
    }
    // What a zone file had of it may go, by parts too.
    let zone = zone_with("old 300 IN DNAME example.net.\na.old 300 IN A 192.0.2.3\n");
    let made = outcome_in(&zone, "del a.old.example.org", &|_, _| true);
    assert_eq!(made, "11 -a.old 300 A 192.0.2.3");
}

fn open(path: &Path) -> Result<(Database, Option<Zone>), String> {
    let apex: NameBuf = "example.org.".parse().expect("a name");
    Database::open(path, apex.as_name())
}

/// Appends an update to a database, and says what the zone is then.
fn append(database: &mut Database, zone: &Zone, lines: &str) -> Zone {
    let difference = work_out(&message(lines), zone, BOUNDS, &|_, _| true);
    let difference = difference.expect("made").expect("a change");
    let next = zone.patched(std::slice::from_ref(&difference));
    let next = next.and_then(built).expect("a zone");
    database.commit(&difference, &next).expect("written");
    next
}

#[test]
fn a_database_is_as_it_was_wherever_it_is_cut() {
    let folder = Folder::new("dynupdate-database");
    let path = folder.0.join("db");
    let (mut database, none) = open(&path).expect("open");
    assert!(none.is_none());
    assert!(open(&path).is_err_and(|why| why.contains("another process")));
    let mut zone = zone();
    database.write(&zone).expect("written");
    let mut lengths = vec![(fs::metadata(&path).expect("there").len(), zone.serial())];
    for number in 0..3 {
        let line = format!("add n{number}.example.org 60 A 192.0.2.{number}");
        zone = append(&mut database, &zone, &line);
        lengths.push((fs::metadata(&path).expect("there").len(), zone.serial()));
    }
    drop(database);
    let whole = fs::read(&path).expect("read");
    let ends = lengths.iter().flat_map(|(len, _)| [len - 1, *len, len + 1]);
    let within = lengths[0].0..=whole.len() as u64;
    let cuts = within.clone().step_by(13).chain(ends);
    for cut in cuts.filter(|cut| within.contains(cut)) {
        let (_, serial) = *lengths
            .iter()
            .rev()
            .find(|(len, _)| *len <= cut)
            .expect("one");
        fs::write(&path, &whole[..cut as usize]).expect("written");
        let (mut database, zone) = open(&path).expect("open");
        let zone = zone.expect("a zone");
        assert_eq!(zone.serial(), serial, "{cut}");
        // It goes on from there.
        append(&mut database, &zone, "add after.example.org 60 A 192.0.2.9");
        drop(database);
        let (_, zone) = open(&path).expect("open");
        assert_eq!(zone.expect("a zone").serial(), serial + 1, "{cut}");
    }
    // A hole where the last entry was to be, and damage that no crash makes.
    fs::write(&path, [&whole[..], &[0; 100]].concat()).expect("written");
    assert_eq!(open(&path).expect("open").1.expect("a zone").serial(), 13);
    let mut damaged = whole.clone();
    damaged[lengths[1].0 as usize - 1] ^= 1;
    fs::write(&path, damaged).expect("written");
    assert!(open(&path).is_err_and(|why| why.contains("an entry is damaged")));
    fs::write(&path, "something else").expect("written");
    assert!(open(&path).is_err_and(|why| why.contains("it is not a database")));
}

#[test]
fn a_start_tells_of_what_a_database_has_lost() {
    let folder = Folder::new("dynupdate-lost");
    let apex: NameBuf = "example.org.".parse().expect("a name");
    let (file, path) = (folder.write("zone", ZONE), folder.0.join("db"));
    let start = |file: Option<&Path>| {
        let mut failed = None;
        let log = trial::logged(|| {
            failed = Store::open(apex.as_name(), file, Some(&path)).err();
        });
        (log, failed)
    };
    // No zone, no database.
    let (_, failed) = start(None);
    assert!(failed.is_some_and(|why| why.contains("no `file` begins it")));
    assert!(!path.exists());
    let (_, failed) = start(Some(&folder.write("broken", "what\n")));
    assert!(failed.is_some());
    assert!(!path.exists());
    assert_eq!(start(Some(&file)), (String::new(), None));
    let (mut database, zone) = open(&path).expect("open");
    let zone = zone.expect("a zone");
    let zone = append(&mut database, &zone, "add a.example.org 60 A 192.0.2.1");
    let whole = fs::metadata(&path).expect("there").len();
    append(&mut database, &zone, "add b.example.org 60 A 192.0.2.1");
    drop(database);
    let torn = OpenOptions::new().write(true).open(&path).expect("open");
    torn.set_len(whole + 20).expect("cut");
    let (log, failed) = start(None);
    assert_eq!(failed, None);
    assert_eq!(log.lines().count(), 1, "{log}");
    assert!(
        log.starts_with("WARN plugin/dynupdate: ") && log.contains("dropped the last 20 octets"),
        "{log}"
    );
    assert!(log.contains("with 11 SOA serial"), "{log}");
    assert_eq!(start(None), (String::new(), None));
    torn.set_len(0).expect("cut");
    let (_, failed) = start(None);
    assert!(failed.is_some());
    assert!(path.exists(), "what an operator has made stays");
    let (log, failed) = start(Some(&file));
    assert_eq!(failed, None);
    assert_eq!(log.lines().count(), 1, "{log}");
    assert!(
        log.contains("the database is empty; zone example.org. begins with "),
        "{log}"
    );
    assert_eq!(start(Some(&file)), (String::new(), None));
}

#[test]
fn a_database_that_is_written_anew_has_the_same_zone() {
    let folder = Folder::new("dynupdate-anew");
    let path = folder.0.join("db");
    let (mut database, _) = open(&path).expect("open");
    let mut zone = zone();
    database.write(&zone).expect("written");
    zone = append(
        &mut database,
        &zone,
        "add Mixed.example.org 60 TXT \"a\" \"b\" | del www.example.org",
    );
    let text = |zone: &Zone| {
        let mut all: Vec<String> = zone
            .records()
            .map(|record| {
                format!(
                    "{} {} {} {:?}",
                    record.owner(),
                    record.ttl(),
                    record.rtype(),
                    record.rdata()
                )
            })
            .collect();
        all.sort();
        all
    };
    database.write(&zone).expect("written");
    let next = append(&mut database, &zone, "add more.example.org 60 A 192.0.2.1");
    drop(database);
    let (_, read) = open(&path).expect("open");
    assert_eq!(text(&read.expect("a zone")), text(&next));
    assert!(!folder.0.join("db.new").exists());
}

#[test]
fn lines() {
    let folder = Folder::new("dynupdate-lines");
    let file = folder.write("db", ZONE).display().to_string();
    let signed = format!("{ZONE}www 300 IN NSEC example.org. A\n");
    let signed = folder.write("signed", &signed).display().to_string();
    let database = folder.0.join("database").display().to_string();
    let tsig = "tsig {\n secret k.example. c2VjcmV0IG9mIHRoZSB0ZXN0IQ==\n}\n";
    let block = |zones: &str, argument: &str, lines: &str| {
        format!("{zones} {{\n{tsig}dynupdate {argument} {{\n{lines}\n}}\n}}\n")
    };
    let allow = "allow k.example. * *";
    for (text, refusal) in [
        (
            block("example.org", "", &format!("file {file}\n{allow}")),
            "",
        ),
        (
            block(
                "example.org example.org:1053",
                "",
                &format!("file {file}\n{allow}"),
            ),
            "",
        ),
        (
            block(
                "example.org",
                "",
                &format!(
                    "file {file}\ndatabase {database}\n{allow}\nmax_records 5\nmax_bytes 9\nmax_update_records 2\nfallthrough"
                ),
            ),
            "",
        ),
        (
            block(
                ".",
                "example.org",
                &format!(
                    "file {file}\nallow k.example. www.example.org. A txt\nallow k.example. *.example.org. ANY"
                ),
            ),
            "",
        ),
        (
            block(
                "example.org example.net",
                "",
                &format!("file {file}\n{allow}"),
            ),
            "`dynupdate` has one zone",
        ),
        (
            block("example.org", "", &format!("file {file}")),
            "no key may update the zone of `dynupdate`",
        ),
        (
            block("example.org", "", allow),
            "`dynupdate` has no initial zone",
        ),
        (
            block(
                "example.org",
                "",
                &format!("{allow}\ndatabase {database}-new"),
            ),
            "no `file` begins it",
        ),
        (
            block("example.org", "", &format!("file /nowhere/db\n{allow}")),
            "/nowhere/db",
        ),
        (
            block("example.org", "", &format!("file {signed}\n{allow}")),
            "signed zones",
        ),
        (
            block(
                "example.org",
                "",
                &format!("file {file}\nallow k.example. www.example.org."),
            ),
            "Wrong argument count",
        ),
        (
            block(
                "example.org",
                "",
                &format!("file {file}\nallow k.example. www A"),
            ),
            "`www` is not a name in the zone",
        ),
        (
            block(
                "example.org",
                "",
                &format!("file {file}\nallow k.example. * AXFR"),
            ),
            "unknown record type `AXFR`",
        ),
        (
            block(
                "example.org",
                "",
                &format!("file {file}\n{allow}\nmax_records 0"),
            ),
            "number out of range",
        ),
        (
            block(
                "example.org",
                "",
                &format!("file {file}\n{allow}\nmax_record 1"),
            ),
            "unknown property 'max_record'",
        ),
        (
            format!("example.org {{\ndynupdate {{\nfile {file}\n{allow}\n}}\n}}\n"),
            "there are no keys in this server block",
        ),
    ] {
        let trial = trial::build(&text);
        assert_eq!(
            trial.accepted,
            refusal.is_empty(),
            "{text}{}",
            trial.messages
        );
        assert!(trial.messages.contains(refusal), "{text}{}", trial.messages);
    }
    assert_eq!(Rcode::NXRRSET.to_string(), "NXRRSET");
}

#[test]
fn an_operator_sees_its_zones() {
    let folder = Folder::new("dynupdate-zones");
    let file = folder.write("zone", ZONE);
    let database = folder.0.join("database");
    for (more, expected) in [
        ("", &file),
        (&*format!("database {}", database.display()), &database),
    ] {
        let trial = trial::build(&format!(
            "example.org {{\ntsig {{\n secret k.example. c2VjcmV0IG9mIHRoZSB0ZXN0IQ==\n}}\n\
             dynupdate {{\nfile {}\n{more}\nallow k.example. * *\n}}\n}}\n",
            file.display()
        ));
        assert!(trial.accepted, "{}", trial.messages);
        let steps = trial.blocks[0].chain.steps().iter();
        let zones: Vec<_> = steps.flat_map(|step| step.plugin.zones()).collect();
        let [report] = &zones[..] else {
            panic!("one zone is kept");
        };
        assert_eq!(report.zone.apex().to_string(), "example.org.");
        assert_eq!(report.plugin, "dynupdate");
        assert_eq!(report.file.as_ref(), Some(expected));
    }
}

#[test]
fn examples_load() {
    trial::readme(include_str!("README.md"));
}
