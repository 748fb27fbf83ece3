//! The PROXY protocol: who asks, behind a load balancer.

use std::io::Write;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

use crate::attacks::{a, rcode};
use crate::attacks_streams::{framed, is_closed};
use crate::secure::NAME;
use crate::server::{read_message, write_message};
use crate::tls::{HOSTS, Secured, ask};

const LOG: &str = "  log . \"{remote} {name}\"";
/// A header of version 2 for 192.0.2.77:4660 on a connection (1), or with a datagram (2).
fn header(protocol: u8) -> Vec<u8> {
    let mut out = b"\r\n\r\n\0\r\nQUIT\n\x21".to_vec();
    out.push(0x10 | protocol);
    out.extend_from_slice(&[0, 12, 192, 0, 2, 77, 198, 51, 100, 1, 0x12, 0x34, 0, 53]);
    out
}

fn served(test: &str, options: &str) -> Secured {
    Secured::start(test, "", &format!("{HOSTS}\n{LOG}\n  proxyproto {options}"))
}

fn tcp(served: &Secured) -> TcpStream {
    let stream = TcpStream::connect(served.server.address()).expect("a connection");
    stream
        .set_read_timeout(Some(Duration::from_secs(5)))
        .expect("a timeout");
    stream
}

/// Sends a datagram, perhaps behind a header; gives the reply.
fn udp(socket: &UdpSocket, to: SocketAddr, header: &[u8]) -> Option<Vec<u8>> {
    let message = [header, &a("www.example.org")].concat();
    socket.send_to(&message, to).expect("sent");
    let mut reply = vec![0; 4_096];
    let len = socket.recv(&mut reply).ok()?;
    reply.truncate(len);
    Some(reply)
}

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket
        .set_read_timeout(Some(Duration::from_millis(500)))
        .expect("a timeout");
    socket
}

#[test]
fn the_client_is_whom_the_header_tells_of() {
    let served = served("proxy-use", "{\n    allow 127.0.0.0/8\n  }");
    let behind = "192.0.2.77 www.example.org.";
    let lines = || served.server.log().matches(behind).count();
    // Version 1, in one piece and octet by octet; version 2; and none.
    let line = b"PROXY TCP4 192.0.2.77 198.51.100.1 4660 53\r\n";
    let query = framed(&a("www.example.org"));
    for (begin, slowly) in [
        (&line[..], false),
        (&line[..], true),
        (&header(1)[..], true),
        (&[], true),
    ] {
        let mut stream = tcp(&served);
        stream.set_nodelay(true).expect("set");
        let whole = [begin, &query].concat();
        for piece in whole.chunks(if slowly { 1 } else { whole.len() }) {
            stream.write_all(piece).expect("written");
        }
        let reply = read_message(&mut stream).expect("an answer");
        assert_eq!((rcode(&reply), reply[7]), (0, 1));
        // The header is taken once.
        write_message(&mut stream, &a("www.example.org")).expect("written");
        read_message(&mut stream).expect("an answer");
    }
    served.server.wait_for_log("127.0.0.1 www.example.org.");
    assert_eq!(lines(), 6);
    // Before TLS.
    let mut stream = TcpStream::connect(served.address).expect("a connection");
    stream.write_all(&header(1)).expect("written");
    let name = ServerName::try_from(NAME).expect("a name");
    let session = ClientConnection::new(served.client(), name).expect("a session");
    let mut tls = StreamOwned::new(session, stream);
    assert_eq!(rcode(&ask(&mut tls).expect("an answer")), 0);
    // And with a datagram; the reply goes to the proxy, without a header.
    let socket = socket();
    let reply = udp(&socket, served.server.address(), &header(2)).expect("an answer");
    assert_eq!((rcode(&reply), reply[7]), (0, 1));
    crate::server::wait_until("both to be logged", || lines() == 8);
    // The header of a connection has no business in a datagram.
    assert_eq!(udp(&socket, served.server.address(), &header(1)), None);
    served
        .server
        .wait_for_log("dropping invalid Proxy Protocol packet from 127.0.0.1");
    // Nonsense behind the signature closes the connection.
    let mut nonsense = tcp(&served);
    let mut octets = header(1);
    octets[12] = 0x77;
    nonsense.write_all(&octets).expect("written");
    assert!(is_closed(&mut nonsense));
}

#[test]
fn whoever_is_not_allowed_is_not_believed() {
    for (policy, over_tcp, over_udp, shown) in [
        ("", true, true, "127.0.0.1"),
        ("default ignore", true, true, "127.0.0.1"),
        ("default reject", false, false, ""),
        ("default use", true, true, "192.0.2.77"),
    ] {
        let name = format!(
            "proxy-{}",
            policy.split(' ').next_back().unwrap_or_default()
        );
        let served = served(
            &name,
            &format!("{{\n    allow 10.0.0.0/8\n    {policy}\n  }}"),
        );
        let mut stream = tcp(&served);
        stream.write_all(&header(1)).expect("written");
        let asked = write_message(&mut stream, &a("www.example.org"));
        let answered = asked.and_then(|()| read_message(&mut stream));
        assert_eq!(answered.is_ok(), over_tcp, "{policy}");
        let reply = udp(&socket(), served.server.address(), &header(2));
        assert_eq!(reply.is_some(), over_udp, "{policy}");
        if over_tcp {
            let line = format!("{shown} www.example.org.");
            crate::server::wait_until("both to be logged", || {
                served.server.log().matches(&line).count() == 2
            });
        }
        // Without a header everybody is who they are.
        let mut plain = tcp(&served);
        write_message(&mut plain, &a("www.example.org")).expect("written");
        assert!(read_message(&mut plain).is_ok());
    }
}

#[test]
fn datagrams_that_follow_are_of_the_same_client() {
    let served = served("proxy-sessions", "{\n    udp_session_tracking 1m\n  }");
    let socket = socket();
    for header in [&header(2)[..], &[], &[]] {
        assert!(udp(&socket, served.server.address(), header).is_some());
    }
    crate::server::wait_until("three queries of the client", || {
        served
            .server
            .log()
            .matches("192.0.2.77 www.example.org.")
            .count()
            == 3
    });
}
