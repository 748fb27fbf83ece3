use chain::{Flow, Outcome};
use host::clock;
use wire::Type;

use crate::trial;

/// How long a query may wait, in milliseconds.
fn patience(lines: &str) -> Option<u64> {
    let block = trial::serve(
        &trial::block(lines),
        ".",
        trial::answer(|_, _| Ok(Flow::Answered)),
    );
    let mut exchange = trial::exchange("www.example.org.", Type::A, None);
    assert_eq!(exchange.walk(&block), Outcome::Respond);
    // What the server asks itself for the client has the client's deadline; what it does in the background has none.
    let inner = exchange.derive(wire::Name::ROOT, Type::A);
    assert_eq!(inner.context.deadline(), exchange.context.deadline());
    assert_eq!(exchange.fork().context.deadline(), None);
    let at = exchange.context.deadline()?;
    Some((at - exchange.context.received) / (clock::SECOND / 1_000))
}

#[test]
fn queries_get_a_deadline() {
    for (lines, expected) in [
        ("cancel", Some(5_001)),
        ("cancel 1s", Some(1_000)),
        ("cancel 2m", Some(120_000)),
        ("cancel 1s\ncancel 3s", Some(3_000)),
        ("debug", None),
    ] {
        assert_eq!(patience(lines), expected, "{lines}");
    }
}

#[test]
fn lines() {
    trial::table(&[
        ("cancel", ""),
        ("cancel 5s", ""),
        ("cancel 0", "invalid duration: `0`"),
        ("cancel 5", "missing unit in duration: `5`"),
        ("cancel -1s", "negative duration: `-1s`"),
        ("cancel nearly", "not a duration: `nearly`"),
        ("cancel 1s 2s", "unexpected line ending after '1s'"),
        ("cancel {\n  1s\n}", "`cancel` takes no block"),
    ]);
}

#[test]
fn examples_load() {
    trial::readme(include_str!("README.md"));
}
