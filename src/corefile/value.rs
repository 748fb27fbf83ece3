//! Words with a type: a token becomes a value, or a diagnostic that names the shape that was expected.
//!
//! The shapes are Go's where CoreDNS hands a word to Go: `time.ParseDuration`, `strconv.Atoi`, `net.ParseCIDR`.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::diagnostic::{Diagnostic, nearest};
use crate::key::{self, Prefix};
use crate::syntax::Token;

/// Zones that one list of arguments may expand to.
pub const ZONES_LIMIT: usize = 65_536;

/// A duration with a unit: `1m30s`, `300ms`; a bare number is refused (except `0`, as in Go).
///
/// # Errors
/// CF0202 when it is no duration, when it is negative or when the unit is missing.
pub fn duration(token: &Token) -> Result<Duration, Diagnostic> {
    parse_duration(&token.text).map_err(|wrong| {
        let diagnostic = Diagnostic::error("CF0202", format!("{wrong}: `{}`", token.text)).at(
            token.span,
            "expected a duration such as `30s`, `1m30s` or `300ms`",
        );
        match wrong {
            WrongDuration::NoUnit => diagnostic
                .help("write the unit; seconds are probably meant")
                .replace(token.span, format!("{}s", token.text)),
            WrongDuration::Negative => diagnostic.help("write a duration that is not negative"),
            WrongDuration::NotOne | WrongDuration::TooLong => {
                diagnostic.note("units are `ns`, `us`, `ms`, `s`, `m` and `h`; a day is `24h`")
            }
        }
    })
}

/// A duration, or a bare number of seconds.
///
/// # Errors
/// CF0202 as for [`duration`].
pub fn duration_or_seconds(token: &Token) -> Result<Duration, Diagnostic> {
    match token.text.parse::<u64>() {
        Ok(seconds) if seconds <= i64::MAX as u64 / 1_000_000_000 => {
            Ok(Duration::from_secs(seconds))
        }
        _ => duration(token),
    }
}

/// A whole number within a range.
///
/// # Errors
/// CF0201 when it is no number, CF0203 when it is out of range.
pub fn integer(token: &Token, range: RangeInclusive<i64>) -> Result<i64, Diagnostic> {
    let shape = if *range.end() == i64::MAX {
        format!("expected a whole number, {} or more", range.start())
    } else {
        format!(
            "expected a whole number from {} to {}",
            range.start(),
            range.end()
        )
    };
    match token.text.parse::<i64>() {
        Ok(number) if range.contains(&number) => Ok(number),
        Ok(number) => Err(
            Diagnostic::error("CF0203", format!("number out of range: `{number}`"))
                .at(token.span, shape),
        ),
        Err(_) => {
            let diagnostic = Diagnostic::error("CF0201", format!("not a number: `{}`", token.text))
                .at(token.span, shape);
            Err(match parse_duration(&token.text) {
                Ok(written) if written.as_nanos() % 1_000_000_000 == 0 && token.text != "0" => {
                    diagnostic
                        .help("durations are not accepted here; write whole seconds")
                        .replace(token.span, written.as_secs().to_string())
                }
                _ => diagnostic,
            })
        }
    }
}

/// A number that may have a fraction.
///
/// # Errors
/// CF0201 when it is no finite number.
pub fn float(token: &Token) -> Result<f64, Diagnostic> {
    token
        .text
        .parse::<f64>()
        .ok()
        .filter(|number| number.is_finite())
        .ok_or_else(|| {
            Diagnostic::error("CF0201", format!("not a number: `{}`", token.text))
                .at(token.span, "expected a number")
        })
}

/// `true`/`false` as Go's `strconv.ParseBool` reads them.
///
/// # Errors
/// CF0201 when it is neither.
pub fn boolean(token: &Token) -> Result<bool, Diagnostic> {
    match token.text.as_str() {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err(
            Diagnostic::error("CF0201", format!("not a truth value: `{}`", token.text))
                .at(token.span, "expected `true` or `false`"),
        ),
    }
}

