//! DNS over HTTPS (RFC 8484) and over gRPC as clients see them.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use crate::attacks::{a, get, rcode};
use crate::secure::connect;
use crate::server::{Server, free_port, kdig, tool, wait_until};
use crate::tls::{HOSTS, Secured};

/// A message in base64url.
pub(crate) fn encoded(message: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut out = String::new();
    for group in message.chunks(3) {
        let mut bits = [0; 4];
        bits[1..=group.len()].copy_from_slice(group);
        let bits = u32::from_be_bytes(bits);
        for at in 0..=group.len() {
            out.push(char::from(ALPHABET[(bits >> (18 - 6 * at) & 63) as usize]));
        }
    }
    out
}

/// What curl prints about a path; the head of the response comes first.
fn curl(served: &Secured, path: &str, arguments: &[&str]) -> Option<Vec<u8>> {
    let port = served.address.port();
    let out = Command::new(tool("curl")?)
        .args(["-si", "--max-time", "10", "--cacert"])
        .arg(served.server.dir().join("ca.pem"))
        .args(["--resolve", &format!("dns.example.org:{port}:127.0.0.1")])
        .args(arguments)
        .arg(format!("https://dns.example.org:{port}{path}"))
        .output()
        .expect("curl runs");
    Some(out.stdout)
}

/// The status of a response, its headers in lower case, and its body.
fn parts(response: &[u8]) -> (u16, String, &[u8]) {
    let mut rest = response;
    loop {
        let end = rest.windows(4).position(|four| four == b"\r\n\r\n");
        let (head, body) = rest.split_at(end.map_or(rest.len(), |end| end + 4));
        let head = String::from_utf8_lossy(head).to_lowercase();
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|text| text.trim().parse().ok());
        match status {
            Some(100) => rest = body,
            status => return (status.unwrap_or(0), head, body),
        }
    }
}

const VERSIONS: [(&str, &str); 2] = [("--http1.1", "http/1.1 "), ("--http2", "http/2 ")];

#[test]
fn curl_gets_and_posts_over_both_versions() {
    let served = Secured::start_by("https", "doh-curl", "", HOSTS);
    let query = a("www.example.org");
    std::fs::write(served.server.dir().join("query"), &query).expect("written");
    let body = format!("@{}", served.server.dir().join("query").display());
    let post = [
        "-H",
        "content-type: application/dns-message",
        "--data-binary",
        &body,
    ];
    for (option, version) in VERSIONS {
        let path = format!("/dns-query?dns={}", encoded(&query));
        for (path, arguments) in [(path.as_str(), &[][..]), ("/dns-query", &post[..])] {
            let arguments = [&[option], arguments].concat();
            let Some(out) = curl(&served, path, &arguments) else {
                return;
            };
            let (status, head, reply) = parts(&out);
            assert!(status == 200 && head.starts_with(version), "{head}");
            assert!(
                head.contains("content-type: application/dns-message\r\n"),
                "{head}"
            );
            assert!(head.contains("cache-control: max-age=3600\r\n"), "{head}");
            assert!(
                head.contains(&format!("content-length: {}\r\n", reply.len())),
                "{head}"
            );
            assert!(
                rcode(reply) == 0 && reply[..2] == query[..2] && reply[7] == 1,
                "{reply:?}"
            );
        }
    }
}

