//! One response as it lies in the cache: octets that are ready to be copied behind the question of the next client.
//!
//! ```text
//! octets:  identity (QNAME in lower case, …) │ answer │ authority │ additional │ places of the TTLs, two octets each
//! ```
//!
//! Compression pointers in the records stay valid: everything before them, header and question, has the same length in every response to the same
//! name. All records have one TTL, the response's least, so that a hit writes one number into the places noted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use chain::Identity;
use chain::trace::Remark;
use host::clock::SECOND;
use wire::{Flags, NameBuf, Rcode, Response, Section, Type};

use super::classify::Kind;

/// A response in the cache.
pub(super) struct Entry {
    /// The hash of its key.
    pub(super) hash: u64,
    word: u64,
    /// Key, records and TTL places.
    octets: Box<[u8]>,
    key_len: u16,
    /// The records of each section.
    counts: [u16; 3],
    /// Where each section ends in `octets`.
    ends: [u32; 3],
    flags: Flags,
    rcode: Rcode,
    /// What it says.
    pub(super) kind: Kind,
    /// Whether it answers its question.
    pub(super) answering: bool,
    /// The TTL of all its records when it was stored.
    pub(super) ttl: u32,
    stored: u64,
    /// From when on it is of no use to anybody.
    dead: u64,
    /// Whether somebody asks upstream for its successor.
    refreshing: AtomicBool,
    /// Until when nobody shall.
    retry_after: AtomicU64,
    last_hit: AtomicU64,
    hits: AtomicU32,
    /// The wildcard that it was synthesised from, where labels are collected.
    pub(super) wildcard: Option<Box<NameBuf>>,
}

/// What is known of a response before it is stored.
pub(super) struct Facts {
    /// What it says.
    pub(super) kind: Kind,
    /// Whether it answers its question.
    pub(super) answering: bool,
    /// The TTL for all its records, in seconds.
    pub(super) ttl: u32,
    /// For how long after that it may still be served, in nanoseconds.
    pub(super) stale_for: u64,
    /// When it came.
    pub(super) now: u64,
    /// The wildcard that it was synthesised from, if that is known.
    pub(super) wildcard: Option<Box<NameBuf>>,
}

impl Entry {
    /// Takes what there is in `response`; `None` when it cannot be read, or holds what no response at this place may.
    pub(super) fn new(
        key: &Identity<'_>,
        response: &Response<'_>,
        facts: Facts,
    ) -> Option<Arc<Self>> {
        let start = response.question_end();
        let records = response.octets().get(start..)?;
        let total: usize = [Section::Answer, Section::Authority, Section::Additional]
            .iter()
            .map(|&section| usize::from(response.count(section)))
            .sum();
        let key_len = key.octets().iter().map(|part| part.len()).sum::<usize>();
        let mut octets = Vec::with_capacity(key_len + records.len() + 2 * total);
        for part in key.octets() {
            octets.extend_from_slice(part);
        }
        octets.extend_from_slice(records);
        let mut ends = [key_len as u32; 3];
        for record in response.records() {
            let record = record.ok()?;
            record.owner().ok()?;
            if record.rtype == Type::OPT {
                return None;
            }
            let end = (key_len + record.end() - start) as u32;
            ends[record.section as usize..].fill(end);
            octets.extend_from_slice(&((record.ttl_at - start) as u16).to_be_bytes());
        }
        let life = u64::from(facts.ttl) * SECOND;
        Some(Arc::new(Self {
            hash: key.hash(),
            word: key.word(),
            octets: octets.into(),
            key_len: key_len as u16,
            counts: [Section::Answer, Section::Authority, Section::Additional]
                .map(|section| response.count(section)),
            ends,
            flags: response.flags(),
            rcode: response.rcode(),
            kind: facts.kind,
            answering: facts.answering,
            ttl: facts.ttl,
            stored: facts.now,
            dead: facts
                .now
                .saturating_add(life)
                .saturating_add(facts.stale_for),
            refreshing: AtomicBool::new(false),
            retry_after: AtomicU64::new(0),
            last_hit: AtomicU64::new(facts.now),
            hits: AtomicU32::new(0),
            wildcard: facts.wildcard,
        }))
    }

    /// Whether it was stored under `key`.
    #[inline]
    pub(super) fn is_for(&self, key: &Identity<'_>) -> bool {
        key.is(self.hash, self.word, self.key())
    }

    /// Whether both were stored under one key.
    pub(super) fn same_key(&self, other: &Self) -> bool {
        self.hash == other.hash && self.word == other.word && self.key() == other.key()
    }

    fn key(&self) -> &[u8] {
        self.octets.get(..self.key_len as usize).unwrap_or_default()
    }

    /// The octets that it takes, its place in the table included.
    pub(super) fn cost(&self) -> usize {
        size_of::<Self>() + 32 + self.octets.len()
    }

