//! `erratic`: answers that are late, cut off or missing, to try clients with.
//!
//! ```text
//! query ──► its number ─┬ drop      ──► silence
//!                       ├ delay     ──► wait, then as below
//!                       ├ A, AAAA   ──► one address, TTL 0; TC where it is truncated
//!                       ├ AXFR      ──► a small zone; without its last record where it is truncated
//!                       └ the rest  ──► SERVFAIL
//! ```
//!
//! What becomes of a query is drawn from its number when it comes, so that a delayed one counts once.

mod setup;
#[cfg(test)]
mod tests;
mod transfer;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chain::capability::{SearchPath, VisitName};
use chain::{Exchange, Failure, Flow, MessageSource, Plugin, Query, Resolved, Resolving};
use wire::{Flags, Name, NameBuf, Qname, Rcode, Response, Section, Type};

pub(crate) use setup::REGISTRATION;
use transfer::Zone;

/// 192.0.2.53, owned by QNAME, with TTL 0.
const A: [u8; 16] = [0xC0, 0x0C, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 192, 0, 2, 53];
/// 2001:db8::53, likewise.
const AAAA: [u8; 28] = [
    0xC0, 0x0C, 0, 28, 0, 1, 0, 0, 0, 0, 0, 16, 0x20, 1, 0x0D, 0xB8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0x53,
];
/// How often `large` repeats the A record.
const LARGE: usize = 30;
/// From so many queries on it is ready, and from so many on it is not any more.
const READY: std::ops::Range<u64> = 3..5;
/// The search path of every client, the root last.
const PATH: [&[u8]; 3] = [
    b"\x01a\x07example\x03org\0",
    b"\x01b\x07example\x03org\0",
    b"\0",
];

/// The handler.
#[derive(Debug, Default)]
struct Erratic {
    /// The zones that it answers for; none is all.
    origins: Vec<NameBuf>,
    /// The queries so far.
    queries: AtomicU64,
    /// One in so many is dropped; 0 is none.
    drop: u64,
    /// One in so many is truncated; 0 is none.
    truncate: u64,
    /// One in so many is late; 0 is none.
    delay: u64,
    /// How late.
    duration: Duration,
    /// Whether a response to A is longer than 512 octets.
    large: bool,
}

/// What becomes of a query.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Fate {
    drop: bool,
    delay: bool,
    truncate: bool,
}

impl Fate {
    /// As a memo.
    fn memo(self) -> u64 {
        u64::from(self.delay) | u64::from(self.truncate) << 1
    }

    /// That of a query which was not dropped.
    fn of(memo: u64) -> Self {
        Self {
            drop: false,
            delay: memo & 1 != 0,
            truncate: memo & 2 != 0,
        }
    }
}

impl Erratic {
    /// What becomes of the next query.
    fn next(&self) -> Fate {
        let number = self.queries.fetch_add(1, Ordering::Relaxed);
        let hit = |every: u64| every > 0 && number.is_multiple_of(every);
        Fate {
            drop: hit(self.drop),
            delay: hit(self.delay),
            truncate: hit(self.truncate),
        }
    }

    /// Writes the response.
    fn answer(
        &self,
        query: &Query<'_>,
        fate: Fate,
        response: &mut Response<'_>,
    ) -> Result<Flow, Failure> {
        let record = match query.qtype() {
            Type::A => &A[..],
            Type::AAAA => &AAAA,
            _ => return Err(Failure::policy(Rcode::SERVFAIL)),
        };
        response.set_flag(Flags::AA, true);
        response.set_flag(Flags::TC, fate.truncate);
        let large = self.large && query.qtype() == Type::A;
        for _ in 0..if large { LARGE } else { 1 } {
            // A response has room for them; the finish cuts what the client does not take.
            let _ = response.push_octets(Section::Answer, record, 1);
        }
        Ok(Flow::Answered)
    }

    /// Answers late.
    async fn answer_late(self: Arc<Self>, mut exchange: Box<Exchange>) -> Resolved {
        tokio::time::sleep(self.duration).await;
        let flow = match exchange.suspended_views() {
            Some((query, mut response)) => {
                let fate = Fate::of(query.memo());
                self.answer(&query, fate, &mut response)
            }
            None => Ok(Flow::Next),
        };
        (exchange, flow)
    }
}

impl Plugin for Erratic {
    fn name(&self) -> &'static str {
        "erratic"
    }

    fn query(&self, query: &mut Query<'_>, response: &mut Response<'_>) -> Result<Flow, Failure> {
        if !self.origins.is_empty() && query.enclosing(&self.origins).is_none() {
            return Ok(Flow::Next);
        }
        let fate = self.next();
        query.set_memo(fate.memo());
        if fate.drop {
            Ok(Flow::Silent)
        } else if query.qtype() == Type::AXFR {
            Ok(Flow::Stream)
        } else if fate.delay {
            Ok(Flow::Suspend)
        } else {
            self.answer(query, fate, response)
        }
    }

    fn resolve(self: Arc<Self>, exchange: Box<Exchange>) -> Resolving {
        Box::pin(self.answer_late(exchange))
    }

    fn stream(self: Arc<Self>, exchange: &mut Exchange) -> Box<dyn MessageSource> {
        let fate = exchange
            .suspended_query()
            .map_or(Fate::of(0), |query| Fate::of(query.memo()));
        Box::new(Zone::new(
            fate.delay.then_some(self.duration),
            !fate.truncate,
        ))
    }

    fn ready(&self) -> Option<bool> {
        Some(READY.contains(&self.queries.load(Ordering::Relaxed)))
    }
}

impl SearchPath for Erratic {
    fn search(&self, _: &Qname, _: IpAddr, visit: VisitName<'_>) -> bool {
        let names = PATH.iter().filter_map(|octets| Name::new(octets).ok());
        for name in names {
            if visit(name).is_break() {
                break;
            }
        }
        true
    }
}
