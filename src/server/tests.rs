//! Real sockets on loopback, with plugins made for the purpose.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use chain::admin::{Endpoint, Page};
use chain::listen::Addresses;
use chain::setup::{BindWord, Build, BuildError, Catalogue, Entry, Parse, Registration, Setup};
use chain::{Cancel, Completion, Exchange, Failure, Flow, Hooks, Plugin, Query, Resolving, Turn};
use wire::{Rcode, Response, Section};

use crate::control::{Options, Server};
use crate::input::Source;
use crate::testing::query;

mod turns;
mod waiting;

/// What the test plugins are.
const CATALOGUE: Catalogue = &[
    entry("at"),
    entry("limits"),
    entry("page"),
    entry("fail"),
    entry("above"),
    entry("within"),
    entry("sheds"),
    entry("moves"),
    entry("say"),
    entry("orders"),
];

thread_local! {
    /// The list that the last `moves` of this thread was given.
    static MOVING: std::cell::RefCell<Option<Addresses>> = const { std::cell::RefCell::new(None) };
}

const fn entry(name: &'static str) -> Entry {
    Entry::Here(Registration {
        name,
        parse,
        handler: false,
    })
}

/// Keeps a directive's words for its build.
fn parse(parse: &mut Parse<'_>) -> Option<Box<dyn Setup>> {
    let directive = parse.directives[0];
    let words = directive
        .args
        .iter()
        .map(|token| (token.text.clone(), token.span))
        .collect();
    Some(Box::new(Words {
        name: parse.name,
        words,
    }))
}

struct Words {
    name: &'static str,
    words: Vec<(String, corefile::Span)>,
}

impl Setup for Words {
    fn build(self: Box<Self>, build: &mut Build<'_>) -> Result<(), BuildError> {
        let first = self.words.first().map_or("", |(word, _)| word);
        match self.name {
            "at" => {
                let word = |(word, span): &(String, _)| BindWord {
                    word: word.clone(),
                    except: false,
                    span: *span,
                };
                build
                    .config
                    .bind
                    .push(self.words.iter().map(word).collect());
            }
            "limits" => {
                build.config.streams.read = Duration::from_millis(200);
                build.config.streams.idle = Duration::from_millis(400);
                build.config.streams.queries = first.parse().ok();
            }
            "page" => {
                let text = first.to_owned();
                let path = self.words.get(1).map_or("/page", |_| "/other");
                build.serve(Endpoint {
                    plugin: "page",
                    address: SocketAddr::from(([127, 0, 0, 1], 0)),
                    path,
                    closes_first: true,
                    serve: Arc::new(move |_| Page::text(200, text.clone())),
                });
            }
            "above" => build.push(Arc::new(Above(first.parse().unwrap_or(0)))),
            "sheds" => build.config.counts_shed = true,
            "within" => build.push(Arc::new(Within(first.parse().unwrap_or(0)))),
            "moves" => {
                let list = Addresses::new(build.process.moved.clone());
                MOVING.set(Some(list.clone()));
                build.config.listen = Some(list);
            }
            "orders" => build.push(Arc::new(turns::Orders)),
            "fail" => return Err(BuildError::new("no such thing")),
            _ => build.push(Arc::new(Say {
                octet: first.parse().unwrap_or(0),
            })),
        }
        Ok(())
    }
}

/// Queries that went down past an [`Above`] of this number and have not come up.
static OPEN: [AtomicUsize; 16] = [const { AtomicUsize::new(0) }; 16];

/// Counts in [`OPEN`].
struct Above(usize);

impl Plugin for Above {
    fn name(&self) -> &'static str {
        "above"
    }

    fn hooks(&self) -> Hooks {
        Hooks::BOTH
    }

    fn query(&self, query: &mut Query<'_>, _: &mut Response<'_>) -> Result<Flow, Failure> {
        OPEN[self.0].fetch_add(1, Ordering::SeqCst);
        query.set_memo(7);
        Ok(Flow::Next)
    }

    fn response(&self, query: &mut Query<'_>, _: &mut Response<'_>) -> Turn {
        assert_eq!(query.memo(), 7, "what was kept is there");
        OPEN[self.0].fetch_sub(1, Ordering::SeqCst);
        Turn::Up
    }
}

/// Gives a query so many milliseconds.
struct Within(u64);

