//! A set of files whose edits are followed: a zone and what it includes, a Corefile and its imports, a hosts file, weights, labs.
//!
//! ```text
//! notify ─► Watch (directories, files) ─► Edits (when is it whole?) ─► look: Files ─► Content::read ─► Content::take
//!                                              ▲                          │
//!                                              └──────── what was found ──┘
//! ```
//!
//! [`crate::edits`] decides, this file does: it sleeps, reads on a thread that may block, and hands over what was decided. Contents are
//! read a few at a time, however many files change at once.
//!
//! A reload of the configuration begins with new sources while the old ones are still followed. What an old one serves is found by
//! its key ([`live`]), so that a file that is being written just then is not read half: the new source serves the old content and
//! waits on ([`Source::waiting`]).

use std::any::Any;
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};

use crate::clock;
pub use crate::edits::Doubt;
use crate::edits::{Edits, Look, Verdict};
pub use crate::files::{Files, Opened};
use crate::watch::{Watch, all_heard};

/// How many sources are read at a time.
static READERS: Semaphore = Semaphore::const_new(4);

/// Where the content of a source lies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// Its files.
    pub files: Vec<PathBuf>,
    /// Directories in which every name counts that is not hidden or an editor's.
    pub directories: Vec<PathBuf>,
    /// Whether a look has to read everything, since not all of its places are known.
    pub unsure: bool,
}

/// What was read, before it is used.
pub struct Reading<D> {
    /// The content.
    pub draft: D,
    /// How whole it looks.
    pub doubt: Doubt,
    /// Whether it is of use although a file could not be read.
    pub usable: bool,
}

/// What is made of files.
pub trait Content: Send + 'static {
    /// What was read, before it is used.
    type Draft: Send;

    /// Where it lies, as far as is known now.
    fn places(&mut self) -> Places;

    /// Octets of one file at most.
    fn most(&self) -> u64 {
        u64::from(u32::MAX)
    }

    /// Whether its files are only ever replaced and removed whole, so that whatever is seen counts at once. Nothing is read before
    /// [`Content::read`], which leaves alone what has not changed.
    fn is_replaced_whole(&self) -> bool {
        false
    }

    /// Reads it. What it reads through `files` is what is watched and compared; nothing that is in use may change yet.
    fn read(&mut self, files: &mut Files) -> Reading<Self::Draft>;

    /// Uses what was read.
    fn take(&mut self, draft: Self::Draft, files: &Files);

    /// Says, once, that it has not been readable for a while; what is in use stays.
    fn fail(&mut self, path: &Path, why: &str);

    /// What a source of the same key may go on with, and that key.
    fn kept(&self) -> Option<(String, Arc<dyn Any + Send + Sync>)> {
        None
    }
}

/// What a source that is followed serves.
pub struct Live<T> {
    /// What [`Content::kept`] gave.
    pub kept: Arc<T>,
    shared: Weak<Shared>,
}

/// What the source of this key that was followed last serves, if it is still followed.
pub fn live<T: Send + Sync + 'static>(key: &str) -> Option<Live<T>> {
    let living = lock(living());
    let (shared, kept) = living.get(key)?.last()?;
    Some(Live {
        kept: kept.clone().downcast().ok()?,
        shared: shared.clone(),
    })
}

type Living = HashMap<String, Vec<(Weak<Shared>, Arc<dyn Any + Send + Sync>)>>;

/// The sources that are followed, by key.
fn living() -> &'static Mutex<Living> {
    static LIVING: OnceLock<Mutex<Living>> = OnceLock::new();
    LIVING.get_or_init(Mutex::default)
}

/// A content and what it was made of.
pub struct Source<C: Content> {
    content: C,
    files: Files,
    /// What tells the content in use.
    sum: Option<u64>,
    octets: u64,
    /// Whose edits are still under way.
    before: Option<Weak<Shared>>,
}

impl<C: Content> Source<C> {
    /// A source whose `content` is made of `files`.
    pub fn new(content: C, mut files: Files) -> Self {
        files.release();
        Self {
            sum: Some(files.sum()),
            octets: files.octets(),
            content,
            files,
            before: None,
        }
    }

    /// A source that has not been read.
    pub fn unread(content: C) -> Self {
        Self {
            content,
            files: Files::default(),
            sum: None,
            octets: 0,
            before: None,
        }
    }

    /// A source that goes on with what another one serves until its own files are whole.
    pub fn waiting<T>(content: C, before: &Live<T>) -> Self {
        Self {
            before: Some(before.shared.clone()),
            ..Self::unread(content)
        }
    }

    /// A source that is read and taken now, whatever state it is in.
    pub fn load(content: C) -> Self {
        let mut source = Self::unread(content);
        source.refresh();
        source
    }

    /// The content.
    pub fn content(&self) -> &C {
        &self.content
    }

    /// Reads it and takes what is new, whatever state it is in.
    pub fn refresh(&mut self) {
        let mut files = Files::after(&self.files);
        let reading = self.content.read(&mut files);
        if self.sum != Some(files.sum()) {
            self.take(reading.draft, files);
        }
    }

    fn take(&mut self, draft: C::Draft, mut files: Files) {
        self.content.take(draft, &files);
        (self.sum, self.octets) = (Some(files.sum()), files.octets());
        files.release();
        self.files = files;
    }

