//! `acl`: who may ask for what.
//!
//! ```text
//! load    policies of a rule, in order ──► for each kind of type one table: addresses, cut into ranges, and what the first policy says
//! query   rules whose zone encloses the name ──► table of the type ──► range of the client ──► allow, block, filter, drop
//! ```
//!
//! What a query costs is a search by halves among the ranges, however many networks and policies there are. Where a plugin above has
//! rewritten the question, it is judged twice, as the client asked it and as it will be answered, and has to be allowed both times:
//! neither a rewrite into a protected zone nor one out of it gets around a rule.

mod rules;
mod setup;
#[cfg(test)]
mod tests;

use chain::trace::Remark;
use chain::{Admits, BlockInfo, ExtendedError, Failure, Flow, Plugin, Query};
use telemetry::metrics::{Striped, family};
use telemetry::traffic::Grow;
use wire::{Qname, Rcode, Response, Type};

use rules::{Action, Rule};
pub(crate) use setup::REGISTRATION;

/// The rules of one server block, in file order.
struct Acl {
    rules: Box<[Rule]>,
    metrics: Grow<Metrics>,
}

/// The counters of one listener and zone.
struct Metrics {
    allowed: Striped,
    /// For each rule and each of its zones, in their order.
    denied: Box<[Box<[Denied]>]>,
}

/// The counters of one zone of a rule.
struct Denied {
    blocked: Striped,
    filtered: Striped,
    dropped: Striped,
}

/// What became of a question.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdict {
    /// No rule is about its zone.
    Unconcerned,
    /// A rule is about its zone; it is allowed.
    Allowed,
    /// It is denied so, by the rule and the zone of these numbers.
    Denied(Action, (u32, u32)),
}

impl Acl {
    fn new(rules: Vec<Rule>) -> Self {
        Self {
            rules: rules.into(),
            metrics: Grow::default(),
        }
    }

    /// What the rules say of one question of the client.
    #[inline]
    fn judge(&self, name: &Qname, qtype: Type, query: &Query<'_>) -> Verdict {
        let mut verdict = Verdict::Unconcerned;
        for (number, rule) in (0..).zip(&self.rules) {
            let Some(zone) = rule.zone(name) else {
                continue;
            };
            match rule.action(qtype, query.peer().ip()) {
                None => verdict = Verdict::Allowed,
                // What one rule allows no later one denies.
                Some(Action::Allow) => return Verdict::Allowed,
                Some(action) => return Verdict::Denied(action, (number, zone)),
            }
        }
        verdict
    }

    /// What the rules say of a query: of the question that was asked, and of the one that is answered.
    #[inline]
    fn judge_both(&self, query: &Query<'_>) -> Verdict {
        let asked = query.asked();
        let verdict = self.judge(&asked.qname, asked.qtype, query);
        if !query.is_rewritten() || matches!(verdict, Verdict::Denied(..)) {
            return verdict;
        }
        match self.judge(query.qname(), query.qtype(), query) {
            Verdict::Unconcerned => verdict,
            rewritten => rewritten,
        }
    }
}

impl Acl {
    /// What became of a question, for who watches it.
    #[cold]
    fn describe(&self, verdict: Verdict) -> Remark {
        match verdict {
            Verdict::Unconcerned => Remark::new("no rule is about the name"),
            Verdict::Allowed => Remark::new("allowed"),
            Verdict::Denied(action, (rule, zone)) => {
                let zone_name = self
                    .rules
                    .get(rule as usize)
                    .and_then(|rule| rule.zone_names().nth(zone as usize));
                Remark::new(action.name())
                    .with("rule", rule + 1)
                    .with("zone", zone_name.unwrap_or_default())
            }
        }
    }
}

impl Plugin for Acl {
    fn name(&self) -> &'static str {
        "acl"
    }

    fn admits(&self) -> Admits {
        Admits::WATCHED
    }

    fn query(&self, query: &mut Query<'_>, response: &mut Response<'_>) -> Result<Flow, Failure> {
        let verdict = self.judge_both(query);
        query.remark(|| self.describe(verdict));
        if verdict != Verdict::Unconcerned {
            query.judge_client();
        }
        let metrics = self.metrics.get(query.block().info.index);
        let Verdict::Denied(action, place) = verdict else {
            if let Some(metrics) = metrics {
                metrics.allowed.inc(query.worker());
            }
            return Ok(Flow::Next);
        };
        if let Some(metrics) = metrics {
            metrics.deny(action, place, query.worker());
        }
        Ok(match action {
            Action::Drop => Flow::Silent,
            Action::Filter => {
                query.set_extended_error(ExtendedError::new(ExtendedError::FILTERED, ""));
                Flow::Answered
            }
            Action::Block | Action::Allow => {
                response.set_rcode(Rcode::REFUSED);
                query.set_extended_error(ExtendedError::new(ExtendedError::BLOCKED, ""));
                Flow::Answered
            }
        })
    }

    fn attach(&self, block: &BlockInfo) {
        self.metrics
            .get_or_init(block.index, || Metrics::new(block, &self.rules));
    }
}

impl Metrics {
    fn new(info: &BlockInfo, rules: &[Rule]) -> Self {
        let labels = |zone: Option<&str>| {
            let mut labels = vec![("server", info.server.to_string())];
            labels.extend(zone.map(|zone| ("zone", zone.to_owned())));
            labels.push(("view", info.view.to_string()));
            labels
        };
        let counter = |name, help, zone: Option<&str>| {
            family::<Vec<(&'static str, String)>, Striped>(name, help)
                .get_or_create_owned(&labels(zone))
        };
        let denied = |zone: &str| Denied {
            blocked: counter(
                "coredns_acl_blocked_requests",
                "Counter of DNS requests being blocked.",
                Some(zone),
            ),
            filtered: counter(
                "coredns_acl_filtered_requests",
                "Counter of DNS requests being filtered.",
                Some(zone),
            ),
            dropped: counter(
                "coredns_acl_dropped_requests",
                "Counter of DNS requests being dropped.",
                Some(zone),
            ),
        };
        Self {
            allowed: counter(
                "coredns_acl_allowed_requests",
                "Counter of DNS requests being allowed.",
                None,
            ),
            denied: rules
                .iter()
                .map(|rule| rule.zone_names().map(denied).collect())
                .collect(),
        }
    }

    fn deny(&self, action: Action, (rule, zone): (u32, u32), worker: usize) {
        let Some(denied) = self
            .denied
            .get(rule as usize)
            .and_then(|zones| zones.get(zone as usize))
        else {
            return;
        };
        match action {
            Action::Filter => denied.filtered.inc(worker),
            Action::Drop => denied.dropped.inc(worker),
            Action::Block | Action::Allow => denied.blocked.inc(worker),
        }
    }
}
