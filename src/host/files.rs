//! Files as one look reads them: their content, and what tells it from another.
//!
//! A file is told from what it was by its content, never by its time alone: an inode number is used again, a time has a tick, and
//! `touch` changes nothing. Only a file whose metadata is what it was, and was old enough when it was read, is not read again.

use std::fs::{File, Metadata};
use std::hash::{BuildHasher, DefaultHasher, Hasher, RandomState};
use std::io::{self, Read, Take};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::SystemTime;

/// How long before a look a file must have changed last for its time to tell of every later change: some file systems count time
/// in steps of two seconds.
const TICKS: i64 = 2_500_000_000;

/// A file's metadata, as far as it tells of changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Stamp {
    device: u64,
    inode: u64,
    len: u64,
    /// Nanoseconds of the last change of content, and of the last change at all, which nobody can set.
    modified: i64,
    changed: i64,
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        let nanoseconds = |seconds: i64, rest: i64| seconds.saturating_mul(1_000_000_000) + rest;
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            len: metadata.len(),
            modified: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
            changed: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Whether a later change would show in it.
    fn is_settled(&self) -> bool {
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |since| since.as_nanos() as i64);
        let old = |time: i64| now.saturating_sub(time).abs() > TICKS;
        old(self.modified) && old(self.changed)
    }
}

/// What a path led to.
#[derive(Clone, Debug)]
struct Seen {
    stamp: Option<Stamp>,
    settled: bool,
    /// The hash of the content, or why there is none.
    content: Result<u64, String>,
    octets: u64,
}

/// What paths led to, in their order: most sets have one path, and there may be thousands of sets.
#[derive(Clone, Debug, Default)]
struct Known(Vec<(PathBuf, Seen)>);

impl Known {
    fn get(&self, path: &Path) -> Option<&Seen> {
        let at = self
            .0
            .binary_search_by(|(known, _)| known.as_path().cmp(path));
        at.ok().map(|at| &self.0[at].1)
    }

    /// Remembers what a path led to; gives what it led to before.
    fn insert(&mut self, path: &Path, seen: Seen) -> Option<Seen> {
        match self
            .0
            .binary_search_by(|(known, _)| known.as_path().cmp(path))
        {
            Ok(at) => Some(std::mem::replace(&mut self.0[at].1, seen)),
            Err(at) => {
                self.0.insert(at, (path.to_path_buf(), seen));
                None
            }
        }
    }
}

/// What was read of a set of files, in one look.
#[derive(Clone, Debug, Default)]
pub struct Files {
    /// As they were at the last look.
    before: Known,
    seen: Known,
    /// Whether a file that was read twice was another the second time.
    moved: bool,
}

impl Files {
    /// A look after `before`.
    pub fn after(before: &Self) -> Self {
        Self {
            before: before.seen.clone(),
            ..Self::default()
        }
    }

