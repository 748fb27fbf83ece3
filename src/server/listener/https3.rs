//! DNS over HTTP/3 (RFC 9114): the requests of a QUIC connection, answered as those of `https.rs` are.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use chain::setup::StreamLimits;
use h3::error::StreamError;
use h3::server::RequestStream;
use h3_quinn::BidiStream;
use http::header::CONTENT_LENGTH;
use http::{HeaderValue, Request, Response};
use hyper::body::{Body, Frame};
use quinn::{Connection, VarInt};
use tokio::time::{sleep, timeout};

use super::connection::Accepted;
use super::http::{HEADERS, Requests};
use super::https;

/// H3_NO_ERROR and H3_EXCESSIVE_LOAD.
const NO_ERROR: VarInt = VarInt::from_u32(0x100);
const EXCESSIVE_LOAD: VarInt = VarInt::from_u32(0x107);
/// How often it is looked whether open requests have ended.
const TICK: Duration = Duration::from_millis(20);

/// One request's stream.
type Stream = RequestStream<BidiStream<Bytes>, Bytes>;

/// A request's body.
struct Incoming<'a>(&'a mut Stream);

impl Body for Incoming<'_> {
    type Data = Bytes;
    type Error = StreamError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        let received = ready!(self.0.poll_recv_data(context));
        let frame = received.map(|data| {
            data.map(|mut data| {
                let len = data.remaining();
                Frame::data(data.copy_to_bytes(len))
            })
        });
        Poll::Ready(frame.transpose())
    }
}

/// Serves a connection to its end.
pub(crate) async fn serve(connection: Connection, accepted: Accepted, limits: StreamLimits) {
    let listener = accepted.listener.clone();
    let table = listener.table(&accepted.registration.worker.shared).await;
    let requests = Requests::new(accepted, limits, table.server.clone());
    drop(table);
    let mut builder = h3::server::builder();
    builder
        .max_field_section_size(HEADERS as u64)
        .send_grease(false);
    let built = builder.build::<_, Bytes>(h3_quinn::Connection::new(connection.clone()));
    let Ok(Ok(mut http)) = timeout(limits.read, built).await else {
        return;
    };
    while listener.last_table().is_none() {
        let resolver = tokio::select! {
            resolver = http.accept() => resolver,
            () = listener.closed.notified() => continue,
        };
        let Ok(Some(resolver)) = resolver else { return };
        requests.client.spend(1);
        let (requests, connection) = (requests.clone(), connection.clone());
        tokio::task::spawn_local(async move {
            let resolved = timeout(limits.read, resolver.resolve_request()).await;
            if let Ok(Ok((request, stream))) = resolved {
                answer(&requests, request, stream).await;
                if requests.has_to_end() {
                    connection.close(EXCESSIVE_LOAD, b"");
                }
            }
        });
    }
    let _ = http.shutdown(0).await;
    while Rc::strong_count(&requests) > 1 && connection.close_reason().is_none() {
        sleep(TICK).await;
    }
    connection.close(NO_ERROR, b"");
}

/// Answers one request.
async fn answer(requests: &Requests, request: Request<()>, mut stream: Stream) {
    let open = requests.begin();
    let (head, ()) = request.into_parts();
    let request = Request::from_parts(head, Incoming(&mut stream));
    let response = https::respond(requests, request).await;
    let (mut head, content) = response.into_parts();
    let data = content.data.unwrap_or_default();
    head.headers
        .insert(CONTENT_LENGTH, HeaderValue::from(data.len()));
    // A client that takes nothing, or has gone, is not waited for.
    let written = timeout(requests.limits.write, async {
        stream.send_response(Response::from_parts(head, ())).await?;
        stream.send_data(data).await?;
        stream.finish().await
    });
    let _ = written.await;
    drop(open);
}
