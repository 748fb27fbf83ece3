//! Orders of responses that a script wrote, and what the lines may say.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use chain::{Exchange, Plugin};
use corefile::Report;
use wire::{Class, Message, NameBuf, Rcode, Response, Section, Type};

use super::setup::{Options, prefix, read};
use super::weights::Weights;
use super::{LoadBalance, Policy};
use crate::trial;

fn options(directives: &str) -> (Options, Report) {
    trial::directive("loadbalance", directives, read)
}

#[test]
fn setup_accepts_and_refuses_what_coredns_does() {
    for text in [
        "loadbalance",
        "loadbalance round_robin",
        "loadbalance {\nprefer 10.0.0.0/8 2001:db8::/32\n}",
        "loadbalance weighted wf",
        "loadbalance weighted wf {\nreload 10s\n}",
        "loadbalance weighted wf {\nreload 0s\n}",
    ] {
        let (_, report) = options(text);
        assert!(!report.has_errors(), "{text}: {report:?}");
    }
    for (text, message) in [
        ("loadbalance fleeb", "unknown policy"),
        ("loadbalance round_robin a", "unknown property"),
        ("loadbalance weighted", "missing weight file argument"),
        ("loadbalance weighted a b", "unexpected argument(s)"),
        ("loadbalance weighted wf {\nsusu\n}", "unknown property"),
        (
            "loadbalance weighted wf {\nreload a\n}",
            "invalid reload duration",
        ),
        (
            "loadbalance weighted wf {\nreload\n}",
            "reload duration value is missing",
        ),
        (
            "loadbalance weighted wf {\nreload 30s a\n}",
            "unexpected argument",
        ),
        ("loadbalance {\nprefer 10.0.0.0\n}", "invalid CIDR"),
        ("loadbalance {\nreload 10s\n}", "unknown property"),
    ] {
        let (_, report) = options(text);
        assert!(
            report.iter().any(|one| one.message.contains(message)),
            "{text}: {report:?}"
        );
    }
    let (read, _) = options("loadbalance weighted wf");
    assert_eq!(read.weighted.unwrap().1.as_secs(), 30);
}

fn weights(text: &str) -> Result<Weights, String> {
    Weights::parse(text, Path::new("wf")).map_err(|error| error.to_string())
}

#[test]
fn weight_files() {
    let read =
        weights("\n# one\nW1.example.org\n 192.0.2.1   10\n2001:db8::1 20\nw2.example.org.\n")
            .unwrap();
    let owner: NameBuf = "w1.Example.org.".parse().unwrap();
    assert_eq!(read.of(owner, "192.0.2.1".parse().unwrap()), Some(10));
    assert_eq!(read.of(owner, "2001:db8::1".parse().unwrap()), Some(20));
    assert_eq!(read.of(owner, "192.0.2.2".parse().unwrap()), None);
    for (text, message) in [
        (
            "w1.example.org\n192.0.2.14\n192.0.2.15 20\n",
            "wrong domain name",
        ),
        ("# none\n192.0.2.14 10\n", "missing domain name"),
        ("w1.example.org\n192.0.2.300 10\n", "wrong IP address"),
        ("w1.example.org\n192.0.2.3 300\n", "wrong weight value"),
        ("w1.example.org\n192.0.2.3 0\n", "wrong weight value"),
        (
            "w1.example.org\n192.0.2.3 1 1\n",
            "could not parse weight line",
        ),
    ] {
        assert!(weights(text).unwrap_err().contains(message), "{text}");
    }
}

fn name(text: &str) -> NameBuf {
    text.parse().unwrap()
}