impl Plugin for Within {
    fn name(&self) -> &'static str {
        "within"
    }

    fn query(&self, query: &mut Query<'_>, _: &mut Response<'_>) -> Result<Flow, Failure> {
        query.set_deadline(query.received() + self.0 * 1_000_000);
        Ok(Flow::Next)
    }
}

/// Answers with 192.0.2.`octet`; the first letter of QNAME says how: `s`low, `n`ever, `p`anic, `l`ate panic, `k`ept without a task,
/// kept and then `w`aiting in one, `c`ancelled when somebody needs its place, `f`orgotten by whoever keeps it, `d`ropped,
/// `h`olding its worker up for a millisecond, a panic at launch before (`x`) or after (`y`) the exchange was taken, or at once.
struct Say {
    octet: u8,
}

/// Keeps queries until they are called back.
#[derive(Default)]
struct Keeper(RefCell<HashMap<u64, (Box<Exchange>, Completion)>>);

impl Keeper {
    /// Gives a query up.
    fn cancel(handle: u64, failure: Failure) -> bool {
        let kept = KEEPER.with(|keeper| keeper.0.borrow_mut().remove(&handle));
        if let Some((exchange, completion)) = kept {
            completion.complete(exchange, Err(failure));
            return true;
        }
        false
    }
}

thread_local! {
    static KEEPER: Keeper = Keeper::default();
}

impl Say {
    fn answer(&self, response: &mut Response<'_>) {
        let record = [
            0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 192, 0, 2, self.octet,
        ];
        let _ = response.push_octets(Section::Answer, &record, 1);
    }
}

impl Plugin for Say {
    fn name(&self) -> &'static str {
        "say"
    }

    fn query(&self, query: &mut Query<'_>, response: &mut Response<'_>) -> Result<Flow, Failure> {
        match query.name().octets().get(1) {
            Some(b's' | b'n' | b'l' | b'k' | b'w' | b'x' | b'y' | b'c' | b'd' | b'f') => {
                return Ok(Flow::Suspend);
            }
            Some(b'p') => panic!("on purpose"),
            Some(b'h') => {
                std::thread::sleep(Duration::from_millis(1));
                self.answer(response);
            }
            _ => self.answer(response),
        }
        Ok(Flow::Answered)
    }

    fn launch(self: Arc<Self>, place: &mut Option<Box<Exchange>>, completion: Completion) {
        let letter = place
            .as_ref()
            .and_then(|exchange| exchange.parsed.qname.name().octets().get(1).copied());
        match letter {
            Some(b'x') => panic!("on purpose, at launch"),
            Some(b'y') => {
                let _taken = place.take();
                panic!("on purpose, with the exchange");
            }
            Some(b'd') => drop(place.take()),
            Some(letter @ (b'c' | b'f')) => KEEPER.with(|keeper| {
                let exchange = place.take().expect("an exchange");
                let mut kept = keeper.0.borrow_mut();
                let token = kept.len() as u64 + u64::from(exchange.parsed.id) * 1_000;
                if letter == b'c' {
                    completion.cancel_by(Cancel::new(token, Keeper::cancel));
                }
                kept.insert(token, (exchange, completion));
            }),
            Some(letter @ (b'k' | b'w')) => {
                let mut exchange = place.take().expect("an exchange");
                tokio::task::spawn_local(async move {
                    tokio::task::yield_now().await;
                    if letter == b'w' {
                        return completion
                            .wait(exchange, Box::new(|exchange| self.resolve(exchange)));
                    }
                    self.answer(&mut exchange.response());
                    completion.complete(exchange, Ok(Flow::Answered));
                });
            }
            _ => {}
        }
    }

    fn resolve(self: Arc<Self>, mut exchange: Box<Exchange>) -> Resolving {
        Box::pin(async move {
            match exchange.parsed.qname.name().octets().get(1) {
                Some(b'n') => tokio::time::sleep(Duration::from_secs(30)).await,
                Some(b'l') => panic!("on purpose, late"),
                _ => tokio::time::sleep(Duration::from_millis(150)).await,
            }
            self.answer(&mut exchange.response());
            (exchange, Ok(Flow::Answered))
        })
    }
}

/// Waits until something is so.
fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(10), "in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Waits until so many queries are below an [`Above`].
fn until_open(above: usize, count: usize) {
    eventually("queries that wait", || {
        OPEN[above].load(Ordering::SeqCst) == count
    });
}

fn text(text: &str) -> Source {
    Source::Text {
        name: "Corefile".to_owned(),
        text: text.as_bytes().to_vec(),
    }
}

