//! What moves, what is refused, and what is warned of.

use crate::trial;

/// The plugins of the first block, in the order in which they run.
fn chain(lines: &str) -> Vec<&'static str> {
    let trial = trial::block(lines);
    assert!(trial.accepted, "{lines}: {}", trial.messages);
    let steps = trial.blocks[0].chain.steps();
    steps.iter().map(|step| step.plugin.name()).collect()
}

const LINES: &str = "errors\ncache\nhosts {\n192.0.2.1 a.example.org\nfallthrough\n}\nforward a.example 192.0.2.1\nforward . 192.0.2.2\nwhoami";

#[test]
fn plugins_move() {
    let plain = ["errors", "cache", "hosts", "forward", "forward", "whoami"];
    for (order, expected) in [
        ("", plain),
        ("order coredns-1.14.7", plain),
        ("order {\n}", plain),
        (
            "order {\nhosts before cache\n}",
            ["errors", "hosts", "cache", "forward", "forward", "whoami"],
        ),
        // Next to a plugin that is not in the block.
        (
            "order {\nhosts before rewrite\n}",
            ["errors", "hosts", "cache", "forward", "forward", "whoami"],
        ),
        (
            "order coredns-1.14.7 {\nforward first\nerrors after whoami\n}",
            ["forward", "forward", "cache", "hosts", "whoami", "errors"],
        ),
        // Each line starts from what the lines above have made.
        (
            "order {\nwhoami first\nwhoami after errors\ncache last\n}",
            ["errors", "whoami", "hosts", "forward", "forward", "cache"],
        ),
    ] {
        assert_eq!(chain(&format!("{order}\n{LINES}")), expected, "{order}");
    }
}

#[test]
fn handlers_of_one_plugin_keep_their_lines() {
    let trial = trial::block(&format!("order {{\nforward first\n}}\n{LINES}"));
    let steps = trial.blocks[0].chain.steps();
    let places: Vec<_> = steps.iter().map(|step| step.place()).collect();
    assert!(places[0] < places[1], "{places:?}");
}

#[test]
fn lines() {
    trial::table(&[
        ("order", "unexpected line ending after 'order'"),
        ("order coredns-1.0", "no order is called 'coredns-1.0'"),
        ("order coredns-1.14.7 x", "unexpected line ending"),
        ("order {\nhosts\n}", "unexpected 'hosts'"),
        ("order {\nhosts above cache\n}", "unexpected 'above'"),
        ("order {\nhosts before\n}", "unexpected 'before'"),
        ("order {\nhosts first cache\n}", "unexpected 'first'"),
        (
            "order {\nhost before cache\n}",
            "no plugin is called 'host'",
        ),
        (
            "order {\nhosts before cach\n}",
            "no plugin is called 'cach'",
        ),
        ("order {\nhosts after hosts\n}", "moved past itself"),
        ("order {\n}\norder {\n}", "can only be used once"),
    ]);
}

#[test]
fn what_moves_nothing_is_warned_of() {
    for (lines, expected) in [
        ("order {\nhosts first\n}\nwhoami", "`order` moves `hosts`"),
        (
            "order {\nbind first\n}\nbind 127.0.0.1\nwhoami",
            "`bind` has no place in the chain",
        ),
    ] {
        let trial = trial::block(lines);
        assert!(
            trial.accepted && trial.messages.contains(expected),
            "{}",
            trial.messages
        );
    }
}

#[test]
fn the_lints_know_the_order() {
    // In the usual order `hosts` would answer everything, and `whoami` would never be asked.
    let written = "hosts {\n192.0.2.1 a.example.org\n}\nwhoami";
    let messages = |order: &str| trial::block(&format!("{order}\n{written}")).messages;
    assert!(messages("").contains("`whoami` is never asked"));
    assert!(messages("order {\nwhoami first\n}").contains("`hosts` is never asked"));
}

#[test]
fn readme() {
    trial::readme(include_str!("README.md"));
}
