//! Reads `rewrite` lines: each is one rule, on its line or in braces.

use std::str::FromStr;
use std::sync::Arc;

use chain::metadata::warn_uncollected;
use chain::setup::{Build, BuildError, Parse, Registration, Scene, Setup};
use corefile::{Diagnostic, Directive, Report, Span, Token, nearest};
use regex::bytes::Regex;
use wire::{Class, EdnsOption, Qname, Rcode, Type};

use super::edns::{Action as EdnsAction, Data, EdnsRule};
use super::rule::{Action, AnswerRule, Auto, CnameRule, NameRule, Rule, Substitution, To};
use super::text::{self, Matcher, Template};
use super::{Rewrite, doubts};

/// `rewrite` in the catalogue.
pub(crate) const REGISTRATION: Registration = Registration {
    name: "rewrite",
    parse,
    handler: true,
};

/// What a rule may be about.
const FIELDS: [&str; 7] = ["name", "type", "class", "edns0", "ttl", "rcode", "cname"];
/// How names are compared.
const KINDS: [&str; 5] = ["exact", "prefix", "suffix", "substring", "regex"];
/// The variables of an option's data.
const VARIABLES: [(&str, Data); 7] = [
    ("qname", Data::Qname),
    ("qtype", Data::Qtype),
    ("client_ip", Data::ClientIp),
    ("client_port", Data::ClientPort),
    ("protocol", Data::Protocol),
    ("server_ip", Data::ServerIp),
    ("server_port", Data::ServerPort),
];
/// The greatest TTL where a range has no upper end (RFC 2181, section 8).
const LONGEST_TTL: u32 = 0x7FFF_FFFF;

/// A rule and where it is written.
pub(super) struct Written {
    pub(super) rule: Rule,
    /// The word that says what it is about.
    pub(super) field: Span,
    /// The text that names are compared with, and where it is written.
    pub(super) from: Option<(String, Span)>,
}

/// The rules of a server block.
struct Rules(Vec<Written>);

/// Reads the lines of a server block.
fn parse(parse: &mut Parse<'_>) -> Option<Box<dyn Setup>> {
    let mut rules = Vec::new();
    for directive in parse.directives {
        rules.extend(read(parse, directive));
    }
    Some(Box::new(Rules(rules)))
}

/// Reads one rule. With less than two words on the line, the words in braces are part of it.
fn read(parse: &mut Parse<'_>, directive: &Directive) -> Option<Written> {
    let mut words: Vec<&Token> = directive.args.iter().collect();
    if words.len() < 2 {
        let lines = directive.block.iter().flat_map(|block| &block.lines);
        words.extend(lines.flat_map(|line| &line.words));
    } else {
        parse.no_block(directive);
    }
    let mut reader = Reader {
        name: &directive.name,
        report: parse.report,
    };
    reader.rule(&words)
}

/// Reads the words of one rule.
struct Reader<'a> {
    /// The directive.
    name: &'a Token,
    report: &'a mut Report,
}

