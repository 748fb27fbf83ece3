//! `reload`: how often the Corefile is looked at for changes.

mod setup;
#[cfg(test)]
mod tests;

pub(crate) use setup::REGISTRATION;
