//! What an expression's tree is for one query.
//!
//! Texts of the query are composed on the stack, once each; constants are borrowed. A usual test, such as `incidr(client_ip(),
//! '192.0.2.0/24')` or `type() in ['A', 'AAAA'] && name() endsWith '.example.org.'`, allocates nothing.

use std::cell::{Cell, OnceCell};
use std::cmp::Ordering;
use std::fmt::{self, Write};
use std::net::IpAddr;

use ipnet::IpNet;

use super::builtin::Each;
use super::node::{Node, Operator};
use super::{Error, Kind, MOST_STEPS, Value, Values};
use crate::pattern::Pattern;
use crate::query::Query;

/// A network.
pub(super) type Prefix = IpNet;
/// The longest text that is made of others, in octets.
const LONGEST_TEXT: usize = 65_536;
/// The most values that a range has.
const LONGEST_RANGE: i64 = 65_536;

/// What a step costs. A value of a list and 16 octets of text cost one each, however often they are copied.
const STEP: u32 = 16;
/// The steps that compiling a pattern of `matches` costs where it is not constant.
const COMPILING: u32 = 500;

/// What an expression may ask of a query.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Field {
    Bufsize,
    Class,
    ClientIp,
    Do,
    Id,
    Name,
    Opcode,
    Port,
    Proto,
    ServerIp,
    ServerPort,
    Size,
    Type,
}

impl Field {
    /// All of them, as they are called.
    pub(super) const NAMES: [(&'static str, Self); 13] = [
        ("bufsize", Self::Bufsize),
        ("class", Self::Class),
        ("client_ip", Self::ClientIp),
        ("do", Self::Do),
        ("id", Self::Id),
        ("name", Self::Name),
        ("opcode", Self::Opcode),
        ("port", Self::Port),
        ("proto", Self::Proto),
        ("server_ip", Self::ServerIp),
        ("server_port", Self::ServerPort),
        ("size", Self::Size),
        ("type", Self::Type),
    ];

    /// The one of this name.
    pub(super) fn named(name: &str) -> Option<Self> {
        let mut all = Self::NAMES.iter();
        all.find(|(known, _)| *known == name)
            .map(|(_, field)| *field)
    }

    /// The kind of its value.
    pub(super) const fn kind(self) -> Kind {
        match self {
            Self::Bufsize | Self::Id | Self::Opcode | Self::Size => Kind::Int,
            Self::Do => Kind::Bool,
            _ => Kind::Text,
        }
    }
}

/// A text on the stack; what has no room is left out.
struct Text<const ROOM: usize> {
    octets: [u8; ROOM],
    len: usize,
}

impl<const ROOM: usize> Text<ROOM> {
    fn of(shown: impl fmt::Display) -> Self {
        let mut text = Self {
            octets: [0; ROOM],
            len: 0,
        };
        let _ = write!(text, "{shown}");
        text
    }

    fn as_str(&self) -> &str {
        let written = self.octets.get(..self.len).unwrap_or_default();
        std::str::from_utf8(written).unwrap_or_default()
    }
}

impl<const ROOM: usize> Write for Text<ROOM> {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        let room = self.octets.get_mut(self.len..self.len + part.len());
        room.ok_or(fmt::Error)?.copy_from_slice(part.as_bytes());
        self.len += part.len();
        Ok(())
    }
}

/// The texts of a query that have been asked for.
#[derive(Default)]
pub(super) struct Texts {
    /// A name of 255 octets, each of them as `\DDD`.
    name: OnceCell<Text<1_024>>,
    client_ip: OnceCell<Text<48>>,
    server_ip: OnceCell<Text<48>>,
    port: OnceCell<Text<8>>,
    server_port: OnceCell<Text<8>>,
    qtype: OnceCell<Text<16>>,
    qclass: OnceCell<Text<16>>,
}

/// The values of the `let`s around, the innermost first.
#[derive(Clone, Copy)]
struct Let<'s, 'v> {
    value: &'s Value<'v>,
    outer: Option<&'s Self>,
}