impl Reader<'_> {
    /// Reports a mistake.
    fn refuse<T>(
        &mut self,
        code: &'static str,
        span: Span,
        message: impl Into<String>,
        label: impl Into<String>,
    ) -> Option<T> {
        self.report
            .push(Diagnostic::error(code, message).at(span, label));
        None
    }

    /// Reports that there are too few or too many words.
    fn count<T>(&mut self, words: &[&Token], shape: &str) -> Option<T> {
        let span = words.last().map_or(self.name.span, |word| word.span);
        self.refuse(
            "CF0107",
            span,
            "the rule has too few or too many words",
            format!("expected `rewrite {shape}`"),
        )
    }

    /// Reports a word that is none of `known`.
    fn unknown<T>(&mut self, word: &Token, what: &str, known: &[&str]) -> Option<T> {
        let mut diagnostic =
            Diagnostic::error("CF0211", format!("invalid {what} \"{}\"", word.text))
                .at(word.span, format!("expected {}", known.join(", ")));
        if let Some(near) = nearest(&word.text, known.iter().copied()) {
            diagnostic = diagnostic
                .help("a similar word exists")
                .replace(word.span, near);
        }
        self.report.push(diagnostic);
        None
    }

    /// Reads a whole rule.
    fn rule(&mut self, words: &[&Token]) -> Option<Written> {
        let shape = "[continue|stop] FIELD [TYPE] FROM TO [OPTIONS]";
        let (first, behind) = words.split_first().or_else(|| self.count(words, shape))?;
        let (stop, field, rest) = match first.text.to_ascii_lowercase().as_str() {
            mode @ ("continue" | "stop") => {
                let (field, rest) = behind.split_first().or_else(|| self.count(words, shape))?;
                (mode == "stop", field, rest)
            }
            _ => (true, first, behind),
        };
        let mut from = None;
        let action = match field.text.to_ascii_lowercase().as_str() {
            "name" => {
                let (rule, text) = self.name_rule(rest)?;
                from = Some(text);
                Action::Name(rule)
            }
            "type" => {
                let (from, to) = self.pair(rest, "type FROM TO")?;
                Action::Type(
                    self.mnemonic(from, "type", Type::from_str)?,
                    self.mnemonic(to, "type", Type::from_str)?,
                )
            }
            "class" => {
                let (from, to) = self.pair(rest, "class FROM TO")?;
                Action::Class(
                    self.mnemonic(from, "class", class)?,
                    self.mnemonic(to, "class", class)?,
                )
            }
            "edns0" => Action::Edns(self.edns_rule(rest)?),
            "ttl" => {
                let shape = "ttl [TYPE] NAME SECONDS|MIN-MAX";
                let (kind, [name, ttl]) = self.matching(rest, shape)?;
                let Some((least, most)) = ttl_range(&ttl.text) else {
                    return self.refuse(
                        "CF0203",
                        ttl.span,
                        format!("invalid TTL '{}' for a ttl rule", ttl.text),
                        "expected seconds, or a range: `30`, `30-300`, `-300`, `30-`",
                    );
                };
                let (matcher, text) = self.matcher(kind, name)?;
                from = Some(text);
                Action::Ttl(matcher, least, most)
            }
            "rcode" => {
                let (kind, [name, old, new]) = self.matching(rest, "rcode [TYPE] NAME FROM TO")?;
                let (old, new) = (self.rcode(old)?, self.rcode(new)?);
                let (matcher, text) = self.matcher(kind, name)?;
                from = Some(text);
                Action::Rcode(matcher, old, new)
            }
            "cname" => {
                let (kind, [target, new]) = self.matching(rest, "cname [TYPE] FROM TO")?;
                let (matcher, text) = self.target_matcher(kind, target)?;
                let rule = CnameRule {
                    to: target_to(&matcher, &new.text),
                    matcher,
                };
                from = Some(text);
                Action::Cname(rule)
            }
            "answer" => {
                return self.refuse(
                    "CF0211",
                    field.span,
                    "response rewrites must begin with a name rule",
                    "expected `name FROM TO` before it",
                );
            }
            _ => return self.unknown(field, "rule type", &FIELDS),
        };
        Some(Written {
            rule: Rule { action, stop },
            field: field.span,
            from,
        })
    }

    /// Two words.
    fn pair<'t>(&mut self, words: &[&'t Token], shape: &str) -> Option<(&'t Token, &'t Token)> {
        match words {
            [from, to] => Some((from, to)),
            _ => self.count(words, shape),
        }
    }

    /// So many words, with or without a kind of comparison before them.
    fn matching<'t, const N: usize>(
        &mut self,
        words: &[&'t Token],
        shape: &str,
    ) -> Option<(&'static str, [&'t Token; N])> {
        let (kind, words) = match words.split_first() {
            Some((kind, rest)) if rest.len() == N => (self.kind(kind)?, rest),
            _ => ("exact", words),
        };
        match words.try_into() {
            Ok(words) => Some((kind, words)),
            Err(_) => self.count(words, shape),
        }
    }

    /// A kind of comparison.
    fn kind(&mut self, word: &Token) -> Option<&'static str> {
        let known = KINDS
            .into_iter()
            .find(|kind| word.text.eq_ignore_ascii_case(kind));
        known.or_else(|| self.unknown(word, "name match", &KINDS))
    }

    /// A type or a class.
    fn mnemonic<T>(
        &mut self,
        word: &Token,
        what: &str,
        read: impl FnOnce(&str) -> Result<T, wire::UnknownMnemonic>,
    ) -> Option<T> {
        read(&word.text).ok().or_else(|| {
            let message = format!("invalid {what} \"{}\"", word.text.to_ascii_uppercase());
            self.refuse(
                "CF0211",
                word.span,
                message,
                format!("no {what} has this name"),
            )
        })
    }

    /// An RCODE, by its name or number.
    fn rcode(&mut self, word: &Token) -> Option<Rcode> {
        let number = word.text.parse::<u16>().ok().filter(|&code| code <= 23);
        let known = match word.text.to_ascii_uppercase().as_str() {
            _ if number.is_some() => number.map(Rcode),
            // The names that 16 and 4 have in CoreDNS, too.
            "BADSIG" => Some(Rcode::BADVERS),
            "NOTIMPL" => Some(Rcode::NOTIMP),
            name => Rcode::from_mnemonic(name),
        };
        known.or_else(|| {
            let message = format!("invalid RCODE '{}' for a rcode rule", word.text);
            let label = "expected a name such as `NXDOMAIN`, or a number up to 23";
            self.refuse("CF0207", word.span, message, label)
        })
    }

    /// A regular expression.
    fn regex(&mut self, word: &Token, any_case: bool) -> Option<Regex> {
        chain::pattern::read_octets(word, any_case)
            .map_err(|diagnostic| self.report.push(diagnostic))
            .ok()
    }

    /// How the names of questions are compared with a word.
    fn matcher(&mut self, kind: &str, word: &Token) -> Option<(Matcher, (String, Span))> {
        if kind == "regex" {
            let regex = self.regex(word, false)?;
            return Some((Matcher::Regex(regex), (word.text.clone(), word.span)));
        }
        let text = text::normalised(&word.text);
        let matcher = plain_matcher(kind, &text);
        Some((matcher, (text, word.span)))
    }

    /// How targets of aliases are compared with a word, which is not completed by a dot unless it is a whole name.
    fn target_matcher(&mut self, kind: &str, word: &Token) -> Option<(Matcher, (String, Span))> {
        let text = match kind {
            "regex" => {
                let regex = self.regex(word, true)?;
                return Some((Matcher::Regex(regex), (word.text.clone(), word.span)));
            }
            "exact" => text::normalised(&word.text),
            _ => word.text.to_ascii_lowercase(),
        };
        Some((plain_matcher(kind, &text), (text, word.span)))
    }

    /// A rule about names, with what it says of the response.
    fn name_rule(&mut self, words: &[&Token]) -> Option<(NameRule, (String, Span))> {
        let shape = "name [exact|prefix|suffix|substring|regex] FROM TO [answer …]";
        let (kind, from, to, options) = match words {
            [from, to] => ("exact", *from, *to, &[][..]),
            [kind, from, to, options @ ..] => (self.kind(kind)?, *from, *to, options),
            _ => return self.count(words, shape),
        };
        let (auto, answers) = match options {
            [] => (false, Vec::new()),
            options => self.answers(options)?,
        };
        let (matcher, text) = self.matcher(kind, from)?;
        let wanted = text::normalised(&to.text);
        let groups = match &matcher {
            Matcher::Regex(regex) => self.groups(regex, to)?,
            // CoreDNS looks for references on both sides of a whole name.
            _ if kind == "exact" && !text::references(&text.0).is_empty() => {
                return self.refuse(
                    "CF0201",
                    from.span,
                    "a whole name refers to groups of an expression",
                    "there is no expression: write `name regex`",
                );
            }
            _ => 0,
        };
        let auto = match kind {
            "exact" => Auto::Remap,
            "suffix" if auto => Auto::Suffix(
                wanted.clone().into_bytes().into(),
                text.0.clone().into_bytes().into(),
            ),
            _ if auto => Auto::Remap,
            _ => Auto::No,
        };
        let name = text::read(wanted.as_bytes()).ok();
        let name = name.filter(|_| kind == "exact");
        let rule = NameRule {
            to: match (&matcher, name) {
                (Matcher::Regex(_), _) => To::Template(Template::new(&wanted, groups)),
                (_, Some(name)) => To::Name(Box::new(Qname::from(name.as_name()))),
                (_, None) => To::Text(wanted.clone().into_bytes().into()),
            },
            matcher,
            auto,
            answers,
        };
        Some((rule, text))
    }

    /// How many groups an expression has, the whole among them; what refers to them may name no more than there are.
    fn groups(&mut self, regex: &Regex, to: &Token) -> Option<usize> {
        let groups = regex.captures_len();
        let used = text::references(&to.text);
        if used.len() < groups {
            if let Some(none) = used.iter().find(|&&group| group >= groups) {
                self.report.push(doubts::no_group(*none, groups, to));
            }
            return Some(groups);
        }
        self.refuse(
            "CF0201",
            to.span,
            format!(
                "the rewrite regex pattern ({}) uses more subexpressions than its corresponding matching regex pattern ({})",
                to.text,
                regex.as_str()
            ),
            format!("the expression has {}", groups - 1),
        )
    }

    /// `answer auto`, `answer name FROM TO` and `answer value FROM TO`; `answer` may be left out but for the first.
    fn answers(&mut self, words: &[&Token]) -> Option<(bool, Vec<AnswerRule>)> {
        let shape = "… answer auto | answer name FROM TO | answer value FROM TO";
        let (mut auto, mut rules, mut rest) = (None, Vec::new(), words);
        if rest.first().is_some_and(|word| word.text != "answer") {
            return self.unknown(rest[0], "option of a name rule", &["answer"]);
        }
        while let Some((mut word, mut behind)) = rest.split_first() {
            if word.text == "answer" {
                (word, behind) = behind.split_first().or_else(|| self.count(words, shape))?;
            }
            rest = behind;
            match word.text.as_str() {
                "auto" => auto = Some(*word),
                "name" | "value" => {
                    let [from, to, behind @ ..] = rest else {
                        return self.count(words, shape);
                    };
                    if from.text == "auto" {
                        self.report.push(doubts::auto_pattern(from, word));
                    }
                    let regex = self.regex(from, true)?;
                    let groups = self.groups(&regex, to)?;
                    let to = Template::new(&text::normalised(&to.text), groups);
                    let substitution = Substitution { regex, to };
                    rules.push(match word.text.as_str() {
                        "name" => AnswerRule::Name(substitution),
                        _ => AnswerRule::Value(substitution),
                    });
                    rest = behind;
                }
                _ => return self.unknown(word, "answer", &["auto", "name", "value"]),
            }
        }
        let named = rules.iter().any(|rule| matches!(rule, AnswerRule::Name(_)));
        match auto {
            Some(word) if named => self.refuse(
                "CF0211",
                word.span,
                "auto name answer rule cannot be combined with explicit name answer rules",
                "drop this, or `answer name`",
            ),
            auto => Some((auto.is_some(), rules)),
        }
    }

    /// A rule about an option of the OPT record.
    fn edns_rule(&mut self, words: &[&Token]) -> Option<EdnsRule> {
        let (kind, verb, rest) = match words {
            [kind, verb, rest @ ..] => (*kind, *verb, rest),
            _ => return self.count(words, "edns0 local|nsid|subnet ACTION …"),
        };
        let action = match verb.text.to_ascii_lowercase().as_str() {
            "set" => EdnsAction::Set,
            "append" => EdnsAction::Append,
            "replace" => EdnsAction::Replace,
            "unset" => EdnsAction::Unset,
            _ => return self.unknown(verb, "action", &["set", "append", "replace", "unset"]),
        };
        let unset = action == EdnsAction::Unset;
        let (rest, revert) = match rest.split_last() {
            Some((last, rest)) if !unset && last.text == "revert" => (rest, true),
            _ => (rest, false),
        };
        let none = || Data::Octets([].into());
        let (code, data) = match (kind.text.to_ascii_lowercase().as_str(), rest) {
            ("local", [code]) if unset => (self.code(code)?, none()),
            ("local", [code, data]) if !unset => (self.code(code)?, self.data(data)?),
            ("nsid", []) => (EdnsOption::NSID, none()),
            ("subnet", []) if unset => (EdnsOption::CLIENT_SUBNET, none()),
            ("subnet", [four, six]) if !unset => {
                let (four, six) = (self.bits(four, 32)?, self.bits(six, 128)?);
                (EdnsOption::CLIENT_SUBNET, Data::Subnet(four, six))
            }
            ("local", _) if unset => return self.count(words, "edns0 local unset CODE"),
            ("local", _) => {
                let shape = "edns0 local set|append|replace CODE DATA [revert]";
                return self.count(words, shape);
            }
            ("nsid", _) => return self.count(words, "edns0 nsid ACTION [revert]"),
            ("subnet", _) if unset => return self.count(words, "edns0 subnet unset"),
            ("subnet", _) => {
                let shape = "edns0 subnet set|append|replace V4BITS V6BITS [revert]";
                return self.count(words, shape);
            }
            _ => return self.unknown(kind, "rule type", &["local", "nsid", "subnet"]),
        };
        Some(EdnsRule {
            code,
            action,
            data,
            revert,
        })
    }

    /// The code of an option.
    fn code(&mut self, word: &Token) -> Option<u16> {
        number(&word.text).or_else(|| {
            let message = format!("invalid option code '{}'", word.text);
            let label = "expected a number up to 65535, such as `0xffee`";
            self.refuse("CF0203", word.span, message, label)
        })
    }

    /// A prefix length.
    fn bits(&mut self, word: &Token, most: u8) -> Option<u8> {
        let bits = number(&word.text).and_then(|bits| u8::try_from(bits).ok());
        bits.filter(|&bits| bits <= most).or_else(|| {
            let version = if most == 32 { "IPv4" } else { "IPv6" };
            let message = format!("invalid {version} bit mask length {}", word.text);
            let label = format!("expected a number up to {most}");
            self.refuse("CF0203", word.span, message, label)
        })
    }

    /// The data of a local option: a variable in braces, octets in hexadecimal, or a text.
    fn data(&mut self, word: &Token) -> Option<Data> {
        let inside = word.text.strip_prefix('{');
        if let Some(name) = inside.and_then(|text| text.strip_suffix('}')) {
            let known = VARIABLES.iter().find(|(known, _)| *known == name);
            let is_label = name
                .split_once('/')
                .is_some_and(|(plugin, rest)| !plugin.is_empty() && !rest.is_empty());
            return match known {
                Some((_, data)) => Some(data.clone()),
                None if is_label => Some(Data::Label(name.into())),
                None => {
                    let known = VARIABLES.map(|(known, _)| known);
                    let mut diagnostic = Diagnostic::error(
                        "CF0211",
                        format!("unsupported variable name \"{}\"", word.text),
                    )
                    .at(
                        word.span,
                        "neither a variable nor a metadata label, `{PLUGIN/NAME}`",
                    )
                    .note(format!("the variables are {}", known.join(", ")));
                    if let Some(near) = nearest(name, known) {
                        diagnostic = diagnostic
                            .help("a similar variable exists")
                            .replace(word.span, format!("{{{near}}}"));
                    }
                    self.report.push(diagnostic);
                    None
                }
            };
        }
        let Some(digits) = word.text.strip_prefix("0x") else {
            return Some(Data::Octets(word.text.clone().into_bytes().into()));
        };
        let octets = unhex(digits).map(|octets| Data::Octets(octets.into()));
        octets.or_else(|| {
            let message = format!("invalid hexadecimal data '{}'", word.text);
            self.refuse(
                "CF0201",
                word.span,
                message,
                "expected pairs of hexadecimal digits",
            )
        })
    }
}

