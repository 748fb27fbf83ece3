//! Words to server blocks, by recursive descent over a stack of word lists.
//!
//! ```text
//!  frames   Corefile ─ import lan.conf ─ import (log)      the top one is read; at its end the one below goes on
//! ```
//!
//! An import pushes a frame, so nothing is copied but the words that end up in the tree. A file is read and lexed once,
//! however often it is imported. A frame that is being read and is asked for again is a cycle; expansions, words and
//! octets that come out of imports are bounded, so that a few lines cannot fill the memory.

mod body;
mod import;
mod variable;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::diagnostic::{Diagnostic, Report};
use crate::lexer::{Lexeme, lex};
use crate::source::{FileId, Loader, READ_LIMIT, Span};
use crate::syntax::{Corefile, ServerBlock, Token};

/// Octets that one file, and all files together, may have.
const OCTETS_LIMIT: usize = READ_LIMIT as usize;
/// Words and octets that imports may add to the tree.
const IMPORTED_WORDS_LIMIT: usize = 1_000_000;
const IMPORTED_OCTETS_LIMIT: usize = 64 << 20;

/// Parses a Corefile; what can be understood of it is returned beside what is wrong with it.
pub fn parse(name: &str, text: Vec<u8>, loader: &dyn Loader) -> (Corefile, Report) {
    let mut parser = Parser {
        loader,
        corefile: Corefile::default(),
        report: Report::new(),
        files: Vec::new(),
        by_path: HashMap::new(),
        snippets: HashMap::new(),
        missing: Vec::new(),
        frames: Vec::new(),
        open: Vec::new(),
        suspect: None,
        last: None,
        at_end: false,
        spent: Spent::default(),
    };
    let root = parser.add_file(PathBuf::from(name), text);
    parser.push_file(root);
    while parser.peek().is_some() {
        parser.server_block();
    }
    parser.leftovers(root);
    (parser.corefile, parser.report)
}

/// Everything that parsing remembers.
struct Parser<'a> {
    loader: &'a dyn Loader,
    corefile: Corefile,
    report: Report,
    /// By [`FileId`].
    files: Vec<File>,
    by_path: HashMap<PathBuf, FileId>,
    snippets: HashMap<String, Snippet>,
    /// Names that were imported and not found, with the index of the message.
    missing: Vec<(String, usize)>,
    frames: Vec<Frame>,
    /// The braces that are open now.
    open: Vec<Span>,
    /// A brace whose closing one stands further left than the line that opened it.
    suspect: Option<(Span, Span)>,
    /// The word that was taken last.
    last: Option<(String, Span)>,
    /// Whether the end of the file was already reported as unexpected.
    at_end: bool,
    spent: Spent,
}

/// What imports have used up.
#[derive(Default)]
struct Spent {
    expansions: usize,
    words: usize,
    octets: usize,
    read: usize,
    over: bool,
}

/// A file that was read.
struct File {
    path: PathBuf,
    lexemes: Rc<[Lexeme]>,
    /// Opening braces less closing ones.
    unclosed: i64,
}

/// A named run of words.
struct Snippet {
    name: Span,
    lexemes: Rc<[Lexeme]>,
    start: usize,
    end: usize,
    /// Whether it was imported.
    used: bool,
}

/// A run of words that is being read.
struct Frame {
    origin: Origin,
    lexemes: Rc<[Lexeme]>,
    start: usize,
    at: usize,
    end: usize,
    /// Whether its next word starts a line, whatever stands before it: at its start, and behind an import.
    fresh: bool,
}

/// What a frame stands for.
#[derive(Clone, PartialEq, Eq)]
enum Origin {
    File(FileId),
    Snippet(String),
}

/// What the next word is, without taking it.
#[derive(Clone, Copy)]
struct Next {
    kind: Kind,
    /// Whether it starts a line.
    first: bool,
    span: Span,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Open,
    Close,
    Import,
    Word,
}

