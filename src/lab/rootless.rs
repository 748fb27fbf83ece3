//! A lab without being root: user, network and mount namespaces of one's own, in which one is.
//!
//! `/run` is a tmpfs of its own there, and `/etc` a view of the real one that has room for `/etc/netns`. Nothing outside
//! can be reached or seen; when the last process ends, the kernel takes everything back.

use std::io;
use std::path::Path;

use crate::error::{During, Result};
use crate::{exec, sys};

/// Moves this process, which must have one thread, into namespaces of its own.
///
/// # Errors
/// The kernel or its administrator does not allow user namespaces.
pub fn enter() -> Result<()> {
    let (user, group) = (sys::effective_user(), sys::effective_group());
    sys::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNET | libc::CLONE_NEWNS)
        .during(|| "cannot make a user namespace (see sysctl user.max_user_namespaces and kernel.unprivileged_userns_clone)".to_owned())?;
    let set_up = || -> io::Result<()> {
        std::fs::write("/proc/self/setgroups", "deny")?;
        std::fs::write("/proc/self/uid_map", format!("0 {user} 1\n"))?;
        std::fs::write("/proc/self/gid_map", format!("0 {group} 1\n"))?;
        sys::mount(None, Path::new("/"), None, libc::MS_SLAVE | libc::MS_REC)?;
        sys::mount(
            Some(Path::new("tmpfs")),
            Path::new("/run"),
            Some("tmpfs"),
            0,
        )?;
        // What root keeps in `/etc/netns` may not be changed, and is of another `/run/netns`.
        exec::rebuild_etc(&[], Some(Path::new(crate::layout::ETC)))?;
        Ok(())
    };
    set_up().during(|| "cannot set up the user namespace".to_owned())?;
    crate::converge::loopback().during(|| "cannot bring lo up".to_owned())
}