fn start(corefile: &str) -> Result<Server, String> {
    Server::start(Options {
        catalogue: CATALOGUE,
        source: text(corefile),
        port: 0,
        pidfile: None,
        quiet: true,
        banner: String::new(),
        colour: false,
        takes_over: false,
        admin: crate::socket::AdminSocket::Off,
    })
    .map_err(|error| error.full)
}

/// A server on loopback, and its port.
fn serve(corefile: &str) -> (Server, u16) {
    let server = start(corefile).expect("it starts");
    let port = server.port();
    (server, port)
}

fn client(port: u16) -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    socket.connect((Ipv4Addr::LOCALHOST, port)).expect("a peer");
    socket
        .set_read_timeout(Some(Duration::from_secs(3)))
        .expect("a timeout");
    socket
}

fn ask(socket: &UdpSocket, qname: &str) -> Vec<u8> {
    socket.send(&query(0x0100, qname, 1, 0, &[])).expect("sent");
    let mut reply = vec![0; 4_096];
    let len = socket.recv(&mut reply).expect("an answer");
    reply.truncate(len);
    reply
}

fn rcode(reply: &[u8]) -> Rcode {
    Rcode(u16::from(reply[3] & 0xF))
}

/// A query for TCP, with an ID.
fn framed(id: u16, qname: &str) -> Vec<u8> {
    let mut message = query(0x0100, qname, 1, 0, &[]);
    message[..2].copy_from_slice(&id.to_be_bytes());
    let mut out = (message.len() as u16).to_be_bytes().to_vec();
    out.extend_from_slice(&message);
    out
}

fn read_framed(stream: &mut TcpStream) -> std::io::Result<(u16, Vec<u8>)> {
    let mut len = [0; 2];
    stream.read_exact(&mut len)?;
    let mut reply = vec![0; u16::from_be_bytes(len) as usize];
    stream.read_exact(&mut reply)?;
    Ok((u16::from_be_bytes([reply[0], reply[1]]), reply))
}

fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("a connection");
    stream
        .set_read_timeout(Some(Duration::from_secs(3)))
        .expect("a timeout");
    stream
}

#[test]
fn datagrams_are_answered_whatever_comes() {
    let (_server, port) = serve(". {\nat 127.0.0.1\nsay 7\n}");
    let socket = client(port);
    assert_eq!(ask(&socket, "a.example.org.").last(), Some(&7));
    assert_eq!(ask(&socket, "s.example.org.").last(), Some(&7));
    // Junk gets nothing, a long datagram FORMERR, and the next query its answer.
    socket.send(&[1, 2, 3]).expect("sent");
    socket.send(&[]).expect("sent");
    let mut long = query(0, "a.example.org.", 1, 0, &[]);
    long.resize(5_000, 0);
    socket.send(&long).expect("sent");
    let mut reply = [0; 512];
    let len = socket.recv(&mut reply).expect("an answer");
    assert_eq!((len, rcode(&reply)), (12, Rcode::FORMERR));
    assert_eq!(ask(&socket, "a.example.org.").last(), Some(&7));
}

#[test]
fn answers_leave_from_the_address_that_was_asked() {
    let (_server, port) = serve(". {\nsay 7\n}");
    for (own, asked) in [("127.0.0.1:0", "127.0.0.2"), ("[::1]:0", "::1")] {
        let Ok(socket) = UdpSocket::bind(own) else {
            continue;
        };
        socket
            .set_read_timeout(Some(Duration::from_secs(3)))
            .unwrap();
        let to = SocketAddr::new(asked.parse().unwrap(), port);
        for qname in ["a.example.org.", "s.example.org."] {
            socket
                .send_to(&query(0, qname, 1, 0, &[]), to)
                .expect("sent");
            let (_, from) = socket.recv_from(&mut [0; 512]).expect("an answer");
            assert_eq!(from, to);
        }
    }
}

#[test]
fn panics_cost_one_answer() {
    let (_server, port) = serve(". {\nat 127.0.0.1\nsay 7\n}");
    let before = telemetry::metrics::panics().get();
    for socket in [client(port), client(port)] {
        assert_eq!(rcode(&ask(&socket, "p.example.org.")), Rcode::SERVFAIL);
        assert_eq!(rcode(&ask(&socket, "late.example.org.")), Rcode::SERVFAIL);
        assert_eq!(ask(&socket, "a.example.org.").last(), Some(&7));
    }
    assert!(telemetry::metrics::panics().get() >= before + 4);
}

