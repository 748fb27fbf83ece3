//! Authenticated denial of existence: which NSEC or NSEC3 records prove that something is not there (RFC 4035, 3.1.3; RFC 5155, 7.2).
//!
//! The zone was signed elsewhere, so its chain is there; what is made at load is an order to search by: NSEC owners in canonical order,
//! NSEC3 owners by their hash. A proof costs one binary search per record, and for NSEC3 one hash, and allocates nothing.

use std::cmp::Ordering;

use wire::{MAX_LABELS, Name, Qname, Type};

use crate::builder::{Builder, NONE, has};
use crate::contents::{Denial, Node, Zone};
use crate::encoding::Digits;
use crate::sha1;

/// Keeps NSEC3 owners apart from the names of the zone in the builder's table.
pub(crate) const HASHED_KEY: u64 = 0x5EED_0F15_5A1E_D155;

/// Orders the owners of the zone's denial records. Records that nobody has signed prove nothing: BIND, Knot, NSD and PowerDNS answer from
/// such a zone as from one without them.
pub(crate) fn chain(builder: &Builder) -> Denial {
    if let Some(denial) = hashed_chain(builder).filter(|_| signs(builder, Type::NSEC3)) {
        return denial;
    }
    let apex = builder.owners.first();
    let begins = apex.is_some_and(|apex| apex.has & has::NSEC != 0);
    if !begins || !signs(builder, Type::NSEC) {
        return Denial::None;
    }
    // An NSEC record below a zone cut is none of this zone's: a proof by it would be bogus. Knot passes over it; BIND and NSD do not.
    let hidden = builder.hidden();
    let mut chain: Vec<u32> = (0..builder.owners.len() as u32)
        .filter(|&index| builder.owners[index as usize].has & has::NSEC != 0)
        .filter(|&index| hidden[index as usize] == NONE)
        .collect();
    chain.sort_by(|&left, &right| {
        canonical(
            builder.name_of(left).octets(),
            builder.name_of(right).octets(),
        )
    });
    Denial::Nsec(
        chain
            .iter()
            .map(|&index| builder.places[index as usize])
            .collect(),
    )
}

/// Whether a signature in the zone covers `rtype`.
fn signs(builder: &Builder, rtype: Type) -> bool {
    let covered = rtype.0.to_be_bytes();
    builder
        .records
        .iter()
        .filter(|raw| Type(raw.rtype) == Type::RRSIG)
        .any(|raw| builder.rdata_of(raw).starts_with(&covered))
}

/// The owners of the NSEC3 chain in use, ordered by hash.
///
/// While a zone goes from one chain to another, records of both are there: only a chain of which an NSEC3PARAM record tells is whole
/// (RFC 5155, section 7.3), and proofs are made of one chain. Where two are told of, one that has the apex is taken.
fn hashed_chain(builder: &Builder) -> Option<Denial> {
    let apex = builder.name_of(0).octets().to_ascii_lowercase();
    let chains = parameters(builder).map(|(salt, iterations)| {
        let chain = chain_of(builder, salt, iterations);
        let start = sha1::nsec3(&apex, salt, iterations);
        let whole = chain.binary_search_by(|(hash, _)| hash.cmp(&start)).is_ok();
        (whole, salt, iterations, chain)
    });
    let mut best = None;
    for (whole, salt, iterations, chain) in chains.filter(|(.., chain)| !chain.is_empty()) {
        let denial = Denial::Nsec3 {
            salt: salt.into(),
            iterations,
            chain: chain.into_boxed_slice(),
        };
        if whole {
            return Some(denial);
        }
        best.get_or_insert(denial);
    }
    best
}

/// Salt and iterations of the apex's NSEC3PARAM records (RFC 5155, section 4); only SHA-1 and no flags are defined.
fn parameters(builder: &Builder) -> impl Iterator<Item = (&[u8], u16)> {
    builder
        .records
        .iter()
        .filter(|raw| raw.owner == 0 && Type(raw.rtype) == Type::NSEC3PARAM)
        .filter_map(|raw| match builder.rdata_of(raw) {
            [1, 0, i0, i1, _, salt @ ..] => Some((salt, u16::from_be_bytes([*i0, *i1]))),
            _ => None,
        })
}

/// The owners of NSEC3 records with these parameters, and their places, ordered by hash.
fn chain_of(builder: &Builder, salt: &[u8], iterations: u16) -> Vec<([u8; 20], u32)> {
    let mut chain: Vec<([u8; 20], u32)> = builder
        .records
        .iter()
        .filter(|raw| Type(raw.rtype) == Type::NSEC3)
        .filter(|raw| match builder.rdata_of(raw) {
            [1, _, i0, i1, len, rest @ ..] => {
                u16::from_be_bytes([*i0, *i1]) == iterations
                    && rest.get(..*len as usize) == Some(salt)
            }
            _ => false,
        })
        .filter_map(|raw| {
            let owner = builder.owners.get(raw.owner as usize)?;
            let name = &builder.names[owner.name as usize..];
            let label = name.get(1..1 + *name.first()? as usize)?;
            let mut hash = Vec::with_capacity(20);
            Digits::default().base32(label, &mut hash)?;
            let place = builder.places.get(raw.owner as usize)?;
            Some((hash.try_into().ok()?, *place))
        })
        .collect();
    chain.sort_unstable();
    chain.dedup();
    chain
}

