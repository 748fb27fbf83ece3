//! `log`: one line for each query, in a format of the user's.
//!
//! Formats are cut into pieces when the Corefile is loaded. A line is composed in a buffer that the thread keeps; a query that no
//! rule wants costs one comparison of names for each rule.

mod class;
mod format;
mod setup;
#[cfg(test)]
mod tests;

use std::cell::Cell;

use chain::{Admits, Hooks, Plugin, Query, Turn};
use wire::{NameBuf, Response};

use self::class::{Class, Kind};
use self::format::{Format, Seen};

pub(crate) use setup::REGISTRATION;

/// Which queries are logged, and how.
#[derive(Clone)]
struct Rule {
    scope: NameBuf,
    format: Format,
    /// Nothing is every class.
    classes: Vec<Class>,
}

/// The rules of one server block, in file order. The first one in whose scope a name lies decides.
pub(crate) struct Log {
    rules: Vec<Rule>,
}

thread_local! {
    static LINE: Cell<String> = const { Cell::new(String::new()) };
}

impl Plugin for Log {
    fn name(&self) -> &'static str {
        "log"
    }

    fn admits(&self) -> Admits {
        Admits::WATCHED
    }

    fn hooks(&self) -> Hooks {
        Hooks::RESPONSE
    }

    fn response(&self, query: &mut Query<'_>, response: &mut Response<'_>) -> Turn {
        self.write(query, Some(response));
        Turn::Up
    }

    /// A query that nobody answers is logged, too: as an error, like CoreDNS.
    fn silent(&self, query: &mut Query<'_>) {
        self.write(query, None);
    }
}

impl Log {
    /// Writes the line of a query, if a rule wants one; without a response, nobody answers it.
    fn write(&self, query: &Query<'_>, response: Option<&Response<'_>>) {
        let qname = query.asked().qname.name();
        let rule = self
            .rules
            .iter()
            .find(|rule| qname.is_within(rule.scope.as_name()));
        let Some(rule) = rule else {
            return;
        };
        let kind = response.map_or(Kind::OtherError, |response| Kind::of(query, response));
        if !rule.classes.is_empty() && !rule.classes.contains(&kind.class()) {
            return;
        }
        let mut line = LINE.take();
        line.clear();
        let seen = Seen {
            query,
            response,
            kind,
            now: host::clock::now(),
        };
        // Writing to a String does not fail.
        let _ = rule.format.write(&mut line, &seen);
        tracing::info!(target: "log", "{line}");
        LINE.set(line);
    }
}
