//! `watch`: a lab is kept as its file declares it.
//!
//! ```text
//!  netlink (links, addresses, routes, rules of the host) ─┐
//!  inotify (/run/netns, the lab's file)                   ├─► look ─► differs? ─► apply, with a growing pause
//!  every few seconds (what is inside of namespaces) ──────┘
//! ```
//!
//! A lab that somebody removes stays removed, and ends the watch.

use std::fs::File;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use corefile::Sources;

use crate::control::{self, Verb};
use crate::converge::{self, Look, Manner};
use crate::error::{During, Error, Result};
use crate::journal::Journal;
use crate::spec::Spec;
use crate::{space, sys};

/// Groups of rtnetlink: links, addresses and routes of both families.
const ROUTE_GROUPS: &[i32] = &[1, 5, 7, 9, 11];
/// The group of nf_tables.
const RULES_GROUP: &[i32] = &[7];
/// One change is seldom alone.
const TOGETHER: Duration = Duration::from_millis(50);
/// The pause before what was mended is mended again: at first, and at most.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(30)];

/// Keeps a lab as its file declares it, until a signal or until it is removed; looks into namespaces so often.
///
/// # Errors
/// The lab is not applied, or the kernel does not tell what changes.
pub fn watch(spec: Spec, often: Duration) -> Result<()> {
    let journal = Journal::load(&spec.name)?;
    let file = spec.file.clone();
    let (Some(_), Some(file)) = (journal, file) else {
        return Err(Error::new(format!(
            "lab {} is not applied: `nameplate-lab apply` first",
            spec.name
        )));
    };
    let mut signals = sys::signals(&[]).during(|| "cannot wait for signals".to_owned())?;
    let news = News::of(&file).during(|| "cannot receive notifications of changes".to_owned())?;
    let mut watched = Watched {
        // The file may have been changed since it was read, and those who keep its commands may not know of it.
        read: None,
        fresh: false,
        spec,
        told: Vec::new(),
        mended: Vec::new(),
        pause: PAUSES[0],
        again: Instant::now(),
    };
    crate::warn!("watching lab {}; Ctrl-C ends this", watched.spec.name);
    loop {
        news.drain();
        if !watched.look(&file)? {
            crate::say!("lab {} was removed", watched.spec.name);
            return Ok(());
        }
        let soon = watched.again.saturating_duration_since(Instant::now());
        let patience = if soon.is_zero() { often } else { soon };
        let [signal, changed] = news.wait(&signals, patience);
        if signal && sys::next_signal(&mut signals).is_some() {
            return Ok(());
        }
        if changed {
            std::thread::sleep(TOGETHER);
        }
    }
}

/// What tells of changes.
struct News {
    all: Vec<OwnedFd>,
}

impl News {
    fn of(file: &Path) -> std::io::Result<Self> {
        let folder = file.parent().unwrap_or(Path::new("/"));
        let mut all = vec![
            sys::netlink_news(libc::NETLINK_ROUTE, ROUTE_GROUPS)?,
            sys::watch_folders(&[Path::new(space::RUN), folder])?,
        ];
        // A kernel without nf_tables has no news of them.
        all.extend(sys::netlink_news(libc::NETLINK_NETFILTER, RULES_GROUP));
        Ok(Self { all })
    }

    /// Waits for a signal or for news.
    fn wait(&self, signals: &File, patience: Duration) -> [bool; 2] {
        let mut fds = vec![Some(signals.as_fd())];
        fds.extend(self.all.iter().map(|fd| Some(fd.as_fd())));
        let ready = sys::wait_readable(&fds, Some(patience));
        [ready[0], ready[1..].contains(&true)]
    }

    /// Forgets what was told; a look sees it all.
    fn drain(&self) {
        let mut octets = vec![0; 16 << 10];
        for fd in &self.all {
            while sys::read_at_once(fd.as_fd(), &mut octets) {}
        }
    }
}

/// A lab that is watched.
struct Watched {
    spec: Spec,
    /// When its file was changed, as far as it was read.
    read: Option<SystemTime>,
    /// Whether what was read is not applied yet.
    fresh: bool,
    /// What was said of what cannot be mended.
    told: Vec<String>,
    /// What was mended last.
    mended: Vec<String>,
    pause: Duration,
    /// Not before this time.
    again: Instant,
}

impl Watched {
    /// Looks, and mends what differs; false if the lab is gone.
    fn look(&mut self, file: &Path) -> Result<bool> {
        let Some(journal) = Journal::load(&self.spec.name)? else {
            return Ok(false);
        };
        self.read_again(file);
        if Instant::now() < self.again {
            return Ok(true);
        }
        let plan = converge::plan(&self.spec)?;
        if plan.steps.is_empty() && plan.conflicts.is_empty() && !self.fresh {
            self.told.clear();
            return Ok(true);
        }
        let outcome = converge::apply(
            &self.spec,
            Manner {
                look: Look::Everything,
                passing: journal.passing,
                heals: true,
                ..Manner::default()
            },
        )?;
        let mended: Vec<String> = outcome
            .steps
            .iter()
            .map(|step| format!("{} {step}", step.sign()))
            .collect();
        for line in &mended {
            crate::say!("{line}");
        }
        let mut wrong = outcome.conflicts;
        wrong.extend(outcome.failures);
        if self.fresh && wrong.is_empty() {
            self.fresh = false;
            // Those who keep its commands read the file as well.
            match control::ask(&self.spec.name, Verb::Reload, &[]) {
                Ok(Some(reply)) => {
                    reply.changes.iter().for_each(|line| crate::say!("{line}"));
                    wrong.extend(reply.problems);
                }
                Ok(None) => {}
                Err(error) => wrong.push(error.to_string()),
            }
        }
        for line in wrong.iter().filter(|line| !self.told.contains(line)) {
            crate::warn!("error: {line}");
        }
        // Somebody who does it again and again is not to be raced.
        let same = !wrong.is_empty() || (!mended.is_empty() && mended == self.mended);
        self.pause = if same {
            (self.pause * 2).min(PAUSES[1])
        } else {
            PAUSES[0]
        };
        self.again = match same {
            true => Instant::now() + self.pause,
            false => Instant::now(),
        };
        (self.told, self.mended) = (wrong, mended);
        Ok(true)
    }

    /// Reads the file if it was changed; one with mistakes is told of, and the lab stays as it was.
    fn read_again(&mut self, file: &Path) {
        let now = modified(file);
        if now.is_none() || now == self.read {
            return;
        }
        self.read = now;
        let mut sources = Sources::default();
        match Spec::load(file, &mut sources) {
            Ok((Some(spec), _)) if spec.name == self.spec.name => {
                self.spec = spec;
                self.fresh = true;
                (self.again, self.pause) = (Instant::now(), PAUSES[0]);
            }
            Ok((Some(spec), _)) => crate::warn!(
                "error: {} is now lab {}; {} stays as it was",
                file.display(),
                spec.name,
                self.spec.name
            ),
            Ok((None, report)) => {
                crate::say::report(&report, &sources);
                crate::warn!("lab {} stays as it was", self.spec.name);
            }
            Err(error) => crate::warn!("error: cannot read {}: {error}", file.display()),
        }
    }
}

/// When a file was changed.
fn modified(file: &Path) -> Option<SystemTime> {
    std::fs::metadata(file).ok()?.modified().ok()
}
