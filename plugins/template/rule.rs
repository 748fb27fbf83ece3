//! One `template` directive at work: which queries it takes, and the records that it makes for them.

use std::borrow::Cow;

use chain::expression::{self, Expression, Function, Kind};
use chain::pattern::Pattern;
use chain::{ExtendedError, Failure, Fallthrough, Query};
use wire::{Class, NameBuf, Rcode, Section, Type};

use super::data::{Asked, Data, Groups, presentation};
use super::engine::{List, Value};
use super::recipe::{Failed, Made, Recipe};
use super::sample;

/// The octets that a name has in presentation format at most: every octet as `\DDD`, and a dot for each label.
const LONGEST_NAME: usize = 4 * wire::MAX_NAME;

/// One directive.
pub(super) struct Rule {
    /// The class that it is for; ANY is every class.
    pub(super) class: Class,
    /// The type that it is for; ANY is every type.
    pub(super) rtype: Type,
    /// Its zones, in lower case and as text.
    pub(super) zones: Vec<(NameBuf, Box<str>)>,
    /// The expressions of which one has to match; none match every name.
    pub(super) patterns: Vec<Pattern>,
    /// What `var` says, in order; an expression may name the variables before it.
    pub(super) variables: Vec<(Box<str>, Expression)>,
    /// What `expr` says; all of it has to be true.
    pub(super) conditions: Vec<Expression>,
    /// The records, in the order in which they are made: answers, additional records, authorities.
    pub(super) recipes: Vec<Recipe>,
    /// The RCODE.
    pub(super) rcode: Rcode,
    /// What clients that understand extended errors are told.
    pub(super) extended: Option<ExtendedError>,
    /// Which names go on where no expression matches.
    pub(super) fall: Fallthrough,
    /// By zone: all records, where they are always the same.
    pub(super) ready: Vec<Option<Ready>>,
    /// The number of its first zone among the zones of all rules.
    pub(super) first: usize,
}

/// Records that are always the same.
pub(super) struct Ready {
    /// The records one by one, in the order of sections.
    pub(super) records: Vec<Made>,
    /// The same in wire form, for a QNAME in lower case.
    octets: Vec<u8>,
    counts: [u16; 3],
    /// Whether an answer is an alias.
    pub(super) aliases: bool,
}

/// Whether a rule takes a query.
pub(super) enum Verdict {
    /// It has no say in it.
    NotMine,
    /// No expression matches the name, or a condition is false.
    NoMatch,
    /// An expression of `var` or `expr` has no value.
    Failed(Failure),
    /// It takes it.
    Match(Match),
}

/// Which of its zones encloses the name, and which of its expressions matched.
pub(super) struct Match {
    pub(super) zone: usize,
    pattern: Option<usize>,
    /// The values of the rule's variables.
    variables: Vec<expression::Value<'static>>,
}

/// The function that expressions have here beside those of all expressions: what a group of the regular expression matched.
pub(super) const GROUP: Function<'static> = Function {
    name: "group",
    parameters: &[Kind::Any],
    result: Kind::Text,
};

/// What the names of a rule's expressions stand for.
struct Values<'v> {
    data: &'v Data<'v>,
    variables: &'v [expression::Value<'static>],
}

impl expression::Values for Values<'_> {
    fn variable(&self, number: usize) -> expression::Value<'_> {
        let value = self.variables.get(number);
        value.map_or(expression::Value::Nil, expression::Value::borrowed)
    }

    fn call<'v>(
        &'v self,
        _: usize,
        arguments: &[expression::Value<'v>],
    ) -> Result<expression::Value<'v>, expression::Error> {
        let group = match arguments {
            [expression::Value::Int(at)] => self.data.group(&at.to_string()),
            [expression::Value::Text(name)] => self.data.group(name),
            _ => None,
        };
        Ok(expression::Value::text(group.unwrap_or_default()))
    }
}

