//! When to reload: the Corefile and what it imports, followed by [`host::source`].
//!
//! A change is a change of the meaning: the SHA-512 of the words and structure. What is reloaded is the text that was found whole, not
//! whatever stands in the file by then. An edit in place is left alone for a while whatever it looks like: each directive counts.

use std::cell::RefCell;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chain::admin::ReloadEvery;
use corefile::{Disk, Loader, Report, Severity};
use host::source::{Content, Doubt, Files, Places, Reading};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use telemetry::metrics;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};
use tracing::{error, info, warn};

use crate::input::Source;
use crate::snapshot;

/// How long a Corefile that has lost its `reload` is still followed: the rest of it may be on its way.
const GRACE: Duration = Duration::from_secs(60);
/// The most that is read of one file, in octets.
const FILE: u64 = 64 << 20;

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

/// Tells when the Corefile has changed.
#[derive(Default)]
pub(crate) struct Changes {
    every: Option<(ReloadEvery, Duration)>,
    running: String,
    heard: Arc<Heard>,
    follower: Option<AbortHandle>,
    /// When following ends, since the Corefile has no `reload` any more.
    until: Option<Instant>,
}

/// What the follower has found.
#[derive(Default)]
struct Heard {
    told: Notify,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The meaning that was tried last, so that a broken edit is tried once.
    seen: String,
    /// A text that was found whole, and not yet tried.
    edit: Option<Source>,
}

impl Heard {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Changes {
    /// Follows `source` from now on, if `every` says so; `hash` is what runs, `files` is what it was read from.
    pub(crate) fn watch(
        &mut self,
        every: Option<ReloadEvery>,
        source: &Source,
        files: &[PathBuf],
        hash: String,
    ) {
        self.heard.state().seen.clone_from(&hash);
        self.running = hash;
        let before = self.every.map(|(every, _)| every);
        if every == before {
            if every.is_some() {
                self.until = None;
            }
            return;
        }
        let Some(every) = every else {
            warn!(
                target: "plugin/reload",
                "The Corefile no longer has `reload`: edits are no longer noticed; SIGUSR1 reads it again. In case it was cut off while it was written, it is watched for another {GRACE:?}"
            );
            self.every = None;
            self.until = Some(Instant::now() + GRACE);
            return;
        };
        let interval = offset(every);
        self.every = Some((every, interval));
        self.until = None;
        self.end();
        if let Source::File(path) = source
            && std::fs::metadata(path).is_ok_and(|found| !found.is_file())
        {
            // A pipe or a device tells nothing twice.
            return;
        }
        let content = Corefile {
            source: source.clone(),
            files: files.to_vec(),
            blocks: 0,
            heard: self.heard.clone(),
        };
        let follower = tokio::spawn(async move {
            let error = host::source::Source::unread(content).follow(interval).await;
            error!(target: "plugin/reload", "The Corefile is no longer watched: {error}");
        });
        self.follower = Some(follower.abort_handle());
    }

    fn end(&mut self) {
        if let Some(follower) = self.follower.take() {
            follower.abort();
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

    /// Waits until the Corefile has changed; for ever where `reload` is not configured.
    pub(crate) async fn wait(&mut self) {
        while self.heard.state().edit.is_none() {
            // What is awaited can be dropped at any time: what was heard stands in the state.
            match self.until {
                Some(until) => tokio::select! {
                    () = self.heard.told.notified() => {}
                    () = sleep_until(until) => {
                        self.until = None;
                        self.end();
                    }
                },
                None => self.heard.told.notified().await,
            }
        }
    }

    /// The Corefile is tried as it is, for another reason than an edit: the same text is not tried again for having been edited.
    pub(crate) fn tried(&mut self, source: &Source) {
        if self.every.is_none() {
            return;
        }
        if let Ok((name, text)) = source.read() {
            let (corefile, report) = corefile::parse(&name, text, &Disk);
            let mut state = self.heard.state();
            state.seen = meaning(&corefile, &report);
            state.edit = None;
        }
    }

    /// What to load, if the Corefile means something else than what was tried last.
    pub(crate) fn edit(&mut self) -> Option<Source> {
        self.heard.state().edit.take()
    }
}

impl Drop for Changes {
    fn drop(&mut self) {
        self.end();
    }
}

/// A Corefile as it is followed.
struct Corefile {
    source: Source,
    /// It and its imports.
    files: Vec<PathBuf>,
    /// How many server blocks it had.
    blocks: usize,
    heard: Arc<Heard>,
}

/// What was read of it.
struct Draft {
    hash: String,
    text: Source,
    files: Vec<PathBuf>,
    blocks: usize,
}

/// Reads a Corefile's files, and takes down which.
struct Recorded<'a>(RefCell<&'a mut Files>);

impl Loader for Recorded<'_> {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.0.borrow_mut().read(path, FILE)
    }

    fn glob(&self, pattern: &Path) -> io::Result<Vec<PathBuf>> {
        let found = Disk.glob(pattern);
        if let Ok(found) = &found {
            self.0.borrow_mut().note_names(pattern, found);
        }
        found
    }

    fn variable(&self, name: &str) -> Option<String> {
        Disk.variable(name)
    }
}

impl Content for Corefile {
    type Draft = Option<Draft>;