/// An IP address; a zone (`fe80::1%eth0`) is refused.
///
/// # Errors
/// CF0204 when it is none.
pub fn ip(token: &Token) -> Result<IpAddr, Diagnostic> {
    token.text.parse().map_err(|_| {
        let diagnostic =
            Diagnostic::error("CF0204", format!("not an IP address: `{}`", token.text)).at(
                token.span,
                "expected an address such as `192.0.2.1` or `2001:db8::1`",
            );
        if token.text.contains('/') {
            diagnostic.help("a prefix is not accepted here; write one address")
        } else {
            diagnostic
        }
    })
}

/// A prefix in CIDR form; host bits are cleared, as Go's `net.ParseCIDR` does.
///
/// # Errors
/// CF0204 when it is none.
pub fn cidr(token: &Token) -> Result<Prefix, Diagnostic> {
    Prefix::parse(&token.text).ok_or_else(|| {
        Diagnostic::error("CF0204", format!("invalid CIDR address: `{}`", token.text)).at(
            token.span,
            "expected a prefix such as `192.0.2.0/24` or `2001:db8::/32`",
        )
    })
}

/// A prefix, or one address, which stands for itself.
///
/// # Errors
/// CF0204 when it is neither.
pub fn cidr_or_ip(token: &Token) -> Result<Prefix, Diagnostic> {
    match token.text.parse::<IpAddr>() {
        Ok(address) => Ok(Prefix::host(address)),
        Err(_) => cidr(token),
    }
}

/// A domain name, normalised: lower case, with the trailing dot.
///
/// # Errors
/// CF0205 when it is no name.
pub fn zone(token: &Token) -> Result<String, Diagnostic> {
    key::normalise(&token.text).map_err(|why| {
        Diagnostic::error(
            "CF0205",
            format!("zone is not a valid domain name: {}", token.text),
        )
        .at(token.span, why)
    })
}

/// The zones of an argument list: names normalised, CIDR prefixes expanded to reverse zones; scheme and port dropped.
///
/// CoreDNS silently skips an argument that is no zone; here it is an error.
///
/// # Errors
/// CF0205 for the first word that is no zone, CF0206 when the prefixes expand to more than [`ZONES_LIMIT`] zones.
pub fn zones_or_cidrs(tokens: &[Token]) -> Result<Vec<String>, Diagnostic> {
    let mut zones = Vec::new();
    for token in tokens {
        let key = key::parse(token)?;
        if zones.len() + key.zones.len() > ZONES_LIMIT {
            return Err(key::too_many(token));
        }
        zones.extend(key.zones);
    }
    Ok(zones)
}

/// The names of the RCODEs that a Corefile may use, with their numbers (IANA; miekg/dns writes the same).
pub const RCODES: &[(&str, u16)] = &[
    ("NOERROR", 0),
    ("FORMERR", 1),
    ("SERVFAIL", 2),
    ("NXDOMAIN", 3),
    ("NOTIMP", 4),
    ("NOTIMPL", 4),
    ("REFUSED", 5),
    ("YXDOMAIN", 6),
    ("YXRRSET", 7),
    ("NXRRSET", 8),
    ("NOTAUTH", 9),
    ("NOTZONE", 10),
    ("DSOTYPENI", 11),
    ("BADSIG", 16),
    ("BADVERS", 16),
    ("BADKEY", 17),
    ("BADTIME", 18),
    ("BADMODE", 19),
    ("BADNAME", 20),
    ("BADALG", 21),
    ("BADTRUNC", 22),
    ("BADCOOKIE", 23),
];

/// An RCODE by name, in any case.
///
/// # Errors
/// CF0207 when no RCODE has that name.
pub fn rcode(token: &Token) -> Result<u16, Diagnostic> {
    let known = RCODES
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(&token.text));
    known.map(|&(_, number)| number).ok_or_else(|| {
        let diagnostic = Diagnostic::error("CF0207", format!("not an RCODE: `{}`", token.text)).at(
            token.span,
            "expected a name such as `SERVFAIL` or `NXDOMAIN`",
        );
        match nearest(&token.text, RCODES.iter().map(|&(name, _)| name)) {
            Some(near) => diagnostic
                .help("a similar RCODE exists")
                .replace(token.span, near),
            None => diagnostic,
        }
    })
}

