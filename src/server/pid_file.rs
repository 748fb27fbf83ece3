//! The file with the process's ID: replaced whole, never written through a symbolic link, and removed only while it names this process.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The file of this process.
static OURS: Mutex<Option<PathBuf>> = Mutex::new(None);

/// Digits and a line feed; a longer file is not ours.
const LONGEST: u64 = 32;

/// Writes the ID of this process and a line feed, as CoreDNS does; [`leave`] removes it.
///
/// # Errors
/// What the file system says; a directory, a pipe and a socket are not replaced.
pub(crate) fn write(path: &Path) -> io::Result<()> {
    put(path)?;
    *ours() = Some(path.to_path_buf());
    Ok(())
}

/// Removes the file that was written.
pub(crate) fn leave() {
    if let Some(path) = ours().take() {
        remove(&path);
    }
}

fn ours() -> MutexGuard<'static, Option<PathBuf>> {
    OURS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn put(path: &Path) -> io::Result<()> {
    let text = format!("{}\n", std::process::id());
    let found = std::fs::symlink_metadata(path);
    if found
        .as_ref()
        .is_ok_and(|it| it.file_type().is_char_device())
    {
        // /dev/null, for who wants none.
        return overwrite(path, &text);
    }
    if let Ok(found) = found
        && !found.is_file()
        && !found.is_symlink()
    {
        return Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "not a regular file",
        ));
    }
    let draft = draft(path)?;
    match create(&draft, &text).and_then(|()| std::fs::rename(&draft, path)) {
        Ok(()) => Ok(()),
        Err(error) => {
            let _ = std::fs::remove_file(&draft);
            // A directory that we may not write to can hold a file that we may.
            let there = std::fs::symlink_metadata(path).is_ok_and(|it| it.is_file());
            if there && overwrite(path, &text).is_ok() {
                return Ok(());
            }
            Err(error)
        }
    }
}

/// The name of a file beside it.
fn draft(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or(io::ErrorKind::IsADirectory)?;
    let mut draft = std::ffi::OsString::from(".");
    draft.push(name);
    draft.push(format!(".{}", std::process::id()));
    Ok(path.with_file_name(draft))
}

fn create(path: &Path, text: &str) -> io::Result<()> {
    // A file of that name was left by a process of our ID, which is no more.
    let _ = std::fs::remove_file(path);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o644)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)?;
    file.write_all(text.as_bytes())
}

fn overwrite(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)?;
    if file.metadata()?.is_file() {
        file.set_len(0)?;
    }
    file.write_all(text.as_bytes())
}

/// Removes the file, if it is a regular one that names this process.
fn remove(path: &Path) {
    if names_us(path).unwrap_or(false) {
        let _ = std::fs::remove_file(path);
    }
}

fn names_us(path: &Path) -> io::Result<bool> {
    if !std::fs::symlink_metadata(path)?.is_file() {
        return Ok(false);
    }
    let mut text = String::new();
    File::open(path)?.take(LONGEST).read_to_string(&mut text)?;
    Ok(text.trim() == std::process::id().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_replaced_and_not_written_through() {
        let directory = std::env::temp_dir().join(format!("nameplate-pid-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&directory);
        std::fs::create_dir_all(&directory).expect("a directory");
        let (path, other) = (directory.join("pid"), directory.join("other"));
        let ours = format!("{}\n", std::process::id());
        std::fs::write(&other, "precious").expect("written");
        std::os::unix::fs::symlink(&other, &path).expect("a link");
        put(&path).expect("written");
        assert_eq!(std::fs::read_to_string(&path).expect("read"), ours);
        assert_eq!(std::fs::read_to_string(&other).expect("read"), "precious");
        // Another process has taken the file over.
        std::fs::write(&path, "1\n").expect("written");
        remove(&path);
        assert!(path.exists());
        put(&path).expect("written again");
        remove(&path);
        assert!(!path.exists());
        // A link that names us is not ours, either.
        std::fs::write(&other, &ours).expect("written");
        std::os::unix::fs::symlink(&other, &path).expect("a link");
        remove(&path);
        assert!(other.exists() && path.symlink_metadata().is_ok());
        assert!(put(&directory).is_err(), "a directory stays");
        assert_eq!(std::fs::read_dir(&directory).expect("it").count(), 2);
        std::fs::remove_dir_all(&directory).expect("removed");
    }
}
