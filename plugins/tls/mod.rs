//! `tls`: the certificate of a block's listeners, whom they let in, and how both follow their files.
//!
//! ```text
//! setup ─► Identity ◄─ files.rs: certificate, key and authorities, read, checked and swapped while connections go on
//!             ├─ the certificate of the next handshake, the keys of session tickets      (rustls asks at each handshake)
//!             └─ clients.rs: which certificates of clients are good
//! ```
//!
//! What a listener has is one `rustls::ServerConfig` for as long as its block serves; what changes with the files is behind it.

mod clients;
mod expiry;
mod files;
mod key_log;
mod setup;
#[cfg(test)]
mod tests;

pub(crate) use setup::REGISTRATION;
