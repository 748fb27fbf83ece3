//! The one error of this crate: what was being done, and what the system said.

use std::fmt;
use std::io;

/// What went wrong.
#[derive(Debug)]
pub struct Error {
    what: String,
    cause: Option<io::Error>,
}

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Something that no system call reported.
    #[must_use]
    pub fn new(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            cause: None,
        }
    }

    /// The system's error, if there is one.
    #[must_use]
    pub fn cause(&self) -> Option<&io::Error> {
        self.cause.as_ref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cause {
            None => f.write_str(&self.what),
            Some(cause) => {
                let text = cause.to_string();
                write!(
                    f,
                    "{}: {}",
                    self.what,
                    text.split(" (os error").next().unwrap_or("")
                )
            }
        }
    }
}

impl std::error::Error for Error {}

/// Adds what was being done to a system's error.
pub(crate) trait During<T> {
    /// The words before the colon.
    fn during(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T> During<T> for io::Result<T> {
    fn during(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|cause| Error {
            what: what(),
            cause: Some(cause),
        })
    }
}
