//! TLS handshakes: the first thing on a connection whose listener has a certificate, and the dearest (0.3 ms of a core for a full one).
//!
//! Each is in the task of its connection, so a slow one holds up nobody; it ends with the time that a message may take, and of those
//! under way the longest of whoever has most goes when they are too many ([`crate::admission`]). A step of one counts as [`COST`] messages
//! of its connection's turn, so after a few handshakes everything else that is ready on the worker runs.

use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::admission::Ticket;
use crate::worker::Worker;

/// What one computes, in messages ([`super::turns`]).
const COST: usize = 32;
/// Octets that a session holds of what is to be sent, beside what the connection does.
const SENDING: usize = 16 * 1024;

/// A handshake's entry at admission.
struct UnderWay<'a>(&'a Worker, Ticket);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.admission.end_handshake(self.1);
    }
}

/// The session that a handshake gives on `stream`; `None` where it fails or takes longer than `limit`.
pub(crate) async fn shake<S: AsyncRead + AsyncWrite + Unpin>(
    worker: &Worker,
    (client, close): (IpAddr, Rc<Notify>),
    stream: S,
    config: Arc<ServerConfig>,
    limit: Duration,
) -> Option<TlsStream<S>> {
    let ticket = worker.admission.begin_handshake(client, close);
    let _under_way = UnderWay(worker, ticket);
    let accepting = TlsAcceptor::from(config).accept_with(stream, |session| {
        session.set_buffer_limit(Some(SENDING));
    });
    let mut accepting = pin!(accepting);
    let counted = poll_fn(|context| {
        worker.turns.spend(COST);
        accepting.as_mut().poll(context)
    });
    let shaken = timeout(limit, counted).await;
    // Why it failed is the client's business; it has been sent an alert.
    shaken.ok()?.ok()
}
