//! The language, rule by rule.

use super::*;

#[test]
fn blocks_and_directives() {
    let table = [
        ("", ""),
        ("# nothing\n", ""),
        ("localhost", "localhost []"),
        (".:53 {\n whoami\n log\n}\n", ".:53 [whoami; log]"),
        (".:53\nwhoami\nlog stdout\n", ".:53 [whoami; log stdout]"),
        ("a b:1 {\n d\n}", "a b:1 [d]"),
        ("a, b {\n d\n}", "a b [d]"),
        ("a,\n  b,\n  c", "a b c []"),
        ("a,\nb {\n d x\n}\nc {\n}", "a b [d x] | c []"),
        ("a\n{\n d\n}", "a [d]"),
        ("a { d\n}", "a [d]"),
        ("a {\n d {\n o p\n q\n }\n e\n}", "a [d {o p; q}; e]"),
        (
            "a {\n d x {\n o p {\n r\n }\n s\n }\n}",
            "a [d x {o p {r}; s}]",
        ),
        ("a {\n d {\n }\n}", "a [d {}]"),
        ("a {\n d\n d 2\n}", "a [d; d 2]"),
        ("a {\n d \"x\ny\" z\n e\n}", "a [d x\ny z; e]"),
        ("a {\r\n d x\r\n}\r\n", "a [d x]"),
        ("\u{feff}a {\n d\n}", "a [d]"),
        ("a {\n d{ x\n}", "a [d{ x]"),
        ("a {\n d \"{\" \"}\"\n}", "a [d { }]"),
        ("a {\n d import\n}", "a [d import]"),
        ("a {\n d # c {\n}", "a [d]"),
    ];
    for (text, wanted) in table {
        let (corefile, report) = plain(text);
        assert_eq!(outline(&corefile), wanted, "{text:?}");
        assert!(
            report.is_empty(),
            "{text:?}: {}",
            report.render(&corefile.sources, false)
        );
    }
}

#[test]
fn snippets_files_and_globs() {
    let loader = Memory::new()
        .file("etc/Corefile", "import conf.d/*.conf\n(up) {\n forward . 192.0.2.1\n}\n. {\n import common\n import up\n}")
        .file("etc/common", "log\nimport sub/more\n")
        .file("etc/sub/more", "import leaf\n")
        .file("etc/sub/leaf", "errors {\n import lines\n}\n")
        .file("etc/sub/lines", "one\ntwo 2")
        .file("etc/conf.d/b.conf", "b.org {\n whoami\n}\n")
        .file("etc/conf.d/a.conf", "a.org {\n}")
        .file("etc/conf.d/no", "}");
    let text = loader.read(Path::new("etc/Corefile")).unwrap();
    let (corefile, report) = parse("etc/Corefile", text, &loader);
    assert!(
        report.is_empty(),
        "{}",
        report.render(&corefile.sources, false)
    );
    assert_eq!(
        outline(&corefile),
        "a.org [] | b.org [whoami] | . [log; errors {one; two 2}; forward . 192.0.2.1]"
    );
    let files: Vec<_> = corefile
        .files()
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    let wanted = [
        "Corefile",
        "conf.d/a.conf",
        "conf.d/b.conf",
        "common",
        "sub/more",
        "sub/leaf",
        "sub/lines",
    ]
    .map(|f| format!("etc/{f}"));
    assert_eq!(files, wanted);
    // A place is where the word is written.
    let errors = &corefile.blocks[2].directives[1];
    assert_eq!(corefile.sources.name(errors.name.span.file), "etc/sub/leaf");
    let two = &errors.block.as_ref().unwrap().lines[1].words[1];
    assert_eq!(
        (
            corefile.sources.name(two.span.file),
            corefile.sources.line_column(two.span)
        ),
        ("etc/sub/lines", (2, 5))
    );
}

#[test]
fn a_snippet_in_a_block_and_in_a_snippet() {
    let text =
        "(a) {\n x 1\n}\n(b) {\n import a\n y\n}\n. {\n p {\n  import b\n  z\n }\n import b\n}\n";
    let (corefile, report) = plain(text);
    assert!(report.is_empty());
    assert_eq!(outline(&corefile), ". [p {x 1; y; z}; x 1; y]");
}

