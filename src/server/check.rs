//! `check`: every mistake of a Corefile and of the files that it names, without serving anything.

use chain::inspect;
use chain::setup::{self, Catalogue};
use corefile::{Corefile, Disk, Report, Span};

use crate::input::Source;
use crate::logging;

/// How mistakes are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Format {
    /// For people, as rustc does.
    #[default]
    Text,
    /// A JSON array, for machines.
    Json,
}

/// What is checked, and how it is told.
#[derive(Clone, Debug, Default)]
pub struct Checking {
    /// How mistakes are written.
    pub format: Format,
    /// Whether warnings end with 1.
    pub deny_warnings: bool,
    /// The codes of warnings that are not told.
    pub allowed: Vec<String>,
    /// Whether the files that the Corefile names are left alone: for a machine that does not have them.
    pub no_files: bool,
    /// Whether the edits that put mistakes right are written into the files.
    pub fix: bool,
    /// Whether the text has colours.
    pub colour: bool,
}

/// Checks a Corefile and prints what is wrong with it. 0: nothing (or warnings that are allowed), 1: warnings, denied; 2: errors.
pub fn check(source: &Source, catalogue: Catalogue, checking: Checking) -> u8 {
    let (mut corefile, mut report) = match findings(source, catalogue, checking.no_files) {
        Ok(found) => found,
        Err(error) => return refuse(&error),
    };
    if checking.fix {
        match fix(&corefile, &report) {
            Ok(0) => {}
            Ok(edits) => {
                let edit = if edits == 1 { "edit" } else { "edits" };
                logging::complain(&format!("fixed: {edits} {edit}"));
                (corefile, report) = match findings(source, catalogue, checking.no_files) {
                    Ok(found) => found,
                    Err(error) => return refuse(&error),
                };
            }
            Err(error) => return refuse(&error),
        }
    }
    report.allow(&checking.allowed);
    match checking.format {
        Format::Json => logging::print(&report.to_json(&corefile.sources)),
        Format::Text if report.is_empty() => {
            let name = corefile.sources.ids().next();
            let name = name.map_or("", |file| corefile.sources.name(file));
            logging::print(&format!("{name}: no mistakes"));
        }
        Format::Text => logging::print(&report.render(&corefile.sources, checking.colour)),
    }
    if report.has_errors() {
        2
    } else {
        u8::from(checking.deny_warnings && report.has_warnings())
    }
}

fn refuse(error: &str) -> u8 {
    logging::complain(error);
    2
}

/// Reads a Corefile, and the files that it names unless `no_files`; what is wrong with them.
///
/// # Errors
/// When the Corefile cannot be read.
pub fn findings(
    source: &Source,
    catalogue: Catalogue,
    no_files: bool,
) -> Result<(Corefile, Report), String> {
    let (name, text) = source.read()?;
    let (mut corefile, mut report) = corefile::parse(&name, text, &Disk);
    let planned = setup::plan(&corefile, catalogue, &mut report);
    if !no_files {
        inspect::files(&planned, &mut corefile.sources, &mut report);
    }
    report.forget_consequences(&corefile.sources);
    report.keep_private(&corefile.private, &corefile.sources);
    Ok((corefile, report))
}

/// Writes the edits of a report into the files; how many there were. Of edits that meet, the first counts.
fn fix(corefile: &Corefile, report: &Report) -> Result<usize, String> {
    let mut written = 0;
    for file in corefile.sources.ids() {
        let fixes = report.iter().filter_map(|found| found.fix.as_deref());
        let text = corefile.sources.text(file);
        let mut edits: Vec<(Span, &str)> = fixes
            .filter(|fix| fix.span.file == file)
            .map(|fix| (fix.replaced(text), fix.replacement.as_str()))
            .collect();
        edits.sort_by_key(|(span, _)| (span.start, span.end));
        edits.dedup_by(|later, first| later.0.start < first.0.end || later.0 == first.0);
        if edits.is_empty() {
            continue;
        }
        let name = corefile.sources.name(file);
        let path = std::path::Path::new(name);
        if !path.is_file() {
            return Err(format!("{name} is no file: nothing was written"));
        }
        let mut text = text.to_owned();
        for (span, replacement) in edits.iter().rev() {
            text.replace_range(span.start as usize..span.end as usize, replacement);
        }
        replace(path, text.as_bytes()).map_err(|error| format!("write {name}: {error}"))?;
        written += edits.len();
    }
    Ok(written)
}

/// Puts a text in the place of a file's at once, so that a server that watches it never reads half of it. A symlink stays.
fn replace(path: &std::path::Path, text: &[u8]) -> std::io::Result<()> {
    let path = path.canonicalize()?;
    let beside = path.with_extension("nameplate-fix");
    std::fs::write(&beside, text)?;
    let done = std::fs::metadata(&path)
        .and_then(|old| std::fs::set_permissions(&beside, old.permissions()))
        .and_then(|()| std::fs::rename(&beside, &path));
    if done.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    done
}

/// What a code means; `None` when there is no such code.
pub fn explain(code: &str) -> Option<&'static str> {
    corefile::codes::explain(code)
}
