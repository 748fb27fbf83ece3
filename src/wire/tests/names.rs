//! Names in every shape that a packet can give them (RFC 1035, 4.1.4; RFC 9267; reliability W1 and W2).

use super::{Build, labels, name, wire};
use crate::{HEADER_LEN, Message, Name, NameBuf, NameError, Parsed, Qname, Refusal, Type};

/// What is expected of a shape: how long the name is, or why it is none.
type Expected = Result<usize, NameError>;

fn tail(mut octets: Vec<u8>, end: &[u8]) -> Vec<u8> {
    octets.extend_from_slice(end);
    octets
}

/// Shapes of a name that stands at 12, where a QNAME stands: as a QNAME and as a name of any message.
fn shapes() -> Vec<(&'static str, Vec<u8>, Expected, Expected)> {
    use NameError::*;
    let same = |what, octets, expected: Expected| (what, octets, expected, expected);
    vec![
        same("the root", vec![0], Ok(1)),
        same("one label", vec![1, b'a', 0], Ok(3)),
        same("a label of 63 octets", tail(labels(1, 63), &[0]), Ok(65)),
        same(
            "a name of 255 octets, 127 labels",
            tail(labels(127, 1), &[0]),
            Ok(255),
        ),
        same(
            "a name of 255 octets, long labels",
            tail(labels(3, 63), &tail(labels(1, 61), &[0])),
            Ok(255),
        ),
        same(
            "a name of 256 octets",
            tail(labels(3, 63), &tail(labels(1, 62), &[0])),
            Err(TooLong),
        ),
        same("128 labels", tail(labels(128, 1), &[0]), Err(TooLong)),
        same("endless labels", labels(400, 1), Err(TooLong)),
        same(
            "four labels of 63 octets",
            tail(labels(4, 63), &[0]),
            Err(TooLong),
        ),
        same(
            "label type 01, once a bit string",
            vec![0x41, 0x08, 0xFF, 0],
            Err(LabelType),
        ),
        same("label type 10", vec![0x80, 1, 2, 0], Err(LabelType)),
        same(
            "a length of 64",
            tail(vec![64], &[b'x'; 70]),
            Err(LabelType),
        ),
        same(
            "a length of 191",
            tail(vec![0xBF], &[b'x'; 200]),
            Err(LabelType),
        ),
        same("nothing", vec![], Err(Short)),
        same("a length and nothing", vec![5], Err(Short)),
        same("a label cut short", vec![5, b'a', b'b'], Err(Short)),
        same("no root at the end", vec![1, b'a'], Err(Short)),
        same("a pointer to itself", vec![0xC0, 12], Err(Pointer)),
        same(
            "a label and a pointer to itself",
            vec![1, b'a', 0xC0, 14],
            Err(Pointer),
        ),
        same(
            "a label and a pointer to its own start",
            vec![1, b'a', 0xC0, 12],
            Err(Pointer),
        ),
        same("a forward pointer", vec![0xC0, 14, 0], Err(Pointer)),
        same(
            "a forward pointer over a label",
            vec![1, b'a', 0xC0, 16, 0],
            Err(Pointer),
        ),
        same("a pointer past the end", vec![0xFF, 0xFF], Err(Pointer)),
        same(
            "a pointer to the header's first octet",
            vec![0xC0, 0],
            Err(Pointer),
        ),
        same(
            "a pointer to a zero octet of the header",
            vec![0xC0, 8],
            Err(Pointer),
        ),
        same(
            "a label and a pointer into the header",
            vec![1, b'a', 0xC0, 11],
            Err(Pointer),
        ),
        ("half a pointer", vec![0xC0], Err(Pointer), Err(Short)),
        (
            "a label and half a pointer",
            vec![1, b'a', 0xC0],
            Err(Pointer),
            Err(Short),
        ),
        same(
            "two pointers at each other",
            vec![0xC0, 14, 0xC0, 12],
            Err(Pointer),
        ),
        same("octets above 127", vec![2, 0xFF, 0x80, 0], Ok(4)),
        same("a zero octet in a label", vec![3, b'a', 0, b'b', 0], Ok(5)),
        same("a dot in a label", vec![3, b'a', b'.', b'b', 0], Ok(5)),
    ]
}

