//! What a datagram may be before it is looked up (RFC 9619, 6891, 8945; CoreDNS's policy on headers; reliability W4 to W6).

use super::{Build, Dice, name, rounds};
use crate::{Class, EdnsOption, Flags, Message, Parsed, Refusal, Type};

fn read(octets: &[u8]) -> (Parsed, Result<(), Refusal>) {
    let mut parsed = Parsed::default();
    let result = parsed.read(octets);
    (parsed, result)
}

#[test]
fn headers_are_judged_first() {
    use Refusal::*;
    let opcode = |n: u16| n << 11;
    for (what, flags, counts, expected) in [
        ("a query", 0, [1, 0, 0, 0], Ok(())),
        ("every bit but QR and opcode", 0x07FF, [1, 0, 0, 0], Ok(())),
        ("NOTIFY", opcode(4), [1, 0, 0, 0], Ok(())),
        ("a response", 0x8000, [1, 0, 0, 0], Err(Silence)),
        (
            "a response of an unknown opcode",
            0x8000 | opcode(9),
            [1, 0, 0, 0],
            Err(Silence),
        ),
        (
            "a response with no question",
            0x8000,
            [0, 0, 0, 0],
            Err(Silence),
        ),
        ("IQUERY", opcode(1), [1, 0, 0, 0], Err(NotImp)),
        ("STATUS", opcode(2), [1, 0, 0, 0], Err(NotImp)),
        ("opcode 3", opcode(3), [1, 0, 0, 0], Err(NotImp)),
        ("UPDATE", opcode(5), [1, 0, 0, 0], Ok(())),
        ("UPDATE of two zones", opcode(5), [2, 0, 0, 0], Err(FormErr)),
        (
            "UPDATE, all counts full",
            opcode(5),
            [1, u16::MAX, u16::MAX, u16::MAX],
            Err(FormErr),
        ),
        ("DSO", opcode(6), [0, 0, 0, 0], Err(NotImp)),
        (
            "opcode 15, all counts full",
            opcode(15),
            [u16::MAX; 4],
            Err(NotImp),
        ),
        ("QDCOUNT 0", 0, [0, 0, 0, 0], Err(FormErr)),
        ("QDCOUNT 2", 0, [2, 0, 0, 0], Err(FormErr)),
        ("QDCOUNT 65535", 0, [u16::MAX, 0, 0, 0], Err(FormErr)),
        ("ANCOUNT 2", 0, [1, 2, 0, 0], Err(FormErr)),
        ("NSCOUNT 2", 0, [1, 0, 2, 0], Err(FormErr)),
        ("ARCOUNT 3", 0, [1, 0, 0, 3], Err(FormErr)),
        ("ANCOUNT 1 and nothing there", 0, [1, 1, 0, 0], Err(FormErr)),
        ("NSCOUNT 1 and nothing there", 0, [1, 0, 1, 0], Err(FormErr)),
        ("ARCOUNT 2 and nothing there", 0, [1, 0, 0, 2], Err(FormErr)),
        ("all counts full", 0, [u16::MAX; 4], Err(FormErr)),
    ] {
        let octets = Build::new(flags, counts)
            .question("example.org.", Type::A)
            .octets;
        let (parsed, result) = read(&octets);
        assert_eq!(result, expected, "{what}");
        if result != Err(Silence) {
            assert_eq!(
                (parsed.id, parsed.flags),
                (0x1234, Flags(flags)),
                "{what}: to be echoed"
            );
        }
        // A message of the same counts with as much behind it as a datagram can hold is refused as fast, by its header.
        if matches!(result, Err(NotImp)) || counts.contains(&u16::MAX) {
            assert_eq!(
                read(&[&octets[..], &[0; 60_000]].concat()).1,
                expected,
                "{what}: padded"
            );
        }
    }
}

#[test]
fn short_datagrams() {
    let whole = Build::new(Flags::RD, [1, 0, 0, 1])
        .question("example.org.", Type::AAAA)
        .opt(1232, 0x8000, &[0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8])
        .octets;
    assert_eq!(read(&whole).1, Ok(()));
    for len in 0..whole.len() {
        let expected = if len < 12 {
            Refusal::Silence
        } else {
            Refusal::FormErr
        };
        assert_eq!(read(&whole[..len]).1, Err(expected), "{len} octets");
    }
    assert_eq!(read(&vec![0; 70_000]).1, Err(Refusal::FormErr));
}

