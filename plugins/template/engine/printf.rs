//! `printf`: Go's verbs, flags, width and precision, and its way of saying in the text that an argument does not fit.

use super::Overrun;
use super::print::{self, Output};
use super::value::{Value, Width};

/// The largest width and precision.
const LARGEST: usize = 1_000_000;

/// What stands between `%` and the verb.
#[derive(Clone, Copy, Default)]
struct Spec {
    plus: bool,
    minus: bool,
    sharp: bool,
    space: bool,
    zero: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

/// Writes `format` with `args` put in.
pub(super) fn format(format: &[u8], args: &[Value<'_>], out: &mut Output) -> Result<(), Overrun> {
    Formatter {
        rest: format,
        args,
        next: 0,
        reordered: false,
        good_index: true,
    }
    .run(out)
}

struct Formatter<'f, 'd> {
    rest: &'f [u8],
    args: &'f [Value<'d>],
    next: usize,
    /// Whether an argument was named by its number, after which none is told to be too much.
    reordered: bool,
    good_index: bool,
}

impl Formatter<'_, '_> {
    fn run(mut self, out: &mut Output) -> Result<(), Overrun> {
        while let Some(at) = self.rest.iter().position(|octet| *octet == b'%') {
            out.push(&self.rest[..at])?;
            self.rest = &self.rest[at + 1..];
            self.directive(out)?;
        }
        out.push(self.rest)?;
        if !self.reordered && self.next < self.args.len() {
            out.push(b"%!(EXTRA ")?;
            for (at, arg) in self.args[self.next..].iter().enumerate() {
                if at > 0 {
                    out.push(b", ")?;
                }
                typed(arg, out)?;
            }
            out.push(b")")?;
        }
        Ok(())
    }

    fn flag(&mut self, spec: &mut Spec) -> bool {
        match self.rest.first() {
            Some(b'+') => spec.plus = true,
            Some(b'-') => spec.minus = true,
            Some(b'#') => spec.sharp = true,
            Some(b' ') => spec.space = true,
            Some(b'0') => spec.zero = true,
            _ => return false,
        }
        self.rest = &self.rest[1..];
        true
    }

    /// A decimal number; `None` where none stands, and a failure where it is too large.
    fn number(&mut self) -> Option<Result<usize, ()>> {
        let len = self.rest.iter().take_while(|o| o.is_ascii_digit()).count();
        if len == 0 {
            return None;
        }
        let (digits, rest) = self.rest.split_at(len);
        self.rest = rest;
        let text = std::str::from_utf8(digits).ok()?;
        Some(match text.parse::<usize>() {
            Ok(number) if number <= LARGEST => Ok(number),
            _ => Err(()),
        })
    }

    /// `[n]`: the argument that comes next.
    fn index(&mut self) {
        if self.rest.first() != Some(&b'[') {
            return;
        }
        self.reordered = true;
        let Some(end) = self.rest.iter().position(|octet| *octet == b']') else {
            self.good_index = false;
            self.rest = &self.rest[1..];
            return;
        };
        let digits = std::str::from_utf8(&self.rest[1..end]).unwrap_or_default();
        self.rest = &self.rest[end + 1..];
        match digits.parse::<usize>() {
            Ok(number) if (1..=self.args.len()).contains(&number) => self.next = number - 1,
            _ => self.good_index = false,
        }
    }

    /// Width or precision from the arguments, for `*`.
    fn star(&mut self) -> Option<i64> {
        let arg = self.args.get(self.next)?;
        self.next += 1;
        let number = match arg {
            Value::Int(number) => *number,
            Value::Uint(number, _) => i64::try_from(*number).ok()?,
            _ => return None,
        };
        (number.unsigned_abs() as usize <= LARGEST).then_some(number)
    }

