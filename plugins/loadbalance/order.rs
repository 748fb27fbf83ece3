//! Orders of records, and how a response takes one.

use wire::{NameBuf, Records, Response, Section, Type, read_u16};

use super::weights::Weights;
use super::{Group, Prefix, address, random};

/// One record: where it stands, and what it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Place {
    start: usize,
    end: usize,
    section: Section,
    group: Group,
}

/// The records of a response as they stand and as they shall; kept from response to response.
#[derive(Default)]
pub(super) struct Scratch {
    before: Vec<Place>,
    after: Vec<Place>,
    sorted: Vec<Place>,
    octets: Vec<u8>,
}

impl Scratch {
    /// Notes where the records of `response` stand.
    pub(super) fn read(&mut self, response: &Response<'_>) {
        self.before.clear();
        for record in response.records() {
            let Ok(record) = record else {
                // Half a message is in no order.
                self.before.clear();
                break;
            };
            self.before.push(Place {
                start: record.start,
                end: record.end(),
                section: record.section,
                group: Group::of(record.rtype),
            });
        }
        self.after.clone_from(&self.before);
    }

    /// The records of one section as they shall stand.
    fn section(&mut self, section: Section) -> &mut [Place] {
        let from = self.after.partition_point(|place| place.section < section);
        let to = self.after.partition_point(|place| place.section <= section);
        &mut self.after[from..to]
    }

    /// Gathers the groups of a section in this order; what was in order within a group stays so.
    fn gather(&mut self, section: Section, groups: [Group; 4]) {
        let mut sorted = std::mem::take(&mut self.sorted);
        let places = self.section(section);
        sorted.clear();
        for group in groups {
            sorted.extend(places.iter().filter(|place| place.group == group));
        }
        places.copy_from_slice(&sorted);
        self.sorted = sorted;
    }

    /// The records of one group, which stand together.
    fn group(&mut self, section: Section, group: Group) -> &mut [Place] {
        let places = self.section(section);
        let from = places.iter().position(|place| place.group == group);
        let Some(from) = from else {
            return &mut [];
        };
        let rest = &mut places[from..];
        let count = rest.iter().take_while(|place| place.group == group).count();
        &mut rest[..count]
    }

    /// CNAME records, others, addresses in any order, MX records in any order.
    pub(super) fn shuffle(&mut self, section: Section) {
        self.gather(
            section,
            [Group::Alias, Group::Rest, Group::Address, Group::Mx],
        );
        random::shuffle(self.group(section, Group::Address));
        random::shuffle(self.group(section, Group::Mx));
    }

    /// The same order of groups; one address, chosen by weight, changes places with the first.
    pub(super) fn weigh(&mut self, section: Section, response: &Response<'_>, weights: &Weights) {
        if !self
            .section(section)
            .iter()
            .any(|place| place.group == Group::Address)
        {
            return;
        }
        self.gather(
            section,
            [Group::Alias, Group::Rest, Group::Address, Group::Mx],
        );
        let addresses = self.group(section, Group::Address);
        let weight = |place: &Place| {
            let record = Records::new(response.octets(), place.start, [1, 0, 0]).next();
            record
                .and_then(Result::ok)
                .and_then(|record| weights.of(record.owner().ok()?, address(&record)?))
                .map_or(1, usize::from)
        };
        let total = addresses.iter().map(weight).sum();
        let mut left = random::below(total);
        for i in 0..addresses.len() {
            match left.checked_sub(weight(&addresses[i])) {
                Some(rest) => left = rest,
                None => {
                    addresses.swap(0, i);
                    return;
                }
            }
        }
    }

    /// CNAME records, addresses by the first prefix that has them, MX records, others.
    pub(super) fn prefer(
        &mut self,
        section: Section,
        response: &Response<'_>,
        prefixes: &[Prefix],
    ) {
        self.gather(
            section,
            [Group::Alias, Group::Address, Group::Mx, Group::Rest],
        );
        let rank = |place: &Place| {
            Records::new(response.octets(), place.start, [1, 0, 0])
                .next()
                .and_then(Result::ok)
                .and_then(|record| address(&record))
                .and_then(|address| prefixes.iter().position(|prefix| prefix.contains(address)))
                .unwrap_or(prefixes.len())
        };
        // By insertion: it is stable, allocates nothing, and there are few.
        let addresses = self.group(section, Group::Address);
        for i in 1..addresses.len() {
            let mut at = i;
            while at > 0 && rank(&addresses[at - 1]) > rank(&addresses[at]) {
                addresses.swap(at - 1, at);
                at -= 1;
            }
        }
    }

