//! Do53 over TCP (RFC 7766): pipelined queries, answers in the order in which they are ready.
//!
//! A connection is one task. It reads what came, answers each whole message, and writes all answers that are ready at once, each
//! behind its length. While it writes it does not read, and while [`IN_FLIGHT`] of its queries wait it does not either: a peer that
//! does not take its answers stops being read. A connection without a query holds no buffer. After [`TURN`] messages the other tasks
//! of the worker have theirs, so that a peer that never pauses delays others by no more than that.
//!
//! All connections of one client together may have a quarter of the worker's waiting places ([`PER_CLIENT`]); a query that would wait
//! beyond that is answered with SERVFAIL.
//!
//! At a bound of connections, overall or of one client, the connection that has been idle longest makes room; where all are busy the
//! newest is closed.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::future::pending;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use chain::{Exchange, Transport, clock, metrics};
use prometheus_client::metrics::counter::Counter;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::answer::{Verdict, answer, shed};
use crate::finish::finish;
use crate::route::Table;
use crate::worker::{Line, Worker, canonical};

/// Queries of one connection that may wait.
const IN_FLIGHT: usize = 64;
/// Queries of one client that may wait on one worker, over all its connections: others are left three quarters of the places.
const PER_CLIENT: usize = crate::worker::IN_FLIGHT / 4;
/// Octets of answers that are gathered before they are written.
const GATHERED: usize = 64 * 1024;
/// Messages that are taken before other tasks of the worker get their turn.
const TURN: usize = 64;
/// Octets of queries that are taken in when the listener closes.
const LAST_LOOK: usize = 2 * 65_537;
/// Octets that are made room for at each read.
const CHUNK: usize = 4_096;
/// Pauses after an error of accepting.
const PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// `nameplate_connections_evicted_total`.
pub(crate) fn evicted_connections() -> &'static Counter {
    static EVICTED: OnceLock<Counter> = OnceLock::new();
    EVICTED.get_or_init(|| {
        metrics::metric(
            "nameplate_connections_evicted",
            "Connections that were closed because too many were open.",
            Counter::default,
        )
    })
}

/// The connections of one worker.
pub(crate) struct Connections {
    limit: usize,
    next: u64,
    open: HashMap<u64, Open>,
    /// By last activity; oldest first.
    order: BTreeMap<u64, u64>,
    clients: HashMap<IpAddr, usize>,
    /// Queries that wait, by client.
    waiting: HashMap<IpAddr, usize>,
}

/// One open connection.
struct Open {
    client: IpAddr,
    active: u64,
    busy: bool,
    evict: Rc<Notify>,
}

impl Connections {
    /// Room for `limit` connections, half of them of one client.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit: limit.max(2),
            next: 0,
            open: HashMap::new(),
            order: BTreeMap::new(),
            clients: HashMap::new(),
            waiting: HashMap::new(),
        }
    }

    /// Takes a connection in, closing another where that must be; `None` when all are busy.
    fn admit(&mut self, client: IpAddr) -> Option<(u64, Rc<Notify>)> {
        if self
            .clients
            .get(&client)
            .is_some_and(|&count| count >= self.limit / 2)
        {
            self.evict(Some(client))?;
        } else if self.open.len() >= self.limit {
            self.evict(None)?;
        }
        self.next += 1;
        let number = self.next;
        let evict = Rc::new(Notify::new());
        self.open.insert(
            number,
            Open {
                client,
                active: number,
                busy: false,
                evict: evict.clone(),
            },
        );
        self.order.insert(number, number);
        *self.clients.entry(client).or_default() += 1;
        Some((number, evict))
    }

    /// Closes the connection that has been idle longest, of one client or of all.
    fn evict(&mut self, client: Option<IpAddr>) -> Option<()> {
        let number = self.order.values().copied().find(|number| {
            self.open
                .get(number)
                .is_some_and(|open| !open.busy && client.is_none_or(|client| client == open.client))
        });
        evicted_connections().inc();
        let open = self.leave(number?)?;
        open.evict.notify_one();
        Some(())
    }

    /// Notes that something came or left on a connection, and whether queries of it wait.
    fn touch(&mut self, number: u64, busy: bool) {
        self.next += 1;
        if let Some(open) = self.open.get_mut(&number) {
            self.order.remove(&open.active);
            open.active = self.next;
            open.busy = busy;
            self.order.insert(open.active, number);
        }
    }

    /// Takes a place for one more waiting query of a client, if it has not too many.
    fn wait(&mut self, client: IpAddr) -> bool {
        let count = self.waiting.entry(client).or_default();
        let may = *count < PER_CLIENT;
        *count += usize::from(may);
        may
    }

    /// Gives such a place back.
    fn waited(&mut self, client: IpAddr) {
        if let Some(count) = self.waiting.get_mut(&client) {
            *count -= 1;
            if *count == 0 {
                self.waiting.remove(&client);
            }
        }
    }

    /// Forgets a connection.
    fn leave(&mut self, number: u64) -> Option<Open> {
        let open = self.open.remove(&number)?;
        self.order.remove(&open.active);
        if let Some(count) = self.clients.get_mut(&open.client) {
            *count -= 1;
            if *count == 0 {
                self.clients.remove(&open.client);
            }
        }
        Some(open)
    }
}

