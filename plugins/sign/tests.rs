use std::time::{Duration, Instant};

use chain::Outcome;
use chain::keeper::ZoneOrder;
use wire::{NameBuf, Rcode, Section, Type};

use crate::trial::{self, Folder, Trial};

const KSK: [&str; 2] = [
    "miek.nl. IN DNSKEY 257 3 13 0J8u0XJ9GNGFEBXuAmLu04taHG4BXPP3gwhetiOUMnGA+x09nqzgF5IY OyjWB7N3rXqQbnOSILhH1hnuyh7mmA==\n",
    "Private-key-format: v1.3\nAlgorithm: 13 (ECDSAP256SHA256)\nPrivateKey: /4BZk8AFvyW5hL3cOLSVxIp1RTqHSAEloWUxj86p3gs=\n",
];
const ZSK: [&str; 2] = [
    "miek.nl. IN DNSKEY 256 3 15 l02Woi0iS8Aa25FQkUd9RMzZHJpBoRQwAQEX1SxZJA4=\n",
    "Private-key-format: v1.2\nAlgorithm: 15 (ED25519)\nPrivateKey: ODIyNjAzODQ2MjgwODAxMjI2NDUxOTAyMDQxNDIyNjI=\n",
];
const ZONE: &str =
    "$TTL 300\n@ SOA ns h 1 7200 3600 1209600 60\n@ NS ns\nns A 127.0.0.1\nwww A 192.0.2.1\n";

/// A directory with a zone and keys.
fn folder(test: &str) -> Folder {
    let folder = Folder::new(&format!("sign-{test}"));
    folder.write("db", ZONE);
    folder.write("broken", "what\n");
    for (name, [public, private]) in [("Kmiek.nl.+013+18512", KSK), ("zsk", ZSK)] {
        folder.write(&format!("{name}.key"), public);
        folder.write(&format!("{name}.private"), private);
    }
    folder
}