#[test]
fn what_a_query_says() {
    let octets = Build::new(Flags::RD | Flags::CD, [1, 0, 0, 1])
        .question("wWw.Example.ORG.", Type::AAAA)
        .opt(4096, 0x8001, &[0, 3, 0, 0, 0, 10, 0, 2, 7, 9])
        .octets;
    let (parsed, result) = read(&octets);
    assert_eq!(result, Ok(()));
    assert_eq!(parsed.qname.name().to_string(), "www.example.org.");
    assert_eq!((parsed.qtype, parsed.qclass), (Type::AAAA, Class::IN));
    assert_eq!(parsed.question_end, 33);
    assert!(parsed.dnssec_ok());
    assert_eq!(parsed.udp_limit(), 4096);
    let edns = parsed.edns.unwrap();
    assert_eq!(
        (edns.version, edns.extended_rcode, edns.flags),
        (0, 0, 0x8001)
    );
    let options: Vec<_> = edns.options(&octets).map(|o| (o.code, o.data)).collect();
    assert_eq!(
        options,
        [(EdnsOption::NSID, &[][..]), (EdnsOption::COOKIE, &[7, 9])]
    );
    // Of another message the options are nothing, rather than a panic.
    assert_eq!(edns.options(&[]).count(), 0);
}

#[test]
fn udp_limits() {
    for (size, limit) in [
        (0, 512),
        (511, 512),
        (512, 512),
        (1232, 1232),
        (65_535, 65_535),
    ] {
        let octets = Build::new(0, [1, 0, 0, 1])
            .question(".", Type::NS)
            .opt(size, 0, &[]);
        assert_eq!(read(&octets.octets).0.udp_limit(), limit, "{size}");
    }
    assert_eq!(super::query(".", Type::NS).1.udp_limit(), 512);
}

#[test]
fn edns_and_tsig_records() {
    use Refusal::*;
    let base = |ar| Build::new(0, [1, 0, 0, ar]).question("example.org.", Type::A);
    let tsig = name("key.example.");
    let tsig = tsig.as_name().octets();
    for (what, message, expected) in [
        ("OPT", base(1).opt(1232, 0, &[]), Ok(())),
        ("unknown EDNS flags", base(1).opt(1232, 0x7FFF, &[]), Ok(())),
        (
            "version 1",
            base(1).opt(1232, 0x0001_0000, &[]),
            Err(BadVers),
        ),
        (
            "version 255",
            base(1).opt(1232, 0x00FF_0000, &[]),
            Err(BadVers),
        ),
        (
            "version 1 with broken options",
            base(1).opt(1232, 0x0001_0000, &[0]),
            Err(FormErr),
        ),
        (
            "two OPT records",
            base(2).opt(1232, 0, &[]).opt(1232, 0, &[]),
            Err(FormErr),
        ),
        (
            "OPT with an owner",
            base(1).record(b"\x01a\0", Type::OPT, &[]),
            Err(FormErr),
        ),
        (
            "OPT with the root by pointer",
            base(1).record(&[0xC0, 24], Type::OPT, &[]),
            Err(FormErr),
        ),
        (
            "an option's length past the end",
            base(1).opt(1232, 0, &[0, 3, 0, 1]),
            Err(FormErr),
        ),
        (
            "an option's length past everything",
            base(1).opt(1232, 0, &[0, 3, 0xFF, 0xFF]),
            Err(FormErr),
        ),
        (
            "half an option",
            base(1).opt(1232, 0, &[0, 3, 0]),
            Err(FormErr),
        ),
        (
            "the same option twice",
            base(1).opt(1232, 0, &[0, 3, 0, 0, 0, 3, 0, 0]),
            Ok(()),
        ),
        (
            "4,000 options",
            base(1).opt(1232, 0, &[0, 3, 0, 0].repeat(4_000)),
            Ok(()),
        ),
        ("TSIG", base(1).record(tsig, Type::TSIG, &[1, 2, 3]), Ok(())),
        (
            "OPT, TSIG",
            base(2).opt(1232, 0, &[]).record(tsig, Type::TSIG, &[]),
            Ok(()),
        ),
        (
            "TSIG, OPT",
            base(2).record(tsig, Type::TSIG, &[]).opt(1232, 0, &[]),
            Err(FormErr),
        ),
        (
            "two TSIG records",
            base(2)
                .record(tsig, Type::TSIG, &[])
                .record(tsig, Type::TSIG, &[]),
            Err(FormErr),
        ),
        (
            "another additional record",
            base(1).record(tsig, Type::A, &[1, 2, 3, 4]),
            Ok(()),
        ),
        (
            "RDATA past the end",
            base(1).raw(&[0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 9, 1]),
            Err(FormErr),
        ),
    ] {
        assert_eq!(read(&message.octets).1, expected, "{what}");
    }
    for (what, counts) in [("answer", [1, 1, 0, 0]), ("authority", [1, 0, 1, 0])] {
        let misplaced = |rtype| {
            let message = Build::new(0, counts).question("a.", Type::A);
            read(&message.record(&[0], rtype, &[]).octets).1
        };
        assert_eq!(
            misplaced(Type::OPT),
            Err(FormErr),
            "OPT in the {what} section"
        );
        assert_eq!(
            misplaced(Type::TSIG),
            Err(FormErr),
            "TSIG in the {what} section"
        );
        assert_eq!(
            misplaced(Type::SOA),
            Ok(()),
            "SOA in the {what} section, as IXFR and NOTIFY have it"
        );
    }
}

