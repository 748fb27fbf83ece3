//! Lints: Corefiles that start, and hardly do what was meant. Warnings, each with a code.

use corefile::key::{Key, Scheme};
use corefile::{Diagnostic, Report, Span, Token};

use crate::scope::{is_within, overlap};
use crate::setup::{Answers, Planned, Scene};
use crate::transport::Transport;

/// Lints one block, `complete` where every directive of it is known.
pub(crate) fn block(
    planned: &[Planned],
    scene: &Scene<'_>,
    (block, complete): (Span, bool),
    report: &mut Report,
) {
    if scene.directives.is_empty() {
        nothing(block, report);
        return;
    }
    if complete {
        no_answer(planned, scene, block, report);
    }
    shadowed(planned, scene, report);
    around_rules(planned, scene, report);
    written_order(planned, scene, report);
}

/// Whether a message depends on which zones the block serves: where a key could not be read, they are not all known.
pub(crate) fn is_about_zones(found: &Diagnostic) -> bool {
    /// Chains, names outside of the block, rules that nothing reaches, and rules of `acl` that others get around.
    const CODES: [&str; 8] = [
        "CF0301", "CF0302", "CF0303", "CF0304", "CF0310", "CF0330", "CF0401", "CF0402",
    ];
    CODES.contains(&found.code)
}

/// Keys whose scheme means TLS, in a block without `tls`.
pub(crate) fn in_clear(keys: (&[Key], &[Span]), scene: &Scene<'_>, report: &mut Report) {
    if scene.directive("tls").is_some() {
        return;
    }
    for (key, &span) in keys.0.iter().zip(keys.1) {
        let name = key.scheme.name();
        let help = "add `tls CERT KEY` to this server block";
        if Transport::of(key.scheme).any(Transport::needs_tls) {
            report.push(
                Diagnostic::error(
                    "CF0412",
                    format!("`{name}://` requires TLS, and this server block has no `tls`"),
                )
                .at(span, "needs a certificate")
                .help(help),
            );
        } else if key.scheme != Scheme::Dns {
            report.push(
                Diagnostic::warning(
                    "CF0411",
                    format!("`{name}://` is served in clear text: this server block has no `tls`"),
                )
                .at(span, "not encrypted")
                .note("CoreDNS does the same silently; it is useful behind a proxy that has the certificate")
                .help(help),
            );
        }
    }
}

/// A block without directives.
fn nothing(block: Span, report: &mut Report) {
    report.push(
        Diagnostic::warning("CF0312", "this server block has no plugins")
            .at(block, "every query gets REFUSED here")
            .help("add `forward`, `hosts`, `file` or another plugin that answers, or remove the block"),
    );
}

/// A block in which nothing answers: every query gets SERVFAIL (or REFUSED without any plugin).
fn no_answer(planned: &[Planned], scene: &Scene<'_>, block: Span, report: &mut Report) {
    let answers: Vec<_> = planned
        .iter()
        .filter(|one| !one.setup.answers().is_empty())
        .collect();
    if answers.is_empty() {
        let handled = planned.iter().any(|one| one.handler);
        let rcode = if handled { "SERVFAIL" } else { "REFUSED" };
        report.push(
            Diagnostic::warning("CF0302", "no plugin of this server block answers queries")
                .at(block, format!("every query gets {rcode} here"))
                .help("add `forward`, `hosts`, `file` or another plugin that answers"),
        );
        return;
    }
    let Some(last) = answers.last() else { return };
    let falls = last
        .setup
        .answers()
        .iter()
        .all(|(reach, zones)| *reach == Answers::SomeNames && zones.is_empty());
    let written = |word: &str| {
        let own = scene
            .directives
            .iter()
            .filter(|one| one.name.text == last.name);
        let mut lines = own.flat_map(|one| one.block.iter().flat_map(|block| &block.lines));
        lines.any(|line| line.words.first().is_some_and(|first| first.text == word))
    };
    if falls && !scene.is_broken(last.span, report) && !written("fallthrough") {
        report.push(
            Diagnostic::warning(
                "CF0303",
                format!(
                    "no plugin follows for queries that `{}` passes on",
                    last.name
                ),
            )
            .at(
                last.span,
                "the last plugin that answers handles only some types or names",
            )
            .note("a query of another type or name gets SERVFAIL: \"no next plugin found\"")
            .help("add a plugin that answers the rest, such as `forward`"),
        );
    } else if falls && !scene.is_broken(last.span, report) {
        report.push(
            Diagnostic::warning(
                "CF0303",
                format!(
                    "no plugin follows for queries that fall through `{}`",
                    last.name
                ),
            )
            .at(
                last.span,
                "the last plugin that answers lets names fall through",
            )
            .note("such a query gets SERVFAIL: \"no next plugin found\"")
            .help("remove `fallthrough`, or add a plugin that answers the rest, such as `forward`"),
        );
    }
}

