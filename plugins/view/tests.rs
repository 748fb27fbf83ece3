use wire::Type;

use crate::trial;

#[test]
fn lines() {
    trial::table(&[
        ("view a {\n expr name() == 'example.com.'\n}\nwhoami", ""),
        (
            "view a {\n expr incidr(client_ip(), '10.0.0.0/24')\n}\nwhoami",
            "",
        ),
        (
            "view a {\n expr name() == 'example.com.'\n expr name() == 'example2.com.'\n}\nwhoami",
            "",
        ),
        ("view a\nwhoami", ""),
        ("view\nwhoami", "Wrong argument count"),
        ("view a b\nwhoami", "Wrong argument count"),
        (
            "view a {\n expr invalid expression\n}\nwhoami",
            "column 1: unknown name `invalid`",
        ),
        (
            "view a {\n expr\n}\nwhoami",
            "unexpected line ending after 'expr'",
        ),
        ("view a {\n expr name() ==\n}\nwhoami", "unexpected the end"),
        (
            "view a {\n expr name() == 1\n}\nwhoami",
            "column 8: invalid operation: `==` between string and int",
        ),
        ("view a {\n foo bar\n}\nwhoami", "unknown property 'foo'"),
        ("view a {\n}\nview b {\n}\nwhoami", "only be used once"),
    ]);
}

#[test]
fn doubts() {
    let told = |lines: &str| trial::block(lines).messages;
    let silent = told("view a {\n expr type() == 'A'\n}\nwhoami");
    assert_eq!(silent, "");
    assert!(told("view a {\n expr name()\n}\nwhoami").contains("never true"));
    assert!(told("view a {\n expr false\n}\nwhoami").contains("never true"));
    // One of several conditions, and the last of several views, may well be always true.
    assert_eq!(told("view a {\n expr true\n}\nwhoami"), "");
    assert_eq!(told("view a\nwhoami"), "");
    let label = "view a {\n expr metadata('view/name') == 'a'\n}\nwhoami";
    assert!(told(label).contains("the label `view/name` is not collected"));
    assert_eq!(told(&format!("metadata\n{label}")), "");
}

#[test]
fn a_view_admits_by_its_expressions() {
    let admits = |expressions: &[&str], name: &str, qtype: Type| {
        let lines: String = expressions
            .iter()
            .map(|one| format!(" expr {one}\n"))
            .collect();
        let trial = trial::block(&format!("metadata\nview inside {{\n{lines}}}\nwhoami"));
        assert!(trial.accepted, "{}", trial.messages);
        let filter = trial.blocks[0].config.filter.clone().expect("a filter");
        assert_eq!(&*trial.blocks[0].config.view, "inside");
        let block = trial::serve(&trial, ".", trial::answer(|_, _| Ok(chain::Flow::Answered)));
        let mut exchange = trial::exchange(name, qtype, None);
        filter.admits(&exchange.views(&block).0)
    };
    let name = "www.example.org.";
    for (expressions, expected) in [
        (&[][..], true),
        (&["type() == 'A'"], true),
        (&["type() == 'AAAA'"], false),
        (&["type() == 'A'", "name() endsWith '.org.'"], true),
        (&["type() == 'A'", "name() endsWith '.com.'"], false),
        (&["incidr(client_ip(), '192.0.2.0/24')"], true),
        (&["incidr(client_ip(), '198.51.100.0/24')"], false),
        (&["incidr('nothing', '198.51.100.0/24')"], false),
        (&["1 % 0 == 0"], false),
        (&["metadata('view/name') == 'inside'"], true),
        (&["metadata('view/other') == ''"], true),
        (&["name() == 'www.example.org.' ? 1 == 1 : false"], true),
    ] {
        assert_eq!(
            admits(expressions, name, Type::A),
            expected,
            "{expressions:?}"
        );
    }
}

#[test]
fn blocks_of_one_zone() {
    let accepted = |text: &str| {
        let trial = trial::build(text);
        (trial.accepted, trial.messages)
    };
    let view =
        |name: &str| format!("example.org:53 {{\n view {name} {{\n  expr do()\n }}\n whoami\n}}\n");
    let plain = "example.org:53 {\n whoami\n}\n";
    let (good, messages) = accepted(&format!("{}{}{plain}", view("a"), view("b")));
    assert!(good && messages.is_empty(), "{messages}");
    let (good, messages) = accepted(&format!("{}{plain}{}", view("a"), view("b")));
    assert!(
        good && messages.contains("never asked for names of `example.org.`"),
        "{messages}"
    );
    let (good, messages) = accepted(&format!("{}{plain}{plain}", view("a")));
    assert!(!good && messages.contains("already defined"), "{messages}");
}

#[test]
fn the_readme_is_true() {
    trial::readme(include_str!("README.md"));
}
