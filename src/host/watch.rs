//! Events of files: one watcher for the process, which tells each follower what was done to its files.
//!
//! Directories are watched, since a rename and a swapped symbolic link show there: every directory in which a symbolic link on the
//! way to a file lies, and the file's own. Where a directory is missing, the nearest one above it is watched until it comes. A file
//! with several names, or one that is mounted itself, is watched too: it can be written by a way on which its directory hears nothing.
//!
//! A watch belongs to an inode, a path does not: directories that were removed and made again, or renamed, are watched anew when they
//! tell of it, when their files are looked at, and by a thread that compares every [`ROUND`]. Where the kernel gives no watch, that
//! is said once, and the files are looked at every 2 s.

use std::collections::{HashMap, HashSet, VecDeque};
use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, Once, OnceLock, PoisonError};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, CreateKind, ModifyKind, RenameMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statx};

use crate::barrier::{self, Barrier, is_barrier};
use crate::edits::{Hearing, Touch};
use crate::source::Places;

/// How often the directories are compared with what is watched.
const ROUND: Duration = Duration::from_secs(3);
/// Symbolic links on the way to a file at most, as in the kernel.
const LINKS: u32 = 40;

/// Hears what was done to a path.
pub(crate) type Tell = Arc<dyn Fn(&Path, Touch) + Send + Sync>;

/// One follower's watch. Dropping it ends the watch.
pub(crate) struct Watch {
    number: u64,
    tell: Tell,
    trail: Trail,
}

impl Watch {
    /// Watches nothing yet.
    pub(crate) fn new(tell: Tell) -> Self {
        let mut hub = hub();
        hub.last += 1;
        Self {
            number: hub.last,
            tell,
            trail: Trail::default(),
        }
    }

    /// Watches `places` as they are now.
    pub(crate) fn arm(&mut self, places: &Places) -> Hearing {
        let trail = Trail::of(places);
        if trail != self.trail {
            lock(followers()).set(self.number, &self.trail, Some((&trail, &self.tell)));
        }
        let mut hub = hub();
        let all = hub.arm(&trail.watched);
        let old = std::mem::replace(&mut self.trail, trail);
        hub.release(&old.watched);
        match (all, self.trail.shared) {
            (false, _) => Hearing::Some,
            (true, true) => Hearing::Late,
            (true, false) => Hearing::All,
        }
    }
}

/// Waits until all that was done to watched files so far has been told; gives whether it has.
pub(crate) fn all_heard() -> bool {
    static BARRIER: Mutex<Option<Barrier>> = Mutex::new(None);
    let mut barrier = lock(&BARRIER);
    if barrier.is_none() {
        let mut hub = hub();
        let Some(watcher) = &mut hub.watcher else {
            // There are no events.
            return true;
        };
        let Some(new) = Barrier::new() else {
            return true;
        };
        if watcher
            .watch(new.path(), RecursiveMode::NonRecursive)
            .is_err()
        {
            return true;
        }
        *barrier = Some(new);
    }
    let Some(now) = &*barrier else { return true };
    let heard = now.wait();
    if !heard {
        // What it was to tell may still come; it must not be taken for the next one.
        if let (Some(watcher), Some(old)) = (&mut hub().watcher, barrier.take()) {
            let _ = watcher.unwatch(old.path());
        }
    }
    heard
}

impl Drop for Watch {
    fn drop(&mut self) {
        lock(followers()).set(self.number, &self.trail, None);
        hub().release(&self.trail.watched);
    }
}

/// What has to be watched for some places.
#[derive(Default, PartialEq, Eq, Debug)]
struct Trail {
    /// Whether a file can be written by another way than its path.
    shared: bool,
    /// Directories and files to watch.
    watched: Vec<PathBuf>,
    /// Names whose change matters: files, symbolic links, and what is missing.
    entries: Vec<PathBuf>,
    /// Directories in which every name matters.
    whole: Vec<PathBuf>,
}

