//! `minimal`: leaves out of a positive response what nobody asked for.
//!
//! ```text
//! NOERROR ─┬ answers, or nothing at all ──► the authority and the additional section go
//!          ├ no answer, NS records        ──► a referral: stays as it is
//!          └ no answer, a SOA record      ──► NODATA: stays as it is
//! another RCODE ──► stays as it is
//! ```
//!
//! Records are cut from the end, so nothing is copied. Under DO the proof that a wildcard was needed stays (RFC 4035, section 3.1.3.3):
//! without it the answer does not validate.

mod setup;
#[cfg(test)]
mod tests;

use chain::{Admits, Hooks, Opcodes, Plugin, Query, Turn};
use wire::reencode::Edit;
use wire::{Rcode, Record, Response, Section, Type};

pub(crate) use setup::REGISTRATION;

/// The handler; it has nothing to remember.
struct Minimal;

impl Plugin for Minimal {
    fn name(&self) -> &'static str {
        "minimal"
    }

    fn admits(&self) -> Admits {
        Admits {
            opcodes: Opcodes::Query,
            ..Admits::WATCHED
        }
    }

    fn hooks(&self) -> Hooks {
        Hooks::RESPONSE
    }

    fn response(&self, query: &mut Query<'_>, response: &mut Response<'_>) -> Turn {
        if !matches!(query.qtype(), Type::AXFR | Type::IXFR) && is_positive(response) {
            if query.dnssec_ok() && has_proof(response) {
                // The proof fits: the response gets shorter.
                let _ = response.reencode(&mut Vec::new(), &mut OnlyProof);
            } else {
                let answers = response.count(Section::Answer);
                response.keep([answers, 0, 0]);
            }
        }
        Turn::Up
    }
}

/// Whether the response is a success and no referral; CoreDNS takes one without any records for that, too.
fn is_positive(response: &Response<'_>) -> bool {
    response.rcode() == Rcode::NOERROR
        && (response.count(Section::Answer) > 0
            || !response.has_type(Section::Authority, Type::SOA)
                && !response.has_type(Section::Authority, Type::NS))
}

/// Whether the authority section proves that something does not exist.
fn has_proof(response: &Response<'_>) -> bool {
    response.has_type(Section::Authority, Type::NSEC)
        || response.has_type(Section::Authority, Type::NSEC3)
}

/// Keeps the answers and the proof.
struct OnlyProof;

impl Edit for OnlyProof {
    fn keep(&mut self, record: &Record<'_>) -> Option<u32> {
        let rtype = match record.rtype {
            Type::RRSIG => Type(wire::read_u16(record.rdata(), 0)?),
            rtype => rtype,
        };
        let kept = match record.section {
            Section::Answer => true,
            Section::Authority => matches!(rtype, Type::NSEC | Type::NSEC3),
            Section::Additional => false,
        };
        kept.then_some(record.ttl)
    }
}
