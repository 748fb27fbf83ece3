//! What an import could not take, by line.

use std::fmt;
use std::io::{self, Write};
use std::path::PathBuf;
use std::rc::Rc;

use serde::Serialize;

/// Characters of a line that are shown.
const SHOWN: usize = 160;

/// A line of a file; line 0 is the file as a whole.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) file: Rc<str>,
    pub(super) line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.file),
            line => write!(f, "{}:{line}", self.file),
        }
    }
}

/// One line with what is to be said of it.
#[derive(Debug, Serialize)]
pub(super) struct Entry {
    pub(super) file: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) line: Option<usize>,
    pub(super) text: String,
    pub(super) why: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) instead: Option<String>,
}

/// What was left, and what behaves otherwise.
#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    /// Lines that are not in the result.
    pub(super) left: Vec<Entry>,
    /// Lines that need nothing here, and answers that differ.
    pub(super) notes: Vec<Entry>,
}

impl Report {
    /// A line was not taken.
    pub(super) fn left(&mut self, place: &Place, text: &str, why: &str, instead: &str) {
        self.left.push(entry(place, text, why, instead));
    }

    /// A line was taken, and something about it is worth knowing.
    pub(super) fn note(&mut self, place: &Place, text: &str, why: &str) {
        self.notes.push(entry(place, text, why, ""));
    }

    pub(super) fn is_complete(&self) -> bool {
        self.left.is_empty()
    }

    /// Writes it for people.
    pub(super) fn write_text(&self, written: &[PathBuf], out: &mut dyn Write) -> io::Result<()> {
        for (title, entries) in [("Left out", &self.left), ("Good to know", &self.notes)] {
            if !entries.is_empty() {
                writeln!(out, "{title}:")?;
            }
            for entry in entries {
                match entry.line {
                    Some(line) => write!(out, "  {}:{line}: ", entry.file)?,
                    None => write!(out, "  {}: ", entry.file)?,
                }
                if !entry.text.is_empty() {
                    writeln!(out, "{}", entry.text)?;
                    write!(out, "      ")?;
                }
                writeln!(out, "{}", entry.why)?;
                if let Some(instead) = &entry.instead {
                    writeln!(out, "      instead: {instead}")?;
                }
            }
        }
        writeln!(out, "Written:")?;
        for path in written {
            writeln!(out, "  {}", path.display())?;
        }
        match self.left.len() {
            0 => writeln!(out, "Everything was imported."),
            1 => writeln!(out, "1 line was left out."),
            count => writeln!(out, "{count} lines were left out."),
        }
    }

    /// Writes it for machines.
    pub(super) fn write_json(&self, written: &[PathBuf], out: &mut dyn Write) -> io::Result<()> {
        let written: Vec<_> = written
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        let value = serde_json::json!({
            "left": self.left,
            "notes": self.notes,
            "written": written,
        });
        serde_json::to_writer_pretty(&mut *out, &value).map_err(io::Error::other)?;
        writeln!(out)
    }
}

fn entry(place: &Place, text: &str, why: &str, instead: &str) -> Entry {
    Entry {
        file: place.file.to_string(),
        line: (place.line > 0).then_some(place.line),
        text: shown(text),
        why: why.to_owned(),
        instead: (!instead.is_empty()).then(|| instead.to_owned()),
    }
}

/// A line as a terminal can show it: short, and without control characters.
fn shown(text: &str) -> String {
    let mut out: String = text
        .trim()
        .chars()
        .take(SHOWN)
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect();
    if text.trim().chars().count() > SHOWN {
        out.push('…');
    }
    out
}
