//! The text encodings that RDATA is written in: numbers, hexadecimal, base64, base32hex, times, TTLs.

/// Reads an unsigned decimal number of at most `max`.
pub(crate) fn number(text: &[u8], max: u64) -> Option<u64> {
    if text.is_empty() || text.len() > 20 {
        return None;
    }
    let mut value = 0u64;
    for &octet in text {
        let digit = octet.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(u64::from(digit))?;
    }
    (value <= max).then_some(value)
}

/// Why a text is no TTL.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum TtlError {
    /// It is none.
    Form,
    /// It does not fit into 32 bits.
    Overflow,
}

/// Reads a TTL: seconds, or numbers with the units `w d h m s` (BIND's notation), added up.
pub(crate) fn ttl(text: &[u8]) -> Result<u32, TtlError> {
    if !text.first().is_some_and(u8::is_ascii_digit) {
        return Err(TtlError::Form);
    }
    let (mut total, mut part, mut digits) = (0u64, 0u64, false);
    for &octet in text {
        if octet.is_ascii_digit() {
            part = part
                .saturating_mul(10)
                .saturating_add(u64::from(octet - b'0'));
            digits = true;
            continue;
        }
        let unit = match octet.to_ascii_lowercase() {
            b'w' => 604_800,
            b'd' => 86_400,
            b'h' => 3_600,
            b'm' => 60,
            b's' => 1,
            _ => return Err(TtlError::Form),
        };
        if !digits {
            return Err(TtlError::Form);
        }
        total = total.saturating_add(part.saturating_mul(unit));
        (part, digits) = (0, false);
    }
    u32::try_from(total.saturating_add(part)).map_err(|_| TtlError::Overflow)
}

/// Reads the character that an escape stands for, and how many octets the escape has after its backslash (RFC 1035, section 5.1).
pub(crate) fn escape(rest: &[u8]) -> Option<(u8, usize)> {
    match rest {
        [a, b, c, ..] if a.is_ascii_digit() && b.is_ascii_digit() && c.is_ascii_digit() => {
            number(&rest[..3], 255).map(|value| (value as u8, 3))
        }
        [a, ..] if a.is_ascii_digit() => None,
        [a, ..] => Some((*a, 1)),
        [] => None,
    }
}

/// Appends `text` with its escapes resolved; `None` when an escape is broken.
pub(crate) fn unescape(text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let mut at = 0;
    while let Some(&octet) = text.get(at) {
        if octet == b'\\' {
            let (value, used) = escape(&text[at + 1..])?;
            out.push(value);
            at += 1 + used;
        } else {
            out.push(octet);
            at += 1;
        }
    }
    Some(())
}

fn nibble(octet: u8) -> Option<u8> {
    (octet as char).to_digit(16).map(|digit| digit as u8)
}

/// A decoder of digits of `BITS` bits each, fed piece by piece.
#[derive(Default)]
pub(crate) struct Digits {
    bits: u32,
    held: u32,
    digits: usize,
    padding: usize,
}

impl Digits {
    fn push(&mut self, value: u8, width: u32, out: &mut Vec<u8>) {
        self.bits = self.bits << width | u32::from(value);
        self.held += width;
        self.digits += 1;
        if self.held >= 8 {
            self.held -= 8;
            out.push((self.bits >> self.held) as u8);
            self.bits &= (1 << self.held) - 1;
        }
    }

    /// Takes hexadecimal digits.
    pub(crate) fn hex(&mut self, text: &[u8], out: &mut Vec<u8>) -> Option<()> {
        for &octet in text {
            self.push(nibble(octet)?, 4, out);
        }
        Some(())
    }

    /// Takes base64 (RFC 4648, section 4).
    pub(crate) fn base64(&mut self, text: &[u8], out: &mut Vec<u8>) -> Option<()> {
        for &octet in text {
            let value = match octet {
                b'=' => {
                    self.padding += 1;
                    continue;
                }
                _ if self.padding > 0 => return None,
                b'A'..=b'Z' => octet - b'A',
                b'a'..=b'z' => octet - b'a' + 26,
                b'0'..=b'9' => octet - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                _ => return None,
            };
            self.push(value, 6, out);
        }
        Some(())
    }

