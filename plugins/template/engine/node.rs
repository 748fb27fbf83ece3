//! What a template is compiled to, and how its parts are written in messages.

use std::fmt::{self, Display, Write};

use super::funcs::Function;

/// A part of a template that a message can point at.
pub(super) trait Place: Display {
    /// Where it stands, in octets.
    fn pos(&self) -> usize;
}

/// A run of nodes.
#[derive(Debug, Default)]
pub(super) struct List(pub(super) Vec<Node>);

/// Text or an action.
#[derive(Debug)]
pub(super) enum Node {
    /// What stands outside of actions.
    Text(Box<[u8]>),
    /// A pipeline whose value is written, unless it sets variables.
    Action(Action),
    /// `if`, `with` or `range`.
    Branch(Branch),
    /// A template by name.
    Template(Invocation),
    /// `break`
    Break,
    /// `continue`
    Continue,
}

/// A pipeline whose value is written.
#[derive(Debug)]
pub(super) struct Action {
    pub(super) pos: usize,
    pub(super) pipe: Pipe,
}

/// Which statement a branch is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Control {
    If,
    With,
    Range,
}

/// `if`, `with` or `range` with what belongs to it. A chain of `else if` is one branch of many arms, so that it may be long.
#[derive(Debug)]
pub(super) struct Branch {
    pub(super) control: Control,
    pub(super) first: Arm,
    /// Those of `else if` and `else with`.
    pub(super) more: Vec<Arm>,
    pub(super) otherwise: Option<List>,
}

/// A condition, and what is walked where it holds.
#[derive(Debug)]
pub(super) struct Arm {
    pub(super) pipe: Pipe,
    pub(super) list: List,
}

/// `{{ template NAME PIPELINE }}`
#[derive(Debug)]
pub(super) struct Invocation {
    pub(super) pos: usize,
    pub(super) name: String,
    pub(super) pipe: Option<Pipe>,
}

/// Commands, each of which gets the value of the one before; the value of the last is the pipeline's.
#[derive(Debug)]
pub(super) struct Pipe {
    pub(super) pos: usize,
    /// Whether the variables are assigned and not declared.
    pub(super) assigns: bool,
    pub(super) variables: Vec<String>,
    pub(super) commands: Vec<Command>,
}

/// An operand and its arguments.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) pos: usize,
    pub(super) args: Vec<Operand>,
}

/// A word of a command.
#[derive(Debug)]
pub(super) enum Operand {
    Bool(usize, bool),
    Dot(usize),
    Nil(usize),
    Number(usize, Number),
    /// The string, and how it is written.
    Text(usize, Box<[u8]>, String),
    /// `.A.B`
    Field(usize, Vec<String>),
    /// `(PIPELINE).A.B`
    Chain(usize, Box<Operand>, Vec<String>),
    Function(usize, Function),
    /// `$x.A.B`; the first is the variable.
    Variable(usize, Vec<String>),
    Pipe(Pipe),
}

/// A number constant, under every type that can hold it.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Number {
    pub(super) int: Option<i64>,
    pub(super) uint: Option<u64>,
    pub(super) float: Option<f64>,
    pub(super) text: String,
}

impl Place for Action {
    fn pos(&self) -> usize {
        self.pos
    }
}

impl Place for Branch {
    fn pos(&self) -> usize {
        self.first.pipe.pos
    }
}

impl Place for Invocation {
    fn pos(&self) -> usize {
        self.pos
    }
}

impl Place for Pipe {
    fn pos(&self) -> usize {
        self.pos
    }
}

impl Place for Command {
    fn pos(&self) -> usize {
        self.pos
    }
}

impl Place for Operand {
    fn pos(&self) -> usize {
        match self {
            Self::Bool(pos, _)
            | Self::Dot(pos)
            | Self::Nil(pos)
            | Self::Number(pos, _)
            | Self::Text(pos, ..)
            | Self::Field(pos, _)
            | Self::Chain(pos, ..)
            | Self::Function(pos, _)
            | Self::Variable(pos, _) => *pos,
            Self::Pipe(pipe) => pipe.pos,
        }
    }
}

impl Display for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|node| node.fmt(f))
    }
}

impl Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(&String::from_utf8_lossy(text)),
            Self::Action(action) => action.fmt(f),
            Self::Branch(branch) => branch.fmt(f),
            Self::Template(invocation) => invocation.fmt(f),
            Self::Break => f.write_str("{{break}}"),
            Self::Continue => f.write_str("{{continue}}"),
        }
    }
}

impl Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{{{}}}}}", self.pipe)
    }
}

impl Display for Branch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.control {
            Control::If => "if",
            Control::With => "with",
            Control::Range => "range",
        };
        let Arm { pipe, list } = &self.first;
        write!(f, "{{{{{word} {pipe}}}}}{list}")?;
        for Arm { pipe, list } in &self.more {
            write!(f, "{{{{else}}}}{{{{{word} {pipe}}}}}{list}")?;
        }
        if let Some(otherwise) = &self.otherwise {
            write!(f, "{{{{else}}}}{otherwise}")?;
        }
        (0..=self.more.len()).try_for_each(|_| f.write_str("{{end}}"))
    }
}

impl Display for Invocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{{template {:?}", self.name)?;
        if let Some(pipe) = &self.pipe {
            write!(f, " {pipe}")?;
        }
        f.write_str("}}")
    }
}

impl Display for Pipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.variables.is_empty() {
            f.write_str(&self.variables.join(", "))?;
            f.write_str(if self.assigns { " = " } else { " := " })?;
        }
        for (at, command) in self.commands.iter().enumerate() {
            if at > 0 {
                f.write_str(" | ")?;
            }
            command.fmt(f)?;
        }
        Ok(())
    }
}

impl Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, arg) in self.args.iter().enumerate() {
            if at > 0 {
                f.write_char(' ')?;
            }
            match arg {
                Operand::Pipe(pipe) => write!(f, "({pipe})")?,
                arg => arg.fmt(f)?,
            }
        }
        Ok(())
    }
}

impl Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(_, value) => value.fmt(f),
            Self::Dot(_) => f.write_char('.'),
            Self::Nil(_) => f.write_str("nil"),
            Self::Number(_, number) => f.write_str(&number.text),
            Self::Text(_, _, quoted) => f.write_str(quoted),
            Self::Field(_, names) => names.iter().try_for_each(|name| write!(f, ".{name}")),
            Self::Chain(_, of, names) => {
                match &**of {
                    Self::Pipe(pipe) => write!(f, "({pipe})")?,
                    of => of.fmt(f)?,
                }
                names.iter().try_for_each(|name| write!(f, ".{name}"))
            }
            Self::Function(_, function) => f.write_str(function.name()),
            Self::Variable(_, names) => f.write_str(&names.join(".")),
            Self::Pipe(pipe) => pipe.fmt(f),
        }
    }
}
