//! Master files that are served: loaded at start, and again when one of them, or a file that it includes, was edited.
//!
//! ```text
//! MasterFile ──► load (at start) ──► Source::follow ──► edited, and whole again ──► Served::replace
//!     └── resume: the configuration before serves the same file; its zones go on
//! ```
//!
//! A mistake in a file leaves the zone that serves as it is, and is told as file:line:column. A zone is replaced when its SOA serial is
//! another one.

use std::any::Any;
use std::cell::RefCell;
use std::fmt::{self, Write as _};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use corefile::{Severity, Span};
use host::source::{Content, Doubt, Files, Places, Reading, Source};
use wire::{Name, NameBuf};
use zone::{
    Complaint, DigestPolicy, Digested, FileSystem, Loaded, Loader, MAX_FILE, Reader, is_newer,
};

use crate::admin::Work;
use crate::inspect::{Inspect, Place};
use crate::keeper::ZoneReport;
use crate::served::Served;

/// How grave a line of the log is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Level {
    /// Something does not work.
    Error,
    /// Something is odd.
    Warning,
    /// Something was done.
    Info,
}

/// Who serves a file: its directive, and how it writes to the log. [`directive!`](crate::directive) makes one.
#[derive(Clone, Copy)]
pub struct Directive {
    /// The directive, as it stands in the Corefile.
    pub name: &'static str,
    /// Writes a line.
    pub say: fn(Level, fmt::Arguments<'_>),
}

/// A [`Directive`](master::Directive) of this name, whose lines in the log have the target `plugin/NAME`.
#[macro_export]
macro_rules! directive {
    ($name:literal) => {
        $crate::master::Directive {
            name: $name,
            say: |level, what| match level {
                $crate::master::Level::Error => {
                    tracing::error!(target: concat!("plugin/", $name), "{what}");
                }
                $crate::master::Level::Warning => {
                    tracing::warn!(target: concat!("plugin/", $name), "{what}");
                }
                $crate::master::Level::Info => {
                    tracing::info!(target: concat!("plugin/", $name), "{what}");
                }
            },
        }
    };
}

/// One master file and the zones that are made of it.
pub struct MasterFile {
    directive: Directive,
    path: PathBuf,
    /// Whether every change counts, whatever the serial.
    by_time: bool,
    /// The same for the next change only: a reload of the Corefile reads everything anew.
    fresh: bool,
    /// Whether somebody else tells that the file is gone.
    listed: bool,
    /// The file and what it includes.
    files: Vec<PathBuf>,
    kept: Arc<Kept>,
}

/// The zones. The next configuration goes on with the same, so that neither reads half a file, nor serves older data than the other.
pub struct Kept {
    directive: Directive,
    path: PathBuf,
    /// The zones, and what tells the content that each was made of.
    zones: Vec<(Arc<Served>, Mutex<Option<u64>>)>,
    /// Why a zone that was never served is not.
    refused: Mutex<Option<String>>,
    /// The files that were read last.
    files: Mutex<Vec<PathBuf>>,
    /// What the ZONEMD records of the zones have to show.
    digest: Mutex<DigestPolicy>,
}

/// What a load gave, for each zone.
type Drafts = Vec<Result<Loaded, Vec<Complaint>>>;

impl MasterFile {
    /// A file that has not been read.
    pub fn new(directive: Directive, path: PathBuf, apexes: &[NameBuf]) -> Self {
        let zones = apexes.iter().map(|apex| Served::new(apex.as_name()));
        Self::of(directive, path, zones.collect())
    }

    fn of(directive: Directive, path: PathBuf, zones: Vec<Arc<Served>>) -> Self {
        let files = vec![path.clone()];
        Self {
            directive,
            kept: Arc::new(Kept {
                directive,
                path: path.clone(),
                zones: zones
                    .into_iter()
                    .map(|zone| (zone, Mutex::default()))
                    .collect(),
                refused: Mutex::default(),
                files: Mutex::new(files.clone()),
                digest: Mutex::default(),
            }),
            path,
            by_time: false,
            fresh: false,
            listed: false,
            files,
        }
    }

    /// The same, where every change counts, whatever the serial.
    pub fn by_time(mut self, by_time: bool) -> Self {
        self.by_time = by_time;
        self
    }

    /// What the ZONEMD records of its zones have to show (RFC 8976).
    pub fn digest(self, policy: DigestPolicy) -> Self {
        *lock(&self.kept.digest) = policy;
        self
    }

