//! The response builder: compression, TTLs, room, and replies of upstreams (RFC 2181, 9; RFC 9471; reliability W3).

use super::{Build, Dice, labels, name, query, rounds, wire};
use crate::{
    Class, Flags, Full, Header, Message, Opcode, Parsed, Rcode, Response, ResponseState, Section,
    Type,
};
use Section::{Additional, Answer, Authority};

const A: (Type, Class, u32) = (Type::A, Class::IN, 300);
const AAAA: (Type, Class, u32) = (Type::AAAA, Class::IN, 300);
const NS: (Type, Class, u32) = (Type::NS, Class::IN, 3600);

/// The message that `write` makes of an answer to `text`.
fn respond(text: &str, qtype: Type, write: impl FnOnce(&mut Response<'_>)) -> Vec<u8> {
    let (octets, parsed) = query(text, qtype);
    let mut buffer = vec![0xAA; 65_535];
    let mut state = ResponseState::default();
    let mut response = Response::new(&mut buffer, &mut state);
    response.begin(&parsed, &octets);
    write(&mut response);
    let len = response.seal();
    buffer.truncate(len);
    buffer
}

/// Section, owner, type, TTL and RDATA of every record, names in RDATA of NS and CNAME decompressed.
fn listing(octets: &[u8]) -> Vec<String> {
    let message = Message::new(octets).unwrap();
    message
        .records()
        .map(|record| {
            let record = record.unwrap();
            let rdata = match record.rtype {
                Type::NS | Type::CNAME => record.rdata_name(0).unwrap().to_string(),
                _ => format!("{:02x?}", record.rdata()),
            };
            format!(
                "{:?} {} {} {} {rdata}",
                record.section,
                record.owner().unwrap(),
                record.ttl,
                record.rtype
            )
        })
        .collect()
}

#[test]
fn what_is_echoed() {
    let rows = [
        (0x0110, 0x8110, "RD and CD of a QUERY"),
        (0x0000, 0x8000, "nothing"),
        (0x06E0, 0x8000, "AA, TC, RA, Z and AD are the server's"),
        (0x000F, 0x8000, "the RCODE is the server's"),
        (0x2110, 0xA000, "of NOTIFY the opcode only"),
        (0x7FF0, 0xF800, "of opcode 15 the opcode only"),
    ];
    for (flags, expected, what) in rows {
        let octets = Build::new(flags, [1, 0, 0, 0])
            .question("ExAmple.org.", Type::A)
            .octets;
        let mut parsed = Parsed::default();
        let refusal = parsed.read(&octets);
        let (mut buffer, mut state) = ([0xAA; 512], ResponseState::default());
        let mut response = Response::new(&mut buffer, &mut state);
        response.begin(&parsed, &octets);
        let len = response.seal();
        let header = Header::read(&buffer).unwrap();
        assert_eq!(
            (header.id, header.flags),
            (0x1234, Flags(expected)),
            "{what}"
        );
        if refusal.is_ok() {
            assert_eq!(header.counts, [1, 0, 0, 0]);
            assert_eq!(
                buffer[12..len],
                octets[12..],
                "the question as it came, capitals and all"
            );
        } else {
            assert_eq!((header.counts, len), ([0; 4], 12), "{what}: no question");
        }
        assert_eq!(header.flags.opcode(), Opcode((flags >> 11) as u8));
    }
}

#[test]
fn names_are_compressed_and_read_back() {
    let (www, zone, ns1) = (
        name("www.example.org."),
        name("example.org."),
        name("ns1.example.org."),
    );
    let octets = respond("www.example.org.", Type::A, |r| {
        r.set_flag(Flags::AA, true);
        r.push(Answer, www.as_name(), A, &[192, 0, 2, 1]).unwrap();
        r.push_named(Authority, zone.as_name(), NS, (&[], ns1.as_name()))
            .unwrap();
        r.push(Additional, ns1.as_name(), A, &[192, 0, 2, 53])
            .unwrap();
        r.push_named(Additional, wire(&[0]), NS, (&[], wire(&[0])))
            .unwrap();
    });
    assert_eq!(
        listing(&octets),
        [
            "Answer www.example.org. 300 A [c0, 00, 02, 01]",
            "Authority example.org. 3600 NS ns1.example.org.",
            "Additional ns1.example.org. 300 A [c0, 00, 02, 35]",
            "Additional . 3600 NS .",
        ]
    );
    // Question 33; A 2+10+4; NS 2+10+6 (`ns1` and a pointer); A 2+10+4; the root's NS 1+10+1.
    assert_eq!(octets.len(), 33 + 16 + 18 + 16 + 12);
    assert_eq!(octets[33..35], [0xC0, 12], "QNAME");
    assert_eq!(octets[49..51], [0xC0, 16], "a suffix of QNAME");
    assert_eq!(Header::read(&octets).unwrap().counts, [1, 1, 1, 2]);
}

#[test]
fn data_keeps_its_case_below_a_question_with_capitals() {
    let (www, target) = (name("www.example.org."), name("Mail.example.org."));
    let octets = respond("WWW.example.ORG.", Type::A, |r| {
        r.push_named(
            Answer,
            www.as_name(),
            (Type::CNAME, Class::IN, 1),
            (&[], target.as_name()),
        )
        .unwrap();
        r.push(Answer, target.as_name(), A, &[192, 0, 2, 1])
            .unwrap();
    });
    assert_eq!(
        listing(&octets),
        [
            "Answer www.example.org. 1 CNAME Mail.example.org.",
            "Answer Mail.example.org. 300 A [c0, 00, 02, 01]"
        ]
    );
}

#[test]
fn ready_octets_and_pointers() {
    let octets = respond("a.example.org.", Type::A, |r| {
        let ready = [0xC0, 0x0C, 0, 1, 0, 1, 0, 0, 1, 44, 0, 4, 192, 0, 2, 7];
        let at = r.push_octets(Answer, &ready.repeat(3), 3).unwrap();
        r.point(at + 16, 14);
        r.point(usize::MAX - 9, 12);
        let ttl_at = r.records().nth(2).unwrap().unwrap().ttl_at;
        r.set_ttl(ttl_at, 7);
        r.set_ttl(1 << 20, 7);
        assert_eq!((r.count(Answer), r.count(Additional)), (3, 0));
        assert!(r.has_type(Answer, Type::A) && !r.has_type(Authority, Type::A));
    });
    assert_eq!(
        listing(&octets),
        [
            "Answer a.example.org. 300 A [c0, 00, 02, 07]",
            "Answer example.org. 300 A [c0, 00, 02, 07]",
            "Answer a.example.org. 7 A [c0, 00, 02, 07]",
        ]
    );
}

#[test]
fn a_full_buffer_leaves_the_response_as_it_was() {
    let (octets, parsed) = query("example.org.", Type::A);
    let owner = name("other.example.org.");
    let whole = respond("example.org.", Type::A, |r| {
        r.push(Answer, owner.as_name(), A, &[192, 0, 2, 1]).unwrap()
    });
    for room in 0..=whole.len() {
        let (mut buffer, mut state) = (vec![0; room], ResponseState::default());
        let mut response = Response::new(&mut buffer, &mut state);
        response.begin(&parsed, &octets);
        let before = response.len();
        let pushed = response.push(Answer, owner.as_name(), A, &[192, 0, 2, 1]);
        if room == whole.len() {
            assert_eq!(pushed, Ok(()));
            continue;
        }
        assert_eq!(pushed, Err(Full), "{room}");
        assert_eq!((response.len(), response.count(Answer)), (before, 0));
        assert!(response.flags().has(Flags::TC));
        assert_eq!(response.push_opt(1232, 0, &[(3, &[0; 100])]), Err(Full));
        response.seal();
    }
    // No message is longer than TCP can say, whatever the buffer.
    let (mut buffer, mut state) = (vec![0; 100_000], ResponseState::default());
    let mut response = Response::new(&mut buffer, &mut state);
    response.begin(&parsed, &octets);
    assert_eq!(response.push_octets(Answer, &[0; 70_000], 1), Err(Full));
    while response
        .push(Answer, owner.as_name(), A, &[192, 0, 2, 1])
        .is_ok()
    {}
    assert!((65_500..=65_535).contains(&response.len()));
}

#[test]
fn names_after_a_cut_point_at_nothing_that_went() {
    let (zone, gone) = (name("example.org."), name("gone.example.net."));
    let octets = respond("example.org.", Type::NS, |r| {
        r.push_named(Answer, zone.as_name(), NS, (&[], gone.as_name()))
            .unwrap();
        r.keep([0, 0, 0]);
        assert_eq!(r.len(), r.question_end());
        r.push(
            Answer,
            zone.as_name(),
            (Type::TXT, Class::IN, 0),
            &[0x55; 60],
        )
        .unwrap();
        r.push_named(Answer, gone.as_name(), NS, (&[], gone.as_name()))
            .unwrap();
        r.push(Answer, name("x.gone.example.net.").as_name(), A, &[0; 4])
            .unwrap();
    });
    assert_eq!(
        listing(&octets)[1..],
        [
            "Answer gone.example.net. 3600 NS gone.example.net.",
            "Answer x.gone.example.net. 300 A [00, 00, 00, 00]"
        ]
    );
}

#[test]
fn keeping_records() {
    let owner = name("a.example.org.");
    for (keep, expected) in [
        ([9, 9, 9], [2, 1, 2]),
        ([2, 1, 1], [2, 1, 1]),
        ([2, 1, 0], [2, 1, 0]),
        ([2, 0, 2], [2, 0, 0]),
        ([1, 1, 2], [1, 0, 0]),
        ([0, 1, 2], [0, 0, 0]),
    ] {
        let octets = respond("example.org.", Type::A, |r| {
            for section in [Answer, Answer, Authority, Additional, Additional] {
                r.push(section, owner.as_name(), A, &[192, 0, 2, 1])
                    .unwrap();
            }
            r.keep(keep);
        });
        let [an, ns, ar] = expected;
        assert_eq!(
            Header::read(&octets).unwrap().counts,
            [1, an, ns, ar],
            "{keep:?}"
        );
        assert_eq!(listing(&octets).len(), (an + ns + ar) as usize);
    }
}

/// A response in sections, cut to a limit: what stays, and whether TC says so.
struct Fit {
    what: &'static str,
    authoritative: bool,
    /// Records by section, each an owner and a type.
    records: &'static [(Section, &'static str, Type)],
    /// How many of them the limit has room for.
    room: usize,
    kept: usize,
    truncated: bool,
}

