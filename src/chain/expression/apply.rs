//! What the functions of the language do.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::builtin::Builtin;
use super::run::{compare, fits, integer, number, odd, text};
use super::{Error, Value};

impl Builtin {
    /// The function's value for these arguments, of which there are as many as it takes.
    pub(super) fn apply<'v>(self, arguments: Vec<Value<'v>>) -> Result<Value<'v>, Error> {
        let mut rest = arguments.into_iter();
        let mut next = || rest.next().unwrap_or(Value::Nil);
        Ok(match self {
            Self::Len => match next() {
                Value::Text(text) => Value::Int(text.chars().count() as i64),
                Value::List(values) => Value::Int(values.len() as i64),
                Value::Map(entries) => Value::Int(entries.len() as i64),
                other => return Err(odd("len", &other)),
            },
            Self::Abs => match next() {
                Value::Int(value) => Value::Int(value.wrapping_abs()),
                other => Value::Float(number(&other)?.abs()),
            },
            Self::Ceil => Value::Float(number(&next())?.ceil()),
            Self::Floor => Value::Float(number(&next())?.floor()),
            Self::Round => Value::Float(number(&next())?.round()),
            Self::Int => to_int(next())?,
            Self::Float => to_float(next())?,
            Self::String => Value::Text(next().to_string().into()),
            Self::Upper => Value::Text(text(next())?.to_uppercase().into()),
            Self::Lower => Value::Text(text(next())?.to_lowercase().into()),
            Self::Trim | Self::TrimPrefix | Self::TrimSuffix => {
                let trimmed = text(next())?;
                let what = rest.next().map(text).transpose()?;
                Value::Text(trim(self, trimmed, what.as_deref()))
            }
            Self::Split | Self::SplitAfter => {
                let (whole, by) = (text(next())?, text(next())?);
                let most = rest.next().map_or(Ok(-1), integer)?;
                Value::List(split(&whole, &by, most, self == Self::SplitAfter))
            }
            Self::Replace => {
                let (whole, old, new) = (text(next())?, text(next())?, text(next())?);
                let most = rest.next().map_or(Ok(-1), integer)?;
                let added = whole.matches(&*old).count().saturating_mul(new.len());
                fits("replace", whole.len().saturating_add(added))?;
                let replaced = match usize::try_from(most) {
                    Ok(most) => whole.replacen(&*old, &new, most),
                    Err(_) => whole.replace(&*old, &new),
                };
                Value::Text(replaced.into())
            }
            Self::Repeat => {
                let part = text(next())?;
                let times = usize::try_from(integer(next())?)
                    .map_err(|_| Error::new("repeat: a negative count"))?;
                fits("repeat", part.len().saturating_mul(times))?;
                Value::Text(part.repeat(times).into())
            }
            Self::Join => {
                let Value::List(values) = next() else {
                    return Err(Error::new("join: no array"));
                };
                let texts = values
                    .into_iter()
                    .map(text)
                    .collect::<Result<Vec<_>, _>>()?;
                let between = rest.next().map_or(Ok(Cow::Borrowed("")), text)?;
                let octets: usize = texts.iter().map(|text| text.len() + between.len()).sum();
                fits("join", octets)?;
                Value::Text(texts.join(&*between).into())
            }
            Self::IndexOf | Self::LastIndexOf => {
                let (whole, part) = (text(next())?, text(next())?);
                let at = match self {
                    Self::IndexOf => whole.find(&*part),
                    _ => whole.rfind(&*part),
                };
                Value::Int(at.map_or(-1, |at| at as i64))
            }
            Self::HasPrefix => Value::Bool(text(next())?.starts_with(&*text(next())?)),
            Self::HasSuffix => Value::Bool(text(next())?.ends_with(&*text(next())?)),
            Self::Max => extreme(rest, Ordering::Greater)?,
            Self::Min => extreme(rest, Ordering::Less)?,
            Self::First | Self::Last => match (self, next()) {
                (Self::First, Value::List(values)) => {
                    values.into_iter().next().unwrap_or(Value::Nil)
                }
                (_, Value::List(mut values)) => values.pop().unwrap_or(Value::Nil),
                (_, other) => return Err(odd("first and last", &other)),
            },
            Self::Get => get(next(), &next())?,
            Self::Keys | Self::Values => match next() {
                Value::Map(entries) if self == Self::Keys => Value::List(
                    entries
                        .into_iter()
                        .map(|(key, _)| Value::Text(key))
                        .collect(),
                ),
                Value::Map(entries) => {
                    Value::List(entries.into_iter().map(|(_, value)| value).collect())
                }
                other => return Err(odd("keys and values", &other)),
            },
            Self::Reverse => match next() {
                Value::List(mut values) => {
                    values.reverse();
                    Value::List(values)
                }
                other => return Err(odd("reverse", &other)),
            },
            Self::Concat => {
                let mut all = Vec::new();
                for argument in rest {
                    match argument {
                        Value::List(values) => all.extend(values),
                        other => return Err(odd("concat", &other)),
                    }
                }
                Value::List(all)
            }
            Self::BitNot => Value::Int(!integer(next())?),
            Self::BitAnd | Self::BitOr | Self::BitXor | Self::BitNand => {
                let (one, two) = (integer(next())?, integer(next())?);
                Value::Int(match self {
                    Self::BitAnd => one & two,
                    Self::BitOr => one | two,
                    Self::BitXor => one ^ two,
                    // Go's `&^`.
                    _ => one & !two,
                })
            }
            Self::BitShl | Self::BitShr | Self::BitUshr => {
                let (value, by) = (integer(next())?, integer(next())?);
                let by = u32::try_from(by)
                    .map_err(|_| Error::new("a negative number of bits to shift"))?;
                Value::Int(match self {
                    Self::BitShl => value.checked_shl(by).unwrap_or(0),
                    Self::BitShr => value >> by.min(63),
                    _ => (value as u64).checked_shr(by).unwrap_or(0) as i64,
                })
            }
        })
    }
}