    fn directive(&mut self, out: &mut Output) -> Result<(), Overrun> {
        let mut spec = Spec::default();
        self.good_index = true;
        while self.flag(&mut spec) {}
        self.index();
        if self.rest.first() == Some(&b'*') {
            self.rest = &self.rest[1..];
            match self.star() {
                Some(width) => {
                    spec.minus |= width < 0;
                    spec.width = Some(width.unsigned_abs() as usize);
                }
                None => out.push(b"%!(BADWIDTH)")?,
            }
        } else {
            match self.number() {
                Some(Ok(width)) => spec.width = Some(width),
                Some(Err(())) => out.push(b"%!(BADWIDTH)")?,
                None => {}
            }
        }
        if self.rest.first() == Some(&b'.') {
            self.rest = &self.rest[1..];
            self.index();
            if self.rest.first() == Some(&b'*') {
                self.rest = &self.rest[1..];
                match self.star() {
                    Some(precision @ 0..) => spec.precision = Some(precision as usize),
                    _ => out.push(b"%!(BADPREC)")?,
                }
            } else {
                spec.precision = match self.number() {
                    Some(precision) => precision.ok(),
                    None => Some(0),
                };
            }
        }
        self.index();
        let text = String::from_utf8_lossy(self.rest);
        let Some(verb) = text.chars().next() else {
            return out.push(b"%!(NOVERB)");
        };
        let len = match verb {
            char::REPLACEMENT_CHARACTER => 1,
            verb => verb.len_utf8(),
        };
        self.rest = self.rest.get(len..).unwrap_or_default();
        if verb == '%' {
            return out.push(b"%");
        }
        if !self.good_index {
            return out.push(format!("%!{verb}(BADINDEX)").as_bytes());
        }
        let Some(arg) = self.args.get(self.next) else {
            return out.push(format!("%!{verb}(MISSING)").as_bytes());
        };
        self.next += 1;
        argument(verb, &spec, arg, out)
    }
}

/// A type's name and a value: `int=5`.
fn typed(value: &Value<'_>, out: &mut Output) -> Result<(), Overrun> {
    match value.type_name() {
        None => out.push(b"<nil>"),
        Some(name) => {
            out.push(name.as_bytes())?;
            out.push(b"=")?;
            print::value(value, out)
        }
    }
}

/// Says that a verb is none of a value: `%!d(string=x)`.
fn bad_verb(verb: char, value: &Value<'_>, out: &mut Output) -> Result<(), Overrun> {
    out.push(format!("%!{verb}(").as_bytes())?;
    typed(value, out)?;
    out.push(b")")
}

fn argument(verb: char, spec: &Spec, value: &Value<'_>, out: &mut Output) -> Result<(), Overrun> {
    if verb == 'T' {
        return pad(value.type_name().unwrap_or("<nil>").as_bytes(), spec, out);
    }
    match value {
        Value::None if verb == 'v' => pad(b"<nil>", spec, out),
        Value::Bool(truth) if matches!(verb, 't' | 'v') => {
            pad(truth.to_string().as_bytes(), spec, out)
        }
        Value::Int(number) => integer(verb, spec, (*number < 0, number.unsigned_abs()), value, out),
        Value::Uint(number, Width::Bits8 | Width::Bits16 | Width::Bits64) => {
            integer(verb, spec, (false, *number), value, out)
        }
        Value::Float(number) => float(verb, spec, *number, out),
        Value::Text(octets) => text(verb, spec, octets, out),
        Value::List(list) => {
            let (open, between, close): (String, &[u8], &[u8]) = match spec.sharp && verb == 'v' {
                true => (
                    format!("{}{{", value.type_name().unwrap_or_default()),
                    b", ",
                    b"}",
                ),
                false => ("[".to_owned(), b" ", b"]"),
            };
            out.push(open.as_bytes())?;
            for (at, item) in list.items().iter().enumerate() {
                if at > 0 {
                    out.push(between)?;
                }
                argument(verb, spec, item, out)?;
            }
            out.push(close)
        }
        Value::Map(_) | Value::Object(_) => match value.entries() {
            Some(entries) => {
                let (open, between, close): (String, &[u8], &[u8]) = match spec.sharp && verb == 'v'
                {
                    true => (
                        format!("{}{{", value.type_name().unwrap_or_default()),
                        b", ",
                        b"}",
                    ),
                    false => ("map[".to_owned(), b" ", b"]"),
                };
                out.push(open.as_bytes())?;
                for (at, (key, value)) in entries.iter().enumerate() {
                    if at > 0 {
                        out.push(between)?;
                    }
                    text(verb, spec, key.as_bytes(), out)?;
                    out.push(b":")?;
                    argument(verb, spec, value, out)?;
                }
                out.push(close)
            }
            None => bad_verb(verb, value, out),
        },
        Value::None | Value::Bool(_) => bad_verb(verb, value, out),
    }
}

/// Writes a text in its width, which is counted in characters.
fn pad(text: &[u8], spec: &Spec, out: &mut Output) -> Result<(), Overrun> {
    let len = String::from_utf8_lossy(text).chars().count();
    let missing = spec.width.unwrap_or(0).saturating_sub(len);
    if !spec.minus {
        out.fill(if spec.zero { b'0' } else { b' ' }, missing)?;
    }
    out.push(text)?;
    if spec.minus {
        out.fill(b' ', missing)?;
    }
    Ok(())
}

fn text(verb: char, spec: &Spec, octets: &[u8], out: &mut Output) -> Result<(), Overrun> {
    let cut = |octets: &[u8]| -> Vec<u8> {
        match spec.precision {
            None => octets.to_vec(),
            Some(most) => match std::str::from_utf8(octets) {
                Ok(text) => text.chars().take(most).collect::<String>().into_bytes(),
                Err(_) => octets.iter().copied().take(most).collect(),
            },
        }
    };
    match verb {
        'v' if spec.sharp => pad(quoted(octets).as_bytes(), spec, out),
        'v' | 's' => pad(&cut(octets), spec, out),
        'q' => {
            let text = cut(octets);
            let raw = spec.sharp && !text.contains(&b'`') && !text.iter().any(u8::is_ascii_control);
            let shown = match raw {
                true => format!("`{}`", String::from_utf8_lossy(&text)),
                false => quoted(&text),
            };
            pad(shown.as_bytes(), spec, out)
        }
        'x' | 'X' => {
            let most = spec.precision.unwrap_or(usize::MAX);
            let mut shown = String::new();
            for (at, octet) in octets.iter().take(most).enumerate() {
                if spec.space && at > 0 {
                    shown.push(' ');
                }
                if spec.sharp && (at == 0 || spec.space) {
                    shown.push_str(if verb == 'x' { "0x" } else { "0X" });
                }
                shown.push_str(&match verb {
                    'x' => format!("{octet:02x}"),
                    _ => format!("{octet:02X}"),
                });
            }
            pad(shown.as_bytes(), spec, out)
        }
        _ => bad_verb(verb, &Value::owned(octets), out),
    }
}

/// A string as `strconv.Quote` writes it.
fn quoted(octets: &[u8]) -> String {
    let mut out = String::from("\"");
    for chunk in octets.utf8_chunks() {
        for c in chunk.valid().chars() {
            push_escaped(c, '"', &mut out);
        }
        for octet in chunk.invalid() {
            out.push_str(&format!("\\x{octet:02x}"));
        }
    }
    out.push('"');
    out
}

fn push_escaped(c: char, quote: char, out: &mut String) {
    match c {
        '\x07' => out.push_str("\\a"),
        '\x08' => out.push_str("\\b"),
        '\x0C' => out.push_str("\\f"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\x0B' => out.push_str("\\v"),
        '\\' => out.push_str("\\\\"),
        c if c == quote => {
            out.push('\\');
            out.push(c);
        }
        c if (c as u32) < 0x20 || c == '\x7F' => out.push_str(&format!("\\x{:02x}", c as u32)),
        c if !c.is_control() => out.push(c),
        c if (c as u32) < 0x1_0000 => out.push_str(&format!("\\u{:04x}", c as u32)),
        c => out.push_str(&format!("\\U{:08x}", c as u32)),
    }
}

fn integer(
    verb: char,
    spec: &Spec,
    (negative, number): (bool, u64),
    value: &Value<'_>,
    out: &mut Output,
) -> Result<(), Overrun> {
    let character = || {
        let code = if negative {
            None
        } else {
            u32::try_from(number).ok()
        };
        code.and_then(char::from_u32)
            .unwrap_or(char::REPLACEMENT_CHARACTER)
    };
    let (digits, prefix) = match verb {
        'v' if spec.sharp && matches!(value, Value::Uint(..)) => (format!("{number:x}"), "0x"),
        'v' | 'd' => (number.to_string(), ""),
        'b' => (format!("{number:b}"), if spec.sharp { "0b" } else { "" }),
        'o' => (format!("{number:o}"), if spec.sharp { "0" } else { "" }),
        'O' => (format!("{number:o}"), "0o"),
        'x' => (format!("{number:x}"), if spec.sharp { "0x" } else { "" }),
        'X' => (format!("{number:X}"), if spec.sharp { "0X" } else { "" }),
        'c' => return pad(character().to_string().as_bytes(), spec, out),
        'q' => {
            let mut shown = String::from("'");
            push_escaped(character(), '\'', &mut shown);
            shown.push('\'');
            return pad(shown.as_bytes(), spec, out);
        }
        'U' => {
            let mut shown = format!("U+{number:04X}");
            if spec.sharp {
                shown.push_str(&format!(" '{}'", character()));
            }
            return pad(shown.as_bytes(), spec, out);
        }
        _ => return bad_verb(verb, value, out),
    };
    let sign = match (negative, spec.plus, spec.space) {
        (true, ..) => "-",
        (_, true, _) => "+",
        (_, _, true) => " ",
        _ => "",
    };
    // Precision 0 of the number 0 is nothing at all.
    if spec.precision == Some(0) && number == 0 {
        let blank = Spec {
            zero: false,
            ..*spec
        };
        return pad(b"", &blank, out);
    }
    let least = match (spec.precision, spec.width) {
        (Some(precision), _) => precision,
        (None, Some(width)) if spec.zero && !spec.minus => width.saturating_sub(sign.len()),
        _ => 0,
    };
    let zeros = least.saturating_sub(digits.len());
    if zeros > 65_536 {
        return Err(Overrun::Output);
    }
    let shown = format!("{sign}{prefix}{}{digits}", "0".repeat(zeros));
    let blank = Spec {
        zero: false,
        ..*spec
    };
    pad(shown.as_bytes(), &blank, out)
}

fn float(verb: char, spec: &Spec, number: f64, out: &mut Output) -> Result<(), Overrun> {
    if spec.precision.is_some_and(|precision| precision > 1_000) {
        return Err(Overrun::Output);
    }
    let shown = match verb {
        'v' if spec.sharp => print::shortest(number, 21),
        'v' => print::float(number, 'g', spec.precision),
        'e' | 'f' | 'g' => print::float(number, verb, spec.precision),
        'F' => print::float(number, 'f', spec.precision),
        'E' | 'G' => {
            let lower = verb.to_ascii_lowercase();
            print::float(number, lower, spec.precision).replace('e', "E")
        }
        _ => return bad_verb(verb, &Value::Float(number), out),
    };
    let digits = shown.trim_start_matches(['-', '+']);
    let sign = match () {
        () if shown.starts_with('-') => "-",
        () if spec.plus => "+",
        () if spec.space => " ",
        () => "",
    };
    let finite = number.is_finite();
    if spec.zero && finite && !spec.minus {
        let zeros = spec
            .width
            .unwrap_or(0)
            .saturating_sub(sign.len() + digits.len());
        out.push(sign.as_bytes())?;
        out.fill(b'0', zeros)?;
        return out.push(digits.as_bytes());
    }
    let shown = match finite || !sign.is_empty() || number.is_nan() {
        true => format!("{sign}{digits}"),
        false => format!("+{digits}"),
    };
    let blank = Spec {
        zero: false,
        ..*spec
    };
    pad(shown.as_bytes(), &blank, out)
}
