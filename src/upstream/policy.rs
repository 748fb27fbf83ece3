//! What a directive that asks decides: which servers, in which order, within which bounds, and what to make of a reply.

use std::sync::Arc;

use chain::{Exchange, ExtendedError, Failure, Flow, Query};
use wire::{Rcode, Type};

use crate::endpoint::Endpoint;
use crate::message::Matching;
use crate::transaction::{Bounds, LastFailure, Order, Status, Transport};

/// Whether a query may be asked of other servers: a zone transfer concerns one server and is not handed on (CVE-2026-86003).
///
/// # Errors
/// REFUSED, for AXFR and IXFR.
#[inline]
pub fn refuse_transfer(query: &Query<'_>) -> Result<(), Failure> {
    if matches!(query.qtype(), Type::AXFR | Type::IXFR) {
        return Err(Failure::policy(Rcode::REFUSED).extended(
            ExtendedError::NOT_SUPPORTED,
            "zone transfers are not forwarded",
        ));
    }
    Ok(())
}

/// What a directive wants of all its queries.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The bounds of one query.
    pub bounds: Bounds,
    /// How closely replies must match.
    pub matching: Matching,
    /// Whether TCP is used whatever the client used.
    pub force_tcp: bool,
    /// Whether UDP is used whatever the client used, and TCP when a reply is truncated.
    pub prefer_udp: bool,
    /// How long sockets and connections are kept.
    pub keep: Keep,
    /// What the servers are called in the memory of failures; 0 when failures are not to be remembered.
    pub servers: u64,
}

/// How long sockets and connections are kept; of several directives that ask one endpoint, the one that asks uses its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Keep {
    /// How long one may be idle, in nanoseconds.
    pub expire: u64,
    /// How old one may be, in nanoseconds; 0 is no bound.
    pub max_age: u64,
    /// How many idle connections are kept; 0 is no bound.
    pub max_idle: usize,
    /// How long making a connection may take, in nanoseconds.
    pub connect: u64,
}

/// What to make of a reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// What it means for the chain.
    pub flow: Flow,
    /// Whether another server's would be preferred, if there is one to ask.
    pub unwanted: bool,
}

/// A directive that asks.
pub trait Policy: Send + Sync + 'static {
    /// What it wants of all its queries.
    fn settings(&self) -> &Settings;

    /// The servers for one query.
    fn order(&self) -> Order;

    /// The endpoint of a server.
    fn endpoint(&self, server: usize) -> &Arc<Endpoint>;

    /// What is believed of a server.
    fn status(&self, server: usize) -> Status;

    /// A server failed or keeps silent.
    fn suspect(&self, server: usize);

    /// When one of the servers last came back to life; 0 for never.
    fn recovered(&self) -> u64 {
        0
    }

    /// All servers are down; gives whether one is to be asked all the same.
    fn all_down(&self) -> bool {
        true
    }

    /// Takes one more query, or says why not.
    ///
    /// # Errors
    /// What the client is told.
    fn admit(&self) -> Result<(), Failure> {
        Ok(())
    }

    /// A query that was admitted has ended.
    fn ended(&self) {}

    /// What the client is told when the engine holds as many queries as it can.
    fn full(&self) -> Failure;

    /// A socket or connection was taken, which was there already (`reused`) or had to be opened.
    fn taken(&self, server: usize, transport: Transport, reused: bool, worker: usize) {
        let _ = (server, transport, reused, worker);
    }

    /// What to make of the reply that is the exchange's response now; it took so many nanoseconds.
    fn judge(&self, server: usize, exchange: &mut Exchange, took: u64) -> Verdict;

    /// What the client is told when nobody answered.
    fn failure(&self, last: Option<&LastFailure>, attempts: u32) -> Failure;
}

impl LastFailure {
    /// The failure that tells of it, `attempts` in all, in the words that CoreDNS has for it.
    pub fn told(&self, endpoint: &Endpoint, attempts: u32) -> Failure {
        let (label, proto) = (&endpoint.label, self.transport.label());
        let (call, reason, took) = (self.error.call, &self.error.reason, self.took);
        Failure::servfail_because(format!(
            "{call} {proto} {label} (attempt {attempts}, {took} ms): {reason}"
        ))
        .extended(
            self.error.info_code(),
            format!("{label} over {proto}: {reason}"),
        )
    }
}
