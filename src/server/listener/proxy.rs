//! The PROXY protocol (haproxy's doc/proxy-protocol.txt, versions 1 and 2): who stands behind a proxy.
//!
//! A header is the first thing on a connection, or in a datagram. On a connection it is looked at before it is taken, so that what has none
//! loses nothing.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use chain::setup::{ProxyPolicy, ProxyProtocol};
use tokio::io::{AsyncReadExt, Interest};
use tokio::net::TcpStream;

/// What version 2 begins with.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// What version 1 begins with.
const WORD: &[u8] = b"PROXY ";
/// Octets of a header of version 1 at most.
const LINE: usize = 107;
/// Octets of a header that are taken at most; a longer one has more extensions than any proxy sends.
const LONGEST: usize = 4_096;

/// What octets begin with.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Header {
    /// No header.
    Missing,
    /// A part of one, perhaps.
    Part,
    /// One that is not to be understood, and why.
    Invalid(&'static str),
    /// A header of this length.
    Whole(usize, Client),
}

/// Whom a header tells of.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Client {
    /// The proxy itself, or somebody without an address.
    Unknown,
    /// A client on a connection, and whom it connected to.
    Stream(SocketAddr, SocketAddr),
    /// A client that sent a datagram.
    Datagram(SocketAddr),
}

impl Header {
    /// Reads a header of either version.
    pub(super) fn of_stream(octets: &[u8]) -> Self {
        match octets.first() {
            Some(b'P') => Self::line(octets),
            _ => Self::of_datagram(octets),
        }
    }

    /// Reads a header of version 2.
    pub(super) fn of_datagram(octets: &[u8]) -> Self {
        let begin = octets.len().min(SIGNATURE.len());
        if octets[..begin] != SIGNATURE[..begin] {
            return Self::Missing;
        }
        let Some(&[command, family, high, low]) =
            octets.get(12..16).and_then(|at| at.first_chunk())
        else {
            return Self::Part;
        };
        let len = 16 + usize::from(u16::from_be_bytes([high, low]));
        if len > LONGEST {
            return Self::Invalid("too long");
        }
        let Some(addresses) = octets.get(16..len) else {
            return Self::Part;
        };
        match command {
            0x20 => return Self::Whole(len, Client::Unknown),
            0x21 => {}
            _ => return Self::Invalid("unknown version or command"),
        }
        let (ends, protocol) = match family >> 4 {
            1 => (addresses.first_chunk::<12>().map(v4), family & 0xF),
            2 => (addresses.first_chunk::<36>().map(v6), family & 0xF),
            // AF_UNSPEC and AF_UNIX have nothing to tell.
            0 | 3 => return Self::Whole(len, Client::Unknown),
            _ => return Self::Invalid("unknown address family"),
        };
        match (ends, protocol) {
            (None, _) => Self::Invalid("too short for its addresses"),
            (Some((client, server)), 1) => Self::Whole(len, Client::Stream(client, server)),
            (Some((client, _)), 2) => Self::Whole(len, Client::Datagram(client)),
            _ => Self::Invalid("unknown transport protocol"),
        }
    }

    /// Reads a header of version 1.
    fn line(octets: &[u8]) -> Self {
        let begin = octets.len().min(WORD.len());
        if octets[..begin] != WORD[..begin] {
            return Self::Missing;
        }
        let window = &octets[..octets.len().min(LINE)];
        let Some(end) = window.windows(2).position(|two| two == b"\r\n") else {
            return match octets.len() < LINE {
                true => Self::Part,
                false => Self::Invalid("a line without end"),
            };
        };
        let text = str::from_utf8(&octets[WORD.len().min(end)..end]).unwrap_or_default();
        let words: Vec<&str> = text.split(' ').collect();
        let ends = match words[..] {
            ["UNKNOWN", ..] => return Self::Whole(end + 2, Client::Unknown),
            [family, client, server, from, to] => {
                let address = |ip: &str, port: &str| {
                    let ip: IpAddr = ip.parse().ok()?;
                    let fits = family == if ip.is_ipv4() { "TCP4" } else { "TCP6" };
                    fits.then_some(SocketAddr::new(ip, port.parse().ok()?))
                };
                address(client, from).zip(address(server, to))
            }
            _ => None,
        };
        match ends {
            Some((client, server)) => Self::Whole(end + 2, Client::Stream(client, server)),
            None => Self::Invalid("not a line of version 1"),
        }
    }
}

