//! The server: from a Corefile to answers on sockets.
//!
//! ```text
//!            control (main thread)                      workers (one a core)                    admin (one thread)
//!  Corefile ─► load ─► Snapshot ══ swap one Arc ══►  udp · tcp ─► answer ─► finish     pages of health, ready, metrics …
//!  signals, edits ─► reload · drain ── Open, Close ──►  (parse, route, walk)            tasks of plugins
//! ```
//!
//! How many queries, connections and octets clients may hold is said in one file, `admission.rs`. How to add a listener or a UDP back end:
//! `docs/extending.md`.
//!
//! A listener's sockets belong to their workers from the first start to the last reload that wants them: a reload swaps what they
//! serve, never the sockets. Nothing on the way of an answer allocates, locks, formats or waits.

#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]

mod admin;
mod admission;
mod answer;
mod backlog;
mod bind;
mod certificates;
mod check;
mod completions;
mod control;
mod default;
mod destinations;
pub mod explain;
mod finish;
mod in_process;
mod input;
mod listener;
pub mod logging;
mod output;
mod pages;
mod pid_file;
mod port;
mod reload;
mod rescue;
mod route;
mod service;
mod snapshot;
mod socket;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod worker;
mod xdp;
mod zone_metrics;
pub mod zones;

pub use check::{Checking, Format, check, explain as explain_code, findings};
pub use control::{Options, run};
pub use default::{compat, lan};
pub use in_process::InProcess;
pub use input::Source;
pub use socket::{AdminSocket, ask as ask_running, ask_zones};