#[test]
fn streams_answer_in_the_order_of_readiness() {
    let (_server, port) = serve(". {\nat 127.0.0.1\nsay 7\n}");
    let mut stream = connect(port);
    let mut both = framed(1, "slow.example.org.");
    both.extend_from_slice(&framed(2, "a.example.org."));
    stream.write_all(&both).expect("sent");
    stream
        .shutdown(std::net::Shutdown::Write)
        .expect("half closed");
    assert_eq!(read_framed(&mut stream).unwrap().0, 2);
    let (id, reply) = read_framed(&mut stream).unwrap();
    assert_eq!((id, reply.last()), (1, Some(&7)));
    assert_eq!(
        stream.read(&mut [0; 1]).unwrap(),
        0,
        "closed after the last answer"
    );
}

#[test]
fn streams_take_messages_in_any_pieces() {
    let (_server, port) = serve(". {\nat 127.0.0.1\nsay 7\n}");
    let mut stream = connect(port);
    stream.set_nodelay(true).unwrap();
    for octet in framed(9, "a.example.org.") {
        stream.write_all(&[octet]).expect("sent");
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(read_framed(&mut stream).unwrap().0, 9);
    let many: Vec<u8> = (0..2_000)
        .flat_map(|id| framed(id, "a.example.org."))
        .collect();
    let mut writer = stream.try_clone().unwrap();
    let sender = std::thread::spawn(move || writer.write_all(&many));
    for id in 0..2_000 {
        assert_eq!(read_framed(&mut stream).unwrap().0, id);
    }
    sender.join().unwrap().expect("sent");
    let mut panics = framed(3, "late.example.org.");
    panics.extend_from_slice(&framed(4, "p.example.org."));
    stream.write_all(&panics).expect("sent");
    for _ in 0..2 {
        assert_eq!(rcode(&read_framed(&mut stream).unwrap().1), Rcode::SERVFAIL);
    }
    // A length that no message can have ends the connection.
    stream.write_all(&[0, 3, 1, 2, 3]).expect("sent");
    assert!(matches!(stream.read(&mut [0; 1]), Ok(0) | Err(_)));
}

#[test]
fn streams_end_in_time() {
    let (_server, port) = serve(". {\nat 127.0.0.1\nlimits 3\nsay 7\n}");
    let mut idle = connect(port);
    let mut partial = connect(port);
    partial.write_all(&[0, 40, 1]).expect("sent");
    let begun = Instant::now();
    assert!(matches!(partial.read(&mut [0; 1]), Ok(0) | Err(_)));
    assert!(
        begun.elapsed() < Duration::from_millis(380),
        "the read timeout: {:?}",
        begun.elapsed()
    );
    assert!(matches!(idle.read(&mut [0; 1]), Ok(0) | Err(_)));
    assert!(
        begun.elapsed() >= Duration::from_millis(300),
        "the idle timeout: {:?}",
        begun.elapsed()
    );
    let mut counted = connect(port);
    let four: Vec<u8> = (0..4).flat_map(|id| framed(id, "a.example.org.")).collect();
    counted.write_all(&four).expect("sent");
    for id in 0..3 {
        assert_eq!(read_framed(&mut counted).unwrap().0, id);
    }
    assert!(
        read_framed(&mut counted).is_err(),
        "the fourth query is one too many"
    );
}

#[test]
fn reloads_lose_nothing() {
    let (mut server, port) = serve(". {\nat 127.0.0.1\nabove 4\nsay 1\n}");
    let stop = Arc::new(AtomicBool::new(false));
    let asking: Vec<_> = (0..2)
        .map(|_| {
            let stop = stop.clone();
            std::thread::spawn(move || {
                let socket = client(port);
                let mut count = 0;
                while !stop.load(Ordering::Relaxed) {
                    let reply = ask(&socket, "a.example.org.");
                    assert_eq!(rcode(&reply), Rcode::NOERROR);
                    assert!(matches!(reply.last(), Some(1..=2)));
                    count += 1;
                }
                count
            })
        })
        .collect();
    let mut stream = connect(port);
    stream
        .write_all(&framed(1, "slow.example.org."))
        .expect("sent");
    // Beside the two that ask all the time.
    eventually("the slow query to wait", || {
        (0..50).all(|_| OPEN[4].load(Ordering::SeqCst) > 0)
    });
    for i in 0..20 {
        let corefile = format!(". {{\nat 127.0.0.1\nsay {}\n}}", 2 - i % 2);
        server.reload_from(text(&corefile)).expect("a reload");
    }
    assert_eq!(ask(&client(port), "a.example.org.").last(), Some(&1));
    // What waited is answered by the state that it was asked of; the connection goes on with the new one.
    assert_eq!(read_framed(&mut stream).unwrap().1.last(), Some(&1));
    server
        .reload_from(text(". {\nat 127.0.0.1\nsay 2\n}"))
        .expect("a reload");
    stream
        .write_all(&framed(2, "a.example.org."))
        .expect("sent");
    assert_eq!(read_framed(&mut stream).unwrap().1.last(), Some(&2));
    stop.store(true, Ordering::Relaxed);
    for thread in asking {
        assert!(thread.join().expect("no query was lost") > 0);
    }
}

#[test]
fn broken_reloads_change_nothing() {
    let (mut server, port) = serve(". {\nat 127.0.0.1\nsay 1\n}");
    for (broken, why) in [
        (
            ". {\nat 127.0.0.1\nsya 2\n}",
            "Corefile:3 - Unknown directive 'sya'",
        ),
        (
            ". {\nat 127.0.0.1\nfail\n}",
            "plugin/fail: Corefile:3 - no such thing",
        ),
        (
            ". {\nat 192.0.2.1\nsay 2\n}",
            "listen udp 192.0.2.1:0: bind: ",
        ),
        ("# all gone\n", "Corefile: no server block"),
        ("quic://. {\nsay 2\n}", "requires TLS"),
    ] {
        let error = server.reload_from(text(broken)).expect_err(broken);
        assert!(error.contains(why), "{error}");
        assert_eq!(server.shared.failure().as_deref(), Some(error.as_str()));
        assert_eq!(ask(&client(port), "a.example.org.").last(), Some(&1));
    }
    server
        .reload_from(text(". {\nat 127.0.0.1\nsay 2\n}"))
        .expect("a reload");
    assert_eq!(*server.shared.failure(), None);
    assert_eq!(ask(&client(port), "a.example.org.").last(), Some(&2));
}

#[test]
fn vanished_listeners_answer_what_waits_and_close() {
    let (mut server, port) = serve(". {\nat 127.0.0.1\nabove 5\nsay 1\n}");
    let (socket, mut stream) = (client(port), connect(port));
    socket
        .send(&query(0, "slow.example.org.", 1, 0, &[]))
        .expect("sent");
    stream
        .write_all(&framed(5, "slow.example.org."))
        .expect("sent");
    until_open(5, 2);
    server
        .reload_from(text(". {\nat 127.0.0.2\nsay 2\n}"))
        .expect("a reload");
    let mut reply = [0; 512];
    let len = socket.recv(&mut reply).expect("what waited is answered");
    assert_eq!(reply[..len].last(), Some(&1));
    assert_eq!(read_framed(&mut stream).unwrap().1.last(), Some(&1));
    assert!(matches!(stream.read(&mut [0; 1]), Ok(0) | Err(_)));
    eventually("the listener to be closed", || {
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err()
    });
}

#[test]
fn addresses_that_move_are_followed_and_hold_nothing_up() {
    let probe = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    let port = probe.local_addr().unwrap().port();
    let asked = |last: u8| -> Option<u8> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
        socket
            .connect((Ipv4Addr::new(127, 0, 0, last), port))
            .ok()?;
        socket.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
        socket.send(&query(0, "www.example.org.", 1, 0, &[])).ok()?;
        let mut reply = [0; 512];
        let len = socket.recv(&mut reply).ok()?;
        reply[..len].last().copied()
    };
    let held = UdpSocket::bind((Ipv4Addr::new(127, 0, 0, 9), port)).expect("a socket");
    drop(probe);
    // One block listens on what moves alone; the other has an address of its own, and both share it when it comes.
    let corefile =
        format!("a.org:{port} {{\nat 127.0.0.1\nsay 1\n}}\n.:{port} {{\nmoves\nsay 7\n}}");
    let mut server = start(&corefile).expect("it starts");
    let list = MOVING.take().expect("a list");
    let last = |octets: &[u8]| {
        let addresses = octets
            .iter()
            .map(|&last| Ipv4Addr::new(127, 0, 0, last).into());
        addresses.collect::<Vec<std::net::IpAddr>>()
    };
    assert_eq!((asked(7), asked(1)), (None, Some(REFUSED)));
    list.set(last(&[1, 7, 9]));
    server.relisten();
    assert_eq!((asked(7), asked(1), asked(9)), (Some(7), Some(7), None));
    drop(held);
    server.relisten();
    assert_eq!((asked(7), asked(9)), (Some(7), Some(7)));
    list.set(vec![
        "192.0.2.99".parse().unwrap(),
        Ipv4Addr::new(127, 0, 0, 9).into(),
    ]);
    server.relisten();
    eventually("the old address to be closed", || asked(7).is_none());
    assert_eq!(asked(9), Some(7));
    list.set(Vec::new());
    server.relisten();
    eventually("the last address to be closed", || asked(9).is_none());
}

