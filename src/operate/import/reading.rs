//! Files that a configuration names, read within bounds: includes may form a circle, and files may be anything.

use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::import::report::{Place, Report};

/// Octets of all files together.
const MOST_OCTETS: u64 = 256 << 20;
/// Files that are opened.
const MOST_FILES: usize = 4_096;
/// How deep files include files.
const MOST_DEPTH: usize = 16;
/// Octets of a line. Nothing that these formats say needs more.
const LONGEST: usize = 65_536;

/// The files read so far, and those that are being read.
#[derive(Debug, Default)]
pub(super) struct Files {
    octets: u64,
    count: usize,
    /// From the first file to the one that is being read.
    open: Vec<PathBuf>,
}

/// The text of a file.
#[derive(Debug)]
pub(super) struct Text {
    pub(super) file: Rc<str>,
    pub(super) text: String,
}

impl Text {
    pub(super) fn place(&self, line: usize) -> Place {
        Place {
            file: Rc::clone(&self.file),
            line,
        }
    }

    /// The lines with their places; those that no such file has are reported and passed over.
    pub(super) fn lines<'a, 'r>(
        &'a self,
        report: &'r mut Report,
    ) -> impl Iterator<Item = (Place, &'a str)> + use<'a, 'r> {
        let lines = self.text.lines().enumerate();
        lines.filter_map(move |(index, line)| {
            let place = self.place(index + 1);
            let why = if line.len() > LONGEST {
                format!("longer than {LONGEST} bytes")
            } else if line.contains(['\0', '\u{fffd}']) {
                "not text".to_owned()
            } else {
                return Some((place, line));
            };
            report.left(&place, line, &why, "");
            None
        })
    }
}

impl Files {
    /// Reads a file that the configuration consists of; [`Files::close`] says that all in it was read.
    pub(super) fn open(&mut self, path: &Path) -> io::Result<Text> {
        let known = path.canonicalize()?;
        if self.open.contains(&known) {
            return Err(io::Error::other("it includes itself"));
        }
        if self.open.len() >= MOST_DEPTH {
            let why = format!("files include files more than {MOST_DEPTH} deep");
            return Err(io::Error::other(why));
        }
        let text = self.read(path)?;
        self.open.push(known);
        Ok(text)
    }

    /// The file that was opened last was read to its end.
    pub(super) fn close(&mut self) {
        self.open.pop();
    }

    /// Reads a file that includes nothing.
    pub(super) fn read(&mut self, path: &Path) -> io::Result<Text> {
        if self.count >= MOST_FILES {
            let why = format!("more than {MOST_FILES} files");
            return Err(io::Error::other(why));
        }
        let octets = host::regular::read(path, MOST_OCTETS.saturating_sub(self.octets))?;
        self.count += 1;
        self.octets += octets.len() as u64;
        Ok(Text {
            file: path.display().to_string().into(),
            text: String::from_utf8(octets)
                .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()),
        })
    }

    /// The files of a directory in the order of their names, without hidden ones and drafts of editors.
    pub(super) fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let is_draft = name.starts_with(['.', '#']) || name.ends_with('~');
            if !is_draft && entry.path().is_file() {
                found.push(entry.path());
            }
            if found.len() > MOST_FILES {
                let why = format!("more than {MOST_FILES} files");
                return Err(io::Error::other(why));
            }
        }
        found.sort();
        Ok(found)
    }

    /// The files that a pattern stands for, with `*` and `?` in its last component; a path without them is itself.
    pub(super) fn matching(&self, pattern: &Path) -> io::Result<Vec<PathBuf>> {
        let name = pattern.file_name().unwrap_or_default().to_string_lossy();
        if !name.contains(['*', '?']) {
            return Ok(vec![pattern.to_owned()]);
        }
        let folder = pattern.parent().unwrap_or(Path::new("."));
        let mut found = self.list(folder)?;
        found.retain(|path| {
            let one = path.file_name().unwrap_or_default().to_string_lossy();
            is_like(one.as_bytes(), name.as_bytes())
        });
        Ok(found)
    }
}

/// Whether a text is like a pattern with `*` and `?`; in linear space, and in time of the product of the lengths.
pub(super) fn is_like(text: &[u8], pattern: &[u8]) -> bool {
    let (mut t, mut p) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(&octet) if octet == b'?' || octet == text[t] => {
                t += 1;
                p += 1;
            }
            _ => {
                let Some((at, from)) = star else { return false };
                star = Some((at, from + 1));
                p = at + 1;
                t = from + 1;
            }
        }
    }
    pattern[p..].iter().all(|octet| *octet == b'*')
}
