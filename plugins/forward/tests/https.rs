//! DNS over HTTPS upstreams (RFC 8484): requests, shared connections, failures, hostile servers.

use h2::Reason;

use super::*;
use crate::upstreams::{Request, Say, Server, authority, http2, server_config};

const TYPE: &str = "application/dns-message";

/// The headers of a reply.
fn plain() -> Vec<(&'static str, String)> {
    vec![("content-type", TYPE.to_owned())]
}

/// A reply to a query that was posted.
fn answered(request: &Request, mark: u8) -> Say {
    Say::Respond(200, plain(), reply(&request.body, mark), Vec::new())
}

/// A server that answers everything with `mark`.
fn honest_https(mark: u8) -> Server {
    http2(Some(b"h2"), 1, move |request| answered(request, mark))
}

/// A block that forwards to these upstreams, in order, with the test's authority and these options.
fn block(to: &str, options: &str) -> Arc<Block> {
    let authority = authority();
    let authority = authority.display();
    let text = format!(
        ". {{\n forward . {to} {{\n tls {authority}\n tls_servername dns.example.org\n policy sequential\n {options}\n }}\n}}"
    );
    build(&text).expect("a block")
}

fn url(server: &Server) -> String {
    format!("https://{}", server.address)
}

/// The octets that base64url without padding stands for.
fn from_base64url(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let (mut bits, mut count) = (0u32, 0);
    for letter in text.bytes() {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'-' => 62,
            b'_' => 63,
            other => panic!("{other} in {text}"),
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
        }
    }
    out
}

#[test]
fn queries_are_sent_as_rfc_8484_says() {
    // (path, option, method, path of the request)
    let cases = [
        ("", "", "POST", "/dns-query"),
        ("", "doh_method POST", "POST", "/dns-query"),
        ("/own/path", "", "POST", "/own/path"),
        ("", "doh_method GET", "GET", "/dns-query"),
        ("/q", "doh_method GET", "GET", "/q"),
    ];
    for (path, option, method, requested) in cases {
        let server = http2(Some(b"h2"), 1, |request| {
            let query = match request.uri.query() {
                Some(query) => from_base64url(query.strip_prefix("dns=").expect("dns=")),
                None => request.body.clone(),
            };
            Say::Respond(200, plain(), reply(&query, 7), Vec::new())
        });
        let block = block(&format!("{}{path}", url(&server)), option);
        let got = on_worker(ask(&block, "www.example.org."));
        assert_eq!(got.mark(), Some(7), "{option}: {got:?}");
        assert_eq!(got.header().id, 0x4242, "the client's ID");
        let seen = &server.requests()[0];
        assert_eq!((&*seen.method, seen.uri.path()), (method, requested));
        assert_eq!(seen.header("accept"), TYPE);
        let port = server.address.port();
        assert_eq!(
            seen.uri.authority().map(|name| name.as_str()),
            Some(&*format!("dns.example.org:{port}"))
        );
        // Section 4.1: the ID is 0, so that the same question is the same request.
        let mut sent = query("www.example.org.", Type::A);
        sent[..2].fill(0);
        match method {
            "GET" => {
                let dns = seen
                    .uri
                    .query()
                    .and_then(|query| query.strip_prefix("dns="));
                assert_eq!(from_base64url(dns.expect("dns=")), sent);
                assert_eq!(seen.body, [0; 0]);
            }
            _ => {
                assert_eq!(seen.header("content-type"), TYPE);
                assert_eq!(seen.body, sent);
            }
        }
    }
}

#[test]
fn queries_run_at_the_same_time_on_one_connection() {
    // Nothing is answered before ten queries are there.
    let server = http2(Some(b"h2"), 10, |request| {
        answered(request, request.body[14])
    });
    let first = block(&url(&server), "");
    // Another directive that names the same upstream shares its connection.
    let second = block(&url(&server), "expire 20s");
    on_worker(async {
        for _ in 0..3 {
            let asked: Vec<_> = (0..10u8)
                .map(|n| {
                    let block = if n % 2 == 0 { &first } else { &second }.clone();
                    let letter = (b'a' + n) as char;
                    tokio::task::spawn_local(async move {
                        ask(&block, &format!("n{letter}.example.org.")).await.mark()
                    })
                })
                .collect();
            for (n, one) in asked.into_iter().enumerate() {
                assert_eq!(one.await.expect("an answer"), Some(b'a' + n as u8));
            }
        }
    });
    assert_eq!(server.connections(), 1);
}