/// The last octet of a response without records: the class in its question.
const REFUSED: u8 = 1;

#[test]
fn the_end_waits_for_what_waits() {
    let (mut server, port) = serve(". {\nat 127.0.0.1\nabove 6\nsay 1\n}");
    let socket = client(port);
    socket
        .send(&query(0, "slow.example.org.", 1, 0, &[]))
        .expect("sent");
    until_open(6, 1);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let begun = Instant::now();
    runtime.block_on(server.stop());
    assert!(
        begun.elapsed() < Duration::from_secs(2),
        "{:?}",
        begun.elapsed()
    );
    assert!(socket.recv(&mut [0; 512]).is_ok());
    let place = crate::listener::socket::Place {
        scheme: corefile::key::Scheme::Dns,
        host: "127.0.0.1".into(),
        ip: Some(Ipv4Addr::LOCALHOST.into()),
        scope: 0,
        port,
    };
    let how = crate::listener::socket::How {
        waits: false,
        shares: false,
    };
    assert!(place.bind(chain::Carrier::Datagram, how).is_ok());
}

#[test]
fn blocks_that_contend_are_refused() {
    for (corefile, why) in [
        (
            ".:0 {\n}\n.:0 {\n}",
            "cannot serve dns://.:0 - it is already defined",
        ),
        (
            "a.org {\nat 127.0.0.1\n}\na.org:0 {\nat 127.0.0.1\n}",
            "cannot serve dns://a.org.:0 on 127.0.0.1 - it is already defined",
        ),
        (
            "a.org:0 {\n}\na.org {\nat 127.0.0.1\n}",
            "cannot serve dns://a.org.:0 on 127.0.0.1 - zone overlap listener capacity with dns://a.org.:0",
        ),
        (
            ". {\nat nowhere0\n}",
            "not a valid IP address or interface name: \"nowhere0\"",
        ),
    ] {
        let error = start(corefile).err().unwrap_or_default();
        assert!(error.contains(why), "{error}");
    }
    let held = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    let port = held.local_addr().unwrap().port();
    let error = start(&format!(".:{port} {{\nat 127.0.0.1\n}}"))
        .err()
        .unwrap_or_default();
    assert!(error.contains("is held on 127.0.0.1 by "), "{error}");
}

