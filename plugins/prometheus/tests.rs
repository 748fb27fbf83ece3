use std::collections::BTreeMap;
use std::sync::Arc;

use chain::admin::{Overview, PageRequest};
use chain::{Block, Failure, Flow, Plugin, Transport};
use telemetry::traffic::Traffic;
use wire::{Rcode, Type};

use crate::trial::{self, Trial};

#[test]
fn lines() {
    trial::table(&[
        ("prometheus", ""),
        ("prometheus localhost:53", "DNS over TCP is served there"),
        ("prometheus :9253 {\n  runtime_metrics\n}", ""),
        ("prometheus {}", "not a host and port: `{}`"),
        ("prometheus /foo", "not a host and port: `/foo`"),
        ("prometheus :1 :2", "unexpected line ending after ':1'"),
        (
            "prometheus {\n  runtime_metrics x\n}",
            "unexpected line ending after 'x'",
        ),
        ("prometheus {\n  tls web.yml\n}", "nameplate does not yet"),
        (
            "prometheus {\n  tls\n}",
            "unexpected line ending after 'tls'",
        ),
        (
            "prometheus {\n  runtime_metric\n}",
            "unknown property 'runtime_metric'",
        ),
        ("prometheus\nprometheus", "can only be used once"),
    ]);
}

#[test]
fn blocks_share_an_address() {
    let trial = trial::build("example.org {\n  prometheus\n}\nexample.net {\n  prometheus\n}\n");
    let pages: Vec<_> = trial
        .process
        .endpoints
        .iter()
        .map(|e| (e.address.to_string(), e.path, e.closes_first))
        .collect();
    let page = ("127.0.0.1:9153".to_owned(), "/metrics", false);
    assert_eq!(pages, [page.clone(), page]);
}

/// A process that says nothing.
struct Nobody;

impl Overview for Nobody {
    fn plugins(&self) -> Vec<(usize, Arc<dyn Plugin>)> {
        Vec::new()
    }

    fn reload_failure(&self) -> Option<String> {
        None
    }

    fn shutting_down(&self) -> bool {
        false
    }
}

/// The page's type and text.
fn get(trial: &Trial, accept: &str) -> (&'static str, String) {
    let page = (trial.process.endpoints[0].serve)(&PageRequest {
        query: "",
        accept,
        overview: &Nobody,
    });
    assert_eq!(page.status, 200);
    let text = String::from_utf8(page.body).expect("UTF-8");
    (page.content_type, text)
}

