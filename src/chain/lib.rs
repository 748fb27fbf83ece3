//! What a plugin is, how a chain of them is set up, and how one query walks it.
//!
//! ```text
//! Corefile ──► setup::parse ──► Setup::validate ──► Setup::build ──► Block { Chain }         (at load; three steps that never mix)
//!
//! Exchange ──► Exchange::walk ──► Plugin::query ↓ … Answered ──► Plugin::response ↑ ──► finish      (inline, no await)
//!                  │                                                   └ Wait ──► Plugin::respond(exchange).await ──► further up
//!                  ├ Suspend ──► Plugin::resolve(exchange).await ──► the walk goes on                (one local task)
//!                  ├ Stream ──► Plugin::stream ──► one message after the other, at the client's pace
//!                  └ Silent ──► Plugin::silent ↑
//!
//! Query::label ──► notes, Plugin::label                                                                 (only when somebody reads one)
//! ```
//!
//! The walk is flat: a slice of steps, each with the hooks that it wants, compiled when the Corefile is loaded. A query that is
//! answered at once meets no future, no box and no lock. The walker, not the plugins, knows who answered and who failed.

#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]
#![forbid(unsafe_code)]

// The examples of docs/plugins.md name the crate as a plugin does.
#[cfg(test)]
extern crate self as chain;

pub mod admin;
mod admission;
pub mod authority;
pub mod block;
mod bygone;
pub mod capability;
mod completion;
mod exchange;
pub mod expression;
mod fall;
pub mod inspect;
pub mod keeper;
pub mod key_files;
mod length;
pub mod lint;
pub mod listen;
pub mod master;
mod meet;
mod messages;
pub mod metadata;
pub mod order;
mod overlap;
pub mod pattern;
mod plugin;
mod query;
mod question;
pub mod reverse;
mod room;
pub mod scope;
pub mod served;
pub mod setup;
#[cfg(test)]
mod tests;
pub mod tls;
pub mod trace;
mod transport;
pub mod tsig;
mod walk;
mod zones;

pub use admission::{Admits, Classes, Opcodes};
pub use block::{Block, BlockInfo, Filter, Router};
pub use completion::{Cancel, Completes, Completion, Flush, Rest};
pub use exchange::{Exchange, MAX_DEPTH};
pub use fall::Fallthrough;
pub use messages::{MessageSource, Messages, Written};
pub use plugin::{
    Cause, ExtendedError, ExtraText, Failure, Flow, Hooks, Plugin, Resolved, Resolving, Responded,
    Responding, Turn,
};
pub use query::{Context, Cookie, Instead, Query};
pub use question::Identity;
pub use transport::{Carrier, Encryption, Transport};
pub use walk::{Chain, Ending, Outcome, Step, ask_below, launch, look_up, resume, resume_by};
pub use zones::ZoneMap;
