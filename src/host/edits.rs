//! When a set of files that was edited is whole: a state machine without I/O and without a clock.
//!
//! ```text
//! events (what was done to which file), looks (what was read), now ──► Edits ──► when to look next
//!                                                                         └────► Verdict: take the content · say why not · wait
//! ```
//!
//! What is known about a file decides how long it has to be left alone before its content counts:
//!
//! | what was done | counts after |
//! |---|---|
//! | another file took the name (`rename`, a symbolic link swapped) | [`BATCH`]: it was whole before |
//! | written in place and closed, once | [`CLOSED`] |
//! | written in place and closed several times; created; changed without an event | [`DOUBTFUL`] |
//! | written and not closed | when it is closed, or [`ABANDONED`] after the last write |
//!
//! Content written in place that looks cut off waits longer: [`DOUBTFUL`] when it is shorter or broken, [`CUT`] when it lost more than
//! half, [`EMPTY`] when nothing is left. Files that are only ever replaced whole count at once, whatever is done meanwhile. Edits that never end do not starve: after [`PATIENCE`], [`CLOSED`] is enough. What could not be read is tried again
//! after [`FIRST_RETRY`], then half as often each time, and at least once a second ([`LAST_RETRY`]).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A millisecond of [`crate::clock`].
const MS: u64 = 1_000_000;
/// How long renames are gathered.
pub const BATCH: u64 = 5 * MS;
/// How soon after a look that found nothing new the next event is looked at.
pub const PAUSE: u64 = 50 * MS;
/// How long a file that was written and closed is left alone.
pub const CLOSED: u64 = 100 * MS;
/// The same where there is reason to expect more.
pub const DOUBTFUL: u64 = 1_250 * MS;
/// The same where most of the content is missing.
pub const CUT: u64 = 2_000 * MS;
/// The same where nothing is left: whoever empties a file mostly fills it again.
pub const EMPTY: u64 = 5_000 * MS;
/// The same where a name of a directory is gone.
pub const GONE: u64 = 2_000 * MS;
/// How long after its last write a file counts that its writer does not close.
pub const ABANDONED: u64 = 10_000 * MS;
/// How long edits that follow each other put off the reading.
pub const PATIENCE: u64 = 10_000 * MS;
/// How soon a read that failed is tried again.
pub const FIRST_RETRY: u64 = 50 * MS;
/// The longest time between two tries.
pub const LAST_RETRY: u64 = 1_000 * MS;
/// How long a read has to fail before that is said: most failures are edits under way.
pub const SAY: u64 = 1_000 * MS;
/// Paths that are told apart at most, unless they are written.
const MOST: usize = 1_024;
/// Two tellings of one close are not further apart.
const TWICE: u64 = 3 * MS;
/// How often files are looked at whose changes nobody tells.
pub const UNWATCHED: u64 = 2_000 * MS;

/// What was done to a file or a directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Touch {
    /// Another file took the name.
    Replaced,
    /// It was made, and its maker may go on.
    Created,
    /// It was written to.
    Written,
    /// A writer closed it.
    Closed,
    /// Its owner, mode or existence changed.
    Other,
}

/// How much of what is done to the files is heard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hearing {
    /// All of it.
    All,
    /// All of it, but a file that has taken a name may have been written by another name of its own before that was heard.
    Late,
    /// Not all of it.
    Some,
}

/// How whole a content looks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Doubt {
    /// As any other.
    None,
    /// It is shorter than before, or cannot be understood.
    Doubtful,
    /// It lost more than half.
    Cut,
    /// Nothing is left.
    Empty,
    /// A name of a directory is gone, and may come back: whoever writes a file anew may move the old one away first.
    Gone,
}

/// What a look found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Look {
    /// The content in use. Some of its files may still be unreadable.
    Same {
        /// Whether a file could not be read.
        failed: bool,
    },
    /// Another content.
    Changed {
        /// What tells it from others.
        digest: u64,
        /// How whole it looks.
        doubt: Doubt,
    },
    /// A file could not be read.
    Failed {
        /// What tells this failure from others.
        digest: u64,
        /// Whether the rest is of use without it.
        usable: bool,
    },
    /// Files changed while they were read.
    Moving,
}

/// What to do about a look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Use the content.
    Take,
    /// Say that it cannot be read.
    Say,
    /// Nothing for now; [`Edits::next`] says when to look again.
    Wait,
}

