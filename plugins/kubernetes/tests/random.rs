//! Thousands of random changes: after each, the plugin and the model agree on names drawn from all that could exist, and now and
//! then on every one of them.

use chain::Outcome;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use wire::{Message, Section};

use super::super::Pods;
use super::super::change::{self, Kind, Object, Sink};
use super::model::{Expected, Model, Options, PodMode, identity, reverse_name};
use super::{ALL, Stage, records};

const NAMESPACES: [&str; 3] = ["a", "b", "kube-system"];
const SERVICES: [&str; 4] = ["web", "db", "x", "1st"];
const ADDRESSES: [&str; 10] = [
    "10.0.0.1",
    "10.0.0.2",
    "10.0.0.3",
    "10.1.2.3",
    "10.0.0.200",
    "172.16.0.1",
    "fd00::1",
    "fd00::2",
    "fd00:1::",
    "2001:db8::5:6",
];
const HOSTNAMES: [&str; 3] = ["web-0", "web-1", "10-0-0-1"];
const TOPOLOGY: [&str; 3] = ["zone-a", "zone-b", "eu.west"];
const CLUSTERS: [&str; 2] = ["c1", "c2"];

struct Draw(StdRng);

impl Draw {
    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.0.random_range(0..of.len())]
    }

    fn often(&mut self, percent: u32) -> bool {
        self.0.random_range(0..100) < percent
    }

    fn some(&mut self, of: &[&str], most: usize) -> Vec<Box<str>> {
        let count = self.0.random_range(0..=most);
        (0..count).map(|_| self.one(of).into()).collect()
    }

    fn ports(&mut self) -> Vec<change::Port> {
        let port = |name: &str, protocol: &str, port| change::Port {
            name: name.into(),
            port,
            protocol: protocol.into(),
        };
        match self.0.random_range(0..6) {
            0 => vec![],
            1 => vec![port("", "TCP", Some(80))],
            2 => vec![
                port("http", "TCP", Some(80)),
                port("dns", "UDP", Some(53)),
                port("dns-tcp", "TCP", Some(53)),
            ],
            3 => vec![port("http", "TCP", Some(80)), port("web", "TCP", Some(80))],
            4 => vec![port("http", "SCTP", None)],
            _ => vec![port("http", "TCP", Some(8080))],
        }
    }

    fn object(&mut self, kind: Kind) -> Object {
        let namespace: Box<str> = self.one(&NAMESPACES).into();
        let name: Box<str> = self.one(&SERVICES).into();
        match kind {
            Kind::Namespace => Object::Namespace(change::Namespace { name: namespace }),
            Kind::Service => {
                let shape = self.0.random_range(0..4);
                Object::Service(change::Service {
                    namespace,
                    name,
                    external: shape == 0,
                    external_name: self
                        .one(&["example.org", "web.a.svc.cluster.local", "192.0.2.7"])
                        .into(),
                    cluster_ips: match shape {
                        0 => vec![],
                        1 => vec!["None".into()],
                        _ => self.some(&ADDRESSES, 2),
                    },
                    ports: self.ports(),
                    external_ips: self.some(&ADDRESSES, 1),
                    selector: true,
                })
            }
            Kind::EndpointSlice => {
                let (family, count) = (self.often(70), self.0.random_range(0..5));
                let of = if family {
                    &ADDRESSES[..6]
                } else {
                    &ADDRESSES[6..]
                };
                // Some belong to no service: their labels were taken away, or never given.
                let (imported, labelled) = (self.often(30), self.often(85));
                let endpoints = (0..count)
                    .map(|_| change::Endpoint {
                        addresses: vec![self.one(of).into()],
                        ready: self.often(80),
                        hostname: self.often(30).then(|| self.one(&HOSTNAMES).into()),
                        target: self.often(50).then(|| self.one(&["web-0", "db-7"]).into()),
                        zone: self.often(60).then(|| self.one(&TOPOLOGY).into()),
                    })
                    .collect();
                Object::EndpointSlice(change::EndpointSlice {
                    namespace,
                    name: format!("slice-{}", self.0.random_range(0..12)).into(),
                    service: match labelled && !imported {
                        true => name.clone(),
                        false => "".into(),
                    },
                    imported: match labelled && imported {
                        true => name,
                        false => "".into(),
                    },
                    cluster: if imported {
                        self.one(&CLUSTERS).into()
                    } else {
                        "".into()
                    },
                    triggered: None,
                    ports: self.ports(),
                    endpoints,
                })
            }
            Kind::Pod => Object::Pod(change::Pod {
                namespace,
                name: format!("pod-{}", self.0.random_range(0..6)).into(),
                ip: if self.often(90) {
                    self.one(&ADDRESSES).into()
                } else {
                    "".into()
                },
                labels: Vec::new(),
                terminating: self.often(15),
            }),
            Kind::ServiceImport => Object::ServiceImport(change::ServiceImport {
                namespace,
                name,
                headless: self.often(50),
                ips: self.some(&ADDRESSES, 2),
                ports: self.ports(),
            }),
        }
    }
}

