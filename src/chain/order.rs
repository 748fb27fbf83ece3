//! The order of the plugins of a server block where it says so itself: a named order, and plugins moved within it.
//!
//! Only the chain is reordered. Setup goes by the catalogue, as everywhere: what one directive says of the block (`root`, `bind`) is known
//! when the next one is built.

use corefile::{Diagnostic, Report, Span};

use crate::setup::{Answers, Catalogue, Entry, Planned};

/// Plugins that decide which queries are answered at all: what stands above one of them answers without asking it.
const GUARDS: [&str; 2] = ["acl", "tsig"];
/// Plugins that answer from what was answered to others, or ask for other names in the client's place.
const KEEPERS: [&str; 2] = ["cache", "autopath"];

/// Where a plugin is moved to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum To {
    /// Right above another plugin.
    Before(&'static str),
    /// Right below another plugin.
    After(&'static str),
    /// Above all.
    First,
    /// Below all.
    Last,
}

/// One plugin, moved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Move {
    /// The plugin.
    pub name: &'static str,
    /// Where it goes.
    pub to: To,
    /// Where that is written.
    pub span: Span,
}

/// The place of each entry of the catalogue once `moves` were made, one after the other.
pub(crate) fn ranks(catalogue: Catalogue, moves: &[Move]) -> Vec<usize> {
    let mut names: Vec<usize> = (0..catalogue.len()).collect();
    let find = |names: &[usize], name: &str| {
        names
            .iter()
            .position(|&entry| catalogue[entry].name() == name)
    };
    for step in moves {
        let Some(from) = find(&names, step.name) else {
            continue;
        };
        let moved = names.remove(from);
        let at = match step.to {
            To::First => Some(0),
            To::Last => Some(names.len()),
            To::Before(other) => find(&names, other),
            To::After(other) => find(&names, other).map(|at| at + 1),
        };
        names.insert(at.unwrap_or(from), moved);
    }
    let mut ranks = vec![0; names.len()];
    for (rank, entry) in names.into_iter().enumerate() {
        ranks[entry] = rank;
    }
    ranks
}

/// Reports a move of which nothing comes, and one that lets a plugin answer above one that guards; `planned` in the order in which it runs.
pub(crate) fn lint(planned: &[Planned], catalogue: Catalogue, moves: &[Move], report: &mut Report) {
    for step in moves {
        let known = planned.iter().find(|one| one.name == step.name);
        match known {
            Some(one) if one.handler => {}
            Some(_) => report.push(
                Diagnostic::warning(
                    "CF0351",
                    format!("`{}` has no place in the chain", step.name),
                )
                .at(step.span, "moves nothing")
                .note("it configures the server block, and sees no queries"),
            ),
            None => {
                let here = catalogue
                    .iter()
                    .any(|entry| entry.name() == step.name && matches!(entry, Entry::Here(_)));
                let why = match here {
                    true => "it is not in this server block",
                    false => "it is not implemented here",
                };
                report.push(
                    Diagnostic::warning("CF0351", format!("`order` moves `{}`", step.name))
                        .at(step.span, "moves nothing")
                        .note(why),
                );
            }
        }
    }
    for (at, guard) in planned.iter().enumerate() {
        if !GUARDS.contains(&guard.name) {
            continue;
        }
        // What the usual order puts above a guard is meant so.
        let above = planned[..at].iter().filter(|one| one.order > guard.order);
        for one in above.filter(|one| one.handler && gets_around(one)) {
            let moved = moves
                .iter()
                .rev()
                .find(|step| step.name == one.name || step.name == guard.name);
            let place = moved.map_or(guard.span, |step| step.span);
            report.push(
                Diagnostic::warning(
                    "CF0402",
                    format!("`{}` answers without asking `{}`", one.name, guard.name),
                )
                .at(place, format!("puts `{}` above `{}`", one.name, guard.name))
                .beside(guard.span, "not asked if the plugin above answers")
                .note("a client that is refused here may get an answer that is not meant for it")
                .help(format!("leave `{}` above `{}`", guard.name, one.name)),
            );
        }
    }
}

/// Whether a plugin answers queries, so that those below it do not see them.
fn gets_around(one: &Planned) -> bool {
    let answers = one.setup.answers();
    KEEPERS.contains(&one.name) || answers.iter().any(|(reach, _)| *reach != Answers::Nothing)
}
