//! The evaluator: walks the nodes of a template with its data, and writes.
//!
//! What a message points at is noted on the way, as Go does, so that messages are Go's: `template: answer:1:26: executing "answer" at
//! <index .Match 2>: error calling index: index out of range: 2`.

use super::funcs::{Function, Parameter, Signature, Trouble};
use super::node::{
    Action, Branch, Command, Control, Invocation, List, Node, Number, Operand, Pipe, Place,
};
use super::print::{self, Output};
use super::value::Value;
use super::{LONGEST, MOST_STEPS, Overrun, Template};
use crate::template::data::{Field, Method, Object};

/// How deep statements, parentheses and templates may stand in each other.
pub(super) const DEEPEST: usize = 100;

/// Why a walk stopped.
enum Stop {
    /// A mistake, told in full.
    Fault(Box<str>),
    /// `{{ break }}`
    Break,
    /// `{{ continue }}`
    Continue,
}

/// Evaluates `template`; what it wrote, or what went wrong.
pub(super) fn execute(template: &Template, data: Value<'_>) -> Result<Vec<u8>, Box<str>> {
    let mut state = State {
        template,
        name: template.name,
        at: None,
        variables: vec![("$", data.clone())],
        depth: 0,
        steps: MOST_STEPS,
        out: Output::new(LONGEST),
    };
    match state.list(&data, &template.root) {
        Ok(()) | Err(Stop::Break | Stop::Continue) => Ok(state.out.into_octets()),
        Err(Stop::Fault(why)) => Err(why),
    }
}

type Outcome<T> = Result<T, Stop>;

struct State<'t, 'd> {
    template: &'t Template,
    /// The template that is walked: the text's own or one that it defines.
    name: &'t str,
    /// What is at hand, for messages.
    at: Option<&'t dyn Place>,
    variables: Vec<(&'t str, Value<'d>)>,
    depth: usize,
    steps: u32,
    out: Output,
}

impl<'t, 'd> State<'t, 'd> {
    /// A mistake at what is at hand.
    fn fault(&self, why: impl AsRef<str>) -> Stop {
        let (template, name, why) = (self.template.name, self.name, why.as_ref());
        Stop::Fault(match self.at {
            None => format!("template: {name}: {why}").into(),
            Some(place) => {
                let before = self.template.text.get(..place.pos()).unwrap_or_default();
                let line = before.matches('\n').count() + 1;
                let column = before.len() - before.rfind('\n').map_or(0, |at| at + 1);
                format!(
                    "template: {template}:{line}:{column}: executing {name:?} at <{place}>: {why}"
                )
                .into()
            }
        })
    }

    fn overrun(&self, overrun: Overrun) -> Stop {
        self.fault(overrun.why())
    }

    /// Counts a step, and the octets that it handles.
    fn step(&mut self, octets: usize) -> Outcome<()> {
        let cost = 1 + octets as u32 / 100;
        match self.steps.checked_sub(cost) {
            Some(left) => {
                self.steps = left;
                Ok(())
            }
            None => Err(self.overrun(Overrun::Steps)),
        }
    }

    /// Goes one level deeper for as long as `walk` walks.
    fn deeper<T>(&mut self, walk: impl FnOnce(&mut Self) -> Outcome<T>) -> Outcome<T> {
        if self.depth >= DEEPEST {
            return Err(self.fault(format!("exceeded maximum template depth ({DEEPEST})")));
        }
        self.depth += 1;
        let walked = walk(self);
        self.depth -= 1;
        walked
    }

    fn list(&mut self, dot: &Value<'d>, list: &'t List) -> Outcome<()> {
        list.0.iter().try_for_each(|node| self.node(dot, node))
    }

    fn node(&mut self, dot: &Value<'d>, node: &'t Node) -> Outcome<()> {
        self.step(0)?;
        match node {
            Node::Text(text) => {
                let pushed = self.out.push(text);
                pushed.map_err(|overrun| self.overrun(overrun))
            }
            Node::Action(action) => self.action(dot, action),
            Node::Branch(branch) => self.deeper(|state| {
                state.at = Some(branch);
                match branch.control {
                    Control::If | Control::With => state.condition(dot, branch),
                    Control::Range => state.range(dot, branch),
                }
            }),
            Node::Template(invocation) => self.deeper(|state| state.invoke(dot, invocation)),
            Node::Break => Err(Stop::Break),
            Node::Continue => Err(Stop::Continue),
        }
    }

