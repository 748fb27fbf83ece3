//! How long a chain may be: found when a Corefile is read, so that `check` and a start agree.

use corefile::{Diagnostic, Report};

use crate::query::MEMOS;
use crate::setup::Planned;

/// Reports the directive with which a block has more handlers than a chain has room for.
pub(crate) fn block(planned: &[Planned], report: &mut Report) {
    let mut count = 0;
    for one in planned.iter().filter(|one| one.handler) {
        let before = count;
        count += one.setup.handlers();
        if before <= MEMOS && count > MEMOS {
            report.push(
                Diagnostic::error(
                    "CF0317",
                    format!("a server block has at most {MEMOS} handlers; this one has more"),
                )
                .at(one.span, format!("{count} with this directive"))
                .note("each `hosts`, `forward` and `kubernetes` of a block is a separate handler")
                .help("serve some of the zones in another server block"),
            );
        }
    }
}
