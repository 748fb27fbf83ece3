//! What a template sees of a query: the fields that CoreDNS documents, under Go's names and types.

use std::borrow::Cow;
use std::fmt::{self, Debug, Write};
use std::net::IpAddr;

use wire::{Class, Edns, Flags, Name, NameBuf, Type};

use super::engine::{Entry, List, Parameter, Value, Width};

/// The data of one template for one query.
pub(super) struct Data<'d> {
    /// The zone that encloses the name.
    pub(super) zone: &'d str,
    /// QNAME in lower case.
    pub(super) name: &'d str,
    /// The expression that matched.
    pub(super) regex: &'d str,
    /// QCLASS.
    pub(super) class: Cow<'d, str>,
    /// QTYPE.
    pub(super) rtype: Cow<'d, str>,
    /// What the expression found in the name.
    pub(super) groups: Groups<'d>,
    /// The query.
    pub(super) asked: Asked<'d>,
    /// What `var` has set.
    pub(super) variables: Vec<(&'d str, Value<'d>)>,
    /// Gives the value of a metadata label; empty where it has none.
    pub(super) metadata: &'d dyn Fn(&str) -> String,
}

/// The groups of an expression and where they matched.
#[derive(Clone, Debug, Default)]
pub(super) struct Groups<'d> {
    /// The names, empty for groups without one; the first is the whole match.
    pub(super) names: &'d [Box<str>],
    /// Where in the name they matched.
    pub(super) places: Vec<Option<(usize, usize)>>,
}

/// What is known of the query itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'d> {
    /// The message as it was received.
    pub(super) message: &'d [u8],
    /// QNAME as it stands now, where it was rewritten.
    pub(super) rewritten: Option<Name<'d>>,
    pub(super) id: u16,
    pub(super) flags: Flags,
    pub(super) qtype: Type,
    pub(super) qclass: Class,
    pub(super) edns: Option<Edns>,
    /// Who asked.
    pub(super) peer: IpAddr,
}

impl<'d> Data<'d> {
    /// What matched as a group, by its number; empty where it took no part.
    fn group_at(&self, at: usize) -> Option<&'d str> {
        let place = self.groups.places.get(at)?;
        let (from, to) = place.unwrap_or_default();
        self.name.get(from..to)
    }

    /// What matched as a group, by its name or number.
    pub(super) fn group(&self, key: &str) -> Option<&'d str> {
        let named = self
            .groups
            .names
            .iter()
            .rposition(|name| !name.is_empty() && **name == *key);
        let numbered = || key.parse::<usize>().ok().filter(|at| at.to_string() == key);
        self.group_at(named.or_else(numbered)?)
    }
}

impl Asked<'_> {
    /// QNAME in the letters that it was asked in.
    fn question_name(&self) -> String {
        match self.rewritten {
            Some(name) => presentation(name),
            None => match NameBuf::read(self.message, wire::HEADER_LEN) {
                Ok((name, _)) => presentation(name.as_name()),
                Err(_) => String::new(),
            },
        }
    }

    /// The counts of the sections.
    fn counts(&self) -> [u16; 4] {
        wire::Header::read(self.message).map_or([0; 4], |header| header.counts)
    }
}

/// A name as Go's DNS library writes it: what is special is escaped, and always a dot at the end.
pub(super) fn presentation(name: Name<'_>) -> String {
    let mut out = String::with_capacity(name.octets().len() + 1);
    if name.is_root() {
        out.push('.');
    }
    for label in name.labels() {
        for &octet in label {
            match octet {
                b'.' | b' ' | b'\'' | b'@' | b';' | b'(' | b')' | b'"' | b'\\' => {
                    out.push('\\');
                    out.push(octet as char);
                }
                0x21..=0x7E => out.push(octet as char),
                _ => {
                    let _ = write!(out, "\\{octet:03}");
                }
            }
        }
        out.push('.');
    }
    out
}

