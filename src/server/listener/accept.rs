//! Accepts the connections of a stream listener, and starts serving each.
//!
//! Everybody is let in; whom admission displaces for that is closed ([`crate::admission`]). Where the process has no descriptor for the
//! next one, an idle connection is closed as well.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::Duration;

use chain::{Encryption, Transport};
use rustls::ProtocolVersion;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::connection::{Accepted, Connection, Registration};
use super::{handshake, http, proxy};
use crate::worker::{Listener, Worker, canonical};

/// Pauses after an error of accepting.
const PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// Accepts connections until the listener closes.
pub(crate) async fn serve(
    worker: Rc<Worker>,
    listener: Rc<Listener>,
    transport: Transport,
    socket: std::net::TcpListener,
) {
    let Ok(socket) = TcpListener::from_std(socket) else {
        return;
    };
    let begin = |connection| begin(&worker, &listener, transport, connection);
    let mut spare = socket.as_fd().try_clone_to_owned().ok();
    let mut pause = PAUSES.0;
    while listener.last_table().is_none() {
        tokio::select! {
            accepted = socket.accept() => match accepted {
                Ok(connection) => {
                    pause = PAUSES.0;
                    begin(connection);
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    // No descriptors, no memory: others have to give some back (T10).
                    if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) {
                        // accept(2) fails for want of a descriptor whether somebody waits or not; with the spare one it tells.
                        drop(spare.take());
                        match timeout(Duration::ZERO, socket.accept()).await {
                            Ok(Ok(connection)) => {
                                begin(connection);
                                worker.admission.close_one();
                            }
                            Ok(Err(_)) => worker.admission.close_one(),
                            Err(_) => {}
                        }
                    }
                    sleep(pause).await;
                    pause = (pause * 2).min(PAUSES.1);
                    spare = spare.or_else(|| socket.as_fd().try_clone_to_owned().ok());
                }
            },
            () = listener.closed.notified() => {}
        }
    }
    drop(spare);
    while let Ok(Ok(connection)) = timeout(Duration::ZERO, socket.accept()).await {
        begin(connection);
    }
}

/// Whether an error of `accept` says something of the connection only (accept(2)).
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

/// Starts serving a connection.
fn begin(
    worker: &Rc<Worker>,
    listener: &Rc<Listener>,
    transport: Transport,
    (stream, peer): (TcpStream, SocketAddr),
) {
    let _ = stream.set_nodelay(true);
    let local = stream.local_addr().unwrap_or(peer);
    let ends = (canonical(peer), canonical(local));
    let (ticket, close) = worker.admission.connect(ends.0.ip());
    let accepted = Accepted {
        listener: listener.clone(),
        registration: Registration::new(worker.clone(), ticket),
        ends,
        transport,
        encryption: Encryption::None,
    };
    let told = close.clone();
    let worker = worker.clone();
    let served = Box::pin(async move {
        tokio::select! {
            () = serve_one(stream, accepted, close) => {}
            () = told.notified() => {}
        }
    });
    tokio::task::spawn_local(async move { worker.turns.take(served).await });
}

/// Serves a connection to its end.
async fn serve_one(mut stream: TcpStream, mut accepted: Accepted, close: Rc<Notify>) {
    let worker = accepted.registration.worker.clone();
    let table = accepted.listener.table(&worker.shared).await;
    let limit = table.streams.read;
    if let Some(protocol) = &table.proxy {
        let header = proxy::accept(&mut stream, protocol, accepted.ends);
        let Ok(Some(ends)) = timeout(table.streams.idle, header).await else {
            return;
        };
        if ends != accepted.ends {
            // From here on the connection is its client's.
            accepted.ends = (canonical(ends.0), canonical(ends.1));
            let ticket = worker
                .admission
                .connect_as(accepted.ends.0.ip(), close.clone());
            accepted.registration = Registration::new(worker.clone(), ticket);
        }
    }
    accepted.registration.place = accepted.listener.places.enter(
        accepted.ends.0.ip(),
        table.bounds.connections as usize,
        close.clone(),
    );
    let tls = table.tls.clone();
    drop(table);
    let Some(tls) = tls else {
        return speak(stream, accepted, Spoken::Unknown).await;
    };
    // In a box: a connection in clear text does not pay for the room that TLS takes.
    let encrypted = Box::pin(async move {
        let who = (accepted.ends.0.ip(), close);
        let stream = handshake::shake(&worker, who, stream, tls, limit).await;
        if let Some(stream) = stream {
            let session = stream.get_ref().1;
            accepted.encryption = match session.protocol_version() {
                Some(ProtocolVersion::TLSv1_3) => Encryption::Tls13,
                _ => Encryption::Tls12,
            };
            let spoken = match session.alpn_protocol() {
                Some(b"h2") => Spoken::Http2,
                _ => Spoken::Unknown,
            };
            speak(stream, accepted, spoken).await;
        }
    });
    encrypted.await;
}

/// What both sides have agreed on by ALPN.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Spoken {
    Http2,
    /// Nothing, or nothing that matters.
    Unknown,
}

/// Speaks on a connection what its transport says.
async fn speak<S: AsyncRead + AsyncWrite + Unpin + 'static>(
    stream: S,
    accepted: Accepted,
    spoken: Spoken,
) {
    match accepted.transport {
        Transport::Https => {
            Box::pin(http::serve(stream, accepted, spoken == Spoken::Http2)).await;
        }
        // gRPC is HTTP/2 always.
        Transport::Grpc => Box::pin(http::serve(stream, accepted, true)).await,
        _ => Connection::new(stream, accepted).serve().await,
    }
}
