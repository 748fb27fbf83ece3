use chain::Transport;
use chain::setup::ListenerBounds;

use crate::trial;

#[test]
fn lines() {
    trial::table(&[
        ("https", ""),
        ("https {\n}", ""),
        ("https {\n  max_connections 100\n}", ""),
        ("https {\n  max_connections 0\n}", ""),
        (
            "https {\n  max_connections -1\n}",
            "must be a non-negative integer",
        ),
        (
            "https {\n  max_connections abc\n}",
            "invalid max_connections value 'abc'",
        ),
        ("https {\n  max_connections\n}", "Wrong argument count"),
        ("https {\n  max_connections 1 2\n}", "Wrong argument count"),
        (
            "https {\n  max_connections 1\n  max_connections 2\n}",
            "already defined",
        ),
        ("https {\n  other 1\n}", "unknown property 'other'"),
        ("https extra", "Wrong argument count"),
        (
            "https\nhttps",
            "this plugin can only be used once per Server Block",
        ),
    ]);
}

#[test]
fn what_the_block_is_told() {
    let bounds = |lines: &str| trial::block(lines).blocks[0].config.bounds.clone();
    assert_eq!(bounds("debug").get(&Transport::Https), None);
    let default = ListenerBounds::default();
    assert_eq!(bounds("https").get(&Transport::Https), Some(&default));
    let expected = ListenerBounds {
        connections: 7,
        ..ListenerBounds::default()
    };
    let told = bounds("https {\n  max_connections 7\n}");
    assert_eq!(told.get(&Transport::Https), Some(&expected));
}

#[test]
fn readme() {
    trial::readme(include_str!("README.md"));
}