/// A part of the data that has parts.
#[derive(Clone, Copy)]
pub(super) enum Object<'d> {
    /// All of it.
    Root(&'d Data<'d>),
    /// `.Group`
    Group(&'d Data<'d>),
    /// `.Var`
    Variables(&'d Data<'d>),
    /// `.Message`
    Message(&'d Data<'d>),
    /// `.Question`
    Question(&'d Data<'d>),
    /// `.Message.IsEdns0`
    Opt(Edns),
}

/// What a name leads to.
pub(super) enum Field<'d> {
    /// A field.
    Value(Value<'d>),
    /// A method, which takes arguments.
    Method(Method),
}

/// A method.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Method {
    /// `.Meta LABEL`
    Meta,
    /// `.Message.IsEdns0`
    IsEdns0,
    /// `.Message.Len`
    Len,
    /// `.Message.IsEdns0.Do`
    Do,
    /// `.Message.IsEdns0.UDPSize`
    UdpSize,
    /// `.Message.IsEdns0.Version`
    Version,
}

impl Method {
    /// Its parameters.
    pub(super) fn parameters(self) -> &'static [Parameter] {
        match self {
            Self::Meta => &[Parameter::Text],
            _ => &[],
        }
    }
}

impl Debug for Object<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.type_name())
    }
}

