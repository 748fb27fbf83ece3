//! The words of a template: text, and within `{{ }}` the tokens of actions.
//!
//! The whole text becomes a list of items, so that the parser looks ahead by an index. A mistake is the last item.

/// What an item is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// A mistake; the item's text says which.
    Mistake,
    /// `true` or `false`.
    Bool,
    /// A printable character that means nothing by itself.
    Char,
    /// A character in single quotes.
    CharConstant,
    /// `1+2i`.
    Complex,
    /// `=`
    Assign,
    /// `:=`
    Declare,
    /// The end of the text.
    Eof,
    /// `.NAME`
    Field,
    /// A word, which has to be a function.
    Identifier,
    /// `{{`
    LeftDelim,
    /// `(`
    LeftParen,
    /// A number.
    Number,
    /// `|`
    Pipe,
    /// A string in back quotes.
    RawString,
    /// `}}`
    RightDelim,
    /// `)`
    RightParen,
    /// White space within an action.
    Space,
    /// A string in double quotes.
    String,
    /// What stands outside of actions.
    Text,
    /// `$` or `$NAME`.
    Variable,
    /// `.`
    Dot,
    /// `block`
    Block,
    /// `break`
    Break,
    /// `continue`
    Continue,
    /// `define`
    Define,
    /// `else`
    Else,
    /// `end`
    End,
    /// `if`
    If,
    /// `nil`
    Nil,
    /// `range`
    Range,
    /// `template`
    Template,
    /// `with`
    With,
}

impl Kind {
    /// The keyword that a word is.
    fn keyword(word: &str) -> Option<Self> {
        Some(match word {
            "block" => Self::Block,
            "break" => Self::Break,
            "continue" => Self::Continue,
            "define" => Self::Define,
            "else" => Self::Else,
            "end" => Self::End,
            "if" => Self::If,
            "nil" => Self::Nil,
            "range" => Self::Range,
            "template" => Self::Template,
            "with" => Self::With,
            _ => return None,
        })
    }

    /// Whether it is a keyword, the dot among them.
    fn is_keyword(self) -> bool {
        matches!(
            self,
            Self::Dot
                | Self::Block
                | Self::Break
                | Self::Continue
                | Self::Define
                | Self::Else
                | Self::End
                | Self::If
                | Self::Nil
                | Self::Range
                | Self::Template
                | Self::With
        )
    }
}

/// A token and where it stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Item {
    /// What it is.
    pub(super) kind: Kind,
    /// Its place, in octets.
    pub(super) pos: usize,
    /// What is written there.
    pub(super) text: String,
}

impl Item {
    /// It, as a message names it.
    pub(super) fn named(&self) -> String {
        match self.kind {
            Kind::Eof => "EOF".to_owned(),
            Kind::Mistake => self.text.clone(),
            kind if kind.is_keyword() => format!("<{}>", self.text),
            _ if self.text.len() > 10 => {
                let head: String = self.text.chars().take(10).collect();
                format!("{head:?}...")
            }
            _ => format!("{:?}", self.text),
        }
    }
}

/// Reads all items of `text`; the last one is the end or a mistake.
pub(super) fn lex(text: &str) -> Vec<Item> {
    let mut lexer = Lexer {
        text,
        pos: 0,
        start: 0,
        depth: 0,
        items: Vec::new(),
    };
    if let Err(why) = lexer.run() {
        let pos = lexer.start;
        lexer.items.push(Item {
            kind: Kind::Mistake,
            pos,
            text: why,
        });
    }
    lexer.items
}

/// What white space is within an action, and what `{{-` and `-}}` take away.
fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

fn is_alphanumeric(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

/// A walk over the text.
struct Lexer<'t> {
    text: &'t str,
    pos: usize,
    /// Where the item at hand begins.
    start: usize,
    /// Parentheses that are open.
    depth: usize,
    items: Vec<Item>,
}

impl<'t> Lexer<'t> {
    fn rest(&self) -> &'t str {
        self.text.get(self.pos..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.pos += c.len_utf8();
        Some(c)
    }

