//! Connections to a server, reused and pipelined (RFC 7766, section 6.2), IDs of our own.
//!
//! A connection takes queries from the moment it is made: they lie in its outgoing buffer while it connects. Over TCP and TLS, which
//! differ in the stream below only, they leave in one write, and two local tasks serve the connection: one writes, one connects and then
//! reads; many replies come with one read. Over HTTP/2 and QUIC each query gets a stream and a task of its own (`multiplex.rs`). When
//! one of a connection's own tasks ends, every query that waits is told.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use host::clock;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, WriteHalf};
use tokio::net::{TcpSocket, TcpStream, UnixStream};
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use crate::endpoint::Endpoint;
use crate::engine::Engine;
use crate::error::{Error, Reason};
use crate::http2;
use crate::ids::QueryIds;
use crate::policy::Keep;
use crate::pool::{Descriptor, Peer};
use crate::protocol::Protocol;
use crate::quic;
use crate::tls::{TlsClient, failure};

/// Octets that may wait to be written.
const BACKLOG: usize = 1 << 20;
/// What is read at once, at first.
const CHUNK: usize = 4_096;

/// A connection and the IDs that are outstanding on it.
pub(crate) struct Connection {
    /// Outstanding IDs.
    pub(crate) ids: QueryIds,
    /// The server that it leads to.
    pub(crate) peer: Rc<Peer>,
    outgoing: RefCell<Vec<u8>>,
    more: Notify,
    connected: Cell<bool>,
    closed: Cell<bool>,
    retired: Cell<bool>,
    created: u64,
    used: Cell<u64>,
    tasks: RefCell<Vec<AbortHandle>>,
    /// The tasks of the queries that have streams of their own, by their IDs.
    streams: RefCell<HashMap<u16, AbortHandle>>,
    _descriptor: Descriptor,
}

impl Connection {
    /// Opens one, which may take so many nanoseconds.
    pub(crate) fn open(
        engine: &Rc<Engine>,
        peer: &Rc<Peer>,
        patience: u64,
        descriptor: Descriptor,
    ) -> Rc<Self> {
        let now = clock::now();
        let connection = Rc::new(Self {
            ids: QueryIds::default(),
            peer: peer.clone(),
            outgoing: RefCell::default(),
            more: Notify::new(),
            connected: Cell::new(false),
            closed: Cell::new(false),
            retired: Cell::new(false),
            created: now,
            used: Cell::new(now),
            tasks: RefCell::default(),
            streams: RefCell::default(),
            _descriptor: descriptor,
        });
        let work = serve(
            engine.clone(),
            connection.clone(),
            Duration::from_nanos(patience),
        );
        let task = tokio::task::spawn_local(work);
        connection.tasks.borrow_mut().push(task.abort_handle());
        connection
    }

    /// When it was made.
    pub(crate) fn created(&self) -> u64 {
        self.created
    }

    /// When it was used last.
    pub(crate) fn used(&self) -> u64 {
        self.used.get()
    }

    /// One more query takes it.
    pub(crate) fn take(&self, now: u64) {
        self.used.set(now);
    }

    /// Whether it takes no more queries and nobody waits on it.
    pub(crate) fn is_stale(&self, keep: &Keep, now: u64) -> bool {
        self.closed.get() || (self.ids.is_empty() && self.is_old(keep, now))
    }

    /// Whether it takes no more queries.
    pub(crate) fn is_old(&self, keep: &Keep, now: u64) -> bool {
        self.closed.get()
            || self.retired.get()
            || now.saturating_sub(self.used.get()) > keep.expire
            || (keep.max_age > 0 && now.saturating_sub(self.created) > keep.max_age)
    }

    /// A query has gone, one way or the other.
    pub(crate) fn left(&self) {
        self.used.set(clock::now());
    }

    /// The query under `id` has ended without a reply: resets its stream, if it has one of its own.
    pub(crate) fn abandon(&self, id: u16) {
        if let Some(stream) = self.streams.borrow_mut().remove(&id) {
            stream.abort();
        }
        self.left();
    }

    /// The query under `id` has got a stream of its own.
    pub(crate) fn stream_began(&self, id: u16, stream: AbortHandle) {
        self.streams.borrow_mut().insert(id, stream);
    }

    /// The stream of the query under `id` has ended.
    pub(crate) fn stream_ended(&self, id: u16) {
        self.streams.borrow_mut().remove(&id);
    }

    /// Takes no more queries: one was not answered in time, and the peer may be gone without a word.
    pub(crate) fn retire(&self) {
        self.retired.set(true);
    }

    /// Whether it has been closed.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.get()
    }

    /// The connection stands.
    pub(crate) fn set_connected(&self) {
        self.connected.set(true);
    }

    /// Whether the connection stands.
    pub(crate) fn is_connected(&self) -> bool {
        self.connected.get()
    }

    /// Closes at once and tells everybody who waits.
    pub(crate) fn close(&self, error: Error, engine: &Rc<Engine>) {
        if self.closed.replace(true) {
            return;
        }
        engine.fail(&self.ids, &error);
        for (_, stream) in self.streams.borrow_mut().drain() {
            stream.abort();
        }
        for task in self.tasks.borrow_mut().drain(..) {
            task.abort();
        }
    }

    /// Waits until queries lie in the outgoing buffer, and swaps it for `batch`, which is empty.
    pub(crate) async fn next_batch(&self, batch: &mut Vec<u8>) {
        loop {
            std::mem::swap(batch, &mut self.outgoing.borrow_mut());
            if !batch.is_empty() {
                return;
            }
            self.more.notified().await;
        }
    }

    /// Puts a query into the outgoing buffer, under `id`.
    pub(crate) fn send(&self, octets: &[u8], id: u16) -> Result<(), Error> {
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
            _ => Err(Error {
                call: "write",
                reason: Reason::Io(io::ErrorKind::WouldBlock),
            }),
        }
    }
}

