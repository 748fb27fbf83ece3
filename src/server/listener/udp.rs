//! The UDP back end of Linux: `recvmmsg` and, in `udp_out.rs`, `sendmmsg`; and what all back ends on sockets share.
//!
//! On a socket of all addresses the address that was asked is learnt and answered from (IP_PKTINFO, IPV6_RECVPKTINFO).
//!
//! The message headers, addresses and control buffers are boxed once a socket, apart for each direction. A header that the kernel has
//! filled is set up anew, and points to its exchange's buffer afresh, since others may have swapped that; the others stay as they are,
//! so that a call costs by the datagrams it carries. A socket begins with [`FIRST`] slots and gets more when they are all used.

// The system calls have no safe binding; every pointer handed over here is into a box that lives as long as the call.
#![allow(unsafe_code)]

use std::io;
use std::mem;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::ptr;
use std::rc::Rc;
use std::task::{Context, Poll};

use host::gso;
use tokio::io::Interest;
use tokio::io::unix::{AsyncFd, AsyncFdReadyGuard};

use super::backend::{BATCH, Backend, DATAGRAM, Envelope, Slot, SocketBackend};
use super::socket::RECEIVE_BUFFER;
use super::udp_out::Outbound;

/// Datagrams that a quiet socket has room for; doubled up to [`BATCH`] whenever all are used.
const FIRST: usize = 4;
/// What the kernel takes for a datagram of usual size.
const FOOTPRINT: usize = 768;

/// A socket, watched for datagrams.
///
/// Its epoll asks for reading only. The kernel calls a socket writable, and wakes an epoll that asked for that, each time that a datagram
/// which the socket sent is taken by its receiver: one sleep and one wake-up more for every answer of a quiet server.
pub(crate) struct Watched(AsyncFd<OwnedFd>);

impl Watched {
    /// Watches a socket, from within a runtime.
    pub(crate) fn new(socket: impl Into<OwnedFd>) -> io::Result<Self> {
        watched(socket.into(), Interest::READABLE).map(Self)
    }

    /// Waits until datagrams may wait. Whoever has found that none do says so by `clear_ready`.
    pub(crate) fn poll_readable(
        &self,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<AsyncFdReadyGuard<'_, OwnedFd>>> {
        self.0.poll_read_ready(context)
    }

    /// Waits until a socket that was full has room.
    pub(crate) async fn writable(&self) -> io::Result<()> {
        let twin = watched(self.0.get_ref().try_clone()?, Interest::WRITABLE)?;
        twin.writable().await.map(drop)
    }
}

impl AsRawFd for Watched {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// Watches a socket.
fn watched(socket: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: the descriptor is the socket's own and stays open until it is dropped; `AsyncFd` owns it until then.
    Ok(unsafe { AsyncFd::register_with_interest(socket, interest) }?)
}

/// Whether the kernel, or the sandbox, has the calls for many datagrams.
pub(super) fn has_calls(socket: &UdpSocket) -> bool {
    let fd = socket.as_raw_fd();
    // SAFETY: no message is read or written: both calls are told that there are none.
    let missing = unsafe {
        libc::sendmmsg(fd, ptr::null_mut(), 0, libc::MSG_DONTWAIT as _) < 0
            && io::Error::last_os_error().raw_os_error() == Some(libc::ENOSYS)
            || libc::recvmmsg(
                fd,
                ptr::null_mut(),
                0,
                libc::MSG_DONTWAIT as _,
                ptr::null_mut(),
            ) < 0
                && io::Error::last_os_error().raw_os_error() == Some(libc::ENOSYS)
    };
    !missing
}

/// How many datagrams wait on a socket, as its memory tells; 0 where the kernel does not.
pub(super) fn queued(socket: &impl AsRawFd) -> usize {
    let mut memory = [0u32; 9];
    let mut len = mem::size_of_val(&memory) as libc::socklen_t;
    // SAFETY: the pointers are to locals, and the length is the array's.
    let done = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            memory.as_mut_ptr().cast(),
            &raw mut len,
        )
    };
    match done {
        0 => memory[0] as usize / FOOTPRINT,
        _ => 0,
    }
}

/// Bounds a socket's queue to so many datagrams, or to as many as ever.
pub(super) fn bound_queue(socket: &impl AsRawFd, datagrams: Option<usize>) {
    // The kernel doubles what it is told.
    let size = datagrams.map_or(RECEIVE_BUFFER, |datagrams| datagrams * FOOTPRINT / 2);
    let size = size.min(RECEIVE_BUFFER) as i32;
    // A queue that keeps its length is a longer wait, and no harm.
    let _ = set(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_RCVBUF, size);
}

