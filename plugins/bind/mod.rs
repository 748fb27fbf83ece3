//! `bind`: the addresses that a server block listens on. Words are kept as written; interfaces are looked up when sockets are opened.

mod setup;
#[cfg(test)]
mod tests;

pub(crate) use setup::REGISTRATION;
