//! Stores that hold records elsewhere: etcd, Nomad, a cluster's API. What they have in common stands here.
//!
//! ```text
//!  store ──► Remote::read ──► records ──► Table (immutable, swapped whole) ──► query
//!              ▲   │
//!    back-off ─┘   └──► Standing: known, away since when and why ──► log, ready, metrics, /ready?verbose
//! ```
//!
//! * A plugin implements [`Remote`]: how its store is read, by polling or by watching. [`follow`] calls it again and again, with a
//!   back-off after failures.
//! * A [`Standing`] is what is known of a store. Queries that come before the first read wait for it ([`Standing::settle`]); after that
//!   the last good state is served, however long the store is away.
//! * [`kept`] hands state from one configuration to the next, so that a reload forgets nothing.
//! * [`Table`] is a hash table that is cheap to change while queries read it.
//! * [`http`] asks servers over HTTP/1.1, with TLS.
//!
//! Nothing here knows what a record is, or a directive.

#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]
#![forbid(unsafe_code)]

mod age;
mod back_off;
mod follow;
#[cfg(feature = "http")]
pub mod http;
mod kept;
mod standing;
mod table;

pub use age::{Age, Aged};
pub use back_off::BackOff;
pub use follow::{Again, Failure, Remote, follow};
pub use kept::kept;
pub use standing::Standing;
pub use table::Table;
