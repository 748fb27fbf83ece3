//! A session with an editor: its documents, and what it asks.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde_json::{Value, json};

use crate::Plugins;
use crate::completion;
use crate::findings::{self, Findings};
use crate::hover;
use crate::manual::Manuals;
use crate::message::{
    INVALID_REQUEST, METHOD_NOT_FOUND, NOT_INITIALIZED, notification, refusal, response,
};
use crate::position::{self, Lines, Units};

/// How far the session is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Before `initialize`.
    New,
    /// At work.
    Open,
    /// After `shutdown`.
    ShutDown,
}

/// A session.
pub(crate) struct Session {
    plugins: Plugins,
    manuals: Manuals,
    stage: Stage,
    units: Units,
    documents: HashMap<String, Document>,
    /// Documents that changed since they were checked, and whether with the files that they name.
    unchecked: BTreeMap<String, bool>,
}

/// A document that is open.
struct Document {
    text: String,
    version: Value,
    found: Findings,
}

impl Session {
    /// A session that has not begun.
    pub(crate) fn new(plugins: Plugins, manuals: Manuals) -> Self {
        Self {
            plugins,
            manuals,
            stage: Stage::New,
            units: Units::Utf16,
            documents: HashMap::new(),
            unchecked: BTreeMap::new(),
        }
    }

    /// The exit status.
    pub(crate) fn status(&self) -> u8 {
        u8::from(self.stage != Stage::ShutDown)
    }

    /// Takes a message; gives what is to be sent, or `None` when the session is over.
    pub(crate) fn take(&mut self, message: &Value) -> Option<Vec<Value>> {
        let params = &message["params"];
        let method = match message["method"].as_str() {
            Some(method) => method,
            // The answer to something that was asked here: nothing ever is.
            None if message.get("result").is_some() || message.get("error").is_some() => {
                return Some(Vec::new());
            }
            None => {
                let why = "a request has a method";
                return Some(vec![refusal(&message["id"], INVALID_REQUEST, why)]);
            }
        };
        let Some(id) = message.get("id") else {
            return match method {
                "exit" => None,
                _ if self.stage == Stage::Open => Some(self.hear(method, params)),
                _ => Some(Vec::new()),
            };
        };
        // What is said of a document's mistakes is said of its newest text; nothing is told behind the answer to `shutdown`.
        let mut replies = match (self.stage, method) {
            (Stage::Open, "textDocument/codeAction" | "shutdown") => self.settle(),
            _ => Vec::new(),
        };
        replies.push(match (self.stage, method) {
            (Stage::New, "initialize") => response(id, self.initialize(params)),
            (Stage::New, _) => refusal(id, NOT_INITIALIZED, "the session begins with initialize"),
            (Stage::Open, "initialize") => {
                refusal(id, INVALID_REQUEST, "the session has begun already")
            }
            (Stage::Open, "shutdown") => {
                self.stage = Stage::ShutDown;
                response(id, Value::Null)
            }
            (Stage::Open, method) => match self.answer(method, params) {
                Some(result) => response(id, result),
                None => refusal(id, METHOD_NOT_FOUND, &format!("no such method: {method}")),
            },
            (Stage::ShutDown, _) => refusal(id, INVALID_REQUEST, "the session was shut down"),
        });
        Some(replies)
    }

    /// Whether a document waits for its check.
    pub(crate) fn is_settled(&self) -> bool {
        self.unchecked.is_empty()
    }

    /// Checks what changed.
    pub(crate) fn settle(&mut self) -> Vec<Value> {
        let mut told = Vec::new();
        while !self.is_settled() {
            told.extend(self.check_one());
        }
        told
    }

    /// Checks one of the documents that changed.
    pub(crate) fn check_one(&mut self) -> Vec<Value> {
        match self.unchecked.pop_first() {
            Some((uri, with_files)) => self.check(&uri, with_files),
            None => Vec::new(),
        }
    }

