//! The command line, and replies as they are written.

use std::time::Duration;

use wire::{Class, Type};

use crate::compare::differences;
use crate::options::{Options, Scheme, Shape};
use crate::{NO_REPLY, USAGE, run};

fn read(line: &str) -> Result<Options, String> {
    let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    Options::read(&words)
}

#[test]
fn words_are_read_as_dig_reads_them() {
    for (line, name, qtype, class) in [
        ("", ".", Type::NS, Class::IN),
        ("www.example.org", "www.example.org.", Type::A, Class::IN),
        (
            "AAAA www.example.org",
            "www.example.org.",
            Type::AAAA,
            Class::IN,
        ),
        (
            "www.example.org mx in",
            "www.example.org.",
            Type::MX,
            Class::IN,
        ),
        ("version.bind CH TXT", "version.bind.", Type::TXT, Class::CH),
        ("-q mx -t mx", "mx.", Type::MX, Class::IN),
        ("TYPE65280 a.", "a.", Type(65_280), Class::IN),
        (
            "-x 192.0.2.1",
            "1.2.0.192.in-addr.arpa.",
            Type::PTR,
            Class::IN,
        ),
        (
            "-x 2001:db8::1",
            "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa.",
            Type::PTR,
            Class::IN,
        ),
    ] {
        let options = read(line).expect(line);
        let asked = (options.name.to_string(), options.qtype, options.class);
        assert_eq!(asked, (name.to_owned(), qtype, class), "{line}");
    }
}

#[test]
fn flags_and_their_opposites() {
    let options = read("a. +tcp +norec +dnssec +nsid +bufsize=4096 +time=2 +tries=1 +cd").unwrap();
    assert!(options.tcp && !options.recurse && options.dnssec && options.nsid);
    assert!(options.checking_disabled);
    assert_eq!(
        (options.size, options.time, options.tries),
        (4_096, Duration::from_secs(2), 1)
    );
    assert_eq!(read("a. +short").unwrap().shape, Shape::Short);
    assert_eq!(read("a. +short +noshort").unwrap().shape, Shape::Full);
    assert_eq!(read("a. --json").unwrap().shape, Shape::Json);
    let parts = read("a. +noall +answer").unwrap().parts;
    assert!(parts.answer && !parts.comments && !parts.stats && !parts.question);
}

#[test]
fn mistakes_are_told() {
    for (line, expected) in [
        ("a. +shrot", "+shrot: no such flag; is it +short?"),
        ("a. +nodnsec", "is it +nodnssec?"),
        ("a. +zzzzzzzz", "no such flag"),
        ("a. --jsno", "--jsno: no such option; is it --json?"),
        ("a. -z", "-z: no such option"),
        ("a. -p", "-p needs a value"),
        ("a. -p x", "not a port"),
        ("-x a.b", "not an address"),
        ("a. b.", "one name at a time"),
        (
            "a. AAAAA",
            "AAAAA: neither a type nor a class, and the name is a.",
        ),
        ("a..b", "not a domain name"),
        ("a. AXFR", "zone transfers"),
        ("a. --compare @192.0.2.1", "needs two servers"),
        ("a. @192.0.2.1 @192.0.2.2", "one server, or two"),
        ("a. +bufsize=70000", "not a size"),
        ("a. --ca", "--ca needs a file"),
    ] {
        let error = read(line).expect_err(line);
        assert!(error.contains(expected), "{line}: {error}");
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        assert_eq!(run(&words).code, USAGE, "{line}");
    }
}

