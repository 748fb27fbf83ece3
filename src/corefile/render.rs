//! A report as text for people and as JSON for machines.
//!
//! The text is drawn by annotate-snippets from a window of lines around each diagnostic's places, so that a large file
//! costs what is shown of it. After [`SHOWN`] diagnostics the rest is counted only.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Patch, Renderer, Snippet};
use serde_json::{Value, json};

use crate::diagnostic::{Diagnostic, Fix, Label, Report, Severity};
use crate::source::{FileId, Sources, Span};

/// Diagnostics that are drawn.
const SHOWN: usize = 100;
/// Octets of one line that are drawn: what is longer than a screen helps nobody.
const LINE_LIMIT: usize = 4_096;

impl Report {
    /// The report as rustc would show it: errors and warnings in the order of finding, and one line that counts them.
    #[must_use]
    pub fn render(&self, sources: &Sources, colour: bool) -> String {
        let renderer = if colour {
            Renderer::styled()
        } else {
            Renderer::plain()
        };
        let mut out = String::new();
        for diagnostic in self.iter().take(SHOWN) {
            out.push_str(&diagnostic.render(sources, &renderer));
            out.push_str("\n\n");
        }
        if self.len() > SHOWN {
            let _ = writeln!(out, "… and {} more\n", self.len() - SHOWN);
        }
        if let Some(verdict) = self.verdict() {
            let _ = writeln!(out, "{verdict}");
        }
        out
    }

    /// How many errors and warnings there are, in words; none if there are none.
    #[must_use]
    pub fn verdict(&self) -> Option<String> {
        let kinds = [
            (Severity::Error, "error"),
            (Severity::Warning, "warning"),
            (Severity::Note, "note"),
        ];
        let counted: Vec<_> = kinds
            .iter()
            .filter_map(|(severity, what)| {
                let number = self
                    .iter()
                    .filter(|found| found.severity == *severity)
                    .count();
                match number {
                    0 => None,
                    1 => Some(format!("1 {what}")),
                    number => Some(format!("{number} {what}s")),
                }
            })
            .collect();
        (!counted.is_empty()).then(|| counted.join(", "))
    }

    /// The report as a JSON array; lines and columns count from 1, columns in characters.
    #[must_use]
    pub fn to_json(&self, sources: &Sources) -> String {
        Value::from(
            self.iter()
                .map(|diagnostic| diagnostic.to_value(sources))
                .collect::<Vec<_>>(),
        )
        .to_string()
    }
}

impl Diagnostic {
    /// Draws one diagnostic.
    fn render(&self, sources: &Sources, renderer: &Renderer) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
            Severity::Note => Level::NOTE,
        };
        let mut group =
            Group::with_title(level.primary_title(one_line(&self.message)).id(self.code));
        let main = self.span().map(|span| span.file);
        let mut files: Vec<FileId> = main.into_iter().collect();
        for label in &self.labels {
            if !files.contains(&label.span.file) {
                files.push(label.span.file);
            }
        }
        for file in files {
            let labels: Vec<&Label> = self
                .labels
                .iter()
                .filter(|label| label.span.file == file)
                .collect();
            let window = Window::around(sources, file, labels.iter().map(|label| label.span));
            let snippet = Snippet::source(window.text.clone())
                .line_start(window.line)
                .path(one_line(sources.name(file)))
                .annotations(labels.iter().map(|label| {
                    let kind = if label.primary {
                        AnnotationKind::Primary
                    } else {
                        AnnotationKind::Context
                    };
                    let text = (!label.text.is_empty()).then(|| one_line(&label.text));
                    kind.span(window.range(label.span)).label(text)
                }));
            group = group.element(snippet);
        }
        for note in &self.notes {
            group = group.element(Level::NOTE.message(printable(note)));
        }
        let mut groups = vec![];
        match (&self.fix, &self.help) {
            (Some(fix), help) => {
                groups.push(group);
                groups.push(self.fix_group(fix, help.as_deref().unwrap_or("write"), sources));
            }
            (None, Some(help)) => groups.push(group.element(Level::HELP.message(printable(help)))),
            (None, None) => groups.push(group),
        }
        renderer.render(&groups)
    }

    /// The edit, drawn as a patch.
    fn fix_group<'a>(&self, fix: &'a Fix, title: &'a str, sources: &'a Sources) -> Group<'a> {
        let window = Window::around(sources, fix.span.file, [fix.span]);
        let patch = Patch::new(window.range(fix.span), printable(&fix.replacement));
        let snippet = Snippet::source(window.text.clone())
            .line_start(window.line)
            .path(one_line(sources.name(fix.span.file)));
        Level::HELP
            .secondary_title(one_line(title))
            .element(snippet.patch(patch))
    }

    /// One object of the JSON array.
    fn to_value(&self, sources: &Sources) -> Value {
        let place = |span: Span| {
            let (line, column) = sources.line_column(span);
            let (end_line, end_column) = sources.position(span.file, span.end);
            json!({
                "file": sources.name(span.file), "line": line, "column": column,
                "end_line": end_line, "end_column": end_column,
            })
        };
        let mut value = self.span().map_or_else(|| json!({}), place);
        let labels = self.labels.iter().map(|label| {
            let mut value = place(label.span);
            value["text"] = label.text.as_str().into();
            value["primary"] = label.primary.into();
            value
        });
        value["code"] = self.code.into();
        value["severity"] = match self.severity {
            Severity::Error => "error".into(),
            Severity::Warning => "warning".into(),
            Severity::Note => "note".into(),
        };
        value["message"] = self.message.as_str().into();
        value["labels"] = labels.collect();
        value["notes"] = self.notes.iter().map(String::as_str).collect();
        value["help"] = self.help.as_deref().into();
        value["fix"] = self.fix.as_ref().map_or(Value::Null, |fix| {
            let mut value = place(fix.span);
            value["replacement"] = fix.replacement.as_str().into();
            value
        });
        value
    }
}