#[test]
fn fitting_sets_tc_as_the_rfcs_say() {
    let glue = &[
        (Authority, "sub.example.org.", Type::NS),
        (Additional, "ns.sub.example.org.", Type::A),
        (Additional, "ns.sub.example.org.", Type::AAAA),
    ];
    let extra = &[
        (Answer, "example.org.", Type::MX),
        (Additional, "m1.example.org.", Type::A),
        (Additional, "m2.example.org.", Type::A),
        (Additional, "m2.example.org.", Type::A),
        (Additional, "m2.example.org.", Type::AAAA),
    ];
    let answer = &[
        (Answer, "www.example.org.", Type::A),
        (Answer, "www.example.org.", Type::A),
        (Authority, "example.org.", Type::NS),
        (Additional, "ns.example.org.", Type::A),
    ];
    let rows = [
        Fit {
            what: "all of it",
            authoritative: true,
            records: answer,
            room: 4,
            kept: 4,
            truncated: false,
        },
        Fit {
            what: "additional data goes silently",
            authoritative: true,
            records: answer,
            room: 3,
            kept: 3,
            truncated: false,
        },
        Fit {
            what: "authority is missed",
            authoritative: true,
            records: answer,
            room: 2,
            kept: 2,
            truncated: true,
        },
        Fit {
            what: "an answer is missed",
            authoritative: true,
            records: answer,
            room: 1,
            kept: 1,
            truncated: true,
        },
        Fit {
            what: "no room at all",
            authoritative: true,
            records: answer,
            room: 0,
            kept: 0,
            truncated: true,
        },
        Fit {
            what: "a whole RRset of additional data stays",
            authoritative: true,
            records: extra,
            room: 4,
            kept: 4,
            truncated: false,
        },
        Fit {
            what: "half an RRset of additional data goes",
            authoritative: true,
            records: extra,
            room: 3,
            kept: 2,
            truncated: false,
        },
        Fit {
            what: "at an RRset's boundary",
            authoritative: true,
            records: extra,
            room: 2,
            kept: 2,
            truncated: false,
        },
        Fit {
            what: "glue of a referral is no extra",
            authoritative: false,
            records: glue,
            room: 2,
            kept: 2,
            truncated: true,
        },
        Fit {
            what: "a referral without glue",
            authoritative: false,
            records: glue,
            room: 1,
            kept: 1,
            truncated: true,
        },
        Fit {
            what: "a whole referral",
            authoritative: false,
            records: glue,
            room: 3,
            kept: 3,
            truncated: false,
        },
        Fit {
            what: "NS below AA is no referral",
            authoritative: true,
            records: glue,
            room: 2,
            kept: 2,
            truncated: false,
        },
    ];
    for row in rows {
        for slack in [0, 11] {
            let octets = respond("www.example.org.", Type::A, |r| {
                r.set_flag(Flags::AA, row.authoritative);
                let mut limit = r.len();
                for (i, &(section, owner, rtype)) in row.records.iter().enumerate() {
                    r.push(
                        section,
                        name(owner).as_name(),
                        (rtype, Class::IN, 60),
                        &[0; 16],
                    )
                    .unwrap();
                    if i < row.room {
                        limit = r.len();
                    }
                }
                r.fit(limit + slack);
            });
            let header = Header::read(&octets).unwrap();
            assert_eq!(
                listing(&octets).len(),
                row.kept,
                "{} (slack {slack})",
                row.what
            );
            assert_eq!(header.flags.has(Flags::TC), row.truncated, "{}", row.what);
        }
    }
    let whole = respond("a.", Type::A, |r| r.fit(0));
    assert_eq!(whole.len(), 12 + 3 + 4, "the question is never cut");
}

