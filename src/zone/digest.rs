//! Message digests of zones: whether a zone is what its ZONEMD records say (RFC 8976).
//!
//! ```text
//! records of the zone, in canonical order and form, without the apex's ZONEMD records and their RRSIGs ─► SHA-384 or SHA-512
//! ```
//!
//! The scheme is SIMPLE, the only one there is: one digest of all records. A zone without ZONEMD records costs one look at its apex.

use std::fmt;

use sha2::{Digest, Sha384, Sha512};
use wire::Type;

use crate::contents::{Node, Set, Zone};
use crate::denial::canonical;
use crate::rdata;

/// What is asked of a zone.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum DigestPolicy {
    /// Nothing: its ZONEMD records are data like any other.
    Off,
    /// If it has ZONEMD records that can be verified, one of them has to be right.
    #[default]
    On,
    /// The same, and it has to have one.
    Require,
}

impl DigestPolicy {
    /// The words that stand for them in a Corefile.
    pub const WORDS: [(&'static str, Self); 3] = [
        ("off", Self::Off),
        ("on", Self::On),
        ("require", Self::Require),
    ];
}

/// What became of a zone that may be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Digested {
    /// It has no digest, or nobody asked.
    Not,
    /// It has digests, none of which is of a kind that is known here (RFC 8976, section 4, step 4b).
    Unknown,
    /// It is what this kind of digest says.
    Verified(HashAlgorithm),
}

/// A hash algorithm of ZONEMD records (RFC 8976, section 5.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HashAlgorithm {
    /// 1.
    Sha384,
    /// 2.
    Sha512,
}

impl HashAlgorithm {
    const fn of(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Sha384),
            2 => Some(Self::Sha512),
            _ => None,
        }
    }
}

impl fmt::Display for HashAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sha384 => "SHA-384",
            Self::Sha512 => "SHA-512",
        })
    }
}

/// The scheme SIMPLE (RFC 8976, section 5.2).
const SIMPLE: u8 = 1;

/// One ZONEMD record.
struct Claim {
    serial: u32,
    kind: (u8, u8),
    digest: Vec<u8>,
}

impl Zone {
    /// Holds the zone against its ZONEMD records (RFC 8976, section 4). DNSSEC is not looked at.
    ///
    /// # Errors
    /// Why it is not to be used.
    pub fn verify_digest(&self, policy: DigestPolicy) -> Result<Digested, String> {
        if policy == DigestPolicy::Off {
            return Ok(Digested::Not);
        }
        let claims = self.claims();
        if claims.is_empty() {
            return match policy {
                DigestPolicy::Require => Err("the zone has no ZONEMD record".to_owned()),
                _ => Ok(Digested::Not),
            };
        }
        let (mut mistake, mut known) = (None, false);
        for claim in &claims {
            let (scheme, hash) = claim.kind;
            // Several records of one kind say nothing (section 2.2.3).
            let alike = claims.iter().filter(|other| other.kind == claim.kind);
            if alike.count() > 1 {
                known = true;
                mistake.get_or_insert_with(|| {
                    format!("the zone has several ZONEMD records of scheme {scheme} and hash algorithm {hash}")
                });
                continue;
            }
            let algorithm = HashAlgorithm::of(hash).filter(|_| scheme == SIMPLE);
            let Some(algorithm) = algorithm else { continue };
            known = true;
            if claim.serial != self.serial() {
                let (of, ours) = (claim.serial, self.serial());
                mistake.get_or_insert_with(|| {
                    format!("the ZONEMD record is for serial {of}, but the zone has {ours}")
                });
                continue;
            }
            if self.digest(algorithm) == claim.digest {
                return Ok(Digested::Verified(algorithm));
            }
            mistake = Some(format!(
                "the zone does not match its ZONEMD record ({algorithm})"
            ));
        }
        match (mistake, policy) {
            (Some(mistake), _) if known => Err(mistake),
            (_, DigestPolicy::Require) => Err(
                "the zone has no ZONEMD record with a known scheme and hash algorithm".to_owned(),
            ),
            _ => Ok(Digested::Unknown),
        }
    }

    fn claims(&self) -> Vec<Claim> {
        let claims = self.apex_node().set(Type::ZONEMD);
        let records = claims.into_iter().flat_map(|set| {
            let count = usize::from(set.count);
            set.each_record().take(count)
        });
        records
            .filter_map(|record| {
                let rdata = record.octets.get(12..)?;
                Some(Claim {
                    serial: wire::read_u32(rdata, 0)?,
                    kind: (*rdata.get(4)?, *rdata.get(5)?),
                    digest: rdata.get(6..)?.to_vec(),
                })
            })
            .collect()
    }

    /// The digest of the zone by the scheme SIMPLE (RFC 8976, section 3.3).
    pub fn digest(&self, algorithm: HashAlgorithm) -> Vec<u8> {
        match algorithm {
            HashAlgorithm::Sha384 => self.hash::<Sha384>(),
            HashAlgorithm::Sha512 => self.hash::<Sha512>(),
        }
    }

    fn hash<H: Digest>(&self) -> Vec<u8> {
        let mut hash = H::new();
        // Owners of NSEC3 records have nodes of their own, beside those of the same name.
        let mut nodes: Vec<Node<'_>> = self.nodes().collect();
        nodes.sort_by(|left, right| canonical(left.name_octets(), right.name_octets()));
        let alike = |left: &Node<'_>, right: &Node<'_>| {
            let (left, right) = (left.name_octets(), right.name_octets());
            left.eq_ignore_ascii_case(right)
        };
        let mut records = Vec::new();
        for owner in nodes.chunk_by(alike) {
            records.clear();
            for node in owner {
                let is_apex = *node == self.apex_node();
                node.sets()
                    .for_each(|set| self.collect(set, is_apex, &mut records));
            }
            records.sort_unstable();
            records.dedup_by(|one, other| (one.0, &one.1) == (other.0, &other.1));
            let name = owner.first().map(|node| node.name_octets());
            let name = name.unwrap_or_default().to_ascii_lowercase();
            for (rtype, rdata, ttl) in &records {
                hash.update(&name);
                hash.update(rtype.to_be_bytes());
                hash.update([0, 1]);
                hash.update(ttl.to_be_bytes());
                hash.update((rdata.len() as u16).to_be_bytes());
                hash.update(rdata);
            }
        }
        hash.finalize().to_vec()
    }

    /// The records of a set and its RRSIGs in canonical form (RFC 4034, section 6.2), but for what is about ZONEMD records of the apex.
    fn collect(&self, set: Set<'_>, is_apex: bool, out: &mut Vec<(u16, Vec<u8>, u32)>) {
        if is_apex && set.rtype == Type::ZONEMD {
            return;
        }
        for record in set.each_record() {
            let rtype = wire::read_u16(record.octets, 2).unwrap_or_default();
            let ttl = wire::read_u32(record.octets, 6).unwrap_or_default();
            let mut octets = Vec::with_capacity(record.octets.len());
            record.expand(self.apex().octets(), |piece, _| {
                octets.extend_from_slice(piece);
            });
            rdata::lower_names(Type(rtype), &mut octets);
            out.push((rtype, octets, ttl));
        }
    }
}
