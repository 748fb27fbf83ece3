//! `grpc_server`: bounds of DNS over gRPC.

mod setup;
#[cfg(test)]
mod tests;

pub(crate) use setup::REGISTRATION;
