//! Asking other servers: what `forward` stands on, and what zone transfers, recursion and validation will stand on.
//!
//! ```text
//!   datagram from a client
//!   1  listener     recvmmsg, parse, route                                     server
//!   2  chain ↓      … cache: miss … forward: Suspend                           chain, plugins
//!   3  launch       admitted; the same is outstanding already? wait with it    engine, coalesce, outstanding
//!   4  transaction  whom to ask, over what, how long to wait                   transaction
//!   5  pool         a socket drawn by lot, an ID of its own                    pool, datagram, ids
//!   6  send queue   leaves with the others of its batch (UDP_SEGMENT)          send_queue
//!          ⋮            the upstream's turn; the wheel keeps the time             wheel
//!   7  socket       recv into the scratch buffer                               datagram
//!   8  receive      ID → query; question matches; octets become the response   receive, message, reply
//!   9  verdict      the directive takes the reply, or wants another server's   policy
//!  10  chain ↑      cache stores … log, metrics                                chain, plugins
//!  11  finish       OPT, size, ID and question of the client                   server
//!  12  listener     sendmmsg                                                   server
//! ```
//!
//! No station is passed twice on the way out: a query whose first datagram is answered meets no task, no future and no allocation. One
//! that is not stays in its place in the table, and goes from the wheel (a timer), from 7 (an error) or from 8 (a reply that does not
//! answer) to 4 once more. There is no second way for what goes wrong.
//!
//! # The parts, and why they are so
//!
//! * A [`Transaction`] is a state machine without I/O and clock: what has happened and the time go in, what to do comes out. Failover,
//!   retries, hedging, the bounds of RFC 9520 are there and nowhere else, and its tests need no sockets.
//! * The engine, one a worker, does what transactions say. It is thread-local, since a query never leaves its worker: nothing
//!   is locked. Its table of outstanding queries is a slab with a free list: a number finds a query without hashing, a generation tells
//!   those apart that had the number one after the other. Its timer wheel costs two words a query; a timer of the runtime costs an
//!   allocation and a heap.
//! * An [`Endpoint`] is an address and how it is spoken to: address, source address, TLS name and configuration. Whoever names the same
//!   one shares it, through the process and over reloads. Its number is small, so that an engine finds its pool in an array.
//! * A pool holds a worker's sockets and connections to one endpoint, whichever directive asks. Descriptors are budgeted:
//!   [`host::descriptors::upstream_share`] is divided among the workers, and what was idle for longest is closed for what is needed now.
//!   2,000 directives that ask one server use the sockets of one.
//! * A [`Policy`] is a directive as the engine sees it: servers, their order and health, bounds, and what a reply means. It stands above;
//!   nothing here knows a directive.
//! * [`target`] and [`addresses`] lead from the words of a directive to endpoints; [`health`] watches one that failed; [`metrics`]
//!   counts what each does.
//! * [`failures`] remembers, for the process, the questions that nobody answered.
//!
//! # What holds always
//!
//! * A query is completed once: answered, failed, or cancelled by the listener that launched it ([`chain::Cancel`]).
//! * A reply counts only from the address and port that was asked, with an ID that is outstanding on that very socket, for the very
//!   question (RFC 5452, section 9.1). IDs and ports are drawn by lot, and a port is given up after some hundred queries.
//! * Each ID that is taken belongs to one attempt of one outstanding query, and goes with it.
//! * A server gets at most three datagrams for one query, and a question without an answer costs it one attempt a second.
//! * Everything is bounded: [`MOST`] outstanding queries a worker, 32,768 IDs a socket, a megabyte that waits to be written to a
//!   connection, the wheel and the table of failures by their size, descriptors by the budget.
//!
//! # Adding to it
//!
//! A directive that asks implements [`Policy`], and calls [`launch`] for a query that a listener keeps, [`ask`] for one of its own (see
//! `forward`, and [`health`]). A transport with connections is one more [`Transport`] and [`Protocol`], and a way to
//! make the connection in `stream.rs`; framing and pipelining are there, and in `multiplex.rs` for those that give each query a stream, as
//! HTTP/2 (`https.rs`, `grpc.rs`) and QUIC do. What needs many messages for one question, a zone transfer, takes a connection of the pool
//! for itself.

#![forbid(unsafe_code)]

pub mod addresses;
mod coalesce;
mod datagram;
mod endpoint;
mod engine;
mod error;
pub mod failures;
mod grpc;
pub mod health;
mod http2;
mod https;
mod ids;
pub mod message;
pub mod metrics;
mod multiplex;
mod outstanding;
mod policy;
mod pool;
mod protocol;
mod quic;
mod receive;
mod remarks;
mod reply;
mod rtt;
mod selection;
mod send_queue;
mod stream;
pub mod target;
mod task;
#[cfg(test)]
mod tests;
pub mod tls;
mod transaction;
mod wheel;

pub use endpoint::Endpoint;
pub use engine::{MOST, launch, open};
pub use error::{Error, Reason};
pub use grpc::GrpcClient;
pub use https::HttpsClient;
pub use policy::{Keep, Policy, Settings, Verdict, refuse_transfer};
pub use protocol::Protocol;
pub use quic::QuicClient;
pub use rtt::Resend;
pub use selection::Selection;
pub use task::ask;
pub use transaction::{
    Bounds, Event, LastFailure, MOST_SERVERS, Order, Reply, Servers, Status, Step, Transaction,
    Transport,
};
