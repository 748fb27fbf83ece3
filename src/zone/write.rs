//! RRsets into a response: octets that were ready at load, with pointers fitted to the message.
//!
//! A set's octets have `C0 0C` for an owner and pointers to the apex in their names. Where QNAME is the owner and ends in the apex as
//! the zone spells it, they are copied and a pointer is written at each of the set's places. Other owners are pointed to where their
//! name already stands (the target of the alias, the NS record). Only a QNAME that spells the apex with capitals, or a name beyond the
//! reach of a pointer, takes the longer way: record by record, names in full, so that data keep their case.

use wire::{HEADER_LEN, Name, Qname, Response, Section, Type};

use crate::answer::{CLASS, Elsewhere};
use crate::contents::{Denial, Node, RawRecord, Ready, Set, Zone};
use crate::denial::Proof;

/// The farthest place that a compression pointer can name (RFC 1035, section 4.1.4).
const REACH: usize = 0x3FFF;

/// An owner: its name, and where it stands in the message if a pointer can name it.
#[derive(Clone, Copy)]
pub(crate) struct Owner<'n> {
    at: Option<usize>,
    name: Name<'n>,
}

impl<'n> Owner<'n> {
    /// A name that stands at `at`.
    pub(crate) fn at(at: Option<usize>, name: Name<'n>) -> Self {
        Self {
            at: at.filter(|&at| at <= REACH),
            name,
        }
    }

    /// The name that this one ends in, from its octet `start` on.
    pub(crate) fn suffix<'s>(self, start: usize, name: Name<'s>) -> Owner<'s> {
        Owner::at(self.at.map(|at| at + start), name)
    }
}

/// A response being filled from one zone.
pub(crate) struct Writer<'w, 'z, 'r> {
    pub(crate) response: &'w mut Response<'r>,
    zone: &'z Zone,
    dnssec_ok: bool,
    /// Whether others may know a name that this zone does not have.
    pub(crate) elsewhere: Elsewhere<'w>,
    /// Whether QNAME stands in the question.
    asked: bool,
    /// Where the apex stands, as the zone spells it.
    apex_at: Option<usize>,
    /// The denial nodes that have been written.
    proved: [usize; 8],
    proved_len: usize,
}

impl<'w, 'z, 'r> Writer<'w, 'z, 'r> {
    #[inline(always)]
    pub(crate) fn new(
        zone: &'z Zone,
        qname: &Qname,
        dnssec_ok: bool,
        response: &'w mut Response<'r>,
    ) -> Self {
        // A rewritten query is looked up by another name than the one in the question: nothing there can be pointed to.
        let name = qname.name().octets();
        let question = response
            .octets()
            .get(HEADER_LEN..HEADER_LEN + name.len())
            .unwrap_or_default();
        // Mostly it came as it is looked up, in lower case, as the apex is.
        let plain = question == name;
        let asked = plain || question.eq_ignore_ascii_case(name);
        let skip = qname.label_count().saturating_sub(zone.apex_labels);
        let start = qname.suffix_start(skip);
        let same = plain || asked && question.get(start..) == Some(zone.apex().octets());
        Self {
            response,
            zone,
            dnssec_ok,
            elsewhere: &|_, _| false,
            asked,
            apex_at: same.then_some(HEADER_LEN + start),
            proved: [0; 8],
            proved_len: 0,
        }
    }

