//! Regular expressions as Go has them, for directives that take one.
//!
//! Go's syntax is RE2's. The crate `regex` matches the same way (leftmost, first alternative, linear time) and writes some things
//! otherwise, so an expression is read by Go's rules first and written anew:
//!
//! | Go | here |
//! |---|---|
//! | `[[.]`, `[a&&b]`, `[+--]` are sets of characters | escaped: for `regex` these are sets within sets |
//! | `\<`, `\_` and every other escaped sign stand for themselves | `\<` is the start of a word for `regex` |
//! | `\Q…\E`, `\123`, `{,5}` as text | written out |
//! | `\d`, `\s`, `\w`, `\b` know ASCII only | written out; for `regex` they know all of Unicode |
//! | a group's name may begin with a digit, and stand twice | names are kept beside the expression |
//!
//! What Go refuses is refused, so that an expression means the same in CoreDNS: `a**`, `{2000}`, look-around and back references.

mod sample;

use std::fmt;

use corefile::{Diagnostic, Token};
use regex::{Captures, Regex};

/// The octets that an expression has at most, as in CoreDNS.
pub const LONGEST: usize = 10_000;
/// The largest count of a repetition, as in Go.
const MOST_REPEATED: u32 = 1_000;

/// An expression, compiled.
#[derive(Clone, Debug)]
pub struct Pattern {
    regex: Regex,
    names: Box<[Box<str>]>,
    text: Box<str>,
}

/// Why a text is no expression.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PatternError {
    /// Where, in octets of the text.
    pub at: usize,
    /// What is wrong, mostly in Go's words.
    pub why: String,
    /// Whether Go would take it.
    pub in_go: bool,
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)?;
        match self.in_go {
            true => f.write_str("; Go accepts this expression"),
            false => Ok(()),
        }
    }
}

impl std::error::Error for PatternError {}

impl PatternError {
    /// The message about a word of a Corefile.
    fn at(&self, token: &Token) -> Diagnostic {
        let shown = match token.text.char_indices().nth(60) {
            Some((at, _)) => format!("{}…", &token.text[..at]),
            None => token.text.clone(),
        };
        let message = format!("could not parse regex: {shown}: {}", self.why);
        let rest = token.text.get(self.at..).unwrap_or_default();
        let place = match self.at {
            0 => token.span,
            at => token.part(at, rest.chars().next().map_or(1, char::len_utf8)),
        };
        let diagnostic = Diagnostic::error("CF0214", message).at(place, "");
        match self.in_go {
            true => diagnostic.note("Go accepts this expression; its limits are different"),
            false => diagnostic,
        }
    }

    fn of(error: &regex::Error) -> Self {
        Self {
            at: 0,
            why: told(error),
            in_go: matches!(error, regex::Error::CompiledTooBig(_)),
        }
    }
}

/// Compiles a word of a Corefile for octets, such as a name's; with `any_case`, letters match in both cases. Its groups have no names.
///
/// # Errors
/// CF0214, at the place of the mistake.
pub fn read_octets(token: &Token, any_case: bool) -> Result<regex::bytes::Regex, Diagnostic> {
    let (written, _) = expression(&token.text).map_err(|error| error.at(token))?;
    let mut builder = regex::bytes::RegexBuilder::new(&written);
    let built = builder.case_insensitive(any_case).build();
    built.map_err(|error| PatternError::of(&error).at(token))
}

/// An expression in the syntax of the crate, with the names of its groups.
fn expression(text: &str) -> Result<(String, Vec<Box<str>>), PatternError> {
    if text.len() > LONGEST {
        return Err(PatternError {
            at: 0,
            why: format!("regex pattern too long: {} > {LONGEST}", text.len()),
            in_go: false,
        });
    }
    translate(text)
}

impl Pattern {
    /// Compiles an expression in Go's syntax.
    ///
    /// # Errors
    /// What Go refuses, what is longer than [`LONGEST`], and what the crate `regex` refuses though Go does not.
    pub fn new(text: &str) -> Result<Self, PatternError> {
        let (written, names) = expression(text)?;
        match Regex::new(&written) {
            Ok(regex) => Ok(Self {
                regex,
                names: names.into(),
                text: text.into(),
            }),
            Err(error) => Err(PatternError::of(&error)),
        }
    }

    /// Compiles a word of a Corefile.
    ///
    /// # Errors
    /// CF0214, at the place of the mistake.
    pub fn read(token: &Token) -> Result<Self, Diagnostic> {
        Self::new(&token.text).map_err(|error| error.at(token))
    }

