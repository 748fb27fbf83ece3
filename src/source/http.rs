//! Requests to servers over HTTP/1.1: one connection at a time, with TLS where the URL says so.
//!
//! A connection is opened anew after every error, and its certificates are read from their files again: they are rotated, and nobody
//! tells. A dead peer is noticed by keepalive and the user timeout of TCP within seconds; every wait is bounded beside.

use std::error::Error;
use std::fmt::{self, Write};
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use upstream::tls::Files;

/// The longest wait for a TCP connection, and for a TLS session.
const CONNECT: Duration = Duration::from_secs(3);
/// Silence after which the kernel asks the peer whether it is there, and between two such questions.
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(4), Duration::from_secs(2), 3);
/// How long sent octets may stay unacknowledged before the connection is given up.
const UNACKNOWLEDGED: Duration = Duration::from_secs(8);
/// The longest line of a stream, in octets.
const LINE: usize = 64 << 20;

/// A server: scheme, host and port, and what stands before every path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Url {
    /// Whether TLS is spoken.
    pub secure: bool,
    /// A name or an address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// What stands before every path: empty, or `/base`.
    pub base: String,
}

impl Url {
    /// Reads `http://HOST[:PORT][/BASE]`, `https://…`, or `HOST[:PORT]`, which is spoken to over TLS if `secure` says so. Without a
    /// port, it is `port`, or that of the scheme.
    ///
    /// # Errors
    /// Why it is none.
    pub fn parse(text: &str, secure: bool, port: Option<u16>) -> Result<Self, String> {
        let (secure, rest) = match text.split_once("://") {
            Some(("http", rest)) => (false, rest),
            Some(("https", rest)) => (true, rest),
            Some((scheme, _)) => return Err(format!("the scheme `{scheme}` is not http or https")),
            None => (secure, text),
        };
        let uri: Uri = format!("http://{rest}")
            .parse()
            .map_err(|_| "not a URL".to_owned())?;
        let authority = uri.authority().ok_or("a host is missing")?;
        if authority.as_str().contains('@') {
            return Err("a user name is not allowed here".to_owned());
        }
        let host = uri.host().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let written = authority.as_str().rsplit_once(':');
        let has_port = written.is_some_and(|(_, port)| !port.contains(']'));
        if host.is_empty() || has_port && authority.port_u16().is_none() {
            return Err("expected HOST:PORT".to_owned());
        }
        if uri.query().is_some() {
            return Err("a query is not allowed here".to_owned());
        }
        let port = authority.port_u16().or(port);
        Ok(Self {
            secure,
            host: host.to_owned(),
            port: port.unwrap_or(if secure { 443 } else { 80 }),
            base: uri.path().trim_end_matches('/').to_owned(),
        })
    }

    /// The `Host` header's value.
    fn authority(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.base)
    }
}

/// A connection to a server. It ends when this is dropped.
pub struct Connection {
    url: Url,
    sender: SendRequest<Full<Bytes>>,
    driver: AbortHandle,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Connection {
    /// Connects; `tls` names the files of TLS.
    ///
    /// # Errors
    /// What went wrong, in words.
    pub async fn open(url: &Url, tls: &Files) -> Result<Self, String> {
        let tcp = within(CONNECT, "connecting", dial(url)).await?;
        let connected = match url.secure {
            false => http1::handshake(TokioIo::new(tcp)).await.map(spawn),
            true => {
                let config = tls.config().map_err(|error| error.message)?;
                let name = ServerName::try_from(url.host.clone())
                    .map_err(|_| format!("{} cannot stand in a certificate", url.host))?;
                let session = TlsConnector::from(Arc::clone(&config)).connect(name, tcp);
                let session = within(CONNECT, "the TLS handshake", session).await?;
                http1::handshake(TokioIo::new(session)).await.map(spawn)
            }
        };
        let (sender, driver) = connected.map_err(|error| words(&error))?;
        Ok(Self {
            url: url.clone(),
            sender,
            driver,
        })
    }

    /// Asks, and waits until the response begins.
    ///
    /// # Errors
    /// What went wrong, in words; the connection is of no use then.
    pub async fn send(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(HeaderName, HeaderValue)],
        body: Vec<u8>,
        patience: Duration,
    ) -> Result<Answered, String> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url.base))
            .header(header::HOST, self.url.authority())
            .header(
                header::USER_AGENT,
                concat!("nameplate/", env!("CARGO_PKG_VERSION")),
            );
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let request = request
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| words(&error))?;
        let sent = async {
            self.sender.ready().await?;
            self.sender.send_request(request).await
        };
        let response = match timeout(patience, sent).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(words(&error)),
            Err(_) => return Err(format!("no response within {patience:?}")),
        };
        let (parts, body) = response.into_parts();
        Ok(Answered {
            status: parts.status,
            headers: parts.headers,
            body: Stream {
                body,
                octets: Vec::new(),
                searched: 0,
            },
        })
    }
}

