//! Pieces that need no process: words, positions, manuals.

use serde_json::json;

use crate::Plugins;
use crate::context::{Context, snippets};
use crate::hover::ordinal;
use crate::manual::Manuals;
use crate::message;
use crate::position::{Lines, Units, path, uri};
use crate::session::Session;

const README: &str = "# thing

## Name

*thing* - does a thing.

## Description

Some
paragraph.

## Syntax

```txt
thing [ZONES...] {
    mode one|two
    cert CERT KEY
    key FILE
    ACTION [net SOURCE...]
}
```

```txt
other
```

* **ZONES** are zones.
* `mode` says how: `one` or
  `two`.
* `cert` names files, and `key` another.
* **ACTION** is one of
  * `allow`: it goes on,
  * `block`: it does not.
";

#[test]
fn a_readme_is_taken_apart() {
    let manuals = Manuals::read(&[("thing", README)]);
    let manual = manuals.of("thing").expect("it is there");
    assert_eq!(manual.brief, "does a thing.");
    assert_eq!(manual.description, "Some\nparagraph.");
    let names: Vec<&str> = manual.options.iter().map(|one| &*one.name).collect();
    assert_eq!(names, ["mode", "cert", "key", "allow", "block"]);
    let text = |name: &str| &*manual.option(name).expect("an option").text;
    assert_eq!(text("mode"), "`mode` says how: `one` or `two`.");
    assert!(text("key").contains("and `key` another"));
    assert!(text("block").contains("it does not"));
    assert_eq!(manual.usages().collect::<Vec<_>>(), ["thing [ZONES...] {"]);
}

#[test]
fn what_is_at_the_cursor() {
    let text = "(s) {\n  x\n}\nexample.org {\n  hosts \"a b\" { # c }\n    fall|\n  }\n  fo|\n  import |\n}\n|";
    let mut clean = String::new();
    let mut cursors = Vec::new();
    for part in text.split('|') {
        clean.push_str(part);
        cursors.push(clean.len());
    }
    let told: Vec<(usize, usize, Option<&str>)> = cursors[..4]
        .iter()
        .map(|&at| {
            let here = Context::at(&clean, at);
            (
                here.openers.len(),
                here.before.len(),
                here.word.map(|word| word.text),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            (2, 0, Some("fall")),
            (1, 0, Some("fo")),
            (1, 1, None),
            (0, 0, None)
        ]
    );
    let inside = Context::at(&clean, cursors[0]);
    assert_eq!(inside.directive(), Some("hosts"));
    let comment = clean.find("c }").expect("a comment");
    assert!(Context::at(&clean, comment).is_comment);
    assert_eq!(snippets(&clean), ["s"]);
}

#[test]
fn columns_count_what_was_agreed() {
    let text = "a\nä𝄞b\r\nc";
    for (units, columns) in [(Units::Utf16, [0, 1, 3, 4]), (Units::Utf8, [0, 2, 6, 7])] {
        let starts = [2, 4, 8, 9];
        for (at, column) in starts.into_iter().zip(columns) {
            let position = Lines::of(text, units).position(at);
            assert_eq!(position, json!({ "line": 1, "character": column }));
            assert_eq!(units.offset(text, &position), at, "{units:?}");
        }
        // Behind the end of a line, and of the text.
        let far = |line: u32| json!({ "line": line, "character": 99 });
        assert_eq!(units.offset(text, &far(1)), 9);
        assert_eq!(units.offset(text, &far(7)), text.len());
    }
}

#[test]
fn positions_in_a_long_text_and_in_a_long_line() {
    // A look through all that stands before would take minutes here.
    for piece in ["  forward . ä𝄞\n", "forward . ä𝄞 "] {
        let text = piece.repeat(60_000);
        let lines = Lines::of(&text, Units::Utf16);
        let units = piece.encode_utf16().count();
        for number in 0..60_000 {
            let expected = match piece.ends_with('\n') {
                true => json!({ "line": number, "character": 2 }),
                false => json!({ "line": 0, "character": number * units + 2 }),
            };
            assert_eq!(lines.position(number * piece.len() + 2), expected);
        }
    }
}

/// A session that has begun, of no plugins.
fn session() -> Session {
    let plugins = Plugins {
        catalogue: &[],
        order: "none",
        manuals: &[],
    };
    let mut session = Session::new(plugins, Manuals::read(&[]));
    let begin = json!({ "id": 1, "method": "initialize", "params": {} });
    assert_eq!(session.take(&begin).map(|told| told.len()), Some(1));
    session
}

#[test]
fn only_the_newest_of_several_changes_is_checked() {
    let mut session = session();
    let uri = "file:///nowhere/Corefile";
    let opened = json!({ "method": "textDocument/didOpen", "params": {
        "textDocument": { "uri": uri, "version": 0, "text": ". {\n" },
    } });
    assert_eq!(session.take(&opened).expect("it goes on").len(), 1);
    let change = |version: u32| {
        json!({ "method": "textDocument/didChange", "params": {
            "textDocument": { "uri": uri, "version": version },
            "contentChanges": [{ "text": "# nothing\n".repeat(version as usize) }],
        } })
    };
    for version in 1..=5 {
        assert_eq!(session.take(&change(version)), Some(Vec::new()));
    }
    let hover = json!({ "id": 2, "method": "textDocument/hover", "params": {
        "textDocument": { "uri": uri }, "position": { "line": 0, "character": 0 },
    } });
    let told = session.take(&hover).expect("it goes on");
    assert_eq!((told.len(), &told[0]["id"]), (1, &json!(2)));
    let told = session.check_one();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0]["params"]["version"], 5);
    assert!(session.is_settled());
    // Nothing is told behind the answer to `shutdown`.
    assert_eq!(session.take(&change(6)), Some(Vec::new()));
    let told = session.take(&json!({ "id": 3, "method": "shutdown" }));
    let told = told.expect("it goes on");
    assert_eq!(told[0]["params"]["version"], 6);
    assert_eq!((told.len(), &told[1]["id"]), (2, &json!(3)));
}

