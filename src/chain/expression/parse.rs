//! From an expression's lexemes to its tree: operators by precedence, names resolved, kinds checked on the way.
//!
//! Precedence and operators are those of expr-lang.

use std::ops::Range;

use corefile::nearest;

use super::builtin::{self, Each, LEFT_OUT};
use super::check::{binary, count, either, wrong_argument};
use super::lex::{self, Lexeme, Placed};
use super::node::{Node, Part};
use super::run::Field;
use super::{Element, Kind, Mistake, Names, Value};

/// How deep an expression may nest.
const DEEPEST: usize = 64;

/// How an operator that is written so binds, and whether to the right.
fn precedence(lexeme: &Lexeme<'_>) -> Option<(u8, bool, &'static str)> {
    let sign = match lexeme {
        Lexeme::Sign(sign) => *sign,
        Lexeme::Word("or") => "||",
        Lexeme::Word("and") => "&&",
        Lexeme::Word("in") => "in",
        Lexeme::Word("matches") => "matches",
        Lexeme::Word("contains") => "contains",
        Lexeme::Word("startsWith") => "startsWith",
        Lexeme::Word("endsWith") => "endsWith",
        _ => return None,
    };
    let binds = match sign {
        "|" => 0,
        "||" => 10,
        "&&" => 15,
        "==" | "!=" | "<" | ">" | "<=" | ">=" => 20,
        "in" | "matches" | "contains" | "startsWith" | "endsWith" => 20,
        ".." => 25,
        "+" | "-" => 30,
        "*" | "/" | "%" => 60,
        "**" | "^" => 100,
        "??" => 250,
        _ => return None,
    };
    Some((binds, binds == 100, sign))
}

/// Reads an expression: its tree, the kind of its value, and the metadata labels that it reads.
pub(super) fn parse(text: &str, names: &Names<'_>) -> Result<(Node, Kind, Vec<String>), Mistake> {
    let mut parser = Parser {
        lexemes: lex::cut(text)?,
        at: 0,
        names,
        lets: Vec::new(),
        items: Vec::new(),
        labels: Vec::new(),
        depth: 0,
    };
    let part = parser.sequence()?;
    match parser.peek() {
        Lexeme::End => Ok((part.node, part.kind, parser.labels)),
        _ => Err(parser.unexpected()),
    }
}

struct Parser<'t> {
    lexemes: Vec<Placed<'t>>,
    at: usize,
    names: &'t Names<'t>,
    /// The names of the `let`s around, the innermost last.
    lets: Vec<(&'t str, Kind)>,
    /// What `#` is in the predicates around, the innermost last.
    items: Vec<Kind>,
    labels: Vec<String>,
    depth: usize,
}

pub(super) type Parsed = Result<Part, Mistake>;

