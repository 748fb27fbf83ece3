//! What it takes to answer for a query without its exchange.
//!
//! A panic, a dropped future or an eviction takes the exchange with it, or leaves it as nobody knows. The client is answered SERVFAIL all
//! the same, and the plugins that the query has passed are told, so that whoever keeps something for it lets it go.

use std::net::IpAddr;
use std::sync::Arc;

use chain::{Block, Context, Exchange};

/// A query's octets, what was known of it, and where in which chain it was.
#[derive(Default)]
pub(crate) struct Rescue {
    query: Vec<u8>,
    context: Context,
    at: Option<At>,
}

/// A step of a block's chain.
type At = (Arc<Block>, usize);

impl Rescue {
    /// What there is to know of a query that is suspended at this step of this block.
    pub(crate) fn of(exchange: &Exchange, at: (&Arc<Block>, usize)) -> Self {
        let mut out = Self::default();
        out.remember(exchange, at);
        out
    }

    /// Remembers a query, in the room of another.
    pub(crate) fn remember(&mut self, exchange: &Exchange, (block, step): (&Arc<Block>, usize)) {
        self.query.clear();
        self.query.extend_from_slice(exchange.message());
        self.context.clone_from(&exchange.context);
        self.at = Some((block.clone(), step));
    }

    /// Forgets the query, and keeps the room.
    pub(crate) fn forget(&mut self) {
        self.at = None;
    }

    /// Who asked.
    pub(crate) fn client(&self) -> IpAddr {
        self.context.peer.ip()
    }

    /// When its wait ends, if somebody has said so.
    pub(crate) fn deadline(&self) -> Option<u64> {
        self.context.deadline()
    }

    /// Whether the query came as a datagram.
    pub(crate) fn is_datagram(&self) -> bool {
        self.context.transport.is_datagram()
    }

    /// Makes `exchange` the query's, as it was before its plugin saw it; `None` when none is remembered.
    pub(crate) fn restore(self, mut exchange: Box<Exchange>) -> Option<(Box<Exchange>, At)> {
        let at = self.at?;
        let len = self.query.len();
        exchange.receive_buffer(len)[..len].copy_from_slice(&self.query);
        exchange.set_received(len);
        // It was parsed before.
        let _ = exchange.parse();
        exchange.context = self.context;
        Some((exchange, at))
    }
}
