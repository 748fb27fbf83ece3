//! An expression as a tree.

use std::ops::Range;

use super::builtin::{Builtin, Each};
use super::run::{Field, Prefix};
use super::{Kind, Value};
use crate::pattern::Pattern;

/// A part of an expression.
#[derive(Clone, Debug)]
pub(super) enum Node {
    /// What does not depend on the query.
    Constant(Value<'static>),
    /// `[a, b]`.
    List(Box<[Node]>),
    /// `{a: b}`.
    Map(Box<[(String, Node)]>),
    /// A function of the query without arguments.
    Query(Field),
    /// `metadata(label)`.
    Metadata(Box<Node>),
    /// `incidr(ip, cidr)`.
    InCidr(Box<[Node; 2]>),
    /// The same with a constant prefix.
    InPrefix(Box<Node>, Prefix),
    /// A variable of the plugin.
    Variable(usize),
    /// A function of the plugin.
    Call(usize, Box<[Node]>),
    /// The value of the `let` that stands so many above.
    Local(usize),
    /// `let x = a; b`.
    Let(Box<[Node; 2]>),
    /// `#`: the value that something is said of.
    Item,
    /// `#index`.
    Index,
    /// `not a`.
    Not(Box<Node>),
    /// `-a`.
    Negate(Box<Node>),
    /// `a and b`.
    And(Box<[Node; 2]>),
    /// `a or b`.
    Or(Box<[Node; 2]>),
    /// `a ?? b`.
    Else(Box<[Node; 2]>),
    /// `a ? b : c`.
    Choice(Box<[Node; 3]>),
    /// An operator of two values.
    Binary(Operator, Box<[Node; 2]>),
    /// `a matches b` with a constant pattern.
    Matches(Box<Node>, Pattern),
    /// `a[b]`, `a.b`; the last says whether nothing of `nil` is `nil` (`?.`).
    At(Box<[Node; 2]>, bool),
    /// `a[b:c]`.
    Slice(Box<Node>, [Option<Box<Node>>; 2]),
    /// A function of values.
    Builtin(Builtin, Box<[Node]>),
    /// A function of a list and what is said of each of its values.
    Each(Each, Box<Node>, Option<Box<Node>>),
}

/// An operator of two values.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Operator {
    Equal,
    Unequal,
    Less,
    Greater,
    LessOrEqual,
    GreaterOrEqual,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    Power,
    In,
    Matches,
    Contains,
    StartsWith,
    EndsWith,
    Range,
}

/// A part that has been read.
pub(super) struct Part {
    /// Its tree.
    pub(super) node: Node,
    /// The kind of its value.
    pub(super) kind: Kind,
    /// Where it stands.
    pub(super) place: Range<usize>,
}

impl Part {
    /// A part that does not depend on the query.
    pub(super) fn constant(value: Value<'static>, kind: Kind, place: Range<usize>) -> Self {
        let node = Node::Constant(value);
        Self { node, kind, place }
    }

    /// The text that it is, whatever the query.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.node {
            Node::Constant(Value::Text(text)) => Some(text),
            _ => None,
        }
    }
}