/// The lines around some places.
struct Window<'a> {
    text: Cow<'a, str>,
    /// Number of its first line.
    line: usize,
    /// Offset of its first octet in the file.
    start: usize,
}

impl<'a> Window<'a> {
    /// From the first line that a place touches to the last.
    fn around(
        sources: &'a Sources,
        file: FileId,
        places: impl IntoIterator<Item = Span>,
    ) -> Window<'a> {
        let text = sources.text(file);
        let (mut low, mut high) = (text.len(), 0);
        for place in places {
            low = low.min((place.start as usize).min(text.len()));
            high = high.max((place.end as usize).min(text.len()));
        }
        let low = low.min(high);
        let span = Span {
            file,
            start: low as u32,
            end: low as u32,
        };
        let mut start = sources.line_start(span);
        if low - start > LINE_LIMIT {
            start = text.floor_char_boundary(low - LINE_LIMIT);
        }
        let end = text[high..]
            .find('\n')
            .unwrap_or(text.len() - high)
            .min(LINE_LIMIT)
            + high;
        let text = &text[start..text.ceil_char_boundary(end)];
        let text = if text.contains(steers) {
            Cow::Owned(harmless(text))
        } else {
            Cow::Borrowed(text)
        };
        Window {
            text,
            line: sources.line_column(span).0,
            start,
        }
    }

    /// A place as a range within the window.
    fn range(&self, span: Span) -> Range<usize> {
        let within = |at: u32| {
            (at as usize)
                .saturating_sub(self.start)
                .min(self.text.len())
        };
        let start = self.text.floor_char_boundary(within(span.start));
        let end = self.text.ceil_char_boundary(within(span.end));
        start..end.max(start)
    }
}

/// Whether a character could steer a terminal or reorder what it shows.
fn steers(c: char) -> bool {
    (c.is_control() && c != '\n' && c != '\t')
        || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Source text without such characters, every octet at its place.
fn harmless(text: &str) -> String {
    let stand_in = |c: char| match c {
        '\r' => ' ',
        c if !steers(c) => c,
        c => match c.len_utf8() {
            1 => '?',
            2 => '·',
            _ => '\u{fffd}',
        },
    };
    text.chars().map(stand_in).collect()
}

/// The same on one line.
fn one_line(text: &str) -> String {
    printable(text).replace('\n', "\\n")
}

/// Text without what could steer a terminal; a long word is cut.
fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars().take(1_000) {
        match c {
            '\n' => out.push('\n'),
            c if steers(c) => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    out
}
