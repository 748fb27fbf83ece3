//! Stream connections to an upstream, TCP or TLS: reused and pipelined (RFC 7766, section 6.2), IDs of our own.
//!
//! A lane takes queries from the moment it is made: they lie in its outgoing buffer while it connects, and leave in one write. Two
//! local tasks serve it, one writes, one connects and then reads; many replies come with one read. When either ends, everybody who
//! waits is told. Lanes of TLS differ in the stream below only.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use chain::clock;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, WriteHalf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use super::Forward;
use super::ids::Ids;
use super::local::{Lane, Local, Pool, Ticket};
use super::metrics::Proto;
use super::tls::TlsClient;
use super::trouble::{Trouble, What};
use super::upstream::Upstream;

/// Queries that wait on a connection before another one is opened.
const PIPELINE: usize = 64;
/// Connections of one worker to one upstream.
const CONNECTIONS: usize = 8;
/// Octets that may wait to be written.
const BACKLOG: usize = 1 << 20;
/// What is read at once, at first.
const CHUNK: usize = 4_096;

/// A stream connection and the IDs that are outstanding on it.
pub(super) struct StreamLane {
    /// Outstanding IDs.
    pub(super) ids: Ids,
    outgoing: RefCell<Vec<u8>>,
    more: Notify,
    connected: Cell<bool>,
    closed: Cell<bool>,
    retired: Cell<bool>,
    created: u64,
    used: Cell<u64>,
    tasks: RefCell<Vec<AbortHandle>>,
}

impl StreamLane {
    fn open(local: &Rc<Local>, pool: &Pool, forward: &Forward) -> Rc<Self> {
        let now = clock::now();
        let lane = Rc::new(Self {
            ids: Ids::default(),
            outgoing: RefCell::default(),
            more: Notify::new(),
            connected: Cell::new(false),
            closed: Cell::new(false),
            retired: Cell::new(false),
            created: now,
            used: Cell::new(now),
            tasks: RefCell::default(),
        });
        let work = serve(
            local.clone(),
            lane.clone(),
            pool.upstream.clone(),
            Duration::from_nanos(forward.read_timeout),
        );
        let task = tokio::task::spawn_local(work);
        lane.tasks.borrow_mut().push(task.abort_handle());
        lane
    }

    /// Whether it takes no more queries and nobody waits on it.
    pub(super) fn is_stale(&self, forward: &Forward, now: u64) -> bool {
        self.closed.get() || (self.ids.len() == 0 && self.is_old(forward, now))
    }

    /// Whether it takes no more queries.
    fn is_old(&self, forward: &Forward, now: u64) -> bool {
        self.closed.get()
            || self.retired.get()
            || now - self.used.get() > forward.expire
            || (forward.max_age > 0 && now - self.created > forward.max_age)
    }

    /// A query has gone, one way or the other.
    pub(super) fn left(&self) {
        self.used.set(clock::now());
    }

    /// Takes no more queries: one was not answered in time, and the peer may be gone without a word.
    pub(super) fn retire(&self) {
        self.retired.set(true);
    }

    /// Whether it has been closed.
    pub(super) fn is_closed(&self) -> bool {
        self.closed.get()
    }

    /// Whether the connection stands.
    pub(super) fn is_connected(&self) -> bool {
        self.connected.get()
    }

    /// Closes at once and tells everybody who waits.
    pub(super) fn close(&self, trouble: Trouble, local: &Local) {
        if self.closed.replace(true) {
            return;
        }
        local.fail(&self.ids, &trouble);
        for task in self.tasks.borrow_mut().drain(..) {
            task.abort();
        }
    }

    /// Puts a query into the outgoing buffer, under `id`.
    pub(super) fn send(&self, octets: &[u8], id: u16) -> Result<(), Trouble> {
        let mut outgoing = self.outgoing.borrow_mut();
        let len = u16::try_from(octets.len()).ok();
        match (len, octets.get(2..)) {
            (Some(len), Some(rest)) if outgoing.len() < BACKLOG && !self.closed.get() => {
                outgoing.extend_from_slice(&len.to_be_bytes());
                outgoing.extend_from_slice(&id.to_be_bytes());
                outgoing.extend_from_slice(rest);
                self.more.notify_one();
                Ok(())
            }
            _ => Err(Trouble {
                op: "write",
                what: What::Io(io::ErrorKind::WouldBlock),
            }),
        }
    }
}

