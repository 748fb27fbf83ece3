//! What happened to one query: the record that the walk writes while somebody watches.
//!
//! ```text
//! Context::watch ─ None ──► the walk                                          (compiled without a word of this)
//!                └ Some ──► the same walk ─► around each hook: a Visit ─► plugin, hook, time, outcome, changes
//!                                                                └──── Query::remark, Exchange::remark: what the plugin says of it
//! ```
//!
//! There is one walk, generic over whether it is watched: what `explain` shows is what a query meets. Who watches makes a [`Trace`] and
//! hands it to [`Exchange::watch`]; look-ups of the server to itself are watched with the query that they serve. A pooled exchange is
//! never watched.
//!
//! A plugin adds facts by [`Query::remark`] or [`Exchange::remark`]. Both take a closure, which is not called when nobody watches. That a
//! question was rewritten, or a response changed, needs no remark: the walk compares.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use host::clock;
use wire::{Class, Flags, NameBuf, NameError, Rcode, Record, Section, Type};

use crate::block::Block;
use crate::exchange::Exchange;
use crate::plugin::{Failure, Flow, Turn};
use crate::query::Query;

/// Visits of one query that are kept; later ones are dropped.
const MOST_VISITS: usize = 1_024;
/// Notes of one visit that are kept.
const MOST_REMARKS: usize = 64;

/// The record of one query.
#[derive(Debug)]
pub struct Trace {
    began: u64,
    visits: Mutex<Vec<Visit>>,
}

/// One hook that was called.
#[derive(Clone, Debug)]
pub struct Visit {
    /// How many look-ups of the server to itself stand above it.
    pub depth: u8,
    /// Whether it belongs to a query that a plugin made beside this one, such as the refresh of an entry of a cache.
    pub aside: bool,
    /// The server block.
    pub block: Arc<Block>,
    /// The place of the plugin in its chain.
    pub step: usize,
    /// What was called.
    pub hook: Hook,
    /// When it was called, in nanoseconds since the trace began.
    pub began: u64,
    /// How long it took, in nanoseconds.
    pub took: u64,
    /// What it came to.
    pub came: Came,
    /// What it changed.
    pub changes: Vec<Change>,
    /// What the plugin says of it.
    pub remarks: Vec<Remark>,
}

/// A hook of a plugin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hook {
    /// [`crate::Plugin::query`].
    Query,
    /// [`crate::Plugin::resolve`].
    Resolve,
    /// [`crate::Plugin::response`].
    Response,
    /// [`crate::Plugin::respond`].
    Respond,
    /// [`crate::Plugin::silent`].
    Silent,
}

impl Hook {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::Resolve => "resolve",
            Self::Response => "response",
            Self::Respond => "respond",
            Self::Silent => "silent",
        }
    }
}

/// What a hook came to.
#[derive(Clone, Debug)]
pub enum Came {
    /// It has not come to an end: it panicked, or its wait was ended.
    Open,
    /// The query went on to the next plugin.
    Passed,
    /// It answered.
    Answered,
    /// It waits: [`Hook::Resolve`] or [`Hook::Respond`] follows.
    Waits,
    /// It decided that nobody answers.
    Silent,
    /// It answers with many messages.
    Stream,
    /// It failed: the server writes the response.
    Failed(Failure),
    /// The response went on upwards.
    Up,
    /// The plugins below are asked once more.
    Again,
}

impl Came {
    /// Its name.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Open => "unfinished",
            Self::Passed => "passed",
            Self::Answered => "answered",
            Self::Waits => "waits",
            Self::Silent => "silent",
            Self::Stream => "stream",
            Self::Failed(_) => "failed",
            Self::Up => "up",
            Self::Again => "again",
        }
    }

    pub(crate) fn of(flow: &Result<Flow, Failure>) -> Self {
        match flow {
            Ok(Flow::Next) => Self::Passed,
            Ok(Flow::Answered) => Self::Answered,
            Ok(Flow::Suspend) => Self::Waits,
            Ok(Flow::Silent) => Self::Silent,
            Ok(Flow::Stream) => Self::Stream,
            Err(failure) => Self::Failed(failure.clone()),
        }
    }
}

impl From<&Turn> for Came {
    fn from(turn: &Turn) -> Self {
        match turn {
            Turn::Up => Self::Up,
            Turn::Again => Self::Again,
            Turn::Wait => Self::Waits,
            Turn::Silent => Self::Silent,
        }
    }
}

