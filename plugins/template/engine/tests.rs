//! The engine against Go: `go.jsonl` has texts, and what Go 1.27's text/template makes of them with the data below.

use serde_json::Value as Json;
use wire::{Class, Edns, Flags, Type};

use super::Template;
use crate::template::data::{Asked, Data, Groups, Object};

const CASES: &str = include_str!("go.jsonl");

/// A query for `IP-1-2.Example.` with an OPT record.
const MESSAGE: &[u8] = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\x01\x06IP-1-2\x07Example\0\0\x01\0\x01\0\0\x29\x04\xD0\0\0\x80\0\0\0";

/// Calls `work` with the data that Go was given.
fn with_data<T>(work: impl FnOnce(Object<'_>) -> T) -> T {
    let names: Vec<Box<str>> = ["", "a", "b"].map(Box::from).into();
    let metadata = |label: &str| match label {
        "test/label" => "value".to_owned(),
        _ => String::new(),
    };
    let data = Data {
        zone: "example.",
        name: "ip-1-2.example.",
        regex: "^ip-(?P<a>[0-9]+)-(?P<b>[0-9]+)[.]example[.]$",
        class: "IN".into(),
        rtype: "A".into(),
        groups: Groups {
            names: &names,
            places: vec![Some((0, 15)), Some((3, 4)), Some((5, 6))],
        },
        asked: Asked {
            message: MESSAGE,
            rewritten: None,
            id: 0x1234,
            flags: Flags(Flags::RD),
            qtype: Type::A,
            qclass: Class::IN,
            edns: Some(Edns {
                udp_size: 1_232,
                extended_rcode: 0,
                version: 0,
                flags: Edns::DO,
                options_start: 43,
                options_end: 43,
            }),
            peer: [192, 0, 2, 1].into(),
        },
        variables: Vec::new(),
        metadata: &metadata,
    };
    work(Object::Root(&data))
}

/// What becomes of a text: the octets, or a message behind the step that gave it.
fn run(text: &str) -> Result<Vec<u8>, (&'static str, String)> {
    let template = Template::parse("answer", text).map_err(|mistake| {
        let before = text.get(..mistake.at).unwrap_or(text);
        let line = 1 + before.matches('\n').count();
        ("load", format!("template: answer:{line}: {}", mistake.why))
    })?;
    with_data(|data| template.execute(data)).map_err(|why| ("error", why.into()))
}

#[test]
fn writes_and_fails_as_go_does() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for line in CASES.lines() {
        let case: Json = serde_json::from_str(line).expect("JSON");
        let field = |name: &str| case.get(name).and_then(Json::as_str);
        let text = field("text").expect("a text");
        count += 1;
        let expected = match (field("out"), field("hex"), field("error"), field("load")) {
            (Some(out), ..) => Ok(out.as_bytes().to_vec()),
            (_, Some(hex), ..) => {
                let octet = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
                Ok((0..hex.len()).step_by(2).map(octet).collect())
            }
            (_, _, Some(error), _) => Err(("error", error.to_owned())),
            (_, _, _, load) => Err(("load", load.unwrap_or_default().to_owned())),
        };
        let found = run(text);
        if found != expected {
            let shown = |result: &Result<Vec<u8>, (&str, String)>| match result {
                Ok(out) => format!("{:?}", String::from_utf8_lossy(out)),
                Err((step, why)) => format!("{step}: {why}"),
            };
            wrong.push(format!(
                "{text}\n   found    {}\n   expected {}",
                shown(&found),
                shown(&expected)
            ));
        }
    }
    assert!(count > 250, "{count} cases");
    assert!(
        wrong.is_empty(),
        "{} of {count}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
