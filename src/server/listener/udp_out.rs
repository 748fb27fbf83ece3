//! Responses that leave by one call; those to one peer as one datagram, which the kernel cuts ([`host::gso`]).
//!
//! Many clients of a busy server are few sockets: forwarders, proxies, other resolvers. Responses are put in order by peer and
//! length, the longest first, so that those of one length stand together and one shorter one may close them. Putting them in order
//! costs some ten nanoseconds each; a walk through the kernel's stack that is saved, a microsecond or two.
//!
//! A lot that the path refuses is sent one by one, and so are those of the next calls; then lots are tried again.

// The system call has no safe binding; every pointer handed over here is into a box or a reply that lives as long as the call.
#![allow(unsafe_code)]

use std::io;
use std::mem;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::ptr;

use host::gso;

use super::backend::{BATCH, Slot, send_all};
use super::udp::{Address, Control, write_control};

/// Calls that go without lots after one was refused.
const SINGLY: u16 = 1_024;

/// The headers for sending, and what they point to.
pub(super) struct Outbound {
    headers: [libc::mmsghdr; BATCH],
    vectors: [libc::iovec; BATCH],
    addresses: [Address; BATCH],
    controls: [Control; BATCH],
    /// The slots of the last call in the order in which they were to leave.
    order: [u8; BATCH],
    /// How many of them the first message has.
    first: usize,
    /// Whether this call has lots.
    lots: bool,
    /// Calls that are still to go without.
    singly: u16,
}

impl Outbound {
    pub(super) fn new() -> Self {
        Self {
            // SAFETY: all-zero octets are a valid header: null pointers and no lengths.
            headers: unsafe { mem::zeroed() },
            vectors: [libc::iovec {
                iov_base: ptr::null_mut(),
                iov_len: 0,
            }; BATCH],
            addresses: [Address::EMPTY; BATCH],
            controls: [Control::EMPTY; BATCH],
            order: [0; BATCH],
            first: 0,
            lots: false,
            singly: 0,
        }
    }

    /// Sends what has a response; `false` when the socket has no room for the rest.
    pub(super) fn send_all(&mut self, fd: RawFd, slots: &mut [Slot]) -> bool {
        send_all(
            self,
            slots,
            |out, slots| out.send(fd, slots),
            Self::drop_first,
        )
    }

    /// Sends the responses in the first [`BATCH`] slots, and takes the marks off those that have left; an error is the first's.
    fn send(&mut self, fd: RawFd, slots: &mut [Slot]) -> io::Result<()> {
        let len = slots.len().min(BATCH);
        let slots = &mut slots[..len];
        let responses = self.arrange(slots);
        let mut messages = 0;
        let mut done = 0;
        while done < responses {
            done += self.arm(messages, done..responses, slots);
            messages += 1;
        }
        // SAFETY: the first `messages` headers point into `self` and into the replies, both borrowed for the call, which only reads.
        let sent = unsafe {
            libc::sendmmsg(
                fd,
                self.headers.as_mut_ptr(),
                messages as u32,
                libc::MSG_DONTWAIT as _,
            )
        };
        let sent = usize::try_from(sent).map_err(|_| io::Error::last_os_error())?;
        let left = self.headers[..sent.min(messages)].iter();
        // The field's type differs between C libraries.
        #[allow(clippy::unnecessary_cast)]
        let left: usize = left.map(|header| header.msg_hdr.msg_iovlen as usize).sum();
        for &place in &self.order[..left] {
            slots[usize::from(place)].reply = false;
        }
        Ok(())
    }

    /// Gives up the first message of the last call, which failed; or sends it singly, when it was a lot.
    #[cold]
    fn drop_first(&mut self, slots: &mut [Slot], error: &io::Error) {
        if self.first > 1 && gso::is_refused(error) {
            self.singly = SINGLY;
            return;
        }
        for &place in &self.order[..self.first] {
            slots[usize::from(place)].reply = false;
        }
    }

    /// Finds the order in which the responses leave; gives how many there are.
    fn arrange(&mut self, slots: &[Slot]) -> usize {
        let mut keys = [0u64; BATCH];
        let mut count = 0;
        for (place, slot) in slots.iter().enumerate() {
            if slot.reply {
                let len = slot.exchange.reply().len() as u16;
                keys[count] = key(slot.envelope.peer, len, place as u8);
                count += 1;
            }
        }
        let keys = &mut keys[..count];
        self.lots = count > 1 && self.singly == 0 && gso::works();
        if self.lots {
            keys.sort_unstable();
        } else if count > 1 {
            self.singly = self.singly.saturating_sub(1);
        }
        for (place, key) in self.order.iter_mut().zip(keys) {
            *place = *key as u8;
        }
        count
    }

    /// Sets a header up for the lot at the front of those responses; gives how many it has.
    fn arm(&mut self, message: usize, range: std::ops::Range<usize>, slots: &[Slot]) -> usize {
        let start = range.start;
        let at = |place: &u8| &slots[usize::from(*place)];
        let order = &self.order[range];
        let slot = at(&order[0]);
        let envelope = &slot.envelope;
        let count = match self.lots {
            true => gso::lot(
                order
                    .iter()
                    .map(at)
                    .take_while(|other| other.envelope == *envelope)
                    .map(|slot| slot.exchange.reply().len() as u16),
            ),
            false => 1,
        };
        let vectors = &mut self.vectors[start..start + count];
        for (vector, slot) in vectors.iter_mut().zip(order.iter().map(at)) {
            let reply = slot.exchange.reply();
            *vector = libc::iovec {
                iov_base: reply.as_ptr().cast_mut().cast(),
                iov_len: reply.len(),
            };
        }
        let (address, address_len) = Address::new(envelope.peer);
        self.addresses[message] = address;
        let header = &mut self.headers[message].msg_hdr;
        header.msg_name = (&raw mut self.addresses[message]).cast();
        header.msg_namelen = address_len;
        header.msg_iov = vectors.as_mut_ptr();
        header.msg_iovlen = count as _;
        header.msg_flags = 0;
        let cut = (count > 1).then_some(vectors[0].iov_len as u16);
        write_control(header, &mut self.controls[message], envelope, cut);
        if message == 0 {
            self.first = count;
        }
        count
    }
}

