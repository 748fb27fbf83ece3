//! Items to nodes, by Go's grammar. The first mistake ends it, with its place.

use std::collections::HashMap;

use super::funcs::Function;
use super::lex::{Item, Kind, lex};
use super::literal;
use super::node::{Action, Arm, Branch, Command, Control, Invocation, List, Node, Operand, Pipe};

/// How deep statements and parentheses may stand in each other; the evaluator's stack hangs on it.
const DEEPEST: usize = 64;

/// Why a text is no template.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in super::super) struct Mistake {
    /// Where, in octets of the text.
    pub(in super::super) at: usize,
    /// How many octets the word there has.
    pub(in super::super) len: usize,
    /// In Go's words.
    pub(in super::super) why: String,
}

/// A list that ended, and the item that ended it.
enum Ended {
    End,
    Else,
}

/// What one step of a list is.
enum Step {
    Node(Node),
    Ended(Ended),
}

/// What was read: the text's own list, and the templates that it defines.
pub(super) struct Parsed {
    pub(super) root: List,
    pub(super) defined: HashMap<String, List>,
}

/// Reads `text` as the template `name`.
pub(super) fn parse(name: &str, text: &str) -> Result<Parsed, Mistake> {
    let mut parser = Parser {
        items: lex(text),
        next: 0,
        variables: vec!["$".to_owned()],
        range_depth: 0,
        depth: 0,
        defined: HashMap::new(),
    };
    let root = parser.top()?;
    // A text that is blank apart from a template of its own name is that template.
    let own = match parser.defined.remove(name) {
        Some(own) if is_blank(&root) => own,
        Some(own) if is_blank(&own) => root,
        Some(_) => {
            let why = format!("template: multiple definition of template {name:?}");
            return Err(Mistake { at: 0, len: 0, why });
        }
        None => root,
    };
    Ok(Parsed {
        root: own,
        defined: parser.defined,
    })
}

/// Whether a list writes nothing but white space.
fn is_blank(list: &List) -> bool {
    let blank = |node: &Node| matches!(node, Node::Text(text) if text.trim_ascii().is_empty());
    list.0.iter().all(blank)
}

struct Parser {
    items: Vec<Item>,
    next: usize,
    variables: Vec<String>,
    range_depth: usize,
    depth: usize,
    defined: HashMap<String, List>,
}

type Result<T, E = Mistake> = std::result::Result<T, E>;

impl Parser {
    /// The next item; the last one comes again and again.
    fn peek(&self) -> &Item {
        let last = self.items.len().saturating_sub(1);
        &self.items[self.next.min(last)]
    }

    fn take(&mut self) -> Item {
        let item = self.peek().clone();
        self.next += 1;
        item
    }

    fn skip_space(&mut self) {
        while self.peek().kind == Kind::Space {
            self.next += 1;
        }
    }

    fn peek_word(&mut self) -> Kind {
        self.skip_space();
        self.peek().kind
    }

    fn take_word(&mut self) -> Item {
        self.skip_space();
        self.take()
    }

    fn mistake<T>(&self, item: &Item, why: impl Into<String>) -> Result<T> {
        let len = match item.kind {
            Kind::Mistake | Kind::Eof => 1,
            _ => item.text.len().max(1),
        };
        Err(Mistake {
            at: item.pos,
            len,
            why: why.into(),
        })
    }

    fn unexpected<T>(&self, item: &Item, context: &str) -> Result<T> {
        if item.kind == Kind::Mistake {
            return self.mistake(item, item.text.clone());
        }
        self.mistake(item, format!("unexpected {} in {context}", item.named()))
    }

    fn expect(&mut self, kind: Kind, context: &str) -> Result<Item> {
        let item = self.take_word();
        if item.kind == kind {
            Ok(item)
        } else {
            self.unexpected(&item, context)
        }
    }

