use std::sync::Arc;

use chain::{Block, Flow, Outcome, Query};
use wire::{Class, Flags, Name, NameBuf, Rcode, Response, Section, Type};

use crate::trial::{self, Folder};

const KSK: [&str; 2] = [
    "miek.nl. IN DNSKEY 257 3 13 0J8u0XJ9GNGFEBXuAmLu04taHG4BXPP3gwhetiOUMnGA+x09nqzgF5IY OyjWB7N3rXqQbnOSILhH1hnuyh7mmA==\n",
    "Private-key-format: v1.3\nAlgorithm: 13 (ECDSAP256SHA256)\nPrivateKey: /4BZk8AFvyW5hL3cOLSVxIp1RTqHSAEloWUxj86p3gs=\n",
];
const ZSK: [&str; 2] = [
    "miek.nl. IN DNSKEY 256 3 15 l02Woi0iS8Aa25FQkUd9RMzZHJpBoRQwAQEX1SxZJA4=\n",
    "Private-key-format: v1.2\nAlgorithm: 15 (ED25519)\nPrivateKey: ODIyNjAzODQ2MjgwODAxMjI2NDUxOTAyMDQxNDIyNjI=\n",
];

/// A directory with the keys `ksk` and `zsk`.
fn keys(test: &str) -> Folder {
    let folder = Folder::new(&format!("dnssec-{test}"));
    for (name, [public, private]) in [("ksk", KSK), ("zsk", ZSK)] {
        folder.write(&format!("{name}.key"), public);
        folder.write(&format!("{name}.private"), private);
    }
    folder
}

/// A block with these lines; `{}` stands for the directory of the keys.
fn block(
    folder: &Folder,
    lines: &str,
    answer: impl Fn(&mut Query<'_>, &mut Response<'_>) + Send + Sync + 'static,
) -> Arc<Block> {
    let lines = lines.replace("{}", &folder.0.display().to_string());
    let trial = trial::build(&format!("miek.nl:53 {{\n{lines}\n}}\n"));
    assert!(trial.accepted, "{}", trial.messages);
    let last = trial::answer(move |query, response| {
        answer(query, response);
        Ok(Flow::Answered)
    });
    trial::serve(&trial, "miek.nl.", last)
}

const CSK: &str = "dnssec {\n  key file {}/ksk\n}";

/// What a block answers to a query with DO: RCODE, then `SECTION OWNER TYPE` of each record; of RRSIG records the type that they cover and the
/// algorithm, of NSEC records the next name and the bitmap.
fn ask(block: &Arc<Block>, name: &str, qtype: Type) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let mut exchange = trial::exchange(name, qtype, Some(1_233));
        if let Outcome::Suspended(at) = exchange.walk(block) {
            exchange = chain::resume(exchange, block.clone(), at).await.0;
        }
        show(&exchange.response())
    })
}

fn show(response: &Response<'_>) -> Vec<String> {
    let records = response.records().map(|record| {
        let record = record.expect("a record");
        let owner = record.owner().expect("an owner");
        let section = ["an", "ns", "ar"][record.section as usize];
        let rdata = record.rdata();
        let more = match record.rtype {
            Type::RRSIG => format!(
                " {} {}",
                Type(u16::from_be_bytes([rdata[0], rdata[1]])),
                rdata[2]
            ),
            Type::NSEC => format!(" {}", zone::present_rdata(&record)),
            _ => String::new(),
        };
        format!("{section} {owner} {}{more}", record.rtype)
    });
    [response.rcode().to_string()]
        .into_iter()
        .chain(records)
        .collect()
}

fn name(text: &str) -> NameBuf {
    text.parse().expect("a name")
}

fn push(response: &mut Response<'_>, section: Section, owner: &str, (rtype, rdata): (Type, &[u8])) {
    let fixed = (rtype, Class::IN, 60);
    response
        .push(section, name(owner).as_name(), fixed, rdata)
        .expect("room");
}