impl<'d> Object<'d> {
    /// The name of its type in Go.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Self::Root(_) => "*template.templateData",
            Self::Group(_) => "map[string]string",
            Self::Variables(_) => "map[string]interface {}",
            Self::Message(_) => "*dns.Msg",
            Self::Question(_) => "*dns.Question",
            Self::Opt(_) => "*dns.OPT",
        }
    }

    /// Whether its names are keys.
    pub(super) fn is_map(&self) -> bool {
        matches!(self, Self::Group(_) | Self::Variables(_))
    }

    /// How many entries it has, if it is a map.
    pub(super) fn len(&self) -> Option<usize> {
        self.entries().map(|entries| entries.len())
    }

    /// The value under a key of a map.
    pub(super) fn entry(&self, key: &str) -> Option<Value<'d>> {
        match self {
            Self::Group(data) => data.group(key).map(Value::text),
            Self::Variables(data) => {
                let found = data.variables.iter().find(|(name, _)| *name == key);
                found.map(|(_, value)| value.clone())
            }
            _ => None,
        }
    }

    /// All entries of a map, in the order of the keys.
    pub(super) fn entries(&self) -> Option<Vec<Entry<'d>>> {
        let mut entries: Vec<Entry<'d>> = match self {
            Self::Group(data) => {
                let numbers = (0..data.groups.places.len()).map(|at| at.to_string().into());
                let names = data.groups.names.iter().filter(|name| !name.is_empty());
                let mut keys: Vec<Box<str>> = numbers.chain(names.cloned()).collect();
                keys.sort_unstable();
                keys.dedup();
                let entry = |key: Box<str>| {
                    let value = Value::text(data.group(&key).unwrap_or_default());
                    (key, value)
                };
                keys.into_iter().map(entry).collect()
            }
            Self::Variables(data) => {
                let variables = data.variables.iter();
                variables
                    .map(|(name, value)| ((*name).into(), value.clone()))
                    .collect()
            }
            _ => return None,
        };
        entries.sort_by(|(one, _), (other, _)| one.cmp(other));
        Some(entries)
    }

    /// What a name leads to; nothing where the type has no such field or method.
    pub(super) fn field(&self, name: &str) -> Option<Field<'d>> {
        let method = match (self, name) {
            (Self::Root(_), "Meta") => Some(Method::Meta),
            (Self::Message(_), "IsEdns0") => Some(Method::IsEdns0),
            (Self::Message(_), "Len") => Some(Method::Len),
            (Self::Opt(_), "Do") => Some(Method::Do),
            (Self::Opt(_), "UDPSize") => Some(Method::UdpSize),
            (Self::Opt(_), "Version") => Some(Method::Version),
            _ => None,
        };
        if let Some(method) = method {
            return Some(Field::Method(method));
        }
        let value = match *self {
            Self::Root(data) => root(data, name)?,
            Self::Message(data) => message(data, name)?,
            Self::Question(data) => match name {
                "Name" => Value::owned(data.asked.question_name()),
                "Qtype" => Value::word(data.asked.qtype.0),
                "Qclass" => Value::word(data.asked.qclass.0),
                _ => return None,
            },
            _ => return None,
        };
        Some(Field::Value(value))
    }

    /// The value of a method, whose arguments have been checked.
    pub(super) fn call(&self, method: Method, args: &[Value<'d>]) -> Value<'d> {
        match (method, *self, args) {
            (Method::Meta, Self::Root(data), [Value::Text(label)]) => {
                Value::owned((data.metadata)(&String::from_utf8_lossy(label)))
            }
            (Method::IsEdns0, Self::Message(data), _) => match data.asked.edns {
                Some(edns) => Value::Object(Object::Opt(edns)),
                None => Value::None,
            },
            (Method::Len, Self::Message(data), _) => Value::Int(data.asked.message.len() as i64),
            (Method::Do, Self::Opt(edns), _) => Value::Bool(edns.dnssec_ok()),
            (Method::UdpSize, Self::Opt(edns), _) => Value::word(edns.udp_size),
            (Method::Version, Self::Opt(edns), _) => {
                Value::Uint(u64::from(edns.version), Width::Bits8)
            }
            _ => Value::None,
        }
    }
}

/// A field of the data.
fn root<'d>(data: &'d Data<'d>, name: &str) -> Option<Value<'d>> {
    Some(match name {
        "Zone" => Value::text(data.zone),
        "Name" => Value::text(data.name),
        "Regex" => Value::text(data.regex),
        "Class" => Value::text(&data.class),
        "Type" => Value::text(&data.rtype),
        "Match" => {
            let groups = (0..data.groups.places.len()).map_while(|at| data.group_at(at));
            Value::List(List::new("[]string", groups.map(Value::text).collect()))
        }
        "Group" => Value::Object(Object::Group(data)),
        "Message" => Value::Object(Object::Message(data)),
        "Question" => Value::Object(Object::Question(data)),
        "Remote" => Value::owned(data.asked.peer.to_canonical().to_string()),
        "Var" => Value::Object(Object::Variables(data)),
        _ => return None,
    })
}

/// The names of the data's fields.
pub(super) const FIELDS: [&str; 12] = [
    "Class", "Group", "Match", "Message", "Meta", "Name", "Question", "Regex", "Remote", "Type",
    "Var", "Zone",
];

/// A field of the message.
fn message<'d>(data: &'d Data<'d>, name: &str) -> Option<Value<'d>> {
    let flag = |bit: u16| Value::Bool(data.asked.flags.has(bit));
    let records = |section: usize| match data.asked.counts()[section] {
        0 => Value::List(List::new("[]dns.RR", Vec::new())),
        count => Value::List(List::new("[]dns.RR", vec![Value::None; count as usize])),
    };
    Some(match name {
        "Id" => Value::word(data.asked.id),
        "Response" => flag(Flags::QR),
        "Opcode" => Value::Int(i64::from(data.asked.flags.opcode().0)),
        "Authoritative" => flag(Flags::AA),
        "Truncated" => flag(Flags::TC),
        "RecursionDesired" => flag(Flags::RD),
        "RecursionAvailable" => flag(Flags::RA),
        "Zero" => flag(0x0040),
        "AuthenticatedData" => flag(Flags::AD),
        "CheckingDisabled" => flag(Flags::CD),
        "Rcode" => Value::Int(0),
        "Compress" => Value::Bool(false),
        "Question" => {
            let question = Value::Object(Object::Question(data));
            Value::List(List::new("[]dns.Question", vec![question]))
        }
        "Answer" => records(1),
        "Ns" => records(2),
        "Extra" => records(3),
        _ => return None,
    })
}
