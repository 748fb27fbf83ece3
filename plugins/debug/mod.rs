//! `debug`: more to read in the log, for one server block.

mod setup;
#[cfg(test)]
mod tests;

pub(crate) use setup::REGISTRATION;
