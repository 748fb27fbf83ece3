//! Opens listening sockets.
//!
//! All sockets of an address share its port by SO_REUSEPORT; SO_REUSEADDR is never set on UDP, where it would let two programs
//! bind one port and split its queries between them.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, TcpListener, UdpSocket};

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
        if self.host.contains(':') {
            format!("dns://[{}]:{}", self.host, self.port)
        } else {
            format!("dns://{}:{}", self.host, self.port)
        }
    }

    /// `[::1]:53` or `:53`, for messages.
    pub(crate) fn shown(&self) -> String {
        self.label()["dns://".len()..].to_owned()
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

    /// Opens a UDP socket here; one that `waits` need not have its address yet.
    pub(crate) fn udp(&self, waits: bool) -> io::Result<UdpSocket> {
        let socket = self.open(|address, dual| {
            let socket = Socket::new(
                Domain::for_address(address),
                Type::DGRAM,
                Some(Protocol::UDP),
            )?;
            if address.is_ipv6() {
                socket.set_only_v6(!dual)?;
            }
            socket.set_reuse_port(true)?;
            let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
            if waits {
                wait_for(&socket, address)?;
            }
            socket.bind(&address.into())?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        })?;
        let socket: UdpSocket = socket.into();
        super::udp::prepare(&socket)?;
        Ok(socket)
    }

    /// Opens a TCP socket here; one that `waits` need not have its address yet.
    pub(crate) fn tcp(&self, waits: bool) -> io::Result<TcpListener> {
        self.open(|address, dual| {
            let socket = Socket::new(
                Domain::for_address(address),
                Type::STREAM,
                Some(Protocol::TCP),
            )?;
            if address.is_ipv6() {
                socket.set_only_v6(!dual)?;
            }
            // On TCP this only lets a restart bind beside connections in TIME_WAIT.
            socket.set_reuse_address(true)?;
            socket.set_reuse_port(true)?;
            if waits {
                wait_for(&socket, address)?;
            }
            socket.bind(&address.into())?;
            socket.listen(BACKLOG)?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        })
        .map(Into::into)
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
