//! One query to one server, as a stub resolver asks.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use wire::{Class, Flags, Header, Message, Name, Opt, Rcode, Section, Type, compose};

/// How long an answer may take; a stub resolver has given up on most servers by then.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);
/// The UDP size that is offered with EDNS.
const UDP_SIZE: u16 = 1_232;

/// How to ask.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    Udp,
    /// Over UDP, with an OPT record.
    Edns,
    Tcp,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) rcode: Rcode,
    pub(crate) flags: Flags,
    /// The addresses and other RDATA of the answer section, by type.
    pub(crate) answers: Vec<(Type, Vec<u8>)>,
    pub(crate) has_opt: bool,
    pub(crate) took: Duration,
}

/// Asks once.
pub(crate) fn ask(
    server: SocketAddr,
    (name, qtype): (Name<'_>, Type),
    way: Way,
) -> io::Result<Reply> {
    let id: u16 = host::random::random();
    let opt = (way == Way::Edns).then(|| Opt::new(UDP_SIZE));
    let mut query = Vec::new();
    let flags = Flags(0).with(Flags::RD, true);
    compose(
        (id, flags),
        (name, qtype, Class::IN),
        opt.as_ref(),
        &mut query,
    )
    .map_err(|_| io::Error::other("the query is too long"))?;
    let began = Instant::now();
    let octets = match way {
        Way::Tcp => over_tcp(server, &query)?,
        Way::Udp | Way::Edns => over_udp(server, &query)?,
    };
    let malformed = || io::Error::new(io::ErrorKind::InvalidData, "a malformed response");
    let flags = Header::read(&octets).ok_or_else(malformed)?.flags;
    let message = Message::new(&octets).ok_or_else(malformed)?;
    let mut answers = Vec::new();
    for record in message.section(Section::Answer) {
        let record = record.map_err(|_| malformed())?;
        answers.push((record.rtype, record.rdata().to_vec()));
    }
    Ok(Reply {
        rcode: message.rcode(),
        flags,
        answers,
        has_opt: message.opt().is_some(),
        took: began.elapsed(),
    })
}

fn over_udp(server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let local: SocketAddr = match server {
        SocketAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
        SocketAddr::V6(_) => ([0u16; 8], 0).into(),
    };
    let socket = UdpSocket::bind(local)?;
    socket.connect(server)?;
    socket.send(query)?;
    let deadline = Instant::now() + PATIENCE;
    let mut buffer = vec![0; 65_535];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        socket.set_read_timeout(Some(left))?;
        let len = socket.recv(&mut buffer)?;
        if buffer[..len].get(..2) == query.get(..2) {
            buffer.truncate(len);
            return Ok(buffer);
        }
    }
}

fn over_tcp(server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&server, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut framed = Vec::from((query.len() as u16).to_be_bytes());
    framed.extend_from_slice(query);
    stream.write_all(&framed)?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut octets = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut octets)?;
    Ok(octets)
}