/// A socket served by `recvmmsg` and `sendmmsg`.
pub(crate) struct Batched {
    socket: Rc<Watched>,
    slots: Vec<Slot>,
    filled: usize,
    many: Box<Many>,
}

impl Batched {
    /// Buffers for one socket.
    pub(super) fn new(socket: Rc<Watched>) -> Self {
        Self {
            socket,
            slots: (0..FIRST).map(|_| Slot::new()).collect(),
            filled: 0,
            many: Many::new(),
        }
    }
}

impl Backend for Batched {
    fn watched(&self) -> Rc<Watched> {
        self.socket.clone()
    }

    fn receive(&mut self) -> io::Result<usize> {
        if self.is_full() && self.slots.len() < BATCH {
            let more = self.slots.len().min(BATCH - self.slots.len());
            self.slots.extend((0..more).map(|_| Slot::new()));
        }
        let received = self.many.receive(self.socket.as_raw_fd(), &mut self.slots);
        self.filled = match &received {
            Ok(count) => *count,
            Err(_) => 0,
        };
        received
    }

    #[inline]
    fn is_full(&self) -> bool {
        self.filled == self.slots.len()
    }

    #[inline]
    fn received(&mut self) -> &mut [Slot] {
        &mut self.slots[..self.filled]
    }

    fn reply(&mut self) -> bool {
        let fd = self.socket.as_raw_fd();
        self.many
            .outbound
            .send_all(fd, &mut self.slots[..self.filled])
    }
}

impl SocketBackend for Batched {
    fn send(&mut self, slots: &mut [Slot]) -> bool {
        self.many.outbound.send_all(self.socket.as_raw_fd(), slots)
    }

    fn queued(&self) -> usize {
        queued(&*self.socket)
    }

    fn bound_queue(&self, datagrams: Option<usize>) {
        bound_queue(&*self.socket, datagrams);
    }
}

/// Room for one socket address, in the kernel's form.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
pub(super) struct Address(pub(super) [u8; 28]);

impl Address {
    pub(super) const EMPTY: Self = Self([0; 28]);

    /// The address in the kernel's form, and its length.
    pub(super) fn new(address: SocketAddr) -> (Self, u32) {
        let mut out = [0; 28];
        match address {
            SocketAddr::V4(v4) => {
                out[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
                out[2..4].copy_from_slice(&v4.port().to_be_bytes());
                out[4..8].copy_from_slice(&v4.ip().octets());
                (Self(out), 16)
            }
            SocketAddr::V6(v6) => {
                out[..2].copy_from_slice(&(libc::AF_INET6 as u16).to_ne_bytes());
                out[2..4].copy_from_slice(&v6.port().to_be_bytes());
                out[8..24].copy_from_slice(&v6.ip().octets());
                out[24..28].copy_from_slice(&v6.scope_id().to_ne_bytes());
                (Self(out), 28)
            }
        }
    }

    /// The address by value; nobody's where the kernel wrote none that we know.
    pub(super) fn read(&self) -> SocketAddr {
        let octets = &self.0;
        let port = u16::from_be_bytes([octets[2], octets[3]]);
        match i32::from(u16::from_ne_bytes([octets[0], octets[1]])) {
            libc::AF_INET => {
                let ip = Ipv4Addr::new(octets[4], octets[5], octets[6], octets[7]);
                SocketAddrV4::new(ip, port).into()
            }
            libc::AF_INET6 => {
                let mut ip = [0; 16];
                ip.copy_from_slice(&octets[8..24]);
                let scope = u32::from_ne_bytes([octets[24], octets[25], octets[26], octets[27]]);
                SocketAddrV6::new(Ipv6Addr::from(ip), port, 0, scope).into()
            }
            _ => Envelope::NONE.peer,
        }
    }
}

/// Room for a control message with packet information, and one that cuts datagrams.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
pub(super) struct Control(pub(super) [u8; 64]);

impl Control {
    pub(super) const EMPTY: Self = Self([0; 64]);
}

/// `recvmmsg` and `sendmmsg`.
struct Many {
    inbound: Inbound,
    outbound: Outbound,
    /// Headers before this one have been used since they were set up.
    used: usize,
    /// Headers before this one are set up, or were.
    ready: usize,
}

/// The headers for receiving, and what they point to.
struct Inbound {
    headers: [libc::mmsghdr; BATCH],
    vectors: [libc::iovec; BATCH],
    addresses: [Address; BATCH],
    controls: [Control; BATCH],
}

impl Inbound {
    fn new() -> Self {
        Self {
            // SAFETY: all-zero octets are a valid header: null pointers and no lengths.
            headers: unsafe { mem::zeroed() },
            vectors: [libc::iovec {
                iov_base: ptr::null_mut(),
                iov_len: 0,
            }; BATCH],
            addresses: [Address::EMPTY; BATCH],
            controls: [Control::EMPTY; BATCH],
        }
    }

