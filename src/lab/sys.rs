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

/// Whether `path` lies on a mount that cannot be written.
pub(crate) fn is_read_only(path: &Path) -> bool {
    let Ok(path) = c_path(path) else { return false };
    // SAFETY: zero is a valid value of every field of this plain structure.
    let mut stat: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: the string is NUL-terminated, the structure is ours and of the size the library writes.
    let done = unsafe { libc::statvfs(path.as_ptr(), &raw mut stat) };
    done == 0 && stat.f_flag & libc::ST_RDONLY != 0
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

/// A `/proc` of the caller's own, mounted nowhere; it ends with the descriptor.
pub(crate) fn own_proc() -> io::Result<OwnedFd> {
    // `linux/mount.h`; the C library has no names for them.
    const FSOPEN_CLOEXEC: libc::c_uint = 1;
    const FSCONFIG_CMD_CREATE: libc::c_uint = 6;
    const FSMOUNT_CLOEXEC: libc::c_uint = 1;
    const NOSUID_NODEV_NOEXEC: libc::c_uint = 2 | 4 | 8;
    let nothing = std::ptr::null::<libc::c_char>();
    let owned = |fd: libc::c_long| {
        let fd = checked(fd as libc::c_int)?;
        // SAFETY: the kernel just gave us this descriptor; nobody else has it.
        io::Result::Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    };
    // SAFETY: the string is NUL-terminated and outlives the call.
    let context =
        owned(unsafe { libc::syscall(libc::SYS_fsopen, c"proc".as_ptr(), FSOPEN_CLOEXEC) })?;
    let fd = context.as_raw_fd();
    // SAFETY: this command takes no key and no value.
    let made = unsafe {
        libc::syscall(
            libc::SYS_fsconfig,
            fd,
            FSCONFIG_CMD_CREATE,
            nothing,
            nothing,
            0,
        )
    };
    checked(made as libc::c_int)?;
    // SAFETY: no pointer is passed; the descriptor is open.
    owned(unsafe { libc::syscall(libc::SYS_fsmount, fd, FSMOUNT_CLOEXEC, NOSUID_NODEV_NOEXEC) })
}

/// Opens a file below a directory, to be read or to be written.
pub(crate) fn open_at(
    directory: BorrowedFd<'_>,
    path: &str,
    write: bool,
) -> io::Result<std::fs::File> {
    let path = c_path(Path::new(path))?;
    let flags = libc::O_CLOEXEC
        | if write {
            libc::O_WRONLY
        } else {
            libc::O_RDONLY
        };
    // SAFETY: the string is NUL-terminated and outlives the call; the descriptor is borrowed, so it is open.
    let fd = checked(unsafe { libc::openat(directory.as_raw_fd(), path.as_ptr(), flags) })?;
    // SAFETY: the kernel just gave us this descriptor; nobody else has it.
    Ok(unsafe { std::fs::File::from_raw_fd(fd) })
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

/// A socket that sees all packets of an interface of the thread's network namespace, or of all of them.
pub(crate) fn packets(interface: u32) -> io::Result<OwnedFd> {
    let every = (libc::ETH_P_ALL as u16).to_be();
    // SAFETY: no pointer is passed.
    let fd = checked(unsafe {
        libc::socket(
            libc::AF_PACKET,
            libc::SOCK_RAW | libc::SOCK_CLOEXEC,
            i32::from(every),
        )
    })?;
    // SAFETY: the kernel just gave us this descriptor; nobody else has it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: zero is a valid value of every field of this plain structure.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = every;
    address.sll_ifindex = interface as i32;
    // SAFETY: pointer and length describe `address`, which outlives the call.
    checked(unsafe {
        libc::bind(
            fd.as_raw_fd(),
            (&raw const address).cast(),
            size_of::<libc::sockaddr_ll>() as libc::socklen_t,
        )
    })?;
    Ok(fd)
}

/// Receives one packet; its length may exceed the buffer's, then it was cut.
pub(crate) fn receive_packet(fd: &OwnedFd, octets: &mut [u8]) -> io::Result<usize> {
    receive(std::os::fd::AsFd::as_fd(fd), octets, true)
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

/// Reads a socket's option into octets that also tell what is wanted.
pub(crate) fn socket_option(
    fd: BorrowedFd<'_>,
    (level, name): (i32, i32),
    octets: &mut [u8],
) -> io::Result<()> {
    let mut length = octets.len() as libc::socklen_t;
    // SAFETY: pointer and length describe `octets`, which is ours alone.
    let done = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            level,
            name,
            octets.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if done == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
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

/// A signal that came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Signal {
    pub(crate) number: i32,
    /// Whether the kernel sent it, as it does for a terminal, to the whole group.
    pub(crate) of_terminal: bool,
}

/// The signals by which somebody ends a process.
const ENDS: [i32; 4] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT];

/// Signals that wait until what was begun is in order; what has a file of them already, or ignores one, goes on doing so.
pub(crate) struct Held {
    before: libc::sigset_t,
    waiting: Vec<i32>,
    /// Whether one came and is heeded: then it shall not end the process as well.
    heeded: bool,
}

/// Holds back the signals that end this process, until what is returned is dropped.
pub(crate) fn hold_signals() -> Held {
    // SAFETY: sets and actions are plain structures of ours, initialised before they are read; no handler is changed.
    unsafe {
        let mut before: libc::sigset_t = std::mem::zeroed();
        libc::sigprocmask(libc::SIG_BLOCK, std::ptr::null(), &raw mut before);
        let is_free = |signal: &i32| {
            let mut action: libc::sigaction = std::mem::zeroed();
            libc::sigaction(*signal, std::ptr::null(), &raw mut action);
            action.sa_sigaction != libc::SIG_IGN
                && libc::sigismember(&raw const before, *signal) == 0
        };
        let waiting: Vec<i32> = ENDS.into_iter().filter(is_free).collect();
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for &signal in &waiting {
            libc::sigaddset(&raw mut set, signal);
        }
        libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
        Held {
            before,
            waiting,
            heeded: false,
        }
    }
}

impl Held {
    /// A signal that came, and is heeded by whoever asks.
    pub(crate) fn heed(&mut self) -> Option<i32> {
        // SAFETY: the set is ours and written before it is read.
        let came = unsafe {
            let mut pending: libc::sigset_t = std::mem::zeroed();
            libc::sigpending(&raw mut pending);
            let came = |signal: &&i32| libc::sigismember(&raw const pending, **signal) == 1;
            self.waiting.iter().find(came).copied()
        };
        self.heeded |= came.is_some();
        came
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if !self.heeded {
            // SAFETY: the set is what the kernel gave us.
            unsafe {
                libc::sigprocmask(
                    libc::SIG_SETMASK,
                    &raw const self.before,
                    std::ptr::null_mut(),
                )
            };
        }
    }
}

/// What a signal is called.
pub(crate) fn signal_name(signal: i32) -> &'static str {
    match signal {
        libc::SIGINT => "SIGINT",
        libc::SIGTERM => "SIGTERM",
        libc::SIGHUP => "SIGHUP",
        libc::SIGQUIT => "SIGQUIT",
        _ => "a signal",
    }
}

/// Makes the signals that end a process, and others, write to the returned file instead.
pub(crate) fn signals(more: &[i32]) -> io::Result<std::fs::File> {
    // SAFETY: the set is initialised by sigemptyset before it is read; the mask is this thread's, inherited by others.
    let fd = unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for &signal in ENDS.iter().chain(more) {
            libc::sigaddset(&raw mut set, signal);
        }
        libc::sigprocmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut());
        checked(libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC))?
    };
    // SAFETY: the kernel just gave us this descriptor.
    Ok(unsafe { std::fs::File::from_raw_fd(fd) })
}