/// `ADDRESS:PORT`, or an address alone with the port given; IPv6 in brackets when a port is written.
///
/// # Errors
/// CF0208 when it is neither.
pub fn socket_address(token: &Token, port: u16) -> Result<SocketAddr, Diagnostic> {
    let text = token.text.as_str();
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(address);
    }
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(text);
    bare.parse::<IpAddr>()
        .map(|address| SocketAddr::new(address, port))
        .map_err(|_| {
            Diagnostic::error(
                "CF0208",
                format!("not an IP address or a socket address: `{text}`"),
            )
            .at(
                token.span,
                "expected an address such as `192.0.2.1`, `192.0.2.1:53` or `[2001:db8::1]:53`",
            )
        })
}

/// `HOST:PORT` to listen on or to reach: the host may be empty (every address), a name or an address.
///
/// # Errors
/// CF0208 when a host, the colon or a port is missing or wrong.
pub fn host_port(token: &Token) -> Result<(String, u16), Diagnostic> {
    let wrong = |why: &str| {
        Diagnostic::error("CF0208", format!("not a host and port: `{}`", token.text)).at(
            token.span,
            format!("{why}; expected a form such as `:8080`, `localhost:8080` or `[::1]:8080`"),
        )
    };
    let (host, port) = token
        .text
        .rsplit_once(':')
        .ok_or_else(|| wrong("the port is missing"))?;
    let port = port
        .parse::<u16>()
        .map_err(|_| wrong("the port is not a number from 0 to 65535"))?;
    let host = match host.strip_prefix('[') {
        Some(rest) => rest
            .strip_suffix(']')
            .ok_or_else(|| wrong("a bracket is not closed"))?,
        None if host.contains(':') => return Err(wrong("an IPv6 address needs brackets")),
        None => host,
    };
    Ok((host.to_owned(), port))
}

/// Why a word is no duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WrongDuration {
    NotOne,
    NoUnit,
    Negative,
    TooLong,
}

impl std::fmt::Display for WrongDuration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NotOne => "not a duration",
            Self::NoUnit => "missing unit in duration",
            Self::Negative => "negative duration",
            Self::TooLong => "duration too long",
        })
    }
}

/// Go's `time.ParseDuration`: signed sums of decimal numbers with a unit; at most 2^63 - 1 nanoseconds.
fn parse_duration(text: &str) -> Result<Duration, WrongDuration> {
    let (negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(WrongDuration::NotOne);
    }
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
        let whole = digits(rest);
        let fraction = rest[whole..].strip_prefix('.').map(digits);
        if whole + fraction.unwrap_or(0) == 0 {
            return Err(WrongDuration::NotOne);
        }
        let (number, after) = rest.split_at(whole + fraction.map_or(0, |digits| digits + 1));
        let unit_len = after
            .find(|c: char| c == '.' || c.is_ascii_digit())
            .unwrap_or(after.len());
        let (unit, next) = after.split_at(unit_len);
        let scale: u128 = match unit {
            "" => return Err(WrongDuration::NoUnit),
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return Err(WrongDuration::NotOne),
        };
        let whole_value = match &number[..whole] {
            "" => 0,
            digits => digits.parse::<u64>().map_err(|_| WrongDuration::TooLong)?,
        };
        total += u128::from(whole_value) * scale;
        // Digits past the 18th are below a nanosecond for every unit.
        let fraction = number.get(whole + 1..).unwrap_or("");
        let kept = &fraction[..fraction.len().min(18)];
        if !kept.is_empty() {
            total += kept.parse::<u128>().unwrap_or(0) * scale / 10u128.pow(kept.len() as u32);
        }
        if total > i64::MAX as u128 {
            return Err(WrongDuration::TooLong);
        }
        rest = next;
    }
    if negative && total > 0 {
        return Err(WrongDuration::Negative);
    }
    Ok(Duration::from_nanos(total as u64))
}

#[cfg(test)]
#[path = "value_tests.rs"]
mod tests;
