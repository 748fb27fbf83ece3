//! The rules, and what one of them does with a query on its way down.

use chain::{Failure, Instead, Query};
use regex::bytes::Regex;
use wire::{Class, NameBuf, NameError, Qname, Rcode, Response, Type};

use super::edns::EdnsRule;
use super::text::{self, Matcher, Subject, Template};

/// One rule.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) action: Action,
    /// Whether it is the last where it applies.
    pub(super) stop: bool,
}

/// What a rule does.
#[derive(Debug)]
pub(super) enum Action {
    /// Asks for another name.
    Name(NameRule),
    /// Asks for another type.
    Type(Type, Type),
    /// Asks in another class.
    Class(Class, Class),
    /// Asks with other options.
    Edns(EdnsRule),
    /// Brings the TTLs of the response between two bounds.
    Ttl(Matcher, u32, u32),
    /// Changes the RCODE of the response.
    Rcode(Matcher, Rcode, Rcode),
    /// Changes the target of an alias in the response.
    Cname(CnameRule),
}

/// A rule that asks for another name.
#[derive(Debug)]
pub(super) struct NameRule {
    pub(super) matcher: Matcher,
    pub(super) to: To,
    pub(super) auto: Auto,
    /// What else is done with the names of the response, in the order in which it is written.
    pub(super) answers: Vec<AnswerRule>,
}

/// The name that is asked for.
#[derive(Debug)]
pub(super) enum To {
    /// This one.
    Name(Box<Qname>),
    /// The name with what matched replaced by this text; as a whole where the rule is exact.
    Text(Box<[u8]>),
    /// What the groups of the expression make of this.
    Template(Template),
}

/// How names of the response are led back without being told.
#[derive(Debug)]
pub(super) enum Auto {
    /// Not.
    No,
    /// What was asked for, and names below it, become the name before.
    Remap,
    /// A name that ends in the first text ends in the second.
    Suffix(Box<[u8]>, Box<[u8]>),
}

/// What is done with names of the response.
#[derive(Debug)]
pub(super) enum AnswerRule {
    /// With the owners.
    Name(Substitution),
    /// With the names in RDATA.
    Value(Substitution),
}

/// A name that matches is replaced.
#[derive(Debug)]
pub(super) struct Substitution {
    pub(super) regex: Regex,
    pub(super) to: Template,
}

/// A rule that changes where an alias leads.
#[derive(Debug)]
pub(super) struct CnameRule {
    pub(super) matcher: Matcher,
    pub(super) to: To,
}

/// Room for texts, kept from query to query.
#[derive(Debug)]
pub(super) struct Texts {
    /// A name's.
    pub(super) name: Vec<u8>,
    /// That of the name which replaces it.
    pub(super) other: Vec<u8>,
}

impl To {
    /// Writes the text of the name that replaces `subject`, which `matcher` matches, into `out`.
    fn write(&self, matcher: &Matcher, subject: &mut Subject<'_>, out: &mut Vec<u8>) {
        out.clear();
        match (self, matcher) {
            (Self::Name(name), _) => text::write(name.name(), out),
            (Self::Template(template), Matcher::Regex(regex)) => {
                template.expand(regex, subject.text(), out);
            }
            (Self::Template(_), _) => {}
            (Self::Text(to), Matcher::Prefix(prefix)) => {
                out.extend_from_slice(to);
                out.extend_from_slice(subject.text().get(prefix.len()..).unwrap_or_default());
            }
            (Self::Text(to), Matcher::Suffix(suffix)) => {
                let text = subject.text();
                let kept = text.len().saturating_sub(suffix.len());
                out.extend_from_slice(&text[..kept]);
                out.extend_from_slice(to);
            }
            (Self::Text(to), Matcher::Substring(part)) => {
                text::replace_all(subject.text(), part, to, out);
            }
            (Self::Text(to), _) => out.extend_from_slice(to),
        }
    }

    /// The name that replaces `subject`, which `matcher` matches.
    pub(super) fn name(
        &self,
        matcher: &Matcher,
        subject: &mut Subject<'_>,
        out: &mut Vec<u8>,
    ) -> Result<NameBuf, NameError> {
        if let Self::Name(name) = self {
            return Ok(NameBuf::from_name(name.name()));
        }
        self.write(matcher, subject, out);
        text::read(out).map(NameBuf::to_lower)
    }
}

impl Rule {
    /// The two names of a rule that leads from one to the other.
    #[inline]
    pub(super) fn exact(&self) -> Option<(&Qname, &Qname)> {
        match &self.action {
            Action::Name(NameRule {
                matcher: Matcher::Exact(from),
                to: To::Name(to),
                ..
            }) => Some((from, to)),
            _ => None,
        }
    }

