//! TLS to upstreams: rustls with ring; the system's authorities, or those of webpki where the system has none.

pub mod failure;

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use chain::setup::BuildError;
use corefile::Token;
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

/// Octets of one file at most.
const MOST: u64 = 16 << 20;
/// Where distributions keep the authorities that they trust.
const SYSTEM: [&str; 3] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
];

/// The files that `tls` names.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Files {
    /// Our certificate chain and its key.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// The authorities to trust instead of the system's.
    pub authorities: Option<PathBuf>,
}

impl Files {
    /// Of the arguments of `tls`: none, CA, CERT KEY, or CERT KEY CA.
    pub fn of(args: &[Token]) -> Self {
        let path = |at: usize| args.get(at).map(|token| PathBuf::from(&token.text));
        match args.len() {
            1 => Self {
                certificate: None,
                authorities: path(0),
            },
            _ => Self {
                certificate: path(0).zip(path(1)),
                authorities: path(2),
            },
        }
    }

    /// Completes relative names.
    pub fn resolve(&mut self, complete: impl Fn(&str) -> PathBuf) {
        let fix = |path: &mut PathBuf| *path = complete(&path.to_string_lossy());
        if let Some((certificate, key)) = &mut self.certificate {
            fix(certificate);
            fix(key);
        }
        if let Some(authorities) = &mut self.authorities {
            fix(authorities);
        }
    }

    /// The files, in the order in which they are read.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        let certificate = self.certificate.iter();
        let pair = certificate.flat_map(|(certificate, key)| [certificate, key]);
        self.authorities.iter().chain(pair).map(PathBuf::as_path)
    }

    /// Whether nothing is named.
    pub fn is_empty(&self) -> bool {
        self.certificate.is_none() && self.authorities.is_none()
    }

    /// The configuration that these files make. The same contents make the same one, so that sessions and connections are shared, also
    /// over a reload; other contents another.
    ///
    /// # Errors
    /// When a file cannot be read or is not what it should be.
    pub fn config(&self) -> Result<Arc<ClientConfig>, BuildError> {
        self.config_of(None)
    }

    /// The same for zone transfers, which speak TLS 1.3 and nothing older (RFC 9103, section 9.1), and this protocol (ALPN).
    ///
    /// # Errors
    /// As [`Files::config`].
    pub fn transfer_config(&self, protocol: &[u8]) -> Result<Arc<ClientConfig>, BuildError> {
        self.config_of(Some(protocol))
    }

    fn config_of(&self, transfers: Option<&[u8]>) -> Result<Arc<ClientConfig>, BuildError> {
        static KNOWN: Mutex<Vec<(u64, Weak<ClientConfig>)>> = Mutex::new(Vec::new());
        static HASH: OnceLock<RandomState> = OnceLock::new();
        let contents = self.contents()?;
        let hash = HASH
            .get_or_init(RandomState::new)
            .hash_one((&contents, transfers));
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|(_, config)| config.strong_count() > 0);
        let found = known.iter().find(|(other, _)| *other == hash);
        if let Some(config) = found.and_then(|(_, config)| config.upgrade()) {
            return Ok(config);
        }
        let config = Arc::new(self.make(&contents, transfers)?);
        known.push((hash, Arc::downgrade(&config)));
        Ok(config)
    }

    /// What the files contain.
    fn contents(&self) -> Result<Contents, BuildError> {
        let certificate = match &self.certificate {
            None => None,
            Some((certificate, key)) => {
                let read = |path: &PathBuf| {
                    host::regular::read(path, MOST).map_err(|error| {
                        let path = path.display();
                        BuildError::new(format!("could not load TLS cert: {path}: {error}"))
                    })
                };
                Some((read(certificate)?, read(key)?))
            }
        };
        let authorities = match &self.authorities {
            Some(path) => {
                let read = host::regular::read(path, MOST);
                Some(read.map_err(|error| wrong_roots(path, &error))?)
            }
            None => system_text(),
        };
        Ok(Contents {
            certificate,
            authorities,
        })
    }

    fn make(
        &self,
        contents: &Contents,
        transfers: Option<&[u8]>,
    ) -> Result<ClientConfig, BuildError> {
        let mut config = self.versioned(contents, transfers.is_some())?;
        config.alpn_protocols = transfers.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(config)
    }

    /// A configuration of TLS 1.3 alone, or of all versions that are safe.
    fn versioned(&self, contents: &Contents, newest: bool) -> Result<ClientConfig, BuildError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider);
        let versioned = match newest {
            true => builder.with_protocol_versions(&[&rustls::version::TLS13]),
            false => builder.with_safe_default_protocol_versions(),
        };
        let builder = versioned
            .map_err(|error| BuildError::new(error.to_string()))?
            .with_root_certificates(self.roots(contents)?);
        let (Some((certificate, key)), Some(paths)) = (&contents.certificate, &self.certificate)
        else {
            return Ok(builder.with_no_client_auth());
        };
        let bad = |path: Option<&PathBuf>, error: &dyn std::fmt::Display| {
            let path = path.map_or_else(String::new, |path| format!("{}: ", path.display()));
            BuildError::new(format!("could not load TLS cert: {path}{error}"))
        };
        let chain = CertificateDer::pem_slice_iter(certificate)
            .collect::<Result<_, _>>()
            .map_err(|error| bad(Some(&paths.0), &error))?;
        let key =
            PrivateKeyDer::from_pem_slice(key).map_err(|error| bad(Some(&paths.1), &error))?;
        builder
            .with_client_auth_cert(chain, key)
            .map_err(|error| bad(None, &error))
    }

    fn roots(&self, contents: &Contents) -> Result<RootCertStore, BuildError> {
        match &self.authorities {
            None => Ok(or_webpki(contents.authorities.as_deref())),
            Some(path) => {
                let roots = pem_roots(contents.authorities.as_deref().unwrap_or_default());
                match roots.is_empty() {
                    true => Err(wrong_roots(path, &"could not read root certs")),
                    false => Ok(roots),
                }
            }
        }
    }
}

