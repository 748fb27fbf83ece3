//! `records`: zones whose records stand in the Corefile.
//!
//! ```text
//! lines of the Corefile ──► zone (octets ready to send) ──► query ─┬─► answered
//!                                                                └─► an alias leads out: resolve asks the server itself
//! ```
//!
//! The lines are read as a master file is, by the `zone` crate, once for each zone, and answered by `chain::authority`.

mod setup;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use chain::authority::Authoritative;
use chain::{Exchange, Failure, Flow, Plugin, Query, Resolving};
use wire::Response;

pub(crate) use setup::REGISTRATION;

/// The zones of one directive.
struct Records(Arc<Authoritative>);

impl Plugin for Records {
    fn name(&self) -> &'static str {
        "records"
    }

    fn query(&self, query: &mut Query<'_>, response: &mut Response<'_>) -> Result<Flow, Failure> {
        self.0.answer(query, response).unwrap_or(Ok(Flow::Next))
    }

    fn resolve(self: Arc<Self>, exchange: Box<Exchange>) -> Resolving {
        self.0.clone().resolve(exchange)
    }
}