    /// Whether it is for a name, as far as names say so: what types, classes and options say is not known on the way up, and of no
    /// account there.
    pub(super) fn is_for(&self, subject: &mut Subject<'_>) -> bool {
        match &self.action {
            Action::Name(NameRule { matcher, .. })
            | Action::Ttl(matcher, ..)
            | Action::Rcode(matcher, ..) => matcher.matches(subject),
            Action::Cname(_) | Action::Edns(_) => true,
            Action::Type(..) | Action::Class(..) => false,
        }
    }

    /// Whether it applies to every query.
    pub(super) fn is_certain(&self) -> bool {
        match &self.action {
            Action::Cname(_) => true,
            Action::Edns(rule) => rule.is_certain(),
            Action::Name(NameRule { matcher, .. })
            | Action::Ttl(matcher, ..)
            | Action::Rcode(matcher, ..) => match matcher {
                Matcher::Regex(regex) => {
                    matches!(regex.as_str(), ".*" | "(.*)" | "^.*$" | "^(.*)$")
                }
                Matcher::Suffix(text) | Matcher::Substring(text) => **text == *b".",
                _ => false,
            },
            Action::Type(..) | Action::Class(..) => false,
        }
    }

    /// Applies it to the query; whether it applied. `ready` says whether `texts` has QNAME as it stands.
    ///
    /// # Errors
    /// SERVFAIL where the new name is none.
    #[inline]
    pub(super) fn apply(
        &self,
        query: &mut Query<'_>,
        response: &mut Response<'_>,
        texts: &mut Texts,
        ready: &mut bool,
    ) -> Result<bool, Failure> {
        let mut subject = Subject {
            qname: query.qname(),
            text: &mut texts.name,
            ready: *ready,
        };
        match &self.action {
            Action::Name(rule) => {
                let matched = rule.matcher.matches(&mut subject);
                *ready = subject.ready;
                if !matched {
                    return Ok(false);
                }
                if let To::Name(name) = &rule.to {
                    ask_for(query, response, name);
                } else {
                    let name = rule.to.name(&rule.matcher, &mut subject, &mut texts.other);
                    let Ok(name) = name else {
                        query.start_over(response);
                        let text = String::from_utf8_lossy(&texts.other);
                        let cause = format!("invalid name after rewrite: {text}");
                        return Err(Failure::servfail_because(cause));
                    };
                    ask_for(query, response, &Qname::from(name.as_name()));
                }
                *ready = false;
                Ok(true)
            }
            Action::Ttl(matcher, ..) | Action::Rcode(matcher, ..) => {
                let matched = matcher.matches(&mut subject);
                *ready = subject.ready;
                Ok(matched)
            }
            Action::Cname(_) => Ok(true),
            Action::Type(from, to) => {
                let matched = query.qtype() == *from;
                if matched {
                    let instead = Instead {
                        qtype: Some(*to),
                        ..Instead::default()
                    };
                    query.rewrite(response, instead);
                }
                Ok(matched)
            }
            Action::Class(from, to) => {
                let matched = query.qclass() == *from;
                if matched {
                    let instead = Instead {
                        qclass: Some(*to),
                        ..Instead::default()
                    };
                    query.rewrite(response, instead);
                }
                Ok(matched)
            }
            Action::Edns(rule) => {
                let mut opt = opt_of(query);
                let before = opt.clone();
                let applied = rule.apply(query, &mut opt);
                // What the upstream says of the option is told, even where the client had asked the same.
                let names = |opt: &wire::Opt| opt.get(rule.code).is_some();
                if opt != before || applied && opt.as_ref().is_some_and(names) {
                    let instead = Instead {
                        opt,
                        ..Instead::default()
                    };
                    query.rewrite(response, instead);
                }
                Ok(applied)
            }
        }
    }
}

/// Asks for `name` from here on.
#[inline]
pub(super) fn ask_for(query: &mut Query<'_>, response: &mut Response<'_>, name: &Qname) {
    let instead = Instead {
        qname: Some(name),
        ..Instead::default()
    };
    query.rewrite(response, instead);
}

/// The OPT record that goes upstream as it stands.
fn opt_of(query: &Query<'_>) -> Option<wire::Opt> {
    match query.rewritten_opt() {
        Some(opt) => Some(opt.clone()),
        None => client_opt(query),
    }
}

/// The OPT record that the client sent.
pub(super) fn client_opt(query: &Query<'_>) -> Option<wire::Opt> {
    query
        .edns()
        .map(|edns| wire::Opt::of(edns, query.message()))
}
