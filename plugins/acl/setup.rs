//! Reads `acl [ZONES...] { ACTION [type QTYPE...] [net SOURCE...] }`.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use chain::setup::{Build, BuildError, Parse, Registration, Setup};
use corefile::{Diagnostic, Directive, Line, Report, Token, nearest};
use ipnet::IpNet;
use wire::Type;

use super::Acl;
use super::rules::{Action, Policy, Rule};

/// `acl` in the catalogue.
pub(crate) const REGISTRATION: Registration = Registration {
    name: "acl",
    parse,
    handler: true,
};

/// The actions as they are written.
const ACTIONS: [(&str, Action); 4] = [
    ("allow", Action::Allow),
    ("block", Action::Block),
    ("filter", Action::Filter),
    ("drop", Action::Drop),
];
/// The words that begin a list.
const SECTIONS: [&str; 2] = ["type", "net"];

fn parse(parse: &mut Parse<'_>) -> Option<Box<dyn Setup>> {
    let mut rules = Vec::new();
    for directive in parse.directives {
        let names: Vec<&str> = ACTIONS.iter().map(|(name, _)| *name).collect();
        let zones = parse.read_zones(&directive.args, &names);
        let mut policies = Vec::new();
        for line in directive.block.iter().flat_map(|block| &block.lines) {
            policies.extend(policy(parse, directive, line));
        }
        if directive
            .block
            .as_ref()
            .is_none_or(|block| block.lines.is_empty())
        {
            parse.report.push(
                Diagnostic::warning("CF0310", "this `acl` has no effect: it has no policy")
                    .at(directive.name.span, "every query is allowed here")
                    .help("add lines such as `allow net 192.0.2.0/24` and `block`"),
            );
        }
        rules.push((zones, policies));
    }
    Some(Box::new(Rules(rules)))
}

/// Reads one line.
fn policy(parse: &mut Parse<'_>, directive: &Directive, line: &Line) -> Option<Policy> {
    let word = line.words.first()?;
    let lower = word.text.to_lowercase();
    let Some((_, action)) = ACTIONS.iter().find(|(name, _)| *name == lower) else {
        let names = ACTIONS.map(|(name, _)| name);
        let message = format!(
            "unexpected token '{}'; expect 'allow', 'block', 'filter' or 'drop'",
            word.text
        );
        let mut mistake = Diagnostic::error("CF0102", message)
            .at(word.span, "not an action of `acl`")
            .beside(directive.name.span, "in this plugin block");
        if let Some(near) = nearest(&lower, names) {
            mistake = mistake
                .help("a similar action exists")
                .replace(word.span, near);
        }
        parse.report.push(mistake);
        return None;
    };
    let (mut types, mut nets) = (Listed::default(), Listed::default());
    let mut rest = &line.words[1..];
    while let Some((section, behind)) = rest.split_first() {
        let is_section = |word: &Token| SECTIONS.contains(&word.text.to_lowercase().as_str());
        if !is_section(section) {
            parse.report.push(unexpected(section));
            return None;
        }
        let count = behind.iter().take_while(|word| !is_section(word)).count();
        let (words, next) = behind.split_at(count);
        rest = next;
        if words.is_empty() {
            let message = format!("no token specified in '{}' section", section.text);
            parse.report.push(
                Diagnostic::error("CF0107", message)
                    .at(section.span, "something is missing after this word"),
            );
            return None;
        }
        let good = match section.text.to_lowercase().as_str() {
            "type" => types.read(words, parse.report, qtype),
            _ => nets.read(words, parse.report, net),
        };
        if !good {
            return None;
        }
    }
    Some(Policy {
        action: *action,
        types: types.all_but_all().map(BTreeSet::from_iter),
        nets: nets.all_but_all(),
    })
}

/// What the sections of one kind list.
struct Listed<T> {
    values: Vec<T>,
    /// Whether `*` stands among them.
    all: bool,
}

