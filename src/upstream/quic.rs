//! DNS over QUIC to upstreams (RFC 9250): one connection, a stream a query, by quinn.
//!
//! A connection has a socket of its own. 0-RTT is not used: what it carries can be replayed (RFC 9250, section 9.1).

use std::future::Future;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;

use chain::setup::BuildError;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{
    ClientConfig, ConnectionError, ReadError, ReadToEndError, TransportConfig, VarInt, WriteError,
};
use rustls::pki_types::ServerName;
use wire::EdnsOption;

use crate::endpoint::Endpoint;
use crate::engine::Engine;
use crate::error::{Error, Reason};
use crate::message;
use crate::multiplex::{self, LONGEST, Session};
use crate::protocol::ProtocolKey;
use crate::stream::Connection;
use crate::tls;

/// The name of the protocol in TLS (RFC 9250, section 4.1.1).
const ALPN: &[u8] = b"doq";
/// DOQ_PROTOCOL_ERROR (RFC 9250, section 4.3).
const PROTOCOL_ERROR: VarInt = VarInt::from_u32(2);
/// DOQ_REQUEST_CANCELLED.
const REQUEST_CANCELLED: VarInt = VarInt::from_u32(3);
/// Octets of one reply that were not read yet: its length and a whole message.
const WINDOW: VarInt = VarInt::from_u32(LONGEST as u32 + 2);
/// Octets of all replies of a connection that were not read yet.
const WINDOWS: VarInt = VarInt::from_u32(1 << 20);

/// What DNS over QUIC to one upstream needs.
pub struct QuicClient {
    config: ClientConfig,
    /// The name that the certificate must bear.
    name: ServerName<'static>,
    /// Its place in memory tells configurations apart, and is no other's as long as it is held.
    shared: Arc<rustls::ClientConfig>,
}

impl QuicClient {
    /// Of the name that the certificate must bear.
    ///
    /// # Errors
    /// When the configuration cannot be used for QUIC.
    pub fn new(
        shared: &Arc<rustls::ClientConfig>,
        name: ServerName<'static>,
    ) -> Result<Self, BuildError> {
        let tls = QuicClientConfig::try_from(tls::speaking(shared, ALPN))
            .map_err(|error| BuildError::new(format!("QUIC: {error}")))?;
        let mut transport = TransportConfig::default();
        transport
            .max_concurrent_bidi_streams(VarInt::from_u32(0))
            .max_concurrent_uni_streams(VarInt::from_u32(0))
            .datagram_receive_buffer_size(None)
            .stream_receive_window(WINDOW)
            .receive_window(WINDOWS);
        let mut config = ClientConfig::new(Arc::new(tls));
        config.transport_config(Arc::new(transport));
        Ok(Self {
            config,
            name,
            shared: shared.clone(),
        })
    }

    /// What tells it from others.
    pub(crate) fn key(&self) -> ProtocolKey {
        ProtocolKey {
            tls: Some((self.name.clone(), Arc::as_ptr(&self.shared).addr())),
            ..ProtocolKey::default()
        }
    }
}

/// Makes a connection.
pub(crate) async fn connect(
    endpoint: &Endpoint,
    client: &QuicClient,
) -> Result<quinn::Connection, Error> {
    let dial = |error: &std::io::Error| Error::io("dial", error);
    let socket = endpoint.socket(false).map_err(|error| dial(&error))?;
    if endpoint.source.is_none() {
        let any = match endpoint.address {
            SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
        };
        socket.bind(&any.into()).map_err(|error| dial(&error))?;
    }
    let local = quinn::Endpoint::new(
        quinn::EndpointConfig::default(),
        None,
        socket.into(),
        Arc::new(quinn::TokioRuntime),
    )
    .map_err(|error| dial(&error))?;
    let connecting = local
        .connect_with(
            client.config.clone(),
            endpoint.address,
            &client.name.to_str(),
        )
        .map_err(|error| wrong(&error))?;
    connecting.await.map_err(|error| match error {
        ConnectionError::TimedOut => Error::timeout("dial"),
        error => wrong(&error),
    })
}

/// A connection that could not be made.
fn wrong(error: &dyn std::fmt::Display) -> Error {
    Error {
        call: "dial",
        reason: Reason::Tls(tls::failure::told("quic", error).into()),
    }
}

/// Carries the queries of a connection to its end; gives why it ended.
pub(crate) async fn carry(
    engine: &Rc<Engine>,
    connection: &Rc<Connection>,
    session: quinn::Connection,
) -> Error {
    tokio::select! {
        ended = session.closed() => of(&ended),
        error = multiplex::carry(engine, connection, &session) => error,
    }
}

impl Session for quinn::Connection {
    fn ask(&self, query: Vec<u8>) -> impl Future<Output = Result<Vec<u8>, Error>> + 'static {
        ask(self.clone(), query)
    }
}

/// Sends a query on a stream of its own, and reads the reply to its end.
async fn ask(session: quinn::Connection, query: Vec<u8>) -> Result<Vec<u8>, Error> {
    // A server has to close the connection of whoever sends it (RFC 9250, section 5.5.2), and a client's query may have it.
    let query = message::without_option(&query, EdnsOption::TCP_KEEPALIVE).unwrap_or(query);
    let (mut sending, receiving) = session.open_bi().await.map_err(|error| of(&error))?;
    let mut receiving = Reading(receiving);
    let len = u16::try_from(query.len()).map_err(|_| Error::malformed())?;
    let mut framed = len.to_be_bytes().to_vec();
    framed.extend_from_slice(&query);
    sending
        .write_all(&framed)
        .await
        .map_err(|error| match error {
            WriteError::ConnectionLost(error) => of(&error),
            error => refused(&error),
        })?;
    let _ = sending.finish();
    let read = receiving.0.read_to_end(2 + LONGEST).await;
    let octets = read.map_err(|error| match error {
        ReadToEndError::Read(ReadError::ConnectionLost(error)) => of(&error),
        ReadToEndError::Read(error) => refused(&error),
        ReadToEndError::TooLong => refused(&"a response of more than 65,535 octets"),
    })?;
    let reply = match octets.split_first_chunk::<2>() {
        Some((len, reply)) if usize::from(u16::from_be_bytes(*len)) == reply.len() => reply,
        _ => return Err(Error::malformed()),
    };
    // "a client or server receives a message with a non-zero Message ID" (RFC 9250, section 4.3.3).
    if reply.first_chunk() != Some(&[0, 0]) {
        session.close(PROTOCOL_ERROR, b"message ID");
        return Err(refused(&"a message ID that is not 0"));
    }
    Ok(reply.to_vec())
}

/// A stream that is read. Dropped before its end, it tells the server so (RFC 9250, section 4.3.1).
struct Reading(quinn::RecvStream);

impl Drop for Reading {
    fn drop(&mut self) {
        // One that has ended does not mind.
        let _ = self.0.stop(REQUEST_CANCELLED);
    }
}

/// A stream on which no reply comes.
fn refused(why: &dyn std::fmt::Display) -> Error {
    Error {
        call: "read",
        reason: Reason::Protocol(format!("quic: {why}").into()),
    }
}

/// Why a connection was lost.
fn of(error: &ConnectionError) -> Error {
    match error {
        ConnectionError::TimedOut => Error::timeout("read"),
        ConnectionError::LocallyClosed
        | ConnectionError::Reset
        | ConnectionError::ConnectionClosed(_)
        | ConnectionError::ApplicationClosed(_) => Error::closed(),
        error => refused(error),
    }
}
