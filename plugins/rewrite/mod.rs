//! `rewrite`: asks for something else than the client did, and answers what the client asked.
//!
//! ```text
//! query    ──► each rule in order: name, type, class, options of what is asked below          the first rule that stops ends it
//!              what applied is a number in the query's memo
//! response ──► the rules that applied, the last first: RCODE, TTLs, options, names
//!              │   the client's question comes back: in place, or with every record written anew
//!              └─► an alias whose target a rule changes ──► Wait ──► the server asks itself for the new target
//! ```
//!
//! Plugins below see a query like any other, and those above one that was never another. A query that matches no rule pays the
//! matching; an exact name costs a comparison of hashes for each rule, and an answer to it is led back in place.

mod answer;
mod doubts;
mod edns;
mod rule;
mod setup;
#[cfg(test)]
mod tests;
mod text;

use std::cell::RefCell;
use std::sync::Arc;

use chain::trace::Remark;
use chain::{
    Admits, Classes, Exchange, Failure, Flow, Hooks, Opcodes, Plugin, Query, Responded, Responding,
    Turn,
};
use wire::reencode::{ReencodeError, Verbatim};
use wire::{EdnsOption, Flags, NameBuf, Rcode, Response, Section, Type};

use answer::Aliases;
use rule::{Action, Auto, Rule, Texts};
pub(crate) use setup::REGISTRATION;

/// In the memo: one rule applied, whose number is in the other bits. Otherwise there is a bit for each that did.
const ONE: u64 = 1 << 63;
/// How many rules have a bit of their own.
const BITS: usize = 62;
/// In the memo: rules without a bit of their own may have applied, too.
const LATER: u64 = 1 << BITS;

/// Room that the thread keeps from query to query.
struct Scratch {
    texts: Texts,
    octets: Vec<u8>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = const {
        RefCell::new(Scratch {
            texts: Texts {
                name: Vec::new(),
                other: Vec::new(),
            },
            octets: Vec::new(),
        })
    };
}

/// `rewrite` at work.
struct Rewrite {
    rules: Box<[Rule]>,
    /// Whether a rule changes the class, so that queries of other classes are answered here.
    has_class: bool,
    /// Whether a rule changes targets of aliases.
    has_cname: bool,
    /// The options that rules name: the response tells them.
    options: Vec<u16>,
    /// The hash of each rule's name, where all lead from one name to another.
    exact: Option<Box<[u64]>>,
}

/// The rules that applied, on the way down.
#[derive(Default)]
struct Met {
    memo: u64,
    count: u32,
    first: usize,
}

impl Met {
    fn add(&mut self, at: usize, query: &Query<'_>) {
        if self.count == 0 {
            self.first = at;
        }
        self.count += 1;
        self.memo |= if at < BITS { 1 << at } else { LATER };
        query.remark(|| Remark::new("applied").with("rule", at + 1));
    }

    fn memo(&self) -> u64 {
        match self.count {
            1 => ONE | self.first as u64,
            _ => self.memo,
        }
    }
}

impl Rewrite {
    fn new(rules: Vec<Rule>) -> Self {
        let options = rules.iter().filter_map(|rule| match &rule.action {
            Action::Edns(rule) if rule.code != EdnsOption::CLIENT_SUBNET => Some(rule.code),
            _ => None,
        });
        let any = |is: fn(&Action) -> bool| rules.iter().any(|rule| is(&rule.action));
        let hash = |rule: &Rule| Some(rule.exact()?.0.hash(0));
        Self {
            exact: rules.iter().map(hash).collect(),
            options: options.collect(),
            has_class: any(|action| matches!(action, Action::Class(..))),
            has_cname: any(|action| matches!(action, Action::Cname(_))),
            rules: rules.into(),
        }
    }

    /// The rules that applied, by the memo, and whether each is known to have.
    fn applied(&self, memo: u64) -> impl DoubleEndedIterator<Item = (&Rule, bool)> + Clone {
        let one = (memo & ONE != 0).then_some((memo & !ONE) as usize);
        let rules = self.rules.iter().enumerate();
        let applied = rules.filter(move |(at, _)| match one {
            Some(one) => *at == one,
            None if *at < BITS => memo & 1 << at != 0,
            None => memo & LATER != 0,
        });
        applied.map(move |(at, rule)| (rule, one.is_some() || at < BITS))
    }

    /// Goes through the rules; the memo tells which applied.
    #[inline]
    fn descend(
        &self,
        query: &mut Query<'_>,
        response: &mut Response<'_>,
        texts: &mut Texts,
    ) -> Result<u64, Failure> {
        let (mut met, mut ready) = (Met::default(), false);
        for (at, rule) in self.rules.iter().enumerate() {
            if !rule.apply(query, response, texts, &mut ready)? {
                continue;
            }
            met.add(at, query);
            if rule.stop {
                break;
            }
        }
        Ok(met.memo())
    }

