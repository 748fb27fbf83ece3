//! Where a directive's entries come from, and when to read them again.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use chain::admin::Work;
use chain::metrics;
use chain::watch::{Stamp, Watch, stamp};
use corefile::Loader;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use wire::NameBuf;

use super::lines::Gathered;
use super::table::Table;

/// The most that is read of one file, in octets.
const FILE: u64 = 256 << 20;
/// How much of a file is read at a time.
const CHUNK: usize = 64 << 10;
/// A file that was modified this shortly before it was read may change again within the same tick of the file system's clock.
const TICK: Duration = Duration::from_millis(50);

/// The files and inline lines of one directive.
pub(super) struct Source {
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
    pub(super) table: Arc<ArcSwap<Table>>,
    /// The files as they were read last.
    pub(super) seen: Option<Vec<(PathBuf, Stamp)>>,
    /// Whether a file was ever read.
    pub(super) loaded: bool,
}

impl Source {
    /// Reads everything again if a file has changed; says whether it did. A file or directory that is gone keeps its last content.
    pub(super) fn refresh(&mut self) -> bool {
        let Ok(files) = self.files() else {
            if self.seen.is_none() && !self.loaded {
                self.load(Vec::new());
            }
            return false;
        };
        if self.seen.as_ref() == Some(&files) {
            return false;
        }
        self.load(files);
        true
    }

    /// The files to read, by name.
    fn files(&self) -> io::Result<Vec<(PathBuf, Stamp)>> {
        let stamped = |path: PathBuf| stamp(&path).map(|stamp| (path, stamp));
        if is_pattern(&self.path) {
            let found = corefile::Disk.glob(&self.path)?;
            return Ok(found
                .into_iter()
                .filter(|path| !path.is_dir())
                .filter_map(|path| stamped(path).ok())
                .collect());
        }
        if !self.path.is_dir() {
            return Ok(vec![stamped(self.path.clone())?]);
        }
        let mut found: Vec<PathBuf> = std::fs::read_dir(&self.path)?
            .filter_map(|entry| entry.ok().map(|entry| entry.path()))
            .filter(|path| !path.is_dir() && !is_hidden(path))
            .collect();
        found.sort();
        Ok(found
            .into_iter()
            .filter_map(|path| stamped(path).ok())
            .collect())
    }

    fn load(&mut self, files: Vec<(PathBuf, Stamp)>) {
        let began = SystemTime::now();
        let mut gathered = Gathered::default();
        let mut read = Vec::with_capacity(files.len());
        let mut failed = Vec::new();
        for (path, stamp) in files {
            let place = path.display().to_string();
            let lines =
                open(&path).and_then(|file| gathered.read_from(&place, file, FILE, &self.origins));
            match lines {
                Ok(()) => read.push((path, stamp)),
                Err(error) => {
                    tracing::warn!(target: "plugin/hosts", "Failed to read {}: {error}", path.display());
                    failed.push((path, stamp));
                }
            }
        }
        if read.is_empty() && self.loaded && !failed.is_empty() && !self.path.is_dir() {
            self.seen = Some(failed);
            return;
        }
        gathered.read("inline", self.inline.as_bytes(), &self.origins);
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
        let table = Table::new(&gathered, self.ttl, self.reverse);
        tracing::debug!(target: "plugin/hosts", "Parsed hosts file into {} entries", table.len());
        self.measure(
            table.len(),
            read.iter().map(|(_, stamp)| stamp.modified).max(),
        );
        self.table.store(Arc::new(table));
        self.loaded |= !read.is_empty();
        let settled = read
            .iter()
            .all(|(_, stamp)| stamp.modified + TICK < began || stamp.modified > began);
        read.extend(failed);
        read.sort_by(|(a, _), (b, _)| a.cmp(b));
        self.seen = settled.then_some(read);
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

    /// Looks again whenever a directory tells of a change, and every `interval`.
    pub(super) fn follow(self, interval: Duration) -> Work {
        Box::pin(async move {
            let mut source = self;
            let watch = Watch::new(vec![fixed_part(&source.path)]);
            loop {
                let looked = tokio::task::spawn_blocking(move || {
                    source.refresh();
                    source
                });
                match looked.await {
                    Ok(back) => source = back,
                    Err(error) => {
                        tracing::error!(target: "plugin/hosts", "No longer watching a hosts file: {error}");
                        return;
                    }
                }
                watch.changed(interval).await;
            }
        })
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

/// Whether a file of a directory is left out: hidden, or an editor's.
fn is_hidden(path: &Path) -> bool {
    path.file_name().is_none_or(|name| {
        let name = name.as_encoded_bytes();
        name.starts_with(b".") || name.ends_with(b"~")
    })
}

/// A file to read. A pipe would never end, so it is refused.
fn open(path: &Path) -> io::Result<BufReader<File>> {
    let metadata = std::fs::metadata(path)?;
    if !metadata.is_file() && path != Path::new("/dev/null") {
        return Err(io::Error::other("not a regular file"));
    }
    File::open(path).map(|file| BufReader::with_capacity(CHUNK, file))
}
