//! Copies records from one message into another, changing names, TTLs and what is copied.
//!
//! ```text
//! Message or Response ── records() ──► Edit::keep   leave it out, or copy it under this TTL
//!                                          │
//!                                      Edit::name   owner, then each name in RDATA: as it is, or another
//!                                          ▼
//!                                      Response     names compressed anew, where RFC 3597 lets a sender compress
//! ```
//!
//! A pointer means nothing in another message, so every name is read in full and written anew. Names in RDATA are known by type
//! (`rdata.rs`); RDATA of other types is copied octet for octet. A record is copied whole or not at all, and a copy that fails for
//! another reason than room leaves the response as it was. OPT, TSIG and SIG(0) speak of the message that they came in, and are never
//! copied.
//!
//! Nothing here allocates, except that a scratch buffer of the caller's may grow.

use std::fmt;

use crate::header::Flags;
use crate::message::{Record, Section};
use crate::mnemonic::{Class, Type};
use crate::name::{Name, NameBuf, NameError, skip_name};
use crate::rdata::{Compression, Field, fields};
use crate::response::{Full, Response};

/// Why records were not copied.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReencodeError {
    /// A record or a name in it cannot be read.
    Malformed(NameError),
    /// RDATA is shorter or longer than its type says.
    Rdata,
    /// [`Edit::name`] refused: the name that it makes is none, mostly because it would be longer than 255 octets.
    Name(NameError),
    /// The response has no room. It keeps the records that fitted and is marked truncated.
    Full,
}

impl fmt::Display for ReencodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(why) => write!(f, "a record is malformed: {why}"),
            Self::Rdata => f.write_str("RDATA is shorter or longer than its type says"),
            Self::Name(why) => write!(f, "a name cannot be rewritten: {why}"),
            Self::Full => f.write_str("the response has no room"),
        }
    }
}

impl std::error::Error for ReencodeError {}

impl From<Full> for ReencodeError {
    fn from(_: Full) -> Self {
        Self::Full
    }
}

/// Where in a record a name stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// It is the record's owner.
    Owner,
    /// It stands in the RDATA.
    Rdata,
}

/// Where a name stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// The record's section.
    pub section: Section,
    /// The record's type.
    pub rtype: Type,
    /// Where in the record.
    pub role: Role,
}

/// What is changed on the way. Everything is copied as it is, unless a method says otherwise.
pub trait Edit {
    /// The TTL under which `record` is copied; `None` leaves it out.
    fn keep(&mut self, record: &Record<'_>) -> Option<u32> {
        Some(record.ttl)
    }

    /// The name that replaces the one at `place`; `None` copies it as it is.
    ///
    /// Asked for the owner, and for the names in RDATA of the types of RFC 1035 and of RP, AFSDB, RT, SIG, PX, NXT, SRV, NAPTR, KX,
    /// DNAME, NSAP-PTR, LP, RRSIG (the signer), NSEC, TALINK, SVCB, HTTPS and DSYNC.
    fn name(&mut self, place: Place, name: Name<'_>) -> Result<Option<NameBuf>, NameError> {
        let _ = (place, name);
        Ok(None)
    }
}

/// Changes nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Verbatim;

impl Edit for Verbatim {}

/// Copies `records`, in their order, behind those that `to` has.
///
/// After [`ReencodeError::Full`] `to` has the records that fitted; after another error it has what it had before.
pub fn copy<'r>(
    records: impl IntoIterator<Item = Result<Record<'r>, NameError>>,
    to: &mut Response<'_>,
    edit: &mut impl Edit,
) -> Result<(), ReencodeError> {
    let before = to.mark();
    for found in records {
        let copied = found
            .map_err(ReencodeError::Malformed)
            .and_then(|found| record(&found, to, edit));
        match copied {
            Ok(_) => {}
            Err(ReencodeError::Full) => return Err(ReencodeError::Full),
            Err(why) => {
                to.return_to(before);
                return Err(why);
            }
        }
    }
    Ok(())
}

/// Copies one record; whether it was, since `edit` may leave it out. After an error `to` is as it was before.
pub fn record(
    record: &Record<'_>,
    to: &mut Response<'_>,
    edit: &mut impl Edit,
) -> Result<bool, ReencodeError> {
    if is_of_its_message(record) {
        return Ok(false);
    }
    let Some(ttl) = edit.keep(record) else {
        return Ok(false);
    };
    let owner = record.owner().map_err(ReencodeError::Malformed)?;
    let owner = edited(record, Role::Owner, owner.as_name(), edit)?.unwrap_or(owner);
    let fixed = (record.rtype, record.class, ttl);
    to.push_with(record.section, owner.as_name(), fixed, |response| {
        write_rdata(record, response, edit)
    })?;
    Ok(true)
}

/// Appends the RDATA of `record` to `out`, no name in it compressed. After an error `out` is as it was before.
pub fn rdata(
    record: &Record<'_>,
    edit: &mut impl Edit,
    out: &mut Vec<u8>,
) -> Result<(), ReencodeError> {
    let before = out.len();
    let written = write_rdata(record, out, edit);
    if written.is_err() {
        out.truncate(before);
    }
    written
}

