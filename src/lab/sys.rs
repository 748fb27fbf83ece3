//! The system calls that the standard library has no word for, and nothing else: the only `unsafe` of this crate.
//!
//! Every call that changes something passes [`fault::point`](crate::fault::point) first, so that a test can kill the
//! process before each of them.

#![allow(unsafe_code)]

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::fault::point;

/// `f_type` of a file that is a namespace.
pub(crate) const NSFS_MAGIC: i64 = 0x6e73_6673;

/// What the C library returned, as a result.
fn checked(value: libc::c_int) -> io::Result<libc::c_int> {
    if value < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(value)
    }
}

/// A path as the kernel wants it.
fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| io::ErrorKind::InvalidInput.into())
}

/// Leaves the calling thread alone in new namespaces of the kinds in `flags`.
pub(crate) fn unshare(flags: libc::c_int) -> io::Result<()> {
    point("unshare");
    // SAFETY: no pointer is passed; the caller is this thread only.
    checked(unsafe { libc::unshare(flags) }).map(drop)
}

/// Moves the calling thread into the namespace behind `fd`.
pub(crate) fn setns(fd: BorrowedFd<'_>, kind: libc::c_int) -> io::Result<()> {
    // SAFETY: the descriptor is borrowed, so it is open.
    checked(unsafe { libc::setns(fd.as_raw_fd(), kind) }).map(drop)
}

/// `mount(2)`; an absent source or type is a null pointer.
pub(crate) fn mount(
    source: Option<&Path>,
    target: &Path,
    kind: Option<&str>,
    flags: libc::c_ulong,
) -> io::Result<()> {
    point("mount");
    let source = source.map(c_path).transpose()?;
    let target = c_path(target)?;
    let kind = kind
        .map(|kind| CString::new(kind).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput)))
        .transpose()?;
    let pointer =
        |text: &Option<CString>| text.as_ref().map_or(std::ptr::null(), |text| text.as_ptr());
    // SAFETY: all strings are NUL-terminated and outlive the call; the data argument may be null.
    checked(unsafe {
        libc::mount(
            pointer(&source),
            target.as_ptr(),
            pointer(&kind),
            flags,
            std::ptr::null(),
        )
    })
    .map(drop)
}

/// Detaches the mount at `target`.
pub(crate) fn unmount(target: &Path) -> io::Result<()> {
    point("umount");
    let target = c_path(target)?;
    // SAFETY: the string is NUL-terminated and outlives the call.
    checked(unsafe { libc::umount2(target.as_ptr(), libc::MNT_DETACH) }).map(drop)
}

/// The type of the file system that `path` lies on.
pub(crate) fn file_system(path: &Path) -> io::Result<i64> {
    let path = c_path(path)?;
    // SAFETY: zero is a valid value of every field of this plain structure.
    let mut stat: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: the string is NUL-terminated, the structure is ours and of the size the kernel writes.
    checked(unsafe { libc::statfs(path.as_ptr(), &raw mut stat) })?;
    #[allow(clippy::unnecessary_cast)]
    Ok(stat.f_type as i64)
}

/// Whether `path` is where something is mounted; none if this kernel does not say, or nothing is there.
pub(crate) fn is_mount(path: &Path) -> Option<bool> {
    let path = c_path(path).ok()?;
    // SAFETY: zero is a valid value of every field of this plain structure.
    let mut stat: libc::statx = unsafe { std::mem::zeroed() };
    // SAFETY: the string is NUL-terminated, the structure is ours and of the size the kernel writes.
    let done = unsafe { libc::statx(libc::AT_FDCWD, path.as_ptr(), 0, 0, &raw mut stat) };
    let known = libc::STATX_ATTR_MOUNT_ROOT as u64;
    (done == 0 && stat.stx_attributes_mask & known != 0).then_some(stat.stx_attributes & known != 0)
}

/// An integer socket option.
fn set_option(fd: RawFd, level: i32, name: i32, value: i32) -> io::Result<()> {
    // SAFETY: the pointer and the length describe `value`, which outlives the call.
    checked(unsafe {
        libc::setsockopt(
            fd,
            level,
            name,
            (&raw const value).cast(),
            size_of::<i32>() as libc::socklen_t,
        )
    })
    .map(drop)
}

/// A netlink socket of the calling thread's network namespace; one that only reads needs no room for large batches.
pub(crate) fn netlink(protocol: libc::c_int, reads_only: bool) -> io::Result<OwnedFd> {
    // SAFETY: no pointer is passed.
    let fd = checked(unsafe {
        libc::socket(
            libc::AF_NETLINK,
            libc::SOCK_RAW | libc::SOCK_CLOEXEC,
            protocol,
        )
    })?;
    // SAFETY: the kernel just gave us this descriptor; nobody else has it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let raw = fd.as_raw_fd();
    // Old kernels filter dumps loosely; then the reader sees more than it asked for, and sorts it out itself.
    let _ = set_option(raw, libc::SOL_NETLINK, libc::NETLINK_GET_STRICT_CHK, 1);
    if reads_only {
        return Ok(fd);
    }
    set_option(raw, libc::SOL_NETLINK, libc::NETLINK_EXT_ACK, 1)?;
    set_option(raw, libc::SOL_NETLINK, libc::NETLINK_CAP_ACK, 1)?;
    // Root may pass the limits; without it the defaults are large enough for a small lab.
    for (force, plain) in [
        (libc::SO_RCVBUFFORCE, libc::SO_RCVBUF),
        (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF),
    ] {
        if set_option(raw, libc::SOL_SOCKET, force, 4 << 20).is_err() {
            let _ = set_option(raw, libc::SOL_SOCKET, plain, 4 << 20);
        }
    }
    Ok(fd)
}

