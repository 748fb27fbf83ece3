use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use wire::{NameBuf, Type};
use zone::Zone;

use super::client::{Newer, Primary, refresh};
use super::kept::Copy;
use super::sources::{Contact, Keep};
use crate::trial;

/// A record as a primary sends it: owner, type, RDATA.
pub(super) type Sent = (&'static str, u16, &'static [u8]);

const SOA: &[u8] = b"\0\0\0\0\0\x08\0\0\0\x0A\0\0\0\x0A\0\0\0\x0A\0\0\0\x0A";
pub(super) const BEGIN: Sent = ("example.org.", 6, SOA);
pub(super) const NS: Sent = ("example.org.", 2, b"\x02ns\xC0\x0C");
const ADDRESS: Sent = ("ns.example.org.", 1, b"\xC0\0\x02\x01");

/// How many octets the question about example.org has.
const QUESTION: usize = 17;

/// A message of the response to `query`.
pub(super) fn message(query: &[u8], records: &[Sent]) -> Vec<u8> {
    let mut out = query[..2].to_vec();
    out.extend_from_slice(&[0x84, 0, 0, 1, 0, records.len() as u8, 0, 0, 0, 0]);
    out.extend_from_slice(&query[12..12 + QUESTION]);
    for (owner, rtype, rdata) in records {
        let owner: NameBuf = owner.parse().expect("a name");
        out.extend_from_slice(owner.as_name().octets());
        out.extend_from_slice(&rtype.to_be_bytes());
        out.extend_from_slice(&[0, 1, 0, 0, 0, 60]);
        out.extend_from_slice(&(rdata.len() as u16).to_be_bytes());
        out.extend_from_slice(rdata);
    }
    out
}

/// A primary: what it answers to IXFR (NOTIMP if that is nothing) and to AXFR, message by message, and what becomes of the latter.
pub(super) struct Script<'a> {
    pub(super) ixfr: &'a [&'a [Sent]],
    pub(super) axfr: &'a [&'a [Sent]],
    pub(super) change: &'a dyn Fn(usize, &mut Vec<u8>),
}

impl Script<'_> {
    fn answer(&self, query: &[u8]) -> Vec<Vec<u8>> {
        let all = |messages: &[&[Sent]]| -> Vec<Vec<u8>> {
            let each = messages.iter().map(|records| message(query, records));
            each.collect()
        };
        match Type(u16::from(query[12 + QUESTION - 3])) {
            Type::SOA => vec![message(query, &[BEGIN])],
            Type::IXFR if self.ixfr.is_empty() => {
                let mut reply = message(query, &[]);
                reply[3] |= 4;
                vec![reply]
            }
            Type::IXFR => all(self.ixfr),
            _ => {
                let mut replies = all(self.axfr);
                let each = replies.iter_mut().enumerate();
                each.for_each(|(number, reply)| (self.change)(number, reply));
                replies
            }
        }
    }

    /// Serves connections, each until a transfer is sent.
    pub(super) async fn serve(&self, listener: &TcpListener) {
        loop {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            while let Ok(len) = stream.read_u16().await {
                let mut query = vec![0; len.into()];
                stream.read_exact(&mut query).await.expect("a query");
                for reply in self.answer(&query) {
                    let _ = stream.write_u16(reply.len() as u16).await;
                    let _ = stream.write_all(&reply).await;
                }
                if query[12 + QUESTION - 3] != Type::SOA.0 as u8 {
                    break;
                }
            }
        }
    }
}

/// A zone of version `serial`, with a record of a name that the primary's does not have.
pub(super) fn version(serial: u32) -> Arc<Zone> {
    let text = format!(
        "@ 60 SOA . . {serial} 10 10 10 10\n@ 60 NS ns\nns 60 A 192.0.2.1\nold 60 A 192.0.2.9\n"
    );
    let apex: NameBuf = "example.org.".parse().expect("a name");
    let loaded = zone::Loader::new(apex.as_name()).load_text(&text);
    Arc::new(loaded.expect("a zone").zone)
}