    /// Gives `response` the new order.
    pub(super) fn write(&mut self, response: &mut Response<'_>) {
        let differs = |(before, after): (&Place, &Place)| before != after;
        let mut pairs = self.before.iter().zip(&self.after);
        let Some(first) = pairs.position(differs) else {
            return;
        };
        let last = (first..self.before.len())
            .rev()
            .find(|&i| self.before[i] != self.after[i])
            .unwrap_or(first);
        let moved = self.before[first].start..self.before[last].end;
        self.octets.clear();
        self.octets.extend_from_slice(response.octets());
        let octets = &self.octets;
        let movable = self.before[first..]
            .iter()
            .all(|place| points_outside(octets, place.start, &moved));
        if !movable {
            self.rewrite(response);
            return;
        }
        let mut at = moved.start;
        let buffer = response.buffer();
        for place in &self.after[first..=last] {
            let from = &self.octets[place.start..place.end];
            if let Some(to) = buffer.get_mut(at..at + from.len()) {
                to.copy_from_slice(from);
            }
            at += from.len();
        }
    }

    /// Writes all records anew, names expanded and compressed again; leaves all as it is when they might not fit then.
    fn rewrite(&mut self, response: &mut Response<'_>) {
        let mut len = response.question_end();
        for place in &self.after {
            match expanded_len(&self.octets, place.start) {
                Some(more) => len += more,
                None => return,
            }
        }
        if len > response.buffer().len() {
            return;
        }
        response.clear_records();
        for place in &self.after {
            // It fits: that was measured, without compression.
            let _ = push(&self.octets, *place, response);
        }
    }
}

/// The names in the RDATA of a type: how many, and the octets before the first. `None`: not known.
fn names(rtype: Type) -> Option<(usize, usize)> {
    match rtype {
        Type::NS | Type::CNAME | Type::PTR | Type::DNAME | Type::MB | Type::MG | Type::MR => {
            Some((1, 0))
        }
        Type::MX | Type::AFSDB | Type::RT | Type::KX => Some((1, 2)),
        Type::SRV => Some((1, 6)),
        Type::SOA | Type::MINFO | Type::RP => Some((2, 0)),
        Type::PX => Some((2, 2)),
        Type::NAPTR | Type::SIG | Type::NXT | Type::MD | Type::MF | Type::A6 => None,
        // No other type may be compressed (RFC 3597, 4).
        _ => Some((0, 0)),
    }
}

/// Whether no name in the record at `start` points into `moved`.
fn points_outside(octets: &[u8], start: usize, moved: &std::ops::Range<usize>) -> bool {
    let outside = |at: usize| {
        let mut here = at;
        loop {
            match octets.get(here) {
                Some(0) => return Some(here + 1),
                Some(&len @ 1..=63) => here += 1 + len as usize,
                Some(0xC0..) => {
                    let target = (read_u16(octets, here)? & 0x3FFF) as usize;
                    return (!moved.contains(&target)).then_some(here + 2);
                }
                _ => return None,
            }
        }
    };
    let Some(Ok(record)) = Records::new(octets, start, [1, 0, 0]).next() else {
        return false;
    };
    let Some((count, skip)) = names(record.rtype) else {
        return false;
    };
    let mut at = record.rdata_range.start + skip;
    outside(start).is_some()
        && (0..count).all(|_| match outside(at) {
            Some(behind) => {
                at = behind;
                true
            }
            None => false,
        })
}

/// The length of the record at `start` without compression.
fn expanded_len(octets: &[u8], start: usize) -> Option<usize> {
    let record = Records::new(octets, start, [1, 0, 0]).next()?.ok()?;
    let (count, skip) = names(record.rtype)?;
    let mut len = record.owner().ok()?.as_name().octets().len() + 10 + skip;
    let mut at = record.rdata_range.start + skip;
    for _ in 0..count {
        let (name, behind) = NameBuf::read(octets, at).ok()?;
        len += name.as_name().octets().len();
        at = behind;
    }
    Some(len + record.rdata_range.end.checked_sub(at)?)
}

/// Appends the record at `place` of `octets`.
fn push(octets: &[u8], place: Place, response: &mut Response<'_>) -> Option<()> {
    let record = Records::new(octets, place.start, [1, 0, 0]).next()?.ok()?;
    let (count, skip) = names(record.rtype)?;
    let owner = record.owner().ok()?;
    let fixed = (record.rtype, record.class, record.ttl);
    let rdata = record.rdata();
    let head = rdata.get(..skip)?;
    let range = record.rdata_range.clone();
    let compressed = matches!(record.rtype, Type::NS | Type::CNAME | Type::PTR | Type::MX);
    if compressed {
        let (target, _) = NameBuf::read(octets, range.start + skip).ok()?;
        let named = (head, target.as_name());
        return response
            .push_named(place.section, owner.as_name(), fixed, named)
            .ok();
    }
    if count == 0 {
        return response
            .push(place.section, owner.as_name(), fixed, rdata)
            .ok();
    }
    // Cold: names of other types are written whole.
    let mut whole = head.to_vec();
    let mut at = range.start + skip;
    for _ in 0..count {
        let (name, behind) = NameBuf::read(octets, at).ok()?;
        whole.extend_from_slice(name.as_name().octets());
        at = behind;
    }
    whole.extend_from_slice(octets.get(at..range.end)?);
    response
        .push(place.section, owner.as_name(), fixed, &whole)
        .ok()
}
