//! Whole zones, signed: keys, denials of existence and signatures are added, and the serial is another (RFC 4035, section 2).
//!
//! ```text
//! Zone ─► owners in canonical order ─► RRsets that the zone answers for ─► NSEC or NSEC3 ─► signatures, by several threads ─► Zone
//! ```
//!
//! What the zone has of an earlier signing (RRSIG, NSEC, NSEC3, NSEC3PARAM, ZONEMD) is left out. DNSKEY, CDS and CDNSKEY records that it
//! has stay beside those that are made: keys can be published before they sign.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZero;
use std::thread;

use wire::{Class, Name, NameBuf, Type};

use super::bitmap::Types;
use super::canonical::CanonicalSet;
use super::key::{KeySet, Unsigned, Validity};
use crate::builder::{Builder, Place};
use crate::contents::{Node, UNIT, Zone, flag};
use crate::denial::canonical;
use crate::present::base32;
use crate::sha1;

/// The most threads that sign a zone.
const MOST_THREADS: usize = 8;
/// How many RRsets are worth a thread.
const A_THREADS_WORK: usize = 64;
/// NSEC3 parameters: SHA-1, no flags, no iterations, no salt (RFC 9276, section 3.1).
const PARAMETERS: [u8; 5] = [1, 0, 0, 0, 0];

/// How the zone proves that something is not there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Denials {
    /// By NSEC records.
    Nsec,
    /// By NSEC3 records without iterations, salt and opt-out.
    Nsec3,
}

/// How a zone is signed.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// For which time.
    pub validity: Validity,
    /// The serial that the signed zone has.
    pub serial: u32,
    /// How it denies.
    pub denials: Denials,
}

/// An RRset.
struct Set {
    owner: NameBuf,
    rtype: Type,
    ttl: u32,
    rdata: Vec<Vec<u8>>,
}

/// A name, the types that it has, and whether it is a zone cut.
struct Owner {
    name: NameBuf,
    types: Types,
    cut: bool,
    /// Whether something at it is signed.
    signed: bool,
}

/// What is collected of a zone before it is signed.
#[derive(Default)]
struct Draft {
    /// RRsets that are signed.
    signed: Vec<Set>,
    /// RRsets that are not: delegations and what is below them.
    unsigned: Vec<Set>,
    owners: Vec<Owner>,
}

impl KeySet {
    /// A signed zone of the records of `zone`.
    ///
    /// # Errors
    /// When the zone has no SOA record, and when no signature can be made.
    pub fn sign_zone(&self, zone: &Zone, plan: &Plan) -> Result<Zone, String> {
        let [ttl, negative] = times(zone)?;
        let mut draft = Draft::default();
        for node in zone.nodes_from(UNIT) {
            draft.take(zone, node, plan.serial);
        }
        self.publish(zone, ttl, &mut draft);
        draft.owners.sort_by(|one, other| {
            let (one, other) = (one.name.as_name(), other.name.as_name());
            canonical(one.octets(), other.octets())
        });
        match plan.denials {
            Denials::Nsec => draft.link(negative),
            Denials::Nsec3 => draft.link_hashed(zone.apex(), negative),
        }
        let signatures = self.sign_all(zone.apex(), &draft.signed, plan.validity);
        let signatures = signatures.map_err(|why| why.to_string())?;
        build(zone, &draft, &signatures)
    }

    /// Adds the keys, and what tells the parent of them (RFC 7344, RFC 8078).
    fn publish(&self, zone: &Zone, ttl: u32, draft: &mut Draft) {
        let apex = zone.apex();
        let entries = || self.keys().iter().filter(|key| key.is_entry_point());
        let keys = self.keys().iter().map(|key| key.dnskey().to_vec());
        draft.merge(apex, (Type::DNSKEY, ttl), keys.collect());
        let digests = entries().map(|key| key.ds(apex, 2));
        draft.merge(apex, (Type::CDS, ttl), digests.collect());
        let keys = entries().map(|key| key.dnskey().to_vec());
        draft.merge(apex, (Type::CDNSKEY, ttl), keys.collect());
    }

