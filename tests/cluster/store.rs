//! What the cluster holds: objects, one growing version for all of them, and a log of changes with a window.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use serde_json::{Value, json};

use crate::{Kind, protobuf};

/// An object as it was stored at some version.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) version: u64,
    /// Its JSON, the version included.
    pub(crate) text: String,
    /// The same in protobuf; nothing for a custom resource.
    pub(crate) protobuf: Vec<u8>,
    labels: HashMap<String, String>,
    phase: String,
}

/// What happened to an object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum What {
    Added,
    Modified,
    Deleted,
}

impl What {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Modified => "MODIFIED",
            Self::Deleted => "DELETED",
        }
    }
}

/// A change in the log.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) version: u64,
    pub(crate) what: What,
    pub(crate) object: Arc<Stored>,
    before: Option<Arc<Stored>>,
}

type Key = (String, String);

/// The objects of one kind, and what happened to them.
#[derive(Clone, Default)]
pub(crate) struct Table {
    objects: BTreeMap<Key, Arc<Stored>>,
    log: VecDeque<Change>,
    /// Watches from before this version are too old.
    pub(crate) oldest: u64,
}

/// The cluster.
#[derive(Clone)]
pub(crate) struct Store {
    pub(crate) version: u64,
    tables: HashMap<Kind, Table>,
    /// How many changes of a kind are remembered.
    pub(crate) window: usize,
}

impl Store {
    pub(crate) fn new() -> Self {
        Self {
            version: 100,
            tables: Kind::ALL
                .map(|kind| (kind, Table::default()))
                .into_iter()
                .collect(),
            window: 10_000,
        }
    }

    pub(crate) fn table(&self, kind: Kind) -> &Table {
        &self.tables[&kind]
    }

    fn table_mut(&mut self, kind: Kind) -> &mut Table {
        self.tables.entry(kind).or_default()
    }

    /// Stores an object, as `kubectl apply` would.
    pub(crate) fn apply(&mut self, mut object: Value) -> u64 {
        let kind = kind_of(&object);
        self.version += 1;
        let version = self.version;
        let meta = &mut object["metadata"];
        meta["resourceVersion"] = json!(version.to_string());
        if meta.get("uid").is_none() {
            meta["uid"] = json!(format!("00000000-0000-4000-8000-{version:012}"));
        }
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let stored = Arc::new(Stored {
            namespace: text(&meta["namespace"]),
            name: text(&meta["name"]),
            version,
            labels: meta["labels"]
                .as_object()
                .into_iter()
                .flatten()
                .map(|(name, value)| (name.clone(), text(value)))
                .collect(),
            phase: text(&object["status"]["phase"]),
            protobuf: protobuf_of(kind, &object),
            text: object.to_string(),
        });
        let key = (stored.namespace.clone(), stored.name.clone());
        let window = self.window;
        let table = self.table_mut(kind);
        let before = table.objects.insert(key, stored.clone());
        let what = if before.is_some() {
            What::Modified
        } else {
            What::Added
        };
        table.remember(
            Change {
                version,
                what,
                object: stored,
                before,
            },
            window,
        );
        version
    }

    /// Removes an object; whether it was there.
    pub(crate) fn delete(&mut self, kind: Kind, namespace: &str, name: &str) -> bool {
        let next = self.version + 1;
        let window = self.window;
        let table = self.table_mut(kind);
        let Some(before) = table
            .objects
            .remove(&(namespace.to_owned(), name.to_owned()))
        else {
            return false;
        };
        let mut last = (*before).clone();
        last.version = next;
        // An event of removal shows the object as it was, at the version of its removal.
        let mut object: Value = serde_json::from_str(&last.text).unwrap_or_default();
        object["metadata"]["resourceVersion"] = json!(next.to_string());
        last.protobuf = protobuf_of(kind, &object);
        last.text = object.to_string();
        table.remember(
            Change {
                version: next,
                what: What::Deleted,
                object: Arc::new(last),
                before: Some(before),
            },
            window,
        );
        self.version = next;
        true
    }

    /// Forgets the past of all kinds.
    pub(crate) fn compact(&mut self) {
        let version = self.version;
        for table in self.tables.values_mut() {
            table.log.clear();
            table.oldest = version;
        }
    }
}

impl Table {
    fn remember(&mut self, change: Change, window: usize) {
        self.log.push_back(change);
        while self.log.len() > window {
            if let Some(gone) = self.log.pop_front() {
                self.oldest = gone.version;
            }
        }
    }

    /// The objects that are selected, in etcd's order.
    pub(crate) fn select(&self, selector: &Selector) -> Vec<Arc<Stored>> {
        let all = self.objects.values();
        all.filter(|object| selector.has(object)).cloned().collect()
    }

    pub(crate) fn get(&self, namespace: &str, name: &str) -> Option<&Arc<Stored>> {
        self.objects.get(&(namespace.to_owned(), name.to_owned()))
    }