/// What was done to one path since the last content.
#[derive(Clone, Copy, Default, Debug)]
struct Touched {
    replaced: bool,
    created: bool,
    /// When it was written last, while its writer has not closed it.
    open: Option<u64>,
    /// How often it was closed, and when last.
    closes: u32,
    closed: u64,
}

impl Touched {
    fn touch(&mut self, touch: Touch, now: u64) {
        match touch {
            Touch::Replaced => {
                *self = Self {
                    replaced: true,
                    ..Self::default()
                };
            }
            Touch::Created => {
                *self = Self {
                    created: true,
                    ..Self::default()
                };
            }
            Touch::Written => {
                self.replaced = false;
                self.open = Some(now);
            }
            Touch::Closed => {
                // One close may be told twice: of the directory and of the file.
                if self.open.is_some() || self.closes == 0 || now > self.closed + TWICE {
                    self.closes = self.closes.saturating_add(1);
                }
                self.closed = now;
                self.open = None;
                self.replaced = false;
                self.created = false;
            }
            Touch::Other => {}
        }
    }

    /// How long it has to be left alone; `None` while it is being written.
    fn rest(&self) -> Option<u64> {
        match self {
            Self { open: Some(_), .. } => None,
            Self { created: true, .. } => Some(DOUBTFUL),
            Self { closes: 2.., .. } => Some(DOUBTFUL),
            Self { closes: 1, .. } => Some(CLOSED),
            _ => Some(BATCH),
        }
    }

    /// Whether nothing says that its content is another.
    fn is_idle(&self) -> bool {
        !self.replaced && !self.created && self.open.is_none() && self.closes == 0
    }
}

/// Reads that fail.
#[derive(Clone, Copy, Debug)]
struct Failing {
    since: u64,
    pause: u64,
    said: Option<u64>,
}

/// The edits of one set of files.
#[derive(Clone, Debug)]
pub struct Edits {
    interval: u64,
    /// Whether files are only replaced and removed whole.
    whole: bool,
    hearing: Hearing,
    touched: BTreeMap<PathBuf, Touched>,
    /// The first event, or the first sight of another content, since the last content.
    first: Option<u64>,
    /// The last event.
    last: u64,
    /// A content that was seen and not taken, and since when.
    candidate: Option<(u64, u64)>,
    failing: Option<Failing>,
    /// Before which no event asks for a look, so that a busy directory does not keep us busy.
    pause: u64,
    next: u64,
}

impl Edits {
    /// For files that are looked at every `interval` nanoseconds, and for the first time now.
    pub fn new(interval: u64, now: u64) -> Self {
        Self {
            interval,
            whole: false,
            hearing: Hearing::All,
            touched: BTreeMap::new(),
            first: None,
            last: now,
            candidate: None,
            failing: None,
            pause: now,
            next: now,
        }
    }

    /// The same, whose files are only replaced and removed whole: what is seen counts at once.
    pub fn whole(self, whole: bool) -> Self {
        Self { whole, ..self }
    }

    /// How much is told by events.
    pub fn set_hearing(&mut self, hearing: Hearing) {
        self.hearing = hearing;
    }

    /// When to look.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Goes on with what is under way for another reader of the same files. The first look is still at once.
    pub fn inherit(&mut self, before: Self) {
        self.touched = before.touched;
        self.first = before.first;
        self.last = before.last;
    }

    /// Something was done to `path`.
    pub fn event(&mut self, path: &Path, touch: Touch, now: u64) {
        let full = self.touched.len() >= MOST;
        match self.touched.get_mut(path) {
            Some(touched) => touched.touch(touch, now),
            // Names that come and go in a directory are not counted without end; that something did is known.
            None if touch == Touch::Other && full => {}
            None => {
                let mut touched = Touched::default();
                touched.touch(touch, now);
                self.touched.insert(path.to_path_buf(), touched);
            }
        }
        self.first.get_or_insert(now);
        self.last = now;
        self.next = self.ready();
    }

    /// When what was done so far has come to rest.
    fn ready(&self) -> u64 {
        if self.whole {
            return self.last;
        }
        let mut rest = BATCH;
        for touched in self.touched.values() {
            match (touched.rest(), touched.open) {
                (Some(needed), _) => rest = rest.max(needed),
                (None, open) => return open.unwrap_or(self.last) + ABANDONED,
            }
        }
        (self.last + self.patient(rest, self.last)).max(self.pause)
    }