    /// Sets the header of a slot up to receive into it.
    fn arm(&mut self, i: usize, slot: &mut Slot) {
        let buffer = slot.exchange.receive_buffer(DATAGRAM);
        self.vectors[i] = libc::iovec {
            iov_base: buffer.as_mut_ptr().cast(),
            iov_len: DATAGRAM,
        };
        let header = &mut self.headers[i].msg_hdr;
        header.msg_name = (&raw mut self.addresses[i]).cast();
        header.msg_namelen = mem::size_of::<Address>() as u32;
        header.msg_iov = &raw mut self.vectors[i];
        header.msg_iovlen = 1;
        header.msg_control = (&raw mut self.controls[i]).cast();
        header.msg_controllen = mem::size_of::<Control>() as _;
        header.msg_flags = 0;
    }
}

impl Many {
    fn new() -> Box<Self> {
        Box::new(Self {
            inbound: Inbound::new(),
            outbound: Outbound::new(),
            used: 0,
            ready: 0,
        })
    }

    /// Receives into the slots; they are the same at every call but for those that were filled by the last one, and those added.
    fn receive(&mut self, fd: RawFd, slots: &mut [Slot]) -> io::Result<usize> {
        let count = slots.len().min(BATCH);
        for i in (0..self.used.min(count)).chain(self.ready.max(self.used)..count) {
            self.inbound.arm(i, &mut slots[i]);
        }
        self.ready = count;
        // SAFETY: the first `count` headers point into `self`, which is boxed, and into the slots' buffers, each at least as long as
        // said: a slot's exchange is replaced or grown only after it was filled, and then its header was set up anew just now. All
        // are borrowed for the call.
        let received = unsafe {
            libc::recvmmsg(
                fd,
                self.inbound.headers.as_mut_ptr(),
                count as u32,
                libc::MSG_DONTWAIT as _,
                ptr::null_mut(),
            )
        };
        // The header behind the last datagram may have been tried.
        self.used = usize::try_from(received).map_or(1, |received| received + 1);
        let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
        for (i, slot) in slots.iter_mut().enumerate().take(received) {
            let header = &self.inbound.headers[i];
            slot.exchange.set_received(header.msg_len as usize);
            slot.cut = header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0;
            slot.reply = false;
            slot.envelope.peer = self.inbound.addresses[i].read();
            // SAFETY: the kernel has filled the header and its control buffer, which live in `self`.
            unsafe { read_control(&header.msg_hdr, &mut slot.envelope) };
        }
        Ok(received)
    }
}

/// Reads the packet information of a received message.
///
/// # Safety
/// The header's control buffer must be as the kernel left it.
pub(super) unsafe fn read_control(header: &libc::msghdr, envelope: &mut Envelope) {
    envelope.local = None;
    envelope.interface = 0;
    // The field's type differs between C libraries.
    #[allow(clippy::unnecessary_cast)]
    if (header.msg_controllen as usize) < mem::size_of::<libc::cmsghdr>() {
        return;
    }
    // SAFETY: by the caller; the macros stay within `msg_controllen`, and data is read unaligned.
    unsafe {
        let mut control = libc::CMSG_FIRSTHDR(header);
        while let Some(one) = control.as_ref() {
            match (one.cmsg_level, one.cmsg_type) {
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    let info: libc::in_pktinfo =
                        ptr::read_unaligned(libc::CMSG_DATA(control).cast());
                    envelope.local =
                        Some(Ipv4Addr::from(info.ipi_spec_dst.s_addr.to_ne_bytes()).into());
                    envelope.interface = info.ipi_ifindex as u32;
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    let info: libc::in6_pktinfo =
                        ptr::read_unaligned(libc::CMSG_DATA(control).cast());
                    envelope.local = Some(Ipv6Addr::from(info.ipi6_addr.s6_addr).into());
                    envelope.interface = info.ipi6_ifindex;
                }
                _ => {}
            }
            control = libc::CMSG_NXTHDR(header, control);
        }
    }
}

