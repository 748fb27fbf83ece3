//! The functions: Go's own, and `parseInt`.

use std::borrow::Cow;

use super::literal::parse_uint;
use super::print::{self, Output};
use super::value::{Value, Width};
use super::{LONGEST, Overrun, escape, printf};

/// A function.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Function {
    And,
    Call,
    Eq,
    Ge,
    Gt,
    Html,
    Index,
    Js,
    Le,
    Len,
    Lt,
    Ne,
    Not,
    Or,
    ParseInt,
    Print,
    Printf,
    Println,
    Slice,
    UrlQuery,
}

/// What a parameter takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in super::super) enum Parameter {
    Any,
    Text,
    Int,
}

/// The parameters of a function: those that have to be there, and what may follow.
pub(super) struct Signature {
    pub(super) fixed: &'static [Parameter],
    pub(super) rest: Option<Parameter>,
}

/// Why a function gives no value.
pub(super) enum Trouble {
    /// What it says itself.
    Says(String),
    /// A bound was reached.
    Overrun(Overrun),
}

impl From<Overrun> for Trouble {
    fn from(overrun: Overrun) -> Self {
        Self::Overrun(overrun)
    }
}

fn says<T>(why: impl Into<String>) -> Result<T, Trouble> {
    Err(Trouble::Says(why.into()))
}

impl Function {
    const ALL: [(&'static str, Self); 20] = [
        ("and", Self::And),
        ("call", Self::Call),
        ("eq", Self::Eq),
        ("ge", Self::Ge),
        ("gt", Self::Gt),
        ("html", Self::Html),
        ("index", Self::Index),
        ("js", Self::Js),
        ("le", Self::Le),
        ("len", Self::Len),
        ("lt", Self::Lt),
        ("ne", Self::Ne),
        ("not", Self::Not),
        ("or", Self::Or),
        ("parseInt", Self::ParseInt),
        ("print", Self::Print),
        ("printf", Self::Printf),
        ("println", Self::Println),
        ("slice", Self::Slice),
        ("urlquery", Self::UrlQuery),
    ];

    /// The function of this name.
    pub(super) fn named(name: &str) -> Option<Self> {
        let found = Self::ALL.iter().find(|(known, _)| *known == name);
        found.map(|(_, function)| *function)
    }

    /// All names.
    pub(super) fn names() -> impl Iterator<Item = &'static str> {
        Self::ALL.iter().map(|(name, _)| *name)
    }

    /// Its name.
    pub(super) fn name(self) -> &'static str {
        let found = Self::ALL.iter().find(|(_, function)| *function == self);
        found.map_or("", |(name, _)| name)
    }

    /// Its parameters.
    pub(super) fn signature(self) -> Signature {
        use Parameter::{Any, Int, Text};
        let (fixed, rest): (&[Parameter], _) = match self {
            Self::And | Self::Or | Self::Call | Self::Index | Self::Slice | Self::Eq => {
                (&[Any], Some(Any))
            }
            Self::Ge | Self::Gt | Self::Le | Self::Lt | Self::Ne => (&[Any, Any], None),
            Self::Len | Self::Not => (&[Any], None),
            Self::Html | Self::Js | Self::UrlQuery | Self::Print | Self::Println => {
                (&[], Some(Any))
            }
            Self::Printf => (&[Text], Some(Any)),
            Self::ParseInt => (&[Text, Int, Int], None),
        };
        Signature { fixed, rest }
    }

    /// Its value; `callee` is how the first argument is written. `and` and `or` are the evaluator's, since they leave arguments out.
    pub(super) fn call<'d>(self, args: &[Value<'d>], callee: &str) -> Result<Value<'d>, Trouble> {
        let mut out = Output::new(LONGEST);
        match (self, args) {
            (Self::Call, [function, ..]) => match function.type_name() {
                None => says("call of nil"),
                Some(name) => says(format!("non-function {callee} of type {name}")),
            },
            (Self::Eq, [first, rest @ ..]) => equal(first, rest).map(Value::Bool),
            (Self::Ne, [one, _]) => equal(one, &args[1..]).map(|equal| Value::Bool(!equal)),
            (Self::Lt, [one, other]) => less(one, other).map(Value::Bool),
            (Self::Ge, [one, other]) => less(one, other).map(|less| Value::Bool(!less)),
            (Self::Le, [one, other]) => less_or_equal(one, other).map(Value::Bool),
            (Self::Gt, [one, other]) => less_or_equal(one, other).map(|less| Value::Bool(!less)),
            (Self::Not, [value]) => Ok(Value::Bool(!value.truth())),
            (Self::Len, [value]) => length(value).map(|len| Value::Int(len as i64)),
            (Self::Index, [item, keys @ ..]) => index(item, keys),
            (Self::Slice, [item, bounds @ ..]) => slice(item, bounds),
            (Self::ParseInt, [Value::Text(text), Value::Int(base), Value::Int(bits)]) => {
                let text = String::from_utf8_lossy(text);
                match parse_uint(&text, *base, *bits) {
                    Ok(number) => Ok(Value::Uint(number, Width::Bits64)),
                    Err(error) => says(error.of_parse_uint(&text)),
                }
            }
            (Self::Html | Self::Js | Self::UrlQuery, args) => {
                print::plain(&printable(args), &mut out)?;
                let text = out.into_octets();
                let text = match self {
                    Self::Html => escape::html(&text),
                    Self::Js => escape::js(&text),
                    _ => escape::url_query(&text),
                };
                match text.len() <= LONGEST {
                    true => Ok(Value::owned(text)),
                    false => Err(Trouble::Overrun(Overrun::Output)),
                }
            }
            (Self::Print, args) => {
                print::plain(args, &mut out)?;
                Ok(Value::owned(out.into_octets()))
            }
            (Self::Println, args) => {
                print::line(args, &mut out)?;
                Ok(Value::owned(out.into_octets()))
            }
            (Self::Printf, [Value::Text(format), args @ ..]) => {
                printf::format(format, args, &mut out)?;
                Ok(Value::owned(out.into_octets()))
            }
            (Self::And | Self::Or, [.., last]) => Ok(last.clone()),
            _ => says("wrong arguments"),
        }
    }
}

