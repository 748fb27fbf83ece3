//! `nameplate query` over TLS, HTTPS and QUIC, with certificates that are good and with those that are not.

use std::net::{TcpListener, UdpSocket};
use std::path::Path;

use crate::secure::{Authority, NAME, replace};
use crate::server::{free_port, nameplate, temporary_directory};
use crate::tls::{HOSTS, Secured};
use crate::transports::clients::{By, Everywhere};

/// What `query` prints, what it says is wrong, and its exit code.
fn query(dir: &Path, words: &[&str]) -> (String, String, Option<i32>) {
    let out = nameplate(dir).arg("query").args(words).output();
    let out = out.expect("the binary runs");
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    (text(&out.stdout), text(&out.stderr), out.status.code())
}

const WAYS: [(By, &str); 5] = [
    (By::Udp, "UDP"),
    (By::Tcp, "TCP"),
    (By::Tls, "TLS"),
    (By::Post, "HTTPS"),
    (By::Quic, "QUIC"),
];

/// `SCHEME://127.0.0.1:PORT`.
fn target(served: &Everywhere, by: By) -> String {
    let scheme = match by {
        By::Tcp => "tcp",
        by => by.scheme(),
    };
    format!("@{scheme}://{}", served.address(by))
}

#[test]
fn every_scheme_is_asked() {
    let dir = temporary_directory("query-schemes");
    let served = Everywhere::start(&dir, &[(".", HOSTS)]);
    for (by, transport) in WAYS {
        let at = target(&served, by);
        let ask = |more: &[&str]| {
            query(
                &dir,
                &[&[at.as_str(), "www.example.org", "--ca", "ca.pem"], more].concat(),
            )
        };
        let (text, errors, code) = ask(&[]);
        assert_eq!((errors.as_str(), code), ("", Some(0)), "{at}");
        for part in ["status: NOERROR", "192.0.2.1", &format!("({transport})")] {
            assert!(text.contains(part), "{at}: {part}\n{text}");
        }
        let (text, ..) = ask(&["+short", "+dnssec", "+nsid"]);
        assert_eq!(text, "192.0.2.1\n", "{at}");
        let (text, ..) = ask(&["--json"]);
        assert!(text.contains("\"rcode\": \"NOERROR\""), "{text}");
    }
    // As dig and kdig write it.
    let port = |by| served.address(by).port().to_string();
    for (flag, by) in [
        ("+tls", By::Tls),
        ("+https", By::Post),
        ("+https=/dns-query", By::Post),
        ("+quic", By::Quic),
    ] {
        let port = port(by);
        let words = ["@127.0.0.1", "-p", &port, flag, "www.example.org", "+short"];
        let (text, errors, _) = query(&dir, &[&words[..], &["+tls-ca=ca.pem"]].concat());
        assert_eq!(
            (text.as_str(), errors.as_str()),
            ("192.0.2.1\n", ""),
            "{flag}"
        );
    }
    // Two transports of one server say the same.
    let (tls, quic) = (target(&served, By::Tls), target(&served, By::Quic));
    let words = ["www.example.org", "--compare", &tls, &quic, "--insecure"];
    let (text, errors, code) = query(&dir, &words);
    assert_eq!(code, Some(0), "{text}{errors}");
}