#[test]
fn every_shape_is_a_name_or_says_why_not() {
    for (what, octets, as_qname, as_name) in shapes() {
        let message = Build::new(0, [1, 0, 0, 0]).raw(&octets).octets;
        let got = NameBuf::read(&message, HEADER_LEN);
        let len = got.map(|(name, _)| name.as_name().octets().len());
        assert_eq!(len, as_name, "{what}: as a name");
        if let Ok((name, behind)) = got {
            assert_eq!(behind, message.len(), "{what}: the place behind");
            assert_eq!(name.as_name().octets(), octets, "{what}");
        }
        let mut qname = Qname::root();
        let got = qname.set_from_message(&message, HEADER_LEN);
        assert_eq!(
            got.map(|behind| behind - HEADER_LEN),
            as_qname,
            "{what}: as QNAME"
        );
        assert_eq!(wire_error(&octets), as_name, "{what}: alone");

        let whole = Build::new(0, [1, 0, 0, 0]).raw(&octets).raw(&[0, 1, 0, 1]);
        let parsed = Parsed::default().read(&whole.octets);
        let refused = as_qname.map(|_| ()).map_err(|_| Refusal::FormErr);
        if !matches!(as_qname, Err(NameError::Short)) {
            assert_eq!(parsed, refused, "{what}: a whole query");
        } else {
            assert!(parsed.is_err(), "{what}: a whole query");
        }
    }
}

/// `Name::new` of octets; what is short in a message may be misread behind its end here, so shapes that end early are as they are.
fn wire_error(octets: &[u8]) -> Expected {
    match Name::new(octets) {
        Ok(name) => Ok(name.octets().len()),
        // Alone, half a pointer is a pointer, and what is cut short is known to be too long only as far as it goes.
        Err(NameError::Pointer) if octets.last() == Some(&0xC0) => Err(NameError::Short),
        Err(NameError::Short) if octets.len() > 255 => Err(NameError::TooLong),
        Err(error) => Err(error),
    }
}

#[test]
fn a_compressed_owner_is_read_through_its_pointers() {
    let question = Build::new(0, [1, 0, 0, 0]).question("www.example.org.", Type::A);
    let end = question.octets.len();
    for (what, owner, expected) in [
        ("QNAME", &[0xC0, 12][..], Ok("www.example.org.")),
        ("a suffix", &[0xC0, 16], Ok("example.org.")),
        ("the root by pointer", &[0xC0, 28], Ok(".")),
        (
            "a label before a pointer",
            &[2, b'n', b's', 0xC0, 16],
            Ok("ns.example.org."),
        ),
        (
            "into the middle of a label",
            &[0xC0, 13],
            Err(NameError::Short),
        ),
        (
            "the type behind QNAME: root, read as a name",
            &[0xC0, 29],
            Ok("."),
        ),
        ("itself", &[0xC0, 33], Err(NameError::Pointer)),
        ("behind itself", &[0xC0, 40], Err(NameError::Pointer)),
        ("the header", &[0xC0, 4], Err(NameError::Pointer)),
        // The class, 1, is a label's length, and the label this name's own first octet: there is no prior name.
        (
            "octets that run on into itself",
            &[0xC0, 32, 0],
            Err(NameError::Short),
        ),
    ] {
        assert_eq!(end, 33);
        let message = Build::new(0, [1, 0, 0, 0])
            .question("www.example.org.", Type::A)
            .raw(owner)
            .octets;
        match (NameBuf::read(&message, end), expected) {
            (Ok((got, behind)), Ok(text)) => {
                assert_eq!(got.to_string(), text, "{what}");
                assert_eq!(behind, end + owner.len(), "{what}");
            }
            (Err(_), Err(_)) => {}
            (got, expected) => panic!("{what}: {got:?}, expected {expected:?}"),
        }
    }
}