/// What a primary has, where version `ours` is served.
async fn follow(script: &Script<'_>, ours: Option<u32>) -> Result<Option<Newer>, String> {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address: SocketAddr = listener.local_addr().expect("an address");
    let apex: NameBuf = "example.org.".parse().expect("a name");
    let contact = Contact { address, tls: None };
    let primary = Primary {
        contact: &contact,
        key: None,
        digest: zone::DigestPolicy::default(),
        max_records: 100,
        records: &AtomicUsize::new(0),
    };
    let ours = ours.map(version);
    let asked = refresh(&primary, apex.as_name(), ours.as_ref(), false);
    tokio::select! {
        answer = asked => answer.map(|answer| {
            assert_eq!(answer.serial, 8);
            answer.newer
        }),
        () = script.serve(&listener) => unreachable!("it serves on"),
    }
}

/// What becomes of a zone whose primary answers AXFR with these messages, changed by `change`, where version `ours` is served.
async fn transfer(
    messages: &[&[Sent]],
    change: impl Fn(usize, &mut Vec<u8>),
    ours: Option<u32>,
) -> Result<Option<Zone>, String> {
    let script = Script {
        ixfr: &[],
        axfr: messages,
        change: &change,
    };
    let newer = follow(&script, ours).await?;
    Ok(newer.map(|newer| newer.zone))
}

pub(super) fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(work)
}

#[test]
fn a_zone_comes_in_as_many_messages_as_its_primary_likes() {
    let whole: &[Sent] = &[BEGIN, NS, ADDRESS, BEGIN];
    for messages in [
        &[whole][..],
        &[&[BEGIN], &[NS], &[ADDRESS], &[BEGIN]],
        &[&[BEGIN, NS], &[], &[ADDRESS, BEGIN]],
    ] {
        for ours in [None, Some(7), Some(0x8000_0009)] {
            let zone = run(transfer(messages, |_, _| {}, ours));
            let zone = zone.expect("a transfer").expect("a newer zone");
            assert_eq!((zone.serial(), zone.statistics().records), (8, 3));
            let ns = zone.records().find(|record| record.rtype() == Type::NS);
            let target = ns.map(|ns| ns.rdata()).unwrap_or_default();
            assert_eq!(target, b"\x02ns\x07example\x03org\0", "decompressed");
        }
    }
    for ours in [8, 9] {
        let zone = run(transfer(&[whole], |_, _| {}, Some(ours)));
        assert!(zone.expect("an answer").is_none(), "{ours}");
    }
}

/// A4 of the attacks on transfers: whatever a primary sends, the zone that serves stays unless all of it is right.
#[test]
fn a_primary_that_lies_changes_nothing() {
    const OLDER: Sent = (
        "example.org.",
        6,
        b"\0\0\0\0\0\x07\0\0\0\x0A\0\0\0\x0A\0\0\0\x0A\0\0\0\x0A",
    );
    type Change = fn(usize, &mut Vec<u8>);
    let same: Change = |_, _| {};
    let whole: &[Sent] = &[BEGIN, NS, ADDRESS, BEGIN];
    let rows: [(&[&[Sent]], Change, &str); 24] = [
        (&[&[BEGIN, NS]], same, "receive"),
        (&[&[BEGIN, NS], &[]], same, "receive"),
        (&[&[NS, BEGIN]], same, "does not begin with its SOA record"),
        (
            &[&[BEGIN, NS, OLDER]],
            same,
            "differs from the one that began the zone",
        ),
        (
            &[&[BEGIN, ADDRESS, BEGIN]],
            same,
            "no NS record at its apex",
        ),
        (&[&[OLDER, NS, OLDER]], same, "older during the transfer"),
        (
            &[&[BEGIN, NS, BEGIN, NS]],
            same,
            "follows the end of the zone",
        ),
        (
            &[&[BEGIN, ("example.net.", 1, b"\x01\x02\x03\x04")]],
            same,
            "outside of the zone",
        ),
        (
            &[&[BEGIN, ("www.example.org.", 6, SOA)]],
            same,
            "SOA record of another zone",
        ),
        (
            &[&[("example.net.", 6, SOA)]],
            same,
            "SOA record of another zone",
        ),
        (
            &[&[BEGIN, ("www.example.org.", 1, b"\x01")]],
            same,
            "not RDATA of this type",
        ),
        (
            &[&[BEGIN, ("www.example.org.", 41, b"")]],
            same,
            "not a record that a zone can have",
        ),
        (
            &[&[
                BEGIN,
                ("www.example.org.", 5, b"\x01a\0"),
                ("www.example.org.", 5, b"\x01b\0"),
                NS,
                BEGIN,
            ]],
            same,
            "contradicts itself",
        ),
        (
            &[whole],
            |_, reply| reply[0] ^= 1,
            "not a response to the query",
        ),
        (
            &[whole],
            |_, reply| reply[2] &= 0x7F,
            "not a response to the query",
        ),
        (&[whole], |_, reply| reply[3] = 5, "AXFR with REFUSED"),
        // Another class, an owner that points at itself and one that points ahead, and RDATA longer than the message.
        (
            &[whole],
            |_, reply| reply[45] = 3,
            "not a record that a zone can have",
        ),
        (
            &[whole],
            |_, reply| reply[29..31].copy_from_slice(&[0xC0, 29]),
            "cannot be read",
        ),
        (
            &[whole],
            |_, reply| reply[29..31].copy_from_slice(&[0xC0, 60]),
            "cannot be read",
        ),
        (&[whole], |_, reply| reply[50] = 0xFF, "cannot be read"),
        (&[whole], |_, reply| reply[2] |= 2, "truncated"),
        (&[whole], |_, reply| reply[13] ^= 1, "another question"),
        (
            &[&[BEGIN], &[NS, BEGIN]],
            |number, reply| reply[3] = if number == 1 { 2 } else { 0 },
            "AXFR with SERVFAIL",
        ),
        (
            &[
                &[BEGIN],
                &[],
                &[],
                &[],
                &[],
                &[],
                &[],
                &[],
                &[],
                &[],
                &[],
                &[],
                &[],
                &[],
                &[],
                &[],
                &[],
                &[],
                &[NS, BEGIN],
            ],
            same,
            "bring no records",
        ),
    ];
    for (messages, change, why) in rows {
        let failed = run(transfer(messages, change, Some(7)));
        let told = failed.err().unwrap_or_default();
        assert!(told.contains(why), "{why}: {told}");
    }
}

