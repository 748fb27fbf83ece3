//! What the machine tells: time, processors, interfaces, descriptors, files that change.
//!
//! The lowest floor: it knows nothing of DNS. Whoever needs a fact of the machine asks here, so that it is asked in one way.

#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]
#![forbid(unsafe_code)]

mod barrier;
pub mod clock;
pub mod descriptors;
pub mod edits;
mod files;
pub mod gso;
mod hostname;
pub mod interfaces;
pub mod ports;
mod processors;
pub mod random;
pub mod regular;
mod replace;
pub mod source;
pub mod threads;
mod watch;

pub use hostname::hostname;
pub use processors::processors;
pub use replace::{replace, sweep};
pub use watch::is_hidden;
