//! DNS over QUIC (RFC 9250): what clients get, what is against the protocol, and attacks.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ApplicationClose, ClientConfig, Connection, ConnectionError, Endpoint, VarInt};

use crate::attacks::{a, figure, get, rcode, status, with_opt};
use crate::secure::{Authority, NAME};
use crate::server::{Reply, Upstream, answer, ask_udp, kdig, read_message, wait_until};
use crate::tls::{HOSTS, Secured};

fn served(test: &str, lines: &str) -> Secured {
    Secured::start_by("quic", test, "", lines)
}

fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(test)
}

fn client(authority: &Authority) -> ClientConfig {
    let mut tls = authority.client_config(&["doq"], None);
    tls.enable_early_data = true;
    let crypto = QuicClientConfig::try_from(tls).expect("TLS 1.3");
    ClientConfig::new(Arc::new(crypto))
}

fn endpoint() -> Endpoint {
    Endpoint::client(SocketAddr::from(([127, 0, 0, 1], 0))).expect("an endpoint")
}

async fn connect(served: &Secured) -> Connection {
    connect_to(&served.authority, served.address).await
}

async fn connect_to(authority: &Authority, address: SocketAddr) -> Connection {
    let connecting = endpoint().connect_with(client(authority), address, NAME);
    let connecting = connecting.expect("a name");
    let connected = tokio::time::timeout(Duration::from_secs(5), connecting).await;
    connected.expect("in time").expect("a connection")
}

/// A query with the ID 0, as QUIC has it.
fn query(name: &str) -> Vec<u8> {
    let mut query = a(name);
    query[..2].fill(0);
    query
}

fn framed(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u16).to_be_bytes()[..], message].concat()
}

/// Sends octets on a stream of their own; gives what comes back.
async fn send(connection: &Connection, octets: &[u8], ends: bool) -> Result<Vec<u8>, String> {
    let (mut send, mut receive) = connection
        .open_bi()
        .await
        .map_err(|error| error.to_string())?;
    send.write_all(octets)
        .await
        .map_err(|error| error.to_string())?;
    if ends {
        let _ = send.finish();
    }
    let read = tokio::time::timeout(Duration::from_secs(5), receive.read_to_end(1 << 20)).await;
    read.map_err(|_| "nothing came".to_owned())?
        .map_err(|error| error.to_string())
}

/// The messages that answer one query, to the end of its stream.
pub(crate) fn messages(authority: &Authority, address: SocketAddr, query: &[u8]) -> Vec<Vec<u8>> {
    let octets = run(async {
        let connection = connect_to(authority, address).await;
        send(&connection, &framed(query), true).await
    });
    let octets = octets.expect("a stream that ends");
    let mut left = &octets[..];
    let mut messages = Vec::new();
    while !left.is_empty() {
        messages.push(read_message(&mut left).expect("a whole message"));
    }
    messages
}

async fn ask(connection: &Connection, name: &str) -> Result<Vec<u8>, String> {
    send(connection, &framed(&query(name)), true).await
}

/// The code of RFC 9250 that a connection was closed with.
async fn closed(connection: &Connection) -> Option<VarInt> {
    match tokio::time::timeout(Duration::from_secs(5), connection.closed()).await {
        Ok(ConnectionError::ApplicationClosed(ApplicationClose { error_code, .. })) => {
            Some(error_code)
        }
        _ => None,
    }
}

#[test]
fn kdig_asks_over_quic() {
    let served = served(
        "doq-kdig",
        &format!("{HOSTS}\n  log . \"{{proto}} {{name}}\""),
    );
    let ca = format!("+tls-ca={}", served.server.dir().join("ca.pem").display());
    let Some(help) = kdig(served.address, &["--help"]) else {
        return;
    };
    if !help.contains("]quic") {
        return crate::server::skip("kdig was built without QUIC");
    }
    let arguments = [
        &ca,
        "+tls-hostname=dns.example.org",
        "+quic",
        "+padding",
        "www.example.org",
    ];
    let out = kdig(served.address, &arguments).unwrap_or_default();
    assert!(
        out.contains("192.0.2.1") && out.contains("Received 468 B"),
        "{out}"
    );
    // As CoreDNS calls it, by its socket.
    served.server.wait_for_log("udp www.example.org.");
    served
        .server
        .wait_for_log(&format!("quic://.:{} on 127.0.0.1", served.address.port()));
}

