//! The way up: the client's question comes back, and the rules that applied do with the response what they say, the last first.

use chain::{ExtendedError, Failure, Query};
use wire::reencode::{Edit, Place, ReencodeError, Role};
use wire::{
    EdnsOption, HEADER_LEN, Name, NameBuf, NameError, Opt, Qname, Record, Response, Section, Type,
};

use super::edns;
use super::rule::{Action, AnswerRule, Auto, NameRule, Rule, Texts, client_opt};
use super::text::{self, Subject};

/// A rule that applied.
pub(super) struct Applied<'a> {
    rule: &'a Rule,
    /// The names before and after it.
    names: (NameBuf, NameBuf),
}

/// Of `rules`, each with whether it is known to have applied, those that did, with the names between which each led. The others are tried
/// again, on the names that they were tried on.
pub(super) fn applied<'a>(
    rules: impl Iterator<Item = (&'a Rule, bool)>,
    query: &Query<'_>,
    texts: &mut Texts,
) -> Vec<Applied<'a>> {
    let mut here = NameBuf::from_name(query.asked().qname.name());
    let mut out = Vec::new();
    for (rule, is_known) in rules {
        let (before, qname) = (here, Qname::from(here.as_name()));
        let mut subject = Subject {
            qname: &qname,
            text: &mut texts.name,
            ready: false,
        };
        if !is_known && !rule.is_for(&mut subject) {
            continue;
        }
        if let Action::Name(name) = &rule.action
            // It was a name on the way down.
            && let Ok(after) = name.to.name(&name.matcher, &mut subject, &mut texts.other)
        {
            here = after;
        }
        out.push(Applied {
            rule,
            names: (before, here),
        });
        if !is_known && rule.stop {
            break;
        }
    }
    out
}

