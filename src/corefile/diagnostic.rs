//! What is wrong, where, and what to write instead.
//!
//! A [`Diagnostic`] is built where the mistake is known and rendered where it is shown. A [`Report`] keeps them in the
//! order of finding and drops exact repetitions: a mistake in a snippet that is used five times is one mistake.

use std::collections::HashSet;

use crate::source::{FileId, Sources, Span};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// The Corefile is refused.
    Error,
    /// It is served, though hardly as meant.
    Warning,
    /// It is served as meant; worth a look, and no reason to refuse anything.
    Note,
}

/// A place, and what is to say about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// The place.
    pub span: Span,
    /// A few words; may be empty.
    pub text: String,
    /// Whether this is the mistake itself, and not something beside it.
    pub primary: bool,
}

/// An edit that puts the mistake right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fix {
    /// What to replace; an empty span is an insertion.
    pub span: Span,
    /// What to write there.
    pub replacement: String,
}

impl Fix {
    /// What is replaced in the text of its file. What is taken out takes with it the line where nothing else stands, or the blanks that
    /// would be left behind the last word or twice between two.
    #[must_use]
    pub fn replaced(&self, text: &str) -> Span {
        const BLANK: [char; 2] = [' ', '\t'];
        let (start, end) = (self.span.start as usize, self.span.end as usize);
        let (Some(above), Some(below)) = (text.get(..start), text.get(end..)) else {
            return self.span;
        };
        if !self.replacement.is_empty() || self.span.start == self.span.end {
            return self.span;
        }
        let before = above.trim_end_matches(BLANK);
        let after = below.trim_start_matches(BLANK);
        let rest = after.strip_prefix('\r').unwrap_or(after);
        let begins = before.is_empty() || before.ends_with('\n');
        let (start, end) = match (begins, rest.strip_prefix('\n')) {
            (true, Some(next)) => (before.len(), text.len() - next.len()),
            (true, None) if rest.is_empty() => (before.len(), text.len()),
            (false, Some(_)) => (before.len(), text.len() - after.len()),
            (_, None) if begins || before.len() < start => (start, text.len() - after.len()),
            _ => return self.span,
        };
        Span {
            start: start as u32,
            end: end as u32,
            ..self.span
        }
    }
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// A stable code, explained in [`crate::codes`].
    pub code: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// One line.
    pub message: String,
    /// Places; the first primary one names the diagnostic's line.
    pub labels: Vec<Label>,
    /// Background.
    pub notes: Vec<String>,
    /// What to do.
    pub help: Option<Box<str>>,
    /// The edit that does it.
    pub fix: Option<Box<Fix>>,
}

impl Diagnostic {
    /// A mistake that refuses the Corefile.
    pub fn error(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(code, Severity::Error, message.into())
    }

    /// A mistake that is survived.
    pub fn warning(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(code, Severity::Warning, message.into())
    }

    /// What is no mistake, and still worth a look.
    pub fn note_of(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(code, Severity::Note, message.into())
    }

    /// No places yet.
    fn new(code: &'static str, severity: Severity, message: String) -> Self {
        Self {
            code,
            severity,
            message,
            labels: Vec::new(),
            notes: Vec::new(),
            help: None,
            fix: None,
        }
    }

    /// The place of the mistake, with a few words under the caret (may be empty).
    #[must_use]
    pub fn at(mut self, span: Span, text: impl Into<String>) -> Self {
        self.labels.push(Label {
            span,
            text: text.into(),
            primary: true,
        });
        self
    }

    /// A place that explains the mistake.
    #[must_use]
    pub fn beside(mut self, span: Span, text: impl Into<String>) -> Self {
        self.labels.push(Label {
            span,
            text: text.into(),
            primary: false,
        });
        self
    }

    /// Background, under the source.
    #[must_use]
    pub fn note(mut self, text: impl Into<String>) -> Self {
        self.notes.push(text.into());
        self
    }

    /// What to do about it; the title of the fix if there is one.
    #[must_use]
    pub fn help(mut self, text: impl Into<String>) -> Self {
        self.help = Some(text.into().into());
        self
    }

    /// The edit that puts it right.
    #[must_use]
    pub fn replace(mut self, span: Span, replacement: impl Into<String>) -> Self {
        self.fix = Some(Box::new(Fix {
            span,
            replacement: replacement.into(),
        }));
        self
    }

    /// Where the mistake is: the first primary place.
    #[must_use]
    pub fn span(&self) -> Option<Span> {
        self.labels
            .iter()
            .find(|label| label.primary)
            .or(self.labels.first())
            .map(|label| label.span)
    }
}

/// All mistakes that were found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    found: Vec<Diagnostic>,
    seen: HashSet<(&'static str, Option<Span>, String)>,
}

