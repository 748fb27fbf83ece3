//! The whole answer to a query, written from octets that were ready at load.
//!
//! ```text
//! lookup ─► Answer, Signatures ─► the set ─► apex NS ─► additional addresses
//!       ├─► NoData, NxDomain   ─► SOA, denial
//!       ├─► Referral           ─► NS of the cut, DS or its denial, glue
//!       └─► Cname, Dname       ─► the alias, then the look-up again with its target: in the zone here, else by the caller (Chase)
//! ```
//!
//! Differences from CoreDNS, each where BIND, Knot, NSD and PowerDNS follow an RFC: SOA of negative answers with the lesser of TTL and
//! MINIMUM (RFC 2308), denial of DS at unsigned zone cuts and of closer matches at every wildcard (RFC 4035), NSEC3 (RFC 5155),
//! YXDOMAIN for a DNAME that overflows (RFC 6672), one RRset to QTYPE ANY (RFC 8482).

use wire::{Class, Flags, Name, NameBuf, Qname, Rcode, Response, Section, Type};

use crate::contents::{Node, Set, Zone};
use crate::denial::Claim;
use crate::lookup::{Lookup, Match};
use crate::write::{Owner, Writer};

/// How many aliases are followed in one zone.
const MOST_ALIASES: usize = 10;

/// What was written.
#[allow(
    clippy::large_enum_variant,
    reason = "a boxed name would allocate on the query path"
)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// An answer.
    Answer,
    /// NOERROR without an answer, perhaps behind aliases.
    NoData,
    /// NXDOMAIN, perhaps behind aliases.
    NxDomain,
    /// A referral to a zone below, perhaps behind aliases.
    Referral,
    /// Aliases that lead out of the zone, or to a nearer one. Nothing is in the authority section yet: when the target is resolved and its records are
    /// in the answer section, [`Zone::finish_chase`] writes it.
    Chase {
        /// The name to resolve.
        target: NameBuf,
        /// How many aliases were followed so far.
        aliases: usize,
    },
    /// SERVFAIL, without records: the aliases lead back to themselves.
    Loop,
    /// YXDOMAIN: a DNAME gives a name that is too long (RFC 6672, section 2.2).
    Overflow,
    /// Nothing was written: the name is not within the zone.
    OutOfZone,
}

/// One name of a chain of aliases.
struct Step<'s> {
    qname: &'s Qname,
    /// How many labels shorter the encloser is whose wildcard gave the alias.
    wildcard: Option<usize>,
    before: Option<&'s Step<'s>>,
    count: usize,
}

impl Zone {
    /// Answers `qname` and `qtype` into `response`, which has been begun with the same question.
    ///
    /// `qname` need not be the name in the question: where it is, as it is unless the query was rewritten, owners point to it.
    /// A response without room is marked truncated and ends there.
    pub fn answer(
        &self,
        qname: &Qname,
        qtype: Type,
        dnssec_ok: bool,
        response: &mut Response<'_>,
    ) -> Outcome {
        self.answer_beside(&|_| false, qname, qtype, dnssec_ok, response)
    }

    /// The same on a server with other zones: an alias to a name that this zone does not have, or has delegated, is left to be chased
    /// where `elsewhere` says that another zone is nearer (RFC 1034, section 4.3.2, step 2). Asked of such targets only.
    pub fn answer_beside(
        &self,
        elsewhere: &dyn Fn(&Qname) -> bool,
        qname: &Qname,
        qtype: Type,
        dnssec_ok: bool,
        response: &mut Response<'_>,
    ) -> Outcome {
        let mut writer = Writer::new(self, qname, dnssec_ok, response);
        writer.elsewhere = elsewhere;
        writer.response.set_flag(Flags::AA, true);
        let first = Step {
            qname,
            wildcard: None,
            before: None,
            count: 0,
        };
        let owner = writer.qname(qname);
        self.step(&mut writer, qtype, first, owner)
    }

