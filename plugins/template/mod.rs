//! `template`: answers that are written as Go templates.
//!
//! ```text
//! query ─► Rule: class, type, zone, expression ─┬─ no ─► the next rule, then the next plugin; SERVFAIL without `fallthrough`
//!                                               └─ yes ─► records ready since load ─► one copy
//!                                                         or each Recipe: engine::Template ─► text ─► zone::parse_record
//!                                                            └─ an alias, asked for an address ─► the server asks itself
//! ```
//!
//! What a rule writes is known at load where its templates name nothing of the query but, as the owner, its name; then a query costs
//! the comparison and a copy. All rules of a block are one handler.

mod data;
mod engine;
mod metrics;
mod recipe;
mod rule;
mod sample;
mod setup;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::sync::Arc;

use chain::trace::Remark;
use chain::{
    Admits, BlockInfo, Classes, Exchange, ExtendedError, Failure, Flow, Plugin, Query, Resolved,
    Resolving, look_up,
};
use wire::{Class, Flags, Full, Name, Rcode, Response, Type};

use metrics::{Matched, Metrics};
use recipe::{Made, name_of};
use rule::{Match, Ready, Rule, Verdict};

pub(crate) use setup::REGISTRATION;

/// All `template` directives of a block at work.
struct Templates {
    rules: Vec<Rule>,
    metrics: Metrics,
    admits: Admits,
}

/// What the rules say of a query.
enum Said<'t> {
    /// Nothing.
    Nothing,
    /// A rule refuses the name, or cannot say whether it takes it.
    Refused(Failure),
    /// A rule takes it.
    Taken(&'t Rule, Match),
}

impl Templates {
    fn new(rules: Vec<Rule>) -> Self {
        let pairs = rules.iter().map(|rule| rule.zones.len()).sum();
        let other = |rule: &Rule| !matches!(rule.class, Class::IN | Class::ANY);
        Self {
            admits: Admits {
                classes: Classes::Any,
                // A template for ANY class has no part in whether another class is served at all.
                watches: !rules.iter().any(other),
                ..Admits::QUERIES
            },
            metrics: Metrics::new(pairs),
            rules,
        }
    }

    /// The first rule that has a say in the query.
    #[inline]
    fn say(&self, query: &Query<'_>) -> Said<'_> {
        for rule in &self.rules {
            match rule.takes(query) {
                Verdict::NotMine => {}
                Verdict::NoMatch if rule.fall.through(query.qname()) => {}
                Verdict::NoMatch => return Said::Refused(no_match()),
                Verdict::Failed(failure) => return Said::Refused(failure),
                Verdict::Match(found) => return Said::Taken(rule, found),
            }
        }
        Said::Nothing
    }

    fn matched<'r>(rule: &'r Rule, found: &Match, query: &Query<'_>) -> Matched<'r> {
        Matched {
            at: rule.first + found.zone,
            zone: rule.zone_text(found),
            class: rule.class_for(query),
            rtype: rule.type_for(query),
        }
    }

    /// The records that a rule has for a query.
    fn records<'r>(
        &self,
        rule: &'r Rule,
        found: &Match,
        query: &Query<'_>,
    ) -> Result<Cow<'r, [Made]>, Failure> {
        if let Some(ready) = rule.ready(found, query) {
            return Ok(Cow::Borrowed(&ready.records));
        }
        let made = rule.make(query, found).map_err(|(failed, recipe)| {
            let matched = Self::matched(rule, found, query);
            let template = (name_of(recipe.section), &*recipe.written);
            let block = query.block().info.index;
            self.metrics
                .failed(block, matched, template, failed.evaluated);
            Failure::servfail_because(failed.why)
        });
        made.map(Cow::Owned)
    }

    /// Answers a query whose answer is an alias; what the alias leads to, the server asks itself.
    async fn chase(self: Arc<Self>, mut exchange: Box<Exchange>) -> Resolved {
        exchange.begin();
        let Some(query) = exchange.suspended_query() else {
            return (exchange, Ok(Flow::Next));
        };
        let Said::Taken(rule, found) = self.say(&query) else {
            return (exchange, Ok(Flow::Next));
        };
        let (qname, qtype) = (query.qname().clone(), query.qtype());
        let records = match self.records(rule, &found, &query) {
            Ok(records) => records,
            Err(failure) => return (exchange, Err(failure)),
        };
        let mut response = exchange.response();
        response.set_flag(Flags::AA, true);
        response.set_rcode(rule.rcode);
        for record in &*records {
            let mut response = exchange.response();
            if push(qname.name(), record, &mut response).is_err() {
                break;
            }
            if !record.is_alias() {
                continue;
            }
            let Ok(target) = Name::new(&record.rdata) else {
                continue;
            };
            // A target that nobody knows leaves the alias alone.
            if let Ok(mut answer) = look_up(&exchange, target, qtype).await {
                let _ = exchange.response().take_answers(&answer.response());
            }
        }
        exchange.context.extended.clone_from(&rule.extended);
        (exchange, Ok(Flow::Answered))
    }
}