#[test]
fn opt_records() {
    let octets = respond("example.org.", Type::A, |r| {
        r.set_rcode(Rcode::BADVERS);
        r.push_opt(1232, 0x8000, &[(3, b"ns1"), (10, &[])]).unwrap();
    });
    let message = Message::new(&octets).unwrap();
    assert_eq!(message.rcode(), Rcode::BADVERS);
    assert_eq!(message.flags().rcode(), Rcode::NOERROR);
    let opt = message.opt().unwrap();
    assert_eq!((opt.class, opt.ttl), (Class(1232), 0x0100_8000));
    assert_eq!(opt.rdata(), b"\x00\x03\x00\x03ns1\x00\x0A\x00\x00");
    let theirs = hickory_proto::op::Message::from_vec(&octets).unwrap();
    assert_eq!(theirs.edns.as_ref().unwrap().max_payload(), 1232);
    assert_eq!(u16::from(theirs.metadata.response_code), 16);
}

#[test]
fn clearing_begins_anew() {
    let owner = name("www.example.org.");
    let octets = respond("www.example.org.", Type::A, |r| {
        r.set_rcode(Rcode::NXDOMAIN);
        r.push_named(
            Answer,
            owner.as_name(),
            NS,
            (&[], name("ns.example.com.").as_name()),
        )
        .unwrap();
        r.clear_records();
        r.push(Answer, name("example.com.").as_name(), A, &[1; 4])
            .unwrap();
    });
    assert_eq!(
        listing(&octets),
        ["Answer example.com. 300 A [01, 01, 01, 01]"]
    );
    assert_eq!(Message::new(&octets).unwrap().rcode(), Rcode::NXDOMAIN);
}

