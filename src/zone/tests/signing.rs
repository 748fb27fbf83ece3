//! Keys and signatures: vectors of RFCs, and hickory-proto as the oracle for whole signed zones.

use std::collections::BTreeMap;
use std::sync::Arc;

use hickory_proto::dnssec::Verifier;
use hickory_proto::dnssec::rdata::{DNSKEY, DNSSECRData, RRSIG};
use hickory_proto::rr::{DNSClass, RData, Record};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};
use wire::{Class, NameBuf, Type};

use super::{ask, show, zone};
use crate::signing::{CanonicalSet, Denials, Half, Key, KeyFault, KeySet, Plan, Validity};
use crate::{Role, Zone};

/// RFC 8080, section 6.1.
const ED25519: [&str; 2] = [
    "example.com. 3600 IN DNSKEY 257 3 15 ( l02Woi0iS8Aa25FQkUd9RMzZHJpBoRQwAQEX1SxZJA4= )\n",
    "Private-key-format: v1.2\nAlgorithm: 15 (ED25519)\nPrivateKey: ODIyNjAzODQ2MjgwODAxMjI2NDUxOTAyMDQxNDIyNjI=\n",
];
/// RFC 6605, section 6.1.
const P256: [&str; 2] = [
    "; a comment\nexample.com. 3600 IN DNSKEY 257 3 13 (\n GojIhhXUN/u4v54ZQqGSnyhWJwaubCvTmeexv7bR6edb\n \
     krSqQpF64cYbcB7wNcP+e+MAnLr+Wi9xMWyQLc8NAA== )\n",
    "Private-key-format: v1.2\nAlgorithm: 13 (ECDSAP256SHA256)\nPrivateKey: GU6SnQ/Ou+xC5RumuIUIuJZteXT2z0O/ok1s38Et6mQ=\n",
];
const P384: [&str; 2] = [
    include_str!("keys/014.key"),
    include_str!("keys/014.private"),
];
const RSA: [&str; 2] = [
    include_str!("keys/008.key"),
    include_str!("keys/008.private"),
];

fn key([public, private]: [&str; 2]) -> Result<Key, KeyFault> {
    Key::read(public.as_bytes(), private.as_bytes())
}

fn octets(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut digits = crate::encoding::Digits::default();
    digits.base64(text.as_bytes(), &mut out).expect("base64");
    out
}

/// The MX RRset of RFC 8080 in canonical form.
fn mail(owner: &str) -> CanonicalSet {
    let owner: NameBuf = owner.parse().expect("a name");
    let mut set = CanonicalSet::default();
    set.begin(owner.as_name(), (Type::MX, Class::IN, 3_600));
    for host in ["Mail.Example.com.", "mail.example.com."] {
        let host: NameBuf = host.parse().expect("a name");
        set.add(|out| {
            out.extend_from_slice(&[0, 10]);
            out.extend_from_slice(host.as_name().octets());
            Ok::<_, ()>(())
        })
        .expect("RDATA");
    }
    set.finish();
    set
}

/// Ed25519 signatures have no chance in them, so the whole record has to be the RFC's; case and a record that stands twice make no
/// difference (RFC 4034, sections 6.2 and 6.3).
#[test]
fn the_signature_of_rfc_8080() {
    let key = key(ED25519).expect("a key");
    assert_eq!(key.tag(), 3_613);
    let zone: NameBuf = "Example.COM.".parse().expect("a name");
    let validity = Validity {
        inception: 1_438_207_200,
        expiration: 1_440_021_600,
    };
    let rrsig = key
        .rrsig(
            &mail("EXAMPLE.com."),
            zone.as_name(),
            validity,
            &mut Vec::new(),
        )
        .expect("a signature");
    let mut expected = vec![0, 15, 15, 2, 0, 0, 0x0E, 0x10];
    expected.extend_from_slice(&1_440_021_600u32.to_be_bytes());
    expected.extend_from_slice(&1_438_207_200u32.to_be_bytes());
    expected.extend_from_slice(&3_613u16.to_be_bytes());
    expected.extend_from_slice(b"\x07example\x03com\0");
    expected.extend(octets(
        "oL9krJun7xfBOIWcGHi7mag5/hdZrKWw15jPGrHpjQeRAvTdszaPD+QLs3fx8A4M3e23mRZ9VrbpMngwcrqNAg==",
    ));
    assert_eq!(rrsig, expected);
}

#[test]
fn keys_have_the_tags_and_digests_of_rfc_6605() {
    let key = key(P256).expect("a key");
    assert_eq!((key.tag(), key.algorithm()), (55_648, 13));
    assert!(key.is_entry_point());
    let zone: NameBuf = "Example.net.".parse().expect("a name");
    let digest: String = key.ds(zone.as_name(), 2)[4..]
        .iter()
        .map(|octet| format!("{octet:02x}"))
        .collect();
    assert_eq!(
        digest,
        "b4c8c1fe2e7477127b27115656ad6256f424625bf5c1e2770ce6d6e37df61d17"
    );
}

