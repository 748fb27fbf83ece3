//! `header`: sets and clears flags of queries on their way down, and of responses on their way up.
//!
//! ```text
//! query ↓     flags as the client sent them ──► rules for queries ──► what the plugins below see, and what goes upstream
//! response ↑  the client's flags again, RD in the response too ──► rules for responses
//! ```
//!
//! The rules of each direction amount to two masks: flags that are set and flags that are cleared. A cache above knows a query by its RD
//! flag, so the query gets its own flags back before anybody above sees it.

mod setup;
#[cfg(test)]
mod tests;

use chain::{Admits, Failure, Flow, Hooks, Opcodes, Plugin, Query, Turn};
use wire::{Flags, Response};

pub(crate) use setup::REGISTRATION;

/// What the rules of one direction do, the last rule for a flag being the one that counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Rules {
    set: u16,
    clear: u16,
}

impl Rules {
    /// Adds a rule behind the others.
    fn push(&mut self, bits: u16, on: bool) {
        let (to, from) = match on {
            true => (&mut self.set, &mut self.clear),
            false => (&mut self.clear, &mut self.set),
        };
        *to |= bits;
        *from &= !bits;
    }

    /// Whether there is none.
    fn is_empty(self) -> bool {
        self == Self::default()
    }

    /// The flags that it says something of.
    fn bits(self) -> u16 {
        self.set | self.clear
    }

    fn apply(self, flags: Flags) -> Flags {
        flags.with(self.set, true).with(self.clear, false)
    }
}

/// The handler.
struct Header {
    query: Rules,
    response: Rules,
}

impl Header {
    /// Gives the query the client's flags again.
    fn restore(&self, query: &mut Query<'_>) {
        let bits = self.query.bits();
        let client = query.memo() as u16 & bits;
        query.set_flags(query.flags().with(bits, false).with(client, true));
    }
}

impl Plugin for Header {
    fn name(&self) -> &'static str {
        "header"
    }

    fn admits(&self) -> Admits {
        Admits {
            opcodes: Opcodes::Query,
            ..Admits::WATCHED
        }
    }

    fn hooks(&self) -> Hooks {
        match self.query.is_empty() {
            true => Hooks::RESPONSE,
            false => Hooks::BOTH,
        }
    }

    fn query(&self, query: &mut Query<'_>, _: &mut Response<'_>) -> Result<Flow, Failure> {
        let flags = query.flags();
        query.set_memo(flags.0.into());
        query.set_flags(self.query.apply(flags));
        Ok(Flow::Next)
    }

    fn response(&self, query: &mut Query<'_>, response: &mut Response<'_>) -> Turn {
        if !self.query.is_empty() {
            self.restore(query);
            // RD in a response is the client's (RFC 1035, section 4.1.1); an upstream has copied what it got.
            response.set_flag(Flags::RD, query.flags().has(Flags::RD));
        }
        // The server's own response to a failure is none of a plugin's, as in CoreDNS.
        if query.failure().is_none() {
            response.set_flag(self.response.set, true);
            response.set_flag(self.response.clear, false);
        }
        Turn::Up
    }

    fn silent(&self, query: &mut Query<'_>) {
        if !self.query.is_empty() {
            self.restore(query);
        }
    }
}
