//! DNS over HTTP/3 (RFC 8484 on RFC 9114) as clients see it, and what they may not do. The feature `https3` has it; CI builds all features.

#[cfg(feature = "https3")]
mod built {
    use std::future::poll_fn;
    use std::net::SocketAddr;
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use bytes::{Buf, Bytes};
    use h3::client::SendRequest;
    use h3_quinn::OpenStreams;
    use http::{HeaderMap, Method, Request};
    use quinn::crypto::rustls::QuicClientConfig;
    use tokio::time::timeout;

    use crate::attacks::{a, figure, get, rcode, status};
    use crate::https::encoded;
    use crate::secure::NAME;
    use crate::server::{Reply, Upstream, answer, wait_until};
    use crate::tls::{HOSTS, Secured};

    fn served(test: &str, lines: &str) -> Secured {
        Secured::start_by("https3", test, "", lines)
    }

    fn run<T>(test: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime")
            .block_on(test)
    }

    /// A connection of a client.
    struct Http3 {
        quic: quinn::Connection,
        requests: SendRequest<OpenStreams, Bytes>,
    }

    /// The status of a response, its headers and its body.
    type Response = (u16, HeaderMap, Vec<u8>);

    fn client(served: &Secured) -> quinn::ClientConfig {
        let mut tls = served.authority.client_config(&["h3"], None);
        tls.enable_early_data = true;
        let crypto = QuicClientConfig::try_from(tls).expect("TLS 1.3");
        quinn::ClientConfig::new(Arc::new(crypto))
    }

    fn endpoint() -> quinn::Endpoint {
        quinn::Endpoint::client(SocketAddr::from(([127, 0, 0, 1], 0))).expect("an endpoint")
    }

    async fn connect(served: &Secured) -> Http3 {
        let connecting = endpoint().connect_with(client(served), served.address, NAME);
        let connecting = timeout(Duration::from_secs(5), connecting.expect("a name"));
        let quic = connecting.await.expect("in time").expect("a connection");
        let connection = h3_quinn::Connection::new(quic.clone());
        let (mut driver, requests) = h3::client::new(connection).await.expect("settings");
        tokio::spawn(async move { poll_fn(|context| driver.poll_close(context)).await });
        Http3 { quic, requests }
    }

    impl Http3 {
        /// Sends a request; gives its response.
        async fn send(&self, request: Request<()>, body: &[u8]) -> Result<Response, String> {
            let told = |error: h3::error::StreamError| error.to_string();
            let mut requests = self.requests.clone();
            let exchange = async {
                let mut stream = requests.send_request(request).await.map_err(told)?;
                if !body.is_empty() {
                    // A server that has refused it may not want the rest.
                    let _ = stream.send_data(Bytes::copy_from_slice(body)).await;
                }
                let _ = stream.finish().await;
                let response = stream.recv_response().await.map_err(told)?;
                let mut body = Vec::new();
                while let Some(mut piece) = stream.recv_data().await.map_err(told)? {
                    let len = piece.remaining();
                    body.extend_from_slice(&piece.copy_to_bytes(len));
                }
                let (head, ()) = response.into_parts();
                Ok((head.status.as_u16(), head.headers, body))
            };
            let exchange = timeout(Duration::from_secs(8), exchange).await;
            exchange.map_err(|_| "nothing came".to_owned())?
        }

        /// Asks by GET.
        async fn ask(&self, name: &str) -> Result<Response, String> {
            let path = format!("/dns-query?dns={}", encoded(&a(name)));
            self.send(request(Method::GET, &path, None), &[]).await
        }
    }

