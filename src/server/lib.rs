//! The server: from a Corefile to answers on sockets.
//!
//! ```text
//!            control (main thread)                      workers (one a core)                    admin (one thread)
//!  Corefile ─► load ─► Snapshot ══ swap one Arc ══►  udp · tcp ─► answer ─► finish     pages of health, ready, metrics …
//!  signals, edits ─► reload · drain ── Open, Close ──►  (parse, route, walk)            tasks of plugins
//! ```
//!
//! A listener's sockets belong to their workers from the first start to the last reload that wants them: a reload swaps what they
//! serve, never the sockets. Nothing on the way of an answer allocates, locks, formats or waits.

mod admin;
mod answer;
mod backlog;
mod bind;
mod check;
mod control;
mod default;
mod finish;
mod in_process;
mod input;
mod listener;
pub mod logging;
mod outbox;
mod port;
mod reload;
mod route;
mod snapshot;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod worker;

pub use check::{Format, check, explain};
pub use control::{Options, run};
pub use default::{compat, lan};
pub use in_process::InProcess;
pub use input::Source;