impl Plugin for Templates {
    fn name(&self) -> &'static str {
        "template"
    }

    fn admits(&self) -> Admits {
        self.admits
    }

    fn query(&self, query: &mut Query<'_>, response: &mut Response<'_>) -> Result<Flow, Failure> {
        let (rule, found) = match self.say(query) {
            Said::Nothing => {
                query.remark(|| Remark::new("no template is for this class, type and name"));
                return Ok(Flow::Next);
            }
            Said::Refused(failure) => return Err(failure),
            Said::Taken(rule, found) => (rule, found),
        };
        let matched = Self::matched(rule, &found, query);
        query.remark(|| Remark::new("template").with("zone", matched.zone));
        let block = query.block().info.index;
        self.metrics.matched(block, query.worker(), matched);
        if rule.rcode == Rcode::SERVFAIL {
            let mut failure = Failure::policy(Rcode::SERVFAIL);
            failure.extended.clone_from(&rule.extended);
            return Err(failure);
        }
        let for_address = matches!(query.qtype(), Type::A | Type::AAAA);
        match rule.ready(&found, query) {
            Some(ready) if ready.aliases && for_address => return Ok(Flow::Suspend),
            Some(ready) => push_ready(ready, query, response),
            None => {
                let records = self.records(rule, &found, query)?;
                if for_address && records.iter().any(Made::is_alias) {
                    return Ok(Flow::Suspend);
                }
                push_all(&records, query.name(), response);
            }
        }
        response.set_flag(Flags::AA, true);
        response.set_rcode(rule.rcode);
        if let Some(extended) = &rule.extended {
            query.set_extended_error(extended.clone());
        }
        Ok(Flow::Answered)
    }

    fn resolve(self: Arc<Self>, exchange: Box<Exchange>) -> Resolving {
        Box::pin(self.chase(exchange))
    }

    fn attach(&self, block: &BlockInfo) {
        self.metrics.attach(block);
    }
}

/// A name that no expression matches, and that does not fall through.
#[cold]
fn no_match() -> Failure {
    Failure::policy(Rcode::SERVFAIL).extended(
        ExtendedError::OTHER,
        "template: no match for this name, and no fallthrough",
    )
}

/// Writes records that were made ready: at once where the question is in lower case.
#[inline]
fn push_ready(ready: &Ready, query: &Query<'_>, response: &mut Response<'_>) {
    let (octets, counts) = ready.octets();
    if query.is_rewritten()
        || !query.asked().qname.was_lower()
        || response.push_sections(octets, counts).is_err()
    {
        push_all(&ready.records, query.name(), response);
    }
}

/// Writes records one by one, as long as there is room.
#[cold]
fn push_all(records: &[Made], qname: Name<'_>, response: &mut Response<'_>) {
    for record in records {
        if push(qname, record, response).is_err() {
            return;
        }
    }
}

fn push(qname: Name<'_>, record: &Made, response: &mut Response<'_>) -> Result<(), Full> {
    let owner = record.owner.as_ref().map_or(qname, |owner| owner.as_name());
    let head = match record.fixed.0 {
        Type::CNAME | Type::NS | Type::PTR => 0,
        Type::MX => 2,
        _ => return response.push(record.section, owner, record.fixed, &record.rdata),
    };
    match record.rdata.split_at_checked(head) {
        Some((head, target)) => {
            let named = (head, Name::new(target).unwrap_or(Name::ROOT));
            response.push_named(record.section, owner, record.fixed, named)
        }
        None => response.push(record.section, owner, record.fixed, &record.rdata),
    }
}
