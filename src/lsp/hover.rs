//! What the word under the cursor means, and where its plugin runs.

use chain::setup::{self, Entry};
use corefile::{Disk, Report};
use serde_json::{Value, json};

use crate::Plugins;
use crate::context::{Context, Word};
use crate::findings;
use crate::manual::{Manual, Manuals};

/// The text for the word at an offset, in Markdown, and the word.
pub(crate) fn at<'t>(
    plugins: &Plugins,
    manuals: &Manuals,
    (uri, text): (&str, &'t str),
    offset: usize,
) -> Option<(String, Word<'t>)> {
    let context = Context::at(text, offset);
    let word = context.word?;
    let is_first = context.before.is_empty();
    let told = match (context.openers.len(), is_first) {
        (0, _) if !matches!(word.text, "{" | "}") => key(word.text),
        (1 | 2, true) if word.text == "import" => IMPORT.to_owned(),
        (1, true) => directive(plugins, manuals, (uri, text), word)?,
        (2, true) => {
            let manual = manuals.of(context.directive()?)?;
            option(manual, word.text)?
        }
        // An argument: the line's own word tells what it is for.
        (1, false) => {
            let manual = manuals.of(context.before.first()?.text)?;
            usage(manual)
        }
        (2, false) => {
            let manual = manuals.of(context.directive()?)?;
            option(manual, context.before.first()?.text)?
        }
        _ => return None,
    };
    Some((told, word))
}

const IMPORT: &str = "**import** NAME or PATTERN\n\nInserts the lines of a snippet, of a file, or of all files that match a pattern, relative to the importing file.";

/// What a word of a server block's first line is.
fn key(word: &str) -> String {
    if let Some(name) = word.strip_prefix('(').and_then(|t| t.strip_suffix(')')) {
        return format!("The snippet `{name}`: `import {name}` inserts its lines.");
    }
    let (scheme, rest) = word.split_once("://").unwrap_or(("dns", word));
    let rest = rest.trim_end_matches(',');
    let (zone, port) = match rest.rsplit_once(':') {
        Some((zone, port)) if port.bytes().all(|octet| octet.is_ascii_digit()) => (zone, port),
        _ => (rest, ""),
    };
    let zone = if zone.is_empty() { "." } else { zone };
    let port = match (port, scheme) {
        ("", "tls" | "quic") => "853",
        ("", "https" | "https3" | "grpc") => "443",
        ("", _) => "53, unless `-dns.port` says otherwise",
        (port, _) => port,
    };
    format!(
        "**Server block** for the zone `{zone}`, with the scheme `{scheme}`, on port {port}.\n\n\
         A query goes to the server block whose zone encloses its name most closely."
    )
}

/// The manual of a directive, and its place in the chain.
fn directive(
    plugins: &Plugins,
    manuals: &Manuals,
    document: (&str, &str),
    word: Word<'_>,
) -> Option<String> {
    let entry = plugins
        .catalogue
        .iter()
        .find(|entry| entry.name() == word.text)?;
    if let Entry::Absent(name) = entry {
        return Some(format!(
            "**{name}** is a plugin of CoreDNS that nameplate does not have. A Corefile that names it is refused."
        ));
    }
    if let Entry::LeftOut(name) = entry {
        return Some(format!(
            "**{name}** is not in this build: it needs the feature of that name."
        ));
    }
    let manual = manuals.of(word.text)?;
    let place = runs(plugins, document)
        .into_iter()
        .find(|run| run.start == word.start);
    let place = place.map(|run| run.tell(plugins.order));
    Some(format!(
        "{}\n\n{}\n\n{}",
        usage(manual),
        place.unwrap_or_default(),
        manual.description
    ))
}

fn usage(manual: &Manual) -> String {
    format!(
        "**{}** - {}\n\n```corefile\n{}\n```",
        manual.name,
        manual.brief,
        manual.syntax.join("\n")
    )
}

fn option(manual: &Manual, name: &str) -> Option<String> {
    let option = manual.option(name)?;
    Some(format!(
        "```corefile\n{}\n```\n\n{}\n\nOption of **{}**.",
        option.usage, option.text, manual.name
    ))
}

/// Where a line of a plugin stands, and when it runs.
pub(crate) struct Run {
    /// Where its name begins.
    pub(crate) start: usize,
    /// Its number in the chain, from 1; nothing if it has no place there.
    pub(crate) number: Option<usize>,
    /// How many there are in the chain.
    of: usize,
    /// The plugins that run right before it and right behind it.
    neighbours: (Option<&'static str>, Option<&'static str>),
}

impl Run {
    fn tell(&self, order: &str) -> String {
        let Some(number) = self.number else {
            return "It configures the server block, and sees no queries.".to_owned();
        };
        let mut told = format!(
            "Runs {} of {} in this server block",
            ordinal(number),
            self.of
        );
        match self.neighbours {
            (Some(before), Some(behind)) => {
                told.push_str(&format!(", after `{before}` and before `{behind}`"));
            }
            (Some(before), None) => told.push_str(&format!(", after `{before}`")),
            (None, Some(behind)) => told.push_str(&format!(", before `{behind}`")),
            (None, None) => {}
        }
        told.push_str(&format!(" (order {order})."));
        told
    }
}

/// The lines of plugins in a document itself; those of what it imports are elsewhere.
pub(crate) fn runs(plugins: &Plugins, (uri, text): (&str, &str)) -> Vec<Run> {
    let name = findings::name(uri);
    let (corefile, _) = corefile::parse(&name, text.as_bytes().to_vec(), &Disk);
    let main = corefile.sources.ids().next();
    let blocks = setup::plan(&corefile, plugins.catalogue, &mut Report::default());
    let mut out = Vec::new();
    for block in &blocks {
        let lines = server::explain::runs(block);
        let of = lines.iter().filter_map(|line| line.2).max();
        let named = |number: usize| {
            let found = lines.iter().find(|line| line.2 == Some(number));
            found.map(|line| line.0)
        };
        for &(_, span, number) in &lines {
            if Some(span.file) == main {
                out.push(Run {
                    start: span.start as usize,
                    number,
                    of: of.unwrap_or_default(),
                    neighbours: match number {
                        Some(number) => (named(number - 1), named(number + 1)),
                        None => (None, None),
                    },
                });
            }
        }
    }
    out
}

/// `1st`, `2nd`, `3rd`, `11th`.
pub(crate) fn ordinal(number: usize) -> String {
    let ending = match (number % 10, number % 100) {
        (1, rest) if rest != 11 => "st",
        (2, rest) if rest != 12 => "nd",
        (3, rest) if rest != 13 => "rd",
        _ => "th",
    };
    format!("{number}{ending}")
}

/// The answer to `textDocument/hover`.
pub(crate) fn shown(text: &str, range: Value) -> Value {
    json!({ "contents": { "kind": "markdown", "value": text }, "range": range })
}
