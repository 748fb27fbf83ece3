//! `import`: a snippet by its name, else a file or a glob beside the file that imports.

use std::io;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use super::{Frame, IMPORTED_WORDS_LIMIT, Origin, Parser};
use crate::diagnostic::{Diagnostic, nearest};
use crate::source::{FileId, Span};
use crate::syntax::Token;

/// Imports that one Corefile may expand, as in CoreDNS.
const EXPANSIONS_LIMIT: usize = 10_000;

impl Parser<'_> {
    /// Takes an import's line and reads on in what it names.
    pub(super) fn import(&mut self) {
        let Some(import) = self.take().map(|lexeme| lexeme.span) else {
            return;
        };
        let Some(pattern) = self.argument() else {
            self.report.push(
                Diagnostic::error(
                    "CF0106",
                    "Wrong argument count or unexpected line ending after 'import'",
                )
                .at(
                    import,
                    "expected the name of a snippet, a file or a glob pattern after this",
                ),
            );
            return;
        };
        let place = import.to(pattern.span);
        let extra = self.rest_of_line();
        if let Some(extra) = extra {
            let diagnostic = Diagnostic::error(
                "CF0106",
                "Import takes only one argument (glob pattern or file)",
            );
            let diagnostic = diagnostic
                .at(extra, "one too many")
                .beside(place, "the import ends here");
            self.report
                .push(if self.snippets.contains_key(&pattern.text) {
                    diagnostic.note("a snippet takes no arguments")
                } else {
                    diagnostic
                        .help("write one `import` per line; quote a file name that has spaces")
                });
            if !self.snippets.contains_key(&pattern.text) {
                return;
            }
        }
        if pattern.text.is_empty() {
            self.report.push(
                Diagnostic::error("CF0106", "Import requires a non-empty filepath")
                    .at(pattern.span, "empty, perhaps after variables were replaced"),
            );
            return;
        }
        if self.spent.over {
            return;
        }
        self.spent.expansions += 1;
        if self.spent.expansions > EXPANSIONS_LIMIT {
            self.imported_too_much(place);
            return;
        }
        if self.snippets.contains_key(&pattern.text) {
            self.import_snippet(&pattern, place);
        } else {
            self.import_files(&pattern, place);
        }
    }

    /// The next word, if it stands on the line that is being read.
    fn argument(&mut self) -> Option<Token> {
        let frame = self.frames.last()?;
        let lexeme = frame.lexemes[..frame.end].get(frame.at)?;
        if lexeme.first || lexeme.is("{") || lexeme.is("}") {
            return None;
        }
        self.take_token()
    }

    /// Skips what is left of the line, a block too; where it starts. A closing brace stays, to close what is open.
    fn rest_of_line(&mut self) -> Option<Span> {
        let mut start = None;
        loop {
            let Some(frame) = self.frames.last() else {
                return start;
            };
            let Some(lexeme) = frame.lexemes[..frame.end]
                .get(frame.at)
                .filter(|lexeme| !lexeme.first)
            else {
                return start;
            };
            let (span, opens) = (lexeme.span, lexeme.is("{"));
            start = start.or(Some(span));
            if lexeme.is("}") {
                return start;
            }
            self.take();
            if opens {
                self.skip_to_close();
            }
        }
    }

    /// Reads on in a snippet.
    fn import_snippet(&mut self, name: &Token, place: Span) {
        let origin = Origin::Snippet(name.text.clone());
        if self.is_being_read(&origin) {
            self.imports_itself(&format!("snippet `{}`", name.text), place);
            return;
        }
        if let Some(snippet) = self.snippets.get_mut(&name.text) {
            snippet.used = true;
            let (start, end) = (snippet.start, snippet.end);
            self.frames.push(Frame {
                origin,
                lexemes: Rc::clone(&snippet.lexemes),
                start,
                fresh: true,
                at: start,
                end,
            });
        }
    }

    /// Reads on in the files that a pattern names.
    fn import_files(&mut self, pattern: &Token, place: Span) {
        let path = clean(&self.directory(pattern.span.file).join(&pattern.text));
        let shown = path.display().to_string();
        let many = |c| shown.matches(c).count() > 1;
        if many('*') || many('?') || (shown.contains('[') && shown.contains(']')) {
            self.report.push(
                Diagnostic::error(
                    "CF0506",
                    format!(
                        "Glob pattern may only contain one wildcard (*), but has others: {}",
                        pattern.text
                    ),
                )
                .at(pattern.span, "expected one `*` at most"),
            );
            return;
        }
        if !shown.contains(['*', '?', '[', ']']) {
            self.import_file(&path, pattern, place);
            return;
        }
        match self.loader.glob(&path) {
            Ok(found) if found.is_empty() => {
                self.report.push(
                    Diagnostic::note_of(
                        "CF0504",
                        format!("No files matching import glob pattern: {}", pattern.text),
                    )
                    .at(pattern.span, format!("nothing matches `{shown}`")),
                );
            }
            Ok(found) => {
                // The first file has to lie on top; each is read before the next is begun.
                let files: Vec<_> = found
                    .iter()
                    .filter_map(|path| self.load(path, pattern, place))
                    .collect();
                files
                    .into_iter()
                    .rev()
                    .for_each(|file| self.push_file(file));
            }
            Err(wrong) => self.report.push(
                Diagnostic::error(
                    "CF0505",
                    format!("Failed to use import pattern {}: {wrong}", pattern.text),
                )
                .at(pattern.span, ""),
            ),
        }
    }

    /// Reads on in one file.
    fn import_file(&mut self, path: &Path, pattern: &Token, place: Span) {
        if let Some(file) = self.load(path, pattern, place) {
            self.push_file(file);
        }
    }

    /// A file by its path, read once; none if it cannot be read or is being read already.
    fn load(&mut self, path: &Path, pattern: &Token, place: Span) -> Option<FileId> {
        if let Some(&file) = self.by_path.get(path) {
            if self.is_being_read(&Origin::File(file)) {
                self.imports_itself(&format!("file `{}`", path.display()), place);
                return None;
            }
            return Some(file);
        }
        match self.loader.read(path) {
            Ok(octets) => {
                let file = self.add_file(path.to_owned(), octets);
                if self.loader.is_private(path) {
                    self.corefile.private.push((file, pattern.span));
                }
                Some(file)
            }
            Err(wrong) if wrong.kind() == io::ErrorKind::NotFound => {
                self.not_found(path, pattern);
                None
            }
            Err(wrong) => {
                self.report.push(
                    Diagnostic::error(
                        "CF0505",
                        format!("Could not import {}: {wrong}", path.display()),
                    )
                    .at(pattern.span, "cannot be read"),
                );
                None
            }
        }
    }

    /// Neither a snippet nor a file.
    fn not_found(&mut self, path: &Path, pattern: &Token) {
        if !self.corefile.files.iter().any(|known| known == path) {
            self.corefile.files.push(path.to_owned());
        }
        let diagnostic = Diagnostic::error(
            "CF0503",
            format!("File to import not found: {}", pattern.text),
        )
        .at(
            pattern.span,
            format!(
                "no snippet of this name is declared above, and there is no file `{}`",
                path.display()
            ),
        );
        let diagnostic = match nearest(&pattern.text, self.snippets.keys().map(String::as_str)) {
            Some(near) => diagnostic
                .help("a snippet has a similar name")
                .replace(pattern.span, near),
            None => diagnostic,
        };
        let index = self.report.len();
        self.report.push(diagnostic);
        if self.report.len() > index {
            self.missing.push((pattern.text.clone(), index));
        }
    }

    /// Whether a frame of this origin has been begun and is not at its end.
    fn is_being_read(&self, origin: &Origin) -> bool {
        self.frames
            .iter()
            .any(|frame| frame.origin == *origin && frame.at > frame.start)
    }

    /// A cycle; CoreDNS runs into its limit and says so.
    pub(super) fn imports_itself(&mut self, what: &str, place: Span) {
        let kind = if what.starts_with('s') {
            "snippet"
        } else {
            "file"
        };
        let message = format!(
            "maximum {kind} import depth ({EXPANSIONS_LIMIT}) exceeded: {what} imports itself"
        );
        self.report.push(
            Diagnostic::error("CF0116", message)
                .at(place, "imports what is being read already")
                .help("drop this import"),
        );
    }

    /// More than any Corefile needs: nothing is imported from now on, and the first file is read to its end.
    pub(super) fn imported_too_much(&mut self, place: Span) {
        if std::mem::replace(&mut self.spent.over, true) {
            return;
        }
        self.frames.truncate(1);
        self.report.push(
            Diagnostic::error(
                "CF0116",
                format!("maximum snippet import depth ({EXPANSIONS_LIMIT}) exceeded"),
            )
            .at(
                place,
                "the imports grow without limit; this one is the first that is too many",
            )
            .note(format!(
                "imports may add {IMPORTED_WORDS_LIMIT} words and 64 MiB at most"
            )),
        );
    }
}

/// A path without `.` and `x/..`, by its letters alone, as Go's `filepath.Join` makes it.
pub(super) fn clean(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir
                if matches!(out.components().next_back(), Some(Component::Normal(_))) =>
            {
                out.pop();
            }
            Component::ParentDir
                if matches!(out.components().next_back(), Some(Component::RootDir)) => {}
            part => out.push(part),
        }
    }
    out
}
