//! What was done to the machine, written down before it is done, and how each step is undone.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Where the journal lies. Not in the service's own directory, which its user may write.
const JOURNAL: &str = "/var/lib/nameplate-install.json";

/// A step that was taken, or was about to be.
#[derive(Serialize, Deserialize, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A directory that was not there.
    Directory(PathBuf),
    /// A file that was written: the digest of what was written, and what stood there before.
    File {
        path: PathBuf,
        digest: String,
        before: Option<Before>,
    },
    /// Another service that was stopped, and whether it was enabled.
    Stopped { unit: String, enabled: bool },
    /// Our own service was enabled and started.
    Enabled { unit: String },
}

/// A file as it was.
#[derive(Serialize, Deserialize, Debug, PartialEq, Eq)]
pub(crate) struct Before {
    content: Vec<u8>,
    mode: u32,
}

/// The machine, and what was done to it.
#[derive(Default)]
pub(crate) struct Journal {
    pub(crate) steps: Vec<Step>,
}

impl Journal {
    /// That of an earlier install, if there was one.
    pub(crate) fn read() -> io::Result<Option<Self>> {
        let text = match fs::read(JOURNAL) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let steps = serde_json::from_slice(&text).map_err(io::Error::other)?;
        Ok(Some(Self { steps }))
    }

    /// Makes a directory, and notes it if it was not there.
    pub(crate) fn directory(&mut self, path: &str) -> io::Result<()> {
        let mut missing = Vec::new();
        let mut at = Path::new(path);
        while at.file_name().is_some() && !at.exists() {
            missing.push(at.to_owned());
            at = at.parent().unwrap_or(Path::new("/"));
        }
        for path in missing.into_iter().rev() {
            self.note(Step::Directory(path.clone()))?;
            fs::create_dir(&path)?;
        }
        Ok(())
    }

    /// Writes a file whole, and notes what was there.
    pub(crate) fn file(&mut self, path: &str, content: &[u8], mode: u32) -> io::Result<()> {
        let path = Path::new(path);
        let before = match fs::read(path) {
            Ok(content) => {
                let mode = fs::metadata(path)?.permissions().mode() & 0o7777;
                Some(Before { content, mode })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        if before
            .as_ref()
            .is_some_and(|before| before.content == content)
        {
            return Ok(());
        }
        self.note(Step::File {
            path: path.to_owned(),
            digest: digest(content),
            before,
        })?;
        replace(path, content, mode)
    }

    /// Stops another service, which `uninstall` starts again.
    pub(crate) fn stop(&mut self, unit: &str) -> io::Result<()> {
        let enabled = systemctl(&["is-enabled", "--quiet", unit]).is_ok();
        let unit = unit.to_owned();
        self.note(Step::Stopped {
            unit: unit.clone(),
            enabled,
        })?;
        if enabled {
            systemctl(&["disable", "--now", &unit])
        } else {
            systemctl(&["stop", &unit])
        }
    }

    /// Enables and starts our service, or restarts it where it runs.
    pub(crate) fn enable(&mut self, unit: &str) -> io::Result<()> {
        self.note(Step::Enabled {
            unit: unit.to_owned(),
        })?;
        systemctl(&["daemon-reload"])?;
        systemctl(&["enable", unit])?;
        systemctl(&["restart", unit])
    }

    /// Undoes all steps from the last to the first; gives what could not be undone, and what was left on purpose.
    pub(crate) fn undo(mut self) -> Vec<String> {
        let mut left = Vec::new();
        while let Some(step) = self.steps.pop() {
            let undone = match &step {
                Step::Directory(path) => match fs::remove_dir(path) {
                    Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
                        left.push(format!("{} has files that are not ours", path.display()));
                        Ok(())
                    }
                    Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                    other => other,
                },
                Step::File {
                    path,
                    digest,
                    before,
                } => Self::restore(path, digest, before.as_ref(), &mut left),
                Step::Stopped {
                    unit,
                    enabled: true,
                } => systemctl(&["enable", "--now", unit]),
                Step::Stopped {
                    unit,
                    enabled: false,
                } => systemctl(&["start", unit]),
                Step::Enabled { unit } => systemctl(&["disable", "--now", unit]),
            };
            if let Err(error) = undone {
                left.push(format!("{step}: {error}"));
            }
        }
        let _ = systemctl(&["daemon-reload"]);
        let _ = fs::remove_file(beside(Path::new(JOURNAL)));
        if let Err(error) = fs::remove_file(JOURNAL)
            && error.kind() != io::ErrorKind::NotFound
        {
            left.push(format!("{JOURNAL}: {error}"));
        }
        left
    }

    /// Puts back what was there. What somebody has edited since is theirs, and stays.
    fn restore(
        path: &Path,
        written: &str,
        before: Option<&Before>,
        left: &mut Vec<String>,
    ) -> io::Result<()> {
        // What a kill may have left.
        let _ = fs::remove_file(beside(path));
        match fs::read(path) {
            Ok(now) if digest(&now) != written => {
                // The step may not have been taken before it was killed.
                if before.is_none_or(|before| before.content != now) {
                    left.push(format!("{} was edited since, and stays", path.display()));
                }
                return Ok(());
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && before.is_none() => {
                return Ok(());
            }
            _ => {}
        }
        match before {
            Some(before) => replace(path, &before.content, before.mode),
            None => fs::remove_file(path),
        }
    }

    /// Writes the journal with one more step.
    fn note(&mut self, step: Step) -> io::Result<()> {
        self.steps.push(step);
        let text = serde_json::to_vec_pretty(&self.steps).map_err(io::Error::other)?;
        replace(Path::new(JOURNAL), &text, 0o600)
    }
}

fn systemctl(words: &[&str]) -> io::Result<()> {
    let mut command = Command::new("systemctl");
    command.args(words);
    let output = command.output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!(
        "systemctl {}: {}",
        words.join(" "),
        said.trim()
    )))
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Directory(path) => write!(f, "{}", path.display()),
            Self::File { path, .. } => write!(f, "{}", path.display()),
            Self::Stopped { unit, .. } | Self::Enabled { unit } => f.write_str(unit),
        }
    }
}

/// Where a file is written before it takes its name.
fn beside(path: &Path) -> PathBuf {
    path.with_extension("nameplate-new")
}

/// A new file that takes the old one's name, so that a kill leaves one or the other.
fn replace(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let beside = beside(path);
    let _ = fs::remove_file(&beside);
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&beside)?;
    file.write_all(content)?;
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    file.sync_all()?;
    fs::rename(&beside, path)
}

fn digest(content: &[u8]) -> String {
    let sum = Sha256::digest(content);
    sum.iter().map(|octet| format!("{octet:02x}")).collect()
}
