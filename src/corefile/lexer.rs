//! Text to words: one pass, no backtracking, every word with its octets' place.
//!
//! White space separates; a word that starts with `"` runs to the next `"` that no backslash precedes, over line ends;
//! `#` starts a comment; `\r` outside quotes is dropped. Where CoreDNS's lexer surprises, this one does the same and
//! warns: a quote that is never closed swallows the rest of the file, and a `#` inside a word ends that word but not
//! what follows the next space.

use crate::diagnostic::{Diagnostic, Report};
use crate::source::{FileId, Span};

/// A word as it stands in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lexeme {
    /// Unquoted, variables not replaced.
    pub(crate) text: String,
    pub(crate) span: Span,
    pub(crate) quoted: bool,
    /// Whether a line end lies between it and the word before it.
    pub(crate) first: bool,
}

impl Lexeme {
    /// Whether it is this bare word: a quoted brace or `import` is only a word.
    pub(crate) fn is(&self, word: &str) -> bool {
        !self.quoted && self.text == word
    }
}

/// Splits a text into words.
pub(crate) fn lex(file: FileId, text: &str, report: &mut Report) -> Vec<Lexeme> {
    let mut lexer = Lexer {
        file,
        text,
        at: 0,
        first: true,
    };
    std::iter::from_fn(|| lexer.next(report)).collect()
}

/// Where in the text the next word is looked for.
struct Lexer<'a> {
    file: FileId,
    text: &'a str,
    at: usize,
    first: bool,
}

impl Lexer<'_> {
    /// The next word.
    fn next(&mut self, report: &mut Report) -> Option<Lexeme> {
        let start = self.skip_to_word()?;
        let (text, quoted) = if self.text.as_bytes()[start] == b'"' {
            (self.quoted(start, report)?, true)
        } else {
            (self.bare(start, report), false)
        };
        let first = std::mem::replace(&mut self.first, false);
        Some(Lexeme {
            text,
            span: self.span(start, self.at),
            quoted,
            first,
        })
    }

    /// Skips white space and comments.
    fn skip_to_word(&mut self) -> Option<usize> {
        let mut comment = false;
        for (at, c) in self.text[self.at..].char_indices() {
            if c == '\n' {
                self.first = true;
                comment = false;
            } else if c == '#' {
                comment = true;
            } else if !comment && !c.is_whitespace() {
                return Some(self.at + at);
            }
        }
        None
    }

    /// A word in quotes, `start` at the opening one.
    fn quoted(&mut self, start: usize, report: &mut Report) -> Option<String> {
        let mut word = String::new();
        let mut escaped = false;
        for (at, c) in self.text[start + 1..].char_indices() {
            match c {
                '"' if !escaped => {
                    self.at = start + 1 + at + 1;
                    return Some(word);
                }
                '\\' if !escaped => {
                    escaped = true;
                    continue;
                }
                _ => {
                    if escaped && c != '"' {
                        word.push('\\');
                    }
                    word.push(c);
                    escaped = false;
                }
            }
        }
        self.at = self.text.len();
        let end = start
            + self.text[start..]
                .find('\n')
                .unwrap_or(self.text.len() - start);
        report.push(
            Diagnostic::warning("CF0112", "this quote is never closed")
                .at(
                    self.span(start, end),
                    "the rest of the file is one word from here on",
                )
                .note("CoreDNS reads it the same way, without a word about it")
                .help("write the closing `\"`"),
        );
        // As CoreDNS: an opening quote that nothing follows is no word.
        (!word.is_empty()).then_some(word)
    }

    /// A word without quotes.
    fn bare(&mut self, start: usize, report: &mut Report) -> String {
        let rest = &self.text[start..];
        let ends = |c: char| c == '#' || (c.is_whitespace() && c != '\r');
        let length = rest.find(ends).unwrap_or(rest.len());
        self.at = start + length;
        let word: String = rest[..length].chars().filter(|&c| c != '\r').collect();
        if rest[length..].starts_with('#') {
            // CoreDNS forgets at the next space that it is in a comment: what follows are words again.
            let comment = rest[length..]
                .find(|c: char| c.is_whitespace() && c != '\r')
                .unwrap_or(rest.len() - length);
            let hash = self.at;
            self.at += comment;
            report.push(
                Diagnostic::warning(
                    "CF0113",
                    "`#` inside a word starts a comment that ends at the next space",
                )
                .at(
                    self.span(hash, self.at),
                    format!("dropped; the word is `{word}`"),
                )
                .note(
                    "CoreDNS does the same: the text after the next space on this line is read as words again",
                )
                .help(
                    "write a space before the comment, or quote the word if the `#` belongs to it",
                )
                .replace(self.span(hash, hash), " "),
            );
        }
        // The line's `\r` is no part of the word's place.
        while self.text[..self.at].ends_with('\r') && self.at > start + 1 {
            self.at -= 1;
        }
        word
    }

    /// A place in this file.
    fn span(&self, start: usize, end: usize) -> Span {
        Span {
            file: self.file,
            start: start as u32,
            end: end as u32,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The words and whether each starts a line.
    fn words(text: &str) -> Vec<(String, bool)> {
        lex(FileId(0), text, &mut Report::new())
            .into_iter()
            .map(|lexeme| (lexeme.text, lexeme.first))
            .collect()
    }

    #[test]
    fn words_and_lines() {
        let table: &[(&str, &[(&str, bool)])] = &[
            ("", &[]),
            (" \t\r\n", &[]),
            ("a b\nc", &[("a", true), ("b", false), ("c", true)]),
            ("a\r\nb\r\n", &[("a", true), ("b", true)]),
            ("a # comment { }\nb", &[("a", true), ("b", true)]),
            (
                "a# comment\nb",
                &[("a", true), ("comment", false), ("b", true)],
            ),
            ("foo#bar\nb", &[("foo", true), ("b", true)]),
            ("# only", &[]),
            ("\"a b\" c", &[("a b", true), ("c", false)]),
            (
                "\"a\nb\" c\nd",
                &[("a\nb", true), ("c", false), ("d", true)],
            ),
            (r#""say \"hi\" \n \\""#, &[(r#"say "hi" \n \\"#, true)]),
            ("a\"b c\"", &[("a\"b", true), ("c\"", false)]),
            ("\"a\"b", &[("a", true), ("b", false)]),
            ("\"\" x", &[("", true), ("x", false)]),
            ("a{ { }b", &[("a{", true), ("{", false), ("}b", false)]),
            ("x \"open\ny", &[("x", true), ("open\ny", false)]),
            ("x \"", &[("x", true)]),
            (
                "a\u{a0}b\u{2003}c",
                &[("a", true), ("b", false), ("c", false)],
            ),
        ];
        for (text, wanted) in table {
            let wanted: Vec<_> = wanted
                .iter()
                .map(|&(word, first)| (word.to_owned(), first))
                .collect();
            assert_eq!(words(text), wanted, "{text:?}");
        }
    }

    #[test]
    fn places_are_those_of_the_file() {
        let text = "é \"q\\\"\" wörd#c\r\nx\r\n";
        let mut report = Report::new();
        let written: Vec<_> = lex(FileId(0), text, &mut report)
            .iter()
            .map(|lexeme| &text[lexeme.span.start as usize..lexeme.span.end as usize])
            .collect();
        assert_eq!(written, ["é", "\"q\\\"\"", "wörd#c", "x"]);
        assert_eq!(
            report.iter().map(|found| found.code).collect::<Vec<_>>(),
            ["CF0113"]
        );
    }
}
