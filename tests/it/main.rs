//! One test binary.

mod server;
mod tidy;
