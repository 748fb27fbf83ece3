//! Why an attempt on an upstream failed.

use std::fmt;
use std::io;

use chain::ExtendedError;

/// What went wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum What {
    /// Nothing came in time.
    Timeout,
    /// The peer closed the connection.
    Closed,
    /// The system said so.
    Io(io::ErrorKind),
    /// The TLS session could not be made.
    Tls(Box<str>),
    /// Every ID of the socket is in use.
    Full,
}

/// A failed attempt: the system call in Go's words, and what went wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Trouble {
    /// `dial`, `write` or `read`.
    pub(super) op: &'static str,
    /// What went wrong.
    pub(super) what: What,
}

impl Trouble {
    /// Of an error of the system.
    pub(super) fn io(op: &'static str, error: &io::Error) -> Self {
        let what = match error.kind() {
            io::ErrorKind::TimedOut => What::Timeout,
            io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe => What::Closed,
            kind => What::Io(kind),
        };
        Self { op, what }
    }

    /// No reply in time.
    pub(super) const fn timeout(op: &'static str) -> Self {
        Self {
            op,
            what: What::Timeout,
        }
    }

    /// No ID left.
    pub(super) const fn full() -> Self {
        Self {
            op: "write",
            what: What::Full,
        }
    }

    /// Whether a connection that had been used before turned out to be dead.
    pub(super) fn is_dead_connection(&self) -> bool {
        self.op != "dial"
            && matches!(
                self.what,
                What::Closed
                    | What::Io(io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted)
            )
    }

    /// The INFO-CODE of RFC 8914 that says as much.
    pub(super) const fn info_code(&self) -> u16 {
        match self.what {
            What::Timeout => ExtendedError::NO_REACHABLE_AUTHORITY,
            _ => ExtendedError::NETWORK_ERROR,
        }
    }
}

/// The end of Go's texts, which people's `consolidate` patterns know.
impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Timeout => "i/o timeout",
            Self::Closed => "EOF",
            Self::Full => "no free query ID",
            Self::Tls(text) => text,
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
