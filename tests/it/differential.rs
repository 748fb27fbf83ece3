//! The same zone files served by Knot DNS, NSD, BIND, hickory-server and by us; thousands of generated queries; same RCODE, flags and sections.
//!
//! Names in, near and below each zone × all types × DO on and off, on a plain zone and on the same zone signed elsewhere with NSEC and
//! with NSEC3 (opt-out). What differs on purpose is normalised in [`Answer::normalise`], each with its reason.

mod hickory;
mod peers;

use std::collections::BTreeSet;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use hickory_proto::op::Message;
use hickory_proto::rr::Record;

use crate::server::{Server, tool};

use self::peers::{Kind, Peer};

/// The types that are asked of every name.
const TYPES: [u16; 31] = [
    1, 2, 5, 6, 12, 13, 15, 16, 17, 28, 29, 33, 35, 36, 39, 43, 44, 46, 47, 48, 50, 51, 52, 64, 65,
    99, 108, 256, 257, 65_280, 12_345,
];

/// How `dnssec-signzone` signs the zone; nothing leaves it plain.
const NSEC: &[&str] = &["-P"];
const NSEC3: &[&str] = &["-P", "-3", "-", "-H", "0"];
const OPT_OUT: &[&str] = &["-P", "-3", "-", "-H", "0", "-A"];

#[test]
fn plain_zone_answers_as_knot_does() {
    compare(Kind::Knot, "plain", &[]);
}

#[test]
fn plain_zone_answers_as_nsd_does() {
    compare(Kind::Nsd, "plain", &[]);
}

#[test]
fn plain_zone_answers_as_named_does() {
    compare(Kind::Named, "plain", &[]);
}

#[test]
fn plain_zone_answers_as_hickory_does() {
    compare(Kind::Hickory, "plain", &[]);
}

#[test]
fn zone_signed_with_nsec_answers_as_knot_does() {
    compare(Kind::Knot, "nsec", NSEC);
}

#[test]
fn zone_signed_with_nsec_answers_as_nsd_does() {
    compare(Kind::Nsd, "nsec", NSEC);
}

#[test]
fn zone_signed_with_nsec_answers_as_named_does() {
    compare(Kind::Named, "nsec", NSEC);
}

#[test]
fn zone_signed_with_nsec3_answers_as_knot_does() {
    compare(Kind::Knot, "nsec3", NSEC3);
}

#[test]
fn zone_signed_with_nsec3_answers_as_nsd_does() {
    compare(Kind::Nsd, "nsec3", NSEC3);
}

#[test]
fn zone_signed_with_nsec3_answers_as_named_does() {
    compare(Kind::Named, "nsec3", NSEC3);
}

#[test]
fn zone_signed_with_nsec3_opt_out_answers_as_knot_does() {
    compare(Kind::Knot, "nsec3-opt-out", OPT_OUT);
}

/// Answers that differ for a known fault of a peer: why, whose, and which, of a name, our answer and the peer's.
type Excuse = (&'static str, Kind, fn(&[u8], &Answer, &Answer) -> bool);

/// What hickory-server 0.26 does otherwise, where the others do as we do.
const EXCUSES: &[Excuse] = &[
    (
        "it sets AA in referrals, and answers NS and glue below a cut (RFC 1034, 4.3.2, 3b)",
        Kind::Hickory,
        |_, our, their| {
            let referral = !our.aa && our.sections[0].is_empty() && our.has(1, "ns");
            let theirs = &their.sections[0] | &their.sections[1];
            referral && our.sections[1].is_subset(&theirs)
        },
    ),
    (
        "it does not know DNAME (RFC 6672)",
        Kind::Hickory,
        |_, our, _| our.has(0, "dname"),
    ),
    (
        "behind aliases that end in a negative answer or a referral it has no authority section, and NOERROR (RFC 2308, 2; RFC 6604, 3)",
        Kind::Hickory,
        |_, our, their| {
            our.has(0, "cname")
                && (our.has(1, "soa") || our.has(1, "ns"))
                && our.sections[0].is_subset(&their.sections[0])
        },
    ),
    (
        "its wildcards stand in for names that exist and for names below them, and NODATA at one is NXDOMAIN (RFC 4592, 2.2 and 4.3)",
        Kind::Hickory,
        |name, our, _| {
            let name = show(name).to_lowercase();
            (name.contains("wild") || name.contains("odd"))
                && our.sections[0].is_empty()
                && our.has(1, "soa")
        },
    ),
];

/// What is asked of a peer: of Knot everything; of NSD and BIND what they do not answer by a policy of their own. RRSIG asked for by
/// type is like ANY (RFC 8482, 7): they give all signatures, we give one set's. NSEC and NSEC3 asked for at an alias: NSD gives the
/// CNAME for NSEC and not for NSEC3; we do as BIND and Knot do. They get a part of the types, so that CI stays short.
fn asked_of(peer: Kind) -> &'static [u16] {
    match peer {
        Kind::Knot => &TYPES,
        Kind::Nsd | Kind::Named | Kind::Hickory => &[
            1, 2, 5, 6, 12, 15, 16, 28, 33, 39, 43, 48, 51, 64, 65, 65_280,
        ],
    }
}

