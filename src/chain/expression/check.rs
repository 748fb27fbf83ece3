//! Which kinds of values go together: what expr-lang's checker refuses is refused here, too.

use std::ops::Range;

use super::node::{Node, Operator, Part};
use super::parse::Parsed;
use super::{Element, Kind, Mistake};
use crate::pattern::Pattern;

/// The kind of what is one or the other.
pub(super) fn either(one: Kind, other: Kind) -> Kind {
    match (one, other) {
        (Kind::Nil, kind) | (kind, Kind::Nil) => kind,
        (Kind::List(_), Kind::List(_)) if one != other => Kind::List(Element::Any),
        _ if one == other => one,
        _ => Kind::Any,
    }
}

/// Whether `given` arguments are enough and not too many.
pub(super) fn count(
    name: &str,
    place: &Range<usize>,
    given: usize,
    (least, most): (usize, usize),
) -> Result<(), Mistake> {
    if (least..=most).contains(&given) {
        return Ok(());
    }
    let much = if given < least {
        "not enough"
    } else {
        "too many"
    };
    let wanted = if given < least { least } else { most };
    let message = format!("{much} arguments to call `{name}`: {wanted} wanted, {given} given");
    Err(Mistake::new(place.clone(), message))
}

/// The mistake of an argument of another kind than is wanted.
pub(super) fn wrong_argument(
    name: &str,
    place: &Range<usize>,
    kind: Kind,
    wanted: &str,
) -> Mistake {
    let message = format!("cannot use {kind} as argument of `{name}`, which wants {wanted}");
    Mistake::new(place.clone(), message)
}

/// An operator between two parts, if their kinds allow it.
pub(super) fn binary(
    left: Part,
    (sign, place): (&'static str, Range<usize>),
    right: Part,
) -> Parsed {
    use Operator as O;
    let (one, two) = (left.kind, right.kind);
    let any = |kind: Kind| kind == Kind::Any;
    let both = |test: &dyn Fn(Kind) -> bool| (any(one) || test(one)) && (any(two) || test(two));
    let is_text = |kind: Kind| kind == Kind::Text;
    let numbers = both(&Kind::is_number);
    let ordered = numbers || both(&is_text);
    let number = match (one, two) {
        (Kind::Int, Kind::Int) => Kind::Int,
        _ if any(one) || any(two) => Kind::Any,
        _ => Kind::Float,
    };
    let (operator, good, kind) = match sign {
        "==" => (Some(O::Equal), comparable(one, two), Kind::Bool),
        "!=" => (Some(O::Unequal), comparable(one, two), Kind::Bool),
        "<" => (Some(O::Less), ordered, Kind::Bool),
        ">" => (Some(O::Greater), ordered, Kind::Bool),
        "<=" => (Some(O::LessOrEqual), ordered, Kind::Bool),
        ">=" => (Some(O::GreaterOrEqual), ordered, Kind::Bool),
        "+" if both(&is_text) && !(any(one) && any(two)) => (Some(O::Add), true, Kind::Text),
        "+" => (Some(O::Add), numbers, number),
        "-" => (Some(O::Subtract), numbers, number),
        "*" => (Some(O::Multiply), numbers, number),
        "/" => (Some(O::Divide), numbers, Kind::Float),
        "%" => (
            Some(O::Remainder),
            both(&|kind| kind == Kind::Int),
            Kind::Int,
        ),
        "**" | "^" => (Some(O::Power), numbers, Kind::Float),
        "in" => (Some(O::In), is_member(one, two), Kind::Bool),
        "matches" => (Some(O::Matches), both(&is_text), Kind::Bool),
        "contains" => (Some(O::Contains), both(&is_text), Kind::Bool),
        "startsWith" => (Some(O::StartsWith), both(&is_text), Kind::Bool),
        "endsWith" => (Some(O::EndsWith), both(&is_text), Kind::Bool),
        ".." => (
            Some(O::Range),
            both(&|kind| kind == Kind::Int),
            Kind::List(Element::Int),
        ),
        "&&" | "||" => (None, both(&|kind| kind == Kind::Bool), Kind::Bool),
        _ => (None, true, either(one, two)),
    };
    if !good {
        let message = format!("invalid operation: `{sign}` between {one} and {two}");
        return Err(Mistake::new(place, message));
    }
    let whole = left.place.start..right.place.end;
    if operator == Some(O::Matches)
        && let Some(pattern) = right.text()
    {
        let pattern = compile(pattern, right.place.clone())?;
        return Ok(Part {
            node: Node::Matches(Box::new(left.node), pattern),
            kind,
            place: whole,
        });
    }
    let nodes = Box::new([left.node, right.node]);
    let node = match (operator, sign) {
        (Some(operator), _) => Node::Binary(operator, nodes),
        (None, "&&") => Node::And(nodes),
        (None, "||") => Node::Or(nodes),
        (None, _) => Node::Else(nodes),
    };
    Ok(Part {
        node,
        kind,
        place: whole,
    })
}

/// Compiles a constant pattern, which is written at `place`.
fn compile(pattern: &str, place: Range<usize>) -> Result<Pattern, Mistake> {
    Pattern::new(pattern).map_err(|error| {
        // Within the quotes, where the text is written as it reads.
        let at = match place.len() == pattern.len() + 2 {
            true => place.start + 1 + error.at..place.end,
            false => place,
        };
        Mistake::new(at, format!("bad regular expression: {error}"))
    })
}

/// Whether two values of these kinds may be equal.
fn comparable(one: Kind, two: Kind) -> bool {
    let loose = |kind: Kind| matches!(kind, Kind::Any | Kind::Nil);
    loose(one)
        || loose(two)
        || one.is_number() && two.is_number()
        || matches!((one, two), (Kind::List(_), Kind::List(_)))
        || one == two
}

/// Whether a value of the first kind may be in one of the second.
fn is_member(one: Kind, two: Kind) -> bool {
    match two {
        Kind::Any => true,
        Kind::List(element) => comparable(one, element.kind()),
        Kind::Map => matches!(one, Kind::Text | Kind::Any),
        _ => false,
    }
}
