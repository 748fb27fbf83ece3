//! Sockets that a service manager opened and passes on (sd_listen_fds(3)), those of UDP and the streams beside them.
//!
//! ```text
//! nameplate.socket ─► systemd binds port 53 ─► descriptors 3, 4, … and LISTEN_FDS ─► Passed ─► a copy for each worker
//! ```
//!
//! The process then needs no privilege for port 53, and what comes while it restarts waits in the socket. A place that a passed socket
//! is bound to is served from that; all others are bound as ever. Workers share what was passed, since sockets of one port have one owner,
//! and here that is the service manager; a unit that lists an address several times has several sockets for it, which are dealt out in turn.

// Descriptors come by number, and nothing safe makes an owner of a number.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{FromRawFd as _, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use chain::Carrier;
use socket2::{Socket, Type};

use super::socket::{ListenSocket, Place, RECEIVE_BUFFER};

/// Whether the descriptors have an owner already.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// What was passed.
#[derive(Default)]
pub(crate) struct Passed {
    sockets: Vec<One>,
}

/// One socket.
struct One {
    socket: Socket,
    carrier: Carrier,
    address: SocketAddr,
    is_served: Cell<bool>,
}

impl Passed {
    /// The sockets that the environment tells of; none the second time.
    ///
    /// # Errors
    /// When what it tells cannot be: a count that is none, a descriptor that is not there or no listening socket of IP.
    pub(crate) fn of_environment() -> Result<Self, String> {
        if TAKEN.swap(true, Ordering::Relaxed) {
            return Ok(Self::default());
        }
        let numbers = sd_notify::listen_fds().map_err(|error| format!("LISTEN_FDS: {error}"))?;
        let sockets = numbers.map(|number| {
            let one = copy_of(number).and_then(|copy| One::of(copy.into()));
            let one =
                one.map_err(|error| format!("descriptor {number} that was passed: {error}"))?;
            // SAFETY: it is a socket that listens. This process has opened none yet, so that it is the one that was passed, and `TAKEN`
            // lets nobody own it twice. Its copy is served.
            drop(unsafe { OwnedFd::from_raw_fd(number) });
            Ok(one)
        });
        let sockets = sockets.collect::<Result<_, String>>()?;
        Ok(Self { sockets })
    }

    /// How many sockets a place has.
    pub(crate) fn count(&self, place: &Place, carrier: Carrier) -> usize {
        self.at(place, carrier).count()
    }

    /// A socket for a place, where one was passed: of several the next one each `round`.
    pub(crate) fn socket(
        &self,
        place: &Place,
        carrier: Carrier,
        round: usize,
    ) -> Option<io::Result<ListenSocket>> {
        let count = self.count(place, carrier);
        let one = self.at(place, carrier).nth(round % count.max(1))?;
        one.is_served.set(true);
        Some(one.copy())
    }

    /// The sockets that no server block listens on, as `udp 127.0.0.1:53`.
    pub(crate) fn unserved(&self) -> Vec<String> {
        let unserved = self.sockets.iter().filter(|one| !one.is_served.get());
        let shown = unserved.map(|one| match one.carrier {
            Carrier::Datagram => format!("udp {}", one.address),
            Carrier::Stream => format!("tcp {}", one.address),
        });
        shown.collect()
    }

    fn at(&self, place: &Place, carrier: Carrier) -> impl Iterator<Item = &One> {
        let (ip, port) = (place.ip, place.port);
        self.sockets.iter().filter(move |one| {
            let same_ip = match ip {
                Some(ip) => one.address.ip() == ip,
                None => one.address.ip().is_unspecified(),
            };
            one.carrier == carrier && one.address.port() == port && same_ip
        })
    }
}

/// A copy of what stands behind a number, which may be nothing, or what this process has opened itself: neither is to be closed.
fn copy_of(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: F_DUPFD_CLOEXEC takes any number, and gives a new descriptor, which has no other owner.
    unsafe {
        match libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 3) {
            -1 => Err(io::Error::last_os_error()),
            copy => Ok(OwnedFd::from_raw_fd(copy)),
        }
    }
}

impl One {
    fn of(socket: Socket) -> io::Result<Self> {
        let address = socket.local_addr()?.as_socket();
        let address = address.ok_or_else(|| io::Error::other("it is no socket of IP"))?;
        let carrier = match socket.r#type()? {
            Type::DGRAM => Carrier::Datagram,
            Type::STREAM if socket.is_listener()? => Carrier::Stream,
            _ => {
                let why = "it does not listen; the unit of the socket needs Accept=no";
                return Err(io::Error::other(why));
            }
        };
        socket.set_nonblocking(true)?;
        if carrier == Carrier::Datagram {
            let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
        }
        let is_served = Cell::new(false);
        Ok(Self {
            socket,
            carrier,
            address,
            is_served,
        })
    }

    fn copy(&self) -> io::Result<ListenSocket> {
        let socket = self.socket.try_clone()?;
        Ok(match self.carrier {
            Carrier::Datagram => {
                let socket = socket.into();
                super::udp::prepare(&socket)?;
                ListenSocket::Datagram(socket)
            }
            Carrier::Stream => ListenSocket::Stream(socket.into()),
        })
    }
}
