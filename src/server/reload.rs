//! When to reload: the Corefile and what it imports, looked at when an edit is seen and at an interval.
//!
//! A change is a change of the meaning: the SHA-512 of the words and structure. The directories of the files are watched (an editor
//! renames, a ConfigMap swaps a symbolic link); the interval is for file systems that tell nothing.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use chain::admin::ReloadEvery;
use chain::metrics;
use corefile::Disk;
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, info};

use crate::input::Source;
use crate::snapshot;

/// How long edits may go on before they are looked at.
const SETTLE: Duration = Duration::from_millis(200);

/// `coredns_reload_failed_total`.
pub(crate) struct Counts(Counter);

impl Counts {
    pub(crate) fn new() -> Self {
        Self(metrics::metric(
            "coredns_reload_failed",
            "Counter of the number of failed reload attempts.",
            Counter::default,
        ))
    }

    pub(crate) fn failed(&self) {
        self.0.inc();
    }
}

/// The labels of `coredns_reload_version_info`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Version {
    hash: &'static str,
    value: String,
}

type Versions = Family<Version, Gauge<i64, AtomicI64>>;

/// Tells when the Corefile may have changed.
#[derive(Default)]
pub(crate) struct Changes {
    every: Option<(ReloadEvery, Duration)>,
    next: Option<Instant>,
    running: String,
    /// What was looked at last, so that a broken edit is tried once.
    seen: String,
    watcher: Option<(RecommendedWatcher, BTreeSet<PathBuf>)>,
    edited: Arc<Notify>,
}

impl Changes {
    /// Watches `files` from now on, if `every` says so; `hash` is what runs.
    pub(crate) fn watch(&mut self, every: Option<ReloadEvery>, files: &[PathBuf], hash: String) {
        self.seen.clone_from(&hash);
        self.running = hash;
        if every != self.every.map(|(every, _)| every) {
            self.every = every.map(|every| (every, offset(every)));
        }
        self.next = self.every.map(|(_, interval)| Instant::now() + interval);
        let directories: BTreeSet<PathBuf> = files
            .iter()
            .filter(|_| self.every.is_some())
            .map(|file| match file.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
                _ => Path::new(".").to_path_buf(),
            })
            .collect();
        if self
            .watcher
            .as_ref()
            .is_some_and(|(_, watched)| *watched == directories)
        {
            return;
        }
        self.watcher = None;
        if directories.is_empty() {
            return;
        }
        let edited = self.edited.clone();
        let heard = move |event: notify::Result<notify::Event>| {
            if event.is_ok_and(|event| !event.kind.is_access()) {
                edited.notify_one();
            }
        };
        match notify::recommended_watcher(heard) {
            Ok(mut watcher) => {
                for directory in &directories {
                    if let Err(error) = watcher.watch(directory, RecursiveMode::NonRecursive) {
                        debug!(target: "plugin/reload", "{} is not watched: {error}", directory.display());
                    }
                }
                self.watcher = Some((watcher, directories));
            }
            Err(error) => debug!(target: "plugin/reload", "files are not watched: {error}"),
        }
    }

    /// Says in log and metrics what runs, where `reload` is configured.
    pub(crate) fn tell_running(&self) {
        if self.every.is_none() {
            return;
        }
        info!(target: "plugin/reload", "Running configuration SHA512 = {}", self.running);
        let versions: Versions = metrics::family(
            "coredns_reload_version_info",
            "A metric with a constant '1' value labeled by hash, and value which type of hash generated.",
        );
        versions.clear();
        versions
            .get_or_create(&Version {
                hash: "sha512",
                value: self.running.clone(),
            })
            .set(1);
    }

    /// Waits until it is time to look; for ever where `reload` is not configured.
    pub(crate) async fn wait(&mut self) {
        let Some((_, interval)) = self.every else {
            return std::future::pending().await;
        };
        loop {
            let next = *self.next.get_or_insert_with(|| Instant::now() + interval);
            // What is awaited can be dropped at any time: what was heard stands in `next`.
            tokio::select! {
                () = sleep_until(next) => {
                    self.next = Some(Instant::now() + interval);
                    return;
                }
                () = self.edited.notified() => self.next = Some(next.min(Instant::now() + SETTLE)),
            }
        }
    }

    /// Whether the Corefile means something else than what was looked at last. A file that cannot be read now may come back.
    pub(crate) fn changed(&mut self, source: &Source) -> bool {
        let Ok((name, text)) = source.read() else {
            return false;
        };
        let (corefile, report) = corefile::parse(&name, text, &Disk);
        let mut hash = snapshot::hash(&corefile);
        for found in report.iter() {
            // Broken in another way is another edit.
            hash.push_str(&found.message);
        }
        let changed = hash != self.seen;
        self.seen = hash;
        changed
    }
}

/// The interval with this process's share of the jitter: within half of it, early or late.
fn offset(every: ReloadEvery) -> Duration {
    let jitter = every.jitter.as_secs_f64();
    let share = (rand::random::<f64>() - 0.5) * jitter;
    Duration::from_secs_f64((every.interval.as_secs_f64() + share).max(1.0))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[tokio::test]
    async fn edits_are_seen_at_once_and_only_their_meaning_counts() {
        let directory =
            std::env::temp_dir().join(format!("nameplate-reload-{}", std::process::id()));
        fs::create_dir_all(&directory).expect("a directory");
        let (file, import) = (directory.join("Corefile"), directory.join("lan"));
        fs::write(&file, ". {\nimport lan\n}\n").expect("written");
        fs::write(&import, "whoami\n").expect("written");
        let source = Source::File(file.clone());
        let (name, text) = source.read().expect("read");
        let (corefile, _) = corefile::parse(&name, text, &Disk);
        let every = ReloadEvery {
            interval: Duration::from_secs(600),
            jitter: Duration::from_secs(2),
        };
        let mut changes = Changes::default();
        changes.watch(Some(every), &corefile.files(), snapshot::hash(&corefile));
        assert!(!changes.changed(&source), "nothing was edited");
        for (path, text, expected) in [
            (&import, "log\n", true),
            (&file, "# the same\n.   {\n  import   lan\n}\n", false),
            (&file, ". {\n", true),
            (&file, ". {\nimport lan\n}\n", true),
        ] {
            // As an editor does: a new file takes the name of the old one.
            let new = directory.join("new");
            fs::write(&new, text).expect("written");
            fs::rename(&new, path).expect("renamed");
            let heard = tokio::time::timeout(Duration::from_secs(5), changes.wait()).await;
            assert!(heard.is_ok(), "the edit is heard long before the interval");
            assert_eq!(changes.changed(&source), expected, "{text:?}");
            assert!(!changes.changed(&source), "an edit is tried once");
        }
        fs::remove_file(&file).expect("removed");
        assert!(
            !changes.changed(&source),
            "what cannot be read may come back"
        );
        fs::remove_dir_all(&directory).expect("removed");
    }

    #[test]
    fn jitter_stays_within_its_half() {
        let every = ReloadEvery {
            interval: Duration::from_secs(30),
            jitter: Duration::from_secs(15),
        };
        for _ in 0..1_000 {
            let interval = offset(every).as_secs_f64();
            assert!((22.5..=37.5).contains(&interval));
        }
    }
}
