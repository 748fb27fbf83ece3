//! `order`: names the order of the plugins of its server block, and moves single plugins within it.
//!
//! It has no handler: what it says is read when the server block is planned ([`chain::order`]).

mod setup;
#[cfg(test)]
mod tests;

pub(crate) use setup::REGISTRATION;