#[test]
fn another_path_or_method_is_another_connection() {
    let server = http2(Some(b"h2"), 1, |request| match request.uri.query() {
        None => answered(request, 1),
        Some(query) => {
            let query = from_base64url(query.strip_prefix("dns=").expect("dns="));
            Say::Respond(200, plain(), reply(&query, 2), Vec::new())
        }
    });
    let posts = block(&url(&server), "");
    let gets = block(&url(&server), "doh_method GET");
    on_worker(async {
        assert_eq!(ask(&posts, "a.example.org.").await.mark(), Some(1));
        assert_eq!(ask(&gets, "b.example.org.").await.mark(), Some(2));
        assert_eq!(ask(&posts, "c.example.org.").await.mark(), Some(1));
    });
    assert_eq!(server.connections(), 2);
}

#[test]
fn a_certificate_of_another_name_gets_no_query() {
    let server = honest_https(1);
    let authority = authority();
    let authority = authority.display();
    let cases = [
        (
            format!("tls {authority}\n tls_servername other.example.org"),
            "is for another name",
        ),
        (format!("tls {authority}"), "is for another name"),
        (
            "tls_servername dns.example.org".to_owned(),
            "is not signed by a trusted authority",
        ),
    ];
    for (options, why) in cases {
        let to = url(&server);
        let text = format!(". {{\n forward . {to} {{\n {options}\n max_fails 0\n }}\n}}");
        let got = on_worker(ask(&build(&text).expect("a block"), "example.org."));
        assert_eq!(got.rcode, Rcode::SERVFAIL, "{options}");
        let cause = got.failure.expect("a cause");
        assert!(cause.starts_with("dial https 127.0.0.1:"), "{cause}");
        assert!(cause.contains("(invalid peer certificate"), "{cause}");
        assert!(cause.contains(why), "{cause}");
    }
    assert!(server.requests().is_empty());
}

#[test]
fn a_server_without_http2_gets_no_query() {
    for protocol in [&b"http/1.1"[..], b""] {
        let server = http2(Some(protocol), 1, |request| answered(request, 1));
        let block = block(&url(&server), "max_fails 0");
        let got = on_worker(ask(&block, "example.org."));
        let cause = got.failure.expect("a cause");
        assert!(cause.starts_with("dial https 127.0.0.1:"), "{cause}");
        assert!(server.requests().is_empty());
    }
}

#[test]
fn a_host_is_looked_up_at_start_and_its_certificate_bears_its_name() {
    let server = honest_https(5);
    let (resolver, _) = serve(bound(), |_, query| {
        let end = wire::skip_name(query, 12).expect("a name");
        let mut out = match query[end + 1] {
            1 => reply(query, 1),
            _ => bare(query, 0),
        };
        if let [.., a, b, c, d] = &mut out[..]
            && query[end + 1] == 1
        {
            [*a, *b, *c, *d] = [127, 0, 0, 1];
        }
        vec![out]
    });
    let port = server.address.port();
    let authority = authority();
    let authority = authority.display();
    for (host, mark) in [("dns.example.org", Some(5)), ("other.example.org", None)] {
        let text = format!(
            ". {{\n forward . https://{host}:{port}/q {{\n resolver {resolver}\n tls {authority}\n max_fails 0\n }}\n}}"
        );
        let block = build(&text).expect("a block");
        assert_eq!(
            on_worker(ask(&block, "example.org.")).mark(),
            mark,
            "{host}"
        );
    }
    let seen = server.requests();
    assert_eq!(seen.len(), 1);
    assert_eq!(
        seen[0].uri.to_string(),
        format!("https://dns.example.org:{port}/q")
    );
}

