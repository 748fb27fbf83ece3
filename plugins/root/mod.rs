//! `root`: the directory that relative file names start from.

mod setup;
#[cfg(test)]
mod tests;

pub(crate) use setup::REGISTRATION;
