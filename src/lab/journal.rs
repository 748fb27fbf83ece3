//! What a lab has made, written before it is made: `/run/nameplate/lab/LAB/journal.json`.
//!
//! The journal names every object that may exist because of the lab, so that `down` finds all of it after a kill at any
//! instruction, and with the lab's file gone. It lies in `/run` and therefore dies with the objects at a reboot; where
//! `/run` is a disk, the boot's number in it tells. Writing is a temporary file and a rename.
//!
//! What labs share (forwarding on the host, the directories of iproute2) is claimed by each lab with the value from
//! before the first of them, and is put back by the last.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::control::{KEEPER, SOCKET};
use crate::error::{During, Result};
use crate::fault::point;
use crate::input;
use crate::redirect::Redirect;

/// Where the state of all labs is.
pub const STATE: &str = "/run/nameplate/lab";

/// Beside the journal: held by each `run` of the lab.
pub(crate) const USERS: &str = "users";

/// Beside the journal: a change was begun that adds nothing to it.
const BEGUN: &str = "begun";

/// How long one waits for the right to change labs before it says for whom.
const WHILE: Duration = Duration::from_millis(500);

/// How far the lab is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Being made or changed.
    #[default]
    Applying,
    /// As declared.
    Applied,
    /// Being removed.
    Removing,
}

/// What is known of a namespace that a lab has made.
///
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Made {
    /// The number that identifies it, once it is known.
    pub cookie: Option<u64>,
    /// A hash of what was declared and of what it is recognised by, from when it was last looked into.
    pub print: u64,
    /// Its files in its directory below `/etc/netns`.
    pub files: Vec<String>,
    /// Settings that were made in it, beside the one that every namespace has.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sysctls: Vec<String>,
    /// Whether that directory was not there before.
    pub directory: bool,
    /// Whether there are rules in it: a hash of them as the kernel tells them, 0 if that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rules: Option<u64>,
}

/// What one lab has made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Journal {
    /// The format: 2.
    pub v: u32,
    /// The lab's name.
    pub lab: String,
    /// How far it is.
    pub phase: Phase,
    /// Counts the changes.
    pub generation: u64,
    /// The boot that it was made in.
    pub boot: String,
    /// The lab's file.
    pub file: Option<PathBuf>,
    /// A hash of all that was declared when it was last applied.
    pub print: u64,
    /// The same of its bridges.
    pub bridges: u64,
    /// Whether `/etc/netns` was not there before the first lab.
    pub etc: bool,
    /// Whether `/run/netns` was not a mount before the first lab.
    pub prepared: bool,
    /// Settings of the host, with their values from before the first lab.
    pub sysctls: BTreeMap<String, String>,
    /// The nf_tables table.
    pub table: Option<String>,
    /// A hash of its rules as the kernel tells them; 0 if that is not known.
    #[serde(default)]
    pub rules: u64,
    /// What the rules give another destination.
    #[serde(default)]
    pub redirects: Vec<Redirect>,
    /// Whether rules of the lab may stand in other tables.
    #[serde(default)]
    pub accepts: bool,
    /// Interfaces of the host that are ports of its bridges, and whether each was up before.
    #[serde(default)]
    pub parents: BTreeMap<String, bool>,
    /// Whether the lab was made by `run`, and goes when the last one of it ends.
    #[serde(default)]
    pub passing: bool,
    /// Whether the settings of the host are kept in a file that outlasts the boot.
    #[serde(default)]
    pub persists: bool,
    /// Whether the directory of that file was not there before the first lab.
    #[serde(default)]
    pub settings_directory: bool,
    /// Namespaces. They come last, so that of a file that was cut the rest can be read.
    pub spaces: BTreeMap<String, Made>,
}

/// The exclusive right to change any lab.
#[derive(Debug)]
pub struct Lock(#[allow(dead_code)] File);

impl Lock {
    /// Waits for it; who has it is told when that takes a while.
    ///
    /// # Errors
    /// The state directory cannot be made or the lock not be taken.
    pub fn take() -> Result<Self> {
        let state = Path::new(STATE);
        std::fs::create_dir_all(state).during(|| format!("cannot make {STATE}"))?;
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(state.join(".lock"))
            .during(|| format!("cannot open {STATE}/.lock"))?;
        let wait = || match file.try_lock() {
            Err(TryLockError::WouldBlock) => {
                let (done, waits) = mpsc::channel::<()>();
                let locked = &file;
                let tell = move || {
                    if waits.recv_timeout(WHILE) == Err(RecvTimeoutError::Timeout) {
                        crate::warn!("waiting for {}", holder(locked));
                    }
                };
                std::thread::scope(|scope| {
                    scope.spawn(tell);
                    let locked = file.lock();
                    drop(done);
                    locked
                })
            }
            Err(TryLockError::Error(error)) => Err(error),
            Ok(()) => Ok(()),
        };
        wait().during(|| format!("cannot lock {STATE}/.lock"))?;
        Ok(Self(file))
    }
}

/// Who has the lock of a file, as the kernel lists them.
fn holder(file: &File) -> String {
    let of_file = |data: std::fs::Metadata| {
        let (major, minor) = (libc::major(data.dev()), libc::minor(data.dev()));
        format!("{major:02x}:{minor:02x}:{}", data.ino())
    };
    let place = file.metadata().map(of_file).unwrap_or_default();
    let locks = std::fs::read_to_string("/proc/locks").unwrap_or_default();
    let pid = locks.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            [_, "FLOCK", _, _, pid, at, ..] if at == place => Some(pid),
            _ => None,
        }
    });
    let Some(pid) = pid else {
        return "another process, which changes a lab".to_owned();
    };
    let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words = String::from_utf8_lossy(&words).replace('\0', " ");
    format!("process {pid} ({}), which changes a lab", words.trim())
}

