//! `file`: zones from master files.
//!
//! ```text
//! master file ──► zone (octets ready to send) ──► swapped whole ──► query ─┬─► answered
//!                                                                         └─► an alias leads out: resolve asks the server itself
//! ```
//!
//! One handler serves all `file` lines of a block. How files become zones is in `chain::master`, and how zones answer is in
//! `chain::authority`.

mod setup;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use chain::authority::{Authoritative, outside};
use chain::keeper::{ZoneOrder, ZoneReport};
use chain::master::Kept;
use chain::{Exchange, Failure, Flow, Hooks, Plugin, Query, Resolving};
use wire::{Name, Qname, Response};

pub(crate) use setup::REGISTRATION;

/// All zones of a block's `file` lines.
struct Zones {
    authoritative: Arc<Authoritative>,
    /// What the zones were read from.
    files: Vec<Arc<Kept>>,
}

impl Plugin for Zones {
    fn name(&self) -> &'static str {
        "file"
    }

    fn hooks(&self) -> Hooks {
        Hooks::QUERY.and(Hooks::AHEAD)
    }

    fn ahead(&self, qnames: &[&Qname]) -> bool {
        self.authoritative.ahead(qnames)
    }

    fn query(&self, query: &mut Query<'_>, response: &mut Response<'_>) -> Result<Flow, Failure> {
        let answered = self.authoritative.answer(query, response);
        answered.unwrap_or_else(|| outside(query))
    }

    fn trouble(&self) -> Option<String> {
        let found: Vec<_> = self
            .files
            .iter()
            .filter_map(|kept| kept.trouble())
            .collect();
        (!found.is_empty()).then(|| found.join("; "))
    }

    fn zones(&self) -> Vec<ZoneReport> {
        self.files.iter().flat_map(|kept| kept.reports()).collect()
    }

    fn order(&self, apex: Name<'_>, order: ZoneOrder) -> Option<Result<String, String>> {
        let mut files = self.files.iter().filter(|_| order == ZoneOrder::Reload);
        files.find_map(|kept| kept.reload(apex))
    }

    fn resolve(self: Arc<Self>, exchange: Box<Exchange>) -> Resolving {
        self.authoritative.clone().resolve(exchange)
    }
}