    /// The expression as it is written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The names of its groups, empty where a group has none; the first is the whole match.
    pub fn names(&self) -> &[Box<str>] {
        &self.names
    }

    /// Whether it matches somewhere in `text`.
    #[inline]
    pub fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }

    /// Its first match, and what the groups took part with.
    pub fn captures<'t>(&self, text: &'t str) -> Option<Captures<'t>> {
        self.regex.captures(text)
    }
}

/// The last line of the crate's message, which says why; those above draw.
fn told(error: &regex::Error) -> String {
    match error {
        regex::Error::CompiledTooBig(_) => "the expression is too large".to_owned(),
        error => {
            let text = error.to_string();
            let last = text.lines().last().unwrap_or_default();
            last.trim_start_matches("error: ").to_owned()
        }
    }
}

/// Reads `text` by Go's rules; gives it in the syntax of `regex`, and the names of the groups.
fn translate(text: &str) -> Result<(String, Vec<Box<str>>), PatternError> {
    let mut reader = Reader {
        text,
        pos: 0,
        out: String::with_capacity(text.len() + 8),
        names: vec!["".into()],
    };
    reader.all()?;
    Ok((reader.out, reader.names))
}

/// What one position of a set is.
enum Item {
    /// A character, which may begin a range.
    One(char),
    /// A set of its own, in the syntax of `regex`.
    Set(String),
}

struct Reader<'t> {
    text: &'t str,
    pos: usize,
    out: String,
    names: Vec<Box<str>>,
}

type Read<T = ()> = Result<T, PatternError>;

impl<'t> Reader<'t> {
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

    fn wrong<T>(&self, at: usize, why: impl Into<String>) -> Read<T> {
        Err(PatternError {
            at,
            why: why.into(),
            in_go: false,
        })
    }

    fn all(&mut self) -> Read {
        // Whether what was read last is a repetition, which cannot be repeated.
        let mut repeated = false;
        while let Some(c) = self.peek() {
            let at = self.pos;
            let repetition = match c {
                '*' | '+' | '?' => {
                    self.next();
                    Some(c.to_string())
                }
                '{' => self.counted()?,
                _ => None,
            };
            if let Some(repetition) = repetition {
                if repeated {
                    let shown = &self.text[at..self.pos];
                    let why = format!("invalid nested repetition operator: `{shown}`");
                    return self.wrong(at, why);
                }
                self.out.push_str(&repetition);
                if self.peek() == Some('?') {
                    self.next();
                    self.out.push('?');
                }
                repeated = true;
                continue;
            }
            repeated = false;
            match c {
                '\\' => self.escape()?,
                '[' => self.class()?,
                '(' => self.group()?,
                '{' | '}' => {
                    self.next();
                    self.literal(c);
                }
                c => {
                    self.next();
                    self.out.push(c);
                }
            }
        }
        Ok(())
    }

    /// Writes a character that stands for itself.
    fn literal(&mut self, c: char) {
        self.out.push_str(&escaped(c));
    }

    /// `{n}`, `{n,}` or `{n,m}`; anything else in braces is text.
    fn counted(&mut self) -> Read<Option<String>> {
        let Some(end) = self.rest().find('}') else {
            return Ok(None);
        };
        let inner = &self.rest()[1..end];
        let (least, most) = match inner.split_once(',') {
            None => (inner, Some(inner)),
            Some((least, "")) => (least, None),
            Some((least, most)) => (least, Some(most)),
        };
        let is_number = |text: &str| {
            !text.is_empty()
                && text.bytes().all(|octet| octet.is_ascii_digit())
                && (text.len() == 1 || !text.starts_with('0'))
        };
        if !is_number(least) || most.is_some_and(|most| !is_number(most)) {
            return Ok(None);
        }
        let number = |text: &str| text.parse::<u32>().unwrap_or(u32::MAX);
        let bounds = (number(least), most.map_or(number(least), number));
        if bounds.0 > bounds.1 || bounds.1 > MOST_REPEATED {
            return self.wrong(self.pos, format!("invalid repeat count: `{{{inner}}}`"));
        }
        self.pos += end + 1;
        Ok(Some(format!("{{{inner}}}")))
    }