#[test]
fn certificates_are_verified_and_a_bad_one_is_explained() {
    let dir = temporary_directory("query-certificates");
    let served = Everywhere::start(&dir, &[(".", HOSTS)]);
    replace(&dir.join("other.pem"), &Authority::new("other").pem);
    replace(&dir.join("none.pem"), "nothing\n");
    for (by, _) in &WAYS[2..] {
        let at = target(&served, *by);
        let ask =
            |more: &[&str]| query(&dir, &[&[&at, "www.example.org", "+short"], more].concat());
        let name = format!("+tls-hostname={NAME}");
        for (words, expected) in [
            (&[][..], "+tls-ca=FILE"),
            (
                &["+tls-ca=other.pem"],
                "is not signed by a trusted authority",
            ),
            (
                &["+tls-ca=ca.pem", "+tls-hostname=other.example"],
                "+tls-hostname=NAME",
            ),
            (&["+tls-ca=gone.pem"], "+tls-ca=gone.pem: "),
            (&["+tls-ca=none.pem"], "no certificate in PEM format"),
        ] {
            let (text, errors, code) = ask(words);
            assert_eq!((text.as_str(), code), ("", Some(9)), "{at} {words:?}");
            assert!(errors.contains(expected), "{at} {words:?}: {errors}");
        }
        for words in [
            &["+insecure"][..],
            &["--insecure", "+tls-hostname=other.example"],
            &["+tls-ca=ca.pem", &name],
            &["--ca", "ca.pem"],
        ] {
            let (text, errors, code) = ask(words);
            let found = (text.as_str(), errors.as_str(), code);
            assert_eq!(found, ("192.0.2.1\n", "", Some(0)), "{at} {words:?}");
        }
    }
}

#[test]
fn certificates_that_have_expired_or_are_of_clients_are_explained() {
    for (scheme, options, expected) in [
        ("tls", "", "has expired"),
        ("https", "", "has expired"),
        ("quic", "", "has expired"),
        (
            "tls",
            "ca.pem {\n client_auth require_and_verify\n }",
            "requires a client certificate",
        ),
    ] {
        let test = format!("query-{scheme}-{}", options.len());
        let served = Secured::start_by(scheme, &test, options, HOSTS);
        let dir = served.server.dir().to_owned();
        if options.is_empty() {
            served.authority.expired().write(&dir, "server");
            served.server.wait_for_log("The new certificate");
        }
        let at = format!("@{scheme}://{}", served.address);
        let (_, errors, code) = query(&dir, &[&at, "www.example.org", "--ca", "ca.pem"]);
        assert_eq!(code, Some(9), "{errors}");
        assert!(errors.contains(expected), "{at}: {errors}");
    }
}

#[test]
fn a_server_that_speaks_something_else_is_explained() {
    let dir = temporary_directory("query-others");
    let served = Everywhere::start(&dir, &[(".", HOSTS)]);
    let refused = free_port();
    let silent = (
        TcpListener::bind("127.0.0.1:0").expect("bound"),
        UdpSocket::bind("127.0.0.1:0").expect("bound"),
    );
    let (tcp, udp) = (
        silent.0.local_addr().expect("an address"),
        silent.1.local_addr().expect("an address"),
    );
    let plain = served.address(By::Tcp);
    let (tls, https) = (served.address(By::Tls), served.address(By::Post));
    for (at, expected) in [
        (
            format!("@tls://127.0.0.1:{refused}"),
            "no server listens on TCP port",
        ),
        (
            format!("@https://127.0.0.1:{refused}"),
            "no server listens on TCP port",
        ),
        (
            format!("@tls://{tcp}"),
            "no server for DNS over TLS on TCP port",
        ),
        (
            format!("@https://{tcp}"),
            "no server for DNS over HTTPS on TCP port",
        ),
        (
            format!("@quic://{udp}"),
            "no server for DNS over QUIC on UDP port",
        ),
        (
            format!("@tls://{plain}"),
            "no server for DNS over TLS on TCP port",
        ),
        (format!("@https://{tls}"), "does not support DNS over HTTPS"),
        (format!("@https://{https}/other"), "give its path"),
        (
            "@gopher://127.0.0.1".to_owned(),
            "only dns, udp, tcp, tls, https and quic",
        ),
    ] {
        let words = [&at, "www.example.org", "--ca", "ca.pem", "+time=1"];
        let (text, errors, code) = query(&dir, &words);
        assert!(text.is_empty() && code != Some(0), "{at}: {text}");
        assert!(errors.contains(expected), "{at}: {errors}");
    }
}
