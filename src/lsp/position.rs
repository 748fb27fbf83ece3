//! Offsets in a text as positions of the protocol, and URIs as paths.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// What a column counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Units {
    /// UTF-16 code units, unless both sides agree on another.
    Utf16,
    /// Octets.
    Utf8,
}

/// A text with an index of its lines, so that a position costs a binary search and not a look through all that is before it.
pub(crate) struct Lines<'a> {
    text: &'a str,
    units: Units,
    /// The start of each line, and a place every [`STRIDE`] octets of a longer one.
    marks: Vec<Mark>,
}

/// How much of a line is counted at most.
const STRIDE: usize = 256;

/// A place in a text whose position is known.
#[derive(Clone, Copy)]
struct Mark {
    offset: usize,
    line: usize,
    column: usize,
}

impl<'a> Lines<'a> {
    /// Goes through a text once.
    pub(crate) fn of(text: &'a str, units: Units) -> Self {
        let mut last = Mark {
            offset: 0,
            line: 0,
            column: 0,
        };
        let (mut here, mut marks) = (last, vec![last]);
        for (offset, c) in text.char_indices() {
            here.offset = offset;
            if offset - last.offset >= STRIDE {
                marks.push(here);
                last = here;
            }
            here.column += units.of(c);
            if c == '\n' {
                here = Mark {
                    offset: offset + 1,
                    line: here.line + 1,
                    column: 0,
                };
                marks.push(here);
                last = here;
            }
        }
        Self { text, units, marks }
    }

    /// The position of an offset.
    pub(crate) fn position(&self, at: usize) -> Value {
        let mut at = at.min(self.text.len());
        while !self.text.is_char_boundary(at) {
            at -= 1;
        }
        let behind = self.marks.partition_point(|mark| mark.offset <= at);
        let mark = self.marks[behind - 1];
        let rest = self.text[mark.offset..at].chars();
        let column = mark.column + rest.map(|c| self.units.of(c)).sum::<usize>();
        json!({ "line": mark.line, "character": column })
    }

    /// The range of two offsets.
    pub(crate) fn range(&self, start: usize, end: usize) -> Value {
        json!({ "start": self.position(start), "end": self.position(end) })
    }
}

impl Units {
    /// How many a character has.
    fn of(self, c: char) -> usize {
        match self {
            Self::Utf16 => c.len_utf16(),
            Self::Utf8 => c.len_utf8(),
        }
    }

    /// The offset of a position; one behind a line's end is that end.
    pub(crate) fn offset(self, text: &str, position: &Value) -> usize {
        let number = |name: &str| position[name].as_u64().unwrap_or_default() as usize;
        let mut start = 0;
        for _ in 0..number("line") {
            match text[start..].find('\n') {
                Some(end) => start += end + 1,
                None => return text.len(),
            }
        }
        let line = text[start..].split(['\n', '\r']).next().unwrap_or_default();
        let mut left = number("character");
        for (at, c) in line.char_indices() {
            if left == 0 {
                return start + at;
            }
            left = left.saturating_sub(self.of(c));
        }
        start + line.len()
    }
}

/// The path of a `file:` URI.
pub(crate) fn path(uri: &str) -> Option<PathBuf> {
    let rest = uri.strip_prefix("file://")?;
    // A host may stand before the path; an editor leaves it out, or names this one.
    let rest = &rest[rest.find('/')?..];
    let mut octets = Vec::new();
    let mut rest = rest.bytes();
    while let Some(octet) = rest.next() {
        if octet != b'%' {
            octets.push(octet);
            continue;
        }
        let mut digit = || char::from(rest.next()?).to_digit(16);
        octets.push((digit()? * 16 + digit()?) as u8);
    }
    String::from_utf8(octets).ok().map(PathBuf::from)
}

/// The `file:` URI of a path.
pub(crate) fn uri(path: &Path) -> String {
    let mut out = "file://".to_owned();
    for octet in path.to_string_lossy().bytes() {
        match octet {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'.' | b'_' | b'~' => {
                out.push(octet.into());
            }
            _ => out.push_str(&format!("%{octet:02X}")),
        }
    }
    out
}
