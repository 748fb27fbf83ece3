//! `[ns]`: namespaces, from their short form or their table.

use corefile::Span;
use toml::de::{DeTable, DeValue};

use super::forms::{expand, mac, route};
use super::reader::{Reader, Value};
use super::run::Run;
use super::{At, Attachment, Space, Spec, mistake};
use crate::shape::Shape;

pub(super) const SPACE: &[&str] = &[
    "nets",
    "routes",
    "router",
    "default",
    "alias",
    "mac",
    "sysctl",
    "run",
    "search",
    "ndots",
    "namespace",
    "delay",
    "jitter",
    "loss",
    "reorder",
    "rate",
];

impl Reader<'_> {
    /// `[ns]`
    pub(super) fn spaces(&mut self, table: &DeTable<'_>, spec: &mut Spec) {
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
            run: Run::default(),
            shape: Shape::default(),
            search: None,
            ndots: None,
            namespace: None,
        };
        match value.get_ref() {
            DeValue::Table(table) => {
                for (key, _, value) in self.entries(table, Some(("a namespace", SPACE))) {
                    self.space_key(key, value, &mut space);
                }
                if space.shape.jitter.is_none() && space.shape.reorder.is_none() {
                    return space;
                }
                // The delay may be its networks'.
                if space.attachments.is_empty() {
                    self.whole_shape(&space.shape, span);
                }
            }
            _ => self.attachments(value, &mut space),
        }
        space
    }

    /// `"br0 10.0.0.1"`, `"br0, red tagged"`, `"none"`, `"host"`, or a list of the first.
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
                    device: None,
                    is_tagged: false,
                };
                while let Some(word) = words.next() {
                    if word == "dev" {
                        let name = words.next().unwrap_or_default();
                        let span = self.word(*span, text, name);
                        self.device(name, span);
                        on.device = Some(At {
                            value: name.to_owned(),
                            span,
                        });
                        continue;
                    }
                    if word == "tagged" {
                        on.is_tagged = true;
                        continue;
                    }
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
                    match route(&value, span, |word| self.word(span, &value, word)) {
                        Ok(route) => space.routes.push(route),
                        Err((word, why)) => self.report.push(
                            mistake(
                                "LAB0108",
                                format!("`{value}` is not a route"),
                                self.word(span, &value, word),
                                why,
                            )
                            .help("write SUBNET-OR-NETWORK via ADDRESS-OR-NAMESPACE, as in \"192.0.2.0/24 via 10.1.0.9\""),
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
            "delay" | "jitter" | "loss" | "reorder" | "rate" => {
                self.shape(key, value, &mut space.shape);
            }
            "run" => space.run = self.run(value),
            "search" => space.search = Some(self.search(value)),
            "namespace" => space.namespace = self.namespace(value),
            "ndots" => space.ndots = self.number(value, key),
            _ => {}
        }
    }
}