/// Connects.
async fn connect(endpoint: &Endpoint) -> Result<TcpStream, Error> {
    let dial = async {
        let socket = endpoint.socket(true)?;
        let _ = socket.set_tcp_nodelay(true);
        TcpSocket::from_std_stream(socket.into())
            .connect(endpoint.address)
            .await
    };
    dial.await
        .map_err(|error: io::Error| Error::io("dial", &error))
}

/// Makes a TLS session to a server that speaks TLS.
async fn secure<S>(
    tls: &TlsClient,
    stream: impl Future<Output = Result<S, Error>>,
) -> Result<TlsStream<S>, Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let stream = stream.await?;
    let session = tls.connector.connect(tls.name.clone(), stream).await;
    session.map_err(|error| Error {
        call: "dial",
        reason: Reason::Tls(failure::told("tls", &error).into()),
    })
}

/// Makes a connection to a server on this machine.
async fn connect_local(socket: &Path) -> Result<UnixStream, Error> {
    let connected = UnixStream::connect(socket).await;
    connected.map_err(|error| Error::io("dial", &error))
}

/// Makes a TLS session to a server that speaks HTTP/2.
async fn secure_http2<S>(
    tls: &TlsClient,
    stream: impl Future<Output = Result<S, Error>>,
) -> Result<TlsStream<S>, Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let stream = secure(tls, stream).await?;
    http2::agreed(&stream)?;
    Ok(stream)
}

/// Makes a connection's connection and serves it to its end.
async fn serve(engine: Rc<Engine>, connection: Rc<Connection>, patience: Duration) {
    let ended = hold(&engine, &connection, patience).await;
    let error = ended.unwrap_or_else(|error| error);
    connection.close(error, &engine);
}

/// Makes a connection's connection, which may take so long, and serves it; gives why it ended.
async fn hold(
    engine: &Rc<Engine>,
    connection: &Rc<Connection>,
    patience: Duration,
) -> Result<Error, Error> {
    let endpoint = &connection.peer.endpoint;
    Ok(match &endpoint.protocol {
        Protocol::Dns => {
            let stream = within(patience, connect(endpoint)).await?;
            carry(engine, connection, stream).await
        }
        Protocol::Tls(tls) => {
            let stream = within(patience, secure(tls, connect(endpoint))).await?;
            carry(engine, connection, stream).await
        }
        Protocol::Https(client) => {
            let stream = within(patience, secure_http2(&client.tls, connect(endpoint))).await?;
            http2::carry(engine, connection, stream, client.exchange()).await
        }
        Protocol::Quic(client) => {
            let session = within(patience, quic::connect(endpoint, client)).await?;
            quic::carry(engine, connection, session).await
        }
        Protocol::Grpc(client) => match (&client.socket, &client.tls) {
            (Some(socket), Some(tls)) => {
                let local = connect_local(socket);
                let stream = within(patience, secure_http2(tls, local)).await?;
                http2::carry(engine, connection, stream, client.exchange()).await
            }
            (Some(socket), None) => {
                let stream = within(patience, connect_local(socket)).await?;
                http2::carry(engine, connection, stream, client.exchange()).await
            }
            (None, Some(tls)) => {
                let stream = within(patience, secure_http2(tls, connect(endpoint))).await?;
                http2::carry(engine, connection, stream, client.exchange()).await
            }
            (None, None) => {
                let stream = within(patience, connect(endpoint)).await?;
                http2::carry(engine, connection, stream, client.exchange()).await
            }
        },
    })
}

/// Waits for a connection, so long at most.
async fn within<T>(
    patience: Duration,
    dial: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let made = timeout(patience, dial).await;
    made.unwrap_or_else(|_| Err(Error::timeout("dial")))
}

/// Reads replies from a connection that stands, with a second task that writes queries; gives why it ended.
async fn carry<S>(engine: &Rc<Engine>, connection: &Rc<Connection>, stream: S) -> Error
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    connection.set_connected();
    let (mut reading, writing) = tokio::io::split(stream);
    let writer = tokio::task::spawn_local(write(engine.clone(), connection.clone(), writing));
    connection.tasks.borrow_mut().push(writer.abort_handle());
    let mut buffer = vec![0; CHUNK];
    let mut filled = 0;
    loop {
        match reading.read(&mut buffer[filled..]).await {
            Ok(0) => {
                return Error::closed();
            }
            Ok(len) => filled += len,
            Err(error) => return Error::io("read", &error),
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
            engine.deliver(&connection.ids, octets, false, host::clock::now());
            at = end;
        }
        buffer.copy_within(at..filled, 0);
        filled -= at;
    }
}

/// Writes what lies in a connection's outgoing buffer, all of it at once.
async fn write<S: AsyncWrite>(
    engine: Rc<Engine>,
    connection: Rc<Connection>,
    mut writing: WriteHalf<S>,
) {
    let mut batch = Vec::new();
    loop {
        connection.next_batch(&mut batch).await;
        let written = async {
            writing.write_all(&batch).await?;
            writing.flush().await
        };
        if let Err(error) = written.await {
            connection.close(Error::io("write", &error), &engine);
            return;
        }
        batch.clear();
    }
}