    /// The rest that is needed, if edits have not gone on for long.
    fn patient(&self, rest: u64, now: u64) -> u64 {
        match self.first {
            Some(first) if now > first + PATIENCE => rest.min(CLOSED),
            _ => rest,
        }
    }

    /// A look that was begun at `began` has found something.
    pub fn looked(&mut self, look: Look, began: u64, now: u64) -> Verdict {
        // Edits that go on for ever are read in between: what moves under the reader is seen as moving.
        let patient = self.first.is_none_or(|first| now <= first + PATIENCE);
        let again = self.last > began && patient;
        let verdict = match look {
            Look::Moving => {
                self.first.get_or_insert(now);
                self.next = self.ready().max(now + FIRST_RETRY);
                Verdict::Wait
            }
            Look::Same { .. } | Look::Changed { .. } if again && !self.whole => {
                self.next = self.ready();
                Verdict::Wait
            }
            Look::Same { failed } => {
                self.settle(now);
                self.pause = now + PAUSE;
                if failed {
                    self.next = now + LAST_RETRY.min(self.interval);
                }
                Verdict::Wait
            }
            Look::Failed { digest, usable } => self.failed(digest, usable, now),
            Look::Changed { digest, doubt } => self.changed(digest, doubt, now),
        };
        if self.whole && self.last > began {
            // What was done meanwhile is in the next look, and what was found is whole all the same.
            self.next = self.ready();
        }
        verdict
    }

    /// The content in use is that of the files.
    fn settle(&mut self, now: u64) {
        self.touched.clear();
        self.first = None;
        self.candidate = None;
        self.failing = None;
        let pause = match self.hearing {
            Hearing::All | Hearing::Late => self.interval,
            Hearing::Some => self.interval.min(UNWATCHED),
        };
        self.next = now + pause;
    }

    fn failed(&mut self, digest: u64, usable: bool, now: u64) -> Verdict {
        let failing = self.failing.get_or_insert(Failing {
            since: now,
            pause: FIRST_RETRY / 2,
            said: None,
        });
        failing.pause = (failing.pause * 2).min(LAST_RETRY);
        self.next = now + failing.pause;
        if usable && now >= failing.since + CUT {
            self.settle(now);
            self.next = now + LAST_RETRY;
            return Verdict::Take;
        }
        if !usable && now >= failing.since + SAY && failing.said != Some(digest) {
            failing.said = Some(digest);
            return Verdict::Say;
        }
        Verdict::Wait
    }

    fn changed(&mut self, digest: u64, doubt: Doubt, now: u64) -> Verdict {
        self.failing = None;
        self.first.get_or_insert(now);
        let seen = match self.candidate {
            Some((known, since)) if known == digest => since,
            _ => now,
        };
        self.candidate = Some((digest, seen));
        if self.whole {
            self.settle(now);
            return Verdict::Take;
        }
        let told = self.touched.values().any(|touched| !touched.is_idle());
        let whole = told
            && self
                .touched
                .values()
                .all(|touched| touched.replaced || touched.is_idle());
        let open = self.touched.values().any(|touched| touched.open.is_some());
        let (rest, since) = if whole {
            (0, self.last)
        } else if told {
            let needed = self.touched.values().filter_map(Touched::rest).max();
            (needed.unwrap_or(CLOSED), self.last)
        } else {
            // Nobody told of it, so nobody tells of what follows either.
            (DOUBTFUL, seen)
        };
        let rest = match doubt {
            // That other names were replaced says nothing of this one.
            Doubt::Gone => rest.max(GONE),
            _ if whole && self.hearing == Hearing::All => rest,
            Doubt::None => rest,
            Doubt::Doubtful => rest.max(DOUBTFUL),
            Doubt::Cut => rest.max(CUT),
            Doubt::Empty => rest.max(EMPTY),
        };
        let rest = if open {
            ABANDONED
        } else {
            self.patient(rest, now)
        };
        if now >= since + rest {
            self.settle(now);
            return Verdict::Take;
        }
        self.next = since + rest;
        Verdict::Wait
    }
}

#[cfg(test)]
#[path = "edits_tests.rs"]
mod tests;
