//! `metadata`: has labels of queries collected for those who read them.
//!
//! What there is to do is done by [`chain::metadata`]; the plugin says that it is wanted, and for which names. It has a place in the
//! chain, as in CoreDNS, and no hook.

mod setup;
#[cfg(test)]
mod tests;

use chain::{Hooks, Plugin};

pub(crate) use setup::REGISTRATION;

/// `metadata` in one server block.
struct Metadata;

impl Plugin for Metadata {
    fn name(&self) -> &'static str {
        "metadata"
    }

    fn hooks(&self) -> Hooks {
        Hooks::NONE
    }
}
