//! `errors`: writes the cause of every failure to the log.
//!
//! A query that does not fail costs one look at an `Option`. Causes that match a pattern are counted in an atomic, and a task
//! beside the queries writes the count when the pattern's time is over; a snapshot that goes writes what is left.

mod setup;
#[cfg(test)]
mod tests;

use std::fmt::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use chain::{Admits, Cause, Hooks, Plugin, Query, Turn};
use tokio::sync::Notify;
use wire::Response;

pub(crate) use setup::REGISTRATION;

/// How loud a line is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Level {
    Error,
    Warning,
    Info,
    Debug,
}

impl Level {
    /// The words of the Corefile.
    const WORDS: [(&'static str, Level); 4] = [
        ("warning", Self::Warning),
        ("error", Self::Error),
        ("info", Self::Info),
        ("debug", Self::Debug),
    ];

    /// Writes a line.
    fn log(self, line: fmt::Arguments<'_>) {
        match self {
            Self::Error => tracing::error!(target: "plugin/errors", "{line}"),
            Self::Warning => tracing::warn!(target: "plugin/errors", "{line}"),
            Self::Info => tracing::info!(target: "plugin/errors", "{line}"),
            Self::Debug => tracing::debug!(target: "plugin/errors", "{line}"),
        }
    }
}

/// One `consolidate`: causes like this are counted, and told once in a period.
struct Pattern {
    regex: chain::pattern::Pattern,
    period: Duration,
    /// The period as Go writes it.
    shown: String,
    level: Level,
    show_first: bool,
    count: AtomicU32,
    begun: Notify,
}

impl Pattern {
    /// Counts a cause; `true` when it is to be written by itself.
    fn count(&self) -> bool {
        let first = self.count.fetch_add(1, Ordering::Relaxed) == 0;
        if first {
            self.begun.notify_one();
        }
        first && self.show_first
    }

    /// Writes the count, and begins anew.
    fn tell(&self) {
        let count = self.count.swap(0, Ordering::Relaxed);
        if count > 1 || (count == 1 && !self.show_first) {
            self.level.log(format_args!(
                "{count} errors like '{}' occurred in last {}",
                self.regex.text(),
                self.shown
            ));
        }
    }

    /// Tells each period's count, counted from its first cause.
    async fn run(self: Arc<Self>) {
        loop {
            self.begun.notified().await;
            tokio::time::sleep(self.period).await;
            self.tell();
        }
    }
}

impl Drop for Pattern {
    fn drop(&mut self) {
        self.tell();
    }
}

/// `errors` of one server block.
pub(crate) struct Errors {
    patterns: Vec<Arc<Pattern>>,
}

impl Plugin for Errors {
    fn name(&self) -> &'static str {
        "errors"
    }

    fn admits(&self) -> Admits {
        Admits::WATCHED
    }

    fn hooks(&self) -> Hooks {
        Hooks::RESPONSE
    }

    fn response(&self, query: &mut Query<'_>, _: &mut Response<'_>) -> Turn {
        let Some(failure) = query.failure() else {
            return Turn::Up;
        };
        let cause = match &failure.cause {
            Cause::None => return Turn::Up,
            Cause::Static(text) => text,
            Cause::Text(text) => &**text,
        };
        let mut level = Level::Error;
        if let Some(pattern) = self.patterns.iter().find(|p| p.regex.is_match(cause)) {
            if !pattern.count() {
                return Turn::Up;
            }
            level = pattern.level;
        }
        let asked = query.asked();
        level.log(format_args!(
            "{} {} {}: {}",
            failure.rcode.0,
            asked.qname.name(),
            asked.qtype,
            Inert(cause)
        ));
        Turn::Up
    }
}

/// A text without its power over a terminal or a log reader: control characters are escaped.
struct Inert<'a>(&'a str);

impl fmt::Display for Inert<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            if c.is_control() {
                write!(f, "{}", c.escape_default())?;
            } else {
                f.write_char(c)?;
            }
        }
        Ok(())
    }
}