impl<T> Default for Listed<T> {
    fn default() -> Self {
        Self {
            values: Vec::new(),
            all: false,
        }
    }
}

impl<T> Listed<T> {
    /// Reads a section up to a `*`; whether all of its words are good.
    fn read(
        &mut self,
        words: &[Token],
        report: &mut Report,
        read: fn(&Token) -> Result<T, Diagnostic>,
    ) -> bool {
        let mut good = true;
        for word in words {
            if word.text == "*" {
                self.all = true;
                break;
            }
            match read(word) {
                Ok(value) => self.values.push(value),
                Err(mistake) => {
                    report.push(mistake);
                    good = false;
                }
            }
        }
        good
    }

    /// What is listed; `None` when that is everything, as where there is no section.
    fn all_but_all(self) -> Option<Vec<T>> {
        (!self.all && !self.values.is_empty()).then_some(self.values)
    }
}

/// Reads a type.
fn qtype(word: &Token) -> Result<u16, Diagnostic> {
    let known = word.text.parse::<Type>().ok();
    match known.filter(|known| known.mnemonic() == Some(&*word.text)) {
        Some(known) => Ok(known.0),
        None => {
            let message = format!("unexpected token '{}'; expect legal QTYPE", word.text);
            let mistake =
                Diagnostic::error("CF0211", message).at(word.span, "no type of this name");
            Err(match known.and_then(Type::mnemonic) {
                Some(upper) => mistake
                    .help("types are written in upper case")
                    .replace(word.span, upper),
                None => mistake,
            })
        }
    }
}

/// Reads a network or an address. The network of an IPv4 address in IPv6 form is the IPv4 network.
fn net(word: &Token) -> Result<IpNet, Diagnostic> {
    let text = word.text.as_str();
    let read = match text.contains('/') {
        true => text.parse::<IpNet>().ok(),
        false => text.parse::<IpAddr>().ok().map(IpNet::from),
    };
    let Some(net) = read else {
        let message = format!("illegal CIDR notation '{text}'");
        return Err(Diagnostic::error("CF0211", message)
            .at(word.span, "neither a network nor an address")
            .help("write a network as 192.0.2.0/24 or 2001:db8::/32, and `*` for all"));
    };
    let mapped = match net {
        IpNet::V6(net) if net.prefix_len() >= 96 => {
            let v4 = net.network().to_ipv4_mapped();
            v4.and_then(|v4| IpNet::new(v4.into(), net.prefix_len() - 96).ok())
        }
        _ => None,
    };
    Ok(mapped.unwrap_or(net))
}

/// A word that stands where `type` or `net` is expected.
fn unexpected(word: &Token) -> Diagnostic {
    let message = format!("unexpected token '{}'; expect 'type | net'", word.text);
    let mistake = Diagnostic::error("CF0102", message).at(word.span, "not a list of `acl`");
    let section = match word.text.parse::<IpNet>().is_ok() || word.text.parse::<IpAddr>().is_ok() {
        true => Some("net"),
        false if word.text.parse::<Type>().is_ok() => Some("type"),
        false => None,
    };
    match section {
        Some(section) => mistake
            .help(format!("put `{section}` before it"))
            .replace(word.span, format!("{section} {}", word.text)),
        None => mistake,
    }
}

/// The zones and policies of each line.
struct Rules(Vec<(Vec<String>, Vec<Policy>)>);

impl Setup for Rules {
    fn build(self: Box<Self>, build: &mut Build<'_>) -> Result<(), BuildError> {
        let mut rules = Vec::new();
        for (zones, policies) in self.0 {
            let names = match zones.is_empty() {
                true => build.zones().to_vec(),
                false => zones,
            };
            let origins = build.origins(&names)?;
            let zones = names.into_iter().zip(origins).collect();
            rules.push(Rule::new(zones, &policies));
        }
        build.push(Arc::new(Acl::new(rules)));
        Ok(())
    }
}
