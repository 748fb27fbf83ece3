//! Commands inside a namespace: as `ip netns exec`, but with the lab's resolver or not at all.
//!
//! The thread enters the namespace and a mount namespace of its own, in which the files of `/etc/netns/NAME` lie over
//! those of `/etc`. Where `/etc/resolv.conf` is missing or points nowhere there is nothing to bind over; then `/etc` is
//! rebuilt from binds in a small tmpfs first. `ip netns exec` only prints a line there, and the command resolves by way
//! of the host.

use std::io;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use crate::error::{During, Error, Result};
use crate::layout::ETC;
use crate::space::{self, Kind};
use crate::spec::{Dns, Spec};
use crate::{logs, sys};

/// Replaces this process by a command in a namespace; the exit code if that fails: 125 for what comes before the
/// command, 126 if it cannot be run, 127 if it is not found.
#[must_use]
pub fn exec(name: &str, command: &[String], no_dns: bool) -> u8 {
    let Some((program, arguments)) = command.split_first() else {
        return 125;
    };
    if let Err(error) = enter(name, no_dns) {
        crate::warn!("nameplate-lab: {error}; the command was not run");
        return 125;
    }
    let error = Command::new(program).args(arguments).exec();
    crate::warn!("nameplate-lab: cannot run {program}: {error}");
    if error.kind() == io::ErrorKind::NotFound {
        127
    } else {
        126
    }
}

/// How many namespaces run a command at once.
const AT_ONCE: usize = 16;

/// Runs a command in every namespace of a lab, each line of what it prints behind the namespace's name; the highest of the
/// exit codes.
///
/// # Errors
/// The lab has no namespace.
pub fn everywhere(spec: &Spec, command: &[String], no_dns: bool) -> Result<u8> {
    let spaces = spec.spaces.iter().filter(|space| !space.is_host);
    let names: Vec<&str> = spaces.map(|space| space.name.value.as_str()).collect();
    if names.is_empty() {
        return Err(Error::new(format!("lab {} has no namespace", spec.name)));
    }
    let width = names.iter().map(|name| name.len()).max().unwrap_or(0);
    let (next, worst) = (AtomicUsize::new(0), AtomicU8::new(0));
    let no_dns = no_dns || spec.dns == Dns::Off;
    let work = || {
        while let Some(name) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
            // The thread is in the namespace for good.
            let one = || shown(name, &format!("{name:width$} | "), command, no_dns);
            let code = std::thread::scope(|scope| scope.spawn(one).join());
            worst.fetch_max(code.unwrap_or(125), Ordering::Relaxed);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(names.len()) {
            scope.spawn(work);
        }
    });
    Ok(worst.into_inner())
}

/// Runs a command in a namespace and shows what it prints; its exit code.
fn shown(name: &str, prefix: &str, command: &[String], no_dns: bool) -> u8 {
    let Some((program, arguments)) = command.split_first() else {
        return 125;
    };
    let run = || -> Result<ExitStatus> {
        enter(name, no_dns)?;
        let pipe = || io::pipe().during(|| "cannot make a pipe".to_owned());
        let ((out, out_end), (err, err_end)) = (pipe()?, pipe()?);
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null());
        command.stdout(out_end).stderr(err_end);
        let spawned = command.spawn();
        drop(command);
        let mut child = spawned.during(|| format!("cannot run {program}"))?;
        crate::launch::copy((out, err), None, |text, of_errors| {
            logs::show_lines(text, prefix, of_errors);
        });
        child.wait().during(|| format!("cannot wait for {program}"))
    };
    match run() {
        Ok(status) => status.code().unwrap_or(128 + status.signal().unwrap_or(0)) as u8,
        Err(error) => {
            crate::warn!("nameplate-lab: {name}: {error}");
            match error.cause().map(io::Error::kind) {
                Some(io::ErrorKind::NotFound) => 127,
                Some(_) => 126,
                None => 125,
            }
        }
    }
}

