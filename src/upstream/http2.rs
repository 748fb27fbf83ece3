//! HTTP/2 to upstreams (RFC 9113), which DNS over HTTPS and gRPC stand on.
//!
//! What a server may make us hold is bounded: headers of [`HEADERS`] octets, [`WINDOW`] octets of a response and [`WINDOWS`] of all
//! responses of a connection that were not read yet, and no pushed streams.

use std::fmt::Display;
use std::future::Future;
use std::io;
use std::rc::Rc;

use bytes::Bytes;
use h2::client::SendRequest;
use h2::{Reason as Code, RecvStream};
use http::{HeaderMap, Request, Response};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::client::TlsStream;

use crate::engine::Engine;
use crate::error::{Error, Reason};
use crate::multiplex::{self, Session};
use crate::stream::Connection;

/// The name of the protocol in TLS (RFC 9113, section 3.1).
pub(crate) const ALPN: &[u8] = b"h2";
/// Octets of the headers of one response.
const HEADERS: u32 = 16 << 10;
/// Octets of one response that were not read yet.
const WINDOW: u32 = 128 << 10;
/// Octets of all responses of a connection that were not read yet.
const WINDOWS: u32 = 1 << 20;

/// What is said on a stream.
pub(crate) trait Exchange: Clone + 'static {
    /// Asks for `query`'s reply.
    fn ask(
        self,
        requests: SendRequest<Bytes>,
        query: Vec<u8>,
    ) -> impl Future<Output = Result<Vec<u8>, Error>> + 'static;
}

/// A connection, and what is said on its streams.
struct Http2<E> {
    requests: SendRequest<Bytes>,
    exchange: E,
}

impl<E: Exchange> Session for Http2<E> {
    fn ask(&self, query: Vec<u8>) -> impl Future<Output = Result<Vec<u8>, Error>> + 'static {
        self.exchange.clone().ask(self.requests.clone(), query)
    }
}

/// Whether the server has agreed to HTTP/2.
pub(crate) fn agreed<S>(stream: &TlsStream<S>) -> Result<(), Error> {
    match stream.get_ref().1.alpn_protocol() {
        Some(ALPN) => Ok(()),
        _ => Err(Error {
            call: "dial",
            reason: Reason::Tls("tls: the server does not support HTTP/2".into()),
        }),
    }
}

/// Carries the queries of a connection to its end; gives why it ended.
pub(crate) async fn carry<S>(
    engine: &Rc<Engine>,
    connection: &Rc<Connection>,
    stream: S,
    exchange: impl Exchange,
) -> Error
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let opened = h2::client::Builder::new()
        .enable_push(false)
        .initial_window_size(WINDOW)
        .initial_connection_window_size(WINDOWS)
        .max_header_list_size(HEADERS)
        .handshake(stream)
        .await;
    let (requests, work) = match opened {
        Ok(opened) => opened,
        Err(error) => return of(&error),
    };
    let session = Http2 { requests, exchange };
    tokio::select! {
        ended = work => ended.map_or_else(|error| of(&error), |()| Error::closed()),
        error = multiplex::carry(engine, connection, &session) => error,
    }
}

/// Sends a request, and waits for the headers of its response.
pub(crate) async fn request(
    requests: SendRequest<Bytes>,
    request: Request<()>,
    body: Option<Vec<u8>>,
) -> Result<Response<RecvStream>, Error> {
    let mut requests = requests.ready().await.map_err(|error| of(&error))?;
    let sent = requests.send_request(request, body.is_none());
    let (response, mut stream) = sent.map_err(|error| of(&error))?;
    if let Some(body) = body {
        let sent = stream.send_data(body.into(), true);
        sent.map_err(|error| of(&error))?;
    }
    response.await.map_err(|error| of(&error))
}

/// Reads the body of a response, so many octets at most.
pub(crate) async fn body(stream: &mut RecvStream, most: usize) -> Result<Vec<u8>, Error> {
    let mut out = Vec::new();
    while let Some(piece) = stream.data().await {
        let piece = piece.map_err(|error| of(&error))?;
        if out.len() + piece.len() > most {
            return Err(refused(format_args!(
                "a response of more than {most} octets"
            )));
        }
        out.extend_from_slice(&piece);
        let _ = stream.flow_control().release_capacity(piece.len());
    }
    Ok(out)
}

/// Reads what stands behind the body of a response.
pub(crate) async fn trailers(stream: &mut RecvStream) -> Result<Option<HeaderMap>, Error> {
    stream.trailers().await.map_err(|error| of(&error))
}

/// Whether a header says that the media type is `expected`, whatever its parameters.
pub(crate) fn is_of_type(headers: &HeaderMap, expected: &str) -> bool {
    let value = headers.get(http::header::CONTENT_TYPE);
    value
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| {
            let bare = value.split(';').next().unwrap_or_default();
            bare.trim().eq_ignore_ascii_case(expected)
        })
}

/// A response that is no reply.
pub(crate) fn refused(why: impl Display) -> Error {
    Error {
        call: "read",
        reason: Reason::Protocol(why.to_string().into()),
    }
}

/// What an error of a stream or connection means. A connection that its server gives up (GOAWAY), and a stream that it did not look at
/// (REFUSED_STREAM), say nothing of the query: it may be sent again (RFC 9113, section 8.7).
fn of(error: &h2::Error) -> Error {
    if let Some(error) = error.get_io() {
        return match error.kind() {
            // TLS without its end, and what hyper and Go call an end.
            io::ErrorKind::UnexpectedEof => Error::closed(),
            _ => Error::io("read", error),
        };
    }
    let remote_end = error.is_go_away() && error.is_remote();
    if remote_end || error.reason() == Some(Code::REFUSED_STREAM) {
        return Error::closed();
    }
    refused(format_args!("http2: {error}"))
}
