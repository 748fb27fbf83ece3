//! `xdp`: takes queries off an interface below the kernel's UDP stack.
//!
//! The directive only says from which interfaces and how; the server does the rest (`src/server/xdp.rs`).

mod setup;
#[cfg(test)]
mod tests;

pub(crate) use setup::REGISTRATION;
