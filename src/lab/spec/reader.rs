//! Keys, types and words of a TOML file, each with its place: what the reader of a lab is made of.

use std::net::IpAddr;
use std::ops::Range;

use corefile::{Diagnostic, FileId, Report, Span, nearest};
use ipnet::IpNet;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{At, mistake};

pub(super) type Value<'a> = Spanned<DeValue<'a>>;

/// What the top of a file is called in messages.
pub(super) const FILE: &str = "a lab file";

/// A range of octets as a span.
pub(super) fn place(file: FileId, range: Range<usize>) -> Span {
    Span {
        file,
        start: range.start as u32,
        end: range.end as u32,
    }
}

/// Where the mistakes go.
pub(super) struct Reader<'r> {
    pub(super) file: FileId,
    pub(super) text: &'r str,
    pub(super) report: &'r mut Report,
}

impl Reader<'_> {
    /// Reports a mistake.
    pub(super) fn wrong(
        &mut self,
        code: &'static str,
        span: Span,
        message: impl Into<String>,
        label: &str,
    ) {
        self.report.push(mistake(code, message, span, label));
    }

    /// The place of a value.
    pub(super) fn span<T>(&self, value: &Spanned<T>) -> Span {
        place(self.file, value.span())
    }

    /// The place of a word inside a string, where the string is written without escapes.
    pub(super) fn word(&self, outer: Span, whole: &str, word: &str) -> Span {
        let Some(offset) = (word.as_ptr() as usize).checked_sub(whole.as_ptr() as usize) else {
            return outer;
        };
        let start = outer.start as usize + 1 + offset;
        if self.text.get(start..start + word.len()) == Some(word) {
            place(self.file, start..start + word.len())
        } else {
            outer
        }
    }

    /// The keys of a table in the file's order; unknown ones are mistakes.
    pub(super) fn entries<'t, 'a>(
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
            entries.retain(|&(key, span, value)| {
                if known.contains(&key) {
                    return true;
                }
                if let Some(why) = absent(what, key) {
                    let message = format!("`{key}` is not implemented");
                    self.report
                        .push(mistake("LAB0004", message, span, "").help(why));
                    return false;
                }
                let kind = match value.get_ref() {
                    DeValue::Table(_) if what == FILE => "section",
                    _ => "key",
                };
                let message = format!("unknown {kind} `{key}` in {what}");
                let mut found = Diagnostic::error("LAB0002", message).at(span, "");
                if let Some(why) = elsewhere(what, key) {
                    self.report.push(found.help(why));
                    return false;
                }
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
    pub(super) fn table<'t, 'a>(
        &mut self,
        value: &'t Value<'a>,
        what: &str,
    ) -> Option<&'t DeTable<'a>> {
        let table = value.get_ref().as_table();
        if table.is_none() {
            self.other_type(value, &format!("{what} is a table"));
        }
        table
    }

    /// A mistake of type.
    pub(super) fn other_type(&mut self, value: &Value<'_>, wanted: &str) {
        let span = self.span(value);
        let got = match value.get_ref().type_str() {
            kind @ ("integer" | "array") => format!("an {kind}"),
            kind => format!("a {kind}"),
        };
        let found = mistake("LAB0003", format!("{wanted}, not {got}"), span, "");
        self.report.push(match bare(value) {
            Some(word) if wanted.ends_with(word.kind) => found
                .help(format!("write `{}`, without quotes", word.text))
                .replace(span, word.text),
            _ => found,
        });
    }

    /// A string.
    pub(super) fn string<'t>(&mut self, value: &'t Value<'_>, what: &str) -> Option<&'t str> {
        let text = value.get_ref().as_str();
        if text.is_none() {
            self.other_type(value, &format!("`{what}` is a string"));
        }
        text
    }

    /// True or false.
    pub(super) fn boolean(&mut self, value: &Value<'_>, what: &str) -> bool {
        value.get_ref().as_bool().unwrap_or_else(|| {
            self.other_type(value, &format!("`{what}` is true or false"));
            false
        })
    }

    /// A number.
    pub(super) fn number(&mut self, value: &Value<'_>, what: &str) -> Option<u32> {
        let number = value
            .get_ref()
            .as_integer()
            .and_then(|number| u32::from_str_radix(number.as_str(), number.radix()).ok());
        if number.is_none() && value.get_ref().as_integer().is_some() {
            let message = format!("`{what}` is a number from 0 to {}", u32::MAX);
            self.wrong("LAB0102", self.span(value), message, "");
        } else if number.is_none() {
            self.other_type(value, &format!("`{what}` is a number"));
        }
        number
    }

    /// A string or a list of them.
    pub(super) fn strings(&mut self, value: &Value<'_>, what: &str) -> Vec<At<String>> {
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
    pub(super) fn plain(&mut self, value: &Value<'_>, what: &str) -> Vec<String> {
        self.strings(value, what)
            .into_iter()
            .map(|at| at.value)
            .collect()
    }

    /// An address.
    pub(super) fn address(&mut self, text: &str, span: Span) -> Option<IpAddr> {
        if let Ok(address) = text.parse() {
            return Some(address);
        }
        let found = |label| {
            mistake(
                "LAB0102",
                format!("`{text}` is not an address"),
                span,
                label,
            )
        };
        let digits = |c: char| c.is_ascii_digit() || c == '.';
        self.report.push(match text.parse::<IpNet>() {
            Ok(net) => found("")
                .help("the prefix is the network's: leave it out")
                .replace(span, net.addr().to_string()),
            Err(_) if text.chars().all(digits) => found("four numbers from 0 to 255"),
            Err(_) if text.contains(':') => found(""),
            Err(_) => found("").help("separate networks with commas, as in \"br0, br1\""),
        });
        None
    }

    /// One subnet of each family at most.
    pub(super) fn subnets(&mut self, value: &Value<'_>) -> Vec<At<IpNet>> {
        let mut found: Vec<At<IpNet>> = Vec::new();
        for At { value: text, span } in self.strings(value, "subnet") {
            let Some(subnet) = self.subnet(&text, span) else {
                continue;
            };
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
    pub(super) fn name(&mut self, name: &str, span: Span, what: &str, limit: usize) -> bool {
        let good = is_name(name, limit);
        if !good {
            let why = if name.len() > limit {
                format!("it has {} bytes, {limit} are allowed", name.len())
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
}

/// Whether it can be a file's name, a part of an interface's and a DNS label.
pub(crate) fn is_name(name: &str, limit: usize) -> bool {
    name.len() <= limit
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name
            .bytes()
            .all(|c| c.is_ascii_alphanumeric() || b"-_.".contains(&c))
}

/// A number or a truth in quotes.
struct Bare {
    text: String,
    kind: &'static str,
}

/// What a string would be without its quotes.
fn bare(value: &Value<'_>) -> Option<Bare> {
    let text = value.get_ref().as_str()?;
    let (text, kind) = match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" => ("true", "true or false"),
        "false" | "no" | "off" => ("false", "true or false"),
        number if number.parse::<u32>().is_ok() => (text, "a number"),
        _ => return None,
    };
    Some(Bare {
        text: text.to_owned(),
        kind,
    })
}

/// What other tools have, or a reader may expect, and is not there.
fn absent(what: &str, key: &str) -> Option<&'static str> {
    Some(match (what, key) {
        ("[lab]", "placement") => {
            "bridges, rules and routes of a lab are always made where `apply` runs"
        }
        ("a namespace", "vlan" | "vlans" | "trunk") | ("a network", "vlans" | "trunk") => {
            "a VLAN is a network: parent = \"switch\" and vlan = 10 in [net.NAME], where `switch` is another network or an interface of the host; a namespace that is in it with a tag has nets = \"switch, red tagged\""
        }
        _ => return None,
    })
}

/// Where that stands which other tools have as a key of its own.
fn elsewhere(what: &str, key: &str) -> Option<&'static str> {
    Some(match (what, key) {
        ("a namespace", "ip" | "address" | "addresses" | "addr") => {
            "write addresses after the network's name: nets = \"br0 10.1.0.4\""
        }
        ("a namespace", "gateway" | "gw") => {
            "a network has a `gateway`; one namespace's own is routes = [\"default via 10.1.0.9\"]"
        }
        ("a namespace", "dns" | "nameserver") => {
            "all namespaces have the lab's server: `dns` in [lab]"
        }
        ("a network", "address" | "ip" | "addr") => "the host's address on the bridge is `host`",
        ("a network", "masquerade" | "snat") => "write `nat`",
        ("a network", "ports" | "publish") => "write forward = [\"8080:web:80\"]",
        _ => return None,
    })
}