    fn places(&mut self) -> Places {
        let parent = |file: &PathBuf| match file.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
            _ => PathBuf::from("."),
        };
        Places {
            files: self.files.clone(),
            directories: self.files.iter().map(parent).collect(),
            // An import may name files that are not there yet.
            unsure: true,
        }
    }

    fn most(&self) -> u64 {
        FILE
    }

    fn read(&mut self, files: &mut Files) -> Reading<Option<Draft>> {
        let (name, text) = match &self.source {
            Source::Text { name, text } => (name.clone(), text.clone()),
            Source::File(path) => match files.read(path, FILE) {
                Ok(text) => (path.display().to_string(), text),
                Err(_) => {
                    return Reading {
                        draft: None,
                        doubt: Doubt::Cut,
                        usable: false,
                    };
                }
            },
        };
        let loader = Recorded(RefCell::new(files));
        let (corefile, report) = corefile::parse(&name, text.clone(), &loader);
        let hash = meaning(&corefile, &report);
        let reloads = |block: &corefile::ServerBlock| {
            let mut names = block
                .directives
                .iter()
                .map(|directive| &directive.name.text);
            names.any(|name| name == "reload")
        };
        let blocks = corefile.blocks.len();
        let lost = blocks * 2 < self.blocks || !corefile.blocks.iter().any(reloads);
        Reading {
            draft: Some(Draft {
                hash,
                text: Source::Text { name, text },
                files: corefile.files(),
                blocks,
            }),
            doubt: if lost { Doubt::Cut } else { Doubt::Doubtful },
            // What is wrong with an import is said with its place when it is loaded.
            usable: true,
        }
    }

    fn take(&mut self, draft: Option<Draft>, _: &Files) {
        let Some(draft) = draft else { return };
        self.files = draft.files;
        self.blocks = draft.blocks;
        let mut state = self.heard.state();
        if state.seen != draft.hash {
            state.seen = draft.hash;
            state.edit = Some(draft.text);
            self.heard.told.notify_one();
        }
    }

    fn fail(&mut self, path: &Path, why: &str) {
        error!(
            target: "plugin/reload",
            "Corefile changed but reload failed: open {}: {why}", path.display()
        );
    }
}

/// What tells a Corefile's meaning. One that is broken in another way is another one; what is only a warning is no part of it.
fn meaning(corefile: &corefile::Corefile, report: &Report) -> String {
    let mut hash = snapshot::hash(corefile);
    for found in report.iter() {
        if found.severity == Severity::Error {
            hash.push_str(&found.message);
        }
    }
    hash
}

/// The interval with this process's share of the jitter: within half of it, early or late.
fn offset(every: ReloadEvery) -> Duration {
    let jitter = every.jitter.as_secs_f64();
    let share = (host::random::random::<f64>() - 0.5) * jitter;
    Duration::from_secs_f64((every.interval.as_secs_f64() + share).max(1.0))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// What is to be loaded once an edit was seen.
    async fn edited(changes: &mut Changes) -> String {
        let heard = tokio::time::timeout(Duration::from_secs(10), changes.wait()).await;
        assert!(heard.is_ok(), "the edit is heard long before the interval");
        match changes.edit() {
            Some(Source::Text { text, .. }) => String::from_utf8(text).expect("text"),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn edits_are_seen_at_once_and_only_their_meaning_counts() {
        let directory =
            std::env::temp_dir().join(format!("nameplate-reload-{}", std::process::id()));
        fs::create_dir_all(&directory).expect("a directory");
        let (file, import) = (directory.join("Corefile"), directory.join("lan"));
        let good = ". {\n reload\n import lan\n}\n";
        fs::write(&file, good).expect("written");
        fs::write(&import, "whoami\n").expect("written");
        let source = Source::File(file.clone());
        let (name, text) = source.read().expect("read");
        let (corefile, _) = corefile::parse(&name, text, &Disk);
        let every = Some(ReloadEvery {
            interval: Duration::from_secs(600),
            jitter: Duration::from_secs(2),
        });
        let mut changes = Changes::default();
        let running = snapshot::hash(&corefile);
        changes.watch(every, &source, &corefile.files(), running);
        // As an editor does: a new file takes the name of the old one.
        let replace = |path: &Path, text: &str| {
            let new = directory.join(".new");
            fs::write(&new, text).expect("written");
            fs::rename(&new, path).expect("renamed");
        };
        // The first look, which finds nothing new, is under way; edits are seen from here on.
        replace(&import, "log\n");
        assert_eq!(edited(&mut changes).await, good);
        // Another spelling is no edit, what follows it is one.
        replace(&file, "# the same\n.   {\n  reload\n  import   lan\n}\n");
        replace(&file, ". {\n");
        assert_eq!(edited(&mut changes).await, ". {\n");
        // In place, cut off in the middle for a while.
        let (first, rest) = good.split_at(8);
        fs::write(&file, first).expect("written");
        tokio::time::sleep(Duration::from_millis(600)).await;
        fs::write(&file, format!("{first}{rest}")).expect("written");
        assert_eq!(edited(&mut changes).await, good);
        assert!(changes.edit().is_none(), "an edit is tried once");
        // The line that asks for it is gone: what follows soon is still seen.
        changes.watch(None, &source, &[], String::new());
        replace(&file, ". {\n whoami\n}\n");
        assert_eq!(edited(&mut changes).await, ". {\n whoami\n}\n");
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
