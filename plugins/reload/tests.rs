use std::time::Duration;

use crate::trial;

#[test]
fn lines() {
    let short = "interval value must be greater or equal to 2s";
    let jitter = "jitter value must be 0 or greater or equal to 1s";
    trial::table(&[
        ("reload", ""),
        ("reload 10s", ""),
        ("reload 10s 2s", ""),
        ("reload 10s 0", ""),
        ("reload 10s 0s", ""),
        ("reload 2s", ""),
        ("reload 1999ms", short),
        ("reload 0", short),
        ("reload 10s 999ms", jitter),
        ("reload 10", "missing unit in duration"),
        ("reload 10s 2", "missing unit in duration"),
        ("reload -10s", "negative duration"),
        ("reload ten", "not a duration"),
        ("reload 10s 2s 3s", "unexpected line ending after '2s'"),
        ("reload {\n  interval 10s\n}", "takes no block"),
        ("reload\nreload 1s", short),
    ]);
}

#[test]
fn what_the_process_is_told() {
    for (lines, interval, jitter) in [
        ("reload", 30, 15),
        ("reload 10s", 10, 5),
        ("reload 10s 2s", 10, 2),
        ("reload 10s 0", 10, 0),
        ("reload 10s 1h", 10, 5),
        ("reload 10s 2s\nreload 20s", 10, 2),
    ] {
        let every = trial::block(lines).process.reload.expect(lines);
        let expected = (Duration::from_secs(interval), Duration::from_secs(jitter));
        assert_eq!((every.interval, every.jitter), expected, "{lines}");
    }
    assert!(trial::block("debug").process.reload.is_none());
}

#[test]
fn the_first_block_counts() {
    let trial = trial::build("example.org {\n  reload 10s\n}\nexample.net {\n  reload 20s\n}\n");
    let every = trial.process.reload.expect("set");
    assert_eq!(every.interval, Duration::from_secs(10));
}

#[test]
fn readme() {
    trial::readme(include_str!("README.md"));
}
