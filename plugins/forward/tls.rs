//! TLS to upstreams (RFC 7858): rustls with ring; the system's authorities, or those of webpki where the system has none.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chain::setup::BuildError;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

/// Where distributions keep the authorities that they trust.
const SYSTEM: [&str; 3] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
];

/// The files that `tls` names.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Files {
    /// Our certificate chain and its key.
    pub(super) certificate: Option<(PathBuf, PathBuf)>,
    /// The authorities to trust instead of the system's.
    pub(super) authorities: Option<PathBuf>,
}

impl Files {
    /// Completes relative names.
    pub(super) fn resolve(&mut self, complete: impl Fn(&str) -> PathBuf) {
        let fix = |path: &mut PathBuf| *path = complete(&path.to_string_lossy());
        if let Some((certificate, key)) = &mut self.certificate {
            fix(certificate);
            fix(key);
        }
        if let Some(authorities) = &mut self.authorities {
            fix(authorities);
        }
    }

    /// Whether nothing is named.
    pub(super) fn is_empty(&self) -> bool {
        self.certificate.is_none() && self.authorities.is_none()
    }

    /// Reads the files.
    pub(super) fn config(&self) -> Result<Arc<ClientConfig>, BuildError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| BuildError::new(error.to_string()))?
            .with_root_certificates(self.roots()?);
        let config = match &self.certificate {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let bad = |error: &dyn std::fmt::Display| {
                    BuildError::new(format!("could not load TLS cert: {error}"))
                };
                let chain = CertificateDer::pem_file_iter(certificate)
                    .and_then(Iterator::collect)
                    .map_err(|error| bad(&format!("{}: {error}", certificate.display())))?;
                let key = PrivateKeyDer::from_pem_file(key)
                    .map_err(|error| bad(&format!("{}: {error}", key.display())))?;
                builder
                    .with_client_auth_cert(chain, key)
                    .map_err(|error| bad(&error))?
            }
        };
        Ok(Arc::new(config))
    }

    fn roots(&self) -> Result<RootCertStore, BuildError> {
        if let Some(path) = &self.authorities {
            let wrong = |why: &dyn std::fmt::Display| {
                BuildError::new(format!("error reading {}: {why}", path.display()))
            };
            let text = fs::read(path).map_err(|error| wrong(&error))?;
            let roots = pem_roots(&text);
            return if roots.is_empty() {
                Err(wrong(&"could not read root certs"))
            } else {
                Ok(roots)
            };
        }
        let system = SYSTEM
            .iter()
            .find_map(|path| fs::read(Path::new(path)).ok());
        let mut roots = system.map_or_else(RootCertStore::empty, |text| pem_roots(&text));
        if roots.is_empty() {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        Ok(roots)
    }
}

fn pem_roots(text: &[u8]) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_slice_iter(text).filter_map(Result::ok);
    roots.add_parsable_certificates(certificates);
    roots
}

/// What a TLS session to one upstream needs.
pub(super) struct TlsClient {
    /// Makes sessions; resumes earlier ones.
    pub(super) connector: TlsConnector,
    /// The name that the certificate must bear.
    pub(super) name: ServerName<'static>,
}

impl TlsClient {
    /// Of `name`, or of the address itself.
    pub(super) fn new(
        config: &Arc<ClientConfig>,
        name: Option<&str>,
        address: IpAddr,
    ) -> Result<Self, BuildError> {
        let name = match name {
            Some(name) => ServerName::try_from(name.to_owned())
                .map_err(|_| BuildError::new(format!("not a TLS server name: {name}")))?,
            None => ServerName::IpAddress(address.into()),
        };
        Ok(Self {
            connector: TlsConnector::from(config.clone()),
            name,
        })
    }
}
