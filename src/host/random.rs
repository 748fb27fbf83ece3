//! Random numbers that nobody can foresee, also where there is no /dev.
//!
//! Each thread has a generator (ChaCha with 12 rounds) whose seed comes from the system call getrandom(2) itself. The crate `getrandom`
//! looks for the C library's function at run time, does not find it in a program without shared libraries, and then reads
//! /dev/urandom, which an empty chroot lacks. A generator gets a new seed every so often ([`RESEED`]).

use std::cell::RefCell;
use std::convert::Infallible;
use std::hash::{BuildHasher, RandomState};

use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng, TryCryptoRng, TryRng};
use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};

/// Calls after which a generator gets a new seed.
const RESEED: u32 = 16_384;

thread_local! {
    static GENERATOR: RefCell<Generator> = RefCell::new(Generator::new());
}

/// This thread's generator.
pub const fn rng() -> Random {
    Random
}

/// A random value of a type.
pub fn random<T>() -> T
where
    rand::distr::StandardUniform: rand::distr::Distribution<T>,
{
    rng().random()
}

/// The generator of the thread that uses it.
#[derive(Clone, Copy, Debug)]
pub struct Random;

impl TryRng for Random {
    type Error = Infallible;

    #[inline]
    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(GENERATOR.with_borrow_mut(|generator| generator.fresh().next_u32()))
    }

    #[inline]
    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(GENERATOR.with_borrow_mut(|generator| generator.fresh().next_u64()))
    }

    fn try_fill_bytes(&mut self, octets: &mut [u8]) -> Result<(), Infallible> {
        GENERATOR.with_borrow_mut(|generator| generator.fresh().fill_bytes(octets));
        Ok(())
    }
}

impl TryCryptoRng for Random {}

/// A generator, and how long its seed is still good.
struct Generator {
    random: StdRng,
    left: u32,
}

impl Generator {
    fn new() -> Self {
        Self {
            random: StdRng::from_seed(seed()),
            left: RESEED,
        }
    }

    /// The generator, with a new seed when that is due.
    #[inline]
    fn fresh(&mut self) -> &mut StdRng {
        if self.left == 0 {
            *self = Self::new();
        }
        self.left -= 1;
        &mut self.random
    }
}

/// A seed from the kernel.
fn seed() -> [u8; 32] {
    let mut seed = [0; 32];
    let mut filled = 0;
    while let Some(rest @ [_, ..]) = seed.get_mut(filled..) {
        match getrandom(rest, GetRandomFlags::empty()) {
            Ok(len) => filled += len,
            Err(Errno::INTR) => {}
            Err(_) => return last_resort(),
        }
    }
    seed
}

/// A seed where the system call is forbidden or unknown: from the keys that the standard library finds for its hash maps.
#[cold]
fn last_resort() -> [u8; 32] {
    let mut seed = [0; 32];
    for part in seed.chunks_mut(8) {
        let hash = RandomState::new().hash_one(part.len());
        part.copy_from_slice(&hash.to_ne_bytes()[..part.len()]);
    }
    seed
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn numbers_differ_across_threads_and_seeds() {
        let mut seen = HashSet::new();
        let threads: Vec<_> = (0..4)
            .map(|_| std::thread::spawn(|| (0..2 * RESEED).map(|_| random()).collect::<Vec<u64>>()))
            .collect();
        for thread in threads {
            for number in thread.join().expect("numbers") {
                assert!(seen.insert(number), "{number} came twice");
            }
        }
        assert_ne!(last_resort(), last_resort());
        assert_ne!(seed(), seed());
    }
}