/// Says from which address to send, when that was learnt, and at which length one datagram is to be cut into several.
pub(super) fn write_control(
    header: &mut libc::msghdr,
    control: &mut Control,
    envelope: &Envelope,
    cut: Option<u16>,
) {
    header.msg_control = (&raw mut *control).cast();
    header.msg_controllen = 0;
    if let Some(len) = cut {
        // SAFETY: the control buffer is aligned for a header, and has 64 octets for this message's 24.
        unsafe { put_control(header, (gso::LEVEL, gso::SEGMENT), len) };
    }
    let Some(local) = envelope.local else {
        return;
    };
    // SAFETY: the control buffer is aligned, and has room for either message (40 octets at most) beside the one above.
    unsafe {
        match local {
            IpAddr::V4(ip) => {
                let info = libc::in_pktinfo {
                    ipi_ifindex: 0,
                    ipi_spec_dst: libc::in_addr {
                        s_addr: u32::from_ne_bytes(ip.octets()),
                    },
                    ipi_addr: libc::in_addr { s_addr: 0 },
                };
                put_control(header, (libc::IPPROTO_IP, libc::IP_PKTINFO), info);
            }
            IpAddr::V6(ip) => {
                // Only a link-local address needs its interface; for others the routes decide.
                let interface = if ip.is_unicast_link_local() {
                    envelope.interface
                } else {
                    0
                };
                let info = libc::in6_pktinfo {
                    ipi6_addr: libc::in6_addr {
                        s6_addr: ip.octets(),
                    },
                    ipi6_ifindex: interface as _,
                };
                put_control(header, (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO), info);
            }
        }
    }
}

/// Writes one more control message.
///
/// # Safety
/// The header's control pointer must be aligned, and valid for the messages so far and this one.
unsafe fn put_control<T>(header: &mut libc::msghdr, (level, kind): (i32, i32), info: T) {
    let len = mem::size_of::<T>() as u32;
    // The field's type differs between C libraries.
    #[allow(clippy::unnecessary_cast)]
    let used = header.msg_controllen as usize;
    // SAFETY: by the caller; what is used so far is padded to the alignment of a header.
    unsafe {
        header.msg_controllen = (used + libc::CMSG_SPACE(len) as usize) as _;
        let control: *mut libc::cmsghdr = header.msg_control.cast::<u8>().add(used).cast();
        (*control).cmsg_level = level;
        (*control).cmsg_type = kind;
        (*control).cmsg_len = libc::CMSG_LEN(len) as _;
        ptr::write_unaligned(libc::CMSG_DATA(control).cast(), info);
    }
}

/// Sets what every UDP socket of ours wants: packet information on all addresses, and no path MTU discovery, which a forged ICMP
/// message could use to make answers smaller.
pub(crate) fn prepare(socket: &UdpSocket) -> io::Result<()> {
    let fd = socket.as_raw_fd();
    let local = socket.local_addr()?;
    let wildcard = local.ip().is_unspecified();
    if local.is_ipv6() {
        if wildcard {
            set(fd, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1)?;
        }
        let _ = set(
            fd,
            libc::IPPROTO_IPV6,
            libc::IPV6_MTU_DISCOVER,
            libc::IPV6_PMTUDISC_OMIT,
        );
    } else if wildcard {
        set(fd, libc::IPPROTO_IP, libc::IP_PKTINFO, 1)?;
    }
    let _ = set(
        fd,
        libc::IPPROTO_IP,
        libc::IP_MTU_DISCOVER,
        libc::IP_PMTUDISC_OMIT,
    );
    Ok(())
}