/// What puts the responses in order: the peer (mixed to 40 bits; lots compare it whole), the length from long to short, the slot.
fn key(peer: SocketAddr, len: u16, place: u8) -> u64 {
    let word = match peer {
        SocketAddr::V4(v4) => u64::from(v4.ip().to_bits()) << 16 | u64::from(v4.port()),
        SocketAddr::V6(v6) => {
            let ip = v6.ip().to_bits();
            ((ip >> 64) as u64).rotate_left(29) ^ ip as u64 ^ u64::from(v6.port()).rotate_left(45)
        }
    };
    let mixed = word.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed & !0xFF_FFFF | u64::from(u16::MAX - len) << 8 | u64::from(place)
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, UdpSocket};
    use std::os::fd::AsRawFd;

    use super::super::backend::Envelope;
    use super::*;
    use crate::testing::{query, received};

    /// A response of the length that a label of `label` octets makes.
    fn response(label: usize, peer: SocketAddr, local: Option<IpAddr>) -> Slot {
        let mut exchange = received(&query(0, &format!("{}.", "x".repeat(label)), 1, 0, &[]));
        exchange.parse().expect("a query");
        exchange.response().seal();
        Slot {
            exchange,
            envelope: Envelope {
                peer,
                local,
                interface: 0,
            },
            cut: false,
            reply: true,
        }
    }

    fn bound(address: &str) -> UdpSocket {
        let socket = UdpSocket::bind((address, 0)).expect("a socket");
        socket
            .set_read_timeout(Some(std::time::Duration::from_secs(3)))
            .expect("a timeout");
        socket
    }

    /// Sends responses of these lengths to clients in turn; gives how many calls and messages it took.
    fn round(server: &UdpSocket, out: &mut Outbound, local: Option<IpAddr>) -> (usize, usize) {
        let host = if local.is_some_and(|ip| ip.is_ipv6()) {
            "::1"
        } else {
            "127.0.0.1"
        };
        let clients = [bound(host), bound(host), bound(host)];
        let mut slots: Vec<Slot> = (0..BATCH)
            .map(|n| {
                let client = clients[n % 3].local_addr().expect("an address");
                response(1 + n % 4, client, local)
            })
            .collect();
        // Two want no answer.
        slots[0].reply = false;
        slots[9].reply = false;
        let (mut calls, mut messages) = (0, 0);
        while slots.iter().any(|slot| slot.reply) {
            match out.send(server.as_raw_fd(), &mut slots) {
                Ok(()) => messages += out.headers.iter().filter(|h| h.msg_len > 0).count(),
                Err(error) => out.drop_first(&mut slots, &error),
            }
            calls += 1;
            out.headers.iter_mut().for_each(|header| header.msg_len = 0);
        }
        for (n, client) in clients.iter().enumerate() {
            let sent = (0..BATCH).filter(|at| at % 3 == n && ![0, 9].contains(at));
            let mut expected: Vec<_> = sent.map(|at| slots[at].exchange.reply().to_vec()).collect();
            let mut found: Vec<Vec<u8>> = Vec::new();
            for _ in 0..expected.len() {
                let mut octets = [0; 512];
                let (len, from) = client.recv_from(&mut octets).expect("a response");
                assert_eq!(from, server.local_addr().expect("an address"));
                found.push(octets[..len].to_vec());
            }
            expected.sort();
            found.sort();
            assert_eq!(found, expected, "what each response is by itself");
            client.set_nonblocking(true).expect("no waiting");
            assert!(client.recv(&mut [0; 512]).is_err(), "and nothing else");
        }
        (calls, messages)
    }

    #[test]
    fn responses_to_one_peer_leave_together() {
        assert!(gso::works(), "this kernel is too old for the test");
        let server = bound("127.0.0.1");
        let mut out = Outbound::new();
        // Four lengths to each of three: the longest with one shorter, and so on.
        let (calls, messages) = round(&server, &mut out, None);
        assert_eq!(calls, 1);
        assert!(messages <= 12, "{messages} messages");
        // With packet information beside the cut, for both families.
        for host in ["127.0.0.1", "::1"] {
            let server = bound(host);
            let local = server.local_addr().expect("an address").ip();
            let (calls, messages) = round(&server, &mut out, Some(local));
            assert_eq!(calls, 1);
            assert!(messages <= 12, "{messages} messages");
        }
    }

    #[test]
    fn a_path_that_takes_no_lots_gets_them_singly() {
        let server = bound("127.0.0.1");
        // Without checksums the kernel refuses to cut.
        let on: libc::c_int = 1;
        // SAFETY: the pointer is to a local integer of the size said.
        let set = unsafe {
            libc::setsockopt(
                server.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_NO_CHECK,
                (&raw const on).cast(),
                mem::size_of_val(&on) as u32,
            )
        };
        assert_eq!(set, 0);
        let mut out = Outbound::new();
        assert_eq!(round(&server, &mut out, None), (2, BATCH - 2));
        assert_eq!(round(&server, &mut out, None), (1, BATCH - 2));
        out.singly = 1;
        assert_eq!(round(&server, &mut out, None), (1, BATCH - 2));
        assert_eq!(
            round(&server, &mut out, None),
            (2, BATCH - 2),
            "tried again"
        );
    }
}