    /// A file that was found in a directory, for one zone, which an earlier file may have served: that the file is gone is seen and
    /// told of there.
    pub fn listed(directive: Directive, path: PathBuf, zone: Arc<Served>) -> Self {
        let fresh = zone.load().is_some();
        Self {
            fresh,
            listed: true,
            ..Self::of(directive, path, vec![zone])
        }
    }

    /// What tells this use of the file from others.
    fn key(&self) -> String {
        let (name, path) = (self.directive.name, self.path.display());
        let mut key = format!("{name} {:?} {path}", *lock(&self.kept.digest));
        for (zone, _) in &self.kept.zones {
            let _ = write!(key, " {}", zone.apex());
        }
        key
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The zones.
    pub fn zones(&self) -> impl Iterator<Item = Arc<Served>> {
        self.kept.zones.iter().map(|(zone, _)| zone.clone())
    }

    /// What other uses of the zones see of them.
    pub fn kept(&self) -> Arc<Kept> {
        self.kept.clone()
    }

    /// Goes on with the zones of the configuration before, if that has the same zones of the same file: an edit that came meanwhile is
    /// taken once it is whole.
    ///
    /// # Errors
    /// Itself, if there are none.
    pub fn resume(mut self) -> Result<Source<Self>, Self> {
        let live = host::source::live::<Kept>(&self.key());
        let serves = |kept: &Kept| kept.zones.iter().all(|(zone, _)| zone.load().is_some());
        let Some(live) = live.filter(|live| serves(&live.kept)) else {
            return Err(self);
        };
        self.kept = live.kept.clone();
        self.files.clone_from(&lock(&self.kept.files));
        let mut files = Files::default();
        for path in &self.files {
            let _ = files.digest(path, MAX_FILE);
        }
        let sum = Some(files.sum());
        if self
            .kept
            .zones
            .iter()
            .all(|(_, made_of)| *lock(made_of) == sum)
        {
            return Ok(Source::new(self, files));
        }
        self.fresh = true;
        Ok(Source::waiting(self, &live))
    }

    /// Loads all zones for the first time. Gives the mistakes beside it; zones that have some are not served.
    pub fn load(mut self) -> (Source<Self>, Vec<Complaint>) {
        let mut files = Files::default();
        let drafts = self.read(&mut files).draft;
        let mut mistakes = Vec::new();
        for (at, draft) in drafts.into_iter().enumerate() {
            match draft {
                Ok(loaded) => {
                    self.warn(&loaded.warnings);
                    self.store(at, loaded, files.sum());
                    self.inserted(at);
                }
                Err(complaints) => mistakes.extend(complaints),
            }
        }
        self.note(&files);
        self.fresh = false;
        (Source::new(self, files), mistakes)
    }

    /// Waits for a file that cannot be read now.
    pub fn wait_for(self, error: &io::Error) -> Source<Self> {
        let mut files = Files::default();
        files.fail(&self.path, error);
        Source::new(self, files)
    }

    fn store(&self, at: usize, loaded: Loaded, sum: u64) {
        if let Some((zone, made_of)) = self.kept.zones.get(at) {
            if let Digested::Verified(algorithm) = loaded.digested {
                let (apex, path) = (zone.apex(), &self.path);
                self.say(
                    Level::Info,
                    format_args!(
                        "Zone \"{apex}\" in {path:?} matches its ZONEMD record ({algorithm})"
                    ),
                );
            }
            zone.replace(Some(Arc::new(loaded.zone)));
            *lock(made_of) = Some(sum);
        }
    }

    /// Remembers which files were read.
    fn note(&mut self, files: &Files) {
        self.files = files.paths().map(Path::to_path_buf).collect();
        lock(&self.kept.files).clone_from(&self.files);
    }

    /// Says that a zone that was found is served.
    fn inserted(&self, at: usize) {
        if let (true, Some((zone, _))) = (self.listed, self.kept.zones.get(at)) {
            let (apex, path) = (zone.apex(), self.path.display());
            self.say(
                Level::Info,
                format_args!("Inserting zone `{apex}' from: {path}"),
            );
        }
    }

    fn say(&self, level: Level, what: fmt::Arguments<'_>) {
        (self.directive.say)(level, what);
    }

    fn warn(&self, complaints: &[Complaint]) {
        for complaint in complaints {
            let level = match complaint.note {
                true => Level::Info,
                false => Level::Warning,
            };
            self.say(level, format_args!("{complaint}"));
        }
    }

    /// Puts a zone that was read into its place, unless it is the same version; gives why it is not served, if so.
    fn replace(&self, at: usize, loaded: Loaded, sum: u64) -> Option<String> {
        let (zone, made_of) = self.kept.zones.get(at)?;
        // An edit that was taken back is none.
        if *lock(made_of) == Some(sum) {
            return None;
        }
        let (apex, path) = (zone.apex(), &self.path);
        let serial = loaded.zone.serial();
        let before = zone.load().as_ref().map(|zone| zone.serial());
        if let Some(before) = before.filter(|before| *before == serial)
            && !self.by_time
            && !self.fresh
        {
            let why = format!(
                "Zone \"{apex}\" in {path:?} has changed, but its SOA serial has not: {before} is served, {serial} is in the file: \
                 not reloaded"
            );
            self.say(Level::Warning, format_args!("{why}"));
            return Some(why);
        }
        self.warn(&loaded.warnings);
        if let Some((before, now)) = loss(zone, &loaded) {
            self.say(
                Level::Warning,
                format_args!(
                    "Zone \"{apex}\" in {path:?} has lost more than half of its names: {before} before, {now} now"
                ),
            );
        }
        if let Some(before) = before.filter(|&before| before != serial && !is_newer(serial, before))
        {
            self.say(
                Level::Warning,
                format_args!(
                    "Zone \"{apex}\" in {path:?} has a lower SOA serial than before, {serial} instead of {before}: secondaries keep the old version"
                ),
            );
        }
        self.store(at, loaded, sum);
        if before.is_none() && self.listed {
            self.inserted(at);
        } else {
            let done = format_args!(
                "Successfully reloaded zone \"{apex}\" in {path:?} with {serial} SOA serial"
            );
            self.say(Level::Info, done);
        }
        None
    }
}

impl Kept {
    /// Why some of the zones are not served, if so.
    pub fn trouble(&self) -> Option<String> {
        let missing = self.zones.iter().any(|(zone, _)| zone.load().is_none());
        missing.then(|| self.refused())?
    }