const SOA: &[u8] = b"\0\0\0\0\0\x01\0\0\0\x02\0\0\0\x03\0\0\0\x04\0\0\0\x1E";
const A: (Type, &[u8]) = (Type::A, &[192, 0, 2, 1]);

#[test]
fn who_signs_what() {
    let folder = keys("split");
    let answer = |_: &mut Query<'_>, response: &mut Response<'_>| {
        push(response, Section::Answer, "www.miek.nl.", A);
        push(response, Section::Additional, "mail.miek.nl.", A);
        push(response, Section::Additional, "mail.example.org.", A);
    };
    let csk = block(&folder, CSK, answer);
    let expected = [
        "NOERROR",
        "an www.miek.nl. A",
        "an www.miek.nl. RRSIG A 13",
        "ar mail.miek.nl. A",
        "ar mail.miek.nl. RRSIG A 13",
        "ar mail.example.org. A",
    ];
    assert_eq!(ask(&csk, "www.miek.nl.", Type::A), expected);
    let dnskey = [
        "NOERROR",
        "an miek.nl. DNSKEY",
        "an miek.nl. RRSIG DNSKEY 13",
    ];
    assert_eq!(ask(&csk, "MIEK.nl.", Type::DNSKEY).len(), 3);
    assert_eq!(ask(&csk, "miek.nl.", Type::DNSKEY), dnskey);
    let split = block(
        &folder,
        "dnssec {\n  key file {}/ksk.key\n  key file {}/zsk.private\n}",
        answer,
    );
    assert_eq!(
        ask(&split, "www.miek.nl.", Type::A)[2],
        "an www.miek.nl. RRSIG A 15"
    );
    let dnskey = [
        "NOERROR",
        "an miek.nl. DNSKEY",
        "an miek.nl. DNSKEY",
        "an miek.nl. RRSIG DNSKEY 13",
    ];
    assert_eq!(ask(&split, "miek.nl.", Type::DNSKEY), dnskey);
    let none = block(&folder, "dnssec", answer);
    assert_eq!(
        ask(&none, "www.miek.nl.", Type::A).len(),
        4,
        "no key, no signature"
    );
    let other = block(&folder, CSK, answer);
    assert_eq!(
        ask(&other, "www.example.org.", Type::A).len(),
        4,
        "out of the zones"
    );
}

#[test]
fn what_is_not_signed() {
    let folder = keys("unsigned");
    let rrsig = [&[0, 1][..], &[0; 16], b"\0", &[7; 64]].concat();
    let signed = block(&folder, CSK, move |_, response| {
        push(response, Section::Answer, "www.miek.nl.", A);
        push(
            response,
            Section::Answer,
            "www.miek.nl.",
            (Type::RRSIG, &rrsig),
        );
    });
    let expected = ["NOERROR", "an www.miek.nl. A", "an www.miek.nl. RRSIG A 0"];
    assert_eq!(ask(&signed, "www.miek.nl.", Type::A), expected);
    let cut = block(&folder, CSK, |_, response| {
        push(response, Section::Answer, "www.miek.nl.", A);
        response.set_flag(Flags::TC, true);
    });
    assert_eq!(ask(&cut, "www.miek.nl.", Type::A).len(), 2);
    let failed = block(&folder, CSK, |_, response| {
        push(response, Section::Authority, "miek.nl.", (Type::SOA, SOA));
        response.set_rcode(Rcode::REFUSED);
    });
    assert_eq!(ask(&failed, "www.miek.nl.", Type::A).len(), 2);
    let dname = block(&folder, CSK, |_, response| {
        let target = name("b.miek.nl.");
        push(
            response,
            Section::Answer,
            "a.miek.nl.",
            (Type::DNAME, target.as_name().octets()),
        );
        let target = name("x.b.miek.nl.");
        push(
            response,
            Section::Answer,
            "x.a.miek.nl.",
            (Type::CNAME, target.as_name().octets()),
        );
        push(response, Section::Answer, "x.b.miek.nl.", A);
    });
    let types: Vec<_> = ask(&dname, "x.a.miek.nl.", Type::A);
    let expected = [
        "NOERROR",
        "an a.miek.nl. DNAME",
        "an a.miek.nl. RRSIG DNAME 13",
        "an x.a.miek.nl. CNAME",
        "an x.b.miek.nl. A",
        "an x.b.miek.nl. RRSIG A 13",
    ];
    assert_eq!(types, expected);
}

