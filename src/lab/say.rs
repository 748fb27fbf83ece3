//! All that the lab prints passes here. Printing never fails and never panics where it happens: a full disk or a reader
//! that has left must not stop a verb between two steps, or a supervisor between two commands. [`finish`] tells at the end.

use std::fmt;
use std::io::{self, IsTerminal as _, Write};
use std::sync::Mutex;

use crate::error::{During as _, Result};

/// Why nothing more is printed on standard output.
static BROKEN: Mutex<Option<io::Error>> = Mutex::new(None);

/// A line on standard output.
#[macro_export]
macro_rules! say {
    ($($word:tt)*) => { $crate::say::line(format_args!($($word)*)) };
}

/// A line on standard error.
#[macro_export]
macro_rules! warn {
    ($($word:tt)*) => { $crate::say::warning(format_args!($($word)*)) };
}

/// A line on standard output.
pub fn line(words: fmt::Arguments<'_>) {
    octets(format!("{words}\n").as_bytes());
}

/// Text on standard output.
pub fn text(text: impl fmt::Display) {
    octets(text.to_string().as_bytes());
}

/// Octets on standard output, at once.
pub fn octets(octets: &[u8]) {
    write(|out| out.write_all(octets));
}

/// Writes to standard output; whether anything printed still gets there.
pub(crate) fn write(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> bool {
    let Ok(mut broken) = BROKEN.lock() else {
        return false;
    };
    if broken.is_none() {
        let mut out = io::stdout().lock();
        *broken = write(&mut out).and_then(|()| out.flush()).err();
    }
    broken.is_none()
}

/// A line on standard error.
pub fn warning(words: fmt::Arguments<'_>) {
    errors(format!("{words}\n").as_bytes());
}

/// Octets on standard error. Where these cannot be written there is no place to say so.
pub fn errors(octets: &[u8]) {
    let _ = io::stderr().lock().write_all(octets);
}

/// Mistakes of a file, on standard error.
pub fn report(report: &corefile::Report, sources: &corefile::Sources) {
    errors(
        report
            .render(sources, io::stderr().is_terminal())
            .as_bytes(),
    );
}

/// Whether everything was printed; a reader that left has had enough.
///
/// # Errors
/// Something could not be written: the disk is full.
pub fn finish() -> Result<()> {
    let broken = BROKEN.lock().ok().and_then(|mut broken| broken.take());
    match broken {
        Some(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).during(|| "cannot write to standard output".to_owned())
        }
        _ => Ok(()),
    }
}