    fn request(method: Method, path: &str, kind: Option<&str>) -> Request<()> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("https://{NAME}{path}"));
        if let Some(kind) = kind {
            request = request.header("content-type", kind);
        }
        request.body(()).expect("a request")
    }

    const KIND: Option<&str> = Some("application/dns-message");

    #[test]
    fn queries_are_answered_by_get_and_by_post_and_overtake_each_other() {
        let upstream = Upstream::start(|asked| {
            let reply = answer(asked.octets, 60, &[[198, 51, 100, 7]]);
            Reply::After(Duration::from_millis(400), reply)
        });
        let lines = format!(
            "{HOSTS}\n  log . \"{{proto}} {{name}}\"\n  forward . {}\n  prometheus 127.0.0.1:{{ADMIN}}",
            upstream.address()
        );
        let served = served("doh3-asked", &lines);
        let port = served.address.port();
        run(async {
            let http = connect(&served).await;
            let query = a("www.example.org");
            let posted = http
                .send(request(Method::POST, "/dns-query", KIND), &query)
                .await;
            let got = http.ask("www.example.org").await;
            for (status, headers, reply) in [posted.expect("a reply"), got.expect("a reply")] {
                assert_eq!((status, rcode(&reply), reply[7]), (200, 0, 1));
                assert_eq!(reply[..2], query[..2]);
                assert_eq!(headers["content-type"], "application/dns-message");
                assert_eq!(headers["cache-control"], "max-age=3600");
                assert_eq!(headers["content-length"], reply.len().to_string());
            }
            // Streams do not wait for each other.
            let began = Instant::now();
            let slow = http.ask("slow.example.org");
            let fast = async {
                let reply = http.ask("www.example.org").await;
                (reply.expect("a reply").0, began.elapsed())
            };
            let (slow, (fast, took)) = tokio::join!(slow, fast);
            assert_eq!((slow.expect("a reply").0, fast), (200, 200));
            assert!(took < Duration::from_millis(400), "{took:?}");
            // A connection goes on over a reload, and new ones come.
            served.server.signal("USR1");
            served.server.wait_for_log("Reloading complete");
            assert_eq!(http.ask("www.example.org").await.expect("a reply").0, 200);
            let again = connect(&served).await.ask("www.example.org").await;
            assert_eq!(again.expect("a reply").0, 200);
        });
        // CoreDNS names it by its socket.
        served.server.wait_for_log("udp www.example.org.");
        served
            .server
            .wait_for_log(&format!("https3://.:{port} on 127.0.0.1"));
        let metrics = get(served.admin, "/metrics").expect("metrics");
        let line = format!(
            "coredns_dns_https3_responses_total{{server=\"https3://127.0.0.1:{port}\",status=\"200\"}} 6"
        );
        assert!(metrics.contains(&line), "{metrics}");
    }

    #[test]
    fn what_is_no_query_has_a_status_of_its_own() {
        let served = served("doh3-statuses", HOSTS);
        let query = encoded(&a("www.example.org"));
        let response = {
            let mut response = a("www.example.org");
            response[2] |= 0x80;
            encoded(&response)
        };
        let (large, largest) = (vec![0; 70_000], vec![0; 65_535]);
        let path = |text: &str| format!("/dns-query?dns={text}");
        let rows = [
            (Method::GET, "/".to_owned(), None, &[][..], 404),
            (Method::GET, "/dns-query/x".to_owned(), None, &[], 404),
            (Method::GET, "/dns-query".to_owned(), None, &[], 400),
            (
                Method::GET,
                path(&format!("{query}&dns={query}")),
                None,
                &[],
                400,
            ),
            (Method::GET, path(&format!("{query}=")), None, &[], 400),
            (Method::GET, path("AAAA"), None, &[], 400),
            (Method::GET, path(&response), None, &[], 400),
            (Method::GET, path(&"A".repeat(9_000)), None, &[], 414),
            (Method::PUT, path(&query), None, &[], 405),
            (Method::HEAD, path(&query), None, &[], 405),
            (Method::POST, "/dns-query".to_owned(), None, b"x", 415),
            (
                Method::POST,
                "/dns-query".to_owned(),
                Some("text/plain"),
                b"x",
                415,
            ),
            (Method::POST, "/dns-query".to_owned(), KIND, b"x", 400),
            (Method::POST, "/dns-query".to_owned(), KIND, &large, 413),
            // As long as a message may be, and FORMERR.
            (Method::POST, "/dns-query".to_owned(), KIND, &largest, 200),
        ];
        run(async {
            let http = connect(&served).await;
            for (method, path, kind, body, expected) in rows {
                let found = http.send(request(method.clone(), &path, kind), body).await;
                let found = found.map(|(status, ..)| status);
                assert_eq!(found, Ok(expected), "{method} {} {kind:?}", path.len());
            }
            // All on one connection, which lives on.
            assert_eq!(http.ask("www.example.org").await.expect("a reply").0, 200);
        });
    }

    #[test]
    fn early_data_is_refused() {
        let served = served("doh3-early", HOSTS);
        run(async {
            let (endpoint, config) = (endpoint(), client(&served));
            let connect = || {
                let connecting = endpoint.connect_with(config.clone(), served.address, NAME);
                connecting.expect("a name")
            };
            let first = connect().await.expect("a connection");
            // The session's ticket has come when the server's settings have.
            first.accept_uni().await.expect("a stream");
            first.close(0_u32.into(), b"");
            if let Ok((_, accepted)) = connect().into_0rtt() {
                assert!(!accepted.await);
            }
        });
    }

    #[test]
    fn requests_that_drip_or_are_reset_hold_little_and_end() {
        let served = served("doh3-drip", HOSTS);
        run(async {
            let honest = connect(&served).await;
            honest.ask("www.example.org").await.expect("a reply");
            let before = status(&served.server, "VmRSS");
            // Requests whose bodies do not come: 408 after 3 s.
            let dripping = connect(&served).await;
            let mut streams = Vec::new();
            for _ in 0..200 {
                let mut requests = dripping.requests.clone();
                let request = request(Method::POST, "/dns-query", KIND);
                let mut stream = requests.send_request(request).await.expect("a stream");
                let sent = stream.send_data(Bytes::from_static(&[0])).await;
                sent.expect("sent");
                streams.push(stream);
            }
            // Streams that say nothing of HTTP, and streams that are reset at once.
            let silent = connect(&served).await;
            let mut open = Vec::new();
            for number in 0..2_000 {
                let opened = timeout(Duration::from_millis(200), silent.quic.open_bi()).await;
                let Ok(Ok((mut send, receive))) = opened else {
                    break;
                };
                match number % 2 {
                    0 => open.push((send, receive)),
                    _ => {
                        let _ = send.write_all(&[1]).await;
                        let _ = send.reset(0x10C_u32.into());
                    }
                }
            }
            let began = Instant::now();
            let reply = honest.ask("www.example.org").await;
            assert_eq!(reply.expect("a reply beside them").0, 200);
            let took = began.elapsed();
            let grown = status(&served.server, "VmRSS").saturating_sub(before);
            let last = streams.last_mut().expect("a stream");
            let given_up = timeout(Duration::from_secs(8), last.recv_response()).await;
            let given_up = given_up.expect("in time").expect("a response");
            figure(&format!(
                "200 requests of HTTP/3 that drip and {} streams that say nothing: {grown} KiB, an honest query takes {took:?}",
                open.len()
            ));
            assert_eq!(given_up.status().as_u16(), 408);
            assert!(took < Duration::from_secs(2) && grown < 64 * 1_024);
        });
    }

    #[test]
    fn a_listener_has_so_many_connections_and_lets_in_whoever_comes() {
        let lines = format!("{HOSTS}\n  multisocket 1\n  https3 {{\n    max_connections 8\n  }}");
        let served = served("doh3-places", &lines);
        run(async {
            let mut all = Vec::new();
            for _ in 0..20 {
                let http = connect(&served).await;
                let reply = http.ask("www.example.org").await;
                assert_eq!(reply.expect("whoever comes is let in").0, 200);
                all.push(http);
            }
            let open = || {
                let open = all.iter().filter(|http| http.quic.close_reason().is_none());
                open.count()
            };
            let began = Instant::now();
            while open() > 8 {
                assert!(began.elapsed() < Duration::from_secs(10), "{} open", open());
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            assert_eq!(open(), 8);
            // H3_EXCESSIVE_LOAD (RFC 9114, 8.1).
            let closed = all[0].quic.close_reason();
            assert!(
                matches!(&closed, Some(quinn::ConnectionError::ApplicationClosed(close)) if close.error_code == 0x107_u32.into()),
                "{closed:?}"
            );
        });
    }

    #[test]
    fn without_a_certificate_it_does_not_start() {
        let mut server = crate::server::Server::spawn(
            &crate::server::temporary_directory("doh3-clear"),
            &format!(
                "https3://.:{} {{\n  bind 127.0.0.1\n  whoami\n}}\n",
                crate::server::free_port()
            ),
            &[],
        );
        wait_until("the end", || server.has_ended());
        assert!(!server.wait().success());
        server.wait_for_log("`https3://` requires TLS");
    }
}

#[cfg(not(feature = "https3"))]
#[test]
fn http3_is_spoken() {
    crate::server::skip("built without the feature https3: cargo test --features https3");
}