/// A plugin that answers everything, above one that then is never asked.
fn shadowed(planned: &[Planned], scene: &Scene<'_>, report: &mut Report) {
    let whole_block =
        |zones: &[String]| zones.is_empty() || scene.zones.iter().all(|zone| zones.contains(zone));
    for (i, upper) in planned.iter().enumerate() {
        let covers = upper
            .setup
            .answers()
            .iter()
            .any(|(reach, zones)| *reach == Answers::Everything && whole_block(zones));
        if !covers || scene.is_broken(upper.span, report) {
            continue;
        }
        let Some(lower) = planned[i + 1..]
            .iter()
            .find(|lower| !lower.setup.answers().is_empty())
        else {
            continue;
        };
        let mut diagnostic = Diagnostic::warning(
            "CF0301",
            format!(
                "`{}` is never asked: `{}` above it answers everything",
                lower.name, upper.name
            ),
        )
        .at(lower.span, "never asked")
        .beside(upper.span, "answers or refuses every name of this block");
        if let ("hosts", Some(hosts)) = (upper.name, scene.directive("hosts")) {
            let (place, edit) = match &hosts.block {
                Some(block) => (
                    Span {
                        end: block.close.start,
                        ..block.close
                    },
                    "    fallthrough\n    ",
                ),
                None => (hosts.span().after(), " {\n        fallthrough\n    }"),
            };
            diagnostic = diagnostic
                .note("`hosts` answers a name that it does not know with SERVFAIL")
                .help("let unknown names go on")
                .replace(place, edit);
        }
        report.push(diagnostic);
        return;
    }
}

const ANSWERS_ALL: &str =
    "clients that `acl` denies also get these answers, unless `order` has `acl first`";

/// What a plugin does to the rules of `acl` when it runs before them.
const AROUND_RULES: [(&str, &str, &str); 7] = [
    (
        "local",
        "answers for `localhost` and reverse zones without asking `acl`",
        ANSWERS_ALL,
    ),
    (
        "dns64",
        "makes AAAA addresses even if `acl` denies them",
        "it asks for A instead, and `acl` checks that query; deny A in the same rule, or move it with `order`: `dns64 after acl`",
    ),
    (
        "any",
        "answers queries of type ANY without asking `acl`",
        ANSWERS_ALL,
    ),
    (
        "chaos",
        "answers queries of class CH without asking `acl`",
        ANSWERS_ALL,
    ),
    (
        "rewrite",
        "changes names before `acl` checks them",
        "both the client's name and the rewritten one must be allowed",
    ),
    (
        "autopath",
        "asks for other names than the client",
        "each name of the search path is checked separately",
    ),
    (
        "cache",
        "answers from its cache before `acl` is asked",
        "answers that `acl` has checked are not cached, so the cache is useless for the zones of its rules",
    ),
];