/// W3: the cost of a name is bounded by its own length, so the encoder looks at a bounded number of places for each.
#[test]
fn many_distinct_long_names_are_all_written() {
    let suffix = [&labels(100, 1)[..], &[0]].concat();
    let mut pushed = 0;
    let octets = respond("example.org.", Type::NS, |r| {
        for i in 0u16.. {
            let label = format!("host{i:05}");
            let owner = crate::NameBuf::prepend(label.as_bytes(), wire(&suffix)).unwrap();
            if r.push(Answer, owner.as_name(), A, &[192, 0, 2, 1]).is_err() {
                break;
            }
            pushed += 1;
        }
    });
    // 26 octets each: a label and a pointer, the suffix but once; less a few whose place another suffix took over.
    assert!(pushed > 2_450, "{pushed}");
    let message = Message::new(&octets).unwrap();
    for (i, record) in message.records().enumerate() {
        let owner = record.unwrap().owner().unwrap();
        assert_eq!(
            owner.as_name().labels().next(),
            Some(format!("host{i:05}").as_bytes())
        );
        assert_eq!(owner.as_name().label_count(), 101);
    }
    // What the encoder remembers does not grow with the message.
    assert!(
        size_of::<ResponseState>() <= 256,
        "{}",
        size_of::<ResponseState>()
    );
}

