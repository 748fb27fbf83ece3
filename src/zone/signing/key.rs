//! Keys of zones, and the signatures that they make.

use std::sync::Arc;

use ring::rand::SystemRandom;
use ring::rsa;
use ring::signature::{EcdsaKeyPair, Ed25519KeyPair, RsaEncoding};
use wire::{Name, NameBuf, Type};

use super::canonical::CanonicalSet;
use crate::signed::{Role, ZoneKey};

/// Flag of a DNSKEY record: a key of a zone (RFC 4034, section 2.1.1).
pub(super) const ZONE: u16 = 0x0100;
/// Flag of a DNSKEY record: the secure entry point, the key that the parent's DS record names.
const SEP: u16 = 0x0001;

/// The secret half of a key.
pub(super) enum Secret {
    /// ECDSAP256SHA256, ECDSAP384SHA384 (RFC 6605).
    Ecdsa(Box<EcdsaKeyPair>),
    /// ED25519 (RFC 8080).
    Ed25519(Box<Ed25519KeyPair>),
    /// RSASHA256, RSASHA512 (RFC 5702).
    Rsa(Box<rsa::KeyPair>, &'static dyn RsaEncoding),
}

/// A key of a zone, both halves.
pub struct Key {
    pub(super) owner: NameBuf,
    /// RDATA of the DNSKEY record.
    pub(super) dnskey: Box<[u8]>,
    pub(super) tag: u16,
    pub(super) secret: Secret,
    pub(super) random: SystemRandom,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Key({} {} {})", self.owner, self.algorithm(), self.tag)
    }
}

/// From when and until when signatures count, in seconds since 1970 (RFC 4034, section 3.1.5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Validity {
    /// From then on.
    pub inception: u32,
    /// Until then.
    pub expiration: u32,
}

/// `ring` made no signature; the system had no random numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unsigned;

impl std::fmt::Display for Unsigned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no signature could be made")
    }
}

impl std::error::Error for Unsigned {}

impl Key {
    /// The owner of the DNSKEY record, in lower case.
    pub fn owner(&self) -> Name<'_> {
        self.owner.as_name()
    }

    /// The key tag.
    pub fn tag(&self) -> u16 {
        self.tag
    }

    /// The algorithm's number.
    pub fn algorithm(&self) -> u8 {
        self.dnskey.get(3).copied().unwrap_or_default()
    }

    /// RDATA of the DNSKEY record.
    pub fn dnskey(&self) -> &[u8] {
        &self.dnskey
    }

    /// Whether it is a secure entry point: a KSK, or a CSK.
    pub fn is_entry_point(&self) -> bool {
        wire::read_u16(&self.dnskey, 0).is_some_and(|flags| flags & SEP != 0)
    }

    /// RDATA of the DS record by which the parent of `zone` names it, with a digest of SHA-256 (type 2) or SHA-384 (type 4; RFC 4034,
    /// section 5.1.4; RFC 8624, section 3.3).
    pub fn ds(&self, zone: Name<'_>, digest: u8) -> Vec<u8> {
        let algorithm = match digest {
            4 => &ring::digest::SHA384,
            _ => &ring::digest::SHA256,
        };
        let zone = NameBuf::from_name(zone).to_lower();
        let mut context = ring::digest::Context::new(algorithm);
        context.update(zone.as_name().octets());
        context.update(&self.dnskey);
        let [high, low] = self.tag.to_be_bytes();
        let mut out = vec![high, low, self.algorithm(), digest];
        out.extend_from_slice(context.finish().as_ref());
        out
    }

    /// Appends the signature of `octets`.
    fn sign(&self, octets: &[u8], out: &mut Vec<u8>) -> Result<(), Unsigned> {
        match &self.secret {
            Secret::Ecdsa(pair) => {
                let signature = pair.sign(&self.random, octets).map_err(|_| Unsigned)?;
                out.extend_from_slice(signature.as_ref());
            }
            Secret::Ed25519(pair) => out.extend_from_slice(pair.sign(octets).as_ref()),
            Secret::Rsa(pair, encoding) => {
                let start = out.len();
                out.resize(start + pair.public().modulus_len(), 0);
                let room = &mut out[start..];
                pair.sign(*encoding, &self.random, octets, room)
                    .map_err(|_| Unsigned)?;
            }
        }
        Ok(())
    }

    /// Makes RDATA of the RRSIG record by which this key, of `zone`, covers `set` (RFC 4034, section 3.1). `scratch` grows to what is
    /// signed.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn rrsig(
        &self,
        set: &CanonicalSet,
        zone: Name<'_>,
        validity: Validity,
        scratch: &mut Vec<u8>,
    ) -> Result<Vec<u8>, Unsigned> {
        scratch.clear();
        scratch.extend_from_slice(&set.rtype().0.to_be_bytes());
        scratch.extend_from_slice(&[self.algorithm(), set.labels()]);
        scratch.extend_from_slice(&set.ttl().to_be_bytes());
        scratch.extend_from_slice(&validity.expiration.to_be_bytes());
        scratch.extend_from_slice(&validity.inception.to_be_bytes());
        scratch.extend_from_slice(&self.tag.to_be_bytes());
        let signer = scratch.len();
        scratch.extend_from_slice(zone.octets());
        scratch[signer..].make_ascii_lowercase();
        let mut rdata = Vec::with_capacity(scratch.len() + 96);
        rdata.extend_from_slice(scratch);
        scratch.extend_from_slice(set.octets());
        self.sign(scratch, &mut rdata)?;
        Ok(rdata)
    }
}

