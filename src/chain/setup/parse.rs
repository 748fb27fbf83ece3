//! What the lines of a directive are read with.

use corefile::{Diagnostic, Directive, Line, Report, Token, nearest, value};
use zone::DigestPolicy;

use super::Listen;
use crate::bygone;
use crate::fall::Fallthrough;
use crate::scope;

/// What the setup of one directive in one block gets to read.
pub struct Parse<'a> {
    /// The directive's name.
    pub name: &'static str,
    /// All its occurrences in the block, in file order; never empty.
    pub directives: &'a [&'a Directive],
    /// The zones of the block's keys, normalised.
    pub zones: &'a [String],
    /// Where mistakes go.
    pub report: &'a mut Report,
}

impl<'a> Parse<'a> {
    /// Reports every occurrence but the first; for directives that stand once in a block.
    pub fn once(&mut self) {
        let Some((first, rest)) = self.directives.split_first() else {
            return;
        };
        for again in rest {
            self.report.push(
                Diagnostic::error(
                    "CF0120",
                    format!(
                        "plugin/{}: this plugin can only be used once per Server Block",
                        self.name
                    ),
                )
                .at(again.name.span, "used again here")
                .beside(first.name.span, "first used here"),
            );
        }
    }

    /// Reads the zones of an argument list. A word that is hardly a zone, and a zone of which the server block gets no query, are
    /// warnings; `options` are the words of the directive's block.
    pub fn read_zones(&mut self, tokens: &[Token], options: &[&str]) -> Vec<String> {
        let tokens = scope::dotted(tokens, self.name, self.report);
        match value::zones_or_cidrs(&tokens) {
            Ok(zones) => {
                scope::arguments(&tokens, (self.name, options), self.zones, self.report);
                zones
            }
            Err(diagnostic) => {
                self.report.push(diagnostic);
                Vec::new()
            }
        }
    }

    /// Reads `fallthrough [ZONES...]` of a directive that serves `zones`, or those of the block where it names none.
    pub fn read_fallthrough(&mut self, line: &Line, zones: &[String]) -> Fallthrough {
        let fall = Fallthrough::parse(line, self.report);
        let served = if zones.is_empty() { self.zones } else { zones };
        scope::fallthrough(line, self.name, served, self.report);
        fall
    }

    /// Reports arguments of `directive` beyond the first `most`.
    pub fn at_most(&mut self, directive: &Directive, most: usize) {
        if let Some(extra) = directive.args.get(most) {
            let last = directive.args[..most]
                .last()
                .map_or(&directive.name, |token| token);
            self.report.push(
                Diagnostic::error(
                    "CF0107",
                    format!(
                        "Wrong argument count or unexpected line ending after '{}'",
                        last.text
                    ),
                )
                .at(
                    extra.span,
                    match most {
                        0 => format!("`{}` takes no arguments", self.name),
                        1 => format!("`{}` takes one argument at most", self.name),
                        n => format!("`{}` takes {n} arguments at most", self.name),
                    },
                ),
            );
        }
    }

    /// Reads the only argument of `directive`, the address of a page; without one, `default`.
    pub fn listen(&mut self, directive: &Directive, default: &str) -> Listen {
        self.at_most(directive, 1);
        let (mut text, mut span) = (default, directive.name.span);
        if let Some(token) = directive.args.first() {
            match value::host_port(token) {
                Ok(_) => (text, span) = (&token.text, token.span),
                Err(diagnostic) => self.report.push(diagnostic),
            }
        }
        Listen {
            text: text.to_owned(),
            span,
        }
    }

    /// Reports that `directive` has fewer than `least` arguments; `true` when it has enough.
    pub fn at_least(&mut self, directive: &Directive, least: usize, shape: &str) -> bool {
        if directive.args.len() >= least {
            return true;
        }
        let last = directive.args.last().unwrap_or(&directive.name);
        self.report.push(
            Diagnostic::error(
                "CF0107",
                format!(
                    "Wrong argument count or unexpected line ending after '{}'",
                    last.text
                ),
            )
            .at(last.span, format!("expected `{shape}`")),
        );
        false
    }

