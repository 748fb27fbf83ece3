//! From TOML to a [`Spec`]: keys, types and the short forms, with a place for every mistake.

use std::path::Path;

use corefile::{FileId, Report, Sources, Span, nearest};
use toml::de::{DeTable, DeValue};

use super::forms::{expand, forward, is_domain, label, mac, pick_subnets, protocol, route};
use super::include;
use super::reader::{Reader, Value, is_name, place};
use super::{
    At, Attachment, Dns, HostEnd, Hosts, Net, PointToPoint, Record, Service, Space, Spec, mistake,
};

const TOP: &[&str] = &["include", "lab", "net", "link", "ns", "record", "service"];
const LAB: &[&str] = &[
    "name", "domain", "dns", "search", "options", "hosts", "ttl", "ndots", "nsswitch",
];
const NET: &[&str] = &[
    "subnet", "host", "gateway", "internal", "isolate", "mtu", "nat", "forward",
];
const LINK: &[&str] = &["subnet"];
const SPACE: &[&str] = &[
    "nets", "routes", "router", "default", "alias", "mac", "sysctl", "run", "search", "ndots",
];
const SERVICE: &[&str] = &["vip", "to", "port"];
const KINDS: &[&str] = &["A", "AAAA", "CNAME", "MX", "TXT", "SRV", "PTR", "NS", "CAA"];