/// The key tag of a DNSKEY record (RFC 4034, appendix B); the algorithm 1, which has a tag of its own, signs nothing any more.
pub fn key_tag(dnskey: &[u8]) -> u16 {
    let sum = dnskey.iter().enumerate().fold(0u32, |sum, (at, &octet)| {
        sum.wrapping_add(u32::from(octet) << if at % 2 == 0 { 8 } else { 0 })
    });
    (sum + (sum >> 16 & 0xFFFF)) as u16
}

/// The keys of a zone, and which of them signs what.
///
/// Where some are secure entry points and some are not, the former sign the keys and the latter everything else. Else each signs all.
#[derive(Clone, Debug, Default)]
pub struct KeySet {
    keys: Vec<Arc<Key>>,
    split: bool,
}

impl KeySet {
    /// These keys.
    pub fn new(keys: Vec<Arc<Key>>) -> Self {
        let entries = keys.iter().filter(|key| key.is_entry_point()).count();
        Self {
            split: entries > 0 && entries < keys.len(),
            keys,
        }
    }

    /// All of them.
    pub fn keys(&self) -> &[Arc<Key>] {
        &self.keys
    }

    /// All of them, and what each does.
    pub fn roles(&self) -> impl Iterator<Item = ZoneKey> {
        self.keys.iter().map(|key| ZoneKey {
            tag: key.tag(),
            algorithm: key.algorithm(),
            role: match (self.split, key.is_entry_point()) {
                (false, _) => Role::Csk,
                (true, true) => Role::Ksk,
                (true, false) => Role::Zsk,
            },
        })
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Those that sign an RRset of this type: what parents take over is signed by the keys that parents know (RFC 7344, section 4.1).
    pub fn signing(&self, rtype: Type) -> impl Iterator<Item = &Arc<Key>> {
        let entry = matches!(rtype, Type::DNSKEY | Type::CDS | Type::CDNSKEY);
        self.keys
            .iter()
            .filter(move |key| !self.split || key.is_entry_point() == entry)
    }

    /// RDATA of the RRSIG records that cover `set` of `zone`.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn sign(
        &self,
        set: &CanonicalSet,
        zone: Name<'_>,
        validity: Validity,
        scratch: &mut Vec<u8>,
    ) -> Result<Vec<Vec<u8>>, Unsigned> {
        let keys = self.signing(set.rtype());
        keys.map(|key| key.rrsig(set, zone, validity, scratch))
            .collect()
    }
}
