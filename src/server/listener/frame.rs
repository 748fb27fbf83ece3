//! An Ethernet frame with a UDP datagram, read where it lies and turned into the one that carries the response.
//!
//! ```text
//! ┌──────────┬──────────────┬──────┬─────────┐       the response goes the way that the query came: addresses and ports change
//! │ Ethernet │ IPv4 or IPv6 │ UDP  │ message │       places, lengths and checksums are written anew
//! └──────────┴──────────────┴──────┴─────────┘
//! ```
//!
//! What is read has passed the filter (`udp_xdp_program.rs`); what the kernel would have refused later is refused here.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::Range;

/// Octets of the headers.
pub(super) const ETHERNET: usize = 14;
pub(super) const IPV4: usize = 20;
pub(super) const IPV6: usize = 40;
pub(super) const UDP: usize = 8;
/// Octets of the memory for one frame, and of the part of it that the kernel leaves free before the frame (`XDP_PACKET_HEADROOM`).
pub(super) const CHUNK: usize = 2_048;
pub(super) const HEADROOM: usize = 256;
/// Octets of the longest frame.
pub(super) const LONGEST: usize = CHUNK - HEADROOM;
/// How many routers a response may pass.
const HOPS: u8 = 64;
const PROTOCOL_UDP: u8 = 17;

/// A datagram as it lies in its frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Datagram {
    /// Where its sender is.
    pub(super) peer: SocketAddr,
    /// Where it was sent.
    pub(super) local: SocketAddr,
    /// The message.
    pub(super) message: Range<usize>,
}

/// What a frame holds; `None` where the kernel would not have handed it to a socket.
#[inline]
pub(super) fn read(frame: &[u8]) -> Option<Datagram> {
    match be16(frame, 12)? {
        0x0800 => read_four(frame),
        0x86dd => read_six(frame),
        _ => None,
    }
}

fn read_four(frame: &[u8]) -> Option<Datagram> {
    let header: &[u8; IPV4] = frame.get(ETHERNET..)?.first_chunk()?;
    let fragmented = u16::from_be_bytes([header[6], header[7]]) & 0x3fff != 0;
    if header[0] != 0x45 || header[9] != PROTOCOL_UDP || fragmented || fold(sum(header)) != 0xffff {
        return None;
    }
    let end = ETHERNET + usize::from(u16::from_be_bytes([header[2], header[3]]));
    let [source, destination] = [12, 16]
        .map(|at| Ipv4Addr::new(header[at], header[at + 1], header[at + 2], header[at + 3]));
    // Senders that the kernel takes for forged, which could pass for a client that is trusted.
    let forged = source.is_loopback() || source.is_multicast() || source.is_broadcast();
    if forged || source.octets()[0] == 0 {
        return None;
    }
    let (ports, message) = udp(frame, ETHERNET + IPV4..end, sum(&header[12..]), false)?;
    Some(Datagram {
        peer: SocketAddr::new(source.into(), ports.0),
        local: SocketAddr::new(destination.into(), ports.1),
        message,
    })
}

fn read_six(frame: &[u8]) -> Option<Datagram> {
    let header: &[u8; IPV6] = frame.get(ETHERNET..)?.first_chunk()?;
    if header[0] >> 4 != 6 || header[6] != PROTOCOL_UDP {
        return None;
    }
    let start = ETHERNET + IPV6;
    let end = start + usize::from(u16::from_be_bytes([header[4], header[5]]));
    let source = Ipv6Addr::from(*header.get(8..)?.first_chunk::<16>()?);
    let destination = Ipv6Addr::from(*header.get(24..)?.first_chunk::<16>()?);
    let forged = source.is_loopback() || source.is_multicast() || source.is_unspecified();
    // IPv4 in IPv6 form is for sockets, and comes by no wire.
    if forged || source.to_ipv4_mapped().is_some() {
        return None;
    }
    let (ports, message) = udp(frame, start..end, sum(&header[8..]), true)?;
    Some(Datagram {
        peer: SocketAddr::new(source.into(), ports.0),
        local: SocketAddr::new(destination.into(), ports.1),
        message,
    })
}

