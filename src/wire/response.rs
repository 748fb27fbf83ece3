//! A response under construction, on octets that somebody else owns.
//!
//! Records are pushed in section order. A record whose owner is QNAME begins with the pointer `C0 0C`, since the question of a
//! response stands where the question of the query stood: octets made ready at load are pushed as they are. Names of other records
//! are compressed against QNAME and the names written before, through a small hash table of places of suffixes: a name costs at most
//! a few probes a label however many names went before it, so encoding is linear. A place that another suffix took over costs a
//! pointer that could have been, never a wrong one: what stands there is read before it is pointed to.
//!
//! The response may grow up to its buffer; what its client can take is settled once, by [`Response::fit`].

use crate::hash::Keys;
use crate::header::{Flags, HEADER_LEN, Header, Opcode, Rcode};
use crate::message::{Record, Records, Section};
use crate::mnemonic::{Class, Type};
use crate::name::{MAX_LABELS, Name, NameError};
use crate::query::Parsed;

/// The buffer has no room for what was pushed; the response is as before and is marked truncated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Full;

/// How many suffixes written before can be pointed to.
const PLACES: usize = 64;
/// How many neighbouring slots a suffix can be in; when all are taken, the first is given to the newcomer.
const PROBES: usize = 8;
/// Not the process's keys: an answer has the same octets from every process, and what collides costs a pointer, no time.
const KEYS: Keys = Keys::PUBLIC;

/// The longest message, in octets: what TCP's length prefix can say (RFC 1035, 4.2.2).
const MAX_MESSAGE: usize = 65_535;

/// What is known of a response beside its octets.
#[derive(Clone, Debug)]
pub struct ResponseState {
    pub(crate) id: u16,
    pub(crate) flags: Flags,
    pub(crate) rcode: Rcode,
    pub(crate) counts: [u16; 4],
    pub(crate) len: usize,
    pub(crate) question_end: u16,
    /// Where a suffix with this hash stands; 0 for none.
    places: [u16; PLACES],
    /// Whether `places` is of this response; it is begun with the first name that is compressed.
    pub(crate) question_known: bool,
}

impl Default for ResponseState {
    fn default() -> Self {
        Self {
            id: 0,
            flags: Flags(0),
            rcode: Rcode::NOERROR,
            counts: [0; 4],
            len: 0,
            question_end: 0,
            places: [0; PLACES],
            question_known: false,
        }
    }
}

impl ResponseState {
    /// The response's length in octets so far; 0 when there is none.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing has been written.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// A response being written.
#[derive(Debug)]
pub struct Response<'a> {
    pub(crate) octets: &'a mut [u8],
    pub(crate) state: &'a mut ResponseState,
}

impl<'a> Response<'a> {
    /// Continues the response described by `state` on `octets`, of which no more are used than a message can have.
    #[inline]
    pub fn new(octets: &'a mut [u8], state: &'a mut ResponseState) -> Self {
        let most = octets.len().min(MAX_MESSAGE);
        Self {
            octets: &mut octets[..most],
            state,
        }
    }