    /// What a watch from `version` has to tell, as seen through its selector.
    pub(crate) fn since(&self, version: u64, selector: &Selector) -> Vec<Change> {
        let begin = self.log.partition_point(|change| change.version <= version);
        let seen = |change: &Change| {
            let now = change.what != What::Deleted && selector.has(&change.object);
            let before = change.before.as_ref().is_some_and(|old| selector.has(old));
            let what = match (before, now) {
                (false, false) => return None,
                (false, true) => What::Added,
                (true, true) => What::Modified,
                (true, false) => What::Deleted,
            };
            Some(Change {
                what,
                ..change.clone()
            })
        };
        self.log.range(begin..).filter_map(seen).collect()
    }

    /// The last change, for a duplicate.
    pub(crate) fn last(&self) -> Option<&Change> {
        self.log.back()
    }
}

fn protobuf_of(kind: Kind, object: &Value) -> Vec<u8> {
    match kind {
        Kind::ServiceImport => Vec::new(),
        _ => protobuf::encode(object),
    }
}

/// The kind that an object says it is.
pub(crate) fn kind_of(object: &Value) -> Kind {
    let kind = object["kind"].as_str().unwrap_or_default();
    Kind::ALL
        .into_iter()
        .find(|known| known.name() == kind)
        .unwrap_or_else(|| panic!("no kind {kind:?}"))
}

/// What a list or a watch selects.
#[derive(Clone, Default, Debug)]
pub(crate) struct Selector {
    pub(crate) namespace: Option<String>,
    terms: Vec<Term>,
}

#[derive(Clone, Debug)]
enum Term {
    Exists(String),
    Absent(String),
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Name(String),
    Phase(String),
    NotPhase(String),
}

impl Selector {
    /// Reads the two selectors of a request; `None` when one is not understood.
    pub(crate) fn parse(namespace: Option<String>, labels: &str, fields: &str) -> Option<Self> {
        let mut terms = Vec::new();
        for term in split(labels) {
            terms.push(label_term(term)?);
        }
        for term in fields.split(',').filter(|term| !term.is_empty()) {
            terms.push(if let Some(name) = term.strip_prefix("metadata.name=") {
                Term::Name(name.trim_start_matches('=').to_owned())
            } else if let Some(phase) = term.strip_prefix("status.phase!=") {
                Term::NotPhase(phase.to_owned())
            } else {
                let phase = term.strip_prefix("status.phase=")?;
                Term::Phase(phase.trim_start_matches('=').to_owned())
            });
        }
        Some(Self { namespace, terms })
    }

    fn has(&self, object: &Stored) -> bool {
        let label = |name: &String| object.labels.get(name);
        self.namespace
            .as_ref()
            .is_none_or(|wanted| *wanted == object.namespace)
            && self.terms.iter().all(|term| match term {
                Term::Exists(name) => label(name).is_some(),
                Term::Absent(name) => label(name).is_none(),
                Term::In(name, values) => label(name).is_some_and(|value| values.contains(value)),
                Term::NotIn(name, values) => {
                    label(name).is_none_or(|value| !values.contains(value))
                }
                Term::Name(name) => object.name == *name,
                Term::Phase(phase) => object.phase == *phase,
                Term::NotPhase(phase) => object.phase != *phase,
            })
    }
}

/// The terms of a label selector: commas part them, but not inside parentheses.
fn split(labels: &str) -> Vec<&str> {
    let (mut out, mut depth, mut begin) = (Vec::new(), 0, 0);
    for (at, octet) in labels.bytes().enumerate() {
        match octet {
            b'(' => depth += 1,
            b')' => depth -= 1,
            b',' if depth == 0 => {
                out.push(labels[begin..at].trim());
                begin = at + 1;
            }
            _ => {}
        }
    }
    out.push(labels[begin..].trim());
    out.retain(|term| !term.is_empty());
    out
}

fn label_term(term: &str) -> Option<Term> {
    let words: Vec<&str> = term.split_whitespace().collect();
    if let [name, how @ ("in" | "notin"), ..] = words[..] {
        let (_, values) = term.split_once('(')?;
        let values = values.strip_suffix(')')?.split(',');
        let values = values.map(|value| value.trim().to_owned()).collect();
        return Some(match how {
            "in" => Term::In(name.to_owned(), values),
            _ => Term::NotIn(name.to_owned(), values),
        });
    }
    Some(if let Some(name) = term.strip_prefix('!') {
        Term::Absent(name.trim().to_owned())
    } else if let Some((name, value)) = term.split_once("!=") {
        Term::NotIn(name.trim().to_owned(), vec![value.trim().to_owned()])
    } else if let Some((name, value)) = term.split_once('=') {
        let value = value.trim_start_matches('=').trim();
        Term::In(name.trim().to_owned(), vec![value.to_owned()])
    } else {
        Term::Exists(term.to_owned())
    })
}
