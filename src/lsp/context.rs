//! What stands at the cursor, as far as the text before it says.

/// A word of the document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Word<'t> {
    /// The text, with its quotes.
    pub(crate) text: &'t str,
    /// Where it begins.
    pub(crate) start: usize,
}

impl Word<'_> {
    /// Where it ends.
    pub(crate) fn end(&self) -> usize {
        self.start + self.text.len()
    }
}

/// The lines around a place.
#[derive(Debug, Default)]
pub(crate) struct Context<'t> {
    /// The lines that opened the braces around it, the outermost first: keys of a server block, a directive with its arguments.
    pub(crate) openers: Vec<Vec<Word<'t>>>,
    /// The words before it on its line.
    pub(crate) before: Vec<Word<'t>>,
    /// The word that it is in or behind, if it touches one.
    pub(crate) word: Option<Word<'t>>,
    /// Whether it is in a comment.
    pub(crate) is_comment: bool,
}

impl<'t> Context<'t> {
    /// What is at an offset of a text.
    pub(crate) fn at(text: &'t str, offset: usize) -> Self {
        let mut here = Self::default();
        for token in Tokens::new(text) {
            let end = match token {
                Token::Word(word) => word.end(),
                Token::LineEnd(at) => at,
                Token::Comment { end, .. } => end,
            };
            match token {
                Token::Word(word) if word.start > offset => break,
                Token::LineEnd(at) if at >= offset => break,
                Token::Comment { start, .. } if start >= offset => break,
                Token::Comment { .. } if end >= offset => {
                    here.is_comment = true;
                    break;
                }
                Token::Word(word) if end >= offset => {
                    here.word = Some(word);
                    break;
                }
                Token::Word(Word { text: "{", .. }) => {
                    let line = std::mem::take(&mut here.before);
                    here.openers.push(line);
                }
                Token::Word(Word { text: "}", .. }) => {
                    here.openers.pop();
                    here.before.clear();
                }
                Token::Word(word) => here.before.push(word),
                Token::LineEnd(_) => here.before.clear(),
                Token::Comment { .. } => {}
            }
        }
        here
    }

    /// The directive whose block it is in.
    pub(crate) fn directive(&self) -> Option<&'t str> {
        let line = self.openers.get(1)?;
        line.first().map(|word| word.text)
    }
}

/// The names of the snippets that a text defines.
pub(crate) fn snippets(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut is_first = true;
    for token in Tokens::new(text) {
        if let (Token::Word(word), true) = (token, is_first)
            && let Some(name) = word
                .text
                .strip_prefix('(')
                .and_then(|t| t.strip_suffix(')'))
        {
            found.push(name);
        }
        is_first = matches!(token, Token::LineEnd(_));
    }
    found
}

/// A piece of the text.
#[derive(Clone, Copy)]
enum Token<'t> {
    Word(Word<'t>),
    LineEnd(usize),
    Comment { start: usize, end: usize },
}

/// Splits a text as the lexer of Corefiles does.
struct Tokens<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Tokens<'t> {
    fn new(text: &'t str) -> Self {
        Self { text, at: 0 }
    }
}

impl<'t> Iterator for Tokens<'t> {
    type Item = Token<'t>;

    fn next(&mut self) -> Option<Token<'t>> {
        let rest = &self.text[self.at..];
        let blank = rest.len() - rest.trim_start_matches([' ', '\t', '\r']).len();
        let start = self.at + blank;
        let rest = &rest[blank..];
        let length = match rest.chars().next()? {
            '\n' => {
                self.at = start + 1;
                return Some(Token::LineEnd(start));
            }
            '#' => {
                self.at = start + rest.find('\n').unwrap_or(rest.len());
                return Some(Token::Comment {
                    start,
                    end: self.at,
                });
            }
            '"' => {
                let mut escaped = false;
                let close = rest.char_indices().skip(1).find(|&(_, c)| {
                    let closes = c == '"' && !escaped;
                    escaped = c == '\\' && !escaped;
                    closes
                });
                close.map_or(rest.len(), |(at, _)| at + 1)
            }
            _ => rest.find(char::is_whitespace).unwrap_or(rest.len()),
        };
        self.at = start + length;
        Some(Token::Word(Word {
            text: &rest[..length],
            start,
        }))
    }
}
