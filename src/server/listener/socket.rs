//! Opens listening sockets.
//!
//! All sockets of an address share its port by SO_REUSEPORT, so that each worker has its own. The first of them is bound without it, and
//! gets it afterwards: where another process has the port, the bind fails, instead of two servers splitting the queries between them
//! without a word. SO_REUSEADDR is never set on UDP, where it would have the same effect.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, TcpListener, UdpSocket};

use chain::Carrier;
use corefile::key::Scheme;
use socket2::{Domain, Protocol, Socket, Type};

/// The receive buffer that is asked for; the kernel doubles it, and 2,700 queries of usual size fit. It rides over a worker that is
/// off its core for 14 ms at full rate, and bounds how long a query waits behind others once more come than can be answered: with
/// four times as much, a tenth of a core answered half a second late.
pub(crate) const RECEIVE_BUFFER: usize = 1 << 20;
/// Connections that wait to be accepted.
const BACKLOG: i32 = 1_024;

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Place {
    /// What is spoken there.
    pub(crate) scheme: Scheme,
    /// The address as it is shown; empty for all.
    pub(crate) host: String,
    /// The address; `None` is all, of both families where the machine has both.
    pub(crate) ip: Option<IpAddr>,
    /// The interface of a link-local address.
    pub(crate) scope: u32,
    /// The port.
    pub(crate) port: u16,
}

impl Place {
    /// The label in metrics and messages: `dns://:53`, `dns://127.0.0.1:53`, `dns://[::1]:53`.
    pub(crate) fn label(&self) -> String {
        format!("{}://{}", self.scheme.name(), self.shown())
    }

    /// `[::1]:53` or `:53`, for messages.
    pub(crate) fn shown(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    fn address(&self, ip: IpAddr) -> SocketAddr {
        match ip {
            IpAddr::V4(_) => SocketAddr::new(ip, self.port),
            IpAddr::V6(ip) => SocketAddrV6::new(ip, self.port, 0, self.scope).into(),
        }
    }

    /// Tries both families for a place that is all addresses.
    fn open<S>(&self, open: impl Fn(SocketAddr, bool) -> io::Result<S>) -> io::Result<S> {
        match self.ip {
            Some(ip) => open(self.address(ip), ip == IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
            None => match open(self.address(Ipv6Addr::UNSPECIFIED.into()), true) {
                Err(error) if no_ipv6(&error) => {
                    open(self.address(Ipv4Addr::UNSPECIFIED.into()), false)
                }
                opened => opened,
            },
        }
    }

    /// Opens a socket here.
    pub(crate) fn bind(&self, carrier: Carrier, how: How) -> io::Result<ListenSocket> {
        let socket = self.open(|address, dual| {
            let (kind, protocol) = match carrier {
                Carrier::Datagram => (Type::DGRAM, Protocol::UDP),
                Carrier::Stream => (Type::STREAM, Protocol::TCP),
            };
            let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
            if address.is_ipv6() {
                socket.set_only_v6(!dual)?;
            }
            if carrier == Carrier::Stream {
                // On TCP this only lets a restart bind beside connections in TIME_WAIT.
                socket.set_reuse_address(true)?;
            } else {
                let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
            }
            socket.set_reuse_port(how.shares)?;
            if how.waits {
                wait_for(&socket, address)?;
            }
            socket.bind(&address.into())?;
            socket.set_reuse_port(true)?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        })?;
        match carrier {
            Carrier::Datagram => {
                let socket = socket.into();
                super::udp::prepare(&socket)?;
                Ok(ListenSocket::Datagram(socket))
            }
            Carrier::Stream => {
                socket.listen(BACKLOG)?;
                Ok(ListenSocket::Stream(socket.into()))
            }
        }
    }
}

/// How a socket is bound.
#[derive(Clone, Copy, Debug)]
pub(crate) struct How {
    /// Whether the address need not be the machine's yet.
    pub(crate) waits: bool,
    /// Whether others may have the port already: sockets of this process, or those of one that this one takes over from.
    pub(crate) shares: bool,
}

/// A socket that listens.
pub(crate) enum ListenSocket {
    /// For datagrams.
    Datagram(UdpSocket),
    /// For connections.
    Stream(TcpListener),
}

impl ListenSocket {
    /// Its port.
    pub(crate) fn port(&self) -> io::Result<u16> {
        let address = match self {
            Self::Datagram(socket) => socket.local_addr(),
            Self::Stream(socket) => socket.local_addr(),
        };
        address.map(|address| address.port())
    }
}

/// Lets a socket be bound to an address that no interface has yet.
#[cfg(target_os = "linux")]
fn wait_for(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    if address.is_ipv4() {
        socket.set_freebind_v4(true)
    } else {
        socket.set_freebind_v6(true)
    }
}

/// Elsewhere the address has to be there.
#[cfg(not(target_os = "linux"))]
fn wait_for(_: &Socket, _: SocketAddr) -> io::Result<()> {
    Ok(())
}

/// Whether the machine has no IPv6, or none in use.
fn no_ipv6(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL | libc::EPROTONOSUPPORT)
    )
}