#[test]
fn servers_are_read_with_their_schemes_and_ports() {
    for (line, address, scheme) in [
        ("@192.0.2.1", "192.0.2.1:53", Scheme::Plain),
        ("@192.0.2.1 -p 1053", "192.0.2.1:1053", Scheme::Plain),
        ("@192.0.2.1:5353 -p 1053", "192.0.2.1:5353", Scheme::Plain),
        ("@2001:db8::1", "[2001:db8::1]:53", Scheme::Plain),
        ("@[2001:db8::1]:5353", "[2001:db8::1]:5353", Scheme::Plain),
        ("@udp://192.0.2.1", "192.0.2.1:53", Scheme::Plain),
        ("@tcp://192.0.2.1", "192.0.2.1:53", Scheme::Tcp),
        ("@tls://192.0.2.1", "192.0.2.1:853", Scheme::Tls),
        ("@192.0.2.1 +tls", "192.0.2.1:853", Scheme::Tls),
        ("@192.0.2.1 +tls +notls", "192.0.2.1:53", Scheme::Plain),
        ("@quic://192.0.2.1", "192.0.2.1:853", Scheme::Quic),
        ("@192.0.2.1:8853 +quic", "192.0.2.1:8853", Scheme::Quic),
        (
            "@192.0.2.1 +https",
            "192.0.2.1:443",
            Scheme::Https("/dns-query".into()),
        ),
        (
            "@192.0.2.1 +https=/q",
            "192.0.2.1:443",
            Scheme::Https("/q".into()),
        ),
        (
            "@https://192.0.2.1",
            "192.0.2.1:443",
            Scheme::Https("/dns-query".into()),
        ),
        (
            "@https://192.0.2.1:8443/q",
            "192.0.2.1:8443",
            Scheme::Https("/q".into()),
        ),
    ] {
        let servers = read(line).unwrap().servers().expect(line);
        assert_eq!(servers[0].address.to_string(), address, "{line}");
        assert_eq!(servers[0].scheme, scheme, "{line}");
    }
    for (line, expected) in [
        (
            "@sftp://192.0.2.1",
            "unknown scheme sftp: only dns, udp, tcp, tls, https and quic",
        ),
        ("@tsl://192.0.2.1", "unknown scheme tsl; tls:// is similar"),
        ("@tls://192.0.2.1/dns-query", "only https has a path"),
        ("@192.0.2.1:x", "not a server"),
    ] {
        let error = read(line).unwrap().servers().expect_err(line);
        assert!(error.contains(expected), "{line}: {error}");
    }
}

#[test]
fn differences_leave_order_and_what_a_server_says_of_itself_out() {
    let message = |id: u8, flags: u8, records: &[([u8; 4], u8)]| {
        let mut out = vec![0, id, flags, 0, 0, 1, 0, records.len() as u8, 0, 0, 0, 0];
        out.extend_from_slice(b"\x01a\0\0\x01\0\x01");
        for (address, ttl) in records {
            out.extend_from_slice(&[0xC0, 12, 0, 1, 0, 1, 0, 0, 0, *ttl, 0, 4]);
            out.extend_from_slice(address);
        }
        out
    };
    let (one, two) = ([192, 0, 2, 1], [192, 0, 2, 2]);
    let a = message(1, 0x84, &[(one, 60), (two, 60)]);
    assert!(differences(&a, &message(2, 0x84, &[(two, 60), (one, 60)])).is_empty());
    let found = differences(&a, &message(2, 0x80, &[(one, 30)]));
    let found: Vec<_> = found
        .iter()
        .map(|one| (one.what, one.a.as_str(), one.b.as_str()))
        .collect();
    let expected = [
        ("flags", "qr aa", "qr"),
        (
            "answer",
            "a. IN A 192.0.2.1 (TTL 60)",
            "a. IN A 192.0.2.1 (TTL 30)",
        ),
        ("answer", "a. IN A 192.0.2.2 (TTL 60)", ""),
    ];
    assert_eq!(found, expected);
}

#[test]
fn no_reply_is_nine() {
    // A port that nobody has: the socket is bound and closed again.
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port().to_string();
    drop(socket);
    let words = [
        "@127.0.0.1",
        "-p",
        &port,
        "a.",
        "+time=1",
        "+tries=1",
        "+tcp",
    ];
    let outcome = run(&words.map(str::to_owned));
    assert_eq!(outcome.code, NO_REPLY);
    assert!(
        outcome.error.contains("no servers could be reached"),
        "{}",
        outcome.error
    );
}