/// The ports and the message of a UDP datagram, whose pseudo-header's addresses add up to `addresses`.
#[inline(always)]
fn udp(
    frame: &[u8],
    range: Range<usize>,
    addresses: u64,
    mandatory: bool,
) -> Option<((u16, u16), Range<usize>)> {
    let datagram = frame.get(range.clone())?;
    let header: &[u8; UDP] = datagram.first_chunk()?;
    let len = u16::from_be_bytes([header[4], header[5]]);
    if usize::from(len) != datagram.len() {
        return None;
    }
    let found = u16::from_ne_bytes([header[6], header[7]]);
    if found == 0 {
        if mandatory {
            return None;
        }
    } else {
        let pseudo = pseudo(addresses, len);
        // A frame of this machine has the sum of the pseudo-header alone, for a network card to complete.
        if found != fold(pseudo) && fold(add(pseudo, sum(datagram))) != 0xffff {
            return None;
        }
    }
    let ports = (
        u16::from_be_bytes([header[0], header[1]]),
        u16::from_be_bytes([header[2], header[3]]),
    );
    Some((ports, range.start + UDP..range.end))
}

/// Turns the frame of a query into that of its response; gives how long it is, or nothing when the response does not fit. `mtu` is that
/// of the interface, `identification` tells the packets of IPv4 apart.
#[inline]
pub(super) fn turn(
    frame: &mut [u8],
    response: &[u8],
    mtu: usize,
    identification: u16,
) -> Option<usize> {
    let four = frame.get(12..14)? == [0x08, 0x00];
    let start = if four {
        ETHERNET + IPV4
    } else {
        ETHERNET + IPV6
    };
    let len = UDP + response.len();
    let total = start + len;
    if total > frame.len() || total - ETHERNET > mtu || len > usize::from(u16::MAX) {
        return None;
    }
    let (ethernet, rest) = frame.split_first_chunk_mut::<ETHERNET>()?;
    swap::<6>(ethernet.first_chunk_mut::<12>()?);
    let addresses = if four {
        let header: &mut [u8; IPV4] = rest.first_chunk_mut()?;
        swap::<4>(header.last_chunk_mut::<8>()?);
        // Type of service, length, identification, no flags.
        header[1] = 0;
        header[2..4].copy_from_slice(&((IPV4 + len) as u16).to_be_bytes());
        header[4..6].copy_from_slice(&identification.to_be_bytes());
        header[6..8].fill(0);
        header[8] = HOPS;
        header[10..12].fill(0);
        let checksum = !fold(sum(header));
        header[10..12].copy_from_slice(&checksum.to_ne_bytes());
        sum(&header[12..])
    } else {
        let header: &mut [u8; IPV6] = rest.first_chunk_mut()?;
        header[..4].copy_from_slice(&[0x60, 0, 0, 0]);
        header[4..6].copy_from_slice(&(len as u16).to_be_bytes());
        header[7] = HOPS;
        swap::<16>(header.last_chunk_mut::<32>()?);
        sum(&header[8..])
    };
    let datagram = rest.get_mut(start - ETHERNET..total - ETHERNET)?;
    let (header, message) = datagram.split_first_chunk_mut::<UDP>()?;
    swap::<2>(header.first_chunk_mut::<4>()?);
    header[4..6].copy_from_slice(&(len as u16).to_be_bytes());
    header[6..8].fill(0);
    message.copy_from_slice(response);
    let whole = add(pseudo(addresses, len as u16), sum(datagram));
    // Zero would say that there is none (RFC 768).
    let checksum = match !fold(whole) {
        0 => 0xffff,
        checksum => checksum,
    };
    datagram[6..8].copy_from_slice(&checksum.to_ne_bytes());
    Some(total)
}

