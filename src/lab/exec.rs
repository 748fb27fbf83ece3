//! Commands inside a namespace: as `ip netns exec`, but with the lab's resolver or not at all.
//!
//! The thread enters the namespace and a mount namespace of its own, in which the files of `/etc/netns/NAME` lie over
//! those of `/etc`. Where `/etc/resolv.conf` is missing or points nowhere there is nothing to bind over; then `/etc` is
//! rebuilt from binds in a small tmpfs first. `ip netns exec` only prints a line there, and the command resolves by way
//! of the host.

use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::converge;
use crate::error::{During, Error, Result};
use crate::layout::ETC;
use crate::server::{self, Heard, Own};
use crate::space::{self, Kind};
use crate::spec::Spec;
use crate::sys;

/// Replaces this process by a command in a namespace; the exit code if that fails: 125 for what comes before the
/// command, 126 if it cannot be run, 127 if it is not found.
#[must_use]
pub fn exec(name: &str, command: &[String], no_dns: bool) -> u8 {
    let Some((program, arguments)) = command.split_first() else {
        return 125;
    };
    if let Err(error) = enter(name, no_dns) {
        eprintln!("nameplate-lab: {error}; the command was not run");
        return 125;
    }
    let error = Command::new(program).args(arguments).exec();
    eprintln!("nameplate-lab: cannot run {program}: {error}");
    if error.kind() == io::ErrorKind::NotFound {
        127
    } else {
        126
    }
}

