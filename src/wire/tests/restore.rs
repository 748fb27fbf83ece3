//! The way back from another question to the client's.

use super::{Dice, name, query, rounds};
use crate::reencode::{Edit, Place, Verbatim};
use crate::{Class, Message, Name, NameBuf, NameError, Response, ResponseState, Section, Type};

/// What is about the first name is about the second.
struct Renamed(NameBuf, NameBuf);

impl Edit for Renamed {
    fn name(&mut self, _: Place, name: Name<'_>) -> Result<Option<NameBuf>, NameError> {
        NameBuf::substitute(name, self.0.as_name(), self.1.as_name()).transpose()
    }
}

/// A record's owner, type, TTL and RDATA, nothing compressed, in lower case.
type Plain = (String, Type, u32, Vec<u8>);

/// The question and the records of a message.
fn read(octets: &[u8]) -> (NameBuf, Vec<Plain>) {
    let message = Message::new(octets).expect("a header");
    let plain = |record: Result<crate::Record<'_>, NameError>| {
        let record = record.expect("a record");
        let mut rdata = Vec::new();
        crate::reencode::rdata(&record, &mut Verbatim, &mut rdata).expect("RDATA");
        let owner = record.owner().expect("an owner").to_lower().to_string();
        (owner, record.rtype, record.ttl, rdata.to_ascii_lowercase())
    };
    let records = message.records().map(plain).collect();
    (message.question().expect("a question").0, records)
}

/// The response to `asked` with `instead` in its place, what `write` pushes, and what `restore` makes of it.
fn restored<T>(
    (asked, instead): (&str, &str),
    room: usize,
    write: impl FnOnce(&mut Response<'_>),
    restore: impl FnOnce(&mut Response<'_>, &crate::Parsed, &[u8]) -> T,
) -> (T, Vec<u8>) {
    let (octets, parsed) = query(asked, Type::A);
    let (mut buffer, mut state) = (vec![0xAA; room], ResponseState::default());
    let mut response = Response::new(&mut buffer, &mut state);
    response.begin_as(&parsed, (name(instead).as_name(), Type::MX, Class::CH));
    write(&mut response);
    let done = restore(&mut response, &parsed, &octets);
    let len = response.seal();
    buffer.truncate(len);
    (done, buffer)
}

fn in_place(response: &mut Response<'_>, parsed: &crate::Parsed, octets: &[u8]) -> bool {
    response.restore(parsed, octets)
}

#[test]
fn records_about_the_question_are_moved() {
    let fixed = (Type::A, Class::IN, 60);
    for (asked, instead) in [
        ("wWw.example.org.", "a.longer.name.example.net."),
        ("a.longer.name.example.net.", "www.example.org."),
        ("www.example.org.", "other.example.org."),
        ("example.org.", "ExAmple.oRG."),
        (".", "example.org."),
    ] {
        let (done, octets) = restored(
            (asked, instead),
            512,
            |response| {
                let owner = name(instead);
                for last in [1, 2] {
                    let address = [192, 0, 2, last];
                    let pushed = response.push(Section::Answer, owner.as_name(), fixed, &address);
                    pushed.expect("room");
                }
            },
            in_place,
        );
        assert!(done, "{asked} {instead}");
        let (question, records) = read(&octets);
        assert_eq!(question.as_name().octets(), name(asked).as_name().octets());
        let owner = name(asked).to_lower().to_string();
        assert!(
            records.iter().all(|record| record.0 == owner),
            "{records:?}"
        );
        assert_eq!(records.len(), 2);
        let end = 12 + name(asked).as_name().octets().len();
        assert_eq!(
            octets[end..end + 4],
            [0, 1, 0, 1],
            "type and class as asked"
        );
    }
}

#[test]
fn names_beside_the_question_are_kept_or_written_anew() {
    let ns = (Type::NS, Class::IN, 60);
    // What follows the zone's name in the question can be moved only if the client's question ends in it, too.
    for (asked, moved) in [("short.example.org.", true), ("example.net.", false)] {
        let write = |response: &mut Response<'_>| {
            let (zone, server) = (name("example.org."), name("ns1.example.org."));
            let target = (&[][..], server.as_name());
            let pushed = response.push_named(Section::Authority, zone.as_name(), ns, target);
            pushed.expect("room");
        };
        let instead = "www.example.org.";
        let (done, octets) = restored((asked, instead), 512, write, in_place);
        assert_eq!(done, moved, "{asked}");
        let (_, anew) = restored((asked, instead), 512, write, |response, parsed, octets| {
            response
                .restore_by((parsed, octets), &mut Vec::new(), &mut Verbatim)
                .expect("room");
        });
        for octets in [Some(anew), moved.then_some(octets)].into_iter().flatten() {
            let (question, records) = read(&octets);
            assert_eq!(question, name(asked));
            assert_eq!(records[0].0, "example.org.");
            assert_eq!(records[0].3, name("ns1.example.org.").as_name().octets());
        }
    }
}

#[test]
fn a_longer_question_that_has_no_room_cuts_records() {
    let long = "a.name.that.is.much.longer.than.the.other.example.org.";
    let write = |response: &mut Response<'_>| {
        for last in 0..4 {
            let owner = name("b.");
            let fixed = (Type::A, Class::IN, 60);
            let address = [192, 0, 2, last];
            let _ = response.push(Section::Answer, owner.as_name(), fixed, &address);
        }
    };
    let (done, _) = restored((long, "b."), 90, write, in_place);
    assert!(!done);
    let (done, octets) = restored((long, "b."), 90, write, |response, parsed, octets| {
        let mut renamed = Renamed(name("b."), name(long));
        response.restore_by((parsed, octets), &mut Vec::new(), &mut renamed)
    });
    assert_eq!(done, Err(crate::reencode::ReencodeError::Full));
    let message = Message::new(&octets).expect("a header");
    assert!(message.flags().has(crate::Flags::TC));
    assert!(message.records().all(|record| record.is_ok()));
}

