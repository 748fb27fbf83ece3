//! RDATA from wire form to presentation format, by the same grammar that text is read with.
//!
//! For people and for logs: nothing on the way of an answer formats. What is not RDATA of its type, and types whose grammar has a
//! field of its own without a text here, are written in the generic form (RFC 3597, section 5), which every reader takes.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

use wire::{HEADER_LEN, NameBuf, Record, Records, Type};

use crate::rdata::{Field, grammar};

/// The RDATA of `record` in presentation format.
pub fn present_rdata(record: &Record<'_>) -> String {
    let fields = grammar(record.rtype).and_then(|grammar| {
        let mut out = String::new();
        let mut reader = Reader {
            record,
            at: 0,
            out: &mut out,
        };
        for &field in grammar {
            reader.field(field)?;
        }
        (reader.at == record.rdata().len()).then_some(out)
    });
    fields.unwrap_or_else(|| generic(record.rdata()))
}

/// The same of RDATA by itself, whose names are in full.
pub fn present(rtype: Type, rdata: &[u8]) -> String {
    // A record of the root, behind a header.
    let mut octets = vec![0; HEADER_LEN + 1];
    octets.extend_from_slice(&rtype.0.to_be_bytes());
    octets.extend_from_slice(&[0, 1, 0, 0, 0, 0]);
    octets.extend_from_slice(&(rdata.len() as u16).to_be_bytes());
    octets.extend_from_slice(rdata);
    match Records::new(&octets, HEADER_LEN, [1, 0, 0]).next() {
        Some(Ok(record)) => present_rdata(&record),
        _ => generic(rdata),
    }
}

/// `\# length hex`.
fn generic(rdata: &[u8]) -> String {
    let mut out = format!("\\# {}", rdata.len());
    if !rdata.is_empty() {
        out.push(' ');
        hex(rdata, &mut out);
    }
    out
}

fn hex(octets: &[u8], out: &mut String) {
    for octet in octets {
        let _ = write!(out, "{octet:02x}");
    }
}

/// Reads RDATA from the left, and writes text.
struct Reader<'a, 'm> {
    record: &'a Record<'m>,
    at: usize,
    out: &'a mut String,
}

impl Reader<'_, '_> {
    fn take(&mut self, len: usize) -> Option<&[u8]> {
        let octets = self.record.rdata().get(self.at..self.at + len)?;
        self.at += len;
        Some(octets)
    }

    fn rest(&mut self) -> Option<&[u8]> {
        let octets = self.record.rdata().get(self.at..)?;
        self.at += octets.len();
        Some(octets)
    }

    fn number(&mut self, len: usize) -> Option<u64> {
        let octets = self.take(len)?;
        Some(
            octets
                .iter()
                .fold(0, |sum, &octet| sum << 8 | u64::from(octet)),
        )
    }

    /// The octets behind a length of one octet.
    fn counted(&mut self) -> Option<&[u8]> {
        let len = self.number(1)? as usize;
        self.take(len)
    }

    fn name(&mut self) -> Option<NameBuf> {
        let name = self.record.rdata_name(self.at).ok()?;
        // In the message it may be compressed.
        let rdata = self.record.rdata();
        let mut at = self.at;
        loop {
            match *rdata.get(at)? {
                0 => break at += 1,
                len if len >= 0xC0 => break at += 2,
                len => at += 1 + usize::from(len),
            }
        }
        self.at = at;
        Some(name)
    }

    fn put(&mut self, text: impl std::fmt::Display) {
        if !self.out.is_empty() {
            self.out.push(' ');
        }
        let _ = write!(self.out, "{text}");
    }

    fn field(&mut self, field: Field) -> Option<()> {
        match field {
            Field::U8 | Field::Algorithm | Field::DigestType | Field::Scheme | Field::Protocol => {
                let number = self.number(1)?;
                self.put(number);
            }
            Field::U16 | Field::CertType | Field::KeyFlags => {
                let number = self.number(2)?;
                self.put(number);
            }
            Field::U32 | Field::Ttl => {
                let number = self.number(4)?;
                self.put(number);
            }
            Field::Time => {
                let time = present_time(self.number(4)?);
                self.put(time);
            }
            Field::TypeCode => {
                let rtype = Type(self.number(2)? as u16);
                self.put(rtype);
            }
            Field::Name => {
                let name = self.name()?;
                self.put(name);
            }
            Field::Ip4 => {
                let ip = Ipv4Addr::from(*self.take(4)?.first_chunk::<4>()?);
                self.put(ip);
            }
            Field::Ip6 => {
                let ip = Ipv6Addr::from(*self.take(16)?.first_chunk::<16>()?);
                self.put(ip);
            }
            Field::Text => {
                let text = quoted(self.counted()?);
                self.put(text);
            }
            Field::MaybeText => {
                if self.at < self.record.rdata().len() {
                    self.field(Field::Text)?;
                }
            }
            Field::Texts => {
                self.field(Field::Text)?;
                while self.at < self.record.rdata().len() {
                    self.field(Field::Text)?;
                }
            }
            Field::LongText => {
                let text = quoted(self.rest()?);
                self.put(text);
            }
            Field::Hex => {
                let mut text = String::new();
                hex(self.rest()?, &mut text);
                self.put(text.to_uppercase());
            }
            Field::Key if self.at == self.record.rdata().len() => {}
            Field::Base64 | Field::Key => {
                let text = base64(self.rest()?);
                self.put(text);
            }
            Field::Types => self.types()?,
            Field::Salt => {
                let mut text = String::new();
                hex(self.counted()?, &mut text);
                self.put(if text.is_empty() { "-" } else { &text });
            }
            Field::Hash => {
                let text = base32(self.counted()?);
                self.put(text);
            }
            Field::Tag => {
                let text = String::from_utf8(self.counted()?.to_vec()).ok()?;
                self.put(text);
            }
            Field::Eui48 => self.groups((1, 6), '-')?,
            Field::Eui64 => self.groups((1, 8), '-')?,
            Field::Locator => self.groups((2, 4), ':')?,
            Field::SvcParams => self.parameters()?,
            Field::Nsap => {
                let mut text = "0x".to_owned();
                hex(self.rest()?, &mut text);
                self.put(text);
            }
            Field::Location
            | Field::Prefixes
            | Field::Ipsec
            | Field::Relay
            | Field::Hip
            | Field::Services => {
                return None;
            }
        }
        Some(())
    }