/// Canonical order of names (RFC 4034, section 6.1).
pub(crate) fn canonical(left: &[u8], right: &[u8]) -> Ordering {
    let (mut l, mut r) = ([0u8; MAX_LABELS], [0u8; MAX_LABELS]);
    let (lc, rc) = (starts(left, &mut l), starts(right, &mut r));
    for (&a, &b) in l[..lc].iter().rev().zip(r[..rc].iter().rev()) {
        let order = label_at(left, a)
            .map(|octet| octet.to_ascii_lowercase())
            .cmp(label_at(right, b).map(|octet| octet.to_ascii_lowercase()));
        if order != Ordering::Equal {
            return order;
        }
    }
    lc.cmp(&rc)
}

fn starts(name: &[u8], out: &mut [u8; MAX_LABELS]) -> usize {
    let (mut at, mut count) = (0, 0);
    while let Some(&len @ 1..) = name.get(at) {
        let Some(place) = out.get_mut(count) else {
            break;
        };
        *place = at as u8;
        count += 1;
        at += 1 + len as usize;
    }
    count
}

fn label_at(name: &[u8], at: u8) -> impl Iterator<Item = &u8> {
    let at = at as usize;
    let len = name.get(at).map_or(0, |&len| len as usize);
    name.get(at + 1..at + 1 + len).unwrap_or_default().iter()
}

/// The nodes of a proof, each once, in the order in which they are written.
#[derive(Default)]
pub(crate) struct Proof<'z> {
    nodes: [Option<Node<'z>>; 4],
}

impl<'z> Proof<'z> {
    fn add(&mut self, node: Option<Node<'z>>) {
        let Some(node) = node else { return };
        for place in &mut self.nodes {
            match place {
                Some(there) if *there == node => return,
                Some(_) => {}
                None => {
                    *place = Some(node);
                    return;
                }
            }
        }
    }

    pub(crate) fn nodes(&self) -> impl Iterator<Item = Node<'z>> {
        self.nodes.iter().flatten().copied()
    }
}

/// What is to be proved of a QNAME; `encloser` is how many labels have to go to get its closest encloser.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Claim {
    /// The name is there, the type is not (RFC 4035, 3.1.3.1).
    NoType,
    /// Neither the name nor a wildcard that covers it is there (3.1.3.2).
    NoName { encloser: usize },
    /// The name is not there, and so the wildcard answers (3.1.3.3).
    Wildcard { encloser: usize },
    /// The name is not there, and the wildcard has not the type (3.1.3.4).
    NoTypeAtWildcard { encloser: usize },
    /// The name, without its `skip` leftmost labels, is an unsigned delegation (3.1.4).
    Unsigned { skip: usize },
}

impl Zone {
    /// The records that prove `claim` about `qname`.
    pub(crate) fn prove(&self, qname: &Qname, claim: Claim) -> Proof<'_> {
        let mut proof = Proof::default();
        match &self.denial {
            Denial::None => {}
            Denial::Nsec(chain) => self.prove_nsec(chain, qname, claim, &mut proof),
            Denial::Nsec3 {
                salt,
                iterations,
                chain,
            } => Nsec3 {
                zone: self,
                salt,
                iterations: *iterations,
                chain,
            }
            .prove(qname, claim, &mut proof),
        }
        proof
    }

    fn prove_nsec<'z>(
        &'z self,
        chain: &'z [u32],
        qname: &Qname,
        claim: Claim,
        proof: &mut Proof<'z>,
    ) {
        let at = |name: &[u8]| self.at_or_before(chain, name);
        match claim {
            // The NSEC at the name, or, at an empty non-terminal, the one before it: the same search.
            Claim::NoType => proof.add(at(qname.name().octets())),
            Claim::NoName { encloser } => {
                proof.add(at(qname.name().octets()));
                let mut room = [0; 257];
                proof.add(at(wildcard(qname.suffix(encloser), &mut room)));
            }
            Claim::Wildcard { .. } => proof.add(at(qname.name().octets())),
            Claim::NoTypeAtWildcard { encloser } => {
                let mut room = [0; 257];
                proof.add(at(wildcard(qname.suffix(encloser), &mut room)));
                proof.add(at(qname.name().octets()));
            }
            Claim::Unsigned { skip } => proof.add(at(qname.suffix(skip).octets())),
        }
    }

    /// The last NSEC owner that is `name` or before it.
    fn at_or_before<'z>(&'z self, chain: &'z [u32], name: &[u8]) -> Option<Node<'z>> {
        let behind = chain.partition_point(|&place| {
            canonical(self.node(place).name_octets(), name) != Ordering::Greater
        });
        let place = chain.get(behind.checked_sub(1)?).or(chain.last())?;
        Some(self.node(*place))
    }
}

