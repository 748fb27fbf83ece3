//! An answer, written anew with its signatures.
//!
//! All signatures are found before anything is written: an answer that lacks one stays as it is.

use std::sync::Arc;

use chain::Query;
use chain::capability::Holdings;
use wire::reencode::{self, ReencodeError, Verbatim};
use wire::rrset::{RRset, RRsetIndex, RRsets};
use wire::{Class, Name, NameBuf, Qname, Rcode, Response, Section, Type};
use zone::Standing;
use zone::signing::CanonicalSet;

use super::denial::{Denial, Told};
use super::metrics::Metrics;
use super::pool::Wanted;
use super::table::{self, Entry};
use super::{Signing, TTL};

/// Room that the thread keeps from answer to answer.
#[derive(Default)]
pub(super) struct Scratch {
    /// The answer as it was.
    message: Vec<u8>,
    index: RRsetIndex,
    /// The RRset at hand.
    pub(super) form: CanonicalSet,
    /// The signatures of each RRset, then those of the denial.
    entries: Vec<Option<Arc<Entry>>>,
    /// RDATA of the denial.
    rdata: Vec<u8>,
}

/// What answers are signed with.
pub(super) struct Pass<'p> {
    pub(super) signing: &'p Signing,
    /// Who knows the types of names; none where the one that answered does not.
    pub(super) holdings: &'p [(&'static str, Arc<dyn Holdings>)],
    /// Who answered.
    pub(super) by: Option<&'static str>,
    /// The time, in seconds since 1970.
    pub(super) now: u64,
    /// Signatures that were made for this answer.
    pub(super) made: &'p [Arc<Entry>],
    /// Whether signatures do that are to be made anew.
    pub(super) late: bool,
    /// Where what was known is counted.
    pub(super) metrics: Option<&'p Metrics>,
}

impl Pass<'_> {
    /// Signs a response.
    ///
    /// # Errors
    /// The RRsets whose signatures are not known; the response is as it was.
    pub(super) fn sign(
        &self,
        query: &mut Query<'_>,
        response: &mut Response<'_>,
        scratch: &mut Scratch,
    ) -> Result<(), Vec<Wanted>> {
        let Scratch {
            message,
            index,
            form,
            entries,
            rdata,
        } = scratch;
        message.clear();
        message.extend_from_slice(response.octets());
        entries.clear();
        let before = response.mark();
        // An answer that cannot be read cannot be signed.
        let Ok(sets) = index.fill(before.records(message)) else {
            return Ok(());
        };
        let told = Told::of(self, query, response.rcode(), &sets);
        let alone = told.alone(query, response.count(Section::Answer));
        if !query.dnssec_ok() && alone != Some(Type::RRSIG) {
            return Ok(());
        }
        let mut wanted = Vec::new();
        for set in sets.clone() {
            let zone = self.zone_of(&set, &told);
            let zone = zone.filter(|_| self.canonical(&set, form).is_ok());
            let found = zone.and_then(|zone| self.find(query, (form, zone), &mut wanted));
            entries.push(found);
        }
        let mut proof = None;
        if let Some(denial) = &told.denial {
            self.form_of(denial, rdata, form);
            let found = self.find(query, (form, denial.zone), &mut wanted);
            proof = found.map(|entry| (denial, entry));
        }
        if !wanted.is_empty() {
            entries.clear();
            return Err(wanted);
        }
        let sections = Sections {
            sets,
            entries,
            proof: proof
                .as_ref()
                .map(|(denial, entry)| (*denial, rdata.as_slice(), &**entry)),
            alone,
        };
        response.clear_records();
        match sections.write(response) {
            // What has no room marks the response truncated.
            Ok(()) | Err(ReencodeError::Full) => settle(query, response, told.denial.as_ref()),
            Err(_) => response.put_back(before, message),
        }
        entries.clear();
        Ok(())
    }

    /// The zone whose keys sign an RRset; `None` where nothing is to be signed.
    fn zone_of(&self, set: &RRset<'_>, told: &Told) -> Option<usize> {
        let rtype = set.rtype();
        let bare = rtype != Type::RRSIG && set.signatures().len() == 0;
        if !bare || set.class() != Class::IN {
            return None;
        }
        let owner = set.owner();
        let owner = owner.as_name();
        let zone = self.signing.zone_of(owner, rtype)?;
        let below = |name: &Option<NameBuf>| {
            let name = name.as_ref();
            name.is_some_and(|name| owner.is_within(name.as_name()))
        };
        let signed = match set.section() {
            Section::Answer => rtype != Type::CNAME || !below(&told.dname),
            // What delegates is the child's (RFC 4035, section 2.2).
            Section::Authority => {
                rtype != Type::NS || self.signing.zones.get(zone)?.name.as_name() == owner
            }
            Section::Additional => !below(&told.cut) && !self.is_glue(owner),
        };
        signed.then_some(zone)
    }

    /// Whether the store says that a name is at or below a zone cut.
    fn is_glue(&self, name: Name<'_>) -> bool {
        if self.holdings.is_empty() {
            return false;
        }
        let mut qname = Qname::root();
        qname.set(name);
        let standing = self.ask(&qname, &mut |_| {});
        matches!(standing, Some(Standing::Cut | Standing::Elsewhere))
    }

    /// The TTL to sign for a TTL. Where it may be what is left of another, the signature must not change with it.
    fn original(&self, ttl: u32) -> u32 {
        match self.holdings.is_empty() {
            false => ttl,
            true if ttl <= TTL => TTL,
            true => ttl.checked_next_power_of_two().unwrap_or(u32::MAX),
        }
    }

    /// Brings an RRset into canonical form.
    fn canonical(&self, set: &RRset<'_>, form: &mut CanonicalSet) -> Result<(), ReencodeError> {
        let fixed = (set.rtype(), set.class(), self.original(set.ttl()));
        form.begin(set.owner().as_name(), fixed);
        for record in set.records() {
            form.add(|out| reencode::rdata(&record, &mut Verbatim, out))?;
        }
        form.finish();
        Ok(())
    }

    /// The same for the NSEC record of a denial, whose RDATA is written.
    fn form_of(&self, denial: &Denial, rdata: &mut Vec<u8>, form: &mut CanonicalSet) {
        rdata.clear();
        rdata.extend_from_slice(denial.next.as_name().octets());
        denial.types.write(rdata);
        let fixed = (Type::NSEC, Class::IN, self.original(denial.ttl));
        form.begin(denial.owner.as_name(), fixed);
        let _ = form.add(|out| {
            out.extend_from_slice(rdata);
            Ok::<_, ReencodeError>(())
        });
        form.finish();
    }

    /// The signatures of an RRset of a zone; one without goes to `wanted`.
    fn find(
        &self,
        query: &Query<'_>,
        (form, zone): (&CanonicalSet, usize),
        wanted: &mut Vec<Wanted>,
    ) -> Option<Arc<Entry>> {
        let octets = form.octets();
        let hash = table::hash(octets);
        let made = self.made.iter();
        let mut made = made.filter(|entry| entry.hash == hash && *entry.set == *octets);
        let known = || {
            let entry = self.signing.table.find(hash, octets)?;
            let until = if self.late { entry.end } else { entry.due };
            (self.now < until).then_some(entry)
        };
        let found = made.next().cloned().or_else(known);
        if let Some(metrics) = self.metrics {
            let counter = if found.is_some() {
                &metrics.hits
            } else {
                &metrics.misses
            };
            counter.inc(query.worker());
        }
        if found.is_none() {
            wanted.push(Wanted {
                set: form.clone(),
                zone,
            });
        }
        found
    }
}

