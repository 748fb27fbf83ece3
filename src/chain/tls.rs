//! What the listeners of a server block speak TLS with.
//!
//! Blocks on one address share its connections, so one configuration is for all of them, and each adds its certificate: the server presents
//! the one that bears the name that the client wants.

use std::fmt;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::sign::CertifiedKey;

/// The certificate of a block, which may be replaced while it serves.
pub trait Certificate: fmt::Debug + Send + Sync {
    /// The one for the next handshake.
    fn current(&self) -> Arc<CertifiedKey>;
}

/// What `tls` says of a block.
#[derive(Clone, Debug)]
pub struct Tls {
    /// Versions, ciphers, tickets, and whom it lets in; ALPN is each listener's own.
    pub config: Arc<ServerConfig>,
    /// Its certificate, which `config` presents.
    pub certificate: Arc<dyn Certificate>,
    /// What clients have to show, as the Corefile calls it.
    pub clients: &'static str,
}
