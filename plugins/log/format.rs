//! Formats: a text with placeholders, cut into pieces once, written piece by piece.

use std::fmt::{self, Write};
use std::net::IpAddr;

use chain::Query;
use wire::{Response, Type};

use super::class::Kind;

/// The format where none is given.
pub(super) const COMMON: &str = "{remote}:{port} - {>id} \"{type} {class} {name} {proto} {size} {>do} {>bufsize}\" {rcode} {>rflags} {rsize} {duration}";
/// What `{combined}` has behind `{common}`.
const COMBINED_TAIL: &str = " \"{>opcode}\"";

/// The value of something that is not known.
const EMPTY: &str = "-";

macro_rules! fields {
    ($($field:ident $label:literal,)*) => {
        /// A placeholder.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        enum Field { $($field,)* }

        impl Field {
            /// Every placeholder as it is written, the composed ones included.
            const LABELS: &[&str] = &["{common}", "{combined}", "{/log/class}", "{/log/type}", $($label,)*];

            fn from_label(label: &str) -> Option<Self> {
                match label { $($label => Some(Self::$field),)* _ => None }
            }
        }
    };
}

fields! {
    Type "{type}", Name "{name}", Class "{class}", Proto "{proto}", Size "{size}", Remote "{remote}", Port "{port}",
    Local "{local}", Id "{>id}", Opcode "{>opcode}", Do "{>do}", Bufsize "{>bufsize}", Rcode "{rcode}", Rsize "{rsize}",
    Duration "{duration}", Rflags "{>rflags}",
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Piece {
    Literal(Box<str>),
    Field(Field),
    LogClass,
    LogType,
    /// A metadata label.
    Label(Box<str>),
}

/// What a line tells of.
pub(super) struct Seen<'s, 'q> {
    pub(super) query: &'s Query<'q>,
    /// Nothing where nobody answers.
    pub(super) response: Option<&'s Response<'q>>,
    pub(super) kind: Kind,
    /// The time now, of [`host::clock`].
    pub(super) now: u64,
}

/// A format in pieces.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Format(Vec<Piece>);

impl Format {
    /// Cuts `text`; whatever is no placeholder stands for itself.
    pub(super) fn new(text: &str) -> Self {
        let text = text
            .replace("{common}", COMMON)
            .replace("{combined}", &format!("{COMMON}{COMBINED_TAIL}"));
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut rest = text.as_str();
        while let Some((before, label, behind)) = next_braces(rest) {
            let piece = match (Field::from_label(label), label) {
                (Some(field), _) => Piece::Field(field),
                (None, "{/log/class}") => Piece::LogClass,
                (None, "{/log/type}") => Piece::LogType,
                (None, _) if label.starts_with("{/") => {
                    Piece::Label(label.trim_start_matches("{/").trim_end_matches('}').into())
                }
                (None, _) => {
                    literal += before;
                    literal += label;
                    rest = behind;
                    continue;
                }
            };
            literal += before;
            if !literal.is_empty() {
                pieces.push(Piece::Literal(std::mem::take(&mut literal).into()));
            }
            pieces.push(piece);
            rest = behind;
        }
        literal += rest;
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal.into()));
        }
        Self(pieces)
    }

    /// The first metadata label that it reads.
    pub(super) fn label(&self) -> Option<&str> {
        self.0.iter().find_map(|piece| match piece {
            Piece::Label(label) => Some(&**label),
            _ => None,
        })
    }

    /// The first word in braces that is no placeholder, and the one that is nearest to it.
    pub(super) fn unknown(text: &str) -> Option<(&str, Option<&'static str>)> {
        let mut rest = text;
        while let Some((_, label, behind)) = next_braces(rest) {
            if !Field::LABELS.contains(&label) && !label.starts_with("{/") {
                let near = corefile::nearest(label, Field::LABELS.iter().copied());
                return Some((label, near));
            }
            rest = behind;
        }
        None
    }

    /// Appends the line to `out`.
    pub(super) fn write(&self, out: &mut String, seen: &Seen<'_, '_>) -> fmt::Result {
        for piece in &self.0 {
            match piece {
                Piece::Literal(text) => out.push_str(text),
                Piece::Field(field) => field.write(out, seen)?,
                Piece::LogClass => out.push_str(seen.kind.class().name()),
                Piece::LogType => out.push_str(seen.kind.name()),
                Piece::Label(label) => {
                    if !seen.query.label(label, out) {
                        out.push_str(EMPTY);
                    }
                }
            }
        }
        Ok(())
    }
}

