//! Reads `log` lines.

use std::sync::Arc;

use chain::metadata;
use chain::setup::{Build, BuildError, Parse, Registration, Scene, Setup};
use corefile::{Diagnostic, Directive, Report, Span, Token, nearest};
use wire::NameBuf;

use super::class::Class;
use super::format::{COMMON, Format};
use super::{Log, Rule};

/// `log` in the catalogue.
pub(crate) const REGISTRATION: Registration = Registration {
    name: "log",
    parse,
    handler: true,
};

/// Reads `log [NAMES...] [FORMAT] { class CLASSES... }`; each line adds a rule for each name.
fn parse(parse: &mut Parse<'_>) -> Option<Box<dyn Setup>> {
    let (mut rules, mut labels) = (Vec::new(), Vec::new());
    for directive in parse.directives {
        let (names, format) = format(&directive.args, parse.report);
        if let (Some(label), Some(token)) = (format.label(), directive.args.last()) {
            labels.push((label.to_owned(), token.span));
        }
        let classes = classes(parse, directive);
        let scopes = if names.is_empty() {
            vec![".".to_owned()]
        } else {
            parse.read_zones(names, &["class"])
        };
        for scope in scopes {
            if let Ok(scope) = scope.parse::<NameBuf>() {
                rules.push(Rule {
                    scope,
                    format: format.clone(),
                    classes: classes.clone(),
                });
            }
        }
    }
    Some(Box::new(LogSetup { rules, labels }))
}

/// Takes the format, if there is one, off the end of the arguments.
fn format<'t>(args: &'t [Token], report: &mut Report) -> (&'t [Token], Format) {
    let is_format = |token: &Token| token.text.contains('{');
    match args.split_last() {
        Some((last, names)) if is_format(last) => {
            if let Some(other) = names.iter().find(|token| is_format(token)) {
                report.push(
                    Diagnostic::error("CF0107", "the format of `log` is one word")
                        .at(other.span, "CoreDNS would read this as a name")
                        .help("write the whole format in quotes"),
                );
            } else if names.is_empty() {
                report.push(
                    Diagnostic::error("CF0107", "a format needs a name before it")
                        .at(
                            last.span,
                            "CoreDNS would read this as a name and log nothing",
                        )
                        .help("write `.` for every name")
                        .replace(last.span, format!(". \"{}\"", last.text)),
                );
            }
            if let Some((label, near)) = Format::unknown(&last.text) {
                let mut warning = Diagnostic::warning(
                    "CF0305",
                    format!("`{label}` is not a placeholder of `log`"),
                )
                .at(last.span, "it is written to the log unchanged");
                if let Some(near) = near {
                    warning = warning
                        .help("a similar placeholder exists")
                        .replace(last.span, quoted(&last.text.replacen(label, near, 1)));
                }
                report.push(warning);
            }
            (names, Format::new(&last.text))
        }
        _ => (args, Format::new(COMMON)),
    }
}

/// A word as it has to be written.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\\\""))
}

/// The classes of a line's block; none is all.
fn classes(parse: &mut Parse<'_>, directive: &Directive) -> Vec<Class> {
    let (mut classes, mut all) = (Vec::new(), false);
    for line in directive.block.iter().flat_map(|block| &block.lines) {
        if line.words.first().is_none_or(|word| word.text != "class") {
            parse.unknown_option(directive, line, &["class"]);
            continue;
        }
        if !parse.arguments(line, 1..=usize::MAX - 1, "class CLASS...") {
            continue;
        }
        for word in &line.words[1..] {
            match Class::WORDS.iter().find(|(name, _)| *name == word.text) {
                Some((_, Some(class))) => classes.push(*class),
                Some((_, None)) => all = true,
                None => {
                    let names = Class::WORDS.map(|(name, _)| name);
                    let mut diagnostic =
                        Diagnostic::error("CF0102", format!("invalid Class: {}", word.text))
                            .at(word.span, "expected `all`, `success`, `denial` or `error`");
                    if let Some(near) = nearest(&word.text, names) {
                        diagnostic = diagnostic
                            .help("a similar class exists")
                            .replace(word.span, near);
                    }
                    parse.report.push(diagnostic);
                }
            }
        }
    }
    if all { Vec::new() } else { classes }
}

/// The rules of the block.
struct LogSetup {
    rules: Vec<Rule>,
    /// A metadata label of each format that has one, and where it stands.
    labels: Vec<(String, Span)>,
}

impl Setup for LogSetup {
    fn validate(&self, scene: &Scene<'_>, report: &mut Report) {
        for (label, span) in &self.labels {
            metadata::warn_uncollected(label, *span, scene, report);
        }
    }

    fn build(self: Box<Self>, build: &mut Build<'_>) -> Result<(), BuildError> {
        build.push(Arc::new(Log { rules: self.rules }));
        Ok(())
    }
}