impl Parser<'_> {
    /// Reads a text into the sources and lexes it.
    fn add_file(&mut self, path: PathBuf, octets: Vec<u8>) -> FileId {
        let name = path.display().to_string();
        self.spent.read += octets.len();
        let too_big = self.spent.read > OCTETS_LIMIT;
        let octets = if too_big { Vec::new() } else { octets };
        let (mut text, broken) = match String::from_utf8(octets) {
            Ok(text) => (text, None),
            Err(wrong) => {
                let at = wrong.utf8_error().valid_up_to();
                (
                    String::from_utf8_lossy(wrong.as_bytes()).into_owned(),
                    Some(at),
                )
            }
        };
        let mark = if text.starts_with('\u{feff}') {
            '\u{feff}'.len_utf8()
        } else {
            0
        };
        text.drain(..mark);
        let file = self.corefile.sources.add(&name, text);
        if too_big {
            self.report.push(
                Diagnostic::error(
                    "CF0119",
                    format!("too much text: more than {} MiB", OCTETS_LIMIT >> 20),
                )
                .at(
                    Span {
                        file,
                        start: 0,
                        end: 0,
                    },
                    "not read",
                ),
            );
        }
        if let Some(at) = broken {
            // The replacement character has three octets and stands where the first broken one stood.
            let start = (at - mark) as u32;
            self.report.push(
                Diagnostic::error("CF0114", "not UTF-8")
                    .at(
                        Span {
                            file,
                            start,
                            end: start + 3,
                        },
                        "the first octet that is not",
                    )
                    .note("a Corefile is UTF-8; CoreDNS would replace each such octet by U+FFFD"),
            );
        }
        let lexemes = lex(file, self.corefile.sources.text(file), &mut self.report);
        let unclosed = lexemes
            .iter()
            .map(|word| i64::from(word.is("{")) - i64::from(word.is("}")))
            .sum();
        self.by_path.insert(import::clean(&path), file);
        self.corefile.files.push(path.clone());
        self.files.push(File {
            path,
            lexemes: lexemes.into(),
            unclosed,
        });
        file
    }

    /// Reads on in a file.
    fn push_file(&mut self, file: FileId) {
        let Some(entry) = self.files.get(file.0 as usize) else {
            return;
        };
        let lexemes = Rc::clone(&entry.lexemes);
        let end = lexemes.len();
        self.frames.push(Frame {
            origin: Origin::File(file),
            lexemes,
            start: 0,
            at: 0,
            fresh: true,
            end,
        });
    }

    /// What comes next; frames that are read to their end are dropped.
    fn peek(&mut self) -> Option<Next> {
        while self
            .frames
            .last()
            .is_some_and(|frame| frame.at >= frame.end)
        {
            self.frames.pop();
            if let Some(below) = self.frames.last_mut() {
                below.fresh = true;
            }
        }
        let frame = self.frames.last()?;
        let lexeme = &frame.lexemes[frame.at];
        let kind = if lexeme.is("{") {
            Kind::Open
        } else if lexeme.is("}") {
            Kind::Close
        } else if lexeme.is("import") {
            Kind::Import
        } else {
            Kind::Word
        };
        Some(Next {
            kind,
            first: lexeme.first || frame.fresh,
            span: lexeme.span,
        })
    }

    /// Takes the next word as it is.
    fn take(&mut self) -> Option<Lexeme> {
        self.peek()?;
        let imported = self.frames.len() > 1;
        let frame = self.frames.last_mut()?;
        let lexeme = frame.lexemes[frame.at].clone();
        frame.at += 1;
        frame.fresh = false;
        self.last = Some((lexeme.text.chars().take(40).collect(), lexeme.span));
        if imported {
            self.spent.words += 1;
            self.spent.octets += lexeme.text.len();
            if self.spent.words > IMPORTED_WORDS_LIMIT || self.spent.octets > IMPORTED_OCTETS_LIMIT
            {
                self.imported_too_much(lexeme.span);
            }
        }
        Some(lexeme)
    }

    /// Takes the next word, variables replaced.
    fn take_token(&mut self) -> Option<Token> {
        let Lexeme {
            text, span, quoted, ..
        } = self.take()?;
        let text = self.replace_variables(text, span);
        Some(Token { text, span, quoted })
    }

    /// One server block or snippet.
    fn server_block(&mut self) {
        self.suspect = None;
        let mut keys = self.keys();
        let ends_here = self
            .peek()
            .is_some_and(|next| next.first && next.kind != Kind::Open);
        let glued = match keys.last_mut().filter(|_| ends_here) {
            Some(key) => self.glued_open(key),
            None => None,
        };
        let name = match keys.as_slice() {
            [key] => key
                .text
                .strip_prefix('(')
                .and_then(|rest| rest.strip_suffix(')'))
                .map(str::to_owned),
            _ => None,
        };
        if let (Some(name), [key]) = (name, keys.as_slice()) {
            self.snippet(name, key.span);
            return;
        }
        let Some(next) = self.peek() else {
            if let Some(first) = keys.first() {
                let span = keys.iter().fold(first.span, |span, key| span.to(key.span));
                self.corefile.blocks.push(ServerBlock {
                    keys,
                    directives: Vec::new(),
                    span,
                });
            }
            return;
        };
        let mut open = (next.kind == Kind::Open).then_some(next.span);
        if open.is_some() {
            self.take();
        }
        open = open.or(glued);
        let start = keys.first().map_or(next.span, |key| key.span);
        let (directives, end) = self.directives(open);
        if !keys.is_empty() {
            self.corefile.blocks.push(ServerBlock {
                keys,
                directives,
                span: start.to(end),
            });
        } else if let Some(open) = open {
            self.report.push(
                Diagnostic::warning("CF0110", "a server block without a zone serves nothing")
                    .at(open, "no zone before this `{`")
                    .note("CoreDNS ignores such a block silently")
                    .help("write the zone that it serves; `.` is every name"),
            );
        }
    }

    /// The keys before a server block: the rest of the line, and the next lines after a comma.
    fn keys(&mut self) -> Vec<Token> {
        let mut keys: Vec<Token> = Vec::new();
        let mut comma: Option<Span> = None;
        let mut started = false;
        loop {
            let Some(next) = self.peek() else {
                if let Some(comma) = comma {
                    self.report.push(
                        Diagnostic::error(
                            "CF0108",
                            "Unexpected EOF: another zone is expected after the comma",
                        )
                        .at(comma, "this comma needs one")
                        .help("drop the comma")
                        .replace(comma, ""),
                    );
                }
                break;
            };
            if started && comma.is_none() && next.first {
                break;
            }
            match next.kind {
                Kind::Import if next.first => self.import(),
                Kind::Open => {
                    if let Some(comma) = comma {
                        self.report.push(
                            Diagnostic::error(
                                "CF0108",
                                "Expected another address but had '{' - check for extra comma",
                            )
                            .at(comma, "this comma needs another zone")
                            .help("drop the comma")
                            .replace(comma, ""),
                        );
                    }
                    break;
                }
                Kind::Close => {
                    self.take();
                    self.stray_close(next.span);
                    if !started {
                        break;
                    }
                }
                Kind::Import | Kind::Word => {
                    started = true;
                    let Some(token) = self.take_token() else {
                        break;
                    };
                    comma = self.key(token, &mut keys);
                }
            }
        }
        keys
    }

    /// Adds one key; the place of the comma that ends it.
    fn key(&mut self, mut token: Token, keys: &mut Vec<Token>) -> Option<Span> {
        if token.text.is_empty() {
            return None;
        }
        let mut comma = None;
        if token.text.ends_with(',') {
            token.text.pop();
            let end = token.span.end - u32::from(token.quoted);
            let place = Span {
                start: end.saturating_sub(1),
                end,
                ..token.span
            };
            let written = self.corefile.sources.slice(place) == ",";
            comma = Some(if written { place } else { token.span });
            if written && !token.quoted {
                token.span.end = place.start;
            }
        }
        if token.text.contains(',') {
            let apart: Vec<_> = token
                .text
                .split(',')
                .filter(|part| !part.is_empty())
                .collect();
            self.report.push(
                Diagnostic::warning(
                    "CF0111",
                    format!("a comma inside the zone `{}`", token.text),
                )
                .at(token.span, "one zone, though a list was probably meant")
                .note("only a comma at the end of a word separates zones")
                .help("write a space after each comma")
                .replace(token.span, apart.join(", ")),
            );
        }
        keys.push(token);
        comma
    }

    /// A closing brace where nothing is open.
    fn stray_close(&mut self, span: Span) {
        let message = "Unexpected '}' because no matching opening brace";
        while self.peek().is_some_and(|next| next.kind == Kind::Close) {
            self.take();
        }
        // At the very end CoreDNS takes it for the name of one more zone, and starts.
        let diagnostic = if self.peek().is_none() {
            Diagnostic::warning("CF0105", message)
                .note("CoreDNS would serve a zone named `}.`; it is ignored here")
        } else {
            Diagnostic::error("CF0105", message)
        };
        self.report.push(
            diagnostic
                .at(span, "closes nothing")
                .help("drop it")
                .replace(span, ""),
        );
    }

    /// Keeps the words of a snippet for later.
    fn snippet(&mut self, name: String, place: Span) {
        let open = match self.peek() {
            Some(next) if next.kind == Kind::Open => next.span,
            next => {
                let found = next
                    .map_or("", |next| self.corefile.sources.slice(next.span))
                    .to_owned();
                self.report.push(
                    Diagnostic::error(
                        "CF0117",
                        format!("Syntax error: Unexpected token '{found}', expecting '{{'"),
                    )
                    .at(place, "a snippet needs braces")
                    .help(format!("write `({name}) {{`")),
                );
                self.skip_to_close();
                return;
            }
        };
        self.take();
        let Some(frame) = self.frames.last_mut() else {
            return;
        };
        let (start, mut depth) = (frame.at, 1usize);
        while frame.at < frame.end && depth > 0 {
            let word = &frame.lexemes[frame.at];
            depth = if word.is("{") {
                depth + 1
            } else {
                depth - usize::from(word.is("}"))
            };
            frame.at += 1;
        }
        let end = if depth == 0 { frame.at - 1 } else { frame.at };
        let lexemes = Rc::clone(&frame.lexemes);
        if depth > 0 {
            self.report.push(
                Diagnostic::error(
                    "CF0101",
                    format!("the snippet `{name}` is not closed: a `}}` is missing"),
                )
                .at(open, "this `{` is never closed")
                .beside(place, "in this snippet"),
            );
        }
        for at in start..end {
            let own = lexemes[at].is("import") && (at == start || lexemes[at].first);
            if own && lexemes.get(at + 1).is_some_and(|word| word.text == name) && at + 1 < end {
                self.imports_itself(
                    &format!("snippet `{name}`"),
                    lexemes[at].span.to(lexemes[at + 1].span),
                );
            }
        }
        if let Some(earlier) = self.snippets.get(&name) {
            self.report.push(
                Diagnostic::error(
                    "CF0115",
                    format!("redeclaration of previously declared snippet {name}"),
                )
                .at(place, "declared again here")
                .beside(earlier.name, "first declared here")
                .help("give one of them another name"),
            );
            return;
        }
        for &(_, index) in self.missing.iter().filter(|(missing, _)| *missing == name) {
            self.report.amend(
                index,
                place,
                "a snippet must be declared above its first use",
            );
        }
        self.snippets.insert(
            name,
            Snippet {
                name: place,
                lexemes,
                start,
                end,
                used: false,
            },
        );
    }

    /// Snippets of the first file that nobody imports. Files of snippets are shared among Corefiles, so theirs are not told.
    fn leftovers(&mut self, root: FileId) {
        if self.report.has_errors() {
            return;
        }
        let unused = self
            .snippets
            .iter()
            .filter(|(_, snippet)| !snippet.used && snippet.name.file == root);
        let mut unused: Vec<_> = unused
            .map(|(name, snippet)| (snippet.name, name.clone()))
            .collect();
        unused.sort();
        for (place, name) in unused {
            self.report.push(
                Diagnostic::warning("CF0314", format!("the snippet `{name}` is never imported"))
                    .at(place, "it has no effect")
                    .help(format!(
                        "write `import {name}` in a server block, or remove the snippet"
                    )),
            );
        }
    }

    /// Skips to behind the next closing brace that is not opened on the way.
    fn skip_to_close(&mut self) {
        let mut depth = 0usize;
        while let Some(next) = self.peek() {
            self.take();
            match next.kind {
                Kind::Open => depth += 1,
                Kind::Close if depth == 0 => return,
                Kind::Close => depth -= 1,
                Kind::Import | Kind::Word => {}
            }
        }
    }

    /// The directory that a file's imports are relative to.
    fn directory(&self, file: FileId) -> &Path {
        self.files
            .get(file.0 as usize)
            .and_then(|file| file.path.parent())
            .unwrap_or(Path::new(""))
    }
}

#[cfg(test)]
mod tests;
