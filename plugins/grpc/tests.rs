//! `grpc` against scripted servers on real sockets.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chain::{Block, Flow};
use wire::{Rcode, Type};

use crate::trial::{self, answer, reply_of, serve};
use crate::upstreams::{Request, Say, Server, authority, http2};

#[test]
fn options_are_read() {
    trial::table(&[
        ("grpc . 127.0.0.1", ""),
        ("grpc . [2001:db8::1]:53 127.0.0.1:8080", ""),
        ("grpc . unix:///run/nowhere.sock", ""),
        (
            "grpc . 127.0.0.1 {\n except a.org b.org\n policy sequential\n}",
            "",
        ),
        ("grpc . 127.0.0.1 {\n fallthrough\n}", ""),
        (
            "grpc . 127.0.0.1 {\n fallthrough example.org\n policy round_robin\n}",
            "",
        ),
        ("grpc . 127.0.0.1 {\n tls\n}", ""),
        (
            "grpc . 127.0.0.1 {\n tls_servername dns\n policy random\n}",
            "",
        ),
        ("grpc", "Wrong argument count"),
        ("grpc .", "Wrong argument count"),
        ("grpc . 127.0.0.1\ngrpc com 127.0.0.2", "only be used once"),
        (
            "grpc xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx 127.0.0.1",
            "unable to normalize",
        ),
        ("grpc . unix://", "invalid address"),
        ("grpc . 127.0.0", "not an IP address"),
        ("grpc . tls://127.0.0.1", "'tls' is not supported"),
        ("grpc . grpc://127.0.0.1", "'grpc' is not supported"),
        (
            "grpc . 1.1.1.1 1.1.1.2 1.1.1.3 1.1.1.4 1.1.1.5 1.1.1.6 1.1.1.7 1.1.1.8 1.1.1.9 1.1.1.10 1.1.1.11 1.1.1.12 1.1.1.13 1.1.1.14 1.1.1.15 1.1.1.16",
            "more than 15 TOs configured: 16",
        ),
        ("grpc . 127.0.0.1 {\n except\n}", "Wrong argument count"),
        (
            "grpc . 127.0.0.1 {\n policy best\n}",
            "unknown policy 'best'",
        ),
        (
            "grpc . 127.0.0.1 {\n tls a b c d\n}",
            "Wrong argument count",
        ),
        ("grpc . 127.0.0.1 {\n tls /nowhere.pem\n}", "/nowhere.pem"),
        (
            "grpc . 127.0.0.1 {\n tls_servername\n}",
            "Wrong argument count",
        ),
        (
            "grpc . 127.0.0.1 {\n expire 1s\n}",
            "unknown property 'expire'",
        ),
    ]);
}

#[test]
fn the_readme_is_right() {
    trial::readme(include_str!("README.md"));
}

/// A DnsPacket with its prefix, and fields that nobody knows about the message.
fn packet(message: &[u8]) -> Vec<u8> {
    let mut fields = vec![0x10, 5, 0x0A];
    let len = message.len();
    fields.extend_from_slice(&[len as u8 | 0x80, (len >> 7) as u8 | 0x80, (len >> 14) as u8]);
    fields.extend_from_slice(message);
    let mut out = vec![0];
    out.extend_from_slice(&(fields.len() as u32).to_be_bytes());
    out.extend_from_slice(&fields);
    out
}

/// The query in a call's body.
fn query_of(request: &Request) -> &[u8] {
    let body = &request.body;
    assert_eq!((body[0], body[5]), (0, 0x0A));
    assert_eq!(body[1..5], (body.len() as u32 - 5).to_be_bytes());
    assert_eq!(usize::from(body[6]), body.len() - 7);
    &body[7..]
}

fn media() -> Vec<(&'static str, String)> {
    vec![("content-type", "application/grpc".to_owned())]
}

fn status(code: u32) -> Vec<(&'static str, String)> {
    vec![("grpc-status", code.to_string())]
}

/// A call that went well: an RCODE, and an address where that is NOERROR.
fn answered(request: &Request, rcode: Rcode, last: u8) -> Say {
    let address = (rcode == Rcode::NOERROR).then_some([192, 0, 2, last]);
    let reply = reply_of(query_of(request), rcode, address);
    Say::Respond(200, media(), packet(&reply), status(0))
}