/// Sets an integer option.
fn set(fd: RawFd, level: i32, option: i32, value: i32) -> io::Result<()> {
    // SAFETY: the pointer is to a local integer of the size said.
    let done = unsafe {
        libc::setsockopt(
            fd,
            level,
            option,
            (&raw const value).cast(),
            mem::size_of::<i32>() as u32,
        )
    };
    if done == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use super::super::udp_plain::Plain;
    use super::*;

    /// Runs `test` on each back end, within a runtime, with a socket on loopback and a client that is connected to it.
    fn on_each(test: impl Fn(Box<dyn SocketBackend>, UdpSocket)) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let _entered = runtime.enter();
        for plain in [false, true] {
            let server = UdpSocket::bind("127.0.0.1:0").expect("a socket");
            server.set_nonblocking(true).expect("no waiting");
            assert!(has_calls(&server));
            let client = UdpSocket::bind("127.0.0.1:0").expect("a socket");
            client
                .connect(server.local_addr().expect("an address"))
                .expect("a peer");
            let socket = Rc::new(Watched::new(server).expect("a runtime"));
            match plain {
                false => test(Box::new(Batched::new(socket)), client),
                true => test(Box::new(Plain::new(socket)), client),
            }
        }
    }

    #[test]
    fn both_back_ends_receive_and_answer() {
        on_each(|mut backend, client| {
            for i in 0..(BATCH as u8 + 6) {
                let query = crate::testing::query(0x0100, &format!("n{i}.example.org."), 1, 0, &[]);
                client.send(&query).expect("sent");
            }
            client.send(&vec![0; DATAGRAM + 1]).expect("sent");
            let mut answered = 0;
            // The slots grow with what comes.
            while let Ok(count) = backend.receive() {
                assert!((1..=BATCH).contains(&count));
                for slot in backend.received() {
                    assert_eq!(slot.envelope.peer, client.local_addr().expect("an address"));
                    if slot.cut {
                        continue;
                    }
                    slot.exchange.parse().expect("a query");
                    slot.exchange.response().seal();
                    // Every third gets no answer: those between are sent nonetheless.
                    slot.reply = answered % 3 != 2;
                    answered += 1;
                }
                assert!(backend.reply());
            }
            assert_eq!(answered, BATCH + 6);
            assert!(
                backend
                    .receive()
                    .is_err_and(|e| e.kind() == io::ErrorKind::WouldBlock)
            );
            client.set_nonblocking(true).expect("no waiting");
            // Those of one batch leave in the order of their lengths.
            let mut expected: Vec<String> = (0..answered)
                .filter(|i| i % 3 != 2)
                .map(|i| format!("n{i}.example.org."))
                .collect();
            let mut found: Vec<String> = expected
                .iter()
                .map(|_| {
                    let mut reply = [0; 512];
                    let len = client.recv(&mut reply).expect("an answer");
                    let name = wire::NameBuf::read(&reply[..len], wire::HEADER_LEN);
                    name.expect("a name").0.to_string()
                })
                .collect();
            expected.sort();
            found.sort();
            assert_eq!(found, expected);
            assert!(client.recv(&mut [0; 512]).is_err());
        });
    }

    #[test]
    fn the_oldest_are_thrown_away_and_a_queue_has_its_bound() {
        on_each(|mut backend, client| {
            let send = |count: usize| {
                for i in 0..count {
                    let query =
                        crate::testing::query(0x0100, &format!("n{i}.example.org."), 1, 0, &[]);
                    client.send(&query).expect("sent");
                }
            };
            send(200);
            let waiting = backend.queued();
            assert!((150..=400).contains(&waiting), "{waiting}");
            let skipped = backend.skip(120);
            assert!((120..120 + BATCH).contains(&skipped), "{skipped}");
            assert!(backend.receive().expect("received") > 0);
            let slot = &mut backend.received()[0];
            slot.exchange.parse().expect("a query");
            let (name, _) =
                wire::NameBuf::read(slot.exchange.message(), wire::HEADER_LEN).expect("a name");
            assert_eq!(name.to_string(), format!("n{skipped}.example.org."));
            assert!(backend.skip(1_000) < 80);
            for (bound, sent, kept) in [(Some(50), 1_000, 20..=100), (None, 250, 250..=250)] {
                backend.bound_queue(bound);
                send(sent);
                let waited = backend.skip(10_000);
                assert!(kept.contains(&waited), "{bound:?}: {waited}");
            }
        });
    }

    #[test]
    fn a_refused_datagram_does_not_hold_the_others() {
        on_each(|mut backend, client| {
            for _ in 0..3 {
                client
                    .send(&crate::testing::query(0, "example.org.", 1, 0, &[]))
                    .expect("sent");
            }
            assert_eq!(backend.receive().expect("received"), 3);
            for (i, slot) in backend.received().iter_mut().enumerate() {
                slot.exchange.parse().expect("a query");
                slot.exchange.response().seal();
                slot.reply = true;
                if i < 2 {
                    // An IPv4 socket sends nothing to IPv6.
                    slot.envelope.peer = "[2001:db8::1]:53".parse().expect("an address");
                }
            }
            assert!(backend.reply());
            client
                .set_read_timeout(Some(std::time::Duration::from_secs(3)))
                .expect("a timeout");
            assert!(client.recv(&mut [0; 512]).is_ok());
        });
    }
}