/// Lets `plugin` see the response that `write` makes to a query for `www.example.org A`; gives it and what it was before.
fn arrange(plugin: &LoadBalance, write: impl Fn(&mut Response<'_>)) -> (Vec<String>, Vec<String>) {
    let mut exchange = Exchange::datagram();
    let query = b"\0\x01\x01\0\0\x01\0\0\0\0\0\0\x03www\x07example\x03org\0\0\x01\0\x01";
    exchange.receive_buffer(query.len())[..query.len()].copy_from_slice(query);
    exchange.set_received(query.len());
    exchange.parse().unwrap();
    write(&mut exchange.response());
    exchange.response().seal();
    let before = shown(exchange.reply());
    let block = trial::chain([]);
    let (mut query, mut response) = exchange.views(&block);
    plugin.response(&mut query, &mut response);
    exchange.response().seal();
    (shown(exchange.reply()), before)
}

/// The records as text: section, owner, type, RDATA with its names expanded.
fn shown(octets: &[u8]) -> Vec<String> {
    let message = Message::new(octets).unwrap();
    message
        .records()
        .map(|record| {
            let record = record.unwrap();
            let owner = record.owner().unwrap();
            let rdata = match record.rtype {
                Type::MX => format!(
                    "{:?} {}",
                    &record.rdata()[..2],
                    record.rdata_name(2).unwrap()
                ),
                Type::CNAME | Type::NS => record.rdata_name(0).unwrap().to_string(),
                _ => format!("{:?}", record.rdata()),
            };
            format!("{:?} {owner} {} {rdata}", record.section, record.rtype)
        })
        .collect()
}

fn round_robin(prefixes: &[&str]) -> LoadBalance {
    LoadBalance {
        policy: Policy::Random,
        prefer: prefixes.iter().map(|text| prefix(text).unwrap()).collect(),
    }
}

fn address(response: &mut Response<'_>, section: Section, owner: &str, last: u8) {
    let fixed = (Type::A, Class::IN, 300);
    response
        .push(section, name(owner).as_name(), fixed, &[192, 0, 2, last])
        .unwrap();
}

fn mx(response: &mut Response<'_>, owner: &str, target: &str) {
    let fixed = (Type::MX, Class::IN, 300);
    let (owner, target) = (name(owner), name(target));
    response
        .push_named(
            Section::Answer,
            owner.as_name(),
            fixed,
            (&[0, 1], target.as_name()),
        )
        .unwrap();
}

#[test]
fn every_order_comes() {
    let write = |response: &mut Response<'_>| {
        for last in 1..=3 {
            address(response, Section::Answer, "www.example.org.", last);
        }
    };
    let mut orders = HashSet::new();
    for _ in 0..400 {
        let (after, before) = arrange(&round_robin(&[]), write);
        let sorted = |mut records: Vec<String>| {
            records.sort();
            records
        };
        assert_eq!(sorted(after.clone()), sorted(before));
        orders.insert(after);
    }
    assert_eq!(orders.len(), 6);
    // Nothing but NOERROR is touched.
    for _ in 0..20 {
        let (after, before) = arrange(&round_robin(&[]), |response| {
            write(response);
            response.set_rcode(Rcode::NXDOMAIN);
        });
        assert_eq!(after, before);
    }
}

#[test]
fn names_that_point_into_each_other_survive() {
    let write = |response: &mut Response<'_>| {
        // Out of group order, every name compressed against the ones before.
        mx(response, "mx.example.net.", "mx1.example.net.");
        address(response, Section::Answer, "a.example.net.", 1);
        address(response, Section::Answer, "a.example.net.", 2);
        mx(response, "mx.example.net.", "mx2.example.net.");
        let fixed = (Type::CNAME, Class::IN, 300);
        let (owner, target) = (name("c.example.net."), name("www.example.net."));
        response
            .push_named(
                Section::Answer,
                owner.as_name(),
                fixed,
                (&[], target.as_name()),
            )
            .unwrap();
        mx(response, "mx.example.net.", "mx3.example.net.");
        let fixed = (Type::NS, Class::IN, 300);
        let (owner, target) = (name("example.net."), name("mx1.example.net."));
        response
            .push_named(
                Section::Authority,
                owner.as_name(),
                fixed,
                (&[], target.as_name()),
            )
            .unwrap();
        address(response, Section::Additional, "mx1.example.net.", 3);
        address(response, Section::Additional, "mx3.example.net.", 4);
    };
    let mut firsts = HashSet::new();
    for _ in 0..100 {
        let (after, before) = arrange(&round_robin(&[]), write);
        assert_eq!(
            after.iter().collect::<HashSet<_>>(),
            before.iter().collect::<HashSet<_>>()
        );
        let types: Vec<_> = after
            .iter()
            .map(|record| record.split(' ').nth(2).unwrap())
            .collect();
        assert_eq!(types, ["CNAME", "A", "A", "MX", "MX", "MX", "NS", "A", "A"]);
        firsts.insert(after[3].clone());
    }
    assert_eq!(firsts.len(), 3);
}