    fn action(&mut self, dot: &Value<'d>, action: &'t Action) -> Outcome<()> {
        self.at = Some(action);
        let value = self.pipe(dot, &action.pipe)?;
        if !action.pipe.variables.is_empty() {
            return Ok(());
        }
        self.at = Some(action);
        let before = self.out.len();
        let written = match &value {
            Value::None => self.out.push(b"<no value>"),
            value => print::value(value, &mut self.out),
        };
        written.map_err(|overrun| self.overrun(overrun))?;
        self.step(self.out.len() - before)
    }

    /// `if` and `with`, with the whole chain of `else if` behind it.
    fn condition(&mut self, dot: &Value<'d>, branch: &'t Branch) -> Outcome<()> {
        let mark = self.variables.len();
        for arm in std::iter::once(&branch.first).chain(&branch.more) {
            self.step(0)?;
            let value = self.pipe(dot, &arm.pipe)?;
            if value.truth() {
                let dot = match branch.control {
                    Control::With => &value,
                    _ => dot,
                };
                let walked = self.list(dot, &arm.list);
                self.variables.truncate(mark);
                return walked;
            }
        }
        let walked = match &branch.otherwise {
            Some(list) => self.list(dot, list),
            None => Ok(()),
        };
        self.variables.truncate(mark);
        walked
    }

    fn range(&mut self, dot: &Value<'d>, branch: &'t Branch) -> Outcome<()> {
        let mark = self.variables.len();
        let value = self.pipe(dot, &branch.first.pipe)?;
        let ran = self.range_over(&value, branch);
        if let Ok(false) = ran
            && let Some(otherwise) = &branch.otherwise
        {
            let walked = self.list(dot, otherwise);
            self.variables.truncate(mark);
            return walked;
        }
        self.variables.truncate(mark);
        ran.map(drop)
    }

    /// Walks the list for each element; whether there was one.
    fn range_over(&mut self, value: &Value<'d>, branch: &'t Branch) -> Outcome<bool> {
        let number = match value {
            Value::Int(number) => Some(i128::from(*number)),
            Value::Uint(number, _) => Some(i128::from(*number)),
            _ => None,
        };
        if let Some(number) = number {
            if branch.first.pipe.variables.len() > 1 {
                let why = format!("can't use {number} to iterate over more than one variable");
                return Err(self.fault(why));
            }
            for at in 0..number {
                let element = match value {
                    Value::Uint(_, width) => Value::Uint(at as u64, *width),
                    _ => Value::Int(at as i64),
                };
                if self.iteration(branch, Value::None, element)? {
                    break;
                }
            }
            return Ok(number > 0);
        }
        match value {
            Value::None => Ok(false),
            Value::List(list) => {
                for (at, element) in list.items().iter().enumerate() {
                    if self.iteration(branch, Value::Int(at as i64), element.clone())? {
                        break;
                    }
                }
                Ok(!list.items().is_empty())
            }
            value => {
                let Some(entries) = value.entries() else {
                    let mut shown = Output::new(100);
                    let _ = print::value(value, &mut shown);
                    let shown = String::from_utf8_lossy(&shown.into_octets()).into_owned();
                    return Err(self.fault(format!("range can't iterate over {shown}")));
                };
                for (key, element) in entries.iter() {
                    let key = Value::owned(key.as_bytes());
                    if self.iteration(branch, key, element.clone())? {
                        break;
                    }
                }
                Ok(!entries.is_empty())
            }
        }
    }

    /// One element; whether the range was left.
    fn iteration(
        &mut self,
        branch: &'t Branch,
        key: Value<'d>,
        element: Value<'d>,
    ) -> Outcome<bool> {
        self.step(0)?;
        let names = branch.first.pipe.variables.as_slice();
        let values = match names {
            [] => vec![],
            [_] => vec![element.clone()],
            _ => vec![key, element.clone()],
        };
        if branch.first.pipe.assigns {
            for (name, value) in names.iter().zip(values) {
                self.assign(name, value)?;
            }
        } else {
            let start = self.variables.len() - names.len();
            for (slot, value) in self.variables[start..].iter_mut().zip(values) {
                slot.1 = value;
            }
        }
        let mark = self.variables.len();
        let walked = self.list(&element, &branch.first.list);
        self.variables.truncate(mark);
        match walked {
            Ok(()) | Err(Stop::Continue) => Ok(false),
            Err(Stop::Break) => Ok(true),
            Err(fault) => Err(fault),
        }
    }