/// A value of an expression as templates have it.
fn value_of(value: &expression::Value<'static>) -> Value<'static> {
    match value {
        expression::Value::Nil => Value::None,
        expression::Value::Bool(value) => Value::Bool(*value),
        expression::Value::Int(value) => Value::Int(*value),
        expression::Value::Float(value) => Value::Float(*value),
        expression::Value::Text(text) => Value::owned(text.as_bytes()),
        expression::Value::List(values) => {
            let values = values.iter().map(value_of).collect();
            Value::List(List::new("[]interface {}", values))
        }
        expression::Value::Map(entries) => {
            let entry =
                |(key, value): &(Cow<'static, str>, _)| (Box::from(&**key), value_of(value));
            let mut entries: Vec<_> = entries.iter().map(entry).collect();
            entries.sort_by(|(one, _): &(Box<str>, _), (other, _)| one.cmp(other));
            Value::Map(entries.into())
        }
    }
}

/// A name as text, on the stack.
struct NameText {
    octets: [u8; LONGEST_NAME],
    len: usize,
}

impl NameText {
    fn of(query: &Query<'_>) -> Self {
        let mut text = Self {
            octets: [0; LONGEST_NAME],
            len: 0,
        };
        for label in query.name().labels() {
            let plain = |octet: &u8| matches!(octet, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
            if label.iter().all(plain) {
                text.push(label);
            } else {
                text.push_escaped(label);
            }
            text.push(b".");
        }
        if text.len == 0 {
            text.push(b".");
        }
        text
    }

    fn push(&mut self, octets: &[u8]) {
        if let Some(room) = self.octets.get_mut(self.len..self.len + octets.len()) {
            room.copy_from_slice(octets);
            self.len += octets.len();
        }
    }

    #[cold]
    fn push_escaped(&mut self, label: &[u8]) {
        if let Ok(name) = NameBuf::prepend(label, wire::Name::ROOT) {
            let text = presentation(name.as_name());
            // Without the dot behind the label; it may have one of its own.
            self.push(text.strip_suffix('.').unwrap_or(&text).as_bytes());
        }
    }

    fn as_str(&self) -> &str {
        let octets = self.octets.get(..self.len).unwrap_or_default();
        std::str::from_utf8(octets).unwrap_or_default()
    }
}

impl Rule {
    /// Whether the rule takes this query.
    #[inline]
    pub(super) fn takes(&self, query: &Query<'_>) -> Verdict {
        let (qtype, qclass) = (query.qtype(), query.qclass());
        let fits = (self.rtype == qtype || self.rtype == Type::ANY || qtype == Type::ANY)
            && (self.class == qclass || self.class == Class::ANY || qclass == Class::ANY);
        if !fits {
            return Verdict::NotMine;
        }
        let Some(zone) = self.zone_of(query) else {
            return Verdict::NotMine;
        };
        let pattern = match self.patterns.as_slice() {
            [] => None,
            patterns => {
                let name = NameText::of(query);
                let name = name.as_str();
                match patterns.iter().position(|pattern| pattern.is_match(name)) {
                    Some(at) => Some(at),
                    None => return Verdict::NoMatch,
                }
            }
        };
        let mut found = Match {
            zone,
            pattern,
            variables: Vec::new(),
        };
        if self.variables.is_empty() && self.conditions.is_empty() {
            return Verdict::Match(found);
        }
        match self.holds(query, &mut found) {
            Ok(true) => Verdict::Match(found),
            Ok(false) => Verdict::NoMatch,
            Err(failure) => Verdict::Failed(failure),
        }
    }

    /// Gives the variables their values, and says whether all conditions hold.
    fn holds(&self, query: &Query<'_>, found: &mut Match) -> Result<bool, Failure> {
        let name = presentation(query.name());
        let mut variables = Vec::with_capacity(self.variables.len());
        let data = self.data(query, found, (&name, &|_| String::new()));
        let failed = |what: &str, error: expression::Error| {
            Failure::servfail_because(format!("template: {what}: {error}"))
        };
        for (name, expression) in &self.variables {
            let values = Values {
                data: &data,
                variables: &variables,
            };
            let value = expression.evaluate(query, &values);
            variables.push(value.map_err(|error| failed(&format!("var {name}"), error))?);
        }
        let values = Values {
            data: &data,
            variables: &variables,
        };
        let mut holds = true;
        for condition in &self.conditions {
            let is_true = condition.is_true(query, &values);
            if !is_true.map_err(|error| failed("expr", error))? {
                holds = false;
                break;
            }
        }
        found.variables = variables;
        Ok(holds)
    }

    /// The zone that encloses QNAME most closely.
    #[inline]
    fn zone_of(&self, query: &Query<'_>) -> Option<usize> {
        let qname = query.qname();
        let mut found: Option<(usize, usize)> = None;
        for (at, (zone, _)) in self.zones.iter().enumerate() {
            let zone = zone.as_name();
            let len = zone.octets().len();
            if found.is_none_or(|(_, longest)| len > longest)
                && (zone.is_root() || qname.is_within(zone))
            {
                found = Some((at, len));
            }
        }
        found.map(|(at, _)| at)
    }

    /// The zone of a match, as text.
    pub(super) fn zone_text(&self, found: &Match) -> &str {
        self.zones.get(found.zone).map_or("", |(_, text)| text)
    }

    /// The type that a query's records are for: its own, or the rule's where it asks for any.
    pub(super) fn type_for(&self, query: &Query<'_>) -> Type {
        match query.qtype() {
            Type::ANY => self.rtype,
            rtype => rtype,
        }
    }

    /// The same for the class.
    pub(super) fn class_for(&self, query: &Query<'_>) -> Class {
        match query.qclass() {
            Class::ANY => self.class,
            class => class,
        }
    }

    /// The records that were made ready, if they were.
    #[inline]
    pub(super) fn ready(&self, found: &Match, query: &Query<'_>) -> Option<&Ready> {
        if query.qclass() != Class::IN {
            return None;
        }
        self.ready.get(found.zone)?.as_ref()
    }

    /// Makes ready what is always the same, once the recipes and the zones stand.
    pub(super) fn make_ready(&mut self) {
        let ready = self.zones.iter().map(|(_, zone)| self.ready_in(zone));
        self.ready = ready.collect();
    }

    fn ready_in(&self, zone: &str) -> Option<Ready> {
        if !matches!(self.class, Class::IN | Class::ANY) {
            return None;
        }
        let mut records = Vec::new();
        for recipe in &self.recipes {
            records.extend(recipe.constant(zone, self.rtype)?);
        }
        Some(Ready::new(records))
    }

    /// Makes the records for a query; a failure with the recipe that failed.
    pub(super) fn make(
        &self,
        query: &Query<'_>,
        found: &Match,
    ) -> Result<Vec<Made>, (Failed, &Recipe)> {
        let name = presentation(query.name());
        let metadata = |label: &str| {
            let mut value = String::new();
            query.label(label, &mut value);
            value
        };
        let data = self.data(query, found, (&name, &metadata));
        let mut records = Vec::with_capacity(self.recipes.len());
        for recipe in &self.recipes {
            records.extend(recipe.make(&data).map_err(|failed| (failed, recipe))?);
        }
        // They are made in another order than they stand in.
        records.sort_by_key(|record| record.section as u8);
        Ok(records)
    }

    /// What the templates see of a query.
    fn data<'d>(
        &'d self,
        query: &'d Query<'_>,
        found: &Match,
        (name, metadata): (&'d str, &'d dyn Fn(&str) -> String),
    ) -> Data<'d> {
        let pattern = found.pattern.and_then(|at| self.patterns.get(at));
        let groups = match pattern {
            Some(pattern) => sample::groups(pattern, name),
            // `.*` matches all of a name.
            None => Groups {
                names: &[],
                places: vec![Some((0, name.len()))],
            },
        };
        Data {
            zone: self.zone_text(found),
            name,
            regex: pattern.map_or(".*", Pattern::text),
            class: self.class_for(query).to_string().into(),
            rtype: self.type_for(query).to_string().into(),
            groups,
            asked: Asked {
                message: query.message(),
                rewritten: query.is_rewritten().then(|| query.name()),
                id: query.asked().id,
                flags: query.flags(),
                qtype: query.qtype(),
                qclass: query.qclass(),
                edns: query.edns().copied(),
                peer: query.peer().ip(),
            },
            variables: {
                let names = self.variables.iter().map(|(name, _)| &**name);
                names.zip(found.variables.iter().map(value_of)).collect()
            },
            metadata,
        }
    }
}

impl Ready {
    fn new(mut records: Vec<Made>) -> Self {
        records.sort_by_key(|record| record.section as u8);
        let mut octets = Vec::new();
        let mut counts = [0; 3];
        for record in &records {
            match &record.owner {
                // The pointer to QNAME, which stands behind the header.
                None => octets.extend_from_slice(&[0xC0, 0x0C]),
                Some(owner) => octets.extend_from_slice(owner.as_name().octets()),
            }
            let (rtype, class, ttl) = record.fixed;
            octets.extend_from_slice(&rtype.0.to_be_bytes());
            octets.extend_from_slice(&class.0.to_be_bytes());
            octets.extend_from_slice(&ttl.to_be_bytes());
            octets.extend_from_slice(&(record.rdata.len() as u16).to_be_bytes());
            octets.extend_from_slice(&record.rdata);
            counts[record.section as usize] += 1;
        }
        Self {
            aliases: records.iter().any(Made::is_alias),
            records,
            octets,
            counts,
        }
    }

    /// All records in wire form, and how many of them each section has.
    #[inline]
    pub(super) fn octets(&self) -> (&[u8], [u16; 3]) {
        (&self.octets, self.counts)
    }
}

impl Made {
    /// Whether it is an answer that leads to another name.
    pub(super) fn is_alias(&self) -> bool {
        self.section == Section::Answer && self.fixed.0 == Type::CNAME
    }
}
