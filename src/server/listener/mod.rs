//! Where queries come from: sockets and what reads them.

pub(crate) mod datagrams;
pub(crate) mod socket;
pub(crate) mod tcp;
pub(crate) mod udp;
mod udp_out;
mod udp_plain;
