//! Why there is no reply, and what to do about it.

use std::fmt::Display;
use std::io::ErrorKind;

use hickory_net::NetError;

use crate::options::{Scheme, Server};

/// What an error's text tells, what it means, and what to do.
const CAUSES: &[(&str, &str)] = &[
    (
        "UnknownIssuer",
        "no authority that is trusted has signed the server's certificate: name the authority with +tls-ca=FILE, or take any certificate with +insecure",
    ),
    (
        "CaUsedAsEndEntity",
        "the server presents the certificate of an authority as its own, as `openssl req -x509` makes it: give it one that an authority has signed, or take any certificate with +insecure",
    ),
    (
        "not valid for name",
        "the server's certificate is for another name: say which one it has to have with +tls-hostname=NAME",
    ),
    (
        "NotValidForName",
        "the server's certificate is for another name: say which one it has to have with +tls-hostname=NAME",
    ),
    (
        "certificate expired",
        "the server's certificate has expired, or this machine's clock is wrong: renew the certificate, or take it with +insecure",
    ),
    (
        "certificate not valid yet",
        "the server's certificate is not valid yet, or this machine's clock is wrong: set the clock, or take it with +insecure",
    ),
    (
        "CertificateRequired",
        "the server wants a certificate of its clients, which this does not have: kdig has +tls-certfile and +tls-keyfile",
    ),
    (
        "certificate required",
        "the server wants a certificate of its clients, which this does not have: kdig has +tls-certfile and +tls-keyfile",
    ),
    (
        "404",
        "the server has no DNS over HTTPS under this path: say which path it has, as in @https://HOST/PATH",
    ),
];

/// What stands for TLS that is none, or for TLS that carries something else.
const OTHERS: &[&str] = &[
    "NoApplicationProtocol",
    "no application protocol",
    "peer doesn't support any known protocol",
    "InvalidContentType",
    "corrupt message",
    "handshake eof",
    "frame with invalid size",
];

/// An error, with its cause and what to do where these are known.
pub(crate) fn told(error: &NetError, server: &Server) -> String {
    let (text, kind) = match error {
        NetError::Timeout => ("timed out".to_owned(), Some(ErrorKind::TimedOut)),
        NetError::Io(error) => (error.to_string(), Some(error.kind())),
        error => (error.to_string(), None),
    };
    let (what, protocol) = spoken(&server.scheme);
    let port = server.port;
    match kind {
        Some(ErrorKind::ConnectionRefused) => {
            return format!(
                "connection refused: nobody listens on {protocol} port {port}; -p PORT says another one"
            );
        }
        Some(ErrorKind::TimedOut) => {
            return match server.scheme {
                Scheme::Plain => "timed out".to_owned(),
                _ => format!(
                    "timed out: nobody speaks {what} on {protocol} port {port}, or a firewall drops it; -p PORT says another one"
                ),
            };
        }
        _ => {}
    }
    if let Some((_, cause)) = CAUSES.iter().find(|(sign, _)| text.contains(sign)) {
        return format!("{cause} ({text})");
    }
    if OTHERS.iter().any(|sign| text.contains(sign)) {
        return format!(
            "the server does not speak {what} on port {port}: -p PORT says another one, and @HOST without a scheme asks in clear text ({text})"
        );
    }
    text
}

/// A name that no certificate can have.
pub(crate) fn name(server: &Server, error: &dyn Display) -> String {
    format!("{server}: +tls-hostname says the name of the certificate: {error}")
}

/// What is spoken, and on which protocol's ports.
fn spoken(scheme: &Scheme) -> (&'static str, &'static str) {
    match scheme {
        Scheme::Plain => ("DNS", "UDP or TCP"),
        Scheme::Tcp => ("DNS", "TCP"),
        Scheme::Tls => ("DNS over TLS", "TCP"),
        Scheme::Https(_) => ("DNS over HTTPS", "TCP"),
        Scheme::Quic => ("DNS over QUIC", "UDP"),
    }
}