#[test]
fn what_is_no_query_has_a_status_of_its_own_and_is_counted() {
    let lines = format!("{HOSTS}\n  prometheus 127.0.0.1:{{ADMIN}}");
    let served = Secured::start_by("https", "doh-statuses", "", &lines);
    let query = encoded(&a("www.example.org"));
    let response = {
        let mut response = a("www.example.org");
        response[2] |= 0x80;
        encoded(&response)
    };
    let long = |len: usize| format!("/dns-query?dns={}", "A".repeat(len));
    let large = served.server.dir().join("large");
    std::fs::write(&large, vec![0; 70_000]).expect("written");
    let large = format!("@{}", large.display());
    let kind = "content-type: application/dns-message";
    for (option, _) in VERSIONS {
        for (path, arguments, expected) in [
            ("/".to_owned(), &[][..], 404),
            ("/dns-query/x".to_owned(), &[], 404),
            ("/dns-query".to_owned(), &[], 400),
            (format!("/dns-query?dns={query}&dns={query}"), &[], 400),
            (format!("/dns-query?dns={query}="), &[], 400),
            ("/dns-query?dns=AAAA".to_owned(), &[], 400),
            (format!("/dns-query?dns={response}"), &[], 400),
            (long(9_000), &[], 414),
            (format!("/dns-query?dns={query}"), &["-X", "PUT"], 405),
            (format!("/dns-query?dns={query}"), &["--head"], 405),
            ("/dns-query".to_owned(), &["--data-binary", "x"], 415),
            (
                "/dns-query".to_owned(),
                &["-H", kind, "--data-binary", &large],
                413,
            ),
        ] {
            let arguments = [&[option], arguments].concat();
            let Some(out) = curl(&served, &path, &arguments) else {
                return;
            };
            assert_eq!(
                parts(&out).0,
                expected,
                "{option} {arguments:?} {}",
                path.len()
            );
        }
    }
    // As long as a message, in base64: refused before it is decoded.
    let out = curl(&served, &long(90_000), &["--http1.1"]).unwrap_or_default();
    assert_eq!(parts(&out).0, 414);
    let metrics = get(served.admin, "/metrics").expect("metrics");
    let port = served.address.port();
    for (status, count) in [(404, 4), (400, 10), (405, 4), (413, 2), (414, 2), (415, 2)] {
        let line = format!(
            "coredns_dns_https_responses_total{{server=\"https://127.0.0.1:{port}\",status=\"{status}\"}} {count}"
        );
        assert!(metrics.contains(&line), "{line}\n{metrics}");
    }
}

#[test]
fn kdig_asks_over_https() {
    let served = Secured::start_by("https", "doh-kdig", "", HOSTS);
    let ca = format!("+tls-ca={}", served.server.dir().join("ca.pem").display());
    for method in ["+https", "+https-get"] {
        let name = "+tls-hostname=dns.example.org";
        let Some(out) = kdig(
            served.address,
            &[&ca, name, method, "+padding", "www.example.org"],
        ) else {
            return;
        };
        assert!(out.contains("HTTP/2") && out.contains("192.0.2.1"), "{out}");
        assert!(out.contains("Received 468 B"), "{out}");
    }
}

#[test]
fn curl_resolves_the_names_of_its_urls() {
    let page = TcpListener::bind("127.0.0.1:0").expect("bound");
    let lines = "  hosts {\n    127.0.0.1 page.example.org\n  }";
    let served = Secured::start_by("https", "doh-url", "", lines);
    let Some(curl) = tool("curl") else {
        return;
    };
    let port = page.local_addr().expect("an address").port();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = page.accept().expect("a connection");
        let _ = stream.read(&mut [0; 4_096]);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello");
    });
    let url = format!("https://127.0.0.1:{}/dns-query", served.address.port());
    let out = Command::new(curl)
        .args([
            "-s",
            "--max-time",
            "10",
            "--doh-insecure",
            "--doh-url",
            &url,
        ])
        .arg(format!("http://page.example.org:{port}/"))
        .output()
        .expect("curl runs");
    assert_eq!(String::from_utf8_lossy(&out.stdout), "hello");
    server.join().expect("the page was asked for");
}

/// Asks on an open connection of HTTP/1.1; gives the status.
fn ask<S: Read + Write>(stream: &mut S) -> Option<u16> {
    ask_with(stream, "host: dns.example.org\r\n")
}

