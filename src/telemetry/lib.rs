//! What the server tells of itself: the registry of metrics, and the counts of its traffic.
//!
//! Nothing here waits, locks or allocates when a query is counted: labels are resolved when a Corefile is loaded.

#![forbid(unsafe_code)]

pub mod metrics;
pub mod traffic;
