//! Upstreams over HTTP/2 and QUIC for tests, on loopback, until the process ends. A script says what becomes of each query.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use h2::Reason;
use h2::server::SendResponse;
use http::{HeaderMap, Response, Uri};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Barrier, mpsc};
use tokio_rustls::TlsAcceptor;

/// The authority of the server's certificate, which bears dns.example.org.
pub(crate) fn authority() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("forward/tests/tls/authority.pem")
}

/// The server's side of TLS, for a protocol.
pub(crate) fn server_config(protocol: &[u8]) -> rustls::ServerConfig {
    let chain = CertificateDer::pem_slice_iter(include_bytes!("forward/tests/tls/server.pem"))
        .collect::<Result<_, _>>()
        .expect("a certificate");
    let key = include_bytes!("forward/tests/tls/server.key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::from_pem_slice(key).expect("a key"))
        .expect("a configuration");
    if !protocol.is_empty() {
        config.alpn_protocols = vec![protocol.to_vec()];
    }
    config
}

/// A query as a server saw it.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// The connection that it came by, and its place among all queries.
    pub(crate) connection: usize,
    pub(crate) number: usize,
    pub(crate) method: String,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// A header, or nothing.
    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.and_then(|value| value.to_str().ok()).unwrap_or("")
    }
}

/// What a server has seen.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) requests: Arc<Mutex<Vec<Request>>>,
    pub(crate) connections: Arc<AtomicUsize>,
    /// Streams that were reset while nothing was sent on them.
    pub(crate) resets: Arc<AtomicUsize>,
}

impl Server {
    fn at(address: SocketAddr) -> Self {
        Self {
            address,
            requests: Arc::default(),
            connections: Arc::default(),
            resets: Arc::default(),
        }
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().expect("no panic").clone()
    }

    /// Notes a query; gives its place.
    fn note(&self, mut request: Request) -> Request {
        let mut requests = self.requests.lock().expect("no panic");
        request.number = requests.len();
        requests.push(request.clone());
        request
    }
}

