use chain::Transport;
use chain::setup::ListenerBounds;

use crate::trial;

#[test]
fn lines() {
    trial::table(&[
        ("grpc_server", ""),
        ("grpc_server {\n}", ""),
        ("grpc_server {\n  max_streams 100\n}", ""),
        ("grpc_server {\n  max_connections 100\n}", ""),
        ("grpc_server {\n  max_streams 0\n}", ""),
        (
            "grpc_server {\n  max_streams -1\n}",
            "must be a non-negative integer",
        ),
        (
            "grpc_server {\n  max_streams abc\n}",
            "invalid max_streams value 'abc'",
        ),
        ("grpc_server {\n  max_streams\n}", "Wrong argument count"),
        (
            "grpc_server {\n  max_streams 1 2\n}",
            "Wrong argument count",
        ),
        (
            "grpc_server {\n  max_streams 1\n  max_streams 2\n}",
            "already defined",
        ),
        ("grpc_server {\n  other 1\n}", "unknown property 'other'"),
        ("grpc_server extra", "Wrong argument count"),
        (
            "grpc_server\ngrpc_server",
            "this plugin can only be used once per Server Block",
        ),
    ]);
}

#[test]
fn what_the_block_is_told() {
    let bounds = |lines: &str| trial::block(lines).blocks[0].config.bounds.clone();
    assert_eq!(bounds("debug").get(&Transport::Grpc), None);
    let default = ListenerBounds::default();
    assert_eq!(bounds("grpc_server").get(&Transport::Grpc), Some(&default));
    let expected = ListenerBounds {
        streams: 7,
        connections: 8,
        ..ListenerBounds::default()
    };
    let told = bounds("grpc_server {\n  max_streams 7\n  max_connections 8\n}");
    assert_eq!(told.get(&Transport::Grpc), Some(&expected));
}

#[test]
fn readme() {
    trial::readme(include_str!("README.md"));
}
