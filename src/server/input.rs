//! Which Corefile is meant.

use std::path::PathBuf;

/// Where a Corefile comes from.
#[derive(Clone, Debug)]
pub enum Source {
    /// A file, read again at each reload.
    File(PathBuf),
    /// A text: standard input, or the default; only what it imports is read again.
    Text {
        /// What messages call it.
        name: String,
        /// The text.
        text: Vec<u8>,
    },
}

impl Source {
    /// The name and the text as it is now.
    pub(crate) fn read(&self) -> Result<(String, Vec<u8>), String> {
        match self {
            Self::Text { name, text } => Ok((name.clone(), text.clone())),
            Self::File(path) => match std::fs::File::open(path).and_then(corefile::read_bounded) {
                Ok(text) => Ok((path.display().to_string(), text)),
                Err(error) => Err(format!("open {}: {}", path.display(), reason(&error))),
            },
        }
    }
}

/// An I/O error in Go's words, where they are well known.
pub(crate) fn reason(error: &std::io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::ENOENT) => "no such file or directory".to_owned(),
        Some(libc::EACCES) => "permission denied".to_owned(),
        Some(libc::EISDIR) => "is a directory".to_owned(),
        Some(libc::EADDRINUSE) => "address already in use".to_owned(),
        _ => error.to_string(),
    }
}

impl Source {
    /// Whether it can be read.
    ///
    /// # Errors
    /// Why not, in one line.
    pub fn probe(&self) -> Result<(), String> {
        self.read().map(drop)
    }

    /// Whether it has no server block and no mistake either: only comments and snippets, where CoreDNS serves its default.
    pub fn is_blank(&self) -> bool {
        self.read().is_ok_and(|(name, text)| {
            let (corefile, report) = corefile::parse(&name, text, &corefile::Disk);
            corefile.blocks.is_empty() && !report.has_errors()
        })
    }
}
