//! The directory: which of its files are zones, and what comes and goes.
//!
//! A file that comes is served when it is whole, as a file that is edited is. A zone whose file is gone is served until the directory
//! has been without it for a while: an editor that moves the old file away and writes a new one takes nothing away. What cannot be read
//! takes nothing away either.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chain::admin::Work;
use chain::master::{self, MasterFile, follow};
use chain::served::{Served, ZoneSet};
use host::source::{Content, Doubt, Files, Places, Reading, Source};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{AbortHandle, JoinSet};
use wire::NameBuf;
use zone::DigestPolicy;

/// Who serves the files.
const AUTO: master::Directive = chain::directive!("auto");
/// How deep directories are entered.
const DEEPEST: usize = 32;
/// The most troubles that are told at a time.
const TROUBLES: usize = 5;

/// Which files are zones, and of which name.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    /// What a file's name has to match, somewhere.
    pub(super) name: chain::pattern::Pattern,
    /// The origin, with what the groups matched for `${1}`, `${2}` and so on.
    pub(super) template: String,
}

impl Default for Pattern {
    fn default() -> Self {
        Self {
            name: chain::pattern::Pattern::new(r"db\.(.*)")
                .unwrap_or_else(|_| unreachable!("it is an expression")),
            template: "${1}".to_owned(),
        }
    }
}

impl Pattern {
    /// The origin of the zone in a file of this name; a message where the name gives none.
    fn origin(&self, path: &Path) -> Option<Result<NameBuf, String>> {
        let name = path.file_name()?.to_str()?;
        let found = self.name.captures(name)?;
        let mut origin = String::new();
        found.expand(&self.template, &mut origin);
        if origin.is_empty() {
            return None;
        }
        let parsed = origin.parse::<NameBuf>().map(NameBuf::to_lower);
        Some(parsed.map_err(|why| format!("its origin would be {origin:?}: {why}")))
    }
}

/// What a directory holds.
#[derive(Default)]
pub(super) struct Listing {
    /// Origins and their files.
    pub(super) zones: BTreeMap<String, (NameBuf, PathBuf)>,
    /// What is odd, for the log.
    pub(super) oddities: Vec<String>,
    /// The directories that were read, and those that could not be.
    directories: Vec<PathBuf>,
    unread: Vec<PathBuf>,
}

impl Listing {
    /// Lists `directory` and those in it, in the order of names. Symbolic links are files here, `directory` itself apart, and what is
    /// hidden or an editor's copy is no zone.
    pub(super) fn read(directory: &Path, pattern: &Pattern, files: &mut Files) -> Self {
        let mut listing = Self::default();
        listing.enter(directory, pattern, (files, 0));
        listing
    }

    fn enter(&mut self, directory: &Path, pattern: &Pattern, (files, depth): (&mut Files, usize)) {
        let Ok(names) = files.list(directory) else {
            self.unread.push(directory.to_path_buf());
            return;
        };
        self.directories.push(directory.to_path_buf());
        for path in names {
            let is_directory = std::fs::symlink_metadata(&path).is_ok_and(|found| found.is_dir());
            if is_directory && depth < DEEPEST && !is_foreign(&path) {
                self.enter(&path, pattern, (files, depth + 1));
            } else if !is_directory && !host::is_hidden(&path) {
                self.add(path, pattern);
            }
        }
    }

    fn add(&mut self, path: PathBuf, pattern: &Pattern) {
        let apex = match pattern.origin(&path) {
            Some(Ok(apex)) => apex,
            Some(Err(why)) => {
                self.oddities
                    .push(format!("{} is no zone: {why}", path.display()));
                return;
            }
            None => return,
        };
        let Some((_, first)) = self.zones.get_mut(&apex.to_string()) else {
            self.zones.insert(apex.to_string(), (apex, path));
            return;
        };
        // The files of a ConfigMap are there twice: in a directory that is replaced, and as links into it.
        let real = |path: &Path| std::fs::canonicalize(path).ok();
        if real(first).is_some_and(|first| real(&path) == Some(first)) {
            *first = path;
            return;
        }
        self.oddities.push(format!(
            "Multiple zone files match origin {:?}: using {first:?} instead of {path:?}",
            apex.to_string()
        ));
    }
}

/// Whether a directory is hidden, as that of a version control system is. Those of a ConfigMap, which begin with two dots, are not.
fn is_foreign(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    name.starts_with(b".") && !name.starts_with(b"..")
}