/// Puts the client's question back into the response and does what the rules say.
pub(super) fn restore(
    applied: &[Applied<'_>],
    supported: &[u16],
    query: &mut Query<'_>,
    response: &mut Response<'_>,
    (texts, scratch): (&mut Texts, &mut Vec<u8>),
) {
    change_rcode(applied, response);
    change_ttls(applied, response);
    change_opt(applied, supported, query);
    if !query.is_rewritten() || may_move(applied, query, response) && query.restore(response) {
        return;
    }
    let asked = NameBuf::read(query.message(), HEADER_LEN);
    let mut names = Names {
        applied,
        asked: asked.map_or(NameBuf::root(), |(name, _)| name),
        place: 0,
        texts,
    };
    if let Err(why) = query.restore_by(response, scratch, &mut names) {
        query.fail(response, unrestored(&why));
    }
}

/// The failure of a response that cannot be given the client's names.
#[cold]
pub(super) fn unrestored(why: &ReencodeError) -> Failure {
    let (code, text) = match why {
        ReencodeError::Name(_) => (
            ExtendedError::OTHER,
            "a rewrite of the response makes an invalid name",
        ),
        _ => (
            ExtendedError::INVALID_DATA,
            "the response cannot be rewritten",
        ),
    };
    Failure::servfail_because(format!("{text}: {why}")).extended(code, text)
}

/// Applies the rules about the RCODE.
fn change_rcode(applied: &[Applied<'_>], response: &mut Response<'_>) {
    for one in applied.iter().rev() {
        if let Action::Rcode(_, from, to) = one.rule.action
            && response.rcode() == from
        {
            response.set_rcode(to);
        }
    }
}

/// Applies the rules about TTLs.
fn change_ttls(applied: &[Applied<'_>], response: &mut Response<'_>) {
    let bounds = |one: &Applied<'_>| match one.rule.action {
        Action::Ttl(_, least, most) => Some((least, most)),
        _ => None,
    };
    if applied.iter().any(|one| bounds(one).is_some()) {
        response.change_ttls(|ttl| {
            let bounds = applied.iter().rev().filter_map(bounds);
            bounds.fold(ttl, |ttl, (least, most)| ttl.min(most).max(least))
        });
    }
}

/// Says what OPT record the response has, where the rules changed that of the query.
///
/// What an upstream says of its options is told as CoreDNS tells it, apart from those that concern one hop; where nobody was asked, the
/// query's own options are told, as far as rules name them or they are local ones.
fn change_opt(applied: &[Applied<'_>], supported: &[u16], query: &mut Query<'_>) {
    let Some(sent) = query.rewritten_opt().cloned() else {
        return;
    };
    let received = query.take_reply_opt();
    let mut told = Opt::new(sent.udp_size);
    let options = received
        .as_ref()
        .map_or(sent.options(), |opt| opt.options());
    for option in options {
        let tells = match (option.code, received.is_some()) {
            (
                EdnsOption::COOKIE
                | EdnsOption::TCP_KEEPALIVE
                | EdnsOption::PADDING
                | EdnsOption::EXTENDED_ERROR,
                _,
            ) => false,
            (_, true) => true,
            (code, false) => EdnsOption::LOCAL.contains(&code) || supported.contains(&code),
        };
        if tells {
            // It was in a message, so it has room in one.
            let _ = told.append(option);
        }
    }
    let rules = applied.iter().filter_map(|one| match &one.rule.action {
        Action::Edns(rule) => Some(rule),
        _ => None,
    });
    edns::revert(rules, query, client_opt(query), &mut told);
    if query.edns().is_some() || !told.is_empty() {
        query.set_reply_opt(Box::new(told));
    }
}

/// Whether names need no more than that the question's becomes the client's.
fn may_move(applied: &[Applied<'_>], query: &Query<'_>, response: &Response<'_>) -> bool {
    let named = |one: &&Applied<'_>| matches!(one.rule.action, Action::Name(_));
    let mut named = applied.iter().filter(named);
    let (one, more) = (named.next(), named.next());
    let Some(Action::Name(rule)) = one.map(|one| &one.rule.action) else {
        return true;
    };
    if more.is_some() || !rule.answers.is_empty() {
        return false;
    }
    match &rule.auto {
        Auto::Remap => true,
        Auto::No => query.name() == query.asked().qname.name(),
        Auto::Suffix(..) => response.is_about_question(),
    }
}

/// The names of a response, as the rules have them.
struct Names<'a, 'r> {
    applied: &'a [Applied<'r>],
    /// QNAME as the client spelled it.
    asked: NameBuf,
    /// How many names of the record have been seen.
    place: usize,
    texts: &'a mut Texts,
}

impl Edit for Names<'_, '_> {
    fn name(&mut self, place: Place, name: Name<'_>) -> Result<Option<NameBuf>, NameError> {
        self.place = match place.role {
            Role::Owner => 0,
            Role::Rdata => self.place + 1,
        };
        let is_owner = place.role == Role::Owner;
        if !is_owner && !is_value(place.rtype, self.place) {
            return Ok(None);
        }
        let mut here = NameBuf::from_name(name);
        let mut changed = false;
        for one in self.applied.iter().rev() {
            if let Action::Name(rule) = &one.rule.action {
                changed |= lead_back(rule, &one.names, is_owner, &mut here, self.texts)?;
            }
        }
        if changed && here == self.asked {
            here = self.asked;
        }
        Ok(changed.then_some(here))
    }
}

/// Whether the name at this place in the RDATA of a type is one that rules change: CoreDNS's list.
fn is_value(rtype: Type, place: usize) -> bool {
    place == 1
        && matches!(
            rtype,
            Type::SRV
                | Type::MX
                | Type::CNAME
                | Type::NS
                | Type::DNAME
                | Type::NAPTR
                | Type::SOA
                | Type::PTR
        )
}

/// Does with one name what one rule says; whether it is another afterwards.
fn lead_back(
    rule: &NameRule,
    (before, after): &(NameBuf, NameBuf),
    is_owner: bool,
    here: &mut NameBuf,
    texts: &mut Texts,
) -> Result<bool, NameError> {
    let mut changed = false;
    for answer in rule.answers.iter().rev() {
        let substitution = match answer {
            AnswerRule::Name(substitution) if is_owner => substitution,
            AnswerRule::Value(substitution) if !is_owner => substitution,
            _ => continue,
        };
        text::write(here.as_name(), &mut texts.name);
        texts.other.clear();
        let found = substitution
            .to
            .expand(&substitution.regex, &texts.name, &mut texts.other);
        if found {
            *here = text::read(&texts.other)?;
            changed = true;
        }
    }
    match &rule.auto {
        Auto::No => {}
        Auto::Remap if after.as_name().is_root() => {
            if here.as_name().is_root() {
                *here = *before;
                changed = true;
            }
        }
        Auto::Remap => {
            let mapped = NameBuf::substitute(here.as_name(), after.as_name(), before.as_name());
            if let Some(mapped) = mapped {
                *here = mapped?;
                changed = true;
            }
        }
        Auto::Suffix(from, to) => {
            text::write(here.as_name(), &mut texts.name);
            let kept = texts.name.len().saturating_sub(from.len());
            if texts.name[kept..].eq_ignore_ascii_case(from) {
                texts.name.truncate(kept);
                texts.name.extend_from_slice(to);
                *here = text::read(&texts.name)?;
                changed = true;
            }
        }
    }
    Ok(changed)
}

/// The alias in the answer section whose target a rule changes: its place among the answers, and the new target.
pub(super) fn alias<'a>(
    rules: impl DoubleEndedIterator<Item = (&'a Rule, bool)> + Clone,
    response: &Response<'_>,
    texts: &mut Texts,
) -> Option<(usize, NameBuf)> {
    let answers = response
        .records()
        .map_while(Result::ok)
        .take_while(|record| record.section == Section::Answer);
    for (at, record) in answers.enumerate() {
        if record.rtype != Type::CNAME {
            continue;
        }
        let mut target = record.rdata_name(0).ok()?.to_lower();
        let mut changed = false;
        for (rule, _) in rules.clone().rev() {
            let Action::Cname(rule) = &rule.action else {
                continue;
            };
            let qname = Qname::from(target.as_name());
            let mut subject = Subject {
                qname: &qname,
                text: &mut texts.name,
                ready: false,
            };
            if rule.matcher.matches(&mut subject)
                && let Ok(name) = rule.to.name(&rule.matcher, &mut subject, &mut texts.other)
            {
                target = name;
                changed = true;
            }
        }
        if changed {
            return Some((at, target));
        }
    }
    None
}

/// Keeps the aliases down to one, whose target becomes another.
pub(super) struct Aliases {
    /// How many answers come before it.
    pub(super) left: usize,
    pub(super) target: NameBuf,
    /// Whether it has been seen, so that nothing follows.
    pub(super) done: bool,
}

impl Edit for Aliases {
    fn keep(&mut self, record: &Record<'_>) -> Option<u32> {
        if self.done {
            return None;
        }
        match self.left.checked_sub(1) {
            Some(left) => self.left = left,
            None => self.done = true,
        }
        (record.rtype == Type::CNAME).then_some(record.ttl)
    }

    fn name(&mut self, place: Place, _: Name<'_>) -> Result<Option<NameBuf>, NameError> {
        Ok((self.done && place.role == Role::Rdata).then_some(self.target))
    }
}
