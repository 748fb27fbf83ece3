//! Reads `header { query|response set|clear FLAGS... }`.

use std::sync::Arc;

use chain::setup::{Build, BuildError, Parse, Registration, Setup};
use corefile::{Diagnostic, Directive, Line, Token, nearest};
use wire::Flags;

use super::{Header, Rules};

/// `header` in the catalogue.
pub(crate) const REGISTRATION: Registration = Registration {
    name: "header",
    parse,
    handler: true,
};

/// The flags that can be changed.
const FLAGS: [(&str, u16); 3] = [("aa", Flags::AA), ("ra", Flags::RA), ("rd", Flags::RD)];
const SHAPE: &str = "query|response set|clear FLAGS...";

/// Reads all lines of all occurrences, in file order.
fn parse(parse: &mut Parse<'_>) -> Option<Box<dyn Setup>> {
    let (mut query, mut response) = (Rules::default(), Rules::default());
    for directive in parse.directives {
        parse.at_most(directive, 0);
        let lines = directive.block.iter().flat_map(|block| &block.lines);
        let mut lines = lines.peekable();
        if lines.peek().is_none() {
            tell_empty(parse, directive);
        }
        for line in lines {
            let selector = line.words.first().map(|word| word.text.to_lowercase());
            match selector.as_deref() {
                Some("query") => read(parse, line, &mut query),
                Some("response") => read(parse, line, &mut response),
                _ => tell_selector(parse, line),
            }
        }
    }
    Some(Box::new(Header { query, response }))
}

/// Reads `query|response set|clear FLAGS...` into `rules`.
fn read(parse: &mut Parse<'_>, line: &Line, rules: &mut Rules) {
    let Some((selector, rest)) = line.words.split_first() else {
        return;
    };
    let Some((action, flags)) = rest.split_first() else {
        parse.report.push(
            Diagnostic::error("CF0107", "setting up rule: no flag action provided")
                .at(selector.span, format!("expected `{SHAPE}`")),
        );
        return;
    };
    if flags.is_empty() {
        parse.report.push(
            Diagnostic::error(
                "CF0107",
                "setting up rule: invalid length for flags, at least one should be provided",
            )
            .at(action.span, format!("expected `{SHAPE}`")),
        );
    }
    let on = match action.text.to_lowercase().as_str() {
        "set" => true,
        "clear" => false,
        other => {
            let text =
                format!("setting up rule: unknown flag action={other}, should be set or clear");
            return tell_word(parse, action, text, &["set", "clear"]);
        }
    };
    for flag in flags {
        let name = flag.text.to_lowercase();
        match FLAGS.iter().find(|(known, _)| *known == name) {
            Some((_, bits)) => rules.push(*bits, on),
            None => {
                let text = format!("setting up rule: unknown/unsupported flag={name}");
                tell_word(parse, flag, text, &FLAGS.map(|(known, _)| known));
            }
        }
    }
}

/// Reports a word that is none of `known`.
fn tell_word(parse: &mut Parse<'_>, word: &Token, text: String, known: &[&str]) {
    let expected = format!("expected {}", known.join(", "));
    let mut diagnostic = Diagnostic::error("CF0211", text).at(word.span, expected);
    if let Some(near) = nearest(&word.text, known.iter().copied()) {
        diagnostic = diagnostic
            .help("a similar word exists")
            .replace(word.span, near);
    }
    parse.report.push(diagnostic);
}

/// Reports a line that begins with neither `query` nor `response`.
fn tell_selector(parse: &mut Parse<'_>, line: &Line) {
    let Some(word) = line.words.first() else {
        return;
    };
    let text = format!(
        "setting up rule: invalid selector={} should be query or response",
        word.text.to_lowercase()
    );
    // What CoreDNS took before version 1.9.
    if matches!(word.text.as_str(), "set" | "clear") {
        parse.report.push(
            Diagnostic::error("CF0211", text)
                .at(word.span, format!("expected `{SHAPE}`"))
                .help("say which messages are meant; responses probably")
                .replace(word.span, format!("response {}", word.text)),
        );
        return;
    }
    tell_word(parse, word, text, &["query", "response"]);
}

/// Reports a `header` without rules.
fn tell_empty(parse: &mut Parse<'_>, directive: &Directive) {
    parse.report.push(
        Diagnostic::error(
            "CF0107",
            "Wrong argument count or unexpected line ending after 'header'",
        )
        .at(
            directive.name.span,
            format!("expected a block with lines such as `{SHAPE}`"),
        ),
    );
}

impl Setup for Header {
    fn build(self: Box<Self>, build: &mut Build<'_>) -> Result<(), BuildError> {
        build.push(Arc::new(*self));
        Ok(())
    }
}