fn honest(last: u8) -> Server {
    http2(None, 1, move |request| {
        answered(request, Rcode::NOERROR, last)
    })
}

/// A block of these lines, below which 192.0.2.99 is the answer to everything.
fn block(lines: &str) -> Arc<Block> {
    let trial = trial::block(lines);
    assert!(trial.accepted, "{}", trial.messages);
    serve(
        &trial,
        ".",
        answer(|_, response| {
            response.set_rcode(Rcode::REFUSED);
            Ok(Flow::Answered)
        }),
    )
}

fn ask(lines: &str, name: &str) -> String {
    trial::ask(&block(lines), name, Type::A)
}

#[test]
fn a_query_is_a_call_of_coredns() {
    let server = honest(7);
    let lines = format!("grpc . {}", server.address);
    assert_eq!(
        ask(&lines, "www.example.org"),
        "NOERROR | www.example.org. 60 A 192.0.2.7"
    );
    let seen = &server.requests()[0];
    assert_eq!(
        (&*seen.method, seen.uri.to_string()),
        (
            "POST",
            format!("http://{}/coredns.dns.DnsService/Query", server.address)
        )
    );
    assert_eq!(seen.header("content-type"), "application/grpc");
    assert_eq!(seen.header("te"), "trailers");
    let text = telemetry::metrics::encode_text();
    let to = server.address;
    for line in [
        format!("coredns_grpc_requests_total{{to=\"{to}\"}} 1"),
        format!("coredns_grpc_responses_total{{rcode=\"NOERROR\",to=\"{to}\"}} 1"),
        format!("coredns_grpc_request_duration_seconds_count{{to=\"{to}\"}} 1"),
    ] {
        assert!(text.contains(&line), "lacks {line}");
    }
}

#[test]
fn tls_is_spoken_where_it_is_said() {
    let server = http2(Some(b"h2"), 1, |request| {
        answered(request, Rcode::NOERROR, 8)
    });
    let (to, authority) = (server.address, authority());
    let authority = authority.display();
    for (name, begins) in [
        ("dns.example.org", "NOERROR | "),
        ("other.example.org", "SERVFAIL"),
    ] {
        let lines = format!("grpc . {to} {{\n tls {authority}\n tls_servername {name}\n}}");
        assert!(ask(&lines, "www.example.org").starts_with(begins), "{name}");
    }
    assert_eq!(server.requests().len(), 1);
    let seen = server.requests()[0].uri.to_string();
    let port = to.port();
    assert!(
        seen.starts_with(&format!("https://dns.example.org:{port}/")),
        "{seen}"
    );
    // In clear text, and to a server in clear text over TLS, nothing is said.
    assert_eq!(ask(&format!("grpc . {to}"), "a.example.org"), "SERVFAIL");
    let clear = honest(1);
    let lines = format!("grpc . {} {{\n tls {authority}\n}}", clear.address);
    assert_eq!(ask(&lines, "b.example.org"), "SERVFAIL");
    assert!(clear.requests().is_empty());
}

#[test]
fn a_call_that_failed_goes_to_the_next_upstream() {
    type Script = fn(&Request) -> Say;
    let cases: [Script; 12] = [
        |_| Say::Respond(200, media(), Vec::new(), status(14)),
        // Trailers-Only.
        |_| {
            let mut headers = media();
            headers.extend(status(13));
            Say::Respond(200, headers, Vec::new(), Vec::new())
        },
        |request| Say::Respond(503, media(), packet(query_of(request)), status(0)),
        |request| {
            let html = vec![("content-type", "text/html".to_owned())];
            Say::Respond(200, html, packet(query_of(request)), status(0))
        },
        |request| Say::Respond(200, media(), packet(query_of(request)), Vec::new()),
        |_| Say::Respond(200, media(), Vec::new(), status(0)),
        |request| {
            let mut compressed = packet(&reply_of(query_of(request), Rcode::NOERROR, None));
            compressed[0] = 1;
            Say::Respond(200, media(), compressed, status(0))
        },
        |request| {
            let mut other = reply_of(query_of(request), Rcode::NOERROR, None);
            other[13] ^= 1;
            Say::Respond(200, media(), packet(&other), status(0))
        },
        |_| Say::Respond(200, media(), packet(&vec![0; 65_536]), status(0)),
        |_| Say::Reset(h2::Reason::INTERNAL_ERROR),
        |_| Say::GoAway(h2::Reason::NO_ERROR),
        |_| Say::Unfinished(media(), vec![0; 100_000]),
    ];
    for (number, script) in cases.into_iter().enumerate() {
        let (bad, good) = (http2(None, 1, script), honest(2));
        let lines = format!(
            "grpc . {} {} {{\n policy sequential\n}}",
            bad.address, good.address
        );
        let began = Instant::now();
        let got = ask(&lines, "www.example.org");
        assert!(got.starts_with("NOERROR | "), "{number}: {got}");
        assert!(began.elapsed() < Duration::from_millis(1_500), "{number}");
        assert!(!bad.requests().is_empty(), "{number}");
    }
}