/// Every name that could exist, and neighbours that cannot.
fn names() -> Vec<String> {
    let mut names: Vec<String> = [
        "",
        "svc.",
        "pod.",
        "dns.",
        "ns.dns.",
        "dns-version.",
        "x.",
        "x.dns-version.",
        "a.b.c.d.e.web.a.svc.",
    ]
    .iter()
    .map(|below| format!("{below}cluster.local."))
    .collect();
    names.extend(
        [
            "svc.clusterset.local.",
            "in-addr.arpa.",
            "10.in-addr.arpa.",
            "ip6.arpa.",
            "7.2.0.192.in-addr.arpa.",
        ]
        .map(String::from),
    );
    let dashed: Vec<String> = ADDRESSES
        .iter()
        .map(|ip| {
            let dashed = ip.replace(['.', ':'], "-");
            if dashed.ends_with('-') {
                dashed + "0"
            } else {
                dashed
            }
        })
        .collect();
    for ip in ADDRESSES {
        names.push(reverse_name(ip.parse().expect("an address")));
    }
    for namespace in NAMESPACES.iter().chain(&["nowhere"]) {
        for tree in [
            "svc.cluster.local.",
            "pod.cluster.local.",
            "svc.clusterset.local.",
        ] {
            names.push(format!("{namespace}.{tree}"));
        }
        for ip in ADDRESSES.iter().chain(&["10.9.9.9", "not-one", "10.0.0"]) {
            let dashed = ip.replace(['.', ':'], "-");
            names.push(format!("{dashed}.{namespace}.pod.cluster.local."));
        }
        names.push(format!("x.y.10-0-0-1.{namespace}.pod.cluster.local."));
        names.push(format!("x.y.z.10-0-0-1.{namespace}.pod.cluster.local."));
        for service in SERVICES.iter().chain(&["nothing"]) {
            for set in ["cluster.local.", "clusterset.local."] {
                let base = format!("{service}.{namespace}.svc.{set}");
                names.push(base.clone());
                let before = [
                    "_http._tcp",
                    "_http._udp",
                    "_dns._udp",
                    "_dns-tcp._tcp",
                    "_web._tcp",
                    "http.tcp",
                    "_._tcp",
                    "_http._sctp",
                    "x._zone",
                    "zone-a.pin._zone",
                    "zone-b.prefer._zone",
                    "eu.west.pin._zone",
                    "zone-c.pin._zone",
                    "zone-c.prefer._zone",
                    "zone-a.other._zone",
                    "pin._zone",
                    "web-0",
                    "web-1",
                    "db-7",
                    "bogus",
                    "web-0.c1",
                    "10-0-0-2.c2",
                    "10-0-0-2.c3",
                ];
                names.extend(before.iter().map(|before| format!("{before}.{base}")));
                names.extend(dashed.iter().map(|label| format!("{label}.{base}")));
            }
        }
    }
    names
}

const TYPES: [&str; 5] = ["A", "AAAA", "SRV", "PTR", "TXT"];

