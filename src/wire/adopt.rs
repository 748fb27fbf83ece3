//! A message received from an upstream becomes the response.
//!
//! A reply to the question that was asked stays where it was received: its question has the same length, so its compression pointers
//! mean what they meant. A reply to a question that stands in the place of the client's is adopted as that; the way back to the
//! client's is [`Response::restore`].

use crate::header::{Flags, HEADER_LEN, Rcode};
use crate::message::{Message, Record};
use crate::mnemonic::{Class, Type};
use crate::name::{Name, NameBuf};
use crate::query::Parsed;
use crate::response::Response;

impl Response<'_> {
    /// Makes the first `len` octets of the buffer, a message received from an upstream, the response: flags, RCODE and records as
    /// received, ID and question as in `query`. Its OPT record, whose extended RCODE is kept, is taken out: the finish writes ours.
    ///
    /// `false`, with an empty response, when the octets are no response that can be read, or its question has not the label and
    /// name lengths of the query's, so that pointers into it would lead elsewhere. That it *is* the query's is the caller's to check.
    #[inline]
    pub fn adopt(&mut self, len: usize, query: &Parsed, message: &[u8]) -> bool {
        let end = query.question_end as usize;
        let name = message.get(HEADER_LEN..end).unwrap_or_default();
        self.adopt_by(len, (name, end), |response| response.begin(query, message))
    }

    /// The same for a query of this question in the place of the client's, as [`Response::begin_as`] has it.
    pub fn adopt_as(
        &mut self,
        len: usize,
        query: &Parsed,
        question: (Name<'_>, Type, Class),
    ) -> bool {
        let name = question.0.octets();
        let end = HEADER_LEN + name.len() + 4;
        self.adopt_by(len, (name, end), |response| {
            response.begin_as(query, question);
        })
    }

    /// Adopts a reply to a question of this name that ends at `end`; `begin` makes the response empty.
    #[inline]
    fn adopt_by(
        &mut self,
        len: usize,
        (name, end): (&[u8], usize),
        begin: impl Fn(&mut Self),
    ) -> bool {
        let received = self.octets.get(..len).and_then(Message::new);
        let usable = received.is_some_and(|m| {
            m.flags().has(Flags::QR)
                && m.header().counts[0] == 1
                && m.question().is_ok_and(|(.., behind)| behind == end)
                && same_shape(m.octets().get(HEADER_LEN..).unwrap_or_default(), name)
        });
        let (Some(received), true) = (received, usable) else {
            begin(self);
            return false;
        };
        let header = received.header();
        let opt = received
            .opt()
            .map(|record| (record.start, record.end(), record.ttl));
        let whole = received
            .records()
            .all(|record| record.is_ok_and(|record| names_are_sound(&received, &record)));
        let opts = received
            .records()
            .filter(|record| matches!(record, Ok(record) if record.rtype == Type::OPT))
            .count();
        let end_of_records = received
            .records()
            .filter_map(Result::ok)
            .last()
            .map_or(end, |record| record.end());
        begin(self);
        // More than one OPT record, or one elsewhere than in the additional section, is malformed (RFC 6891, 6.1.1).
        if !whole || opts != usize::from(opt.is_some()) {
            return false;
        }
        self.state.flags = Flags(header.flags.0 & !0xF | Flags::QR);
        self.state.rcode = header.flags.rcode();
        self.state.counts = header.counts;
        self.state.len = end_of_records;
        if let Some((start, behind, ttl)) = opt {
            self.state.rcode = Rcode((ttl >> 24 << 4) as u16 | self.state.rcode.0);
            self.cut_opt(start, behind);
        }
        true
    }

    /// Takes out the OPT record. Records behind it are moved when nothing in them can point past it, else dropped: they are
    /// additional data, which is optional.
    fn cut_opt(&mut self, start: usize, behind: usize) {
        let len = self.state.len;
        let after = self
            .records()
            .filter_map(Result::ok)
            .filter(|record| record.start >= behind);
        let (mut moved, mut movable) = (0, true);
        for record in after {
            movable &= self.octets[record.start] == 0 || self.points_before(record.start, start);
            movable &= matches!(record.rtype, Type::A | Type::AAAA | Type::TXT | Type::RRSIG);
            moved += 1;
        }
        self.state.counts[3] -= 1;
        if movable {
            self.octets.copy_within(behind..len, start);
            self.state.len = len - (behind - start);
        } else {
            self.state.counts[3] -= moved;
            self.state.len = start;
        }
    }

    /// Whether the name at `at` is a pointer to a name before `limit`, or has labels and then such a pointer or the root.
    fn points_before(&self, at: usize, limit: usize) -> bool {
        let mut here = at;
        while let Some(&len) = self.octets.get(here) {
            match len {
                0 => return true,
                1..=63 => here += 1 + len as usize,
                _ => {
                    let target = crate::read_u16(self.octets, here).unwrap_or(u16::MAX) & 0x3FFF;
                    return NameBuf::read(&self.octets[..limit], target.into()).is_ok();
                }
            }
        }
        false
    }
}

/// Whether the names of a record can be read: nobody is handed a pointer that loops (RFC 9267, 2). Names within RDATA are looked at
/// in the types that resolvers follow.
fn names_are_sound(message: &Message<'_>, record: &Record<'_>) -> bool {
    // Mostly the owner is a pointer to QNAME, which has been read.
    let at_qname = message.octets().get(record.start..record.start + 2) == Some(&[0xC0, 12]);
    (at_qname || record.owner().is_ok())
        && match record.rtype {
            Type::NS | Type::CNAME | Type::PTR => record.rdata_name(0).is_ok(),
            Type::MX => record.rdata_name(2).is_ok(),
            _ => true,
        }
}

/// Whether two uncompressed names have labels of the same lengths.
fn same_shape(one: &[u8], other: &[u8]) -> bool {
    let mut at = 0;
    loop {
        match (one.get(at), other.get(at)) {
            (Some(0), Some(0)) => return true,
            (Some(&a @ 1..=63), Some(&b)) if a == b => at += 1 + a as usize,
            _ => return false,
        }
    }
}
