//! What every mistake looks like: the whole text, so that a change of wording is seen.

use super::*;

/// Renders the report of a Corefile with a few files beside it.
fn rendered(text: &[u8]) -> String {
    let loader = Memory::new()
        .file("lan.conf", "hosts {\n    192.0.2.1 nas.lan\n")
        .file("me", "import me\n");
    let (corefile, report) = parse("Corefile", text.to_vec(), &loader);
    let shown = report.render(&corefile.sources, false);
    shown
        .lines()
        .map(|line| line.trim_end().to_owned() + "\n")
        .collect()
}

#[test]
fn rendered_text() {
    let cases = include_str!("diagnostics.txt");
    let mut wrong = String::new();
    for case in cases.split("=== ").skip(1) {
        let (title, rest) = case.split_once('\n').unwrap();
        let (text, wanted) = rest.split_once("---\n").unwrap();
        let shown = rendered(
            text.replace("\\xff", "\u{1}")
                .bytes()
                .map(|c| if c == 1 { 0xFF } else { c })
                .collect::<Vec<_>>()
                .as_slice(),
        );
        if shown != wanted {
            wrong += &format!("=== {title}\n{text}---\n{shown}");
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn json_says_the_same() {
    let (corefile, report) = plain("é.org {\n import nothing\n}\n");
    let json: serde_json::Value = serde_json::from_str(&report.to_json(&corefile.sources)).unwrap();
    let found = &json[0];
    assert_eq!(json.as_array().unwrap().len(), 1);
    assert_eq!(
        (found["code"].as_str(), found["severity"].as_str()),
        (Some("CF0503"), Some("error"))
    );
    assert_eq!(
        (found["line"].as_u64(), found["column"].as_u64()),
        (Some(2), Some(9))
    );
    assert_eq!(
        (found["end_line"].as_u64(), found["end_column"].as_u64()),
        (Some(2), Some(16))
    );
    assert_eq!(found["labels"][0]["primary"].as_bool(), Some(true));
    assert!(found["fix"].is_null() && found["notes"].as_array().unwrap().is_empty());
    assert_eq!(Report::new().to_json(&corefile.sources), "[]");
}

#[test]
fn a_diagnostic_of_the_floors_above() {
    let text = ". {\n    hosts /etc/hosts {\n        falthrough\n    }\n}\n";
    let (corefile, mut report) = plain(text);
    let hosts = &corefile.blocks[0].directives[0];
    let word = &hosts.block.as_ref().unwrap().lines[0].words[0];
    let near = crate::nearest(&word.text, ["ttl", "reload", "fallthrough", "no_reverse"]).unwrap();
    report.push(
        Diagnostic::error("CF0102", "unknown option `falthrough` in plugin `hosts`")
            .at(word.span, "not an option of `hosts`")
            .beside(hosts.name.span, "in this plugin block")
            .note("CoreDNS starts without a word about it")
            .help("a similar option exists")
            .replace(word.span, near),
    );
    let wanted = "\
error[CF0102]: unknown option `falthrough` in plugin `hosts`
 --> Corefile:3:9
  |
2 |     hosts /etc/hosts {
  |     ----- in this plugin block
3 |         falthrough
  |         ^^^^^^^^^^ not an option of `hosts`
  |
  = note: CoreDNS starts without a word about it
help: a similar option exists
  |
3 |         fallthrough
  |            +

1 error
";
    assert_eq!(report.render(&corefile.sources, false), wanted);
    assert!(report.render(&corefile.sources, true).contains("\u{1b}["));
    let again = report.iter().last().unwrap().clone();
    report.push(again);
    assert_eq!(report.len(), 1, "one mistake, one message");
}

#[test]
fn every_code_is_explained() {
    let sources = [
        include_str!("../../parser.rs"),
        include_str!("../body.rs"),
        include_str!("../import.rs"),
        include_str!("../variable.rs"),
        include_str!("../../lexer.rs"),
        include_str!("../../key.rs"),
        include_str!("../../value.rs"),
    ];
    for source in sources {
        for (at, _) in source.match_indices("\"CF0") {
            let code = &source[at + 1..at + 7];
            assert!(crate::codes::explain(code).is_some(), "{code}");
        }
    }
    assert!(crate::codes::EXPLANATIONS.is_sorted_by(|a, b| a.0 < b.0));
}

#[test]
fn nearest_words() {
    let known = ["fallthrough", "ttl", "reload", "no_reverse"];
    let table = [
        ("falthrough", Some("fallthrough")),
        ("FALLTHROUGH", Some("fallthrough")),
        ("fallthruogh", Some("fallthrough")),
        ("tll", Some("ttl")),
        ("relaod", Some("reload")),
        ("noreverse", Some("no_reverse")),
        ("x", None),
        ("upstream", None),
        ("", None),
    ];
    for (word, near) in table {
        assert_eq!(crate::nearest(word, known), near, "{word}");
    }
}
