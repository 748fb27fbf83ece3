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
//! RDATA in text is read by one grammar per type (`rdata`) and not by hickory-proto, whose parser of text has 22 types, no DNAME, RRSIG,
//! NSEC, NSEC3 or DNSKEY among them, knows no `\# n hex`, completes no relative name in SVCB and accepts digests of odd length. In the
//! tests it is the oracle for what both can read.

mod answer;
mod builder;
mod checks;
mod complaint;
mod contents;
mod denial;
mod encoding;
mod gateway;
mod generate;
mod load;
mod location;
mod lookup;
mod rdata;
mod reader;
mod rules;
mod scanner;
mod sha1;
mod svcb;
mod write;

#[cfg(test)]
mod tests;

pub use answer::Outcome;
pub use builder::{Builder, OutOfZone, Place};
pub use complaint::Complaint;
pub use contents::{Node, Set, Sets, Statistics, Zone, ZoneRecord};
pub use load::{Loaded, Loader};
pub use lookup::{Lookup, Match};
pub use rdata::check as check_rdata;
pub use reader::{FileSystem, MAX_FILE, Memory, Reader};