fn port(octets: &[u8], at: usize) -> u16 {
    wire::read_u16(octets, at).unwrap_or_default()
}

fn v4(octets: &[u8; 12]) -> (SocketAddr, SocketAddr) {
    let ip = |at: usize| Ipv4Addr::new(octets[at], octets[at + 1], octets[at + 2], octets[at + 3]);
    (
        SocketAddr::new(ip(0).into(), port(octets, 8)),
        SocketAddr::new(ip(4).into(), port(octets, 10)),
    )
}

fn v6(octets: &[u8; 36]) -> (SocketAddr, SocketAddr) {
    let ip = |at: usize| {
        let octets = octets[at..].first_chunk::<16>();
        Ipv6Addr::from(octets.copied().unwrap_or_default())
    };
    (
        SocketAddr::new(ip(0).into(), port(octets, 32)),
        SocketAddr::new(ip(16).into(), port(octets, 34)),
    )
}

/// Takes the header of a connection, if it has one; gives its two ends, the client's first. `None` where it is to be closed.
pub(super) async fn accept(
    stream: &mut TcpStream,
    protocol: &ProxyProtocol,
    ends: (SocketAddr, SocketAddr),
) -> Option<(SocketAddr, SocketAddr)> {
    let policy = protocol.policy(ends.0.ip());
    if policy == ProxyPolicy::Skip {
        return Some(ends);
    }
    let mut seen = vec![0; LONGEST];
    let header = loop {
        let len = stream.peek(&mut seen).await.ok()?;
        match Header::of_stream(&seen[..len]) {
            // What came is all that there is to see: the next look is when more has come.
            Header::Part if len > 0 => {
                let unready = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
                let _ = stream.try_io(Interest::READABLE, unready);
            }
            header => break header,
        }
    };
    let (len, client) = match header {
        // Nothing at all is the end of the connection.
        Header::Missing | Header::Part => return Some(ends),
        Header::Whole(len, client) if policy != ProxyPolicy::Reject => (len, client),
        _ => return None,
    };
    let mut taken = vec![0; len];
    stream.read_exact(&mut taken).await.ok()?;
    Some(match client {
        Client::Stream(client, server) if policy == ProxyPolicy::Use => (client, server),
        _ => ends,
    })
}

/// Clients of proxies that send a header with the first of their datagrams only, by the proxy's address: two generations, so that the
/// oldest go without a search.
#[derive(Default)]
pub(super) struct Sessions {
    young: HashMap<SocketAddr, (SocketAddr, u64)>,
    old: HashMap<SocketAddr, (SocketAddr, u64)>,
}

impl Sessions {
    fn get(
        &mut self,
        proxy: SocketAddr,
        (life, most): (Duration, usize),
        now: u64,
    ) -> Option<SocketAddr> {
        let known = self.young.get(&proxy).or_else(|| self.old.get(&proxy));
        let &(client, until) = known?;
        if until <= now {
            return None;
        }
        self.put(proxy, client, (life, most), now);
        Some(client)
    }

    fn put(
        &mut self,
        proxy: SocketAddr,
        client: SocketAddr,
        (life, most): (Duration, usize),
        now: u64,
    ) {
        if self.young.len() >= (most / 2).max(1) && !self.young.contains_key(&proxy) {
            self.old = std::mem::take(&mut self.young);
        }
        let until = now.saturating_add(life.as_nanos() as u64);
        self.young.insert(proxy, (client, until));
    }
}

