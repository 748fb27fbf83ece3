//! Reads `timeouts` lines.

use std::time::Duration;

use chain::setup::{Build, BuildError, Parse, Registration, Setup, StreamLimits};
use corefile::{Diagnostic, Directive, Line, Report, Token, value};

/// `timeouts` in the catalogue.
pub(crate) const REGISTRATION: Registration = Registration {
    name: "timeouts",
    parse,
    handler: false,
};

const OPTIONS: [&str; 4] = ["read", "write", "idle", "maxtcpqueries"];
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(24 * 3_600);

/// Reads the block; a later line replaces an earlier one, also one of another `timeouts`.
fn parse(parse: &mut Parse<'_>) -> Option<Box<dyn Setup>> {
    let mut limits = StreamLimits::default();
    for directive in parse.directives {
        parse.at_most(directive, 0);
        let lines = directive
            .block
            .as_ref()
            .map_or(&[][..], |block| &block.lines);
        if lines.is_empty() {
            parse.report.push(
                Diagnostic::error("CF0107", "timeouts block with no timeouts specified")
                    .at(
                        directive.name.span,
                        "expected a block with at least one option",
                    )
                    .note(format!("its options are {}", OPTIONS.join(", "))),
            );
        }
        for line in lines {
            option(parse, directive, line, &mut limits);
        }
    }
    Some(Box::new(Timeouts { limits }))
}

fn option(parse: &mut Parse<'_>, directive: &Directive, line: &Line, limits: &mut StreamLimits) {
    let Some(name) = line.words.first() else {
        return;
    };
    if !OPTIONS.contains(&name.text.as_str()) {
        parse.unknown_option(directive, line, &OPTIONS);
        return;
    }
    if !parse.arguments(line, 1..=1, &format!("{} VALUE", name.text)) {
        return;
    }
    let argument = &line.words[1];
    if name.text == "maxtcpqueries" {
        if let Some(queries) = queries(argument, parse.report) {
            limits.queries = queries;
        }
        return;
    }
    let Some(timeout) = timeout(argument, parse.report) else {
        return;
    };
    match name.text.as_str() {
        "read" => limits.read = timeout,
        "write" => limits.write = timeout,
        _ => limits.idle = timeout,
    }
}

/// A duration, or seconds, from a second to a day.
fn timeout(token: &Token, report: &mut Report) -> Option<Duration> {
    match value::duration_or_seconds(token) {
        Ok(timeout) if (SHORTEST..=LONGEST).contains(&timeout) => return Some(timeout),
        Ok(_) => report.push(
            Diagnostic::error(
                "CF0203",
                format!(
                    "timeout provided '{}' needs to be between 1 second and 24 hours",
                    token.text
                ),
            )
            .at(token.span, "out of range"),
        ),
        Err(diagnostic) => report.push(diagnostic),
    }
    None
}

/// How many queries a connection may bring; -1 is any number.
fn queries(token: &Token, report: &mut Report) -> Option<Option<u32>> {
    let text = &token.text;
    match text.parse::<i64>() {
        Ok(-1) => return Some(None),
        // A bound that no connection reaches is none.
        Ok(number) if number > 0 => return Some(u32::try_from(number).ok()),
        Ok(_) => report.push(
            Diagnostic::error(
                "CF0203",
                format!(
                    "maxtcpqueries provided '{text}' needs to be -1 (unlimited) or a positive integer"
                ),
            )
            .at(token.span, "out of range"),
        ),
        Err(_) => report.push(
            Diagnostic::error(
                "CF0201",
                format!("invalid value for maxtcpqueries '{text}'"),
            )
            .at(token.span, "expected a whole number, or -1"),
        ),
    }
    None
}

/// The block's limits.
struct Timeouts {
    limits: StreamLimits,
}

impl Setup for Timeouts {
    fn build(self: Box<Self>, build: &mut Build<'_>) -> Result<(), BuildError> {
        build.config.streams = self.limits;
        Ok(())
    }
}