fn to_int(value: Value<'_>) -> Result<Value<'_>, Error> {
    let read = match &value {
        Value::Int(value) => Some(*value),
        Value::Float(value) => Some(*value as i64),
        Value::Text(text) => text.parse().ok(),
        other => return Err(odd("int", other)),
    };
    let read = read.ok_or_else(|| Error::new(format!("invalid operation: int({value})")));
    read.map(Value::Int)
}

fn to_float(value: Value<'_>) -> Result<Value<'_>, Error> {
    let read = match &value {
        Value::Text(text) => text.parse().ok(),
        other => Some(number(other)?),
    };
    let read = read.ok_or_else(|| Error::new(format!("invalid operation: float({value})")));
    read.map(Value::Float)
}

/// The text without `what` at its ends: white space, or these characters; of a prefix and a suffix the text itself.
fn trim<'v>(function: Builtin, whole: Cow<'v, str>, what: Option<&str>) -> Cow<'v, str> {
    let part: &str = match (function, what) {
        (Builtin::Trim, None) => whole.trim(),
        (Builtin::Trim, Some(what)) => whole.trim_matches(|c| what.contains(c)),
        (Builtin::TrimPrefix, what) => {
            let what = what.unwrap_or(" ");
            whole.strip_prefix(what).unwrap_or(&whole)
        }
        (_, what) => {
            let what = what.unwrap_or(" ");
            whole.strip_suffix(what).unwrap_or(&whole)
        }
    };
    if part.len() == whole.len() {
        return whole;
    }
    Cow::Owned(part.to_owned())
}

/// Go's `strings.SplitN` and `SplitAfterN`: at most so many parts, all of them where `most` is negative.
fn split<'v>(whole: &str, by: &str, most: i64, keep: bool) -> Vec<Value<'v>> {
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let mut parts = Vec::new();
    let mut rest = whole;
    if most == 0 {
        return parts;
    }
    while parts.len() + 1 < most {
        let cut = match by.is_empty() {
            true => rest
                .chars()
                .next()
                .map(|c| (c.len_utf8(), c.len_utf8()))
                .filter(|(len, _)| *len < rest.len()),
            false => rest.find(by).map(|at| (at, at + by.len())),
        };
        let Some((end, next)) = cut else { break };
        let end = if keep { next } else { end };
        parts.push(Value::Text(rest[..end].to_owned().into()));
        rest = &rest[next..];
    }
    if !(by.is_empty() && rest.is_empty()) {
        parts.push(Value::Text(rest.to_owned().into()));
    }
    parts
}

/// The greatest or the least of numbers and lists of numbers.
fn extreme<'v>(
    values: impl Iterator<Item = Value<'v>>,
    wanted: Ordering,
) -> Result<Value<'v>, Error> {
    let mut best: Option<Value<'v>> = None;
    for value in values {
        let value = match value {
            Value::List(values) => extreme(values.into_iter(), wanted)?,
            value => value,
        };
        number(&value)?;
        let better = match &best {
            Some(best) => compare(&value, best)? == Some(wanted),
            None => true,
        };
        if better {
            best = Some(value);
        }
    }
    best.ok_or_else(|| Error::new("not enough arguments"))
}

/// The value at `key`; nil when it is not there.
fn get<'v>(value: Value<'v>, key: &Value<'_>) -> Result<Value<'v>, Error> {
    match (value, key) {
        (Value::List(mut values), Value::Int(at)) => {
            let from_end = if *at < 0 { values.len() as i64 } else { 0 };
            let at = usize::try_from(at + from_end).unwrap_or(usize::MAX);
            Ok(match at < values.len() {
                true => values.swap_remove(at),
                false => Value::Nil,
            })
        }
        (Value::Map(entries), Value::Text(key)) => {
            let found = entries.into_iter().find(|(known, _)| known == key);
            Ok(found.map_or(Value::Nil, |(_, value)| value))
        }
        (other, _) => Err(odd("get", &other)),
    }
}
