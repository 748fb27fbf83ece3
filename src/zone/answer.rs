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

use crate::contents::{Node, Set, Zone, flag};
use crate::denial::Claim;
use crate::lookup::{Lookup, Match, at};
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
    /// The aliases lead back to themselves. They are the answer: NOERROR where each of them stands in the zone, SERVFAIL where one is
    /// made of a wildcard or DNAME. A DNAME that gives the name itself is SERVFAIL without records. CoreDNS has it so.
    Loop,
    /// YXDOMAIN: a DNAME gives a name that is too long (RFC 6672, section 2.2).
    Overflow,
    /// Nothing was written: the name is not within the zone.
    OutOfZone,
}

/// Says whether others may know the name to which an alias leads, and which this zone does not have.
pub type Elsewhere<'e> = &'e dyn Fn(&Qname, Target) -> bool;

/// What a zone knows of the name to which an alias leads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    /// It does not exist.
    Missing,
    /// It is at or below a zone cut.
    Delegated,
}

/// One name of a chain of aliases.
struct Step<'s> {
    /// The name, where it had to be looked up; an alias whose target has a node needs no look-up.
    qname: Option<&'s Qname>,
    /// Where its own node stands; 0 for none.
    node: usize,
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
        self.answer_beside(&|_, _| false, qname, qtype, dnssec_ok, response)
    }

    /// The same on a server with other data: an alias to a name that this zone does not have, or has delegated, is left to be chased
    /// where `elsewhere` says that others may know it (RFC 1034, section 4.3.2, step 2). Asked of such targets only.
    pub fn answer_beside(
        &self,
        elsewhere: Elsewhere<'_>,
        qname: &Qname,
        qtype: Type,
        dnssec_ok: bool,
        response: &mut Response<'_>,
    ) -> Outcome {
        let mut writer = Writer::new(self, qname, dnssec_ok, response);
        writer.elsewhere = elsewhere;
        writer.response.set_flag(Flags::AA, true);
        let first = Step {
            qname: Some(qname),
            node: 0,
            wildcard: None,
            before: None,
            count: 0,
        };
        let owner = writer.qname(qname);
        let found = self.lookup(qname, qtype);
        self.say(&mut writer, qtype, first, (found, owner))
    }

    /// Writes the authority section behind an answer that [`Outcome::Chase`] left open: NS or, where the target was NXDOMAIN or NODATA
    /// (`negative`), SOA; and for each alias that a wildcard gave the proof that there was no closer match (RFC 4035, 3.1.3.3).
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
        } else {
            writer.apex_ns();
        }
        self.prove_aliases(qname, dnssec_ok, response);
    }

    /// Writes, for each alias of this zone that a wildcard gave on the way from `qname`, the proof that there was no closer match.
    pub fn prove_aliases(&self, qname: &Qname, dnssec_ok: bool, response: &mut Response<'_>) {
        let mut writer = Writer::new(self, qname, dnssec_ok, response);
        if !writer.proves() {
            return;
        }
        let mut name = qname.clone();
        for _ in 0..=MOST_ALIASES {
            let target = match self.lookup(&name, Type::A) {
                Lookup::Cname(found, set) => {
                    if let Some(encloser) = found.encloser {
                        writer.proof(self.prove(&name, Claim::Wildcard { encloser }));
                    }
                    self.target(set)
                }
                Lookup::Dname(set, _, skip) => self.target(set).and_then(|to| {
                    NameBuf::substitute(name.name(), name.suffix(skip), to.as_name())?.ok()
                }),
                _ => None,
            };
            let Some(target) = target else { return };
            name.set(target.as_name());
        }
    }

    /// Whether `qname` is an empty non-terminal: a name without records above others that have some (RFC 8499, section 7).
    pub fn is_empty_non_terminal(&self, qname: &Qname) -> bool {
        match self.lookup(qname, Type::A) {
            Lookup::NoData(found) => found.encloser.is_none() && found.node.sets().next().is_none(),
            _ => false,
        }
    }

    /// Writes what was found behind an alias.
    #[inline(never)]
    fn say_more(
        &self,
        w: &mut Writer<'_, '_, '_>,
        qtype: Type,
        step: Step<'_>,
        found: (Lookup<'_>, Owner<'_>),
    ) -> Outcome {
        self.say(w, qtype, step, found)
    }

    /// Writes what was found.
    #[inline(always)]
    fn say(
        &self,
        w: &mut Writer<'_, '_, '_>,
        qtype: Type,
        step: Step<'_>,
        (found, owner): (Lookup<'_>, Owner<'_>),
    ) -> Outcome {
        match found {
            Lookup::Answer(found, set) => self.positive(w, &step, (found, set), owner),
            Lookup::Signatures(found) => {
                // Those of one RRset, as to ANY: a whole set of them would only amplify (RFC 8482, section 7).
                if let Some(set) = found.node.sets().find(|set| set.sig_count > 0) {
                    w.signatures(Section::Answer, set, owner);
                }
                w.apex_ns();
                if let Some(encloser) = found.encloser {
                    self.proofs(w, &step, Claim::Wildcard { encloser });
                } else {
                    self.aliases_proof(w, &step);
                }
                Outcome::Answer
            }
            Lookup::NoData(found) => {
                w.soa();
                let claim = match found.encloser {
                    Some(encloser) => Claim::NoTypeAtWildcard { encloser },
                    None => Claim::NoType,
                };
                self.proofs(w, &step, claim);
                Outcome::NoData
            }
            Lookup::NxDomain(encloser) => {
                w.response.set_rcode(Rcode::NXDOMAIN);
                w.soa();
                self.proofs(w, &step, Claim::NoName { encloser });
                Outcome::NxDomain
            }
            Lookup::Referral(cut, skip) => self.referral(w, &step, (cut, skip), owner),
            Lookup::Cname(found, set) => self.cname(w, qtype, step, (found, set, owner)),
            Lookup::Dname(set, node, skip) => self.dname(w, qtype, step, (set, node, skip, owner)),
            Lookup::OutOfZone => Outcome::OutOfZone,
        }
    }

    #[inline(always)]
    fn positive(
        &self,
        w: &mut Writer<'_, '_, '_>,
        step: &Step<'_>,
        (found, set): (Match<'_>, Set<'_>),
        owner: Owner<'_>,
    ) -> Outcome {
        let place = w.set(Section::Answer, set, owner);
        if set.rtype != Type::NS {
            w.apex_ns();
        }
        if let Some(encloser) = found.encloser {
            self.proofs(w, step, Claim::Wildcard { encloser });
        } else {
            self.aliases_proof(w, step);
        }
        // What a CNAME keeps is its target, which belongs to those who ask for more than the CNAME.
        if set.rtype != Type::CNAME {
            w.extras(set, place);
        }
        Outcome::Answer
    }

    /// Proves `claim` about the last name, and for each alias that a wildcard gave that there was no closer match; where DNSSEC records
    /// are wanted and the zone is signed.
    #[inline]
    fn proofs(&self, w: &mut Writer<'_, '_, '_>, step: &Step<'_>, claim: Claim) {
        if let (true, Some(qname)) = (w.proves(), step.qname) {
            self.aliases_proof(w, step);
            w.proof(self.prove(qname, claim));
        }
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
        let (Some(ns), Some(qname)) = (cut.set(Type::NS), step.qname) else {
            return Outcome::OutOfZone;
        };
        // The cut's name ends the name that was found; it begins with labels of its own, so it can be pointed to.
        let owner = owner.suffix(qname.suffix_start(skip), cut.name());
        let place = w.set_only(Section::Authority, ns, owner);
        if w.wants_dnssec() {
            match cut.set(Type::DS) {
                Some(ds) => {
                    w.set(Section::Authority, ds, owner);
                }
                None if w.proves() => w.proof(self.prove(qname, Claim::Unsigned { skip })),
                None => {}
            }
        }
        if w.proves() {
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
        let here = Step {
            wildcard: found.encloser,
            node: found.encloser.map_or(found.node.at, |_| 0),
            ..step
        };
        // Proofs are about names, not nodes.
        if let (Some(place), Some((_, target)), false) = (place, set.extras().next(), w.proves()) {
            let node = self.node(target);
            if !node.has(flag::CUT | flag::OCCLUDED) {
                return self.follow_node(w, qtype, &here, (node, place + 12));
            }
        }
        let Some(target) = self.target(set) else {
            return Outcome::Answer;
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
        let Some(qname) = step.qname else {
            return Outcome::OutOfZone;
        };
        let owner_of_dname = owner.suffix(qname.suffix_start(skip), node.name());
        w.set(Section::Answer, set, owner_of_dname);
        let Some(to) = self.target(set) else {
            return Outcome::OutOfZone;
        };
        let target = match NameBuf::substitute(qname.name(), qname.suffix(skip), to.as_name()) {
            Some(Ok(target)) if target.as_name() == qname.name() => {
                w.response.clear_records();
                w.response.set_rcode(Rcode::SERVFAIL);
                return Outcome::Loop;
            }
            Some(Ok(target)) => target,
            _ => {
                w.response.set_rcode(Rcode::YXDOMAIN);
                return Outcome::Overflow;
            }
        };
        let place = w.alias(owner, set.ttl(), target.as_name());
        if qtype == Type::CNAME {
            w.apex_ns();
            return Outcome::Answer;
        }
        let next = Owner::at(place, target.as_name());
        self.follow(w, qtype, &step, (&target, next))
    }

    /// Goes on with the target of an alias, which has a node that nothing hides and whose name stands at `place`.
    fn follow_node(
        &self,
        w: &mut Writer<'_, '_, '_>,
        qtype: Type,
        here: &Step<'_>,
        (node, place): (Node<'_>, usize),
    ) -> Outcome {
        let mut before = Some(here);
        while let Some(step) = before {
            // A name that a wildcard gave has no node, and a target has one.
            if step.node == node.at {
                return self.looped(w, here, step);
            }
            before = step.before;
        }
        let count = here.count + 1;
        if count >= MOST_ALIASES {
            return self.cut_short(w, here);
        }
        let next = Step {
            qname: None,
            node: node.at,
            wildcard: None,
            before: Some(here),
            count,
        };
        let owner = Owner::at(Some(place), node.name());
        let found = at(
            Match {
                node,
                encloser: None,
            },
            qtype,
        );
        self.say_more(w, qtype, next, (found, owner))
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
            let same = match step.qname {
                Some(before) => before.hash(0) == qname.hash(0),
                None => self.node_at(step.node).name() == qname.name(),
            };
            if same {
                return self.looped(w, here, step);
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
            return self.cut_short(w, here);
        }
        let next = Step {
            qname: Some(&qname),
            node: 0,
            wildcard: None,
            before: Some(here),
            count,
        };
        let found = self.lookup(&qname, qtype);
        let unknown = match found {
            Lookup::NxDomain(_) => Some(Target::Missing),
            Lookup::Referral(..) => Some(Target::Delegated),
            _ => None,
        };
        if unknown.is_some_and(|target| (w.elsewhere)(&qname, target)) {
            return Outcome::Chase {
                target: *target,
                aliases: count,
            };
        }
        self.say_more(w, qtype, next, (found, owner))
    }

    /// Ends an answer whose aliases go on for longer than anybody follows.
    #[cold]
    fn cut_short(&self, w: &mut Writer<'_, '_, '_>, here: &Step<'_>) -> Outcome {
        w.apex_ns();
        let end = Step {
            qname: None,
            node: 0,
            wildcard: None,
            before: Some(here),
            count: 0,
        };
        self.aliases_proof(w, &end);
        Outcome::Answer
    }

    /// Ends an answer whose aliases lead from `here` back to `again`.
    #[cold]
    fn looped(&self, w: &mut Writer<'_, '_, '_>, here: &Step<'_>, again: &Step<'_>) -> Outcome {
        let mut made = false;
        let mut step = Some(here);
        while let Some(one) = step {
            made |= one.node == 0;
            step = one.before.filter(|_| !std::ptr::eq(one, again));
        }
        if made {
            w.response.set_rcode(Rcode::SERVFAIL);
        }
        self.cut_short(w, here);
        Outcome::Loop
    }

    /// Proves, for each alias that a wildcard gave, that there was no closer match.
    #[inline]
    fn aliases_proof(&self, w: &mut Writer<'_, '_, '_>, last: &Step<'_>) {
        let mut before = last.before.filter(|_| w.proves());
        while let Some(step) = before {
            if let (Some(encloser), Some(qname)) = (step.wildcard, step.qname) {
                w.proof(self.prove(qname, Claim::Wildcard { encloser }));
            }
            before = step.before;
        }
    }
}

/// The class of all that is written.
pub(crate) const CLASS: Class = Class::IN;
