//! The IDs that are outstanding on one socket or connection, and the query that waits for each.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use rand::RngExt;

/// Spreads the 16 bits of an ID over a hash; IDs are random and ours, so nobody can aim at it.
#[derive(Default)]
struct Spread(u64);

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

/// The IDs that are outstanding on one socket or connection.
#[derive(Default)]
pub(crate) struct QueryIds(RefCell<HashMap<u16, u32, BuildHasherDefault<Spread>>>);

impl QueryIds {
    /// A random ID that is not outstanding (RFC 5452, section 9.2: the whole range).
    pub(crate) fn take(&self, number: u32) -> Option<u16> {
        let mut map = self.0.borrow_mut();
        if map.len() >= 32_768 {
            return None;
        }
        let mut random = host::random::rng();
        loop {
            let id: u16 = random.random();
            if let std::collections::hash_map::Entry::Vacant(place) = map.entry(id) {
                place.insert(number);
                return Some(id);
            }
        }
    }

    /// The query that waits for `id`.
    pub(crate) fn get(&self, id: u16) -> Option<u32> {
        self.0.borrow().get(&id).copied()
    }

    /// Gives `id` back.
    pub(crate) fn release(&self, id: u16) {
        self.0.borrow_mut().remove(&id);
    }

    /// Gives `id` back, unless it has meanwhile been taken for another query.
    pub(crate) fn release_if(&self, id: u16, number: u32) {
        let mut map = self.0.borrow_mut();
        if map.get(&id) == Some(&number) {
            map.remove(&id);
        }
    }

    /// Gives all back; the queries that waited for them.
    pub(crate) fn clear(&self) -> Vec<u32> {
        self.0
            .borrow_mut()
            .drain()
            .map(|(_, number)| number)
            .collect()
    }

    /// Whether none is outstanding.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    /// How many are outstanding.
    pub(crate) fn len(&self) -> usize {
        self.0.borrow().len()
    }
}