fn block(folder: &Folder, lines: &str) -> Trial {
    let lines = lines.replace("{}", &folder.0.display().to_string());
    let trial = trial::build(&format!(
        "miek.nl:53 {{\nroot {}\n{lines}\n}}\n",
        folder.0.display()
    ));
    // On a busy machine a start does not wait for the first signatures.
    let steps = trial.blocks.iter().flat_map(|block| block.chain.steps());
    let zones = steps.flat_map(|step| step.plugin.zones());
    let began = Instant::now();
    for report in zones {
        while report.zone.load().is_none() && began.elapsed() < Duration::from_secs(30) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    trial
}

/// The types of a signed answer.
fn ask(trial: &Trial, name: &str, qtype: Type) -> (Rcode, Vec<(Section, Type)>) {
    let block = trial::chain(
        trial.blocks[0]
            .chain
            .steps()
            .iter()
            .map(|step| step.plugin.clone()),
    );
    let mut exchange = trial::exchange(name, qtype, Some(1_233));
    assert_eq!(exchange.walk(&block), Outcome::Respond);
    let response = exchange.response();
    let records = response.records().map(|record| record.expect("a record"));
    let records = records
        .map(|record| (record.section, record.rtype))
        .collect();
    (response.rcode(), records)
}

#[test]
fn in_memory_a_zone_is_served_as_a_signed_one() {
    let folder = folder("memory");
    let (an, ns) = (Section::Answer, Section::Authority);
    for (option, proof) in [("", Type::NSEC), ("nsec3", Type::NSEC3)] {
        let lines = format!("sign db {{\nkey file Kmiek.nl.+013+18512.key\nmemory\n{option}\n}}");
        let trial = block(&folder, &lines);
        assert!(trial.accepted, "{}", trial.messages);
        let zones = trial.blocks[0].chain.steps()[0].plugin.zones();
        let [report] = &zones[..] else {
            panic!("one zone is kept");
        };
        assert_eq!(report.zone.apex().to_string(), "miek.nl.");
        assert_eq!((report.plugin, &report.failure), ("sign", &None));
        assert_eq!(report.file, Some(folder.0.join("db")));
        let (rcode, records) = ask(&trial, "www.miek.nl.", Type::A);
        let expected = [
            (an, Type::A),
            (an, Type::RRSIG),
            (ns, Type::NS),
            (ns, Type::RRSIG),
        ];
        assert_eq!((rcode, records.as_slice()), (Rcode::NOERROR, &expected[..]));
        let (rcode, records) = ask(&trial, "gone.miek.nl.", Type::A);
        assert_eq!(rcode, Rcode::NXDOMAIN);
        assert!(records.contains(&(ns, proof)), "{records:?}");
        let (_, records) = ask(&trial, "miek.nl.", Type::CDS);
        assert_eq!(records[..2], [(an, Type::CDS), (an, Type::RRSIG)]);
        // The configuration that comes next goes on with the same zone.
        let next = block(&folder, &lines);
        assert_eq!(serial(&trial), serial(&next));
    }
}

/// The serial of the zone in memory.
fn serial(trial: &Trial) -> u32 {
    let zones = trial.blocks[0].chain.steps()[0].plugin.zones();
    zones[0].zone.snapshot().expect("it is signed").serial()
}

/// A restart goes on behind the last serial that was served, whatever the clock says.
#[test]
fn the_serial_never_goes_back() {
    let folder = folder("serial");
    let lines = "sign db {\nkey file Kmiek.nl.+013+18512\nmemory\ndirectory .\n}";
    let kept = folder.0.join("db.miek.nl.serial");
    let read = || std::fs::read_to_string(&kept).expect("a file");
    let first = serial(&block(&folder, lines));
    assert_eq!(read(), format!("{first}\n"));
    // The next process: nothing else is left of the one before.
    let ahead = first + 1_000_000;
    folder.write("db.miek.nl.serial", &format!("{ahead}\n"));
    assert_eq!(serial(&block(&folder, lines)), ahead + 1);
    assert_eq!(read(), format!("{}\n", ahead + 1));
    for (text, told) in [
        ("what\n", "it is no serial"),
        ("4294967296", "it is no serial"),
    ] {
        folder.write("db.miek.nl.serial", text);
        let trial = block(&folder, lines);
        assert!(serial(&trial) >= first && serial(&trial) < ahead, "{told}");
        assert_eq!(read(), format!("{}\n", serial(&trial)));
    }
}

/// A file that has a mistake now: what was signed is served on, and the status says why the file is not.
#[test]
fn a_broken_file_is_told_in_the_status() {
    let folder = folder("told");
    let trial = block(
        &folder,
        "sign db {\nkey file Kmiek.nl.+013+18512\nmemory\n}",
    );
    let plugin = trial.blocks[0].chain.steps()[0].plugin.clone();
    let apex: NameBuf = "miek.nl.".parse().expect("a name");
    let read = |text: &str| {
        folder.write("db", text);
        let reload = plugin.order(apex.as_name(), ZoneOrder::Reload);
        (
            reload.expect("its zone").is_ok(),
            plugin.zones()[0].failure.clone(),
        )
    };
    let (read_well, told) = read("@ A what\n");
    assert!(!read_well);
    let told = told.expect("a failure");
    assert!(told.contains("db:1:"), "{told}");
    assert_eq!(read(ZONE), (true, None));
}

/// `zone reload` takes keys that have come into the directory, and drops those that are gone from it.
#[test]
fn a_reload_reads_the_keys_anew() {
    let folder = folder("keys");
    let trial = block(&folder, "sign db {\nkey directory .\nmemory\n}");
    let plugin = trial.blocks[0].chain.steps()[0].plugin.clone();
    let apex: NameBuf = "miek.nl.".parse().expect("a name");
    let reload = || {
        plugin
            .order(apex.as_name(), ZoneOrder::Reload)
            .expect("its zone")
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        for task in trial.process.tasks {
            tokio::spawn(task.work);
        }
        let until = async |expected: &[&str]| {
            let began = Instant::now();
            loop {
                let zone = plugin.zones()[0].zone.snapshot().expect("it is signed");
                let keys = zone.keys().into_iter();
                let mut roles: Vec<_> = keys.map(|key| key.role.to_string()).collect();
                roles.sort();
                if roles == expected {
                    return;
                }
                assert!(
                    began.elapsed() < Duration::from_secs(10),
                    "{roles:?} {:?}",
                    plugin.zones()[0].failure
                );
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        until(&["CSK"]).await;
        for half in ["key", "private"] {
            let name = |base: &str| folder.0.join(format!("{base}.{half}"));
            std::fs::copy(name("zsk"), name("Kmiek.nl.+015+00001")).expect("copy");
        }
        let said = reload().expect("read");
        assert!(said.contains("and its keys"), "{said}");
        until(&["KSK", "ZSK"]).await;
        std::fs::remove_file(folder.0.join("Kmiek.nl.+015+00001.key")).expect("remove");
        reload().expect("read");
        until(&["CSK"]).await;
        // Without the only key nothing changes.
        std::fs::remove_file(folder.0.join("Kmiek.nl.+013+18512.key")).expect("remove");
        assert!(reload().is_err_and(|why| why.contains("has no key Kmiek.nl.+*.key")));
        until(&["CSK"]).await;
    });
}

#[test]
fn a_key_that_is_named_twice_signs_once() {
    let folder = folder("twice");
    let key = "Kmiek.nl.+013+18512";
    let lines = format!("sign db {{\nkey file {key} {key}.key\nkey directory .\nmemory\n}}");
    let trial = block(&folder, &lines);
    assert!(trial.accepted, "{}", trial.messages);
    let (an, ns) = (Section::Answer, Section::Authority);
    let (_, records) = ask(&trial, "www.miek.nl.", Type::A);
    let expected = [
        (an, Type::A),
        (an, Type::RRSIG),
        (ns, Type::NS),
        (ns, Type::RRSIG),
    ];
    assert_eq!(records, expected);
    let (_, records) = ask(&trial, "miek.nl.", Type::DNSKEY);
    assert_eq!(records[..2], [(an, Type::DNSKEY), (an, Type::RRSIG)]);
    assert!(!records[2..].contains(&(an, Type::RRSIG)), "{records:?}");
}

/// Each zone of a line is signed by its own key; one that is below another zone, by its own, too.
#[test]
fn zones_have_their_own_keys() {
    let folder = folder("own");
    let child = KSK[0].replace("miek.nl.", "sub.miek.nl.");
    let keys = [("other", child.as_str(), KSK[1]), ("zsk", ZSK[0], ZSK[1])];
    for (name, public, private) in keys {
        folder.write(&format!("{name}.key"), public);
        folder.write(&format!("{name}.private"), private);
    }
    let lines = "sign db miek.nl sub.miek.nl deep.sub.miek.nl {\nkey file Kmiek.nl.+013+18512 zsk other\nmemory\n}";
    let trial = block(&folder, lines);
    assert!(trial.accepted, "{}", trial.messages);
    let zones = trial.blocks[0].chain.steps()[0].plugin.zones();
    let keys = |apex: &str| -> Vec<String> {
        let report = zones
            .iter()
            .find(|report| report.zone.apex().to_string() == apex);
        let zone = report.and_then(|report| report.zone.snapshot());
        let keys = zone.expect("it is signed").keys().into_iter();
        keys.map(|key| format!("{} {} {}", key.tag, key.algorithm_name(), key.role))
            .collect()
    };
    let ksk = "18512 ECDSAP256SHA256 KSK";
    let mut split = keys("miek.nl.");
    split.sort();
    assert_eq!(split.len(), 2, "{split:?}");
    assert!(split.iter().any(|key| key == ksk), "{split:?}");
    assert!(
        split.iter().any(|key| key.ends_with(" ED25519 ZSK")),
        "{split:?}"
    );
    for zone in ["sub.miek.nl.", "deep.sub.miek.nl."] {
        assert_eq!(keys(zone), ["18512 ECDSAP256SHA256 CSK"], "{zone}");
    }
}

/// The task of a block signs into a file that `file` reads; while its signatures last it is left alone.
#[test]
fn into_a_file() {
    let folder = folder("file");
    let lines = "sign db {\nkey file Kmiek.nl.+013+18512 zsk\ndirectory .\n}";
    let trial = block(&folder, lines);
    assert!(trial.accepted, "{}", trial.messages);
    assert_eq!(trial.blocks[0].chain.steps().len(), 0, "no handler");
    let path = folder.0.join("db.miek.nl.signed");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let run = |trial: Trial, until: &dyn Fn() -> bool| {
        runtime.block_on(async {
            let working: Vec<_> = trial
                .process
                .tasks
                .into_iter()
                .map(|task| tokio::spawn(task.work))
                .collect();
            let began = Instant::now();
            while !until() {
                assert!(
                    began.elapsed() < Duration::from_secs(60),
                    "nothing was signed"
                );
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            working.iter().for_each(tokio::task::JoinHandle::abort);
        });
    };
    run(trial, &|| path.exists());
    let text = std::fs::read_to_string(&path).expect("a file");
    assert!(text.starts_with("miek.nl.\t300\tIN\tSOA\t"), "{text}");
    assert!(
        text.lines()
            .nth(1)
            .is_some_and(|line| line.contains("RRSIG\tSOA 15 2 300 ")),
        "{text}"
    );
    assert!(text.contains("IN\tRRSIG\tDNSKEY 13 2 300 "), "{text}");
    let served = block(&folder, "file db.miek.nl.signed");
    assert!(served.accepted, "{}", served.messages);
    assert_eq!(ask(&served, "www.miek.nl.", Type::A).1.len(), 4);
    // An edit that came while nobody looked.
    let edited = std::time::SystemTime::now() + Duration::from_secs(60);
    let zone = folder.write("db", &format!("{ZONE}new A 192.0.2.2\n"));
    let file = std::fs::File::options()
        .write(true)
        .open(zone)
        .expect("a file");
    file.set_modified(edited).expect("a time");
    run(block(&folder, lines), &|| {
        std::fs::read_to_string(&path).is_ok_and(|text| text.contains("new.miek.nl."))
    });
}

#[test]
fn lines() {
    let folder = folder("lines");
    for (lines, refusal) in [
        ("sign", "Wrong argument count"),
        ("sign db", ""),
        ("sign gone {\nkey file zsk Kmiek.nl.+013+18512\n}", ""),
        ("sign broken {\nkey file Kmiek.nl.+013+18512\n}", ""),
        (
            "sign broken {\nkey file Kmiek.nl.+013+18512\nmemory\n}",
            "broken:1:1: ",
        ),
        ("sign db {\nkey directory .\nmemory\n}", ""),
        (
            "sign db example.org {\nkey directory .\n}",
            "has no key Kexample.org.+*.key",
        ),
        (
            "sign db example.org {\nkey file Kmiek.nl.+013+18512\n}",
            "key miek.nl. (keyid: 18512) can not sign any of the zones",
        ),
        (
            "sign db example.org miek.nl {\nkey file Kmiek.nl.+013+18512\n}",
            "zone example.org. has no key: key miek.nl. (keyid: 18512) is of another zone; `dnssec-keygen -a ECDSAP256SHA256 -f KSK example.org.` makes one",
        ),
        (
            "sign db sub.miek.nl miek.nl {\nkey file Kmiek.nl.+013+18512\n}",
            "",
        ),
        (
            "sign db {\nkey directory nowhere\n}",
            "nowhere: No such file",
        ),
        (
            "sign db {\nkey file zsk\n}",
            "DNSKEY in \"zsk.key\" is not a CSK/KSK",
        ),
        (
            "sign db {\nkey file /nowhere/Kx\n}",
            "open /nowhere/Kx.key: ",
        ),
        ("sign db {\nkey\n}", "Wrong argument count"),
        ("sign db {\nkey files x\n}", "unknown place of keys `files`"),
        ("sign db {\ndirectory\n}", "Wrong argument count"),
        ("sign db {\ndirectory a b\n}", "Wrong argument count"),
        ("sign db {\nmemory please\n}", "Wrong argument count"),
        ("sign db {\nnsec4\n}", "unknown property 'nsec4'"),
    ] {
        let trial = block(&folder, lines);
        assert_eq!(
            trial.accepted,
            refusal.is_empty(),
            "{lines}: {}",
            trial.messages
        );
        assert!(
            trial.messages.contains(refusal),
            "{lines}: {}",
            trial.messages
        );
    }
}

#[test]
fn examples_load() {
    trial::readme(include_str!("README.md"));
}