/// The comparison with a text that is no expression.
fn plain_matcher(kind: &str, text: &str) -> Matcher {
    let octets = || text.as_bytes().into();
    match kind {
        "prefix" => Matcher::Prefix(octets()),
        "suffix" => Matcher::Suffix(octets()),
        "substring" => Matcher::Substring(octets()),
        _ => match text::read(text.as_bytes()) {
            Ok(name) => Matcher::Exact(Box::new(Qname::from(name.as_name()))),
            Err(_) => Matcher::Nothing,
        },
    }
}

/// What an alias leads to instead.
fn target_to(matcher: &Matcher, text: &str) -> To {
    let text = text.to_ascii_lowercase();
    match matcher {
        Matcher::Regex(regex) => To::Template(Template::new(&text, regex.captures_len())),
        Matcher::Exact(_) => match text::read(text.as_bytes()) {
            Ok(name) => To::Name(Box::new(Qname::from(name.as_name()))),
            Err(_) => To::Text(text.into_bytes().into()),
        },
        _ => To::Text(text.into_bytes().into()),
    }
}

/// A class, by its name; CS is CSNET, which is obsolete (RFC 1035, section 3.2.4).
fn class(text: &str) -> Result<Class, wire::UnknownMnemonic> {
    match text.eq_ignore_ascii_case("CS") {
        true => Ok(Class(2)),
        false => text.parse(),
    }
}

