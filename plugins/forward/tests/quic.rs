//! DNS over QUIC upstreams (RFC 9250): streams, failures, hostile servers.

use super::*;
use crate::upstreams::{Request, Server, Told, authority, quic};

fn answered(request: &Request, mark: u8) -> Told {
    Told::Octets(frame(&reply(&request.body, mark)))
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
    format!("quic://{}", server.address)
}

#[test]
fn queries_run_at_the_same_time_on_one_connection() {
    let server = quic(b"doq", 10, |request| answered(request, request.body[14]));
    let block = block(&url(&server), "");
    on_worker(async {
        for _ in 0..3 {
            let asked: Vec<_> = (0..10u8)
                .map(|n| {
                    let (block, letter) = (block.clone(), (b'a' + n) as char);
                    tokio::task::spawn_local(async move {
                        let got = ask(&block, &format!("n{letter}.example.org.")).await;
                        assert_eq!(got.header().id, 0x4242, "the client's ID");
                        got.mark()
                    })
                })
                .collect();
            for (n, one) in asked.into_iter().enumerate() {
                assert_eq!(one.await.expect("an answer"), Some(b'a' + n as u8));
            }
        }
    });
    assert_eq!(server.connections(), 1);
    // "the DNS Message ID MUST be set to 0" (section 4.2.1).
    assert!(server.requests().iter().all(|one| one.body[..2] == [0, 0]));
}

#[test]
fn the_keepalive_of_tcp_is_not_sent() {
    let server = quic(b"doq", 1, |request| {
        answered(
            &Request {
                body: request.body[..29].to_vec(),
                ..request.clone()
            },
            1,
        )
    });
    let block = block(&url(&server), "");
    // OPT with a cookie, edns-tcp-keepalive and a padding of 1 octet.
    let mut message = query("example.org.", Type::A);
    message[11] = 1;
    message.extend_from_slice(&[0, 0, 41, 4, 0xD0, 0, 0, 0, 0, 0, 23]);
    message.extend_from_slice(&[0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8]);
    message.extend_from_slice(&[0, 11, 0, 2, 0, 9]);
    message.extend_from_slice(&[0, 12, 0, 1, 0]);
    let got = on_worker(ask_by(&block, &message, Transport::Tcp));
    assert_eq!(got.mark(), Some(1), "{got:?}");
    let seen = &server.requests()[0].body;
    let mut expected = query("example.org.", Type::A);
    expected[..2].fill(0);
    expected[11] = 1;
    expected.extend_from_slice(&seen[29..40]);
    expected[39] = 17;
    expected.extend_from_slice(&[0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0, 12, 0, 1, 0]);
    assert_eq!(seen, &expected);
}

#[test]
fn a_certificate_of_another_name_or_protocol_gets_no_query() {
    let cases = [
        (
            quic(b"doq", 1, |request| answered(request, 1)),
            "tls_servername other.example.org",
        ),
        (
            quic(b"h3", 1, |request| answered(request, 1)),
            "tls_servername dns.example.org",
        ),
    ];
    for (server, name) in cases {
        let authority = authority();
        let text = format!(
            ". {{\n forward . {} {{\n tls {}\n {name}\n max_fails 0\n }}\n}}",
            url(&server),
            authority.display()
        );
        let got = on_worker(ask(&build(&text).expect("a block"), "example.org."));
        let cause = got.failure.expect("a cause");
        assert!(cause.starts_with("dial quic 127.0.0.1:"), "{cause}");
        assert!(cause.contains("quic: "), "{cause}");
        assert!(server.requests().is_empty());
    }
}

#[test]
fn a_stream_without_a_reply_is_a_failure_of_its_upstream() {
    type Script = fn(&Request) -> Told;
    let cases: [(Script, &str); 9] = [
        (|_| Told::Octets(Vec::new()), "malformed reply"),
        (
            |request| Told::Octets(reply(&request.body, 1)),
            "malformed reply",
        ),
        (
            |request| {
                let mut long = frame(&reply(&request.body, 1));
                long.push(0);
                Told::Octets(long)
            },
            "malformed reply",
        ),
        (
            |request| {
                let mut other = reply(&request.body, 1);
                other[13] ^= 1;
                Told::Octets(frame(&other))
            },
            "malformed reply",
        ),
        (
            |request| {
                let mut other = reply(&request.body, 1);
                other[1] = 1;
                Told::Octets(frame(&other))
            },
            "a message ID that is not 0",
        ),
        (
            |_| Told::Octets(vec![0xFF; 70_000]),
            "more than 65,535 octets",
        ),
        (|_| Told::Reset(1), "quic: "),
        (|_| Told::Close(4), "EOF"),
        (|_| Told::Silence, "i/o timeout"),
    ];
    for (script, part) in cases {
        let bad = quic(b"doq", 1, script);
        let good = quic(b"doq", 1, |request| answered(request, 2));
        let options = "read_timeout 300ms\n max_fails 0";
        let alone = block(&url(&bad), &format!("{options}\n max_connect_attempts 1"));
        let both = block(&format!("{} {}", url(&bad), url(&good)), options);
        on_worker(async {
            let began = Instant::now();
            let cause = ask(&alone, "a.example.org.").await.failure.expect(part);
            assert!(cause.contains(part), "{part}: {cause}");
            assert_eq!(ask(&both, "b.example.org.").await.mark(), Some(2), "{part}");
            assert!(began.elapsed() < Duration::from_secs(2), "{part}");
        });
    }
}

#[test]
fn a_connection_that_its_server_closes_is_replaced_at_once() {
    let server = quic(b"doq", 1, |request| match request.number {
        1 => Told::Close(0),
        _ => answered(request, request.connection as u8),
    });
    let block = block(&url(&server), "max_connect_attempts 1\n max_fails 0");
    on_worker(async {
        assert_eq!(ask(&block, "a.example.org.").await.mark(), Some(0));
        let began = Instant::now();
        assert_eq!(ask(&block, "b.example.org.").await.mark(), Some(1));
        assert!(began.elapsed() < Duration::from_secs(1), "no timeout");
    });
    assert_eq!(server.connections(), 2);
}

#[test]
fn a_query_that_is_over_resets_its_stream() {
    let server = quic(b"doq", 1, |_| Told::Silence);
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
