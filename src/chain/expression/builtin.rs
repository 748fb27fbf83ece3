//! The functions of the language: what each takes and gives. [`super::run`] has what they do.

use super::{Element, Kind};

/// A function of values.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Builtin {
    Len,
    Abs,
    Ceil,
    Floor,
    Round,
    Int,
    Float,
    String,
    Trim,
    TrimPrefix,
    TrimSuffix,
    Upper,
    Lower,
    Split,
    SplitAfter,
    Replace,
    Repeat,
    Join,
    IndexOf,
    LastIndexOf,
    HasPrefix,
    HasSuffix,
    Max,
    Min,
    First,
    Last,
    Get,
    Keys,
    Values,
    Reverse,
    Concat,
    BitAnd,
    BitOr,
    BitXor,
    BitNand,
    BitNot,
    BitShl,
    BitShr,
    BitUshr,
}

/// What a parameter takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Parameter {
    Text,
    Int,
    Number,
    List,
    Map,
    /// A list, a map or a text.
    Countable,
    /// A list or a map.
    Indexed,
    /// A number or a list of numbers.
    Numbers,
    Any,
}

impl Parameter {
    /// Whether a value of this kind may be given; one that is not known is looked at when it is there.
    pub(super) fn takes(self, kind: Kind) -> bool {
        if kind == Kind::Any || self == Self::Any {
            return true;
        }
        match self {
            Self::Any => true,
            Self::Text => kind == Kind::Text,
            Self::Int => kind == Kind::Int,
            Self::Number => kind.is_number(),
            Self::List => matches!(kind, Kind::List(_)),
            Self::Map => kind == Kind::Map,
            Self::Countable => matches!(kind, Kind::List(_) | Kind::Map | Kind::Text),
            Self::Indexed => matches!(kind, Kind::List(_) | Kind::Map),
            Self::Numbers => kind.is_number() || matches!(kind, Kind::List(_)),
        }
    }

    /// What it takes, in words.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Text => "string",
            Self::Int => "int",
            Self::Number => "a number",
            Self::List => "array",
            Self::Map => "map",
            Self::Countable => "array, map or string",
            Self::Indexed => "array or map",
            Self::Numbers => "numbers",
            Self::Any => "any value",
        }
    }
}

/// A function's name, parameters, how many of them are needed, and how many there may be.
type Row = (&'static str, Builtin, &'static [Parameter], (usize, usize));

const ANY_NUMBER: usize = usize::MAX;

/// The functions; of one that takes more arguments than it has parameters the last one counts for the rest.
const FUNCTIONS: &[Row] = {
    use Builtin as B;
    use Parameter as P;
    &[
        ("len", B::Len, &[P::Countable], (1, 1)),
        ("abs", B::Abs, &[P::Number], (1, 1)),
        ("ceil", B::Ceil, &[P::Number], (1, 1)),
        ("floor", B::Floor, &[P::Number], (1, 1)),
        ("round", B::Round, &[P::Number], (1, 1)),
        ("int", B::Int, &[P::Any], (1, 1)),
        ("float", B::Float, &[P::Any], (1, 1)),
        ("string", B::String, &[P::Any], (1, 1)),
        ("trim", B::Trim, &[P::Text], (1, 2)),
        ("trimPrefix", B::TrimPrefix, &[P::Text], (1, 2)),
        ("trimSuffix", B::TrimSuffix, &[P::Text], (1, 2)),
        ("upper", B::Upper, &[P::Text], (1, 1)),
        ("lower", B::Lower, &[P::Text], (1, 1)),
        ("split", B::Split, &[P::Text, P::Text, P::Int], (2, 3)),
        (
            "splitAfter",
            B::SplitAfter,
            &[P::Text, P::Text, P::Int],
            (2, 3),
        ),
        (
            "replace",
            B::Replace,
            &[P::Text, P::Text, P::Text, P::Int],
            (3, 4),
        ),
        ("repeat", B::Repeat, &[P::Text, P::Int], (2, 2)),
        ("join", B::Join, &[P::List, P::Text], (1, 2)),
        ("indexOf", B::IndexOf, &[P::Text], (2, 2)),
        ("lastIndexOf", B::LastIndexOf, &[P::Text], (2, 2)),
        ("hasPrefix", B::HasPrefix, &[P::Text], (2, 2)),
        ("hasSuffix", B::HasSuffix, &[P::Text], (2, 2)),
        ("max", B::Max, &[P::Numbers], (1, ANY_NUMBER)),
        ("min", B::Min, &[P::Numbers], (1, ANY_NUMBER)),
        ("first", B::First, &[P::List], (1, 1)),
        ("last", B::Last, &[P::List], (1, 1)),
        ("get", B::Get, &[P::Indexed, P::Any], (2, 2)),
        ("keys", B::Keys, &[P::Map], (1, 1)),
        ("values", B::Values, &[P::Map], (1, 1)),
        ("reverse", B::Reverse, &[P::List], (1, 1)),
        ("concat", B::Concat, &[P::List], (1, ANY_NUMBER)),
        ("bitand", B::BitAnd, &[P::Int], (2, 2)),
        ("bitor", B::BitOr, &[P::Int], (2, 2)),
        ("bitxor", B::BitXor, &[P::Int], (2, 2)),
        ("bitnand", B::BitNand, &[P::Int], (2, 2)),
        ("bitnot", B::BitNot, &[P::Int], (1, 1)),
        ("bitshl", B::BitShl, &[P::Int], (2, 2)),
        ("bitshr", B::BitShr, &[P::Int], (2, 2)),
        ("bitushr", B::BitUshr, &[P::Int], (2, 2)),
    ]
};

