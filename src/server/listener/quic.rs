//! QUIC under DoQ and DoH3: one endpoint a socket, its connections and their bounds.
//!
//! ```text
//! socket ─► quinn::Endpoint ─► Incoming ─┬─ under load, from an address that has not shown itself: Retry (RFC 9000, section 8.1)
//!                                        └─ a task: handshake ─► doq.rs, https3.rs
//! ```
//!
//! Each connection is a task from its first packet on, so a slow handshake holds up nobody. Connections stay on the addresses that they
//! began with: another address would be another worker's socket. Early data (0-RTT) is refused, since it can be replayed.

use std::cell::Cell;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use chain::{Encryption, Transport};
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{
    Endpoint, EndpointConfig, Incoming, ServerConfig, TokioRuntime, TransportConfig, VarInt,
};
use tokio::sync::Notify;
use tokio::time::timeout;
use tracing::warn;

use super::connection::{Accepted, Registration};
use super::doq;
#[cfg(feature = "https3")]
use super::https3;
use crate::route::Table;
use crate::worker::{Listener, Worker, canonical};

/// Handshakes of a socket under way, from which on clients have to show that their address is theirs.
const LOAD: usize = 32;
/// Connections that have begun and are not looked at yet.
const INCOMING: usize = 256;
/// Octets that come for those, of one and of all.
const INCOMING_OCTETS: (u64, u64) = (16 << 10, 1 << 20);
/// Octets that a client may send ahead, on a stream and on a connection.
const WINDOWS: (u32, u32) = (16 << 10, 256 << 10);
/// Octets that a client has not acknowledged.
const SENDING: u64 = 256 << 10;
/// The longest wait for connections to end in order.
const LINGER: Duration = Duration::from_secs(1);
/// DOQ_EXCESSIVE_LOAD and H3_EXCESSIVE_LOAD.
const EXCESSIVE_LOAD: (u32, u32) = (4, 0x107);

/// Serves one socket until its listener closes.
pub(crate) async fn serve(
    worker: Rc<Worker>,
    listener: Rc<Listener>,
    transport: Transport,
    socket: UdpSocket,
) {
    let local = socket
        .local_addr()
        .unwrap_or(SocketAddr::from(([0, 0, 0, 0], 0)));
    let mut table = listener.table(&worker.shared).await;
    let Some(mut config) = config(&table) else {
        // `quic://` without `tls` is refused when the Corefile is read.
        return;
    };
    let runtime = Arc::new(TokioRuntime);
    let settings = (EndpointConfig::default(), Some(config.clone()));
    let endpoint = match Endpoint::new(settings.0, settings.1, socket, runtime) {
        Ok(endpoint) => endpoint,
        Err(error) => {
            warn!("a QUIC socket on {local} cannot be served: {error}");
            return;
        }
    };
    let shaking = Rc::new(Cell::new(0));
    while listener.last_table().is_none() {
        let incoming = tokio::select! {
            incoming = endpoint.accept() => incoming,
            () = listener.closed.notified() => continue,
        };
        let Some(incoming) = incoming else { return };
        let now = listener.table(&worker.shared).await;
        if !Arc::ptr_eq(&now, &table) {
            // A reload. The keys of Retry stay, so that a handshake may go on.
            if let Some(new) = self::config(&now) {
                (config.crypto, config.transport) = (new.crypto, new.transport);
                endpoint.set_server_config(Some(config.clone()));
            }
            table = now;
        }
        if shaking.get() >= LOAD && !incoming.remote_address_validated() && incoming.may_retry() {
            let _ = incoming.retry();
            continue;
        }
        let begun = Begun {
            worker: worker.clone(),
            listener: listener.clone(),
            transport,
            local,
            shaking: shaking.clone(),
        };
        begun.serve(incoming, &table);
    }
    endpoint.set_server_config(None);
    // Connections end by themselves when their queries are answered.
    while endpoint.open_connections() > 0 && Rc::strong_count(&listener) > 1 {
        let _ = timeout(LINGER, endpoint.wait_idle()).await;
    }
    endpoint.close(VarInt::from_u32(0), b"");
    let _ = timeout(LINGER, endpoint.wait_idle()).await;
}

