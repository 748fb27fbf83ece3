//! Files as text: of bounded size, and none that holds up who reads it.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;

use corefile::{READ_LIMIT, read_bounded};

/// Reads a regular file.
///
/// # Errors
/// What the file system says; that it is no regular file, longer than a Corefile may be, or no UTF-8.
pub fn read(path: &Path) -> io::Result<String> {
    text(octets(path)?)
}

/// Reads a regular file as it is.
///
/// # Errors
/// What the file system says; that it is no regular file, or longer than a Corefile may be.
pub fn octets(path: &Path) -> io::Result<Vec<u8>> {
    let file = regular(path)?;
    let mut octets = Vec::with_capacity(file.metadata()?.len().min(READ_LIMIT) as usize + 1);
    // It may grow meanwhile.
    file.take(READ_LIMIT + 1).read_to_end(&mut octets)?;
    bounded(octets)
}

/// Opens a regular file.
///
/// # Errors
/// What the file system says; that it is no regular file.
pub(crate) fn regular(path: &Path) -> io::Result<File> {
    // A pipe without a writer would hold up whoever opens it.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)?;
    let kind = file.metadata()?.file_type();
    if kind.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    match kind.is_file() {
        true => Ok(file),
        false => Err(io::Error::other("not a regular file")),
    }
}

/// Reads a regular file; what cannot be read is empty.
pub(crate) fn read_or_empty(path: &Path) -> String {
    read(path).unwrap_or_default()
}

/// Reads a file that somebody named on the command line: a pipe of the shell, `<(…)`, is one, too.
///
/// # Errors
/// As [`read`]; and that it is a pipe in a directory, which nobody may ever write to.
pub fn given(path: &Path) -> io::Result<String> {
    let is_pipe = std::fs::metadata(path)?.file_type().is_fifo();
    // A pipe of the shell has no path of its own.
    if is_pipe && path.canonicalize().is_ok() {
        let why = "it is a named pipe, and reading one may wait forever; write <(cat PIPE) instead";
        return Err(io::Error::other(why));
    }
    stream(File::open(path)?)
}

/// Reads what is open already, to its end.
///
/// # Errors
/// What the system says; that it is longer than a Corefile may be, or no UTF-8.
pub fn stream(from: impl Read) -> io::Result<String> {
    text(bounded(read_bounded(from)?)?)
}

/// Octets, if they are not too many.
fn bounded(octets: Vec<u8>) -> io::Result<Vec<u8>> {
    match octets.len() as u64 > READ_LIMIT {
        true => Err(too_long()),
        false => Ok(octets),
    }
}

/// That a file is too long.
fn too_long() -> io::Error {
    io::Error::other(format!("it is longer than {} MiB", READ_LIMIT >> 20))
}

/// Octets as text.
fn text(octets: Vec<u8>) -> io::Result<String> {
    String::from_utf8(octets).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = before.iter().filter(|&&octet| octet == b'\n').count() + 1;
        io::Error::other(format!("line {line} is not UTF-8"))
    })
}