/// A value as the escapers print it.
fn printable<'d>(args: &[Value<'d>]) -> Vec<Value<'d>> {
    let shown = |value: &Value<'d>| match value {
        Value::None => Value::text("<no value>"),
        value => value.clone(),
    };
    args.iter().map(shown).collect()
}

/// The types of values that are compared.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Basic {
    None,
    Bool,
    Int,
    Uint,
    Float,
    Text,
}

fn basic(value: &Value<'_>) -> Basic {
    match value {
        Value::Bool(_) => Basic::Bool,
        Value::Int(_) => Basic::Int,
        Value::Uint(..) => Basic::Uint,
        Value::Float(_) => Basic::Float,
        Value::Text(_) => Basic::Text,
        Value::None | Value::List(_) | Value::Map(_) | Value::Object(_) => Basic::None,
    }
}

fn incompatible<T>(one: &str, other: &str) -> Result<T, Trouble> {
    says(format!(
        "incompatible types for comparison: {one} and {other}"
    ))
}

/// Whether the first value equals one of the others.
fn equal(first: &Value<'_>, rest: &[Value<'_>]) -> Result<bool, Trouble> {
    if rest.is_empty() {
        return says("missing argument for comparison");
    }
    for other in rest {
        let same = match (first, other) {
            (Value::Bool(one), Value::Bool(other)) => one == other,
            (Value::Int(one), Value::Int(other)) => one == other,
            (Value::Uint(one, _), Value::Uint(other, _)) => one == other,
            (Value::Int(int), Value::Uint(uint, _)) | (Value::Uint(uint, _), Value::Int(int)) => {
                u64::try_from(*int) == Ok(*uint)
            }
            (Value::Float(one), Value::Float(other)) => one == other,
            (Value::Text(one), Value::Text(other)) => one == other,
            (Value::None, Value::None) => true,
            _ => match (first.type_name(), other.type_name()) {
                (Some(one), Some(name)) if basic(first) != basic(other) => {
                    return incompatible(one, name);
                }
                (Some(_), Some(name)) => {
                    let mut shown = Output::new(LONGEST);
                    print::value(other, &mut shown)?;
                    let octets = shown.into_octets();
                    let shown = String::from_utf8_lossy(&octets);
                    return says(format!("non-comparable type {shown}: {name}"));
                }
                _ => false,
            },
        };
        if same {
            return Ok(true);
        }
    }
    Ok(false)
}

fn less(one: &Value<'_>, other: &Value<'_>) -> Result<bool, Trouble> {
    if [one, other].iter().any(|value| basic(value) == Basic::None) {
        return says("invalid type for comparison");
    }
    Ok(match (one, other) {
        (Value::Int(one), Value::Int(other)) => one < other,
        (Value::Uint(one, _), Value::Uint(other, _)) => one < other,
        (Value::Int(one), Value::Uint(other, _)) => i128::from(*one) < i128::from(*other),
        (Value::Uint(one, _), Value::Int(other)) => i128::from(*one) < i128::from(*other),
        (Value::Float(one), Value::Float(other)) => one < other,
        (Value::Text(one), Value::Text(other)) => one < other,
        (Value::Bool(_), Value::Bool(_)) => return says("invalid type for comparison"),
        (one, other) => {
            return incompatible(
                one.type_name().unwrap_or_default(),
                other.type_name().unwrap_or_default(),
            );
        }
    })
}

