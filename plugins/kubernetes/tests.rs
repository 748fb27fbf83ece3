//! What the plugin answers, and how it keeps up with the cluster.

mod labels;
mod lists;
mod model;
mod names;
mod random;

use std::net::IpAddr;
use std::sync::Arc;

use chain::{Block, BlockInfo, Chain, Exchange, Fallthrough, Outcome, Step};
use wire::{Message, NameBuf, Record, Section, Type};

use super::change::{Kind, Object};
use super::decode;
use super::snapshot::Shared;
use super::store::{Rules, Store};
use super::{Kubernetes, Pods, Zone};
use crate::trial;

/// A directive and the store behind it, without an API.
struct Stage {
    store: Store,
    block: Arc<Block>,
    plugin: Arc<Kubernetes>,
}

const ALL: [Kind; 5] = Kind::ALL;

impl Stage {
    /// A directive for `cluster.local`, the cluster set `clusterset.local`, and both trees of addresses.
    fn new(alter: impl FnOnce(&mut Kubernetes, &mut Rules)) -> Self {
        let zone = |text: &str| {
            let origin: NameBuf = text.parse().expect("a name");
            Zone {
                hash: wire::name_hash(origin.as_name()),
                labels: origin.as_name().label_count(),
                multicluster: text.starts_with("clusterset"),
                reverse: text.ends_with(".arpa."),
                origin,
            }
        };
        let shared = Arc::new(Shared::default());
        let local: Vec<IpAddr> = vec!["192.0.2.53".parse().expect("an address")];
        let mut kubernetes = Kubernetes {
            zones: [
                "cluster.local.",
                "clusterset.local.",
                "in-addr.arpa.",
                "ip6.arpa.",
            ]
            .map(zone)
            .into(),
            primary: "cluster.local.".parse().expect("a name"),
            fall: Fallthrough::No,
            ttl: 5,
            pods: Pods::Disabled,
            zonal: false,
            ignore_empty: false,
            namespaces: false,
            shared: shared.clone(),
            patience: 0,
            local: local.clone().into(),
            search: Box::default(),
        };
        let mut rules = Rules {
            ttl: 5,
            namespaces: Vec::new(),
            pod_names: false,
            pod_details: true,
            zonal: false,
            kinds: ALL.to_vec(),
            local,
        };
        alter(&mut kubernetes, &mut rules);
        kubernetes.namespaces = !rules.namespaces.is_empty();
        (kubernetes.zonal, kubernetes.ttl) = (rules.zonal, rules.ttl);
        let plugin = Arc::new(kubernetes);
        Self {
            store: Store::new(rules, shared),
            block: block(plugin.clone()),
            plugin,
        }
    }

    /// The same with these objects listed.
    fn with(alter: impl FnOnce(&mut Kubernetes, &mut Rules), objects: &[Object]) -> Self {
        let mut stage = Self::new(alter);
        stage.list(&ALL, objects);
        stage
    }

    /// Lists kinds anew.
    fn list(&mut self, kinds: &[Kind], objects: &[Object]) {
        use super::change::Sink;
        for &kind in kinds {
            self.store.begin(kind);
            for object in objects.iter().filter(|object| object.kind() == kind) {
                self.store.listed(object.clone());
            }
            self.store.complete(kind);
        }
    }

    /// Asks; gives how the walk ended and the response.
    fn ask(&self, name: &str, qtype: &str) -> (Outcome, Box<Exchange>) {
        let mut exchange = trial::exchange(name, rtype(qtype), None);
        let outcome = exchange.walk(&self.block);
        exchange.response().seal();
        (outcome, exchange)
    }

    /// The answer as text: the RCODE, then the records of the answer and of the additional section.
    fn answer(&self, name: &str, qtype: &str) -> String {
        let (outcome, exchange) = self.ask(name, qtype);
        match outcome {
            Outcome::Respond => told(&exchange),
            other => format!("{other:?}"),
        }
    }
}