    /// The same response, borrowed for less long.
    #[inline]
    pub fn reborrow(&mut self) -> Response<'_> {
        Response {
            octets: self.octets,
            state: self.state,
        }
    }

    /// Begins the response to `query`, whose octets are `message`: its ID and opcode, RD and CD of a QUERY (RFC 4035, 3.2.2; they
    /// mean nothing under another opcode), its question as it came, NOERROR, no records.
    #[inline]
    pub fn begin(&mut self, query: &Parsed, message: &[u8]) {
        self.set_out(query);
        let end = query.question_end as usize;
        match (
            self.octets.get_mut(HEADER_LEN..end),
            message.get(HEADER_LEN..end),
        ) {
            (Some(to), Some(from)) if end > HEADER_LEN => {
                to.copy_from_slice(from);
                self.state.counts = [1, 0, 0, 0];
                self.state.question_end = query.question_end;
                self.state.len = end;
            }
            _ => self.without_question(),
        }
    }

    /// Sets what the header of a response to `query` has.
    #[inline]
    pub(crate) fn set_out(&mut self, query: &Parsed) {
        let kept = match query.flags.opcode() {
            Opcode::QUERY => query.flags.0 & (Flags::RD | Flags::CD),
            _ => query.flags.0 & 0x7800,
        };
        self.state.id = query.id;
        self.state.flags = Flags(kept | Flags::QR);
        self.state.rcode = Rcode::NOERROR;
        self.state.question_known = false;
    }

    /// The response has a header and nothing else.
    #[inline]
    pub(crate) fn without_question(&mut self) {
        self.state.counts = [0; 4];
        self.state.question_end = HEADER_LEN as u16;
        self.state.len = HEADER_LEN;
    }

    /// Drops all records; the question, the flags and the RCODE stay.
    pub fn clear_records(&mut self) {
        let [qd, ..] = self.state.counts;
        self.state.counts = [qd, 0, 0, 0];
        self.state.len = self.state.question_end as usize;
        self.state.question_known = false;
    }

    /// Takes back an answer: the response is as [`Response::begin`] made it.
    pub fn take_back(&mut self) {
        self.clear_records();
        self.set_rcode(Rcode::NOERROR);
        self.set_flag(Flags::AA | Flags::TC, false);
    }

    /// The flags so far.
    #[inline]
    pub fn flags(&self) -> Flags {
        self.state.flags
    }

    /// Sets or clears flag bits.
    #[inline]
    pub fn set_flag(&mut self, bits: u16, on: bool) {
        self.state.flags = self.state.flags.with(bits, on);
    }

    /// The RCODE, all twelve bits.
    #[inline]
    pub fn rcode(&self) -> Rcode {
        self.state.rcode
    }

    /// Sets the RCODE.
    #[inline]
    pub fn set_rcode(&mut self, rcode: Rcode) {
        self.state.rcode = rcode;
    }

    /// The number of records in `section`.
    #[inline]
    pub fn count(&self, section: Section) -> u16 {
        self.state.counts[1 + section as usize]
    }

    /// The length so far, in octets.
    #[inline]
    pub fn len(&self) -> usize {
        self.state.len
    }

    /// Whether nothing has been written.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.state.len == 0
    }

    /// The octets so far; the header is current after [`Response::seal`] only.
    #[inline]
    pub fn octets(&self) -> &[u8] {
        self.octets.get(..self.state.len).unwrap_or_default()
    }

    /// The place behind the question.
    #[inline]
    pub fn question_end(&self) -> usize {
        self.state.question_end as usize
    }

    /// The records so far, in order.
    pub fn records(&self) -> Records<'_> {
        let [_, an, ns, ar] = self.state.counts;
        Records::new(self.octets(), self.question_end(), [an, ns, ar])
    }

    /// The records of one section so far, in order.
    pub fn section(&self, section: Section) -> impl Iterator<Item = Result<Record<'_>, NameError>> {
        self.records().filter(move |record| {
            record
                .as_ref()
                .map_or(true, |found| found.section == section)
        })
    }

    /// Appends `count` records that are in wire form; gives the place where they stand, for [`Response::point`].
    #[inline]
    pub fn push_octets(
        &mut self,
        section: Section,
        records: &[u8],
        count: u16,
    ) -> Result<usize, Full> {
        let at = self.append(records)?;
        self.count_up(section, count);
        Ok(at)
    }

    /// Appends records of all sections at once, which are in wire form and behind each other; nothing has been pushed before. Gives
    /// their place.
    #[inline]
    pub fn push_sections(&mut self, records: &[u8], counts: [u16; 3]) -> Result<usize, Full> {
        let at = self.append(records)?;
        let [qd, ..] = self.state.counts;
        let [an, ns, ar] = counts;
        self.state.counts = [qd, an, ns, ar];
        Ok(at)
    }

    /// Appends octets that stand in several pieces, `count` records in all; gives the place of the first.
    #[inline]
    pub fn push_pieces(
        &mut self,
        section: Section,
        pieces: &[&[u8]],
        count: u16,
    ) -> Result<usize, Full> {
        let start = self.state.len;
        for piece in pieces {
            if let Err(full) = self.append(piece) {
                self.state.len = start;
                return Err(full);
            }
        }
        self.count_up(section, count);
        Ok(start)
    }

    /// Writes a compression pointer to `target` at `at`: the way in which octets made ready at load are fitted to this message.
    #[inline]
    pub fn point(&mut self, at: usize, target: usize) {
        if let Some(pair) = self.octets.get_mut(at..at + 2) {
            pair.copy_from_slice(&(0xC000 | target as u16).to_be_bytes());
        }
    }

    /// Writes a pointer to `target` at each of `places`, counted from `at`.
    #[inline]
    pub fn point_all(&mut self, at: usize, places: impl Iterator<Item = usize>, target: usize) {
        let pointer = (0xC000 | target as u16).to_be_bytes();
        let len = self.state.len;
        let Some(octets) = self.octets.get_mut(at..len) else {
            return;
        };
        for place in places {
            if let Some(pair) = octets.get_mut(place..place + 2) {
                pair.copy_from_slice(&pointer);
            }
        }
    }

    /// Overwrites the TTL at `at` (see [`Record::ttl_at`]).
    #[inline]
    pub fn set_ttl(&mut self, at: usize, ttl: u32) {
        if let Some(field) = self.octets.get_mut(at..at + 4) {
            field.copy_from_slice(&ttl.to_be_bytes());
        }
    }

    /// Overwrites the TTLs at `places`, counted from `at`, as far as the response goes.
    #[inline]
    pub fn set_ttls_at(&mut self, at: usize, places: impl Iterator<Item = usize>, ttl: u32) {
        let ttl = ttl.to_be_bytes();
        let len = self.state.len;
        let Some(octets) = self.octets.get_mut(at..len) else {
            return;
        };
        for place in places {
            match octets.get_mut(place..place + 4) {
                Some(field) => field.copy_from_slice(&ttl),
                None => return,
            }
        }
    }

    /// Overwrites the TTLs of all records but OPT, whose TTL is none (RFC 6891, 6.1.3); stops at a record that cannot be read.
    pub fn set_ttls(&mut self, ttl: u32) {
        self.change_ttls(|_| ttl);
    }

    /// The same with TTLs that depend on those that stand there.
    pub fn change_ttls(&mut self, change: impl Fn(u32) -> u32) {
        let [_, an, ns, ar] = self.state.counts;
        let mut at = self.question_end();
        for _ in 0..u32::from(an) + u32::from(ns) + u32::from(ar) {
            let record = Records::new(self.octets(), at, [1, 0, 0]).next();
            let Some(Ok(record)) = record else {
                return;
            };
            at = record.end();
            let (rtype, ttl_at, ttl) = (record.rtype, record.ttl_at, record.ttl);
            if rtype != Type::OPT {
                self.set_ttl(ttl_at, change(ttl));
            }
        }
    }

    /// Appends a record. The owner is compressed, the RDATA stands as it is.
    pub fn push(
        &mut self,
        section: Section,
        owner: Name<'_>,
        fixed: (Type, Class, u32),
        rdata: &[u8],
    ) -> Result<(), Full> {
        self.push_parts(section, owner, fixed, (rdata, None))
    }

    /// Appends a record whose RDATA ends in a name that may be compressed: NS, CNAME, PTR (`head` empty), MX (two octets).
    pub fn push_named(
        &mut self,
        section: Section,
        owner: Name<'_>,
        fixed: (Type, Class, u32),
        (head, target): (&[u8], Name<'_>),
    ) -> Result<(), Full> {
        self.push_parts(section, owner, fixed, (head, Some(target)))
    }

    fn push_parts(
        &mut self,
        section: Section,
        owner: Name<'_>,
        fixed: (Type, Class, u32),
        (head, target): (&[u8], Option<Name<'_>>),
    ) -> Result<(), Full> {
        self.push_with(section, owner, fixed, |response| {
            response.append(head)?;
            match target {
                Some(target) => response.push_name(target),
                None => Ok(()),
            }
        })
    }

    /// Appends a record whose RDATA `write` appends. After an error the response is as before; [`Full`] marks it truncated.
    pub(crate) fn push_with<E: From<Full>>(
        &mut self,
        section: Section,
        owner: Name<'_>,
        (rtype, class, ttl): (Type, Class, u32),
        write: impl FnOnce(&mut Self) -> Result<(), E>,
    ) -> Result<(), E> {
        let start = self.state.len;
        let mut fixed = [0; 10];
        fixed[..2].copy_from_slice(&rtype.0.to_be_bytes());
        fixed[2..4].copy_from_slice(&class.0.to_be_bytes());
        fixed[4..8].copy_from_slice(&ttl.to_be_bytes());
        let written = (|| {
            self.push_name(owner)?;
            let at = self.append(&fixed)?;
            write(self)?;
            let len = u16::try_from(self.state.len - at - 10).map_err(|_| Full)?;
            self.octets[at + 8..at + 10].copy_from_slice(&len.to_be_bytes());
            Ok(())
        })();
        match written {
            Ok(()) => self.count_up(section, 1),
            Err(_) => {
                self.state.len = start;
                self.state.question_known = false;
            }
        }
        written
    }

    /// Appends `name`, its longest known suffix as a pointer. Suffixes of a QNAME that came with capitals are not used, so that
    /// owners and targets keep the case they have in the data.
    pub(crate) fn push_name(&mut self, name: Name<'_>) -> Result<(), Full> {
        if !self.state.question_known {
            self.learn_question();
        }
        let octets = name.octets();
        let suffixes = Suffixes::new(octets);
        let known = suffixes.iter().enumerate().find_map(|(i, (at, slot))| {
            let place = self.place_of(slot, &octets[at..])?;
            Some((i, at, place))
        });
        let (new, kept, pointer) = known.map_or((suffixes.len(), octets.len(), None), |k| {
            (k.0, k.1, Some(k.2))
        });
        let start = self.append(&octets[..kept])?;
        if let Some(place) = pointer {
            self.append(&(0xC000 | place as u16).to_be_bytes())?;
        }
        self.remember(start, suffixes.iter().take(new));
        Ok(())
    }

    /// Begins the table of places with the suffixes of the question's name.
    fn learn_question(&mut self) {
        self.state.question_known = true;
        self.state.places = [0; PLACES];
        if self.state.counts[0] == 0 {
            return;
        }
        let name = self
            .octets()
            .get(HEADER_LEN..self.question_end().saturating_sub(4));
        if let Some(name) = name.and_then(|octets| Name::new(octets).ok()) {
            let suffixes = Suffixes::new(name.octets());
            self.remember(HEADER_LEN, suffixes.iter());
        }
    }

    /// Notes where suffixes of the name that begins at `start` stand, as far as a pointer can reach.
    fn remember(&mut self, start: usize, suffixes: impl Iterator<Item = (usize, usize)>) {
        for (at, slot) in suffixes {
            if start + at < 0x4000 {
                let free = window(slot).find(|&i| self.state.places[i] == 0);
                self.state.places[free.unwrap_or(slot)] = (start + at) as u16;
            }
        }
    }

    /// Where `suffix`, whose hash leads to `slot`, stands already.
    fn place_of(&self, slot: usize, suffix: &[u8]) -> Option<usize> {
        window(slot)
            .map(|i| self.state.places[i] as usize)
            .take_while(|&place| place != 0)
            .find(|&place| self.spells(place, suffix))
    }

    /// Whether the name at `place` is `suffix`, octet for octet.
    fn spells(&self, place: usize, suffix: &[u8]) -> bool {
        let octets = self.octets();
        let (mut here, mut rest) = (place, suffix);
        loop {
            match octets.get(here) {
                Some(&len @ 0..=63) => {
                    let len = 1 + len as usize;
                    match (octets.get(here..here + len), rest.split_at_checked(len)) {
                        (Some(label), Some((same, behind))) if label == same => rest = behind,
                        _ => return false,
                    }
                    if rest.is_empty() {
                        return true;
                    }
                    here += len;
                }
                Some(0xC0..) => match crate::read_u16(octets, here) {
                    Some(word) if ((word & 0x3FFF) as usize) < here => {
                        here = (word & 0x3FFF) as usize
                    }
                    _ => return false,
                },
                _ => return false,
            }
        }
    }

    #[inline]
    pub(crate) fn append(&mut self, octets: &[u8]) -> Result<usize, Full> {
        let at = self.state.len;
        match self.octets.get_mut(at..at + octets.len()) {
            Some(room) => {
                room.copy_from_slice(octets);
                self.state.len += octets.len();
                Ok(at)
            }
            None => {
                self.state.flags = self.state.flags.with(Flags::TC, true);
                Err(Full)
            }
        }
    }

    #[inline]
    fn count_up(&mut self, section: Section, count: u16) {
        let index = 1 + section as usize;
        debug_assert!(
            self.state.counts[index + 1..]
                .iter()
                .all(|&later| later == 0),
            "records are pushed in section order"
        );
        self.state.counts[index] += count;
    }

    /// Keeps the first `counts` records of each section; a later section is cut when an earlier one is.
    pub fn keep(&mut self, counts: [u16; 3]) {
        let [_, an, ns, ar] = self.state.counts;
        let mut keep = [counts[0].min(an), counts[1].min(ns), counts[2].min(ar)];
        if keep[0] < an {
            keep[1] = 0;
        }
        if keep[1] < ns {
            keep[2] = 0;
        }
        let total = keep.iter().map(|&n| n as usize).sum::<usize>();
        let end = match total {
            0 => self.question_end(),
            n => self
                .records()
                .nth(n - 1)
                .and_then(Result::ok)
                .map_or(self.question_end(), |record| record.end()),
        };
        self.cut(keep, end);
    }

    /// How far the response is written.
    pub fn mark(&self) -> Mark {
        let [_, an, ns, ar] = self.state.counts;
        Mark {
            counts: [an, ns, ar],
            start: self.question_end(),
            len: self.state.len,
        }
    }

    /// Drops what was pushed after `mark`.
    pub(crate) fn return_to(&mut self, mark: Mark) {
        self.cut(mark.counts, mark.len);
    }

    /// Makes the response what it was at `mark`, by a copy of its octets of then.
    pub fn put_back(&mut self, mark: Mark, octets: &[u8]) {
        if let Some(room) = self.octets.get_mut(..octets.len()) {
            room.copy_from_slice(octets);
            self.return_to(mark);
        }
    }

    /// Ends the response at `end`, with these counts of records; places behind it are forgotten.
    fn cut(&mut self, [an, ns, ar]: [u16; 3], end: usize) {
        self.state.counts = [self.state.counts[0], an, ns, ar];
        self.state.len = end;
        self.state.question_known = false;
    }

    /// The whole buffer, for a message received straight into it; [`Response::adopt`] makes it the response.
    pub fn buffer(&mut self) -> &mut [u8] {
        self.octets
    }

    /// Whether the answer section ends in an alias: the name that it leads to has no record of the type. Also true of an empty one.
    pub fn ends_in_alias(&self) -> bool {
        self.section(Section::Answer)
            .filter_map(Result::ok)
            .filter(|record| record.rtype != Type::RRSIG)
            .last()
            .is_none_or(|record| matches!(record.rtype, Type::CNAME | Type::DNAME))
    }

    /// Cuts records from the end until the response has at most `limit` octets. TC is set when a record of the answer or authority
    /// section goes (RFC 2181, 9), or glue of a referral (RFC 9471, 3); other additional data is optional and goes silently, by whole
    /// RRsets.
    #[inline]
    pub fn fit(&mut self, limit: usize) {
        if self.state.len > limit {
            self.cut_to(limit);
        }
    }

    #[cold]
    fn cut_to(&mut self, limit: usize) {
        let [_, an, ns, _] = self.state.counts;
        let referral = an == 0
            && !self.state.flags.has(Flags::AA)
            && self.has_type(Section::Authority, Type::NS);
        let mut kept = ([0u16; 3], self.question_end());
        let mut whole = kept;
        let mut rrset = None;
        for record in self.records().filter_map(Result::ok) {
            if record.section == Section::Additional {
                let this = record.owner().ok().map(|owner| (owner, record.rtype));
                if rrset != this {
                    whole = kept;
                    rrset = this;
                }
            }
            if record.end() > limit {
                break;
            }
            kept.0[record.section as usize] += 1;
            kept.1 = record.end();
        }
        let ([kept_an, kept_ns, _], _) = kept;
        if kept_an < an || kept_ns < ns || referral {
            self.cut(kept.0, kept.1);
            self.state.flags = self.state.flags.with(Flags::TC, true);
        } else {
            self.cut(whole.0, whole.1);
        }
    }

    /// Whether `section` has a record of `rtype`.
    pub fn has_type(&self, section: Section, rtype: Type) -> bool {
        self.records()
            .filter_map(Result::ok)
            .any(|record: Record<'_>| record.section == section && record.rtype == rtype)
    }

    /// Appends an OPT record (RFC 6891, 6.1.2) with these options; the RCODE's high bits go into it.
    pub fn push_opt(
        &mut self,
        udp_size: u16,
        flags: u16,
        options: &[(u16, &[u8])],
    ) -> Result<(), Full> {
        let len: usize = options.iter().map(|(_, data)| 4 + data.len()).sum();
        if self.state.len + 11 + len > self.octets.len() {
            return Err(Full);
        }
        let high = (self.state.rcode.0 >> 4) as u8;
        let [s0, s1] = udp_size.to_be_bytes();
        let [f0, f1] = flags.to_be_bytes();
        let [l0, l1] = (len as u16).to_be_bytes();
        self.append(&[0, 0, 41, s0, s1, high, 0, f0, f1, l0, l1])?;
        for (code, data) in options {
            self.append(&code.to_be_bytes())?;
            self.append(&(data.len() as u16).to_be_bytes())?;
            self.append(data)?;
        }
        self.state.counts[3] += 1;
        Ok(())
    }

    /// Writes the header; gives the response's length. Nothing may be pushed after it.
    #[inline]
    pub fn seal(&mut self) -> usize {
        let header = Header {
            id: self.state.id,
            flags: self.state.flags.with_rcode(self.state.rcode),
            counts: self.state.counts,
        };
        if let Some(room) = self.octets.get_mut(..HEADER_LEN) {
            room.copy_from_slice(&header.to_octets());
        }
        self.state.len
    }
}

/// How far a response is written.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    counts: [u16; 3],
    start: usize,
    len: usize,
}

impl Mark {
    /// The records that were written then, in a copy of the response's octets.
    pub fn records(self, octets: &[u8]) -> Records<'_> {
        Records::new(octets, self.start, self.counts)
    }
}

