//! How long to wait before a store that failed is asked again.

use std::time::Duration;

use rand::RngExt;

/// A wait that doubles with every failure in a row, with jitter: servers that restart are not asked by everybody at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BackOff {
    /// The wait after the first failure.
    pub first: Duration,
    /// The longest wait.
    pub most: Duration,
}

impl Default for BackOff {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(100),
            most: Duration::from_secs(5),
        }
    }
}

impl BackOff {
    /// The wait after one failure and so many before it: from half of what doubling gives up to all of it.
    pub fn delay(self, before: u32) -> Duration {
        self.first
            .saturating_mul(1 << before.min(16))
            .min(self.most)
            .mul_f64(host::random::rng().random_range(0.5..=1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_up_to_its_bound() {
        let back_off = BackOff::default();
        for (before, most) in [(0, 100), (1, 200), (3, 800), (6, 5_000), (u32::MAX, 5_000)] {
            for _ in 0..100 {
                let delay = back_off.delay(before).as_millis();
                assert!((most / 2..=most).contains(&delay), "{before}: {delay}");
            }
        }
    }
}
