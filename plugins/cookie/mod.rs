//! `cookie`: tells clients cookies, by which they show later that an address is theirs (RFC 7873, RFC 9018).
//!
//! ```text
//! query ─► COOKIE? ─┬─ none ─────────────► Next
//!                   ├─ of a wrong length ─► FORMERR
//!                   └─ secret::judge ─► the response's cookies, and whether the address is proved
//!                                       └─ not, over UDP, and it has to be ─► BADCOOKIE
//! ```
//!
//! How cookies are made is in `secret`, the file of secrets in `file`. The option itself is written by the server, last.

mod file;
mod secret;
mod setup;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use chain::trace::Remark;
use chain::{Admits, BlockInfo, Failure, Flow, Plugin, Query};
use host::clock::SECOND;
use telemetry::metrics::{Striped, family};
use telemetry::traffic::Grow;
use wire::{EdnsOption, Rcode, Response};

use secret::{CLIENT, Secrets, judge};
pub(crate) use setup::REGISTRATION;

/// The handler.
struct Cookie {
    secrets: Arc<ArcSwap<Secrets>>,
    /// From so many queries a second on that come over UDP without a good cookie, clients that have cookies need a good one; `None` for
    /// never.
    required: Option<u32>,
    load: Load,
    metrics: Grow<[Striped; 4]>,
}

/// What a query's cookies are, for metrics: the places of the counters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Seen {
    None,
    Client,
    Good,
    Bad,
}

const SEEN: [&str; 4] = ["none", "client", "good", "bad"];

/// Counts queries by the second.
#[derive(Default)]
struct Load(AtomicU64);

impl Load {
    /// Counts a query of this time; how many there were within its second.
    fn count(&self, received: u64) -> u32 {
        let second = (received / SECOND) << 32;
        let before = self.0.load(Ordering::Relaxed);
        if before & !0xFFFF_FFFF != second {
            // Whoever else begins the second just now loses a few counts.
            self.0.store(second | 1, Ordering::Relaxed);
            return 1;
        }
        let before = self.0.fetch_add(1, Ordering::Relaxed);
        (before as u32).saturating_add(1)
    }
}

impl Cookie {
    /// Whether a query that proves nothing has to.
    #[inline]
    fn is_required(&self, query: &Query<'_>) -> bool {
        let Some(most) = self.required else {
            return false;
        };
        !query.has_proved_address() && self.load.count(query.received()) > most
    }
}

impl Plugin for Cookie {
    fn name(&self) -> &'static str {
        "cookie"
    }

    fn admits(&self) -> Admits {
        Admits {
            questionless: true,
            ..Admits::WATCHED
        }
    }

    fn query(&self, query: &mut Query<'_>, _: &mut Response<'_>) -> Result<Flow, Failure> {
        if query.depth() > 0 {
            return Ok(Flow::Next);
        }
        // Of several the first counts (RFC 7873, section 5).
        let sent = query.edns().and_then(|edns| {
            let mut options = edns.options(query.message());
            options.find(|option| option.code == EdnsOption::COOKIE)
        });
        let Some(sent) = sent else {
            self.count(query, Seen::None);
            // A client without cookies adds to the load; nothing is required of it (RFC 7873, section 5.2.1).
            let _ = self.is_required(query);
            return Ok(Flow::Next);
        };
        // RFC 7873, section 5.2.2.
        if !matches!(sent.data.len(), CLIENT | 16..=40) {
            self.count(query, Seen::Bad);
            query.remark(|| Remark::new("of a wrong length"));
            return Err(Failure::policy(Rcode::FORMERR));
        }
        let cookies = sent.data.split_at(CLIENT);
        let (address, now) = (query.peer().ip(), chain::tsig::now());
        let judged = judge(&self.secrets.load(), cookies, address, now);
        let seen = match (judged.is_good, cookies.1.is_empty()) {
            (true, _) => Seen::Good,
            (false, true) => Seen::Client,
            (false, false) => Seen::Bad,
        };
        self.count(query, seen);
        query.remark(|| Remark::new(SEEN[seen as usize]));
        query.set_cookie(judged.reply, judged.is_good);
        if query.is_questionless() {
            return Ok(Flow::Answered);
        }
        if self.is_required(query) {
            return Err(Failure::policy(Rcode::BADCOOKIE));
        }
        Ok(Flow::Next)
    }

    fn attach(&self, block: &BlockInfo) {
        self.metrics.get_or_init(block.index, || {
            SEEN.map(|seen| {
                family::<Vec<(&'static str, String)>, Striped>(
                    "coredns_cookie_queries",
                    "Counter of queries by the DNS cookies that they have.",
                )
                .get_or_create_owned(&vec![
                    ("server", block.server.to_string()),
                    ("zone", block.zone.to_string()),
                    ("view", block.view.to_string()),
                    ("cookie", seen.to_owned()),
                ])
            })
        });
    }
}

impl Cookie {
    #[inline]
    fn count(&self, query: &Query<'_>, seen: Seen) {
        if let Some(counters) = self.metrics.get(query.block().info.index) {
            counters[seen as usize].inc(query.worker());
        }
    }
}