/// Where in an expression something stands.
#[derive(Clone, Copy, Default)]
struct Scope<'s, 'v> {
    lets: Option<&'s Let<'s, 'v>>,
    /// `#` and `#index`.
    item: Option<(&'s Value<'v>, usize)>,
}

/// One evaluation.
pub(super) struct Run<'v> {
    query: &'v Query<'v>,
    values: &'v dyn Values,
    texts: &'v Texts,
    /// What may still be spent.
    left: Cell<u32>,
}

type Evaluated<'v> = Result<Value<'v>, Error>;

impl<'v> Run<'v> {
    pub(super) fn new(query: &'v Query<'v>, values: &'v dyn Values, texts: &'v Texts) -> Self {
        Self {
            query,
            values,
            texts,
            left: Cell::new(MOST_STEPS * STEP),
        }
    }

    /// Pays for work.
    #[inline]
    fn spend(&self, cost: usize) -> Result<(), Error> {
        let left = u32::try_from(cost)
            .ok()
            .and_then(|cost| self.left.get().checked_sub(cost));
        let Some(left) = left else {
            return Err(Error::new(format!(
                "the expression takes more than {MOST_STEPS} steps"
            )));
        };
        self.left.set(left);
        Ok(())
    }

    /// The value of an expression.
    pub(super) fn evaluate(&self, node: &'v Node) -> Evaluated<'v> {
        self.at(node, Scope::default())
    }

    /// The value of a part: a step, and what the value is large.
    fn at(&self, node: &'v Node, scope: Scope<'_, 'v>) -> Evaluated<'v> {
        self.spend(STEP as usize)?;
        let value = self.part(node, scope)?;
        self.spend(weight(&value))?;
        Ok(value)
    }

    fn part(&self, node: &'v Node, scope: Scope<'_, 'v>) -> Evaluated<'v> {
        Ok(match node {
            Node::Constant(value) => value.borrowed(),
            Node::List(nodes) => {
                let values = nodes.iter().map(|node| self.at(node, scope));
                Value::List(values.collect::<Result<_, _>>()?)
            }
            Node::Map(entries) => {
                let entry = |(key, node): &'v (String, Node)| {
                    Ok((key.as_str().into(), self.at(node, scope)?))
                };
                Value::Map(entries.iter().map(entry).collect::<Result<_, Error>>()?)
            }
            Node::Query(field) => self.field(*field),
            Node::Metadata(label) => {
                let label = text(self.at(label, scope)?)?;
                let mut value = String::new();
                self.query.label(&label, &mut value);
                Value::Text(value.into())
            }
            Node::InCidr(nodes) => {
                let address = self.address(&nodes[0], scope)?;
                let prefix = text(self.at(&nodes[1], scope)?)?;
                let parsed: Result<Prefix, _> = prefix.parse();
                let prefix =
                    parsed.map_err(|_| Error::new(format!("invalid CIDR address: {prefix}")))?;
                Value::Bool(prefix.contains(&address))
            }
            Node::InPrefix(ip, prefix) => Value::Bool(prefix.contains(&self.address(ip, scope)?)),
            Node::Variable(number) => self.values.variable(*number),
            Node::Call(number, nodes) => {
                let arguments = nodes.iter().map(|node| self.at(node, scope));
                let arguments = arguments.collect::<Result<Vec<_>, _>>()?;
                self.values.call(*number, &arguments)?
            }
            Node::Let(nodes) => {
                let value = self.at(&nodes[0], scope)?;
                let inner = Let {
                    value: &value,
                    outer: scope.lets,
                };
                let lets = Some(&inner);
                self.at(&nodes[1], Scope { lets, ..scope })?
            }
            Node::Local(above) => {
                let mut found = scope.lets;
                for _ in 0..*above {
                    found = found.and_then(|inner| inner.outer);
                }
                found.map_or(Value::Nil, |found| found.value.clone())
            }
            Node::Item => scope.item.map_or(Value::Nil, |(item, _)| item.clone()),
            Node::Index => scope
                .item
                .map_or(Value::Nil, |(_, at)| Value::Int(at as i64)),
            Node::Not(node) => Value::Bool(!truth(self.at(node, scope)?)?),
            Node::Negate(node) => match self.at(node, scope)? {
                Value::Int(value) => Value::Int(value.wrapping_neg()),
                Value::Float(value) => Value::Float(-value),
                other => return Err(odd("-", &other)),
            },
            Node::And(nodes) => Value::Bool(
                truth(self.at(&nodes[0], scope)?)? && truth(self.at(&nodes[1], scope)?)?,
            ),
            Node::Or(nodes) => Value::Bool(
                truth(self.at(&nodes[0], scope)?)? || truth(self.at(&nodes[1], scope)?)?,
            ),
            Node::Else(nodes) => match self.at(&nodes[0], scope)? {
                Value::Nil => self.at(&nodes[1], scope)?,
                value => value,
            },
            Node::Choice(nodes) => {
                let chosen = if truth(self.at(&nodes[0], scope)?)? {
                    1
                } else {
                    2
                };
                self.at(&nodes[chosen], scope)?
            }
            Node::Binary(Operator::In, nodes) => Value::Bool(self.is_in(nodes, scope)?),
            Node::Binary(Operator::Matches, nodes) => {
                let whole = text(self.at(&nodes[0], scope)?)?;
                let pattern = text(self.at(&nodes[1], scope)?)?;
                self.spend((COMPILING * STEP) as usize)?;
                let pattern = Pattern::new(&pattern)
                    .map_err(|error| Error::new(format!("bad regular expression: {error}")))?;
                Value::Bool(pattern.is_match(&whole))
            }
            Node::Binary(operator, nodes) => {
                let left = self.at(&nodes[0], scope)?;
                operate(*operator, left, self.at(&nodes[1], scope)?)?
            }
            Node::Matches(node, pattern) => {
                Value::Bool(pattern.is_match(&text(self.at(node, scope)?)?))
            }
            Node::At(nodes, optional) => match (self.at(&nodes[0], scope)?, *optional) {
                (Value::Nil, true) => Value::Nil,
                (value, _) => element(value, &self.at(&nodes[1], scope)?)?,
            },
            Node::Slice(node, bounds) => {
                let value = self.at(node, scope)?;
                let bound = |bound: &'v Option<Box<Node>>| match bound {
                    Some(node) => integer(self.at(node, scope)?).map(Some),
                    None => Ok(None),
                };
                slice(value, bound(&bounds[0])?, bound(&bounds[1])?)?
            }
            Node::Builtin(builtin, nodes) => {
                let arguments = nodes.iter().map(|node| self.at(node, scope));
                builtin.apply(arguments.collect::<Result<_, _>>()?)?
            }
            Node::Each(each, list, said) => self.each(*each, (list, said.as_deref()), scope)?,
        })
    }

    /// What the query says.
    fn field(&self, field: Field) -> Value<'v> {
        let (query, texts) = (self.query, self.texts);
        let address = |address: IpAddr| Text::of(address.to_canonical());
        match field {
            Field::Bufsize if query.transport().is_datagram() => {
                Value::Int(query.asked().udp_limit() as i64)
            }
            Field::Bufsize => Value::Int(65_535),
            Field::Class => Value::text(
                texts
                    .qclass
                    .get_or_init(|| Text::of(query.qclass()))
                    .as_str(),
            ),
            Field::ClientIp => {
                let text = texts.client_ip.get_or_init(|| address(query.peer().ip()));
                Value::text(text.as_str())
            }
            Field::Do => Value::Bool(query.dnssec_ok()),
            Field::Id => Value::Int(query.asked().id.into()),
            Field::Name => {
                let text = texts.name.get_or_init(|| Text::of(query.name()));
                Value::text(text.as_str())
            }
            Field::Opcode => Value::Int(query.flags().opcode().0.into()),
            Field::Port => {
                let text = texts.port.get_or_init(|| Text::of(query.peer().port()));
                Value::text(text.as_str())
            }
            Field::Proto => Value::text(query.transport().protocol()),
            Field::ServerIp => {
                let text = texts.server_ip.get_or_init(|| address(query.local().ip()));
                Value::text(text.as_str())
            }
            Field::ServerPort => {
                let port = || Text::of(query.local().port());
                Value::text(texts.server_port.get_or_init(port).as_str())
            }
            Field::Size => Value::Int(query.message().len() as i64),
            Field::Type => match query.qtype().mnemonic() {
                Some(mnemonic) => Value::text(mnemonic),
                None => {
                    let text = texts.qtype.get_or_init(|| Text::of(query.qtype()));
                    Value::text(text.as_str())
                }
            },
        }
    }