/// Waits for the next signal.
pub(crate) fn next_signal(signals: &mut std::fs::File) -> Option<Signal> {
    // `struct signalfd_siginfo`: the number, an error, a code.
    let mut octets = [0; 128];
    std::io::Read::read_exact(signals, &mut octets).ok()?;
    let word = |at: usize| {
        octets[at..]
            .first_chunk()
            .map_or(0, |word| i32::from_ne_bytes(*word))
    };
    Some(Signal {
        number: word(0),
        of_terminal: word(8) == libc::SI_KERNEL,
    })
}

/// Waits until one of some descriptors can be read, for so long at most; which of them.
pub(crate) fn wait_readable(
    fds: &[Option<BorrowedFd<'_>>],
    patience: Option<std::time::Duration>,
) -> Vec<bool> {
    // A negative descriptor is left out.
    let watched = |fd: &Option<BorrowedFd<'_>>| libc::pollfd {
        fd: fd.map_or(-1, |fd| fd.as_raw_fd()),
        events: libc::POLLIN,
        revents: 0,
    };
    let mut fds: Vec<libc::pollfd> = fds.iter().map(watched).collect();
    let patience = patience.map_or(-1, |patience| patience.as_millis().max(1) as libc::c_int);
    // SAFETY: pointer and length describe `fds`, which is ours alone; the descriptors are borrowed, so they are open.
    unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, patience) };
    fds.iter().map(|fd| fd.revents != 0).collect()
}