/// Takes the thread into a namespace for good, with its files over those of `/etc`.
fn enter(name: &str, no_dns: bool) -> Result<()> {
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
        rebuild_etc(&names).during(|| "cannot rebuild /etc".to_owned())?;
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
            Err(error) => eprintln!(
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

/// Covers `/etc` with a tmpfs that shows the same, and has an ordinary file at each of `names`.
pub(crate) fn rebuild_etc(names: &[PathBuf]) -> io::Result<()> {
    let stage = Path::new("/run/nameplate");
    std::fs::create_dir_all(stage)?;
    let etc = Path::new("/etc");
    sys::mount(Some(Path::new("tmpfs")), stage, Some("tmpfs"), 0)?;
    for entry in std::fs::read_dir(etc)? {
        let entry = entry?;
        let (from, to) = (entry.path(), stage.join(entry.file_name()));
        if names.contains(&from) {
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

/// Applies a lab, starts what it declares and a DNS server unless one runs, and removes it when a command ends, or on SIGINT or
/// SIGTERM. `outside` says whether there is anything outside to be resolved.
///
/// # Errors
/// The lab cannot be applied or removed, or a command not be started.
pub fn run(spec: &Spec, command: &[String], outside: bool) -> Result<u8> {
    let reaches_out = |net: &crate::spec::Net| net.nat4 || net.nat6 || !net.forwards.is_empty();
    if !outside && spec.nets.iter().any(reaches_out) {
        eprintln!(
            "note: without root nothing outside is in reach; `nat` and `forward` work between the lab's own networks"
        );
    }
    let mut interrupts = sys::interrupts().during(|| "cannot wait for signals".to_owned())?;
    // A lab without names is a lab; one that cannot be had is said, and no more.
    let server = Own::start(spec, outside).unwrap_or_else(|error| {
        eprintln!("warning: {error}; names do not resolve");
        None
    });
    let outcome = converge::apply(spec, converge::Look::Changes)?;
    for warning in &outcome.warnings {
        eprintln!("warning: {warning}");
    }
    let mut wrong: Vec<String> = outcome.conflicts.clone();
    wrong.extend(outcome.failures);
    if !wrong.is_empty() {
        // What is not ours was not touched; what is ours and half made goes.
        if outcome.conflicts.is_empty() {
            converge::down(&spec.name)?;
        }
        let wrong = wrong.join("; ");
        return Err(Error::new(format!("lab {}: {wrong}", spec.name)));
    }
    if let Some(version) = &outcome.version
        && let Heard::Silent(address) = server::wait(spec, version)
    {
        eprintln!("warning: the DNS server does not answer at {address}; names may not resolve");
    }
    let mut children = BTreeMap::new();
    let mut code = 0;
    let started = start_all(spec, &mut children);
    if started.is_ok() {
        let inside = match children.len() {
            0 => String::new(),
            1 => "; 1 command runs inside".to_owned(),
            many => format!("; {many} commands run inside"),
        };
        let end = if command.is_empty() {
            "; Ctrl-C removes it"
        } else {
            ""
        };
        eprintln!("lab {} is up{inside}{end}", spec.name);
        if command.is_empty() && !outside {
            let own = std::process::id();
            eprintln!(
                "in another terminal: nsenter --preserve-credentials -U -n -m -t {own} -- sh"
            );
        }
        code = match command.split_first() {
            None => {
                // One signal is as good as the other.
                let _ = interrupts.read(&mut [0; 128]);
                0
            }
            Some((program, arguments)) => {
                let mut beside = Command::new(program);
                beside.args(arguments);
                start(beside)
                    .and_then(|mut child| child.wait())
                    .map(|status| status.code().unwrap_or(130) as u8)
                    .unwrap_or_else(|error| {
                        eprintln!("nameplate-lab: cannot run {program}: {error}");
                        127
                    })
            }
        };
    }
    stop(children);
    drop(server);
    let removed = converge::down(&spec.name)?;
    for failure in removed.failures.iter().chain(&removed.warnings) {
        eprintln!("warning: {failure}");
    }
    started.map(|()| code)
}

/// A command that runs in a namespace, and the thread that waits for its end.
struct Running {
    pid: i32,
    /// Whether its end is wanted.
    stopping: Arc<AtomicBool>,
    waiting: JoinHandle<()>,
}

impl Running {
    /// Waits for the end of a namespace's command, and says so when it comes by itself.
    fn wait_for(space: &str, program: &str, mut child: Child) -> Self {
        let pid = child.id() as i32;
        let stopping = Arc::new(AtomicBool::new(false));
        let wanted = Arc::clone(&stopping);
        let what = format!("{program} in {space}");
        let waiting = std::thread::spawn(move || {
            if let Ok(status) = child.wait()
                && !wanted.load(Ordering::Acquire)
            {
                eprintln!("{what} ended: {status}");
            }
        });
        Self {
            pid,
            stopping,
            waiting,
        }
    }
}

/// Ends all commands: by SIGTERM, and by SIGKILL what is there two seconds later.
fn stop(children: BTreeMap<String, Running>) {
    for child in children.values() {
        child.stopping.store(true, Ordering::Release);
        // What has ended has no number any more.
        if !child.waiting.is_finished() {
            let _ = sys::kill(child.pid, libc::SIGTERM);
        }
    }
    let patience = Instant::now() + Duration::from_secs(2);
    for child in children.into_values() {
        while !child.waiting.is_finished() {
            if Instant::now() > patience {
                let _ = sys::kill(child.pid, libc::SIGKILL);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = child.waiting.join();
    }
}

/// Starts the command of every namespace that has one.
fn start_all(spec: &Spec, children: &mut BTreeMap<String, Running>) -> Result<()> {
    for space in &spec.spaces {
        let Some((program, arguments)) = space.run.split_first() else {
            continue;
        };
        let name = space.name.value.clone();
        let (program, arguments) = (program.clone(), arguments.to_vec());
        let inside = (!space.is_host).then(|| name.clone());
        let what = program.clone();
        // A thread of its own carries the child into its namespaces and ends.
        let child = std::thread::spawn(move || -> Result<Child> {
            if let Some(inside) = &inside {
                enter(inside, false)?;
            }
            let mut command = Command::new(&program);
            command.args(arguments);
            start(command).during(|| format!("cannot run {program}"))
        })
        .join()
        .map_err(|_| Error::new(format!("cannot start the command of {name}")))??;
        let running = Running::wait_for(&name, &what, child);
        children.insert(name, running);
    }
    Ok(())
}

/// Starts a command that SIGINT and SIGTERM end as usual.
pub(crate) fn start(mut command: Command) -> io::Result<Child> {
    // The child inherits the thread's mask.
    std::thread::scope(|scope| {
        scope
            .spawn(|| {
                sys::allow_interrupts();
                command.spawn()
            })
            .join()
            .unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))
    })
}
