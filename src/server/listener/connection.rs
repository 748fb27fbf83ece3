//! A connection of Do53 over TCP (RFC 7766), or of any stream that carries messages behind their lengths: pipelined queries, answers in
//! the order in which they are ready.
//!
//! ```text
//! stream ─► the worker's scratch ─► Frames ─► answer ─► finish ─► Answers ─► stream
//!                                               └ waits, in a task ─┘
//! ```
//!
//! A connection is one task. It reads what came, answers each whole message, and writes all answers that are ready at once, each
//! behind its length. While it writes it does not read, and while [`PIPELINED`] of its queries wait it does not either: a peer that
//! does not take its answers stops being read. A connection without a query holds no buffer, and what one holds is counted
//! ([`Registration`]). After [`TURN`] messages the other tasks of the worker have theirs, so that a peer that never pauses delays others
//! by no more than that; how much all connections take before them is in [`super::turns`].
//!
//! It knows a stream by `AsyncRead` and `AsyncWrite` only: TLS is a stream around another one.

use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{self, Poll, ready};
use std::time::Duration;

use chain::{Block, Encryption, Exchange, Transport, Written};
use host::clock;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};

use super::framing::{self, Frame, Frames};
use super::places::Place;
use super::stream::Streams;
use crate::admission::{PIPELINED, Ticket};
use crate::answer::{Verdict, answer};
use crate::finish::finish;
use crate::route::Table;
use crate::worker::{Listener, Worker};

/// Octets of answers that are gathered before they are written.
const GATHERED: usize = 64 * 1024;
/// Messages that are taken before other tasks of the worker get their turn.
const TURN: usize = 64;
/// Octets of queries that are taken in when the listener closes.
const LAST_LOOK: usize = 2 * 65_537;
/// How long a peer that has sent an invalid length may take to close.
const LINGER: Duration = Duration::from_secs(1);

/// A connection as whoever speaks on it has it.
pub(crate) struct Accepted {
    pub(crate) listener: Rc<Listener>,
    pub(crate) registration: Registration,
    /// The two ends, the client's first.
    pub(crate) ends: (SocketAddr, SocketAddr),
    pub(crate) transport: Transport,
    /// The TLS around the messages.
    pub(crate) encryption: Encryption,
}

/// A connection's entry at admission, and how many octets it holds.
pub(crate) struct Registration {
    pub(crate) worker: Rc<Worker>,
    ticket: Ticket,
    /// The room that is held by what came, by answers, and by what is being written.
    held: [Cell<usize>; 3],
    /// Whether the connection is open; queries of it may wait longer.
    open: Cell<bool>,
    /// Its place at its listener, where those are bounded.
    pub(crate) place: Option<Place>,
}

/// What a connection holds octets for.
#[derive(Clone, Copy)]
pub(crate) enum Hold {
    Received,
    Answers,
    Written,
}

impl Registration {
    pub(crate) fn new(worker: Rc<Worker>, ticket: Ticket) -> Self {
        Self {
            worker,
            ticket,
            held: Default::default(),
            open: Cell::new(true),
            place: None,
        }
    }

    /// Says how much is held for one thing; [`crate::admission`] may close this connection for it, or another.
    pub(crate) fn holds(&self, hold: Hold, octets: usize) {
        if self.held[hold as usize].replace(octets) != octets && self.open.get() {
            let held = self.held.iter().map(Cell::get).sum();
            self.worker.admission.holds(self.ticket, held);
        }
    }

    /// Says that something came or left, and whether no query waits.
    pub(crate) fn active(&self, idle: bool) {
        if self.open.get() {
            self.worker.admission.active(self.ticket, idle);
            if let Some(place) = &self.place {
                place.active(idle);
            }
        }
    }

    /// Says that the connection has ended.
    fn close(&self) {
        if self.open.replace(false) {
            self.worker.admission.disconnect(self.ticket);
        }
    }
}

/// Answers that are ready, and how many are still to come.
struct Answers {
    octets: RefCell<Vec<u8>>,
    /// Responses of many messages; each counts among those that wait.
    streams: Streams,
    waiting: Cell<usize>,
    ready: Notify,
    registration: Registration,
}

impl Answers {
    fn push(&self, exchange: &Exchange) {
        let mut octets = self.octets.borrow_mut();
        framing::write(&mut octets, exchange.reply());
    }

    /// Takes a response of many messages.
    fn begin_stream(&self, exchange: Box<Exchange>, at: (&Arc<Block>, usize)) {
        self.waiting.set(self.waiting.get() + 1);
        self.streams.push(exchange, at);
    }