/// The slots that a suffix can be in.
fn window(slot: usize) -> impl Iterator<Item = usize> {
    (slot..slot + PROBES).map(|i| i % PLACES)
}

/// Where the suffixes of a name begin, the longest first and the root left out, and the slots of their hashes.
struct Suffixes {
    len: usize,
    starts: [u8; MAX_LABELS],
    slots: [u8; MAX_LABELS],
}

impl Suffixes {
    fn new(octets: &[u8]) -> Self {
        let mut out = Self {
            len: 0,
            starts: [0; MAX_LABELS],
            slots: [0; MAX_LABELS],
        };
        let mut at = 0;
        while let Some(&len @ 1..) = octets.get(at) {
            out.starts[out.len] = at as u8;
            out.len += 1;
            at += 1 + len as usize;
        }
        let mut state = KEYS.seed;
        let mut end = at;
        for i in (0..out.len).rev() {
            let start = out.starts[i] as usize;
            state = KEYS.label(state, &octets[start..end]);
            out.slots[i] = (state % PLACES as u64) as u8;
            end = start;
        }
        out
    }

    const fn len(&self) -> usize {
        self.len
    }

    fn iter(&self) -> impl Iterator<Item = (usize, usize)> {
        self.starts[..self.len]
            .iter()
            .zip(&self.slots)
            .map(|(&at, &slot)| (at as usize, slot as usize))
    }
}