    /// Follows the edits for as long as the future lives, which is watched from now on: told by events, and looked for every
    /// `interval`. Ends with the panic of a content, if it panics.
    pub fn follow(
        mut self,
        interval: Duration,
    ) -> impl Future<Output = io::Error> + Send + 'static {
        let most = u64::MAX / 4;
        let interval = u64::try_from(interval.as_nanos()).unwrap_or(most).min(most);
        let shared = Arc::new(Shared {
            edits: Mutex::new(
                Edits::new(interval, clock::now()).whole(self.content.is_replaced_whole()),
            ),
            told: Notify::new(),
            over: AtomicBool::new(false),
        });
        let kept = self.content.kept();
        if let Some((key, kept)) = &kept {
            let entry = (Arc::downgrade(&shared), kept.clone());
            lock(living()).entry(key.clone()).or_default().push(entry);
        }
        let over = Over {
            shared: shared.clone(),
            key: kept.map(|(key, _)| key),
        };
        let tell = shared.clone();
        let mut watch = Watch::new(Arc::new(move |path: &Path, touch| {
            lock(&tell.edits).event(path, touch, clock::now());
            tell.told.notify_one();
        }));
        watch.arm(&self.content.places());
        if let Some(before) = self.before.take().and_then(|before| before.upgrade()) {
            // From here on both hear the same.
            let before = lock(&before.edits).clone();
            lock(&shared.edits).inherit(before);
        }
        let follower = Follower {
            source: self,
            watch,
            shared,
        };
        async move {
            let _over = over;
            follower.run().await
        }
    }
}

/// What a follower and its events share.
struct Shared {
    edits: Mutex<Edits>,
    told: Notify,
    /// Whether nobody follows any more.
    over: AtomicBool,
}

impl Shared {
    /// Waits until it is time to look.
    async fn rest(&self) {
        loop {
            let next = lock(&self.edits).next();
            let now = clock::now();
            if next <= now {
                return;
            }
            let pause = Duration::from_nanos(next - now);
            // Told or not, the time to look may have changed.
            let _ = tokio::time::timeout(pause, self.told.notified()).await;
        }
    }
}

/// Ends with the follower: a look that is under way uses nothing of what it finds.
struct Over {
    shared: Arc<Shared>,
    key: Option<String>,
}

impl Drop for Over {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        let Some(key) = &self.key else { return };
        let mut living = lock(living());
        if let Some(entries) = living.get_mut(key) {
            entries.retain(|(shared, _)| !std::ptr::eq(shared.as_ptr(), Arc::as_ptr(&self.shared)));
            if entries.is_empty() {
                living.remove(key);
            }
        }
    }
}

struct Follower<C: Content> {
    source: Source<C>,
    watch: Watch,
    shared: Arc<Shared>,
}

impl<C: Content> Follower<C> {
    /// Looks whenever it is time to.
    async fn run(mut self) -> io::Error {
        loop {
            self.shared.rest().await;
            let permit = READERS.acquire().await;
            let looked = tokio::task::spawn_blocking(move || {
                self.look();
                self
            });
            match looked.await {
                Ok(back) => self = back,
                Err(error) => return io::Error::other(error),
            }
            drop(permit);
        }
    }

    /// Looks once. It is watched before it is read, so that no edit falls in between.
    fn look(&mut self) {
        let source = &mut self.source;
        let places = source.content.places();
        let hearing = self.watch.arm(&places);
        lock(&self.shared.edits).set_hearing(hearing);
        let began = clock::now();
        let mut files = Files::after(&source.files);
        let whole = source.content.is_replaced_whole();
        if !whole {
            let most = source.content.most();
            for path in &places.files {
                let _ = files.digest(path, most);
            }
            for path in &places.directories {
                let _ = files.list(path);
            }
            if !places.unsure && Some(files.sum()) == source.sum {
                let failed = files.failure().is_some();
                self.same(files, failed, began);
                return;
            }
            files.rewind();
        }
        let reading = source.content.read(&mut files);
        let sum = files.sum();
        // What was done until now has to be known before it is judged; what is whole need not be judged.
        let look = if !(whole || files.still() && all_heard()) {
            Look::Moving
        } else if Some(sum) == source.sum {
            let failed = files.failure().is_some();
            self.same(files, failed, began);
            return;
        } else if files.failure().is_some() {
            Look::Failed {
                digest: sum,
                usable: reading.usable,
            }
        } else {
            let shrunk = files.octets() < source.octets - source.octets / 8;
            let shrunk = match files.octets() {
                0 if source.octets > 0 => Doubt::Empty,
                _ if shrunk => Doubt::Doubtful,
                _ => Doubt::None,
            };
            Look::Changed {
                digest: sum,
                doubt: reading.doubt.max(shrunk),
            }
        };
        match self.looked(look, began) {
            Verdict::Take => {
                self.source.take(reading.draft, files);
                // What it includes now has to be watched, too.
                let now = self.source.content.places();
                if now != places {
                    let hearing = self.watch.arm(&now);
                    lock(&self.shared.edits).set_hearing(hearing);
                }
            }
            Verdict::Say => {
                if let Some((path, why)) = files.failure() {
                    self.source.content.fail(path, why);
                }
            }
            Verdict::Wait => {}
        }
    }

    /// Nothing is new but how old the files are, which may tell of later changes by now.
    fn same(&mut self, mut files: Files, failed: bool, began: u64) {
        files.release();
        self.source.files = files;
        self.looked(Look::Same { failed }, began);
    }

    fn looked(&self, look: Look, began: u64) -> Verdict {
        if self.shared.over.load(Ordering::Relaxed) {
            return Verdict::Wait;
        }
        lock(&self.shared.edits).looked(look, began, clock::now())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
