//! Reads hosts lines: `ADDRESS NAME...`, comments behind `#`.
//!
//! Good lines are kept whatever stands beside them; a bad one is remembered with its place, the first few with the reason. Names go
//! into one run of octets and entries into one vector, so that a million lines cost two allocations that grow. A file is read line by
//! line: held whole, it would be the first large allocation to be freed, after which glibc keeps the memory of those freed later.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, BufRead};
use std::net::IpAddr;

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};
use wire::{Name, NameBuf, NameError};

/// How many bad lines of one load are told of one by one.
const COMPLAINTS: usize = 10;

/// Which QNAMEs an entry is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Kind {
    /// The name itself.
    Exact = 0,
    /// `*.NAME`: one label more.
    OneLabel = 1,
    /// `**.NAME`: one label more or many.
    AnyLabels = 2,
}

/// One address of one name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    /// The name's hash; the kind is not in it.
    pub(super) hash: u64,
    /// Where the name stands in [`Gathered::names`], its length in octets before it.
    name: u32,
    /// Which QNAMEs it is for; of a wildcard, the name is the one below the asterisk.
    pub(super) kind: Kind,
    /// The address; an IPv4-mapped one is IPv4.
    pub(super) address: IpAddr,
}

/// What is wrong with a line: `place:line:column: why`.
#[derive(Debug)]
pub(super) struct Complaint {
    /// The file's name.
    place: String,
    /// The line, from 1.
    pub(super) line: usize,
    /// The column in octets, from 1.
    pub(super) column: usize,
    /// What is wrong.
    pub(super) why: String,
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (place, line, column) = (&self.place, self.line, self.column);
        write!(f, "{place}:{line}:{column}: {}", self.why)
    }
}

/// What was read so far.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    names: Vec<u8>,
    /// The entries, in the order of reading.
    pub(super) entries: Vec<Entry>,
    /// At most a few.
    pub(super) complaints: Vec<Complaint>,
    /// How many lines or names are bad.
    pub(super) bad: usize,
    /// Whether the file that was read last ends in the middle of a line.
    cut: bool,
}

impl Gathered {
    /// The lower-cased octets of an entry's name.
    pub(super) fn name(&self, entry: &Entry) -> &[u8] {
        let at = entry.name as usize;
        let len = self.names.get(at).map_or(0, |&len| len as usize);
        self.names.get(at + 1..at + 1 + len).unwrap_or_default()
    }

    /// Whether the file that was read last ends in the middle of a line, as one does that is still being written.
    pub(super) fn is_cut(&self) -> bool {
        self.cut
    }

    /// Reads the lines of `text`, keeping the names within `origins`; `place` names the text in complaints.
    pub(super) fn read(&mut self, place: &str, text: &[u8], origins: &[NameBuf]) {
        for (number, line) in text.split(|&octet| octet == b'\n').enumerate() {
            self.line((place, number), line, origins);
        }
    }

    /// Reads lines as [`Gathered::read`] does, `limit` octets at most; nothing of them is kept on an error.
    ///
    /// # Errors
    /// What reading says, and when there is more than `limit`.
    pub(super) fn read_from(
        &mut self,
        place: &str,
        mut from: impl BufRead,
        limit: u64,
        origins: &[NameBuf],
    ) -> io::Result<()> {
        let (names, entries) = (self.names.len(), self.entries.len());
        let (complaints, bad) = (self.complaints.len(), self.bad);
        let read = self.lines(place, &mut from, limit, origins);
        if read.is_err() {
            self.names.truncate(names);
            self.entries.truncate(entries);
            self.complaints.truncate(complaints);
            self.bad = bad;
        }
        read
    }

    fn lines(
        &mut self,
        place: &str,
        from: &mut impl BufRead,
        limit: u64,
        origins: &[NameBuf],
    ) -> io::Result<()> {
        let mut left = limit;
        let mut line = Vec::new();
        for number in 0.. {
            line.clear();
            let len = io::Read::take(&mut *from, left + 1).read_until(b'\n', &mut line)? as u64;
            if len == 0 {
                break;
            }
            left = left
                .checked_sub(len)
                .ok_or_else(|| io::Error::other(format!("longer than {limit} octets")))?;
            self.cut = !line.ends_with(b"\n");
            let line = line.strip_suffix(b"\n").unwrap_or(&line);
            self.line((place, number), line, origins);
        }
        Ok(())
    }

