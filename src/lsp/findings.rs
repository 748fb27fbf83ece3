//! What `check` finds in a document, by file, as the protocol has it.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use chain::setup::Catalogue;
use corefile::{Corefile, Diagnostic, FileId, Severity, Span};
use serde_json::{Value, json};
use server::Source;

use crate::position::{self, Lines, Units};

/// What was found in a document and in the files that it names.
#[derive(Default)]
pub(crate) struct Findings {
    /// By file, in the order of finding; the document is always among them.
    pub(crate) by_uri: BTreeMap<String, Vec<Value>>,
    /// The edits that put mistakes in the document itself right.
    pub(crate) fixes: Vec<Fix>,
    /// The files that the document imports.
    pub(crate) imports: Vec<PathBuf>,
}

/// An edit that puts a mistake right.
pub(crate) struct Fix {
    /// What it is for.
    pub(crate) diagnostic: Value,
    /// What it does, in a few words.
    pub(crate) title: String,
    /// The file.
    pub(crate) uri: String,
    /// Where, in octets.
    pub(crate) span: (u32, u32),
    /// The edit.
    pub(crate) edit: Value,
}

/// Names the files of a document.
struct Names<'a> {
    corefile: &'a Corefile,
    main: Option<FileId>,
    uri: &'a str,
    units: Units,
    /// The files in which something was found so far.
    lines: RefCell<HashMap<FileId, Lines<'a>>>,
}

impl<'a> Names<'a> {
    fn uri(&self, file: FileId) -> String {
        if Some(file) == self.main {
            return self.uri.to_owned();
        }
        position::uri(&absolute(Path::new(self.corefile.sources.name(file))))
    }

    fn range(&self, span: Span) -> Value {
        let mut lines = self.lines.borrow_mut();
        let corefile: &'a Corefile = self.corefile;
        lines
            .entry(span.file)
            .or_insert_with(|| Lines::of(corefile.sources.text(span.file), self.units))
            .range(span.start as usize, span.end as usize)
    }

    fn location(&self, span: Span) -> Value {
        json!({ "uri": self.uri(span.file), "range": self.range(span) })
    }
}

/// Checks a document; with the files that it names, where that is wanted.
pub(crate) fn check(
    catalogue: Catalogue,
    (uri, text): (&str, &str),
    with_files: bool,
    units: Units,
) -> Findings {
    let name = name(uri);
    let source = Source::Text {
        name,
        text: text.as_bytes().to_vec(),
    };
    let mut found = Findings::default();
    found.by_uri.entry(uri.to_owned()).or_default();
    // A text can always be read.
    let Ok((corefile, report)) = server::findings(&source, catalogue, !with_files) else {
        return found;
    };
    let names = Names {
        corefile: &corefile,
        main: corefile.sources.ids().next(),
        uri,
        units,
        lines: RefCell::default(),
    };
    found.imports = corefile.files().iter().map(|path| absolute(path)).collect();
    for one in &report {
        let at = one
            .span()
            .map_or_else(|| uri.to_owned(), |span| names.uri(span.file));
        let shown = show(one, &names);
        if let Some(fix) = &one.fix {
            let replaced = fix.replaced(corefile.sources.text(fix.span.file));
            let edit = json!({ "range": names.range(replaced), "newText": fix.replacement });
            found.fixes.push(Fix {
                diagnostic: shown.clone(),
                title: title(one, corefile.sources.slice(fix.span)),
                uri: names.uri(fix.span.file),
                span: (fix.span.start, fix.span.end),
                edit,
            });
        }
        found.by_uri.entry(at).or_default().push(shown);
    }
    found
}

/// What messages call a document.
pub(crate) fn name(uri: &str) -> String {
    position::path(uri).map_or_else(|| uri.to_owned(), |path| path.display().to_string())
}

/// A path from the working directory.
pub(crate) fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())
}

fn show(one: &Diagnostic, names: &Names<'_>) -> Value {
    let range = match one.span() {
        Some(span) => names.range(span),
        None => Lines::of("", names.units).range(0, 0),
    };
    let severity = match one.severity {
        Severity::Error => 1,
        Severity::Warning => 2,
        Severity::Note => 3,
    };
    let mut message = one.message.clone();
    let under = one.labels.iter().find(|label| label.primary);
    let under = under.map(|label| label.text.clone());
    let more = under.into_iter().chain(one.notes.iter().cloned());
    for line in more.chain(one.help.as_deref().map(str::to_owned)) {
        if !line.is_empty() {
            message.push('\n');
            message.push_str(&line);
        }
    }
    let beside: Vec<Value> = one
        .labels
        .iter()
        .filter(|label| !label.primary)
        .map(|label| json!({ "location": names.location(label.span), "message": label.text }))
        .collect();
    json!({
        "range": range,
        "severity": severity,
        "code": one.code,
        "source": "nameplate",
        "message": message,
        "relatedInformation": beside,
    })
}

/// What an edit does.
fn title(one: &Diagnostic, old: &str) -> String {
    let new = one.fix.as_ref().map_or("", |fix| &fix.replacement).trim();
    match (&one.help, old.trim(), new) {
        (_, "", new) if !new.contains('\n') && !new.is_empty() => format!("Insert `{new}`"),
        (_, old, "") if !old.contains('\n') && !old.is_empty() => format!("Remove `{old}`"),
        (_, old, new) if !old.contains('\n') && !new.contains('\n') && !old.is_empty() => {
            format!("Replace `{old}` with `{new}`")
        }
        (Some(help), _, _) => help.to_string(),
        (None, _, _) => "Fix this".to_owned(),
    }
}