    /// A backslash and what it says, outside of a set.
    fn escape(&mut self) -> Read {
        let kind = self.rest()[1..].chars().next();
        match kind {
            Some('Q') => {
                self.pos += 2;
                let (quoted, len) = match self.rest().split_once("\\E") {
                    Some((quoted, _)) => (quoted, quoted.len() + 2),
                    None => (self.rest(), self.rest().len()),
                };
                for c in quoted.chars() {
                    self.literal(c);
                }
                self.pos += len;
            }
            Some(anchor @ ('A' | 'z' | 'B')) => {
                self.pos += 2;
                self.out.push('\\');
                self.out.push(anchor);
            }
            Some('b') => {
                self.pos += 2;
                self.out.push_str(r"(?-u:\b)");
            }
            _ => match self.item()? {
                Item::One(c) => self.literal(c),
                Item::Set(set) => self.out.push_str(&set),
            },
        }
        Ok(())
    }

    /// One escape that may stand in a set, too.
    fn item(&mut self) -> Read<Item> {
        let at = self.pos;
        self.pos += 1;
        let Some(c) = self.next() else {
            return self.wrong(at, "trailing backslash at end of expression");
        };
        let set = match c {
            'd' => "[0-9]",
            'D' => "[^0-9]",
            's' => r"[\t\n\x0C\r ]",
            'S' => r"[^\t\n\x0C\r ]",
            'w' => "[0-9A-Za-z_]",
            'W' => "[^0-9A-Za-z_]",
            _ => "",
        };
        if !set.is_empty() {
            return Ok(Item::Set(set.to_owned()));
        }
        let code = match c {
            'p' | 'P' => return self.property(at, c).map(Item::Set),
            'a' => 0x07,
            'f' => 0x0C,
            'n' => 0x0A,
            'r' => 0x0D,
            't' => 0x09,
            'v' => 0x0B,
            'x' => return self.hexadecimal(at).map(Item::One),
            '0'..='7' => {
                let more = self.peek().is_some_and(|c| ('0'..='7').contains(&c));
                if c != '0' && !more {
                    return self.invalid_escape(at);
                }
                let mut code = c as u32 - '0' as u32;
                for _ in 0..2 {
                    let Some(digit) = self.peek().and_then(|c| c.to_digit(8)) else {
                        break;
                    };
                    self.pos += 1;
                    code = code * 8 + digit;
                }
                code
            }
            c if c.is_ascii() && !c.is_ascii_alphanumeric() => c as u32,
            _ => return self.invalid_escape(at),
        };
        Ok(Item::One(char::from_u32(code).unwrap_or_default()))
    }

    fn invalid_escape<T>(&self, at: usize) -> Read<T> {
        let shown = &self.text[at..self.pos];
        self.wrong(at, format!("invalid escape sequence: `{shown}`"))
    }