    /// Says that something came or left.
    fn active(&self) {
        self.registration.active(self.waiting.get() == 0);
    }

    /// Takes what is ready.
    fn take(&self) -> Vec<u8> {
        self.registration.holds(Hold::Answers, 0);
        self.octets.take()
    }

    /// Says how much room the answers hold.
    fn count(&self) {
        let capacity = self.octets.borrow().capacity();
        self.registration.holds(Hold::Answers, capacity);
    }
}

/// One connection.
pub(crate) struct Connection<S> {
    stream: S,
    worker: Rc<Worker>,
    listener: Rc<Listener>,
    peer: SocketAddr,
    local: SocketAddr,
    transport: Transport,
    encryption: Encryption,
    /// What was received and not yet answered.
    frames: Frames,
    /// Queries so far.
    taken: u32,
    /// Messages since others had their turn.
    turn: usize,
    /// Whether nothing more is read.
    eof: bool,
    /// Whether that is because of an invalid length.
    invalid: bool,
    answers: Rc<Answers>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// A connection whose messages stand on `stream`.
    pub(crate) fn new(stream: S, accepted: Accepted) -> Self {
        let Accepted {
            listener,
            registration,
            ends: (peer, local),
            transport,
            encryption,
        } = accepted;
        Self {
            stream,
            worker: registration.worker.clone(),
            listener,
            peer,
            local,
            transport,
            encryption,
            frames: Frames::default(),
            taken: 0,
            turn: 0,
            eof: false,
            invalid: false,
            answers: Rc::new(Answers {
                octets: RefCell::default(),
                streams: Streams::default(),
                waiting: Cell::new(0),
                ready: Notify::new(),
                registration,
            }),
        }
    }

    /// Serves the connection to its end.
    pub(crate) async fn serve(mut self) {
        let mut since = Instant::now();
        loop {
            let closing = self.listener.last_table().is_some();
            let table = self.listener.table(&self.worker.shared).await;
            let limits = table.streams;
            if closing {
                self.look_once_more(&table).await;
            }
            let behind = self.take_messages(&table);
            drop(table);
            if !self.answers.octets.borrow().is_empty() {
                if !self.write(limits.write).await {
                    return;
                }
                since = Instant::now();
                continue;
            }
            if self.turn >= TURN {
                self.turn = 0;
                tokio::task::yield_now().await;
                continue;
            }
            let waiting = self.answers.waiting.get();
            let done = limits.queries.is_some_and(|most| self.taken >= most);
            if (self.eof || done) && waiting == 0 {
                return self.end().await;
            }
            if !behind {
                since = Instant::now();
            }
            let (answers, listener) = (self.answers.clone(), self.listener.clone());
            let streams = &answers.streams;
            let reading = !self.eof && !done && waiting < PIPELINED && streams.is_empty();
            let deadline = match (self.frames.is_empty(), waiting) {
                (false, _) if reading => Some(since + limits.read),
                (true, 0) => Some(since + limits.idle),
                _ => None,
            };
            let fresh = self.frames.is_empty();
            tokio::select! {
                read = poll_fn(|context| self.poll_read(context)), if reading => match read {
                    // A message begins: the rest of it has its own time.
                    Ok(_) if fresh => since = Instant::now(),
                    Ok(_) => {}
                    Err(_) => return,
                },
                written = poll_fn(|context| streams.poll_fill(context, |message| answers.push(message))) => {
                    if written == Written::Last {
                        answers.waiting.set(answers.waiting.get() - 1);
                        answers.active();
                    }
                }
                () = answers.ready.notified() => {}
                () = listener.closed.notified() => {}
                () = until(deadline) => return self.end().await,
            }
        }
    }

    /// Takes one look at what came before the listener closed; a peer that never pauses does not prolong it.
    async fn look_once_more(&mut self, table: &Table) {
        while !self.eof && self.frames.len() < LAST_LOOK && self.may_take(table) {
            let read = poll_fn(|context| Poll::Ready(self.poll_read(context)));
            if !matches!(read.await, Poll::Ready(Ok(1..))) {
                break;
            }
        }
        self.eof = true;
    }

    /// Whether one more query may be taken.
    fn may_take(&self, table: &Table) -> bool {
        self.answers.waiting.get() < PIPELINED
            && self.answers.streams.is_empty()
            && table.streams.queries.is_none_or(|most| self.taken < most)
    }

