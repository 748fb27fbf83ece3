//! What stands inside a server block: directives, their blocks, and where a brace is missing.

use super::{Kind, Next, Parser};
use crate::diagnostic::Diagnostic;
use crate::source::{FileId, Span};
use crate::syntax::{Block, Directive, Line, Token};

/// Braces within braces; a Corefile needs three.
const DEPTH_LIMIT: usize = 64;

impl Parser<'_> {
    /// The directives up to the closing brace, or up to the end where no brace is open; and where they end.
    pub(super) fn directives(&mut self, open: Option<Span>) -> (Vec<Directive>, Span) {
        let mut directives = Vec::new();
        self.open.extend(open);
        let mut end = self.last.as_ref().map_or(
            Span {
                file: FileId(0),
                start: 0,
                end: 0,
            },
            |&(_, span)| span,
        );
        loop {
            let Some(next) = self.peek() else {
                if let Some(open) = open {
                    self.never_closed(open, "expecting '}'");
                }
                break;
            };
            if open.is_some() && self.starts_server_block(next) {
                self.missing_close(next);
                break;
            }
            match next.kind {
                Kind::Close => {
                    self.take();
                    end = next.span;
                    if open.is_none() {
                        self.stray_close(next.span);
                    }
                    break;
                }
                Kind::Import => self.import(),
                Kind::Open => self.open_without_owner(next, &mut directives),
                Kind::Word => {
                    if let Some(directive) = self.directive() {
                        end = directive.span();
                        directives.push(directive);
                    }
                }
            }
        }
        if open.is_some() {
            self.open.pop();
        }
        (directives, end)
    }

    /// One directive with its block.
    fn directive(&mut self) -> Option<Directive> {
        let name = self.take_token()?;
        let mut directive = Directive {
            name,
            args: Vec::new(),
            block: None,
        };
        while let Some(next) = self.peek() {
            if next.first {
                let last = directive.args.last_mut().unwrap_or(&mut directive.name);
                if let Some(open) = self.glued_open(last) {
                    directive.block = self.block_behind(open, &directive.name);
                }
                // CoreDNS's parser takes a brace on the next line and its plugins do not: refuse it here, at its place.
                break;
            }
            match next.kind {
                Kind::Open if directive.block.is_none() => {
                    directive.block = self.block(&directive.name)
                }
                Kind::Close => {
                    self.close_on_directive_line(next, &directive.name);
                    break;
                }
                _ if directive.block.is_some() => {
                    self.words_after_close(&directive.name);
                    break;
                }
                _ => directive.args.extend(self.take_token()),
            }
        }
        Some(directive)
    }

    /// A plugin's block, the opening brace not yet taken.
    fn block(&mut self, owner: &Token) -> Option<Block> {
        let open = self.take()?.span;
        self.block_behind(open, owner)
    }

    /// A plugin's block whose opening brace stands at `open`.
    fn block_behind(&mut self, open: Span, owner: &Token) -> Option<Block> {
        if self.open.len() >= DEPTH_LIMIT {
            self.report.push(
                Diagnostic::error("CF0119", format!("more than {DEPTH_LIMIT} braces are open"))
                    .at(open, "too deep; skipped to its end"),
            );
            self.skip_to_close();
            return None;
        }
        self.open.push(open);
        let mut block = Block {
            open,
            close: open,
            lines: Vec::new(),
        };
        loop {
            let Some(next) = self.peek() else {
                self.never_closed(open, "Unexpected EOF");
                break;
            };
            if self.starts_server_block(next) {
                self.missing_close(next);
                break;
            }
            match next.kind {
                Kind::Close => {
                    self.take();
                    block.close = next.span;
                    self.close_of_block(open, next, block.lines.last());
                    break;
                }
                Kind::Import if next.first => self.import(),
                Kind::Open => {
                    self.report.push(
                        Diagnostic::error("CF0103", "Unexpected token '{'")
                            .at(next.span, "a `{` must be on the line of its option"),
                    );
                    self.take();
                    self.skip_to_close();
                }
                Kind::Import | Kind::Word => {
                    let mut line = self.line(owner);
                    let close = self.glued_close(&mut line);
                    block.lines.push(line);
                    if let Some(close) = close {
                        block.close = close;
                        break;
                    }
                }
            }
        }
        self.open.pop();
        Some(block)
    }

    /// One line of a plugin's block.
    fn line(&mut self, owner: &Token) -> Line {
        let mut line = Line {
            words: self.take_token().into_iter().collect(),
            block: None,
        };
        while let Some(next) = self.peek() {
            if next.first || next.kind == Kind::Close {
                break;
            }
            if next.kind == Kind::Open {
                line.block = self.block(owner);
                break;
            }
            line.words.extend(self.take_token());
        }
        line
    }

    /// Looks at how a block was closed: on an option's line, or further left than it was opened.
    fn close_of_block(&mut self, open: Span, close: Next, last: Option<&Line>) {
        if close.first {
            let elsewhere = close.span.file != open.file;
            if elsewhere || self.indent(close.span) < self.indent(open) {
                self.suspect.get_or_insert((open, close.span));
            }
        } else if let Some(word) = last
            .filter(|line| line.block.is_none())
            .and_then(|line| line.words.last())
        {
            self.report.push(
                Diagnostic::warning("CF0109", "`}` on the line of an option")
                    .at(close.span, "read as the end of the block")
                    .beside(word.span, "CoreDNS reads the `}` as another argument")
                    .help("write `}` on its own line"),
            );
        }
    }

    /// A `{` at the end of the last word of a line, without a space before it; the word is left without it.
    pub(super) fn glued_open(&mut self, word: &mut Token) -> Option<Span> {
        if word.quoted || word.text.len() < 2 || !word.text.ends_with('{') {
            return None;
        }
        word.text.pop();
        let brace = Span {
            start: word.span.end.saturating_sub(1),
            ..word.span
        };
        word.span.end = brace.start;
        self.report.push(
            Diagnostic::error("CF0122", "`{` needs a space before it")
                .at(brace, format!("read as the end of `{}`", word.text))
                .note("CoreDNS reads the brace as a part of the word")
                .help("write a space")
                .replace(brace, " {"),
        );
        if let Some(file) = self.files.get_mut(brace.file.0 as usize) {
            file.unclosed += 1;
        }
        Some(brace)
    }

    /// A `}` at the end of the last word of an option's line, where the file has a brace too few.
    fn glued_close(&mut self, line: &mut Line) -> Option<Span> {
        let word = line.words.last_mut().filter(|_| line.block.is_none())?;
        let unclosed = self
            .files
            .get(word.span.file.0 as usize)
            .is_some_and(|file| file.unclosed > 0);
        if word.quoted || !unclosed || word.text.contains('{') || !word.text.ends_with('}') {
            return None;
        }
        word.text.pop();
        let brace = Span {
            start: word.span.end.saturating_sub(1),
            ..word.span
        };
        word.span.end = brace.start;
        if word.text.is_empty() {
            line.words.pop();
        }
        self.report.push(
            Diagnostic::error("CF0122", "`}` needs its own line")
                .at(brace, "read as the end of the block")
                .note("CoreDNS reads the brace as a part of the word")
                .help("write it on the next line")
                .replace(brace, "\n}"),
        );
        if let Some(file) = self.files.get_mut(brace.file.0 as usize) {
            file.unclosed -= 1;
        }
        Some(brace)
    }

    /// `{` where a directive is expected.
    fn open_without_owner(&mut self, next: Next, directives: &mut [Directive]) {
        let diagnostic = Diagnostic::error("CF0103", "Unexpected token '{'");
        match directives
            .last_mut()
            .filter(|directive| directive.block.is_none())
        {
            Some(directive) => {
                let end = directive
                    .args
                    .last()
                    .map_or(directive.name.span, |arg| arg.span)
                    .after();
                let between = Span {
                    end: next.span.end,
                    ..end
                };
                let text = format!("must be on the line of `{}`", directive.name.text);
                let mut diagnostic = diagnostic
                    .at(next.span, text)
                    .beside(directive.name.span, "it belongs to this");
                if between.file == next.span.file && between.start < between.end {
                    diagnostic = diagnostic.help("move it up").replace(between, " {");
                }
                self.report.push(diagnostic);
                directive.block = self.block(&directive.name.clone());
            }
            None => {
                self.report
                    .push(diagnostic.at(next.span, "a directive is expected here"));
                self.take();
                self.skip_to_close();
            }
        }
    }

    /// `}` behind a directive on its line; it is left to close the server block.
    fn close_on_directive_line(&mut self, next: Next, name: &Token) {
        self.report.push(
            Diagnostic::error("CF0105", "Unexpected '}' because no matching opening brace")
                .at(
                    next.span,
                    format!("on the line of `{}`, which opens no block", name.text),
                )
                .help("write `}` on its own line"),
        );
    }

    /// Words behind a block's closing brace, on its line.
    fn words_after_close(&mut self, name: &Token) {
        let Some(word) = self.take_token() else {
            return;
        };
        self.report.push(
            Diagnostic::error(
                "CF0104",
                format!(
                    "Unexpected token '{}' after the block of `{}`",
                    word.text, name.text
                ),
            )
            .at(word.span, "a line ends at the `}`")
            .note(format!("CoreDNS passes it to `{}`", name.text))
            .help("write it on its own line"),
        );
        while let Some(next) = self
            .peek()
            .filter(|next| !next.first && next.kind != Kind::Close)
        {
            self.take();
            if next.kind == Kind::Open {
                self.skip_to_close();
            }
        }
    }

    /// Whether this is the first line of a server block although braces are open: it starts in the first column, ends
    /// with `{`, looks like a zone, and the file has more opening braces than closing ones.
    fn starts_server_block(&self, next: Next) -> bool {
        let unclosed = self
            .files
            .get(next.span.file.0 as usize)
            .is_some_and(|file| file.unclosed > 0);
        let same_file = self
            .open
            .last()
            .is_some_and(|open| open.file == next.span.file);
        if !unclosed
            || !same_file
            || !next.first
            || next.kind != Kind::Word
            || self.indent(next.span) != 0
        {
            return false;
        }
        let Some(frame) = self.frames.last() else {
            return false;
        };
        let line = &frame.lexemes[frame.at..frame.end];
        let words = 1 + line[1..].iter().take_while(|word| !word.first).count();
        line[0].text.contains(['.', ':', '(']) && line[words - 1].is("{") && words > 1
    }

    /// A closing brace is missing before a line that starts a server block.
    fn missing_close(&mut self, next: Next) {
        let found = self.corefile.sources.slice(next.span).to_owned();
        let message = format!("Syntax error: Unexpected token '{found}', expecting '}}'");
        if let Some(file) = self.files.get_mut(next.span.file.0 as usize) {
            file.unclosed -= 1;
        }
        let Some(&open) = self.open.last() else {
            return;
        };
        let diagnostic = self.blame(Diagnostic::error("CF0101", message), open);
        self.report
            .push(diagnostic.beside(next.span, "a server block seems to start here"));
    }

    /// The end of the file within braces: one message for all that are open.
    fn never_closed(&mut self, open: Span, what: &str) {
        if std::mem::replace(&mut self.at_end, true) {
            return;
        }
        if let Some(&(_, place)) = self.last.as_ref()
            && self.report.blame_quote(place, open)
        {
            return;
        }
        let message = match (&self.last, what) {
            (Some((word, _)), "expecting '}'") if word != "}" => {
                format!("Syntax error: Unexpected token '{word}', {what}")
            }
            (_, "expecting '}'") => {
                "Unexpected EOF, expecting '}': a server block is not closed".to_owned()
            }
            _ => format!("{what}: a block is not closed"),
        };
        let mut diagnostic = self.blame(Diagnostic::error("CF0101", message), open);
        for &outer in self.open.iter().rev().filter(|&&outer| outer != open) {
            diagnostic = diagnostic.beside(outer, "nor is this one");
        }
        self.report.push(diagnostic);
    }

    /// Points at the brace that is most likely the one that is not closed.
    fn blame(&self, diagnostic: Diagnostic, open: Span) -> Diagnostic {
        let diagnostic = match self.suspect {
            Some((inner, close)) if inner.file != open.file || inner.start > open.start => {
                diagnostic
                    .at(inner, "this `{` seems not to be closed")
                    .beside(
                        close,
                        "closes it, although its indentation belongs to another",
                    )
                    .beside(open, "so this one stays open")
            }
            _ => diagnostic.at(open, "this `{` is never closed"),
        };
        diagnostic.help("write `}` on its own line at the end of the block")
    }

    /// How many octets of white space start the line of a place.
    fn indent(&self, span: Span) -> usize {
        let line = self.corefile.sources.line_start(span);
        let text = self
            .corefile
            .sources
            .text(span.file)
            .get(line..)
            .unwrap_or("");
        text.len() - text.trim_start_matches([' ', '\t']).len()
    }
}
