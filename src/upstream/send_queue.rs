//! Queries of one batch that leave together.
//!
//! Datagrams of one length from one socket to one server leave by one call ([`host::gso`]). The queries of a batch are put in order by
//! socket and length, the longest first, so that those of one length stand together, and one shorter one may close them.

use std::io::{self, IoSlice};

use host::gso::{self, MOST};
use wire::Flags;

use crate::datagram::Socket;

/// What leaves at the end of a batch.
#[derive(Default)]
pub(crate) struct SendQueue {
    /// Whether the end of the batch will be told.
    pub(crate) told: bool,
    /// Numbers of queries and their generations.
    pub(crate) queued: Vec<(u32, u32)>,
    /// Room to put them in order.
    pub(crate) datagrams: Vec<Datagram>,
}

/// One datagram that is about to leave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Datagram {
    /// Its socket, by address.
    pub(crate) socket: usize,
    /// Its octets.
    pub(crate) len: u16,
    /// The number of its query.
    pub(crate) number: u32,
    /// The client's ID, over which ours was written.
    pub(crate) id: u16,
    /// The client's flags, likewise.
    pub(crate) flags: Flags,
}

/// Puts the datagrams in order, and gives each lot that can leave by one call.
pub(crate) fn each_lot(datagrams: &mut [Datagram], mut leave: impl FnMut(&[Datagram])) {
    if datagrams.len() > 1 {
        datagrams.sort_unstable_by_key(|datagram| (datagram.socket, u16::MAX - datagram.len));
    }
    let mut rest = &*datagrams;
    while let Some(first) = rest.first() {
        let lens = rest
            .iter()
            .take_while(|datagram| datagram.socket == first.socket);
        let count = gso::lot(lens.map(|datagram| datagram.len));
        let (lot, others) = rest.split_at(count);
        leave(lot);
        rest = others;
    }
}

/// Sends a lot; `find` gives the socket and the octets of a query.
#[inline]
pub(crate) fn send<'a>(
    lot: &[Datagram],
    find: impl Fn(u32) -> Option<(&'a Socket, &'a [u8])>,
) -> io::Result<()> {
    let Some((socket, first)) = lot.first().and_then(|datagram| find(datagram.number)) else {
        return Ok(());
    };
    if lot.len() == 1 {
        return socket.send(first);
    }
    let mut slices = [IoSlice::new(&[]); MOST];
    for (slice, datagram) in slices.iter_mut().zip(lot) {
        if let Some((_, octets)) = find(datagram.number) {
            *slice = IoSlice::new(octets);
        }
    }
    socket.send_all(&slices[..lot.len().min(MOST)], lot[0].len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lots_share_a_socket_and_a_length() {
        let datagram = |socket, len| Datagram {
            socket,
            len,
            number: 0,
            id: 0,
            flags: Flags(0),
        };
        // (socket and length of each, the lots that leave)
        type Pairs = &'static [(usize, u16)];
        let cases: [(Pairs, &[Pairs]); 6] = [
            (&[], &[]),
            (&[(1, 40)], &[&[(1, 40)]]),
            (&[(2, 40), (1, 40)], &[&[(1, 40)], &[(2, 40)]]),
            // The last of a lot may be shorter.
            (
                &[(1, 30), (1, 40), (1, 20), (1, 40)],
                &[&[(1, 40), (1, 40), (1, 30)], &[(1, 20)]],
            ),
            (&[(1, 30), (2, 40)], &[&[(1, 30)], &[(2, 40)]]),
            // What may not fit a packet goes alone.
            (
                &[(1, 1_300), (1, 1_300), (1, 40)],
                &[&[(1, 1_300)], &[(1, 1_300)], &[(1, 40)]],
            ),
        ];
        for (queued, expected) in cases {
            let mut queued: Vec<_> = queued
                .iter()
                .map(|&(socket, len)| datagram(socket, len))
                .collect();
            let mut lots = Vec::new();
            each_lot(&mut queued, |lot| {
                lots.push(lot.iter().map(|d| (d.socket, d.len)).collect::<Vec<_>>());
            });
            assert_eq!(lots, expected, "{queued:?}");
        }
        let mut many = vec![datagram(1, 40); 130];
        let mut lots = Vec::new();
        each_lot(&mut many, |lot| lots.push(lot.len()));
        assert_eq!(lots, [64, 64, 2]);
    }
}
