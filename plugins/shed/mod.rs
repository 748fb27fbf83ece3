//! `shed`: counts what the server drops where queries come faster than it answers.
//!
//! The bounds themselves are the server's, and hold in every server block: a UDP socket that is overloaded throws the oldest queries away
//! and answers the newest, and keeps so many responses that the socket has no room for. The directive stands in the chain under its name,
//! and has nothing to do for a query.

mod setup;
#[cfg(test)]
mod tests;

use chain::{Admits, Hooks, Plugin};

pub(crate) use setup::REGISTRATION;

/// What stands in the chain.
struct Shed;

impl Plugin for Shed {
    fn name(&self) -> &'static str {
        "shed"
    }

    fn admits(&self) -> Admits {
        Admits::WATCHED
    }

    fn hooks(&self) -> Hooks {
        Hooks::NONE
    }
}
