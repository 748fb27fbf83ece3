//! A server of every transport, and a client of each: one message goes out, and what comes back is told apart from nothing.

use std::future::poll_fn;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::{HeaderMap, Request, StatusCode};
use quinn::crypto::rustls::QuicClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream, UdpSocket};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::https::encoded;
use crate::secure::{Authority, NAME, replace};
use crate::server::{Server, free_port};

/// How long a reply may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A way to ask.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub(crate) enum By {
    Udp,
    Tcp,
    Tls,
    /// DNS over HTTPS by GET.
    Get,
    /// DNS over HTTPS by POST.
    Post,
    Quic,
    Grpc,
    /// DNS over HTTPS by GET over HTTP/3.
    Get3,
    /// DNS over HTTPS by POST over HTTP/3.
    Post3,
}

impl By {
    /// All that the server was built with.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        let all = [
            Self::Udp,
            Self::Tcp,
            Self::Tls,
            Self::Get,
            Self::Post,
            Self::Quic,
            Self::Grpc,
            Self::Get3,
            Self::Post3,
        ];
        all.into_iter()
            .filter(|by| cfg!(feature = "https3") || !by.is_http3())
    }

    fn is_http3(self) -> bool {
        matches!(self, Self::Get3 | Self::Post3)
    }

    /// The scheme of its key.
    pub(crate) fn scheme(self) -> &'static str {
        match self {
            Self::Udp | Self::Tcp => "dns",
            Self::Tls => "tls",
            Self::Get | Self::Post => "https",
            Self::Quic => "quic",
            Self::Grpc => "grpc",
            Self::Get3 | Self::Post3 => "https3",
        }
    }

    /// What the log and metrics call it, as CoreDNS does: by its socket.
    pub(crate) fn protocol(self) -> &'static str {
        match self {
            Self::Udp | Self::Quic | Self::Get3 | Self::Post3 => "udp",
            _ => "tcp",
        }
    }

    /// Whether there is TLS around the messages.
    pub(crate) fn is_encrypted(self) -> bool {
        !matches!(self, Self::Udp | Self::Tcp)
    }

    /// Whether PROXY headers are looked for.
    pub(crate) fn has_headers(self) -> bool {
        !self.is_http3() && self != Self::Quic
    }
}

/// What comes back for a message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Said {
    Reply(Vec<u8>),
    /// No message of DNS; in words, what came instead.
    Nothing(String),
}

impl Said {
    pub(crate) fn reply(&self) -> Option<&[u8]> {
        match self {
            Self::Reply(octets) => Some(octets),
            Self::Nothing(_) => None,
        }
    }
}

/// A client, and what stands before what it sends.
#[derive(Clone, Copy)]
pub(crate) struct Client<'a> {
    /// Where it asks from, on loopback.
    pub(crate) from: Ipv4Addr,
    /// A header of the PROXY protocol, for connections and for datagrams.
    pub(crate) headers: [&'a [u8]; 2],
}

impl Client<'_> {
    pub(crate) const LOCAL: Self = Self::at(1);

    /// The client 127.0.0.`last`.
    pub(crate) const fn at(last: u8) -> Self {
        Self {
            from: Ipv4Addr::new(127, 0, 0, last),
            headers: [&[], &[]],
        }
    }
}

/// The server, with a port for each scheme.
pub(crate) struct Everywhere {
    pub(crate) server: Server,
    authority: Authority,
    ports: Vec<(&'static str, u16)>,
}

impl Everywhere {
    /// Serves blocks of lines, each for the zone before it, by every transport.
    pub(crate) fn start(dir: &Path, blocks: &[(&str, &str)]) -> Self {
        let authority = Authority::new("everywhere");
        authority.server(365).write(dir, "server");
        replace(&dir.join("ca.pem"), &authority.pem);
        let mut ports: Vec<(&'static str, u16)> = Vec::new();
        for by in By::all() {
            if by.scheme() != "dns" && ports.iter().all(|(scheme, _)| *scheme != by.scheme()) {
                ports.push((by.scheme(), free_port()));
            }
        }
        let mut corefile = String::new();
        for (zone, lines) in blocks {
            corefile += &format!("{zone}:{{PORT}}");
            for (scheme, port) in &ports {
                corefile += &format!(" {scheme}://{zone}:{port}");
            }
            corefile +=
                &format!(" {{\n  bind 127.0.0.1\n  tls server.pem server.key\n{lines}\n}}\n");
        }
        Self {
            server: Server::start_in(dir, &corefile),
            authority,
            ports,
        }
    }

    /// Where a transport is served.
    pub(crate) fn address(&self, by: By) -> SocketAddr {
        let found = self.ports.iter().find(|(scheme, _)| *scheme == by.scheme());
        let port = found.map_or(self.server.port(), |(_, port)| *port);
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    /// What comes back for a message. Where nothing is `expected`, a second message tells that the first one has been looked at.
    pub(crate) fn ask(&self, by: By, client: Client<'_>, message: &[u8], expected: bool) -> Said {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let asking = Asking {
            at: self,
            by,
            client,
            message,
            expected,
        };
        runtime.block_on(async {
            match timeout(PATIENCE, asking.ask()).await {
                Ok(Ok(octets)) => Said::Reply(octets),
                Ok(Err(why)) => Said::Nothing(why),
                Err(_) => Said::Nothing(format!("nothing within {PATIENCE:?}")),
            }
        })
    }
}

/// A message that is always answered, with NOTIMP: opcode 15.
const PROBE: [u8; 17] = [0x70, 0x70, 0x78, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1];

struct Asking<'a> {
    at: &'a Everywhere,
    by: By,
    client: Client<'a>,
    message: &'a [u8],
    expected: bool,
}

/// Any error, in words.
fn told(error: impl std::fmt::Display) -> String {
    error.to_string()
}

impl Asking<'_> {
    async fn ask(&self) -> Result<Vec<u8>, String> {
        match self.by {
            By::Udp => self.udp().await,
            By::Tcp => self.framed(self.connect().await?).await,
            By::Tls => self.framed(self.tls("dot").await?).await,
            By::Get | By::Post => self.https().await,
            By::Quic => self.quic().await,
            By::Grpc => self.grpc().await,
            By::Get3 | By::Post3 => self.https3().await,
        }
    }

