//! Gives up the capabilities that attaching took.
//!
//! The kernel keeps them by thread, and only a thread itself can give them up. So a signal goes to every thread of the process, whose
//! handler makes the one system call (setxid of the C libraries works the same way). Threads that start later inherit what is left.

// System calls without safe bindings; every pointer handed over here is to a local.
#![allow(unsafe_code)]

use std::fs;
use std::io;
use std::mem;
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The form of the calls that has two words for each set (`_LINUX_CAPABILITY_VERSION_3`).
const VERSION: u32 = 0x2008_0522;
/// How long the threads have.
const PATIENCE: Duration = Duration::from_secs(1);

/// What is kept.
static KEPT: AtomicU64 = AtomicU64::new(0);

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Sets {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Has every thread give up all capabilities but those in `kept`.
pub(crate) fn keep_only(kept: u64) -> io::Result<()> {
    KEPT.store(kept, Ordering::Relaxed);
    let signal = libc::SIGRTMIN() + 5;
    handle(signal)?;
    let end = Instant::now() + PATIENCE;
    loop {
        reduce()?;
        let holders = holders(kept)?;
        if holders.is_empty() {
            return Ok(());
        }
        if Instant::now() > end {
            return Err(io::ErrorKind::TimedOut.into());
        }
        for thread in holders {
            // SAFETY: the call takes no pointers; a thread that has ended is an error, and looked for again.
            unsafe { libc::syscall(libc::SYS_tgkill, std::process::id(), thread, signal) };
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Has a signal handled.
fn handle(signal: i32) -> io::Result<()> {
    // SAFETY: all-zero octets are a valid action: the default one.
    let mut action: libc::sigaction = unsafe { mem::zeroed() };
    action.sa_sigaction = on_signal as *const () as usize;
    action.sa_flags = libc::SA_RESTART;
    // SAFETY: the pointer is to a local action, whose handler only makes a system call.
    match unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

extern "C" fn on_signal(_: i32) {
    let _ = reduce();
}

/// Gives up this thread's capabilities. Safe in a handler of signals: it makes system calls, and nothing else.
fn reduce() -> io::Result<()> {
    let kept = KEPT.load(Ordering::Relaxed);
    let header = Header {
        version: VERSION,
        pid: 0,
    };
    let mut sets = [Sets {
        effective: 0,
        permitted: 0,
        inheritable: 0,
    }; 2];
    // SAFETY: the pointers are to locals of the form that the version says.
    if unsafe { libc::syscall(libc::SYS_capget, &raw const header, sets.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    for (word, set) in sets.iter_mut().enumerate() {
        let kept = (kept >> (32 * word)) as u32;
        set.permitted &= kept;
        set.effective &= kept;
        set.inheritable &= kept;
    }
    // SAFETY: as above; this only takes away.
    match unsafe { libc::syscall(libc::SYS_capset, &raw const header, sets.as_ptr()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The threads that have more than `kept`.
fn holders(kept: u64) -> io::Result<Vec<i32>> {
    let mut out = Vec::new();
    for entry in fs::read_dir("/proc/self/task")? {
        let entry = entry?;
        let Some(thread) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        // One that has ended since has nothing.
        let Ok(status) = fs::read_to_string(entry.path().join("status")) else {
            continue;
        };
        let permitted = status.lines().find_map(|line| line.strip_prefix("CapPrm:"));
        let permitted = permitted.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        if permitted.is_some_and(|mask| mask & !kept != 0) {
            out.push(thread);
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// That they give them up is a test of the whole program (`tests/it/xdp.rs`): this process needs what it has.
    #[test]
    fn threads_with_capabilities_are_found() {
        let all = holders(u64::MAX).expect("threads");
        assert!(all.is_empty());
        let threads = fs::read_dir("/proc/self/task").expect("threads").count();
        let holders = holders(0).expect("threads").len();
        assert!(holders <= threads);
    }
}