/// Accepts connections until the listener closes.
pub(crate) async fn accept_loop(
    worker: Rc<Worker>,
    line: Rc<Line>,
    listener: std::net::TcpListener,
) {
    let Ok(listener) = TcpListener::from_std(listener) else {
        return;
    };
    let mut pause = PAUSES.0;
    while line.last_table().is_none() {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(connection) => {
                    pause = PAUSES.0;
                    begin(&worker, &line, connection);
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(_) => {
                    // No descriptors, no memory: others may give some back (T10).
                    sleep(pause).await;
                    pause = (pause * 2).min(PAUSES.1);
                }
            },
            () = line.closed.notified() => {}
        }
    }
    while let Ok(Ok(connection)) = timeout(Duration::ZERO, listener.accept()).await {
        begin(&worker, &line, connection);
    }
}

/// Whether an error of `accept` says something of the connection only (accept(2)).
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

/// Starts serving a connection, if there is room for it.
fn begin(worker: &Rc<Worker>, line: &Rc<Line>, (stream, peer): (TcpStream, SocketAddr)) {
    let Some((number, evict)) = worker.connections.borrow_mut().admit(peer.ip()) else {
        return;
    };
    let _ = stream.set_nodelay(true);
    let local = stream.local_addr().unwrap_or(peer);
    let seat = Seat {
        worker: worker.clone(),
        number,
    };
    let connection = Connection {
        worker: worker.clone(),
        line: line.clone(),
        seat,
        peer: canonical(peer),
        local: canonical(local),
        inbox: Vec::new(),
        taken: 0,
        turn: 0,
        eof: false,
        answers: Rc::default(),
    };
    tokio::task::spawn_local(async move {
        tokio::select! {
            () = connection.serve(stream) => {}
            () = evict.notified() => {}
        }
    });
}

/// A connection's place among those of its worker.
struct Seat {
    worker: Rc<Worker>,
    number: u64,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.worker.connections.borrow_mut().leave(self.number);
    }
}

/// Answers that are ready, each behind its length.
#[derive(Default)]
struct Answers {
    octets: RefCell<Vec<u8>>,
    waiting: Cell<usize>,
    ready: Notify,
}

impl Answers {
    fn push(&self, exchange: &Exchange) {
        let reply = exchange.reply();
        let mut octets = self.octets.borrow_mut();
        octets.extend_from_slice(&(reply.len() as u16).to_be_bytes());
        octets.extend_from_slice(reply);
    }
}