#[test]
fn where_tsig_begins() {
    let message = Build::new(0, [1, 0, 0, 2])
        .question("a.", Type::A)
        .opt(512, 0, &[])
        .record(b"\x01k\0", Type::TSIG, &[9]);
    let (parsed, result) = read(&message.octets);
    assert_eq!(result, Ok(()));
    let at = parsed.tsig.unwrap() as usize;
    assert_eq!(&message.octets[at..at + 5], &[1, b'k', 0, 0, 250]);
}

#[test]
fn nothing_of_the_last_query_stays() {
    let rich = Build::new(0, [1, 0, 0, 2])
        .question("www.example.org.", Type::A)
        .opt(1232, 0x8000, &[])
        .record(&[0], Type::TSIG, &[]);
    let mut parsed = Parsed::default();
    assert_eq!(parsed.read(&rich.octets), Ok(()));
    let plain = Build::new(0, [1, 0, 0, 0]).question("x.", Type::NS);
    assert_eq!(parsed.read(&plain.octets), Ok(()));
    assert_eq!(
        (parsed.edns, parsed.tsig, parsed.udp_limit()),
        (None, None, 512)
    );
    assert_eq!(parsed.qname.name(), name("x.").as_name());
    assert_eq!(parsed.qname.suffix(7), name(".").as_name());
    let _ = parsed.read(&rich.octets);
    let notimp = Build::new(6 << 11, [1, 0, 0, 0]).question("x.", Type::SOA);
    assert_eq!(parsed.read(&notimp.octets), Err(Refusal::NotImp));
    assert_eq!(
        (parsed.question_end, parsed.edns),
        (0, None),
        "NOTIMP echoes no question"
    );
}

/// Every type and the classes of W7 are read; what they mean is not the wire's to say.
#[test]
fn every_type_is_a_question() {
    for code in 0..=u16::MAX {
        let octets = Build::new(0, [1, 0, 0, 0])
            .question("a.", Type(code))
            .octets;
        let (parsed, result) = read(&octets);
        assert_eq!((result, parsed.qtype), (Ok(()), Type(code)));
    }
}

#[test]
fn counts_larger_than_the_data_end_a_message_at_once() {
    for counts in [
        [u16::MAX; 4],
        [0, u16::MAX, u16::MAX, u16::MAX],
        [1, 0, 0, u16::MAX],
    ] {
        for len in [0, 1, 11, 88, 60_000] {
            let octets = Build::new(0x8000, counts).raw(&vec![0; len]).octets;
            let message = Message::new(&octets).unwrap();
            let records = message.records().count();
            assert!(
                records <= 1 + len / 11,
                "{counts:?} {len}: {records} records"
            );
        }
    }
}

