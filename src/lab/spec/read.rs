//! From TOML to a [`Spec`]: keys, types and the short forms, with a place for every mistake.

use std::net::IpAddr;
use std::ops::Range;
use std::path::Path;

use corefile::{Diagnostic, FileId, Report, Span, nearest};
use ipnet::IpNet;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{
    At, Attachment, Dns, Forward, HostEnd, Hosts, Net, PointToPoint, Protocol, Record, RouteSpec,
    Service, Space, Spec, mistake, subnet_address,
};

type Value<'a> = Spanned<DeValue<'a>>;

/// Ports that one range may expand to.
const RANGE_LIMIT: u16 = 256;
/// Namespaces that one range may expand to.
const SPACES_LIMIT: usize = 10_000;

const TOP: &[&str] = &["lab", "net", "link", "ns", "record", "service"];
const LAB: &[&str] = &[
    "name", "domain", "dns", "search", "options", "hosts", "ttl", "ndots", "nsswitch",
];
const NET: &[&str] = &[
    "subnet", "host", "gateway", "internal", "isolate", "mtu", "nat", "forward", "upstream",
];
const LINK: &[&str] = &["subnet"];
const SPACE: &[&str] = &[
    "nets", "router", "default", "alias", "routes", "mac", "sysctl", "run", "search", "ndots",
];
const SERVICE: &[&str] = &["vip", "to", "port"];

/// Reads the whole file.
pub(super) fn read(path: &Path, text: &str, file: FileId, report: &mut Report) -> Option<Spec> {
    let (root, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let span = error.span().unwrap_or(0..0);
        report.push(mistake(
            "LAB0001",
            error.message().lines().next().unwrap_or("invalid TOML"),
            place(file, span),
            "",
        ));
    }
    if !errors.is_empty() {
        return None;
    }
    let mut reader = Reader { file, text, report };
    Some(reader.spec(path, root.get_ref()))
}

/// A range of octets as a span.
fn place(file: FileId, range: Range<usize>) -> Span {
    Span {
        file,
        start: range.start as u32,
        end: range.end as u32,
    }
}

/// Where the mistakes go.
struct Reader<'r> {
    file: FileId,
    text: &'r str,
    report: &'r mut Report,
}