    /// The zones that FROM stands for, in a directive that asks others: one, and more only for a network that ends within an octet.
    /// Reports a word that is none.
    pub fn from_zones(&mut self, from: &Token) -> Option<Vec<String>> {
        match corefile::key::parse(from) {
            Ok(key) if !key.zones.is_empty() => Some(key.zones),
            _ => {
                self.report.push(
                    Diagnostic::error("CF0205", format!("unable to normalize '{}'", from.text))
                        .at(from.span, "expected a zone such as `.` or `example.org`"),
                );
                None
            }
        }
    }

    /// The first of these zones; reports one that lies outside of the server block.
    pub fn from_zone(&mut self, from: &Token) -> Option<String> {
        let zone = self.from_zones(from)?.swap_remove(0);
        self.report.extend(self.outside(from, &zone));
        Some(zone)
    }

    /// What is to be said of a FROM that lies outside of the server block.
    pub fn outside(&self, from: &Token, zone: &str) -> Option<Diagnostic> {
        let apart =
            !self.zones.is_empty() && !self.zones.iter().any(|own| scope::overlap(own, zone));
        let why = format!("`{zone}` is outside of this server block");
        apart.then(|| scope::no_effect(from, &why))
    }

    /// Reports more upstreams than a directive takes.
    pub fn upstreams_at_most(&mut self, to: &[Token], most: usize) {
        if let Some(extra) = to.get(most) {
            let text = format!("more than {most} TOs configured: {}", to.len());
            self.report
                .push(Diagnostic::error("CF0203", text).at(extra.span, "one too many"));
        }
    }

    /// Reports a block behind a directive that takes none.
    pub fn no_block(&mut self, directive: &Directive) {
        if let Some(block) = &directive.block {
            self.report.push(
                Diagnostic::error("CF0121", format!("`{}` takes no block", self.name))
                    .at(block.open, "this block is not expected"),
            );
        }
    }

    /// Reads `zonemd off|on|require`: what the ZONEMD records of the directive's zones have to show.
    pub fn read_digest_policy(&mut self, line: &Line) -> Option<DigestPolicy> {
        if !self.arguments(line, 1..=1, "zonemd off|on|require") {
            return None;
        }
        let word = &line.words[1];
        let mut words = DigestPolicy::WORDS.iter();
        let policy = words.find(|(known, _)| *known == word.text);
        if policy.is_none() {
            let mistake = format!("unknown policy `{}` of `zonemd`", word.text);
            self.report.push(
                Diagnostic::error("CF0211", mistake)
                    .at(word.span, "expected `off`, `on` or `require`"),
            );
        }
        policy.map(|(_, policy)| *policy)
    }

    /// Reports `line` as an option that the plugin does not have, with the nearest one that it has.
    pub fn unknown_option(&mut self, directive: &Directive, line: &Line, known: &[&str]) {
        let Some(word) = line.words.first() else {
            return;
        };
        let unknown = Diagnostic::error(
            "CF0102",
            format!("unknown property '{}' in plugin `{}`", word.text, self.name),
        );
        if let Some(bygone) = bygone::option(self.name, line) {
            self.report.push(bygone.tell_option(unknown, line));
            return;
        }
        let mut diagnostic = unknown
            .at(word.span, format!("not an option of `{}`", self.name))
            .beside(directive.name.span, "in this plugin block");
        diagnostic = match nearest(&word.text, known.iter().copied()) {
            Some(near) => diagnostic
                .help("a similar option exists")
                .replace(word.span, near),
            None if known.is_empty() => diagnostic,
            None => diagnostic.note(format!("its options are {}", known.join(", "))),
        };
        self.report.push(diagnostic);
    }

    /// Reports that `line` has not `expected` arguments; `true` when it has.
    pub fn arguments(
        &mut self,
        line: &Line,
        expected: std::ops::RangeInclusive<usize>,
        shape: &str,
    ) -> bool {
        let given = line.words.len().saturating_sub(1);
        if expected.contains(&given) {
            return true;
        }
        let Some(last) = line.words.last() else {
            return false;
        };
        let place = line.words.get(1 + expected.end()).unwrap_or(last).span;
        let last = &last.text;
        self.report.push(
            Diagnostic::error(
                "CF0107",
                format!("Wrong argument count or unexpected line ending after '{last}'"),
            )
            .at(place, format!("expected `{shape}`")),
        );
        false
    }
}
