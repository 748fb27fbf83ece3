//! Certificates of blocks that share an address, chosen by the name that a client wants (SNI, RFC 6066, section 3).
//!
//! CoreDNS takes the `tls` of one of the blocks, whichever its map gives last. Here a client gets the certificate that bears its name; without a
//! name, or where none bears it, that of the first block in the Corefile.

use std::sync::Arc;

use chain::tls::{Certificate, Tls};
use rustls::ServerConfig;
use rustls::client::verify_server_name;
use rustls::pki_types::ServerName;
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// The configuration of a listener with the certificates of all its blocks; everything else is the first block's.
pub(crate) fn join<'a>(
    mut all: impl Iterator<Item = &'a Tls>,
    server: &str,
) -> Option<ServerConfig> {
    let first = all.next()?;
    let mut config = ServerConfig::clone(&first.config);
    let mut certificates = vec![first.certificate.clone()];
    for tls in all {
        if tls.clients != first.clients {
            tracing::warn!(
                "The server blocks on {server} differ in `client_auth`; `{}` of the first one applies to every connection",
                first.clients
            );
        }
        if !certificates
            .iter()
            .any(|known| Arc::ptr_eq(known, &tls.certificate))
        {
            certificates.push(tls.certificate.clone());
        }
    }
    if certificates.len() > 1 {
        config.cert_resolver = Arc::new(ByName(certificates));
    }
    Some(config)
}

/// Certificates in the order of their blocks.
#[derive(Debug)]
struct ByName(Vec<Arc<dyn Certificate>>);

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().map(ServerName::try_from);
        let found = name.and_then(Result::ok).and_then(|name| {
            let mut all = self.0.iter().map(|one| one.current());
            all.find(|certified| bears(certified, &name))
        });
        found.or_else(|| Some(self.0.first()?.current()))
    }
}

/// Whether a certificate is good for a name, by its wildcards as well.
fn bears(certified: &CertifiedKey, name: &ServerName<'_>) -> bool {
    let Ok(end) = certified.end_entity_cert() else {
        return false;
    };
    ParsedCertificate::try_from(end).is_ok_and(|end| verify_server_name(&end, name).is_ok())
}