/// Sends one datagram to the kernel.
pub(crate) fn send(fd: BorrowedFd<'_>, octets: &[u8]) -> io::Result<()> {
    // SAFETY: pointer and length describe a slice that outlives the call.
    let sent = unsafe { libc::send(fd.as_raw_fd(), octets.as_ptr().cast(), octets.len(), 0) };
    if sent < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Receives one datagram; its length may exceed the buffer's, then it was cut.
pub(crate) fn receive(fd: BorrowedFd<'_>, octets: &mut [u8], wait: bool) -> io::Result<usize> {
    let flags = libc::MSG_TRUNC | if wait { 0 } else { libc::MSG_DONTWAIT };
    loop {
        // SAFETY: pointer and length describe a slice that is ours alone during the call.
        let got = unsafe {
            libc::recv(
                fd.as_raw_fd(),
                octets.as_mut_ptr().cast(),
                octets.len(),
                flags,
            )
        };
        if got >= 0 {
            return Ok(got as usize);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// The number that identifies the socket's network namespace until the next boot; 0 where the kernel has none.
pub(crate) fn namespace_cookie(fd: BorrowedFd<'_>) -> u64 {
    const SO_NETNS_COOKIE: libc::c_int = 71;
    let mut cookie: u64 = 0;
    let mut length = size_of::<u64>() as libc::socklen_t;
    // SAFETY: pointer and length describe `cookie`, which is ours alone.
    let done = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    if done == 0 { cookie } else { 0 }
}

/// The effective user.
#[must_use]
pub fn effective_user() -> u32 {
    // SAFETY: takes nothing, cannot fail.
    unsafe { libc::geteuid() }
}

/// The effective group.
pub(crate) fn effective_group() -> u32 {
    // SAFETY: takes nothing, cannot fail.
    unsafe { libc::getegid() }
}

/// Takes everything but `kept` from the effective set of the calling thread, and if `permitted` from the permitted set
/// too. The inheritable set stays: it gives nothing by itself.
pub(crate) fn limit_capabilities(kept: u64, permitted: bool) -> io::Result<()> {
    // `linux/capability.h`: version 3 takes two records of 32 bits each.
    const VERSION: u32 = 0x2008_0522;
    #[repr(C)]
    struct Header {
        version: u32,
        pid: i32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Default)]
    struct Data {
        effective: u32,
        permitted: u32,
        inheritable: u32,
    }
    let mut header = Header {
        version: VERSION,
        pid: 0,
    };
    let mut data = [Data::default(); 2];
    // SAFETY: the kernel reads the header and writes two records, which are ours alone.
    let got = unsafe { libc::syscall(libc::SYS_capget, &raw mut header, data.as_mut_ptr()) }
        as libc::c_int;
    checked(got)?;
    for (half, data) in data.iter_mut().enumerate() {
        let kept = (kept >> (32 * half)) as u32;
        data.effective &= kept;
        if permitted {
            data.permitted &= kept;
        }
    }
    // SAFETY: the kernel reads the header and two records.
    let set =
        unsafe { libc::syscall(libc::SYS_capset, &raw mut header, data.as_ptr()) } as libc::c_int;
    checked(set).map(drop)
}

/// No program that this process starts gets more than it has.
pub(crate) fn no_new_privileges() -> io::Result<()> {
    // SAFETY: no pointer is passed.
    checked(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }).map(drop)
}

/// Sends a signal to a process.
pub(crate) fn kill(pid: i32, signal: i32) -> io::Result<()> {
    // SAFETY: no pointer is passed.
    checked(unsafe { libc::kill(pid, signal) }).map(drop)
}

/// Makes SIGINT and SIGTERM write to the returned pipe's end instead of ending the process.
pub(crate) fn interrupts() -> io::Result<std::fs::File> {
    // SAFETY: the set is initialised by sigemptyset before it is read; the mask is this thread's, inherited by others.
    let fd = unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGINT);
        libc::sigaddset(&raw mut set, libc::SIGTERM);
        libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
        checked(libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC))?
    };
    // SAFETY: the kernel just gave us this descriptor.
    Ok(unsafe { std::fs::File::from_raw_fd(fd) })
}

/// Lets SIGINT and SIGTERM through again, for a child that is about to be started.
pub(crate) fn allow_interrupts() {
    // SAFETY: the set is initialised by sigemptyset before it is read.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut());
    }
}

/// One heap for all threads, grown in large steps and never given back: a short run spends more on asking the kernel for
/// memory than on using it.
pub(crate) fn one_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes numbers; called before there is a second thread.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
        libc::mallopt(libc::M_TOP_PAD, 4 << 20);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 1 << 30);
        libc::mallopt(libc::M_MMAP_THRESHOLD, 32 << 20);
    }
}

/// As many descriptors as the hard limit allows.
pub(crate) fn raise_descriptor_limit() {
    // SAFETY: the structure is plain and ours; both calls only read or write it.
    unsafe {
        let mut limit: libc::rlimit = std::mem::zeroed();
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
        }
    }
}
