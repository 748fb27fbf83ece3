//! Certificates and TLS clients for tests.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    SanType,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
};

/// The name that the server's certificates bear.
pub(crate) const NAME: &str = "dns.example.org";

/// A certificate and its key, in PEM.
#[derive(Clone)]
pub(crate) struct Pair {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Pair {
    /// Writes both into a directory, as `NAME.pem` and `NAME.key`.
    pub(crate) fn write(&self, directory: &Path, name: &str) {
        for (ending, text) in [("pem", &self.certificate), ("key", &self.key)] {
            replace(&directory.join(format!("{name}.{ending}")), text);
        }
    }
}

/// Replaces a file whole.
pub(crate) fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    std::fs::write(&new, text).expect("written");
    std::fs::rename(&new, path).expect("renamed");
}

/// An authority that signs.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) pem: String,
    der: CertificateDer<'static>,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        Self {
            pem: certificate.pem(),
            der: certificate.der().clone(),
            issuer: Issuer::new(params, key),
        }
    }

    /// A server's, which ends in so many days.
    pub(crate) fn server(&self, days: u64) -> Pair {
        let mut params = Self::params();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let end = now.expect("after 1970") + Duration::from_secs(days * 86_400 + 3_600);
        params.not_after = rcgen::date_time_ymd(1970, 1, 1) + end;
        self.sign(params)
    }

    /// A server's of another name.
    pub(crate) fn named(&self, name: &str) -> Pair {
        let mut params = Self::params();
        params.subject_alt_names =
            vec![SanType::DnsName(name.try_into().expect("a name of a host"))];
        self.sign(params)
    }

    /// A server's that has ended.
    pub(crate) fn expired(&self) -> Pair {
        let mut params = Self::params();
        params.not_after = rcgen::date_time_ymd(2001, 1, 1);
        self.sign(params)
    }

    /// What all certificates of servers say.
    fn params() -> CertificateParams {
        let mut params = CertificateParams::new(vec![NAME.to_owned()]).expect("a name");
        let local = SanType::IpAddress(Ipv4Addr::LOCALHOST.into());
        params.subject_alt_names.push(local);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params
    }

    /// A client's.
    pub(crate) fn client(&self) -> Pair {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.distinguished_name.push(DnType::CommonName, "client");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(params)
    }

    fn sign(&self, params: CertificateParams) -> Pair {
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        Pair {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        }
    }

    /// What a client has that trusts this authority.
    pub(crate) fn client_config(&self, alpn: &[&str], certificate: Option<&Pair>) -> ClientConfig {
        self.client_config_of(rustls::DEFAULT_VERSIONS, alpn, certificate)
    }

    /// The same of a client that speaks these versions alone.
    pub(crate) fn client_config_of(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        alpn: &[&str],
        certificate: Option<&Pair>,
    ) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).expect("an authority");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .expect("versions")
            .with_root_certificates(roots);
        let mut config = match certificate {
            None => builder.with_no_client_auth(),
            Some(pair) => {
                let chain = CertificateDer::pem_slice_iter(pair.certificate.as_bytes())
                    .collect::<Result<_, _>>()
                    .expect("a certificate");
                let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).expect("a key");
                let builder = builder.with_client_auth_cert(chain, key);
                builder.expect("a client's certificate")
            }
        };
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        config
    }
}

/// A TLS connection of a client.
pub(crate) type Tls = StreamOwned<ClientConnection, TcpStream>;

/// Connects, and completes the handshake.
pub(crate) fn connect(address: SocketAddr, config: &Arc<ClientConfig>) -> io::Result<Tls> {
    connect_to(NAME, address, config)
}

/// The same to a server of this name.
pub(crate) fn connect_to(
    name: &str,
    address: SocketAddr,
    config: &Arc<ClientConfig>,
) -> io::Result<Tls> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.set_write_timeout(Some(Duration::from_secs(5)))?;
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let session = ClientConnection::new(config.clone(), name).map_err(io::Error::other)?;
    let mut tls = StreamOwned::new(session, stream);
    while tls.conn.is_handshaking() {
        tls.conn.complete_io(&mut tls.sock)?;
    }
    Ok(tls)
}