/// Has two fields of so many octets change places.
#[inline(always)]
fn swap<const OCTETS: usize>(both: &mut [u8]) {
    if let Some((first, second)) = both.split_first_chunk_mut::<OCTETS>()
        && let Some(second) = second.first_chunk_mut::<OCTETS>()
    {
        std::mem::swap(first, second);
    }
}

/// What the pseudo-header of a UDP datagram of this length adds to its checksum, where its addresses add up to so much.
#[inline(always)]
fn pseudo(addresses: u64, len: u16) -> u64 {
    let protocol = u64::from(u16::from(PROTOCOL_UDP).to_be());
    add(addresses, protocol + u64::from(len.to_be()))
}

/// The sum of octets in words for the Internet checksum (RFC 1071); odd ones have a zero behind them.
///
/// The sum of words in another order of octets is the sum in that order (section 2, B), so they are added as they lie, eight octets at
/// once, and the checksum is written as it lies.
#[inline(always)]
fn sum(octets: &[u8]) -> u64 {
    let (words, rest) = octets.as_chunks::<8>();
    let mut total = 0;
    for word in words {
        total = add(total, u64::from_ne_bytes(*word));
    }
    let mut last = [0; 8];
    for (to, octet) in last.iter_mut().zip(rest) {
        *to = *octet;
    }
    add(total, u64::from_ne_bytes(last))
}

/// The sum of two, with the carry added to it.
#[inline(always)]
fn add(a: u64, b: u64) -> u64 {
    let (sum, carried) = a.overflowing_add(b);
    sum + u64::from(carried)
}

/// The sum of the four words in one: the checksum before it is inverted; 0xffff over what has a right one.
#[inline(always)]
fn fold(total: u64) -> u16 {
    let total = (total >> 32) + (total & 0xffff_ffff);
    let total = (total >> 32) as u32 + total as u32;
    let total = (total >> 16) + (total & 0xffff);
    (total >> 16) as u16 + total as u16
}