impl Made {
    /// The paths of the files of the namespace with this name.
    pub(crate) fn paths(&self, name: &str) -> impl Iterator<Item = PathBuf> {
        let directory = files_of(name);
        self.files.iter().map(move |file| directory.join(file))
    }
}

/// Where `ip netns exec` looks for a namespace's files.
pub(crate) fn files_of(name: &str) -> PathBuf {
    Path::new(crate::layout::ETC).join(name)
}

/// The directory of a lab.
#[must_use]
pub fn directory(lab: &str) -> PathBuf {
    Path::new(STATE).join(lab)
}

/// This boot's number.
pub(crate) fn boot() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .unwrap_or_default()
        .trim()
        .to_owned()
}

/// Whether two paths lead to one file; of one that is gone nothing but its path is known.
fn is_same(one: &Path, other: &Path) -> bool {
    let canonical = |path: &Path| path.canonicalize().ok();
    one == other || canonical(one).is_some_and(|one| canonical(other) == Some(one))
}

impl Journal {
    /// Whether the lab was applied from this file, by whatever path.
    #[must_use]
    pub fn is_of(&self, file: &Path) -> bool {
        self.file.as_deref().is_some_and(|own| is_same(own, file))
    }

    /// What a lab whose file does not say its name is called, if it was applied from this file by a path with another stem.
    #[must_use]
    pub fn name_by_file(path: &Path) -> Option<String> {
        fn stem(path: &Path) -> Option<&str> {
            path.file_stem()?.to_str()
        }
        let own = stem(path)?;
        if directory(own).join("journal.json").exists() {
            return None;
        }
        let labs = Self::others(own).into_iter();
        let mut labs = labs.filter(|lab| lab.file.as_deref().and_then(stem) == Some(&lab.lab));
        let whole = std::path::absolute(path).ok()?;
        labs.find(|lab| lab.is_of(&whole)).map(|lab| lab.lab)
    }

    /// The lab that was applied from a file which is gone.
    #[must_use]
    pub fn by_lost_file(path: &Path) -> Option<Self> {
        let whole = std::path::absolute(path).ok()?;
        let labs = || Self::labs().into_iter();
        match whole.exists() {
            true => None,
            false => labs()
                .filter_map(|lab| Self::load(&lab).ok().flatten())
                .find(|journal| journal.file.as_ref() == Some(&whole)),
        }
    }

    /// An empty one.
    #[must_use]
    pub fn new(lab: &str) -> Self {
        Self {
            v: 2,
            lab: lab.to_owned(),
            boot: boot(),
            ..Self::default()
        }
    }

