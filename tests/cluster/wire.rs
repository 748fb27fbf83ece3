//! HTTP/1.1 by hand: requests in, responses out, octet by octet where a fault wants it.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use socket2::SockRef;

/// A connection.
pub(crate) enum Wire {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ServerConnection, TcpStream>>),
}

/// A request.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    query: Vec<(String, String)>,
    pub(crate) authorization: String,
    pub(crate) accept: String,
    /// As it came.
    pub(crate) target: String,
}

impl Request {
    /// A parameter, or nothing.
    pub(crate) fn get(&self, name: &str) -> &str {
        let mut all = self.query.iter();
        all.find(|(known, _)| known == name)
            .map_or("", |(_, value)| value)
    }
}

impl Wire {
    pub(crate) fn new(stream: TcpStream, tls: Option<Arc<ServerConfig>>) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(match tls {
            None => Self::Plain(stream),
            Some(config) => {
                let session = ServerConnection::new(config).map_err(io::Error::other)?;
                Self::Tls(Box::new(StreamOwned::new(session, stream)))
            }
        })
    }

    pub(crate) fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => &stream.sock,
        }
    }

    /// Whether the client showed a certificate that its authority signed.
    pub(crate) fn certified(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(stream) => stream.conn.peer_certificates().is_some(),
        }
    }

    /// Whether the client has gone or says something while it is being told something: either way nothing more is for it.
    pub(crate) fn hung_up(&self) -> bool {
        let socket = self.socket();
        let _ = socket.set_nonblocking(true);
        let mut octet = [0];
        let peeked = socket.peek(&mut octet);
        let _ = socket.set_nonblocking(false);
        !matches!(peeked, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Resets the connection.
    pub(crate) fn reset(&self) {
        let _ = SockRef::from(self.socket()).set_linger(Some(std::time::Duration::ZERO));
        let _ = self.socket().shutdown(std::net::Shutdown::Read);
    }

    /// The next request, or the end.
    pub(crate) fn request(&mut self) -> io::Result<Option<Request>> {
        let mut head = Vec::new();
        let mut piece = [0; 4096];
        while !head.windows(4).any(|end| end == b"\r\n\r\n") {
            let read = self.read(&mut piece)?;
            if read == 0 {
                return Ok(None);
            }
            head.extend_from_slice(&piece[..read]);
        }
        let head = String::from_utf8_lossy(&head);
        let mut lines = head.lines();
        let mut words = lines.next().unwrap_or_default().split(' ');
        let method = words.next().unwrap_or_default().to_owned();
        let target = words.next().unwrap_or_default().to_owned();
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let headers: Vec<(&str, &str)> = lines.filter_map(|line| line.split_once(':')).collect();
        let header = |wanted: &str| {
            let mut named = headers.iter();
            let found = named.find(|(name, _)| name.eq_ignore_ascii_case(wanted));
            found.map_or("", |(_, value)| value.trim()).to_owned()
        };
        let (authorization, accept) = (header("authorization"), header("accept"));
        Ok(Some(Request {
            method,
            path: path.to_owned(),
            query: query
                .split('&')
                .filter_map(|pair| pair.split_once('='))
                .map(|(name, value)| (unescape(name), unescape(value)))
                .collect(),
            authorization,
            accept,
            target,
        }))
    }

    /// A whole response in JSON.
    pub(crate) fn respond(&mut self, code: u16, headers: &str, body: &str) -> io::Result<()> {
        let headers = format!("Content-Type: application/json\r\n{headers}");
        self.respond_with(code, &headers, body.as_bytes())
    }

    /// A whole response, its type among the headers.
    pub(crate) fn respond_with(&mut self, code: u16, headers: &str, body: &[u8]) -> io::Result<()> {
        let length = body.len();
        let head = format!("HTTP/1.1 {code} -\r\nContent-Length: {length}\r\n{headers}\r\n");
        self.write_all(head.as_bytes())?;
        self.write_all(body)?;
        self.flush()
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(octets),
            Self::Tls(stream) => stream.write(octets),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

/// How a body is written.
#[derive(Clone, Copy, Default)]
pub(crate) struct Manner {
    /// An octet a chunk.
    pub(crate) drip: bool,
    /// Where the body breaks off.
    pub(crate) cut: Option<usize>,
}

/// A body in chunks.
pub(crate) struct Chunks<'a> {
    wire: &'a mut Wire,
    manner: Manner,
    written: usize,
}

impl<'a> Chunks<'a> {
    pub(crate) fn begin(wire: &'a mut Wire, media_type: &str, manner: Manner) -> io::Result<Self> {
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: {media_type}\r\nTransfer-Encoding: chunked\r\n\r\n"
        );
        wire.write_all(head.as_bytes())?;
        wire.flush()?;
        Ok(Self {
            wire,
            manner,
            written: 0,
        })
    }

    pub(crate) fn wire(&self) -> &Wire {
        self.wire
    }

    /// Writes a chunk; an error where the body was to break off.
    pub(crate) fn write(&mut self, octets: &[u8]) -> io::Result<()> {
        let room = self.manner.cut.map_or(usize::MAX, |cut| cut - self.written);
        let whole = octets.len() <= room;
        let octets = &octets[..octets.len().min(room)];
        self.written += octets.len();
        let pieces = if self.manner.drip {
            1
        } else {
            octets.len().max(1)
        };
        for piece in octets.chunks(pieces) {
            let mut chunk = format!("{:x}\r\n", piece.len()).into_bytes();
            chunk.extend_from_slice(piece);
            chunk.extend_from_slice(b"\r\n");
            self.wire.write_all(&chunk)?;
            if self.manner.drip {
                self.wire.flush()?;
            }
        }
        self.wire.flush()?;
        if whole {
            Ok(())
        } else {
            Err(io::ErrorKind::ConnectionAborted.into())
        }
    }

    /// Ends the body; the connection goes on.
    pub(crate) fn end(self) -> io::Result<()> {
        self.wire.write_all(b"0\r\n\r\n")?;
        self.wire.flush()
    }
}

fn unescape(text: &str) -> String {
    let mut out = Vec::new();
    let mut octets = text.bytes();
    while let Some(octet) = octets.next() {
        out.push(match octet {
            b'+' => b' ',
            b'%' => {
                let digits = [octets.next(), octets.next()].map(|digit| digit.unwrap_or(b'0'));
                let digits = String::from_utf8_lossy(&digits).into_owned();
                u8::from_str_radix(&digits, 16).unwrap_or(b'?')
            }
            other => other,
        });
    }
    String::from_utf8_lossy(&out).into_owned()
}