/// RFC 9824, sections 3.1, 3.2 and 3.4, behind a plugin that does not know the types of names.
#[test]
fn denials_behind_any_plugin() {
    let folder = keys("denials");
    let negative = block(&folder, CSK, |query, response| {
        push(response, Section::Authority, "miek.nl.", (Type::SOA, SOA));
        if query.name() == name("gone.miek.nl.").as_name() {
            response.set_rcode(Rcode::NXDOMAIN);
        }
    });
    let soa = ["ns miek.nl. SOA", "ns miek.nl. RRSIG SOA 13"];
    let expected = [
        "NOERROR",
        soa[0],
        soa[1],
        "ns gone.miek.nl. NSEC \\000.gone.miek.nl. RRSIG NSEC NXNAME",
        "ns gone.miek.nl. RRSIG NSEC 13",
    ];
    assert_eq!(ask(&negative, "Gone.miek.nl.", Type::A), expected);
    assert_eq!(
        ask(&negative, "www.miek.nl.", Type::TXT)[3],
        "ns www.miek.nl. NSEC \\000.www.miek.nl. A HINFO AAAA LOC SRV CERT SSHFP RRSIG NSEC TLSA HIP OPENPGPKEY SPF"
    );
    assert_eq!(
        ask(&negative, "miek.nl.", Type::A)[3],
        "ns miek.nl. NSEC \\000.miek.nl. NS SOA HINFO MX TXT AAAA LOC SRV CERT SSHFP RRSIG NSEC DNSKEY TLSA HIP OPENPGPKEY SPF"
    );
    let asked = ask(&negative, "www.miek.nl.", Type::NSEC);
    assert!(asked[1].starts_with("an www.miek.nl. NSEC "), "{asked:?}");
    assert_eq!(asked.len(), 3, "{asked:?}");
    // Signatures that are asked for are those of the NSEC record; without DO, too.
    let rrsig = ["NOERROR", "an www.miek.nl. RRSIG NSEC 13"];
    assert_eq!(ask(&negative, "www.miek.nl.", Type::RRSIG), rrsig);
    let mut exchange = trial::exchange("www.miek.nl.", Type::RRSIG, None);
    assert_eq!(exchange.walk(&negative), Outcome::Respond);
    assert_eq!(show(&exchange.response()), rrsig);
    let mut exchange = trial::exchange("gone.miek.nl.", Type::RRSIG, None);
    exchange.walk(&negative);
    assert_eq!(show(&exchange.response()), ["NXDOMAIN", "ns miek.nl. SOA"]);
    assert_eq!(
        ask(&negative, "gone.miek.nl.", Type::RRSIG)[3..],
        expected[3..]
    );
    let any = ask(&negative, "www.miek.nl.", Type::ANY);
    assert_eq!(
        any[3..],
        [
            "ns www.miek.nl. NSEC \\000.www.miek.nl. RRSIG NSEC",
            "ns www.miek.nl. RRSIG NSEC 13"
        ]
    );
    assert_eq!(ask(&negative, "www.miek.nl.", Type::NXNAME), ["FORMERR"]);
    let referral = block(&folder, CSK, |_, response| {
        push(
            response,
            Section::Authority,
            "sub.miek.nl.",
            (Type::NS, Name::ROOT.octets()),
        );
        push(response, Section::Additional, "ns.sub.miek.nl.", A);
    });
    let expected = [
        "NOERROR",
        "ns sub.miek.nl. NS",
        "ns sub.miek.nl. NSEC sub\\000.miek.nl. NS RRSIG NSEC",
        "ns sub.miek.nl. RRSIG NSEC 13",
        "ar ns.sub.miek.nl. A",
    ];
    assert_eq!(ask(&referral, "x.sub.miek.nl.", Type::A), expected);
    let bare = block(&folder, CSK, |_, response| {
        response.set_rcode(Rcode::NXDOMAIN)
    });
    let asked = ask(&bare, "gone.miek.nl.", Type::A);
    assert_eq!(asked.len(), 3, "a denial without a SOA record: {asked:?}");
}

