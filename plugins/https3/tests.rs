use chain::Transport;
use chain::setup::ListenerBounds;

use crate::trial;

#[test]
fn lines() {
    trial::table(&[
        ("https3", ""),
        ("https3 {\n}", ""),
        ("https3 {\n  max_streams 100\n}", ""),
        ("https3 {\n  max_connections 100\n}", ""),
        ("https3 {\n  max_streams 0\n}", ""),
        (
            "https3 {\n  max_streams -1\n}",
            "must be a non-negative integer",
        ),
        (
            "https3 {\n  max_streams abc\n}",
            "invalid max_streams value 'abc'",
        ),
        ("https3 {\n  max_streams\n}", "Wrong argument count"),
        ("https3 {\n  max_streams 1 2\n}", "Wrong argument count"),
        (
            "https3 {\n  max_streams 1\n  max_streams 2\n}",
            "already defined",
        ),
        ("https3 {\n  other 1\n}", "unknown property 'other'"),
        ("https3 extra", "Wrong argument count"),
        (
            "https3\nhttps3",
            "this plugin can only be used once per Server Block",
        ),
    ]);
}

#[test]
fn what_the_block_is_told() {
    let bounds = |lines: &str| trial::block(lines).blocks[0].config.bounds.clone();
    assert_eq!(bounds("debug").get(&Transport::Https3), None);
    let default = ListenerBounds::default();
    assert_eq!(bounds("https3").get(&Transport::Https3), Some(&default));
    let expected = ListenerBounds {
        streams: 7,
        connections: 8,
        ..ListenerBounds::default()
    };
    let told = bounds("https3 {\n  max_streams 7\n  max_connections 8\n}");
    assert_eq!(told.get(&Transport::Https3), Some(&expected));
}

#[test]
fn readme() {
    trial::readme(include_str!("README.md"));
}