/// The samples with `zone="ZONE"`, each without its value's white space: name and labels, value.
fn samples(text: &str, zone: &str) -> BTreeMap<String, String> {
    let label = format!("zone=\"{zone}\"");
    text.lines()
        .filter(|line| !line.starts_with('#') && line.contains(&label))
        .filter_map(|line| line.rsplit_once(' '))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// Walks `count` queries of one type.
fn ask(block: &Arc<Block>, qtype: Type, size: Option<u16>, count: usize) {
    for _ in 0..count {
        trial::exchange("www.example.org.", qtype, size).walk(block);
    }
}

#[test]
fn a_query_is_counted_with_coredns_names_and_labels() {
    let trial = trial::block("prometheus\nerrors");
    let zone = "counted.example.";
    let block = trial::serve(&trial, zone, trial::answer(|_, _| Ok(Flow::Answered)));
    ask(&block, Type::A, None, 2);
    ask(&block, Type(65_280), Some(1_233), 1);
    let mut exchange = trial::exchange("www.example.org.", Type::AAAA, None);
    exchange.context.peer = "[2001:db8::1]:4711".parse().expect("an address");
    exchange.context.transport = Transport::Tcp;
    exchange.context.worker = 5;
    exchange.walk(&block);

    let (_, text) = get(&trial, "");
    let seen = samples(&text, zone);
    let base = format!("server=\"dns://:53\",zone=\"{zone}\",view=\"\"");
    let value = |name: &str, more: &str| {
        let key = format!("coredns_dns_{name}{{{base}{more}}}");
        seen.get(&key).map(String::as_str)
    };
    let request = |proto: &str, family: &str, qtype: &str| {
        let labels = format!(",proto=\"{proto}\",family=\"{family}\",type=\"{qtype}\"");
        value("requests_total", &labels)
    };
    assert_eq!(request("udp", "1", "A"), Some("2"));
    assert_eq!(request("udp", "1", "other"), Some("1"));
    assert_eq!(request("tcp", "2", "AAAA"), Some("1"));
    assert_eq!(value("do_requests_total", ""), Some("1"));
    let answered = ",rcode=\"NOERROR\",plugin=\"answer\"";
    assert_eq!(value("responses_total", answered), Some("4"));
    assert_eq!(value("request_duration_seconds_count", ""), Some("4"));
    // The header and the question: 12 + 17 + 4; with an OPT record 11 more.
    let udp = ",proto=\"udp\"";
    assert_eq!(value("request_size_bytes_sum", udp), Some("110.0"));
    assert_eq!(value("request_size_bytes_count", udp), Some("3"));
    assert_eq!(value("response_size_bytes_sum", udp), Some("99.0"));
    assert_eq!(
        value("response_size_bytes_sum", ",proto=\"tcp\""),
        Some("33.0")
    );

    let bounds = |name: &str, more: &str| -> Vec<String> {
        let head = format!("coredns_dns_{name}_bucket{{le=\"");
        text.lines()
            .filter(|line| line.contains(&format!("{base}{more}}}")))
            .filter_map(|line| line.strip_prefix(&head)?.split('"').next())
            .map(str::to_owned)
            .collect()
    };
    assert_eq!(
        bounds("response_size_bytes", udp).join(" "),
        "0 100 200 300 400 511 1023 2047 4095 8291 16000 32000 48000 64000 +Inf"
    );
    assert_eq!(
        bounds("request_duration_seconds", "").join(" "),
        "0.00025 0.0005 0.001 0.002 0.004 0.008 0.016 0.032 0.064 0.128 0.256 0.512 1.024 2.048 4.096 8.192 +Inf"
    );
    for plugin in ["prometheus", "errors", "answer"] {
        let key = format!("coredns_plugin_enabled{{{base},name=\"{plugin}\"}}");
        assert_eq!(seen.get(&key).map(String::as_str), Some("1"), "{plugin}");
    }
}

#[test]
fn failures_and_silence() {
    let trial = trial::block("prometheus");
    let zone = "failing.example.";
    let failed = trial::serve(
        &trial,
        zone,
        trial::answer(|_, _| Err(Failure::servfail("no"))),
    );
    ask(&failed, Type::A, None, 1);
    let other = trial::block("prometheus");
    let silent = trial::serve(
        &other,
        "silent.example.",
        trial::answer(|_, _| Ok(Flow::Silent)),
    );
    ask(&silent, Type::A, None, 1);
    let (_, text) = get(&trial, "");
    let seen = samples(&text, zone);
    let key = format!(
        "coredns_dns_responses_total{{server=\"dns://:53\",zone=\"{zone}\",view=\"\",rcode=\"SERVFAIL\",plugin=\"\"}}"
    );
    assert_eq!(seen.get(&key).map(String::as_str), Some("1"));
    let seen = samples(&text, "silent.example.");
    assert!(seen.keys().any(|key| key.contains("requests_total")));
    assert!(!seen.keys().any(|key| key.contains("responses_total")));
}

#[test]
fn counts_outlive_a_snapshot_and_enabled_does_not() {
    let zone = "reloaded.example.";
    let answer = || trial::answer(|_, _| Ok(Flow::Answered));
    let enabled = |seen: &BTreeMap<String, String>| {
        seen.keys()
            .filter(|key| key.contains("plugin_enabled"))
            .count()
    };
    let old = trial::block("prometheus\nlog");
    let block = trial::serve(&old, zone, answer());
    ask(&block, Type::A, None, 1);
    assert_eq!(enabled(&samples(&get(&old, "").1, zone)), 3);
    drop((block, old));
    let new = trial::block("prometheus");
    let block = trial::serve(&new, zone, answer());
    ask(&block, Type::A, None, 1);
    let seen = samples(&get(&new, "").1, zone);
    assert_eq!(enabled(&seen), 2);
    let requests: Vec<_> = seen
        .iter()
        .filter(|(key, _)| key.contains("dns_requests_total"))
        .map(|(_, value)| value.as_str())
        .collect();
    assert_eq!(requests, ["2"]);
}

#[test]
fn what_no_block_serves_is_dropped() {
    let trial = trial::block("prometheus");
    let traffic = Traffic::dropped("dns://:5353".into());
    let mut exchange = trial::exchange("www.example.org.", Type::A, None);
    exchange.response().set_rcode(Rcode::REFUSED);
    exchange.count_in(&traffic);
    let seen = samples(&get(&trial, "").1, "dropped");
    let key = "coredns_dns_responses_total{server=\"dns://:5353\",zone=\"dropped\",view=\"\",rcode=\"REFUSED\",plugin=\"\"}";
    assert_eq!(seen.get(key).map(String::as_str), Some("1"));
}

/// All types and RCODEs, from both families over every transport (reliability C5).
#[test]
fn series_are_bounded() {
    let trial = trial::block("prometheus");
    let zone = "bounded.example.";
    let block = trial::serve(
        &trial,
        zone,
        trial::answer(|query, response| {
            response.set_rcode(Rcode(query.qtype().0 & 0xFFF));
            Ok(Flow::Answered)
        }),
    );
    let mut exchange = trial::exchange("www.example.org.", Type::A, None);
    for qtype in 0..=u16::MAX {
        exchange.parse().expect("a query");
        exchange.parsed.qtype = Type(qtype);
        exchange.context.worker = qtype % 3;
        exchange.walk(&block);
    }
    let seen = samples(&get(&trial, "").1, zone);
    assert!(seen.len() < 120, "{}", seen.len());
    let total: u64 = seen
        .iter()
        .filter(|(key, _)| key.contains("dns_requests_total"))
        .filter_map(|(_, value)| value.parse::<u64>().ok())
        .sum();
    assert_eq!(total, 65_536);
}

#[test]
fn the_client_chooses_the_format() {
    let trial = trial::block("prometheus");
    let text = "text/plain; version=0.0.4; charset=utf-8";
    let open = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    for (accept, content_type) in [
        ("", text),
        ("*/*", text),
        ("text/plain", text),
        ("application/openmetrics-text;q=0", text),
        ("application/openmetrics-text", open),
        (
            "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1",
            open,
        ),
    ] {
        let (given, body) = get(&trial, accept);
        assert_eq!(given, content_type, "{accept}");
        assert_eq!(body.ends_with("# EOF\n"), given == open, "{accept}");
        let name = if given == open {
            "coredns_panics"
        } else {
            "coredns_panics_total"
        };
        assert!(
            body.contains(&format!("# TYPE {name} counter\ncoredns_panics_total ")),
            "{accept}"
        );
        assert!(body.contains("\ncoredns_build_info{version=\""), "{accept}");
        assert!(
            body.contains("\nprocess_resident_memory_bytes "),
            "{accept}"
        );
        assert!(!body.contains("_total_total"), "{accept}");
    }
}

#[test]
fn readme() {
    trial::readme(include_str!("README.md"));
}
