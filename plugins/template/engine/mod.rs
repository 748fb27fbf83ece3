//! Go's `text/template`: texts with actions in `{{ }}`, compiled once and evaluated for a query.
//!
//! ```text
//! text ─► lex ─► parse ─► nodes (node)                             at load; the first mistake has a place
//! nodes + data ─► exec ─► octets                                   per query; bounded in steps, in depth and in octets
//!                  └─► funcs ─► print, printf, escape
//! ```
//!
//! No crate has this language with Go's meaning. What Go's documentation says is here, but complex numbers, hexadecimal floats and
//! functions as values: no data of a query has them.

mod escape;
mod exec;
mod funcs;
mod lex;
mod literal;
mod node;
mod parse;
mod print;
mod printf;
#[cfg(test)]
mod tests;
mod value;

use std::collections::HashMap;

use super::data::Object;

pub(super) use funcs::Parameter;
pub(super) use parse::Mistake;
pub(super) use value::{Entry, List, Value, Width};

use node::{Node, Operand, Pipe};

/// The octets that a template writes at most, and any value within it has.
const LONGEST: usize = 65_536;
/// The steps that an evaluation has at most: nodes, commands and arguments, and octets by the hundred.
const MOST_STEPS: u32 = 50_000;

/// A bound that was reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Overrun {
    Output,
    Steps,
}

impl Overrun {
    fn why(self) -> String {
        match self {
            Self::Output => format!("more than {LONGEST} octets"),
            Self::Steps => format!("more than {MOST_STEPS} steps"),
        }
    }
}

/// A template, compiled.
#[derive(Debug)]
pub(super) struct Template {
    /// What messages call it.
    name: &'static str,
    text: Box<str>,
    root: node::List,
    defined: HashMap<String, node::List>,
}

/// What a template takes from the data.
#[derive(Clone, Debug, Default)]
pub(super) struct Uses {
    /// The fields of the data that are named, the first of each chain.
    pub(super) fields: Vec<String>,
    /// The metadata labels that are read, as far as they are constant.
    pub(super) labels: Vec<String>,
    /// Whether the data is used as a whole, so that nothing is known of what it takes.
    pub(super) whole: bool,
}

impl Uses {
    /// Whether a field is used, or may be.
    pub(super) fn has(&self, field: &str) -> bool {
        self.whole || self.fields.iter().any(|used| used == field)
    }
}

impl Template {
    /// Compiles a text.
    pub(super) fn parse(name: &'static str, text: &str) -> Result<Self, Mistake> {
        let parsed = parse::parse(name, text)?;
        Ok(Self {
            name,
            text: text.into(),
            root: parsed.root,
            defined: parsed.defined,
        })
    }

    /// The names of all functions.
    pub(super) fn functions() -> impl Iterator<Item = &'static str> {
        funcs::Function::names()
    }

    /// Evaluates it with this data.
    pub(super) fn execute<'d>(&self, data: Object<'d>) -> Result<Vec<u8>, Box<str>> {
        exec::execute(self, Value::Object(data))
    }

    /// The template as Go writes it out, for labels of metrics.
    pub(super) fn written(&self) -> String {
        self.root.to_string()
    }

    /// Whether it ends in no evaluation: a template invokes itself, and no condition stands before it.
    pub(super) fn is_endless(&self) -> bool {
        let mut reached: Vec<&str> = Vec::new();
        self.meets_itself(&self.root, &mut reached)
    }

    /// Whether the templates that `list` invokes, in any case, lead back to one of `above`.
    fn meets_itself<'t>(&'t self, list: &'t node::List, above: &mut Vec<&'t str>) -> bool {
        list.0.iter().any(|node| {
            let Node::Template(invocation) = node else {
                return false;
            };
            let name = invocation.name.as_str();
            if above.contains(&name) {
                return true;
            }
            let Some(list) = self.defined.get(name) else {
                return false;
            };
            // Deeper than an evaluation goes is as good as endless.
            if above.len() >= exec::DEEPEST {
                return true;
            }
            above.push(name);
            let found = self.meets_itself(list, above);
            above.pop();
            found
        })
    }

    /// What it takes from the data.
    pub(super) fn uses(&self) -> Uses {
        let mut uses = Uses {
            // What becomes of the data in another template is not followed.
            whole: !self.defined.is_empty(),
            ..Uses::default()
        };
        self.root.0.iter().for_each(|node| uses.node(node));
        uses
    }

    /// The same without its beginning, if that is `{{ .FIELD }}` and white space behind it.
    pub(super) fn uses_behind(&self, field: &str) -> Option<Uses> {
        let [Node::Action(action), Node::Text(text), rest @ ..] = self.root.0.as_slice() else {
            return None;
        };
        let [command] = action.pipe.commands.as_slice() else {
            return None;
        };
        let [Operand::Field(_, names)] = command.args.as_slice() else {
            return None;
        };
        if !action.pipe.variables.is_empty()
            || !self.defined.is_empty()
            || *names != [field]
            || !text
                .first()
                .is_some_and(|octet| matches!(octet, b' ' | b'\t'))
        {
            return None;
        }
        let mut uses = Uses::default();
        rest.iter().for_each(|node| uses.node(node));
        Some(uses)
    }
}

impl Uses {
    fn node(&mut self, node: &Node) {
        match node {
            Node::Text(_) | Node::Break | Node::Continue => {}
            Node::Action(action) => self.pipe(&action.pipe),
            Node::Branch(branch) => {
                // In `with` and `range` the dot is another; fields named there count all the same.
                for arm in std::iter::once(&branch.first).chain(&branch.more) {
                    self.pipe(&arm.pipe);
                    arm.list.0.iter().for_each(|node| self.node(node));
                }
                let otherwise = branch.otherwise.iter().flat_map(|list| &list.0);
                otherwise.for_each(|node| self.node(node));
            }
            Node::Template(_) => self.whole = true,
        }
    }

    fn pipe(&mut self, pipe: &Pipe) {
        for command in &pipe.commands {
            if let [
                Operand::Field(_, names) | Operand::Variable(_, names),
                Operand::Text(_, label, _),
            ] = command.args.as_slice()
                && names.last().is_some_and(|name| name == "Meta")
            {
                self.labels
                    .push(String::from_utf8_lossy(label).into_owned());
            }
        }
        let operands = pipe.commands.iter().flat_map(|command| &command.args);
        operands.for_each(|operand| self.operand(operand));
    }

    fn operand(&mut self, operand: &Operand) {
        match operand {
            Operand::Field(_, names) => self.fields.extend(names.first().cloned()),
            Operand::Variable(_, names) if names[0] == "$" => match names.get(1) {
                Some(name) => self.fields.push(name.clone()),
                None => self.whole = true,
            },
            Operand::Dot(_) => self.whole = true,
            Operand::Chain(_, of, _) => self.operand(of),
            Operand::Pipe(pipe) => self.pipe(pipe),
            Operand::Bool(..)
            | Operand::Nil(_)
            | Operand::Number(..)
            | Operand::Text(..)
            | Operand::Function(..)
            | Operand::Variable(..) => {}
        }
    }
}
