//! The DNS message, octet for octet: what a datagram says, and how a response is laid out.
//!
//! ```text
//! received octets ──► Parsed      header, QNAME checked, lower-cased and hashed suffix by suffix, OPT, TSIG   (by value)
//!        │
//!        ├──────────► Message     any message, record by record: owner, type, TTL, RDATA                       (borrows)
//!        │               ├──► rrset      its records as RRsets, each with the RRSIGs that cover it
//!        ▼               ▼
//! reply octets    ◄── Response    header and question as they came, then records in section order             (borrows)
//!                        ▲
//!                        └─── reencode   records of another message, names and TTLs changed on the way
//! ```
//!
//! A query that goes upstream in other octets than it came in is laid out by [`compose()`].
//!
//! Nothing here does I/O or reads a clock, nothing allocates except into a scratch buffer of the caller's, and nothing panics whatever
//! the octets are: every read is bounded, and a compression pointer may only point before the place where its name began, so no chain
//! of them can loop.
//!
//! [`Parsed`] holds the one name that is looked up. Its suffix hashes are computed from the root down in one pass, so the hash of
//! `example.org.` is known when `www.example.org.` is asked, and a look-up by closest encloser hashes nothing again.

#![forbid(unsafe_code)]

mod adopt;
mod compose;
mod edns;
mod hash;
mod header;
mod message;
mod mnemonic;
mod name;
mod query;
mod rdata;
pub mod reencode;
mod response;
mod restore;
pub mod rrset;
#[cfg(test)]
mod tests;

pub use compose::{Opt, compose};
pub use edns::{Edns, EdnsOption, EdnsOptions};
pub use hash::{fix_seed, mix, name_hash, seed};
pub use header::{Flags, HEADER_LEN, Header, Opcode, Rcode};
pub use message::{Message, Record, Records, Section};
pub use mnemonic::{Class, Type, UnknownMnemonic};
pub use name::{Labels, MAX_LABELS, MAX_NAME, Name, NameBuf, NameError, Qname, skip_name};
pub use query::{DEFAULT_UDP_SIZE, Parsed, Refusal};
pub use response::{Full, Mark, Response, ResponseState};

/// Reads a big-endian 16-bit integer at `at`, if it is there.
#[inline]
pub fn read_u16(octets: &[u8], at: usize) -> Option<u16> {
    octets
        .get(at..)?
        .first_chunk()
        .map(|b| u16::from_be_bytes(*b))
}

/// Reads a big-endian 32-bit integer at `at`, if it is there.
#[inline]
pub fn read_u32(octets: &[u8], at: usize) -> Option<u32> {
    octets
        .get(at..)?
        .first_chunk()
        .map(|b| u32::from_be_bytes(*b))
}