    /// The content of a regular file of at most `most` octets.
    ///
    /// # Errors
    /// What the file system says; a device, a pipe and a file that is too long are refused.
    pub fn read(&mut self, path: &Path, most: u64) -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        self.each(path, most, |reader| {
            text.reserve_exact(usize::try_from(reader.len).unwrap_or(0) + 1);
            reader.read_to_end(&mut text).map(drop)
        })?;
        Ok(text)
    }

    /// Reads a file as [`Files::read`] does, piece by piece: for files that are not held whole.
    ///
    /// # Errors
    /// As [`Files::read`], and what `take` says.
    pub fn each(
        &mut self,
        path: &Path,
        most: u64,
        take: impl FnOnce(&mut Opened) -> io::Result<()>,
    ) -> io::Result<()> {
        let read = open(path, most).and_then(|mut opened| {
            take(&mut opened)?;
            // What was not taken belongs to the content as well.
            io::copy(&mut opened, &mut io::sink())?;
            Ok(Seen {
                settled: opened.stamp.is_settled(),
                stamp: Some(opened.stamp),
                content: Ok(opened.hasher.finish()),
                octets: opened.octets,
            })
        });
        match read {
            Ok(seen) => {
                self.note(path, seen);
                Ok(())
            }
            Err(error) => {
                self.fail(path, &error);
                Err(error)
            }
        }
    }

    /// What tells the content of a file from another; it is read only if its metadata does not tell.
    ///
    /// # Errors
    /// As [`Files::read`].
    pub fn digest(&mut self, path: &Path, most: u64) -> io::Result<u64> {
        if let Some(hash) = self.untouched(path) {
            return Ok(hash);
        }
        self.each(path, most, |_| Ok(()))?;
        self.noted(path)
    }

    /// What tells the content of a file from another, and the content, unless it is the one that is `known`. The file is read once
    /// at most.
    ///
    /// # Errors
    /// As [`Files::read`].
    pub fn read_unless(
        &mut self,
        known: Option<u64>,
        path: &Path,
        most: u64,
    ) -> io::Result<(u64, Option<Vec<u8>>)> {
        if let Some(hash) = known
            && self.untouched(path) == known
        {
            return Ok((hash, None));
        }
        let text = self.read(path, most)?;
        let hash = self.noted(path)?;
        Ok((hash, (Some(hash) != known).then_some(text)))
    }

    /// What tells the content of a file whose metadata says that it is the one from before.
    fn untouched(&mut self, path: &Path) -> Option<u64> {
        let seen = self.before.get(path).filter(|seen| seen.settled)?;
        let hash = *seen.content.as_ref().ok()?;
        let now = std::fs::metadata(path).ok()?;
        if Some(Stamp::of(&now)) != seen.stamp {
            return None;
        }
        let seen = seen.clone();
        self.note(path, seen);
        Some(hash)
    }

    /// What tells the content that was just read.
    fn noted(&self, path: &Path) -> io::Result<u64> {
        match self.seen.get(path) {
            Some(Seen {
                content: Ok(hash), ..
            }) => Ok(*hash),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// The names in a directory, sorted.
    ///
    /// # Errors
    /// What the file system says.
    pub fn list(&mut self, directory: &Path) -> io::Result<Vec<PathBuf>> {
        let listed = std::fs::read_dir(directory).and_then(|entries| {
            let mut names = Vec::new();
            for entry in entries {
                names.push(entry?.path());
            }
            names.sort();
            Ok(names)
        });
        match listed {
            Ok(names) => {
                self.note_names(directory, &names);
                Ok(names)
            }
            Err(error) => {
                self.fail(directory, &error);
                Err(error)
            }
        }
    }

    /// Takes down that `path` stands for `names`: a directory, or a pattern.
    pub fn note_names(&mut self, path: &Path, names: &[PathBuf]) {
        let mut hasher = hasher();
        for name in names {
            hasher.write(name.as_os_str().as_encoded_bytes());
            hasher.write_u8(0);
        }
        let seen = Seen {
            stamp: None,
            settled: false,
            content: Ok(hasher.finish()),
            octets: 0,
        };
        self.note(path, seen);
    }

    /// Takes down that `path` could not be read.
    pub fn fail(&mut self, path: &Path, error: &io::Error) {
        let seen = Seen {
            stamp: None,
            settled: false,
            content: Err(error.to_string()),
            octets: 0,
        };
        self.note(path, seen);
    }

    fn note(&mut self, path: &Path, seen: Seen) {
        let content = seen.content.clone();
        if let Some(earlier) = self.seen.insert(path, seen) {
            self.moved |= earlier.content != content;
        }
    }

    /// What tells all that was read from anything else.
    pub fn sum(&self) -> u64 {
        let mut hasher = hasher();
        for (path, seen) in &self.seen.0 {
            hasher.write(path.as_os_str().as_encoded_bytes());
            match &seen.content {
                Ok(hash) => {
                    hasher.write_u8(0);
                    hasher.write_u64(*hash);
                }
                Err(why) => {
                    hasher.write_u8(1);
                    hasher.write(why.as_bytes());
                }
            }
            hasher.write_u8(0xFF);
        }
        hasher.finish()
    }

    /// The octets that were read.
    pub fn octets(&self) -> u64 {
        self.seen.0.iter().map(|(_, seen)| seen.octets).sum()
    }

    /// The first path that could not be read, and why.
    pub fn failure(&self) -> Option<(&Path, &str)> {
        self.seen
            .0
            .iter()
            .find_map(|(path, seen)| match &seen.content {
                Err(why) => Some((path.as_path(), why.as_str())),
                Ok(_) => None,
            })
    }

    /// The paths that were read.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.seen.0.iter().map(|(path, _)| path.as_path())
    }

    /// When the file that changed last was modified.
    pub fn modified(&self) -> Option<SystemTime> {
        let last = self
            .seen
            .0
            .iter()
            .filter_map(|(_, seen)| seen.stamp)
            .map(|stamp| stamp.modified);
        let last = last.max()?;
        let since = std::time::Duration::from_nanos(u64::try_from(last).ok()?);
        SystemTime::UNIX_EPOCH.checked_add(since)
    }

    /// Whether the files are still what they were when they were read.
    pub fn still(&self) -> bool {
        !self.moved
            && self.seen.0.iter().all(|(path, seen)| {
                seen.stamp.is_none_or(|stamp| {
                    std::fs::metadata(path).is_ok_and(|now| Stamp::of(&now) == stamp)
                })
            })
    }

    /// Begins the look anew, knowing what was seen so far.
    pub(crate) fn rewind(&mut self) {
        self.moved = false;
        for (path, seen) in std::mem::take(&mut self.seen).0 {
            self.before.insert(&path, seen);
        }
    }

    /// Forgets what was before.
    pub(crate) fn release(&mut self) {
        self.before = Known::default();
        self.seen.0.shrink_to_fit();
    }
}

