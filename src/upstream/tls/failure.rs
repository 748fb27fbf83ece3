//! Why there is no TLS session with a server, in plain words: rustls tells it in those of its types.

use std::fmt;

/// What is wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cause {
    /// The certificate is of an authority that is not trusted, or of none.
    Issuer,
    /// The certificate is an authority's.
    Authority,
    /// The certificate bears another name.
    Name,
    /// The certificate is too old.
    Expired,
    /// The certificate is of the future.
    NotYetValid,
    /// The server wants a certificate, too.
    Client,
    /// No TLS is spoken there, or something else over it.
    Protocol,
}

/// By what an error's text is known.
const SIGNS: &[(&str, Cause)] = &[
    ("UnknownIssuer", Cause::Issuer),
    ("CaUsedAsEndEntity", Cause::Authority),
    ("not valid for name", Cause::Name),
    ("NotValidForName", Cause::Name),
    ("certificate expired", Cause::Expired),
    ("certificate not valid yet", Cause::NotYetValid),
    ("CertificateRequired", Cause::Client),
    ("certificate required", Cause::Client),
    ("NoApplicationProtocol", Cause::Protocol),
    ("no application protocol", Cause::Protocol),
    ("peer doesn't support any known protocol", Cause::Protocol),
    ("InvalidContentType", Cause::Protocol),
    ("corrupt message", Cause::Protocol),
    ("handshake eof", Cause::Protocol),
    ("frame with invalid size", Cause::Protocol),
];

impl Cause {
    /// What an error's text tells, if it is known.
    pub fn of(text: &str) -> Option<Self> {
        let mut signs = SIGNS.iter();
        let known = signs.find(|(sign, _)| text.contains(sign));
        known.map(|(_, cause)| *cause)
    }

    /// What to do about it in the Corefile, or at the server.
    fn remedy(self) -> &'static str {
        match self {
            Self::Issuer => "name the authority's file after `tls`",
            Self::Authority => {
                "give it one that an authority has signed, and name that authority's file after `tls`"
            }
            Self::Name => "give its name with `tls_servername`",
            Self::Expired => "renew it, or set the clock",
            Self::NotYetValid => "set the clock",
            Self::Client => "name one and its key after `tls`",
            Self::Protocol => "check its address and port",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Issuer => "the server's certificate is not signed by a trusted authority",
            Self::Authority => {
                "the server uses the certificate of an authority as its own, as `openssl req -x509` makes it"
            }
            Self::Name => "the server's certificate is for another name",
            Self::Expired => {
                "the server's certificate has expired, or this machine's clock is wrong"
            }
            Self::NotYetValid => {
                "the server's certificate is not valid yet, or this machine's clock is wrong"
            }
            Self::Client => {
                "the server requires a client certificate, which this does not have"
            }
            Self::Protocol => "the server does not support this protocol over TLS",
        })
    }
}

/// An error of a session by this protocol, with its cause and what to do where these are known.
pub fn told(protocol: &str, error: &dyn fmt::Display) -> String {
    let text = error.to_string();
    match Cause::of(&text) {
        Some(cause) => format!("{protocol}: {cause}: {} ({text})", cause.remedy()),
        None => format!("{protocol}: {text}"),
    }
}