    /// Reads what came, into a buffer that all connections of the worker have together.
    fn poll_read(&mut self, context: &mut task::Context<'_>) -> Poll<io::Result<usize>> {
        let mut scratch = self.worker.scratch.borrow_mut();
        let mut buffer = ReadBuf::new(&mut scratch);
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer))?;
        let octets = buffer.filled();
        if octets.is_empty() {
            self.eof = true;
        } else {
            self.frames.push(octets);
            self.answers.active();
        }
        Poll::Ready(Ok(octets.len()))
    }

    /// Writes the answers that are ready; `false` when the peer does not take them in time.
    async fn write(&mut self, limit: Duration) -> bool {
        let octets = self.answers.take();
        let registration = &self.answers.registration;
        registration.holds(Hold::Written, octets.capacity());
        let written = timeout(limit, async {
            self.stream.write_all(&octets).await?;
            // TLS may hold the end back.
            self.stream.flush().await
        });
        let written = written.await;
        registration.holds(Hold::Written, 0);
        matches!(written, Ok(Ok(())))
    }

    /// Ends the connection. What a peer has sent behind an invalid length is read and thrown away: to close a socket with octets in
    /// it resets the connection, and takes the answers before them from the peer.
    async fn end(mut self) {
        // TLS says so before it closes (RFC 8446, section 6.1).
        if (self.invalid || self.encryption != Encryption::None)
            && !matches!(timeout(LINGER, self.stream.shutdown()).await, Ok(Ok(())))
        {
            return;
        }
        if !self.invalid {
            return;
        }
        self.eof = false;
        let mut left = LAST_LOOK;
        let _ = timeout(LINGER, async {
            while let Ok(read @ 1..) = poll_fn(|context| self.poll_read(context)).await {
                self.frames.clear();
                left = left.saturating_sub(read);
                if left == 0 {
                    break;
                }
            }
        })
        .await;
    }

    /// Answers the whole messages that came as far as bounds allow; `true` when the same part of a message is left as before.
    fn take_messages(&mut self, table: &Table) -> bool {
        let mut frames = std::mem::take(&mut self.frames);
        while self.turn < TURN
            && self.may_take(table)
            && self.answers.octets.borrow().len() < GATHERED
        {
            match frames.next() {
                Frame::Message(message) => self.take(message, table),
                Frame::Part => break,
                Frame::Invalid => {
                    frames.clear();
                    (self.eof, self.invalid) = (true, true);
                }
            }
        }
        let some = frames.settle();
        self.frames = frames;
        if some {
            self.answers.active();
        }
        let held = self.frames.capacity();
        self.answers.registration.holds(Hold::Received, held);
        !some
    }

    /// Answers one message.
    fn take(&mut self, message: &[u8], table: &Table) {
        self.taken = self.taken.saturating_add(1);
        self.turn += 1;
        self.worker.turns.spend(1);
        let mut exchange = self.worker.stream();
        exchange.receive_buffer(message.len())[..message.len()].copy_from_slice(message);
        exchange.set_received(message.len());
        let context = &mut exchange.context;
        context.peer = self.peer;
        context.local = self.local;
        context.transport = self.transport;
        context.encryption = self.encryption;
        context.received = clock::now();
        context.worker = self.worker.index;
        match answer(&mut exchange, table) {
            Verdict::Silent => {}
            Verdict::Respond => {
                finish(&mut exchange);
                self.answers.push(&exchange);
            }
            Verdict::Suspended(block, step) => {
                let (answers, worker) = (self.answers.clone(), self.worker.clone());
                answers.waiting.set(answers.waiting.get() + 1);
                self.worker.suspend(exchange, (block, step), move |ended| {
                    answers.waiting.set(answers.waiting.get() - 1);
                    if let Some(mut exchange) = ended {
                        if let Some((block, step)) = exchange.take_suspended() {
                            answers.begin_stream(exchange, (&block, step));
                        } else {
                            answers.push(&exchange);
                            answers.count();
                            worker.recycle(exchange);
                        }
                    }
                    answers.active();
                    answers.ready.notify_one();
                });
                return;
            }
            Verdict::Stream(block, step) => {
                return self.answers.begin_stream(exchange, (block, step));
            }
        }
        self.worker.recycle(exchange);
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.close();
    }
}

impl<S> Drop for Connection<S> {
    fn drop(&mut self) {
        self.answers.registration.close();
        // Queries that wait hold the answers; the plugins hear now that their client has gone.
        self.answers.streams.clear();
    }
}

/// Sleeps to a deadline, or for ever.
async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => pending().await,
    }
}
