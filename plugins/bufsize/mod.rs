//! `bufsize`: how many octets a message over UDP has at most.
//!
//! The size counts for the response, which is cut to it when it is finished, and for what the plugins below offer upstream. It never
//! raises what the client itself takes.

mod setup;
#[cfg(test)]
mod tests;

use chain::{Admits, Failure, Flow, Plugin, Query};
use wire::Response;

pub(crate) use setup::REGISTRATION;

/// The handler.
struct Bufsize {
    size: u16,
}

impl Plugin for Bufsize {
    fn name(&self) -> &'static str {
        "bufsize"
    }

    fn admits(&self) -> Admits {
        Admits::WATCHED
    }

    fn query(&self, query: &mut Query<'_>, _: &mut Response<'_>) -> Result<Flow, Failure> {
        query.set_udp_size(self.size);
        Ok(Flow::Next)
    }
}
