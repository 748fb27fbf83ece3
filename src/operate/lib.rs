//! The machine around the server: making it the LAN's, undoing that, finding out why a name does not resolve, and taking over
//! the configuration of another server.
//!
//! ```text
//! survey   what the machine has: addresses, upstreams, who holds port 53, the service manager
//! install  survey ─► plan (steps, shown) ─► journal ─► each step ─► a name is asked
//! remove   journal, from its end ─► each step undone
//! doctor   survey, resolv.conf, nsswitch, every name server asked in several ways ─► findings, each with a way to fix it
//! import   files of another server ─► model ─► Corefile, hosts, zones, and a report of what was left
//! ```
//!
//! The journal is written before a step is taken, so that an install that is killed anywhere is undone by the same `uninstall`.
//! Nothing here runs while the server serves.

#![forbid(unsafe_code)]

mod ask;
mod doctor;
mod import;
mod install;
mod journal;
mod survey;

pub use doctor::{Doctor, doctor};
pub use import::{From, Import, import};
pub use install::{Install, install, uninstall};