    /// `\x7F` or `\x{10FFFF}`.
    fn hexadecimal(&mut self, at: usize) -> Read<char> {
        let rest = self.rest();
        let (digits, len) = match rest.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
            Some((digits, _)) => (digits, digits.len() + 2),
            None => (rest.get(..2).unwrap_or_default(), 2),
        };
        let hexadecimal = !digits.is_empty() && digits.chars().all(|c| c.is_ascii_hexdigit());
        let code = u32::from_str_radix(digits, 16).ok().filter(|_| hexadecimal);
        match code.and_then(char::from_u32) {
            Some(c) => {
                self.pos += len;
                Ok(c)
            }
            None => self.invalid_escape(at),
        }
    }

    /// `\pN`, `\p{Greek}`, and with a `^` its opposite.
    fn property(&mut self, at: usize, kind: char) -> Read<String> {
        let (name, len) = match self.rest().strip_prefix('{') {
            Some(rest) => match rest.split_once('}') {
                Some((name, _)) => (name, name.len() + 2),
                None => return self.invalid_escape(at),
            },
            None => match self.peek() {
                Some(c) => (&self.rest()[..c.len_utf8()], c.len_utf8()),
                None => return self.invalid_escape(at),
            },
        };
        self.pos += len;
        let (name, kind) = match (name.strip_prefix('^'), kind) {
            (Some(name), 'p') => (name, 'P'),
            (Some(name), _) => (name, 'p'),
            (None, kind) => (name, kind),
        };
        let name = if name == "Any" { "any" } else { name };
        Ok(format!("\\{kind}{{{name}}}"))
    }

    /// A set in brackets.
    fn class(&mut self) -> Read {
        let at = self.pos;
        self.pos += 1;
        self.out.push('[');
        if self.peek() == Some('^') {
            self.pos += 1;
            self.out.push('^');
        }
        let mut first = true;
        loop {
            match self.peek() {
                None => {
                    let shown = &self.text[at..];
                    return self.wrong(at, format!("missing closing ]: `{shown}`"));
                }
                Some(']') if !first => break,
                Some(_) => {}
            }
            first = false;
            if let Some(class) = self.posix()? {
                self.out.push_str(&class);
                continue;
            }
            let start = self.pos;
            let low = match self.one()? {
                Item::One(low) => low,
                Item::Set(set) => {
                    self.out.push_str(&set);
                    continue;
                }
            };
            let range = self
                .rest()
                .strip_prefix('-')
                .is_some_and(|rest| !rest.starts_with(']'));
            if !range || self.rest().len() == 1 {
                self.literal(low);
                continue;
            }
            self.pos += 1;
            let high = self.one()?;
            match high {
                Item::One(high) if low <= high => {
                    self.literal(low);
                    self.out.push('-');
                    self.literal(high);
                }
                _ => {
                    let shown = &self.text[start..self.pos];
                    return self.wrong(start, format!("invalid character class range: `{shown}`"));
                }
            }
        }
        self.pos += 1;
        self.out.push(']');
        Ok(())
    }

    /// One character of a set or an escape.
    fn one(&mut self) -> Read<Item> {
        if self.peek() == Some('\\') {
            return self.item();
        }
        let at = self.pos;
        match self.next() {
            Some(c) => Ok(Item::One(c)),
            None => self.wrong(at, "missing closing ]"),
        }
    }

    /// `[:alpha:]` in a set.
    fn posix(&mut self) -> Read<Option<String>> {
        const NAMES: [&str; 14] = [
            "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print",
            "punct", "space", "upper", "word", "xdigit",
        ];
        let Some((inner, _)) = self
            .rest()
            .strip_prefix("[:")
            .and_then(|rest| rest.split_once(":]"))
        else {
            return Ok(None);
        };
        if !NAMES.contains(&inner.strip_prefix('^').unwrap_or(inner)) {
            let why = format!("invalid character class range: `[:{inner}:]`");
            return self.wrong(self.pos, why);
        }
        self.pos += inner.len() + 4;
        Ok(Some(format!("[:{inner}:]")))
    }

    /// An opening parenthesis with what it says of the group.
    fn group(&mut self) -> Read {
        let at = self.pos;
        let Some(rest) = self.rest().strip_prefix("(?") else {
            self.pos += 1;
            self.out.push('(');
            self.names.push("".into());
            return Ok(());
        };
        let named = rest.strip_prefix("P<").or_else(|| rest.strip_prefix('<'));
        if let Some(rest) = named.filter(|rest| !rest.starts_with(['=', '!'])) {
            let name = rest
                .split_once('>')
                .map(|(name, _)| name)
                .unwrap_or_default();
            let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if name.is_empty() || !name.chars().all(word) {
                return self.wrong(at, format!("invalid named capture: `{}`", &self.text[at..]));
            }
            self.pos = self.text.len() - rest.len() + name.len() + 1;
            self.out.push('(');
            self.names.push(name.into());
            return Ok(());
        }
        let len = rest
            .bytes()
            .take_while(|octet| b"imsU-".contains(octet))
            .count();
        let flags = &rest[..len];
        let sound = flags.matches('-').count() <= 1 && !flags.ends_with('-');
        match rest[len..].chars().next() {
            Some(end @ (':' | ')')) if sound && (len > 0 || end == ':') => {
                self.pos += 2 + len + 1;
                self.out.push_str("(?");
                self.out.push_str(flags);
                self.out.push(end);
                Ok(())
            }
            _ => {
                let shown: String = self.text[at..].chars().take(4).collect();
                let why = format!("invalid or unsupported Perl syntax: `{shown}`");
                self.wrong(at, why)
            }
        }
    }
}

