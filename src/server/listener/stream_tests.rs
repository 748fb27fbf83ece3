//! Responses of many messages over real TCP connections.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use chain::setup::{Build, BuildError, Catalogue, Entry, Parse, Registration, Setup};
use chain::{
    Exchange, Failure, Flow, Hooks, MessageSource, Plugin, Query, Resolving, Turn, Written,
};
use wire::{Rcode, Response, Section, Type};

use crate::control::{Options, Server};
use crate::input;
use crate::testing::query;

const CATALOGUE: Catalogue = &[Entry::Here(Registration {
    name: "transfers",
    parse: |_: &mut Parse<'_>| Some(Box::new(Transfers)),
    handler: false,
})];

/// The messages of a whole response.
const MESSAGES: usize = 1_000;
/// The octets of TXT data in each.
const OCTETS: usize = 16_000;
/// The messages that have been asked for in all.
static ASKED_FOR: AtomicUsize = AtomicUsize::new(0);
/// How responses ended, as the plugin above heard it: RCODE and octets before the last message.
static ENDS: Mutex<Vec<(Rcode, u64)>> = Mutex::new(Vec::new());

fn ends() -> MutexGuard<'static, Vec<(Rcode, u64)>> {
    ENDS.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Transfers;

impl Setup for Transfers {
    fn build(self: Box<Self>, build: &mut Build<'_>) -> Result<(), BuildError> {
        build.push(Arc::new(Above));
        build.push(Arc::new(Below));
        Ok(())
    }
}

struct Above;

impl Plugin for Above {
    fn name(&self) -> &'static str {
        "above"
    }

    fn hooks(&self) -> Hooks {
        Hooks::RESPONSE
    }

    fn response(&self, query: &mut Query<'_>, response: &mut Response<'_>) -> Turn {
        ends().push((response.rcode(), query.octets_before()));
        Turn::Up
    }
}

/// QNAME's first letter says what happens: `t`ransfer, `p`anic at the third message, `s`low answer, at once.
struct Below;

impl Plugin for Below {
    fn name(&self) -> &'static str {
        "below"
    }

    fn query(&self, query: &mut Query<'_>, _: &mut Response<'_>) -> Result<Flow, Failure> {
        Ok(match query.name().octets().get(1) {
            Some(b't' | b'p') => Flow::Stream,
            Some(b's') => Flow::Suspend,
            _ => Flow::Answered,
        })
    }

    fn resolve(self: Arc<Self>, exchange: Box<Exchange>) -> Resolving {
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(50)).await;
            (exchange, Ok(Flow::Answered))
        })
    }

    fn stream(self: Arc<Self>, exchange: &mut Exchange) -> Box<dyn MessageSource> {
        let first = exchange.parsed.qname.name().octets().get(1).copied();
        Box::new(Source {
            sent: 0,
            panics: first == Some(b'p'),
        })
    }
}

struct Source {
    sent: usize,
    panics: bool,
}

impl MessageSource for Source {
    fn poll_next(
        &mut self,
        _: &mut Context<'_>,
        exchange: &mut Exchange,
    ) -> Poll<Result<Written, Failure>> {
        assert!(!self.panics || self.sent < 2, "on purpose");
        ASKED_FOR.fetch_add(1, Ordering::SeqCst);
        let (query, mut response) = exchange.suspended_views().expect("a query");
        let fixed = (Type::TXT, query.qclass(), self.sent as u32);
        let rdata = [&[255; 256][..], &[7; 256 * 62]].concat();
        let pushed = response.push(Section::Answer, query.name(), fixed, &rdata[..OCTETS]);
        pushed.expect("room");
        self.sent += 1;
        Poll::Ready(Ok(match self.sent {
            MESSAGES => Written::Last,
            _ => Written::More,
        }))
    }
}

/// One test at a time counts.
fn serve() -> (MutexGuard<'static, ()>, Server, SocketAddr) {
    static ALONE: Mutex<()> = Mutex::new(());
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let source = input::Source::Text {
        name: "Corefile".to_owned(),
        text: b". {\ntransfers\n}".to_vec(),
    };
    let server = Server::start(Options {
        catalogue: CATALOGUE,
        source,
        port: 0,
        pidfile: None,
        quiet: true,
        banner: String::new(),
        colour: false,
        takes_over: false,
        admin: crate::socket::AdminSocket::Off,
    })
    .map_err(|error| error.full)
    .expect("it starts");
    ends().clear();
    ASKED_FOR.store(0, Ordering::SeqCst);
    let at = SocketAddr::from((Ipv4Addr::LOCALHOST, server.port()));
    (alone, server, at)
}