/// The reply of an upstream to `example.org. A`, adopted: what is left of it.
fn adopt(reply: &[u8]) -> (bool, Vec<u8>, Rcode) {
    let (octets, parsed) = query("eXample.org.", Type::A);
    let (mut buffer, mut state) = (vec![0xAA; 4_096], ResponseState::default());
    let mut response = Response::new(&mut buffer, &mut state);
    let len = reply.len().min(4_096);
    response.buffer()[..len].copy_from_slice(&reply[..len]);
    let adopted = response.adopt(reply.len(), &parsed, &octets);
    let rcode = response.rcode();
    let len = response.seal();
    buffer.truncate(len);
    assert_eq!(
        buffer[12..29],
        octets[12..],
        "the question as the client wrote it"
    );
    assert_eq!(Header::read(&buffer).unwrap().id, 0x1234);
    (adopted, buffer, rcode)
}

/// An upstream's reply with one answer and `additional` more records behind it.
fn reply(flags: u16, additional: u16) -> Build {
    let mut reply = Build::new(flags, [1, 1, 0, additional]).question("example.org.", Type::A);
    reply.octets[0] ^= 0xFF;
    reply.record(&[0xC0, 12], Type::A, &[192, 0, 2, 1])
}

#[test]
fn replies_are_adopted_without_their_opt() {
    let answer = "Answer eXample.org. 300 A [c0, 00, 02, 01]";
    let a = "Additional a.eXample.org. 300 A [c0, 00, 02, 02]";
    let (owner, ttl) = (&[1, b'a', 0xC0, 12][..], 0x0100_8000);
    let into_opt = [0xC0, 0x2D];
    let rows: [(&str, Build, &[&str], Rcode); 9] = [
        ("no OPT", reply(0x8580, 0), &[answer], Rcode::NOERROR),
        (
            "OPT last",
            reply(0x8580, 1).opt(1232, 0x8000, &[0, 3, 0, 1, 9]),
            &[answer],
            Rcode::NOERROR,
        ),
        (
            "OPT after another record",
            reply(0x8580, 2)
                .record(owner, Type::A, &[192, 0, 2, 2])
                .opt(1232, 0, &[]),
            &[answer, a],
            Rcode::NOERROR,
        ),
        (
            "OPT first",
            reply(0x8580, 2)
                .opt(1232, 0, &[0; 4])
                .record(owner, Type::A, &[192, 0, 2, 2]),
            &[answer, a],
            Rcode::NOERROR,
        ),
        (
            "OPT in the middle",
            reply(0x8580, 3)
                .record(owner, Type::A, &[192, 0, 2, 2])
                .opt(1232, 0, &[0; 8])
                .record(owner, Type::A, &[192, 0, 2, 2]),
            &[answer, a, a],
            Rcode::NOERROR,
        ),
        (
            "a record behind OPT whose RDATA may point: dropped",
            reply(0x8580, 2)
                .opt(1232, 0, &[0; 8])
                .record(owner, Type::NS, &[0xC0, 12]),
            &[answer],
            Rcode::NOERROR,
        ),
        (
            "a record behind OPT that points into it: dropped",
            reply(0x8580, 2)
                .opt(1232, 0, &[0; 8])
                .record(&into_opt, Type::A, &[192, 0, 2, 2]),
            &[answer],
            Rcode::NOERROR,
        ),
        (
            "an extended RCODE",
            reply(0x8587, 1).opt(1232, ttl, &[]),
            &[answer],
            Rcode(0x17),
        ),
        (
            "octets behind the end",
            reply(0x8583, 0).raw(b"garbage"),
            &[answer],
            Rcode::NXDOMAIN,
        ),
    ];
    for (what, reply, expected, rcode) in rows {
        let (adopted, octets, got) = adopt(&reply.octets);
        assert!(adopted, "{what}");
        assert_eq!(listing(&octets), expected, "{what}");
        assert_eq!(got, rcode, "{what}");
        assert!(Message::new(&octets).unwrap().opt().is_none(), "{what}");
        assert_eq!(
            Header::read(&octets).unwrap().flags.0 & 0xFFF0,
            0x8580,
            "{what}: flags as received"
        );
    }
}

