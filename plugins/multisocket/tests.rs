use crate::trial;

#[test]
fn lines() {
    trial::table(&[
        ("multisocket", ""),
        ("multisocket 1", ""),
        ("multisocket 1024", ""),
        (
            "multisocket 0",
            "num sockets can not be zero or negative: 0",
        ),
        (
            "multisocket -1",
            "num sockets can not be zero or negative: -1",
        ),
        (
            "multisocket 1025",
            "num sockets exceeds maximum (1024): 1025",
        ),
        ("multisocket many", "invalid num sockets"),
        ("multisocket 2 3", "unexpected line ending after '2'"),
        ("multisocket 2\nmultisocket 3", "can only be used once"),
        ("multisocket 2 {\n  block\n}", "takes no block"),
    ]);
}

#[test]
fn what_the_block_is_told() {
    let sockets = |lines: &str| trial::block(lines).blocks[0].config.sockets;
    assert_eq!(sockets("debug"), None);
    assert_eq!(sockets("multisocket 3"), Some(3));
    assert!(sockets("multisocket").is_some_and(|sockets| sockets >= 1));
}

#[test]
fn readme() {
    trial::readme(include_str!("README.md"));
}