    /// RDATA of the RRSIG records of each of `sets`.
    fn sign_all(
        &self,
        apex: Name<'_>,
        sets: &[Set],
        validity: Validity,
    ) -> Result<Vec<Vec<Vec<u8>>>, Unsigned> {
        let processors = thread::available_parallelism().map_or(1, NonZero::get);
        let most = sets.len().div_ceil(A_THREADS_WORK);
        let threads = processors.min(MOST_THREADS).min(most).max(1);
        let parts = sets.chunks(sets.len().div_ceil(threads).max(1));
        thread::scope(|scope| {
            let working: Vec<_> = parts
                .map(|part| scope.spawn(move || self.sign_some(apex, part, validity)))
                .collect();
            let mut out = Vec::with_capacity(sets.len());
            for part in working {
                out.extend(part.join().unwrap_or(Err(Unsigned))?);
            }
            Ok(out)
        })
    }

    fn sign_some(
        &self,
        apex: Name<'_>,
        sets: &[Set],
        validity: Validity,
    ) -> Result<Vec<Vec<Vec<u8>>>, Unsigned> {
        let (mut form, mut scratch) = (CanonicalSet::default(), Vec::new());
        sets.iter()
            .map(|set| {
                form.begin(set.owner.as_name(), (set.rtype, Class::IN, set.ttl));
                for rdata in &set.rdata {
                    form.add(|out| {
                        out.extend_from_slice(rdata);
                        Ok::<_, Unsigned>(())
                    })?;
                }
                form.finish();
                self.sign(&form, apex, validity, &mut scratch)
            })
            .collect()
    }
}

/// The TTL of the SOA record, and that of negative answers (RFC 9077, section 3).
fn times(zone: &Zone) -> Result<[u32; 2], String> {
    let soa = zone.soa().ok_or("the zone has no SOA record")?;
    let rdata = soa.rdata();
    let minimum = rdata.len().checked_sub(4);
    let minimum = minimum.and_then(|at| wire::read_u32(&rdata, at));
    Ok([soa.ttl(), soa.ttl().min(minimum.unwrap_or_default())])
}

/// Whether records of a type are made by signing, or speak of what was signed.
fn is_made(rtype: Type) -> bool {
    matches!(
        rtype,
        Type::RRSIG | Type::NSEC | Type::NSEC3 | Type::NSEC3PARAM | Type::ZONEMD
    )
}

impl Draft {
    /// Takes the records of a node.
    fn take(&mut self, zone: &Zone, node: Node<'_>, serial: u32) {
        if node.has(flag::HASHED) {
            return;
        }
        let (cut, hidden) = (node.has(flag::CUT), node.has(flag::OCCLUDED));
        let name = NameBuf::from_name(node.name());
        let mut owner = Owner {
            name,
            types: Types::default(),
            cut,
            signed: false,
        };
        for set in node.sets() {
            let rtype = set.rtype;
            if set.count == 0 || is_made(rtype) {
                continue;
            }
            let rdata = set.each_record().take(usize::from(set.count));
            let rdata = rdata.map(|record| {
                let mut out = Vec::new();
                record.expand(zone.apex().octets(), |piece, _| {
                    out.extend_from_slice(piece)
                });
                if rtype == Type::SOA
                    && let Some(at) = out.len().checked_sub(20)
                {
                    out[at..at + 4].copy_from_slice(&serial.to_be_bytes());
                }
                out
            });
            let rdata: Vec<_> = rdata.collect();
            let one = Set {
                owner: name,
                rtype,
                ttl: set.ttl(),
                rdata,
            };
            if hidden || cut && rtype != Type::DS {
                self.unsigned.push(one);
            } else {
                self.signed.push(one);
                owner.signed = true;
            }
            // Beside a delegation only what is the parent's is the zone's own (RFC 4035, section 2.3).
            if !cut || matches!(rtype, Type::NS | Type::DS) {
                owner.types.add(rtype);
            }
        }
        if !hidden && !owner.types.is_empty() {
            self.owners.push(owner);
        }
    }

