//! Octets that nobody would write: never a panic, never more than linear work.

use std::time::{Duration, Instant};

use super::*;

/// A small generator (PCG's multiplier), so that a failure can be repeated.
struct Numbers(u64);

impl Numbers {
    /// A number below `bound`.
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound.max(1)
    }
}

/// Real enough Corefiles to mutate.
const SEEDS: [&str; 4] = [
    ".:53 {\n    errors\n    health {\n        lameduck 5s\n    }\n    kubernetes cluster.local in-addr.arpa ip6.arpa {\n        pods insecure\n        fallthrough in-addr.arpa ip6.arpa\n    }\n    forward . /etc/resolv.conf\n    cache 30\n}\n",
    "(common) {\n    log . \"{remote} {type}\"\n    import more\n}\nexample.org, tls://example.com:853,\n10.0.0.0/15 {\n    import common\n    import *.conf\n    file {$ZONE} # zone\n}\n",
    "\u{feff}é.example {\r\n template IN A {\r\n  answer \"{{ .Name }} 60 IN A 192.0.2.1\"\r\n  rcode \"a\\\"b\"\r\n }\r\n}\r\n",
    "lan\nhosts {\n 192.0.2.1 nas.lan\n fallthrough\n}\nimport self\nimport a\n",
];

/// Words that are likely to break something.
const PIECES: [&[u8]; 20] = [
    b"{",
    b"}",
    b" { ",
    b"\n}\n",
    b"\n",
    b"\"",
    b"\\\"",
    b"#",
    b"import ",
    b"\nimport a\n",
    b"(a)",
    b"\n(a) {\n",
    b",",
    b"{$A}",
    b"{%B%}",
    b"{$",
    b"\xff",
    b"\xc3",
    b"\r",
    b"\x1b[31m\0",
];

/// Parses, and uses all that comes out of it.
fn survive(text: Vec<u8>, loader: &Memory) {
    let (corefile, report) = parse("Corefile", text, loader);
    for diagnostic in &report {
        for label in &diagnostic.labels {
            let file = corefile.sources.text(label.span.file);
            assert!(
                label.span.start <= label.span.end && label.span.end as usize <= file.len() + 3,
                "{diagnostic:?}"
            );
        }
    }
    let shown = report.render(&corefile.sources, false);
    let steers = |c: char| c.is_control() && c != '\n' && c != '\t';
    assert_eq!(shown.lines().find(|line| line.contains(steers)), None);
    assert!(report.to_json(&corefile.sources).starts_with('['));
    for key in corefile.blocks.iter().flat_map(|block| &block.keys) {
        let _ = crate::key::parse(key);
    }
    let normal = show(&corefile);
    let odd =
        |key: &Token| key.text.is_empty() || key.text.ends_with(',') || key.text.starts_with('(');
    let odd = corefile
        .blocks
        .iter()
        .flat_map(|block| &block.keys)
        .any(odd);
    if !report.has_errors() && !odd && !normal.contains(['$', '%', '\\']) {
        let (again, _) = parse("again", normal.clone().into(), &Memory::new());
        assert_eq!(
            again.canonical_json(),
            corefile.canonical_json(),
            "{normal}"
        );
    }
}