#[test]
fn queries_have_streams_and_overtake_each_other() {
    let upstream = Upstream::start(|asked| {
        Reply::After(
            Duration::from_millis(400),
            answer(asked.octets, 60, &[[198, 51, 100, 7]]),
        )
    });
    let lines = format!(
        "{HOSTS}\n  forward . {}\n  prometheus 127.0.0.1:{{ADMIN}}",
        upstream.address()
    );
    let served = served("doq-streams", &lines);
    run(async {
        let connection = connect(&served).await;
        let slow = ask(&connection, "slow.example.org");
        let fast = async {
            let began = Instant::now();
            let reply = ask(&connection, "www.example.org")
                .await
                .expect("an answer");
            assert!(began.elapsed() < Duration::from_millis(350));
            // 4.2.1: the ID is 0; 4.2: behind its length, and then the stream ends.
            assert_eq!(
                usize::from(u16::from_be_bytes([reply[0], reply[1]])),
                reply.len() - 2
            );
            assert_eq!((&reply[2..4], reply[9]), (&[0, 0][..], 1));
        };
        let (slow, ()) = tokio::join!(slow, fast);
        assert_eq!(rcode(&slow.expect("an answer")[2..]), 0);
        // An answer comes as soon as the message is whole, the end of the stream or not.
        assert!(
            send(&connection, &framed(&query("www.example.org")), false)
                .await
                .is_ok()
        );
        // A reload, and the connection goes on.
        served.server.signal("USR1");
        served.server.wait_for_log("Reloading complete");
        assert!(ask(&connection, "www.example.org").await.is_ok());
        assert!(
            ask(&connect(&served).await, "www.example.org")
                .await
                .is_ok()
        );
    });
    let metrics = get(served.admin, "/metrics").expect("metrics");
    let port = served.address.port();
    let line = format!(
        "coredns_dns_quic_responses_total{{server=\"quic://127.0.0.1:{port}\",status=\"0x0\"}} 5"
    );
    assert!(metrics.contains(&line), "{metrics}");
    let counted = format!(
        "coredns_dns_requests_total{{server=\"quic://127.0.0.1:{port}\",zone=\".\",view=\"\",proto=\"udp\""
    );
    assert!(metrics.contains(&counted), "{metrics}");
}

#[test]
fn what_is_against_the_protocol_ends_the_connection() {
    let served = served("doq-errors", HOSTS);
    let good = query("www.example.org");
    let mut other_id = good.clone();
    other_id[1] = 1;
    let keeps_alive = with_opt(good.clone(), 1_232, 0, &[0, 11, 0, 0]);
    let cut = framed(&good)[..20].to_vec();
    run(async {
        for (what, octets) in [
            ("an ID", framed(&other_id)),
            ("TCP-KEEPALIVE", framed(&keeps_alive)),
            ("an early end", cut),
            ("nothing", Vec::new()),
            ("no length", vec![0]),
            ("a length of 0", vec![0, 0]),
            ("a length of 11", framed(&good[..11])),
            ("two messages", framed(&good).repeat(2)),
        ] {
            let connection = connect(&served).await;
            assert!(send(&connection, &octets, true).await.is_err(), "{what}");
            assert_eq!(
                closed(&connection).await,
                Some(VarInt::from_u32(2)),
                "{what}"
            );
        }
        // What is DNS's business is answered: FORMERR, and the connection lives.
        let connection = connect(&served).await;
        let mut two = good.clone();
        two[5] = 2;
        let reply = send(&connection, &framed(&two), true)
            .await
            .expect("FORMERR");
        assert_eq!(rcode(&reply[2..]), 1);
        assert!(ask(&connection, "www.example.org").await.is_ok());
    });
}

#[test]
fn streams_of_one_octet_hold_nobody_and_are_given_up() {
    let served = served("doq-drip", HOSTS);
    run(async {
        let honest = connect(&served).await;
        ask(&honest, "www.example.org").await.expect("an answer");
        let before = status(&served.server, "VmRSS");
        let began = Instant::now();
        let (mut connections, mut streams) = (Vec::new(), Vec::new());
        for _ in 0..40 {
            let connection = connect(&served).await;
            for _ in 0..250 {
                let (mut send, receive) = connection.open_bi().await.expect("a stream");
                send.write_all(&[0xFF]).await.expect("written");
                streams.push((send, receive));
            }
            connections.push(connection);
        }
        let asked = Instant::now();
        ask(&honest, "www.example.org")
            .await
            .expect("an answer beside them");
        let took = asked.elapsed();
        let grown = status(&served.server, "VmRSS").saturating_sub(before);
        figure(&format!(
            "{} streams of one octet in {:?}: {grown} KiB, an honest query takes {took:?}",
            streams.len(),
            began.elapsed()
        ));
        assert!(took < Duration::from_secs(1) && grown < 64 * 1_024);
        // 3 s after its octet, each is reset, and the connection lives.
        let (_open, mut last) = streams.pop().expect("a stream");
        let end = tokio::time::timeout(Duration::from_secs(8), last.read_to_end(10)).await;
        assert!(end.expect("in time").is_err());
        let again = ask(&connections[39], "www.example.org").await;
        assert!(again.is_ok(), "{again:?}");
    });
}