    /// Why what the file has now is not served, if so.
    pub fn refused(&self) -> Option<String> {
        lock(&self.refused).clone()
    }

    /// What is known of the zones.
    pub fn reports(&self) -> impl Iterator<Item = ZoneReport> {
        self.zones.iter().map(|(zone, _)| ZoneReport {
            file: Some(self.path.clone()),
            failure: self.refused(),
            ..ZoneReport::new(zone.clone(), self.directive.name)
        })
    }

    /// Reads the file again, whole or not, and serves what is in it, whatever its serials are; `None` where this zone is none of it.
    pub fn reload(self: &Arc<Self>, apex: Name<'_>) -> Option<Result<String, String>> {
        let (zone, _) = self.zones.iter().find(|(zone, _)| zone.apex() == apex)?;
        let mut file = MasterFile {
            directive: self.directive,
            path: self.path.clone(),
            by_time: true,
            fresh: true,
            listed: false,
            files: Vec::new(),
            kept: self.clone(),
        };
        let mut files = Files::default();
        let drafts = file.read(&mut files).draft;
        let mistakes = drafts.iter().filter_map(|draft| draft.as_ref().err());
        let mistakes: Vec<String> = mistakes.flatten().map(Complaint::to_string).collect();
        file.take(drafts, &files);
        let serial = zone.load().as_ref().map(|zone| zone.serial());
        Some(match (mistakes.is_empty(), serial) {
            (true, Some(serial)) => {
                let path = self.path.display();
                Ok(format!(
                    "zone {apex} is served as it is in {path}: {serial} SOA serial"
                ))
            }
            _ => Err(mistakes.join("\n")),
        })
    }

