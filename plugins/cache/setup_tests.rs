//! What the lines of `cache` may say, and what they come to.

use std::time::Duration;

use corefile::Report;

use super::{Options, read};
use crate::trial;

/// Reads the first directive of a block.
pub(in crate::cache) fn options(directive: &str) -> (Option<Options>, Report) {
    trial::directive("cache", directive, read)
}

#[test]
fn setup_accepts_and_refuses_what_coredns_does() {
    let accepted = [
        "cache",
        "cache 10",
        "cache 25 example.org",
        "cache example.org 10.0.0.0/24",
        "cache example.org {\nsuccess 10\n}",
        "cache 25 example.org {\nsuccess 10 1800 30\ndenial 10 15 2\n}",
        "cache {\nsuccess -1\n}",
        "cache {\nprefetch 10\n}",
        "cache {\nprefetch 10 10s\n}",
        "cache {\nprefetch 10 10s 90%\n}",
        "cache {\nserve_stale\n}",
        "cache {\nserve_stale 0 VERIFY\n}",
        "cache {\nserve_stale 1h immediate 4294967295s 5m\n}",
        "cache {\nserve_stale 1h verify 100ms 30s 30s\n}",
        "cache {\nserve_stale_policy PREFER_POSITIVE\nserve_stale\n}",
        "cache {\nservfail 0\n}",
        "cache {\nservfail 5m\n}",
        "cache {\ndisable denial\ndisable success example.com example.org\n}",
        "cache {\nkeepttl\n}",
    ];
    for text in accepted {
        let (_, report) = options(text);
        assert!(!report.has_errors(), "{text}: {report:?}");
    }
    let refused = [
        ("cache 0", "cache TTL can not be zero or negative: 0"),
        ("cache -1 example.org", "can not be zero or negative"),
        ("cache\ncache", "can only be used once"),
        ("cache {\nsuccess\n}", "Wrong argument count"),
        ("cache {\ndenial aaa\n}", "not a number"),
        ("cache {\nsuccess 10 0\n}", "can not be zero or negative"),
        ("cache {\nsuccess 10 5 -1\n}", "min TTL can not be negative"),
        ("cache {\npositive 15\n}", "unknown property 'positive'"),
        (
            "cache {\nprefetch -1\n}",
            "prefetch amount should be positive",
        ),
        ("cache {\nprefetch 0 blurp\n}", "not a duration"),
        ("cache {\nprefetch 1 1s 9%\n}", "range [10, 90]: 9"),
        (
            "cache {\nprefetch 1 1s 20\n}",
            "last character of percentage",
        ),
        ("cache {\nserve_stale 20\n}", "missing unit"),
        ("cache {\nserve_stale 1m nono\n}", "refresh mode: nono"),
        (
            "cache {\nserve_stale 1h immediate 100ms\n}",
            "whole number of seconds",
        ),
        (
            "cache {\nserve_stale 1h immediate 4294967296s\n}",
            "DNS TTL range",
        ),
        (
            "cache {\nserve_stale 1h immediate 30s 5m1s\n}",
            "cannot exceed 5 minutes",
        ),
        (
            "cache {\nserve_stale 1h immediate 30s 30s extra\n}",
            "Wrong argument count",
        ),
        (
            "cache {\nserve_stale 1h verify 100ms 30s extra\n}",
            "not a duration",
        ),
        (
            "cache {\nserve_stale_policy prefer_positive\n}",
            "requires serve_stale",
        ),
        (
            "cache {\nserve_stale\nserve_stale_policy x\n}",
            "invalid serve_stale_policy: x",
        ),
        (
            "cache {\nserve_stale\nserve_stale_policy prefer_positive\nserve_stale_policy prefer_positive\n}",
            "only be specified once",
        ),
        ("cache {\nservfail 6m\n}", "over 5 minutes"),
        ("cache {\nservfail -1s\n}", "negative"),
        ("cache {\ndisable invalid\n}", "cache type for disable"),
        ("cache {\nkeepttl arg1\n}", "Wrong argument count"),
    ];
    for (text, message) in refused {
        let (_, report) = options(text);
        assert!(report.has_errors(), "{text}");
        assert!(
            report.iter().any(|one| one.message.contains(message)),
            "{text}: {report:?}"
        );
    }
}

#[test]
fn setup_reads_values() {
    let (read, _) = options(
        "cache 60 example.org {\nsuccess 5000 1800 30\ndenial 10\nprefetch 3 2m 20%\nserve_stale 2h verify 100ms 30s 1m\nservfail 1s\n}",
    );
    let read = read.unwrap();
    assert_eq!(read.zones, ["example.org."]);
    assert_eq!(
        (read.success_capacity, read.denial_capacity),
        (4_864, 1_024)
    );
    assert_eq!(
        (read.limits.success.most, read.limits.success.least),
        (1_800, 30)
    );
    assert_eq!((read.limits.denial.most, read.limits.denial.least), (60, 5));
    assert_eq!(read.limits.failure, 1);
    assert_eq!((read.prefetch.amount, read.prefetch.percentage), (3, 20));
    assert_eq!(read.stale.verify_timeout, Duration::from_millis(100));
    assert_eq!((read.stale.ttl, read.stale.recheck.as_secs()), (30, 60));
    assert_eq!(Options::default().success_capacity, 9_984);
}
