//! Queries of one batch that leave together.
//!
//! Datagrams of one length from one socket to one upstream can be handed to the kernel as one (UDP_SEGMENT, udp(7)): it walks its
//! stack once for all of them, which costs more than everything else that a forwarded query costs, and cuts them apart at the end.
//! What arrives is what would have arrived. The queries of a batch are put in order by socket and length, the longest first, so that
//! those of one length stand together, and one shorter one may close them.
//!
//! Whether the kernel does it is seen once, on the loopback; a path that refuses it gets its datagrams one by one.

use std::io::{self, IoSlice};
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::OnceLock;

use socket2::{MsgHdr, SockRef};

use super::udp::UdpLane;

/// The most datagrams of one call (UDP_MAX_SEGMENTS of the first kernels).
const MOST: usize = 64;
/// Octets that fit any path's MTU in one packet; longer ones go alone.
const LONGEST: u16 = 1_200;
/// The level of UDP's socket options.
const SOL_UDP: i32 = 17;
/// The length of each datagram.
const UDP_SEGMENT: i32 = 103;
/// A control message's header: its length, which is a `size_t`, its level and its type.
const HEADER: usize = size_of::<usize>() + 8;
/// The whole message, padded as the kernel wants it.
const CONTROL: usize = HEADER + size_of::<usize>();

/// What leaves at the end of a batch.
#[derive(Default)]
pub(super) struct Volley {
    /// Whether the end of the batch will be told.
    pub(super) aboard: bool,
    /// Seats and their generations.
    pub(super) queued: Vec<(u32, u32)>,
    /// Room to put them in order.
    pub(super) shots: Vec<Shot>,
}

/// One datagram that is about to leave.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shot {
    /// Its socket, by address.
    pub(super) lane: usize,
    /// Its octets.
    pub(super) len: u16,
    /// The seat of its query.
    pub(super) seat: u32,
    /// The client's ID, over which ours was written.
    pub(super) id: u16,
    /// The client's fourth octet, likewise.
    pub(super) flags: u8,
}

/// Puts the shots in order, and gives each lot that can leave by one call.
pub(super) fn each(shots: &mut [Shot], mut leave: impl FnMut(&[Shot])) {
    if shots.len() > 1 {
        shots.sort_unstable_by_key(|shot| (shot.lane, u16::MAX - shot.len));
    }
    let mut rest = &*shots;
    while let Some(first) = rest.first() {
        let fits = |shot: &&Shot| shot.lane == first.lane && shot.len == first.len;
        let mut count = match first.len {
            0..=LONGEST => rest.iter().take(MOST).take_while(fits).count(),
            _ => 1,
        };
        let next = rest.get(count);
        if count < MOST && first.len <= LONGEST && next.is_some_and(|next| next.lane == first.lane)
        {
            count += 1;
        }
        let (lot, others) = rest.split_at(count);
        leave(lot);
        rest = others;
    }
}

impl Shot {
    /// Sends a lot; `find` gives the socket and the octets of a seat.
    #[inline]
    pub(super) fn fire<'a>(
        lot: &[Self],
        find: impl Fn(u32) -> Option<(&'a UdpLane, &'a [u8])>,
    ) -> io::Result<()> {
        let Some((lane, first)) = lot.first().and_then(|shot| find(shot.seat)) else {
            return Ok(());
        };
        if lot.len() == 1 {
            return lane.send(first);
        }
        let mut slices = [IoSlice::new(&[]); MOST];
        for (slice, shot) in slices.iter_mut().zip(lot) {
            if let Some((_, octets)) = find(shot.seat) {
                *slice = IoSlice::new(octets);
            }
        }
        lane.send_all(&slices[..lot.len().min(MOST)], lot[0].len)
    }
}

/// The control message that cuts datagrams at `len` octets.
pub(super) fn control(len: u16) -> [u8; CONTROL] {
    let mut out = [0; CONTROL];
    let (head, data) = out.split_at_mut(HEADER);
    let (size, kind) = head.split_at_mut(size_of::<usize>());
    size.copy_from_slice(&(HEADER + 2).to_ne_bytes());
    kind[..4].copy_from_slice(&SOL_UDP.to_ne_bytes());
    kind[4..].copy_from_slice(&UDP_SEGMENT.to_ne_bytes());
    data[..2].copy_from_slice(&len.to_ne_bytes());
    out
}

/// Whether an error says that a path does not take several datagrams at once: EIO, EINVAL, EMSGSIZE, EOPNOTSUPP.
pub(super) fn is_refused(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(5 | 22 | 90 | 95))
}

/// Whether this kernel cuts datagrams as it is told; one that does not know the option sends them as one.
pub(super) fn works() -> bool {
    static WORKS: OnceLock<bool> = OnceLock::new();
    *WORKS.get_or_init(|| cuts().unwrap_or(false))
}

fn cuts() -> io::Result<bool> {
    let receiver = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let sender = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    sender.connect(receiver.local_addr()?)?;
    receiver.set_nonblocking(true)?;
    let datagrams = [IoSlice::new(b"abc"), IoSlice::new(b"de")];
    let control = control(3);
    let message = MsgHdr::new()
        .with_buffers(&datagrams)
        .with_control(&control);
    SockRef::from(&sender).sendmsg(&message, 0)?;
    let mut octets = [0; 8];
    let first = receiver.recv(&mut octets)?;
    Ok(first == 3 && receiver.recv(&mut octets)? == 2)
}
