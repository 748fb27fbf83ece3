//! Values at work in a template, as Go's reflection has them: a kind, a type's name for messages, and how it prints.

use std::borrow::Cow;
use std::rc::Rc;

use super::super::data::Object;

/// A value.
#[derive(Clone, Debug)]
pub(in super::super) enum Value<'d> {
    /// None: a key that a map does not have, and `nil`.
    None,
    /// A `bool`.
    Bool(bool),
    /// An `int`.
    Int(i64),
    /// An unsigned number of some width.
    Uint(u64, Width),
    /// A `float64`.
    Float(f64),
    /// A `string`, of any octets.
    Text(Cow<'d, [u8]>),
    /// A slice.
    List(List<'d>),
    /// A `map[string]any`, in the order of its keys.
    Map(Rc<[Entry<'d>]>),
    /// Something of the query.
    Object(Object<'d>),
}

/// A key of a map and what stands under it.
pub(in super::super) type Entry<'d> = (Box<str>, Value<'d>);

/// How wide an unsigned number is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in super::super) enum Width {
    Bits8,
    Bits16,
    Bits64,
}

/// A slice: a part of items that it shares.
#[derive(Clone, Debug)]
pub(in super::super) struct List<'d> {
    items: Rc<[Value<'d>]>,
    from: usize,
    to: usize,
    /// Where its capacity ends.
    cap: usize,
    type_name: &'static str,
}

impl<'d> List<'d> {
    /// A whole one.
    pub(in super::super) fn new(type_name: &'static str, items: Vec<Value<'d>>) -> Self {
        let len = items.len();
        Self {
            items: items.into(),
            from: 0,
            to: len,
            cap: len,
            type_name,
        }
    }

    /// Its items.
    pub(in super::super) fn items(&self) -> &[Value<'d>] {
        self.items.get(self.from..self.to).unwrap_or_default()
    }

    /// How far it can be sliced.
    pub(super) fn capacity(&self) -> usize {
        self.cap - self.from
    }

    /// A part of it, as `x[from:to:cap]`.
    pub(super) fn slice(&self, from: usize, to: usize, cap: usize) -> Self {
        Self {
            from: self.from + from,
            to: self.from + to,
            cap: self.from + cap,
            ..self.clone()
        }
    }
}

impl<'d> Value<'d> {
    /// A text that lives as long as the data.
    pub(in super::super) fn text(text: &'d str) -> Self {
        Self::Text(Cow::Borrowed(text.as_bytes()))
    }

    /// A text of its own.
    pub(in super::super) fn owned(text: impl Into<Vec<u8>>) -> Self {
        Self::Text(Cow::Owned(text.into()))
    }

    /// A number of 16 bits.
    pub(in super::super) fn word(word: u16) -> Self {
        Self::Uint(u64::from(word), Width::Bits16)
    }

    /// The name of its type; `None` has none.
    pub(super) fn type_name(&self) -> Option<&'static str> {
        Some(match self {
            Self::None => return None,
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Uint(_, Width::Bits8) => "uint8",
            Self::Uint(_, Width::Bits16) => "uint16",
            Self::Uint(_, Width::Bits64) => "uint64",
            Self::Float(_) => "float64",
            Self::Text(_) => "string",
            Self::List(list) => list.type_name,
            Self::Map(_) => "map[string]interface {}",
            Self::Object(object) => object.type_name(),
        })
    }

    /// Whether `if` takes it for true: not the zero of its type.
    pub(super) fn truth(&self) -> bool {
        match self {
            Self::None => false,
            Self::Bool(value) => *value,
            Self::Int(value) => *value != 0,
            Self::Uint(value, _) => *value != 0,
            Self::Float(value) => *value != 0.0,
            Self::Text(text) => !text.is_empty(),
            Self::List(list) => !list.items().is_empty(),
            Self::Map(entries) => !entries.is_empty(),
            Self::Object(object) => object.len() != Some(0),
        }
    }

    /// Its entries, if it is a map; in the order of the keys.
    pub(super) fn entries(&self) -> Option<Cow<'_, [Entry<'d>]>> {
        match self {
            Self::Map(entries) => Some(Cow::Borrowed(entries)),
            Self::Object(object) => object.entries().map(Cow::Owned),
            _ => None,
        }
    }

    /// The value under a key of a map; a missing one is `None` within.
    pub(super) fn entry(&self, key: &str) -> Option<Option<Value<'d>>> {
        match self {
            Self::Map(entries) => {
                let found = entries.iter().find(|(known, _)| **known == *key);
                Some(found.map(|(_, value)| value.clone()))
            }
            Self::Object(object) if object.is_map() => Some(object.entry(key)),
            _ => None,
        }
    }
}