impl Pool {
    /// A connection, a seat and an ID for one query; and whether the connection has been used before. `fresh` asks for a new one.
    pub(super) fn stream(
        &self,
        local: &Rc<Local>,
        forward: &Forward,
        fresh: bool,
    ) -> Result<(Rc<StreamLane>, Ticket, bool), Trouble> {
        let now = clock::now();
        let mut streams = self.streams.borrow_mut();
        streams.retain(|stream| !stream.is_closed());
        let usable = streams
            .iter()
            .filter(|stream| {
                let spent = fresh && stream.created < now && stream.is_connected();
                !spent && !stream.is_old(forward, now)
            })
            .min_by_key(|stream| stream.ids.len())
            .cloned();
        let full = streams.len() >= CONNECTIONS;
        let (lane, reused) = match usable {
            Some(lane) if lane.ids.len() < PIPELINE || full => (lane, true),
            _ => {
                let lane = StreamLane::open(local, self, forward);
                streams.push(lane.clone());
                (lane, false)
            }
        };
        drop(streams);
        let proto = self.upstream.proto(Proto::Tcp);
        self.upstream.metrics.socket(local.stripe, proto, reused);
        lane.used.set(now);
        let ticket = Ticket::take(local, Lane::Stream(lane.clone()));
        let ticket = ticket.ok_or(Trouble {
            op: "write",
            what: What::Full,
        })?;
        Ok((lane, ticket, reused))
    }

    /// Closes idle connections past `max_idle_conns`.
    pub(super) fn trim(&self, local: &Local, most: usize) {
        if most == 0 {
            return;
        }
        let mut idle = 0;
        let spare: Vec<_> = self
            .streams
            .borrow()
            .iter()
            .filter(|stream| {
                idle += usize::from(stream.ids.len() == 0);
                stream.ids.len() == 0 && idle > most
            })
            .cloned()
            .collect();
        for stream in spare {
            stream.close(
                Trouble {
                    op: "read",
                    what: What::Closed,
                },
                local,
            );
        }
    }
}

/// Connects.
pub(super) async fn connect(upstream: &Upstream) -> Result<TcpStream, Trouble> {
    let dial = async {
        let socket = upstream.socket(true)?;
        let _ = socket.set_tcp_nodelay(true);
        TcpSocket::from_std_stream(socket.into())
            .connect(upstream.address)
            .await
    };
    dial.await
        .map_err(|error: io::Error| Trouble::io("dial", &error))
}

/// Makes a TLS session to an upstream that speaks TLS.
pub(super) async fn secure(
    upstream: &Upstream,
    tls: &TlsClient,
) -> Result<TlsStream<TcpStream>, Trouble> {
    let stream = connect(upstream).await?;
    let session = tls.connector.connect(tls.name.clone(), stream).await;
    session.map_err(|error| Trouble {
        op: "dial",
        what: What::Tls(format!("tls: {error}").into()),
    })
}

/// Makes a lane's connection and serves it to its end.
async fn serve(
    local: Rc<Local>,
    lane: Rc<StreamLane>,
    upstream: Arc<Upstream>,
    patience: Duration,
) {
    let trouble = match &upstream.tls {
        None => match timeout(patience, connect(&upstream)).await {
            Ok(Ok(stream)) => carry(&local, &lane, stream).await,
            Ok(Err(trouble)) => trouble,
            Err(_) => Trouble::timeout("dial"),
        },
        Some(tls) => match timeout(patience, secure(&upstream, tls)).await {
            Ok(Ok(stream)) => carry(&local, &lane, stream).await,
            Ok(Err(trouble)) => trouble,
            Err(_) => Trouble::timeout("dial"),
        },
    };
    lane.close(trouble, &local);
}

/// Reads replies from a connection that stands, with a second task that writes queries; gives why it ended.
async fn carry<S>(local: &Rc<Local>, lane: &Rc<StreamLane>, stream: S) -> Trouble
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    lane.connected.set(true);
    let (mut reading, writing) = tokio::io::split(stream);
    let writer = tokio::task::spawn_local(write(local.clone(), lane.clone(), writing));
    lane.tasks.borrow_mut().push(writer.abort_handle());
    let mut buffer = vec![0; CHUNK];
    let mut filled = 0;
    loop {
        match reading.read(&mut buffer[filled..]).await {
            Ok(0) => {
                return Trouble {
                    op: "read",
                    what: What::Closed,
                };
            }
            Ok(len) => filled += len,
            Err(error) => return Trouble::io("read", &error),
        }
        let mut at = 0;
        while let Some(len) = wire::read_u16(&buffer[at..filled], 0) {
            let end = at + 2 + len as usize;
            let Some(octets) = buffer[..filled].get(at + 2..end) else {
                // The rest of a long message does not fit: room for all of it.
                if end - at > buffer.len() {
                    buffer.resize(end - at, 0);
                }
                break;
            };
            local.deliver(&lane.ids, octets, false, chain::clock::now());
            at = end;
        }
        buffer.copy_within(at..filled, 0);
        filled -= at;
    }
}

/// Writes what lies in a lane's outgoing buffer, all of it at once.
async fn write<S: AsyncWrite>(local: Rc<Local>, lane: Rc<StreamLane>, mut writing: WriteHalf<S>) {
    let mut batch = Vec::new();
    loop {
        std::mem::swap(&mut batch, &mut lane.outgoing.borrow_mut());
        if batch.is_empty() {
            lane.more.notified().await;
            continue;
        }
        let written = async {
            writing.write_all(&batch).await?;
            writing.flush().await
        };
        if let Err(error) = written.await {
            lane.close(Trouble::io("write", &error), &local);
            return;
        }
        batch.clear();
    }
}
