//! One directive of a server block, at work.

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use wire::{Rcode, Response};

use crate::berth::Berth;
use crate::block::BlockInfo;
use crate::exchange::Exchange;
use crate::query::Query;

/// The hooks that the walk calls; one that is left out costs nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hooks(u8);

impl Hooks {
    /// [`Plugin::query`] only.
    pub const QUERY: Self = Self(1);
    /// [`Plugin::response`] only.
    pub const RESPONSE: Self = Self(2);
    /// Both.
    pub const BOTH: Self = Self(3);

    /// Whether all of `other` is wanted.
    #[inline]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// What a plugin did with a query on its way down.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flow {
    /// Nothing: the next plugin is asked.
    Next,
    /// The response is written.
    Answered,
    /// [`Plugin::resolve`] takes over; it may wait.
    Suspend,
    /// Nobody answers, on purpose.
    Silent,
}

/// What follows a response hook.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Turn {
    /// The response goes on upwards.
    Up,
    /// The plugins below are asked once more.
    Again,
}

/// The end of a suspended step, with the exchange that it took.
pub type Resolved = (Box<Exchange>, Result<Flow, Failure>);

/// A suspended step at work, on the worker that received the query.
pub type Resolving = Pin<Box<dyn Future<Output = Resolved>>>;

/// One directive of a server block, at work.
pub trait Plugin: Send + Sync + 'static {
    /// The directive, as it stands in the Corefile.
    fn name(&self) -> &'static str;

    /// The hooks to call; the plan is compiled when the Corefile is loaded.
    fn hooks(&self) -> Hooks {
        Hooks::QUERY
    }

    /// Sees the query on its way down. Never waits, never allocates on the path that answers.
    ///
    /// The response comes begun: ID, RD and question of the query, NOERROR, AA clear, no records.
    fn query(&self, _query: &mut Query<'_>, _response: &mut Response<'_>) -> Result<Flow, Failure> {
        Ok(Flow::Next)
    }

    /// Sees the response on its way up, in reverse order; also the one that the server makes of a [`Failure`], which
    /// [`Query::failure`] tells.
    fn response(&self, _query: &mut Query<'_>, _response: &mut Response<'_>) -> Turn {
        Turn::Up
    }

    /// Takes over a query that `query` suspended; may wait. Its flow is as that of `query`, [`Flow::Suspend`] apart.
    fn resolve(self: Arc<Self>, exchange: Box<Exchange>) -> Resolving {
        Box::pin(std::future::ready((exchange, Ok(Flow::Next))))
    }

    /// Takes over a query that `query` suspended without a task, by taking the exchange; never waits. What is left in place goes to
    /// [`Plugin::resolve`].
    fn launch(self: Arc<Self>, _exchange: &mut Option<Box<Exchange>>, _berth: Berth) {}

    /// Learns each block (listener and zone) that it stands in, before the first query: the place to resolve metrics' labels.
    fn attach(&self, _block: &BlockInfo) {}

    /// Whether it wants queries of classes other than IN; where no plugin of a listener does, the server refuses them.
    fn any_class(&self) -> bool {
        false
    }

    /// Whether it could answer now, for the plugins that `ready` asks; `None` for those it does not.
    fn ready(&self) -> Option<bool> {
        None
    }
}

/// An extended DNS error for the response's OPT record (RFC 8914).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExtendedError {
    /// The INFO-CODE.
    pub code: u16,
    /// The EXTRA-TEXT, for people.
    pub text: Cow<'static, str>,
}

impl ExtendedError {
    /// Other (0): see the text.
    pub const OTHER: u16 = 0;
    /// Stale answer (3; RFC 8767).
    pub const STALE_ANSWER: u16 = 3;
    /// Cached error (13; RFC 9520).
    pub const CACHED_ERROR: u16 = 13;
    /// Not ready (14).
    pub const NOT_READY: u16 = 14;
    /// Blocked (15).
    pub const BLOCKED: u16 = 15;
    /// Filtered (17).
    pub const FILTERED: u16 = 17;
    /// Prohibited (18).
    pub const PROHIBITED: u16 = 18;
    /// Stale NXDOMAIN answer (19; RFC 8767).
    pub const STALE_NXDOMAIN: u16 = 19;
    /// Not authoritative (20).
    pub const NOT_AUTHORITATIVE: u16 = 20;
    /// Not supported (21).
    pub const NOT_SUPPORTED: u16 = 21;
    /// No reachable authority (22).
    pub const NO_REACHABLE_AUTHORITY: u16 = 22;
    /// Network error (23).
    pub const NETWORK_ERROR: u16 = 23;
    /// Invalid data (24).
    pub const INVALID_DATA: u16 = 24;

    /// An error with a text that is known beforehand.
    pub const fn new(code: u16, text: &'static str) -> Self {
        Self {
            code,
            text: Cow::Borrowed(text),
        }
    }
}

/// Why a plugin failed, for `errors` and the log.
#[derive(Clone, Debug)]
pub enum Cause {
    /// No error in CoreDNS's sense: an RCODE that the server writes, and nothing for `errors` to log.
    None,
    /// A cause that is known beforehand.
    Static(&'static str),
    /// A cause that had to be composed.
    Text(Box<str>),
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => Ok(()),
            Self::Static(text) => f.write_str(text),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// A query that a plugin could not answer: the server writes the response, without records.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The response's RCODE.
    pub rcode: Rcode,
    /// What to tell a client that understands extended errors.
    pub extended: Option<ExtendedError>,
    /// What to tell the operator.
    pub cause: Cause,
}

impl Failure {
    /// SERVFAIL with a cause.
    pub const fn servfail(cause: &'static str) -> Self {
        Self {
            rcode: Rcode::SERVFAIL,
            extended: None,
            cause: Cause::Static(cause),
        }
    }

    /// SERVFAIL with a composed cause.
    pub fn servfail_because(cause: impl Into<Box<str>>) -> Self {
        Self {
            rcode: Rcode::SERVFAIL,
            extended: None,
            cause: Cause::Text(cause.into()),
        }
    }

    /// An RCODE that is policy, not an error: nothing is logged.
    pub const fn policy(rcode: Rcode) -> Self {
        Self {
            rcode,
            extended: None,
            cause: Cause::None,
        }
    }

    /// The same with an extended error.
    pub fn extended(mut self, code: u16, text: impl Into<Cow<'static, str>>) -> Self {
        self.extended = Some(ExtendedError {
            code,
            text: text.into(),
        });
        self
    }
}
