//! Pages over HTTP: what one admin address answers.
//!
//! ```text
//! accept ─► Shares: at most so many connections, by client ─► hyper ─► path ─┬─ small ─► rendered at once
//!                                                                            └─ large ─► rendered beside, for all who wait ─► Renderings
//! ```
//!
//! A request is bounded in octets and time, and a connection that its client does not read holds one buffer of [`BUFFER`] octets: of a
//! large page, such as the metrics of many zones, clients get pieces of one rendering, which is made after each of them has asked. Those
//! that are still being read are kept up to a bound; beyond it the oldest is given up, and whoever still reads it is cut off.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use chain::admin::{Endpoint, Overview, Page, PageRequest};
use http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::{Instant, Sleep, sleep};

use crate::admission::{ADMIN_CONNECTIONS, ADMIN_OCTETS, Prefix, Shares, Ticket};
use crate::answer::panicked_aside;

/// Octets that a client may send before it is answered, and that are kept of an answer that it does not read.
const BUFFER: usize = 8 * 1024;
/// Octets of a large page that are handed over at once.
const PIECE: usize = 4 * 1024;
/// A page of so many octets is large.
const LARGE: usize = 64 * 1024;
/// The longest wait for a request, and for a client to take an answer.
const REQUEST_TIME: Duration = Duration::from_secs(10);
/// The pause after an error of accepting.
const PAUSE: Duration = Duration::from_millis(50);

/// What an address serves.
#[derive(Clone)]
pub(crate) struct Pages {
    pub(crate) endpoints: Arc<ArcSwap<Vec<Endpoint>>>,
    pub(crate) view: Arc<dyn Overview>,
    pub(crate) renderings: Arc<Renderings>,
}

/// The connections of an address.
type Connections = Arc<Mutex<Shares<Arc<Notify>>>>;

/// Serves one address until it is stopped; requests that are being answered then are answered to their end.
pub(crate) async fn listen(socket: std::net::TcpListener, pages: Pages, stop: Arc<Notify>) {
    let Ok(listener) = TcpListener::from_std(socket) else {
        return;
    };
    let connections: Connections = Arc::new(Mutex::new(Shares::new(ADMIN_CONNECTIONS)));
    let (ending, ended) = watch::channel(false);
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    let (pages, connections) = (pages.clone(), connections.clone());
                    tokio::spawn(serve((stream, peer), pages, connections, ended.clone()));
                }
                Err(_) => sleep(PAUSE).await,
            },
            () = stop.notified() => break,
        }
    }
    let _ = ending.send(true);
}

/// Serves a connection to its end.
async fn serve(
    (stream, peer): (TcpStream, SocketAddr),
    pages: Pages,
    connections: Connections,
    mut ended: watch::Receiver<bool>,
) {
    let evicted = Arc::new(Notify::new());
    let _registration = Registration::new(connections, Prefix::of(peer.ip()), &evicted);
    let service = service_fn(move |request| {
        let pages = pages.clone();
        async move { Ok::<_, Infallible>(answer(&pages, &request).await) }
    });
    let mut http = http1::Builder::new();
    http.max_buf_size(BUFFER);
    let served = http.serve_connection(TokioIo::new(Guarded::new(stream)), service);
    let mut served = std::pin::pin!(served);
    // A connection that ends badly is its client's business.
    tokio::select! {
        _ = &mut served => {}
        () = evicted.notified() => {}
        () = async { drop(ended.wait_for(|ended| *ended).await) } => {
            served.as_mut().graceful_shutdown();
            tokio::select! {
                _ = &mut served => {}
                () = evicted.notified() => {}
            }
        }
    }
}

/// A connection's entry, until it ends.
struct Registration(Connections, Ticket);

impl Registration {
    /// Lets a connection in; where that is one too many, another is closed.
    fn new(connections: Connections, prefix: Prefix, close: &Arc<Notify>) -> Self {
        let mut open = lock(&connections);
        let ticket = open.enter(prefix, 1, close.clone());
        if open.is_over()
            && let Some((displaced, close)) = open.displaced(|_| false)
        {
            close.notify_one();
            open.weigh(displaced, 0);
        }
        drop(open);
        Self(connections, ticket)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        lock(&self.0).leave(self.1);
    }
}