/// A name of few labels out of few.
fn any_name(dice: &mut Dice) -> String {
    let mut out = String::new();
    for _ in 0..dice.roll(5) {
        out.push_str(["a.", "bb.", "www.", "example.", "org."][dice.roll(5)]);
    }
    if out.is_empty() { ".".to_owned() } else { out }
}

/// Pushes a record about names that have much to do with `instead`; some are spelled out.
fn push_any(dice: &mut Dice, instead: &str, section: Section, response: &mut Response<'_>) {
    let mut pick = || match dice.roll(4) {
        0 => instead.to_owned(),
        1 => format!("x.{}", instead.trim_start_matches('.')),
        2 => instead
            .split_once('.')
            .map_or(".", |split| split.1)
            .to_owned(),
        _ => any_name(dice),
    };
    let (owner, target) = (pick(), pick());
    let target = if target.is_empty() {
        ".".to_owned()
    } else {
        target
    };
    let owner = if owner.is_empty() {
        ".".to_owned()
    } else {
        owner
    };
    let (owner, target) = (name(&owner), name(&target));
    let (rtype, head): (_, &[u8]) = [
        (Type::A, &[192, 0, 2, 1][..]),
        (Type::TXT, b"\x04text"),
        (Type::NS, b""),
        (Type::CNAME, b""),
        (Type::MX, &[0, 10]),
        (Type::SRV, &[0, 1, 0, 2, 0, 3]),
    ][dice.roll(6)];
    let fixed = (rtype, Class::IN, dice.roll(1_000) as u32);
    let spelled = [head, target.as_name().octets()].concat();
    let _ = match rtype {
        Type::A | Type::TXT => response.push(section, owner.as_name(), fixed, head),
        Type::SRV => response.push(section, owner.as_name(), fixed, &spelled),
        _ if dice.roll(3) == 0 => response.push(section, owner.as_name(), fixed, &spelled),
        _ => response.push_named(section, owner.as_name(), fixed, (head, target.as_name())),
    };
}

#[test]
fn what_is_restored_in_place_says_what_is_written_anew() {
    let mut dice = Dice(0x0DD5_EED5);
    let (mut moved, rounds) = (0, rounds(20_000));
    for round in 0..rounds {
        let (asked, instead) = (any_name(&mut dice), any_name(&mut dice));
        let seed = dice.roll(usize::MAX) as u64 | 1;
        let write = |response: &mut Response<'_>| {
            let mut dice = Dice(seed);
            let sections = [Section::Answer, Section::Authority, Section::Additional];
            for section in sections {
                for _ in 0..dice.roll(3) {
                    push_any(&mut dice, &instead, section, response);
                }
            }
        };
        let pair = (asked.as_str(), instead.as_str());
        let (done, octets) = restored(pair, 4_096, write, in_place);
        let (anew, expected) = restored(pair, 4_096, write, |response, parsed, octets| {
            let mut renamed = Renamed(name(&instead), name(&asked));
            response.restore_by((parsed, octets), &mut Vec::new(), &mut renamed)
        });
        assert_eq!(anew, Ok(()));
        if done {
            assert_eq!(read(&octets), read(&expected), "{round}: {asked} {instead}");
            moved += 1;
        }
    }
    assert!(moved > rounds / 10, "{moved} of {rounds}");
}

#[test]
fn what_is_no_name_of_a_record_is_not_moved_in_place() {
    let (owner, fixed) = (name("example.org."), |rtype| (rtype, Class::IN, 60));
    let push = |response: &mut Response<'_>, rtype, rdata: &[u8]| {
        let pushed = response.push(Section::Answer, Name::ROOT, fixed(rtype), rdata);
        pushed.expect("room");
        response.octets().len() - rdata.len()
    };
    // A pointer of which only the first octet is RDATA: the second is the next record's owner.
    let (done, _) = restored(
        ("b.", "example.org."),
        512,
        |response| {
            push(response, Type::MD, &[0xFE]);
            push(response, Type::A, &[192, 0, 2, 1]);
        },
        in_place,
    );
    assert!(!done);
    // A pointer to text that happens to end in a pointer, which would stay; and one to the second half of a pointer that moves.
    for text in [&b"\x01a\xC0\x0D"[..], b"\x03abc\0"] {
        let (done, _) = restored(
            ("b.", "example.org."),
            512,
            |response| {
                let sound = response.push_named(
                    Section::Answer,
                    Name::ROOT,
                    fixed(Type::MX),
                    (&[0, 1], owner.as_name()),
                );
                sound.expect("room");
                let behind = response.octets().len();
                let at = push(response, Type::TXT, text);
                let to = if text.len() == 4 { at } else { behind - 1 };
                push(response, Type::NS, &(0xC000 | to as u16).to_be_bytes());
            },
            in_place,
        );
        assert!(!done);
    }
}
