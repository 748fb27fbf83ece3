//! Presentation format: names, flags, mnemonics (RFC 1035, 5.1; RFC 3597, 5; RFC 6895).

use super::{Dice, name, rounds, wire};
use crate::{Class, Flags, Name, NameBuf, NameError, Opcode, Rcode, Type};

#[test]
fn names_are_read_and_written() {
    for (text, octets, written) in [
        (".", &b"\0"[..], "."),
        ("example.org.", b"\x07example\x03org\0", "example.org."),
        ("example.org", b"\x07example\x03org\0", "example.org."),
        ("a\\.b.c.", b"\x03a.b\x01c\0", "a\\.b.c."),
        ("a\\046b.c.", b"\x03a.b\x01c\0", "a\\.b.c."),
        ("a\\\\b.", b"\x03a\\b\0", "a\\\\b."),
        ("a\\000b.", b"\x03a\0b\0", "a\\000b."),
        ("a\\255.", b"\x02a\xFF\0", "a\\255."),
        ("a\\ b.", b"\x03a b\0", "a\\032b."),
        ("\\@.\\$.", b"\x01@\x01$\0", "\\@.\\$."),
        ("*.example.", b"\x01*\x07example\0", "*.example."),
        ("_sip._tcp.", b"\x04_sip\x04_tcp\0", "_sip._tcp."),
        ("x\\\".", b"\x02x\"\0", "x\\\"."),
        ("\\065bc.", b"\x03Abc\0", "Abc."),
    ] {
        let got = name(text);
        assert_eq!(got.as_name().octets(), octets, "{text}");
        assert_eq!(got.to_string(), written, "{text}");
        assert_eq!(name(written), got, "{written} is read back");
    }
}

#[test]
fn bad_names_say_why() {
    let label = "x".repeat(63);
    for (text, error) in [
        (String::new(), NameError::EmptyLabel),
        ("..".into(), NameError::EmptyLabel),
        (".example.".into(), NameError::EmptyLabel),
        ("a..b.".into(), NameError::EmptyLabel),
        (format!("{label}x."), NameError::LabelTooLong),
        (format!("{label}x"), NameError::LabelTooLong),
        (
            format!("{label}.{label}.{label}.{}.", "x".repeat(62)),
            NameError::TooLong,
        ),
        ("a.".repeat(128), NameError::TooLong),
        (format!("{}a", "a.".repeat(127)), NameError::TooLong),
        (format!("{}.", "a.".repeat(127)), NameError::EmptyLabel),
        ("a\\".into(), NameError::Escape),
        ("a\\256.".into(), NameError::Escape),
        ("a\\25".into(), NameError::Escape),
        ("a\\1b2.".into(), NameError::Escape),
    ] {
        assert_eq!(text.parse::<NameBuf>(), Err(error), "{text:?}");
    }
    let longest = format!("{label}.{label}.{label}.{}.", "x".repeat(61));
    assert_eq!(name(&longest).as_name().octets().len(), 255);
    assert_eq!(name(&"a.".repeat(127)).as_name().label_count(), 127);
}

#[test]
fn relative_names_are_completed() {
    let origin = name("example.org.");
    for (text, expected) in [
        ("@", "example.org."),
        ("www", "www.example.org."),
        ("www.", "www."),
        ("a.b", "a.b.example.org."),
        (".", "."),
        ("a\\.", "a\\..example.org."),
    ] {
        let got = NameBuf::parse(text, origin.as_name());
        assert_eq!(got.map(|n| n.to_string()), Ok(expected.into()), "{text}");
    }
    let long = "x.".repeat(122) + "x";
    assert_eq!(
        NameBuf::parse(&long, origin.as_name()),
        Err(NameError::TooLong)
    );
}