fn hasher() -> DefaultHasher {
    static STATE: OnceLock<RandomState> = OnceLock::new();
    STATE.get_or_init(RandomState::new).build_hasher()
}

/// A file that is being read.
pub struct Opened {
    file: Take<File>,
    stamp: Stamp,
    /// Its length when it was opened.
    len: u64,
    most: u64,
    octets: u64,
    hasher: DefaultHasher,
}

impl Read for Opened {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.file.read(buffer)?;
        self.octets += len as u64;
        if self.octets > self.most {
            return Err(too_long(self.most));
        }
        self.hasher.write(&buffer[..len]);
        Ok(len)
    }
}

fn too_long(most: u64) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("longer than {most} octets"),
    )
}

/// A regular file, with its metadata from before it is read.
fn open(path: &Path, most: u64) -> io::Result<Opened> {
    let file = crate::regular::open(path)?;
    let metadata = file.metadata()?;
    if metadata.len() > most {
        return Err(too_long(most));
    }
    Ok(Opened {
        file: file.take(most.saturating_add(1)),
        stamp: Stamp::of(&metadata),
        len: metadata.len(),
        most,
        octets: 0,
        hasher: hasher(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(name: &str) -> PathBuf {
        let path =
            std::env::temp_dir().join(format!("nameplate-files-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("a directory");
        path
    }

    #[test]
    fn content_counts_and_time_does_not() {
        let directory = directory("content");
        let path = directory.join("a");
        std::fs::write(&path, "one").expect("written");
        let mut first = Files::default();
        first.digest(&path, 99).expect("a file");
        // The same length within one tick, and the time set back: only the content tells.
        let time = std::fs::metadata(&path)
            .and_then(|it| it.modified())
            .expect("a time");
        std::fs::write(&path, "two").expect("written");
        File::options()
            .write(true)
            .open(&path)
            .and_then(|file| file.set_modified(time))
            .expect("set");
        let mut second = Files::after(&first);
        second.digest(&path, 99).expect("a file");
        assert_ne!(first.sum(), second.sum());
        std::fs::write(&path, "one").expect("written");
        let mut third = Files::after(&second);
        third.digest(&path, 99).expect("a file");
        assert_eq!(first.sum(), third.sum());
        assert!(third.still());
        std::fs::write(&path, "three").expect("written");
        assert!(!third.still());
        std::fs::remove_dir_all(directory).expect("removed");
    }

    #[test]
    fn what_is_known_is_not_read_anew() {
        let directory = directory("known");
        let path = directory.join("a");
        std::fs::write(&path, "one").expect("written");
        let mut files = Files::default();
        let (hash, text) = files.read_unless(None, &path, 99).expect("a file");
        assert_eq!(text.as_deref(), Some(b"one".as_slice()));
        assert_eq!(files.digest(&path, 99).expect("a file"), hash);
        // It may have changed within the tick of its time, so it is read, and is the same.
        let known = files.read_unless(Some(hash), &path, 99).expect("a file");
        assert_eq!(known, (hash, None));
        std::fs::write(&path, "two").expect("written");
        let (other, text) = files.read_unless(Some(hash), &path, 99).expect("a file");
        assert_ne!(other, hash);
        assert_eq!(text.as_deref(), Some(b"two".as_slice()));
        // A file that is old is not even opened.
        let old = SystemTime::now() - std::time::Duration::from_secs(60);
        File::options()
            .write(true)
            .open(&path)
            .and_then(|file| file.set_modified(old))
            .expect("set");
        let mut first = Files::default();
        first.digest(&path, 99).expect("a file");
        for (_, seen) in &mut first.seen.0 {
            seen.settled = true; // as if it were old
        }
        let mut second = Files::after(&first);
        let known = second.read_unless(Some(other), &path, 0);
        assert_eq!(known.expect("not read"), (other, None));
        std::fs::remove_dir_all(directory).expect("removed");
    }

    #[test]
    fn what_is_no_file_is_refused_and_differs() {
        let directory = directory("refused");
        let mut files = Files::default();
        for (path, why) in [
            (directory.join("missing"), "No such file"),
            (directory.clone(), "directory"),
            (PathBuf::from("/dev/zero"), "not a regular file"),
        ] {
            let error = files.read(&path, 99).expect_err("no file");
            assert!(error.to_string().contains(why), "{error}");
        }
        let long = directory.join("long");
        std::fs::write(&long, [b'a'; 100]).expect("written");
        assert!(files.read(&long, 99).is_err());
        assert!(
            files
                .read(Path::new("/dev/null"), 99)
                .is_ok_and(|text| text.is_empty())
        );
        assert!(files.failure().is_some());
        std::fs::remove_dir_all(directory).expect("removed");
    }
}