#[test]
fn slow_handshakes_hold_nobody_and_under_load_addresses_are_checked() {
    let served = served("doq-slow", &format!("{HOSTS}\n  multisocket 1"));
    run(async {
        // The first packet of a handshake, and never another one: from 120 sockets.
        let mut sockets = Vec::new();
        let mut sent = 0;
        for _ in 0..120 {
            let first = first_packet(&served).await;
            let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
            socket.set_nonblocking(true).expect("set");
            sent = socket.send_to(&first, served.address).expect("sent");
            sockets.push(socket);
        }
        let began = Instant::now();
        let connection = connect(&served).await;
        ask(&connection, "www.example.org")
            .await
            .expect("an answer");
        let took = began.elapsed();
        figure(&format!(
            "beside 120 handshakes that stop, one takes {took:?}"
        ));
        assert!(took < Duration::from_secs(1), "{took:?}");
        // RFC 9000, 8.1: before an address has shown itself, it gets three times what it has sent at most.
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        let (mut most, mut retries) = (0, 0);
        for socket in &sockets {
            let (mut octets, mut buffer) = (0, [0; 2_048]);
            while let Ok(len) = socket.recv(&mut buffer) {
                octets += len;
                // A long header of the type Retry (RFC 9000, 17.2.5).
                retries += usize::from(buffer[0] >> 4 == 0xF);
            }
            most = most.max(octets);
        }
        figure(&format!(
            "for {sent} octets at most {most} came back; {retries} had to show their address"
        ));
        // quinn begins a datagram while there is room for one octet, so the last one may end beyond the bound.
        assert!(
            most < 3 * sent + 1_200 && retries >= 60,
            "{most}, {retries}"
        );
    });
}

/// The first packet that a client sends.
async fn first_packet(served: &Secured) -> Vec<u8> {
    let listener = tokio::net::UdpSocket::bind("127.0.0.1:0")
        .await
        .expect("a socket");
    let address = listener.local_addr().expect("an address");
    let endpoint = endpoint();
    let connecting = endpoint.connect_with(client(&served.authority), address, NAME);
    let _connecting = connecting.expect("a name");
    let mut packet = vec![0; 2_048];
    let len = listener.recv(&mut packet).await.expect("a packet");
    packet.truncate(len);
    packet
}

#[test]
fn early_data_is_refused() {
    let served = served("doq-early", HOSTS);
    run(async {
        let (endpoint, config) = (endpoint(), client(&served.authority));
        let connect = || {
            endpoint
                .connect_with(config.clone(), served.address, NAME)
                .expect("a name")
        };
        let first = connect().await.expect("a connection");
        ask(&first, "www.example.org").await.expect("an answer");
        first.close(VarInt::from_u32(0), b"");
        // The session is known, and still nothing may be sent before the handshake ends.
        match connect().into_0rtt() {
            Ok((_, accepted)) => assert!(!accepted.await),
            Err(connecting) => {
                let again = connecting.await.expect("a connection");
                assert!(ask(&again, "www.example.org").await.is_ok());
            }
        }
    });
}

#[test]
fn a_listener_has_200_connections_and_each_holds_little() {
    let served = served(
        "doq-places",
        &format!("{HOSTS}\n  multisocket 1\n  timeouts {{\n    idle 60s\n  }}"),
    );
    run(async {
        let mut all = vec![connect(&served).await, connect(&served).await];
        ask(&all[1], "www.example.org").await.expect("an answer");
        let before = status(&served.server, "VmRSS");
        while all.len() < 160 {
            let connection = connect(&served).await;
            ask(&connection, "www.example.org")
                .await
                .expect("an answer");
            all.push(connection);
        }
        let each = (status(&served.server, "VmRSS") - before) / 158;
        figure(&format!("an idle QUIC connection: {each} KiB"));
        assert!(each <= 64, "{each} KiB each");
        while all.len() < 230 {
            let connection = connect(&served).await;
            ask(&connection, "www.example.org")
                .await
                .expect("whoever comes is let in");
            all.push(connection);
        }
        wait_until("the longest idle to be closed", || {
            all.iter()
                .filter(|one| one.close_reason().is_none())
                .count()
                <= 200
        });
    });
}

#[test]
fn udp_is_answered_beside_quic() {
    let served = served("doq-udp", HOSTS);
    // Both ports are UDP's, each with its own transport: a query in clear on QUIC's is no packet of it.
    let dns = ask_udp(
        served.server.address(),
        &a("www.example.org"),
        Duration::from_secs(2),
    );
    assert!(dns.is_some());
    let quic = ask_udp(
        served.address,
        &a("www.example.org"),
        Duration::from_millis(300),
    );
    assert_eq!(quic, None);
    assert_eq!(served.address.ip(), Ipv4Addr::LOCALHOST);
}