/// A connection whose client takes little at a time.
fn connect(at: SocketAddr) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
    let socket = socket.expect("a socket");
    socket.set_recv_buffer_size(8_192).expect("a buffer");
    socket.connect(&at.into()).expect("a connection");
    let stream = TcpStream::from(socket);
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .expect("a timeout");
    stream
}

fn ask(stream: &mut TcpStream, qname: &str) {
    let message = query(0x0100, qname, 16, 0, &[]);
    let framed = [&(message.len() as u16).to_be_bytes()[..], &message].concat();
    stream.write_all(&framed).expect("sent");
}

/// The RCODE of the next message, the TTL of its record, and its length.
fn next(stream: &mut TcpStream) -> (Rcode, Option<u32>, usize) {
    let mut len = [0; 2];
    stream.read_exact(&mut len).expect("a length");
    let mut octets = vec![0; u16::from_be_bytes(len) as usize];
    stream.read_exact(&mut octets).expect("a message");
    let message = wire::Message::new(&octets).expect("a message");
    assert_eq!(message.header().id, 0x1234);
    let ttl = message
        .records()
        .next()
        .map(|record| record.expect("one").ttl);
    (message.rcode(), ttl, octets.len())
}

/// Waits for a condition.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(20), "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_slow_client_gets_every_message_and_little_is_kept_for_it() {
    let (_alone, _server, at) = serve();
    let mut stream = connect(at);
    // A query that waits is answered in between, and one that comes behind is not lost.
    ask(&mut stream, "slow.example.org.");
    ask(&mut stream, "transfer.example.org.");
    ask(&mut stream, "at-once.example.org.");
    // Nobody reads: the messages stop when the system's buffers are full.
    let (mut seen, mut since) = (0, Instant::now());
    until("the source rests", || {
        let asked_for = ASKED_FOR.load(Ordering::SeqCst);
        if asked_for != seen || asked_for == 0 {
            (seen, since) = (asked_for, Instant::now());
        }
        since.elapsed() > Duration::from_millis(250)
    });
    // 4 MiB is what Linux keeps for a connection at most (tcp_wmem); the whole response has 16 MB.
    assert!(seen < MESSAGES / 2, "{seen} messages of 16 KB");
    let (mut ttl, mut slow, mut octets) = (0, 0, 0);
    while ttl < MESSAGES as u32 {
        let (rcode, found, len) = next(&mut stream);
        assert_eq!(rcode, Rcode::NOERROR);
        match found {
            Some(found) => {
                assert_eq!(found, ttl, "in order");
                ttl += 1;
                octets += len as u64;
            }
            None => slow += 1,
        }
    }
    let last = (octets / MESSAGES as u64, Rcode::NOERROR);
    assert_eq!(next(&mut stream).1, None, "the query behind");
    assert_eq!(slow, 1);
    let heard = ends().clone();
    let whole = (last.1, octets - last.0);
    assert_eq!(heard.iter().filter(|end| **end == whole).count(), 1);
    assert_eq!(heard.len(), 3, "once a query");
}

#[test]
fn those_above_hear_that_a_client_left() {
    let (_alone, _server, at) = serve();
    let mut stream = connect(at);
    ask(&mut stream, "transfer.example.org.");
    next(&mut stream);
    drop(stream);
    until("the plugin above hears of it", || !ends().is_empty());
    let heard = ends().clone();
    assert_eq!(heard.len(), 1);
    assert_eq!(heard[0].0, Rcode::SERVFAIL);
    assert!(ASKED_FOR.load(Ordering::SeqCst) < MESSAGES / 2);
}

#[test]
fn a_plugin_that_panics_ends_its_response_and_nothing_else() {
    let (_alone, _server, at) = serve();
    let mut stream = connect(at);
    ask(&mut stream, "panic.example.org.");
    let rcodes = [(); 3].map(|()| next(&mut stream).0);
    assert_eq!(rcodes, [Rcode::NOERROR, Rcode::NOERROR, Rcode::SERVFAIL]);
    assert_eq!(ends().len(), 1);
    ask(&mut stream, "at-once.example.org.");
    assert_eq!(next(&mut stream).0, Rcode::NOERROR);
}

#[test]
fn udp_refuses() {
    let (_alone, _server, at) = serve();
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    socket
        .set_read_timeout(Some(Duration::from_secs(5)))
        .expect("a timeout");
    let message = query(0, "transfer.example.org.", 252, 0, &[]);
    socket.send_to(&message, at).expect("sent");
    let mut reply = [0; 512];
    socket.recv(&mut reply).expect("a reply");
    assert_eq!(Rcode(u16::from(reply[3] & 0xF)), Rcode::REFUSED);
    assert_eq!(ASKED_FOR.load(Ordering::SeqCst), 0);
}
