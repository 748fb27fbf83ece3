use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chain::Plugin;
use chain::admin::{Overview, Page, PageRequest};
use host::threads::Thread;

use super::{pages, profile};
use crate::trial;

/// A process of which nothing is asked.
struct Process;

impl Overview for Process {
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

/// What a path answers.
fn get(path: &str) -> Option<Page> {
    let request = PageRequest {
        query: "seconds=30",
        accept: "",
        overview: &Process,
    };
    let found = pages().into_iter().find(|(there, _)| *there == path);
    found.map(|(_, serve)| serve(&request))
}

#[test]
fn pages_tell_what_there_is_and_what_not() {
    for (path, status, text) in [
        ("/debug/pprof", 200, "/debug/pprof/profile"),
        ("/debug/pprof/", 200, "goroutine: there are no goroutines"),
        ("/debug/pprof/heap", 501, "501 not implemented: allocations"),
        ("/debug/pprof/trace", 501, "no execution tracer"),
        ("/debug/pprof/symbol", 501, "501 not implemented"),
    ] {
        let page = get(path).expect("a page");
        assert_eq!(page.status, status, "{path}");
        let body = String::from_utf8(page.body).expect("text");
        assert!(body.contains(text), "{path}: {body}");
    }
    assert_eq!(get("/debug/pprof/other"), None);
    let words: Vec<_> = std::env::args().collect();
    let page = get("/debug/pprof/cmdline").expect("a page");
    assert_eq!(page.body, words.join("\0").into_bytes());
}

/// Reads a number of seven bits an octet.
fn varint(octets: &mut &[u8]) -> u64 {
    let (mut number, mut shift) = (0, 0);
    loop {
        let (first, rest) = octets.split_first().expect("more");
        *octets = rest;
        number |= u64::from(first & 0x7F) << shift;
        shift += 7;
        if first & 0x80 == 0 {
            return number;
        }
    }
}

/// The values of a message by field.
type Fields<T> = BTreeMap<u64, Vec<T>>;

/// The fields of a message: numbers, and octets.
fn fields(mut octets: &[u8]) -> (Fields<u64>, Fields<&[u8]>) {
    let mut numbers = Fields::new();
    let mut parts = Fields::new();
    while !octets.is_empty() {
        let tag = varint(&mut octets);
        let number = varint(&mut octets);
        match tag & 7 {
            0 => numbers.entry(tag >> 3).or_default().push(number),
            2 => {
                let (part, rest) = octets.split_at(number as usize);
                parts.entry(tag >> 3).or_default().push(part);
                octets = rest;
            }
            kind => panic!("a field of kind {kind}"),
        }
    }
    (numbers, parts)
}

/// The profile as its format (proto/profile.proto) has it: stacks of names, the innermost first, and nanoseconds.
fn stacks(profile: &[u8]) -> Vec<(Vec<String>, u64)> {
    let (numbers, parts) = fields(profile);
    assert_eq!(numbers[&9], [7_000_000_000]);
    let names: Vec<_> = parts[&6]
        .iter()
        .map(|name| String::from_utf8_lossy(name).into_owned())
        .collect();
    assert_eq!(names[0], "");
    let (kind, _) = fields(parts[&1][0]);
    let kind = [kind[&1][0], kind[&2][0]].map(|name| names[name as usize].as_str());
    assert_eq!(kind, ["cpu", "nanoseconds"]);
    let functions: BTreeMap<_, _> = parts[&5]
        .iter()
        .map(|function| fields(function).0)
        .map(|function| (function[&1][0], names[function[&2][0] as usize].clone()))
        .collect();
    let locations: BTreeMap<_, _> = parts[&4]
        .iter()
        .map(|location| fields(location))
        .map(|(location, lines)| (location[&1][0], fields(lines[&4][0]).0[&1][0]))
        .collect();
    let samples = parts[&2].iter().map(|sample| fields(sample).0);
    samples
        .map(|sample| {
            let stack = sample[&1].iter();
            let stack = stack.map(|location| functions[&locations[location]].clone());
            (stack.collect(), sample[&2][0])
        })
        .collect()
}

#[test]
fn a_profile_has_the_time_of_each_thread() {
    let thread = |name: &str, user, system| Thread {
        name: name.to_owned(),
        user: Duration::from_millis(user),
        system: Duration::from_millis(system),
    };
    let threads = [
        thread("worker-0", 1_230, 40),
        thread("tokio", 1, 0),
        thread("tokio", 2, 3),
        thread("user", 4, 5),
    ];
    let profile = profile::encode(&threads, Duration::from_secs(7));
    let stack = |side: &str, name: &str, time: u64| {
        (vec![side.to_owned(), name.to_owned()], time * 1_000_000)
    };
    assert_eq!(
        stacks(&profile),
        [
            stack("user", "worker-0", 1_230),
            stack("kernel", "worker-0", 40),
            stack("user", "tokio", 1),
            stack("kernel", "tokio", 0),
            stack("user", "tokio", 2),
            stack("kernel", "tokio", 3),
            stack("user", "user", 4),
            stack("kernel", "user", 5),
        ]
    );
    let page = get("/debug/pprof/profile").expect("a page");
    assert_eq!(
        (page.status, page.content_type),
        (200, "application/octet-stream")
    );
    assert!(!page.body.is_empty());
}

#[test]
fn where_it_listens() {
    let trial = trial::block("pprof");
    let pages = &trial.process.endpoints;
    assert!(
        pages
            .iter()
            .all(|page| page.address.to_string() == "127.0.0.1:6053")
    );
    assert!(pages.iter().any(|page| page.path == "/debug/pprof/"));
}

#[test]
fn lines() {
    trial::table(&[
        ("pprof", ""),
        ("pprof 127.0.0.1:1234", ""),
        ("pprof :1234", ""),
        ("pprof {\n}", ""),
        ("pprof {\n  block\n}", ""),
        ("pprof :1234 {\n  block 20\n}", ""),
        ("pprof :1234 -1", "unexpected line ending after ':1234'"),
        ("pprof /foo", "not a host and port: `/foo`"),
        ("pprof {\n  a b\n}", "unknown property 'a'"),
        (
            "pprof {\n  block 20 30\n}",
            "unexpected line ending after '30'",
        ),
        (
            "pprof {\n  block invalid\n}",
            "property 'block' invalid integer value 'invalid'",
        ),
        (
            "pprof\npprof",
            "this plugin can only be used once per Server Block",
        ),
    ]);
}

#[test]
fn examples_load() {
    trial::readme(include_str!("README.md"));
}
