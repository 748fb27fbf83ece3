//! Settings below `/proc/sys`, of the thread's network namespace.
//!
//! The kernel keeps the directory `net/ipv6` of every namespace that was looked at below one `/proc` in one hash chain, which it
//! searches to the end for a new namespace: with a thousand of them, a fifth of the time of `apply`. A `/proc` of our own, mounted
//! nowhere, knows none of them, and is exchanged for another one before it knows many.

use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use crate::fault::point;
use crate::sys;

/// Where they are.
const PLACE: &str = "/proc/sys";
/// How many are opened by way of one `/proc`.
const USES: u32 = 64;

thread_local! {
    static OWN: RefCell<Own> = const { RefCell::new(Own::Untried) };
}

/// The `/proc` of our own.
enum Own {
    /// None yet.
    Untried,
    /// This kernel, or what we may, does not allow one; or somebody mounted something over the settings, which counts.
    Refused,
    /// One, and how often it may still be used.
    Made(OwnedFd, u32),
}

impl Own {
    /// Opens a setting below it; none where there is no such `/proc`.
    fn open(&mut self, key: &str, write: bool) -> Option<io::Result<File>> {
        let usable = match self {
            Self::Refused => return None,
            Self::Made(_, uses) => *uses > 0,
            Self::Untried => {
                let place = Path::new(PLACE);
                let plain = sys::is_mount(place) == Some(false) && !sys::is_read_only(place);
                if !plain {
                    *self = Self::Refused;
                    return None;
                }
                false
            }
        };
        if !usable {
            *self = sys::own_proc().map_or(Self::Refused, |proc| Self::Made(proc, USES));
        }
        match self {
            Self::Made(proc, uses) => {
                *uses -= 1;
                Some(sys::open_at(proc.as_fd(), &format!("sys/{key}"), write))
            }
            _ => None,
        }
    }
}

/// Opens a setting.
fn open(key: &str, write: bool) -> io::Result<File> {
    let by_own = key
        .starts_with("net/")
        .then(|| OWN.with_borrow_mut(|own| own.open(key, write)));
    match by_own.flatten() {
        Some(opened) => opened,
        None => OpenOptions::new()
            .read(!write)
            .write(write)
            .open(format!("{PLACE}/{key}")),
    }
}

/// A setting.
pub(crate) fn read(key: &str) -> Option<String> {
    // Short files, read by the thousand: one read tells all.
    let mut octets = [0; 256];
    let length = open(key, false).ok()?.read(&mut octets).ok()?;
    let text = std::str::from_utf8(&octets[..length]).ok()?;
    Some(text.trim().to_owned())
}

/// Changes a setting.
pub(crate) fn write(key: &str, value: &str) -> io::Result<()> {
    point("sysctl");
    let written = open(key, true).and_then(|mut file| file.write_all(value.as_bytes()));
    match written {
        // A kernel without IPv6 has nothing to turn off.
        Err(error)
            if error.kind() == io::ErrorKind::NotFound
                && key.starts_with("net/ipv6/")
                && !Path::new("/proc/sys/net/ipv6").exists() =>
        {
            Ok(())
        }
        // Some containers have them read-only; the right value is right all the same.
        Err(_) if read(key).as_deref() == Some(value) => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The time of `apply` grows with the square of the namespaces where settings are found by way of everybody's `/proc`.
    #[test]
    fn settings_are_found_by_a_proc_of_our_own_where_that_is_allowed() {
        let key = "net/ipv4/ip_forward";
        let plain = std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward");
        let place = Path::new(PLACE);
        let allowed = sys::is_mount(place) == Some(false)
            && !sys::is_read_only(place)
            && sys::own_proc().is_ok();
        // More often than one is used.
        for _ in 0..=2 * USES {
            let found = read(key);
            assert_eq!(found.as_deref(), plain.as_deref().map(str::trim).ok());
            OWN.with_borrow(|own| assert_eq!(matches!(own, Own::Made(..)), allowed));
        }
        assert_eq!(read("net/ipv6/conf/all/no_such_setting"), None);
    }
}