/// What a table says of the connections of its endpoint.
fn config(table: &Table) -> Option<ServerConfig> {
    let tls = table.tls.clone()?;
    let crypto = QuicServerConfig::try_from(tls).ok()?;
    let streams = match table.bounds.streams {
        0 => VarInt::MAX,
        streams => VarInt::from_u32(streams),
    };
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(streams)
        .stream_receive_window(VarInt::from_u32(WINDOWS.0))
        .receive_window(VarInt::from_u32(WINDOWS.1))
        .send_window(SENDING)
        .datagram_receive_buffer_size(None)
        .max_idle_timeout(table.streams.idle.try_into().ok());
    // HTTP/3 has three streams of its own; DoQ has none.
    let own = VarInt::from_u32(if table.transport == Transport::Quic {
        0
    } else {
        8
    });
    transport.max_concurrent_uni_streams(own);
    let mut config = ServerConfig::with_crypto(Arc::new(crypto));
    config
        .transport_config(Arc::new(transport))
        .migration(false)
        .max_incoming(INCOMING)
        .incoming_buffer_size(INCOMING_OCTETS.0)
        .incoming_buffer_size_total(INCOMING_OCTETS.1);
    Some(config)
}

/// A connection that has sent its first packet.
struct Begun {
    worker: Rc<Worker>,
    listener: Rc<Listener>,
    transport: Transport,
    local: SocketAddr,
    shaking: Rc<Cell<usize>>,
}

/// A handshake under way, counted by its socket and at admission.
struct Shaking {
    worker: Rc<Worker>,
    count: Rc<Cell<usize>>,
    ticket: crate::admission::Ticket,
}

impl Shaking {
    fn new(begun: &Begun, client: IpAddr, close: Rc<Notify>) -> Self {
        begun.shaking.set(begun.shaking.get() + 1);
        Self {
            worker: begun.worker.clone(),
            count: begun.shaking.clone(),
            ticket: begun.worker.admission.begin_handshake(client, close),
        }
    }
}

impl Drop for Shaking {
    fn drop(&mut self) {
        self.count.set(self.count.get() - 1);
        self.worker.admission.end_handshake(self.ticket);
    }
}

impl Begun {
    /// Serves the connection, as a task.
    fn serve(self, incoming: Incoming, table: &Table) {
        let peer = canonical(incoming.remote_address());
        let local = incoming.local_ip().unwrap_or(self.local.ip());
        let local = canonical(SocketAddr::new(local, self.local.port()));
        let (ticket, close) = self.worker.admission.connect(peer.ip());
        let mut registration = Registration::new(self.worker.clone(), ticket);
        registration.place =
            self.listener
                .places
                .enter(peer.ip(), table.bounds.connections as usize, close.clone());
        let shaking = Shaking::new(&self, peer.ip(), close.clone());
        let accepted = Accepted {
            listener: self.listener,
            registration,
            ends: (peer, local),
            transport: self.transport,
            encryption: Encryption::Tls13,
        };
        let limits = table.streams;
        let worker = self.worker;
        let served = Box::pin(async move {
            let Ok(connecting) = incoming.accept() else {
                return;
            };
            // Who says nothing more lapses without a word, which would be more than three times what came.
            let shaken = tokio::select! {
                shaken = timeout(limits.idle + LINGER, connecting) => shaken,
                () = close.notified() => return,
            };
            drop(shaking);
            let Ok(Ok(connection)) = shaken else { return };
            let overload = match accepted.transport {
                Transport::Quic => EXCESSIVE_LOAD.0,
                _ => EXCESSIVE_LOAD.1,
            };
            let shown = connection.clone();
            // Inside of the branch: HTTP/3 closes the connection with a code of its own when it is dropped.
            let displaced = async {
                close.notified().await;
                shown.close(VarInt::from_u32(overload), b"too many connections");
            };
            tokio::select! {
                () = speak(connection, accepted, limits) => {}
                () = displaced => {}
            }
        });
        tokio::task::spawn_local(async move { worker.turns.take(served).await });
    }
}

/// Speaks on a connection what its transport says.
async fn speak(
    connection: quinn::Connection,
    accepted: Accepted,
    limits: chain::setup::StreamLimits,
) {
    match accepted.transport {
        #[cfg(feature = "https3")]
        Transport::Https3 => https3::serve(connection, accepted, limits).await,
        _ => doq::serve(connection, accepted, limits).await,
    }
}
