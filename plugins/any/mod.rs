//! `any`: a short HINFO record for every query of type ANY (RFC 8482, section 4.2).
//!
//! The record is the same for every name, so it is a constant, and its owner is a pointer to QNAME.

mod setup;
#[cfg(test)]
mod tests;

use chain::{Failure, Flow, Plugin, Query};
use wire::{Response, Section, Type};

pub(crate) use setup::REGISTRATION;

/// Owner (a pointer to QNAME), type HINFO, class IN, TTL 8482, and the two texts that CoreDNS sends.
const RECORD: [u8; 39] =
    *b"\xC0\x0C\x00\x0D\x00\x01\x00\x00\x21\x22\x00\x1B\x0DANY obsoleted\x0CSee RFC 8482";

/// The handler; it has nothing to remember.
struct Any;

impl Plugin for Any {
    fn name(&self) -> &'static str {
        "any"
    }

    fn query(&self, query: &mut Query<'_>, response: &mut Response<'_>) -> Result<Flow, Failure> {
        if query.qtype() != Type::ANY {
            return Ok(Flow::Next);
        }
        // Every message has room for it.
        let _ = response.push_octets(Section::Answer, &RECORD, 1);
        Ok(Flow::Answered)
    }
}