/// Serves the zone by both and compares every answer.
fn compare(peer: Kind, kind: &str, sign: &[&str]) {
    if !peer.is_there() || !sign.is_empty() && tool("dnssec-signzone").is_none() {
        return;
    }
    let dir =
        crate::server::temporary_directory(&format!("differential-{kind}-{}", peer.program()));
    let zone = dir.join("plain.zone");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/zones/plain.zone");
    std::fs::copy(source, &zone).expect("the zone is copied");
    if !sign.is_empty() {
        sign_zone(&dir, sign);
    }
    let Some(mut other) = Peer::start(peer, &dir, &zone) else {
        return;
    };
    let ours = Server::start_in(
        &dir,
        "plain.example:{PORT} {\n  bind 127.0.0.1\n  file plain.zone\n}\n",
    );
    other.wait();

    let mut names = names_around(
        &std::fs::read_to_string(
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/zones/plain.zone"),
        )
        .expect("read"),
    );
    names.sort();
    names.dedup();
    let mut asked = 0;
    let mut excused = [0; EXCUSES.len()];
    let mut different = Vec::new();
    let (to_us, to_peer) = (Client::new(ours.address()), Client::new(other.address));
    for name in &names {
        for &qtype in asked_of(peer) {
            for dnssec_ok in [false, true] {
                let query = query(asked as u16, name, qtype, dnssec_ok);
                let (mut our, mut their) = (to_us.ask(&query), to_peer.ask(&query));
                if our.tc || their.tc {
                    // What is left out where there is no room is each server's own choice.
                    (our, their) = (to_us.ask_tcp(&query), to_peer.ask_tcp(&query));
                }
                let our = our.normalise(qtype, peer);
                let their = their.normalise(qtype, peer);
                asked += 1;
                let Some(what) = our.differs(&their) else {
                    continue;
                };
                let mut excuses = EXCUSES.iter();
                let excuse = excuses.position(|excuse| {
                    let (_, of, holds) = excuse;
                    *of == peer && holds(name, &our, &their)
                });
                if let Some(excuse) = excuse {
                    excused[excuse] += 1;
                } else {
                    different.push(format!(
                        "{} TYPE{qtype} do={dnssec_ok}: {what}\n  ours  {our:?}\n  {peer:?}  {their:?}",
                        show(name)
                    ));
                }
            }
        }
    }
    for ((why, of, _), count) in EXCUSES.iter().zip(excused) {
        if *of == peer {
            println!("{kind}: {count} answers differ, since {why}");
            assert!(count > 0, "an excuse that nobody needs: {why}");
        }
    }
    println!(
        "{kind}: {asked} queries for {} names, {} different",
        names.len(),
        different.len()
    );
    assert!(asked > 5_000, "only {asked} queries were generated");
    if !different.is_empty() {
        let shown = different
            .iter()
            .take(25)
            .cloned()
            .collect::<Vec<_>>()
            .join("\n");
        panic!(
            "{} of {asked} answers differ from {peer:?}'s:\n{shown}",
            different.len()
        );
    }
}