#[test]
fn not_found_is_nxdomain() {
    let server = http2(None, 1, |_| {
        let mut headers = media();
        headers.extend(status(5));
        Say::Respond(200, headers, Vec::new(), Vec::new())
    });
    let lines = format!("grpc . {}", server.address);
    assert_eq!(ask(&lines, "www.example.org"), "NXDOMAIN");
}

#[test]
fn what_is_unknown_falls_through() {
    let unknown = http2(None, 1, |request| answered(request, Rcode::NXDOMAIN, 0));
    let failing = http2(None, 1, |_| Say::Reset(h2::Reason::INTERNAL_ERROR));
    // (upstream, option, name, answer; REFUSED is the next plugin's)
    let cases = [
        (&unknown, "", "a.example.org", "NXDOMAIN"),
        (&unknown, "fallthrough", "b.example.org", "REFUSED"),
        (
            &unknown,
            "fallthrough example.org",
            "c.example.org",
            "REFUSED",
        ),
        (
            &unknown,
            "fallthrough example.net",
            "d.example.org",
            "NXDOMAIN",
        ),
        (&failing, "", "e.example.org", "SERVFAIL"),
        (&failing, "fallthrough", "f.example.org", "REFUSED"),
        (
            &failing,
            "fallthrough example.net",
            "g.example.org",
            "SERVFAIL",
        ),
        (&unknown, "except example.org", "h.example.org", "REFUSED"),
        (&unknown, "except org", "i.example.net", "NXDOMAIN"),
    ];
    for (server, option, name, expected) in cases {
        let lines = format!("grpc . {} {{\n {option}\n}}", server.address);
        assert_eq!(ask(&lines, name), expected, "{option} {name}");
    }
    // Without a plugin behind, the response stands.
    let trial = trial::block(&format!("grpc . {} {{\n fallthrough\n}}", unknown.address));
    let steps = trial.blocks[0].chain.steps();
    let alone = trial::chain(steps.iter().map(|step| step.plugin.clone()));
    assert_eq!(trial::ask(&alone, "j.example.org", Type::A), "NXDOMAIN");
}

#[test]
fn a_silent_upstream_costs_two_seconds() {
    let (silent, good) = (http2(None, 1, |_| Say::Silence), honest(4));
    let lines = format!(
        "grpc . {} {} {{\n policy sequential\n}}",
        silent.address, good.address
    );
    let began = Instant::now();
    assert!(ask(&lines, "www.example.org").starts_with("NOERROR | "));
    assert!(began.elapsed() < Duration::from_millis(3_500));
}

#[test]
fn a_unix_domain_socket_is_an_upstream() {
    let folder = trial::Folder::new("grpc");
    let path = folder.0.join("dns.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).expect("a socket");
    let behind = honest(6);
    let to = behind.address;
    // What comes by the socket goes to a server over TCP.
    std::thread::spawn(move || {
        while let Ok((local, _)) = listener.accept() {
            let far = std::net::TcpStream::connect(to).expect("a connection");
            let pairs = [
                (
                    local.try_clone().expect("a socket"),
                    far.try_clone().expect("a socket"),
                ),
                (local, far),
            ];
            let [(mut from, mut into), (mut back, mut source)] = pairs;
            std::thread::spawn(move || std::io::copy(&mut from, &mut into));
            std::thread::spawn(move || std::io::copy(&mut source, &mut back));
        }
    });
    let lines = format!("grpc . unix://{}", path.display());
    assert_eq!(
        ask(&lines, "www.example.org"),
        "NOERROR | www.example.org. 60 A 192.0.2.6"
    );
    assert!(
        behind.requests()[0]
            .uri
            .to_string()
            .starts_with("http://localhost/")
    );
}