/// The text before the next innermost `{…}`, that word, and the text behind.
fn next_braces(text: &str) -> Option<(&str, &str, &str)> {
    let mut from = 0;
    loop {
        let close = from + text[from..].find('}')?;
        if let Some(open) = text[..close].rfind('{') {
            return Some((&text[..open], &text[open..=close], &text[close + 1..]));
        }
        from = close + 1;
    }
}

impl Field {
    fn write(self, out: &mut String, seen: &Seen<'_, '_>) -> fmt::Result {
        let (query, response) = (seen.query, seen.response);
        let asked = query.asked();
        match self {
            Self::Type => write!(out, "{}", asked.qtype),
            Self::Name => write!(out, "{}", asked.qname.name()),
            Self::Class => write!(out, "{}", asked.qclass),
            Self::Proto => out.write_str(query.transport().protocol()),
            Self::Size => write!(out, "{}", query.message().len()),
            Self::Remote => write_address(out, query.peer().ip()),
            Self::Port => write!(out, "{}", query.peer().port()),
            Self::Local => write_address(out, query.local().ip()),
            Self::Id => write!(out, "{}", asked.id),
            Self::Opcode => write!(out, "{}", asked.flags.opcode().0),
            Self::Do => write!(out, "{}", asked.dnssec_ok()),
            Self::Bufsize if query.transport().is_datagram() => {
                write!(out, "{}", asked.udp_limit())
            }
            Self::Bufsize => out.write_str("65535"),
            Self::Rcode => match response.map(Response::rcode) {
                Some(rcode) => match rcode.mnemonic() {
                    Some(name) => out.write_str(name),
                    None => write!(out, "{}", rcode.0),
                },
                None => out.write_str(EMPTY),
            },
            Self::Rsize => write!(out, "{}", response.map_or(0, uncompressed)),
            Self::Duration => {
                let nanos = seen.now.saturating_sub(query.received());
                let second = host::clock::SECOND;
                let seconds = (nanos / second) as f64 + (nanos % second) as f64 / second as f64;
                write!(out, "{seconds}s")
            }
            Self::Rflags => match response {
                Some(response) => write!(out, "{}", response.flags()),
                None => out.write_str(EMPTY),
            },
        }
    }
}

/// An address; IPv6 in brackets, IPv4 as IPv4 whatever the socket's family.
fn write_address(out: &mut String, address: IpAddr) -> fmt::Result {
    match address.to_canonical() {
        IpAddr::V4(v4) => write!(out, "{v4}"),
        IpAddr::V6(v6) => write!(out, "[{v6}]"),
    }
}

/// The length that the response would have without compression: what CoreDNS logs.
fn uncompressed(response: &Response<'_>) -> usize {
    let octets = response.octets();
    let mut total = response.question_end();
    for record in response.records().filter_map(Result::ok) {
        let (start, end) = (record.rdata_range.start, record.rdata_range.end);
        total += name_len(octets, record.start) + 10;
        // The types whose names may be compressed: fixed octets, then names (RFC 1035, 3.3; RFC 3597, 4).
        let (head, names) = match record.rtype {
            Type::NS | Type::CNAME | Type::PTR | Type::MD | Type::MF => (0, 1),
            Type::MB | Type::MG | Type::MR => (0, 1),
            Type::MINFO | Type::RP => (0, 2),
            Type::MX | Type::AFSDB | Type::RT => (2, 1),
            Type::PX => (2, 2),
            Type::SRV => (6, 1),
            Type::SOA => (0, 2),
            _ => {
                total += end - start;
                continue;
            }
        };
        let mut at = start + head;
        total += head;
        for _ in 0..names {
            total += name_len(octets, at);
            at = wire::skip_name(octets, at).unwrap_or(end);
        }
        total += end.saturating_sub(at);
    }
    total
}

/// The length of the name at `at`, pointers followed; a name that cannot be read has none.
fn name_len(octets: &[u8], at: usize) -> usize {
    wire::NameBuf::read(octets, at).map_or(0, |(name, _)| name.as_name().octets().len())
}