impl<'t> Parser<'t> {
    fn peek(&self) -> &Lexeme<'t> {
        &self.lexemes[self.at].0
    }

    fn place(&self) -> Range<usize> {
        self.lexemes[self.at].1.clone()
    }

    /// Takes the next lexeme; the end stays.
    fn next(&mut self) -> Placed<'t> {
        let next = self.lexemes[self.at].clone();
        self.at = (self.at + 1).min(self.lexemes.len() - 1);
        next
    }

    /// Takes the next lexeme if it is this sign.
    fn takes(&mut self, sign: &str) -> bool {
        let is = matches!(self.peek(), Lexeme::Sign(next) if *next == sign);
        if is {
            self.next();
        }
        is
    }

    /// Takes the next lexeme if it is this keyword.
    fn takes_word(&mut self, word: &str) -> bool {
        let is = matches!(self.peek(), Lexeme::Word(next) if *next == word);
        if is {
            self.next();
        }
        is
    }

    fn expects(&mut self, sign: &str) -> Result<Range<usize>, Mistake> {
        let place = self.place();
        if self.takes(sign) {
            return Ok(place);
        }
        let found = self.found();
        Err(Mistake::new(
            place,
            format!("expected `{sign}`, found {found}"),
        ))
    }

    /// The next lexeme, in words.
    fn found(&self) -> String {
        match self.peek() {
            Lexeme::Word(word) => format!("`{word}`"),
            Lexeme::Int(number) => format!("`{number}`"),
            Lexeme::Float(number) => format!("`{number}`"),
            Lexeme::Text(text) => format!("the text {text:?}"),
            Lexeme::Sign(sign) => format!("`{sign}`"),
            Lexeme::End => "the end".to_owned(),
        }
    }

    fn unexpected(&self) -> Mistake {
        Mistake::new(self.place(), format!("unexpected {}", self.found()))
    }

    /// `let NAME = VALUE; …`, and an expression at the end.
    fn sequence(&mut self) -> Parsed {
        if !matches!(self.peek(), Lexeme::Word("let")) {
            return self.expression(0);
        }
        let start = self.next().1.start;
        let (name, place) = self.next();
        let Lexeme::Word(name) = name else {
            return Err(Mistake::new(place, "expected a name after `let`"));
        };
        let taken = self.lets.iter().any(|(known, _)| *known == name)
            || self.names.variables.iter().any(|(known, _)| *known == name)
            || self.is_function(name);
        if taken {
            let message = format!("cannot declare `{name}`: there is something of this name");
            return Err(Mistake::new(place, message));
        }
        self.expects("=")?;
        let value = self.expression(0)?;
        self.expects(";")?;
        self.lets.push((name, value.kind));
        let rest = self.nested(Self::sequence);
        self.lets.pop();
        let rest = rest?;
        Ok(Part {
            node: Node::Let(Box::new([value.node, rest.node])),
            kind: rest.kind,
            place: start..rest.place.end,
        })
    }

    /// Reads one level deeper.
    fn nested(&mut self, read: impl FnOnce(&mut Self) -> Parsed) -> Parsed {
        if self.depth >= DEEPEST {
            return Err(Mistake::new(self.place(), "the expression nests too deep"));
        }
        self.depth += 1;
        let part = read(self);
        self.depth -= 1;
        part
    }

    /// An expression whose operators bind at least so strong.
    fn expression(&mut self, least: u8) -> Parsed {
        self.nested(|parser| parser.operators(least))
    }

    fn operators(&mut self, least: u8) -> Parsed {
        let mut left = self.unary()?;
        loop {
            let before = self.at;
            let negated = self.takes_word("not");
            let Some((binds, right_first, sign)) = precedence(self.peek()) else {
                self.at = before;
                break;
            };
            let negatable = matches!(
                sign,
                "in" | "matches" | "contains" | "startsWith" | "endsWith"
            );
            if binds < least || negated && !negatable {
                self.at = before;
                break;
            }
            let place = self.next().1;
            if sign == "|" {
                left = self.pipe(left)?;
                continue;
            }
            let right = self.expression(if right_first { binds } else { binds + 1 })?;
            left = if matches!(sign, "<" | ">" | "<=" | ">=") {
                self.comparisons(left, (sign, place), right)?
            } else {
                binary(left, (sign, place), right)?
            };
            if negated {
                left.node = Node::Not(Box::new(left.node));
            }
        }
        if least == 0 {
            self.choice(left)
        } else {
            Ok(left)
        }
    }

    /// `a < b < c`: both.
    fn comparisons(
        &mut self,
        left: Part,
        (sign, place): (&'static str, Range<usize>),
        right: Part,
    ) -> Parsed {
        let (node, kind, end) = (right.node.clone(), right.kind, right.place.clone());
        let mut all = binary(left, (sign, place), right)?;
        let mut middle = Part {
            node,
            kind,
            place: end,
        };
        while let Some((20, _, sign @ ("<" | ">" | "<=" | ">="))) = precedence(self.peek()) {
            let place = self.next().1;
            let right = self.expression(21)?;
            let again = Part {
                node: right.node.clone(),
                kind: right.kind,
                place: right.place.clone(),
            };
            let one = binary(middle, (sign, place.clone()), right)?;
            all = binary(all, ("&&", place), one)?;
            middle = again;
        }
        Ok(all)
    }

    /// `a ? b : c` and `a ?: c`, where a choice follows.
    fn choice(&mut self, condition: Part) -> Parsed {
        if !self.takes("?") {
            return Ok(condition);
        }
        if !matches!(condition.kind, Kind::Bool | Kind::Any) {
            let message = format!("a choice needs bool before `?`, not {}", condition.kind);
            return Err(Mistake::new(condition.place, message));
        }
        let (yes, no);
        if self.takes(":") {
            yes = Part {
                node: condition.node.clone(),
                kind: condition.kind,
                place: condition.place.clone(),
            };
            no = self.expression(0)?;
        } else {
            yes = self.expression(0)?;
            self.expects(":")?;
            no = self.expression(0)?;
        }
        Ok(Part {
            kind: either(yes.kind, no.kind),
            place: condition.place.start..no.place.end,
            node: Node::Choice(Box::new([condition.node, yes.node, no.node])),
        })
    }

    /// `a | function(…)`: the function with `a` as its first argument.
    fn pipe(&mut self, first: Part) -> Parsed {
        let (name, place) = self.next();
        let Lexeme::Word(name) = name else {
            return Err(Mistake::new(place, "expected a function after `|`"));
        };
        self.expects("(")?;
        let part = self.call(name, place, Some(first))?;
        self.postfix(part)
    }

    fn unary(&mut self) -> Parsed {
        let place = self.place();
        if self.takes("!") || self.takes_word("not") {
            let part = self.expression(50)?;
            if !matches!(part.kind, Kind::Bool | Kind::Any) {
                let message = format!("`not` needs bool, not {}", part.kind);
                return Err(Mistake::new(part.place, message)
                    .help("write `not (…)` around a comparison: `not` binds tighter"));
            }
            return Ok(Part {
                node: Node::Not(Box::new(part.node)),
                kind: Kind::Bool,
                place: place.start..part.place.end,
            });
        }
        let minus = self.takes("-");
        if !minus && !self.takes("+") {
            let part = self.primary()?;
            return self.postfix(part);
        }
        let part = self.expression(90)?;
        if !(part.kind.is_number() || part.kind == Kind::Any) {
            let message = format!("a sign needs a number, not {}", part.kind);
            return Err(Mistake::new(part.place, message));
        }
        let node = match part.node {
            node if !minus => node,
            Node::Constant(Value::Int(value)) => Node::Constant(Value::Int(value.wrapping_neg())),
            Node::Constant(Value::Float(value)) => Node::Constant(Value::Float(-value)),
            node => Node::Negate(Box::new(node)),
        };
        Ok(Part {
            node,
            kind: part.kind,
            place: place.start..part.place.end,
        })
    }

    fn primary(&mut self) -> Parsed {
        let (lexeme, place) = self.next();
        match lexeme {
            Lexeme::Int(value) => Ok(Part::constant(Value::Int(value), Kind::Int, place)),
            Lexeme::Float(value) => Ok(Part::constant(Value::Float(value), Kind::Float, place)),
            Lexeme::Text(text) => Ok(Part::constant(Value::Text(text.into()), Kind::Text, place)),
            Lexeme::Sign("(") => {
                let part = self.nested(Self::sequence)?;
                let end = self.expects(")")?.end;
                let place = place.start..end;
                Ok(Part { place, ..part })
            }
            Lexeme::Sign("[") => self.list(place),
            Lexeme::Sign("{") => self.map(place),
            Lexeme::Word("true") => Ok(Part::constant(Value::Bool(true), Kind::Bool, place)),
            Lexeme::Word("false") => Ok(Part::constant(Value::Bool(false), Kind::Bool, place)),
            Lexeme::Word("nil") => Ok(Part::constant(Value::Nil, Kind::Nil, place)),
            Lexeme::Word("if") => self.branch(place),
            Lexeme::Word(name) if name.starts_with('#') => self.item(name, place),
            Lexeme::Word(name) if self.takes("(") => self.call(name, place, None),
            Lexeme::Word(name) => self.name(name, place),
            Lexeme::Sign(_) | Lexeme::End => {
                self.at = self.at.saturating_sub(usize::from(lexeme != Lexeme::End));
                Err(self.unexpected())
            }
        }
    }

    /// `if a { b } else { c }`.
    fn branch(&mut self, place: Range<usize>) -> Parsed {
        let condition = self.expression(0)?;
        if !matches!(condition.kind, Kind::Bool | Kind::Any) {
            let message = format!("`if` needs bool, not {}", condition.kind);
            return Err(Mistake::new(condition.place, message));
        }
        self.expects("{")?;
        let yes = self.nested(Self::sequence)?;
        self.expects("}")?;
        if !self.takes_word("else") {
            return Err(Mistake::new(self.place(), "expected `else`"));
        }
        let no = match self.peek() {
            Lexeme::Word("if") => {
                let place = self.next().1;
                self.nested(|parser| parser.branch(place))?
            }
            _ => {
                self.expects("{")?;
                let no = self.nested(Self::sequence)?;
                self.expects("}")?;
                no
            }
        };
        Ok(Part {
            kind: either(yes.kind, no.kind),
            place: place.start..no.place.end,
            node: Node::Choice(Box::new([condition.node, yes.node, no.node])),
        })
    }

    fn list(&mut self, place: Range<usize>) -> Parsed {
        let (mut nodes, mut element) = (Vec::new(), None);
        while !matches!(self.peek(), Lexeme::Sign("]")) {
            let part = self.expression(0)?;
            let kind = part.kind.element();
            element = Some(match element {
                Some(before) if before != kind => Element::Any,
                _ => kind,
            });
            nodes.push(part.node);
            if !self.takes(",") {
                break;
            }
        }
        let end = self.expects("]")?.end;
        Ok(Part {
            node: Node::List(nodes.into()),
            kind: Kind::List(element.unwrap_or(Element::Any)),
            place: place.start..end,
        })
    }

    fn map(&mut self, place: Range<usize>) -> Parsed {
        let mut entries = Vec::new();
        while !matches!(self.peek(), Lexeme::Sign("}")) {
            let (key, place) = self.next();
            let key = match key {
                Lexeme::Word(word) => word.to_owned(),
                Lexeme::Text(text) => text,
                Lexeme::Int(number) => number.to_string(),
                _ => return Err(Mistake::new(place, "expected a key")),
            };
            self.expects(":")?;
            entries.push((key, self.expression(0)?.node));
            if !self.takes(",") {
                break;
            }
        }
        let end = self.expects("}")?.end;
        Ok(Part {
            node: Node::Map(entries.into()),
            kind: Kind::Map,
            place: place.start..end,
        })
    }

    /// `#` and `#index`.
    fn item(&mut self, name: &str, place: Range<usize>) -> Parsed {
        let Some(&kind) = self.items.last() else {
            let message = format!("`{name}` has a meaning only in a predicate: `any(…, # > 1)`");
            return Err(Mistake::new(place, message));
        };
        let (node, kind) = match name {
            "#" => (Node::Item, kind),
            "#index" => (Node::Index, Kind::Int),
            _ => return Err(Mistake::new(place, format!("unknown pointer `{name}`"))),
        };
        Ok(Part { node, kind, place })
    }

    /// A name that is not called.
    fn name(&mut self, name: &str, place: Range<usize>) -> Parsed {
        let lets = self.lets.iter().rev().enumerate();
        if let Some((above, (_, kind))) = lets.into_iter().find(|(_, (known, _))| *known == name) {
            let (node, kind) = (Node::Local(above), *kind);
            return Ok(Part { node, kind, place });
        }
        let mut variables = self.names.variables.iter().enumerate();
        if let Some((number, (_, kind))) = variables.find(|(_, (known, _))| *known == name) {
            let (node, kind) = (Node::Variable(number), *kind);
            return Ok(Part { node, kind, place });
        }
        if self.is_function(name) {
            let mistake = Mistake::new(place, format!("`{name}` is a function"));
            return Err(mistake.help(format!("call it: `{name}()`")));
        }
        let variables = self.names.variables.iter().map(|(known, _)| *known);
        let mistake = Mistake::new(place, format!("unknown name `{name}`"));
        Err(match nearest(name, variables) {
            Some(near) => mistake.help(format!("a similar name exists: `{near}`")),
            None => mistake.help(format!("write a text in quotes: '{name}'")),
        })
    }

    fn is_function(&self, name: &str) -> bool {
        Field::named(name).is_some()
            || matches!(name, "incidr" | "metadata")
            || builtin::find(name).is_some()
            || Each::named(name).is_some()
            || self.names.functions.iter().any(|known| known.name == name)
    }

    /// A call of `name`, behind its `(`; `first` stands before the arguments.
    fn call(&mut self, name: &str, place: Range<usize>, first: Option<Part>) -> Parsed {
        if let Some(each) = Each::named(name) {
            return self.each((each, name), place, first);
        }
        let mut arguments: Vec<Part> = first.into_iter().collect();
        while !matches!(self.peek(), Lexeme::Sign(")")) {
            arguments.push(self.expression(0)?);
            if !self.takes(",") {
                break;
            }
        }
        let end = self.expects(")")?.end;
        let whole = place.start..end;
        let (node, kind) = self.resolve(name, (place, whole.clone()), arguments)?;
        Ok(Part {
            node,
            kind,
            place: whole,
        })
    }

    /// What a call of `name` with these arguments is.
    fn resolve(
        &mut self,
        name: &str,
        (place, whole): (Range<usize>, Range<usize>),
        mut arguments: Vec<Part>,
    ) -> Result<(Node, Kind), Mistake> {
        let given: Vec<(Kind, Range<usize>)> = arguments
            .iter()
            .map(|part| (part.kind, part.place.clone()))
            .collect();
        let counted = |least: usize, most: usize| count(name, &whole, given.len(), (least, most));
        let functions = self.names.functions.iter().enumerate();
        let own = functions.into_iter().find(|(_, known)| known.name == name);
        if let Some((number, function)) = own {
            counted(function.parameters.len(), function.parameters.len())?;
            for (parameter, (kind, place)) in function.parameters.iter().zip(&given) {
                let takes = *parameter == Kind::Any || *kind == Kind::Any || parameter == kind;
                if !takes {
                    return Err(wrong_argument(name, place, *kind, &parameter.to_string()));
                }
            }
            let nodes = arguments.into_iter().map(|part| part.node).collect();
            return Ok((Node::Call(number, nodes), function.result));
        }
        if let Some(field) = Field::named(name) {
            counted(0, 0)?;
            return Ok((Node::Query(field), field.kind()));
        }
        let is_text = |number: usize| match given.get(number) {
            Some((kind, place)) if !matches!(kind, Kind::Text | Kind::Any) => {
                Err(wrong_argument(name, place, *kind, "string"))
            }
            _ => Ok(()),
        };
        match name {
            "metadata" => {
                counted(1, 1)?;
                is_text(0)?;
                let label = arguments.remove(0);
                self.labels.extend(label.text().map(str::to_owned));
                return Ok((Node::Metadata(Box::new(label.node)), Kind::Text));
            }
            "incidr" => {
                counted(2, 2)?;
                is_text(0)?;
                is_text(1)?;
                let (prefix, ip) = (arguments.remove(1), arguments.remove(0));
                let node = match prefix.text() {
                    Some(text) => match text.parse() {
                        Ok(prefix) => Node::InPrefix(Box::new(ip.node), prefix),
                        Err(_) => {
                            let message = format!("{text:?} is no prefix in CIDR notation");
                            let mistake = Mistake::new(prefix.place, message);
                            return Err(mistake.help("write it as 192.0.2.0/24 or 2001:db8::/32"));
                        }
                    },
                    None => Node::InCidr(Box::new([ip.node, prefix.node])),
                };
                return Ok((node, Kind::Bool));
            }
            _ => {}
        }
        let Some((_, function, parameters, (least, most))) = builtin::find(name) else {
            return Err(self.unknown_function(name, place));
        };
        counted(*least, *most)?;
        for (number, (kind, place)) in given.iter().enumerate() {
            let parameter = parameters.get(number).or(parameters.last());
            if let Some(parameter) = parameter.filter(|parameter| !parameter.takes(*kind)) {
                return Err(wrong_argument(name, place, *kind, parameter.name()));
            }
        }
        let kinds: Vec<Kind> = given.iter().map(|(kind, _)| *kind).collect();
        let nodes = arguments.into_iter().map(|part| part.node).collect();
        Ok((Node::Builtin(*function, nodes), function.result(&kinds)))
    }

    fn unknown_function(&self, name: &str, place: Range<usize>) -> Mistake {
        if LEFT_OUT.contains(&name) {
            let message = format!("expr-lang has the function `{name}`, nameplate does not");
            return Mistake::new(place, message);
        }
        let mut known = vec!["incidr", "metadata"];
        known.extend(Field::NAMES.iter().map(|(known, _)| *known));
        known.extend(builtin::names());
        known.extend(Each::NAMES.iter().map(|(known, _)| *known));
        let own = self.names.functions.iter().map(|known| known.name);
        let known = known.into_iter().map(|name| -> &str { name }).chain(own);
        let mistake = Mistake::new(place, format!("unknown function `{name}`"));
        match nearest(name, known) {
            Some(near) => mistake.help(format!("a similar function exists: `{near}`")),
            None => mistake,
        }
    }

    /// `any(list, predicate)` and its like; the predicate stands in braces or not.
    fn each(
        &mut self,
        (each, name): (Each, &str),
        place: Range<usize>,
        first: Option<Part>,
    ) -> Parsed {
        let list = match first {
            Some(list) => list,
            None => {
                let list = self.expression(0)?;
                if !matches!(self.peek(), Lexeme::Sign(")")) {
                    self.expects(",")?;
                }
                list
            }
        };
        let element = match list.kind {
            Kind::List(element) => element,
            Kind::Any => Element::Any,
            kind => return Err(wrong_argument(name, &list.place, kind, "array")),
        };
        if matches!(self.peek(), Lexeme::Sign(")")) {
            if each != Each::Count {
                let message = format!("`{name}` needs a predicate: `{name}(…, # > 1)`");
                return Err(Mistake::new(self.place(), message));
            }
            let end = self.next().1.end;
            return Ok(Part {
                node: Node::Each(each, Box::new(list.node), None),
                kind: Kind::Int,
                place: place.start..end,
            });
        }
        self.items.push(element.kind());
        let said = if self.takes("{") {
            let said = self.nested(Self::sequence);
            said.and_then(|said| self.expects("}").map(|_| said))
        } else {
            self.expression(0)
        };
        self.items.pop();
        let said = said?;
        if each != Each::Map && !matches!(said.kind, Kind::Bool | Kind::Any) {
            let message = format!("the predicate of `{name}` is {}, not bool", said.kind);
            return Err(Mistake::new(said.place, message));
        }
        let end = self.expects(")")?.end;
        Ok(Part {
            node: Node::Each(each, Box::new(list.node), Some(Box::new(said.node))),
            kind: each.result(element, said.kind),
            place: place.start..end,
        })
    }

    /// Members, elements and slices of what has been read.
    fn postfix(&mut self, mut part: Part) -> Parsed {
        loop {
            let optional = matches!(self.peek(), Lexeme::Sign("?."));
            if self.takes(".") || self.takes("?.") {
                let (name, place) = self.next();
                let key = match name {
                    Lexeme::Word(name) => Node::Constant(Value::Text(name.to_owned().into())),
                    Lexeme::Sign("[") if optional => {
                        let key = self.expression(0)?;
                        self.expects("]")?;
                        key.node
                    }
                    _ => return Err(Mistake::new(place, "expected a name after `.`")),
                };
                if !matches!(part.kind, Kind::Map | Kind::Any) {
                    let message = format!("{} has no members", part.kind);
                    return Err(Mistake::new(place, message));
                }
                part = Part {
                    node: Node::At(Box::new([part.node, key]), optional),
                    kind: Kind::Any,
                    place: part.place.start..place.end,
                };
            } else if self.takes("[") {
                part = self.element(part)?;
            } else {
                return Ok(part);
            }
        }
    }

    /// `a[b]` or `a[b:c]`, behind the bracket.
    fn element(&mut self, part: Part) -> Parsed {
        let index = match self.peek() {
            Lexeme::Sign(":") => None,
            _ => Some(self.expression(0)?),
        };
        let is_int = |index: &Part| matches!(index.kind, Kind::Int | Kind::Any);
        if let Some(odd) = index
            .as_ref()
            .filter(|index| part.kind != Kind::Map && part.kind != Kind::Any && !is_int(index))
        {
            let message = format!("an index is int, not {}", odd.kind);
            return Err(Mistake::new(odd.place.clone(), message));
        }
        if !self.takes(":") {
            let end = self.expects("]")?.end;
            let Some(index) = index else {
                return Err(self.unexpected());
            };
            let kind = match part.kind {
                Kind::List(element) => element.kind(),
                Kind::Map | Kind::Any => Kind::Any,
                Kind::Text => Kind::Text,
                kind => {
                    let message = format!("{kind} has no elements");
                    return Err(Mistake::new(part.place, message));
                }
            };
            return Ok(Part {
                node: Node::At(Box::new([part.node, index.node]), false),
                kind,
                place: part.place.start..end,
            });
        }
        let to = match self.peek() {
            Lexeme::Sign("]") => None,
            _ => Some(self.expression(0)?),
        };
        let end = self.expects("]")?.end;
        if !matches!(part.kind, Kind::List(_) | Kind::Text | Kind::Any) {
            let message = format!("{} has no slices", part.kind);
            return Err(Mistake::new(part.place, message));
        }
        if let Some(odd) = to.as_ref().filter(|to| !is_int(to)) {
            let message = format!("an index is int, not {}", odd.kind);
            return Err(Mistake::new(odd.place.clone(), message));
        }
        let bounds = [index, to].map(|bound| bound.map(|bound| Box::new(bound.node)));
        Ok(Part {
            node: Node::Slice(Box::new(part.node), bounds),
            kind: part.kind,
            place: part.place.start..end,
        })
    }
}