/// One thing that a hook changed in the question or the response.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// What: `name`, `type`, `class` of the question; `rcode`, `flags`, `records`, `ttl`, `order` of the response.
    pub what: &'static str,
    /// As it was.
    pub from: String,
    /// As it is.
    pub to: String,
}

/// What a plugin says of a visit: a word, and facts by name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Remark {
    /// What happened: `hit`, `miss`, `upstream`, `rule`.
    pub what: &'static str,
    /// Facts, in the order in which they were given.
    pub facts: Vec<(&'static str, String)>,
}

impl Remark {
    /// A remark without facts.
    pub const fn new(what: &'static str) -> Self {
        Self {
            what,
            facts: Vec::new(),
        }
    }

    /// The same with one fact more.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Display) -> Self {
        self.facts.push((name, value.to_string()));
        self
    }
}

impl Trace {
    /// A trace that begins now.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            began: clock::now(),
            visits: Mutex::default(),
        })
    }

    /// What was seen so far, in order.
    pub fn visits(&self) -> Vec<Visit> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Visit>> {
        self.visits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who watches an exchange.
#[derive(Clone, Debug)]
pub(crate) struct Watch {
    trace: Arc<Trace>,
    aside: bool,
}

impl Watch {
    /// The same for a query that is made beside the one at hand.
    pub(crate) fn aside(&self) -> Self {
        Self {
            trace: self.trace.clone(),
            aside: true,
        }
    }

    /// Adds what `remark` says to the visit at `depth` and `step` that began last.
    #[cold]
    fn remark(&self, (depth, step): (u8, usize), remark: Remark) {
        let mut visits = self.trace.lock();
        let of = |visit: &&mut Visit| {
            visit.depth == depth && visit.step == step && visit.aside == self.aside
        };
        if let Some(visit) = visits.iter_mut().rev().find(of)
            && visit.remarks.len() < MOST_REMARKS
        {
            visit.remarks.push(remark);
        }
    }
}

impl Query<'_> {
    /// Says what the plugin did, for who watches the query (`nameplate explain`). `remark` is not called when nobody does, which is
    /// nearly always: then this is one comparison.
    #[inline(always)]
    pub fn remark(&self, remark: impl FnOnce() -> Remark) {
        if let Some(watch) = &self.context.watch {
            watch.remark((self.context.depth, self.context.step()), remark());
        }
    }
}

impl Exchange {
    /// Has `trace` record what happens to this exchange, which must not go back to a pool.
    pub fn watch(&mut self, trace: &Arc<Trace>) {
        self.context.watch = Some(Watch {
            trace: trace.clone(),
            aside: false,
        });
    }

    /// Says what the plugin that waits did, as [`Query::remark`] does.
    #[inline(always)]
    pub fn remark(&self, remark: impl FnOnce() -> Remark) {
        if let Some(watch) = &self.context.watch {
            let step = self.suspended_at().map_or(self.context.step(), |at| at.1);
            watch.remark((self.context.depth, step), remark());
        }
    }

    /// Opens a visit; `None` when nobody watches.
    pub(crate) fn open_visit(
        &mut self,
        block: &Arc<Block>,
        step: usize,
        hook: Hook,
    ) -> Option<Opened> {
        let watch = self.context.watch.clone()?;
        let mut visits = watch.trace.lock();
        if visits.len() >= MOST_VISITS {
            return None;
        }
        let number = visits.len();
        let began = clock::now();
        visits.push(Visit {
            depth: self.context.depth,
            aside: watch.aside,
            block: block.clone(),
            step,
            hook,
            began: began.saturating_sub(watch.trace.began),
            took: 0,
            came: Came::Open,
            changes: Vec::new(),
            remarks: Vec::new(),
        });
        drop(visits);
        Some(Opened {
            watch,
            number,
            began,
            question: Question::of(self),
            response: match hook {
                Hook::Response | Hook::Respond => Some(Reply::of(self)),
                Hook::Query | Hook::Resolve | Hook::Silent => None,
            },
        })
    }
}

/// A visit that has begun, and what there was before it.
pub(crate) struct Opened {
    watch: Watch,
    number: usize,
    began: u64,
    question: Question,
    response: Option<Reply>,
}

impl Opened {
    /// Ends the visit.
    pub(crate) fn close(self, exchange: &mut Exchange, came: Came) {
        let took = clock::now().saturating_sub(self.began);
        let mut changes = self.question.changes(&Question::of(exchange));
        if let Some(before) = &self.response {
            changes.extend(before.changes(&Reply::of(exchange)));
        }
        let mut visits = self.watch.trace.lock();
        if let Some(visit) = visits.get_mut(self.number) {
            visit.took = took;
            visit.came = came;
            visit.changes = changes;
        }
    }
}