/// A netlink socket that hears what changes in the thread's network namespace, of these groups.
pub(crate) fn netlink_news(protocol: libc::c_int, groups: &[i32]) -> io::Result<OwnedFd> {
    let fd = netlink(protocol, true)?;
    for group in groups {
        let name = libc::NETLINK_ADD_MEMBERSHIP;
        set_option(fd.as_raw_fd(), libc::SOL_NETLINK, name, *group)?;
    }
    Ok(fd)
}

/// Hears of files that come, go or are written in some folders; one that is not there is left out.
pub(crate) fn watch_folders(folders: &[&Path]) -> io::Result<OwnedFd> {
    // SAFETY: no pointer is passed.
    let fd = checked(unsafe { libc::inotify_init1(libc::IN_CLOEXEC | libc::IN_NONBLOCK) })?;
    // SAFETY: the kernel just gave us this descriptor; nobody else has it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let events = libc::IN_CREATE | libc::IN_DELETE | libc::IN_CLOSE_WRITE | libc::IN_MOVED_TO;
    for folder in folders {
        let path = c_path(folder)?;
        // SAFETY: the string is NUL-terminated and outlives the call; the descriptor is open.
        let _ = unsafe { libc::inotify_add_watch(fd.as_raw_fd(), path.as_ptr(), events) };
    }
    Ok(fd)
}

/// Reads what is there; whether there was anything.
pub(crate) fn read_at_once(fd: BorrowedFd<'_>, octets: &mut [u8]) -> bool {
    if !wait_readable(&[Some(fd)], Some(std::time::Duration::ZERO))[0] {
        return false;
    }
    // SAFETY: pointer and length describe a slice that is ours alone during the call.
    let got = unsafe { libc::read(fd.as_raw_fd(), octets.as_mut_ptr().cast(), octets.len()) };
    // A socket that lost some news says so once.
    got > 0 || io::Error::last_os_error().raw_os_error() == Some(libc::ENOBUFS)
}

/// Splits this process, which must have one thread, in two; the number of the new one in the old one.
pub(crate) fn fork() -> io::Result<Option<i32>> {
    // SAFETY: the process has one thread, so the new one's memory is whole.
    let pid = checked(unsafe { libc::fork() })?;
    Ok((pid != 0).then_some(pid))
}

/// The status of a child that has ended; none while it lives.
pub(crate) fn ended(pid: i32) -> io::Result<Option<i32>> {
    let mut status = 0;
    // SAFETY: the pointer is to `status`, which is ours alone.
    let got = checked(unsafe { libc::waitpid(pid, &raw mut status, libc::WNOHANG) })?;
    Ok((got == pid).then_some(status))
}

/// Makes this process the parent of its descendants that lose theirs.
pub(crate) fn adopt_orphans() {
    // SAFETY: no pointer is passed.
    unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) };
}

