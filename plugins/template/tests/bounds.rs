//! Evaluation ends, and no text and no name makes it panic.

use proptest::prelude::*;
use wire::{Section, Type};

/// A template that never ends, one that writes without end, and one that nests as deep as it may: all end, as failures.
#[test]
fn evaluation_is_bounded() {
    let deep = format!("{}x{}", "{{ with 1 }}".repeat(60), "{{ end }}".repeat(60));
    let nested = format!("{{{{ {}1{} }}}}", "(".repeat(60), ")".repeat(60));
    let chain = format!(
        "{{{{ if 0 }}}}{}{{{{ end }}}}",
        "{{ else if 0 }}".repeat(5_000)
    );
    for (text, expected) in [
        (
            "{{ define `x` }}{{ template `x` }}{{ end }}{{ template `x` }}",
            "exceeded maximum template depth (100)",
        ),
        ("{{ range 1000000000 }}{{ end }}", "more than 50000 steps"),
        (
            "{{ range 1000 }}{{ range 1000 }}{{ end }}{{ end }}",
            "more than 50000 steps",
        ),
        (
            "{{ range 9999 }}1234567890{{ end }}",
            "more than 65536 octets",
        ),
        ("{{ printf `%99999d` 1 }}", "more than 65536 octets"),
        (
            "{{ $x := `ab` }}{{ range 40 }}{{ $x = print $x $x }}{{ end }}",
            "more than",
        ),
        (&deep, "no record"),
        (&nested, "no record"),
        (&chain, ""),
    ] {
        let recipe = crate::template::recipe::Recipe::new(Section::Answer, text).expect(text);
        let data = crate::template::sample::data("example.", "www.example.", Type::A);
        match recipe.make(&data) {
            Ok(_) => assert_eq!(expected, "", "{}", &text[..text.len().min(80)]),
            Err(failed) => assert!(
                failed.why.contains(expected),
                "{}: {}",
                &text[..text.len().min(80)],
                failed.why
            ),
        }
    }
    let too_deep = format!("{}{}", "{{ with 1 }}".repeat(70), "{{ end }}".repeat(70));
    assert!(crate::template::recipe::Recipe::new(Section::Answer, &too_deep).is_err());
}

/// Pieces that templates are made of, and some that they are not.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "{{",
            "}}",
            "{{-",
            "-}}",
            " ",
            "\n",
            "if",
            "else",
            "end",
            "range",
            "with",
            "break",
            "continue",
            "define",
            "template",
            "block",
            ".",
            ".Name",
            ".Group.a",
            ".Match",
            ".Message.IsEdns0",
            ".Question",
            ".Var",
            "$",
            "$x",
            ":=",
            "=",
            ",",
            "|",
            "(",
            ")",
            "\"",
            "`",
            "'",
            "index",
            "slice",
            "printf",
            "print",
            "len",
            "eq",
            "lt",
            "and",
            "or",
            "not",
            "html",
            "js",
            "urlquery",
            "call",
            "parseInt",
            "nil",
            "true",
            "0",
            "1",
            "-1",
            "9223372036854775807",
            "1.5",
            "0x",
            "\"%d %s %v %[2]*.[1]*f\"",
            "\"a\"",
            "/*",
            "*/",
            "{{ .Name }} 60 IN A 192.0.2.1",
            "{{ end }}",
            "[a-",
            "[^]]",
            "\\Q",
            "\\x{",
            "\\p{^",
            "{2,",
            "(?P<",
            "(?i:",
            "[[:",
            "{{ if .Name }}",
            "{{ range $i, $x := .Match }}",
            "é",
            "\\",
        ])
        .prop_map(str::to_owned),
        "\\PC{0,4}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Whatever a template says and whatever is asked, nothing panics.
    #[test]
    fn no_template_and_no_query_panics(
        pieces in prop::collection::vec(piece(), 0..24),
        labels in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..8), 0..5),
    ) {
        let text = pieces.concat();
        if let Ok(recipe) = crate::template::recipe::Recipe::new(Section::Answer, &text) {
            let mut octets = Vec::new();
            for label in &labels {
                octets.push(label.len() as u8);
                octets.extend_from_slice(&label.to_ascii_lowercase());
            }
            octets.push(0);
            let name = wire::Name::new(&octets).expect("a name");
            let name = crate::template::data::presentation(name);
            let data = crate::template::sample::data("example.", &name, Type::A);
            let _ = recipe.make(&data);
            let _ = recipe.constant("example.", Type::A);
        }
        if let Ok(pattern) = chain::pattern::Pattern::new(&text) {
            let _ = pattern.samples();
        }
    }
}
