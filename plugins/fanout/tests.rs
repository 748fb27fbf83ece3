//! Tries `fanout` on upstreams of real sockets.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use chain::Flow;
use wire::{Rcode, Type};

use crate::trial::{self, answer, reply_of, serve};

#[test]
fn options_are_read() {
    trial::table(&[
        ("fanout . 127.0.0.1", ""),
        ("fanout example.org 127.0.0.1:9005 127.0.0.1:9006", ""),
        ("fanout . 127.0.0.1 {\n except a b\n worker-count 3\n}", ""),
        ("fanout . 127.0.0.1 127.0.0.2 {\n network TCP\n}", ""),
        (
            "fanout . 127.0.0.1 {\n race\n race-continue-on-error-response\n timeout 1m\n attempt-count 0\n}",
            "",
        ),
        (
            "fanout . tls://127.0.0.1 {\n tls-server dns.example.org\n}",
            "",
        ),
        (
            "fanout . 127.0.0.1 127.0.0.2 127.0.0.3 {\n policy weighted-random\n weighted-random-server-count 2\n weighted-random-load-factor 50 70 100\n}",
            "",
        ),
        (
            "fanout . 127.0.0.1 127.0.0.2 {\n policy sequential\n worker-count 2\n next SERVFAIL\n}",
            "",
        ),
        ("fanout", "Wrong argument count"),
        ("fanout .", "Wrong argument count"),
        (
            "fanout . 127.0.0.1\nfanout . 127.0.0.2",
            "only be used once",
        ),
        (
            "fanout . 127.0.0.1 {\n worker-count 1\n}",
            "Consider to use Forward plugin",
        ),
        (
            "fanout . 127.0.0.1 {\n worker-count 33\n}",
            "worker count more then max value",
        ),
        ("fanout . 127.0.0.1 {\n worker-count ten\n}", "not a number"),
        (
            "fanout . 127.0.0.1 {\n network XXX\n}",
            "unknown network protocol",
        ),
        ("fanout . 127.0.0.1 {\n policy random\n}", "unknown policy"),
        (
            "fanout . 127.0.0.1 {\n timeout 0\n}",
            "timeout must be positive",
        ),
        (
            "fanout . 127.0.0.1 {\n weighted-random-load-factor 0\n}",
            "number out of range",
        ),
        (
            "fanout . 127.0.0.1 {\n weighted-random-load-factor 50 50\n}",
            "load-factor params count must be the same",
        ),
        (
            "fanout . 127.0.0.1 {\n except-file /nowhere/zones\n}",
            "open /nowhere/zones",
        ),
        (
            "fanout . 127.0.0.1 {\n workers 2\n}",
            "unknown property 'workers'",
        ),
        (
            "fanout . quic://127.0.0.1",
            "is not supported as a destination protocol in fanout",
        ),
    ]);
}

#[test]
fn the_manual_is_true() {
    trial::readme(include_str!("README.md"));
}

/// What is answered by `lines` above a plugin that says REFUSED.
fn ask(lines: &str, name: &str) -> String {
    let last = answer(|_, response| {
        response.set_rcode(Rcode::REFUSED);
        Ok(Flow::Answered)
    });
    let block = serve(&trial::block(lines), ".", last);
    trial::ask(&block, name, Type::A)
}

/// An upstream that answers with an RCODE, and with an address where that is NOERROR; how often it was asked.
fn upstream(rcode: Rcode, last: u8) -> (std::net::SocketAddr, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let address = trial::upstream(move |query| {
        count.fetch_add(1, Ordering::Relaxed);
        let address = (rcode == Rcode::NOERROR).then_some([192, 0, 2, last]);
        Some(reply_of(query, rcode, address))
    });
    (address, asked)
}

#[test]
fn the_first_good_answer_counts_whatever_else_comes() {
    let silent = trial::upstream(|_| None);
    let (bad, _) = upstream(Rcode::SERVFAIL, 0);
    let (good, _) = upstream(Rcode::NOERROR, 7);
    let begun = Instant::now();
    let lines = format!("fanout . {silent} {bad} {good}");
    assert_eq!(
        ask(&lines, "www.example.org"),
        "NOERROR | www.example.org. 60 A 192.0.2.7"
    );
    // No upstream that is silent is waited for: a datagram alone would be taken for lost after 0.1 s, and the upstream given up after 2 s.
    assert!(begun.elapsed() < Duration::from_secs(2));
}

#[test]
fn without_a_good_answer_the_first_other_one_counts() {
    let (unknown, _) = upstream(Rcode::NXDOMAIN, 0);
    let silent = trial::upstream(|_| None);
    let lines = format!("fanout . {unknown} {silent} {{\n timeout 400ms\n}}");
    assert_eq!(ask(&lines, "www.example.org"), "NXDOMAIN");
    let lines = format!("fanout . {unknown} {silent} {{\n timeout 400ms\n next NXDOMAIN\n}}");
    assert_eq!(
        ask(&lines, "www.example.org"),
        "REFUSED",
        "the next plugin answers"
    );
    let lines = format!("fanout . {silent} {{\n timeout 300ms\n}}");
    assert_eq!(ask(&lines, "www.example.org"), "SERVFAIL");
}