/// Reads a file and those that it includes.
pub(super) fn read(
    path: &Path,
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
    let mut spec = begin(path, files.last()?.id);
    let mut searched = false;
    for (file, root) in files.iter().zip(&roots) {
        searched |= file.reader(report).sections(root.get_ref(), &mut spec);
    }
    // The two names of a link can only be told apart when all namespaces are known.
    for (file, root) in files.iter().zip(&roots) {
        let links = root
            .get_ref()
            .iter()
            .find(|(key, _)| key.get_ref() == "link");
        if let Some(table) = links.and_then(|(_, value)| value.get_ref().as_table()) {
            file.reader(report).links(table, &mut spec);
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
    if spec.domain.is_empty() {
        spec.domain = format!("{}.test", label(&spec.name));
    }
    if !searched {
        spec.search = vec![spec.domain.clone()];
    }
    pick_subnets(&mut spec);
    Some(spec)
}

/// A lab of which nothing is declared.
fn begin(path: &Path, file: FileId) -> Spec {
    let stem = path
        .file_stem()
        .and_then(|stem| stem.to_str())
        .unwrap_or("lab");
    Spec {
        name: stem.to_owned(),
        span: place(file, 0..0),
        file: None,
        domain: String::new(),
        dns: Dns::Bridge,
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
        addresses: super::address::Addresses::default(),
    }
}

impl Reader<'_> {
    /// The sections of one file, links apart; whether search domains were given.
    fn sections(&mut self, root: &DeTable<'_>, spec: &mut Spec) -> bool {
        let mut searched = false;
        for (key, _, value) in self.entries(root, Some(("a lab file", TOP))) {
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
                "dns" => {
                    spec.dns = match self.string(value, key) {
                        Some("bridge") | None => Dns::Bridge,
                        Some("off") => Dns::Off,
                        Some(text @ "inside") => {
                            let message = format!("`dns = \"{text}\"` is not implemented");
                            let help = "the server listens on bridges; a namespace that has none in reach gets a hosts file with every name of the lab";
                            self.report
                                .push(mistake("LAB0004", message, span, "").help(help));
                            Dns::Off
                        }
                        Some(text) => match text.parse() {
                            Ok(address) => Dns::Address(address),
                            Err(_) => {
                                self.choice(span, key, text, &["bridge", "off"], "or an address");
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
                "ttl" => spec.ttl = self.number(value, key).unwrap_or(5),
                "nsswitch" => spec.nsswitch = self.boolean(value, key),
                _ => {}
            }
        }
        searched
    }

    /// Search domains: glibc before 2.26 reads six and 256 octets of them.
    fn search(&mut self, value: &Value<'_>) -> Vec<String> {
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
                "resolvers read six search domains and 256 octets of them",
                "",
            );
        }
        found.into_iter().map(|domain| domain.value).collect()
    }

    /// A word that is none of the words that may stand there.
    fn choice(&mut self, span: Span, key: &str, text: &str, known: &[&str], or: &str) {
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
                nat4: false,
                nat6: false,
                forwards: Vec::new(),
            };
            for (key, _, value) in self.entries(table, Some(("a network", NET))) {
                self.net_key(key, value, &mut net);
            }
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
            ("internal", _) => net.internal = self.boolean(value, key),
            ("isolate", _) => net.isolate = self.boolean(value, key),
            ("mtu", _) => {
                net.mtu = self.number(value, key);
                if net.mtu.is_some_and(|mtu| !(68..=65_535).contains(&mtu)) {
                    self.wrong("LAB0102", span, "an MTU is 68 to 65535", "");
                }
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

    /// `[ns]`
    fn spaces(&mut self, table: &DeTable<'_>, spec: &mut Spec) {
        for (key, span, value) in self.entries(table, None) {
            let names = match expand(key) {
                Ok(names) => names,
                Err(why) => {
                    self.wrong(
                        "LAB0101",
                        span,
                        format!("`{key}` is not a range of names"),
                        why,
                    );
                    continue;
                }
            };
            let Some(first) = names.first() else { continue };
            if !self.name(first, span, "a namespace", 63) {
                continue;
            }
            let prototype = self.space(first, span, value);
            if names.len() > 1
                && let Some(address) = prototype
                    .attachments
                    .iter()
                    .find_map(|on| on.addresses.first())
            {
                self.wrong(
                    "LAB0105",
                    address.span,
                    format!("{} namespaces cannot have one address", names.len()),
                    "leave it out: every one gets its own",
                );
            }
            for name in names {
                let mut space = prototype.clone();
                space.name.value = name;
                spec.spaces.push(space);
            }
        }
    }

    /// One namespace: its short form or its table.
    fn space(&mut self, name: &str, span: Span, value: &Value<'_>) -> Space {
        let mut space = Space {
            name: At {
                value: name.to_owned(),
                span,
            },
            is_host: false,
            attachments: Vec::new(),
            router: false,
            default: true,
            alias: Vec::new(),
            routes: Vec::new(),
            mac: None,
            sysctl: Vec::new(),
            run: Vec::new(),
            search: None,
            ndots: None,
        };
        match value.get_ref() {
            DeValue::Table(table) => {
                for (key, _, value) in self.entries(table, Some(("a namespace", SPACE))) {
                    self.space_key(key, value, &mut space);
                }
            }
            _ => self.attachments(value, &mut space),
        }
        space
    }

    /// `"br0 10.0.0.1"`, `"none"`, `"host"`, or a list of the first.
    fn attachments(&mut self, value: &Value<'_>, space: &mut Space) {
        let outer = self.strings(value, "ns");
        for At { value: text, span } in &outer {
            match text.trim() {
                "none" => continue,
                "host" => {
                    space.is_host = true;
                    continue;
                }
                _ => {}
            }
            for part in text.split(',') {
                let mut words = part.split_whitespace();
                let Some(net) = words.next() else {
                    self.wrong("LAB0103", *span, "the name of a network is missing", "");
                    continue;
                };
                let mut on = Attachment {
                    net: At {
                        value: net.to_owned(),
                        span: self.word(*span, text, net),
                    },
                    addresses: Vec::new(),
                };
                for word in words {
                    let span = self.word(*span, text, word);
                    if let Some(value) = self.address(word, span) {
                        on.addresses.push(At { value, span });
                    }
                }
                space.attachments.push(on);
            }
        }
    }

    /// One key of a namespace's table.
    fn space_key(&mut self, key: &str, value: &Value<'_>, space: &mut Space) {
        let span = self.span(value);
        match key {
            "nets" => self.attachments(value, space),
            "router" => space.router = self.boolean(value, key),
            "default" => space.default = self.boolean(value, key),
            "alias" => {
                space.alias = self.strings(value, key);
                for alias in space.alias.clone() {
                    let name = alias.value.strip_prefix("*.").unwrap_or(&alias.value);
                    self.name(name, alias.span, "a host", 63);
                }
            }
            "routes" => {
                for At { value, span } in self.strings(value, key) {
                    match route(&value, span) {
                        Ok(route) => space.routes.push(route),
                        Err((word, why)) => self.report.push(
                            mistake(
                                "LAB0108",
                                format!("`{value}` is not a route"),
                                self.word(span, &value, word),
                                why,
                            )
                            .help("write SUBNET via ADDRESS-OR-NAMESPACE, as in \"192.0.2.0/24 via 10.1.0.9\""),
                        ),
                    }
                }
            }
            "mac" => {
                if let Some(text) = self.string(value, key) {
                    space.mac = mac(text);
                    if space.mac.is_none() {
                        self.wrong(
                            "LAB0102",
                            span,
                            format!("`{text}` is not an interface's MAC address"),
                            "six octets with colons, the first one even",
                        );
                    }
                }
            }
            "sysctl" => {
                let Some(table) = self.table(value, "`sysctl`") else {
                    return;
                };
                for (key, span, value) in self.entries(table, None) {
                    let text = match value.get_ref() {
                        DeValue::Integer(number) => number.as_str().to_owned(),
                        DeValue::String(text) => text.to_string(),
                        _ => {
                            self.other_type(value, "the value of a sysctl is a string or a number");
                            continue;
                        }
                    };
                    // A key is a path below /proc/sys; only what belongs to a network namespace may be set.
                    let plain = |c: u8| c.is_ascii_alphanumeric() || b"._-".contains(&c);
                    if text.chars().any(char::is_control) {
                        self.wrong("LAB0102", span, "a sysctl's value is one line", "");
                        continue;
                    }
                    if !key.starts_with("net.") || !key.bytes().all(plain) || key.contains("..") {
                        self.wrong(
                            "LAB0102",
                            span,
                            format!("`{key}` is not a sysctl of a network namespace"),
                            "these start with `net.`",
                        );
                        continue;
                    }
                    space.sysctl.push((key.to_owned(), text));
                }
            }
            "run" => space.run = self.command(value, key),
            "search" => space.search = Some(self.search(value)),
            "ndots" => space.ndots = self.number(value, key),
            _ => {}
        }
    }

    /// A command: a list of words, or one string of them.
    fn command(&mut self, value: &Value<'_>, key: &str) -> Vec<String> {
        let DeValue::String(line) = value.get_ref() else {
            return self.plain(value, key);
        };
        // No shell is there that would know what these mean.
        if let Some(sign) = line.chars().find(|c| "'\"\\\\$&|;<>*`".contains(*c)) {
            let span = self.span(value);
            let message = format!("`run` is no line of shell, and has a `{sign}`");
            self.report.push(
                mistake("LAB0108", message, span, "")
                    .help("write a list of words; a shell is [\"sh\", \"-c\", \"…\"]"),
            );
        }
        line.split_whitespace().map(str::to_owned).collect()
    }

    /// `[link]`
    fn links(&mut self, table: &DeTable<'_>, spec: &mut Spec) {
        for (name, span, value) in self.entries(table, None) {
            let subnets = match value.get_ref() {
                DeValue::Table(table) => {
                    let mut subnets = Vec::new();
                    for (_, _, value) in self.entries(table, Some(("a link", LINK))) {
                        subnets = self.subnets(value);
                    }
                    subnets
                }
                _ => self.subnets(value),
            };
            let ends = name.match_indices('-').find_map(|(at, _)| {
                let (one, other) = (&name[..at], &name[at + 1..]);
                (spec.space(one).is_some() && spec.space(other).is_some() && one != other)
                    .then(|| [one.to_owned(), other.to_owned()])
            });
            match ends {
                Some(ends) => spec.links.push(PointToPoint {
                    name: At {
                        value: name.to_owned(),
                        span,
                    },
                    ends,
                    subnets,
                }),
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

    /// `[record]`
    fn records(&mut self, table: &DeTable<'_>, spec: &mut Spec) {
        for (owner, span, value) in self.entries(table, None) {
            for At {
                value: data,
                span: at,
            } in self.strings(value, "record")
            {
                let (kind, rest) = data.split_once(char::is_whitespace).unwrap_or((&data, ""));
                let kind = kind.to_ascii_uppercase();
                if !KINDS.contains(&kind.as_str()) || rest.trim().is_empty() {
                    let found = mistake("LAB0108", format!("`{data}` is not a record"), at, "");
                    let types = KINDS.join(", ");
                    self.report
                        .push(found.help(match nearest(&kind, KINDS.iter().copied()) {
                            Some(meant) if meant != kind => format!("the type {meant} is meant?"),
                            _ => format!("write TYPE and data; types are {types}"),
                        }));
                    continue;
                }
                let data = format!("{kind} {}", rest.trim());
                if let Some(why) = refused(owner, &data) {
                    self.wrong("LAB0108", at, format!("`{data}`: {why}"), "");
                    continue;
                }
                spec.records.push(Record {
                    owner: At {
                        value: owner.to_owned(),
                        span,
                    },
                    data,
                });
            }
        }
    }

    /// `[service.*]`
    fn services(&mut self, table: &DeTable<'_>, spec: &mut Spec) {
        for (name, span, value) in self.entries(table, None) {
            let Some(table) = self.table(value, &format!("[service.{name}]")) else {
                continue;
            };
            self.name(name, span, "a service", 63);
            let (mut vip, mut to, mut target_port) = (None, Vec::new(), None);
            let mut said = false;
            for (key, _, value) in self.entries(table, Some(("a service", SERVICE))) {
                let at = self.span(value);
                match key {
                    "vip" => {
                        let text = self.string(value, key).unwrap_or("");
                        let (text, protocol) = protocol(text);
                        let parsed = text.parse::<std::net::SocketAddr>().ok();
                        vip = parsed.zip(protocol);
                        if vip.is_none() {
                            said = true;
                            self.wrong(
                                "LAB0108",
                                at,
                                "a service's address is ADDRESS:PORT[/udp]",
                                "",
                            );
                        }
                    }
                    "to" => to = self.strings(value, key),
                    _ => {
                        let port = self.number(value, key);
                        target_port = port.and_then(|port| u16::try_from(port).ok());
                        if port.is_some() && target_port.is_none_or(|port| port == 0) {
                            self.wrong("LAB0102", at, "a port is 1 to 65535", "");
                        }
                    }
                }
            }
            let Some((vip, protocol)) = vip else {
                if !said {
                    let message = format!("service `{name}` has no `vip`");
                    self.wrong("LAB0108", span, message, "");
                }
                continue;
            };
            if to.is_empty() {
                self.wrong(
                    "LAB0108",
                    span,
                    format!("service `{name}` has nobody behind it"),
                    "`to` is missing",
                );
                continue;
            }
            spec.services.push(Service {
                name: At {
                    value: name.to_owned(),
                    span,
                },
                address: vip.ip(),
                port: vip.port(),
                protocol,
                to,
                target_port: target_port.unwrap_or(vip.port()),
            });
        }
    }
}

/// Why the server would not serve a record.
fn refused(owner: &str, data: &str) -> Option<String> {
    if data.chars().any(char::is_control) {
        return Some("a record is one line".to_owned());
    }
    let apex = wire::NameBuf::parse("lab.test.", wire::Name::ROOT).ok()?;
    // In front, so that what stays open in the record does not hide in them.
    let text = format!("@ 5 SOA ns ns 1 1 1 1 1\n@ 5 NS ns\nns 5 A 192.0.2.1\n{owner} 5 {data}\n");
    let loaded = zone::Loader::new(apex.as_name()).load_text(&text);
    loaded.err()?.into_iter().next().map(|one| one.message)
}
