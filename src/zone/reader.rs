//! Where master files come from: the one place of this crate that does I/O, behind a trait.

use std::collections::HashMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The longest file that is read, in octets: places in it are kept in 32 bits.
pub const MAX_FILE: u64 = u32::MAX as u64;

/// A source of files.
pub trait Reader {
    /// Reads the whole file at `path`.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
}

/// The file system. Only regular files are read: a directory, a device or a pipe is refused before it is opened for good.
#[derive(Clone, Copy, Default, Debug)]
pub struct FileSystem;

impl Reader for FileSystem {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let refuse = |why| Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        // Opening a pipe would wait for a writer, so what it is comes first.
        if !std::fs::metadata(path)?.is_file() {
            return refuse("not a regular file");
        }
        let file = std::fs::File::open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return refuse("not a regular file");
        }
        if metadata.len() > MAX_FILE {
            return refuse("the file is longer than 4 GiB");
        }
        let mut out = Vec::with_capacity(metadata.len() as usize + 1);
        file.take(MAX_FILE + 1).read_to_end(&mut out)?;
        if out.len() as u64 > MAX_FILE {
            return refuse("the file is longer than 4 GiB");
        }
        Ok(out)
    }
}

/// Files in memory, by path.
#[derive(Clone, Default, Debug)]
pub struct Memory(pub HashMap<PathBuf, Vec<u8>>);

impl Memory {
    /// One file.
    pub fn of(path: &str, text: impl Into<Vec<u8>>) -> Self {
        Self(HashMap::from([(PathBuf::from(path), text.into())]))
    }
}

impl Reader for Memory {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.0
            .get(path)
            .cloned()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}
