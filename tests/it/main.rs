//! The one test binary: black-box tests of the built binary, tests against other servers, and tests of the tree itself.

mod allocations;
mod attacks;
mod attacks_process;
mod attacks_streams;
mod attacks_upstreams;
mod clusters;
mod clusters_kept;
mod clusters_outside;
mod coredns;
mod deploy;
mod differential;
mod first_minutes;
mod live_edits;
mod readmes;
mod rfcs;
mod server;
mod swap;
mod tidy;
