//! pihole.toml of Pi-hole 6. What it hands to its dnsmasq in lines is read as dnsmasq's.

use std::io;
use std::net::IpAddr;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::import::dnsmasq;
use crate::import::grammar::{prefix, upstream};
use crate::import::model::{Action, Forward, Model, Name, Record};
use crate::import::reading::{Files, Text};
use crate::import::report::{Place, Report};

/// Tables about things that a DNS server does not do, or that need nothing.
const NOTHING_TO_DO: [(&str, &str); 6] = [
    ("webserver", "there is no web page"),
    ("database", "queries are not kept; `log` writes them"),
    ("debug", "`debug`"),
    ("files", "the log goes to standard output"),
    ("ntp", "time is kept by the system"),
    ("resolver", "names of clients are not looked up"),
];

/// Keys of `dns` that need nothing.
const DNS_NOTHING: [&str; 13] = [
    "CNAMEdeepInspect",
    "EDNS0ECS",
    "ignoreLocalhost",
    "showDNSSEC",
    "analyzeOnlyAandAAAA",
    "piholePTR",
    "replyWhenBusy",
    "blockTTL",
    "cache",
    "localise",
    "specialDomains",
    "reply",
    "rateLimit",
];

/// Reads pihole.toml, or the directory that has it.
pub(super) fn read(path: &Path, files: &mut Files, report: &mut Report) -> io::Result<Model> {
    let file = if path.is_dir() {
        path.join("pihole.toml")
    } else {
        path.to_owned()
    };
    let text = files.read(&file)?;
    let mut model = Model {
        ttl: 60,
        ..Model::default()
    };
    model.scopes[0].has_reverse = true;
    let mut reading = Reading {
        text: &text,
        report,
        model,
        domain: None,
        expands: false,
    };
    let table = match DeTable::parse(&text.text) {
        Ok(table) => table,
        Err(error) => {
            let line = error
                .span()
                .map_or(0, |span| line_of(&text.text, span.start));
            let why = format!("line {line}: {}", error.message());
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
    };
    let lines = reading.tables(table.get_ref());
    let Reading { mut model, .. } = reading;
    model = dnsmasq::read_lines(
        lines.iter().map(|(place, line)| (place.clone(), &**line)),
        files,
        report,
        model,
    );
    let gravity = file.with_file_name("gravity.db");
    let place = Place {
        file: gravity.display().to_string().into(),
        line: 0,
    };
    if gravity.exists() {
        report.left(
            &place,
            "",
            "the lists of blocked domains are not read",
            "download the lists as hosts files, and write `hosts DIRECTORY { fallthrough }`",
        );
    }
    Ok(model)
}

struct Reading<'a> {
    text: &'a Text,
    report: &'a mut Report,
    model: Model,
    domain: Option<Name>,
    expands: bool,
}

