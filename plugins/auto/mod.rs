//! `auto`: zones from the master files of a directory, as they come and go.
//!
//! ```text
//! directory ──► names ──► origins ──► a master file for each ──► zone ──► query
//!    └── followed: files that come and go        └── followed: edits
//! ```
//!
//! The directory and each of its files are sources of their own, so the edit of one zone reads one file, and a file that is being
//! written holds back nothing but itself. How files become zones is in `chain::master`, and how zones answer is in
//! `chain::authority`.

mod directory;
mod setup;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use chain::authority::{Authoritative, outside};
use chain::keeper::{ZoneOrder, ZoneReport};
use chain::{Exchange, Failure, Flow, Plugin, Query, Resolving};
use wire::{Name, NameBuf, Response};

use directory::Kept;
pub(crate) use setup::REGISTRATION;

/// One `auto` directive at work.
struct Auto {
    /// The zones whose names it answers, whatever zones the directory has.
    origins: Vec<NameBuf>,
    authoritative: Arc<Authoritative>,
    /// The files.
    kept: Arc<Kept>,
}

impl Plugin for Auto {
    fn name(&self) -> &'static str {
        "auto"
    }

    fn query(&self, query: &mut Query<'_>, response: &mut Response<'_>) -> Result<Flow, Failure> {
        let qname = query.qname();
        if !self
            .origins
            .iter()
            .any(|origin| qname.is_within(origin.as_name()))
        {
            return Ok(Flow::Next);
        }
        let answered = self.authoritative.answer(query, response);
        answered.unwrap_or_else(|| outside(query))
    }

    fn trouble(&self) -> Option<String> {
        self.kept.trouble()
    }

    fn zones(&self) -> Vec<ZoneReport> {
        let files = self.kept.files().into_iter();
        files
            .flat_map(|kept| kept.reports().collect::<Vec<_>>())
            .collect()
    }

    fn order(&self, apex: Name<'_>, order: ZoneOrder) -> Option<Result<String, String>> {
        let files = self.kept.files().into_iter();
        let mut files = files.filter(|_| order == ZoneOrder::Reload);
        files.find_map(|kept| kept.reload(apex))
    }

    fn resolve(self: Arc<Self>, exchange: Box<Exchange>) -> Resolving {
        self.authoritative.clone().resolve(exchange)
    }
}
