//! `https3`: bounds of DNS over HTTP/3.

mod setup;
#[cfg(test)]
mod tests;

pub(crate) use setup::REGISTRATION;