fn check(stage: &Stage, model: &Model, options: &Options, name: &str, qtype: &str) {
    if name == "ns.dns.cluster.local." {
        return;
    }
    let expected = model.answer(options, name, qtype);
    let (outcome, exchange) = stage.ask(name, qtype);
    if expected.alias && ["A", "AAAA"].contains(&qtype) {
        assert_eq!(outcome, Outcome::Suspended(0), "{name} {qtype}");
        return;
    }
    assert_eq!(outcome, Outcome::Respond, "{name} {qtype}");
    let message = Message::new(exchange.reply()).expect("a message");
    let list = |section| {
        let mut list: Vec<String> = records(&message, section).collect();
        list.sort();
        list
    };
    let actual = Expected {
        rcode: message.rcode().0 as u8,
        answers: list(Section::Answer),
        additional: list(Section::Additional),
        alias: expected.alias,
    };
    assert_eq!(
        actual, expected,
        "{name} {qtype} {options:?}\n{:#?}",
        model.objects
    );
    let negative = actual.answers.is_empty();
    let authority = message
        .records()
        .filter_map(Result::ok)
        .filter(|record| record.section == Section::Authority);
    assert_eq!(authority.count(), usize::from(negative), "{name} {qtype}");
}

fn run(seed: u64, events: usize, options: &Options) {
    let mut draw = Draw(StdRng::seed_from_u64(seed));
    let mut stage = Stage::new(|kubernetes, rules| {
        kubernetes.pods = match options.pods {
            PodMode::Disabled => Pods::Disabled,
            PodMode::Insecure => Pods::Insecure,
            PodMode::Verified => Pods::Verified,
        };
        kubernetes.ignore_empty = options.ignore_empty;
        rules.namespaces = options.namespaces.clone();
        rules.pod_names = options.pod_names;
        rules.zonal = options.zonal;
    });
    let mut model = Model::default();
    let names = names();
    stage.list(&ALL, &[]);
    for event in 0..events {
        let kind = ALL[[0, 1, 1, 2, 2, 2, 2, 3, 4][draw.0.random_range(0..9)]];
        let object = draw.object(kind);
        match draw.0.random_range(0..100) {
            0..70 => {
                model.put(object.clone());
                stage.store.put(object);
            }
            70..92 => {
                model.remove(&object);
                stage.store.remove(object);
            }
            _ => relist(&mut draw, &mut stage, &mut model, kind),
        }
        let whole = event % 150 == 149;
        let asked = if whole { names.len() } else { 40 };
        for i in 0..asked {
            let name = if whole {
                &names[i]
            } else {
                &names[draw.0.random_range(0..names.len())]
            };
            for qtype in TYPES {
                check(&stage, &model, options, name, qtype);
            }
        }
    }
}

/// Lists a kind anew: some objects have vanished meanwhile, some are new, some have changed.
fn relist(draw: &mut Draw, stage: &mut Stage, model: &mut Model, kind: Kind) {
    let mut listed: Vec<Object> = model
        .of(kind)
        .filter(|_| draw.0.random_range(0..100) < 80)
        .cloned()
        .collect();
    for _ in 0..draw.0.random_range(0..4) {
        listed.push(draw.object(kind));
    }
    let old = model.clone();
    model
        .objects
        .retain(|(resource, ..), _| *resource != kind.resource());
    // A list that was given up leaves nothing behind.
    stage.store.begin(kind);
    stage.store.listed(draw.object(kind));
    stage.store.begin(kind);
    for object in listed {
        let (namespace, name) = identity(&object);
        let key = (kind.resource(), namespace, name);
        match (&object, old.objects.get(&key)) {
            // A pod that is on its way out stays as it is known, if it is.
            (Object::Pod(pod), known) if pod.terminating => {
                if let (None, Some(known)) = (model.objects.get(&key), known) {
                    model.objects.insert(key, known.clone());
                }
            }
            _ => model.put(object.clone()),
        }
        stage.store.listed(object);
    }
    stage.store.complete(kind);
}

#[test]
fn the_model_and_the_plugin_agree_after_every_change() {
    let plain = Options {
        namespaces: Vec::new(),
        pods: PodMode::Verified,
        pod_names: false,
        zonal: false,
        ignore_empty: false,
    };
    run(1, 1_500, &plain);
    let other = Options {
        namespaces: vec!["a".into(), "kube-system".into()],
        pods: PodMode::Insecure,
        pod_names: true,
        zonal: true,
        ignore_empty: true,
    };
    run(2, 1_500, &other);
    let disabled = Options {
        pods: PodMode::Disabled,
        zonal: true,
        ..plain
    };
    run(3, 500, &disabled);
}
