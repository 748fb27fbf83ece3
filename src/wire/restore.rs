//! Responses to a question that stands in the place of the client's, and the way back to the client's.
//!
//! ```text
//! begin ──► the client's question          begin_as ──► another; records are written as if it had been asked
//!                  ▲                            │
//!                  ├───── restore ──────────────┤   in place: pointers into the question, and the question
//!                  └───── restore_by ───────────┘   every record written anew, its names as an `Edit` has them
//! ```
//!
//! A response points into its question, so that a question of another length moves all records, and every pointer behind it. That is
//! done in place where the records say no more of the question than that they are about it, which is nearly always so.

use crate::header::HEADER_LEN;
use crate::mnemonic::{Class, Type};
use crate::name::Name;
use crate::query::Parsed;
use crate::rdata::{Field, fields};
use crate::reencode::{Edit, ReencodeError, copy};
use crate::response::Response;

/// How many pointers are moved in place; a response with more is written anew.
const POINTERS: usize = 96;

impl Response<'_> {
    /// Begins the response to `query` with this question in the place of the client's: otherwise as [`Response::begin`] does.
    pub fn begin_as(&mut self, query: &Parsed, (qname, qtype, qclass): (Name<'_>, Type, Class)) {
        self.set_out(query);
        let name = qname.octets();
        let end = HEADER_LEN + name.len() + 4;
        let Some(question) = self.octets.get_mut(HEADER_LEN..end) else {
            return self.without_question();
        };
        let (place, fixed) = question.split_at_mut(name.len());
        place.copy_from_slice(name);
        let [t0, t1] = qtype.0.to_be_bytes();
        let [c0, c1] = qclass.0.to_be_bytes();
        fixed.copy_from_slice(&[t0, t1, c0, c1]);
        self.state.counts = [1, 0, 0, 0];
        self.state.question_end = end as u16;
        self.state.len = end;
    }

    /// Puts the question of `query`, whose octets are `message`, in the place of the one that the response has, in place: what is about
    /// that name, or a name below it, is about the client's then, as the client spelled it; other names stay as they are.
    ///
    /// `false`, with nothing changed, where that takes more than to move the records and their pointers.
    pub fn restore(&mut self, query: &Parsed, message: &[u8]) -> bool {
        let (old_end, new_end) = (self.question_end(), query.question_end as usize);
        let (Some(old), Some(new)) = (
            self.octets.get(HEADER_LEN..old_end.wrapping_sub(4)),
            message.get(HEADER_LEN..new_end.wrapping_sub(4)),
        ) else {
            return false;
        };
        let len = self.state.len;
        let moves_alone = old.len() > 1
            && len - old_end + new_end <= self.octets.len()
            && self.points_to_question();
        if moves_alone {
            self.octets.copy_within(old_end..len, new_end);
            self.state.len = len - old_end + new_end;
            self.state.question_end = new_end as u16;
        } else if old_end != new_end
            || !old.eq_ignore_ascii_case(new)
            || self.asks_otherwise(message, new_end)
        {
            let mut moves = Moves {
                old,
                kept: common_suffix(old, new),
                end: old_end,
                by: new_end as isize - old_end as isize,
                places: [0; POINTERS],
                count: 0,
            };
            let fits = len
                .checked_add_signed(moves.by)
                .is_some_and(|len| len <= self.octets.len());
            if !fits || old.len() == 1 || moves.collect(self).is_none() {
                return false;
            }
            let Moves {
                by, places, count, ..
            } = moves;
            for &place in &places[..count] {
                let place = place as usize;
                if let Some(word) = crate::read_u16(self.octets, place) {
                    self.octets[place..place + 2]
                        .copy_from_slice(&word.wrapping_add_signed(by as i16).to_be_bytes());
                }
            }
            self.octets.copy_within(old_end..len, new_end);
            self.state.len = len.wrapping_add_signed(by);
            self.state.question_end = new_end as u16;
        }
        if let (Some(question), Some(asked)) = (
            self.octets.get_mut(HEADER_LEN..new_end),
            message.get(HEADER_LEN..new_end),
        ) {
            question.copy_from_slice(asked);
        }
        self.state.question_known = false;
        true
    }

    /// Whether the question has another type or class than the one that ends at `end` of `message`: a pointer may lead into them.
    fn asks_otherwise(&self, message: &[u8], end: usize) -> bool {
        let fixed = |octets: &[u8], end: usize| crate::read_u32(octets, end - 4);
        fixed(self.octets, self.question_end()) != fixed(message, end)
    }

    /// Whether all records are addresses of class IN whose owner is a pointer to the question: what most answers are. Then nothing in them changes
    /// when the question does.
    #[inline]
    fn points_to_question(&self) -> bool {
        let [_, an, ns, ar] = self.state.counts;
        let octets = self.octets();
        let mut at = self.question_end();
        for _ in 0..u32::from(an) + u32::from(ns) + u32::from(ar) {
            let (len, rtype) = match octets.get(at..at + 12) {
                Some([0xC0, 0x0C, t0, t1, 0, 1, .., l0, l1]) => ([*l0, *l1], [*t0, *t1]),
                _ => return false,
            };
            if !matches!(Type(u16::from_be_bytes(rtype)), Type::A | Type::AAAA) {
                return false;
            }
            at += 12 + usize::from(u16::from_be_bytes(len));
        }
        at == octets.len()
    }

    /// Whether no record has another name than that of the question, as its owner or in its RDATA.
    pub fn is_about_question(&self) -> bool {
        self.records().all(|record| {
            record.is_ok_and(|record| {
                let owner = self.octets().get(record.start..record.start + 2);
                owner == Some(&[0xC0, HEADER_LEN as u8])
                    && matches!(fields(record.rtype, record.class), [Field::Rest])
            })
        })
    }

    /// Puts the question of `query`, whose octets are `message`, in the place of the one that the response has, and writes all records
    /// anew, by way of `scratch`. Flags and RCODE stay.
    ///
    /// After [`ReencodeError::Full`] the response has the records that fitted, and is marked truncated; after another error it has none.
    pub fn restore_by(
        &mut self,
        (query, message): (&Parsed, &[u8]),
        scratch: &mut Vec<u8>,
        edit: &mut impl Edit,
    ) -> Result<(), ReencodeError> {
        scratch.clear();
        scratch.extend_from_slice(self.octets());
        let (before, flags, rcode) = (self.mark(), self.flags(), self.rcode());
        let records = before.records(scratch);
        self.begin(query, message);
        self.state.flags = flags;
        self.set_rcode(rcode);
        copy(records, self, edit)
    }
}

