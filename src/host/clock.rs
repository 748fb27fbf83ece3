//! Time as a number: nanoseconds since the process first asked, those in which the machine slept included.
//!
//! CLOCK_BOOTTIME, not CLOCK_MONOTONIC: on Linux the latter stands still while a machine is suspended, and a cache would serve what
//! expired hours ago as if it were fresh. Both are read without a system call. It is read once a batch, not once a query.

use std::sync::OnceLock;

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds in a second.
pub const SECOND: u64 = 1_000_000_000;

/// The time now.
#[inline]
pub fn now() -> u64 {
    static START: OnceLock<u64> = OnceLock::new();
    let now = since_boot();
    now.saturating_sub(*START.get_or_init(|| now))
}

/// Nanoseconds since the machine was started.
#[inline]
fn since_boot() -> u64 {
    let time = clock_gettime(ClockId::Boottime);
    (time.tv_sec as u64)
        .wrapping_mul(SECOND)
        .wrapping_add(time.tv_nsec as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_that_the_machine_slept_is_counted() {
        // /proc/uptime counts the time in suspend, as CLOCK_BOOTTIME does.
        let uptime = std::fs::read_to_string("/proc/uptime").expect("Linux");
        let uptime: f64 = uptime
            .split(' ')
            .next()
            .and_then(|word| word.parse().ok())
            .expect("seconds");
        let ours = since_boot() as f64 / SECOND as f64;
        assert!((ours - uptime).abs() < 5.0, "{ours} {uptime}");
        let first = now();
        assert!(now() >= first);
    }
}
