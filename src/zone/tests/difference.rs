//! Differences between versions, applied and kept.

use std::fmt::Write as _;
use std::sync::Arc;

use super::zone;
use crate::{ChangedRecord, Difference, Journal, Records, Zone};

/// Version `serial` of a zone with these records.
fn version(serial: u32, records: &str) -> Zone {
    let text = format!(
        "$TTL 300\n@ SOA ns1 Host.Master {serial} 7200 1800 1209600 300\n@ NS ns1\nns1 A 192.0.2.53\n{records}"
    );
    zone("example.org.", &text)
}

fn between(before: &Zone, now: &Zone) -> Difference {
    Difference::between(before, now, usize::MAX).expect("a difference")
}

fn lines(records: &Records) -> Vec<String> {
    let mut lines: Vec<String> = records.iter().map(|record| record.to_string()).collect();
    lines.sort();
    lines
}

/// All records of a zone, sorted, as text.
fn all(zone: &Zone) -> Vec<String> {
    let mut records = Records::default();
    for record in zone.records() {
        records.push(&ChangedRecord {
            owner: record.owner(),
            rtype: record.rtype(),
            ttl: record.ttl(),
            rdata: &record.rdata(),
        });
    }
    lines(&records)
}

#[test]
fn a_difference_has_what_changed_and_nothing_else() {
    let before = version(
        7,
        "a A 192.0.2.1\na A 192.0.2.2\nb TXT x\nc MX 10 b\nd AAAA ::1\ne A 192.0.2.9\nf 60 A 192.0.2.7\n",
    );
    let now = version(
        8,
        "a A 192.0.2.2\na A 192.0.2.3\nb TXT x\nc MX 20 b\nC NS ns1\ng.h A 192.0.2.9\nf 90 A 192.0.2.7\n",
    );
    let difference = between(&before, &now);
    assert_eq!(difference.serials(), Some((7, 8)));
    assert_eq!(
        lines(&difference.removed),
        [
            "a.example.org. 300 IN A 192.0.2.1",
            "c.example.org. 300 IN MX 10 b.example.org.",
            "d.example.org. 300 IN AAAA ::1",
            "e.example.org. 300 IN A 192.0.2.9",
            "example.org. 300 IN SOA ns1.example.org. Host.Master.example.org. 7 7200 1800 1209600 300",
            "f.example.org. 60 IN A 192.0.2.7",
        ]
    );
    assert_eq!(
        lines(&difference.added),
        [
            "a.example.org. 300 IN A 192.0.2.3",
            "c.example.org. 300 IN MX 20 b.example.org.",
            "c.example.org. 300 IN NS ns1.example.org.",
            "example.org. 300 IN SOA ns1.example.org. Host.Master.example.org. 8 7200 1800 1209600 300",
            "f.example.org. 90 IN A 192.0.2.7",
            "g.h.example.org. 300 IN A 192.0.2.9",
        ]
    );
    // An order is no difference, and a bound is kept.
    let turned = version(
        7,
        "e A 192.0.2.9\nd AAAA ::1\nc MX 10 b\nb TXT x\na A 192.0.2.2\na A 192.0.2.1\nf 60 A 192.0.2.7\n",
    );
    assert_eq!(between(&before, &turned).removed.len(), 1);
    assert!(Difference::between(&before, &now, difference.octets() - 1).is_none());
    for records in [&difference.removed, &difference.added] {
        assert_eq!(Records::read(records.octets()).as_ref(), Some(records));
        assert_eq!(Records::read(&records.octets()[1..]), None);
    }
}