    /// QNAME as an owner.
    #[inline]
    pub(crate) fn qname<'n>(&self, qname: &'n Qname) -> Owner<'n> {
        Owner::at(self.asked.then_some(HEADER_LEN), qname.name())
    }

    /// Whether DNSSEC records are wanted.
    #[inline]
    pub(crate) fn wants_dnssec(&self) -> bool {
        self.dnssec_ok
    }

    /// Whether denial of existence is to be proved.
    #[inline]
    pub(crate) fn proves(&self) -> bool {
        self.dnssec_ok && !matches!(self.zone.denial, Denial::None)
    }

    /// Writes a set, with its RRSIGs when DNSSEC records are wanted; gives the place of its first record when it stands there as in
    /// the zone.
    #[inline]
    pub(crate) fn set(
        &mut self,
        section: Section,
        set: Set<'_>,
        owner: Owner<'_>,
    ) -> Option<usize> {
        if self.dnssec_ok {
            self.octets(section, set, (set.signed, set.count + set.sig_count), owner)
        } else {
            self.octets(section, set, (set.records, set.count), owner)
        }
    }

    /// Writes a set without its RRSIGs: NS records at a zone cut are not the zone's own (RFC 4035, 2.2).
    pub(crate) fn set_only(
        &mut self,
        section: Section,
        set: Set<'_>,
        owner: Owner<'_>,
    ) -> Option<usize> {
        self.octets(section, set, (set.records, set.count), owner)
    }

    /// Writes the RRSIGs of a set.
    pub(crate) fn signatures(&mut self, section: Section, set: Set<'_>, owner: Owner<'_>) {
        let sigs = set.signed.get(set.records.len()..).unwrap_or_default();
        let bare = Set {
            patches: &[],
            ..set
        };
        self.octets(section, bare, (sigs, set.sig_count), owner);
    }

    #[inline(always)]
    fn octets(
        &mut self,
        section: Section,
        set: Set<'_>,
        (octets, count): (&[u8], u16),
        owner: Owner<'_>,
    ) -> Option<usize> {
        if owner.at == Some(HEADER_LEN) && set.patches.is_empty() {
            return self.response.push_octets(section, octets, count).ok();
        }
        self.octets_at(section, set, (octets, count), owner)
    }

    #[inline(never)]
    fn octets_at(
        &mut self,
        section: Section,
        set: Set<'_>,
        (octets, count): (&[u8], u16),
        owner: Owner<'_>,
    ) -> Option<usize> {
        let (Some(owner_at), true) = (owner.at, set.patches.is_empty() || self.apex_at.is_some())
        else {
            self.in_full(section, set, count, owner);
            return None;
        };
        let at = self.response.push_octets(section, octets, count).ok()?;
        if let Some(apex_at) = self.apex_at {
            self.response.point_all(at, set.patches(), apex_at);
        }
        if owner_at != HEADER_LEN {
            let mut here = 0;
            while let Some(len) = wire::read_u16(octets, here + 10) {
                self.response.point(at + here, owner_at);
                here += 12 + len as usize;
            }
        }
        Some(at)
    }

    /// Writes the first `count` records of a set one by one: the owner in full or as a pointer, names in RDATA in full until the apex
    /// has been written once.
    #[inline(never)]
    fn in_full(&mut self, section: Section, set: Set<'_>, count: u16, owner: Owner<'_>) {
        let mut owner = owner;
        for record in set.each_record().take(count as usize) {
            match self.record_in_full(section, record, owner) {
                Some(at) if owner.at.is_none() => owner = Owner::at(Some(at), owner.name),
                Some(_) => {}
                None => return,
            }
        }
    }

    fn record_in_full(
        &mut self,
        section: Section,
        record: RawRecord<'_>,
        owner: Owner<'_>,
    ) -> Option<usize> {
        const EMPTY: &[u8] = &[];
        let apex = self.zone.apex().octets();
        let pointer = owner.at.map(|at| (0xC000 | at as u16).to_be_bytes());
        let mut apex_pointer = self.apex_at.map(|at| (0xC000 | at as u16).to_be_bytes());
        // The owner, the fixed part, the length, and at most two names with the apex behind them.
        let head = match &pointer {
            Some(pointer) => &pointer[..],
            None => owner.name.octets(),
        };
        let before = head.len() + 10;
        let start = self.response.len();
        let (mut parts, mut rdata, mut apex_at) = (0, [(EMPTY, false); 6], None);
        let mut len = 0;
        let set = record.set.signed;
        let (first, end) = (record.start + 12, record.start + record.octets.len());
        let mut here = first;
        for patch in record.set.patches().filter(|&p| p >= first && p < end) {
            let piece = set.get(here..patch).unwrap_or_default();
            for (octets, is_apex) in [(piece, false), (EMPTY, true)] {
                if let Some(place) = rdata.get_mut(parts) {
                    *place = (octets, is_apex);
                    parts += 1;
                }
            }
            len += piece.len();
            if apex_pointer.is_none() {
                let at = start + before + len;
                len += apex.len();
                if at <= REACH {
                    apex_at = Some((at, parts - 1));
                    apex_pointer = Some((0xC000 | at as u16).to_be_bytes());
                }
            } else {
                len += 2;
            }
            here = patch + 2;
        }
        let tail = set.get(here..end).unwrap_or_default();
        len += tail.len();
        let rdlen = u16::try_from(len).ok()?.to_be_bytes();
        let fixed = record.octets.get(2..10)?;
        let mut pieces: [&[u8]; 10] = [EMPTY; 10];
        pieces[..3].copy_from_slice(&[head, fixed, &rdlen]);
        for (index, &(octets, is_apex)) in rdata[..parts].iter().enumerate() {
            pieces[3 + index] = match (is_apex, &apex_pointer) {
                (false, _) => octets,
                (true, Some(pointer)) if apex_at.is_none_or(|(_, at)| at != index) => &pointer[..],
                (true, _) => apex,
            };
        }
        pieces[3 + parts] = tail;
        let at = self.response.push_pieces(section, &pieces, 1).ok()?;
        if let Some((place, _)) = apex_at {
            self.apex_at = Some(place);
        }
        Some(at)
    }

    /// Writes a set whose owner is a node's name that the message does not have yet.
    fn named(&mut self, section: Section, set: Set<'_>, node: Node<'_>) {
        let name = node.name();
        let apex = self.zone.apex().octets();
        let kept = name.octets().len().saturating_sub(apex.len());
        let first = set.each_record().next();
        let (Some(apex_at), Some(first), true) = (self.apex_at, first, set.patches.is_empty())
        else {
            let count = if self.dnssec_ok {
                set.count + set.sig_count
            } else {
                set.count
            };
            return self.in_full(section, set, count, Owner::at(None, name));
        };
        let pointer = (0xC000 | apex_at as u16).to_be_bytes();
        let (octets, count) = if self.dnssec_ok {
            (set.signed, set.count + set.sig_count)
        } else {
            (set.records, set.count)
        };
        let labels = name.octets().get(..kept).unwrap_or_default();
        let pieces = [labels, &pointer, first.octets.get(2..).unwrap_or_default()];
        let Ok(at) = self.response.push_pieces(section, &pieces, 1) else {
            return;
        };
        let rest = octets.get(first.octets.len()..).unwrap_or_default();
        let rest = Set {
            records: rest,
            signed: rest,
            count: count - 1,
            sig_count: 0,
            ..set
        };
        if rest.count > 0 {
            self.set_only(section, rest, Owner::at(Some(at), name));
        }
    }

    /// Writes the SOA record of a negative answer into the authority section.
    #[inline]
    pub(crate) fn soa(&mut self) {
        if let (Some(apex_at), Some(soa)) = (self.apex_at, &self.zone.ready_soa) {
            return self.ready(soa, apex_at);
        }
        if let Some(soa) = self.zone.negative_soa() {
            let owner = match &self.zone.soa_owner {
                Some(owner) => Owner::at(None, owner.as_name()),
                None => Owner::at(self.apex_at, self.zone.apex()),
            };
            self.set(Section::Authority, soa, owner);
        }
    }

    /// Writes a set of the apex into the authority section; the apex stands at `apex_at`.
    #[inline(always)]
    fn ready(&mut self, ready: &Ready, apex_at: usize) {
        let (octets, places, count) = ready.pieces(self.dnssec_ok);
        if let Ok(at) = self.response.push_octets(Section::Authority, octets, count) {
            let places = places.iter().map(|&place| place as usize);
            self.response.point_all(at, places, apex_at);
        }
    }

    /// Writes the apex's NS records into the authority section, unless answers are to be minimal.
    #[inline(always)]
    pub(crate) fn apex_ns(&mut self) {
        if let (Some(apex_at), Some(ns)) = (self.apex_at, &self.zone.ready_ns) {
            return self.ready(ns, apex_at);
        }
        if !self.zone.minimal {
            self.apex_ns_in_full();
        }
    }

    #[cold]
    fn apex_ns_in_full(&mut self) {
        if let Some(ns) = self.zone.apex_node().set(Type::NS) {
            let owner = Owner::at(self.apex_at, self.zone.apex());
            self.set(Section::Authority, ns, owner);
        }
    }

    /// Writes the records of a proof, each once in a message.
    pub(crate) fn proof(&mut self, proof: Proof<'_>) {
        for node in proof.nodes() {
            let seen = &self.proved[..self.proved_len];
            if seen.contains(&node.at) {
                continue;
            }
            if let Some(place) = self.proved.get_mut(self.proved_len) {
                *place = node.at;
                self.proved_len += 1;
            }
            if let Some(set) = node.set(node.denial_type()) {
                self.named(Section::Authority, set, node);
            }
        }
    }

    /// Writes the addresses of a set's targets into the additional section; `place` is where the set stands.
    #[inline]
    pub(crate) fn extras(&mut self, set: Set<'_>, place: Option<usize>) {
        if !set.extras.is_empty() {
            self.extras_of(set, place);
        }
    }

    #[inline(never)]
    fn extras_of(&mut self, set: Set<'_>, place: Option<usize>) {
        for (offset, target) in set.extras() {
            let node = self.zone.node(target);
            let at = place
                .filter(|_| offset != 0xFFFF)
                .map(|place| place + offset);
            let owner = Owner::at(at, node.name());
            for rtype in [Type::A, Type::AAAA] {
                let Some(addresses) = node.set(rtype) else {
                    continue;
                };
                if owner.at.is_some() {
                    self.set(Section::Additional, addresses, owner);
                } else {
                    self.named(Section::Additional, addresses, node);
                }
            }
        }
    }

    /// Writes the CNAME record that a DNAME gives (RFC 6672, section 3.1); gives the place of its target.
    pub(crate) fn alias(&mut self, owner: Owner<'_>, ttl: u32, target: Name<'_>) -> Option<usize> {
        let pointer = owner.at.map(|at| (0xC000 | at as u16).to_be_bytes());
        let head = match &pointer {
            Some(pointer) => &pointer[..],
            None => owner.name.octets(),
        };
        let apex = self.zone.apex();
        let ends = apex.octets().len() > 1
            && target.octets().ends_with(apex.octets())
            && target.is_within(apex);
        let apex_pointer = self
            .apex_at
            .filter(|_| ends)
            .map(|at| (0xC000 | at as u16).to_be_bytes());
        let (labels, tail) = match &apex_pointer {
            Some(pointer) => {
                let kept = target.octets().len() - apex.octets().len();
                (&target.octets()[..kept], &pointer[..])
            }
            None => (target.octets(), &[][..]),
        };
        let [t0, t1] = Type::CNAME.0.to_be_bytes();
        let [c0, c1] = CLASS.0.to_be_bytes();
        let ttl = ttl.to_be_bytes();
        let len = ((labels.len() + tail.len()) as u16).to_be_bytes();
        let fixed = [
            t0, t1, c0, c1, ttl[0], ttl[1], ttl[2], ttl[3], len[0], len[1],
        ];
        let pieces = [head, &fixed, labels, tail];
        let at = self
            .response
            .push_pieces(Section::Answer, &pieces, 1)
            .ok()?;
        Some(at + head.len() + 10)
    }
}