/// Signs `plain.zone` in `dir` in place with a fresh key.
fn sign_zone(dir: &Path, flags: &[&str]) {
    let keygen = |extra: &[&str]| {
        let out = Command::new("dnssec-keygen")
            .current_dir(dir)
            .args(["-q", "-a", "ECDSAP256SHA256"])
            .args(extra)
            .arg("plain.example")
            .output()
            .expect("dnssec-keygen runs");
        assert!(
            out.status.success(),
            "{}",
            String::from_utf8_lossy(&out.stderr)
        );
    };
    keygen(&[]);
    keygen(&["-f", "KSK"]);
    let out = Command::new("dnssec-signzone")
        .current_dir(dir)
        .args([
            "-q",
            "-S",
            "-o",
            "plain.example",
            "-f",
            "signed.zone",
            "-O",
            "full",
        ])
        .args(flags)
        .arg("plain.zone")
        .output()
        .expect("dnssec-signzone runs");
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    std::fs::rename(dir.join("signed.zone"), dir.join("plain.zone"))
        .expect("the signed zone takes the name");
}

/// Every owner of the zone text, names beside, below and above it, all in wire form.
fn names_around(zone: &str) -> Vec<Vec<u8>> {
    let apex = b"\x05plain\x07example\x00".to_vec();
    let mut owners = vec![apex.clone()];
    for line in zone
        .lines()
        .filter(|line| !line.starts_with([' ', '\t', ';', '$', '@']))
    {
        let Some(owner) = line.split_whitespace().next() else {
            continue;
        };
        if let Ok(name) = wire::NameBuf::parse(owner, wire::Name::new(&apex).expect("a name")) {
            owners.push(name.as_name().octets().to_vec());
        }
    }
    let below = |label: &[u8], name: &[u8]| [&[label.len() as u8], label, name].concat();
    let mut out = Vec::new();
    for owner in owners {
        let mut here = owner.clone();
        while here.len() > apex.len() {
            out.push(here.clone());
            here = here[1 + here[0] as usize..].to_vec();
        }
        out.push(below(b"x", &owner));
        out.push(below(b"*", &owner));
        out.push(below(b"b", &below(b"a", &owner)));
        out.push(owner.to_ascii_uppercase());
        if owner.len() > apex.len() {
            let parent = owner[1 + owner[0] as usize..].to_vec();
            out.push(below(b"zzz", &parent));
            out.push(below(b"0", &parent));
        }
        out.push(owner);
    }
    // A name as long as names get, below the apex: what DNAME and wildcards must survive.
    let mut long = apex.clone();
    while long.len() + 50 < 250 {
        long = below(&[b'l'; 49], &long);
    }
    out.push(long);
    for label in [&b"dname"[..], b"inner", b"wild"] {
        let mut long = below(label, &apex);
        while long.len() + 50 < 255 {
            long = below(&[b'd'; 49], &long);
        }
        out.push(long);
    }
    out
}

fn show(name: &[u8]) -> String {
    wire::Name::new(name).map_or_else(|error| format!("{name:?} {error}"), |name| name.to_string())
}

/// A query with EDNS, so that answers are whole.
fn query(id: u16, name: &[u8], qtype: u16, dnssec_ok: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(300);
    out.extend_from_slice(&id.to_be_bytes());
    out.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 0, 0, 1]);
    out.extend_from_slice(name);
    out.extend_from_slice(&qtype.to_be_bytes());
    out.extend_from_slice(&[0, 1]);
    out.extend_from_slice(&[
        0,
        0,
        41,
        0x10,
        0,
        0,
        0,
        if dnssec_ok { 0x80 } else { 0 },
        0,
        0,
        0,
    ]);
    out
}

/// One peer to ask over UDP.
struct Client(UdpSocket);

impl Client {
    fn new(server: SocketAddr) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("bind");
        socket.connect(server).expect("connect");
        socket
            .set_read_timeout(Some(Duration::from_secs(2)))
            .expect("timeout");
        Self(socket)
    }

    fn ask(&self, query: &[u8]) -> Answer {
        let mut reply = [0; 65_535];
        for _ in 0..3 {
            self.0.send(query).expect("send");
            while let Ok(len) = self.0.recv(&mut reply) {
                if reply[..2] == query[..2] {
                    return Answer::read(&reply[..len]);
                }
            }
        }
        panic!("no answer to {}", show(&query[12..query.len() - 15]));
    }

    fn ask_tcp(&self, query: &[u8]) -> Answer {
        let address = self.0.peer_addr().expect("a peer");
        let reply = crate::server::ask_tcp(address, query, Duration::from_secs(2));
        Answer::read(&reply.expect("an answer over TCP"))
    }
}