impl Response<'_> {
    /// Takes over what `from` answers: RCODE, AA, TC and RA, and all records behind those that are there. After an error the response
    /// is as before; one without room is truncated and no error.
    pub fn take_over(
        &mut self,
        from: &Response<'_>,
        edit: &mut impl Edit,
    ) -> Result<(), ReencodeError> {
        match copy(from.records(), self, edit) {
            Ok(()) => self.set_flag(Flags::TC, from.flags().has(Flags::TC)),
            Err(ReencodeError::Full) => {}
            Err(why) => return Err(why),
        }
        self.set_rcode(from.rcode());
        for flag in [Flags::AA, Flags::RA] {
            self.set_flag(flag, from.flags().has(flag));
        }
        Ok(())
    }

    /// Appends the answer section of `from`, for a name that an alias here leads to; TC when it was truncated, too. After an error the
    /// response is as before; one without room is truncated and no error.
    pub fn take_answers(&mut self, from: &Response<'_>) -> Result<(), ReencodeError> {
        self.take_answers_by(from, &mut Verbatim)
    }

    /// The same with what `edit` changes.
    pub fn take_answers_by(
        &mut self,
        from: &Response<'_>,
        edit: &mut impl Edit,
    ) -> Result<(), ReencodeError> {
        match copy(from.section(Section::Answer), self, edit) {
            Ok(()) | Err(ReencodeError::Full) => {}
            Err(why) => return Err(why),
        }
        if from.flags().has(Flags::TC) {
            self.set_flag(Flags::TC, true);
        }
        Ok(())
    }

    /// Writes all records anew in their place, by way of `scratch`. After an error other than [`ReencodeError::Full`] the response is
    /// as it was before.
    pub fn reencode(
        &mut self,
        scratch: &mut Vec<u8>,
        edit: &mut impl Edit,
    ) -> Result<(), ReencodeError> {
        scratch.clear();
        scratch.extend_from_slice(self.octets());
        let before = self.mark();
        let records = before.records(scratch);
        self.clear_records();
        let copied = copy(records, self, edit);
        if !matches!(copied, Ok(()) | Err(ReencodeError::Full)) {
            self.put_back(before, scratch);
        }
        copied
    }
}

/// What RDATA is written into.
trait Sink {
    fn put(&mut self, octets: &[u8]) -> Result<(), Full>;
    fn put_name(&mut self, name: Name<'_>, compressed: bool) -> Result<(), Full>;
}

impl Sink for Response<'_> {
    fn put(&mut self, octets: &[u8]) -> Result<(), Full> {
        self.append(octets).map(|_| ())
    }

    fn put_name(&mut self, name: Name<'_>, compressed: bool) -> Result<(), Full> {
        match compressed {
            true => self.push_name(name),
            false => self.put(name.octets()),
        }
    }
}

impl Sink for Vec<u8> {
    fn put(&mut self, octets: &[u8]) -> Result<(), Full> {
        self.extend_from_slice(octets);
        Ok(())
    }

    fn put_name(&mut self, name: Name<'_>, _: bool) -> Result<(), Full> {
        self.put(name.octets())
    }
}

/// Whether a record speaks of the message that it stands in (RFC 6891, 6.1.1; RFC 8945, 5; RFC 2931, 3: a SIG that covers type 0).
fn is_of_its_message(record: &Record<'_>) -> bool {
    match record.rtype {
        Type::OPT | Type::TSIG => true,
        Type::SIG => crate::read_u16(record.rdata(), 0) == Some(0),
        _ => false,
    }
}

/// What `edit` makes of a name.
fn edited(
    record: &Record<'_>,
    role: Role,
    name: Name<'_>,
    edit: &mut impl Edit,
) -> Result<Option<NameBuf>, ReencodeError> {
    let place = Place {
        section: record.section,
        rtype: record.rtype,
        role,
    };
    edit.name(place, name).map_err(ReencodeError::Name)
}

/// Writes RDATA, its names in full or compressed anew. Nothing beyond the RDATA is read, except where a pointer leads back.
fn write_rdata(
    record: &Record<'_>,
    to: &mut impl Sink,
    edit: &mut impl Edit,
) -> Result<(), ReencodeError> {
    let range = record.rdata_range.clone();
    // A name that starts within the RDATA ends there, too.
    let message = record
        .message
        .get(..range.end)
        .ok_or(ReencodeError::Rdata)?;
    let mut at = range.start;
    if at == range.end && matches!(record.class, Class::ANY | Class::NONE) {
        // RFC 2136, 2.4 and 2.5: no RDATA, whatever the type.
        return Ok(());
    }
    for &field in fields(record.rtype, record.class) {
        let end = match field {
            Field::Octets(count) => at + count,
            Field::Text => at + 1 + *message.get(at).ok_or(ReencodeError::Rdata)? as usize,
            Field::Rest => range.end,
            Field::Name(compression) => {
                at = write_name(record, (message, at, compression), to, edit)?;
                continue;
            }
        };
        to.put(message.get(at..end).ok_or(ReencodeError::Rdata)?)?;
        at = end;
    }
    match at == range.end {
        true => Ok(()),
        false => Err(ReencodeError::Rdata),
    }
}

/// Writes the name at `at` of `message`; gives the place behind it.
fn write_name(
    record: &Record<'_>,
    (message, at, compression): (&[u8], usize, Compression),
    to: &mut impl Sink,
    edit: &mut impl Edit,
) -> Result<usize, ReencodeError> {
    let (read, behind) = match compression {
        Compression::Both | Compression::Received => NameBuf::read(message, at),
        Compression::Never => skip_name(message, at).and_then(|behind| {
            let name = Name::new(message.get(at..behind).ok_or(NameError::Short)?)?;
            Ok((NameBuf::from_name(name), behind))
        }),
    }
    .map_err(ReencodeError::Malformed)?;
    let name = edited(record, Role::Rdata, read.as_name(), edit)?.unwrap_or(read);
    to.put_name(name.as_name(), compression == Compression::Both)?;
    Ok(behind)
}
