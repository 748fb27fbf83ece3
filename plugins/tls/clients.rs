//! Certificates of clients: whether one is asked for, and which are good. Every mode wants the client to have the certificate's key.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

use super::files::Identity;

/// What `client_auth` says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum ClientAuth {
    /// No certificate is asked for.
    #[default]
    NoCert,
    /// One is asked for, and any is good.
    Request,
    /// One is demanded, and any is good.
    Require,
    /// One is asked for, and has to be of a known authority.
    VerifyIfGiven,
    /// One is demanded, and has to be of a known authority.
    RequireAndVerify,
}

impl ClientAuth {
    /// The words of the Corefile.
    pub(super) const WORDS: [(&str, Self); 5] = [
        ("nocert", Self::NoCert),
        ("request", Self::Request),
        ("require", Self::Require),
        ("verify_if_given", Self::VerifyIfGiven),
        ("require_and_verify", Self::RequireAndVerify),
    ];

    /// Its word in the Corefile.
    pub(super) fn word(self) -> &'static str {
        let known = Self::WORDS.iter().find(|(_, auth)| *auth == self);
        known.map_or("", |(word, _)| word)
    }

    /// Whether a certificate has to be of a known authority.
    pub(super) fn verifies(self) -> bool {
        matches!(self, Self::VerifyIfGiven | Self::RequireAndVerify)
    }
}

/// Judges the certificates of clients by the authorities as they are now.
pub(super) struct Clients {
    pub(super) auth: ClientAuth,
    pub(super) identity: Arc<Identity>,
    pub(super) algorithms: WebPkiSupportedAlgorithms,
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Clients({:?})", self.auth)
    }
}

impl ClientCertVerifier for Clients {
    fn client_auth_mandatory(&self) -> bool {
        matches!(
            self.auth,
            ClientAuth::Require | ClientAuth::RequireAndVerify
        )
    }

    /// None: authorities come and go, and clients choose well without.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if !self.auth.verifies() {
            return Ok(ClientCertVerified::assertion());
        }
        match self.identity.authorities() {
            Some(authorities) => authorities.verify_client_cert(end_entity, intermediates, now),
            None => Err(CertificateError::UnknownIssuer.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
