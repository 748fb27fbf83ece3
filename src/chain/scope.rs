//! Zones as they are written, against those that a server block is asked for: what stands outside has no effect.

use std::borrow::Cow;

use corefile::{Diagnostic, Line, Report, Token, doubt, key};
use wire::NameBuf;

/// The words that do not begin with a dot: CoreDNS skips `.svc`, and so do we, with a warning.
pub(crate) fn dotted<'t>(
    tokens: &'t [Token],
    directive: &str,
    report: &mut Report,
) -> Cow<'t, [Token]> {
    let is_dotted = |token: &&Token| {
        token.text.len() > 1 && token.text.starts_with('.') && !token.text.starts_with(".:")
    };
    if !tokens.iter().any(|token| is_dotted(&token)) {
        return Cow::Borrowed(tokens);
    }
    for token in tokens.iter().filter(is_dotted) {
        report.push(
            Diagnostic::warning(
                "CF0205",
                format!("'{}' is not a zone: `{directive}` skips it", token.text),
            )
            .at(token.span, "a name does not begin with a dot")
            .note("CoreDNS skips it silently")
            .help("drop the dot")
            .replace(token.span, token.text.trim_start_matches('.')),
        );
    }
    Cow::Owned(
        tokens
            .iter()
            .filter(|token| !is_dotted(token))
            .cloned()
            .collect(),
    )
}

/// Warns of arguments of a directive that are hardly zones, or of whose names the block is asked none.
pub(crate) fn arguments(
    tokens: &[Token],
    (directive, options): (&str, &[&str]),
    block: &[String],
    report: &mut Report,
) {
    for token in tokens {
        if let Some(doubt) = doubt::argument(token, directive, options) {
            // What follows is of the same mind.
            report.push(doubt);
            return;
        }
        if let Some(zone) = outside(token, block) {
            report.push(
                no_effect(token, &format!("`{zone}` is outside of this server block"))
                    .note(format!(
                        "the block gets queries for names in {}",
                        shown(block)
                    ))
                    .help("add the zone to the keys of the server block, or move the line to a block that has it"),
            );
        }
    }
}

/// Warns of zones behind `fallthrough` of whose names the directive is asked none.
pub(crate) fn fallthrough(line: &Line, directive: &str, served: &[String], report: &mut Report) {
    for token in line.words.iter().skip(1) {
        if let Some(doubt) = doubt::argument(token, directive, &[]) {
            report.push(doubt);
        } else if let Some(zone) = outside(token, served) {
            report.push(
                no_effect(
                    token,
                    &format!("`{directive}` is not asked for names of `{zone}` here"),
                )
                .note(format!("it is asked for names in {}", shown(served)))
                .help("`fallthrough` without a zone passes on every name"),
            );
        }
    }
}

/// A warning of a word without effect.
pub fn no_effect(token: &Token, why: &str) -> Diagnostic {
    Diagnostic::warning("CF0310", format!("'{}' has no effect: {why}", token.text))
        .at(token.span, "no query gets here")
}

/// The first zone that a word stands for, when none of its zones overlaps one of `served`.
fn outside(token: &Token, served: &[String]) -> Option<String> {
    let zones = key::parse(token).ok()?.zones;
    let meets = zones
        .iter()
        .any(|zone| served.iter().any(|other| overlap(zone, other)));
    (!meets && !served.is_empty()).then(|| zones.into_iter().next())?
}

/// Whether one of two normalised zones lies within the other.
pub fn overlap(zone: &str, other: &str) -> bool {
    is_within(zone, other) || is_within(other, zone)
}

/// Whether a normalised zone is `upper` or lies below it.
pub fn is_within(zone: &str, upper: &str) -> bool {
    match (zone.parse::<NameBuf>(), upper.parse::<NameBuf>()) {
        (Ok(zone), Ok(upper)) => zone.as_name().is_within(upper.as_name()),
        _ => false,
    }
}

/// A few zones, for a sentence.
fn shown(zones: &[String]) -> String {
    const MOST: usize = 4;
    let first: Vec<_> = zones
        .iter()
        .take(MOST)
        .map(|zone| format!("`{zone}`"))
        .collect();
    let rest = zones.len().saturating_sub(MOST);
    if rest == 0 {
        first.join(", ")
    } else {
        format!("{} and {rest} more", first.join(", "))
    }
}