impl Reading<'_> {
    fn place(&self, at: usize) -> Place {
        self.text.place(line_of(&self.text.text, at))
    }

    /// Takes what is known; gives the lines for dnsmasq.
    fn tables(&mut self, root: &DeTable<'_>) -> Vec<(Place, String)> {
        let mut lines = Vec::new();
        for (key, value) in root {
            let name = &**key.get_ref();
            let place = self.place(key.span().start);
            match (name, value.get_ref()) {
                ("dns", DeValue::Table(dns)) => self.dns(dns),
                ("dhcp", DeValue::Table(dhcp)) => {
                    let is_on = dhcp
                        .get("active")
                        .is_some_and(|on| matches!(on.get_ref(), DeValue::Boolean(true)));
                    if is_on {
                        self.report.left(
                            &place,
                            "[dhcp]",
                            "nameplate has no DHCP",
                            "keep a DHCP server beside it, and name the machines in `hosts`",
                        );
                    }
                }
                ("misc", DeValue::Table(misc)) => {
                    for (place, line) in misc
                        .get("dnsmasq_lines")
                        .into_iter()
                        .flat_map(|value| self.strings(value))
                    {
                        lines.push((place, line));
                    }
                    if let Some(value) = misc.get("etc_dnsmasq_d")
                        && matches!(value.get_ref(), DeValue::Boolean(true))
                    {
                        let place = self.place(value.span().start);
                        self.report.left(
                            &place,
                            "etc_dnsmasq_d = true",
                            "/etc/dnsmasq.d is another configuration",
                            "nameplate import dnsmasq /etc/dnsmasq.d",
                        );
                    }
                }
                _ => match NOTHING_TO_DO.iter().find(|(known, _)| *known == name) {
                    Some((_, why)) => self
                        .report
                        .note(&place, name, &format!("not needed: {why}")),
                    None => self.report.left(
                        &place,
                        name,
                        &format!("`{name}` is not a table that this importer knows"),
                        "",
                    ),
                },
            }
        }
        lines
    }

    fn dns(&mut self, dns: &DeTable<'_>) {
        // The domain decides what the names of hosts become.
        let text = |key: &str| match dns.get(key).map(Spanned::get_ref) {
            Some(DeValue::String(text)) => text.to_string(),
            _ => String::new(),
        };
        let mut domain = text("domain");
        // Newer versions have a table.
        if let Some(DeValue::Table(table)) = dns.get("domain").map(Spanned::get_ref)
            && let Some(DeValue::String(name)) = table.get("name").map(Spanned::get_ref)
        {
            domain = name.to_string();
        }
        self.domain = Name::parse(&domain).filter(|name| !name.is_root());
        self.expands = is_on(dns, "expandHosts");
        if let Some(domain) = self.domain.clone()
            && !dns.get("domain").is_some_and(
                |value| matches!(value.get_ref(), DeValue::Table(table) if !is_on(table, "local")),
            )
        {
            self.model.scopes[0].domain(&domain).action = Some(Action::Zone);
        }
        for (key, value) in dns {
            let name = &**key.get_ref();
            let place = self.place(key.span().start);
            match name {
                "upstreams" => {
                    let to = self
                        .strings(value)
                        .into_iter()
                        .filter_map(|(place, text)| self.upstream(&place, &text));
                    let to: Vec<_> = to.collect();
                    if !to.is_empty() {
                        let forward = Forward {
                            to,
                            options: Vec::new(),
                        };
                        self.model.scopes[0].domain(&Name::default()).action =
                            Some(Action::Forward(forward));
                    }
                }
                "hosts" => {
                    for (place, text) in self.strings(value) {
                        self.host(&place, &text);
                    }
                }
                "cnameRecords" => {
                    for (place, text) in self.strings(value) {
                        self.alias(&place, &text);
                    }
                }
                "revServers" => {
                    for (place, text) in self.strings(value) {
                        self.reverse_server(&place, &text);
                    }
                }
                "domain" | "expandHosts" => {}
                "domainNeeded" => self.model.scopes[0].keeps_single_labels = is_on(dns, name),
                "bogusPriv" => {
                    if is_on(dns, name) {
                        for zone in crate::import::empty_zones::private() {
                            self.model.scopes[0]
                                .domain(&zone)
                                .action
                                .get_or_insert(Action::Zone);
                        }
                    }
                }
                "dnssec" if !is_on(dns, name) => {}
                "dnssec" => self.report.left(
                    &place,
                    "dnssec = true",
                    "replies are not validated",
                    "name an upstream that validates",
                ),
                "queryLogging" => self.model.log = is_on(dns, name),
                "port" => match value.get_ref() {
                    DeValue::Integer(number) => self.model.port = number.as_str().parse().ok(),
                    _ => self.report.left(&place, name, "not a port", ""),
                },
                "interface" => {
                    let interface = text(name);
                    if !interface.is_empty() {
                        self.model.listen = vec![interface, "lo".to_owned()];
                    }
                }
                "listeningMode" => {
                    if !matches!(&*text(name), "ALL" | "all") {
                        self.report.left(
                            &place,
                            name,
                            "clients are not told apart by their networks",
                            "write an `acl` with the networks that may ask",
                        );
                    }
                }
                "blocking" => {
                    self.report.left(&place, name, "the lists of blocked domains are not read", "download the lists as hosts files, and write `hosts DIRECTORY { fallthrough }`");
                }
                "hostRecord" if text(name).is_empty() => {}
                "hostRecord" => self.report.left(
                    &place,
                    &text(name),
                    "a record of its own kind",
                    "write it into `hosts`",
                ),
                _ if DNS_NOTHING.contains(&name) => {
                    self.report
                        .note(&place, name, "not imported: nameplate's defaults apply");
                }
                _ => self.report.left(
                    &place,
                    name,
                    &format!("`{name}` is not an option that this importer knows"),
                    "",
                ),
            }
        }
    }

    /// The strings of a list and where they stand; what is none is reported.
    fn strings(&mut self, value: &Spanned<DeValue<'_>>) -> Vec<(Place, String)> {
        let mut out = Vec::new();
        if let DeValue::Array(all) = value.get_ref() {
            for one in all {
                let place = self.place(one.span().start);
                match one.get_ref() {
                    DeValue::String(text) => out.push((place, text.to_string())),
                    _ => self.report.left(&place, "", "not a text", ""),
                }
            }
        }
        out
    }

    fn upstream(&mut self, place: &Place, text: &str) -> Option<String> {
        let found = upstream(text.trim(), '#');
        if found.is_none() {
            self.report
                .left(place, text, "not the address of an upstream", "");
        }
        found
    }

    /// `ADDRESS NAME...`.
    fn host(&mut self, place: &Place, text: &str) {
        let mut words = text.split_whitespace();
        let Some(address) = words.next().and_then(|word| word.parse::<IpAddr>().ok()) else {
            return self
                .report
                .left(place, text, "not an address and its names", "");
        };
        for word in words.take_while(|word| !word.starts_with('#')) {
            let Some(name) =
                Name::parse(word).filter(|name| !name.is_root() && !name.is_wildcard())
            else {
                self.report.left(
                    place,
                    text,
                    &format!("not a name that can be imported: {word}"),
                    "",
                );
                continue;
            };
            if let (Some(domain), true) = (&self.domain, self.expands && name.has_one_label())
                && let Some(full) = Name::below(name.as_str(), domain)
            {
                self.model.scopes[0].address(&full, address);
            }
            self.model.scopes[0].address(&name, address);
        }
    }

    /// `ALIAS,TARGET[,TTL]`.
    fn alias(&mut self, place: &Place, text: &str) {
        let fields: Vec<&str> = text.split(',').map(str::trim).collect();
        let taken = match *fields {
            [alias, target] => Some((alias, target, Some(self.model.ttl))),
            [alias, target, ttl] => Some((alias, target, ttl.parse().ok())),
            _ => None,
        };
        let taken = taken.and_then(|(alias, target, ttl)| {
            Some((Name::parse(alias)?, Name::parse(target)?, ttl?))
        });
        match taken {
            Some((alias, target, ttl)) => {
                let record = Record {
                    ttl,
                    rtype: "CNAME".to_owned(),
                    rdata: target.absolute(),
                };
                self.model.scopes[0].record(&alias, record, (place, text), self.report);
            }
            None => self
                .report
                .left(place, text, "not an alias and its target", ""),
        }
    }

    /// `ENABLED,NETWORK,UPSTREAM[,DOMAIN]`.
    fn reverse_server(&mut self, place: &Place, text: &str) {
        let fields: Vec<&str> = text.split(',').map(str::trim).collect();
        let (enabled, net, to) = match *fields {
            [enabled, net, to] | [enabled, net, to, _] => (enabled, net, to),
            _ => {
                return self
                    .report
                    .left(place, text, "not a network and an upstream", "");
            }
        };
        if enabled != "true" {
            return;
        }
        let net = prefix(net).map(|(address, length)| Name::reverse_zones(address, length));
        let (Some(mut zones), Some(to)) =
            (net.filter(|zones| !zones.is_empty()), upstream(to, '#'))
        else {
            return self
                .report
                .left(place, text, "not a network and an upstream", "");
        };
        zones.extend(fields.get(3).and_then(|name| Name::parse(name)));
        for zone in zones {
            let forward = Forward {
                to: vec![to.clone()],
                options: Vec::new(),
            };
            self.model.scopes[0].domain(&zone).action = Some(Action::Forward(forward));
        }
    }
}

fn is_on(table: &DeTable<'_>, key: &str) -> bool {
    table
        .get(key)
        .is_some_and(|value| matches!(value.get_ref(), DeValue::Boolean(true)))
}

fn line_of(text: &str, at: usize) -> usize {
    let before = text.as_bytes().get(..at).unwrap_or_default();
    before.iter().filter(|octet| **octet == b'\n').count() + 1
}