/// Takes the thread into a namespace for good, with its files over those of `/etc`.
pub(crate) fn enter(name: &str, no_dns: bool) -> Result<()> {
    let valid = !name.is_empty() && !name.starts_with('.') && !name.contains('/');
    if !valid {
        return Err(Error::new(format!("`{name}` cannot be a namespace's name")));
    }
    let kind = space::kind(name).during(|| format!("cannot look at namespace {name}"))?;
    if kind != Kind::Namespace {
        let known = space::names();
        let meant = corefile::nearest(name, known.iter().map(String::as_str));
        let meant = meant.map(|meant| format!("; is {meant} meant?"));
        return Err(Error::new(format!(
            "there is no namespace {name}{}",
            meant.unwrap_or_default()
        )));
    }
    space::enter_for_good(name).during(|| format!("cannot enter namespace {name}"))?;
    private_mounts().during(|| "cannot make a mount namespace".to_owned())?;
    let directory = Path::new(ETC).join(name);
    let mut entries: Vec<PathBuf> = std::fs::read_dir(&directory)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    entries.sort();
    let resolver = directory.join("resolv.conf");
    if !entries.contains(&resolver) && !no_dns {
        return Err(Error::new(format!(
            "{} is missing, so the host's resolver would answer (--no-dns allows that)",
            resolver.display()
        )));
    }
    let over = |entry: &Path| Path::new("/etc").join(entry.file_name().unwrap_or_default());
    if entries.iter().any(|entry| !over(entry).exists()) {
        // The files are in the directory that is about to be covered.
        let names: Vec<PathBuf> = entries.iter().map(|entry| over(entry)).collect();
        rebuild_etc(&names, None).during(|| "cannot rebuild /etc".to_owned())?;
    }
    for entry in &entries {
        let target = over(entry);
        let bound = sys::mount(Some(entry), &target, None, libc::MS_BIND);
        match bound {
            Err(error) if *entry == resolver && !no_dns => {
                return Err(error).during(|| {
                    format!(
                        "cannot put {} in place of /etc/resolv.conf",
                        entry.display()
                    )
                });
            }
            Err(error) => crate::warn!(
                "nameplate-lab: {} does not cover {}: {error}",
                entry.display(),
                target.display()
            ),
            Ok(()) => {}
        }
    }
    Ok(())
}

/// A mount namespace whose mounts nobody else sees, with the network namespace's own `/sys`.
fn private_mounts() -> io::Result<()> {
    sys::unshare(libc::CLONE_NEWNS)?;
    sys::mount(None, Path::new("/"), None, libc::MS_SLAVE | libc::MS_REC)?;
    let _ = sys::unmount(Path::new("/sys"));
    // Without a sysfs of the namespace only `ls /sys/class/net` is wrong.
    let _ = sys::mount(
        Some(Path::new("sysfs")),
        Path::new("/sys"),
        Some("sysfs"),
        0,
    );
    Ok(())
}

/// Covers `/etc` with a tmpfs that shows the same, has an ordinary file at each of `names`, and nothing at `without`.
pub(crate) fn rebuild_etc(names: &[PathBuf], without: Option<&Path>) -> io::Result<()> {
    let stage = Path::new("/run/nameplate");
    std::fs::create_dir_all(stage)?;
    let etc = Path::new("/etc");
    sys::mount(Some(Path::new("tmpfs")), stage, Some("tmpfs"), 0)?;
    for entry in std::fs::read_dir(etc)? {
        let entry = entry?;
        let (from, to) = (entry.path(), stage.join(entry.file_name()));
        if names.contains(&from) || without == Some(from.as_path()) {
            continue;
        }
        let kind = entry.file_type()?;
        if kind.is_symlink() {
            std::os::unix::fs::symlink(std::fs::read_link(&from)?, &to)?;
            continue;
        }
        if kind.is_dir() {
            std::fs::create_dir(&to)?;
        } else {
            std::fs::write(&to, "")?;
        }
        // What may not be read is not missed.
        let _ = sys::mount(Some(&from), &to, None, libc::MS_BIND | libc::MS_REC);
    }
    for name in names {
        let file = stage.join(name.file_name().unwrap_or_default());
        std::fs::write(file, "")?;
    }
    sys::mount(Some(stage), etc, None, libc::MS_BIND | libc::MS_REC)?;
    sys::unmount(stage)
}