#[test]
fn uris_are_paths() {
    let name = std::path::Path::new("/tmp/a b/ä#Corefile");
    assert_eq!(uri(name), "file:///tmp/a%20b/%C3%A4%23Corefile");
    assert_eq!(path(&uri(name)).as_deref(), Some(name));
    assert_eq!(
        path("file://localhost/etc/hosts"),
        Some("/etc/hosts".into())
    );
    assert_eq!(path("untitled:Untitled-1"), None);
    assert_eq!(path("file:///%zz"), None);
}

#[test]
fn messages_are_framed() {
    let mut input =
        "content-length: 2\r\nContent-Type: x\r\n\r\n{}Content-Length: 1\r\n\r\n{".as_bytes();
    assert!(matches!(message::read(&mut input), Ok(Some(Ok(_)))));
    assert!(matches!(message::read(&mut input), Ok(Some(Err(_)))));
    assert!(matches!(message::read(&mut input), Ok(None)));
    for (header, why) in [
        ("nonsense", "`nonsense`: it has no colon"),
        ("Content-Length: x", "`Content-Length: x`: invalid digit"),
        ("Content-Length: 99999999999", "67108864 at most"),
    ] {
        let error = message::read(&mut format!("{header}\r\n\r\n").as_bytes()).expect_err(header);
        assert!(error.to_string().contains(why), "{error}");
    }
    assert!(matches!(
        message::read(&mut "Content-Length: 9\r\n\r\n{}".as_bytes()),
        Ok(None)
    ));
}

#[test]
fn numbers_have_endings() {
    for (number, expected) in [
        (1, "1st"),
        (2, "2nd"),
        (3, "3rd"),
        (4, "4th"),
        (11, "11th"),
        (22, "22nd"),
    ] {
        assert_eq!(ordinal(number), expected);
    }
}