#[test]
fn random_and_mutated_datagrams_never_panic() {
    let mut dice = Dice(0xD1CE);
    let seed = Build::new(Flags::RD, [1, 0, 0, 2])
        .question("www.example.org.", Type::A)
        .opt(1232, 0x8000, &[0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8])
        .record(&[3, b'k', b'e', b'y', 0xC0, 16], Type::TSIG, &[0; 30])
        .octets;
    let mut accepted = 0;
    for round in 0..rounds(60_000) {
        let mut octets = if round % 4 == 0 {
            (0..dice.roll(120)).map(|_| dice.roll(256) as u8).collect()
        } else {
            seed.clone()
        };
        for _ in 0..dice.roll(4) {
            if octets.is_empty() {
                break;
            }
            let at = dice.roll(octets.len());
            match dice.roll(4) {
                0 => octets[at] = dice.roll(256) as u8,
                1 => octets[at] ^= 1 << dice.roll(8),
                2 => octets.truncate(at),
                _ => octets.insert(at, 0xC0),
            }
        }
        let (parsed, result) = read(&octets);
        if result.is_ok() {
            accepted += 1;
            assert!(parsed.question_end as usize <= octets.len());
            assert!(parsed.tsig.is_none_or(|at| (at as usize) < octets.len()));
            if let Some(edns) = parsed.edns {
                let used: usize = edns.options(&octets).map(|o| 4 + o.data.len()).sum();
                assert_eq!(used, (edns.options_end - edns.options_start) as usize);
            }
        }
        if let Some(message) = Message::new(&octets) {
            for record in message.records().flatten() {
                let _ = (
                    record.owner(),
                    record.rdata_name(0),
                    record.soa_minimum(),
                    record.rdata(),
                );
            }
            let _ = (message.rcode(), message.question().is_ok());
        }
    }
    assert!(
        accepted > rounds(1_000) / 2,
        "the mutations are too rough: {accepted}"
    );
}

/// A query with so many additional records to come.
fn base(additional: u16) -> Build {
    Build::new(0, [1, 0, 0, additional]).question("example.org.", Type::A)
}

/// The options of an OPT record as text.
fn told(opt: &crate::Opt) -> String {
    let options: Vec<_> = opt
        .options()
        .map(|option| format!("{} {}", option.code, option.data.escape_ascii()))
        .collect();
    options.join(", ")
}

#[test]
fn options_are_set_replaced_appended_and_removed() {
    let query = base(1).opt(
        1_400,
        0x8000,
        b"\0\x08\0\x02ab\xFD\xE9\0\0\0\x03\0\x01c\0\x08\0\x01d",
    );
    let (parsed, read) = read(&query.octets);
    assert_eq!(read, Ok(()));
    let edns = parsed.edns.expect("an OPT record");
    let opt = crate::Opt::of(&edns, &query.octets);
    assert_eq!((opt.udp_size, opt.version, opt.flags), (1_400, 0, 0x8000));
    assert_eq!(told(&opt), "8 ab, 65001 , 3 c, 8 d");
    let option = |code, data: &'static [u8]| EdnsOption { code, data };
    let changed = |change: &dyn Fn(&mut crate::Opt)| {
        let mut opt = opt.clone();
        change(&mut opt);
        told(&opt)
    };
    for (got, expected) in [
        (
            changed(&|opt| assert_eq!(opt.replace(option(8, b"longer")), Ok(true))),
            "8 longer, 65001 , 3 c, 8 d",
        ),
        (
            changed(&|opt| assert_eq!(opt.replace(option(3, b"")), Ok(true))),
            "8 ab, 65001 , 3 , 8 d",
        ),
        (
            changed(&|opt| assert_eq!(opt.replace(option(9, b"x")), Ok(false))),
            "8 ab, 65001 , 3 c, 8 d",
        ),
        (
            changed(&|opt| opt.set(option(65_001, b"x")).expect("room")),
            "8 ab, 65001 x, 3 c, 8 d",
        ),
        (
            changed(&|opt| opt.set(option(9, b"x")).expect("room")),
            "8 ab, 65001 , 3 c, 8 d, 9 x",
        ),
        (
            changed(&|opt| opt.append(option(3, b"x")).expect("room")),
            "8 ab, 65001 , 3 c, 8 d, 3 x",
        ),
        (changed(&|opt| assert!(opt.remove(8))), "65001 , 3 c"),
        (
            changed(&|opt| assert!(!opt.remove(9))),
            "8 ab, 65001 , 3 c, 8 d",
        ),
    ] {
        assert_eq!(got, expected);
    }
    assert_eq!(opt.get(8), Some(option(8, b"ab")));
    assert_eq!(opt.get(9), None);
    // RDATA has 65,535 octets at most.
    let large: &'static [u8] = &[0; 65_000];
    let mut full = opt.clone();
    assert_eq!(full.append(option(9, large)), Ok(()));
    assert_eq!(full.append(option(9, &[0; 600])), Err(crate::Full));
    assert_eq!(full.replace(option(8, &[0; 600])), Err(crate::Full));
    assert_eq!(full.append(option(9, &[0; 65_536])), Err(crate::Full));
    assert_eq!(full.options().count(), 5);
}