#[test]
fn mutations_and_noise_never_panic() {
    let loader = Memory::new()
        .file("more", "errors\nimport lines")
        .file("lines", "a {\n b\n")
        .file("self", "import self\n}")
        .file("a", "import b\nx {")
        .file("b", "} import c")
        .file("x.conf", b"prometheus\n\xff")
        .file("y.conf", "(s) {\n import s\n}\n")
        .set("A", "a")
        .set("B", "{$B}{$A}");
    let mut numbers = Numbers(7);
    for round in 0..6_000 {
        let mut text = SEEDS[round % SEEDS.len()].as_bytes().to_vec();
        for _ in 0..1 + numbers.below(6) {
            let at = numbers.below(text.len() + 1);
            match numbers.below(5) {
                0 => text.truncate(at),
                1 => drop(text.splice(at..(at + numbers.below(20)).min(text.len()), [])),
                2 => text.insert(at, numbers.below(256) as u8),
                _ => drop(text.splice(at..at, PIECES[numbers.below(PIECES.len())].iter().copied())),
            }
        }
        survive(text, &loader);
    }
    for _ in 0..2_000 {
        let length = numbers.below(60);
        let pieces = (0..length).flat_map(|_| match numbers.below(3) {
            0 => vec![numbers.below(256) as u8],
            _ => PIECES[numbers.below(PIECES.len())].to_vec(),
        });
        survive(pieces.collect(), &loader);
    }
}

#[test]
fn bombs_are_bounded() {
    let mut text = String::from("(s0) {\n log x y z\n}\n");
    for level in 1..40 {
        text += &format!("(s{level}) {{\n import s{0}\n import s{0}\n}}\n", level - 1);
    }
    text += ". {\n import s39\n whoami\n}\n";
    let (corefile, report) = plain(&text);
    assert_eq!(codes(&report), ["CF0116"]);
    assert!(
        report
            .iter()
            .next()
            .unwrap()
            .message
            .contains("maximum snippet import depth (10000) exceeded")
    );
    assert_eq!(
        corefile.blocks[0].directives.last().unwrap().name.text,
        "whoami",
        "the first file is read to its end"
    );

    let wide = format!(
        "(w) {{\n x {}\n}}\n. {{\n{}}}\n",
        "w ".repeat(50_000),
        " import w\n".repeat(9_000)
    );
    assert_eq!(codes(&plain(&wide).1), ["CF0116"]);

    let long = format!(
        "(w) {{\n x {}\n}}\n. {{\n{}}}\n",
        "w".repeat(1 << 20),
        " import w\n".repeat(9_000)
    );
    assert_eq!(codes(&plain(&long).1), ["CF0116"]);

    let loader = Memory::new()
        .file("a", "import b")
        .file("b", "import a\nlog");
    let (corefile, report) = parse("Corefile", ". {\n import a\n}\n".into(), &loader);
    assert_eq!(
        (outline(&corefile).as_str(), codes(&report)),
        (". [log]", vec!["CF0116"])
    );

    let deep = format!(". {{\n{}", "x {\n".repeat(100_000));
    assert_eq!(codes(&plain(&deep).1), ["CF0119", "CF0101"]);
}

#[test]
fn a_megabyte_is_linear() {
    let table = [
        ". {\n hosts {\n  192.0.2.1 a.example.org b.example.org\n  fallthrough\n }\n}\n"
            .repeat(1 << 14),
        "a ".repeat(1 << 19),
        "{ ".repeat(1 << 19),
        "} ".repeat(1 << 19),
        "\"a\" # b\n".repeat(1 << 17),
        "a#".repeat(1 << 19),
        format!("x {{ {}", "a { } ".repeat(1 << 17)),
        format!("x {{\n{}", "a { b }\n".repeat(1 << 17)),
        format!("x {{\n{}", "a.b {\n".repeat(1 << 17)),
        format!("x \"{}", "\n".repeat(1 << 20)),
        format!("x {{\n{}", "import nothing\n".repeat(1 << 16)),
        "{$A".repeat(1 << 18),
        "a,".repeat(1 << 19),
        "\r".repeat(1 << 20),
        format!("a{}b", "\r".repeat(1 << 20)),
    ];
    for text in table {
        let begun = Instant::now();
        let (corefile, report) = plain(&text);
        let _ = report.render(&corefile.sources, false);
        let start = text.chars().take(20).collect::<String>();
        // Generous for a debug build on a busy machine; quadratic work would take minutes.
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "{start:?}: {:?}",
            begun.elapsed()
        );
        eprintln!("{start:?}: {:?}", begun.elapsed());
    }
}
