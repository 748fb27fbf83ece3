//! The words behind FROM: an address, a resolv.conf-style file or a host name, each with a transport.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use corefile::{Diagnostic, Token};
use wire::NameBuf;

/// How a target is spoken to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Scheme {
    /// Do53.
    Dns,
    /// DNS over TLS (RFC 7858).
    Tls,
}

impl Scheme {
    /// Its well-known port.
    pub(super) const fn port(self) -> u16 {
        match self {
            Self::Dns => 53,
            Self::Tls => 853,
        }
    }
}

/// One word behind FROM.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Target {
    /// How it is spoken to.
    pub(super) scheme: Scheme,
    /// Where it is.
    pub(super) place: Place,
    /// What stood behind `%`: the TLS server name, or the interface of a link-local address.
    pub(super) zone: Option<String>,
}

/// Where a target is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Place {
    /// At an address.
    Address(SocketAddr),
    /// At a host whose addresses are looked up, or at the nameservers of a file; only the disk knows which.
    Named {
        /// The word without its scheme: the file's name.
        text: String,
        /// The host's name, when it can be one.
        host: Option<String>,
        /// The host's port.
        port: u16,
    },
}

impl Target {
    /// The TLS server name of this upstream alone.
    pub(super) fn server_name(&self) -> Option<&str> {
        match self.scheme {
            Scheme::Tls => self.zone.as_deref(),
            Scheme::Dns => None,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.scheme == Scheme::Tls {
            f.write_str("tls://")?;
        }
        match &self.place {
            Place::Address(address) => address.fmt(f),
            Place::Named { text, .. } => f.write_str(text),
        }
    }
}

/// Reads a word behind FROM.
pub(super) fn parse(token: &Token) -> Result<Target, Box<Diagnostic>> {
    let (scheme, rest) = scheme(token)?;
    if rest.is_empty() {
        return Err(Box::new(
            Diagnostic::error("CF0208", format!("invalid address: \"{}\"", token.text))
                .at(token.span, "an address is missing"),
        ));
    }
    let (bare, zone) = split_zone(rest);
    let place = match address(&bare, scheme.port()) {
        Some(address) => Place::Address(address),
        None => {
            let (host, port) = match bare.rsplit_once(':') {
                Some((host, port)) if !host.contains(':') => (host, port.parse::<u16>().ok()),
                _ => (bare.as_str(), Some(scheme.port())),
            };
            let host = port.is_some() && !host.contains('/') && host.parse::<NameBuf>().is_ok();
            let host = host.then(|| bare.rsplit_once(':').map_or(&*bare, |(h, _)| h).to_owned());
            if host.is_none() && !rest.contains('/') && !rest.contains('.') {
                return Err(Box::new(
                    Diagnostic::error(
                        "CF0208",
                        format!(
                            "not an IP address, file, or valid domain: \"{}\"",
                            token.text
                        ),
                    )
                    .at(token.span, "expected an address, a file or a host name"),
                ));
            }
            Place::Named {
                text: rest.to_owned(),
                host,
                port: port.unwrap_or(scheme.port()),
            }
        }
    };
    Ok(Target {
        scheme,
        place,
        zone,
    })
}

/// Takes the scheme off; those that CoreDNS refuses or that are not implemented are refused by name.
fn scheme(token: &Token) -> Result<(Scheme, &str), Box<Diagnostic>> {
    let Some((scheme, rest)) = token.text.split_once("://") else {
        return Ok((Scheme::Dns, &token.text));
    };
    match scheme {
        "dns" => Ok((Scheme::Dns, rest)),
        "tls" => Ok((Scheme::Tls, rest)),
        "https" => Err(Box::new(
            Diagnostic::error(
                "CF0901",
                format!("'{}': DNS over HTTPS to upstreams is not implemented yet", token.text),
            )
            .at(token.span, "not implemented here")
            .help("most such upstreams take DNS over TLS as well: write `tls://` and `tls_servername`"),
        )),
        other => Err(Box::new(
            Diagnostic::error(
                "CF0208",
                format!("'{other}' is not supported as a destination protocol in forward: {rest}"),
            )
            .at(token.span, "expected `dns://`, `tls://` or no scheme"),
        )),
    }
}

/// Takes off what stands behind the last `%`; a port behind it stays with the address.
fn split_zone(text: &str) -> (String, Option<String>) {
    let Some((head, tail)) = text.rsplit_once('%') else {
        return (text.to_owned(), None);
    };
    let mut bare = head.to_owned();
    if bare.starts_with('[') {
        bare.push(']');
    }
    let (zone, port) = match tail.rsplit_once(':') {
        Some((zone, port)) => (zone, Some(port)),
        None => (tail, None),
    };
    if let Some(port) = port {
        bare.push(':');
        bare.push_str(port);
    }
    (bare, Some(zone.trim_end_matches(']').to_owned()))
}

/// `IP`, `[IP]`, `IP:PORT` or `[IP]:PORT`.
fn address(text: &str, port: u16) -> Option<SocketAddr> {
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    let ip: IpAddr = bare.parse().ok()?;
    Some(SocketAddr::new(ip, port))
}
