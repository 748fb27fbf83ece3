//! One test binary.

mod server;
