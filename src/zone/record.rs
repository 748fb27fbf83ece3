//! One record in presentation format by itself, of any class: what a template writes.
//!
//! A record without a TTL has 3600, one without a class is of IN, and a relative name is relative to the root, as in CoreDNS.

use wire::{Class, Name, NameBuf, Type};

use crate::encoding;
use crate::rdata::{self, Fields};
use crate::scanner::{Scanned, Scanner, Token};

/// The TTL of a record that states none.
const DEFAULT_TTL: u32 = 3_600;

/// A record by itself.
#[derive(Clone, Debug)]
pub struct LoneRecord {
    /// Its owner.
    pub owner: NameBuf,
    /// Its type.
    pub rtype: Type,
    /// Its class.
    pub class: Class,
    /// Its TTL.
    pub ttl: u32,
    /// Its RDATA, names uncompressed.
    pub rdata: Vec<u8>,
}

/// Why a text is no record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecordFault {
    /// The line, from 1.
    pub line: u32,
    /// The column in octets, from 1.
    pub column: u32,
    /// What is wrong there.
    pub why: String,
}

impl std::fmt::Display for RecordFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} (line {}, column {})",
            self.why, self.line, self.column
        )
    }
}

impl std::error::Error for RecordFault {}

/// Reads the first record of `text`; `None` where there is none: white space and comments.
///
/// # Errors
/// With the place of the first mistake.
pub fn parse_record(text: &[u8]) -> Result<Option<LoneRecord>, RecordFault> {
    let mut tokens = Vec::new();
    match Scanner::new(text).next(&mut tokens) {
        Scanned::End => Ok(None),
        Scanned::Mistake { line, column, why } => Err(RecordFault {
            line,
            column,
            why: why.to_owned(),
        }),
        Scanned::Entry { blank: true } => Err(fault(&tokens, 0, "the record has no owner")),
        Scanned::Entry { blank: false } => {
            let read = record(text, &tokens);
            read.map(Some).map_err(|(at, why)| fault(&tokens, at, why))
        }
    }
}

fn fault(tokens: &[Token], at: usize, why: impl Into<String>) -> RecordFault {
    let token = tokens.get(at).or(tokens.last());
    RecordFault {
        line: token.map_or(1, |token| token.line),
        column: token.map_or(1, |token| token.column),
        why: why.into(),
    }
}

/// A mistake at a token.
type Read<T> = Result<T, (usize, String)>;

fn record(text: &[u8], tokens: &[Token]) -> Read<LoneRecord> {
    let word = |at: usize| tokens.get(at).map(|token| token.of(text));
    let owner = NameBuf::parse_octets(word(0).unwrap_or_default(), Name::ROOT)
        .map_err(|why| (0, format!("the owner: {why}")))?;
    let (mut ttl, mut class) = (None, None);
    let mut next = 1;
    let rtype = loop {
        let Some(found) = word(next) else {
            return Err((next, "the record has no type".to_owned()));
        };
        let named = std::str::from_utf8(found).ok();
        if ttl.is_none() && found.first().is_some_and(u8::is_ascii_digit) {
            let read = encoding::ttl(found);
            ttl = Some(
                read.map_err(|_| (next, "expected a TTL: seconds, or such as 1h30m".to_owned()))?,
            );
        } else if let Some(rtype) = rdata::type_of(found).filter(|rtype| *rtype != Type::ANY) {
            break rtype;
        } else if let (None, Some(read)) =
            (class, named.and_then(|text| text.parse::<Class>().ok()))
        {
            class = Some(read);
        } else {
            let found = String::from_utf8_lossy(found).into_owned();
            return Err((next, format!("`{found}` is not a record type")));
        }
        next += 1;
    };
    if rtype.is_meta() || rtype.0 == 0 {
        return Err((next, format!("{rtype} is no type that a record can have")));
    }
    let mut fields = Fields {
        text,
        tokens,
        next: next + 1,
        origin: Name::ROOT,
    };
    let mut octets = Vec::new();
    rdata::read(rtype, &mut fields, &mut octets)
        .map_err(|fault| (fault.token, fault.why.into_owned()))?;
    Ok(LoneRecord {
        owner,
        rtype,
        class: class.unwrap_or(Class::IN),
        // A TTL with its highest bit set counts as 0 (RFC 2181, section 8).
        ttl: ttl.map_or(
            DEFAULT_TTL,
            |ttl| if ttl > i32::MAX as u32 { 0 } else { ttl },
        ),
        rdata: octets,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_record_of_any_class() {
        for (text, expected) in [
            ("example. 60 IN A 192.0.2.1", "example. 60 IN A 4"),
            ("example. IN 60 A 192.0.2.1", "example. 60 IN A 4"),
            ("example A 192.0.2.1 ; a comment", "example. 3600 IN A 4"),
            (
                "example. 1h TXT a b\nnext. A 192.0.2.2",
                "example. 3600 IN TXT 4",
            ),
            ("version.bind. 0 CH TXT \"x\"", "version.bind. 0 CH TXT 2"),
            (
                "a. CLASS32 TYPE65280 \\# 1 ff",
                "a. 3600 CLASS32 TYPE65280 1",
            ),
            ("a. 60 SOA ns host (1 60 60 60 60)", "a. 60 IN SOA 30"),
            ("*.a. 60 CNAME b", "*.a. 60 IN CNAME 3"),
        ] {
            let read = parse_record(text.as_bytes()).expect(text).expect(text);
            let shown = format!(
                "{} {} {} {} {}",
                read.owner.as_name(),
                read.ttl,
                read.class,
                read.rtype,
                read.rdata.len()
            );
            assert_eq!(shown, expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_record() {
        for (text, line, column, why) in [
            ("example.", 1, 1, "the record has no type"),
            (
                "example. example.",
                1,
                10,
                "`example.` is not a record type",
            ),
            ("example. 60 IN A 10.0.0", 1, 18, "expected an IPv4 address"),
            ("example. 60 IN A", 1, 16, "an IPv4 address is missing"),
            (" 60 IN A 192.0.2.1", 1, 2, "the record has no owner"),
            (
                "a. 60x A 192.0.2.1",
                1,
                4,
                "expected a TTL: seconds, or such as 1h30m",
            ),
            ("a. ANY ANY x", 1, 8, "`ANY` is not a record type"),
            ("a. 60 IN\n", 1, 7, "the record has no type"),
            ("a. TXT \"x", 1, 8, "a quoted string is not closed"),
        ] {
            let fault = parse_record(text.as_bytes()).expect_err(text);
            assert_eq!(
                (fault.line, fault.column, fault.why.as_str()),
                (line, column, why),
                "{text}"
            );
        }
        for nothing in ["", "  \n", "; a comment"] {
            assert!(parse_record(nothing.as_bytes()).expect(nothing).is_none());
        }
    }
}