    /// The same where rules have these hashes: no text is made.
    #[inline]
    fn descend_exact(
        &self,
        hashes: &[u64],
        query: &mut Query<'_>,
        response: &mut Response<'_>,
    ) -> u64 {
        let mut met = Met::default();
        let mut at = 0;
        while let Some(rest) = hashes.get(at..) {
            let hash = query.qname().hash(0);
            let Some(found) = rest.iter().position(|other| *other == hash) else {
                break;
            };
            at += found;
            let Some(rule) = self.rules.get(at) else {
                break;
            };
            if let Some((from, to)) = rule.exact()
                && from.name().octets() == query.name().octets()
            {
                rule::ask_for(query, response, to);
                met.add(at, query);
                if rule.stop {
                    break;
                }
            }
            at += 1;
        }
        met.memo()
    }

    /// Finishes the response: everything but new look-ups.
    fn ascend(&self, memo: u64, query: &mut Query<'_>, response: &mut Response<'_>) {
        SCRATCH.with_borrow_mut(|Scratch { texts, octets }| {
            let applied = answer::applied(self.applied(memo), query, texts);
            answer::restore(&applied, &self.options, query, response, (texts, octets));
        });
    }

    /// The alias whose target a rule that applied changes.
    fn alias(&self, memo: u64, response: &Response<'_>) -> Option<(usize, NameBuf)> {
        SCRATCH.with_borrow_mut(|Scratch { texts, .. }| {
            answer::alias(self.applied(memo), response, texts)
        })
    }

    /// Asks for the new target of an alias, and finishes the response.
    async fn follow(self: Arc<Self>, mut exchange: Box<Exchange>) -> Responded {
        let Some((query, response)) = exchange.suspended_views() else {
            return (exchange, Ok(()));
        };
        let (memo, qtype) = (query.memo(), query.qtype());
        if let Some((left, target)) = self.alias(memo, &response) {
            let found = chain::look_up(&exchange, target.as_name(), qtype).await;
            let joined = join(left, target, found, &mut exchange.response());
            if let Err(why) = joined {
                exchange.begin();
                exchange.fail(answer::unrestored(&why));
            }
        }
        if let Some((mut query, mut response)) = exchange.suspended_views() {
            self.ascend(memo, &mut query, &mut response);
        }
        (exchange, Ok(()))
    }
}

/// Puts what was found under the new target of an alias behind it, in the place of what was there. The RCODE is that of the last name
/// (RFC 6604, section 3), and so is the authority section of an answer without records.
fn join(
    left: usize,
    target: NameBuf,
    found: Result<Box<Exchange>, Failure>,
    response: &mut Response<'_>,
) -> Result<(), ReencodeError> {
    let mut aliases = Aliases {
        left,
        target,
        done: false,
    };
    response.set_flag(Flags::TC, false);
    response.reencode(&mut Vec::new(), &mut aliases)?;
    let rcode = match found {
        Ok(mut found) => {
            let found = found.response();
            response.take_answers(&found)?;
            if found.count(Section::Answer) == 0 {
                let soa = found.section(Section::Authority);
                wire::reencode::copy(soa, response, &mut Verbatim)?;
            }
            found.rcode()
        }
        Err(failure) => failure.rcode,
    };
    // Where nobody knows the name, the aliases are the answer.
    if rcode != Rcode::REFUSED {
        response.set_rcode(rcode);
    }
    Ok(())
}

impl Plugin for Rewrite {
    fn name(&self) -> &'static str {
        "rewrite"
    }

    fn hooks(&self) -> Hooks {
        Hooks::BOTH
    }

    fn admits(&self) -> Admits {
        Admits {
            opcodes: Opcodes::Query,
            classes: Classes::Any,
            watches: !self.has_class,
            ..Admits::QUERIES
        }
    }

    fn query(&self, query: &mut Query<'_>, response: &mut Response<'_>) -> Result<Flow, Failure> {
        // A zone is transferred under its own name (RFC 5936, 2.2.1).
        let transfer = matches!(query.qtype(), Type::AXFR | Type::IXFR);
        let memo = match &self.exact {
            _ if transfer => 0,
            Some(hashes) => self.descend_exact(hashes, query, response),
            None => SCRATCH
                .with_borrow_mut(|scratch| self.descend(query, response, &mut scratch.texts))?,
        };
        query.set_memo(memo);
        Ok(Flow::Next)
    }

    fn response(&self, query: &mut Query<'_>, response: &mut Response<'_>) -> Turn {
        let memo = query.memo();
        if memo == 0 {
            return Turn::Up;
        }
        if memo & ONE != 0
            && let Some(Rule {
                action: Action::Name(rule),
                ..
            }) = self.rules.get((memo & !ONE) as usize)
            && matches!(rule.auto, Auto::Remap)
            && rule.answers.is_empty()
            && query.restore(response)
        {
            return Turn::Up;
        }
        if self.has_cname
            && query.depth() < chain::MAX_DEPTH
            && self.alias(memo, response).is_some()
        {
            return Turn::Wait;
        }
        self.ascend(memo, query, response);
        Turn::Up
    }

    fn respond(self: Arc<Self>, exchange: Box<Exchange>) -> Responding {
        Box::pin(self.follow(exchange))
    }
}