    fn accept(&mut self, set: &str) -> bool {
        let found = self.peek().is_some_and(|c| set.contains(c));
        if found {
            self.pos += 1;
        }
        found
    }

    fn accept_run(&mut self, set: &str) {
        while self.accept(set) {}
    }

    fn emit(&mut self, kind: Kind) {
        self.items.push(Item {
            kind,
            pos: self.start,
            text: self.text[self.start..self.pos].to_owned(),
        });
        self.start = self.pos;
    }

    /// The whole text: texts and actions in turn.
    fn run(&mut self) -> Result<(), String> {
        loop {
            let Some(found) = self.rest().find("{{") else {
                self.pos = self.text.len();
                if self.pos > self.start {
                    self.emit(Kind::Text);
                }
                self.emit(Kind::Eof);
                return Ok(());
            };
            self.pos += found;
            let open = self.pos;
            let inside = &self.text[open + 2..];
            let trims = inside.starts_with('-') && inside[1..].starts_with(is_space);
            if trims {
                let kept = self.text[self.start..open].trim_end_matches(is_space);
                self.pos = self.start + kept.len();
            }
            if self.pos > self.start {
                self.emit(Kind::Text);
            }
            self.start = open;
            self.pos = open + 2 + 2 * usize::from(trims);
            if self.rest().starts_with("/*") {
                self.comment()?;
                continue;
            }
            self.items.push(Item {
                kind: Kind::LeftDelim,
                pos: open,
                text: "{{".to_owned(),
            });
            self.start = self.pos;
            self.depth = 0;
            while !self.inside()? {}
        }
    }

    /// Whether the end of an action stands here, and whether it takes white space away.
    fn right_delim(&self) -> Option<bool> {
        let rest = self.rest();
        let marked = rest
            .strip_prefix(is_space)
            .is_some_and(|rest| rest.starts_with("-}}"));
        (marked || rest.starts_with("}}")).then_some(marked)
    }

    fn comment(&mut self) -> Result<(), String> {
        self.start = self.pos;
        let Some(end) = self.rest()[2..].find("*/") else {
            return Err("unclosed comment".to_owned());
        };
        self.pos += end + 4;
        let Some(trims) = self.right_delim() else {
            return Err("comment ends before closing delimiter".to_owned());
        };
        self.pos += 2 + 2 * usize::from(trims);
        self.leave(trims);
        Ok(())
    }

    /// Goes on behind `}}`, and behind the white space that `-}}` takes away.
    fn leave(&mut self, trims: bool) {
        if trims {
            let rest = self.rest();
            self.pos += rest.len() - rest.trim_start_matches(is_space).len();
        }
        self.start = self.pos;
    }

    /// Reads one item of an action; whether it was the last.
    fn inside(&mut self) -> Result<bool, String> {
        if let Some(trims) = self.right_delim() {
            if self.depth > 0 {
                return Err("unclosed left paren".to_owned());
            }
            self.pos += 2 * usize::from(trims);
            self.start = self.pos;
            self.pos += 2;
            self.emit(Kind::RightDelim);
            self.leave(trims);
            return Ok(true);
        }
        let Some(c) = self.next() else {
            return Err("unclosed action".to_owned());
        };
        match c {
            c if is_space(c) => {
                while self.peek().is_some_and(is_space) && self.right_delim().is_none() {
                    self.next();
                }
                self.emit(Kind::Space);
            }
            '=' => self.emit(Kind::Assign),
            ':' => match self.next() {
                Some('=') => self.emit(Kind::Declare),
                _ => return Err("expected :=".to_owned()),
            },
            '|' => self.emit(Kind::Pipe),
            '"' => self.quoted('"', ("unterminated quoted string", Kind::String))?,
            '\'' => self.quoted(
                '\'',
                ("unterminated character constant", Kind::CharConstant),
            )?,
            '`' => match self.rest().find('`') {
                Some(end) => {
                    self.pos += end + 1;
                    self.emit(Kind::RawString);
                }
                None => return Err("unterminated raw quoted string".to_owned()),
            },
            '$' => self.field_or_variable(Kind::Variable, Kind::Variable)?,
            '.' if !self.peek().is_some_and(|c| c.is_ascii_digit()) => {
                self.field_or_variable(Kind::Field, Kind::Dot)?;
            }
            '.' | '+' | '-' | '0'..='9' => {
                self.pos = self.start;
                self.number()?;
            }
            c if is_alphanumeric(c) => {
                self.pos = self.start;
                self.identifier()?;
            }
            '(' => {
                self.depth += 1;
                self.emit(Kind::LeftParen);
            }
            ')' => {
                if self.depth == 0 {
                    return Err("unexpected right paren".to_owned());
                }
                self.depth -= 1;
                self.emit(Kind::RightParen);
            }
            ' '..='~' => self.emit(Kind::Char),
            other => {
                return Err(format!(
                    "unrecognized character in action: {}",
                    code_point(other)
                ));
            }
        }
        Ok(false)
    }