    /// Adds records to an RRset of the apex.
    fn merge(&mut self, apex: Name<'_>, (rtype, ttl): (Type, u32), rdata: Vec<Vec<u8>>) {
        if rdata.is_empty() {
            return;
        }
        let of_apex = |set: &&mut Set| set.rtype == rtype && set.owner.as_name() == apex;
        match self.signed.iter_mut().find(of_apex) {
            Some(set) => {
                for rdata in rdata {
                    if !set.rdata.contains(&rdata) {
                        set.rdata.push(rdata);
                    }
                }
            }
            None => self.signed.push(Set {
                owner: NameBuf::from_name(apex),
                rtype,
                ttl,
                rdata,
            }),
        }
        let mut owners = self.owners.iter_mut();
        if let Some(owner) = owners.find(|owner| owner.name.as_name() == apex) {
            owner.types.add(rtype);
        }
    }

    /// Makes the NSEC records (RFC 4034, section 4) of the owners, which are in order.
    fn link(&mut self, ttl: u32) {
        for (at, owner) in self.owners.iter().enumerate() {
            let next = self.owners.get(at + 1).or(self.owners.first());
            let next = next.map_or(Name::ROOT, |next| next.name.as_name());
            let mut rdata = next.octets().to_vec();
            let mut types = owner.types.clone();
            types.add(Type::RRSIG);
            types.add(Type::NSEC);
            types.write(&mut rdata);
            self.signed.push(Set {
                owner: owner.name,
                rtype: Type::NSEC,
                ttl,
                rdata: vec![rdata],
            });
        }
    }

    /// Makes the NSEC3 records (RFC 5155, section 7.1) of the owners and of the empty non-terminals above them.
    fn link_hashed(&mut self, apex: Name<'_>, ttl: u32) {
        let parameters = vec![PARAMETERS.to_vec()];
        self.merge(apex, (Type::NSEC3PARAM, 0), parameters);
        let mut chain: BTreeMap<[u8; 20], Types> = BTreeMap::new();
        let hash = |name: Name<'_>| sha1::nsec3(&name.octets().to_ascii_lowercase(), &[], 0);
        let mut above = BTreeSet::new();
        for owner in &self.owners {
            let mut types = owner.types.clone();
            if owner.signed || !owner.cut {
                types.add(Type::RRSIG);
            }
            chain.insert(hash(owner.name.as_name()), types);
            let mut parent = owner.name.as_name().parent();
            while let Some(name) = parent.filter(|name| *name != apex && name.is_within(apex)) {
                above.insert(hash(name));
                parent = name.parent();
            }
        }
        for hash in above {
            chain.entry(hash).or_default();
        }
        let first = chain.keys().next().copied().unwrap_or_default();
        let mut left = chain.iter().peekable();
        while let Some((hash, types)) = left.next() {
            let next = left.peek().map_or(first, |(next, _)| **next);
            let mut rdata = PARAMETERS.to_vec();
            rdata.push(20);
            rdata.extend_from_slice(&next);
            types.write(&mut rdata);
            let label = base32(hash).to_ascii_lowercase();
            let Ok(owner) = NameBuf::prepend(label.as_bytes(), apex) else {
                continue;
            };
            self.signed.push(Set {
                owner,
                rtype: Type::NSEC3,
                ttl,
                rdata: vec![rdata],
            });
        }
    }
}

/// The zone of all that was collected and made.
fn build(zone: &Zone, draft: &Draft, signatures: &[Vec<Vec<u8>>]) -> Result<Zone, String> {
    let mut builder = Builder::new(zone.apex()).minimal(zone.minimal);
    let none = Vec::new();
    let signed = draft.signed.iter().zip(signatures);
    let unsigned = draft.unsigned.iter().map(|set| (set, &none));
    for (set, signatures) in signed.chain(unsigned) {
        let own = set.rdata.iter().map(|rdata| (set.rtype, rdata));
        let signatures = signatures.iter().map(|rdata| (Type::RRSIG, rdata));
        for (rtype, rdata) in own.chain(signatures) {
            let fixed = (rtype, set.ttl);
            let pushed = builder.push(set.owner.as_name(), fixed, rdata, Place::default());
            pushed.map_err(|_| format!("{} is not within the zone", set.owner))?;
        }
    }
    builder.build().map_err(|complaints| {
        let all = complaints.iter().map(|complaint| complaint.message.clone());
        all.collect::<Vec<_>>().join("; ")
    })
}
