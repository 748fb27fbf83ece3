//! The keys that sign a zone, and where they are.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chain::key_files::{self, Named, foreign};
use corefile::{Span, Token};
use wire::NameBuf;
use zone::signing::Key;

/// Where the keys of a zone are: files that are named, and directories, which may have others at each look.
pub(super) struct Keys {
    pub(super) origin: NameBuf,
    /// All zones of the line.
    pub(super) zones: Vec<NameBuf>,
    pub(super) named: Vec<Named>,
    pub(super) directories: Vec<Token>,
    /// Where relative paths start.
    pub(super) root: PathBuf,
}

impl Keys {
    /// Reads the keys that sign the zone.
    pub(super) fn read(&self) -> Result<Vec<Arc<Key>>, Wrong> {
        let all = [&self.named[..], &self.found()?].concat();
        let mut keys = Vec::with_capacity(all.len());
        for named in &all {
            let wrong = |message: String| Wrong {
                message,
                span: named.span,
            };
            let key = key_files::load(&self.root.join(&named.base));
            let key = key.map_err(|problem| wrong(problem.to_string()))?;
            if let Some(message) = foreign(&key, &self.zones) {
                return Err(wrong(message));
            }
            keys.push(Arc::new(key));
        }
        keys_of(&self.origin, &keys, &all)
    }

    /// The keys in the directories; they are found by their names.
    pub(super) fn found(&self) -> Result<Vec<Named>, Wrong> {
        let mut out = Vec::new();
        for directory in &self.directories {
            let path = self.root.join(&directory.text);
            let names = listed(&path, &self.origin).map_err(|error| Wrong {
                message: format!("open {}: {error}", path.display()),
                span: directory.span,
            })?;
            out.extend(names.into_iter().map(|base| Named {
                base: base.display().to_string(),
                span: directory.span,
            }));
        }
        if out.is_empty()
            && self.named.is_empty()
            && let Some(directory) = self.directories.first()
        {
            return Err(Wrong {
                message: format!(
                    "{} has no key K{}+*.key",
                    self.root.join(&directory.text).display(),
                    self.origin
                ),
                span: directory.span,
            });
        }
        Ok(out)
    }
}

/// What is wrong, and the word that it is about.
pub(super) struct Wrong {
    pub(super) message: String,
    pub(super) span: Span,
}

/// The keys of a zone in a directory, in the order of their names.
fn listed(directory: &Path, origin: &NameBuf) -> std::io::Result<Vec<PathBuf>> {
    let start = format!("k{origin}+");
    let mut out = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        if name.to_ascii_lowercase().starts_with(&start) && name.ends_with(".key") {
            out.push(path.with_extension(""));
        }
    }
    out.sort();
    Ok(out)
}

/// The keys that sign a zone: its own among those that are named. One of them has the flag SEP: by that one parents know the zone.
pub(super) fn keys_of(
    origin: &NameBuf,
    keys: &[Arc<Key>],
    named: &[Named],
) -> Result<Vec<Arc<Key>>, Wrong> {
    let mut own = key_files::of_zone(origin, keys);
    // A key that is named twice, or is in a directory too, signs once.
    let mut seen = HashSet::new();
    own.retain(|key| seen.insert(key.dnskey().to_vec()));
    let (Some(other), Some(word)) = (keys.first(), named.first()) else {
        return Ok(own);
    };
    let Some(first) = own.first() else {
        let (owner, tag) = (other.owner(), other.tag());
        return Err(Wrong {
            message: format!(
                "zone {origin} has no key: key {owner} (keyid: {tag}) is of another zone; `dnssec-keygen -a ECDSAP256SHA256 -f KSK {origin}` makes one"
            ),
            span: word.span,
        });
    };
    if own.iter().any(|key| key.is_entry_point()) {
        return Ok(own);
    }
    let at = keys.iter().position(|key| Arc::ptr_eq(key, first));
    let word = at.and_then(|at| named.get(at)).unwrap_or(word);
    Err(Wrong {
        message: format!("DNSKEY in \"{}.key\" is not a CSK/KSK", word.base),
        span: word.span,
    })
}
