//! A Corefile tried without a server: read, checked and built as at start, and its chains walked.

use chain::admin::Process;
use chain::setup::{self, BuiltBlock, PlannedBlock};
use corefile::{Memory, Report};

/// What became of a Corefile.
pub(crate) struct Trial {
    /// All messages of the report, errors and warnings, one a line.
    pub(crate) messages: String,
    /// The blocks; empty when the Corefile was refused.
    pub(crate) blocks: Vec<BuiltBlock>,
    /// What directives said of the process.
    pub(crate) process: Process,
    /// Whether it would have been served.
    pub(crate) accepted: bool,
}

/// Reads and checks `text`.
pub(crate) fn plan(text: &str) -> (Vec<PlannedBlock>, Report) {
    let (corefile, mut report) = corefile::parse("Corefile", text.into(), &Memory::new());
    let planned = setup::plan(&corefile, crate::ORDER, &mut report);
    (planned, report)
}

/// Reads, checks and builds `text`.
pub(crate) fn build(text: &str) -> Trial {
    let (planned, report) = plan(text);
    let mut messages: String = report.iter().map(|d| format!("{}\n", d.message)).collect();
    let mut process = Process::default();
    let (mut blocks, mut accepted) = (Vec::new(), !report.has_errors());
    if accepted {
        match setup::build(planned, crate::ORDER, &mut process) {
            Ok(built) => blocks = built,
            Err(failure) => {
                messages.push_str(&failure.message);
                accepted = false;
            }
        }
    }
    Trial {
        messages,
        blocks,
        process,
        accepted,
    }
}

/// The same for the lines of one server block, `.`.
pub(crate) fn block(lines: &str) -> Trial {
    build(&format!(".:53 {{\n{lines}\n}}\n"))
}

/// A table of lines and what their refusal says; nothing when they are accepted.
pub(crate) fn table(rows: &[(&str, &str)]) {
    for (lines, refusal) in rows {
        let trial = block(lines);
        assert_eq!(
            trial.accepted,
            refusal.is_empty(),
            "{lines:?}: {}",
            trial.messages
        );
        assert!(
            trial.messages.contains(refusal),
            "{lines:?}: expected {refusal:?} in {:?}",
            trial.messages
        );
    }
}

/// Every `corefile` block of a README is accepted, and there is one.
pub(crate) fn readme(text: &str) {
    let mut blocks = 0;
    for part in text.split("```corefile\n").skip(1) {
        let (example, _) = part.split_once("```").unwrap_or((part, ""));
        let (_, report) = plan(example);
        let messages: Vec<_> = report.iter().map(|d| d.message.as_str()).collect();
        assert!(!report.has_errors(), "{example}\n{messages:?}");
        blocks += 1;
    }
    assert!(blocks > 0, "no example");
}