    async fn udp(&self) -> Result<Vec<u8>, String> {
        let socket = UdpSocket::bind((self.client.from, 0)).await.map_err(told)?;
        let to = self.at.address(self.by);
        let datagram = [self.client.headers[1], self.message].concat();
        socket.send_to(&datagram, to).await.map_err(told)?;
        if !self.expected {
            let datagram = [self.client.headers[1], &PROBE].concat();
            socket.send_to(&datagram, to).await.map_err(told)?;
        }
        let mut buffer = vec![0; 65_535];
        let len = socket.recv(&mut buffer).await.map_err(told)?;
        buffer.truncate(len);
        looked_at(buffer)
    }

    async fn connect(&self) -> Result<TcpStream, String> {
        let socket = TcpSocket::new_v4().map_err(told)?;
        let from = SocketAddr::from((self.client.from, 0));
        socket.bind(from).map_err(told)?;
        let connecting = socket.connect(self.at.address(self.by));
        let mut stream = connecting.await.map_err(told)?;
        stream.set_nodelay(true).map_err(told)?;
        stream
            .write_all(self.client.headers[0])
            .await
            .map_err(told)?;
        Ok(stream)
    }

    async fn tls(&self, alpn: &str) -> Result<TlsStream<TcpStream>, String> {
        let config = self.at.authority.client_config(&[alpn], None);
        let name = ServerName::try_from(NAME).map_err(told)?;
        let connector = TlsConnector::from(Arc::new(config));
        connector
            .connect(name, self.connect().await?)
            .await
            .map_err(told)
    }