#[test]
fn a_response_that_is_no_reply_is_a_failure_of_its_upstream() {
    type Script = fn(&Request) -> Say;
    // (what the server does, what is said of it)
    let cases: [(Script, &str); 14] = [
        (
            |_| Say::Respond(500, plain(), Vec::new(), Vec::new()),
            "http status 500",
        ),
        (
            |request| Say::Respond(404, plain(), reply(&request.body, 1), Vec::new()),
            "http status 404",
        ),
        (
            |_| {
                let to = ("location", "https://192.0.2.1/dns-query".to_owned());
                Say::Respond(302, vec![to], Vec::new(), Vec::new())
            },
            "http status 302",
        ),
        (
            |request| {
                let html = vec![("content-type", "text/html".to_owned())];
                Say::Respond(200, html, reply(&request.body, 1), Vec::new())
            },
            "no body of type application/dns-message",
        ),
        (
            |request| Say::Respond(200, Vec::new(), reply(&request.body, 1), Vec::new()),
            "no body of type application/dns-message",
        ),
        (
            |_| Say::Respond(200, plain(), Vec::new(), Vec::new()),
            "malformed reply",
        ),
        (
            |_| Say::Respond(200, plain(), vec![0; 11], Vec::new()),
            "malformed reply",
        ),
        (
            |request| {
                let mut other = reply(&request.body, 1);
                other[13] ^= 1;
                Say::Respond(200, plain(), other, Vec::new())
            },
            "malformed reply",
        ),
        (
            |_| Say::Respond(200, plain(), vec![0; 65_536], Vec::new()),
            "a response of more than 65535 octets",
        ),
        (
            |_| {
                let mut headers = plain();
                headers.push(("content-length", "65536".to_owned()));
                Say::Unfinished(headers, Vec::new())
            },
            "a response of more than 65535 octets",
        ),
        (|_| Say::Unfinished(plain(), vec![0; 100]), "i/o timeout"),
        (|_| Say::Silence, "i/o timeout"),
        (|_| Say::Reset(Reason::INTERNAL_ERROR), "http2: "),
        (|_| Say::GoAway(Reason::ENHANCE_YOUR_CALM), "EOF"),
    ];
    for (script, part) in cases {
        let bad = http2(Some(b"h2"), 1, script);
        let good = honest_https(2);
        let options = "read_timeout 300ms\n max_fails 0";
        let alone = block(&url(&bad), &format!("{options}\n max_connect_attempts 1"));
        let both = block(&format!("{} {}", url(&bad), url(&good)), options);
        on_worker(async {
            let began = Instant::now();
            let got = ask(&alone, "a.example.org.").await;
            let cause = got.failure.expect(part);
            assert_eq!(got.rcode, Rcode::SERVFAIL);
            assert!(cause.contains(part), "{part}: {cause}");
            let got = ask(&both, "b.example.org.").await;
            assert_eq!(got.mark(), Some(2), "{part}: {got:?}");
            assert!(began.elapsed() < Duration::from_secs(2), "{part}");
        });
    }
}

#[test]
fn a_connection_that_its_server_gives_up_is_replaced_at_once() {
    for reason in [Reason::NO_ERROR, Reason::ENHANCE_YOUR_CALM] {
        let server = http2(Some(b"h2"), 1, move |request| match request.number {
            1 => Say::GoAway(reason),
            _ => answered(request, request.connection as u8),
        });
        let block = block(&url(&server), "max_connect_attempts 1\n max_fails 0");
        on_worker(async {
            assert_eq!(ask(&block, "a.example.org.").await.mark(), Some(0));
            let began = Instant::now();
            let got = ask(&block, "b.example.org.").await;
            assert_eq!(got.mark(), Some(1), "{reason:?}: {got:?}");
            assert!(began.elapsed() < Duration::from_secs(1), "no timeout");
        });
        assert_eq!(server.connections(), 2);
    }
    // A stream that the server did not look at is sent again, too.
    let server = http2(Some(b"h2"), 1, |request| match request.number {
        1 => Say::Reset(Reason::REFUSED_STREAM),
        _ => answered(request, 9),
    });
    let block = block(&url(&server), "max_connect_attempts 1\n max_fails 0");
    on_worker(async {
        for name in ["a.example.org.", "b.example.org."] {
            assert_eq!(ask(&block, name).await.mark(), Some(9));
        }
    });
}

