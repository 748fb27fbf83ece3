//! From TOML to a [`Spec`]: keys, types and the short forms, with a place for every mistake.

use std::path::Path;

use corefile::{FileId, Report, Sources, Span, nearest};
use toml::de::{DeTable, DeValue};

use super::forms::{forward, is_domain, label, pick_subnets};
use super::include;
use super::reader::{FILE, Reader, Value, is_name, place};
use super::{At, Dns, HostEnd, Hosts, Kind, Net, PointToPoint, Schema, Spec, mistake};
use crate::shape::Shape;

const TOP: &[&str] = &[
    "include", "lab", "net", "ipam", "link", "ns", "record", "service",
];
const LAB: &[&str] = &[
    "name", "domain", "dns", "search", "options", "hosts", "ttl", "ndots", "nsswitch", "schema",
    "nodes",
];
const NET: &[&str] = &[
    "subnet", "host", "gateway", "internal", "isolate", "mtu", "nat", "forward", "kind", "parent",
    "vlan", "upstream", "search", "delay", "jitter", "loss", "reorder", "rate",
];
const LINK: &[&str] = &[
    "subnet", "mtu", "dev", "delay", "jitter", "loss", "reorder", "rate",
];

/// Reads a file and those that it includes; `known` is what the lab is called if no file says it, instead of the stem.
pub(super) fn read(
    path: &Path,
    known: Option<String>,
    text: &str,
    sources: &mut Sources,
    report: &mut Report,
) -> Option<Spec> {
    let mut files = Vec::new();
    include::gather(path, text, (sources, &mut *report), &mut files)?;
    let roots: Vec<_> = files
        .iter()
        .map(|file| DeTable::parse_recoverable(&file.text).0)
        .collect();
    let mut spec = begin(path, known, files.last()?.id);
    let mut searched = false;
    for (file, root) in files.iter().zip(&roots) {
        searched |= file.reader(report).sections(root.get_ref(), &mut spec);
    }
    // The two names of a link can only be told apart when all namespaces are known, and a subnet can only be divided among
    // networks that are.
    for (file, root) in files.iter().zip(&roots) {
        for (key, value) in root.get_ref().iter() {
            let mut reader = file.reader(report);
            match (key.get_ref().as_ref(), value.get_ref().as_table()) {
                ("ipam", Some(table)) => reader.ipam(table, &mut spec),
                ("link", Some(table)) => reader.links(table, &mut spec),
                _ => {}
            }
        }
    }
    let span = spec.span;
    let mut reader = files.last()?.reader(report);
    let written = span.start < span.end;
    if !written && !is_name(&spec.name, 32) {
        let message = format!("`{}`, the file's name, cannot be the lab's", spec.name);
        let help = "write [lab] and name = \"…\", of letters, digits, `-`, `_` and `.`";
        reader
            .report
            .push(mistake("LAB0101", message, span, "").help(help));
    } else {
        reader.name(&spec.name.clone(), span, "a lab", 32);
    }
    let of_cluster = spec.schema == Schema::Kubernetes;
    if spec.domain.is_empty() {
        spec.domain = match of_cluster {
            true => "cluster.local".to_owned(),
            false => format!("{}.test", label(&spec.name)),
        };
    }
    if !searched {
        spec.search = vec![spec.domain.clone()];
    }
    spec.search_on_networks();
    if of_cluster {
        spec.search_in_cluster(!searched);
    }
    pick_subnets(&mut spec);
    Some(spec)
}

/// A lab of which nothing is declared.
fn begin(path: &Path, known: Option<String>, file: FileId) -> Spec {
    let stem = path
        .file_stem()
        .and_then(|stem| stem.to_str())
        .unwrap_or("lab");
    Spec {
        name: known.unwrap_or_else(|| stem.to_owned()),
        span: place(file, 0..0),
        file: None,
        domain: String::new(),
        dns: Dns::Bridge,
        inside: false,
        servers: Vec::new(),
        search: Vec::new(),
        options: ["edns0", "trust-ad", "timeout:2", "attempts:2"]
            .map(String::from)
            .to_vec(),
        hosts: Hosts::Own,
        nsswitch: false,
        ttl: 5,
        nets: Vec::new(),
        links: Vec::new(),
        spaces: Vec::new(),
        records: Vec::new(),
        services: Vec::new(),
        nodes: Vec::new(),
        schema: Schema::Flat,
        addresses: super::address::Addresses::default(),
        dashed: Vec::new(),
    }
}

