//! The tree that parsing makes: server blocks of directives of lines, nothing interpreted.
//!
//! Plain vectors in file order, so that a look from above is a loop; every token owns its text.

use std::path::PathBuf;

use crate::source::{FileId, Sources, Span};

/// One word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// The word after unquoting and after replacement of `{$ENV}` and `{%ENV%}`.
    pub text: String,
    /// Where it is written, also through imports and snippets.
    pub span: Span,
    /// Whether it is written in quotes.
    pub quoted: bool,
}

impl Token {
    /// The place of `len` octets of the text from `at` on; the whole word where text and file do not tell them apart, as behind a
    /// variable that was replaced.
    #[must_use]
    pub fn part(&self, at: usize, len: usize) -> Span {
        let quotes = |text: &str| match self.quoted {
            // A quote in a quoted word is written with a backslash.
            true => text.matches('"').count(),
            false => 0,
        };
        let edge = usize::from(self.quoted);
        let written = (self.span.end - self.span.start) as usize;
        let (Some(before), Some(part)) = (self.text.get(..at), self.text.get(at..)) else {
            return self.span;
        };
        if written != self.text.len() + quotes(&self.text) + 2 * edge {
            return self.span;
        }
        let part = part.get(..len).unwrap_or(part);
        let start = self.span.start as usize + edge + before.len() + quotes(before);
        let end = (start + part.len() + quotes(part)).max(start + 1);
        Span {
            start: start as u32,
            end: (end as u32).min(self.span.end),
            ..self.span
        }
    }
}

/// A whole configuration: imports expanded, snippets gone.
#[derive(Clone, Debug, Default)]
pub struct Corefile {
    /// Every text that was read.
    pub sources: Sources,
    /// The server blocks, in file order.
    pub blocks: Vec<ServerBlock>,
    /// Every file that was read or looked for, for watching.
    pub(crate) files: Vec<PathBuf>,
    /// Imported files that not everybody may read, with the import.
    pub private: Vec<(FileId, Span)>,
}

/// One server block.
#[derive(Clone, Debug)]
pub struct ServerBlock {
    /// What it serves: `[SCHEME://]ZONE[:PORT]`, not yet parsed (see [`crate::key`]).
    pub keys: Vec<Token>,
    /// Its directives, in file order; a repeated directive stays separate.
    pub directives: Vec<Directive>,
    /// From its first key to its closing brace.
    pub span: Span,
}

/// One line of a server block, with the block that it may open.
#[derive(Clone, Debug)]
pub struct Directive {
    /// The plugin's name.
    pub name: Token,
    /// The words behind it.
    pub args: Vec<Token>,
    /// What stands in braces.
    pub block: Option<Block>,
}

impl Directive {
    /// From its name to its last argument or closing brace, as far as both stand in one file.
    #[must_use]
    pub fn span(&self) -> Span {
        let end = match (&self.block, self.args.last()) {
            (Some(block), _) => block.close,
            (None, Some(arg)) => arg.span,
            (None, None) => self.name.span,
        };
        self.name.span.to(end)
    }
}

/// Lines between braces.
#[derive(Clone, Debug)]
pub struct Block {
    /// The opening brace.
    pub open: Span,
    /// The closing brace; the opening one again if there is none.
    pub close: Span,
    /// The lines.
    pub lines: Vec<Line>,
}

/// One line of a plugin's block.
#[derive(Clone, Debug)]
pub struct Line {
    /// The option's name and its arguments; empty only for a line that starts with `{`.
    pub words: Vec<Token>,
    /// A nested block.
    pub block: Option<Block>,
}

impl Corefile {
    /// Every file that was read or, named without a wildcard, was missing; in the order of reading, for watching.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        self.files.clone()
    }

    /// A text that changes exactly when the meaning does: words and structure, no places, comments or white space.
    #[must_use]
    pub fn canonical_json(&self) -> String {
        let blocks: Vec<_> = self.blocks.iter().map(canonical::server_block).collect();
        serde_json::Value::from(blocks).to_string()
    }
}

/// The tree as JSON values; only words and structure.
mod canonical {
    use super::{Block, Directive, ServerBlock, Token};
    use serde_json::{Value, json};

    /// One server block.
    pub(super) fn server_block(block: &ServerBlock) -> Value {
        let directives: Vec<_> = block.directives.iter().map(directive).collect();
        json!({ "keys": words(&block.keys), "body": directives })
    }

    /// One directive.
    fn directive(directive: &Directive) -> Value {
        json!([
            directive.name.text,
            words(&directive.args),
            directive.block.as_ref().map(lines)
        ])
    }

    /// The lines of one block.
    fn lines(block: &Block) -> Value {
        block
            .lines
            .iter()
            .map(|line| json!([words(&line.words), line.block.as_ref().map(lines)]))
            .collect()
    }

    /// A run of words.
    fn words(tokens: &[Token]) -> Value {
        tokens
            .iter()
            .map(|token| Value::from(token.text.as_str()))
            .collect()
    }
}

/// The Corefile in normal form: imports expanded, one directive a line, four spaces a level.
#[must_use]
pub fn show(corefile: &Corefile) -> String {
    let mut out = String::new();
    for (at, block) in corefile.blocks.iter().enumerate() {
        if at > 0 {
            out.push('\n');
        }
        write_words(&mut out, &block.keys);
        out.push_str(" {\n");
        for directive in &block.directives {
            out.push_str("    ");
            write_word(&mut out, &directive.name.text);
            if !directive.args.is_empty() {
                out.push(' ');
                write_words(&mut out, &directive.args);
            }
            write_block(&mut out, directive.block.as_ref(), 1);
        }
        out.push_str("}\n");
    }
    out
}

/// The block behind a line, or only the line's end.
fn write_block(out: &mut String, block: Option<&Block>, depth: usize) {
    let Some(block) = block else {
        out.push('\n');
        return;
    };
    out.push_str(" {\n");
    for line in &block.lines {
        out.push_str(&"    ".repeat(depth + 1));
        write_words(out, &line.words);
        write_block(out, line.block.as_ref(), depth + 1);
    }
    out.push_str(&"    ".repeat(depth));
    out.push_str("}\n");
}

/// Words with one space between.
fn write_words(out: &mut String, words: &[Token]) {
    for (at, word) in words.iter().enumerate() {
        if at > 0 {
            out.push(' ');
        }
        write_word(out, &word.text);
    }
}

/// One word, in quotes where the lexer needs them.
fn write_word(out: &mut String, word: &str) {
    let bare = !word.is_empty()
        && !word.starts_with('"')
        && !word.contains(|c: char| c.is_whitespace() || c == '#')
        && !word.ends_with(['{', '}'])
        && word != "import";
    if bare {
        out.push_str(word);
    } else {
        out.push('"');
        out.push_str(&word.replace('"', "\\\""));
        out.push('"');
    }
}