/// One connection.
struct Connection {
    worker: Rc<Worker>,
    line: Rc<Line>,
    seat: Seat,
    peer: SocketAddr,
    local: SocketAddr,
    /// What was received and not yet answered.
    inbox: Vec<u8>,
    /// Queries so far.
    taken: u32,
    /// Messages since others had their turn.
    turn: usize,
    eof: bool,
    answers: Rc<Answers>,
}

/// What follows in a connection's inbox.
enum Next {
    /// A whole message of this length.
    Whole(usize),
    /// A part of one, or nothing.
    Part,
    /// No DNS message can have this length.
    Nonsense,
}

impl Connection {
    /// Serves the connection to its end.
    async fn serve(mut self, mut stream: TcpStream) {
        let mut since = Instant::now();
        loop {
            let closing = self.line.last_table().is_some();
            let Some(table) = self.table().await else {
                return;
            };
            let limits = table.streams;
            if closing {
                // One look at what came before the close; a peer that never pauses does not prolong it.
                while !self.eof
                    && self.inbox.len() < LAST_LOOK
                    && self.may_take(&table)
                    && self.read(&stream).is_ok_and(|n| n > 0)
                {}
                self.eof = true;
            }
            let Some(behind) = self.take_messages(&table) else {
                return;
            };
            drop(table);
            if !self.answers.octets.borrow().is_empty() {
                let octets = self.answers.octets.take();
                match timeout(limits.write, stream.write_all(&octets)).await {
                    Ok(Ok(())) => since = Instant::now(),
                    _ => return,
                }
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
                return;
            }
            if !behind {
                since = Instant::now();
            }
            let reading = !self.eof && !done && waiting < IN_FLIGHT;
            let deadline = match (self.inbox.is_empty(), waiting) {
                (false, _) if reading => Some(since + limits.read),
                (true, 0) => Some(since + limits.idle),
                _ => None,
            };
            let fresh = self.inbox.is_empty();
            tokio::select! {
                ready = stream.readable(), if reading => match ready.and_then(|()| self.read(&stream)) {
                    // A message begins: the rest of it has its own time.
                    Ok(_) if fresh => since = Instant::now(),
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(_) => return,
                },
                () = self.answers.ready.notified() => {}
                () = self.line.closed.notified() => {}
                () = until(deadline) => return,
            }
        }
    }

    /// The table to answer by; waits for that of a listener that is just closing.
    async fn table(&self) -> Option<Arc<Table>> {
        loop {
            let pinned = self
                .worker
                .shared
                .snapshot
                .load()
                .table(self.line.listener)
                .cloned();
            match pinned.or_else(|| self.line.last_table()) {
                Some(table) => return Some(table),
                None => self.line.closed.notified().await,
            }
        }
    }

    /// Whether one more query may be taken.
    fn may_take(&self, table: &Table) -> bool {
        self.answers.waiting.get() < IN_FLIGHT
            && table.streams.queries.is_none_or(|most| self.taken < most)
    }

    /// Reads what came.
    fn read(&mut self, stream: &TcpStream) -> io::Result<usize> {
        self.inbox.reserve(CHUNK);
        let read = stream.try_read_buf(&mut self.inbox);
        match read {
            Ok(0) => self.eof = true,
            Ok(_) => {
                let busy = self.answers.waiting.get() > 0;
                self.worker
                    .connections
                    .borrow_mut()
                    .touch(self.seat.number, busy);
            }
            Err(_) => {}
        }
        if self.inbox.is_empty() {
            self.inbox = Vec::new();
        }
        read
    }

    /// What stands at `at` in the inbox.
    fn next(&self, at: usize) -> Next {
        match wire::read_u16(&self.inbox, at).map(usize::from) {
            None => Next::Part,
            Some(len) if len < wire::HEADER_LEN => Next::Nonsense,
            Some(len) if self.inbox.len() - at - 2 < len => Next::Part,
            Some(len) => Next::Whole(len),
        }
    }