const fn soa(serial: u8) -> [u8; 22] {
    let mut rdata = *b"\0\0\0\0\0\x08\0\0\0\x0A\0\0\0\x0A\0\0\0\x0A\0\0\0\x0A";
    rdata[5] = serial;
    rdata
}

const SIX: Sent = ("example.org.", 6, &soa(6));
const SEVEN: Sent = ("example.org.", 6, &soa(7));
const NINE: Sent = ("example.org.", 6, &soa(9));
const OLD: Sent = ("old.example.org.", 1, b"\xC0\0\x02\x09");
const ONE: Sent = ("one.example.org.", 1, b"\xC0\0\x02\x0A");
const TWO: Sent = ("two.example.org.", 1, b"\xC0\0\x02\x0B");
pub(super) const WHOLE: &[Sent] = &[BEGIN, NS, ADDRESS, BEGIN];

/// A primary that sends on and on (CVE-2016-6170), whole and as differences.
#[test]
fn a_zone_has_as_many_records_as_it_may_have() {
    let many: Vec<Sent> = vec![ADDRESS; 60];
    let whole: Vec<&[Sent]> = [&[BEGIN, NS][..], &many, &many, &[BEGIN]].into();
    let told = run(transfer(&whole, |_, _| {}, None)).err();
    let expected = "the zone has more than 100 records (`max_records`)";
    assert_eq!(told.as_deref(), Some(expected));
    let end: &[Sent] = &[BEGIN];
    let within: Vec<&[Sent]> = [&[BEGIN, NS][..], &many, end].into();
    assert!(run(transfer(&within, |_, _| {}, None)).is_ok());
    let mut ixfr: Vec<&[Sent]> = vec![&[BEGIN, SEVEN, OLD, BEGIN]];
    ixfr.extend([&many[..]; 4]);
    let script = Script {
        ixfr: &ixfr,
        axfr: &whole,
        change: &|_, _| {},
    };
    assert_eq!(
        run(follow(&script, Some(7))).err().as_deref(),
        Some(expected)
    );
}

/// Two octets on the wire may stand for a name of 200.
#[test]
fn a_zone_is_measured_with_its_names_in_full() {
    let label = "x".repeat(60);
    let long: &'static str = format!("{label}.{label}.{label}.example.org.").leak();
    // The owner of the message's first record.
    let at_first: Sent = ("example.org.", 2, b"\xC0\x1D");
    let first: Vec<Sent> = vec![BEGIN, NS];
    let mut second: Vec<Sent> = vec![(long, 1, b"\xC0\0\x02\x01")];
    second.extend([at_first; 80]);
    let told = run(transfer(&[&first, &second], |_, _| {}, None)).err();
    assert_eq!(told.as_deref(), Some("the zone has more than 16384 octets"));
}

