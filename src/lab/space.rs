//! Network namespaces by name, on iproute2's terms: `/run/netns/NAME` is a mount of the namespace.
//!
//! A namespace is made without a fork: the calling thread leaves for a new one, binds it to the name and is brought home
//! by a guard. The thread is the unit, so the guard cannot be sent to another one; a thread that cannot come home ends
//! the process, because everything it did afterwards would happen in the wrong place.

use std::cell::Cell;
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd as _};
use std::os::unix::fs::{DirEntryExt as _, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::fault::point;
use crate::hash::Map;
use crate::sys;

/// Where named namespaces are.
pub const RUN: &str = "/run/netns";

/// The path of a namespace.
#[must_use]
pub fn path(name: &str) -> PathBuf {
    Path::new(RUN).join(name)
}

/// What is at a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing.
    Absent,
    /// A file that is no namespace: somebody was killed while making one.
    HalfMade,
    /// A namespace.
    Namespace,
}

/// Looks at a name.
///
/// # Errors
/// What the file system says.
pub fn kind(name: &str) -> io::Result<Kind> {
    match sys::file_system(&path(name)) {
        Ok(sys::NSFS_MAGIC) => Ok(Kind::Namespace),
        Ok(_) => Ok(Kind::HalfMade),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Kind::Absent),
        Err(error) => Err(error),
    }
}

/// The names that there are.
#[must_use]
pub fn names() -> Vec<String> {
    let entries = std::fs::read_dir(RUN).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}

/// Where the thread came from; dropping it goes back.
#[derive(Debug)]
pub struct Away {
    home: File,
    /// Whether it left: who may not enter any namespace may not enter its own either.
    left: Cell<bool>,
    /// The way back is this thread's.
    thread: PhantomData<*const ()>,
}

impl Away {
    /// Remembers where the thread is, which is about to leave.
    pub(crate) fn here() -> io::Result<Self> {
        let away = Self::home()?;
        away.left.set(true);
        Ok(away)
    }

    /// Remembers where the thread is, which may stay there.
    pub(crate) fn home() -> io::Result<Self> {
        Ok(Self {
            home: File::open("/proc/thread-self/ns/net")?,
            left: Cell::new(false),
            thread: PhantomData,
        })
    }
}

impl Drop for Away {
    fn drop(&mut self) {
        if self.left.get()
            && let Err(error) = sys::setns(self.home.as_fd(), libc::CLONE_NEWNET)
        {
            crate::warn!("nameplate-lab: cannot return to the first network namespace: {error}");
            std::process::abort();
        }
    }
}

/// Moves the thread into a namespace until the guard is dropped.
///
/// # Errors
/// There is no such namespace, or the caller may not enter it.
pub fn enter(name: &str) -> io::Result<Away> {
    enter_file(&File::open(path(name))?)
}

/// The same of an open file.
pub(crate) fn enter_file(target: &File) -> io::Result<Away> {
    let away = Away::home()?;
    sys::setns(target.as_fd(), libc::CLONE_NEWNET)?;
    away.left.set(true);
    Ok(away)
}

impl Away {
    /// Goes on to another namespace, without going home in between.
    pub(crate) fn go_on(&self, name: &str) -> io::Result<()> {
        let target = File::open(path(name))?;
        sys::setns(target.as_fd(), libc::CLONE_NEWNET)?;
        self.left.set(true);
        Ok(())
    }
}

/// Moves the thread into a namespace for good.
pub(crate) fn enter_for_good(name: &str) -> io::Result<()> {
    sys::setns(File::open(path(name))?.as_fd(), libc::CLONE_NEWNET)
}

/// All names with the inodes of their files: one that is made again has another. What is mounted on them is not looked at.
pub(crate) fn inodes() -> Map<OsString, u64> {
    let entries = std::fs::read_dir(RUN).into_iter().flatten().flatten();
    entries
        .map(|entry| (entry.file_name(), entry.ino()))
        .collect()
}

/// Whether `/run/netns` is a mount of its own. The list of mounts does not tell: a mount that another hides is in it.
#[must_use]
pub fn is_prepared() -> bool {
    let run = Path::new(RUN);
    if !run.exists() {
        return false;
    }
    if let Some(is_mount) = sys::is_mount(run) {
        return is_mount;
    }
    let mount = |path: &Path| {
        let file = File::open(path).ok()?;
        let text =
            std::fs::read_to_string(format!("/proc/self/fdinfo/{}", file.as_raw_fd())).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("mnt_id:"))?;
        Some(line.trim().to_owned())
    };
    mount(run) != run.parent().and_then(mount)
}

/// Makes `/run/netns` what iproute2 makes it: a mount of its own whose mounts are seen by other mount namespaces.
pub(crate) fn prepare() -> io::Result<()> {
    let run = Path::new(RUN);
    if !run.exists() {
        point("mkdir");
        std::fs::create_dir_all(run)?;
    }
    // Two first users at once would nest the mounts; iproute2 holds the same lock.
    let directory = File::open(run)?;
    directory.lock()?;
    let share = libc::MS_SHARED | libc::MS_REC;
    if !is_prepared() {
        sys::mount(Some(run), run, None, libc::MS_BIND | libc::MS_REC)?;
        sys::mount(None, run, None, libc::MS_PRIVATE)?;
    }
    sys::mount(None, run, None, share)
}

/// Undoes [`prepare`] when nobody uses it any more.
pub(crate) fn unprepare() -> io::Result<()> {
    let run = Path::new(RUN);
    let Ok(directory) = File::open(run) else {
        return Ok(());
    };
    directory.lock()?;
    if std::fs::read_dir(run)?.next().is_some() {
        return Ok(());
    }
    if is_prepared() {
        sys::unmount(run)?;
    }
    drop(directory);
    point("rmdir");
    match std::fs::remove_dir(run) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Makes a namespace and leaves the thread in it.
pub(crate) fn make(name: &str) -> io::Result<()> {
    let path = path(name);
    point("open");
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o000)
        .open(&path)?;
    sys::unshare(libc::CLONE_NEWNET)?;
    bind(Path::new("/proc/thread-self/ns/net"), &path)
}

/// Binds a namespace to a path.
pub(crate) fn bind(namespace: &Path, to: &Path) -> io::Result<()> {
    sys::mount(Some(namespace), to, None, libc::MS_BIND)
}

/// Removes a name; processes inside keep the namespace alive.
pub(crate) fn remove(name: &str) -> io::Result<()> {
    let path = path(name);
    if kind(name)? == Kind::Namespace {
        sys::unmount(&path)?;
    }
    point("unlink");
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Processes inside: their number and name.
#[must_use]
pub fn processes(name: &str) -> Vec<(i32, String)> {
    let Ok(namespace) = std::fs::metadata(path(name)) else {
        return Vec::new();
    };
    let identity = (namespace.dev(), namespace.ino());
    processes_by_namespace()
        .into_iter()
        .filter(|&(of, ..)| of == identity)
        .map(|(_, pid, command)| (pid, command))
        .collect()
}

/// All processes with the identity of their network namespace.
#[must_use]
pub fn processes_by_namespace() -> Vec<((u64, u64), i32, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let Ok(inside) = std::fs::metadata(entry.path().join("ns/net")) else {
            continue;
        };
        let command = std::fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
        found.push(((inside.dev(), inside.ino()), pid, command.trim().to_owned()));
    }
    found
}
