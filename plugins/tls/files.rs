//! The files that `tls` names, and what is in use of them. They are followed: a pair that is good takes the place of the one before at
//! the next handshake, and one that is not changes nothing but the log.

use std::any::Any;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use chain::admin::Work;
use chain::tls::Certificate;
use host::source::{Content, Doubt, Files, Places, Reading, Source};
use rustls::RootCertStore;
use rustls::crypto::ring::Ticketer;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, ProducesTickets, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;

use super::clients::ClientAuth;
use super::expiry;

/// Octets of one file at most.
const MOST: u64 = 16 << 20;
/// How often the files are looked at where nobody tells of edits.
const INTERVAL: Duration = Duration::from_secs(30);
/// How long before a certificate expires the log begins to warn, in seconds, and how often it does.
const WARNING: i64 = 21 * 86_400;
const REPEAT: Duration = Duration::from_secs(86_400);

/// The files.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Paths {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
    /// The authorities of clients.
    pub(super) authorities: Option<PathBuf>,
}

/// What is in use of the files.
pub(super) struct Identity {
    certificate: PathBuf,
    current: ArcSwap<Current>,
    /// The keys of session tickets.
    tickets: Arc<dyn ProducesTickets>,
}

/// What one look at the files gave.
pub(super) struct Current {
    certified: Arc<CertifiedKey>,
    /// Judges certificates of clients, where they are verified.
    authorities: Option<Arc<dyn ClientCertVerifier>>,
    not_after: Option<i64>,
}

impl Identity {
    /// Judges certificates of clients.
    pub(super) fn authorities(&self) -> Option<Arc<dyn ClientCertVerifier>> {
        self.current.load().authorities.clone()
    }

    /// The keys of session tickets.
    pub(super) fn tickets(&self) -> Arc<dyn ProducesTickets> {
        self.tickets.clone()
    }

    /// The certificate's file, as it is called in metrics and messages.
    pub(super) fn name(&self) -> String {
        self.certificate.display().to_string()
    }

    /// When the certificate ends to be valid.
    pub(super) fn not_after(&self) -> Option<i64> {
        self.current.load().not_after
    }

    /// Warns where that is soon.
    fn warn_of_expiry(&self) {
        let Some(left) = self.not_after().map(expiry::seconds_left) else {
            return;
        };
        let (name, days) = (self.name(), left / 86_400);
        if left <= 0 {
            tracing::warn!(target: "plugin/tls", "The certificate {name} has expired; clients refuse it");
        } else if left <= WARNING {
            tracing::warn!(target: "plugin/tls", "The certificate {name} expires in {days} days");
        }
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.name())
    }
}

impl Certificate for Identity {
    fn current(&self) -> Arc<CertifiedKey> {
        self.current.load().certified.clone()
    }
}

impl ResolvesServerCert for Identity {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Certificate::current(self))
    }
}

/// The files as a content that is followed.
pub(super) struct Pair {
    paths: Paths,
    auth: ClientAuth,
    identity: Option<Arc<Identity>>,
}

impl Pair {
    /// Reads the files for the first time, or goes on with what the configuration before made of them.
    ///
    /// # Errors
    /// What is wrong with the files.
    pub(super) fn load(paths: Paths, auth: ClientAuth) -> Result<(Arc<Identity>, Work), String> {
        let mut pair = Self {
            paths,
            auth,
            identity: None,
        };
        let (identity, source) = match host::source::live::<Identity>(&pair.key()) {
            Some(live) => {
                pair.identity = Some(live.kept.clone());
                (live.kept.clone(), Source::waiting(pair, &live))
            }
            None => {
                let mut files = Files::default();
                let identity = Arc::new(Identity {
                    certificate: pair.paths.certificate.clone(),
                    current: ArcSwap::from_pointee(pair.read(&mut files).draft?),
                    tickets: Ticketer::new().map_err(|error| error.to_string())?,
                });
                pair.identity = Some(identity.clone());
                (identity, Source::new(pair, files))
            }
        };
        expiry::show(&identity);
        Ok((identity.clone(), follow(source, identity)))
    }

