//! `forward` against scripted upstreams on real sockets.

mod batches;
mod failures;
mod https;
mod queries;
mod quic;
mod setups;
mod streams;
mod upstreams;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::Future;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use chain::admin::Process;
use chain::setup::{Catalogue, Entry};
use chain::{
    Block, BlockInfo, Cancel, Completes, Completion, Ending, Exchange, Failure, Flow, Flush,
    Outcome, Rest, Transport,
};
use corefile::{Memory, Report};
use tokio::sync::oneshot;
use wire::{Header, NameBuf, Rcode, Type};

const CATALOGUE: Catalogue = &[Entry::Here(super::REGISTRATION)];

/// Reads and validates a Corefile.
fn plan(text: &str) -> (Vec<chain::setup::PlannedBlock>, Report) {
    let (corefile, mut report) =
        corefile::parse("Corefile", text.as_bytes().to_vec(), &Memory::new());
    let planned = chain::setup::plan(&corefile, CATALOGUE, &mut report);
    (planned, report)
}

/// Builds the first block of a Corefile.
fn build(text: &str) -> Result<Arc<Block>, String> {
    let (planned, report) = plan(text);
    if let Some(first) = report
        .iter()
        .find(|d| d.severity == corefile::Severity::Error)
    {
        return Err(first.message.clone());
    }
    let mut process = Process::default();
    let built = chain::setup::build(planned, CATALOGUE, &mut process).map_err(|e| e.message)?;
    let block = built.into_iter().next().expect("a block");
    let info = BlockInfo {
        index: 0,
        server: "dns://:53".into(),
        zone: ".".into(),
        origin: NameBuf::root(),
        view: "".into(),
        plugins: Arc::from(["forward"]),
        debug: false,
    };
    Ok(Arc::new(Block::new(info, block.chain)))
}

/// Runs a future as a worker would.
fn on_worker<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    tokio::task::LocalSet::new().block_on(&runtime, work)
}

/// A query: RD, class IN.
fn query(name: &str, qtype: Type) -> Vec<u8> {
    let name: NameBuf = name.parse().expect("a name");
    upstream::message::question(0x4242, &name, qtype, true)
}

/// A response as the client sees it.
#[derive(Debug)]
struct Got {
    octets: Vec<u8>,
    rcode: Rcode,
    failure: Option<String>,
    extended: Option<u16>,
}

impl Got {
    fn header(&self) -> Header {
        Header::read(&self.octets).expect("a header")
    }

    /// The last octet of the first answer's RDATA.
    fn mark(&self) -> Option<u8> {
        let message = wire::Message::new(&self.octets)?;
        let record = message.records().next()?.ok()?;
        record.rdata().last().copied()
    }
}

thread_local! {
    /// What leaves at the end of the batch, while there is one.
    static BATCH: RefCell<Option<Vec<Rc<dyn Flush>>>> = const { RefCell::new(None) };
}

thread_local! {
    /// How to have the last query back that was launched.
    static CANCEL: Cell<Option<Cancel>> = const { Cell::new(None) };
}

/// A listener for one query.
struct Listener(RefCell<Option<oneshot::Sender<Box<Exchange>>>>);

impl Listener {
    fn put(&self, (exchange, ending): (Box<Exchange>, Ending)) {
        assert_eq!(ending, Ending::Respond);
        let client = self.0.borrow_mut().take().expect("one end a query");
        // The client may have been aborted.
        let _ = client.send(exchange);
    }
}

impl Completes for Listener {
    fn flush_later(&self, flush: Rc<dyn Flush>) -> bool {
        BATCH.with_borrow_mut(|batch| batch.as_mut().map(|batch| batch.push(flush)).is_some())
    }

    fn cancel_by(&self, _: u32, cancel: Cancel) {
        CANCEL.set(Some(cancel));
    }

    fn complete(self: Rc<Self>, _: u32, mut exchange: Box<Exchange>, flow: Result<Flow, Failure>) {
        let (block, step) = exchange.take_suspended().expect("a suspended query");
        match exchange.complete((&block, step), flow) {
            Outcome::Respond => self.put((exchange, Ending::Respond)),
            Outcome::Silent | Outcome::Stream(_) => panic!("nobody answered"),
            Outcome::Suspended(next) => {
                tokio::task::spawn_local(async move {
                    self.put(chain::resume(exchange, block, next).await);
                });
            }
        }
    }

    fn wait(self: Rc<Self>, _: u32, exchange: Box<Exchange>, rest: Rest) {
        let at = exchange.suspended_at().expect("a suspended query");
        let (block, step) = (at.0.clone(), at.1);
        tokio::task::spawn_local(async move {
            self.put(chain::resume_by(rest(exchange), block, step).await);
        });
    }

    fn abandon(&self, _: u32) {}
}

/// Takes a suspended query to its end as a UDP listener does.
async fn launched(block: &Arc<Block>, exchange: Box<Exchange>, at: usize) -> Box<Exchange> {
    let (tell, told) = oneshot::channel();
    let completion = Completion::new(Rc::new(Listener(RefCell::new(Some(tell)))), 0);
    let mut place = Some(exchange);
    chain::launch(&mut place, (block, at), completion);
    match place {
        None => told.await.expect("an end"),
        Some(exchange) => {
            let (exchange, ending) = chain::resume(exchange, block.clone(), at).await;
            assert_eq!(ending, Ending::Respond);
            exchange
        }
    }
}

