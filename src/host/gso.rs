//! Several datagrams by one call, as one that the kernel cuts (UDP_SEGMENT, udp(7)).
//!
//! Datagrams of one length from one socket to one peer can be handed to the kernel as one: it walks its stack once for all of them,
//! which costs more than most of what a server does for a query, and cuts them apart at the end; the last may be shorter. What
//! arrives is what would have arrived.
//!
//! Whether the kernel does it is seen once, on the loopback ([`works`]); a path that refuses it ([`is_refused`]) has to get its
//! datagrams one by one.

use std::io::{self, IoSlice};
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::OnceLock;

use socket2::{MsgHdr, SockRef};

/// The most datagrams of one call (UDP_MAX_SEGMENTS of the first kernels).
pub const MOST: usize = 64;
/// Octets that fit any path's MTU in one packet; longer ones go alone.
pub const LONGEST: u16 = 1_200;
/// Octets of one call: what one datagram can have.
const OCTETS: usize = 65_000;
/// The level of UDP's socket options.
pub const LEVEL: i32 = 17;
/// The control message that holds the length of each datagram, as a `u16`.
pub const SEGMENT: i32 = 103;
/// A control message's header: its length, which is a `size_t`, its level and its type.
const HEADER: usize = size_of::<usize>() + 8;
/// The whole message, padded as the kernel wants it.
const CONTROL: usize = HEADER + size_of::<usize>();

/// The control message that cuts datagrams at `len` octets.
pub fn control(len: u16) -> [u8; CONTROL] {
    let mut out = [0; CONTROL];
    let (head, data) = out.split_at_mut(HEADER);
    let (size, kind) = head.split_at_mut(size_of::<usize>());
    size.copy_from_slice(&(HEADER + 2).to_ne_bytes());
    kind[..4].copy_from_slice(&LEVEL.to_ne_bytes());
    kind[4..].copy_from_slice(&SEGMENT.to_ne_bytes());
    data[..2].copy_from_slice(&len.to_ne_bytes());
    out
}

/// How many of the datagrams at the front can leave by one call: those of the first one's length, and a shorter one behind them.
pub fn lot(mut lens: impl Iterator<Item = u16>) -> usize {
    let Some(first) = lens.next() else {
        return 0;
    };
    let mut count = 1;
    if first > LONGEST {
        return count;
    }
    let most = MOST.min(OCTETS / usize::from(first.max(1)));
    for len in lens.take(most - 1) {
        if len > first {
            break;
        }
        count += 1;
        if len < first {
            break;
        }
    }
    count
}

/// Whether an error says that a path does not take several datagrams at once: EIO, EINVAL, EMSGSIZE, EOPNOTSUPP.
pub fn is_refused(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(5 | 22 | 90 | 95))
}

/// Whether this kernel cuts datagrams as it is told; one that does not know the option sends them as one.
pub fn works() -> bool {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lot_has_one_length_and_a_shorter_end() {
        let cases: [(&[u16], usize); 10] = [
            (&[], 0),
            (&[40], 1),
            (&[40, 40], 2),
            (&[40, 40, 30], 3),
            (&[40, 30, 30], 2),
            (&[40, 41], 1),
            (&[LONGEST, LONGEST], 2),
            (&[LONGEST + 1, LONGEST + 1], 1),
            (&[9; 100], MOST),
            (&[LONGEST; 100], 54),
        ];
        for (lens, expected) in cases {
            assert_eq!(lot(lens.iter().copied()), expected, "{lens:?}");
        }
    }
}
