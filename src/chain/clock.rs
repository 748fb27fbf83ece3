//! Monotonic time as a number: nanoseconds since the process first asked. Read once a batch, not once a query.

use std::sync::OnceLock;
use std::time::Instant;

/// Nanoseconds in a second.
pub const SECOND: u64 = 1_000_000_000;

/// The time now.
#[inline]
pub fn now() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_nanos() as u64
}