/// The question as the plugins below would see it.
struct Question {
    name: NameBuf,
    qtype: Type,
    class: Class,
}

impl Question {
    fn of(exchange: &Exchange) -> Self {
        match &exchange.context.overlay {
            Some(question) => Self {
                name: NameBuf::from_name(question.qname.name()),
                qtype: question.qtype,
                class: question.qclass,
            },
            None => Self {
                name: NameBuf::from_name(exchange.parsed.qname.name()),
                qtype: exchange.parsed.qtype,
                class: exchange.parsed.qclass,
            },
        }
    }

    fn changes(&self, now: &Self) -> Vec<Change> {
        let mut out = Vec::new();
        let mut add = |what, from: String, to: String| {
            if from != to {
                out.push(Change { what, from, to });
            }
        };
        add("name", self.name.to_string(), now.name.to_string());
        add("type", self.qtype.to_string(), now.qtype.to_string());
        add("class", self.class.to_string(), now.class.to_string());
        out
    }
}

/// A record as text without its TTL, and the TTL.
type Line = (String, u32);

/// A response as it stands.
struct Reply {
    rcode: Rcode,
    flags: Flags,
    /// By section.
    lines: [Vec<Line>; 3],
}

impl Reply {
    fn of(exchange: &mut Exchange) -> Self {
        let response = exchange.response();
        let lines = |section| lines(response.section(section));
        Self {
            rcode: response.rcode(),
            flags: response.flags(),
            lines: [Section::Answer, Section::Authority, Section::Additional].map(lines),
        }
    }

    /// What is different now.
    fn changes(&self, now: &Self) -> Vec<Change> {
        let mut out = Vec::new();
        let mut add = |what, from: String, to: String| {
            if from != to {
                out.push(Change { what, from, to });
            }
        };
        add("rcode", self.rcode.to_string(), now.rcode.to_string());
        add("flags", self.flags.to_string(), now.flags.to_string());
        for (was, is) in self.lines.iter().zip(&now.lines) {
            section_changes(was, is, &mut add);
        }
        out
    }
}

/// What is different in a section.
fn section_changes(was: &[Line], is: &[Line], add: &mut impl FnMut(&'static str, String, String)) {
    if was == is {
        return;
    }
    let texts = |lines: &[Line]| lines.iter().map(|(text, _)| text.clone()).collect();
    let (mut old, mut new): (Vec<String>, Vec<String>) = (texts(was), texts(is));
    if old == new {
        let ttls = |lines: &[Line]| {
            let mut all: Vec<String> = lines.iter().map(|(_, ttl)| ttl.to_string()).collect();
            all.dedup();
            all.join(" ")
        };
        add("ttl", ttls(was), ttls(is));
        return;
    }
    let (from, to) = (old.join("; "), new.join("; "));
    old.sort_unstable();
    new.sort_unstable();
    if old == new {
        add("order", from, to);
    } else {
        let (gone, come) = difference(&old, &new);
        add("records", gone.join("; "), come.join("; "));
    }
}

/// The records of a section.
fn lines<'r>(records: impl Iterator<Item = Result<Record<'r>, NameError>>) -> Vec<Line> {
    records
        .filter_map(Result::ok)
        .filter(|record| record.rtype != Type::OPT)
        .map(|record| {
            let owner = record
                .owner()
                .map_or_else(|_| "?".into(), |o| o.to_string());
            let rdata = zone::present_rdata(&record);
            let (class, rtype) = (record.class, record.rtype);
            (format!("{owner} {class} {rtype} {rdata}"), record.ttl)
        })
        .collect()
}

/// What is in `old` alone and in `new` alone, repeated records counted.
fn difference(old: &[String], new: &[String]) -> (Vec<String>, Vec<String>) {
    let mut counts: BTreeMap<&str, i32> = BTreeMap::new();
    old.iter()
        .for_each(|line| *counts.entry(line).or_default() += 1);
    new.iter()
        .for_each(|line| *counts.entry(line).or_default() -= 1);
    let pick = |sign: i32| {
        let picked = counts.iter().filter(|(_, count)| **count * sign > 0);
        picked.map(|(line, _)| (*line).to_owned()).collect()
    };
    (pick(1), pick(-1))
}