/// With CO beside DO the RCODE stays, CO comes back, and no cache keeps that for others (RFC 9824, section 5.1).
#[test]
fn clients_of_compact_denials_get_nxdomain() {
    let folder = keys("compact");
    let block = block(&folder, CSK, |_, response| {
        push(response, Section::Authority, "miek.nl.", (Type::SOA, SOA));
        response.set_rcode(Rcode::NXDOMAIN);
    });
    ask(&block, "gone.miek.nl.", Type::A);
    for (co, rcode) in [(true, Rcode::NXDOMAIN), (false, Rcode::NOERROR)] {
        let mut exchange = trial::exchange("gone.miek.nl.", Type::A, Some(1_233));
        let at = exchange.message().len() - 4;
        exchange.message_mut()[at] |= if co { 0x40 } else { 0 };
        exchange.parse().expect("a query");
        assert_eq!(exchange.walk(&block), Outcome::Respond);
        assert_eq!(exchange.response().rcode(), rcode);
        assert_eq!(exchange.context.compact, co);
        let (query, _) = exchange.views(&block);
        assert_eq!(query.context().compact, co);
    }
}

/// Signatures of RRsets whose TTL counts down are made once: the original TTL is not theirs.
#[test]
fn a_ttl_that_counts_down_costs_no_signature() {
    let folder = keys("ttl");
    let ttl = std::sync::atomic::AtomicU32::new(300);
    let block = block(&folder, CSK, move |_, response| {
        let ttl = ttl.fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
        response
            .push(
                Section::Answer,
                name("www.miek.nl.").as_name(),
                (Type::A, Class::IN, ttl),
                A.1,
            )
            .expect("room");
    });
    ask(&block, "www.miek.nl.", Type::A);
    let mut exchange = trial::exchange("www.miek.nl.", Type::A, Some(1_233));
    assert_eq!(
        exchange.walk(&block),
        Outcome::Respond,
        "nothing was waited for"
    );
    let response = exchange.response();
    let rrsig = response
        .records()
        .nth(1)
        .expect("a record")
        .expect("a record");
    assert_eq!((rrsig.rtype, rrsig.ttl), (Type::RRSIG, 299));
    assert_eq!(rrsig.rdata()[4..8], 3_600u32.to_be_bytes());
}