    /// The journal of a lab, if it has one.
    ///
    /// # Errors
    /// It cannot be read or understood.
    pub fn load(lab: &str) -> Result<Option<Self>> {
        // A word of the command line must not lead out of the directory.
        if lab.is_empty() || lab.starts_with('.') || lab.contains('/') {
            return Ok(None);
        }
        let path = directory(lab).join("journal.json");
        let text = match input::octets(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).during(|| format!("cannot read {}", path.display())),
        };
        let mut journal: Self = serde_json::from_slice(&text)
            .map_err(io::Error::from)
            .during(|| {
                format!(
                    "{} is damaged (`nameplate-lab gc --force {lab}` removes what of lab {lab} can be recognised, and the journal)",
                    path.display()
                )
            })?;
        if journal.boot != boot() {
            // Nothing in the kernel is from that boot; files below /etc may be.
            journal.boot = boot();
            for made in journal.spaces.values_mut() {
                (made.cookie, made.print) = (None, 0);
            }
            journal.sysctls.clear();
            journal.redirects.clear();
            journal.parents.clear();
            (journal.table, journal.accepts) = (None, false);
            journal.prepared = false;
            journal.phase = Phase::Applying;
        }
        let begun = input::read(&directory(lab).join(BEGUN));
        if let (Phase::Applied, Ok(generation)) = (journal.phase, begun) {
            journal.phase = Phase::Applying;
            journal.generation = generation.parse().unwrap_or(journal.generation + 1);
        }
        Ok(Some(journal))
    }

    /// Writes the intent of changing what `before` says is there. If nothing is added to what may exist, a few octets
    /// do, instead of a line for every namespace.
    pub(crate) fn begin(&self, before: Option<&Self>) -> Result<()> {
        let adds_nothing = before.is_some_and(|before| {
            let claims = |journal: &'_ Self| {
                (
                    (journal.etc, journal.prepared, journal.accepts),
                    (journal.passing, journal.file.clone()),
                    (journal.persists, journal.settings_directory),
                    journal.table.clone(),
                    (journal.sysctls.clone(), journal.parents.clone()),
                    journal.redirects.clone(),
                )
            };
            claims(self) == claims(before) && self.spaces == before.spaces
        });
        if !adds_nothing {
            return self.save();
        }
        let directory = directory(&self.lab);
        let text = self.generation.to_string();
        replace(
            &directory.join(BEGUN),
            &directory.join(".journal"),
            text.as_bytes(),
            0o600,
        )
        .during(|| format!("cannot write {}", directory.join(BEGUN).display()))
    }

    /// Writes it.
    ///
    /// # Errors
    /// What the file system says.
    pub fn save(&self) -> Result<()> {
        let directory = directory(&self.lab);
        let path = directory.join("journal.json");
        let text = serde_json::to_vec(self).map_err(io::Error::from);
        text.and_then(|text| {
            make_directory(&directory)?;
            replace(&path, &directory.join(".journal"), &text, 0o600)?;
            match std::fs::symlink_metadata(directory.join(BEGUN)) {
                Ok(_) => remove_file(&directory.join(BEGUN)),
                Err(_) => Ok(()),
            }
        })
        .during(|| format!("cannot write {}", path.display()))
    }

    /// Forgets the lab.
    ///
    /// # Errors
    /// What the file system says.
    pub fn remove(lab: &str) -> Result<()> {
        let directory = directory(lab);
        let remove = || -> io::Result<()> {
            // The journal goes last: while it is there, `down` can be repeated.
            for name in [
                ".names",
                "names.json",
                ".journal",
                BEGUN,
                USERS,
                SOCKET,
                KEEPER,
                "journal.json",
            ] {
                absent_is_fine(remove_file(&directory.join(name)))?;
            }
            match std::fs::remove_dir_all(crate::logs::place(lab)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            absent_is_fine(remove_directory(&directory))
        };
        remove().during(|| format!("cannot remove {}", directory.display()))
    }

    /// What can still be read of a damaged journal: namespaces and their numbers.
    #[must_use]
    pub fn salvage(lab: &str) -> Self {
        let mut journal = Self::new(lab);
        let text = input::octets(&directory(lab).join("journal.json")).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let spaces = text.split_once("\"spaces\":{").map_or("", |(_, rest)| rest);
        for (at, marker) in spaces.match_indices("\":{\"cookie\":") {
            let name = spaces[..at].rsplit('"').next().unwrap_or_default();
            let number = &spaces[at + marker.len()..];
            let end = number.find(|c: char| !c.is_ascii_digit()).unwrap_or(0);
            let good = !name.is_empty() && !name.starts_with('.') && !name.contains('/');
            if let (Ok(cookie), true) = (number[..end].parse(), good) {
                let made = journal.spaces.entry(name.to_owned()).or_default();
                made.cookie = Some(cookie);
            }
        }
        // Taken back only where nobody else needs it, and if it is there.
        journal.etc = text.contains("\"etc\":true");
        journal.prepared = text.contains("\"prepared\":true");
        for key in ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"] {
            let before = text.split_once(&format!("\"{key}\":\""));
            if let Some(value) = before.and_then(|(_, rest)| rest.split('"').next()) {
                journal.sysctls.insert(key.to_owned(), value.to_owned());
            }
        }
        journal.accepts = true;
        journal
    }

    /// Names of all labs that have state.
    #[must_use]
    pub fn labs() -> Vec<String> {
        let mut labs: Vec<String> = std::fs::read_dir(STATE)
            .into_iter()
            .flatten()
            .flatten()
            // Others publish names beside the labs.
            .filter(|entry| entry.path().join("journal.json").exists())
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        labs.sort();
        labs
    }

    /// The journals of all other labs.
    #[must_use]
    pub fn others(lab: &str) -> Vec<Self> {
        Self::labs()
            .iter()
            .filter(|other| *other != lab)
            .filter_map(|other| Self::load(other).ok().flatten())
            .collect()
    }
}

/// Makes a directory if it is not there.
pub(crate) fn make_directory(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    point("mkdir");
    std::fs::create_dir_all(path)
}

/// Replaces a file by way of a temporary one in a place where nobody looks.
pub(crate) fn replace(path: &Path, temporary: &Path, text: &[u8], mode: u32) -> io::Result<()> {
    point("open");
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(mode)
            .custom_flags(libc::O_NOFOLLOW)
            .open(temporary)?;
        point("write");
        file.write_all(text)?;
        point("rename");
        std::fs::rename(temporary, path)
    };
    write().inspect_err(|_| {
        let _ = std::fs::remove_file(temporary);
    })
}

/// Removes a file.
pub(crate) fn remove_file(path: &Path) -> io::Result<()> {
    point("unlink");
    std::fs::remove_file(path)
}

/// Removes an empty directory.
pub(crate) fn remove_directory(path: &Path) -> io::Result<()> {
    point("rmdir");
    std::fs::remove_dir(path)
}

/// What is not there need not be removed.
pub(crate) fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
