//! `local`: keeps questions about the client itself from leaving the machine.
//!
//! ```text
//! localhost.          A, AAAA, NS, SOA        *.localhost., localhost.*      A, AAAA, counted
//! 0, 127, 255.in-addr.arpa.   NS, SOA         1.0.0.127.in-addr.arpa.        PTR
//! another type ──► NODATA                     another name of these zones ──► NXDOMAIN
//! ```
//!
//! Records are constants. Their owners are pointers: to QNAME, or into it where the zone's own name begins.

mod setup;
#[cfg(test)]
mod tests;

use chain::{Failure, Flow, Plugin, Query};
use telemetry::metrics::{Striped, metric};
use wire::{HEADER_LEN, NameBuf, Rcode, Response, Section, Type};

pub(crate) use setup::REGISTRATION;

/// The zone with records for addresses.
const LOCALHOST: &[u8] = b"\x09localhost\0";
/// The only name with a PTR record.
const LOOPBACK: &[u8] = b"\x011\x010\x010\x03127\x07in-addr\x04arpa\0";
/// The zones for reverse look-ups (RFC 1912, section 4.1).
const REVERSE: [&str; 3] = ["0.in-addr.arpa.", "127.in-addr.arpa.", "255.in-addr.arpa."];
/// A week, in seconds.
const TTL: u32 = 604_800;

const A: &[u8] = &[127, 0, 0, 1];
const AAAA: &[u8] = &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
/// `localhost. root.localhost. 1 0 0 0 604800`
const SOA: &[u8] = b"\x09localhost\0\x04root\x09localhost\0\
    \0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\x09\x3A\x80";

/// The handler.
struct Local {
    /// The zones for reverse look-ups.
    reverse: Vec<NameBuf>,
    localhost: NameBuf,
    /// Whether `localhost.*` counts, too.
    prefix: bool,
    /// Queries for names beside `localhost.` itself.
    requests: Striped,
}

/// Which of its names QNAME is.
enum Place {
    /// `localhost.`
    Localhost,
    /// A name below `localhost.`, or that begins with it.
    Kin,
    /// A zone for reverse look-ups.
    Apex,
    /// A name in such a zone, whose name has this many octets.
    Below(usize),
}

impl Local {
    fn new(prefix: bool) -> Self {
        let name = |text: &str| text.parse::<NameBuf>().unwrap_or(NameBuf::root());
        Self {
            reverse: REVERSE.map(name).into(),
            localhost: name("localhost."),
            prefix,
            requests: metric(
                "coredns_local_localhost_requests",
                "Counter of special localhost subdomain requests.",
                Striped::default,
            ),
        }
    }

    /// Which of its names QNAME is, if it is one.
    fn place(&self, query: &Query<'_>) -> Option<Place> {
        let octets = query.name().octets();
        if octets == LOCALHOST {
            return Some(Place::Localhost);
        }
        let label = &LOCALHOST[..LOCALHOST.len() - 1];
        if self.prefix && octets.starts_with(label)
            || query.qname().is_within(self.localhost.as_name())
        {
            return Some(Place::Kin);
        }
        let zone = query.enclosing(&self.reverse)?;
        Some(match zone.as_name() == query.name() {
            true => Place::Apex,
            false => Place::Below(zone.as_name().octets().len()),
        })
    }
}

impl Plugin for Local {
    fn name(&self) -> &'static str {
        "local"
    }

    fn query(&self, query: &mut Query<'_>, response: &mut Response<'_>) -> Result<Flow, Failure> {
        let Some(place) = self.place(query) else {
            return Ok(Flow::Next);
        };
        if let Place::Kin = place {
            self.requests.inc(query.worker());
            tracing::debug!(
                target: "plugin/local",
                "Intercepting localhost query for \"{}\" {}, from {}",
                query.name(), query.qtype(), query.peer().ip(),
            );
        }
        let qtype = query.qtype();
        let (owner, found) = match place {
            Place::Localhost | Place::Kin => (HEADER_LEN, address(qtype)),
            Place::Apex => (HEADER_LEN, None),
            Place::Below(zone) => {
                let octets = query.name().octets();
                let found = match octets == LOOPBACK {
                    true => {
                        matches!(qtype, Type::PTR | Type::ANY).then_some((Type::PTR, LOCALHOST))
                    }
                    false => {
                        response.set_rcode(Rcode::NXDOMAIN);
                        None
                    }
                };
                (HEADER_LEN + octets.len() - zone, found)
            }
        };
        let found = found.or(match place {
            Place::Localhost | Place::Apex => apex(qtype),
            Place::Kin | Place::Below(_) => None,
        });
        match found {
            Some((rtype, rdata)) => push(response, Section::Answer, HEADER_LEN, (rtype, rdata)),
            None => push(response, Section::Authority, owner, (Type::SOA, SOA)),
        }
        Ok(Flow::Answered)
    }
}

/// The record of this type that every name of a loopback address has. ANY gets one (RFC 8482, section 4.1).
fn address(qtype: Type) -> Option<(Type, &'static [u8])> {
    match qtype {
        Type::A | Type::ANY => Some((Type::A, A)),
        Type::AAAA => Some((Type::AAAA, AAAA)),
        _ => None,
    }
}

/// The record of this type that every zone has.
fn apex(qtype: Type) -> Option<(Type, &'static [u8])> {
    match qtype {
        Type::SOA | Type::ANY => Some((Type::SOA, SOA)),
        Type::NS => Some((Type::NS, LOCALHOST)),
        _ => None,
    }
}

/// Appends a record of class IN whose owner stands at `owner`; every response has room for it.
fn push(
    response: &mut Response<'_>,
    section: Section,
    owner: usize,
    (rtype, rdata): (Type, &[u8]),
) {
    let mut head = [0; 12];
    head[..2].copy_from_slice(&(0xC000 | owner as u16).to_be_bytes());
    head[2..4].copy_from_slice(&rtype.0.to_be_bytes());
    head[5] = 1;
    head[6..10].copy_from_slice(&TTL.to_be_bytes());
    head[10..].copy_from_slice(&(rdata.len() as u16).to_be_bytes());
    let _ = response.push_pieces(section, &[&head, rdata], 1);
}
