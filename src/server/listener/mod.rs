//! Sockets: what receives queries and sends responses.
//!
//! ```text
//! xdp.rs ────┬─ frames.rs ───── backend.rs: udp_xdp.rs + frame.rs ──┐ what waits, or does not fit
//! socket.rs ─┼─ datagrams.rs ── backend.rs: udp.rs + udp_out.rs ◄───┘ home.rs        (or udp_plain.rs)
//!            ├─ accept.rs ── proxy.rs ── handshake.rs (TLS) ─┬─ connection.rs ── framing.rs
//!            │                                               └─ http.rs ── https.rs, grpc.rs ── client.rs
//!            └─ quic.rs ── doq.rs, https3.rs ── client.rs
//! ```

use std::rc::Rc;

use chain::Transport;

use self::socket::ListenSocket;
use crate::worker::{Listener, Worker};

mod accept;
pub(crate) mod backend;
mod batch;
mod client;
mod connection;
mod datagrams;
mod doq;
mod frame;
pub(crate) mod frames;
mod framing;
mod grpc;
mod handshake;
pub(crate) mod home;
mod http;
mod https;
#[cfg(feature = "https3")]
mod https3;
pub(crate) mod places;
mod proxy;
mod quic;
pub(crate) mod socket;
mod stream;
#[cfg(test)]
mod stream_tests;
pub(crate) mod turns;
mod udp;
mod udp_out;
pub(crate) mod udp_passed;
mod udp_plain;
pub(crate) mod udp_xdp;
pub(crate) mod udp_xdp_bpf;
pub(crate) mod udp_xdp_interface;
pub(crate) mod udp_xdp_privileges;
mod udp_xdp_program;

/// Serves a socket by what is spoken on it, as a task of this worker, until its listener closes.
pub(crate) fn spawn(
    worker: Rc<Worker>,
    listener: Rc<Listener>,
    transport: Transport,
    socket: ListenSocket,
) {
    match socket {
        ListenSocket::Datagram(socket) => match transport {
            Transport::Quic | Transport::Https3 => {
                tokio::task::spawn_local(quic::serve(worker, listener, transport, socket));
            }
            _ => datagrams::spawn(worker, listener, socket),
        },
        ListenSocket::Stream(socket) => {
            tokio::task::spawn_local(accept::serve(worker, listener, transport, socket));
        }
    }
}
