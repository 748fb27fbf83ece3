//! Where a directive's entries come from: files that are read again when they were edited, and lines in the Corefile.

use std::any::Any;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use chain::admin::Work;
use corefile::Loader;
use host::is_hidden;
use host::source::{Content, Doubt, Files, Places, Reading, Source};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use telemetry::metrics;
use wire::NameBuf;

use super::lines::{Complaint, Gathered};
use super::table::Table;

/// The most that is read of one file, in octets.
const FILE: u64 = 256 << 20;
/// How much of a file is read at a time.
const CHUNK: usize = 64 << 10;

/// The files and inline lines of one directive.
pub(super) struct HostsFiles {
    /// A file, a directory or a pattern.
    pub(super) path: PathBuf,
    /// The lines in the Corefile, with the place of the directive.
    pub(super) inline: String,
    /// The zones whose names are kept.
    pub(super) origins: Vec<NameBuf>,
    /// The TTL of the records.
    pub(super) ttl: u32,
    /// Whether addresses get PTR records.
    pub(super) reverse: bool,
    /// Where the entries go.
    pub(super) kept: Arc<Kept>,
}

/// The entries. The next configuration goes on with the same, so that neither reads half a file, nor serves older data than the other.
#[derive(Default)]
pub(super) struct Kept {
    /// The entries.
    pub(super) table: Arc<ArcSwap<Table>>,
    /// What tells the content that they were made of.
    made_of: Mutex<Option<u64>>,
}

/// What was read: the entries, and whether any file was.
pub(super) struct Draft {
    gathered: Gathered,
    table: Table,
    read: usize,
}

impl HostsFiles {
    /// Reads the files for the first time. Where the configuration before has the same directive, its entries are served until an
    /// edit that came meanwhile is whole.
    pub(super) fn load(mut self) -> Source<Self> {
        let Some(live) = host::source::live::<Kept>(&self.key()) else {
            return Source::load(self);
        };
        self.kept = live.kept.clone();
        let mut files = Files::default();
        for path in self.look(&mut files) {
            let _ = files.digest(&path, FILE);
        }
        if self.is(&files) {
            return Source::new(self, files);
        }
        Source::waiting(self, &live)
    }

    /// Whether the entries are those of `files`.
    fn is(&self, files: &Files) -> bool {
        *self.made_of() == Some(files.sum())
    }

    fn made_of(&self) -> MutexGuard<'_, Option<u64>> {
        let made_of = self.kept.made_of.lock();
        made_of.unwrap_or_else(PoisonError::into_inner)
    }

    /// What tells this directive from others: all that its entries depend on but the files' content.
    fn key(&self) -> String {
        format!(
            "hosts {} {:?} {} {} {}",
            self.path.display(),
            self.origins,
            self.ttl,
            self.reverse,
            self.inline
        )
    }

    /// The files to read, by name; what a directory or a pattern stands for is taken down.
    fn look(&mut self, files: &mut Files) -> Vec<PathBuf> {
        let paths = self.files();
        if !self.is_single() {
            let _ = files.list(&fixed_part(&self.path));
        }
        paths
    }

    /// Whether it names one file, and not a directory or a pattern.
    fn is_single(&self) -> bool {
        !is_pattern(&self.path) && !self.path.is_dir()
    }

    /// The files to read, by name.
    fn files(&self) -> Vec<PathBuf> {
        if is_pattern(&self.path) {
            let found = corefile::Disk.glob(&self.path).unwrap_or_default();
            return found.into_iter().filter(|path| !path.is_dir()).collect();
        }
        if !self.path.is_dir() {
            return vec![self.path.clone()];
        }
        let entries = std::fs::read_dir(&self.path).into_iter().flatten();
        let mut found: Vec<PathBuf> = entries
            .filter_map(|entry| entry.ok().map(|entry| entry.path()))
            .filter(|path| !path.is_dir() && !is_hidden(path))
            .collect();
        found.sort();
        found
    }

    fn measure(&self, entries: usize, modified: Option<SystemTime>) {
        let family: Family<Vec<(String, String)>, Gauge> = metrics::family(
            "coredns_hosts_entries",
            "The combined number of entries in hosts and Corefile.",
        );
        family
            .get_or_create(&vec![(
                "hostsfile".to_owned(),
                self.path.display().to_string(),
            )])
            .set(entries as i64);
        let reloaded: Gauge<f64, AtomicU64> = metrics::metric(
            "coredns_hosts_reload_timestamp_seconds",
            "The timestamp of the last reload of hosts file.",
            Gauge::default,
        );
        if let Some(since) =
            modified.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok())
        {
            reloaded.set(since.as_secs_f64());
        }
    }
}

