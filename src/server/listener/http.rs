//! HTTP under DoH and gRPC: connections of hyper, bounded in requests, octets and time.
//!
//! ```text
//! accept.rs ─► serve ─► hyper (h2, http/1.1) ─► https.rs, grpc.rs ─► Client::ask ─► Content
//!                └ watches: idle, not reading, the listener closes
//! ```
//!
//! A connection that has no request for the idle time is closed, whatever else its client sends: a header that drips in counts for
//! nothing until it is whole. Answers are counted until hyper has passed their last octet on, so that a client that does not read is
//! known by what it holds.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::fmt::Display;
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use chain::Transport;
use chain::setup::StreamLimits;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use telemetry::metrics;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep, timeout};

use super::client::Client;
use super::connection::{Accepted, Hold};
use super::{grpc, https};

/// Octets of a request's headers at most.
pub(crate) const HEADERS: usize = 16 * 1024;
/// The same over HTTP/1.1, where a client that sends more is to be told so before its connection ends.
const LINES: usize = 128 * 1024;
/// Octets of a message.
pub(crate) const MESSAGE: usize = 65_535;
/// Octets of a body, with what gRPC writes around a message.
const BODY: usize = MESSAGE + 16;
/// Octets of a body that is too long that are read all the same, since clients look at the response when they have sent it.
const DISCARDED: usize = 256 * 1024;
/// Streams that were reset before they were looked at, or for an error, after which a connection is closed.
const RESETS: usize = 20;
/// Octets of bodies on their way in, of a stream and of a connection.
const WINDOWS: (u32, u32) = (64 * 1024, 256 * 1024);
/// Octets that wait to be sent on a stream.
const SENDING: usize = 64 * 1024;
/// How often a connection is looked at.
const TICK: Duration = Duration::from_secs(1);
/// How long a connection may take to end in order.
const LINGER: Duration = Duration::from_secs(1);

/// One connection, and its requests.
pub(crate) struct Requests {
    pub(crate) client: Client,
    pub(crate) limits: StreamLimits,
    /// The label of the listener in metrics.
    server: Arc<str>,
    /// Requests that are being answered.
    open: Cell<usize>,
    /// When the last one began or ended.
    since: Cell<Instant>,
    /// Octets of bodies that are not whole.
    received: Cell<usize>,
    /// Octets of answers that have not left.
    held: Arc<AtomicUsize>,
    /// What was held when it was looked at last, and since when that has not become less.
    progress: Cell<(usize, Instant)>,
    /// Whether the client has to go.
    ends: Cell<bool>,
    /// The status of the last response, and its counter: nearly all of a connection have the same, and finding it takes a lock.
    counter: RefCell<Option<(StatusCode, Counter)>>,
}

/// A request that is being answered.
pub(crate) struct Open<'a>(&'a Requests);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
        self.0.active();
    }
}

/// Octets of a body that is not whole, given back when it is dropped.
struct Received<'a>(&'a Requests, usize);

impl Received<'_> {
    fn grow(&mut self, octets: usize) {
        self.1 += octets;
        self.0.receives(self.0.received.get() + octets);
    }
}

impl Drop for Received<'_> {
    fn drop(&mut self) {
        self.0.receives(self.0.received.get() - self.1);
    }
}

impl Requests {
    pub(crate) fn new(accepted: Accepted, limits: StreamLimits, server: Arc<str>) -> Rc<Self> {
        let now = Instant::now();
        Rc::new(Self {
            client: Client::new(accepted),
            limits,
            server,
            open: Cell::new(0),
            since: Cell::new(now),
            received: Cell::new(0),
            held: Arc::default(),
            progress: Cell::new((0, now)),
            ends: Cell::new(false),
            counter: RefCell::default(),
        })
    }

