//! The words behind FROM: an address, a resolv.conf-style file or a host name, each with a transport.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use chain::setup::Asks;
use corefile::{Diagnostic, Span, Token, doubt, value};
use wire::NameBuf;

/// How a target is spoken to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scheme {
    /// Do53.
    Dns,
    /// DNS over TLS (RFC 7858).
    Tls,
    /// DNS over HTTPS (RFC 8484).
    Https,
    /// DNS over QUIC (RFC 9250).
    Quic,
    /// CoreDNS's DnsService over gRPC, in clear text.
    Grpc,
    /// CoreDNS's DnsService over gRPC, over TLS.
    GrpcTls,
}

impl Scheme {
    /// Its well-known port.
    pub const fn port(self) -> u16 {
        match self {
            Self::Dns => 53,
            Self::Tls | Self::Quic => 853,
            Self::Https | Self::Grpc | Self::GrpcTls => 443,
        }
    }

    /// Whether TLS is spoken.
    pub const fn is_secure(self) -> bool {
        !matches!(self, Self::Dns | Self::Grpc)
    }

    /// What is written before a target.
    const fn prefix(self) -> &'static str {
        match self {
            Self::Dns | Self::Grpc | Self::GrpcTls => "",
            Self::Tls => "tls://",
            Self::Https => "https://",
            Self::Quic => "quic://",
        }
    }
}

/// One word behind FROM.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target {
    /// How it is spoken to.
    pub scheme: Scheme,
    /// Where it is.
    pub place: Place,
    /// What stood behind `%`: the TLS server name, or the interface of a link-local address.
    pub zone: Option<String>,
    /// The path of an HTTPS upstream, if it is written.
    pub path: Option<String>,
    /// Where it is written.
    pub span: Span,
}

/// Where a target is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
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
    /// At a Unix domain socket.
    Socket(PathBuf),
}

impl Target {
    /// That it is asked for names below `from`, where it is an address.
    pub fn asks<'a>(&self, from: &'a str) -> Option<Asks<'a>> {
        match self.place {
            Place::Address(address) => Some(Asks {
                from,
                address,
                span: self.span,
            }),
            Place::Named { .. } | Place::Socket(_) => None,
        }
    }

    /// The TLS server name of this upstream alone.
    pub fn server_name(&self) -> Option<&str> {
        match self.scheme {
            Scheme::Tls | Scheme::Https | Scheme::Quic => self.zone.as_deref(),
            Scheme::Dns | Scheme::Grpc | Scheme::GrpcTls => None,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.scheme.prefix())?;
        match &self.place {
            Place::Address(address) => address.fmt(f)?,
            Place::Named { text, .. } => f.write_str(text)?,
            Place::Socket(path) => write!(f, "unix://{}", path.display())?,
        }
        f.write_str(self.path.as_deref().unwrap_or_default())
    }
}

/// Reads a word behind FROM of a `directive`, which may have one of these schemes.
pub fn parse(
    token: &Token,
    (directive, schemes): (&str, &[Scheme]),
) -> Result<Target, Box<Diagnostic>> {
    let (scheme, rest) = scheme(token, (directive, schemes))?;
    let (rest, path) = match scheme {
        Scheme::Https => split_path(token, rest)?,
        _ => (rest, None),
    };
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
            // As names of hosts are, with the underscore that some have.
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
            let named = host.parse::<NameBuf>().is_ok() && host.chars().all(plain);
            let host = port.is_some() && named;
            let host = host.then(|| bare.rsplit_once(':').map_or(&*bare, |(h, _)| h).to_owned());
            // Only digits and dots: an address that is cut short, or has a number too many, and no host has such a name.
            let numeric = bare
                .bytes()
                .all(|c| c.is_ascii_digit() || matches!(c, b'.' | b':'));
            if numeric || host.is_none() && !rest.contains('/') {
                let wrong = Diagnostic::error(
                    "CF0208",
                    format!(
                        "not an IP address, file, or valid domain: \"{}\"",
                        token.text
                    ),
                )
                .at(token.span, "expected an address, a file or a host name");
                return Err(Box::new(match doubt::shell_variable(token) {
                    Some(Diagnostic { help, fix, .. }) => Diagnostic { help, fix, ..wrong },
                    None => wrong,
                }));
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
        path,
        span: token.span,
    })
}

/// Reads an address to which plain DNS is spoken, on port 53 where none is written, and the interface behind the `%` of an IPv6 one.
///
/// # Errors
/// CF0208 when it is none.
pub fn plain(token: &Token) -> Result<(SocketAddr, Option<String>), Diagnostic> {
    let (bare, zone) = split_zone(&token.text);
    let zone = zone.filter(|zone| !zone.is_empty());
    match (address(&bare, Scheme::Dns.port()), zone) {
        (Some(address), zone @ Some(_)) if address.is_ipv6() => Ok((address, zone)),
        _ => Ok((value::socket_address(token, Scheme::Dns.port())?, None)),
    }
}

/// Takes the path off what stands behind `https://`.
fn split_path<'t>(
    token: &Token,
    rest: &'t str,
) -> Result<(&'t str, Option<String>), Box<Diagnostic>> {
    let Some(at) = rest.find(['/', '?', '#']) else {
        return Ok((rest, None));
    };
    let (host, path) = rest.split_at(at);
    let parsed = path.parse::<http::uri::PathAndQuery>();
    let is_path = path.len() > 1 && parsed.is_ok() && !path.contains(['?', '#', '{', '}']);
    if !is_path {
        return Err(Box::new(
            Diagnostic::error(
                "CF0208",
                format!(
                    "`{path}` is not a path of DNS over HTTPS: \"{}\"",
                    token.text
                ),
            )
            .at(token.span, "expected a path such as `/dns-query`")
            .help("leave the path out for `/dns-query`"),
        ));
    }
    Ok((host, Some(path.to_owned())))
}

/// Takes the scheme off; one that the directive does not take is refused by name.
fn scheme<'t>(
    token: &'t Token,
    (directive, schemes): (&str, &[Scheme]),
) -> Result<(Scheme, &'t str), Box<Diagnostic>> {
    let Some((written, rest)) = token.text.split_once("://") else {
        return Ok((Scheme::Dns, &token.text));
    };
    let known = match written {
        "dns" => Some(Scheme::Dns),
        "tls" => Some(Scheme::Tls),
        "https" => Some(Scheme::Https),
        "quic" => Some(Scheme::Quic),
        _ => None,
    };
    if let Some(scheme) = known.filter(|scheme| schemes.contains(scheme)) {
        return Ok((scheme, rest));
    }
    let prefixes = schemes.iter().map(|scheme| match scheme {
        Scheme::Dns => "`dns://`, ".to_owned(),
        scheme => format!("`{}`, ", scheme.prefix()),
    });
    let prefixes: String = prefixes.collect();
    Err(Box::new(
        Diagnostic::error(
            "CF0208",
            format!(
                "'{written}' is not supported as a destination protocol in {directive}: {rest}"
            ),
        )
        .at(
            token.span,
            format!("expected {} or no scheme", prefixes.trim_end_matches(", ")),
        ),
    ))
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
    // Go takes brackets around IPv4, too.
    if let Some((ip, port)) = text
        .strip_prefix('[')
        .and_then(|rest| rest.split_once("]:"))
        && let (Ok(ip), Ok(port)) = (ip.parse::<IpAddr>(), port.parse())
    {
        return Some(SocketAddr::new(ip, port));
    }
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    let ip: IpAddr = bare.parse().ok()?;
    Some(SocketAddr::new(ip, port))
}
