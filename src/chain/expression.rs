//! Expressions, as *view* and *template* have them: the language of expr-lang, in which CoreDNS's are written.
//!
//! ```text
//! load    text ──► lex ──► parse (names and kinds are checked) ──► Node            every mistake has its place in the Corefile
//! query   Expression::is_true, Expression::evaluate ──► Run ──► Value            no text is copied, most cost no allocation
//! ```
//!
//! An own reading of the language, since what is wanted of it is what a general interpreter does not give: an unknown name, a call with
//! a wrong argument and a comparison of a text with a number are mistakes when the Corefile is loaded, at their column, as in CoreDNS,
//! whose library checks types. A constant regex and a constant prefix are compiled then, too. What is left out is refused by name:
//! dates and durations, JSON and base64, and what sorts or groups ([`builtin::LEFT_OUT`]).

mod apply;
mod builtin;
mod check;
mod lex;
mod node;
mod parse;
mod run;
#[cfg(test)]
mod tests;
mod value;

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use corefile::{Diagnostic, Span, Token};

use crate::query::Query;

pub use value::Value;

/// The steps that an evaluation has at most: what is beyond has no value. A step is a part of the expression, for each value that it is
/// evaluated for; copies of long texts and lists count, too.
pub const MOST_STEPS: u32 = 50_000;

/// What a value is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Known when it is there.
    Any,
    /// Nothing.
    Nil,
    /// `true` or `false`.
    Bool,
    /// An integer of 64 bits.
    Int,
    /// A floating-point number.
    Float,
    /// A text.
    Text,
    /// A list of one kind of value.
    List(Element),
    /// Values by key.
    Map,
}

/// What the values of a list are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Element {
    /// Of several kinds.
    Any,
    /// `true` or `false`.
    Bool,
    /// Integers.
    Int,
    /// Numbers.
    Float,
    /// Texts.
    Text,
}

impl Kind {
    /// As an element of a list.
    const fn element(self) -> Element {
        match self {
            Self::Bool => Element::Bool,
            Self::Int => Element::Int,
            Self::Float => Element::Float,
            Self::Text => Element::Text,
            _ => Element::Any,
        }
    }

    const fn is_number(self) -> bool {
        matches!(self, Self::Int | Self::Float)
    }
}

impl Element {
    const fn kind(self) -> Kind {
        match self {
            Self::Any => Kind::Any,
            Self::Bool => Kind::Bool,
            Self::Int => Kind::Int,
            Self::Float => Kind::Float,
            Self::Text => Kind::Text,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any value"),
            Self::Nil => f.write_str("nil"),
            Self::Bool => f.write_str("bool"),
            Self::Int => f.write_str("int"),
            Self::Float => f.write_str("float"),
            Self::Text => f.write_str("string"),
            Self::List(Element::Any) => f.write_str("array"),
            Self::List(element) => write!(f, "array of {}", element.kind()),
            Self::Map => f.write_str("map"),
        }
    }
}

/// A function that a plugin has beside those of all expressions.
#[derive(Clone, Copy, Debug)]
pub struct Function<'n> {
    /// Its name.
    pub name: &'n str,
    /// What it takes.
    pub parameters: &'n [Kind],
    /// What it gives.
    pub result: Kind,
}

/// The names that a plugin has beside those of all expressions; [`Values`] knows them by number.
#[derive(Clone, Copy, Debug, Default)]
pub struct Names<'n> {
    /// Values.
    pub variables: &'n [(&'n str, Kind)],
    /// Functions.
    pub functions: &'n [Function<'n>],
}

/// What the names of [`Names`] stand for, for one query.
pub trait Values {
    /// The variable of this number.
    fn variable(&self, number: usize) -> Value<'_>;

    /// The result of the function of this number; the arguments have the kinds that it declares.
    ///
    /// # Errors
    /// When it has none for these arguments.
    fn call<'v>(&'v self, number: usize, arguments: &[Value<'v>]) -> Result<Value<'v>, Error>;
}

/// No names beside those of all expressions.
impl Values for () {
    fn variable(&self, _: usize) -> Value<'_> {
        Value::Nil
    }

    fn call<'v>(&'v self, _: usize, _: &[Value<'v>]) -> Result<Value<'v>, Error> {
        Ok(Value::Nil)
    }
}

/// Why an expression has no value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Error(Cow<'static, str>);

impl Error {
    /// An error with this cause.
    pub fn new(cause: impl Into<Cow<'static, str>>) -> Self {
        Self(cause.into())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

/// What is wrong with an expression.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mistake {
    /// Where, in octets of its text.
    pub place: Range<usize>,
    /// What.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
}

impl Mistake {
    fn new(place: Range<usize>, message: impl Into<String>) -> Self {
        Self {
            place,
            message: message.into(),
            help: None,
        }
    }

    fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// An expression, ready to be evaluated.
#[derive(Debug)]
pub struct Expression {
    node: node::Node,
    kind: Kind,
    labels: Vec<String>,
}

impl Expression {
    /// Reads `text`; `names` are those that there are beside the ones of all expressions.
    ///
    /// # Errors
    /// The first mistake.
    pub fn compile(text: &str, names: &Names<'_>) -> Result<Self, Mistake> {
        let (node, kind, labels) = parse::parse(text, names)?;
        Ok(Self { node, kind, labels })
    }

    /// Reads the words of an option, which are joined by spaces, as CoreDNS does.
    ///
    /// # Errors
    /// The first mistake, at its place in the Corefile and with its column in the expression.
    pub fn read(words: &[Token], names: &Names<'_>) -> Result<Self, Diagnostic> {
        let texts: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
        let text = texts.join(" ");
        Self::compile(&text, names).map_err(|mistake| {
            let column = text[..mistake.place.start].chars().count() + 1;
            let mut diagnostic = Diagnostic::error(
                "CF0221",
                format!(
                    "the expression is wrong at its column {column}: {}",
                    mistake.message
                ),
            )
            .at(place_of(words, &mistake.place), mistake.message);
            // The Corefile takes the quotes of a word away; those of one that is the whole expression are meant so.
            let unquoted = words.iter().find(|word| word.quoted && words.len() > 1);
            if let Some(word) = unquoted {
                diagnostic = diagnostic
                    .note("double quotes belong to the Corefile, which takes them away")
                    .help(format!("write a text in single quotes: `'{}'`", word.text));
            } else if let Some(help) = mistake.help {
                diagnostic = diagnostic.help(help);
            } else if mistake.place.start >= text.trim_end().len()
                && words.last().is_some_and(|word| !word.quoted)
            {
                diagnostic = diagnostic.help(
                    "put the expression in double quotes if it has a `#`, which begins a comment",
                );
            }
            diagnostic
        })
    }

    /// The kind of its value.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Its value, where that is written as `true` or `false`.
    pub fn always(&self) -> Option<bool> {
        match self.node {
            node::Node::Constant(Value::Bool(value)) => Some(value),
            _ => None,
        }
    }

    /// Whether it may be `true`, as far as its kind tells.
    pub fn may_be_true(&self) -> bool {
        matches!(self.kind, Kind::Bool | Kind::Any) && self.always() != Some(false)
    }

    /// The metadata labels that it reads, as far as they are constant.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// Whether it is `true` for a query: any other value is not, as in CoreDNS.
    ///
    /// # Errors
    /// When it has no value: `incidr` of a text that is no address, for one.
    pub fn is_true(&self, query: &Query<'_>, values: &dyn Values) -> Result<bool, Error> {
        let texts = run::Texts::default();
        let run = run::Run::new(query, values, &texts);
        run.evaluate(&self.node)
            .map(|value| value == Value::Bool(true))
    }

    /// Its value for a query.
    ///
    /// # Errors
    /// When it has none.
    pub fn evaluate(
        &self,
        query: &Query<'_>,
        values: &dyn Values,
    ) -> Result<Value<'static>, Error> {
        let texts = run::Texts::default();
        let run = run::Run::new(query, values, &texts);
        run.evaluate(&self.node).map(Value::into_owned)
    }
}

/// Where a place in the joined text of `words` stands in the Corefile: within a word that is written as it reads, else the word. The end
/// of the text is the last word.
fn place_of(words: &[Token], place: &Range<usize>) -> Span {
    let mut start = 0;
    for (number, word) in words.iter().enumerate() {
        let end = start + word.text.len();
        if place.start < end || number + 1 == words.len() {
            let span = word.span;
            let written = (span.end - span.start) as usize;
            let quotes = match written.checked_sub(word.text.len()) {
                Some(0) => 0,
                Some(2) if word.quoted => 1,
                _ => return span,
            };
            let within = |at: usize| span.start + (at.clamp(start, end) - start + quotes) as u32;
            let (from, to) = (within(place.start), within(place.end));
            return match from < to {
                true => Span {
                    file: span.file,
                    start: from,
                    end: to,
                },
                false => span,
            };
        }
        start = end + 1;
    }
    Span {
        file: words[0].span.file,
        start: 0,
        end: 0,
    }
}
