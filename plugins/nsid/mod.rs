//! `nsid`: which server answered, for clients that ask (RFC 5001).
//!
//! The identifier is no part of a response that a cache keeps: it goes into the OPT record, which is written last.

mod setup;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use chain::{Admits, Failure, Flow, Plugin, Query};
use wire::{EdnsOption, Response};

pub(crate) use setup::REGISTRATION;

/// The handler.
struct Nsid {
    data: Arc<[u8]>,
}

impl Plugin for Nsid {
    fn name(&self) -> &'static str {
        "nsid"
    }

    fn admits(&self) -> Admits {
        Admits::WATCHED
    }

    fn query(&self, query: &mut Query<'_>, _: &mut Response<'_>) -> Result<Flow, Failure> {
        if let Some(edns) = query.edns() {
            let mut options = edns.options(query.message());
            if options.any(|option| option.code == EdnsOption::NSID) {
                query.set_nsid(self.data.clone());
            }
        }
        Ok(Flow::Next)
    }
}
