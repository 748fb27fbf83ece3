//! The language rule by rule, and what every mistake looks like on the screen.

use super::*;
use crate::source::Memory;
use crate::syntax::{Block, show};

mod diagnostics;
mod language;
mod torture;

/// Parses a file named `Corefile` with nothing around it.
fn plain(text: &str) -> (Corefile, Report) {
    parse("Corefile", text.into(), &Memory::new())
}

/// The tree in one line: keys, then directives with arguments and blocks.
fn outline(corefile: &Corefile) -> String {
    let server = |server: &ServerBlock| {
        let directive = |directive: &crate::syntax::Directive| {
            let mut all = vec![directive.name.clone()];
            all.extend(directive.args.iter().cloned());
            words(&all) + &braces(directive.block.as_ref())
        };
        let directives = server
            .directives
            .iter()
            .map(directive)
            .collect::<Vec<_>>()
            .join("; ");
        format!("{} [{directives}]", words(&server.keys))
    };
    corefile
        .blocks
        .iter()
        .map(server)
        .collect::<Vec<_>>()
        .join(" | ")
}

/// Words with a space between.
fn words(tokens: &[Token]) -> String {
    tokens
        .iter()
        .map(|token| token.text.as_str())
        .collect::<Vec<_>>()
        .join(" ")
}

/// A block in one line.
fn braces(block: Option<&Block>) -> String {
    let Some(block) = block else {
        return String::new();
    };
    let lines: Vec<_> = block
        .lines
        .iter()
        .map(|line| words(&line.words) + &braces(line.block.as_ref()))
        .collect();
    format!(" {{{}}}", lines.join("; "))
}

/// The codes of a report.
fn codes(report: &Report) -> Vec<&'static str> {
    report.iter().map(|found| found.code).collect()
}