/// Sends this process a signal when its parent ends; at once, if that is gone already.
pub(crate) fn end_with_parent(parent: i32, signal: i32) {
    // SAFETY: no pointer is passed.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, signal, 0, 0, 0);
        if libc::getppid() != parent {
            libc::kill(libc::getpid(), signal);
        }
    }
}

/// Lets signals through again in a command that is about to be started, and sends it one when the thread that starts it
/// ends.
pub(crate) fn tie(command: &mut std::process::Command, signal: i32) {
    use std::os::unix::process::CommandExt as _;
    let tie = move || {
        // SAFETY: the set is initialised by sigemptyset before it is read; nothing here allocates or locks.
        unsafe {
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&raw mut set);
            libc::sigprocmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut());
            libc::prctl(libc::PR_SET_PDEATHSIG, signal, 0, 0, 0);
        }
        Ok(())
    };
    // SAFETY: the closure only makes system calls.
    unsafe { command.pre_exec(tie) };
}

/// Makes a command that is about to be started somebody else's.
pub(crate) fn become_user(command: &mut std::process::Command, uid: u32, gid: u32, groups: &[u32]) {
    use std::os::unix::process::CommandExt as _;
    let groups = groups.to_vec();
    let change = move || {
        // SAFETY: pointer and length describe `groups`, which was allocated before the fork.
        unsafe {
            // In a user namespace of one user nobody may change the groups.
            if libc::setgroups(groups.len(), groups.as_ptr()) < 0 && !groups.is_empty() {
                return Err(io::Error::last_os_error());
            }
            checked(libc::setgid(gid))?;
            checked(libc::setuid(uid))?;
        }
        Ok(())
    };
    // SAFETY: the closure only makes system calls.
    unsafe { command.pre_exec(change) };
}

/// Makes this process, which has a parent, one of its own: without a terminal, with other streams, and with no descriptor
/// of whoever called it but `kept`.
pub(crate) fn detach(output: BorrowedFd<'_>, kept: RawFd) -> io::Result<()> {
    let null = std::fs::File::open("/dev/null")?;
    let own = [null.as_raw_fd(), output.as_raw_fd(), kept];
    let entries = std::fs::read_dir("/proc/self/fd")?;
    let open: Vec<RawFd> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    for fd in open.into_iter().filter(|fd| *fd > 2 && !own.contains(fd)) {
        // SAFETY: what is open here and not ours was inherited, and nobody here has it. What listed them is closed already.
        unsafe { libc::close(fd) };
    }
    // SAFETY: no pointer is passed; the descriptors are open.
    unsafe {
        checked(libc::setsid())?;
        checked(libc::dup2(null.as_raw_fd(), 0))?;
        checked(libc::dup2(output.as_raw_fd(), 1))?;
        checked(libc::dup2(output.as_raw_fd(), 2))?;
    }
    Ok(())
}

/// One heap for all threads, grown in large steps and never given back: a short run spends more on asking the kernel for
/// memory than on using it. Called first.
pub fn one_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes numbers; called before there is a second thread.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
        libc::mallopt(libc::M_TOP_PAD, 4 << 20);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 1 << 30);
        libc::mallopt(libc::M_MMAP_THRESHOLD, 32 << 20);
    }
    furnish_heap(512 << 10);
}

/// Has the kernel give the heap its next octets at once, which takes a tenth of the time that it takes page by page.
pub(crate) fn furnish_heap(octets: usize) {
    const PAGE: usize = 4_096;
    const MADV_POPULATE_WRITE: libc::c_int = 23;
    // SAFETY: the advice changes no content, and is for whole pages within the block, which is ours until it is freed.
    // An older kernel knows no such advice, and nothing is lost.
    unsafe {
        let block = libc::malloc(octets);
        let skipped = block.addr().next_multiple_of(PAGE) - block.addr();
        if !block.is_null() && skipped < octets {
            let whole = (octets - skipped) / PAGE * PAGE;
            libc::madvise(block.byte_add(skipped), whole, MADV_POPULATE_WRITE);
        }
        libc::free(block);
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