/// Asks a block, as by `transport`.
async fn ask_by(block: &Arc<Block>, message: &[u8], transport: Transport) -> Got {
    let mut exchange = match transport {
        Transport::Udp => Exchange::datagram(),
        _ => Exchange::stream(),
    };
    exchange.receive_buffer(message.len())[..message.len()].copy_from_slice(message);
    exchange.set_received(message.len());
    exchange.context.transport = transport;
    exchange.parse().expect("a query");
    let exchange = match exchange.walk(block) {
        Outcome::Suspended(at) => launched(block, exchange, at).await,
        Outcome::Respond => exchange,
        Outcome::Silent | Outcome::Stream(_) => panic!("nobody answered"),
    };
    let mut exchange = exchange;
    assert_eq!(
        exchange.message(),
        message,
        "the query's octets are as they came"
    );
    let extended = exchange.context.extended.as_ref().map(|e| e.code);
    let failure = exchange
        .views(block)
        .0
        .failure()
        .map(|f| f.cause.to_string());
    let mut response = exchange.response();
    response.seal();
    Got {
        rcode: response.rcode(),
        octets: response.octets().to_vec(),
        failure,
        extended,
    }
}

async fn ask(block: &Arc<Block>, name: &str) -> Got {
    ask_by(block, &query(name, Type::A), Transport::Udp).await
}

/// A reply to `query`: one A record 192.0.2.`mark`.
fn reply(query: &[u8], mark: u8) -> Vec<u8> {
    let end = wire::skip_name(query, 12).expect("a name") + 4;
    let mut out = query[..end].to_vec();
    out[2] |= 0x80;
    out[3] |= 0x80;
    out[4..12].copy_from_slice(&[0, 1, 0, 1, 0, 0, 0, 0]);
    out.extend_from_slice(&[0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, mark]);
    out
}

/// A reply without records.
fn bare(query: &[u8], rcode: u8) -> Vec<u8> {
    let end = wire::skip_name(query, 12).expect("a name") + 4;
    let mut out = query[..end].to_vec();
    out[2] |= 0x80;
    out[3] = out[3] & 0xF0 | rcode;
    out[4..12].copy_from_slice(&[0, 1, 0, 0, 0, 0, 0, 0]);
    out
}

/// A free port on loopback.
fn bound() -> UdpSocket {
    UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket")
}

/// Who sent which query.
type Log = Vec<(SocketAddr, Vec<u8>)>;

/// What an upstream saw.
#[derive(Clone, Default)]
struct Seen {
    queries: Arc<AtomicUsize>,
    log: Arc<Mutex<Log>>,
}

impl Seen {
    fn count(&self) -> usize {
        self.queries.load(Ordering::SeqCst)
    }
}

/// Serves `socket` on a thread: every query becomes the datagrams that `script` gives.
fn serve(
    socket: UdpSocket,
    mut script: impl FnMut(usize, &[u8]) -> Vec<Vec<u8>> + Send + 'static,
) -> (SocketAddr, Seen) {
    let address = socket.local_addr().expect("an address");
    let seen = Seen::default();
    let log = seen.clone();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok((len, from)) = socket.recv_from(&mut buffer) {
            let number = log.queries.fetch_add(1, Ordering::SeqCst);
            log.log
                .lock()
                .expect("a log")
                .push((from, buffer[..len].to_vec()));
            for datagram in script(number, &buffer[..len]) {
                let _ = socket.send_to(&datagram, from);
            }
        }
    });
    (address, seen)
}

/// An upstream that answers everything with `mark`.
fn honest(mark: u8) -> (SocketAddr, Seen) {
    serve(bound(), move |_, query| vec![reply(query, mark)])
}

/// Reads one framed message.
fn read_frame(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut len = [0; 2];
    stream.read_exact(&mut len).ok()?;
    let mut message = vec![0; u16::from_be_bytes(len) as usize];
    stream.read_exact(&mut message).ok()?;
    Some(message)
}

/// Frames a message.
fn frame(message: &[u8]) -> Vec<u8> {
    let mut out = (message.len() as u16).to_be_bytes().to_vec();
    out.extend_from_slice(message);
    out
}

/// Serves TCP on a thread, a thread a connection; `script` gets the connection and its number.
fn serve_tcp(
    listener: TcpListener,
    script: impl Fn(usize, TcpStream) + Send + Sync + 'static,
) -> (SocketAddr, Arc<AtomicUsize>) {
    let address = listener.local_addr().expect("an address");
    let connections = Arc::new(AtomicUsize::new(0));
    let (count, script) = (connections.clone(), Arc::new(script));
    std::thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            let number = count.fetch_add(1, Ordering::SeqCst);
            let script = script.clone();
            std::thread::spawn(move || script(number, stream));
        }
    });
    (address, connections)
}

fn tcp() -> TcpListener {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a listener")
}