    /// The address that `node` is.
    fn address(&self, node: &'v Node, scope: Scope<'_, 'v>) -> Result<IpAddr, Error> {
        match node {
            Node::Query(Field::ClientIp) => Ok(self.query.peer().ip().to_canonical()),
            Node::Query(Field::ServerIp) => Ok(self.query.local().ip().to_canonical()),
            _ => {
                let text = text(self.at(node, scope)?)?;
                let address: Result<IpAddr, _> = text.parse();
                let address =
                    address.map_err(|_| Error::new("first argument is not an IP address"))?;
                Ok(address.to_canonical())
            }
        }
    }

    /// Whether the first value is in the second; one that is written there is not made first.
    fn is_in(&self, nodes: &'v [Node; 2], scope: Scope<'_, 'v>) -> Result<bool, Error> {
        let value = self.at(&nodes[0], scope)?;
        if let Node::List(nodes) = &nodes[1] {
            for node in nodes {
                if self.at(node, scope)?.equals(&value) {
                    return Ok(true);
                }
            }
            return Ok(false);
        }
        match (self.at(&nodes[1], scope)?, value) {
            (Value::List(values), value) => Ok(values.iter().any(|one| one.equals(&value))),
            (Value::Map(entries), Value::Text(key)) => {
                Ok(entries.iter().any(|(known, _)| *known == key))
            }
            (Value::Nil, _) => Ok(false),
            (other, _) => Err(odd("in", &other)),
        }
    }

