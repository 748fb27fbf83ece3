//! Values, tables of words and what they are.

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
fn durations_are_go_s() {
    let good: &[(&str, u64)] = &[
        ("0", 0),
        ("1m30s", 90_000_000_000),
        ("300ms", 300_000_000),
        ("1.5h", 5_400_000_000_000),
        (".5s", 500_000_000),
        ("1.s", 1_000_000_000),
        ("+2us", 2_000),
        ("3µs", 3_000),
        ("-0s", 0),
        ("2562047h", 9_223_369_200_000_000_000),
    ];
    for &(text, nanos) in good {
        assert_eq!(
            duration(&token(text)).unwrap(),
            Duration::from_nanos(nanos),
            "{text}"
        );
    }
    for text in [
        "",
        "30",
        "s",
        ".",
        ".s",
        "1x",
        "1m 30s",
        "-1s",
        "9999999h",
        "99999999999999999999s",
        "1m30",
        "+",
        "µ",
    ] {
        assert_eq!(duration(&token(text)).unwrap_err().code, "CF0202", "{text}");
    }
    let wrong = duration(&token("30")).unwrap_err();
    assert!(wrong.message.contains("missing unit in duration"));
    assert_eq!(wrong.fix.unwrap().replacement, "30s");
    assert_eq!(
        duration_or_seconds(&token("30")).unwrap(),
        Duration::from_secs(30)
    );
    assert_eq!(
        duration_or_seconds(&token("30m")).unwrap(),
        Duration::from_secs(1800)
    );
}

#[test]
fn integers_have_a_range() {
    assert_eq!(integer(&token("3600"), 0..=65535).unwrap(), 3600);
    assert_eq!(
        integer(&token("65536"), 0..=65535).unwrap_err().code,
        "CF0203"
    );
    assert_eq!(
        integer(&token("99999999999999999999"), 0..=65535)
            .unwrap_err()
            .code,
        "CF0201"
    );
    let wrong = integer(&token("1h"), 0..=65535).unwrap_err();
    assert_eq!(
        (wrong.code, wrong.fix.unwrap().replacement.as_str()),
        ("CF0201", "3600")
    );
}

#[test]
fn addresses() {
    assert!(ip(&token("192.0.2.1")).is_ok() && ip(&token("2001:db8::1")).is_ok());
    for text in ["192.0.2.256", "192.0.2.1/24", "nas", ""] {
        assert_eq!(ip(&token(text)).unwrap_err().code, "CF0204", "{text}");
    }
    assert_eq!(
        cidr_or_ip(&token("192.0.2.77/24")).unwrap(),
        cidr(&token("192.0.2.0/24")).unwrap()
    );
    assert_eq!(cidr_or_ip(&token("192.0.2.1")).unwrap().bits, 32);
    assert_eq!(cidr(&token("192.0.2.1")).unwrap_err().code, "CF0204");
    assert_eq!(
        socket_address(&token("192.0.2.1"), 53).unwrap().to_string(),
        "192.0.2.1:53"
    );
    assert_eq!(
        socket_address(&token("[2001:db8::1]:5353"), 53)
            .unwrap()
            .to_string(),
        "[2001:db8::1]:5353"
    );
    assert_eq!(
        socket_address(&token("2001:db8::1"), 53)
            .unwrap()
            .to_string(),
        "[2001:db8::1]:53"
    );
    assert_eq!(
        socket_address(&token("nas:53"), 53).unwrap_err().code,
        "CF0208"
    );
    assert_eq!(host_port(&token(":8080")).unwrap(), (String::new(), 8080));
    assert_eq!(
        host_port(&token("[::1]:8080")).unwrap(),
        ("::1".to_owned(), 8080)
    );
    for text in [
        "8080",
        "localhost",
        "localhost:",
        "::1:8080",
        "a:99999",
        "[::1:80",
    ] {
        assert_eq!(
            host_port(&token(text)).unwrap_err().code,
            "CF0208",
            "{text}"
        );
    }
}

#[test]
fn names_and_codes() {
    assert_eq!(zone(&token("Example.ORG")).unwrap(), "example.org.");
    assert_eq!(zone(&token("a..b")).unwrap_err().code, "CF0205");
    let zones = zones_or_cidrs(&[
        token("example.org"),
        token("10.0.0.0/15"),
        token("dns://lan:53"),
    ])
    .unwrap();
    assert_eq!(
        zones,
        [
            "example.org.",
            "0.10.in-addr.arpa.",
            "1.10.in-addr.arpa.",
            "lan."
        ]
    );
    let many: Vec<_> = (0..1000).map(|_| token("10.0.0.0/25")).collect();
    assert_eq!(zones_or_cidrs(&many).unwrap_err().code, "CF0206");
    assert_eq!(rcode(&token("nxdomain")).unwrap(), 3);
    assert_eq!(
        rcode(&token("NXDOMIAN"))
            .unwrap_err()
            .fix
            .unwrap()
            .replacement,
        "NXDOMAIN"
    );
    assert!(boolean(&token("true")).unwrap() && boolean(&token("yes")).is_err());
    assert!(float(&token("0.5")).is_ok() && float(&token("NaN")).is_err());
}