/// What becomes of a query over HTTP/2.
pub(crate) enum Say {
    /// Status, headers, body and trailers.
    Respond(
        u16,
        Vec<(&'static str, String)>,
        Vec<u8>,
        Vec<(&'static str, String)>,
    ),
    /// A response whose body has no end.
    Unfinished(Vec<(&'static str, String)>, Vec<u8>),
    Silence,
    Reset(Reason),
    GoAway(Reason),
}

/// Serves HTTP/2: over TLS where a protocol is named. So many queries are waited for before the first is answered.
pub(crate) fn http2(
    tls: Option<&'static [u8]>,
    together: usize,
    script: impl Fn(&Request) -> Say + Send + Sync + 'static,
) -> Server {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a listener");
    listener.set_nonblocking(true).expect("a socket");
    let server = Server::at(listener.local_addr().expect("an address"));
    let seen = server.clone();
    std::thread::spawn(move || {
        run(async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
            let acceptor = tls.map(|name| TlsAcceptor::from(Arc::new(server_config(name))));
            let shared = Arc::new(Shared {
                seen,
                script: Box::new(script),
                barrier: Barrier::new(together.max(1)),
            });
            while let Ok((stream, _)) = listener.accept().await {
                let (shared, acceptor) = (shared.clone(), acceptor.clone());
                tokio::task::spawn_local(async move {
                    let number = shared.seen.connections.fetch_add(1, Ordering::SeqCst);
                    match acceptor {
                        None => connection(stream, number, shared).await,
                        Some(acceptor) => {
                            if let Ok(stream) = acceptor.accept(stream).await {
                                connection(stream, number, shared).await;
                            }
                        }
                    }
                });
            }
        });
    });
    server
}

/// Runs a future on a runtime of its own.
fn run(work: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    tokio::task::LocalSet::new().block_on(&runtime, work);
}

struct Shared {
    seen: Server,
    script: Box<dyn Fn(&Request) -> Say + Send + Sync>,
    barrier: Barrier,
}

async fn connection<S>(stream: S, number: usize, shared: Arc<Shared>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Ok(mut connection) = h2::server::handshake(stream).await else {
        return;
    };
    let (leave, mut left) = mpsc::unbounded_channel();
    loop {
        tokio::select! {
            accepted = connection.accept() => {
                let Some(Ok((request, respond))) = accepted else {
                    return;
                };
                let work = answer(request, respond, number, shared.clone(), leave.clone());
                tokio::task::spawn_local(work);
            }
            Some(reason) = left.recv() => connection.abrupt_shutdown(reason),
        }
    }
}

async fn answer(
    request: http::Request<h2::RecvStream>,
    mut respond: SendResponse<Bytes>,
    connection: usize,
    shared: Arc<Shared>,
    leave: mpsc::UnboundedSender<Reason>,
) {
    let (head, mut stream) = request.into_parts();
    let mut body = Vec::new();
    while let Some(Ok(piece)) = stream.data().await {
        body.extend_from_slice(&piece);
    }
    let request = shared.seen.note(Request {
        connection,
        number: 0,
        method: head.method.to_string(),
        uri: head.uri,
        headers: head.headers,
        body,
    });
    shared.barrier.wait().await;
    let head = |status: u16, headers: &[(&'static str, String)]| {
        let response = Response::builder().status(status);
        let add = |response: http::response::Builder, (name, value): &(&'static str, String)| {
            response.header(*name, value)
        };
        headers.iter().fold(response, add).body(()).expect("a head")
    };
    match (shared.script)(&request) {
        Say::Respond(status, headers, body, trailers) => {
            let Ok(mut stream) = respond.send_response(head(status, &headers), false) else {
                return;
            };
            let _ = stream.send_data(body.into(), trailers.is_empty());
            if !trailers.is_empty() {
                let _ = stream.send_trailers(head(200, &trailers).headers().clone());
            }
        }
        Say::Unfinished(headers, body) => {
            if let Ok(mut stream) = respond.send_response(head(200, &headers), false) {
                let _ = stream.send_data(body.into(), false);
                let _ = std::future::poll_fn(|context| stream.poll_reset(context)).await;
                shared.seen.resets.fetch_add(1, Ordering::SeqCst);
            }
        }
        Say::Silence => {
            if let Ok(Reason::CANCEL) =
                std::future::poll_fn(|context| respond.poll_reset(context)).await
            {
                shared.seen.resets.fetch_add(1, Ordering::SeqCst);
            }
        }
        Say::Reset(reason) => respond.send_reset(reason),
        Say::GoAway(reason) => {
            let _ = leave.send(reason);
            std::future::pending::<()>().await;
        }
    }
}

/// What becomes of a query over QUIC.
pub(crate) enum Told {
    /// These octets, and the end of the stream.
    Octets(Vec<u8>),
    Silence,
    Reset(u32),
    /// The whole connection is closed with this code.
    Close(u32),
}

/// Serves QUIC. Queries come without their lengths; so many are waited for before the first is answered.
pub(crate) fn quic(
    protocol: &'static [u8],
    together: usize,
    script: impl Fn(&Request) -> Told + Send + Sync + 'static,
) -> Server {
    let socket = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    let server = Server::at(socket.local_addr().expect("an address"));
    let seen = server.clone();
    std::thread::spawn(move || {
        run(async move {
            let tls = server_config(protocol);
            let tls = quinn::crypto::rustls::QuicServerConfig::try_from(tls).expect("TLS 1.3");
            let endpoint = quinn::Endpoint::new(
                quinn::EndpointConfig::default(),
                Some(quinn::ServerConfig::with_crypto(Arc::new(tls))),
                socket,
                Arc::new(quinn::TokioRuntime),
            )
            .expect("an endpoint");
            let script = Arc::new(script);
            let barrier = Arc::new(Barrier::new(together.max(1)));
            while let Some(incoming) = endpoint.accept().await {
                let (seen, script, barrier) = (seen.clone(), script.clone(), barrier.clone());
                tokio::task::spawn_local(async move {
                    let Ok(connection) = incoming.await else {
                        return;
                    };
                    let number = seen.connections.fetch_add(1, Ordering::SeqCst);
                    while let Ok((mut sending, mut receiving)) = connection.accept_bi().await {
                        let (seen, script, barrier) =
                            (seen.clone(), script.clone(), barrier.clone());
                        let connection = connection.clone();
                        tokio::task::spawn_local(async move {
                            let Ok(octets) = receiving.read_to_end(70_000).await else {
                                return;
                            };
                            let request = seen.note(Request {
                                connection: number,
                                number: 0,
                                method: String::new(),
                                uri: Uri::default(),
                                headers: HeaderMap::new(),
                                body: octets.get(2..).unwrap_or_default().to_vec(),
                            });
                            barrier.wait().await;
                            match script(&request) {
                                Told::Octets(octets) => {
                                    let _ = sending.write_all(&octets).await;
                                    let _ = sending.finish();
                                    let _ = sending.stopped().await;
                                }
                                Told::Silence => {
                                    if sending.stopped().await.is_ok() {
                                        seen.resets.fetch_add(1, Ordering::SeqCst);
                                    }
                                }
                                Told::Reset(code) => {
                                    let _ = sending.reset(code.into());
                                }
                                Told::Close(code) => connection.close(code.into(), b""),
                            }
                        });
                    }
                });
            }
        });
    });
    server
}