    /// Answers the whole messages in the inbox as far as bounds allow. `Some(true)` when the same part of a message is left as
    /// before, `None` when the peer sends nonsense.
    fn take_messages(&mut self, table: &Table) -> Option<bool> {
        let mut at = 0;
        while self.turn < TURN
            && self.may_take(table)
            && self.answers.octets.borrow().len() < GATHERED
        {
            match self.next(at) {
                Next::Nonsense => return None,
                Next::Part => break,
                Next::Whole(len) => {
                    self.take(at + 2, len, table);
                    at += 2 + len;
                }
            }
        }
        if at == self.inbox.len() {
            self.inbox = Vec::new();
        } else {
            self.inbox.drain(..at);
        }
        if at > 0 {
            let busy = self.answers.waiting.get() > 0;
            self.worker
                .connections
                .borrow_mut()
                .touch(self.seat.number, busy);
        }
        Some(at == 0)
    }

    /// Answers one message.
    fn take(&mut self, at: usize, len: usize, table: &Table) {
        self.taken = self.taken.saturating_add(1);
        self.turn += 1;
        let mut exchange = self.worker.stream();
        exchange.receive_buffer(len)[..len].copy_from_slice(&self.inbox[at..at + len]);
        exchange.set_received(len);
        let context = &mut exchange.context;
        context.peer = self.peer;
        context.local = self.local;
        context.transport = Transport::Tcp;
        context.received = clock::now();
        context.worker = self.worker.index;
        match answer(&mut exchange, table) {
            Verdict::Silent => {}
            Verdict::Respond => {
                finish(&mut exchange);
                self.answers.push(&exchange);
            }
            Verdict::Suspended(block, step)
                if self.worker.may_wait()
                    && self.worker.connections.borrow_mut().wait(self.peer.ip()) =>
            {
                let client = self.peer.ip();
                let (answers, worker, number) =
                    (self.answers.clone(), self.worker.clone(), self.seat.number);
                answers.waiting.set(answers.waiting.get() + 1);
                self.worker.suspend(exchange, (block, step), move |ended| {
                    answers.waiting.set(answers.waiting.get() - 1);
                    if let Some(exchange) = ended {
                        answers.push(&exchange);
                        worker.recycle_stream(exchange);
                    }
                    let mut connections = worker.connections.borrow_mut();
                    connections.waited(client);
                    connections.touch(number, answers.waiting.get() > 0);
                    answers.ready.notify_one();
                });
                return;
            }
            Verdict::Suspended(block, step) => {
                shed(&mut exchange, block, step);
                finish(&mut exchange);
                self.answers.push(&exchange);
            }
        }
        self.worker.recycle_stream(exchange);
    }
}

/// Sleeps to a deadline, or for ever.
async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn the_longest_idle_connection_makes_room() {
        let mut connections = Connections::new(4);
        let (first, evicted) = connections.admit(client(1)).unwrap();
        let (second, _) = connections.admit(client(1)).unwrap();
        connections.touch(first, false);
        // The third of one client: its own oldest goes, which is now the second.
        connections.admit(client(1)).unwrap();
        assert!(connections.open.contains_key(&first));
        assert!(!connections.open.contains_key(&second));
        // Others get in up to the limit, then at the cost of the longest idle of all.
        connections.admit(client(2)).unwrap();
        connections.admit(client(3)).unwrap();
        assert_eq!(connections.open.len(), 4);
        connections.admit(client(4)).unwrap();
        assert_eq!(connections.open.len(), 4);
        assert!(!connections.open.contains_key(&first));
        drop(evicted);
    }

    #[test]
    fn busy_connections_stay_and_counts_return_to_nothing() {
        let mut connections = Connections::new(2);
        let (first, _) = connections.admit(client(1)).unwrap();
        connections.touch(first, true);
        assert!(connections.admit(client(1)).is_none());
        let (second, _) = connections.admit(client(2)).unwrap();
        connections.touch(second, true);
        assert!(connections.admit(client(3)).is_none());
        connections.leave(first);
        connections.leave(first);
        connections.leave(second);
        assert!(connections.clients.is_empty() && connections.order.is_empty());
    }
}
