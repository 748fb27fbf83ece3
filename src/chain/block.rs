//! A server block as it serves: one listener, one zone, one chain.

use std::fmt;
use std::sync::{Arc, OnceLock, Weak};

use telemetry::traffic::{Labels, Traffic};
use wire::{NameBuf, Qname, Type};

use crate::exchange::Exchange;
use crate::query::Query;
use crate::walk::Chain;

/// Who a block is; the labels of its metrics.
#[derive(Clone, Debug)]
pub struct BlockInfo {
    /// Its number among the blocks of the snapshot, from 0.
    pub index: usize,
    /// The listener's label: `dns://:53`.
    pub server: Arc<str>,
    /// The zone of the key that matched, normalised: `example.org.`
    pub zone: Arc<str>,
    /// The same in wire form.
    pub origin: NameBuf,
    /// The view's name; empty when there is none.
    pub view: Arc<str>,
    /// The names of all handlers of the block, for `coredns_plugin_enabled`.
    pub plugins: Arc<[&'static str]>,
    /// Whether `debug` stands in the block.
    pub debug: bool,
}

impl BlockInfo {
    /// The counts of the block's queries.
    pub fn traffic(&self) -> Arc<Traffic> {
        let labels = Labels {
            server: self.server.clone(),
            zone: self.zone.clone(),
            view: self.view.clone(),
        };
        Traffic::of(labels, self.plugins.clone())
    }
}

/// Finds the block for a name among all blocks of one listener.
pub trait Router: Send + Sync {
    /// The block that serves `qname`, if any does; of those that serve some queries only, the first of its zone.
    fn route(&self, qname: &Qname, qtype: Type) -> Option<Arc<Block>>;

    /// The block that serves the query of `exchange`, if any does.
    fn choose(&self, exchange: &mut Exchange) -> Option<Arc<Block>> {
        self.route(&exchange.parsed.qname, exchange.parsed.qtype)
    }
}

/// Says which queries of its zones a server block serves: a view.
pub trait Filter: Send + Sync {
    /// Whether the block serves this query, which has not been walked yet.
    fn admits(&self, query: &Query<'_>) -> bool;
}

/// A server block as it serves.
pub struct Block {
    /// Who it is.
    pub info: BlockInfo,
    /// Its plugins; shared by all keys of one server block.
    pub chain: Arc<Chain>,
    router: OnceLock<Weak<dyn Router>>,
    /// Which queries it serves; all of its zone where there is none.
    filter: Option<Arc<dyn Filter>>,
}

impl Block {
    /// A block that does not yet know its listener.
    pub fn new(info: BlockInfo, chain: Arc<Chain>) -> Self {
        Self {
            info,
            chain,
            router: OnceLock::new(),
            filter: None,
        }
    }

    /// The same block, which serves some queries only.
    pub fn filtered(mut self, filter: Option<Arc<dyn Filter>>) -> Self {
        self.filter = filter;
        self
    }

    /// Whether it serves some queries of its zone only.
    #[inline]
    pub fn is_filtered(&self) -> bool {
        self.filter.is_some()
    }

    /// Says which listener it stands on, for look-ups to the server itself. Only the first call counts.
    pub fn set_router(&self, router: Weak<dyn Router>) {
        let _ = self.router.set(router);
    }

    /// The listener that it stands on, while its snapshot lives.
    pub fn router(&self) -> Option<Arc<dyn Router>> {
        self.router.get()?.upgrade()
    }
}

impl Exchange {
    /// Whether `block` serves this query.
    pub fn is_served_by(&mut self, block: &Arc<Block>) -> bool {
        match &block.filter {
            Some(filter) => filter.admits(&self.views(block).0),
            None => true,
        }
    }
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Block({} {})", self.info.server, self.info.zone)
    }
}
