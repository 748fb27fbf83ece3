//! Connections on which each query has a stream of its own, as on HTTP/2 and QUIC.
//!
//! ```text
//! Connection::send ──► outgoing buffer ──► carry ──► Session::ask, a local task a query ──► Engine::conclude
//! ```
//!
//! Pool, connection, IDs and timers are those of `stream.rs`. The ID of a query tells its stream here, and never leaves: on the wire it
//! is 0, so that HTTP caches may keep replies (RFC 8484, section 4.1) and because RFC 9250, section 4.2.1, demands it. A query that ends
//! before its stream does has the stream reset.

use std::future::Future;
use std::rc::Rc;

use crate::engine::Engine;
use crate::error::Error;
use crate::stream::Connection;

/// The longest message that a stream may carry.
pub(crate) const LONGEST: usize = u16::MAX as usize;

/// An open connection of this kind.
pub(crate) trait Session {
    /// Sends `query` on a stream of its own, and waits for its reply. Dropped before its end, the stream is reset.
    fn ask(&self, query: Vec<u8>) -> impl Future<Output = Result<Vec<u8>, Error>> + 'static;
}

/// Gives each query that comes to the connection a stream. Does not end; whoever drives the session drops it.
pub(crate) async fn carry(
    engine: &Rc<Engine>,
    connection: &Rc<Connection>,
    session: &impl Session,
) -> Error {
    connection.set_connected();
    let mut batch = Vec::new();
    loop {
        connection.next_batch(&mut batch).await;
        let mut rest = &batch[..];
        while let Some((len, behind)) = rest.split_first_chunk::<2>() {
            let Some((message, behind)) = behind.split_at_checked(u16::from_be_bytes(*len).into())
            else {
                break;
            };
            rest = behind;
            let mut query = message.to_vec();
            let id = crate::message::set_id(&mut query, 0);
            // Whoever asked may have given up while the connection was made.
            if connection.ids.get(id).is_none() {
                continue;
            }
            let (engine, own) = (engine.clone(), connection.clone());
            let reply = session.ask(query);
            let stream = tokio::task::spawn_local(async move {
                let outcome = reply.await;
                own.stream_ended(id);
                if outcome.as_ref().is_err_and(Error::is_dead_connection) {
                    own.retire();
                }
                engine.conclude(&own.ids, id, outcome);
            });
            connection.stream_began(id, stream.abort_handle());
        }
        batch.clear();
    }
}