#[test]
fn pages_are_swapped_and_their_listener_stays() {
    let (mut server, _) = serve(". {\nat 127.0.0.1\npage one\n}");
    let address = server.admin_address().expect("a page");
    let get = |path: &str| {
        let mut stream = TcpStream::connect(address).expect("a connection");
        stream
            .set_read_timeout(Some(Duration::from_secs(3)))
            .unwrap();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        .expect("sent");
        let mut reply = String::new();
        stream.read_to_string(&mut reply).expect("an answer");
        reply
    };
    assert!(get("/page").ends_with("one"));
    assert!(get("/other").starts_with("HTTP/1.1 404"));
    server
        .reload_from(text(". {\nat 127.0.0.1\npage two\n}"))
        .expect("a reload");
    assert!(get("/page?x=1").ends_with("two"));
    // A request without an end is not taken.
    let mut flood = TcpStream::connect(address).expect("a connection");
    let line = format!("X-Long: {}\r\n", "x".repeat(1_000));
    let _ = flood.write_all(b"GET /page HTTP/1.1\r\n");
    let refused = (0..1_000).any(|_| flood.write_all(line.as_bytes()).is_err());
    // What is left of the reply is lost where the connection is reset.
    let mut reply = Vec::new();
    let _ = flood.read_to_end(&mut reply);
    assert!(refused || reply.is_empty() || reply.starts_with(b"HTTP/1.1 431"));
    server
        .reload_from(text(". {\nat 127.0.0.1\n}"))
        .expect("a reload");
    eventually("the pages to be closed", || {
        TcpStream::connect(address).is_err()
    });
}