impl Trail {
    fn of(places: &Places) -> Self {
        let mut trail = Self::default();
        for path in &places.files {
            if let Some((real, metadata)) = trail.walk(path)
                && metadata.is_file()
                && (metadata.nlink() > 1 || is_mounted(&real))
            {
                trail.watched.push(real);
                trail.shared = true;
            }
        }
        for path in &places.directories {
            if let Some((real, metadata)) = trail.walk(path)
                && metadata.is_dir()
            {
                trail.watched.push(real.clone());
                trail.whole.push(real);
            }
        }
        // Each once, and as small as can be: there may be thousands of followers.
        for paths in [&mut trail.watched, &mut trail.entries, &mut trail.whole] {
            paths.sort_unstable();
            paths.dedup();
            paths.shrink_to_fit();
        }
        trail
    }

    /// Follows `path` name by name; gives where it ends, or nothing where a part is missing.
    fn walk(&mut self, path: &Path) -> Option<(PathBuf, std::fs::Metadata)> {
        let mut here = if path.is_absolute() {
            PathBuf::from("/")
        } else {
            std::env::current_dir().ok()?
        };
        let mut parts: VecDeque<OsString> = names(path).collect();
        let mut links = 0;
        let mut last = None;
        while let Some(name) = parts.pop_front() {
            if name == ".." {
                here.pop();
                continue;
            }
            let place = here.join(&name);
            let Ok(metadata) = std::fs::symlink_metadata(&place) else {
                self.entry(place, here);
                return None;
            };
            if metadata.is_symlink() {
                links += 1;
                let target = std::fs::read_link(&place).ok().filter(|_| links <= LINKS);
                self.entry(place, here.clone());
                let target = target?;
                if target.is_absolute() {
                    here = PathBuf::from("/");
                }
                for name in names(&target).collect::<Vec<_>>().into_iter().rev() {
                    parts.push_front(name);
                }
            } else {
                if parts.is_empty() {
                    self.entry(place.clone(), here.clone());
                }
                last = Some(metadata);
                here = place;
            }
        }
        last.map(|metadata| (here, metadata))
    }

    fn entry(&mut self, place: PathBuf, directory: PathBuf) {
        self.entries.push(place);
        self.watched.push(directory);
    }
}

/// The names of a path, `..` among them.
fn names(path: &Path) -> impl Iterator<Item = OsString> {
    path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::CurDir | Component::RootDir | Component::Prefix(_) => None,
    })
}