#[test]
fn replies_that_cannot_be_are_refused() {
    let question = |text| Build::new(0x8180, [1, 0, 0, 0]).question(text, Type::A);
    let rows = [
        ("nothing", vec![]),
        ("half a header", vec![0; 11]),
        (
            "a query",
            question("example.org.")
                .octets
                .iter()
                .enumerate()
                .map(|(i, &o)| if i == 2 { o & 0x7F } else { o })
                .collect(),
        ),
        ("no question", Build::new(0x8185, [0; 4]).octets),
        (
            "two questions",
            Build::new(0x8180, [2, 0, 0, 0])
                .question("example.org.", Type::A)
                .question("example.org.", Type::A)
                .octets,
        ),
        ("a longer question", question("xexample.org.").octets),
        ("a shorter question", question("xample.org.").octets),
        (
            "a question of the same length and other labels",
            question("exampl.eorg.").octets,
        ),
        (
            "a question that is a pointer",
            Build::new(0x8180, [1, 0, 0, 0])
                .raw(&[0xC0, 12, 0, 1, 0, 1])
                .octets,
        ),
        (
            "a question cut short",
            question("example.org.").octets[..20].to_vec(),
        ),
        ("a record cut short", {
            let r = reply(0x8180, 0).octets;
            r[..r.len() - 1].to_vec()
        }),
        ("counts larger than the data", reply(0x8180, 9).octets),
        (
            "two OPT records",
            reply(0x8180, 2).opt(1232, 0, &[]).opt(1232, 0, &[]).octets,
        ),
        (
            "OPT in the answer section",
            Build::new(0x8180, [1, 1, 0, 0])
                .question("example.org.", Type::A)
                .opt(512, 0, &[])
                .octets,
        ),
        ("longer than the buffer", vec![0; 5_000]),
    ];
    for (what, reply) in rows {
        let (adopted, octets, rcode) = adopt(&reply);
        assert!(!adopted, "{what}");
        assert_eq!(
            (listing(&octets).len(), rcode),
            (0, Rcode::NOERROR),
            "{what}: an empty response"
        );
        assert_eq!(octets.len(), 29, "{what}");
    }
}

#[test]
fn mutated_replies_never_panic() {
    let mut dice = Dice(0xFACE);
    let seed = reply(0x8580, 3)
        .record(&[1, b'a', 0xC0, 12], Type::CNAME, &[1, b'b', 0xC0, 12])
        .opt(1232, 0x8000, &[0, 10, 0, 2, 1, 2])
        .record(&[0xC0, 45], Type::AAAA, &[0; 16])
        .octets;
    let mut count = 0;
    for _ in 0..rounds(40_000) {
        let mut octets = seed.clone();
        for _ in 0..1 + dice.roll(3) {
            let at = dice.roll(octets.len());
            match dice.roll(3) {
                0 => octets[at] = dice.roll(256) as u8,
                1 => octets[at] ^= 1 << dice.roll(8),
                _ => octets.truncate(at.max(1)),
            }
        }
        let (octets_, parsed) = query("eXample.org.", Type::A);
        let (mut buffer, mut state) = ([0xAA; 600], ResponseState::default());
        let mut response = Response::new(&mut buffer, &mut state);
        response.buffer()[..octets.len()].copy_from_slice(&octets);
        if response.adopt(octets.len(), &parsed, &octets_) {
            count += 1;
            let records = response.records().filter(Result::is_ok).count();
            assert_eq!(
                records,
                response.records().count(),
                "what was adopted can be read"
            );
            let _ = response.push(Additional, name("b.example.org.").as_name(), AAAA, &[0; 16]);
            response.fit(12 + dice.roll(150));
            let _ = response.push_opt(1232, 0, &[]);
        }
        let len = response.seal();
        let message = Message::new(&buffer[..len]).unwrap();
        assert!(message.records().all(|record| record.is_ok()));
    }
    assert!(
        count > rounds(1_000) / 2,
        "the mutations are too rough: {count}"
    );
}