    /// What is said of the entry to who watches.
    #[cold]
    pub(super) fn remark(&self, what: &'static str, now: u64) -> Remark {
        let kind = match self.kind {
            Kind::Positive => "answer",
            Kind::NxDomain => "NXDOMAIN",
            Kind::NoData => "NODATA",
            Kind::Failure => "failure",
            Kind::Delegation | Kind::Other => "other",
        };
        let age = now.saturating_sub(self.stored()) / SECOND;
        Remark::new(what)
            .with("kind", kind)
            .with("age", format_args!("{age} s"))
    }

    /// When it was stored.
    pub(super) fn stored(&self) -> u64 {
        self.stored
    }

    /// Whether it can be of no use any more.
    pub(super) fn is_dead(&self, now: u64) -> bool {
        now >= self.dead
    }

    /// The seconds left, at least one; `None` when it has expired.
    #[inline]
    pub(super) fn left(&self, now: u64) -> Option<u32> {
        let age = now.saturating_sub(self.stored) / SECOND;
        match u64::from(self.ttl).checked_sub(age) {
            None | Some(0) => None,
            Some(left) => Some(left as u32),
        }
    }

    /// Whether it has expired by less than `stale_for` nanoseconds.
    pub(super) fn is_stale_within(&self, now: u64, stale_for: u64) -> bool {
        let age = now.saturating_sub(self.stored) / SECOND;
        let over = age.saturating_sub(u64::from(self.ttl));
        over.saturating_mul(SECOND) < stale_for
    }

    /// Whether it denies the name as a whole.
    pub(super) fn is_nxdomain(&self) -> bool {
        self.rcode == Rcode::NXDOMAIN
    }

    /// Writes it into the response that was begun, with this TTL, AA and RA as they came, and AD if the client wants to know.
    #[inline]
    pub(super) fn write(&self, response: &mut Response<'_>, ttl: u32, authenticated: bool) {
        response.set_rcode(self.rcode);
        let told = if authenticated {
            Flags::AA | Flags::RA | Flags::AD
        } else {
            Flags::AA | Flags::RA
        };
        response.set_flag(Flags::AA | Flags::RA | Flags::AD, false);
        response.set_flag(self.flags.0 & told, true);
        let base = response.len();
        let end = self.ends[2] as usize;
        let records = self
            .octets
            .get(self.key_len as usize..end)
            .unwrap_or_default();
        if records.len() > response.buffer().len() - base
            || response.push_sections(records, self.counts).is_err()
        {
            self.write_some(response);
        }
        let places = self.octets.get(end..).unwrap_or_default();
        let places = places
            .chunks_exact(2)
            .map(|place| usize::from(u16::from_be_bytes([place[0], place[1]])));
        response.set_ttls_at(base, places, ttl);
    }

    /// Writes the sections for which there is room.
    #[cold]
    fn write_some(&self, response: &mut Response<'_>) {
        let mut from = self.key_len as usize;
        let sections = [Section::Answer, Section::Authority, Section::Additional];
        for (section, (&end, &count)) in
            sections.into_iter().zip(self.ends.iter().zip(&self.counts))
        {
            let end = end as usize;
            if count > 0 {
                let records = self.octets.get(from..end).unwrap_or_default();
                let room = response.buffer().len() - response.len();
                // Additional data is optional: it goes silently (RFC 2181, 9).
                if (section == Section::Additional && records.len() > room)
                    || response.push_octets(section, records, count).is_err()
                {
                    break;
                }
            }
            from = end;
        }
    }

    /// Counts a hit; gives how many there were without a pause of `pause` nanoseconds.
    pub(super) fn count_hit(&self, now: u64, pause: u64) -> u32 {
        let last = self.last_hit.swap(now, Ordering::Relaxed);
        if now.saturating_sub(last) > pause {
            self.hits.store(1, Ordering::Relaxed);
            1
        } else {
            self.hits.fetch_add(1, Ordering::Relaxed).saturating_add(1)
        }
    }

    /// Takes over the hits of the entry that it replaces.
    pub(super) fn inherit(&self, older: &Self, now: u64) {
        let hits = older.hits.load(Ordering::Relaxed);
        self.hits.store(hits, Ordering::Relaxed);
        self.last_hit.store(now, Ordering::Relaxed);
    }

    /// Whether the caller shall ask for a successor: nobody does so yet, and no failure forbids it.
    pub(super) fn begin_refresh(&self, now: u64) -> bool {
        now >= self.retry_after.load(Ordering::Acquire)
            && !self.refreshing.swap(true, Ordering::AcqRel)
    }

    /// Whether a failure forbids to ask again.
    pub(super) fn is_waiting(&self, now: u64) -> bool {
        now < self.retry_after.load(Ordering::Acquire)
    }

    /// Ends what [`Entry::begin_refresh`] began; nobody shall try again before `retry_after`.
    pub(super) fn end_refresh(&self, retry_after: u64) {
        self.retry_after.store(retry_after, Ordering::Release);
        self.refreshing.store(false, Ordering::Release);
    }
}
