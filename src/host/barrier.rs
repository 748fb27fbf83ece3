//! Whether all events so far have been heard.
//!
//! An event waits in the kernel's queue, and in the watcher's thread, while the file that it tells of is already read. A file without
//! a name is watched by the same queue: when what was done to it is heard, so is everything that was done before.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use rustix::fs::{MemfdFlags, Mode, fchmod, memfd_create};

/// How long the events are waited for; a machine that is busier is asked again.
const PATIENCE: Duration = Duration::from_millis(500);

/// Events of the file that were heard.
static HEARD: Mutex<u64> = Mutex::new(0);
static TOLD: Condvar = Condvar::new();

/// The file.
pub(crate) struct Barrier {
    file: File,
    path: PathBuf,
}

impl Barrier {
    /// A file to be watched at [`Barrier::path`]; `None` where the kernel has none without a name.
    pub(crate) fn new() -> Option<Self> {
        let file = File::from(memfd_create("nameplate-events", MemfdFlags::CLOEXEC).ok()?);
        let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
        Some(Self { file, path })
    }

    /// Where it is found in this process.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Waits until all that was done to watched files so far has been heard; gives whether it has. One at a time.
    pub(crate) fn wait(&self) -> bool {
        let before = *HEARD.lock().unwrap_or_else(PoisonError::into_inner);
        if fchmod(&self.file, Mode::RUSR | Mode::WUSR).is_err() {
            return false;
        }
        let heard = HEARD.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = TOLD.wait_timeout_while(heard, PATIENCE, |heard| *heard == before);
        waited.is_ok_and(|(heard, _)| *heard != before)
    }
}

/// An event of the file was heard.
pub(crate) fn heard() {
    *HEARD.lock().unwrap_or_else(PoisonError::into_inner) += 1;
    TOLD.notify_all();
}

/// Whether a path is that of such a file.
pub(crate) fn is_barrier(path: &Path) -> bool {
    path.starts_with("/proc/self/fd")
}
