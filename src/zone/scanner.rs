//! Master file entries as tokens (RFC 1035, section 5.1): parentheses, quotes, comments and line ends, and where each token stands.
//!
//! The scanner knows nothing of owners or types. It walks the text once; a token is a range of it, so nothing is copied. An entry is
//! bounded in tokens and octets, and an entry with a mistake is skipped whole, so that one mistake gives one complaint.

/// The most octets in the tokens of one entry: RDATA of 65,535 octets, each written as `\DDD`, fits four times over.
const MAX_ENTRY: usize = 1 << 20;
/// The most tokens of one entry.
const MAX_TOKENS: usize = 70_000;

/// One word or quoted string of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) start: u32,
    pub(crate) end: u32,
    pub(crate) line: u32,
    pub(crate) column: u32,
    pub(crate) quoted: bool,
}

impl Token {
    /// The token's octets, quotes not included.
    #[inline]
    pub(crate) fn of(self, text: &[u8]) -> &[u8] {
        text.get(self.start as usize..self.end as usize)
            .unwrap_or_default()
    }
}

/// What the scanner found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Scanned {
    /// An entry; `blank` says that it begins with white space, so the owner is the last one stated.
    Entry { blank: bool },
    /// An entry that cannot be read, with the place of the mistake.
    Mistake {
        line: u32,
        column: u32,
        why: &'static str,
    },
    /// The end of the text.
    End,
}

/// A walk over the entries of a text.
#[derive(Debug)]
pub(crate) struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
    line: u32,
    line_start: usize,
}

/// What an octet means outside of a token.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Word,
    Blank,
    Newline,
    Special,
}

const KINDS: [Kind; 256] = {
    let mut kinds = [Kind::Word; 256];
    kinds[b' ' as usize] = Kind::Blank;
    kinds[b'\t' as usize] = Kind::Blank;
    kinds[b'\r' as usize] = Kind::Blank;
    kinds[b'\n' as usize] = Kind::Newline;
    kinds[b';' as usize] = Kind::Special;
    kinds[b'(' as usize] = Kind::Special;
    kinds[b')' as usize] = Kind::Special;
    kinds[b'"' as usize] = Kind::Special;
    kinds
};

impl<'a> Scanner<'a> {
    /// Scans `text`; a byte order mark in front of it is passed over.
    pub(crate) fn new(text: &'a [u8]) -> Self {
        let at = if text.starts_with(b"\xEF\xBB\xBF") {
            3
        } else {
            0
        };
        Self {
            text,
            at,
            line: 1,
            line_start: at,
        }
    }

    /// Reads the next entry into `tokens`.
    pub(crate) fn next(&mut self, tokens: &mut Vec<Token>) -> Scanned {
        tokens.clear();
        let mut blank = self.starts_blank();
        let mut open: Option<(u32, u32)> = None;
        let mut depth = 0u32;
        let mut size = 0;
        while let Some(&octet) = self.text.get(self.at) {
            match KINDS[octet as usize] {
                Kind::Blank => self.at += 1,
                Kind::Newline => {
                    self.newline();
                    if depth == 0 {
                        if !tokens.is_empty() {
                            return Scanned::Entry { blank };
                        }
                        blank = self.starts_blank();
                    }
                }
                Kind::Word => {
                    let token = self.word();
                    size += (token.end - token.start) as usize;
                    tokens.push(token);
                }
                Kind::Special => match octet {
                    b';' => self.skip_comment(),
                    b'(' => {
                        open.get_or_insert((self.line, self.column()));
                        depth += 1;
                        self.at += 1;
                    }
                    b')' => {
                        if depth == 0 {
                            return self.mistake("a `)` without its `(`");
                        }
                        depth -= 1;
                        if depth == 0 {
                            open = None;
                        }
                        self.at += 1;
                    }
                    _ => match self.quoted(depth > 0) {
                        Some(token) => {
                            size += (token.end - token.start) as usize;
                            tokens.push(token);
                        }
                        None => return self.mistake("a quoted string is not closed"),
                    },
                },
            }
            if size > MAX_ENTRY || tokens.len() > MAX_TOKENS {
                return self.mistake("the entry is longer than any record can be");
            }
        }
        match open {
            Some((line, column)) => Scanned::Mistake {
                line,
                column,
                why: "a `(` is never closed",
            },
            None if tokens.is_empty() => Scanned::End,
            None => Scanned::Entry { blank },
        }
    }

    fn starts_blank(&self) -> bool {
        matches!(self.text.get(self.at), Some(b' ' | b'\t'))
    }

    fn column(&self) -> u32 {
        (self.at - self.line_start + 1) as u32
    }

    fn newline(&mut self) {
        self.at += 1;
        self.line += 1;
        self.line_start = self.at;
    }

    fn skip_comment(&mut self) {
        let rest = self.text.get(self.at..).unwrap_or_default();
        self.at += rest.iter().position(|&o| o == b'\n').unwrap_or(rest.len());
    }

    /// Reports the place and goes on behind the line.
    fn mistake(&mut self, why: &'static str) -> Scanned {
        let (line, column) = (self.line, self.column());
        self.skip_comment();
        if self.at < self.text.len() {
            self.newline();
        }
        Scanned::Mistake { line, column, why }
    }

    #[inline]
    fn token(&self, start: usize, end: usize, quoted: bool) -> Token {
        Token {
            start: start as u32,
            end: end as u32,
            line: self.line,
            column: (start - self.line_start + 1) as u32,
            quoted,
        }
    }

