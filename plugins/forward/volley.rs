//! Queries of one batch that leave together.
//!
//! Datagrams of one length from one socket to one upstream leave by one call ([`chain::segments`]). The queries of a batch are put in
//! order by socket and length, the longest first, so that those of one length stand together, and one shorter one may close them.

use std::io::{self, IoSlice};

use chain::segments::{self, MOST};

use super::udp::UdpLane;

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
        let lens = rest.iter().take_while(|shot| shot.lane == first.lane);
        let count = segments::lot(lens.map(|shot| shot.len));
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