fn less_or_equal(one: &Value<'_>, other: &Value<'_>) -> Result<bool, Trouble> {
    Ok(less(one, other)? || equal(one, std::slice::from_ref(other))?)
}

/// The name of a value's type, or of the type that it points to.
fn behind_pointer(value: &Value<'_>) -> &'static str {
    value
        .type_name()
        .unwrap_or_default()
        .trim_start_matches('*')
}

fn length(value: &Value<'_>) -> Result<usize, Trouble> {
    match value {
        Value::None => says("reflect: call of reflect.Value.Type on zero Value"),
        Value::Text(text) => Ok(text.len()),
        Value::List(list) => Ok(list.items().len()),
        Value::Map(entries) => Ok(entries.len()),
        value => {
            let counted = match value {
                Value::Object(object) => object.len(),
                _ => None,
            };
            let name = behind_pointer(value);
            counted.map_or_else(|| says(format!("len of type {name}")), Ok)
        }
    }
}

/// An index within 0 to `most`.
fn position(index: &Value<'_>, most: usize) -> Result<usize, Trouble> {
    let wanted = match index {
        Value::Int(wanted) => i128::from(*wanted),
        Value::Uint(wanted, _) => i128::from(*wanted as i64),
        Value::None => return says("cannot index slice/array with nil"),
        other => {
            let name = other.type_name().unwrap_or_default();
            return says(format!("cannot index slice/array with type {name}"));
        }
    };
    match usize::try_from(wanted) {
        Ok(place) if place <= most => Ok(place),
        _ => says(format!("index out of range: {wanted}")),
    }
}

fn index<'d>(item: &Value<'d>, keys: &[Value<'d>]) -> Result<Value<'d>, Trouble> {
    if let Value::None = item {
        return says("index of untyped nil");
    }
    let mut item = item.clone();
    for key in keys {
        item = match &item {
            Value::Text(text) => {
                let place = position(key, text.len())?;
                match text.get(place) {
                    Some(octet) => Value::Uint(u64::from(*octet), Width::Bits8),
                    None => return says("reflect: string index out of range"),
                }
            }
            Value::List(list) => {
                let place = position(key, list.items().len())?;
                match list.items().get(place) {
                    Some(value) => value.clone(),
                    None => return says("reflect: slice index out of range"),
                }
            }
            Value::None => return says("index of nil pointer"),
            other => {
                let type_name = behind_pointer(other);
                if other.entry("").is_none() {
                    return says(format!("can't index item of type {type_name}"));
                }
                let Value::Text(key) = key else {
                    return says(match key.type_name() {
                        Some(name) => format!("value has type {name}; should be string"),
                        None => "value is nil; should be of type string".to_owned(),
                    });
                };
                let found = other.entry(&String::from_utf8_lossy(key)).flatten();
                // A missing key gives the zero of the map's values.
                found.unwrap_or(match type_name {
                    "map[string]string" => Value::text(""),
                    _ => Value::None,
                })
            }
        };
    }
    Ok(item)
}

fn slice<'d>(item: &Value<'d>, bounds: &[Value<'d>]) -> Result<Value<'d>, Trouble> {
    if let Value::None = item {
        return says("slice of untyped nil");
    }
    if bounds.len() > 3 {
        return says(format!("too many slice indexes: {}", bounds.len()));
    }
    let (len, cap) = match item {
        Value::Text(_) if bounds.len() == 3 => return says("cannot 3-index slice a string"),
        Value::Text(text) => (text.len(), text.len()),
        Value::List(list) => (list.items().len(), list.capacity()),
        other => {
            let name = behind_pointer(other);
            return says(format!("can't slice item of type {name}"));
        }
    };
    let mut places = [0, len, cap];
    for (place, bound) in places.iter_mut().zip(bounds) {
        *place = position(bound, cap)?;
    }
    let [from, to, end] = places;
    if from > to {
        return says(format!("invalid slice index: {from} > {to}"));
    }
    if to > end {
        return says(format!("invalid slice index: {to} > {end}"));
    }
    Ok(match item {
        Value::List(list) => Value::List(list.slice(from, to, end)),
        Value::Text(Cow::Borrowed(text)) => Value::Text(Cow::Borrowed(&text[from..to])),
        Value::Text(text) => Value::owned(&text[from..to]),
        other => other.clone(),
    })
}