/// `*.` in front of a name.
fn wildcard<'r>(name: Name<'_>, room: &'r mut [u8; 257]) -> &'r [u8] {
    let len = name.octets().len() + 2;
    room[0] = 1;
    room[1] = b'*';
    room[2..len].copy_from_slice(name.octets());
    &room[..len]
}

/// An NSEC3 chain in use.
#[derive(Clone, Copy)]
struct Nsec3<'z> {
    zone: &'z Zone,
    salt: &'z [u8],
    iterations: u16,
    chain: &'z [([u8; 20], u32)],
}

impl<'z> Nsec3<'z> {
    fn hash(self, lower: &[u8]) -> [u8; 20] {
        sha1::nsec3(lower, self.salt, self.iterations)
    }

    /// The record whose owner is the hash of `lower`.
    fn matching(self, lower: &[u8]) -> Option<Node<'z>> {
        let hash = self.hash(lower);
        let at = self
            .chain
            .binary_search_by(|(other, _)| other.cmp(&hash))
            .ok()?;
        Some(self.zone.node(self.chain[at].1))
    }

    /// The record whose span has the hash of `lower` in it.
    fn covering(self, lower: &[u8]) -> Option<Node<'z>> {
        let hash = self.hash(lower);
        let behind = self.chain.partition_point(|(other, _)| *other <= hash);
        let at = behind.checked_sub(1).unwrap_or(self.chain.len() - 1);
        self.chain.get(at).map(|&(_, place)| self.zone.node(place))
    }

    /// The closest provable encloser's record and the one that covers the next closer name (RFC 5155, section 7.2.1).
    fn encloser(self, qname: &Qname, from: usize, proof: &mut Proof<'z>) -> Option<usize> {
        let above = qname.label_count().checked_sub(self.zone.apex_labels)?;
        for skip in from..=above {
            if let Some(node) = self.matching(qname.suffix(skip).octets()) {
                proof.add(Some(node));
                if skip > 0 {
                    proof.add(self.covering(qname.suffix(skip - 1).octets()));
                }
                return Some(skip);
            }
        }
        None
    }

    /// The record of the name itself; one without lies in an opt-out span (RFC 5155, sections 7.2.4 and 7.2.7).
    fn exact(self, qname: &Qname, skip: usize, proof: &mut Proof<'z>) {
        match self.matching(qname.suffix(skip).octets()) {
            Some(node) => proof.add(Some(node)),
            None => {
                self.encloser(qname, skip + 1, proof);
            }
        }
    }

    fn prove(self, qname: &Qname, claim: Claim, proof: &mut Proof<'z>) {
        let mut room = [0; 257];
        match claim {
            Claim::NoType => self.exact(qname, 0, proof),
            Claim::Unsigned { skip } => self.exact(qname, skip, proof),
            Claim::NoName { encloser } => {
                if let Some(skip) = self.encloser(qname, encloser, proof) {
                    proof.add(self.covering(wildcard(qname.suffix(skip), &mut room)));
                }
            }
            Claim::Wildcard { encloser } => {
                if let Some(next) = encloser.checked_sub(1) {
                    proof.add(self.covering(qname.suffix(next).octets()));
                }
            }
            Claim::NoTypeAtWildcard { encloser } => {
                if let Some(skip) = self.encloser(qname, encloser, proof) {
                    proof.add(self.matching(wildcard(qname.suffix(skip), &mut room)));
                }
            }
        }
    }
}

impl Node<'_> {
    /// The type of its denial record.
    pub(crate) fn denial_type(self) -> Type {
        if self.has(crate::contents::flag::HASHED) {
            Type::NSEC3
        } else {
            Type::NSEC
        }
    }
}

/// Whether octets begin with a whole name; used by tests of the order.
#[cfg(test)]
fn is_name(octets: &[u8]) -> bool {
    crate::rdata::name_len(octets) == Some(octets.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_order_is_that_of_rfc_4034_6_1() {
        let names = [
            "example.",
            "a.example.",
            "yljkjljk.a.example.",
            "Z.a.example.",
            "zABC.a.EXAMPLE.",
            "z.example.",
            "\\001.z.example.",
            "*.z.example.",
            "\\200.z.example.",
        ];
        let names: Vec<wire::NameBuf> = names.iter().map(|n| n.parse().expect("a name")).collect();
        for (i, left) in names.iter().enumerate() {
            assert!(is_name(left.as_name().octets()));
            for (j, right) in names.iter().enumerate() {
                let got = canonical(left.as_name().octets(), right.as_name().octets());
                assert_eq!(got, i.cmp(&j), "{left} {right}");
            }
        }
    }
}
