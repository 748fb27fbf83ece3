//! Files that are replaced whole: whatever kills the process or the machine, there is the old content or the new one.
//!
//! The content is written beside, forced to disk and renamed, and the rename is forced to disk. What a killed process left beside is
//! removed by [`sweep`].

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// What ends the name of a file that is being written.
const DRAFT: &str = "new";

/// Replaces the content of a file with what `write` writes.
///
/// # Errors
/// Those of the file system and of `write`; the file is as it was then.
pub fn replace(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let draft = draft(path, std::process::id());
    let written = write_to(&draft, write).and_then(|()| fs::rename(&draft, path));
    if written.is_err() {
        // A disk that is full has no room for a part of a file, either.
        let _ = fs::remove_file(&draft);
    }
    written?;
    File::open(directory(path))?.sync_all()
}

/// Removes what processes that have ended left beside a file.
pub fn sweep(path: &Path) {
    let prefix = path.file_name().unwrap_or_default().to_string_lossy() + ".";
    for entry in fs::read_dir(directory(path))
        .into_iter()
        .flatten()
        .flatten()
    {
        let name = entry.file_name();
        let pid = name
            .to_str()
            .and_then(|name| {
                name.strip_prefix(&*prefix)?
                    .strip_suffix(DRAFT)?
                    .strip_suffix('.')
            })
            .filter(|pid| pid.bytes().all(|octet| octet.is_ascii_digit()));
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn write_to(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut out = BufWriter::new(File::create(path)?);
    write(&mut out)?;
    out.into_inner()?.sync_all()
}

/// Where a process writes what is to become of a file.
fn draft(path: &Path, pid: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{pid}.{DRAFT}"));
    name.into()
}

fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_or_not_at_all() {
        let folder = std::env::temp_dir().join(format!("nameplate-replace-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a directory");
        let path = folder.join("file");
        let names = || {
            let mut names: Vec<_> = fs::read_dir(&folder)
                .expect("a directory")
                .flatten()
                .map(|entry| entry.file_name().to_string_lossy().into_owned())
                .collect();
            names.sort();
            names
        };
        replace(&path, |out| out.write_all(b"one")).expect("written");
        let failed = replace(&path, |out| {
            out.write_all(b"tw")?;
            Err(io::ErrorKind::StorageFull.into())
        });
        assert!(failed.is_err());
        assert_eq!(fs::read(&path).ok().as_deref(), Some(&b"one"[..]));
        assert_eq!(names(), ["file"]);
        // Of a process that has ended, of one that is at work, and of nobody.
        let gone = format!("file.{}.new", u32::MAX);
        let own = format!("file.{}.new", std::process::id());
        for name in [&gone, &own, "file.x.new", "other.1.new"] {
            fs::write(folder.join(name), "").expect("written");
        }
        sweep(&path);
        assert_eq!(names(), ["file", &own, "file.x.new", "other.1.new"]);
        fs::remove_dir_all(&folder).expect("removed");
    }
}