    fn invoke(&mut self, dot: &Value<'d>, invocation: &'t Invocation) -> Outcome<()> {
        self.at = Some(invocation);
        let template = self.template;
        let list = match template.defined.get(&invocation.name) {
            Some(list) => list,
            None if invocation.name == template.name => &template.root,
            None => {
                let why = format!("template {:?} not defined", invocation.name);
                return Err(self.fault(why));
            }
        };
        let dot = match &invocation.pipe {
            Some(pipe) => self.pipe(dot, pipe)?,
            None => Value::None,
        };
        // A template sees no variables but its own.
        let variables = std::mem::replace(&mut self.variables, vec![("$", dot.clone())]);
        let name = std::mem::replace(&mut self.name, &invocation.name);
        let walked = self.list(&dot, list);
        (self.variables, self.name) = (variables, name);
        walked
    }

    fn pipe(&mut self, dot: &Value<'d>, pipe: &'t Pipe) -> Outcome<Value<'d>> {
        self.at = Some(pipe);
        let mut value = None;
        for command in &pipe.commands {
            value = Some(self.command(dot, command, value)?);
        }
        let value = value.unwrap_or(Value::None);
        for name in &pipe.variables {
            if pipe.assigns {
                self.assign(name, value.clone())?;
            } else {
                self.variables.push((name, value.clone()));
            }
        }
        Ok(value)
    }

    fn assign(&mut self, name: &str, value: Value<'d>) -> Outcome<()> {
        let found = self
            .variables
            .iter_mut()
            .rev()
            .find(|(known, _)| *known == name);
        match found {
            Some(slot) => {
                slot.1 = value;
                Ok(())
            }
            None => Err(self.fault(format!("undefined variable: {name}"))),
        }
    }

    fn variable(&mut self, name: &str) -> Outcome<Value<'d>> {
        let found = self
            .variables
            .iter()
            .rev()
            .find(|(known, _)| *known == name);
        match found.map(|(_, value)| value.clone()) {
            Some(value) => {
                let octets = match &value {
                    Value::Text(text) => text.len(),
                    _ => 0,
                };
                self.step(octets)?;
                Ok(value)
            }
            None => Err(self.fault(format!("undefined variable: {name}"))),
        }
    }

    /// A command's value; `last` is that of the command before it.
    fn command(
        &mut self,
        dot: &Value<'d>,
        command: &'t Command,
        last: Option<Value<'d>>,
    ) -> Outcome<Value<'d>> {
        self.step(0)?;
        let args = command.args.as_slice();
        let [first, rest @ ..] = args else {
            return Err(self.fault("empty command"));
        };
        match first {
            Operand::Field(..) | Operand::Chain(..) => self.fields(dot, first, rest, last),
            Operand::Variable(_, names) if names.len() > 1 => self.fields(dot, first, rest, last),
            Operand::Function(_, function) => {
                self.at = Some(first);
                self.function(dot, (*function, command), rest, last)
            }
            Operand::Pipe(pipe) => {
                self.no_arguments(first, rest, last.is_some())?;
                self.deeper(|state| state.pipe(dot, pipe))
            }
            Operand::Variable(_, names) => {
                self.at = Some(first);
                let value = self.variable(&names[0])?;
                self.no_arguments(first, rest, last.is_some())?;
                Ok(value)
            }
            Operand::Nil(_) => {
                self.at = Some(first);
                self.no_arguments(first, rest, last.is_some())?;
                Err(self.fault("nil is not a command"))
            }
            Operand::Bool(..) | Operand::Dot(_) | Operand::Number(..) | Operand::Text(..) => {
                self.at = Some(first);
                self.no_arguments(first, rest, last.is_some())?;
                self.any(dot, first)
            }
        }
    }

    fn no_arguments(&self, first: &Operand, rest: &[Operand], last: bool) -> Outcome<()> {
        if rest.is_empty() && !last {
            return Ok(());
        }
        Err(self.fault(format!("can't give argument to non-function {first}")))
    }

    /// The value of `.A.B`, `$x.A.B` or `(PIPELINE).A.B`; the last may be a method and gets the arguments.
    fn fields(
        &mut self,
        dot: &Value<'d>,
        operand: &'t Operand,
        args: &'t [Operand],
        last: Option<Value<'d>>,
    ) -> Outcome<Value<'d>> {
        self.at = Some(operand);
        let (mut value, names) = match operand {
            Operand::Field(_, names) => (dot.clone(), names.as_slice()),
            Operand::Variable(_, names) => (self.variable(&names[0])?, &names[1..]),
            Operand::Chain(_, of, names) => {
                if let Operand::Nil(_) = **of {
                    let why = format!("indirection through explicit nil in {operand}");
                    return Err(self.fault(why));
                }
                (self.argument(dot, Parameter::Any, of)?, names.as_slice())
            }
            _ => return self.any(dot, operand),
        };
        let Some((end, inner)) = names.split_last() else {
            return Ok(value);
        };
        for name in inner {
            value = self.field(dot, &value, (name, operand), (&[], None))?;
        }
        self.field(dot, &value, (end, operand), (args, last))
    }

    /// One field, method or key of a value.
    fn field(
        &mut self,
        dot: &Value<'d>,
        receiver: &Value<'d>,
        (name, place): (&'t str, &'t Operand),
        (args, last): (&'t [Operand], Option<Value<'d>>),
    ) -> Outcome<Value<'d>> {
        let has_arguments = !args.is_empty() || last.is_some();
        let missing = |state: &Self, type_name: &str| {
            state.fault(format!("can't evaluate field {name} in type {type_name}"))
        };
        if let Value::None = receiver {
            return Ok(Value::None);
        }
        if let Value::Object(object) = receiver {
            match object.field(name) {
                Some(Field::Value(_)) if has_arguments => {
                    let why = format!("{name} has arguments but cannot be invoked as function");
                    return Err(self.fault(why));
                }
                Some(Field::Value(value)) => return Ok(value),
                Some(Field::Method(method)) => {
                    return self.method(dot, (*object, method), (name, place), (args, last));
                }
                None => {}
            }
        }
        let type_name = receiver.type_name().unwrap_or_default();
        match receiver.entry(name) {
            Some(_) if has_arguments => {
                Err(self.fault(format!("{name} is not a method but has arguments")))
            }
            Some(found) => Ok(found.unwrap_or(Value::None)),
            None => Err(missing(self, type_name)),
        }
    }

    fn method(
        &mut self,
        dot: &Value<'d>,
        (object, method): (Object<'d>, Method),
        (name, place): (&'t str, &'t Operand),
        (args, last): (&'t [Operand], Option<Value<'d>>),
    ) -> Outcome<Value<'d>> {
        let signature = Signature {
            fixed: method.parameters(),
            rest: None,
        };
        let values = self.arguments(dot, (name, &signature), args, last)?;
        self.at = Some(place);
        Ok(object.call(method, &values))
    }

    fn function(
        &mut self,
        dot: &Value<'d>,
        (function, place): (Function, &'t dyn Place),
        args: &'t [Operand],
        last: Option<Value<'d>>,
    ) -> Outcome<Value<'d>> {
        let signature = function.signature();
        if let Function::And | Function::Or = function {
            return self.short_circuit(dot, function, args, last);
        }
        let values = self.arguments(dot, (function.name(), &signature), args, last)?;
        let octets = values.iter().map(|value| match value {
            Value::Text(text) => text.len(),
            _ => 0,
        });
        self.step(octets.sum())?;
        let callee = args.first().map(ToString::to_string).unwrap_or_default();
        function.call(&values, &callee).map_err(|trouble| {
            self.at = Some(place);
            match trouble {
                Trouble::Says(why) => {
                    self.fault(format!("error calling {}: {why}", function.name()))
                }
                Trouble::Overrun(overrun) => self.overrun(overrun),
            }
        })
    }

    /// `and` and `or`, which evaluate no more arguments than they need.
    fn short_circuit(
        &mut self,
        dot: &Value<'d>,
        function: Function,
        args: &'t [Operand],
        last: Option<Value<'d>>,
    ) -> Outcome<Value<'d>> {
        if args.is_empty() && last.is_none() {
            let name = function.name();
            return Err(self.fault(format!(
                "wrong number of args for {name}: want at least 1 got 0"
            )));
        }
        let mut value = Value::None;
        for arg in args {
            value = self.argument(dot, Parameter::Any, arg)?;
            if value.truth() == (function == Function::Or) {
                return Ok(value);
            }
        }
        Ok(last.unwrap_or(value))
    }

    /// The arguments of a call, checked against its parameters.
    fn arguments(
        &mut self,
        dot: &Value<'d>,
        (name, signature): (&str, &Signature),
        args: &'t [Operand],
        last: Option<Value<'d>>,
    ) -> Outcome<Vec<Value<'d>>> {
        let (given, wanted) = (
            args.len() + usize::from(last.is_some()),
            signature.fixed.len(),
        );
        let parameter = |at: usize| signature.fixed.get(at).copied().or(signature.rest);
        if signature.rest.is_none() && given != wanted {
            let why = format!("wrong number of args for {name}: want {wanted} got {given}");
            return Err(self.fault(why));
        }
        if given < wanted {
            let given = args.len();
            let why =
                format!("wrong number of args for {name}: want at least {wanted} got {given}");
            return Err(self.fault(why));
        }
        let mut values = Vec::with_capacity(given);
        for (at, arg) in args.iter().enumerate() {
            let parameter = parameter(at).unwrap_or(Parameter::Any);
            values.push(self.argument(dot, parameter, arg)?);
        }
        if let Some(last) = last {
            let parameter = parameter(args.len()).unwrap_or(Parameter::Any);
            values.push(self.fitting(last, parameter)?);
        }
        Ok(values)
    }

    /// The value of an argument for a parameter of this type.
    fn argument(
        &mut self,
        dot: &Value<'d>,
        parameter: Parameter,
        arg: &'t Operand,
    ) -> Outcome<Value<'d>> {
        self.step(0)?;
        self.at = Some(arg);
        let value = match (arg, parameter) {
            (Operand::Dot(_), _) => dot.clone(),
            (Operand::Nil(_), Parameter::Any) => return Ok(Value::None),
            (Operand::Nil(_), Parameter::Text) => {
                return Err(self.fault("cannot assign nil to string"));
            }
            (Operand::Nil(_), Parameter::Int) => return Err(self.fault("cannot assign nil to int")),
            (Operand::Field(..) | Operand::Chain(..) | Operand::Variable(..), _) => {
                self.fields(dot, arg, &[], None)?
            }
            (Operand::Pipe(pipe), _) => self.deeper(|state| state.pipe(dot, pipe))?,
            (Operand::Function(_, function), _) => {
                self.function(dot, (*function, arg), &[], None)?
            }
            (_, Parameter::Any) => return self.any(dot, arg),
            (Operand::Text(_, text, _), Parameter::Text) => return Ok(Value::owned(&**text)),
            (Operand::Number(_, Number { int: Some(int), .. }), Parameter::Int) => {
                return Ok(Value::Int(*int));
            }
            (arg, Parameter::Text) => {
                return Err(self.fault(format!("expected string; found {arg}")));
            }
            (arg, Parameter::Int) => {
                return Err(self.fault(format!("expected integer; found {arg}")));
            }
        };
        self.fitting(value, parameter)
    }

    /// A value, if it is of the parameter's type.
    fn fitting(&self, value: Value<'d>, parameter: Parameter) -> Outcome<Value<'d>> {
        let expected = match (parameter, &value) {
            (Parameter::Any, _)
            | (Parameter::Text, Value::Text(_))
            | (Parameter::Int, Value::Int(_)) => return Ok(value),
            (Parameter::Text, _) => "string",
            (Parameter::Int, _) => "int",
        };
        Err(self.fault(match value.type_name() {
            None => format!("invalid value; expected {expected}"),
            Some(name) => format!("wrong type for value; expected {expected}; got {name}"),
        }))
    }

    /// A constant or another operand where any type will do.
    fn any(&mut self, dot: &Value<'d>, operand: &'t Operand) -> Outcome<Value<'d>> {
        self.at = Some(operand);
        match operand {
            Operand::Bool(_, value) => Ok(Value::Bool(*value)),
            Operand::Dot(_) => Ok(dot.clone()),
            Operand::Text(_, text, _) => {
                self.step(text.len())?;
                Ok(Value::owned(&**text))
            }
            Operand::Number(_, number) => self.constant(number),
            Operand::Nil(_) => Err(self.fault("nil is not a command")),
            Operand::Variable(_, names) if names.len() == 1 => self.variable(&names[0]),
            Operand::Field(..)
            | Operand::Chain(..)
            | Operand::Variable(..)
            | Operand::Function(..)
            | Operand::Pipe(_) => self.argument(dot, Parameter::Any, operand),
        }
    }

    /// A number whose type is not known: how it is written says it.
    fn constant(&self, number: &Number) -> Outcome<Value<'d>> {
        let text = number.text.as_str();
        let integer = text.starts_with('\'')
            || text.len() > 2 && text.starts_with(['0']) && text[1..].starts_with(['x', 'X']);
        match number {
            Number {
                float: Some(float), ..
            } if !integer && text.contains(['.', 'e', 'E', 'p', 'P']) => Ok(Value::Float(*float)),
            Number { int: Some(int), .. } => Ok(Value::Int(*int)),
            _ => Err(self.fault(format!("{text} overflows int"))),
        }
    }
}
