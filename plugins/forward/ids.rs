//! The IDs that are outstanding on one socket or connection, and who waits for each.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use rand::RngExt;

/// Spreads the 16 bits of an ID over a hash; IDs are random and ours, so nobody can aim at it.
#[derive(Default)]
pub(super) struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, octets: &[u8]) {
        for &octet in octets {
            self.write_u16(u16::from(octet));
        }
    }
    fn write_u16(&mut self, id: u16) {
        self.0 = (self.0 ^ u64::from(id)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}

/// The IDs that are outstanding on one lane.
#[derive(Default)]
pub(super) struct Ids(RefCell<HashMap<u16, u32, BuildHasherDefault<Spread>>>);

impl Ids {
    /// A random ID that is not outstanding (RFC 5452, section 9.2: the whole range).
    pub(super) fn take(&self, seat: u32) -> Option<u16> {
        let mut map = self.0.borrow_mut();
        if map.len() >= 32_768 {
            return None;
        }
        let mut random = rand::rng();
        loop {
            let id: u16 = random.random();
            if let std::collections::hash_map::Entry::Vacant(place) = map.entry(id) {
                place.insert(seat);
                return Some(id);
            }
        }
    }

    /// The seat that waits for `id`.
    pub(super) fn seat(&self, id: u16) -> Option<u32> {
        self.0.borrow().get(&id).copied()
    }

    /// Gives `id` back.
    pub(super) fn release(&self, id: u16) {
        self.0.borrow_mut().remove(&id);
    }

    /// Gives `id` back, unless it has meanwhile been taken for another seat.
    pub(super) fn release_if(&self, id: u16, seat: u32) {
        let mut map = self.0.borrow_mut();
        if map.get(&id) == Some(&seat) {
            map.remove(&id);
        }
    }

    /// Gives all back; the seats that waited for them.
    pub(super) fn clear(&self) -> Vec<u32> {
        self.0.borrow_mut().drain().map(|(_, seat)| seat).collect()
    }

    /// Something to know these by while they live.
    pub(super) fn place(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// How many are outstanding.
    pub(super) fn len(&self) -> usize {
        self.0.borrow().len()
    }
}