impl Reader<'_> {
    /// Reports a mistake.
    fn wrong(&mut self, code: &'static str, span: Span, message: impl Into<String>, label: &str) {
        self.report.push(mistake(code, message, span, label));
    }

    /// The place of a value.
    fn span<T>(&self, value: &Spanned<T>) -> Span {
        place(self.file, value.span())
    }

    /// The place of a word inside a string, where the string is written without escapes.
    fn word(&self, outer: Span, whole: &str, word: &str) -> Span {
        let offset = word.as_ptr() as usize - whole.as_ptr() as usize;
        let start = outer.start as usize + 1 + offset;
        if self.text.get(start..start + word.len()) == Some(word) {
            place(self.file, start..start + word.len())
        } else {
            outer
        }
    }

    /// The keys of a table in the file's order; unknown ones are mistakes.
    fn entries<'t, 'a>(
        &mut self,
        table: &'t DeTable<'a>,
        known: Option<(&str, &[&'static str])>,
    ) -> Vec<(&'t str, Span, &'t Value<'a>)> {
        let mut entries: Vec<_> = table
            .iter()
            .map(|(key, value)| (key.get_ref().as_ref(), place(self.file, key.span()), value))
            .collect();
        entries.sort_by_key(|&(_, span, _)| span.start);
        if let Some((what, known)) = known {
            entries.retain(|&(key, span, _)| {
                if known.contains(&key) {
                    return true;
                }
                let mut found =
                    Diagnostic::error("LAB0002", format!("unknown key `{key}` in {what}"))
                        .at(span, "");
                found = match nearest(key, known.iter().copied()) {
                    Some(meant) => found
                        .help(format!("write `{meant}`"))
                        .replace(span, meant.to_owned()),
                    None => found.help(format!("known keys are {}", known.join(", "))),
                };
                self.report.push(found);
                false
            });
        }
        entries
    }

    /// A table, or a mistake.
    fn table<'t, 'a>(&mut self, value: &'t Value<'a>, what: &str) -> Option<&'t DeTable<'a>> {
        let table = value.get_ref().as_table();
        if table.is_none() {
            self.other_type(value, &format!("{what} is a table"));
        }
        table
    }

    /// A mistake of type.
    fn other_type(&mut self, value: &Value<'_>, wanted: &str) {
        let span = self.span(value);
        let got = value.get_ref().type_str();
        self.wrong("LAB0003", span, format!("{wanted}, not {got}"), "");
    }

    /// A string.
    fn string<'t>(&mut self, value: &'t Value<'_>, what: &str) -> Option<&'t str> {
        let text = value.get_ref().as_str();
        if text.is_none() {
            self.other_type(value, &format!("`{what}` is a string"));
        }
        text
    }

    /// True or false.
    fn boolean(&mut self, value: &Value<'_>, what: &str) -> bool {
        value.get_ref().as_bool().unwrap_or_else(|| {
            self.other_type(value, &format!("`{what}` is true or false"));
            false
        })
    }

    /// A number.
    fn number(&mut self, value: &Value<'_>, what: &str) -> Option<u32> {
        let number = value
            .get_ref()
            .as_integer()
            .and_then(|number| u32::from_str_radix(number.as_str(), number.radix()).ok());
        if number.is_none() {
            self.other_type(value, &format!("`{what}` is a number"));
        }
        number
    }

    /// A string or a list of them.
    fn strings(&mut self, value: &Value<'_>, what: &str) -> Vec<At<String>> {
        let one = |text: &str, span| At {
            value: text.to_owned(),
            span,
        };
        match value.get_ref() {
            DeValue::String(text) => vec![one(text, self.span(value))],
            DeValue::Array(values) => {
                let mut found = Vec::new();
                for value in values.iter() {
                    if let Some(text) = self.string(value, what) {
                        found.push(one(text, self.span(value)));
                    }
                }
                found
            }
            _ => {
                self.other_type(value, &format!("`{what}` is a string or a list of strings"));
                Vec::new()
            }
        }
    }

    /// Bare strings.
    fn plain(&mut self, value: &Value<'_>, what: &str) -> Vec<String> {
        self.strings(value, what)
            .into_iter()
            .map(|at| at.value)
            .collect()
    }

    /// An address.
    fn address(&mut self, text: &str, span: Span) -> Option<IpAddr> {
        let parsed = text.parse().ok();
        if parsed.is_none() {
            self.wrong("LAB0102", span, format!("`{text}` is not an address"), "");
        }
        parsed
    }

    /// One subnet of each family at most.
    fn subnets(&mut self, value: &Value<'_>) -> Vec<At<IpNet>> {
        let mut found: Vec<At<IpNet>> = Vec::new();
        for At { value: text, span } in self.strings(value, "subnet") {
            let Ok(subnet) = text.parse::<IpNet>() else {
                let hint = if text.parse::<IpAddr>().is_ok() {
                    "the length of the prefix is missing, as in /24"
                } else {
                    ""
                };
                self.wrong("LAB0102", span, format!("`{text}` is not a subnet"), hint);
                continue;
            };
            if subnet.trunc() != subnet {
                self.report.push(
                    mistake(
                        "LAB0102",
                        format!("`{text}` has bits set below its prefix"),
                        span,
                        "",
                    )
                    .help("write the network's own address")
                    .replace(span, format!("\"{}\"", subnet.trunc())),
                );
                continue;
            }
            if found
                .iter()
                .any(|other| other.value.addr().is_ipv4() == subnet.addr().is_ipv4())
            {
                self.wrong(
                    "LAB0105",
                    span,
                    "a network has one subnet of each family",
                    "",
                );
                continue;
            }
            found.push(At {
                value: subnet,
                span,
            });
        }
        found
    }

    /// A name that is a file name, a part of an interface name and a DNS label.
    fn name(&mut self, name: &str, span: Span, what: &str, limit: usize) -> bool {
        let good = name.len() <= limit
            && name.starts_with(|c: char| c.is_ascii_alphanumeric())
            && name
                .bytes()
                .all(|c| c.is_ascii_alphanumeric() || b"-_.".contains(&c));
        if !good {
            let why = if name.len() > limit {
                format!("it has {} octets, {limit} are allowed", name.len())
            } else {
                "letters, digits, `-`, `_` and `.`, first a letter or a digit".to_owned()
            };
            self.wrong(
                "LAB0101",
                span,
                format!("`{name}` cannot be the name of {what}"),
                &why,
            );
        }
        good
    }

    /// The whole file.
    fn spec(&mut self, path: &Path, root: &DeTable<'_>) -> Spec {
        let start = place(self.file, 0..0);
        let stem = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .unwrap_or("lab");
        let mut spec = Spec {
            name: stem.to_owned(),
            span: start,
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
        };
        let mut searched = false;
        let sections = self.entries(root, Some(("a lab file", TOP)));
        for &(key, _, value) in &sections {
            let Some(table) = self.table(value, &format!("[{key}]")) else {
                continue;
            };
            match key {
                "lab" => searched = self.lab(table, &mut spec),
                "net" => self.nets(table, &mut spec),
                "ns" => self.spaces(table, &mut spec),
                "record" => self.records(table, &mut spec),
                "service" => self.services(table, &mut spec),
                _ => {}
            }
        }
        // The two names of a link can only be told apart when all namespaces are known.
        if let Some(&(_, _, value)) = sections.iter().find(|&&(key, ..)| key == "link")
            && let Some(table) = value.get_ref().as_table()
        {
            self.links(table, &mut spec);
        }
        let span = spec.span;
        self.name(&spec.name.clone(), span, "a lab", 32);
        if spec.domain.is_empty() {
            spec.domain = format!("{}.test", label(&spec.name));
        }
        if !searched {
            spec.search = vec![spec.domain.clone()];
        }
        pick_subnets(&mut spec);
        spec
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
                "options" => spec.options = self.plain(value, key),
                "ndots" => {
                    if let Some(ndots) = self.number(value, key) {
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
            None => found.help(format!("it is one of {} {or}", known.join(", "))),
        };
        self.report.push(found);
    }

    /// `[net.*]`
    fn nets(&mut self, table: &DeTable<'_>, spec: &mut Spec) {
        for (name, span, value) in self.entries(table, None) {
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
                upstream: Vec::new(),
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
                        Err(why) => self.report.push(
                            mistake(
                                "LAB0108",
                                format!("`{value}` is not a port forward"),
                                span,
                                why,
                            )
                            .help(
                                "write [ADDRESS:]PORT[/udp]:NAMESPACE:PORT, as in \"8080:web:80\"",
                            ),
                        ),
                    }
                }
            }
            ("upstream", _) => {
                for At { value, span } in self.strings(value, key) {
                    net.upstream.extend(self.address(&value, span));
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
                        Some(route) => space.routes.push(route),
                        None => self.report.push(
                            mistake("LAB0108", format!("`{value}` is not a route"), span, "").help(
                                "write SUBNET via ADDRESS, as in \"192.0.2.0/24 via 10.1.0.9\"",
                            ),
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
                            format!("`{text}` is not a MAC address"),
                            "",
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
                        _ => self.string(value, key).unwrap_or("").to_owned(),
                    };
                    // A key is a path below /proc/sys; only what belongs to a network namespace may be set.
                    if !key.starts_with("net.") || key.contains('/') || key.contains("..") {
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
            "run" => space.run = self.plain(value, key),
            "search" => space.search = Some(self.search(value)),
            "ndots" => space.ndots = self.number(value, key),
            _ => {}
        }
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
                None => self.report.push(
                    mistake(
                        "LAB0103",
                        format!("`{name}` does not join two namespaces"),
                        span,
                        "",
                    )
                    .help(
                        "write NAMESPACE-NAMESPACE, both declared under [ns] (\"none\" is enough)",
                    ),
                ),
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
                let kind = data.split_whitespace().next().unwrap_or("");
                const KINDS: &[&str] =
                    &["A", "AAAA", "CNAME", "MX", "TXT", "SRV", "PTR", "NS", "CAA"];
                if !KINDS.contains(&kind) || data.split_whitespace().nth(1).is_none() {
                    self.report.push(
                        mistake("LAB0108", format!("`{data}` is not a record"), at, "").help(
                            format!("write TYPE and data; types are {}", KINDS.join(", ")),
                        ),
                    );
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
            for (key, _, value) in self.entries(table, Some(("a service", SERVICE))) {
                let at = self.span(value);
                match key {
                    "vip" => {
                        let text = self.string(value, key).unwrap_or("");
                        let (text, protocol) = protocol(text);
                        let parsed = text.parse::<std::net::SocketAddr>().ok();
                        vip = parsed.zip(protocol);
                        if vip.is_none() {
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
                        target_port = self
                            .number(value, key)
                            .and_then(|port| u16::try_from(port).ok())
                    }
                }
            }
            let Some((vip, protocol)) = vip else {
                self.wrong(
                    "LAB0108",
                    span,
                    format!("service `{name}` has no `vip`"),
                    "",
                );
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

/// A name as one DNS label: what a host name may not hold becomes `-`.
pub(crate) fn label(name: &str) -> String {
    name.to_ascii_lowercase().replace(['_', '.'], "-")
}

/// Whether it is a domain of sane labels.
fn is_domain(text: &str) -> bool {
    text.len() <= 253
        && text.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label
                    .bytes()
                    .all(|c| c.is_ascii_alphanumeric() || c == b'-' || c == b'_')
        })
}

/// Networks without a subnet get the next free /24 of 10.201.0.0/16, in the file's order.
fn pick_subnets(spec: &mut Spec) {
    let mut taken: Vec<IpNet> = spec
        .nets
        .iter()
        .flat_map(|net| &net.subnets)
        .chain(spec.links.iter().flat_map(|link| &link.subnets))
        .map(|subnet| subnet.value)
        .collect();
    let Ok(pool) = "10.201.0.0/16".parse::<IpNet>() else {
        return;
    };
    for net in spec.nets.iter_mut().filter(|net| net.subnets.is_empty()) {
        let free = (0..256u128)
            .filter_map(|third| IpNet::new(subnet_address(pool, third << 8)?, 24).ok())
            .find(|subnet| !taken.iter().any(|other| overlap(other, subnet)));
        if let Some(value) = free {
            taken.push(value);
            net.subnets.push(At {
                value,
                span: net.name.span,
            });
        }
    }
}

/// Whether two subnets have an address in common.
pub(super) fn overlap(one: &IpNet, other: &IpNet) -> bool {
    one.contains(other) || other.contains(one)
}

/// `h[001-200]` as two hundred names; a name without brackets as itself.
fn expand(key: &str) -> Result<Vec<String>, &'static str> {
    let Some((before, rest)) = key.split_once('[') else {
        return Ok(vec![key.to_owned()]);
    };
    let (range, after) = rest.split_once(']').ok_or("`]` is missing")?;
    let (from, to) = range.split_once('-').ok_or("write [FROM-TO]")?;
    let (low, high): (usize, usize) = (
        from.parse().map_err(|_| "FROM is not a number")?,
        to.parse().map_err(|_| "TO is not a number")?,
    );
    if low > high {
        return Err("FROM is larger than TO");
    }
    if high - low >= SPACES_LIMIT {
        return Err("more than 10,000 namespaces");
    }
    let width = if from.starts_with('0') { from.len() } else { 0 };
    Ok((low..=high)
        .map(|n| format!("{before}{n:0width$}{after}"))
        .collect())
}

/// A text without its `/tcp` or `/udp`, and what that says.
fn protocol(text: &str) -> (&str, Option<Protocol>) {
    match text.split_once('/') {
        None => (text, Some(Protocol::Tcp)),
        Some((rest, "tcp")) => (rest, Some(Protocol::Tcp)),
        Some((rest, "udp")) => (rest, Some(Protocol::Udp)),
        Some((rest, _)) => (rest, None),
    }
}

/// `[ADDRESS:]PORT[-PORT][/udp]:NAMESPACE:PORT[-PORT]`
fn forward(text: &str, span: Span) -> Result<Vec<Forward>, &'static str> {
    let (rest, target_ports) = text.rsplit_once(':').ok_or("two colons are missing")?;
    let (outside, target) = rest.rsplit_once(':').ok_or("a colon is missing")?;
    let (listen, ports) = match outside.rsplit_once(':') {
        None => (None, outside),
        Some((address, ports)) => {
            let address = address.trim_start_matches('[').trim_end_matches(']');
            let address = address.parse().map_err(|_| "the address cannot be read")?;
            (Some(address), ports)
        }
    };
    let (ports, protocol) = protocol(ports);
    let protocol = protocol.ok_or("the protocol is tcp or udp")?;
    let range = |text: &str| -> Option<(u16, u16)> {
        let (low, high) = text.split_once('-').unwrap_or((text, text));
        let (low, high) = (low.parse().ok()?, high.parse().ok()?);
        (0 < low && low <= high && high - low < RANGE_LIMIT).then_some((low, high))
    };
    let (low, high) = range(ports).ok_or("the port is 1 to 65535, a range at most 256 ports")?;
    let (to, to_high) =
        range(target_ports).ok_or("the port is 1 to 65535, a range at most 256 ports")?;
    if high - low != to_high - to {
        return Err("the two ranges differ in length");
    }
    // The unspecified address means every one.
    let listen = listen.filter(|address: &IpAddr| !address.is_unspecified() || address.is_ipv6());
    Ok((0..=high - low)
        .map(|step| Forward {
            span,
            listen,
            port: low + step,
            protocol,
            target: target.to_owned(),
            target_port: to + step,
        })
        .collect())
}

/// `SUBNET via NEXT-HOP`
fn route(text: &str, span: Span) -> Option<RouteSpec> {
    let mut words = text.split_whitespace();
    let (to, via, next, end) = (words.next()?, words.next()?, words.next()?, words.next());
    if via != "via" || end.is_some() {
        return None;
    }
    let everything = if next.parse::<IpAddr>().is_ok_and(|next| next.is_ipv6()) {
        "::/0"
    } else {
        "0.0.0.0/0"
    };
    let to = if to == "default" { everything } else { to };
    let to = to
        .parse::<IpNet>()
        .ok()
        .or_else(|| to.parse::<IpAddr>().ok().map(IpNet::from))?;
    Some(RouteSpec {
        span,
        to: to.trunc(),
        via: next.to_owned(),
    })
}

/// Six octets with colons.
fn mac(text: &str) -> Option<[u8; 6]> {
    let mut octets = [0; 6];
    let mut parts = text.split(':');
    for octet in &mut octets {
        *octet = u8::from_str_radix(parts.next()?, 16).ok()?;
    }
    // A group address cannot be an interface's own.
    (parts.next().is_none() && octets[0] & 1 == 0).then_some(octets)
}
