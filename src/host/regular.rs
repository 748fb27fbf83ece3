//! Files that a configuration names, read so that none of them can hold up who reads it: a pipe waits for a writer, a device never ends.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::path::Path;

/// Refuses what is no regular file. /dev/null is how an empty one is written.
pub(crate) fn look(path: &Path, metadata: &Metadata) -> io::Result<()> {
    if metadata.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if !metadata.is_file() && path != Path::new("/dev/null") {
        let why = "not a regular file";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    Ok(())
}

/// Opens a regular file.
///
/// # Errors
/// What the file system says, and that it is no regular file.
pub fn open(path: &Path) -> io::Result<File> {
    // Opening a pipe would wait for a writer, so what it is comes first.
    look(path, &std::fs::metadata(path)?)?;
    let file = File::open(path)?;
    look(path, &file.metadata()?)?;
    Ok(file)
}

/// Reads a regular file of `most` octets at most.
///
/// # Errors
/// As [`open`], and that it is longer.
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut octets = Vec::new();
    open(path)?
        .take(most.saturating_add(1))
        .read_to_end(&mut octets)?;
    if octets.len() as u64 > most {
        let why = format!("longer than {most} octets");
        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
    }
    Ok(octets)
}

/// Reads a small text as [`read`] does; octets that are no UTF-8 are replaced.
///
/// # Errors
/// As [`read`].
pub fn read_text(path: &Path) -> io::Result<String> {
    /// A resolv.conf or a kubeconfig is small.
    const MOST: u64 = 1 << 20;
    let octets = read(path, MOST)?;
    Ok(String::from_utf8_lossy(&octets).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_are_read_and_no_more_of_them_than_a_bound() {
        let folder = std::env::temp_dir().join(format!("nameplate-regular-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a directory");
        let (file, pipe) = (folder.join("file"), folder.join("pipe"));
        std::fs::write(&file, b"caf\xe9").expect("written");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.is_ok_and(|status| status.success()));
        assert_eq!(read(&file, 4).ok().as_deref(), Some(&b"caf\xe9"[..]));
        assert!(read(&file, 3).is_err());
        assert_eq!(read_text(&file).ok().as_deref(), Some("caf\u{fffd}"));
        for path in [pipe.as_path(), folder.as_path(), Path::new("/dev/zero")] {
            assert!(open(path).is_err(), "{}", path.display());
        }
        assert_eq!(read(Path::new("/dev/null"), 0).ok(), Some(Vec::new()));
        std::fs::remove_dir_all(&folder).expect("removed");
    }
}
