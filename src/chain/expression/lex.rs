//! Words, numbers, texts and signs of an expression, each with its place.

use std::ops::Range;

use super::Mistake;

/// What stands at one place.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Lexeme<'t> {
    /// A name or a keyword; also `#` and `#index`.
    Word(&'t str),
    /// An integer.
    Int(i64),
    /// A number with a fraction or an exponent.
    Float(f64),
    /// A text, its escapes read.
    Text(String),
    /// An operator or a bracket.
    Sign(&'static str),
    /// The end.
    End,
}

/// The signs; of two that begin alike the longer one first.
const SIGNS: [&str; 35] = [
    "**", "..", "&&", "||", "==", "!=", "<=", ">=", "??", "?.", "+", "-", "*", "/", "%", "^", "<",
    ">", "!", "?", ":", ",", ".", "(", ")", "[", "]", "{", "}", "|", ";", "=", "&", "@", "~",
];

/// A lexeme and where it stands.
pub(super) type Placed<'t> = (Lexeme<'t>, Range<usize>);

/// Cuts an expression into lexemes, the last of which is the end.
pub(super) fn cut(text: &str) -> Result<Vec<Placed<'_>>, Mistake> {
    let octets = text.as_bytes();
    let mut out = Vec::new();
    let mut at = 0;
    while let Some(&octet) = octets.get(at) {
        let rest = &text[at..];
        let next = octets.get(at + 1).copied().unwrap_or(0);
        let start = at;
        let lexeme = match octet {
            b' ' | b'\t' | b'\r' | b'\n' => {
                at += 1;
                continue;
            }
            b'/' if next == b'/' => {
                at += rest.find('\n').unwrap_or(rest.len());
                continue;
            }
            b'/' if next == b'*' => {
                let Some(end) = rest.find("*/") else {
                    return Err(Mistake::new(at..at + 2, "the comment does not end"));
                };
                at += end + 2;
                continue;
            }
            b'\'' | b'"' => {
                let (read, len) = quoted(rest, at)?;
                at += len;
                Lexeme::Text(read)
            }
            b'`' => {
                let Some(len) = rest[1..].find('`') else {
                    return Err(unended(at));
                };
                at += len + 2;
                Lexeme::Text(rest[1..=len].to_owned())
            }
            b'0'..=b'9' => {
                let (number, len) = number(rest, at)?;
                at += len;
                number
            }
            b'.' if next.is_ascii_digit() => {
                let (number, len) = number(rest, at)?;
                at += len;
                number
            }
            b'#' | b'$' | b'_' | b'a'..=b'z' | b'A'..=b'Z' => {
                let is_part = |c: char| c == '_' || c == '$' || c.is_alphanumeric();
                let len = rest[1..].find(|c| !is_part(c)).unwrap_or(rest.len() - 1) + 1;
                at += len;
                Lexeme::Word(&rest[..len])
            }
            _ => {
                let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) else {
                    let odd = rest.chars().next().unwrap_or(' ');
                    let place = at..at + odd.len_utf8();
                    return Err(Mistake::new(
                        place,
                        format!("unrecognized character {odd:?}"),
                    ));
                };
                at += sign.len();
                Lexeme::Sign(sign)
            }
        };
        out.push((lexeme, start..at));
    }
    out.push((Lexeme::End, text.len()..text.len()));
    Ok(out)
}

fn unended(at: usize) -> Mistake {
    Mistake::new(at..at + 1, "the text does not end")
}

/// Reads a text in quotes; gives it and how long it is as written.
fn quoted(rest: &str, at: usize) -> Result<(String, usize), Mistake> {
    let mut out = String::new();
    let mut chars = rest.char_indices();
    let quote = chars.next().map_or('"', |(_, quote)| quote);
    while let Some((place, c)) = chars.next() {
        match c {
            _ if c == quote => return Ok((out, place + 1)),
            '\n' | '\r' => break,
            '\\' => {
                let Some((_, escape)) = chars.next() else {
                    break;
                };
                let mut code = |digits: u32, radix: u32, first: Option<char>| {
                    let mut value = first.and_then(|c| c.to_digit(radix)).unwrap_or(0);
                    for _ in 0..digits {
                        let digit = chars.next()?.1.to_digit(radix)?;
                        value = value.checked_mul(radix)?.checked_add(digit)?;
                    }
                    char::from_u32(value)
                };
                let read = match escape {
                    'a' => Some('\x07'),
                    'b' => Some('\x08'),
                    'f' => Some('\x0C'),
                    'n' => Some('\n'),
                    'r' => Some('\r'),
                    't' => Some('\t'),
                    'v' => Some('\x0B'),
                    '\\' | '\'' | '"' | '`' | '?' => Some(escape),
                    'x' => code(2, 16, None),
                    'u' => code(4, 16, None),
                    'U' => code(8, 16, None),
                    '0'..='3' => code(2, 8, Some(escape)),
                    _ => None,
                };
                let Some(read) = read else {
                    let place = at + place..at + place + 1 + escape.len_utf8();
                    let mistake = Mistake::new(place, format!("unknown escape `\\{escape}`"));
                    return Err(mistake.help(format!(
                        "write `\\\\{escape}` for a backslash and `{escape}`"
                    )));
                };
                out.push(read);
            }
            _ => out.push(c),
        }
    }
    Err(unended(at))
}

/// Reads a number; gives it and how long it is.
fn number<'t>(rest: &str, at: usize) -> Result<(Lexeme<'t>, usize), Mistake> {
    let octets = rest.as_bytes();
    let radix = match rest.get(..2) {
        Some("0x" | "0X") => 16,
        Some("0o" | "0O") => 8,
        Some("0b" | "0B") => 2,
        _ => 10,
    };
    let mut len = if radix == 10 { 0 } else { 2 };
    let mut float = false;
    while let Some(&octet) = octets.get(len) {
        let next = octets.get(len + 1).copied().unwrap_or(0);
        match octet {
            b'.' if radix == 10 && !float && next != b'.' => float = true,
            b'e' | b'E' if radix == 10 => {
                float = true;
                if matches!(next, b'+' | b'-') {
                    len += 1;
                }
            }
            _ if octet == b'_' || octet.is_ascii_alphanumeric() => {}
            _ => break,
        }
        len += 1;
    }
    let written = &rest[..len];
    let digits = written.replace('_', "");
    let read = match (float, radix) {
        (true, _) => digits
            .parse()
            .ok()
            .filter(|value: &f64| value.is_finite())
            .map(Lexeme::Float),
        (false, 10) => digits.parse().ok().map(Lexeme::Int),
        (false, radix) => i64::from_str_radix(&digits[2..], radix)
            .ok()
            .map(Lexeme::Int),
    };
    let sound = !written.ends_with('_') && !written.contains("__");
    match read.filter(|_| sound) {
        Some(read) => Ok((read, len)),
        None => Err(Mistake::new(
            at..at + len,
            format!("bad number `{written}`"),
        )),
    }
}