/// RFC 1995, section 4: as one message or as many.
#[test]
fn differences_lead_to_the_version_of_the_primary() {
    let both: &[Sent] = &[
        BEGIN, SIX, OLD, SEVEN, ONE, SEVEN, ONE, BEGIN, TWO, NS, BEGIN,
    ];
    let single: Vec<&[Sent]> = both.chunks(1).collect();
    for (ixfr, ours, steps, records) in [
        (&[both][..], 6, 2, 4),
        (&single, 6, 2, 4),
        (&[&[BEGIN, SEVEN, OLD, BEGIN, ONE, TWO, BEGIN]], 7, 1, 5),
        (&[&[BEGIN, SEVEN, BEGIN, BEGIN]], 7, 1, 4),
        (&[&[BEGIN], &[], &[SEVEN, BEGIN, ONE], &[BEGIN]], 7, 1, 5),
    ] {
        let script = Script {
            ixfr,
            axfr: &[],
            change: &|_, _| {},
        };
        let newer = run(follow(&script, Some(ours)));
        let newer = newer.expect("a transfer").expect("a newer zone");
        assert_eq!(newer.differences.map(|all| all.len()), Some(steps));
        let found = (newer.zone.serial(), newer.zone.statistics().records);
        assert_eq!(found, (8, records), "{ixfr:?}");
    }
    // A whole zone is an answer, too, and so is that there is nothing newer after all.
    let script = |ixfr| Script {
        ixfr,
        axfr: &[],
        change: &|_, _| {},
    };
    let newer = run(follow(&script(&[WHOLE]), Some(7))).expect("a transfer");
    let newer = newer.expect("a newer zone");
    assert!(newer.differences.is_none() && newer.zone.statistics().records == 3);
    let same = run(follow(&script(&[&[SEVEN]]), Some(7)));
    assert!(same.expect("an answer").is_none());
}

/// What makes no sense as differences is no reason to be without the zone.
#[test]
fn differences_that_are_wrong_are_passed_over_for_the_whole_zone() {
    const OUTSIDE: Sent = ("example.net.", 1, b"\xC0\0\x02\x0A");
    let rows: [&[Sent]; 12] = [
        &[NS, BEGIN],
        // From another version, to no newer one, with a gap.
        &[BEGIN, SIX, OLD, BEGIN, ONE, BEGIN],
        &[BEGIN, SEVEN, OLD, SEVEN, ONE, BEGIN],
        &[BEGIN, SEVEN, OLD, SIX, ONE, BEGIN],
        &[BEGIN, SEVEN, OLD, NINE, ONE, BEGIN],
        // What is removed is not there, or is removed twice.
        &[BEGIN, SEVEN, ONE, BEGIN, TWO, BEGIN],
        &[BEGIN, SEVEN, OLD, OLD, BEGIN, TWO, BEGIN],
        &[BEGIN, SEVEN, OLD, BEGIN, OUTSIDE, BEGIN],
        &[BEGIN, SEVEN, OLD, BEGIN, ONE, BEGIN, TWO],
        // A zone without NS records at its apex, and one that contradicts itself.
        &[BEGIN, SEVEN, NS, BEGIN, ONE, BEGIN],
        &[
            BEGIN,
            SEVEN,
            BEGIN,
            ("ns.example.org.", 5, b"\x01a\0"),
            BEGIN,
        ],
        // It ends too early.
        &[BEGIN, SEVEN, OLD],
    ];
    for ixfr in rows {
        let script = Script {
            ixfr: &[ixfr],
            axfr: &[WHOLE],
            change: &|_, _| {},
        };
        let newer = run(follow(&script, Some(7)));
        let newer = newer.expect("a transfer").expect("a newer zone");
        assert!(newer.differences.is_none(), "{ixfr:?}");
        assert_eq!(newer.zone.statistics().records, 3, "{ixfr:?}");
    }
}