#[test]
fn any_name_is_read_back_from_its_text() {
    let mut dice = Dice(0x5EED);
    for _ in 0..rounds(2_000) {
        let mut octets = Vec::new();
        for _ in 0..dice.roll(6) {
            let len = 1 + dice.roll(12);
            octets.push(len as u8);
            octets.extend((0..len).map(|_| dice.roll(256) as u8));
        }
        octets.push(0);
        let text = wire(&octets).to_string();
        assert!(text.is_ascii());
        assert_eq!(name(&text).as_name().octets(), octets, "{text}");
    }
}

#[test]
fn any_text_is_a_name_or_an_error() {
    let mut dice = Dice(0x7E87);
    let alphabet = b"ab.\\019@ \xC3\xA9";
    for _ in 0..rounds(20_000) {
        let text: Vec<u8> = (0..dice.roll(300))
            .map(|_| alphabet[dice.roll(alphabet.len())])
            .collect();
        let text = String::from_utf8_lossy(&text);
        if let Ok(got) = NameBuf::parse(&text, Name::ROOT) {
            assert_eq!(Name::new(got.as_name().octets()), Ok(got.as_name()));
        }
    }
}

#[test]
fn flags_are_spelt_in_wire_order() {
    for (flags, text) in [
        (0, ""),
        (Flags::QR | Flags::RD, "qr,rd"),
        (0x8580, "qr,aa,rd,ra"),
        (0xFFFF, "qr,aa,tc,rd,ra,z,ad,cd"),
        (0x0040, "z"),
        (0x7800, ""),
    ] {
        assert_eq!(Flags(flags).to_string(), text, "{flags:04X}");
    }
    let flags = Flags(0x2C05);
    assert_eq!(
        (flags.opcode(), flags.rcode()),
        (Opcode::UPDATE, Rcode::REFUSED)
    );
    assert_eq!(
        flags.with_rcode(Rcode::BADCOOKIE).rcode(),
        Rcode(7),
        "the low four bits only"
    );
    assert!(flags.has(Flags::AA) && !flags.with(Flags::AA, false).has(Flags::AA));
}

#[test]
fn mnemonics_round_trip() {
    for code in 0..=u16::MAX {
        let (rtype, class) = (Type(code), Class(code));
        assert_eq!(rtype.to_string().parse(), Ok(rtype));
        assert_eq!(rtype.to_string().to_lowercase().parse(), Ok(rtype));
        assert_eq!(format!("TYPE{code}").parse(), Ok(rtype));
        assert_eq!(class.to_string().parse(), Ok(class));
        assert_eq!(format!("class{code}").parse(), Ok(class));
        if let Some(text) = Rcode(code).mnemonic() {
            assert_eq!(Rcode::from_mnemonic(text), Some(Rcode(code)));
        }
    }
    for text in [
        "",
        "TYPE",
        "TYPE65536",
        "TYPE+1",
        "TYPE-1",
        "TYPE1x",
        "NOSUCH",
        "CLASS",
        "A ",
        "TYPE 1",
    ] {
        assert!(text.parse::<Type>().is_err(), "{text:?}");
    }
    for text in ["", "CLASS", "CLASS+1", "CLASS65536", "A", "internet"] {
        assert!(text.parse::<Class>().is_err(), "{text:?}");
    }
    assert_eq!(Rcode(3841).to_string(), "RCODE3841");
    assert_eq!(Opcode(9).to_string(), "OPCODE9");
}

#[test]
fn mnemonics_are_those_of_the_oracle() {
    use hickory_proto::rr::RecordType;
    for code in 1..=300u16 {
        let theirs = RecordType::from(code);
        if !matches!(theirs, RecordType::Unknown(_)) {
            assert_eq!(Type(code).to_string(), theirs.to_string(), "{code}");
        }
    }
}

#[test]
fn meta_types_are_those_of_rfc_6895() {
    for (rtype, meta) in [
        (Type::A, false),
        (Type::OPT, true),
        (Type::NXNAME, true),
        (Type::TSIG, true),
        (Type::AXFR, true),
        (Type::ANY, true),
        (Type::URI, false),
        (Type(127), false),
        (Type(65280), false),
    ] {
        assert_eq!(rtype.is_meta(), meta, "{rtype}");
    }
}