/// A chain of one plugin.
fn block(plugin: Arc<Kubernetes>) -> Arc<Block> {
    let info = BlockInfo {
        index: 0,
        server: "dns://:53".into(),
        zone: ".".into(),
        origin: NameBuf::root(),
        view: "".into(),
        plugins: Arc::new(["kubernetes"]),
        debug: false,
    };
    let chain = Chain::new(vec![Step::new(plugin)]).unwrap_or_else(|count| panic!("{count} steps"));
    Arc::new(Block::new(info, Arc::new(chain)))
}

fn rtype(text: &str) -> Type {
    match text {
        "A" => Type::A,
        "AAAA" => Type::AAAA,
        "SRV" => Type::SRV,
        "PTR" => Type::PTR,
        "TXT" => Type::TXT,
        "SOA" => Type::SOA,
        "NS" => Type::NS,
        "MX" => Type::MX,
        "CNAME" => Type::CNAME,
        "HTTPS" => Type(65),
        "AXFR" => Type::AXFR,
        other => panic!("{other}"),
    }
}

/// `RCODE answers… | additional…`, each list sorted; `!` marks a truncated one, `~` one that is not authoritative.
fn told(exchange: &Exchange) -> String {
    let message = Message::new(exchange.reply()).expect("a message");
    let list = |section| {
        let mut list: Vec<String> = records(&message, section).collect();
        list.sort();
        list.join(", ")
    };
    let rcode = message.rcode().0;
    let flags = exchange.reply()[2];
    let marks = [(flags & 2 != 0, "!"), (flags & 4 == 0, "~")];
    let marks: String = marks
        .iter()
        .filter(|mark| mark.0)
        .map(|mark| mark.1)
        .collect();
    let mut out = format!("{rcode}{marks}");
    let answers = list(Section::Answer);
    if !answers.is_empty() {
        out += &format!(" {answers}");
    }
    let additional = list(Section::Additional);
    if !additional.is_empty() {
        out += &format!(" | {additional}");
    }
    let authority: Vec<_> = message
        .records()
        .filter_map(Result::ok)
        .filter(|r| r.section == Section::Authority)
        .collect();
    if !authority.is_empty() {
        assert!(
            authority.len() == 1 && authority[0].rtype == Type::SOA,
            "{out}"
        );
        let minimum = authority[0].soa_minimum();
        assert_eq!(
            (authority[0].ttl.min(300), minimum),
            (authority[0].ttl, minimum),
            "{out}"
        );
        out += " SOA";
    }
    out
}

/// The records of a section as text, without TTLs.
fn records(message: &Message<'_>, section: Section) -> impl Iterator<Item = String> {
    message
        .records()
        .map(|record| record.expect("a record"))
        .filter(move |record| record.section == section)
        .map(|record| text(&record))
}

fn text(record: &Record<'_>) -> String {
    let owner = record.owner().expect("an owner").as_name().to_string();
    let rdata = record.rdata();
    let name = |skip| {
        record
            .rdata_name(skip)
            .expect("a name")
            .as_name()
            .to_string()
    };
    let number = |at| wire::read_u16(rdata, at).unwrap_or(0);
    let rdata = match record.rtype {
        Type::A => IpAddr::from(<[u8; 4]>::try_from(rdata).expect("4 octets")).to_string(),
        Type::AAAA => IpAddr::from(<[u8; 16]>::try_from(rdata).expect("16 octets")).to_string(),
        Type::SRV => format!("{} {} {} {}", number(0), number(2), number(4), name(6)),
        Type::PTR | Type::CNAME | Type::NS => name(0),
        Type::TXT => String::from_utf8_lossy(&rdata[1..]).into_owned(),
        Type::SOA => format!("{} …", name(0)),
        other => panic!("{other:?}"),
    };
    let rtype = record.rtype.to_string();
    format!("{owner} {rtype} {rdata}")
}

/// An object as the API writes it.
fn object(kind: Kind, json: serde_json::Value) -> Object {
    decode::item(kind, json.to_string().as_bytes()).expect("an object")
}
