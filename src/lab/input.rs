//! Files as text: of bounded size, and none that holds up who reads it.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

use corefile::{Disk, Loader as _, READ_LIMIT, read_bounded};

/// Reads a regular file.
///
/// # Errors
/// What the file system says; that it is no regular file, longer than a Corefile may be, or no UTF-8.
pub fn read(path: &Path) -> io::Result<String> {
    text(Disk.read(path)?)
}

/// Reads a file that somebody named on the command line: a pipe of the shell, `<(…)`, is one, too.
///
/// # Errors
/// As [`read`]; and that it is a pipe in a directory, which nobody may ever write to.
pub fn given(path: &Path) -> io::Result<String> {
    let is_pipe = std::fs::metadata(path)?.file_type().is_fifo();
    // A pipe of the shell has no path of its own.
    if is_pipe && path.canonicalize().is_ok() {
        let why =
            "it is a named pipe, and reading one can wait for ever; write <(cat PIPE) instead";
        return Err(io::Error::other(why));
    }
    stream(File::open(path)?)
}

/// Reads what is open already, to its end.
///
/// # Errors
/// What the system says; that it is longer than a Corefile may be, or no UTF-8.
pub fn stream(from: impl Read) -> io::Result<String> {
    text(read_bounded(from)?)
}

/// Octets as text.
fn text(octets: Vec<u8>) -> io::Result<String> {
    if octets.len() as u64 > READ_LIMIT {
        let why = format!("it is longer than {} MiB", READ_LIMIT >> 20);
        return Err(io::Error::other(why));
    }
    String::from_utf8(octets).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = before.iter().filter(|&&octet| octet == b'\n').count() + 1;
        io::Error::other(format!("line {line} is not UTF-8"))
    })
}