/// Whether something is mounted at the path of a file, as containers do with single files.
fn is_mounted(path: &Path) -> bool {
    let (follow, nothing) = (AtFlags::empty(), StatxFlags::empty());
    statx(CWD, path, follow, nothing)
        .is_ok_and(|found| found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

/// Whether a name in a directory is hidden or an editor's copy.
pub fn is_hidden(path: &Path) -> bool {
    path.file_name().is_none_or(|name| {
        let name = name.as_encoded_bytes();
        name.starts_with(b".") || name.ends_with(b"~")
    })
}

/// Who hears of what. A lock of its own: the watcher's thread takes it, while the hub waits for that thread.
#[derive(Default)]
struct Followers {
    tell: HashMap<u64, Tell>,
    entries: HashMap<PathBuf, HashSet<u64>>,
    whole: HashMap<PathBuf, HashSet<u64>>,
    watched: HashMap<PathBuf, HashSet<u64>>,
    /// Watched paths that have told of their own end.
    ended: HashSet<PathBuf>,
}

impl Followers {
    /// Replaces what a follower hears of.
    fn set(&mut self, number: u64, old: &Trail, new: Option<(&Trail, &Tell)>) {
        for (index, paths) in [
            (&mut self.entries, &old.entries),
            (&mut self.whole, &old.whole),
            (&mut self.watched, &old.watched),
        ] {
            for path in paths {
                if let Some(numbers) = index.get_mut(path) {
                    numbers.remove(&number);
                    if numbers.is_empty() {
                        index.remove(path);
                    }
                }
            }
        }
        let Some((new, tell)) = new else {
            self.tell.remove(&number);
            return;
        };
        self.tell.insert(number, tell.clone());
        for (index, paths) in [
            (&mut self.entries, &new.entries),
            (&mut self.whole, &new.whole),
            (&mut self.watched, &new.watched),
        ] {
            for path in paths {
                index.entry(path.clone()).or_default().insert(number);
            }
        }
    }

    /// Tells those whom `path` concerns. Where every name of a directory counts, only names that come and go matter: what stands in a
    /// file matters to those who read it, and a log that is written beside a Corefile to nobody.
    fn tell(&self, path: &Path, touch: Touch) {
        let readers = self.entries.get(path);
        for number in readers.into_iter().flatten() {
            if let Some(tell) = self.tell.get(number) {
                tell(path, touch);
            }
        }
        let touch = match touch {
            Touch::Written | Touch::Closed => return,
            Touch::Created => Touch::Other,
            other => other,
        };
        let Some(parent) = path.parent().filter(|_| !is_hidden(path)) else {
            return;
        };
        for number in self.whole.get(parent).into_iter().flatten() {
            if readers.is_none_or(|readers| !readers.contains(number))
                && let Some(tell) = self.tell.get(number)
            {
                tell(path, touch);
            }
        }
    }

    /// Tells those who watch `path` that it is not what it was.
    fn ended(&mut self, path: &Path) {
        let Some(numbers) = self.watched.get(path) else {
            return;
        };
        for number in numbers {
            if let Some(tell) = self.tell.get(number) {
                tell(path, Touch::Other);
            }
        }
        self.ended.insert(path.to_path_buf());
    }
}

fn followers() -> &'static Mutex<Followers> {
    static FOLLOWERS: OnceLock<Mutex<Followers>> = OnceLock::new();
    FOLLOWERS.get_or_init(Mutex::default)
}

/// The process's watcher and what it watches.
#[derive(Default)]
struct Hub {
    watcher: Option<RecommendedWatcher>,
    /// What each watched path was when it was watched, and for how many followers.
    armed: HashMap<PathBuf, Armed>,
    last: u64,
}

struct Armed {
    identity: Option<(u64, u64)>,
    count: usize,
}

fn hub() -> MutexGuard<'static, Hub> {
    static HUB: OnceLock<Mutex<Hub>> = OnceLock::new();
    lock(HUB.get_or_init(Mutex::default))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a path is now.
fn identity(path: &Path) -> Option<(u64, u64)> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

impl Hub {
    /// Watches `paths` for one follower more; gives whether all of them are watched.
    fn arm(&mut self, paths: &[PathBuf]) -> bool {
        if self.watcher.is_none() {
            match notify::recommended_watcher(heard) {
                Ok(watcher) => self.watcher = Some(watcher),
                Err(error) => untold(&error),
            }
            compare_for_ever();
        }
        let mut all = self.watcher.is_some();
        for path in paths {
            let now = identity(path);
            let ended = lock(followers()).ended.remove(path);
            let armed = self.armed.entry(path.clone()).or_insert(Armed {
                identity: None,
                count: 0,
            });
            armed.count += 1;
            let Some(watcher) = &mut self.watcher else {
                continue;
            };
            if ended || armed.identity.is_none() || armed.identity != now {
                if armed.identity.take().is_some() {
                    let _ = watcher.unwatch(path);
                }
                match watcher.watch(path, RecursiveMode::NonRecursive) {
                    Ok(()) => armed.identity = now,
                    Err(error) => {
                        all = false;
                        if now.is_some() {
                            untold(&error);
                        }
                    }
                }
            }
        }
        all
    }

    /// Watches `paths` for one follower less.
    fn release(&mut self, paths: &[PathBuf]) {
        for path in paths {
            let Some(armed) = self.armed.get_mut(path) else {
                continue;
            };
            armed.count -= 1;
            if armed.count == 0 {
                let armed = self.armed.remove(path);
                if let (
                    Some(watcher),
                    Some(Armed {
                        identity: Some(_), ..
                    }),
                ) = (&mut self.watcher, armed)
                {
                    let _ = watcher.unwatch(path);
                }
            }
        }
    }

    /// The watched paths that are not what they were.
    fn changed(&self) -> Vec<PathBuf> {
        let changed = |(path, armed): (&PathBuf, &Armed)| {
            (armed.identity.is_some() && identity(path) != armed.identity).then(|| path.clone())
        };
        self.armed.iter().filter_map(changed).collect()
    }
}

/// Says once that changes are not told of.
fn untold(error: &notify::Error) {
    static SAID: Once = Once::new();
    SAID.call_once(|| {
        let why = match &error.kind {
            notify::ErrorKind::MaxFilesWatch => {
                "no more inotify watches (fs.inotify.max_user_watches)".to_owned()
            }
            _ => error.to_string(),
        };
        tracing::warn!(
            "The kernel does not report all edits, so files are checked every 2 s: {why}"
        );
    });
}

/// Looks now and then whether the watched paths are still what is watched: a directory above them may have been renamed.
fn compare_for_ever() {
    static STARTED: Once = Once::new();
    STARTED.call_once(|| {
        let compare = || {
            loop {
                std::thread::sleep(ROUND);
                let changed = hub().changed();
                let mut followers = lock(followers());
                for path in &changed {
                    followers.ended(path);
                }
            }
        };
        // Without it, such a change shows at the next look.
        let _ = std::thread::Builder::new()
            .name("watch".to_owned())
            .spawn(compare);
    });
}

/// Takes an event of the kernel. Reading a file is none, and those who look must not wake themselves.
fn heard(event: notify::Result<Event>) {
    let Ok(event) = event else { return };
    if event.paths.first().is_some_and(|path| is_barrier(path)) {
        if matches!(event.kind, EventKind::Modify(ModifyKind::Metadata(_))) {
            barrier::heard();
        }
        return;
    }
    let mut followers = lock(followers());
    if event.need_rescan() {
        let all: Vec<PathBuf> = followers.watched.keys().cloned().collect();
        for path in all {
            followers.ended(&path);
        }
        return;
    }
    let touch = match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => Touch::Closed,
        EventKind::Access(_) => return,
        EventKind::Create(CreateKind::Folder) => Touch::Other,
        EventKind::Create(_) => Touch::Created,
        EventKind::Modify(ModifyKind::Data(_)) => Touch::Written,
        EventKind::Modify(ModifyKind::Name(RenameMode::To)) => Touch::Replaced,
        // Told a second time, as one event with both names.
        EventKind::Modify(ModifyKind::Name(RenameMode::Both)) => return,
        _ => Touch::Other,
    };
    let gone = matches!(
        event.kind,
        EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(RenameMode::From))
    );
    for path in &event.paths {
        followers.tell(path, touch);
        if gone {
            followers.ended(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn what_was_done_is_heard_behind_the_barrier() {
        let directory =
            std::env::temp_dir().join(format!("nameplate-watch-{}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("a directory");
        let path = directory.join("file");
        std::fs::write(&path, "0").expect("written");
        let closes = Arc::new(AtomicU32::new(0));
        let count = closes.clone();
        let mut watch = Watch::new(Arc::new(move |_: &Path, touch| {
            count.fetch_add(u32::from(touch == Touch::Closed), Ordering::SeqCst);
        }));
        let places = Places {
            files: vec![path.clone()],
            ..Places::default()
        };
        assert_eq!(watch.arm(&places), Hearing::All);
        for round in 1..200 {
            std::fs::write(&path, "1").expect("written");
            assert!(all_heard());
            assert_eq!(closes.load(Ordering::SeqCst), round);
        }
        std::fs::remove_dir_all(&directory).expect("removed");
    }

    #[test]
    fn every_name_on_the_way_matters() {
        let directory =
            std::env::temp_dir().join(format!("nameplate-trail-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&directory);
        std::fs::create_dir_all(directory.join("..1")).expect("a directory");
        std::fs::write(directory.join("..1/db"), "").expect("written");
        let link = |target: &str, name: &str| {
            std::os::unix::fs::symlink(target, directory.join(name)).expect("a link");
        };
        link("..1", "..data");
        link("..data/db", "db");
        link("circle", "circle");
        let trail = |name: &str| {
            Trail::of(&Places {
                files: vec![directory.join(name)],
                ..Places::default()
            })
        };
        let paths = |names: &[&str]| -> Vec<PathBuf> {
            let mut paths: Vec<_> = names.iter().map(|name| directory.join(name)).collect();
            paths.sort();
            paths
        };
        let db = trail("db");
        assert_eq!(db.entries, paths(&["db", "..data", "..1/db"]));
        assert_eq!(db.watched.len(), 2);
        // What is missing is waited for where it would be, or above.
        let missing = trail("no/such/file");
        assert_eq!(missing.entries, paths(&["no"]));
        assert_eq!(missing.watched, std::slice::from_ref(&directory));
        assert_eq!(trail("circle").entries, paths(&["circle"]));
        // A second name means a second way to write.
        std::fs::hard_link(directory.join("..1/db"), directory.join("other")).expect("a name");
        assert!(trail("db").shared && !db.shared);
        std::fs::remove_dir_all(&directory).expect("removed");
    }
}
