//! Files of secrets: one a line, in hexadecimal, the one that makes cookies first, as NSD and Unbound keep them.

use std::any::Any;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use host::source::{Content, Doubt, Files, Places, Reading};

use super::secret::{Secret, Secrets};

/// The most that is read of a file, in octets.
pub(super) const FILE: u64 = 64 << 10;

/// One word behind `secret`.
#[derive(Clone, Debug)]
pub(super) enum Part {
    /// A secret.
    Here(Secret),
    /// The file with secrets.
    File(PathBuf),
}

/// The secrets of a server block, and the files that some of them stand in.
pub(super) struct SecretFiles {
    pub(super) parts: Vec<Part>,
    pub(super) secrets: Arc<ArcSwap<Secrets>>,
}

impl SecretFiles {
    fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        self.parts.iter().filter_map(|part| match part {
            Part::File(path) => Some(path),
            Part::Here(_) => None,
        })
    }
}

impl Content for SecretFiles {
    type Draft = Result<Secrets, String>;

    fn places(&mut self) -> Places {
        Places {
            files: self.paths().cloned().collect(),
            ..Places::default()
        }
    }

    fn most(&self) -> u64 {
        FILE
    }

    fn read(&mut self, files: &mut Files) -> Reading<Self::Draft> {
        let (mut secrets, mut wrong) = (Secrets::new(), None);
        for part in &self.parts {
            match part {
                Part::Here(secret) => secrets.push(*secret),
                Part::File(path) => {
                    let read = files
                        .read(path, FILE)
                        .map_err(|error| format!("open {}: {error}", path.display()))
                        .and_then(|text| parse(path, &text));
                    match read {
                        Ok(read) => secrets.extend(read),
                        Err(why) => wrong = wrong.or(Some(why)),
                    }
                }
            }
        }
        Reading {
            doubt: match wrong {
                None => Doubt::None,
                Some(_) => Doubt::Doubtful,
            },
            draft: wrong.map_or(Ok(secrets), Err),
            usable: false,
        }
    }

    fn take(&mut self, draft: Self::Draft, _: &Files) {
        match draft {
            Ok(secrets) if secrets == **self.secrets.load() => {}
            Ok(secrets) => {
                self.secrets.store(Arc::new(secrets));
                tracing::info!(target: "plugin/cookie", "Successfully reloaded secrets");
            }
            Err(error) => tracing::error!(target: "plugin/cookie", "{error}"),
        }
    }

    fn kept(&self) -> Option<(String, Arc<dyn Any + Send + Sync>)> {
        let paths: Vec<_> = self
            .paths()
            .map(|path| path.display().to_string())
            .collect();
        Some((format!("cookie {}", paths.join(" ")), self.secrets.clone()))
    }

    fn fail(&mut self, path: &Path, why: &str) {
        tracing::error!(target: "plugin/cookie", "open {}: {why}", path.display());
    }
}

/// The secrets of a file.
///
/// # Errors
/// The file, the line, and what is wrong there. The message has nothing of the line, which may be a secret with a mistake in it.
pub(super) fn parse(path: &Path, text: &[u8]) -> Result<Secrets, String> {
    let mut secrets = Secrets::new();
    for (number, line) in text.split(|octet| *octet == b'\n').enumerate() {
        let line = line.trim_ascii();
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        let secret = Secret::from_hex(line).ok_or_else(|| {
            let (path, line) = (path.display(), number + 1);
            format!("{path}:{line}: expected a secret of 32 hexadecimal digits")
        })?;
        secrets.push(secret);
    }
    match secrets.is_empty() {
        true => Err(format!("{}: there is no secret", path.display())),
        false => Ok(secrets),
    }
}
