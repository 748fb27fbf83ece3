//! A zone on disk: a master file whose time of modification is when a primary last had this very version, as in BIND. It is replaced
//! whole after each transfer, so whatever kills the process, one version or the other is there. Its last line, a comment, is the SHA-256
//! of the lines before: a file that was cut or damaged is refused, since its serial would keep it from ever being transferred again.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use sha2::{Digest as _, Sha256};
use wire::Name;
use zone::{FileSystem, Loader, Reader, Zone};

/// What the last line begins with; the hash follows, in hexadecimal digits.
const MARK: &str = "; end, SHA-256 ";

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
            .load(&Marked, &self.0);
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
        host::replace(&self.0, |out| {
            let mut hashed = Hashed {
                out,
                hash: Sha256::new(),
            };
            zone.write_text(&mut hashed)?;
            let Hashed { out, hash } = hashed;
            out.write_all(mark(hash).as_bytes())
        })
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

/// The last line of what has this hash.
fn mark(hash: Sha256) -> String {
    let hash = hash.finalize();
    let digits = hash.iter().map(|octet| format!("{octet:02x}"));
    format!("{MARK}{}\n", digits.collect::<String>())
}

/// Writes, and hashes what is written.
struct Hashed<'a> {
    out: &'a mut dyn Write,
    hash: Sha256,
}

impl Write for Hashed<'_> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let len = self.out.write(octets)?;
        self.hash.update(&octets[..len]);
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// The file system, in which files end with their mark.
struct Marked;

impl Reader for Marked {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let text = FileSystem.read(path)?;
        let lines = text.strip_suffix(b"\n").unwrap_or_default();
        let last = lines.rsplit(|&octet| octet == b'\n').next();
        let last = last.unwrap_or_default();
        let why = match last.starts_with(MARK.as_bytes()) {
            false => "the mark at its end is missing: it was cut, or another program wrote it",
            true => {
                let (before, last) = text.split_at(lines.len() - last.len());
                if last == mark(Sha256::new_with_prefix(before)).as_bytes() {
                    return Ok(text);
                }
                "it does not match the mark at its end: it was damaged or edited"
            }
        };
        Err(io::Error::new(io::ErrorKind::InvalidData, why))
    }
}
