//! Queries that wait: whose wait ends where too many do, and that each of them is answered whatever becomes of it.

use std::io::Write;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use wire::Rcode;

use super::{
    OPEN, ask, client, connect, eventually, framed, rcode, read_framed, serve, until_open,
};
use crate::admission::WAITING;
use crate::testing::query;

#[test]
fn queries_that_a_plugin_keeps_come_back() {
    let (_server, port) = serve(". {\nat 127.0.0.1\nsay 7\n}");
    let socket = client(port);
    // More than once each: the places are used again.
    for _ in 0..3 {
        for (qname, rcode) in [
            ("k.example.org.", 0),
            ("w.example.org.", 0),
            ("x.example.org.", 2),
        ] {
            let reply = ask(&socket, qname);
            assert_eq!(reply[3] & 0xF, rcode, "{qname}");
            assert_eq!(reply.ends_with(&[192, 0, 2, 7]), rcode == 0, "{qname}");
        }
    }
}

#[test]
fn the_plugins_above_a_panic_hear_of_it_wherever_it_came() {
    let (_server, port) = serve(". {\nat 127.0.0.1\nabove 1\nsay 7\n}");
    let socket = client(port);
    for name in ["p.example.org.", "late.example.org.", "x.example.org."] {
        assert_eq!(rcode(&ask(&socket, name)), Rcode::SERVFAIL);
        assert_eq!(OPEN[1].load(Ordering::SeqCst), 0, "{name}");
        // Streams do not launch.
        if name.starts_with('x') {
            continue;
        }
        let mut stream = connect(port);
        stream.write_all(&framed(1, name)).expect("sent");
        let (_, reply) = read_framed(&mut stream).expect("an answer");
        assert_eq!(rcode(&reply), Rcode::SERVFAIL);
        assert_eq!(OPEN[1].load(Ordering::SeqCst), 0, "{name} over TCP");
    }
}

/// A client of its own: each last octet is another address of loopback.
fn client_from(last: u8, port: u16) -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::new(127, 0, 0, last), 0)).expect("a socket");
    socket.connect((Ipv4Addr::LOCALHOST, port)).expect("a peer");
    socket
        .set_read_timeout(Some(Duration::from_secs(3)))
        .expect("a timeout");
    socket
}

/// Sends a query under an ID.
fn send(socket: &UdpSocket, id: u16, qname: &str) {
    let mut query = query(0x0100, qname, 1, 0, &[]);
    query[..2].copy_from_slice(&id.to_be_bytes());
    socket.send(&query).expect("sent");
}

/// The next response's ID and RCODE.
fn receive(socket: &UdpSocket) -> (u16, Rcode) {
    let mut reply = [0; 512];
    socket.recv(&mut reply).expect("a response");
    (u16::from_be_bytes([reply[0], reply[1]]), rcode(&reply))
}

#[test]
fn where_too_many_wait_the_longest_wait_of_whoever_waits_most_ends() {
    const MORE: u16 = 8;
    // In a task; kept by a plugin that gives it back; kept by one that does not.
    // Each has a count of its own: a server that ends leaves queries behind.
    for (count, name) in [
        (8, "never.example.org."),
        (9, "cancel.example.org."),
        (10, "forgotten.example.org."),
    ] {
        let text = format!(". {{\nat 127.0.0.1\nabove {count}\nsay 7\n}}");
        let (_server, port) = serve(&text);
        let flood = client_from(1, port);
        for id in 0..WAITING as u16 + MORE {
            send(&flood, id, name);
        }
        // Each that came too many has ended the wait of the oldest, and been given its place. Those that are let go at once are told in
        // any order.
        let mut told: Vec<_> = (0..MORE).map(|_| receive(&flood)).collect();
        told.sort_unstable();
        let oldest: Vec<_> = (0..MORE).map(|id| (id, Rcode::SERVFAIL)).collect();
        assert_eq!(told, oldest, "{name}");
        until_open(count, WAITING);
        // Others wait as if nothing were. Of some of them the flood's worker gets at least one.
        let honest: Vec<UdpSocket> = (2..10).map(|last| client_from(last, port)).collect();
        for (id, socket) in (0..).zip(&honest) {
            send(socket, id, "slow.example.org.");
        }
        for (id, socket) in (0..).zip(&honest) {
            assert_eq!(receive(socket), (id, Rcode::NOERROR), "{name}");
        }
    }
}