impl Report {
    /// Nothing found yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a mistake, unless this very one is already there.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        if self.seen.insert((
            diagnostic.code,
            diagnostic.span(),
            diagnostic.message.clone(),
        )) {
            self.found.push(diagnostic);
        }
    }

    /// Adds what another report found.
    pub fn extend(&mut self, other: impl IntoIterator<Item = Diagnostic>) {
        for diagnostic in other {
            self.push(diagnostic);
        }
    }

    /// Leaves out of what was found since there were `before` mistakes all that `keep` does not keep.
    pub fn retain_since(&mut self, before: usize, keep: impl Fn(&Diagnostic) -> bool) {
        let later = self.found.split_off(before.min(self.found.len()));
        for diagnostic in later {
            if keep(&diagnostic) {
                self.found.push(diagnostic);
            } else {
                let (code, span) = (diagnostic.code, diagnostic.span());
                self.seen.remove(&(code, span, diagnostic.message));
            }
        }
    }

    /// Adds a place to a mistake that is already in the report.
    pub(crate) fn amend(&mut self, index: usize, span: Span, text: &str) {
        if let Some(diagnostic) = self.found.get_mut(index) {
            diagnostic.labels.push(Label {
                span,
                text: text.to_owned(),
                primary: false,
            });
        }
    }

    /// Makes a quote that swallowed the end of a block an error, so that the block's end is not reported as well.
    pub(crate) fn blame_quote(&mut self, word: Span, open: Span) -> bool {
        let open_quote = |found: &&mut Diagnostic| {
            found.code == "CF0112"
                && found
                    .span()
                    .is_some_and(|place| place.file == word.file && place.start == word.start)
        };
        let Some(quote) = self.found.iter_mut().find(open_quote) else {
            return false;
        };
        quote.severity = Severity::Error;
        quote.message = "Unexpected EOF: this quote is never closed".to_owned();
        quote.labels.push(Label {
            span: open,
            text: "so this block is not closed either".to_owned(),
            primary: false,
        });
        true
    }

    /// Whether the Corefile must be refused.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.found
            .iter()
            .any(|diagnostic| diagnostic.severity == Severity::Error)
    }

    /// Whether something was survived.
    #[must_use]
    pub fn has_warnings(&self) -> bool {
        self.found
            .iter()
            .any(|diagnostic| diagnostic.severity == Severity::Warning)
    }

    /// Leaves out the warnings of these codes. A mistake stays one.
    pub fn allow(&mut self, codes: &[String]) {
        self.found.retain(|found| {
            let is_allowed = |code: &String| code.eq_ignore_ascii_case(found.code);
            found.severity == Severity::Error || !codes.iter().any(is_allowed)
        });
    }

    /// Leaves out what only follows from a variable that is not set: its value is not known here, so that nothing can be said of the
    /// lines that it stands in.
    pub fn forget_consequences(&mut self, sources: &Sources) {
        let line = |span: Span| (span.file, sources.line_column(span).0);
        let holes: HashSet<_> = self
            .found
            .iter()
            .filter(|found| found.code == "CF0501")
            .filter_map(|found| found.span().map(line))
            .collect();
        if !holes.is_empty() {
            self.found.retain(|found| {
                found.code == "CF0501"
                    || found.span().is_none_or(|span| !holes.contains(&line(span)))
            });
        }
    }

    /// Says of mistakes in files that not everybody may read only that they are there: what such a file holds is nobody's business but
    /// its owner's. `imports` are these files, each with the import that named it.
    pub fn keep_private(&mut self, imports: &[(FileId, Span)], sources: &Sources) {
        for (file, import) in imports {
            let inside =
                |found: &Diagnostic| found.labels.iter().any(|label| label.span.file == *file);
            if !self.found.iter().any(inside) {
                continue;
            }
            self.found.retain(|found| !inside(found));
            let name = sources.name(*file);
            self.push(
                Diagnostic::error("CF0507", format!("{name} is no part of a Corefile"))
                    .at(*import, "there are mistakes in this file")
                    .note("the file is not readable for everyone, so its content is not shown"),
            );
        }
    }

    /// The mistakes, in the order of finding.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.found.iter()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.found.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }
}

impl IntoIterator for Report {
    type Item = Diagnostic;
    type IntoIter = std::vec::IntoIter<Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.found.into_iter()
    }
}

impl<'a> IntoIterator for &'a Report {
    type Item = &'a Diagnostic;
    type IntoIter = std::slice::Iter<'a, Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.found.iter()
    }
}

/// The known word that `word` was most likely meant to be, if one is near enough.
///
/// Optimal string alignment distance (insertions, deletions, substitutions, swaps of neighbours), case-insensitive;
/// near enough is a third of the longer word's length, at least one edit.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word: Vec<char> = word.chars().take(64).flat_map(char::to_lowercase).collect();
    known
        .into_iter()
        .filter_map(|candidate| {
            let other: Vec<char> = candidate
                .chars()
                .take(64)
                .flat_map(char::to_lowercase)
                .collect();
            let far = distance(&word, &other);
            (far <= (word.len().max(other.len()) / 3).max(1) && far < other.len())
                .then_some((far, candidate))
        })
        .min_by_key(|&(far, _)| far)
        .map(|(_, candidate)| candidate)
}

/// Optimal string alignment distance, in three rows.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    let mut row = last.clone();
    for i in 1..=a.len() {
        row[0] = i;
        for j in 1..=b.len() {
            let substituted = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = substituted.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        std::mem::swap(&mut before, &mut last);
        std::mem::swap(&mut last, &mut row);
    }
    last[b.len()]
}