#[test]
fn lines() {
    const TSIG: &str = "tsig {\n secret a bmV2ZXI=\n}\n";
    trial::table(&[
        ("secondary {\n transfer from 127.0.0.1\n}", ""),
        (
            "secondary example.org {\n transfer from 127.0.0.1:1053 [::1]:53 2001:db8::1\n fallthrough\n}",
            "",
        ),
        (
            "secondary {\n transfer from 127.0.0.1\n transfer from 127.0.0.2\n fallthrough example.org\n}",
            "",
        ),
        (
            "secondary",
            "secondary zones require a transfer from property",
        ),
        (
            "secondary {\n fallthrough\n}",
            "secondary zones require a transfer from property",
        ),
        (
            "secondary {\n transfer\n}",
            "unexpected line ending after 'transfer'",
        ),
        (
            "secondary {\n transfer from\n}",
            "unexpected line ending after 'from'",
        ),
        (
            "secondary {\n transfer to 127.0.0.1\n}",
            "unknown property 'to'",
        ),
        (
            "secondary {\n transfer from *\n}",
            "can't use '*' in transfer from",
        ),
        (
            "secondary {\n transfer from primary.example.org\n}",
            "not an IP address",
        ),
        ("secondary {\n transfer from 127.0.0.1\n catalog\n}", ""),
        (
            "secondary {\n transfer from 127.0.0.1\n catalog\n group far {\n  transfer from 192.0.2.1 192.0.2.2\n  file far/\n  zonemd require\n }\n group none\n}",
            "",
        ),
        (
            "secondary {\n transfer from 127.0.0.1\n group far {\n  zonemd off\n }\n}",
            "there is no `catalog` here",
        ),
        (
            "secondary {\n transfer from 127.0.0.1\n catalog\n group far {\n  zonemd off\n }\n group near\n group far {\n  zonemd on\n }\n}",
            "the group `far` is here twice",
        ),
        (
            "secondary {\n transfer from 127.0.0.1\n catalog\n group {\n  zonemd off\n }\n}",
            "unexpected line ending after 'group'",
        ),
        (
            "secondary {\n transfer from 127.0.0.1\n catalog\n group far {\n  catalog\n }\n}",
            "unknown property 'catalog'",
        ),
        (
            "secondary {\n transfer from 127.0.0.1\n catalog\n group far {\n  tls_servername x.example\n }\n}",
            "TLS is configured, but no primary is asked over TLS",
        ),
        (
            "secondary {\n transfer from 127.0.0.1\n max_records 1000000\n}",
            "",
        ),
        (
            "secondary {\n transfer from 127.0.0.1\n max_records 0\n}",
            "0",
        ),
        ("secondary {\n transfer from 127.0.0.1\n file copy\n}", ""),
        (
            "secondary {\n transfer from 127.0.0.1\n file\n}",
            "unexpected line ending after 'file'",
        ),
        (
            "secondary {\n transfer from tls://127.0.0.1 tls://[::1%primary.example]:8853 tls://127.0.0.2:8853%primary.example\n}",
            "",
        ),
        (
            "secondary {\n transfer from tls://127.0.0.1\n tls\n tls_servername primary.example\n}",
            "",
        ),
        (
            "secondary {\n transfer from 127.0.0.1\n tls_servername primary.example\n}",
            "TLS is configured, but no primary is asked over TLS",
        ),
        (
            "secondary {\n transfer from tls://127.0.0.1\n tls_servername a..b\n}",
            "not a TLS server name: `a..b`",
        ),
        (
            "secondary {\n transfer from tls://primary.example\n}",
            "not an IP address or a socket address: `tls://primary.example`",
        ),
        (
            "secondary {\n transfer from fe80::1%eth0 [fe80::2%eth0]:5353\n}",
            "",
        ),
        (
            "secondary {\n transfer from 192.0.2.1%eth0\n}",
            "not an IP address or a socket address: `192.0.2.1%eth0`",
        ),
        (
            "secondary {\n transfer from 127.0.0.1\n catalog : \n}",
            "`:`",
        ),
        (
            "secondary {\n transfer from quic://127.0.0.1\n}",
            "'quic' is not supported as a destination protocol in secondary",
        ),
        (
            "secondary {\n tranfser from 127.0.0.1\n}",
            "unknown property 'tranfser'",
        ),
        (
            "secondary {\n transfer from 127.0.0.1 key a\n}",
            "there are no keys in this server block",
        ),
        (
            "secondary {\n transfer from key a\n}",
            "unexpected line ending after 'key'",
        ),
        (
            &format!("{TSIG}secondary {{\n transfer from 127.0.0.1 key a\n}}"),
            "",
        ),
    ]);
}

