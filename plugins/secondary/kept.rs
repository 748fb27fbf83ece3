//! A zone on disk: a master file whose time of modification is when a primary last had this very version, as in BIND. It is replaced
//! whole after each transfer, so whatever kills the process, one version or the other is there.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use wire::Name;
use zone::{FileSystem, Loader, Zone};

/// The file of a zone.
pub(super) struct Copy(PathBuf);

impl Copy {
    /// The file at a path. What a process that was killed left beside it is removed.
    pub(super) fn new(path: PathBuf) -> Self {
        host::sweep(&path);
        Self(path)
    }

    /// The file.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// The zone, and for how long no primary has confirmed it; `None` where there is no file.
    ///
    /// # Errors
    /// Why it is of no use.
    pub(super) fn read(&self, apex: Name<'_>) -> Result<Option<(Zone, Duration)>, String> {
        let confirmed = match std::fs::metadata(&self.0).and_then(|file| file.modified()) {
            Ok(time) => time,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.to_string()),
        };
        let loaded = Loader::new(apex)
            .digest(zone::DigestPolicy::Off)
            .load(&FileSystem, &self.0);
        let loaded = loaded.map_err(|complaints| {
            let first = complaints.first().map(ToString::to_string);
            first.unwrap_or_default()
        })?;
        // A clock that was set back makes nothing older.
        let age = SystemTime::now().duration_since(confirmed);
        Ok(Some((loaded.zone, age.unwrap_or_default())))
    }

    /// Writes a version that a primary has given just now.
    pub(super) fn write(&self, zone: &Zone) -> io::Result<()> {
        if let Some(directory) = self.0.parent().filter(|path| !path.as_os_str().is_empty())
            && !directory.exists()
        {
            std::fs::create_dir(directory)?;
        }
        host::replace(&self.0, |out| zone.write_text(out))
    }

    /// Notes that a primary has the version that is in the file.
    pub(super) fn confirm(&self) -> io::Result<()> {
        let file = File::options().write(true).open(&self.0)?;
        file.set_modified(SystemTime::now())
    }

    /// Moves it to where it is kept from now on; where that cannot be, it is written there with the next version.
    pub(super) fn move_to(&self, other: &Self) {
        if self.0 == other.0 {
            return;
        }
        if let Some(directory) = other.0.parent() {
            let _ = std::fs::create_dir(directory);
        }
        if std::fs::rename(&self.0, &other.0).is_err() {
            self.remove();
        }
    }

    /// Removes it: the zone is no longer ours.
    pub(super) fn remove(&self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
