//! `timeouts`: bounds of stream connections.

mod setup;
#[cfg(test)]
mod tests;

pub(crate) use setup::REGISTRATION;
