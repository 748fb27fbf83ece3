//! Lints: Corefiles that start, and hardly do what was meant. Warnings, each with a code.

use corefile::{Diagnostic, Report, Severity, Span};

use crate::setup::{Answers, Planned, Scene};

/// Lints one block.
pub(crate) fn block(planned: &[Planned], scene: &Scene<'_>, block: Span, report: &mut Report) {
    no_answer(planned, block, report);
    shadowed(planned, scene, report);
    written_order(planned, scene, report);
}

/// A block in which nothing answers: every query gets SERVFAIL (or REFUSED without any plugin).
fn no_answer(planned: &[Planned], block: Span, report: &mut Report) {
    let answers: Vec<_> = planned
        .iter()
        .filter(|one| !one.setup.answers().is_empty())
        .collect();
    if planned.iter().any(|one| one.handler) && answers.is_empty() {
        report.push(
            Diagnostic::warning("CF0302", "no plugin of this server block answers queries")
                .at(block, "every query gets SERVFAIL here")
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
    if falls {
        report.push(
            Diagnostic::warning(
                "CF0303",
                format!(
                    "queries that fall through `{}` meet no further plugin",
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

/// Whether a mistake in the lines of a plugin is reported already: what it answers is not known, and a mistyped `fallthrough` is not to
/// be told of twice.
fn is_broken(planned: &Planned, report: &Report) -> bool {
    report
        .iter()
        .filter(|found| found.severity == Severity::Error)
        .flat_map(|found| &found.labels)
        .any(|label| label.span == planned.span)
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
        if !covers || is_broken(upper, report) {
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

/// Two plugins that answer, written in the other order than they run in.
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
    for pair in answering.windows(2) {
        let (first, second) = (pair[0], pair[1]);
        if written(second.name) < written(first.name) {
            report.push(
                Diagnostic::warning(
                    "CF0304",
                    format!(
                        "`{}` runs before `{}` whatever the order you wrote",
                        first.name, second.name
                    ),
                )
                .at(first.span, "runs first")
                .beside(second.span, "written first, runs second")
                .note("plugins run in one fixed order, that of CoreDNS 1.14.7")
                .help(format!(
                    "write `{}` above `{}`, so that the file reads as it runs",
                    first.name, second.name
                )),
            );
        }
    }
}