/// A plugin that runs before `acl` and could get around its rules.
fn around_rules(planned: &[Planned], scene: &Scene<'_>, report: &mut Report) {
    let Some(at) = planned.iter().position(|one| one.name == "acl") else {
        return;
    };
    for above in &planned[..at] {
        let known = AROUND_RULES.iter().find(|(name, ..)| *name == above.name);
        let Some((name, does, note)) = known else {
            continue;
        };
        let concerned = match *name {
            // Where A and AAAA are denied alike, nothing is made of it.
            "dns64" => rules(scene).any(|(_, words)| words.iter().any(|word| word.text == "AAAA")),
            _ => rules(scene).any(|(zones, _)| judges(zones, above, scene)),
        };
        if !concerned {
            continue;
        }
        report.push(
            Diagnostic::warning("CF0401", format!("`{name}` {does}"))
                .at(above.span, "runs before `acl`")
                .beside(planned[at].span, "checks only the rest")
                .note(*note),
        );
    }
}

/// The lines of `acl`, each with the zones that it is about.
fn rules<'s>(scene: &'s Scene<'_>) -> impl Iterator<Item = (&'s [Token], &'s [Token])> {
    let acl = scene.directives.iter().filter(|one| one.name.text == "acl");
    acl.flat_map(|one| {
        let lines = one.block.iter().flat_map(|block| &block.lines);
        lines.map(|line| (one.args.as_slice(), line.words.as_slice()))
    })
}

/// Whether a rule for these zones is about names that a plugin answers.
fn judges(zones: &[Token], plugin: &Planned, scene: &Scene<'_>) -> bool {
    let answers = plugin.setup.answers();
    let mut answered = answers.iter().flat_map(|(_, zones)| zones);
    // A network is a zone for reverse look-ups; which one is not looked at.
    let meets = |zone: &Token, name: &str| {
        let zone = zone.text.to_ascii_lowercase();
        zone.contains('/') && name.ends_with("arpa.")
            || overlap(&format!("{}.", zone.trim_end_matches('.')), name)
    };
    answers.iter().all(|(_, zones)| zones.is_empty())
        || answered.any(|name| match zones {
            [] => scene.zones.iter().any(|zone| overlap(zone, name)),
            zones => zones.iter().any(|zone| meets(zone, name)),
        })
}

/// Two plugins that answer, written in the other order than they run in, where that changes an answer.
fn written_order(planned: &[Planned], scene: &Scene<'_>, report: &mut Report) {
    let answering: Vec<_> = planned
        .iter()
        .filter(|one| !one.setup.answers().is_empty())
        .collect();
    let written = |name: &str| {
        scene
            .directives
            .iter()
            .position(|directive| directive.name.text == name)
    };
    for (at, first) in answering.iter().enumerate() {
        let later = answering[at + 1..].iter();
        for second in later.filter(|second| written(second.name) < written(first.name)) {
            let Some(taken) = taken(first, second, scene) else {
                continue;
            };
            report.push(
                Diagnostic::warning(
                    "CF0304",
                    format!(
                        "`{}` runs before `{}` whatever the order you wrote",
                        first.name, second.name
                    ),
                )
                .at(first.span, format!("runs first, and answers {taken}"))
                .beside(second.span, "written first, runs second")
                .note("plugins run in one fixed order, that of CoreDNS 1.14.7, unless `order` moves them")
                .help(format!(
                    "write `{}` above `{}`, so that the file shows the order in which they run",
                    first.name, second.name
                )),
            );
        }
    }
}

/// What the plugin that runs first answers in the place of the second: a zone, or a name that is written in the Corefile.
fn taken(first: &Planned, second: &Planned, scene: &Scene<'_>) -> Option<String> {
    let served: Vec<String> = second
        .setup
        .answers()
        .iter()
        .flat_map(|(_, zones)| scene.zones_of(zones))
        .cloned()
        .collect();
    let name = first
        .setup
        .names()
        .into_iter()
        .find(|name| served.iter().any(|zone| is_within(name, zone)));
    if let Some(name) = name {
        return Some(format!("`{name}`"));
    }
    let answers = first.setup.answers();
    let mut zones = answers
        .iter()
        .filter(|(reach, _)| *reach == Answers::Everything)
        .flat_map(|(_, zones)| scene.zones_of(zones));
    zones
        .find(|zone| served.iter().any(|other| overlap(zone, other)))
        .map(|zone| format!("every name of `{zone}`"))
}