impl Reader<'_> {
    /// The sections of one file, links apart; whether search domains were given.
    fn sections(&mut self, root: &DeTable<'_>, spec: &mut Spec) -> bool {
        let mut searched = false;
        for (key, _, value) in self.entries(root, Some((FILE, TOP))) {
            if key == "include" {
                continue;
            }
            let Some(table) = self.table(value, &format!("[{key}]")) else {
                continue;
            };
            match key {
                "lab" => searched = self.lab(table, spec),
                "net" => self.nets(table, spec),
                "ns" => self.spaces(table, spec),
                "record" => self.records(table, spec),
                "service" => self.services(table, spec),
                _ => {}
            }
        }
        searched
    }

    /// `[lab]`; whether search domains were given.
    fn lab(&mut self, table: &DeTable<'_>, spec: &mut Spec) -> bool {
        let mut searched = false;
        for (key, _, value) in self.entries(table, Some(("[lab]", LAB))) {
            let span = self.span(value);
            match key {
                "name" => {
                    if let Some(name) = self.string(value, key) {
                        spec.name = name.to_owned();
                        spec.span = span;
                    }
                }
                "domain" => {
                    if let Some(domain) = self.string(value, key) {
                        spec.domain = domain.trim_end_matches('.').to_ascii_lowercase();
                        if !is_domain(&spec.domain) {
                            self.wrong("LAB0101", span, format!("`{domain}` is not a domain"), "");
                        }
                    }
                }
                "dns" if value.get_ref().as_array().is_some() => self.servers(value, spec),
                "dns" => {
                    spec.dns = match self.string(value, key) {
                        Some("bridge") | None => Dns::Bridge,
                        Some("inside") => {
                            spec.inside = true;
                            Dns::Bridge
                        }
                        Some("off") => Dns::Off,
                        Some(text) => match text.parse() {
                            Ok(address) => Dns::Address(address),
                            Err(_) => {
                                self.choice(
                                    span,
                                    key,
                                    text,
                                    &["bridge", "inside", "off"],
                                    "or an address",
                                );
                                Dns::Off
                            }
                        },
                    }
                }
                "search" => {
                    spec.search = self.search(value);
                    searched = true;
                }
                "options" => {
                    let options = self.strings(value, key);
                    for At {
                        value: option,
                        span,
                    } in &options
                    {
                        if option.is_empty() || !option.bytes().all(|c| c.is_ascii_graphic()) {
                            self.wrong(
                                "LAB0102",
                                *span,
                                format!("`{}` is not an option", option.escape_debug()),
                                "",
                            );
                        }
                    }
                    spec.options = options.into_iter().map(|option| option.value).collect();
                }
                "ndots" => {
                    if let Some(ndots) = self.number(value, key) {
                        spec.options.retain(|option| !option.starts_with("ndots:"));
                        spec.options.push(format!("ndots:{ndots}"));
                    }
                }
                "hosts" => {
                    spec.hosts = match self.string(value, key) {
                        Some("self") | None => Hosts::Own,
                        Some("all") => Hosts::All,
                        Some("off") => Hosts::Off,
                        Some(text) => {
                            self.choice(span, key, text, &["self", "all", "off"], "");
                            Hosts::Own
                        }
                    }
                }
                "nodes" => spec.nodes = self.strings(value, key),
                "schema" => {
                    spec.schema = match self.string(value, key) {
                        Some("k8s" | "kubernetes") => Schema::Kubernetes,
                        Some("flat") | None => Schema::Flat,
                        Some(text) => {
                            self.choice(span, key, text, &["flat", "k8s"], "");
                            Schema::Flat
                        }
                    }
                }
                "ttl" => spec.ttl = self.number(value, key).unwrap_or(5),
                "nsswitch" => spec.nsswitch = self.boolean(value, key),
                _ => {}
            }
        }
        searched
    }

    /// Search domains: glibc before 2.26 reads six and 256 octets of them.
    pub(super) fn search(&mut self, value: &Value<'_>) -> Vec<String> {
        let found = self.strings(value, "search");
        for At {
            value: domain,
            span,
        } in &found
        {
            if !is_domain(domain.trim_end_matches('.')) {
                self.wrong("LAB0101", *span, format!("`{domain}` is not a domain"), "");
            }
        }
        let octets: usize = found.iter().map(|domain| domain.value.len() + 1).sum();
        if found.len() > 6 || octets > 256 {
            let span = self.span(value);
            self.wrong(
                "LAB0107",
                span,
                "resolvers read six search domains and 256 bytes of them",
                "",
            );
        }
        found.into_iter().map(|domain| domain.value).collect()
    }

    /// A word that is none of the words that may stand there.
    pub(super) fn choice(&mut self, span: Span, key: &str, text: &str, known: &[&str], or: &str) {
        let mut found = mistake("LAB0003", format!("`{key}` cannot be `{text}`"), span, "");
        found = match nearest(text, known.iter().copied()) {
            Some(meant) => found
                .help(format!("write `{meant}`"))
                .replace(span, format!("\"{meant}\"")),
            None => {
                let words = format!("it is one of {} {or}", known.join(", "));
                found.help(words.trim_end().to_owned())
            }
        };
        self.report.push(found);
    }

    /// `[net.*]`
    fn nets(&mut self, table: &DeTable<'_>, spec: &mut Spec) {
        for (name, span, value) in self.entries(table, None) {
            if let Some(subnet) = value.get_ref().as_str() {
                let message = format!("[net.{name}] is a table, not a string");
                let span = self.span(value);
                self.report
                    .push(mistake("LAB0003", message, span, "").help(format!(
                        "write [net.{name}] and, below it, subnet = \"{subnet}\""
                    )));
                continue;
            }
            let Some(table) = self.table(value, &format!("[net.{name}]")) else {
                continue;
            };
            self.name(name, span, "a network (it is a bridge's)", 15);
            let mut net = Net {
                name: At {
                    value: name.to_owned(),
                    span,
                },
                subnets: Vec::new(),
                host: HostEnd::First,
                gateway: None,
                internal: false,
                isolate: false,
                mtu: None,
                parent: None,
                kind: Kind::Bridge,
                vlan: None,
                shape: Shape::default(),
                upstream: Vec::new(),
                search: None,
                nat4: false,
                nat6: false,
                forwards: Vec::new(),
            };
            for (key, _, value) in self.entries(table, Some(("a network", NET))) {
                self.net_key(key, value, &mut net);
            }
            self.whole_shape(&net.shape, span);
            spec.nets.push(net);
        }
    }

    /// One key of a network.
    fn net_key(&mut self, key: &str, value: &Value<'_>, net: &mut Net) {
        let span = self.span(value);
        match (key, value.get_ref()) {
            ("subnet", _) => net.subnets = self.subnets(value),
            ("host", DeValue::Boolean(true)) => net.host = HostEnd::First,
            ("host", DeValue::Boolean(false)) => net.host = HostEnd::Absent,
            ("host", _) => {
                let mut addresses = Vec::new();
                for At { value, span } in self.strings(value, key) {
                    if let Some(value) = self.address(&value, span) {
                        addresses.push(At { value, span });
                    }
                }
                net.host = HostEnd::Addresses(addresses);
            }
            ("gateway", _) => {
                net.gateway = self.string(value, key).map(|text| At {
                    value: text.to_owned(),
                    span,
                });
            }
            ("upstream", _) => net.upstream = self.upstreams(value),
            ("search", _) => net.search = Some(self.search(value)),
            ("internal", _) => net.internal = self.boolean(value, key),
            ("isolate", _) => net.isolate = self.boolean(value, key),
            ("mtu", _) => net.mtu = self.mtu(value),
            ("parent", _) => {
                if let Some(name) = self.string(value, key) {
                    self.device(name, span);
                    net.parent = Some(At {
                        value: name.to_owned(),
                        span,
                    });
                }
            }
            ("kind", _) => net.kind = self.kind(value),
            ("vlan", _) => net.vlan = self.vlan(value),
            ("delay" | "jitter" | "loss" | "reorder" | "rate", _) => {
                self.shape(key, value, &mut net.shape);
            }
            ("nat", DeValue::String(text)) => match text.as_ref() {
                "v4" => net.nat4 = true,
                "v6" => net.nat6 = true,
                "yes" | "no" | "true" | "false" => drop(self.boolean(value, key)),
                text => self.choice(span, key, text, &["v4", "v6"], "or true, false"),
            },
            ("nat", _) => {
                let nat = self.boolean(value, key);
                (net.nat4, net.nat6) = (nat, nat);
            }
            ("forward", _) => {
                for At { value, span } in self.strings(value, key) {
                    match forward(&value, span) {
                        Ok(forwards) => net.forwards.extend(forwards),
                        Err((word, why)) => self.report.push(
                            mistake(
                                "LAB0108",
                                format!("`{value}` is not a port forward"),
                                self.word(span, &value, word),
                                why,
                            )
                            .help(
                                "write [ADDRESS:]PORT[/udp]:NAMESPACE:PORT, as in \"8080:web:80\"",
                            ),
                        ),
                    }
                }
            }
            _ => {}
        }
    }

    /// `[link]`
    fn links(&mut self, table: &DeTable<'_>, spec: &mut Spec) {
        for (name, span, value) in self.entries(table, None) {
            let mut link = PointToPoint {
                name: At {
                    value: name.to_owned(),
                    span,
                },
                ends: [String::new(), String::new()],
                subnets: Vec::new(),
                shape: Shape::default(),
                mtu: None,
                devices: Vec::new(),
            };
            match value.get_ref() {
                DeValue::Table(table) => {
                    for (key, _, value) in self.entries(table, Some(("a link", LINK))) {
                        match key {
                            "subnet" => link.subnets = self.subnets(value),
                            "mtu" => link.mtu = self.mtu(value),
                            "dev" => link.devices = self.devices(value),
                            _ => self.shape(key, value, &mut link.shape),
                        }
                    }
                    self.whole_shape(&link.shape, span);
                }
                _ => link.subnets = self.subnets(value),
            }
            let ends = name.match_indices('-').find_map(|(at, _)| {
                let (one, other) = (&name[..at], &name[at + 1..]);
                (spec.space(one).is_some() && spec.space(other).is_some() && one != other)
                    .then(|| [one.to_owned(), other.to_owned()])
            });
            match ends {
                Some(ends) => spec.links.push(PointToPoint { ends, ..link }),
                None => {
                    let found = mistake(
                        "LAB0103",
                        format!("`{name}` does not join two namespaces"),
                        span,
                        "",
                    );
                    let known = || spec.spaces.iter().map(|space| space.name.value.as_str());
                    let meant = name.match_indices('-').find_map(|(at, _)| {
                        let (one, other) = (&name[..at], &name[at + 1..]);
                        let (one, other) = (nearest(one, known())?, nearest(other, known())?);
                        (one != other).then(|| format!("{one}-{other}"))
                    });
                    self.report.push(match meant {
                        Some(meant) => found
                            .help(format!("write `{meant}`"))
                            .replace(span, meant),
                        None => found.help(
                            "write NAMESPACE-NAMESPACE, both declared under [ns] (\"none\" is enough)",
                        ),
                    });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// What editors are told of a lab's file.
    fn schema() -> Value {
        serde_json::from_str(crate::spec::SCHEMA).unwrap_or_default()
    }

    #[test]
    fn editors_know_the_keys_that_are_read() {
        let schema = schema();
        let defined = |name: &str| schema["$defs"][name].clone();
        for (what, keys, table) in [
            (FILE, TOP, schema.clone()),
            ("[lab]", LAB, schema["properties"]["lab"].clone()),
            ("a network", NET, defined("net")),
            (
                "[ipam]",
                super::super::ipam::IPAM,
                schema["properties"]["ipam"].clone(),
            ),
            ("a link", LINK, defined("link")),
            ("a namespace", super::super::spaces::SPACE, defined("ns")),
            ("`run`", super::super::run::RUN, defined("run")),
            (
                "a service",
                super::super::records::SERVICE,
                defined("service"),
            ),
        ] {
            let known = table["properties"].as_object().cloned().unwrap_or_default();
            let mut known: Vec<&str> = known.keys().map(String::as_str).collect();
            let mut keys = keys.to_vec();
            known.sort_unstable();
            keys.sort_unstable();
            assert_eq!(known, keys, "{what}");
            assert_eq!(table["additionalProperties"], false, "{what}");
        }
    }
}
