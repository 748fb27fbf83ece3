//! `proxyproto`: whose headers of the PROXY protocol are believed. The listeners read them.

mod setup;
#[cfg(test)]
mod tests;

pub(crate) use setup::REGISTRATION;
