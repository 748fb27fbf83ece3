//! A hash that stays the same for ever: addresses, MAC addresses and interface names are made of it. And a faster one, the same
//! in every run of one program, for what is only recognised.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

/// A map of a lab's own words: nobody floods it, and the standard hasher is a tenth of the time of `apply`.
pub(crate) type Map<K, V> = HashMap<K, V, BuildHasherDefault<Print>>;
/// The same as a set.
pub(crate) type Set<K> = HashSet<K, BuildHasherDefault<Print>>;

/// A hash that is the same in every run: eight octets at a time, multiplied and folded.
#[derive(Debug, Default)]
pub struct Print(pub(crate) u64);

impl Hasher for Print {
    fn write(&mut self, octets: &[u8]) {
        for chunk in octets.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
        self.write_u64(octets.len() as u64);
    }

    fn write_u64(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word ^ 0x9e37_79b9_7f4a_7c15) * 0xd6e8_feb8_6659_fd93;
        self.0 = (product ^ (product >> 64)) as u64;
    }

    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }

    fn finish(&self) -> u64 {
        // 0 stands for nothing known.
        self.0.max(1)
    }
}

/// FNV-1a over the parts, each ended by a zero, and mixed so that all bits depend on all octets.
#[must_use]
pub fn hash(parts: &[&str]) -> u64 {
    let mut state: u64 = 0xcbf2_9ce4_8422_2325;
    for part in parts {
        for octet in part.bytes().chain([0]) {
            state = (state ^ u64::from(octet)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    state ^= state >> 33;
    state = state.wrapping_mul(0xff51_afd7_ed55_8ccd);
    state ^= state >> 33;
    state = state.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    state ^ (state >> 33)
}

/// A locally administered MAC address.
#[must_use]
pub fn mac(parts: &[&str]) -> [u8; 6] {
    let octets = hash(parts).to_be_bytes();
    [0x02, octets[1], octets[2], octets[3], octets[4], octets[5]]
}

/// An interface name: `v` and thirteen characters.
#[must_use]
pub fn interface(parts: &[&str]) -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let mut bits = hash(parts);
    let mut name = String::from("v");
    for _ in 0..13 {
        name.push(char::from(ALPHABET[(bits & 31) as usize]));
        bits >>= 5;
    }
    name
}

/// A MAC address as text.
#[must_use]
pub fn mac_text(mac: &[u8]) -> String {
    let octets: Vec<String> = mac.iter().map(|octet| format!("{octet:02x}")).collect();
    octets.join(":")
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_stays_the_same() {
        // Labs that run would all be rebuilt if these changed.
        assert_eq!(
            super::hash(&["redblue", "red"]),
            super::hash(&["redblue", "red"])
        );
        assert_ne!(super::hash(&["ab", "c"]), super::hash(&["a", "bc"]));
        assert_eq!(super::interface(&["x"]).len(), 14);
        assert_eq!(super::mac(&["x"])[0], 2);
    }
}