/// A flood of names that nobody has asked for: those that find no place to wait get SERVFAIL at once, what is known is answered, and so is
/// another client's new name.
#[test]
fn a_flood_of_names_is_bounded() {
    const FLOOD: usize = 3_000;
    /// Queries that are read before those that wait go on.
    const BATCH: usize = 64;
    let folder = keys("flood");
    // The slowest to sign: the queue fills faster than it is emptied.
    folder.write("rsa.key", include_str!("../../src/zone/tests/keys/008.key"));
    folder.write(
        "rsa.private",
        include_str!("../../src/zone/tests/keys/008.private"),
    );
    let lines = "dnssec example.com {\n  key file {}/rsa\n}";
    let block = block(&folder, lines, |query, response| {
        let fixed = (A.0, Class::IN, 60);
        let owner = NameBuf::from_name(query.name());
        let pushed = response.push(Section::Answer, owner.as_name(), fixed, A.1);
        pushed.expect("room");
    });
    assert_eq!(ask(&block, "known.example.com.", Type::A).len(), 3);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let local = tokio::task::LocalSet::new();
    let (refused, signed) =
        local.block_on(&runtime, async {
            let (mut refused, mut signed) = (0, 0);
            let mut waiting = Vec::new();
            for number in 0..FLOOD {
                let name = format!("{number}.example.com.");
                let mut exchange = trial::exchange(&name, Type::A, Some(1_233));
                match exchange.walk(&block) {
                    Outcome::Suspended(at) => waiting.push(tokio::task::spawn_local(
                        chain::resume(exchange, block.clone(), at),
                    )),
                    _ => {
                        assert_eq!(show(&exchange.response()), ["SERVFAIL"]);
                        refused += 1;
                    }
                }
                if number % BATCH == 0 {
                    tokio::task::yield_now().await;
                }
            }
            assert!(refused > 0, "none was refused at once");
            let mut exchange = trial::exchange("known.example.com.", Type::A, Some(1_233));
            assert_eq!(exchange.walk(&block), Outcome::Respond);
            assert_eq!(show(&exchange.response()).len(), 3);
            let mut other = trial::exchange("other.example.com.", Type::A, Some(1_233));
            other.context.peer.set_ip([192, 0, 2, 77].into());
            let Outcome::Suspended(at) = other.walk(&block) else {
                panic!("another client's query found no place");
            };
            let (mut other, _) = chain::resume(other, block.clone(), at).await;
            assert_eq!(show(&other.response()).len(), 3);
            for answer in waiting {
                let (mut exchange, _) = answer.await.expect("an answer");
                match show(&exchange.response()).as_slice() {
                    [rcode] if rcode == "SERVFAIL" => refused += 1,
                    [_, _, rrsig] if rrsig.ends_with("RRSIG A 8") => signed += 1,
                    other => panic!("{other:?}"),
                }
            }
            (refused, signed)
        });
    assert_eq!(refused + signed, FLOOD);
    assert!(signed >= super::pool::WAITING / 2, "{refused} {signed}");
}

#[test]
fn lines() {
    trial::table(&[
        ("dnssec", ""),
        ("dnssec example.org", ""),
        ("dnssec 10.0.0.0/8", ""),
        ("dnssec {\n  key\n}", "Wrong argument count"),
        ("dnssec {\n  key file\n}", "Wrong argument count"),
        ("dnssec {\n  key fil x\n}", "unknown place of keys `fil`"),
        (
            "dnssec {\n  key aws_secretsmanager x\n}",
            "nameplate does not",
        ),
        (
            "dnssec {\n  key file /nowhere/Kx\n}",
            "open /nowhere/Kx.key: ",
        ),
        ("dnssec {\n  cache_capacity\n}", "Wrong argument count"),
        ("dnssec {\n  cache_capacity many\n}", "not a number: `many`"),
        ("dnssec {\n  cache_capacity 0\n}", ""),
        (
            "dnssec {\n  cache_size 1\n}",
            "unknown property 'cache_size'",
        ),
        ("dnssec\ndnssec", "can only be used once per Server Block"),
    ]);
    let folder = keys("lines");
    for (lines, refusal) in [
        (
            "dnssec example.org {\n  key file {}/ksk\n}",
            "key miek.nl. (keyid: 18512) can not sign any of the zones",
        ),
        ("dnssec sub.miek.nl {\n  key file {}/ksk\n}", ""),
        (
            "dnssec miek.nl {\n  key file {}/mixed\n}",
            "does not belong to the public key",
        ),
    ] {
        folder.write("mixed.key", KSK[0]);
        folder.write("mixed.private", &KSK[1].replace("/4BZ", "/4BY"));
        let trial = trial::block(&lines.replace("{}", &folder.0.display().to_string()));
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
