//! TLS handshakes: the first thing on a connection whose listener has a certificate, and the dearest (0.3 ms of a core for a full one).
//!
//! Each is in the task of its connection, so a slow one holds up nobody; it ends with the time that a message may take, and of those
//! under way the longest of whoever has most goes when they are too many ([`crate::admission`]). They take turns: of those that have
//! something to compute, [`AT_ONCE`] do, then everything else that is ready on the worker has its turn.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, Semaphore};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::admission::Ticket;
use crate::worker::Worker;

/// Handshakes that compute before other tasks have their turn.
const AT_ONCE: usize = 4;
/// Octets that a session holds of what is to be sent, beside what the connection does.
const SENDING: usize = 16 * 1024;

/// The turns of a worker's handshakes.
pub(crate) struct Turns(Semaphore);

impl Default for Turns {
    fn default() -> Self {
        Self(Semaphore::new(AT_ONCE))
    }
}

impl Turns {
    /// Polls `future` to its end, whenever it is its turn.
    async fn take<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        loop {
            let permit = self.0.acquire().await;
            tokio::task::yield_now().await;
            let polled = poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await;
            drop(permit);
            if let Poll::Ready(output) = polled {
                return output;
            }
            // Whatever wakes this task from here on ends this wait.
            let waited = Cell::new(false);
            poll_fn(|_| match waited.replace(true) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            })
            .await;
        }
    }
}

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
    let shaken = timeout(limit, worker.handshakes.take(accepting)).await;
    // Why it failed is the client's business; it has been sent an alert.
    shaken.ok()?.ok()
}
