//! What is wrong with a master file, and where.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use wire::NameBuf;

/// One mistake or oddity of a master file: `file:line:column: why`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Complaint {
    /// The file, as it was named.
    pub file: Arc<PathBuf>,
    /// The line, from 1; 0 when the complaint is about the whole file.
    pub line: u32,
    /// The column in octets, from 1; 0 when the complaint is about the whole line.
    pub column: u32,
    /// What is wrong.
    pub message: String,
    /// Whether the records can be read and only contradict each other, which some servers put up with.
    pub conflict: bool,
    /// Whether it is a record that is not in the zone.
    pub outside: bool,
    /// Whether it is served as it is written all the same, so that it is no more than a note.
    pub note: bool,
    /// The zone that the SOA record is of, where that is another one.
    pub soa_of: Option<Box<NameBuf>>,
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        if self.column > 0 {
            write!(f, ":{}", self.column)?;
        }
        write!(f, ": {}", self.message)
    }
}

impl std::error::Error for Complaint {}

/// The most errors and the most warnings that one load keeps.
pub(crate) const MOST: usize = 20;

/// The complaints of one load, as many of each kind as are kept; the rest are counted.
#[derive(Default, Debug)]
pub(crate) struct Complaints {
    pub(crate) errors: Vec<Complaint>,
    pub(crate) warnings: Vec<Complaint>,
    /// How many errors there were in all.
    pub(crate) error_count: usize,
}

impl Complaints {
    pub(crate) fn error(&mut self, complaint: impl FnOnce() -> Complaint) {
        self.error_count += 1;
        if self.errors.len() < MOST {
            self.errors.push(complaint());
        }
    }

    pub(crate) fn warn(&mut self, complaint: impl FnOnce() -> Complaint) {
        if self.warnings.len() < MOST {
            self.warnings.push(complaint());
        }
    }
}