/// The files that are zones. The next configuration begins with these.
#[derive(Default)]
pub(super) struct Kept(Mutex<HashMap<String, Found>>);

/// A file that is a zone.
struct Found {
    path: PathBuf,
    zone: Arc<Served>,
    file: Arc<master::Kept>,
}

impl Kept {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Found>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why files are not served, if some are not.
    pub(super) fn files(&self) -> Vec<Arc<master::Kept>> {
        let found = self.lock();
        found.values().map(|found| found.file.clone()).collect()
    }

    /// Why some of them are not served, if so.
    pub(super) fn trouble(&self) -> Option<String> {
        let mut all: Vec<String> = self
            .lock()
            .values()
            .filter_map(|found| found.file.trouble())
            .collect();
        if all.is_empty() {
            return None;
        }
        all.sort_unstable();
        let more = all.len().saturating_sub(TROUBLES);
        all.truncate(TROUBLES);
        if more > 0 {
            all.push(format!("and {more} more"));
        }
        Some(all.join("; "))
    }
}

/// What a directory tells those who follow its files.
enum Tell {
    /// A file has come.
    Follow(String, Work),
    /// A file is gone, or will be followed anew.
    Leave(String),
}

/// A directory at work.
pub(super) struct Directory {
    path: PathBuf,
    pattern: Pattern,
    interval: Duration,
    digest: DigestPolicy,
    kept: Arc<Kept>,
    set: Arc<ZoneSet>,
    tell: UnboundedSender<Tell>,
    /// The directories that were read last.
    directories: Vec<PathBuf>,
    /// What was told already.
    told: BTreeSet<String>,
}

/// A directory that was read for the first time.
pub(super) struct Opened {
    /// The zones that it has, now and later.
    pub(super) set: Arc<ZoneSet>,
    /// The files.
    pub(super) kept: Arc<Kept>,
    /// What follows it; nothing where nobody looks again.
    pub(super) work: Option<Work>,
}

impl Directory {
    /// Reads the directory and its zones, and goes on where the configuration before has the same.
    pub(super) fn open(
        path: PathBuf,
        pattern: Pattern,
        (interval, digest): (Duration, DigestPolicy),
    ) -> Opened {
        let (tell, told) = unbounded_channel();
        let mut directory = Self {
            directories: vec![path.clone()],
            path,
            pattern,
            interval,
            digest,
            kept: Arc::default(),
            set: Arc::new(ZoneSet::changing()),
            tell,
            told: BTreeSet::new(),
        };
        let (set, kept) = (directory.set.clone(), directory.kept.clone());
        let live = host::source::live::<Kept>(&directory.key());
        let source = match live.filter(|_| !interval.is_zero()) {
            Some(live) => {
                let before: Vec<_> = live
                    .kept
                    .lock()
                    .values()
                    .filter_map(|found| {
                        let apex = NameBuf::from_name(found.zone.apex());
                        (!found.zone.load().is_none()).then(|| (apex, found.path.clone()))
                    })
                    .collect();
                directory.begin(before);
                Source::waiting(directory, &live)
            }
            None => {
                let mut files = Files::default();
                let listing = Listing::read(&directory.path, &directory.pattern, &mut files);
                directory.say(&listing);
                directory.directories = listing.directories;
                directory.begin(listing.zones.into_values());
                Source::new(directory, files)
            }
        };
        let work = (!interval.is_zero()).then(|| work(source, told, interval));
        Opened { set, kept, work }
    }

    /// What tells this use of a directory from others.
    fn key(&self) -> String {
        let (path, pattern) = (self.path.display(), &self.pattern);
        format!("auto {path} {} {}", pattern.name.text(), pattern.template)
    }

    /// Serves these files, which are whole.
    fn begin(&mut self, zones: impl IntoIterator<Item = (NameBuf, PathBuf)>) {
        for (apex, path) in zones {
            let file = MasterFile::listed(AUTO, path, Served::new(apex.as_name()));
            let file = file.digest(self.digest);
            let source = file.resume().unwrap_or_else(load);
            self.add(apex.to_string(), source);
        }
        self.publish();
    }

    /// Takes up a file.
    fn add(&self, origin: String, source: Source<MasterFile>) {
        let file = source.content();
        let Some(zone) = file.zones().next() else {
            return;
        };
        let found = Found {
            path: file.path().to_path_buf(),
            zone,
            file: file.kept(),
        };
        self.kept.lock().insert(origin.clone(), found);
        if !self.interval.is_zero() {
            let _ = self
                .tell
                .send(Tell::Follow(origin, follow(source, self.interval)));
        }
    }

