//! Rules that are read and hardly do what was meant: those that no query can reach or match, and texts that refer to nothing.

use chain::setup::Scene;
use corefile::{Diagnostic, Report, Span, Token};

use super::rule::{Action, NameRule, Rule};
use super::setup::Written;
use super::text::{Matcher, Subject};

/// Warns of rules that never apply.
pub(super) fn find(rules: &[Written], scene: &Scene<'_>, report: &mut Report) {
    let mut renamed = false;
    for (at, written) in rules.iter().enumerate() {
        // Behind a rule that goes on with another name, names are what that made of them.
        let above = rules[..at].iter().filter(|other| other.rule.stop);
        let first = above.clone().find(|other| other.rule.is_certain());
        let over = above
            .filter(|_| !renamed)
            .find(|other| covers(&other.rule, written));
        if let Some(other) = first.or(over) {
            report.push(
                Diagnostic::warning("CF0330", "no query reaches this rule")
                    .at(written.field, "it is never tried")
                    .beside(
                        other.field,
                        "a query that it matches ends at this rule, which is a `stop` rule",
                    )
                    .help("write `rewrite continue` there, or move this rule above it"),
            );
        } else if let Some(why) = never(written, scene, renamed) {
            let (text, span) = written
                .from
                .as_ref()
                .map_or(("", written.field), |from| (from.0.as_str(), from.1));
            report.push(
                Diagnostic::warning("CF0330", format!("`{text}` matches no query"))
                    .at(span, why)
                    .help(help(written)),
            );
        }
        renamed |= !written.rule.stop && matches!(written.rule.action, Action::Name(_));
    }
}

/// What to do about a rule that matches nothing.
fn help(written: &Written) -> &'static str {
    match matcher(&written.rule) {
        Some(Matcher::Regex(_)) => "names are compared in lower case, with the dot at their end",
        _ => "write the whole name, or use `substring` or `regex`",
    }
}

/// What a rule compares names of questions with.
fn matcher(rule: &Rule) -> Option<&Matcher> {
    match &rule.action {
        Action::Name(NameRule { matcher, .. })
        | Action::Ttl(matcher, ..)
        | Action::Rcode(matcher, ..) => Some(matcher),
        _ => None,
    }
}

/// Whether every name that a rule is for is one that a rule above is for.
fn covers(above: &Rule, below: &Written) -> bool {
    let (Some(above), Some(matcher), Some((text, _))) =
        (matcher(above), matcher(&below.rule), &below.from)
    else {
        return false;
    };
    let text = text.as_bytes();
    match (above, matcher) {
        (above, Matcher::Exact(name)) => above.matches(&mut Subject {
            qname: name,
            text: &mut Vec::new(),
            ready: false,
        }),
        (Matcher::Prefix(above), Matcher::Prefix(_)) => text.starts_with(above),
        (Matcher::Suffix(above), Matcher::Suffix(_)) => text.ends_with(above),
        (
            Matcher::Substring(above),
            Matcher::Substring(_) | Matcher::Prefix(_) | Matcher::Suffix(_),
        ) => super::text::find(text, above).is_some(),
        (Matcher::Regex(above), Matcher::Regex(below)) => above.as_str() == below.as_str(),
        _ => false,
    }
}

/// Why no query of the server block can match the rule.
fn never(written: &Written, scene: &Scene<'_>, renamed: bool) -> Option<&'static str> {
    let (text, _) = written.from.as_ref()?;
    if let Action::Cname(rule) = &written.rule.action {
        return match &rule.matcher {
            Matcher::Suffix(_) if !text.ends_with('.') => Some("a target ends in a dot"),
            Matcher::Regex(_) if ends_short(text) => Some("a target ends in a dot"),
            Matcher::Nothing => Some("it is not a domain name"),
            _ => None,
        };
    }
    match matcher(&written.rule)? {
        Matcher::Nothing => Some("it is not a domain name"),
        Matcher::Regex(_) if ends_short(text) => Some("a name ends in a dot, before `$`"),
        Matcher::Regex(_) if has_capital(text) => Some("names have no capital letters"),
        Matcher::Exact(_) if !renamed && !meets(text, scene, true) => {
            Some("this server block gets no queries for such a name")
        }
        Matcher::Suffix(_) if !renamed && !meets(text, scene, false) => {
            Some("this server block gets no queries for a name with this end")
        }
        _ => None,
    }
}

/// Whether a name that ends in `text`, or is it, may lie in a zone of the block.
fn meets(text: &str, scene: &Scene<'_>, whole: bool) -> bool {
    scene.zones.is_empty()
        || scene.zones.iter().any(|zone| {
            zone == "."
                || text == zone
                || text
                    .strip_suffix(zone.as_str())
                    .is_some_and(|before| before.ends_with('.'))
                || !whole && zone.ends_with(text)
        })
}

/// Whether an expression wants a name to end in a letter or digit: it has one before its last `$`, and is no choice.
fn ends_short(pattern: &str) -> bool {
    let before = pattern.strip_suffix('$');
    let last = before.and_then(|before| before.trim_end_matches(')').chars().last());
    let escaped = before.is_some_and(|before| {
        let letters = before.trim_end_matches(|c: char| c.is_ascii_alphanumeric());
        letters.ends_with('\\')
    });
    !escaped
        && last.is_some_and(|last| last.is_ascii_alphanumeric())
        && !pattern.contains(['|', '('])
}

/// Whether an expression has a capital that stands for itself, and no flag that ignores case.
fn has_capital(pattern: &str) -> bool {
    let plain = pattern
        .bytes()
        .all(|octet| octet.is_ascii_alphanumeric() || b".-_\\$^".contains(&octet));
    let mut before = 0;
    let mut capital = false;
    for octet in pattern.bytes() {
        capital |= before != b'\\' && octet.is_ascii_uppercase();
        before = octet;
    }
    plain && capital
}

/// A reference to a group that an expression does not have.
pub(super) fn no_group(group: usize, groups: usize, to: &Token) -> Diagnostic {
    let last = groups.saturating_sub(1);
    Diagnostic::warning("CF0331", format!("`{{{group}}}` stands for itself"))
        .at(
            to.span,
            format!("the last group of the expression is {last}"),
        )
        .note("CoreDNS also leaves it in the name unchanged")
}

/// `answer name auto`, where `auto` is a pattern.
pub(super) fn auto_pattern(auto: &Token, word: &Token) -> Diagnostic {
    let span: Span = word.span;
    Diagnostic::warning("CF0331", "`auto` is a regular expression here")
        .at(auto.span, "the next word is what replaces it")
        .beside(span, "this takes an expression and a name")
        .help("write `answer auto` to translate names back")
}
