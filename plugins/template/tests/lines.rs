//! What the setup refuses and warns of, and where it points.

use crate::trial;

#[test]
fn setup() {
    let long = format!("template IN A {{\n match {}\n}}", "a".repeat(10_001));
    trial::table(&[
        (
            "template",
            "Wrong argument count or unexpected line ending after 'template'",
        ),
        (
            "template X",
            "Wrong argument count or unexpected line ending after 'X'",
        ),
        (
            "template ANY",
            "Wrong argument count or unexpected line ending after 'ANY'",
        ),
        ("template ANY X", "invalid RR class X"),
        ("template in A", "invalid query class in"),
        ("template ANY ANY {\n}", ""),
        ("template ANY ANY (?P<x>", ""),
        (
            "template ANY ANY .* {\n notavailable\n}",
            "unknown property 'notavailable'",
        ),
        (
            "template ANY ANY {\n answer\n}",
            "Wrong argument count or unexpected line ending after 'answer'",
        ),
        (
            "template ANY ANY {\n rcode\n}",
            "Wrong argument count or unexpected line ending after 'rcode'",
        ),
        (
            "template ANY ANY {\n rcode UNDEFINED\n}",
            "not an RCODE: `UNDEFINED`",
        ),
        ("template ANY ANY {\n rcode NOTIMPL\n}", ""),
        (
            "template ANY ANY {\n answer \"{{\"\n}",
            "could not compile template: unclosed action",
        ),
        (
            "template ANY ANY {\n additional \"{{\"\n}",
            "could not compile template: unclosed action",
        ),
        (
            "template ANY ANY {\n authority \"{{\"\n}",
            "could not compile template: unclosed action",
        ),
        (
            "template ANY ANY {\n answer \"{{ notAFunction }}\"\n}",
            "function \"notAFunction\" not defined",
        ),
        ("template ANY ANY {\n answer \"{{ parseInt }}\"\n}", ""),
        (
            "template ANY ANY {\n match (\n}",
            "could not parse regex: (: unclosed group",
        ),
        (
            "template ANY ANY {\n match a(?=b)\n}",
            "invalid or unsupported Perl syntax: `(?=b`",
        ),
        (&long, "regex pattern too long: 10001 > 10000"),
        ("template ANY ANY {\n ederror 21 \"a text\"\n}", ""),
        (
            "template ANY ANY {\n ederror invalid \"a text\"\n}",
            "not a number: `invalid`",
        ),
        (
            "template ANY ANY {\n ederror 65536\n}",
            "number out of range",
        ),
        (
            "template ANY ANY {\n ederror 1 too many\n}",
            "Wrong argument count or unexpected line ending after 'many'",
        ),
        (
            "template ANY ANY {\n upstream 192.0.2.1\n fallthrough\n}",
            "",
        ),
        ("template ANY ANY {\n fallthrough example.org\n}", ""),
    ]);
}

