use chain::{Exchange, Flow, Outcome};
use wire::{Class, Message, Section, Type};

use crate::trial;

/// A query of class CH, as a client sends it.
fn query(name: &str, qtype: Type) -> Box<Exchange> {
    let mut exchange = trial::exchange(name, qtype, None);
    let end = usize::from(exchange.parsed.question_end);
    exchange.message_mut()[end - 2..end].copy_from_slice(&Class::CH.0.to_be_bytes());
    exchange.parse().expect("a query");
    exchange
}

/// The texts that are answered, in order; nothing where the query passes.
fn texts(lines: &str, name: &str, qtype: Type) -> Option<Vec<String>> {
    let block = trial::serve(
        &trial::block(lines),
        ".",
        trial::answer(|_, _| Ok(Flow::Answered)),
    );
    let mut exchange = query(name, qtype);
    if exchange.refusal(&block).is_some() {
        return None;
    }
    assert_eq!(exchange.walk(&block), Outcome::Respond);
    let answered = exchange.views(&block).0.answered_by() == Some("chaos");
    exchange.response().seal();
    let message = Message::new(exchange.reply()).expect("a message");
    let mut texts = Vec::new();
    for record in message.records() {
        let record = record.expect("a record");
        let fixed = (record.section, record.rtype, record.class, record.ttl);
        assert_eq!(fixed, (Section::Answer, Type::TXT, Class::CH, 0));
        assert_eq!(record.owner().expect("an owner").to_string(), name);
        let (len, text) = record.rdata().split_first().expect("a text");
        assert_eq!(usize::from(*len), text.len());
        texts.push(String::from_utf8_lossy(text).into_owned());
    }
    answered.then_some(texts)
}

#[test]
fn the_five_names() {
    let ask = |name: &str| texts("chaos v3 \"Miek Gieben\" me", name, Type::TXT);
    let host = vec![host::hostname()];
    for (name, expected) in [
        ("version.bind.", vec!["v3".to_owned()]),
        ("Version.Server.", vec!["v3".to_owned()]),
        ("hostname.bind.", host.clone()),
        ("ID.server.", host),
    ] {
        assert_eq!(ask(name), Some(expected), "{name}");
    }
    let mut authors = ask("authors.bind.").expect("answered");
    authors.sort();
    assert_eq!(authors, ["Miek Gieben", "me"]);
    let by_default = texts("chaos", "version.bind.", Type::TXT).expect("answered");
    assert!(by_default[0].starts_with("nameplate-"), "{by_default:?}");
    assert_eq!(
        texts("chaos", "authors.bind.", Type::TXT).map(|texts| texts.len()),
        Some(1)
    );
}

#[test]
fn what_it_does_not_know_passes() {
    for (name, qtype) in [
        ("version.bind.", Type::A),
        ("version.bind.", Type::ANY),
        ("bind.", Type::TXT),
        ("a.version.bind.", Type::TXT),
    ] {
        assert_eq!(texts("chaos v3", name, qtype), None, "{name} {qtype}");
    }
    // Class IN is none of its business.
    let block = trial::serve(
        &trial::block("chaos v3"),
        ".",
        trial::answer(|_, _| Ok(Flow::Answered)),
    );
    let mut exchange = trial::exchange("version.bind.", Type::TXT, None);
    assert_eq!(exchange.walk(&block), Outcome::Respond);
    assert_eq!(exchange.views(&block).0.answered_by(), Some("answer"));
}

/// RFC 1035, 3.3: a character-string is up to 255 octets.
#[test]
fn long_texts_are_cut_and_many_are_truncated() {
    let long = "v".repeat(300);
    let line = format!("chaos {long} {long}a {long}b");
    assert_eq!(
        texts(&line, "version.bind.", Type::TXT),
        Some(vec!["v".repeat(255)])
    );
    let many: String = (0..100)
        .map(|n| format!(" {n}{}", "a".repeat(200)))
        .collect();
    let told = texts(&format!("chaos v{many}"), "authors.bind.", Type::TXT);
    assert!(told.is_some_and(|told| (10..100).contains(&told.len())));
}

#[test]
fn lines() {
    trial::table(&[
        ("chaos", ""),
        ("chaos v2", ""),
        ("chaos v3 \"Miek Gieben\"", ""),
        ("chaos v2\nchaos v3", ""),
        ("chaos v2 {\n  unknown\n}", "`chaos` takes no block"),
    ]);
}

#[test]
fn a_block_for_these_names_is_whole() {
    let names = super::NAMES.join(" ");
    let trial = trial::build(&format!("{names} {{\n  chaos v2 me\n}}\n"));
    assert!(
        trial.accepted && trial.messages.is_empty(),
        "{}",
        trial.messages
    );
}

#[test]
fn examples_load() {
    trial::readme(include_str!("README.md"));
}
