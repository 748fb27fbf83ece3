//! Where text comes from and how a place in it is named.
//!
//! A [`Span`] is two octet offsets into one of the texts of [`Sources`]; line and column are computed when a message is
//! written, by binary search in a table of line starts made when the text is added.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// Octets of one file at most; a span counts octets in 32 bits.
pub const READ_LIMIT: u64 = 64 << 20;

/// One of the files that make up a Corefile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId(pub(crate) u32);

/// A place in a source: octets `start..end` of its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span {
    /// The file it lies in.
    pub file: FileId,
    /// The first octet.
    pub start: u32,
    /// One past the last octet.
    pub end: u32,
}

impl Span {
    /// From the start of this span to the end of `other`, when both lie in one file.
    #[must_use]
    pub fn to(self, other: Span) -> Span {
        if self.file == other.file {
            Span {
                end: self.end.max(other.end),
                ..self
            }
        } else {
            self
        }
    }

    /// Whether `other` begins within this span.
    #[must_use]
    pub fn contains(self, other: Span) -> bool {
        self.file == other.file && (self.start..self.end).contains(&other.start)
    }

    /// The empty span at the end of this one.
    #[must_use]
    pub fn after(self) -> Span {
        Span {
            start: self.end,
            ..self
        }
    }
}

/// The texts that were read, by the name that messages use for them.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    files: Vec<Source>,
}

/// One text.
#[derive(Clone, Debug)]
struct Source {
    name: String,
    text: String,
    /// Offset of the first octet of each line.
    lines: Vec<u32>,
}

impl Sources {
    /// Adds a text and gives it an identity.
    pub fn add(&mut self, name: &str, text: String) -> FileId {
        let mut lines = vec![0];
        lines.extend(
            text.bytes()
                .enumerate()
                .filter(|&(_, octet)| octet == b'\n')
                .map(|(at, _)| at as u32 + 1),
        );
        self.files.push(Source {
            name: name.to_owned(),
            text,
            lines,
        });
        FileId(self.files.len() as u32 - 1)
    }

    /// The file's name, as written.
    #[must_use]
    pub fn name(&self, file: FileId) -> &str {
        self.files
            .get(file.0 as usize)
            .map_or("?", |source| &source.name)
    }

    /// The file's text.
    #[must_use]
    pub fn text(&self, file: FileId) -> &str {
        self.files
            .get(file.0 as usize)
            .map_or("", |source| &source.text)
    }

    /// What is written at `span`.
    #[must_use]
    pub fn slice(&self, span: Span) -> &str {
        self.text(span.file)
            .get(span.start as usize..span.end as usize)
            .unwrap_or("")
    }

    /// Line and column where `span` starts, both counted from 1; columns count characters.
    #[must_use]
    pub fn line_column(&self, span: Span) -> (usize, usize) {
        self.position(span.file, span.start)
    }

    /// The offset where the line of `span`'s start begins.
    pub(crate) fn line_start(&self, span: Span) -> usize {
        let Some(source) = self.files.get(span.file.0 as usize) else {
            return 0;
        };
        let line = source
            .lines
            .partition_point(|&start| start <= span.start)
            .max(1);
        source.lines[line - 1] as usize
    }

    /// Line and column of one offset.
    pub(crate) fn position(&self, file: FileId, at: u32) -> (usize, usize) {
        let Some(source) = self.files.get(file.0 as usize) else {
            return (1, 1);
        };
        let line = source.lines.partition_point(|&start| start <= at).max(1);
        let start = source.lines[line - 1] as usize;
        let before = source.text.get(start..at as usize).unwrap_or("");
        (line, before.chars().count() + 1)
    }

    /// Every file, in the order in which they were first read.
    pub fn ids(&self) -> impl Iterator<Item = FileId> {
        (0..self.files.len() as u32).map(FileId)
    }
}

/// What parsing needs from the world: files, globs and environment variables.
pub trait Loader {
    /// The octets of a file.
    ///
    /// # Errors
    /// What the file system says.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// The paths that match a pattern with `*` and `?`, sorted.
    ///
    /// # Errors
    /// What the file system says; no match is an empty list.
    fn glob(&self, pattern: &Path) -> io::Result<Vec<PathBuf>>;
    /// An environment variable.
    fn variable(&self, name: &str) -> Option<String>;
    /// Whether not everybody may read a file.
    fn is_private(&self, _path: &Path) -> bool {
        false
    }
}