/// The functions of expr-lang that are not here.
pub(super) const LEFT_OUT: [&str; 24] = [
    "date",
    "duration",
    "flatten",
    "fromBase64",
    "fromJSON",
    "fromPairs",
    "groupBy",
    "mean",
    "median",
    "now",
    "reduce",
    "sort",
    "sortBy",
    "sum",
    "take",
    "timezone",
    "toBase64",
    "toJSON",
    "toPairs",
    "uniq",
    "trunc",
    "fromBytes",
    "toBytes",
    "isNaN",
];

/// The function of this name.
pub(super) fn find(name: &str) -> Option<&'static Row> {
    FUNCTIONS.iter().find(|row| row.0 == name)
}

/// The names of all functions.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    FUNCTIONS.iter().map(|row| row.0)
}

impl Builtin {
    /// The kind of its result for arguments of these kinds.
    pub(super) fn result(self, arguments: &[Kind]) -> Kind {
        let element = |kind: Kind| match kind {
            Kind::List(element) => element.kind(),
            _ => Kind::Any,
        };
        let first = arguments.first().copied().unwrap_or(Kind::Any);
        match self {
            Self::Len | Self::Int | Self::IndexOf | Self::LastIndexOf => Kind::Int,
            Self::BitAnd | Self::BitOr | Self::BitXor | Self::BitNand | Self::BitNot => Kind::Int,
            Self::BitShl | Self::BitShr | Self::BitUshr => Kind::Int,
            Self::Ceil | Self::Floor | Self::Round | Self::Float => Kind::Float,
            Self::Abs => first,
            Self::String | Self::Trim | Self::TrimPrefix | Self::TrimSuffix => Kind::Text,
            Self::Upper | Self::Lower | Self::Replace | Self::Repeat | Self::Join => Kind::Text,
            Self::Split | Self::SplitAfter | Self::Keys => Kind::List(Element::Text),
            Self::HasPrefix | Self::HasSuffix => Kind::Bool,
            Self::Max | Self::Min if arguments.iter().all(|kind| *kind == Kind::Int) => Kind::Int,
            Self::Max | Self::Min => Kind::Any,
            Self::First | Self::Last | Self::Get => match element(first) {
                // What is not there is nil.
                Kind::Any => Kind::Any,
                kind => kind,
            },
            Self::Values => Kind::List(Element::Any),
            Self::Reverse => first,
            Self::Concat if arguments.iter().all(|kind| *kind == first) => first,
            Self::Concat => Kind::List(Element::Any),
        }
    }
}

/// A function of a list and what is said of each of its values.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Each {
    All,
    Any,
    One,
    None,
    Filter,
    Map,
    Count,
    Find,
    FindIndex,
    FindLast,
    FindLastIndex,
}

impl Each {
    /// The function of this name.
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::NAMES
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, each)| *each)
    }

    /// All of them.
    pub(super) const NAMES: [(&'static str, Self); 11] = [
        ("all", Self::All),
        ("any", Self::Any),
        ("one", Self::One),
        ("none", Self::None),
        ("filter", Self::Filter),
        ("map", Self::Map),
        ("count", Self::Count),
        ("find", Self::Find),
        ("findIndex", Self::FindIndex),
        ("findLast", Self::FindLast),
        ("findLastIndex", Self::FindLastIndex),
    ];

    /// The kind of its result for a list of such elements, of each of which something of kind `said` is said.
    pub(super) const fn result(self, element: Element, said: Kind) -> Kind {
        match self {
            Self::All | Self::Any | Self::One | Self::None => Kind::Bool,
            Self::Filter => Kind::List(element),
            Self::Map => Kind::List(said.element()),
            Self::Count | Self::FindIndex | Self::FindLastIndex => Kind::Int,
            Self::Find | Self::FindLast => element.kind(),
        }
    }
}