    /// Reads a word, up to a quote too: what a quoted string right behind it means is its type's business (SvcParams).
    #[inline]
    fn word(&mut self) -> Token {
        let start = self.at;
        let mut here = start;
        while let Some(&octet) = self.text.get(here) {
            match octet {
                b'\\' if self.text.get(here + 1).is_some_and(|&o| o != b'\n') => here += 2,
                _ if KINDS[octet as usize] != Kind::Word => break,
                _ => here += 1,
            }
        }
        self.at = here.min(self.text.len());
        self.token(start, self.at, false)
    }

    /// Reads a quoted string. It may run over line ends, which belong to it (NSD and CoreDNS load it so).
    fn quoted(&mut self, within: bool) -> Option<Token> {
        let start = self.at + 1;
        let end = self.closing_quote(start, within)?;
        let token = self.token(start, end, true);
        for (at, octet) in self.text[start..end].iter().enumerate() {
            if *octet == b'\n' {
                self.line += 1;
                self.line_start = start + at + 1;
            }
        }
        self.at = end + 1;
        Some(token)
    }

    /// Where the string that begins at `here` is closed, within what an entry may have. One that is closed on a later line, `within` no
    /// parentheses, has a word's end behind it: the next quote may be that of another string, and the closing one forgotten.
    fn closing_quote(&self, mut here: usize, within: bool) -> Option<usize> {
        let most = here.saturating_add(MAX_ENTRY);
        let mut lines = false;
        while here < most {
            match self.text.get(here)? {
                b'"' => {
                    let ends = |octet: &u8| b" \t\r\n;()".contains(octet);
                    let plausible = within || !lines || self.text.get(here + 1).is_none_or(ends);
                    return plausible.then_some(here);
                }
                b'\n' => {
                    lines = true;
                    here += 1;
                }
                b'\\' => here += 2,
                _ => here += 1,
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<(bool, Vec<String>)> {
        let mut scanner = Scanner::new(text.as_bytes());
        let mut tokens = Vec::new();
        let mut out = Vec::new();
        loop {
            match scanner.next(&mut tokens) {
                Scanned::Entry { blank } => out.push((
                    blank,
                    tokens
                        .iter()
                        .map(|t| String::from_utf8_lossy(t.of(text.as_bytes())).into_owned())
                        .collect(),
                )),
                Scanned::Mistake { line, column, why } => {
                    out.push((false, vec![format!("{line}:{column}: {why}")]));
                }
                Scanned::End => return out,
            }
        }
    }

    #[test]
    fn entries_are_cut_at_line_ends_outside_parentheses() {
        type Words = &'static [(bool, &'static [&'static str])];
        let cases: [(&str, Words); 15] = [
            ("a b\nc d\n", &[(false, &["a", "b"]), (false, &["c", "d"])]),
            ("\u{feff}a b", &[(false, &["a", "b"])]),
            ("a\r\n b\r\n", &[(false, &["a"]), (true, &["b"])]),
            (
                "a ( b ; c\n d )\ne",
                &[(false, &["a", "b", "d"]), (false, &["e"])],
            ),
            ("a ( ( b\n ) c\n )", &[(false, &["a", "b", "c"])]),
            ("; only\n\n   ; this\n", &[]),
            ("a \"b ; ( c\" d", &[(false, &["a", "b ; ( c", "d"])]),
            (
                r#"a "b\"c" d\;e\ f"#,
                &[(false, &["a", r#"b\"c"#, r"d\;e\ f"])],
            ),
            (r#"a k="v w" l"#, &[(false, &["a", "k=", "v w", "l"])]),
            (
                "a ( \"b\nc\" )\nd",
                &[(false, &["a", "b\nc"]), (false, &["d"])],
            ),
            (
                "a \"b\nc\" d\ne",
                &[(false, &["a", "b\nc", "d"]), (false, &["e"])],
            ),
            // The first string is not closed: the next quote opens another one.
            (
                "a \"b\nc \"d\"\ne",
                &[
                    (false, &["1:3: a quoted string is not closed"]),
                    (false, &["c", "d"]),
                    (false, &["e"]),
                ],
            ),
            (
                "a )\nb",
                &[(false, &["1:3: a `)` without its `(`"]), (false, &["b"])],
            ),
            (
                "a \"b\nc",
                &[
                    (false, &["1:3: a quoted string is not closed"]),
                    (false, &["c"]),
                ],
            ),
            (
                "a\nb (\nc\n",
                &[(false, &["a"]), (false, &["2:3: a `(` is never closed"])],
            ),
        ];
        for (text, expected) in cases {
            let got = words(text);
            let expected: Vec<(bool, Vec<String>)> = expected
                .iter()
                .map(|(blank, w)| (*blank, w.iter().map(|w| (*w).to_owned()).collect()))
                .collect();
            assert_eq!(got, expected, "{text:?}");
        }
    }

    #[test]
    fn an_entry_without_end_is_bounded() {
        let text = "a TXT ".to_owned() + &"x".repeat(MAX_ENTRY) + " y\nb A 192.0.2.1\n";
        let got = words(&text);
        assert_eq!(got.len(), 2);
        assert!(got[0].1[0].contains("longer than any record"));
        assert_eq!(got[1].1[0], "b");
    }
}