/// What is compared.
#[derive(PartialEq, Eq)]
struct Answer {
    rcode: u16,
    aa: bool,
    tc: bool,
    rd: bool,
    ra: bool,
    sections: [BTreeSet<String>; 3],
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "rcode={} aa={} tc={}", self.rcode, self.aa, self.tc)?;
        for (name, section) in ["an", "ns", "ar"].iter().zip(&self.sections) {
            write!(f, "\n    {name} {section:?}")?;
        }
        Ok(())
    }
}

impl Answer {
    fn read(octets: &[u8]) -> Self {
        let message = Message::from_vec(octets)
            .unwrap_or_else(|error| panic!("unreadable response {octets:02x?}: {error}"));
        let flags = u16::from_be_bytes([octets[2], octets[3]]);
        let section = |records: &[Record]| {
            records
                .iter()
                .map(|record| record.to_string().to_lowercase())
                .collect::<BTreeSet<_>>()
        };
        Self {
            rcode: u16::from(message.response_code),
            aa: flags & 0x0400 != 0,
            tc: flags & 0x0200 != 0,
            rd: flags & 0x0100 != 0,
            ra: flags & 0x0080 != 0,
            sections: [
                section(&message.answers),
                section(&message.authorities),
                section(&message.additionals),
            ],
        }
    }

    /// Takes out what differs on purpose.
    fn normalise(mut self, qtype: u16, peer: Kind) -> Self {
        // A referral of a zone that nobody signed: we have the DS records, as CoreDNS does, so that `dnssec` can sign them.
        if !self.has(1, "rrsig") {
            self.sections[1].retain(|record| !record.contains(" in ds "));
        }
        let word = |record: &str, index: usize| {
            record
                .split_whitespace()
                .nth(index)
                .unwrap_or_default()
                .to_owned()
        };
        // As CoreDNS, we put the apex NS RRset into the authority section of positive answers; Knot leaves it out (RFC 1034 allows both).
        let positive = self.rcode == 0 && !self.sections[0].is_empty();
        if positive && self.aa {
            self.sections[1].retain(|record| {
                let covered = word(record, 3) == "rrsig" && word(record, 4) == "ns";
                !(word(record, 0) == "plain.example." && (word(record, 3) == "ns" || covered))
            });
        }
        // The NSEC of a wildcard, asked for by type: Knot leaves out the proof that no closer name exists, as that NSEC says it too. Ours
        // has it under its own owner (RFC 4035, 3.1.3.3), since what stands in the answer is expanded and proves nothing.
        if positive && qtype == 47 {
            self.sections[1].clear();
        }
        // NSD proves more than is needed at names that wildcards without data give, and less at others. Which proofs there are is compared
        // with Knot and BIND, which agree.
        if peer == Kind::Nsd {
            self.sections[1].retain(|record| {
                let about = [word(record, 3), word(record, 4)];
                !about.iter().any(|word| word == "nsec" || word == "nsec3")
            });
        }
        // hickory-server gives negative answers the SOA record's own TTL, and not the lesser of that and MINIMUM (RFC 2308, 3).
        if peer == Kind::Hickory && !positive {
            let authority = std::mem::take(&mut self.sections[1]).into_iter();
            let capped = authority.map(|record| record.replace(" 3600 in soa ", " 300 in soa "));
            self.sections[1] = capped.collect();
        }
        // Additional data is optional, glue apart (RFC 2181, 9; RFC 9471): compared for referrals only.
        if self.aa || positive {
            self.sections[2].clear();
        }
        self
    }

    /// Whether a section has a record of this type.
    fn has(&self, section: usize, rtype: &str) -> bool {
        let mut records = self.sections[section].iter();
        records.any(|record| record.split_whitespace().nth(3) == Some(rtype))
    }

    fn differs(&self, other: &Self) -> Option<&'static str> {
        if self.rcode != other.rcode {
            return Some("RCODE");
        }
        if (self.aa, self.tc, self.rd, self.ra) != (other.aa, other.tc, other.rd, other.ra) {
            return Some("flags");
        }
        ["answer", "authority", "additional"]
            .into_iter()
            .zip(0..3)
            .find(|&(_, i)| self.sections[i] != other.sections[i])
            .map(|(name, _)| name)
    }
}
