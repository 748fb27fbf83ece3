//! Keys, tables of text and what it means.

use super::*;
use crate::source::{FileId, Span};

fn token(text: &str) -> Token {
    Token {
        text: text.to_owned(),
        span: Span {
            file: FileId(0),
            start: 0,
            end: text.len() as u32,
        },
        quoted: false,
    }
}

#[test]
fn keys_that_are_accepted() {
    let table: &[(&str, Scheme, &[&str], Option<u16>)] = &[
        (".", Scheme::Dns, &["."], None),
        (".:53", Scheme::Dns, &["."], Some(53)),
        (
            "example.org:1053",
            Scheme::Dns,
            &["example.org."],
            Some(1053),
        ),
        ("EXAMPLE.org.", Scheme::Dns, &["example.org."], None),
        ("tls://example.org", Scheme::Tls, &["example.org."], None),
        ("https3://.:8443", Scheme::Https3, &["."], Some(8443)),
        ("dns://example.org", Scheme::Dns, &["example.org."], None),
        (
            "10.0.0.0/8:53",
            Scheme::Dns,
            &["10.in-addr.arpa."],
            Some(53),
        ),
        (
            "10.0.0.0/15",
            Scheme::Dns,
            &["0.10.in-addr.arpa.", "1.10.in-addr.arpa."],
            None,
        ),
        (
            "192.168.1.1/23",
            Scheme::Dns,
            &["0.168.192.in-addr.arpa.", "1.168.192.in-addr.arpa."],
            None,
        ),
        ("0.0.0.0/0", Scheme::Dns, &["in-addr.arpa."], None),
        (
            "192.0.2.7/32",
            Scheme::Dns,
            &["7.2.0.192.in-addr.arpa."],
            None,
        ),
        (
            "2001:db8::/32",
            Scheme::Dns,
            &["8.b.d.0.1.0.0.2.ip6.arpa."],
            None,
        ),
        (
            "2001:db8::/31:5300",
            Scheme::Dns,
            &["8.b.d.0.1.0.0.2.ip6.arpa.", "9.b.d.0.1.0.0.2.ip6.arpa."],
            Some(5300),
        ),
        (
            "example.org,example.com:1053",
            Scheme::Dns,
            &["example.org,example.com."],
            Some(1053),
        ),
        (r"a\.b", Scheme::Dns, &[r"a\.b."], None),
        ("10.0.0.0/33", Scheme::Dns, &["10.0.0.0/33."], None),
        (
            "example.org:port",
            Scheme::Dns,
            &["example.org:port."],
            None,
        ),
    ];
    for &(text, scheme, zones, port) in table {
        let key = parse(&token(text)).unwrap_or_else(|wrong| panic!("{text}: {wrong:?}"));
        assert_eq!((key.scheme, key.port), (scheme, port), "{text}");
        assert_eq!(key.zones, zones, "{text}");
    }
}

#[test]
fn keys_that_are_refused() {
    let long = "a".repeat(64);
    let longer = format!("{}example.org", "abcdefg.".repeat(32));
    let table = [
        ("", "CF0205"),
        (":53", "CF0205"),
        ("example.org:", "CF0209"),
        ("example.org:65536", "CF0209"),
        ("example.org:-1", "CF0209"),
        ("tsl://example.org", "CF0210"),
        ("unix://x", "CF0210"),
        ("a..b", "CF0205"),
        (".a", "CF0205"),
        ("..", "CF0205"),
        (long.as_str(), "CF0205"),
        (longer.as_str(), "CF0205"),
        ("::/0", "CF0204"),
        ("0::/96", "CF0204"),
    ];
    for (text, code) in table {
        assert_eq!(
            parse(&token(text)).map_err(|wrong| wrong.code),
            Err(code),
            "{text}"
        );
    }
    let wrong = parse(&token("tsl://example.org:853")).unwrap_err();
    assert_eq!(wrong.fix.unwrap().replacement, "tls://example.org:853");
}

#[test]
fn expansions_are_bounded_and_cover_the_prefix() {
    let zones = parse(&token("192.168.1.0/25")).unwrap().zones;
    assert_eq!(zones.len(), 128);
    assert_eq!(
        (zones[0].as_str(), zones[127].as_str()),
        ("0.1.168.192.in-addr.arpa.", "127.1.168.192.in-addr.arpa.")
    );
    for bits in 0..=32 {
        assert!(
            Prefix::parse(&format!("10.0.0.0/{bits}"))
                .unwrap()
                .reverse_zones()
                .len()
                <= 128
        );
    }
    for bits in 0..=128 {
        assert!(
            Prefix::parse(&format!("2001:db8::/{bits}"))
                .unwrap()
                .reverse_zones()
                .len()
                <= 8
        );
    }
    assert_eq!(
        Prefix::parse("::/0").unwrap().reverse_zones(),
        ["ip6.arpa."]
    );
}

#[test]
fn prefixes_contain() {
    let table = [
        ("192.0.2.0/24", "192.0.2.255", true),
        ("192.0.2.0/24", "192.0.3.0", false),
        ("0.0.0.0/0", "203.0.113.1", true),
        ("192.0.2.1/32", "192.0.2.1", true),
        ("2001:db8::/32", "2001:db8:ffff::1", true),
        ("2001:db8::/32", "2001:db9::", false),
        ("::/0", "192.0.2.1", false),
    ];
    for (prefix, address, inside) in table {
        assert_eq!(
            Prefix::parse(prefix)
                .unwrap()
                .contains(address.parse().unwrap()),
            inside,
            "{prefix} {address}"
        );
    }
}

#[test]
fn preferred_syntax() {
    let table = [
        (".", true),
        ("example.org", true),
        ("a-b.org", true),
        ("192.0.2.0/24", true),
        ("_tcp.org", false),
        ("4u.org", false),
        ("a-.org", false),
        ("a,b", false),
        ("x:y", false),
    ];
    for (text, plain) in table {
        assert_eq!(
            parse(&token(text)).unwrap().preferred_syntax(),
            plain,
            "{text}"
        );
    }
}
