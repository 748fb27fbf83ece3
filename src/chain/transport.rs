//! The transports that queries come by, as data: what a listener is made from, and what metrics and the log call it.
//!
//! | transport | key | port | socket | ALPN | label |
//! |---|---|---|---|---|---|
//! | Do53 over UDP | `dns://` | 53 | datagram | | udp |
//! | Do53 over TCP | `dns://` | 53 | stream | | tcp |
//! | DoT | `tls://` | 853 | stream | dot | tcp |
//! | DoH | `https://` | 443 | stream | h2, http/1.1 | tcp |
//! | DoH3 | `https3://` | 443 | datagram | h3 | udp |
//! | DoQ | `quic://` | 853 | datagram | doq | udp |
//! | gRPC | `grpc://` | 443 | stream | h2 | tcp |
//!
//! Scheme and port are those of the Corefile's keys ([`Scheme`]); the labels are CoreDNS's, which calls DoQ and DoH3 by their sockets.

use corefile::key::Scheme;

/// How a query came.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
pub enum Transport {
    /// Do53 over UDP.
    Udp,
    /// Do53 over TCP.
    Tcp,
    /// DNS over TLS (RFC 7858).
    Tls,
    /// DNS over HTTPS (RFC 8484).
    Https,
    /// DNS over HTTP/3.
    Https3,
    /// DNS over QUIC (RFC 9250).
    Quic,
    /// DNS over gRPC.
    Grpc,
}

/// What keeps those on the way from reading a query.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Encryption {
    /// Nothing.
    None,
    /// TLS 1.2.
    Tls12,
    /// TLS 1.3, which QUIC is made of, too.
    Tls13,
}

/// What a listener's socket carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
pub enum Carrier {
    /// Datagrams: a UDP socket.
    Datagram,
    /// Streams of octets: a TCP socket.
    Stream,
}

/// One row of the table.
struct Facts {
    scheme: Scheme,
    carrier: Carrier,
    alpn: &'static [&'static [u8]],
}

impl Transport {
    /// Every transport.
    pub const ALL: [Self; 7] = [
        Self::Udp,
        Self::Tcp,
        Self::Tls,
        Self::Https,
        Self::Https3,
        Self::Quic,
        Self::Grpc,
    ];

    const fn facts(self) -> Facts {
        let (scheme, carrier, alpn): (_, _, &'static [&'static [u8]]) = match self {
            Self::Udp => (Scheme::Dns, Carrier::Datagram, &[]),
            Self::Tcp => (Scheme::Dns, Carrier::Stream, &[]),
            Self::Tls => (Scheme::Tls, Carrier::Stream, &[b"dot"]),
            Self::Https => (Scheme::Https, Carrier::Stream, &[b"h2", b"http/1.1"]),
            Self::Https3 => (Scheme::Https3, Carrier::Datagram, &[b"h3"]),
            Self::Quic => (Scheme::Quic, Carrier::Datagram, &[b"doq"]),
            Self::Grpc => (Scheme::Grpc, Carrier::Stream, &[b"h2"]),
        };
        Facts {
            scheme,
            carrier,
            alpn,
        }
    }

    /// The transports that a key of this scheme listens by; `dns://` has two.
    pub fn of(scheme: Scheme) -> impl Iterator<Item = Self> {
        Self::ALL
            .into_iter()
            .filter(move |transport| transport.scheme() == scheme)
    }

    /// The scheme of its keys; it knows the default port.
    pub const fn scheme(self) -> Scheme {
        self.facts().scheme
    }

    /// What its socket carries.
    #[inline]
    pub const fn carrier(self) -> Carrier {
        self.facts().carrier
    }

    /// The protocols that its TLS offers, best first; empty without TLS.
    pub const fn alpn(self) -> &'static [&'static [u8]] {
        self.facts().alpn
    }

    /// Whether the server has a listener for it; keys of other transports are refused when the Corefile is read.
    pub const fn is_served(self) -> bool {
        match self {
            Self::Https3 => cfg!(feature = "https3"),
            _ => true,
        }
    }

    /// Whether a response of many messages (AXFR) has a place: where a stream carries message after message.
    #[inline]
    pub const fn has_many_messages(self) -> bool {
        matches!(self, Self::Tcp | Self::Tls | Self::Quic)
    }

    /// Whether it is never spoken without TLS; the others are where `tls` is missing.
    pub const fn needs_tls(self) -> bool {
        matches!(self, Self::Quic | Self::Https3)
    }

    /// Whether a message is one datagram, so that a response is cut to the client's UDP size.
    #[inline]
    pub const fn is_datagram(self) -> bool {
        matches!(self, Self::Udp)
    }

    /// The label in metrics and logs: `udp` or `tcp`.
    #[inline]
    pub const fn protocol(self) -> &'static str {
        match self.carrier() {
            Carrier::Datagram => "udp",
            Carrier::Stream => "tcp",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_in_the_head_is_the_code() {
        let head: Vec<&str> = include_str!("transport.rs")
            .lines()
            .take_while(|line| line.starts_with("//!"))
            .filter(|line| line.contains("://`"))
            .collect();
        assert_eq!(head.len(), Transport::ALL.len());
        for (transport, line) in Transport::ALL.into_iter().zip(head) {
            let scheme = transport.scheme();
            let alpn: Vec<_> = transport
                .alpn()
                .iter()
                .map(|name| String::from_utf8_lossy(name).into_owned())
                .collect();
            let carrier = match transport.carrier() {
                Carrier::Datagram => "datagram",
                Carrier::Stream => "stream",
            };
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            assert_eq!(cells[2], format!("`{}://`", scheme.name()), "{line}");
            assert_eq!(cells[3], scheme.default_port().to_string(), "{line}");
            assert_eq!(cells[4], carrier, "{line}");
            assert_eq!(cells[5], alpn.join(", "), "{line}");
            assert_eq!(cells[6], transport.protocol(), "{line}");
        }
    }

    #[test]
    fn every_scheme_has_a_transport() {
        for scheme in Scheme::ALL {
            let count = Transport::of(scheme).count();
            assert_eq!(count, if scheme == Scheme::Dns { 2 } else { 1 });
        }
    }
}
