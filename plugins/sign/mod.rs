//! `sign`: signs zones, into files or into memory.
//!
//! ```text
//! master file ──► unsigned zone ──► signer ─┬─► DIR/db.ZONEsigned, for `file` or `auto`
//!       edits, every 5 h: is it due? ──┘    └─► memory: answered here, and offered to `transfer`
//! ```
//!
//! How master files are read and followed is in `chain::master`, how a zone is signed in `zone::signing`, and how zones answer in
//! `chain::authority`. A zone is signed on a thread of its own; until it is, what was signed before is served.

mod keys;
mod output;
mod setup;
mod signer;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use chain::authority::{Authoritative, outside};
use chain::keeper::{ZoneOrder, ZoneReport};
use chain::{Exchange, Failure, Flow, Hooks, Plugin, Query, Resolving};
use wire::{Name, Qname, Response};

use self::signer::Signer;
pub(crate) use setup::REGISTRATION;

/// The zones of a block that are signed in memory.
struct Signed {
    authoritative: Arc<Authoritative>,
    signers: Vec<Arc<Signer>>,
}

impl Plugin for Signed {
    fn name(&self) -> &'static str {
        "sign"
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
            .signers
            .iter()
            .filter_map(|signer| signer.trouble())
            .collect();
        (!found.is_empty()).then(|| found.join("; "))
    }

    fn zones(&self) -> Vec<ZoneReport> {
        let reports = self.signers.iter().filter_map(|signer| signer.report());
        reports.collect()
    }

    fn order(&self, apex: Name<'_>, order: ZoneOrder) -> Option<Result<String, String>> {
        let mut signers = self.signers.iter().filter(|_| order == ZoneOrder::Reload);
        signers.find_map(|signer| signer.reload(apex))
    }

    fn resolve(self: Arc<Self>, exchange: Box<Exchange>) -> Resolving {
        self.authoritative.clone().resolve(exchange)
    }
}
