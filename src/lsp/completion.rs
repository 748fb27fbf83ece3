//! What may stand at the cursor.

use chain::setup::Entry;
use serde_json::{Value, json};

use crate::Plugins;
use crate::context::{self, Context};
use crate::manual::Manuals;
use crate::position::{Lines, Units};

/// Kinds of the protocol.
const MODULE: u8 = 9;
const PROPERTY: u8 = 10;
const VALUE: u8 = 12;
const KEYWORD: u8 = 14;
const SNIPPET: u8 = 15;

/// One proposal.
struct Proposal {
    label: String,
    kind: u8,
    detail: String,
    text: String,
}

impl Proposal {
    fn import() -> Self {
        Self {
            label: "import".to_owned(),
            kind: KEYWORD,
            detail: "the lines of a snippet or of files".to_owned(),
            text: String::new(),
        }
    }

    fn value(label: &str, detail: &str) -> Self {
        Self {
            label: label.to_owned(),
            kind: VALUE,
            detail: detail.to_owned(),
            text: String::new(),
        }
    }
}

/// The proposals at an offset, as items of the protocol.
pub(crate) fn at(
    plugins: &Plugins,
    manuals: &Manuals,
    text: &str,
    offset: usize,
    units: Units,
) -> Vec<Value> {
    let context = Context::at(text, offset);
    if context.is_comment {
        return Vec::new();
    }
    let start = context.word.map_or(offset, |word| word.start.min(offset));
    let range = Lines::of(text, units).range(start, offset);
    let typed = &text[start..offset];
    proposals(plugins, manuals, text, &context)
        .into_iter()
        .filter(|proposal| proposal.label.starts_with(typed))
        .map(|proposal| {
            json!({
                "label": proposal.label,
                "kind": proposal.kind,
                "detail": proposal.detail,
                "documentation": { "kind": "markdown", "value": proposal.text },
                "textEdit": { "range": range, "newText": proposal.label },
            })
        })
        .collect()
}

fn proposals(
    plugins: &Plugins,
    manuals: &Manuals,
    text: &str,
    context: &Context<'_>,
) -> Vec<Proposal> {
    let line: Vec<&str> = context.before.iter().map(|word| word.text).collect();
    match (context.openers.len(), &*line) {
        (0, []) => vec![Proposal::import()],
        (_, ["import", ..]) => {
            let snippets = context::snippets(text).into_iter();
            let proposed = snippets.map(|name| Proposal {
                kind: SNIPPET,
                ..Proposal::value(name, "snippet")
            });
            proposed.collect()
        }
        (1, []) => {
            let mut proposed = directives(plugins, manuals);
            proposed.push(Proposal::import());
            proposed
        }
        (1, [name, rest @ ..]) => {
            let manual = manuals.of(name);
            let usages = manual.into_iter().flat_map(|manual| manual.usages());
            usages.flat_map(|usage| values(usage, rest)).collect()
        }
        (2, before) => {
            let Some(manual) = context.directive().and_then(|name| manuals.of(name)) else {
                return Vec::new();
            };
            let [name, rest @ ..] = before else {
                let mut proposed = options(plugins, manuals, manual.name);
                proposed.push(Proposal::import());
                return proposed;
            };
            let option = manual.option(name).into_iter();
            option
                .flat_map(|option| values(&option.usage, rest))
                .collect()
        }
        _ => Vec::new(),
    }
}

/// All directives that a server block may have.
fn directives(plugins: &Plugins, manuals: &Manuals) -> Vec<Proposal> {
    let here = plugins.catalogue.iter();
    let here = here.filter(|entry| matches!(entry, Entry::Here(_)));
    here.map(|entry| {
        let manual = manuals.of(entry.name());
        Proposal {
            label: entry.name().to_owned(),
            kind: MODULE,
            detail: manual.map_or("", |manual| manual.brief).to_owned(),
            text: manual.map_or(String::new(), |manual| {
                format!(
                    "```corefile\n{}\n```\n\n{}",
                    manual.syntax.join("\n"),
                    manual.description
                )
            }),
        }
    })
    .collect()
}

/// The options of a directive. Those of `order` are plugins.
fn options(plugins: &Plugins, manuals: &Manuals, directive: &str) -> Vec<Proposal> {
    if directive == "order" {
        return directives(plugins, manuals);
    }
    let options = manuals.of(directive).into_iter();
    let options = options.flat_map(|manual| &manual.options);
    options
        .map(|option| Proposal {
            label: option.name.clone(),
            kind: PROPERTY,
            detail: option.usage.clone(),
            text: option.text.clone(),
        })
        .collect()
}

/// The words that a line of the syntax has behind its first, but those that stand there already.
fn values<'u>(usage: &'u str, written: &[&str]) -> Vec<Proposal> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    let words = usage.split(|c: char| !is_part(c)).skip(1);
    let mut found: Vec<&'u str> = Vec::new();
    for word in words {
        let is_value =
            word.len() > 1 && !word.contains(char::is_uppercase) && !word.starts_with('.');
        if is_value && !written.contains(&word) && !found.contains(&word) {
            found.push(word);
        }
    }
    found
        .into_iter()
        .map(|word| Proposal::value(word, usage))
        .collect()
}
