//! Constants as Go writes them: numbers, strings and characters.

use super::node::Number;

/// Reads a number.
pub(super) fn number(text: &str) -> Result<Number, String> {
    let unsigned = parse_uint(text, 0, 64).ok();
    let mut number = Number {
        int: signed(text),
        uint: unsigned,
        float: None,
        text: text.to_owned(),
    };
    if number.int == Some(0) {
        // `-0` is an unsigned number, too.
        number.uint = Some(0);
    }
    if let Some(int) = number.int {
        number.float = Some(int as f64);
    } else if let Some(uint) = number.uint {
        number.float = Some(uint as f64);
    } else if let Some(float) = float(text) {
        if !text.contains(['.', 'e', 'E', 'p', 'P']) {
            return Err(format!("integer overflow: {text:?}"));
        }
        number.float = Some(float);
        number.int = (float as i64 as f64 == float).then_some(float as i64);
        number.uint = (float as u64 as f64 == float).then_some(float as u64);
    } else {
        return Err(format!("illegal number syntax: {text:?}"));
    }
    Ok(number)
}

/// A character constant, which is a number.
pub(super) fn character(text: &str) -> Result<Number, String> {
    let malformed = || format!("malformed character constant: {text}");
    let inner = text
        .get(1..text.len().saturating_sub(1))
        .unwrap_or_default();
    let (value, used) = one(inner, '\'').ok_or("invalid syntax")?;
    if used != inner.len() {
        return Err(malformed());
    }
    let code = match value {
        Unquoted::Char(c) => c as u32,
        Unquoted::Octet(octet) => u32::from(octet),
    };
    Ok(Number {
        int: Some(i64::from(code)),
        uint: Some(u64::from(code)),
        float: Some(f64::from(code)),
        text: text.to_owned(),
    })
}

/// The octets that a string in quotes or back quotes stands for.
pub(super) fn unquote(text: &str) -> Option<Vec<u8>> {
    let inner = text.get(1..text.len().checked_sub(1)?)?;
    if text.starts_with('`') {
        return Some(inner.bytes().filter(|octet| *octet != b'\r').collect());
    }
    let mut out = Vec::with_capacity(inner.len());
    let mut rest = inner;
    while !rest.is_empty() {
        let (value, used) = one(rest, '"')?;
        match value {
            Unquoted::Char(c) => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            Unquoted::Octet(octet) => out.push(octet),
        }
        rest = &rest[used..];
    }
    Some(out)
}

/// What an escape stands for: `\x80` and `\200` are octets, everything else is a character.
enum Unquoted {
    Char(char),
    Octet(u8),
}

/// The first character of `text`, and how many octets it takes.
fn one(text: &str, quote: char) -> Option<(Unquoted, usize)> {
    let first = text.chars().next()?;
    if first == quote || first == '\n' {
        return None;
    }
    if first != '\\' {
        return Some((Unquoted::Char(first), first.len_utf8()));
    }
    let kind = text[1..].chars().next()?;
    let digits = |from: usize, count: usize, radix: u32| {
        let digits = text.get(from..from + count)?;
        let all = digits.chars().all(|c| c.is_digit(radix));
        all.then(|| u32::from_str_radix(digits, radix).ok())?
    };
    let simple = |c: char| Some((Unquoted::Char(c), 2));
    match kind {
        'a' => simple('\x07'),
        'b' => simple('\x08'),
        'f' => simple('\x0C'),
        'n' => simple('\n'),
        'r' => simple('\r'),
        't' => simple('\t'),
        'v' => simple('\x0B'),
        '\\' => simple('\\'),
        '\'' | '"' if kind == quote => simple(kind),
        'x' => Some((Unquoted::Octet(digits(2, 2, 16)? as u8), 4)),
        'u' => Some((Unquoted::Char(char::from_u32(digits(2, 4, 16)?)?), 6)),
        'U' => Some((Unquoted::Char(char::from_u32(digits(2, 8, 16)?)?), 10)),
        '0'..='7' => Some((Unquoted::Octet(u8::try_from(digits(1, 3, 8)?).ok()?), 4)),
        _ => None,
    }
}

