//! DNS over QUIC (RFC 9250): one query a stream, each answered for itself.
//!
//! What a client does against the protocol ends the connection (section 4.3.3): a message ID that is not 0, the option TCP-KEEPALIVE, a stream
//! that ends before its message does, more than one message. A stream that brings nothing for long is given up alone, and holds no more
//! than came on it.

use std::cell::{Cell, OnceCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use chain::setup::StreamLimits;
use chain::{Block, Exchange, Written};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use quinn::{Connection, ReadError, RecvStream, SendStream, VarInt};
use telemetry::metrics;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use wire::{EdnsOption, HEADER_LEN, Parsed};

use super::client::{Answer, Client};
use super::connection::{Accepted, Hold};
use super::framing;
use super::stream::Streams;

/// RFC 9250, section 4.3.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Code {
    NoError = 0,
    Internal = 1,
    Protocol = 2,
    ExcessiveLoad = 4,
    Unspecified = 5,
}

impl From<Code> for VarInt {
    fn from(code: Code) -> Self {
        Self::from_u32(code as u32)
    }
}

/// Why a stream has no answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Failed {
    /// The client has gone, or has taken its query back.
    Gone,
    /// This stream alone.
    Stream(Code),
    /// The whole connection.
    Connection(Code),
}

/// One connection.
struct Session {
    client: Client,
    limits: StreamLimits,
    /// The label of the listener in metrics.
    server: Arc<str>,
    /// Streams whose queries may be worked on at a time.
    turns: Semaphore,
    /// Streams that are open.
    open: Cell<usize>,
    /// Octets of messages that are not whole, and of answers.
    held: [Cell<usize>; 2],
    /// Counts answers; to find it takes a lock.
    answers: OnceCell<Counter>,
}

/// Octets that a stream holds.
struct Held<'a>(&'a Session, Hold, usize);

impl Held<'_> {
    fn grow(&mut self, octets: usize) {
        self.2 += octets;
        self.0
            .hold(self.1, self.0.held[self.1 as usize].get() + octets);
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0
            .hold(self.1, self.0.held[self.1 as usize].get() - self.2);
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    server: String,
    status: String,
}

