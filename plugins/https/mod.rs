//! `https`: bounds of DNS over HTTPS.

mod setup;
#[cfg(test)]
mod tests;

pub(crate) use setup::REGISTRATION;
