//! Orders of records, and how a response takes one.

use wire::{NameBuf, Records, Response, Section, Type, read_u16, skip_name};

use super::weights::Weights;
use super::{Group, Prefix, address, random};

/// One record: where it stands, and what it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Place {
    start: u32,
    /// Where its RDATA begins.
    rdata: u32,
    end: u32,
    rtype: Type,
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
    /// Where the sections begin in the lists, and where the last one ends.
    bounds: [usize; 4],
}

impl Scratch {
    /// Notes where the records of `response` stand.
    pub(super) fn read(&mut self, response: &Response<'_>) {
        self.before.clear();
        let octets = response.octets();
        let mut at = response.question_end();
        let sections = [Section::Answer, Section::Authority, Section::Additional];
        for (index, section) in sections.into_iter().enumerate() {
            self.bounds[index] = self.before.len();
            for _ in 0..response.count(section) {
                let Some(place) = place(octets, at, section) else {
                    // Half a message is in no order.
                    self.before.clear();
                    self.bounds = [0; 4];
                    self.after.clear();
                    return;
                };
                at = place.end as usize;
                self.before.push(place);
            }
        }
        self.bounds[3] = self.before.len();
        self.after.clear();
        self.after.extend_from_slice(&self.before);
    }

    /// The records of one section as they shall stand.
    fn section(&mut self, section: Section) -> &mut [Place] {
        let index = section as usize;
        &mut self.after[self.bounds[index]..self.bounds[index + 1]]
    }

    /// Gathers the groups of a section in this order; what was in order within a group stays so.
    fn gather(&mut self, section: Section, groups: [Group; 4]) {
        let mut ranks = [0; 4];
        for (rank, group) in groups.into_iter().enumerate() {
            ranks[group as usize] = rank;
        }
        let places = self.section(section);
        if places.is_sorted_by_key(|place| ranks[place.group as usize]) {
            return;
        }
        if let [first, second] = places {
            std::mem::swap(first, second);
            return;
        }
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
            let record = Records::new(response.octets(), place.start as usize, [1, 0, 0]).next();
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
            Records::new(response.octets(), place.start as usize, [1, 0, 0])
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
        let differs = |i: &usize| self.before[*i].start != self.after[*i].start;
        let count = self.before.len();
        let Some(first) = (0..count).find(differs) else {
            return;
        };
        let last = (first..count).rev().find(differs).unwrap_or(first);
        let (start, end) = (self.before[first].start, self.before[last].end);
        let moved = start as usize..end as usize;
        let octets = response.octets();
        let movable = self.before[first..]
            .iter()
            .all(|place| points_outside(octets, place, &moved));
        self.octets.clear();
        if !movable {
            self.octets.extend_from_slice(octets);
            self.rewrite(response);
            return;
        }
        self.octets
            .extend_from_slice(octets.get(moved.clone()).unwrap_or_default());
        let Some(room) = response.buffer().get_mut(moved) else {
            return;
        };
        let mut at = 0;
        for place in &self.after[first..=last] {
            let from = &self.octets[(place.start - start) as usize..(place.end - start) as usize];
            if let Some(to) = room.get_mut(at..at + from.len()) {
                to.copy_from_slice(from);
            }
            at += from.len();
        }
    }

    /// Writes all records anew, names expanded and compressed again; leaves all as it is when they might not fit then.
    fn rewrite(&mut self, response: &mut Response<'_>) {
        let mut len = response.question_end();
        for place in &self.after {
            match expanded_len(&self.octets, place.start as usize) {
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

/// The record at `at`, which may be that of an RRset made ready: its owner a pointer.
#[inline]
fn place(octets: &[u8], at: usize, section: Section) -> Option<Place> {
    let fixed = match octets.get(at)? {
        0xC0.. => at + 2,
        _ => skip_name(octets, at).ok()?,
    };
    let head = octets.get(fixed..fixed + 10)?;
    let rtype = Type(u16::from_be_bytes([head[0], head[1]]));
    let end = fixed + 10 + usize::from(u16::from_be_bytes([head[8], head[9]]));
    (end <= octets.len()).then_some(Place {
        start: at as u32,
        rdata: fixed as u32 + 10,
        end: end as u32,
        rtype,
        section,
        group: Group::of(rtype),
    })
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

/// Whether no name in a record points into `moved`.
fn points_outside(octets: &[u8], place: &Place, moved: &std::ops::Range<usize>) -> bool {
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
    let Some((count, skip)) = names(place.rtype) else {
        return false;
    };
    let mut at = place.rdata as usize + skip;
    outside(place.start as usize).is_some()
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
    let record = Records::new(octets, place.start as usize, [1, 0, 0])
        .next()?
        .ok()?;
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