/// A character as it stands for itself everywhere in an expression of `regex`.
fn escaped(c: char) -> String {
    if c.is_alphanumeric() {
        c.to_string()
    } else {
        format!("\\x{{{:X}}}", c as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expressions on which Go and the crate `regex` differ, a text, and what Go's `FindStringSubmatch` gives.
    #[test]
    fn matches_as_go_does() {
        for (pattern, text, expected) in [
            (
                r"^ip-(?P<a>[0-9]*)-(?P<b>[0-9]*)[.]example[.]$",
                "ip-1-22.example.",
                &["ip-1-22.example.", "1", "22"][..],
            ),
            (r"(?<1st>a+)", "baaa", &["aaa", "aaa"]),
            (r"[[.]x", "[x", &["[x"]),
            (r"[[]", "[", &["["]),
            (r"[a&&b]+", "&&ab", &["&&ab"]),
            (r"[+--]+", ",-b", &[",-"]),
            (r"[~~a]+", "~a", &["~a"]),
            (r"[]a]+", "]a", &["]a"]),
            (r"[^]a]", "]b", &["b"]),
            (r"[a-]+", "-a", &["-a"]),
            (r"\<b\>", "<b>", &["<b>"]),
            (r"\Qa.b\E.", "a.bc", &["a.bc"]),
            (r"\Q[", "[", &["["]),
            (r"a{,2}", "a{,2}", &["a{,2}"]),
            (r"a{2}", "caaa", &["aa"]),
            (r"a{x}", "a{x}", &["a{x}"]),
            (r"\101\x42\x{43}", "ABC", &["ABC"]),
            (r"\d\w\s", "5a\t", &["5a\t"]),
            (r"\d", "\u{0663}", &[]),
            (r"[\d\-]+", "1-2", &["1-2"]),
            (r"[[:alpha:]_]+", "ab_c1", &["ab_c"]),
            (r"(?i)ABC", "xabc", &["abc"]),
            (r"(?U)a+", "aaa", &["a"]),
            (r"a|ab", "ab", &["a"]),
            (r"(a)|(b)", "b", &["b", "", "b"]),
            (r"x*", "aaa", &[""]),
            (r"\bfoo\b", "a foo", &["foo"]),
            (r"_\_", "__", &["__"]),
            (r"\pN+\p{^Greek}", "12a", &["12a"]),
        ] {
            let compiled = Pattern::new(pattern).unwrap_or_else(|why| panic!("{pattern}: {why}"));
            let captures = compiled.captures(text);
            let found: Vec<&str> = captures
                .iter()
                .flat_map(|captures| {
                    captures
                        .iter()
                        .map(|group| group.map_or("", |group| group.as_str()))
                })
                .collect();
            assert_eq!(found, expected, "{pattern} in {text}");
            assert_eq!(compiled.is_match(text), !expected.is_empty(), "{pattern}");
        }
    }

    #[test]
    fn samples_match() {
        for (pattern, expected) in [
            (
                r"^ip-(?P<a>[0-9]*)-(?P<b>[0-9]{2})[.]example[.]$",
                "ip-1-11.example.",
            ),
            (r"^(www|mail)[.][a-z]+[.]$", "mail.aa."),
            (r"[.]example[.]$", ".example."),
            (r"^[a-f0-9]{4}$", "1111"),
        ] {
            let samples = Pattern::new(pattern).expect(pattern).samples();
            assert!(
                samples.iter().any(|sample| sample == expected),
                "{pattern}: {samples:?}"
            );
        }
        assert!(
            Pattern::new("$^")
                .expect("an expression")
                .samples()
                .iter()
                .all(String::is_empty)
        );
    }

    #[test]
    fn refuses_what_go_refuses() {
        for (pattern, at, why) in [
            ("a**", 2, "invalid nested repetition operator"),
            ("a*?+", 3, "invalid nested repetition operator"),
            ("a{1001}", 1, "invalid repeat count"),
            ("a{3,2}", 1, "invalid repeat count"),
            ("x(?=a)", 1, "invalid or unsupported Perl syntax: `(?=a`"),
            ("(?<!a)", 0, "invalid or unsupported Perl syntax"),
            ("(?P<a-b>x)", 0, "invalid named capture"),
            ("(?P<a", 0, "invalid named capture"),
            (r"(a)\1", 3, r"invalid escape sequence: `\1`"),
            (r"\y", 0, r"invalid escape sequence: `\y`"),
            (r"\C", 0, "invalid escape sequence"),
            ("a\\", 1, "trailing backslash"),
            ("[a", 0, "missing closing ]"),
            ("[z-a]", 1, "invalid character class range"),
            ("[[:nope:]]", 1, "invalid character class range"),
            ("(?x)a", 0, "invalid or unsupported Perl syntax"),
            ("(a", 0, "unclosed group"),
            ("a)", 0, "unopened group"),
            ("*a", 0, "repetition operator missing expression"),
        ] {
            let error = Pattern::new(pattern).expect_err(pattern);
            assert!(error.why.contains(why), "{pattern}: {}", error.why);
            assert_eq!((error.at, error.in_go), (at, false), "{pattern}");
        }
        let long = "a".repeat(LONGEST + 1);
        let error = Pattern::new(&long).expect_err("too long");
        assert!(error.why.contains("too long: 10001 > 10000"), "{error}");
        // Go counts otherwise what an expression compiles to.
        let large = Pattern::new(r"\pL{1000}").expect_err("too large");
        assert!(
            large.to_string().ends_with("Go accepts this expression"),
            "{large}"
        );
    }
}