    /// Writes the authority section behind an answer that [`Outcome::Chase`] left open; `negative` says that the target was NXDOMAIN
    /// or NODATA.
    pub fn finish_chase(
        &self,
        qname: &Qname,
        negative: bool,
        dnssec_ok: bool,
        response: &mut Response<'_>,
    ) {
        let mut writer = Writer::new(self, qname, dnssec_ok, response);
        if negative {
            writer.soa();
        } else if !self.minimal {
            writer.apex_ns();
        }
    }

    #[inline]
    fn step(
        &self,
        w: &mut Writer<'_, '_, '_>,
        qtype: Type,
        step: Step<'_>,
        owner: Owner<'_>,
    ) -> Outcome {
        let found = self.lookup(step.qname, qtype);
        if step.count > 0
            && matches!(found, Lookup::NxDomain(_) | Lookup::Referral(..))
            && (w.elsewhere)(step.qname)
        {
            return Outcome::Chase {
                target: NameBuf::from_name(step.qname.name()),
                aliases: step.count,
            };
        }
        match found {
            Lookup::Answer(found, set) => self.positive(w, &step, (found, set), owner),
            Lookup::Signatures(found) => {
                // Those of one RRset, as to ANY: a whole set of them would only amplify (RFC 8482, section 7).
                if let Some(set) = found.node.sets().find(|set| set.sig_count > 0) {
                    w.signatures(Section::Answer, set, owner);
                }
                if !self.minimal {
                    w.apex_ns();
                }
                if w.proves() {
                    self.aliases_proof(w, &step);
                    if let Some(encloser) = found.encloser {
                        w.proof(self.prove(step.qname, Claim::Wildcard { encloser }));
                    }
                }
                Outcome::Answer
            }
            Lookup::NoData(found) => {
                w.soa();
                if w.proves() {
                    self.aliases_proof(w, &step);
                    let claim = match found.encloser {
                        Some(encloser) => Claim::NoTypeAtWildcard { encloser },
                        None => Claim::NoType,
                    };
                    w.proof(self.prove(step.qname, claim));
                }
                Outcome::NoData
            }
            Lookup::NxDomain(encloser) => {
                w.response.set_rcode(Rcode::NXDOMAIN);
                w.soa();
                if w.proves() {
                    self.aliases_proof(w, &step);
                    w.proof(self.prove(step.qname, Claim::NoName { encloser }));
                }
                Outcome::NxDomain
            }
            Lookup::Referral(cut, skip) => self.referral(w, &step, (cut, skip), owner),
            Lookup::Cname(found, set) => self.cname(w, qtype, step, (found, set, owner)),
            Lookup::Dname(set, node, skip) => self.dname(w, qtype, step, (set, node, skip, owner)),
            Lookup::OutOfZone => Outcome::OutOfZone,
        }
    }

    #[inline]
    fn positive(
        &self,
        w: &mut Writer<'_, '_, '_>,
        step: &Step<'_>,
        (found, set): (Match<'_>, Set<'_>),
        owner: Owner<'_>,
    ) -> Outcome {
        let place = w.set(Section::Answer, set, owner);
        if !self.minimal && set.rtype != Type::NS {
            w.apex_ns();
        }
        if w.proves() {
            self.aliases_proof(w, step);
            if let Some(encloser) = found.encloser {
                w.proof(self.prove(step.qname, Claim::Wildcard { encloser }));
            }
        }
        w.extras(set, place);
        Outcome::Answer
    }

