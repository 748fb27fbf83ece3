//! Why there is no reply, and what to do about it.

use std::fmt::Display;
use std::io::ErrorKind;

use hickory_net::NetError;
use upstream::tls::failure::Cause;

use crate::options::{Scheme, Server};

/// What to do about what is wrong.
fn remedy(cause: Cause) -> Option<&'static str> {
    Some(match cause {
        Cause::Issuer => {
            "name the authority with +tls-ca=FILE, or accept any certificate with +insecure"
        }
        Cause::Authority => {
            "give it one that an authority has signed, or accept any certificate with +insecure"
        }
        Cause::Name => "give the expected name with +tls-hostname=NAME",
        Cause::Expired => "renew it, or accept it with +insecure",
        Cause::NotYetValid => "set the clock, or accept it with +insecure",
        Cause::Client => "kdig has +tls-certfile and +tls-keyfile",
        Cause::Protocol => return None,
    })
}

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
                "connection refused: no server listens on {protocol} port {port}; -p PORT sets another port"
            );
        }
        Some(ErrorKind::TimedOut) => {
            return match server.scheme {
                Scheme::Plain => "timed out".to_owned(),
                _ => format!(
                    "timed out: no server for {what} on {protocol} port {port}, or a firewall drops it; -p PORT sets another port"
                ),
            };
        }
        _ => {}
    }
    match Cause::of(&text).map(|cause| (cause, remedy(cause))) {
        Some((cause, Some(remedy))) => format!("{cause}: {remedy} ({text})"),
        Some((_, None)) => format!(
            "the server does not support {what} on port {port}: -p PORT sets another port, and @HOST without a scheme asks in clear text ({text})"
        ),
        None if text.contains("404") => format!(
            "the server has no DNS over HTTPS under this path: give its path, as in @https://HOST/PATH ({text})"
        ),
        None => text,
    }
}

/// A name that no certificate can have.
pub(crate) fn name(server: &Server, error: &dyn Display) -> String {
    format!("{server}: +tls-hostname sets the name of the certificate: {error}")
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