/// Follows the edits of hosts files, and looks every `interval` in case nobody tells of them.
pub(super) fn follow(source: Source<HostsFiles>, interval: Duration) -> Work {
    Box::pin(async move {
        let error = source.follow(interval).await;
        tracing::error!(target: "plugin/hosts", "No longer watching a hosts file: {error}");
    })
}

impl Content for HostsFiles {
    type Draft = Draft;

    fn places(&mut self) -> Places {
        let directories = if self.is_single() {
            Vec::new()
        } else {
            vec![fixed_part(&self.path)]
        };
        Places {
            files: self.files(),
            directories,
            unsure: false,
        }
    }

    fn most(&self) -> u64 {
        FILE
    }

    fn read(&mut self, files: &mut Files) -> Reading<Draft> {
        let mut gathered = Gathered::default();
        let mut read = 0;
        let mut cut = false;
        for path in self.look(files) {
            let place = path.display().to_string();
            let taken = files.each(&path, FILE, |file| {
                let file = BufReader::with_capacity(CHUNK, file);
                gathered.read_from(&place, file, FILE, &self.origins)
            });
            if taken.is_ok() {
                read += 1;
                cut |= gathered.is_cut();
            }
        }
        gathered.read("inline", self.inline.as_bytes(), &self.origins);
        let table = Table::new(&gathered, self.ttl, self.reverse);
        let before = self.kept.table.load().len();
        let doubt = if table.len() * 2 < before {
            Doubt::Cut
        } else if cut {
            Doubt::Doubtful
        } else {
            Doubt::None
        };
        Reading {
            usable: read > 0 && !self.is_single(),
            draft: Draft {
                gathered,
                table,
                read,
            },
            doubt,
        }
    }

    fn take(&mut self, draft: Draft, files: &Files) {
        if self.is(files) {
            return;
        }
        let Draft {
            gathered,
            table,
            read,
        } = draft;
        // That a single file is missing has been said at the start.
        if let Some((path, why)) = files.failure()
            && (read > 0 || path.exists())
        {
            self.fail(path, why);
        }
        for complaint in &gathered.complaints {
            tracing::warn!(target: "plugin/hosts", "{complaint}");
        }
        let untold = gathered.bad - gathered.complaints.len();
        if untold > 0 {
            tracing::warn!(
                target: "plugin/hosts",
                "{}: {untold} more bad lines or names, {} in all; the others are served",
                self.path.display(),
                gathered.bad
            );
        }
        let before = self.kept.table.load().len();
        if table.len() * 2 < before {
            tracing::warn!(
                target: "plugin/hosts",
                "{} has lost more than half of its entries: {before} before, {} now",
                self.path.display(),
                table.len()
            );
        }
        tracing::debug!(target: "plugin/hosts", "Parsed hosts file into {} entries", table.len());
        self.measure(table.len(), files.modified());
        self.kept.table.store(Arc::new(table));
        *self.made_of() = Some(files.sum());
    }

    fn kept(&self) -> Option<(String, Arc<dyn Any + Send + Sync>)> {
        Some((self.key(), self.kept.clone()))
    }

    fn fail(&mut self, path: &Path, why: &str) {
        tracing::warn!(target: "plugin/hosts", "Failed to read {}: {why}", path.display());
    }
}

/// What is wrong with the lines of a file; for `check`.
pub(super) fn complaints(path: &Path) -> Vec<Complaint> {
    let mut gathered = Gathered::default();
    let place = path.display().to_string();
    let read = Files::default().each(path, FILE, |file| {
        let file = BufReader::with_capacity(CHUNK, file);
        gathered.read_from(&place, file, FILE, &[])
    });
    match read {
        Ok(()) => gathered.complaints,
        Err(_) => Vec::new(),
    }
}

/// Whether a path is a pattern of files.
pub(super) fn is_pattern(path: &Path) -> bool {
    path.as_os_str()
        .as_encoded_bytes()
        .iter()
        .any(|octet| matches!(octet, b'*' | b'?'))
}

/// The part of a pattern before its first wildcard; all of a plain path.
fn fixed_part(path: &Path) -> PathBuf {
    if !is_pattern(path) {
        return path.to_path_buf();
    }
    let fixed: PathBuf = path
        .components()
        .take_while(|part| !is_pattern(Path::new(part.as_os_str())))
        .collect();
    if fixed.as_os_str().is_empty() {
        PathBuf::from(".")
    } else {
        fixed
    }
}