/// The same with these header lines.
fn ask_with<S: Read + Write>(stream: &mut S, lines: &str) -> Option<u16> {
    let path = encoded(&a("www.example.org"));
    let request = format!("GET /dns-query?dns={path} HTTP/1.1\r\n{lines}\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut response = Vec::new();
    let mut piece = [0; 4_096];
    loop {
        let read = stream.read(&mut piece).ok()?;
        response.extend_from_slice(&piece[..read]);
        let (status, head, body) = parts(&response);
        let len = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        if read == 0 || len.is_some_and(|len: usize| body.len() >= len) {
            return (status > 0).then_some(status);
        }
    }
}

#[test]
fn a_connection_goes_on_over_a_reload_and_ends_when_it_is_idle() {
    let lines = format!("{HOSTS}\n  timeouts {{\n    idle 2s\n  }}");
    let served = Secured::start_by("https", "doh-reload", "", &lines);
    let config = Arc::new(served.authority.client_config(&["http/1.1"], None));
    let mut tls = connect(served.address, &config).expect("a session");
    assert_eq!(ask(&mut tls), Some(200));
    for lines in ["", "host: a\r\nhost: b\r\n"] {
        assert_eq!(ask_with(&mut tls, lines), Some(400), "{lines:?}");
    }
    served.server.signal("USR1");
    served.server.wait_for_log("Reloading complete");
    assert_eq!(ask(&mut tls), Some(200));
    // Nothing more comes: after 2 s the connection ends.
    assert!(matches!(tls.read(&mut [0; 64]), Ok(0)));
}

#[test]
fn without_a_certificate_http_is_spoken_in_clear() {
    let port = free_port();
    let server = Server::start(
        "doh-clear",
        &format!(".:{{PORT}} https://.:{port} {{\n  bind 127.0.0.1\n{HOSTS}\n}}\n"),
    );
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
    let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
    assert_eq!(ask(&mut stream), Some(200));
    server.wait_for_log("is served in clear text");
}

#[test]
fn a_listener_has_so_many_connections_and_refuses_nobody() {
    let lines = format!("{HOSTS}\n  multisocket 1\n  https {{\n    max_connections 8\n  }}");
    let served = Secured::start_by("https", "doh-places", "", &lines);
    let config = Arc::new(served.authority.client_config(&["http/1.1"], None));
    let mut all: Vec<_> = (0..40)
        .map(|_| {
            let mut tls = connect(served.address, &config).expect("a session");
            assert_eq!(ask(&mut tls), Some(200), "whoever comes is let in");
            tls
        })
        .collect();
    let mut open = 0;
    wait_until("the others to be closed", || {
        let mut count = 0;
        for tls in &mut all {
            let _ = tls.sock.set_read_timeout(Some(Duration::from_millis(1)));
            let read = tls.read(&mut [0; 16]);
            count += usize::from(read.is_err_and(|error| {
                matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
            }));
        }
        open = count;
        open <= 8
    });
    assert_eq!(open, 8);
}

#[test]
fn grpc_calls_are_answered() {
    let served = Secured::start_by("grpc", "grpc", "", HOSTS);
    let query = a("www.example.org");
    let mut call = vec![0, 0, 0, 0, query.len() as u8 + 2, 0x0A, query.len() as u8];
    call.extend_from_slice(&query);
    let file = served.server.dir().join("call");
    std::fs::write(&file, &call).expect("written");
    let body = format!("@{}", file.display());
    let nonsense = served.server.dir().join("nonsense");
    std::fs::write(&nonsense, &call[..20]).expect("written");
    let cut = format!("@{}", nonsense.display());
    let path = "/coredns.dns.DnsService/Query";
    let kind = "content-type: application/grpc";
    for (path, kind, body, expected, grpc) in [
        (path, kind, &body, 200, "grpc-status: 0"),
        (path, kind, &cut, 200, "grpc-status: 3"),
        ("/other/Call", kind, &body, 200, "grpc-status: 12"),
        (path, "content-type: text/plain", &body, 415, ""),
    ] {
        let arguments = [
            "--http2",
            "-H",
            kind,
            "-H",
            "te: trailers",
            "--data-binary",
            body,
        ];
        let Some(out) = curl(&served, path, &arguments) else {
            return;
        };
        let (status, head, rest) = parts(&out);
        let all = String::from_utf8_lossy(&out).to_lowercase();
        assert!(
            status == expected && all.contains(grpc),
            "{path} {kind}: {all}"
        );
        if grpc.ends_with(": 0") {
            assert!(
                head.contains("content-type: application/grpc\r\n"),
                "{head}"
            );
            let len = usize::from(rest[6]);
            assert_eq!((rest[0], rest[5]), (0, 0x0A), "{rest:?}");
            let reply = &rest[7..7 + len];
            assert!(rcode(reply) == 0 && reply[7] == 1);
        }
    }
}
