//! The lab that is drafted, and what is to be told of it.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::ops::Range;

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
    /// What namespaces, services and records are called so far, in small letters.
    taken: HashSet<String>,
    /// Lines of the file that tables and strings were made from.
    origins: Vec<(Part, String, u64)>,
}

/// A part of a lab's file that has a line of the other tool's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Net,
    Service,
    Space,
    Link,
    Record,
    /// A string in quotes.
    Text,
}

/// A lab's file as text, and the lines of the other tool's file that its lines were made from.
pub(super) struct Text {
    pub(super) out: String,
    lines: Vec<u64>,
}

impl Draft {
    /// Gives the lab a name, as far as it can be one.
    pub(super) fn rename(&mut self, line: u64, name: &str) {
        self.name = fitting(name, 32);
        if self.name != name {
            let text = format!("the lab `{name}` is called `{}`", self.name);
            self.changed(line, text);
        }
    }

    /// Remembers the line that a part was made from.
    pub(super) fn made(&mut self, part: Part, name: &str, line: u64) {
        self.origins.push((part, name.to_owned(), line));
    }

    /// The line of the `nth` part of that name.
    fn origin(&self, part: Part, name: &str, nth: usize) -> Option<u64> {
        let mut lines = self
            .origins
            .iter()
            .filter(|(kind, other, _)| *kind == part && other == name)
            .map(|(.., line)| *line);
        let first = lines.next()?;
        Some(
            nth.checked_sub(1)
                .and_then(|nth| lines.nth(nth))
                .unwrap_or(first),
        )
    }

    /// Takes a name that nothing else has yet, whatever the size of its letters.
    pub(super) fn claim(&mut self, name: &str) -> bool {
        self.taken.insert(name.to_ascii_lowercase())
    }

    /// A name for a namespace, told where it is another than in the file.
    pub(super) fn space_name(&mut self, line: u64, name: &str) -> String {
        const LABEL: usize = 63;
        let mut own = fitting(name, LABEL);
        let mut others = 2..;
        while !self.claim(&own) {
            let end = format!("-{}", others.next().unwrap_or_default());
            own = fitting(name, LABEL - end.len()) + &end;
        }
        if own != name {
            self.changed(line, format!("`{name}` is called `{own}`"));
        }
        self.made(Part::Space, &own, line);
        own
    }

    /// Adds another name of a namespace, unless something else is called so.
    pub(super) fn alias(&mut self, (line, space): (u64, &str), name: &str, to: &mut Vec<String>) {
        let own = fitting(name, 63);
        if own.eq_ignore_ascii_case(space) || to.iter().any(|one| one.eq_ignore_ascii_case(&own)) {
            return;
        }
        if !self.claim(&own) {
            let text = format!("{space}: the name `{name}`: something else is called so, too");
            self.left(line, text);
            return;
        }
        if own != name {
            self.changed(
                line,
                format!("{space}: its name `{name}` is written `{own}`"),
            );
        }
        self.made(Part::Text, &own, line);
        to.push(own);
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
        self.made(Part::Net, &own, line);
        own
    }

    /// The file.
    pub(super) fn text(&self, from: &str) -> Text {
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
        let mut lines = Vec::new();
        // What was written since the last time was made from there.
        let mut made = |out: &str, part, name: &str| {
            let line = self.origin(part, name, 0).unwrap_or(1);
            lines.resize(out.lines().count(), line);
        };
        made(&out, Part::Text, "");
        for (title, part, tables) in [
            ("net", Part::Net, &self.nets),
            ("service", Part::Service, &self.services),
        ] {
            for (name, table) in tables {
                let _ = writeln!(out, "\n[{title}.{}]", bare(name));
                keys(&mut out, table);
                made(&out, part, name);
            }
        }
        for (title, part, tables) in [
            ("ns", Part::Space, &self.spaces),
            ("link", Part::Link, &self.links),
        ] {
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
                made(&out, part, name);
            }
        }
        if !self.records.is_empty() {
            out.push_str("\n[record]\n");
        }
        for record in &self.records {
            keys(&mut out, &vec![record.clone()]);
            made(&out, Part::Record, &record.0);
        }
        Text { out, lines }
    }

    /// The line of the other tool's file that an octet of the lab's was made from.
    pub(super) fn line_of(&self, text: &Text, at: usize) -> u64 {
        let before = text.out.get(..at).unwrap_or_default();
        let start = before.rfind('\n').map_or(0, |end| end + 1);
        let row = before.matches('\n').count();
        let line = text.out[start..].lines().next().unwrap_or_default();
        let literals = literals(line);
        let here = literals.iter().find(|range| range.contains(&(at - start)));
        let of_text = here.and_then(|here| {
            let literal = &line[here.clone()];
            let same = literals
                .iter()
                .filter(|one| one.start < here.start && line[(*one).clone()] == *literal);
            self.origin(Part::Text, &literal[1..literal.len() - 1], same.count())
        });
        of_text.unwrap_or_else(|| text.lines.get(row).copied().unwrap_or(1))
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

/// Where strings stand in a line, with their quotes.
fn literals(line: &str) -> Vec<Range<usize>> {
    let (mut found, mut open, mut escaped) = (Vec::new(), None, false);
    for (at, c) in line.char_indices() {
        match (c, open) {
            _ if escaped => escaped = false,
            ('\\', Some(_)) => escaped = true,
            ('"', Some(start)) => {
                found.push(start..at + 1);
                open = None;
            }
            ('"', None) => open = Some(at),
            _ => {}
        }
    }
    found
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