#[test]
fn halves_that_do_not_belong_together_are_refused() {
    let other = P256[1].replace("GU6S", "GU6T");
    let rsa = RSA[1].lines().map(|line| match line.split_once(": ") {
        Some(("Prime1", value)) => format!("Prime1: {}A{}\n", &value[..9], &value[10..]),
        _ => format!("{line}\n"),
    });
    let rsa: String = rsa.collect();
    let short = P256[1].replace("GU6S", "");
    for (public, private, half, why) in [
        (
            P256[0],
            other.as_str(),
            Half::Private,
            "does not belong to the public key",
        ),
        (RSA[0], &rsa, Half::Private, ""),
        (
            P256[0],
            P384[1],
            Half::Private,
            "of algorithm 14, the public key of algorithm 13",
        ),
        (
            P256[0],
            "",
            Half::Private,
            "there is no line `Private-key-format:`",
        ),
        (P256[0], "Private-key-format: v2.0\n", Half::Private, "v2.0"),
        (P256[0], "what\n", Half::Private, "expected a line"),
        (
            P256[0],
            "Private-key-format: v1.2\n",
            Half::Private,
            "`Algorithm:`",
        ),
        (P256[0], &short, Half::Private, "cannot be used"),
        ("", P256[1], Half::Public, "no DNSKEY record"),
        (
            "example.com. A 192.0.2.1\n",
            P256[1],
            Half::Public,
            "expected a DNSKEY record, not A",
        ),
        (
            "example.com. DNSKEY 1 3 13 AAAA\n",
            P256[1],
            Half::Public,
            "not a key of a zone",
        ),
        (
            "example.com. DNSKEY 256 3 5 AAAA\n",
            "Private-key-format: v1.2\nAlgorithm: 5\n",
            Half::Public,
            "algorithm 5 is not supported",
        ),
    ] {
        let fault = key([public, private]).expect_err(why);
        assert_eq!(fault.half, half, "{fault}");
        assert!(fault.why.contains(why), "{fault}");
    }
    // A public key of the same algorithm and size that is another's.
    let mixed = RSA[0].replace("AwEAA", "AwEAB");
    assert!(key([&mixed, RSA[1]]).is_err());
}

/// What a resolver would read of each RRset of a signed zone: its records, the RRSIGs, the keys.
struct Read {
    sets: BTreeMap<(String, u16), Vec<Record>>,
    signatures: Vec<(Record, RRSIG)>,
    keys: Vec<DNSKEY>,
}

fn read(zone: &Zone) -> Read {
    let mut out = Read {
        sets: BTreeMap::new(),
        signatures: Vec::new(),
        keys: Vec::new(),
    };
    for record in zone.records() {
        let rdata = record.rdata();
        let mut octets = record.owner().octets().to_vec();
        octets.extend_from_slice(&record.rtype().0.to_be_bytes());
        octets.extend_from_slice(&[0, 1]);
        octets.extend_from_slice(&record.ttl().to_be_bytes());
        octets.extend_from_slice(&(rdata.len() as u16).to_be_bytes());
        octets.extend_from_slice(&rdata);
        let theirs = Record::read(&mut BinDecoder::new(&octets)).expect("a record");
        match &theirs.data {
            RData::DNSSEC(DNSSECRData::RRSIG(rrsig)) => {
                out.signatures.push((theirs.clone(), rrsig.clone()));
            }
            RData::DNSSEC(DNSSECRData::DNSKEY(key)) => out.keys.push(key.clone()),
            _ => {}
        }
        if record.rtype() != Type::RRSIG {
            let owner = record.owner().to_string().to_ascii_lowercase();
            let set = out.sets.entry((owner, record.rtype().0)).or_default();
            set.push(theirs);
        }
    }
    out
}

const ZONE: &str = "$TTL 300
@ SOA ns h 1 7200 3600 1209600 60
@ NS ns
@ DNSKEY 256 3 13 H1IOtfHgDFntsskYPe81JN1RMBE+f8qZ82uCFm8/wUw6Kg8zYfVdZ1GwBydytts2RGlV4eD02pLUNlfMROwjYA==
ns A 127.0.0.1
Www 60 A 192.0.2.2
www 60 A 192.0.2.1
www MX 10 MAIL.Example.COM.
www NAPTR 10 10 \"u\" \"sip\" \"!^.*$!sip:x!\" Gone
mail AAAA 2001:db8::1
*.w CNAME WWW
a.b.c TXT x
sub NS ns.sub
sub A 192.0.2.9
ns.sub A 127.0.0.1
safe NS ns.sub
safe DS 1 13 2 D4E806322598BC97A003EF1ACDFF352EEFF7B42DBB0D41B8224714C36AEF08D9
d DNAME example.net.
x.d TXT hidden
old RRSIG A 13 3 300 20300101000000 20200101000000 1 example.com. AAAA
old NSEC www.example.com. A
";

fn signed(keys: Vec<Key>, denials: Denials) -> Zone {
    let plan = Plan {
        validity: Validity {
            inception: 1_700_000_000,
            expiration: 1_900_000_000,
        },
        serial: 1_764_000_000,
        denials,
    };
    let keys = KeySet::new(keys.into_iter().map(Arc::new).collect());
    let plain = zone("example.com.", ZONE);
    keys.sign_zone(&plain, &plan).expect("a signed zone")
}

