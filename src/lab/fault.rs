//! Where a test kills the process: before the n-th system call that changes something.
//!
//! `NAMEPLATE_LAB_KILL_AT=n` counts in debug builds only; a release build has neither the counter nor the look at the
//! environment. `NAMEPLATE_LAB_SIGNAL=n` sends that signal instead of SIGKILL. `NAMEPLATE_LAB_COUNT=path` writes how many such
//! calls a whole run made.

#[cfg(debug_assertions)]
mod counting {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// Calls so far.
    static CALLS: AtomicU64 = AtomicU64::new(0);
    /// The call that is not reached.
    static KILL_AT: OnceLock<Option<u64>> = OnceLock::new();

    /// Counts one call and dies if it is the chosen one.
    pub(crate) fn point(_call: &'static str) {
        let call = CALLS.fetch_add(1, Ordering::Relaxed) + 1;
        let at = KILL_AT.get_or_init(|| std::env::var("NAMEPLATE_LAB_KILL_AT").ok()?.parse().ok());
        if *at == Some(call) {
            let signal = std::env::var("NAMEPLATE_LAB_SIGNAL").ok();
            let signal = signal.and_then(|signal| signal.parse().ok());
            let _ = crate::sys::kill(std::process::id() as i32, signal.unwrap_or(libc::SIGKILL));
        }
    }

    /// Says how many calls there were, where the test asked for it.
    pub fn report() {
        if let Some(path) = std::env::var_os("NAMEPLATE_LAB_COUNT") {
            let _ = std::fs::write(path, CALLS.load(Ordering::Relaxed).to_string());
        }
    }
}

#[cfg(debug_assertions)]
pub use counting::*;

/// Nothing, in a release build.
#[cfg(not(debug_assertions))]
pub(crate) fn point(_call: &'static str) {}

/// Nothing, in a release build.
#[cfg(not(debug_assertions))]
pub fn report() {}