#[test]
fn differences_lead_from_one_version_to_another() {
    let versions = [
        version(0xFFFF_FFFF, "a A 192.0.2.1\nb A 192.0.2.2\nc CNAME a\n"),
        version(3, "a A 192.0.2.1\na A 192.0.2.7\nd TXT one two\n"),
        version(4, "a A 192.0.2.1\nb A 192.0.2.2\nc 60 CNAME a\n*.w TXT y\n"),
        version(
            9,
            "0p9mhaveqvm6t7vbl5lop2u3t2rp3tom NSEC3 1 0 0 - 2t7b4g4vsa5smi47k61mv5bv1a22bojr A\n\
             2t7b4g4vsa5smi47k61mv5bv1a22bojr NSEC3 1 0 0 - 0p9mhaveqvm6t7vbl5lop2u3t2rp3tom NS SOA\n",
        ),
        version(
            10,
            "0p9mhaveqvm6t7vbl5lop2u3t2rp3tom NSEC3 1 0 0 - 2t7b4g4vsa5smi47k61mv5bv1a22bojr TXT\n",
        ),
    ];
    let steps: Vec<Difference> = versions
        .windows(2)
        .map(|pair| between(&pair[0], &pair[1]))
        .collect();
    for from in 0..versions.len() {
        for to in from..versions.len() {
            let patched = versions[from].patched(&steps[from..to]).expect("a patch");
            let patched = patched.build().expect("a zone");
            assert_eq!(all(&patched), all(&versions[to]), "{from} to {to}");
        }
    }
    // Of another version, in another order, or with a record that is not there.
    for (at, wrong) in [(1, &steps[..1]), (0, &steps[1..2])] {
        assert!(versions[at].patched(wrong).is_err(), "{at}");
    }
    let other = version(0xFFFF_FFFF, "a A 192.0.2.1\nc CNAME a\n");
    let failed = other.patched(&steps[..1]).err().unwrap_or_default();
    assert_eq!(
        failed,
        "b.example.org. A: a difference removes a record that is not there"
    );
}

#[test]
fn names_in_other_case_are_the_same_records() {
    let before = version(7, "a MX 10 Mail.Example.Org.\n");
    let now = version(8, "a MX 10 other\n");
    let mut difference = between(&before, &now);
    let mut removed = Records::default();
    for record in difference.removed.iter() {
        let mut rdata = record.rdata.to_vec();
        if record.rtype == wire::Type::MX {
            rdata[2..].make_ascii_lowercase();
        }
        removed.push(&ChangedRecord {
            rdata: &rdata,
            ..record
        });
    }
    assert_ne!(removed, difference.removed);
    difference.removed = removed;
    let patched = before.patched(&[difference]).expect("a patch");
    assert_eq!(all(&patched.build().expect("a zone")), all(&now));
}

#[test]
fn a_journal_is_bounded_and_reaches_back_without_a_gap() {
    let versions: Vec<Zone> = (1..=120)
        .map(|serial| version(serial, &format!("a TXT {serial}\n")))
        .collect();
    let mut journal = Journal::default();
    for pair in versions.windows(2) {
        journal.push(Arc::new(between(&pair[0], &pair[1])), &pair[1]);
    }
    assert_eq!(journal.oldest(), Some(20));
    assert_eq!(journal.between(20, 120).map(|steps| steps.len()), Some(100));
    assert_eq!(journal.between(118, 120).map(|steps| steps.len()), Some(2));
    assert_eq!(journal.between(118, 119).map(|steps| steps.len()), Some(1));
    for (from, to) in [(19, 120), (120, 120), (121, 122), (119, 118)] {
        assert!(journal.between(from, to).is_none(), "{from} to {to}");
    }
    // Steps that each lead to a newer serial, and all together around: what is not older than the newest is gone.
    let mut around = Journal::default();
    let serials = [7, 0x7000_0000, 0xE000_0000, 5, 6, 7, 8];
    let versions: Vec<Zone> = serials.map(|serial| version(serial, "")).into();
    for pair in versions.windows(2) {
        around.push(Arc::new(between(&pair[0], &pair[1])), &pair[1]);
    }
    assert_eq!(around.oldest(), Some(0xE000_0000));
    assert_eq!(around.between(7, 8).map(|steps| steps.len()), Some(1));
    assert!(around.between(0x7000_0000, 8).is_none());
    assert_eq!(
        around.between(0xE000_0000, 8).map(|steps| steps.len()),
        Some(4)
    );
    // A gap begins it anew.
    let later = [version(200, ""), version(201, "")];
    journal.push(Arc::new(between(&later[0], &later[1])), &later[1]);
    assert_eq!(journal.oldest(), Some(200));
    // Many octets drop the oldest: 64 KiB for a small zone.
    let long = |serial: u32| {
        let mut text = String::new();
        for number in 0..20 {
            writeln!(text, "t{number} TXT {}{serial}", "x".repeat(200)).expect("written");
        }
        version(serial, &text)
    };
    let mut before = long(201);
    for serial in 202..260 {
        let now = long(serial);
        journal.push(Arc::new(between(&before, &now)), &now);
        assert!(journal.octets() <= Journal::bound(&now), "{serial}");
        before = now;
    }
    assert!(journal.oldest().is_some_and(|oldest| oldest > 240));
}