    /// Says something of each value of a list.
    fn each(
        &self,
        each: Each,
        (list, said): (&'v Node, Option<&'v Node>),
        scope: Scope<'_, 'v>,
    ) -> Evaluated<'v> {
        // What is written as a list is looked at value by value.
        let (nodes, made) = match list {
            Node::List(nodes) => (&**nodes, Vec::new()),
            other => match self.at(other, scope)? {
                Value::List(values) => (&[][..], values),
                other => return Err(odd("a predicate", &other)),
            },
        };
        let count = nodes.len().max(made.len());
        let mut kept = Vec::new();
        let (mut hits, mut found) = (0, None);
        let backwards = matches!(each, Each::FindLast | Each::FindLastIndex);
        for turn in 0..count {
            let at = if backwards { count - 1 - turn } else { turn };
            let value = match (nodes.get(at), made.get(at)) {
                (Some(node), _) => self.at(node, scope)?,
                (None, Some(value)) => {
                    self.spend(1 + weight(value))?;
                    value.clone()
                }
                (None, None) => break,
            };
            let inner = Scope {
                item: Some((&value, at)),
                ..scope
            };
            let said = match said {
                Some(said) => self.at(said, inner)?,
                None => value.clone(),
            };
            if each == Each::Map {
                kept.push(said);
                continue;
            }
            let hit = truth(said)?;
            hits += usize::from(hit);
            match each {
                Each::All if !hit => return Ok(Value::Bool(false)),
                Each::Any if hit => return Ok(Value::Bool(true)),
                Each::None if hit => return Ok(Value::Bool(false)),
                Each::Filter if hit => kept.push(value),
                Each::Find | Each::FindIndex | Each::FindLast | Each::FindLastIndex if hit => {
                    found = Some((value, at));
                    break;
                }
                _ => {}
            }
        }
        Ok(match each {
            Each::All | Each::None => Value::Bool(true),
            Each::Any => Value::Bool(false),
            Each::One => Value::Bool(hits == 1),
            Each::Filter | Each::Map => Value::List(kept),
            Each::Count => Value::Int(hits as i64),
            Each::Find | Each::FindLast => found.map_or(Value::Nil, |(value, _)| value),
            Each::FindIndex | Each::FindLastIndex => {
                found.map_or(Value::Nil, |(_, at)| Value::Int(at as i64))
            }
        })
    }
}