#[test]
fn one_file_twice_is_no_cycle_and_is_read_once() {
    let loader = Memory::new().file("c", "log");
    let (corefile, report) = parse(
        "Corefile",
        ". {\n import c\n import ./c\n}\n".into(),
        &loader,
    );
    assert!(report.is_empty());
    assert_eq!(outline(&corefile), ". [log; log]");
    assert_eq!(corefile.files().len(), 2);
}

#[test]
fn variables() {
    let loader = Memory::new()
        .set("ZONE", "example.org")
        .set("TWO", "a b")
        .set("NEST", "<{$ZONE}>")
        .set("D", "log")
        .set("LOOP", "x{$LOOP}")
        .file("inc-example.org", "whoami");
    let table = [
        ("{$ZONE}:53 {\n}", "example.org:53 []"),
        ("{%ZONE%}\n{$D} {$TWO}", "example.org [log a b]"),
        (". {\n import inc-{$ZONE}\n}", ". [whoami]"),
        (
            ". {\n d {$NEST} {$ZONE}{$D}\n}",
            ". [d <example.org> example.orglog]",
        ),
        (". {\n d {$} {% {$ZONE x{$\n}", ". [d {$} {% {$ZONE x{$]"),
        (". {\n d {$}{$ZONE}\n}", ". [d {$}{$ZONE}]"),
    ];
    for (text, wanted) in table {
        let (corefile, report) = parse("Corefile", text.into(), &loader);
        assert_eq!(outline(&corefile), wanted, "{text:?}");
        assert!(
            report.is_empty(),
            "{text:?}: {}",
            report.render(&corefile.sources, false)
        );
    }
    let (corefile, _) = parse("Corefile", ". {\n d {$TWO}\n}".into(), &loader);
    assert_eq!(
        corefile.blocks[0].directives[0].args.len(),
        1,
        "a value with a space stays one word"
    );
    let (corefile, report) = parse("Corefile", ". {\n d {$NONE}\n}".into(), &loader);
    assert_eq!(
        (outline(&corefile).as_str(), codes(&report)),
        (". [d ]", vec!["CF0501"])
    );
    let (_, report) = parse("Corefile", ". {\n d {$LOOP}\n}".into(), &loader);
    assert_eq!(codes(&report), ["CF0502"]);
}

#[test]
fn the_canonical_form_is_that_of_the_meaning() {
    let loader = Memory::new().file("c", "log # all\n").set("P", "53");
    let form = |text: &str| parse("Corefile", text.into(), &loader).0.canonical_json();
    let one = form(".:{$P} {\n import c\n hosts {\n  ttl 5\n }\n}\n");
    assert_eq!(
        one,
        form("(s) {\n log\n}\n# x\n.:53   {\n\n\timport s\n\"hosts\" {\n ttl \"5\"\n}\n}")
    );
    let other = [
        form(".:53 {\n log\n hosts {\n  ttl 6\n }\n}\n"),
        form(".:53 {\n log\n hosts {\n  ttl\n 5\n }\n}\n"),
        form(".:53 {\n log hosts {\n  ttl 5\n }\n}\n"),
        form(".:53 {\n hosts {\n  ttl 5\n }\n log\n}\n"),
        form(".:53 {\n log\n hosts {\n }\n}\n"),
        form(".:53 {\n log\n hosts\n}\n"),
    ];
    assert!(other.iter().all(|other| *other != one));
}

#[test]
fn normal_form_means_the_same() {
    let text = "a, b:53 {\n d \"x y\" \"\" \"{\" \"q\\\"#\" c\n e {\n  o \"\n\"\n  n {\n   m\n  }\n }\n}\n.\nlog";
    let (corefile, _) = plain(text);
    let shown = show(&corefile);
    let (again, report) = plain(&shown);
    assert!(report.is_empty());
    assert_eq!(again.canonical_json(), corefile.canonical_json());
    assert_eq!(show(&again), shown);
    assert_eq!(plain("a {\nd {\no p\n}\n}").0.blocks.len(), 1);
    assert_eq!(
        show(&plain("a b {\nd {\no p\n}\n}").0),
        "a b {\n    d {\n        o p\n    }\n}\n"
    );
}