#[test]
fn a_query_that_is_over_resets_its_stream() {
    let server = http2(Some(b"h2"), 1, |_| Say::Silence);
    let options = "read_timeout 100ms\n max_connect_attempts 1\n max_fails 0";
    let block = block(&url(&server), options);
    on_worker(async {
        // Asked again where the handshake took all the time: then there was no stream to reset.
        while server.resets.load(Ordering::SeqCst) == 0 {
            assert_eq!(ask(&block, "example.org.").await.rcode, Rcode::SERVFAIL);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
}

#[test]
fn a_handshake_without_an_end_leaves_time_for_another_upstream() {
    let (silent, connections) = serve_tcp(tcp(), |_, mut stream| {
        let mut octets = [0; 4096];
        while stream.read(&mut octets).is_ok_and(|len| len > 0) {}
    });
    let deaf = bound();
    let quiet = deaf.local_addr().expect("an address");
    let good = honest_https(3);
    on_worker(async {
        let began = Instant::now();
        let asked: Vec<_> = [
            format!("https://{silent}"),
            format!("tls://{silent}"),
            format!("quic://{quiet}"),
        ]
        .into_iter()
        .map(|first| {
            // Half of the 5 seconds is the most, whatever `read_timeout` says.
            let block = block(
                &format!("{first} {}", url(&good)),
                "read_timeout 30s\n max_fails 0",
            );
            tokio::task::spawn_local(async move {
                let name = format!("{}.example.org.", &first[..3]);
                (ask(&block, &name).await.mark(), first)
            })
        })
        .collect();
        for one in asked {
            let (mark, first) = one.await.expect("an answer");
            assert_eq!(mark, Some(3), "{first}");
        }
        let took = began.elapsed();
        assert!(took > Duration::from_millis(2_400), "{took:?}");
        assert!(took < Duration::from_millis(4_000), "{took:?}");
    });
    assert!(connections.load(Ordering::SeqCst) >= 2);
}

#[test]
fn headers_without_an_end_are_bounded() {
    let config = Arc::new(server_config(b"h2"));
    let (tell, told) = std::sync::mpsc::channel();
    let (address, _) = serve_tcp(tcp(), move |_, stream| {
        let session = rustls::ServerConnection::new(config.clone()).expect("a session");
        let mut stream = rustls::StreamOwned::new(session, stream);
        // The preface, and then a request, whatever it is.
        let mut octets = [0; 4096];
        let mut seen = 0;
        while seen < 120 {
            match stream.read(&mut octets) {
                Ok(len) if len > 0 => seen += len,
                _ => return,
            }
        }
        // SETTINGS; HEADERS of stream 1 without END_HEADERS; CONTINUATION as long as somebody listens.
        let frame = |kind: u8, stream: u8, payload: &[u8]| {
            let len = (payload.len() as u32).to_be_bytes();
            let mut out = len[1..].to_vec();
            out.extend_from_slice(&[kind, 0, 0, 0, 0, stream]);
            out.extend_from_slice(payload);
            out
        };
        // A header that is not indexed: x: and 100 letters.
        let mut header = vec![0, 1, b'x', 100];
        header.resize(104, b'y');
        let _ = stream.write_all(&frame(4, 0, &[]));
        let _ = stream.write_all(&frame(1, 1, &[0x88]));
        let mut sent = 0;
        while sent < 64 << 20 && stream.write_all(&frame(9, 1, &header)).is_ok() {
            sent += 113;
        }
        let _ = tell.send(sent);
    });
    let options = "read_timeout 2s\n max_connect_attempts 1\n max_fails 0";
    let block = block(&format!("https://{address}"), options);
    let began = Instant::now();
    let got = on_worker(ask(&block, "example.org."));
    assert_eq!(got.rcode, Rcode::SERVFAIL);
    assert!(began.elapsed() < Duration::from_secs(4));
    let sent = told.recv_timeout(Duration::from_secs(10)).expect("an end");
    // What the sockets hold and some headers.
    assert!(sent < 16 << 20, "{sent} octets of headers");
}

#[test]
fn what_an_http_cache_kept_is_younger_by_its_age() {
    let server = http2(Some(b"h2"), 1, |request| {
        let mut headers = plain();
        let age = if request.number == 0 { "25" } else { "1000" };
        headers.push(("age", age.to_owned()));
        Say::Respond(200, headers, reply(&request.body, 1), Vec::new())
    });
    let block = block(&url(&server), "");
    on_worker(async {
        for ttl in [35, 0] {
            let got = ask(&block, "example.org.").await;
            let message = wire::Message::new(&got.octets).expect("a message");
            let record = message
                .records()
                .next()
                .expect("a record")
                .expect("a record");
            assert_eq!(record.ttl, ttl);
        }
    });
}

#[test]
fn an_upstream_that_failed_is_probed_until_it_answers() {
    let server = http2(Some(b"h2"), 1, |request| match request.number {
        0..4 => Say::Respond(503, Vec::new(), Vec::new(), Vec::new()),
        _ => answered(request, 1),
    });
    let good = honest_https(2);
    let to = format!("{} {}", url(&server), url(&good));
    let block = block(&to, "health_check 20ms\n max_fails 1");
    on_worker(async {
        assert_eq!(ask(&block, "a.example.org.").await.mark(), Some(2));
        let mut number = 0;
        // Until then the other one is asked.
        while ask(&block, &format!("n{number}.example.org.")).await.mark() != Some(1) {
            number += 1;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    let probes = server.requests();
    let is_probe = |request: &&Request| request.body[12..] == [0, 0, 2, 0, 1];
    assert!(probes.iter().filter(is_probe).count() >= 4);
    let text = telemetry::metrics::encode_text();
    let to = server.address;
    for line in [
        format!(
            "coredns_proxy_conn_cache_misses_total{{proxy_name=\"forward\",to=\"{to}\",proto=\"https\"}} 1"
        ),
        format!("coredns_proxy_healthcheck_failures_total{{proxy_name=\"forward\",to=\"{to}\"}} 3"),
    ] {
        assert!(text.contains(&line), "lacks {line}");
    }
}
