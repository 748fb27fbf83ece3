//! `explain order`: in which order the plugins of each server block run, beside the order in which they are written.

use std::fmt::Write as _;

use chain::setup::{self, Catalogue, PlannedBlock};
use corefile::{Corefile, Disk, Span};
use serde::Serialize;

use super::record::Place;
use super::scene::Texts;
use crate::input::Source;

/// The order of one server block.
#[derive(Clone, Debug, Serialize)]
pub struct BlockOrder {
    /// Its keys, as they are written.
    pub keys: Vec<String>,
    /// Where it stands.
    pub place: Place,
    /// The lines of its plugins, in the order in which they run; those that only configure are last.
    pub lines: Vec<Line>,
}

/// A directive of a server block.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// The plugin.
    pub plugin: String,
    /// Its number in the chain, from 1; nothing where it has no place in the chain.
    pub runs: Option<usize>,
    /// Its number in the block as written, from 1.
    pub written: usize,
    /// Where it stands.
    pub place: Place,
}

/// The order of all server blocks of a Corefile.
#[derive(Clone, Debug)]
pub struct Order {
    /// That of each.
    pub blocks: Vec<BlockOrder>,
    /// Warnings of variables that are not set, drawn; what they stand for may change what a block holds.
    pub warnings: Option<String>,
}

/// The order of each server block of `source`.
///
/// # Errors
/// The Corefile's mistakes, drawn; those that only follow from a variable that is not set are none, as for `check`.
pub fn order(source: &Source, catalogue: Catalogue) -> Result<Order, String> {
    let (name, text) = source.read()?;
    let (corefile, mut report) = corefile::parse(&name, text, &Disk);
    let planned = setup::plan(&corefile, catalogue, &mut report);
    report.forget_consequences(&corefile.sources);
    report.keep_private(&corefile.private, &corefile.sources);
    if report.has_errors() {
        return Err(report.render(&corefile.sources, false));
    }
    report.retain_since(0, |found| found.code == "CF0501");
    let warnings = (!report.is_empty()).then(|| report.render(&corefile.sources, false));
    let Corefile {
        sources,
        blocks,
        private,
        ..
    } = corefile;
    let texts = Texts {
        private: private.iter().map(|(file, _)| *file).collect(),
        sources,
    };
    let pairs = planned.iter().zip(&blocks);
    let blocks = pairs
        .map(|(plan, block)| {
            let written = |span| {
                let names = block.directives.iter().map(|one| one.name.span);
                names
                    .into_iter()
                    .position(|other| other == span)
                    .map_or(0, |at| at + 1)
            };
            let mut lines: Vec<Line> = runs(plan)
                .into_iter()
                .map(|(plugin, span, runs)| Line {
                    plugin: plugin.to_owned(),
                    runs,
                    written: written(span),
                    place: texts.place(span),
                })
                .collect();
            lines.sort_by_key(|line| (line.runs.is_none(), line.runs, line.written));
            BlockOrder {
                keys: block.keys.iter().map(|key| key.text.clone()).collect(),
                place: texts.place(plan.span),
                lines,
            }
        })
        .collect();
    Ok(Order { blocks, warnings })
}

/// The lines of a server block's plugins: the plugin, where it stands, and its number in the chain, from 1, if it has a place there.
pub fn runs(plan: &PlannedBlock) -> Vec<(&'static str, Span, Option<usize>)> {
    let mut last = 0;
    let mut out = Vec::new();
    for one in &plan.planned {
        let handlers = one.setup.handlers();
        for (at, &span) in one.places.iter().enumerate() {
            // Several lines may make one handler.
            if one.handler && at < handlers {
                last += 1;
            }
            out.push((one.name, span, (one.handler && last > 0).then_some(last)));
        }
    }
    out
}

impl BlockOrder {
    /// Draws it; `name` is that of the order.
    pub fn render(&self, name: &str) -> String {
        let mut out = String::new();
        let keys = self.keys.join(" ");
        let _ = writeln!(
            out,
            "{}:{}: {keys}  (order {name})",
            self.place.file, self.place.line
        );
        let _ = writeln!(out, "  runs  written");
        for line in &self.lines {
            let runs = line
                .runs
                .map_or_else(|| "-".to_owned(), |runs| runs.to_string());
            let text = line.place.text.trim_end_matches('{').trim_end();
            let text = if text.is_empty() { &line.plugin } else { text };
            let at = match line.place.file == self.place.file {
                true => format!("line {}", line.place.line),
                false => format!("{}:{}", line.place.file, line.place.line),
            };
            let _ = writeln!(out, "  {runs:>4}  {:>7}  {text}  ({at})", line.written);
        }
        if self.lines.iter().any(|line| line.runs.is_none()) {
            out.push_str("  -: it configures the server block, and sees no queries\n");
        }
        out
    }
}