#[test]
fn what_is_refused_and_what_is_only_warned_of() {
    let loader = Memory::new().file("f", "log");
    let table: &[(&str, &[&str])] = &[
        ("a, {\n}", &["CF0108"]),
        ("a\n d {\n  x", &["CF0101"]),
        ("a\n d {\n } }", &["CF0105"]),
        ("import f f", &["CF0106"]),
        ("import f {\n log\n}", &["CF0106"]),
        (". {\n import f }\n", &["CF0106"]),
        (". {\n import f {\n x\n }\n}", &["CF0106"]),
        ("import", &["CF0106"]),
        ("import missing", &["CF0503"]),
        ("import }{$\"", &["CF0503"]),
        ("import /*/*.txt", &["CF0506"]),
        ("import /???/?*?o", &["CF0506"]),
        ("import /??", &["CF0506"]),
        ("import /[a-z]", &["CF0506"]),
        ("import {$$}", &["CF0501", "CF0106"]),
        ("import Corefile", &["CF0116"]),
        ("import ./x/../Corefile", &["CF0116"]),
        ("import *.none", &["CF0504"]),
        ("(a)\nb\n", &["CF0117"]),
        ("(a) {\n b {\n }\n", &["CF0101"]),
        ("(a) {\n}\n(a) {\n}\n", &["CF0115"]),
        (". {\n {\n x\n }\n log\n}", &["CF0103"]),
        (". {\n d {\n  {\n  }\n }\n}", &["CF0103"]),
        (". {\n d {\n } e\n}", &["CF0104"]),
        (". {\n log\n}\n}", &["CF0105"]),
        (".\nlog\n}", &["CF0105"]),
        ("{\n log\n}", &["CF0110"]),
        ("a,b {\n}", &["CF0111"]),
        (". {\n}\nx \"y", &["CF0112"]),
        ("a#b {\n}", &["CF0113"]),
        ("\u{feff}\u{feff}a {\n}", &[]),
    ];
    for (text, wanted) in table {
        let (corefile, report) = parse("./Corefile", (*text).into(), &loader);
        assert_eq!(
            codes(&report),
            *wanted,
            "{text:?}\n{}",
            report.render(&corefile.sources, false)
        );
    }
}

#[test]
fn the_disk() {
    let root = std::env::temp_dir().join(format!("nameplate-corefile-{}", std::process::id()));
    std::fs::create_dir_all(root.join("conf.d/sub")).unwrap();
    for (name, text) in [
        ("b.conf", "b {\n}\n"),
        ("a.conf", "a {\n}\n"),
        ("note.txt", "}"),
    ] {
        std::fs::write(root.join("conf.d").join(name), text).unwrap();
    }
    let name = root.join("Corefile").display().to_string();
    let found = |text: &str| {
        let (corefile, report) = parse(&name, text.into(), &crate::Disk);
        (outline(&corefile), codes(&report))
    };
    assert_eq!(
        found("import conf.d/*.conf"),
        ("a [] | b []".into(), vec![])
    );
    assert_eq!(found("import */a.conf"), ("a []".into(), vec![]));
    assert_eq!(
        found("import conf.d/?.conf\n"),
        ("a [] | b []".into(), vec![])
    );
    assert_eq!(
        found("import conf.d/a.conf\nc {\n}"),
        ("a [] | c []".into(), vec![])
    );
    assert_eq!(found("import conf.d/sub").1, ["CF0505"]);
    assert!(found("import conf.d/*").1.contains(&"CF0505"));
    assert_eq!(found("import none/*.conf").1, ["CF0504"]);
    assert_eq!(found("import none").1, ["CF0503"]);
    assert_eq!(found("import /dev/zero").1, ["CF0505"]);
    std::fs::remove_dir_all(root).unwrap();
}