/// A TTL or a range of TTLs, each end of which may be left out, but not both.
fn ttl_range(text: &str) -> Option<(u32, u32)> {
    let seconds = |text: &str| -> Option<u32> {
        let digits = text.bytes().all(|octet| octet.is_ascii_digit());
        text.parse().ok().filter(|_| digits)
    };
    let Some((least, most)) = text.split_once('-') else {
        let ttl = seconds(text)?;
        return Some((ttl, ttl));
    };
    let (least, most) = match (least, most) {
        ("", "") => return None,
        ("", most) => (0, seconds(most)?),
        (least, "") => (seconds(least)?, LONGEST_TTL),
        (least, most) => (seconds(least)?, seconds(most)?),
    };
    (least <= most).then_some((least, most))
}

/// A number as Go reads one with its base: `65518`, `0xffee`, `0o7`, `0b1`, with `_` between digits.
fn number(text: &str) -> Option<u16> {
    let lower = text.to_ascii_lowercase();
    let (digits, base) = match lower.as_bytes() {
        [b'0', b'x', ..] => (&lower[2..], 16),
        [b'0', b'o', ..] => (&lower[2..], 8),
        [b'0', b'b', ..] => (&lower[2..], 2),
        [b'0', _, ..] => (&lower[1..], 8),
        _ => (&lower[..], 10),
    };
    let plain = digits.bytes().all(|octet| octet.is_ascii_alphanumeric());
    u16::from_str_radix(digits, base).ok().filter(|_| plain)
}

/// The octets that pairs of hexadecimal digits stand for.
fn unhex(digits: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u32>> = digits.chars().map(|digit| digit.to_digit(16)).collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0)?;
    let pairs = digits.chunks_exact(2);
    Some(pairs.map(|pair| (pair[0] << 4 | pair[1]) as u8).collect())
}

impl Setup for Rules {
    fn validate(&self, scene: &Scene<'_>, report: &mut Report) {
        doubts::find(&self.0, scene, report);
        for written in &self.0 {
            if let Action::Edns(EdnsRule {
                data: Data::Label(label),
                ..
            }) = &written.rule.action
            {
                warn_uncollected(label, written.field, scene, report);
            }
        }
    }

    fn build(self: Box<Self>, build: &mut Build<'_>) -> Result<(), BuildError> {
        let rules = self.0.into_iter().map(|written| written.rule).collect();
        build.push(Arc::new(Rewrite::new(rules)));
        Ok(())
    }
}
