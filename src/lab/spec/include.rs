//! `include`: files that a lab takes in, each once, before what includes it, so that the including file has the last word.

use std::path::{Path, PathBuf};

use corefile::{Diagnostic, FileId, Report, Sources, Span};
use toml::de::DeTable;

use super::mistake;
use super::reader::{Reader, place};

/// A file of a lab.
pub(super) struct File {
    /// Its place in messages.
    pub(super) id: FileId,
    /// What is in it.
    pub(super) text: String,
    path: PathBuf,
}

impl File {
    /// A reader of it.
    pub(super) fn reader<'r>(&'r self, report: &'r mut Report) -> Reader<'r> {
        Reader {
            file: self.id,
            text: &self.text,
            report,
        }
    }
}

/// Gathers `path`, whose text is at hand, behind all that it includes; nothing when one of them is no TOML.
pub(super) fn gather(
    path: &Path,
    text: &str,
    (sources, report): (&mut Sources, &mut Report),
    files: &mut Vec<File>,
) -> Option<()> {
    let mut open = Vec::new();
    one(path, text, (sources, report), (files, &mut open))
}

/// The same below the files that are `open`.
fn one(
    path: &Path,
    text: &str,
    (sources, report): (&mut Sources, &mut Report),
    (files, open): (&mut Vec<File>, &mut Vec<PathBuf>),
) -> Option<()> {
    let file = File {
        id: sources.add(&path.display().to_string(), text.to_owned()),
        text: text.to_owned(),
        path: real(path),
    };
    let (root, errors) = DeTable::parse_recoverable(&file.text);
    for error in &errors {
        let span = error.span().unwrap_or(0..0);
        report.push(invalid(error.message(), &file.text, place(file.id, span)));
    }
    if !errors.is_empty() {
        return None;
    }
    let value = root
        .get_ref()
        .iter()
        .find(|(key, _)| key.get_ref() == "include");
    let wanted = value
        .map(|(_, value)| file.reader(report).strings(value, "include"))
        .unwrap_or_default();
    drop(root);
    open.push(file.path.clone());
    let mut whole = Some(());
    for included in wanted {
        let name = &included.value;
        let beside = path.parent().unwrap_or(Path::new("")).join(name);
        let target = real(&beside);
        if open.contains(&target) {
            let message = format!("`{name}` includes itself, directly or through another file");
            report.push(mistake("LAB0110", message, included.span, ""));
            whole = None;
            continue;
        }
        if files.iter().any(|other| other.path == target) {
            continue;
        }
        match crate::input::read(&beside) {
            Ok(text) => {
                let read = one(
                    &beside,
                    &text,
                    (&mut *sources, &mut *report),
                    (&mut *files, &mut *open),
                );
                whole = whole.and(read);
            }
            Err(error) => {
                let message = format!("`{name}` cannot be read: {error}");
                report.push(mistake("LAB0110", message, included.span, ""));
                whole = None;
            }
        }
    }
    open.pop();
    files.push(file);
    whole
}

/// One name for one file.
fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_path_buf())
}

/// What is no TOML, with what was meant where that is plain.
fn invalid(message: &str, text: &str, span: Span) -> Diagnostic {
    let message = message.lines().next().unwrap_or("invalid TOML");
    let found = mistake("LAB0001", message, span, "");
    let word = text
        .get(span.start as usize..span.end as usize)
        .unwrap_or("");
    let has = |part: &str| message.contains(part);
    if has("must be quoted") {
        let quoted = format!("\"{}\"", word.trim());
        return found.help("write it in quotes").replace(span, quoted);
    }
    if has("unclosed table") {
        return found.help("the name of a table ends with `]`");
    }
    if has("duplicate key") {
        return found
            .help("a key may appear only once in its table; write several values as a list: [\"…\", \"…\"]");
    }
    if has("basic string") {
        return found.help("the string has no end: `\"` is missing");
    }
    found
}
