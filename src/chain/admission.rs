//! Which queries a chain takes at all: what opcode and class they may have, declared by its plugins and decided before the walk.
//!
//! ```text
//! Plugin::admits ──► Chain: a mask of steps for ordinary queries (QUERY, IN), and what each step takes beside them     (at load)
//! query ──► ordinary? ── one comparison ──► the walk
//!               └ no ──► the steps that take its opcode and class; none of those that answer ──► Chain::refusal, no walk
//! ```
//!
//! A plugin is asked only about what it declares: a NOTIFY meets no plugin that would take it for a query, and a query of class CH none
//! that would answer it with addresses.

use wire::{Class, Opcode, Parsed, Rcode};

/// The classes that a plugin takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Classes {
    /// IN.
    Internet,
    /// CH, which only `version.bind` and its kin are asked with.
    Chaos,
    /// Every class.
    Any,
}

impl Classes {
    const fn has(self, class: Class) -> bool {
        match self {
            Self::Internet => class.0 == Class::IN.0,
            Self::Chaos => class.0 == Class::CH.0,
            Self::Any => true,
        }
    }
}

/// The opcodes that a plugin takes; the rest has NOTIMP from the parser.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Opcodes {
    /// QUERY.
    Query,
    /// NOTIFY (RFC 1996).
    Notify,
    /// Both.
    QueryAndNotify,
    /// QUERY, and UPDATE (RFC 2136).
    QueryAndUpdate,
    /// Every one of them.
    Any,
}

impl Opcodes {
    const fn has(self, opcode: Opcode) -> bool {
        match self {
            Self::Query => opcode.0 == Opcode::QUERY.0,
            Self::Notify => opcode.0 == Opcode::NOTIFY.0,
            Self::QueryAndNotify => opcode.0 != Opcode::UPDATE.0,
            Self::QueryAndUpdate => opcode.0 != Opcode::NOTIFY.0,
            Self::Any => true,
        }
    }
}

/// What a plugin takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Admits {
    /// The opcodes.
    pub opcodes: Opcodes,
    /// The classes.
    pub classes: Classes,
    /// Whether it only watches or changes what others answer, so that a query that it alone takes has nobody to answer it.
    pub watches: bool,
    /// What a NOTIFY gets that nobody takes, where this plugin is the last of its chain: REFUSED, or NOTIMP of one that is no
    /// authority for anything.
    pub notify: Rcode,
    /// Whether it answers a query that has no question and asks for a server cookie (RFC 7873, section 5.4).
    pub questionless: bool,
}

impl Admits {
    /// Queries of class IN.
    pub const QUERIES: Self = Self {
        opcodes: Opcodes::Query,
        classes: Classes::Internet,
        watches: false,
        notify: Rcode::REFUSED,
        questionless: false,
    };

    /// Queries of every class, which are handed on to another server.
    pub const FORWARDED: Self = Self {
        classes: Classes::Any,
        notify: Rcode::NOTIMP,
        ..Self::QUERIES
    };

    /// Everything, to watch it.
    pub const WATCHED: Self = Self {
        opcodes: Opcodes::Any,
        classes: Classes::Any,
        watches: true,
        ..Self::QUERIES
    };

    /// Whether it takes this kind of query.
    pub const fn has(self, opcode: Opcode, class: Class) -> bool {
        self.opcodes.has(opcode) && self.classes.has(class)
    }
}

/// Whether a query is of the kind that nearly all are: QUERY and IN.
#[inline(always)]
pub(crate) const fn is_ordinary(query: &Parsed) -> bool {
    (query.flags.0 & 0x7800) | (query.qclass.0 ^ Class::IN.0) == 0
}

/// The steps of a chain that see one query, a bit for each.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Steps {
    /// On its way down.
    pub(crate) queries: u64,
    /// On its way up.
    pub(crate) responses: u64,
}
