//! `quic`: bounds of DNS over QUIC.

mod setup;
#[cfg(test)]
mod tests;

pub(crate) use setup::REGISTRATION;
