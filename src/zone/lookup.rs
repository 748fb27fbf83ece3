//! How a QNAME is found (RFC 1034, section 4.3.2; RFC 4592; RFC 6672), as one enum of outcomes.
//!
//! The whole name is tried first; its node says whether a zone cut or DNAME hides it. When it is not there, the closest encloser is
//! its longest suffix that is: empty non-terminals have nodes, so existence is monotone and, after two labels, is searched by halves.
//! No step depends on the size of the zone, nothing is hashed again, nothing is allocated.

use wire::{Name, Qname, Type};

use crate::contents::{Node, Set, Zone, flag};

/// Where a QNAME was found: at its own node, or at the wildcard that it is synthesised from.
#[derive(Clone, Copy, Debug)]
pub struct Match<'z> {
    /// The node.
    pub node: Node<'z>,
    /// Of a wildcard: how many labels QNAME has more than its closest encloser.
    pub encloser: Option<usize>,
}

/// What the zone says to a QNAME and QTYPE.
#[derive(Clone, Copy, Debug)]
pub enum Lookup<'z> {
    /// The RRset is there.
    Answer(Match<'z>, Set<'z>),
    /// The RRSIGs of the name are asked for, and there are some.
    Signatures(Match<'z>),
    /// The name is there, the type is not.
    NoData(Match<'z>),
    /// The name is not there; it has this many labels more than its closest encloser.
    NxDomain(usize),
    /// The name is at or below a zone cut, which it has this many labels more than.
    Referral(Node<'z>, usize),
    /// The name is an alias.
    Cname(Match<'z>, Set<'z>),
    /// The name is below a DNAME, which it has this many labels more than.
    Dname(Set<'z>, Node<'z>, usize),
    /// The name is not within the zone.
    OutOfZone,
}

/// How a name stands to a zone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// It is there, or a wildcard stands for it; it may have no records.
    There,
    /// It is a zone cut.
    Cut,
    /// It is not there.
    Missing,
    /// It is out of the zone, below a zone cut or below a DNAME.
    Elsewhere,
}

impl Zone {
    /// Finds `qname`.
    #[inline(always)]
    pub fn lookup(&self, qname: &Qname, qtype: Type) -> Lookup<'_> {
        if let Some(node) = self.find(qname, 0) {
            let hidden = node.has(flag::OCCLUDED);
            if !hidden && (!node.has(flag::CUT) || qtype == Type::DS) {
                return at(
                    Match {
                        node,
                        encloser: None,
                    },
                    qtype,
                );
            }
            return hidden_by(if hidden { node.link() } else { Some(node) }, qname);
        }
        self.lookup_missing(qname, qtype)
    }

    /// What stands at `qname`: the types of its records go to `each`. A name that a wildcard stands for has the wildcard's.
    pub fn types_at(&self, qname: &Qname, mut each: impl FnMut(Type)) -> Standing {
        let cut = |node: Node<'_>| node.name() == qname.name();
        match self.lookup(qname, Type::NSEC) {
            Lookup::NxDomain(_) => Standing::Missing,
            Lookup::Referral(node, _) if cut(node) => {
                let types = [Type::NS, Type::DS];
                let there = types.into_iter().filter(|&rtype| node.set(rtype).is_some());
                there.for_each(each);
                Standing::Cut
            }
            Lookup::Answer(found, _)
            | Lookup::Signatures(found)
            | Lookup::NoData(found)
            | Lookup::Cname(found, _) => {
                let sets = found.node.sets().filter(|set| set.count > 0);
                sets.for_each(|set| each(set.rtype));
                Standing::There
            }
            Lookup::Referral(..) | Lookup::Dname(..) | Lookup::OutOfZone => Standing::Elsewhere,
        }
    }

    /// The wildcard that an answer to `qname` and `qtype` is synthesised from (RFC 4592, section 3.3.1), if one is.
    pub fn source_of_synthesis(&self, qname: &Qname, qtype: Type) -> Option<Name<'_>> {
        let found = match self.lookup(qname, qtype) {
            Lookup::Answer(found, _)
            | Lookup::Signatures(found)
            | Lookup::NoData(found)
            | Lookup::Cname(found, _) => found,
            _ => return None,
        };
        found.encloser.map(|_| found.node.name())
    }

    /// Finds a name that has no node.
    #[inline(never)]
    fn lookup_missing(&self, qname: &Qname, qtype: Type) -> Lookup<'_> {
        let Some((node, skip)) = self.closest_encloser(qname) else {
            return Lookup::OutOfZone;
        };
        if node.has(flag::OCCLUDED) {
            return hidden_by(node.link(), qname);
        }
        if node.has(flag::CUT | flag::DNAME) {
            return hidden_by(Some(node), qname);
        }
        match node.link() {
            Some(wildcard) => at(
                Match {
                    node: wildcard,
                    encloser: Some(skip),
                },
                qtype,
            ),
            None => Lookup::NxDomain(skip),
        }
    }

    /// The longest suffix of a name without node that has one, and how many labels shorter it is.
    fn closest_encloser(&self, qname: &Qname) -> Option<(Node<'_>, usize)> {
        let above = qname.label_count().checked_sub(self.apex_labels)?;
        if qname.suffix(above).octets() != self.apex().octets() {
            return None;
        }
        for skip in 1..=above.min(2) {
            if let Some(node) = self.find(qname, skip) {
                return Some((node, skip));
            }
        }
        // No node `low` labels shorter, one at `high`: the apex.
        let (mut low, mut high, mut found) = (above.min(2), above, self.apex_node());
        while high > low + 1 {
            let middle = low + (high - low) / 2;
            match self.find(qname, middle) {
                Some(node) => (high, found) = (middle, node),
                None => low = middle,
            }
        }
        Some((found, high))
    }
}

/// What a name gets that `cover`, a zone cut or the owner of a DNAME, is at or above.
#[inline(never)]
fn hidden_by<'z>(cover: Option<Node<'z>>, qname: &Qname) -> Lookup<'z> {
    let Some(cover) = cover else {
        return Lookup::OutOfZone;
    };
    let skip = qname
        .label_count()
        .saturating_sub(cover.name().label_count());
    if cover.has(flag::CUT) {
        return Lookup::Referral(cover, skip);
    }
    match cover.set(Type::DNAME) {
        Some(set) => Lookup::Dname(set, cover, skip),
        None => Lookup::OutOfZone,
    }
}

/// Whether a type may stand beside a CNAME, so that an alias does not stand for it (RFC 2181, 10.1; RFC 4034, 2.5; as BIND and Knot).
fn beside_alias(qtype: Type) -> bool {
    matches!(
        qtype,
        Type::RRSIG | Type::NSEC | Type::KEY | Type::SIG | Type::NXT
    )
}

/// What is at the node for this type.
#[inline(always)]
pub(crate) fn at(found: Match<'_>, qtype: Type) -> Lookup<'_> {
    let alias = match found.node.set_or_alias(qtype) {
        Ok(set) => return Lookup::Answer(found, set),
        Err(alias) => alias,
    };
    match qtype {
        Type::ANY => match found.node.sets().find(|set| set.count > 0) {
            Some(set) => Lookup::Answer(found, set),
            None => Lookup::NoData(found),
        },
        Type::RRSIG if found.node.sets().any(|set| set.sig_count > 0) => Lookup::Signatures(found),
        _ => match alias {
            Some(set) if !beside_alias(qtype) => Lookup::Cname(found, set),
            _ => Lookup::NoData(found),
        },
    }
}