/// A response that has begun.
pub struct Answered {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: http::HeaderMap,
    /// What follows.
    pub body: Stream,
}

/// A body that is still coming.
pub struct Stream {
    body: Incoming,
    octets: Vec<u8>,
    /// How many of the octets have no end of line in them.
    searched: usize,
}

impl Stream {
    /// All of it, `most` octets at most, with no longer a wait than `patience` between two parts.
    ///
    /// # Errors
    /// What went wrong, in words.
    pub async fn all(mut self, most: usize, patience: Duration) -> Result<Vec<u8>, String> {
        while self.more(patience).await? {
            if self.octets.len() > most {
                return Err(format!("a response of more than {most} bytes"));
            }
        }
        Ok(self.octets)
    }

    /// The next line, however long it takes to come; `None` at the end. What was read stays when the future is dropped.
    ///
    /// # Errors
    /// What went wrong, in words.
    pub async fn line(&mut self) -> Result<Option<Vec<u8>>, String> {
        loop {
            let rest = self.octets.get(self.searched..).unwrap_or_default();
            if let Some(at) = rest.iter().position(|&octet| octet == b'\n') {
                let mut line: Vec<u8> = self.octets.drain(..=self.searched + at).collect();
                line.pop();
                self.searched = 0;
                if !line.trim_ascii().is_empty() {
                    return Ok(Some(line));
                }
                continue;
            }
            self.searched = self.octets.len();
            if self.searched > LINE {
                return Err(format!("a line of more than {LINE} bytes"));
            }
            if !self.part().await? {
                let rest = std::mem::take(&mut self.octets);
                self.searched = 0;
                return Ok((!rest.trim_ascii().is_empty()).then_some(rest));
            }
        }
    }

    /// Reads the next part; whether there was one.
    async fn part(&mut self) -> Result<bool, String> {
        match self.body.frame().await {
            None => Ok(false),
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    self.octets.extend_from_slice(data);
                }
                Ok(true)
            }
            Some(Err(error)) => Err(words(&error)),
        }
    }

    async fn more(&mut self, patience: Duration) -> Result<bool, String> {
        match timeout(patience, self.part()).await {
            Ok(part) => part,
            Err(_) => Err(format!("the response stalled for {patience:?}")),
        }
    }
}

/// Drives a connection beside its requests.
fn spawn<T>(
    (sender, connection): (SendRequest<Full<Bytes>>, http1::Connection<T, Full<Bytes>>),
) -> (SendRequest<Full<Bytes>>, AbortHandle)
where
    T: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    // Requests hear of its errors.
    let driver = tokio::spawn(async move { drop(connection.await) });
    (sender, driver.abort_handle())
}

/// Connects to the first of the host's addresses that takes the connection.
async fn dial(url: &Url) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((url.host.as_str(), url.port)).await?;
    stream.set_nodelay(true)?;
    let (idle, interval, times) = KEEPALIVE;
    let keepalive = TcpKeepalive::new()
        .with_time(idle)
        .with_interval(interval)
        .with_retries(times);
    let socket = SockRef::from(&stream);
    socket.set_tcp_keepalive(&keepalive)?;
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED))?;
    Ok(stream)
}

async fn within<T>(
    patience: Duration,
    what: &str,
    work: impl Future<Output = io::Result<T>>,
) -> Result<T, String> {
    match timeout(patience, work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(format!("{what}: {error}")),
        Err(_) => Err(format!("{what}: no end within {patience:?}")),
    }
}

/// An error with what caused it, each said once.
pub fn words(error: &dyn Error) -> String {
    let mut out = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        if !out.contains(&text) {
            let _ = write!(out, ": {text}");
        }
        source = cause.source();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_read_as_they_are_written() {
        // (text, TLS by default, what it is; empty where it is none)
        let cases = [
            ("http://localhost:2379", false, "http://localhost:2379"),
            ("http://localhost", false, "http://localhost:2379"),
            (
                "https://etcd.example.org:2379/",
                false,
                "https://etcd.example.org:2379",
            ),
            (
                "https://etcd.example.org/base/",
                false,
                "https://etcd.example.org:2379/base",
            ),
            ("localhost:300", false, "http://localhost:300"),
            ("localhost:300", true, "https://localhost:300"),
            ("192.0.2.1:2379", true, "https://192.0.2.1:2379"),
            (
                "http://[2001:db8::1]:2379",
                false,
                "http://[2001:db8::1]:2379",
            ),
            ("[2001:db8::1]", true, "https://[2001:db8::1]:2379"),
            ("unix:///run/etcd", false, ""),
            ("http://", false, ""),
            ("http://u:p@localhost", false, ""),
            ("http://localhost:99999", false, ""),
            ("http://localhost?x", false, ""),
        ];
        for (text, secure, expected) in cases {
            let url = Url::parse(text, secure, Some(2379));
            let found = url.map_or_else(|_| String::new(), |url| url.to_string());
            assert_eq!(found, expected, "{text}");
        }
    }
}
