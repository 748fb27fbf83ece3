//! Names as rules see them: in presentation format, in lower case, with the dot at their end.
//!
//! CoreDNS's rules compare texts, not labels: `suffix com` also matches `example.telecom.`. The text is written when the first rule
//! wants it, into room that the thread keeps, and escaped as CoreDNS's DNS library does it, so that an expression that was written for
//! there means the same here.

use regex::bytes::Regex;
use wire::{Name, NameBuf, NameError, Qname};

/// Writes `name` in place of what `out` has.
pub(super) fn write(name: Name<'_>, out: &mut Vec<u8>) {
    out.clear();
    for label in name.labels() {
        for &octet in label {
            match octet {
                b'.' | b' ' | b'\'' | b'@' | b';' | b'(' | b')' | b'"' | b'\\' => {
                    out.extend_from_slice(&[b'\\', octet]);
                }
                b'!'..=b'~' => out.push(octet),
                _ => {
                    let digits = [octet / 100, octet / 10 % 10, octet % 10];
                    out.push(b'\\');
                    out.extend(digits.map(|digit| b'0' + digit));
                }
            }
        }
        out.push(b'.');
    }
    if out.is_empty() {
        out.push(b'.');
    }
}

/// The name that a text stands for, absolute with or without a dot at its end.
pub(super) fn read(text: &[u8]) -> Result<NameBuf, NameError> {
    match text {
        // There is no origin that this could stand for.
        b"@" => NameBuf::prepend(b"@", Name::ROOT),
        text => NameBuf::parse_octets(text, Name::ROOT),
    }
}

/// A text as CoreDNS normalises the names of rules: in lower case, with a dot at its end.
pub(super) fn normalised(text: &str) -> String {
    let mut out = text.to_ascii_lowercase();
    let escapes = out.strip_suffix('.').map(|before| {
        let unescaped = before.trim_end_matches('\\');
        before.len() - unescaped.len()
    });
    if escapes.is_none_or(|count| count % 2 == 1) {
        out.push('.');
    }
    out
}

/// A name that rules are tried on.
pub(super) struct Subject<'a> {
    pub(super) qname: &'a Qname,
    /// Its text, when it is `ready`.
    pub(super) text: &'a mut Vec<u8>,
    pub(super) ready: bool,
}

impl Subject<'_> {
    /// Its text.
    pub(super) fn text(&mut self) -> &[u8] {
        if !self.ready {
            write(self.qname.name(), self.text);
            self.ready = true;
        }
        self.text
    }
}

/// Which names a rule is for.
#[derive(Debug)]
pub(super) enum Matcher {
    /// This one.
    Exact(Box<Qname>),
    /// Those whose text begins so.
    Prefix(Box<[u8]>),
    /// Those whose text ends so.
    Suffix(Box<[u8]>),
    /// Those whose text has this in it.
    Substring(Box<[u8]>),
    /// Those whose text matches.
    Regex(Regex),
    /// None: the text is no name.
    Nothing,
}

impl Matcher {
    /// Whether it is for the name.
    #[inline]
    pub(super) fn matches(&self, subject: &mut Subject<'_>) -> bool {
        match self {
            Self::Exact(name) => {
                name.hash(0) == subject.qname.hash(0)
                    && name.name().octets() == subject.qname.name().octets()
            }
            Self::Prefix(prefix) => subject.text().starts_with(prefix),
            Self::Suffix(suffix) => subject.text().ends_with(suffix),
            Self::Substring(part) => find(subject.text(), part).is_some(),
            Self::Regex(regex) => regex.is_match(subject.text()),
            Self::Nothing => false,
        }
    }
}

/// Where `part` begins in `text`; one that is empty begins everywhere.
pub(super) fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    let most = text.len().checked_sub(part.len())?;
    (0..=most).find(|&at| text[at..].starts_with(part))
}

/// Writes `text` with every `from` in it replaced.
pub(super) fn replace_all(text: &[u8], from: &[u8], to: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some(at) = find(rest, from).filter(|_| !from.is_empty()) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(to);
        rest = &rest[at + from.len()..];
    }
    out.extend_from_slice(rest);
}

