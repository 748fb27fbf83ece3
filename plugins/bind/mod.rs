//! `bind`: under construction.

mod setup;
#[cfg(test)]
mod tests;

pub(crate) use setup::REGISTRATION;