/// Every RRset that the zone answers for has a signature of each algorithm that hickory verifies, and no other RRset has one.
#[test]
fn whole_zones_verify() {
    for denials in [Denials::Nsec, Denials::Nsec3] {
        let keys = [ED25519, P256, P384, RSA].map(|pair| key(pair).expect("a key"));
        let zone = signed(Vec::from(keys), denials);
        assert_eq!(zone.serial(), 1_764_000_000);
        let read = read(&zone);
        for ((owner, rtype), set) in &read.sets {
            let over = read.signatures.iter().filter(|(record, rrsig)| {
                let covered = u16::from(rrsig.input().type_covered);
                record.name.to_string().eq_ignore_ascii_case(owner) && covered == *rtype
            });
            let mut algorithms = Vec::new();
            for (record, rrsig) in over {
                let input = rrsig.input();
                let tag = input.key_tag;
                let signer = read
                    .keys
                    .iter()
                    .find(|key| key.calculate_key_tag().ok() == Some(tag));
                let signer = signer.unwrap_or_else(|| panic!("{owner} {rtype}: no key {tag}"));
                signer
                    .verify_rrsig(&record.name, DNSClass::IN, rrsig, set.iter())
                    .unwrap_or_else(|why| panic!("{owner} {rtype} by {tag}: {why}"));
                algorithms.push(u8::from(input.algorithm));
            }
            algorithms.sort_unstable();
            let (rtype, name) = (Type(*rtype), owner.trim_end_matches(".example.com."));
            let expected: &[u8] = match (name, rtype) {
                ("sub" | "safe", Type::NS) | ("sub", Type::A) | ("ns.sub" | "x.d", _) => &[],
                // RSA and P-384 are no entry points here: they sign all but what parents take over.
                (_, Type::DNSKEY | Type::CDS | Type::CDNSKEY) => &[13, 15],
                _ => &[8, 14],
            };
            assert_eq!(algorithms, expected, "{owner} {rtype}");
        }
        assert_eq!(read.keys.len(), 5, "the zone's own is published, too");
        let mut told: Vec<_> = zone.keys().into_iter().collect();
        told.sort_by_key(|key| (key.algorithm, key.role == Role::Published));
        let told = told
            .iter()
            .map(|key| format!("{} {}", key.algorithm_name(), key.role));
        assert_eq!(
            told.collect::<Vec<_>>(),
            [
                "RSASHA256 ZSK",
                "ECDSAP256SHA256 KSK",
                "ECDSAP256SHA256 published",
                "ECDSAP384SHA384 ZSK",
                "ED25519 KSK",
            ]
        );
        assert_eq!(zone.statistics().signatures_end, Some(1_900_000_000));
    }
}

#[test]
fn chains_are_whole() {
    let zone = signed(vec![key(P256).expect("a key")], Denials::Nsec);
    let nsec: Vec<String> = read(&zone)
        .sets
        .iter()
        .filter(|((_, rtype), _)| *rtype == Type::NSEC.0)
        .map(|(_, set)| format!("{} {}", set[0].name, set[0].data))
        .collect();
    let expected = [
        "*.w.example.com. www.example.com. CNAME RRSIG NSEC",
        "a.b.c.example.com. d.example.com. TXT RRSIG NSEC",
        "d.example.com. mail.example.com. DNAME RRSIG NSEC",
        "example.com. a.b.c.example.com. NS SOA RRSIG NSEC DNSKEY CDS CDNSKEY",
        "mail.example.com. ns.example.com. AAAA RRSIG NSEC",
        "ns.example.com. safe.example.com. A RRSIG NSEC",
        "safe.example.com. sub.example.com. NS DS RRSIG NSEC",
        "sub.example.com. *.w.example.com. NS RRSIG NSEC",
        "Www.example.com. example.com. A MX NAPTR RRSIG NSEC",
    ];
    assert_eq!(nsec.len(), expected.len(), "{nsec:#?}");
    for (found, expected) in nsec.iter().zip(expected) {
        assert!(found.eq_ignore_ascii_case(expected), "{found} {expected}");
    }
}

/// Denials are found by whoever serves the zone, for NSEC3 at empty non-terminals, too.
#[test]
fn a_zone_that_was_signed_here_proves_what_is_not_there() {
    for (denials, rtype) in [(Denials::Nsec, " NSEC "), (Denials::Nsec3, " NSEC3 ")] {
        let zone = signed(vec![key(ED25519).expect("a key")], denials);
        for (qname, qtype) in [
            ("nope.example.com.", Type::A),
            ("b.c.example.com.", Type::A),
            ("www.example.com.", Type::TXT),
            ("x.w.example.com.", Type::A),
            ("x.sub.example.com.", Type::A),
            ("sub.example.com.", Type::DS),
        ] {
            let (_, octets) = ask(&zone, qname, qtype, true);
            let shown = show(&octets);
            assert!(shown.contains(rtype), "{qname} {qtype}: {shown}");
        }
    }
}
