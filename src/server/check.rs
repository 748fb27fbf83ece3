//! `check`: every mistake of a Corefile at once, without serving anything.

use chain::setup::{self, Catalogue};
use corefile::Disk;

use crate::input::Source;

/// How mistakes are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Format {
    /// For people, as rustc does.
    #[default]
    Text,
    /// A JSON array, for machines.
    Json,
}

/// Checks a Corefile and prints what is wrong with it. 0: nothing (or warnings that are allowed), 1: warnings, denied; 2: errors.
pub fn check(
    source: &Source,
    catalogue: Catalogue,
    format: Format,
    deny_warnings: bool,
    colour: bool,
) -> u8 {
    let (name, text) = match source.read() {
        Ok(read) => read,
        Err(error) => {
            eprintln!("{error}");
            return 2;
        }
    };
    let (corefile, mut report) = corefile::parse(&name, text, &Disk);
    setup::plan(&corefile, catalogue, &mut report);
    match format {
        Format::Json => println!("{}", report.to_json(&corefile.sources)),
        Format::Text if report.is_empty() => println!("{name}: no mistakes"),
        Format::Text => print!("{}", report.render(&corefile.sources, colour)),
    }
    if report.has_errors() {
        2
    } else {
        u8::from(deny_warnings && report.has_warnings())
    }
}

/// What a code means; `None` when there is no such code.
pub fn explain(code: &str) -> Option<&'static str> {
    let explanations = corefile::codes::EXPLANATIONS;
    explanations
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(code))
        .map(|(_, text)| *text)
}
