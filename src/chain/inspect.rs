//! Reads the files that a Corefile names, as `check` does: what would make a start fail is an error, what would be served otherwise
//! than it is written a warning.
//!
//! Only regular files are read, and no more of them than a bound: never a pipe, a socket or a device, and nothing of the network.
//! A start does not come here: it reads the same files when it builds, by the same functions.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use corefile::{Diagnostic, FileId, Report, Severity, Sources, Span};

use crate::setup::PlannedBlock;

/// Octets of a file that is shown in a message.
const SHOWN: u64 = 64 << 20;

/// What the files of one directive are read with.
pub struct Inspect<'a> {
    root: PathBuf,
    sources: &'a mut Sources,
    report: &'a mut Report,
    /// Files whose text was added to the sources, to be shown.
    shown: &'a mut HashMap<PathBuf, Option<FileId>>,
}

/// A place in a file that the Corefile names.
#[derive(Clone, Copy, Debug)]
pub struct Place<'p> {
    /// The file.
    pub path: &'p Path,
    /// The line, from 1; 0 is the file as a whole.
    pub line: usize,
    /// The column in octets, from 1; 0 is the line as a whole.
    pub column: usize,
}

/// Inspects the files of all blocks.
pub fn files(blocks: &[PlannedBlock], sources: &mut Sources, report: &mut Report) {
    let mut shown = HashMap::new();
    for block in blocks {
        let root = block.planned.iter().find_map(|one| one.setup.root());
        let root = root.unwrap_or(Path::new(".")).to_path_buf();
        for one in &block.planned {
            let mut inspect = Inspect {
                root: root.clone(),
                sources,
                report,
                shown: &mut shown,
            };
            one.setup.inspect(&mut inspect);
        }
    }
}

impl Inspect<'_> {
    /// `path`, taken from `root` when it is relative.
    pub fn path(&self, path: &str) -> PathBuf {
        crate::setup::from_root(&self.root, path)
    }

    /// Whether something can be read there as a file: a message with the system's words where not.
    ///
    /// # Errors
    /// What the file system says, and that it is no regular file.
    pub fn look(&self, path: &Path) -> io::Result<()> {
        host::regular::open(path).map(drop)
    }

    /// The octets of a regular file.
    ///
    /// # Errors
    /// What the file system says, that it is no regular file, and that it is longer than `most`.
    pub fn read(&self, path: &Path, most: u64) -> io::Result<Vec<u8>> {
        host::regular::read(path, most)
    }

    /// Reports what is wrong with a file as a whole, at the word that names it.
    pub fn tell(&mut self, severity: Severity, message: String, word: Span) {
        let diagnostic = match severity {
            Severity::Error => Diagnostic::error("CF0510", message),
            _ => Diagnostic::warning("CF0510", message),
        };
        self.report.push(diagnostic.at(word, ""));
    }

    /// Reports what is wrong at a place in a file, and the word of the Corefile that names the file.
    pub fn tell_at(&mut self, severity: Severity, place: Place<'_>, message: &str, word: Span) {
        self.advise_at(severity, place, (message, None), word);
    }

    /// The same, with what to do.
    pub fn advise_at(
        &mut self,
        severity: Severity,
        place: Place<'_>,
        (message, help): (&str, Option<String>),
        word: Span,
    ) {
        let new = match severity {
            Severity::Error => Diagnostic::error,
            Severity::Warning => Diagnostic::warning,
            Severity::Note => Diagnostic::note_of,
        };
        let found = self.span(place);
        let told = match found {
            Some(span) => new("CF0511", message.to_owned())
                .at(span, "")
                .beside(word, "named here"),
            None => {
                let shown = place.path.display();
                let (line, column) = (place.line, place.column);
                let message = match (line, column) {
                    (0, _) => format!("{shown}: {message}"),
                    (_, 0) => format!("{shown}:{line}: {message}"),
                    _ => format!("{shown}:{line}:{column}: {message}"),
                };
                new("CF0511", message).at(word, "")
            }
        };
        self.report.push(match help {
            Some(help) => told.help(help),
            None => told,
        });
    }

    /// A place as a span of a text in the sources, from its column to the end of the word.
    fn span(&mut self, place: Place<'_>) -> Option<Span> {
        if place.line == 0 {
            return None;
        }
        let file = match self.shown.get(place.path) {
            Some(known) => *known,
            None => {
                let text = self.read(place.path, SHOWN).ok();
                let text = text.and_then(|octets| String::from_utf8(octets).ok());
                let name = place.path.display().to_string();
                let file = text.map(|text| self.sources.add(&name, text));
                self.shown.insert(place.path.to_path_buf(), file);
                file
            }
        }?;
        let text = self.sources.text(file);
        let mut start = 0;
        for _ in 1..place.line {
            start += text.get(start..)?.find('\n')? + 1;
        }
        let line = text.get(start..)?.lines().next().unwrap_or("");
        let column = place.column.saturating_sub(1).min(line.len());
        let rest = line.get(column..)?;
        let len = match place.column {
            0 => rest.len(),
            _ => rest.find(char::is_whitespace).unwrap_or(rest.len()),
        };
        let start = u32::try_from(start + column).ok()?;
        Some(Span {
            file,
            start,
            end: start + len.max(1).min(text.len() - start as usize) as u32,
        })
    }
}
