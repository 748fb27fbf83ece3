//! Why an attempt on an upstream failed.

use std::fmt;
use std::io;

use chain::ExtendedError;

/// What went wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reason {
    /// Nothing came in time.
    Timeout,
    /// The peer closed the connection.
    Closed,
    /// The system said so.
    Io(io::ErrorKind),
    /// The TLS session could not be made.
    Tls(Box<str>),
    /// The protocol below said so: a status of HTTP or gRPC, a stream that was reset.
    Protocol(Box<str>),
    /// A reply came that cannot be read.
    Malformed,
    /// Every ID of the socket is in use.
    Full,
    /// The process may not open more files.
    Descriptors,
}

/// A failed attempt: the system call in Go's words, and what went wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Error {
    /// `dial`, `write` or `read`.
    pub call: &'static str,
    /// What went wrong.
    pub reason: Reason,
}

impl Error {
    /// Of an error of the system.
    pub fn io(call: &'static str, error: &io::Error) -> Self {
        let reason = match error.kind() {
            io::ErrorKind::TimedOut => Reason::Timeout,
            io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe => Reason::Closed,
            // EMFILE and ENFILE.
            _ if matches!(error.raw_os_error(), Some(23 | 24)) => Reason::Descriptors,
            kind => Reason::Io(kind),
        };
        Self { call, reason }
    }

    /// Of an error that sending a datagram gave. A refusal is the answer to an earlier one, which was not read yet.
    pub fn sent(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::io("read", error),
            _ => Self::io("write", error),
        }
    }

    /// No reply in time.
    pub const fn timeout(call: &'static str) -> Self {
        Self {
            call,
            reason: Reason::Timeout,
        }
    }

    /// A reply that cannot be read.
    pub const fn malformed() -> Self {
        Self {
            call: "read",
            reason: Reason::Malformed,
        }
    }

    /// The connection was closed.
    pub const fn closed() -> Self {
        Self {
            call: "read",
            reason: Reason::Closed,
        }
    }

    /// No descriptor left.
    pub const fn descriptors() -> Self {
        Self {
            call: "dial",
            reason: Reason::Descriptors,
        }
    }

    /// No ID left.
    pub const fn full() -> Self {
        Self {
            call: "write",
            reason: Reason::Full,
        }
    }

    /// Whether a connection that had been used before turned out to be dead.
    pub fn is_dead_connection(&self) -> bool {
        self.call != "dial"
            && matches!(
                self.reason,
                Reason::Closed
                    | Reason::Io(io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted)
            )
    }

    /// The INFO-CODE of RFC 8914 that says as much.
    pub const fn info_code(&self) -> u16 {
        match self.reason {
            Reason::Timeout => ExtendedError::NO_REACHABLE_AUTHORITY,
            Reason::Malformed => ExtendedError::INVALID_DATA,
            _ => ExtendedError::NETWORK_ERROR,
        }
    }
}

/// The end of Go's texts, which people's `consolidate` patterns know.
impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Timeout => "i/o timeout",
            Self::Closed => "EOF",
            Self::Malformed => "malformed reply",
            Self::Full => "no free query ID",
            Self::Descriptors => "too many open files",
            Self::Tls(text) | Self::Protocol(text) => text,
            Self::Io(kind) => match kind {
                io::ErrorKind::ConnectionRefused => "connection refused",
                io::ErrorKind::ConnectionReset => "connection reset by peer",
                io::ErrorKind::NetworkUnreachable => "network is unreachable",
                io::ErrorKind::HostUnreachable => "no route to host",
                io::ErrorKind::AddrNotAvailable => "cannot assign requested address",
                other => return write!(f, "{other}"),
            },
        })
    }
}