#[test]
fn a_flood_by_tcp_leaves_others_their_places() {
    let (_server, port) = serve(". {\nat 127.0.0.1\nsay 7\n}");
    let mut streams = [connect(port), connect(port), connect(port), connect(port)];
    for id in 0..WAITING as u16 * 2 {
        let stream = &mut streams[usize::from(id % 4)];
        stream
            .write_all(&framed(id, "never.example.org."))
            .expect("sent");
    }
    for last in 2..10 {
        let socket = client_from(last, port);
        send(&socket, 7, "slow.example.org.");
        assert_eq!(receive(&socket), (7, Rcode::NOERROR));
    }
}

#[test]
fn a_query_that_a_plugin_drops_is_answered() {
    let (_server, port) = serve(". {\nat 127.0.0.1\nabove 3\nsay 7\n}");
    let socket = client(port);
    let before = telemetry::metrics::panics().get();
    for (name, panics) in [("drop.example.org.", 0), ("y.example.org.", 1)] {
        let before = telemetry::metrics::panics().get();
        assert_eq!(rcode(&ask(&socket, name)), Rcode::SERVFAIL, "{name}");
        assert_eq!(OPEN[3].load(Ordering::SeqCst), 0, "{name}");
        assert!(
            telemetry::metrics::panics().get() >= before + panics,
            "{name}"
        );
    }
    assert!(telemetry::metrics::panics().get() > before);
    assert_eq!(ask(&socket, "a.example.org.").last(), Some(&7));
}

#[test]
fn a_deadline_ends_a_wait_and_holds_up_no_answer() {
    // A query in time waits for 150 ms, one that comes too late for 30 s.
    let (_server, port) = serve(". {\nat 127.0.0.1\nabove 11\nwithin 600\nsay 7\n}");
    let socket = client(port);
    let mut stream = connect(port);
    for (name, expected) in [
        ("a.example.org.", Rcode::NOERROR),
        ("slow.example.org.", Rcode::NOERROR),
        ("never.example.org.", Rcode::SERVFAIL),
        // What a plugin would keep without a task waits in one, for its clock.
        ("forgotten.example.org.", Rcode::NOERROR),
    ] {
        let begun = Instant::now();
        let late = Duration::from_millis(600);
        assert_eq!(rcode(&ask(&socket, name)), expected, "{name}");
        assert!(
            expected == Rcode::NOERROR || begun.elapsed() >= late,
            "{name}"
        );
        stream.write_all(&framed(1, name)).expect("sent");
        let (_, reply) = read_framed(&mut stream).expect("an answer");
        assert_eq!(rcode(&reply), expected, "{name} over TCP");
        // The plugins above have heard of it.
        assert_eq!(OPEN[11].load(Ordering::SeqCst), 0, "{name}");
    }
}

#[test]
fn what_overload_drops_is_counted_where_a_block_wants_that() {
    let (_server, port) = serve(". {\nat 127.0.0.1\nsheds\nsay 7\n}");
    let count = |reason: &str| -> u64 {
        let line = format!(
            "coredns_shed_dropped_total{{server=\"dns://127.0.0.1:0\",reason=\"{reason}\"}} "
        );
        let metrics = telemetry::metrics::encode();
        let found = metrics.lines().find_map(|one| one.strip_prefix(&line));
        found
            .expect("shown from the start")
            .parse()
            .expect("a number")
    };
    assert_eq!((count("query"), count("response")), (0, 0));
    // Each query takes a millisecond, so those behind a few hundred others come too late.
    let flood = client(port);
    eventually("queries to be thrown away", || {
        for id in 0..200 {
            send(&flood, id, "held.example.org.");
        }
        count("query") > 0
    });
}
