//! `cancel`: for how long a query may wait.
//!
//! The deadline is a number on the query. Where the query comes to wait, for an upstream or for anything else, its listener sets a clock
//! by it. An answer that comes at once never meets a clock.

mod setup;
#[cfg(test)]
mod tests;

use std::time::Duration;

use chain::{Admits, Failure, Flow, Plugin, Query};
use wire::Response;

pub(crate) use setup::REGISTRATION;

/// The handler.
struct Cancel {
    /// In nanoseconds.
    timeout: u64,
}

impl Cancel {
    fn new(timeout: Duration) -> Self {
        Self {
            timeout: u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX),
        }
    }
}

impl Plugin for Cancel {
    fn name(&self) -> &'static str {
        "cancel"
    }

    fn admits(&self) -> Admits {
        Admits::WATCHED
    }

    fn query(&self, query: &mut Query<'_>, _: &mut Response<'_>) -> Result<Flow, Failure> {
        query.set_deadline(query.received().saturating_add(self.timeout));
        Ok(Flow::Next)
    }
}