    /// Reads the files and forgets them; for `check`.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(super) fn check(paths: Paths, auth: ClientAuth) -> Result<(), String> {
        let mut pair = Self {
            paths,
            auth,
            identity: None,
        };
        pair.read(&mut Files::default()).draft.map(drop)
    }

    fn key(&self) -> String {
        let Paths {
            certificate,
            key,
            authorities,
        } = &self.paths;
        let auth = self.auth;
        format!("tls {certificate:?} {key:?} {authorities:?} {auth:?}")
    }

    /// What the files make.
    fn make(&self, files: &mut Files) -> Result<Current, String> {
        let mut read = |path: &Path| {
            let text = files.read(path, MOST);
            text.map_err(|error| {
                format!("could not load TLS cert: open {}: {error}", path.display())
            })
        };
        let wrong = |path: &Path, why: &dyn fmt::Display| {
            format!("could not load TLS cert: {}: {why}", path.display())
        };
        let (certificate, key) = (&self.paths.certificate, &self.paths.key);
        let (certificate_text, key_text) = (read(certificate)?, read(key)?);
        let authorities_text = match &self.paths.authorities {
            Some(path) => read(path)?,
            None => Vec::new(),
        };
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&certificate_text)
            .collect::<Result<_, _>>()
            .map_err(|error| wrong(certificate, &error))?;
        if chain.is_empty() {
            return Err(wrong(certificate, &"no certificate in PEM format"));
        }
        let not_after = chain.iter().filter_map(|one| expiry::not_after(one)).min();
        let private =
            PrivateKeyDer::from_pem_slice(&key_text).map_err(|error| wrong(key, &error))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let certified = CertifiedKey::from_der(chain, private, &provider).map_err(|error| {
            wrong(
                certificate,
                &format!("{error}; the key is {}", key.display()),
            )
        })?;
        let roots = self.roots(&authorities_text)?;
        let authorities = match self.auth.verifies() {
            true => {
                let builder =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                Some(builder.build().map_err(|error| error.to_string())?)
            }
            false => None,
        };
        Ok(Current {
            certified: Arc::new(certified),
            authorities,
            not_after,
        })
    }

    /// The authorities of clients: those of the file, or the system's.
    fn roots(&self, text: &[u8]) -> Result<RootCertStore, String> {
        let Some(path) = &self.paths.authorities else {
            return Ok(match self.auth.verifies() {
                true => upstream::tls::system_authorities(),
                false => RootCertStore::empty(),
            });
        };
        let mut roots = RootCertStore::empty();
        roots
            .add_parsable_certificates(CertificateDer::pem_slice_iter(text).filter_map(Result::ok));
        if roots.is_empty() {
            let path = path.display();
            return Err(format!("error reading {path}: could not read root certs"));
        }
        Ok(roots)
    }
}

impl Content for Pair {
    type Draft = Result<Current, String>;

    fn places(&mut self) -> Places {
        let Paths {
            certificate,
            key,
            authorities,
        } = self.paths.clone();
        Places {
            files: [certificate, key].into_iter().chain(authorities).collect(),
            ..Places::default()
        }
    }

    fn most(&self) -> u64 {
        MOST
    }

    fn read(&mut self, files: &mut Files) -> Reading<Self::Draft> {
        let draft = self.make(files);
        // A certificate without its key yet is no good pair; the key may be on its way.
        let doubt = match &draft {
            Ok(_) => Doubt::None,
            Err(_) => Doubt::Doubtful,
        };
        Reading {
            draft,
            doubt,
            usable: false,
        }
    }

    fn take(&mut self, draft: Self::Draft, _: &Files) {
        let Some(identity) = &self.identity else {
            return;
        };
        match draft {
            Ok(new) => {
                let same = identity.current.load().certified.cert == new.certified.cert;
                identity.current.store(Arc::new(new));
                if !same {
                    tracing::info!(target: "plugin/tls", "The new certificate {} is in use", identity.name());
                    identity.warn_of_expiry();
                }
            }
            Err(why) => {
                tracing::error!(target: "plugin/tls", "{why}; the previous certificate stays in use");
            }
        }
    }

    fn fail(&mut self, path: &Path, why: &str) {
        let path = path.display();
        tracing::error!(target: "plugin/tls", "open {path}: {why}; the previous certificate stays in use");
    }

    fn kept(&self) -> Option<(String, Arc<dyn Any + Send + Sync>)> {
        let identity: Arc<dyn Any + Send + Sync> = self.identity.clone()?;
        Some((self.key(), identity))
    }
}

/// Follows the files, and warns of the certificate's end.
fn follow(source: Source<Pair>, identity: Arc<Identity>) -> Work {
    Box::pin(async move {
        let warn = async {
            loop {
                identity.warn_of_expiry();
                tokio::time::sleep(REPEAT).await;
            }
        };
        tokio::select! {
            error = source.follow(INTERVAL) => {
                tracing::error!(target: "plugin/tls", "No longer watching a certificate: {error}");
            }
            () = warn => {}
        }
    })
}
