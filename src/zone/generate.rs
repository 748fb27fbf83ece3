//! `$GENERATE start-stop[/step] template…`: one line per number, `$` and `${offset,width,base}` replaced (BIND's directive).

use crate::encoding;

/// The most lines of one directive.
pub(crate) const MOST_LINES: u64 = 65_536;
/// The widest number, in characters.
const MOST_WIDTH: u64 = 255;

/// The numbers of a directive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Span {
    pub(crate) start: u32,
    pub(crate) stop: u32,
    pub(crate) step: u32,
}

impl Span {
    /// Reads `start-stop[/step]`.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, &'static str> {
        let most = u64::from(i32::MAX as u32);
        let (span, step) = match text.iter().position(|&o| o == b'/') {
            Some(at) => (&text[..at], encoding::number(&text[at + 1..], most)),
            None => (text, Some(1)),
        };
        let dash = span.iter().position(|&o| o == b'-');
        let bounds = dash.and_then(|at| {
            let start = encoding::number(&span[..at], most)?;
            let stop = encoding::number(&span[at + 1..], most)?;
            Some((start, stop))
        });
        let (Some((start, stop)), Some(step)) = (bounds, step) else {
            return Err("expected start-stop or start-stop/step");
        };
        if step == 0 || start > stop {
            return Err("the range is empty or its step is 0");
        }
        if (stop - start) / step + 1 > MOST_LINES {
            return Err("the range has more than 65,536 numbers");
        }
        Ok(Self {
            start: start as u32,
            stop: stop as u32,
            step: step as u32,
        })
    }

    pub(crate) fn numbers(self) -> impl Iterator<Item = u32> {
        (self.start..=self.stop).step_by(self.step as usize)
    }
}

/// Appends `template` with the number put in.
pub(crate) fn substitute(
    template: &[u8],
    number: u32,
    out: &mut Vec<u8>,
) -> Result<(), &'static str> {
    let mut at = 0;
    while let Some(&octet) = template.get(at) {
        match (octet, template.get(at + 1)) {
            (b'\\', Some(b'$')) | (b'$', Some(b'$')) => {
                out.push(b'$');
                at += 2;
            }
            (b'\\', Some(&next)) => {
                out.extend_from_slice(&[b'\\', next]);
                at += 2;
            }
            (b'$', Some(b'{')) => {
                let rest = &template[at + 2..];
                let end = rest
                    .iter()
                    .position(|&o| o == b'}')
                    .ok_or("a `${` is not closed")?;
                formatted(&rest[..end], number, out)?;
                at += 2 + end + 1;
            }
            (b'$', _) => {
                out.extend_from_slice(number.to_string().as_bytes());
                at += 1;
            }
            _ => {
                out.push(octet);
                at += 1;
            }
        }
    }
    Ok(())
}

/// Appends the number in the form that `offset[,width[,base]]` asks for.
fn formatted(form: &[u8], number: u32, out: &mut Vec<u8>) -> Result<(), &'static str> {
    let why = "expected ${offset,width,base} with a base of d, o, x, X, n or N";
    let mut parts = form.split(|&o| o == b',');
    let offset = parts.next().unwrap_or_default();
    let (sign, digits) = match offset {
        [b'-', rest @ ..] => (-1, rest),
        [b'+', rest @ ..] => (1, rest),
        _ => (1, offset),
    };
    let offset = sign * encoding::number(digits, u64::from(i32::MAX as u32)).ok_or(why)? as i64;
    let width = match parts.next() {
        Some(text) => encoding::number(text, MOST_WIDTH).ok_or(why)? as usize,
        None => 0,
    };
    let base = parts.next().unwrap_or(b"d");
    if parts.next().is_some() {
        return Err(why);
    }
    let value = u32::try_from(i64::from(number) + offset)
        .map_err(|_| "the number and its offset are out of range")?;
    let text = match base {
        b"d" => format!("{value:0width$}"),
        b"o" => format!("{value:0width$o}"),
        b"x" => format!("{value:0width$x}"),
        b"X" => format!("{value:0width$X}"),
        b"n" => nibbles(value, width),
        b"N" => nibbles(value, width).to_ascii_uppercase(),
        _ => return Err(why),
    };
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

/// Hexadecimal digits with the least first, each a label, as reverse names of IPv6 have them; the width counts the dots too.
fn nibbles(mut value: u32, width: usize) -> String {
    let mut out = String::new();
    loop {
        out.extend(char::from_digit(value & 0xF, 16));
        value >>= 4;
        if value == 0 && out.len() >= width {
            return out;
        }
        out.push('.');
        if value == 0 && out.len() >= width {
            return out;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_put_in() {
        let cases = [
            ("host-$", 7, Ok("host-7")),
            ("$.$$.\\$", 7, Ok("7.$.$")),
            ("${0,3}", 7, Ok("007")),
            ("${10}", 7, Ok("17")),
            ("${-7,2,d}x", 7, Ok("00x")),
            ("${0,4,x}", 255, Ok("00ff")),
            ("${0,0,X}", 255, Ok("FF")),
            ("${0,0,o}", 8, Ok("10")),
            ("${0,3,n}", 0x1F, Ok("f.1")),
            ("${0,7,N}", 0x1F, Ok("F.1.0.0")),
            ("a\\.b", 1, Ok("a\\.b")),
            ("${0,3", 7, Err("a `${` is not closed")),
            (
                "${-8}",
                7,
                Err("the number and its offset are out of range"),
            ),
            (
                "${0,999}",
                7,
                Err("expected ${offset,width,base} with a base of d, o, x, X, n or N"),
            ),
            (
                "${0,1,q}",
                7,
                Err("expected ${offset,width,base} with a base of d, o, x, X, n or N"),
            ),
        ];
        for (template, number, expected) in cases {
            let mut out = Vec::new();
            let got = substitute(template.as_bytes(), number, &mut out);
            let got = got.map(|()| String::from_utf8_lossy(&out).into_owned());
            assert_eq!(got, expected.map(str::to_owned), "{template}");
        }
    }

    #[test]
    fn spans_are_bounded() {
        assert!(Span::parse(b"0-65535").is_ok());
        assert!(Span::parse(b"1-2147483647/65536").is_ok());
        for bad in [
            "0-65536",
            "2-1",
            "1-9/0",
            "1",
            "-1-2",
            "0-4294967296",
            "a-b",
        ] {
            assert!(Span::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