/// Serves a connection to its end.
pub(crate) async fn serve(connection: Connection, accepted: Accepted, limits: StreamLimits) {
    let listener = accepted.listener.clone();
    let table = listener.table(&accepted.registration.worker.shared).await;
    let turns = match table.bounds.queries as usize {
        0 => Semaphore::MAX_PERMITS,
        turns => turns,
    };
    let session = Rc::new(Session {
        client: Client::new(accepted),
        limits,
        server: table.server.clone(),
        turns: Semaphore::new(turns),
        open: Cell::new(0),
        held: Default::default(),
        answers: OnceCell::new(),
    });
    drop(table);
    while listener.last_table().is_none() {
        let stream = tokio::select! {
            stream = connection.accept_bi() => stream,
            () = listener.closed.notified() => continue,
        };
        let Ok((send, receive)) = stream else { return };
        let (session, connection) = (session.clone(), connection.clone());
        session.open.set(session.open.get() + 1);
        session.active();
        session.client.spend(1);
        tokio::task::spawn_local(async move {
            session.answer(&connection, send, receive).await;
            session.open.set(session.open.get() - 1);
            session.active();
        });
    }
    // What is open is answered; whoever waits for it for too long has been told by then.
    while session.open.get() > 0 && connection.close_reason().is_none() {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    connection.close(Code::NoError.into(), b"");
}

impl Session {
    fn active(&self) {
        let idle = self.open.get() == 0 && self.client.is_idle();
        self.client.accepted.registration.active(idle);
    }

    fn hold(&self, hold: Hold, octets: usize) {
        self.held[hold as usize].set(octets);
        self.client.accepted.registration.holds(hold, octets);
    }

    fn count(&self, code: Code) {
        if code == Code::NoError {
            self.answers.get_or_init(|| self.counter(code)).inc();
        } else {
            self.counter(code).inc();
        }
    }

    fn counter(&self, code: Code) -> Counter {
        let family: Family<Labels, Counter> = metrics::family(
            "coredns_dns_quic_responses",
            "Counter of DoQ responses per server and QUIC application code.",
        );
        let labels = Labels {
            server: self.server.to_string(),
            status: format!("{:#x}", code as u32),
        };
        family.get_or_create(&labels).clone()
    }

    /// Answers one stream.
    async fn answer(&self, connection: &Connection, mut send: SendStream, mut receive: RecvStream) {
        let stopped = send.stopped();
        let gone = async {
            // All of it taken is no way to be gone.
            if let Ok(None) = stopped.await {
                std::future::pending().await
            }
        };
        let answered = tokio::select! {
            answered = self.exchange(&mut send, &mut receive) => answered,
            // The client has taken its query back (DOQ_REQUEST_CANCELLED), or the connection has ended.
            () = gone => Err(Failed::Gone),
        };
        match answered {
            Ok(()) => {
                let _ = send.finish();
                self.count(Code::NoError);
            }
            Err(Failed::Gone) => {}
            Err(Failed::Stream(code)) => {
                let _ = send.reset(code.into());
                let _ = receive.stop(code.into());
                self.count(code);
            }
            Err(Failed::Connection(code)) => {
                connection.close(code.into(), b"");
                self.count(code);
            }
        }
    }

    async fn exchange(
        &self,
        send: &mut SendStream,
        receive: &mut RecvStream,
    ) -> Result<(), Failed> {
        let mut held = Held(self, Hold::Received, 0);
        let reading = self.read(receive, &mut held);
        let framed = match timeout(self.limits.read, reading).await {
            Ok(read) => read?,
            Err(_) => return Err(Failed::Stream(Code::Unspecified)),
        };
        let message = &framed[2..];
        if !may_be_asked(message) {
            return Err(Failed::Connection(Code::Protocol));
        }
        let turn = self.turns.acquire().await;
        let answer = self.client.ask(message).await;
        drop((framed, held, turn));
        let mut held = Held(self, Hold::Answers, 0);
        match answer {
            Answer::One(exchange) => {
                let mut octets = Vec::new();
                framing::write(&mut octets, exchange.reply());
                self.client.accepted.registration.worker.recycle(exchange);
                held.grow(octets.len());
                self.write(send, &octets).await
            }
            Answer::Many(exchange, at) => self.write_all(send, exchange, (&at.0, at.1)).await,
            // Nobody answers: over UDP the client would hear nothing either.
            Answer::Silent => Err(Failed::Stream(Code::Internal)),
            Answer::TooMany => Err(Failed::Connection(Code::ExcessiveLoad)),
        }
    }

    /// Reads the stream's message, behind its length.
    async fn read(&self, receive: &mut RecvStream, held: &mut Held<'_>) -> Result<Vec<u8>, Failed> {
        // It grows with what comes, not with what was announced.
        let mut framed: Vec<u8> = Vec::new();
        let protocol = Failed::Connection(Code::Protocol);
        loop {
            let whole = wire::read_u16(&framed, 0).map(|len| 2 + usize::from(len));
            match whole {
                Some(whole) if whole < 2 + HEADER_LEN || framed.len() > whole => {
                    return Err(protocol);
                }
                Some(whole) if framed.len() == whole => break,
                _ => {}
            }
            match receive.read_chunk(usize::MAX, true).await {
                Ok(Some(chunk)) => {
                    held.grow(chunk.bytes.len());
                    framed.extend_from_slice(&chunk.bytes);
                }
                Ok(None) => return Err(protocol),
                Err(error) => return Err(failed(&error)),
            }
        }
        // The end of the stream may be on its way; more octets may not.
        let mut next = std::pin::pin!(receive.read_chunk(1, true));
        let next = poll_fn(|context| Poll::Ready(next.as_mut().poll(context))).await;
        match next {
            Poll::Ready(Ok(Some(_))) => Err(protocol),
            Poll::Ready(Err(error)) => Err(failed(&error)),
            Poll::Ready(Ok(None)) | Poll::Pending => Ok(framed),
        }
    }

    async fn write(&self, send: &mut SendStream, octets: &[u8]) -> Result<(), Failed> {
        match timeout(self.limits.write, send.write_all(octets)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Failed::Gone),
            Err(_) => Err(Failed::Stream(Code::ExcessiveLoad)),
        }
    }

    /// Writes a response of many messages, each when the one before has gone.
    async fn write_all(
        &self,
        send: &mut SendStream,
        exchange: Box<Exchange>,
        at: (&Arc<Block>, usize),
    ) -> Result<(), Failed> {
        let streams = Streams::default();
        streams.push(exchange, at);
        loop {
            let mut octets = Vec::new();
            let written = poll_fn(|context| {
                streams.poll_fill(context, |message| {
                    framing::write(&mut octets, message.reply())
                })
            });
            let written = written.await;
            let mut held = Held(self, Hold::Answers, 0);
            held.grow(octets.len());
            self.write(send, &octets).await?;
            if written == Written::Last {
                return Ok(());
            }
        }
    }
}

fn failed(error: &ReadError) -> Failed {
    match error {
        ReadError::Reset(_) | ReadError::ConnectionLost(_) => Failed::Gone,
        _ => Failed::Stream(Code::Internal),
    }
}

/// Whether a message may come over QUIC: with the ID 0 (section 4.2.1), and without TCP-KEEPALIVE (section 5.5.2). A response is no query.
fn may_be_asked(message: &[u8]) -> bool {
    let mut parsed = Parsed::default();
    let _ = parsed.read(message);
    let keeps_alive = parsed.edns.is_some_and(|edns| {
        edns.options_start < edns.options_end
            && edns
                .options(message)
                .any(|option| option.code == EdnsOption::TCP_KEEPALIVE)
    });
    wire::read_u16(message, 0) == Some(0) && message[2] & 0x80 == 0 && !keeps_alive
}
