//! Zone contents, ready to answer, and how a QNAME is found in them.
//!
//! ```text
//! files ─► Reader ─► scanner ─► load ─► Builder ─► Zone            at load: all that can be known before a query comes
//!                    tokens     records  checks      │
//! query ───────────────────────────────► lookup ─► answer ─► Response     per query: no allocation, no look at the zone's size
//! ```
//!
//! A [`Zone`] never changes; a new version is a new one, and the two can be swapped behind an `Arc`. Nothing here does I/O except
//! [`FileSystem`], the [`Reader`] for real files.
//!
//! # Why the text of records is read here
//!
//! The crate has a scanner of master files (RFC 1035, section 5: `$ORIGIN`, `$TTL`, `$INCLUDE`, BIND's `$GENERATE`) and a grammar of RDATA
//! in text per type (`rdata`), although hickory-proto has both. What hickory-proto lacks decided it:
//!
//! * no spans: a mistake in a zone is shown with its file, line and column, and all mistakes of a file at once. A parser that returns the
//!   first error without its place cannot do that;
//! * no presentation format of DNAME, RRSIG, NSEC, NSEC3 and DNSKEY, so that no signed zone could be served; no `\# n hex` (RFC 3597)
//!   for types that it does not know;
//! * relative names in SVCB and HTTPS records are not completed with the origin, and digests of odd length are accepted;
//! * it builds a value per record, while a zone of a million records is laid out as octets in one pass.
//!
//! In the tests hickory-proto is the oracle for what both can read: the octets have to be the same.

#![forbid(unsafe_code)]

mod answer;
mod builder;
mod checks;
mod complaint;
mod contents;
mod denial;
mod difference;
mod digest;
mod encoding;
mod gateway;
mod generate;
mod keys;
mod load;
mod location;
mod lookup;
mod present;
mod rdata;
mod reader;
mod record;
mod rules;
mod scanner;
mod services;
mod sha1;
mod signed;
pub mod signing;
mod svcb;
mod text;
mod write;

#[cfg(test)]
mod tests;

pub use answer::{Elsewhere, Outcome, Target};
pub use builder::{Builder, OutOfZone, Place};
pub use complaint::Complaint;
pub use contents::{Cursor, Node, Set, Sets, Statistics, Zone, ZoneRecord};
pub use difference::{ChangedRecord, Difference, Journal, Records, is_newer};
pub use digest::{DigestPolicy, Digested, HashAlgorithm};
pub use load::{Loaded, Loader};
pub use lookup::{Lookup, Match, Standing};
pub use present::{present, present_rdata, present_time};
pub use rdata::{canonical_rdata, check as check_rdata};
pub use reader::{FileSystem, MAX_FILE, Memory, Reader};
pub use record::{LoneRecord, RecordFault, parse_record};
pub use signed::{Role, ZoneKey};