/// What the files of a configuration contain.
#[derive(Hash)]
struct Contents {
    certificate: Option<(Vec<u8>, Vec<u8>)>,
    authorities: Option<Vec<u8>>,
}

/// The authorities that the system trusts.
pub fn system_authorities() -> RootCertStore {
    or_webpki(system_text().as_deref())
}

/// The file of the system's authorities.
fn system_text() -> Option<Vec<u8>> {
    SYSTEM
        .iter()
        .find_map(|path| fs::read(Path::new(path)).ok())
}

/// The authorities in a text, or those of webpki where it has none.
fn or_webpki(text: Option<&[u8]>) -> RootCertStore {
    let mut roots = pem_roots(text.unwrap_or_default());
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    roots
}

fn wrong_roots(path: &Path, why: &dyn std::fmt::Display) -> BuildError {
    BuildError::new(format!("error reading {}: {why}", path.display()))
}

fn pem_roots(text: &[u8]) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_slice_iter(text).filter_map(Result::ok);
    roots.add_parsable_certificates(certificates);
    roots
}

/// What a TLS session to one upstream needs.
pub struct TlsClient {
    /// Makes sessions; resumes earlier ones.
    pub(crate) connector: TlsConnector,
    /// The name that the certificate must bear.
    pub(crate) name: ServerName<'static>,
    /// Its place in memory tells configurations apart, and is no other's as long as it is held.
    shared: Arc<ClientConfig>,
}

impl TlsClient {
    /// Of the name that the certificate must bear, and of the protocol that is spoken in the session (ALPN, RFC 7301), if it is named.
    pub fn new(
        shared: &Arc<ClientConfig>,
        name: ServerName<'static>,
        protocol: Option<&[u8]>,
    ) -> Self {
        let config = match protocol {
            None => shared.clone(),
            Some(protocol) => Arc::new(speaking(shared, protocol)),
        };
        Self {
            connector: TlsConnector::from(config),
            name,
            shared: shared.clone(),
        }
    }

    /// What tells sessions apart: the name in the certificate, and the configuration by its place in memory.
    pub(crate) fn key(&self) -> (ServerName<'static>, usize) {
        (self.name.clone(), Arc::as_ptr(&self.shared).addr())
    }
}

/// A configuration for a protocol (ALPN), with sessions of its own to resume.
pub(crate) fn speaking(shared: &ClientConfig, protocol: &[u8]) -> ClientConfig {
    /// Servers whose sessions are kept.
    const SERVERS: usize = 8;
    let mut config = shared.clone();
    config.alpn_protocols = vec![protocol.to_vec()];
    config.resumption = Resumption::in_memory_sessions(SERVERS);
    config
}

/// The name that a certificate must bear: `name`, or the address itself.
///
/// # Errors
/// When `name` cannot stand in a certificate.
pub fn server_name(name: Option<&str>, address: IpAddr) -> Result<ServerName<'static>, BuildError> {
    match name {
        Some(name) => ServerName::try_from(name.to_owned())
            .map_err(|_| BuildError::new(format!("not a TLS server name: {name}"))),
        None => Ok(ServerName::IpAddress(address.into())),
    }
}