/// What a Corefile, a pipe or a device has to give, up to one octet more than is allowed.
///
/// # Errors
/// What the file system says.
pub fn read_bounded(from: impl Read) -> io::Result<Vec<u8>> {
    let mut octets = Vec::new();
    from.take(READ_LIMIT + 1).read_to_end(&mut octets)?;
    Ok(octets)
}

/// The real file system and environment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk;

impl Loader for Disk {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        // A pipe without a writer holds up whoever opens it, and a device may never end.
        let kind = std::fs::metadata(path)?.file_type();
        if kind.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        if !kind.is_file() {
            return Err(io::Error::other("not a regular file"));
        }
        read_bounded(File::open(path)?)
    }

    fn is_private(&self, path: &Path) -> bool {
        const OTHERS_READ: u32 = 0o004;
        std::fs::metadata(path).is_ok_and(|found| found.permissions().mode() & OTHERS_READ == 0)
    }

    fn glob(&self, pattern: &Path) -> io::Result<Vec<PathBuf>> {
        let mut found = vec![PathBuf::new()];
        for component in pattern.components() {
            let part = component.as_os_str();
            let Some(wild) = part.to_str().filter(|part| part.contains(['*', '?'])) else {
                for path in &mut found {
                    path.push(part);
                }
                continue;
            };
            let mut next = Vec::new();
            for directory in found {
                let listed = if directory.as_os_str().is_empty() {
                    Path::new(".")
                } else {
                    &directory
                };
                // As in Go's filepath.Glob, a directory that cannot be read holds no match.
                for entry in std::fs::read_dir(listed).into_iter().flatten().flatten() {
                    if entry
                        .file_name()
                        .to_str()
                        .is_some_and(|name| matches(wild, name))
                    {
                        next.push(directory.join(entry.file_name()));
                    }
                }
            }
            next.sort();
            found = next;
        }
        found.retain(|path| path.symlink_metadata().is_ok());
        Ok(found)
    }

    fn variable(&self, name: &str) -> Option<String> {
        std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
    }
}

/// Files and variables in memory, for tests and for text that has no file.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    files: BTreeMap<PathBuf, Vec<u8>>,
    variables: BTreeMap<String, String>,
}

impl Memory {
    /// Nothing at all.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a file.
    #[must_use]
    pub fn file(mut self, path: impl Into<PathBuf>, text: impl Into<Vec<u8>>) -> Self {
        self.files.insert(path.into(), text.into());
        self
    }

    /// Adds an environment variable.
    #[must_use]
    pub fn set(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.variables.insert(name.into(), value.into());
        self
    }
}

impl Loader for Memory {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.files
            .get(path)
            .cloned()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn glob(&self, pattern: &Path) -> io::Result<Vec<PathBuf>> {
        let wanted: Vec<_> = pattern
            .components()
            .map(|part| part.as_os_str().to_string_lossy())
            .collect();
        let same = |path: &&PathBuf| {
            let parts: Vec<_> = path
                .components()
                .map(|part| part.as_os_str().to_string_lossy())
                .collect();
            parts.len() == wanted.len()
                && wanted
                    .iter()
                    .zip(&parts)
                    .all(|(wanted, part)| matches(wanted, part))
        };
        Ok(self.files.keys().filter(same).cloned().collect())
    }

    fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).cloned()
    }
}

/// Whether a file name fits a pattern of `*` (any run) and `?` (any one); quadratic at worst, names are short.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), name.chars().collect());
    let (mut at, mut from, mut star) = (0, 0, None);
    while from < name.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, from));
                at += 1;
            }
            Some(&wanted) if wanted == '?' || wanted == name[from] => {
                at += 1;
                from += 1;
            }
            _ => match star {
                Some((back, taken)) => {
                    star = Some((back, taken + 1));
                    at = back + 1;
                    from = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|&rest| rest == '*')
}
