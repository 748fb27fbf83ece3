//! `[record]` and `[service]`: names that are not a host's.

use corefile::{Span, nearest};
use toml::de::DeTable;

use super::forms::protocol;
use super::reader::{Reader, Value, is_name};
use super::{At, Protocol, Record, Service, Spec, mistake};

pub(super) const SERVICE: &[&str] = &[
    "vip",
    "to",
    "port",
    "headless",
    "node_port",
    "affinity",
    "affinity_timeout",
    "namespace",
];
/// How long a client is remembered, in seconds, as in Kubernetes.
const AFFINITY: u32 = 10_800;
const KINDS: &[&str] = &["A", "AAAA", "CNAME", "MX", "TXT", "SRV", "PTR", "NS", "CAA"];

impl Reader<'_> {
    /// `[record]`
    pub(super) fn records(&mut self, table: &DeTable<'_>, spec: &mut Spec) {
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
                            Some(meant) if meant != kind => {
                                format!("did you mean the type {meant}?")
                            }
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
    pub(super) fn services(&mut self, table: &DeTable<'_>, spec: &mut Spec) {
        for (name, span, value) in self.entries(table, None) {
            let Some(table) = self.table(value, &format!("[service.{name}]")) else {
                continue;
            };
            self.name(name, span, "a service", 63);
            let mut service = Service {
                name: At {
                    value: name.to_owned(),
                    span,
                },
                address: None,
                port: None,
                protocol: Protocol::Tcp,
                to: Vec::new(),
                target_port: 0,
                node_port: None,
                affinity: None,
                namespace: None,
            };
            let mut read = Written::default();
            for (key, _, value) in self.entries(table, Some(("a service", SERVICE))) {
                self.service_key(key, value, &mut service, &mut read);
            }
            if self.whole_service(&mut service, &read) {
                spec.services.push(service);
            }
        }
    }

    /// One key of a service.
    fn service_key(
        &mut self,
        key: &str,
        value: &Value<'_>,
        service: &mut Service,
        read: &mut Written,
    ) {
        let at = self.span(value);
        match key {
            "vip" => {
                read.vip = Some(at);
                let text = self.string(value, key).unwrap_or("");
                let (text, protocol) = protocol(text);
                let parsed = text.parse::<std::net::SocketAddr>().ok().zip(protocol);
                match parsed {
                    Some((vip, protocol)) => {
                        (service.address, service.port) = (Some(vip.ip()), Some(vip.port()));
                        service.protocol = protocol;
                    }
                    None => {
                        read.wrong = true;
                        let message = "a service's address is ADDRESS:PORT[/udp]";
                        let mut found = mistake("LAB0108", message, at, "");
                        if text.eq_ignore_ascii_case("none") {
                            found = found
                                .help("for a service without an address, write headless = true");
                        }
                        self.report.push(found);
                    }
                }
            }
            "to" => service.to = self.strings(value, key),
            "port" => {
                // Behind a headless service there is only this port, so that it says its protocol as well.
                let text = value.get_ref().as_str().map(protocol);
                read.port = match text {
                    Some((port, Some(protocol))) if port.parse::<u16>().is_ok_and(|p| p > 0) => {
                        read.protocol = Some(protocol);
                        port.parse().ok()
                    }
                    _ => self.port(value, key),
                };
            }
            "headless" => read.headless = self.boolean(value, key),
            "node_port" => {
                service.node_port = self.port(value, key).map(|value| At { value, span: at });
            }
            "affinity" => match self.string(value, key) {
                Some("client") => read.sticky = true,
                Some("none") | None => {}
                Some(text) if text.eq_ignore_ascii_case("ClientIP") => read.sticky = true,
                Some(text) => self.choice(at, key, text, &["client", "none"], ""),
            },
            "affinity_timeout" => {
                let seconds = self.number(value, key);
                // Kubernetes has a day at most.
                if seconds.is_some_and(|seconds| !(1..=86_400).contains(&seconds)) {
                    self.wrong("LAB0102", at, "a time is 1 to 86400 seconds", "");
                }
                read.timeout = seconds.map(|value| At { value, span: at });
            }
            _ => service.namespace = self.namespace(value),
        }
    }

    /// The namespace of a cluster.
    pub(super) fn namespace(&mut self, value: &Value<'_>) -> Option<At<String>> {
        let span = self.span(value);
        let text = self.string(value, "namespace")?;
        if !is_name(text, 63) || text.contains(['.', '_']) {
            let message = format!("`{text}` cannot be the name of a cluster's namespace");
            self.wrong(
                "LAB0101",
                span,
                message,
                "a label of letters, digits and `-`",
            );
        }
        let value = text.to_ascii_lowercase();
        Some(At { value, span })
    }

    /// A port.
    fn port(&mut self, value: &Value<'_>, key: &str) -> Option<u16> {
        let number = self.number(value, key)?;
        let port = u16::try_from(number).ok().filter(|port| *port > 0);
        if port.is_none() {
            self.wrong("LAB0102", self.span(value), "a port is 1 to 65535", "");
        }
        port
    }

    /// Puts together what was read; whether it is a service.
    fn whole_service(&mut self, service: &mut Service, read: &Written) -> bool {
        let (name, span) = (service.name.value.clone(), service.name.span);
        let mut no = |message: String, label: &str, span| {
            self.wrong("LAB0108", span, message, label);
            false
        };
        match (read.vip, read.headless) {
            (Some(vip), true) => {
                return no(
                    format!("service `{name}` is headless and has a `vip`"),
                    "",
                    vip,
                );
            }
            (None, false) => {
                let message = format!("service `{name}` has no `vip`");
                return no(message, "and it is not headless", span);
            }
            _ if read.wrong => return false,
            _ => {}
        }
        if service.to.is_empty() {
            let message = format!("service `{name}` has no namespaces behind it");
            return no(message, "`to` is missing", span);
        }
        if read.headless {
            service.port = read.port;
            service.protocol = read.protocol.unwrap_or(Protocol::Tcp);
            let balanced = service.node_port.as_ref().map(|port| port.span);
            let sticky = (read.sticky || read.timeout.is_some()).then_some(span);
            if let Some(at) = balanced.or(sticky) {
                let message = format!("service `{name}` is headless, so it is not balanced");
                return no(message, "", at);
            }
        }
        service.target_port = read.port.or(service.port).unwrap_or(0);
        match (&read.timeout, read.sticky) {
            (Some(timeout), false) => {
                let message = "`affinity_timeout` needs affinity = \"client\"";
                return no(message.to_owned(), "", timeout.span);
            }
            (timeout, true) => {
                let seconds = timeout.as_ref().map(|timeout| timeout.value);
                service.affinity = Some(seconds.unwrap_or(AFFINITY));
            }
            (None, false) => {}
        }
        true
    }
}

/// What a service's table says, as far as it cannot be told alone.
#[derive(Default)]
struct Written {
    vip: Option<Span>,
    port: Option<u16>,
    protocol: Option<Protocol>,
    headless: bool,
    sticky: bool,
    timeout: Option<At<u32>>,
    /// Whether a mistake was told already.
    wrong: bool,
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
