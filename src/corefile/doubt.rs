//! Words that CoreDNS takes for the name of a zone, and that were hardly meant as one.
//!
//! Nearly every word is a domain name: `30s`, `=` and `192.168.1.0/33` are. Whoever wrote them meant a TTL, an assignment or a
//! prefix; CoreDNS starts, and the words have no effect. Such a word is a warning, since it may be a zone after all.

use std::net::IpAddr;

use crate::diagnostic::Diagnostic;
use crate::key::{Key, NoPort, Prefix, Scheme, no_port, without_path};
use crate::syntax::Token;
use crate::value;

/// What a word looks like, if it does not look like a zone; `options` are the words that the directive knows in its block.
#[must_use]
pub fn argument(token: &Token, directive: &str, options: &[&str]) -> Option<Diagnostic> {
    let text = zone_part(&token.text);
    let told = |what: &str| {
        Diagnostic::warning("CF0213", format!("`{text}` is read as the name of a zone"))
            .at(token.span, what.to_owned())
    };
    if let Some(doubt) = shell_variable(token) {
        return Some(doubt);
    }
    if options.contains(&text) {
        return Some(
            told(&format!("`{text}` is an option of `{directive}`"))
                .help(format!("write it in braces: `{directive} … {{ {text} }}`")),
        );
    }
    if text.contains('=') {
        return Some(
            told("there are no assignments in a Corefile")
                .help("write words with a space between them"),
        );
    }
    if let Ok(duration) = value::duration(token)
        && text.parse::<u64>().is_err()
    {
        let seconds = duration.as_secs().to_string();
        return Some(if directive == "cache" {
            told("this looks like a duration")
                .help("the TTL of `cache` is a number of seconds")
                .replace(token.span, seconds)
        } else {
            told("this looks like a duration")
        });
    }
    if text.parse::<f64>().is_ok() && text != "." {
        return Some(told("this looks like a number"));
    }
    if matches!(text, "stdout" | "stderr") {
        return Some(
            told("this looks like an output").help("the log always goes to standard output"),
        );
    }
    if matches!(text, "true" | "false" | "on" | "off" | "yes" | "no") {
        return Some(told("this looks like a switch"));
    }
    place(text).map(|(what, help)| told(&what).help(help))
}

/// The same for the key of a server block.
#[must_use]
pub fn key(token: &Token, key: &Key) -> Option<Diagnostic> {
    if key.cidr {
        return None;
    }
    let text = zone_part(&token.text);
    let told = |what: &str| {
        Diagnostic::warning(
            "CF0213",
            format!("`{text}` is served as the name of a zone"),
        )
        .at(token.span, what.to_owned())
    };
    if let Some(doubt) = shell_variable(token) {
        return Some(doubt);
    }
    match no_port(text) {
        Some((path, NoPort::Path)) => {
            return Some(without_path(told("a key has no path"), token, path));
        }
        Some((port, NoPort::Word)) => {
            return Some(
                told(&format!("`{port}` is not a port"))
                    .help("a port is a number from 0 to 65535 after the colon"),
            );
        }
        // The delegation of a part of a /24 has a slash in its name (RFC 2317).
        None if key.scheme != Scheme::Dns && !text.trim_end_matches('.').ends_with(".arpa") => {
            if let Some(at) = text.find('/') {
                return Some(without_path(told("a key has no path"), token, &text[at..]));
            }
        }
        None => {}
    }
    if key.port.is_none() && text.parse::<u16>().is_ok() {
        return Some(
            told("this looks like a port")
                .help("write the zone before the port; `.` is every name")
                .replace(token.span, format!(".:{text}")),
        );
    }
    if text.parse::<IpAddr>().is_ok() {
        return Some(told("an address is not a zone: no query has such a name").help(
            "write the address to listen on in the block: `bind ADDRESS`; write a reverse zone as a prefix, such as `192.0.2.1/32`",
        ));
    }
    if text == "*" || text.starts_with("*.") {
        return Some(
            told("there are no wildcards here: only this exact name is served")
                .help("a zone includes all names below it; `.` is every name"),
        );
    }
    place(text).map(|(what, help)| told(&what).help(help))
}

/// A variable as a shell has it.
#[must_use]
pub fn shell_variable(token: &Token) -> Option<Diagnostic> {
    let (_, rest) = token.text.split_once("${")?;
    let (name, _) = rest.split_once('}')?;
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || !name.chars().all(is_name) {
        return None;
    }
    let (written, right) = (format!("${{{name}}}"), format!("{{${name}}}"));
    Some(
        Diagnostic::warning("CF0213", format!("`{written}` is not a variable"))
            .at(token.span, "it is not replaced")
            .help(format!("write a variable as `{right}`"))
            .replace(token.span, token.text.replace(&written, &right)),
    )
}

/// The word without its scheme and port, as far as it has them.
fn zone_part(text: &str) -> &str {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    match rest.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|c| c.is_ascii_digit()) => {
            if rest.parse::<IpAddr>().is_ok() {
                rest
            } else {
                name
            }
        }
        _ => rest,
    }
}

/// An address, a broken prefix or a path: what is said of it, and what to do.
fn place(text: &str) -> Option<(String, String)> {
    if text.parse::<IpAddr>().is_ok() {
        return Some((
            "this is an address, and no query has such a name".to_owned(),
            format!(
                "write a reverse zone as a prefix: `{text}/{}`",
                if text.contains(':') { 128 } else { 32 }
            ),
        ));
    }
    if Prefix::parse(text).is_some() {
        return None;
    }
    // A delegation of a part of a /24 has a slash in its name (RFC 2317).
    if text.trim_end_matches('.').ends_with(".arpa") {
        return None;
    }
    let (head, tail) = text.split_once('/')?;
    let prefix = !head.is_empty()
        && !tail.is_empty()
        && tail.bytes().all(|c| c.is_ascii_digit())
        && (head.bytes().all(|c| c.is_ascii_digit() || c == b'.') || head.contains(':'));
    Some(if prefix {
        let most = if head.contains(':') { 128 } else { 32 };
        (
            "not a prefix in CIDR form".to_owned(),
            format!(
                "a prefix is a whole address and 0 to {most} bits, such as `192.0.2.0/24` or `2001:db8::/32`"
            ),
        )
    } else {
        (
            "this looks like a path".to_owned(),
            "a zone is a domain name, such as `example.org`".to_owned(),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Memory, parse};

    fn doubts(word: &str) -> Option<String> {
        let (corefile, _) = parse(
            "Corefile",
            format!(". {{\n cache {word}\n}}\n").into_bytes(),
            &Memory::new(),
        );
        let token = corefile.blocks[0].directives[0].args[0].clone();
        argument(&token, "cache", &["success", "denial"]).map(|found| found.labels[0].text.clone())
    }

    #[test]
    fn words_that_are_hardly_zones() {
        for word in [
            "30s",
            "1m30s",
            "=",
            "ttl=30",
            "success",
            "on",
            "1.5",
            "192.0.2.1",
            "2001:db8::1",
            "192.168.1.0/33",
            "10.0/8",
            "2001:db8::/129",
            "/etc/hosts",
            "db/zone",
        ] {
            assert!(doubts(word).is_some(), "{word}");
        }
        for word in [
            ".",
            "example.org",
            "example.org.",
            "10.0.0.0/8",
            "2001:db8::/32",
            "168.192.in-addr.arpa",
            "localhost",
            "a-b.c_d.example",
            "dns://example.org:53",
            "0/25.2.0.192.in-addr.arpa.",
        ] {
            assert_eq!(doubts(word), None, "{word}");
        }
    }
}