#[test]
fn a_race_ends_with_the_first_answer() {
    let (unknown, _) = upstream(Rcode::NXDOMAIN, 0);
    let (bad, _) = upstream(Rcode::SERVFAIL, 0);
    let silent = trial::upstream(|_| None);
    let begun = Instant::now();
    let lines = format!("fanout . {silent} {unknown} {{\n race\n}}");
    assert_eq!(ask(&lines, "www.example.org"), "NXDOMAIN");
    assert!(begun.elapsed() < Duration::from_secs(2));
    let late = trial::upstream(|query| {
        std::thread::sleep(Duration::from_millis(50));
        Some(reply_of(query, Rcode::NXDOMAIN, None))
    });
    let lines = format!("fanout . {bad} {late} {{\n race\n}}");
    assert_eq!(ask(&lines, "www.example.org"), "SERVFAIL");
    let lines = format!("fanout . {bad} {late} {{\n race\n race-continue-on-error-response\n}}");
    assert_eq!(ask(&lines, "www.example.org"), "NXDOMAIN");
}

#[test]
fn so_many_are_asked_at_a_time_as_there_are_workers() {
    let upstreams: Vec<_> = (1..=4).map(|last| upstream(Rcode::NOERROR, last)).collect();
    let to: Vec<String> = upstreams.iter().map(|(to, _)| to.to_string()).collect();
    let lines = format!("fanout . {} {{\n worker-count 2\n}}", to.join(" "));
    assert!(ask(&lines, "www.example.org").starts_with("NOERROR | www.example.org."));
    // The third is asked when one of the first two has failed, which none did.
    let asked = |at: usize| upstreams[at].1.load(Ordering::Relaxed);
    assert_eq!((asked(2), asked(3)), (0, 0));
    let (bad, _) = upstream(Rcode::SERVFAIL, 0);
    let lines = format!("fanout . {bad} {bad} {} {{\n worker-count 2\n}}", to[3]);
    assert!(ask(&lines, "other.example.org").starts_with("NOERROR"));
    assert_eq!(asked(3), 1);
}

#[test]
fn exceptions_go_on_to_the_next_plugin() {
    let folder = trial::Folder::new("fanout");
    let file = folder.write(
        "zones",
        "# ours\nlocal.example.org\n\nEXAMPLE.com # theirs\n",
    );
    let (good, _) = upstream(Rcode::NOERROR, 7);
    let lines = format!(
        "fanout . {good} {{\n except example.net\n except-file {}\n}}",
        file.display()
    );
    for name in ["www.example.net", "a.local.example.org", "example.com"] {
        assert_eq!(ask(&lines, name), "REFUSED", "{name}");
    }
    assert!(ask(&lines, "www.example.org").starts_with("NOERROR"));
    let lines = format!("fanout example.org {good}");
    assert_eq!(ask(&lines, "www.example.net"), "REFUSED");
}

#[test]
fn upstreams_are_drawn_by_their_weights() {
    let (rare, rare_asked) = upstream(Rcode::NOERROR, 1);
    let (often, often_asked) = upstream(Rcode::NOERROR, 2);
    let lines = format!(
        "fanout . {rare} {often} {{\n policy weighted-random\n weighted-random-server-count 1\n weighted-random-load-factor 1 99\n}}"
    );
    for n in 0..50 {
        assert!(ask(&lines, &format!("n{n}.example.org")).starts_with("NOERROR"));
    }
    let (rare, often) = (
        rare_asked.load(Ordering::Relaxed),
        often_asked.load(Ordering::Relaxed),
    );
    assert_eq!(rare + often, 50, "one for each query");
    // With 1 of 100, more than 20 of 50 have a probability below 10^-27.
    assert!(rare <= 20, "{rare} of 50");
}

#[test]
fn what_upstreams_answer_is_counted() {
    let (good, _) = upstream(Rcode::NOERROR, 7);
    assert!(ask(&format!("fanout . {good}"), "www.example.org").starts_with("NOERROR"));
    let metrics = telemetry::metrics::encode_text();
    for line in [
        format!("coredns_fanout_request_count_total{{to=\"{good}\"}} 1"),
        format!("coredns_fanout_response_rcode_count_total{{rcode=\"NOERROR\",to=\"{good}\"}} 1"),
        format!("coredns_fanout_request_duration_seconds_count{{to=\"{good}\"}} 1"),
    ] {
        assert!(metrics.contains(&line), "{line}");
    }
}
