//! UDP and TCP: RFC 1035, section 4.2, and RFC 7766.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use super::{Query, ask, start};
use crate::server::{Reply, Upstream, answer, read_message, write_message};

fn connect(address: std::net::SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("TCP is accepted");
    stream
        .set_read_timeout(Some(Duration::from_secs(5)))
        .expect("a timeout");
    stream
}

fn with_id(text: &str, id: u16) -> Vec<u8> {
    let mut octets = Query::read(text).octets();
    octets[..2].copy_from_slice(&id.to_be_bytes());
    octets
}

#[test]
fn rfc_7766_one_connection_carries_many_queries() {
    let server = start("rfc7766", &[], "");
    let mut stream = connect(server.address());
    // 6.2.1.1: "clients and servers MUST support pipelining": all are sent before the first answer is read.
    for id in 0..100 {
        write_message(&mut stream, &with_id("mail.plain.example A", id)).expect("written");
    }
    let mut ids: Vec<u16> = (0..100)
        .map(|_| read_message(&mut stream).expect("an answer"))
        .map(|reply| u16::from_be_bytes([reply[0], reply[1]]))
        .collect();
    ids.sort_unstable();
    assert_eq!(ids, (0..100).collect::<Vec<_>>());
    // 6.2.1: the connection stays for more.
    thread::sleep(Duration::from_millis(300));
    write_message(&mut stream, &with_id("mail.plain.example A", 7)).expect("written");
    assert!(read_message(&mut stream).is_ok());
}

#[test]
fn rfc_7766_messages_come_in_any_pieces() {
    let server = start("rfc7766-pieces", &[], "");
    let query = with_id("mail.plain.example A", 1);
    let mut framed = (query.len() as u16).to_be_bytes().to_vec();
    framed.extend_from_slice(&query);
    let mut stream = connect(server.address());
    stream.set_nodelay(true).expect("no delay");
    // 8: the length and the message may come in different segments, octet by octet even.
    for octet in &framed {
        stream.write_all(&[*octet]).expect("written");
    }
    assert!(read_message(&mut stream).is_ok());
    // And many in one segment; a half-closed connection still gets its answers.
    stream.write_all(&framed.repeat(3)).expect("written");
    stream.shutdown(Shutdown::Write).expect("half closed");
    for _ in 0..3 {
        assert!(read_message(&mut stream).is_ok());
    }
    assert_eq!(stream.read(&mut [0]).expect("the end"), 0);
}

#[test]
fn rfc_7766_answers_come_when_they_are_ready() {
    let upstream = Upstream::start(|asked| {
        Reply::After(
            Duration::from_millis(400),
            answer(asked.octets, 60, &[[192, 0, 2, 7]]),
        )
    });
    let server = start(
        "rfc7766-order",
        &[],
        &format!(
            ".:{{PORT}} {{\n  bind 127.0.0.1\n  forward . {}\n}}\n",
            upstream.address()
        ),
    );
    let mut stream = connect(server.address());
    // 7: "responses … in any order": a fast one does not wait for a slow one.
    write_message(&mut stream, &with_id("slow.elsewhere.test A", 1)).expect("written");
    write_message(&mut stream, &with_id("mail.plain.example A", 2)).expect("written");
    let began = Instant::now();
    let first = read_message(&mut stream).expect("an answer");
    assert_eq!(
        (first[1], began.elapsed() < Duration::from_millis(300)),
        (2, true)
    );
    assert_eq!(read_message(&mut stream).expect("an answer")[1], 1);
}

#[test]
fn rfc_7766_idle_connections_end_by_the_timeout() {
    let server = start(
        "rfc7766-idle",
        &[],
        "idle.example:{PORT} {\n  bind 127.0.0.1\n  timeouts {\n    idle 1s\n  }\n  whoami\n}\n",
    );
    let mut stream = connect(server.address());
    write_message(&mut stream, &with_id("mail.plain.example A", 1)).expect("written");
    read_message(&mut stream).expect("an answer");
    let began = Instant::now();
    // 6.2.3: an idle connection may be closed; ours after what `timeouts` says, 10 s without it.
    let end = stream.read(&mut [0]).map_or(0, |octets| octets);
    assert_eq!(end, 0);
    println!("closed after {:?}", began.elapsed());
}

#[test]
fn rfc_1035_udp_and_tcp_say_the_same() {
    // 7766, 5: both transports are equal; every record over UDP comes over TCP, in the same sections.
    let server = start("udp-tcp", &[], "");
    for query in [
        "plain.example SOA",
        "plain.example NS",
        "plain.example MX",
        "mail.plain.example A",
        "chain1.plain.example A",
        "x.sub.plain.example A",
        "nowhere.plain.example A",
        "texts.plain.example A",
        "any.wild.plain.example A",
        "x.inner.plain.example A",
        "www.elsewhere.test A",
        "svcb.plain.example SVCB",
        "_http._tcp.plain.example SRV",
    ] {
        let udp = ask(server.address(), &format!("{query} edns")).expect("an answer");
        let tcp = ask(server.address(), &format!("{query} edns tcp")).expect("an answer");
        assert_eq!(
            (udp.flags, udp.rcode, &udp.sections),
            (tcp.flags, tcp.rcode, &tcp.sections),
            "{query}"
        );
    }
}

#[test]
fn rfc_1035_a_message_of_65535_octets_is_read() {
    let server = start("longest", &[], "");
    let mut query = Query::read("mail.plain.example A edns").octets();
    let rdlength = 65_535 - query.len();
    let at = query.len() - 2;
    query[at..].copy_from_slice(&(rdlength as u16).to_be_bytes());
    query.extend_from_slice(&[0, 12]);
    query.extend_from_slice(&((rdlength - 4) as u16).to_be_bytes());
    query.resize(65_535, 0);
    let reply = server.ask_tcp(&query).expect("an answer");
    assert_eq!(reply[3] & 0x0F, 0, "4.2.2: two octets of length");
}