    /// `count` groups of `size` octets in hexadecimal.
    fn groups(&mut self, (size, count): (usize, usize), between: char) -> Option<()> {
        let octets = self.take(size * count)?;
        let mut text = String::new();
        for group in octets.chunks(size) {
            if !text.is_empty() {
                text.push(between);
            }
            hex(group, &mut text);
        }
        self.put(text);
        Some(())
    }

    /// A type bitmap (RFC 4034, section 4.1.2).
    fn types(&mut self) -> Option<()> {
        while self.at < self.record.rdata().len() {
            let window = self.number(1)? as u16;
            let bits = self.counted()?.to_vec();
            for (at, octet) in bits.into_iter().enumerate() {
                for bit in (0..8).filter(|bit| octet & 0x80 >> bit != 0) {
                    self.put(Type(window << 8 | (at * 8 + bit) as u16));
                }
            }
        }
        Some(())
    }

    /// SvcParams (RFC 9460, section 2.1).
    fn parameters(&mut self) -> Option<()> {
        const KEYS: [&str; 9] = [
            "mandatory",
            "alpn",
            "no-default-alpn",
            "port",
            "ipv4hint",
            "ech",
            "ipv6hint",
            "dohpath",
            "ohttp",
        ];
        let key_name = |key: usize| {
            KEYS.get(key)
                .map_or_else(|| format!("key{key}"), |name| (*name).to_owned())
        };
        while self.at < self.record.rdata().len() {
            let key = self.number(2)? as usize;
            let len = self.number(2)? as usize;
            let value = self.take(len)?.to_vec();
            let list = |parts: Vec<String>| Some(parts.join(","));
            let text = match key {
                0 => list(
                    value
                        .chunks(2)
                        .map(|code| {
                            key_name(code.iter().fold(0, |sum, &o| sum << 8 | usize::from(o)))
                        })
                        .collect(),
                ),
                1 => {
                    let mut parts = Vec::new();
                    let mut left = &value[..];
                    while let Some((&len, rest)) = left.split_first() {
                        let (part, after) = rest.split_at_checked(usize::from(len))?;
                        if !part
                            .iter()
                            .all(|o| o.is_ascii_alphanumeric() || b"-./_".contains(o))
                        {
                            return None;
                        }
                        parts.push(String::from_utf8_lossy(part).into_owned());
                        left = after;
                    }
                    list(parts)
                }
                2 | 8 if value.is_empty() => None,
                3 => Some(u16::from_be_bytes(value.try_into().ok()?).to_string()),
                4 => list(
                    value
                        .as_chunks::<4>()
                        .0
                        .iter()
                        .map(|ip| Ipv4Addr::from(*ip).to_string())
                        .collect(),
                ),
                5 => Some(base64(&value)),
                6 => list(
                    value
                        .as_chunks::<16>()
                        .0
                        .iter()
                        .map(|ip| Ipv6Addr::from(*ip).to_string())
                        .collect(),
                ),
                _ => Some(quoted(&value)),
            };
            let name = key_name(key);
            match text {
                Some(text) => self.put(format_args!("{name}={text}")),
                None => self.put(name),
            }
        }
        Some(())
    }
}

/// A character-string in quotes.
fn quoted(octets: &[u8]) -> String {
    let mut out = "\"".to_owned();
    for &octet in octets {
        match octet {
            b'"' | b'\\' => {
                out.push('\\');
                out.push(char::from(octet));
            }
            0x20..=0x7E => out.push(char::from(octet)),
            _ => {
                let _ = write!(out, "\\{octet:03}");
            }
        }
    }
    out.push('"');
    out
}

fn base64(octets: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = digits(octets, 6, ALPHABET);
    while !out.len().is_multiple_of(4) {
        out.push('=');
    }
    out
}

/// Base 32 with the extended hexadecimal alphabet, without padding (RFC 5155, section 3.3).
pub(crate) fn base32(octets: &[u8]) -> String {
    digits(octets, 5, b"0123456789ABCDEFGHIJKLMNOPQRSTUV")
}

/// The octets as digits of `bits` bits, filled up with zero bits.
fn digits(octets: &[u8], bits: u32, alphabet: &[u8]) -> String {
    let mut out = String::new();
    let (mut held, mut have) = (0u32, 0);
    for &octet in octets {
        held = held << 8 | u32::from(octet);
        have += 8;
        while have >= bits {
            have -= bits;
            out.push(char::from(
                alphabet[(held >> have) as usize & ((1 << bits) - 1)],
            ));
        }
    }
    if have > 0 {
        out.push(char::from(
            alphabet[(held << (bits - have)) as usize & ((1 << bits) - 1)],
        ));
    }
    out
}

/// Seconds since 1970 as `YYYYMMDDHHmmSS` (RFC 4034, section 3.2).
pub fn present_time(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Days of the civil calendar, in eras of 400 years that begin on 1 March.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}")
}
