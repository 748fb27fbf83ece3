//! How an endpoint is spoken to, with all that it takes.

use std::path::PathBuf;

use rustls::pki_types::ServerName;

use crate::grpc::GrpcClient;
use crate::https::HttpsClient;
use crate::quic::QuicClient;
use crate::tls::TlsClient;
use crate::transaction::Transport;

/// How an endpoint is spoken to.
pub enum Protocol {
    /// Do53: over UDP or TCP, whichever is wanted.
    Dns,
    /// DNS over TLS (RFC 7858).
    Tls(TlsClient),
    /// DNS over HTTPS (RFC 8484).
    Https(HttpsClient),
    /// DNS over QUIC (RFC 9250).
    Quic(QuicClient),
    /// CoreDNS's DnsService over gRPC.
    Grpc(GrpcClient),
}

/// What tells protocols apart: endpoints that agree in it share connections.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct ProtocolKey {
    pub(crate) transport: Option<Transport>,
    /// The name in the certificate, and the TLS configuration by its place in memory, which the endpoint keeps alive.
    pub(crate) tls: Option<(ServerName<'static>, usize)>,
    /// What requests say of their target: authority, path and whether they use GET.
    pub(crate) request: Option<(String, String, bool)>,
    /// The Unix domain socket that is connected to in the place of the address.
    pub(crate) socket: Option<PathBuf>,
}

impl Protocol {
    /// The transport that it means; `None` where that is the client's.
    pub(crate) fn transport(&self) -> Option<Transport> {
        match self {
            Self::Dns => None,
            Self::Tls(_) => Some(Transport::Tls),
            Self::Https(_) => Some(Transport::Https),
            Self::Quic(_) => Some(Transport::Quic),
            Self::Grpc(_) => Some(Transport::Grpc),
        }
    }

    /// What tells it from others.
    pub(crate) fn key(&self) -> ProtocolKey {
        let key = match self {
            Self::Dns => ProtocolKey::default(),
            Self::Tls(tls) => ProtocolKey {
                tls: Some(tls.key()),
                ..ProtocolKey::default()
            },
            Self::Https(client) => client.key(),
            Self::Quic(client) => client.key(),
            Self::Grpc(client) => client.key(),
        };
        ProtocolKey {
            transport: self.transport(),
            ..key
        }
    }
}
