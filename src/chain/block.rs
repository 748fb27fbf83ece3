//! A server block as it serves: one listener, one zone, one chain.

use std::fmt;
use std::sync::{Arc, OnceLock, Weak};

use wire::{NameBuf, Qname, Type};

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

/// Finds the block for a name among all blocks of one listener.
pub trait Router: Send + Sync {
    /// The block that serves `qname`, if any does.
    fn route(&self, qname: &Qname, qtype: Type) -> Option<Arc<Block>>;
}

/// A server block as it serves.
pub struct Block {
    /// Who it is.
    pub info: BlockInfo,
    /// Its plugins; shared by all keys of one server block.
    pub chain: Arc<Chain>,
    router: OnceLock<Weak<dyn Router>>,
}

impl Block {
    /// A block that does not yet know its listener.
    pub fn new(info: BlockInfo, chain: Arc<Chain>) -> Self {
        Self {
            info,
            chain,
            router: OnceLock::new(),
        }
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

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Block({} {})", self.info.server, self.info.zone)
    }
}
