//! Master files, copied with the files that they include.
//!
//! `$INCLUDE` starts from the working directory in BIND, and from the file's own directory here. So every file is copied into one
//! directory, and the names behind `$INCLUDE` become those of the copies.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use crate::import::model::{Name, Output};
use crate::import::reading::Files;
use crate::import::render::file_name;
use crate::import::report::Report;

/// The files copied so far.
#[derive(Default)]
pub(super) struct Masters {
    pub(super) outputs: Vec<Output>,
    /// What each file is called in the output.
    copies: BTreeMap<PathBuf, String>,
}

impl Masters {
    /// Copies a zone's file; its path in the output.
    pub(super) fn copy(
        &mut self,
        path: &Path,
        base: &Path,
        zone: &Name,
        files: &mut Files,
        report: &mut Report,
    ) -> io::Result<String> {
        let name = format!("{}.zone", file_name(zone));
        self.one(path, base, &name, files, report)
    }

    fn one(
        &mut self,
        path: &Path,
        base: &Path,
        name: &str,
        files: &mut Files,
        report: &mut Report,
    ) -> io::Result<String> {
        let known = path.canonicalize()?;
        if let Some(copy) = self.copies.get(&known) {
            return Ok(copy.clone());
        }
        let text = files.open(path)?;
        let copy = self.free(name);
        self.copies.insert(known, copy.clone());
        let mut out = String::with_capacity(text.text.len());
        for (index, line) in text.text.lines().enumerate() {
            match included(line) {
                None => out.push_str(line),
                Some(named) => {
                    let inner = base.join(named.trim_matches('"'));
                    let name = inner.file_name().unwrap_or_default().to_string_lossy();
                    match self.one(&inner, base, &name, files, report) {
                        Ok(copied) => {
                            let copied = copied.strip_prefix("zones/").unwrap_or(&copied);
                            out.push_str(&line.replacen(named, copied, 1));
                        }
                        Err(error) => {
                            let why = format!("{} cannot be read: {error}", inner.display());
                            report.left(&text.place(index + 1), line, &why, "");
                            out.push_str("; ");
                            out.push_str(line);
                        }
                    }
                }
            }
            out.push('\n');
        }
        files.close();
        self.outputs.push(Output {
            path: copy.clone(),
            text: out,
        });
        Ok(copy)
    }

    /// A path that no other file has.
    fn free(&self, name: &str) -> String {
        let plain: String = name
            .chars()
            .map(|c| {
                if c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_') {
                    c
                } else {
                    '_'
                }
            })
            .collect();
        let taken = |path: &String| self.copies.values().any(|one| one == path);
        let first = format!("zones/{plain}");
        if !taken(&first) {
            return first;
        }
        let numbered = (2..).map(|number| format!("zones/{number}.{plain}"));
        numbered
            .into_iter()
            .find(|path| !taken(path))
            .unwrap_or(first)
    }
}

/// The file name of an `$INCLUDE`, as it is written.
fn included(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace();
    let first = words.next()?;
    if !first.eq_ignore_ascii_case("$INCLUDE") || line.starts_with(char::is_whitespace) {
        return None;
    }
    words
        .next()
        .map(|word| word.split(';').next().unwrap_or(word))
}
