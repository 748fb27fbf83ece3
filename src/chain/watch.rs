//! Waiting for files to change: the directories are watched, and the files are looked at every so often in case that fails.
//!
//! A directory, not the file in it, is what tells of a change: an editor renames a new file into place, a ConfigMap swaps a symlink
//! beside it. One watcher serves the process, since a user may have few of them (128 by default on Linux); a directory is watched
//! while anybody waits for it. A notice says only "look again": what has changed is found out by [`stamp`].

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

/// How long a directory must be quiet before it is looked at: a writer has mostly closed its file by then.
const QUIET: Duration = Duration::from_millis(20);
/// The longest that a busy directory puts a look off.
const PATIENCE: Duration = Duration::from_millis(80);

/// What tells two contents of a file apart without reading it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stamp {
    /// When it was modified.
    pub modified: SystemTime,
    /// Its length in octets.
    pub len: u64,
    /// Its identity, where the system has one: a file renamed into place differs even with the same time and length.
    pub id: u64,
}

/// The stamp of the file that `path` leads to.
///
/// # Errors
/// What the file system says.
pub fn stamp(path: &Path) -> io::Result<Stamp> {
    let metadata = std::fs::metadata(path)?;
    #[cfg(unix)]
    let id = std::os::unix::fs::MetadataExt::ino(&metadata);
    #[cfg(not(unix))]
    let id = 0;
    Ok(Stamp {
        modified: metadata.modified()?,
        len: metadata.len(),
        id,
    })
}

/// Somebody who waits for files to change. Dropping it ends the watch.
pub struct Watch {
    number: u64,
    paths: Vec<PathBuf>,
    told: Arc<Notify>,
}

impl Watch {
    /// Watches the directories of `paths`, and those of the files that they lead to. A path that is a directory is watched itself.
    pub fn new(paths: Vec<PathBuf>) -> Self {
        let told = Arc::new(Notify::new());
        let number = {
            let mut hub = hub();
            hub.last += 1;
            hub.last
        };
        let watch = Self {
            number,
            paths,
            told,
        };
        watch.arm();
        watch
    }

    /// Waits for a notice, or for `interval` to pass.
    pub async fn changed(&self, interval: Duration) {
        if tokio::time::timeout(interval, self.told.notified())
            .await
            .is_ok()
        {
            let began = tokio::time::Instant::now();
            while began.elapsed() < PATIENCE
                && tokio::time::timeout(QUIET, self.told.notified())
                    .await
                    .is_ok()
            {}
        }
        self.arm();
    }

    /// Waits for a notice, or for `interval` to pass, and no longer: for files that are only ever replaced whole.
    pub async fn noticed(&self, interval: Duration) {
        let _ = tokio::time::timeout(interval, self.told.notified()).await;
        self.arm();
    }

    /// Registers for the directories as they are now.
    fn arm(&self) {
        let directories = self
            .paths
            .iter()
            .flat_map(|path| directories(path))
            .collect();
        lock(listeners()).insert(self.number, (directories, self.told.clone()));
        hub().settle();
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        lock(listeners()).remove(&self.number);
        hub().settle();
    }
}

/// The directories in which a change of `path` shows: its own, and that of what it leads to.
fn directories(path: &Path) -> Vec<PathBuf> {
    let parent = |path: &Path| match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => PathBuf::from("."),
        Some(parent) => parent.to_path_buf(),
        None => path.to_path_buf(),
    };
    let mut out = vec![parent(path)];
    if path.is_dir() {
        out.push(path.to_path_buf());
    } else if let Ok(real) = path.canonicalize() {
        out.push(parent(&real));
    }
    out.into_iter()
        .filter_map(|directory| directory.canonicalize().ok())
        .collect()
}

/// Who waits for which directories.
type Listeners = HashMap<u64, (BTreeSet<PathBuf>, Arc<Notify>)>;

/// A lock of its own: the watcher's thread takes it, while the hub waits for that thread.
fn listeners() -> &'static Mutex<Listeners> {
    static LISTENERS: OnceLock<Mutex<Listeners>> = OnceLock::new();
    LISTENERS.get_or_init(Mutex::default)
}

/// The process's watcher and what it watches.
#[derive(Default)]
struct Hub {
    watcher: Option<RecommendedWatcher>,
    failed: bool,
    armed: HashMap<PathBuf, u64>,
    last: u64,
}

fn hub() -> MutexGuard<'static, Hub> {
    static HUB: OnceLock<Mutex<Hub>> = OnceLock::new();
    lock(HUB.get_or_init(Mutex::default))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a directory is now, so that one that was removed and made again is watched again.
fn identity(directory: &Path) -> Option<u64> {
    stamp(directory).ok().map(|stamp| stamp.id)
}

impl Hub {
    /// Watches exactly the directories that somebody waits for.
    fn settle(&mut self) {
        let wanted: HashMap<PathBuf, u64> = lock(listeners())
            .values()
            .flat_map(|(directories, _)| directories.iter().cloned())
            .filter_map(|directory| identity(&directory).map(|id| (directory, id)))
            .collect();
        if self.watcher.is_none() && !self.failed && !wanted.is_empty() {
            match notify::recommended_watcher(tell) {
                Ok(watcher) => self.watcher = Some(watcher),
                Err(error) => {
                    self.failed = true;
                    tracing::warn!("Files are polled, not watched: {error}");
                }
            }
        }
        let Some(watcher) = &mut self.watcher else {
            return;
        };
        self.armed.retain(|directory, id| {
            let keep = wanted.get(directory) == Some(id);
            if !keep {
                let _ = watcher.unwatch(directory);
            }
            keep
        });
        for (directory, id) in wanted {
            if !self.armed.contains_key(&directory)
                && watcher
                    .watch(&directory, RecursiveMode::NonRecursive)
                    .is_ok()
            {
                self.armed.insert(directory, id);
            }
        }
    }
}

/// Wakes those who wait for a directory. Reading a file is no change, and those who look must not wake themselves.
fn tell(event: notify::Result<Event>) {
    let Ok(event) = event else { return };
    if matches!(event.kind, EventKind::Access(kind) if kind != AccessKind::Close(AccessMode::Write))
    {
        return;
    }
    for (directories, told) in lock(listeners()).values() {
        let theirs = event.need_rescan()
            || event.paths.iter().any(|path| {
                directories.contains(path)
                    || path.parent().is_some_and(|dir| directories.contains(dir))
            });
        if theirs {
            told.notify_one();
        }
    }
}