    fn referral(
        &self,
        w: &mut Writer<'_, '_, '_>,
        step: &Step<'_>,
        (cut, skip): (Node<'_>, usize),
        owner: Owner<'_>,
    ) -> Outcome {
        if step.count == 0 {
            w.response.set_flag(Flags::AA, false);
        }
        let Some(ns) = cut.set(Type::NS) else {
            return Outcome::OutOfZone;
        };
        // The cut's name ends the name that was found; it begins with labels of its own, so it can be pointed to.
        let owner = owner.suffix(step.qname.suffix_start(skip), cut.name());
        let place = w.set_only(Section::Authority, ns, owner);
        if w.proves() {
            match cut.set(Type::DS) {
                Some(ds) => {
                    w.set(Section::Authority, ds, owner);
                }
                None => w.proof(self.prove(step.qname, Claim::Unsigned { skip })),
            }
            self.aliases_proof(w, step);
        }
        w.extras(ns, place);
        Outcome::Referral
    }

    fn cname(
        &self,
        w: &mut Writer<'_, '_, '_>,
        qtype: Type,
        step: Step<'_>,
        (found, set, owner): (Match<'_>, Set<'_>, Owner<'_>),
    ) -> Outcome {
        let place = w.set(Section::Answer, set, owner);
        let Some(target) = self.target(set) else {
            return Outcome::Answer;
        };
        let here = Step {
            wildcard: found.encloser,
            ..step
        };
        let next = Owner::at(place.map(|at| at + 12), target.as_name());
        self.follow(w, qtype, &here, (&target, next))
    }

    /// The name that the only record of a CNAME set names, in full.
    fn target(&self, set: Set<'_>) -> Option<NameBuf> {
        let record = set.each_record().next()?;
        let mut octets = [0u8; 255];
        let mut len = 0;
        record.expand(self.apex().octets(), |piece, _| {
            if let Some(room) = octets.get_mut(len..len + piece.len()) {
                room.copy_from_slice(piece);
                len += piece.len();
            }
        });
        Name::new(octets.get(..len)?).ok().map(NameBuf::from_name)
    }

    fn dname(
        &self,
        w: &mut Writer<'_, '_, '_>,
        qtype: Type,
        step: Step<'_>,
        (set, node, skip, owner): (Set<'_>, Node<'_>, usize, Owner<'_>),
    ) -> Outcome {
        let owner_of_dname = owner.suffix(step.qname.suffix_start(skip), node.name());
        w.set(Section::Answer, set, owner_of_dname);
        let Some(to) = self.target(set) else {
            return Outcome::OutOfZone;
        };
        let name = step.qname.name();
        let target = match NameBuf::substitute(name, step.qname.suffix(skip), to.as_name()) {
            Some(Ok(target)) => target,
            _ => {
                w.response.set_rcode(Rcode::YXDOMAIN);
                return Outcome::Overflow;
            }
        };
        let place = w.alias(owner, set.ttl(), target.as_name());
        if qtype == Type::CNAME {
            if !self.minimal {
                w.apex_ns();
            }
            return Outcome::Answer;
        }
        let next = Owner::at(place, target.as_name());
        self.follow(w, qtype, &step, (&target, next))
    }

    /// Goes on with the target of an alias.
    #[inline(never)]
    fn follow(
        &self,
        w: &mut Writer<'_, '_, '_>,
        qtype: Type,
        here: &Step<'_>,
        (target, owner): (&NameBuf, Owner<'_>),
    ) -> Outcome {
        let count = here.count + 1;
        let mut qname = Qname::root();
        qname.set(target.as_name());
        let mut before = Some(here);
        while let Some(step) = before {
            if step.qname.hash(0) == qname.hash(0) {
                w.response.clear_records();
                w.response.set_rcode(Rcode::SERVFAIL);
                return Outcome::Loop;
            }
            before = step.before;
        }
        if !target.as_name().is_within(self.apex()) {
            return Outcome::Chase {
                target: *target,
                aliases: count,
            };
        }
        if count >= MOST_ALIASES {
            return Outcome::Answer;
        }
        let next = Step {
            qname: &qname,
            wildcard: None,
            before: Some(here),
            count,
        };
        self.step(w, qtype, next, owner)
    }

    /// Proves, for each alias that a wildcard gave, that there was no closer match.
    fn aliases_proof(&self, w: &mut Writer<'_, '_, '_>, last: &Step<'_>) {
        let mut before = last.before;
        while let Some(step) = before {
            if let Some(encloser) = step.wildcard {
                w.proof(self.prove(step.qname, Claim::Wildcard { encloser }));
            }
            before = step.before;
        }
    }
}

/// The class of all that is written.
pub(crate) const CLASS: Class = Class::IN;
