//! What a plugin is, how a chain of them is set up, and how one query walks it.
//!
//! ```text
//! Corefile ──► setup::parse ──► Setup::validate ──► Setup::build ──► Block { Chain }         (at load; three steps that never mix)
//!
//! Exchange ──► Block::walk ──► Plugin::query ↓ … answered ──► Plugin::response ↑ ──► finish  (inline, no await)
//!                  │
//!                  └ Suspend ──► Plugin::resolve(exchange).await ──► the walk goes on         (one local task)
//! ```
//!
//! The walk is flat: a slice of steps, each with the hooks that it wants, compiled when the Corefile is loaded. A query that is
//! answered at once meets no future, no box and no lock. The walker, not the plugins, knows who answered and who failed.

#![forbid(unsafe_code)]

pub mod admin;
mod berth;
pub mod block;
pub mod clock;
mod contend;
mod exchange;
mod fall;
pub mod interfaces;
pub mod lint;
pub mod listen;
pub mod metrics;
pub mod offer;
mod plugin;
mod processors;
mod query;
pub mod reverse;
pub mod segments;
pub mod setup;
pub mod splice;
pub mod traffic;
mod walk;
pub mod watch;
mod zones;

pub use berth::{Berth, Departure, Rest, Shore};
pub use block::{Block, BlockInfo, Router};
pub use exchange::{Exchange, MAX_DEPTH};
pub use fall::Fallthrough;
pub use plugin::{Cause, ExtendedError, Failure, Flow, Hooks, Plugin, Resolved, Resolving, Turn};
pub use processors::processors;
pub use query::{Context, Query, Question, Transport};
pub use walk::{Chain, Ending, Outcome, Step, ask_below, launch, look_up, resume, resume_by};
pub use zones::ZoneMap;