/// A message whose `hops`-th pointer leads to the one before it, and so on down to a root label at 12.
fn chain(hops: usize) -> (Vec<u8>, usize) {
    let mut octets = Build::new(0, [0; 4]).raw(&[0]).octets;
    let mut target = HEADER_LEN;
    for _ in 0..hops {
        let at = octets.len();
        octets.extend_from_slice(&(0xC000 | target as u16).to_be_bytes());
        target = at;
    }
    (octets, target)
}

#[test]
fn a_chain_of_pointers_is_bounded() {
    let (octets, at) = chain(126);
    assert_eq!(
        NameBuf::read(&octets, at).map(|(n, _)| n),
        Ok(NameBuf::root())
    );
    for hops in [128, 1_000, 8_000] {
        let (octets, at) = chain(hops);
        assert_eq!(
            NameBuf::read(&octets, at).err(),
            Some(NameError::Pointer),
            "{hops} pointers"
        );
    }
}

#[test]
fn a_name_that_grows_too_long_through_pointers_is_refused() {
    // 63 octets of label at 12, then three more and a pointer each; the fifth part would pass 255 octets.
    let mut octets = Build::new(0, [0; 4]).raw(&labels(1, 62)).raw(&[0]).octets;
    let mut target = HEADER_LEN;
    for part in 2..=5 {
        let at = octets.len();
        octets.extend_from_slice(&labels(1, 62));
        octets.extend_from_slice(&(0xC000 | target as u16).to_be_bytes());
        let got = NameBuf::read(&octets, at).map(|(name, _)| name.as_name().octets().len());
        let expected = if part <= 4 {
            Ok(63 * part + 1)
        } else {
            Err(NameError::TooLong)
        };
        assert_eq!(got, expected, "{part} parts");
        target = at;
    }
}

#[test]
fn an_opt_or_tsig_owner_of_any_bad_shape_is_formerr() {
    for (what, octets, _, expected) in shapes() {
        if matches!(expected, Ok(_) | Err(NameError::Short)) {
            continue;
        }
        // The shapes point at places counted from 12; an owner at 19 makes self-pointers of them by a shift.
        let shifted: Vec<u8> = octets
            .iter()
            .enumerate()
            .map(|(i, &octet)| {
                let behind_pointer = i > 0 && octets[i - 1] == 0xC0 && octet >= 12;
                if behind_pointer { octet + 7 } else { octet }
            })
            .collect();
        for rtype in [Type::OPT, Type::TSIG] {
            let message =
                Build::new(0, [1, 0, 0, 1])
                    .question("a.", Type::A)
                    .record(&shifted, rtype, &[]);
            assert_eq!(
                Parsed::default().read(&message.octets),
                Err(Refusal::FormErr),
                "{what} as owner of {rtype}"
            );
        }
    }
}

#[test]
fn rdata_names_stay_within_their_rdata() {
    let message = Build::new(0x8000, [1, 4, 0, 0])
        .question("example.org.", Type::MX)
        .record(&[0xC0, 12], Type::MX, &[0, 10, 2, b'm', b'x', 0xC0, 12])
        .record(&[0xC0, 12], Type::MX, &[0, 10, 2, b'm'])
        .record(&[0xC0, 12], Type::MX, &[0, 10])
        .record(&[0xC0, 12], Type::CNAME, &[0xC0]);
    let message = Message::new(&message.octets).unwrap();
    let got: Vec<_> = message
        .records()
        .map(|record| {
            let record = record.unwrap();
            record.rdata_name(if record.rtype == Type::MX { 2 } else { 0 })
        })
        .collect();
    assert_eq!(got[0], Ok(name("mx.example.org.")));
    assert!(got[1..].iter().all(Result::is_err), "{got:?}");
}