    /// Reads to the quote that closes, which is on the same line.
    fn quoted(&mut self, quote: char, (unclosed, kind): (&str, Kind)) -> Result<(), String> {
        loop {
            match self.next() {
                Some('\\') if self.next().is_some_and(|c| c != '\n') => {}
                Some(c) if c == quote => break,
                None | Some('\n' | '\\') => return Err(unclosed.to_owned()),
                Some(_) => {}
            }
        }
        self.emit(kind);
        Ok(())
    }

    /// Whether a word may end here.
    fn at_terminator(&self) -> bool {
        match self.peek() {
            None | Some('.' | ',' | '|' | ':' | ')' | '(') => true,
            Some(c) => is_space(c) || self.rest().starts_with("}}"),
        }
    }

    fn ended(&mut self, kind: Kind) -> Result<(), String> {
        if self.at_terminator() {
            self.emit(kind);
            return Ok(());
        }
        let found = self.peek().map(code_point).unwrap_or_default();
        Err(format!("bad character {found}"))
    }

    /// Reads what follows `.` or `$`; `alone` is what these are without a name.
    fn field_or_variable(&mut self, named: Kind, alone: Kind) -> Result<(), String> {
        if self.at_terminator() {
            self.emit(alone);
            return Ok(());
        }
        while self.peek().is_some_and(is_alphanumeric) {
            self.next();
        }
        self.ended(named)
    }

    fn identifier(&mut self) -> Result<(), String> {
        while self.peek().is_some_and(is_alphanumeric) {
            self.next();
        }
        let word = &self.text[self.start..self.pos];
        let kind = match word {
            "true" | "false" => Kind::Bool,
            word => Kind::keyword(word).unwrap_or(Kind::Identifier),
        };
        self.ended(kind)
    }

    fn number(&mut self) -> Result<(), String> {
        let whole = self.scan_number();
        let mut kind = Kind::Number;
        let mut good = whole;
        if whole && matches!(self.peek(), Some('+' | '-')) {
            good = self.scan_number() && self.text[..self.pos].ends_with('i');
            kind = Kind::Complex;
        }
        if !good {
            let text = &self.text[self.start..self.pos];
            return Err(format!("bad number syntax: {text:?}"));
        }
        self.emit(kind);
        Ok(())
    }

    /// Reads what looks like a number; whether nothing is glued to it.
    fn scan_number(&mut self) -> bool {
        self.accept("+-");
        let mut digits = "0123456789_";
        if self.accept("0") {
            if self.accept("xX") {
                digits = "0123456789abcdefABCDEF_";
            } else if self.accept("oO") {
                digits = "01234567_";
            } else if self.accept("bB") {
                digits = "01_";
            }
        }
        self.accept_run(digits);
        if self.accept(".") {
            self.accept_run(digits);
        }
        if digits.len() == 11 && self.accept("eE") || digits.len() == 23 && self.accept("pP") {
            self.accept("+-");
            self.accept_run("0123456789_");
        }
        self.accept("i");
        if self.peek().is_some_and(is_alphanumeric) {
            self.next();
            return false;
        }
        true
    }
}

/// A character as messages show it: `U+0025 '%'`.
fn code_point(c: char) -> String {
    format!("U+{:04X} '{c}'", c as u32)
}
