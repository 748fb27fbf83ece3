//! `multisocket`: how many sockets share a listen address.

mod setup;
#[cfg(test)]
mod tests;

pub(crate) use setup::REGISTRATION;