/// What to do with a datagram.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Datagram {
    /// It has a header of so many octets, and is of this client.
    Of(usize, SocketAddr),
    /// It is dropped, and why.
    Drop(&'static str),
}

/// Reads what a datagram of `peer` begins with.
pub(super) fn datagram(
    octets: &[u8],
    peer: SocketAddr,
    protocol: &ProxyProtocol,
    sessions: &mut Sessions,
    now: u64,
) -> Datagram {
    let policy = protocol.policy(peer.ip());
    if policy == ProxyPolicy::Skip {
        return Datagram::Of(0, peer);
    }
    let tracked = protocol.sessions.filter(|_| policy == ProxyPolicy::Use);
    match Header::of_datagram(octets) {
        Header::Missing => {
            let client = tracked.and_then(|bounds| sessions.get(peer, bounds, now));
            Datagram::Of(0, client.unwrap_or(peer))
        }
        Header::Whole(..) if policy == ProxyPolicy::Reject => Datagram::Drop("headers are refused"),
        Header::Whole(len, Client::Unknown) => Datagram::Of(len, peer),
        Header::Whole(len, Client::Datagram(client)) => {
            if policy != ProxyPolicy::Use {
                return Datagram::Of(len, peer);
            }
            if let Some(bounds) = tracked {
                sessions.put(peer, client, bounds, now);
            }
            Datagram::Of(len, client)
        }
        Header::Whole(_, Client::Stream(..)) => Datagram::Drop("not the header of a datagram"),
        Header::Part => Datagram::Drop("the header is cut off"),
        Header::Invalid(why) => Datagram::Drop(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v2(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
        let mut out = SIGNATURE.to_vec();
        out.extend_from_slice(&[command, family]);
        out.extend_from_slice(&(addresses.len() as u16).to_be_bytes());
        out.extend_from_slice(addresses);
        out
    }

    const FOUR: [u8; 12] = [192, 0, 2, 1, 198, 51, 100, 1, 0x12, 0x34, 0, 53];

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn headers_of_both_versions() {
        let ends = || Client::Stream(address("192.0.2.1:4660"), address("198.51.100.1:53"));
        let six = [
            &[0x20, 1, 0xD, 0xB8][..],
            &[0; 11],
            &[1],
            &[0; 15],
            &[2, 0, 7, 0, 53],
        ]
        .concat();
        let long = v2(0x21, 0x11, &[0; LONGEST]);
        for (octets, expected) in [
            (v2(0x21, 0x11, &FOUR), Header::Whole(28, ends())),
            (
                v2(0x21, 0x11, &[&FOUR[..], &[4, 0, 1, 0]].concat()),
                Header::Whole(32, ends()),
            ),
            (
                v2(0x21, 0x12, &FOUR),
                Header::Whole(28, Client::Datagram(address("192.0.2.1:4660"))),
            ),
            (
                v2(0x21, 0x22, &six),
                Header::Whole(52, Client::Datagram(address("[2001:db8::1]:7"))),
            ),
            (v2(0x20, 0, &[]), Header::Whole(16, Client::Unknown)),
            (
                v2(0x21, 0x31, &[0; 216]),
                Header::Whole(232, Client::Unknown),
            ),
            (
                v2(0x21, 0x11, &FOUR[..11]),
                Header::Invalid("too short for its addresses"),
            ),
            (
                v2(0x31, 0x11, &FOUR),
                Header::Invalid("unknown version or command"),
            ),
            (
                v2(0x21, 0x41, &FOUR),
                Header::Invalid("unknown address family"),
            ),
            (
                v2(0x21, 0x13, &FOUR),
                Header::Invalid("unknown transport protocol"),
            ),
            (long, Header::Invalid("too long")),
            (
                b"PROXY TCP4 192.0.2.1 198.51.100.1 4660 53\r\n".to_vec(),
                Header::Whole(43, ends()),
            ),
            (
                b"PROXY UNKNOWN\r\n".to_vec(),
                Header::Whole(15, Client::Unknown),
            ),
            (
                b"PROXY UNKNOWN ff 1 2 3 4 5\r\n".to_vec(),
                Header::Whole(28, Client::Unknown),
            ),
            (
                b"PROXY TCP6 192.0.2.1 198.51.100.1 1 53\r\n".to_vec(),
                Header::Invalid("not a line of version 1"),
            ),
            (
                b"PROXY TCP4 192.0.2.1\r\n".to_vec(),
                Header::Invalid("not a line of version 1"),
            ),
            (
                [&b"PROXY "[..], &[b'x'; LINE]].concat(),
                Header::Invalid("a line without end"),
            ),
            (b"PRO".to_vec(), Header::Part),
            (b"PROXY\n".to_vec(), Header::Missing),
            (vec![0, 29, 1, 2], Header::Missing),
        ] {
            assert_eq!(Header::of_stream(&octets), expected, "{octets:?}");
            if let Header::Whole(len, _) = expected {
                for cut in 1..len {
                    assert_eq!(Header::of_stream(&octets[..cut]), Header::Part, "{cut}");
                }
            }
        }
    }

    #[test]
    fn datagrams_by_policy() {
        let proxy = address("10.0.0.1:1000");
        let client = address("192.0.2.1:4660");
        let good = [v2(0x21, 0x12, &FOUR), vec![0; 12]].concat();
        let protocol = |policy, sessions| ProxyProtocol {
            allow: Vec::new(),
            default: policy,
            sessions,
        };
        let plain = [0; 12];
        for (policy, with, without) in [
            (
                ProxyPolicy::Use,
                Datagram::Of(28, client),
                Datagram::Of(0, proxy),
            ),
            (
                ProxyPolicy::Ignore,
                Datagram::Of(28, proxy),
                Datagram::Of(0, proxy),
            ),
            (
                ProxyPolicy::Reject,
                Datagram::Drop("headers are refused"),
                Datagram::Of(0, proxy),
            ),
            (
                ProxyPolicy::Skip,
                Datagram::Of(0, proxy),
                Datagram::Of(0, proxy),
            ),
        ] {
            let (mut sessions, protocol) = (Sessions::default(), protocol(policy, None));
            let mut read = |octets: &[u8]| datagram(octets, proxy, &protocol, &mut sessions, 0);
            assert_eq!((read(&good), read(&plain)), (with, without), "{policy:?}");
        }
        let tracked = protocol(ProxyPolicy::Use, Some((Duration::from_nanos(10), 4)));
        let mut sessions = Sessions::default();
        let mut read =
            |octets: &[u8], peer, now| datagram(octets, peer, &tracked, &mut sessions, now);
        assert_eq!(read(&plain, proxy, 0), Datagram::Of(0, proxy));
        assert_eq!(read(&good, proxy, 0), Datagram::Of(28, client));
        assert_eq!(read(&plain, proxy, 9), Datagram::Of(0, client));
        assert_eq!(
            read(&plain, proxy, 18),
            Datagram::Of(0, client),
            "used, and so renewed"
        );
        assert_eq!(read(&plain, proxy, 28), Datagram::Of(0, proxy));
        read(&good, proxy, 30);
        for port in 0..4 {
            read(&good, SocketAddr::new(proxy.ip(), port), 31);
        }
        assert_eq!(
            read(&plain, proxy, 32),
            Datagram::Of(0, proxy),
            "others needed the room"
        );
        assert_eq!(
            read(&v2(0x21, 0x11, &FOUR), proxy, 40),
            Datagram::Drop("not the header of a datagram")
        );
        assert_eq!(
            read(&good[..20], proxy, 40),
            Datagram::Drop("the header is cut off")
        );
    }
}