/// Lines that keep their zones in one file, in one server block and in two.
#[test]
fn two_zones_in_one_file_are_refused() {
    let line = |zone: &str, primary: u8, file: &str| {
        format!("secondary {zone} {{\n transfer from 192.0.2.{primary}\n file {file}\n}}\n")
    };
    let lines = |zones: [&str; 2], primaries: [u8; 2], files: [&str; 2]| {
        [0, 1].map(|at| line(zones[at], primaries[at], files[at]))
    };
    let (zones, same) = (["a.test", "b.test"], ["a.test", "a.test"]);
    for ([first, second], together, apart) in [
        (lines(zones, [1, 1], ["copy", "copy"]), false, false),
        (lines(zones, [1, 1], ["copy", "./copy"]), false, false),
        (lines(zones, [1, 1], ["x/db.b.test", "x/"]), false, false),
        (lines(zones, [1, 1], ["x/db.c.test", "x/"]), true, true),
        (lines(zones, [1, 1], ["x/", "x/db.a.test"]), false, false),
        (lines(zones, [1, 1], ["x/", "x/"]), true, true),
        (lines(zones, [1, 1], ["copy", "other"]), true, true),
        // The later line counts; in two server blocks, one zone from one place is one zone.
        (lines(same, [1, 2], ["copy", "copy"]), true, false),
        (lines(same, [1, 1], ["copy", "copy"]), true, true),
        (lines(same, [1, 2], ["x/", "x/"]), true, false),
    ] {
        for (text, good) in [
            (format!(".:1053 {{\n{first}{second}}}"), together),
            (
                format!(".:1053 {{\n{first}}}\n.:1054 {{\n{second}}}"),
                apart,
            ),
        ] {
            let (_, report) = trial::plan(&text);
            let found = report.iter().find(|found| found.code == "CF0341");
            assert_eq!(found.is_none(), good, "{text}");
        }
    }
}

#[test]
fn each_zone_has_a_file_of_its_own_in_a_directory() {
    let name = |text: &str| text.parse::<NameBuf>().expect("a name");
    let keep = Keep::Directory("zones".into());
    for (zone, file) in [
        ("Example.org.", "zones/db.example.org"),
        (".", "zones/db"),
        ("a\\/\\.b.\\032c_1-x.", "zones/db.a%2f%2eb.%20c_1-x"),
        ("\\.\\.\\/etc.", "zones/db.%2e%2e%2fetc"),
    ] {
        assert_eq!(keep.file(name(zone).as_name()).to_str(), Some(file));
    }
    let single = Keep::File("copy".into());
    assert_eq!(
        single.file(name("example.org").as_name()).to_str(),
        Some("copy")
    );
}

/// A file that is cut at the end of a name without a final newline reads as a master file, with fewer records and the same serial.
#[test]
fn a_kept_file_that_was_cut_or_edited_is_refused() {
    let path = std::env::temp_dir().join(format!("nameplate-cut-{}", std::process::id()));
    let apex: NameBuf = "example.org.".parse().expect("a name");
    let copy = Copy::new(path.clone());
    let read = || copy.read(apex.as_name());
    let zone = version(7);
    copy.write(&zone).expect("written");
    let (kept, _) = read().expect("a zone").expect("a file");
    assert_eq!(kept.statistics().records, zone.statistics().records);
    let whole = std::fs::read(&path).expect("a file");
    for len in 0..whole.len() {
        std::fs::write(&path, &whole[..len]).expect("written");
        let why = read().err().unwrap_or_default();
        assert!(
            why.contains("the mark at its end is missing"),
            "{len}: {why}"
        );
    }
    let text = String::from_utf8(whole).expect("text");
    for edited in [
        text.replace("192.0.2.9", "192.0.2.8"),
        format!("{text}{}", text.lines().last().expect("a mark")) + "\n",
    ] {
        std::fs::write(&path, edited).expect("written");
        let why = read().err().unwrap_or_default();
        assert!(why.contains("it was damaged or edited"), "{why}");
    }
    let _ = std::fs::remove_file(&path);
}

#[test]
fn examples_load() {
    trial::readme(include_str!("README.md"));
}
