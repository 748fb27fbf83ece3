//! `hosts`: addresses and names from files as /etc/hosts.
//!
//! ```text
//! files, inline lines ──► lines (entries) ──► table (octets ready to send) ──► swapped whole ──► query
//! ```
//!
//! A query pins the table, finds its name by the hash that parsing made, and copies one run of records. Nothing is allocated or
//! locked; a reload builds another table beside the one that serves.

mod lines;
mod setup;
mod source;
mod table;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arc_swap::ArcSwap;
use chain::capability::{Holdings, VisitType};
use chain::trace::Remark;
use chain::{ExtendedError, Failure, Fallthrough, Flow, Plugin, Query, reverse};
use wire::{Class, Flags, Name, NameBuf, Qname, Rcode, Response, Section, Type};
use zone::Standing;

use table::{A_LEN, AAAA_LEN, Run, Table};

pub(crate) use setup::REGISTRATION;

/// One `hosts` directive at work.
struct Hosts {
    /// The zones that it answers for, in lower case.
    origins: Vec<NameBuf>,
    /// Whether one of them is the root.
    everywhere: bool,
    /// Which unknown names go on.
    fall: Fallthrough,
    /// Whether known names go on, too, for types other than A, AAAA and PTR.
    pass_unsupported: bool,
    /// The TTL of every record.
    ttl: u32,
    /// The entries.
    table: Arc<ArcSwap<Table>>,
}

impl Plugin for Hosts {
    fn name(&self) -> &'static str {
        "hosts"
    }

    fn query(&self, query: &mut Query<'_>, response: &mut Response<'_>) -> Result<Flow, Failure> {
        let qtype = query.qtype();
        let table = self.table.load();
        if qtype == Type::PTR {
            // Reverse zones need not be among the directive's zones, and an unknown address always goes on.
            let found = reverse::address(query.qname()).and_then(|address| table.pointers(address));
            let Some(run) = found else {
                query.remark(|| Remark::new("no entry for this address"));
                return Ok(Flow::Next);
            };
            response.set_flag(Flags::AA, true);
            self.push(query, response, run, Type::PTR);
            return Ok(Flow::Answered);
        }
        if !self.everywhere && query.enclosing(&self.origins).is_none() {
            query.remark(|| Remark::new("the name is in none of its zones"));
            return Ok(Flow::Next);
        }
        let known = table.find(query.qname());
        let supported = matches!(qtype, Type::A | Type::AAAA);
        let Some(addresses) = known else {
            return self.unknown(query);
        };
        if !supported && self.pass_unsupported && self.fall.through(query.qname()) {
            return Ok(Flow::Next);
        }
        response.set_flag(Flags::AA, true);
        match qtype {
            Type::A => self.push(query, response, addresses.a, qtype),
            Type::AAAA => self.push(query, response, addresses.aaaa, qtype),
            _ => {}
        }
        Ok(Flow::Answered)
    }
}

impl Holdings for Hosts {
    fn types_at(&self, qname: &Qname, visit: VisitType<'_>) -> Option<Standing> {
        let origins = || self.origins.iter().map(|origin| origin.as_name());
        if !self.everywhere && !origins().any(|origin| qname.is_within(origin)) {
            return None;
        }
        let table = self.table.load();
        let found = table.find(qname)?;
        for (rtype, run) in [(Type::A, found.a), (Type::AAAA, found.aaaa)] {
            if run.count > 0 {
                visit(rtype);
            }
        }
        Some(Standing::There)
    }
}

impl Hosts {
    /// A name that has no entry. It would be NXDOMAIN, but a hosts file has no SOA to say so with.
    fn unknown(&self, query: &mut Query<'_>) -> Result<Flow, Failure> {
        if self.fall.through(query.qname()) {
            query.remark(|| Remark::new("no entry for this name"));
            return Ok(Flow::Next);
        }
        Err(Failure::policy(Rcode::SERVFAIL).extended(
            ExtendedError::OTHER,
            "hosts: no entry for this name, and no fallthrough",
        ))
    }

    /// Writes a run of records: as it is where the question is in lower case, else with the owner written out.
    #[inline]
    fn push(&self, query: &Query<'_>, response: &mut Response<'_>, run: Run<'_>, rtype: Type) {
        if run.count == 0 {
            return;
        }
        if !query.qname().was_lower() {
            self.push_spelled(query.name(), response, run, rtype);
        } else if response
            .push_octets(Section::Answer, run.octets, run.count)
            .is_err()
        {
            self.push_some(response, run, rtype);
        }
    }

    /// The records under an owner that the question does not spell.
    #[cold]
    fn push_spelled(
        &self,
        owner: Name<'_>,
        response: &mut Response<'_>,
        run: Run<'_>,
        rtype: Type,
    ) {
        for record in records(run, rtype) {
            let rdata = record.get(12..).unwrap_or_default();
            let fixed = (rtype, Class::IN, self.ttl);
            if response.push(Section::Answer, owner, fixed, rdata).is_err() {
                return;
            }
        }
    }

    /// As many records as there is room for; the response is marked truncated.
    #[cold]
    fn push_some(&self, response: &mut Response<'_>, run: Run<'_>, rtype: Type) {
        for record in records(run, rtype) {
            if response.push_octets(Section::Answer, record, 1).is_err() {
                return;
            }
        }
    }
}

/// The records of a run, one by one.
fn records(run: Run<'_>, rtype: Type) -> impl Iterator<Item = &[u8]> {
    let mut rest = run.octets;
    std::iter::from_fn(move || {
        let len = match rtype {
            Type::A => A_LEN,
            Type::AAAA => AAAA_LEN,
            _ => 12 + wire::read_u16(rest, 10)? as usize,
        };
        let (record, behind) = rest.split_at_checked(len)?;
        rest = behind;
        Some(record)
    })
}