/// The places of mistakes and warnings: what of the Corefile is underlined.
#[test]
fn mistakes_have_a_place_in_the_template() {
    for (line, code, underlined) in [
        (r#"answer "{{ .Name }} A {{ nope }}""#, "CF0215", "nope"),
        (r#"answer "\"{{ .Name }}\" {{ nope }}""#, "CF0215", "nope"),
        (r#"answer "{{ .Name | 1 }}""#, "CF0215", "1"),
        (r#"answer "{{ .Name + }}""#, "CF0215", "+"),
        (r"answer {{nope}}", "CF0215", "nope"),
        (r"match ab[z-a]", "CF0214", "z"),
        (
            r#"answer "{{ .Nmae }} A 192.0.2.1""#,
            "CF0320",
            r#""{{ .Nmae }} A 192.0.2.1""#,
        ),
    ] {
        let text = format!(". {{\n template IN A {{\n  {line}\n }}\n whoami\n}}\n");
        let (_, report) = trial::plan(&text);
        let found = report.iter().find(|found| found.code == code).expect(line);
        let span = found.span().expect("a place");
        assert_eq!(
            &text[span.start as usize..span.end as usize],
            underlined,
            "{line}"
        );
    }
}

#[test]
fn warns_of_templates_that_make_no_record() {
    let warned = |lines: &str| {
        let (_, report) = trial::plan(&format!(". {{\n{lines}\n}}\n"));
        let found = report.iter().find(|found| found.code == "CF0320");
        found.map(|found| {
            format!(
                "{} {}",
                found.notes.join(" "),
                found.help.as_deref().unwrap_or_default()
            )
        })
    };
    for (lines, expected) in [
        (
            "template IN A {\n answer \"{{ .Nmae }} A 192.0.2.1\"\n}",
            Some("a similar field exists: `.Name`"),
        ),
        (
            "template IN A {\n answer \"{{ .Name }}\"\n}",
            Some("the record has no type"),
        ),
        (
            "template IN A {\n answer \"x A 192.0.2\"\n}",
            Some("expected an IPv4 address"),
        ),
        (
            "template IN A {\n match ^(a)\n answer \"x TXT {{ index .Match 5 }}\"\n}",
            Some("index out of range: 5"),
        ),
        (
            "template IN A {\n match ^(?P<a>[0-9]+)\n answer \"x A 192.0.2.{{ .Group.b }}\"\n}",
            Some("<no value>"),
        ),
        (
            "template IN A {\n match ^(?P<a>[0-9]+)\n answer \"x A 192.0.2.{{ .Group.a }}\"\n}",
            None,
        ),
        (
            "template IN A {\n match ^(?P<a>[a-f0-9]+)\n answer \"x A 192.0.2.{{ parseInt .Group.a 16 8 }}\"\n}",
            None,
        ),
        (
            "template IN AAAA {\n answer \"x AAAA {{ .Remote }}\"\n}",
            None,
        ),
        (
            "template IN A {\n answer \"{{ .Meta `a/b` }} A 192.0.2.1\"\n}",
            None,
        ),
        // Addresses, numbers and labels are tried where an expression has room for them.
        (
            "template IN A {\n match \"^(?P<ip>.*)\\.nip\\.test\\.$\"\n answer \"{{ .Name }} 60 IN A {{ .Group.ip }}\"\n}",
            None,
        ),
        (
            "template IN AAAA {\n match \"^(?P<ip>[0-9a-f:]+)\\.nip\\.test\\.$\"\n answer \"{{ .Name }} 60 IN AAAA {{ .Group.ip }}\"\n}",
            None,
        ),
        (
            "template IN A {\n match \"^(?P<ip>[0-9.]{7,15})\\.nip\\.test\\.$\"\n answer \"{{ .Name }} 60 IN A {{ .Group.ip }}\"\n}",
            None,
        ),
        // Nothing is said where the name may have anything in it.
        (
            "template IN A {\n match \"^x(.*)x\\.test\\.$\"\n answer \"{{ .Name }} 60 IN A 192.0.2.1{{ index .Match 1 }}\"\n}",
            None,
        ),
        (
            "template IN A {\n match \"^([^.]+)\\.test\\.$\"\n answer \"{{ .Name }} 60 IN A 192.0.2.{{ .Group.none }}\"\n}",
            Some("<no value>"),
        ),
        (
            "template IN A {\n match \"^([a-z]+)\\.test\\.$\"\n answer \"{{ .Name }} 60 IN A {{ index .Match 1 }}\"\n}",
            Some("expected an IPv4 address"),
        ),
        // Templates that invoke each other without end, and one that a condition ends.
        (
            "template IN A {\n answer \"{{ define `a` }}{{ template `b` . }}{{ end }}{{ define `b` }}{{ template `a` . }}{{ end }}{{ template `a` . }}\"\n}",
            Some("maximum template depth"),
        ),
        (
            "template IN A {\n answer \"{{ define `a` }}{{ if .Meta `x/y` }}{{ template `a` . }}{{ end }}x A 192.0.2.1{{ end }}{{ template `a` . }}\"\n}",
            None,
        ),
        ("template IN A {\n match $^\n answer \"nonsense\"\n}", None),
    ] {
        let found = warned(lines);
        match expected {
            Some(expected) => assert!(
                found.as_deref().is_some_and(|f| f.contains(expected)),
                "{lines}: {found:?}"
            ),
            None => assert_eq!(found, None, "{lines}"),
        }
    }
}