    /// Reads one line; `number` counts from 0.
    fn line(&mut self, (place, number): (&str, usize), line: &[u8], origins: &[NameBuf]) {
        let line = match number {
            0 => line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line),
            _ => line,
        };
        let line = match line.iter().position(|&octet| octet == b'#') {
            Some(comment) => &line[..comment],
            None => line,
        };
        let mut words = Words { line, at: 0 };
        let Some((column, word)) = words.next() else {
            return;
        };
        let mut complain = |column: usize, why: String| {
            self.bad += 1;
            if self.complaints.len() < COMPLAINTS {
                self.complaints.push(Complaint {
                    place: place.to_owned(),
                    line: number + 1,
                    column: column + 1,
                    why,
                });
            }
        };
        let Some(address) = address(word) else {
            complain(column, format!("not an IP address: {}", shown(word)));
            return;
        };
        let mut named = false;
        for (column, word) in words {
            named = true;
            let name = match name(word) {
                Ok(name) => name,
                Err(why) => {
                    complain(column, format!("{why}: {}", shown(word)));
                    continue;
                }
            };
            let (kind, name) = kind(&name);
            let served = origins
                .iter()
                .any(|origin| name.is_within(origin.as_name()));
            let (Ok(place), true) = (u32::try_from(self.names.len()), served) else {
                continue;
            };
            self.names.push(name.octets().len() as u8);
            self.names.extend_from_slice(name.octets());
            self.entries.push(Entry {
                hash: wire::name_hash(name),
                name: place,
                kind,
                address,
            });
        }
        if !named {
            complain(column, format!("no name after {}", shown(word)));
        }
    }
}

/// Words between white space, each with the octet where it begins.
struct Words<'a> {
    line: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Words<'a> {
    type Item = (usize, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let space = |octet: u8| octet.is_ascii_whitespace() || octet == 0x0B;
        let rest = self.line.get(self.at..)?;
        let start = self.at + rest.iter().position(|&octet| !space(octet))?;
        let word = &self.line[start..];
        let len = word
            .iter()
            .position(|&octet| space(octet))
            .unwrap_or(word.len());
        self.at = start + len;
        Some((start, &word[..len]))
    }
}

/// An address; an IPv6 zone behind `%` is dropped, since it means nothing to who asks.
pub(super) fn address(word: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(word).ok()?;
    let bare = text.split_once('%').map_or(text, |(bare, _)| bare);
    bare.parse()
        .ok()
        .map(|address: IpAddr| address.to_canonical())
}

/// A name in lower case. A name with letters beyond ASCII becomes the A-labels that are asked for (RFC 5891).
pub(super) fn name(word: &[u8]) -> Result<NameBuf, String> {
    let text = std::str::from_utf8(word).map_err(|_| "the name is not UTF-8".to_owned())?;
    if text.bytes().any(|octet| octet.is_ascii_control()) {
        return Err("a control character in the name".to_owned());
    }
    let parsed = if text.is_ascii() {
        NameBuf::parse(text, Name::ROOT)
    } else {
        let labels: Result<Vec<_>, _> = text.split('.').map(a_label).collect();
        let labels = labels.map_err(|_| "not an internationalised name".to_owned())?;
        NameBuf::parse(&labels.join("."), Name::ROOT)
    };
    parsed
        .map(NameBuf::to_lower)
        .map_err(|why: NameError| why.to_string())
}

/// A label as it is asked for; one in ASCII stays as it is, whatever it holds.
fn a_label(label: &str) -> Result<Cow<'_, str>, idna::Errors> {
    if label.is_ascii() {
        return Ok(label.into());
    }
    Uts46::new().to_ascii(
        label.as_bytes(),
        AsciiDenyList::STD3,
        Hyphens::Allow,
        DnsLength::Ignore,
    )
}

/// Takes the asterisks off a wildcard.
fn kind(name: &NameBuf) -> (Kind, Name<'_>) {
    let whole = name.as_name();
    let kind = match whole.labels().next() {
        Some(b"*") => Kind::OneLabel,
        Some(b"**") => Kind::AnyLabels,
        _ => return (Kind::Exact, whole),
    };
    (kind, whole.parent().unwrap_or(Name::ROOT))
}

/// A word for a message: short, and harmless to a terminal.
fn shown(word: &[u8]) -> String {
    const MOST: usize = 40;
    let text = word[..word.len().min(MOST)].escape_ascii();
    if word.len() > MOST {
        format!("`{text}…`")
    } else {
        format!("`{text}`")
    }
}
