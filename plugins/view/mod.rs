//! `view`: which queries of its zones a server block serves.
//!
//! ```text
//! route ──► the blocks of the zone in file order ──► Filter::admits: all expressions are true ──► this block
//! ```
//!
//! The decision falls before the walk, in the server's routing; in the chain the plugin has a place, as in CoreDNS, and the label
//! `view/name`.

mod setup;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use chain::expression::Expression;
use chain::{Admits, Filter, Hooks, Plugin, Query};

pub(crate) use setup::REGISTRATION;

/// The label of the view's name.
const NAME: &str = "view/name";

/// `view` in one server block.
struct View {
    name: Arc<str>,
}

impl Plugin for View {
    fn name(&self) -> &'static str {
        "view"
    }

    fn admits(&self) -> Admits {
        Admits::WATCHED
    }

    fn hooks(&self) -> Hooks {
        Hooks::LABELS
    }

    fn label(&self, _: &Query<'_>, label: &str, out: &mut String) -> bool {
        let known = label == NAME;
        if known {
            out.push_str(&self.name);
        }
        known
    }
}

/// The expressions of a view.
struct Expressions(Vec<Expression>);

impl Filter for Expressions {
    /// An expression without a value is not true, as in CoreDNS.
    fn admits(&self, query: &Query<'_>) -> bool {
        let is_true = |one: &Expression| one.is_true(query, &()).unwrap_or(false);
        self.0.iter().all(is_true)
    }
}
