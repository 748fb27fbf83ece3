//! TCP and TLS upstreams: reuse, pipelining, dead connections, truncation.

use std::path::Path;

use super::*;

fn message(name: &str) -> Vec<u8> {
    query(name, Type::A)
}

#[test]
fn a_connection_is_used_again_and_pipelined() {
    // Ten queries are read before the first is answered, and they are answered in reverse.
    let (address, connections) = serve_tcp(tcp(), |_, mut stream| {
        loop {
            let mut held = Vec::new();
            while held.len() < 10 {
                let Some(query) = read_frame(&mut stream) else {
                    return;
                };
                held.push(query);
            }
            for query in held.iter().rev() {
                let _ = stream.write_all(&frame(&reply(query, query[14])));
            }
        }
    });
    let block = build(&format!(
        ". {{\n forward . {address} {{\n force_tcp\n }}\n}}"
    ))
    .expect("a block");
    on_worker(async {
        for _ in 0..3 {
            let asked: Vec<_> = (0..10u8)
                .map(|n| {
                    let (block, letter) = (block.clone(), (b'a' + n) as char);
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
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

#[test]
fn a_reused_connection_that_died_is_replaced_at_once() {
    let (address, connections) = serve_tcp(tcp(), |number, mut stream| {
        // Each connection answers once; the first is closed when its second query comes.
        while let Some(query) = read_frame(&mut stream) {
            let _ = stream.write_all(&frame(&reply(&query, number as u8)));
            if number == 0 {
                let _ = read_frame(&mut stream);
                return;
            }
        }
    });
    let text =
        format!(". {{\n forward . {address} {{\n force_tcp\n max_connect_attempts 1\n }}\n}}");
    let block = build(&text).expect("a block");
    on_worker(async {
        assert_eq!(ask(&block, "a.example.org.").await.mark(), Some(0));
        let began = Instant::now();
        let got = ask(&block, "b.example.org.").await;
        assert_eq!(got.mark(), Some(1), "{got:?}");
        assert!(
            began.elapsed() < Duration::from_millis(900),
            "it did not wait for a timeout"
        );
    });
    assert_eq!(connections.load(Ordering::SeqCst), 2);
}

#[test]
fn a_fresh_connection_that_closes_is_a_failure() {
    let (address, _) = serve_tcp(tcp(), |_, mut stream| {
        let _ = read_frame(&mut stream);
    });
    let block = build(&format!(
        ". {{\n forward . {address} {{\n force_tcp\n }}\n}}"
    ))
    .expect("a block");
    let got = on_worker(ask(&block, "example.org."));
    assert_eq!(got.rcode, Rcode::SERVFAIL);
    let cause = got.failure.expect("a cause");
    assert!(
        cause.starts_with(&format!("read tcp {address} (attempt 2, ")),
        "{cause}"
    );
    // A probe may share the connection; what is not read of it resets it.
    assert!(
        cause.ends_with(" ms): EOF") || cause.ends_with(" ms): connection reset by peer"),
        "{cause}"
    );
}

#[test]
fn connections_expire_and_age() {
    for option in ["expire 300ms", "expire 50ms\n max_age 300ms"] {
        let (address, connections) = serve_tcp(tcp(), |number, mut stream| {
            while let Some(query) = read_frame(&mut stream) {
                let _ = stream.write_all(&frame(&reply(&query, number as u8)));
            }
        });
        let text = format!(". {{\n forward . {address} {{\n force_tcp\n {option}\n }}\n}}");
        let block = build(&text).expect("a block");
        on_worker(async {
            assert_eq!(ask(&block, "a.example.org.").await.mark(), Some(0));
            assert_eq!(ask(&block, "b.example.org.").await.mark(), Some(0));
            tokio::time::sleep(Duration::from_millis(400)).await;
            assert_eq!(ask(&block, "c.example.org.").await.mark(), Some(1));
        });
        assert_eq!(connections.load(Ordering::SeqCst), 2, "{option}");
    }
}

#[test]
fn the_protocol_is_the_clients_unless_told_otherwise() {
    // (option, client's transport) → upstream's transport: 1 over UDP, 2 over TCP
    let cases = [
        ("", Transport::Udp, 1),
        ("", Transport::Tcp, 2),
        ("force_tcp", Transport::Udp, 2),
        ("prefer_udp", Transport::Tcp, 1),
        ("force_tcp\n prefer_udp", Transport::Udp, 2),
    ];
    for (option, transport, mark) in cases {
        let listener = tcp();
        let address = listener.local_addr().expect("an address");
        let Ok(socket) = UdpSocket::bind(address) else {
            continue;
        };
        serve(socket, |_, query| vec![reply(query, 1)]);
        serve_tcp(listener, |_, mut stream| {
            while let Some(query) = read_frame(&mut stream) {
                let _ = stream.write_all(&frame(&reply(&query, 2)));
            }
        });
        let block = build(&format!(
            ". {{\n forward . {address} {{\n {option}\n }}\n}}"
        ))
        .expect("a block");
        let got = on_worker(ask_by(&block, &message("example.org."), transport));
        assert_eq!(got.mark(), Some(mark), "{option} {transport:?}");
    }
}

#[test]
fn prefer_udp_asks_again_over_tcp_when_truncated() {
    let listener = tcp();
    let address = listener.local_addr().expect("an address");
    let socket = UdpSocket::bind(address).expect("the same port over UDP");
    serve(socket, |_, query| {
        let mut out = bare(query, 0);
        out[2] |= 2;
        vec![out]
    });
    serve_tcp(listener, |_, mut stream| {
        while let Some(query) = read_frame(&mut stream) {
            let _ = stream.write_all(&frame(&reply(&query, 2)));
        }
    });
    for (option, mark) in [("prefer_udp", Some(2)), ("", None)] {
        let block = build(&format!(
            ". {{\n forward . {address} {{\n {option}\n }}\n}}"
        ))
        .expect("a block");
        let got = on_worker(ask_by(&block, &message("example.org."), Transport::Udp));
        assert_eq!(got.mark(), mark);
        assert_eq!(got.header().flags.has(wire::Flags::TC), mark.is_none());
    }
}

#[test]
fn replies_in_pieces_and_long_ones() {
    let (address, _) = serve_tcp(tcp(), |_, mut stream| {
        while let Some(query) = read_frame(&mut stream) {
            let mut out = reply(&query, 5);
            out[11] = 1;
            out.extend_from_slice(&[0xC0, 12, 0, 16, 0, 1, 0, 0, 0, 60]);
            out.extend_from_slice(&30_000u16.to_be_bytes());
            out.resize(out.len() + 30_000, 0);
            for piece in frame(&out).chunks(7_001) {
                let _ = stream.write_all(piece);
                let _ = stream.flush();
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    });
    let block = build(&format!(". {{\n forward . {address}\n}}")).expect("a block");
    on_worker(async {
        for _ in 0..2 {
            let got = ask_by(&block, &message("example.org."), Transport::Tcp).await;
            assert_eq!(got.mark(), Some(5));
            assert!(got.octets.len() > 30_000);
        }
    });
}

/// A DoT server with the certificate of dns.example.org.
fn serve_tls() -> (SocketAddr, Arc<AtomicUsize>) {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let chain = CertificateDer::pem_slice_iter(include_bytes!("tls/server.pem"))
        .collect::<Result<_, _>>()
        .expect("a certificate");
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("tls/server.key")).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("a configuration");
    let config = Arc::new(config);
    serve_tcp(tcp(), move |_, stream| {
        let session = rustls::ServerConnection::new(config.clone()).expect("a session");
        let mut stream = rustls::StreamOwned::new(session, stream);
        let mut len = [0; 2];
        while stream.read_exact(&mut len).is_ok() {
            let mut query = vec![0; u16::from_be_bytes(len) as usize];
            if stream.read_exact(&mut query).is_err() {
                return;
            }
            let _ = stream.write_all(&frame(&reply(&query, 8)));
        }
    })
}

#[test]
fn tls_checks_the_name_and_reuses_the_session() {
    let authority = Path::new(env!("CARGO_MANIFEST_DIR")).join("forward/tests/tls/authority.pem");
    let authority = authority.display();
    let (address, connections) = serve_tls();
    let port = address.port();
    // (upstream, options, answered)
    let cases = [
        (
            format!("tls://{address}"),
            format!("tls {authority}\n tls_servername dns.example.org"),
            true,
        ),
        (
            format!("tls://127.0.0.1%dns.example.org:{port}"),
            format!("tls {authority}"),
            true,
        ),
        (
            format!("tls://{address}"),
            format!("tls {authority}\n tls_servername other.example.org"),
            false,
        ),
        (
            format!("tls://{address}"),
            format!("tls {authority}"),
            false,
        ),
        (
            format!("tls://{address}"),
            "tls_servername dns.example.org".to_owned(),
            false,
        ),
    ];
    for (upstream, options, answered) in cases {
        let text = format!(". {{\n forward . {upstream} {{\n {options}\n max_fails 0\n }}\n}}");
        let block = build(&text).expect("a block");
        let before = connections.load(Ordering::SeqCst);
        on_worker(async {
            for name in ["a.example.org.", "b.example.org."] {
                let got = ask(&block, name).await;
                assert_eq!(
                    got.mark(),
                    answered.then_some(8),
                    "{upstream} {options}: {got:?}"
                );
                if let Some(cause) = got.failure {
                    assert!(cause.starts_with("dial tcp-tls 127.0.0.1:"), "{cause}");
                    assert!(cause.contains("tls: "), "{cause}");
                }
            }
        });
        if answered {
            assert_eq!(
                connections.load(Ordering::SeqCst),
                before + 1,
                "one session for both"
            );
        }
    }
}

#[test]
fn a_connection_that_fell_silent_is_not_used_again() {
    let (address, connections) = serve_tcp(tcp(), |number, mut stream| {
        while let Some(query) = read_frame(&mut stream) {
            if number > 0 {
                let _ = stream.write_all(&frame(&reply(&query, number as u8)));
            }
        }
    });
    let text = format!(
        ". {{\n forward . {address} {{\n force_tcp\n read_timeout 100ms\n max_fails 0\n }}\n}}"
    );
    let block = build(&text).expect("a block");
    let began = Instant::now();
    assert_eq!(on_worker(ask(&block, "example.org.")).mark(), Some(1));
    assert!(began.elapsed() < Duration::from_millis(500));
    assert_eq!(connections.load(Ordering::SeqCst), 2);
}
