//! `rrl`: limits how fast clients get responses over UDP that are alike, and how fast they may ask (response rate limiting).
//!
//! ```text
//! query ─► requests-per-second, by network ─► over: silence
//! response ─► proved address (TCP, a cookie)? ─► sent as it is
//!          └► category ─► hash of (network, category, name, type) ─► table::Table ─┬─► within: sent as it is
//!                                                                                  ├─► over: silence
//!                                                                                  └─► slips: TC, or BADCOOKIE, and no records
//! ```

mod setup;
mod table;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use chain::metadata::{Note, WILDCARD};
use chain::trace::Remark;
use chain::{Admits, BlockInfo, Failure, Flow, Hooks, Plugin, Query, Turn};
use telemetry::metrics::{Striped, family};
use telemetry::traffic::Grow;
use wire::{Flags, NameBuf, Rcode, Response, Section, Type, mix, name_hash, seed};

pub(crate) use setup::REGISTRATION;
use table::{Table, Verdict};

/// The limits of a server block at work.
struct Rrl {
    zones: Vec<NameBuf>,
    /// Bits of an address that tell one network from another, of IPv4 and of IPv6.
    prefixes: [u8; 2],
    /// Nanoseconds between two responses of a category; 0 is no limit.
    responses: [u64; 5],
    /// The same between two queries.
    requests: u64,
    report_only: bool,
    table: Table,
    metrics: Grow<Metrics>,
}

/// What is counted of one listener and zone.
struct Metrics {
    requests: Striped,
    responses: Striped,
}

/// What a response is, as far as limits go: the place of its interval.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Category {
    /// It has records in its answer section.
    Response,
    Nodata,
    Nxdomain,
    Referral,
    /// Every other RCODE.
    Error,
}

/// What stands for queries in a hash, beside the categories of responses.
const REQUEST: u64 = 5;
/// The memo of a query whose response is not limited.
const PASSES: u64 = 0;
const LIMITED: u64 = 1;

impl Category {
    fn of(response: &Response<'_>) -> Self {
        if response.count(Section::Answer) > 0 {
            return Self::Response;
        }
        match response.rcode() {
            Rcode::NXDOMAIN => Self::Nxdomain,
            Rcode::NOERROR => {
                let mut authority = response.section(Section::Authority);
                match authority.next() {
                    Some(Ok(first)) if first.rtype == Type::NS => Self::Referral,
                    _ => Self::Nodata,
                }
            }
            _ => Self::Error,
        }
    }
}

impl Rrl {
    /// The hash of the client's network.
    #[inline]
    fn network(&self, address: IpAddr) -> u64 {
        let [v4, v6] = self.prefixes;
        // Both lengths are at least 1.
        let bits = match address.to_canonical() {
            IpAddr::V4(address) => {
                let kept = u32::from(address) >> (32 - u32::from(v4));
                return mix(mix(seed(), 4), u64::from(kept));
            }
            IpAddr::V6(address) => u128::from(address) >> (128 - u32::from(v6)),
        };
        mix(mix(mix(seed(), 6), bits as u64), (bits >> 64) as u64)
    }

    /// The hash of what responses are counted by. As in BIND, a name that does not exist and a referral count for the name in the
    /// authority section, what a wildcard gives for the wildcard, and all errors together.
    #[inline]
    fn token(&self, category: Category, query: &Query<'_>, response: &Response<'_>) -> u64 {
        let asked = query.asked();
        let network = mix(self.network(query.peer().ip()), category as u64);
        let name = match category {
            Category::Error => return network,
            Category::Nxdomain | Category::Referral => {
                let mut authority = response.section(Section::Authority);
                let owner = authority.next().and_then(Result::ok);
                let owner = owner.and_then(|record| record.owner().ok());
                owner.map_or(0, |owner| name_hash(owner.to_lower().as_name()))
            }
            Category::Response | Category::Nodata => match query.noted(WILDCARD) {
                Some(Note::Name(wildcard)) => name_hash(wildcard.to_lower().as_name()),
                _ => asked.qname.hash(0),
            },
        };
        let named = mix(network, name);
        match category {
            Category::Response | Category::Referral => mix(named, u64::from(asked.qtype.0)),
            _ => named,
        }
    }

    /// Whether the query is over the limit of its network.
    #[inline]
    fn is_too_fast(&self, query: &Query<'_>) -> bool {
        let token = mix(self.network(query.peer().ip()), REQUEST);
        self.table.debit(token, self.requests, query.received()) != Verdict::Within
    }
}

impl Plugin for Rrl {
    fn name(&self) -> &'static str {
        "rrl"
    }

    fn hooks(&self) -> Hooks {
        Hooks::BOTH
    }

    fn admits(&self) -> Admits {
        Admits::WATCHED
    }

    fn query(&self, query: &mut Query<'_>, _: &mut Response<'_>) -> Result<Flow, Failure> {
        query.set_memo(PASSES);
        if query.depth() > 0 || query.enclosing(&self.zones).is_none() {
            return Ok(Flow::Next);
        }
        if self.requests > 0 && self.is_too_fast(query) {
            if let Some(metrics) = self.metrics.get(query.block().info.index) {
                metrics.requests.inc(query.worker());
            }
            query.remark(|| Remark::new("over the limit of queries"));
            if !self.report_only {
                return Ok(Flow::Silent);
            }
        }
        if !query.has_proved_address() {
            query.set_memo(LIMITED);
        }
        Ok(Flow::Next)
    }

    fn response(&self, query: &mut Query<'_>, response: &mut Response<'_>) -> Turn {
        if query.memo() == PASSES {
            return Turn::Up;
        }
        let category = Category::of(response);
        let interval = self.responses[category as usize];
        if interval == 0 {
            return Turn::Up;
        }
        let token = self.token(category, query, response);
        let verdict = self.table.debit(token, interval, query.received());
        if verdict == Verdict::Within {
            return Turn::Up;
        }
        if let Some(metrics) = self.metrics.get(query.block().info.index) {
            metrics.responses.inc(query.worker());
        }
        query.remark(|| {
            Remark::new("over the limit of responses")
                .with("category", format_args!("{category:?}"))
        });
        if self.report_only {
            return Turn::Up;
        }
        if verdict == Verdict::Over {
            return Turn::Silent;
        }
        response.clear_records();
        if query.context().cookie.is_some() {
            // The client has cookies: with that of this response it gets through (RFC 7873, section 5.2.3).
            response.set_rcode(Rcode::BADCOOKIE);
        } else {
            response.set_flag(Flags::TC, true);
        }
        Turn::Up
    }

    fn attach(&self, block: &BlockInfo) {
        self.metrics.get_or_init(block.index, || {
            let labels = vec![
                ("server", block.server.to_string()),
                ("zone", block.zone.to_string()),
                ("view", block.view.to_string()),
            ];
            let counter = |name, help| {
                family::<Vec<(&'static str, String)>, Striped>(name, help)
                    .get_or_create_owned(&labels)
            };
            Metrics {
                requests: counter(
                    "coredns_rrl_requests_exceeded",
                    "Counter of requests exceeding QPS limit.",
                ),
                responses: counter(
                    "coredns_rrl_responses_exceeded",
                    "Counter of responses exceeding QPS limit.",
                ),
            }
        });
    }
}