/// Why a text is no number; the words are those of Go's `strconv`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum NumberError {
    Syntax,
    Range,
    Base(i64),
    BitSize(i64),
}

impl NumberError {
    /// The message of `strconv.ParseUint`.
    pub(super) fn of_parse_uint(&self, text: &str) -> String {
        let why = match self {
            Self::Syntax => "invalid syntax".to_owned(),
            Self::Range => "value out of range".to_owned(),
            Self::Base(base) => format!("invalid base {base}"),
            Self::BitSize(bits) => format!("invalid bit size {bits}"),
        };
        format!("strconv.ParseUint: parsing {text:?}: {why}")
    }
}

/// `strconv.ParseUint`: base 0 goes by the prefix, and allows underscores between digits.
pub(super) fn parse_uint(text: &str, base: i64, bits: i64) -> Result<u64, NumberError> {
    if text.is_empty() {
        return Err(NumberError::Syntax);
    }
    let (radix, digits) = match base {
        2..=36 => (base as u64, text),
        0 => prefix(text),
        _ => return Err(NumberError::Base(base)),
    };
    let bits = match bits {
        0 => 64,
        1..=64 => bits,
        _ => return Err(NumberError::BitSize(bits)),
    };
    let most = if bits == 64 {
        u64::MAX
    } else {
        (1 << bits) - 1
    };
    let underscores = base == 0 && digits.contains('_');
    let mut value = Some(0u64);
    let mut any = false;
    for c in digits.chars() {
        if c == '_' && base == 0 {
            continue;
        }
        let digit = c
            .to_digit(36)
            .map(u64::from)
            .filter(|d| *d < radix && c.is_ascii());
        let digit = digit.ok_or(NumberError::Syntax)?;
        any = true;
        value = value
            .and_then(|value| value.checked_mul(radix)?.checked_add(digit))
            .filter(|value| *value <= most);
    }
    // In base 0, the zero of `0` is a prefix and a digit.
    let digits = any || base == 0 && text == "0";
    if !digits || underscores && !well_separated(text) {
        return Err(NumberError::Syntax);
    }
    value.ok_or(NumberError::Range)
}

/// The base that a prefix says, and what stands behind it.
fn prefix(text: &str) -> (u64, &str) {
    let octets = text.as_bytes();
    if octets.first() != Some(&b'0') {
        return (10, text);
    }
    match octets.get(1).map(u8::to_ascii_lowercase) {
        Some(b'x') if octets.len() >= 3 => (16, &text[2..]),
        Some(b'b') if octets.len() >= 3 => (2, &text[2..]),
        Some(b'o') if octets.len() >= 3 => (8, &text[2..]),
        _ => (8, &text[1..]),
    }
}

/// Whether every underscore stands between digits, or between a prefix and a digit.
fn well_separated(text: &str) -> bool {
    let text = text.trim_start_matches(['+', '-']);
    let mut last = '^';
    let mut rest = text;
    let octets = text.as_bytes();
    if octets.len() >= 2
        && octets[0] == b'0'
        && matches!(octets[1].to_ascii_lowercase(), b'x' | b'b' | b'o')
    {
        // The prefix counts as a digit.
        last = '0';
        rest = &text[2..];
    }
    for c in rest.chars() {
        match c {
            c if c.is_ascii_hexdigit() => last = '0',
            '_' if last == '0' => last = '_',
            '_' => return false,
            _ if last == '_' => return false,
            _ => last = '!',
        }
    }
    last != '_'
}

fn signed(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let value = parse_uint(digits, 0, 64).ok()?;
    if negative {
        0i64.checked_sub_unsigned(value)
    } else {
        i64::try_from(value).ok()
    }
}

fn float(text: &str) -> Option<f64> {
    if !text.contains(|c: char| c.is_ascii_digit()) || text.contains('_') && !well_separated(text) {
        return None;
    }
    let value: f64 = text.replace('_', "").parse().ok()?;
    value.is_finite().then_some(value)
}