    /// A request begins; it lasts until what this gives is dropped.
    pub(crate) fn begin(&self) -> Open<'_> {
        self.open.set(self.open.get() + 1);
        self.active();
        Open(self)
    }

    /// Something came or left.
    fn active(&self) {
        self.since.set(Instant::now());
        let idle = self.open.get() == 0 && self.client.is_idle();
        self.client.accepted.registration.active(idle);
    }

    fn receives(&self, octets: usize) {
        self.received.set(octets);
        let registration = &self.client.accepted.registration;
        registration.holds(Hold::Received, octets);
    }

    /// Has the connection end once what is open is answered.
    pub(crate) fn end(&self) {
        self.ends.set(true);
    }

    /// Whether the client has to go.
    #[cfg(feature = "https3")]
    pub(crate) fn has_to_end(&self) -> bool {
        self.ends.get()
    }

    /// Reads the message that is a request's body.
    ///
    /// # Errors
    /// What to answer instead.
    pub(crate) async fn body<B>(&self, body: B) -> Result<Vec<u8>, StatusCode>
    where
        B: Body<Data: Buf>,
        B::Error: Display,
    {
        // What is much longer by its own account is not read.
        if body.size_hint().lower() > DISCARDED as u64 {
            return Err(StatusCode::PAYLOAD_TOO_LARGE);
        }
        let mut discarded = 0;
        let mut received = Received(self, 0);
        let read = async {
            let mut octets = Vec::new();
            let mut body = pin!(body);
            while let Some(frame) = std::future::poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
                let frame = frame.map_err(|_| StatusCode::BAD_REQUEST)?;
                let Ok(mut data) = frame.into_data() else {
                    continue;
                };
                if discarded > 0 || octets.len() + data.remaining() > BODY {
                    discarded += octets.len() + data.remaining();
                    octets = Vec::new();
                    if discarded > DISCARDED {
                        break;
                    }
                    continue;
                }
                received.grow(data.remaining());
                while data.has_remaining() {
                    let chunk = data.chunk();
                    octets.extend_from_slice(chunk);
                    let len = chunk.len();
                    data.advance(len);
                }
            }
            match discarded {
                0 => Ok(octets),
                _ => Err(StatusCode::PAYLOAD_TOO_LARGE),
            }
        };
        let read = timeout(self.limits.read, read).await;
        read.unwrap_or(Err(StatusCode::REQUEST_TIMEOUT))
    }

    /// Reads a body that nobody wants: clients look at the response when they have sent it.
    pub(crate) async fn discard<B>(&self, body: B)
    where
        B: Body<Data: Buf>,
        B::Error: Display,
    {
        let _ = self.body(body).await;
    }

    /// A body of these octets, counted until they have left.
    pub(crate) fn counted(&self, octets: Vec<u8>) -> Bytes {
        let len = octets.len();
        let held = self.held.fetch_add(len, Ordering::Relaxed) + len;
        let registration = &self.client.accepted.registration;
        registration.holds(Hold::Answers, held);
        Bytes::from_owner(Counted(octets, self.held.clone()))
    }

    /// Counts a response of DoH by its status.
    pub(crate) fn count(&self, status: StatusCode) {
        let mut last = self.counter.borrow_mut();
        match &*last {
            Some((known, counter)) if *known == status => {
                counter.inc();
            }
            _ => {
                *last = self.counter_of(status).map(|counter| (status, counter));
                if let Some((_, counter)) = &*last {
                    counter.inc();
                }
            }
        }
    }

    /// The counter of a status; only DoH has one.
    fn counter_of(&self, status: StatusCode) -> Option<Counter> {
        let name = match self.client.accepted.transport {
            Transport::Https => "coredns_dns_https_responses",
            Transport::Https3 => "coredns_dns_https3_responses",
            _ => return None,
        };
        let help = "Counter of DoH responses per server and HTTP status code.";
        let family: Family<Labels, Counter> = metrics::family(name, help);
        let labels = Labels {
            server: self.server.to_string(),
            status: status.as_u16(),
        };
        Some(family.get_or_create(&labels).clone())
    }

    /// What to do with the connection now.
    fn standing(&self) -> Standing {
        let (now, held) = (Instant::now(), self.held.load(Ordering::Relaxed));
        let (before, since) = self.progress.get();
        self.client.accepted.registration.holds(Hold::Answers, held);
        if held == 0 || held < before {
            self.progress.set((held, now));
        } else {
            self.progress.set((held, since));
            if now - since >= self.limits.write {
                return Standing::Stuck;
            }
        }
        let quiet = self.open.get() == 0 && held == 0;
        match self.ends.get() || quiet && now - self.since.get() >= self.limits.idle {
            true => Standing::Ends,
            false => Standing::Lives,
        }
    }
}

/// What to do with a connection.
#[derive(PartialEq, Eq)]
enum Standing {
    Lives,
    /// It is idle, or has to end: in order.
    Ends,
    /// Its client takes nothing.
    Stuck,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    server: String,
    status: u16,
}