/// A text with references to the groups of an expression, `{1}`.
#[derive(Debug)]
pub(super) struct Template(Vec<Piece>);

#[derive(Debug, PartialEq)]
enum Piece {
    Text(Box<[u8]>),
    Group(usize),
}

impl Template {
    /// Reads `text`; a number beyond the `groups` of the expression is no reference, but text, as in CoreDNS.
    pub(super) fn new(text: &str, groups: usize) -> Self {
        let mut pieces = Vec::new();
        let (mut plain, mut rest) = (String::new(), text);
        while let Some(at) = rest.find('{') {
            plain.push_str(&rest[..at]);
            rest = &rest[at..];
            let group = reference(rest).filter(|&(group, _)| group < groups);
            let Some((group, len)) = group else {
                plain.push('{');
                rest = &rest[1..];
                continue;
            };
            if !plain.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut plain).into_bytes().into()));
            }
            pieces.push(Piece::Group(group));
            rest = &rest[len..];
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain.into_bytes().into()));
        }
        Self(pieces)
    }

    /// Writes it with the groups that `regex` finds in `text`; `false` where it matches nothing.
    pub(super) fn expand(&self, regex: &Regex, text: &[u8], out: &mut Vec<u8>) -> bool {
        let Some(found) = regex.captures(text) else {
            return false;
        };
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text),
                Piece::Group(group) => {
                    out.extend_from_slice(found.get(*group).map_or(b"", |group| group.as_bytes()));
                }
            }
        }
        true
    }
}

/// The number of a reference that `text` begins with, and its length.
pub(super) fn reference(text: &str) -> Option<(usize, usize)> {
    let inside = text.strip_prefix('{')?;
    let (digits, _) = inside.split_once('}')?;
    let canonical = digits.bytes().all(|octet| octet.is_ascii_digit())
        && !digits.is_empty()
        && (digits == "0" || !digits.starts_with('0'));
    let group = digits.parse().ok().filter(|_| canonical)?;
    Some((group, digits.len() + 2))
}

/// The references in `text`, each once, up to the hundredth.
pub(super) fn references(text: &str) -> Vec<usize> {
    let mut found: Vec<usize> = text
        .match_indices('{')
        .filter_map(|(at, _)| reference(&text[at..]))
        .map(|(group, _)| group)
        .filter(|&group| group <= 100)
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_names_and_back() {
        for (text, written) in [
            ("www.example.org", "www.example.org."),
            (".", "."),
            (r"a\.b.example", r"a\.b.example."),
            (r"a\032b\@.example", r"a\ b\@.example."),
            (r"\255\000.", r"\255\000."),
            ("$a/b_c.", "$a/b_c."),
        ] {
            let name = read(text.as_bytes()).expect(text);
            let mut out = Vec::new();
            write(name.as_name(), &mut out);
            assert_eq!(String::from_utf8_lossy(&out), written);
            assert_eq!(read(&out).expect(written), name);
        }
    }

    #[test]
    fn names_of_rules_are_normalised() {
        for (text, normal) in [
            ("Example.ORG", "example.org."),
            ("example.org.", "example.org."),
            ("", "."),
            (".", "."),
            (r"a\.", r"a\.."),
            (r"a\\.", r"a\\."),
        ] {
            assert_eq!(normalised(text), normal, "{text}");
        }
    }

    #[test]
    fn templates_refer_to_groups() {
        let regex = Regex::new("(a)(b)?").expect("an expression");
        for (template, expected) in [
            ("{1}.{2}.{0}", "a..a"),
            ("{3}{1}", "{3}a"),
            ("{01}{}{x}{1", "{01}{}{x}{1"),
            ("", ""),
        ] {
            let mut out = Vec::new();
            assert!(Template::new(template, 3).expand(&regex, b"a", &mut out));
            assert_eq!(String::from_utf8_lossy(&out), expected, "{template}");
        }
        assert_eq!(references("{1}{0}{1}{100}{101}{x}"), [0, 1, 100]);
        let mut out = Vec::new();
        replace_all(b"a.foo.b.foo.", b"foo.", b"bar.", &mut out);
        assert_eq!(out, b"a.bar.b.bar.");
    }
}