    /// Remembers why zones are not served, for [`Kept::trouble`].
    pub fn refuse(&self, why: String) {
        *lock(&self.refused) = Some(why);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Follows the edits of a master file, and looks every `interval` in case nobody tells of them.
pub fn follow(source: Source<MasterFile>, interval: Duration) -> Work {
    let directive = source.content().directive;
    // It is followed from here on, not only when the work begins.
    let followed = source.follow(interval);
    Box::pin(async move {
        let error = followed.await;
        let what = format_args!("No longer watching a zone file: {error}");
        (directive.say)(Level::Error, what);
    })
}

/// Why a file cannot be opened, if it cannot.
pub fn missing(path: &Path) -> Option<io::Error> {
    host::regular::open(path).err()
}

/// How a directive is written for a zone of its file, if it can be said.
pub type Named<'n> = &'n dyn Fn(&str) -> Option<String>;

/// Says what is wrong with the zone in a file, for `check`. A mistake is as grave as `severity` says, except that with `lenient`
/// records that contradict each other only leave their zone out. `named`, where a SOA record of another zone is taken, says how the
/// directive is written for that zone.
pub fn inspect(
    inspect: &mut Inspect<'_>,
    (path, loader): (&Path, &Loader),
    (severity, lenient): (Severity, bool),
    word: Span,
    named: Option<Named<'_>>,
) {
    let (severity, complaints) = match loader.load(&FileSystem, path) {
        Ok(loaded) => (Severity::Warning, loaded.warnings),
        Err(complaints) => (severity, complaints),
    };
    for complaint in complaints {
        let severity = match complaint.conflict && lenient {
            true => Severity::Warning,
            false if complaint.note => Severity::Note,
            false => severity,
        };
        let place = Place {
            path: &complaint.file,
            line: complaint.line as usize,
            column: complaint.column as usize,
        };
        let message = match complaint.conflict {
            true => format!("{}: the zone is not served", complaint.message),
            false => complaint.message.clone(),
        };
        let zone = complaint.soa_of.map(|zone| zone.to_string());
        let written = zone.and_then(|zone| named?(zone.trim_end_matches('.')));
        let help = written.map(|written| format!("name the zone of the file: `{written}`"));
        inspect.advise_at(severity, place, (&message, help), word);
    }
}

/// Reads a zone's files, and takes down which.
struct Recorded<'a>(RefCell<&'a mut Files>);

impl Reader for Recorded<'_> {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.0.borrow_mut().read(path, MAX_FILE)
    }
}

impl Content for MasterFile {
    type Draft = Drafts;

    fn places(&mut self) -> Places {
        Places {
            files: self.files.clone(),
            ..Places::default()
        }
    }

    fn most(&self) -> u64 {
        MAX_FILE
    }

    fn read(&mut self, files: &mut Files) -> Reading<Drafts> {
        let reader = Recorded(RefCell::new(files));
        let mut doubt = Doubt::None;
        let mut drafts = Vec::with_capacity(self.kept.zones.len());
        for (zone, _) in &self.kept.zones {
            let loader = Loader::new(zone.apex())
                .any_soa(true)
                .digest(*lock(&self.kept.digest));
            let draft = loader.load(&reader, &self.path);
            doubt = doubt.max(match &draft {
                Err(_) => Doubt::Doubtful,
                Ok(loaded) if loss(zone, loaded).is_some() => Doubt::Cut,
                Ok(_) => Doubt::None,
            });
            drafts.push(draft);
        }
        Reading {
            draft: drafts,
            doubt,
            usable: false,
        }
    }

    /// Puts the zones in place. A broken file leaves them as they were.
    fn take(&mut self, drafts: Drafts, files: &Files) {
        self.note(files);
        let mut wrong = Vec::new();
        for (at, draft) in drafts.into_iter().enumerate() {
            match draft {
                Ok(loaded) => wrong.extend(self.replace(at, loaded, files.sum())),
                Err(complaints) => {
                    let apex = self.kept.zones[at].0.apex();
                    for complaint in complaints {
                        let what = format_args!("Parsing zone \"{apex}\": {complaint}");
                        self.say(Level::Error, what);
                        wrong.push(complaint.to_string());
                    }
                }
            }
        }
        *lock(&self.kept.refused) = (!wrong.is_empty()).then(|| wrong.join("; "));
        self.fresh = false;
    }

    fn kept(&self) -> Option<(String, Arc<dyn Any + Send + Sync>)> {
        Some((self.key(), self.kept.clone()))
    }

    fn fail(&mut self, path: &Path, why: &str) {
        if path == self.path {
            if self.listed && !path.exists() {
                return;
            }
            let apexes = self
                .kept
                .zones
                .iter()
                .map(|(zone, _)| zone.apex().to_string());
            let apexes = apexes.collect::<Vec<_>>().join(" ");
            let what = format_args!("Failed to open zone {apexes:?} in {path:?}: {why}");
            self.say(Level::Error, what);
        } else {
            let what = format_args!(
                "Failed to open {path:?}, which {:?} includes: {why}",
                self.path
            );
            self.say(Level::Error, what);
        }
    }
}

/// How many names a zone has had and has, if more than half of them are gone.
fn loss(zone: &Served, loaded: &Loaded) -> Option<(usize, usize)> {
    let before = zone.load().as_ref()?.statistics().owners;
    let now = loaded.zone.statistics().owners;
    (now * 2 < before).then_some((before, now))
}