/// Octets of an answer that have not left.
struct Counted(Vec<u8>, Arc<AtomicUsize>);

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.1.fetch_sub(self.0.len(), Ordering::Relaxed);
    }
}

/// A response's body: octets, and what gRPC writes behind them.
#[derive(Default)]
pub(crate) struct Content {
    pub(crate) data: Option<Bytes>,
    pub(crate) trailers: Option<HeaderMap>,
}

impl Content {
    /// Octets alone.
    pub(crate) fn of(data: Bytes) -> Self {
        Self {
            data: Some(data),
            trailers: None,
        }
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let frame = match self.data.take() {
            Some(data) => Some(Frame::data(data)),
            None => self.trailers.take().map(Frame::trailers),
        };
        Poll::Ready(frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_none() && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match (&self.data, &self.trailers) {
            // With trailers to come, the length is said by their framing.
            (_, Some(_)) => SizeHint::default(),
            (data, None) => SizeHint::with_exact(data.as_ref().map_or(0, Bytes::len) as u64),
        }
    }
}

/// Runs the tasks of a connection on its worker.
#[derive(Clone, Copy)]
struct Local;

impl<F: Future<Output: 'static> + 'static> hyper::rt::Executor<F> for Local {
    fn execute(&self, task: F) {
        tokio::task::spawn_local(task);
    }
}

/// Serves a connection to its end; `h2` says whether it speaks HTTP/2.
pub(crate) async fn serve<S: AsyncRead + AsyncWrite + Unpin + 'static>(
    stream: S,
    accepted: Accepted,
    h2: bool,
) {
    let worker = accepted.registration.worker.clone();
    let table = accepted.listener.table(&worker.shared).await;
    let (limits, streams) = (table.streams, table.bounds.streams);
    let server = table.server.clone();
    drop((table, worker));
    let requests = Requests::new(accepted, limits, server);
    let shared = requests.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let requests = shared.clone();
        requests.client.spend(1);
        async move {
            let open = requests.begin();
            let response = match requests.client.accepted.transport {
                Transport::Grpc => grpc::respond(&requests, request).await,
                _ => https::respond(&requests, request).await,
            };
            drop(open);
            Ok::<_, Infallible>(response)
        }
    });
    let io = TokioIo::new(stream);
    if h2 {
        let mut builder = http2::Builder::new(Local);
        builder
            .max_concurrent_streams((streams > 0).then_some(streams))
            .max_header_list_size(HEADERS as u32)
            .max_pending_accept_reset_streams(RESETS)
            .max_local_error_reset_streams(RESETS)
            .initial_stream_window_size(WINDOWS.0)
            .initial_connection_window_size(WINDOWS.1)
            .max_send_buf_size(SENDING);
        let connection = builder.serve_connection(io, service);
        drive(connection, http2::Connection::graceful_shutdown, &requests).await;
    } else {
        let mut builder = http1::Builder::new();
        builder.max_buf_size(LINES).half_close(true);
        let connection = builder.serve_connection(io, service);
        drive(connection, http1::Connection::graceful_shutdown, &requests).await;
    }
}

/// Has a connection run until it ends by itself, or has to.
async fn drive<C: Future>(connection: C, end: fn(Pin<&mut C>), requests: &Requests) {
    let mut connection = pin!(connection);
    let listener = &requests.client.accepted.listener;
    loop {
        tokio::select! {
            _ = &mut connection => return,
            () = listener.closed.notified() => {}
            () = sleep(TICK) => {}
        }
        let standing = requests.standing();
        if standing == Standing::Stuck {
            return;
        }
        if standing == Standing::Ends || listener.last_table().is_some() {
            break;
        }
    }
    end(connection.as_mut());
    // Of what is open, what waits has its time; a client that takes nothing has not.
    loop {
        tokio::select! {
            _ = &mut connection => return,
            () = sleep(LINGER) => {}
        }
        if requests.open.get() == 0 || requests.standing() == Standing::Stuck {
            return;
        }
    }
}

/// A response that is no answer.
pub(crate) fn refuse(status: StatusCode) -> Response<Content> {
    let reason = status.canonical_reason().unwrap_or_default();
    let text = Bytes::from(format!("{} {reason}\n", status.as_u16()));
    let mut response = Response::new(Content::of(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    headers.insert(header::CONTENT_TYPE, plain);
    response
}