    /// Takes base32hex without padding (RFC 4648, section 7; RFC 5155, section 3.3).
    pub(crate) fn base32(&mut self, text: &[u8], out: &mut Vec<u8>) -> Option<()> {
        for &octet in text {
            let value = match octet.to_ascii_uppercase() {
                upper @ b'0'..=b'9' => upper - b'0',
                upper @ b'A'..=b'V' => upper - b'A' + 10,
                _ => return None,
            };
            self.push(value, 5, out);
        }
        Some(())
    }

    /// Whether what was taken is whole: the digits end at an octet, the bits left over are zero, the padding is right.
    pub(crate) fn whole(&self, width: u32) -> bool {
        let padding = match width {
            6 => (self.digits + self.padding).is_multiple_of(4) && self.padding <= 2,
            _ => self.padding == 0,
        };
        padding && self.held < width && self.bits == 0
    }
}

/// The days of the civil calendar before `year`-`month`-`day`, from 1970-01-01.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year - era * 400;
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Reads a time of an RRSIG record: `YYYYMMDDHHmmSS` or seconds since 1970 (RFC 4034, section 3.2), modulo 2^32.
pub(crate) fn time(text: &[u8]) -> Option<u32> {
    if text.len() != 14 {
        return number(text, u64::from(u32::MAX)).map(|value| value as u32);
    }
    let field = |from: usize, to: usize| number(&text[from..to], 9_999).map(|value| value as i64);
    let (year, month, day) = (field(0, 4)?, field(4, 6)?, field(6, 8)?);
    let (hour, minute, second) = (field(8, 10)?, field(10, 12)?, field(12, 14)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if year < 1970 || day < 1 || day > last || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    Some((days(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ttls_with_and_without_units() {
        let cases = [
            ("0", Ok(0)),
            ("3600", Ok(3_600)),
            ("1h", Ok(3_600)),
            (
                "1W2d3H4m5s",
                Ok(604_800 + 2 * 86_400 + 3 * 3_600 + 4 * 60 + 5),
            ),
            ("1h30", Ok(3_630)),
            ("4294967295", Ok(u32::MAX)),
            ("4294967296", Err(TtlError::Overflow)),
            ("99999999999999999999999w", Err(TtlError::Overflow)),
            ("h", Err(TtlError::Form)),
            ("1hh", Err(TtlError::Form)),
            ("1x", Err(TtlError::Form)),
            ("", Err(TtlError::Form)),
        ];
        for (text, expected) in cases {
            assert_eq!(ttl(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn times_of_signatures() {
        assert_eq!(time(b"19700101000000"), Some(0));
        assert_eq!(time(b"20160502144311"), Some(1_462_200_191));
        assert_eq!(time(b"20000229235959"), Some(951_868_799));
        assert_eq!(time(b"1462200191"), Some(1_462_200_191));
        assert_eq!(time(b"20160230000000"), None);
        assert_eq!(time(b"20161301000000"), None);
    }

    #[test]
    fn base64_is_whole_or_refused() {
        let cases: [(&str, Option<&[u8]>); 7] = [
            ("Zm9v", Some(b"foo")),
            ("Zm8=", Some(b"fo")),
            ("Zg==", Some(b"f")),
            ("Zg=", None),
            ("Zh==", None),
            ("Z", None),
            ("Zg==Zg==", None),
        ];
        for (text, expected) in cases {
            let (mut digits, mut out) = (Digits::default(), Vec::new());
            let read = digits.base64(text.as_bytes(), &mut out);
            let got = (read.is_some() && digits.whole(6)).then_some(out.as_slice());
            assert_eq!(got, expected, "{text}");
        }
    }
}
