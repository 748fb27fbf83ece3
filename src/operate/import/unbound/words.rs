//! The words of unbound.conf: keys end in a colon, values may be quoted, `#` begins a comment.

/// A word of a line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Word {
    /// Without the colon at its end.
    Key(String),
    Value(String),
}

impl Word {
    pub(super) fn key(&self) -> Option<String> {
        match self {
            Self::Key(key) => Some(key.to_ascii_lowercase()),
            Self::Value(_) => None,
        }
    }

    pub(super) fn text(&self) -> &str {
        match self {
            Self::Key(text) | Self::Value(text) => text,
        }
    }
}

/// The words of a line. Only the first one may be a key, or the one behind a clause: `server: port: 53`.
pub(super) fn words(line: &str) -> impl Iterator<Item = Word> {
    let mut all = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() && !rest.starts_with('#') {
        let first = rest.chars().next().unwrap_or_default();
        if matches!(first, '"' | '\'') {
            let inner = &rest[1..];
            let end = inner.find(first).unwrap_or(inner.len());
            all.push(Word::Value(inner[..end].to_owned()));
            rest = inner.get(end + 1..).unwrap_or_default().trim_start();
            continue;
        }
        let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        // `port:53` has no space; behind a clause a key ends its word, since addresses have colons, too.
        let colon = match all.last() {
            None => word.find(':'),
            Some(Word::Key(_)) => word.len().checked_sub(1).filter(|_| word.ends_with(':')),
            Some(Word::Value(_)) => None,
        };
        match colon.filter(|colon| is_key(&word[..*colon])) {
            Some(colon) => {
                all.push(Word::Key(word[..colon].to_owned()));
                rest = rest[colon + 1..].trim_start();
            }
            None => {
                all.push(Word::Value(word.to_owned()));
                rest = after.trim_start();
            }
        }
    }
    all.into_iter()
}

fn is_key(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.chars().all(plain)
}