/// Where the longest suffix begins in `old` that `new` ends in, too.
fn common_suffix(old: &[u8], new: &[u8]) -> usize {
    let mut at = 0;
    while let Some(&len @ 1..) = old.get(at) {
        let suffix = &old[at..];
        let tail = new.len().checked_sub(suffix.len());
        if tail.is_some_and(|tail| new[tail..].eq_ignore_ascii_case(suffix)) {
            return at;
        }
        at += 1 + len as usize;
    }
    at
}

/// The pointers that move with the records.
struct Moves<'a> {
    /// The name of the question.
    old: &'a [u8],
    /// The place in it from which on the client's name has the same octets.
    kept: usize,
    /// The place behind the question.
    end: usize,
    /// How far what is behind the question moves.
    by: isize,
    places: [u16; POINTERS],
    count: usize,
}

impl Moves<'_> {
    /// Collects the pointers of all records; `None` where one of them cannot be moved, or a name is spelled out that may be below the
    /// question's.
    fn collect(&mut self, response: &Response<'_>) -> Option<()> {
        let octets = response.octets();
        for record in response.records() {
            let record = record.ok()?;
            if octets.get(record.start..record.start + 2) != Some(&[0xC0, HEADER_LEN as u8]) {
                self.name(octets, record.start)?;
            }
            let mut at = record.rdata_range.start;
            // What would be read behind the RDATA is another record's.
            let octets = octets.get(..record.rdata_range.end)?;
            for &field in fields(record.rtype, record.class) {
                at = match field {
                    Field::Rest => break,
                    Field::Octets(count) => at + count,
                    Field::Text => at + 1 + *octets.get(at)? as usize,
                    Field::Name(_) if at >= octets.len() => break,
                    Field::Name(_) => self.name(octets, at)?,
                };
            }
        }
        Some(())
    }

    /// Looks at the name at `at`; gives the place behind it.
    fn name(&mut self, octets: &[u8], at: usize) -> Option<usize> {
        let mut here = at;
        loop {
            let len = *octets.get(here)?;
            match len {
                0 => return Some(here + 1),
                1..=63 => {
                    let label = octets.get(here..=here + len as usize)?;
                    let first = self.old.get(..label.len())?;
                    if label.eq_ignore_ascii_case(first) {
                        return None;
                    }
                    here += label.len();
                }
                0xC0.. => {
                    self.pointer(octets, here)?;
                    return Some(here + 2);
                }
                _ => return None,
            }
        }
    }

    /// Notes the pointer at `place`, if it moves.
    fn pointer(&mut self, octets: &[u8], place: usize) -> Option<()> {
        let target = target(octets, place)?;
        let whole = target == HEADER_LEN;
        let kept = HEADER_LEN + self.kept..HEADER_LEN + self.old.len();
        let gone = target < self.end && !kept.contains(&target);
        let there = target.checked_add_signed(self.by)?;
        if whole {
            return Some(());
        }
        if gone || there > 0x3FFF || !self.moves_whole(octets.get(..place)?, target) {
            return None;
        }
        *self.places.get_mut(self.count)? = u16::try_from(place).ok()?;
        self.count += 1;
        Some(())
    }

    /// Whether the name at `at` of `octets`, which a pointer behind them leads to, means the same when it has moved: it is a name of a
    /// record before, or the end of one, so that its own pointer moves too. Only a pointer into other data fails this.
    fn moves_whole(&self, octets: &[u8], at: usize) -> bool {
        let places = &self.places[..self.count];
        let changed = |place: usize| places.iter().any(|&other| usize::from(other) == place);
        // Nor does a name from within a label of the question that runs on over the question's type and class.
        let asked = self.end - 4..self.end;
        let mut here = at;
        loop {
            match octets.get(here) {
                _ if changed(here.wrapping_sub(1)) || asked.contains(&here) => return false,
                Some(0) => return true,
                Some(&len @ 1..=63) => {
                    let behind = here + 1 + len as usize;
                    let over = here < asked.start && behind > asked.start;
                    if over || (here..behind).any(changed) {
                        return false;
                    }
                    here = behind;
                }
                Some(0xC0..) => return changed(here) || target(octets, here) == Some(HEADER_LEN),
                _ => return false,
            }
        }
    }
}

/// Where the pointer at `place` leads.
fn target(octets: &[u8], place: usize) -> Option<usize> {
    Some((crate::read_u16(octets, place)? & 0x3FFF).into())
}
