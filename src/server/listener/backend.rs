//! What a UDP back end does: receives datagrams into buffers that are its own, and sends responses from them.
//!
//! ```text
//! Backend::receive ─► received(): slots, each an exchange and an envelope ─► answered in place ─► Backend::reply
//!                                                 └ waits: its exchange leaves with it, the slot gets another one
//!                                                   … later ─► completion queue ─► SocketBackend::send
//! ```
//!
//! The back ends are [`super::udp::Batched`] (`recvmmsg`, `sendmmsg`) and [`super::udp_plain::Plain`] (`recvmsg`, `sendmsg`);
//! [`super::datagrams::serve`] takes one when a socket is opened, so that what serves it is compiled for each and calls it directly.
//! [`super::udp_xdp::Frames`] (AF_XDP) stands beside them and is served by [`super::frames`]: what waits, and what does not fit a frame, it
//! leaves to the socket of the same address and port. The slots live as long as the back end and belong to it: their number, what they
//! point to and when they are set up anew is its business.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;

use chain::Exchange;

use super::udp::Watched;

/// Datagrams that are received or sent by one call.
///
/// What more would save of a system call (0.2 µs) is lost in what a datagram costs (3.5 µs), and each takes 11 KiB.
pub(crate) const BATCH: usize = 32;
/// Octets of a datagram that are received; a longer one is answered with FORMERR.
pub(crate) const DATAGRAM: usize = 4_096;

/// A UDP back end, with what it receives from.
pub(crate) trait Backend {
    /// What is readable when datagrams may wait.
    fn watched(&self) -> Rc<Watched>;

    /// Receives what waits, [`BATCH`] datagrams at most.
    fn receive(&mut self) -> io::Result<usize>;

    /// Whether the last call filled all slots, so that more may wait.
    fn is_full(&self) -> bool;

    /// What was received last.
    fn received(&mut self) -> &mut [Slot];

    /// Sends the responses to what was received last; `false` when there is no room for those that still have their mark.
    fn reply(&mut self) -> bool;
}

/// A back end on a UDP socket of its own.
pub(crate) trait SocketBackend: Backend {
    /// Sends responses to what was received earlier; as [`Backend::reply`].
    fn send(&mut self, slots: &mut [Slot]) -> bool;

    /// How many datagrams wait to be received, as far as can be told.
    fn queued(&self) -> usize;

    /// Bounds how many may wait, or lets as many as ever.
    fn bound_queue(&self, datagrams: Option<usize>);

    /// Throws the oldest that wait away, about so many; gives how many it were.
    fn skip(&mut self, count: usize) -> usize {
        let mut skipped = 0;
        while skipped < count {
            match self.receive() {
                Ok(received) => skipped += received,
                Err(_) => break,
            }
        }
        skipped
    }
}

/// Where a datagram came from, and where to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Envelope {
    /// The sender, as the socket sees it: IPv4 in IPv6 form on a socket of both families.
    pub(crate) peer: SocketAddr,
    /// The address that was asked, on a socket of all addresses.
    pub(crate) local: Option<IpAddr>,
    /// The interface by which it came, for link-local addresses.
    pub(crate) interface: u32,
}

impl Envelope {
    /// From nobody.
    pub(crate) const NONE: Self = Self {
        peer: SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0),
        local: None,
        interface: 0,
    };
}

/// One datagram and the response to it.
pub(crate) struct Slot {
    /// The octets of both.
    pub(crate) exchange: Box<Exchange>,
    /// Where it came from.
    pub(crate) envelope: Envelope,
    /// Whether it was longer than the buffer.
    pub(crate) cut: bool,
    /// Whether there is a response to send, that has not left.
    pub(crate) reply: bool,
}

impl Slot {
    pub(crate) fn new() -> Self {
        Self {
            exchange: Exchange::datagram(),
            envelope: Envelope::NONE,
            cut: false,
            reply: false,
        }
    }
}

/// Sends what has a response, by `call`, and marks what has left; a datagram that the kernel refuses is dropped by `give_up`, as the
/// network might drop it. `false` when there is no room for the rest.
pub(super) fn send_all<C>(
    calls: &mut C,
    mut slots: &mut [Slot],
    call: impl Fn(&mut C, &mut [Slot]) -> io::Result<()>,
    give_up: impl Fn(&mut C, &mut [Slot], &io::Error),
) -> bool {
    while let Some(first) = slots.iter().position(|slot| slot.reply) {
        slots = &mut slots[first..];
        let Err(error) = call(calls, slots) else {
            continue;
        };
        match error.raw_os_error() {
            Some(libc::EINTR) => {}
            Some(libc::EAGAIN | libc::ENOBUFS) => return false,
            // EPERM of a firewall, EINVAL of a vanished address, unreachable peers: the next may go.
            _ => give_up(calls, slots, &error),
        }
    }
    true
}
