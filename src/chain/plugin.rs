//! One directive of a server block, at work.

use std::fmt;
use std::future::Future;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;

use wire::reencode::ReencodeError;
use wire::{Name, Qname, Rcode, Response};

use crate::admission::Admits;
use crate::block::BlockInfo;
use crate::completion::Completion;
use crate::exchange::Exchange;
use crate::keeper::{SigningReport, ZoneOrder, ZoneReport};
use crate::messages::MessageSource;
use crate::query::Query;

/// The hooks that the walk calls; one that is left out costs nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hooks(u8);

impl Hooks {
    /// [`Plugin::query`] only.
    pub const QUERY: Self = Self(1);
    /// [`Plugin::response`] and [`Plugin::silent`] only.
    pub const RESPONSE: Self = Self(2);
    /// Both.
    pub const BOTH: Self = Self(3);
    /// None: the plugin has a place in the chain, and nothing to do for a query.
    pub const NONE: Self = Self(0);
    /// [`Plugin::label`].
    pub const LABELS: Self = Self(4);
    /// [`Plugin::ahead`].
    pub const AHEAD: Self = Self(8);

    /// These and `other`.
    #[inline]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

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
    /// Nobody answers, on purpose. Every plugin that was passed hears of it by [`Plugin::silent`].
    Silent,
    /// The response has many messages, from [`Plugin::stream`]: a zone transfer. Only a client on a stream transport gets them; for
    /// others, and for look-ups of the server to itself, it is REFUSED.
    Stream,
}

/// What follows a response hook.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Turn {
    /// The response goes on upwards.
    Up,
    /// The plugins below are asked once more. A plugin that never stops saying so is not heard after some turns: the response is SERVFAIL.
    Again,
    /// [`Plugin::respond`] takes over; it may wait. Then the response goes on upwards.
    Wait,
    /// Nobody answers after all. The plugins above hear of it by [`Plugin::silent`].
    Silent,
}

/// The end of a suspended step, with the exchange that it took.
pub type Resolved = (Box<Exchange>, Result<Flow, Failure>);

/// A suspended step at work, on the worker that received the query.
pub type Resolving = Pin<Box<dyn Future<Output = Resolved>>>;

/// A response that [`Plugin::respond`] has finished, with its exchange; a failure takes its place.
pub type Responded = (Box<Exchange>, Result<(), Failure>);

/// A response hook that waits, on the worker that received the query.
pub type Responding = Pin<Box<dyn Future<Output = Responded>>>;

