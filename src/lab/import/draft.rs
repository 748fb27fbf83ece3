//! The lab that is drafted, and what is to be told of it.

use std::fmt::Write as _;
use std::path::Path;

/// The longest name of a network, which is a bridge's.
const LONGEST: usize = 15;

/// What became of a part of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Something else stands for it.
    Changed,
    /// Nothing does.
    Left,
}

impl Kind {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Left => "left out",
        }
    }
}

/// What is told of a line.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) kind: Kind,
    pub(super) line: u64,
    pub(super) text: String,
}

/// A table of the file, key by key, each with its value as TOML has it.
pub(super) type Keys = Vec<(String, String)>;

/// A lab's file.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) name: String,
    pub(super) lab: Keys,
    pub(super) nets: Vec<(String, Keys)>,
    pub(super) links: Vec<(String, Keys)>,
    /// Namespaces; the value of a key is TOML.
    pub(super) spaces: Vec<(String, Keys)>,
    pub(super) services: Vec<(String, Keys)>,
    pub(super) records: Keys,
    pub(super) report: Vec<Entry>,
}

impl Draft {
    /// An empty one.
    pub(super) fn new(name: String) -> Self {
        let mut draft = Self::default();
        draft.rename(&name);
        draft
    }

    /// Gives the lab a name, as far as it can be one.
    pub(super) fn rename(&mut self, name: &str) {
        self.name = fitting(name, 32);
    }

    /// Something stands for a part of the file that is not the same.
    pub(super) fn changed(&mut self, line: u64, text: impl Into<String>) {
        self.tell(Kind::Changed, line, text.into());
    }

    /// Nothing stands for a part of the file.
    pub(super) fn left(&mut self, line: u64, text: impl Into<String>) {
        self.tell(Kind::Left, line, text.into());
    }

    fn tell(&mut self, kind: Kind, line: u64, text: String) {
        let is_same = |one: &Entry| one.kind == kind && one.line == line && one.text == text;
        // What many take over from one line is told once.
        if !self.report.iter().any(is_same) {
            self.report.push(Entry { kind, line, text });
        }
    }

    /// A name for a network, told where it is another than in the file; `used` are those of others.
    pub(super) fn net_name(&mut self, line: u64, name: &str) -> String {
        let is_taken = |draft: &Self, name: &str| {
            ["all", "default", "none", "host", "lo"].contains(&name)
                || draft.nets.iter().any(|(other, _)| other == name)
        };
        let mut own = fitting(name, LONGEST);
        if is_taken(self, &own) {
            let base = match name {
                "default" => "br".to_owned(),
                _ => fitting(name, LONGEST - 2),
            };
            let free = (0..).map(|n| format!("{base}{n}"));
            own = free
                .into_iter()
                .find(|name| !is_taken(self, name))
                .unwrap_or(own);
        }
        if own != name && name != "default" {
            self.changed(
                line,
                format!("network `{name}` is called `{own}`: it is the name of a bridge"),
            );
        }
        own
    }

    /// The file.
    pub(super) fn text(&self, from: &Path) -> String {
        let from = from.display().to_string();
        let from: String = from.chars().filter(|c| !c.is_control()).collect();
        let mut out = format!(
            "# Made of {from} by `nameplate-lab import`.\n[lab]\nname = {}\n",
            quoted(&self.name)
        );
        let keys = |out: &mut String, keys: &Keys| {
            for (key, value) in keys {
                let _ = writeln!(out, "{} = {value}", bare(key));
            }
        };
        keys(&mut out, &self.lab);
        for (title, tables) in [("net", &self.nets), ("service", &self.services)] {
            for (name, table) in tables {
                let _ = writeln!(out, "\n[{title}.{}]", bare(name));
                keys(&mut out, table);
            }
        }
        for (title, tables) in [("ns", &self.spaces), ("link", &self.links)] {
            if !tables.is_empty() {
                let _ = writeln!(out, "\n[{title}]");
            }
            for (name, table) in tables {
                let _ = match &table[..] {
                    [(key, nets)] if key == "nets" && !nets.starts_with('[') => {
                        writeln!(out, "{} = {nets}", bare(name))
                    }
                    _ => writeln!(out, "{} = {}", bare(name), inline(table)),
                };
            }
        }
        if !self.records.is_empty() {
            out.push_str("\n[record]\n");
            keys(&mut out, &self.records);
        }
        out
    }

    /// How much was taken.
    pub(super) fn summary(&self) -> String {
        let count = |number: usize, what: &str| match number {
            1 => format!("1 {what}"),
            _ => format!("{number} {what}s"),
        };
        let mut words = vec![
            count(self.nets.len(), "network"),
            count(self.spaces.len(), "namespace"),
        ];
        if !self.links.is_empty() {
            words.push(count(self.links.len(), "link"));
        }
        words.join(", ")
    }
}

/// A name of letters, digits, `-`, `_` and `.`, first a letter or a digit.
pub(super) fn fitting(name: &str, longest: usize) -> String {
    let good = |c: char| {
        if c.is_ascii_alphanumeric() || "-_.".contains(c) {
            c
        } else {
            '-'
        }
    };
    let name: String = name.chars().map(good).collect();
    let name = name.trim_start_matches(['-', '_', '.']);
    let name: String = name.chars().take(longest).collect();
    match name.is_empty() {
        true => "lab".to_owned(),
        false => name,
    }
}

/// A string as TOML has it.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A list of strings.
pub(super) fn strings<T: AsRef<str>>(texts: &[T]) -> String {
    let texts: Vec<String> = texts.iter().map(|text| quoted(text.as_ref())).collect();
    format!("[{}]", texts.join(", "))
}

/// One string, or a list of several.
pub(super) fn some<T: AsRef<str>>(texts: &[T]) -> String {
    match texts {
        [one] => quoted(one.as_ref()),
        _ => strings(texts),
    }
}

/// A table in one line.
pub(super) fn inline(keys: &Keys) -> String {
    let keys: Vec<String> = keys
        .iter()
        .map(|(key, value)| format!("{} = {value}", bare(key)))
        .collect();
    match keys.is_empty() {
        true => "{}".to_owned(),
        false => format!("{{ {} }}", keys.join(", ")),
    }
}

/// A key, in quotes where it needs them.
fn bare(key: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    match !key.is_empty() && key.chars().all(plain) {
        true => key.to_owned(),
        false => quoted(key),
    }
}

/// The words of a line of shell, where it has nothing but words and quotes.
pub(super) fn words(line: &str) -> Option<Vec<String>> {
    let (mut words, mut word) = (Vec::new(), None::<String>);
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            c if c.is_whitespace() => words.extend(word.take()),
            '\'' | '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next()? {
                        end if end == c => break,
                        '\\' if c == '"' => word.push(chars.next()?),
                        c => word.push(c),
                    }
                }
            }
            '\\' => word.get_or_insert_default().push(chars.next()?),
            '&' | '|' | ';' | '<' | '>' | '`' | '(' | ')' => return None,
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Some(words)
}
