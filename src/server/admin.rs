//! The admin side: pages over HTTP and plugins' tasks, on a thread and runtime of their own.
//!
//! A listener stays open over reloads while its address stays; what it serves is swapped. Requests are bounded in octets, time and
//! number, whoever sends them; the oldest connection makes room for the newest, so that idle ones never keep a probe out. The thread
//! starts with the first page or task: a configuration that wants neither does not pay for it.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::Response;
use chain::admin::{Endpoint, Overview, Page, PageRequest, Task};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, Sleep, sleep};
use tracing::{error, warn};

use crate::input::reason;

/// Octets that a client may send before it is answered.
const REQUEST_LIMIT: usize = 16 * 1024;
/// The longest wait for a request, and for a client to take an answer.
const REQUEST_TIME: Duration = Duration::from_secs(10);
/// Connections of one address.
const CONNECTIONS: usize = 512;

/// The admin side.
pub(crate) struct Admin {
    side: Option<Side>,
    view: Arc<dyn Overview>,
    listening: BTreeMap<SocketAddr, Listening>,
    tasks: Vec<JoinHandle<()>>,
}

/// The admin thread.
struct Side {
    runtime: Handle,
    /// Ends the thread when it is dropped.
    _alive: oneshot::Sender<()>,
}

/// An address that is served.
struct Listening {
    pages: Arc<ArcSwap<Vec<Endpoint>>>,
    stop: Arc<Notify>,
    closes_first: bool,
    #[cfg(test)]
    local: SocketAddr,
}

/// What is to be served.
pub(crate) struct Prepared {
    /// Pages by address, with the sockets of addresses that are new.
    pages: BTreeMap<SocketAddr, (Vec<Endpoint>, Option<std::net::TcpListener>)>,
    tasks: Vec<Task>,
}

impl Side {
    /// Starts the thread.
    fn start() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let handle = runtime.handle().clone();
        let (alive, ended) = oneshot::channel::<()>();
        std::thread::Builder::new()
            .name("admin".to_owned())
            .spawn(move || {
                let _ = runtime.block_on(ended);
            })?;
        Ok(Self {
            runtime: handle,
            _alive: alive,
        })
    }
}

impl Admin {
    /// Nothing to serve yet, and no thread.
    pub(crate) fn new(view: Arc<dyn Overview>) -> Self {
        Self {
            side: None,
            view,
            listening: BTreeMap::new(),
            tasks: Vec::new(),
        }
    }

    /// Binds the addresses that are not served yet, and starts the thread if there is anything for it to do.
    pub(crate) fn prepare(
        &mut self,
        endpoints: Vec<Endpoint>,
        tasks: Vec<Task>,
    ) -> Result<Prepared, String> {
        let mut out: BTreeMap<SocketAddr, (Vec<Endpoint>, Option<std::net::TcpListener>)> =
            BTreeMap::new();
        for endpoint in endpoints {
            let (pages, _) = out.entry(endpoint.address).or_default();
            match pages.iter().find(|page| page.path == endpoint.path) {
                Some(other) if other.exclusive || endpoint.exclusive => {
                    return Err(in_use(&endpoint, "address already in use"));
                }
                Some(_) => {}
                None => pages.push(endpoint),
            }
        }
        for (address, (pages, socket)) in &mut out {
            if !self.listening.contains_key(address) {
                let opened = open(*address).map_err(|error| {
                    pages
                        .first()
                        .map_or_else(String::new, |page| in_use(page, &reason(&error)))
                })?;
                *socket = Some(opened);
            }
        }
        if self.side.is_none() && !(out.is_empty() && tasks.is_empty()) {
            let side = Side::start().map_err(|error| format!("cannot start: {error}"))?;
            self.side = Some(side);
        }
        Ok(Prepared { pages: out, tasks })
    }

    /// Serves what was prepared, instead of what was served before, and runs its tasks instead of the tasks before.
    pub(crate) fn serve(&mut self, prepared: Prepared) {
        // Without the thread there was nothing before, and there is nothing now.
        let Some(Side { runtime, .. }) = &self.side else {
            return;
        };
        let mut old = std::mem::take(&mut self.listening);
        for (address, (pages, socket)) in prepared.pages {
            let closes_first = pages.iter().all(|page| page.closes_first);
            match (old.remove(&address), socket) {
                (Some(mut kept), _) => {
                    kept.pages.store(Arc::new(pages));
                    kept.closes_first = closes_first;
                    self.listening.insert(address, kept);
                }
                (None, Some(socket)) => {
                    #[cfg(test)]
                    let local = socket.local_addr().unwrap_or(address);
                    let pages = Arc::new(ArcSwap::from_pointee(pages));
                    let stop = Arc::new(Notify::new());
                    runtime.spawn(listen(
                        socket,
                        pages.clone(),
                        self.view.clone(),
                        stop.clone(),
                    ));
                    let listening = Listening {
                        pages,
                        stop,
                        closes_first,
                        #[cfg(test)]
                        local,
                    };
                    self.listening.insert(address, listening);
                }
                (None, None) => {}
            }
        }
        for gone in old.into_values() {
            gone.stop.notify_one();
        }
        for task in self.tasks.drain(..) {
            task.abort();
        }
        for Task { plugin, work } in prepared.tasks {
            let work = runtime.spawn(work);
            let watched = runtime.spawn(async move {
                // Dropping the watcher aborts the work.
                let mut work = AbortOnDrop(work);
                if (&mut work.0).await.is_err_and(|error| error.is_panic()) {
                    chain::metrics::panics().inc();
                    error!("Recovered from panic in a task of plugin/{plugin}");
                }
            });
            self.tasks.push(watched);
        }
    }