#[test]
fn case_is_ignored_but_kept() {
    let (upper, lower) = (name("WwW.eXample.ORG."), name("www.example.org."));
    assert_eq!(upper, lower);
    assert_eq!(upper.to_string(), "WwW.eXample.ORG.");
    assert_eq!(upper.to_lower().to_string(), "www.example.org.");
    // RFC 4343, section 3: only the 26 ASCII letters have case; 0x5B is `[` and 0x7B is `{`.
    assert_ne!(wire(&[1, 0x5B, 0]), wire(&[1, 0x7B, 0]));
    assert_ne!(wire(&[1, 0xC1, 0]), wire(&[1, 0xE1, 0]));
    let qname = Qname::from(upper.as_name());
    assert!(!qname.was_lower());
    assert_eq!(qname.name().octets(), lower.as_name().octets());
    assert_eq!(qname.hash(0), Qname::from(lower.as_name()).hash(0));
}

#[test]
fn every_suffix_has_the_hash_of_its_own_name() {
    for text in [
        "www.example.org.",
        ".",
        "a.b.c.d.e.f.g.h.",
        "averyveryverylonglabel.x.example.",
    ] {
        let qname = Qname::from(name(text).as_name());
        for skip in 0..=qname.label_count() + 2 {
            let suffix = qname.suffix(skip);
            assert_eq!(qname.hash(skip), crate::name_hash(suffix), "{suffix}");
            assert_eq!(qname.hash(skip), Qname::from(suffix).hash(0), "{suffix}");
        }
        assert!(qname.suffix(qname.label_count()).is_root());
    }
    // Different splits of the same octets are different names.
    let hash = |text| crate::name_hash(name(text).as_name());
    assert_ne!(hash("ab.c."), hash("a.bc."));
    assert_ne!(hash("abc."), hash("ab\\000."));
}

#[test]
fn ancestry_goes_by_labels() {
    for (below, above, within) in [
        ("www.example.org.", "example.org.", true),
        ("www.example.org.", "EXAMPLE.org.", true),
        ("example.org.", "example.org.", true),
        ("example.org.", ".", true),
        (".", ".", true),
        ("badexample.org.", "example.org.", false),
        ("example.org.", "www.example.org.", false),
        ("a\\007example.org.", "example.org.", false),
    ] {
        assert_eq!(
            name(below).as_name().is_within(name(above).as_name()),
            within,
            "{below} {above}"
        );
    }
    assert_eq!(
        name("www.example.org.").as_name().parent(),
        Some(name("example.org.").as_name())
    );
    assert_eq!(Name::ROOT.parent(), None);
    assert_eq!(name("a.b.c.").as_name().label_count(), 3);
    assert!(name("*.example.").as_name().is_wildcard());
    assert!(!name("**.example.").as_name().is_wildcard());
}

#[test]
fn dname_substitution_overflows_at_255_octets() {
    // RFC 6672, section 2.2.
    let (from, to) = (name("example.org."), name("example.net."));
    let substitute =
        |text: &str| NameBuf::substitute(name(text).as_name(), from.as_name(), to.as_name());
    assert_eq!(
        substitute("a.b.example.org."),
        Some(Ok(name("a.b.example.net.")))
    );
    assert_eq!(substitute("example.com."), None);
    assert_eq!(substitute("xexample.org."), None);
    let long = tail(labels(120, 1), from.as_name().octets());
    let longer = tail(labels(100, 1), &[0]);
    let got = NameBuf::substitute(wire(&long), from.as_name(), wire(&longer));
    assert_eq!(got, Some(Err(NameError::TooLong)));
}

#[test]
fn prepending_keeps_the_limits() {
    let long = tail(labels(126, 1), &[0]);
    assert_eq!(
        NameBuf::prepend(b"a", wire(&long)).map(|n| n.as_name().octets().len()),
        Ok(255)
    );
    assert_eq!(
        NameBuf::prepend(b"ab", wire(&long)),
        Err(NameError::TooLong)
    );
    assert_eq!(
        NameBuf::prepend(b"", Name::ROOT),
        Err(NameError::EmptyLabel)
    );
    assert_eq!(
        NameBuf::prepend(&[b'a'; 64], Name::ROOT),
        Err(NameError::LabelTooLong)
    );
}
