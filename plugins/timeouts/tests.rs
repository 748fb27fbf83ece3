use std::time::Duration;

use chain::setup::StreamLimits;

use crate::trial;

#[test]
fn lines() {
    let range = "needs to be between 1 second and 24 hours";
    trial::table(&[
        ("timeouts {\n  read 1s\n}", ""),
        ("timeouts {\n  write 24h\n}", ""),
        ("timeouts {\n  idle 60\n}", ""),
        ("timeouts {\n  maxtcpqueries 1\n}", ""),
        ("timeouts {\n  maxtcpqueries -1\n}", ""),
        ("timeouts", "timeouts block with no timeouts specified"),
        ("timeouts {\n}", "timeouts block with no timeouts specified"),
        (
            "timeouts 10s {\n  read 1s\n}",
            "unexpected line ending after 'timeouts'",
        ),
        ("timeouts {\n  read 999ms\n}", range),
        ("timeouts {\n  read 0\n}", range),
        ("timeouts {\n  read 86401\n}", range),
        ("timeouts {\n  read ten\n}", "not a duration"),
        (
            "timeouts {\n  read\n}",
            "unexpected line ending after 'read'",
        ),
        (
            "timeouts {\n  read 1s 2s\n}",
            "unexpected line ending after '2s'",
        ),
        ("timeouts {\n  reed 1s\n}", "unknown property 'reed'"),
        (
            "timeouts {\n  maxtcpqueries 0\n}",
            "needs to be -1 (unlimited)",
        ),
        (
            "timeouts {\n  maxtcpqueries -2\n}",
            "needs to be -1 (unlimited)",
        ),
        (
            "timeouts {\n  maxtcpqueries x\n}",
            "invalid value for maxtcpqueries 'x'",
        ),
    ]);
}

#[test]
fn what_the_block_is_told() {
    let streams = |lines: &str| trial::block(lines).blocks[0].config.streams;
    assert_eq!(streams("debug"), StreamLimits::default());
    assert_eq!(
        streams("timeouts {\n  read 10s\n  write 20\n  idle 1m\n  maxtcpqueries 128\n}"),
        StreamLimits {
            read: Duration::from_secs(10),
            write: Duration::from_secs(20),
            idle: Duration::from_secs(60),
            queries: Some(128),
        }
    );
    let two =
        streams("timeouts {\n  read 10s\n}\ntimeouts {\n  idle 1m\n  maxtcpqueries 9999999999\n}");
    assert_eq!(
        two,
        StreamLimits {
            read: Duration::from_secs(10),
            idle: Duration::from_secs(60),
            ..StreamLimits::default()
        }
    );
}

#[test]
fn readme() {
    trial::readme(include_str!("README.md"));
}