    /// Goes one level deeper for as long as `read` reads.
    fn deeper<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.depth >= DEEPEST {
            let item = self.peek().clone();
            return self.mistake(&item, "max expression depth exceeded");
        }
        self.depth += 1;
        let read = read(self);
        self.depth -= 1;
        read
    }

    /// The whole text; definitions stand here only.
    fn top(&mut self) -> Result<List> {
        let mut list = List::default();
        loop {
            let item = self.peek().clone();
            match item.kind {
                Kind::Eof => return Ok(list),
                Kind::LeftDelim => {
                    let before = self.next;
                    self.next += 1;
                    if self.peek_word() == Kind::Define {
                        self.next += 1;
                        self.definition()?;
                        continue;
                    }
                    self.next = before;
                }
                _ => {}
            }
            match self.text_or_action()? {
                Step::Node(node) => list.0.push(node),
                Step::Ended(Ended::End) => return self.mistake(&item, "unexpected {{end}}"),
                Step::Ended(Ended::Else) => return self.mistake(&item, "unexpected {{else}}"),
            }
        }
    }

    /// `{{ define "NAME" }} … {{ end }}`, from the name on. Variables of the text around are not seen in it.
    fn definition(&mut self) -> Result<()> {
        const CONTEXT: &str = "define clause";
        let name = self.template_name(CONTEXT)?;
        let at = self.peek().clone();
        self.expect(Kind::RightDelim, CONTEXT)?;
        let list = self.body(CONTEXT)?;
        self.define(name, list, &at)
    }

    /// The list of a template of its own, to its end.
    fn body(&mut self, context: &str) -> Result<List> {
        let outer = std::mem::replace(&mut self.variables, vec!["$".to_owned()]);
        let range_depth = std::mem::take(&mut self.range_depth);
        let (list, ended) = self.deeper(Self::list)?;
        (self.variables, self.range_depth) = (outer, range_depth);
        if let Ended::Else = ended {
            let item = self.peek().clone();
            return self.mistake(&item, format!("unexpected {{{{else}}}} in {context}"));
        }
        Ok(list)
    }

    fn define(&mut self, name: String, list: List, at: &Item) -> Result<()> {
        if let Some(known) = self.defined.get(&name)
            && !is_blank(known)
        {
            if is_blank(&list) {
                return Ok(());
            }
            let why = format!("template: multiple definition of template {name:?}");
            return self.mistake(at, why);
        }
        self.defined.insert(name, list);
        Ok(())
    }

    fn template_name(&mut self, context: &str) -> Result<String> {
        let item = self.take_word();
        match item.kind {
            Kind::String | Kind::RawString => {
                let octets = self.unquoted(&item)?;
                Ok(String::from_utf8_lossy(&octets).into_owned())
            }
            _ => self.unexpected(&item, context),
        }
    }

    fn unquoted(&self, item: &Item) -> Result<Vec<u8>> {
        match literal::unquote(&item.text) {
            Some(octets) => Ok(octets),
            None => self.mistake(item, "invalid syntax"),
        }
    }

    /// Nodes up to `end` or `else`.
    fn list(&mut self) -> Result<(List, Ended)> {
        let mut list = List::default();
        loop {
            if self.peek().kind == Kind::Eof {
                let item = self.peek().clone();
                return self.mistake(&item, "unexpected EOF");
            }
            match self.text_or_action()? {
                Step::Node(node) => list.0.push(node),
                Step::Ended(ended) => return Ok((list, ended)),
            }
        }
    }

    fn text_or_action(&mut self) -> Result<Step> {
        let item = self.take_word();
        match item.kind {
            Kind::Text => Ok(Step::Node(Node::Text(item.text.into_bytes().into()))),
            Kind::LeftDelim => self.action(),
            _ => self.unexpected(&item, "input"),
        }
    }

    /// What stands behind `{{`.
    fn action(&mut self) -> Result<Step> {
        let kind = self.peek_word();
        let item = self.peek().clone();
        let node = match kind {
            Kind::Block => {
                self.next += 1;
                self.block()?
            }
            Kind::Break | Kind::Continue => {
                self.next += 1;
                self.leave(&item)?
            }
            Kind::Else => {
                self.next += 1;
                return self.otherwise();
            }
            Kind::End => {
                self.next += 1;
                self.expect(Kind::RightDelim, "end")?;
                return Ok(Step::Ended(Ended::End));
            }
            Kind::If | Kind::Range | Kind::With => {
                self.next += 1;
                Node::Branch(self.control(kind)?)
            }
            Kind::Template => {
                self.next += 1;
                self.invocation()?
            }
            _ => {
                let pos = item.pos;
                let pipe = self.pipeline("command", Kind::RightDelim)?;
                Node::Action(Action { pos, pipe })
            }
        };
        Ok(Step::Node(node))
    }

    fn leave(&mut self, word: &Item) -> Result<Node> {
        let written = format!("{{{{{}}}}}", word.text);
        let end = self.take_word();
        if end.kind != Kind::RightDelim {
            return self.unexpected(&end, &written);
        }
        if self.range_depth == 0 {
            return self.mistake(word, format!("{written} outside {{{{range}}}}"));
        }
        Ok(match word.kind {
            Kind::Break => Node::Break,
            _ => Node::Continue,
        })
    }

    /// `else`, which may be followed by `if` or `with`; these stay to be read.
    fn otherwise(&mut self) -> Result<Step> {
        if !matches!(self.peek_word(), Kind::If | Kind::With) {
            self.expect(Kind::RightDelim, "else")?;
        }
        Ok(Step::Ended(Ended::Else))
    }

    /// `if`, `with` or `range`, from the pipeline on. `else if` is an `if` in the else list, and its `end` is that of both; a chain of
    /// them is read in a loop, so that it may be long.
    fn control(&mut self, kind: Kind) -> Result<Branch> {
        let (control, context) = match kind {
            Kind::If => (Control::If, "if"),
            Kind::With => (Control::With, "with"),
            _ => (Control::Range, "range"),
        };
        let variables = self.variables.len();
        let (first, mut ended) = self.arm(control, context)?;
        let mut branch = Branch {
            control,
            first,
            more: Vec::new(),
            otherwise: None,
        };
        while let Ended::Else = ended {
            let item = self.peek().clone();
            if item.kind == kind && control != Control::Range {
                self.next += 1;
                let (arm, next) = self.arm(control, context)?;
                branch.more.push(arm);
                ended = next;
                continue;
            }
            match self.deeper(Self::list)? {
                (list, Ended::End) => branch.otherwise = Some(list),
                (_, Ended::Else) => return self.mistake(&item, "expected end; found {{else}}"),
            }
            break;
        }
        self.variables.truncate(variables);
        Ok(branch)
    }

    /// A pipeline and the list behind it.
    fn arm(&mut self, control: Control, context: &str) -> Result<(Arm, Ended)> {
        let pipe = self.pipeline(context, Kind::RightDelim)?;
        let ranges = usize::from(control == Control::Range);
        self.range_depth += ranges;
        let (list, ended) = self.deeper(Self::list)?;
        self.range_depth -= ranges;
        Ok((Arm { pipe, list }, ended))
    }

    fn block(&mut self) -> Result<Node> {
        const CONTEXT: &str = "block clause";
        self.skip_space();
        let at = self.peek().clone();
        let name = self.template_name(CONTEXT)?;
        let pipe = self.pipeline(CONTEXT, Kind::RightDelim)?;
        let list = self.body(CONTEXT)?;
        self.define(name.clone(), list, &at)?;
        Ok(Node::Template(Invocation {
            pos: at.pos,
            name,
            pipe: Some(pipe),
        }))
    }

    fn invocation(&mut self) -> Result<Node> {
        const CONTEXT: &str = "template clause";
        self.skip_space();
        let pos = self.peek().pos;
        let name = self.template_name(CONTEXT)?;
        let pipe = match self.peek_word() {
            Kind::RightDelim => {
                self.next += 1;
                None
            }
            _ => Some(self.pipeline(CONTEXT, Kind::RightDelim)?),
        };
        Ok(Node::Template(Invocation { pos, name, pipe }))
    }

    /// Declarations and commands up to `end`.
    fn pipeline(&mut self, context: &str, end: Kind) -> Result<Pipe> {
        self.skip_space();
        let mut pipe = Pipe {
            pos: self.peek().pos,
            assigns: false,
            variables: Vec::new(),
            commands: Vec::new(),
        };
        self.declarations(context, &mut pipe)?;
        loop {
            let kind = self.peek_word();
            let item = self.peek().clone();
            if kind == end {
                self.next += 1;
                self.check_pipeline(&pipe, context, &item)?;
                return Ok(pipe);
            }
            match kind {
                Kind::Bool
                | Kind::CharConstant
                | Kind::Complex
                | Kind::Dot
                | Kind::Field
                | Kind::Identifier
                | Kind::Number
                | Kind::Nil
                | Kind::RawString
                | Kind::String
                | Kind::Variable
                | Kind::LeftParen => {
                    let command = self.command()?;
                    pipe.commands.push(command);
                }
                _ => return self.unexpected(&item, context),
            }
        }
    }

    /// `$x :=`, `$x =`, and of a range `$i, $x :=`.
    fn declarations(&mut self, context: &str, pipe: &mut Pipe) -> Result<()> {
        while self.peek_word() == Kind::Variable {
            let before = self.next;
            let variable = self.take();
            let kind = self.peek_word();
            let item = self.peek().clone();
            match kind {
                Kind::Assign | Kind::Declare => {
                    self.next += 1;
                    pipe.assigns = kind == Kind::Assign;
                    self.variables.push(variable.text.clone());
                    pipe.variables.push(variable.text);
                    return Ok(());
                }
                Kind::Char if item.text == "," => {
                    self.next += 1;
                    self.variables.push(variable.text.clone());
                    pipe.variables.push(variable.text);
                    if context != "range" || pipe.variables.len() >= 2 {
                        let why = format!("too many declarations in {context}");
                        return self.mistake(&item, why);
                    }
                    let follows = self.peek_word();
                    if !matches!(
                        follows,
                        Kind::Variable | Kind::RightDelim | Kind::RightParen
                    ) {
                        return self.mistake(&item, "range can only initialize variables");
                    }
                }
                _ => {
                    self.next = before;
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// A pipeline has a command, and a constant can only be its first.
    fn check_pipeline(&self, pipe: &Pipe, context: &str, end: &Item) -> Result<()> {
        if pipe.commands.is_empty() {
            return self.mistake(end, format!("missing value for {context}"));
        }
        for (at, command) in pipe.commands.iter().enumerate().skip(1) {
            if let Some(
                Operand::Bool(pos, _)
                | Operand::Dot(pos)
                | Operand::Nil(pos)
                | Operand::Number(pos, _)
                | Operand::Text(pos, ..),
            ) = command.args.first()
            {
                let why = format!("non executable command in pipeline stage {}", at + 1);
                let (at, len) = (*pos, 1);
                return Err(Mistake { at, len, why });
            }
        }
        Ok(())
    }

    /// Operands up to a pipe, a parenthesis or the end of the action.
    fn command(&mut self) -> Result<Command> {
        self.skip_space();
        let mut command = Command {
            pos: self.peek().pos,
            args: Vec::new(),
        };
        loop {
            self.skip_space();
            if let Some(operand) = self.operand()? {
                command.args.push(operand);
            }
            let item = self.peek().clone();
            match item.kind {
                Kind::Space => self.next += 1,
                Kind::RightDelim | Kind::RightParen => break,
                Kind::Pipe => {
                    self.next += 1;
                    break;
                }
                _ => return self.unexpected(&item, "operand"),
            }
        }
        if command.args.is_empty() {
            let item = self.peek().clone();
            return self.mistake(&item, "empty command");
        }
        Ok(command)
    }

    /// A term with the fields behind it; nothing where none stands.
    fn operand(&mut self) -> Result<Option<Operand>> {
        let Some(term) = self.term()? else {
            return Ok(None);
        };
        if self.peek().kind != Kind::Field {
            return Ok(Some(term));
        }
        let at = self.peek().clone();
        let mut fields = Vec::new();
        while self.peek().kind == Kind::Field {
            fields.push(self.take().text.split_off(1));
        }
        Ok(Some(match term {
            Operand::Field(_, mut names) => {
                names.append(&mut fields);
                Operand::Field(at.pos, names)
            }
            Operand::Variable(_, mut names) => {
                names.append(&mut fields);
                Operand::Variable(at.pos, names)
            }
            term @ (Operand::Bool(..)
            | Operand::Text(..)
            | Operand::Number(..)
            | Operand::Nil(_)
            | Operand::Dot(_)) => {
                let written = term.to_string();
                return self.mistake(&at, format!("unexpected . after term {written:?}"));
            }
            term => Operand::Chain(at.pos, Box::new(term), fields),
        }))
    }

    fn term(&mut self) -> Result<Option<Operand>> {
        self.skip_space();
        let item = self.peek().clone();
        let pos = item.pos;
        let operand = match item.kind {
            Kind::Identifier => match Function::named(&item.text) {
                Some(function) => Operand::Function(pos, function),
                None => {
                    return self.mistake(&item, format!("function {:?} not defined", item.text));
                }
            },
            Kind::Dot => Operand::Dot(pos),
            Kind::Nil => Operand::Nil(pos),
            Kind::Variable if !self.variables.contains(&item.text) => {
                return self.mistake(&item, format!("undefined variable {:?}", item.text));
            }
            Kind::Variable => Operand::Variable(pos, vec![item.text]),
            Kind::Field => {
                let mut text = item.text;
                Operand::Field(pos, vec![text.split_off(1)])
            }
            Kind::Bool => Operand::Bool(pos, item.text == "true"),
            Kind::Complex => return self.mistake(&item, "complex numbers are not supported here"),
            Kind::CharConstant | Kind::Number => {
                let read = match item.kind {
                    Kind::CharConstant => literal::character(&item.text),
                    _ => literal::number(&item.text),
                };
                match read {
                    Ok(number) => Operand::Number(pos, number),
                    Err(why) => return self.mistake(&item, why),
                }
            }
            Kind::LeftParen => {
                self.next += 1;
                let pipeline =
                    |parser: &mut Self| parser.pipeline("parenthesized pipeline", Kind::RightParen);
                return self.deeper(pipeline).map(|pipe| Some(Operand::Pipe(pipe)));
            }
            Kind::String | Kind::RawString => {
                let octets = self.unquoted(&item)?;
                Operand::Text(pos, octets.into(), item.text)
            }
            _ => return Ok(None),
        };
        self.next += 1;
        Ok(Some(operand))
    }
}