/// One directive of a server block, at work.
pub trait Plugin: Send + Sync + 'static {
    /// The directive, as it stands in the Corefile.
    fn name(&self) -> &'static str;

    /// The hooks to call; the plan is compiled when the Corefile is loaded.
    fn hooks(&self) -> Hooks {
        Hooks::QUERY
    }

    /// The opcodes and classes that it wants to see. The walk asks it about nothing else, so no hook needs to look.
    fn admits(&self) -> Admits {
        Admits::QUERIES
    }

    /// Sees the query on its way down. Never waits, never allocates on the path that answers.
    ///
    /// The response comes begun: ID, RD and question of the query, NOERROR, AA clear, no records.
    fn query(&self, _query: &mut Query<'_>, _response: &mut Response<'_>) -> Result<Flow, Failure> {
        Ok(Flow::Next)
    }

    /// Loads what [`Plugin::query`] will read for these names, the queries of a batch: each look-up in much data waits for memory, and so
    /// they wait at the same time. Whether it did; `false` where all is near.
    fn ahead(&self, _qnames: &[&Qname]) -> bool {
        false
    }

    /// Sees the response on its way up, in reverse order; also the one that the server makes of a [`Failure`], which
    /// [`Query::failure`] tells.
    fn response(&self, _query: &mut Query<'_>, _response: &mut Response<'_>) -> Turn {
        Turn::Up
    }

    /// Hears that nobody answers a query that it let pass ([`Flow::Silent`]), instead of `response`: the place to let go of what is
    /// kept for the query.
    fn silent(&self, _query: &mut Query<'_>) {}

    /// Takes over a query that `query` suspended; may wait. Its flow is as that of `query`, [`Flow::Suspend`] and [`Flow::Stream`]
    /// apart.
    fn resolve(self: Arc<Self>, exchange: Box<Exchange>) -> Resolving {
        Box::pin(std::future::ready((exchange, Ok(Flow::Next))))
    }

    /// Takes over a query that `query` suspended without a task, by taking the exchange; never waits. What is left in place goes to
    /// [`Plugin::resolve`].
    fn launch(self: Arc<Self>, _exchange: &mut Option<Box<Exchange>>, _completion: Completion) {}

    /// Takes over a response for which `response` said [`Turn::Wait`]; may wait. What it writes goes on upwards.
    fn respond(self: Arc<Self>, exchange: Box<Exchange>) -> Responding {
        Box::pin(std::future::ready((exchange, Ok(()))))
    }

    /// The messages of a query for which `query` said [`Flow::Stream`]. [`Exchange::suspended_views`] shows the query.
    fn stream(self: Arc<Self>, _exchange: &mut Exchange) -> Box<dyn MessageSource> {
        Box::new(crate::messages::Nothing)
    }

    /// Appends the value of a metadata label of this query to `out`, where the plugin has one; called when somebody reads the label,
    /// with [`Hooks::LABELS`] only. It speaks of the query as it was asked ([`Query::asked`]), may be called before the walk has
    /// begun, and has no memo. What is learnt on the way is no label of this kind: [`Query::note`] keeps it.
    fn label(&self, _query: &Query<'_>, _label: &str, _out: &mut String) -> bool {
        false
    }

    /// Learns each block (listener and zone) that it stands in, before the first query: the place to resolve metrics' labels.
    fn attach(&self, _block: &BlockInfo) {}

    /// What it cannot serve, and why; a line of `/ready?verbose`.
    fn trouble(&self) -> Option<String> {
        None
    }

    /// What it knows of the zones that it keeps, for `nameplate zone` and the metrics.
    fn zones(&self) -> Vec<ZoneReport> {
        Vec::new()
    }

    /// What is known of the zones whose answers it signs.
    fn signs(&self) -> Vec<SigningReport> {
        Vec::new()
    }

    /// Does something with the zone of this apex: what was done or begun, or why it cannot be; `None` where the zone is none of its, or
    /// the order is none for it.
    fn order(&self, _apex: Name<'_>, _order: ZoneOrder) -> Option<Result<String, String>> {
        None
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
    pub text: ExtraText,
}

/// The EXTRA-TEXT of an extended error. It is cloned for each query that gets it, so a clone allocates nothing.
#[derive(Clone, Debug)]
pub enum ExtraText {
    /// Known beforehand.
    Static(&'static str),
    /// Configured or composed.
    Shared(Arc<str>),
}

impl Deref for ExtraText {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Static(text) => text,
            Self::Shared(text) => text,
        }
    }
}

impl PartialEq for ExtraText {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for ExtraText {}

impl From<&'static str> for ExtraText {
    fn from(text: &'static str) -> Self {
        Self::Static(text)
    }
}

impl From<String> for ExtraText {
    fn from(text: String) -> Self {
        Self::Shared(text.into())
    }
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
            text: ExtraText::Static(text),
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
    pub fn extended(mut self, code: u16, text: impl Into<ExtraText>) -> Self {
        self.extended = Some(ExtendedError {
            code,
            text: text.into(),
        });
        self
    }
}

/// What another plugin or an upstream answered cannot be handed on.
impl From<ReencodeError> for Failure {
    fn from(why: ReencodeError) -> Self {
        Self::servfail_because(why.to_string())
    }
}