/// Answers a request.
async fn answer(pages: &Pages, request: &Request<Incoming>) -> Response<Content> {
    let path = request.uri().path();
    let endpoints = pages.endpoints.load();
    let found = endpoints.iter().find(|page| page.path == path).cloned();
    drop(endpoints);
    let query = request.uri().query().unwrap_or("");
    let accept = request.headers().get(header::ACCEPT);
    let accept = accept.and_then(|value| value.to_str().ok()).unwrap_or("");
    let rendered = match found {
        Some(endpoint) => {
            let asked = Asked {
                endpoint,
                query: query.to_owned(),
                accept: accept.to_owned(),
                view: pages.view.clone(),
            };
            pages.renderings.get(asked).await
        }
        None => Rendered::Small(Page::text(404, "404 page not found\n")),
    };
    let (status, kind, content) = match rendered {
        Rendered::Small(page) => {
            let body = Content::Small(Bytes::from(page.body));
            (page.status, page.content_type, body)
        }
        Rendered::Large(rendering) => {
            let (status, kind) = (rendering.status, rendering.content_type);
            (status, kind, Content::Large { rendering, at: 0 })
        }
    };
    let mut response = Response::new(content);
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// A request for a page that is there.
struct Asked {
    endpoint: Endpoint,
    query: String,
    accept: String,
    view: Arc<dyn Overview>,
}

impl Asked {
    /// Renders the page; a panic is an error of the server, counted.
    fn render(&self) -> Page {
        let request = PageRequest {
            query: &self.query,
            accept: &self.accept,
            overview: &*self.view,
        };
        let rendered = catch_unwind(AssertUnwindSafe(|| (self.endpoint.serve)(&request)));
        rendered.unwrap_or_else(|panic| {
            let whose = format!("a page of plugin/{}", self.endpoint.plugin);
            panicked_aside(&whose, &*panic);
            Page::text(500, "500 internal server error\n")
        })
    }

    /// Whether one rendering answers both.
    fn is_like(&self, other: &Self) -> bool {
        self.query == other.query
            && self.accept == other.accept
            && Arc::ptr_eq(&self.endpoint.serve, &other.endpoint.serve)
    }

    fn key(&self) -> Key {
        (self.endpoint.address, self.endpoint.path)
    }
}

type Key = (SocketAddr, &'static str);

/// A page as it was just now.
enum Rendered {
    Small(Page),
    Large(Arc<Rendering>),
}

/// A large page as it was at one moment.
struct Rendering {
    status: u16,
    content_type: &'static str,
    len: usize,
    /// Nothing once it was given up.
    octets: Mutex<Option<Vec<u8>>>,
}

/// Large pages: who waits for the next rendering of each, and the renderings that somebody still reads.
#[derive(Default)]
pub(crate) struct Renderings {
    large: Mutex<HashMap<Key, Waiting>>,
    kept: Mutex<VecDeque<Weak<Rendering>>>,
}

/// Who waits for the next rendering of a page.
#[derive(Default)]
struct Waiting {
    clients: Vec<(Asked, oneshot::Sender<Arc<Rendering>>)>,
    /// Whether one is being made; whoever asks now gets the next.
    busy: bool,
}

impl Renderings {
    /// The page as it is now: rendered here, or, where it was large before, on a thread beside for all who have asked by then.
    async fn get(self: &Arc<Self>, asked: Asked) -> Rendered {
        let key = asked.key();
        let (received, busy) = {
            let mut large = lock(&self.large);
            let Some(waiting) = large.get_mut(&key) else {
                drop(large);
                return self.render(&asked);
            };
            let (send, receive) = oneshot::channel();
            waiting.clients.push((asked, send));
            (receive, std::mem::replace(&mut waiting.busy, true))
        };
        if !busy {
            tokio::spawn(self.clone().render_beside(key));
        }
        match received.await {
            Ok(rendering) => Rendered::Large(rendering),
            Err(_) => Rendered::Small(Page::text(503, "503 service unavailable\n")),
        }
    }

    /// Renders a page, and remembers it where it is large.
    fn render(&self, asked: &Asked) -> Rendered {
        let page = asked.render();
        if page.body.len() < LARGE {
            return Rendered::Small(page);
        }
        lock(&self.large).entry(asked.key()).or_default();
        Rendered::Large(self.hold(page))
    }

    /// Renders a large page, one rendering at a time, for as long as somebody waits for it.
    async fn render_beside(self: Arc<Self>, key: Key) {
        loop {
            let Some((asked, clients)) = self.next(key) else {
                return;
            };
            let rendered = tokio::task::spawn_blocking(move || asked.render()).await;
            let Ok(page) = rendered else { continue };
            let rendering = self.hold(page);
            for client in clients {
                let _ = client.send(rendering.clone());
            }
        }
    }

    /// The request whose turn it is, and all who wait for the same; when there is none, nobody renders any more.
    fn next(&self, key: Key) -> Option<(Asked, Vec<oneshot::Sender<Arc<Rendering>>>)> {
        let mut large = lock(&self.large);
        let waiting = large.get_mut(&key)?;
        if waiting.clients.is_empty() {
            waiting.busy = false;
            return None;
        }
        let (asked, client) = waiting.clients.remove(0);
        let like = waiting
            .clients
            .extract_if(.., |(other, _)| other.is_like(&asked));
        let mut clients = vec![client];
        clients.extend(like.map(|(_, client)| client));
        Some((asked, clients))
    }

    /// Keeps a rendering while somebody reads it, and gives up the oldest where that is too much.
    fn hold(&self, mut page: Page) -> Arc<Rendering> {
        page.body.shrink_to_fit();
        let rendering = Arc::new(Rendering {
            status: page.status,
            content_type: page.content_type,
            len: page.body.len(),
            octets: Mutex::new(Some(page.body)),
        });
        let mut kept = lock(&self.kept);
        kept.retain(|rendering| rendering.strong_count() > 0);
        let mut held: usize = kept
            .iter()
            .filter_map(Weak::upgrade)
            .map(|rendering| rendering.len)
            .sum();
        while held + rendering.len > ADMIN_OCTETS
            && let Some(oldest) = kept.pop_front()
        {
            if let Some(oldest) = oldest.upgrade() {
                lock(&oldest.octets).take();
                held -= oldest.len;
            }
        }
        kept.push_back(Arc::downgrade(&rendering));
        rendering
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The body of a response.
enum Content {
    Small(Bytes),
    /// From this octet on.
    Large {
        rendering: Arc<Rendering>,
        at: usize,
    },
}

impl Body for Content {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let piece = match self.get_mut() {
            Self::Small(octets) => Ok(std::mem::take(octets)),
            Self::Large { rendering, at } => match &*lock(&rendering.octets) {
                Some(octets) => {
                    let end = octets.len().min(*at + PIECE);
                    let piece = Bytes::copy_from_slice(&octets[*at..end]);
                    *at = end;
                    Ok(piece)
                }
                None => Err(io::ErrorKind::ConnectionAborted.into()),
            },
        };
        Poll::Ready(match piece {
            Ok(piece) if piece.is_empty() => None,
            piece => Some(piece.map(Frame::data)),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.left() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left() as u64)
    }
}

impl Content {
    fn left(&self) -> usize {
        match self {
            Self::Small(octets) => octets.len(),
            Self::Large { rendering, at } => rendering.len - at,
        }
    }
}

/// A connection that ends when its client sends too much, or nothing for too long.
struct Guarded {
    stream: TcpStream,
    deadline: Pin<Box<Sleep>>,
    received: usize,
}

impl Guarded {
    fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            deadline: Box::pin(sleep(REQUEST_TIME)),
            received: 0,
        }
    }

    /// Whether its time is over.
    fn late(&mut self, context: &mut Context<'_>) -> bool {
        self.deadline.as_mut().poll(context).is_ready()
    }
}

impl AsyncRead for Guarded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.received > BUFFER || self.late(context) {
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