/// What a copy of a value costs.
fn weight(value: &Value<'_>) -> usize {
    match value {
        Value::Nil | Value::Bool(_) | Value::Int(_) | Value::Float(_) => 0,
        Value::Text(text) => text.len() / 16,
        Value::List(values) => values.iter().map(|value| 1 + weight(value)).sum(),
        Value::Map(entries) => entries
            .iter()
            .map(|(key, value)| 2 + key.len() / 16 + weight(value))
            .sum(),
    }
}

/// Refuses to make a text longer than [`LONGEST_TEXT`].
pub(super) fn fits(what: &str, octets: usize) -> Result<(), Error> {
    match octets <= LONGEST_TEXT {
        true => Ok(()),
        false => Err(Error::new(format!("{what}: the text is too long"))),
    }
}

/// The error of an operator or a function that has no result for a value.
pub(super) fn odd(operator: &str, value: &Value<'_>) -> Error {
    let kind = value.kind_name();
    Error::new(format!("invalid operation: `{operator}` of {kind}"))
}

fn truth(value: Value<'_>) -> Result<bool, Error> {
    match value {
        Value::Bool(value) => Ok(value),
        other => Err(odd("a condition", &other)),
    }
}

/// The text that a value is.
pub(super) fn text(value: Value<'_>) -> Result<std::borrow::Cow<'_, str>, Error> {
    match value {
        Value::Text(text) => Ok(text),
        other => Err(odd("a text", &other)),
    }
}

/// The integer that a value is.
pub(super) fn integer(value: Value<'_>) -> Result<i64, Error> {
    match value {
        Value::Int(value) => Ok(value),
        other => Err(odd("an integer", &other)),
    }
}

/// The number that a value is.
pub(super) fn number(value: &Value<'_>) -> Result<f64, Error> {
    match value {
        Value::Int(value) => Ok(*value as f64),
        Value::Float(value) => Ok(*value),
        other => Err(odd("a number", other)),
    }
}

/// Compares two numbers or two texts.
pub(super) fn compare(one: &Value<'_>, two: &Value<'_>) -> Result<Option<Ordering>, Error> {
    match (one, two) {
        (Value::Text(one), Value::Text(two)) => Ok(Some(one.cmp(two))),
        (Value::Int(one), Value::Int(two)) => Ok(Some(one.cmp(two))),
        _ => Ok(number(one)?.partial_cmp(&number(two)?)),
    }
}

/// An operator of two values.
fn operate<'v>(operator: Operator, one: Value<'v>, two: Value<'v>) -> Evaluated<'v> {
    use Operator as O;
    let ordered =
        |test: fn(Ordering) -> bool| Ok(Value::Bool(compare(&one, &two)?.is_some_and(test)));
    match operator {
        O::Equal => return Ok(Value::Bool(one.equals(&two))),
        O::Unequal => return Ok(Value::Bool(!one.equals(&two))),
        O::Less => return ordered(Ordering::is_lt),
        O::Greater => return ordered(Ordering::is_gt),
        O::LessOrEqual => return ordered(Ordering::is_le),
        O::GreaterOrEqual => return ordered(Ordering::is_ge),
        _ => {}
    }
    Ok(match (operator, one, two) {
        (O::Add, Value::Text(one), Value::Text(two)) => {
            fits("+", one.len() + two.len())?;
            Value::Text(one + two)
        }
        (O::Add, Value::Int(one), Value::Int(two)) => Value::Int(one.wrapping_add(two)),
        (O::Subtract, Value::Int(one), Value::Int(two)) => Value::Int(one.wrapping_sub(two)),
        (O::Multiply, Value::Int(one), Value::Int(two)) => Value::Int(one.wrapping_mul(two)),
        (O::Add, one, two) => Value::Float(number(&one)? + number(&two)?),
        (O::Subtract, one, two) => Value::Float(number(&one)? - number(&two)?),
        (O::Multiply, one, two) => Value::Float(number(&one)? * number(&two)?),
        (O::Divide, one, two) => Value::Float(number(&one)? / number(&two)?),
        (O::Power, one, two) => Value::Float(number(&one)?.powf(number(&two)?)),
        (O::Remainder, one, two) => match (integer(one)?, integer(two)?) {
            (_, 0) => return Err(Error::new("integer divide by zero")),
            (one, two) => Value::Int(one.wrapping_rem(two)),
        },
        (O::Range, one, two) => {
            let (from, to) = (integer(one)?, integer(two)?);
            if to.saturating_sub(from) >= LONGEST_RANGE {
                return Err(Error::new("the range is too long"));
            }
            Value::List((from..=to).map(Value::Int).collect())
        }
        (O::Contains, one, two) => Value::Bool(text(one)?.contains(&*text(two)?)),
        (O::StartsWith, one, two) => Value::Bool(text(one)?.starts_with(&*text(two)?)),
        (O::EndsWith, one, two) => Value::Bool(text(one)?.ends_with(&*text(two)?)),
        (_, one, _) => return Err(odd("an operator", &one)),
    })
}

/// Where an index that may count from the end stands.
fn index(at: i64, len: usize) -> Option<usize> {
    let from_end = if at < 0 { len as i64 } else { 0 };
    usize::try_from(at.checked_add(from_end)?).ok()
}

/// `value[key]`.
fn element<'v>(value: Value<'v>, key: &Value<'_>) -> Evaluated<'v> {
    match (value, key) {
        (Value::List(mut values), Value::Int(at)) => {
            match index(*at, values.len()).filter(|at| *at < values.len()) {
                Some(at) => Ok(values.swap_remove(at)),
                None => Err(Error::new(format!("index out of range: {at}"))),
            }
        }
        (Value::Text(text), Value::Int(at)) => {
            let chars: Vec<char> = text.chars().collect();
            match index(*at, chars.len()).and_then(|at| chars.get(at)) {
                Some(one) => Ok(Value::Text(one.to_string().into())),
                None => Err(Error::new(format!("index out of range: {at}"))),
            }
        }
        (Value::Map(entries), key) => {
            let key = match key {
                Value::Text(key) => key.to_string(),
                other => other.to_string(),
            };
            let found = entries.into_iter().find(|(known, _)| *known == key);
            Ok(found.map_or(Value::Nil, |(_, value)| value))
        }
        (other, _) => Err(odd("[]", &other)),
    }
}

/// `value[from:to]`; bounds beyond the ends are the ends.
fn slice<'v>(value: Value<'v>, from: Option<i64>, to: Option<i64>) -> Evaluated<'v> {
    let bounds = |len: usize| {
        let bound = |at: i64| index(at, len).unwrap_or(0).min(len);
        let to = to.map_or(len, bound);
        (from.map_or(0, bound).min(to), to)
    };
    match value {
        Value::List(values) => {
            let (from, to) = bounds(values.len());
            let part = values.into_iter().take(to).skip(from);
            Ok(Value::List(part.collect()))
        }
        Value::Text(text) => {
            let (from, to) = bounds(text.chars().count());
            let part: String = text.chars().take(to).skip(from).collect();
            Ok(Value::Text(part.into()))
        }
        other => Err(odd("[:]", &other)),
    }
}
