//! How values are written: what Go's `fmt` makes of them without a format, and the floats of both.

use super::Overrun;
use super::value::Value;

/// Octets being written, up to a bound.
#[derive(Debug)]
pub(super) struct Output {
    octets: Vec<u8>,
    most: usize,
}

impl Output {
    /// Nothing yet, and at most `most` octets.
    pub(super) fn new(most: usize) -> Self {
        Self {
            octets: Vec::new(),
            most,
        }
    }

    /// Appends octets.
    pub(super) fn push(&mut self, octets: &[u8]) -> Result<(), Overrun> {
        if octets.len() > self.most - self.octets.len() {
            return Err(Overrun::Output);
        }
        self.octets.extend_from_slice(octets);
        Ok(())
    }

    /// Appends an octet `count` times.
    pub(super) fn fill(&mut self, octet: u8, count: usize) -> Result<(), Overrun> {
        if count > self.most - self.octets.len() {
            return Err(Overrun::Output);
        }
        self.octets.resize(self.octets.len() + count, octet);
        Ok(())
    }

    /// What was written.
    pub(super) fn into_octets(self) -> Vec<u8> {
        self.octets
    }

    /// How many octets were written.
    pub(super) fn len(&self) -> usize {
        self.octets.len()
    }
}

/// Writes a value as `%v` does.
pub(super) fn value(value: &Value<'_>, out: &mut Output) -> Result<(), Overrun> {
    match value {
        Value::None => out.push(b"<nil>"),
        Value::Bool(value) => out.push(if *value { b"true" } else { b"false" }),
        Value::Int(value) => out.push(value.to_string().as_bytes()),
        Value::Uint(value, _) => out.push(value.to_string().as_bytes()),
        Value::Float(value) => out.push(shortest(*value, 6).as_bytes()),
        Value::Text(text) => out.push(text),
        Value::List(list) => {
            out.push(b"[")?;
            for (at, item) in list.items().iter().enumerate() {
                if at > 0 {
                    out.push(b" ")?;
                }
                self::value(item, out)?;
            }
            out.push(b"]")
        }
        Value::Map(_) | Value::Object(_) => match value.entries() {
            Some(entries) => {
                out.push(b"map[")?;
                for (at, (key, value)) in entries.iter().enumerate() {
                    if at > 0 {
                        out.push(b" ")?;
                    }
                    out.push(key.as_bytes())?;
                    out.push(b":")?;
                    self::value(value, out)?;
                }
                out.push(b"]")
            }
            None => out.push(b"&{}"),
        },
    }
}

/// `fmt.Sprint`: a space between two values neither of which is a string.
pub(super) fn plain(values: &[Value<'_>], out: &mut Output) -> Result<(), Overrun> {
    let is_text = |value: &Value<'_>| matches!(value, Value::Text(_));
    for (at, value) in values.iter().enumerate() {
        if at > 0 && !is_text(value) && !is_text(&values[at - 1]) {
            out.push(b" ")?;
        }
        self::value(value, out)?;
    }
    Ok(())
}

/// `fmt.Sprintln`: spaces between all values, and a line feed.
pub(super) fn line(values: &[Value<'_>], out: &mut Output) -> Result<(), Overrun> {
    for (at, value) in values.iter().enumerate() {
        if at > 0 {
            out.push(b" ")?;
        }
        self::value(value, out)?;
    }
    out.push(b"\n")
}

/// The decimal digits of a finite float and the place of its point among them.
struct Decimal {
    digits: String,
    /// How many digits stand before the point.
    point: i32,
}

impl Decimal {
    /// Of `{:e}` or `{:.*e}` as Rust writes it.
    fn of(scientific: &str) -> Self {
        let (mantissa, exponent) = scientific.split_once('e').unwrap_or((scientific, "0"));
        let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
        let exponent: i32 = exponent.parse().unwrap_or(0);
        let trimmed = digits.trim_end_matches('0');
        Self {
            point: if trimmed.is_empty() { 0 } else { exponent + 1 },
            digits: trimmed.to_owned(),
        }
    }

    fn scientific(&self) -> String {
        let mut out = String::new();
        let mut digits = self.digits.chars();
        out.push(digits.next().unwrap_or('0'));
        let rest = digits.as_str();
        if !rest.is_empty() {
            out.push('.');
            out.push_str(rest);
        }
        let exponent = if self.digits.is_empty() {
            0
        } else {
            self.point - 1
        };
        out.push_str(&exponent_text(exponent));
        out
    }

    fn positional(&self) -> String {
        let mut out = String::new();
        let len = self.digits.len() as i32;
        if self.point <= 0 {
            out.push('0');
        }
        for at in 0..self.point.max(0) {
            out.push(
                self.digits
                    .as_bytes()
                    .get(at as usize)
                    .map_or('0', |d| *d as char),
            );
        }
        if len > self.point {
            out.push('.');
            for _ in self.point..0 {
                out.push('0');
            }
            out.push_str(&self.digits[self.point.max(0) as usize..]);
        }
        out
    }
}

/// `e+06`
fn exponent_text(exponent: i32) -> String {
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("e{sign}{:02}", exponent.unsigned_abs())
}

fn special(value: f64) -> Option<String> {
    if value.is_nan() {
        return Some("NaN".to_owned());
    }
    let sign = if value < 0.0 { '-' } else { '+' };
    value.is_infinite().then(|| format!("{sign}Inf"))
}

fn signed(value: f64, digits: &str) -> String {
    let sign = if value.is_sign_negative() { "-" } else { "" };
    format!("{sign}{digits}")
}

/// `%g` with as many digits as are needed; from `large` digits before the point on with an exponent.
pub(super) fn shortest(value: f64, large: i32) -> String {
    if let Some(special) = special(value) {
        return special;
    }
    let decimal = Decimal::of(&format!("{:e}", value.abs()));
    let exponent = decimal.point - 1;
    let text = match exponent < -4 || exponent >= large {
        true if !decimal.digits.is_empty() => decimal.scientific(),
        _ => decimal.positional(),
    };
    signed(value, &text)
}

/// A float by verb (`e`, `f` or `g`) and precision.
pub(super) fn float(value: f64, verb: char, precision: Option<usize>) -> String {
    if let Some(special) = special(value) {
        return special;
    }
    let value_abs = value.abs();
    let text = match (verb, precision) {
        ('e', precision) => {
            let text = format!("{value_abs:.*e}", precision.unwrap_or(6));
            let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
            format!("{mantissa}{}", exponent_text(exponent.parse().unwrap_or(0)))
        }
        ('f', precision) => format!("{value_abs:.*}", precision.unwrap_or(6)),
        (_, None) => return shortest(value, 6),
        (_, Some(precision)) => {
            let precision = precision.max(1);
            let decimal = Decimal::of(&format!("{value_abs:.*e}", precision - 1));
            let len = decimal.digits.len() as i32;
            let mut large = i32::try_from(precision).unwrap_or(i32::MAX);
            if large > len && len >= decimal.point {
                large = len;
            }
            let exponent = decimal.point - 1;
            match exponent < -4 || exponent >= large {
                true if !decimal.digits.is_empty() => decimal.scientific(),
                _ => decimal.positional(),
            }
        }
    };
    signed(value, &text)
}
