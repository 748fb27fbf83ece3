//! `dns64`: IPv6 addresses for names that have IPv4 addresses only, for clients behind a NAT64 (RFC 6147).
//!
//! ```text
//! response ↑ to AAAA ─┬ NXDOMAIN, or with an address ──► as it is
//!                     └ without one ──► ask the plugins below for A ─┬ failed ──► as it is
//!                                                                    └ each A record becomes an AAAA record: prefix + address
//! ```
//!
//! The second question waits in a task, with buffers of its own; responses with an address pay for a look at their records.

mod prefix;
mod setup;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use chain::{
    Admits, Ending, Exchange, Failure, Hooks, MAX_DEPTH, Plugin, Query, Responded, Responding,
    Turn, ask_below,
};
use telemetry::metrics::{Striped, family};
use wire::reencode::{self, ReencodeError, Verbatim};
use wire::{Class, Flags, NameBuf, Rcode, Record, Response, Section, Type};

use self::prefix::Prefix;
pub(crate) use setup::REGISTRATION;

/// The TTL of a synthesised record at most, where the denial of AAAA has no SOA record (RFC 6147, section 5.1.7).
const TTL: u32 = 600;

/// The handler.
struct Dns64 {
    prefix: Prefix,
    /// Whether addresses that are there are replaced, too.
    translate_all: bool,
    /// Whether clients on IPv4 are served, too.
    allow_ipv4: bool,
}

impl Dns64 {
    /// Whether a client gets synthesised addresses.
    fn serves(&self, query: &Query<'_>) -> bool {
        let ipv6 = query.peer().ip().to_canonical().is_ipv6();
        query.qtype() == Type::AAAA && (ipv6 || self.allow_ipv4) && query.depth() < MAX_DEPTH
    }

    /// Whether the response says that there is no IPv6 address: any RCODE but NXDOMAIN (RFC 6147, section 5.1.2).
    fn lacks_address(&self, response: &Response<'_>) -> bool {
        response.rcode() != Rcode::NXDOMAIN
            && (self.translate_all
                || !response
                    .section(Section::Answer)
                    .filter_map(Result::ok)
                    .any(|record| record.rtype == Type::AAAA && !is_mapped(&record)))
    }

    /// Asks for A, and writes what that makes the response.
    async fn synthesise(self: Arc<Self>, mut exchange: Box<Exchange>) -> Responded {
        let Some(query) = exchange.suspended_query() else {
            return (exchange, Ok(()));
        };
        let (step, worker) = (query.step(), query.worker());
        let name = NameBuf::from_name(query.name());
        let block = Arc::clone(query.block());
        let longest = longest(&exchange.response());
        let inner = exchange.derive(name.as_name(), Type::A);
        let (mut inner, ending) = ask_below(inner, block.clone(), step).await;
        let failed = inner.views(&block).0.failure().is_some();
        let response = inner.response();
        if ending != Ending::Respond || failed || response.rcode() != Rcode::NOERROR {
            // The denial of AAAA stands.
            return (exchange, Ok(()));
        }
        exchange.begin();
        exchange.context.extended = None;
        let written = self.write(&response, longest, &mut exchange.response());
        translated(&block.info.server).inc(worker);
        (exchange, written.map_err(Failure::from))
    }

    /// Writes the response: RFC 6147, sections 5.3.2 and 5.3.3, let everything but A records pass unchanged.
    fn write(
        &self,
        from: &Response<'_>,
        longest: u32,
        to: &mut Response<'_>,
    ) -> Result<(), ReencodeError> {
        for record in from.records() {
            let record = record.map_err(ReencodeError::Malformed)?;
            let written = match <[u8; 4]>::try_from(record.rdata()) {
                Ok(address) if is_answer(&record) => {
                    let owner = record.owner().map_err(ReencodeError::Malformed)?;
                    let fixed = (Type::AAAA, Class::IN, record.ttl.min(longest));
                    let address = self.prefix.with(address).octets();
                    to.push(Section::Answer, owner.as_name(), fixed, &address)
                        .map_err(ReencodeError::from)
                }
                _ => reencode::record(&record, to, &mut Verbatim).map(drop),
            };
            match written {
                Ok(()) => {}
                // The response has what fitted, and is marked truncated.
                Err(ReencodeError::Full) => break,
                Err(why) => return Err(why),
            }
        }
        if from.flags().has(Flags::TC) {
            to.set_flag(Flags::TC, true);
        }
        to.set_flag(Flags::RA, from.flags().has(Flags::RA));
        Ok(())
    }
}

/// Whether a record is an IPv4 address that was asked for.
fn is_answer(record: &Record<'_>) -> bool {
    (record.section, record.rtype, record.class) == (Section::Answer, Type::A, Class::IN)
}

/// Whether an AAAA record has an IPv4 address in IPv6 form, which no host can use (RFC 6147, section 5.1.4).
fn is_mapped(record: &Record<'_>) -> bool {
    record
        .rdata()
        .starts_with(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF])
}

/// The TTL of a synthesised record at most: that of the SOA record in the denial of AAAA.
fn longest(denial: &Response<'_>) -> u32 {
    denial
        .section(Section::Authority)
        .filter_map(Result::ok)
        .filter(|record| record.rtype == Type::SOA)
        .last()
        .map_or(TTL, |record| record.ttl)
}

/// The counter of responses that were written anew.
fn translated(server: &str) -> Striped {
    let family = family::<Vec<(&str, String)>, Striped>(
        "coredns_dns64_requests_translated",
        "Counter of DNS requests translated by dns64.",
    );
    family.get_or_create_owned(&vec![("server", server.to_owned())])
}

impl Plugin for Dns64 {
    fn name(&self) -> &'static str {
        "dns64"
    }

    fn admits(&self) -> Admits {
        Admits {
            watches: true,
            ..Admits::QUERIES
        }
    }

    fn hooks(&self) -> Hooks {
        Hooks::RESPONSE
    }

    fn response(&self, query: &mut Query<'_>, response: &mut Response<'_>) -> Turn {
        let wanted =
            self.serves(query) && query.failure().is_none() && self.lacks_address(response);
        match wanted {
            true => Turn::Wait,
            false => Turn::Up,
        }
    }

    fn respond(self: Arc<Self>, exchange: Box<Exchange>) -> Responding {
        Box::pin(self.synthesise(exchange))
    }

    fn attach(&self, block: &chain::BlockInfo) {
        // Shown as 0 before the first.
        translated(&block.server);
    }
}