    fn initialize(&mut self, params: &Value) -> Value {
        self.stage = Stage::Open;
        let encodings = &params["capabilities"]["general"]["positionEncodings"];
        let takes_utf8 = encodings
            .as_array()
            .is_some_and(|all| all.iter().any(|encoding| encoding == "utf-8"));
        if takes_utf8 {
            self.units = Units::Utf8;
        }
        // A Corefile's relative names start from where the server runs; in an editor that is the folder that is worked in.
        let root = params["rootUri"]
            .as_str()
            .or_else(|| params["workspaceFolders"][0]["uri"].as_str());
        if let Some(path) = root.and_then(position::path) {
            let _ = std::env::set_current_dir(path);
        }
        json!({
            "capabilities": {
                "positionEncoding": if takes_utf8 { "utf-8" } else { "utf-16" },
                "textDocumentSync": { "openClose": true, "change": 1, "save": { "includeText": false } },
                "hoverProvider": true,
                "completionProvider": { "triggerCharacters": [" "] },
                "codeActionProvider": { "codeActionKinds": ["quickfix", "source.fixAll"] },
                "inlayHintProvider": true,
            },
            "serverInfo": { "name": "nameplate", "version": env!("CARGO_PKG_VERSION") },
        })
    }

    /// What is said without waiting for an answer.
    fn hear(&mut self, method: &str, params: &Value) -> Vec<Value> {
        let document = &params["textDocument"];
        let Some(uri) = document["uri"].as_str() else {
            return Vec::new();
        };
        match method {
            "textDocument/didOpen" => {
                let text = document["text"].as_str().unwrap_or_default();
                self.set(uri, text, &document["version"]);
                self.unchecked.remove(uri);
                self.check(uri, true)
            }
            "textDocument/didChange" => {
                let changes = params["contentChanges"].as_array();
                let Some(last) = changes.and_then(|all| all.last()) else {
                    return Vec::new();
                };
                let text = last["text"].as_str().unwrap_or_default();
                self.set(uri, text, &document["version"]);
                self.unchecked.insert(uri.to_owned(), false);
                Vec::new()
            }
            "textDocument/didSave" => {
                self.unchecked.insert(uri.to_owned(), true);
                Vec::new()
            }
            "textDocument/didClose" => {
                self.unchecked.remove(uri);
                let Some(gone) = self.documents.remove(uri) else {
                    return Vec::new();
                };
                let files: Vec<String> = gone.found.by_uri.into_keys().collect();
                files.iter().map(|file| self.publish(file)).collect()
            }
            _ => Vec::new(),
        }
    }

    fn set(&mut self, uri: &str, text: &str, version: &Value) {
        let found = self.documents.remove(uri).map(|old| old.found);
        let document = Document {
            text: text.to_owned(),
            version: version.clone(),
            found: found.unwrap_or_default(),
        };
        self.documents.insert(uri.to_owned(), document);
    }

    /// Checks a document, and tells of every file whose mistakes may be others now. A file that an open document imports is no Corefile by
    /// itself: its mistakes are found in that one, once it is saved.
    fn check(&mut self, uri: &str, with_files: bool) -> Vec<Value> {
        let path = position::path(uri);
        let importer = self.documents.iter().find(|(other, document)| {
            let imports = &document.found.imports;
            *other != uri && path.as_ref().is_some_and(|path| imports.contains(path))
        });
        let whole = importer.map_or_else(|| uri.to_owned(), |(other, _)| other.clone());
        let Some(document) = self.documents.get_mut(&whole) else {
            return Vec::new();
        };
        let new = findings::check(
            self.plugins.catalogue,
            (&whole, &document.text),
            with_files,
            self.units,
        );
        let old = std::mem::replace(&mut document.found, new);
        let mut files: BTreeSet<String> = old.by_uri.into_keys().collect();
        files.extend(document.found.by_uri.keys().cloned());
        if whole != uri
            && let Some(part) = self.documents.get_mut(uri)
        {
            part.found = Findings::default();
            files.insert(uri.to_owned());
        }
        files.iter().map(|file| self.publish(file)).collect()
    }

    /// All that was found in a file, through whatever document.
    fn publish(&self, file: &str) -> Value {
        let all = self.documents.values();
        let mut found: Vec<&Value> = all
            .flat_map(|document| document.found.by_uri.get(file).into_iter().flatten())
            .collect();
        let mut told = HashSet::new();
        found.retain(|one| told.insert(*one));
        let mut params = json!({ "uri": file, "diagnostics": found });
        if let Some(document) = self.documents.get(file)
            && !document.version.is_null()
        {
            params["version"] = document.version.clone();
        }
        notification("textDocument/publishDiagnostics", params)
    }