    /// Makes the zones of all files those that answer.
    fn publish(&self) {
        let zones = self
            .kept
            .lock()
            .values()
            .map(|found| found.zone.clone())
            .collect();
        self.set.set(zones);
    }

    /// Says what is odd, each thing once.
    fn say(&mut self, listing: &Listing) {
        let now: BTreeSet<String> = listing.oddities.iter().cloned().collect();
        for what in now.difference(&self.told) {
            tracing::warn!(target: "plugin/auto", "{what}");
        }
        self.told = now;
    }
}

/// Loads a file for the first time. One with a mistake is no zone until it is mended.
fn load(file: MasterFile) -> Source<MasterFile> {
    let (source, mistakes) = file.load();
    if !mistakes.is_empty() {
        let mistakes: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        let apex = source.content().zones().next();
        let apex = apex.map(|zone| zone.apex().to_string()).unwrap_or_default();
        for why in &mistakes {
            tracing::error!(target: "plugin/auto", "Parsing zone {apex:?}: {why}");
        }
        source.content().kept().refuse(mistakes.join("; "));
    }
    source
}

/// Follows the directory and its files.
fn work(source: Source<Directory>, told: UnboundedReceiver<Tell>, interval: Duration) -> Work {
    let path = source.content().path.clone();
    // It is followed from here on, not only when the work begins.
    let followed = source.follow(interval);
    let mut told = told;
    Box::pin(async move {
        let mut files = JoinSet::new();
        files.spawn(async move {
            let error = followed.await;
            tracing::error!(target: "plugin/auto", "No longer watching {}: {error}", path.display());
        });
        let mut following: HashMap<String, AbortHandle> = HashMap::new();
        while let Some(told) = told.recv().await {
            let ended = match told {
                Tell::Follow(origin, work) => following.insert(origin, files.spawn(work)),
                Tell::Leave(origin) => following.remove(&origin),
            };
            if let Some(ended) = ended {
                ended.abort();
            }
            while files.try_join_next().is_some() {}
        }
    })
}

impl Content for Directory {
    type Draft = Listing;

    fn places(&mut self) -> Places {
        Places {
            directories: self.directories.clone(),
            ..Places::default()
        }
    }

    fn read(&mut self, files: &mut Files) -> Reading<Listing> {
        let listing = Listing::read(&self.path, &self.pattern, files);
        let kept = self.kept.lock();
        let whole = kept.keys().all(|origin| listing.zones.contains_key(origin));
        let doubt = if whole { Doubt::None } else { Doubt::Gone };
        Reading {
            doubt,
            usable: !listing.directories.is_empty(),
            draft: listing,
        }
    }

    /// Follows what has come, and drops what is gone.
    fn take(&mut self, listing: Listing, _: &Files) {
        self.say(&listing);
        let gone: Vec<String> = self
            .kept
            .lock()
            .iter()
            .filter(|(origin, _)| !listing.zones.contains_key(*origin))
            .filter(|(_, found)| {
                !listing
                    .unread
                    .iter()
                    .any(|unread| found.path.starts_with(unread))
            })
            .map(|(origin, _)| origin.clone())
            .collect();
        for origin in gone {
            self.kept.lock().remove(&origin);
            let _ = self.tell.send(Tell::Leave(origin.clone()));
            tracing::info!(target: "plugin/auto", "Deleting zone `{origin}'");
        }
        for (origin, (apex, path)) in listing.zones {
            let before = self
                .kept
                .lock()
                .get(&origin)
                .map(|found| (found.path == path, found.zone.clone()));
            let zone = match before {
                Some((true, _)) => continue,
                // The same zone, from another file.
                Some((false, zone)) => zone,
                None => Served::new(apex.as_name()),
            };
            let file = MasterFile::listed(AUTO, path, zone).digest(self.digest);
            self.add(origin, Source::unread(file));
        }
        self.directories = listing.directories;
        self.directories.extend(listing.unread);
        self.publish();
    }

    fn kept(&self) -> Option<(String, Arc<dyn Any + Send + Sync>)> {
        Some((self.key(), self.kept.clone()))
    }

    fn fail(&mut self, path: &Path, why: &str) {
        tracing::warn!(target: "plugin/auto", "error reading {}: {why}", path.display());
    }
}
