//! The octets of a reply. Those for streams are kept by their thread, ready to be written, when nobody needs them.
//!
//! A query of a stream that waits gives its 64 KiB up and takes them again for its response. To fill fresh ones with zeros would cost
//! more than the rest of the answer.

use std::cell::RefCell;
use std::mem;
use std::ops::{Deref, DerefMut};

/// The octets that a stream exchange can send.
pub(crate) const STREAM: usize = 65_535;
/// How many buffers of [`STREAM`] octets a thread keeps.
const KEPT: usize = 16;

thread_local! {
    static FREE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// A buffer for a reply.
#[derive(Debug)]
pub(crate) struct Room(Vec<u8>);

impl Room {
    /// A buffer of `len` octets; what stands in them is of no meaning.
    pub(crate) fn of(len: usize) -> Self {
        let free = match len {
            // A thread that ends has none.
            STREAM => FREE.try_with(|free| free.borrow_mut().pop()).ok().flatten(),
            _ => None,
        };
        Self(free.unwrap_or_else(|| vec![0; len]))
    }

    /// Keeps the first `len` octets, and gives up the others.
    pub(crate) fn shrink(&mut self, len: usize) {
        let kept = self.0[..len.min(self.0.len())].to_vec();
        *self = Self(kept);
    }

    /// Is `len` octets long again; what it has stays in front.
    pub(crate) fn grow(&mut self, len: usize) {
        let mut whole = Self::of(len);
        whole[..self.len()].copy_from_slice(self);
        *self = whole;
    }
}

impl Deref for Room {
    type Target = [u8];

    #[inline(always)]
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl DerefMut for Room {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if self.0.len() == STREAM {
            let whole = mem::take(&mut self.0);
            let _ = FREE.try_with(|free| {
                let mut free = free.borrow_mut();
                if free.len() < KEPT {
                    free.push(whole);
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_that_was_given_up_is_taken_again_as_it_is() {
        let mut room = Room::of(STREAM);
        room[..3].copy_from_slice(b"abc");
        room[STREAM - 1] = 7;
        let place = room.as_ptr();
        room.shrink(2);
        assert_eq!(&*room, b"ab");
        room.grow(STREAM);
        assert_eq!((room.as_ptr(), room.len()), (place, STREAM));
        assert_eq!(&room[..2], b"ab");
        // Nothing was written anew.
        assert_eq!(room[STREAM - 1], 7);
        let many: Vec<Room> = (0..2 * KEPT).map(|_| Room::of(STREAM)).collect();
        drop(many);
        assert_eq!(FREE.with_borrow(Vec::len), KEPT);
    }
}
