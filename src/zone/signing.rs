//! DNSSEC signing: keys, signatures over RRsets, proofs, whole zones (RFC 4034, RFC 4035, RFC 5155, RFC 9824).
//!
//! ```text
//! K*.key, K*.private ─► Key ─┬─► KeySet::sign      RRSIGs of one RRset, for answers that are signed as they are given
//!                            └─► KeySet::sign_zone   a signed Zone made of an unsigned one
//! RRset ─► CanonicalSet: owner, type, class, TTL, RDATA in canonical form and order
//! ```
//!
//! The arithmetic is `ring`'s. A key is used only when both halves belong together: a pair that was mixed up would make signatures that
//! nobody can verify. Nothing here does I/O or reads a clock; whoever signs says for which time.

mod bitmap;
mod canonical;
mod key;
mod key_file;
mod whole;

pub use bitmap::{Types, next_at_cut, next_name};
pub use canonical::CanonicalSet;
pub use key::{Key, KeySet, Unsigned, Validity, key_tag};
pub use key_file::{Half, KeyFault};
pub use whole::{Denials, Plan};