    /// The answer to a question; `None` where there is no such method.
    fn answer(&self, method: &str, params: &Value) -> Option<Value> {
        let uri = params["textDocument"]["uri"].as_str().unwrap_or_default();
        let document = self.documents.get(uri);
        Some(match method {
            "textDocument/hover" => document
                .and_then(|document| self.hover(uri, document, &params["position"]))
                .unwrap_or_default(),
            "textDocument/completion" => {
                let items = document.map(|document| {
                    let text = &document.text;
                    let offset = self.units.offset(text, &params["position"]);
                    completion::at(&self.plugins, &self.manuals, text, offset, self.units)
                });
                json!({ "isIncomplete": false, "items": items.unwrap_or_default() })
            }
            "textDocument/codeAction" => {
                document.map_or_else(|| json!([]), |document| self.actions(uri, document, params))
            }
            "textDocument/inlayHint" => {
                document.map_or_else(|| json!([]), |document| self.hints(uri, document, params))
            }
            _ => return None,
        })
    }

    fn hover(&self, uri: &str, document: &Document, position: &Value) -> Option<Value> {
        let text = &document.text;
        let offset = self.units.offset(text, position);
        let (told, word) = hover::at(&self.plugins, &self.manuals, (uri, text), offset)?;
        let range = Lines::of(text, self.units).range(word.start, word.end());
        Some(hover::shown(&told, range))
    }

    /// The edits for what was found in a range, and one for all of it.
    fn actions(&self, uri: &str, document: &Document, params: &Value) -> Value {
        let only: Vec<&str> = params["context"]["only"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let wants = |kind: &str| {
            let within = |only: &&str| kind == *only || kind.starts_with(&format!("{only}."));
            only.is_empty() || only.iter().any(within)
        };
        let mut actions = Vec::new();
        if wants("quickfix") {
            for fix in &document.found.fixes {
                if meets(&fix.diagnostic["range"], &params["range"]) {
                    actions.push(json!({
                        "title": fix.title,
                        "kind": "quickfix",
                        "diagnostics": [fix.diagnostic],
                        "isPreferred": true,
                        "edit": { "changes": { &fix.uri: [fix.edit] } },
                    }));
                }
            }
        }
        // As `check --fix` writes them: of edits that meet, the first counts.
        let mut all: Vec<_> = document
            .found
            .fixes
            .iter()
            .filter(|fix| fix.uri == uri)
            .collect();
        all.sort_by_key(|fix| fix.span);
        all.dedup_by(|later, first| later.span.0 < first.span.1 || later.span == first.span);
        if wants("source.fixAll") && !all.is_empty() && (all.len() > 1 || !only.is_empty()) {
            let edits: Vec<_> = all.iter().map(|fix| &fix.edit).collect();
            let changes = BTreeMap::from([(uri, edits)]);
            actions.push(json!({
                "title": "Correct what can be corrected in this file",
                "kind": "source.fixAll",
                "edit": { "changes": changes },
            }));
        }
        Value::from(actions)
    }

    /// When each plugin runs, behind its name's line.
    fn hints(&self, uri: &str, document: &Document, params: &Value) -> Value {
        let text = &document.text;
        let from = self.units.offset(text, &params["range"]["start"]);
        let to = self.units.offset(text, &params["range"]["end"]);
        let runs = hover::runs(&self.plugins, (uri, text));
        let lines = Lines::of(text, self.units);
        let hints = runs.into_iter().filter_map(|run| {
            let number = run.number?;
            if run.start < from || run.start > to {
                return None;
            }
            let line = text[run.start..]
                .split(['\n', '\r'])
                .next()
                .unwrap_or_default();
            let end = run.start + line.trim_end().len();
            Some(json!({
                "position": lines.position(end),
                "label": format!("runs {}", hover::ordinal(number)),
                "paddingLeft": true,
            }))
        });
        Value::from(hints.collect::<Vec<_>>())
    }
}

/// Whether two ranges have a place in common, their ends included. A range that is missing is everything.
fn meets(one: &Value, other: &Value) -> bool {
    let at = |range: &Value, end: &str| {
        let number = |name: &str| range[end][name].as_u64().unwrap_or_default();
        (number("line"), number("character"))
    };
    other.is_null() || at(one, "start") <= at(other, "end") && at(other, "start") <= at(one, "end")
}