#[test]
fn preferred_prefixes_come_first() {
    let plugin = round_robin(&["192.0.2.128/25", "192.0.2.8/29"]);
    for _ in 0..50 {
        let (after, _) = arrange(&plugin, |response| {
            for last in [1, 9, 200, 2, 10, 130] {
                address(response, Section::Answer, "www.example.org.", last);
            }
        });
        let ranks: Vec<_> = after
            .iter()
            .map(|record| match record.rsplit(' ').next().unwrap() {
                "200]" | "130]" => 0,
                "9]" | "10]" => 1,
                _ => 2,
            })
            .collect();
        assert_eq!(ranks, [0, 0, 1, 1, 2, 2]);
    }
}

#[test]
fn weights_decide_who_is_first() {
    let read = weights("www.example.org\n192.0.2.1 3\n").unwrap();
    let plugin = LoadBalance {
        policy: Policy::Weighted(Arc::new(ArcSwap::from_pointee(read))),
        prefer: Vec::new(),
    };
    let mut first = 0;
    for _ in 0..4_000 {
        let (after, _) = arrange(&plugin, |response| {
            address(response, Section::Answer, "www.example.org.", 2);
            address(response, Section::Answer, "www.example.org.", 1);
        });
        first += usize::from(after[0].ends_with("1]"));
    }
    // 3 of 4; eight standard deviations (27) to either side.
    assert!((2_780..=3_220).contains(&first), "{first}");
}

#[test]
fn readme() {
    trial::readme(include_str!("README.md"));
}

#[test]
fn a_weight_file_is_followed() {
    use super::weights::{WeightError, WeightFile, follow};
    let folder = trial::Folder::new("loadbalance-follow");
    let path = folder.write("weights", "www.example.org\n192.0.2.1 1\n");
    let owner: NameBuf = "www.example.org".parse().expect("a name");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    let (source, missing) = WeightFile::load(path.clone()).expect("good");
    assert_eq!(missing, None);
    let weights = source.content().weights();
    let weight = || weights.load().of(owner, [192, 0, 2, 1].into());
    runtime.block_on(async {
        tokio::spawn(follow(source, Duration::from_secs(600)));
        let until = async |expected: Option<u8>| {
            for _ in 0..1_000 {
                if weight() == expected {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            panic!("{:?} is not {expected:?}", weight());
        };
        until(Some(1)).await;
        std::fs::write(&path, "www.example.org\n192.0.2.1 2\n").expect("written");
        until(Some(2)).await;
        // The next configuration goes on with the weights, and not with what is being written just then.
        std::fs::write(&path, "www.example.org\n192.0.2.1 x\n").expect("written");
        let (next, _) = WeightFile::load(path.clone()).expect("the old weights");
        assert!(Arc::ptr_eq(&next.content().weights(), &weights));
        assert_eq!(weight(), Some(2));
        assert!(matches!(
            WeightFile::check(path.clone()),
            Err(WeightError::Content(..))
        ));
        std::fs::write(&path, "www.example.org\n192.0.2.1 3\n").expect("written");
        until(Some(3)).await;
    });
}
