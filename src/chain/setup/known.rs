//! What of a server block is known: its keys, and whether its directives are plugins that are at work here.

use corefile::key::Key;
use corefile::{Diagnostic, Directive, Report, Span, doubt, nearest};

use super::{Catalogue, Entry};
use crate::bygone;
use crate::transport::Transport;

/// Reads a block's keys, and where they stand.
pub(super) fn keys(block: &corefile::ServerBlock, report: &mut Report) -> (Vec<Key>, Vec<Span>) {
    let (mut keys, mut spans) = (Vec::new(), Vec::new());
    for token in &block.keys {
        match corefile::key::parse(token) {
            Ok(key) if !Transport::of(key.scheme).all(Transport::is_served) => {
                let name = key.scheme.name();
                report.push(
                    Diagnostic::error(
                        "CF0901",
                        format!(
                            "cannot serve {}: this build of nameplate lacks the transport",
                            token.text
                        ),
                    )
                    .at(token.span, "not in this build")
                    .note(format!("it needs the feature `{name}`")),
                );
            }
            Ok(key) => {
                report.extend(doubt::key(token, &key));
                keys.push(key);
                spans.push(token.span);
            }
            Err(diagnostic) => report.push(diagnostic),
        }
    }
    (keys, spans)
}

/// Whether a directive is in the catalogue and at work here; reports one that is not.
pub(super) fn is_known(directive: &Directive, catalogue: Catalogue, report: &mut Report) -> bool {
    let name = directive.name.text.as_str();
    match catalogue.iter().find(|entry| entry.name() == name) {
        Some(Entry::Here(_)) => return true,
        Some(Entry::LeftOut(_)) => report.push(
            Diagnostic::error(
                "CF0901",
                format!("Unknown directive '{name}': this build of nameplate lacks it"),
            )
            .at(directive.name.span, "not in this build")
            .note(format!("it needs the feature `{name}`")),
        ),
        Some(Entry::Absent(_)) => report.push(
            Diagnostic::error(
                "CF0901",
                format!(
                    "Unknown directive '{name}': CoreDNS has this plugin, nameplate does not yet"
                ),
            )
            .at(directive.name.span, "not implemented here")
            .note("`nameplate -plugins` lists what is implemented"),
        ),
        None => {
            let diagnostic = Diagnostic::error("CF0118", format!("Unknown directive '{name}'"));
            // What is refused itself is never proposed.
            let refused = |name: &str| {
                let mut named = catalogue.iter().filter(|entry| entry.name() == name);
                named.any(|entry| !matches!(entry, Entry::Here(_)))
            };
            report.push(match bygone::directive(directive) {
                Some(bygone) => bygone.tell(diagnostic, directive, refused),
                None => {
                    let diagnostic = diagnostic.at(directive.name.span, "no plugin has this name");
                    let names = catalogue.iter().map(Entry::name);
                    match nearest(name, names.filter(|name| !refused(name))) {
                        Some(near) => diagnostic
                            .help("a similar directive exists")
                            .replace(directive.name.span, near),
                        None => diagnostic,
                    }
                }
            });
        }
    }
    false
}