    /// Over TCP and TLS: behind its length.
    async fn framed<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        mut stream: S,
    ) -> Result<Vec<u8>, String> {
        let mut octets = framed(self.message);
        if !self.expected {
            octets.extend_from_slice(&framed(&PROBE));
        }
        stream.write_all(&octets).await.map_err(told)?;
        stream.flush().await.map_err(told)?;
        let len = stream.read_u16().await.map_err(told)?;
        let mut reply = vec![0; usize::from(len)];
        stream.read_exact(&mut reply).await.map_err(told)?;
        looked_at(reply)
    }

    /// A request of DNS over HTTPS, and its body.
    fn request(&self) -> Result<(Request<()>, Vec<u8>), String> {
        let get = matches!(self.by, By::Get | By::Get3);
        let uri = format!("https://{NAME}/dns-query");
        let (request, body) = if get {
            let uri = format!("{uri}?dns={}", encoded(self.message));
            (Request::get(uri), Vec::new())
        } else {
            let kind = ("content-type", "application/dns-message");
            (
                Request::post(uri).header(kind.0, kind.1),
                self.message.to_vec(),
            )
        };
        Ok((request.body(()).map_err(told)?, body))
    }

    async fn https(&self) -> Result<Vec<u8>, String> {
        let (request, body) = self.request()?;
        let response = over_http2(self.tls("h2").await?, request, body).await?;
        body_of(response.status, &response.headers, response.body)
    }

    async fn grpc(&self) -> Result<Vec<u8>, String> {
        let len = self.message.len();
        // Field 1 of a packet, behind its length in seven bits an octet.
        let mut packet = match len {
            0..0x80 => vec![0x0A, len as u8],
            _ => vec![0x0A, len as u8 | 0x80, (len >> 7) as u8],
        };
        packet.extend_from_slice(self.message);
        let body = [&[0][..], &(packet.len() as u32).to_be_bytes(), &packet].concat();
        let request = Request::post(format!("https://{NAME}/coredns.dns.DnsService/Query"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())
            .map_err(told)?;
        let response = over_http2(self.tls("h2").await?, request, body).await?;
        let status = response.trailers.as_ref().unwrap_or(&response.headers);
        let status = status.get("grpc-status").cloned();
        if status.as_ref().is_none_or(|status| status != "0") {
            return Err(format!("grpc-status {status:?}"));
        }
        let packet = response.body.get(5..).unwrap_or_default();
        let (&tag, mut rest) = packet.split_first().ok_or("an empty packet")?;
        let mut len = 0;
        for shift in (0..21).step_by(7) {
            let (&octet, behind) = rest.split_first().ok_or("a cut length")?;
            rest = behind;
            len |= usize::from(octet & 0x7F) << shift;
            if octet & 0x80 == 0 {
                break;
            }
        }
        match (tag, rest.len() == len) {
            (0x0A, true) => Ok(rest.to_vec()),
            _ => Err(format!("not a packet: {packet:02x?}")),
        }
    }

    async fn connect_quic(&self, alpn: &str) -> Result<quinn::Connection, String> {
        let config = self.at.authority.client_config(&[alpn], None);
        let crypto = QuicClientConfig::try_from(config).map_err(told)?;
        let config = quinn::ClientConfig::new(Arc::new(crypto));
        let from = SocketAddr::from((self.client.from, 0));
        let endpoint = quinn::Endpoint::client(from).map_err(told)?;
        let connecting = endpoint.connect_with(config, self.at.address(self.by), NAME);
        connecting.map_err(told)?.await.map_err(told)
    }

    async fn quic(&self) -> Result<Vec<u8>, String> {
        let connection = self.connect_quic("doq").await?;
        let (mut send, mut receive) = connection.open_bi().await.map_err(told)?;
        send.write_all(&framed(self.message)).await.map_err(told)?;
        send.finish().map_err(told)?;
        let octets = receive.read_to_end(140_000).await.map_err(told)?;
        let (len, message) = octets.split_at_checked(2).ok_or("an empty stream")?;
        // Of several messages the first one is told.
        let len = usize::from(u16::from_be_bytes([len[0], len[1]]));
        message.get(..len).map(<[u8]>::to_vec).ok_or("cut".into())
    }

    async fn https3(&self) -> Result<Vec<u8>, String> {
        let connection = self.connect_quic("h3").await?;
        let connection = h3_quinn::Connection::new(connection);
        let (mut driver, mut requests) = h3::client::new(connection).await.map_err(told)?;
        tokio::spawn(async move { poll_fn(|context| driver.poll_close(context)).await });
        let (request, body) = self.request()?;
        let mut stream = requests.send_request(request).await.map_err(told)?;
        if !body.is_empty() {
            stream.send_data(Bytes::from(body)).await.map_err(told)?;
        }
        stream.finish().await.map_err(told)?;
        let response = stream.recv_response().await.map_err(told)?;
        let mut body = Vec::new();
        while let Some(mut piece) = stream.recv_data().await.map_err(told)? {
            let len = piece.remaining();
            body.extend_from_slice(&piece.copy_to_bytes(len));
        }
        body_of(response.status(), response.headers(), body)
    }
}

/// A reply, unless it is the one to the probe.
fn looked_at(reply: Vec<u8>) -> Result<Vec<u8>, String> {
    match reply.starts_with(&PROBE[..2]) {
        true => Err("the message after it was answered".to_owned()),
        false => Ok(reply),
    }
}

/// A message behind its length (RFC 1035, 4.2.2).
fn framed(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u16).to_be_bytes()[..], message].concat()
}

/// The message in a response of DNS over HTTPS.
fn body_of(status: StatusCode, headers: &HeaderMap, body: Vec<u8>) -> Result<Vec<u8>, String> {
    if status != StatusCode::OK {
        return Err(format!("status {}", status.as_u16()));
    }
    let kind = headers.get("content-type");
    match kind.is_some_and(|kind| kind == "application/dns-message") {
        true => Ok(body),
        false => Err(format!("content-type {kind:?}")),
    }
}

/// A response of HTTP.
struct Response {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
    trailers: Option<HeaderMap>,
}

async fn over_http2(
    stream: TlsStream<TcpStream>,
    request: Request<()>,
    body: Vec<u8>,
) -> Result<Response, String> {
    let (requests, connection) = h2::client::handshake(stream).await.map_err(told)?;
    tokio::spawn(connection);
    let mut requests = requests.ready().await.map_err(told)?;
    let (response, mut stream) = requests
        .send_request(request, body.is_empty())
        .map_err(told)?;
    if !body.is_empty() {
        stream.send_data(body.into(), true).map_err(told)?;
    }
    let (head, mut stream) = response.await.map_err(told)?.into_parts();
    let mut body = Vec::new();
    while let Some(piece) = stream.data().await {
        body.extend_from_slice(&piece.map_err(told)?);
    }
    Ok(Response {
        status: head.status,
        headers: head.headers,
        body,
        trailers: stream.trailers().await.map_err(told)?,
    })
}
