use chain::Transport;
use chain::setup::ListenerBounds;

use crate::trial;

#[test]
fn lines() {
    trial::table(&[
        ("quic", ""),
        ("quic {\n}", ""),
        ("quic {\n  max_streams 100\n}", ""),
        ("quic {\n  worker_pool_size 100\n}", ""),
        ("quic {\n  max_streams 0\n}", "must be a positive integer"),
        ("quic {\n  max_streams -1\n}", "must be a positive integer"),
        (
            "quic {\n  max_streams abc\n}",
            "invalid max_streams value 'abc'",
        ),
        ("quic {\n  max_streams\n}", "Wrong argument count"),
        ("quic {\n  max_streams 1 2\n}", "Wrong argument count"),
        (
            "quic {\n  max_streams 1\n  max_streams 2\n}",
            "already defined",
        ),
        ("quic {\n  other 1\n}", "unknown property 'other'"),
        ("quic extra", "Wrong argument count"),
        (
            "quic\nquic",
            "this plugin can only be used once per Server Block",
        ),
    ]);
}

#[test]
fn what_the_block_is_told() {
    let bounds = |lines: &str| trial::block(lines).blocks[0].config.bounds.clone();
    assert_eq!(bounds("debug").get(&Transport::Quic), None);
    let default = ListenerBounds::default();
    assert_eq!(bounds("quic").get(&Transport::Quic), Some(&default));
    let expected = ListenerBounds {
        streams: 7,
        queries: 8,
        ..ListenerBounds::default()
    };
    let told = bounds("quic {\n  max_streams 7\n  worker_pool_size 8\n}");
    assert_eq!(told.get(&Transport::Quic), Some(&expected));
}

#[test]
fn readme() {
    trial::readme(include_str!("README.md"));
}
