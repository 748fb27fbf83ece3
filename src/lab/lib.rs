//! A lab of network namespaces from one TOML file, made by netlink, mounts and files alone.
//!
//! ```text
//!  lab.toml ─► spec ─► layout ─┐                       ┌─► print         plan, show --as-shell
//!                              ├─► plan ─► Vec<Action> ┤
//!  kernel ──► observe ─────────┘      ▲                └─► execute       apply, down
//!  /run/nameplate/lab/LAB ─► journal ─┘                      │
//!                              names.json ◄──────────────────┘           what the server's plugin reads
//! ```
//!
//! Its contract with the world is iproute2's: `/run/netns/NAME`, `/etc/netns/NAME/*`. There is no daemon but the
//! supervisor of the commands that `run` and `up` start. Synchronous: the kernel serialises what changes links anyway. `unsafe` stands in [`sys`] only.
//!
//! Invariants: nothing is printed but through [`mod@say`]; nothing is made before the journal names it; nothing is changed or removed that does not carry the lab's
//! mark; every prefix of the steps of `apply` and of `down` is a state from which both can go on.

#![deny(clippy::print_stdout, clippy::print_stderr)]

mod account;
pub mod action;
pub mod capture;
pub mod claim;
pub mod cni;
mod conntrack;
pub mod control;
pub mod converge;
pub mod device;
mod error;
pub mod exec;
mod execute;
pub mod fault;
pub mod filter;
#[doc(hidden)]
pub mod floor;
pub mod graph;
pub mod hash;
pub mod input;
pub mod journal;
mod launch;
pub mod layout;
pub mod link;
pub mod listener;
pub mod logs;
pub mod names;
mod netlink;
pub mod nft;
pub mod observe;
pub mod outward;
pub mod persist;
pub mod plan;
pub mod port;
pub mod privileges;
pub mod probe;
mod process;
pub mod reach;
mod recognise;
pub mod redirect;
pub mod rootless;
pub mod route;
pub mod run;
pub mod say;
pub mod server;
mod settings;
pub mod shape;
pub mod shell;
pub mod space;
pub mod spec;
pub mod status;
mod supervise;
pub mod surroundings;
pub mod sys;
pub mod untrue;
pub mod view;
pub mod watch;

pub use error::{Error, Result};