#[test]
fn queries_are_composed() {
    let signed = base(2)
        .opt(4_096, 0x8000, &[0, 3, 0, 0])
        .record(&[0], Type::TSIG, &[1; 16]);
    let (parsed, read_signed) = read(&signed.octets);
    assert_eq!(read_signed, Ok(()));
    assert!(parsed.tsig.is_some());
    let edns = parsed.edns.expect("an OPT record");
    let mut opt = crate::Opt::of(&edns, &signed.octets);
    opt.udp_size = 1_232;
    let other = super::name("Other.example.");
    let question = (other.as_name(), Type::AAAA, Class::IN);
    let mut out = b"what was there".to_vec();
    let flags = Flags(Flags::RD | Flags::CD | Flags::QR);
    crate::compose((0x4711, flags), question, Some(&opt), &mut out).expect("room");
    let (composed, read_composed) = read(&out);
    assert_eq!(read_composed, Ok(()));
    assert_eq!((composed.id, composed.flags.0), (0x4711, 0x0110), "a query");
    assert_eq!(composed.qname.name().to_string(), "other.example.");
    assert!(out.windows(5).any(|five| five == b"Other"), "case is kept");
    assert_eq!((composed.qtype, composed.qclass), (Type::AAAA, Class::IN));
    assert_eq!(composed.tsig, None, "no signature of other octets");
    let edns = composed.edns.expect("an OPT record");
    assert_eq!((edns.udp_size, edns.flags), (1_232, 0x8000));
    assert_eq!(edns.options(&out).count(), 1);

    crate::compose((1, flags), question, None, &mut out).expect("room");
    let (composed, read_composed) = read(&out);
    assert_eq!((read_composed, composed.edns), (Ok(()), None));

    // An OPT record that has room in RDATA and none in a message.
    let mut large = crate::Opt::new(512);
    let data = &[0; 65_531];
    large
        .append(EdnsOption { code: 65_001, data })
        .expect("room");
    let composed = crate::compose((1, flags), question, Some(&large), &mut out);
    assert_eq!((composed, out.len()), (Err(crate::Full), 0));
}

#[test]
fn a_udp_size_is_written_over() {
    for before in [0, 1] {
        let mut query = base(1 + before);
        for _ in 0..before {
            query = query.record(&[0], Type::A, &[192, 0, 2, 1]);
        }
        let query = query.opt(4_096, 0x8000, &[0, 3, 0, 0]);
        let edns = read(&query.octets).0.edns.expect("an OPT record");
        let mut octets = query.octets.clone();
        edns.write_udp_size(&mut octets, 1_232);
        let mut expected = edns;
        expected.udp_size = 1_232;
        assert_eq!(read(&octets).0.edns, Some(expected));
        edns.write_udp_size(&mut octets, 4_096);
        assert_eq!(octets, query.octets);
        // Other octets are not what was read, and nobody panics.
        edns.write_udp_size(&mut octets[..20], 1_232);
        edns.write_udp_size(&mut [], 1_232);
    }
}