/// Two octets in network order.
#[inline]
fn be16(octets: &[u8], at: usize) -> Option<u16> {
    let pair = octets.get(at..at + 2)?;
    Some(u16::from_be_bytes([pair[0], pair[1]]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: [u8; 6] = [2, 0, 0, 0, 0, 1];
    const OURS: [u8; 6] = [2, 0, 0, 0, 0, 2];

    /// The frame of a datagram, from one address to another.
    fn frame(from: SocketAddr, to: SocketAddr, message: &[u8]) -> Vec<u8> {
        let mut out = vec![0; CHUNK - HEADROOM];
        out[..6].copy_from_slice(&PEER);
        out[6..12].copy_from_slice(&OURS);
        // A frame from `to` to `from`, turned.
        let start = match (from, to) {
            (SocketAddr::V4(from), SocketAddr::V4(to)) => {
                out[12..14].copy_from_slice(&[8, 0]);
                out[14] = 0x45;
                out[23] = PROTOCOL_UDP;
                out[26..30].copy_from_slice(&to.ip().octets());
                out[30..34].copy_from_slice(&from.ip().octets());
                34
            }
            (SocketAddr::V6(from), SocketAddr::V6(to)) => {
                out[12..14].copy_from_slice(&[0x86, 0xdd]);
                out[20] = PROTOCOL_UDP;
                out[22..38].copy_from_slice(&to.ip().octets());
                out[38..54].copy_from_slice(&from.ip().octets());
                54
            }
            _ => panic!("two families"),
        };
        out[start..start + 2].copy_from_slice(&to.port().to_be_bytes());
        out[start + 2..start + 4].copy_from_slice(&from.port().to_be_bytes());
        let len = turn(&mut out, message, 1_500, 7).expect("it fits");
        out.truncate(len);
        out
    }

    fn ends(six: bool) -> (SocketAddr, SocketAddr) {
        let (from, to) = match six {
            false => ("192.0.2.1:4000", "192.0.2.53:53"),
            true => ("[2001:db8::1]:4000", "[2001:db8::53]:53"),
        };
        (
            from.parse().expect("an address"),
            to.parse().expect("an address"),
        )
    }

    #[test]
    fn what_is_written_can_be_read() {
        for six in [false, true] {
            let (from, to) = ends(six);
            for len in [12, 13, 14, 15, 29, 512, 1_200] {
                let message: Vec<u8> = (0..len).map(|n| (n * 7) as u8).collect();
                let frame = frame(from, to, &message);
                let found = read(&frame).expect("a datagram");
                assert_eq!((found.peer, found.local), (from, to));
                assert_eq!(&frame[found.message], &message[..], "{len}");
                assert_eq!(&frame[..6], &OURS);
            }
        }
    }

    #[test]
    fn a_response_goes_back_the_way() {
        for six in [false, true] {
            let (from, to) = ends(six);
            let mut octets = frame(from, to, b"0123456789ab");
            octets.resize(LONGEST, 0xaa);
            let len = turn(&mut octets, b"a response that is longer", 1_500, 8).expect("it fits");
            let found = read(&octets[..len]).expect("a datagram");
            assert_eq!((found.peer, found.local), (to, from));
            assert_eq!(&octets[found.message], b"a response that is longer");
            assert_eq!(&octets[..6], &PEER);
            assert!(turn(&mut octets, &[0; 1_473], 1_500, 9).is_none());
            assert_eq!(turn(&mut octets, &[0; 1_472], 1_500, 9).is_some(), !six);
            assert!(turn(&mut octets, &[0; 4_096], 9_000, 9).is_none());
        }
    }

    #[test]
    fn whatever_is_damaged_is_not_taken() {
        for six in [false, true] {
            let (from, to) = ends(six);
            let good = frame(from, to, b"0123456789abcdef");
            let start = if six { 54 } else { 34 };
            for at in 12..good.len() {
                for bit in 0..8 {
                    let mut bad = good.clone();
                    bad[at] ^= 1 << bit;
                    // Traffic class, flow label and hop limit of IPv6 are in no checksum.
                    let free = six && (matches!(at, 15..=17 | 21) || at == 14 && bit < 4);
                    assert_eq!(read(&bad).is_some(), free, "octet {at}, bit {bit}");
                }
            }
            for len in 0..good.len() {
                assert!(read(&good[..len]).is_none(), "{len}");
            }
            // Without a checksum, where that may be.
            let mut without = good.clone();
            without[start + 6..start + 8].fill(0);
            assert_eq!(read(&without).is_some(), !six);
            // With the sum of the pseudo-header alone.
            let datagram = &good[start..];
            let mut partial = good.clone();
            let addresses = sum(&good[if six { 22 } else { 26 }..start]);
            let pseudo = fold(pseudo(addresses, datagram.len() as u16));
            partial[start + 6..start + 8].copy_from_slice(&pseudo.to_ne_bytes());
            assert!(read(&partial).is_some());
        }
    }

    #[test]
    fn forged_senders_are_not_taken() {
        for (from, to) in [
            ("127.0.0.1:4000", "192.0.2.53:53"),
            ("224.0.0.1:4000", "192.0.2.53:53"),
            ("255.255.255.255:4000", "192.0.2.53:53"),
            ("0.0.0.0:4000", "192.0.2.53:53"),
            ("[::1]:4000", "[2001:db8::53]:53"),
            ("[::]:4000", "[2001:db8::53]:53"),
            ("[ff02::1]:4000", "[2001:db8::53]:53"),
            ("[::ffff:127.0.0.1]:4000", "[2001:db8::53]:53"),
        ] {
            let address = |text: &str| text.parse().expect("an address");
            let frame = frame(address(from), address(to), b"0123456789ab");
            assert_eq!(read(&frame), None, "{from}");
        }
    }

    #[test]
    fn padding_of_short_frames_is_no_part_of_them() {
        let (from, to) = ends(false);
        let mut octets = frame(from, to, b"0123456789ab");
        let len = octets.len();
        octets.resize(60, 0x55);
        assert_eq!(read(&octets).expect("a datagram").message, 42..len);
    }
}