/// Sets what an answer has beside records.
fn settle(query: &mut Query<'_>, response: &mut Response<'_>, denial: Option<&Denial>) {
    let compact = query.compact_ok();
    if compact {
        query.set_compact();
    }
    if denial.is_some_and(|denial| denial.nxname) {
        match compact {
            // Other clients get another RCODE.
            true => query.judge_client(),
            false => response.set_rcode(Rcode::NOERROR),
        }
    }
}

/// The records of an answer, and their signatures.
struct Sections<'s> {
    sets: RRsets<'s>,
    entries: &'s [Option<Arc<Entry>>],
    proof: Option<(&'s Denial, &'s [u8], &'s Entry)>,
    /// Which part of the denial was asked for, if so: it is the answer, and there is nothing else.
    alone: Option<Type>,
}

impl Sections<'_> {
    fn write(&self, response: &mut Response<'_>) -> Result<(), ReencodeError> {
        for section in [Section::Answer, Section::Authority, Section::Additional] {
            let sets = self.sets.clone().zip(self.entries);
            let replaced = self.alone.is_some() && section == Section::Authority;
            for (set, entry) in sets.filter(|(set, _)| set.section() == section && !replaced) {
                for record in set.records().chain(set.signatures()) {
                    reencode::record(&record, response, &mut Verbatim)?;
                }
                if let Some(entry) = entry {
                    let owner = set.owner();
                    cover(response, section, (owner.as_name(), set.ttl()), entry)?;
                }
            }
            let place = match self.alone {
                Some(_) => Section::Answer,
                None => Section::Authority,
            };
            if let Some((denial, rdata, entry)) = self.proof.filter(|_| section == place) {
                let owner = denial.owner.as_name();
                let fixed = (Type::NSEC, Class::IN, denial.ttl);
                if self.alone != Some(Type::RRSIG) {
                    response.push(section, owner, fixed, rdata)?;
                }
                cover(response, section, (owner, denial.ttl), entry)?;
            }
        }
        Ok(())
    }
}

/// Appends the RRSIG records of an RRset.
fn cover(
    response: &mut Response<'_>,
    section: Section,
    (owner, ttl): (Name<'_>, u32),
    entry: &Entry,
) -> Result<(), ReencodeError> {
    for signature in &entry.signatures {
        response.push(section, owner, (Type::RRSIG, Class::IN, ttl), signature)?;
    }
    Ok(())
}
