//! YAML as a tree that knows its lines. Anchors and merges are resolved by the reader.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::budget::BudgetBreach;
use serde_saphyr::{Error, Spanned};

use super::{Read, wrong};

/// What is told of values that the reader does not take.
const LARGE: &str = "the file has too many values, counting those that aliases repeat";
const DEEP: &str = "values are nested too deep";

/// A value and its place.
pub(super) type Node = Spanned<Value>;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Null,
    /// Numbers and truths, too: as they are written, as far as that matters.
    Text(String),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

/// Where a node stands.
pub(super) fn line(node: &Node) -> u64 {
    node.referenced.line()
}

/// Reads a document.
pub(super) fn read(text: &str) -> Read<Node> {
    // `no` and `on` may be names.
    let options = serde_saphyr::options! { strict_booleans: true };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let line = error.location().map_or(1, |at| at.line());
        (line, words(error.without_snippet()))
    })
}

/// What is wrong with a document: in our words where the reader's are for programmers.
fn words(error: &Error) -> String {
    let ours = match error {
        Error::DuplicateMappingKey { key, .. } => {
            let key = key.as_deref().unwrap_or_default();
            return format!("the key `{key}` appears here a second time");
        }
        Error::Budget { breach, .. } => match breach {
            BudgetBreach::Depth { .. } => DEEP,
            BudgetBreach::AliasAnchorRatio { .. } => "there are too many aliases",
            _ => LARGE,
        },
        Error::MultipleDocuments { .. } => {
            "a second document begins: import each from a file of its own"
        }
        Error::UnknownAnchor { .. } => "the alias refers to an anchor that is not above it",
        Error::Unexpected { expected, .. } if expected.contains("string") => "a key is a string",
        _ => "",
    };
    let theirs = error.to_string();
    let theirs = theirs.lines().next().unwrap_or_default();
    let theirs = theirs.split(" at line ").next().unwrap_or_default();
    match (ours, theirs) {
        // Behind an alias it is a text only.
        ("", theirs) if theirs.starts_with("budget breached") => LARGE.to_owned(),
        ("", "recursion limit exceeded") => DEEP.to_owned(),
        ("", theirs) => format!("this is not valid YAML: {theirs}"),
        (ours, _) => ours.to_owned(),
    }
}

/// The entries of a mapping; none of what is empty.
pub(super) fn map<'n>(node: &'n Node, what: &str) -> Read<&'n [(String, Node)]> {
    match &node.value {
        Value::Map(entries) => Ok(entries),
        Value::Null => Ok(&[]),
        _ => wrong(node, format!("{what} is a mapping")),
    }
}

/// The entry of a key.
pub(super) fn get<'n>(node: &'n Node, key: &str) -> Option<&'n Node> {
    match &node.value {
        Value::Map(entries) => entries
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, node)| node),
        _ => None,
    }
}

/// The text of a scalar.
pub(super) fn text<'n>(node: &'n Node, what: &str) -> Read<&'n str> {
    match &node.value {
        Value::Text(text) => Ok(text),
        _ => wrong(node, format!("{what} is a string")),
    }
}

/// A list's nodes, or the one that stands in its place.
pub(super) fn list(node: &Node) -> Vec<&Node> {
    match &node.value {
        Value::List(nodes) => nodes.iter().collect(),
        Value::Null => Vec::new(),
        _ => vec![node],
    }
}

/// Pairs of `KEY: VALUE`, or of a list of `KEY=VALUE`.
pub(super) fn pairs<'n>(node: &'n Node, what: &str) -> Read<Vec<(String, String, &'n Node)>> {
    let mut found = Vec::new();
    if let Value::List(nodes) = &node.value {
        for node in nodes {
            let (key, value) = match text(node, what)?.split_once('=') {
                Some((key, value)) => (key, value),
                None => (text(node, what)?, ""),
            };
            found.push((key.to_owned(), value.to_owned(), node));
        }
        return Ok(found);
    }
    for (key, value) in map(node, what)? {
        let text = match &value.value {
            Value::Null => "",
            _ => text(value, what)?,
        };
        found.push((key.clone(), text.to_owned(), value));
    }
    Ok(found)
}

/// Whether it says yes.
pub(super) fn truth(node: &Node) -> bool {
    matches!(&node.value, Value::Text(text) if ["true", "yes", "on"].contains(&text.to_ascii_lowercase().as_str()))
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Any)
    }
}

/// Takes whatever comes.
struct Any;

impl<'de> Visitor<'de> for Any {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        Value::deserialize(from)
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Value, E> {
        Ok(Value::Text(truth.to_string()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Text(number.to_string()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Text(number.to_string()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Value::Text(number.to_string()))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut nodes = Vec::new();
        while let Some(node) = access.next_element()? {
            nodes.push(node);
        }
        Ok(Value::List(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut entries: Vec<(String, Node)> = Vec::new();
        while let Some(entry) = access.next_entry()? {
            entries.push(entry);
        }
        Ok(Value::Map(entries))
    }
}