    /// Closes the listeners that are to close before lameduck.
    pub(crate) fn close_first(&mut self) {
        self.listening.retain(|_, listening| {
            if listening.closes_first {
                listening.stop.notify_one();
            }
            !listening.closes_first
        });
    }

    /// The real address behind the first one, for tests that ask for port 0.
    #[cfg(test)]
    pub(crate) fn local(&self) -> Option<SocketAddr> {
        self.listening
            .values()
            .next()
            .map(|listening| listening.local)
    }
}

/// Work that ends with whoever waits for it.
struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Go's words for an address that cannot be had.
fn in_use(endpoint: &Endpoint, why: &str) -> String {
    let address = endpoint.address;
    let shown = if address.ip().is_unspecified() {
        format!(":{}", address.port())
    } else {
        address.to_string()
    };
    format!(
        "plugin/{}: listen tcp {shown}: bind: {why}",
        endpoint.plugin
    )
}

/// Opens a listener; on `[::]` for both families, or for IPv4 where the machine has no IPv6.
fn open(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let try_open = |address: SocketAddr| {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::STREAM,
            Some(Protocol::TCP),
        )?;
        if address.is_ipv6() {
            socket.set_only_v6(!address.ip().is_unspecified())?;
        }
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(128)?;
        Ok(socket.into())
    };
    match try_open(address) {
        Err(error)
            if address.is_ipv6()
                && address.ip().is_unspecified()
                && io::Error::raw_os_error(&error) != Some(libc::EADDRINUSE) =>
        {
            try_open(SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port())))
        }
        opened => opened,
    }
}

/// What a request's handler knows.
#[derive(Clone)]
struct Known {
    pages: Arc<ArcSwap<Vec<Endpoint>>>,
    view: Arc<dyn Overview>,
}

/// Serves one address until it is stopped.
async fn listen(
    socket: std::net::TcpListener,
    pages: Arc<ArcSwap<Vec<Endpoint>>>,
    view: Arc<dyn Overview>,
    stop: Arc<Notify>,
) {
    let Ok(listener) = TcpListener::from_std(socket) else {
        return;
    };
    let router = Router::new()
        .fallback(page)
        .with_state(Known { pages, view });
    let bounded = Bounded {
        listener,
        open: VecDeque::new(),
    };
    let served =
        axum::serve(bounded, router).with_graceful_shutdown(async move { stop.notified().await });
    if let Err(error) = served.await {
        warn!("an admin listener ended: {error}");
    }
}

/// Answers a request.
async fn page(State(known): State<Known>, uri: Uri, headers: HeaderMap) -> Response {
    let found = known
        .pages
        .load()
        .iter()
        .find(|page| page.path == uri.path())
        .cloned();
    let page = match found {
        Some(endpoint) => (endpoint.serve)(&PageRequest {
            query: uri.query().unwrap_or(""),
            accept: headers
                .get(header::ACCEPT)
                .and_then(|value| value.to_str().ok())
                .unwrap_or(""),
            overview: &*known.view,
        }),
        None => Page::text(404, "404 page not found\n"),
    };
    let mut response = Response::new(Body::from(page.body));
    *response.status_mut() =
        StatusCode::from_u16(page.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let kind = header::HeaderValue::from_static(page.content_type);
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// A listener whose connections are bounded.
struct Bounded {
    listener: TcpListener,
    /// Evicts a connection each, oldest first; those that have ended are swept when there is no room.
    open: VecDeque<oneshot::Sender<()>>,
}

impl axum::serve::Listener for Bounded {
    type Io = Guarded;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Guarded, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => return (Guarded::new(stream, self.admit()), peer),
                Err(_) => sleep(Duration::from_millis(50)).await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

impl Bounded {
    /// Takes a connection in, closing the oldest where there is no room.
    fn admit(&mut self) -> oneshot::Receiver<()> {
        if self.open.len() >= CONNECTIONS {
            self.open.retain(|evict| !evict.is_closed());
        }
        if self.open.len() >= CONNECTIONS
            && let Some(oldest) = self.open.pop_front()
        {
            let _ = oldest.send(());
        }
        let (evict, evicted) = oneshot::channel();
        self.open.push_back(evict);
        evicted
    }
}

/// A connection that ends when its client sends too much, or nothing for too long, or when it has to make room.
struct Guarded {
    stream: TcpStream,
    deadline: Pin<Box<Sleep>>,
    received: usize,
    /// Until somebody said whether it has to; a listener that closes drops the other end and leaves it open.
    evicted: Option<oneshot::Receiver<()>>,
    over: bool,
}

impl Guarded {
    fn new(stream: TcpStream, evicted: oneshot::Receiver<()>) -> Self {
        Self {
            stream,
            deadline: Box::pin(sleep(REQUEST_TIME)),
            received: 0,
            evicted: Some(evicted),
            over: false,
        }
    }

    /// Whether its time is over.
    fn late(&mut self, context: &mut Context<'_>) -> bool {
        if let Some(evicted) = &mut self.evicted
            && let Poll::Ready(told) = Pin::new(evicted).poll(context)
        {
            self.evicted = None;
            self.over = told.is_ok();
        }
        self.over || self.deadline.as_mut().poll(context).is_ready()
    }
}

impl AsyncRead for Guarded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.received > REQUEST_LIMIT || self.late(context) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.received += buffer.filled().len() - before;
        read
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, octets);
        match &written {
            Poll::Ready(_) => {
                self.received = 0;
                self.deadline.as_mut().reset(Instant::now() + REQUEST_TIME);
            }
            Poll::Pending if self.late(context) => {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            Poll::Pending => {}
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
