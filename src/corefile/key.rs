//! What a server block serves: one key, `[SCHEME://]ZONE[:PORT]`, parsed and normalised.

use crate::diagnostic::Diagnostic;
use crate::syntax::Token;

/// The transport that a server block listens on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scheme {
    /// Do53, over UDP and TCP.
    #[default]
    Dns,
    /// DNS over TLS.
    Tls,
    /// DNS over QUIC.
    Quic,
    /// DNS over gRPC.
    Grpc,
    /// DNS over HTTPS.
    Https,
    /// DNS over HTTP/3.
    Https3,
}

/// One key of a server block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The transport.
    pub scheme: Scheme,
    /// The zones: lower case, with the trailing dot; several where a CIDR key expands.
    pub zones: Vec<String>,
    /// The port, if one is written.
    pub port: Option<u16>,
    /// Whether the zone was written as a CIDR prefix.
    pub cidr: bool,
}

/// Parses one key.
///
/// # Errors
/// What is wrong with it, at its place.
pub fn parse(token: &Token) -> Result<Key, Diagnostic> {
    Err(Diagnostic::error("CF0201", "keys are not parsed yet").at(token.span, ""))
}
